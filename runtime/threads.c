/* threads.c: parts of a kernel on several threads. Parts are of whole units, which are independent, so
 * that who computes what changes no bit.
 *
 * A launch is over when its parts are done. It does not wait for threads that have not come to take any, as
 * a barrier does: on a machine that is busy with other things that may be long after. Nobody turns idly for longer
 * than some microseconds: who has nothing to do then sleeps. */
#define _GNU_SOURCE /* sched_getaffinity */
#include "runtime/file.h"
#include "runtime/groups.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#define MAX_THREADS 1024
/* of a thread, of which the last quarter is a part of its own: a slow thread leaves it to others */
#define LEAST_UNITS 4
#define TURNS       1000 /* of idle waiting, some ten microseconds */
/* Cycles below which another thread, or another part, is not worth it: to wake one that sleeps takes about as long. */
#define LEAST_WORK 16000

/* ---- how many ---------------------------------------------------------------------------- */

static int most_threads(void) {
    cpu_set_t set;
    int threads = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : MAX_THREADS;
    const char *wanted = getenv("OMP_NUM_THREADS");
    long number = wanted ? strtol(wanted, NULL, 10) : 0;
    if (number > 0 && number < threads) { threads = (int)number; }
    return threads < 1 ? 1 : threads > MAX_THREADS ? MAX_THREADS : threads;
}

/* Processors that a group may keep busy: its share of time in a period, rounded up. */
static int64_t group_processors(const char *folder, int version) {
    char path[4096 + 64];
    int64_t quota = -1, period = -1;
    if (version == 2) {
        long long numbers[2];
        snprintf(path, sizeof path, "%s/cpu.max", folder);
        FILE *file = fopen(path, "re");
        if (file) {
            if (fscanf(file, "%lld %lld", &numbers[0], &numbers[1]) == 2) {
                quota = numbers[0];
                period = numbers[1];
            }
            fclose(file);
        }
    } else {
        snprintf(path, sizeof path, "%s/cpu.cfs_quota_us", folder);
        quota = pdn_read_number(path, "");
        snprintf(path, sizeof path, "%s/cpu.cfs_period_us", folder);
        period = pdn_read_number(path, "");
    }
    return quota > 0 && period > 0 ? (quota - 1) / period + 1 : INT64_MAX;
}

int pdn_threads_available_under(const char *root) {
    int64_t share = pdn_groups_least(root, "cpu", group_processors);
    return share < most_threads() ? (int)share : most_threads();
}

int pdn_threads_available(void) { return pdn_threads_available_under(""); }

/* ---- the pool ----------------------------------------------------------------------------- */

/* One of the threads that take parts; 0 is the caller's. */
typedef struct {
    PdnThreads *threads;
    int number;
    pthread_t thread;
    pthread_cond_t wake;
    _Alignas(64) atomic_int next; /* of the parts that are its own in this launch */
    atomic_bool asleep;
} Place;

struct PdnThreads {
    int most;         /* threads, with the caller's */
    int started;      /* beside it */
    pid_t owner;      /* the process that has them: a child by fork has the caller's thread only */
    atomic_bool busy; /* a launch is under way */
    uint64_t number;  /* of the last launch */
    pthread_mutex_t lock;
    pthread_cond_t left;
    atomic_bool waited; /* the caller sleeps until nobody is inside */
    atomic_bool stop;
    /* the launch whose parts may be taken: its number * PLACES + taking; 0: none */
    _Alignas(64) _Atomic uint64_t open;
    /* What it runs, in one line with `open`: written while that is 0 and nobody is inside. */
    PdnKernel *kernel;
    const void *arguments;
    int64_t count;
    int taking, each; /* threads that take parts, parts of each: 1 or 2 */
    Place *places;
    /* threads that may be taking parts; the caller is not counted */
    _Alignas(64) atomic_int inside;
};

#define PLACES (2 * MAX_THREADS)

static inline void breathe(void) {
#if defined __x86_64__ || defined __i386__
    __builtin_ia32_pause();
#elif defined __aarch64__
    __asm__ volatile("yield");
#endif
}

/* The first unit of a thread's share. */
static int64_t share_begin(const PdnThreads *t, int64_t owner) {
    int64_t rest = t->count % t->taking;
    return t->count / t->taking * owner + (rest < owner ? rest : owner);
}

static void run_part(const PdnThreads *t, int owner, int part) {
    int64_t begin = share_begin(t, owner), end = share_begin(t, owner + 1);
    int64_t middle = t->each > 1 ? end - (end - begin) / 4 : end;
    t->kernel(t->arguments, part ? middle : begin, part ? end : middle);
}

/* A thread first takes the parts that it had the last time (they are in its cache), then those that the
 * others have not begun. */
static void take_parts(PdnThreads *t, int me) {
    for (int other = 0; other < t->taking; other++) {
        int owner = (me + other) % t->taking;
        for (;;) {
            int turn = atomic_fetch_add(&t->places[owner].next, 1);
            if (turn >= t->each) { break; }
            run_part(t, owner, turn);
        }
    }
}

/* The launch, other than `last`, that wants this thread; 0: none. */
static uint64_t wanted(const Place *p, uint64_t last) {
    uint64_t open = atomic_load(&p->threads->open);
    return open != last && p->number < (int)(open % PLACES) ? open : 0;
}

/* Waits until it is wanted; false: it will not be. */
static bool wait_for_work(Place *p, uint64_t last) {
    for (int i = 0; i < TURNS; i++) {
        if (wanted(p, last)) { return true; }
        breathe();
    }
    PdnThreads *t = p->threads;
    pthread_mutex_lock(&t->lock);
    atomic_store(&p->asleep, true);
    while (!wanted(p, last) && !atomic_load(&t->stop)) { pthread_cond_wait(&p->wake, &t->lock); }
    atomic_store(&p->asleep, false);
    pthread_mutex_unlock(&t->lock);
    return !atomic_load(&t->stop);
}

/* It goes inside before it looks whether the launch is open still, and the caller closes it before it looks whether
 * anybody is inside: so what it runs stays until it is out. */
static void *run_worker(void *place) {
    Place *p = place;
    PdnThreads *t = p->threads;
    uint64_t last = 0;
    while (wait_for_work(p, last)) {
        atomic_fetch_add(&t->inside, 1);
        uint64_t open = wanted(p, last);
        if (open) {
            last = open;
            take_parts(t, p->number);
        }
        if (atomic_fetch_sub(&t->inside, 1) == 1 && atomic_load(&t->waited)) {
            pthread_mutex_lock(&t->lock);
            pthread_cond_signal(&t->left);
            pthread_mutex_unlock(&t->lock);
        }
    }
    return NULL;
}

/* Starts threads until there are `count` with the caller's, or no more can be had. Signals are for the caller's, but those
 * that a fault of the thread itself makes. */
static void start(PdnThreads *t, int count) {
    if (t->started + 1 >= count) { return; }
    static const int own[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS};
    sigset_t others, before;
    sigfillset(&others);
    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++) { sigdelset(&others, own[i]); }
    pthread_sigmask(SIG_SETMASK, &others, &before);
    while (t->started + 1 < count) {
        Place *p = &t->places[t->started + 1];
        if (pthread_create(&p->thread, NULL, run_worker, p) != 0) { break; }
        t->started++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static void wait_until_out(PdnThreads *t) {
    for (int i = 0; i < TURNS; i++) {
        if (atomic_load(&t->inside) == 0) { return; }
        breathe();
    }
    pthread_mutex_lock(&t->lock);
    atomic_store(&t->waited, true);
    while (atomic_load(&t->inside) != 0) { pthread_cond_wait(&t->left, &t->lock); }
    atomic_store(&t->waited, false);
    pthread_mutex_unlock(&t->lock);
}

static void wake(PdnThreads *t, Place *p) {
    if (!atomic_load(&p->asleep)) { return; }
    pthread_mutex_lock(&t->lock);
    pthread_cond_signal(&p->wake);
    pthread_mutex_unlock(&t->lock);
}

static int parts_each(int64_t count, int64_t work, int threads) {
    return count / threads < LEAST_UNITS || work / LEAST_WORK / threads < 2 ? 1 : 2;
}

static void launch(PdnThreads *t, PdnKernel *kernel, const void *arguments, int64_t count,
                   int64_t work, int threads) {
    t->kernel = kernel;
    t->arguments = arguments;
    t->count = count;
    t->taking = threads;
    t->each = parts_each(count, work, threads);
    for (int i = 0; i < threads; i++) {
        atomic_store_explicit(&t->places[i].next, 0, memory_order_relaxed);
    }
    atomic_store(&t->open, ++t->number * PLACES + (uint64_t)threads);
    for (int i = 1; i < threads; i++) { wake(t, &t->places[i]); }
    take_parts(t, 0);
    atomic_store(&t->open, 0);
    wait_until_out(t);
}

void pdn_threads_run(PdnThreads *t, PdnKernel *kernel, const void *arguments, int64_t count,
                     int64_t work) {
    if (count <= 0) { return; }
    int64_t threads = t ? t->most : 1;
    if (threads > count) { threads = count; }
    if (threads > work / LEAST_WORK) { threads = work / LEAST_WORK; }
    if (threads < 2 || t->owner != getpid() || atomic_load(&t->busy) ||
        atomic_exchange(&t->busy, true)) { /* or a launch within a launch */
        kernel(arguments, 0, count);
        return;
    }
    start(t, (int)threads);
    if (threads > t->started + 1) { threads = t->started + 1; }
    if (threads > 1) {
        launch(t, kernel, arguments, count, work, (int)threads);
    } else {
        kernel(arguments, 0, count);
    }
    atomic_store(&t->busy, false);
}

PdnThreads *pdn_threads_new(int count) {
    if (count <= 0) { count = pdn_threads_available(); }
    if (count > MAX_THREADS) { count = MAX_THREADS; }
    PdnThreads *t = aligned_alloc(_Alignof(PdnThreads), sizeof *t);
    Place *places = aligned_alloc(_Alignof(Place), sizeof *places * (size_t)count);
    if (!t || !places) {
        free(t);
        free(places);
        return NULL;
    }
    *t = (PdnThreads){.most = count, .places = places, .owner = getpid()};
    pthread_mutex_init(&t->lock, NULL);
    pthread_cond_init(&t->left, NULL);
    for (int i = 0; i < count; i++) {
        places[i] = (Place){.threads = t, .number = i};
        pthread_cond_init(&places[i].wake, NULL);
    }
    return t;
}

int pdn_threads_most(const PdnThreads *t) { return t ? t->most : 1; }

static void stop(PdnThreads *t) {
    pthread_mutex_lock(&t->lock);
    atomic_store(&t->stop, true);
    for (int i = 1; i <= t->started; i++) { pthread_cond_signal(&t->places[i].wake); }
    pthread_mutex_unlock(&t->lock);
    for (int i = 1; i <= t->started; i++) { pthread_join(t->places[i].thread, NULL); }
    for (int i = 0; i < t->most; i++) { pthread_cond_destroy(&t->places[i].wake); }
    pthread_cond_destroy(&t->left);
    pthread_mutex_destroy(&t->lock);
}

void pdn_threads_free(PdnThreads *t) {
    if (!t) { return; }
    /* in a child by fork there is nothing to stop, and the lock may be held for ever */
    if (t->owner == getpid()) { stop(t); }
    free(t->places);
    free(t);
}

void pdn_launch(PdnKernel *kernel, const void *arguments, int64_t count, int threads) {
    PdnThreads *t = threads == 1 || count < 2 ? NULL : pdn_threads_new(threads);
    pdn_threads_run(t, kernel, arguments, count, PDN_MUCH_WORK);
    pdn_threads_free(t);
}
