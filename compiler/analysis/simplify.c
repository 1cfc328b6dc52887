/* simplify: fold and share again, drop dead code, and shrink loops, forwards and backwards: states and
 * captures that nothing needs go, states that never change become captures, and what a loop captured but
 * can make itself (numbers, coordinates, masks of edges) is made inside. */
#include "compiler/analysis/analysis.h"
#include "compiler/analysis/rebuild.h"

#include <string.h>

enum { KEEP_NOT, KEEP_KEPT, KEEP_STATE, KEEP_CAPTURE, KEEP_INSIDE };

typedef struct {
    LoopId loop;      /* the new one, or 0: unchanged */
    uint8_t *keep;    /* by parameter of the old body */
    uint32_t *result; /* new number of each old result */
    Node *invariant;  /* by state: the operand that it equals for ever, or NODE_NONE */
    uint32_t *order;  /* old operand numbers of the new operands after the first */
    uint32_t count;
} Shrink;

typedef struct {
    Shrink *loops; /* by node */
} Shrinks;

/* needs[r * params + p]: does body result r need body parameter p? */
static uint8_t *body_needs(const Func *body) {
    uint32_t params = body->params.len;
    uint8_t *needs = mem_alloc((size_t)body->results.len * params + 1);
    uint8_t *live = mem_alloc(body->nodes.len);
    for (uint32_t r = 0; r < body->results.len; r++) {
        memset(live, 0, body->nodes.len);
        live[body->results.data[r]] = 1;
        for (Node n = body->results.data[r]; n > 0; n--)
            for (uint32_t k = 0; live[n] && k < graph_node(body, n)->count; k++)
                live[graph_operand(body, n, k)] = 1;
        for (uint32_t p = 0; p < params; p++) needs[r * params + p] = live[body->params.data[p]];
    }
    mem_free(live);
    return needs;
}

/* Can a loop make this itself, for nothing? */
static bool is_cheap(const Func *f, Node n) {
    Op op = graph_node(f, n)->op;
    if (op == OP_SPREAD) return graph_is_const(f, graph_operand(f, n, 0), NULL);
    return op == OP_CONST || op == OP_COORD || op == OP_EDGE || op == OP_CELLS;
}

/* Which results of the loop at node n does the function use? */
static uint8_t *used_results(const Func *f, Node n, uint32_t count) {
    uint8_t *used = mem_alloc(count);
    memset(used, 0, count);
    for (Node r = n + 1; r < f->nodes.len; r++)
        if (graph_node(f, r)->op == OP_RESULT && graph_operand(f, r, 0) == n &&
            graph_node(f, r)->index < count)
            used[graph_node(f, r)->index] = 1;
    return used;
}

/* Parameters of its body before the states: k, and of a loop run backwards those that are kept. */
static uint32_t first_state(const Func *f, Node n, const Loop *loop) {
    return graph_node(f, n)->op == OP_BACK ? 1 + loop->collected : 1;
}

/* Marks the states that a loop collects, or that a loop run backwards keeps of it. */
static void mark_collected(const Module *module, const Func *f, Node n, const Loop *loop,
                           const uint8_t *used, uint8_t *marks) {
    for (uint32_t i = 0; i < loop->collected; i++)
        marks[loop->collect[i]] |= used[loop->states + 1 + i];
    for (Node b = n + 1; b < f->nodes.len; b++) {
        if (graph_node(f, b)->op != OP_BACK || graph_operand(f, b, 0) != n) continue;
        const Loop *back = &module->loops.data[graph_node(f, b)->index];
        for (uint32_t i = 0; i < back->collected; i++) marks[back->collect[i]] = 1;
    }
}

/* By parameter of the body: is it needed in the end? */
static uint8_t *needed_params(const Module *module, const Func *f, Node n, const Loop *loop,
                              const uint8_t *used, const uint8_t *collected) {
    const Func *body = graph_get(module, loop->body);
    uint32_t params = body->params.len, first = first_state(f, n, loop);
    uint8_t *needs = body_needs(body), *need = mem_alloc(params);
    memset(need, 0, params);
    for (uint32_t i = 0; i < loop->states; i++) need[first + i] = used[i] | collected[i];
    for (uint32_t p = 1; loop->has_stop && p < params; p++)
        need[p] |= needs[loop->states * params + p];
    for (bool again = true; again;) {
        again = false;
        for (uint32_t i = 0; i < loop->states; i++)
            for (uint32_t p = 1; need[first + i] && p < params; p++)
                if (needs[i * params + p] && !need[p]) need[p] = again = true;
    }
    mem_free(needs);
    return need;
}

/* Fills `keep`; returns whether anything changes. */
static bool decide(const Module *module, const Func *f, Node n, const Loop *loop,
                   const uint8_t *used, Shrink *s) {
    const Func *body = graph_get(module, loop->body);
    uint32_t params = body->params.len, first = first_state(f, n, loop);
    bool changes = false, back = graph_node(f, n)->op == OP_BACK;
    uint8_t *collected = mem_alloc(loop->states + 1);
    memset(collected, 0, loop->states + 1);
    if (!back) mark_collected(module, f, n, loop, used, collected);
    uint8_t *need = needed_params(module, f, n, loop, used, collected);
    for (uint32_t p = 1; p < params; p++) {
        bool kept = p < first, state = !kept && p < first + loop->states;
        uint8_t whole = kept ? KEEP_KEPT : state ? KEEP_STATE : KEEP_CAPTURE;
        uint8_t keep = need[p] ? whole : KEEP_NOT;
        if (keep == KEEP_STATE && !collected[p - first] &&
            body->results.data[p - first] == body->params.data[p]) {
            s->invariant[p - first] = graph_operand(f, n, 1 + p - first);
            keep = KEEP_CAPTURE;
        }
        if (keep == KEEP_CAPTURE && is_cheap(f, graph_operand(f, n, 1 + p - first)))
            keep = KEEP_INSIDE;
        s->keep[p] = keep;
        changes = changes || keep != whole;
    }
    for (uint32_t i = 0; !back && i < loop->collected; i++)
        changes = changes || !used[loop->states + 1 + i];
    mem_free(collected);
    mem_free(need);
    return changes;
}

/* The body with the kept parameters and results alone. */
static FuncId shrink_body(Module *module, FuncId func, Node n, const Loop *loop, Shrink *s) {
    Func *old = graph_get(module, loop->body);
    FuncId id = graph_func(module, old->name);
    uint32_t first = first_state(graph_get(module, func), n, loop);
    Map known = {0}, outer = {0};
    map_set(&known, old->params.data[0], graph_param(module, id, type_scalar(), 0));
    for (int pass = KEEP_KEPT; pass <= KEEP_CAPTURE; pass++)
        for (uint32_t p = 1; p < old->params.len; p++)
            if (s->keep[p] == pass) {
                map_set(&known, old->params.data[p], graph_param_like(module, id, old, p));
                if (pass != KEEP_KEPT) s->order[s->count++] = 1 + p - first;
            }
    for (uint32_t p = 1; p < old->params.len; p++)
        if (s->keep[p] == KEEP_INSIDE) {
            Node source = graph_operand(graph_get(module, func), n, 1 + p - first);
            map_set(&known, old->params.data[p], graph_copy(module, func, source, id, &outer));
        }
    for (uint32_t i = 0; i < loop->states + loop->has_stop; i++)
        if (i == loop->states || s->keep[first + i] == KEEP_STATE) {
            Node next = graph_copy(module, loop->body, old->results.data[i], id, &known);
            vec_push(&graph_get(module, id)->results, next);
        }
    map_free(&known);
    map_free(&outer);
    return id;
}

static Shrink shrink_loop(Module *module, FuncId func, Node n) {
    const NodeData *d = graph_node(graph_get(module, func), n);
    Loop loop = module->loops.data[d->index];
    bool back = d->op == OP_BACK;
    uint32_t params = graph_get(module, loop.body)->params.len,
             results = loop.states + 1 + (back ? 0 : loop.collected),
             first = first_state(graph_get(module, func), n, &loop);
    Arena *arena = module->arena;
    Shrink s = {0};
    s.keep = ARENA_ARRAY(arena, uint8_t, params);
    s.result = ARENA_ARRAY(arena, uint32_t, results);
    s.invariant = ARENA_ARRAY(arena, Node, loop.states + 1);
    s.order = ARENA_ARRAY(arena, uint32_t, params);
    uint8_t *used = used_results(graph_get(module, func), n, results);
    if (decide(module, graph_get(module, func), n, &loop, used, &s)) {
        Loop made = loop;
        made.body = shrink_body(module, func, n, &loop, &s);
        made.states = made.captured = made.collected = 0;
        made.collect = ARENA_ARRAY(arena, uint32_t, loop.collected + 1);
        for (uint32_t p = 1; p < params; p++) {
            if (s.keep[p] == KEEP_KEPT) made.collect[made.collected++] = loop.collect[p - 1];
            if (s.keep[p] == KEEP_STATE) s.result[p - first] = made.states++;
            made.captured += s.keep[p] == KEEP_CAPTURE;
        }
        s.result[loop.states] = made.states;
        for (uint32_t i = 0; !back && i < loop.collected; i++)
            if (used[loop.states + 1 + i]) {
                s.result[loop.states + 1 + i] = made.states + 1 + made.collected;
                made.collect[made.collected++] = s.result[loop.collect[i]];
            }
        s.loop = graph_loop(module, &made);
    }
    mem_free(used);
    return s;
}

/* A loop run backwards keeps the same states under the new numbers that they have in the loop. */
static LoopId renumbered(Module *module, LoopId back, const Shrink *loop) {
    Loop made = module->loops.data[back];
    made.collect = arena_copy(module->arena, made.collect, sizeof(uint32_t) * made.collected);
    for (uint32_t i = 0; i < made.collected; i++) made.collect[i] = loop->result[made.collect[i]];
    return graph_loop(module, &made);
}

static Node rewrite_shrunk(void *context, Module *module, FuncId from, Node n, FuncId to,
                           const Node *known) {
    const Shrinks *shrinks = context;
    NodeData d = *graph_node(graph_get(module, from), n);
    const Shrink *s = &shrinks->loops[n];
    if ((d.op == OP_LOOP || d.op == OP_BACK) && s->loop) {
        Node *operands = ARENA_ARRAY(module->arena, Node, s->count + 1);
        operands[0] = known[graph_operand(graph_get(module, from), n, 0)];
        for (uint32_t i = 0; i < s->count; i++)
            operands[1 + i] = known[graph_operand(graph_get(module, from), n, s->order[i])];
        return graph_add(module, to, d.op, operands, 1 + s->count, s->loop, 0, d.span);
    }
    if (d.op == OP_BACK) {
        s = &shrinks->loops[graph_operand(graph_get(module, from), n, 0)];
        if (s->loop == 0) return NODE_NONE;
        Node *operands = ARENA_ARRAY(module->arena, Node, d.count);
        for (uint32_t i = 0; i < d.count; i++)
            operands[i] = known[graph_operand(graph_get(module, from), n, i)];
        return graph_add(module, to, OP_BACK, operands, d.count, renumbered(module, d.index, s), 0,
                         d.span);
    }
    if (d.op != OP_RESULT) return NODE_NONE;
    Node tuple = graph_operand(graph_get(module, from), n, 0);
    s = &shrinks->loops[tuple];
    if (s->loop == 0) return NODE_NONE;
    LoopId old = graph_node(graph_get(module, from), tuple)->index;
    if (d.index < module->loops.data[old].states && s->invariant[d.index])
        return known[s->invariant[d.index]];
    return graph_result(module, to, known[tuple], s->result[d.index]);
}

/* Shrinks the loops of one kind. */
static void shrink_loops(Module *module, FuncId func, Op kind) {
    uint32_t count = graph_get(module, func)->nodes.len;
    Shrinks shrinks = {mem_alloc(sizeof(Shrink) * count)};
    memset(shrinks.loops, 0, sizeof(Shrink) * count);
    bool any = false;
    for (Node n = 1; n < count; n++)
        if (graph_node(graph_get(module, func), n)->op == kind) {
            shrinks.loops[n] = shrink_loop(module, func, n);
            any = any || shrinks.loops[n].loop;
        }
    if (any) {
        rebuild_func(module, func, rewrite_shrunk, &shrinks);
        rebuild_func(module, func, NULL, NULL); /* what only the old loops needed */
    }
    mem_free(shrinks.loops);
}

/* What speaks of derivatives alone: all are taken before. */
static Node rewrite_settled(void *context, Module *module, FuncId from, Node n, FuncId to,
                            const Node *known) {
    const NodeData *d = graph_node(graph_get(module, from), n);
    bool settled = d->op == OP_IMPLICIT || d->op == OP_DETACH;
    (void)context, (void)to;
    return settled ? known[graph_operand(graph_get(module, from), n, 0)] : NODE_NONE;
}

static void simplify_func(Module *module, FuncId func) {
    rebuild_func(module, func, rewrite_settled, NULL);
    rebuild_func(module, func, NULL, NULL); /* what only that needed */
    shrink_loops(module, func, OP_BACK);    /* first: a loop needs what is kept of it */
    shrink_loops(module, func, OP_LOOP);
}

void pass_simplify(Module *module) {
    uint32_t count;
    FuncId *order = rebuild_order(module, &count);
    for (uint32_t i = 0; i < count; i++) simplify_func(module, order[i]);
    mem_free(order);
}
