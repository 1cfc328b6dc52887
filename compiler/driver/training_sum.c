/* The sum of the gradients of a batch: a fixed tree of the samples' places, of which only those sums are in memory that wait
 * for their neighbours. What a thread adds when its sample is done goes through memory once, and what ends in the whole
 * is left for all threads, with the division by the batch. */
#include "compiler/driver/training.h"

#include <float.h>
#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK = 4096 }; /* numbers: a few such parts are in the first-level cache */

static size_t gradient_bytes(const Training *t) { return (size_t)t->total * number_bytes(t); }

/* Levels of the tree and a few beside them: what one thread, and every further one, has at a time. */
double gradient_sum_bytes(const Training *t) {
    int levels = 2;
    while ((INT64_C(1) << levels) < t->batch) levels++;
    int64_t most = levels + 1 + (int64_t)pdn_threads_most(t->x->threads) * 2;
    if (most > t->batch || t->meets) most = t->batch;
    return (double)most * (double)gradient_bytes(t);
}

/* ---- room ------------------------------------------------------------------------------------------------ */

static void give_back(GradientSum *s, void *gradient) {
    if (s->free_count == s->free_room) {
        s->free_room = s->free_room ? 2 * s->free_room : 8;
        s->free = mem_resize(s->free, sizeof *s->free * (size_t)s->free_room);
    }
    s->free[s->free_count++] = gradient;
}

static void give_back_added(GradientSum *s, Additions *a) {
    for (int i = 0; i < a->count; i++) give_back(s, a->from[i]);
    a->count = 0;
}

static void give_back_whole(GradientSum *s) {
    give_back_added(s, &s->last);
    if (s->whole) give_back(s, s->whole);
    s->whole = NULL;
}

bool gradient_sum_begin(Training *t) {
    GradientSum *s = &t->sum;
    for (int64_t i = 0; i < s->batch; i++) /* of a batch that failed */
        if (s->waiting[i]) give_back(s, s->waiting[i]);
    give_back_whole(s);
    s->lacking = false;
    if (t->batch > s->room) {
        if (!memory_suffices(t->x,
                             gradient_sum_bytes(t) - (double)s->made * (double)gradient_bytes(t)))
            return false;
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
    if (s->free_count) gradient = s->free[--s->free_count];
    pthread_mutex_unlock(&t->lock);
    if (gradient) return gradient;
    gradient = pdn_memory_new(gradient_bytes(t));
    /* what the loss does not depend on stays so */
    if (gradient) memset(gradient, 0, gradient_bytes(t));
    pthread_mutex_lock(&t->lock);
    s->made += gradient != NULL;
    s->lacking = s->lacking || !gradient;
    pthread_mutex_unlock(&t->lock);
    return gradient;
}

/* ---- loops over numbers ---------------------------------------------------------------------------------- */

static void add_f32(float *restrict to, const float *restrict from, int64_t count) {
    for (int64_t i = 0; i < count; i++) to[i] += from[i];
}

static void add_f64(double *restrict to, const double *restrict from, int64_t count) {
    for (int64_t i = 0; i < count; i++) to[i] += from[i];
}

/* to = by from; false where one is no finite number. */
static bool scale_f32(float *restrict to, const float *restrict from, float by, int64_t count) {
    int broken = 0;
    for (int64_t i = 0; i < count; i++) {
        to[i] = by * from[i];
        broken |= !(fabsf(to[i]) <= FLT_MAX);
    }
    return !broken;
}

static bool scale_f64(double *restrict to, const double *restrict from, double by, int64_t count) {
    int64_t broken = 0;
    for (int64_t i = 0; i < count; i++) {
        to[i] = by * from[i];
        broken |= !(fabs(to[i]) <= DBL_MAX);
    }
    return !broken;
}

/* What is done with all numbers, chunk by chunk: additions, and where they end in the whole, its mean. */
typedef struct {
    const Training *t;
    const Additions *additions;
    const void *whole;
    void *mean;          /* or NULL */
    atomic_bool *broken; /* the mean is not finite */
} Pass;

static void run_chunk(const Pass *p, int64_t begin, int64_t count) {
    bool f32 = p->t->x->type == PDN_F32;
    size_t at = (size_t)begin * number_bytes(p->t);
    for (int i = 0; i < p->additions->count; i++) {
        char *to = (char *)p->additions->to[i] + at;
        const char *from = (const char *)p->additions->from[i] + at;
        if (f32)
            add_f32((float *)to, (const float *)from, count);
        else
            add_f64((double *)to, (const double *)from, count);
    }
    if (!p->mean) return;
    char *to = (char *)p->mean + at;
    const char *from = (const char *)p->whole + at;
    double by = 1 / (double)p->t->batch;
    if (!(f32 ? scale_f32((float *)to, (const float *)from, (float)by, count)
              : scale_f64((double *)to, (const double *)from, by, count)))
        atomic_store(p->broken, true);
}

static void run_chunks(const void *pass, int64_t begin, int64_t end) {
    const Pass *p = pass;
    for (int64_t c = begin; c < end; c++) {
        int64_t left = p->t->total - c * CHUNK;
        run_chunk(p, c * CHUNK, left < CHUNK ? left : CHUNK);
    }
}

static void run_pass(const Pass *p, PdnThreads *threads) {
    pdn_threads_run(threads, run_chunks, p, (p->t->total + CHUNK - 1) / CHUNK,
                    p->t->total * (p->additions->count + 1));
}

/* ---- the tree ------------------------------------------------------------------------------------------ */

/* Takes what waits for the sum of `*width` samples with this one, and for what comes of that, …: all that are there now. Where
 * nothing is, the sum waits for its neighbour. Gives what the sum will be in. */
static void *meet(Training *t, int64_t sample, int64_t *width, void *sum, Additions *a) {
    a->count = 0;
    pthread_mutex_lock(&t->lock);
    for (; *width < t->batch; *width *= 2) {
        /* where the right one of the two begins */
        int64_t middle = (2 * (sample / (2 * *width)) + 1) * *width;
        if (middle >= t->batch) continue; /* it has no neighbour */
        void **waiting = &t->sum.waiting[middle], *other = *waiting;
        if (!other && !a->count) *waiting = sum;
        if (!other) break;
        *waiting = NULL;
        bool left = sample < middle;
        a->to[a->count] = left ? sum : other;
        a->from[a->count] = left ? other : sum;
        sum = a->to[a->count++];
    }
    pthread_mutex_unlock(&t->lock);
    return sum;
}

void gradient_sum_add(Training *t, int64_t sample, void *gradient, PdnThreads *threads) {
    GradientSum *s = &t->sum;
    Additions a;
    for (int64_t width = 1;;) {
        gradient = meet(t, sample, &width, gradient, &a);
        if (width >= t->batch) break;
        if (!a.count) return;
        run_pass(&(Pass){.t = t, .additions = &a}, threads);
        pthread_mutex_lock(&t->lock);
        give_back_added(s, &a);
        pthread_mutex_unlock(&t->lock);
    }
    s->last = a;
    s->whole = gradient;
}

bool gradient_sum_mean(Training *t, void *mean) {
    GradientSum *s = &t->sum;
    atomic_bool broken = false;
    run_pass(&(Pass){t, &s->last, s->whole, mean, &broken}, t->x->threads);
    give_back_whole(s);
    return !atomic_load(&broken);
}

void gradient_sum_free(Training *t) {
    GradientSum *s = &t->sum;
    give_back_whole(s);
    for (int64_t i = 0; i < s->batch; i++) free(s->waiting[i]);
    for (int i = 0; i < s->free_count; i++) free(s->free[i]);
    mem_free(s->waiting);
    mem_free(s->free);
}
