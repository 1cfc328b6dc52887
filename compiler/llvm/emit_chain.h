/* emit_chain: what the files that emit chains share. Private to compiler/llvm.
 *
 * emit_chain.c has the functions and their launches, emit_chain_rows.c rows and turns, emit_chain_end.c the rows of the
 * launch that ends a chain, emit_chain_cells.c the cells of pointwise launches. */
#ifndef PDN_LLVM_EMIT_CHAIN_H
#define PDN_LLVM_EMIT_CHAIN_H

#include "compiler/llvm/emit_conv.h"
#include "compiler/llvm/emit_host.h"

enum { CHAIN_MEMBERS = 9, CHAIN_TOTALS = 32 };

/* Rows of a field that is summed. */
typedef struct {
    HReg reg;
    uint32_t member;     /* the first that reads it */
    ConvArray rows, row; /* row: the one that is made now */
} ChainRing;

/* A chain in the function that is being written. */
typedef struct {
    Emit *e;
    const HInstr *first;
    uint32_t members, last;        /* last: the transposed convolution */
    uint32_t end;                  /* the launch that reads what that makes; NONE: there is none */
    CE conv[CHAIN_MEMBERS];        /* by member */
    CE *to;                        /* of the transposed convolution */
    ConvArray made[CHAIN_MEMBERS]; /* the parts, by member */
    ChainRing ring[CHAIN_MEMBERS];
    uint32_t rings;
    LLVMValueRef words, from; /* from: where a part begins */
    /* variables: padded rows that are there end, and begin */
    LLVMValueRef filled[CHAIN_MEMBERS], first_row[CHAIN_MEMBERS];
    LLVMValueRef x, y, mask; /* cells x … of row y; mask: lanes that are there, or NULL */
    LLVMValueRef *values[CHAIN_MEMBERS], **memo[CHAIN_MEMBERS], *scalars[CHAIN_MEMBERS];
    /* what the transposed convolution makes, for the launch that reads it: the cells of row y */
    ConvArray row;
    uint32_t vectors;                 /* of cells that are worked on together */
    LLVMValueRef total[CHAIN_TOTALS]; /* variables, of the launch that has totals */
    /* its only launch, in the tiles of its only convolution; name NULL: it does not do */
    ConvFinish finish;
    LLVMValueRef context; /* of that */
    /* in such a tile: vectors of what the launch reads, and its channel */
    LLVMValueRef *sum, channel;
} Chain;

static inline bool chain_form(const HInstr *h, ConvForm form) {
    return h->kind == H_CONV && h->detail == form;
}
const Kernel *chain_kernel(const Emit *e, const HInstr *h);
/* A word of member m. */
LLVMValueRef chain_word(const Chain *c, LLVMTypeRef type, uint32_t m, uint32_t word);
/* words of a launch; then its numbers, what it writes */
enum { CHAIN_GRID, CHAIN_ROW_COUNT, CHAIN_PARTIALS, CHAIN_FIELDS };

/* How many places for calls there are, at run time. */
LLVMValueRef chain_places(const Chain *c);
uint32_t chain_ring_of(const Chain *c, HReg reg); /* NONE: it has none */
/* The member that pads what a gradient of weights multiplies. */
CE *chain_padded_for(Chain *c, uint32_t sums);

/* ---- emit_chain_rows.c ---- */

/* Of gradients of weights: rows of a chunk, chunks of a turn, and of all. */
typedef struct {
    LLVMValueRef rows, each, all;
} ChainChunks;
ChainChunks chain_chunks(const Chain *c);
uint32_t chain_channels_before(const Chain *c, uint32_t m); /* of the parts before member m */
LLVMValueRef chain_unit_numbers(const Chain *c,
                                uint32_t m); /* of the padded rows that a unit reads */
void emit_chain_units(Chain *c, LLVMValueRef begin,
                      LLVMValueRef stop); /* a call for units [begin, stop) */

/* ---- emit_chain_cells.c ---- */

/* Does it make of each channel of one convolution that channel of what is summed, in one way for all? Then c->finish does
 * it, which is in registers what else goes through the parts. */
bool chain_by_channel(const Chain *c);
void chain_finish(Chain *c, const char *name);
void open_chain_cells(Chain *c); /* where the function begins */
/* The launches for row c->y, from the parts to the rings: */
void start_chain_cells(Chain *c);
/* cells [c->from, end), or as many of these as there are */
void emit_chain_cells(Chain *c, LLVMValueRef end);
void finish_chain_cells(Chain *c);
/* Row c->y of the launch that ends the chain, from c->row. */
void open_chain_end(Chain *c); /* where a function begins */
void emit_chain_end(Chain *c);

/* ---- emit_chain_end.c: the launch that ends a chain, by rows ---- */

/* Of the places for a turn of a unit: numbers; one of them. */
LLVMValueRef chain_turn_numbers(const Chain *c);
ConvArray chain_turn(Chain *c, LLVMValueRef unit);
/* Rows [y, end) of what the transposed convolution makes, which stand in `turn`: the launch for those that are finished;
 * others, which are near the ends or ghosts, go to the scratch. */
void end_rows(Chain *c, const ConvArray *turn, LLVMValueRef y, LLVMValueRef end);
/* Does the launch have rows that wait for others? These are done after all units, in as many units, by the body. */
bool end_waits(const Chain *c);
enum { END_UNITS = 2 };
void end_waiting(Chain *c, LLVMValueRef unit);
LLVMValueRef end_work(HE *h, const Chain *c);

#endif
