/* plan: what a graph becomes before it is machine code: kernels, and a host program that calls them.
 *
 * A kernel computes some fields (and partial reductions) of one grid in one pass over memory: a DAG of
 * loads, constants and pointwise ops evaluated at a cell and at shifted cells; fused stencils leave no
 * field behind. The host program is structured: launches, scalar arithmetic, loops with rotating
 * buffers, random fills, effects. Weights, step sizes, numbers that are not 0, ±1, 2, ½, sizes, spacings
 * and trip counts are arguments: plans that differ only in those are the same code. */
#ifndef PDN_PLAN_H
#define PDN_PLAN_H

#include "compiler/graph/graph.h"

typedef struct Plan Plan;

typedef struct {
    bool f64;
    bool fma; /* the target has fused multiply-add (code_target_has_fma): stencils use it too */
    /* What becomes the program; 0: the main function of the module. Of another function the parameters
     * are the program's inputs and the results its outputs (CodeArguments): numbers, fields, and stacks, of
     * which an input is a PdnStack and an output room for the frames of the result. */
    FuncId func;
} PlanOptions;

/* Fuses and lays out a function of `module`. Never fails on a verified module. */
Plan *plan_make(Module *module, const PlanOptions *options, Arena *arena);
void plan_print(const Plan *plan, Text *out);
/* What the loops that gradients go back through keep, a line of comment each: the states of a step, and where the number
 * of steps and the sizes are known how many of them there is room for in so many bytes of memory, and what is done again. */
void plan_print_tapes(const Plan *plan, const Module *module, int64_t memory, Text *out);
Plan *plan_read(const char *text, size_t length, Arena *arena, char **error);
const char *plan_verify(const Plan *plan, Arena *arena); /* NULL: sound */

/* For `explain`, tests and the check before a run. */
typedef struct {
    uint32_t kernels;    /* distinct ones, after sharing */
    uint32_t launches;   /* in the program's text, loops counted once */
    double bytes, flops; /* moved and done by one execution, for the given sizes */
    /* bytes, where all launches and steps that may run together do (relay.c); no more than `bytes` */
    double together;
    /* bytes of scratch; without the stacks that gradients are summed into */
    uint64_t workspace;
    uint64_t smallest[MAX_RANK]; /* least extents that the stencils allow */
} PlanCost;
PlanCost plan_cost(const Plan *plan, const Module *module);

/* ---- ways to compute convolutions (tiles.def) ---- */

/* Distinct convolutions, each of so many forms. */
uint32_t plan_convolutions(const Plan *plan);
uint32_t plan_forms(void);
/* What a form of a convolution is, on a line: equal lines, equal work on grids of equal sizes. */
void plan_convolution_text(const Plan *plan, uint32_t number, uint32_t form, Text *out);
uint32_t plan_ways(void); /* 0: any, the cost model chooses */
const char *plan_way_name(uint32_t way);
/* Where it stands in no chain it is computed in this way, on machines for which that is one. */
void plan_set_way(Plan *plan, uint32_t number, uint32_t form, uint32_t way);

/* ---- for profiles ---- */

/* Instructions of the host program have numbers, their places, from 1 in the order of its text. */
uint32_t plan_places(const Plan *plan);

typedef enum {
    WORK_OTHER, /* nothing that takes time by itself */
    WORK_KERNEL,
    WORK_CONVOLUTION,
    WORK_TRIDIAGONAL,
    WORK_RANDOM,
    WORK_NORM, /* of a convolution */
    WORK_MEAN, /* over a batch */
    WORK_LOOP, /* what it does itself: copies of states for trajectories and gradients */
    WORK_EFFECT,
    WORK_TASK,
} PlanWork;

typedef struct {
    PlanWork work;
    uint32_t number; /* of the kernel, the convolution, the effect; a LoopId of the module */
    uint32_t outer;  /* place of the loop around it; 0: none */
    /* launches, this and the next ones, that may run as one; of a loop, steps; 0: none */
    uint32_t together;
    GridId grid;      /* GRID_NONE: none */
    uint32_t in, out; /* channels that it reads and makes */
    uint32_t form;    /* of a convolution */
    bool chained;     /* it runs with those that follow */
    Span span;        /* where what it makes was written, or nowhere */
} PlanPlace;
PlanPlace plan_place(const Plan *plan, uint32_t place);
void plan_place_text(const Plan *plan, uint32_t place, Text *out); /* "kernel 3, 3×3 cells" */
/* Of what may run together from a place on, which is that of a launch or a loop: places of the launches in order, those of a
 * loop again for every step. At most PDN_RELAY_STAGES. */
uint32_t plan_stages(const Plan *plan, uint32_t place, uint32_t *stages);

struct PdnGrid; /* runtime/pdn.h */
typedef struct {
    double flops, bytes;
} PlanAmount;
/* What an instruction does and moves (a fused multiply-add is two flops, a division 8: the costs in ops.def) when it runs once, with those that always run together with it, on grids of these sizes (by Module.grids; NULL: as the module says). */
PlanAmount plan_amount(const Plan *plan, const Module *module, const struct PdnGrid *grids,
                       uint32_t place);
/* The same of stages [first, end) of what runs together from `place` on: a field is read once, and none is written that only
 * they read. */
PlanAmount plan_amount_together(const Plan *plan, const Module *module, const struct PdnGrid *grids,
                                uint32_t place, uint32_t first, uint32_t end);

#endif
