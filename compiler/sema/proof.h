/* proof.h: operators as graph functions, for what analysis makes of them. Private to sema. */
#ifndef PDN_PROOF_H
#define PDN_PROOF_H

#include "compiler/sema/value.h"

/* An operator as a graph function of u (or several unknowns), then of what it captured. */
typedef struct {
    FuncId func;
    Frame *frame;
    const Boundary *boundary; /* of the result */
} OperatorFunc;

/* Elaborates op(u) for a u of the type, with the boundary of `like` (NULL: none stated), in a function of its own. */
bool operator_func(Elab *e, const Operator *op, Type type, const Value *like, Span span,
                   OperatorFunc *out);
/* All results of `func` in the current frame: its first parameters are `first`, the rest what `f` captured. */
void inline_results(Elab *e, FuncId func, const OperatorFunc *f, const Node *first, uint32_t count,
                    Node *results);
/* Is that a field? If not, a message. */
bool needs_field(Elab *e, const Value *v, Span span);
/* A note at what the user wrote that became node `why` of `func`. */
void blame(Elab *e, Diagnostic *d, FuncId func, Node why);

#endif
