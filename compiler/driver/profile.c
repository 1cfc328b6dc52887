#include "compiler/driver/profile.h"

#include <string.h>

void profile_open(Profile *p) {
    *p = (Profile){0};
    pthread_mutex_init(&p->lock, NULL);
}

ProfileRows profile_take(Profile *p, double *calls) {
    ProfileRows rows = p->rows;
    *calls = p->calls;
    p->rows = (ProfileRows){0};
    p->inside = p->calls = 0;
    return rows;
}

void profile_close(Profile *p) {
    vec_free(&p->programs);
    vec_free(&p->rows);
    pthread_mutex_destroy(&p->lock);
}

/* ---- a run ---------------------------------------------------------------------------------- */

/* What an instruction took. A convolution launches several kernels whenever it runs: the first tells how often that is. */
typedef struct {
    int64_t launches, passes;
    double seconds;
    PdnKernel *kernel;
} Tally;

typedef struct {
    uint32_t place, first, end;
    Tally tally;
} GroupTally;

struct Meter {
    Profile *profile;
    Running *running;
    const PdnHost *inner;
    PdnHost host; /* whose functions time those of `inner` */
    const Plan *plan;
    Tally *tally; /* by place */
    VEC(GroupTally) groups;
    double started, inside, theirs; /* seconds in calls; of these in other programs */
    const PdnRelay *relay;          /* that runs now: stages before `next` are done */
    int64_t next;
    int64_t calls;
};

static void count(Meter *m, Tally *t, PdnKernel *kernel, double seconds) {
    if (!t->kernel) t->kernel = kernel;
    t->launches++;
    t->passes += t->kernel == kernel;
    t->seconds += seconds;
    m->inside += seconds;
    m->calls++;
}

static Tally *group_tally(Meter *m, uint32_t place, uint32_t first, uint32_t end) {
    for (uint32_t i = 0; i < m->groups.len; i++) {
        GroupTally *g = &m->groups.data[i];
        if (g->place == place && g->first == first && g->end == end) return &g->tally;
    }
    vec_push(&m->groups, ((GroupTally){place, first, end, {0}}));
    return &vec_last(&m->groups).tally;
}

static Tally *here(Meter *m) { return &m->tally[m->host.place]; }

/* ---- the host's functions, timed -------------------------------------------------------------- */

static void timed_launch(void *context, PdnKernel *kernel, const void *arguments, int64_t units,
                         int64_t work) {
    Meter *m = context;
    double start = clock_seconds();
    m->inner->launch(m->inner->context, kernel, arguments, units, work);
    count(m, here(m), kernel, clock_seconds() - start);
}

/* The end of the stages from m->next on that run together and are so much work: all of them, if no number of them is. */
static int64_t group_end(const Meter *m, int64_t work) {
    int64_t end = m->next;
    while (end < m->relay->stages_count && work > 0) work -= m->relay->stages[end++].work;
    return work == 0 ? end : m->relay->stages_count;
}

/* A launch of a relay: of one of its stages, on the stage's own words, or of several. */
static void timed_leg(void *context, PdnKernel *kernel, const void *arguments, int64_t units,
                      int64_t work) {
    Meter *m = context;
    uint32_t place = (uint32_t)m->host.place, stages[PDN_RELAY_STAGES];
    /* more launches than stages */
    if (m->next >= m->relay->stages_count) m->next = m->relay->stages_count - 1;
    bool alone = arguments == m->relay->stages[m->next].words;
    int64_t end = alone ? m->next + 1 : group_end(m, work);
    double start = clock_seconds();
    m->inner->launch(m->inner->context, kernel, arguments, units, work);
    double took = clock_seconds() - start;
    (void)plan_stages(m->plan, place, stages);
    count(m,
          alone ? &m->tally[stages[m->next]]
                : group_tally(m, place, (uint32_t)m->next, (uint32_t)end),
          kernel, took);
    m->next = end;
}

static bool timed_relay(void *context, const PdnRelay *relay) {
    Meter *m = context;
    const Running *r = m->running;
    m->relay = relay;
    m->next = 0;
    return pdn_relay(relay, pdn_threads_most(r->threads), r->x->cache, r->x->rooms, timed_leg,
                     context);
}

static void timed_random(void *context, int kind, uint64_t stream, void *to, int64_t numbers) {
    Meter *m = context;
    double start = clock_seconds();
    m->inner->random(m->inner->context, kind, stream, to, numbers);
    count(m, here(m), NULL, clock_seconds() - start);
}

static void timed_conv_norm(void *context, const PdnConvShape *shape, const void *weights,
                            const void *cotangent, void *result) {
    Meter *m = context;
    double start = clock_seconds();
    m->inner->conv_norm(m->inner->context, shape, weights, cotangent, result);
    count(m, here(m), NULL, clock_seconds() - start);
}

static int timed_batch_mean(void *context, uint64_t place, void *data, int64_t numbers,
                            const int64_t *extent) {
    Meter *m = context;
    double start = clock_seconds();
    int status = m->inner->batch_mean(m->inner->context, place, data, numbers, extent);
    count(m, here(m), NULL, clock_seconds() - start);
    return status;
}

static double seconds_inside(Profile *p) {
    pthread_mutex_lock(&p->lock);
    double inside = p->inside;
    pthread_mutex_unlock(&p->lock);
    return inside;
}

/* Effects and tasks run other programs, whose time is theirs. */
static void count_around(Meter *m, double start, double before) {
    double took = clock_seconds() - start, theirs = seconds_inside(m->profile) - before;
    count(m, here(m), NULL, took);
    if (theirs > took) theirs = took;
    here(m)->seconds -= theirs;
    m->theirs += theirs;
}

static int timed_effect(void *context, uint32_t number, const void *const *values) {
    Meter *m = context;
    double start = clock_seconds(), before = seconds_inside(m->profile);
    int status = m->inner->effect(m->inner->context, number, values);
    count_around(m, start, before);
    return status;
}

static int timed_task(void *context, uint32_t number, const void *const *values,
                      void *const *results) {
    Meter *m = context;
    double start = clock_seconds(), before = seconds_inside(m->profile);
    int status = m->inner->task(m->inner->context, number, values, results);
    count_around(m, start, before);
    return status;
}

/* ---- handed on ------------------------------------------------------------------------------------ */

static int pass_progress(void *context, uint32_t number, int64_t done, int64_t total) {
    const Meter *m = context;
    return m->inner->progress(m->inner->context, number, done, total);
}

static void pass_kept(void *context, uint32_t number, int64_t steps, int64_t slots, int64_t again,
                      int64_t bytes) {
    const Meter *m = context;
    m->inner->kept(m->inner->context, number, steps, slots, again, bytes);
}

static int pass_unconverged(void *context, uint32_t number, double residual, double tolerance,
                            double steps) {
    const Meter *m = context;
    return m->inner->unconverged(m->inner->context, number, residual, tolerance, steps);
}

/* ---- start and stop ----------------------------------------------------------------------------------- */

Meter *meter_start(Profile *p, Running *r, const PdnHost *host, const Plan *plan) {
    Meter *m = mem_alloc(sizeof *m);
    *m = (Meter){.profile = p, .running = r, .inner = host, .plan = plan};
    m->host = (PdnHost){.context = m,
                        .launch = timed_launch,
                        .effect = timed_effect,
                        .progress = pass_progress,
                        .random = timed_random,
                        .task = timed_task,
                        .batch_mean = timed_batch_mean,
                        .conv_norm = timed_conv_norm,
                        .memory = host->memory,
                        .threads = host->threads,
                        .kept = host->kept ? pass_kept : NULL,
                        .unconverged = pass_unconverged,
                        .relay = timed_relay};
    size_t bytes = sizeof *m->tally * (plan_places(plan) + 1);
    m->tally = mem_alloc(bytes);
    memset(m->tally, 0, bytes);
    m->started = clock_seconds();
    return m;
}

const PdnHost *meter_host(const Meter *m) { return &m->host; }

static uint32_t program_of(Profile *p, const Meter *m) {
    for (uint32_t i = 0; i < p->programs.len; i++)
        if (p->programs.data[i].plan == m->plan) return i;
    vec_push(&p->programs, ((ProfileProgram){m->running->func, m->plan}));
    return p->programs.len - 1;
}

static ProfileRow *row_of(Profile *p, const ProfileRow *like) {
    for (uint32_t i = 0; i < p->rows.len; i++) {
        ProfileRow *r = &p->rows.data[i];
        if (r->program == like->program && r->place == like->place && r->first == like->first &&
            r->end == like->end && memcmp(r->extent, like->extent, sizeof r->extent) == 0)
            return r;
    }
    vec_push(&p->rows, *like);
    return &vec_last(&p->rows);
}

static GridId grid_of(const Plan *plan, const ProfileRow *row) {
    uint32_t stages[PDN_RELAY_STAGES], place = row->place;
    if (row->end && plan_stages(plan, place, stages)) place = stages[row->first];
    return place ? plan_place(plan, place).grid : GRID_NONE;
}

/* Adds a tally; `stages`: launches of each pass, 0: as they were counted. */
static void add_row(Meter *m, ProfileRow row, const Tally *t, uint32_t stages, PlanAmount once) {
    GridId grid = grid_of(m->plan, &row);
    if (grid != GRID_NONE) memcpy(row.extent, m->running->grids[grid].extent, sizeof row.extent);
    ProfileRow *r = row_of(m->profile, &row);
    double passes = (double)t->passes;
    r->passes += passes;
    r->launches += stages ? passes * stages : (double)t->launches;
    r->seconds += t->seconds / (1 + m->running->beside);
    r->flops += passes * once.flops;
    r->bytes += passes * once.bytes;
}

void meter_stop(Meter *m) {
    Profile *p = m->profile;
    const Module *module = m->running->x->what->module;
    const PdnGrid *grids = m->running->grids;
    double took = clock_seconds() - m->started;
    Tally outside = {.passes = 1, .seconds = took - m->inside};
    pthread_mutex_lock(&p->lock);
    ProfileRow row = {.program = program_of(p, m)};
    add_row(m, row, &outside, 0, (PlanAmount){0, 0});
    for (row.place = 1; row.place <= plan_places(m->plan); row.place++)
        if (m->tally[row.place].launches)
            add_row(m, row, &m->tally[row.place], 0,
                    plan_amount(m->plan, module, grids, row.place));
    for (uint32_t i = 0; i < m->groups.len; i++) {
        const GroupTally *g = &m->groups.data[i];
        ProfileRow group = {
            .program = row.program, .place = g->place, .first = g->first, .end = g->end};
        add_row(m, group, &g->tally, g->end - g->first,
                plan_amount_together(m->plan, module, grids, g->place, g->first, g->end));
    }
    p->inside += (took - m->theirs) / (1 + m->running->beside);
    p->calls += (double)m->calls;
    pthread_mutex_unlock(&p->lock);
    vec_free(&m->groups);
    mem_free(m->tally);
    mem_free(m);
}
