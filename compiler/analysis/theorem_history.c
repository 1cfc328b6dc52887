/* Schemes with a memory, and steps of different sizes: convex combinations; fast semi-iterative and two-step schemes of a
 * linear, symmetric operator that is the same in every step; steps that commute. */
#include "compiler/analysis/scheme.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- convex combinations ------------------------------------------------------------------ */

static const char *const extrapolates =
    "a convex combination of the states before: the step extrapolates, for which there is a proof only where the operator "
    "is linear, symmetric and the same in every step; nonlinear ones, and layers with weights of their own, were seen to grow";

/* The sum of the growths of what depends on each field alone; HUGE_VAL and *missing where one has none. */
static double convex_growth(Scheme *scheme, int64_t k, Certificate *out) {
    const char **missing = &out->missing;
    Step step = scheme_step(scheme, k);
    Module *m = scheme->module;
    Func *f = graph_get(m, step.func);
    uint8_t *masks = field_masks(m, step.func, f->params.data, step.fields);
    uint32_t nodes = f->nodes.len;
    Atoms atoms = {0}, part = {0};
    double sum = 0;
    if (!atoms_of(m, step.func, f->results.data[0], masks, nodes, &atoms)) sum = HUGE_VAL;
    for (uint32_t i = 0; i < atoms.len && isfinite(sum); i++) {
        uint8_t mask = masks[atoms.data[i].node];
        if (mask & (mask - 1)) {
            *missing = "a step whose parts look at one of the states before each";
            sum = HUGE_VAL;
        } else if (!mask) {
            *missing =
                "a form without sources: a term or a boundary value that does not depend on u is added to it";
            sum = HUGE_VAL;
        }
    }
    for (uint32_t field = 0; field < step.fields && isfinite(sum); field++) {
        part.len = 0;
        for (uint32_t i = 0; i < atoms.len; i++)
            if (masks[atoms.data[i].node] == 1u << field) vec_push(&part, atoms.data[i]);
        if (!part.len) continue;
        Growth g = sector_growth(scheme, &step, &part, field, GROWTH_NORM);
        if (!g.proved) *missing = g.missing;
        out->differences = out->differences || g.differences;
        out->linear = out->linear && g.linear;
        sum = g.proved ? sum + g.growth : HUGE_VAL;
    }
    vec_free(&atoms);
    vec_free(&part);
    mem_free(masks);
    return sum;
}

bool theorem_convex(Scheme *scheme, Certificate *out) {
    int64_t first = ANY_STEP, count = 1;
    if (!scheme->history || scheme->fields > 7) return false;
    out->linear = true;
    double worst = convex_growth(scheme, ANY_STEP, out);
    if (!(worst <= 1 + ROUNDING) && scheme->moving) {
        out->missing = NULL;
        if (!scheme_steps(scheme, &first, &count)) {
            out->missing = "a number of steps that is known, each of which is looked at";
            return false;
        }
        worst = 0;
        for (int64_t k = first; k < first + count && worst <= 1 + ROUNDING; k++) {
            double growth = convex_growth(scheme, k, out);
            if (growth > worst || k == first) out->worst = k;
            worst = fmax(worst, growth);
        }
        out->layers = count;
    }
    if (!(worst <= 1 + ROUNDING)) {
        if (!out->missing) out->missing = extrapolates;
        out->linear = false;
        if (isfinite(worst)) certificate_number(out, "a + b", worst);
        return false;
    }
    if (out->differences && !out->linear) {
        out->missing =
            "a form without sources: a nonlinear part has no proof for differences of solutions";
        return false;
    }
    out->missing = NULL;
    out->verdict = VERDICT_STABLE;
    out->claim = CLAIM_HISTORY;
    certificate_number(out, "a + b", worst);
    return true;
}

/* ---- one linear, symmetric operator in every step ---------------------------------------------- */

/* u[k+1] = alpha(k) u[k] + beta(k) F u[k] + gamma(k) u[k-1], 0 <= -F <= rho. */
typedef struct {
    double *alpha, *beta, *gamma;
    int64_t count; /* of them; 1 where the step is the same for all k */
    double rho;
    double below; /* and no less than this is ‖F‖; 0: not known */
    bool differences;
} Symmetric;

/* What the body adds up: which of the summands are u[k], u[k-1], and F's. */
static bool split(Scheme *s, Atoms *atoms, const char **missing) {
    Node fields[2] = {scheme_field(s, 0), s->fields > 1 ? scheme_field(s, 1) : NODE_NONE};
    if (!atoms_of(s->module, s->body, scheme_next(s, 0), s->varies, s->nodes, atoms)) return false;
    uint8_t *masks = field_masks(s->module, s->body, fields, s->fields);
    for (uint32_t i = 0; i < atoms->len && !*missing; i++) {
        Node n = atoms->data[i].node;
        if (n == fields[0] || (s->fields > 1 && n == fields[1])) continue;
        if (masks[n] != 1)
            *missing = "the form u[k+1] = a u[k] + F(u[k]) + c u[k-1]";
        else if (s->moves[n])
            *missing =
                "an operator that is the same in every step: this one depends on the step, by its weights or the time";
    }
    mem_free(masks);
    return !*missing;
}

/* The numbers of all steps: alpha, gamma, and how the factors of F's summands compare with those of the first step. */
static bool step_numbers(Scheme *s, const Atoms *atoms, Symmetric *out, const char **missing) {
    Node *coefficient = ARENA_ARRAY(s->arena, Node, atoms->len + 1);
    double *value = ARENA_ARRAY(s->arena, double, atoms->len + 1),
           *first = ARENA_ARRAY(s->arena, double, atoms->len + 1);
    for (uint32_t i = 0; i < atoms->len; i++) coefficient[i] = atoms->data[i].coefficient;
    for (int64_t j = 0; j < out->count; j++) {
        bool begun = false;
        if (!scheme_numbers(s, s->moving ? s->start + j : ANY_STEP, coefficient, atoms->len,
                            value)) {
            *missing =
                "step sizes that are known: these are numbers that are known only when the program runs";
            return false;
        }
        if (j == 0) memcpy(first, value, sizeof *value * atoms->len);
        out->beta[j] = 1;
        for (uint32_t i = 0; i < atoms->len; i++) {
            Node n = atoms->data[i].node;
            if (n == scheme_field(s, 0))
                out->alpha[j] = value[i];
            else if (s->fields > 1 && n == scheme_field(s, 1))
                out->gamma[j] = value[i];
            else if (!begun && first[i] != 0) {
                out->beta[j] = value[i] / first[i];
                begun = true;
            } else if (fabs(value[i] - out->beta[j] * first[i]) > ROUNDING * fabs(value[i]))
                *missing =
                    "an operator that is the same in every step: the shares of its terms change";
        }
    }
    return !*missing;
}

/* F, with the factors of the first step, and its bound. */
static bool bound_operator(Scheme *s, const Atoms *atoms, Symmetric *out, const char **missing) {
    Module *m = s->module;
    Node sum = NODE_NONE;
    for (uint32_t i = 0; i < atoms->len; i++) {
        Node n = atoms->data[i].node;
        if (n == scheme_field(s, 0) || (s->fields > 1 && n == scheme_field(s, 1))) continue;
        Node term = graph_binary(m, s->body, OP_MUL, atoms->data[i].coefficient, n, SPAN_NONE);
        sum = sum ? graph_binary(m, s->body, OP_ADD, sum, term, SPAN_NONE) : term;
    }
    if (!sum) return true;
    Step step = scheme_step_of(s, s->moving ? s->start : ANY_STEP, &sum, 1, NODE_NONE);
    Linearity l = analyse_linearity(m, step.func, 0, NULL);
    if (l != LINEARITY_LINEAR && l != LINEARITY_AFFINE) {
        *missing = extrapolates;
        return false;
    }
    out->differences = l == LINEARITY_AFFINE;
    StepBound bound = stable_step(m, step.func, s->arena);
    if (!bound.proved) {
        *missing = bound.missing;
        return false;
    }
    out->rho = isinf(bound.step) ? 0 : 2 / bound.step;
    out->below = isfinite(bound.unstable) ? 2 / bound.unstable : 0;
    return true;
}

static bool symmetric_steps(Scheme *s, Symmetric *out, const char **missing) {
    Atoms atoms = {0};
    out->count = s->moving ? s->count : 1;
    bool ok = true;
    if (out->count < 1 || out->count > MOST_LAYERS) {
        *missing = "a number of steps that is known, each of which is looked at";
        ok = false;
    }
    ok = ok && split(s, &atoms, missing);
    if (ok) {
        out->alpha = ARENA_ARRAY(s->arena, double, out->count);
        out->beta = ARENA_ARRAY(s->arena, double, out->count);
        out->gamma = ARENA_ARRAY(s->arena, double, out->count);
        /* in this order: the operator's nodes come after those of the coefficients */
        ok = step_numbers(s, &atoms, out, missing) && bound_operator(s, &atoms, out, missing);
    }
    vec_free(&atoms);
    return ok;
}

/* ---- fast semi-iterative ------------------------------------------------------------------------- */

static bool is_near(double a, double b) { return fabs(a - b) <= ROUNDING * (1 + fabs(b)); }

bool theorem_fsi(Scheme *scheme, Certificate *out) {
    Symmetric s = {0};
    if (!scheme->history || scheme->fields != 2 || !scheme->moving) return false;
    if (!symmetric_steps(scheme, &s, &out->missing)) return false;
    bool fits = scheme->same_start;
    for (int64_t k = 0; k < s.count && fits; k++) {
        double a = (double)(4 * k + 2) / (double)(2 * k + 3);
        fits = is_near(s.alpha[k], a) && is_near(s.gamma[k], 1 - a) &&
               is_near(s.beta[k] * (2. / 3), a);
    }
    double tau_rho = s.rho * 3 / 2; /* F of the first step is a(0) τ F */
    out->linear = true;
    if (scheme->tau > 0) {
        certificate_number(out, "τ", scheme->tau);
        certificate_number(out, "‖F‖", tau_rho / scheme->tau);
    } else
        certificate_number(out, "τ ‖F‖", tau_rho);
    if (!fits || tau_rho > 2 * (1 + ROUNDING)) {
        if (!fits) out->count = 0;
        out->missing =
            fits ? "a smaller step: τ <= 2/‖F‖ is what the proof needs"
                 : "the weights a(k) = (4k + 2)/(2k + 3) and a start from two equal states";
        return false;
    }
    out->verdict = VERDICT_STABLE;
    out->claim = CLAIM_CYCLE;
    out->linear = true;
    out->differences = s.differences;
    return true;
}

/* ---- steps that commute ----------------------------------------------------------------------------- */

static int double_compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* log |Π (1 - x / r)| and its derivative. */
static double log_product(const double *r, int64_t n, double x, double *slope) {
    double sum = 0, d = 0;
    for (int64_t i = 0; i < n; i++) {
        sum += log(fabs(1 - x / r[i]));
        d -= 1 / (r[i] - x);
    }
    *slope = d;
    return sum;
}

/* An upper bound of log |P| between two neighbouring roots, where it is concave: by its tangents. */
static double most_between(const double *r, int64_t n, double low, double high) {
    double a = low, b = high, slope, best = INFINITY;
    for (int step = 0; step < 200; step++) {
        double x = 0.5 * a + 0.5 * b;
        if (!(x > a && x < b)) break;
        double value = log_product(r, n, x, &slope);
        best = fmin(best, value + fabs(slope) * (slope > 0 ? b - x : x - a));
        if (slope > 0)
            a = x;
        else
            b = x;
        if (best < 0) break;
    }
    return best;
}

bool theorem_commuting(Scheme *scheme, Certificate *out) {
    Symmetric s = {0};
    if (scheme->fields != 1 || !scheme->moving) return false;
    if (!symmetric_steps(scheme, &s, &out->missing)) return false;
    double *roots = ARENA_ARRAY(scheme->arena, double, s.count), most = 0, slope;
    for (int64_t k = 0; k < s.count; k++) {
        if (s.alpha[k] != 1 || !(s.beta[k] > 0)) {
            out->missing = "steps u[k] + τ(k) F u[k] with positive sizes τ(k)";
            return false;
        }
        roots[k] = 1 / s.beta[k];
    }
    qsort(roots, (size_t)s.count, sizeof *roots, double_compare);
    /* falls from 1 to the first root; beyond the last it grows */
    for (int64_t i = 0; i + 1 < s.count && roots[i] < s.rho; i++)
        if (roots[i + 1] > roots[i])
            most = fmax(most, most_between(roots, s.count, roots[i],
                                           fmin(roots[i + 1], s.rho * (1 + 1e-9))));
    if (s.rho > roots[s.count - 1]) most = fmax(most, log_product(roots, s.count, s.rho, &slope));
    certificate_number(out, "largest factor", exp(most));
    certificate_number(out, "steps", (double)s.count);
    out->linear = true;
    if (!(most <= ROUNDING)) {
        out->missing =
            "smaller steps: their product Π (1 - τ(k) x) exceeds 1 for some x in [0, ‖F‖]";
        return false;
    }
    out->verdict = VERDICT_STABLE;
    out->claim = CLAIM_CYCLE;
    out->differences = s.differences;
    return true;
}

/* ---- bounded powers ----------------------------------------------------------------------------------- */

bool theorem_powers(Scheme *scheme, Certificate *out) {
    Symmetric s = {0};
    if (!scheme->history || scheme->fields != 2 || scheme->moving) return false;
    if (!symmetric_steps(scheme, &s, &out->missing)) return false;
    double a = s.alpha[0], c = s.gamma[0], room = 1 - c, far = fmax(fabs(a), fabs(a - s.rho));
    /* z² - (a + x) z - c: both roots in the unit disc where |c| <= 1 and |a + x| <= 1 - c (Schur, Cohn) */
    certificate_number(out, "a", a);
    certificate_number(out, "c", c);
    certificate_number(out, "‖F‖", s.rho);
    out->differences = s.differences;
    /* for x = -‖F‖, which is no larger than -below */
    bool grows = fabs(c) > 1 + 1e-9 || a - s.below < -room - 1e-9 * (1 + fabs(room));
    out->linear = true;
    if (s.below > 0 && grows) {
        out->verdict = VERDICT_UNSTABLE;
        return true;
    }
    if (fabs(c) > 1 || far > room * (1 + ROUNDING)) {
        out->missing =
            "roots inside the unit circle: |a + x| <= 1 - c for all x in [-‖F‖, 0], and |c| <= 1";
        return false;
    }
    if (c <= -1 + ROUNDING && far >= 2 * (1 - 1e-9)) {
        out->missing =
            "simple roots on the unit circle: where the operator takes a pattern to 0 (constants, say), a double "
            "root lets it grow in proportion to time; this is no exponential growth";
        return false;
    }
    out->verdict = VERDICT_STABLE;
    out->claim = CLAIM_BOUNDED;
    return true;
}
