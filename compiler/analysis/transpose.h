/* transpose: what transposition, forward and reverse differentiation share. */
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
/* Zero of the type of a node, which may be a stack. */
Node zero_like(Module *module, FuncId func, Node like, Span span);

/* Does what an op gives vary with its operands, other than in steps? */
bool op_varies(Op op);
/* Which nodes vary when these parameters do; loops by a fixed point. */
bool *activity_of(Module *module, FuncId func, const bool *params, Arena *arena);
/* By parameter of the body (operand of the loop): states that come to vary are added. */
void loop_activity(Module *module, const Loop *loop, bool *params, Arena *arena);

#endif
