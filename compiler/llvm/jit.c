/* Compiles a plan to an object in memory, and links objects into the process with LLJIT. */
#include "compiler/llvm/parts.h"

#include <llvm-c/Analysis.h>
#include <llvm-c/LLJIT.h>
#include <llvm-c/Orc.h>
#include <llvm-c/Target.h>

#include <stdlib.h>
#include <string.h>

#ifdef PDN_TIME_STAGES
#include <stdio.h>
static void stage(const char *name) {
    static double last;
    double now = 1e3 * clock_cpu_seconds();
    fprintf(stderr, "  %-10s %.2f ms\n", name, now - last);
    last = now;
}
#else
#define stage(name) ((void)0)
#endif

static void emit_all(Emit *e, const void *context) {
    (void)context;
    emit_program(e);
}

static bool make_object(const Plan *plan, const CodeTarget *target, const Machine *machine,
                        void **bytes, size_t *size, char **error) {
    Target t;
    Emit e;
    stage("before");
    if (!target_open(target, machine, &t, error)) return false;
    stage("target");
    const Source source = {.plan = plan, .emit = emit_all};
    emit_start(&e, plan, &t.machine, false);
    emit_program(&e);
    stage("emit");
    char *why = NULL;
    bool ok = true;
    if (getenv("PDN_VERIFY_LLVM") && LLVMVerifyModule(e.module, LLVMReturnStatusAction, &why)) {
        *error = text_message("unsound LLVM module: %s", why);
        ok = false;
    }
    LLVMDisposeMessage(why);
    Division division = parts_divide(&e, &t);
    ok = ok && parts_object(&e, &t, &source, &division, false, bytes, size, error);
    stage("machine");
    emit_free(&e);
    target_close(&t);
    return ok;
}

static char *take_error(LLVMErrorRef failed) {
    char *why = LLVMGetErrorMessage(failed),
         *copy = text_message("compiled code could not be linked: %s", why);
    LLVMDisposeErrorMessage(why);
    return copy;
}

static bool look_up(LLVMOrcLLJITRef jit, const char *name, void *to, char **error) {
    LLVMOrcExecutorAddress address;
    LLVMErrorRef failed = LLVMOrcLLJITLookup(jit, &address, name);
    if (failed) {
        *error = take_error(failed);
        return false;
    }
    uintptr_t pointer = (uintptr_t)address;
    memcpy(to, &pointer, sizeof pointer);
    return true;
}

static void *link_object(const void *bytes, size_t size, CodeEntry *entry, char **error) {
    LLVMInitializeNativeTarget();
    LLVMInitializeNativeAsmPrinter();
    LLVMOrcLLJITRef jit;
    LLVMErrorRef failed = LLVMOrcCreateLLJIT(&jit, NULL);
    if (failed) {
        *error = take_error(failed);
        return NULL;
    }
    LLVMOrcJITDylibRef library = LLVMOrcLLJITGetMainJITDylib(jit);
    LLVMOrcDefinitionGeneratorRef process;
    failed = LLVMOrcCreateDynamicLibrarySearchGeneratorForProcess(
        &process, LLVMOrcLLJITGetGlobalPrefix(jit), NULL, NULL);
    if (!failed) {
        LLVMOrcJITDylibAddGenerator(library, process);
        LLVMMemoryBufferRef buffer = LLVMCreateMemoryBufferWithMemoryRangeCopy(bytes, size, "pdn");
        failed = LLVMOrcLLJITAddObjectFile(jit, library, buffer);
    }
    if (failed) *error = take_error(failed);
    if (failed || !look_up(jit, "pdn_program_run", &entry->run, error) ||
        !look_up(jit, "pdn_program_workspace", &entry->workspace, error)) {
        LLVMErrorRef late = LLVMOrcDisposeLLJIT(jit);
        if (late) LLVMConsumeError(late);
        return NULL;
    }
    stage("link");
    return jit;
}

static void unlink_object(void *linked) {
    LLVMErrorRef late = LLVMOrcDisposeLLJIT(linked);
    if (late) LLVMConsumeError(late);
}

__attribute__((visibility("default"))) const CodeBackend *pdn_code_backend(void) {
    static const CodeBackend backend = {CODE_BACKEND_VERSION, make_object, link_object,
                                        unlink_object,        aot_build,   target_check,
                                        target_names};
    return &backend;
}
