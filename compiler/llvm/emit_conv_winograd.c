/* Convolutions of 3×3 taps with channels last, by minimal filtering: 2×2 cells of what is made come from 4×4 of what is read,
 *     Aᵀ ((G g Gᵀ) ⊙ (Bᵀ d B)) A
 * where the 16 products are summed over the channels as those of a convolution of one tap: 4 multiplications a cell and channel
 * in place of 9. Terms cancel a little, so that results are about twice as far from the truth as direct sums are, or less.
 *
 * S. Winograd: Arithmetic Complexity of Computations, 1980; A. Lavin, S. Gray: Fast algorithms for convolutional neural
 * networks, 2016 (F(2×2, 3×3)). */
#include "compiler/llvm/emit_conv.h"

enum {
    POINTS = 16,
    SIDE = 4,             /* POINTS = SIDE × SIDE: cells that are read along an axis */
    BLOCK_BYTES = 160 << 10, /* of the points of a segment: in the second-level cache */
    MOST_BLOCKS = 24,        /* 2×2 blocks of a segment */
};

static LLVMValueRef add(CE *c, LLVMValueRef a, LLVMValueRef b) { return LLVMBuildFAdd(c->e->b, a, b, ""); }
static LLVMValueRef sub(CE *c, LLVMValueRef a, LLVMValueRef b) { return LLVMBuildFSub(c->e->b, a, b, ""); }
static LLVMValueRef halve(CE *c, LLVMValueRef a) {
    return LLVMBuildFMul(c->e->b, a, emit_number(c->e, cv_vector(c), 0.5), "");
}

/* Bᵀ d, G g, Aᵀ m, for vectors `apart` from each other, in place; G makes four of three, Aᵀ two of four. */
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

int64_t conv_winograd_weights(const CE *c) { return c->tile.winograd ? (int64_t)POINTS * c->p.in * c->p.out : 0; }

/* Where the weights of a block of channels stand, at a point, for channel i of what is read. */
static LLVMValueRef weights_at(CE *c, LLVMValueRef block, LLVMValueRef point, LLVMValueRef i) {
    LLVMValueRef at = cv_add(c, cv_times(c, block, POINTS), point);
    at = cv_add(c, cv_times(c, at, c->p.in), i);
    LLVMValueRef direct = cv_int(c, (int64_t)conv_depth(c) * c->p.out); /* these stand before */
    return cv_at(c, conv_scratch(c, c->weights), cv_add(c, direct, cv_times(c, at, c->tile.channels)));
}

void conv_pack_winograd(CE *c, LLVMValueRef vector, LLVMValueRef i) {
    Emit *e = c->e;
    LLVMValueRef vectors = cv_int(c, c->tile.vectors), g[POINTS];
    LLVMValueRef block = cv_div(c, vector, vectors), lane = cv_times(c, cv_rem(c, vector, vectors), e->lanes);
    for (uint32_t y = 0; y < 3; y++)
        for (uint32_t x = 0; x < 3; x++) {
            LLVMValueRef from = conv_packed_last(c, block, cv_plus(c, i, (int64_t)(3 * y + x) * c->p.in));
            g[SIDE * y + x] = cv_load(c, cv_vector(c), cv_at(c, from, lane));
        }
    for (uint32_t x = 0; x < 3; x++) weigh_side(c, g + x, SIDE);
    for (uint32_t y = 0; y < SIDE; y++) weigh_side(c, g + SIDE * y, 1);
    for (uint32_t p = 0; p < POINTS; p++) cv_store(c, g[p], cv_at(c, weights_at(c, block, cv_int(c, p), i), lane));
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
} Points;

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
    LLVMValueRef from = cv_at(c, x, cv_add(c, cv_times(c, t, 2 * (int64_t)c->p.in), i));
    LLVMValueRef to = cv_at(c, p->read, cv_add(c, cv_times(c, t, c->p.in), i));
    for (uint32_t k = 0; k < POINTS; k++) {
        LLVMValueRef at = cv_plus(c, cv_times(c, c->padded.y, k / SIDE), (int64_t)(k % SIDE) * c->p.in);
        d[k] = cv_load(c, cv_vector(c), cv_at(c, from, at));
    }
    for (uint32_t k = 0; k < SIDE; k++) read_side(c, d + k, SIDE);
    for (uint32_t k = 0; k < SIDE; k++) read_side(c, d + SIDE * k, 1);
    for (uint32_t k = 0; k < POINTS; k++) cv_store(c, d[k], cv_at(c, to, cv_int(c, k * p->most * c->p.in)));
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
    for (uint32_t k = 0; k < POINTS; k++) m[k] = cv_load(c, cv_vector(c), cv_at(c, from, cv_int(c, k * p->most * made)));
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
    conv_products_last(c, cv_at(c, p->read, cv_times(c, k, p->most * c->p.in)), weights_at(c, block, k, cv_int(c, 0)),
                       cv_at(c, p->made, cv_times(c, k, p->most * c->tile.channels)), count);
    emit_loop_end(c->e, &points);
}

/* A unit: two rows of a block of channels, in segments. */
void conv_gather_winograd(CE *c, LLVMValueRef unit) {
    Emit *e = c->e;
    int64_t channels = c->tile.channels, most = most_blocks(c);
    LLVMValueRef all = cv_int(c, c->p.out / channels), block = cv_rem(c, unit, all), y = cv_times(c, cv_div(c, unit, all), 2);
    Points p = {.most = most, .read = array(c, POINTS * most * c->p.in, "read"), .made = array(c, POINTS * most * channels, "made"),
                .window = array(c, 4 * most * channels, "window")};
    ConvArray to = conv_last_array(c, block);
    LLVMValueRef x = cv_at(c, conv_scratch(c, c->padded.base), cv_mul(c, y, c->padded.y));
    LLVMValueRef blocks = cv_ceil(c, c->made[0], cv_int(c, 2)), pieces = cv_ceil(c, blocks, cv_int(c, most));
    LLVMValueRef length = cv_ceil(c, blocks, pieces);
    Counting segments;
    LLVMValueRef from = cv_loop(c, &segments, cv_int(c, 0), blocks, 0), first = cv_times(c, from, 2);
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
        conv_to_channels(c, cv_at(c, p.window, cv_int(c, 2 * most * channels * row)), (uint32_t)channels, part, cells);
        if (row) cv_end(c, &g);
    }
    segments.step = length;
    emit_loop_end(e, &segments);
}
