/* aot: what the files of standalone kernels share. Private to compiler/llvm. */
#ifndef PDN_LLVM_AOT_H
#define PDN_LLVM_AOT_H

#include "compiler/kernel/plan_ir.h"
#include "compiler/llvm/code.h"

/* Does a grid of the module have a size that is chosen when the kernel runs? */
bool aot_needs_size(const Module *m);
/* The C header, for people, too. */
void aot_header(const Plan *plan, const Module *m, const CodeBuild *b, Text *out);

#endif
