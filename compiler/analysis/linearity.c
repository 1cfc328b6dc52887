/* Which nodes are linear in a parameter: one pass over the graph; loops by a fixed point. */
#include "compiler/analysis/linearity.h"
#include "compiler/ops/ops.h"
#include "compiler/ops/rules.h"

/* Of a sum of two, or of two parts put side by side. */
static Dependence joined(Dependence a, Dependence b) {
    if (a == DEPENDS_ZERO) return b;
    if (b == DEPENDS_ZERO || a == b) return a;
    if (a == DEPENDS_NONLINEAR || b == DEPENDS_NONLINEAR) return DEPENDS_NONLINEAR;
    return DEPENDS_AFFINE;
}

static Dependence product(Dependence a, Dependence b) {
    if (a == DEPENDS_ZERO || b == DEPENDS_ZERO) return DEPENDS_ZERO;
    if (a == DEPENDS_NOT) return b;
    return b == DEPENDS_NOT ? a : DEPENDS_NONLINEAR;
}

static Dependence any(const Dependence *x, uint32_t count) {
    for (uint32_t i = 0; i < count; i++)
        if (depends(x[i])) return DEPENDS_NONLINEAR;
    return DEPENDS_NOT;
}

static Dependence all_joined(const Dependence *x, uint32_t count) {
    Dependence d = DEPENDS_ZERO;
    for (uint32_t i = 0; i < count; i++) d = joined(d, x[i]);
    return d;
}

void loop_dependences(Module *module, const Loop *loop, const Dependence *operands,
                      Dependence *params, Arena *arena) {
    const Func *body = graph_get(module, loop->body);
    params[0] = depends(operands[0]) ? DEPENDS_NONLINEAR : DEPENDS_NOT;
    for (uint32_t i = 1; i < body->params.len; i++) params[i] = operands[i];
    for (bool again = true; again;) {
        again = false;
        Dependences inner = dependences_of(module, loop->body, params, arena);
        bool stops = loop->has_stop && depends(inner.nodes[body->results.data[loop->states]]);
        for (uint32_t i = 0; i < loop->states; i++) {
            Dependence d = joined(params[1 + i], inner.nodes[body->results.data[i]]);
            if (stops || params[0] == DEPENDS_NONLINEAR) /* how often it runs depends */
                d = DEPENDS_NONLINEAR;
            again = again || d != params[1 + i];
            params[1 + i] = d;
        }
    }
}

static Dependence *of_loop(Module *module, const Loop *loop, const Dependence *x, Arena *arena) {
    const Func *body = graph_get(module, loop->body);
    Dependence *params = ARENA_ARRAY(arena, Dependence, body->params.len);
    Dependence *results = ARENA_ARRAY(arena, Dependence, loop->states + 1 + loop->collected);
    loop_dependences(module, loop, x, params, arena);
    for (uint32_t i = 0; i < loop->states; i++) results[i] = params[1 + i];
    results[loop->states] = params[0];
    if (loop->has_stop) {
        Dependences inner = dependences_of(module, loop->body, params, arena);
        if (depends(inner.nodes[body->results.data[loop->states]]))
            results[loop->states] = DEPENDS_NONLINEAR;
    }
    for (uint32_t i = 0; i < loop->collected; i++)
        results[loop->states + 1 + i] = params[1 + loop->collect[i]];
    return results;
}

static Dependence *of_call(Module *module, FuncId callee, const Dependence *x, Arena *arena) {
    const Func *f = graph_get(module, callee);
    Dependences inner = dependences_of(module, callee, x, arena);
    Dependence *results = ARENA_ARRAY(arena, Dependence, f->results.len + 1);
    for (uint32_t i = 0; i < f->results.len; i++) results[i] = inner.nodes[f->results.data[i]];
    return results;
}

static Dependence of_node(const NodeData *d, const Dependence *x) {
    switch (d->op) {
    case OP_CONST: return d->number == 0 ? DEPENDS_ZERO : DEPENDS_NOT;
    case OP_GUARDED: /* a multiple of what it is guarded by */
    case OP_DETACH:
    case OP_CHECKED:
    case OP_NEG:
    case OP_CHANNEL:
    case OP_CHSUM:
    case OP_RESTRICT:
    case OP_PROLONG:
    case OP_SUM:
    case OP_SPREAD:
    case OP_ENTRY:
    case OP_BYCHANNEL:
    case OP_BATCHMEAN:
    case OP_TOTALS: return x[0];
    case OP_ADD:
    case OP_SUB:
    case OP_CONCAT:
    case OP_ROW:
    case OP_STENCIL: return all_joined(x, d->count);
    case OP_CONV:
    case OP_CONVT:
    case OP_CONVW:
    case OP_MUL: return product(x[0], x[1]);
    case OP_TRIDIAG:
        return depends(x[1]) || depends(x[2]) || depends(x[3]) ? DEPENDS_NONLINEAR : x[0];
    case OP_FMA: return joined(product(x[0], x[1]), x[2]);
    case OP_DIV: return depends(x[1]) ? DEPENDS_NONLINEAR : x[0];
    case OP_WHERE: return depends(x[0]) ? DEPENDS_NONLINEAR : joined(x[1], x[2]);
    case OP_ZEROSTACK: return DEPENDS_ZERO;
    case OP_SCATTER: return depends(x[1]) ? DEPENDS_NONLINEAR : joined(x[0], x[2]);
    case OP_FRAME: return depends(x[1]) ? DEPENDS_NONLINEAR : x[0];
    default: return any(x, d->count);
    }
}

Dependences dependences_of(Module *module, FuncId func, const Dependence *params, Arena *arena) {
    const Func *f = graph_get(module, func);
    Dependences all = {0};
    all.nodes = ARENA_ARRAY(arena, Dependence, f->nodes.len);
    all.results = ARENA_ARRAY(arena, Dependence *, f->nodes.len);
    VEC(Dependence) x = {0};
    for (Node n = 1; n < f->nodes.len; n++) {
        const NodeData *d = graph_node(f, n);
        x.len = 0;
        for (uint32_t k = 0; k < d->count; k++) vec_push(&x, all.nodes[graph_operand(f, n, k)]);
        if (d->op == OP_PARAM) {
            all.nodes[n] = params[d->index];
        } else if (d->op == OP_LOOP || d->op == OP_CALL) {
            bool loop = d->op == OP_LOOP;
            Dependence known = any(x.data, x.len);
            all.results[n] = known == DEPENDS_NOT && !loop ? NULL
                             : loop ? of_loop(module, &module->loops.data[d->index], x.data, arena)
                                    : of_call(module, d->index, x.data, arena);
            all.nodes[n] = known == DEPENDS_NOT ? DEPENDS_NOT : DEPENDS_AFFINE;
        } else if (d->op == OP_RESULT) {
            const Dependence *results = all.results[graph_operand(f, n, 0)];
            Op op = graph_node(f, graph_operand(f, n, 0))->op;
            bool known = op == OP_LOOP || op == OP_CALL;
            all.nodes[n] = results ? results[d->index] : known ? DEPENDS_NOT : any(x.data, x.len);
        } else {
            all.nodes[n] = of_node(d, x.data);
        }
        if (all.nodes[n] == DEPENDS_NONLINEAR && all.culprit == NODE_NONE) all.culprit = n;
    }
    vec_free(&x);
    return all;
}

Linearity analyse_linearity(Module *module, FuncId func, uint32_t p, Node *why) {
    Arena *arena = arena_new();
    const Func *f = graph_get(module, func);
    Dependence *params = ARENA_ARRAY(arena, Dependence, f->params.len + 1);
    for (uint32_t i = 0; i < f->params.len; i++) params[i] = i == p ? DEPENDS_LINEAR : DEPENDS_NOT;
    Dependences all = dependences_of(module, func, params, arena);
    Node result = f->results.data[0];
    Dependence d = all.nodes[result];
    if (why) {
        /* the first nonlinear node that the result needs */
        uint8_t *live = mem_alloc(f->nodes.len);
        for (Node n = 0; n < f->nodes.len; n++) live[n] = n == result;
        *why = NODE_NONE;
        for (Node n = result; n > 0 && d == DEPENDS_NONLINEAR; n--) {
            for (uint32_t k = 0; live[n] && k < graph_node(f, n)->count; k++)
                live[graph_operand(f, n, k)] = 1;
            if (live[n] && all.nodes[n] == DEPENDS_NONLINEAR) *why = n;
        }
        mem_free(live);
    }
    arena_free(arena);
    return d <= DEPENDS_NOT      ? LINEARITY_CONSTANT
           : d == DEPENDS_LINEAR ? LINEARITY_LINEAR
           : d == DEPENDS_AFFINE ? LINEARITY_AFFINE
                                 : LINEARITY_NONLINEAR;
}
