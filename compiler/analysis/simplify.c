/* simplify: fold and share again, drop dead code, and shrink loops: states and captures that
 * nothing needs go, states that never change become captures, and what a loop captured but can
 * make itself (numbers, coordinates, masks of edges) is made inside. */
#include "compiler/analysis/analysis.h"
#include "compiler/analysis/rebuild.h"

#include <string.h>

enum { KEEP_NOT, KEEP_STATE, KEEP_CAPTURE, KEEP_INSIDE };

typedef struct {
    LoopId loop;      /* the new one, or 0: unchanged */
    uint8_t *keep;    /* by operand of the old loop */
    uint32_t *result; /* new number of each old result */
    Node *invariant;  /* by state: the operand that it equals for ever, or NODE_NONE */
    uint32_t *order;  /* old operand numbers of the new operands after the count */
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

/* Fills `keep`; returns whether anything changes. */
static bool decide(const Module *module, const Func *f, Node n, const Loop *loop,
                   const uint8_t *used, Shrink *s) {
    const Func *body = graph_get(module, loop->body);
    uint32_t operands = 1 + loop->states + loop->captured;
    uint8_t *needs = body_needs(body), *need = mem_alloc(operands);
    memset(need, 0, operands);
    for (uint32_t i = 0; i < loop->states; i++) need[1 + i] = used[i];
    for (uint32_t i = 0; i < loop->collected; i++)
        need[1 + loop->collect[i]] |= used[loop->states + 1 + i];
    for (uint32_t p = 1; loop->has_stop && p < operands; p++)
        need[p] |= needs[loop->states * operands + p];
    for (bool again = true; again;) {
        again = false;
        for (uint32_t i = 0; i < loop->states; i++)
            for (uint32_t p = 1; need[1 + i] && p < operands; p++)
                if (needs[i * operands + p] && !need[p]) need[p] = again = true;
    }
    bool changes = false;
    for (uint32_t p = 1; p < operands; p++) {
        bool state = p <= loop->states;
        uint8_t keep = !need[p] ? KEEP_NOT : state ? KEEP_STATE : KEEP_CAPTURE;
        bool collected = false;
        for (uint32_t i = 0; i < loop->collected; i++)
            collected = collected || loop->collect[i] + 1 == p;
        if (keep == KEEP_STATE && !collected && body->results.data[p - 1] == body->params.data[p]) {
            s->invariant[p - 1] = graph_operand(f, n, p);
            keep = KEEP_CAPTURE;
        }
        if (keep == KEEP_CAPTURE && is_cheap(f, graph_operand(f, n, p))) keep = KEEP_INSIDE;
        s->keep[p] = keep;
        changes = changes || keep != (state ? KEEP_STATE : KEEP_CAPTURE);
    }
    for (uint32_t i = 0; i < loop->collected; i++) changes = changes || !used[loop->states + 1 + i];
    mem_free(needs);
    mem_free(need);
    return changes;
}

/* The body with the kept parameters and results alone. */
static FuncId shrink_body(Module *module, FuncId func, Node n, const Loop *loop, Shrink *s) {
    Func *old = graph_get(module, loop->body);
    FuncId id = graph_func(module, old->name);
    Map known = {0}, outer = {0};
    map_set(&known, old->params.data[0], graph_param(module, id, type_scalar(), 0));
    for (int pass = KEEP_STATE; pass <= KEEP_CAPTURE; pass++)
        for (uint32_t p = 1; p < old->params.len; p++)
            if (s->keep[p] == pass) {
                Type type = graph_node(old, old->params.data[p])->type;
                map_set(&known, old->params.data[p], graph_param(module, id, type, 0));
                s->order[s->count++] = p;
            }
    for (uint32_t p = 1; p < old->params.len; p++)
        if (s->keep[p] == KEEP_INSIDE) {
            Node source = graph_operand(graph_get(module, func), n, p);
            map_set(&known, old->params.data[p], graph_copy(module, func, source, id, &outer));
        }
    for (uint32_t i = 0; i < loop->states + loop->has_stop; i++)
        if (i == loop->states || s->keep[1 + i] == KEEP_STATE) {
            Node next = graph_copy(module, loop->body, old->results.data[i], id, &known);
            vec_push(&graph_get(module, id)->results, next);
        }
    map_free(&known);
    map_free(&outer);
    return id;
}

static Shrink shrink_loop(Module *module, FuncId func, Node n) {
    Loop loop = module->loops.data[graph_node(graph_get(module, func), n)->index];
    uint32_t operands = 1 + loop.states + loop.captured, results = loop.states + 1 + loop.collected;
    Arena *arena = module->arena;
    Shrink s = {0};
    s.keep = ARENA_ARRAY(arena, uint8_t, operands);
    s.result = ARENA_ARRAY(arena, uint32_t, results);
    s.invariant = ARENA_ARRAY(arena, Node, loop.states + 1);
    s.order = ARENA_ARRAY(arena, uint32_t, operands);
    uint8_t *used = used_results(graph_get(module, func), n, results);
    if (decide(module, graph_get(module, func), n, &loop, used, &s)) {
        Loop made = loop;
        made.body = shrink_body(module, func, n, &loop, &s);
        made.states = made.captured = made.collected = 0;
        made.collect = ARENA_ARRAY(arena, uint32_t, loop.collected + 1);
        for (uint32_t p = 1; p < operands; p++) {
            if (p <= loop.states && s.keep[p] == KEEP_STATE) s.result[p - 1] = made.states++;
            made.captured += s.keep[p] == KEEP_CAPTURE;
        }
        s.result[loop.states] = made.states;
        for (uint32_t i = 0; i < loop.collected; i++)
            if (used[loop.states + 1 + i]) {
                s.result[loop.states + 1 + i] = made.states + 1 + made.collected;
                made.collect[made.collected++] = s.result[loop.collect[i]];
            }
        s.loop = graph_loop(module, &made);
    }
    mem_free(used);
    return s;
}

static Node rewrite_shrunk(void *context, Module *module, FuncId from, Node n, FuncId to,
                           const Node *known) {
    const Shrinks *shrinks = context;
    NodeData d = *graph_node(graph_get(module, from), n);
    const Shrink *s = &shrinks->loops[n];
    if (d.op == OP_LOOP && s->loop) {
        Node *operands = ARENA_ARRAY(module->arena, Node, s->count + 1);
        operands[0] = known[graph_operand(graph_get(module, from), n, 0)];
        for (uint32_t i = 0; i < s->count; i++)
            operands[1 + i] = known[graph_operand(graph_get(module, from), n, s->order[i])];
        return graph_add(module, to, OP_LOOP, operands, 1 + s->count, s->loop, 0, d.span);
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

static void simplify_func(Module *module, FuncId func) {
    rebuild_func(module, func, NULL, NULL);
    uint32_t count = graph_get(module, func)->nodes.len;
    Shrinks shrinks = {mem_alloc(sizeof(Shrink) * count)};
    memset(shrinks.loops, 0, sizeof(Shrink) * count);
    bool any = false;
    for (Node n = 1; n < count; n++)
        if (graph_node(graph_get(module, func), n)->op == OP_LOOP) {
            shrinks.loops[n] = shrink_loop(module, func, n);
            any = any || shrinks.loops[n].loop;
        }
    if (any) {
        rebuild_func(module, func, rewrite_shrunk, &shrinks);
        rebuild_func(module, func, NULL, NULL); /* what only the old loops needed */
    }
    mem_free(shrinks.loops);
}

void pass_simplify(Module *module) {
    uint32_t count;
    FuncId *order = rebuild_order(module, &count);
    for (uint32_t i = 0; i < count; i++) simplify_func(module, order[i]);
    mem_free(order);
}
