/* Optimisers: formulas, messages, what an error leaves behind. Every option against PyTorch, lbfgs under bounds and
 * resuming: tests/check/optimisers.py. */
#include <criterion/criterion.h>

#include "runtime/optimiser.h"
#include "runtime/optimiser_search.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* f = sum of weight (x - centre)^2 / 2, or of x^4 / 4 as well; counts, and misbehaves where it is asked to. */
typedef struct {
    int64_t count;
    double weight[64], centre[64], quartic;
    int evaluations, stop_at, nan_at; /* 1: the first */
    bool infinite_gradient;
} Bowl;

static int bowl(void *context, const void *x_, void *g_, double *loss) {
    Bowl *b = context;
    const double *x = x_;
    double *g = g_;
    *loss = 0;
    b->evaluations++;
    for (int64_t i = 0; i < b->count; i++) {
        double away = x[i] - b->centre[i];
        *loss += b->weight[i] * away * away / 2 + b->quartic * pow(x[i], 4) / 4;
        g[i] = b->weight[i] * away + b->quartic * pow(x[i], 3);
    }
    if (b->evaluations == b->nan_at) { *loss = NAN; }
    if (b->infinite_gradient) { g[b->count - 1] = INFINITY; }
    return b->evaluations == b->stop_at;
}

static PdnOptimiser *made(const char *name, const PdnArgument *arguments, int count,
                          int64_t numbers) {
    PdnOptimiser *o = NULL;
    PdnError error = {""};
    const PdnOptimiserOptions options = {name, arguments, count, NULL, 0, true, NULL};
    cr_assert_eq(pdn_optimiser_new(&options, PDN_F64, numbers, &o, &error), PDN_OK, "%s",
                 error.message);
    return o;
}

static double *point(int64_t count, double value) {
    double *x = aligned_alloc(64, (size_t)(count + 7) / 8 * 64);
    for (int64_t i = 0; i < count; i++) { x[i] = value; }
    return x;
}

static void step(PdnOptimiser *o, double *x, PdnProject *project, Bowl *b, int64_t k,
                 double *loss) {
    PdnError error = {""};
    cr_assert_eq(pdn_optimiser_step(o, x, bowl, project, b, k, 100, loss, &error), PDN_OK, "%s",
                 error.message);
}

static void near_to(double got, double want, const char *what) {
    cr_assert(fabs(got - want) <= 4 * DBL_EPSILON * fmax(1, fabs(want)), "%s: %.17g, not %.17g",
              what, got, want);
}

/* ---- first-order methods: two steps, by hand ---------------------------------------- */

Test(optimiser, sgd_is_its_formula) {
    const PdnArgument arguments[] = {{"rate", 0.1}, {"momentum", 0.5}, {"weight_decay", 0.25}};
    Bowl b = {.count = 19};
    for (int i = 0; i < 19; i++) { b.weight[i] = 1 + i, b.centre[i] = -i; }
    PdnOptimiser *o = made("sgd", arguments, 3, 19);
    double *x = point(19, 1), loss;
    for (int k = 0; k < 2; k++) { step(o, x, NULL, &b, k, &loss); }
    for (int i = 0; i < 19; i++) {
        double y = 1, m = (1 + i) * (y + i) + 0.25 * y;
        y -= 0.1 * m;
        m = 0.5 * m + (1 + i) * (y + i) + 0.25 * y;
        near_to(x[i], y - 0.1 * m, "sgd");
    }
    free(x);
    pdn_optimiser_free(o);
}

/* Without weight decay the first step of adam is rate sign(g), whatever g. */
Test(optimiser, adam_begins_with_steps_of_the_rate) {
    const PdnArgument arguments[] = {{"rate", 0.25}, {"epsilon", 1e-300}};
    Bowl b = {.count = 5, .weight = {1e-6, 1, 1e6, 3, 7}, .centre = {2, 2, 2, -2, -2}};
    PdnOptimiser *o = made("adam", arguments, 2, 5);
    double *x = point(5, 0), loss;
    step(o, x, NULL, &b, 0, &loss);
    near_to(loss, (1e-6 + 1 + 1e6 + 3 + 7) * 4 / 2, "loss before the step");
    for (int i = 0; i < 5; i++) { near_to(x[i], i < 3 ? 0.25 : -0.25, "adam"); }
    free(x);
    pdn_optimiser_free(o);
}

/* A gradient of 0: adamw shrinks the parameters by 1 - rate decay, adam with the same decay does not. */
Test(optimiser, adamw_decays_beside_the_gradient) {
    const PdnArgument arguments[] = {{"rate", 0.5}, {"weight_decay", 0.125}};
    Bowl b = {.count = 3};
    PdnOptimiser *o = made("adamw", arguments, 2, 3);
    double *x = point(3, 2), loss;
    step(o, x, NULL, &b, 0, &loss);
    near_to(x[2], 2 * (1 - 0.0625), "adamw");
    free(x);
    pdn_optimiser_free(o);
}

Test(optimiser, clips_by_value_then_by_norm) {
    const PdnArgument arguments[] = {{"rate", 1}, {"clip_value", 4}, {"clip_norm", 2.5}};
    Bowl b = {.count = 3, .weight = {1, 1, 1}, .centre = {-3, -100, 0}};
    PdnOptimiser *o = made("sgd", arguments, 3, 3);
    double *x = point(3, 0), loss;
    step(o, x, NULL, &b, 0, &loss); /* (3, 100, 0) -> (3, 4, 0) -> (1.5, 2, 0), nearly */
    double shorter = 2.5 / (5 + 1e-6);
    near_to(x[0], -3 * shorter, "x");
    near_to(x[1], -4 * shorter, "y");
    near_to(((const double *)pdn_optimiser_gradient(o))[1], 4 * shorter, "gradient");
    free(x);
    pdn_optimiser_free(o);
}

static void halve(void *context, void *x) { ((double *)x)[0] /= 2; }

Test(optimiser, projects_after_the_update) {
    const PdnArgument arguments[] = {{"rate", 1}};
    Bowl b = {.count = 1, .weight = {1}, .centre = {3}};
    PdnOptimiser *o = made("sgd", arguments, 1, 1);
    double *x = point(1, 0), loss;
    step(o, x, halve, &b, 0, &loss);
    near_to(x[0], 1.5, "x");
    free(x);
    pdn_optimiser_free(o);
}

/* ---- schedules -------------------------------------------------------------------- */

static double rate_of(const PdnScheduleOptions *schedules, int count, int64_t k, int64_t steps) {
    const PdnArgument arguments[] = {{"rate", 2}};
    const PdnOptimiserOptions options = {"sgd", arguments, 1, schedules, count, false, NULL};
    PdnOptimiser *o = NULL;
    cr_assert_eq(pdn_optimiser_new(&options, PDN_F32, 1, &o, NULL), PDN_OK);
    double rate = pdn_optimiser_rate(o, k, steps);
    pdn_optimiser_free(o);
    return rate;
}

Test(optimiser, schedules) {
    const PdnArgument every[] = {{"every", 10}, {"factor", 0.5}}, to[] = {{"final", 1}},
                      warm[] = {{"steps", 4}}, over[] = {{"over", 10}};
    const PdnScheduleOptions steps = {"step", every, 2}, cosine = {"cosine", to, 1},
                             short_one = {"cosine", over, 1},
                             both[] = {{"warmup", warm, 1}, {"cosine", to, 1}};
    near_to(rate_of(NULL, 0, 77, 0), 2, "none");
    near_to(rate_of(&steps, 1, 9, 0), 2, "step");
    near_to(rate_of(&steps, 1, 10, 0), 1, "step");
    near_to(rate_of(&steps, 1, 39, 0), 0.25, "step");
    near_to(rate_of(&cosine, 1, 0, 100), 2, "cosine");
    near_to(rate_of(&cosine, 1, 50, 100), 1.5, "cosine");
    near_to(rate_of(&cosine, 1, 100, 100), 1, "cosine");
    near_to(rate_of(&short_one, 1, 5, 0), 1, "cosine over 10");
    near_to(rate_of(&short_one, 1, 11, 0), 0, "cosine over 10");
    for (int k = 0; k < 4; k++) { near_to(rate_of(both, 2, k, 104), 0.5 * (k + 1), "warmup"); }
    near_to(rate_of(both, 2, 4, 104), 2, "after warmup");
    near_to(rate_of(both, 2, 54, 104), 1.5, "after warmup");
    cr_assert(isnan(rate_of(&cosine, 1, 5, 0)));
}

/* ---- messages --------------------------------------------------------------------- */

static void refused(const char *name, PdnArgument argument, const PdnScheduleOptions *schedule,
                    const char *part) {
    PdnError error = {""};
    const PdnOptimiserOptions options = {
        name, &argument, argument.name != NULL, schedule, schedule != NULL, false, NULL};
    cr_assert_eq(pdn_optimiser_check(&options, &error), PDN_ERROR_ARGUMENT, "%s %s", name, part);
    cr_assert(strstr(error.message, part), "%s", error.message);
    PdnOptimiser *o = NULL;
    cr_assert_eq(pdn_optimiser_new(&options, PDN_F32, 1, &o, NULL), PDN_ERROR_ARGUMENT);
    cr_assert_null(o);
}

Test(optimiser, says_what_is_wrong) {
    const PdnArgument none = {NULL, 0};
    refused("adagrad", none, NULL,
            "no optimiser `adagrad`; there are sgd, adam, adamw, rmsprop, lbfgs");
    refused("adam", (PdnArgument){"lr", 1}, NULL, "adam has no argument `lr`; it has rate, beta1,");
    refused("lbfgs", (PdnArgument){"clip_norm", 1}, NULL, "lbfgs has no argument `clip_norm`");
    refused("adam", (PdnArgument){"rate", -1}, NULL,
            "adam: rate = -1 must be a number greater than 0");
    refused("adam", (PdnArgument){"rate", NAN}, NULL, "rate");
    refused("adam", (PdnArgument){"rate", INFINITY}, NULL, "rate = inf");
    refused("adam", (PdnArgument){"beta2", 1}, NULL,
            "beta2 = 1 must be at least 0 and less than 1");
    refused("sgd", (PdnArgument){"nesterov", 0.5}, NULL, "0 or 1");
    refused("sgd", (PdnArgument){"nesterov", 1}, NULL, "needs a momentum");
    refused("sgd", (PdnArgument){"weight_decay", -0.1}, NULL, "at least 0");
    refused("lbfgs", (PdnArgument){"history", 2.5}, NULL, "a whole number, 1 or more");
    refused("lbfgs", (PdnArgument){"history", 1e6}, NULL, "at most 1000");
    refused("lbfgs", (PdnArgument){"curvature", 1e-5}, NULL, "0 < decrease < curvature");
    const PdnArgument wrong[] = {{"final", 1}, {"final", 1}}, negative = {"final", -1};
    refused("sgd", none, &(PdnScheduleOptions){"linear", NULL, 0},
            "no schedule `linear`; there are constant, step");
    refused("sgd", none, &(PdnScheduleOptions){"warmup", NULL, 0},
            "warmup needs its argument `steps`");
    refused("sgd", none, &(PdnScheduleOptions){"step", wrong, 1},
            "step has no argument `final`; it has every, factor");
    refused("sgd", none, &(PdnScheduleOptions){"cosine", wrong, 2}, "`final` is given twice");
    refused("sgd", none, &(PdnScheduleOptions){"cosine", &negative, 1}, "at least 0");
    refused("sgd", none, &(PdnScheduleOptions){"constant", wrong, 1}, "takes no arguments");
    const PdnArgument five = {"steps", 5};
    const PdnScheduleOptions late[] = {{"cosine", NULL, 0}, {"warmup", &five, 1}},
                             twice[] = {late[1], late[1]};
    PdnError error = {""};
    cr_assert_eq(
        pdn_optimiser_check(&(PdnOptimiserOptions){"sgd", NULL, 0, late, 2, false, NULL}, &error),
        PDN_ERROR_ARGUMENT);
    cr_assert(strstr(error.message, "warmup stands behind cosine"), "%s", error.message);
    cr_assert_eq(
        pdn_optimiser_check(&(PdnOptimiserOptions){"sgd", NULL, 0, twice, 2, false, NULL}, &error),
        PDN_ERROR_ARGUMENT);
    cr_assert(strstr(error.message, "warmup stands behind warmup"), "%s", error.message);
}

Test(optimiser, refuses_sizes) {
    PdnOptimiser *o = NULL;
    PdnError error = {""};
    const PdnOptimiserOptions options = {"adam", NULL, 0, NULL, 0, false, NULL};
    cr_assert_eq(pdn_optimiser_new(&options, PDN_F32, 0, &o, &error), PDN_ERROR_ARGUMENT);
    cr_assert_eq(pdn_optimiser_new(&options, PDN_F32, INT64_C(1) << 44, &o, &error),
                 PDN_ERROR_MEMORY);
    cr_assert(strstr(error.message, "64.0 TiB"), "%s", error.message);
    const PdnScheduleOptions many[PDN_MOST_SCHEDULES + 1] = {{0}};
    const PdnOptimiserOptions nine = {"adam", NULL, 0, many, PDN_MOST_SCHEDULES + 1, false, NULL};
    cr_assert_eq(pdn_optimiser_check(&nine, &error), PDN_ERROR_ARGUMENT);
    cr_assert(strstr(error.message, "at most 8"), "%s", error.message);
}

Test(optimiser, names_what_exists) {
    cr_assert_str_eq(pdn_optimiser_name(0), "sgd");
    cr_assert_null(pdn_optimiser_name(100));
    cr_assert_null(pdn_optimiser_name(-1));
    for (int i = 0; pdn_optimiser_name(i); i++) { /* the rate stands first: schedules change it */
        cr_assert_str_eq(pdn_optimiser_argument(pdn_optimiser_name(i), 0), "rate");
    }
    cr_assert_str_eq(pdn_schedule_argument("step", 1), "factor");
    cr_assert_null(pdn_schedule_argument("step", 2));
    cr_assert_null(pdn_schedule_argument("constant", 0));
    cr_assert_null(pdn_optimiser_argument("adagrad", 0));
    cr_assert(pdn_optimiser_wants_fixed("lbfgs"));
    cr_assert(!pdn_optimiser_wants_fixed("adam"));
    cr_assert(!pdn_optimiser_wants_fixed("adagrad"));
}

/* ---- threads ------------------------------------------------------------------------- */

enum { MANY = 5 * PDN_OPTIMISER_BLOCK / 2 + 3 }; /* numbers: blocks, and some of one */

static int wave(void *context, const void *x_, void *g_, double *loss) {
    const float *x = x_;
    float *g = g_;
    for (int i = 0; i < MANY; i++) { g[i] = x[i] - sinf((float)i); }
    *loss = 0;
    return 0;
}

/* Three steps from 1. */
static void many_steps(const char *name, const PdnArgument *arguments, int count,
                       PdnThreads *threads, float *x) {
    const PdnOptimiserOptions options = {name, arguments, count, NULL, 0, false, threads};
    PdnOptimiser *o = NULL;
    double loss;
    cr_assert_eq(pdn_optimiser_new(&options, PDN_F32, MANY, &o, NULL), PDN_OK);
    for (int i = 0; i < MANY; i++) { x[i] = 1; }
    for (int k = 0; k < 3; k++) {
        cr_assert_eq(pdn_optimiser_step(o, x, wave, NULL, NULL, k, 3, &loss, NULL), PDN_OK);
    }
    pdn_optimiser_free(o);
}

/* Every number is moved once, whoever does it, and by its own gradient. */
Test(optimiser, threads_change_no_bit) {
    static const char *const names[] = {"sgd", "adam", "adamw", "rmsprop"};
    const PdnArgument arguments[] = {{"rate", 0.1},      {"clip_value", 1.5},
                                     {"clip_norm", 100}, {"weight_decay", 0.125},
                                     {"momentum", 0.5},  {"centred", 1}};
    PdnThreads *threads = pdn_threads_new(3);
    float *one = malloc(MANY * sizeof *one), *three = malloc(MANY * sizeof *three);
    for (int i = 0; i < 4; i++) {
        int count = i == 0 ? 5 : i == 3 ? 6 : 4;
        many_steps(names[i], arguments, count, NULL, one);
        many_steps(names[i], arguments, count, threads, three);
        cr_assert_arr_eq(one, three, MANY * sizeof *one, "%s", names[i]);
        for (int k = 0; k < MANY; k++) {
            cr_assert_neq(one[k], 1.0F, "%s: number %d has not moved", names[i], k);
        }
    }
    free(one);
    free(three);
    pdn_threads_free(threads);
}

/* The norm that the gradient is scaled by is that of all blocks. */
Test(optimiser, clips_by_the_norm_of_all_blocks) {
    const PdnArgument arguments[] = {{"rate", 1}, {"clip_norm", 0.5}};
    float *x = malloc(MANY * sizeof *x);
    const PdnOptimiserOptions options = {"sgd", arguments, 2, NULL, 0, false, NULL};
    PdnOptimiser *o = NULL;
    double loss, squares = 0;
    cr_assert_eq(pdn_optimiser_new(&options, PDN_F32, MANY, &o, NULL), PDN_OK);
    for (int i = 0; i < MANY; i++) { x[i] = 1; }
    cr_assert_eq(pdn_optimiser_step(o, x, wave, NULL, NULL, 0, 1, &loss, NULL), PDN_OK);
    const float *g = pdn_optimiser_gradient(o);
    for (int i = 0; i < MANY; i++) { squares += (double)g[i] * (double)g[i]; }
    cr_assert(fabs(sqrt(squares) - 0.5) < 1e-6, "%g", sqrt(squares));
    free(x);
    pdn_optimiser_free(o);
}

/* ---- what goes wrong in a step ------------------------------------------------------ */

/* Parameters and state after a step that failed are those before it. */
static void fails(const char *name, Bowl b, PdnStatus want, const char *part) {
    PdnOptimiser *o = made(name, NULL, 0, b.count), *twin = made(name, NULL, 0, b.count);
    double *x = point(b.count, 1), *y = point(b.count, 1), loss = 0;
    Bowl good = {.count = b.count, .quartic = b.quartic};
    memcpy(good.weight, b.weight, sizeof b.weight);
    Bowl same = good;
    for (int k = 0; k < 3; k++) {
        step(o, x, NULL, &good, k, &loss);
        step(twin, y, NULL, &same, k, &loss);
    }
    PdnError error = {""};
    cr_assert_eq(pdn_optimiser_step(o, x, bowl, NULL, &b, 3, 100, &loss, &error), want, "%s: %s",
                 name, error.message);
    cr_assert(strstr(error.message, part), "%s: %s", name, error.message);
    cr_assert_arr_eq(x, y, (size_t)b.count * sizeof *x);
    step(o, x, NULL, &good, 3, &loss);
    step(twin, y, NULL, &same, 3, &loss);
    cr_assert_arr_eq(x, y, (size_t)b.count * sizeof *x);
    free(x);
    free(y);
    pdn_optimiser_free(o);
    pdn_optimiser_free(twin);
}

Test(optimiser, errors_leave_everything_as_it_was) {
    static const char *const names[] = {"sgd", "adam", "adamw", "rmsprop"};
    for (int i = 0; i < 4; i++) {
        fails(names[i], (Bowl){.count = 3, .weight = {1, 2, 3}, .stop_at = 1}, PDN_ERROR_STOPPED,
              "stopped");
        fails(names[i], (Bowl){.count = 3, .weight = {1, 2, 3}, .nan_at = 1}, PDN_ERROR_DIVERGED,
              "not a number");
        fails(names[i], (Bowl){.count = 3, .weight = {1, 2, 3}, .infinite_gradient = true},
              PDN_ERROR_DIVERGED, "its gradient holds infinity");
    }
    fails("lbfgs", (Bowl){.count = 3, .weight = {1, 20, 300}, .quartic = 1, .stop_at = 1},
          PDN_ERROR_STOPPED, "stopped");
}

Test(optimiser, a_schedule_must_know_its_length) {
    const PdnScheduleOptions cosine = {"cosine", NULL, 0};
    const PdnOptimiserOptions options = {"sgd", NULL, 0, &cosine, 1, false, NULL};
    PdnOptimiser *o = NULL;
    PdnError error = {""};
    Bowl b = {.count = 1};
    double *x = point(1, 1), loss;
    cr_assert_eq(pdn_optimiser_new(&options, PDN_F64, 1, &o, &error), PDN_OK);
    cr_assert_eq(pdn_optimiser_step(o, x, bowl, NULL, &b, 0, 0, &loss, &error), PDN_ERROR_ARGUMENT);
    cr_assert(strstr(error.message, "`over`"), "%s", error.message);
    cr_assert_eq(pdn_optimiser_step(o, x, bowl, NULL, &b, -1, 10, &loss, &error),
                 PDN_ERROR_ARGUMENT);
    cr_assert_eq(b.evaluations, 0);
    free(x);
    pdn_optimiser_free(o);
}

/* ---- lbfgs ------------------------------------------------------------------------ */

/* With as many pairs as dimensions, a quadratic function is minimised to rounding in a few steps more. */
Test(optimiser, lbfgs_solves_a_quadratic) {
    Bowl b = {.count = 8};
    for (int i = 0; i < 8; i++) { b.weight[i] = pow(2, i), b.centre[i] = i - 4; }
    PdnOptimiser *o = made("lbfgs", NULL, 0, 8);
    double *x = point(8, 1), loss = 0, before = INFINITY;
    int k = 0;
    for (; k < 60 && !pdn_optimiser_converged(o); k++) {
        step(o, x, NULL, &b, k, &loss);
        cr_assert_leq(loss, before);
        before = loss;
    }
    cr_assert_lt(k, 40, "%d %g %s", k, loss, pdn_optimiser_converged(o));
    for (int i = 0; i < 8; i++) { cr_assert_float_eq(x[i], i - 4, 1e-6); }
    int evaluations = b.evaluations;
    step(o, x, NULL, &b, k, &loss); /* does nothing any more */
    cr_assert_eq(b.evaluations, evaluations);
    cr_assert_eq(loss, before);
    cr_assert(strstr(pdn_optimiser_converged(o), "gradient"));
    free(x);
    pdn_optimiser_free(o);
}

Test(optimiser, lbfgs_at_a_minimum_is_done) {
    Bowl b = {.count = 2, .weight = {1, 1}, .centre = {5, 5}};
    PdnOptimiser *o = made("lbfgs", NULL, 0, 2);
    double *x = point(2, 5), loss;
    step(o, x, NULL, &b, 0, &loss);
    cr_assert_not_null(pdn_optimiser_converged(o));
    cr_assert(loss == 0 && x[0] == 5 && x[1] == 5 && b.evaluations == 1);
    free(x);
    pdn_optimiser_free(o);
}

/* A loss that is not finite at a trial point is a step too long, not an end. log's wall is at 0. */
static int wall(void *context, const void *x_, void *g_, double *loss) {
    const double *x = x_;
    *loss = x[0] - 1e-3 * log(x[0]); /* NaN below 0; the minimum is at 1e-3 */
    *(double *)g_ = 1 - 1e-3 / x[0];
    return 0;
}

Test(optimiser, lbfgs_steps_back_from_what_is_not_finite) {
    PdnOptimiser *o = made("lbfgs", NULL, 0, 1);
    double *x = point(1, 1), loss;
    for (int k = 0; k < 50; k++) {
        cr_assert_eq(pdn_optimiser_step(o, x, wall, NULL, NULL, k, 50, &loss, NULL), PDN_OK);
        cr_assert(isfinite(loss) && x[0] > 0);
    }
    cr_assert_float_eq(x[0], 1e-3, 1e-8);
    free(x);
    pdn_optimiser_free(o);
}

/* -cos(5 x) + x^2 / 10: many minima to run past. */
static int ripples(void *context, const void *x_, void *g_, double *loss) {
    const double *x = x_;
    double *g = g_;
    ++*(int *)context;
    *loss = 0;
    for (int i = 0; i < 3; i++) {
        *loss += x[i] * x[i] / 10 - cos(5 * x[i]);
        g[i] = x[i] / 5 + 5 * sin(5 * x[i]);
    }
    return 0;
}

/* However a search ends, with the last point or an earlier one: parameters, loss and gradient are of one point. */
Test(optimiser, lbfgs_ends_where_it_says) {
    for (int most = 1; most <= 6; most++) {
        const PdnArgument arguments[] = {{"evaluations", most}, {"rate", 3}, {"curvature", 0.01}};
        PdnOptimiser *o = made("lbfgs", arguments, 3, 3);
        double *x = point(3, 0), loss, there, g[3], before = INFINITY;
        x[0] = 9.1, x[1] = -4.2, x[2] = 2;
        for (int k = 0, calls = 0; k < 12; k++) {
            cr_assert_eq(pdn_optimiser_step(o, x, ripples, NULL, &calls, k, 12, &loss, NULL),
                         PDN_OK);
            ripples(&calls, x, g, &there);
            cr_assert(loss == there && loss <= before, "%d: %g at %g after %g", most, loss, there,
                      before);
            cr_assert_arr_eq(pdn_optimiser_gradient(o), g, sizeof g);
            before = loss;
        }
        free(x);
        pdn_optimiser_free(o);
    }
}

/* Stopped in the middle of a line search: back at its start, and goes on from there as if nothing had been. */
Test(optimiser, lbfgs_stopped_on_the_way) {
    for (int stop = 1; stop <= 12; stop++) {
        Bowl b = {.count = 3, .weight = {1, 20, 300}, .quartic = 1, .stop_at = stop}, same = b;
        same.stop_at = 0;
        PdnOptimiser *o = made("lbfgs", NULL, 0, 3), *twin = made("lbfgs", NULL, 0, 3);
        double *x = point(3, 1), *y = point(3, 1), loss;
        for (int k = 0; k < 6; k++) {
            double before[3] = {x[0], x[1], x[2]};
            PdnStatus status = pdn_optimiser_step(o, x, bowl, NULL, &b, k, 6, &loss, NULL);
            if (status == PDN_ERROR_STOPPED) {
                cr_assert_arr_eq(x, before, sizeof before);
                step(o, x, NULL, &b, k, &loss);
            }
            step(twin, y, NULL, &same, k, &loss);
            cr_assert_arr_eq(x, y, sizeof before);
        }
        free(x);
        free(y);
        pdn_optimiser_free(o);
        pdn_optimiser_free(twin);
    }
}

/* Not of boxes: the nearest point of the unit ball. The minimum there of |x - c|^2 is c / |c|. */
static void to_ball(void *context, void *x_) {
    const Bowl *b = context;
    double *x = x_, squares = 0;
    for (int64_t i = 0; i < b->count; i++) { squares += x[i] * x[i]; }
    for (int64_t i = 0; i < b->count && squares > 1; i++) { x[i] /= sqrt(squares); }
}

Test(optimiser, lbfgs_in_a_ball) {
    Bowl b = {.count = 3, .weight = {1, 1, 1}, .centre = {2, -3, 6}};
    PdnOptimiser *o = made("lbfgs", NULL, 0, 3);
    double *x = point(3, 9), loss; /* begins outside */
    for (int k = 0; k < 60; k++) { step(o, x, to_ball, &b, k, &loss); }
    for (int i = 0; i < 3; i++) { cr_assert_float_eq(x[i], b.centre[i] / 7, 1e-6); }
    near_to(loss, 18, "loss");
    cr_assert_not_null(pdn_optimiser_converged(o));
    free(x);
    pdn_optimiser_free(o);
}

/* ---- the line search --------------------------------------------------------------- */

typedef struct {
    int kind, evaluations;
    double kept, last;
} Curve;

static int curve(void *context, double t, PdnPoint *point) {
    Curve *c = context;
    c->evaluations++;
    c->last = t;
    switch (c->kind) {
    case 0: *point = (PdnPoint){t, (t - 3) * (t - 3), 2 * (t - 3)}; break;
    case 1:
        *point = (PdnPoint){t, -t / (t * t + 2), (t * t - 2) / pow(t * t + 2, 2)};
        break; /* Moré, Thuente */
    case 2:
        *point = (PdnPoint){t, pow(t + 0.004, 5) - 2 * pow(t + 0.004, 4),
                            5 * pow(t + 0.004, 4) - 8 * pow(t + 0.004, 3)};
        break;
    case 3:
        *point = (PdnPoint){t, cos(t) - 1.1 + t / 10 + sin(7 * t) / 20 - t * t / 50,
                            -sin(t) + 0.1 + cos(7 * t) * 0.35 - t / 25};
        break;
    default:
        *point =
            (PdnPoint){t, t < 1 ? 1 / (1 - t) - 3 * t : NAN, t < 1 ? 1 / pow(1 - t, 2) - 3 : NAN};
    }
    return 0;
}

static void keep(void *context) { ((Curve *)context)->kept = ((Curve *)context)->last; }

Test(search, finds_points_of_strong_wolfe) {
    for (int kind = 0; kind < 5; kind++) {
        for (double t = 1e-3; t < 1e4; t *= 10) {
            Curve c = {.kind = kind};
            PdnPoint start, best = {0};
            curve(&c, 0, &start);
            if (!(start.slope < 0)) {
                start.slope = -start.slope;
                continue;
            }
            const PdnSearch search = {curve, keep, &c, 1e-3, 0.1, 0, 1e-14, 60};
            PdnSearchEnd end = pdn_search(&search, start, t, &best);
            cr_assert(end == SEARCH_LAST || end == SEARCH_KEPT, "%d from %g: end %d", kind, t, end);
            cr_assert_eq(best.t, end == SEARCH_LAST ? c.last : c.kept);
            cr_assert_leq(best.loss, start.loss + 1e-3 * best.t * start.slope,
                          "%d from %g: loss %g at %g of %g, %d", kind, t, best.loss, best.t,
                          start.loss, c.evaluations);
            cr_assert_leq(fabs(best.slope), 0.1 * fabs(start.slope), "%d from %g: slope %g", kind,
                          t, best.slope);
            cr_assert_lt(c.evaluations, 40);
        }
    }
}
