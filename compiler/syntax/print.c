/* The tree as text: one line a node. */
#include "compiler/syntax/ast.h"

typedef struct {
    const Names *names;
    Text *out;
} Printer;

/* Deep trees are not indented further: the output would grow with the square of the depth. */
static void indent(Printer *p, uint32_t level) {
    enum { MOST = 40 };
    for (uint32_t i = 0; i < level && i < MOST; i++) { text_add(p->out, "  ", 2); }
}

static void put_expr(Printer *p, const Expr *expr, uint32_t level);
static void put_block(Printer *p, const Block *block, uint32_t level);

static void put_line(Printer *p, uint32_t level, const char *word, const char *rest) {
    indent(p, level);
    text_puts(p->out, word);
    if (rest && *rest) {
        text_add(p->out, " ", 1);
        text_puts(p->out, rest);
    }
    text_add(p->out, "\n", 1);
}

static const char *name_text(Printer *p, Name name) { return names_text(p->names, name); }

static void put_string(Printer *p, const Expr *expr) {
    text_puts(p->out, "string \"");
    for (uint32_t i = 0; i < expr->string.length; i++) {
        char c = expr->string.bytes[i];
        if (c == '"' || c == '\\') {
            text_printf(p->out, "\\%c", c);
        } else if (c == '\n' || c == '\t') {
            text_puts(p->out, c == '\n' ? "\\n" : "\\t");
        } else {
            text_add(p->out, &c, 1);
        }
    }
    text_puts(p->out, "\"\n");
}

/* An expression under a heading; nothing when it is absent. */
static void put_part(Printer *p, const char *heading, const Expr *expr, uint32_t level) {
    if (expr) {
        put_line(p, level, heading, NULL);
        put_expr(p, expr, level + 1);
    }
}

static void put_list(Printer *p, const ExprList *list, uint32_t level) {
    for (uint32_t i = 0; i < list->count; i++) { put_expr(p, list->items[i], level); }
}

static void put_args(Printer *p, const Expr *expr, uint32_t level) {
    for (uint32_t i = 0; i < expr->call.count; i++) {
        const Arg *arg = &expr->call.args[i];
        if (arg->name) { put_line(p, level, "named", name_text(p, arg->name)); }
        put_expr(p, arg->value, level + (arg->name != 0));
    }
}

static void put_expr(Printer *p, const Expr *expr, uint32_t level) {
    switch (expr->kind) {
    case EXPR_ERROR: put_line(p, level, "error", NULL); break;
    case EXPR_NAME: put_line(p, level, "name", name_text(p, expr->name)); break;
    case EXPR_NUMBER:
        indent(p, level);
        text_printf(p->out, "number %.17g\n", expr->number);
        break;
    case EXPR_STRING:
        indent(p, level);
        put_string(p, expr);
        break;
    case EXPR_BOOL: put_line(p, level, expr->boolean ? "true" : "false", NULL); break;
    case EXPR_LIST:
        put_line(p, level, "list", NULL);
        put_list(p, &expr->list, level + 1);
        break;
    case EXPR_CALL:
        put_line(p, level, "call", NULL);
        put_expr(p, expr->call.callee, level + 1);
        put_args(p, expr, level + 1);
        break;
    case EXPR_INDEX:
        put_line(p, level, "index", NULL);
        put_expr(p, expr->index.base, level + 1);
        put_expr(p, expr->index.index, level + 1);
        break;
    case EXPR_MEMBER:
        put_line(p, level, "member", name_text(p, expr->member.name));
        put_expr(p, expr->member.base, level + 1);
        break;
    case EXPR_UNARY:
        put_line(p, level, "unary", ast_op_text(expr->unary.op));
        put_expr(p, expr->unary.operand, level + 1);
        break;
    case EXPR_BINARY:
        put_line(p, level, "binary", ast_op_text(expr->binary.op));
        put_expr(p, expr->binary.left, level + 1);
        put_expr(p, expr->binary.right, level + 1);
        break;
    }
}

static void put_params(Printer *p, const char *word, const ParamList *params, uint32_t level) {
    for (uint32_t i = 0; i < params->count; i++) {
        const Param *param = &params->items[i];
        put_line(p, level, word, name_text(p, param->name));
        if (param->type) { put_line(p, level + 1, "type", name_text(p, param->type)); }
        put_part(p, "channels", param->channels, level + 1);
        put_part(p, "default", param->value, level + 1);
    }
}

static void put_names(Printer *p, const NameAt *names, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        text_printf(p->out, " %s", name_text(p, names[i].name));
    }
    text_add(p->out, "\n", 1);
}

static void put_train(Printer *p, const Stmt *stmt, uint32_t level) {
    put_line(p, level, "train", NULL);
    put_list(p, &stmt->train.what, level + 1);
    if (stmt->train.on_name.name) {
        put_line(p, level + 1, "on", name_text(p, stmt->train.on_name.name));
        put_expr(p, stmt->train.on, level + 2);
    }
    put_line(p, level + 1, "for", name_text(p, stmt->train.unit.name));
    put_expr(p, stmt->train.count, level + 2);
    put_part(p, "with", stmt->train.with, level + 1);
    put_block(p, stmt->train.body, level + 1);
}

static void put_param_stmt(Printer *p, const Stmt *stmt, uint32_t level) {
    put_line(p, level, "param", name_text(p, stmt->param.name.name));
    put_part(p, "length", stmt->param.length, level + 1);
    put_expr(p, stmt->param.value, level + 1);
    for (uint32_t i = 0; i < stmt->param.ranges.count; i++) {
        put_part(p, "in", stmt->param.ranges.items[i], level + 1);
    }
    for (uint32_t i = 0; i < stmt->param.constraints.count; i++) {
        put_part(p, "subject to", stmt->param.constraints.items[i], level + 1);
    }
    for (uint32_t i = 0; i < stmt->param.rules.count; i++) {
        put_part(p, "with", stmt->param.rules.items[i], level + 1);
    }
    put_part(p, "at", stmt->param.entry, level + 1);
}

static void put_bind(Printer *p, const char *word, const Stmt *stmt, uint32_t level) {
    put_line(p, level, word, name_text(p, stmt->bind.name.name));
    put_expr(p, stmt->bind.value, level + 1);
}

static void put_stmt(Printer *p, const Stmt *stmt, uint32_t level) {
    switch (stmt->kind) {
    case STMT_ERROR: put_line(p, level, "error", NULL); break;
    case STMT_LET:
        indent(p, level);
        text_puts(p->out, "let");
        put_names(p, stmt->let.names, stmt->let.count);
        put_expr(p, stmt->let.value, level + 1);
        break;
    case STMT_LET_FN:
        put_line(p, level, "let operator", name_text(p, stmt->let_fn.name.name));
        put_params(p, "input", &stmt->let_fn.params, level + 1);
        put_expr(p, stmt->let_fn.value, level + 1);
        break;
    case STMT_INPUT: put_bind(p, "input", stmt, level); break;
    case STMT_GRID: put_bind(p, "grid", stmt, level); break;
    case STMT_DATA: put_bind(p, "data", stmt, level); break;
    case STMT_PARAM: put_param_stmt(p, stmt, level); break;
    case STMT_BOUNDARY:
        indent(p, level);
        text_puts(p->out, "boundary");
        put_names(p, stmt->boundary.names, stmt->boundary.count);
        put_part(p, "at", stmt->boundary.side, level + 1);
        put_expr(p, stmt->boundary.value, level + 1);
        break;
    case STMT_SOLVE:
        put_line(p, level, "solve", NULL);
        put_expr(p, stmt->solve.left, level + 1);
        put_expr(p, stmt->solve.right, level + 1);
        put_part(p, "for", stmt->solve.unknown, level + 1);
        put_part(p, "from", stmt->solve.from, level + 1);
        put_part(p, "with", stmt->solve.with, level + 1);
        break;
    case STMT_EQUATION:
        put_line(p, level, "equation", NULL);
        put_expr(p, stmt->equation.left, level + 1);
        put_expr(p, stmt->equation.right, level + 1);
        break;
    case STMT_UNTIL: put_part(p, "until", stmt->expr.value, level); break;
    case STMT_MINIMISE: put_part(p, "minimise", stmt->expr.value, level); break;
    case STMT_ASSERT: put_part(p, "assert", stmt->expr.value, level); break;
    case STMT_RETURN:
        put_line(p, level, "return", NULL);
        put_list(p, &stmt->ret.values, level + 1);
        break;
    case STMT_IF:
        put_part(p, "if", stmt->branch.condition, level);
        put_block(p, stmt->branch.then, level + 1);
        if (stmt->branch.otherwise) {
            put_line(p, level, "else", NULL);
            put_block(p, stmt->branch.otherwise, level + 1);
        }
        break;
    case STMT_FOR:
        put_line(p, level, "for", name_text(p, stmt->loop.name.name));
        put_expr(p, stmt->loop.range, level + 1);
        put_block(p, stmt->loop.body, level + 1);
        break;
    case STMT_TRAIN: put_train(p, stmt, level); break;
    case STMT_EVERY:
        put_line(p, level, "every", name_text(p, stmt->every.unit.name));
        put_expr(p, stmt->every.count, level + 1);
        put_block(p, stmt->every.body, level + 1);
        break;
    case STMT_REPORT:
    case STMT_PRINT:
        put_line(p, level, stmt->kind == STMT_PRINT ? "print" : "report", NULL);
        put_part(p, "label", stmt->print.label, level + 1);
        put_list(p, &stmt->print.values, level + 1);
        break;
    case STMT_SAVE:
    case STMT_LOAD:
        put_line(p, level, stmt->kind == STMT_SAVE ? "save" : "load", NULL);
        put_expr(p, stmt->file.what, level + 1);
        put_expr(p, stmt->file.where, level + 1);
        break;
    }
}

static void put_block(Printer *p, const Block *block, uint32_t level) {
    put_line(p, level, "block", NULL);
    for (uint32_t i = 0; i < block->count; i++) { put_stmt(p, block->items[i], level + 1); }
}

static void put_item(Printer *p, const Item *item, uint32_t level) {
    const char *name = name_text(p, item->name.name);
    switch (item->kind) {
    case ITEM_ERROR: put_line(p, level, "error", NULL); break;
    case ITEM_USE:
        put_line(p, level, "use", name);
        if (item->use.path) { put_expr(p, item->use.path, level + 1); }
        break;
    case ITEM_LET:
        put_line(p, level, "let", name);
        put_expr(p, item->let.value, level + 1);
        break;
    case ITEM_PRECISION: put_line(p, level, "precision", name); break;
    case ITEM_FN:
        put_line(p, level, "fn", name);
        put_params(p, "input", &item->fn.params, level + 1);
        put_expr(p, item->fn.value, level + 1);
        break;
    case ITEM_DEF:
        put_line(p, level, ast_def_text(item->def.kind), name);
        if (item->def.has_config) { put_line(p, level + 1, "configured", NULL); }
        put_params(p, "config", &item->def.config, level + 1);
        put_params(p, "input", &item->def.inputs, level + 1);
        if (item->def.value) {
            put_expr(p, item->def.value, level + 1);
        } else {
            put_block(p, item->def.block, level + 1);
        }
        break;
    case ITEM_EXPERIMENT:
        put_line(p, level, "experiment", name);
        put_block(p, item->experiment.block, level + 1);
        break;
    case ITEM_TEST:
        put_line(p, level, "test", NULL);
        put_expr(p, item->test.title, level + 1);
        put_block(p, item->test.block, level + 1);
        break;
    }
}

void syntax_print(const Program *program, const Names *names, Text *out) {
    Printer p = {.names = names, .out = out};
    for (uint32_t i = 0; i < program->count; i++) { put_item(&p, &program->items[i], 0); }
}
