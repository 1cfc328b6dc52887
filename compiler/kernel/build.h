/* build: from one function of the graph to host instructions. Private to compiler/kernel.
 *
 * lower.c turns field nodes into kernel nodes and decides which fields are stored; schedule.c orders the
 * work on demand and cuts it into kernels; loops.c makes loops, those that go back, too. */
#ifndef PDN_KERNEL_BUILD_H
#define PDN_KERNEL_BUILD_H

#include "compiler/kernel/plan_ir.h"

typedef struct {
    Module *module;
    Plan *plan;
    Arena *arena; /* scratch */
    Map flat;     /* function to its version without small calls */
    Map hosts;    /* function to host function */
} Planner;

/* One function of the graph (main, a callee, the body of a loop). In the kernel nodes of a block, LOAD,
 * RESTRICT, PROLONG and SCALAR name graph nodes, and a NUMBER is any number. */
typedef struct {
    Planner *planner;
    Func *f;
    HFunc *host;
    HBlock *code;
    bool in_loop;
    HReg *reg;    /* by node: the register that holds it, or NONE */
    HReg **tuple; /* by node (loops, calls): registers of the results */
    HLoop **tape; /* by node (BACK): the loop whose tape it reads */
    bool *needed;
    bool *stored;   /* fields that must or should be in memory */
    uint32_t *uses; /* by needed nodes */
    double *flops;  /* by root: what it takes a cell; 0: not counted yet */
    KNode **value;  /* field node to kernel nodes, one a channel: a LOAD where stored */
    KNode **define; /* stored field node to the nodes that compute it; NULL for sources */
    KNodes nodes;
    VEC(Node) wide; /* fields that stencils read and that are not stored */
    Map shared;
} Block;

/* Fields whose value comes from elsewhere than a kernel. */
bool block_is_source(Op op);
/* Fills needed, stored, value, define. */
void block_lower(Block *b);
void block_free(Block *b);

/* ---- schedule.c ---- */

/* For code that goes to `code`. */
void block_start(Block *b, Planner *p, FuncId func, HFunc *host, HBlock *code);
/* The register that holds node n, after emitting what computes it. */
HReg block_require(Block *b, Node n);
HReg *block_regs(Block *b, const Node *nodes, uint32_t count);
HReg block_reg(Block *b, Type type);
HInstr *block_emit(Block *b, HKind kind);
/* Is result `index` of tuple node n asked for? */
bool block_result_needed(const Block *b, Node tuple, uint32_t index);

/* ---- inline.c ---- */

/* The function with its small calls inlined, and loops of a few steps unrolled; itself where there are none. */
FuncId planner_flat(Planner *p, FuncId id);

/* ---- loops.c ---- */

/* Emit the LOOP or BACK node n, and fill its `tuple`. */
void block_loop(Block *b, Node n);
void block_back(Block *b, Node n);

#endif
