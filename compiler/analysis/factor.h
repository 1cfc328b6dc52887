/* factor: derived functions with the numbers in them gathered. */
#ifndef PDN_ANALYSIS_FACTOR_H
#define PDN_ANALYSIS_FACTOR_H

#include "compiler/graph/graph.h"

/* A function of the same parameters with the same results to rounding, in which numbers that the chain rule
 * multiplied one by one stand together, and comparisons that the ranges of their operands decide are gone. */
FuncId factor_func(Module *module, FuncId func);

#endif
