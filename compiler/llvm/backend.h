/* backend: what libpdn_code.so offers to compiler/load, which opens it only when it must compile. */
#ifndef PDN_LLVM_BACKEND_H
#define PDN_LLVM_BACKEND_H

#include "compiler/llvm/code.h"

/* What kernels must know of a machine; found without LLVM (compiler/load/machine.c). */
typedef struct {
    uint32_t vector_bits; /* 128, 256, 512 */
    uint32_t registers;   /* of vectors: 16 or 32 */
    bool fma;
    /* AVX-512 where a Newton step on a 14-bit reciprocal beats the divider (Intel) */
    bool estimates;
    bool exact;   /* as CodeTarget.exact */
    bool streams; /* has stores that pass by the caches (x86-64) */
    /* has a register that makes results below the least normal number 0, and may use it (x86-64) */
    bool flushes;
    bool native;                /* this machine and its own CPU */
    const char *cpu, *features; /* for LLVM; NULL: the CPU's own */
} Machine;

/* What is handed to a compiled program; emit_host.c knows it as words. */
typedef struct {
    const PdnHost *host;
    const PdnGrid *grids;
    const void *const *inputs;
    void *const *outputs;
    void *workspace;
    const double *constants;
} CodeRun;

typedef struct {
    int (*run)(const CodeRun *run);
    int64_t (*workspace)(const CodeRun *run);
} CodeEntry;

#define CODE_BACKEND_VERSION 7
typedef struct {
    uint32_t version;
    /* The program as an object file, from mem_alloc. */
    bool (*object)(const Plan *plan, const CodeTarget *target, const Machine *machine, void **bytes,
                   size_t *size, char **error);
    /* Links an object into this process. */
    void *(*link)(const void *bytes, size_t size, CodeEntry *entry, char **error);
    void (*unlink)(void *linked);
    bool (*build)(const Plan *plan, const Module *module, const CodeBuild *build,
                  const Machine *machine, char **error);
    bool (*check)(const CodeTarget *target, const Machine *machine, char **error);
    char *(*names)(CodeNames what, const CodeTarget *target, const Machine *machine, char **error);
} CodeBackend;

/* The one symbol of libpdn_code.so. */
const CodeBackend *pdn_code_backend(void);

#endif
