/* What the files of compiler/graph share among themselves and with the passes. */
#ifndef PDN_GRAPH_INTERNAL_H
#define PDN_GRAPH_INTERNAL_H

#include "compiler/graph/graph.h"

/* The compiler's own fault: says what, dumps the module to standard error and aborts. */
void graph_fault(const Module *module, const char *what) __attribute__((noreturn));

/* Appends a node as it stands, without folding or sharing (reader, passes). */
Node graph_append(Module *module, FuncId func, const NodeData *data, const Node *operands);
/* Does graph_add compute the type of this op, or is it given? */
bool graph_type_is_given(Op op);

#endif
