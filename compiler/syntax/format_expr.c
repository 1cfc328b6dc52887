/* Expressions and brackets in canonical layout. */
#include "compiler/syntax/format.h"

#include <string.h>

/* ---- fitting ------------------------------------------------------------------ */

typedef void Writer(Formatter *f, const void *what);

static bool fits(Formatter *f, Writer *write, const void *what, uint32_t tail) {
    bool flat = f->flat, dry = f->dry, over = f->over;
    uint32_t column = f->column;
    f->flat = f->dry = true;
    f->over = false;
    write(f, what);
    bool fit = !f->over && f->column + tail <= LINE_WIDTH;
    f->flat = flat;
    f->dry = dry;
    f->over = over;
    f->column = column;
    return fit;
}

static void write_expr(Formatter *f, const void *what) { format_expr(f, what, 0); }

bool format_fits(Formatter *f, const Expr *expr, uint32_t tail) {
    return fits(f, write_expr, expr, tail);
}

/* ---- brackets --------------------------------------------------------------------- */

typedef enum { OF_EXPRS, OF_ARGS, OF_PARAMS } ElementKind;

/* The elements between two brackets. */
typedef struct {
    ElementKind kind;
    const void *items;
    uint32_t count;
    uint32_t open; /* offset of the opening bracket */
    const char *opener, *closer;
} Group;

/* Where a leaf or a list itself begins, inside its parentheses. */
static uint32_t inner_begin(const Formatter *f, const Expr *expr) {
    uint32_t at = expr->span.begin;
    while (expr->parens && f->bytes[at] == '(') { at = format_skip_blank(f, at + 1); }
    return at;
}

static Group list_group(const Formatter *f, const Expr *expr) {
    return (Group){OF_EXPRS, expr->list.items, expr->list.count, inner_begin(f, expr), "[", "]"};
}

static Group call_group(const Formatter *f, const Expr *expr) {
    uint32_t open = format_skip_blank(f, expr->call.callee->span.end);
    return (Group){OF_ARGS, expr->call.args, expr->call.count, open, "(", ")"};
}

static uint32_t param_end(const Formatter *f, const Param *param) {
    if (param->value) { return param->value->span.end; }
    if (param->channels) {
        return format_skip_blank(f, param->channels->span.end) + 1; /* the ']' */
    }
    if (param->type) {
        uint32_t colon = format_skip_blank(f, param->span.end);
        return format_skip_blank(f, colon + 1) +
               (uint32_t)strlen(names_text(f->names, param->type));
    }
    return param->span.end;
}

static Span element_span(const Formatter *f, const Group *group, uint32_t i) {
    if (group->kind == OF_EXPRS) { return ((Expr *const *)group->items)[i]->span; }
    if (group->kind == OF_ARGS) {
        const Arg *arg = &((const Arg *)group->items)[i];
        return arg->name ? span_join(arg->name_span, arg->value->span) : arg->value->span;
    }
    const Param *param = &((const Param *)group->items)[i];
    return (Span){f->file, param->span.begin, param_end(f, param)};
}

static void put_element(Formatter *f, const Group *group, uint32_t i, uint32_t tail) {
    if (group->kind == OF_EXPRS) {
        format_expr(f, ((Expr *const *)group->items)[i], tail);
    } else if (group->kind == OF_ARGS) {
        const Arg *arg = &((const Arg *)group->items)[i];
        if (arg->name) {
            format_puts(f, names_text(f->names, arg->name));
            format_puts(f, " = ");
        }
        format_expr(f, arg->value, tail);
    } else {
        const Param *param = &((const Param *)group->items)[i];
        format_puts(f, names_text(f->names, param->name));
        if (param->type) {
            format_puts(f, ": ");
            format_puts(f, names_text(f->names, param->type));
        }
        if (param->channels) {
            format_puts(f, "[");
            format_expr(f, param->channels, tail + 1);
            format_puts(f, "]");
        }
        if (param->value) {
            format_puts(f, " = ");
            format_expr(f, param->value, tail);
        }
    }
}

/* The bytes before element i, or those before the closing bracket for i = count. */
static void gap(const Formatter *f, const Group *group, uint32_t i, uint32_t *begin,
                uint32_t *end) {
    *begin = i ? element_span(f, group, i - 1).end : group->open + 1;
    if (i < group->count) {
        *end = element_span(f, group, i).begin;
        return;
    }
    *end = format_skip_blank(f, *begin);
    if (i && *end < f->length && f->bytes[*end] == ',') { *end = format_skip_blank(f, *end + 1); }
}

static bool comment_in(const Formatter *f, uint32_t begin, uint32_t end) {
    uint32_t i = format_first_comment(f, begin);
    return i < f->comment_count && f->comments[i].span.begin < end;
}

/* Whether the user broke a line in the group in a place where it is kept. */
static bool broken_by_user(const Formatter *f, const Group *group) {
    uint32_t begin, end;
    for (uint32_t i = 0; i < group->count; i++) {
        gap(f, group, i, &begin, &end);
        if (format_has_newline(f, begin, end)) { return true; }
    }
    gap(f, group, group->count, &begin, &end);
    return comment_in(f, begin, end);
}

static void put_flat(Formatter *f, const Group *group) {
    format_puts(f, group->opener);
    uint32_t begin, end;
    for (uint32_t i = 0; i < group->count && !f->over; i++) {
        if (i) { format_puts(f, ", "); }
        if (f->dry) {
            gap(f, group, i, &begin, &end);
            f->over |= format_has_newline(f, begin, end);
        }
        put_element(f, group, i, 1);
    }
    if (f->dry && !f->over) {
        gap(f, group, group->count, &begin, &end);
        f->over |= comment_in(f, begin, end);
    }
    format_puts(f, group->closer);
}

/* The comments of a gap; true when there were any, and so the line must end. */
static bool put_gap_comments(Formatter *f, uint32_t begin, uint32_t end, uint32_t nest) {
    bool any = false;
    for (uint32_t i = format_first_comment(f, begin);
         i < f->comment_count && f->comments[i].span.begin < end; i++) {
        if (any || f->comments[i].alone) {
            format_newline(f, nest);
        } else {
            format_puts(f, "  ");
        }
        format_comment(f, i);
        any = true;
    }
    return any;
}

static void put_broken(Formatter *f, const Group *group, bool by_user) {
    enum { FARTHEST = 60 };
    uint32_t begin, end, base = f->base, outer = f->line_indent;
    gap(f, group, 0, &begin, &end);
    bool open_break = !by_user || format_has_newline(f, begin, end);
    format_puts(f, group->opener);
    uint32_t nest = open_break || f->column > FARTHEST ? outer + INDENT : f->column;
    f->base = nest;
    for (uint32_t i = 0; i < group->count; i++) {
        gap(f, group, i, &begin, &end);
        bool breaks = !by_user || format_has_newline(f, begin, end);
        if (put_gap_comments(f, begin, end, nest) || breaks) {
            format_newline(f, nest);
        } else if (i) {
            format_puts(f, " ");
        }
        put_element(f, group, i, 1);
        if (i + 1 < group->count) { format_puts(f, ","); }
    }
    gap(f, group, group->count, &begin, &end);
    bool comments = comment_in(f, begin, end);
    if (group->count && (open_break || comments)) { format_puts(f, ","); }
    put_gap_comments(f, begin, end, nest);
    f->base = base;
    if (open_break || comments) { format_newline(f, outer); }
    format_puts(f, group->closer);
}

/* The group of a list or call that stands as the last element, bare. */
static bool last_group(const Formatter *f, const Group *group, Group *last) {
    if (!group->count || group->kind == OF_PARAMS) { return false; }
    uint32_t i = group->count - 1;
    const Expr *expr = group->kind == OF_EXPRS ? ((Expr *const *)group->items)[i]
                                               : ((const Arg *)group->items)[i].value;
    if (expr->parens || (expr->kind != EXPR_LIST && expr->kind != EXPR_CALL)) { return false; }
    *last = expr->kind == EXPR_LIST ? list_group(f, expr) : call_group(f, expr);
    return true;
}

static void write_all_but_last(Formatter *f, const void *what) {
    const Group *group = what;
    format_puts(f, group->opener);
    for (uint32_t i = 0; i + 1 < group->count && !f->over; i++) {
        put_element(f, group, i, 1);
        format_puts(f, ", ");
    }
}

/* f(a, [1,
 *       2]): only the last element is broken, by the user, and the others fit before it. */
static bool put_hugging(Formatter *f, const Group *group, uint32_t tail) {
    Group last;
    if (!last_group(f, group, &last) || !broken_by_user(f, &last) ||
        !fits(f, write_all_but_last, group, 1)) {
        return false;
    }
    f->flat = true;
    write_all_but_last(f, group);
    f->flat = false;
    put_element(f, group, group->count - 1, tail + 1);
    format_puts(f, group->closer);
    return true;
}

static void write_group(Formatter *f, const void *what) { put_flat(f, what); }

static void put_group(Formatter *f, const Group *group, uint32_t tail) {
    if (f->flat || fits(f, write_group, group, tail)) {
        put_flat(f, group);
        return;
    }
    bool by_user = broken_by_user(f, group);
    if (!group->count && !by_user) {
        put_flat(f, group);
    } else if (by_user || !put_hugging(f, group, tail)) {
        put_broken(f, group, by_user);
    }
}

void format_params(Formatter *f, const ParamList *params, uint32_t open_at) {
    Group group = {OF_PARAMS, params->items, params->count, open_at, "(", ")"};
    put_group(f, &group, 2);
}

/* ---- leaves ------------------------------------------------------------------------ */

static uint32_t digits(const Formatter *f, uint32_t at) {
    while (at < f->length && f->bytes[at] >= '0' && f->bytes[at] <= '9') { at++; }
    return at;
}

/* A number stays as it was written. */
static void put_number(Formatter *f, const Expr *expr) {
    uint32_t begin = inner_begin(f, expr), end = digits(f, begin);
    if (end < f->length && f->bytes[end] == '.' &&
        (end + 1 >= f->length || f->bytes[end + 1] != '.')) {
        end = digits(f, end + 1);
    }
    if (end < f->length && (f->bytes[end] == 'e' || f->bytes[end] == 'E')) {
        end++;
        end += f->bytes[end] == '+' || f->bytes[end] == '-';
        end = digits(f, end);
    }
    format_emit(f, f->bytes + begin, end - begin);
}

static void put_string(Formatter *f, const Expr *expr) {
    uint32_t begin = inner_begin(f, expr), end = begin + 1;
    while (end < f->length && f->bytes[end] != '"') { end += f->bytes[end] == '\\' ? 2 : 1; }
    format_emit(f, f->bytes + begin, end + 1 - begin);
}

/* ---- operators --------------------------------------------------------------------- */

static bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

/* Written without blanks around the operator: as the user did, k+1, unless a looser-looking
 * operator stands inside. Powers and ranges always are. */
static bool is_tight(const Formatter *f, const Expr *expr) {
    enum { MOST = 8 };
    AstOp op = expr->binary.op;
    Span at = expr->binary.op_span;
    if (op == AST_POW) { return true; }
    if (op == AST_RANGE) { /* 2. .. 3 must not become 2...3 */
        return f->bytes[expr->binary.left->span.end - 1] != '.' &&
               f->bytes[expr->binary.right->span.begin] != '.';
    }
    if (op < AST_ADD || expr->depth > MOST || is_blank(f->bytes[at.begin - 1]) ||
        is_blank(f->bytes[at.end])) {
        return false;
    }
    const Expr *sides[] = {expr->binary.left, expr->binary.right};
    for (int i = 0; i < 2; i++) {
        if (sides[i]->kind == EXPR_BINARY && !sides[i]->parens && !is_tight(f, sides[i])) {
            return false;
        }
    }
    return true;
}

static void put_binary(Formatter *f, const Expr *expr, uint32_t tail) {
    const Expr *left = expr->binary.left, *right = expr->binary.right;
    const char *op = ast_op_text(expr->binary.op);
    bool tight = is_tight(f, expr);
    format_expr(f, left, (uint32_t)strlen(op) + 1);
    if (f->dry && f->over) { return; }
    bool breaks = format_has_newline(f, left->span.end, right->span.begin);
    format_puts(f, tight ? "" : " ");
    format_puts(f, op);
    if (f->flat) {
        f->over |= breaks;
        format_puts(f, tight ? "" : " ");
        format_expr(f, right, tail);
        return;
    }
    if (!breaks && !tight && !format_fits(f, right, tail + 1)) {
        uint32_t column = f->column;
        f->column = f->base + INDENT;
        breaks = format_fits(f, right, tail) && f->column < column;
        f->column = column;
    }
    if (breaks) {
        format_newline(f, f->base + INDENT);
    } else {
        format_puts(f, tight ? "" : " ");
    }
    format_expr(f, right, tail);
}

/* ---- expressions ---------------------------------------------------------------------- */

static void put_call(Formatter *f, const Expr *expr, uint32_t tail) {
    format_expr(f, expr->call.callee, 1);
    Group group = call_group(f, expr);
    put_group(f, &group, tail);
}

static void put_unparenthesised(Formatter *f, const Expr *expr, uint32_t tail) {
    switch (expr->kind) {
    case EXPR_ERROR: break; /* only files without errors are formatted */
    case EXPR_NAME: format_puts(f, names_text(f->names, expr->name)); break;
    case EXPR_NUMBER: put_number(f, expr); break;
    case EXPR_STRING: put_string(f, expr); break;
    case EXPR_BOOL: format_puts(f, expr->boolean ? "true" : "false"); break;
    case EXPR_LIST: {
        Group group = list_group(f, expr);
        put_group(f, &group, tail);
        break;
    }
    case EXPR_CALL: put_call(f, expr, tail); break;
    case EXPR_INDEX:
        format_expr(f, expr->index.base, 1);
        format_puts(f, "[");
        format_expr(f, expr->index.index, tail + 1);
        format_puts(f, "]");
        break;
    case EXPR_MEMBER:
        format_expr(f, expr->member.base, 1);
        /* 2.x would be read as a number */
        format_puts(f, expr->member.base->kind == EXPR_NUMBER && !expr->member.base->parens ? " ."
                                                                                            : ".");
        format_puts(f, names_text(f->names, expr->member.name));
        break;
    case EXPR_UNARY:
        format_puts(f, expr->unary.op == AST_NOT ? "not " : "-");
        format_expr(f, expr->unary.operand, tail);
        break;
    case EXPR_BINARY: put_binary(f, expr, tail); break;
    }
}

void format_expr(Formatter *f, const Expr *expr, uint32_t tail) {
    if (f->dry && (f->over || expr->depth > LINE_WIDTH)) {
        f->over = true; /* each level is a column at least */
        return;
    }
    bool flat = f->flat;
    if (!flat && format_fits(f, expr, tail)) { f->flat = true; }
    if (expr->parens) { format_puts(f, "("); }
    put_unparenthesised(f, expr, tail + expr->parens);
    if (expr->parens) { format_puts(f, ")"); }
    f->flat = flat;
}

void format_exprs(Formatter *f, const ExprList *list, uint32_t tail) {
    for (uint32_t i = 0; i < list->count && !(f->dry && f->over); i++) {
        if (i) {
            format_puts(f, ",");
            bool breaks =
                format_has_newline(f, list->items[i - 1]->span.end, list->items[i]->span.begin);
            if (f->flat) {
                f->over |= breaks;
            } else if (!breaks && !format_fits(f, list->items[i], tail + 2)) {
                uint32_t column = f->column;
                f->column = f->base + INDENT;
                breaks = format_fits(f, list->items[i], tail + 1);
                f->column = column;
            }
            if (breaks && !f->flat) {
                format_newline(f, f->base + INDENT);
            } else {
                format_puts(f, " ");
            }
        }
        format_expr(f, list->items[i], tail + 1);
    }
}
