/* Tridiagonal systems along an axis, one for every line of the grid and every channel:
 *   l_i x_{i-1} + d_i x_i + u_i x_{i+1} = b_i.
 *
 * The operands are (b, lower, diagonal, upper); fields of one channel serve all channels of b. Where the bands stand is
 * said by bits of `detail` (TridiagBit), so that the transposed system has the same operands, and a symmetric one the
 * same field twice. Elimination in order, without pivots: right for diagonally dominant and for symmetric positive
 * definite matrices. (Thomas, Elliptic Problems in Linear Difference Equations over a Network, 1949.) In a periodic
 * system x_{-1} is the last cell, and the last unknown is carried along as a border. */
#include "compiler/ops/rules.h"

#include <string.h>

static Type operand_type(Module *m, FuncId f, Node n) {
    return graph_node(graph_get(m, f), n)->type;
}

/* ---- shape ---------------------------------------------------------------------------- */

bool shape_tridiag(Module *m, FuncId f, Op op, const Node *operands, uint32_t count, uint32_t index,
                   uint32_t detail, Type *out, const char **why) {
    static const char *const names[] = {"the right side", "the lower diagonal", "the diagonal",
                                        "the upper diagonal"};
    Type b = operand_type(m, f, operands[0]);
    for (uint32_t i = 0; i < 4; i++) {
        Type t = operand_type(m, f, operands[i]);
        if (t.kind != TYPE_FIELD || m->grids.data[t.grid].row) {
            *why = arena_format(m->arena, "%s of a tridiagonal system is a field, not %s", names[i],
                                type_text(m, t, m->arena));
            return false;
        }
        if (t.grid != b.grid || (t.channels != 1 && t.channels != b.channels)) {
            *why = arena_format(m->arena,
                                "%s of a tridiagonal system lives on %s, the right side on %s",
                                names[i], type_text(m, t, m->arena), type_text(m, b, m->arena));
            return false;
        }
    }
    if (index >= m->grids.data[b.grid].rank || detail > TRIDIAG_BITS) {
        *why = arena_format(m->arena, "a tridiagonal system along axis %u of a grid of %u", index,
                            m->grids.data[b.grid].rank);
        return false;
    }
    *out = b;
    return true;
}

/* The field whose value one cell on (by = 1) or back (-1) along the axis n is, or NODE_NONE. What n reads beyond the side
 * does not count, but in a periodic system. */
static Node shifted_of(Module *m, FuncId f, Node n, uint32_t axis, int32_t by, bool periodic) {
    const NodeData *d = graph_node(graph_get(m, f), n);
    if (d->op != OP_STENCIL) return NODE_NONE;
    const Stencil *s = &m->stencils.data[d->index];
    if (s->transposed || s->in_channels != s->out_channels || s->count != s->in_channels ||
        (s->sides[axis][0] == SIDE_PERIODIC) != periodic)
        return NODE_NONE;
    for (uint32_t i = 0; i < s->count; i++) {
        const Tap *t = &s->taps[i];
        if (t->from != i || t->to != i || t->weight != 1) return NODE_NONE;
        for (uint32_t a = 0; a < MAX_RANK; a++)
            if (t->offset[a] != (a == axis ? by : 0)) return NODE_NONE;
    }
    return graph_operand(graph_get(m, f), n, 0);
}

/* A band that is another field, shifted, is read there. */
Node fold_tridiag(Module *m, FuncId f, Op op, const Node *operands, uint32_t count, uint32_t index,
                  uint32_t detail, Span span) {
    bool periodic = detail & TRIDIAG_PERIODIC;
    Node made[4] = {operands[0], operands[1], operands[2], operands[3]};
    Node lower = detail & TRIDIAG_LOWER_BEFORE ? shifted_of(m, f, operands[1], index, 1, periodic)
                                               : shifted_of(m, f, operands[1], index, -1, periodic);
    Node upper = detail & TRIDIAG_UPPER_AFTER ? shifted_of(m, f, operands[3], index, -1, periodic)
                                              : shifted_of(m, f, operands[3], index, 1, periodic);
    if (lower == NODE_NONE && upper == NODE_NONE) return NODE_NONE;
    if (lower != NODE_NONE) {
        made[1] = lower;
        detail ^= TRIDIAG_LOWER_BEFORE;
    }
    if (upper != NODE_NONE) {
        made[3] = upper;
        detail ^= TRIDIAG_UPPER_AFTER;
    }
    return graph_add(m, f, op, made, 4, index, detail, span);
}

/* ---- evaluation ------------------------------------------------------------------------- */

/* One line: `apart` numbers from cell to cell; c and q are room for n numbers each. */
typedef struct {
    const double *b, *lower, *diagonal, *upper;
    double *x, *c, *q;
    int64_t n, apart;
    uint32_t detail;
} Line;

/* Entries of row i; 0 for the neighbour that is not there. */
static double lower_at(const Line *t, int64_t i) {
    if (i == 0 && !(t->detail & TRIDIAG_PERIODIC)) return 0;
    int64_t at = t->detail & TRIDIAG_LOWER_BEFORE ? (i + t->n - 1) % t->n : i;
    return t->lower[at * t->apart];
}

static double upper_at(const Line *t, int64_t i) {
    if (i == t->n - 1 && !(t->detail & TRIDIAG_PERIODIC)) return 0;
    int64_t at = t->detail & TRIDIAG_UPPER_AFTER ? (i + 1) % t->n : i;
    return t->upper[at * t->apart];
}

static void solve_line(const Line *t) {
    double c = 0, y = 0;
    for (int64_t i = 0; i < t->n; i++) {
        double l = lower_at(t, i), r = 1 / (t->diagonal[i * t->apart] - l * c);
        y = (t->b[i * t->apart] - l * y) * r;
        c = upper_at(t, i) * r;
        t->x[i * t->apart] = y;
        t->c[i] = c;
    }
    for (int64_t i = t->n - 1; i-- > 0;) t->x[i * t->apart] -= t->c[i] * t->x[(i + 1) * t->apart];
}

/* x_i + c_i x_{i+1} + q_i x_{n-1} = y_i for i < n - 1; the last row, with `first` times x_i instead of x_0, and
 * `end` times x_{n-1}, is eliminated along with them. */
static void solve_ring(const Line *t) {
    int64_t last = t->n - 1;
    double c = 0, y = 0, q = 0, first = upper_at(t, last), end = t->diagonal[last * t->apart],
           right = t->b[last * t->apart];
    for (int64_t i = 0; i < last; i++) {
        double l = lower_at(t, i), inner = i == 0 ? 0 : l, u = upper_at(t, i);
        double r = 1 / (t->diagonal[i * t->apart] - inner * c);
        q = ((i == 0 ? l : 0) + (i == last - 1 ? u : 0) - inner * q) * r;
        y = (t->b[i * t->apart] - inner * y) * r;
        c = (i == last - 1 ? 0 : u) * r;
        t->x[i * t->apart] = y;
        t->c[i] = c;
        t->q[i] = q;
        if (i == last - 1) first += lower_at(t, last);
        end -= first * q;
        right -= first * y;
        first = -first * c;
    }
    if (last == 0) end += first + lower_at(t, 0);
    double x = right / end;
    t->x[last * t->apart] = x;
    for (int64_t i = last; i-- > 0;)
        t->x[i * t->apart] -= t->q[i] * x + t->c[i] * t->x[(i + 1) * t->apart];
}

void eval_tridiag(Evaluator *e, FuncId f, Node n, const Array *const *operands, Array *out) {
    NodeData d = *graph_node(graph_get(e->module, f), n);
    int64_t extent[MAX_RANK], cells = eval_extents(e, out->type.grid, extent), apart = 1,
                              at[4] = {0};
    for (uint32_t a = 0; a < d.index; a++) apart *= extent[a];
    int64_t length = extent[d.index];
    double *room = mem_alloc(sizeof *room * 2 * (size_t)length);
    for (uint32_t channel = 0; channel < d.type.channels; channel++)
        for (int64_t outer = 0; outer < cells; outer += apart * length)
            for (int64_t inner = 0; inner < apart; inner++) {
                for (int i = 0; i < 4; i++)
                    at[i] = outer + inner + (operands[i]->type.channels > 1 ? channel * cells : 0);
                Line line = {operands[0]->data + at[0],
                             operands[1]->data + at[1],
                             operands[2]->data + at[2],
                             operands[3]->data + at[3],
                             out->data + channel * cells + outer + inner,
                             room,
                             room + length,
                             length,
                             apart,
                             d.detail};
                (d.detail & TRIDIAG_PERIODIC ? solve_ring : solve_line)(&line);
            }
    mem_free(room);
}

/* ---- derivatives ---------------------------------------------------------------------------- */

/* n one cell on (by = 1) or back (-1) along the axis; 0 beyond the sides, or periodic. */
static Node shifted(Module *m, FuncId f, Node n, uint32_t axis, int32_t by, bool periodic,
                    Span span) {
    Type t = operand_type(m, f, n);
    Stencil s = {
        .rank = m->grids.data[t.grid].rank, .in_channels = t.channels, .out_channels = t.channels};
    s.count = t.channels;
    s.taps = ARENA_ARRAY(m->arena, Tap, s.count);
    for (uint32_t c = 0; c < s.count; c++) {
        s.taps[c] = (Tap){.from = c, .to = c, .weight = 1};
        s.taps[c].offset[axis] = by;
    }
    for (uint32_t a = 0; a < MAX_RANK; a++)
        s.sides[a][0] = s.sides[a][1] = a != axis || periodic ? SIDE_PERIODIC : SIDE_GHOST;
    return graph_add(m, f, OP_STENCIL, &n, 1, graph_stencil(m, &s), 0, span);
}

/* The solution of the transposed system: bands change places, and are read on the other side. */
static Node transposed(Module *m, FuncId f, const NodeData *d, const Node *operands, Node w) {
    uint32_t detail = d->detail & TRIDIAG_PERIODIC;
    if (!(d->detail & TRIDIAG_UPPER_AFTER)) detail |= TRIDIAG_LOWER_BEFORE;
    if (!(d->detail & TRIDIAG_LOWER_BEFORE)) detail |= TRIDIAG_UPPER_AFTER;
    Node parts[4] = {w, operands[3], operands[2], operands[1]};
    return graph_add(m, f, OP_TRIDIAG, parts, 4, d->index, detail, d->span);
}

/* With v the solution of the transposed system for w: b gets v, row i's entries -v_i times what they multiply. */
Node deriv_tridiag(Module *m, FuncId f, Node n, uint32_t i, Node w) {
    NodeData d = *graph_node(graph_get(m, f), n);
    bool periodic = d.detail & TRIDIAG_PERIODIC;
    Node operands[4];
    for (uint32_t k = 0; k < 4; k++) operands[k] = graph_operand(graph_get(m, f), n, k);
    Node v = transposed(m, f, &d, operands, node_broadcast(m, f, w, d.type, d.span)), x = n;
    if (i == 0) return v;
    if (i == 1 && d.detail & TRIDIAG_LOWER_BEFORE)
        v = shifted(m, f, v, d.index, 1, periodic, d.span);
    else if (i == 1)
        x = shifted(m, f, x, d.index, -1, periodic, d.span);
    else if (i == 3 && d.detail & TRIDIAG_UPPER_AFTER)
        v = shifted(m, f, v, d.index, -1, periodic, d.span);
    else if (i == 3)
        x = shifted(m, f, x, d.index, 1, periodic, d.span);
    Node product = graph_unary(m, f, OP_NEG, graph_binary(m, f, OP_MUL, v, x, d.span), d.span);
    return node_unbroadcast(m, f, product, operand_type(m, f, operands[i]), d.span);
}

/* The solution for the right side's tangent minus those of the bands times the solution. */
Node tridiag_tangent(Module *m, FuncId f, const NodeData *d, const Node *operands, Node x,
                     const Node *tangents) {
    bool periodic = d->detail & TRIDIAG_PERIODIC;
    Node right = tangents[0];
    for (uint32_t i = 1; i < 4; i++) {
        if (tangents[i] == NODE_NONE) continue;
        Node band = tangents[i], at = x;
        if (i == 1 && d->detail & TRIDIAG_LOWER_BEFORE)
            band = shifted(m, f, band, d->index, -1, periodic, d->span);
        if (i == 3 && d->detail & TRIDIAG_UPPER_AFTER)
            band = shifted(m, f, band, d->index, 1, periodic, d->span);
        if (i != 2) at = shifted(m, f, x, d->index, i == 1 ? -1 : 1, periodic, d->span);
        Node product = graph_binary(m, f, OP_MUL, band, at, d->span);
        right = right == NODE_NONE ? graph_unary(m, f, OP_NEG, product, d->span)
                                   : graph_binary(m, f, OP_SUB, right, product, d->span);
    }
    Type type = operand_type(m, f, x);
    Node parts[4] = {node_broadcast(m, f, right, type, d->span), operands[1], operands[2],
                     operands[3]};
    return graph_add(m, f, OP_TRIDIAG, parts, 4, d->index, d->detail, d->span);
}
