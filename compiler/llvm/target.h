/* target: LLVM's target machines. Private to compiler/llvm. */
#ifndef PDN_LLVM_TARGET_H
#define PDN_LLVM_TARGET_H

#include "compiler/llvm/backend.h"

#include <llvm-c/TargetMachine.h>

typedef struct {
    Machine machine; /* cpu and features filled in */
    char *triple, *cpu, *features;
    LLVMTargetMachineRef tm;
    int level, threads;
    LLVMTargetRef which;
} Target;

/* All architectures that kernels are built for, not this machine's alone. */
void target_start_all(void);
bool target_open(const CodeTarget *target, const Machine *machine, Target *out, char **error);
void target_close(Target *t);
/* The same with a target machine of its own, for another thread; nothing else of it is to be freed. */
Target target_again(const Target *t);
/* Sets triple and layout, and runs the passes: these, or those that make code fast. */
bool target_passes(const Target *t, LLVMModuleRef module, const char *passes, char **error);
bool target_optimise(const Target *t, LLVMModuleRef module, char **error);
bool target_emit(const Target *t, LLVMModuleRef module, LLVMCodeGenFileType kind, void **bytes,
                 size_t *size, char **error);

/* target_ask.c: as code_target_check and code_target_names. */
bool target_check(const CodeTarget *target, const Machine *machine, char **error);
char *target_names(CodeNames what, const CodeTarget *target, const Machine *machine, char **error);

/* aot.c: standalone files. */
bool aot_build(const Plan *plan, const Module *module, const CodeBuild *build,
               const Machine *machine, char **error);

#endif
