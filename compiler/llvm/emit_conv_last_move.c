/* Convolutions with channels last: what only moves numbers. Squares of cells × channels are transposed in registers. */
#include "compiler/llvm/emit_conv.h"

#include <string.h>

/* ---- squares ------------------------------------------------------------------------------------- */

/* v[i][l] becomes v[l][i]: halves of pairs change places, then halves of these. The first such steps may be done already: on
 * from halves of `half` lanes. */
static void transpose(CE *c, LLVMValueRef *v, uint32_t half) {
    Emit *e = c->e;
    uint32_t lanes = e->lanes;
    for (; half; half /= 2) {
        LLVMValueRef low[64], high[64];
        for (uint32_t l = 0; l < lanes; l++) {
            low[l] = LLVMConstInt(e->i32, l & half ? lanes + l - half : l, false);
            high[l] = LLVMConstInt(e->i32, l & half ? lanes + l : l + half, false);
        }
        LLVMValueRef lows = LLVMConstVector(low, lanes), highs = LLVMConstVector(high, lanes);
        for (uint32_t i = 0; i < lanes; i++) {
            if (i & half) continue;
            LLVMValueRef a = v[i], b = v[i + half];
            v[i] = LLVMBuildShuffleVector(e->b, a, b, lows, "");
            v[i + half] = LLVMBuildShuffleVector(e->b, a, b, highs, "");
        }
    }
}

/* The first `count` lanes, in memory that may end there. */
static LLVMValueRef first_lanes(CE *c, uint32_t count) {
    LLVMValueRef lane[64];
    for (uint32_t l = 0; l < c->e->lanes; l++) lane[l] = LLVMConstInt(c->e->i1, l < count, false);
    return LLVMConstVector(lane, c->e->lanes);
}

static LLVMValueRef masked(CE *c, const char *name, const LLVMValueRef *args) {
    Emit *e = c->e;
    unsigned id = LLVMLookupIntrinsicID(name, strlen(name));
    LLVMTypeRef types[2] = {cv_vector(c), e->ptr};
    LLVMValueRef f = LLVMGetIntrinsicDeclaration(e->module, id, types, 2);
    LLVMTypeRef type = LLVMIntrinsicGetType(e->context, id, types, 2);
    return LLVMBuildCall2(e->b, type, f, (LLVMValueRef *)(uintptr_t)args, 4, "");
}

static LLVMValueRef load_first(CE *c, LLVMValueRef p, uint32_t count) {
    if (count == c->e->lanes) return cv_load(c, cv_vector(c), p);
    LLVMValueRef align = LLVMConstInt(c->e->i32, c->e->size, false);
    return masked(
        c, "llvm.masked.load",
        (LLVMValueRef[]){p, align, first_lanes(c, count), emit_number(c->e, cv_vector(c), 0)});
}

static void store_first(CE *c, LLVMValueRef v, LLVMValueRef p, uint32_t count) {
    if (count == c->e->lanes) {
        cv_store(c, v, p);
        return;
    }
    LLVMValueRef align = LLVMConstInt(c->e->i32, c->e->size, false);
    masked(c, "llvm.masked.store", (LLVMValueRef[]){v, p, align, first_lanes(c, count)});
}

/* Rows a and b, of which the halves have changed places: loads are cheaper for that than registers are. */
static void load_halves(CE *c, LLVMValueRef a, LLVMValueRef b, LLVMValueRef *low,
                        LLVMValueRef *high) {
    Emit *e = c->e;
    LLVMValueRef lane[64];
    for (uint32_t l = 0; l < e->lanes; l++) lane[l] = LLVMConstInt(e->i32, l, false);
    LLVMTypeRef type = LLVMVectorType(e->real, e->lanes / 2);
    LLVMValueRef half = cv_int(c, e->lanes / 2), all = LLVMConstVector(lane, e->lanes);
    *low = LLVMBuildShuffleVector(e->b, cv_load(c, type, a), cv_load(c, type, b), all, "");
    a = cv_at(c, a, half), b = cv_at(c, b, half);
    *high = LLVMBuildShuffleVector(e->b, cv_load(c, type, a), cv_load(c, type, b), all, "");
}

/* Squares are moved by functions of their own, which all convolutions of a program share: what, for the first `count` rows
 * or lanes. NULL: it is there, *f; else the builder is in it, and goes back to what is returned. */
static LLVMBasicBlockRef square_function(CE *c, const char *what, uint32_t count,
                                         LLVMTypeRef *types, uint32_t params, LLVMValueRef *f) {
    Emit *e = c->e;
    const char *name = arena_format(e->arena, "pdn_square_%s_%u", what, count);
    *f = LLVMGetNamedFunction(e->module, name);
    if (*f) return NULL;
    LLVMBasicBlockRef back = LLVMGetInsertBlock(e->b);
    *f = emit_function(e, name, LLVMFunctionType(e->none, types, params, false), false);
    unsigned kind = LLVMGetEnumAttributeKindForName("noinline", 8);
    LLVMAddAttributeAtIndex(*f, (unsigned)LLVMAttributeFunctionIndex,
                            LLVMCreateEnumAttribute(e->context, kind, 0));
    LLVMPositionBuilderAtEnd(e->b, LLVMAppendBasicBlockInContext(e->context, *f, "entry"));
    return back;
}

static void square_end(CE *c, LLVMBasicBlockRef back) {
    LLVMBuildRetVoid(c->e->b);
    LLVMPositionBuilderAtEnd(c->e->b, back);
}

static void square_call(CE *c, LLVMValueRef f, LLVMValueRef *args, uint32_t count) {
    LLVMBuildCall2(c->e->b, LLVMGlobalGetValueType(f), f, args, count, "");
}

/* to[i to_apart + l] = from[l from_apart + i] × factor (NULL: 1), a square. */
static void move_square(CE *c, LLVMValueRef to, LLVMValueRef to_apart, LLVMValueRef from,
                        LLVMValueRef from_apart, LLVMValueRef factor) {
    Emit *e = c->e;
    LLVMTypeRef types[] = {e->ptr, e->i64, e->ptr, e->i64, e->real};
    LLVMValueRef args[] = {to, to_apart, from, from_apart, factor}, f, v[64];
    uint32_t half = e->lanes / 2, count = factor ? 5 : 4;
    LLVMBasicBlockRef back =
        square_function(c, factor ? "times" : "move", e->lanes, types, count, &f);
    if (back) {
        to = LLVMGetParam(f, 0), to_apart = LLVMGetParam(f, 1), from = LLVMGetParam(f, 2),
        from_apart = LLVMGetParam(f, 3);
        for (uint32_t i = 0; i < half; i++)
            load_halves(c, cv_at(c, from, cv_times(c, from_apart, i)),
                        cv_at(c, from, cv_times(c, from_apart, i + half)), &v[i], &v[i + half]);
        for (uint32_t i = 0; factor && i < e->lanes; i++)
            v[i] = LLVMBuildFMul(e->b, v[i], emit_splat(e, LLVMGetParam(f, 4)), "");
        transpose(c, v, half / 2);
        for (uint32_t i = 0; i < e->lanes; i++)
            cv_store(c, v[i], cv_at(c, to, cv_times(c, to_apart, i)));
        square_end(c, back);
    }
    square_call(c, f, args, count);
}

/* to[i to_apart + l] = from[l from_apart + i] for i < count alone: memory may end there. */
static void move_rows_first(CE *c, LLVMValueRef to, LLVMValueRef to_apart, LLVMValueRef from,
                            LLVMValueRef from_apart, uint32_t count) {
    Emit *e = c->e;
    LLVMTypeRef types[] = {e->ptr, e->i64, e->ptr, e->i64};
    LLVMValueRef args[] = {to, to_apart, from, from_apart}, f, v[64];
    LLVMBasicBlockRef back = square_function(c, "rows", count, types, 4, &f);
    if (back) {
        for (uint32_t l = 0; l < e->lanes; l++)
            v[l] = load_first(c, cv_at(c, LLVMGetParam(f, 2), cv_times(c, LLVMGetParam(f, 3), l)),
                              count);
        transpose(c, v, e->lanes / 2);
        for (uint32_t i = 0; i < count; i++)
            cv_store(c, v[i], cv_at(c, LLVMGetParam(f, 0), cv_times(c, LLVMGetParam(f, 1), i)));
        square_end(c, back);
    }
    square_call(c, f, args, 4);
}

/* to[i to_apart + l] = from[l lanes + i] for l < count alone: memory may end there. */
static void move_lanes_first(CE *c, LLVMValueRef to, LLVMValueRef to_apart, LLVMValueRef from,
                             uint32_t count) {
    Emit *e = c->e;
    LLVMTypeRef types[] = {e->ptr, e->i64, e->ptr};
    LLVMValueRef args[] = {to, to_apart, from}, f, v[64];
    LLVMBasicBlockRef back = square_function(c, "lanes", count, types, 3, &f);
    if (back) {
        for (uint32_t l = 0; l < e->lanes; l++)
            v[l] = l < count
                       ? cv_load(c, cv_vector(c),
                                 cv_at(c, LLVMGetParam(f, 2), cv_int(c, (int64_t)l * e->lanes)))
                       : emit_number(e, cv_vector(c), 0);
        transpose(c, v, e->lanes / 2);
        for (uint32_t i = 0; i < e->lanes; i++)
            store_first(c, v[i], cv_at(c, LLVMGetParam(f, 0), cv_times(c, LLVMGetParam(f, 1), i)),
                        count);
        square_end(c, back);
    }
    square_call(c, f, args, 3);
}

/* `rows` (a multiple of the lanes) times `count`: to[i to_apart + r] = from[r from_apart + i] × factor. Where `back`, in
 * the other direction, to[r to_apart + i] = from[i from_apart + r]. The last squares may overlap. */
static void move_squares(CE *c, bool back, LLVMValueRef to, LLVMValueRef to_apart,
                         LLVMValueRef from, LLVMValueRef from_apart, uint32_t rows,
                         LLVMValueRef count, LLVMValueRef factor) {
    Emit *e = c->e;
    LLVMValueRef lanes = cv_int(c, e->lanes), zero = cv_int(c, 0), one = cv_int(c, 1);
    LLVMValueRef to_r = back ? to_apart : one, to_i = back ? one : to_apart;
    LLVMValueRef from_r = back ? one : from_apart, from_i = back ? from_apart : one;
    LLVMBasicBlockRef many = emit_block(e, "many"), few = emit_block(e, "few"),
                      join = emit_block(e, "join");
    LLVMBuildCondBr(e->b, LLVMBuildICmp(e->b, LLVMIntSGE, count, lanes, ""), many, few);
    LLVMPositionBuilderAtEnd(e->b, many);
    Counting blocks, cells;
    LLVMValueRef r = cv_loop(c, &blocks, zero, cv_int(c, rows), e->lanes);
    LLVMValueRef i =
        emit_min(e, cv_loop(c, &cells, zero, count, e->lanes), cv_sub(c, count, lanes));
    LLVMValueRef at = cv_at(c, to, cv_add(c, cv_mul(c, r, to_r), cv_mul(c, i, to_i)));
    move_square(c, at, to_apart,
                cv_at(c, from, cv_add(c, cv_mul(c, r, from_r), cv_mul(c, i, from_i))), from_apart,
                factor);
    emit_loop_end(e, &cells);
    emit_loop_end(e, &blocks);
    LLVMBuildBr(e->b, join);
    LLVMPositionBuilderAtEnd(e->b, few);
    r = cv_loop(c, &blocks, zero, cv_int(c, rows), 1);
    i = cv_loop(c, &cells, zero, count, 1);
    LLVMValueRef x =
        cv_load(c, e->real, cv_at(c, from, cv_add(c, cv_mul(c, r, from_r), cv_mul(c, i, from_i))));
    if (factor) x = LLVMBuildFMul(e->b, x, factor, "");
    cv_store(c, x, cv_at(c, to, cv_add(c, cv_mul(c, r, to_r), cv_mul(c, i, to_i))));
    emit_loop_end(e, &cells);
    emit_loop_end(e, &blocks);
    LLVMBuildBr(e->b, join);
    LLVMPositionBuilderAtEnd(e->b, join);
}

void conv_to_channels(CE *c, LLVMValueRef from, uint32_t channels, ConvArray to,
                      LLVMValueRef count) {
    move_squares(c, true, to.base, to.channel, from, cv_int(c, channels), channels, count, NULL);
}

/* ---- fill, copy ------------------------------------------------------------------------------------ */

/* Cells [from, end) of a row of the padded array, copies of cells inside. */
static void fill_ghosts(CE *c, LLVMValueRef row, LLVMValueRef from, LLVMValueRef end,
                        LLVMValueRef n) {
    Emit *e = c->e;
    Counting cells, channels;
    LLVMValueRef i = cv_loop(c, &cells, from, end, 1);
    ConvSource s = conv_source(c, 0, cv_plus(c, i, -c->p.axis[0].low), n);
    LLVMValueRef to = cv_at(c, row, cv_times(c, i, c->p.in));
    LLVMValueRef inside = cv_at(c, row, cv_times(c, cv_plus(c, s.at, c->p.axis[0].low), c->p.in));
    LLVMValueRef o = cv_loop(c, &channels, cv_int(c, 0), cv_int(c, c->p.in), e->lanes);
    LLVMValueRef v = cv_load(c, cv_vector(c), cv_at(c, inside, o));
    if (s.factor) {
        LLVMValueRef dead = LLVMBuildFCmp(e->b, LLVMRealOEQ, s.factor, emit_real(e, 0), "");
        v = LLVMBuildFMul(e->b, v, emit_splat(e, s.factor), "");
        v = cv_if(c, dead, emit_number(e, cv_vector(c), 0), v);
    }
    cv_store(c, v, cv_at(c, to, o));
    emit_loop_end(e, &channels);
    emit_loop_end(e, &cells);
}

/* A unit: one row of the padded array. */
void conv_fill_last(CE *c, LLVMValueRef unit) {
    Emit *e = c->e;
    bool back = c->form == CONV_TRANSPOSED;
    LLVMValueRef *n = back ? c->m : c->n, i[MAX_RANK] = {NULL}, factor = NULL, zero = cv_int(c, 0);
    i[1] = cv_rem(c, unit, c->extent[1]);
    i[2] = cv_div(c, unit, c->extent[1]);
    ConvArray from = conv_array(c, back, conv_word(c, CONV_FIRST));
    for (uint32_t a = 1; a < c->conv->rank; a++) {
        ConvSource s = conv_source(c, a, cv_plus(c, i[a], -c->p.axis[a].low), n[a]);
        from.base = cv_at(c, from.base, cv_mul(c, s.at, a == 1 ? from.y : from.z));
        if (s.factor) factor = factor ? LLVMBuildFMul(e->b, factor, s.factor, "") : s.factor;
    }
    LLVMValueRef row = cv_add(c, cv_mul(c, i[2], c->padded.z), cv_mul(c, i[1], c->padded.y));
    row = cv_at(c, conv_scratch(c, c->padded.base), row);
    LLVMBasicBlockRef dead = NULL, live = NULL, join = NULL;
    if (factor) {
        dead = emit_block(e, "dead"), live = emit_block(e, "live"), join = emit_block(e, "join");
        LLVMBuildCondBr(e->b, LLVMBuildFCmp(e->b, LLVMRealOEQ, factor, emit_real(e, 0), ""), dead,
                        live);
        LLVMPositionBuilderAtEnd(e->b, dead);
        Counting k;
        LLVMValueRef at = cv_loop(c, &k, zero, c->padded.y, e->lanes);
        cv_store(c, emit_number(e, cv_vector(c), 0), cv_at(c, row, at));
        emit_loop_end(e, &k);
        LLVMBuildBr(e->b, join);
        LLVMPositionBuilderAtEnd(e->b, live);
    }
    LLVMValueRef low = cv_int(c, c->p.axis[0].low),
                 first = cv_at(c, row, cv_times(c, low, c->p.in));
    move_squares(c, false, first, cv_int(c, c->p.in), from.base, from.channel, c->p.in, n[0],
                 factor);
    fill_ghosts(c, row, zero, low, n[0]);
    fill_ghosts(c, row, cv_add(c, low, n[0]), c->extent[0], n[0]);
    if (!factor) return;
    LLVMBuildBr(e->b, join);
    LLVMPositionBuilderAtEnd(e->b, join);
}

/* A unit: one row of v. */
void conv_copy_last(CE *c, LLVMValueRef unit) {
    ConvArray v = conv_array(c, 1, conv_word(c, CONV_SECOND));
    LLVMValueRef y = cv_rem(c, unit, c->made[1]), z = cv_div(c, unit, c->made[1]);
    LLVMValueRef from = cv_at(c, v.base, cv_add(c, cv_mul(c, z, v.z), cv_mul(c, y, v.y)));
    LLVMValueRef to = cv_at(c, conv_scratch(c, c->copied.base), cv_mul(c, unit, c->copied.y));
    move_squares(c, false, to, cv_int(c, c->p.out), from, v.channel, c->p.out, c->made[0], NULL);
}

/* ---- pack ----------------------------------------------------------------------------------------- */

LLVMValueRef conv_offset_last(CE *c, LLVMValueRef line) {
    LLVMValueRef base = conv_scratch(c, c->offsets);
    return LLVMBuildInBoundsGEP2(c->e->b, c->e->i64, base, &line, 1, "");
}

LLVMValueRef conv_packed_last(CE *c, LLVMValueRef block, LLVMValueRef k) {
    LLVMValueRef at = cv_add(c, cv_times(c, block, conv_depth(c)), k);
    return cv_at(c, conv_scratch(c, c->weights), cv_times(c, at, c->tile.channels));
}

/* Where the lines of a cell begin. */
static void pack_lines(CE *c) {
    Emit *e = c->e;
    const Conv *v = c->conv;
    uint32_t apart = conv_lines(c) / (v->size[1] * v->size[2]); /* lines of a row of taps */
    Counting lines;
    LLVMValueRef l = cv_loop(c, &lines, cv_int(c, 0), cv_int(c, conv_lines(c)), 1);
    LLVMValueRef x = cv_rem(c, l, cv_int(c, apart)), row = cv_div(c, l, cv_int(c, apart));
    LLVMValueRef y = cv_rem(c, row, cv_int(c, v->size[1])),
                 z = cv_div(c, row, cv_int(c, v->size[1]));
    LLVMValueRef at = cv_times(c, x, (int64_t)v->dilation[0] * c->p.in);
    at = cv_add(c, at, cv_mul(c, cv_times(c, y, v->dilation[1]), c->padded.y));
    at = cv_add(c, at, cv_mul(c, cv_times(c, z, v->dilation[2]), c->padded.z));
    LLVMBuildStore(e->b, at, conv_offset_last(c, l));
    emit_loop_end(e, &lines);
}

/* Taps [t, t + count), count at most the lanes, of channel i, for a vector of channels that are made. */
static void pack_taps(CE *c, LLVMValueRef vector, LLVMValueRef i, LLVMValueRef t, uint32_t count) {
    Emit *e = c->e;
    bool back = c->form == CONV_TRANSPOSED;
    int64_t taps = conv_depth(c) / c->p.in, apart = back ? taps : taps * c->p.in;
    LLVMValueRef o = cv_times(c, vector, e->lanes), vectors = cv_int(c, c->tile.vectors);
    LLVMValueRef row =
        back ? cv_add(c, cv_times(c, i, c->p.out), o) : cv_add(c, cv_times(c, o, c->p.in), i);
    LLVMValueRef from = cv_at(c, conv_word(c, CONV_SECOND), cv_add(c, cv_times(c, row, taps), t));
    /* those of a transpose stand backwards */
    LLVMValueRef tap = back ? cv_sub(c, cv_int(c, taps - 1), t) : t;
    int64_t step = (int64_t)c->p.in * c->tile.channels;
    LLVMValueRef to =
        conv_packed_last(c, cv_div(c, vector, vectors), cv_add(c, cv_times(c, tap, c->p.in), i));
    to = cv_at(c, to, cv_times(c, cv_rem(c, vector, vectors), e->lanes));
    move_rows_first(c, to, cv_int(c, back ? -step : step), from, cv_int(c, apart), count);
}

/* Units: the lines, then the vectors of channels that are made. */
void conv_pack_last(CE *c, LLVMValueRef unit) {
    Emit *e = c->e;
    LLVMValueRef zero = cv_int(c, 0);
    Guard g;
    cv_when(c, &g, LLVMBuildICmp(e->b, LLVMIntEQ, unit, zero, ""));
    pack_lines(c);
    cv_end(c, &g);
    if (c->form == CONV_WEIGHTS) return;
    cv_when(c, &g, LLVMBuildICmp(e->b, LLVMIntNE, unit, zero, ""));
    uint32_t taps = conv_depth(c) / c->p.in, rest = taps % e->lanes;
    Counting channels, pieces;
    LLVMValueRef i = cv_loop(c, &channels, zero, cv_int(c, c->p.in), 1),
                 vector = cv_plus(c, unit, -1);
    if (taps >= e->lanes) {
        LLVMValueRef t = cv_loop(c, &pieces, zero, cv_int(c, taps - rest), e->lanes);
        pack_taps(c, vector, i, t, e->lanes);
        emit_loop_end(e, &pieces);
    }
    if (rest) pack_taps(c, vector, i, cv_int(c, taps - rest), rest);
    if (c->tile.winograd) conv_pack_winograd(c, vector, i);
    emit_loop_end(e, &channels);
    cv_end(c, &g);
}

/* ---- total --------------------------------------------------------------------------------------------- */

/* The chunks in double, in their order, of a vector of channels o from `at` on. */
static LLVMValueRef sum_chunks(CE *c, LLVMValueRef at) {
    Emit *e = c->e;
    LLVMTypeRef wide = LLVMVectorType(e->f64, e->lanes);
    LLVMValueRef sum = emit_variable(e, wide, "sum");
    LLVMBuildStore(e->b, LLVMConstNull(wide), sum);
    Counting k;
    LLVMValueRef chunk = cv_loop(c, &k, cv_int(c, 0), c->blocks, 1);
    LLVMValueRef x =
        cv_load(c, cv_vector(c), cv_at(c, at, cv_times(c, chunk, conv_partial_last(c))));
    if (e->size == 4) x = LLVMBuildFPExt(e->b, x, wide, "");
    LLVMBuildStore(e->b, LLVMBuildFAdd(e->b, LLVMBuildLoad2(e->b, wide, sum, ""), x, ""), sum);
    emit_loop_end(e, &k);
    x = LLVMBuildLoad2(e->b, wide, sum, "");
    return e->size == 4 ? LLVMBuildFPTrunc(e->b, x, cv_vector(c), "") : x;
}

/* Taps [t, t + count) of channel i, for the channels o, o + 1, … of a vector. */
static void total_taps(CE *c, LLVMValueRef square, LLVMValueRef o, LLVMValueRef i, LLVMValueRef t,
                       uint32_t count) {
    Emit *e = c->e;
    int64_t taps = conv_depth(c) / c->p.in;
    LLVMValueRef from =
        cv_at(c, conv_scratch(c, c->partial), cv_add(c, cv_times(c, i, c->p.out), o));
    Counting loop;
    LLVMValueRef l = cv_loop(c, &loop, cv_int(c, 0), cv_int(c, count), 1);
    LLVMValueRef at = cv_at(c, from, cv_times(c, cv_add(c, t, l), (int64_t)c->p.in * c->p.out));
    cv_store(c, sum_chunks(c, at), cv_at(c, square, cv_times(c, l, e->lanes)));
    emit_loop_end(e, &loop);
    LLVMValueRef to = cv_times(c, cv_add(c, cv_times(c, o, c->p.in), i), taps);
    move_lanes_first(c, cv_at(c, conv_word(c, CONV_MADE), cv_add(c, to, t)),
                     cv_int(c, taps * c->p.in), square, count);
}

/* A unit: a channel of x, for a vector of channels of v. */
void conv_total_last(CE *c, LLVMValueRef unit) {
    Emit *e = c->e;
    LLVMValueRef in = cv_int(c, c->p.in), i = cv_rem(c, unit, in),
                 o = cv_times(c, cv_div(c, unit, in), e->lanes);
    LLVMValueRef square =
        emit_variable(e, LLVMArrayType2(e->real, (uint64_t)e->lanes * e->lanes), "square");
    LLVMSetAlignment(square, 64);
    uint32_t taps = conv_depth(c) / c->p.in, rest = taps % e->lanes;
    Counting pieces;
    if (taps >= e->lanes) {
        LLVMValueRef t = cv_loop(c, &pieces, cv_int(c, 0), cv_int(c, taps - rest), e->lanes);
        total_taps(c, square, o, i, t, e->lanes);
        emit_loop_end(e, &pieces);
    }
    if (rest) total_taps(c, square, o, i, cv_int(c, taps - rest), rest);
}
