#define _GNU_SOURCE
/* Threads: every unit once, whoever computes it; nobody waits for a thread that does not come. `./dev races` runs these
 * under ThreadSanitizer. */
#include "runtime/pdn.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

typedef struct {
    int64_t count;
    _Atomic uint8_t *seen;
    atomic_int calls;
} Work;

static void visit(const void *arguments, int64_t begin, int64_t end) {
    Work *work = (Work *)(uintptr_t)arguments;
    atomic_fetch_add(&work->calls, 1);
    cr_assert(0 <= begin && begin < end && end <= work->count);
    for (int64_t i = begin; i < end; i++) { atomic_fetch_add(&work->seen[i], 1); }
}

static Work work_of(int64_t count) {
    return (Work){.count = count, .seen = calloc((size_t)count + 1, 1)};
}

static void expect_each(Work *work, int times) {
    for (int64_t i = 0; i < work->count; i++) {
        cr_assert_eq(work->seen[i], times, "unit %d of %d: %d times", (int)i, (int)work->count,
                     work->seen[i]);
    }
    free((void *)(uintptr_t)work->seen);
}

static void pause_for(long microseconds) {
    nanosleep(&(struct timespec){microseconds / 1000000, microseconds % 1000000 * 1000}, NULL);
}

/* ---- every unit once ---------------------------------------------------------------- */

static const int64_t counts[] = {1, 2, 3, 7, 8, 9, 100, 1023, 65537};

Test(threads, every_unit_once) {
    static const int threads[] = {0, 1, 2, 3, 8, 256, 100000};
    for (size_t c = 0; c < sizeof counts / sizeof counts[0]; c++) {
        for (size_t t = 0; t < sizeof threads / sizeof threads[0]; t++) {
            if (threads[t] > 8 && counts[c] != 100) {
                /* many threads are slow to start under a checker, and valgrind has 500 at most */
                continue;
            }
            Work work = work_of(counts[c]);
            pdn_launch(visit, &work, work.count, threads[t]);
            if (threads[t] == 1) { cr_assert_eq(work.calls, 1); }
            expect_each(&work, 1);
        }
    }
    Work none = {.count = 0};
    pdn_launch(visit, &none, 0, 2);
    pdn_launch(visit, &none, -5, 2);
    cr_assert_eq(none.calls, 0);
    cr_assert_geq(pdn_threads_available(), 1);
}

/* Threads that sleep between launches, and threads that do not; launches for all of them and for some. */
Test(threads, many_launches) {
    for (int most = 2; most <= 5; most++) {
        PdnThreads *threads = pdn_threads_new(most);
        for (size_t c = 0; c < sizeof counts / sizeof counts[0] - 1; c++) {
            Work work = work_of(counts[c]);
            for (int i = 0; i < 250; i++) {
                pdn_threads_run(threads, visit, &work, work.count,
                                i % 3 ? PDN_MUCH_WORK : (int64_t)i << 10);
                if (i % 50 == 0) { pause_for(2000); }
            }
            expect_each(&work, 250);
        }
        pdn_threads_free(threads);
    }
}

Test(threads, come_and_go) {
    for (int i = 0; i < 200; i++) {
        PdnThreads *threads = pdn_threads_new(3);
        Work work = work_of(10);
        for (int k = 0; k < i % 4; k++) {
            pdn_threads_run(threads, visit, &work, work.count, PDN_MUCH_WORK);
        }
        if (i % 10 == 0) { pause_for(500); }
        pdn_threads_free(threads);
        expect_each(&work, i % 4);
    }
    pdn_threads_free(NULL);
}

typedef struct {
    PdnThreads *threads;
    Work inner;
    atomic_int elsewhere;
} Nest;

typedef struct {
    Nest *nest;
    pthread_t caller;
} Here;

static void stay(const void *arguments, int64_t begin, int64_t end) {
    const Here *here = arguments;
    if (!pthread_equal(here->caller, pthread_self())) {
        atomic_fetch_add(&here->nest->elsewhere, 1);
    }
    visit(&here->nest->inner, begin, end);
}

static void nested(const void *arguments, int64_t begin, int64_t end) {
    Nest *nest = (Nest *)(uintptr_t)arguments;
    for (int64_t i = begin; i < end; i++) {
        Here here = {nest, pthread_self()};
        pdn_threads_run(nest->threads, stay, &here, 10, PDN_MUCH_WORK);
    }
}

Test(threads, nested_launch_runs_here) {
    Nest nest = {.threads = pdn_threads_new(3), .inner = work_of(10)};
    for (int i = 0; i < 20; i++) { pdn_threads_run(nest.threads, nested, &nest, 7, PDN_MUCH_WORK); }
    cr_assert_eq(nest.elsewhere, 0);
    expect_each(&nest.inner, 140);
    pdn_threads_free(nest.threads);
}

typedef struct {
    PdnThreads *threads;
    Work work;
} Beside;

static void *launch_often(void *beside) {
    Beside *b = beside;
    for (int i = 0; i < 200; i++) {
        pdn_threads_run(b->threads, visit, &b->work, b->work.count, PDN_MUCH_WORK);
    }
    return NULL;
}

Test(threads, launches_beside_each_other) {
    PdnThreads *threads = pdn_threads_new(3);
    Beside beside[3];
    pthread_t thread[3];
    for (int i = 0; i < 3; i++) {
        beside[i] = (Beside){threads, work_of(100)};
        cr_assert_eq(pthread_create(&thread[i], NULL, launch_often, &beside[i]), 0);
    }
    for (int i = 0; i < 3; i++) {
        pthread_join(thread[i], NULL);
        expect_each(&beside[i].work, 200);
    }
    pdn_threads_free(threads);
}

/* ---- how many take part ------------------------------------------------------------------ */

/* A unit that goes on when `wanted` units run at the same time, or after ten seconds. */
typedef struct {
    int wanted;
    atomic_int there, late;
} Gathering;

static void gather(const void *arguments, int64_t begin, int64_t end) {
    Gathering *g = (Gathering *)(uintptr_t)arguments;
    atomic_fetch_add(&g->there, 1);
    for (int i = 0; atomic_load(&g->there) < g->wanted; i++) {
        if (i == 100000) {
            atomic_fetch_add(&g->late, 1);
            return;
        }
        pause_for(100);
    }
}

Test(threads, as_many_as_there_are) {
    PdnThreads *threads = pdn_threads_new(4);
    cr_assert_eq(pdn_threads_most(threads), 4);
    for (int i = 0; i < 3; i++) { /* the second time they sleep before */
        Gathering g = {.wanted = 4};
        pdn_threads_run(threads, gather, &g, 4, PDN_MUCH_WORK);
        cr_assert(g.there == 4 && g.late == 0);
        pause_for(5000);
    }
    pdn_threads_free(threads);
}

Test(threads, little_work_stays_here) {
    PdnThreads *threads = pdn_threads_new(4);
    static const int64_t little[] = {INT64_MIN, -1, 0, 1, 1000};
    for (size_t i = 0; i < sizeof little / sizeof little[0]; i++) {
        Work work = work_of(100);
        pdn_threads_run(threads, visit, &work, work.count, little[i]);
        cr_assert_eq(work.calls, 1);
        expect_each(&work, 1);
    }
    Work work = work_of(100);
    pdn_threads_run(threads, visit, &work, work.count, PDN_MUCH_WORK);
    cr_assert_gt(work.calls, 4);
    expect_each(&work, 1);
    pdn_threads_free(threads);
}

Test(threads, none_or_too_many) {
    Work work = work_of(100);
    pdn_threads_run(NULL, visit, &work, work.count, PDN_MUCH_WORK);
    cr_assert_eq(work.calls, 1);
    expect_each(&work, 1);
    cr_assert_eq(pdn_threads_most(NULL), 1);
    PdnThreads *threads = pdn_threads_new(0);
    cr_assert_eq(pdn_threads_most(threads), pdn_threads_available());
    pdn_threads_free(threads);
    threads = pdn_threads_new(100000);
    cr_assert_eq(pdn_threads_most(threads), 1024);
    pdn_threads_free(threads);
}

/* What the bits of a result depend on: its number. */
typedef struct {
    float *to;
    int64_t count;
} Series;

static void series(const void *arguments, int64_t begin, int64_t end) {
    const Series *s = arguments;
    for (int64_t i = begin; i < end; i++) {
        float sum = 0;
        for (int k = 1; k < 200; k++) { sum += 1 / ((float)i + (float)k * (float)k); }
        s->to[i] = sum;
    }
}

Test(threads, same_bits) {
    enum { COUNT = 5000 };
    float *first = malloc(sizeof(float) * COUNT), *other = malloc(sizeof(float) * COUNT);
    series(&(Series){first, COUNT}, 0, COUNT);
    for (int most = 1; most <= 8; most++) {
        PdnThreads *threads = pdn_threads_new(most);
        memset(other, 0, sizeof(float) * COUNT);
        pdn_threads_run(threads, series, &(Series){other, COUNT}, COUNT, PDN_MUCH_WORK);
        cr_assert_eq(memcmp(first, other, sizeof(float) * COUNT), 0);
        pdn_threads_free(threads);
    }
    free(first);
    free(other);
}

/* ---- processes and signals ------------------------------------------------------------------ */

static int child_of(PdnThreads *threads) {
    pid_t child = fork();
    if (child == 0) {
        alarm(20);
        Work work = work_of(100);
        for (int i = 0; i < 3; i++) {
            pdn_threads_run(threads, visit, &work, work.count, PDN_MUCH_WORK);
        }
        int wrong = work.calls != 3;
        for (int i = 0; i < 100; i++) { wrong += work.seen[i] != 3; }
        pdn_threads_free(threads);
#if !defined __SANITIZE_THREAD__ /* which lets no child of several threads start one */
        pdn_launch(visit, &work, work.count, 3);
        for (int i = 0; i < 100; i++) { wrong += work.seen[i] != 4; }
#endif
        _exit(wrong ? 1 : 0);
    }
    int status = 1;
    cr_assert_eq(waitpid(child, &status, 0), child);
    return status;
}

/* A child has no threads but the one that forked; whatever the others were doing then, it does not wait for them. */
Test(threads, a_child_of_fork_is_alone) {
    PdnThreads *threads = pdn_threads_new(4);
    cr_assert_eq(child_of(threads), 0);
    for (int i = 0; i < 20; i++) {
        Work work = work_of(100);
        pdn_threads_run(threads, visit, &work, work.count, PDN_MUCH_WORK);
        if (i % 2) { pause_for(3000); } /* asleep or not */
        cr_assert_eq(child_of(threads), 0);
        pdn_threads_run(threads, visit, &work, work.count, PDN_MUCH_WORK);
        expect_each(&work, 2);
    }
    pdn_threads_free(threads);
}

typedef struct {
    Gathering all;
    pthread_t caller;
    atomic_int wrong;
} Signals;

static void look_at_signals(const void *arguments, int64_t begin, int64_t end) {
    Signals *s = (Signals *)(uintptr_t)arguments;
    sigset_t set;
    pthread_sigmask(SIG_SETMASK, NULL, &set);
    bool here = pthread_equal(s->caller, pthread_self());
    if (sigismember(&set, SIGINT) == here || sigismember(&set, SIGTERM) == here ||
        sigismember(&set, SIGSEGV)) {
        atomic_fetch_add(&s->wrong, 1);
    }
    gather(&s->all, begin, end);
}

Test(threads, signals_are_for_the_caller) {
    PdnThreads *threads = pdn_threads_new(3);
    Signals s = {.all = {.wanted = 3}, .caller = pthread_self()};
    pdn_threads_run(threads, look_at_signals, &s, 3, PDN_MUCH_WORK);
    cr_assert_eq(s.wrong, 0);
    cr_assert_eq(s.all.late, 0);
    pdn_threads_free(threads);
}
