/* Loss and gradient of a batch: the step's program for every sample, summed in a fixed tree. */
#include "compiler/driver/training.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- scratch memory: as many workspaces as samples run at once ------------------------------- */

static Workspace take_workspace(Training *t) {
    Workspace w = {0};
    pthread_mutex_lock(&t->lock);
    if (t->workspace_count) w = t->workspaces[--t->workspace_count];
    pthread_mutex_unlock(&t->lock);
    return w;
}

/* Gives it back, of a sample that took so many cycles. */
static void give_workspace(Training *t, Workspace w, int64_t cycles) {
    pthread_mutex_lock(&t->lock);
    if (t->workspace_count == t->workspace_room) {
        t->workspace_room = t->workspace_room ? 2 * t->workspace_room : 4;
        t->workspaces =
            mem_resize(t->workspaces, sizeof *t->workspaces * (size_t)t->workspace_room);
    }
    t->workspaces[t->workspace_count++] = w;
    if (t->least == 0 || cycles < t->least) t->least = cycles;
    pthread_mutex_unlock(&t->lock);
}

void training_step_free(Training *t) {
    for (int i = 0; i < t->workspace_count; i++) free(t->workspaces[i].memory);
    mem_free(t->workspaces);
    for (int64_t i = 0; i < t->room; i++) free(t->grids[i]);
    mem_free(t->grids);
    mem_free(t->loss);
    mem_free(t->status);
    mem_free(t->finite);
    gradient_sum_free(t);
    running_free(t);
}

/* ---- where it is evaluated ------------------------------------------------------------------------ */

/* The values that the program reads are those at which it is evaluated. */
static void point_at(Training *t, const void *parameters) {
    for (uint32_t i = 0; i < t->task->tensor_count; i++) {
        const void *from = i < t->task->trained ? parameters : t->parameters;
        t->values[i].data = (const char *)from + (size_t)t->places[i].offset * number_bytes(t);
    }
}

/* ---- a sample ----------------------------------------------------------------------------------- */

/* Samples on a thread each run beside each other: all where they meet, else as many as there are threads. */
static int beside(const Training *t, const PdnThreads *threads) {
    int64_t most = t->batch, there = pdn_threads_most(t->x->threads);
    if (!t->meeting && most > there) most = there;
    return !threads && most > 1 ? (int)most - 1 : 0;
}

static Running running(const Training *t, int64_t sample, PdnThreads *threads) {
    return (Running){.x = t->x,
                     .func = t->task->step.func,
                     .grids = t->grids[sample],
                     .seed = draw_seed(t->x, t->draw + (uint64_t)sample),
                     .threads = threads,
                     .beside = beside(t, threads),
                     .meeting = t->meeting,
                     .sample = sample};
}

static HostValue *arguments_of(const Training *t, Arena *arena, const TaskBody *body,
                               int64_t sample) {
    return body_arguments(arena, t->x->what->module, body, t->samples ? &t->samples[sample] : NULL,
                          t->values);
}

static bool all_finite(const Training *t, const void *gradient) {
    bool finite = true;
    for (int64_t i = 0; i < t->total; i++)
        finite &= (bool)isfinite(t->x->type == PDN_F32 ? (double)((const float *)gradient)[i]
                                                       : ((const double *)gradient)[i]);
    return finite;
}

/* For estimates of work: a clock, at about three of a processor's cycles a nanosecond. */
static int64_t cycles(void) { return (int64_t)(clock_seconds() * 3e9); }

/* Runs the step for one sample: loss and status of it are set, its gradient is in the sum. */
static void run_sample(Training *t, int64_t sample, PdnThreads *threads) {
    char *gradient = gradient_sum_room(t);
    t->status[sample] = 1;
    if (!gradient) return;
    Arena *arena = arena_new();
    const TaskBody *step = &t->task->step;
    Running r = running(t, sample, threads);
    uint32_t running = t->task->tensor_count - t->task->trained;
    void **outputs = ARENA_ARRAY(arena, void *, t->gradients + running + 1);
    double room = 0;
    outputs[0] = &room;
    running_outputs(t, sample, outputs + 1);
    for (uint32_t i = 0; i < t->gradients; i++)
        outputs[1 + running + i] =
            gradient + (size_t)t->places[t->gradient_of[i]].offset * number_bytes(t);
    HostValue *arguments = arguments_of(t, arena, step, sample);
    Workspace w = take_workspace(t);
    int64_t started = cycles();
    t->status[sample] = run_func(&r, arguments, step->samples + step->count, outputs, &w);
    give_workspace(t, w, cycles() - started);
    float single;
    memcpy(&single, &room, sizeof single);
    t->loss[sample] = t->x->type == PDN_F32 ? (double)single : room;
    if (t->looking) t->finite[sample] = all_finite(t, gradient);
    gradient_sum_add(t, sample, gradient, threads);
    arena_free(arena);
}

/* Units are blocks of neighbours, whose sum is then one gradient. */
static void run_blocks(const void *training, int64_t begin, int64_t end) {
    Training *t = (Training *)training;
    int64_t last = end * t->block < t->batch ? end * t->block : t->batch;
    for (int64_t i = begin * t->block; i < last; i++) run_sample(t, i, NULL);
}

static int run_guest(void *training, int64_t sample) {
    run_sample(training, sample, NULL);
    return ((Training *)training)->status[sample];
}

static bool together(const Training *t) { return t->meets && t->batch > 1; }

enum { BLOCKS_EACH = 4 }; /* a thread, at least: what a slow one leaves, others take */

/* A thread a sample, where there are enough of them; else the threads share the launches of each. */
static bool side_by_side(const Training *t) {
    int threads = pdn_threads_most(t->x->threads);
    return t->batch >= threads && threads > 1 && !t->x->session->options->interpret;
}

int training_at_once(const Training *t) {
    return together(t) ? (int)t->batch : side_by_side(t) ? pdn_threads_most(t->x->threads) : 1;
}

/* All samples of the batch; false after a message. */
static bool run_batch(Training *t) {
    int threads = pdn_threads_most(t->x->threads);
    if (!gradient_sum_begin(t)) return false;
    if (together(t)) return meeting_run(t, t->x->type == PDN_F64, run_guest, t);
    if (side_by_side(t)) {
        t->block = 1;
        while (t->batch / (2 * t->block) >= (int64_t)threads * BLOCKS_EACH) t->block *= 2;
        int64_t work =
            t->least && t->least < PDN_MUCH_WORK / t->batch ? t->least * t->batch : PDN_MUCH_WORK;
        pdn_threads_run(t->x->threads, run_blocks, t, (t->batch + t->block - 1) / t->block, work);
    } else
        for (int64_t i = 0; i < t->batch; i++) run_sample(t, i, t->x->threads);
    return true;
}

static double tree_sum(double *x, int64_t n) {
    for (int64_t apart = 1; apart < n; apart *= 2)
        for (int64_t s = 0; s + apart < n; s += 2 * apart) x[s] += x[s + apart];
    return x[0];
}

/* ---- what went wrong ---------------------------------------------------------------------------------- */

typedef struct {
    Training *training;
    const TaskBody *body;
    NanOrigin *origins; /* of each sample */
} Search;

static int search_sample(void *context, int64_t sample) {
    const Search *s = context;
    Arena *arena = arena_new();
    Running r = running(s->training, sample, s->training->x->threads);
    r.func = s->body->func;
    s->origins[sample] = nan_find(&r, arguments_of(s->training, arena, s->body, sample));
    arena_free(arena);
    return s->origins[sample].node || s->origins[sample].late;
}

/* The sample in which it arose. What takes means over the batch spreads it to all of them: then all look for it
 * side by side, and none gets further than the mean that another one does not reach. */
static int64_t search_batch(Search *s, bool gradient) {
    Training *t = s->training;
    int64_t sample = 0;
    for (int64_t i = t->batch; i-- > 0;)
        if (gradient ? !t->finite[i] : !isfinite(t->loss[i])) sample = i;
    if (t->found == RUNNING_BROKEN) sample = running_broken(t);
    if (!together(t)) {
        search_sample(s, sample);
        return sample;
    }
    meeting_run(t, true, search_sample, s);
    for (int64_t i = t->batch; i-- > 0;)
        if (s->origins[i].node) sample = i;
    return sample;
}

/* Notes where it arose: in the step, or before, in what the step is given. */
static void note_origin(const Training *t, const TaskBody *body, const NanOrigin *o,
                        Diagnostic *d) {
    const Func *f = graph_get(t->x->what->module, body->func);
    uint32_t i = 0;
    while (o->node && i < f->params.len && f->params.data[i] != o->node) i++;
    if (!o->node || i == f->params.len || i < body->samples) {
        nan_report(t->x, o, d);
        return;
    }
    uint32_t value = body->values[i - body->samples];
    if (value >= t->task->tensor_count) {
        nan_trace(t->x, d);
        return;
    }
    diag_note(d, SPAN_NONE, "the parameter %s is no finite number after a step of the optimiser",
              t->task->tensors[value].path);
    diag_help(d, "a smaller rate, or clip_norm = 1, keeps it finite");
}

void training_diverged(Training *t) {
    Execution *x = t->x;
    bool gradient = t->found == GRADIENT_BROKEN;
    point_at(t, t->parameters);
    x->failed = true;
    t->looking = gradient; /* the samples' own are in the sum: once more */
    if (gradient && !run_batch(t)) return;
    t->looking = false;
    Search s = {t, gradient ? &t->task->step : &t->task->loss,
                mem_alloc(sizeof *s.origins * (size_t)t->batch)};
    memset(s.origins, 0, sizeof *s.origins * (size_t)t->batch);
    int64_t sample = search_batch(&s, gradient);
    Diagnostic *d = diag_report(x->session->diagnostics, DIAG_TRAINING_NAN, t->task->span,
                                gradient                     ? "gradient"
                                : t->found == RUNNING_BROKEN ? "value that a rule gives"
                                                             : "loss");
    const DataSet *set = t->task->data >= 0 ? &x->what->data.data[t->task->data] : NULL;
    if (set && set->data && t->samples) {
        char name[1024];
        pdn_data_name(set->data, t->samples[sample].number, name, sizeof name);
        diag_note(d, t->task->span, "on %s", name);
    }
    note_origin(t, s.body, &s.origins[sample], d);
    mem_free(s.origins);
}

/* ---- all of it ------------------------------------------------------------------------------------------ */

static PdnGrid *sample_grids(const Training *t, int64_t sample) {
    return describe_grids(t->x->what->module, t->task->grid,
                          t->samples ? t->samples[sample].field[0].extent : NULL);
}

static void make_room(Training *t) {
    if (t->batch > t->room) {
        t->loss = mem_resize(t->loss, sizeof *t->loss * (size_t)t->batch);
        t->status = mem_resize(t->status, sizeof *t->status * (size_t)t->batch);
        t->grids = mem_resize(t->grids, sizeof *t->grids * (size_t)t->batch);
        t->finite = mem_resize(t->finite, sizeof *t->finite * (size_t)t->batch);
        for (int64_t i = t->room; i < t->batch; i++) t->grids[i] = NULL;
        t->room = t->batch;
    }
    for (int64_t i = 0; i < t->batch; i++) {
        free(t->grids[i]);
        t->grids[i] = sample_grids(t, i);
    }
    running_begin(t);
}

uint64_t training_step_bytes(Training *t, int64_t memory) {
    Arena *arena = arena_new();
    const TaskBody *step = &t->task->step;
    PdnGrid *grids = sample_grids(t, 0);
    point_at(t, t->parameters);
    Running r = {.x = t->x, .func = step->func, .grids = grids};
    uint64_t bytes =
        run_bytes(&r, arguments_of(t, arena, step, 0), step->samples + step->count, memory);
    free(grids);
    arena_free(arena);
    return bytes;
}

int training_evaluate(void *training, const void *parameters, void *gradient, double *loss) {
    Training *t = training;
    Execution *x = t->x;
    t->found = WHOLE;
    make_room(t);
    point_at(t, parameters);
    if (!x->session->options->interpret && !executable_get(x, t->task->step.func)) return 1;
    if (!run_batch(t)) return 1;
    if (t->sum.lacking) memory_suffices(x, 1e300);
    for (int64_t i = 0; i < t->batch; i++)
        if (t->status[i]) {
            x->failed = true;
            return 1;
        }
    for (int64_t i = 0; i < t->batch; i++)
        if (!isfinite(t->loss[i])) {
            t->found = LOSS_BROKEN;
            *loss = t->loss[i];
            return 0;
        }
    *loss = tree_sum(t->loss, t->batch) / (double)t->batch;
    if (!running_mean(t)) {
        t->found = RUNNING_BROKEN;
        *loss = NAN;
        return 0;
    }
    if (!gradient_sum_mean(t, gradient)) t->found = GRADIENT_BROKEN;
    return 0;
}
