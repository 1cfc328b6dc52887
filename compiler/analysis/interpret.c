/* The reference interpreter: every node in order, in double. */
#include "compiler/ops/eval.h"
#include "compiler/ops/ops.h"

#include <stdlib.h>
#include <string.h>

int64_t eval_extents(const Evaluator *e, GridId grid, int64_t extent[MAX_RANK]) {
    const Grid *g = &e->module->grids.data[grid];
    int64_t cells = 1, other[MAX_RANK];
    if (g->finer != GRID_NONE || g->coarser != GRID_NONE)
        eval_extents(e, g->finer != GRID_NONE ? g->finer : g->coarser, other);
    for (uint32_t axis = 0; axis < MAX_RANK; axis++) {
        extent[axis] = 1;
        if (axis < g->rank)
            extent[axis] = e->options->extents ? e->options->extents[grid][axis] : g->extent[axis];
        if (axis < g->rank && extent[axis] < 0)
            extent[axis] = g->finer != GRID_NONE     ? (other[axis] + 1) / 2
                           : g->coarser != GRID_NONE ? 2 * other[axis]
                                                     : 0;
        cells *= extent[axis];
    }
    return cells;
}

int64_t eval_size(const Evaluator *e, Type type) {
    int64_t extent[MAX_RANK];
    if (type.grid == GRID_NONE) return 1;
    return eval_extents(e, type.grid, extent) * type.channels;
}

void array_make(Evaluator *e, Array *array, Type type, int64_t frames) {
    array->type = type;
    array->frames = frames;
    array->size = eval_size(e, type) * frames;
    array->data = mem_alloc(sizeof(double) * (size_t)(array->size > 0 ? array->size : 1));
}

void array_copy(Array *to, const Array *from) {
    *to = *from;
    to->data = mem_alloc(sizeof(double) * (size_t)(from->size > 0 ? from->size : 1));
    memcpy(to->data, from->data, sizeof(double) * (size_t)from->size);
}

void array_free(Array *array) {
    if (array->type.kind == TYPE_TUPLE && array->data)
        for (int64_t i = 0; i < array->frames; i++) array_free(&tuple_items(array)[i]);
    mem_free(array->data);
    array->data = NULL;
}

/* The last node, effect or result that needs each node: afterwards its memory goes. */
static uint32_t *last_uses(const Func *f) {
    uint32_t n = f->nodes.len;
    uint32_t *last = mem_alloc(sizeof *last * n);
    memset(last, 0, sizeof *last * n);
    for (Node i = 1; i < n; i++)
        for (uint32_t k = 0; k < graph_node(f, i)->count; k++) last[graph_operand(f, i, k)] = i;
    for (uint32_t i = 0; i < f->results.len; i++) last[f->results.data[i]] = UINT32_MAX;
    for (uint32_t i = 0; i < f->effects.len; i++)
        for (uint32_t k = 0; k < f->effects.data[i].count; k++)
            last[f->effects.data[i].values[k]] = UINT32_MAX;
    return last;
}

static bool is_borrowed(Op op) { return op == OP_PARAM || op == OP_INPUT; }

static void run_effects(Evaluator *e, const Func *f, const Array *values) {
    if (!e->options->effect) return;
    for (uint32_t i = 0; i < f->effects.len && e->status == 0; i++) {
        const Effect *effect = &f->effects.data[i];
        Array *given = mem_alloc(sizeof(Array) * (effect->count + 1));
        for (uint32_t k = 0; k < effect->count; k++) given[k] = values[effect->values[k]];
        e->status = e->options->effect(e->options->context, effect, given);
        mem_free(given);
    }
}

static void free_operands(const Func *f, Node n, const uint32_t *last, Array *values) {
    for (uint32_t k = 0; k < graph_node(f, n)->count; k++) {
        Node o = graph_operand(f, n, k);
        if (last[o] == n && !is_borrowed(graph_node(f, o)->op)) array_free(&values[o]);
    }
}

/* Dead nodes (last use 0) are not computed. */
static void run_nodes(Evaluator *e, FuncId func, const uint32_t *last, Array *values) {
    const Func *f = graph_get(e->module, func);
    VEC(const Array *) operands = {0};
    for (Node n = 1; n < f->nodes.len && e->status == 0; n++) {
        const NodeData *d = graph_node(f, n);
        if (last[n] == 0) continue;
        operands.len = 0;
        for (uint32_t k = 0; k < d->count; k++)
            vec_push(&operands, &values[graph_operand(f, n, k)]);
        bool own = !is_borrowed(d->op) && d->type.kind != TYPE_TUPLE && d->op != OP_RESULT;
        if (own) array_make(e, &values[n], d->type, 1);
        op_info(d->op)->eval(e, func, n, operands.data, &values[n]);
        if (e->options->inspect && e->status == 0)
            e->status = e->options->inspect(e->options->context, func, n, &values[n], operands.data,
                                            e->args);
        free_operands(f, n, last, values);
    }
    vec_free(&operands);
}

void eval_run(Evaluator *e, FuncId func, const Array *args, Array *results) {
    const Func *f = graph_get(e->module, func);
    const Array *outer = e->args;
    uint32_t *last = last_uses(f);
    Array *values = mem_alloc(sizeof(Array) * f->nodes.len);
    memset(values, 0, sizeof(Array) * f->nodes.len);
    e->args = args;
    run_nodes(e, func, last, values);
    if (e->status == 0) run_effects(e, f, values);
    for (uint32_t i = 0; i < f->results.len; i++) {
        results[i] = (Array){0};
        if (e->status == 0) array_copy(&results[i], &values[f->results.data[i]]);
    }
    for (Node n = 1; n < f->nodes.len; n++)
        if (values[n].data && !is_borrowed(graph_node(f, n)->op)) array_free(&values[n]);
    mem_free(values);
    mem_free(last);
    e->args = outer;
}

int eval_func(Module *module, FuncId func, const Array *args, Array *results,
              const EvalOptions *options, Arena *arena) {
    Evaluator e = {.module = module, .options = options};
    uint32_t count = graph_get(module, func)->results.len;
    Array *own = mem_alloc(sizeof(Array) * (count + 1));
    eval_run(&e, func, args, own);
    for (uint32_t i = 0; i < count; i++) {
        results[i] = own[i];
        if (own[i].data)
            results[i].data = arena_copy(arena, own[i].data, sizeof(double) * (size_t)own[i].size);
        array_free(&own[i]);
    }
    mem_free(own);
    return e.status;
}
