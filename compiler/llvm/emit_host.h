/* emit_host: what the files that emit host functions share. Private to compiler/llvm.
 *
 * emit_host.c has functions, launches and plain instructions, emit_loop.c loops, emit_tape.c loops gone
 * through backwards, emit_stack.c frames of stacks. */
#ifndef PDN_LLVM_EMIT_HOST_H
#define PDN_LLVM_EMIT_HOST_H

#include "compiler/llvm/emit.h"

/* Pointers that a run is given, in this order. */
enum { RUN_HOST, RUN_GRIDS, RUN_INPUTS, RUN_OUTPUTS, RUN_WORKSPACE, RUN_CONSTANTS };
/* Members of PdnHost, all of the size of a pointer. */
enum {
    HOST_CONTEXT,
    HOST_LAUNCH,
    HOST_EFFECT,
    HOST_PROGRESS,
    HOST_RANDOM,
    HOST_TASK,
    HOST_BATCH,
    HOST_CONV_NORM,
    HOST_MEMORY,
    HOST_KEPT,
    HOST_UNCONVERGED,
    HOST_RELAY,
    HOST_PLACE,
    HOST_THREADS
};

typedef struct {
    LLVMValueRef value, frames; /* scalar, or pointer; frames of a stack */
} Reg;

typedef struct Tape Tape; /* emit_tape.c */

typedef struct {
    Emit *e;
    const HFunc *f;
    uint32_t number;
    LLVMValueRef function, run, host, grids, constants, inputs;
    Reg *regs;
    LLVMValueRef *slots, *partials;
    LLVMValueRef scratch; /* of convolutions and tridiagonal systems, which run one after another */
    LLVMValueRef words;   /* arguments of launches */
    LLVMValueRef top;     /* variable: end of the scratch that is in use */
    /* i1, in a loop that goes back: kept states stay where they are until the next step is over */
    LLVMValueRef stays;
    LLVMValueRef last; /* i1: it is the last step of the loop around; NULL where none is */
    uint64_t place;    /* of the instruction that is emitted (PdnHost.place) */
    Tape **tapes;      /* by number */
} HE;

static inline LLVMTypeRef reg_type(Emit *e, Type t) {
    return t.kind == TYPE_SCALAR ? e->real : e->ptr;
}

static inline LLVMValueRef bytes_on(Emit *e, LLVMValueRef base, LLVMValueRef bytes) {
    return LLVMBuildInBoundsGEP2(e->b, LLVMInt8TypeInContext(e->context), base, &bytes, 1, "");
}

static inline LLVMValueRef mul(Emit *e, LLVMValueRef a, LLVMValueRef b) {
    return LLVMBuildNSWMul(e->b, a, b, "");
}

static inline LLVMValueRef plus(Emit *e, LLVMValueRef a, LLVMValueRef b) {
    return LLVMBuildNSWAdd(e->b, a, b, "");
}

static inline LLVMValueRef status(Emit *e, PdnStatus s) {
    return LLVMConstInt(e->i32, (unsigned)s, false);
}

/* ---- emit_host.c ---- */

LLVMValueRef pointer_at(Emit *e, LLVMTypeRef type, LLVMValueRef base, uint32_t index,
                        const char *name);
/* Bytes of a field: channels apart by the grid's stride. */
LLVMValueRef field_bytes(Emit *e, LLVMValueRef grids, GridId grid, uint32_t channels);
/* Whole lines of cache, and a bit, so that fields of 2^k bytes do not compete for the same lines. */
LLVMValueRef slot_bytes(Emit *e, LLVMValueRef bytes);
LLVMValueRef rows_of(Emit *e, LLVMValueRef grids, GridId grid); /* of partial results, too */
LLVMValueRef ceil_div(Emit *e, LLVMValueRef a, LLVMValueRef b);
LLVMValueRef constant_f64(HE *h, uint32_t index);
LLVMValueRef to_real(Emit *e, LLVMValueRef f64);
LLVMValueRef to_f64(Emit *e, LLVMValueRef real);
/* A double as an integer, NaN as 0, too large ones at the limit. */
LLVMValueRef to_integer(Emit *e, LLVMValueRef x);
void return_if(HE *h, LLVMValueRef condition, LLVMValueRef status);
void stop_unless_zero(HE *h, LLVMValueRef stop);
/* args[0] is filled with the context. */
LLVMValueRef host_call(HE *h, uint32_t member, LLVMTypeRef result, LLVMValueRef *args,
                       uint32_t count);
/* ---- emit_launch.c ---- */

LLVMValueRef partials_of(HE *h, GridId grid); /* where launches over the grid put theirs */

/* Runs units of a function of the type of a kernel on the words; work: as PdnHost.launch, NULL in standalone code. */
void launch(HE *h, LLVMValueRef function, LLVMValueRef count, LLVMValueRef work);
/* Runs kernel `number` on these arguments. */
void launch_kernel(HE *h, uint32_t number, const GridId *grids, const LLVMValueRef *fields,
                   const LLVMValueRef *outputs, const LLVMValueRef *scalars);
/* Units of a launch, and about how much work they are (PdnHost.launch). */
typedef struct {
    LLVMValueRef count, work;
} Units;
Units fill_launch(HE *h, const HInstr *in); /* puts its arguments into h->words */
/* the numbers that it reduces to, from its partial results */
void emit_totals(HE *h, const HInstr *in);
void emit_launch(HE *h, const HInstr *in);
void emit_copy(HE *h, uint32_t kernel, GridId grid, LLVMValueRef from, LLVMValueRef to);
void emit_code(HE *h, const HBlock *block);
void emit_instruction(HE *h, const HInstr *in); /* one that is not part of a relay */

LLVMValueRef grid_at(Emit *e, LLVMValueRef grids, GridId grid);
void put_word(HE *h, uint32_t word, LLVMValueRef value); /* of the arguments of a launch */
/* Where a field that is made now goes. */
LLVMValueRef field_place(HE *h, HReg reg);

/* ---- emit_tridiag.c ---- */

void emit_tridiag(HE *h, const HInstr *in);
/* Bytes of its scratch. */
LLVMValueRef tridiag_bytes(Emit *e, const HInstr *in, LLVMValueRef grid, uint32_t channels);
enum { TRIDIAG_WORDS = 12 };

/* ---- emit_loop.c ---- */

typedef struct {
    LLVMValueRef *state; /* variables */
    LLVMValueRef i;      /* variable: steps done */
    LLVMValueRef count, start, stride;
    LLVMValueRef *stack, *frames; /* base; variable */
    LLVMValueRef last;            /* i1, of the step at hand; NULL: not known */
    bool keeps;                   /* it writes its tape */
    LLVMValueRef refused;         /* variable: numbers of steps that do not pay together, as bits */
} LoopValues;

void emit_loop(HE *h, const HLoop *l);
LLVMValueRef loop_count(HE *h, const HLoop *l); /* i64, of H_LOOP; may be negative */
/* Variables for the states, and what is in them as the values of the parameters. */
void loop_states(HE *h, const HLoop *l, LoopValues *v);
void loop_load(HE *h, const HLoop *l, const LoopValues *v);
/* The body once, for step number i64 `i`, on the states loaded; then they are the next ones. */
void loop_step(HE *h, const HLoop *l, LoopValues *v, LLVMValueRef i);
void loop_results(HE *h, const HLoop *l, const LoopValues *v);
/* Tells the host about a step that is done: always, or every few steps. */
void tell_progress(HE *h, const HLoop *l, LLVMValueRef done, LLVMValueRef total);
void report_progress(HE *h, const HLoop *l, LLVMValueRef done, LLVMValueRef total);

/* Of a loop whose fields are all of one pool: the buffer number `number` of those that no state points to. */
LLVMValueRef pick_buffer(HE *h, const HLoop *l, uint32_t number);

/* ---- emit_tape.c ---- */

/* A number of the host table, i64; 0 where there is none. */
LLVMValueRef host_number(HE *h, uint32_t word);

/* ---- emit_relay.c ---- */

/* The launch and those after it that may run together with it. */
void emit_relay(HE *h, const HInstr *first);
/* As many steps of the loop, before step number i64 `end`, as the host takes together; the others are left. */
void emit_steps_together(HE *h, const HLoop *l, LoopValues *v, LLVMValueRef end);

/* ---- emit_chain.c ---- */

/* The convolution and what runs together with it. */
void emit_chain(HE *h, const HInstr *first);
LLVMValueRef chain_bytes(Emit *e, const HInstr *first, LLVMValueRef grids); /* of its scratch */
uint32_t chain_words(const Plan *plan,
                     const HBlock *block); /* most words of the arguments of a chain */

/* ---- emit_tape.c ---- */

/* Makes room for the tape of a loop about to run, for its count of steps. */
void tape_start(HE *h, const HLoop *l, const LoopValues *v);
/* Keeps the states, which are loaded, before step `i` where that is to be done. */
void tape_keep(HE *h, const HLoop *l, const LoopValues *v, LLVMValueRef i);
/* States that will be kept before the next step are made where the tape keeps them: their makers' buffers in step `i`. */
void tape_places(HE *h, const HLoop *l, const LoopValues *v, LLVMValueRef i);
void tape_done(HE *h, const HLoop *l, LLVMValueRef steps);
void emit_back(HE *h, const HLoop *l);
void emit_advance(HE *h, const HLoop *l);
/* A copy that is made where the states that it copies do not stay (HInstr.stays). */
void emit_staying(HE *h, const HInstr *in);
/* Bytes of the tape of a loop; `count` NULL: not known before it runs. */
LLVMValueRef tape_bytes(HE *h, const HLoop *l, LLVMValueRef count);

/* The instruction of the block, or of loops in it, whose dst is this register; NULL: another kind of result. */
const HInstr *host_maker(const HBlock *block, HReg reg);

/* ---- emit_stack.c ---- */

void emit_frame(HE *h, const HInstr *in);
void emit_zerostack(HE *h, const HInstr *in);
void emit_scatter(HE *h, const HInstr *in);
/* The loop that collects this stack, or one with a state that it is: *init is what that began with, else NONE. NULL: there is none. */
const HLoop *loop_of_stack(const HBlock *block, HReg reg, HReg *init);
/* The zeros that a stack was before numbers were added, in place, through loops, too; NULL: it was something else. */
const HInstr *stack_zeros(const HFunc *f, HReg reg);
/* Which result of the function these zeros become, the first of them: they are in the caller's buffer. NONE: none. */
uint32_t stack_result(const HFunc *f, const HInstr *zeros);

#endif
