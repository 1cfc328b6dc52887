/* analysis: what can be computed or proved about graphs. Knows no machines. */
#ifndef PDN_ANALYSIS_H
#define PDN_ANALYSIS_H

#include "compiler/graph/graph.h"

/* ---- reference interpreter, in double ---------------------------------------- */

/* A value of the interpreter: scalar (data of 1), field [channels][z][y][x], or stack of those. */
typedef struct {
    Type type;
    int64_t frames; /* of a stack, else 1 */
    int64_t size;   /* doubles in data */
    double *data;
} Array;

typedef struct {
    const Array *inputs;                /* by Module.inputs */
    const int64_t (*extents)[MAX_RANK]; /* by grid: actual sizes; NULL: as in the module */
    uint64_t seed;
    /* Called for every effect of the main function, in order; nonzero stops. May be NULL. */
    int (*effect)(void *context, const Effect *effect, const Array *values);
    /* Does what the host does at a TASK: replaces the values in place. NULL: leaves them. Nonzero stops. */
    int (*task)(void *context, uint32_t number, Array *values, uint32_t count);
    /* Called after every node with its value and those of its operands, and the arguments of the
     * function that runs (of a loop's body: k first); nonzero stops. May be NULL. */
    int (*inspect)(void *context, FuncId func, Node node, const Array *value,
                   const Array *const *operands, const Array *arguments);
    /* As PdnHost.batch_mean: puts means over the samples of a batch in place of the numbers. NULL: one sample. */
    int (*batch_mean)(void *context, uint64_t place, double *data, int64_t count,
                      const int64_t *extent);
    /* As PdnHost.unconverged. NULL: goes on. */
    int (*unconverged)(void *context, uint32_t number, double residual, double tolerance,
                       double steps);
    void *context;
} EvalOptions;

/* Runs `func` on `args`; results (as many as the function has) are allocated from `arena`.
 * Returns 0, what `effect` returned, or a negative EVAL_… of ops/eval.h (a grid smaller than a
 * stencil's reach, a frame that a stack lacks, inputs that are missing). */
int eval_func(Module *module, FuncId func, const Array *args, Array *results,
              const EvalOptions *options, Arena *arena);

/* ---- passes (rows of compiler/driver/passes.def) ---------------------------------- */

void pass_simplify(Module *module); /* rebuilds every function: fold, share, drop dead code */
void pass_keep(Module *module);     /* what a step back needs and is dear to make again is kept */
void pass_contract(Module *module); /* a b + c becomes fma where the product has no other use */

/* ---- sizes ------------------------------------------------------------------------------ */

/* The least cells along each axis that a grid must have, itself and those made of it, for the stencils and convolutions of
 * a function not to reach farther beyond a side than there are cells; and where the program asks for them (SPAN_NONE:
 * nowhere, 1 will do). */
typedef struct {
    int64_t least[MAX_RANK];
    Span span[MAX_RANK];
} LeastExtents;
void extents_least(const Module *module, FuncId func, GridId grid, LeastExtents *out);

/* ---- operators as functions --------------------------------------------------------
 * Here an operator is a function of one parameter u (then captured values) with one result. */

/* Is result 0 of `func` linear (or affine: linear plus something without u) in parameter `p`? */
typedef enum {
    LINEARITY_CONSTANT,
    LINEARITY_LINEAR,
    LINEARITY_AFFINE,
    LINEARITY_NONLINEAR
} Linearity;
/* `why` (may be NULL) gets the node that made it nonlinear. */
Linearity analyse_linearity(Module *module, FuncId func, uint32_t p, Node *why);

/* The transpose of a linear `func` in its parameter 0: a new function of (w, captured…).
 * NULL-function 0 and *why where it is not linear or an op has no transpose. */
FuncId transpose_func(Module *module, FuncId func, Node *why);

/* Partial derivative of pointwise node `n` by operand `i`, added to the same function. */
Node derivative_pointwise(Module *module, FuncId func, Node n, uint32_t i);
/* d result / d u in direction v: a function of (u, v, captured…). 0 and *why if an op has none. */
FuncId jvp_func(Module *module, FuncId func, Node *why);

/* Values and gradients at once: a function of the same parameters as `func` whose results are all results of
 * func, then, for each parameter p with wanted[p], the gradient of result 0 (a number) by it, of that parameter's
 * type. Loops run forwards once (LOOP), then backwards (BACK). 0 and *why (the culprit node of func, may be
 * NODE_NONE) where an op has no derivative. At kinks the gradient is the finite one that docs/language.md
 * states; what a where() did not choose contributes nothing, whatever it is. */
FuncId gradient_func(Module *module, FuncId func, const bool *wanted, Node *why);
/* (derivative by u)ᵀ w: a function of (w, u, captured…), w of the type of result 0. As above. */
FuncId vjp_func(Module *module, FuncId func, Node *why);

/* The diagonal of the derivative of result 0 by parameter 0, fields of the same type: entry (c, i), (c, i) at channel
 * c of cell i. A function of the same parameters as `func`, exact at all sides. 0 where there is none: *why is the
 * node without a derivative, or *missing says why the entries cannot be told apart. */
FuncId diagonal_func(Module *module, FuncId func, Node *why, const char **missing);

/* ---- norms, sectors, stability ------------------------------------------------------ */

typedef struct {
    bool proved;
    double bound;        /* upper bound of the spectral norm, rounding included */
    const char *theorem; /* "Schur test", "Fourier symbol", "Collatz-Wielandt" … */
    const char *missing; /* what is missing where not proved */
} NormBound;

/* Upper bound of the spectral norm of the linear operator `func` (homogeneous part) on the grid
 * of its parameter; where extents are -1, for every size. */
NormBound norm_bound(Module *module, FuncId func, Arena *arena);

typedef struct {
    double low, high; /* of the values that are numbers */
    bool nan;         /* there may be others: roots and logarithms of negative numbers, 0/0 */
} Interval;
static inline Interval interval(double low, double high) { return (Interval){low, high, false}; }
/* Range of a node when u (parameter 0) and all fields are arbitrary, by interval arithmetic. */
Interval range_of(Module *module, FuncId func, Node n);

typedef struct {
    bool proved;
    double step;  /* largest tau with a proof that u + tau F(u) does not grow in the 2-norm */
    bool refutes; /* and any larger step is proved unstable (linear, bound exact) */
    const char *theorem;
    const char *missing;    /* in the field's words, with what would help */
    double unstable;        /* every step above this is proved unstable; HUGE_VAL: no such proof */
    double lipschitz, norm; /* L and ‖K‖ where the form is -Kᵀ Φ(K u) */
} StepBound;
/* F as a function of u: looks for -Kᵀ Φ(K u) with 0 <= Φ(s)/s <= L (step 2/(L ‖K‖²)), then for
 * linear, symmetric, negative semidefinite (2/‖F‖). Source: Alt, Schrader, Augustin, Peter,
 * Weickert 2021. */
StepBound stable_step(Module *module, FuncId func, Arena *arena);
/* Is (F(u), u) <= 0 for all u (of a linear one, its linear part)? As above with any L > 0, and a linear part whose
 * symmetric part is negative semidefinite. A yes is a proof. */
bool is_dissipative(Module *module, FuncId func, const char **missing);

/* A summand -c Kᵀ Φ(K u) of F with a convolution K whose weights are known only when the program runs: its part of the
 * bound of F is factor ‖K‖², factor = c L. */
typedef struct {
    Node weights; /* of the function `flat` */
    ConvId conv;
    double factor;
} ConvPart;
typedef struct {
    FuncId flat; /* F with calls put in place: the same parameters */
    ConvPart *parts;
    uint32_t count;      /* 0: no proof, or none that needs weights */
    double rest;         /* bound of the other summands */
    const char *missing; /* where there are convolutions, and no proof */
} ConvStep;
/* F as a function of u where stable_step has found no proof: u + tau F(u) does not grow for
 * tau <= 2 / (rest + Σ factor ‖K‖²). `flat` and what else it made stay until operator_release. */
ConvStep conv_step(Module *module, FuncId func, Arena *arena);

/* Is result 0, a number, homogeneous in the parameters: f(c x) = c^degree f(x) for all c > 0? A yes is a proof. */
bool homogeneity_degree(const Module *module, FuncId func, double *degree);

/* Upper bound of |d result / d parameter 0| of a pointwise scalar function; HUGE_VAL when
 * unbounded. */
double lipschitz_bound(Module *module, FuncId func, Arena *arena);

#endif
