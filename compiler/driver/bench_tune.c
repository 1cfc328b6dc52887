/* pdn bench --tune: which way to compute each convolution is the quickest on this machine. */
#include "compiler/driver/bench.h"
#include "compiler/driver/ways.h"
#include "compiler/llvm/code.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_WAYS = 16 };
#define BETTER 0.97 /* a way is kept if it takes less than so much of the time of that which the model chooses */

/* A form of a convolution, with the seconds of a run that it took in each way; NAN: it is none for it. */
typedef struct {
    const char *text, *what;
    double seconds[MOST_WAYS]; /* [0]: in the model's */
    uint32_t model;
} Trial;

typedef struct {
    VEC(Trial) trials;
} Tuning;

static Trial *trial_of(Tuning *t, const char *text) {
    for (uint32_t i = 0; i < t->trials.len; i++)
        if (strcmp(t->trials.data[i].text, text) == 0) return &t->trials.data[i];
    Trial new = {.text = text};
    for (uint32_t w = 0; w < MOST_WAYS; w++) new.seconds[w] = NAN;
    vec_push(&t->trials, new);
    return &vec_last(&t->trials);
}

static const char *kept_text(const Session *s, Text *text) {
    const char *kept = arena_format(s->arena, "%s", text->data);
    text_free(text);
    return kept;
}

/* What a row says of the way that was forced. */
static void take_row(Tuning *t, const Bench *b, const ProfileRow *r, uint32_t way) {
    const Plan *plan = b->profile.programs.data[r->program].plan;
    const Session *s = b->x.session;
    PlanPlace p = r->place ? plan_place(plan, r->place) : (PlanPlace){0};
    CodeTarget target = {.optimise = s->options->optimise, .exact = s->options->exact};
    if (p.work != WORK_CONVOLUTION || p.chained) return;
    uint32_t used = code_conv_way(plan, &target, p.number, p.form);
    if (way && used != way) return;
    Text text = {0}, what = {0};
    plan_convolution_text(plan, p.number, p.form, &text);
    Trial *trial = trial_of(t, kept_text(s, &text));
    if (!way) {
        trial->model = used;
        plan_place_text(plan, r->place, &what);
        trial->what = kept_text(s, &what);
    }
    double *seconds = &trial->seconds[way];
    *seconds = isnan(*seconds) ? r->seconds : *seconds + r->seconds;
}

static int try_way(Tuning *t, Session *s, uint32_t experiment, uint32_t way) {
    ElaborateOptions how = elaborate_options(s, false);
    Elaborated *what = sema_elaborate_experiment(s->unit, experiment, &how);
    Bench b;
    if (!what) return 1;
    ways_force(s, way);
    int status = bench_runs(&b, s, what, true);
    if (status == 0 && b.runs.len) {
        const BenchRun *run = bench_median(&b);
        for (uint32_t i = 0; i < run->rows.len; i++) take_row(t, &b, &run->rows.data[i], way);
    }
    bench_free(&b);
    sema_free(what);
    return status;
}

static uint32_t best_of(const Trial *t) {
    uint32_t best = 0;
    for (uint32_t w = 1; w < plan_ways(); w++)
        if (w != t->model && t->seconds[w] < BETTER * t->seconds[0] && !(best && t->seconds[best] <= t->seconds[w]))
            best = w;
    return best;
}

static void print_trials(const Tuning *t, const char *name) {
    printf("%s: ms of a run, by way; * the model's, > kept for this machine\n\n  %-40s", name, "");
    for (uint32_t w = 1; w < plan_ways(); w++) printf(" %10s", plan_way_name(w));
    printf("\n");
    for (uint32_t i = 0; i < t->trials.len; i++) {
        const Trial *trial = &t->trials.data[i];
        uint32_t best = best_of(trial);
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
        uint32_t best = best_of(trial);
        json_t *row = json_pack("{s:s, s:s, s:o, s:s, s:s}", "experiment", name, "convolution", trial->what, "seconds",
                                seconds, "model", plan_way_name(trial->model), "kept",
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
    for (uint32_t w = 0; w < plan_ways() && status == 0; w++) {
        if (!s->options->quiet) fprintf(stderr, "tuning %s: %s\n", name, w ? plan_way_name(w) : "the model's ways");
        status = try_way(&t, s, experiment, w);
        if (w == 0 && !t.trials.len) break; /* there are no convolutions */
    }
    ways_force(s, 0);
    ways_of_model(s, false);
    for (uint32_t i = 0; i < t.trials.len && status == 0; i++)
        ways_judge(s, t.trials.data[i].text, best_of(&t.trials.data[i]));
    if (status == 0 && t.trials.len) {
        (s->options->json ? print_trials_json : print_trials)(&t, name);
        if (!ways_keep(s)) fprintf(stderr, "tuning %s: nothing is kept, as there is no cache\n", name);
    } else if (status == 0 && !s->options->json)
        printf("%s: there is no convolution whose way could be chosen\n\n", name);
    vec_free(&t.trials);
    return status;
}
