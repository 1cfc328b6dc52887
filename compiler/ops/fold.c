/* Fold rules of the pointwise ops, and the canonical form that all of them share.
 *
 * Only rewrites that keep every finite result to the last bit in any precision are made, but for
 * the sign of zeros; and those of pow, which keep it to rounding. 0 x and x - x stay: NaN must
 * be noticed. */
#include "compiler/ops/rules.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

bool node_is_number(const Func *f, Node n, double *number) {
    const NodeData *d = graph_node(f, n);
    if (d->op == OP_CONCAT) { /* the number in every channel; concats do not nest */
        double other;
        for (uint32_t i = 0; i < d->count; i++)
            if (graph_node(f, graph_operand(f, n, i))->op != OP_SPREAD ||
                !node_is_number(f, graph_operand(f, n, i), i ? &other : number) ||
                (i && memcmp(&other, number, sizeof other) != 0))
                return false;
        return true;
    }
    if (d->op == OP_SPREAD) n = graph_operand(f, n, 0);
    return graph_is_const(f, n, number);
}

static Type type_of(Module *m, FuncId f, Node n) { return graph_node(graph_get(m, f), n)->type; }

static Op op_of(Module *m, FuncId f, Node n) { return graph_node(graph_get(m, f), n)->op; }

Node node_fill(Module *m, FuncId f, Node scalar, Type type, Span span) {
    if (type.kind != TYPE_FIELD) return scalar;
    Node one = graph_add_typed(m, f, OP_SPREAD, type_field(type.grid, 1), &scalar, 1, 0, 0, span);
    if (type.channels == 1) return one;
    Node *all = ARENA_ARRAY(m->arena, Node, type.channels);
    for (uint32_t c = 0; c < type.channels; c++) all[c] = one;
    return graph_add(m, f, OP_CONCAT, all, type.channels, 0, 0, span);
}

Node node_broadcast(Module *m, FuncId f, Node n, Type type, Span span) {
    Type have = type_of(m, f, n);
    if (type_equal(have, type) || type.kind != TYPE_FIELD) return n;
    if (have.kind == TYPE_SCALAR) return node_fill(m, f, n, type, span);
    Node *all = ARENA_ARRAY(m->arena, Node, type.channels);
    for (uint32_t c = 0; c < type.channels; c++) all[c] = n;
    return graph_add(m, f, OP_CONCAT, all, type.channels, 0, 0, span);
}

Node node_unbroadcast(Module *m, FuncId f, Node n, Type type, Span span) {
    Type have = type_of(m, f, n);
    if (type_equal(have, type) || have.kind != TYPE_FIELD) return n;
    if (type.kind == TYPE_SCALAR) return graph_unary(m, f, OP_SUM, n, span);
    return graph_unary(m, f, OP_CHSUM, n, span);
}

/* ---- what all share -------------------------------------------------------------- */

static bool commutes(Op op) {
    return op == OP_ADD || op == OP_MUL || op == OP_EQ || op == OP_NE || op == OP_AND ||
           op == OP_OR;
}

/* Spread scalars are taken as scalars where another operand keeps the type. */
static void strip_spreads(Module *m, FuncId f, Node *operands, uint32_t count, Type type) {
    bool kept = false;
    for (uint32_t i = 0; i < count && type.kind == TYPE_FIELD; i++)
        kept = kept || (op_of(m, f, operands[i]) != OP_SPREAD &&
                        type_equal(type_of(m, f, operands[i]), type));
    for (uint32_t i = 0; i < count && kept; i++)
        if (op_of(m, f, operands[i]) == OP_SPREAD)
            operands[i] = graph_operand(graph_get(m, f), operands[i], 0);
}

Node pointwise_canonical(Module *m, FuncId f, Op op, Node *operands, uint32_t count, Type type,
                         Span span) {
    bool constant = true, spread = type.kind == TYPE_FIELD && type.channels == 1;
    double x[3] = {0, 0, 0};
    for (uint32_t i = 0; i < count; i++) {
        constant = constant && graph_is_const(graph_get(m, f), operands[i], &x[i]);
        spread = spread && (type_of(m, f, operands[i]).kind == TYPE_SCALAR ||
                            op_of(m, f, operands[i]) == OP_SPREAD);
    }
    if (constant) return graph_const(m, f, op_scalar(op)(x));
    if (spread) { /* an op of spread scalars is the spread of the op */
        for (uint32_t i = 0; i < count; i++)
            if (op_of(m, f, operands[i]) == OP_SPREAD)
                operands[i] = graph_operand(graph_get(m, f), operands[i], 0);
        return node_fill(m, f, graph_add(m, f, op, operands, count, 0, 0, span), type, span);
    }
    strip_spreads(m, f, operands, count, type);
    if (commutes(op)) {
        bool swap = operands[0] > operands[1];
        double ignored;
        bool c0 = graph_is_const(graph_get(m, f), operands[0], &ignored);
        bool c1 = graph_is_const(graph_get(m, f), operands[1], &ignored);
        if (c0 != c1) swap = c0; /* the constant comes second */
        if (swap) {
            Node first = operands[0];
            operands[0] = operands[1];
            operands[1] = first;
        }
    }
    return NODE_NONE;
}

Node fold_number(Module *m, FuncId f, Op op, const Node *operands, uint32_t count, uint32_t index,
                 uint32_t detail, Span span) {
    return NODE_NONE; /* constants were folded by pointwise_canonical */
}

/* ---- rules ------------------------------------------------------------------------ */

/* Is operand i the number v everywhere, and does the rest alone have the type of the whole? */
static bool is_number(Module *m, FuncId f, const Node *operands, uint32_t i, double v) {
    double x;
    Type rest = type_of(m, f, operands[1 - i]);
    Type type;
    const char *why;
    return node_is_number(graph_get(m, f), operands[i], &x) && x == v &&
           shape_pointwise(m, f, OP_ADD, operands, 2, 0, 0, &type, &why) && type_equal(type, rest);
}

static bool is_op(Module *m, FuncId f, Node n, Op op) { return op_of(m, f, n) == op; }

static Node operand(Module *m, FuncId f, Node n, uint32_t i) {
    return graph_operand(graph_get(m, f), n, i);
}

/* ±2^k with k small enough that multiplying by it, or by its reciprocal, is exact in f32 as well */
static bool is_power_of_two(double x) {
    int exponent;
    return isfinite(x) && x != 0 && fabs(frexp(x, &exponent)) == 0.5 && abs(exponent) < 64;
}

#define FOLD(slot)                                                                                 \
    Node fold_##slot(Module *m, FuncId f, Op op, const Node *a, uint32_t count, uint32_t index,    \
                     uint32_t detail, Span span)

FOLD(neg) {
    double c;
    if (is_op(m, f, a[0], OP_NEG)) return operand(m, f, a[0], 0);
    if (is_op(m, f, a[0], OP_SUB)) {
        Node x = operand(m, f, a[0], 0), y = operand(m, f, a[0], 1);
        return graph_binary(m, f, OP_SUB, y, x, span);
    }
    if (is_op(m, f, a[0], OP_MUL)) {
        Node x = operand(m, f, a[0], 0), y = operand(m, f, a[0], 1);
        if (graph_is_const(graph_get(m, f), y, &c))
            return graph_binary(m, f, OP_MUL, x, graph_const(m, f, -c), span);
    }
    return NODE_NONE;
}

FOLD(add) {
    if (is_number(m, f, a, 1, 0)) return a[0];
    if (is_number(m, f, a, 0, 0)) return a[1];
    if (is_op(m, f, a[1], OP_NEG))
        return graph_binary(m, f, OP_SUB, a[0], operand(m, f, a[1], 0), span);
    if (is_op(m, f, a[0], OP_NEG))
        return graph_binary(m, f, OP_SUB, a[1], operand(m, f, a[0], 0), span);
    return NODE_NONE;
}

FOLD(sub) {
    if (is_number(m, f, a, 1, 0)) return a[0];
    if (is_number(m, f, a, 0, 0)) return graph_unary(m, f, OP_NEG, a[1], span);
    if (is_op(m, f, a[1], OP_NEG))
        return graph_binary(m, f, OP_ADD, a[0], operand(m, f, a[1], 0), span);
    return NODE_NONE;
}

FOLD(mul) {
    double c, inner;
    for (uint32_t i = 0; i < 2; i++) {
        if (is_number(m, f, a, i, 1)) return a[1 - i];
        if (is_number(m, f, a, i, -1)) return graph_unary(m, f, OP_NEG, a[1 - i], span);
    }
    if (graph_is_const(graph_get(m, f), a[1], &c)) {
        if (is_op(m, f, a[0], OP_NEG))
            return graph_binary(m, f, OP_MUL, operand(m, f, a[0], 0), graph_const(m, f, -c), span);
        if (is_op(m, f, a[0], OP_MUL) &&
            graph_is_const(graph_get(m, f), operand(m, f, a[0], 1), &inner) &&
            (is_power_of_two(c) || is_power_of_two(inner)) && isfinite(c * inner))
            return graph_binary(m, f, OP_MUL, operand(m, f, a[0], 0), graph_const(m, f, c * inner),
                                span);
    }
    if (is_op(m, f, a[0], OP_NEG) && is_op(m, f, a[1], OP_NEG))
        return graph_binary(m, f, OP_MUL, operand(m, f, a[0], 0), operand(m, f, a[1], 0), span);
    return NODE_NONE;
}

FOLD(div) {
    double c;
    if (is_number(m, f, a, 1, 1)) return a[0];
    if (is_number(m, f, a, 1, -1)) return graph_unary(m, f, OP_NEG, a[0], span);
    if (graph_is_const(graph_get(m, f), a[1], &c)) {
        if (is_power_of_two(c))
            return graph_binary(m, f, OP_MUL, a[0], graph_const(m, f, 1 / c), span);
        if (is_op(m, f, a[0], OP_NEG))
            return graph_binary(m, f, OP_DIV, operand(m, f, a[0], 0), graph_const(m, f, -c), span);
    }
    if (is_op(m, f, a[0], OP_NEG) && is_op(m, f, a[1], OP_NEG))
        return graph_binary(m, f, OP_DIV, operand(m, f, a[0], 0), operand(m, f, a[1], 0), span);
    return NODE_NONE;
}

/* x^n by repeated squaring, n >= 1 */
static Node power(Module *m, FuncId f, Node x, unsigned n, Span span) {
    Node result = NODE_NONE;
    for (;; x = graph_binary(m, f, OP_MUL, x, x, span)) {
        if (n & 1) result = result == NODE_NONE ? x : graph_binary(m, f, OP_MUL, result, x, span);
        n >>= 1;
        if (n == 0) return result;
    }
}

FOLD(pow) {
    double c;
    Type type;
    const char *why;
    if (!node_is_number(graph_get(m, f), a[1], &c) ||
        !shape_pointwise(m, f, op, a, 2, 0, 0, &type, &why) ||
        !type_equal(type, type_of(m, f, a[0])))
        return NODE_NONE;
    if (c == 0) return node_fill(m, f, graph_const(m, f, 1), type, span);
    Node one = graph_const(m, f, 1);
    double size = fabs(c);
    Node result = NODE_NONE;
    if (size == 0.5)
        result = graph_unary(m, f, OP_SQRT, a[0], span);
    else if (size == 1.5)
        result = graph_binary(m, f, OP_MUL, a[0], graph_unary(m, f, OP_SQRT, a[0], span), span);
    else if (size == floor(size) && size <= 64)
        result = power(m, f, a[0], (unsigned)size, span);
    if (result != NODE_NONE && c < 0) result = graph_binary(m, f, OP_DIV, one, result, span);
    return result;
}

FOLD(where) {
    double c;
    Type type;
    const char *why;
    if (!shape_pointwise(m, f, op, a, 3, 0, 0, &type, &why)) return NODE_NONE;
    if (node_is_number(graph_get(m, f), a[0], &c)) {
        Node chosen = c != 0 ? a[1] : a[2];
        return node_broadcast(m, f, chosen, type, span);
    }
    if (a[1] == a[2]) return node_broadcast(m, f, a[1], type, span);
    return NODE_NONE;
}
