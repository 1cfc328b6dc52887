/* Convolutions with channels last: sizes, and the loops that compute.
 *
 * Where both sides have whole vectors of channels, arrays in the scratch have channels innermost. A tile is then some
 * cells in a row (FORWARD, TRANSPOSED), or some numbers of x in a row (WEIGHTS), times some vectors of channels: each
 * number of x is used for all of the channels, each vector for all of the cells, nothing is loaded across a line, and
 * rows of any length are whole tiles.
 *
 * What meets a cell is `lines` of the padded array, one for each row of taps, that are `line` numbers in a row (taps
 * along x, channels of each; where taps are apart, a line for each tap). Their order is that of the padded array, from
 * low to high: taps of a transpose stand backwards there. */
#include "compiler/llvm/emit_conv.h"

enum {
    RUN = 192, /* terms that are summed in a row (emit_conv_tile.c) */
    /* where what is summed will be added and subtracted (emit_conv_winograd.c) */
    RUN_OF_POINTS = 64,
    /* bytes of v that stay in the first-level cache while all tiles of WEIGHTS go over them */
    HOT = 1 << 15,
    CHUNK_RUNS = 64, /* runs of a chunk of WEIGHTS */
    SEGMENT = 64,    /* cells whose tiles are made before they are copied to their rows */
    /* numbers of a line whose weights are asked for before their turn: they come from the second level */
    AHEAD = 6,
    MOST_LAST = 28 /* sums of a tile */
};

uint32_t conv_line(const CE *c) {
    return c->p.in * (c->conv->dilation[0] == 1 ? c->conv->size[0] : 1);
}
uint32_t conv_lines(const CE *c) { return conv_depth(c) / conv_line(c); }

/* ---- sizes --------------------------------------------------------------------------------------- */

static int64_t rounded(int64_t bytes) { return (bytes + 63) / 64 * 64; }

static LLVMValueRef room(CE *c, LLVMValueRef numbers) {
    LLVMValueRef bytes = cv_times(c, cv_plus(c, numbers, CONV_TILE), c->e->size);
    return LLVMBuildAnd(c->e->b, cv_plus(c, bytes, 63 + PLAN_SLOT_GAP), cv_int(c, -64), "");
}

/* Cells of a run of WEIGHTS. */
static int64_t run_cells(const CE *c) {
    int64_t hot = HOT / ((int64_t)c->tile.channels * c->e->size);
    return hot < RUN ? hot : RUN;
}

/* Numbers [from, end). */
typedef struct {
    LLVMValueRef from, end;
} Range;

/* Those of a range for which the row number `from` + number of what is read, of n rows, is there, where it would count 0 else;
 * all of them if there is none. */
static Range there_alone(CE *c, Range all, LLVMValueRef from, LLVMValueRef n, int64_t dilation) {
    Emit *e = c->e;
    bool back = c->form == CONV_TRANSPOSED;
    LLVMValueRef d = cv_int(c, dilation), zero = cv_int(c, 0),
                 before = emit_max(e, cv_sub(c, zero, from), zero);
    Range some = all;
    if (c->conv->rank != 2) return all;
    if (back || c->conv->sides[1][0] == SIDE_GHOST)
        some.from = emit_max(e, all.from, cv_ceil(c, before, d));
    if (back || c->conv->sides[1][1] == SIDE_GHOST)
        some.end = emit_min(e, all.end, cv_ceil(c, emit_max(e, cv_sub(c, n, from), zero), d));
    LLVMValueRef any = cv_less(c, some.from, some.end);
    return (Range){cv_if(c, any, some.from, all.from), cv_if(c, any, some.end, all.end)};
}

/* Lines that row y of what is made meets. */
static Range lines_of(CE *c, LLVMValueRef y) {
    int64_t taps = c->conv->rank == 2 ? c->conv->size[1] : 1, apart = conv_lines(c) / taps;
    Range rows = {cv_int(c, 0), cv_int(c, taps)};
    LLVMValueRef n = c->form == CONV_TRANSPOSED ? c->m[1] : c->n[1];
    rows = there_alone(c, rows, cv_plus(c, y, -c->p.axis[1].low), n, c->conv->dilation[1]);
    return (Range){cv_times(c, rows.from, apart), cv_times(c, rows.end, apart)};
}

/* Rows of [from, end) of v that meet a line. */
static Range rows_of(CE *c, LLVMValueRef line, LLVMValueRef from, LLVMValueRef end) {
    int64_t taps = c->conv->rank == 2 ? c->conv->size[1] : 1, apart = conv_lines(c) / taps;
    LLVMValueRef tap = cv_div(c, line, cv_int(c, apart));
    LLVMValueRef first = cv_plus(c, cv_times(c, tap, c->conv->dilation[1]), -c->p.axis[1].low);
    return there_alone(c, (Range){from, end}, first, c->n[1], 1);
}

/* Rows of v are cut into pieces; some rows (one, where there are several pieces) are a run, `block` rows a chunk. */
static LLVMValueRef row_pieces(CE *c) { return cv_ceil(c, c->made[0], cv_int(c, run_cells(c))); }
static LLVMValueRef run_rows(CE *c) {
    return emit_max(c->e, cv_div(c, cv_int(c, run_cells(c)), c->made[0]), cv_int(c, 1));
}

void conv_walk_last(CE *c) {
    Emit *e = c->e;
    c->by_rows = LLVMConstInt(e->i1, 0, false);
    c->padded.y = cv_times(c, c->extent[0], c->p.in);
    c->padded.z = cv_mul(c, c->padded.y, c->extent[1]);
    c->padded.channel = c->flat = cv_int(c, 0);
    c->planes = c->layers = NULL;
    c->block = cv_int(c, 1);
    c->blocks = cv_mul(c, c->made[1], c->made[2]);
    bool sums = c->form == CONV_WEIGHTS;
    if (c->tile.winograd && !sums) c->blocks = cv_ceil(c, c->made[1], cv_int(c, 2));
    if (!sums) return;
    LLVMValueRef some = emit_max(e, cv_div(c, cv_int(c, CHUNK_RUNS), row_pieces(c)), cv_int(c, 1));
    c->block = cv_mul(c, some, run_rows(c));
    /* pairs of rows */
    if (c->tile.winograd) c->block = cv_times(c, cv_ceil(c, c->block, cv_int(c, 2)), 2);
    c->blocks = cv_ceil(c, c->blocks, c->block);
    c->layers = cv_int(c, 1);
}

void conv_lay_out_last(CE *c) {
    LLVMValueRef at = cv_int(c, 0);
    uint32_t depth = conv_depth(c);
    c->padded.base = at;
    LLVMValueRef numbers = cv_mul(c, c->padded.z, c->extent[2]);
    /* the last pair of rows may be one */
    if (c->tile.winograd) numbers = cv_add(c, numbers, c->padded.y);
    at = cv_add(c, at, room(c, cv_plus(c, numbers, (int64_t)c->tile.cells * c->p.in)));
    c->offsets = at;
    at = cv_plus(c, at, rounded((int64_t)conv_lines(c) * 8));
    if (c->form == CONV_WEIGHTS) {
        c->copied = (ConvArray){
            .base = at, .y = cv_times(c, c->made[0], c->p.out), .channel = cv_int(c, 0)};
        c->copied.z = cv_mul(c, c->copied.y, c->made[1]);
        at = cv_add(c, at, room(c, cv_mul(c, c->copied.z, c->made[2])));
        c->partial = at;
        at = cv_add(c, at, room(c, cv_times(c, c->blocks, conv_partial_last(c))));
    } else {
        c->weights = at;
        at = cv_plus(c, at,
                     rounded(((int64_t)depth * c->p.out + conv_winograd_numbers(c)) * c->e->size));
        c->folded = (ConvArray){.base = at, .y = c->made[0]};
        c->folded.z = cv_mul(c, c->made[0], c->made[1]);
        c->folded.channel = cv_mul(c, c->folded.z, c->made[2]);
        if (c->p.folds) at = cv_add(c, at, room(c, cv_times(c, c->folded.channel, c->p.out)));
        c->whole = at;
    }
    c->bytes = at;
}

LLVMValueRef conv_units_last(CE *c, ConvStage stage) {
    bool sums = c->form == CONV_WEIGHTS;
    int64_t blocks = c->p.out / c->tile.channels, vectors = c->p.out / c->e->lanes;
    switch (stage) {
    case STAGE_FILL: return cv_mul(c, c->extent[1], c->extent[2]);
    case STAGE_COPY: return sums ? cv_mul(c, c->made[1], c->made[2]) : NULL;
    case STAGE_PACK: return cv_int(c, sums ? 1 : 1 + vectors);
    case STAGE_GATHER: return sums ? NULL : cv_times(c, c->blocks, blocks);
    case STAGE_FOLD: return c->p.folds ? cv_times(c, conv_fold_blocks(c), c->p.out) : NULL;
    case STAGE_SUMS:
        return sums ? cv_times(c, c->blocks, c->tile.winograd ? blocks : blocks * conv_lines(c))
                    : NULL;
    case STAGE_TOTAL: return sums ? cv_int(c, vectors * c->p.in) : NULL;
    default: return NULL;
    }
}

/* ---- tiles that gather --------------------------------------------------------------------------- */

enum { G_X, G_OFFSETS, G_WEIGHTS, G_OUT, G_LINES, G_NUMBERS, G_IS_FIRST, G_COUNT };

static LLVMValueRef offset_of(CE *c, LLVMValueRef table, LLVMValueRef line) {
    LLVMValueRef at = LLVMBuildInBoundsGEP2(c->e->b, c->e->i64, table, &line, 1, "");
    return LLVMBuildLoad2(c->e->b, c->e->i64, at, "");
}

/* sum[p vectors + v] += x[p stride + k] w[k channels + v lanes], for `numbers` numbers of a line. */
static void add_line(CE *c, uint32_t cells, LLVMValueRef x, LLVMValueRef w, LLVMValueRef numbers,
                     LLVMValueRef *sum) {
    Emit *e = c->e;
    uint32_t vectors = c->tile.vectors;
    LLVMValueRef weight[MOST_LAST];
    Counting loop;
    LLVMValueRef k = cv_loop(c, &loop, cv_int(c, 0), numbers, 1);
    LLVMValueRef at = cv_at(c, w, cv_times(c, k, c->tile.channels)), here = cv_at(c, x, k);
    for (uint32_t v = 0; v < vectors; v++) {
        weight[v] = cv_load(c, cv_vector(c), cv_at(c, at, cv_int(c, (int64_t)v * e->lanes)));
        cv_prefetch(c, at, (int64_t)AHEAD * c->tile.channels + (int64_t)v * e->lanes);
    }
    for (uint32_t p = 0; p < cells; p++) {
        LLVMValueRef number =
            emit_splat(e, cv_load(c, e->real, cv_at(c, here, cv_int(c, (int64_t)p * c->p.in))));
        for (uint32_t v = 0; v < vectors; v++) {
            LLVMValueRef s = sum[p * vectors + v], old = LLVMBuildLoad2(e->b, cv_vector(c), s, "");
            LLVMBuildStore(e->b, cv_fma(c, number, weight[v], old), s);
        }
    }
    emit_loop_end(e, &loop);
}

static void clear(CE *c, LLVMValueRef *sum, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        if (!sum[i]) sum[i] = emit_variable(c->e, cv_vector(c), "sum");
        LLVMBuildStore(c->e->b, emit_number(c->e, cv_vector(c), 0), sum[i]);
    }
}

/* Where sum number i goes: i / vectors rows of `apart` numbers after `out`. */
static LLVMValueRef place_of(CE *c, LLVMValueRef out, uint32_t i, int64_t apart) {
    uint32_t vectors = c->tile.vectors;
    return cv_at(c, out,
                 cv_int(c, (int64_t)(i / vectors) * apart + (int64_t)(i % vectors) * c->e->lanes));
}

/* What is there is the sums, or what was there and these, where it is not the first time. */
static void leave(CE *c, LLVMValueRef *sum, uint32_t count, LLVMValueRef out, int64_t apart,
                  LLVMValueRef first) {
    Emit *e = c->e;
    LLVMBasicBlockRef put = emit_block(e, "put"), add = emit_block(e, "add"),
                      done = emit_block(e, "done");
    LLVMBuildCondBr(e->b, first, put, add);
    LLVMPositionBuilderAtEnd(e->b, put);
    for (uint32_t i = 0; i < count; i++)
        cv_store(c, LLVMBuildLoad2(e->b, cv_vector(c), sum[i], ""), place_of(c, out, i, apart));
    LLVMBuildBr(e->b, done);
    LLVMPositionBuilderAtEnd(e->b, add);
    for (uint32_t i = 0; i < count; i++) {
        LLVMValueRef to = place_of(c, out, i, apart),
                     value = LLVMBuildLoad2(e->b, cv_vector(c), sum[i], "");
        cv_store(c, LLVMBuildFAdd(e->b, cv_load(c, cv_vector(c), to), value, ""), to);
    }
    LLVMBuildBr(e->b, done);
    LLVMPositionBuilderAtEnd(e->b, done);
}

/* tile(x, offsets, weights, out, lines, numbers, first): a run, some lines, or a part of a line, of `cells` cells in a row, a
 * block of channels each: out[p channels + o] (+)= …. A call is one run: were there more in it, LLVM would keep what is
 * made in registers, of which there are none left. */
static LLVMValueRef gather_tile_last(CE *c, uint32_t cells) {
    Emit *e = c->e;
    LLVMBasicBlockRef back = LLVMGetInsertBlock(e->b);
    LLVMTypeRef p = e->ptr, i = e->i64, types[G_COUNT] = {p, p, p, p, i, i, e->i1};
    LLVMValueRef f =
        conv_tile_function(c, arena_format(e->arena, "cells_%u", cells), types, G_COUNT);
    LLVMValueRef sum[MOST_LAST] = {0}, zero = cv_int(c, 0);
    uint32_t count = cells * c->tile.vectors;
    clear(c, sum, count);
    Counting each;
    LLVMValueRef l = cv_loop(c, &each, zero, LLVMGetParam(f, G_LINES), 1);
    LLVMValueRef x = cv_at(c, LLVMGetParam(f, G_X), offset_of(c, LLVMGetParam(f, G_OFFSETS), l));
    LLVMValueRef w = cv_at(c, LLVMGetParam(f, G_WEIGHTS),
                           cv_times(c, l, (int64_t)conv_line(c) * c->tile.channels));
    add_line(c, cells, x, w, LLVMGetParam(f, G_NUMBERS), sum);
    emit_loop_end(e, &each);
    leave(c, sum, count, LLVMGetParam(f, G_OUT), c->tile.channels, LLVMGetParam(f, G_IS_FIRST));
    LLVMBuildRetVoid(e->b);
    LLVMPositionBuilderAtEnd(e->b, back);
    return f;
}

/* Lines of so many numbers, and terms that are summed in a row. */
typedef struct {
    Range all;
    uint32_t line, run;
} LinesOf;

/* A tile, in runs: of some lines, or of parts of a line. */
static void gather_runs(CE *c, LLVMValueRef tile, LLVMTypeRef type, LLVMValueRef *args,
                        const LinesOf *lines) {
    Emit *e = c->e;
    const Range *all = &lines->all;
    uint32_t line = lines->line, most = lines->run, together = line < most ? most / line : 1;
    uint32_t parts = (line + most - 1) / most, part = (line + parts - 1) / parts;
    LLVMValueRef zero = cv_int(c, 0), x = args[G_X], run[G_COUNT];
    Counting some, pieces;
    LLVMValueRef from = cv_loop(c, &some, all->from, all->end, together);
    LLVMValueRef piece = cv_loop(c, &pieces, zero, cv_int(c, line), part);
    run[G_X] = cv_at(c, x, piece);
    run[G_OFFSETS] = LLVMBuildInBoundsGEP2(e->b, e->i64, args[G_OFFSETS], &from, 1, "");
    LLVMValueRef number = cv_add(c, cv_times(c, from, line), piece);
    run[G_WEIGHTS] = cv_at(c, args[G_WEIGHTS], cv_times(c, number, c->tile.channels));
    run[G_OUT] = args[G_OUT];
    run[G_LINES] = emit_min(e, cv_sub(c, all->end, from), cv_int(c, together));
    run[G_NUMBERS] = emit_min(e, cv_sub(c, cv_int(c, line), piece), cv_int(c, part));
    LLVMValueRef beyond = LLVMBuildOr(e->b, cv_sub(c, from, all->from), piece, "");
    run[G_IS_FIRST] = LLVMBuildICmp(e->b, LLVMIntEQ, beyond, zero, "");
    LLVMBuildCall2(e->b, type, tile, run, G_COUNT, "");
    emit_loop_end(e, &pieces);
    emit_loop_end(e, &some);
}

/* `count` cells of a row, as tiles: big ones, then small ones; the last may make some cells again. */
static void gather_segment(CE *c, LLVMValueRef x, LLVMValueRef window, LLVMValueRef count,
                           LLVMValueRef *args, const LinesOf *lines) {
    Emit *e = c->e;
    LLVMValueRef big = gather_tile_last(c, c->tile.cells),
                 small = gather_tile_last(c, c->tile.less);
    int64_t cells = c->tile.cells, less = c->tile.less;
    LLVMValueRef tiles = cv_ceil(c, count, cv_int(c, cells));
    LLVMValueRef over = cv_sub(c, cv_times(c, tiles, cells), count);
    LLVMValueRef large =
        cv_sub(c, tiles, emit_min(e, tiles, cv_div(c, over, cv_int(c, cells - less))));
    LLVMValueRef at = emit_variable(e, e->i64, "at");
    LLVMBuildStore(e->b, cv_int(c, 0), at);
    Counting loop;
    LLVMValueRef t = cv_loop(c, &loop, cv_int(c, 0), tiles, 1), is = cv_less(c, t, large);
    LLVMValueRef size = cv_if(c, is, cv_int(c, cells), cv_int(c, less)),
                 here = LLVMBuildLoad2(e->b, e->i64, at, "");
    LLVMValueRef from = emit_max(e, emit_min(e, here, cv_sub(c, count, size)), cv_int(c, 0));
    args[G_X] = cv_at(c, x, cv_times(c, from, c->p.in));
    args[G_OUT] = cv_at(c, window, cv_times(c, from, c->tile.channels));
    gather_runs(c, cv_if(c, is, big, small), LLVMGlobalGetValueType(big), args, lines);
    LLVMBuildStore(e->b, cv_add(c, here, size), at);
    emit_loop_end(e, &loop);
}

ConvArray conv_last_array(CE *c, LLVMValueRef block) {
    ConvArray to =
        c->p.folds ? c->folded : conv_array(c, c->form == CONV_FORWARD, conv_word(c, CONV_MADE));
    if (c->p.folds) to.base = conv_scratch(c, to.base);
    to.base = cv_at(c, to.base, cv_mul(c, cv_times(c, block, c->tile.channels), to.channel));
    return to;
}

void conv_products_last(CE *c, LLVMValueRef x, LLVMValueRef weights, LLVMValueRef out,
                        LLVMValueRef count) {
    LLVMValueRef args[G_COUNT] = {
        [G_OFFSETS] = conv_offset_last(c, cv_int(c, 0)), [G_WEIGHTS] = weights};
    LinesOf one = {{cv_int(c, 0), cv_int(c, 1)}, c->p.in, RUN_OF_POINTS};
    gather_segment(c, x, out, count, args, &one);
}

/* A unit: a row of a block of channels, in segments. */
void conv_gather_last(CE *c, LLVMValueRef unit) {
    Emit *e = c->e;
    if (c->tile.winograd) {
        conv_gather_winograd(c, unit);
        return;
    }
    LLVMValueRef blocks = cv_int(c, c->p.out / c->tile.channels);
    LLVMValueRef row = cv_div(c, unit, blocks), block = cv_rem(c, unit, blocks);
    LLVMValueRef y = cv_rem(c, row, c->made[1]), z = cv_div(c, row, c->made[1]);
    LLVMTypeRef type =
        LLVMArrayType2(e->real, (uint64_t)(SEGMENT + c->tile.cells) * c->tile.channels);
    LLVMValueRef window = emit_variable(e, type, "window"), args[G_COUNT];
    LLVMSetAlignment(window, 64);
    args[G_OFFSETS] = conv_offset_last(c, cv_int(c, 0));
    args[G_WEIGHTS] = conv_packed_last(c, block, cv_int(c, 0));
    ConvArray to = conv_last_array(c, block);
    to.base = cv_at(c, to.base, cv_add(c, cv_mul(c, z, to.z), cv_mul(c, y, to.y)));
    LLVMValueRef x = cv_at(c, conv_scratch(c, c->padded.base),
                           cv_add(c, cv_mul(c, z, c->padded.z), cv_mul(c, y, c->padded.y)));
    LinesOf lines = {lines_of(c, y), conv_line(c), RUN};
    /* segments of about the same length, whole vectors where it can be */
    LLVMValueRef pieces = cv_ceil(c, c->made[0], cv_int(c, SEGMENT)), lanes = cv_int(c, e->lanes);
    LLVMValueRef length = cv_times(c, cv_ceil(c, cv_ceil(c, c->made[0], pieces), lanes), e->lanes);
    Counting segments;
    LLVMValueRef from = cv_loop(c, &segments, cv_int(c, 0), c->made[0], 0);
    LLVMValueRef count = emit_min(e, cv_sub(c, c->made[0], from), length);
    gather_segment(c, cv_at(c, x, cv_times(c, from, c->p.in)), window, count, args, &lines);
    ConvArray part = to;
    part.base = cv_at(c, to.base, from);
    conv_to_channels(c, window, c->tile.channels, part, count);
    segments.step = length;
    emit_loop_end(e, &segments);
}

/* ---- sums -------------------------------------------------------------------------------------------- */

/* Parameters of a tile of sums. */
enum { S_X, S_X_ROW, S_V, S_V_ROW, S_ROWS, S_CELLS, S_OUT, S_IS_FIRST, S_COUNT };

/* tile(…): out[k channels + o] (+)= sum over rows and cells of x[k] v[o], for some numbers k of a line. */
static LLVMValueRef sums_tile_last(CE *c) {
    Emit *e = c->e;
    LLVMBasicBlockRef back = LLVMGetInsertBlock(e->b);
    LLVMTypeRef p = e->ptr, i = e->i64, types[S_COUNT] = {p, i, p, i, i, i, p, e->i1};
    LLVMValueRef f = conv_tile_function(c, "last", types, S_COUNT), sum[MOST_LAST] = {0},
                 v[MOST_LAST];
    uint32_t terms = c->tile.taps, vectors = c->tile.vectors, count = terms * vectors;
    clear(c, sum, count);
    Counting rows, cells;
    LLVMValueRef r = cv_loop(c, &rows, cv_int(c, 0), LLVMGetParam(f, S_ROWS), 1);
    LLVMValueRef x0 = cv_at(c, LLVMGetParam(f, S_X), cv_mul(c, r, LLVMGetParam(f, S_X_ROW)));
    LLVMValueRef v0 = cv_at(c, LLVMGetParam(f, S_V), cv_mul(c, r, LLVMGetParam(f, S_V_ROW)));
    LLVMValueRef cell = cv_loop(c, &cells, cv_int(c, 0), LLVMGetParam(f, S_CELLS), 1);
    int64_t v_cell = c->tile.winograd ? c->tile.channels : c->p.out;
    LLVMValueRef x = cv_at(c, x0, cv_times(c, cell, c->p.in)),
                 here = cv_at(c, v0, cv_times(c, cell, v_cell));
    for (uint32_t k = 0; k < vectors; k++)
        v[k] = cv_load(c, cv_vector(c), cv_at(c, here, cv_int(c, (int64_t)k * e->lanes)));
    for (uint32_t t = 0; t < terms; t++) {
        LLVMValueRef number = emit_splat(e, cv_load(c, e->real, cv_at(c, x, cv_int(c, t))));
        for (uint32_t k = 0; k < vectors; k++) {
            LLVMValueRef s = sum[t * vectors + k], old = LLVMBuildLoad2(e->b, cv_vector(c), s, "");
            LLVMBuildStore(e->b, cv_fma(c, number, v[k], old), s);
        }
    }
    emit_loop_end(e, &cells);
    emit_loop_end(e, &rows);
    leave(c, sum, count, LLVMGetParam(f, S_OUT), c->p.out, LLVMGetParam(f, S_IS_FIRST));
    LLVMBuildRetVoid(e->b);
    LLVMPositionBuilderAtEnd(e->b, back);
    return f;
}

int64_t conv_partial_last(const CE *c) {
    return c->tile.winograd ? conv_winograd_numbers(c) : conv_weights(c->conv);
}

void conv_outer_last(CE *c, LLVMValueRef x, LLVMValueRef v, LLVMValueRef out, LLVMValueRef count,
                     LLVMValueRef first) {
    Counting terms;
    LLVMValueRef tile = sums_tile_last(c), zero = cv_int(c, 0),
                 args[S_COUNT] = {[S_X_ROW] = zero, [S_V] = v, [S_V_ROW] = zero};
    LLVMValueRef k = cv_loop(c, &terms, zero, cv_int(c, c->p.in), c->tile.taps);
    args[S_X] = cv_at(c, x, k);
    args[S_ROWS] = cv_int(c, 1);
    args[S_CELLS] = count;
    args[S_OUT] = cv_at(c, out, cv_times(c, k, c->p.out));
    args[S_IS_FIRST] = first;
    LLVMBuildCall2(c->e->b, LLVMGlobalGetValueType(tile), tile, args, S_COUNT, "");
    emit_loop_end(c->e, &terms);
}

/* A unit: a line of taps, for a block of channels of v, over a chunk of rows. */
void conv_sums_last(CE *c, LLVMValueRef unit) {
    Emit *e = c->e;
    if (c->tile.winograd) {
        conv_sums_winograd(c, unit);
        return;
    }
    LLVMValueRef tile = sums_tile_last(c), zero = cv_int(c, 0), args[S_COUNT];
    LLVMValueRef lines = cv_int(c, conv_lines(c)), blocks = cv_int(c, c->p.out / c->tile.channels);
    LLVMValueRef line = cv_rem(c, unit, lines), rest = cv_div(c, unit, lines);
    LLVMValueRef block = cv_rem(c, rest, blocks), chunk = cv_div(c, rest, blocks);
    LLVMValueRef o = cv_times(c, block, c->tile.channels);
    LLVMValueRef x =
        cv_at(c, conv_scratch(c, c->padded.base), offset_of(c, conv_offset_last(c, zero), line));
    LLVMValueRef v = cv_at(c, conv_scratch(c, c->copied.base), o);
    LLVMValueRef out =
        cv_at(c, conv_scratch(c, c->partial), cv_times(c, chunk, conv_weights(c->conv)));
    out = cv_at(c, out, cv_add(c, cv_times(c, line, (int64_t)conv_line(c) * c->p.out), o));
    LLVMValueRef from = cv_mul(c, chunk, c->block), all = cv_mul(c, c->made[1], c->made[2]);
    LLVMValueRef end = emit_min(e, cv_add(c, from, c->block), all), pieces = row_pieces(c),
                 rows = run_rows(c);
    LLVMValueRef length = cv_ceil(c, c->made[0], pieces);
    Range some_rows = rows_of(c, line, from, end);
    from = some_rows.from, end = some_rows.end;
    Counting runs, cells, terms;
    LLVMValueRef row = cv_loop(c, &runs, from, end, 0);
    /* a run stays in a plane */
    LLVMValueRef y = cv_rem(c, row, c->made[1]), z = cv_div(c, row, c->made[1]);
    LLVMValueRef some =
        emit_min(e, emit_min(e, cv_sub(c, end, row), cv_sub(c, c->made[1], y)), rows);
    LLVMValueRef at = cv_add(c, cv_mul(c, z, c->padded.z), cv_mul(c, y, c->padded.y));
    LLVMValueRef cell = cv_loop(c, &cells, zero, c->made[0], 0);
    LLVMValueRef k = cv_loop(c, &terms, zero, cv_int(c, conv_line(c)), c->tile.taps);
    args[S_X] = cv_at(c, x, cv_add(c, at, cv_add(c, cv_times(c, cell, c->p.in), k)));
    args[S_X_ROW] = c->padded.y;
    args[S_V] = cv_at(c, v, cv_add(c, cv_mul(c, row, c->copied.y), cv_times(c, cell, c->p.out)));
    args[S_V_ROW] = c->copied.y;
    args[S_ROWS] = some;
    args[S_CELLS] = emit_min(e, cv_sub(c, c->made[0], cell), length);
    args[S_OUT] = cv_at(c, out, cv_times(c, k, c->p.out));
    LLVMValueRef is = LLVMBuildOr(e->b, cv_sub(c, row, from), cell, "");
    args[S_IS_FIRST] = LLVMBuildICmp(e->b, LLVMIntEQ, is, zero, "");
    LLVMBuildCall2(e->b, LLVMGlobalGetValueType(tile), tile, args, S_COUNT, "");
    emit_loop_end(e, &terms);
    cells.step = length;
    emit_loop_end(e, &cells);
    runs.step = some;
    emit_loop_end(e, &runs);
}
