/* diagonal: the diagonals of Jacobians. */
#ifndef PDN_ANALYSIS_DIAGONAL_H
#define PDN_ANALYSIS_DIAGONAL_H

#include "compiler/analysis/analysis.h"

/* By derivatives in as many directions as there are colours of cells of which none is read with another:
 * function, *why and *missing as of diagonal_func. */
FuncId probe_diagonal(Module *module, FuncId func, Node *why, const char **missing);

#endif
