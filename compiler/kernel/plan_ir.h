/* plan_ir: the inside of a Plan. Shared by compiler/kernel and compiler/llvm, by nobody else.
 *
 * Kernels hold expressions over one-channel values ("kernel nodes"). A kernel node is a function of a
 * cell; SHIFT evaluates its operand at a neighbour, with the sides' rules, so a fused chain of
 * stencils is nothing but a DAG with shifts in it. All else a kernel needs are arguments.
 *
 * Host functions hold straight-line instructions and loops over virtual registers: scalars, fields
 * (pointers to buffers) and stacks. `memory.c` gives each field register a place. */
#ifndef PDN_PLAN_IR_H
#define PDN_PLAN_IR_H

#include "compiler/kernel/plan.h"
#include "compiler/ops/ops.h"

#define NONE          UINT32_MAX
#define PLAN_SLOT_GAP 576 /* bytes between slots of a workspace, beside alignment to 64 */

/* ---- kernels --------------------------------------------------------------- */

typedef uint32_t KNode; /* 0 is reserved */

typedef enum {
    K_NONE,
    K_NUMBER,   /* number: one of 0, 1, -1, 2, -2, 1/2 */
    K_SCALAR,   /* index: scalar argument */
    K_LOAD,     /* index: field argument; detail: channel */
    K_RESTRICT, /* the same on the finer grid: mean of the cells that the cell holds */
    K_SHARE,    /* the same by shares along the axes whose offset is 1 (ops/resample.c) */
    K_POOL,     /* the same on the finer grid: largest of the cells that the cell holds */
    K_FIRST,    /* the same on the finer grid: the first of the cells that the cell holds */
    K_PROLONG,  /* the same on the coarser grid: the cell that holds the cell */
    K_BLEND,    /* the transpose of K_SHARE, times the number of cells */
    K_SPIKE,    /* that in the first of the cells that it holds, 0 in others */
    K_ENTRY,    /* index: field argument, a row; detail: a number of it, for every cell */
    K_COORD,    /* index: axis */
    K_EDGE,     /* index: axis; detail: 0 low, 1 high */
    K_SHIFT,    /* operand 0 at the cell + offset, as the sides say */
    K_UNSHIFT,  /* its transpose (values of sides taken as 0) */
    K_OP,       /* op of up to three operands */
    K_KINDS
} KKind;

/* Does it read several cells of another grid, with weights? */
static inline bool kernel_shares(KKind kind) { return kind == K_SHARE || kind == K_BLEND; }

/* Does it read a field of the finer or coarser grid? */
static inline bool kernel_resamples(KKind kind) { return kind >= K_RESTRICT && kind <= K_SPIKE; }

typedef struct {
    KKind kind;
    Op op;
    uint32_t index, detail;
    double number;
    KNode operand[3];
    /* SHIFT, UNSHIFT; SHARE, BLEND: 1 along axes of an odd number of finer cells */
    int32_t offset[MAX_RANK];
    SideKind sides[MAX_RANK][2]; /* SIDE_PERIODIC where the offset cannot cross that side */
    KNode value[MAX_RANK][2];    /* of the sides, or 0 */
} KNodeData;

typedef VEC(KNodeData) KNodes;

typedef struct {
    KNode node;
    uint32_t field, channel; /* output field, and its channel */
} KOutput;

typedef VEC(KOutput) KOutputs;

typedef struct {
    Op op;        /* SUM, LEAST, LARGEST */
    KNode *nodes; /* one a channel */
    uint32_t count;
} KReduction;

typedef VEC(KReduction) KReductions;

typedef struct {
    uint32_t grid; /* which of the kernel's grids */
    uint32_t channels;
} KField;

typedef struct {
    uint32_t rank;
    KNodes nodes;   /* operands before users */
    uint32_t grids; /* 0: what is iterated over; others: of resampled fields and of rows */
    uint32_t *grid_rank;
    VEC(KField) fields; /* read */
    uint32_t scalars;
    VEC(uint32_t) written; /* channels of each output field, on grid 0 */
    KOutputs outputs;
    KReductions reductions;
    /* Computed by kernel_measure: */
    int32_t low[MAX_RANK], high[MAX_RANK]; /* cells nearer to a side than this are boundary cells */
    int64_t smallest[MAX_RANK];            /* least extents */
    /* a cell, in additions: a division is several, a fused multiply-add one */
    double flops;
    double fused;   /* how many of these are such */
    uint32_t loads; /* distinct (field, channel), a cell */
} Kernel;

/* ---- host program ------------------------------------------------------------ */

typedef uint32_t HReg;

typedef enum {
    PLACE_NONE, /* a scalar */
    /* known where it is made: inputs, parameters, states, frames, results of loops */
    PLACE_POINTER,
    PLACE_SLOT, /* slot `place_index` of the function */
    /* a buffer of the enclosing loop that no state points to; place_index counts them */
    PLACE_POOL,
    PLACE_RESULT, /* the caller's buffer for result `place_index` */
    PLACE_ROWS,   /* some rows of it, in the scratch of a chain (chain.c) */
} HPlace;

typedef struct {
    Type type;
    HPlace place;
    uint32_t place_index;
} HRegData;

typedef enum {
    H_CONSTANT, /* dst = constants[index] */
    H_INPUT,    /* dst = input `index`: scalar, field or stack */
    H_OP,       /* dst = op(args) on scalars */
    H_CELLS,    /* dst = cells of grid `index` */
    H_LAUNCH,   /* kernel `index`; see fields below */
    /* fills dst; index: draw, detail: 0 normal 1 uniform; args: steps of loops (pdn_stream) */
    H_RANDOM,
    H_LOOP,      /* see HLoop */
    H_CALL,      /* function `index`; args, dsts */
    H_FRAME,     /* dst = frame args[1] of stack args[0] */
    H_FRAMES,    /* dst = length of stack args[0] */
    H_EFFECT,    /* effect `index` of args */
    H_BACK,      /* a loop gone through backwards; see HLoop */
    H_ADVANCE,   /* in its body: the states before the step; see HLoop */
    H_ZEROSTACK, /* dst = zeros, as many frames as stack args[0] has */
    H_SCATTER,   /* adds args[2] to frame args[1] of stack args[0], in place; dst is that stack */
    H_TASK,      /* the host does task `index`: dsts (NONE: not needed) are new values of args */
    H_ROW,       /* dst = the row of the numbers args */
    H_ENTRY,     /* dst = number `index` of row args[0] */
    /* dst = means over a batch of args[0]; index: the kernel that copies fields of its type */
    H_BATCH,
    /* a solution whose residual args[0] is above args[1] after args[2] steps: `index` tells the host; detail 1: it stops */
    H_CHECK,
    /* dst = the norm of convolution `index` with weights args[0]; with args[1] its derivative, times that */
    H_CONVNORM,
    /* dst = solutions of tridiagonal systems along axis `index`, bits `detail`; args as the op's; grids: one */
    H_TRIDIAG,
    /* dst = form `detail` of convolution `index` of (args[0], args[1]); grids: u's and v's */
    H_CONV,
} HKind;
#define H_KINDS (H_CONV + 1)

/* Which argument of the trilinear form a convolution gives (ops/conv.c): v of (u, w), u of (v, w), w of (u, v). */
typedef enum { CONV_FORWARD, CONV_TRANSPOSED, CONV_WEIGHTS, CONV_FORMS } ConvForm;

typedef struct HBlock HBlock;

/* States are pointers that rotate: `param` in the body, `next` computed there, `result` afterwards. */
typedef struct {
    uint32_t number; /* LoopId, for progress */
    Name name;
    bool progress; /* not inside another loop */
    HReg count;    /* scalar; NONE: constants[count_constant] */
    uint32_t count_constant;
    uint32_t start_constant, stride_constant;
    HReg k; /* scalar in the body */
    uint32_t states;
    HReg *init, *param, *next, *result;
    HReg stop;  /* scalar, or NONE */
    HReg steps; /* result: steps done */
    uint32_t collected;
    uint32_t *collect; /* state numbers */
    HReg *stack;       /* results */
    HBlock *body;
    /* memory.c: slots of the pools. Buffers of one class (grid, channels) form a pool. */
    uint32_t pools;
    struct HPool {
        GridId grid;
        uint32_t channels;
        uint32_t slots, *slot; /* numbers of slots of the function */
        uint32_t made, *maker; /* registers of the body that take a buffer each iteration */
    } * pool;
    uint32_t *stack_kernel; /* by stack: the kernel that copies a state there; NONE for scalars */
    /* A loop that is gone through backwards keeps its states before some of its steps on a tape, by number in
     * the function: as many as the memory allows. H_BACK counts down over the steps that were done. Its body begins
     * with H_ADVANCE, a loop from the last kept state before the step to the step, which may keep
     * states again: `init` is NULL, all its states were kept, in that order. */
    uint32_t tape; /* NONE: no tape */
    /* H_LOOP, H_ADVANCE: how many states are kept, their numbers, and as stack_kernel */
    uint32_t kept;
    uint32_t *keep, *keep_kernel;
    uint32_t together;   /* relay.c: so many steps may be taken in one relay; 0: none */
    uint32_t begin, end; /* memory.c: positions */
} HLoop;

typedef struct {
    HKind kind;
    Op op;
    HReg dst;
    uint32_t index, detail;
    HReg *args;
    uint32_t args_count;
    /* LAUNCH */
    GridId *grids; /* by the kernel's grids */
    HReg *fields;  /* by its fields */
    HReg *scalars; /* by its scalars; NONE: constants[scalar_constant] */
    uint32_t *scalar_constant;
    HReg *outputs;    /* by its written fields */
    HReg *reductions; /* by its reductions: scalars */
    uint32_t relay;   /* so many launches after it may run together with it, row by row */
    uint32_t own;     /* of such launches: which outputs (bits) only those launches read */
    uint32_t chain;   /* so many instructions after it run together with it (chain.c) */
    /* in a loop: only the next step reads what it makes, so the last one leaves it out (ahead.c) */
    bool ahead;
    /* a copy of a kept state for the next step back: not made where that state stays so long (memory.c) */
    bool stays;
    HLoop *loop;
    HReg *dsts; /* CALL */
    uint32_t dsts_count;
    uint32_t place; /* its number (places.c), from 1 */
    Span span;      /* where what it makes was written, or nowhere; no part of the code */
} HInstr;

struct HBlock {
    VEC(HInstr) code;
};

typedef struct {
    GridId grid;
    uint32_t channels;
} HSlot;

typedef struct {
    VEC(HRegData) regs;
    VEC(HReg) params;
    VEC(HReg) results;
    HBlock body;
    VEC(HSlot) slots;
    VEC(HSlot) partials; /* most reductions (channels) of one launch, by grid */
    uint32_t tapes;      /* of loops that are gone through backwards */
} HFunc;

/* Ways to cut a convolution into tiles (tiles.def); any: the cost model chooses. */
typedef enum {
    WAY_any,
#define TILE(name, rule, what) WAY_##name,
#include "compiler/kernel/tiles.def"
#undef TILE
    CONV_WAYS
} ConvWay;
typedef struct {
    uint8_t of[CONV_FORMS]; /* ConvWay, where it stands alone and in no chain */
} ConvWays;

struct Plan {
    Arena *arena;
    bool f64, fma;
    VEC(Type) inputs;
    uint32_t grids; /* 0 is GRID_NONE */
    uint32_t *grid_rank;
    GridId *finer;
    VEC(Kernel *) kernels;
    VEC(Conv) convs;    /* distinct; those that instructions name */
    VEC(ConvWays) ways; /* theirs */
    VEC(HFunc *) funcs; /* 0: main */
    VEC(double) constants;
    int64_t (*smallest)[MAX_RANK]; /* by grid: least extents */
    uint32_t places;
    struct HPlaced {
        const HInstr *instr;
        uint32_t func, loop; /* the host function; place of the loop around it, or 0 */
    } * place;               /* by HInstr.place */
};

/* ---- convolutions ------------------------------------------------------------ */

/* How a form is computed: what it reads is copied to a padded array, in which each of a convolution's taps is
 * an offset; cells q of what is made gather made[o](q) = sum w padded[i](q + offset). Where cells are halved,
 * an axis is split into its even and odd cells, so that all offsets are of whole cells. */
typedef struct {
    /* channels of a group, of what is read and of what is made; of u and v for WEIGHTS */
    uint32_t groups, in, out;
    struct {
        uint32_t split;      /* of the padded array: 1, or 2: even cells, then odd ones */
        uint32_t made_split; /* of what is made, before it is folded */
        int64_t low;         /* cells of padding below the first cell, before splitting */
        /* extent of the padded array: forward, WEIGHTS: (read + low + rest) / split, rounded up;
         * TRANSPOSED: made + low + rest */
        int64_t rest;
        int64_t ghost[2]; /* TRANSPOSED: ghosts that are made, and folded back */
    } axis[MAX_RANK];
    bool folds;      /* TRANSPOSED: what is made goes through scratch */
    uint32_t phases; /* products of the splits */
    uint32_t made_phases;
} ConvPlan;
extern const char *const conv_form_names[CONV_FORMS];
uint32_t plan_add_conv(Plan *plan, const Conv *conv); /* the equal one, if there is one */
extern const char *const conv_way_names[];
ConvPlan conv_plan(const Conv *conv, ConvForm form);
/* Taps of an axis that meet phase `phase` of what is made: first, first + step, …; how many. */
typedef struct {
    uint32_t first, step, count;
} ConvTaps;
ConvTaps conv_taps(const Conv *conv, ConvForm form, uint32_t axis, uint32_t phase);

enum {
    CONV_TILE = 256,      /* numbers that a tile may read beyond the end: room for any target */
    CONV_BLOCK = 1 << 19, /* bytes of padded rows that are used while they are in the cache */
    /* bytes of a channel whose products are summed before anything is rounded */
    CONV_CHUNK = 1 << 13,
    CHAIN_BYTES = 3 << 17, /* of the padded rows of a chain that are there at a time */
    CHAIN_TILES = 6,       /* tiles of rows that a turn takes, at most */
    CHAIN_ROWS = 20,       /* that a unit of a chain makes, at least */
    /* vectors of a row that convolutions of a chain make before these go through the launches */
    CHAIN_PART = 6,
};

/* ---- what the files of this folder offer each other -------------------------------- */

uint32_t plan_constant(Plan *plan, double number);
uint32_t plan_add_kernel(Plan *plan, Kernel *kernel); /* the equal one, if there is one */
HReg host_reg(HFunc *f, Type type, HPlace place);

bool kernel_literal(double number);                /* 0, ±1, ±2, ½ */
void kernel_measure(Kernel *kernel, Arena *arena); /* reach, flops, loads, smallest */
Kernel *kernel_copying(uint32_t rank, uint32_t channels, Arena *arena);
void kernel_print(const Kernel *kernel, uint32_t number, Text *out);
uint32_t kernel_operands(const KNodeData *n); /* used entries of operand[] */

/* How often `roots` (and what they need) are evaluated around one cell: distinct (node, offset) pairs,
 * weighed by cost. Stops at `cap` pairs. */
typedef struct {
    double flops, fused;
    uint32_t pairs;  /* with static offsets */
    uint32_t chains; /* with offsets folded at sides: what boundary code emits */
    int32_t low[MAX_RANK], high[MAX_RANK]; /* reach of loads and sides */
    bool capped;
} KCount;
KCount kernel_count(const KNodes *nodes, const KNode *roots, uint32_t count, uint32_t rank,
                    uint32_t cap);
/* The same without `chains`; places, by node: at how many offsets it is evaluated. */
KCount kernel_count_places(const KNodes *nodes, const KNode *roots, uint32_t count, uint32_t rank,
                           uint32_t cap, uint32_t *places);

void plan_seal(Plan *plan);  /* moves growing arrays into the arena */
void plan_trim(Plan *plan);  /* leaves out outputs that nothing reads */
void plan_relay(Plan *plan); /* finds launches, and steps of loops, that can run together */
void plan_chains(
    Plan *plan); /* finds convolutions that run together with what stands between them */
void plan_ahead(Plan *plan);    /* finds what the last step of a loop need not make */
void plan_memory(Plan *plan);   /* places, slots, pools, copies */
void plan_smallest(Plan *plan); /* the least extents, per grid */
void plan_number(Plan *plan);   /* gives every instruction its place, when they move no more */

extern const char *const kernel_kinds[K_KINDS], *const host_words[H_KINDS]; /* in texts */
/* Everything that becomes code: all but the constants and the names. Equal texts, equal code. */
void plan_print_code(const Plan *plan, Text *out);

/* Can the launches from `first` on run together as it says? `left`: instructions that stand after it. */
bool relay_holds(const Plan *plan, const HInstr *first, uint32_t left);
/* The same for the instructions of a chain. */
bool chain_holds(const Plan *plan, const HFunc *f, const HInstr *first, uint32_t left);
/* Does instruction `h` of a loop that goes back make a next state of a state that was kept, and of nothing else, which no later
 * step hands on? */
bool host_may_stay(const HLoop *back, const HInstr *h);
/* Could the last step of a loop leave out instruction `i` of its body? It makes fields alone, on its own. */
bool host_may_be_ahead(const Plan *plan, const HBlock *block, uint32_t i);
/* Can tiles of rows sum the convolution (compiler/llvm/emit_conv.c)? */
bool conv_by_rows(const Conv *conv);
/* How many steps of the loop could be taken in one relay; 0: not more than one. */
uint32_t steps_together(const Plan *plan, const HFunc *f, const HLoop *loop);
/* Which ends do its launches read across? PdnRelay.round. */
uint32_t steps_round(const Plan *plan, const HLoop *loop);
/* Along an axis: how many cells beyond its own the kernel reads; does it read cells at the other end of the grid? */
int32_t kernel_reach(const Kernel *kernel, uint32_t axis);
bool kernel_goes_round(const Kernel *kernel, uint32_t axis);
/* Words of the arguments of its launches (emit.h: KernelWords). */
uint32_t kernel_words_count(const Kernel *kernel);

/* Is it a loop, with HInstr.loop: forwards, backwards, or up to a step? */
static inline bool host_is_loop(HKind kind) {
    return kind == H_LOOP || kind == H_BACK || kind == H_ADVANCE;
}

/* Does instruction `i` run together with others, in a chain? */
static inline bool host_in_chain(const HBlock *block, uint32_t i) {
    return block->code.data[i].chain > 0 || (i > 0 && block->code.data[i - 1].chain > 0);
}

/* Does instruction `i` read register r, write it? Visits registers of an instruction (not of bodies). */
typedef void HVisit(void *context, HReg reg, bool written);
void host_visit(const HInstr *instr, const Plan *plan, HVisit *visit, void *context);

#endif
