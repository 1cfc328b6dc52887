/* linearity: how every node of a function depends on parameters. */
#ifndef PDN_ANALYSIS_LINEARITY_H
#define PDN_ANALYSIS_LINEARITY_H

#include "compiler/analysis/analysis.h"

/* Finer than Linearity: zero is linear as well as constant. */
typedef enum {
    DEPENDS_ZERO,
    DEPENDS_NOT,
    DEPENDS_LINEAR,
    DEPENDS_AFFINE,
    DEPENDS_NONLINEAR
} Dependence;

typedef struct {
    Dependence *nodes;    /* by node */
    Dependence **results; /* of LOOP and CALL nodes: by result */
    Node culprit;         /* first nonlinear node, or NODE_NONE */
} Dependences;

/* `params`: how each parameter depends. Allocated from `arena`. */
Dependences dependences_of(Module *module, FuncId func, const Dependence *params, Arena *arena);
/* A loop's states depend on what they become; fills a Dependence for each of the body's
 * parameters. */
void loop_dependences(Module *module, const Loop *loop, const Dependence *operands,
                      Dependence *params, Arena *arena);
static inline bool depends(Dependence d) { return d >= DEPENDS_LINEAR; }

#endif
