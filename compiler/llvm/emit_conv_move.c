/* Convolutions: what only moves numbers. Padding, packing. */
#include "compiler/llvm/emit_conv.h"

#include <string.h>

/* ---- rows ------------------------------------------------------------------------------------ */

void conv_row_step(CE *c, RowOp op, LLVMTypeRef type, LLVMValueRef to, LLVMValueRef from) {
    LLVMValueRef v = cv_load(c, type, from);
    if (op == ROW_NEGATE) v = LLVMBuildFNeg(c->e->b, v, "");
    if (op == ROW_ADD) v = LLVMBuildFAdd(c->e->b, cv_load(c, type, to), v, "");
    if (op == ROW_SUBTRACT) v = LLVMBuildFSub(c->e->b, cv_load(c, type, to), v, "");
    cv_store(c, v, to);
}

void conv_move_row(CE *c, RowOp op, LLVMValueRef to, LLVMValueRef from, LLVMValueRef count) {
    Emit *e = c->e;
    Counting k;
    LLVMValueRef whole = LLVMBuildAnd(e->b, count, cv_int(c, -(int64_t)e->lanes), "");
    LLVMValueRef i = cv_loop(c, &k, cv_int(c, 0), whole, e->lanes);
    conv_row_step(c, op, cv_vector(c), cv_at(c, to, i), cv_at(c, from, i));
    emit_loop_end(e, &k);
    i = cv_loop(c, &k, whole, count, 1);
    conv_row_step(c, op, e->real, cv_at(c, to, i), cv_at(c, from, i));
    emit_loop_end(e, &k);
}

static void clear_row(CE *c, LLVMValueRef to, LLVMValueRef from, LLVMValueRef end) {
    Emit *e = c->e;
    Counting k;
    LLVMValueRef whole = LLVMBuildAnd(e->b, emit_max(e, cv_sub(c, end, from), cv_int(c, 0)),
                                      cv_int(c, -(int64_t)e->lanes), "");
    LLVMValueRef middle = cv_add(c, from, whole);
    LLVMValueRef i = cv_loop(c, &k, from, middle, e->lanes);
    cv_store(c, emit_number(e, cv_vector(c), 0), cv_at(c, to, i));
    emit_loop_end(e, &k);
    i = cv_loop(c, &k, middle, end, 1);
    cv_store(c, emit_real(e, 0), cv_at(c, to, i));
    emit_loop_end(e, &k);
}

/* ---- fill ---------------------------------------------------------------------------------------- */

static SideKind side_of(const CE *c, uint32_t axis, int side) {
    return c->form == CONV_TRANSPOSED ? SIDE_GHOST : c->conv->sides[axis][side];
}

ConvSource conv_source(CE *c, uint32_t axis, LLVMValueRef p, LLVMValueRef n) {
    Emit *e = c->e;
    ConvSource s = {p, NULL};
    if (axis >= c->conv->rank) return s;
    for (int side = 0; side < 2; side++) {
        SideKind kind = side_of(c, axis, side);
        LLVMValueRef beyond = side ? LLVMBuildICmp(e->b, LLVMIntSGE, p, n, "")
                                   : LLVMBuildICmp(e->b, LLVMIntSLT, p, cv_int(c, 0), "");
        LLVMValueRef at = kind == SIDE_PERIODIC ? (side ? cv_sub(c, p, n) : cv_add(c, p, n))
                          : side                ? cv_sub(c, cv_plus(c, cv_add(c, n, n), -1), p)
                                                : cv_sub(c, cv_int(c, -1), p);
        s.at = cv_if(c, beyond, at, s.at);
        if (kind != SIDE_ODD && kind != SIDE_GHOST) continue;
        LLVMValueRef factor = emit_real(e, kind == SIDE_ODD ? -1 : 0);
        s.factor = cv_if(c, beyond, factor, s.factor ? s.factor : emit_real(e, 1));
    }
    s.at = emit_max(e, emit_min(e, s.at, cv_plus(c, n, -1)), cv_int(c, 0));
    return s;
}

static LLVMValueRef is_number(CE *c, LLVMValueRef x, double number) {
    return LLVMBuildFCmp(c->e->b, LLVMRealOEQ, x, emit_real(c->e, number), "");
}

/* Numbers [from, to) of a padded row, one by one: `factor` is that of the row, or NULL. */
static void fill_ends(CE *c, LLVMValueRef to, LLVMValueRef row, LLVMValueRef from, LLVMValueRef end,
                      LLVMValueRef phase, LLVMValueRef n, LLVMValueRef factor) {
    Emit *e = c->e;
    Counting k;
    LLVMValueRef i = cv_loop(c, &k, from, end, 1);
    LLVMValueRef p = cv_add(c, cv_times(c, i, c->p.axis[0].split), phase);
    ConvSource s = conv_source(c, 0, cv_plus(c, p, -c->p.axis[0].low), n);
    LLVMValueRef v = cv_load(c, e->real, cv_at(c, row, s.at));
    if (factor) v = LLVMBuildFMul(e->b, v, factor, "");
    if (s.factor) {
        LLVMValueRef dead = is_number(c, s.factor, 0);
        v = cv_if(c, dead, emit_real(e, 0), LLVMBuildFMul(e->b, v, s.factor, ""));
    }
    cv_store(c, v, cv_at(c, to, i));
    emit_loop_end(e, &k);
}

/* Numbers of a padded row beyond the high side; -1 where that depends on the size. */
static int64_t beyond_high(const CE *c) {
    if (c->p.axis[0].split != 1 || c->p.axis[0].made_split != 1) return -1;
    return c->p.axis[0].rest + c->p.axis[0].ghost[0] + c->p.axis[0].ghost[1];
}

/* The same for the few numbers beyond one side of a row that is not split, one after another. */
static void fill_side(CE *c, LLVMValueRef to, LLVMValueRef row, int side, LLVMValueRef n,
                      LLVMValueRef factor) {
    Emit *e = c->e;
    SideKind kind = side_of(c, 0, side);
    int64_t low = c->p.axis[0].low, count = side ? beyond_high(c) : low;
    for (int64_t i = 0; i < count; i++) {
        int64_t j = side ? i : count - 1 - i; /* number of the ghost */
        LLVMValueRef v = emit_real(e, 0);
        if (kind != SIDE_GHOST) {
            bool first =
                (kind == SIDE_PERIODIC) == (side == 1); /* read from the row's first cells */
            LLVMValueRef at = first ? cv_int(c, j) : cv_plus(c, n, -1 - j);
            v = cv_load(c, e->real, cv_at(c, row, at));
            if (factor) v = LLVMBuildFMul(e->b, v, factor, "");
            if (kind == SIDE_ODD) v = LLVMBuildFNeg(e->b, v, "");
        }
        cv_store(c, v, cv_at(c, to, side ? cv_plus(c, n, low + i) : cv_int(c, i)));
    }
}

/* Every second number of a row, from `from`. */
static void split_row(CE *c, LLVMValueRef to, LLVMValueRef from, LLVMValueRef count,
                      LLVMValueRef factor) {
    Emit *e = c->e;
    LLVMValueRef mask[64];
    for (uint32_t l = 0; l < e->lanes; l++) mask[l] = LLVMConstInt(e->i32, 2 * l, false);
    Counting k;
    /* the last vector would read one number beyond the last even one */
    LLVMValueRef most = emit_max(e, cv_plus(c, count, -1), cv_int(c, 0));
    LLVMValueRef whole = LLVMBuildAnd(e->b, most, cv_int(c, -(int64_t)e->lanes), "");
    LLVMValueRef i = cv_loop(c, &k, cv_int(c, 0), whole, e->lanes), at = cv_times(c, i, 2);
    LLVMValueRef a = cv_load(c, cv_vector(c), cv_at(c, from, at));
    LLVMValueRef b = cv_load(c, cv_vector(c), cv_at(c, from, cv_plus(c, at, e->lanes)));
    LLVMValueRef v = LLVMBuildShuffleVector(e->b, a, b, LLVMConstVector(mask, e->lanes), "");
    if (factor) v = LLVMBuildFMul(e->b, v, emit_splat(e, factor), "");
    cv_store(c, v, cv_at(c, to, i));
    emit_loop_end(e, &k);
    i = cv_loop(c, &k, whole, count, 1);
    v = cv_load(c, e->real, cv_at(c, from, cv_times(c, i, 2)));
    if (factor) v = LLVMBuildFMul(e->b, v, factor, "");
    cv_store(c, v, cv_at(c, to, i));
    emit_loop_end(e, &k);
}

/* A row that counts: [0, first) beyond the low side, [first, last) inside, [last, extent) beyond the high one. */
static void fill_row(CE *c, LLVMValueRef to, LLVMValueRef row, LLVMValueRef phase, LLVMValueRef n,
                     LLVMValueRef factor) {
    Emit *e = c->e;
    uint32_t split = c->p.axis[0].split;
    LLVMValueRef s = cv_int(c, split), zero = cv_int(c, 0), low = cv_int(c, c->p.axis[0].low);
    LLVMValueRef first = cv_ceil(c, emit_max(e, cv_sub(c, low, phase), zero), s);
    LLVMValueRef last = cv_ceil(c, emit_max(e, cv_sub(c, cv_add(c, low, n), phase), zero), s);
    last = emit_min(e, last, c->extent[0]);
    enum { FEW = 8 };
    bool few = beyond_high(c) >= 0 && beyond_high(c) <= FEW && c->p.axis[0].low <= FEW;
    if (few)
        fill_side(c, to, row, 0, n, factor);
    else
        fill_ends(c, to, row, zero, first, phase, n, factor);
    LLVMValueRef from = cv_sub(c, cv_add(c, cv_times(c, first, split), phase), low);
    LLVMValueRef count = cv_sub(c, last, first);
    LLVMValueRef inside = cv_at(c, row, from), at = cv_at(c, to, first);
    if (split == 2) {
        split_row(c, at, inside, count, factor);
    } else if (factor) {
        LLVMBasicBlockRef minus = emit_block(e, "minus"), plus = emit_block(e, "plus"),
                          join = emit_block(e, "join");
        LLVMBuildCondBr(e->b, is_number(c, factor, -1), minus, plus);
        LLVMPositionBuilderAtEnd(e->b, minus);
        conv_move_row(c, ROW_NEGATE, at, inside, count);
        LLVMBuildBr(e->b, join);
        LLVMPositionBuilderAtEnd(e->b, plus);
        conv_move_row(c, ROW_COPY, at, inside, count);
        LLVMBuildBr(e->b, join);
        LLVMPositionBuilderAtEnd(e->b, join);
    } else {
        conv_move_row(c, ROW_COPY, at, inside, count);
    }
    if (few)
        fill_side(c, to, row, 1, n, factor);
    else
        fill_ends(c, to, row, last, c->extent[0], phase, n, factor);
}

/* Row i[1] of plane i[2] of a phase of a channel's padded array, to `to`. */
static void fill_padded(CE *c, LLVMValueRef channel, LLVMValueRef *i, LLVMValueRef *phase,
                        LLVMValueRef to) {
    Emit *e = c->e;
    bool back = c->form == CONV_TRANSPOSED;
    LLVMValueRef *n = back ? c->m : c->n;
    ConvArray from = conv_array(c, back, conv_word(c, CONV_FIRST));
    LLVMValueRef at = cv_mul(c, channel, from.channel), factor = NULL;
    for (uint32_t a = 1; a < c->conv->rank; a++) {
        LLVMValueRef p = cv_add(c, cv_times(c, i[a], c->p.axis[a].split), phase[a]);
        ConvSource s = conv_source(c, a, cv_plus(c, p, -c->p.axis[a].low), n[a]);
        at = cv_add(c, at, cv_mul(c, s.at, a == 1 ? from.y : from.z));
        if (s.factor) factor = factor ? LLVMBuildFMul(e->b, factor, s.factor, "") : s.factor;
    }
    LLVMValueRef row = cv_at(c, from.base, at);
    if (!factor) {
        fill_row(c, to, row, phase[0], n[0], NULL);
        return;
    }
    LLVMBasicBlockRef dead = emit_block(e, "dead"), live = emit_block(e, "live"),
                      join = emit_block(e, "join");
    LLVMBuildCondBr(e->b, is_number(c, factor, 0), dead, live);
    LLVMPositionBuilderAtEnd(e->b, dead);
    clear_row(c, to, cv_int(c, 0), c->extent[0]);
    LLVMBuildBr(e->b, join);
    LLVMPositionBuilderAtEnd(e->b, live);
    fill_row(c, to, row, phase[0], n[0], factor);
    LLVMBuildBr(e->b, join);
    LLVMPositionBuilderAtEnd(e->b, join);
}

/* A unit: one row of one phase of a channel's padded array. */
void conv_fill(CE *c, LLVMValueRef unit) {
    LLVMValueRef i[MAX_RANK], phase[MAX_RANK], rest = unit;
    for (uint32_t a = 1; a < MAX_RANK; a++) {
        i[a] = cv_rem(c, rest, c->extent[a]);
        rest = cv_div(c, rest, c->extent[a]);
    }
    LLVMValueRef phases = cv_int(c, c->p.phases), number = cv_rem(c, rest, phases);
    LLVMValueRef channel = cv_div(c, rest, phases), bits = number;
    for (uint32_t a = 0; a < MAX_RANK; a++) {
        LLVMValueRef split = cv_int(c, c->p.axis[a].split);
        phase[a] = cv_rem(c, bits, split);
        bits = cv_div(c, bits, split);
    }
    LLVMValueRef volume = cv_mul(c, c->padded.z, c->extent[2]);
    LLVMValueRef to = cv_add(c, cv_mul(c, channel, c->padded.channel), cv_mul(c, number, volume));
    to = cv_add(c, to, cv_add(c, cv_mul(c, i[2], c->padded.z), cv_mul(c, i[1], c->padded.y)));
    fill_padded(c, channel, i, phase, cv_at(c, conv_scratch(c, c->padded.base), to));
}

void conv_chain_fill(CE *c, LLVMValueRef row) {
    Counting channels;
    LLVMValueRef zero = cv_int(c, 0), i[MAX_RANK] = {zero, row, zero},
                 phase[MAX_RANK] = {zero, zero, zero};
    LLVMValueRef at = cv_mul(c, cv_sub(c, row, c->first_row), c->padded.y);
    LLVMValueRef channel = cv_loop(c, &channels, zero, cv_int(c, c->p.in), 1);
    fill_padded(c, channel, i, phase,
                cv_at(c, c->rows_at, cv_add(c, at, cv_mul(c, channel, c->padded.channel))));
    emit_loop_end(c->e, &channels);
}

/* A unit: one row of a channel of v, with zeros up to the length of a padded row. */
void conv_copy(CE *c, LLVMValueRef unit) {
    LLVMValueRef y = cv_rem(c, unit, c->made[1]), rest = cv_div(c, unit, c->made[1]);
    LLVMValueRef z = cv_rem(c, rest, c->made[2]), channel = cv_div(c, rest, c->made[2]);
    ConvArray v = conv_array(c, 1, conv_word(c, CONV_SECOND));
    LLVMValueRef from =
        cv_add(c, cv_mul(c, channel, v.channel), cv_add(c, cv_mul(c, z, v.z), cv_mul(c, y, v.y)));
    LLVMValueRef to = cv_add(c, cv_mul(c, channel, c->copied.channel),
                             cv_add(c, cv_mul(c, z, c->copied.z), cv_mul(c, y, c->copied.y)));
    to = cv_at(c, conv_scratch(c, c->copied.base), to);
    conv_move_row(c, ROW_COPY, to, cv_at(c, v.base, from), c->made[0]);
    clear_row(c, to, c->made[0], c->copied.y);
}

/* ---- pack ----------------------------------------------------------------------------------------- */

/* Loops over the channels of a group and the taps that meet a phase of what is made, in the order of what is
 * packed; k numbers the turns. */
typedef struct {
    Counting channel, tap[MAX_RANK];
    LLVMValueRef turn; /* variable */
    LLVMValueRef i, k, t[MAX_RANK], r[MAX_RANK];
} Turns;

static LLVMValueRef by_phase(CE *c, LLVMValueRef bit, int64_t even, int64_t odd) {
    if (even == odd) return cv_int(c, even);
    LLVMValueRef is = LLVMBuildICmp(c->e->b, LLVMIntEQ, bit, cv_int(c, 0), "");
    return cv_if(c, is, cv_int(c, even), cv_int(c, odd));
}

static void phase_bits(CE *c, LLVMValueRef phase, LLVMValueRef r[MAX_RANK]) {
    for (uint32_t a = 0; a < MAX_RANK; a++) {
        LLVMValueRef split = cv_int(c, c->p.axis[a].made_split);
        r[a] = cv_rem(c, phase, split);
        phase = cv_div(c, phase, split);
    }
}

static LLVMValueRef tap_count(CE *c, LLVMValueRef bit, uint32_t axis) {
    return by_phase(c, bit, conv_taps(c->conv, c->form, axis, 0).count,
                    conv_taps(c->conv, c->form, axis, c->p.axis[axis].made_split - 1).count);
}

LLVMValueRef conv_phase_depth(CE *c, LLVMValueRef phase) {
    LLVMValueRef r[MAX_RANK], depth = cv_int(c, c->p.in);
    phase_bits(c, phase, r);
    for (uint32_t a = 0; a < MAX_RANK; a++) depth = cv_mul(c, depth, tap_count(c, r[a], a));
    return depth;
}

static void turns_begin(CE *c, Turns *t, LLVMValueRef phase) {
    Emit *e = c->e;
    phase_bits(c, phase, t->r);
    t->turn = emit_variable(e, e->i64, "turn");
    LLVMBuildStore(e->b, cv_int(c, 0), t->turn);
    t->i = cv_loop(c, &t->channel, cv_int(c, 0), cv_int(c, c->p.in), 1);
    for (uint32_t a = MAX_RANK; a-- > 0;) {
        ConvTaps even = conv_taps(c->conv, c->form, a, 0);
        ConvTaps odd = conv_taps(c->conv, c->form, a, c->p.axis[a].made_split - 1);
        LLVMValueRef count = tap_count(c, t->r[a], a);
        LLVMValueRef i = cv_loop(c, &t->tap[a], cv_int(c, 0), count, 1);
        t->t[a] = cv_add(c, by_phase(c, t->r[a], even.first, odd.first),
                         cv_mul(c, i, by_phase(c, t->r[a], even.step, odd.step)));
    }
    t->k = LLVMBuildLoad2(e->b, e->i64, t->turn, "k");
}

static void turns_end(CE *c, Turns *t) {
    LLVMBuildStore(c->e->b, cv_plus(c, t->k, 1), t->turn);
    for (uint32_t a = 0; a < MAX_RANK; a++) emit_loop_end(c->e, &t->tap[a]);
    emit_loop_end(c->e, &t->channel);
}

/* How far tap t of an axis lies in the padded array. */
static LLVMValueRef tap_offset(CE *c, uint32_t a, LLVMValueRef t, LLVMValueRef r) {
    Emit *e = c->e;
    if (a >= c->conv->rank) return cv_int(c, 0);
    LLVMValueRef q = cv_times(c, t, c->conv->dilation[a]);
    LLVMValueRef stride = a == 0 ? cv_int(c, 1) : a == 1 ? c->padded.y : c->padded.z;
    if (c->form == CONV_TRANSPOSED) {
        int64_t from = conv_low(c->conv, a) - c->p.axis[a].ghost[0];
        LLVMValueRef at = cv_sub(c, cv_plus(c, r, from), q);
        if (c->conv->stride[a] == 2) at = LLVMBuildAShr(e->b, at, cv_int(c, 1), "");
        return cv_mul(c, cv_plus(c, at, c->p.axis[a].low), stride);
    }
    if (c->p.axis[a].split == 1) return cv_mul(c, q, stride);
    LLVMValueRef one = cv_int(c, 1), volume = cv_mul(c, c->padded.z, c->extent[2]);
    LLVMValueRef half = LLVMBuildLShr(e->b, q, one, ""), odd = LLVMBuildAnd(e->b, q, one, "");
    int64_t apart = 1;
    for (uint32_t k = 0; k < a; k++) apart *= c->p.axis[k].split;
    return cv_add(c, cv_mul(c, half, stride), cv_mul(c, odd, cv_times(c, volume, apart)));
}

static LLVMValueRef offset_at(CE *c, LLVMValueRef phase, LLVMValueRef k) {
    LLVMValueRef base = conv_scratch(c, c->offsets);
    LLVMValueRef at = cv_add(c, cv_times(c, phase, (int64_t)conv_depth(c) + 32), k);
    return LLVMBuildInBoundsGEP2(c->e->b, c->e->i64, base, &at, 1, "");
}

static void pack_offsets(CE *c, LLVMValueRef phase) {
    Turns t;
    turns_begin(c, &t, phase);
    LLVMValueRef at = cv_mul(c, t.i, c->padded.channel);
    for (uint32_t a = 0; a < MAX_RANK; a++) at = cv_add(c, at, tap_offset(c, a, t.t[a], t.r[a]));
    LLVMBuildStore(c->e->b, at, offset_at(c, phase, t.k));
    turns_end(c, &t);
    Counting k; /* a last tile of taps may take some too many */
    LLVMValueRef depth = cv_int(c, conv_depth(c));
    LLVMValueRef i = cv_loop(c, &k, depth, cv_plus(c, depth, 32), 1);
    LLVMBuildStore(c->e->b, cv_int(c, 0), offset_at(c, phase, i));
    emit_loop_end(c->e, &k);
}

LLVMValueRef conv_packed(CE *c, LLVMValueRef phase, LLVMValueRef block) {
    LLVMValueRef at = cv_times(c, phase, (int64_t)c->p.groups * conv_channel_blocks(c));
    at = cv_times(c, cv_add(c, at, block), (int64_t)conv_depth(c) * c->tile.channels);
    return cv_at(c, conv_scratch(c, c->weights), at);
}

LLVMValueRef conv_offsets(CE *c, LLVMValueRef phase) { return offset_at(c, phase, cv_int(c, 0)); }

static void pack_weights(CE *c, LLVMValueRef phase, LLVMValueRef block) {
    Emit *e = c->e;
    const Conv *v = c->conv;
    LLVMValueRef blocks = cv_int(c, conv_channel_blocks(c)), to = conv_packed(c, phase, block);
    LLVMValueRef from = conv_word(c, CONV_SECOND);
    LLVMValueRef group = cv_div(c, block, blocks);
    LLVMValueRef first = cv_times(c, cv_rem(c, block, blocks), c->tile.channels);
    int64_t taps = (int64_t)v->size[0] * v->size[1] * v->size[2];
    bool back = c->form == CONV_TRANSPOSED;
    Turns t;
    turns_begin(c, &t, phase);
    LLVMValueRef tap = cv_add(c, cv_times(c, t.t[2], v->size[1]), t.t[1]);
    tap = cv_add(c, cv_times(c, tap, v->size[0]), t.t[0]);
    LLVMValueRef row = cv_times(c, t.k, c->tile.channels);
    for (uint32_t l = 0; l < c->tile.channels; l++) {
        LLVMValueRef o = cv_plus(c, first, l), valid = cv_less(c, o, cv_int(c, c->p.out));
        o = emit_min(e, o, cv_int(c, c->p.out - 1));
        LLVMValueRef at = back ? cv_add(c, cv_times(c, group, c->p.in), t.i)
                               : cv_add(c, cv_times(c, group, c->p.out), o);
        at = cv_add(c, cv_times(c, at, back ? c->p.out : c->p.in), back ? o : t.i);
        at = cv_add(c, cv_times(c, at, taps), tap);
        LLVMValueRef w = cv_load(c, e->real, cv_at(c, from, at));
        cv_store(c, cv_if(c, valid, w, emit_real(e, 0)), cv_at(c, to, cv_plus(c, row, l)));
    }
    turns_end(c, &t);
}

/* Units: the tables of offsets of the phases, then their blocks of weights. */
void conv_pack(CE *c, LLVMValueRef unit) {
    Emit *e = c->e;
    LLVMValueRef phases = cv_int(c, c->p.made_phases);
    Guard g;
    cv_when(c, &g, cv_less(c, unit, phases));
    pack_offsets(c, unit);
    cv_end(c, &g);
    if (c->form == CONV_WEIGHTS) return;
    cv_when(c, &g, LLVMBuildNot(e->b, cv_less(c, unit, phases), ""));
    LLVMValueRef number = cv_sub(c, unit, phases);
    LLVMValueRef blocks = cv_int(c, (int64_t)c->p.groups * conv_channel_blocks(c));
    pack_weights(c, cv_div(c, number, blocks), cv_rem(c, number, blocks));
    cv_end(c, &g);
}
