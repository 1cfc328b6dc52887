/* The makers of nodes. The depth limit of expressions is kept here, that of blocks in feed.c. */
#include "compiler/syntax/parser.h"

#include <string.h>

const char *ast_op_text(AstOp op) {
    static const char *const texts[] = {
        [AST_NEG] = "-",    [AST_NOT] = "not",  [AST_OR] = "or", [AST_AND] = "and", [AST_EQ] = "==",
        [AST_NE] = "!=",    [AST_LT] = "<",     [AST_LE] = "<=", [AST_GT] = ">",    [AST_GE] = ">=",
        [AST_RANGE] = "..", [AST_ARROW] = "->", [AST_ADD] = "+", [AST_SUB] = "-",   [AST_MUL] = "*",
        [AST_DIV] = "/",    [AST_MOD] = "%",    [AST_POW] = "^",
    };
    return texts[op];
}

const char *ast_def_text(DefKind kind) {
    static const char *const texts[] = {
        [DEF_OPERATOR] = "operator", [DEF_PDE] = "pde",       [DEF_SCHEME] = "scheme",
        [DEF_NETWORK] = "network",   [DEF_SOLVER] = "solver",
    };
    return texts[kind];
}

void *nodes_move(void *to, const void *from, size_t size) {
    return size ? memcpy(to, from, size) : to;
}

Expr *make_expr(Parser *parser, ExprKind kind, Span span) {
    Expr *expr = ARENA_NEW(parser->arena, Expr);
    expr->kind = kind;
    expr->depth = 1;
    expr->span = span;
    return expr;
}

/* The node stands above `below`. */
static void rise(Parser *parser, Expr *expr, const Expr *below) {
    if (below && below->depth >= expr->depth) {
        expr->depth = below->depth + 1;
        if (expr->depth > AST_DEPTH_LIMIT) { too_deep(parser, expr->span); }
    }
}

Expr *make_name(Parser *parser, NameAt name) {
    Expr *expr = make_expr(parser, EXPR_NAME, name.span);
    expr->name = name.name;
    return expr;
}

Expr *make_list(Parser *parser, Span span, const Exprs *items) {
    Expr *expr = make_expr(parser, EXPR_LIST, span);
    expr->list = MAKE_LIST(ExprList, items);
    for (uint32_t i = 0; i < items->count; i++) { rise(parser, expr, items->items[i]); }
    return expr;
}

Expr *make_call(Parser *parser, Span span, Expr *callee, const Args *args) {
    Expr *expr = make_expr(parser, EXPR_CALL, span);
    expr->call.callee = callee;
    expr->call.args = args->items;
    expr->call.count = args->count;
    rise(parser, expr, callee);
    for (uint32_t i = 0; i < args->count; i++) { rise(parser, expr, args->items[i].value); }
    return expr;
}

Expr *make_index(Parser *parser, Span span, Expr *base, Expr *index) {
    Expr *expr = make_expr(parser, EXPR_INDEX, span);
    expr->index.base = base;
    expr->index.index = index;
    rise(parser, expr, base);
    rise(parser, expr, index);
    return expr;
}

Expr *make_member(Parser *parser, Span span, Expr *base, NameAt name) {
    Expr *expr = make_expr(parser, EXPR_MEMBER, span);
    expr->member.base = base;
    expr->member.name = name.name;
    expr->member.name_span = name.span;
    rise(parser, expr, base);
    return expr;
}

Expr *make_unary(Parser *parser, Span span, AstOp op, Expr *operand) {
    Expr *expr = make_expr(parser, EXPR_UNARY, span);
    expr->unary.op = op;
    expr->unary.operand = operand;
    rise(parser, expr, operand);
    return expr;
}

Expr *make_binary(Parser *parser, Span span, AstOp op, Span op_span, Expr *left, Expr *right) {
    Expr *expr = make_expr(parser, EXPR_BINARY, span);
    expr->binary.op = op;
    expr->binary.op_span = op_span;
    expr->binary.left = left;
    expr->binary.right = right;
    rise(parser, expr, left);
    rise(parser, expr, right);
    return expr;
}

Stmt *make_stmt(Parser *parser, StmtKind kind, Span span) {
    Stmt *stmt = ARENA_NEW(parser->arena, Stmt);
    stmt->kind = kind;
    stmt->span = span;
    return stmt;
}

Block *make_block(Parser *parser, Span span, const Stmts *stmts) {
    Block *block = ARENA_NEW(parser->arena, Block);
    block->span = span;
    block->items = stmts->items;
    block->count = stmts->count;
    return block;
}
