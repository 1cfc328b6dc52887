/* keep: convolutions of a step that its undoing needs, and that are dear to make again, become states of the loop.
 *
 * A BACK node has the states before the step that it undoes, and makes from them whatever else its derivatives need:
 * what stands before an activation, say. That is cheap where it is pointwise; a convolution of many channels costs more
 * than to store what it made and to load it again. Such a value is one more state of the loop, which nothing reads
 * on the way forwards, e[k+1] = what step k made. What is kept before step k is then e of step k - 1: the BACK node
 * carries e of the step that it undoes from one step to the next, beginning with the last e of the loop. */
#include "compiler/analysis/analysis.h"
#include "compiler/analysis/rebuild.h"
#include "compiler/analysis/transpose.h"

#include <string.h>

/* Products for one number, from which on it is kept. A number that is kept is stored, loaded, stored again and loaded
 * again: some nanoseconds where caches are too small, in which a core multiplies and adds some hundred times. */
enum { DEAR = 128 };

enum { MOST_KEPT = 8 };

/* A BACK node and its loop. */
typedef struct {
    Node loop, back;
    LoopId made_loop, made_back;
    uint32_t states;       /* of the loop */
    uint32_t back_states;  /* of the BACK node */
    uint32_t count;        /* of what is kept in addition */
    Node start[MOST_KEPT]; /* an operand of the loop that can be its first value, or NODE_NONE */
    Type type[MOST_KEPT];
} Keep;

typedef struct {
    Keep *keeps; /* by node, of the loop and of the BACK node */
} Keeps;

static bool is_dear(const Module *module, const NodeData *d) {
    if (d->op != OP_CONV && d->op != OP_CONVT) return false;
    const Conv *c = &module->convs.data[d->index];
    double products = d->op == OP_CONV ? c->in / c->groups : c->out / c->groups;
    for (uint32_t a = 0; a < MAX_RANK; a++)
        products *= (double)c->size[a] / (d->op == OP_CONV ? 1 : c->stride[a]);
    return products >= DEAR;
}

/* The only BACK node that goes over loop n. */
static Node back_over(const Func *f, Node n) {
    Node found = NODE_NONE;
    for (Node b = n + 1; b < f->nodes.len; b++) {
        if (graph_node(f, b)->op != OP_BACK || graph_operand(f, b, 0) != n) continue;
        if (found) return NODE_NONE;
        found = b;
    }
    return found;
}

/* By parameter of the body of the BACK node: the same one of the loop's body, or UINT32_MAX. */
static uint32_t *same_params(const Module *module, const Func *f, Node n, Node b, Arena *arena) {
    const Loop *loop = &module->loops.data[graph_node(f, n)->index],
               *back = &module->loops.data[graph_node(f, b)->index];
    uint32_t params = graph_get(module, back->body)->params.len,
             captured = 1 + back->collected + back->states;
    uint32_t *same = ARENA_ARRAY(arena, uint32_t, params + 1);
    for (uint32_t p = 0; p < params; p++) {
        same[p] = p == 0 ? 0 : p <= back->collected ? 1 + back->collect[p - 1] : UINT32_MAX;
        if (p < captured) continue;
        Node o = graph_operand(f, b, p - back->collected);
        for (uint32_t q = 1 + loop->states; q < graph_node(f, n)->count; q++)
            if (graph_operand(f, n, q) == o) same[p] = q;
    }
    return same;
}

/* What the BACK body needs and is dear, can be made from what the loop has, and makes no other such thing necessary. */
static uint32_t find_dear(const Module *module, const Func *body, const uint32_t *same,
                          Node *found) {
    uint32_t count = body->nodes.len, kept = 0;
    uint8_t *live = mem_alloc(count), *known = mem_alloc(count);
    memset(live, 0, count);
    memset(known, 0, count);
    for (Node n = 1; n < count; n++) {
        const NodeData *d = graph_node(body, n);
        known[n] = d->op != OP_PARAM || same[d->index] != UINT32_MAX;
        for (uint32_t k = 0; k < d->count; k++) known[n] &= known[graph_operand(body, n, k)];
    }
    for (uint32_t i = 0; i < body->results.len; i++) live[body->results.data[i]] = 1;
    for (Node n = count; --n > 0;) {
        const NodeData *d = graph_node(body, n);
        if (!live[n]) continue;
        if (known[n] && kept < MOST_KEPT && is_dear(module, d)) {
            found[kept++] = n;
            continue;
        }
        for (uint32_t k = 0; k < d->count; k++) live[graph_operand(body, n, k)] = 1;
    }
    mem_free(live);
    mem_free(known);
    return kept;
}

/* The loop's body, with one more state for each of `found`, nodes of `from`. */
static FuncId keeping_body(Module *module, const Loop *loop, FuncId from, const uint32_t *same,
                           const Node *found, const Keep *keep) {
    const Func *old = graph_get(module, loop->body);
    FuncId body = graph_func(module, old->name);
    Map known = {0}, back = {0};
    for (uint32_t p = 0; p <= loop->states; p++)
        map_set(&known, old->params.data[p], graph_param_like(module, body, old, p));
    for (uint32_t i = 0; i < keep->count; i++) graph_param(module, body, keep->type[i], 0);
    for (uint32_t p = 1 + loop->states; p < old->params.len; p++)
        map_set(&known, old->params.data[p], graph_param_like(module, body, old, p));
    for (uint32_t i = 0; i < loop->states; i++) {
        Node next = graph_copy(module, loop->body, old->results.data[i], body, &known);
        vec_push(&graph_get(module, body)->results, next);
    }
    for (uint32_t p = 0; p < graph_get(module, from)->params.len; p++) {
        uint32_t mapped;
        Node param = graph_get(module, from)->params.data[p];
        if (same[p] != UINT32_MAX && map_get(&known, old->params.data[same[p]], &mapped))
            map_set(&back, param, mapped);
    }
    for (uint32_t i = 0; i < keep->count; i++) {
        Node next = graph_copy(module, from, found[i], body, &back);
        vec_push(&graph_get(module, body)->results, next);
    }
    if (loop->has_stop) {
        Node stop = graph_copy(module, loop->body, old->results.data[loop->states], body, &known);
        vec_push(&graph_get(module, body)->results, stop);
    }
    map_free(&known);
    map_free(&back);
    return body;
}

/* The BACK body, which is given `found` and hands on what was kept of the step before. */
static FuncId given_body(Module *module, const Loop *back, const Node *found, const Keep *keep) {
    const Func *old = graph_get(module, back->body);
    FuncId body = graph_func(module, old->name);
    Map known = {0};
    Node before[MOST_KEPT];
    uint32_t carried = 1 + back->collected, captured = carried + back->states;
    for (uint32_t p = 0; p < old->params.len + 1; p++) {
        for (uint32_t i = 0; p == carried && i < keep->count; i++)
            before[i] = graph_param(module, body, keep->type[i], 0);
        for (uint32_t i = 0; p == captured && i < keep->count; i++)
            map_set(&known, found[i], graph_param(module, body, keep->type[i], 0));
        if (p < old->params.len)
            map_set(&known, old->params.data[p], graph_param_like(module, body, old, p));
    }
    for (uint32_t i = 0; i < old->results.len; i++) {
        Node next = graph_copy(module, back->body, old->results.data[i], body, &known);
        vec_push(&graph_get(module, body)->results, next);
    }
    for (uint32_t i = 0; i < keep->count; i++)
        vec_push(&graph_get(module, body)->results, before[i]);
    map_free(&known);
    return body;
}

static bool plan_keep(Module *module, FuncId func, Node n, Keep *keep, Arena *arena) {
    const Func *f = graph_get(module, func);
    Node b = back_over(f, n), found[MOST_KEPT];
    if (b == NODE_NONE) return false;
    Loop loop = module->loops.data[graph_node(f, n)->index],
         back = module->loops.data[graph_node(f, b)->index];
    const uint32_t *same = same_params(module, f, n, b, arena);
    *keep = (Keep){.loop = n, .back = b, .states = loop.states, .back_states = back.states};
    keep->count = find_dear(module, graph_get(module, back.body), same, found);
    for (uint32_t i = 0; i < keep->count; i++) {
        keep->type[i] = graph_node(graph_get(module, back.body), found[i])->type;
        for (uint32_t p = 1; p <= loop.states; p++)
            if (type_equal(graph_node(f, graph_operand(f, n, p))->type, keep->type[i]))
                keep->start[i] = graph_operand(f, n, p);
    }
    if (keep->count == 0) return false;
    loop.body = keeping_body(module, &loop, back.body, same, found, keep);
    back.body = given_body(module, &back, found, keep);
    uint32_t *collect = ARENA_ARRAY(arena, uint32_t, back.collected + keep->count);
    if (back.collected) memcpy(collect, back.collect, sizeof *collect * back.collected);
    back.collect = collect;
    for (uint32_t i = 0; i < keep->count; i++) collect[back.collected++] = loop.states + i;
    loop.states += keep->count;
    back.states += keep->count;
    keep->made_loop = graph_loop(module, &loop);
    keep->made_back = graph_loop(module, &back);
    return true;
}

/* The node with `keep->count` operands more after the first `at`. */
static Node rewrite_longer(Module *module, FuncId from, Node n, FuncId to, const Node *known,
                           uint32_t at, const Node *more, uint32_t count, LoopId loop) {
    NodeData d = *graph_node(graph_get(module, from), n);
    Node *operands = ARENA_ARRAY(module->arena, Node, d.count + count + 1);
    for (uint32_t k = 0; k < d.count; k++)
        operands[k < at ? k : k + count] = known[graph_operand(graph_get(module, from), n, k)];
    memcpy(operands + at, more, sizeof *more * count);
    return graph_add(module, to, d.op, operands, d.count + count, loop, 0, d.span);
}

static Node rewrite_kept(void *context, Module *module, FuncId from, Node n, FuncId to,
                         const Node *known) {
    const Keeps *keeps = context;
    const Keep *keep = &keeps->keeps[n];
    NodeData d = *graph_node(graph_get(module, from), n);
    Node more[MOST_KEPT];
    if (keep->count && n == keep->loop) {
        for (uint32_t i = 0; i < keep->count; i++) /* nobody reads it: any will do */
            more[i] =
                keep->start[i] ? known[keep->start[i]] : zero_of(module, to, keep->type[i], d.span);
        return rewrite_longer(module, from, n, to, known, 1 + keep->states, more, keep->count,
                              keep->made_loop);
    }
    if (keep->count) {
        for (uint32_t i = 0; i < keep->count; i++)
            more[i] = graph_result(module, to, known[keep->loop], keep->states + i);
        return rewrite_longer(module, from, n, to, known, 1 + keep->back_states, more, keep->count,
                              keep->made_back);
    }
    if (d.op != OP_RESULT) return NODE_NONE;
    Node tuple = graph_operand(graph_get(module, from), n, 0);
    keep = &keeps->keeps[tuple];
    uint32_t states = tuple == keep->loop ? keep->states : keep->back_states;
    if (keep->count == 0 || d.index < states) return NODE_NONE;
    return graph_result(module, to, known[tuple], d.index + keep->count);
}

static void keep_func(Module *module, FuncId func) {
    uint32_t count = graph_get(module, func)->nodes.len;
    Arena *arena = arena_new();
    Keeps keeps = {ARENA_ARRAY(arena, Keep, count)};
    bool any = false;
    for (Node n = 1; n < count; n++) {
        Keep keep;
        if (graph_node(graph_get(module, func), n)->op != OP_LOOP ||
            !plan_keep(module, func, n, &keep, arena))
            continue;
        keeps.keeps[n] = keeps.keeps[keep.back] = keep;
        any = true;
    }
    if (any) rebuild_func(module, func, rewrite_kept, &keeps);
    arena_free(arena);
}

void pass_keep(Module *module) {
    uint32_t count;
    FuncId *order = rebuild_order(module, &count);
    for (uint32_t i = 0; i < count; i++) keep_func(module, order[i]);
    mem_free(order);
}
