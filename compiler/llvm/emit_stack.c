/* Stacks: their frames, zeros, and what is added to a frame. */
#include "compiler/llvm/emit_host.h"

/* Where frame `i` of a stack is; negative numbers count from the end, others than its own end the run. */
static LLVMValueRef frame_at(HE *h, const HInstr *in, Type t) {
    Emit *e = h->e;
    Reg stack = h->regs[in->args[0]];
    LLVMValueRef i = to_f64(e, h->regs[in->args[1]].value),
                 frames = LLVMBuildSIToFP(e->b, stack.frames, e->f64, "");
    LLVMValueRef zero = LLVMConstReal(e->f64, 0);
    i = LLVMBuildSelect(e->b, LLVMBuildFCmp(e->b, LLVMRealOLT, i, zero, ""),
                        LLVMBuildFAdd(e->b, i, frames, ""), i, "");
    LLVMValueRef inside = LLVMBuildAnd(e->b, LLVMBuildFCmp(e->b, LLVMRealOGE, i, zero, ""),
                                       LLVMBuildFCmp(e->b, LLVMRealOLT, i, frames, ""), "");
    return_if(h, LLVMBuildNot(e->b, inside, ""), status(e, PDN_ERROR_ARGUMENT));
    LLVMValueRef bytes = field_bytes(e, h->grids, t.grid, t.channels);
    return bytes_on(e, stack.value, mul(e, to_integer(e, i), bytes));
}

void emit_frame(HE *h, const HInstr *in) {
    Emit *e = h->e;
    Type t = h->f->regs.data[in->dst].type;
    LLVMValueRef at = frame_at(h, in, t);
    h->regs[in->dst].value = t.kind == TYPE_SCALAR ? LLVMBuildLoad2(e->b, e->real, at, "") : at;
}

/* Numbers of so many bytes. */
static LLVMValueRef numbers_in(Emit *e, LLVMValueRef bytes) {
    return LLVMBuildSDiv(e->b, bytes, emit_i64(e, e->size), "");
}

static LLVMValueRef number_at(Emit *e, LLVMValueRef base, LLVMValueRef i) {
    return LLVMBuildInBoundsGEP2(e->b, e->real, base, &i, 1, "");
}

void emit_zerostack(HE *h, const HInstr *in) {
    Emit *e = h->e;
    Type t = h->f->regs.data[in->dst].type;
    LLVMValueRef frames = h->regs[in->args[0]].frames;
    LLVMValueRef bytes = mul(e, frames, field_bytes(e, h->grids, t.grid, t.channels));
    LLVMValueRef base = LLVMBuildLoad2(e->b, e->ptr, h->top, "stack");
    LLVMBuildStore(e->b, bytes_on(e, base, slot_bytes(e, bytes)), h->top);
    Counting c;
    LLVMValueRef i =
        emit_loop_begin(e, &c, emit_i64(e, 0), numbers_in(e, bytes), emit_i64(e, 1), "i");
    LLVMBuildStore(e->b, emit_real(e, 0), number_at(e, base, i));
    emit_loop_end(e, &c);
    h->regs[in->dst] = (Reg){base, frames};
}

/* Number by number: kernels compute some cells of a row twice, which only does where nothing is added. */
void emit_scatter(HE *h, const HInstr *in) {
    Emit *e = h->e;
    Type t = h->f->regs.data[in->args[2]].type;
    LLVMValueRef to = frame_at(h, in, t), value = h->regs[in->args[2]].value;
    h->regs[in->dst] = h->regs[in->args[0]];
    if (t.kind == TYPE_SCALAR) {
        LLVMValueRef sum = LLVMBuildFAdd(e->b, LLVMBuildLoad2(e->b, e->real, to, ""), value, "");
        LLVMBuildStore(e->b, sum, to);
        return;
    }
    Counting c;
    LLVMValueRef count = numbers_in(e, field_bytes(e, h->grids, t.grid, t.channels));
    LLVMValueRef i = emit_loop_begin(e, &c, emit_i64(e, 0), count, emit_i64(e, 1), "i");
    LLVMValueRef at = number_at(e, to, i),
                 more = LLVMBuildLoad2(e->b, e->real, number_at(e, value, i), "");
    LLVMBuildStore(e->b, LLVMBuildFAdd(e->b, LLVMBuildLoad2(e->b, e->real, at, ""), more, ""), at);
    emit_loop_end(e, &c);
}
