/* pdn bench --tune: which way to compute each convolution is the quickest on this machine. */
#include "compiler/driver/bench.h"
#include "compiler/driver/ways.h"
#include "compiler/llvm/code.h"

#include <assert.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_WAYS = 16, ROUNDS = 3 };
/* A way is kept if it takes less than so much of the time of that which the model chooses, and so many seconds less. */
#define BETTER 0.97
#define GAIN   20e-6

/* A form of a convolution on grids of one size, with the seconds that it took in each way, the least of all runs; NAN: it is
 * no way for it. */
typedef struct {
    const char *text, *what;
    int64_t extent[MAX_RANK];
    double seconds[MOST_WAYS], run; /* [0]: in the model's way; run: in the run that is looked at */
    uint32_t model;
} Trial;

typedef struct {
    VEC(Trial) trials;
} Tuning;

static Trial *trial_of(Tuning *t, const char *text, const int64_t *extent) {
    for (uint32_t i = 0; i < t->trials.len; i++) {
        Trial *trial = &t->trials.data[i];
        if (strcmp(trial->text, text) == 0 &&
            memcmp(trial->extent, extent, sizeof trial->extent) == 0)
            return trial;
    }
    return NULL;
}

static Trial *new_trial(Tuning *t, const Bench *b, const ProfileRow *r, const char *text) {
    Trial new = {.text = arena_format(b->x.session->arena, "%s", text), .run = NAN};
    Text what = {0};
    plan_place_text(b->profile.programs.data[r->program].plan, r->place, &what);
    new.what = arena_format(b->x.session->arena, "%s", what.data);
    text_free(&what);
    memcpy(new.extent, r->extent, sizeof new.extent);
    for (uint32_t w = 0; w < MOST_WAYS; w++) new.seconds[w] = NAN;
    vec_push(&t->trials, new);
    return &vec_last(&t->trials);
}

/* What a row of a run says of the way that was forced. Trials are what the first way of all, the model's, has shown. */
static void take_row(Tuning *t, const Bench *b, const ProfileRow *r, uint32_t way) {
    const Plan *plan = b->profile.programs.data[r->program].plan;
    const Session *s = b->x.session;
    PlanPlace p = r->place ? plan_place(plan, r->place) : (PlanPlace){0};
    CodeTarget target = {.optimise = s->options->optimise, .exact = s->options->exact};
    if (p.work != WORK_CONVOLUTION || p.chained) return;
    uint32_t used = code_conv_way(plan, &target, p.number, p.form);
    Text text = {0};
    plan_convolution_text(plan, p.number, p.form, &text);
    Trial *trial = trial_of(t, text.data, r->extent);
    if (!trial && !way) trial = new_trial(t, b, r, text.data);
    text_free(&text);
    if (!trial || (way && used != way)) return;
    if (!way) trial->model = used;
    trial->run = isnan(trial->run) ? r->seconds : trial->run + r->seconds;
}

/* What disturbs a run makes it longer: the least counts. */
static void take_run(Tuning *t, const Bench *b, const BenchRun *run, uint32_t way) {
    for (uint32_t i = 0; i < t->trials.len; i++) t->trials.data[i].run = NAN;
    for (uint32_t i = 0; i < run->rows.len; i++) take_row(t, b, &run->rows.data[i], way);
    for (uint32_t i = 0; i < t->trials.len; i++) {
        Trial *trial = &t->trials.data[i];
        /* of two, one of which is no number, the other */
        trial->seconds[way] = fmin(trial->seconds[way], trial->run);
    }
}

static int try_way(Tuning *t, Session *s, uint32_t experiment, uint32_t way) {
    ElaborateOptions how = elaborate_options(s, false);
    Elaborated *what = sema_elaborate_experiment(s->unit, experiment, &how);
    Bench b;
    if (!what) return 1;
    ways_force(s, way);
    int status = bench_runs(&b, s, what, true, true);
    for (uint32_t i = 0; i < b.runs.len && status == 0; i++) take_run(t, &b, &b.runs.data[i], way);
    bench_free(&b);
    sema_free(what);
    return status;
}

/* The way that is kept for a convolution, whatever the grid: none of those that it was tried on is to lose. 0: the model's. */
static uint32_t best_of(const Tuning *t, const char *text) {
    uint32_t best = 0;
    double least = INFINITY;
    for (uint32_t w = 1; w < plan_ways(); w++) {
        double sum = 0, model = 0;
        for (uint32_t i = 0; i < t->trials.len; i++) {
            const Trial *trial = &t->trials.data[i];
            if (strcmp(trial->text, text) != 0) continue;
            model += trial->seconds[0];
            sum += w != trial->model && trial->seconds[w] <= trial->seconds[0] ? trial->seconds[w]
                                                                               : INFINITY;
        }
        if (sum >= BETTER * model || sum > model - GAIN || sum >= least) continue;
        best = w;
        least = sum;
    }
    return best;
}

static void print_trials(const Tuning *t, const char *name) {
    printf(
        "%s: ms of a run, by way, the least of all; * the model's, > the quicker one that is taken\n\n  %-40s",
        name, "");
    for (uint32_t w = 1; w < plan_ways(); w++) printf(" %10s", plan_way_name(w));
    printf("\n");
    for (uint32_t i = 0; i < t->trials.len; i++) {
        const Trial *trial = &t->trials.data[i];
        uint32_t best = best_of(t, trial->text);
        printf("  %-40.40s", trial->what);
        for (uint32_t w = 1; w < plan_ways(); w++) {
            const char *mark = w == best ? ">" : w == trial->model ? "*" : "";
            double seconds = w == trial->model ? trial->seconds[0] : trial->seconds[w];
            isnan(seconds) ? printf(" %10s", "") : printf(" %2s%8.4g", mark, 1e3 * seconds);
        }
        printf("\n");
    }
    printf("\n");
}

static void print_trials_json(const Tuning *t, const char *name) {
    for (uint32_t i = 0; i < t->trials.len; i++) {
        const Trial *trial = &t->trials.data[i];
        json_t *seconds = json_object();
        for (uint32_t w = 1; w < plan_ways(); w++) {
            double took = w == trial->model ? trial->seconds[0] : trial->seconds[w];
            if (!isnan(took)) json_object_set_new(seconds, plan_way_name(w), json_real(took));
        }
        uint32_t best = best_of(t, trial->text);
        json_t *row =
            json_pack("{s:s, s:s, s:o, s:s, s:s}", "experiment", name, "convolution", trial->what,
                      "seconds", seconds, "model", plan_way_name(trial->model), "kept",
                      plan_way_name(best ? best : trial->model));
        json_dumpf(row, stdout, JSON_COMPACT);
        printf("\n");
        json_decref(row);
    }
}

int bench_tune(Session *s, uint32_t experiment) {
    Tuning t = {{0}};
    const char *name = sema_experiment_name(s->unit, experiment);
    int status = 0;
    ways_of_model(s, true);
    assert(plan_ways() <= MOST_WAYS);
    for (uint32_t i = 0; i < ROUNDS * plan_ways() && status == 0; i++) {
        uint32_t w = i % plan_ways();
        if (!s->options->quiet)
            fprintf(stderr, "tuning %s, round %u of %d: %s\n", name, i / plan_ways() + 1, ROUNDS,
                    w ? plan_way_name(w) : "the model's ways");
        status = try_way(&t, s, experiment, w);
        if (!t.trials.len) break; /* there are no convolutions */
    }
    ways_force(s, 0);
    ways_of_model(s, false);
    for (uint32_t i = 0; i < t.trials.len && status == 0; i++)
        ways_judge(s, t.trials.data[i].text, best_of(&t, t.trials.data[i].text));
    if (status == 0 && t.trials.len) {
        (s->options->json ? print_trials_json : print_trials)(&t, name);
        if (!ways_keep(s))
            fprintf(stderr, "tuning %s: nothing is kept, as there is no cache\n", name);
    } else if (status == 0 && !s->options->json)
        printf("%s: there is no convolution whose way could be chosen\n\n", name);
    vec_free(&t.trials);
    return status;
}
