/* optimiser_lbfgs.c: limited memory BFGS. Without constraints, a line search for the strong Wolfe conditions. With
 * a projection P, the arc P(x + t d) with backtracking, where d leaves out the numbers that the constraints hold
 * (two-metric projection: Bertsekas, SIAM J. Control Optim. 20, 1982), and the projected gradient where that
 * fails. */
#include "runtime/optimiser.h"

#include "runtime/optimiser_kernels.h"
#include "runtime/optimiser_search.h"

#include <float.h>
#include <math.h>
#include <string.h>

/* The state. Pairs stand in a ring: s = the way of a step, y = what it changed of the gradient. */
enum {
    WAYS,     /* [history][count] */
    CHANGES,  /* [history][count] */
    PAIRS,    /* [history]: s y, f64 */
    STORED,   /* pairs */
    NEWEST,   /* its place */
    SCALE,    /* s y / y y of the newest pair */
    FIRST,    /* the size of the first gradient; < 0: there was none yet */
    ENDED,    /* PdnConvergence */
    STALLED,  /* steps in a row that changed the loss by no more than rounding */
    LOSS,     /* after the last step */
    GRADIENT, /* there, where it is needed: `fixed` */
};
enum { START, START_GRADIENT, DIRECTION, KEPT }; /* scratch */
#define MOST_STALLED 3
#define MOST_HISTORY 1000

PdnStatus pdn_lbfgs_check(const double *a, PdnError *error) {
    if (!(0 < a[lbfgs_decrease] && a[lbfgs_decrease] < a[lbfgs_curvature])) {
        return pdn_fail(
            error, PDN_ERROR_ARGUMENT,
            "lbfgs: decrease = %g and curvature = %g: it must be 0 < decrease < curvature",
            a[lbfgs_decrease], a[lbfgs_curvature]);
    }
    if (a[lbfgs_history] > MOST_HISTORY) {
        return pdn_fail(error, PDN_ERROR_ARGUMENT,
                        "lbfgs: history = %g: at most %d pairs can be kept", a[lbfgs_history],
                        MOST_HISTORY);
    }
    return PDN_OK;
}

PdnStatus pdn_lbfgs_state(PdnOptimiser *o, PdnError *error) {
    const int64_t shape[2] = {(int64_t)o->arguments[lbfgs_history], o->count};
    PdnStatus status = pdn_state_add(o, "ways", o->type, 2, shape, error);
    if (status == PDN_OK) { status = pdn_state_add(o, "changes", o->type, 2, shape, error); }
    if (status == PDN_OK) { status = pdn_state_add(o, "pairs", PDN_F64, 1, shape, error); }
    static const char *const numbers[] = {"stored", "newest",  "scale", "first",
                                          "ended",  "stalled", "loss"};
    for (int i = 0; status == PDN_OK && i <= LOSS - STORED; i++) {
        status = pdn_state_add(o, numbers[i], PDN_F64, 0, NULL, error);
    }
    if (status == PDN_OK && o->fixed) {
        status = pdn_state_add(o, "gradient", o->type, 1, &o->count, error);
    }
    for (int i = 0; status == PDN_OK && i <= KEPT; i++) {
        status = pdn_array_new(&o->scratch[i], o->type, 1, &o->count, error);
    }
    if (status == PDN_OK) {
        *pdn_state_number(o, FIRST) = -1;
        *pdn_state_number(o, SCALE) = 1;
        o->converged = ENDED;
    }
    return status;
}

/* ---- small things ----------------------------------------------------------------- */

static size_t bytes_of(const PdnOptimiser *o) { return (size_t)o->count * pdn_type_size(o->type); }

static void copy(const PdnOptimiser *o, void *to, const void *from) {
    memcpy(to, from, bytes_of(o));
}

static double dot(const PdnOptimiser *o, const void *a, const void *b) {
    return PDN_KERNEL(o->type, dot, a, b, o->count);
}

/* Pair i of `stored`, 0 the newest. */
static int64_t place(PdnOptimiser *o, int64_t i) {
    int64_t history = o->state[WAYS].array.shape[0];
    return ((int64_t)*pdn_state_number(o, NEWEST) - i + history) % history;
}
static void *row(PdnOptimiser *o, int which, int64_t at) {
    return (char *)o->state[which].array.data + (size_t)at * bytes_of(o);
}

/* Two losses that differ by less are the same, but for rounding. */
static double slack_of(const PdnOptimiser *o, double loss) {
    return 4 * (o->type == PDN_F32 ? (double)FLT_EPSILON : DBL_EPSILON) * fabs(loss);
}

/* Where a step is tried that knows nothing of curvature: along -g times this. */
static double first_try(PdnOptimiser *o) {
    double size = PDN_KERNEL(o->type, absolute, o->scratch[START_GRADIENT].data, o->count);
    return fmin(1, 1 / size);
}

/* ---- the direction ---------------------------------------------------------------- */

/* d, which is -g, becomes -H g by the first `stored` pairs (algorithm 7.4); returns d · g. Each pair costs two
 * passes. */
static double two_loops(PdnOptimiser *o, int64_t stored) {
    void *d = o->scratch[DIRECTION].data;
    const void *g = o->scratch[START_GRADIENT].data;
    const double *pairs = o->state[PAIRS].array.data;
    double weights[MOST_HISTORY];
    double next = dot(o, d, stored ? row(o, WAYS, place(o, 0)) : g);
    for (int64_t i = 0; i < stored; i++) {
        int64_t at = place(o, i);
        weights[i] = next / pairs[at];
        const void *with = i + 1 < stored ? row(o, WAYS, place(o, i + 1)) : row(o, CHANGES, at);
        next = PDN_KERNEL(o->type, add_dot, d, -weights[i], row(o, CHANGES, at), with, o->count);
    }
    if (stored == 0) { return next; }
    double scale = *pdn_state_number(o, SCALE);
    PDN_KERNEL(o->type, scale, d, o->count, scale);
    next *= scale;
    for (int64_t i = stored - 1; i >= 0; i--) {
        int64_t at = place(o, i);
        const void *with = i > 0 ? row(o, CHANGES, place(o, i - 1)) : g;
        next = PDN_KERNEL(o->type, add_dot, d, weights[i] - next / pairs[at], row(o, WAYS, at),
                          with, o->count);
    }
    return next;
}

/* The pair of the step that led from scratch[START] to the parameters. Kept when the loss was convex there. */
static void add_pair(PdnOptimiser *o, const void *parameters) {
    int64_t history = o->state[WAYS].array.shape[0];
    double *newest = pdn_state_number(o, NEWEST), *stored = pdn_state_number(o, STORED);
    int64_t at = *stored == 0 ? 0 : ((int64_t)*newest + 1) % history;
    void *s = o->scratch[DIRECTION].data, *y = o->scratch[KEPT].data; /* needed no more */
    PDN_KERNEL(o->type, difference, s, parameters, o->scratch[START].data, o->count);
    PDN_KERNEL(o->type, difference, y, o->gradient.data, o->scratch[START_GRADIENT].data, o->count);
    double sy = dot(o, s, y), yy = dot(o, y, y), ss = dot(o, s, s);
    double least = o->type == PDN_F32 ? (double)FLT_EPSILON : DBL_EPSILON;
    if (!(sy > least * sqrt(ss) * sqrt(yy)) || !isfinite(sy / yy) || !isfinite(yy)) { return; }
    copy(o, row(o, WAYS, at), s);
    copy(o, row(o, CHANGES, at), y);
    ((double *)o->state[PAIRS].array.data)[at] = sy;
    *newest = (double)at;
    *stored = fmin(*stored + 1, (double)history);
    *pdn_state_number(o, SCALE) = sy / yy;
}

/* ---- along a line ----------------------------------------------------------------- */

typedef struct {
    PdnOptimiser *o;
    const PdnStep *call;
    PdnStatus status;
} Line;

static int evaluate_along(void *context, double t, PdnPoint *point) {
    Line *line = context;
    PdnOptimiser *o = line->o;
    const void *d = o->scratch[DIRECTION].data;
    PDN_KERNEL(o->type, along, line->call->parameters, o->scratch[START].data, t, d, o->count);
    line->status = pdn_step_evaluate(o, line->call, &point->loss);
    point->slope = dot(o, o->gradient.data, d);
    return line->status != PDN_OK;
}

static void keep_gradient(void *context) {
    Line *line = context;
    copy(line->o, line->o->scratch[KEPT].data, line->o->gradient.data);
}

/* Moves along d, whose slope is given. */
static PdnStatus search_line(PdnOptimiser *o, const PdnStep *call, double t, double slope,
                             double *loss, bool *moved) {
    const double *a = o->arguments;
    const void *x = o->scratch[START].data, *d = o->scratch[DIRECTION].data;
    double size = PDN_KERNEL(o->type, largest, x, o->count),
           step = PDN_KERNEL(o->type, largest, d, o->count);
    Line line = {o, call, PDN_OK};
    PdnSearch search = {
        .evaluate = evaluate_along,
        .keep = keep_gradient,
        .context = &line,
        .decrease = a[lbfgs_decrease],
        .curvature = a[lbfgs_curvature],
        .slack = slack_of(o, *loss),
        .least = (o->type == PDN_F32 ? (double)FLT_EPSILON : DBL_EPSILON) * size / step,
        .evaluations = (int)fmin(a[lbfgs_evaluations], 1e6),
    };
    PdnPoint best = {0};
    PdnSearchEnd end = pdn_search(&search, (PdnPoint){0, *loss, slope}, t, &best);
    *moved = end == SEARCH_LAST || end == SEARCH_KEPT;
    if (!*moved) { return line.status; }
    if (end == SEARCH_KEPT) {
        copy(o, o->gradient.data, o->scratch[KEPT].data);
        PDN_KERNEL(o->type, along, call->parameters, x, best.t, d, o->count);
    }
    *loss = best.loss;
    return PDN_OK;
}

/* Moves along the arc P(x + t d): the first t, t/2 or less, … at which the loss falls by `decrease` of what the
 * slope promises. */
static PdnStatus search_arc(PdnOptimiser *o, const PdnStep *call, double t, double *loss,
                            bool *moved) {
    const void *x = o->scratch[START].data, *g = o->scratch[START_GRADIENT].data;
    void *way = o->scratch[KEPT].data;
    int evaluations = (int)fmin(o->arguments[lbfgs_evaluations], 1e6);
    *moved = false;
    for (int tries = 0; evaluations > 0 && tries < 100; tries++) {
        PDN_KERNEL(o->type, along, call->parameters, x, t, o->scratch[DIRECTION].data, o->count);
        call->project(call->context, call->parameters);
        PDN_KERNEL(o->type, difference, way, call->parameters, x, o->count);
        double slope = dot(o, g, way), found;
        if (!(slope < 0)) { /* the projection turned it uphill: nearer by, it may not */
            if (slope == 0 && PDN_KERNEL(o->type, largest, way, o->count) == 0) { break; }
            t /= 4;
            continue;
        }
        PdnStatus status = pdn_step_evaluate(o, call, &found);
        if (status != PDN_OK) { return status; }
        evaluations--;
        bool finite = isfinite(found) && isfinite(pdn_optimiser_squares(o));
        if (finite && found <= *loss + o->arguments[lbfgs_decrease] * slope) {
            *loss = found;
            *moved = true;
            return PDN_OK;
        }
        /* the minimum of the parabola through both losses, not too near to either */
        double ratio = finite ? -slope / (2 * (found - *loss - slope)) : 0.1;
        t *= fmin(fmax(ratio, 0.1), 0.5);
    }
    return PDN_OK;
}

/* ---- a step ----------------------------------------------------------------------- */

/* Loss and gradient where the step starts, known or evaluated. The starting point goes to scratch. */
static PdnStatus start_step(PdnOptimiser *o, const PdnStep *call, double *loss) {
    copy(o, o->scratch[START].data, call->parameters);
    if (o->fixed && *pdn_state_number(o, FIRST) >= 0) {
        *loss = *pdn_state_number(o, LOSS);
        copy(o, o->gradient.data, o->state[GRADIENT].array.data);
    } else {
        if (call->project) { call->project(call->context, call->parameters); }
        PdnStatus status = pdn_step_evaluate(o, call, loss);
        if (status == PDN_OK) {
            *call->loss = *loss;
            status = pdn_step_finite(o, call, *loss, pdn_optimiser_squares(o));
        }
        if (status != PDN_OK) {
            copy(o, call->parameters, o->scratch[START].data);
            return status;
        }
        copy(o, o->scratch[START].data, call->parameters);
    }
    copy(o, o->scratch[START_GRADIENT].data, o->gradient.data);
    return PDN_OK;
}

/* The size of the gradient, or of what the constraints leave of it. d becomes minus that gradient; with a
 * projection, the parameters hold P(x - tau g). */
static double measure(PdnOptimiser *o, const PdnStep *call, double tau) {
    void *d = o->scratch[DIRECTION].data;
    const void *x = o->scratch[START].data, *g = o->scratch[START_GRADIENT].data;
    if (!call->project) {
        copy(o, d, g);
        PDN_KERNEL(o->type, scale, d, o->count, -1);
        return PDN_KERNEL(o->type, largest, g, o->count);
    }
    PDN_KERNEL(o->type, along, call->parameters, x, -tau, g, o->count);
    call->project(call->context, call->parameters);
    PDN_KERNEL(o->type, difference, d, call->parameters, x, o->count);
    double size = PDN_KERNEL(o->type, largest, d, o->count) / tau;
    PDN_KERNEL(o->type, downhill, d, g, call->parameters, x, tau, o->count);
    return size;
}

/* Tries -H g by the stored pairs, then -g. `tau` is the length of a step along -g. */
static PdnStatus move(PdnOptimiser *o, const PdnStep *call, double tau, double *loss, bool *moved) {
    void *d = o->scratch[DIRECTION].data;
    const void *x = o->scratch[START].data, *g = o->scratch[START_GRADIENT].data;
    int64_t stored = (int64_t)*pdn_state_number(o, STORED);
    double slope = two_loops(o, stored);
    if (call->project && stored > 0) {
        PDN_KERNEL(o->type, mask, d, g, call->parameters, x, tau, o->count);
        slope = dot(o, d, g);
    }
    PdnStatus status = PDN_OK;
    *moved = false;
    if (slope < 0) {
        double t = call->rate * (stored ? 1 : tau);
        status = call->project ? search_arc(o, call, t, loss, moved)
                               : search_line(o, call, t, slope, loss, moved);
    }
    if (status == PDN_OK && !*moved && (stored > 0 || call->project)) {
        copy(o, d, g);
        PDN_KERNEL(o->type, scale, d, o->count, -1);
        slope = dot(o, d, g);
        if (slope < 0) {
            status = call->project ? search_arc(o, call, tau, loss, moved)
                                   : search_line(o, call, tau, slope, loss, moved);
        }
    }
    return status;
}

PdnStatus pdn_lbfgs_step(PdnOptimiser *o, const PdnStep *call) {
    double *ended = pdn_state_number(o, ENDED), *first = pdn_state_number(o, FIRST);
    double *stalled = pdn_state_number(o, STALLED), *last = pdn_state_number(o, LOSS);
    if (*ended != NOT_CONVERGED) {
        *call->loss = *last;
        return PDN_OK;
    }
    double loss;
    PdnStatus status = start_step(o, call, &loss);
    if (status != PDN_OK) { return status; }
    double start_loss = loss,
           tau = *pdn_state_number(o, STORED) > 0 ? *pdn_state_number(o, SCALE) : first_try(o);
    double size = measure(o, call, tau);
    bool moved = false;
    PdnConvergence end = NOT_CONVERGED;
    if (size == 0 || (*first >= 0 && size <= o->arguments[lbfgs_tolerance] * *first)) {
        end = CONVERGED_GRADIENT;
    } else {
        status = move(o, call, tau, &loss, &moved);
        if (status == PDN_OK && !moved) { end = CONVERGED_SEARCH; }
    }
    if (!moved) { /* back to where it began */
        copy(o, call->parameters, o->scratch[START].data);
        copy(o, o->gradient.data, o->scratch[START_GRADIENT].data);
        if (status != PDN_OK) { return status; }
    } else {
        add_pair(o, call->parameters);
        *stalled = fabs(loss - start_loss) <= slack_of(o, start_loss) ? *stalled + 1 : 0;
        if (*stalled >= MOST_STALLED) { end = CONVERGED_LOSS; }
    }
    if (*first < 0) { *first = size; }
    *call->loss = *last = loss;
    if (o->fixed) { /* another batch, or other noise, may well move it on */
        *ended = end;
        copy(o, o->state[GRADIENT].array.data, o->gradient.data);
    }
    return PDN_OK;
}
