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
    uint32_t kernels;            /* distinct ones, after sharing */
    uint32_t launches;           /* in the program's text, loops counted once */
    double bytes, flops;         /* moved and done by one execution, for the given sizes */
    uint64_t workspace;          /* bytes of scratch; without the stacks that gradients are summed into */
    uint64_t smallest[MAX_RANK]; /* least extents that the stencils allow */
} PlanCost;
PlanCost plan_cost(const Plan *plan, const Module *module);

#endif
