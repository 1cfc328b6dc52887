/* Forward differentiation.
 *
 * A function of parameters, some of them active, becomes a function of (all parameters, the
 * tangents of the active ones) whose results are (all results, the tangents of those that are
 * active). Loops carry their states' tangents as further states; calls stay calls. Tangents of
 * what does not vary are nothing, not fields of zeros. */
#include "compiler/analysis/transpose.h"
#include "compiler/analysis/analysis.h"
#include "compiler/graph/internal.h"
#include "compiler/ops/rules.h"

#include <string.h>

typedef struct {
    FuncId from, to;
    const bool *active;
} Known;

typedef struct {
    Module *module;
    Arena *arena;
    VEC(Known) known;
    Node why; /* of the outermost function */
    uint32_t depth;
} Forward;

typedef struct {
    Forward *fw;
    FuncId from, to;
    Node *primal, *tangent; /* by node of `from`; no tangent: NODE_NONE */
    uint32_t **results;     /* of LOOP and CALL nodes: number of each result's tangent, or 0 */
    Node *tuples;           /* of LOOP and CALL nodes: the node with both */
} Sweep;

static FuncId jvp_many(Forward *fw, FuncId func, const bool *active, bool *result_active);

Node derivative_pointwise(Module *module, FuncId func, Node n, uint32_t i) {
    return op_info(graph_node(graph_get(module, func), n)->op)
        ->derivative(module, func, n, i, NODE_NONE);
}

/* ---- nodes ------------------------------------------------------------------------ */

static Node or_zero(Sweep *s, Node tangent, Node primal) {
    Module *m = s->fw->module;
    return tangent != NODE_NONE ? tangent : zero_like(m, s->to, primal, SPAN_NONE);
}

static bool is_zero(const Sweep *s, Node n) {
    double number;
    return graph_is_const(graph_get(s->fw->module, s->to), n, &number) && number == 0;
}

static Node pointwise_tangent(Sweep *s, Node n, const Node *t, uint32_t count) {
    Module *m = s->fw->module;
    Node made = s->primal[n], a[3] = {0}, sum = NODE_NONE;
    NodeData d = *graph_node(graph_get(m, s->from), n);
    for (uint32_t i = 0; i < count; i++)
        a[i] = s->primal[graph_operand(graph_get(m, s->from), n, i)];
    Node zero = graph_const(m, s->to, 0);
    /* the tangent is of the op as it stands, so the op is added as it stands, though folding may
     * have changed it */
    bool same = graph_node(graph_get(m, s->to), made)->op == d.op &&
                graph_node(graph_get(m, s->to), made)->count == count;
    for (uint32_t i = 0; same && i < count; i++)
        same = graph_operand(graph_get(m, s->to), made, i) == a[i];
    if (d.op == OP_WHERE) {
        if (t[1] != NODE_NONE || t[2] != NODE_NONE)
            sum =
                graph_add(m, s->to, OP_WHERE,
                          (Node[]){a[0], t[1] ? t[1] : zero, t[2] ? t[2] : zero}, 3, 0, 0, d.span);
    } else if (d.op ==
               OP_GUARDED) { /* varies where the factor has something to act on, now or then */
        Node w = a[1], there = t[1] ? t[1] : zero;
        Node both = graph_add(m, s->to, OP_WHERE,
                              (Node[]){graph_binary(m, s->to, OP_NE, w, zero, d.span), w, there}, 3,
                              0, 0, d.span);
        if (t[0]) sum = graph_binary(m, s->to, OP_GUARDED, t[0], both, d.span);
    } else if (d.op == OP_DIV && t[1] == NODE_NONE) {
        sum = graph_binary(m, s->to, OP_DIV, t[0], a[1], d.span);
    } else {
        if (!same) {
            NodeData plain = d;
            plain.type = graph_node(graph_get(m, s->to), made)->type;
            made = graph_append(m, s->to, &plain, a);
        }
        for (uint32_t i = 0; i < count; i++) {
            if (t[i] == NODE_NONE) continue;
            Node partial = op_info(d.op)->derivative(m, s->to, made, i, NODE_NONE);
            if (!is_zero(s, partial))
                sum = sum_of(m, s->to, sum, graph_binary(m, s->to, OP_MUL, partial, t[i], d.span),
                             d.span);
        }
    }
    Type type = graph_node(graph_get(m, s->to), s->primal[n])->type;
    return sum == NODE_NONE ? NODE_NONE : node_broadcast(m, s->to, sum, type, d.span);
}

/* Linear ops act on tangents as on values; what does not vary is zero. */
static Node linear_tangent(Sweep *s, Node n, const Node *t, uint32_t count) {
    Module *m = s->fw->module;
    NodeData d = *graph_node(graph_get(m, s->from), n);
    Node *operands = ARENA_ARRAY(s->fw->arena, Node, count);
    for (uint32_t i = 0; i < count; i++) {
        Node primal = s->primal[graph_operand(graph_get(m, s->from), n, i)];
        operands[i] = t[i] != NODE_NONE             ? t[i]
                      : d.op == OP_STENCIL && i > 0 ? graph_const(m, s->to, 0)
                                                    : or_zero(s, NODE_NONE, primal);
    }
    if (graph_type_is_given(d.op))
        return graph_add_typed(m, s->to, d.op, d.type, operands, count, d.index, d.detail, d.span);
    return graph_add(m, s->to, d.op, operands, count, d.index, d.detail, d.span);
}

/* One term an operand that varies. */
static Node bilinear_tangent(Sweep *s, Node n, const Node *t) {
    Module *m = s->fw->module;
    NodeData d = *graph_node(graph_get(m, s->from), n);
    Node sum = NODE_NONE;
    for (uint32_t i = 0; i < 2; i++) {
        Node parts[2] = {s->primal[graph_operand(graph_get(m, s->from), n, 0)],
                         s->primal[graph_operand(graph_get(m, s->from), n, 1)]};
        if (t[i] == NODE_NONE) continue;
        parts[i] = t[i];
        Node term = graph_add(m, s->to, d.op, parts, 2, d.index, d.detail, d.span);
        sum = sum_of(m, s->to, sum, term, d.span);
    }
    return sum;
}

static Node extremum_tangent(Sweep *s, Node n, Node t) {
    Module *m = s->fw->module;
    Span span = graph_node(graph_get(m, s->from), n)->span;
    Node share = op_info(graph_node(graph_get(m, s->from), n)->op)
                     ->derivative(m, s->to, s->primal[n], 0, graph_const(m, s->to, 1));
    return graph_unary(m, s->to, OP_SUM, graph_binary(m, s->to, OP_MUL, share, t, span), span);
}

/* Minus the solution of the linearised equation for the tangent of what is left of it. */
static Node implicit_tangent(Sweep *s, Node n, const Node *operands, Node v) {
    Module *m = s->fw->module;
    NodeData d = *graph_node(graph_get(m, s->from), n);
    const Implicit i = m->implicits.data[d.index];
    const Func *f = graph_get(m, i.tangent);
    Map known = {0};
    map_set(&known, f->params.data[0], operands[0]);
    map_set(&known, f->params.data[1], v);
    for (uint32_t k = 0; k < i.tangent_captured; k++)
        map_set(&known, f->params.data[2 + k], operands[2 + i.adjoint_captured + k]);
    Node solution = graph_copy(m, i.tangent, f->results.data[0], s->to, &known);
    map_free(&known);
    return graph_unary(m, s->to, OP_NEG, solution, d.span);
}

/* ---- calls and loops -------------------------------------------------------------- */

static bool call_tangent(Sweep *s, Node n, const Node *t) {
    Module *m = s->fw->module;
    NodeData d = *graph_node(graph_get(m, s->from), n);
    bool *active = ARENA_ARRAY(s->fw->arena, bool, d.count + 1);
    for (uint32_t k = 0; k < d.count; k++) active[k] = t[k] != NODE_NONE;
    uint32_t results = graph_get(m, d.index)->results.len, number = results;
    bool *out = ARENA_ARRAY(s->fw->arena, bool, results + 1);
    FuncId callee = jvp_many(s->fw, d.index, active, out);
    if (callee == 0) return false;
    VEC(Node) args = {0};
    for (uint32_t k = 0; k < d.count; k++)
        vec_push(&args, s->primal[graph_operand(graph_get(m, s->from), n, k)]);
    for (uint32_t k = 0; k < d.count; k++)
        if (active[k]) vec_push(&args, t[k]);
    s->tuples[n] = graph_add(m, s->to, OP_CALL, args.data, args.len, callee, 0, d.span);
    vec_free(&args);
    s->results[n] = ARENA_ARRAY(s->fw->arena, uint32_t, results + 1);
    for (uint32_t i = 0; i < results; i++) s->results[n][i] = out[i] ? number++ : 0;
    return true;
}

/* The body's function of (k, states, captured, tangents) with its parameters in a loop's order:
 * (k, states, tangents of states, captured, tangents of captured) -> (states, tangents, stop). */
static FuncId loop_body(Sweep *s, const Loop *loop, FuncId both, const bool *active,
                        const bool *out) {
    Module *m = s->fw->module;
    const Func *old = graph_get(m, both);
    uint32_t primal = 1 + loop->states + loop->captured;
    FuncId body = graph_func(m, old->name);
    Map known = {0};
    uint32_t *order = ARENA_ARRAY(s->fw->arena, uint32_t, old->params.len), count = 0;
    uint32_t *tangent = ARENA_ARRAY(s->fw->arena, uint32_t, primal), next = primal;
    for (uint32_t p = 0; p < primal; p++) tangent[p] = active[p] ? next++ : 0;
    for (uint32_t p = 0; p <= loop->states; p++) order[count++] = p;
    for (uint32_t p = 1; p <= loop->states; p++)
        if (tangent[p]) order[count++] = tangent[p];
    for (uint32_t p = 1 + loop->states; p < primal; p++) order[count++] = p;
    for (uint32_t p = 1 + loop->states; p < primal; p++)
        if (tangent[p]) order[count++] = tangent[p];
    for (uint32_t i = 0; i < count; i++) {
        Node own = old->params.data[order[i]];
        map_set(&known, own, graph_param(m, body, graph_node(old, own)->type, 0));
    }
    VEC(Node) results = {0};
    uint32_t number = loop->states + loop->has_stop;
    for (uint32_t i = 0; i < loop->states; i++)
        vec_push(&results, graph_copy(m, both, old->results.data[i], body, &known));
    for (uint32_t i = 0; i < loop->states; i++) {
        if (!active[1 + i]) continue;
        Type type = graph_node(old, old->params.data[1 + i])->type;
        vec_push(&results, out[i] ? graph_copy(m, both, old->results.data[number++], body, &known)
                                  : zero_of(m, body, type, SPAN_NONE));
    }
    if (loop->has_stop)
        vec_push(&results, graph_copy(m, both, old->results.data[loop->states], body, &known));
    for (uint32_t i = 0; i < results.len; i++)
        vec_push(&graph_get(m, body)->results, results.data[i]);
    vec_free(&results);
    map_free(&known);
    return body;
}

static bool loop_tangent(Sweep *s, Node n, const Node *t) {
    Module *m = s->fw->module;
    NodeData d = *graph_node(graph_get(m, s->from), n);
    Loop loop = m->loops.data[d.index], made = loop;
    bool *active = ARENA_ARRAY(s->fw->arena, bool, d.count),
         *out = ARENA_ARRAY(s->fw->arena, bool, loop.states + 2);
    for (uint32_t k = 1; k < d.count; k++) active[k] = t[k] != NODE_NONE;
    loop_activity(s->fw->module, &loop, active, s->fw->arena);
    FuncId both = jvp_many(s->fw, loop.body, active, out);
    if (both == 0) return false;
    made.body = loop_body(s, &loop, both, active, out);
    VEC(Node) operands = {0}, tangents = {0};
    for (uint32_t k = 0; k < d.count; k++) {
        Node primal = s->primal[graph_operand(graph_get(m, s->from), n, k)];
        if (k == 1 + loop.states) { /* tangents of states stand before the captured values */
            for (uint32_t i = 0; i < tangents.len; i++) vec_push(&operands, tangents.data[i]);
            tangents.len = 0;
        }
        vec_push(&operands, primal);
        if (active[k]) vec_push(&tangents, or_zero(s, t[k], primal));
    }
    for (uint32_t i = 0; i < tangents.len; i++) vec_push(&operands, tangents.data[i]);
    made.collect = ARENA_ARRAY(s->fw->arena, uint32_t, 2 * loop.collected + 1);
    uint32_t *place = ARENA_ARRAY(s->fw->arena, uint32_t, loop.states + 1);
    for (uint32_t i = 0; i < loop.states; i++)
        if (active[1 + i]) place[i] = made.states++;
    for (uint32_t p = 1 + loop.states; p < d.count; p++) made.captured += active[p];
    made.collected = 0;
    for (uint32_t i = 0; i < loop.collected; i++) made.collect[made.collected++] = loop.collect[i];
    uint32_t results = loop.states + 1 + loop.collected;
    s->results[n] = ARENA_ARRAY(s->fw->arena, uint32_t, results);
    for (uint32_t i = 0; i < loop.states; i++) s->results[n][i] = active[1 + i] ? place[i] : 0;
    for (uint32_t i = 0; i < loop.collected; i++)
        if (active[1 + loop.collect[i]]) {
            s->results[n][loop.states + 1 + i] = made.states + 1 + made.collected;
            made.collect[made.collected++] = place[loop.collect[i]];
        }
    s->tuples[n] =
        graph_add(m, s->to, OP_LOOP, operands.data, operands.len, graph_loop(m, &made), 0, d.span);
    vec_free(&operands);
    vec_free(&tangents);
    return true;
}

/* Result `index` of a loop or call that was made with tangents: its value and its tangent. */
static void result_tangent(Sweep *s, Node n) {
    Module *m = s->fw->module;
    NodeData d = *graph_node(graph_get(m, s->from), n);
    Node tuple = graph_operand(graph_get(m, s->from), n, 0);
    const NodeData *whole = graph_node(graph_get(m, s->from), tuple);
    uint32_t index = d.index;
    if (whole->op == OP_LOOP && index >= m->loops.data[whole->index].states) {
        uint32_t states = m->loops.data[whole->index].states;
        LoopId both = graph_node(graph_get(m, s->to), s->tuples[tuple])->index;
        index += m->loops.data[both].states - states;
    }
    s->primal[n] = graph_result(m, s->to, s->tuples[tuple], index);
    uint32_t number = s->results[tuple][d.index];
    if (number) s->tangent[n] = graph_result(m, s->to, s->tuples[tuple], number);
}

/* ---- functions --------------------------------------------------------------------- */

static bool node_tangent(Sweep *s, Node n) {
    Module *m = s->fw->module;
    NodeData d = *graph_node(graph_get(m, s->from), n);
    const OpInfo *info = op_info(d.op);
    Node *t = ARENA_ARRAY(s->fw->arena, Node, d.count + 3),
         *operands = ARENA_ARRAY(s->fw->arena, Node, d.count + 1);
    bool any = false;
    for (uint32_t k = 0; k < d.count; k++) {
        Node o = graph_operand(graph_get(m, s->from), n, k);
        operands[k] = s->primal[o];
        t[k] = s->tangent[o];
        any = any || t[k] != NODE_NONE;
    }
    if (d.op == OP_RESULT && s->tuples[graph_operand(graph_get(m, s->from), n, 0)]) {
        result_tangent(s, n);
        return true;
    }
    if (any && d.op == OP_LOOP) return loop_tangent(s, n, t);
    if (any && d.op == OP_CALL) return call_tangent(s, n, t);
    s->primal[n] =
        d.op == OP_CONST ? graph_const(m, s->to, d.number)
        : graph_type_is_given(d.op)
            ? graph_add_typed(m, s->to, d.op, d.type, operands, d.count, d.index, d.detail, d.span)
            : graph_add(m, s->to, d.op, operands, d.count, d.index, d.detail, d.span);
    if (!any || !op_varies(d.op)) return true;
    if (d.op == OP_CHECKED)
        s->tangent[n] = t[0];
    else if (d.op == OP_IMPLICIT && t[1] != NODE_NONE && !m->implicits.data[d.index].tangent)
        return false;
    else if (d.op == OP_IMPLICIT)
        s->tangent[n] = t[1] == NODE_NONE ? NODE_NONE : implicit_tangent(s, n, operands, t[1]);
    else if (info->class == CLASS_POINTWISE)
        s->tangent[n] = pointwise_tangent(s, n, t, d.count);
    else if (d.op == OP_LEAST || d.op == OP_LARGEST || d.op == OP_CONVNORM)
        s->tangent[n] = extremum_tangent(s, n, t[0]);
    else if (d.op == OP_MAXPOOL)
        s->tangent[n] = maxpool_tangent(m, s->to, s->primal[n], t[0]);
    else if (d.op == OP_FRAME)
        s->tangent[n] = t[0] == NODE_NONE
                            ? NODE_NONE
                            : graph_binary(m, s->to, OP_FRAME, t[0], operands[1], d.span);
    else if (d.op == OP_SCATTER)
        s->tangent[n] = t[0] == NODE_NONE && t[2] == NODE_NONE
                            ? NODE_NONE
                            : graph_add(m, s->to, OP_SCATTER,
                                        (Node[]){or_zero(s, t[0], operands[0]), operands[1],
                                                 or_zero(s, t[2], operands[2])},
                                        3, 0, 0, d.span);
    else if (d.op == OP_TRIDIAG)
        s->tangent[n] = tridiag_tangent(m, s->to, &d, operands, s->primal[n], t);
    else if (info->class == CLASS_BILINEAR)
        s->tangent[n] = bilinear_tangent(s, n, t);
    else if (info->class == CLASS_LINEAR || d.op == OP_SUM || d.op == OP_SPREAD)
        s->tangent[n] = linear_tangent(s, n, t, d.count);
    else
        return false;
    return true;
}

static FuncId jvp_many(Forward *fw, FuncId func, const bool *active, bool *result_active) {
    Module *m = fw->module;
    const Func *old = graph_get(m, func);
    const bool *varies = activity_of(m, func, active, fw->arena);
    for (uint32_t i = 0; i < old->results.len; i++) result_active[i] = varies[old->results.data[i]];
    for (uint32_t i = 0; i < fw->known.len; i++)
        if (fw->known.data[i].from == func &&
            memcmp(fw->known.data[i].active, active, sizeof *active * old->params.len) == 0)
            return fw->known.data[i].to;
    fw->depth++;
    FuncId to = graph_func(m, old->name);
    uint32_t count = old->nodes.len;
    Sweep s = {.fw = fw, .from = func, .to = to};
    s.primal = ARENA_ARRAY(fw->arena, Node, count);
    s.tangent = ARENA_ARRAY(fw->arena, Node, count);
    s.tuples = ARENA_ARRAY(fw->arena, Node, count);
    s.results = ARENA_ARRAY(fw->arena, uint32_t *, count);
    for (uint32_t p = 0; p < old->params.len; p++)
        s.primal[old->params.data[p]] =
            graph_param(m, to, graph_node(old, old->params.data[p])->type, 0);
    for (uint32_t p = 0; p < old->params.len; p++)
        if (active[p])
            s.tangent[old->params.data[p]] =
                graph_param(m, to, graph_node(old, old->params.data[p])->type, 0);
    bool ok = true;
    for (Node n = 1; n < count && ok; n++)
        if (graph_node(old, n)->op != OP_PARAM) {
            ok = node_tangent(&s, n);
            if (!ok && fw->depth == 1) fw->why = n;
        }
    Func *made = graph_get(m, to);
    for (uint32_t i = 0; i < old->results.len && ok; i++)
        vec_push(&made->results, s.primal[old->results.data[i]]);
    for (uint32_t i = 0; i < old->results.len && ok; i++)
        if (result_active[i]) {
            Node t = or_zero(&s, s.tangent[old->results.data[i]], s.primal[old->results.data[i]]);
            vec_push(&made->results, t);
        }
    fw->depth--;
    if (!ok) {
        func_drop(m, to);
        return 0;
    }
    Known known = {func, to, arena_copy(fw->arena, active, sizeof *active * (old->params.len + 1))};
    vec_push(&fw->known, known);
    return to;
}

FuncId jvp_func(Module *module, FuncId func, Node *why) {
    Forward fw = {.module = module, .arena = arena_new()};
    const Func *f = graph_get(module, func);
    uint32_t params = f->params.len, results = f->results.len;
    bool *active = ARENA_ARRAY(fw.arena, bool, params + 1),
         *out = ARENA_ARRAY(fw.arena, bool, results + 1);
    active[0] = true;
    FuncId both = jvp_many(&fw, func, active, out), made = 0;
    if (both) {
        /* the function of (u, v, captured…) with the tangent of result 0 alone */
        made = graph_func(module, f->name);
        const Func *inner = graph_get(module, both);
        Map known = {0};
        for (uint32_t p = 0; p <= params; p++) {
            uint32_t from = p == 0 ? 0 : p == 1 ? params : p - 1;
            Type type = graph_node(inner, inner->params.data[from])->type;
            map_set(&known, inner->params.data[from], graph_param(module, made, type, 0));
        }
        Node tangent =
            out[0] ? graph_copy(module, both, inner->results.data[results], made, &known)
                   : zero_of(module, made, graph_node(f, f->results.data[0])->type, SPAN_NONE);
        vec_push(&graph_get(module, made)->results, tangent);
        map_free(&known);
    }
    if (why) *why = fw.why;
    vec_free(&fw.known);
    arena_free(fw.arena);
    return made;
}
