/* Looks for fluxes: from the result back through linear ops to the products of a multiplier and
 * something linear. */
#include "compiler/analysis/sector.h"
#include "compiler/analysis/interval.h"
#include "compiler/ops/ops.h"
#include "compiler/ops/rules.h"

#include <math.h>
#include <string.h>

typedef struct {
    Module *module;
    FuncId func;
    const Simple *simple; /* of the nodes that were there at first */
    uint32_t count;
    Interval *range;
    FluxForm form;
    uint8_t *seen;
    uint32_t budget; /* of steps of factoring */
} Finder;

static const NodeData *data_of(const Finder *s, Node n) {
    return graph_node(graph_get(s->module, s->func), n);
}

static Node operand(const Finder *s, Node n, uint32_t i) {
    return graph_operand(graph_get(s->module, s->func), n, i);
}

static bool is_kind(const Finder *s, Node n, SimpleKind kind) {
    return n < s->count && s->simple[n].kind == kind;
}

static Node add_node(Finder *s, Op op, const Node *operands, uint32_t count, uint32_t index) {
    return graph_add(s->module, s->func, op, operands, count, index, 0, SPAN_NONE);
}

/* ---- w = m s --------------------------------------------------------------------------- */

/* s = NODE_NONE: zero. */
typedef struct {
    Node s;
    Interval m;
} Product;

static bool factor(Finder *f, Node w, Product *out);

/* Numbers in front of something linear belong to the multiplier. */
static bool factor_linear(Finder *f, Node w, Product *out) {
    out->s = w;
    out->m = interval(1, 1);
    for (;;) {
        const NodeData *d = data_of(f, out->s);
        double c;
        if (d->op == OP_NEG)
            c = -1;
        else if ((d->op != OP_MUL && d->op != OP_DIV) ||
                 !graph_is_const(graph_get(f->module, f->func), operand(f, out->s, 1), &c) ||
                 c == 0)
            return true;
        Interval number = interval(c, c);
        out->m = d->op == OP_DIV ? interval_div(out->m, number) : interval_mul(out->m, number);
        out->s = operand(f, out->s, 0);
    }
}

/* Is one multiplier better for the proof than another: not negative, then smaller? */
static bool better(Interval a, Interval b) {
    if ((a.low >= 0) != (b.low >= 0)) return a.low >= 0;
    return fmax(fabs(a.low), fabs(a.high)) < fmax(fabs(b.low), fabs(b.high));
}

static bool factor_product(Finder *f, Node w, Product *out) {
    bool any = false;
    Type type = data_of(f, w)->type;
    for (uint32_t i = 0; i < 2; i++) {
        Product p;
        Node other = operand(f, w, 1 - i);
        if (!factor(f, operand(f, w, i), &p)) continue;
        p.m = interval_mul(p.m, f->range[other]);
        if (p.s != NODE_NONE) p.s = node_broadcast(f->module, f->func, p.s, type, SPAN_NONE);
        if (!any || better(p.m, out->m)) *out = p;
        any = true;
    }
    return any;
}

/* Two parts with the same argument: their sum, or the hull of both. */
static bool factor_both(Finder *f, Node a, Node b, Op op, Product *out) {
    Product x, y;
    if (!factor(f, a, &x) || !factor(f, b, &y) ||
        (x.s != y.s && x.s != NODE_NONE && y.s != NODE_NONE))
        return false;
    out->s = x.s != NODE_NONE ? x.s : y.s;
    if (op == OP_WHERE)
        out->m = interval_hull(x.m, y.m);
    else
        out->m = interval_op(op, (Interval[]){x.m, y.m}, false);
    return true;
}

/* f(x) / x of odd functions. */
static bool function_sector(Op op, Interval *ratio) {
    switch (op) {
    case OP_TANH:
    case OP_ATAN: *ratio = interval(0, 1); return true;
    case OP_ERF: *ratio = interval(0, nextafter(M_2_SQRTPI, 2)); return true;
    case OP_SIN: *ratio = interval(-0.21723362821122166, 1); return true;
    case OP_SINH: *ratio = interval(1, INFINITY); return true;
    case OP_ABS: *ratio = interval(-1, 1); return true;
    default: return false;
    }
}

/* max(x, c) with c <= 0, min(x, c) with c >= 0: between 0 and x, or x. */
static bool factor_clamp(Finder *f, Node w, Op op, Product *out) {
    for (uint32_t i = 0; i < 2; i++) {
        Interval c = f->range[operand(f, w, 1 - i)];
        bool keeps_zero = op == OP_MAX ? c.high <= 0 : c.low >= 0;
        if (keeps_zero && factor(f, operand(f, w, i), out)) {
            out->m = interval_hull(out->m, interval(0, 0));
            return out->m.low >= 0;
        }
    }
    return false;
}

static bool factor_channels(Finder *f, Node w, Product *out) {
    NodeData d = *data_of(f, w);
    if (d.op == OP_CHANNEL) {
        Node from = operand(f, w, 0);
        if (!factor(f, from, out)) return false;
        if (out->s != NODE_NONE) out->s = add_node(f, OP_CHANNEL, &out->s, 1, d.index);
        return true;
    }
    Node *parts = ARENA_ARRAY(f->module->arena, Node, d.count);
    for (uint32_t i = 0; i < d.count; i++) {
        Product p;
        if (!factor(f, operand(f, w, i), &p)) return false;
        Type type = data_of(f, operand(f, w, i))->type;
        out->m = i == 0 ? p.m : interval_hull(out->m, p.m);
        Node zero = graph_const(f->module, f->func, 0);
        parts[i] = p.s != NODE_NONE ? p.s : node_fill(f->module, f->func, zero, type, SPAN_NONE);
    }
    out->s = add_node(f, OP_CONCAT, parts, d.count, 0);
    return true;
}

/* Does node w depend on u through s alone? Then its sector can be found by subdivision. */
static bool factor_scalar(Finder *f, Node w, Product *out) {
    const Func *func = graph_get(f->module, f->func);
    uint8_t *live = mem_alloc(w + 1);
    memset(live, 0, w + 1);
    live[w] = 1;
    Node s = NODE_NONE;
    bool ok = w < f->count;
    for (Node n = w; n > 0 && ok; n--) {
        if (!live[n] || is_kind(f, n, SIMPLE_COEFFICIENT)) continue;
        const NodeData *d = graph_node(func, n);
        if (is_kind(f, n, SIMPLE_LINEAR)) {
            ok = s == NODE_NONE;
            s = n;
            continue;
        }
        ok = op_info(d->op)->class == CLASS_POINTWISE;
        for (uint32_t k = 0; k < d->count; k++) live[graph_operand(func, n, k)] = 1;
    }
    mem_free(live);
    if (!ok || s == NODE_NONE || !type_equal(graph_node(func, s)->type, graph_node(func, w)->type))
        return false;
    out->s = s;
    return sector_scalar(f->module, f->func, w, s, &out->m);
}

static bool factor_op(Finder *f, Node w, Product *out) {
    NodeData d = *data_of(f, w);
    Interval ratio;
    switch (d.op) {
    case OP_NEG:
        if (!factor(f, operand(f, w, 0), out)) return false;
        out->m = interval(-out->m.high, -out->m.low);
        return true;
    case OP_MUL: return factor_product(f, w, out);
    case OP_DIV:
        if (!factor(f, operand(f, w, 0), out)) return false;
        out->m = interval_div(out->m, f->range[operand(f, w, 1)]);
        if (out->s != NODE_NONE)
            out->s = node_broadcast(f->module, f->func, out->s, d.type, SPAN_NONE);
        return true;
    case OP_ADD:
    case OP_SUB: return factor_both(f, operand(f, w, 0), operand(f, w, 1), d.op, out);
    case OP_WHERE: return factor_both(f, operand(f, w, 1), operand(f, w, 2), OP_WHERE, out);
    case OP_MIN:
    case OP_MAX: return factor_clamp(f, w, d.op, out);
    case OP_CHANNEL:
    case OP_CONCAT: return factor_channels(f, w, out);
    default:
        if (!function_sector(d.op, &ratio) || !factor(f, operand(f, w, 0), out)) return false;
        if (d.op == OP_ERF || d.op == OP_SINH || d.op == OP_TANH || d.op == OP_ATAN ||
            out->m.low >= 0) {
            out->m = interval_mul(out->m, ratio);
            return true;
        }
        return false;
    }
}

static bool factor(Finder *f, Node w, Product *out) {
    if (w < f->count && f->simple[w].zero) {
        *out = (Product){NODE_NONE, interval(0, 0)};
        return true;
    }
    if (is_kind(f, w, SIMPLE_LINEAR)) return factor_linear(f, w, out);
    if (w >= f->count || is_kind(f, w, SIMPLE_COEFFICIENT) || is_kind(f, w, OTHER_COEFFICIENT) ||
        f->budget == 0)
        return false;
    f->budget--;
    return factor_op(f, w, out);
}

/* ---- the tail -------------------------------------------------------------------------- */

static void miss(Finder *f, const char *why) {
    if (!f->form.missing) f->form.missing = why;
}

/* Does w read a stencil whose sides have values? Then what it reads is not linear in u. */
static bool has_boundary_values(const Finder *f, Node w) {
    uint8_t *live = mem_alloc(w + 1);
    bool has = false;
    memset(live, 0, w + 1);
    live[w] = 1;
    for (Node n = w; n > 0 && !has; n--) {
        NodeData d = *data_of(f, n);
        for (uint32_t k = 0; live[n] && k < d.count; k++) {
            Node o = operand(f, n, k);
            live[o] = 1;
            has = has || (d.op == OP_STENCIL && k > 0 && !(o < f->count && f->simple[o].zero));
        }
    }
    mem_free(live);
    return has;
}

static void add_flux(Finder *f, Node w) {
    Product p = {NODE_NONE, interval(0, 0)}, q;
    bool ok = factor(f, w, &p);
    if ((!ok || p.m.low < 0 || isinf(p.m.high)) && factor_scalar(f, w, &q)) {
        p = q;
        ok = true;
    }
    if (!ok || p.s == NODE_NONE) {
        if (has_boundary_values(f, w))
            miss(
                f,
                "boundary values of 0: with dirichlet(v) or neumann(v), v not 0, the flux is no function of "
                "something linear in u; a u from which a field with those boundary values is subtracted has 0");
        miss(
            f,
            "the form -Kᵀ Φ(K u): a term is not a flux Φ(s) = m s of something linear in u, such as "
            "g(norm2(grad(u))) * grad(u)");
        return;
    }
    if (p.m.low < 0 &&
        p.m.high <= 0) { /* m s = (-m)(-s): -laplacian(g * laplacian(u)) has its sign in K */
        p.s = add_node(f, OP_NEG, &p.s, 1, 0);
        p.m = interval(-p.m.high, -p.m.low);
    }
    Flux flux = {w, p.s, p.m};
    vec_push(&f->form.fluxes, flux);
}

/* Nodes are visited once: what is used twice enters the tail twice, which the matrices see. */
static void descend(Finder *f, Node result) {
    VEC(Node) stack = {0};
    vec_push(&stack, result);
    while (stack.len && !f->form.missing) {
        Node n = vec_pop(&stack);
        NodeData d = *data_of(f, n);
        if (f->seen[n] || is_kind(f, n, SIMPLE_LINEAR) || f->simple[n].zero) continue;
        f->seen[n] = 1;
        if (!is_kind(f, n, NOT_SIMPLE)) {
            f->form.has_source = true;
            continue;
        }
        uint32_t first = 0, last = 0; /* operands through which it is linear */
        switch (d.op) {
        case OP_NEG:
        case OP_CHANNEL:
        case OP_CHSUM: last = 1; break;
        case OP_ADD:
        case OP_SUB:
        case OP_CONCAT:
        case OP_STENCIL: last = d.count; break;
        case OP_MUL:
            for (uint32_t i = 0; i < 2; i++)
                if (is_kind(f, operand(f, n, i), SIMPLE_COEFFICIENT)) {
                    first = 1 - i;
                    last = first + 1;
                }
            break;
        case OP_DIV: last = is_kind(f, operand(f, n, 1), SIMPLE_COEFFICIENT); break;
        case OP_WHERE: /* at a mask of edges */
            first = 1;
            last = is_kind(f, operand(f, n, 0), SIMPLE_COEFFICIENT) ? 3 : 0;
            break;
        default: break;
        }
        if (last == 0) {
            if (op_info(d.op)->class == CLASS_POINTWISE)
                add_flux(f, n);
            else
                miss(
                    f,
                    d.op == OP_PARAM
                        ? "the form -Kᵀ Φ(K u) in one unknown: a coefficient is known only when the "
                          "program runs"
                        : "the form -Kᵀ Φ(K u): between the fluxes and the result stands more than "
                          "stencils, sums and channels");
        }
        for (uint32_t i = first; i < last; i++) vec_push(&stack, operand(f, n, i));
    }
    vec_free(&stack);
}

FluxForm sector_find(Module *module, FuncId func, const Simple *simple) {
    uint32_t count = graph_get(module, func)->nodes.len;
    Finder f = {.module = module, .func = func, .simple = simple, .count = count, .budget = 10000};
    f.range = mem_alloc(sizeof *f.range * count);
    f.seen = mem_alloc(count);
    memset(f.seen, 0, count);
    interval_nodes(module, func, count - 1, NULL, 0, f.range);
    descend(&f, graph_get(module, func)->results.data[0]);
    mem_free(f.range);
    mem_free(f.seen);
    return f.form;
}

void sector_free(FluxForm *form) { vec_free(&form->fluxes); }
