/* emit: LLVM IR from a plan. Private to compiler/llvm. */
#ifndef PDN_LLVM_EMIT_H
#define PDN_LLVM_EMIT_H

#include "compiler/kernel/plan_ir.h"
#include "compiler/llvm/backend.h"

#include <llvm-c/Core.h>

/* How a kernel is launched: in parts (runtime/blocking.c), for many rows at once. */
typedef struct {
    bool in_parts, alone;
} KernelUse;

typedef struct {
    LLVMContextRef context;
    LLVMModuleRef module;
    LLVMBuilderRef b;
    const Plan *plan;
    /* ends the names of functions that go by numbers of the plan: a module may hold several programs */
    const char *program;
    Machine machine;
    bool standalone;       /* launches are plain calls; there is no host table */
    struct Inside *inside; /* standalone: what stands behind the inputs (aot.h); else NULL */
    LLVMTypeRef real, f64, i64, i32, i1, ptr, none;
    bool in_kernel;              /* else in host code, where divisions are exact */
    bool estimated;              /* in the kernel that is being written, one is by an estimate */
    uint32_t size, lanes;        /* bytes of a number, numbers in a vector */
    LLVMValueRef *kernels;       /* by Plan.kernels */
    KernelUse *use;              /* likewise */
    LLVMValueRef *hosts, *sizes; /* by Plan.funcs */
    LLVMTypeRef kernel_type;
    LLVMValueRef *convs;          /* by Plan.convs, form and stage (emit_conv.h) */
    LLVMValueRef threads;         /* i64, in host code: PdnHost.threads */
    uint32_t means;               /* over batches: so many were written */
    LLVMValueRef advance;         /* the helper that places kept states; NULL: not made yet */
    LLVMValueRef trees[OP_COUNT]; /* helpers that combine the partial results of a reduction */
    Arena *arena;
} Emit;

/* Layout of the words (8 bytes each) that a launch hands to its kernel. */
typedef struct {
    uint32_t grids, fields, outputs, partials, rows, block_y, block_z, stream;
    uint32_t part; /* a PdnPart, for kernels that may run in parts */
    uint32_t scalars, count;
} KernelWords;
KernelWords kernel_words(const Kernel *k);

enum { BLOCK_X = PDN_UNIT_CELLS, BLOCK_Z = 32 }; /* cells a unit in 1D; planes a unit in 3D */

/* PdnGrid, in words. */
enum {
    GRID_EXTENT = 0,
    GRID_STRIDE = 9,
    GRID_CHANNEL = 12,
    GRID_SPACING = 13,
    GRID_ORIGIN = 16,
    GRID_WORDS = 19
};

/* ---- emit_floats.c ---- */

/* Of a kernel that is written: from the end of its first block on, results below the least normal number are 0. */
void emit_flush(Emit *e, LLVMValueRef f);

/* ---- emit_op.c ---- */

LLVMValueRef emit_op(Emit *e, Op op, const LLVMValueRef *x);
/* q[i] = a[i] / b[i], of MOST_QUOTIENTS at most: the same bits as one after another, in fewer operations. */
enum { MOST_QUOTIENTS = 16 };
void emit_quotients(Emit *e, const LLVMValueRef *a, const LLVMValueRef *b, LLVMValueRef *q,
                    uint32_t count);
LLVMValueRef emit_intrinsic(Emit *e, const char *name, LLVMTypeRef overload,
                            const LLVMValueRef *args, uint32_t count);
LLVMValueRef emit_real(Emit *e, double value);
LLVMValueRef emit_splat(Emit *e, LLVMValueRef scalar); /* to a vector of e->lanes */
/* 1/x, by way of a variable, where the kernel begins: it may be below the least normal number, and is not to move behind
 * emit_flush. */
LLVMValueRef emit_reciprocal(Emit *e, LLVMValueRef x, LLVMValueRef variable);
LLVMValueRef emit_number(Emit *e, LLVMTypeRef like, double value); /* scalar or vector constant */
LLVMValueRef emit_i64(Emit *e, int64_t value);
LLVMValueRef emit_word(Emit *e, LLVMTypeRef type, LLVMValueRef base, uint32_t word,
                       const char *name);
/* Alloca in the entry block of the current function. */
LLVMValueRef emit_variable(Emit *e, LLVMTypeRef type, const char *name);
LLVMBasicBlockRef emit_block(Emit *e, const char *name); /* appended to the current function */
LLVMValueRef emit_function(Emit *e, const char *name, LLVMTypeRef type, bool external);
/* The value of a partial reduction before anything was seen, and the combination of two. */
double reduction_start(Op op);
LLVMValueRef emit_combine(Emit *e, Op op, LLVMValueRef a, LLVMValueRef b);
/* The function double tree(double *x, int64 n) that combines neighbours in pairs until one is left; written once. */
LLVMValueRef emit_tree(Emit *e, Op op);

/* for (i = from; i < to; i += step) { … }: begin returns i and leaves the builder in the body. */
typedef struct {
    LLVMBasicBlockRef head, done; /* NULL: it has one turn */
    LLVMValueRef variable, step;
} Counting;
LLVMValueRef emit_loop_begin(Emit *e, Counting *c, LLVMValueRef from, LLVMValueRef to,
                             LLVMValueRef step, const char *name);
void emit_loop_end(Emit *e, Counting *c);
/* if (condition) { … }: begin returns the block where it goes on, and leaves the builder in the body. */
LLVMBasicBlockRef emit_if_begin(Emit *e, LLVMValueRef condition);
void emit_if_end(Emit *e, LLVMBasicBlockRef go);
LLVMValueRef emit_min(Emit *e, LLVMValueRef a, LLVMValueRef b); /* signed integers */
LLVMValueRef emit_max(Emit *e, LLVMValueRef a, LLVMValueRef b);

LLVMValueRef emit_cells(Emit *e, LLVMValueRef grid, uint32_t rank); /* of a PdnGrid */

/* ---- emit_work.c: about how many cycles of one processor launches take (PdnHost.launch) ---- */

LLVMValueRef work_kernel(Emit *e, const Kernel *k, LLVMValueRef cells, LLVMValueRef rows);
LLVMValueRef work_tridiag(Emit *e, LLVMValueRef cells, uint32_t channels);
/* Of a stage of a convolution on grids of u and v cells: one that multiplies, one that copies fields, one that goes through
 * the weights, `chunks` times. */
LLVMValueRef work_products(Emit *e, const Conv *conv, LLVMValueRef v);
LLVMValueRef work_copies(Emit *e, const Conv *conv, LLVMValueRef u, LLVMValueRef v);
LLVMValueRef work_weights(Emit *e, const Conv *conv, LLVMValueRef chunks);

/* ---- math.c ---- */

/* Vector code for a function of the maths library; NULL where there is none. */
LLVMValueRef emit_math(Emit *e, Op op, const LLVMValueRef *x);
LLVMValueRef emit_library(Emit *e, const char *name, const LLVMValueRef *x, uint32_t count);

/* What is written between begin and end is done only where something is true of a lane, which is rare: then values are what is
 * `there`, else what they were. */
typedef struct {
    LLVMBasicBlockRef before, go;
} Rare;
void emit_rare_begin(Emit *e, Rare *r, LLVMValueRef where); /* i1, or a vector */
void emit_rare_end(Emit *e, Rare *r, LLVMValueRef *value, const LLVMValueRef *there,
                   uint32_t count);

/* ---- emit_conv.c ---- */

enum { CONV_LAUNCHES = 8, CONV_OPERANDS = 6, CONV_LAUNCH_WORDS = 64 };
typedef struct {
    LLVMValueRef function, units, work; /* work: as PdnHost.launch */
    bool folds;                         /* comes after what a chain gathers */
} ConvLaunch;
void emit_convs(Emit *e);                             /* the kernels of all convolutions */
LLVMValueRef emit_conv_shape(Emit *e, const Conv *c); /* a PdnConvShape, laid out as C has it */
/* Bytes of scratch of an instruction CONV; the kernels that it launches one after another. Grids are pointers to
 * PdnGrid, `words` room for CONV_LAUNCH_WORDS words, of which the caller sets the first six (grid of u, grid of v,
 * first operand, second, result, scratch). `chained`: of a member of a chain (emit_chain.c). */
LLVMValueRef emit_conv_bytes(Emit *e, const HInstr *h, bool chained, LLVMValueRef u_grid,
                             LLVMValueRef v_grid, LLVMValueRef words);
uint32_t emit_conv_launches(Emit *e, const HInstr *h, bool chained, LLVMValueRef u_grid,
                            LLVMValueRef v_grid, LLVMValueRef words, ConvLaunch *out);

/* ---- emit_kernel.c, emit_host.c ---- */

LLVMValueRef emit_kernel(Emit *e, const Kernel *k, uint32_t number);
/* All of the program: kernels, host functions, `pdn_program_run`, `pdn_program_workspace`. */
void emit_program(Emit *e);

/* A module with the whole program, for a machine. Free with emit_free. */
void emit_start(Emit *e, const Plan *plan, const Machine *machine, bool standalone);
void emit_free(Emit *e);

#endif
