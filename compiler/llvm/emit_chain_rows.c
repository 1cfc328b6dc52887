/* The rows of chains.
 *
 * A unit goes through some rows of what is made, a few at a time, which is a turn. Before these are summed
 * (emit_conv_rows.c), the rows that they read are made, a part of some vectors at a time: of all channels of each
 * convolution, to a place for one part, from there through the launches, a vector of cells at a time, to a row of each field
 * that is summed: of the padded array of the transposed convolution, and the like for gradients of weights. Of these only
 * some rows are there, in rings. Units of one call follow one another in the rings of the first; at their beginning they
 * make some rows again that another call makes, too. Gradients are summed a chunk of rows at a time, as many as the turns
 * have whoever takes them, and the chunks then in order.
 *
 * The rows that a launch ends go through it turn by turn (emit_chain_end.c).
 *
 * What the convolutions read is padded row by row, too, before rows of a turn read it: as many rows as a unit reads are
 * there. */
#include "compiler/llvm/emit_chain.h"

/* ---- rows ------------------------------------------------------------------------------------- */

/* Zeros to the numbers [from, from + count) of a row of every channel, and to some after them. */
static void clear_cells(CE *c, const ConvArray *row, LLVMValueRef from, LLVMValueRef count) {
    Counting channels, vectors;
    LLVMValueRef o = cv_loop(c, &channels, cv_int(c, 0), cv_int(c, c->p.in), 1);
    LLVMValueRef at = cv_at(c, row->base, cv_add(c, cv_mul(c, o, row->channel), from));
    LLVMValueRef i = cv_loop(c, &vectors, cv_int(c, 0), count, c->e->lanes);
    cv_store(c, emit_number(c->e, cv_vector(c), 0), cv_at(c, at, i));
    emit_loop_end(c->e, &vectors);
    emit_loop_end(c->e, &channels);
}

/* Row c->y of what the convolutions make, a part at a time; a part stays in the first-level cache. */
static void emit_parts(Chain *c) {
    CE *t = c->to;
    Emit *e = c->e;
    Counting parts;
    bool direct = c->members == 2 + (c->end != NONE) || c->finish.name;
    LLVMValueRef all = cv_times(t, cv_ceil(t, t->m[0], cv_int(t, e->lanes)), e->lanes);
    if (!direct) start_chain_cells(c);
    c->from = cv_loop(t, &parts, cv_int(t, 0), all, (int64_t)CHAIN_PART * e->lanes);
    LLVMValueRef end = emit_min(e, cv_plus(t, c->from, (int64_t)CHAIN_PART * e->lanes), all);
    for (uint32_t m = 0; m < c->members; m++) {
        if (!chain_form(&c->first[m], CONV_FORWARD)) continue;
        ConvArray to = direct ? c->ring[0].row : c->made[m];
        if (direct) to.base = cv_at(t, to.base, c->from);
        conv_chain_part(&c->conv[m], c->y, c->from, end, &to, c->context);
    }
    if (!direct) emit_chain_cells(c, end);
    emit_loop_end(e, &parts);
    if (!direct) finish_chain_cells(c);
}

/* Row `p` of the padded array of the transposed convolution, which stands `at` numbers after the start of each ring: its
 * cells, and some zeros after them. */
static void emit_padded_row(Chain *c, LLVMValueRef p, LLVMValueRef at) {
    Emit *e = c->e;
    CE *t = c->to;
    int64_t zeros = (int64_t)t->conv->size[0] - 1;
    c->y = cv_plus(t, p, -t->p.axis[1].low);
    LLVMBasicBlockRef live = emit_block(e, "live"), dead = emit_block(e, "dead"),
                      join = emit_block(e, "join");
    for (uint32_t r = 0; r < c->rings; r++) {
        c->ring[r].row = c->ring[r].rows;
        c->ring[r].row.base = cv_at(t, c->ring[r].rows.base, at);
    }
    LLVMBuildCondBr(e->b, LLVMBuildICmp(e->b, LLVMIntULT, c->y, t->m[1], ""), live, dead);
    LLVMPositionBuilderAtEnd(e->b, live);
    emit_parts(c);
    clear_cells(t, &c->ring[0].row, t->m[0], cv_int(t, zeros));
    LLVMBuildBr(e->b, join);
    LLVMPositionBuilderAtEnd(e->b, dead);
    clear_cells(t, &c->ring[0].row, cv_int(t, 0), cv_plus(t, t->m[0], zeros));
    LLVMBuildBr(e->b, join);
    LLVMPositionBuilderAtEnd(e->b, join);
}

/* Is there a gradient that multiplies what member m pads? */
static bool pads_for_sums(Chain *c, uint32_t m) {
    for (uint32_t k = 0; k < c->members; k++)
        if (chain_form(&c->first[k], CONV_WEIGHTS) && chain_padded_for(c, k) == &c->conv[m])
            return true;
    return false;
}

/* Numbers of the padded rows that a unit reads. */
LLVMValueRef chain_unit_numbers(const Chain *c, uint32_t m) {
    CE *t = c->to;
    int64_t more = (int64_t)t->conv->size[1] + c->conv[m].conv->size[1];
    return cv_mul(t, cv_plus(t, t->block, more), c->conv[m].padded.y);
}

/* The padded rows that a turn reads: of the rows [done, last) of the transposed convolution's array, and of rows [y, end) of
 * gradients. Where a unit starts, they stand first. */
static void emit_fill(Chain *c, uint32_t m, LLVMValueRef y, LLVMValueRef done, LLVMValueRef last,
                      LLVMValueRef starts) {
    CE *t = c->to, *conv = &c->conv[m];
    Emit *e = c->e;
    Counting rows;
    int64_t low = t->p.axis[1].low;
    LLVMValueRef from = emit_max(e, cv_plus(t, done, -low), cv_int(t, 0));
    if (pads_for_sums(c, m)) from = emit_min(e, from, y);
    LLVMValueRef end =
        cv_plus(t, emit_min(e, cv_plus(t, last, -low), t->m[1]), (int64_t)conv->conv->size[1] - 1);
    conv->first_row = cv_if(t, starts, from, LLVMBuildLoad2(e->b, e->i64, c->first_row[m], ""));
    LLVMBuildStore(e->b, conv->first_row, c->first_row[m]);
    from = cv_if(t, starts, from, LLVMBuildLoad2(e->b, e->i64, c->filled[m], ""));
    conv_chain_fill(conv, cv_loop(t, &rows, from, end, 1));
    emit_loop_end(e, &rows);
    LLVMBuildStore(e->b, emit_max(e, from, end), c->filled[m]);
}

/* ---- gradients of weights ------------------------------------------------------------------------ */

ChainChunks chain_chunks(const Chain *c) {
    CE *t = c->to;
    LLVMValueRef rows =
        cv_div(t, cv_int(t, CONV_CHUNK / t->e->size), emit_max(t->e, t->m[0], cv_int(t, 1)));
    ChainChunks k = {.rows = emit_max(t->e, emit_min(t->e, rows, t->turn), cv_int(t, 1))};
    k.each = cv_ceil(t, t->turn, k.rows);
    k.all = cv_mul(t, k.each, cv_ceil(t, t->made[1], t->turn));
    return k;
}

/* The rows of a turn, each in one turn: as many as are made, as far as there are some. */
static void emit_sums(Chain *c, LLVMValueRef y, LLVMValueRef end) {
    CE *t = c->to;
    for (uint32_t m = 0; m < c->members; m++) {
        if (!chain_form(&c->first[m], CONV_WEIGHTS)) continue;
        Counting chunks;
        ChainChunks k = chain_chunks(c);
        const ConvArray *ring = &c->ring[chain_ring_of(c, c->first[m].args[1])].rows;
        LLVMValueRef i = cv_loop(t, &chunks, cv_int(t, 0), k.each, 1);
        ChainRows rows = {.y = emit_min(t->e, cv_add(t, y, cv_mul(t, i, k.rows)), t->m[1]),
                          .v = *ring};
        LLVMValueRef stop = emit_min(t->e, emit_min(t->e, cv_add(t, rows.y, k.rows), end), t->m[1]);
        rows.count = emit_max(t->e, cv_sub(t, stop, rows.y), cv_int(t, 0));
        LLVMValueRef at =
            cv_mul(t, conv_ring_row(t, cv_plus(t, rows.y, t->p.axis[1].low)), ring->y);
        rows.v.base = cv_at(t, ring->base, at);
        LLVMValueRef number = cv_add(t, cv_mul(t, cv_div(t, y, t->turn), k.each), i);
        LLVMValueRef to = cv_at(t, chain_word(c, c->e->ptr, m, CONV_SCRATCH),
                                cv_times(t, number, conv_weights(c->conv[m].conv)));
        conv_chain_sums(&c->conv[m], chain_padded_for(c, m), &rows, to);
        emit_loop_end(t->e, &chunks);
    }
}

uint32_t chain_channels_before(const Chain *c, uint32_t m) {
    uint32_t channels = 0;
    for (uint32_t k = 0; k < m; k++)
        if (chain_form(&c->first[k], CONV_FORWARD))
            channels += c->e->plan->convs.data[c->first[k].index].out;
    return channels;
}

/* ---- turns and units --------------------------------------------------------------------------- */

/* Rows [y, end) of what is made, and the padded ones that they read beyond those that are there. `turn`: the unit's place,
 * if a launch reads them. */
static void emit_turn(Chain *c, const ConvArray *turn, LLVMValueRef y, LLVMValueRef end,
                      LLVMValueRef done, LLVMValueRef starts) {
    CE *t = c->to;
    Emit *e = t->e;
    Counting padded, tiles;
    const ConvArray *rows = &c->ring[0].rows;
    LLVMValueRef last = cv_plus(t, end, (int64_t)t->conv->size[1] - 1);
    LLVMValueRef there = LLVMBuildLoad2(e->b, e->i64, done, "");
    for (uint32_t m = 0; m < c->members; m++)
        if (chain_form(&c->first[m], CONV_FORWARD)) emit_fill(c, m, y, there, last, starts);
    LLVMValueRef p = cv_loop(t, &padded, there, last, 1);
    emit_padded_row(c, p, cv_mul(t, conv_ring_row(t, p), rows->y));
    emit_loop_end(e, &padded);
    LLVMBuildStore(e->b, last, done);
    ConvArray to = c->end == NONE ? conv_made_array(t, cv_int(t, 0)) : *turn;
    conv_chain_tile(t, rows->base, cv_loop(t, &tiles, y, end, t->tile.rows), &to,
                    c->end == NONE ? NULL : y);
    emit_loop_end(e, &tiles);
    if (c->end != NONE) end_rows(c, turn, y, end);
    emit_sums(c, y, end);
}

/* The place of a call that begins with this unit. */
static LLVMValueRef place_of(const Chain *c, LLVMValueRef unit) {
    return cv_div(c->to, cv_mul(c->to, unit, chain_places(c)), c->to->blocks);
}

static void find_places(Chain *c, LLVMValueRef place) {
    CE *t = c->to;
    int64_t part = (int64_t)CHAIN_PART * c->e->lanes,
            numbers = part * chain_channels_before(c, c->members);
    LLVMValueRef parts = chain_word(c, c->e->ptr, c->last, CONV_FIRST);
    LLVMValueRef first_ring = cv_at(t, parts, cv_times(t, chain_places(c), numbers));
    parts = cv_at(t, parts, cv_times(t, place, numbers));
    for (uint32_t m = 0; m < c->members; m++) {
        LLVMValueRef at = cv_int(t, part * chain_channels_before(c, m));
        c->made[m] = (ConvArray){.base = cv_at(t, parts, at), .channel = cv_int(t, part)};
        if (!chain_form(&c->first[m], CONV_FORWARD)) continue;
        LLVMValueRef rows = chain_word(c, c->e->ptr, m, CONV_MADE);
        c->conv[m].rows_at = cv_at(t, rows, cv_mul(t, place, chain_unit_numbers(c, m)));
        c->filled[m] = emit_variable(c->e, c->e->i64, "filled");
        c->first_row[m] = emit_variable(c->e, c->e->i64, "first");
    }
    for (uint32_t r = 0; r < c->rings; r++) {
        LLVMValueRef base =
            r ? chain_word(c, c->e->ptr, c->ring[r].member, CONV_FIRST) : first_ring;
        c->ring[r].rows = t->padded;
        c->ring[r].rows.base = cv_at(t, base, cv_mul(t, place, conv_ring_numbers(t)));
    }
}

void emit_chain_units(Chain *c, LLVMValueRef begin, LLVMValueRef stop) {
    CE *t = c->to;
    Emit *e = t->e;
    Counting turns;
    LLVMValueRef place = place_of(c, begin);
    find_places(c, place);
    ConvArray turn = {.base = NULL};
    if (c->end != NONE) turn = chain_turn(c, place);
    LLVMValueRef from = cv_mul(t, begin, t->block),
                 to = emit_min(e, cv_mul(t, stop, t->block), t->made[1]);
    LLVMValueRef done = emit_variable(e, e->i64, "done");
    LLVMBuildStore(e->b, from, done);
    LLVMValueRef y = cv_loop(t, &turns, from, to, 0), next = cv_add(t, y, t->turn);
    LLVMValueRef starts = LLVMBuildICmp(e->b, LLVMIntEQ, cv_rem(t, y, t->block), cv_int(t, 0), "");
    emit_turn(c, &turn, y, emit_min(e, next, to), done, starts);
    turns.step = t->turn;
    emit_loop_end(e, &turns);
}
