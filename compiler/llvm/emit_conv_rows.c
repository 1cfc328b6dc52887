/* Convolutions that make few channels: tiles of rows.
 *
 * Number x of a row is the sum over kx of S(kx, x + kx), where S(kx, x) sums the products of the weights at kx over all
 * channels and taps along y (and z). The sums S are made first: a vector that is read is used for every kx, and stands as
 * the padded row does, so that it is one line of the cache. What is made lags behind what is read by as many whole vectors
 * as hold taps - 1 numbers: the heads, which a tile leaves to the next one of its row. */
#include "compiler/llvm/emit_conv.h"

enum { MOST_VECTORS = 8, MOST_TAPS = 9 }; /* compiler/kernel/tiles.c; conv_by_rows */

/* The narrowest tile that there is: a row of fewer vectors reads beyond its end. */
static uint32_t least_vectors(const CE *c) { return (c->tile.vectors + 1) / 2; }

static uint32_t head_vectors(const CE *c) {
    return (c->conv->size[0] - 1 + c->e->lanes - 1) / c->e->lanes;
}

/* Parameters of a tile. R_ROWS: where the rows that it reads stand after R_X. R_REST: where the
 * numbers of the last heads go at the end of a row, else null. */
enum { R_X, R_OFFSETS, R_WEIGHTS, R_TURNS, R_ROWS, R_HEADS, R_OUT, R_REST, R_COUNT };

/* Weight at (kx, ky), in the order of the padded array: the taps of a transpose stand backwards there. */
static LLVMValueRef weight_at(CE *c, LLVMValueRef w, uint32_t kx, uint32_t ky) {
    uint32_t nx = c->conv->size[0], at = ky * nx + kx;
    if (c->form == CONV_TRANSPOSED) at = nx * c->conv->size[1] - 1 - at;
    return emit_splat(c->e, cv_load(c, c->e->real, cv_at(c, w, cv_int(c, at))));
}

static uint32_t turns_in_all(const CE *c) {
    return conv_depth(c) / (c->conv->size[0] * c->conv->size[1]);
}

/* Does what the rows of a tile read, of all channels and planes, not stay in the first-level cache? */
static bool reads_much(const CE *c) {
    enum { CACHE = 40 << 10 };
    uint32_t rows = c->tile.rows + c->conv->size[1] - 1;
    return turns_in_all(c) * rows * c->tile.vectors * c->e->lanes * c->e->size > CACHE;
}

/* Of a turn: the row that the next row of the tile will read beside those of this one. */
static void prefetch_row(CE *c, LLVMValueRef f, LLVMValueRef at, uint32_t vectors) {
    LLVMValueRef next = conv_int_at(c, LLVMGetParam(f, R_ROWS), cv_int(c, c->conv->size[1]));
    at = LLVMBuildGEP2(c->e->b, c->e->real, at, &next, 1, ""); /* it may lie beyond the last row */
    for (uint32_t v = 0; v < vectors; v++) cv_prefetch(c, at, (int64_t)v * c->e->lanes);
}

/* sum[kx vectors + v] += w x, for the turns [from, to): channels and planes of taps. */
static void add_planes(CE *c, LLVMValueRef f, uint32_t vectors, LLVMValueRef from, LLVMValueRef to,
                       LLVMValueRef *sum) {
    Emit *e = c->e;
    uint32_t nx = c->conv->size[0], ny = c->conv->size[1];
    int64_t plane = (int64_t)nx * ny;
    Counting loop;
    LLVMValueRef turn = cv_loop(c, &loop, from, to, 1), x[MOST_VECTORS];
    LLVMValueRef k = cv_times(c, turn, plane), w = cv_at(c, LLVMGetParam(f, R_WEIGHTS), k);
    LLVMValueRef first = cv_plus(c, k, c->form == CONV_TRANSPOSED ? plane - 1 : 0);
    LLVMValueRef at =
        cv_at(c, LLVMGetParam(f, R_X), conv_int_at(c, LLVMGetParam(f, R_OFFSETS), first));
    if (reads_much(c)) prefetch_row(c, f, at, vectors);
    for (uint32_t ky = 0; ky < ny; ky++) {
        LLVMValueRef row = cv_at(c, at, conv_int_at(c, LLVMGetParam(f, R_ROWS), cv_int(c, ky)));
        for (uint32_t v = 0; v < vectors; v++)
            x[v] = cv_load(c, cv_vector(c), cv_at(c, row, cv_int(c, (int64_t)v * e->lanes)));
        for (uint32_t kx = 0; kx < nx; kx++) {
            LLVMValueRef weight = weight_at(c, w, kx, ky);
            for (uint32_t v = 0; v < vectors; v++) {
                LLVMValueRef s = sum[kx * vectors + v],
                             old = LLVMBuildLoad2(e->b, cv_vector(c), s, "");
                LLVMBuildStore(e->b, cv_fma(c, weight, x[v], old), s);
            }
        }
    }
    emit_loop_end(e, &loop);
}

/* Numbers [by, by + lanes) of two vectors one after another. */
static LLVMValueRef shifted(CE *c, LLVMValueRef a, LLVMValueRef b, uint32_t by) {
    LLVMValueRef lane[64];
    if (by == 0) return a;
    for (uint32_t l = 0; l < c->e->lanes; l++) lane[l] = LLVMConstInt(c->e->i32, l + by, false);
    return LLVMBuildShuffleVector(c->e->b, a, b, LLVMConstVector(lane, c->e->lanes), "");
}

static LLVMValueRef head_at(CE *c, LLVMValueRef f, uint32_t kx, uint32_t h) {
    return cv_at(c, LLVMGetParam(f, R_HEADS),
                 cv_int(c, (int64_t)(kx * head_vectors(c) + h) * c->e->lanes));
}

/* Vectors [from, end) of what is made, to `to`. s[kx]: heads, then sums, `count` in all. */
static void store_made(CE *c, LLVMValueRef (*s)[2 * MOST_VECTORS], uint32_t count, uint32_t from,
                       uint32_t end, LLVMValueRef to) {
    Emit *e = c->e;
    /* sums beyond the last: of what is not there */
    LLVMValueRef none = emit_number(e, cv_vector(c), 0), made = NULL;
    for (uint32_t v = from; v < end; v++) {
        for (uint32_t kx = 0; kx < c->conv->size[0]; kx++) {
            uint32_t at = v + kx / e->lanes;
            LLVMValueRef a = at < count ? s[kx][at] : none,
                         b = at + 1 < count ? s[kx][at + 1] : none;
            LLVMValueRef term = shifted(c, a, b, kx % e->lanes);
            made = kx ? LLVMBuildFAdd(e->b, made, term, "") : term;
        }
        cv_store(c, made, cv_at(c, to, cv_int(c, (int64_t)(v - from) * e->lanes)));
    }
}

/* Heads and sums become what is made; the last sums are the next heads. */
static void shift_and_add(CE *c, LLVMValueRef f, uint32_t vectors, LLVMValueRef *sum) {
    Emit *e = c->e;
    uint32_t heads = head_vectors(c), all = heads + vectors;
    LLVMValueRef s[MOST_TAPS][2 * MOST_VECTORS], rest = LLVMGetParam(f, R_REST);
    Guard g;
    for (uint32_t kx = 0; kx < c->conv->size[0]; kx++) {
        for (uint32_t h = 0; h < heads; h++)
            s[kx][h] = cv_load(c, cv_vector(c), head_at(c, f, kx, h));
        for (uint32_t v = 0; v < vectors; v++)
            s[kx][heads + v] = LLVMBuildLoad2(e->b, cv_vector(c), sum[kx * vectors + v], "");
        for (uint32_t h = 0; h < heads; h++) cv_store(c, s[kx][vectors + h], head_at(c, f, kx, h));
    }
    store_made(c, s, all, 0, vectors, LLVMGetParam(f, R_OUT));
    cv_when(c, &g, LLVMBuildIsNotNull(e->b, rest, ""));
    store_made(c, s, all, vectors, all, rest);
    cv_end(c, &g);
}

/* tile(…): some vectors of a row. */
static LLVMValueRef rows_tile(CE *c, uint32_t vectors) {
    Emit *e = c->e;
    LLVMBasicBlockRef back = LLVMGetInsertBlock(e->b);
    LLVMTypeRef p = e->ptr, i = e->i64, types[R_COUNT] = {p, p, p, i, p, p, p, p};
    const char *what = arena_format(e->arena, "tile_%u", vectors);
    LLVMValueRef f = LLVMGetNamedFunction(e->module, conv_tile_name(c, what)), sum[MOST_SUMS] = {0};
    if (f) return f;
    f = conv_tile_function(c, what, types, R_COUNT);
    conv_sum_runs(c, f, vectors, LLVMGetParam(f, R_TURNS), c->conv->size[1], turns_in_all(c),
                  add_planes, sum, c->conv->size[0] * vectors);
    shift_and_add(c, f, vectors, sum);
    LLVMBuildRetVoid(e->b);
    LLVMPositionBuilderAtEnd(e->b, back);
    return f;
}

/* The tile of so many vectors, which are known when it runs. */
static LLVMValueRef tile_of(CE *c, LLVMValueRef vectors) {
    LLVMValueRef tile = rows_tile(c, c->tile.vectors);
    for (uint32_t v = c->tile.vectors; v-- > least_vectors(c);)
        tile = cv_if(c, LLVMBuildICmp(c->e->b, LLVMIntEQ, vectors, cv_int(c, v), ""),
                     rows_tile(c, v), tile);
    return tile;
}

/* Zeros before the cells of a padded row that are not stored: rows of a chain begin with the cells. */
static int64_t zeros_left_out(const CE *c) { return c->ring ? c->p.axis[0].low : 0; }

/* A tile of a row, from number x on of what is read. At the ends of the row it makes numbers that are not of it, and
 * goes through the window. */
typedef struct {
    LLVMValueRef window, heads, rows, tile, x, vectors, last; /* last: i1 */
} RowTile;

static void emit_row_tile(CE *c, const ConvGather *g, const RowTile *t, LLVMValueRef y,
                          LLVMValueRef row) {
    Emit *e = c->e;
    LLVMValueRef lag = cv_int(c, (int64_t)head_vectors(c) * e->lanes), zero = cv_int(c, 0);
    LLVMValueRef width = cv_times(c, t->vectors, e->lanes),
                 at = cv_sub(c, cv_plus(c, t->x, zeros_left_out(c)), lag);
    LLVMValueRef from = emit_max(e, at, zero),
                 end = cv_if(c, t->last, c->made[0], cv_add(c, at, width));
    LLVMValueRef inside = LLVMBuildICmp(e->b, LLVMIntSGE, at, zero, "");
    LLVMValueRef direct = LLVMBuildAnd(e->b, inside, LLVMBuildNot(e->b, t->last, ""), "");
    LLVMValueRef args[R_COUNT], row_of = g->from ? cv_sub(c, y, g->from) : y;
    LLVMValueRef to = cv_at(c, g->to.base, cv_mul(c, row_of, g->to.y));
    args[R_X] = cv_at(c, g->x, t->x);
    args[R_OFFSETS] = g->offsets;
    args[R_WEIGHTS] = g->weights;
    args[R_TURNS] = cv_int(c, (int64_t)c->p.in * c->conv->size[2]);
    args[R_ROWS] = LLVMBuildInBoundsGEP2(e->b, e->i64, t->rows, &row, 1, "");
    args[R_HEADS] = cv_at(c, t->heads,
                          cv_times(c, row, (int64_t)c->conv->size[0] * head_vectors(c) * e->lanes));
    args[R_OUT] = cv_if(c, direct, cv_at(c, to, from), t->window);
    args[R_REST] = cv_if(c, t->last, cv_at(c, t->window, width), LLVMConstNull(e->ptr));
    LLVMBuildCall2(e->b, LLVMGlobalGetValueType(rows_tile(c, c->tile.vectors)), t->tile, args,
                   R_COUNT, "");
    LLVMValueRef count = cv_if(c, direct, zero, emit_max(e, cv_sub(c, end, from), zero));
    conv_copy_run(c, cv_at(c, to, from), cv_at(c, t->window, cv_sub(c, from, at)), count);
}

static LLVMValueRef aligned_variable(CE *c, uint32_t vectors, const char *name) {
    LLVMTypeRef type = LLVMArrayType2(c->e->real, (uint64_t)vectors * c->e->lanes);
    LLVMValueRef v = emit_variable(c->e, type, name);
    LLVMSetAlignment(v, 64);
    return v;
}

/* Where the rows that a tile from y on reads stand, and the next one: one after another, or in a ring. */
static LLVMValueRef list_rows(CE *c, LLVMValueRef y) {
    Emit *e = c->e;
    uint32_t count = c->tile.rows + c->conv->size[1] - !reads_much(c);
    LLVMValueRef list = emit_variable(e, LLVMArrayType2(e->i64, count), "rows"),
                 row = c->ring ? conv_ring_row(c, y) : y;
    for (uint32_t i = 0; i < count; i++) {
        LLVMValueRef at = cv_plus(c, row, i), place = cv_int(c, i);
        if (c->ring) at = cv_if(c, cv_less(c, at, c->ring), at, cv_sub(c, at, c->ring));
        place = LLVMBuildInBoundsGEP2(e->b, e->i64, list, &place, 1, "");
        LLVMBuildStore(e->b, cv_mul(c, at, c->padded.y), place);
    }
    return list;
}

/* Where a row begins with cells, what comes before them is 0. */
static void clear_heads(CE *c, LLVMValueRef heads) {
    Counting vectors;
    int64_t count = (int64_t)c->tile.rows * c->conv->size[0] * head_vectors(c);
    LLVMValueRef i =
        cv_loop(c, &vectors, cv_int(c, 0), cv_int(c, count * c->e->lanes), c->e->lanes);
    cv_store(c, emit_number(c->e, cv_vector(c), 0), cv_at(c, heads, i));
    emit_loop_end(c->e, &vectors);
}

/* The vectors of a row are shared out evenly among its tiles. */
void conv_gather_rows(CE *c, const ConvGather *g, LLVMValueRef y) {
    Emit *e = c->e;
    uint32_t nx = c->conv->size[0], heads = head_vectors(c), most = c->tile.vectors;
    RowTile t = {.window = aligned_variable(c, heads + most, "window"),
                 .heads = aligned_variable(c, c->tile.rows * nx * heads + 1, "heads"),
                 .rows = list_rows(c, y)};
    Counting tiles, rows;
    LLVMValueRef valid = emit_min(e, cv_sub(c, c->made[1], y), cv_int(c, c->tile.rows));
    LLVMValueRef all = c->ring ? c->m[0] : cv_plus(c, c->made[0], (int64_t)nx - 1);
    if (c->ring) clear_heads(c, t.heads);
    all = cv_ceil(c, all, cv_int(c, e->lanes));
    LLVMValueRef count = cv_ceil(c, all, cv_int(c, most)), each = cv_div(c, all, count);
    LLVMValueRef more = cv_rem(c, all, count);
    LLVMValueRef i = cv_loop(c, &tiles, cv_int(c, 0), count, 1);
    t.x = cv_times(c, cv_add(c, cv_mul(c, i, each), emit_min(e, i, more)), e->lanes);
    t.vectors = cv_if(c, cv_less(c, i, more), cv_plus(c, each, 1), each);
    t.vectors = emit_max(e, t.vectors, cv_int(c, least_vectors(c)));
    t.last = LLVMBuildICmp(e->b, LLVMIntEQ, cv_plus(c, i, 1), count, "");
    t.tile = tile_of(c, t.vectors);
    LLVMValueRef row = cv_loop(c, &rows, cv_int(c, 0), valid, 1);
    emit_row_tile(c, g, &t, cv_add(c, y, row), row);
    emit_loop_end(e, &rows);
    emit_loop_end(e, &tiles);
}

void conv_chain_tile(CE *c, LLVMValueRef x, LLVMValueRef y, const ConvArray *to,
                     LLVMValueRef first) {
    Counting channels;
    LLVMValueRef zero = cv_int(c, 0);
    ConvGather g = {.offsets = conv_offsets(c, zero), .x = x, .to = *to, .from = first};
    LLVMValueRef o = cv_loop(c, &channels, zero, cv_int(c, c->p.out), 1);
    g.weights = conv_packed(c, zero, o);
    g.to.base = cv_at(c, to->base, cv_mul(c, o, to->channel));
    conv_gather_rows(c, &g, y);
    emit_loop_end(c->e, &channels);
}
