/* bench: the report of pdn bench. */
#ifndef PDN_BENCH_H
#define PDN_BENCH_H

#include "compiler/driver/profile.h"
#include "compiler/driver/rates.h"

typedef struct {
    double seconds, calls; /* calls that were timed */
    ProfileRows rows;
} BenchRun;

typedef struct {
    Execution x;
    Profile profile;    /* of a run that is under way */
    VEC(BenchRun) runs; /* the quickest first, in the end */
    int threads;
    bool warm;   /* after one that is not among them */
    bool tuning; /* a few runs, always warm; the machine's rates are not asked for */
    Rates rates;
    VEC(double) flops; /* a second, of the machine, after each of some runs */
    double timing;     /* seconds that it takes to time a call */
    int64_t memory;    /* bytes, the most that was resident */
} Bench;

/* Runs an experiment as often as is asked; the runs are the caller's. */
int bench_runs(Bench *b, Session *s, Elaborated *what, bool several, bool tuning);
void bench_free(Bench *b);
/* Runs the experiment in every way to compute its convolutions, says what they took, and keeps the verdicts. */
int bench_tune(Session *s, uint32_t experiment);
void bench_print(Bench *b);
void bench_print_json(Bench *b); /* one object, a line */

static inline const BenchRun *bench_median(const Bench *b) {
    return &b->runs.data[(b->runs.len - 1) / 2];
}

/* ---- bench_rows.c ---- */

/* A row of the table: of the run whose time is the median. */
typedef struct {
    ProfileRow r;
    const char *where;  /* "heat.pdn:12 explicit" */
    const char *what;   /* "kernel 1, 3×3 cells" */
    const char *source; /* what is written there, on one line; "" where nothing is */
    Span span;          /* of it */
    const char *scheme; /* loop that it is in; "" */
    const char *program;
    PlanPlace place;
    double share,
        limit; /* of the time of all rows; time at the machine's rates / time, NAN: nothing was counted */
} BenchRow;
typedef VEC(BenchRow) BenchRows;
/* The rows, those that took longest first. */
BenchRows bench_rows(const Bench *b);
/* Stages of a group, as rows without times. */
BenchRows bench_stages(const Bench *b, const BenchRow *group);

#endif
