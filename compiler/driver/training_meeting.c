/* Where the samples of a batch meet: means over the batch inside of a step. */
#include "compiler/driver/training.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    uint64_t place; /* which mean of the program it is */
    void *data;
    int64_t count, extent[MAX_RANK];
} Brought;

struct Meeting {
    pthread_mutex_t lock;
    pthread_cond_t all;
    int64_t batch, arrived, generation;
    int64_t gone;     /* samples that are done and take no more means */
    Brought *brought; /* by each sample */
    bool f64, failed;
    char why[160]; /* "": a sample failed for itself, with a message */
};

static const char other_means[] =
    "its samples take different numbers of means, as a loop takes more steps for one than for another";

/* Neighbours in pairs, as everywhere: the same bits whoever comes last. */
static void take_means(Meeting *g, int64_t count) {
    double *sums = mem_alloc(sizeof *sums * (size_t)(g->batch + 1));
    for (int64_t i = 0; i < count; i++) {
        for (int64_t s = 0; s < g->batch; s++)
            sums[s] = g->f64 ? ((const double *)g->brought[s].data)[i]
                             : (double)((const float *)g->brought[s].data)[i];
        for (int64_t apart = 1; apart < g->batch; apart *= 2)
            for (int64_t s = 0; s + apart < g->batch; s += 2 * apart) sums[s] += sums[s + apart];
        double mean = sums[0] / (double)g->batch;
        for (int64_t s = 0; s < g->batch; s++)
            if (g->f64)
                ((double *)g->brought[s].data)[i] = mean;
            else
                ((float *)g->brought[s].data)[i] = (float)mean;
    }
    mem_free(sums);
}

/* Means that not every sample can give: none is waited for. */
static void fail(Meeting *g, const char *why) {
    g->failed = true;
    snprintf(g->why, sizeof g->why, "%s", why);
    pthread_cond_broadcast(&g->all);
}

/* "32 x 48 cells", x first. */
static void size_text(const Brought *b, char *to, size_t room) {
    int rank = b->extent[2] > 1 ? 3 : b->extent[1] > 1 ? 2 : 1;
    size_t used = 0;
    for (int a = 0; a < rank && used < room; a++)
        used += (size_t)snprintf(to + used, room - used, "%s%lld", a ? " x " : "",
                                 (long long)b->extent[a]);
}

/* The same mean of the program, of fields of one size? As many numbers are not enough: 8 x 16 and 16 x 8 cells. */
static bool all_alike(Meeting *g) {
    const Brought *first = &g->brought[0];
    for (int64_t s = 1; s < g->batch; s++) {
        const Brought *b = &g->brought[s];
        char why[160], sizes[2][40];
        if (b->place != first->place) {
            fail(g, other_means);
            return false;
        }
        if (b->count == first->count && !memcmp(b->extent, first->extent, sizeof b->extent))
            continue;
        size_text(first, sizes[0], sizeof sizes[0]);
        size_text(b, sizes[1], sizeof sizes[1]);
        snprintf(why, sizeof why,
                 "its samples differ in size (%s and %s cells); patch = n makes them alike",
                 sizes[0], sizes[1]);
        fail(g, why);
        return false;
    }
    return true;
}

/* All are there, or those that are not will never come. */
static void settle(Meeting *g) {
    if (g->failed || !g->arrived || g->arrived + g->gone < g->batch) return;
    if (g->gone) {
        fail(g, other_means);
    } else if (all_alike(g)) {
        take_means(g, g->brought[0].count);
        g->arrived = 0;
        g->generation++;
        pthread_cond_broadcast(&g->all);
    }
}

int meeting_mean(Meeting *g, int64_t sample, uint64_t place, void *data, int64_t count,
                 const int64_t *extent) {
    pthread_mutex_lock(&g->lock);
    int64_t generation = g->generation;
    g->brought[sample] = (Brought){.place = place, .data = data, .count = count};
    for (int a = 0; a < MAX_RANK; a++) g->brought[sample].extent[a] = extent ? extent[a] : 1;
    g->arrived++;
    settle(g);
    while (generation == g->generation && !g->failed) pthread_cond_wait(&g->all, &g->lock);
    /* a sample that fails later does not matter to this mean */
    bool failed = generation == g->generation;
    pthread_mutex_unlock(&g->lock);
    return failed;
}

/* A sample that is done, or failed, comes no more: the others need not wait. */
static void leave(Meeting *g, bool failed) {
    pthread_mutex_lock(&g->lock);
    g->gone++;
    if (failed && !g->failed) fail(g, "");
    settle(g);
    pthread_mutex_unlock(&g->lock);
}

typedef struct {
    Meeting *meeting;
    int (*run)(void *context, int64_t sample);
    void *context;
    int64_t sample;
    pthread_t thread;
    bool started;
} Guest;

static void *run_guest(void *context) {
    Guest *g = context;
    leave(g->meeting, g->run(g->context, g->sample) != 0);
    return NULL;
}

bool meeting_run(Training *t, bool f64, int (*run)(void *context, int64_t sample), void *context) {
    Meeting g = {.batch = t->batch, .f64 = f64};
    Guest *guests = mem_alloc(sizeof *guests * (size_t)t->batch);
    pthread_mutex_init(&g.lock, NULL);
    pthread_cond_init(&g.all, NULL);
    g.brought = mem_alloc(sizeof *g.brought * (size_t)t->batch);
    t->meeting = &g;
    bool ok = true;
    for (int64_t i = 0; i < t->batch; i++) {
        guests[i] = (Guest){.meeting = &g, .run = run, .context = context, .sample = i};
        guests[i].started =
            ok && pthread_create(&guests[i].thread, NULL, run_guest, &guests[i]) == 0;
        ok = guests[i].started;
    }
    if (!ok) leave(&g, true);
    for (int64_t i = 0; i < t->batch; i++)
        if (guests[i].started) pthread_join(guests[i].thread, NULL);
    t->meeting = NULL;
    pthread_cond_destroy(&g.all);
    pthread_mutex_destroy(&g.lock);
    mem_free(g.brought);
    mem_free(guests);
    Diagnostics *diagnostics = t->x->session->diagnostics;
    if (!ok) diag_report(diagnostics, DIAG_NO_THREADS, t->task->span, (long long)t->batch);
    if (*g.why) diag_report(diagnostics, DIAG_NO_MEETING, t->task->span, g.why);
    return ok && !*g.why;
}
