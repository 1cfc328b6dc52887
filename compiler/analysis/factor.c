/* Numbers gathered.
 *
 * The chain rule strews numbers into products: the gradient of λ² (√(1 + s²/λ²) - 1) by s has λ², 1/2, 1/λ² and
 * 2 in it, and its flux is what one would have written, s/√(1 + s²/λ²). Here every node is held as a number times
 * a node without one; numbers go through products, quotients, equal terms of sums and linear ops, and are
 * multiplied where something else needs the value. Ranges decide comparisons that guard a derivative which is
 * finite everywhere (√ of what is at least 1). Values keep to rounding, not to the last bit: this is for
 * functions that were derived, not for what the user wrote. */
#include "compiler/analysis/factor.h"
#include "compiler/analysis/interval.h"
#include "compiler/analysis/rebuild.h"
#include "compiler/graph/internal.h"
#include "compiler/ops/rules.h"

#include <math.h>
#include <string.h>

/* number * top / below * base; base NODE_NONE: the number alone. */
typedef struct {
    double number;
    Node top, below; /* of a field: numbers that are known when it runs; NODE_NONE: 1 */
    Node base;       /* of the new function, of the type of the old node */
    Node plain;      /* the same value as it was written, where that costs no more; or NODE_NONE */
} Term;

typedef struct {
    Module *module;
    FuncId from, to;
    Term *terms;           /* by old node */
    const Interval *range; /* by old node */
    Span span;
} Factor;

static Term term_of(double number, Node base) { return (Term){.number = number, .base = base}; }

/* Numbers that cancel leave rounding behind: what is within it of a fraction of 1024 is that fraction. Beyond
 * the range of f32, numbers stay where they are. */
static bool tidy(double *number) {
    double near = round(*number * 1024) / 1024;
    if (near != 0 && fabs(near - *number) <= 4e-16 * fabs(near)) *number = near;
    return fabs(*number) < 1e30 && fabs(*number) > 1e-30;
}

static Node binary(Factor *f, Op op, Node a, Node b) {
    return graph_binary(f->module, f->to, op, a, b, f->span);
}

/* a * b, where NODE_NONE is 1. */
static Node times(Factor *f, Node a, Node b) { return !a ? b : !b ? a : binary(f, OP_MUL, a, b); }

/* t * top / below; what stands on both sides is left out. */
static void scale(Factor *f, Term *t, Node top, Node below) {
    if (top && top == t->below) top = t->below = NODE_NONE;
    if (below && below == t->top) below = t->top = NODE_NONE;
    t->top = times(f, t->top, top);
    t->below = times(f, t->below, below);
}

static bool same_scale(Term x, Term y) { return x.top == y.top && x.below == y.below; }

static bool is_scaled(Term t) { return t.top || t.below; }

static Node value_of(Factor *f, Node old) {
    Term *t = &f->terms[old];
    if (t->plain) return t->plain;
    if (is_scaled(*t)) {
        Node all = times(f, graph_const(f->module, f->to, t->number), t->top);
        t->plain = binary(f, OP_MUL, t->base, t->below ? binary(f, OP_DIV, all, t->below) : all);
    } else if (!t->base)
        t->plain = graph_const(f->module, f->to, t->number);
    else if (t->number == 1)
        t->plain = t->base;
    else if (t->number == -1)
        t->plain = graph_unary(f->module, f->to, OP_NEG, t->base, f->span);
    else
        t->plain = graph_binary(f->module, f->to, OP_MUL, t->base,
                                graph_const(f->module, f->to, t->number), f->span);
    return t->plain;
}

static NodeData old_node(const Factor *f, Node n) {
    return *graph_node(graph_get(f->module, f->from), n);
}

static Node old_operand(const Factor *f, Node n, uint32_t i) {
    return graph_operand(graph_get(f->module, f->from), n, i);
}

static Node add(Factor *f, const NodeData *d, const Node *operands) {
    if (graph_type_is_given(d->op))
        return graph_add_typed(f->module, f->to, d->op, d->type, operands, d->count, d->index,
                               d->detail, d->span);
    return graph_add(f->module, f->to, d->op, operands, d->count, d->index, d->detail, d->span);
}

/* The op on its operands' values. */
static Term copied(Factor *f, Node n) {
    NodeData d = old_node(f, n);
    Node *operands = mem_alloc(sizeof *operands * (d.count + 1));
    for (uint32_t i = 0; i < d.count; i++) operands[i] = value_of(f, old_operand(f, n, i));
    Node made = add(f, &d, operands);
    mem_free(operands);
    return term_of(1, made);
}

/* As the node's own type: folding may give a number, or one channel, in place of a field. */
static Term typed(Factor *f, Node n, Term t) {
    Type type = old_node(f, n).type;
    if (t.base && t.base < graph_get(f->module, f->to)->nodes.len &&
        graph_node(graph_get(f->module, f->to), t.base)->type.kind != TYPE_TUPLE)
        t.base = node_broadcast(f->module, f->to, t.base, type, f->span);
    if (type.kind == TYPE_SCALAR &&
        is_scaled(t)) { /* a sum of a field: the number has it in itself */
        t.base = times(f, t.base, t.top);
        if (t.below) t.base = binary(f, OP_DIV, t.base, t.below);
        t.top = t.below = NODE_NONE;
    }
    return t;
}

/* ---- ops ---------------------------------------------------------------------------------- */

/* Is that a number known when it runs, in front of a field? */
static bool is_scale(const Factor *f, Node n, Node old) {
    return old_node(f, n).type.kind == TYPE_FIELD && old_node(f, old).type.kind == TYPE_SCALAR &&
           f->terms[old].base;
}

static Term product(Factor *f, Node n, Op op) {
    Node a = old_operand(f, n, 0), b = old_operand(f, n, 1);
    if (op == OP_MUL && is_scale(f, n, a)) {
        Node swap = a;
        a = b, b = swap;
    }
    Term x = f->terms[a], y = f->terms[b], t = x;
    t.number = op == OP_MUL ? x.number * y.number : x.number / y.number;
    t.plain = NODE_NONE;
    if (!tidy(&t.number) || is_scale(f, n, a)) return copied(f, n);
    if (!y.base && !x.base) return t;
    if (!y.base || is_scale(f, n, b)) {
        if (!x.base) return copied(f, n);
        scale(f, &t, op == OP_MUL ? y.base : NODE_NONE, op == OP_MUL ? NODE_NONE : y.base);
        if (x.number == 1 && !is_scaled(x)) t.plain = copied(f, n).base;
    } else if (!x.base && op == OP_MUL) {
        t.base = y.base;
        scale(f, &t, y.top, y.below);
    } else {
        t.base = binary(f, op, x.base ? x.base : graph_const(f->module, f->to, 1), y.base);
        scale(f, &t, op == OP_MUL ? y.top : y.below, op == OP_MUL ? y.below : y.top);
    }
    return t;
}

static Term sum(Factor *f, Node n, Op op) {
    Term x = f->terms[old_operand(f, n, 0)], y = f->terms[old_operand(f, n, 1)], t = x;
    double sign = op == OP_SUB ? -1 : 1, both = x.number + sign * y.number;
    t.plain = NODE_NONE;
    if (!x.base || !y.base || !same_scale(x, y)) return copied(f, n);
    if (x.base == y.base && both != 0 && tidy(&both)) {
        t.number = both;
        return t;
    }
    if (fabs(x.number) != fabs(y.number) || (x.number == 1 && !is_scaled(x))) return copied(f, n);
    t.base = binary(f, sign * y.number == x.number ? OP_ADD : OP_SUB, x.base, y.base);
    return t;
}

/* An op that is linear in all its operands together, or in each by itself. */
static Term linear(Factor *f, Node n, bool each) {
    NodeData d = old_node(f, n);
    Term made = {.number = 1};
    Node *operands = mem_alloc(sizeof *operands * (d.count + 1));
    bool same = true;
    for (uint32_t i = 0; i < d.count && same; i++) {
        Term t = f->terms[old_operand(f, n, i)];
        operands[i] = t.base;
        if (each) {
            made.number *= t.number;
            scale(f, &made, t.top, t.below);
        } else if (i == 0) {
            made = t;
        }
        same = t.base && (each || (t.number == made.number && same_scale(t, made)));
    }
    made.plain = NODE_NONE;
    if (same && tidy(&made.number))
        made.base = add(f, &d, operands);
    else
        made = copied(f, n);
    mem_free(operands);
    return made;
}

static Term spread(Factor *f, Node n) {
    NodeData d = old_node(f, n);
    Term t = f->terms[old_operand(f, n, 0)];
    Node one = graph_const(f->module, f->to, 1);
    if (!tidy(&t.number)) return copied(f, n);
    t.top = t.base;
    t.base = add(f, &d, &one);
    t.plain = NODE_NONE;
    return t;
}

static Term choice(Factor *f, Node n) {
    NodeData d = old_node(f, n);
    Interval c = f->range[old_operand(f, n, 0)];
    if (c.low >= 1 || (c.low == 0 && c.high == 0)) {
        Term t = f->terms[old_operand(f, n, c.low >= 1 ? 1 : 2)];
        if (!t.base && d.type.kind == TYPE_FIELD) t.base = graph_const(f->module, f->to, 1);
        t.plain = NODE_NONE;
        return t;
    }
    Node parts[3] = {value_of(f, old_operand(f, n, 0))};
    Term made = {0};
    for (uint32_t i = 1; i < 3; i++) {
        Term t = f->terms[old_operand(f, n, i)];
        parts[i] = t.base ? t.base : graph_const(f->module, f->to, 0);
        if (!t.base && t.number == 0) continue;
        if (!t.base || (made.base && (t.number != made.number || !same_scale(t, made))))
            return copied(f, n);
        made = t;
    }
    if (!made.base) return copied(f, n);
    made.base = add(f, &d, parts);
    made.plain = NODE_NONE;
    return made;
}

static Term factored(Factor *f, Node n) {
    NodeData d = old_node(f, n);
    Term t;
    switch (d.op) {
    case OP_CONST: return term_of(d.number, NODE_NONE);
    case OP_NEG:
        t = f->terms[old_operand(f, n, 0)];
        t.number = -t.number;
        t.plain = NODE_NONE;
        return t;
    case OP_MUL:
    case OP_DIV: return product(f, n, d.op);
    case OP_ADD:
    case OP_SUB: return sum(f, n, d.op);
    case OP_WHERE: return choice(f, n);
    case OP_SPREAD: return spread(f, n);
    case OP_STENCIL: return d.count == 1 ? linear(f, n, false) : copied(f, n);
    case OP_CONV:
    case OP_CONVT:
    case OP_CONVW: return linear(f, n, true);
    case OP_CHANNEL:
    case OP_CONCAT:
    case OP_CHSUM:
    case OP_ROW:
    case OP_ENTRY:
    case OP_BYCHANNEL:
    case OP_TOTALS:
    case OP_RESTRICT:
    case OP_PROLONG:
    case OP_SUM: return linear(f, n, false);
    default: return copied(f, n);
    }
}

FuncId factor_func(Module *module, FuncId func) {
    const Func *old = graph_get(module, func);
    uint32_t count = old->nodes.len;
    Factor f = {.module = module, .from = func, .span = SPAN_NONE};
    Interval *range = mem_alloc(sizeof *range * count);
    interval_numbers(module, func, count - 1, range); /* a guard of what is NaN guards nothing */
    f.range = range;
    f.terms = mem_alloc(sizeof *f.terms * count);
    memset(f.terms, 0, sizeof *f.terms * count);
    f.to = graph_func(module, old->name);
    uint8_t *live = rebuild_live(old);
    for (uint32_t i = 0; i < old->params.len; i++) {
        Node p = old->params.data[i];
        f.terms[p] = term_of(1, graph_param(module, f.to, graph_node(old, p)->type, 0));
    }
    for (Node n = 1; n < count; n++) {
        if (!live[n] || f.terms[n].base) continue;
        f.span = old_node(&f, n).span;
        f.terms[n] = typed(&f, n, factored(&f, n));
    }
    for (uint32_t i = 0; i < graph_get(module, func)->results.len; i++) {
        Node result = value_of(&f, graph_get(module, func)->results.data[i]);
        vec_push(&graph_get(module, f.to)->results, result);
    }
    mem_free(live);
    mem_free(range);
    mem_free(f.terms);
    return f.to;
}
