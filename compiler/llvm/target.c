/* Targets, the pass pipeline, and object files. */
#include "compiler/llvm/target.h"

#include <llvm-c/Core.h>
#include <llvm-c/Target.h>
#include <llvm-c/Transforms/PassBuilder.h>

#include <stdio.h>
#include <string.h>

/* Those that kernels are tested for, and this machine's: LLVM has others, whose back ends end the process where they cannot
 * make code for a host program. */
void target_start_all(void) {
#define START(name)                                                                                \
    do {                                                                                           \
        LLVMInitialize##name##TargetInfo();                                                        \
        LLVMInitialize##name##Target();                                                            \
        LLVMInitialize##name##TargetMC();                                                          \
        LLVMInitialize##name##AsmPrinter();                                                        \
    } while (0)
    START(X86);
    START(AArch64);
    START(WebAssembly);
#undef START
    LLVMInitializeNativeTarget();
    LLVMInitializeNativeAsmPrinter();
}

bool target_open(const CodeTarget *target, const Machine *machine, Target *out, char **error) {
    *out = (Target){.machine = *machine};
    bool native = !target || !target->triple;
    if (native) {
        LLVMInitializeNativeTarget();
        LLVMInitializeNativeAsmPrinter();
    } else {
        target_start_all();
    }
    out->triple = native ? LLVMGetDefaultTargetTriple() : LLVMNormalizeTargetTriple(target->triple);
    if (machine->native) {
        out->cpu = LLVMGetHostCPUName();
        out->features = LLVMGetHostCPUFeatures();
    } else {
        bool x86 = strncmp(out->triple, "x86_64", 6) == 0;
        out->cpu = LLVMCreateMessage(machine->cpu ? machine->cpu : x86 ? "x86-64" : "generic");
        out->features = LLVMCreateMessage(machine->features ? machine->features : "");
    }
    out->machine.cpu = out->cpu;
    out->machine.features = out->features;
    char *why = NULL;
    if (LLVMGetTargetFromTriple(out->triple, &out->which, &why)) {
        *error = text_message("no code can be made for '%s': %s", out->triple, why);
        LLVMDisposeMessage(why);
        target_close(out);
        return false;
    }
    out->level = target ? target->optimise : 3;
    out->threads = target ? target->threads : 1;
    *out = target_again(out);
    return true;
}

Target target_again(const Target *t) {
    Target again = *t;
    LLVMTargetMachineOptionsRef o = LLVMCreateTargetMachineOptions();
    LLVMTargetMachineOptionsSetCPU(o, t->cpu);
    LLVMTargetMachineOptionsSetFeatures(o, t->features);
    LLVMTargetMachineOptionsSetCodeGenOptLevel(o, t->level <= 0 ? LLVMCodeGenLevelNone
                                                                : LLVMCodeGenLevelDefault);
    LLVMTargetMachineOptionsSetRelocMode(o, LLVMRelocPIC);
    LLVMTargetMachineOptionsSetCodeModel(o, LLVMCodeModelDefault);
    again.tm = LLVMCreateTargetMachineWithOptions(t->which, t->triple, o);
    LLVMDisposeTargetMachineOptions(o);
    return again;
}

void target_close(Target *t) {
    if (t->tm) LLVMDisposeTargetMachine(t->tm);
    LLVMDisposeMessage(t->triple);
    LLVMDisposeMessage(t->cpu);
    LLVMDisposeMessage(t->features);
}

bool target_passes(const Target *t, LLVMModuleRef module, const char *passes, char **error) {
    LLVMSetTarget(module, t->triple);
    LLVMTargetDataRef layout = LLVMCreateTargetDataLayout(t->tm);
    LLVMSetModuleDataLayout(module, layout);
    LLVMDisposeTargetData(layout);
    LLVMPassBuilderOptionsRef o = LLVMCreatePassBuilderOptions();
    LLVMErrorRef failed = LLVMRunPasses(module, passes, t->tm, o);
    LLVMDisposePassBuilderOptions(o);
    if (!failed) return true;
    char *why = LLVMGetErrorMessage(failed);
    *error = text_message("optimisation failed: %s", why);
    LLVMDisposeErrorMessage(why);
    return false;
}

bool target_optimise(const Target *t, LLVMModuleRef module, char **error) {
    const char *fast = "function(mem2reg,early-cse,loop-mssa(licm),simplifycfg),globaldce";
    return target_passes(t, module, t->level <= 0 ? "function(mem2reg)" : fast, error);
}

bool target_emit(const Target *t, LLVMModuleRef module, LLVMCodeGenFileType kind, void **bytes,
                 size_t *size, char **error) {
    LLVMMemoryBufferRef buffer;
    char *why = NULL;
    if (LLVMTargetMachineEmitToMemoryBuffer(t->tm, module, kind, &why, &buffer)) {
        *error = text_message("no machine code could be made: %s", why);
        LLVMDisposeMessage(why);
        return false;
    }
    *size = LLVMGetBufferSize(buffer);
    *bytes = mem_alloc(*size + 1);
    memcpy(*bytes, LLVMGetBufferStart(buffer), *size);
    LLVMDisposeMemoryBuffer(buffer);
    return true;
}
