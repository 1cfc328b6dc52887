/* Tiles of convolutions: the rules, and what they cost.
 *
 * Registers hold the sums, the vectors, and weights; there are sums enough to hide the latency of two units that add. */
#include "compiler/kernel/tiles.h"

#include <math.h>

/* ---- rules --------------------------------------------------------------------------------------- */

uint32_t conv_gathered(const Conv *conv, ConvForm form) {
    ConvPlan p = conv_plan(conv, form);
    uint32_t most = p.in;
    for (uint32_t a = 0; a < MAX_RANK; a++) {
        uint32_t taps = 0;
        for (uint32_t r = 0; r < p.axis[a].made_split; r++) {
            uint32_t count = conv_taps(conv, form, a, r).count;
            taps = count > taps ? count : taps;
        }
        most *= taps;
    }
    return most;
}

typedef ConvTile TileRule(const TileFor *f, const ConvPlan *p);

/* What a chain reads of FORWARD is a part of a row of all channels. */
static bool of_parts(const TileFor *f) { return f->chained && f->form == CONV_FORWARD; }

/* What its rows read stands in the first-level cache from one row to the next. */
static ConvTile tile_of_rows(const TileFor *f, const ConvPlan *p) {
    uint32_t taps = f->conv->size[0], most = taps == 1 ? 8 : 4;
    if (f->form == CONV_WEIGHTS || of_parts(f) || p->out > 3 || !conv_by_rows(f->conv))
        return (ConvTile){0};
    uint32_t vectors = (f->many ? 24 : 12) / taps;
    vectors = vectors < 1 ? 1 : vectors > most ? most : vectors;
    return (ConvTile){.channels = 1, .rows = f->many ? 5 : 4, .vectors = vectors};
}

/* A part of a row may end anywhere: what whole tiles leave is for narrower ones. */
static ConvTile tile_of_parts(const TileFor *f, const ConvPlan *p) {
    if (!of_parts(f) || p->out < 8) return (ConvTile){0};
    return (ConvTile){.channels = f->many ? 8 : 4, .vectors = 3};
}

/* The transposed convolution of a chain is summed by rows. */
static bool gathers(const TileFor *f) {
    return f->form != CONV_WEIGHTS && !(f->chained && f->form == CONV_TRANSPOSED);
}

static ConvTile tile_of_channels(const TileFor *f, const ConvPlan *p) {
    ConvTile t = {.channels = f->many ? 8 : 4, .vectors = f->many ? 2 : 3};
    if (!gathers(f)) return (ConvTile){0};
    while (t.channels > p->out && t.channels > 1) { /* fewer channels: more vectors */
        t.channels /= 2;
        t.vectors = t.vectors * 2 > (f->many ? 12 : 8) ? t.vectors : t.vectors * 2;
    }
    return t;
}

static ConvTile tile_square(const TileFor *f, const ConvPlan *p) {
    if (!gathers(f) || p->out < 4) return (ConvTile){0};
    return (ConvTile){.channels = f->many ? 4 : 3, .vectors = f->many ? 4 : 3};
}

static ConvTile tile_of_taps(const TileFor *f, const ConvPlan *p) {
    if (f->form != CONV_WEIGHTS) return (ConvTile){0};
    uint32_t channels = f->many ? 4 : 2, depth = conv_gathered(f->conv, f->form);
    if (channels > p->out) channels = p->out;
    uint32_t taps = (f->many ? 24 : 10) / channels, parts = (depth + taps - 1) / taps;
    return (ConvTile){.channels = channels, .vectors = 1, .taps = (depth + parts - 1) / parts};
}

/* Where channels are whole vectors on both sides; lines of so many numbers are whole tiles of WEIGHTS. */
static ConvTile tile_of_lines(const TileFor *f, const ConvPlan *p, uint32_t line) {
    /* vectors; sums; cells, and those of a smaller tile, of which rows of powers of 2 and of 10 are whole numbers */
    typedef struct {
        uint32_t vectors, terms, cells, less;
    } Sizes;
    static const Sizes wide[] = {{4, 6, 6, 5}, {3, 8, 8, 7}, {2, 12, 8, 7}, {1, 24, 16, 14}};
    static const Sizes narrow[] = {{2, 6, 6, 5}, {1, 12, 8, 7}};
    if (f->chained || f->lanes < 4 || f->conv->groups > 1 || p->phases > 1 || p->made_phases > 1)
        return (ConvTile){0};
    if (p->in % f->lanes || p->out % f->lanes) return (ConvTile){0};
    const Sizes *w = f->many ? wide : narrow;
    while (p->out / f->lanes % w->vectors) w++;
    ConvTile t = {
        .last = true, .vectors = w->vectors, .cells = w->cells, .less = w->less, .taps = w->terms};
    t.channels = t.vectors * f->lanes;
    if (line % t.taps) t.taps = t.taps * 2 / 3;
    if (line % t.taps) t.taps = 4;
    return t;
}

static ConvTile tile_last(const TileFor *f, const ConvPlan *p) {
    return tile_of_lines(f, p, p->in * (f->conv->dilation[0] == 1 ? f->conv->size[0] : 1));
}

/* Minimal filtering pays with taps of 3×3, and has the points of a segment on the stack. */
static ConvTile tile_winograd(const TileFor *f, const ConvPlan *p) {
    enum { MOST_IN = 512 }; /* of these: 440 KB of f64 */
    const Conv *c = f->conv;
    ConvTile t = tile_of_lines(f, p, p->in);
    bool square = c->rank == 2 && c->size[0] == 3 && c->size[1] == 3 && c->dilation[0] == 1 &&
                  c->dilation[1] == 1;
    if (!square || f->exact || p->in > MOST_IN) return (ConvTile){0};
    t.winograd = t.channels > 0;
    return t;
}

static TileRule *const rules[CONV_WAYS] = {
    [WAY_any] = NULL,
#define TILE(name, rule, what) [WAY_##name] = rule,
#include "compiler/kernel/tiles.def"
#undef TILE
};

const char *const conv_way_names[CONV_WAYS] = {
    [WAY_any] = "any",
#define TILE(name, rule, what) [WAY_##name] = #name,
#include "compiler/kernel/tiles.def"
#undef TILE
};

ConvTile conv_tile(const TileFor *f, ConvWay way) {
    ConvPlan p = conv_plan(f->conv, f->form);
    return rules[way] ? rules[way](f, &p) : (ConvTile){0};
}

/* ---- the model ------------------------------------------------------------------------------------ */

#define LATENCY 4.0  /* cycles until a sum can be added to again */
#define CALL    20.0 /* of a tile, beside its sums */
#define MOVE    5.0  /* of a vector, to or from channels last */
#define READ    32.0 /* of the 16 points of a vector of channels that is read, */
#define MAKE    24.0 /* of one that is made */
#define COPY    2.0  /* of a vector, to a padded row */

/* A step adds to `sums` sums; of its loads some are aligned, or of one number for all lanes, others across a line of the
 * cache, which cost something even where the units that add are what it waits for. */
static double step(double sums, double aligned, double across) {
    return fmax(fmax(sums / 2, LATENCY), (aligned + 2 * across) / 2) + across / 4;
}

static double gather_cost(const TileFor *f, const ConvPlan *p, const ConvTile *t) {
    double depth = conv_gathered(f->conv, f->form), in = p->in, out = p->out,
           copy = COPY * in / out;
    double sums = t->channels * t->vectors, blocks = ceil(out / t->channels) * t->channels / out;
    if (t->rows) {
        double taps = f->conv->size[0];
        sums = taps * t->vectors;
        double shifts = (taps - 1) * t->vectors + 2 * taps; /* with the heads */
        return (depth / taps * step(sums, t->vectors + taps, 0) + shifts + CALL) / t->vectors +
               copy;
    }
    if (!t->last)
        return (depth * step(sums, t->channels, t->vectors) + sums + CALL) / sums * blocks + copy;
    sums = t->cells * t->vectors;
    if (t->winograd) /* of 4 cells: 16 sums over the channels, adding before and after them */
        return (16 * (in * step(sums, t->cells + t->vectors, 0) + 2 * sums + CALL) / sums +
                READ * in / out + MAKE) /
                   4 +
               MOVE * (1 + in / out);
    return (depth * step(sums, t->cells + t->vectors, 0) + 2 * sums + CALL) / sums +
           MOVE * (1 + in / out);
}

static double sums_cost(const TileFor *f, const ConvPlan *p, const ConvTile *t) {
    double depth = conv_gathered(f->conv, f->form), in = p->in, out = p->out;
    double tiles = ceil(depth / t->taps), terms = t->taps * t->vectors;
    if (t->winograd) /* of 4 cells: 16 products with the channels, and adding before them */
        return (16 * in / terms * step(terms, t->taps + t->vectors, 0) + READ * in / out + MAKE) /
                   4 +
               MOVE * (1 + in / out);
    if (t->last)
        return tiles / t->vectors * step(t->taps * t->vectors, t->taps + t->vectors, 0) +
               MOVE * (1 + in / out);
    double blocks = ceil(out / t->channels);
    return tiles * blocks / out * step(t->taps * t->channels, t->channels, t->taps) +
           COPY * in / out;
}

double conv_tile_cost(const TileFor *f, ConvWay way) {
    ConvPlan p = conv_plan(f->conv, f->form);
    ConvTile t = conv_tile(f, way);
    if (!t.channels) return INFINITY;
    return f->form == CONV_WEIGHTS ? sums_cost(f, &p, &t) : gather_cost(f, &p, &t);
}

ConvWay conv_best_way(const TileFor *f) {
    ConvWay best = WAY_any;
    for (ConvWay w = WAY_any + 1; w < CONV_WAYS; w++)
        if (conv_tile(f, w).channels &&
            (best == WAY_any || conv_tile_cost(f, w) < conv_tile_cost(f, best)))
            best = w;
    return best;
}

ConvWay conv_way(const Plan *plan, uint32_t conv, ConvForm form, bool chained, bool many,
                 uint32_t lanes, bool exact) {
    TileFor f = {&plan->convs.data[conv], form, chained, many, lanes, exact};
    ConvWay given = chained ? WAY_any : (ConvWay)plan->ways.data[conv].of[form];
    return conv_tile(&f, given).channels ? given : conv_best_way(&f);
}
