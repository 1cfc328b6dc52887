/* Arithmetic of values: numbers, run-time values, lists componentwise, operators. */
#include "compiler/sema/param.h"
#include "compiler/sema/value.h"

#include <math.h>
#include <string.h>

static const Value *bad_operand(Elab *e, const Value *v, Span span) {
    if (v->kind == VALUE_ERROR) return v;
    Diagnostic *d = report(e, BAD_OPERAND, span, value_describe(e, v));
    if (v->kind == VALUE_PARAMETER)
        diag_help(d, "%s[0] is one of its %lld entries", names_text(e->names, v->parameter->name),
                  (long long)v->parameter->depth);
    else if (v->span.file)
        diag_label(d, report_span(e, v->span), "this is %s", value_describe(e, v));
    if (v->kind == VALUE_OPERATOR) diag_help(d, "apply the operator to a field first: A(u)");
    return value_error(e);
}

static const Value *shapes_disagree(Elab *e, const Value *const *operands, uint32_t count,
                                    const char *why, Span span) {
    Type first = {TYPE_SCALAR, 0, GRID_NONE}, other = first;
    const Value *a = NULL, *b = NULL;
    for (uint32_t i = 0; i < count; i++) {
        Type t = value_type(e, operands[i]);
        if (t.kind != TYPE_FIELD) continue;
        if (!a)
            a = operands[i], first = t;
        else if (t.grid != first.grid ||
                 (t.channels != first.channels && t.channels != 1 && first.channels != 1))
            b = operands[i], other = t;
    }
    if (!a || !b) {
        report(e, SHAPE, span, why ? why : "the operands do not fit");
        return value_error(e);
    }
    bool grids = first.grid != other.grid;
    bool rows = grids && (type_is_row(e->module, first) || type_is_row(e->module, other));
    Diagnostic *d = rows    ? report(e, ROW_LENGTH, span)
                    : grids ? report(e, GRIDS_DIFFER, span)
                            : report(e, CHANNELS_DIFFER, span, first.channels, other.channels);
    diag_label(d, report_span(e, a->span), "%s", type_text(e->module, first, e->arena));
    diag_label(d, report_span(e, b->span), "%s", type_text(e->module, other, e->arena));
    if (grids) {
        const Grid *g = &e->module->grids.data[first.grid], *h = &e->module->grids.data[other.grid];
        if (g->finer == other.grid || h->finer == first.grid || g->coarser == other.grid ||
            h->coarser == first.grid)
            diag_help(
                d,
                "prolong() brings a field to the next finer grid, restrict() to the next coarser one");
    }
    return value_error(e);
}

static const Value *spread_over_list(Elab *e, Op op, const Value *const *operands, uint32_t count,
                                     uint32_t length, Span span) {
    const Value **items = ARENA_ARRAY(e->arena, const Value *, length);
    for (uint32_t i = 0; i < length; i++) {
        const Value *part[3];
        for (uint32_t k = 0; k < count; k++)
            part[k] = operands[k]->kind == VALUE_LIST ? operands[k]->list.items[i] : operands[k];
        items[i] = eval_pointwise(e, op, part, count, span);
    }
    return value_list(e, items, length, span);
}

/* Rows of c numbers beside fields of c channels: a number for each channel, in every cell. */
static void spread_rows(Elab *e, const Value **operands, uint32_t count, Span span) {
    Type field = {TYPE_SCALAR, 0, GRID_NONE};
    for (uint32_t i = 0; i < count; i++) {
        Type t = value_type(e, operands[i]);
        if (t.kind == TYPE_FIELD && !type_is_row(e->module, t) && t.channels > field.channels)
            field = t;
    }
    for (uint32_t i = 0; i < count && field.kind == TYPE_FIELD; i++) {
        if (!type_is_row(e->module, value_type(e, operands[i]))) continue;
        Node row = value_to_node(e, operands[i]);
        if (!row_fits(e->module, e->frame->func, row, field)) continue;
        Node spread = node_bychannel(e->module, e->frame->func, row, field, span);
        operands[i] = value_node(e, spread, NULL, operands[i]->span);
    }
}

const Value *eval_pointwise(Elab *e, Op op, const Value *const *given, uint32_t count, Span span) {
    const Value *operands[3] = {NULL, NULL, NULL};
    for (uint32_t i = 0; i < count; i++) operands[i] = given[i];
    int64_t length = -1;
    bool known = true;
    for (uint32_t i = 0; i < count; i++) {
        const Value *v = operands[i];
        if (v->kind == VALUE_ERROR) return v;
        if (v->kind == VALUE_LIST) {
            if (length >= 0 && length != v->list.count) {
                report(e, LISTS_DIFFER, span, (unsigned)length, v->list.count);
                return value_error(e);
            }
            length = v->list.count;
        } else if (v->kind != VALUE_NUMBER && v->kind != VALUE_NODE) {
            return bad_operand(e, v, span);
        }
        known = known && v->kind == VALUE_NUMBER;
    }
    if (length >= 0) return spread_over_list(e, op, operands, count, (uint32_t)length, span);
    if (!known) spread_rows(e, operands, count, span);
    Node nodes[3] = {NODE_NONE, NODE_NONE, NODE_NONE};
    for (uint32_t i = 0; i < count; i++) {
        if (value_type(e, operands[i]).kind == TYPE_STACK) return bad_operand(e, operands[i], span);
        nodes[i] = value_to_node(e, operands[i]);
    }
    Type type;
    const char *why = NULL;
    if (!op_shape(e->module, e->frame->func, op, nodes, count, 0, 0, &type, &why))
        return shapes_disagree(e, operands, count, why, span);
    Node n = graph_add(e->module, e->frame->func, op, nodes, count, 0, 0, span);
    const Value *v = value_node(e, n, boundary_join(e, op, operands, count, span), span);
    if (known && v->kind == VALUE_NUMBER && !isfinite(v->number)) {
        bool finite = true;
        for (uint32_t i = 0; i < count; i++) finite = finite && isfinite(operands[i]->number);
        if (finite) {
            report(e, NOT_FINITE, span, isnan(v->number) ? "not a number" : "infinite");
            return value_error(e);
        }
    }
    return v;
}

/* ---- operators as values ------------------------------------------------------ */

static Operator *operator_new(Elab *e, OperatorKind kind, Span span) {
    Operator *op = ARENA_NEW(e->arena, Operator);
    op->kind = kind;
    op->span = span;
    return op;
}

static const Value *operator_scale(Elab *e, const Value *factor, const Operator *a, Span span) {
    Operator *op = operator_new(e, OPERATOR_SCALE, span);
    op->factor = factor;
    op->a = a;
    return value_operator(e, op, span);
}

static const Value *operator_sum(Elab *e, const Operator *a, const Operator *b, Span span) {
    Operator *op = operator_new(e, OPERATOR_SUM, span);
    op->items = ARENA_ARRAY(e->arena, const Operator *, 2);
    op->items[0] = a;
    op->items[1] = b;
    op->count = 2;
    return value_operator(e, op, span);
}

static const Value *operator_power(Elab *e, const Value *base, const Value *exponent, Span span) {
    int64_t n;
    if (!value_static_int(e, exponent, "the power of an operator", 0, 1e9, &n))
        return value_error(e);
    Operator *op = operator_new(e, OPERATOR_POWER, span);
    op->a = base->op;
    op->count = (uint32_t)n;
    return value_operator(e, op, span);
}

static const Value *operator_arithmetic(Elab *e, AstOp op, const Value *a, const Value *b,
                                        Span span) {
    bool left = a->kind == VALUE_OPERATOR, right = b->kind == VALUE_OPERATOR;
    if (op == AST_POW && left && !right) return operator_power(e, a, b, span);
    if (op == AST_ADD && left && right) return operator_sum(e, a->op, b->op, span);
    if (op == AST_SUB && left && right) {
        const Value *minus = operator_scale(e, value_number(e, -1, span), b->op, span);
        return operator_sum(e, a->op, minus->op, span);
    }
    if (op == AST_MUL && right && value_is_scalar(e, a)) return operator_scale(e, a, b->op, span);
    if (op == AST_MUL && left && value_is_scalar(e, b)) return operator_scale(e, b, a->op, span);
    if (op == AST_DIV && left && value_is_scalar(e, b))
        return operator_scale(e, eval_binary(e, AST_DIV, value_number(e, 1, span), b, span), a->op,
                              span);
    Diagnostic *d = report(e, OPERATOR_ARITHMETIC, span, ast_op_text(op));
    diag_label(d, report_span(e, a->span), "%s", value_describe(e, a));
    diag_label(d, report_span(e, b->span), "%s", value_describe(e, b));
    diag_help(
        d,
        "operators know A + B, A - B, c * A, A / c, A^n and compose(A, B); fields come from applying them: A(u)");
    return value_error(e);
}

/* ---- unary and binary ------------------------------------------------------------ */

const Value *eval_unary(Elab *e, AstOp op, const Value *a, Span span) {
    if (a->kind == VALUE_ERROR) return a;
    if (op == AST_NEG && a->kind == VALUE_OPERATOR)
        return operator_scale(e, value_number(e, -1, span), a->op, span);
    return eval_pointwise(e, op == AST_NEG ? OP_NEG : OP_NOT, &a, 1, span);
}

static const Value *compare_strings(Elab *e, AstOp op, const Value *a, const Value *b, Span span) {
    bool same = a->string.length == b->string.length &&
                memcmp(a->string.bytes, b->string.bytes, a->string.length) == 0;
    return value_number(e, same == (op == AST_EQ), span);
}

static const Value *make_range(Elab *e, const Value *a, const Value *b, Span span) {
    double first, last;
    if (!value_static(e, a, "a range's first number", &first)) return value_error(e);
    if (!value_static(e, b, "a range's end", &last)) return value_error(e);
    Value *v = value_new(e, VALUE_RANGE, span);
    v->range.first = first;
    v->range.last = last;
    return v;
}

const Value *eval_binary(Elab *e, AstOp op, const Value *a, const Value *b, Span span) {
    static const Op ops[] = {
        [AST_OR] = OP_OR,   [AST_AND] = OP_AND, [AST_EQ] = OP_EQ,   [AST_NE] = OP_NE,
        [AST_LT] = OP_LT,   [AST_LE] = OP_LE,   [AST_GT] = OP_LT,   [AST_GE] = OP_LE,
        [AST_ADD] = OP_ADD, [AST_SUB] = OP_SUB, [AST_MUL] = OP_MUL, [AST_DIV] = OP_DIV,
        [AST_MOD] = OP_MOD, [AST_POW] = OP_POW,
    };
    if (a->kind == VALUE_ERROR) return a;
    if (b->kind == VALUE_ERROR) return b;
    if (op == AST_RANGE) return make_range(e, a, b, span);
    if (op == AST_ARROW) {
        int64_t n;
        if (!value_static_int(e, a, "the number of input channels", 1, 1e6, &n) ||
            !value_static_int(e, b, "the number of output channels", 1, 1e6, &n))
            return value_error(e);
        Value *v = value_new(e, VALUE_ARROW, span);
        v->range.first = a->number;
        v->range.last = b->number;
        return v;
    }
    if (a->kind == VALUE_OPERATOR || b->kind == VALUE_OPERATOR)
        return operator_arithmetic(e, op, a, b, span);
    if ((op == AST_EQ || op == AST_NE) && a->kind == VALUE_STRING && b->kind == VALUE_STRING)
        return compare_strings(e, op, a, b, span);
    const Value *operands[2] = {a, b};
    if (op == AST_GT || op == AST_GE) operands[0] = b, operands[1] = a;
    return eval_pointwise(e, ops[op], operands, 2, span);
}
