/* Launches of kernels: their arguments, what they reduce to. */
#include "compiler/llvm/emit_host.h"

enum {
    ROW_BYTES = 262144,      /* of the second-level cache, for the planes of a block */
    STREAM_BYTES = 40 << 20, /* a pass over more than this finds nothing in the caches again */
    STREAM_ROW = 1024,       /* shorter rows are not worth it: their ends are written twice */
};

/* Units that a launch over the grid is cut into, and rows of partial results. */
static LLVMValueRef block_y(Emit *e, const Kernel *k, LLVMValueRef g) {
    LLVMValueRef nx = emit_word(e, e->i64, g, GRID_EXTENT, "nx");
    int64_t planes = (int64_t)(k->low[2] + k->high[2] + 1) * k->loads + k->written.len;
    LLVMValueRef row = mul(e, nx, emit_i64(e, planes * e->size));
    LLVMValueRef rows =
        LLVMBuildSDiv(e->b, emit_i64(e, 2 * ROW_BYTES), emit_max(e, row, emit_i64(e, 1)), "");
    return emit_max(e, rows, emit_i64(e, 8));
}

void put_word(HE *h, uint32_t word, LLVMValueRef value) {
    LLVMValueRef i = emit_i64(h->e, word);
    LLVMBuildStore(h->e->b, value, LLVMBuildInBoundsGEP2(h->e->b, h->e->i64, h->words, &i, 1, ""));
}

LLVMValueRef partials_of(HE *h, GridId grid) {
    for (uint32_t i = 0; i < h->f->partials.len; i++)
        if (h->f->partials.data[i].grid == grid) return h->partials[i];
    return LLVMConstNull(h->e->ptr);
}

void launch(HE *h, LLVMValueRef function, LLVMValueRef count, LLVMValueRef work) {
    Emit *e = h->e;
    if (e->standalone)
        LLVMBuildCall2(e->b, e->kernel_type, function,
                       (LLVMValueRef[]){h->words, emit_i64(e, 0), count}, 3, "");
    else
        host_call(h, HOST_LAUNCH, e->none, (LLVMValueRef[]){NULL, function, h->words, count, work},
                  5);
}

/* Puts the arguments of kernel `number` into h->words; returns what there is to do. */
static Units fill_words(HE *h, uint32_t number, const GridId *grids, const LLVMValueRef *fields,
                        const LLVMValueRef *outputs, const LLVMValueRef *scalars) {
    Emit *e = h->e;
    const Kernel *k = e->plan->kernels.data[number];
    KernelWords w = kernel_words(k);
    LLVMValueRef g = grid_at(e, h->grids, grids[0]), count;
    for (uint32_t i = 0; i < k->grids; i++)
        put_word(h, w.grids + i, grid_at(e, h->grids, grids[i]));
    for (uint32_t i = 0; i < k->fields.len; i++) put_word(h, w.fields + i, fields[i]);
    for (uint32_t i = 0; i < k->written.len; i++) put_word(h, w.outputs + i, outputs[i]);
    if (e->use[number].in_parts) put_word(h, w.part, LLVMConstNull(e->ptr));
    for (uint32_t i = 0; i < k->scalars; i++) put_word(h, w.scalars + i, scalars[i]);
    put_word(h, w.partials, partials_of(h, grids[0]));
    LLVMValueRef rows = rows_of(e, h->grids, grids[0]);
    put_word(h, w.rows, rows);
    uint32_t moved = k->loads + k->outputs.len;
    LLVMValueRef cells = emit_cells(e, g, e->plan->grid_rank[grids[0]]);
    LLVMValueRef bytes = mul(e, cells, emit_i64(e, (int64_t)moved * e->size));
    LLVMValueRef stream = LLVMBuildICmp(e->b, LLVMIntSGT, bytes, emit_i64(e, STREAM_BYTES), "");
    LLVMValueRef row = emit_word(e, e->i64, g, GRID_EXTENT, "nx");
    LLVMValueRef wide = LLVMBuildICmp(e->b, LLVMIntSGE, row, emit_i64(e, STREAM_ROW / e->size), "");
    stream = LLVMBuildAnd(e->b, stream, wide, "");
    put_word(h, w.stream, LLVMBuildZExt(e->b, stream, e->i64, ""));
    if (k->rank == 3) {
        LLVMValueRef by = block_y(e, k, g), bz = emit_i64(e, BLOCK_Z);
        put_word(h, w.block_y, by);
        put_word(h, w.block_z, bz);
        count = mul(e, ceil_div(e, emit_word(e, e->i64, g, GRID_EXTENT + 1, "ny"), by),
                    ceil_div(e, emit_word(e, e->i64, g, GRID_EXTENT + 2, "nz"), bz));
    } else {
        count = rows;
    }
    return (Units){count, e->standalone ? NULL : work_kernel(e, k, cells, rows)};
}

void launch_kernel(HE *h, uint32_t number, const GridId *grids, const LLVMValueRef *fields,
                   const LLVMValueRef *outputs, const LLVMValueRef *scalars) {
    Units units = fill_words(h, number, grids, fields, outputs, scalars);
    launch(h, h->e->kernels[number], units.count, units.work);
}

LLVMValueRef field_place(HE *h, HReg reg) {
    const HRegData *r = &h->f->regs.data[reg];
    if (r->place == PLACE_SLOT) h->regs[reg].value = h->slots[r->place_index];
    return h->regs[reg].value; /* POOL and RESULT were set where they were decided */
}

Units fill_launch(HE *h, const HInstr *in) {
    Emit *e = h->e;
    const Kernel *k = e->plan->kernels.data[in->index];
    LLVMValueRef *v =
        ARENA_ARRAY(e->arena, LLVMValueRef, k->fields.len + k->written.len + k->scalars + 1);
    LLVMValueRef *outputs = v + k->fields.len, *scalars = outputs + k->written.len;
    for (uint32_t i = 0; i < k->fields.len; i++) v[i] = h->regs[in->fields[i]].value;
    for (uint32_t i = 0; i < k->written.len; i++) outputs[i] = field_place(h, in->outputs[i]);
    for (uint32_t i = 0; i < k->scalars; i++)
        scalars[i] = in->scalars[i] == NONE ? to_real(e, constant_f64(h, in->scalar_constant[i]))
                                            : h->regs[in->scalars[i]].value;
    return fill_words(h, in->index, in->grids, v, outputs, scalars);
}

void emit_totals(HE *h, const HInstr *in) {
    Emit *e = h->e;
    const Kernel *k = e->plan->kernels.data[in->index];
    LLVMValueRef rows = rows_of(e, h->grids, in->grids[0]);
    for (uint32_t i = 0; i < k->reductions.len; i++) {
        LLVMValueRef f = emit_tree(e, k->reductions.data[i].op), at = mul(e, rows, emit_i64(e, i));
        LLVMValueRef x =
            LLVMBuildInBoundsGEP2(e->b, e->f64, partials_of(h, in->grids[0]), &at, 1, "");
        LLVMValueRef sum =
            LLVMBuildCall2(e->b, LLVMGlobalGetValueType(f), f, (LLVMValueRef[]){x, rows}, 2, "");
        h->regs[in->reductions[i]].value = to_real(e, sum);
    }
}

void emit_launch(HE *h, const HInstr *in) {
    Units units = fill_launch(h, in);
    launch(h, h->e->kernels[in->index], units.count, units.work);
    emit_totals(h, in);
}
