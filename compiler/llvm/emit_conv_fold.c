/* Convolutions: what is made becomes what is asked for. Folding, adding up. */
#include "compiler/llvm/emit_conv.h"

/* ---- fold ------------------------------------------------------------------------------------------- */

/* to[2 i] = even[i], to[2 i + 1] = odd[i]. */
static void join_row(CE *c, LLVMValueRef to, LLVMValueRef even, LLVMValueRef odd,
                     LLVMValueRef count) {
    Emit *e = c->e;
    LLVMValueRef mask[2][64];
    for (uint32_t l = 0; l < 2 * e->lanes; l++)
        mask[l / e->lanes][l % e->lanes] =
            LLVMConstInt(e->i32, l / 2 + (l % 2 ? e->lanes : 0), false);
    Counting k;
    LLVMValueRef whole = LLVMBuildAnd(e->b, count, cv_int(c, -(int64_t)e->lanes), "");
    LLVMValueRef i = cv_loop(c, &k, cv_int(c, 0), whole, e->lanes);
    LLVMValueRef x = cv_load(c, cv_vector(c), cv_at(c, even, i));
    LLVMValueRef y = cv_load(c, cv_vector(c), cv_at(c, odd, i));
    for (uint32_t half = 0; half < 2; half++) {
        LLVMValueRef lanes = LLVMConstVector(mask[half], e->lanes);
        LLVMValueRef at = cv_plus(c, cv_times(c, i, 2), (int64_t)half * e->lanes);
        cv_store(c, LLVMBuildShuffleVector(e->b, x, y, lanes, ""), cv_at(c, to, at));
    }
    emit_loop_end(e, &k);
    i = cv_loop(c, &k, whole, count, 1);
    LLVMValueRef at = cv_times(c, i, 2);
    cv_store(c, cv_load(c, e->real, cv_at(c, even, i)), cv_at(c, to, at));
    cv_store(c, cv_load(c, e->real, cv_at(c, odd, i)), cv_at(c, to, cv_plus(c, at, 1)));
    emit_loop_end(e, &k);
}

/* What the phases made, as one array. x is the fastest of the phases. */
static ConvArray interleave(CE *c, LLVMValueRef channel) {
    Emit *e = c->e;
    ConvArray all = {.base = conv_scratch(c, c->whole)};
    LLVMValueRef n[MAX_RANK], one = cv_int(c, 1), zero = cv_int(c, 0);
    for (uint32_t a = 0; a < MAX_RANK; a++) n[a] = cv_times(c, c->made[a], c->p.axis[a].made_split);
    all.y = n[0];
    all.z = cv_mul(c, n[0], n[1]);
    all.channel = cv_mul(c, all.z, n[2]);
    all.base = cv_at(c, all.base, cv_mul(c, channel, all.channel));
    LLVMValueRef from =
        cv_at(c, conv_scratch(c, c->folded.base), cv_mul(c, channel, c->folded.channel));
    LLVMValueRef volume = cv_mul(c, c->folded.z, c->made[2]);
    Counting loops[MAX_RANK];
    LLVMValueRef at = zero, to = zero, phase = zero;
    for (uint32_t a = MAX_RANK; a-- > 1;) {
        LLVMValueRef i = cv_loop(c, &loops[a], zero, n[a], 1), half = i;
        if (c->p.axis[a].made_split == 2) {
            half = LLVMBuildLShr(e->b, i, one, "");
            phase = cv_add(c, cv_times(c, phase, 2), LLVMBuildAnd(e->b, i, one, ""));
        }
        at = cv_add(c, at, cv_mul(c, half, a == 1 ? c->folded.y : c->folded.z));
        to = cv_add(c, to, cv_mul(c, i, a == 1 ? all.y : all.z));
    }
    at = cv_add(c, at, cv_mul(c, cv_times(c, phase, 2), volume));
    LLVMValueRef even = cv_at(c, from, at);
    join_row(c, cv_at(c, all.base, to), even, cv_at(c, even, volume), c->made[0]);
    for (uint32_t a = 1; a < MAX_RANK; a++) emit_loop_end(e, &loops[a]);
    return all;
}

/* Ghost number j of a side: where it stands, and the cell that it is added to. */
static void ghost_cells(CE *c, uint32_t a, int side, LLVMValueRef j, LLVMValueRef *ghost,
                        LLVMValueRef *cell) {
    int64_t before = c->p.axis[a].ghost[0];
    LLVMValueRef back = cv_sub(c, cv_plus(c, c->n[a], before - 1), j),
                 forth = cv_plus(c, j, before);
    *ghost = side ? cv_add(c, cv_plus(c, c->n[a], before), j) : cv_sub(c, cv_int(c, before - 1), j);
    bool periodic = c->conv->sides[a][side] == SIDE_PERIODIC;
    *cell = (side == 0) == periodic ? back : forth;
}

/* A block of rows of what is made, [from, end): units fold blocks of their own, and with a block the ghosts of it. */
typedef struct {
    const ConvArray *x;
    LLVMValueRef from, end;
    bool folded; /* along x, all rows are already */
} FoldRows;

void conv_fold_row(CE *c, LLVMValueRef row) {
    for (int side = 0; side < 2; side++) {
        bool minus = c->conv->sides[0][side] == SIDE_ODD;
        LLVMValueRef ghost, cell;
        for (int64_t j = 0; j < c->p.axis[0].ghost[side]; j++) {
            ghost_cells(c, 0, side, cv_int(c, j), &ghost, &cell);
            conv_row_step(c, minus ? ROW_SUBTRACT : ROW_ADD, c->e->real, cv_at(c, row, cell),
                          cv_at(c, row, ghost));
        }
    }
}

/* Rows that are ghosts: along x, then onto the rows that they stand for, if these are of the block. */
static void fold_ghost_rows(CE *c, const FoldRows *f, LLVMValueRef plane) {
    for (int side = 0; side < 2; side++) {
        if (c->p.axis[1].ghost[side] == 0) continue;
        Counting ghosts;
        Guard g;
        LLVMValueRef ghost, cell,
            j = cv_loop(c, &ghosts, cv_int(c, 0), cv_int(c, c->p.axis[1].ghost[side]), 1);
        ghost_cells(c, 1, side, j, &ghost, &cell);
        LLVMValueRef y = cv_plus(c, cell, -c->p.axis[1].ghost[0]);
        LLVMValueRef after = LLVMBuildICmp(c->e->b, LLVMIntSGE, y, f->from, "");
        cv_when(c, &g, LLVMBuildAnd(c->e->b, after, cv_less(c, y, f->end), ""));
        LLVMValueRef row = cv_at(c, plane, cv_mul(c, ghost, f->x->y));
        if (!f->folded) conv_fold_row(c, row);
        RowOp op = c->conv->sides[1][side] == SIDE_ODD ? ROW_SUBTRACT : ROW_ADD;
        LLVMValueRef inside = cv_int(c, c->p.axis[0].ghost[0]);
        conv_move_row(c, op, cv_at(c, cv_at(c, plane, cv_mul(c, cell, f->x->y)), inside),
                      cv_at(c, row, inside), c->n[0]);
        cv_end(c, &g);
        emit_loop_end(c->e, &ghosts);
    }
}

/* The rows of the block in planes that are ghosts, whose rows are folded. */
static void fold_planes(CE *c, const FoldRows *f, LLVMValueRef row) {
    for (int side = 0; side < 2; side++) {
        if (c->p.axis[2].ghost[side] == 0) continue;
        Counting ghosts;
        LLVMValueRef ghost, cell,
            j = cv_loop(c, &ghosts, cv_int(c, 0), cv_int(c, c->p.axis[2].ghost[side]), 1);
        ghost_cells(c, 2, side, j, &ghost, &cell);
        RowOp op = c->conv->sides[2][side] == SIDE_ODD ? ROW_SUBTRACT : ROW_ADD;
        conv_move_row(c, op, cv_at(c, row, cv_mul(c, cell, f->x->z)),
                      cv_at(c, row, cv_mul(c, ghost, f->x->z)), c->n[0]);
        emit_loop_end(c->e, &ghosts);
    }
}

/* Row y of the block in x. */
static LLVMValueRef row_inside(CE *c, const FoldRows *f, LLVMValueRef y) {
    LLVMValueRef at = cv_mul(c, cv_plus(c, y, c->p.axis[1].ghost[0]), f->x->y);
    return cv_at(c, f->x->base, at);
}

LLVMValueRef conv_fold_blocks(CE *c) {
    return c->p.made_phases > 1 ? cv_int(c, 1) : cv_ceil(c, c->n[1], cv_int(c, FOLD_ROWS));
}

/* Ghosts along x and y of the rows of the block, and of the rows that stand for some of them. */
static void fold_rows(CE *c, const FoldRows *f) {
    Counting kz, ky;
    LLVMValueRef zero = cv_int(c, 0),
                 planes = cv_plus(c, c->n[2], c->p.axis[2].ghost[0] + c->p.axis[2].ghost[1]);
    LLVMValueRef z = cv_loop(c, &kz, zero, planes, 1), plane = cv_mul(c, z, f->x->z);
    conv_fold_row(c, cv_at(c, row_inside(c, f, cv_loop(c, &ky, f->from, f->end, 1)), plane));
    emit_loop_end(c->e, &ky);
    fold_ghost_rows(c, f, cv_at(c, f->x->base, plane));
    emit_loop_end(c->e, &kz);
}

void conv_chain_fold(CE *c, LLVMValueRef from, LLVMValueRef end) {
    Counting channels;
    ConvArray x = c->folded;
    FoldRows f = {.x = &x, .from = from, .end = end, .folded = true};
    LLVMValueRef o = cv_loop(c, &channels, cv_int(c, 0), cv_int(c, c->p.out), 1);
    x.base = cv_at(c, conv_scratch(c, c->folded.base), cv_mul(c, o, x.channel));
    fold_ghost_rows(c, &f, x.base);
    emit_loop_end(c->e, &channels);
}

/* A unit: a block of rows of a channel. */
void conv_fold(CE *c, LLVMValueRef unit) {
    ConvArray x = c->folded, to = conv_array(c, 0, conv_word(c, CONV_MADE));
    LLVMValueRef zero = cv_int(c, 0), blocks = conv_fold_blocks(c),
                 channel = cv_div(c, unit, blocks);
    x.base = cv_at(c, conv_scratch(c, x.base), cv_mul(c, channel, x.channel));
    FoldRows f = {.x = &x, .from = zero, .end = c->n[1]};
    if (c->p.made_phases > 1) {
        x = interleave(c, channel);
    } else {
        f.from = cv_times(c, cv_rem(c, unit, blocks), FOLD_ROWS);
        f.end = emit_min(c->e, cv_plus(c, f.from, FOLD_ROWS), c->n[1]);
    }
    Counting kz, ky;
    fold_rows(c, &f);
    LLVMValueRef y = cv_loop(c, &ky, f.from, f.end, 1), row = row_inside(c, &f, y);
    row = cv_at(c, row, cv_int(c, c->p.axis[0].ghost[0]));
    fold_planes(c, &f, row);
    LLVMValueRef z = cv_loop(c, &kz, zero, c->n[2], 1);
    LLVMValueRef from = cv_mul(c, cv_plus(c, z, c->p.axis[2].ghost[0]), x.z);
    LLVMValueRef at = cv_add(c, cv_mul(c, channel, to.channel),
                             cv_add(c, cv_mul(c, z, to.z), cv_mul(c, y, to.y)));
    conv_move_row(c, ROW_COPY, cv_at(c, to.base, at), cv_at(c, row, from), c->n[0]);
    emit_loop_end(c->e, &kz);
    emit_loop_end(c->e, &ky);
}

/* ---- total --------------------------------------------------------------------------------------------- */

/* Numbers from `i` of all chunks, in double, in the order of the chunks. */
static void total_step(CE *c, uint32_t lanes, LLVMValueRef i) {
    Emit *e = c->e;
    LLVMTypeRef real = lanes > 1 ? LLVMVectorType(e->real, lanes) : e->real;
    LLVMTypeRef wide = lanes > 1 ? LLVMVectorType(e->f64, lanes) : e->f64;
    LLVMValueRef sum = emit_variable(e, wide, "sum"), chunks = cv_mul(c, c->blocks, c->layers);
    LLVMBuildStore(e->b, LLVMConstNull(wide), sum);
    Counting k;
    LLVMValueRef chunk = cv_loop(c, &k, cv_int(c, 0), chunks, 1);
    LLVMValueRef at = cv_add(c, cv_times(c, chunk, conv_weights(c->conv)), i);
    LLVMValueRef x = cv_load(c, real, cv_at(c, conv_scratch(c, c->partial), at));
    if (e->size == 4) x = LLVMBuildFPExt(e->b, x, wide, "");
    LLVMBuildStore(e->b, LLVMBuildFAdd(e->b, LLVMBuildLoad2(e->b, wide, sum, ""), x, ""), sum);
    emit_loop_end(e, &k);
    x = LLVMBuildLoad2(e->b, wide, sum, "");
    if (e->size == 4) x = LLVMBuildFPTrunc(e->b, x, real, "");
    cv_store(c, x, cv_at(c, conv_word(c, CONV_MADE), i));
}

/* A unit: 1024 weights. */
void conv_total(CE *c, LLVMValueRef unit) {
    LLVMValueRef from = cv_times(c, unit, 1024), all = cv_int(c, conv_weights(c->conv));
    LLVMValueRef to = emit_min(c->e, cv_plus(c, from, 1024), all);
    LLVMValueRef rest =
        LLVMBuildAnd(c->e->b, cv_sub(c, to, from), cv_int(c, -(int64_t)c->e->lanes), "");
    LLVMValueRef whole = cv_add(c, from, rest);
    Counting k;
    total_step(c, c->e->lanes, cv_loop(c, &k, from, whole, c->e->lanes));
    emit_loop_end(c->e, &k);
    total_step(c, 1, cv_loop(c, &k, whole, to, 1));
    emit_loop_end(c->e, &k);
}
