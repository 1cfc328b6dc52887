/* aot: what the files of standalone kernels share. Private to compiler/llvm. */
#ifndef PDN_LLVM_AOT_H
#define PDN_LLVM_AOT_H

#include "compiler/llvm/emit_host.h"

/* What stands behind the inputs of the kernel's programs. */
typedef struct Inside {
    const CodeBuild *build;
    uint32_t count;     /* of the module's inputs */
    bool swapped;       /* the target's order of bytes is not this machine's */
    LLVMValueRef *data; /* by input: constant data of the kernel, once it is there */
} Inside;

/* The data of an input as constant data of the kernel. */
LLVMValueRef inside_data(Emit *e, uint32_t input);
/* The input that register `reg` of f is, or is a frame of, if its data is inside the kernel; -1: no such. */
int64_t inside_input(const Inside *inside, const HFunc *f, HReg reg);
/* H_CONVNORM of weights that are inside: a table of the norms, computed now. */
LLVMValueRef inside_norm(HE *h, const HInstr *in);

/* Does a grid of the module have a size that is chosen when the kernel runs? */
bool aot_needs_size(const Module *m);
/* The C header, for people, too. */
void aot_header(const Plan *plan, const Module *m, const CodeBuild *b, Text *out);

#endif
