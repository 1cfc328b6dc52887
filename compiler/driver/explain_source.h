/* explain_source: the definitions that a graph came from, as they are written. */
#ifndef PDN_EXPLAIN_SOURCE_H
#define PDN_EXPLAIN_SOURCE_H

#include "compiler/driver/pipeline.h"

/* Those whose equations, schemes and networks a function needs, in the order of the program: found by the places of its
 * nodes and loops, never by name. `own`, which may be NULL, is one of them in any case. */
typedef VEC(const Item *) Items;
void explain_items(Session *s, const Module *module, FuncId func, const Item *own, Items *out);
/* "Equations", "Schemes": the texts, with their places. */
void explain_sources(Session *s, const Items *items, Text *out);
/* "smooth.pdn:11", "stdlib/schemes.pdn" */
const char *explain_place(Session *s, Span span);

#endif
