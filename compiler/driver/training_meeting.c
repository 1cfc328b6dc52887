/* Where the samples of a batch meet: means over the batch inside of a step. */
#include "compiler/driver/training.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct Meeting {
    pthread_mutex_t lock;
    pthread_cond_t all;
    int64_t batch, arrived, generation;
    int64_t gone;   /* samples that are done and take no more means */
    int64_t *count; /* numbers that each sample brings */
    void **data;    /* of each sample */
    bool f64, failed;
    const char *why; /* NULL: a sample failed for itself, with a message */
};

/* Neighbours in pairs, as everywhere: the same bits whoever comes last. */
static void take_means(Meeting *g, int64_t count) {
    double *sums = mem_alloc(sizeof *sums * (size_t)(g->batch + 1));
    for (int64_t i = 0; i < count; i++) {
        for (int64_t s = 0; s < g->batch; s++)
            sums[s] = g->f64 ? ((const double *)g->data[s])[i] : (double)((const float *)g->data[s])[i];
        for (int64_t apart = 1; apart < g->batch; apart *= 2)
            for (int64_t s = 0; s + apart < g->batch; s += 2 * apart) sums[s] += sums[s + apart];
        double mean = sums[0] / (double)g->batch;
        for (int64_t s = 0; s < g->batch; s++)
            if (g->f64)
                ((double *)g->data[s])[i] = mean;
            else
                ((float *)g->data[s])[i] = (float)mean;
    }
    mem_free(sums);
}

static bool all_bring(const Meeting *g, int64_t count) {
    for (int64_t s = 0; s < g->batch; s++)
        if (g->count[s] != count) return false;
    return true;
}

/* Means that not every sample can give: none is waited for. */
static void fail(Meeting *g, const char *why) {
    g->failed = true;
    g->why = why;
    pthread_cond_broadcast(&g->all);
}

/* All are there, or those that are not will never come. */
static void settle(Meeting *g) {
    if (g->failed || !g->arrived || g->arrived + g->gone < g->batch) return;
    if (g->gone) {
        fail(g, "its samples take different numbers of means, as a loop takes more steps for one than for another");
    } else if (!all_bring(g, g->count[0])) {
        fail(g, "its samples differ in size; patch = n makes them alike");
    } else {
        take_means(g, g->count[0]);
        g->arrived = 0;
        g->generation++;
        pthread_cond_broadcast(&g->all);
    }
}

int meeting_mean(Meeting *g, int64_t sample, void *data, int64_t count) {
    pthread_mutex_lock(&g->lock);
    int64_t generation = g->generation;
    g->data[sample] = data;
    g->count[sample] = count;
    g->arrived++;
    settle(g);
    while (generation == g->generation && !g->failed) pthread_cond_wait(&g->all, &g->lock);
    bool failed = g->failed;
    pthread_mutex_unlock(&g->lock);
    return failed;
}

/* A sample that is done, or failed, comes no more: the others need not wait. */
static void leave(Meeting *g, bool failed) {
    pthread_mutex_lock(&g->lock);
    g->gone++;
    if (failed && !g->failed) fail(g, NULL);
    settle(g);
    pthread_mutex_unlock(&g->lock);
}

typedef struct {
    Training *training;
    int64_t sample;
    pthread_t thread;
    bool started;
} Guest;

static void *run_guest(void *context) {
    Guest *g = context;
    training_sample(g->training, g->sample, 1);
    leave(g->training->meeting, g->training->status[g->sample] != 0);
    return NULL;
}

bool meeting_run(Training *t) {
    Meeting g = {.batch = t->batch, .f64 = t->x->type == PDN_F64};
    Guest *guests = mem_alloc(sizeof *guests * (size_t)t->batch);
    pthread_mutex_init(&g.lock, NULL);
    pthread_cond_init(&g.all, NULL);
    g.data = mem_alloc(sizeof *g.data * (size_t)t->batch);
    g.count = mem_alloc(sizeof *g.count * (size_t)t->batch);
    t->meeting = &g;
    bool ok = true;
    for (int64_t i = 0; i < t->batch; i++) {
        guests[i] = (Guest){.training = t, .sample = i};
        guests[i].started = ok && pthread_create(&guests[i].thread, NULL, run_guest, &guests[i]) == 0;
        ok = guests[i].started;
    }
    if (!ok) leave(&g, true);
    for (int64_t i = 0; i < t->batch; i++)
        if (guests[i].started) pthread_join(guests[i].thread, NULL);
    t->meeting = NULL;
    pthread_cond_destroy(&g.all);
    pthread_mutex_destroy(&g.lock);
    mem_free(g.data);
    mem_free(g.count);
    mem_free(guests);
    Diagnostics *diagnostics = t->x->session->diagnostics;
    if (!ok) diag_report(diagnostics, DIAG_NO_THREADS, t->task->span, (long long)t->batch);
    if (g.why) diag_report(diagnostics, DIAG_NO_MEETING, t->task->span, g.why);
    return ok && !g.why;
}
