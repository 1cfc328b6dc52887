/* Stacks: their frames, zeros, and what is added to a frame. Zeros that become a result are in its buffer from the beginning. */
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

/* One number, or a vector of them. */
typedef void Step(Emit *e, LLVMTypeRef type, LLVMValueRef to, LLVMValueRef from);

/* to[i] and from[i] for all i < count, whole vectors and then the rest. */
static void each_number(Emit *e, Step *step, LLVMValueRef to, LLVMValueRef from,
                        LLVMValueRef count) {
    LLVMTypeRef types[2] = {LLVMVectorType(e->real, e->lanes), e->real};
    LLVMValueRef begin = emit_i64(e, 0),
                 whole = LLVMBuildAnd(e->b, count, emit_i64(e, -(int64_t)e->lanes), "");
    for (int k = 0; k < 2; k++) {
        Counting c;
        LLVMValueRef end = k ? count : whole;
        LLVMValueRef i = emit_loop_begin(e, &c, begin, end, emit_i64(e, k ? 1 : e->lanes), "i");
        step(e, types[k], number_at(e, to, i), from ? number_at(e, from, i) : NULL);
        emit_loop_end(e, &c);
        begin = end;
    }
}

static LLVMValueRef load_number(Emit *e, LLVMTypeRef type, LLVMValueRef p) {
    LLVMValueRef v = LLVMBuildLoad2(e->b, type, p, "");
    LLVMSetAlignment(v, e->size);
    return v;
}

static void zero_step(Emit *e, LLVMTypeRef type, LLVMValueRef to, LLVMValueRef from) {
    (void)from;
    LLVMSetAlignment(LLVMBuildStore(e->b, LLVMConstNull(type), to), e->size);
}

static void add_step(Emit *e, LLVMTypeRef type, LLVMValueRef to, LLVMValueRef from) {
    LLVMValueRef more = load_number(e, type, from);
    LLVMValueRef sum = LLVMBuildFAdd(e->b, load_number(e, type, to), more, "");
    LLVMSetAlignment(LLVMBuildStore(e->b, sum, to), e->size);
}

/* ---- where stacks come from ------------------------------------------------------------------------ */

const HLoop *loop_of_stack(const HBlock *block, HReg reg, HReg *init) {
    for (uint32_t i = 0; i < block->code.len; i++) {
        const HInstr *in = &block->code.data[i];
        if (!host_is_loop(in->kind)) continue;
        const HLoop *l = in->loop;
        *init = NONE;
        for (uint32_t k = 0; l->init && k < l->states; k++)
            if (l->param[k] == reg || l->result[k] == reg) *init = l->init[k];
        for (uint32_t k = 0; k < l->collected; k++)
            if (l->stack[k] == reg) return l;
        if (*init != NONE) return l;
        const HLoop *inner = loop_of_stack(l->body, reg, init);
        if (inner) return inner;
    }
    return NULL;
}

const HInstr *stack_zeros(const HFunc *f, HReg reg) {
    for (uint32_t steps = 0; steps < f->regs.len; steps++) {
        const HInstr *in = host_maker(&f->body, reg);
        HReg init = NONE;
        if (in && in->kind == H_ZEROSTACK) return in;
        if (!in && !loop_of_stack(&f->body, reg, &init)) return NULL;
        if (in && in->kind == H_SCATTER) init = in->args[0];
        if (init == NONE) return NULL;
        reg = init;
    }
    return NULL;
}

uint32_t stack_result(const HFunc *f, const HInstr *zeros) {
    for (uint32_t i = 0; i < f->results.len; i++)
        if (f->regs.data[f->results.data[i]].type.kind == TYPE_STACK &&
            stack_zeros(f, f->results.data[i]) == zeros)
            return i;
    return NONE;
}

/* ---- zeros, and what is added ---------------------------------------------------------------------- */

void emit_zerostack(HE *h, const HInstr *in) {
    Emit *e = h->e;
    Type t = h->f->regs.data[in->dst].type;
    LLVMValueRef frames = h->regs[in->args[0]].frames;
    LLVMValueRef bytes = mul(e, frames, field_bytes(e, h->grids, t.grid, t.channels));
    uint32_t result = stack_result(h->f, in);
    LLVMValueRef base = result == NONE ? LLVMBuildLoad2(e->b, e->ptr, h->top, "stack")
                                       : LLVMGetParam(h->function, 2 + h->f->params.len + result);
    if (result == NONE) LLVMBuildStore(e->b, bytes_on(e, base, slot_bytes(e, bytes)), h->top);
    each_number(e, zero_step, base, NULL, numbers_in(e, bytes));
    h->regs[in->dst] = (Reg){base, frames};
}

/* No kernel: those compute some cells of a row twice, which only does where nothing is added. */
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
    each_number(e, add_step, to, value,
                numbers_in(e, field_bytes(e, h->grids, t.grid, t.channels)));
}
