/* The launch that ends a chain, such as u - τ(…): by rows, as the transposed convolution makes them.
 *
 * A turn's rows are made to a place of its unit, where they are still in the nearest caches when the launch reads them. A
 * row is finished when its ghosts along x are folded; but cells near the ends of y stand for ghosts, too, of rows that this
 * unit or another one makes. Such rows, and those of ghosts, go to the scratch of the convolution, and are done when all
 * units are over. */
#include "compiler/llvm/emit_chain.h"

LLVMValueRef chain_turn_numbers(const Chain *c) {
    CE *t = c->to;
    return cv_mul(t, cv_times(t, t->turn, t->p.out), t->padded.channel);
}

ConvArray chain_turn(Chain *c, LLVMValueRef unit) {
    CE *t = c->to;
    ConvArray turn = {.y = t->padded.channel, .channel = cv_mul(t, t->turn, t->padded.channel)};
    turn.base = cv_at(t, chain_word(c, c->e->ptr, c->last, CONV_MADE),
                      cv_mul(t, unit, chain_turn_numbers(c)));
    return turn;
}

/* So many rows at either end of y wait. */
static int64_t waiting(const Chain *c) {
    const int64_t *ghost = c->to->p.axis[1].ghost;
    return ghost[0] > ghost[1] ? ghost[0] : ghost[1];
}

bool end_waits(const Chain *c) { return waiting(c) > 0; }

/* Every channel of the row: its ghosts along x. */
static void fold_row(Chain *c, const ConvArray *row) {
    CE *t = c->to;
    Counting channels;
    LLVMValueRef o = cv_loop(t, &channels, cv_int(t, 0), cv_int(t, t->p.out), 1);
    conv_fold_row(t, cv_at(t, row->base, cv_mul(t, o, row->channel)));
    emit_loop_end(c->e, &channels);
}

/* Every channel of the row to row r of the scratch. */
static void keep_row(Chain *c, const ConvArray *row, LLVMValueRef r) {
    CE *t = c->to;
    Counting channels;
    LLVMValueRef to = cv_at(t, conv_scratch(t, t->folded.base), cv_mul(t, r, t->folded.y));
    LLVMValueRef o = cv_loop(t, &channels, cv_int(t, 0), cv_int(t, t->p.out), 1);
    conv_move_row(t, ROW_COPY, cv_at(t, to, cv_mul(t, o, t->folded.channel)),
                  cv_at(t, row->base, cv_mul(t, o, row->channel)), t->made[0]);
    emit_loop_end(c->e, &channels);
}

/* The launch for row c->y, whose ghosts are folded: `row` begins with them. */
static void end_row(Chain *c, const ConvArray *row) {
    c->row = *row;
    c->row.base = cv_at(c->to, row->base, cv_int(c->to, c->to->p.axis[0].ghost[0]));
    emit_chain_end(c);
}

void end_rows(Chain *c, const ConvArray *turn, LLVMValueRef y, LLVMValueRef end) {
    CE *t = c->to;
    Emit *e = c->e;
    Counting rows;
    LLVMValueRef r = cv_loop(t, &rows, y, end, 1);
    ConvArray row = *turn;
    row.base = cv_at(t, turn->base, cv_mul(t, cv_sub(t, r, y), turn->y));
    c->y = cv_plus(t, r, -t->p.axis[1].ghost[0]);
    fold_row(c, &row);
    LLVMBasicBlockRef finished = emit_block(e, "finished"), later = emit_block(e, "later"),
                      join = emit_block(e, "join");
    int64_t wait = waiting(c);
    LLVMValueRef inner = cv_sub(t, t->n[1], cv_int(t, 2 * wait)), at = cv_plus(t, c->y, -wait);
    inner = emit_max(e, inner, cv_int(t, 0));
    LLVMBuildCondBr(e->b, LLVMBuildICmp(e->b, LLVMIntULT, at, inner, ""), finished, later);
    LLVMPositionBuilderAtEnd(e->b, finished);
    end_row(c, &row);
    LLVMBuildBr(e->b, join);
    LLVMPositionBuilderAtEnd(e->b, later);
    if (wait) keep_row(c, &row, r);
    LLVMBuildBr(e->b, join);
    LLVMPositionBuilderAtEnd(e->b, join);
    emit_loop_end(e, &rows);
}

void end_waiting(Chain *c, LLVMValueRef unit) {
    CE *t = c->to;
    Counting rows;
    LLVMValueRef first = LLVMBuildICmp(c->e->b, LLVMIntEQ, unit, cv_int(t, 0), ""),
                 wait = cv_int(t, waiting(c));
    LLVMValueRef low = emit_min(c->e, wait, t->n[1]),
                 high = emit_max(c->e, low, cv_sub(t, t->n[1], wait));
    LLVMValueRef from = cv_if(t, first, cv_int(t, 0), high), end = cv_if(t, first, low, t->n[1]);
    conv_chain_fold(t, from, end);
    c->y = cv_loop(t, &rows, from, end, 1);
    ConvArray row = t->folded;
    LLVMValueRef at = cv_mul(t, cv_plus(t, c->y, t->p.axis[1].ghost[0]), row.y);
    row.base = cv_at(t, conv_scratch(t, row.base), at);
    end_row(c, &row);
    emit_loop_end(c->e, &rows);
}

LLVMValueRef end_work(HE *h, const Chain *c) {
    Emit *e = h->e;
    if (e->standalone) return NULL;
    LLVMValueRef rows = emit_i64(e, 2 * waiting(c)), cells = mul(e, rows, c->to->n[0]);
    return work_kernel(e, chain_kernel(e, &c->first[c->end]), cells, rows);
}
