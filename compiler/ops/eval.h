/* eval: the state of the reference interpreter, for the eval slots. */
#ifndef PDN_OPS_EVAL_H
#define PDN_OPS_EVAL_H

#include "compiler/analysis/analysis.h"

typedef struct Evaluator Evaluator;
struct Evaluator {
    Module *module;
    const EvalOptions *options;
    int status;        /* not 0: stop; what the effect returned, or EVAL_… */
    const Array *args; /* of the function that runs */
};

/* Besides what an effect returns: a grid smaller than a stencil's reach; a frame that a stack
 * lacks; no inputs where there are some; a number of steps that is none. */
enum { EVAL_SIZE = -1, EVAL_FRAME = -2, EVAL_INPUT = -3, EVAL_COUNT = -4 };

/* Actual extents of a grid, 1 beyond its rank, and their product. */
int64_t eval_extents(const Evaluator *e, GridId grid, int64_t extent[MAX_RANK]);
/* Runs a function; results are owned by the caller (array_free). */
void eval_run(Evaluator *e, FuncId func, const Array *args, Array *results);
/* Doubles that one value of this type takes. */
int64_t eval_size(const Evaluator *e, Type type);
/* The sum of n numbers, in pairs. */
double eval_sum_of(const double *x, int64_t n);
void array_make(Evaluator *e, Array *array, Type type, int64_t frames);
void array_copy(Array *to, const Array *from);
void array_free(Array *array);
/* A tuple's `data` is an array of `frames` Arrays, which it owns. */
static inline Array *tuple_items(const Array *tuple) { return (Array *)(void *)tuple->data; }

#endif
