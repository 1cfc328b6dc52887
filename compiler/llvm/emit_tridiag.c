/* Lines of tridiagonal systems (ops/tridiag.c) as LLVM IR.
 *
 * Many lines are eliminated side by side, row i of all of them after row i - 1: the numbers of a row stand one after the
 * other, so that vectors run across lines. Along y and z these are cells that neighbour on x; a unit is as many of them
 * as let what a sweep keeps of each row stay in the cache until the sweep back. Along x a unit is a group of lines, whose
 * cells are transposed a tile at a time; where there are too few lines for a group, one line is a unit. What is computed
 * for a line does not depend on the lines beside it.
 *
 * A unit's scratch holds rows of `pitch` numbers: c and y of ops/tridiag.c, each after a row of zeros; in a ring
 * (TRIDIAG_PERIODIC) also q, and the rows of Ring. Units of one call follow one another in the scratch of the first. */
#include "compiler/llvm/emit_host.h"

enum {
    SWEEP_BYTES = 1 << 18, /* of scratch of a unit along y, z: half of a small second-level cache */
    SWEEP_ROW = 128,       /* bytes of a row, at least */
    GROUP_BYTES = 128,     /* of a row of a group along x */
};

/* Words of a launch. CHANNELS: how many systems share the grid; APART: numbers from one to the next, by operand. */
enum { T_GRID, T_FIELD, T_X = T_FIELD + 4, T_SCRATCH, T_CHANNELS, T_APART, T_WORDS = T_APART + 4 };
_Static_assert((int)T_WORDS == (int)TRIDIAG_WORDS, "words of a launch");
enum { RIGHT, LOWER, DIAGONAL, UPPER, BANDS };
/* Rows after c, y and q: of the last row of the system its entry of the column that is eliminated, that of the last
 * unknown, its right side, its lower entry; then the last unknown. */
typedef enum { RING_FIRST, RING_END, RING_RIGHT, RING_LOWER, RING_X, RING_ROWS } Ring;

typedef struct {
    Emit *e;
    uint32_t axis, detail;
    bool ring;
    LLVMValueRef words;
    /* rows that are swept: all but the last of a ring */
    LLVMValueRef extent[MAX_RANK], stride[MAX_RANK], n, rows;
    LLVMValueRef lines, few;    /* along x: how many; fewer than a group? */
    LLVMValueRef width, blocks; /* along y, z: cells of a unit; units of a row */
    LLVMValueRef pitch, units, unit_bytes;
    LLVMValueRef scratch; /* of the unit */
} TE;

static LLVMValueRef num(TE *t, int64_t x) { return emit_i64(t->e, x); }

static LLVMValueRef at(TE *t, LLVMValueRef base, LLVMValueRef index) {
    return LLVMBuildGEP2(t->e->b, t->e->real, base, &index, 1, "");
}

static LLVMValueRef equal(TE *t, LLVMValueRef a, LLVMValueRef b) {
    return LLVMBuildICmp(t->e->b, LLVMIntEQ, a, b, "");
}

static LLVMValueRef minus(TE *t, LLVMValueRef a, int64_t b) { return plus(t->e, a, num(t, -b)); }

static LLVMValueRef load(TE *t, LLVMTypeRef type, LLVMValueRef base, LLVMValueRef index) {
    LLVMValueRef x = LLVMBuildLoad2(t->e->b, type, at(t, base, index), "");
    LLVMSetAlignment(x, t->e->size);
    return x;
}

static void store(TE *t, LLVMValueRef x, LLVMValueRef base, LLVMValueRef index) {
    LLVMSetAlignment(LLVMBuildStore(t->e->b, x, at(t, base, index)), t->e->size);
}

static LLVMTypeRef vector_type(TE *t) { return LLVMVectorType(t->e->real, t->e->lanes); }

static LLVMValueRef divide(TE *t, LLVMValueRef a, LLVMValueRef b) {
    return LLVMBuildSDiv(t->e->b, a, b, "");
}

static LLVMValueRef remainder_of(TE *t, LLVMValueRef a, LLVMValueRef b) {
    return LLVMBuildSRem(t->e->b, a, b, "");
}

/* c - a b */
static LLVMValueRef less(TE *t, LLVMValueRef c, LLVMValueRef a, LLVMValueRef b) {
    Emit *e = t->e;
    if (!e->plan->fma) return LLVMBuildFSub(e->b, c, LLVMBuildFMul(e->b, a, b, ""), "");
    LLVMValueRef args[3] = {LLVMBuildFNeg(e->b, a, ""), b, c};
    return emit_intrinsic(e, "llvm.fma", LLVMTypeOf(a), args, 3);
}

static LLVMValueRef zero_if(TE *t, LLVMValueRef condition, LLVMValueRef x) {
    return LLVMBuildSelect(t->e->b, condition, emit_number(t->e, LLVMTypeOf(x), 0), x, "");
}

/* ---- sizes ------------------------------------------------------------------------------------ */

static int64_t group_of(const Emit *e) {
    int64_t lines = GROUP_BYTES / e->size;
    return lines < e->lanes ? e->lanes : lines;
}

/* Everything that follows from the grid; needed where units are counted, and where they run. */
static void sizes(TE *t, LLVMValueRef grid, LLVMValueRef channels) {
    Emit *e = t->e;
    t->ring = t->detail & TRIDIAG_PERIODIC;
    for (uint32_t a = 0; a < MAX_RANK; a++) {
        t->extent[a] = emit_word(e, e->i64, grid, GRID_EXTENT + a, "n");
        t->stride[a] = emit_word(e, e->i64, grid, GRID_STRIDE + a, "stride");
    }
    t->n = t->extent[t->axis];
    t->rows = t->ring ? minus(t, t->n, 1) : t->n;
    LLVMValueRef sweeps = num(t, t->ring ? 3 : 2), all = mul(e, plus(e, t->n, num(t, 1)), sweeps);
    if (t->ring) all = plus(e, all, num(t, RING_ROWS));
    if (t->axis == 0) {
        int64_t group = group_of(e);
        t->lines = mul(e, mul(e, t->extent[1], t->extent[2]), channels);
        t->few = LLVMBuildICmp(e->b, LLVMIntSLT, t->lines, num(t, group), "few");
        t->pitch = LLVMBuildSelect(e->b, t->few, num(t, 1), num(t, group), "pitch");
        t->units = ceil_div(e, t->lines, t->pitch);
    } else {
        int64_t least = SWEEP_ROW / e->size;
        LLVMValueRef some = divide(t, num(t, SWEEP_BYTES / e->size), all);
        some = mul(e, divide(t, some, num(t, least)), num(t, least));
        t->width = t->pitch = emit_min(e, emit_max(e, some, num(t, least)), t->extent[0]);
        t->blocks = ceil_div(e, t->extent[0], t->width);
        t->units = mul(e, t->blocks, t->extent[3 - t->axis]);
    }
    LLVMValueRef bytes = mul(e, mul(e, all, t->pitch), num(t, e->size));
    t->unit_bytes = LLVMBuildAnd(e->b, plus(e, bytes, num(t, 63)), num(t, -64), "");
}

/* Row i of c (which 0), y (1), q (2): i = -1 is the row of zeros. Which 3: the rows of Ring. */
static LLVMValueRef kept(TE *t, uint32_t which, LLVMValueRef i) {
    Emit *e = t->e;
    LLVMValueRef row = mul(e, plus(e, t->n, num(t, 1)), num(t, which));
    if (which < 3) row = plus(e, row, num(t, 1));
    return at(t, t->scratch, mul(e, plus(e, row, i), t->pitch));
}

static LLVMValueRef ring_row(TE *t, Ring row) { return kept(t, 3, num(t, row)); }

/* ---- rows ---------------------------------------------------------------------------------------- */

/* Does something for all numbers of a row: vectors, then what is left; `whole`: there is nothing left. */
typedef struct Row Row;
typedef void RowBody(TE *t, const Row *r, LLVMTypeRef type, LLVMValueRef k);
struct Row {
    LLVMValueRef i, field[BANDS], out, next;
};

static void each(TE *t, const Row *r, LLVMValueRef count, bool whole, RowBody *body) {
    Emit *e = t->e;
    Counting c;
    LLVMValueRef lanes = num(t, e->lanes), end = count;
    if (!whole) end = LLVMBuildSub(e->b, count, remainder_of(t, count, lanes), "");
    LLVMValueRef k = emit_loop_begin(e, &c, num(t, 0), end, lanes, "k");
    body(t, r, vector_type(t), k);
    emit_loop_end(e, &c);
    if (whole) return;
    k = emit_loop_begin(e, &c, end, count, num(t, 1), "k");
    body(t, r, e->real, k);
    emit_loop_end(e, &c);
}

static void zero_row(TE *t, const Row *r, LLVMTypeRef type, LLVMValueRef k) {
    for (uint32_t which = 0; which < (t->ring ? 3 : 2); which++)
        store(t, emit_number(t->e, type, 0), kept(t, which, num(t, -1)), k);
}

/* From the last row of the system, in `field`. */
static void ring_start(TE *t, const Row *r, LLVMTypeRef type, LLVMValueRef k) {
    static const uint32_t from[] = {
        [RING_FIRST] = UPPER, [RING_END] = DIAGONAL, [RING_RIGHT] = RIGHT, [RING_LOWER] = LOWER};
    for (Ring row = RING_FIRST; row <= RING_LOWER; row++)
        store(t, load(t, type, r->field[from[row]], k), ring_row(t, row), k);
}

static void forward_cell(TE *t, const Row *r, LLVMTypeRef type, LLVMValueRef k) {
    Emit *e = t->e;
    LLVMValueRef before = minus(t, r->i, 1), first = equal(t, r->i, num(t, 0)), x[BANDS];
    LLVMValueRef last = equal(t, r->i, minus(t, t->rows, 1));
    for (uint32_t a = 0; a < BANDS; a++) x[a] = load(t, type, r->field[a], k);
    LLVMValueRef c = load(t, type, kept(t, 0, before), k), y = load(t, type, kept(t, 1, before), k);
    LLVMValueRef lower = zero_if(t, first, x[LOWER]), upper = zero_if(t, last, x[UPPER]);
    LLVMValueRef pivot =
        LLVMBuildFDiv(e->b, emit_number(e, type, 1), less(t, x[DIAGONAL], lower, c), "");
    y = LLVMBuildFMul(e->b, less(t, x[RIGHT], lower, y), pivot, "");
    c = LLVMBuildFMul(e->b, upper, pivot, "");
    store(t, c, kept(t, 0, r->i), k);
    store(t, y, kept(t, 1, r->i), k);
    if (!t->ring) return;
    LLVMValueRef none = emit_number(e, type, 0);
    LLVMValueRef border = LLVMBuildFAdd(e->b, LLVMBuildSelect(e->b, first, x[LOWER], none, ""),
                                        LLVMBuildSelect(e->b, last, x[UPPER], none, ""), "");
    LLVMValueRef q = less(t, border, lower, load(t, type, kept(t, 2, before), k));
    q = LLVMBuildFMul(e->b, q, pivot, "");
    store(t, q, kept(t, 2, r->i), k);
    LLVMValueRef column = load(t, type, ring_row(t, RING_FIRST), k);
    LLVMValueRef beside =
        LLVMBuildSelect(e->b, last, load(t, type, ring_row(t, RING_LOWER), k), none, "");
    column = LLVMBuildFAdd(e->b, column, beside, "");
    store(t, less(t, load(t, type, ring_row(t, RING_END), k), column, q), ring_row(t, RING_END), k);
    store(t, less(t, load(t, type, ring_row(t, RING_RIGHT), k), column, y), ring_row(t, RING_RIGHT),
          k);
    store(t, LLVMBuildFMul(e->b, LLVMBuildFNeg(e->b, column, ""), c, ""), ring_row(t, RING_FIRST),
          k);
}

/* The last unknown of a ring; of one cell, the cell is its own neighbour. */
static void ring_end(TE *t, const Row *r, LLVMTypeRef type, LLVMValueRef k) {
    Emit *e = t->e;
    LLVMValueRef end = load(t, type, ring_row(t, RING_END), k);
    LLVMValueRef more = LLVMBuildFAdd(e->b, load(t, type, ring_row(t, RING_FIRST), k),
                                      load(t, type, ring_row(t, RING_LOWER), k), "");
    LLVMValueRef alone = LLVMBuildFAdd(e->b, end, more, "");
    end = LLVMBuildSelect(e->b, equal(t, t->rows, num(t, 0)), alone, end, "");
    LLVMValueRef x = LLVMBuildFDiv(e->b, load(t, type, ring_row(t, RING_RIGHT), k), end, "");
    store(t, x, ring_row(t, RING_X), k);
    if (r->out) store(t, x, r->out, k);
}

static void backward_cell(TE *t, const Row *r, LLVMTypeRef type, LLVMValueRef k) {
    LLVMValueRef y = load(t, type, kept(t, 1, r->i), k), c = load(t, type, kept(t, 0, r->i), k);
    if (t->ring)
        y = less(t, y, load(t, type, kept(t, 2, r->i), k), load(t, type, ring_row(t, RING_X), k));
    store(t, less(t, y, c, load(t, type, r->next, k)), r->out, k);
}

/* What row i's unknown is reduced by: the row after it, at `after`, or that of the last unknown, or zeros. */
static LLVMValueRef next_row(TE *t, LLVMValueRef i, LLVMValueRef after) {
    LLVMValueRef end = t->ring ? ring_row(t, RING_X) : kept(t, 1, num(t, -1));
    return LLVMBuildSelect(t->e->b, equal(t, i, minus(t, t->rows, 1)), end, after, "next");
}

/* Where row i of a band stands. */
static LLVMValueRef band_row(TE *t, uint32_t band, LLVMValueRef i) {
    Emit *e = t->e;
    LLVMValueRef end = minus(t, t->n, 1);
    if (band == LOWER && t->detail & TRIDIAG_LOWER_BEFORE)
        return LLVMBuildSelect(e->b, equal(t, i, num(t, 0)), t->ring ? end : i, minus(t, i, 1), "");
    if (band == UPPER && t->detail & TRIDIAG_UPPER_AFTER)
        return LLVMBuildSelect(e->b, equal(t, i, end), t->ring ? num(t, 0) : i,
                               plus(e, i, num(t, 1)), "");
    return i;
}

/* ---- lines that stand side by side ------------------------------------------------------------------- */

/* The fields' first cells of the lines; `apart` numbers from row to row. */
static void sweep(TE *t, const LLVMValueRef *field, LLVMValueRef x, LLVMValueRef apart,
                  LLVMValueRef count) {
    Emit *e = t->e;
    Counting c;
    Row r = {0};
    each(t, &r, count, false, zero_row);
    LLVMValueRef end = minus(t, t->n, 1);
    if (t->ring) {
        for (uint32_t a = 0; a < BANDS; a++)
            r.field[a] = at(t, field[a], mul(e, band_row(t, a, end), apart));
        each(t, &r, count, false, ring_start);
    }
    r.i = emit_loop_begin(e, &c, num(t, 0), t->rows, num(t, 1), "i");
    for (uint32_t a = 0; a < BANDS; a++)
        r.field[a] = at(t, field[a], mul(e, band_row(t, a, r.i), apart));
    each(t, &r, count, false, forward_cell);
    emit_loop_end(e, &c);
    r.out = at(t, x, mul(e, end, apart));
    if (t->ring) each(t, &r, count, false, ring_end);
    LLVMValueRef j = emit_loop_begin(e, &c, num(t, 0), t->rows, num(t, 1), "j");
    r.i = LLVMBuildSub(e->b, minus(t, t->rows, 1), j, "i");
    r.out = at(t, x, mul(e, r.i, apart));
    r.next = next_row(t, r.i, at(t, r.out, apart));
    each(t, &r, count, false, backward_cell);
    emit_loop_end(e, &c);
}

/* The fields of channel `channel`, `offset` numbers on; x last. */
static void fields_at(TE *t, LLVMValueRef channel, LLVMValueRef offset, LLVMValueRef *field) {
    Emit *e = t->e;
    for (uint32_t a = 0; a <= BANDS; a++) {
        uint32_t apart = T_APART + (a == BANDS ? RIGHT : a);
        LLVMValueRef base = emit_word(e, e->ptr, t->words, T_FIELD + a, "field");
        LLVMValueRef on = mul(e, channel, emit_word(e, e->i64, t->words, apart, "apart"));
        field[a] = at(t, base, plus(e, on, offset));
    }
}

/* Cells that neighbour on x, of every channel. */
static void across_unit(TE *t, LLVMValueRef unit) {
    Emit *e = t->e;
    Counting c;
    LLVMValueRef field[BANDS + 1], first = mul(e, remainder_of(t, unit, t->blocks), t->width);
    LLVMValueRef count = emit_min(e, t->width, LLVMBuildSub(e->b, t->extent[0], first, ""));
    LLVMValueRef offset =
        plus(e, first, mul(e, divide(t, unit, t->blocks), t->stride[3 - t->axis]));
    LLVMValueRef channels = emit_word(e, e->i64, t->words, T_CHANNELS, "channels");
    LLVMValueRef channel = emit_loop_begin(e, &c, num(t, 0), channels, num(t, 1), "channel");
    fields_at(t, channel, offset, field);
    sweep(t, field, field[BANDS], t->stride[t->axis], count);
    emit_loop_end(e, &c);
}

/* Channel of a line along x; *offset: its first cell. */
static LLVMValueRef line_at(TE *t, LLVMValueRef line, LLVMValueRef *offset) {
    Emit *e = t->e;
    LLVMValueRef plane = mul(e, t->extent[1], t->extent[2]), rest = remainder_of(t, line, plane);
    *offset = plus(e, mul(e, divide(t, rest, t->extent[1]), t->stride[2]),
                   mul(e, remainder_of(t, rest, t->extent[1]), t->stride[1]));
    return divide(t, line, plane);
}

static void single_unit(TE *t, LLVMValueRef line) {
    LLVMValueRef field[BANDS + 1], offset, channel = line_at(t, line, &offset);
    fields_at(t, channel, offset, field);
    sweep(t, field, field[BANDS], num(t, 1), num(t, 1));
}

/* ---- groups of lines along x ---------------------------------------------------------------------------- */

typedef struct {
    int64_t size;                  /* lines */
    LLVMValueRef field[BANDS + 1]; /* addresses of the lines' first cells */
    LLVMValueRef tile[BANDS];      /* some columns, each a row of `size` numbers */
    LLVMValueRef live;             /* lines that there are; further ones repeat the last */
} Group;

static LLVMValueRef *transpose(TE *t, LLVMValueRef *v) {
    Emit *e = t->e;
    for (uint32_t by = 1; by < e->lanes; by *= 2) {
        LLVMValueRef low[64], high[64];
        for (uint32_t k = 0; k < e->lanes; k++) {
            low[k] = LLVMConstInt(e->i32, k & by ? k - by + e->lanes : k, false);
            high[k] = LLVMConstInt(e->i32, k & by ? k + e->lanes : k + by, false);
        }
        LLVMValueRef masks[2] = {LLVMConstVector(low, e->lanes), LLVMConstVector(high, e->lanes)};
        for (uint32_t i = 0; i < e->lanes; i++) {
            if (i & by) continue;
            LLVMValueRef a = v[i], b = v[i + by];
            v[i] = LLVMBuildShuffleVector(e->b, a, b, masks[0], "");
            v[i + by] = LLVMBuildShuffleVector(e->b, a, b, masks[1], "");
        }
    }
    return v;
}

static LLVMValueRef line_pointer(TE *t, LLVMValueRef table, LLVMValueRef line) {
    Emit *e = t->e;
    return LLVMBuildLoad2(e->b, e->ptr, LLVMBuildInBoundsGEP2(e->b, e->ptr, table, &line, 1, ""),
                          "line");
}

static void find_lines(TE *t, Group *g, LLVMValueRef unit) {
    Emit *e = t->e;
    Counting c;
    LLVMValueRef first = mul(e, unit, num(t, g->size)), offset, field[BANDS + 1];
    LLVMValueRef k = emit_loop_begin(e, &c, num(t, 0), num(t, g->size), num(t, 1), "k");
    LLVMValueRef line = emit_min(e, plus(e, first, k), minus(t, t->lines, 1));
    LLVMValueRef channel = line_at(t, line, &offset);
    fields_at(t, channel, offset, field);
    for (uint32_t a = 0; a <= BANDS; a++)
        LLVMBuildStore(e->b, field[a], LLVMBuildInBoundsGEP2(e->b, e->ptr, g->field[a], &k, 1, ""));
    emit_loop_end(e, &c);
    g->live = emit_min(e, num(t, g->size), LLVMBuildSub(e->b, t->lines, first, ""));
}

/* Columns from x of a band that are all there: squares of lanes. */
static void tile_fast(TE *t, const Group *g, uint32_t band, LLVMValueRef x) {
    Emit *e = t->e;
    Counting c;
    LLVMValueRef v[64];
    LLVMValueRef k = emit_loop_begin(e, &c, num(t, 0), num(t, g->size), num(t, e->lanes), "k");
    for (uint32_t i = 0; i < e->lanes; i++)
        v[i] = load(t, vector_type(t), line_pointer(t, g->field[band], plus(e, k, num(t, i))), x);
    transpose(t, v);
    for (uint32_t i = 0; i < e->lanes; i++)
        store(t, v[i], g->tile[band], plus(e, k, num(t, i * g->size)));
    emit_loop_end(e, &c);
}

/* Rows from `first` of a band, one by one. */
static void tile_slow(TE *t, const Group *g, uint32_t band, LLVMValueRef first,
                      LLVMValueRef count) {
    Emit *e = t->e;
    Counting rows, lines;
    LLVMValueRef j = emit_loop_begin(e, &rows, num(t, 0), count, num(t, 1), "j");
    LLVMValueRef x = band_row(t, band, plus(e, first, j));
    LLVMValueRef k = emit_loop_begin(e, &lines, num(t, 0), num(t, g->size), num(t, 1), "k");
    LLVMValueRef value = load(t, e->real, line_pointer(t, g->field[band], k), x);
    store(t, value, g->tile[band], plus(e, mul(e, j, num(t, g->size)), k));
    emit_loop_end(e, &lines);
    emit_loop_end(e, &rows);
}

static void fill_tile(TE *t, const Group *g, LLVMValueRef first, LLVMValueRef count) {
    Emit *e = t->e;
    for (uint32_t band = 0; band < BANDS; band++) {
        int64_t by = band == LOWER && t->detail & TRIDIAG_LOWER_BEFORE  ? -1
                     : band == UPPER && t->detail & TRIDIAG_UPPER_AFTER ? 1
                                                                        : 0;
        LLVMBasicBlockRef fast = emit_block(e, "fast"), slow = emit_block(e, "slow"),
                          done = emit_block(e, "done");
        LLVMValueRef x = plus(e, first, num(t, by)), end = plus(e, x, num(t, e->lanes));
        LLVMValueRef there = LLVMBuildAnd(e->b, LLVMBuildICmp(e->b, LLVMIntSGE, x, num(t, 0), ""),
                                          LLVMBuildICmp(e->b, LLVMIntSLE, end, t->n, ""), "");
        LLVMBuildCondBr(e->b, there, fast, slow);
        LLVMPositionBuilderAtEnd(e->b, fast);
        tile_fast(t, g, band, x);
        LLVMBuildBr(e->b, done);
        LLVMPositionBuilderAtEnd(e->b, slow);
        tile_slow(t, g, band, first, count);
        LLVMBuildBr(e->b, done);
        LLVMPositionBuilderAtEnd(e->b, done);
    }
}

/* Rows of y, which are those of x by now, back to the lines: a square of lanes, but for lines that are not there. */
static void put_fast(TE *t, const Group *g, LLVMValueRef first) {
    Emit *e = t->e;
    Counting c;
    LLVMValueRef v[64];
    LLVMValueRef k = emit_loop_begin(e, &c, num(t, 0), g->live, num(t, e->lanes), "k");
    for (uint32_t i = 0; i < e->lanes; i++)
        v[i] = load(t, vector_type(t), kept(t, 1, plus(e, first, num(t, i))), k);
    transpose(t, v);
    for (uint32_t i = 0; i < e->lanes; i++) {
        LLVMBasicBlockRef put = emit_block(e, "put"), go = emit_block(e, "go");
        LLVMValueRef line = plus(e, k, num(t, i));
        LLVMBuildCondBr(e->b, LLVMBuildICmp(e->b, LLVMIntSLT, line, g->live, ""), put, go);
        LLVMPositionBuilderAtEnd(e->b, put);
        store(t, v[i], line_pointer(t, g->field[BANDS], line), first);
        LLVMBuildBr(e->b, go);
        LLVMPositionBuilderAtEnd(e->b, go);
    }
    emit_loop_end(e, &c);
}

/* `count` rows at `rows` to the cells from `first`, one by one. */
static void put_slow(TE *t, const Group *g, LLVMValueRef rows, LLVMValueRef first,
                     LLVMValueRef count) {
    Emit *e = t->e;
    Counting cells, lines;
    LLVMValueRef j = emit_loop_begin(e, &cells, num(t, 0), count, num(t, 1), "j");
    LLVMValueRef k = emit_loop_begin(e, &lines, num(t, 0), g->live, num(t, 1), "k");
    LLVMValueRef x = load(t, e->real, rows, plus(e, mul(e, j, num(t, g->size)), k));
    store(t, x, line_pointer(t, g->field[BANDS], k), plus(e, first, j));
    emit_loop_end(e, &lines);
    emit_loop_end(e, &cells);
}

static void group_forward(TE *t, const Group *g) {
    Emit *e = t->e;
    Counting tiles, columns;
    Row r = {0};
    LLVMValueRef size = num(t, g->size), lanes = num(t, e->lanes);
    each(t, &r, size, true, zero_row);
    if (t->ring) {
        for (uint32_t a = 0; a < BANDS; a++) {
            tile_slow(t, g, a, minus(t, t->n, 1), num(t, 1));
            r.field[a] = g->tile[a];
        }
        each(t, &r, size, true, ring_start);
    }
    LLVMValueRef first = emit_loop_begin(e, &tiles, num(t, 0), t->rows, lanes, "first");
    LLVMValueRef count = emit_min(e, lanes, LLVMBuildSub(e->b, t->rows, first, ""));
    fill_tile(t, g, first, count);
    LLVMValueRef j = emit_loop_begin(e, &columns, num(t, 0), count, num(t, 1), "j");
    r.i = plus(e, first, j);
    for (uint32_t a = 0; a < BANDS; a++) r.field[a] = at(t, g->tile[a], mul(e, j, size));
    each(t, &r, size, true, forward_cell);
    emit_loop_end(e, &columns);
    emit_loop_end(e, &tiles);
}

static void group_back(TE *t, const Group *g) {
    Emit *e = t->e;
    Counting tiles, columns;
    Row r = {0};
    LLVMValueRef size = num(t, g->size), lanes = num(t, e->lanes),
                 all = ceil_div(e, t->rows, lanes);
    if (t->ring) {
        each(t, &r, size, true, ring_end);
        put_slow(t, g, ring_row(t, RING_X), minus(t, t->n, 1), num(t, 1));
    }
    LLVMValueRef tile = emit_loop_begin(e, &tiles, num(t, 0), all, num(t, 1), "tile");
    LLVMValueRef first = mul(e, LLVMBuildSub(e->b, minus(t, all, 1), tile, ""), lanes);
    LLVMValueRef count = emit_min(e, lanes, LLVMBuildSub(e->b, t->rows, first, ""));
    LLVMValueRef j = emit_loop_begin(e, &columns, num(t, 0), count, num(t, 1), "j");
    r.i = LLVMBuildSub(e->b, plus(e, first, minus(t, count, 1)), j, "i");
    r.out = kept(t, 1, r.i);
    r.next = next_row(t, r.i, at(t, r.out, t->pitch));
    each(t, &r, size, true, backward_cell);
    emit_loop_end(e, &columns);
    LLVMBasicBlockRef fast = emit_block(e, "fast"), slow = emit_block(e, "slow"),
                      done = emit_block(e, "done");
    LLVMBuildCondBr(e->b, equal(t, count, lanes), fast, slow);
    LLVMPositionBuilderAtEnd(e->b, fast);
    put_fast(t, g, first);
    LLVMBuildBr(e->b, done);
    LLVMPositionBuilderAtEnd(e->b, slow);
    put_slow(t, g, kept(t, 1, first), first, count);
    LLVMBuildBr(e->b, done);
    LLVMPositionBuilderAtEnd(e->b, done);
    emit_loop_end(e, &tiles);
}

static void group_unit(TE *t, LLVMValueRef unit) {
    Emit *e = t->e;
    Group g = {.size = group_of(e)};
    for (uint32_t a = 0; a <= BANDS; a++)
        g.field[a] = emit_variable(e, LLVMArrayType2(e->ptr, (uint64_t)g.size), "lines");
    for (uint32_t a = 0; a < BANDS; a++)
        g.tile[a] = emit_variable(e, LLVMArrayType2(e->real, (uint64_t)g.size * e->lanes), "tile");
    t->pitch = num(t, g.size);
    find_lines(t, &g, unit);
    group_forward(t, &g);
    group_back(t, &g);
}

/* ---- kernels ------------------------------------------------------------------------------------------------ */

/* void (words, begin, end), as other kernels; written once for an axis and its bits. */
static LLVMValueRef kernel_of(Emit *e, uint32_t axis, uint32_t detail) {
    char *name = arena_format(e->arena, "pdn_tridiag_%u_%u", axis, detail);
    LLVMValueRef f = LLVMGetNamedFunction(e->module, name);
    if (f) return f;
    LLVMBasicBlockRef back = LLVMGetInsertBlock(e->b);
    f = emit_function(e, name, e->kernel_type, false);
    LLVMPositionBuilderAtEnd(e->b, LLVMAppendBasicBlockInContext(e->context, f, "entry"));
    TE t = {.e = e, .axis = axis, .detail = detail, .words = LLVMGetParam(f, 0)};
    LLVMValueRef begin = LLVMGetParam(f, 1), end = LLVMGetParam(f, 2);
    sizes(&t, emit_word(e, e->ptr, t.words, T_GRID, "grid"),
          emit_word(e, e->i64, t.words, T_CHANNELS, "channels"));
    t.scratch = bytes_on(e, emit_word(e, e->ptr, t.words, T_SCRATCH, "scratch"),
                         mul(e, begin, t.unit_bytes));
    for (int few = axis == 0; few >= 0; few--) {
        TE own = t;
        Counting c;
        LLVMBasicBlockRef run = emit_block(e, "run"), go = emit_block(e, "go");
        LLVMValueRef this = axis  ? LLVMConstInt(e->i1, 1, false)
                            : few ? t.few
                                  : LLVMBuildNot(e->b, t.few, "");
        LLVMBuildCondBr(e->b, this, run, go);
        LLVMPositionBuilderAtEnd(e->b, run);
        if (few) own.pitch = num(&own, 1);
        LLVMValueRef unit = emit_loop_begin(e, &c, begin, end, num(&own, 1), "unit");
        (axis ? across_unit : few ? single_unit : group_unit)(&own, unit);
        emit_loop_end(e, &c);
        LLVMBuildBr(e->b, go);
        LLVMPositionBuilderAtEnd(e->b, go);
    }
    LLVMBuildRetVoid(e->b);
    LLVMPositionBuilderAtEnd(e->b, back);
    return f;
}

LLVMValueRef tridiag_bytes(Emit *e, const HInstr *in, LLVMValueRef grid, uint32_t channels) {
    TE t = {.e = e, .axis = in->index, .detail = in->detail};
    sizes(&t, grid, emit_i64(e, channels));
    return mul(e, t.units, t.unit_bytes);
}

void emit_tridiag(HE *h, const HInstr *in) {
    Emit *e = h->e;
    TE t = {.e = e, .axis = in->index, .detail = in->detail};
    LLVMValueRef grid = grid_at(e, h->grids, in->grids[0]);
    LLVMValueRef apart = emit_word(e, e->i64, grid, GRID_CHANNEL, "channel");
    uint32_t channels = h->f->regs.data[in->dst].type.channels;
    sizes(&t, grid, emit_i64(e, channels));
    put_word(h, T_GRID, grid);
    for (uint32_t a = 0; a < BANDS; a++) {
        put_word(h, T_FIELD + a, h->regs[in->args[a]].value);
        bool own = h->f->regs.data[in->args[a]].type.channels > 1;
        put_word(h, T_APART + a, own ? apart : emit_i64(e, 0));
    }
    put_word(h, T_X, field_place(h, in->dst));
    put_word(h, T_SCRATCH, h->scratch);
    put_word(h, T_CHANNELS, emit_i64(e, channels));
    LLVMValueRef f = kernel_of(e, in->index, in->detail);
    LLVMValueRef cells = emit_cells(e, grid, e->plan->grid_rank[in->grids[0]]);
    launch(h, f, t.units, e->standalone ? NULL : work_tridiag(e, cells, channels));
}
