/* Convolutions of 3×3 taps with channels last, by minimal filtering: 2×2 cells of what is made come from 4×4 of what is read,
 *     Aᵀ ((G g Gᵀ) ⊙ (Bᵀ d B)) A
 * where the 16 products are summed over the channels as those of a convolution of one tap: 4 multiplications a cell and channel
 * in place of 9. Terms cancel a little, so that results are about twice as far from the truth as direct sums are, or less.
 *
 * The gradient by the weights g is the transpose of that, where v are 2×2 cells of what the gradient comes from,
 *     Gᵀ (Σ (A v Aᵀ) ⊙ (Bᵀ d B)) G
 * summed over the blocks before G, so that this is done once for all.
 *
 * S. Winograd: Arithmetic Complexity of Computations, 1980; A. Lavin, S. Gray: Fast algorithms for convolutional neural
 * networks, 2016 (F(2×2, 3×3)). */
#include "compiler/llvm/emit_conv.h"

enum {
    POINTS = 16,
    SIDE = 4,                /* POINTS = SIDE × SIDE: cells that are read along an axis */
    BLOCK_BYTES = 160 << 10, /* of the points of a segment: in the second-level cache */
    SUMS_BYTES = 320 << 10,  /* the same of WEIGHTS, for whose sums a segment should be long */
    MOST_BLOCKS = 24,        /* 2×2 blocks of a segment */
};

static LLVMValueRef add(CE *c, LLVMValueRef a, LLVMValueRef b) {
    return LLVMBuildFAdd(c->e->b, a, b, "");
}
static LLVMValueRef sub(CE *c, LLVMValueRef a, LLVMValueRef b) {
    return LLVMBuildFSub(c->e->b, a, b, "");
}
static LLVMValueRef halve(CE *c, LLVMValueRef a) {
    return LLVMBuildFMul(c->e->b, a, emit_number(c->e, LLVMTypeOf(a), 0.5), "");
}

/* Bᵀ d, G g, Aᵀ m, A v, Gᵀ s, for vectors `apart` from each other, in place; G makes four of three, A of two; Aᵀ two of four,
 * Gᵀ three. */
static void read_side(CE *c, LLVMValueRef *d, uint32_t apart) {
    LLVMValueRef d0 = d[0], d1 = d[apart], d2 = d[2 * apart], d3 = d[3 * apart];
    d[0] = sub(c, d0, d2);
    d[apart] = add(c, d1, d2);
    d[2 * apart] = sub(c, d2, d1);
    d[3 * apart] = sub(c, d1, d3);
}
static void weigh_side(CE *c, LLVMValueRef *g, uint32_t apart) {
    LLVMValueRef ends = add(c, g[0], g[2 * apart]), middle = g[apart];
    g[3 * apart] = g[2 * apart];
    g[apart] = halve(c, add(c, ends, middle));
    g[2 * apart] = halve(c, sub(c, ends, middle));
}
static void make_side(CE *c, LLVMValueRef *m, uint32_t apart) {
    LLVMValueRef m1 = m[apart], m2 = m[2 * apart];
    m[0] = add(c, m[0], add(c, m1, m2));
    m[apart] = sub(c, sub(c, m1, m2), m[3 * apart]);
}

static void meet_side(CE *c, LLVMValueRef *v, uint32_t apart) {
    LLVMValueRef v0 = v[0], v1 = v[apart];
    v[apart] = add(c, v0, v1);
    v[2 * apart] = sub(c, v0, v1);
    v[3 * apart] = LLVMBuildFNeg(c->e->b, v1, "");
}
static void gather_side(CE *c, LLVMValueRef *s, uint32_t apart) {
    LLVMValueRef sum = halve(c, add(c, s[apart], s[2 * apart])),
                 difference = halve(c, sub(c, s[apart], s[2 * apart]));
    s[0] = add(c, s[0], sum);
    s[apart] = difference;
    s[2 * apart] = add(c, sum, s[3 * apart]);
}

int64_t conv_winograd_numbers(const CE *c) {
    return c->tile.winograd ? (int64_t)POINTS * c->p.in * c->p.out : 0;
}

/* Where the weights of a block of channels stand, at a point, for channel i of what is read. */
static LLVMValueRef weights_at(CE *c, LLVMValueRef block, LLVMValueRef point, LLVMValueRef i) {
    LLVMValueRef at = cv_add(c, cv_times(c, block, POINTS), point);
    at = cv_add(c, cv_times(c, at, c->p.in), i);
    LLVMValueRef direct = cv_int(c, (int64_t)conv_depth(c) * c->p.out); /* these stand before */
    return cv_at(c, conv_scratch(c, c->weights),
                 cv_add(c, direct, cv_times(c, at, c->tile.channels)));
}

/* In double: what is rounded of a weight is wrong in all cells in the same way, and so in every sum over these. */
void conv_pack_winograd(CE *c, LLVMValueRef vector, LLVMValueRef i) {
    Emit *e = c->e;
    LLVMTypeRef wide = LLVMVectorType(e->f64, e->lanes);
    LLVMValueRef vectors = cv_int(c, c->tile.vectors), g[POINTS];
    LLVMValueRef block = cv_div(c, vector, vectors),
                 lane = cv_times(c, cv_rem(c, vector, vectors), e->lanes);
    for (uint32_t y = 0; y < 3; y++)
        for (uint32_t x = 0; x < 3; x++) {
            LLVMValueRef from =
                conv_packed_last(c, block, cv_plus(c, i, (int64_t)(3 * y + x) * c->p.in));
            LLVMValueRef weight = cv_load(c, cv_vector(c), cv_at(c, from, lane));
            g[SIDE * y + x] = e->size == 4 ? LLVMBuildFPExt(e->b, weight, wide, "") : weight;
        }
    for (uint32_t x = 0; x < 3; x++) weigh_side(c, g + x, SIDE);
    for (uint32_t y = 0; y < SIDE; y++) weigh_side(c, g + SIDE * y, 1);
    for (uint32_t p = 0; p < POINTS; p++) {
        LLVMValueRef weight = e->size == 4 ? LLVMBuildFPTrunc(e->b, g[p], cv_vector(c), "") : g[p];
        cv_store(c, weight, cv_at(c, weights_at(c, block, cv_int(c, p), i), lane));
    }
}

/* ---- a segment of 2×2 blocks of two rows -------------------------------------------------------- */

/* Blocks of a segment, at most: a constant, as the points of a segment stand on the stack. */
static int64_t most_blocks(const CE *c) {
    int64_t most = BLOCK_BYTES / ((int64_t)POINTS * (c->p.in + c->tile.channels) * c->e->size);
    most = most < MOST_BLOCKS ? most : MOST_BLOCKS;
    return most > c->tile.cells ? most : c->tile.cells;
}

typedef struct {
    int64_t most;
    LLVMValueRef read, made, window; /* points of what is read, of what is made; two rows of that */
    /* Of WEIGHTS: so many rows and cells there are from x on; blocks may be beyond. The blocks stand after so many others. */
    LLVMValueRef rows, cells, before;
} Points;

/* Where the first of the channels of block t stand, of so many. */
static LLVMValueRef block_at(CE *c, const Points *p, LLVMValueRef t, int64_t channels) {
    return cv_times(c, p->before ? cv_add(c, p->before, t) : t, channels);
}

/* Where cell k of block t stands after the first cell of the segment; where there is none, that of the last one is read. */
static LLVMValueRef cell_at(CE *c, const Points *p, LLVMValueRef t, uint32_t k) {
    LLVMValueRef row = cv_int(c, k / SIDE), cell = cv_plus(c, cv_times(c, t, 2), k % SIDE);
    if (p->rows) {
        row = emit_min(c->e, row, cv_plus(c, p->rows, -1));
        cell = emit_min(c->e, cell, cv_plus(c, p->cells, -1));
    }
    return cv_add(c, cv_mul(c, row, c->padded.y), cv_times(c, cell, c->p.in));
}

static LLVMValueRef array(CE *c, int64_t numbers, const char *name) {
    LLVMValueRef a = emit_variable(c->e, LLVMArrayType2(c->e->real, (uint64_t)numbers), name);
    LLVMSetAlignment(a, 64);
    return a;
}

/* Blocks [0, count) at x, the first cell that they read. */
static void read_points(CE *c, const Points *p, LLVMValueRef x, LLVMValueRef count) {
    Counting blocks, channels;
    LLVMValueRef t = cv_loop(c, &blocks, cv_int(c, 0), count, 1), d[POINTS];
    LLVMValueRef i = cv_loop(c, &channels, cv_int(c, 0), cv_int(c, c->p.in), c->e->lanes);
    LLVMValueRef from = cv_at(c, x, i),
                 to = cv_at(c, p->read, cv_add(c, block_at(c, p, t, c->p.in), i));
    for (uint32_t k = 0; k < POINTS; k++)
        d[k] = cv_load(c, cv_vector(c), cv_at(c, from, cell_at(c, p, t, k)));
    for (uint32_t k = 0; k < SIDE; k++) read_side(c, d + k, SIDE);
    for (uint32_t k = 0; k < SIDE; k++) read_side(c, d + SIDE * k, 1);
    for (uint32_t k = 0; k < POINTS; k++)
        cv_store(c, d[k], cv_at(c, to, cv_int(c, k * p->most * c->p.in)));
    emit_loop_end(c->e, &channels);
    emit_loop_end(c->e, &blocks);
}

static void make_cells(CE *c, const Points *p, LLVMValueRef count) {
    Counting blocks, channels;
    int64_t made = c->tile.channels;
    LLVMValueRef t = cv_loop(c, &blocks, cv_int(c, 0), count, 1), m[POINTS];
    LLVMValueRef o = cv_loop(c, &channels, cv_int(c, 0), cv_int(c, made), c->e->lanes);
    LLVMValueRef from = cv_at(c, p->made, cv_add(c, cv_times(c, t, made), o));
    LLVMValueRef to = cv_at(c, p->window, cv_add(c, cv_times(c, t, 2 * made), o));
    for (uint32_t k = 0; k < POINTS; k++)
        m[k] = cv_load(c, cv_vector(c), cv_at(c, from, cv_int(c, k * p->most * made)));
    for (uint32_t k = 0; k < SIDE; k++) make_side(c, m + k, SIDE);
    for (uint32_t y = 0; y < 2; y++) {
        make_side(c, m + SIDE * y, 1);
        for (uint32_t x = 0; x < 2; x++)
            cv_store(c, m[SIDE * y + x], cv_at(c, to, cv_int(c, (2 * p->most * y + x) * made)));
    }
    emit_loop_end(c->e, &channels);
    emit_loop_end(c->e, &blocks);
}

static void sum_points(CE *c, const Points *p, LLVMValueRef block, LLVMValueRef count) {
    Counting points;
    LLVMValueRef k = cv_loop(c, &points, cv_int(c, 0), cv_int(c, POINTS), 1);
    conv_products_last(c, cv_at(c, p->read, cv_times(c, k, p->most * c->p.in)),
                       weights_at(c, block, k, cv_int(c, 0)),
                       cv_at(c, p->made, cv_times(c, k, p->most * c->tile.channels)), count);
    emit_loop_end(c->e, &points);
}

/* A unit: two rows of a block of channels, in segments. */
void conv_gather_winograd(CE *c, LLVMValueRef unit) {
    Emit *e = c->e;
    int64_t channels = c->tile.channels, most = most_blocks(c);
    LLVMValueRef all = cv_int(c, c->p.out / channels), block = cv_rem(c, unit, all),
                 y = cv_times(c, cv_div(c, unit, all), 2);
    Points p = {.most = most,
                .read = array(c, POINTS * most * c->p.in, "read"),
                .made = array(c, POINTS * most * channels, "made"),
                .window = array(c, 4 * most * channels, "window")};
    ConvArray to = conv_last_array(c, block);
    LLVMValueRef x = cv_at(c, conv_scratch(c, c->padded.base), cv_mul(c, y, c->padded.y));
    LLVMValueRef blocks = cv_ceil(c, c->made[0], cv_int(c, 2)),
                 pieces = cv_ceil(c, blocks, cv_int(c, most));
    LLVMValueRef length = cv_ceil(c, blocks, pieces);
    Counting segments;
    LLVMValueRef from = cv_loop(c, &segments, cv_int(c, 0), blocks, 0),
                 first = cv_times(c, from, 2);
    LLVMValueRef count = emit_min(e, cv_sub(c, blocks, from), length);
    read_points(c, &p, cv_at(c, x, cv_times(c, first, c->p.in)), count);
    sum_points(c, &p, block, count);
    make_cells(c, &p, count);
    LLVMValueRef cells = emit_min(e, cv_sub(c, c->made[0], first), cv_times(c, count, 2));
    for (uint32_t row = 0; row < 2; row++) {
        Guard g;
        ConvArray part = to;
        part.base = cv_at(c, to.base, cv_add(c, cv_mul(c, cv_plus(c, y, row), to.y), first));
        if (row) cv_when(c, &g, cv_less(c, cv_plus(c, y, row), c->made[1]));
        conv_to_channels(c, cv_at(c, p.window, cv_int(c, 2 * most * channels * row)),
                         (uint32_t)channels, part, cells);
        if (row) cv_end(c, &g);
    }
    segments.step = length;
    emit_loop_end(e, &segments);
}

/* ---- the gradient by the weights ------------------------------------------------------------------ */

/* Blocks [0, count) of what the gradient comes from, whose first cell is at v: of `rows` rows and `cells` cells; beyond these
 * it is 0. */
static void meet_points(CE *c, const Points *p, LLVMValueRef v, LLVMValueRef rows,
                        LLVMValueRef cells, LLVMValueRef count) {
    Counting blocks, channels;
    int64_t made = c->tile.channels;
    LLVMValueRef zero = emit_number(c->e, cv_vector(c), 0), point[POINTS];
    LLVMValueRef t = cv_loop(c, &blocks, cv_int(c, 0), count, 1);
    LLVMValueRef o = cv_loop(c, &channels, cv_int(c, 0), cv_int(c, made), c->e->lanes);
    LLVMValueRef to = cv_at(c, p->made, cv_add(c, block_at(c, p, t, made), o));
    for (uint32_t k = 0; k < 4; k++) {
        LLVMValueRef row = cv_int(c, k / 2), cell = cv_plus(c, cv_times(c, t, 2), k % 2);
        LLVMValueRef there =
            LLVMBuildAnd(c->e->b, cv_less(c, row, rows), cv_less(c, cell, cells), "");
        LLVMValueRef at = cv_add(c, cv_mul(c, row, c->copied.y), cv_times(c, cell, c->p.out));
        at = cv_add(c, cv_if(c, there, at, cv_int(c, 0)), o);
        point[k / 2 * SIDE + k % 2] =
            cv_if(c, there, cv_load(c, cv_vector(c), cv_at(c, v, at)), zero);
    }
    for (uint32_t x = 0; x < 2; x++) meet_side(c, point + x, SIDE);
    for (uint32_t y = 0; y < SIDE; y++) meet_side(c, point + SIDE * y, 1);
    for (uint32_t k = 0; k < POINTS; k++)
        cv_store(c, point[k], cv_at(c, to, cv_int(c, k * p->most * made)));
    emit_loop_end(c->e, &channels);
    emit_loop_end(c->e, &blocks);
}

/* Adds a segment's products to the sums. */
static void add_products(CE *c, const Points *p, LLVMValueRef sums, LLVMValueRef count,
                         LLVMValueRef first) {
    Counting points;
    LLVMValueRef k = cv_loop(c, &points, cv_int(c, 0), cv_int(c, POINTS), 1);
    conv_outer_last(c, cv_at(c, p->read, cv_times(c, k, p->most * c->p.in)),
                    cv_at(c, p->made, cv_times(c, k, p->most * c->tile.channels)),
                    cv_at(c, sums, cv_times(c, k, (int64_t)c->p.in * c->p.out)), count, first);
    emit_loop_end(c->e, &points);
}

/* The sums at the points become those of the taps, in their places. */
static void gather_taps(CE *c, LLVMValueRef sums) {
    Counting read, channels;
    int64_t apart = (int64_t)c->p.in * c->p.out;
    LLVMValueRef i = cv_loop(c, &read, cv_int(c, 0), cv_int(c, c->p.in), 1), s[POINTS];
    LLVMValueRef o = cv_loop(c, &channels, cv_int(c, 0), cv_int(c, c->tile.channels), c->e->lanes);
    LLVMValueRef at = cv_at(c, sums, cv_add(c, cv_times(c, i, c->p.out), o));
    for (uint32_t k = 0; k < POINTS; k++)
        s[k] = cv_load(c, cv_vector(c), cv_at(c, at, cv_int(c, k * apart)));
    for (uint32_t x = 0; x < SIDE; x++) gather_side(c, s + x, SIDE);
    for (uint32_t y = 0; y < 3; y++) {
        gather_side(c, s + SIDE * y, 1);
        for (uint32_t x = 0; x < 3; x++)
            cv_store(c, s[SIDE * y + x], cv_at(c, at, cv_int(c, (3 * y + x) * apart)));
    }
    emit_loop_end(c->e, &channels);
    emit_loop_end(c->e, &read);
}

/* A chunk of rows, for a block of channels. */
typedef struct {
    LLVMValueRef first, end, channel, sums;
} Chunk;

/* The points of blocks [from, from + count) of the pair of rows y. */
static void fill_points(CE *c, const Points *p, const Chunk *k, LLVMValueRef y, LLVMValueRef from,
                        LLVMValueRef count) {
    Points here = *p;
    LLVMValueRef x = cv_times(c, from, 2);
    LLVMValueRef read = cv_add(c, cv_mul(c, y, c->padded.y), cv_times(c, x, c->p.in));
    LLVMValueRef met =
        cv_add(c, cv_mul(c, y, c->copied.y), cv_add(c, cv_times(c, x, c->p.out), k->channel));
    here.rows = cv_sub(c, c->extent[1], y);
    here.cells = cv_sub(c, c->extent[0], x);
    read_points(c, &here, cv_at(c, conv_scratch(c, c->padded.base), read), count);
    met = cv_at(c, conv_scratch(c, c->copied.base), met);
    meet_points(c, &here, met, cv_sub(c, k->end, y), cv_sub(c, c->made[0], x), count);
}

/* Segments are a part of a pair of rows, or some pairs. */
static void add_segments(CE *c, Points *p, const Chunk *k) {
    Emit *e = c->e;
    LLVMValueRef zero = cv_int(c, 0), blocks = cv_ceil(c, c->made[0], cv_int(c, 2)),
                 most = cv_int(c, p->most);
    LLVMValueRef length = cv_ceil(c, blocks, cv_ceil(c, blocks, most));
    LLVMValueRef some = cv_times(c, emit_max(e, cv_div(c, most, blocks), cv_int(c, 1)), 2);
    Counting rows, pairs, segments;
    LLVMValueRef y = cv_loop(c, &rows, k->first, k->end, 0),
                 from = cv_loop(c, &segments, zero, blocks, 0);
    LLVMValueRef stop = emit_min(e, cv_add(c, y, some), k->end),
                 count = emit_min(e, cv_sub(c, blocks, from), length);
    LLVMValueRef pair = cv_loop(c, &pairs, y, stop, 2);
    p->before = cv_mul(c, cv_div(c, cv_sub(c, pair, y), cv_int(c, 2)), count);
    fill_points(c, p, k, pair, from, count);
    emit_loop_end(e, &pairs);
    LLVMValueRef all = cv_mul(c, cv_ceil(c, cv_sub(c, stop, y), cv_int(c, 2)), count);
    LLVMValueRef others = LLVMBuildOr(e->b, cv_sub(c, y, k->first), from, "");
    add_products(c, p, k->sums, all, LLVMBuildICmp(e->b, LLVMIntEQ, others, zero, ""));
    segments.step = length;
    emit_loop_end(e, &segments);
    rows.step = some;
    emit_loop_end(e, &rows);
}

/* A unit: a block of channels, over a chunk of rows. */
void conv_sums_winograd(CE *c, LLVMValueRef unit) {
    Emit *e = c->e;
    int64_t channels = c->tile.channels,
            most = SUMS_BYTES / ((int64_t)POINTS * (c->p.in + channels) * e->size);
    LLVMValueRef all = cv_int(c, c->p.out / channels), block = cv_rem(c, unit, all),
                 chunk = cv_div(c, unit, all);
    Points p = {.most = most < 1 ? 1 : most};
    p.read = array(c, POINTS * p.most * c->p.in, "read");
    p.made = array(c, POINTS * p.most * channels, "met");
    Chunk k = {.first = cv_mul(c, chunk, c->block), .channel = cv_times(c, block, channels)};
    k.end = emit_min(e, cv_add(c, k.first, c->block), c->made[1]);
    k.sums = cv_at(c, conv_scratch(c, c->partial),
                   cv_add(c, cv_times(c, chunk, conv_winograd_numbers(c)), k.channel));
    add_segments(c, &p, &k);
    gather_taps(c, k.sums);
}
