/* Loops over data. */
#include "compiler/driver/profile.h"

#include <inttypes.h>
#include <string.h>

enum { TRIED = 2 }; /* samples that run alone, until it is known how long they take */

uint64_t draw_seed(const Execution *x, uint64_t draw) {
    return hash_mix((uint64_t)x->session->options->seed, draw + 1);
}

HostValue *body_arguments(Arena *arena, const Module *m, const TaskBody *body,
                          const PdnSample *sample, const HostValue *values) {
    const Func *f = graph_get(m, body->func);
    HostValue *out = ARENA_ARRAY(arena, HostValue, body->samples + body->count + 1);
    for (uint32_t i = 0; i < body->samples; i++)
        out[i] = (HostValue){graph_node(f, f->params.data[i])->type, 1, sample->field[i].data};
    for (uint32_t i = 0; i < body->count; i++) out[body->samples + i] = values[body->values[i]];
    return out;
}

/* The samples of a batch that run side by side take turns in what is seen of them: messages, files, reports. */
typedef struct Turns {
    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t changed;
    int64_t next, turn; /* the sample that is run next; the one whose turn it is */
    bool *done;         /* by sample */
    bool stopped;       /* one of them has stopped the loop */
} Turns;

typedef struct {
    Running *outer;
    const EachTask *task;
    const HostValue *values;
    Workspace *workspaces; /* as many as samples run at once */
    int alone;             /* so many samples ran alone, */
    double least;          /* in so many seconds at least */
    Reports reports;
    const PdnBatch *batch; /* that runs side by side */
    Turns turns;
} Each;

int each_turn(const Running *r) {
    Turns *t = r->turns;
    if (!t) return 0;
    pthread_mutex_lock(&t->lock);
    while (t->turn < r->sample && !t->stopped) pthread_cond_wait(&t->changed, &t->lock);
    int stopped = t->turn < r->sample;
    pthread_mutex_unlock(&t->lock);
    return stopped;
}

/* As the frames of a film, with as many digits as the last one needs, four at least. */
static const char *turn_text(const Each *each, Arena *arena, int64_t number) {
    int64_t count = each->outer->x->what->data.data[each->task->data].info.per_epoch;
    int digits = 4;
    for (int64_t most = 10000; most < count; most *= 10) digits++;
    const char *outer = each->outer->turn;
    return arena_format(arena, "%s_%0*" PRId64, outer ? outer : "", digits, number);
}

/* ---- a sample ----------------------------------------------------------------------------------- */

/* A sample, or none, as it is given to the body. */
typedef struct {
    Running running;
    PdnGrid *grids;
    HostValue *arguments;
    uint32_t count;
    Arena *arena;
} Sample;

static Sample open_sample(Each *each, const PdnSample *sample, int64_t number) {
    Execution *x = each->outer->x;
    const TaskBody *body = &each->task->body;
    Sample s = {.arena = arena_new(), .count = body->samples + body->count};
    s.grids =
        describe_grids(x->what->module, each->task->grid, sample ? sample->field[0].extent : NULL);
    s.running = (Running){.x = x,
                          .func = body->func,
                          .grids = s.grids,
                          .seed = draw_seed(x, (uint64_t)number),
                          .threads = each->outer->threads,
                          .reports = &each->reports,
                          .turn = turn_text(each, s.arena, number)};
    s.arguments = body_arguments(s.arena, x->what->module, body, sample, each->values);
    return s;
}

static void close_sample(Sample *s) {
    free(s->grids);
    arena_free(s->arena);
}

/* Sets that make their samples from expressions have none to give. */
static Sample open_place(Each *each, const PdnBatch *batch, int64_t i) {
    return open_sample(each, batch->samples ? &batch->samples[i] : NULL, batch->first + i);
}

/* ---- a batch side by side ------------------------------------------------------------------------ */

/* Does the body do nothing but what can take turns? */
static bool takes_turns(const Each *each) {
    const Elaborated *what = each->outer->x->what;
    const Func *f = graph_get(what->module, each->task->body.func);
    for (uint32_t i = 0; i < f->effects.len; i++) {
        EffectKind kind = f->effects.data[i].kind;
        if (kind == EFFECT_EACH || kind == EFFECT_TRAIN) return false;
    }
    return true;
}

/* As many samples as there are threads: room for the largest of the batch, if that is there for all of them. */
static bool make_room(Each *each, const PdnBatch *batch, int threads) {
    uint64_t most = 0;
    int64_t there = pdn_memory_available(),
            memory = each->outer->x->memory < there ? each->outer->x->memory : there;
    for (int64_t i = 0; i < batch->count; i++) {
        Sample s = open_place(each, batch, i);
        uint64_t bytes =
            run_bytes(&s.running, s.arguments, s.count, each->outer->x->memory / threads);
        most = bytes > most ? bytes : most;
        close_sample(&s);
    }
    if (!most || most > (uint64_t)(memory / threads)) return false;
    for (int i = 0; i < threads; i++)
        if (!workspace_grow(each->outer->x, &each->workspaces[i], most)) return false;
    return true;
}

static int64_t take_sample(Turns *t, int64_t count) {
    pthread_mutex_lock(&t->lock);
    int64_t sample = t->stopped || t->next == count ? -1 : t->next++;
    pthread_mutex_unlock(&t->lock);
    return sample;
}

/* A sample that stops the loop has had its turn. */
static void leave_sample(Turns *t, int64_t sample, int64_t count, bool stops) {
    pthread_mutex_lock(&t->lock);
    t->done[sample] = true;
    t->stopped = t->stopped || stops;
    while (!t->stopped && t->turn < count && t->done[t->turn]) t->turn++;
    pthread_cond_broadcast(&t->changed);
    pthread_mutex_unlock(&t->lock);
}

/* A unit: a workspace, and the samples that are run in it one after another. */
static void run_some(const void *argument, int64_t begin, int64_t end) {
    Each *each = (Each *)argument;
    const PdnBatch *batch = each->batch;
    for (int64_t unit = begin; unit < end; unit++)
        for (int64_t i; (i = take_sample(&each->turns, batch->count)) >= 0;) {
            Sample s = open_place(each, batch, i);
            s.running.threads = NULL;
            s.running.beside = pdn_threads_most(each->outer->threads) - 1;
            s.running.sample = i;
            s.running.turns = &each->turns;
            int status = run_func(&s.running, s.arguments, s.count, NULL, &each->workspaces[unit]);
            leave_sample(&each->turns, i, batch->count, status != 0);
            close_sample(&s);
        }
}

static int run_side_by_side(Each *each, const PdnBatch *batch, int64_t from, int threads) {
    Turns *t = &each->turns;
    *t = (Turns){.next = from, .turn = from, .done = calloc((size_t)batch->count, sizeof *t->done)};
    if (!t->done) abort();
    pthread_mutex_init(&t->lock, NULL);
    pthread_cond_init(&t->changed, NULL);
    each->batch = batch;
    pdn_threads_run(each->outer->threads, run_some, each, threads, PDN_MUCH_WORK);
    pthread_cond_destroy(&t->changed);
    pthread_mutex_destroy(&t->lock);
    free(t->done);
    return t->stopped;
}

/* The threads share the launches of a sample. */
static int run_alone(Each *each, const PdnBatch *batch, int64_t i) {
    Sample s = open_place(each, batch, i);
    if (!each->alone && !each->outer->x->session->options->interpret)
        (void)executable_get(each->outer->x, s.running.func);
    double start = clock_seconds();
    int status = run_func(&s.running, s.arguments, s.count, NULL, &each->workspaces[0]);
    double took = clock_seconds() - start;
    if (!each->alone++ || took < each->least) each->least = took;
    close_sample(&s);
    return status;
}

/* Samples of a batch on a thread each, where there are enough of them that take long enough, and memory for so many. */
static int run_batch(Each *each, const PdnBatch *batch) {
    static const double worth = 50e-6; /* seconds of a sample; to take turns may need some 10 */
    const Execution *x = each->outer->x;
    int threads = pdn_threads_most(each->outer->threads), status = 0;
    bool may = threads > 1 && !x->session->options->interpret && takes_turns(each);
    for (int64_t i = 0; i < batch->count && status == 0; i++) {
        if (may && each->alone >= TRIED && each->least > worth && batch->count - i >= threads) {
            if (make_room(each, batch, threads)) return run_side_by_side(each, batch, i, threads);
            may = false;
        }
        status = run_alone(each, batch, i);
    }
    return status;
}

/* ---- all of it ------------------------------------------------------------------------------------ */

static int wrong_data(Execution *x, const EachTask *task, const PdnError *error) {
    diag_report(x->session->diagnostics, DIAG_DATA_WRONG, task->span, error->message);
    x->failed = true;
    return 1;
}

static int run_samples(Each *each, const DataSet *set) {
    Execution *x = each->outer->x;
    int status = 0;
    if (!set->data) {
        int64_t all = set->info.per_epoch, most = set->info.batch;
        for (int64_t i = 0; i < all && status == 0; i += most)
            status =
                run_batch(each, &(PdnBatch){.first = i, .count = all - i < most ? all - i : most});
        return status;
    }
    PdnLoader *loader;
    PdnError error = {{0}};
    PdnBatch batch = {0};
    if (pdn_loader_open(set->data, (uint64_t)x->session->options->seed, 0, 1, false, &loader,
                        &error) != PDN_OK)
        return wrong_data(x, each->task, &error);
    do {
        if (pdn_loader_next(loader, &batch, &error) != PDN_OK) {
            status = wrong_data(x, each->task, &error);
            break;
        }
        status = run_batch(each, &batch);
    } while (batch.count && status == 0);
    pdn_loader_close(loader);
    return status;
}

int each_sample(Running *outer, const EachTask *task, const HostValue *values) {
    Execution *x = outer->x;
    int most = pdn_threads_most(outer->threads);
    Each each = {.outer = outer, .task = task, .values = values};
    each.workspaces = mem_alloc(sizeof *each.workspaces * (size_t)most);
    for (int i = 0; i < most; i++) each.workspaces[i] = (Workspace){0};
    int status = run_samples(&each, &x->what->data.data[task->data]);
    if (status == 0) reports_print(x, each.reports.data, each.reports.len);
    for (uint32_t i = 0; i < each.reports.len; i++) {
        mem_free(each.reports.data[i].sum);
        mem_free(each.reports.data[i].squares);
        mem_free(each.reports.data[i].first);
    }
    vec_free(&each.reports);
    for (int i = 0; i < most; i++) free(each.workspaces[i].memory);
    mem_free(each.workspaces);
    return status;
}
