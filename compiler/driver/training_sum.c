/* The sum of the gradients of a batch: a fixed tree of the samples' places, of which only those sums are in memory that wait
 * for their neighbours. */
#include "compiler/driver/training.h"

#include <stdlib.h>
#include <string.h>

enum { CHUNK = 4096 };

static size_t gradient_bytes(const Training *t) { return (size_t)t->total * number_bytes(t); }

/* Levels of the tree and a few beside them: what one thread, and every further one, has at a time. */
double gradient_sum_bytes(const Training *t) {
    int levels = 2;
    while ((INT64_C(1) << levels) < t->batch) levels++;
    int64_t most = levels + 1 + (int64_t)pdn_threads_most(t->x->threads) * 2;
    if (most > t->batch || t->meets) most = t->batch;
    return (double)most * (double)gradient_bytes(t);
}

static void give_back(GradientSum *s, void *gradient) {
    if (s->free_count == s->free_room) {
        s->free_room = s->free_room ? 2 * s->free_room : 8;
        s->free = mem_resize(s->free, sizeof *s->free * (size_t)s->free_room);
    }
    s->free[s->free_count++] = gradient;
}

bool gradient_sum_begin(Training *t) {
    GradientSum *s = &t->sum;
    for (int64_t i = 0; i < s->batch; i++) /* of a batch that failed */
        if (s->waiting[i]) give_back(s, s->waiting[i]);
    if (s->whole) give_back(s, s->whole);
    s->whole = NULL;
    s->lacking = false;
    if (t->batch > s->room) {
        if (!memory_suffices(t->x, gradient_sum_bytes(t) - (double)s->made * (double)gradient_bytes(t))) return false;
        s->waiting = mem_resize(s->waiting, sizeof *s->waiting * (size_t)t->batch);
        s->room = t->batch;
    }
    s->batch = t->batch;
    memset(s->waiting, 0, sizeof *s->waiting * (size_t)t->batch);
    return true;
}

void *gradient_sum_room(Training *t) {
    GradientSum *s = &t->sum;
    void *gradient = NULL;
    pthread_mutex_lock(&t->lock);
    if (s->free_count)
        gradient = s->free[--s->free_count];
    else if ((gradient = pdn_memory_new(gradient_bytes(t)))) {
        s->made++;
        memset(gradient, 0, gradient_bytes(t)); /* what the loss does not depend on stays so */
    } else
        s->lacking = true;
    pthread_mutex_unlock(&t->lock);
    return gradient;
}

typedef struct {
    const Training *t;
    void *to;
    const void *from;
} Addition;

static void add_chunks(const void *addition, int64_t begin, int64_t end) {
    const Addition *a = addition;
    int64_t last = end * CHUNK < a->t->total ? end * CHUNK : a->t->total;
    if (a->t->x->type == PDN_F32) {
        float *restrict to = a->to;
        const float *restrict from = a->from;
        for (int64_t i = begin * CHUNK; i < last; i++) to[i] += from[i];
    } else {
        double *restrict to = a->to;
        const double *restrict from = a->from;
        for (int64_t i = begin * CHUNK; i < last; i++) to[i] += from[i];
    }
}

/* Leaves a sum for its neighbour and gives NULL, or takes the neighbour's that waits. `middle`: the place where the right
 * one of the two begins, which no other two have. */
static void *meet(Training *t, int64_t middle, void *sum) {
    pthread_mutex_lock(&t->lock);
    void **waiting = &t->sum.waiting[middle], *other = *waiting;
    *waiting = other ? NULL : sum;
    pthread_mutex_unlock(&t->lock);
    return other;
}

void gradient_sum_add(Training *t, int64_t sample, void *gradient, PdnThreads *threads) {
    GradientSum *s = &t->sum;
    for (int64_t width = 1; width < t->batch; width *= 2) {
        int64_t pair = sample / (2 * width), middle = (2 * pair + 1) * width;
        if (middle >= t->batch) continue; /* it has no neighbour */
        void *other = meet(t, middle, gradient);
        if (!other) return;
        bool left = sample < middle;
        Addition a = {t, left ? gradient : other, left ? other : gradient};
        pdn_threads_run(threads, add_chunks, &a, (t->total + CHUNK - 1) / CHUNK, t->total);
        pthread_mutex_lock(&t->lock);
        give_back(s, left ? other : gradient);
        pthread_mutex_unlock(&t->lock);
        gradient = a.to;
    }
    s->whole = gradient;
}

void gradient_sum_free(Training *t) {
    GradientSum *s = &t->sum;
    for (int64_t i = 0; i < s->batch; i++) free(s->waiting[i]);
    for (int i = 0; i < s->free_count; i++) free(s->free[i]);
    free(s->whole);
    mem_free(s->waiting);
    mem_free(s->free);
}
