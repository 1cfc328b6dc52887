/* fourier: norms of operators without boundary by their symbols. */
#ifndef PDN_ANALYSIS_FOURIER_H
#define PDN_ANALYSIS_FOURIER_H

#include "compiler/analysis/operator.h"

/* Upper bound for every size, or INFINITY where the operator has sides that are not periodic,
 * masks, or more channels than its smaller side can have. */
double fourier_bound(Module *module, FuncId func, GridId grid, const Simple *result,
                     const char **theorem);

#endif
