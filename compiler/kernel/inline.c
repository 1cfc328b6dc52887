/* Calls of small functions are inlined, and loops of a few steps unrolled, so that kernels go across them. */
#include "compiler/kernel/build.h"

#include <string.h>

enum {
    INLINE_NODES = 500,
    UNROLL_STEPS = 4, /* the most of a loop that is not left a loop */
};

static bool is_small(Planner *p, FuncId id) {
    const Func *f = graph_get(p->module, planner_flat(p, id));
    if (f->nodes.len > INLINE_NODES) return false;
    for (Node n = 1; n < f->nodes.len; n++) {
        Op op = graph_node(f, n)->op;
        if (op == OP_LOOP || op == OP_CALL || op == OP_TASK) return false;
    }
    return true;
}

/* Steps of the loop at node n, if they are few and known, nothing else is wanted of it than its last states, and
 * the way back of a gradient does not go through it; else 0. */
static uint32_t few_steps(Planner *p, FuncId id, Node n) {
    const Func *f = graph_get(p->module, id);
    if (graph_node(f, n)->op != OP_LOOP) return 0;
    const Loop *loop = &p->module->loops.data[graph_node(f, n)->index];
    double count;
    if (!graph_is_const(f, graph_operand(f, n, 0), &count) ||
        !(count >= 1 && count <= UNROLL_STEPS) || count != (uint32_t)count || loop->has_stop ||
        loop->collected || !is_small(p, loop->body) ||
        graph_get(p->module, planner_flat(p, loop->body))->nodes.len * count > INLINE_NODES)
        return 0;
    f = graph_get(p->module, id);
    for (Node b = n + 1; b < f->nodes.len; b++)
        for (uint32_t i = 0; graph_node(f, b)->op == OP_BACK && i < graph_node(f, b)->count; i++)
            if (graph_operand(f, b, i) == n) return 0;
    return (uint32_t)count;
}

static bool has_small(Planner *p, FuncId id) {
    bool any = false;
    for (Node n = 1; n < graph_get(p->module, id)->nodes.len; n++) {
        const NodeData *d = graph_node(graph_get(p->module, id), n);
        any = any || (d->op == OP_CALL && is_small(p, d->index)) || few_steps(p, id, n) > 0;
    }
    return any;
}

/* The steps of the loop at node n one after the other, in place of its results. */
static void unroll(Planner *p, FuncId id, Node n, uint32_t steps, FuncId to, Map *known) {
    Module *m = p->module;
    NodeData d = *graph_node(graph_get(m, id), n);
    const Loop loop = m->loops.data[d.index];
    FuncId body = planner_flat(p, loop.body);
    Node *operand = ARENA_ARRAY(p->arena, Node, d.count),
         *next = ARENA_ARRAY(p->arena, Node, loop.states + 1);
    for (uint32_t i = 1; i < d.count; i++)
        operand[i] = graph_copy(m, id, graph_operand(graph_get(m, id), n, i), to, known);
    for (uint32_t t = 0; t < steps; t++) {
        Map inner = {0};
        map_set(&inner, graph_get(m, body)->params.data[0],
                graph_const(m, to, (double)(loop.start + t)));
        for (uint32_t i = 1; i < d.count; i++)
            map_set(&inner, graph_get(m, body)->params.data[i], operand[i]);
        for (uint32_t i = 0; i < loop.states; i++)
            next[i] = graph_copy(m, body, graph_get(m, body)->results.data[i], to, &inner);
        memcpy(operand + 1, next, sizeof *next * loop.states);
        map_free(&inner);
    }
    for (Node r = n + 1; r < graph_get(m, id)->nodes.len; r++) {
        const NodeData *result = graph_node(graph_get(m, id), r);
        if (result->op != OP_RESULT || graph_operand(graph_get(m, id), r, 0) != n) continue;
        Node value =
            result->index < loop.states ? operand[1 + result->index] : graph_const(m, to, steps);
        map_set(known, r, value);
    }
}

/* Replaces result nodes of small calls and of loops of a few steps by copies of what they compute. */
static void inline_small(Planner *p, FuncId id, FuncId to, Map *known) {
    Module *m = p->module;
    for (Node n = 1; n < graph_get(m, id)->nodes.len; n++) {
        NodeData d = *graph_node(graph_get(m, id), n);
        uint32_t steps = few_steps(p, id, n);
        if (steps) unroll(p, id, n, steps, to, known);
        if (d.op != OP_RESULT) continue;
        Node call = graph_operand(graph_get(m, id), n, 0);
        NodeData c = *graph_node(graph_get(m, id), call);
        if (c.op != OP_CALL || !is_small(p, c.index)) continue;
        FuncId callee = planner_flat(p, c.index);
        Map inner = {0};
        for (uint32_t i = 0; i < c.count; i++) {
            Node arg = graph_copy(m, id, graph_operand(graph_get(m, id), call, i), to, known);
            map_set(&inner, graph_get(m, callee)->params.data[i], arg);
        }
        Node result =
            graph_copy(m, callee, graph_get(m, callee)->results.data[d.index], to, &inner);
        map_set(known, n, result);
        map_free(&inner);
    }
}

FuncId planner_flat(Planner *p, FuncId id) {
    Module *m = p->module;
    uint32_t done;
    if (map_get(&p->flat, id, &done)) return done;
    if (!has_small(p, id)) {
        map_set(&p->flat, id, id);
        return id;
    }
    FuncId to = graph_func(m, graph_get(m, id)->name);
    Map known = {0};
    for (uint32_t i = 0; i < graph_get(m, id)->params.len; i++) {
        Node param = graph_get(m, id)->params.data[i];
        map_set(&known, param, graph_param(m, to, graph_node(graph_get(m, id), param)->type, 0));
    }
    inline_small(p, id, to, &known);
    for (uint32_t i = 0; i < graph_get(m, id)->results.len; i++) {
        Node r = graph_copy(m, id, graph_get(m, id)->results.data[i], to, &known);
        vec_push(&graph_get(m, to)->results, r);
    }
    for (uint32_t i = 0; i < graph_get(m, id)->effects.len; i++) {
        Effect e = graph_get(m, id)->effects.data[i];
        Node *values = ARENA_ARRAY(m->arena, Node, e.count + 1);
        for (uint32_t k = 0; k < e.count; k++)
            values[k] = e.values[k] ? graph_copy(m, id, e.values[k], to, &known) : NODE_NONE;
        e.values = values;
        vec_push(&graph_get(m, to)->effects, e);
    }
    map_free(&known);
    map_set(&p->flat, id, to);
    return to;
}
