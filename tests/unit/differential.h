/* Runs the main function of a module on the reference interpreter and as compiled code, and compares what
 * the effects saw. */
#ifndef PDN_TEST_DIFFERENTIAL_H
#define PDN_TEST_DIFFERENTIAL_H

#include "compiler/analysis/analysis.h"
#include "compiler/llvm/code.h"
#include "compiler/ops/ops.h"
#include "runtime/pdn.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef VEC(double) Numbers;

typedef struct {
    Module *module;
    const Plan *plan;
    bool f64;
    int threads;
    bool apart; /* launches that could run together do not */
    uint64_t seed;
    PdnGrid *grids;
    const double **inputs; /* by Module.inputs */
    Numbers seen;          /* all that effects saw, in order */
    uint32_t effects, progress;
    int64_t work; /* of all launches, as the program says */
    int status;
    /* PdnHost's, and the interpreter's */
    int (*batch_mean)(void *context, uint64_t place, void *data, int64_t count,
                      const int64_t *extent);
    int (*reference_mean)(void *context, uint64_t place, double *data, int64_t count,
                          const int64_t *extent);
} Run;

static inline int64_t run_cells(const Run *r, GridId g) {
    return g == GRID_NONE ? 1 : r->grids[g].channel_stride;
}

static inline PdnGrid *make_grids(const Module *m) {
    PdnGrid *grids = calloc(m->grids.len, sizeof *grids);
    for (GridId g = 1; g < m->grids.len; g++) {
        const Grid *from = &m->grids.data[g];
        int64_t stride = 1;
        for (uint32_t a = 0; a < 3; a++) {
            int64_t n = a < from->rank ? from->extent[a] : 1;
            grids[g].extent[a] = grids[g].high[a] = n;
            grids[g].stride[a] = stride;
            stride *= n;
            grids[g].spacing[a] = a < from->rank ? from->spacing[a] : 1;
            grids[g].origin[a] = a < from->rank ? from->origin[a] : 0;
        }
        grids[g].channel_stride = stride;
    }
    return grids;
}

/* ---- compiled ---- */

static inline void run_launch(void *context, PdnKernel *kernel, const void *arguments,
                              int64_t count, int64_t work) {
    Run *r = context;
    r->work += work;
    pdn_launch(kernel, arguments, count, r->threads);
}

static inline bool run_relay(void *context, const PdnRelay *relay) {
    int threads = ((Run *)context)->threads;
    return pdn_relay(relay, threads < 1 ? 1 : threads,
                     ((Run *)context)->apart ? 0 : PDN_RELAY_ALWAYS, NULL, run_launch, context);
}

static inline void run_see(Run *r, const void *data, int64_t count) {
    for (int64_t i = 0; i < count; i++)
        vec_push(&r->seen, (r->f64 ? ((const double *)data)[i] : (double)((const float *)data)[i]));
}

static inline int run_effect(void *context, uint32_t number, const void *const *values) {
    Run *r = context;
    const Func *f = graph_get(r->module, r->module->main);
    const Effect *e = &f->effects.data[number];
    r->effects++;
    for (uint32_t i = 0; i < e->count; i++) {
        Type t = graph_node(f, e->values[i])->type;
        int64_t cells = run_cells(r, t.grid) * t.channels;
        if (t.kind == TYPE_STACK) {
            const PdnStack *s = values[i];
            run_see(r, s->data, s->frames * cells);
        } else {
            run_see(r, values[i], cells);
        }
    }
    return 0;
}

static inline int run_progress(void *context, uint32_t number, int64_t done, int64_t total) {
    ((Run *)context)->progress++;
    return 0;
}

static inline void run_random(void *context, int kind, uint64_t stream, void *to, int64_t count) {
    Run *r = context;
    pdn_random(r->f64 ? PDN_F64 : PDN_F32, kind, r->seed, stream, to, count);
}

static inline void run_conv_norm(void *context, const PdnConvShape *shape, const void *weights,
                                 const void *cotangent, void *result) {
    pdn_conv_norm_into(shape, ((Run *)context)->f64 ? PDN_F64 : PDN_F32, weights, cotangent,
                       result);
}

/* The inputs in the program's precision. */
static inline void **run_inputs(const Run *r) {
    uint32_t count = r->module->inputs.len;
    void **out = calloc(count + 1, sizeof *out);
    for (uint32_t i = 0; i < count; i++) {
        Type t = r->module->inputs.data[i].type;
        int64_t n = run_cells(r, t.grid) * t.channels;
        out[i] = aligned_alloc(64, ((size_t)n * 8 + 63) & ~(size_t)63);
        for (int64_t k = 0; k < n; k++)
            if (r->f64)
                ((double *)out[i])[k] = r->inputs[i][k];
            else
                ((float *)out[i])[k] = (float)r->inputs[i][k];
    }
    return out;
}

/* Returns NULL, or what went wrong. */
static inline char *run_code(Run *r, const Code *code) {
    PdnHost host = {.context = r,
                    .launch = run_launch,
                    .effect = run_effect,
                    .progress = run_progress,
                    .random = run_random,
                    .batch_mean = r->batch_mean,
                    .conv_norm = run_conv_norm,
                    .relay = run_relay,
                    .threads = r->threads < 1 ? 1 : r->threads};
    void **inputs = run_inputs(r);
    CodeArguments a = {&host, r->grids, (const void *const *)inputs, NULL, NULL};
    uint64_t bytes = code_workspace(code, &a);
    a.workspace = aligned_alloc(64, (bytes + 64) & ~(uint64_t)63);
    memset(a.workspace, 0xff, bytes); /* NaN: whoever reads before writing shows */
    r->seen.len = 0;
    r->effects = 0;
    r->work = 0;
    r->status = code_run(code, &a);
    free(a.workspace);
    for (uint32_t i = 0; i < r->module->inputs.len; i++) free(inputs[i]);
    free(inputs);
    return NULL;
}

/* ---- reference ---- */

static inline int reference_effect(void *context, const Effect *effect, const Array *values) {
    Numbers *seen = context;
    for (uint32_t i = 0; i < effect->count; i++)
        for (int64_t k = 0; k < values[i].size; k++) vec_push(seen, values[i].data[k]);
    return 0;
}

static inline int run_reference(const Run *r, Numbers *seen) {
    Module *m = r->module;
    Arena *arena = arena_new();
    Array *inputs = ARENA_ARRAY(arena, Array, m->inputs.len + 1);
    for (uint32_t i = 0; i < m->inputs.len; i++) {
        Type t = m->inputs.data[i].type;
        inputs[i] = (Array){t, 1, run_cells(r, t.grid) * t.channels, NULL};
        inputs[i].data = arena_copy(arena, r->inputs[i], sizeof(double) * (size_t)inputs[i].size);
    }
    Array *results = ARENA_ARRAY(arena, Array, graph_get(m, m->main)->results.len + 1);
    EvalOptions o = {.inputs = inputs,
                     .seed = r->seed,
                     .effect = reference_effect,
                     .batch_mean = r->reference_mean,
                     .context = seen};
    int status = eval_func(m, m->main, NULL, results, &o, arena);
    arena_free(arena);
    return status;
}

/* Largest difference, relative to the largest number of both, NaN agreeing with NaN; -1: lengths differ. */
static inline double numbers_differ(const Numbers *a, const Numbers *b) {
    double most = 0, size = 1e-30;
    if (a->len != b->len) return -1;
    for (uint32_t i = 0; i < a->len; i++) {
        double x = a->data[i], y = b->data[i];
        if (isfinite(y) && fabs(y) > size) size = fabs(y);
        if (isnan(x) && isnan(y)) continue;
        double d = x == y ? 0 : fabs(x - y);
        if (isnan(d)) return INFINITY;
        if (!(d <= most)) most = d;
    }
    return most / size;
}

/* Compiles and runs; largest difference from the reference, or a negative number. */
static inline double run_differential(Run *r, char **error) {
    Arena *arena = arena_new();
    Plan *plan = plan_make(r->module,
                           &(PlanOptions){.f64 = r->f64, .fma = code_target_has_fma(NULL)}, arena);
    const char *unsound = plan_verify(plan, arena);
    if (unsound) {
        fprintf(stderr, "%s\n", unsound);
        arena_free(arena);
        return -4;
    }
    if (getenv("SHOW_PLAN")) {
        Text text = {0};
        plan_print(plan, &text);
        fputs(text.data, stderr);
        text_free(&text);
    }
    Numbers expected = {0};
    int status = run_reference(r, &expected);
    double differ = -2;
    Code *code = code_load(plan, NULL, NULL, error);
    if (code) {
        run_code(r, code);
        differ = (r->status != 0) != (status != 0) ? -3 : numbers_differ(&r->seen, &expected);
        code_free(code);
    }
    vec_free(&expected);
    arena_free(arena);
    return differ;
}

#endif
