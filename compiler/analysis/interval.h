/* interval: interval arithmetic on graphs, rounded outward. */
#ifndef PDN_ANALYSIS_INTERVAL_H
#define PDN_ANALYSIS_INTERVAL_H

#include "compiler/analysis/analysis.h"

/* The range of a pointwise op on ranges; sound for every op, tight for the common ones. Infinite
 * ends stand for large numbers, but for whether something is NaN. `same`: operands 0 and 1 are one node. */
Interval interval_op(Op op, const Interval *x, bool same);
static inline Interval interval_all(void) { return interval(-__builtin_inf(), __builtin_inf()); }
Interval interval_hull(Interval a, Interval b);
Interval interval_mul(Interval a, Interval b);
Interval interval_div(Interval a, Interval b);
/* Ranges of nodes 1 … last of a function; `given` (may be NULL) has ranges of single nodes. interval_numbers: of cells
 * where nothing is NaN. */
typedef struct {
    Node node;
    Interval range;
} GivenRange;
void interval_nodes(Module *module, FuncId func, Node last, const GivenRange *given, uint32_t count,
                    Interval *out);
void interval_numbers(Module *module, FuncId func, Node last, Interval *out);

#endif
