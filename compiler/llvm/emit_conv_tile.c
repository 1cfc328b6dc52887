/* Convolutions: the loops that compute. Sums live in registers: SSA values, never memory. */
#include "compiler/llvm/emit_conv.h"

#include <string.h>

enum { WINDOW = 8 }; /* tiles that are made before they are copied to their rows */

const char *conv_tile_name(CE *c, const char *what) {
    uint32_t number = (uint32_t)(c->conv - c->e->plan->convs.data);
    return arena_format(c->e->arena, "pdn_conv_%u_%s_%s%s", number, conv_form_names[c->form], what,
                        c->e->program);
}

LLVMValueRef conv_tile_function(CE *c, const char *what, LLVMTypeRef *types, uint32_t count) {
    Emit *e = c->e;
    const char *name = conv_tile_name(c, what);
    LLVMValueRef f = emit_function(e, name, LLVMFunctionType(e->none, types, count, false), false);
    LLVMAddAttributeAtIndex(
        f, (unsigned)LLVMAttributeFunctionIndex,
        LLVMCreateEnumAttribute(e->context, LLVMGetEnumAttributeKindForName("noinline", 8), 0));
    LLVMPositionBuilderAtEnd(e->b, LLVMAppendBasicBlockInContext(e->context, f, "entry"));
    return f;
}

void conv_call_tile(CE *c, LLVMValueRef f, LLVMValueRef *args, uint32_t count) {
    LLVMBuildCall2(c->e->b, LLVMGlobalGetValueType(f), f, args, count, "");
}

LLVMValueRef conv_int_at(CE *c, LLVMValueRef p, LLVMValueRef i) {
    LLVMValueRef at = LLVMBuildInBoundsGEP2(c->e->b, c->e->i64, p, &i, 1, "");
    return LLVMBuildLoad2(c->e->b, c->e->i64, at, "");
}

/* ---- sums in registers ------------------------------------------------------------------------------ */

/* So many terms are summed one after another, and long sums are sums of such runs: what rounding makes of n numbers in a
 * row grows with the root of n at least. */
enum { RUN = 192 };

static void clear_sums(CE *c, LLVMValueRef *sum, uint32_t count, const char *name) {
    for (uint32_t i = 0; i < count; i++) {
        if (!sum[i]) sum[i] = emit_variable(c->e, cv_vector(c), name);
        LLVMBuildStore(c->e->b, emit_number(c->e, cv_vector(c), 0), sum[i]);
    }
}

void conv_sum_runs(CE *c, LLVMValueRef f, uint32_t vectors, LLVMValueRef turns, uint32_t terms,
                   uint32_t most, AddTurns *add, LLVMValueRef *sum, uint32_t count) {
    Emit *e = c->e;
    LLVMValueRef part[MOST_SUMS] = {0};
    uint32_t runs = (most * terms + RUN - 1) / RUN;
    clear_sums(c, sum, count, "sum");
    if (runs < 2 || most < 2) {
        add(c, f, vectors, cv_int(c, 0), turns, sum);
        return;
    }
    int64_t length = (most + runs - 1) / runs;
    Counting loop;
    LLVMValueRef from = cv_loop(c, &loop, cv_int(c, 0), turns, length);
    clear_sums(c, part, count, "part");
    add(c, f, vectors, from, emit_min(e, cv_plus(c, from, length), turns), part);
    for (uint32_t i = 0; i < count; i++) {
        LLVMValueRef old = LLVMBuildLoad2(e->b, cv_vector(c), sum[i], "");
        LLVMValueRef more = LLVMBuildLoad2(e->b, cv_vector(c), part[i], "");
        LLVMBuildStore(e->b, LLVMBuildFAdd(e->b, old, more, ""), sum[i]);
    }
    emit_loop_end(e, &loop);
}

/* ---- gather --------------------------------------------------------------------------------------- */

/* Parameters of a tile that gathers; the last two for c->finish. */
enum { G_X, G_OFFSETS, G_WEIGHTS, G_DEPTH, G_OUT, G_APART, G_VALID, G_CONTEXT, G_FIRST, G_COUNT };

static uint32_t gather_params(const CE *c) { return c->finish ? G_COUNT : G_CONTEXT; }

/* Taps along x, one after another in what is read, that a turn adds; it is not to be too much code. */
static uint32_t line_taps(const CE *c) {
    uint32_t taps = c->conv->size[0];
    return c->conv->stride[0] == 1 && taps <= 9 ? taps : 1;
}

/* sum[o vectors + v] += weights[k channels + o] x[offsets[k] + v lanes], for the taps k of the lines [from, to). */
static void add_lines(CE *c, LLVMValueRef f, uint32_t vectors, LLVMValueRef from, LLVMValueRef to,
                      LLVMValueRef *sum) {
    Emit *e = c->e;
    LLVMValueRef x[MOST_SUMS];
    uint32_t channels = c->tile.channels, taps = line_taps(c);
    int64_t apart = (int64_t)c->conv->dilation[0] * (c->form == CONV_TRANSPOSED ? -1 : 1);
    Counting loop;
    LLVMValueRef k = cv_times(c, cv_loop(c, &loop, from, to, 1), taps);
    LLVMValueRef first =
        cv_at(c, LLVMGetParam(f, G_X), conv_int_at(c, LLVMGetParam(f, G_OFFSETS), k));
    LLVMValueRef w = cv_at(c, LLVMGetParam(f, G_WEIGHTS), cv_times(c, k, channels));
    for (uint32_t tap = 0; tap < taps; tap++) {
        for (uint32_t v = 0; v < vectors; v++)
            x[v] = cv_load(c, cv_vector(c),
                           cv_at(c, first, cv_int(c, tap * apart + (int64_t)v * e->lanes)));
        for (uint32_t o = 0; o < channels; o++) {
            LLVMValueRef weight =
                emit_splat(e, cv_load(c, e->real, cv_at(c, w, cv_int(c, tap * channels + o))));
            for (uint32_t v = 0; v < vectors; v++) {
                LLVMValueRef s = sum[o * vectors + v];
                LLVMValueRef old = LLVMBuildLoad2(e->b, cv_vector(c), s, "");
                LLVMBuildStore(e->b, cv_fma(c, weight, x[v], old), s);
            }
        }
    }
    emit_loop_end(e, &loop);
}

/* tile(x, offsets, weights, depth, out, apart, valid): out[o apart + cell] = sum over k < depth of
 * weights[k channels + o] x[offsets[k] + cell], for o < valid. */
static LLVMValueRef gather_tile(CE *c) {
    Emit *e = c->e;
    LLVMBasicBlockRef back = LLVMGetInsertBlock(e->b);
    LLVMTypeRef p = e->ptr, i = e->i64, types[G_COUNT] = {p, p, p, i, p, i, i, p, i};
    uint32_t channels = c->tile.channels, vectors = c->tile.vectors;
    const char *what =
        arena_format(e->arena, "tile_%u_%u%s", channels, vectors, c->finish ? c->finish->name : "");
    LLVMValueRef f = LLVMGetNamedFunction(e->module, conv_tile_name(c, what)), sum[MOST_SUMS] = {0};
    if (f) return f;
    f = conv_tile_function(c, what, types, gather_params(c));
    uint32_t taps = line_taps(c), most = conv_depth(c) / taps;
    /* phases have depths of their own */
    LLVMValueRef lines = taps > 1 ? cv_int(c, most) : LLVMGetParam(f, G_DEPTH);
    conv_sum_runs(c, f, vectors, lines, taps, most, add_lines, sum, channels * vectors);
    for (uint32_t o = 0; o < channels; o++) {
        Guard g;
        bool partial = c->p.out % channels != 0 && o > 0;
        if (partial) cv_when(c, &g, cv_less(c, cv_int(c, o), LLVMGetParam(f, G_VALID)));
        LLVMValueRef to =
            cv_at(c, LLVMGetParam(f, G_OUT), cv_times(c, LLVMGetParam(f, G_APART), o));
        LLVMValueRef made[MOST_SUMS];
        for (uint32_t v = 0; v < vectors; v++)
            made[v] = LLVMBuildLoad2(e->b, cv_vector(c), sum[o * vectors + v], "");
        if (c->finish) {
            LLVMValueRef channel = cv_plus(c, LLVMGetParam(f, G_FIRST), o);
            c->finish->apply(c->finish, LLVMGetParam(f, G_CONTEXT), channel, made, vectors);
        }
        for (uint32_t v = 0; v < vectors; v++)
            cv_store(c, made[v], cv_at(c, to, cv_int(c, (int64_t)v * e->lanes)));
        if (partial) cv_end(c, &g);
    }
    LLVMBuildRetVoid(e->b);
    LLVMPositionBuilderAtEnd(e->b, back);
    return f;
}

void conv_copy_run(CE *c, LLVMValueRef to, LLVMValueRef from, LLVMValueRef count) {
    Emit *e = c->e;
    LLVMValueRef lanes = cv_int(c, e->lanes), last = cv_sub(c, count, lanes);
    LLVMBasicBlockRef many = emit_block(e, "many"), few = emit_block(e, "few"),
                      join = emit_block(e, "join");
    LLVMBuildCondBr(e->b, LLVMBuildICmp(e->b, LLVMIntSGE, count, lanes, ""), many, few);
    LLVMPositionBuilderAtEnd(e->b, many);
    Counting k;
    LLVMValueRef i = cv_loop(c, &k, cv_int(c, 0), last, e->lanes);
    cv_store(c, cv_load(c, cv_vector(c), cv_at(c, from, i)), cv_at(c, to, i));
    emit_loop_end(e, &k);
    cv_store(c, cv_load(c, cv_vector(c), cv_at(c, from, last)), cv_at(c, to, last));
    LLVMBuildBr(e->b, join);
    LLVMPositionBuilderAtEnd(e->b, few);
    i = cv_loop(c, &k, cv_int(c, 0), count, 1);
    cv_store(c, cv_load(c, e->real, cv_at(c, from, i)), cv_at(c, to, i));
    emit_loop_end(e, &k);
    LLVMBuildBr(e->b, join);
    LLVMPositionBuilderAtEnd(e->b, join);
}

static void run_tile(CE *c, const ConvGather *g, LLVMValueRef x, LLVMValueRef to,
                     LLVMValueRef apart) {
    LLVMValueRef args[G_COUNT] = {cv_at(c, g->x, x), g->offsets, g->weights, g->depth, to, apart,
                                  g->valid,          g->context, g->first};
    conv_call_tile(c, g->tile, args, gather_params(c));
}

static void gather_rows(CE *c, const ConvGather *g, LLVMValueRef from, LLVMValueRef end) {
    Counting rows, cells;
    LLVMValueRef y = cv_loop(c, &rows, from, end, 1);
    LLVMValueRef x =
        cv_loop(c, &cells, cv_int(c, 0), c->made[0], (int64_t)c->tile.vectors * c->e->lanes);
    run_tile(c, g, cv_add(c, cv_mul(c, y, c->padded.y), x),
             cv_at(c, g->to.base, cv_add(c, cv_mul(c, y, g->to.y), x)), g->to.channel);
    emit_loop_end(c->e, &cells);
    emit_loop_end(c->e, &rows);
}

/* Copies what stands in the window, the numbers [from, from + count) of the plane, to its rows. */
static void leave_window(CE *c, const ConvGather *g, LLVMValueRef window, LLVMValueRef from,
                         LLVMValueRef count) {
    Emit *e = c->e;
    int64_t apart = (int64_t)WINDOW * c->tile.vectors * e->lanes;
    LLVMValueRef y = emit_variable(e, e->i64, "y"), x = emit_variable(e, e->i64, "x");
    LLVMBuildStore(e->b, cv_div(c, from, c->padded.y), y);
    LLVMBuildStore(e->b, cv_rem(c, from, c->padded.y), x);
    Counting runs, channels;
    LLVMValueRef at = cv_loop(c, &runs, cv_int(c, 0), count, 0);
    LLVMValueRef here = LLVMBuildLoad2(e->b, e->i64, x, ""),
                 row = LLVMBuildLoad2(e->b, e->i64, y, "");
    LLVMValueRef run = emit_min(e, cv_sub(c, c->made[0], here), cv_sub(c, count, at));
    LLVMValueRef to = cv_add(c, cv_mul(c, row, g->to.y), here);
    LLVMValueRef some = LLVMBuildICmp(e->b, LLVMIntSGT, run, cv_int(c, 0), "");
    LLVMValueRef most = cv_if(c, some, g->valid, cv_int(c, 0));
    LLVMValueRef o = cv_loop(c, &channels, cv_int(c, 0), most, 1);
    conv_copy_run(c, cv_at(c, g->to.base, cv_add(c, to, cv_mul(c, o, g->to.channel))),
                  cv_at(c, window, cv_add(c, at, cv_times(c, o, apart))), run);
    emit_loop_end(e, &channels);
    LLVMBuildStore(e->b, cv_plus(c, row, 1), y);
    LLVMBuildStore(e->b, cv_int(c, 0), x);
    runs.step = cv_sub(c, c->padded.y, here);
    emit_loop_end(e, &runs);
}

static void gather_flat(CE *c, const ConvGather *g, LLVMValueRef from, LLVMValueRef end) {
    Emit *e = c->e;
    int64_t tile = (int64_t)c->tile.vectors * e->lanes, apart = WINDOW * tile;
    LLVMTypeRef type = LLVMArrayType2(e->real, (uint64_t)(c->tile.channels * apart));
    LLVMValueRef window = emit_variable(e, type, "window");
    LLVMSetAlignment(window, 64);
    Counting windows, tiles;
    LLVMValueRef f = cv_loop(c, &windows, from, end, apart);
    LLVMValueRef count = emit_min(e, cv_sub(c, end, f), cv_int(c, apart));
    LLVMValueRef t = cv_loop(c, &tiles, cv_int(c, 0), count, tile);
    run_tile(c, g, cv_add(c, f, t), cv_at(c, window, t), cv_int(c, apart));
    emit_loop_end(e, &tiles);
    leave_window(c, g, window, f, count);
    emit_loop_end(e, &windows);
}

/* Where a phase of what is made goes. */
ConvArray conv_made_array(CE *c, LLVMValueRef phase) {
    if (!c->p.folds) return conv_array(c, c->form == CONV_FORWARD, conv_word(c, CONV_MADE));
    ConvArray a = c->folded;
    LLVMValueRef volume = cv_mul(c, a.z, c->made[2]);
    a.base = cv_at(c, conv_scratch(c, a.base), cv_mul(c, phase, volume));
    return a;
}

/* A unit: a block of channels, in a block of a plane of a phase of what is made. */
void conv_gather(CE *c, LLVMValueRef unit) {
    Emit *e = c->e;
    LLVMValueRef each = cv_int(c, conv_channel_blocks(c));
    LLVMValueRef all = cv_int(c, (int64_t)c->p.groups * conv_channel_blocks(c));
    LLVMValueRef channels = cv_rem(c, unit, all), rest = cv_div(c, unit, all);
    LLVMValueRef block = cv_rem(c, rest, c->blocks);
    rest = cv_div(c, rest, c->blocks);
    LLVMValueRef z = cv_rem(c, rest, c->made[2]), phase = cv_div(c, rest, c->made[2]);
    LLVMValueRef group = cv_div(c, channels, each);
    LLVMValueRef first = cv_times(c, cv_rem(c, channels, each), c->tile.channels);
    ConvGather g = {.tile = c->tile.rows ? NULL : gather_tile(c),
                    .offsets = conv_offsets(c, phase)};
    g.weights = conv_packed(c, phase, channels);
    g.depth = conv_phase_depth(c, phase);
    g.valid = emit_min(e, cv_sub(c, cv_int(c, c->p.out), first), cv_int(c, c->tile.channels));
    LLVMValueRef at = cv_mul(c, cv_times(c, group, c->p.in), c->padded.channel);
    g.x = cv_at(c, conv_scratch(c, c->padded.base), cv_add(c, at, cv_mul(c, z, c->padded.z)));
    g.to = conv_made_array(c, phase);
    first = cv_add(c, first, cv_times(c, group, c->p.out));
    g.to.base =
        cv_at(c, g.to.base, cv_add(c, cv_mul(c, first, g.to.channel), cv_mul(c, z, g.to.z)));
    LLVMValueRef from = cv_mul(c, block, c->block), to = cv_add(c, from, c->block);
    if (c->tile.rows) {
        conv_gather_rows(c, &g, from);
        return;
    }
    LLVMBasicBlockRef rows = emit_block(e, "rows"), flat = emit_block(e, "flat"),
                      join = emit_block(e, "join");
    LLVMBuildCondBr(e->b, c->by_rows, rows, flat);
    LLVMPositionBuilderAtEnd(e->b, rows);
    gather_rows(c, &g, from, emit_min(e, to, c->made[1]));
    LLVMBuildBr(e->b, join);
    LLVMPositionBuilderAtEnd(e->b, flat);
    gather_flat(c, &g, from, emit_min(e, to, c->flat));
    LLVMBuildBr(e->b, join);
    LLVMPositionBuilderAtEnd(e->b, join);
}

/* ---- rows of a chain --------------------------------------------------------------------------------- */

/* Tiles of a row from x on, as many as fit below `end`; returns where they end. */
static LLVMValueRef chain_tiles(CE *c, ConvGather *g, LLVMValueRef row, LLVMValueRef from,
                                LLVMValueRef x, LLVMValueRef end) {
    Counting tiles;
    int64_t width = (int64_t)c->tile.vectors * c->e->lanes;
    g->tile = gather_tile(c);
    x = cv_loop(c, &tiles, x, cv_plus(c, end, 1 - width), width);
    run_tile(c, g, cv_add(c, row, x), cv_at(c, g->to.base, cv_sub(c, x, from)), g->to.channel);
    emit_loop_end(c->e, &tiles);
    return LLVMBuildLoad2(c->e->b, c->e->i64, tiles.variable, "");
}

void conv_chain_part(CE *c, LLVMValueRef y, LLVMValueRef from, LLVMValueRef end,
                     const ConvArray *to, LLVMValueRef context) {
    Counting blocks;
    ConvTile usual = c->tile;
    LLVMValueRef zero = cv_int(c, 0), row = cv_mul(c, cv_sub(c, y, c->first_row), c->padded.y);
    LLVMValueRef block = cv_loop(c, &blocks, zero, cv_int(c, conv_channel_blocks(c)), 1);
    LLVMValueRef first = cv_times(c, block, usual.channels);
    ConvGather g = {
        .x = c->rows_at,
        .offsets = conv_offsets(c, zero),
        .weights = conv_packed(c, zero, block),
        .depth = conv_phase_depth(c, zero),
        .valid = emit_min(c->e, cv_sub(c, cv_int(c, c->p.out), first), cv_int(c, usual.channels)),
        .to = *to,
        .context = context,
        .first = first};
    g.to.base = cv_at(c, to->base, cv_mul(c, first, to->channel));
    LLVMValueRef x = from;
    x = chain_tiles(c, &g, row, from, x, end);
    while (c->tile.vectors > 1) {
        c->tile.vectors = (c->tile.vectors + 1) / 2;
        x = chain_tiles(c, &g, row, from, x, end);
    }
    c->tile = usual;
    emit_loop_end(c->e, &blocks);
}

/* ---- sums -------------------------------------------------------------------------------------------- */

/* The sums of the lanes of each of `count` vectors, in out[]: halves of pairs are added until every lane holds
 * one sum. The vectors are overwritten. */
static void sum_lanes(CE *c, LLVMValueRef *v, uint32_t count, LLVMValueRef *out) {
    Emit *e = c->e;
    uint32_t lanes = e->lanes, left = count;
    for (uint32_t width = lanes; width > 1; width /= 2) {
        LLVMValueRef low[64], high[64];
        uint32_t half = width / 2, sources = lanes / width;
        for (uint32_t s = 0; s < 2 * sources; s++)
            for (uint32_t j = 0; j < half; j++) {
                uint32_t from = s / sources * lanes + s % sources * width + j;
                low[s * half + j] = LLVMConstInt(e->i32, from, false);
                high[s * half + j] = LLVMConstInt(e->i32, from + half, false);
            }
        LLVMValueRef lows = LLVMConstVector(low, lanes), highs = LLVMConstVector(high, lanes);
        for (uint32_t p = 0; p < (left + 1) / 2; p++) {
            LLVMValueRef a = v[2 * p], b = 2 * p + 1 < left ? v[2 * p + 1] : a;
            v[p] = LLVMBuildFAdd(e->b, LLVMBuildShuffleVector(e->b, a, b, lows, ""),
                                 LLVMBuildShuffleVector(e->b, a, b, highs, ""), "");
        }
        left = (left + 1) / 2;
    }
    for (uint32_t i = 0; i < count; i++)
        out[i] =
            LLVMBuildExtractElement(e->b, v[i / lanes], LLVMConstInt(e->i32, i % lanes, false), "");
}

/* Parameters of a tile of sums. */
enum {
    S_X,
    S_OFFSETS,
    S_V,
    S_V_APART,
    S_ROUNDS,
    S_X_ROUND,
    S_V_ROUND,
    S_VECTORS,
    S_REST,
    S_OUT,
    S_TAPS,
    S_CHANNELS,
    S_COUNT
};

/* Adds the products of one vector of cells; of the first `rest` of its lanes, if given. */
static void sums_step(CE *c, LLVMValueRef f, LLVMValueRef *x, LLVMValueRef *v, LLVMValueRef cell,
                      LLVMValueRef *sum, LLVMValueRef rest) {
    Emit *e = c->e;
    LLVMValueRef mask = NULL, zero = emit_number(e, cv_vector(c), 0), a[MOST_SUMS];
    if (rest) {
        LLVMValueRef lane[64];
        for (uint32_t l = 0; l < e->lanes; l++) lane[l] = emit_i64(e, l);
        mask = LLVMBuildICmp(e->b, LLVMIntSLT, LLVMConstVector(lane, e->lanes), emit_splat(e, rest),
                             "");
    }
    for (uint32_t o = 0; o < c->tile.channels; o++) {
        a[o] = cv_load(c, cv_vector(c), cv_at(c, v[o], cell));
        if (mask) a[o] = cv_if(c, mask, a[o], zero);
    }
    for (uint32_t k = 0; k < c->tile.taps; k++) {
        LLVMValueRef b = cv_load(c, cv_vector(c), cv_at(c, x[k], cell));
        if (mask) b = cv_if(c, mask, b, zero);
        for (uint32_t o = 0; o < c->tile.channels; o++) {
            LLVMValueRef s = sum[o * c->tile.taps + k];
            LLVMBuildStore(e->b, cv_fma(c, a[o], b, LLVMBuildLoad2(e->b, cv_vector(c), s, "")), s);
        }
    }
}

/* tile(…): out[o depth + k] = sum over rounds, cells of v[o] x[offsets[k]], for some channels o and taps k. */
static LLVMValueRef sums_tile(CE *c) {
    Emit *e = c->e;
    LLVMBasicBlockRef back = LLVMGetInsertBlock(e->b);
    LLVMTypeRef p = e->ptr, i = e->i64;
    LLVMTypeRef types[S_COUNT] = {p, p, p, i, i, i, i, i, i, p, i, i};
    LLVMValueRef f = LLVMGetNamedFunction(e->module, conv_tile_name(c, "tile")), sum[MOST_SUMS],
                 x[MOST_SUMS], v[MOST_SUMS], total[MOST_SUMS], zero = cv_int(c, 0);
    if (f) return f;
    f = conv_tile_function(c, "tile", types, S_COUNT);
    uint32_t channels = c->tile.channels, taps = c->tile.taps, count = channels * taps;
    for (uint32_t s = 0; s < count; s++) {
        sum[s] = emit_variable(e, cv_vector(c), "sum");
        LLVMBuildStore(e->b, emit_number(e, cv_vector(c), 0), sum[s]);
    }
    Counting rounds, cells;
    LLVMValueRef r = cv_loop(c, &rounds, zero, LLVMGetParam(f, S_ROUNDS), 1);
    LLVMValueRef x0 = cv_at(c, LLVMGetParam(f, S_X), cv_mul(c, r, LLVMGetParam(f, S_X_ROUND)));
    LLVMValueRef v0 = cv_at(c, LLVMGetParam(f, S_V), cv_mul(c, r, LLVMGetParam(f, S_V_ROUND)));
    for (uint32_t k = 0; k < taps; k++)
        x[k] = cv_at(c, x0, conv_int_at(c, LLVMGetParam(f, S_OFFSETS), cv_int(c, k)));
    for (uint32_t o = 0; o < channels; o++) { /* channels that are not there: the first again */
        LLVMValueRef there = cv_less(c, cv_int(c, o), LLVMGetParam(f, S_CHANNELS));
        LLVMValueRef at = cv_times(c, LLVMGetParam(f, S_V_APART), o);
        v[o] = cv_at(c, v0, c->p.out % channels ? cv_if(c, there, at, zero) : at);
    }
    LLVMValueRef vectors = LLVMGetParam(f, S_VECTORS), rest = LLVMGetParam(f, S_REST);
    LLVMValueRef cell = cv_loop(c, &cells, zero, cv_times(c, vectors, e->lanes), e->lanes);
    sums_step(c, f, x, v, cell, sum, NULL);
    emit_loop_end(e, &cells);
    Guard g;
    cv_when(c, &g, LLVMBuildICmp(e->b, LLVMIntNE, rest, zero, ""));
    sums_step(c, f, x, v, cv_times(c, vectors, e->lanes), sum, rest);
    cv_end(c, &g);
    emit_loop_end(e, &rounds);
    for (uint32_t s = 0; s < count; s++) x[s] = LLVMBuildLoad2(e->b, cv_vector(c), sum[s], "");
    sum_lanes(c, x, count, total);
    uint32_t depth = conv_depth(c);
    for (uint32_t s = 0; s < count; s++) {
        uint32_t o = s / taps, k = s % taps;
        LLVMValueRef is = NULL;
        if (c->p.out % channels && o) is = cv_less(c, cv_int(c, o), LLVMGetParam(f, S_CHANNELS));
        if (depth % taps && k) {
            LLVMValueRef tap = cv_less(c, cv_int(c, k), LLVMGetParam(f, S_TAPS));
            is = is ? LLVMBuildAnd(e->b, is, tap, "") : tap;
        }
        if (is) cv_when(c, &g, is);
        cv_store(c, total[s], cv_at(c, LLVMGetParam(f, S_OUT), cv_int(c, (int64_t)o * depth + k)));
        if (is) cv_end(c, &g);
    }
    LLVMBuildRetVoid(e->b);
    LLVMPositionBuilderAtEnd(e->b, back);
    return f;
}

/* A unit: a block of channels of v, all taps, over a chunk of cells. */
void conv_sums(CE *c, LLVMValueRef unit) {
    Emit *e = c->e;
    LLVMValueRef tile = sums_tile(c), zero = cv_int(c, 0);
    int64_t depth = conv_depth(c);
    LLVMValueRef each = cv_int(c, conv_channel_blocks(c));
    LLVMValueRef all = cv_int(c, (int64_t)c->p.groups * conv_channel_blocks(c));
    LLVMValueRef channels = cv_rem(c, unit, all), chunk = cv_div(c, unit, all);
    LLVMValueRef block = cv_rem(c, chunk, c->blocks), layer = cv_div(c, chunk, c->blocks);
    LLVMValueRef group = cv_div(c, channels, each);
    LLVMValueRef first = cv_times(c, cv_rem(c, channels, each), c->tile.channels);
    LLVMValueRef valid =
        emit_min(e, cv_sub(c, cv_int(c, c->p.out), first), cv_int(c, c->tile.channels));
    first = cv_add(c, first, cv_times(c, group, c->p.out));

    ConvArray v = conv_array(c, 1, conv_word(c, CONV_SECOND));
    LLVMValueRef args[S_COUNT], rows = c->by_rows;
    LLVMValueRef from = cv_mul(c, block, c->block), z = cv_mul(c, layer, c->planes);
    LLVMValueRef end = emit_min(e, cv_add(c, from, c->block), cv_if(c, rows, c->made[1], c->flat));
    LLVMValueRef count = cv_sub(c, end, from);
    LLVMValueRef numbers = cv_if(c, rows, c->made[0], count);
    LLVMValueRef planes = emit_min(e, cv_sub(c, c->made[2], z), c->planes);
    LLVMValueRef x = cv_mul(c, cv_times(c, group, c->p.in), c->padded.channel);
    x = cv_add(c, x, cv_mul(c, z, c->padded.z));
    x = cv_add(c, x, cv_if(c, rows, cv_mul(c, from, c->padded.y), from));
    args[S_X] = cv_at(c, conv_scratch(c, c->padded.base), x);
    LLVMValueRef base = cv_if(c, rows, v.base, conv_scratch(c, c->copied.base));
    args[S_V_APART] = cv_if(c, rows, v.channel, c->copied.channel);
    LLVMValueRef at =
        cv_add(c, cv_mul(c, first, args[S_V_APART]),
               cv_if(c, rows, cv_mul(c, from, v.y), cv_add(c, cv_mul(c, z, c->copied.z), from)));
    args[S_V] = cv_at(c, base, at);
    args[S_ROUNDS] = cv_if(c, rows, count, planes);
    args[S_X_ROUND] = cv_if(c, rows, c->padded.y, c->padded.z);
    args[S_V_ROUND] = cv_if(c, rows, v.y, c->copied.z);
    args[S_VECTORS] = cv_div(c, numbers, cv_int(c, e->lanes));
    args[S_REST] = cv_rem(c, numbers, cv_int(c, e->lanes));
    LLVMValueRef one = cv_int(c, 1), chunks = cv_mul(c, c->blocks, c->layers);
    LLVMValueRef several = LLVMBuildICmp(e->b, LLVMIntSGT, chunks, one, "");
    LLVMValueRef partial =
        cv_at(c, conv_scratch(c, c->partial), cv_times(c, chunk, conv_weights(c->conv)));
    LLVMValueRef out =
        cv_at(c, cv_if(c, several, partial, conv_word(c, CONV_MADE)), cv_times(c, first, depth));
    args[S_CHANNELS] = valid;
    LLVMValueRef offsets = conv_offsets(c, zero);
    Counting taps;
    LLVMValueRef k = cv_loop(c, &taps, zero, cv_int(c, depth), c->tile.taps);
    args[S_OFFSETS] = LLVMBuildInBoundsGEP2(e->b, e->i64, offsets, &k, 1, "");
    args[S_OUT] = cv_at(c, out, k);
    args[S_TAPS] = cv_sub(c, cv_int(c, depth), k);
    conv_call_tile(c, tile, args, S_COUNT);
    emit_loop_end(e, &taps);
}

void conv_chain_sums(CE *c, CE *from, const ChainRows *rows, LLVMValueRef out) {
    Counting blocks, taps;
    LLVMValueRef tile = sums_tile(c), zero = cv_int(c, 0), lanes = cv_int(c, c->e->lanes),
                 args[S_COUNT];
    int64_t depth = conv_depth(c);
    LLVMValueRef block = cv_loop(c, &blocks, zero, cv_int(c, conv_channel_blocks(c)), 1);
    LLVMValueRef first = cv_times(c, block, c->tile.channels);
    LLVMValueRef k = cv_loop(c, &taps, zero, cv_int(c, depth), c->tile.taps),
                 offsets = conv_offsets(from, zero);
    args[S_X] =
        cv_at(c, from->rows_at, cv_mul(c, cv_sub(c, rows->y, from->first_row), from->padded.y));
    args[S_OFFSETS] = LLVMBuildInBoundsGEP2(c->e->b, c->e->i64, offsets, &k, 1, "");
    args[S_V] = cv_at(c, rows->v.base, cv_mul(c, first, rows->v.channel));
    args[S_V_APART] = rows->v.channel;
    args[S_ROUNDS] = rows->count;
    args[S_X_ROUND] = from->padded.y;
    args[S_V_ROUND] = rows->v.y;
    args[S_VECTORS] = cv_div(c, from->made[0], lanes);
    args[S_REST] = cv_rem(c, from->made[0], lanes);
    args[S_OUT] = cv_at(c, out, cv_add(c, cv_times(c, first, depth), k));
    args[S_TAPS] = cv_sub(c, cv_int(c, depth), k);
    args[S_CHANNELS] =
        emit_min(c->e, cv_sub(c, cv_int(c, c->p.out), first), cv_int(c, c->tile.channels));
    conv_call_tile(c, tile, args, S_COUNT);
    emit_loop_end(c->e, &taps);
    emit_loop_end(c->e, &blocks);
}
