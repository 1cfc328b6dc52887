/* code: machine code from plans. compiler/llvm, the only folder that includes llvm-c, is built as a
 * module of its own (libpdn_code.so), which compiler/load opens only when something must be compiled:
 * programs found in the cache start without LLVM. Users of this header link with compiler/load.
 *
 * A compiled program is position-independent, calls nothing but the maths library and the host table, and
 * offers `pdn_program_run` (see runtime/pdn.h, PdnHost). */
#ifndef PDN_CODE_H
#define PDN_CODE_H

#include "compiler/kernel/plan.h"
#include "runtime/pdn.h"

typedef struct {
    const char *triple;   /* NULL: this machine */
    const char *cpu;      /* NULL: this machine's; "x86-64" … */
    const char *features; /* NULL: the cpu's own */
    int optimise;         /* 0 to 3 */
    /* divisions are rounded correctly, functions are the maths library's, convolutions direct sums, results below the least normal number kept: slower */
    bool exact;
    int threads; /* that compile, at most; what they make does not depend on it */
} CodeTarget;

/* What the program is run on. Pointers by Module.inputs; grids by Module.grids (index 0 unused). */
typedef struct {
    const PdnHost *host;
    const PdnGrid *grids;
    const void *const *inputs;
    void *const *outputs; /* of a standalone kernel; NULL for experiments */
    void *workspace;      /* 64-byte aligned */
} CodeArguments;

typedef struct Code Code; /* a loaded program */

/* Has the target fused multiply-add? Then the graph should pass through pass_contract, and PlanOptions.fma
 * be set. Known without loading LLVM. */
bool code_target_has_fma(const CodeTarget *target);
int code_target_vector_bits(const CodeTarget *target);
/* Can code be made for the target? Else LLVM's reason, in *error (NULL before), from mem_alloc. */
bool code_target_check(const CodeTarget *target, char **error);
/* The names, a line each, of what LLVM knows: architectures, with which a triple begins; processors and features of the
 * target's architecture. From mem_alloc; NULL and a message where it cannot be asked. */
typedef enum { CODE_TARGETS, CODE_CPUS, CODE_FEATURES } CodeNames;
char *code_target_names(CodeNames what, const CodeTarget *target, char **error);
/* $PDN_CACHE, else $XDG_CACHE_HOME/pdn, else ~/.cache/pdn; NULL where none of these is known. */
const char *code_cache_folder(Arena *arena);

/* From the cache, else compiled and put there. `cache` NULL: no cache. NULL and a message on failure. */
Code *code_load(const Plan *plan, const CodeTarget *target, const char *cache, char **error);
void code_free(Code *code);
bool code_from_cache(const Code *code);
/* Bytes of workspace that a run needs (uses only `grids`, the scalars and the lengths of the stacks of `inputs`,
 * and the memory that `host`, if it is given, says); a huge number where the length of a trajectory is not known
 * before the run. A run of the same arguments keeps to it. */
uint64_t code_workspace(const Code *code, const CodeArguments *arguments);
int code_run(const Code *code, const CodeArguments *arguments); /* a PdnStatus */

/* The way in which a form of a convolution of the plan is computed where it stands in no chain. */
uint32_t code_conv_way(const Plan *plan, const CodeTarget *target, uint32_t number, uint32_t form);
/* A text that is kept in the cache under a name, for this machine: from mem_alloc, NULL where there is none. */
char *code_cache_text(const char *cache, const CodeTarget *target, const char *name);
void code_cache_keep(const char *cache, const CodeTarget *target, const char *name,
                     const char *text);

/* Standalone files (docs/language.md, "The command"). */
typedef enum {
    EMIT_OBJECT = 1,
    EMIT_HEADER = 2,
    EMIT_SHARED = 4,
    EMIT_LLVM = 8,
    EMIT_ASM = 16
} CodeEmit;
/* What stands behind an input of the module in a kernel. */
typedef struct {
    /* the path of a parameter; NULL: a field or number of the definition's own */
    const char *parameter;
    int64_t place;    /* which entry of in[] it is; -1: `data` goes inside the kernel */
    const void *data; /* in the kernel's precision and this machine's order of bytes */
    size_t bytes;
    int64_t frames; /* of a stack: so many frames, one after the other; -1: no stack */
    int rank;       /* of a parameter: as it is saved, frames first */
    int64_t shape[PDN_TENSOR_RANK + 1];
} CodeInput;
typedef struct {
    const char *name; /* C name of the kernel */
    const char *folder;
    unsigned emit;
    CodeTarget target;
    const char *manifest; /* JSON text that the driver made, or NULL */
    /* by Module.inputs; NULL: each is its place in in[], none is a parameter */
    const CodeInput *inputs;
    uint32_t in_count; /* entries of in[] */
    /* As pdn_conv_norm_into of the runtime: norms of weights that are inside are computed now. NULL: refused. */
    void (*conv_norm)(const PdnConvShape *shape, PdnType type, const void *weights,
                      const void *cotangent, void *result);
    /* NULL: none. Its inputs are the module's and then, for each result, its cotangent; its
     * results the cotangents of the inputs with a place, in the module's order */
    const Plan *vjp;
} CodeBuild;
bool code_build(const Plan *plan, const Module *module, const CodeBuild *build, char **error);

#endif
