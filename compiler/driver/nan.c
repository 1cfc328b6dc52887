/* Where the first number that is not finite came from. */
#include "compiler/driver/execute.h"

#include "compiler/ops/ops.h"

#include <float.h>
#include <math.h>
#include <time.h>

#define PATIENCE 5.0 /* seconds */

typedef struct {
    Execution *execution;
    double deadline, largest;
    FuncId func;
    Node node;
    double k;
    bool in_loop, infinite;
} Trace;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static bool is_finite(const Array *a, double largest, bool *nan) {
    if (a->type.kind == TYPE_TUPLE) return true;
    for (int64_t i = 0; i < a->size; i++)
        if (!(fabs(a->data[i]) <= largest)) {
            *nan = isnan(a->data[i]);
            return false;
        }
    return true;
}

/* In f32 a number beyond its range is infinite already. */
static int inspect(void *context, FuncId func, Node node, const Array *value,
                   const Array *const *operands, const Array *arguments) {
    Trace *t = context;
    const Module *m = t->execution->what->module;
    const NodeData *d = graph_node(graph_get(m, func), node);
    bool nan = false;
    if (now() > t->deadline) return 1;
    if (d->op == OP_PARAM || d->op == OP_LOOP || d->op == OP_CALL || d->op == OP_RESULT ||
        is_finite(value, t->largest, &nan))
        return 0;
    (void)operands;
    t->func = func;
    t->node = node;
    t->infinite = !nan;
    t->in_loop = func != m->main && arguments != NULL;
    if (t->in_loop) t->k = arguments[0].data[0];
    return 1;
}

static Array widened(const PdnArray *from, Type type) {
    int64_t n = pdn_array_count(from);
    double *data = mem_alloc(sizeof(double) * (size_t)(n + 1));
    for (int64_t i = 0; i < n; i++)
        data[i] = from->type == PDN_F32 ? (double)((const float *)from->data)[i]
                                        : ((const double *)from->data)[i];
    return (Array){type, 1, n, data};
}

static void report_origin(const Trace *t, Diagnostic *d) {
    Module *m = t->execution->what->module;
    const NodeData *n = graph_node(graph_get(m, t->func), t->node);
    const char *what = t->infinite ? "the first number beyond all bounds" : "the first NaN";
    char step[64] = "";
    if (t->in_loop) snprintf(step, sizeof step, ", at k = %.0f", t->k);
    diag_note(d, n->span, "%s arises here (%s)%s", what, op_info(n->op)->name, step);
    if (t->infinite && t->in_loop)
        diag_help(
            d,
            "a step that is too large grows without bound: `tau = stable` is the largest with a proof");
}

void nan_trace(Execution *x, Diagnostic *d) {
    Module *m = x->what->module;
    if (x->traced) return;
    x->traced = true;
    Array *inputs = mem_alloc(sizeof(Array) * (m->inputs.len + 1));
    for (uint32_t i = 0; i < m->inputs.len; i++)
        inputs[i] = widened(&x->inputs[i], m->inputs.data[i].type);
    Trace t = {.execution = x,
               .deadline = now() + PATIENCE,
               .largest = x->type == PDN_F32 ? FLT_MAX : DBL_MAX};
    EvalOptions options = {.inputs = inputs,
                           .seed = (uint64_t)x->session->options->seed,
                           .inspect = inspect,
                           .context = &t};
    Arena *arena = arena_new();
    Array *results = ARENA_ARRAY(arena, Array, graph_get(m, m->main)->results.len + 1);
    eval_func(m, m->main, NULL, results, &options, arena);
    arena_free(arena);
    for (uint32_t i = 0; i < m->inputs.len; i++) mem_free(inputs[i].data);
    mem_free(inputs);
    if (t.node)
        report_origin(&t, d);
    else
        diag_help(
            d,
            "0/0, inf - inf, the root or logarithm of a negative number give it; a step that is too large grows until one does");
}
