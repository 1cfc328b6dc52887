#include "compiler/sema/walk.h"

void walk_expr(const Expr *x, ExprVisit *visit, void *context) {
    if (!x || !visit(context, x)) return;
    switch (x->kind) {
    case EXPR_LIST:
        for (uint32_t i = 0; i < x->list.count; i++) walk_expr(x->list.items[i], visit, context);
        break;
    case EXPR_CALL:
        walk_expr(x->call.callee, visit, context);
        for (uint32_t i = 0; i < x->call.count; i++)
            walk_expr(x->call.args[i].value, visit, context);
        break;
    case EXPR_INDEX:
        walk_expr(x->index.base, visit, context);
        walk_expr(x->index.index, visit, context);
        break;
    case EXPR_MEMBER: walk_expr(x->member.base, visit, context); break;
    case EXPR_UNARY: walk_expr(x->unary.operand, visit, context); break;
    case EXPR_BINARY:
        walk_expr(x->binary.left, visit, context);
        walk_expr(x->binary.right, visit, context);
        break;
    default: break;
    }
}

static void walk_list(const ExprList *list, ExprVisit *visit, void *context) {
    for (uint32_t i = 0; i < list->count; i++) walk_expr(list->items[i], visit, context);
}

void walk_block(const Block *b, ExprVisit *visit, void *context) {
    if (!b) return;
    for (uint32_t i = 0; i < b->count; i++) walk_stmt(b->items[i], visit, context);
}

void walk_stmt(const Stmt *s, ExprVisit *visit, void *context) {
    switch (s->kind) {
    case STMT_ERROR: break;
    case STMT_LET: walk_expr(s->let.value, visit, context); break;
    case STMT_LET_FN: walk_expr(s->let_fn.value, visit, context); break;
    case STMT_INPUT:
    case STMT_GRID:
    case STMT_DATA: walk_expr(s->bind.value, visit, context); break;
    case STMT_PARAM:
        walk_expr(s->param.length, visit, context);
        walk_expr(s->param.value, visit, context);
        walk_list(&s->param.ranges, visit, context);
        walk_list(&s->param.constraints, visit, context);
        walk_list(&s->param.rules, visit, context);
        walk_expr(s->param.entry, visit, context);
        break;
    case STMT_BOUNDARY: walk_expr(s->boundary.value, visit, context); break;
    case STMT_SOLVE:
        walk_expr(s->solve.left, visit, context);
        walk_expr(s->solve.right, visit, context);
        walk_expr(s->solve.unknown, visit, context);
        walk_expr(s->solve.from, visit, context);
        walk_expr(s->solve.with, visit, context);
        break;
    case STMT_EQUATION:
        walk_expr(s->equation.left, visit, context);
        walk_expr(s->equation.right, visit, context);
        break;
    case STMT_UNTIL:
    case STMT_MINIMISE:
    case STMT_ASSERT: walk_expr(s->expr.value, visit, context); break;
    case STMT_RETURN: walk_list(&s->ret.values, visit, context); break;
    case STMT_IF:
        walk_expr(s->branch.condition, visit, context);
        walk_block(s->branch.then, visit, context);
        walk_block(s->branch.otherwise, visit, context);
        break;
    case STMT_FOR:
        walk_expr(s->loop.range, visit, context);
        walk_block(s->loop.body, visit, context);
        break;
    case STMT_TRAIN:
        walk_list(&s->train.what, visit, context);
        walk_expr(s->train.on, visit, context);
        walk_expr(s->train.count, visit, context);
        walk_expr(s->train.with, visit, context);
        walk_block(s->train.body, visit, context);
        break;
    case STMT_EVERY:
        walk_expr(s->every.count, visit, context);
        walk_block(s->every.body, visit, context);
        break;
    case STMT_REPORT:
    case STMT_PRINT: walk_list(&s->print.values, visit, context); break;
    case STMT_SAVE:
    case STMT_LOAD:
        walk_expr(s->file.what, visit, context);
        walk_expr(s->file.where, visit, context);
        break;
    }
}

typedef struct {
    const Name *names;
    uint32_t count;
    bool found;
} Mention;

static bool find_name(void *context, const Expr *x) {
    Mention *m = context;
    if (x->kind == EXPR_NAME)
        for (uint32_t i = 0; i < m->count; i++) m->found = m->found || m->names[i] == x->name;
    return !m->found;
}

bool expr_mentions(const Expr *x, const Name *names, uint32_t count) {
    Mention m = {names, count, false};
    walk_expr(x, find_name, &m);
    return m.found;
}

bool stmt_mentions(const Stmt *s, const Name *names, uint32_t count) {
    Mention m = {names, count, false};
    if (s->kind == STMT_LET_FN) {
        Name visible[64];
        uint32_t left = 0;
        for (uint32_t i = 0; i < count && left < 64; i++) {
            bool hidden = false;
            for (uint32_t p = 0; p < s->let_fn.params.count; p++)
                hidden = hidden || s->let_fn.params.items[p].name == names[i];
            if (!hidden) visible[left++] = names[i];
        }
        m.names = visible;
        m.count = left;
        walk_stmt(s, find_name, &m);
        return m.found;
    }
    walk_stmt(s, find_name, &m);
    return m.found;
}
