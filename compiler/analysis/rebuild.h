/* rebuild: the way passes change functions, and the order in which they visit them. */
#ifndef PDN_ANALYSIS_REBUILD_H
#define PDN_ANALYSIS_REBUILD_H

#include "compiler/graph/graph.h"

/* What node n of `from` becomes in `to`; known[] maps old nodes to new ones. NODE_NONE: a plain
 * copy. */
typedef Node Rewrite(void *context, Module *module, FuncId from, Node n, FuncId to,
                     const Node *known);

/* Builds `func` again from its live nodes, through `rewrite` (may be NULL). Parameters stay. */
void rebuild_func(Module *module, FuncId func, Rewrite *rewrite, void *context);
/* Functions, called ones before their callers; freed by the caller. */
FuncId *rebuild_order(const Module *module, uint32_t *count);
/* live[n]: does a result or an effect need node n? Freed by the caller. */
uint8_t *rebuild_live(const Func *f);

#endif
