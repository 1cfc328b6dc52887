/* pdn bench: runs experiments some times, and says what took the time. */
#include "compiler/driver/bench.h"
#include "compiler/llvm/code.h"

#include <stdlib.h>
#include <sys/resource.h>

enum { MOST_RUNS = 20, LEAST_RATES = 7, MOST_RATES = 100 };
#define ENOUGH 1.0 /* seconds of runs */

static void free_runs(Bench *b) {
    for (uint32_t i = 0; i < b->runs.len; i++) vec_free(&b->runs.data[i].rows);
    b->runs.len = 0;
}

static int quicker_first(const void *a, const void *b) {
    const BenchRun *x = a, *y = b;
    return x->seconds < y->seconds ? -1 : x->seconds > y->seconds;
}

static int timed_run(Bench *b) {
    BenchRun run = {0};
    double start = clock_seconds();
    int status = run_experiment(&b->x);
    run.seconds = clock_seconds() - start;
    run.rows = profile_take(&b->profile, &run.calls);
    vec_push(&b->runs, run);
    return status;
}

/* The first run touches memory for the first time. */
static int warm_up(Bench *b) {
    int status = timed_run(b);
    b->warm = b->runs.data[0].seconds < ENOUGH;
    if (b->warm) free_runs(b);
    return status;
}

static bool enough(const Bench *b) {
    uint32_t repeat = (uint32_t)b->x.session->options->repeat;
    double sum = 0;
    for (uint32_t i = 0; i < b->runs.len; i++) sum += b->runs.data[i].seconds;
    return repeat ? b->runs.len >= repeat
                  : b->runs.len >= MOST_RUNS || sum >= (b->tuning ? ENOUGH / 3 : ENOUGH);
}

/* What arithmetic can do at best, as often as there are runs, between them: the clock wanders for both. */
static void take_rate(Bench *b) {
    const Execution *x = &b->x;
    CodeTarget target = {.optimise = x->session->options->optimise,
                         .exact = x->session->options->exact};
    b->rates.vector_bits = code_target_vector_bits(&target);
    vec_push(&b->flops, rates_flops(x->threads, x->type, &b->rates.vector_bits));
}

static int smaller_first(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void find_rates(Bench *b) {
    while (b->flops.len < LEAST_RATES) take_rate(b);
    qsort(b->flops.data, b->flops.len, sizeof *b->flops.data, smaller_first);
    b->rates.flops = b->flops.data[b->flops.len / 2];
    b->rates.bytes = rates_bytes(b->x.threads, b->rates.vector_bits);
}

static double seconds_of_timing(void) {
    enum { CALLS = 10000 };
    double start = clock_seconds(), last = start;
    for (int i = 0; i < 2 * CALLS; i++) last = clock_seconds();
    return (last - start) / CALLS;
}

/* All the programs that it may run: so that no run compiles. */
static bool compile_all(Execution *x) {
    const Elaborated *what = x->what;
    bool ok = executable_get(x, what->module->main) != NULL;
    for (uint32_t i = 0; i < what->each.len && ok; i++)
        ok = executable_get(x, what->each.data[i].body.func) != NULL;
    for (uint32_t i = 0; i < what->trainings.len && ok; i++) {
        const TrainTask *t = &what->trainings.data[i];
        ok = executable_get(x, t->step.func) != NULL;
        for (uint32_t k = 0; k < t->every_count && ok; k++)
            ok = executable_get(x, t->every[k].body.func) != NULL;
    }
    return ok;
}

static int all_runs(void *context) {
    Bench *b = context;
    const Execution *x = &b->x;
    if (!compile_all(&b->x)) return 1;
    int status = x->session->options->repeat && !b->tuning ? 0 : warm_up(b);
    while (status == 0 && !enough(b)) {
        status = timed_run(b);
        if (!b->tuning && b->flops.len < MOST_RATES) take_rate(b);
    }
    if (status != 0 || b->tuning) return status;
    qsort(b->runs.data, b->runs.len, sizeof *b->runs.data, quicker_first);
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    b->memory = (int64_t)usage.ru_maxrss * 1024;
    b->threads = pdn_threads_most(x->threads);
    b->timing = seconds_of_timing();
    find_rates(b);
    return 0;
}

int bench_runs(Bench *b, Session *s, Elaborated *what, bool several, bool tuning) {
    *b = (Bench){.x = {.session = s,
                       .what = what,
                       .several = several,
                       .test = true,
                       .cache = pdn_relay_cache()}};
    profile_open(&b->profile);
    b->tuning = tuning;
    b->x.profile = &b->profile;
    b->x.run = all_runs;
    b->x.context = b;
    return execute(&b->x);
}

void bench_free(Bench *b) {
    profile_close(&b->profile);
    free_runs(b);
    vec_free(&b->runs);
    vec_free(&b->flops);
}

static int bench_one(Session *s, Elaborated *what, bool several) {
    Bench b;
    int status = bench_runs(&b, s, what, several, false);
    if (status == 0 && b.runs.len) (s->options->json ? bench_print_json : bench_print)(&b);
    bench_free(&b);
    sema_free(what);
    return status;
}

int command_bench(Options *options) {
    if (!pipeline_check(options)) return 2;
    if (options->interpret) {
        fprintf(
            stderr,
            "pdn bench: --interpret is given, but only compiled programs are timed\nTry: pdn bench --help\n");
        return 2;
    }
    Session s;
    session_open(&s, options);
    int status = 1;
    if (session_load(&s, options->file) && experiments_known(&s)) {
        status = 0;
        uint32_t n = sema_experiments(s.unit);
        for (uint32_t i = 0; i < n && status == 0; i++) {
            if (!experiment_chosen(options, sema_experiment_name(s.unit, i))) continue;
            if (options->tune && bench_tune(&s, i)) {
                status = 1;
                break;
            }
            ElaborateOptions how = elaborate_options(&s, false);
            Elaborated *what = sema_elaborate_experiment(s.unit, i, &how);
            session_time(&s, "elaborate");
            status = what ? bench_one(&s, what, n > 1) : 1;
        }
    }
    session_close(&s);
    return status;
}
