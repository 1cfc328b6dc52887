/* optimiser_search.c: a step size that satisfies the strong Wolfe conditions
 *   f(t) <= f(0) + decrease t f'(0),   |f'(t)| <= curvature |f'(0)|.
 * Nocedal, Wright, Numerical Optimization, 2006, algorithms 3.5 (a bracket) and 3.6 (its points), with cubic
 * interpolation; the safeguards are those of M. Schmidt's minFunc, which PyTorch has, too: as a rule both take the
 * same steps. Not so where these let go of an end that satisfies the first condition for a lower one that does
 * not: what is left may hold no point. Added are losses that are not finite, and differences that are rounding. */
#include "runtime/optimiser_search.h"

#include <math.h>

/* The minimum of the cubic with these values and slopes, in [low, high]; their middle where there is none. */
static double cubic(PdnPoint a, PdnPoint b, double low, double high) {
    if (a.t > b.t) {
        PdnPoint swap = a;
        a = b;
        b = swap;
    }
    double d1 = a.slope + b.slope - 3 * (a.loss - b.loss) / (a.t - b.t);
    double square = d1 * d1 - a.slope * b.slope;
    if (!(square >= 0)) { return (low + high) / 2; }
    double d2 = sqrt(square);
    double t = b.t - (b.t - a.t) * ((b.slope + d2 - d1) / (b.slope - a.slope + 2 * d2));
    return isnan(t) ? (low + high) / 2 : fmin(fmax(t, low), high);
}

static bool finite_point(PdnPoint p) { return isfinite(p.loss) && isfinite(p.slope); }

typedef struct {
    const PdnSearch *search;
    PdnPoint start, now; /* now: evaluated last */
    PdnPoint low, high;  /* the bracket; low is the start, or now, or what was kept */
    bool low_is_now;
    int evaluations;
} State;

static int evaluate(State *s, double t) {
    s->evaluations++;
    if (s->low_is_now) { s->search->keep(s->search->context); }
    s->low_is_now = false;
    s->now = (PdnPoint){t, INFINITY, 0};
    int stop = s->search->evaluate(s->search->context, t, &s->now);
    if (!finite_point(s->now)) { s->now.loss = INFINITY; }
    return stop;
}

/* `now` becomes the better end. */
static void set_low(State *s) {
    s->low = s->now;
    s->low_is_now = true;
}

static bool too_high(const State *s, PdnPoint p) {
    return !(p.loss <=
             s->start.loss + s->search->decrease * p.t * s->start.slope + s->search->slack);
}

static bool flat(const State *s, PdnPoint p) {
    return fabs(p.slope) <= -s->search->curvature * s->start.slope;
}

/* Algorithm 3.5: goes on until a bracket is found, or the conditions hold (*done). */
static int bracket(State *s, double t, bool *done) {
    PdnPoint before = s->start;
    s->low = s->start;
    if (evaluate(s, t)) { return 1; }
    for (int i = 0;; i++) {
        bool over = too_high(s, s->now) || (i > 1 && s->now.loss >= before.loss);
        *done = !over && flat(s, s->now);
        if (over || *done || s->now.slope >= 0 || s->evaluations >= s->search->evaluations) {
            break;
        }
        double low = s->now.t + 0.01 * (s->now.t - before.t), high = 10 * s->now.t;
        t = cubic(before, s->now, low, high);
        set_low(s);
        before = s->now;
        if (evaluate(s, t)) { return 1; }
    }
    if (!*done && (too_high(s, s->now) || s->now.loss >= before.loss)) {
        s->high = s->now;
        s->low = before;
    } else {
        s->high = before;
        set_low(s);
    }
    return 0;
}

/* Where to look in the bracket; `*slow` says that the last point was too near to an end. */
static double inside(const State *s, bool *slow) {
    double left = fmin(s->low.t, s->high.t), right = fmax(s->low.t, s->high.t);
    double t = isfinite(s->high.loss) ? cubic(s->low, s->high, left, right) : (left + right) / 2;
    double margin = 0.1 * (right - left);
    if (fmin(right - t, t - left) >= margin) {
        *slow = false;
    } else if (*slow || t >= right || t <= left) {
        t = right - t < t - left ? right - margin : left + margin;
        *slow = false;
    } else {
        *slow = true;
    }
    return t;
}

/* Algorithm 3.6: narrows the bracket. */
static int zoom(State *s) {
    bool slow = false;
    while (s->evaluations < s->search->evaluations &&
           fabs(s->high.t - s->low.t) >= s->search->least) {
        if (evaluate(s, inside(s, &slow))) { return 1; }
        if (too_high(s, s->now) || s->now.loss >= s->low.loss) {
            s->high = s->now;
            continue;
        }
        bool done = flat(s, s->now);
        if (!done && s->now.slope * (s->high.t - s->low.t) >= 0) { s->high = s->low; }
        set_low(s);
        if (done) { break; }
    }
    return 0;
}

PdnSearchEnd pdn_search(const PdnSearch *search, PdnPoint start, double t, PdnPoint *best) {
    State s = {.search = search, .start = start};
    bool done = false;
    if (bracket(&s, t, &done) || (!done && zoom(&s))) { return SEARCH_STOPPED; }
    *best = s.low;
    return s.low.t == 0 ? SEARCH_NOTHING : s.low_is_now ? SEARCH_LAST : SEARCH_KEPT;
}
