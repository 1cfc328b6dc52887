/* A kernel as a function over rows.
 *
 * Rows away from the sides in y and z read neighbours in y and z at fixed offsets; other rows fold them at
 * the sides. In both kinds of rows, columns away from the sides in x are computed as vectors without
 * branches; columns near a side, and rows shorter than a vector, cell by cell with x folded. All evaluate the
 * same expressions with the same arithmetic: a kernel node at a position, which is per axis an offset from
 * the cell, or a folded index. */
#include "compiler/llvm/emit_kernel.h"

#include <stdlib.h>
#include <string.h>

KernelWords kernel_words(const Kernel *k) {
    KernelWords w = {.grids = 0};
    w.fields = w.grids + k->grids;
    w.outputs = w.fields + k->fields.len;
    w.partials = w.outputs + k->written.len;
    w.rows = w.partials + 1;
    w.block_y = w.rows + 1;
    w.block_z = w.block_y + 1;
    w.stream = w.block_z + 1;
    w.part = w.stream + 1;
    w.scalars = w.part + 1;
    w.count = w.scalars + k->scalars;
    return w;
}

/* ---- one cell, or one vector of cells ------------------------------------------------------------ */

static void forget(KE *ke) {
    map_free(&ke->memo);
    map_free(&ke->rows_memo);
    map_free(&ke->chains);
    ke->memo = ke->rows_memo = ke->chains = (Map){0};
    ke->values.len = 0;
    for (uint32_t a = 0; a < MAX_RANK; a++) ke->axes[a].len = 0;
}

/* Adds the values of a reduction to its total; lanes below `first` were counted before. */
static void accumulate(KE *ke, uint32_t number, const uint32_t *at, LLVMValueRef counted) {
    Emit *e = ke->e;
    const KReduction *r = &ke->k->reductions.data[number];
    Total *total = &ke->totals[number];
    LLVMTypeRef t = ke->vector ? LLVMVectorType(total->type, e->lanes) : total->type;
    LLVMValueRef variable = ke->vector ? total->vector : total->scalar;
    LLVMValueRef sum = LLVMBuildLoad2(e->b, t, variable, "");
    for (uint32_t c = 0; c < r->count; c++) {
        LLVMValueRef v = ke_eval(ke, r->nodes[c], at);
        if (total->type != e->real) v = LLVMBuildFPExt(e->b, v, t, "");
        if (counted)
            v = LLVMBuildSelect(e->b, counted, v, emit_number(e, t, reduction_start(r->op)), "");
        sum = emit_combine(e, r->op, sum, v);
    }
    LLVMBuildStore(e->b, sum, variable);
}

/* A store of a vector: past the caches where that is wanted and the address allows it. */
static void store_vector(KE *ke, LLVMValueRef v, LLVMValueRef to) {
    /* lines that hold other stores of this row, too, would go to memory twice: ke->whole says it holds none */
    Emit *e = ke->e;
    LLVMBasicBlockRef past = emit_block(e, "past"), plain = emit_block(e, "plain"),
                      go = emit_block(e, "stored");
    uint64_t bytes = (uint64_t)e->lanes * e->size;
    LLVMValueRef low = LLVMBuildAnd(e->b, LLVMBuildPtrToInt(e->b, to, e->i64, ""),
                                    emit_i64(e, (int64_t)bytes - 1), "");
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

void ke_place(KE *ke, bool vector, bool inner, LLVMValueRef x, LLVMValueRef y, LLVMValueRef z) {
    forget(ke);
    ke->vector = vector;
    ke->inner = inner;
    ke->cell[0] = x;
    ke->cell[1] = y;
    ke->cell[2] = z;
    for (uint32_t a = 0; a < MAX_RANK; a++) {
        bool fixed = a >= ke->k->rank || (a == 0 ? vector : inner), made;
        uint32_t here = ke_axis(ke, a, 0, 0, MOVE_FIXED, &made);
        ke->axes[a].data[here] = (Axis){.fixed = fixed, .index = fixed ? NULL : ke->cell[a]};
    }
}

/* `fresh`: lanes that were not computed before (vectors), or NULL. */
static void emit_cell(KE *ke, bool vector, bool inner, LLVMValueRef x, LLVMValueRef y,
                      LLVMValueRef z, LLVMValueRef fresh) {
    const Kernel *k = ke->k;
    Emit *e = ke->e;
    const uint32_t at[MAX_RANK] = {0, 0, 0}; /* ke_place's */
    ke_place(ke, vector, inner, x, y, z);
    for (uint32_t i = 0; i < k->outputs.len; i++) ke_eval(ke, k->outputs.data[i].node, at);
    for (uint32_t i = 0; i < k->reductions.len; i++) accumulate(ke, i, at, fresh);
    if (vector && inner) carry_leave(ke);
    LLVMValueRef index[MAX_RANK] = {x, y, z};
    for (uint32_t i = 0; i < k->outputs.len; i++) {
        const KOutput *o = &k->outputs.data[i];
        LLVMValueRef row =
            ke_gep(ke, ke->outputs[o->field],
                   ke_offset(ke, &ke->written_strides[o->field], k->rank, o->channel, index));
        LLVMValueRef value = ke_eval(ke, o->node, at), to = ke_gep(ke, row, x);
        if (vector && inner && ke->stream)
            store_vector(ke, value, to);
        else
            LLVMSetAlignment(LLVMBuildStore(e->b, value, to), e->size);
    }
}

/* ---- rows -------------------------------------------------------------------------------------- */

/* Vectors of the columns [from, to), at least one vector. The first starts at `from`, the others at multiples
 * of their length, the last ends at `to`: where they overlap, the same values are computed again. */
static void vector_loop(KE *ke, bool inner, LLVMValueRef from, LLVMValueRef to, LLVMValueRef y,
                        LLVMValueRef z) {
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
        LLVMValueRef again =
            LLVMBuildNSWSub(e->b, LLVMBuildLoad2(e->b, e->i64, done, ""), start, "");
        again = LLVMBuildTrunc(e->b, again, e->i32, "");
        fresh = LLVMBuildICmp(e->b, LLVMIntSGE, ke_lanes(ke, e->i32), emit_splat(e, again), "");
        LLVMBuildStore(e->b, LLVMBuildNSWAdd(e->b, start, lanes, ""), done);
    }
    if (ke->stream && inner && ke->ends_done) {
        LLVMValueRef last =
            LLVMBuildNSWSub(e->b, to, LLVMBuildShl(e->b, lanes, emit_i64(e, 1), ""), "");
        LLVMValueRef before = LLVMBuildICmp(e->b, LLVMIntSLE, start, last, "");
        ke->whole = LLVMBuildAnd(e->b, ke->stream, LLVMBuildOr(e->b, ke->even, before, ""), "");
    } else if (ke->stream) {
        LLVMValueRef after =
            LLVMBuildICmp(e->b, LLVMIntSGE, start, LLVMBuildNSWAdd(e->b, from, lanes, ""), "");
        LLVMValueRef last =
            LLVMBuildNSWSub(e->b, to, LLVMBuildShl(e->b, lanes, emit_i64(e, 1), ""), "");
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
static void scalar_loop(KE *ke, bool inner, LLVMValueRef from, LLVMValueRef skip,
                        LLVMValueRef resume, LLVMValueRef to, LLVMValueRef y, LLVMValueRef z) {
    Emit *e = ke->e;
    Counting c;
    LLVMValueRef first =
        LLVMBuildSelect(e->b, LLVMBuildICmp(e->b, LLVMIntEQ, from, skip, ""), resume, from, "");
    LLVMValueRef x = emit_loop_begin(e, &c, first, to, emit_i64(e, 0), "x");
    emit_cell(ke, false, inner, x, y, z, NULL);
    LLVMValueRef next = ke_add(ke, x, 1);
    next = LLVMBuildSelect(e->b, LLVMBuildICmp(e->b, LLVMIntEQ, next, skip, ""), resume, next, "");
    LLVMBuildStore(e->b, next, c.variable);
    emit_loop_end(e, &c);
}

static LLVMValueRef is_inner(KE *ke, LLVMValueRef y, LLVMValueRef z) {
    Emit *e = ke->e;
    LLVMValueRef cell[MAX_RANK] = {NULL, y, z}, all = LLVMConstInt(e->i1, 1, false);
    for (uint32_t a = 1; a < ke->k->rank; a++) {
        LLVMValueRef low = LLVMBuildICmp(e->b, LLVMIntSGE, cell[a], emit_i64(e, ke->k->low[a]), "");
        LLVMValueRef high = LLVMBuildICmp(e->b, LLVMIntSLT, ke_add(ke, cell[a], ke->k->high[a]),
                                          ke_extent(ke, a), "");
        all = LLVMBuildAnd(e->b, all, LLVMBuildAnd(e->b, low, high, ""), "");
    }
    return all;
}

/* Can the first and last vector of a row fold x within their lanes? */
static bool ends_fold(const KE *ke) {
    const Kernel *k = ke->k;
    int32_t room = (int32_t)ke->e->lanes / 2;
    if (k->rank == 1 || k->low[0] > room || k->high[0] > room ||
        (k->low[0] == 0 && k->high[0] == 0))
        return false;
    for (KNode n = 1; n < k->nodes.len; n++) {
        const KNodeData *d = &k->nodes.data[n];
        if ((d->kind == K_SHIFT || d->kind == K_UNSHIFT) && d->offset[0] &&
            d->sides[0][d->offset[0] > 0] == SIDE_PERIODIC)
            return false;
    }
    return true;
}

static void end_vector(KE *ke, int which, LLVMValueRef x, LLVMValueRef y, LLVMValueRef z) {
    ke->ends = which;
    ke->carrying = which == X_LOW;
    if (ke->stream)
        ke->whole = which == X_LOW ? ke->stream : LLVMBuildAnd(ke->e->b, ke->stream, ke->even, "");
    emit_cell(ke, true, true, x, y, z, NULL);
    ke->ends = X_INSIDE;
    ke->carrying = false;
}

/* Whole vectors one after the other, which carry values over; returns where they end. */
static LLVMValueRef carrying_loop(KE *ke, LLVMValueRef from, LLVMValueRef to, LLVMValueRef y,
                                  LLVMValueRef z) {
    Emit *e = ke->e;
    Counting c;
    LLVMValueRef lanes = emit_i64(e, e->lanes),
                 stop = ke_add(ke, LLVMBuildNSWSub(e->b, to, lanes, ""), 1);
    LLVMValueRef x = emit_loop_begin(e, &c, from, stop, lanes, "x");
    if (ke->stream) {
        LLVMValueRef last =
            LLVMBuildNSWSub(e->b, to, LLVMBuildShl(e->b, lanes, emit_i64(e, 1), ""), "");
        LLVMValueRef before = LLVMBuildICmp(e->b, LLVMIntSLE, x, last, "");
        ke->whole = LLVMBuildAnd(e->b, ke->stream, LLVMBuildOr(e->b, ke->even, before, ""), "");
    }
    ke->carrying = true;
    emit_cell(ke, true, true, x, y, z, NULL);
    ke->carrying = false;
    emit_loop_end(e, &c);
    return LLVMBuildLoad2(e->b, e->i64, c.variable, "");
}

/* What lies between the ends of a row, or some of it. */
static void between_ends(KE *ke, LLVMValueRef from, LLVMValueRef to, LLVMValueRef y,
                         LLVMValueRef z) {
    if (ke->carries.len) from = carrying_loop(ke, from, to, y, z);
    vector_loop(ke, true, from, to, y, z);
}

/* The columns [from, to) of a row as vectors alone: the row's ends, if they are among them, and what lies between. */
static void row_of_vectors(KE *ke, LLVMValueRef from, LLVMValueRef to, LLVMValueRef y,
                           LLVMValueRef z) {
    Emit *e = ke->e;
    LLVMValueRef n = ke_extent(ke, 0), lanes = emit_i64(e, e->lanes),
                 last = LLVMBuildNSWSub(e->b, n, lanes, "");
    if (!ke->in_parts && !ke->row_carries.len) { /* all of them */
        end_vector(ke, X_LOW, emit_i64(e, 0), y, z);
        between_ends(ke, lanes, last, y, z);
        end_vector(ke, X_HIGH, last, y, z);
        return;
    }
    LLVMValueRef begins = LLVMBuildICmp(e->b, LLVMIntEQ, from, emit_i64(e, 0), ""),
                 ends = LLVMBuildICmp(e->b, LLVMIntEQ, to, n, "");
    LLVMBasicBlockRef low = emit_block(e, "low"), left = emit_block(e, "left"),
                      between = emit_block(e, "between"), high = emit_block(e, "high"),
                      done = emit_block(e, "row");
    LLVMBuildCondBr(e->b, begins, low, left);
    LLVMPositionBuilderAtEnd(e->b, low);
    end_vector(ke, X_LOW, emit_i64(e, 0), y, z);
    LLVMBuildBr(e->b, between);
    LLVMPositionBuilderAtEnd(e->b, left);
    if (ke->carries.len) carry_from_left(ke, from, y, z);
    LLVMBuildBr(e->b, between);
    LLVMPositionBuilderAtEnd(e->b, between);
    from = LLVMBuildSelect(e->b, begins, lanes, from, "");
    to = LLVMBuildSelect(e->b, ends, last, to, "");
    between_ends(ke, from, to, y, z);
    LLVMBuildCondBr(e->b, ends, high, done);
    LLVMPositionBuilderAtEnd(e->b, high);
    end_vector(ke, X_HIGH, last, y, z);
    LLVMBuildBr(e->b, done);
    LLVMPositionBuilderAtEnd(e->b, done);
}

/* Are rows long enough for that? The vector before the last must not reach a side. */
static LLVMValueRef is_long(KE *ke) {
    Emit *e = ke->e;
    LLVMValueRef n = ke_extent(ke, 0);
    LLVMValueRef two = LLVMBuildICmp(e->b, LLVMIntEQ, n, emit_i64(e, 2 * (int64_t)e->lanes), "");
    return LLVMBuildOr(
        e->b, two,
        LLVMBuildICmp(e->b, LLVMIntSGE, n, emit_i64(e, 2 * (int64_t)e->lanes + ke->k->low[0]), ""),
        "");
}

/* The total of a row, lanes first: a fixed tree. */
static void finish_row(KE *ke, LLVMValueRef row) {
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
        LLVMValueRef sum =
            emit_combine(e, op, lane[0], LLVMBuildLoad2(e->b, t->type, t->scalar, ""));
        if (t->type != e->f64) sum = LLVMBuildFPExt(e->b, sum, e->f64, "");
        LLVMValueRef number = emit_i64(e, ke->part->reduction[i]);
        if (ke->copy)
            number = LLVMBuildNSWAdd(
                e->b, number,
                LLVMBuildNSWMul(e->b, ke->copy, emit_i64(e, ke->part->reduction_step), ""), "");
        LLVMValueRef index =
            LLVMBuildNSWAdd(e->b, LLVMBuildNSWMul(e->b, ke->rows, number, ""), row, "");
        LLVMBuildStore(e->b, sum, LLVMBuildInBoundsGEP2(e->b, e->f64, ke->partials, &index, 1, ""));
    }
}

/* The columns [from, to) of a row away from the sides in y and z; away from those in x: [low, high). */
static void inner_row(KE *ke, LLVMValueRef from, LLVMValueRef low, LLVMValueRef high,
                      LLVMValueRef to, LLVMValueRef y, LLVMValueRef z, LLVMValueRef row) {
    if (ke->row_carries.len)
        carry_from_row_before(ke, ke->ends_done ? from : low, ke->ends_done ? to : high, y, z, row);
    ke->carrying_rows = ke->row_carries.len > 0;
    if (ke->ends_done) {
        row_of_vectors(ke, from, to, y, z);
    } else {
        vector_loop(ke, true, low, high, y, z);
        scalar_loop(ke, true, from, low, high, to, y, z);
    }
    ke->carrying_rows = false;
    if (ke->row_carries.len) carry_row_done(ke, row);
}

/* Cells [from, to) of row (y, z); `row` numbers its partial results. */
static void emit_row(KE *ke, LLVMValueRef from, LLVMValueRef to, LLVMValueRef y, LLVMValueRef z,
                     LLVMValueRef row) {
    Emit *e = ke->e;
    const Kernel *k = ke->k;
    for (uint32_t i = 0; i < k->reductions.len; i++) {
        Total *t = &ke->totals[i];
        double start = reduction_start(k->reductions.data[i].op);
        LLVMBuildStore(e->b, emit_number(e, LLVMVectorType(t->type, e->lanes), start), t->vector);
        LLVMBuildStore(e->b, LLVMConstReal(t->type, start), t->scalar);
    }
    LLVMValueRef low = emit_max(e, from, emit_i64(e, k->low[0]));
    LLVMValueRef high = emit_min(e, to, ke_add(ke, ke_extent(ke, 0), -(int64_t)k->high[0]));
    LLVMValueRef room = LLVMBuildICmp(e->b, LLVMIntSGE, LLVMBuildNSWSub(e->b, high, low, ""),
                                      emit_i64(e, e->lanes), "");
    low = LLVMBuildSelect(e->b, room, low, to, "");
    high = LLVMBuildSelect(e->b, room, high, to, "");
    LLVMValueRef halves = resample_halves(ke);
    if ((k->low[1] | k->low[2] | k->high[1] | k->high[2]) || ke->ends_done || halves) {
        LLVMBasicBlockRef a = emit_block(e, "inner"), b = emit_block(e, "outer"),
                          join = emit_block(e, "join");
        LLVMValueRef inner = is_inner(ke, y, z);
        if (ke->ends_done) inner = LLVMBuildAnd(e->b, inner, is_long(ke), "");
        if (halves) inner = LLVMBuildAnd(e->b, inner, halves, "");
        ke->halves = halves != NULL;
        LLVMBuildCondBr(e->b, inner, a, b);
        LLVMPositionBuilderAtEnd(e->b, a);
        inner_row(ke, from, low, high, to, y, z, row);
        ke->halves = false;
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

/* The pointers of copy ke->copy, from those of the first. */
static void move_on(KE *ke, LLVMValueRef *fields, LLVMValueRef *outputs) {
    Emit *e = ke->e;
    const KernelPart *p = ke->part;
    for (uint32_t i = 0; i < ke->k->fields.len; i++) {
        LLVMValueRef by = LLVMBuildNSWMul(e->b, ke->copy, emit_i64(e, p->field_step[i]), "");
        uint32_t grid = ke->k->fields.data[i].grid;
        LLVMValueRef channel = grid ? ke->grids[grid].strides.channel : ke->read_strides[i].channel;
        if (!p->row[i]) by = LLVMBuildNSWMul(e->b, by, channel, "");
        fields[i] = p->field_step[i] ? ke_gep(ke, ke->fields[i], by) : ke->fields[i];
    }
    for (uint32_t i = 0; i < ke->k->written.len; i++) {
        LLVMValueRef by = LLVMBuildNSWMul(e->b, ke->copy, emit_i64(e, p->output_step[i]), "");
        outputs[i] = ke_gep(ke, ke->outputs[i],
                            LLVMBuildNSWMul(e->b, by, ke->written_strides[i].channel, ""));
    }
}

/* A row of every copy. */
static void emit_copies(KE *ke, LLVMValueRef from, LLVMValueRef to, LLVMValueRef y, LLVMValueRef z,
                        LLVMValueRef row) {
    Emit *e = ke->e;
    Counting copies;
    if (ke->part->count == 1) {
        emit_row(ke, from, to, y, z, row);
        return;
    }
    LLVMValueRef *fields = ke->fields, *outputs = ke->outputs;
    LLVMValueRef *moved = ARENA_ARRAY(e->arena, LLVMValueRef, ke->k->fields.len + 1),
                 *moved_outputs = ARENA_ARRAY(e->arena, LLVMValueRef, ke->k->written.len + 1);
    ke->copy = emit_loop_begin(e, &copies, emit_i64(e, 0), emit_i64(e, ke->part->count),
                               emit_i64(e, 1), "copy");
    move_on(ke, moved, moved_outputs);
    ke->fields = moved;
    ke->outputs = moved_outputs;
    emit_row(ke, from, to, y, z, row);
    ke->fields = fields;
    ke->outputs = outputs;
    ke->copy = NULL;
    emit_loop_end(e, &copies);
}

/* Work of the units [begin, end): rows in 2D; blocks of rows of some planes in 3D; blocks of cells in 1D. */
static void emit_units(KE *ke, LLVMValueRef begin, LLVMValueRef end) {
    Emit *e = ke->e;
    LLVMValueRef zero = emit_i64(e, 0), one = emit_i64(e, 1), n = ke_extent(ke, 0), from = zero,
                 to = n;
    Counting strips, units, planes, rows;
    if (ke->k->rank == 2) {
        from = ke->from;
        to = ke->to;
    }
    to = carry_strip_begin(ke, &strips, &from, to);
    LLVMValueRef u = emit_loop_begin(e, &units, begin, end, one, "unit");
    if (ke->k->rank == 1) {
        from = LLVMBuildNSWMul(e->b, u, emit_i64(e, BLOCK_X), "");
        emit_copies(ke, from, emit_min(e, n, ke_add(ke, from, BLOCK_X)), zero, zero, u);
    } else if (ke->k->rank == 2) {
        emit_copies(ke, from, to, u, zero, u);
    } else {
        LLVMValueRef by = emit_word(e, e->i64, ke->args, ke->words.block_y, "block_y");
        LLVMValueRef bz = emit_word(e, e->i64, ke->args, ke->words.block_z, "block_z");
        LLVMValueRef ny = ke_extent(ke, 1), nz = ke_extent(ke, 2);
        LLVMValueRef layers =
            LLVMBuildSDiv(e->b, ke_add(ke, LLVMBuildNSWAdd(e->b, nz, bz, ""), -1), bz, "");
        LLVMValueRef y0 = LLVMBuildNSWMul(e->b, LLVMBuildSDiv(e->b, u, layers, ""), by, "");
        LLVMValueRef z0 = LLVMBuildNSWMul(e->b, LLVMBuildSRem(e->b, u, layers, ""), bz, "");
        LLVMValueRef y1 = emit_min(e, ny, LLVMBuildNSWAdd(e->b, y0, by, ""));
        if (ke->in_parts) {
            y0 = emit_max(e, y0, ke->from);
            y1 = emit_min(e, y1, ke->to);
        }
        LLVMValueRef z1 = emit_min(e, nz, LLVMBuildNSWAdd(e->b, z0, bz, ""));
        LLVMValueRef z = emit_loop_begin(e, &planes, z0, z1, one, "z");
        LLVMValueRef y = emit_loop_begin(e, &rows, y0, y1, one, "y");
        emit_copies(ke, from, to, y, z,
                    LLVMBuildNSWAdd(e->b, LLVMBuildNSWMul(e->b, z, ny, ""), y, ""));
        emit_loop_end(e, &rows);
        emit_loop_end(e, &planes);
    }
    emit_loop_end(e, &units);
    carry_strip_end(ke, &strips);
}

/* ---- arguments ------------------------------------------------------------------------------- */

static void load_strides(Emit *e, LLVMValueRef grid, uint32_t rank, Strides *s) {
    for (uint32_t a = 1; a < rank; a++)
        s->stride[a] = emit_word(e, e->i64, grid, GRID_STRIDE + a, "stride");
    s->channel = emit_word(e, e->i64, grid, GRID_CHANNEL, "channel");
}

static void load_grid(KE *ke, uint32_t number) {
    Emit *e = ke->e;
    GridValues *g = &ke->grids[number];
    LLVMValueRef p = emit_word(e, e->ptr, ke->args, ke->words.grids + number, "grid");
    for (uint32_t a = 0; a < ke->k->grid_rank[number]; a++) {
        g->extent[a] = emit_word(e, e->i64, p, GRID_EXTENT + a, "extent");
        g->spacing[a] = emit_word(e, e->f64, p, GRID_SPACING + a, "spacing");
        g->origin[a] = emit_word(e, e->f64, p, GRID_ORIGIN + a, "origin");
    }
    load_strides(e, p, ke->k->grid_rank[number], &g->strides);
}

/* The lines that are computed, and by field and output the grid whose strides it has: those of the part, where there is one. */
static void load_part(KE *ke, LLVMValueRef *strides) {
    Emit *e = ke->e;
    const Kernel *k = ke->k;
    uint32_t count = k->fields.len + k->written.len, below = k->rank < 2 ? 0 : k->rank - 2;
    LLVMValueRef grid = emit_word(e, e->ptr, ke->args, ke->words.grids, "grid");
    ke->from = emit_i64(e, 0);
    ke->to = ke_extent(ke, below);
    for (uint32_t i = 0; i < count; i++) strides[i] = grid;
    if (!ke->in_parts) return;
    LLVMValueRef part = emit_word(e, e->ptr, ke->args, ke->words.part, "part");
    LLVMBasicBlockRef whole = LLVMGetInsertBlock(e->b), some = emit_block(e, "some"),
                      go = emit_block(e, "go");
    LLVMBuildCondBr(e->b, LLVMBuildIsNull(e->b, part, ""), go, some);
    LLVMPositionBuilderAtEnd(e->b, some);
    LLVMValueRef of_part[2 + PDN_PART_FIELDS], *all[2] = {&ke->from, &ke->to};
    for (uint32_t i = 0; i < 2; i++) of_part[i] = emit_word(e, e->i64, part, i, "line");
    for (uint32_t i = 0; i < count; i++)
        of_part[2 + i] = emit_word(e, e->ptr, part, 2 + i, "strides");
    LLVMBuildBr(e->b, go);
    LLVMPositionBuilderAtEnd(e->b, go);
    for (uint32_t i = 0; i < 2 + count; i++) {
        LLVMValueRef *value = i < 2 ? all[i] : &strides[i - 2],
                     phi = LLVMBuildPhi(e->b, LLVMTypeOf(*value), "");
        LLVMAddIncoming(phi, (LLVMValueRef[]){*value, of_part[i]},
                        (LLVMBasicBlockRef[]){whole, some}, 2);
        *value = phi;
    }
}

static void load_fields(KE *ke) {
    Emit *e = ke->e;
    const Kernel *k = ke->k;
    LLVMValueRef *strides = ARENA_ARRAY(e->arena, LLVMValueRef, k->fields.len + k->written.len + 1);
    ke->fields = ARENA_ARRAY(e->arena, LLVMValueRef, k->fields.len + 1);
    ke->outputs = ARENA_ARRAY(e->arena, LLVMValueRef, k->written.len + 1);
    ke->read_strides = ARENA_ARRAY(e->arena, Strides, k->fields.len + 1);
    ke->written_strides = ARENA_ARRAY(e->arena, Strides, k->written.len + 1);
    load_part(ke, strides);
    for (uint32_t i = 0; i < k->fields.len; i++) {
        ke->fields[i] = emit_word(e, e->ptr, ke->args, ke->words.fields + i, "field");
        ke->read_strides[i] = ke->grids[0].strides;
        if (ke->in_parts) load_strides(e, strides[i], k->rank, &ke->read_strides[i]);
    }
    for (uint32_t i = 0; i < k->written.len; i++) {
        ke->outputs[i] = emit_word(e, e->ptr, ke->args, ke->words.outputs + i, "out");
        ke->written_strides[i] = ke->grids[0].strides;
        if (ke->in_parts)
            load_strides(e, strides[k->fields.len + i], k->rank, &ke->written_strides[i]);
    }
}

static void load_arguments(KE *ke) {
    Emit *e = ke->e;
    const Kernel *k = ke->k;
    ke->grids = ARENA_ARRAY(e->arena, GridValues, k->grids);
    ke->scalars = ARENA_ARRAY(e->arena, LLVMValueRef, k->scalars + 1);
    ke->reciprocals = ARENA_ARRAY(e->arena, LLVMValueRef, k->scalars + 1);
    for (uint32_t i = 0; i < k->grids; i++) load_grid(ke, i);
    for (uint32_t i = 0; i < k->scalars; i++)
        ke->scalars[i] = emit_word(e, e->real, ke->args, ke->words.scalars + i, "scalar");
    ke->partials = emit_word(e, e->ptr, ke->args, ke->words.partials, "partials");
    ke->rows = emit_word(e, e->i64, ke->args, ke->words.rows, "rows");
    if (e->machine.streams) {
        LLVMValueRef flag = emit_word(e, e->i64, ke->args, ke->words.stream, "stream");
        ke->stream = LLVMBuildICmp(e->b, LLVMIntNE, flag, emit_i64(e, 0), "");
        LLVMValueRef rest =
            LLVMBuildAnd(e->b, ke_extent(ke, 0), emit_i64(e, (int64_t)e->lanes - 1), "");
        ke->even = LLVMBuildICmp(e->b, LLVMIntEQ, rest, emit_i64(e, 0), "");
    }
    load_fields(ke); /* the last, as it may end the entry block */
}

/* Code of a part, for the units of the launch. */
static void emit_part(KE *ke, const Kernel *whole, const KernelPart *part, LLVMValueRef begin,
                      LLVMValueRef end) {
    Emit *e = ke->e;
    Kernel k = *whole;
    k.outputs = part->outputs;
    k.reductions = part->reductions;
    ke->k = &k;
    ke->part = part;
    ke->totals = ARENA_ARRAY(e->arena, Total, k.reductions.len + 1);
    ke->done = k.reductions.len ? emit_variable(e, e->i64, "done") : NULL;
    for (uint32_t i = 0; i < k.reductions.len; i++) {
        Total *t = &ke->totals[i];
        t->type = k.reductions.data[i].op == OP_SUM ? e->f64 : e->real;
        t->vector = emit_variable(e, LLVMVectorType(t->type, e->lanes), "total");
        t->scalar = emit_variable(e, t->type, "total");
    }
    carry_find(ke);
    emit_units(ke, begin, end);
    forget(ke);
    ke->k = whole;
}

LLVMValueRef emit_kernel(Emit *e, const Kernel *k, uint32_t number) {
    char *name = arena_format(e->arena, "pdn_kernel_%u", number);
    LLVMValueRef f = emit_function(e, name, e->kernel_type, false);
    KE ke = {.e = e,
             .k = k,
             .words = kernel_words(k),
             .args = LLVMGetParam(f, 0),
             .in_parts = e->use[number].in_parts};
    ke.many_rows = ke.in_parts || e->use[number].alone;
    e->in_kernel = true;
    e->estimated = false;
    ke.ends_done = ends_fold(&ke);
    LLVMPositionBuilderAtEnd(e->b, LLVMAppendBasicBlockInContext(e->context, f, "entry"));
    load_arguments(&ke);
    KernelParts parts = kernel_parts(k, e->arena);
    for (uint32_t i = 0; i < parts.len; i++)
        emit_part(&ke, k, parts.data[i], LLVMGetParam(f, 1), LLVMGetParam(f, 2));
    kernel_parts_free(&parts);
    if (ke.stream && k->outputs.len)
        LLVMBuildFence(e->b, LLVMAtomicOrderingSequentiallyConsistent, false, "");
    LLVMBuildRetVoid(e->b);
    emit_flush(e, f);
    e->in_kernel = false;
    forget(&ke);
    vec_free(&ke.values);
    vec_free(&ke.carries);
    vec_free(&ke.row_carries);
    for (uint32_t a = 0; a < MAX_RANK; a++) vec_free(&ke.axes[a]);
    return f;
}
