/* Results below the least normal number are 0 in kernels: where they are many, as where something dies out, processors of x86-64
 * take some hundred cycles for each. The register that says so is the caller's, and gets back what it had.
 *
 * Not so in a kernel that divides by estimates of a reciprocal: that of a number above 2^126 is such a result. */
#include "compiler/llvm/emit.h"

#include <string.h>

enum { FLUSH = 0x8000 }; /* FTZ of MXCSR */

static void put_register(Emit *e, const char *name, LLVMValueRef variable) {
    unsigned id = LLVMLookupIntrinsicID(name, strlen(name));
    LLVMValueRef f = LLVMGetIntrinsicDeclaration(e->module, id, NULL, 0);
    LLVMBuildCall2(e->b, LLVMIntrinsicGetType(e->context, id, NULL, 0), f, &variable, 1, "");
}

void emit_flush(Emit *e, LLVMValueRef f) {
    if (!e->machine.flushes || e->estimated) return;
    LLVMValueRef old = emit_variable(e, e->i32, "old"), now = emit_variable(e, e->i32, "flush");
    LLVMPositionBuilderBefore(e->b, LLVMGetBasicBlockTerminator(LLVMGetEntryBasicBlock(f)));
    put_register(e, "llvm.x86.sse.stmxcsr", old);
    LLVMValueRef bits = LLVMBuildOr(e->b, LLVMBuildLoad2(e->b, e->i32, old, ""),
                                    LLVMConstInt(e->i32, FLUSH, false), "");
    LLVMBuildStore(e->b, bits, now);
    put_register(e, "llvm.x86.sse.ldmxcsr", now);
    for (LLVMBasicBlockRef b = LLVMGetFirstBasicBlock(f); b; b = LLVMGetNextBasicBlock(b)) {
        LLVMValueRef last = LLVMGetBasicBlockTerminator(b);
        if (!LLVMIsAReturnInst(last)) continue;
        LLVMPositionBuilderBefore(e->b, last);
        put_register(e, "llvm.x86.sse.ldmxcsr", old);
    }
}
