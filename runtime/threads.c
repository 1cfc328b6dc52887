/* threads.c: parts of a kernel on several threads. Parts are of whole units, which are independent, so
 * that who computes what changes no bit. */
#include "runtime/file.h"
#include "runtime/groups.h"

#include <stdatomic.h>
#ifdef _OPENMP
#include <omp.h>
#else /* a compiler without it: one thread */
static int omp_get_max_threads(void) { return 1; }
static int omp_get_thread_num(void) { return 0; }
static int omp_in_parallel(void) { return 1; }
#endif

#define MAX_THREADS 256
#define PARTS_EACH  4 /* parts a thread: what a slow thread leaves, others take */

static int most_threads(void) {
    int threads = omp_get_max_threads();
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

typedef struct {
    _Alignas(64) atomic_int next;
} Turn;

/* The first unit of part p of `parts`. */
static int64_t part_begin(int64_t count, int64_t parts, int64_t p) {
    return count / parts * p + (count % parts < p ? count % parts : p);
}

/* Each thread first takes the parts that it had the last time (they are in its cache), then those
 * that the others have not begun. */
void pdn_launch(PdnKernel *kernel, const void *arguments, int64_t count, int threads) {
    if (count <= 0) { return; }
    if (threads <= 0 || threads > MAX_THREADS) { threads = most_threads(); }
    if (threads > count) { threads = (int)count; }
    if (threads == 1 || omp_in_parallel()) {
        kernel(arguments, 0, count);
        return;
    }
    int64_t each = count / threads < PARTS_EACH ? 1 : PARTS_EACH;
    int64_t parts = each * threads;
    Turn turns[MAX_THREADS];
    for (int t = 0; t < threads; t++) { atomic_init(&turns[t].next, 0); }
#ifdef _OPENMP
#pragma omp parallel num_threads(threads)
#endif
    {
        int me = omp_get_thread_num();
        for (int other = 0; other < threads; other++) {
            int owner = (me + other) % threads;
            for (;;) {
                int turn = atomic_fetch_add(&turns[owner].next, 1);
                if (turn >= each) { break; }
                int64_t p = each * owner + turn;
                kernel(arguments, part_begin(count, parts, p), part_begin(count, parts, p + 1));
            }
        }
    }
}
