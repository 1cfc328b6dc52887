/* What is inside a standalone kernel: weights, fields from files, and norms of the weights. */
#include "compiler/llvm/aot.h"

static LLVMValueRef constant(Emit *e, LLVMValueRef value, const char *name) {
    LLVMValueRef global = LLVMAddGlobal(e->module, LLVMTypeOf(value), name);
    LLVMSetInitializer(global, value);
    LLVMSetGlobalConstant(global, true);
    LLVMSetLinkage(global, LLVMInternalLinkage);
    LLVMSetAlignment(global, 64);
    /* numbers that the optimiser cannot see: it would compute functions of them in another arithmetic */
    LLVMSetExternallyInitialized(global, true);
    return global;
}

LLVMValueRef inside_data(Emit *e, uint32_t input) {
    Inside *inside = e->inside;
    const CodeInput *in = &inside->build->inputs[input];
    if (inside->data[input]) return inside->data[input];
    const char *bytes = in->data;
    if (inside->swapped) {
        char *turned = arena_alloc(e->arena, in->bytes + 1);
        for (size_t i = 0; i < in->bytes; i++)
            turned[i] = bytes[i / e->size * e->size + (e->size - 1 - i % e->size)];
        bytes = turned;
    }
    LLVMValueRef data = LLVMConstStringInContext2(e->context, bytes, in->bytes, true);
    return inside->data[input] = constant(e, data, "pdn_inside");
}

int64_t inside_input(const Inside *inside, const HFunc *f, HReg reg) {
    const HInstr *in = host_maker(&f->body, reg);
    if (in && in->kind == H_FRAME) in = host_maker(&f->body, in->args[0]);
    bool there = in && in->kind == H_INPUT && in->index < inside->count;
    return there && inside->build->inputs[in->index].place < 0 ? (int64_t)in->index : -1;
}

LLVMValueRef inside_norm(HE *h, const HInstr *in) {
    Emit *e = h->e;
    const CodeBuild *b = e->inside->build;
    uint32_t input = (uint32_t)inside_input(e->inside, h->f, in->args[0]);
    const CodeInput *c = &b->inputs[input];
    const Conv *conv = &e->plan->convs.data[in->index];
    PdnConvShape shape = conv_shape(conv);
    uint32_t frames = c->frames < 0 ? 1 : (uint32_t)c->frames;
    int64_t bytes = conv_weights(conv) * e->size;
    LLVMValueRef *norms = ARENA_ARRAY(e->arena, LLVMValueRef, frames);
    for (uint32_t i = 0; i < frames; i++) {
        union {
            float f32;
            double f64;
        } norm;
        b->conv_norm(&shape, e->plan->f64 ? PDN_F64 : PDN_F32,
                     (const char *)c->data + (int64_t)i * bytes, NULL, &norm);
        norms[i] = emit_real(e, e->plan->f64 ? norm.f64 : (double)norm.f32);
    }
    LLVMValueRef table = constant(e, LLVMConstArray2(e->real, norms, frames), "pdn_norms");
    LLVMValueRef from = LLVMBuildPtrToInt(e->b, inside_data(e, input), e->i64, "");
    LLVMValueRef at = LLVMBuildPtrToInt(e->b, h->regs[in->args[0]].value, e->i64, "");
    LLVMValueRef i =
        LLVMBuildSDiv(e->b, LLVMBuildSub(e->b, at, from, ""), emit_i64(e, bytes), "frame");
    return LLVMBuildLoad2(e->b, e->real, LLVMBuildInBoundsGEP2(e->b, e->real, table, &i, 1, ""),
                          "norm");
}
