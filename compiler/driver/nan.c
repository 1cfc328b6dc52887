/* Where the first number that is not finite came from. */
#include "compiler/driver/execute.h"

#include "compiler/ops/ops.h"

#include <float.h>
#include <math.h>
#include <string.h>

#define PATIENCE 5.0 /* seconds */

typedef struct {
    const Running *running;
    double deadline, largest;
    NanOrigin origin;
} Trace;

static bool is_finite(const Array *a, double largest, bool *nan) {
    if (a->type.kind == TYPE_TUPLE) return true;
    for (int64_t i = 0; i < a->size; i++)
        if (!(fabs(a->data[i]) <= largest)) {
            *nan = isnan(a->data[i]);
            return false;
        }
    return true;
}

static bool is_body(const Module *m, FuncId func) {
    for (uint32_t i = 1; i < m->loops.len; i++)
        if (m->loops.data[i].body == func) return true;
    return false;
}

/* In f32 a number beyond its range is infinite already. */
static int inspect(void *context, FuncId func, Node node, const Array *value,
                   const Array *const *operands, const Array *arguments) {
    Trace *t = context;
    const Module *m = t->running->x->what->module;
    const NodeData *d = graph_node(graph_get(m, func), node);
    bool nan = false;
    t->origin.late = clock_seconds() > t->deadline;
    if (t->origin.late) return 1;
    /* of a body or a callee: was seen before */
    bool given = d->op == OP_PARAM && func != t->running->func;
    if (given || d->op == OP_LOOP || d->op == OP_CALL || d->op == OP_RESULT ||
        is_finite(value, t->largest, &nan))
        return 0;
    (void)operands;
    t->origin = (NanOrigin){.func = func, .node = node, .infinite = !nan};
    t->origin.in_loop = func != t->running->func && is_body(m, func) && arguments != NULL;
    if (t->origin.in_loop) t->origin.k = arguments[0].data[0];
    return 1;
}

static int batch_mean(void *context, uint64_t place, double *data, int64_t count,
                      const int64_t *extent) {
    const Running *r = ((const Trace *)context)->running;
    return r->meeting ? meeting_mean(r->meeting, r->sample, place, data, count, extent) : 0;
}

static Array widened(PdnType type, const void *data, int64_t numbers, int64_t frames, Type t) {
    double *wide = mem_alloc(sizeof(double) * (size_t)(numbers + 1));
    for (int64_t i = 0; i < numbers; i++)
        wide[i] = type == PDN_F32 ? (double)((const float *)data)[i] : ((const double *)data)[i];
    return (Array){t, frames, numbers, wide};
}

void nan_report(const Execution *x, const NanOrigin *o, Diagnostic *d) {
    if (!o->node) {
        diag_help(
            d,
            "0/0, inf - inf, the root or logarithm of a negative number give it; a step that is too large grows until one does");
        return;
    }
    const NodeData *n = graph_node(graph_get(x->what->module, o->func), o->node);
    const char *what = o->infinite ? "the first number beyond all bounds" : "the first NaN";
    char step[64] = "";
    if (o->in_loop) snprintf(step, sizeof step, ", at k = %.0f", o->k);
    diag_note(d, n->span, "%s arises here (%s)%s", what, op_info(n->op)->name, step);
    if (o->infinite && o->in_loop)
        diag_help(
            d,
            "a step that is too large grows without bound: `tau = stable` is the largest with a proof");
}

/* Runs a function on the interpreter until it meets what is not finite. */
static NanOrigin trace(const Running *r, const Array *args) {
    Execution *x = r->x;
    Module *m = x->what->module;
    Array *inputs = mem_alloc(sizeof(Array) * (m->inputs.len + 1));
    for (uint32_t i = 0; i < m->inputs.len; i++) {
        bool stack = m->inputs.data[i].type.kind == TYPE_STACK;
        inputs[i] = widened(x->inputs[i].type, x->inputs[i].data, pdn_array_count(&x->inputs[i]),
                            stack ? x->what->sources.data[i].depth : 1, m->inputs.data[i].type);
    }
    int64_t(*extents)[MAX_RANK] = mem_alloc(sizeof *extents * (m->grids.len + 1));
    for (uint32_t g = 1; g < m->grids.len; g++)
        memcpy(extents[g], r->grids[g].extent, sizeof extents[g]);
    Trace t = {.running = r,
               .deadline = clock_seconds() + PATIENCE,
               .largest = x->type == PDN_F32 ? FLT_MAX : DBL_MAX};
    EvalOptions options = {.inputs = inputs,
                           .extents = (const int64_t(*)[MAX_RANK])extents,
                           .seed = r->seed,
                           .inspect = inspect,
                           .batch_mean = batch_mean,
                           .context = &t};
    Arena *arena = arena_new();
    Array *results = ARENA_ARRAY(arena, Array, graph_get(m, r->func)->results.len + 1);
    eval_func(m, r->func, args, results, &options, arena);
    arena_free(arena);
    for (uint32_t i = 0; i < m->inputs.len; i++) mem_free(inputs[i].data);
    mem_free(inputs);
    mem_free(extents);
    return t.origin;
}

void nan_trace(Execution *x, Diagnostic *d) {
    if (x->traced) return;
    x->traced = true;
    PdnGrid *grids = describe_grids(x->what->module, GRID_NONE, NULL);
    Running r = {.x = x,
                 .func = x->what->module->main,
                 .grids = grids,
                 .seed = (uint64_t)x->session->options->seed};
    NanOrigin origin = trace(&r, NULL);
    nan_report(x, &origin, d);
    free(grids);
}

NanOrigin nan_find(const Running *r, const HostValue *arguments) {
    const Func *f = graph_get(r->x->what->module, r->func);
    Array *args = mem_alloc(sizeof(Array) * (f->params.len + 1));
    for (uint32_t i = 0; i < f->params.len; i++) {
        Type t = arguments[i].type;
        int64_t one = t.grid == GRID_NONE ? 1 : r->grids[t.grid].channel_stride * t.channels;
        args[i] = widened(r->x->type, arguments[i].data, one * arguments[i].frames,
                          arguments[i].frames, t);
    }
    NanOrigin origin = trace(r, args);
    for (uint32_t i = 0; i < f->params.len; i++) mem_free(args[i].data);
    mem_free(args);
    return origin;
}
