/* The transpose of linear functions, by reverse accumulation.
 *
 * A function of parameters, some of which its results are linear in, becomes a function of (the
 * cotangents of the results that depend on them, the other parameters), whose results are the
 * cotangents of those parameters. Calls stay calls and loops loops: a loop is run backwards,
 * with the constant states that it needs kept as stacks by a first run. Everything linear is
 * exact, boundaries included; a function that is not linear is refused. */
#include "compiler/analysis/transpose.h"
#include "compiler/analysis/linearity.h"
#include "compiler/ops/rules.h"

#include <string.h>

typedef struct {
    FuncId from, to;
    const Dependence *params;
} Known;

typedef struct {
    Module *module;
    Arena *arena;
    VEC(Known) known; /* transposes made on the way */
    Node why;         /* of the outermost function */
    uint32_t depth;
} Transposer;

/* One function on its way: a scratch copy with the cotangents as further parameters. */
typedef struct {
    Transposer *t;
    FuncId work;
    Func *f;              /* the scratch function */
    const Dependences *d; /* of the nodes copied */
    Node *cotangent;      /* by node */
    Node **tuple;         /* of LOOP and CALL nodes: cotangent by result */
    Node *constant_runs;  /* of LOOP nodes: the loop of their constant states alone, or NODE_NONE */
    /* constant results of loops and calls that also carry linear values: what equals them */
    Map constants;
    uint32_t nodes; /* copied */
    bool ok;
} Reverse;

void func_drop(Module *module, FuncId func) {
    Func *f = graph_get(module, func);
    vec_free(&f->nodes);
    vec_free(&f->operands);
    vec_free(&f->params);
    vec_free(&f->results);
    vec_free(&f->effects);
    map_free(&f->shared);
    if (func == module->funcs.len - 1)
        module->funcs.len--;
    else
        vec_push(&f->nodes, (NodeData){0});
}

Node sum_of(Module *module, FuncId func, Node n, Node m, Span span) {
    if (n == NODE_NONE || m == NODE_NONE) return n == NODE_NONE ? m : n;
    return graph_binary(module, func, OP_ADD, n, m, span);
}

Node zero_of(Module *module, FuncId func, Type type, Span span) {
    return node_fill(module, func, graph_const(module, func, 0), type, span);
}

Node zero_like(Module *module, FuncId func, Node like, Span span) {
    Type type = graph_node(graph_get(module, func), like)->type;
    return type.kind == TYPE_STACK ? graph_unary(module, func, OP_ZEROSTACK, like, span)
                                   : zero_of(module, func, type, span);
}

static FuncId transpose_many(Transposer *t, FuncId func, const Dependence *params);

/* Does a node need one of the linear parameters, other than through a node that is known? */
static bool needs_linear(const Func *f, Node node, const Dependence *params, uint32_t count,
                         const Map *known) {
    bool needs = false;
    uint8_t *live = mem_alloc(node + 1);
    memset(live, 0, node + 1);
    live[node] = 1;
    for (Node n = node; n > 0 && !needs; n--) {
        uint32_t ignored;
        if (!live[n] || (known && map_get(known, n, &ignored))) continue;
        const NodeData *d = graph_node(f, n);
        needs = d->op == OP_PARAM && d->index < count && depends(params[d->index]);
        for (uint32_t k = 0; k < d->count; k++) live[graph_operand(f, n, k)] = 1;
    }
    mem_free(live);
    return needs;
}

static void give(Reverse *r, Node operand, Node w, Span span) {
    r->cotangent[operand] = sum_of(r->t->module, r->work, r->cotangent[operand], w, span);
}

static Node mul(Reverse *r, Node a, Node b, Span span) {
    return graph_binary(r->t->module, r->work, OP_MUL, a, b, span);
}

static bool is_linear(const Reverse *r, Node n) { return r->d->nodes[n] == DEPENDS_LINEAR; }

/* What pointwise node n, linear in operand i, gives to that operand. */
static Node pointwise_back(Reverse *r, Node n, uint32_t i, Node w) {
    Module *m = r->t->module;
    NodeData d = *graph_node(r->f, n);
    Node a[3] = {0};
    for (uint32_t k = 0; k < d.count && k < 3; k++) a[k] = graph_operand(r->f, n, k);
    w = node_broadcast(m, r->work, w, d.type, d.span);
    switch (d.op) {
    case OP_DIV: return graph_binary(m, r->work, OP_DIV, w, a[1], d.span);
    case OP_WHERE: {
        Node zero = graph_const(m, r->work, 0);
        Node pick[3] = {a[0], i == 1 ? w : zero, i == 1 ? zero : w};
        return graph_add(m, r->work, OP_WHERE, pick, 3, 0, 0, d.span);
    }
    case OP_DETACH: return w;
    case OP_GUARDED: return i == 0 ? w : graph_const(m, r->work, 0);
    default: return mul(r, op_info(d.op)->derivative(m, r->work, n, i, w), w, d.span);
    }
}

static void node_back(Reverse *r, Node n, Node w) {
    Module *m = r->t->module;
    NodeData d = *graph_node(r->f, n);
    for (uint32_t i = 0; i < d.count && r->ok; i++) {
        Node operand = graph_operand(r->f, n, i);
        if (!is_linear(r, operand)) continue;
        Node back = op_info(d.op)->class == CLASS_POINTWISE
                        ? pointwise_back(r, n, i, w)
                        : op_info(d.op)->derivative(m, r->work, n, i, w);
        if (back == NODE_NONE) {
            r->ok = false;
            return;
        }
        give(r, operand,
             node_unbroadcast(m, r->work, back, graph_node(r->f, operand)->type, d.span), d.span);
    }
}

/* ---- calls --------------------------------------------------------------------- */

/* The dependences of a node's operands. */
static Dependence *operand_dependences(Reverse *r, Node n) {
    uint32_t count = graph_node(r->f, n)->count;
    Dependence *x = ARENA_ARRAY(r->t->arena, Dependence, count + 1);
    for (uint32_t k = 0; k < count; k++) x[k] = r->d->nodes[graph_operand(r->f, n, k)];
    return x;
}

static void call_back(Reverse *r, Node n) {
    Module *m = r->t->module;
    NodeData d = *graph_node(r->f, n);
    Dependence *x = operand_dependences(r, n);
    FuncId callee = d.index, back = transpose_many(r->t, callee, x);
    if (back == 0) {
        r->ok = false;
        return;
    }
    VEC(Node) args = {0};
    for (uint32_t j = 0; j < graph_get(m, callee)->results.len; j++) {
        if (r->d->results[n][j] != DEPENDS_LINEAR) continue;
        Node w = r->tuple[n][j];
        Type type = graph_node(graph_get(m, callee), graph_get(m, callee)->results.data[j])->type;
        vec_push(&args, w != NODE_NONE ? w : zero_of(m, r->work, type, d.span));
    }
    for (uint32_t k = 0; k < d.count; k++)
        if (!depends(x[k])) vec_push(&args, graph_operand(r->f, n, k));
    Node call = graph_add(m, r->work, OP_CALL, args.data, args.len, back, 0, d.span);
    uint32_t number = 0;
    for (uint32_t k = 0; k < d.count; k++)
        if (depends(x[k]))
            give(r, graph_operand(r->f, n, k), graph_result(m, r->work, call, number++), d.span);
    vec_free(&args);
}

/* ---- loops ---------------------------------------------------------------------- */

typedef struct {
    Loop loop;
    Dependence *params; /* of the body */
    /* (cotangents of linear next states, other parameters) -> cotangents of linear ones */
    FuncId body_back;
    uint32_t linear_states, linear_captured, constant_states;
} LoopBack;

/* A loop of the constant states of the loop at node n alone, which keeps their values before
 * every step as stacks: results (constant states…, steps, stacks…). NODE_NONE where they cannot
 * be told apart. */
static Node constant_run(Reverse *r, Node n, const Loop *whole, const Dependence *params) {
    Module *m = r->t->module;
    NodeData d = *graph_node(r->f, n);
    Func *old = graph_get(m, whole->body);
    if (r->constant_runs[n] != NODE_NONE) return r->constant_runs[n];
    if (whole->has_stop) return NODE_NONE;
    for (uint32_t i = 0; i < whole->states; i++)
        if (!depends(params[1 + i]) &&
            needs_linear(old, old->results.data[i], params, old->params.len, NULL))
            return NODE_NONE;
    FuncId body = graph_func(m, old->name);
    Map known = {0};
    Loop loop = {
        .body = body, .start = whole->start, .stride = 1, .name = whole->name, .span = whole->span};
    loop.collect = ARENA_ARRAY(r->t->arena, uint32_t, whole->states + 1);
    VEC(Node) operands = {0};
    for (uint32_t p = 0; p < old->params.len; p++) {
        if (depends(params[p])) continue;
        Type type = graph_node(old, old->params.data[p])->type;
        map_set(&known, old->params.data[p], graph_param(m, body, type, 0));
        vec_push(&operands, graph_operand(r->f, n, p));
        if (p >= 1 && p <= whole->states) {
            loop.collect[loop.collected++] = loop.states;
            loop.states++;
        }
        loop.captured += p > whole->states;
    }
    for (uint32_t i = 0; i < whole->states; i++)
        if (!depends(params[1 + i])) {
            Node next = graph_copy(m, whole->body, old->results.data[i], body, &known);
            vec_push(&graph_get(m, body)->results, next);
        }
    map_free(&known);
    r->constant_runs[n] = graph_add(m, r->work, OP_LOOP, operands.data, operands.len,
                                    graph_loop(m, &loop), 0, d.span);
    vec_free(&operands);
    return r->constant_runs[n];
}

/* The body of the backward loop: (k', cotangents of linear states, sums for linear captures;
 * count, constant captures, stacks of constant states) -> the next of the first two groups. */
static FuncId backward_body(Reverse *r, const LoopBack *b, const Type *stacks) {
    Module *m = r->t->module;
    Func *old = graph_get(m, b->loop.body);
    FuncId body = graph_func(m, old->name);
    Node step = graph_param(m, body, type_scalar(), 0);
    uint32_t first_captured = 1 + b->loop.states, params = old->params.len;
    VEC(Node) cotangents = {0}, sums = {0};
    for (uint32_t p = 1; p < params; p++)
        if (depends(b->params[p])) {
            Node own = graph_param(m, body, graph_node(old, old->params.data[p])->type, 0);
            if (p < first_captured)
                vec_push(&cotangents, own);
            else
                vec_push(&sums, own);
        }
    Node count = graph_param(m, body, type_scalar(), 0);
    Node *value = ARENA_ARRAY(r->t->arena, Node, params);
    for (uint32_t p = first_captured; p < params; p++)
        if (!depends(b->params[p]))
            value[p] = graph_param(m, body, graph_node(old, old->params.data[p])->type, 0);
    /* step k' undoes the step of number count - 1 - k' */
    Node last = graph_binary(m, body, OP_SUB, count, graph_const(m, body, 1), SPAN_NONE);
    Node number = graph_binary(m, body, OP_SUB, last, step, SPAN_NONE);
    value[0] = graph_binary(m, body, OP_ADD, number, graph_const(m, body, (double)b->loop.start),
                            SPAN_NONE);
    uint32_t stack = 0;
    for (uint32_t p = 1; p < first_captured; p++)
        if (!depends(b->params[p])) {
            Node all = graph_param(m, body, stacks[stack++], 0);
            value[p] = graph_add(m, body, OP_FRAME, (Node[]){all, number}, 2, 0, 0, SPAN_NONE);
        }
    VEC(Node) args = {0};
    for (uint32_t i = 0; i < cotangents.len; i++) vec_push(&args, cotangents.data[i]);
    for (uint32_t p = 0; p < params; p++)
        if (!depends(b->params[p])) vec_push(&args, value[p]);
    Map known = {0}; /* the transposed body is put in place */
    const Func *inner = graph_get(m, b->body_back);
    for (uint32_t i = 0; i < args.len; i++) map_set(&known, inner->params.data[i], args.data[i]);
    for (uint32_t i = 0; i < inner->results.len; i++) {
        Node made = graph_copy(m, b->body_back, inner->results.data[i], body, &known);
        if (i >= cotangents.len)
            made = graph_binary(m, body, OP_ADD, sums.data[i - cotangents.len], made, SPAN_NONE);
        vec_push(&graph_get(m, body)->results, made);
    }
    map_free(&known);
    vec_free(&args);
    vec_free(&cotangents);
    vec_free(&sums);
    return body;
}

/* The body's linear results must be the linear states. Refused: a stopping test, since the
 * number of steps would have to be kept, and the cotangent of a trajectory. */
static bool loop_prepare(Reverse *r, Node n, LoopBack *b) {
    Module *m = r->t->module;
    b->loop = m->loops.data[graph_node(r->f, n)->index];
    const Func *body = graph_get(m, b->loop.body);
    uint32_t params = body->params.len;
    if (b->loop.has_stop) return false;
    b->params = ARENA_ARRAY(r->t->arena, Dependence, params);
    loop_dependences(m, &b->loop, operand_dependences(r, n), b->params, r->t->arena);
    for (uint32_t p = 0; p < params; p++) {
        if (b->params[p] > DEPENDS_LINEAR || (p == 0 && depends(b->params[p]))) return false;
        if (b->params[p] == DEPENDS_ZERO) b->params[p] = DEPENDS_NOT;
        bool state = p >= 1 && p <= b->loop.states;
        b->linear_states += state && depends(b->params[p]);
        b->constant_states += state && !depends(b->params[p]);
        b->linear_captured += p > b->loop.states && depends(b->params[p]);
    }
    for (uint32_t i = 0; i < b->loop.collected; i++)
        if (r->tuple[n][b->loop.states + 1 + i] != NODE_NONE) return false;
    Dependences inner = dependences_of(m, b->loop.body, b->params, r->t->arena);
    for (uint32_t i = 0; i < b->loop.states; i++)
        if (depends(b->params[1 + i]) != depends(inner.nodes[body->results.data[i]])) return false;
    b->body_back = transpose_many(r->t, b->loop.body, b->params);
    return b->body_back != 0;
}

static void loop_back(Reverse *r, Node n) {
    Module *m = r->t->module;
    LoopBack b = {0};
    if (!loop_prepare(r, n, &b)) {
        r->ok = false;
        return;
    }
    NodeData d = *graph_node(r->f, n);
    Type *stacks = ARENA_ARRAY(r->t->arena, Type, b.loop.states + 1);
    Node run = b.constant_states ? constant_run(r, n, &b.loop, b.params) : NODE_NONE;
    if (b.constant_states && run == NODE_NONE) {
        r->ok = false;
        return;
    }
    VEC(Node) operands = {0};
    Node steps = graph_operand(r->f, n, 0);
    vec_push(&operands, steps);
    for (uint32_t i = 0; i < b.loop.states; i++)
        if (depends(b.params[1 + i])) {
            Type type = graph_node(r->f, graph_operand(r->f, n, 1 + i))->type;
            Node w = r->tuple[n][i];
            vec_push(&operands, w != NODE_NONE ? w : zero_of(m, r->work, type, d.span));
        }
    for (uint32_t p = 1 + b.loop.states; p < d.count; p++)
        if (depends(b.params[p]))
            vec_push(&operands, zero_of(m, r->work,
                                        graph_node(r->f, graph_operand(r->f, n, p))->type, d.span));
    vec_push(&operands, steps);
    for (uint32_t p = 1 + b.loop.states; p < d.count; p++)
        if (!depends(b.params[p])) vec_push(&operands, graph_operand(r->f, n, p));
    for (uint32_t i = 0; i < b.constant_states; i++) {
        Node stack = graph_result(m, r->work, run, b.constant_states + 1 + i);
        stacks[i] = graph_node(graph_get(m, r->work), stack)->type;
        vec_push(&operands, stack);
    }
    Loop back = {.start = 0, .stride = 1, .name = b.loop.name, .span = b.loop.span};
    back.states = b.linear_states + b.linear_captured;
    back.captured = operands.len - 1 - back.states;
    back.body = backward_body(r, &b, stacks);
    Node made = graph_add(m, r->work, OP_LOOP, operands.data, operands.len, graph_loop(m, &back), 0,
                          d.span);
    vec_free(&operands);
    uint32_t number = 0;
    for (uint32_t p = 1; p < d.count; p++)
        if (depends(b.params[p])) {
            Node result = graph_result(m, r->work, made, number++);
            if (is_linear(r, graph_operand(r->f, n, p)))
                give(r, graph_operand(r->f, n, p), result, d.span);
        }
}

/* ---- functions -------------------------------------------------------------------- */

/* What equals result n, constant, of a loop or call that carries linear values too; made without
 * those. */
static Node constant_result(Reverse *r, Node n) {
    Module *m = r->t->module;
    uint32_t index = graph_node(r->f, n)->index;
    Node tuple = graph_operand(r->f, n, 0);
    NodeData d = *graph_node(r->f, tuple);
    Dependence *x = operand_dependences(r, tuple);
    if (d.op == OP_CALL) {
        const Func *callee = graph_get(m, d.index);
        if (needs_linear(callee, callee->results.data[index], x, d.count, NULL)) return NODE_NONE;
        Map known = {0};
        for (uint32_t k = 0; k < d.count; k++)
            if (!depends(x[k]))
                map_set(&known, callee->params.data[k], graph_operand(r->f, tuple, k));
        Node made = graph_copy(m, d.index, callee->results.data[index], r->work, &known);
        map_free(&known);
        return made;
    }
    Loop loop = m->loops.data[d.index];
    Dependence *params = ARENA_ARRAY(r->t->arena, Dependence, d.count);
    loop_dependences(m, &loop, x, params, r->t->arena);
    Node run = index <= loop.states && !depends(params[0]) ? constant_run(r, tuple, &loop, params)
                                                           : NODE_NONE;
    uint32_t number = 0;
    for (uint32_t i = 0; i < index && i < loop.states; i++) number += !depends(params[1 + i]);
    return run == NODE_NONE ? NODE_NONE : graph_result(m, r->work, run, number);
}

static void find_constants(Reverse *r) {
    for (Node n = 1; n < r->nodes; n++) {
        if (graph_node(r->f, n)->op != OP_RESULT || depends(r->d->nodes[n]) ||
            !depends(r->d->nodes[graph_operand(r->f, n, 0)]))
            continue;
        Node same = constant_result(r, n);
        if (same != NODE_NONE) map_set(&r->constants, n, same);
    }
}

static void sweep(Reverse *r) {
    for (Node n = r->nodes; --n > 0 && r->ok;) {
        Op op = graph_node(r->f, n)->op;
        Node w = r->cotangent[n];
        if (op == OP_LOOP || op == OP_CALL) {
            if (r->tuple[n]) (op == OP_LOOP ? loop_back : call_back)(r, n);
        } else if (w == NODE_NONE || !is_linear(r, n) || op == OP_PARAM) {
            continue;
        } else if (op == OP_RESULT) {
            Node tuple = graph_operand(r->f, n, 0);
            uint32_t index = graph_node(r->f, n)->index;
            if (!r->tuple[tuple]) {
                const NodeData *d = graph_node(r->f, tuple);
                const Loop *loop = &r->t->module->loops.data[d->op == OP_LOOP ? d->index : 0];
                uint32_t results = d->op == OP_LOOP
                                       ? loop->states + 1 + loop->collected
                                       : graph_get(r->t->module, d->index)->results.len;
                r->tuple[tuple] = ARENA_ARRAY(r->t->arena, Node, results);
            }
            r->tuple[tuple][index] =
                sum_of(r->t->module, r->work, r->tuple[tuple][index], w, SPAN_NONE);
        } else {
            node_back(r, n, w);
        }
        if (!r->ok && r->t->depth == 1) r->t->why = n;
    }
}

/* The scratch copy: the same nodes under the same numbers, then the cotangents as parameters. */
static FuncId scratch_copy(Module *m, FuncId func) {
    const Func *old = graph_get(m, func);
    FuncId work = graph_func(m, old->name);
    Func *f = graph_get(m, work);
    vec_reserve(&f->nodes, old->nodes.len);
    memcpy(f->nodes.data, old->nodes.data, sizeof(NodeData) * old->nodes.len);
    f->nodes.len = old->nodes.len;
    for (uint32_t i = 0; i < old->operands.len; i++) vec_push(&f->operands, old->operands.data[i]);
    for (uint32_t i = 0; i < old->params.len; i++) vec_push(&f->params, old->params.data[i]);
    for (uint32_t i = 0; i < old->results.len; i++) vec_push(&f->results, old->results.data[i]);
    map_copy(&f->shared, &old->shared);
    return work;
}

/* Takes the cotangents of the linear parameters over into the function that is returned. */
static bool collect(Reverse *r, const Func *old, const Dependence *params, const Node *ws,
                    uint32_t w_count, FuncId to) {
    Module *m = r->t->module;
    Map known = {0};
    for (uint32_t i = 0; i < w_count; i++)
        map_set(&known, ws[i], graph_param(m, to, graph_node(r->f, ws[i])->type, 0));
    for (uint32_t p = 0; p < old->params.len; p++)
        if (!depends(params[p])) {
            Node own = r->f->params.data[p];
            map_set(&known, own, graph_param(m, to, graph_node(r->f, own)->type, 0));
        }
    bool ok = true;
    for (Node n = 1; n < r->nodes; n++) {
        uint32_t same;
        if (map_get(&r->constants, n, &same) &&
            !needs_linear(r->f, same, params, old->params.len, &known))
            map_set(&known, n, graph_copy(m, r->work, same, to, &known));
    }
    for (uint32_t p = 0; p < old->params.len && ok; p++) {
        if (!depends(params[p])) continue;
        Node own = r->f->params.data[p], w = r->cotangent[own];
        Type type = graph_node(r->f, own)->type;
        ok = type.kind != TYPE_STACK &&
             (w == NODE_NONE || !needs_linear(r->f, w, params, old->params.len, &known));
        if (ok)
            vec_push(&graph_get(m, to)->results,
                     w == NODE_NONE ? zero_of(m, to, type, SPAN_NONE)
                                    : node_broadcast(m, to, graph_copy(m, r->work, w, to, &known),
                                                     type, SPAN_NONE));
    }
    map_free(&known);
    return ok;
}

static FuncId transpose_many(Transposer *t, FuncId func, const Dependence *params) {
    Module *m = t->module;
    const Func *old = graph_get(m, func);
    for (uint32_t i = 0; i < t->known.len; i++)
        if (t->known.data[i].from == func &&
            memcmp(t->known.data[i].params, params, sizeof *params * old->params.len) == 0)
            return t->known.data[i].to;
    Dependences d = dependences_of(m, func, params, t->arena);
    for (uint32_t i = 0; i < old->results.len; i++)
        if (d.nodes[old->results.data[i]] > DEPENDS_LINEAR) {
            if (t->depth == 0) t->why = old->results.data[i];
            return 0;
        }
    t->depth++;
    FuncId to = graph_func(m, old->name), work = scratch_copy(m, func);
    Reverse r = {.t = t,
                 .work = work,
                 .f = graph_get(m, work),
                 .d = &d,
                 .nodes = old->nodes.len,
                 .ok = true};
    r.cotangent = ARENA_ARRAY(t->arena, Node, old->nodes.len);
    r.tuple = ARENA_ARRAY(t->arena, Node *, old->nodes.len);
    r.constant_runs = ARENA_ARRAY(t->arena, Node, old->nodes.len);
    Node *ws = ARENA_ARRAY(t->arena, Node, old->results.len + 1);
    uint32_t w_count = 0;
    for (uint32_t i = 0; i < old->results.len; i++)
        if (d.nodes[old->results.data[i]] == DEPENDS_LINEAR) {
            Node result = old->results.data[i];
            Node w = graph_param(m, work, graph_node(r.f, result)->type, 0);
            ws[w_count++] = w;
            give(&r, result, w, SPAN_NONE);
        }
    find_constants(&r);
    sweep(&r);
    if (r.ok) r.ok = collect(&r, old, params, ws, w_count, to);
    map_free(&r.constants);
    func_drop(m, work);
    if (!r.ok) func_drop(m, to);
    t->depth--;
    if (!r.ok) return 0;
    Known made = {func, to, arena_copy(t->arena, params, sizeof *params * (old->params.len + 1))};
    vec_push(&t->known, made);
    return to;
}

FuncId transpose_func(Module *module, FuncId func, Node *why) {
    Node culprit = NODE_NONE;
    Linearity linearity = analyse_linearity(module, func, 0, &culprit);
    if (why) *why = culprit;
    if (linearity == LINEARITY_NONLINEAR) return 0;
    Transposer t = {.module = module, .arena = arena_new()};
    uint32_t count = graph_get(module, func)->params.len;
    Dependence *params = ARENA_ARRAY(t.arena, Dependence, count + 2);
    for (uint32_t i = 0; i < count; i++) params[i] = i == 0 ? DEPENDS_LINEAR : DEPENDS_NOT;
    FuncId made = 0;
    double number;
    const Func *f = graph_get(module, func);
    if (linearity == LINEARITY_CONSTANT && node_is_number(f, f->results.data[0], &number) &&
        number == 0) {
        made = graph_func(module, f->name); /* the transpose of zero */
        graph_param(module, made, graph_node(f, f->results.data[0])->type, 0);
        for (uint32_t p = 1; p < count; p++)
            graph_param(module, made, graph_node(f, f->params.data[p])->type, 0);
        Node zero = zero_of(module, made, graph_node(f, f->params.data[0])->type, SPAN_NONE);
        vec_push(&graph_get(module, made)->results, zero);
    } else if (linearity == LINEARITY_CONSTANT || linearity == LINEARITY_AFFINE)
        t.why = graph_get(module, func)->results.data[0];
    else
        made = transpose_many(&t, func, params);
    if (why && made == 0) *why = t.why;
    vec_free(&t.known);
    arena_free(t.arena);
    return made;
}
