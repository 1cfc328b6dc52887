/* Reverse differentiation of whole functions.
 *
 * The function that is made holds the nodes of the original, calls put in place, then the cotangents of
 * what varies, from the last node to the first. A loop stands as it was and is gone through once more,
 * backwards, by a BACK node: its states are the cotangents of the loop's states and the sums of the
 * cotangents of what the loop captured, its body makes the step's intermediate values again from the states
 * before that step. Cotangents of captured values are one running sum through all loops that captured them,
 * so stacks (indexed parameters) are summed into in place, a frame a step.
 *
 * What a where() did not choose has the cotangent 0, and so has everything that it was made of, even where
 * a derivative there is infinite or no number: products with derivatives are taken where the cotangent is
 * not 0, and are 0 elsewhere (`masked`). */
#include "compiler/analysis/analysis.h"
#include "compiler/analysis/transpose.h"
#include "compiler/graph/internal.h"
#include "compiler/ops/rules.h"

#include <string.h>

typedef struct {
    Module *module;
    Arena *arena;
    Node why; /* of the outermost function */
    uint32_t depth;
} Gradient;

/* One function on its way. */
typedef struct {
    Gradient *g;
    FuncId func;
    uint32_t nodes; /* of the original; cotangents have larger numbers */
    const bool *active;
    Node *cotangent; /* by node */
    Node **tuple;    /* of LOOP nodes: cotangent by result */
    bool *masked;    /* may the cotangent be 0 where something was not chosen? */
    Span span;
    bool ok;
} Reverse;

/* ---- the original, calls put in place ----------------------------------------------------- */

static Node copy_node(Gradient *g, FuncId from, Node n, FuncId to, const Node *known) {
    Module *m = g->module;
    NodeData d = *graph_node(graph_get(m, from), n);
    Node *operands = ARENA_ARRAY(g->arena, Node, d.count + 1);
    for (uint32_t k = 0; k < d.count; k++)
        operands[k] = known[graph_operand(graph_get(m, from), n, k)];
    if (d.op == OP_CONST) return graph_const(m, to, d.number);
    if (graph_type_is_given(d.op))
        return graph_add_typed(m, to, d.op, d.type, operands, d.count, d.index, d.detail, d.span);
    return graph_add(m, to, d.op, operands, d.count, d.index, d.detail, d.span);
}

static uint8_t *live_nodes(const Func *f) {
    uint8_t *live = mem_alloc(f->nodes.len);
    memset(live, 0, f->nodes.len);
    for (uint32_t i = 0; i < f->results.len; i++) live[f->results.data[i]] = 1;
    for (Node n = f->nodes.len; --n > 0;)
        for (uint32_t k = 0; live[n] && k < graph_node(f, n)->count; k++)
            live[graph_operand(f, n, k)] = 1;
    return live;
}

/* Copies what the results of `from` need; returns the copies by node of `from`. */
static Node *copy_nodes(Gradient *g, FuncId from, FuncId to, const Node *params, Node *results) {
    Module *m = g->module;
    const Func *f = graph_get(m, from);
    uint8_t *live = live_nodes(f);
    Node *known = ARENA_ARRAY(g->arena, Node, f->nodes.len);
    Node **called = ARENA_ARRAY(g->arena, Node *, f->nodes.len);
    for (Node n = 1; n < f->nodes.len; n++) {
        const NodeData *d = graph_node(f, n);
        if (!live[n]) continue;
        if (d->op == OP_PARAM) {
            known[n] = params[d->index];
        } else if (d->op == OP_CALL) {
            Node *args = ARENA_ARRAY(g->arena, Node, d->count + 1);
            for (uint32_t k = 0; k < d->count; k++) args[k] = known[graph_operand(f, n, k)];
            called[n] = ARENA_ARRAY(g->arena, Node, graph_get(m, d->index)->results.len + 1);
            copy_nodes(g, d->index, to, args, called[n]);
        } else if (d->op == OP_RESULT && called[graph_operand(f, n, 0)]) {
            known[n] = called[graph_operand(f, n, 0)][d->index];
        } else {
            known[n] = copy_node(g, from, n, to, known);
        }
        f = graph_get(m, from);
    }
    for (uint32_t i = 0; i < f->results.len; i++) results[i] = known[f->results.data[i]];
    mem_free(live);
    return known;
}

/* Does the op leave some of what it is given out, so that it gives cotangents of 0? */
static bool op_chooses(Op op) {
    return op == OP_WHERE || op == OP_GUARDED || op == OP_MIN || op == OP_MAX ||
           (op_info(op)->class == CLASS_REDUCE && op != OP_SUM);
}

/* Does the function choose anywhere, itself or in what it loops over or calls? */
static bool func_chooses(const Module *m, FuncId func) {
    const Func *f = graph_get(m, func);
    for (Node n = 1; n < f->nodes.len; n++) {
        const NodeData *d = graph_node(f, n);
        if (op_chooses(d->op)) return true;
        if ((d->op == OP_LOOP && func_chooses(m, m->loops.data[d->index].body)) ||
            (d->op == OP_CALL && func_chooses(m, d->index)))
            return true;
    }
    return false;
}

static Reverse reverse_start(Gradient *g, FuncId func, const bool *params) {
    uint32_t nodes = graph_get(g->module, func)->nodes.len;
    Reverse r = {.g = g, .func = func, .nodes = nodes, .ok = true};
    r.active = activity_of(g->module, func, params, g->arena);
    r.cotangent = ARENA_ARRAY(g->arena, Node, nodes);
    r.tuple = ARENA_ARRAY(g->arena, Node *, nodes);
    r.masked = ARENA_ARRAY(g->arena, bool, nodes);
    return r;
}

static const NodeData *node_of(const Reverse *r, Node n) {
    return graph_node(graph_get(r->g->module, r->func), n);
}

static Node operand_of(const Reverse *r, Node n, uint32_t i) {
    return graph_operand(graph_get(r->g->module, r->func), n, i);
}

static Node binary(Reverse *r, Op op, Node a, Node b) {
    return graph_binary(r->g->module, r->func, op, a, b, r->span);
}

static Node where(Reverse *r, Node c, Node a, Node b) {
    return graph_add(r->g->module, r->func, OP_WHERE, (Node[]){c, a, b}, 3, 0, 0, r->span);
}

/* Adds to the cotangent of a node that varies. */
static void give(Reverse *r, Node to, Node w, bool masked) {
    Module *m = r->g->module;
    Type type = node_of(r, to)->type;
    if (!r->active[to]) return;
    w = node_unbroadcast(m, r->func, w, type, r->span);
    w = node_broadcast(m, r->func, w, type, r->span);
    r->cotangent[to] = sum_of(m, r->func, r->cotangent[to], w, r->span);
    r->masked[to] = r->masked[to] || masked;
}

/* The cotangent of a node, or zero. */
static Node cotangent_of(Reverse *r, Node n) {
    return r->cotangent[n] ? r->cotangent[n] : zero_like(r->g->module, r->func, n, r->span);
}

/* ---- nodes ---------------------------------------------------------------------------- */

/* w times the partial derivative by operand i, an array of the node's own type. */
static Node pointwise_back(Reverse *r, Node n, uint32_t i, Node w) {
    Module *m = r->g->module;
    NodeData d = *node_of(r, n);
    Node zero = graph_const(m, r->func, 0), product;
    double constant;
    if (d.op == OP_WHERE) {
        if (i == 0) return zero;
        Node c = operand_of(r, n, 0);
        return i == 1 ? where(r, c, w, zero) : where(r, c, zero, w);
    }
    if (d.op == OP_DIV && i == 0) {
        product = binary(r, OP_DIV, w, operand_of(r, n, 1));
    } else {
        Node partial = op_info(d.op)->derivative(m, r->func, n, i, w);
        if (node_is_number(graph_get(m, r->func), partial, &constant))
            return constant == 0 ? zero : binary(r, OP_MUL, partial, w);
        product = binary(r, OP_MUL, partial, w);
    }
    bool bounded = d.op == OP_MIN || d.op == OP_MAX;
    if (!r->masked[n] || bounded) return product;
    return binary(r, OP_GUARDED, product, w);
}

static void node_back(Reverse *r, Node n, Node w) {
    Module *m = r->g->module;
    NodeData d = *node_of(r, n);
    OpClass class = op_info(d.op)->class;
    for (uint32_t i = 0; i < d.count && r->ok; i++) {
        Node operand = operand_of(r, n, i);
        if (!r->active[operand]) continue;
        Node back = class == CLASS_POINTWISE ? pointwise_back(r, n, i, w)
                                             : op_info(d.op)->derivative(m, r->func, n, i, w);
        r->ok = back != NODE_NONE;
        if (r->ok) give(r, operand, back, r->masked[n] || op_chooses(d.op));
    }
}

/* The cotangent of a frame goes to its place in that of the stack. */
static void frame_back(Reverse *r, Node n, Node w) {
    Node stack = operand_of(r, n, 0);
    if (!r->active[stack]) return;
    Node parts[3] = {cotangent_of(r, stack), operand_of(r, n, 1), w};
    r->cotangent[stack] = graph_add(r->g->module, r->func, OP_SCATTER, parts, 3, 0, 0, r->span);
    r->masked[stack] = r->masked[stack] || r->masked[n];
}

static void result_back(Reverse *r, Node n, Node w) {
    Module *m = r->g->module;
    Node tuple = operand_of(r, n, 0);
    const NodeData *d = node_of(r, tuple);
    if (d->op != OP_LOOP) { /* a gradient's gradient through its loops is not made */
        r->ok = false;
        return;
    }
    const Loop *loop = &m->loops.data[d->index];
    if (!r->tuple[tuple])
        r->tuple[tuple] = ARENA_ARRAY(r->g->arena, Node, loop->states + 1 + loop->collected);
    r->tuple[tuple][node_of(r, n)->index] = w;
    r->masked[tuple] = r->masked[tuple] || r->masked[n];
}

/* The cotangent of what is left of the equation: minus the solution of the adjoint one. */
static void implicit_back(Reverse *r, Node n, Node w) {
    Module *m = r->g->module;
    const Implicit s = m->implicits.data[node_of(r, n)->index];
    r->ok = s.adjoint != 0;
    if (!r->ok) return;
    Node *args = ARENA_ARRAY(r->g->arena, Node, 2 + s.adjoint_captured), solution;
    args[0] = operand_of(r, n, 0);
    args[1] = node_broadcast(m, r->func, w, node_of(r, n)->type, r->span);
    for (uint32_t i = 0; i < s.adjoint_captured; i++) args[2 + i] = operand_of(r, n, 2 + i);
    copy_nodes(r->g, s.adjoint, r->func, args, &solution);
    give(r, operand_of(r, n, 1), graph_unary(m, r->func, OP_NEG, solution, r->span), r->masked[n]);
}

static void loop_back(Reverse *r, Node n);

static void sweep(Reverse *r) {
    for (Node n = r->nodes; --n > 0 && r->ok;) {
        Op op = node_of(r, n)->op;
        Node w = r->cotangent[n];
        r->span = node_of(r, n)->span;
        if (op == OP_LOOP) {
            if (r->tuple[n]) loop_back(r, n);
        } else if (w == NODE_NONE || op == OP_PARAM) {
            continue;
        } else if (op == OP_RESULT) {
            result_back(r, n, w);
        } else if (op == OP_FRAME) {
            frame_back(r, n, w);
        } else if (op == OP_IMPLICIT) {
            implicit_back(r, n, w);
        } else if (op == OP_SCATTER) {
            r->ok = false;
        } else {
            node_back(r, n, w);
        }
        if (!r->ok && r->g->depth == 1 && r->g->why == NODE_NONE) r->g->why = n;
    }
}

/* ---- loops ------------------------------------------------------------------------------ */

typedef struct {
    Loop loop;
    const bool *active; /* by parameter of the body */
    bool *repeats;      /* captured before, as another operand */
    bool masked;
    FuncId body;        /* of the loop that goes back */
    uint32_t kept;      /* its parameters: k, every state, cotangents, captured, films */
    Node *value;        /* by parameter of the loop's body: the parameter of `body` that it is */
    Node *cotangent;    /* likewise, of what is carried */
    Node *films;        /* by collected state: parameter of `body` */
    VEC(Node) operands; /* of the BACK node after the loop: carried, captured, films */
    uint32_t carried;
} LoopBack;

static Node body_param(Reverse *r, LoopBack *l, Node like) {
    vec_push(&l->operands, like);
    return graph_param(r->g->module, l->body, node_of(r, like)->type, 0);
}

/* Parameters of the body in their order, and the operands that belong to them. */
static void back_params(Reverse *r, Node n, LoopBack *l) {
    Module *m = r->g->module;
    const Func *old = graph_get(m, l->loop.body);
    uint32_t params = old->params.len, states = l->loop.states;
    l->value = ARENA_ARRAY(r->g->arena, Node, params);
    l->cotangent = ARENA_ARRAY(r->g->arena, Node, params);
    l->films = ARENA_ARRAY(r->g->arena, Node, l->loop.collected + 1);
    l->value[0] = graph_param(m, l->body, type_scalar(), 0);
    for (uint32_t p = 1; p <= states; p++)
        l->value[p] = graph_param(m, l->body, graph_node(old, old->params.data[p])->type, 0);
    l->kept = states;
    for (uint32_t p = 1; p < params; p++) {
        if (!l->active[p] || l->repeats[p]) continue;
        Node o = operand_of(r, n, p), w = p > states ? r->cotangent[o] : r->tuple[n][p - 1];
        l->cotangent[p] = body_param(r, l, w ? w : zero_like(m, r->func, o, r->span));
        l->carried++;
    }
    for (uint32_t p = 1; p < params; p++)
        if (p > states ? !l->repeats[p] : old->results.data[p - 1] == old->params.data[p])
            l->value[p] = body_param(r, l, operand_of(r, n, p)); /* captured, or never changes */
    for (uint32_t p = 1 + states; p < params; p++)
        for (uint32_t q = 1 + states; l->repeats[p] && q < p; q++)
            if (operand_of(r, n, q) == operand_of(r, n, p) && !l->repeats[q])
                l->value[p] = l->value[q];
    for (uint32_t i = 0; i < l->loop.collected; i++)
        if (r->tuple[n][states + 1 + i])
            l->films[i] = body_param(r, l, r->tuple[n][states + 1 + i]);
}

/* What a film's cotangent adds to that of a state after the step k. */
static Node film_part(Reverse *r, const LoopBack *l, uint32_t i) {
    Module *m = r->g->module;
    Node done = binary(r, OP_SUB, l->value[0], graph_const(m, r->func, (double)l->loop.start - 1));
    if (l->loop.stride == 1) return binary(r, OP_FRAME, l->films[i], done);
    Node exact = binary(r, OP_DIV, done, graph_const(m, r->func, (double)l->loop.stride));
    Node frame = graph_unary(m, r->func, OP_FLOOR, exact, r->span);
    return where(r, binary(r, OP_EQ, exact, frame), binary(r, OP_FRAME, l->films[i], frame),
                 graph_const(m, r->func, 0));
}

/* The loop's body, then the cotangents of a step. */
static bool back_body(Gradient *g, LoopBack *l) {
    Module *m = g->module;
    const Func *old = graph_get(m, l->loop.body);
    uint32_t params = old->params.len, states = l->loop.states;
    Node *results = ARENA_ARRAY(g->arena, Node, old->results.len + 1);
    copy_nodes(g, l->loop.body, l->body, l->value, results);
    bool *vary = ARENA_ARRAY(g->arena, bool, graph_get(m, l->body)->params.len);
    for (uint32_t p = 1; p < params; p++)
        if (l->active[p]) vary[graph_node(graph_get(m, l->body), l->value[p])->index] = true;
    Reverse r = reverse_start(g, l->body, vary);
    r.span = l->loop.span;
    for (uint32_t p = 1 + states; p < params; p++)
        if (l->cotangent[p]) {
            r.cotangent[l->value[p]] = l->cotangent[p]; /* the sum so far */
            r.masked[l->value[p]] = l->masked;
        }
    for (uint32_t p = 1; p <= states; p++) {
        if (!l->active[p]) continue;
        Node w = l->cotangent[p];
        for (uint32_t i = 0; i < l->loop.collected; i++)
            if (l->films[i] && l->loop.collect[i] == p - 1)
                w = sum_of(m, l->body, w, film_part(&r, l, i), r.span);
        give(&r, results[p - 1], w, l->masked);
    }
    sweep(&r);
    for (uint32_t p = 1; p < params && r.ok; p++)
        if (l->cotangent[p])
            vec_push(&graph_get(m, l->body)->results, cotangent_of(&r, l->value[p]));
    return r.ok;
}

/* The body with the kept states and captured values that it needs alone. */
static LoopId back_loop(Reverse *r, LoopBack *l) {
    Module *m = r->g->module;
    const Func *old = graph_get(m, l->body);
    uint8_t *live = live_nodes(old);
    FuncId body = graph_func(m, old->name);
    Loop back = {.body = body,
                 .states = l->carried,
                 .stride = 1,
                 .name = l->loop.name,
                 .span = l->loop.span};
    back.collect = ARENA_ARRAY(r->g->arena, uint32_t, l->kept + 1);
    Map known = {0};
    uint32_t first = 1 + l->kept, kept_operands = l->carried;
    for (uint32_t p = 0; p < old->params.len; p++) {
        bool always = p == 0 || (p >= first && p < first + l->carried);
        if (!always && !live[old->params.data[p]]) continue;
        map_set(&known, old->params.data[p],
                graph_param(m, body, graph_node(old, old->params.data[p])->type, 0));
        if (p > 0 && p < first) back.collect[back.collected++] = p - 1;
        if (p >= first + l->carried)
            l->operands.data[kept_operands++] = l->operands.data[p - first];
    }
    l->operands.len = kept_operands;
    back.captured = kept_operands - l->carried;
    for (uint32_t i = 0; i < old->results.len; i++) {
        Node result = graph_copy(m, l->body, old->results.data[i], body, &known);
        vec_push(&graph_get(m, body)->results, result);
    }
    map_free(&known);
    mem_free(live);
    return graph_loop(m, &back);
}

/* Puts the BACK node there and hands its results on. */
static void back_node(Reverse *r, Node n, LoopBack *l) {
    Module *m = r->g->module;
    LoopId id = back_loop(r, l);
    vec_push(&l->operands, NODE_NONE);
    memmove(l->operands.data + 1, l->operands.data, sizeof(Node) * (l->operands.len - 1));
    l->operands.data[0] = n;
    Node made = graph_add(m, r->func, OP_BACK, l->operands.data, l->operands.len, id, 0, r->span);
    uint32_t number = 0, count = node_of(r, n)->count, states = l->loop.states;
    Node *results = ARENA_ARRAY(r->g->arena, Node, count);
    for (uint32_t p = 1; p < count; p++)
        if (l->cotangent[p]) results[p] = graph_result(m, r->func, made, number++);
    for (uint32_t p = 1 + states; p < count; p++) {
        Node o = operand_of(r, n, p);
        if (results[p]) {
            r->cotangent[o] = results[p];
            r->masked[o] = r->masked[o] || l->masked;
        }
    }
    for (uint32_t p = 1; p <= states; p++)
        if (results[p]) give(r, operand_of(r, n, p), results[p], l->masked);
    for (uint32_t i = 0; i < l->loop.collected; i++) {
        Node film = r->tuple[n][states + 1 + i], zero = graph_const(m, r->func, 0);
        if (film)
            give(r, operand_of(r, n, 1 + l->loop.collect[i]), binary(r, OP_FRAME, film, zero),
                 l->masked);
    }
}

static void loop_back(Reverse *r, Node n) {
    Module *m = r->g->module;
    NodeData d = *node_of(r, n);
    LoopBack l = {.loop = m->loops.data[d.index]};
    bool *active = ARENA_ARRAY(r->g->arena, bool, d.count);
    l.repeats = ARENA_ARRAY(r->g->arena, bool, d.count);
    for (uint32_t p = 1; p < d.count; p++) {
        active[p] = r->active[operand_of(r, n, p)];
        for (uint32_t q = 1 + l.loop.states; p > l.loop.states && q < p; q++)
            l.repeats[p] = l.repeats[p] || operand_of(r, n, q) == operand_of(r, n, p);
    }
    loop_activity(m, &l.loop, active, r->g->arena);
    for (uint32_t p = 1; p <= l.loop.states; p++) /* stacks are captured, they do not recur */
        if (active[p] && node_of(r, operand_of(r, n, p))->type.kind == TYPE_STACK) r->ok = false;
    if (!r->ok) return;
    l.active = active;
    l.masked = r->masked[n] || func_chooses(m, l.loop.body);
    l.body = graph_func(m, graph_get(m, l.loop.body)->name);
    back_params(r, n, &l);
    r->g->depth++;
    r->ok = back_body(r->g, &l);
    r->g->depth--;
    if (r->ok) back_node(r, n, &l);
    vec_free(&l.operands);
}

/* ---- functions --------------------------------------------------------------------------- */

/* Only what is needed, with the parameters in the order of `params`. */
static FuncId tidy(Module *m, FuncId from, const Node *params, uint32_t count, const Node *results,
                   uint32_t result_count) {
    FuncId to = graph_func(m, graph_get(m, from)->name);
    Map known = {0};
    for (uint32_t p = 0; p < count; p++)
        map_set(&known, params[p],
                graph_param(m, to, graph_node(graph_get(m, from), params[p])->type, 0));
    for (uint32_t i = 0; i < result_count; i++) {
        Node result = graph_copy(m, from, results[i], to, &known);
        vec_push(&graph_get(m, to)->results, result);
    }
    map_free(&known);
    return to;
}

/* With `seed`, a function of (w, parameters…) whose result is the gradient by parameter 0; else of the
 * parameters, with all results and the gradients by the wanted ones. */
static FuncId differentiate(Module *m, FuncId func, const bool *wanted, bool seed, Node *why) {
    Gradient g = {.module = m, .arena = arena_new(), .depth = 1};
    const Func *f = graph_get(m, func);
    uint32_t params = f->params.len, count = f->results.len, total = 0;
    FuncId work = graph_func(m, f->name), made = 0;
    Node *order = ARENA_ARRAY(g.arena, Node, params + 1), w = NODE_NONE,
         *results = ARENA_ARRAY(g.arena, Node, count + params + 1);
    for (uint32_t p = 0; p < params; p++)
        order[seed + p] = graph_param(m, work, graph_node(f, f->params.data[p])->type, 0);
    bool *vary = ARENA_ARRAY(g.arena, bool, params + 1);
    memcpy(vary, wanted, sizeof *vary * params);
    if (seed) w = order[0] = graph_param(m, work, graph_node(f, f->results.data[0])->type, 0);
    const Node *copy = copy_nodes(&g, func, work, order + seed, results);
    Reverse r = reverse_start(&g, work, vary);
    give(&r, results[0], seed ? w : graph_const(m, work, 1), false);
    sweep(&r);
    if (r.ok) {
        total = seed ? 0 : count;
        for (uint32_t p = 0; p < params; p++)
            if (wanted[p]) results[total++] = cotangent_of(&r, order[seed + p]);
        made = tidy(m, work, order, params + seed, results, total);
    }
    if (why) {
        *why = NODE_NONE;
        for (Node n = graph_get(m, func)->nodes.len; g.why && --n > 0;)
            if (copy[n] == g.why) *why = n;
    }
    arena_free(g.arena);
    return made;
}

FuncId gradient_func(Module *module, FuncId func, const bool *wanted, Node *why) {
    return differentiate(module, func, wanted, false, why);
}

FuncId vjp_func(Module *module, FuncId func, Node *why) {
    uint32_t params = graph_get(module, func)->params.len;
    bool *wanted = mem_alloc(sizeof *wanted * (params + 1));
    for (uint32_t p = 0; p < params; p++) wanted[p] = p == 0;
    FuncId made = differentiate(module, func, wanted, true, why);
    mem_free(wanted);
    return made;
}
