/* Machine code: the host table, memory, sizes. */
#include "compiler/driver/execute.h"
#include "compiler/llvm/code.h"

#include <stdlib.h>
#include <string.h>

bool engine_has_fma(void) {
    CodeTarget host = {.optimise = 2};
    return code_target_has_fma(&host);
}

/* ---- the host table ------------------------------------------------------------------ */

static void host_launch(void *context, PdnKernel *kernel, const void *arguments, int64_t count) {
    const Execution *x = context;
    pdn_launch(kernel, arguments, count, (int)x->session->options->threads);
}

static int host_effect(void *context, uint32_t number, const void *const *values) {
    Execution *x = context;
    const Action *a = &x->what->actions.data[number];
    int64_t *frames = mem_alloc(sizeof(int64_t) * (a->count + 1));
    const void **data = mem_alloc(sizeof(void *) * (a->count + 1));
    for (uint32_t i = 0; i < a->count; i++) {
        const PdnStack *stack = a->types[i].kind == TYPE_STACK ? values[i] : NULL;
        data[i] = stack ? stack->data : values[i];
        frames[i] = stack ? stack->frames : 1;
    }
    int status = effect_happens(x, number, data, frames);
    mem_free(frames);
    mem_free(data);
    return status;
}

static int host_progress(void *context, uint32_t number, int64_t done, int64_t total) {
    Execution *x = context;
    if (x->session->options->quiet) return 0;
    if (x->progress_loop != (int64_t)number) {
        pdn_progress_end(&x->progress);
        const Loop *loop = &x->what->module->loops.data[number];
        const char *name = loop->name ? names_text(x->session->names, loop->name) : "loop";
        pdn_progress_begin(&x->progress, stderr, name, total >= 2147483647 ? -1 : total);
        x->progress_loop = number;
    }
    pdn_progress_update(&x->progress, done);
    return 0;
}

typedef struct {
    PdnType type;
    int kind;
    uint64_t seed, stream;
    void *to;
    int64_t count;
} RandomFill;

#define RANDOM_CHUNK 4096

static void fill_chunks(const void *arguments, int64_t begin, int64_t end) {
    const RandomFill *f = arguments;
    int64_t last = end * RANDOM_CHUNK < f->count ? end * RANDOM_CHUNK : f->count;
    pdn_random_range(f->type, f->kind, f->seed, f->stream, f->to, begin * RANDOM_CHUNK, last);
}

static void host_random(void *context, int kind, uint64_t stream, void *to, int64_t count) {
    const Execution *x = context;
    RandomFill fill = {x->type, kind, (uint64_t)x->session->options->seed, stream, to, count};
    pdn_launch(fill_chunks, &fill, (count + RANDOM_CHUNK - 1) / RANDOM_CHUNK,
               (int)x->session->options->threads);
}

/* ---- sizes --------------------------------------------------------------------------------- */

static PdnGrid *describe_grids(const Module *m) {
    PdnGrid *grids = calloc(m->grids.len + 1, sizeof *grids);
    for (uint32_t i = 1; grids && i < m->grids.len; i++) {
        const Grid *g = &m->grids.data[i];
        int64_t stride = 1;
        for (uint32_t a = 0; a < MAX_RANK; a++) {
            bool used = a < g->rank;
            grids[i].extent[a] = used ? g->extent[a] : 1;
            grids[i].high[a] = grids[i].extent[a];
            grids[i].stride[a] = stride;
            grids[i].spacing[a] = used ? g->spacing[a] : 1;
            grids[i].origin[a] = used ? g->origin[a] : 0;
            stride *= grids[i].extent[a];
        }
        grids[i].channel_stride = stride;
    }
    return grids;
}

static Span program_span(const Execution *x) {
    return x->what->actions.len ? x->what->actions.data[0].span : SPAN_NONE;
}

/* ---- running ----------------------------------------------------------------------------------- */

static bool run_code(Execution *x, const Code *code) {
    const Module *m = x->what->module;
    PdnHost host = {.context = x, .launch = host_launch, .effect = host_effect, .progress = host_progress, .random = host_random};
    PdnGrid *grids = describe_grids(m);
    const void **inputs = calloc(m->inputs.len + 1, sizeof *inputs);
    for (uint32_t i = 0; inputs && i < m->inputs.len; i++) inputs[i] = x->inputs[i].data;
    CodeArguments arguments = {.host = &host, .grids = grids, .inputs = inputs};
    uint64_t bytes = code_workspace(code, &arguments);
    void *workspace = NULL;
    bool ok = memory_suffices(x, (double)bytes);
    if (ok && posix_memalign(&workspace, 64, bytes ? bytes : 64) != 0) {
        memory_suffices(x, 1e300);
        ok = false;
    }
    session_time(x->session, "allocate");
    if (ok) {
        arguments.workspace = workspace;
        int status = code_run(code, &arguments);
        if (status != PDN_OK && status != PDN_ERROR_STOPPED)
            diag_report(x->session->diagnostics, DIAG_STOPPED, program_span(x),
                        status == PDN_ERROR_ARGUMENT
                            ? "a number of steps is negative or not a number, or a film lacks a frame"
                            : pdn_status_name((PdnStatus)status));
        ok = status == PDN_OK;
    }
    free(workspace);
    free(inputs);
    free(grids);
    return ok;
}

int engine_run(Execution *x, const Plan *plan) {
    Session *s = x->session;
    const Options *o = s->options;
    CodeTarget target = {.optimise = o->optimise};
    const char *cache = o->no_cache ? NULL : o->cache ? o->cache : code_cache_folder(s->arena);
    char *error = NULL;
    Code *code = code_load(plan, &target, cache, &error);
    session_time(s, code && code_from_cache(code) ? "load from the cache" : "compile");
    if (!code) {
        diag_report(s->diagnostics, DIAG_CODE_FAILED, SPAN_NONE, error ? error : "unknown");
        mem_free(error);
        return 1;
    }
    bool ok = run_code(x, code);
    code_free(code);
    return !ok;
}
