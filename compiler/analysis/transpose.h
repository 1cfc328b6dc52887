/* transpose: what transposition and forward differentiation share. */
#ifndef PDN_ANALYSIS_TRANSPOSE_H
#define PDN_ANALYSIS_TRANSPOSE_H

#include "compiler/graph/graph.h"

/* Takes a scratch function away: its number goes when it is the last, else it stays as an empty
 * one. */
void func_drop(Module *module, FuncId func);
/* `n` + `m`, where NODE_NONE is nothing. */
Node sum_of(Module *module, FuncId func, Node n, Node m, Span span);
/* Zero of a type: a number or a field. */
Node zero_of(Module *module, FuncId func, Type type, Span span);

#endif
