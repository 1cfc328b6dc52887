/* emit_conv: convolutions as LLVM IR. Private to compiler/llvm.
 *
 * A form of a convolution (plan_ir.h, ConvPlan) becomes a few kernels that are launched one after another:
 *   fill     copies what is read into its padded array, ghosts and all
 *   pack     weights into the order in which they are read, and a table of the taps' offsets
 *   gather   FORWARD, TRANSPOSED: tiles of some channels times some vectors of cells, each summed in registers, long
 *            sums in runs
 *   fold     TRANSPOSED: ghosts that were made back onto the cells that they stand for
 *   copy     WEIGHTS: v with rows as long as the padded ones, where rows are no whole vectors
 *   sums     WEIGHTS: tiles of channels times taps, summed over a chunk of cells in registers
 *   total    WEIGHTS: the chunks, in order
 *
 * A tile of channels uses a vector once for each channel. Where few channels are made, a tile of rows uses it
 * once for each tap along x instead (emit_conv_rows.c).
 *
 * Where channels are whole vectors on both sides, the arrays in the scratch have channels last instead, and vectors are
 * of channels (emit_conv_last.c).
 *
 * Cells are walked in one of two ways, chosen at run time. By rows, where these are whole tiles (or vectors,
 * for WEIGHTS). Else flat: padded rows stand one after another without a gap, and a tile runs on across their
 * ends; what it makes between rows is dropped. */
#ifndef PDN_LLVM_EMIT_CONV_H
#define PDN_LLVM_EMIT_CONV_H

#include "compiler/kernel/tiles.h"
#include "compiler/llvm/emit.h"

/* Words of a launch. After these come the sizes of CE, which a function of its own computes once, and the units of
 * the stages. */
enum { CONV_U_GRID, CONV_V_GRID, CONV_FIRST, CONV_SECOND, CONV_MADE, CONV_SCRATCH, CONV_SIZES };

typedef enum {
    STAGE_FILL,
    STAGE_COPY,
    STAGE_PACK,
    STAGE_GATHER,
    STAGE_FOLD,
    STAGE_SUMS,
    STAGE_TOTAL,
    CONV_STAGES
} ConvStage;

/* Strides of an array of channels, in numbers; x is 1. */
typedef struct {
    LLVMValueRef base, y, z, channel;
} ConvArray;

/* What becomes of the sums of a tile before they are stored: of vectors of a channel. `context` is an argument of the tile. */
typedef struct ConvFinish {
    const char *name;
    void *data;
    void (*apply)(const struct ConvFinish *finish, LLVMValueRef context, LLVMValueRef channel,
                  LLVMValueRef *sum, uint32_t vectors);
} ConvFinish;

/* Everything about one form of a convolution in the function that is being written. */
typedef struct {
    Emit *e;
    const Conv *conv;
    ConvForm form;
    bool chained; /* a member of a chain (emit_chain.h): what is read, or made, is there in rows */
    ConvPlan p;
    ConvTile tile;
    const ConvFinish *finish; /* of a chain; NULL: sums are stored as they are */
    /* sizes, known when the function starts */
    LLVMValueRef n[MAX_RANK], m[MAX_RANK]; /* extents of u and v */
    LLVMValueRef extent[MAX_RANK];         /* of the padded array, split */
    LLVMValueRef made[MAX_RANK];           /* of one phase of what is made; of v for WEIGHTS */
    LLVMValueRef by_rows;                  /* i1: the way to walk */
    LLVMValueRef flat;                     /* numbers of a plane, walked flat */
    LLVMValueRef block, blocks;  /* rows, or numbers, that a unit walks; how many of them */
    LLVMValueRef planes, layers; /* WEIGHTS: planes that a unit walks; how many such */
    /* chained: rows that are made at a time; padded rows that are there, one over another again */
    LLVMValueRef turn, ring;
    /* chained, FORWARD: where padded rows stand, and which is the first of them */
    LLVMValueRef rows_at, first_row;
    ConvArray padded, copied,
        folded; /* folded: what is made before it is folded, all phases of a channel */
    LLVMValueRef weights, offsets, partial; /* bytes from the start of the scratch */
    LLVMValueRef whole;                     /* what is made, interleaved */
    LLVMValueRef bytes;                     /* of scratch */
    LLVMValueRef words;
} CE;

LLVMValueRef conv_word(CE *c, uint32_t word);         /* a pointer among the words */
LLVMValueRef conv_scratch(CE *c, LLVMValueRef bytes); /* an address in the scratch */
/* Places of u (0), v (1) as arrays. */
ConvArray conv_array(CE *c, uint32_t which, LLVMValueRef base);

/* Which blocks of channels there are: of a group, of all. */
uint32_t conv_channel_blocks(const CE *c);
/* Most taps times channels that one number of a phase gathers. */
uint32_t conv_depth(const CE *c);

/* Of a phase of what is made: taps times channels gathered, the table of their offsets, packed weights of a
 * block of channels. */
LLVMValueRef conv_phase_depth(CE *c, LLVMValueRef phase);
LLVMValueRef conv_offsets(CE *c, LLVMValueRef phase);
LLVMValueRef conv_packed(CE *c, LLVMValueRef phase, LLVMValueRef block);

/* Opens a description in a stage, whose sizes are words. */
void conv_reopen(CE *c, Emit *e, uint32_t conv, ConvForm form, bool chained, LLVMValueRef words);

/* Of a chain: cells [from, end) of row `y`, whole vectors, of all channels of what FORWARD makes, to `to`, where they begin,
 * as c->finish, with this context, leaves them.
 * Rows from `y`, as many as a tile has, of all that TRANSPOSED makes, from a ring of padded rows at x, to `to`, where row `first`
 * begins. Rows of the ring begin with their cells, the zeros before these are left out; after them stand as many as a filter reads. */
void conv_chain_part(CE *c, LLVMValueRef y, LLVMValueRef from, LLVMValueRef end,
                     const ConvArray *to, LLVMValueRef context);
void conv_chain_tile(CE *c, LLVMValueRef x, LLVMValueRef y, const ConvArray *to,
                     LLVMValueRef first);
/* The rows of ghosts that belong to rows [from, end) of all channels that TRANSPOSED makes, in c->folded, where ghosts along x are folded. */
void conv_chain_fold(CE *c, LLVMValueRef from, LLVMValueRef end);
/* the ghosts of a row along x, which begins with them */
void conv_fold_row(CE *c, LLVMValueRef row);
/* Padded row `row` of all channels of what FORWARD reads, to its place after c->rows_at. */
void conv_chain_fill(CE *c, LLVMValueRef row);
LLVMValueRef conv_ring_numbers(CE *c);             /* of the padded rows of a unit */
LLVMValueRef conv_ring_row(CE *c, LLVMValueRef y); /* where in the ring the padded row y stands */

/* Rows of v from y on, of which the first stands at v.base. */
typedef struct {
    LLVMValueRef y, count;
    ConvArray v;
} ChainRows;
/* Of a chain: what WEIGHTS sums of these rows and what was padded for `from`, to `out`. */
void conv_chain_sums(CE *c, CE *from, const ChainRows *rows, LLVMValueRef out);

/* to[i] (+)= ±from[i] for i < count: vectors, then numbers; one of them. */
typedef enum { ROW_COPY, ROW_NEGATE, ROW_ADD, ROW_SUBTRACT } RowOp;
void conv_move_row(CE *c, RowOp op, LLVMValueRef to, LLVMValueRef from, LLVMValueRef count);
void conv_row_step(CE *c, RowOp op, LLVMTypeRef type, LLVMValueRef to, LLVMValueRef from);

/* The bodies of the stages, for one unit. */
void conv_fill(CE *c, LLVMValueRef unit);
void conv_copy(CE *c, LLVMValueRef unit);
void conv_pack(CE *c, LLVMValueRef unit);
void conv_gather(CE *c, LLVMValueRef unit);
void conv_fold(CE *c, LLVMValueRef unit);
LLVMValueRef conv_fold_blocks(CE *c); /* of rows of a channel */
void conv_sums(CE *c, LLVMValueRef unit);
void conv_total(CE *c, LLVMValueRef unit);

/* ---- tiles (emit_conv_tile.c, emit_conv_rows.c): sums live in registers, as SSA values, never in memory ---- */

enum { MOST_SUMS = 32, FOLD_ROWS = 64 };
const char *conv_tile_name(CE *c, const char *what);
/* not inlined */
LLVMValueRef conv_tile_function(CE *c, const char *what, LLVMTypeRef *types, uint32_t count);
void conv_call_tile(CE *c, LLVMValueRef f, LLVMValueRef *args, uint32_t count);
LLVMValueRef conv_int_at(CE *c, LLVMValueRef p, LLVMValueRef i); /* of an array of i64 */

/* Adds to the sums of tile f the turns [from, to) of its loop. */
typedef void AddTurns(CE *c, LLVMValueRef f, uint32_t vectors, LLVMValueRef from, LLVMValueRef to,
                      LLVMValueRef *sum);
/* `count` sums over all `turns`, `most` of them at most, of `terms` terms each: long ones as sums of runs. */
void conv_sum_runs(CE *c, LLVMValueRef f, uint32_t vectors, LLVMValueRef turns, uint32_t terms,
                   uint32_t most, AddTurns *add, LLVMValueRef *sum, uint32_t count);
/* Copies numbers, whole vectors where there are as many; the last two may overlap. */
void conv_copy_run(CE *c, LLVMValueRef to, LLVMValueRef from, LLVMValueRef count);

/* What a unit of the gather works on. */
typedef struct {
    LLVMValueRef tile, x, offsets, weights, depth, valid;
    LLVMValueRef context, first; /* of c->finish; the first channel */
    ConvArray to;                /* base: of its first channel and plane */
    LLVMValueRef from;           /* the row that begins there; NULL: 0 */
} ConvGather;
/* Where a phase of what is made goes. */
ConvArray conv_made_array(CE *c, LLVMValueRef phase);

/* Rows from `y`, as many as a tile has, of one channel of what is made. */
void conv_gather_rows(CE *c, const ConvGather *g, LLVMValueRef y);

/* Where position p of an axis of n cells is read: the cell inside, and what it counts: 1, -1, 0. */
typedef struct {
    LLVMValueRef at, factor; /* real; NULL: 1 */
} ConvSource;
ConvSource conv_source(CE *c, uint32_t axis, LLVMValueRef p, LLVMValueRef n);

/* ---- channels last: the same, for arrays and tiles of that kind (emit_conv_last.c, emit_conv_last_move.c) ---- */

void conv_walk_last(CE *c);
void conv_lay_out_last(CE *c);
LLVMValueRef conv_units_last(CE *c, ConvStage stage);
/* Numbers that a cell meets in a row of the padded array; how many such lines there are. */
uint32_t conv_line(const CE *c);
uint32_t conv_lines(const CE *c);
/* address of a line's offset */
LLVMValueRef conv_offset_last(CE *c, LLVMValueRef line);
/* of a block's weights for number k */
LLVMValueRef conv_packed_last(CE *c, LLVMValueRef block, LLVMValueRef k);
/* Copies `count` cells of `channels` channels from an array with channels last. */
void conv_to_channels(CE *c, LLVMValueRef from, uint32_t channels, ConvArray to,
                      LLVMValueRef count);
/* out[k p.out + o] += the sum over p < count of x[p in + k] v[p tile.channels + o], for all k < in; = where it is `first`. */
void conv_outer_last(CE *c, LLVMValueRef x, LLVMValueRef v, LLVMValueRef out, LLVMValueRef count,
                     LLVMValueRef first);
int64_t conv_partial_last(const CE *c); /* numbers of a chunk of WEIGHTS */
/* out[p channels + o] = sum over the channels i of x[p in + i] weights[i channels + o], for p < count. */
void conv_products_last(CE *c, LLVMValueRef x, LLVMValueRef weights, LLVMValueRef out,
                        LLVMValueRef count);
ConvArray conv_last_array(CE *c, LLVMValueRef block); /* what is made of a block of channels */
void conv_fill_last(CE *c, LLVMValueRef unit);
void conv_copy_last(CE *c, LLVMValueRef unit);
void conv_pack_last(CE *c, LLVMValueRef unit);
void conv_gather_last(CE *c, LLVMValueRef unit);
void conv_sums_last(CE *c, LLVMValueRef unit);
void conv_total_last(CE *c, LLVMValueRef unit);

/* ---- minimal filtering (emit_conv_winograd.c) ---- */

/* Numbers at all points, of weights, which stand after the packed ones, or of the sums of a chunk of WEIGHTS. */
int64_t conv_winograd_numbers(const CE *c);
/* The weights at all points, for channel i of what is read and a vector of channels that are made. */
void conv_pack_winograd(CE *c, LLVMValueRef vector, LLVMValueRef i);
void conv_gather_winograd(CE *c, LLVMValueRef unit);
void conv_sums_winograd(CE *c, LLVMValueRef unit);

/* ---- short forms ---- */

static inline LLVMValueRef cv_int(CE *c, int64_t x) { return emit_i64(c->e, x); }
static inline LLVMValueRef cv_add(CE *c, LLVMValueRef a, LLVMValueRef b) {
    return LLVMBuildNSWAdd(c->e->b, a, b, "");
}
static inline LLVMValueRef cv_plus(CE *c, LLVMValueRef a, int64_t b) {
    return b ? LLVMBuildNSWAdd(c->e->b, a, emit_i64(c->e, b), "") : a;
}
static inline LLVMValueRef cv_sub(CE *c, LLVMValueRef a, LLVMValueRef b) {
    return LLVMBuildNSWSub(c->e->b, a, b, "");
}
static inline LLVMValueRef cv_mul(CE *c, LLVMValueRef a, LLVMValueRef b) {
    return LLVMBuildNSWMul(c->e->b, a, b, "");
}
static inline LLVMValueRef cv_times(CE *c, LLVMValueRef a, int64_t b) {
    return b == 1 ? a : LLVMBuildNSWMul(c->e->b, a, emit_i64(c->e, b), "");
}
/* a / b and the rest, both >= 0 */
static inline LLVMValueRef cv_div(CE *c, LLVMValueRef a, LLVMValueRef b) {
    return LLVMBuildUDiv(c->e->b, a, b, "");
}
static inline LLVMValueRef cv_rem(CE *c, LLVMValueRef a, LLVMValueRef b) {
    return LLVMBuildURem(c->e->b, a, b, "");
}
static inline LLVMValueRef cv_ceil(CE *c, LLVMValueRef a, LLVMValueRef b) {
    return cv_div(c, cv_add(c, a, cv_plus(c, b, -1)), b);
}
static inline LLVMValueRef cv_if(CE *c, LLVMValueRef condition, LLVMValueRef a, LLVMValueRef b) {
    return LLVMBuildSelect(c->e->b, condition, a, b, "");
}
static inline LLVMValueRef cv_less(CE *c, LLVMValueRef a, LLVMValueRef b) {
    return LLVMBuildICmp(c->e->b, LLVMIntSLT, a, b, "");
}
/* Address of number i after p. */
static inline LLVMValueRef cv_at(CE *c, LLVMValueRef p, LLVMValueRef i) {
    return LLVMBuildInBoundsGEP2(c->e->b, c->e->real, p, &i, 1, "");
}
static inline LLVMTypeRef cv_vector(const CE *c) { return LLVMVectorType(c->e->real, c->e->lanes); }
static inline LLVMValueRef cv_load(CE *c, LLVMTypeRef type, LLVMValueRef p) {
    LLVMValueRef v = LLVMBuildLoad2(c->e->b, type, p, "");
    LLVMSetAlignment(v, c->e->size);
    return v;
}
static inline void cv_store(CE *c, LLVMValueRef v, LLVMValueRef p) {
    LLVMSetAlignment(LLVMBuildStore(c->e->b, v, p), c->e->size);
}
/* a b + c, in one rounding where the target has that. */
LLVMValueRef cv_fma(CE *c, LLVMValueRef a, LLVMValueRef b, LLVMValueRef sum);
/* Asks for the line of number i after p, which will be read, or lies beyond all that is. */
void cv_prefetch(CE *c, LLVMValueRef p, int64_t i);
/* for (i = from; i < to; i += step): a short name for emit_loop_begin. */
static inline LLVMValueRef cv_loop(CE *c, Counting *k, LLVMValueRef from, LLVMValueRef to,
                                   int64_t step) {
    return emit_loop_begin(c->e, k, from, to, emit_i64(c->e, step), "i");
}
/* if (condition) { … } */
typedef struct {
    LLVMBasicBlockRef end;
} Guard;
static inline void cv_when(CE *c, Guard *g, LLVMValueRef condition) {
    g->end = emit_if_begin(c->e, condition);
}
static inline void cv_end(CE *c, Guard *g) { emit_if_end(c->e, g->end); }

#endif
