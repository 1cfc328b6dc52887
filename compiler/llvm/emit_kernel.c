/* A kernel as a function over rows.
 *
 * Rows away from the sides in y and z read neighbours in y and z at fixed offsets; other rows fold them at
 * the sides. In both kinds of rows, columns away from the sides in x are computed as vectors without
 * branches; columns near a side, and rows shorter than a vector, cell by cell with x folded. All evaluate the
 * same expressions with the same arithmetic: a kernel node at a position, which is per axis an offset from
 * the cell, or a folded index. */
#include "compiler/llvm/emit.h"

#include <stdlib.h>
#include <string.h>

typedef struct {
    LLVMValueRef extent[MAX_RANK], stride[MAX_RANK], channel, spacing[MAX_RANK], origin[MAX_RANK];
} GridValues;

/* Where along one axis: `offset` cells from the cell itself, or (not fixed) at index. */
typedef struct {
    bool fixed;
    int32_t offset;
    LLVMValueRef index;
} Axis;

typedef struct {
    LLVMValueRef vector, scalar; /* accumulators: one a lane; one for columns near sides */
    LLVMTypeRef type;            /* of an accumulator: double for sums */
} Total;

/* A value that the next vector of the row needs again, one cell to the left. */
typedef struct {
    KNode id;
    int32_t at[MAX_RANK];  /* where it is computed; used at x - 1 */
    LLVMValueRef variable; /* the vector before */
} Carry;

typedef struct {
    Emit *e;
    const Kernel *k;
    KernelWords words;
    LLVMValueRef args;
    GridValues *grids;
    LLVMValueRef *fields, *outputs, *scalars, *reciprocals, partials, rows;
    LLVMValueRef stream;     /* write past the caches; NULL where the machine cannot */
    Total *totals;
    LLVMValueRef done;       /* variable of vector_loop */
    LLVMValueRef whole;      /* write this vector past the caches? */
    LLVMValueRef even;       /* rows are whole vectors */
    bool ends_done;          /* the ends of rows are vectors, too */
    VEC(Carry) carries;
    bool carrying;           /* this vector takes values from the one before, and leaves its own */
    /* the cell that is being computed */
    bool vector, inner;      /* vectors along x; y and z away from sides */
    enum { X_INSIDE, X_LOW, X_HIGH } ends; /* the vector is the first or the last of its row */
    LLVMValueRef cell[MAX_RANK];
    VEC(Axis) axes[MAX_RANK];
    Map chains, memo, rows_memo;
    VEC(LLVMValueRef) values;
} KE;

KernelWords kernel_words(const Kernel *k)
{
    KernelWords w = {.grids = 0};
    w.fields = w.grids + k->grids;
    w.outputs = w.fields + k->fields.len;
    w.partials = w.outputs + k->written.len;
    w.rows = w.partials + 1;
    w.block_y = w.rows + 1;
    w.block_z = w.block_y + 1;
    w.stream = w.block_z + 1;
    w.scalars = w.stream + 1;
    w.count = w.scalars + k->scalars;
    return w;
}

/* ---- positions -------------------------------------------------------------------------- */

/* How a position came from its parent. */
enum { MOVE_FIXED = 16, MOVE_CLAMP, MOVE_WRAP, MOVE_BACK, MOVE_MIRROR };

static uint32_t axis_intern(KE *ke, uint32_t axis, uint32_t parent, int32_t offset, uint32_t how, bool *made)
{
    uint64_t key = (uint64_t)axis << 60 | (uint64_t)parent << 32 | (uint64_t)(uint16_t)(int16_t)offset << 8 | how;
    uint32_t id;
    *made = !map_get(&ke->chains, key, &id);
    if (*made) {
        vec_push(&ke->axes[axis], ((Axis){0}));
        id = ke->axes[axis].len - 1;
        map_set(&ke->chains, key, id);
    }
    return id;
}

static uint32_t axis_fixed(KE *ke, uint32_t axis, int32_t offset)
{
    bool made;
    uint32_t id = axis_intern(ke, axis, 0, offset, MOVE_FIXED, &made);
    if (made)
        ke->axes[axis].data[id] = (Axis){.fixed = true, .offset = offset};
    return id;
}

static LLVMValueRef extent_of(KE *ke, uint32_t axis)
{
    return ke->grids[0].extent[axis];
}

static LLVMValueRef add(KE *ke, LLVMValueRef a, int64_t b)
{
    return b ? LLVMBuildNSWAdd(ke->e->b, a, emit_i64(ke->e, b), "") : a;
}

static LLVMValueRef sub(KE *ke, LLVMValueRef a, LLVMValueRef b)
{
    return LLVMBuildNSWSub(ke->e->b, a, b, "");
}

/* Is the raw position index + offset beyond the side that it moves to? */
static LLVMValueRef beyond(KE *ke, uint32_t axis, LLVMValueRef raw, bool high)
{
    return high ? LLVMBuildICmp(ke->e->b, LLVMIntSGE, raw, extent_of(ke, axis), "")
                : LLVMBuildICmp(ke->e->b, LLVMIntSLT, raw, emit_i64(ke->e, 0), "");
}

/* The position after a move of `offset` from a folded position, brought inside again. */
static uint32_t axis_moved(KE *ke, uint32_t axis, uint32_t from, int32_t offset, uint32_t how)
{
    bool made, high = offset > 0;
    uint32_t id = axis_intern(ke, axis, from, offset, how, &made);
    if (!made)
        return id;
    LLVMValueRef n = extent_of(ke, axis), raw = add(ke, ke->axes[axis].data[from].index, offset), inside;
    switch (how) {
    case SIDE_PERIODIC:
    case MOVE_WRAP:
        inside = high ? sub(ke, raw, n) : LLVMBuildNSWAdd(ke->e->b, raw, n, "");
        break;
    case SIDE_GHOST:
    case MOVE_CLAMP:
        inside = high ? add(ke, n, -1) : emit_i64(ke->e, 0);
        break;
    default: /* mirrored at the face */
        inside = high ? sub(ke, add(ke, LLVMBuildNSWAdd(ke->e->b, n, n, ""), -1), raw) : sub(ke, emit_i64(ke->e, -1), raw);
        break;
    }
    LLVMValueRef index = LLVMBuildSelect(ke->e->b, beyond(ke, axis, raw, high), inside, raw, "");
    ke->axes[axis].data[id] = (Axis){.index = index};
    return id;
}

/* A position computed elsewhere, for the terms of UNSHIFT. */
static uint32_t axis_at(KE *ke, uint32_t axis, uint32_t from, int32_t offset, uint32_t how, LLVMValueRef index)
{
    bool made;
    uint32_t id = axis_intern(ke, axis, from, offset, how, &made);
    if (made) {
        LLVMValueRef last = add(ke, extent_of(ke, axis), -1);
        ke->axes[axis].data[id] = (Axis){.index = emit_max(ke->e, emit_min(ke->e, index, last), emit_i64(ke->e, 0))};
    }
    return id;
}

/* The index along an axis (of its first lane, along x). */
static LLVMValueRef axis_index(KE *ke, uint32_t axis, uint32_t id)
{
    Axis a = ke->axes[axis].data[id];
    return a.fixed ? add(ke, ke->cell[axis], a.offset) : a.index;
}

/* ---- leaves ------------------------------------------------------------------------------ */

static LLVMTypeRef value_type(const KE *ke)
{
    return ke->vector ? LLVMVectorType(ke->e->real, ke->e->lanes) : ke->e->real;
}

static LLVMValueRef spread(KE *ke, LLVMValueRef scalar)
{
    return ke->vector ? emit_splat(ke->e, scalar) : scalar;
}

static LLVMValueRef offset_in(KE *ke, const GridValues *g, uint32_t rank, uint32_t channel, const LLVMValueRef *index)
{
    Emit *e = ke->e;
    LLVMValueRef at = LLVMBuildNSWMul(e->b, g->channel, emit_i64(e, channel), "");
    for (uint32_t a = 1; a < rank; a++)
        at = LLVMBuildNSWAdd(e->b, at, LLVMBuildNSWMul(e->b, g->stride[a], index[a], ""), "");
    return at;
}

static LLVMValueRef gep(KE *ke, LLVMValueRef base, LLVMValueRef index)
{
    return LLVMBuildInBoundsGEP2(ke->e->b, ke->e->real, base, &index, 1, "");
}

/* Start of the row of a field that positions y, z lie in. */
static LLVMValueRef row_of(KE *ke, LLVMValueRef base, uint32_t field, uint32_t channel, const uint32_t *at)
{
    uint64_t key = (uint64_t)field << 48 | (uint64_t)channel << 32 | (uint64_t)at[1] << 16 | at[2];
    uint32_t id;
    if (map_get(&ke->rows_memo, key, &id))
        return ke->values.data[id];
    LLVMValueRef index[MAX_RANK] = {NULL};
    for (uint32_t a = 1; a < ke->k->rank; a++)
        index[a] = axis_index(ke, a, at[a]);
    LLVMValueRef row = gep(ke, base, offset_in(ke, &ke->grids[0], ke->k->rank, channel, index));
    vec_push(&ke->values, row);
    map_set(&ke->rows_memo, key, ke->values.len - 1);
    return row;
}

/* Address of the cell (or first lane) at a position in a row. */
static LLVMValueRef in_row(KE *ke, LLVMValueRef row, uint32_t at)
{
    Axis a = ke->axes[0].data[at];
    if (!a.fixed)
        return gep(ke, row, a.index);
    LLVMValueRef p = gep(ke, row, ke->cell[0]);
    return a.offset ? gep(ke, p, emit_i64(ke->e, a.offset)) : p;
}

static LLVMValueRef load(KE *ke, const KNodeData *n, const uint32_t *at)
{
    LLVMValueRef v = LLVMBuildLoad2(ke->e->b, value_type(ke), in_row(ke, row_of(ke, ke->fields[n->index], n->index, n->detail, at), at[0]), "");
    LLVMSetAlignment(v, ke->e->size);
    return v;
}

static LLVMValueRef lane_numbers(KE *ke, LLVMTypeRef element)
{
    LLVMValueRef items[64];
    bool floating = LLVMGetTypeKind(element) != LLVMIntegerTypeKind;
    for (uint32_t i = 0; i < ke->e->lanes; i++)
        items[i] = floating ? LLVMConstReal(element, i) : LLVMConstInt(element, i, false);
    return LLVMConstVector(items, ke->e->lanes);
}

/* 1 in one lane, 0 in the others. */
static LLVMValueRef one_lane(KE *ke, uint32_t lane)
{
    LLVMValueRef items[64];
    for (uint32_t i = 0; i < ke->e->lanes; i++)
        items[i] = emit_real(ke->e, i == lane);
    return LLVMConstVector(items, ke->e->lanes);
}

static LLVMValueRef coordinate(KE *ke, uint32_t axis, uint32_t at)
{
    Emit *e = ke->e;
    LLVMValueRef i = LLVMBuildSIToFP(e->b, axis_index(ke, axis, at), e->f64, "");
    LLVMValueRef h = ke->grids[0].spacing[axis], origin = ke->grids[0].origin[axis];
    bool lanes = ke->vector && axis == 0;
    if (lanes) {
        i = LLVMBuildFAdd(e->b, emit_splat(e, i), lane_numbers(ke, e->f64), "");
        h = emit_splat(e, h);
        origin = emit_splat(e, origin);
    }
    i = LLVMBuildFAdd(e->b, i, emit_number(e, LLVMTypeOf(i), 0.5), "");
    LLVMValueRef x = LLVMBuildFAdd(e->b, origin, LLVMBuildFMul(e->b, i, h, ""), "");
    if (!ke->e->plan->f64)
        x = LLVMBuildFPTrunc(e->b, x, lanes ? value_type(ke) : e->real, "");
    return lanes ? x : spread(ke, x);
}

static LLVMValueRef edge(KE *ke, const KNodeData *n, const uint32_t *at)
{
    Axis a = ke->axes[n->index].data[at[n->index]];
    LLVMTypeRef t = value_type(ke);
    if (a.fixed && n->index == 0 && a.offset == 0 && ke->ends == (n->detail ? X_HIGH : X_LOW))
        return one_lane(ke, n->detail ? ke->e->lanes - 1 : 0);
    if (a.fixed)
        return emit_number(ke->e, t, 0); /* interior cells are out of its reach */
    LLVMValueRef side = n->detail ? add(ke, extent_of(ke, n->index), -1) : emit_i64(ke->e, 0);
    LLVMValueRef is = LLVMBuildICmp(ke->e->b, LLVMIntEQ, a.index, side, "");
    return LLVMBuildSelect(ke->e->b, is, emit_number(ke->e, t, 1), emit_number(ke->e, t, 0), "");
}

/* ---- resampling ------------------------------------------------------------------------------ */

/* Integers along an axis of the other grid: a vector along x. */
typedef struct {
    LLVMValueRef first, second; /* cells of the other grid; second only for RESTRICT */
    LLVMValueRef both;          /* is there a second one? */
} Kin;

static LLVMValueRef like(KE *ke, LLVMValueRef value, bool lanes)
{
    return lanes ? emit_splat(ke->e, value) : value;
}

/* `scale` 1: this axis is not resampled (its extents agree). */
static Kin kin_of(KE *ke, const GridValues *other, uint32_t axis, uint32_t at, bool finer)
{
    Emit *e = ke->e;
    bool lanes = ke->vector && axis == 0;
    LLVMValueRef i = axis_index(ke, axis, at);
    if (lanes)
        i = LLVMBuildNSWAdd(e->b, emit_splat(e, i), lane_numbers(ke, e->i64), "");
    LLVMValueRef same = LLVMBuildICmp(e->b, LLVMIntEQ, other->extent[axis], extent_of(ke, axis), "");
    Kin kin = {0};
    LLVMValueRef one = like(ke, emit_i64(e, 1), lanes);
    if (!finer) {
        kin.first = LLVMBuildSelect(e->b, same, i, LLVMBuildLShr(e->b, i, one, ""), "");
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

static LLVMValueRef gather(KE *ke, LLVMValueRef row, LLVMValueRef index)
{
    Emit *e = ke->e;
    LLVMValueRef where = gep(ke, row, index);
    if (!ke->vector) {
        LLVMValueRef v = LLVMBuildLoad2(e->b, e->real, where, "");
        LLVMSetAlignment(v, e->size);
        return v;
    }
    LLVMTypeRef t = value_type(ke);
    LLVMValueRef out = LLVMGetPoison(t);
    for (uint32_t i = 0; i < e->lanes; i++) {
        LLVMValueRef lane = LLVMConstInt(e->i32, i, false);
        LLVMValueRef v = LLVMBuildLoad2(e->b, e->real, LLVMBuildExtractElement(e->b, where, lane, ""), "");
        LLVMSetAlignment(v, e->size);
        out = LLVMBuildInsertElement(e->b, out, v, lane, "");
    }
    return out;
}

static LLVMValueRef resample(KE *ke, const KNodeData *n, const uint32_t *at)
{
    Emit *e = ke->e;
    const Kernel *k = ke->k;
    const GridValues *other = &ke->grids[k->fields.data[n->index].grid];
    bool finer = n->kind == K_RESTRICT;
    Kin kin[MAX_RANK];
    for (uint32_t a = 0; a < k->rank; a++)
        kin[a] = kin_of(ke, other, a, at[a], finer);
    LLVMTypeRef t = value_type(ke);
    LLVMValueRef sum = NULL, number = emit_number(e, t, 1), zero = emit_number(e, t, 0);
    for (uint32_t corner = 0; corner < (finer ? 1u << k->rank : 1u); corner++) {
        LLVMValueRef index[MAX_RANK] = {NULL}, exists = NULL;
        for (uint32_t a = 0; a < k->rank; a++) {
            bool second = corner >> a & 1;
            index[a] = second ? kin[a].second : kin[a].first;
            if (!second)
                continue;
            LLVMValueRef both = kin[a].both;
            if (ke->vector && a > 0)
                both = emit_splat(e, both);
            exists = exists ? LLVMBuildAnd(e->b, exists, both, "") : both;
        }
        LLVMValueRef row = gep(ke, ke->fields[n->index], offset_in(ke, other, k->rank, n->detail, index));
        LLVMValueRef v = gather(ke, row, index[0]);
        if (exists)
            v = LLVMBuildSelect(e->b, exists, v, zero, "");
        sum = sum ? LLVMBuildFAdd(e->b, sum, v, "") : v;
    }
    if (!finer)
        return sum;
    for (uint32_t a = 0; a < k->rank; a++) {
        LLVMValueRef both = ke->vector && a > 0 ? emit_splat(e, kin[a].both) : kin[a].both;
        number = LLVMBuildFMul(e->b, number, LLVMBuildSelect(e->b, both, emit_number(e, t, 0.5), emit_number(e, t, 1), ""), "");
    }
    return LLVMBuildFMul(e->b, sum, number, ""); /* 1, 1/2, 1/4, 1/8: exact */
}

/* ---- evaluation at a position --------------------------------------------------------------- */

static LLVMValueRef eval(KE *ke, KNode id, const uint32_t *at);

/* Where along a later axis the value of a side is read. */
static uint32_t value_axis(KE *ke, const KNodeData *n, uint32_t a, uint32_t from)
{
    int32_t o = n->offset[a];
    Axis pos = ke->axes[a].data[from];
    if (pos.fixed)
        return axis_fixed(ke, a, pos.offset + o);
    return axis_moved(ke, a, from, o, n->sides[a][o > 0] == SIDE_PERIODIC ? SIDE_PERIODIC : MOVE_CLAMP);
}

/* The value of a side, for the ghost that `axis` is at: that axis clamped, later ones wrapped or clamped. */
static LLVMValueRef side_value(KE *ke, const KNodeData *n, uint32_t axis, bool high, const uint32_t *from, const uint32_t *at)
{
    KNode value = n->value[axis][high];
    if (!value)
        return NULL;
    uint32_t p[MAX_RANK] = {at[0], at[1], at[2]};
    p[axis] = axis_moved(ke, axis, from[axis], n->offset[axis], MOVE_CLAMP);
    for (uint32_t a = axis + 1; a < ke->k->rank; a++)
        if (n->offset[a])
            p[a] = value_axis(ke, n, a, from[a]);
    return eval(ke, value, p);
}

/* What stands beyond the side, from what stands inside. NULL: the same. */
static LLVMValueRef ghost(KE *ke, const KNodeData *n, uint32_t axis, LLVMValueRef raw, LLVMValueRef inside, LLVMValueRef v)
{
    Emit *e = ke->e;
    bool high = n->offset[axis] > 0;
    LLVMTypeRef t = value_type(ke);
    switch (n->sides[axis][high]) {
    case SIDE_ODD:
        if (!v)
            return LLVMBuildFNeg(e->b, inside, "");
        return LLVMBuildFSub(e->b, LLVMBuildFMul(e->b, emit_number(e, t, 2), v, ""), inside, "");
    case SIDE_SLOPE: {
        if (!v)
            return NULL;
        LLVMValueRef j = high ? sub(ke, raw, extent_of(ke, axis)) : sub(ke, emit_i64(e, -1), raw);
        LLVMValueRef distance = LLVMBuildSIToFP(e->b, add(ke, LLVMBuildShl(e->b, j, emit_i64(e, 1), ""), 1), e->f64, "");
        distance = LLVMBuildFMul(e->b, distance, ke->grids[0].spacing[axis], "");
        if (!e->plan->f64)
            distance = LLVMBuildFPTrunc(e->b, distance, e->real, "");
        return LLVMBuildFAdd(e->b, inside, LLVMBuildFMul(e->b, spread(ke, distance), v, ""), "");
    }
    case SIDE_GHOST:
        return v ? v : emit_number(e, t, 0);
    default:
        return NULL;
    }
}

/* Lanes of v by number; lanes whose number is not one of v are 0. */
static LLVMValueRef lanes_of(KE *ke, LLVMValueRef v, const int32_t *number)
{
    LLVMValueRef items[64];
    int32_t lanes = (int32_t)ke->e->lanes;
    for (int32_t l = 0; l < lanes; l++)
        items[l] = LLVMConstInt(ke->e->i32, (unsigned)(number[l] >= 0 && number[l] < lanes ? number[l] : lanes), false);
    return LLVMBuildShuffleVector(ke->e->b, v, emit_number(ke->e, LLVMTypeOf(v), 0), LLVMConstVector(items, ke->e->lanes), "");
}

/* Does the first or last vector of a row, moved to `offset`, leave the row? */
static bool leaves_row(const KE *ke, int32_t offset)
{
    return (ke->ends == X_LOW && offset < 0) || (ke->ends == X_HIGH && offset > 0);
}

static LLVMValueRef shifted(KE *ke, const KNodeData *n, uint32_t axis, const uint32_t *from, const uint32_t *at);

/* A shift along x that leaves the row at its end: the cells inside are lanes of the vector that stands there, and
 * so are those that ghosts are read from. */
static LLVMValueRef shifted_at_end(KE *ke, const KNodeData *n, int32_t offset, const uint32_t *from, const uint32_t *at)
{
    Emit *e = ke->e;
    int32_t lanes = (int32_t)e->lanes, number[64], corner[64];
    LLVMValueRef out[64], distance[64];
    bool high = offset > 0;
    uint32_t next[MAX_RANK] = {axis_fixed(ke, 0, 0), at[1], at[2]};
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
            if (n->offset[a])
                p[a] = value_axis(ke, n, a, from[a]);
        v = lanes_of(ke, eval(ke, n->value[0][high], p), corner);
    }
    if (n->sides[0][high] == SIDE_SLOPE && v) {
        LLVMValueRef d = LLVMBuildFMul(e->b, LLVMConstVector(distance, e->lanes), emit_splat(e, ke->grids[0].spacing[0]), "");
        if (!e->plan->f64)
            d = LLVMBuildFPTrunc(e->b, d, value_type(ke), "");
        other = LLVMBuildFAdd(e->b, inside, LLVMBuildFMul(e->b, d, v, ""), "");
    } else {
        other = ghost(ke, n, 0, NULL, inside, v);
    }
    return other ? LLVMBuildSelect(e->b, LLVMConstVector(out, e->lanes), other, inside, "") : inside;
}

/* Axes below `axis` are done: `at`; the others still stand at `from`. */
static LLVMValueRef shifted(KE *ke, const KNodeData *n, uint32_t axis, const uint32_t *from, const uint32_t *at)
{
    while (axis < ke->k->rank && n->offset[axis] == 0)
        axis++;
    if (axis >= ke->k->rank)
        return eval(ke, n->operand[0], at);
    uint32_t next[MAX_RANK] = {at[0], at[1], at[2]};
    int32_t o = n->offset[axis];
    bool high = o > 0;
    Axis pos = ke->axes[axis].data[from[axis]];
    if (pos.fixed && axis == 0 && leaves_row(ke, pos.offset + o))
        return shifted_at_end(ke, n, pos.offset + o, from, at);
    if (pos.fixed) {
        next[axis] = axis_fixed(ke, axis, pos.offset + o);
        return shifted(ke, n, axis + 1, from, next);
    }
    next[axis] = axis_moved(ke, axis, from[axis], o, n->sides[axis][high]);
    LLVMValueRef inside = shifted(ke, n, axis + 1, from, next);
    LLVMValueRef raw = add(ke, pos.index, o);
    LLVMValueRef other = ghost(ke, n, axis, raw, inside, side_value(ke, n, axis, high, from, at));
    return other ? LLVMBuildSelect(ke->e->b, beyond(ke, axis, raw, high), other, inside, "") : inside;
}

static LLVMValueRef unshifted(KE *ke, const KNodeData *n, uint32_t axis, const uint32_t *at);

/* The transpose along x for the first or last vector of a row, which stands at `offset`. */
static LLVMValueRef unshifted_at_end(KE *ke, const KNodeData *n, int32_t offset, const uint32_t *at)
{
    Emit *e = ke->e;
    int32_t lanes = (int32_t)e->lanes, o = n->offset[0], number[64], mirror[64];
    bool any = false, high = o > 0;
    uint32_t here[MAX_RANK] = {axis_fixed(ke, 0, 0), at[1], at[2]}, there[MAX_RANK] = {here[0], at[1], at[2]};
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
        there[0] = axis_fixed(ke, 0, offset - o);
        direct = unshifted(ke, n, 1, there);
    }
    if (side == SIDE_GHOST || !any || ke->ends != (high ? X_HIGH : X_LOW))
        return direct;
    LLVMValueRef folded = lanes_of(ke, unshifted(ke, n, 1, here), mirror);
    return side == SIDE_ODD ? LLVMBuildFSub(e->b, direct, folded, "") : LLVMBuildFAdd(e->b, direct, folded, "");
}

/* The transpose: cell i gets from cell i - offset, and, near the side, from the cell whose ghost i is. */
static LLVMValueRef unshifted(KE *ke, const KNodeData *n, uint32_t axis, const uint32_t *at)
{
    Emit *e = ke->e;
    while (axis < ke->k->rank && n->offset[axis] == 0)
        axis++;
    if (axis >= ke->k->rank)
        return eval(ke, n->operand[0], at);
    uint32_t next[MAX_RANK] = {at[0], at[1], at[2]};
    int32_t o = n->offset[axis];
    bool high = o > 0;
    Axis pos = ke->axes[axis].data[at[axis]];
    SideKind side = n->sides[axis][high];
    if (pos.fixed && axis == 0 && ke->ends != X_INSIDE)
        return unshifted_at_end(ke, n, pos.offset, at);
    if (pos.fixed) {
        next[axis] = axis_fixed(ke, axis, pos.offset - o);
        return unshifted(ke, n, axis + 1, next);
    }
    if (side == SIDE_PERIODIC) {
        next[axis] = axis_moved(ke, axis, at[axis], -o, MOVE_WRAP);
        return unshifted(ke, n, axis + 1, next);
    }
    LLVMTypeRef t = value_type(ke);
    LLVMValueRef n_ = extent_of(ke, axis), zero = emit_number(e, t, 0), from = add(ke, pos.index, -(int64_t)o);
    LLVMValueRef outside = beyond(ke, axis, from, !high);
    next[axis] = axis_at(ke, axis, at[axis], o, MOVE_BACK, from);
    LLVMValueRef direct = LLVMBuildSelect(e->b, outside, zero, unshifted(ke, n, axis + 1, next), "");
    if (side == SIDE_GHOST)
        return direct;
    /* the ghost of cell i on this side is read from cell `mirror` */
    LLVMValueRef mirror = high ? sub(ke, add(ke, LLVMBuildNSWAdd(e->b, n_, n_, ""), -1 - (int64_t)o), pos.index)
                               : sub(ke, emit_i64(e, -1 - (int64_t)o), pos.index);
    LLVMValueRef none = high ? LLVMBuildICmp(e->b, LLVMIntSGE, mirror, n_, "")
                             : LLVMBuildICmp(e->b, LLVMIntSLT, mirror, emit_i64(e, 0), "");
    next[axis] = axis_at(ke, axis, at[axis], o, MOVE_MIRROR, mirror);
    LLVMValueRef folded = LLVMBuildSelect(e->b, none, zero, unshifted(ke, n, axis + 1, next), "");
    return side == SIDE_ODD ? LLVMBuildFSub(e->b, direct, folded, "") : LLVMBuildFAdd(e->b, direct, folded, "");
}

/* 1 / a scalar argument, made once for all cells. In single precision a division by it is a product with
 * this: within 1.5 ulp, and right for 0 and infinity. */
static LLVMValueRef reciprocal(KE *ke, uint32_t scalar)
{
    Emit *e = ke->e;
    if (!ke->reciprocals[scalar]) {
        LLVMBasicBlockRef here = LLVMGetInsertBlock(e->b);
        LLVMPositionBuilderBefore(e->b, LLVMGetBasicBlockTerminator(LLVMGetEntryBasicBlock(LLVMGetBasicBlockParent(here))));
        ke->reciprocals[scalar] = LLVMBuildFDiv(e->b, emit_real(e, 1), ke->scalars[scalar], "");
        LLVMPositionBuilderAtEnd(e->b, here);
    }
    return ke->reciprocals[scalar];
}

static LLVMValueRef eval_new(KE *ke, const KNodeData *n, const uint32_t *at)
{
    switch (n->kind) {
    case K_NUMBER:
        return emit_number(ke->e, value_type(ke), n->number);
    case K_SCALAR:
        return spread(ke, ke->scalars[n->index]);
    case K_LOAD:
        return load(ke, n, at);
    case K_RESTRICT:
    case K_PROLONG:
        return resample(ke, n, at);
    case K_COORD:
        return coordinate(ke, n->index, at[n->index]);
    case K_EDGE:
        return edge(ke, n, at);
    case K_SHIFT:
        return shifted(ke, n, 0, at, at);
    case K_UNSHIFT:
        return unshifted(ke, n, 0, at);
    default: {
        LLVMValueRef x[3] = {NULL};
        for (uint32_t i = 0; i < kernel_operands(n); i++)
            x[i] = eval(ke, n->operand[i], at);
        if (n->op == OP_DIV && !ke->e->plan->f64 && ke->k->nodes.data[n->operand[1]].kind == K_SCALAR)
            return LLVMBuildFMul(ke->e->b, x[0], spread(ke, reciprocal(ke, ke->k->nodes.data[n->operand[1]].index)), "");
        return emit_op(ke->e, n->op, x);
    }
    }
}

static const Carry *find_carry(const KE *ke, KNode id, const int32_t *at)
{
    for (uint32_t i = 0; i < ke->carries.len; i++) {
        const Carry *c = &ke->carries.data[i];
        if (c->id == id && c->at[0] == at[0] && c->at[1] == at[1] && c->at[2] == at[2])
            return c;
    }
    return NULL;
}

/* The value as lanes of its neighbour to the right, here and in the vector before; NULL: not carried. */
static LLVMValueRef eval_carried(KE *ke, KNode id, const uint32_t *at)
{
    Emit *e = ke->e;
    int32_t right[MAX_RANK];
    for (uint32_t a = 0; a < MAX_RANK; a++)
        right[a] = ke->axes[a].data[at[a]].offset;
    right[0]++;
    const Carry *c = find_carry(ke, id, right);
    if (!c)
        return NULL;
    uint32_t there[MAX_RANK] = {axis_fixed(ke, 0, right[0]), at[1], at[2]};
    LLVMValueRef now = eval(ke, id, there), before = LLVMBuildLoad2(e->b, LLVMTypeOf(now), c->variable, "before"), mask[64];
    for (uint32_t l = 0; l < e->lanes; l++)
        mask[l] = LLVMConstInt(e->i32, e->lanes - 1 + l, false);
    return LLVMBuildShuffleVector(e->b, before, now, LLVMConstVector(mask, e->lanes), "");
}

static LLVMValueRef eval(KE *ke, KNode id, const uint32_t *at)
{
    uint64_t key = (uint64_t)id << 42 | (uint64_t)at[0] << 28 | (uint64_t)at[1] << 14 | at[2];
    uint32_t found;
    if (map_get(&ke->memo, key, &found))
        return ke->values.data[found];
    LLVMValueRef v = ke->carrying && ke->ends == X_INSIDE ? eval_carried(ke, id, at) : NULL;
    if (!v)
        v = eval_new(ke, &ke->k->nodes.data[id], at);
    vec_push(&ke->values, v);
    map_set(&ke->memo, key, ke->values.len - 1);
    return v;
}

/* ---- one cell, or one vector of cells ------------------------------------------------------------ */

static void forget(KE *ke)
{
    map_free(&ke->memo);
    map_free(&ke->rows_memo);
    map_free(&ke->chains);
    ke->memo = ke->rows_memo = ke->chains = (Map){0};
    ke->values.len = 0;
    for (uint32_t a = 0; a < MAX_RANK; a++)
        ke->axes[a].len = 0;
}

/* Adds the values of a reduction to its total; lanes below `first` were counted before. */
static void accumulate(KE *ke, uint32_t number, const uint32_t *at, LLVMValueRef counted)
{
    Emit *e = ke->e;
    const KReduction *r = &ke->k->reductions.data[number];
    Total *total = &ke->totals[number];
    LLVMTypeRef t = ke->vector ? LLVMVectorType(total->type, e->lanes) : total->type;
    LLVMValueRef variable = ke->vector ? total->vector : total->scalar;
    LLVMValueRef sum = LLVMBuildLoad2(e->b, t, variable, "");
    for (uint32_t c = 0; c < r->count; c++) {
        LLVMValueRef v = eval(ke, r->nodes[c], at);
        if (total->type != e->real)
            v = LLVMBuildFPExt(e->b, v, t, "");
        if (counted)
            v = LLVMBuildSelect(e->b, counted, v, emit_number(e, t, reduction_start(r->op)), "");
        sum = emit_combine(e, r->op, sum, v);
    }
    LLVMBuildStore(e->b, sum, variable);
}

/* A store of a vector: past the caches where that is wanted and the address allows it. */
static void store_vector(KE *ke, LLVMValueRef v, LLVMValueRef to)
{
    /* lines that hold other stores of this row, too, would go to memory twice: ke->whole says it holds none */
    Emit *e = ke->e;
    LLVMBasicBlockRef past = emit_block(e, "past"), plain = emit_block(e, "plain"), go = emit_block(e, "stored");
    uint64_t bytes = (uint64_t)e->lanes * e->size;
    LLVMValueRef low = LLVMBuildAnd(e->b, LLVMBuildPtrToInt(e->b, to, e->i64, ""), emit_i64(e, (int64_t)bytes - 1), "");
    LLVMValueRef aligned = LLVMBuildICmp(e->b, LLVMIntEQ, low, emit_i64(e, 0), "");
    LLVMBuildCondBr(e->b, LLVMBuildAnd(e->b, ke->whole, aligned, ""), past, plain);
    LLVMPositionBuilderAtEnd(e->b, past);
    LLVMValueRef store = LLVMBuildStore(e->b, v, to);
    LLVMSetAlignment(store, (unsigned)bytes);
    LLVMValueRef one = LLVMConstInt(e->i32, 1, false);
    LLVMMetadataRef item = LLVMValueAsMetadata(one);
    LLVMSetMetadata(store, LLVMGetMDKindIDInContext(e->context, "nontemporal", 11),
                    LLVMMetadataAsValue(e->context, LLVMMDNodeInContext2(e->context, &item, 1)));
    LLVMBuildBr(e->b, go);
    LLVMPositionBuilderAtEnd(e->b, plain);
    LLVMSetAlignment(LLVMBuildStore(e->b, v, to), e->size);
    LLVMBuildBr(e->b, go);
    LLVMPositionBuilderAtEnd(e->b, go);
}

/* `fresh`: lanes that were not computed before (vectors), or NULL. */
static void emit_cell(KE *ke, bool vector, bool inner, LLVMValueRef x, LLVMValueRef y, LLVMValueRef z, LLVMValueRef fresh)
{
    const Kernel *k = ke->k;
    Emit *e = ke->e;
    forget(ke);
    ke->vector = vector;
    ke->inner = inner;
    ke->cell[0] = x;
    ke->cell[1] = y;
    ke->cell[2] = z;
    uint32_t at[MAX_RANK] = {0, 0, 0};
    for (uint32_t a = 0; a < MAX_RANK; a++) {
        bool fixed = a >= k->rank || (a == 0 ? vector : inner), made;
        at[a] = axis_intern(ke, a, 0, 0, MOVE_FIXED, &made);
        ke->axes[a].data[at[a]] = (Axis){.fixed = fixed, .index = fixed ? NULL : ke->cell[a]};
    }
    for (uint32_t i = 0; i < k->outputs.len; i++)
        eval(ke, k->outputs.data[i].node, at);
    for (uint32_t i = 0; i < k->reductions.len; i++)
        accumulate(ke, i, at, fresh);
    for (uint32_t i = 0; i < ke->carries.len && ke->carrying; i++) {
        const Carry *c = &ke->carries.data[i];
        uint32_t there[MAX_RANK];
        for (uint32_t a = 0; a < MAX_RANK; a++)
            there[a] = axis_fixed(ke, a, c->at[a]);
        LLVMBuildStore(e->b, eval(ke, c->id, there), c->variable);
    }
    LLVMValueRef index[MAX_RANK] = {x, y, z};
    for (uint32_t i = 0; i < k->outputs.len; i++) {
        const KOutput *o = &k->outputs.data[i];
        LLVMValueRef row = gep(ke, ke->outputs[o->field], offset_in(ke, &ke->grids[0], k->rank, o->channel, index));
        LLVMValueRef value = eval(ke, o->node, at), to = gep(ke, row, x);
        if (vector && inner && ke->stream)
            store_vector(ke, value, to);
        else
            LLVMSetAlignment(LLVMBuildStore(e->b, value, to), e->size);
    }
}

/* ---- rows -------------------------------------------------------------------------------------- */

/* Vectors of the columns [from, to), at least one vector. The first starts at `from`, the others at multiples
 * of their length, the last ends at `to`: where they overlap, the same values are computed again. */
static void vector_loop(KE *ke, bool inner, LLVMValueRef from, LLVMValueRef to, LLVMValueRef y, LLVMValueRef z)
{
    Emit *e = ke->e;
    Counting c;
    LLVMValueRef lanes = emit_i64(e, e->lanes), fresh = NULL, done = NULL;
    if (ke->k->reductions.len) {
        done = ke->done; /* columns below were computed */
        LLVMBuildStore(e->b, from, done);
    }
    LLVMValueRef x = emit_loop_begin(e, &c, from, to, emit_i64(e, 0), "x");
    LLVMValueRef start = emit_min(e, x, LLVMBuildNSWSub(e->b, to, lanes, ""));
    if (done) {
        LLVMValueRef again = LLVMBuildNSWSub(e->b, LLVMBuildLoad2(e->b, e->i64, done, ""), start, "");
        again = LLVMBuildTrunc(e->b, again, e->i32, "");
        fresh = LLVMBuildICmp(e->b, LLVMIntSGE, lane_numbers(ke, e->i32), emit_splat(e, again), "");
        LLVMBuildStore(e->b, LLVMBuildNSWAdd(e->b, start, lanes, ""), done);
    }
    if (ke->stream && inner && ke->ends_done) {
        LLVMValueRef last = LLVMBuildNSWSub(e->b, to, LLVMBuildShl(e->b, lanes, emit_i64(e, 1), ""), "");
        LLVMValueRef before = LLVMBuildICmp(e->b, LLVMIntSLE, start, last, "");
        ke->whole = LLVMBuildAnd(e->b, ke->stream, LLVMBuildOr(e->b, ke->even, before, ""), "");
    } else if (ke->stream) {
        LLVMValueRef after = LLVMBuildICmp(e->b, LLVMIntSGE, start, LLVMBuildNSWAdd(e->b, from, lanes, ""), "");
        LLVMValueRef last = LLVMBuildNSWSub(e->b, to, LLVMBuildShl(e->b, lanes, emit_i64(e, 1), ""), "");
        LLVMValueRef before = LLVMBuildICmp(e->b, LLVMIntSLE, start, last, "");
        ke->whole = LLVMBuildAnd(e->b, ke->stream, LLVMBuildAnd(e->b, after, before, ""), "");
    }
    emit_cell(ke, true, inner, start, y, z, fresh);
    LLVMValueRef next = LLVMBuildNSWAdd(e->b, x, lanes, "");
    next = LLVMBuildAnd(e->b, next, emit_i64(e, -(int64_t)e->lanes), "");
    LLVMBuildStore(e->b, next, c.variable);
    emit_loop_end(e, &c);
}

/* Columns [from, skip) and [resume, to). */
static void scalar_loop(KE *ke, bool inner, LLVMValueRef from, LLVMValueRef skip, LLVMValueRef resume, LLVMValueRef to,
                        LLVMValueRef y, LLVMValueRef z)
{
    Emit *e = ke->e;
    Counting c;
    LLVMValueRef first = LLVMBuildSelect(e->b, LLVMBuildICmp(e->b, LLVMIntEQ, from, skip, ""), resume, from, "");
    LLVMValueRef x = emit_loop_begin(e, &c, first, to, emit_i64(e, 0), "x");
    emit_cell(ke, false, inner, x, y, z, NULL);
    LLVMValueRef next = add(ke, x, 1);
    next = LLVMBuildSelect(e->b, LLVMBuildICmp(e->b, LLVMIntEQ, next, skip, ""), resume, next, "");
    LLVMBuildStore(e->b, next, c.variable);
    emit_loop_end(e, &c);
}

static LLVMValueRef is_inner(KE *ke, LLVMValueRef y, LLVMValueRef z)
{
    Emit *e = ke->e;
    LLVMValueRef cell[MAX_RANK] = {NULL, y, z}, all = LLVMConstInt(e->i1, 1, false);
    for (uint32_t a = 1; a < ke->k->rank; a++) {
        LLVMValueRef low = LLVMBuildICmp(e->b, LLVMIntSGE, cell[a], emit_i64(e, ke->k->low[a]), "");
        LLVMValueRef high = LLVMBuildICmp(e->b, LLVMIntSLT, add(ke, cell[a], ke->k->high[a]), extent_of(ke, a), "");
        all = LLVMBuildAnd(e->b, all, LLVMBuildAnd(e->b, low, high, ""), "");
    }
    return all;
}

/* Can the first and last vector of a row fold x within their lanes? */
static bool ends_fold(const KE *ke)
{
    const Kernel *k = ke->k;
    int32_t room = (int32_t)ke->e->lanes / 2;
    if (k->rank == 1 || k->low[0] > room || k->high[0] > room || (k->low[0] == 0 && k->high[0] == 0))
        return false;
    for (KNode n = 1; n < k->nodes.len; n++) {
        const KNodeData *d = &k->nodes.data[n];
        if ((d->kind == K_SHIFT || d->kind == K_UNSHIFT) && d->offset[0] && d->sides[0][d->offset[0] > 0] == SIDE_PERIODIC)
            return false;
    }
    return true;
}

static void end_vector(KE *ke, int which, LLVMValueRef x, LLVMValueRef y, LLVMValueRef z)
{
    ke->ends = which;
    ke->carrying = which == X_LOW;
    if (ke->stream)
        ke->whole = which == X_LOW ? ke->stream : LLVMBuildAnd(ke->e->b, ke->stream, ke->even, "");
    emit_cell(ke, true, true, x, y, z, NULL);
    ke->ends = X_INSIDE;
    ke->carrying = false;
}

/* Whole vectors one after the other, which carry values over; returns where they end. */
static LLVMValueRef carrying_loop(KE *ke, LLVMValueRef from, LLVMValueRef to, LLVMValueRef y, LLVMValueRef z)
{
    Emit *e = ke->e;
    Counting c;
    LLVMValueRef lanes = emit_i64(e, e->lanes), stop = add(ke, LLVMBuildNSWSub(e->b, to, lanes, ""), 1);
    LLVMValueRef x = emit_loop_begin(e, &c, from, stop, lanes, "x");
    if (ke->stream) {
        LLVMValueRef last = LLVMBuildNSWSub(e->b, to, LLVMBuildShl(e->b, lanes, emit_i64(e, 1), ""), "");
        LLVMValueRef before = LLVMBuildICmp(e->b, LLVMIntSLE, x, last, "");
        ke->whole = LLVMBuildAnd(e->b, ke->stream, LLVMBuildOr(e->b, ke->even, before, ""), "");
    }
    ke->carrying = true;
    emit_cell(ke, true, true, x, y, z, NULL);
    ke->carrying = false;
    emit_loop_end(e, &c);
    return LLVMBuildLoad2(e->b, e->i64, c.variable, "");
}

/* A row as vectors alone: its ends, and what lies between. */
static void row_of_vectors(KE *ke, LLVMValueRef y, LLVMValueRef z)
{
    Emit *e = ke->e;
    LLVMValueRef n = extent_of(ke, 0), lanes = emit_i64(e, e->lanes), last = LLVMBuildNSWSub(e->b, n, lanes, ""), from = lanes;
    end_vector(ke, X_LOW, emit_i64(e, 0), y, z);
    if (ke->carries.len)
        from = carrying_loop(ke, lanes, last, y, z);
    vector_loop(ke, true, from, last, y, z);
    end_vector(ke, X_HIGH, last, y, z);
}

/* ---- what a vector leaves to the next --------------------------------------------------------------- */

typedef struct {
    KE *ke;
    Map seen;
    bool cut; /* stop at what is carried */
} Survey;

static uint64_t place_key(KNode id, const int32_t *at)
{
    return (uint64_t)id << 24 | (uint64_t)(at[0] + 128) << 16 | (uint64_t)(at[1] + 128) << 8 | (uint64_t)(at[2] + 128);
}

/* Is the node worth a shuffle, needed one cell to the right, too, and there in the row's first vector? */
static bool worth_carrying(Survey *s, KNode id, const int32_t *at)
{
    uint32_t ignored;
    const KNodes *nodes = &s->ke->k->nodes;
    if (nodes->data[id].kind != K_OP || at[0] < -1 || !map_get(&s->seen, place_key(id, (int32_t[]){at[0] + 1, at[1], at[2]}), &ignored))
        return false;
    return kernel_count(nodes, &id, 1, s->ke->k->rank, 256).flops >= 10;
}

static void survey(Survey *s, Map *visited, KNode id, const int32_t *at)
{
    const KNodeData *n = &s->ke->k->nodes.data[id];
    uint32_t ignored;
    if (visited->len > 4096 || map_get(visited, place_key(id, at), &ignored))
        return;
    map_set(visited, place_key(id, at), 1);
    if (s->cut && worth_carrying(s, id, at)) {
        Carry c = {.id = id, .at = {at[0] + 1, at[1], at[2]}};
        if (!find_carry(s->ke, id, c.at) && s->ke->carries.len < 8)
            vec_push(&s->ke->carries, c);
        return;
    }
    int32_t next[MAX_RANK] = {at[0], at[1], at[2]};
    if (n->kind == K_SHIFT || n->kind == K_UNSHIFT)
        for (uint32_t a = 0; a < s->ke->k->rank; a++)
            next[a] += n->kind == K_SHIFT ? n->offset[a] : -n->offset[a];
    for (uint32_t i = 0; i < kernel_operands(n); i++)
        survey(s, visited, n->operand[i], next);
}

/* Decides what is carried along rows: dear values that a cell and its left neighbour both need. */
static void find_carries(KE *ke)
{
    Survey s = {.ke = ke};
    Map again = {0};
    for (int pass = 0; pass < 2; pass++) {
        s.cut = pass == 1;
        for (uint32_t i = 0; i < ke->k->outputs.len; i++)
            survey(&s, pass ? &again : &s.seen, ke->k->outputs.data[i].node, (int32_t[MAX_RANK]){0});
        for (uint32_t i = 0; i < ke->k->reductions.len; i++)
            for (uint32_t c = 0; c < ke->k->reductions.data[i].count; c++)
                survey(&s, pass ? &again : &s.seen, ke->k->reductions.data[i].nodes[c], (int32_t[MAX_RANK]){0});
    }
    for (uint32_t i = 0; i < ke->carries.len; i++)
        ke->carries.data[i].variable = emit_variable(ke->e, LLVMVectorType(ke->e->real, ke->e->lanes), "before");
    map_free(&s.seen);
    map_free(&again);
}

/* Are rows long enough for that? The vector before the last must not reach a side. */
static LLVMValueRef is_long(KE *ke)
{
    Emit *e = ke->e;
    LLVMValueRef n = extent_of(ke, 0);
    LLVMValueRef two = LLVMBuildICmp(e->b, LLVMIntEQ, n, emit_i64(e, 2 * (int64_t)e->lanes), "");
    return LLVMBuildOr(e->b, two, LLVMBuildICmp(e->b, LLVMIntSGE, n, emit_i64(e, 2 * (int64_t)e->lanes + ke->k->low[0]), ""), "");
}

/* The total of a row, lanes first: a fixed tree. */
static void finish_row(KE *ke, LLVMValueRef row)
{
    Emit *e = ke->e;
    for (uint32_t i = 0; i < ke->k->reductions.len; i++) {
        Total *t = &ke->totals[i];
        Op op = ke->k->reductions.data[i].op;
        LLVMTypeRef vector = LLVMVectorType(t->type, e->lanes);
        LLVMValueRef v = LLVMBuildLoad2(e->b, vector, t->vector, ""), lane[64];
        for (uint32_t l = 0; l < e->lanes; l++)
            lane[l] = LLVMBuildExtractElement(e->b, v, LLVMConstInt(e->i32, l, false), "");
        for (uint32_t width = e->lanes; width > 1; width /= 2)
            for (uint32_t l = 0; l < width / 2; l++)
                lane[l] = emit_combine(e, op, lane[l], lane[l + width / 2]);
        LLVMValueRef sum = emit_combine(e, op, lane[0], LLVMBuildLoad2(e->b, t->type, t->scalar, ""));
        if (t->type != e->f64)
            sum = LLVMBuildFPExt(e->b, sum, e->f64, "");
        LLVMValueRef index = LLVMBuildNSWAdd(e->b, LLVMBuildNSWMul(e->b, ke->rows, emit_i64(e, i), ""), row, "");
        LLVMBuildStore(e->b, sum, LLVMBuildInBoundsGEP2(e->b, e->f64, ke->partials, &index, 1, ""));
    }
}

/* Cells [from, to) of row (y, z); `row` numbers its partial results. */
static void emit_row(KE *ke, LLVMValueRef from, LLVMValueRef to, LLVMValueRef y, LLVMValueRef z, LLVMValueRef row)
{
    Emit *e = ke->e;
    const Kernel *k = ke->k;
    for (uint32_t i = 0; i < k->reductions.len; i++) {
        Total *t = &ke->totals[i];
        double start = reduction_start(k->reductions.data[i].op);
        LLVMBuildStore(e->b, emit_number(e, LLVMVectorType(t->type, e->lanes), start), t->vector);
        LLVMBuildStore(e->b, LLVMConstReal(t->type, start), t->scalar);
    }
    LLVMValueRef low = emit_max(e, from, emit_i64(e, k->low[0]));
    LLVMValueRef high = emit_min(e, to, add(ke, extent_of(ke, 0), -(int64_t)k->high[0]));
    LLVMValueRef room = LLVMBuildICmp(e->b, LLVMIntSGE, sub(ke, high, low), emit_i64(e, e->lanes), "");
    low = LLVMBuildSelect(e->b, room, low, to, "");
    high = LLVMBuildSelect(e->b, room, high, to, "");
    if ((k->low[1] | k->low[2] | k->high[1] | k->high[2]) || ke->ends_done) {
        LLVMBasicBlockRef a = emit_block(e, "inner"), b = emit_block(e, "outer"), join = emit_block(e, "join");
        LLVMValueRef inner = is_inner(ke, y, z);
        if (ke->ends_done)
            inner = LLVMBuildAnd(e->b, inner, is_long(ke), "");
        LLVMBuildCondBr(e->b, inner, a, b);
        LLVMPositionBuilderAtEnd(e->b, a);
        if (ke->ends_done) {
            row_of_vectors(ke, y, z);
        } else {
            vector_loop(ke, true, low, high, y, z);
            scalar_loop(ke, true, from, low, high, to, y, z);
        }
        LLVMBuildBr(e->b, join);
        LLVMPositionBuilderAtEnd(e->b, b);
        vector_loop(ke, false, low, high, y, z);
        scalar_loop(ke, false, from, low, high, to, y, z);
        LLVMBuildBr(e->b, join);
        LLVMPositionBuilderAtEnd(e->b, join);
    } else {
        vector_loop(ke, true, low, high, y, z);
        scalar_loop(ke, true, from, low, high, to, y, z);
    }
    finish_row(ke, row);
}

/* Work of the units [begin, end): rows in 2D; blocks of rows of some planes in 3D; blocks of cells in 1D. */
static void emit_units(KE *ke, LLVMValueRef begin, LLVMValueRef end)
{
    Emit *e = ke->e;
    LLVMValueRef zero = emit_i64(e, 0), one = emit_i64(e, 1), n = extent_of(ke, 0);
    Counting units, planes, rows;
    LLVMValueRef u = emit_loop_begin(e, &units, begin, end, one, "unit");
    if (ke->k->rank == 1) {
        LLVMValueRef from = LLVMBuildNSWMul(e->b, u, emit_i64(e, BLOCK_X), "");
        emit_row(ke, from, emit_min(e, n, add(ke, from, BLOCK_X)), zero, zero, u);
    } else if (ke->k->rank == 2) {
        emit_row(ke, zero, n, u, zero, u);
    } else {
        LLVMValueRef by = emit_word(e, e->i64, ke->args, ke->words.block_y, "block_y");
        LLVMValueRef bz = emit_word(e, e->i64, ke->args, ke->words.block_z, "block_z");
        LLVMValueRef ny = extent_of(ke, 1), nz = extent_of(ke, 2);
        LLVMValueRef layers = LLVMBuildSDiv(e->b, add(ke, LLVMBuildNSWAdd(e->b, nz, bz, ""), -1), bz, "");
        LLVMValueRef y0 = LLVMBuildNSWMul(e->b, LLVMBuildSDiv(e->b, u, layers, ""), by, "");
        LLVMValueRef z0 = LLVMBuildNSWMul(e->b, LLVMBuildSRem(e->b, u, layers, ""), bz, "");
        LLVMValueRef y1 = emit_min(e, ny, LLVMBuildNSWAdd(e->b, y0, by, ""));
        LLVMValueRef z1 = emit_min(e, nz, LLVMBuildNSWAdd(e->b, z0, bz, ""));
        LLVMValueRef z = emit_loop_begin(e, &planes, z0, z1, one, "z");
        LLVMValueRef y = emit_loop_begin(e, &rows, y0, y1, one, "y");
        emit_row(ke, zero, n, y, z, LLVMBuildNSWAdd(e->b, LLVMBuildNSWMul(e->b, z, ny, ""), y, ""));
        emit_loop_end(e, &rows);
        emit_loop_end(e, &planes);
    }
    emit_loop_end(e, &units);
}

/* ---- arguments ------------------------------------------------------------------------------- */

static void load_grid(KE *ke, uint32_t number)
{
    Emit *e = ke->e;
    GridValues *g = &ke->grids[number];
    LLVMValueRef p = emit_word(e, e->ptr, ke->args, ke->words.grids + number, "grid");
    for (uint32_t a = 0; a < ke->k->grid_rank[number]; a++) {
        g->extent[a] = emit_word(e, e->i64, p, GRID_EXTENT + a, "extent");
        g->stride[a] = emit_word(e, e->i64, p, GRID_STRIDE + a, "stride");
        g->spacing[a] = emit_word(e, e->f64, p, GRID_SPACING + a, "spacing");
        g->origin[a] = emit_word(e, e->f64, p, GRID_ORIGIN + a, "origin");
    }
    g->channel = emit_word(e, e->i64, p, GRID_CHANNEL, "channel");
}

static void load_arguments(KE *ke)
{
    Emit *e = ke->e;
    const Kernel *k = ke->k;
    ke->grids = ARENA_ARRAY(e->arena, GridValues, k->grids);
    ke->fields = ARENA_ARRAY(e->arena, LLVMValueRef, k->fields.len + 1);
    ke->outputs = ARENA_ARRAY(e->arena, LLVMValueRef, k->written.len + 1);
    ke->scalars = ARENA_ARRAY(e->arena, LLVMValueRef, k->scalars + 1);
    ke->reciprocals = ARENA_ARRAY(e->arena, LLVMValueRef, k->scalars + 1);
    ke->totals = ARENA_ARRAY(e->arena, Total, k->reductions.len + 1);
    for (uint32_t i = 0; i < k->grids; i++)
        load_grid(ke, i);
    for (uint32_t i = 0; i < k->fields.len; i++)
        ke->fields[i] = emit_word(e, e->ptr, ke->args, ke->words.fields + i, "field");
    for (uint32_t i = 0; i < k->written.len; i++)
        ke->outputs[i] = emit_word(e, e->ptr, ke->args, ke->words.outputs + i, "out");
    for (uint32_t i = 0; i < k->scalars; i++)
        ke->scalars[i] = emit_word(e, e->real, ke->args, ke->words.scalars + i, "scalar");
    ke->partials = emit_word(e, e->ptr, ke->args, ke->words.partials, "partials");
    ke->rows = emit_word(e, e->i64, ke->args, ke->words.rows, "rows");
    if (e->machine.streams) {
        LLVMValueRef flag = emit_word(e, e->i64, ke->args, ke->words.stream, "stream");
        ke->stream = LLVMBuildICmp(e->b, LLVMIntNE, flag, emit_i64(e, 0), "");
        LLVMValueRef rest = LLVMBuildAnd(e->b, extent_of(ke, 0), emit_i64(e, (int64_t)e->lanes - 1), "");
        ke->even = LLVMBuildICmp(e->b, LLVMIntEQ, rest, emit_i64(e, 0), "");
    }
    ke->done = k->reductions.len ? emit_variable(e, e->i64, "done") : NULL;
    for (uint32_t i = 0; i < k->reductions.len; i++) {
        Total *t = &ke->totals[i];
        t->type = k->reductions.data[i].op == OP_SUM ? e->f64 : e->real;
        t->vector = emit_variable(e, LLVMVectorType(t->type, e->lanes), "total");
        t->scalar = emit_variable(e, t->type, "total");
    }
}

LLVMValueRef emit_kernel(Emit *e, const Kernel *k, uint32_t number)
{
    char *name = arena_format(e->arena, "pdn_kernel_%u", number);
    LLVMValueRef f = emit_function(e, name, e->kernel_type, false);
    KE ke = {.e = e, .k = k, .words = kernel_words(k), .args = LLVMGetParam(f, 0)};
    e->in_kernel = true;
    ke.ends_done = ends_fold(&ke);
    LLVMPositionBuilderAtEnd(e->b, LLVMAppendBasicBlockInContext(e->context, f, "entry"));
    load_arguments(&ke);
    if (ke.ends_done)
        find_carries(&ke);
    emit_units(&ke, LLVMGetParam(f, 1), LLVMGetParam(f, 2));
    if (ke.stream && k->outputs.len)
        LLVMBuildFence(e->b, LLVMAtomicOrderingSequentiallyConsistent, false, "");
    LLVMBuildRetVoid(e->b);
    e->in_kernel = false;
    forget(&ke);
    vec_free(&ke.values);
    vec_free(&ke.carries);
    for (uint32_t a = 0; a < MAX_RANK; a++)
        vec_free(&ke.axes[a]);
    return f;
}
