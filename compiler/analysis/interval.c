/* Interval arithmetic with outward rounding.
 *
 * A bound is widened by an ulp only where the operation was inexact (found by error-free
 * transformations), so that 1 / (1 + [0, inf)) is exactly (0, 1]. Functions of the maths library
 * are taken as right to 4 ulps. */
#include "compiler/analysis/interval.h"
#include "compiler/ops/ops.h"
#include "compiler/ops/rules.h"

#include <math.h>

static double down(double x) { return nextafter(x, -INFINITY); }

static double up(double x) { return nextafter(x, INFINITY); }

/* Widens what a library function gave, but for values that are exact. */
static Interval widened(double low, double high) {
    for (int i = 0; i < 4; i++) {
        if (low != 0 && low != 1 && low != -1 && !isinf(low)) low = down(low);
        if (high != 0 && high != 1 && high != -1 && !isinf(high)) high = up(high);
    }
    return interval(low, high);
}

Interval interval_hull(Interval a, Interval b) {
    return (Interval){fmin(a.low, b.low), fmax(a.high, b.high), a.nan || b.nan};
}

static bool holds_zero(Interval a) { return a.low <= 0 && a.high >= 0; }

/* a + b rounded down or up; exact sums stay (TwoSum, Knuth). */
static double add_rounded(double a, double b, int side) {
    double s = a + b;
    if (isnan(s)) return side < 0 ? -INFINITY : INFINITY;
    if (isinf(s))
        return isinf(a) || isinf(b) ? s
               : side < 0 && s > 0  ? 0x1.fffffffffffffp+1023
               : side > 0 && s < 0  ? -0x1.fffffffffffffp+1023
                                    : s;
    double t = s - a, error = (a - (s - t)) + (b - t);
    if (error < 0 && side < 0) return down(s);
    return error > 0 && side > 0 ? up(s) : s;
}

static Interval add(Interval a, Interval b) {
    return interval(add_rounded(a.low, b.low, -1), add_rounded(a.high, b.high, 1));
}

static Interval negate(Interval a) { return interval(-a.high, -a.low); }

/* 0 times infinity is 0: the infinity stands for large numbers. */
static double mul_rounded(double a, double b, int side) {
    if (a == 0 || b == 0) return 0;
    double p = a * b;
    if (isinf(p) || isinf(a) || isinf(b))
        return isinf(a) || isinf(b) ? p
               : side < 0 && p > 0  ? 0x1.fffffffffffffp+1023
               : side > 0 && p < 0  ? -0x1.fffffffffffffp+1023
                                    : p;
    double error = fma(a, b, -p);
    if (fabs(p) < 1e-290) /* the error may be lost itself */
        return side < 0 ? (p > 0 ? fmax(0, down(p)) : down(p)) : p < 0 ? fmin(0, up(p)) : up(p);
    if (error < 0 && side < 0) return down(p);
    return error > 0 && side > 0 ? up(p) : p;
}

Interval interval_mul(Interval a, Interval b) {
    double x[2] = {a.low, a.high}, y[2] = {b.low, b.high};
    Interval r = interval(INFINITY, -INFINITY);
    for (int i = 0; i < 4; i++) {
        r.low = fmin(r.low, mul_rounded(x[i / 2], y[i % 2], -1));
        r.high = fmax(r.high, mul_rounded(x[i / 2], y[i % 2], 1));
    }
    return r;
}

static double div_rounded(double a, double b, int side) {
    if (a == 0 || isinf(b))
        return isinf(a) && isinf(b)
                   ? ((a > 0) == (b > 0) ? (side > 0 ? INFINITY : 0) : (side > 0 ? 0 : -INFINITY))
                   : 0;
    double q = a / b;
    if (isinf(q)) return q;
    double error = fma(-q, b, a); /* of the sign of (a / b - q) b */
    bool more = b > 0 ? error > 0 : error<0, less = b> 0 ? error < 0 : error > 0;
    if (fabs(q) < 1e-290 || fabs(a) < 1e-290) more = less = true;
    if (less && side < 0) return q > 0 ? fmax(0, down(q)) : down(q);
    return more && side > 0 ? (q < 0 ? fmin(0, up(q)) : up(q)) : q;
}

Interval interval_div(Interval a, Interval b) {
    if (b.low < 0 && b.high > 0) return interval_all();
    if (b.low == 0 && b.high == 0) return interval_all();
    if (b.low == 0 || b.high == 0) {
        /* towards the zero end the quotient is infinite; a zero numerator gives 0 or NaN there */
        double far = b.low == 0 ? b.high : b.low;
        int sign = b.low == 0 ? 1 : -1;
        Interval r = interval(INFINITY, -INFINITY);
        double x[2] = {a.low, a.high};
        for (int i = 0; i < 2; i++) {
            r.low = fmin(r.low, div_rounded(x[i], far, -1));
            r.high = fmax(r.high, div_rounded(x[i], far, 1));
            if (x[i] * sign > 0) r.high = INFINITY;
            if (x[i] * sign < 0) r.low = -INFINITY;
        }
        return r;
    }
    double x[2] = {a.low, a.high}, y[2] = {b.low, b.high};
    Interval r = interval(INFINITY, -INFINITY);
    for (int i = 0; i < 4; i++) {
        r.low = fmin(r.low, div_rounded(x[i / 2], y[i % 2], -1));
        r.high = fmax(r.high, div_rounded(x[i / 2], y[i % 2], 1));
    }
    return r;
}

static Interval square(Interval a) {
    double far = fmax(fabs(a.low), fabs(a.high));
    double near = holds_zero(a) ? 0 : fmin(fabs(a.low), fabs(a.high));
    return interval(mul_rounded(near, near, -1), mul_rounded(far, far, 1));
}

static Interval root(Interval a) {
    double low = sqrt(fmax(a.low, 0)), high = sqrt(fmax(a.high, 0));
    if (fma(low, low, -fmax(a.low, 0)) != 0 && !isinf(low)) low = down(low);
    if (fma(high, high, -fmax(a.high, 0)) != 0 && !isinf(high)) high = up(high);
    return interval(low, high);
}

static Interval power(Interval x, Interval y) {
    if (x.low < 0) return interval_all();
    /* monotone in each of them on each side of x = 1: extremes at the corners, and at 1 */
    Interval r = interval(INFINITY, -INFINITY);
    double xs[2] = {x.low, x.high}, ys[2] = {y.low, y.high};
    for (int i = 0; i < 4; i++) {
        double p = pow(xs[i / 2], ys[i % 2]);
        if (isnan(p)) return interval(0, INFINITY);
        r = interval_hull(r, interval(p, p));
    }
    if (x.low <= 1 && x.high >= 1) r = interval_hull(r, interval(1, 1));
    r = widened(r.low, r.high);
    r.low = fmax(r.low, 0);
    return r;
}

static Interval truth(bool can_be_false, bool can_be_true) {
    return interval(can_be_false ? 0 : 1, can_be_true ? 1 : 0);
}

static Interval less(Interval a, Interval b, bool or_equal, bool nan) {
    bool sure = !nan && (or_equal ? a.high <= b.low : a.high < b.low);
    bool never = or_equal ? a.low > b.high : a.low >= b.high;
    return truth(!sure, !never);
}

static bool is_point(Interval a) { return a.low == a.high; }

static Interval magnitude(Interval a) {
    double far = fmax(fabs(a.low), fabs(a.high));
    return interval(holds_zero(a) ? 0 : fmin(fabs(a.low), fabs(a.high)), far);
}

static Interval compare(Op op, const Interval *x) {
    bool apart = x[0].high < x[1].low || x[1].high < x[0].low;
    bool equal = is_point(x[0]) && is_point(x[1]) && x[0].low == x[1].low;
    bool zero[2], nonzero[2];        /* can an operand be … */
    bool nan = x[0].nan || x[1].nan; /* comparisons of it are false, but that it is another one */
    for (int i = 0; i < 2; i++) {
        zero[i] = holds_zero(x[i]) || x[i].nan;
        nonzero[i] = x[i].low != 0 || x[i].high != 0 || x[i].nan;
    }
    switch (op) {
    case OP_LT: return less(x[0], x[1], false, nan);
    case OP_LE: return less(x[0], x[1], true, nan);
    case OP_EQ: return truth(!equal || nan, !apart);
    case OP_NE: return truth(!apart, !equal || nan);
    case OP_AND: return truth(zero[0] || zero[1], nonzero[0] && nonzero[1]);
    case OP_OR: return truth(zero[0] && zero[1], nonzero[0] || nonzero[1]);
    default: return truth(nonzero[0], zero[0]); /* NOT */
    }
}

static Interval monotone(double (*f)(double), Interval a) { return widened(f(a.low), f(a.high)); }

/* Likewise, as the reference evaluates it. */
static Interval number_range(Op op, Interval a) {
    return widened(op_scalar(op)(&a.low), op_scalar(op)(&a.high));
}

/* sin or cos: 1 and -1 where a peak lies inside */
static Interval wave(double (*f)(double), Interval a, double peak) {
    Interval r = interval(-1, 1);
    if (!(a.high - a.low < 6.28) || fabs(a.low) > 1e6 || fabs(a.high) > 1e6) return r;
    Interval ends = interval(fmin(f(a.low), f(a.high)), fmax(f(a.low), f(a.high)));
    double slack = 1e-9;
    double top = peak + 2 * M_PI * ceil((a.low - slack - peak) / (2 * M_PI));
    double bottom = peak + M_PI + 2 * M_PI * ceil((a.low - slack - peak - M_PI) / (2 * M_PI));
    ends = widened(ends.low, ends.high);
    r.high = top <= a.high + slack ? 1 : fmin(1, ends.high);
    r.low = bottom <= a.high + slack ? -1 : fmax(-1, ends.low);
    return r;
}

static Interval where_range(const Interval *x) {
    if (!x[0].nan && !holds_zero(x[0])) return x[1];
    if (!x[0].nan && is_point(x[0])) return x[2];
    return interval_hull(x[1], x[2]);
}

static Interval function_range(Op op, Interval a) {
    Interval r;
    switch (op) {
    case OP_EXP: r = monotone(exp, a); return interval(fmax(r.low, 0), r.high);
    case OP_LOG:
    case OP_LOG2:
        if (a.high <= 0) return interval_all();
        return monotone(op == OP_LOG ? log : log2, interval(fmax(a.low, 0), a.high));
    case OP_SIN: return wave(sin, a, M_PI_2);
    case OP_COS: return wave(cos, a, 0);
    case OP_ASIN:
        return monotone(asin, interval(fmin(1, fmax(-1, a.low)), fmin(1, fmax(-1, a.high))));
    case OP_ACOS:
        r = monotone(acos, interval(fmin(1, fmax(-1, a.high)), fmin(1, fmax(-1, a.low))));
        return interval(fmax(r.low, 0), r.high);
    case OP_ATAN: return monotone(atan, a);
    case OP_SINH: return monotone(sinh, a);
    case OP_COSH: return monotone(cosh, magnitude(a));
    case OP_TANH: r = monotone(tanh, a); return interval(fmax(r.low, -1), fmin(r.high, 1));
    case OP_ERF: r = monotone(erf, a); return interval(fmax(r.low, -1), fmin(r.high, 1));
    case OP_ERFC:
        r = widened(erfc(a.high), erfc(a.low));
        return interval(fmax(r.low, 0), fmin(r.high, 2));
    case OP_EXPM1: r = monotone(expm1, a); return interval(fmax(r.low, -1), r.high);
    case OP_LOG1P:
        if (a.high <= -1) return interval_all();
        return monotone(log1p, interval(fmax(a.low, -1), a.high));
    case OP_SIGMOID: r = number_range(op, a); return interval(fmax(r.low, 0), fmin(r.high, 1));
    case OP_SOFTPLUS: r = number_range(op, a); return interval(fmax(r.low, 0), r.high);
    case OP_FLOOR: return interval(floor(a.low), floor(a.high));
    case OP_CEIL: return interval(ceil(a.low), ceil(a.high));
    case OP_ROUND: return interval(rint(a.low), rint(a.high));
    default: return interval_all();
    }
}

/* What the op gives for numbers, as far as it is a number. */
static Interval number_op(Op op, const Interval *x, bool same) {
    switch (op) {
    case OP_NEG: return negate(x[0]);
    case OP_ADD: return add(x[0], x[1]);
    case OP_SUB: return same ? interval(0, 0) : add(x[0], negate(x[1]));
    case OP_MUL: return same ? square(x[0]) : interval_mul(x[0], x[1]);
    case OP_FMA: return add(same ? square(x[0]) : interval_mul(x[0], x[1]), x[2]);
    case OP_DIV: return interval_div(x[0], x[1]);
    case OP_POW: return power(x[0], x[1]);
    case OP_MIN: return interval(fmin(x[0].low, x[1].low), fmin(x[0].high, x[1].high));
    case OP_MAX: return interval(fmax(x[0].low, x[1].low), fmax(x[0].high, x[1].high));
    case OP_MOD: /* of the sign of y, smaller than it */
        return interval(fmin(0, x[1].low), fmax(0, x[1].high));
    case OP_ATAN2: return widened(-M_PI, M_PI);
    case OP_LT:
    case OP_LE:
    case OP_EQ:
    case OP_NE:
    case OP_AND:
    case OP_OR: return compare(op, x);
    case OP_NOT: return compare(op, (Interval[]){x[0], x[0]});
    case OP_WHERE: return where_range(x);
    case OP_DETACH: return x[0];
    case OP_GUARDED: return interval(fmin(x[0].low, 0), fmax(x[0].high, 0));
    case OP_ABS: return magnitude(x[0]);
    case OP_SIGN:
        return interval(x[0].low > 0   ? 1
                        : x[0].low < 0 ? -1
                                       : 0,
                        x[0].high > 0   ? 1
                        : x[0].high < 0 ? -1
                                        : 0);
    case OP_SQRT: return root(x[0]);
    default: return function_range(op, x[0]);
    }
}

static bool holds_infinity(Interval a) { return isinf(a.low) || isinf(a.high); }

/* ∞ - ∞ */
static bool cancels(Interval a, Interval b) {
    return (a.high == INFINITY && b.low == -INFINITY) || (a.low == -INFINITY && b.high == INFINITY);
}

/* 0 ∞ */
static bool vanishes(Interval a, Interval b) {
    return (holds_zero(a) && holds_infinity(b)) || (holds_infinity(a) && holds_zero(b));
}

/* May the op make NaN of numbers, or of the infinities at poles? */
static bool leaves_numbers(Op op, const Interval *x) {
    switch (op) {
    case OP_ADD: return cancels(x[0], x[1]);
    case OP_SUB: return cancels(x[0], negate(x[1]));
    case OP_MUL: return vanishes(x[0], x[1]);
    case OP_FMA: return vanishes(x[0], x[1]) || cancels(interval_mul(x[0], x[1]), x[2]);
    case OP_SIN:
    case OP_COS:
    case OP_TAN: return holds_infinity(x[0]);
    case OP_SQRT:
    case OP_LOG:
    case OP_LOG2: return x[0].low < 0;
    case OP_LOG1P: return x[0].low < -1;
    case OP_ASIN:
    case OP_ACOS: return x[0].low < -1 || x[0].high > 1;
    case OP_DIV:
        return (holds_zero(x[0]) && holds_zero(x[1])) ||
               (holds_infinity(x[0]) && holds_infinity(x[1]));
    case OP_MOD: return holds_zero(x[1]);
    case OP_POW: return x[0].low < 0 && !(is_point(x[1]) && x[1].low == floor(x[1].low));
    default: return false;
    }
}

Interval interval_op(Op op, const Interval *x, bool same) {
    Interval r = number_op(op, x, same);
    if (op == OP_WHERE || op_is_truth(op)) return r; /* they know of it */
    bool nan = leaves_numbers(op, x);
    for (int i = 0; i < op_info(op)->operands; i++) nan = nan || x[i].nan;
    switch (op) {
    case OP_MIN: /* whichever of them the processor takes */
    case OP_MAX:
        for (int i = 0; i < 2; i++)
            if (x[i].nan) r = interval_hull(r, x[1 - i]);
        break;
    case OP_SIGN:
        if (nan) r = interval_hull(r, interval(-1, 1));
        break;
    default: break;
    }
    r.nan = nan;
    return r;
}

/* ---- nodes ------------------------------------------------------------------------ */

static Interval coordinate_range(const Grid *grid, uint32_t axis) {
    double first = grid->origin[axis], last = INFINITY;
    if (grid->extent[axis] >= 0) last = first + (double)grid->extent[axis] * grid->spacing[axis];
    return widened(first, last);
}

static Interval stencil_range(const Stencil *s, const Interval *x, uint32_t count) {
    /* all sides and values may enter; the largest absolute row sum bounds what is read */
    double size = fmax(fabs(x[0].low), fabs(x[0].high));
    for (uint32_t i = 1; i < count; i++)
        if (x[i].low != 0 || x[i].high != 0) return interval_all();
    if (s->transposed || isinf(size)) return interval_all();
    double largest = 0;
    for (uint32_t c = 0; c < s->out_channels; c++) {
        double sum = 0;
        for (uint32_t i = 0; i < s->count; i++)
            sum += s->taps[i].to == c ? fabs(s->taps[i].weight) : 0;
        largest = fmax(largest, sum);
    }
    double bound = up(size * largest * (1 + 1e-12));
    return interval(-bound, bound);
}

static Interval node_range(Module *module, const NodeData *d, const Interval *x, bool same) {
    if (op_info(d->op)->class == CLASS_POINTWISE) return interval_op(d->op, x, same);
    Interval r = interval(INFINITY, -INFINITY);
    switch (d->op) {
    case OP_CONST: return isnan(d->number) ? interval_all() : interval(d->number, d->number);
    case OP_COORD: return coordinate_range(&module->grids.data[d->type.grid], d->index);
    case OP_EDGE:
    case OP_UNIFORM: return interval(0, 1);
    case OP_CELLS:
    case OP_FRAMES: return interval(1, INFINITY);
    case OP_CONVNORM: return interval(0, INFINITY);
    case OP_PROLONG:
        return d->index == RESAMPLE_FIRST ? interval_hull(x[0], interval(0, 0))
                                          : x[0]; /* 0 beside the first cells */
    case OP_SPREAD:
    case OP_CHANNEL:
    case OP_RESTRICT:
    case OP_MAXPOOL:
    case OP_BATCHMEAN:
    case OP_ENTRY:
    case OP_BYCHANNEL:
    case OP_LEAST:
    case OP_LARGEST: return x[0];
    case OP_ROW:
    case OP_CONCAT:
        for (uint32_t k = 0; k < d->count; k++) r = interval_hull(r, x[k]);
        return r;
    case OP_STENCIL: return stencil_range(&module->stencils.data[d->index], x, d->count);
    case OP_TOTALS:
    case OP_SUM: /* of fields of one sign */
        return interval(x[0].low >= 0 ? 0 : -INFINITY, x[0].high <= 0 ? 0 : INFINITY);
    default: return interval_all();
    }
}

static void ranges(Module *module, FuncId func, Node last, const GivenRange *given, uint32_t count,
                   bool numbers, Interval *out) {
    const Func *f = graph_get(module, func);
    VEC(Interval) x = {0};
    for (Node n = 1; n <= last; n++) {
        const NodeData *d = graph_node(f, n);
        x.len = 0;
        for (uint32_t k = 0; k < d->count; k++) vec_push(&x, out[graph_operand(f, n, k)]);
        bool same = d->count >= 2 && graph_operand(f, n, 0) == graph_operand(f, n, 1);
        if (d->op == OP_CHSUM) {
            uint32_t channels = graph_node(f, graph_operand(f, n, 0))->type.channels;
            out[n] = interval_mul(x.data[0], interval(channels, channels));
        } else {
            out[n] = node_range(module, d, x.data, same);
        }
        if (op_info(d->op)->class != CLASS_POINTWISE)
            for (uint32_t k = 0; k < d->count; k++) out[n].nan = out[n].nan || x.data[k].nan;
        if (numbers) out[n].nan = false;
        for (uint32_t i = 0; i < count; i++)
            if (given[i].node == n) out[n] = given[i].range;
    }
    vec_free(&x);
}

void interval_nodes(Module *module, FuncId func, Node last, const GivenRange *given, uint32_t count,
                    Interval *out) {
    ranges(module, func, last, given, count, false, out);
}

void interval_numbers(Module *module, FuncId func, Node last, Interval *out) {
    ranges(module, func, last, NULL, 0, true, out);
}

Interval range_of(Module *module, FuncId func, Node n) {
    Interval *all = mem_alloc(sizeof *all * (n + 1));
    interval_nodes(module, func, n, NULL, 0, all);
    Interval r = all[n];
    mem_free(all);
    return r;
}
