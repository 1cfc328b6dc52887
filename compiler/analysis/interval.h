/* interval: interval arithmetic on graphs, rounded outward. */
#ifndef PDN_ANALYSIS_INTERVAL_H
#define PDN_ANALYSIS_INTERVAL_H

#include "compiler/analysis/analysis.h"

/* The range of a pointwise op on ranges; sound for every op, tight for the common ones. NaN is
 * left out: a range holds the values that are numbers. `same`: operands 0 and 1 are one node. */
Interval interval_op(Op op, const Interval *x, bool same);
static inline Interval interval_all(void) { return (Interval){-__builtin_inf(), __builtin_inf()}; }
Interval interval_hull(Interval a, Interval b);
Interval interval_mul(Interval a, Interval b);
Interval interval_div(Interval a, Interval b);
/* Ranges of nodes 1 … last of a function; `given` (may be NULL) has ranges of single nodes. */
typedef struct {
    Node node;
    Interval range;
} GivenRange;
void interval_nodes(Module *module, FuncId func, Node last, const GivenRange *given, uint32_t count,
                    Interval *out);

#endif
