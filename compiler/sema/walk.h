/* walk.h: which names an expression or a statement mentions. Private to sema. */
#ifndef PDN_WALK_H
#define PDN_WALK_H

#include "compiler/syntax/ast.h"

/* Called for every node of an expression, parents first; false skips what is below. */
typedef bool ExprVisit(void *context, const Expr *x);
void walk_expr(const Expr *x, ExprVisit *visit, void *context);
/* All expressions of a statement and of the blocks in it. */
void walk_stmt(const Stmt *s, ExprVisit *visit, void *context);
void walk_block(const Block *b, ExprVisit *visit, void *context);

bool expr_mentions(const Expr *x, const Name *names, uint32_t count);
/* Parameters of `let A(u) = …` hide the names. */
bool stmt_mentions(const Stmt *s, const Name *names, uint32_t count);

#endif
