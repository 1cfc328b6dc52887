/* What a stencil is: its moments tell which derivative it approximates, and how well. */
#include "compiler/explain/build.h"

#include <math.h>
#include <string.h>

enum { MOST_ORDER = 9 };

typedef struct {
    uint32_t power[MAX_RANK];
    double value;
} Moment;

static double power(double x, uint32_t n) {
    double p = 1;
    while (n--) p *= x;
    return p;
}

static double factorial(uint32_t n) { return n < 2 ? 1 : n * factorial(n - 1); }

/* Moments of total order m of the weights from one channel to another: the sum of w (o h)^a / a!, which stands before
 * the derivative of orders a. Those that are not 0; `size` bounds what is rounding. */
static uint32_t moments(const Stencil *s, const Grid *g, uint32_t to, uint32_t from, uint32_t m,
                        Moment *out) {
    uint32_t n = 0;
    for (uint32_t c = 0; c <= (g->rank > 2 ? m : 0); c++)
        for (uint32_t b = 0; b <= (g->rank > 1 ? m - c : 0); b++) {
            uint32_t p[MAX_RANK] = {m - b - c, b, c};
            double sum = 0, size = 0;
            for (uint32_t i = 0; i < s->count; i++) {
                const Tap *t = &s->taps[i];
                if (t->to != to || t->from != from) continue;
                double x = t->weight;
                for (uint32_t a = 0; a < g->rank; a++)
                    x *= power(t->offset[a] * g->spacing[a], p[a]) / factorial(p[a]);
                sum += x;
                size += fabs(x);
            }
            if (size > 0 && fabs(sum) > 1e-9 * size) {
                out[n] = (Moment){{p[0], p[1], p[2]}, sum};
                n++;
            }
        }
    return n;
}

/* "∂xx", "∂xy" */
static void put_derivative(Text *out, const Moment *m) {
    static const char axes[] = "xyz";
    text_puts(out, "∂");
    for (uint32_t a = 0; a < MAX_RANK; a++)
        for (uint32_t k = 0; k < m->power[a]; k++) text_add(out, &axes[a], 1);
}

static bool is_laplacian(const Moment *m, uint32_t n, uint32_t rank) {
    if (n != rank || rank < 2) return false;
    for (uint32_t i = 0; i < n; i++) {
        bool second = false;
        for (uint32_t a = 0; a < rank; a++) second = second || m[i].power[a] == 2;
        if (!second || fabs(m[i].value - m[0].value) > 1e-9 * fabs(m[0].value)) return false;
    }
    return true;
}

static uint32_t taps_of(const Stencil *s, uint32_t to, uint32_t from) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < s->count; i++) n += s->taps[i].to == to && s->taps[i].from == from;
    return n;
}

static void put_factor(Text *out, double c) {
    if (fabs(c - 1) < 1e-9) return;
    if (fabs(c + 1) < 1e-9)
        text_puts(out, "-");
    else
        text_printf(out, "%.4g ", c);
}

/* A single tap, or weights that do not cancel. */
static void put_average(Text *out, const Stencil *s, uint32_t to, uint32_t from, double sum) {
    uint32_t taps = taps_of(s, to, from);
    bool positive = true;
    const Tap *one = NULL;
    for (uint32_t i = 0; i < s->count; i++)
        if (s->taps[i].to == to && s->taps[i].from == from) {
            positive = positive && s->taps[i].weight > 0;
            one = &s->taps[i];
        }
    if (taps == 1) {
        bool moved = one->offset[0] || one->offset[1] || one->offset[2];
        put_factor(out, one->weight);
        text_puts(out, moved ? "shift by (" : "the cell");
        for (uint32_t a = 0; moved && a < s->rank; a++)
            text_printf(out, a ? ", %d" : "%d", s->transposed ? -one->offset[a] : one->offset[a]);
        if (moved) text_puts(out, ")");
        return;
    }
    if (positive && fabs(sum - 1) < 1e-9)
        text_printf(out, "weighted mean of %u cells", taps);
    else
        text_printf(out, "stencil of %u cells", taps);
}

/* From one channel to one. The order of accuracy is said where it is more than 2. */
static void put_entry(Text *out, const Stencil *s, const Grid *g, uint32_t to, uint32_t from) {
    Moment m[MOST_ORDER * MOST_ORDER], next[MOST_ORDER * MOST_ORDER];
    for (uint32_t order = 0; order < MOST_ORDER; order++) {
        uint32_t n = moments(s, g, to, from, order, m);
        if (!n) continue;
        if (order == 0) {
            put_average(out, s, to, from, m[0].value);
            return;
        }
        if (is_laplacian(m, n, g->rank)) {
            put_factor(out, m[0].value);
            text_puts(out, "laplacian");
        } else
            for (uint32_t i = 0; i < n; i++) {
                if (i) text_puts(out, m[i].value < 0 ? " - " : " + ");
                put_factor(out, i ? fabs(m[i].value) : m[i].value);
                put_derivative(out, &m[i]);
            }
        uint32_t beyond = order + 1;
        while (beyond < MOST_ORDER && !moments(s, g, to, from, beyond, next)) beyond++;
        if (beyond < MOST_ORDER && beyond - order > 2)
            text_printf(out, " of order %u", beyond - order);
        if (n > 3) break;
        return;
    }
    if (!out->len) text_printf(out, "stencil of %u cells", taps_of(s, to, from));
}

/* Differences to the next cell along each axis, one after the other. */
static bool is_gradient(const Stencil *s, const Grid *g) {
    if (s->in_channels != 1 || s->out_channels != g->rank || s->count != 2 * g->rank) return false;
    for (uint32_t i = 0; i < s->count; i++) {
        const Tap *t = &s->taps[i];
        bool here = true, ahead = true;
        for (uint32_t a = 0; a < g->rank; a++) {
            here = here && t->offset[a] == 0;
            ahead = ahead && t->offset[a] == (a == t->to);
        }
        double h = g->spacing[t->to] * t->weight;
        if (!(here && fabs(h + 1) < 1e-9) && !(ahead && fabs(h - 1) < 1e-9)) return false;
    }
    return true;
}

const char *stencil_title(Builder *b, const Stencil *s, const Grid *g) {
    Text t = {0};
    if (is_gradient(s, g)) {
        text_puts(&t, s->transposed  ? "-divergence"
                      : g->rank == 1 ? "forward difference"
                                     : "gradient");
    } else {
        if (s->transposed) text_puts(&t, "adjoint of ");
        uint32_t entries = 0, begin = t.len;
        for (uint32_t to = 0; to < s->out_channels; to++)
            for (uint32_t from = 0; from < s->in_channels; from++)
                if (taps_of(s, to, from) && entries++ < 4) {
                    if (entries > 1) text_puts(&t, ", ");
                    Text one = {0};
                    put_entry(&one, s, g, to, from);
                    text_puts(&t, one.data ? one.data : "stencil");
                    text_free(&one);
                }
        if (entries > 4) {
            t.len = begin;
            text_printf(&t, "stencil of %u taps, %u → %u", s->count, s->in_channels,
                        s->out_channels);
        }
    }
    char *made = arena_text(b->arena, t.data ? t.data : "0", t.data ? t.len : 1);
    text_free(&t);
    return made;
}

static bool same_tap(const Tap *a, const Tap *b) {
    return memcmp(a->offset, b->offset, sizeof a->offset) == 0 && a->from == b->from &&
           a->to == b->to && a->weight == b->weight;
}

bool stencil_partners(const Stencil *a, const Stencil *b) {
    bool same = a->transposed != b->transposed && a->rank == b->rank && a->count == b->count &&
                a->in_channels == b->in_channels && a->out_channels == b->out_channels &&
                memcmp(a->sides, b->sides, sizeof a->sides) == 0;
    for (uint32_t i = 0; same && i < a->count; i++) same = same_tap(&a->taps[i], &b->taps[i]);
    return same;
}

const char *conv_title(Builder *b, const Conv *c, bool transposed) {
    Text t = {0};
    text_puts(&t, transposed ? "transposed convolution " : "convolution ");
    for (uint32_t a = c->rank; a-- > 0;) text_printf(&t, a ? "%u×" : "%u", c->size[a]);
    text_printf(&t, ", %u → %u", transposed ? c->out : c->in, transposed ? c->in : c->out);
    if (c->stride[0] > 1) text_printf(&t, ", stride %u", c->stride[0]);
    if (c->dilation[0] > 1) text_printf(&t, ", dilation %u", c->dilation[0]);
    if (c->groups > 1) text_printf(&t, ", %u groups", c->groups);
    char *made = arena_text(b->arena, t.data, t.len);
    text_free(&t);
    return made;
}
