/* Functions of the module as they run: compiled or interpreted, with the host table, memory, sizes. */
#include "compiler/driver/profile.h"
#include "compiler/driver/ways.h"
#include "compiler/llvm/code.h"
#include "compiler/ops/eval.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct Executable {
    FuncId func;
    const Code *code;
    const Plan *plan;
};

bool engine_has_fma(void) {
    CodeTarget host = {.optimise = 2};
    return code_target_has_fma(&host);
}

/* ---- the host table ------------------------------------------------------------------ */

static void host_launch(void *context, PdnKernel *kernel, const void *arguments, int64_t count,
                        int64_t work) {
    const Running *r = context;
    pdn_threads_run(r->threads, kernel, arguments, count, work);
}

static bool host_relay(void *context, const PdnRelay *relay) {
    const Running *r = context;
    return pdn_relay(relay, pdn_threads_most(r->threads), r->x->cache, r->x->rooms, host_launch,
                     context);
}

static int host_effect(void *context, uint32_t number, const void *const *values) {
    Running *r = context;
    const Func *f = graph_get(r->x->what->module, r->func);
    uint32_t action = f->effects.data[number].number;
    const Action *a = &r->x->what->actions.data[action];
    int64_t *frames = mem_alloc(sizeof(int64_t) * (a->count + 1));
    const void **data = mem_alloc(sizeof(void *) * (a->count + 1));
    for (uint32_t i = 0; i < a->count; i++) {
        const PdnStack *stack = a->types[i].kind == TYPE_STACK ? values[i] : NULL;
        data[i] = stack ? stack->data : values[i];
        frames[i] = stack ? stack->frames : 1;
    }
    int status = effect_happens(r, action, data, frames);
    mem_free(frames);
    mem_free(data);
    return status;
}

static int host_progress(void *context, uint32_t number, int64_t done, int64_t total) {
    Running *r = context;
    Execution *x = r->x;
    if (x->session->options->quiet || r->func != x->what->module->main) return 0;
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

enum { RANDOM_CHUNK = 4096, RANDOM_CYCLES = 16 /* a number takes about so many */ };

static void fill_chunks(const void *arguments, int64_t begin, int64_t end) {
    const RandomFill *f = arguments;
    int64_t last = end * RANDOM_CHUNK < f->count ? end * RANDOM_CHUNK : f->count;
    pdn_random_range(f->type, f->kind, f->seed, f->stream, f->to, begin * RANDOM_CHUNK, last);
}

static void host_random(void *context, int kind, uint64_t stream, void *to, int64_t count) {
    const Running *r = context;
    RandomFill fill = {r->x->type, kind, r->seed, stream, to, count};
    host_launch(context, fill_chunks, &fill, (count + RANDOM_CHUNK - 1) / RANDOM_CHUNK,
                count * RANDOM_CYCLES);
}

static int host_batch_mean(void *context, uint64_t place, void *data, int64_t count,
                           const int64_t *extent) {
    const Running *r = context;
    return r->meeting ? meeting_mean(r->meeting, r->sample, place, data, count, extent) : 0;
}

static void host_conv_norm(void *context, const PdnConvShape *shape, const void *weights,
                           const void *cotangent, void *result) {
    const Running *r = context;
    pdn_conv_norm_into(shape, r->x->type, weights, cotangent, result);
}

static int host_unconverged(void *context, uint32_t number, double residual, double tolerance,
                            double steps) {
    const Running *r = context;
    return each_turn(r) || missed_note(r->x, number, residual, tolerance, steps);
}

/* The values that a TASK node of the running function is given. */
static const NodeData *task_node(const Func *f, uint32_t number) {
    for (Node n = 1; n < f->nodes.len; n++)
        if (graph_node(f, n)->op == OP_TASK && graph_node(f, n)->index == number)
            return graph_node(f, n);
    return NULL;
}

static int64_t type_numbers(const PdnGrid *grids, Type t) {
    return t.grid == GRID_NONE ? 1 : grids[t.grid].channel_stride * t.channels;
}

static int host_task(void *context, uint32_t number, const void *const *values,
                     void *const *results) {
    Running *r = context;
    const Func *f = graph_get(r->x->what->module, r->func);
    const NodeData *d = task_node(f, number);
    HostValue *given = mem_alloc(sizeof *given * (d->count + 1));
    HostValue *made = mem_alloc(sizeof *made * (d->count + 1));
    for (uint32_t i = 0; i < d->count; i++) {
        Type t = graph_node(f, f->operands.data[d->first + i])->type;
        const PdnStack *stack = t.kind == TYPE_STACK ? values[i] : NULL;
        given[i] = made[i] =
            (HostValue){t, stack ? stack->frames : 1, stack ? stack->data : values[i]};
    }
    int status = train(r->x, number, given, made);
    for (uint32_t i = 0; i < d->count && status == 0; i++)
        if (made[i].type.kind == TYPE_SCALAR)
            memcpy(results[i], made[i].data, r->x->type == PDN_F32 ? 4 : 8);
        else
            *(PdnStack *)results[i] = (PdnStack){made[i].frames, made[i].data};
    mem_free(given);
    mem_free(made);
    return status;
}

const char *program_name(const Execution *x, FuncId func) {
    for (uint32_t i = 0; i < x->what->trainings.len; i++)
        if (x->what->trainings.data[i].step.func == func)
            return arena_format(x->session->arena, "train %s", x->what->trainings.data[i].name);
    return func == x->what->module->main ? "" : "for each";
}

/* With --time: the first time that a loop is gone back through; of a batch, by its first sample. */
static void host_kept(void *context, uint32_t number, int64_t steps, int64_t slots, int64_t again,
                      int64_t bytes) {
    const Running *r = context;
    Execution *x = r->x;
    uint64_t key = (uint64_t)r->func << 32 | number;
    if (r->sample) return;
    pthread_mutex_lock(&x->lock);
    bool known = false;
    for (uint32_t i = 0; i < x->told.len; i++) known = known || x->told.data[i] == key;
    if (!known) {
        vec_push(&x->told, key);
        const Loop *loop = &x->what->module->loops.data[number];
        const char *owner = program_name(x, r->func);
        fprintf(stderr,
                "%s%s%-20s %lld steps, room for the states of %lld in %.3g MiB, %lld steps again",
                owner, *owner ? ": " : "",
                loop->name ? names_text(x->session->names, loop->name) : "loop back",
                (long long)steps, (long long)slots, (double)bytes / 1048576, (long long)again);
        if (r->beside) fprintf(stderr, " (of each of %d samples at once)", r->beside + 1);
        fprintf(stderr, "\n");
    }
    pthread_mutex_unlock(&x->lock);
}

/* ---- sizes --------------------------------------------------------------------------------- */

PdnGrid *describe_grids(const Module *m, GridId grid, const int64_t *extent) {
    PdnGrid *grids = calloc(m->grids.len + 1, sizeof *grids);
    if (!grids) abort();
    for (uint32_t i = 1; i < m->grids.len; i++) {
        const Grid *g = &m->grids.data[i];
        int64_t stride = 1;
        for (uint32_t a = 0; a < MAX_RANK; a++) {
            bool used = a < g->rank;
            int64_t n = used ? g->extent[a] : 1;
            if (n < 0 && i == grid) n = extent[a];
            if (n < 0 && g->finer) n = (grids[g->finer].extent[a] + 1) / 2;
            if (n < 0) n = 0; /* nothing of this run lies there */
            grids[i].extent[a] = grids[i].high[a] = n;
            grids[i].stride[a] = stride;
            grids[i].spacing[a] = used ? g->spacing[a] : 1;
            grids[i].origin[a] = used ? g->origin[a] : 0;
            stride *= n;
        }
        grids[i].channel_stride = stride;
    }
    return grids;
}

/* Where a run stopped: at what would have happened next. */
static Span program_span(const Execution *x) {
    uint32_t count = x->what->actions.len, next = x->next;
    return count ? x->what->actions.data[next < count ? next : count - 1].span : SPAN_NONE;
}

/* ---- compiled ---------------------------------------------------------------------------------- */

static Executable *executable_make(Execution *x, FuncId func, const Plan *plan) {
    Session *s = x->session;
    const Options *o = s->options;
    CodeTarget target = {
        .optimise = o->optimise, .exact = o->exact, .threads = pdn_threads_most(x->threads)};
    const char *cache = session_cache(s);
    char *error = NULL;
    Code *code = code_load(plan, &target, cache, &error);
    session_time(s, code && code_from_cache(code) ? "load from the cache" : "compile");
    if (!code) {
        diag_report(s->diagnostics, DIAG_CODE_FAILED, SPAN_NONE, error ? error : "unknown");
        mem_free(error);
        return NULL;
    }
    Executable *p = ARENA_NEW(s->arena, Executable);
    *p = (Executable){func, code, plan};
    vec_push(&x->programs, p);
    return p;
}

Executable *executable_get(Execution *x, FuncId func) {
    for (uint32_t i = 0; i < x->programs.len; i++)
        if (x->programs.data[i]->func == func) return x->programs.data[i];
    Plan *plan = pipeline_plan(x->session, x->what->module, func, x->type == PDN_F64, x->fma);
    ways_apply(x->session, plan);
    return executable_make(x, func, plan);
}

void executables_free(Execution *x) {
    for (uint32_t i = 0; i < x->programs.len; i++) code_free((Code *)x->programs.data[i]->code);
    vec_free(&x->programs);
    for (uint32_t i = 0; i < x->kept.len; i++) free(x->kept.data[i]);
    free(x->workspace.memory);
    vec_free(&x->kept);
    vec_free(&x->told);
}

bool workspace_grow(Execution *x, Workspace *w, uint64_t bytes) {
    if (w->memory && w->bytes >= bytes) return true;
    free(w->memory);
    *w = (Workspace){0};
    if (!memory_suffices(x, (double)bytes)) return false;
    w->memory = pdn_memory_new(bytes);
    if (!w->memory) return memory_suffices(x, 1e300);
    w->bytes = bytes;
    return true;
}

static int run_executable(Running *r, const Executable *p, const void *const *inputs,
                          void *const *outputs, Workspace *w) {
    Execution *x = r->x;
    PdnHost host = {.context = r,
                    .launch = host_launch,
                    .effect = host_effect,
                    .progress = host_progress,
                    .random = host_random,
                    .task = host_task,
                    .batch_mean = host_batch_mean,
                    .conv_norm = host_conv_norm,
                    .memory = x->memory / (1 + r->beside),
                    .threads = pdn_threads_most(r->threads),
                    .kept = x->session->options->time ? host_kept : NULL,
                    .unconverged = host_unconverged,
                    .relay = host_relay};
    CodeArguments arguments = {
        .host = &host, .grids = r->grids, .inputs = inputs, .outputs = outputs};
    if (!workspace_grow(x, w, code_workspace(p->code, &arguments))) return 1;
    arguments.workspace = w->memory;
    Meter *meter = x->profile ? meter_start(x->profile, r, &host, p->plan) : NULL;
    if (meter) arguments.host = meter_host(meter);
    int status = code_run(p->code, &arguments);
    if (meter) meter_stop(meter);
    if (status != PDN_OK && status != PDN_ERROR_STOPPED && !each_turn(r))
        diag_report(
            x->session->diagnostics, DIAG_STOPPED, program_span(x),
            status == PDN_ERROR_ARGUMENT
                ? "a number of steps is negative or no whole number (round() makes one), or a film or an array "
                  "of parameters has no entry of that number"
                : pdn_status_name((PdnStatus)status));
    return status;
}

/* Arguments as programs have them; both from mem_alloc. */
typedef struct {
    const void **inputs;
    PdnStack *stacks;
} Inputs;

static Inputs inputs_of(const HostValue *arguments, uint32_t count) {
    Inputs i = {mem_alloc(sizeof *i.inputs * (count + 1)),
                mem_alloc(sizeof *i.stacks * (count + 1))};
    for (uint32_t k = 0; k < count; k++) {
        i.stacks[k] = (PdnStack){arguments[k].frames, arguments[k].data};
        i.inputs[k] =
            arguments[k].type.kind == TYPE_STACK ? (const void *)&i.stacks[k] : arguments[k].data;
    }
    return i;
}

static void free_inputs(Inputs i) {
    mem_free(i.inputs);
    mem_free(i.stacks);
}

static int run_compiled(Running *r, const HostValue *arguments, uint32_t count,
                        void *const *outputs, Workspace *w) {
    const Executable *p = executable_get(r->x, r->func);
    if (!p) return 1;
    Inputs i = inputs_of(arguments, count);
    int status = run_executable(r, p, i.inputs, outputs, w);
    free_inputs(i);
    return status;
}

uint64_t run_bytes(Running *r, const HostValue *arguments, uint32_t count, int64_t memory) {
    const Executable *p = executable_get(r->x, r->func);
    if (!p) return 0;
    Inputs i = inputs_of(arguments, count);
    const PdnHost host = {.context = r, .memory = memory, .threads = pdn_threads_most(r->threads)};
    uint64_t bytes = code_workspace(
        p->code, &(CodeArguments){.host = &host, .grids = r->grids, .inputs = i.inputs});
    free_inputs(i);
    return bytes;
}

/* ---- interpreted ---------------------------------------------------------------------------------- */

static int interpreted_effect(void *context, const Effect *effect, const Array *values) {
    const void **data = mem_alloc(sizeof(void *) * (effect->count + 1));
    int64_t *frames = mem_alloc(sizeof(int64_t) * (effect->count + 1));
    for (uint32_t i = 0; i < effect->count; i++) {
        data[i] = values[i].data;
        frames[i] = values[i].frames;
    }
    int status = effect_happens(context, effect->number, data, frames);
    mem_free(data);
    mem_free(frames);
    return status;
}

static int interpreted_task(void *context, uint32_t number, Array *values, uint32_t count) {
    Running *r = context;
    HostValue *given = mem_alloc(sizeof *given * (count + 1)),
              *made = mem_alloc(sizeof *made * (count + 1));
    for (uint32_t i = 0; i < count; i++)
        given[i] = made[i] = (HostValue){values[i].type, values[i].frames, values[i].data};
    int status = train(r->x, number, given, made);
    for (uint32_t i = 0; i < count && status == 0; i++)
        if (made[i].data != given[i].data)
            memcpy(values[i].data, made[i].data, sizeof(double) * (size_t)values[i].size);
    mem_free(given);
    mem_free(made);
    return status;
}

static int interpreted_batch_mean(void *context, uint64_t place, double *data, int64_t count,
                                  const int64_t *extent) {
    return host_batch_mean(context, place, data, count, extent);
}

static int run_interpreted(Running *r, const HostValue *arguments, uint32_t count,
                           void *const *outputs) {
    Execution *x = r->x;
    Module *m = x->what->module;
    Array *inputs = mem_alloc(sizeof(Array) * (m->inputs.len + 1));
    for (uint32_t i = 0; i < m->inputs.len; i++) {
        int64_t depth = x->what->sources.len > i ? x->what->sources.data[i].depth : -1;
        bool stack = m->inputs.data[i].type.kind == TYPE_STACK;
        inputs[i] = (Array){m->inputs.data[i].type, stack ? depth : 1,
                            pdn_array_count(&x->inputs[i]), x->inputs[i].data};
    }
    Array *args = mem_alloc(sizeof(Array) * (count + 1));
    for (uint32_t i = 0; i < count; i++)
        args[i] = (Array){arguments[i].type, arguments[i].frames,
                          type_numbers(r->grids, arguments[i].type) * arguments[i].frames,
                          (double *)arguments[i].data};
    int64_t(*extents)[MAX_RANK] = mem_alloc(sizeof *extents * (m->grids.len + 1));
    for (uint32_t g = 1; g < m->grids.len; g++)
        memcpy(extents[g], r->grids[g].extent, sizeof extents[g]);
    EvalOptions options = {.inputs = inputs,
                           .extents = (const int64_t(*)[MAX_RANK])extents,
                           .seed = r->seed,
                           .effect = interpreted_effect,
                           .task = interpreted_task,
                           .batch_mean = interpreted_batch_mean,
                           .unconverged = host_unconverged,
                           .context = r};
    Arena *arena = arena_new();
    Array *results = ARENA_ARRAY(arena, Array, graph_get(m, r->func)->results.len + 1);
    int status = eval_func(m, r->func, args, results, &options, arena);
    if (status < 0)
        diag_report(
            x->session->diagnostics, DIAG_STOPPED, program_span(x),
            "a number of steps is negative or no whole number (round() makes one), a film or an array of "
            "parameters has no entry of that number, or a grid is too small for a stencil");
    for (uint32_t i = 0; status == 0 && outputs && i < graph_get(m, r->func)->results.len; i++)
        memcpy(outputs[i], results[i].data, sizeof(double) * (size_t)results[i].size);
    arena_free(arena);
    mem_free(inputs);
    mem_free(args);
    mem_free(extents);
    return status;
}

/* ---- either ------------------------------------------------------------------------------------------ */

int run_func(Running *r, const HostValue *arguments, uint32_t count, void *const *outputs,
             Workspace *w) {
    return r->x->session->options->interpret ? run_interpreted(r, arguments, count, outputs)
                                             : run_compiled(r, arguments, count, outputs, w);
}

int run_experiment(Execution *x) {
    const Module *m = x->what->module;
    const Options *o = x->session->options;
    PdnGrid *grids = describe_grids(m, GRID_NONE, NULL);
    Running r = {
        .x = x, .func = m->main, .grids = grids, .seed = (uint64_t)o->seed, .threads = x->threads};
    int status;
    if (o->interpret) {
        status = run_interpreted(&r, NULL, 0, NULL);
    } else {
        const Executable *p = executable_get(x, m->main);
        const void **inputs = calloc(m->inputs.len + 1, sizeof *inputs);
        PdnStack *stacks = calloc(m->inputs.len + 1, sizeof *stacks);
        if (!inputs || !stacks) abort();
        for (uint32_t i = 0; i < m->inputs.len; i++) {
            stacks[i] = (PdnStack){x->what->sources.data[i].depth, x->inputs[i].data};
            inputs[i] = m->inputs.data[i].type.kind == TYPE_STACK ? (const void *)&stacks[i]
                                                                  : x->inputs[i].data;
        }
        status = p ? run_executable(&r, p, inputs, NULL, &x->workspace) : 1;
        free(inputs);
        free(stacks);
    }
    free(grids);
    return status;
}
