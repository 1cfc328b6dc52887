/* Kernel nodes at positions, as LLVM values.
 *
 * A position is per axis an offset from the cell, or an index folded at the sides. In the first and the last
 * vector of a row, shifts along x that leave the row are shuffles of the vector that stands at its end. */
#include "compiler/llvm/emit_kernel.h"

#include <stdlib.h>
#include <string.h>

/* ---- positions -------------------------------------------------------------------------- */

uint32_t ke_axis(KE *ke, uint32_t axis, uint32_t parent, int32_t offset, uint32_t how, bool *made) {
    uint64_t key = (uint64_t)axis << 60 | (uint64_t)parent << 32 |
                   (uint64_t)(uint16_t)(int16_t)offset << 8 | how;
    uint32_t id;
    *made = !map_get(&ke->chains, key, &id);
    if (*made) {
        vec_push(&ke->axes[axis], ((Axis){0}));
        id = ke->axes[axis].len - 1;
        map_set(&ke->chains, key, id);
    }
    return id;
}

uint32_t ke_fixed(KE *ke, uint32_t axis, int32_t offset) {
    bool made;
    uint32_t id = ke_axis(ke, axis, 0, offset, MOVE_FIXED, &made);
    if (made) ke->axes[axis].data[id] = (Axis){.fixed = true, .offset = offset};
    return id;
}

LLVMValueRef ke_extent(KE *ke, uint32_t axis) { return ke->grids[0].extent[axis]; }

LLVMValueRef ke_add(KE *ke, LLVMValueRef a, int64_t b) {
    return b ? LLVMBuildNSWAdd(ke->e->b, a, emit_i64(ke->e, b), "") : a;
}

static LLVMValueRef sub(KE *ke, LLVMValueRef a, LLVMValueRef b) {
    return LLVMBuildNSWSub(ke->e->b, a, b, "");
}

/* Is the raw position index + offset beyond the side that it moves to? */
static LLVMValueRef beyond(KE *ke, uint32_t axis, LLVMValueRef raw, bool high) {
    return high ? LLVMBuildICmp(ke->e->b, LLVMIntSGE, raw, ke_extent(ke, axis), "")
                : LLVMBuildICmp(ke->e->b, LLVMIntSLT, raw, emit_i64(ke->e, 0), "");
}

/* The position after a move of `offset` from a folded position, brought inside again. */
static uint32_t axis_moved(KE *ke, uint32_t axis, uint32_t from, int32_t offset, uint32_t how) {
    bool made, high = offset > 0;
    uint32_t id = ke_axis(ke, axis, from, offset, how, &made);
    if (!made) return id;
    LLVMValueRef n = ke_extent(ke, axis), raw = ke_add(ke, ke->axes[axis].data[from].index, offset),
                 inside;
    switch (how) {
    case SIDE_PERIODIC:
    case MOVE_WRAP: inside = high ? sub(ke, raw, n) : LLVMBuildNSWAdd(ke->e->b, raw, n, ""); break;
    case SIDE_GHOST:
    case MOVE_CLAMP: inside = high ? ke_add(ke, n, -1) : emit_i64(ke->e, 0); break;
    default: /* mirrored at the face */
        inside = high ? sub(ke, ke_add(ke, LLVMBuildNSWAdd(ke->e->b, n, n, ""), -1), raw)
                      : sub(ke, emit_i64(ke->e, -1), raw);
        break;
    }
    LLVMValueRef index = LLVMBuildSelect(ke->e->b, beyond(ke, axis, raw, high), inside, raw, "");
    ke->axes[axis].data[id] = (Axis){.index = index};
    return id;
}

/* A position computed elsewhere, for the terms of UNSHIFT. */
static uint32_t axis_at(KE *ke, uint32_t axis, uint32_t from, int32_t offset, uint32_t how,
                        LLVMValueRef index) {
    bool made;
    uint32_t id = ke_axis(ke, axis, from, offset, how, &made);
    if (made) {
        LLVMValueRef last = ke_add(ke, ke_extent(ke, axis), -1);
        ke->axes[axis].data[id] =
            (Axis){.index = emit_max(ke->e, emit_min(ke->e, index, last), emit_i64(ke->e, 0))};
    }
    return id;
}

/* The index along an axis (of its first lane, along x). */
static LLVMValueRef axis_index(KE *ke, uint32_t axis, uint32_t id) {
    Axis a = ke->axes[axis].data[id];
    return a.fixed ? ke_add(ke, ke->cell[axis], a.offset) : a.index;
}

/* ---- leaves ------------------------------------------------------------------------------ */

static LLVMTypeRef value_type(const KE *ke) {
    return ke->vector ? LLVMVectorType(ke->e->real, ke->e->lanes) : ke->e->real;
}

static LLVMValueRef spread(KE *ke, LLVMValueRef scalar) {
    return ke->vector ? emit_splat(ke->e, scalar) : scalar;
}

LLVMValueRef ke_offset(KE *ke, const Strides *s, uint32_t rank, uint32_t channel,
                       const LLVMValueRef *index) {
    Emit *e = ke->e;
    LLVMValueRef at = LLVMBuildNSWMul(e->b, s->channel, emit_i64(e, channel), "");
    for (uint32_t a = 1; a < rank; a++)
        at = LLVMBuildNSWAdd(e->b, at, LLVMBuildNSWMul(e->b, s->stride[a], index[a], ""), "");
    return at;
}

LLVMValueRef ke_gep(KE *ke, LLVMValueRef base, LLVMValueRef index) {
    return LLVMBuildInBoundsGEP2(ke->e->b, ke->e->real, base, &index, 1, "");
}

/* Start of the row of a field that positions y, z lie in. */
static LLVMValueRef row_of(KE *ke, LLVMValueRef base, uint32_t field, uint32_t channel,
                           const uint32_t *at) {
    uint64_t key = (uint64_t)field << 48 | (uint64_t)channel << 32 | (uint64_t)at[1] << 16 | at[2];
    uint32_t id;
    if (map_get(&ke->rows_memo, key, &id)) return ke->values.data[id];
    LLVMValueRef index[MAX_RANK] = {NULL};
    for (uint32_t a = 1; a < ke->k->rank; a++) index[a] = axis_index(ke, a, at[a]);
    LLVMValueRef row =
        ke_gep(ke, base, ke_offset(ke, &ke->read_strides[field], ke->k->rank, channel, index));
    vec_push(&ke->values, row);
    map_set(&ke->rows_memo, key, ke->values.len - 1);
    return row;
}

/* Address of the cell (or first lane) at a position in a row. */
static LLVMValueRef in_row(KE *ke, LLVMValueRef row, uint32_t at) {
    Axis a = ke->axes[0].data[at];
    if (!a.fixed) return ke_gep(ke, row, a.index);
    LLVMValueRef p = ke_gep(ke, row, ke->cell[0]);
    return a.offset ? ke_gep(ke, p, emit_i64(ke->e, a.offset)) : p;
}

static LLVMValueRef load(KE *ke, const KNodeData *n, const uint32_t *at) {
    LLVMValueRef v = LLVMBuildLoad2(
        ke->e->b, value_type(ke),
        in_row(ke, row_of(ke, ke->fields[n->index], n->index, n->detail, at), at[0]), "");
    LLVMSetAlignment(v, ke->e->size);
    return v;
}

LLVMValueRef ke_lanes(KE *ke, LLVMTypeRef element) {
    LLVMValueRef items[64];
    bool floating = LLVMGetTypeKind(element) != LLVMIntegerTypeKind;
    for (uint32_t i = 0; i < ke->e->lanes; i++)
        items[i] = floating ? LLVMConstReal(element, i) : LLVMConstInt(element, i, false);
    return LLVMConstVector(items, ke->e->lanes);
}

/* 1 in one lane, 0 in the others. */
static LLVMValueRef one_lane(KE *ke, uint32_t lane) {
    LLVMValueRef items[64];
    for (uint32_t i = 0; i < ke->e->lanes; i++) items[i] = emit_real(ke->e, i == lane);
    return LLVMConstVector(items, ke->e->lanes);
}

static LLVMValueRef coordinate(KE *ke, uint32_t axis, uint32_t at) {
    Emit *e = ke->e;
    LLVMValueRef i = LLVMBuildSIToFP(e->b, axis_index(ke, axis, at), e->f64, "");
    LLVMValueRef h = ke->grids[0].spacing[axis], origin = ke->grids[0].origin[axis];
    bool lanes = ke->vector && axis == 0;
    if (lanes) {
        i = LLVMBuildFAdd(e->b, emit_splat(e, i), ke_lanes(ke, e->f64), "");
        h = emit_splat(e, h);
        origin = emit_splat(e, origin);
    }
    i = LLVMBuildFAdd(e->b, i, emit_number(e, LLVMTypeOf(i), 0.5), "");
    LLVMValueRef x = LLVMBuildFAdd(e->b, origin, LLVMBuildFMul(e->b, i, h, ""), "");
    if (!ke->e->plan->f64) x = LLVMBuildFPTrunc(e->b, x, lanes ? value_type(ke) : e->real, "");
    return lanes ? x : spread(ke, x);
}

static LLVMValueRef edge(KE *ke, const KNodeData *n, const uint32_t *at) {
    Axis a = ke->axes[n->index].data[at[n->index]];
    LLVMTypeRef t = value_type(ke);
    if (a.fixed && n->index == 0 && a.offset == 0 && ke->ends == (n->detail ? X_HIGH : X_LOW))
        return one_lane(ke, n->detail ? ke->e->lanes - 1 : 0);
    if (a.fixed) return emit_number(ke->e, t, 0); /* interior cells are out of its reach */
    LLVMValueRef side = n->detail ? ke_add(ke, ke_extent(ke, n->index), -1) : emit_i64(ke->e, 0);
    LLVMValueRef is = LLVMBuildICmp(ke->e->b, LLVMIntEQ, a.index, side, "");
    return LLVMBuildSelect(ke->e->b, is, emit_number(ke->e, t, 1), emit_number(ke->e, t, 0), "");
}

/* A number of a row, loaded where it is used: kernels of many channels would not keep them in registers. */
static LLVMValueRef entry(KE *ke, const KNodeData *n) {
    LLVMValueRef at = ke_gep(ke, ke->fields[n->index], emit_i64(ke->e, n->detail));
    return spread(ke, LLVMBuildLoad2(ke->e->b, ke->e->real, at, ""));
}

/* ---- resampling ------------------------------------------------------------------------------ */

/* Integers along an axis of the other grid: a vector along x. */
typedef struct {
    LLVMValueRef first, second; /* cells of the other grid; second only for finer ones */
    LLVMValueRef both; /* finer: is there a second one? coarser: is this the first of its cells? */
} Kin;

static LLVMValueRef like(KE *ke, LLVMValueRef value, bool lanes) {
    return lanes ? emit_splat(ke->e, value) : value;
}

/* `scale` 1: this axis is not resampled (its extents agree). */
static Kin kin_of(KE *ke, const GridValues *other, uint32_t axis, uint32_t at, bool finer) {
    Emit *e = ke->e;
    bool lanes = ke->vector && axis == 0;
    LLVMValueRef i = axis_index(ke, axis, at);
    if (lanes) i = LLVMBuildNSWAdd(e->b, emit_splat(e, i), ke_lanes(ke, e->i64), "");
    LLVMValueRef same =
        LLVMBuildICmp(e->b, LLVMIntEQ, other->extent[axis], ke_extent(ke, axis), "");
    Kin kin = {0};
    LLVMValueRef one = like(ke, emit_i64(e, 1), lanes);
    if (!finer) {
        kin.first = LLVMBuildSelect(e->b, same, i, LLVMBuildLShr(e->b, i, one, ""), "");
        LLVMValueRef even = LLVMBuildICmp(e->b, LLVMIntEQ, LLVMBuildAnd(e->b, i, one, ""),
                                          LLVMConstNull(LLVMTypeOf(i)), "");
        kin.both = LLVMBuildOr(e->b, even, like(ke, same, lanes), "");
        return kin;
    }
    kin.first = LLVMBuildSelect(e->b, same, i, LLVMBuildShl(e->b, i, one, ""), "");
    LLVMValueRef next = LLVMBuildNSWAdd(e->b, kin.first, one, "");
    kin.both = LLVMBuildICmp(e->b, LLVMIntSLT, next, like(ke, other->extent[axis], lanes), "");
    LLVMValueRef differ = LLVMBuildNot(e->b, same, "");
    kin.both = LLVMBuildAnd(e->b, kin.both, like(ke, differ, lanes), "");
    kin.second = LLVMBuildSelect(e->b, kin.both, next, kin.first, "");
    return kin;
}

static LLVMValueRef gather(KE *ke, LLVMValueRef row, LLVMValueRef index) {
    Emit *e = ke->e;
    LLVMValueRef where = ke_gep(ke, row, index);
    if (!ke->vector) {
        LLVMValueRef v = LLVMBuildLoad2(e->b, e->real, where, "");
        LLVMSetAlignment(v, e->size);
        return v;
    }
    LLVMTypeRef t = value_type(ke);
    LLVMValueRef out = LLVMGetPoison(t);
    for (uint32_t i = 0; i < e->lanes; i++) {
        LLVMValueRef lane = LLVMConstInt(e->i32, i, false);
        LLVMValueRef v =
            LLVMBuildLoad2(e->b, e->real, LLVMBuildExtractElement(e->b, where, lane, ""), "");
        LLVMSetAlignment(v, e->size);
        out = LLVMBuildInsertElement(e->b, out, v, lane, "");
    }
    return out;
}

static LLVMValueRef resample(KE *ke, const KNodeData *n, const uint32_t *at) {
    Emit *e = ke->e;
    const Kernel *k = ke->k;
    LLVMValueRef vector = resample_vector(ke, n, at);
    if (vector) return vector;
    const GridValues *other = &ke->grids[k->fields.data[n->index].grid];
    bool finer = n->kind < K_PROLONG, largest = n->kind == K_POOL, one = n->kind >= K_FIRST;
    Kin kin[MAX_RANK];
    for (uint32_t a = 0; a < k->rank; a++) kin[a] = kin_of(ke, other, a, at[a], finer);
    LLVMTypeRef t = value_type(ke);
    LLVMValueRef sum = NULL, number = emit_number(e, t, 1), zero = emit_number(e, t, 0);
    for (uint32_t corner = 0; corner < (one ? 1u : 1u << k->rank); corner++) {
        LLVMValueRef index[MAX_RANK] = {NULL}, exists = NULL;
        for (uint32_t a = 0; a < k->rank; a++) {
            bool second = corner >> a & 1;
            index[a] = second ? kin[a].second : kin[a].first;
            if (!second) continue;
            LLVMValueRef both = kin[a].both;
            if (ke->vector && a > 0) both = emit_splat(e, both);
            exists = exists ? LLVMBuildAnd(e->b, exists, both, "") : both;
        }
        LLVMValueRef row = ke_gep(ke, ke->fields[n->index],
                                  ke_offset(ke, &other->strides, k->rank, n->detail, index));
        LLVMValueRef v = gather(ke, row, index[0]);
        if (largest) { /* cells that do not exist stand for their neighbours, which is no harm */
            sum = sum ? emit_combine(e, OP_LARGEST, sum, v) : v;
            continue;
        }
        if (exists) v = LLVMBuildSelect(e->b, exists, v, zero, "");
        sum = sum ? LLVMBuildFAdd(e->b, sum, v, "") : v;
    }
    if (n->kind == K_SPIKE)
        for (uint32_t a = 0; a < k->rank; a++) {
            LLVMValueRef first = ke->vector && a > 0 ? emit_splat(e, kin[a].both) : kin[a].both;
            sum = LLVMBuildSelect(e->b, first, sum, zero, "");
        }
    if (one || largest) return sum;
    for (uint32_t a = 0; a < k->rank; a++) {
        LLVMValueRef both = ke->vector && a > 0 ? emit_splat(e, kin[a].both) : kin[a].both;
        number = LLVMBuildFMul(
            e->b, number,
            LLVMBuildSelect(e->b, both, emit_number(e, t, 0.5), emit_number(e, t, 1), ""), "");
    }
    return LLVMBuildFMul(e->b, sum, number, ""); /* 1, 1/2, 1/4, 1/8: exact */
}

/* Cells of the other grid along an axis, and how much of each (ops/resample.c). */
typedef struct {
    LLVMValueRef cell[3], weight[3];
    uint32_t count;
} Shares;

/* a / b for whole numbers, as floating-point ones. */
static LLVMValueRef fraction(KE *ke, LLVMValueRef a, LLVMValueRef b, bool lanes) {
    Emit *e = ke->e;
    LLVMTypeRef t = lanes ? value_type(ke) : e->real;
    LLVMValueRef one = lanes ? emit_number(e, t, 1) : emit_real(e, 1);
    LLVMValueRef inverse =
        LLVMBuildFDiv(e->b, one, like(ke, LLVMBuildSIToFP(e->b, b, e->real, ""), lanes), "");
    return LLVMBuildFMul(e->b, LLVMBuildSIToFP(e->b, a, t, ""), inverse, "");
}

/* Of n = 2m - 1 finer cells, i/n of cell 2i - 1, m/n of cell 2i, (m - 1 - i)/n of cell 2i + 1; where one does not exist it
 * weighs 0, and its neighbour is read. */
static Shares shares_down(KE *ke, LLVMValueRef i, LLVMValueRef n, LLVMValueRef m, bool lanes) {
    Emit *e = ke->e;
    LLVMValueRef one = like(ke, emit_i64(e, 1), lanes), zero = like(ke, emit_i64(e, 0), lanes);
    LLVMValueRef last = LLVMBuildNSWSub(e->b, like(ke, m, lanes), one, "");
    LLVMValueRef middle = LLVMBuildShl(e->b, i, one, "");
    LLVMValueRef first = LLVMBuildICmp(e->b, LLVMIntEQ, i, zero, "");
    LLVMValueRef end = LLVMBuildICmp(e->b, LLVMIntEQ, i, last, "");
    Shares s = {.count = 3};
    s.cell[0] = LLVMBuildSelect(e->b, first, middle, LLVMBuildNSWSub(e->b, middle, one, ""), "");
    s.cell[1] = middle;
    s.cell[2] = LLVMBuildSelect(e->b, end, middle, LLVMBuildNSWAdd(e->b, middle, one, ""), "");
    s.weight[0] = fraction(ke, i, n, lanes);
    s.weight[1] = fraction(ke, like(ke, m, lanes), n, lanes);
    s.weight[2] = fraction(ke, LLVMBuildNSWSub(e->b, last, i, ""), n, lanes);
    return s;
}

/* Cell j = 2i is that of coarse cell i, cell 2i + 1 (m - 1 - i)/m of that and (i + 1)/m of cell i + 1. */
static Shares shares_up(KE *ke, LLVMValueRef j, LLVMValueRef m, bool lanes) {
    Emit *e = ke->e;
    LLVMValueRef one = like(ke, emit_i64(e, 1), lanes);
    LLVMTypeRef t = lanes ? value_type(ke) : e->real;
    LLVMValueRef odd = LLVMBuildAnd(e->b, j, one, ""), i = LLVMBuildLShr(e->b, j, one, "");
    Shares s = {.count = 2};
    s.cell[0] = i;
    s.cell[1] = LLVMBuildNSWAdd(e->b, i, odd, "");
    LLVMValueRef part = LLVMBuildMul(e->b, odd, LLVMBuildNSWAdd(e->b, i, one, ""), "");
    s.weight[1] = fraction(ke, part, m, lanes);
    s.weight[0] =
        LLVMBuildFSub(e->b, lanes ? emit_number(e, t, 1) : emit_real(e, 1), s.weight[1], "");
    return s;
}

static Shares shares_of(KE *ke, const KNodeData *n, const GridValues *other, uint32_t axis,
                        uint32_t at) {
    Emit *e = ke->e;
    bool lanes = ke->vector && axis == 0, down = n->kind == K_SHARE;
    if (!n->offset[axis]) {
        Kin kin = kin_of(ke, other, axis, at, down);
        LLVMTypeRef t = lanes ? value_type(ke) : e->real;
        LLVMValueRef weight =
            lanes ? emit_number(e, t, down ? 0.5 : 1) : emit_real(e, down ? 0.5 : 1);
        return (Shares){{kin.first, kin.second}, {weight, weight}, down ? 2 : 1};
    }
    LLVMValueRef i = axis_index(ke, axis, at);
    if (lanes) i = LLVMBuildNSWAdd(e->b, emit_splat(e, i), ke_lanes(ke, e->i64), "");
    return down ? shares_down(ke, i, other->extent[axis], ke_extent(ke, axis), lanes)
                : shares_up(ke, i, other->extent[axis], lanes);
}

static LLVMValueRef share(KE *ke, const KNodeData *n, const uint32_t *at) {
    Emit *e = ke->e;
    const Kernel *k = ke->k;
    const GridValues *other = &ke->grids[k->fields.data[n->index].grid];
    Shares s[MAX_RANK];
    uint32_t total = 1;
    for (uint32_t a = 0; a < k->rank; a++)
        total *= (s[a] = shares_of(ke, n, other, a, at[a])).count;
    LLVMValueRef sum = NULL;
    for (uint32_t corner = 0; corner < total; corner++) {
        LLVMValueRef index[MAX_RANK] = {NULL}, weight = NULL;
        uint32_t rest = corner;
        for (uint32_t a = 0; a < k->rank; a++) {
            uint32_t which = rest % s[a].count;
            rest /= s[a].count;
            index[a] = s[a].cell[which];
            LLVMValueRef w = s[a].weight[which];
            if (ke->vector && a > 0) w = emit_splat(e, w);
            weight = weight ? LLVMBuildFMul(e->b, weight, w, "") : w;
        }
        LLVMValueRef row = ke_gep(ke, ke->fields[n->index],
                                  ke_offset(ke, &other->strides, k->rank, n->detail, index));
        LLVMValueRef v = LLVMBuildFMul(e->b, gather(ke, row, index[0]), weight, "");
        sum = sum ? LLVMBuildFAdd(e->b, sum, v, "") : v;
    }
    return sum;
}

/* ---- evaluation at a position --------------------------------------------------------------- */

/* Where along a later axis the value of a side is read. */
static uint32_t value_axis(KE *ke, const KNodeData *n, uint32_t a, uint32_t from) {
    int32_t o = n->offset[a];
    Axis pos = ke->axes[a].data[from];
    if (pos.fixed) return ke_fixed(ke, a, pos.offset + o);
    return axis_moved(ke, a, from, o,
                      n->sides[a][o > 0] == SIDE_PERIODIC ? SIDE_PERIODIC : MOVE_CLAMP);
}

/* The value of a side, for the ghost that `axis` is at: that axis clamped, later ones wrapped or clamped. */
static LLVMValueRef side_value(KE *ke, const KNodeData *n, uint32_t axis, bool high,
                               const uint32_t *from, const uint32_t *at) {
    KNode value = n->value[axis][high];
    if (!value) return NULL;
    uint32_t p[MAX_RANK] = {at[0], at[1], at[2]};
    p[axis] = axis_moved(ke, axis, from[axis], n->offset[axis], MOVE_CLAMP);
    for (uint32_t a = axis + 1; a < ke->k->rank; a++)
        if (n->offset[a]) p[a] = value_axis(ke, n, a, from[a]);
    return ke_eval(ke, value, p);
}

/* What stands beyond the side, from what stands inside. NULL: the same. */
static LLVMValueRef ghost(KE *ke, const KNodeData *n, uint32_t axis, LLVMValueRef raw,
                          LLVMValueRef inside, LLVMValueRef v) {
    Emit *e = ke->e;
    bool high = n->offset[axis] > 0;
    LLVMTypeRef t = value_type(ke);
    switch (n->sides[axis][high]) {
    case SIDE_ODD:
        if (!v) return LLVMBuildFNeg(e->b, inside, "");
        return LLVMBuildFSub(e->b, LLVMBuildFMul(e->b, emit_number(e, t, 2), v, ""), inside, "");
    case SIDE_SLOPE: {
        if (!v) return NULL;
        LLVMValueRef j = high ? sub(ke, raw, ke_extent(ke, axis)) : sub(ke, emit_i64(e, -1), raw);
        LLVMValueRef distance = LLVMBuildSIToFP(
            e->b, ke_add(ke, LLVMBuildShl(e->b, j, emit_i64(e, 1), ""), 1), e->f64, "");
        distance = LLVMBuildFMul(e->b, distance, ke->grids[0].spacing[axis], "");
        if (!e->plan->f64) distance = LLVMBuildFPTrunc(e->b, distance, e->real, "");
        return LLVMBuildFAdd(e->b, inside, LLVMBuildFMul(e->b, spread(ke, distance), v, ""), "");
    }
    case SIDE_GHOST: return v ? v : emit_number(e, t, 0);
    default: return NULL;
    }
}

/* Lanes of v by number; lanes whose number is not one of v are 0. */
static LLVMValueRef lanes_of(KE *ke, LLVMValueRef v, const int32_t *number) {
    LLVMValueRef items[64];
    int32_t lanes = (int32_t)ke->e->lanes;
    for (int32_t l = 0; l < lanes; l++)
        items[l] = LLVMConstInt(
            ke->e->i32, (unsigned)(number[l] >= 0 && number[l] < lanes ? number[l] : lanes), false);
    return LLVMBuildShuffleVector(ke->e->b, v, emit_number(ke->e, LLVMTypeOf(v), 0),
                                  LLVMConstVector(items, ke->e->lanes), "");
}

/* Does the first or last vector of a row, moved to `offset`, leave the row? */
static bool leaves_row(const KE *ke, int32_t offset) {
    return (ke->ends == X_LOW && offset < 0) || (ke->ends == X_HIGH && offset > 0);
}

static LLVMValueRef shifted(KE *ke, const KNodeData *n, uint32_t axis, const uint32_t *from,
                            const uint32_t *at);

/* A shift along x that leaves the row at its end: the cells inside are lanes of the vector that stands there, and
 * so are those that ghosts are read from. */
static LLVMValueRef shifted_at_end(KE *ke, const KNodeData *n, int32_t offset, const uint32_t *from,
                                   const uint32_t *at) {
    Emit *e = ke->e;
    int32_t lanes = (int32_t)e->lanes, number[64], corner[64];
    LLVMValueRef out[64], distance[64];
    bool high = offset > 0;
    uint32_t next[MAX_RANK] = {ke_fixed(ke, 0, 0), at[1], at[2]};
    LLVMValueRef row = shifted(ke, n, 1, from, next);
    for (int32_t l = 0; l < lanes; l++) {
        int32_t x = offset + l, j = high ? x - lanes : -1 - x; /* of the ghost */
        bool ghost = high ? x >= lanes : x < 0;
        number[l] = !ghost ? x : high ? lanes - 1 - j : j;
        corner[l] = high ? lanes - 1 : 0;
        out[l] = LLVMConstInt(e->i1, ghost, false);
        distance[l] = LLVMConstReal(e->f64, ghost ? 2.0 * j + 1 : 0);
    }
    LLVMValueRef inside = lanes_of(ke, row, number), other, v = NULL;
    if (n->value[0][high]) {
        uint32_t p[MAX_RANK] = {next[0], at[1], at[2]};
        for (uint32_t a = 1; a < ke->k->rank; a++)
            if (n->offset[a]) p[a] = value_axis(ke, n, a, from[a]);
        v = lanes_of(ke, ke_eval(ke, n->value[0][high], p), corner);
    }
    if (n->sides[0][high] == SIDE_SLOPE && v) {
        LLVMValueRef d = LLVMBuildFMul(e->b, LLVMConstVector(distance, e->lanes),
                                       emit_splat(e, ke->grids[0].spacing[0]), "");
        if (!e->plan->f64) d = LLVMBuildFPTrunc(e->b, d, value_type(ke), "");
        other = LLVMBuildFAdd(e->b, inside, LLVMBuildFMul(e->b, d, v, ""), "");
    } else {
        other = ghost(ke, n, 0, NULL, inside, v);
    }
    return other ? LLVMBuildSelect(e->b, LLVMConstVector(out, e->lanes), other, inside, "")
                 : inside;
}

/* Axes below `axis` are done: `at`; the others still stand at `from`. */
static LLVMValueRef shifted(KE *ke, const KNodeData *n, uint32_t axis, const uint32_t *from,
                            const uint32_t *at) {
    while (axis < ke->k->rank && n->offset[axis] == 0) axis++;
    if (axis >= ke->k->rank) return ke_eval(ke, n->operand[0], at);
    uint32_t next[MAX_RANK] = {at[0], at[1], at[2]};
    int32_t o = n->offset[axis];
    bool high = o > 0;
    Axis pos = ke->axes[axis].data[from[axis]];
    if (pos.fixed && axis == 0 && leaves_row(ke, pos.offset + o))
        return shifted_at_end(ke, n, pos.offset + o, from, at);
    if (pos.fixed) {
        next[axis] = ke_fixed(ke, axis, pos.offset + o);
        return shifted(ke, n, axis + 1, from, next);
    }
    next[axis] = axis_moved(ke, axis, from[axis], o, n->sides[axis][high]);
    LLVMValueRef inside = shifted(ke, n, axis + 1, from, next);
    LLVMValueRef raw = ke_add(ke, pos.index, o);
    LLVMValueRef other = ghost(ke, n, axis, raw, inside, side_value(ke, n, axis, high, from, at));
    return other ? LLVMBuildSelect(ke->e->b, beyond(ke, axis, raw, high), other, inside, "")
                 : inside;
}

static LLVMValueRef unshifted(KE *ke, const KNodeData *n, uint32_t axis, const uint32_t *at);

/* The transpose along x for the first or last vector of a row, which stands at `offset`. */
static LLVMValueRef unshifted_at_end(KE *ke, const KNodeData *n, int32_t offset,
                                     const uint32_t *at) {
    Emit *e = ke->e;
    int32_t lanes = (int32_t)e->lanes, o = n->offset[0], number[64], mirror[64];
    bool any = false, high = o > 0;
    uint32_t here[MAX_RANK] = {ke_fixed(ke, 0, 0), at[1], at[2]},
             there[MAX_RANK] = {here[0], at[1], at[2]};
    SideKind side = n->sides[0][high];
    for (int32_t l = 0; l < lanes; l++) {
        number[l] = offset - o + l;
        mirror[l] = high ? 2 * lanes - 1 - o - offset - l : -1 - o - offset - l;
        any = any || (mirror[l] >= 0 && mirror[l] < lanes);
    }
    LLVMValueRef direct;
    if (leaves_row(ke, offset - o)) {
        direct = lanes_of(ke, unshifted(ke, n, 1, here), number);
    } else {
        there[0] = ke_fixed(ke, 0, offset - o);
        direct = unshifted(ke, n, 1, there);
    }
    if (side == SIDE_GHOST || !any || ke->ends != (high ? X_HIGH : X_LOW)) return direct;
    LLVMValueRef folded = lanes_of(ke, unshifted(ke, n, 1, here), mirror);
    return side == SIDE_ODD ? LLVMBuildFSub(e->b, direct, folded, "")
                            : LLVMBuildFAdd(e->b, direct, folded, "");
}

/* The transpose: cell i gets from cell i - offset, and, near the side, from the cell whose ghost i is. */
static LLVMValueRef unshifted(KE *ke, const KNodeData *n, uint32_t axis, const uint32_t *at) {
    Emit *e = ke->e;
    while (axis < ke->k->rank && n->offset[axis] == 0) axis++;
    if (axis >= ke->k->rank) return ke_eval(ke, n->operand[0], at);
    uint32_t next[MAX_RANK] = {at[0], at[1], at[2]};
    int32_t o = n->offset[axis];
    bool high = o > 0;
    Axis pos = ke->axes[axis].data[at[axis]];
    SideKind side = n->sides[axis][high];
    if (pos.fixed && axis == 0 && ke->ends != X_INSIDE)
        return unshifted_at_end(ke, n, pos.offset, at);
    if (pos.fixed) {
        next[axis] = ke_fixed(ke, axis, pos.offset - o);
        return unshifted(ke, n, axis + 1, next);
    }
    if (side == SIDE_PERIODIC) {
        next[axis] = axis_moved(ke, axis, at[axis], -o, MOVE_WRAP);
        return unshifted(ke, n, axis + 1, next);
    }
    LLVMTypeRef t = value_type(ke);
    LLVMValueRef n_ = ke_extent(ke, axis), zero = emit_number(e, t, 0),
                 from = ke_add(ke, pos.index, -(int64_t)o);
    LLVMValueRef outside = beyond(ke, axis, from, !high);
    next[axis] = axis_at(ke, axis, at[axis], o, MOVE_BACK, from);
    LLVMValueRef direct =
        LLVMBuildSelect(e->b, outside, zero, unshifted(ke, n, axis + 1, next), "");
    if (side == SIDE_GHOST) return direct;
    /* the ghost of cell i on this side is read from cell `mirror` */
    LLVMValueRef mirror =
        high ? sub(ke, ke_add(ke, LLVMBuildNSWAdd(e->b, n_, n_, ""), -1 - (int64_t)o), pos.index)
             : sub(ke, emit_i64(e, -1 - (int64_t)o), pos.index);
    LLVMValueRef none = high ? LLVMBuildICmp(e->b, LLVMIntSGE, mirror, n_, "")
                             : LLVMBuildICmp(e->b, LLVMIntSLT, mirror, emit_i64(e, 0), "");
    /* away from that side, a cell near by stands for what is not there: rows far away may not exist (runtime/relay.c) */
    mirror = LLVMBuildSelect(e->b, none, pos.index, mirror, "");
    next[axis] = axis_at(ke, axis, at[axis], o, MOVE_MIRROR, mirror);
    LLVMValueRef folded = LLVMBuildSelect(e->b, none, zero, unshifted(ke, n, axis + 1, next), "");
    return side == SIDE_ODD ? LLVMBuildFSub(e->b, direct, folded, "")
                            : LLVMBuildFAdd(e->b, direct, folded, "");
}

/* 1 / a scalar argument, made once for all cells. In single precision a division by it is a product with
 * this: within 1.5 ulp, and right for 0 and infinity. */
static LLVMValueRef reciprocal(KE *ke, uint32_t scalar) {
    Emit *e = ke->e;
    if (!ke->reciprocals[scalar]) {
        LLVMBasicBlockRef here = LLVMGetInsertBlock(e->b);
        LLVMValueRef place = emit_variable(e, e->real, "reciprocal");
        LLVMPositionBuilderBefore(e->b, LLVMGetBasicBlockTerminator(
                                            LLVMGetEntryBasicBlock(LLVMGetBasicBlockParent(here))));
        ke->reciprocals[scalar] = emit_reciprocal(e, ke->scalars[scalar], place);
        LLVMPositionBuilderAtEnd(e->b, here);
    }
    return ke->reciprocals[scalar];
}

static LLVMValueRef eval_new(KE *ke, const KNodeData *n, const uint32_t *at) {
    switch (n->kind) {
    case K_NUMBER: return emit_number(ke->e, value_type(ke), n->number);
    case K_SCALAR: return spread(ke, ke->scalars[n->index]);
    case K_LOAD: return load(ke, n, at);
    case K_RESTRICT:
    case K_POOL:
    case K_FIRST:
    case K_PROLONG:
    case K_SPIKE: return resample(ke, n, at);
    case K_SHARE:
    case K_BLEND: return share(ke, n, at);
    case K_ENTRY: return entry(ke, n);
    case K_COORD: return coordinate(ke, n->index, at[n->index]);
    case K_EDGE: return edge(ke, n, at);
    case K_SHIFT: return shifted(ke, n, 0, at, at);
    case K_UNSHIFT: return unshifted(ke, n, 0, at);
    default: {
        LLVMValueRef x[3] = {NULL};
        for (uint32_t i = 0; i < kernel_operands(n); i++) x[i] = ke_eval(ke, n->operand[i], at);
        if (n->op == OP_DIV && !ke->e->plan->f64 && !ke->e->machine.exact &&
            ke->k->nodes.data[n->operand[1]].kind == K_SCALAR)
            return LLVMBuildFMul(ke->e->b, x[0],
                                 spread(ke, reciprocal(ke, ke->k->nodes.data[n->operand[1]].index)),
                                 "");
        return emit_op(ke->e, n->op, x);
    }
    }
}

LLVMValueRef ke_eval(KE *ke, KNode id, const uint32_t *at) {
    uint64_t key = (uint64_t)id << 42 | (uint64_t)at[0] << 28 | (uint64_t)at[1] << 14 | at[2];
    uint32_t found;
    if (map_get(&ke->memo, key, &found)) return ke->values.data[found];
    LLVMValueRef v = carry_value(ke, id, at);
    if (!v) v = eval_new(ke, &ke->k->nodes.data[id], at);
    vec_push(&ke->values, v);
    map_set(&ke->memo, key, ke->values.len - 1);
    return v;
}
