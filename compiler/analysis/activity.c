/* What varies when some parameters do: the nodes that have a tangent, or may have a cotangent. */
#include "compiler/analysis/transpose.h"
#include "compiler/ops/rules.h"

bool op_varies(Op op) {
    return op_info(op)->derivative != deriv_zero && op != OP_FRAMES && op != OP_ZEROSTACK;
}

void loop_activity(Module *module, const Loop *loop, bool *params, Arena *arena) {
    const Func *body = graph_get(module, loop->body);
    for (bool again = true; again;) {
        again = false;
        const bool *nodes = activity_of(module, loop->body, params, arena);
        for (uint32_t i = 0; i < loop->states; i++)
            if (nodes[body->results.data[i]] && !params[1 + i]) params[1 + i] = again = true;
    }
}

static bool *results_of_loop(Module *module, const Loop *loop, bool *operands, Arena *arena) {
    bool *results = ARENA_ARRAY(arena, bool, loop->states + 1 + loop->collected);
    operands[0] = false; /* the number of steps */
    loop_activity(module, loop, operands, arena);
    for (uint32_t i = 0; i < loop->states; i++) results[i] = operands[1 + i];
    for (uint32_t i = 0; i < loop->collected; i++)
        results[loop->states + 1 + i] = operands[1 + loop->collect[i]];
    return results;
}

/* By result of a loop or call of which something varies. */
static bool *tuple_activity(Module *module, const Func *f, Node n, const bool *nodes,
                            Arena *arena) {
    const NodeData *d = graph_node(f, n);
    bool *operands = ARENA_ARRAY(arena, bool, d->count + 1);
    for (uint32_t k = 0; k < d->count; k++) operands[k] = nodes[graph_operand(f, n, k)];
    if (d->op == OP_LOOP)
        return results_of_loop(module, &module->loops.data[d->index], operands, arena);
    const Func *callee = d->op == OP_CALL ? graph_get(module, d->index) : NULL;
    const bool *inner = callee ? activity_of(module, d->index, operands, arena) : NULL;
    uint32_t count = callee ? callee->results.len : d->count;
    bool *results = ARENA_ARRAY(arena, bool, count + 1);
    for (uint32_t i = 0; i < count; i++) results[i] = !inner || inner[callee->results.data[i]];
    return results;
}

bool *activity_of(Module *module, FuncId func, const bool *params, Arena *arena) {
    const Func *f = graph_get(module, func);
    bool *nodes = ARENA_ARRAY(arena, bool, f->nodes.len);
    bool **tuples = ARENA_ARRAY(arena, bool *, f->nodes.len);
    for (Node n = 1; n < f->nodes.len; n++) {
        const NodeData *d = graph_node(f, n);
        for (uint32_t k = 0; k < d->count; k++)
            nodes[n] = nodes[n] || nodes[graph_operand(f, n, k)];
        if (d->op == OP_PARAM)
            nodes[n] = params[d->index];
        else if (d->op == OP_IMPLICIT) /* as what is left of its equation */
            nodes[n] = nodes[graph_operand(f, n, 1)];
        else if (d->op == OP_RESULT)
            nodes[n] = nodes[n] && tuples[graph_operand(f, n, 0)][d->index];
        else if (nodes[n] && d->type.kind == TYPE_TUPLE)
            tuples[n] = tuple_activity(module, f, n, nodes, arena);
        else if (!op_varies(d->op))
            nodes[n] = false;
    }
    return nodes;
}
