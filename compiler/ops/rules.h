/* rules: the functions that the slots of ops.def name, and what the families share. */
#ifndef PDN_OPS_RULES_H
#define PDN_OPS_RULES_H

#include "compiler/ops/eval.h"
#include "compiler/ops/ops.h"

#define OP(id, name, operands, class, shape, fold, eval, derivative, lower, cost)                  \
    ShapeRule shape;                                                                               \
    FoldRule fold;                                                                                 \
    EvalRule eval;                                                                                 \
    DerivativeRule derivative;
#include "compiler/ops/ops.def"
#undef OP
EvalRule eval_none;

/* ---- pointwise ---- */

/* A pointwise op on numbers; NULL for other ops. Folding and the interpreter share it. */
typedef double ScalarFunction(const double *x);
ScalarFunction *op_scalar(Op op);

/* The canonical form of a pointwise node about to be added: constants folded, spread scalars
 * taken as scalars, commutative operands in order (in place). NODE_NONE where the node is still
 * to be made. */
Node pointwise_canonical(Module *m, FuncId f, Op op, Node *operands, uint32_t count, Type type,
                         Span span);

/* The number that a node equals everywhere: a constant, or a constant spread over a grid and channels. */
bool node_is_number(const Func *f, Node n, double *number);
/* `scalar` as a value of the given type (scalar, or field with that many channels). */
Node node_fill(Module *m, FuncId f, Node scalar, Type type, Span span);
/* Sums `n` down to a type that broadcasting made it from: over channels, over cells. */
Node node_unbroadcast(Module *m, FuncId f, Node n, Type type, Span span);
/* `n` broadcast to `type`. */
Node node_broadcast(Module *m, FuncId f, Node n, Type type, Span span);

/* ---- resampling ---- */

/* The tangent of a MAXPOOL node whose operand has tangent t: the mean of t over the cells that are largest. */
Node maxpool_tangent(Module *m, FuncId f, Node n, Node t);

/* ---- tridiagonal systems ---- */

/* The tangent of x, a TRIDIAG node of these data and operands, some of which have tangents (b's first; NODE_NONE: none). */
Node tridiag_tangent(Module *m, FuncId f, const NodeData *d, const Node *operands, Node x,
                     const Node *tangents);

/* ---- stencils ---- */

/* What a tap reads on one axis: the position inside, the factor of what is there, and the factor
 * of the value of the side (0: none). The rule of graph.h; `j` further ghosts continue by
 * reflection. */
typedef struct {
    int64_t at;
    int factor;
    double value_factor;
    int side; /* 0 low, 1 high, -1: inside */
} GhostRead;
GhostRead ghost_read(const SideKind sides[2], int64_t position, int64_t extent, double spacing);
GhostRead stencil_read(const Stencil *s, uint32_t axis, int64_t position, int64_t extent,
                       double spacing);
/* Operand number of the value of a side, or 0 when it has none. */
uint32_t stencil_value_operand(const Stencil *s, uint32_t axis, int side);
uint32_t stencil_values(const Stencil *s);
/* Largest distance in cells that a stencil reads along an axis. */
int32_t stencil_reach(const Stencil *s, uint32_t axis);

/* ---- control ---- */

/* What does not fit, as *why; false. */
bool control_misfit(Module *m, const char **why, const char *what, Type wanted, Type have);
/* Is loop n run backwards, too? */
bool loop_runs_back(const Func *f, Node n);
/* A tuple that owns `count` items, which are returned, empty. */
Array *tuple_make(Array *out, uint32_t count);
void stack_push(Array *stack, const Array *frame);

#endif
