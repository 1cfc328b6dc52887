/* solve.h: implicit steps and stationary equations. Private to sema. */
#ifndef PDN_SOLVE_H
#define PDN_SOLVE_H

#include "compiler/sema/value.h"

/* `solve … for u` of a block: u bound to the solution. NULL: u is nothing to solve for. */
const Env *solve_bind(Elab *e, const Env *env, const Stmt *stmt);
/* The solution of the statement. `made` is completed to the operator of its left side: env is set, and recurrence
 * and unknown for the unknown of one. x0: where the iteration starts unless `from` says, or NULL. */
const Value *run_solver(Elab *e, const Env *env, const Stmt *stmt, Operator *made, const Value *x0);
/* The left side, with x in place of the unknown. */
const Value *apply_unknown(Elab *e, const Operator *op, const Value *x, Span span);
/* Evaluates `left` in `env` with x tried as the next state of an unknown (recurrence_values.c). */
const Value *recurrence_try(Elab *e, Recurrence *recurrence, uint32_t unknown, const Value *x,
                            const Env *env, const Expr *left);

/* ---- solution.c: systems as one field ---- */

/* The fields of a list, on one grid, as channels of one; a field as it is. An error after a message. */
const Value *pack(Elab *e, const Value *v, Span span);
/* Back, as fields of the shapes of `like`, with its boundaries if `sides`. */
const Value *unpack(Elab *e, const Value *v, const Value *like, bool sides, Span span);
const Operator *packed_operator(Elab *e, const Operator *op, const Value *like);
const Value *apply_packed(Elab *e, const Operator *op, const Value *x, Span span);
/* solve.c */
/* v with the boundary of `like`, where they are fields of one grid; lists componentwise. */
const Value *with_sides_of(Elab *e, const Value *v, const Value *like);
const Value *zeros_like(Elab *e, const Value *like, Span span);

#endif
