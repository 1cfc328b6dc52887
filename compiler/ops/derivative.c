/* Partial derivatives of the pointwise ops.
 *
 * Where a derivative does not exist or is infinite, a finite one is chosen, so that training
 * does not meet NaN: abs, sign and roots have 0 at 0; ties of min and max share equally (1/2
 * each); asin and acos have 0 at ±1, atan2 at the origin; pow has 0 by its base where the
 * exponent is 0, and 0 by its exponent where the base is not positive. Comparisons, logic and
 * roundings have 0 everywhere; where() that of what it chose. */
#include "compiler/ops/rules.h"

#include <math.h>

typedef struct {
    Module *m;
    FuncId f;
    Span span;
    Node n, x, y, z; /* the node and its operands */
} Point;

static Point point(Module *m, FuncId f, Node n) {
    const Func *func = graph_get(m, f);
    const NodeData *d = graph_node(func, n);
    Node a[3] = {NODE_NONE, NODE_NONE, NODE_NONE};
    for (uint32_t i = 0; i < d->count && i < 3; i++) a[i] = graph_operand(func, n, i);
    return (Point){m, f, d->span, n, a[0], a[1], a[2]};
}

static Node number(const Point *p, double c) { return graph_const(p->m, p->f, c); }

static Node unary(const Point *p, Op op, Node a) { return graph_unary(p->m, p->f, op, a, p->span); }

static Node binary(const Point *p, Op op, Node a, Node b) {
    return graph_binary(p->m, p->f, op, a, b, p->span);
}

static Node where(const Point *p, Node c, Node a, Node b) {
    return graph_add(p->m, p->f, OP_WHERE, (Node[]){c, a, b}, 3, 0, 0, p->span);
}

static Node positive(const Point *p, Node a) { return binary(p, OP_LT, number(p, 0), a); }

static Node square(const Point *p, Node a) { return binary(p, OP_MUL, a, a); }

#define DERIVATIVE(slot)                                                                           \
    static Node by_##slot(const Point *p, uint32_t i);                                             \
    Node deriv_##slot(Module *m, FuncId f, Node n, uint32_t i, Node w) {                           \
        Point p = point(m, f, n);                                                                  \
        return by_##slot(&p, i);                                                                   \
    }                                                                                              \
    static Node by_##slot(const Point *p, uint32_t i)

/* clang-format off */
DERIVATIVE(neg)  { return number(p, -1); }
DERIVATIVE(add)  { return number(p, 1); }
DERIVATIVE(sub)  { return number(p, i == 0 ? 1 : -1); }
DERIVATIVE(mul)  { return i == 0 ? p->y : p->x; }
DERIVATIVE(fma)  { return i == 0 ? p->y : i == 1 ? p->x : number(p, 1); }
DERIVATIVE(abs)  { return unary(p, OP_SIGN, p->x); }
DERIVATIVE(exp)  { return p->n; }
DERIVATIVE(log)  { return binary(p, OP_DIV, number(p, 1), p->x); }
DERIVATIVE(log2) { return binary(p, OP_DIV, number(p, 1 / M_LN2), p->x); }
DERIVATIVE(sin)  { return unary(p, OP_COS, p->x); }
DERIVATIVE(cos)  { return unary(p, OP_NEG, unary(p, OP_SIN, p->x)); }
DERIVATIVE(tan)  { return binary(p, OP_ADD, number(p, 1), square(p, p->n)); }
DERIVATIVE(sinh) { return unary(p, OP_COSH, p->x); }
DERIVATIVE(cosh) { return unary(p, OP_SINH, p->x); }
DERIVATIVE(tanh) { return binary(p, OP_SUB, number(p, 1), square(p, p->n)); }
DERIVATIVE(expm1) { return unary(p, OP_EXP, p->x); }
DERIVATIVE(log1p) { return binary(p, OP_DIV, number(p, 1), binary(p, OP_ADD, number(p, 1), p->x)); }
DERIVATIVE(sigmoid) { return binary(p, OP_MUL, p->n, unary(p, OP_SIGMOID, unary(p, OP_NEG, p->x))); }
DERIVATIVE(softplus) { return unary(p, OP_SIGMOID, p->x); }
/* clang-format on */

DERIVATIVE(div) {
    if (i == 0) return binary(p, OP_DIV, number(p, 1), p->y);
    return unary(p, OP_NEG, binary(p, OP_DIV, p->n, p->y));
}

DERIVATIVE(mod) {
    if (i == 0) return number(p, 1);
    return unary(p, OP_NEG, unary(p, OP_FLOOR, binary(p, OP_DIV, p->x, p->y)));
}

/* At x = 0 the slope of x^y, 0 < y < 1, is infinite: there it is taken as 0, as that of the root is. */
DERIVATIVE(pow) {
    Node zero = number(p, 0), one = number(p, 1);
    double c;
    if (i == 0) {
        Node lower = binary(p, OP_POW, p->x, binary(p, OP_SUB, p->y, one));
        Node slope = binary(p, OP_MUL, p->y, lower), flat = binary(p, OP_EQ, p->y, zero);
        if (graph_is_const(graph_get(p->m, p->f), p->y, &c) && (c < 0 || c >= 1)) return slope;
        Node steep = binary(p, OP_AND, binary(p, OP_LT, zero, p->y), binary(p, OP_LT, p->y, one));
        steep = binary(p, OP_AND, binary(p, OP_EQ, p->x, zero), steep);
        return where(p, binary(p, OP_OR, flat, steep), zero, slope);
    }
    Node inside = positive(p, p->x);
    Node log = unary(p, OP_LOG, where(p, inside, p->x, one));
    return where(p, inside, binary(p, OP_MUL, p->n, log), zero);
}

/* 1 where a < b, 1/2 where equal */
static Node share(const Point *p, Node a, Node b) {
    Node tie = where(p, binary(p, OP_EQ, a, b), number(p, 0.5), number(p, 0));
    return where(p, binary(p, OP_LT, a, b), number(p, 1), tie);
}

DERIVATIVE(min) { return i == 0 ? share(p, p->x, p->y) : share(p, p->y, p->x); }

DERIVATIVE(max) { return i == 0 ? share(p, p->y, p->x) : share(p, p->x, p->y); }

DERIVATIVE(atan2) {
    Node radius = binary(p, OP_ADD, square(p, p->x), square(p, p->y));
    Node top = i == 0 ? p->y : unary(p, OP_NEG, p->x);
    Node inside = positive(p, radius);
    Node safe = where(p, inside, radius, number(p, 1));
    return where(p, inside, binary(p, OP_DIV, top, safe), number(p, 0));
}

DERIVATIVE(guarded) { return number(p, i == 0); }

DERIVATIVE(where) {
    if (i == 0) return number(p, 0);
    return binary(p, i == 1 ? OP_NE : OP_EQ, p->x, number(p, 0));
}

/* top / sqrt(x) where x > 0, else 0 */
static Node over_root(const Point *p, double top, Node root, Node x) {
    Node inside = positive(p, x);
    Node safe = where(p, inside, root, number(p, 1));
    return where(p, inside, binary(p, OP_DIV, number(p, top), safe), number(p, 0));
}

DERIVATIVE(sqrt) { return over_root(p, 0.5, p->n, p->x); }

DERIVATIVE(asin) {
    Node rest = binary(p, OP_SUB, number(p, 1), square(p, p->x));
    return over_root(p, 1, unary(p, OP_SQRT, rest), rest);
}

DERIVATIVE(acos) {
    Node rest = binary(p, OP_SUB, number(p, 1), square(p, p->x));
    return over_root(p, -1, unary(p, OP_SQRT, rest), rest);
}

DERIVATIVE(atan) {
    return binary(p, OP_DIV, number(p, 1), binary(p, OP_ADD, number(p, 1), square(p, p->x)));
}

/* c exp(-x²) */
static Node gauss(const Point *p, double c) {
    return binary(p, OP_MUL, unary(p, OP_EXP, unary(p, OP_NEG, square(p, p->x))), number(p, c));
}

DERIVATIVE(erf) { return gauss(p, M_2_SQRTPI); }

DERIVATIVE(erfc) { return gauss(p, -M_2_SQRTPI); }
