/* Lipschitz constants and sectors of scalar functions, by subdivision: a bound on every piece of
 * the line by interval arithmetic, the worst piece cut until its bound is met by a value to
 * 1e-9.
 *
 * The line is |s| <= 2^120, beyond which f32 has few numbers left and squares of squares
 * overflow. */
#include "compiler/analysis/interval.h"
#include "compiler/analysis/operator.h"
#include "compiler/analysis/sector.h"
#include "compiler/ops/ops.h"

#include <math.h>
#include <string.h>

enum { OCTAVES = 120, MOST_CUTS = 6000 };
static const double UNBOUNDED =
    0x1p60; /* a slope that grows like a root of s or faster reaches this on the line */

typedef struct {
    double low, high; /* of s */
    Interval value;
    bool cut;
} Piece;

/* Pieces by one end of their bounds, the worst first: a binary heap. What was cut stays in it until
 * it is met at the top. */
typedef struct {
    double end;
    uint32_t piece;
} Ranked;
typedef VEC(Ranked) Ranking;

typedef struct {
    Module *module;
    FuncId func;
    Node s, function, slope; /* slope: NODE_NONE where not wanted */
    Interval *range;         /* scratch */
    uint8_t *live;           /* scratch: what the function is made of on a piece */
    uint8_t *one_sign;       /* what has one sign, or is 0, on the whole line */
    bool ratio;              /* bound function / s, else slope */
    bool jumps;              /* a jump was met, or a pole */
    VEC(Piece) pieces;
    Ranking by_high, by_low; /* by_low: of the ends negated */
} Line;

static bool is_open(Interval condition) {
    return condition.low <= 0 && condition.high >= 0 && condition.low != condition.high;
}

/* At a piece too small to be cut, both branches of a choice that is open must agree, but for what rounding of the
 * constants in them makes, and what they change on the piece. */
static void check_choices(Line *l, double width) {
    const Func *f = graph_get(l->module, l->func);
    for (Node n = 1; n <= l->function; n++) {
        if (graph_node(f, n)->op != OP_WHERE || !l->live[n]) continue;
        if (!is_open(l->range[graph_operand(f, n, 0)])) continue;
        Interval a = l->range[graph_operand(f, n, 1)], b = l->range[graph_operand(f, n, 2)];
        double gap = fmax(a.low - b.high, b.low - a.high);
        if (gap > 1e-12 * fmin(fabs(a.low), fabs(b.low)) || isnan(gap) || width > 1e-3)
            l->jumps = true;
    }
}

static bool choice_is_open(const Line *l) {
    const Func *f = graph_get(l->module, l->func);
    for (Node n = 1; n <= l->function; n++)
        if (graph_node(f, n)->op == OP_WHERE && l->live[n] &&
            is_open(l->range[graph_operand(f, n, 0)]))
            return true;
    return false;
}

/* What a condition does not choose on the piece is no part of the function there. */
static void find_live(Line *l) {
    const Func *f = graph_get(l->module, l->func);
    memset(l->live, 0, l->function + 1);
    l->live[l->function] = 1;
    for (Node n = l->function; n > 0; n--) {
        const NodeData *d = graph_node(f, n);
        if (!l->live[n]) continue;
        bool chosen[3] = {true, true, true};
        if (d->op == OP_WHERE) {
            Interval c = l->range[graph_operand(f, n, 0)];
            chosen[1] = is_open(c) || c.low > 0 || c.high < 0;
            chosen[2] = is_open(c) || !chosen[1];
        }
        for (uint32_t k = 0; k < d->count; k++)
            if (k > 2 || chosen[k]) l->live[graph_operand(f, n, k)] = 1;
    }
}

static Interval evaluate(Line *l, double low, double high) {
    GivenRange given = {l->s, interval(low, high)};
    Node last = l->slope > l->function ? l->slope : l->function;
    interval_nodes(l->module, l->func, last, &given, 1, l->range);
    if (l->ratio && (low > 0 || high < 0))
        return interval_div(l->range[l->function], interval(low, high));
    return l->range[l->slope];
}

static double size_of(Interval v) {
    double size = fmax(fabs(v.low), fabs(v.high));
    return isnan(size) ? INFINITY : size;
}

static void rank(Ranking *r, double end, uint32_t piece) {
    vec_push(r, ((Ranked){end, piece}));
    uint32_t at = r->len - 1;
    for (; at && r->data[(at - 1) / 2].end < end; at = (at - 1) / 2)
        r->data[at] = r->data[(at - 1) / 2];
    r->data[at] = (Ranked){end, piece};
}

static void drop_worst(Ranking *r) {
    Ranked last = vec_pop(r);
    uint32_t at = 0;
    for (uint32_t below; (below = 2 * at + 1) < r->len; at = below) {
        if (below + 1 < r->len && r->data[below + 1].end > r->data[below].end) below++;
        if (r->data[below].end <= last.end) break;
        r->data[at] = r->data[below];
    }
    if (r->len) r->data[at] = last;
}

static uint32_t worst(const Line *l, Ranking *r) {
    while (l->pieces.data[r->data[0].piece].cut) drop_worst(r);
    return r->data[0].piece;
}

/* May an op have a pole on the piece? There a function may jump from one infinity to the other, and what is made of that by
 * an outer function, or chosen by it, has slopes on both sides that say nothing of it. Where both sides go to the
 * same infinity it does not: 1 / abs(s), but not what may be 0/0. */
static bool has_pole(const Line *l) {
    const Func *f = graph_get(l->module, l->func);
    for (Node n = 1; n <= l->function; n++) {
        Op op = graph_node(f, n)->op;
        if (!l->live[n]) continue;
        if (op == OP_TAN && size_of(l->range[n]) == INFINITY) return true;
        if (op != OP_DIV && op != OP_POW) continue;
        Interval base = l->range[graph_operand(f, n, op == OP_DIV)], above = interval(1, 1);
        if (op == OP_DIV) above = l->range[graph_operand(f, n, 0)];
        bool inverse = op == OP_DIV || l->range[graph_operand(f, n, 1)].low < 0;
        bool one_side =
            l->one_sign[graph_operand(f, n, op == OP_DIV)] && (above.low > 0 || above.high < 0);
        if (inverse && base.low <= 0 && base.high >= 0 && !one_side) return true;
    }
    return false;
}

static void add_piece(Line *l, double low, double high) {
    Piece p = {.low = low, .high = high, .value = evaluate(l, low, high)};
    bool slopes =
        !l->ratio || (low <= 0 && high >= 0); /* away from 0 a ratio needs no continuity */
    if (slopes) find_live(l);
    bool small = high - low <= 1e-14 * (1e-3 + fabs(low)), pole = slopes && has_pole(l);
    bool open = pole || (slopes && choice_is_open(l));
    if (open && small && !pole)
        check_choices(l, high - low);
    else if (open)
        p.value = interval_all(); /* cut it */
    l->jumps = l->jumps || (pole && small);
    if (isnan(p.value.low) || isnan(p.value.high)) p.value = interval_all();
    rank(&l->by_high, p.value.high, l->pieces.len);
    rank(&l->by_low, -p.value.low, l->pieces.len);
    vec_push(&l->pieces, p);
}

static void find_signs(Line *l) {
    evaluate(l, -ldexp(1, OCTAVES), ldexp(1, OCTAVES));
    for (Node n = 1; n <= l->function; n++)
        l->one_sign[n] = l->range[n].low >= 0 || l->range[n].high <= 0;
}

/* The hull over the whole line; false where a bound stays infinite, or there is a jump. */
static bool bound_line(Line *l, Interval *out) {
    find_signs(l);
    add_piece(l, -ldexp(1, -40), ldexp(1, -40));
    for (int k = -40; k < OCTAVES; k++) {
        add_piece(l, ldexp(1, k), ldexp(1, k + 1));
        add_piece(l, -ldexp(1, k + 1), -ldexp(1, k));
    }
    Interval reached = interval(INFINITY, -INFINITY);
    for (int cuts = 0;; cuts++) {
        uint32_t highest = worst(l, &l->by_high), lowest = worst(l, &l->by_low);
        *out = interval(l->pieces.data[lowest].value.low, l->pieces.data[highest].value.high);
        double above = out->high - reached.high, below = reached.low - out->low;
        double slack = 1e-9 * fmax(fabs(reached.low), fabs(reached.high));
        bool met = isfinite(slack) && above <= slack && below <= slack;
        if (met || cuts >= MOST_CUTS || l->jumps) break;
        Piece *p = &l->pieces.data[above >= below ? highest : lowest]; /* the rougher end */
        double low = p->low, high = p->high, middle = 0.5 * low + 0.5 * high;
        if (!(middle > low && middle < high)) break;
        p->cut = true;
        Interval at = evaluate(l, middle, middle);
        if (!isnan(at.low) && size_of(at) < INFINITY && (middle != 0 || !l->ratio))
            reached = interval_hull(reached, at);
        add_piece(l, low, middle);
        add_piece(l, middle, high);
    }
    return !l->jumps && isfinite(out->low) && isfinite(out->high);
}

static void line_open(Line *l) {
    l->range = mem_alloc(sizeof *l->range * graph_get(l->module, l->func)->nodes.len);
    l->live = mem_alloc(l->function + 1);
    l->one_sign = mem_alloc(l->function + 1);
}

static void line_free(Line *l) {
    mem_free(l->range);
    mem_free(l->live);
    mem_free(l->one_sign);
    vec_free(&l->pieces);
    vec_free(&l->by_high);
    vec_free(&l->by_low);
}

/* Ops whose values jump, so that slopes say nothing. Comparisons may choose (where), not count. */
static bool is_continuous(const Func *f, Node function, Node s) {
    uint8_t *live = mem_alloc(function + 1), *varies = mem_alloc(function + 1);
    memset(live, 0, function + 1);
    memset(varies, 0, function + 1);
    for (Node n = 1; n <= function; n++) {
        varies[n] = n == s;
        for (uint32_t k = 0; k < graph_node(f, n)->count; k++)
            varies[n] |= varies[graph_operand(f, n, k)];
    }
    live[function] = 1;
    bool ok = true;
    for (Node n = function; n > 0 && ok; n--) {
        const NodeData *d = graph_node(f, n);
        if (!live[n] || !varies[n] || n == s) continue;
        switch (d->op) {
        case OP_SIGN:
        case OP_FLOOR:
        case OP_CEIL:
        case OP_ROUND:
        case OP_MOD:
        case OP_ATAN2: ok = false; break;
        default: ok = !op_is_truth(d->op) && op_info(d->op)->class == CLASS_POINTWISE;
        }
        for (uint32_t k = d->op == OP_WHERE; k < d->count; k++) live[graph_operand(f, n, k)] = 1;
    }
    mem_free(live);
    mem_free(varies);
    return ok;
}

double lipschitz_bound(Module *module, FuncId func, Arena *arena) {
    (void)arena;
    const Func *f = graph_get(module, func);
    if (f->params.len == 0 || f->results.len == 0) return HUGE_VAL;
    ModuleMark mark = operator_mark(module);
    double bound = HUGE_VAL;
    FuncId flat = operator_inline(module, func);
    f = flat ? graph_get(module, flat) : NULL;
    if (f && is_continuous(f, f->results.data[0], f->params.data[0])) {
        FuncId jvp = jvp_func(module, flat, NULL);
        if (jvp) {
            /* value and slope in one function: s, and 1 for the tangent */
            FuncId both = graph_func(module, 0);
            Map known = {0}, other = {0};
            const Func *g = graph_get(module, jvp);
            Node s = graph_param(module, both, graph_node(f, f->params.data[0])->type, 0);
            map_set(&known, f->params.data[0], s);
            map_set(&other, g->params.data[0], s);
            map_set(&other, g->params.data[1], graph_const(module, both, 1));
            for (uint32_t p = 1; p < f->params.len; p++) {
                Node captured =
                    graph_param(module, both, graph_node(f, f->params.data[p])->type, 0);
                map_set(&known, f->params.data[p], captured);
                map_set(&other, g->params.data[p + 1], captured);
            }
            Line l = {.module = module, .func = both, .s = s};
            l.function = graph_copy(module, flat, f->results.data[0], both, &known);
            l.slope = graph_copy(module, jvp, g->results.data[0], both, &other);
            line_open(&l);
            Interval slopes;
            if (bound_line(&l, &slopes) && size_of(slopes) < UNBOUNDED) bound = size_of(slopes);
            line_free(&l);
            map_free(&known);
            map_free(&other);
        }
    }
    operator_release(module, mark);
    return bound;
}

bool sector_scalar(Module *module, FuncId func, Node flux, Node s, Interval *sector) {
    if (!is_continuous(graph_get(module, func), flux, s)) return false;
    /* Φ on its own: the flux as a function of a number */
    ModuleMark mark = operator_mark(module);
    FuncId alone = graph_func(module, 0);
    Map known = {0};
    Node x = graph_param(module, alone, graph_node(graph_get(module, func), s)->type, 0);
    map_set(&known, s, x);
    Node phi = graph_copy(module, func, flux, alone, &known);
    vec_push(&graph_get(module, alone)->results, phi);
    map_free(&known);
    FuncId jvp = jvp_func(module, alone, NULL);
    bool ok = false;
    if (jvp) {
        const Func *g = graph_get(module, jvp);
        Map other = {0};
        map_set(&other, g->params.data[0], x);
        map_set(&other, g->params.data[1], graph_const(module, alone, 1));
        Line l = {.module = module, .func = alone, .s = x, .function = phi, .ratio = true};
        l.slope = graph_copy(module, jvp, g->results.data[0], alone, &other);
        line_open(&l);
        /* near 0 the mean value theorem bounds Φ(s)/s by slopes, if Φ(0) = 0 */
        Interval at_zero;
        evaluate(&l, 0, 0);
        at_zero = l.range[phi];
        ok = at_zero.low == 0 && at_zero.high == 0 && bound_line(&l, sector);
        line_free(&l);
        map_free(&other);
    }
    operator_release(module, mark);
    return ok;
}
