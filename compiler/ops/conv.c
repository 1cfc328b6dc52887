/* Convolutions whose weights are operands, and their two transposes.
 *
 * The three ops are one trilinear form, sum of w[o][i][t] u[i](stride p + dilation t - low) v[o](p), by its three
 * arguments; so each op's transpose by an operand is another one of them. */
#include "compiler/ops/rules.h"

#include <string.h>

static Type operand_type(Module *m, FuncId f, Node n) {
    return graph_node(graph_get(m, f), n)->type;
}

/* ---- shape ---------------------------------------------------------------------------- */

/* The arguments of the form. */
typedef struct {
    Type u, v, w;
} Triple;

static bool is_field(Module *m, const Conv *c, Type t, uint32_t channels, const char **why) {
    if (t.kind != TYPE_FIELD || m->grids.data[t.grid].row) {
        *why = arena_format(m->arena, "a convolution acts on fields, not on %s",
                            type_text(m, t, m->arena));
        return false;
    }
    if (m->grids.data[t.grid].rank != c->rank) {
        *why = arena_format(m->arena, "a convolution of %u dimensions on a grid of %u", c->rank,
                            m->grids.data[t.grid].rank);
        return false;
    }
    if (t.channels != channels) {
        *why = arena_format(m->arena, "the convolution has %u channels there, the field has %u",
                            channels, t.channels);
        return false;
    }
    return true;
}

static bool is_weights(Module *m, const Conv *c, Type t, const char **why) {
    const Grid *g = &m->grids.data[t.grid];
    if (t.kind == TYPE_FIELD && t.channels == 1 && g->row && g->extent[0] == conv_weights(c))
        return true;
    *why =
        arena_format(m->arena, "the weights of this convolution are a row of %lld numbers, not %s",
                     (long long)conv_weights(c), type_text(m, t, m->arena));
    return false;
}

static bool triple_fits(Module *m, const Conv *c, Triple t, const char **why) {
    if (!is_field(m, c, t.u, c->in, why) || !is_field(m, c, t.v, c->out, why) ||
        !is_weights(m, c, t.w, why))
        return false;
    bool halved =
        m->grids.data[t.v.grid].finer == t.u.grid || m->grids.data[t.u.grid].coarser == t.v.grid;
    if (c->stride[0] == 1 ? t.u.grid == t.v.grid : halved) return true;
    *why = arena_format(m->arena,
                        c->stride[0] == 1
                            ? "a convolution of stride 1 between %s and %s"
                            : "a convolution of stride 2 from %s to %s, which does not halve it",
                        type_text(m, t.u, m->arena), type_text(m, t.v, m->arena));
    return false;
}

static Triple triple_of(Op op, Type a, Type b, Type result) {
    switch (op) {
    case OP_CONV: return (Triple){.u = a, .w = b, .v = result};
    case OP_CONVT: return (Triple){.v = a, .w = b, .u = result};
    default: return (Triple){.u = a, .v = b, .w = result};
    }
}

static bool conv_known(Module *m, uint32_t count, ConvId index, const char **why) {
    if (index > 0 && index < m->convs.len && count == 2) return true;
    *why = "no such convolution, or not two operands";
    return false;
}

bool conv_fits(Module *m, FuncId f, Op op, const Node *operands, uint32_t count, ConvId index,
               Type type, const char **why) {
    return conv_known(m, count, index, why) &&
           triple_fits(m, &m->convs.data[index],
                       triple_of(op, operand_type(m, f, operands[0]),
                                 operand_type(m, f, operands[1]), type),
                       why);
}

bool shape_conv(Module *m, FuncId f, Op op, const Node *operands, uint32_t count, uint32_t index,
                uint32_t detail, Type *out, const char **why) {
    if (!conv_known(m, count, index, why)) return false;
    Conv c = m->convs.data[index];
    Type a = operand_type(m, f, operands[0]), b = operand_type(m, f, operands[1]);
    bool halves = c.stride[0] == 2;
    if (op == OP_CONVW) {
        *out = type_field(graph_row(m, conv_weights(&c)), 1);
    } else if (!is_field(m, &c, a, op == OP_CONV ? c.in : c.out, why)) {
        return false;
    } else if (op == OP_CONV) {
        *out = type_field(halves ? graph_coarser(m, a.grid) : a.grid, c.out);
    } else {
        *out = type_field(halves ? graph_finer(m, a.grid) : a.grid, c.in);
    }
    return triple_fits(m, &c, triple_of(op, a, b, *out), why);
}

/* ---- evaluation ------------------------------------------------------------------------- */

/* Where the cell of u lies that tap `tap` reads for cell p of v, and the factor of what is there. */
static int read_cell(const Conv *c, const int64_t *extent, const int64_t *p, const int64_t *tap,
                     int64_t *at) {
    int factor = 1;
    *at = 0;
    for (int a = MAX_RANK - 1; a >= 0; a--) {
        int64_t where = p[a] * c->stride[a] + tap[a] * c->dilation[a] - conv_low(c, (uint32_t)a);
        GhostRead g = ghost_read(c->sides[a], where, extent[a], 1);
        factor *= g.factor;
        *at = *at * extent[a] + g.at;
    }
    return factor;
}

/* Adds the terms of the form with weight `number`, output o, input i and one tap to the argument that op computes. */
static void add_terms(const Conv *c, Op op, const int64_t *fine, const int64_t *coarse,
                      const int64_t *tap, double *u, double *v, double *w) {
    int64_t p[MAX_RANK], at;
    for (p[2] = 0; p[2] < coarse[2]; p[2]++)
        for (p[1] = 0; p[1] < coarse[1]; p[1]++)
            for (p[0] = 0; p[0] < coarse[0]; p[0]++, v++) {
                int factor = read_cell(c, fine, p, tap, &at);
                if (factor == 0) continue;
                if (op == OP_CONV)
                    *v += factor * *w * u[at];
                else if (op == OP_CONVT)
                    u[at] += factor * *w * *v;
                else
                    *w += factor * u[at] * *v;
            }
}

void eval_conv(Evaluator *e, FuncId f, Node n, const Array *const *operands, Array *out) {
    const NodeData *d = graph_node(graph_get(e->module, f), n);
    const Conv *c = &e->module->convs.data[d->index];
    Array u = d->op == OP_CONVT ? *out : *operands[0];
    Array v = d->op == OP_CONV ? *out : *operands[d->op == OP_CONVW];
    double *w = d->op == OP_CONVW ? out->data : operands[1]->data;
    int64_t fine[MAX_RANK], coarse[MAX_RANK], tap[MAX_RANK];
    int64_t fine_cells = eval_extents(e, u.type.grid, fine);
    int64_t coarse_cells = eval_extents(e, v.type.grid, coarse);
    for (uint32_t a = 0; a < c->rank; a++)
        if (conv_high(c, a) > fine[a] || coarse[a] != (fine[a] + c->stride[a] - 1) / c->stride[a]) {
            e->status = EVAL_SIZE;
            return;
        }
    memset(out->data, 0, sizeof(double) * (size_t)out->size);
    uint32_t inputs = c->in / c->groups, outputs = c->out / c->groups;
    for (uint32_t o = 0; o < c->out; o++)
        for (uint32_t i = 0; i < inputs; i++)
            for (tap[2] = 0; tap[2] < c->size[2]; tap[2]++)
                for (tap[1] = 0; tap[1] < c->size[1]; tap[1]++)
                    for (tap[0] = 0; tap[0] < c->size[0]; tap[0]++)
                        add_terms(c, d->op, fine, coarse, tap,
                                  u.data + (o / outputs * inputs + i) * fine_cells,
                                  v.data + o * coarse_cells, w++);
}

/* ---- transposes ---------------------------------------------------------------------------- */

Node deriv_conv(Module *m, FuncId f, Node n, uint32_t i, Node w) {
    NodeData d = *graph_node(graph_get(m, f), n);
    Node a = graph_operand(graph_get(m, f), n, 0), b = graph_operand(graph_get(m, f), n, 1);
    Op op;
    Node x, y;
    switch (d.op) {
    case OP_CONV: /* a is u, b the weights, w the cotangent of v */
        op = i == 0 ? OP_CONVT : OP_CONVW;
        x = i == 0 ? w : a;
        y = i == 0 ? b : w;
        break;
    case OP_CONVT: /* a is v, b the weights, w stands where u does */
        op = i == 0 ? OP_CONV : OP_CONVW;
        x = w;
        y = i == 0 ? b : a;
        break;
    default: /* a is u, b is v, w stands where the weights do */
        op = i == 0 ? OP_CONVT : OP_CONV;
        x = i == 0 ? b : a;
        y = w;
        break;
    }
    return graph_add(m, f, op, (Node[]){x, y}, 2, d.index, 0, d.span);
}
