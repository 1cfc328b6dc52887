/* Between a grid and its coarser one: means of the finer cells, constants on them, maxima.
 *
 * A coarse cell holds 2 finer cells an axis; where the number of finer cells is odd, the last
 * holds 1. On a fitted grid (RESAMPLE_SHARES), an odd number n = 2m - 1 of cells is covered by m coarse cells of equal
 * width n/m: cell i covers i/m of cell 2i - 1, cell 2i, and (m - 1 - i)/m of cell 2i + 1. With O these shares, the mean
 * is O m/n, and its transpose but for that factor, O', interpolates. */
#include "compiler/ops/rules.h"

#include <math.h>
#include <string.h>

static Type operand_type(Module *m, FuncId f, Node n) {
    return graph_node(graph_get(m, f), n)->type;
}

static bool needs_field(Module *m, Op op, Type t, uint32_t index, const char **why) {
    if (index > RESAMPLE_SHARES) {
        *why = "of the finer cells all count, or the first, or shares";
        return false;
    }
    if (t.kind == TYPE_FIELD) return true;
    *why = arena_format(m->arena, "%s acts on fields, not on %s", op_info(op)->name,
                        type_text(m, t, m->arena));
    return false;
}

bool shape_restrict(Module *m, FuncId f, Op op, const Node *operands, uint32_t count,
                    uint32_t index, uint32_t detail, Type *out, const char **why) {
    Type t = operand_type(m, f, operands[0]);
    if (!needs_field(m, op, t, index, why)) return false;
    *out = type_field(index == RESAMPLE_SHARES ? graph_fitted(m, t.grid) : graph_coarser(m, t.grid),
                      t.channels);
    return true;
}

bool shape_prolong(Module *m, FuncId f, Op op, const Node *operands, uint32_t count, uint32_t index,
                   uint32_t detail, Type *out, const char **why) {
    Type t = operand_type(m, f, operands[0]);
    if (!needs_field(m, op, t, index, why)) return false;
    const Grid *grid = &m->grids.data[t.grid];
    for (uint32_t axis = 0; axis < grid->rank && grid->finer == GRID_NONE; axis++)
        if (grid->extent[axis] > INT32_MAX / 2) {
            *why = "a grid has at most 2147483647 cells along an axis";
            return false;
        }
    *out = type_field(graph_finer(m, t.grid), t.channels);
    return true;
}

/* Of a number everywhere: the mean, largest or first of equal numbers, and their constant continuation. */
Node fold_resample(Module *m, FuncId f, Op op, const Node *operands, uint32_t count, uint32_t index,
                   uint32_t detail, Span span) {
    const NodeData *d = graph_node(graph_get(m, f), operands[0]);
    bool same = index == RESAMPLE_MEAN || (op == OP_RESTRICT && index == RESAMPLE_FIRST);
    if (d->op != OP_SPREAD || !same) return NODE_NONE;
    Node number = graph_operand(graph_get(m, f), operands[0], 0);
    GridId grid = op == OP_PROLONG ? graph_finer(m, d->type.grid) : graph_coarser(m, d->type.grid);
    return graph_add_typed(m, f, OP_SPREAD, type_field(grid, 1), &number, 1, 0, 0, span);
}

/* For every finer cell, in order: visit its number and that of its coarse cell. */
typedef struct {
    int64_t fine[MAX_RANK], coarse[MAX_RANK], fine_cells, coarse_cells;
} Levels;

static Levels levels_of(Evaluator *e, GridId fine, GridId coarse) {
    Levels l;
    l.fine_cells = eval_extents(e, fine, l.fine);
    l.coarse_cells = eval_extents(e, coarse, l.coarse);
    for (int a = 0; a < MAX_RANK; a++)
        if (l.coarse[a] != l.fine[a] && l.coarse[a] != (l.fine[a] + 1) / 2) e->status = EVAL_SIZE;
    return l;
}

/* Number of finer cells in coarse cell i of an axis. */
static int64_t children(const Levels *l, int axis, int64_t i) {
    if (l->fine[axis] == l->coarse[axis]) return 1;
    return 2 * i + 1 < l->fine[axis] ? 2 : 1;
}

static int64_t parent(const Levels *l, const int64_t p[MAX_RANK]) {
    int64_t at = 0;
    for (int a = MAX_RANK - 1; a >= 0; a--)
        at = at * l->coarse[a] + (l->fine[a] == l->coarse[a] ? p[a] : p[a] / 2);
    return at;
}

/* Is the finer cell the first of its coarse cell, along every axis? */
static bool is_first(const Levels *l, const int64_t p[MAX_RANK]) {
    for (int a = 0; a < MAX_RANK; a++)
        if (l->fine[a] != l->coarse[a] && p[a] % 2 != 0) return false;
    return true;
}

static Resample how_of(const Evaluator *e, FuncId f, Node n) {
    return (Resample)graph_node(graph_get(e->module, f), n)->index;
}

/* ---- by shares --------------------------------------------------------------------------------- */

/* The finer cells that coarse cell i of an axis covers, from *first on, and how much of each; their number. */
static int covered(const Levels *l, int axis, int64_t i, int64_t *first, double share[3]) {
    int64_t n = l->fine[axis], m = l->coarse[axis];
    if (n % 2 == 0) {
        *first = 2 * i;
        share[0] = share[1] = 1;
        return 2;
    }
    *first = i > 0 ? 2 * i - 1 : 0;
    int count = 0;
    if (i > 0) share[count++] = (double)i / (double)m;
    share[count++] = 1;
    if (i < m - 1) share[count++] = (double)(m - 1 - i) / (double)m;
    return count;
}

/* For every coarse cell, the sum over what it covers (down), divided by how much that is; or its transpose, undivided. */
static void by_shares(const Levels *l, const double *from, double *to, bool down) {
    int64_t i = 0;
    double ratio = (double)l->fine_cells / (double)l->coarse_cells;
    memset(to, 0, sizeof(double) * (size_t)(down ? l->coarse_cells : l->fine_cells));
    for (int64_t z = 0; z < l->coarse[2]; z++)
        for (int64_t y = 0; y < l->coarse[1]; y++)
            for (int64_t x = 0; x < l->coarse[0]; x++, i++) {
                int64_t p[MAX_RANK] = {x, y, z}, first[MAX_RANK] = {0};
                double share[MAX_RANK][3];
                int count[MAX_RANK];
                for (int a = 0; a < MAX_RANK; a++)
                    count[a] = covered(l, a, p[a], &first[a], share[a]);
                for (int c = 0; c < count[2]; c++)
                    for (int b = 0; b < count[1]; b++)
                        for (int a = 0; a < count[0]; a++) {
                            double part = share[0][a] * share[1][b] * share[2][c];
                            int64_t at = ((first[2] + c) * l->fine[1] + first[1] + b) * l->fine[0] +
                                         first[0] + a;
                            if (down)
                                to[i] += part * from[at] / ratio;
                            else
                                to[at] += part * from[i];
                        }
            }
}

void eval_restrict(Evaluator *e, FuncId f, Node n, const Array *const *operands, Array *out) {
    Levels l = levels_of(e, operands[0]->type.grid, out->type.grid);
    if (e->status) return;
    Resample how = how_of(e, f, n);
    bool first = how == RESAMPLE_FIRST;
    memset(out->data, 0, sizeof(double) * (size_t)out->size);
    for (uint32_t c = 0; c < out->type.channels; c++) {
        const double *from = operands[0]->data + c * l.fine_cells;
        double *to = out->data + c * l.coarse_cells;
        if (how == RESAMPLE_SHARES) {
            by_shares(&l, from, to, true);
            continue;
        }
        int64_t p[MAX_RANK], i = 0;
        for (p[2] = 0; p[2] < l.fine[2]; p[2]++)
            for (p[1] = 0; p[1] < l.fine[1]; p[1]++)
                for (p[0] = 0; p[0] < l.fine[0]; p[0]++, i++)
                    if (!first || is_first(&l, p)) to[parent(&l, p)] += from[i];
        i = 0;
        for (p[2] = 0; p[2] < l.coarse[2] && !first; p[2]++)
            for (p[1] = 0; p[1] < l.coarse[1]; p[1]++)
                for (p[0] = 0; p[0] < l.coarse[0]; p[0]++)
                    to[i++] /= (double)(children(&l, 0, p[0]) * children(&l, 1, p[1]) *
                                        children(&l, 2, p[2]));
    }
}

void eval_prolong(Evaluator *e, FuncId f, Node n, const Array *const *operands, Array *out) {
    Levels l = levels_of(e, out->type.grid, operands[0]->type.grid);
    if (e->status) return;
    Resample how = how_of(e, f, n);
    bool first = how == RESAMPLE_FIRST;
    for (uint32_t c = 0; c < out->type.channels; c++) {
        const double *from = operands[0]->data + c * l.coarse_cells;
        double *to = out->data + c * l.fine_cells;
        if (how == RESAMPLE_SHARES) {
            by_shares(&l, from, to, false);
            continue;
        }
        int64_t p[MAX_RANK];
        for (p[2] = 0; p[2] < l.fine[2]; p[2]++)
            for (p[1] = 0; p[1] < l.fine[1]; p[1]++)
                for (p[0] = 0; p[0] < l.fine[0]; p[0]++)
                    *to++ = first && !is_first(&l, p) ? 0 : from[parent(&l, p)];
    }
}

/* How many finer cells a cell of a fitted grid covers. */
static double covers(const Module *m, GridId fine, GridId coarse) {
    const Grid *f = &m->grids.data[fine], *c = &m->grids.data[coarse];
    double number = 1;
    for (uint32_t axis = 0; axis < f->rank; axis++)
        number *= grid_shares(f, axis) ? (double)f->extent[axis] / (double)c->extent[axis] : 2;
    return number;
}

/* Number of finer cells in each coarse cell, as a node: 2^rank, fewer in a last cell of odd
 * sizes. That last one is known by its centre, which lies half a fine cell below where a full
 * cell has it. */
static Node children_node(Module *m, FuncId f, GridId fine, GridId coarse, Span span) {
    Grid grid = m->grids.data[fine];
    Node product = graph_const(m, f, 1);
    for (uint32_t axis = 0; axis < grid.rank; axis++) {
        Node two = graph_const(m, f, 2);
        if ((grid.extent[axis] < 0 || grid.extent[axis] % 2 != 0) && grid.coarser == GRID_NONE) {
            Node half;
            if (grid.extent[axis] >= 0) {
                half =
                    graph_add_typed(m, f, OP_EDGE, type_field(coarse, 1), NULL, 0, axis, 1, span);
            } else {
                Node centre =
                    graph_add_typed(m, f, OP_COORD, type_field(coarse, 1), NULL, 0, axis, 0, span);
                Node inside =
                    graph_add_typed(m, f, OP_COORD, type_field(fine, 1), NULL, 0, axis, 0, span);
                Node mean = graph_unary(m, f, OP_RESTRICT, inside, span);
                Node shift = graph_binary(m, f, OP_SUB, centre, mean, span);
                half = graph_binary(m, f, OP_LT, graph_const(m, f, grid.spacing[axis] / 4), shift,
                                    span);
            }
            two = graph_binary(m, f, OP_SUB, two, half, span);
        }
        product = graph_binary(m, f, OP_MUL, product, two, span);
    }
    return product;
}

/* The transpose of the mean: constant on the finer cells, divided by their number; of the first cell: there. */
Node deriv_restrict(Module *m, FuncId f, Node n, uint32_t i, Node w) {
    NodeData d = *graph_node(graph_get(m, f), n);
    if (d.index == RESAMPLE_FIRST) return graph_add(m, f, OP_PROLONG, &w, 1, d.index, 0, d.span);
    GridId fine = operand_type(m, f, graph_operand(graph_get(m, f), n, 0)).grid;
    if (d.index == RESAMPLE_SHARES) {
        Node ratio = graph_const(m, f, 1 / covers(m, fine, d.type.grid));
        w = graph_binary(m, f, OP_MUL, w, ratio, d.span);
        return graph_add(m, f, OP_PROLONG, &w, 1, d.index, 0, d.span);
    }
    Node number = children_node(m, f, fine, d.type.grid, d.span);
    return graph_unary(m, f, OP_PROLONG, graph_binary(m, f, OP_DIV, w, number, d.span), d.span);
}

/* The transpose of the constant: the sum over the finer cells; of the first cell alone: what is there. */
Node deriv_prolong(Module *m, FuncId f, Node n, uint32_t i, Node w) {
    NodeData d = *graph_node(graph_get(m, f), n);
    if (d.index == RESAMPLE_FIRST) return graph_add(m, f, OP_RESTRICT, &w, 1, d.index, 0, d.span);
    GridId coarse = operand_type(m, f, graph_operand(graph_get(m, f), n, 0)).grid;
    if (d.index == RESAMPLE_SHARES) {
        Node ratio = graph_const(m, f, covers(m, d.type.grid, coarse));
        w = graph_add(m, f, OP_RESTRICT, &w, 1, d.index, 0, d.span);
        return graph_binary(m, f, OP_MUL, w, ratio, d.span);
    }
    Node number = children_node(m, f, d.type.grid, coarse, d.span);
    return graph_binary(m, f, OP_MUL, graph_unary(m, f, OP_RESTRICT, w, d.span), number, d.span);
}

/* ---- the largest of the finer cells ----------------------------------------------------- */

void eval_maxpool(Evaluator *e, FuncId f, Node n, const Array *const *operands, Array *out) {
    Levels l = levels_of(e, operands[0]->type.grid, out->type.grid);
    if (e->status) return;
    for (int64_t i = 0; i < out->size; i++) out->data[i] = -INFINITY;
    for (uint32_t c = 0; c < out->type.channels; c++) {
        const double *from = operands[0]->data + c * l.fine_cells;
        double *to = out->data + c * l.coarse_cells;
        int64_t p[MAX_RANK], i = 0;
        for (p[2] = 0; p[2] < l.fine[2]; p[2]++)
            for (p[1] = 0; p[1] < l.fine[1]; p[1]++)
                for (p[0] = 0; p[0] < l.fine[0]; p[0]++) {
                    double x[2] = {to[parent(&l, p)], from[i++]};
                    to[parent(&l, p)] = op_scalar(OP_MAX)(x);
                }
    }
}

/* 1 in the cells that have the largest value of their coarse cell. */
static Node is_largest(Module *m, FuncId f, Node n, Span span) {
    Node u = graph_operand(graph_get(m, f), n, 0);
    return graph_binary(m, f, OP_EQ, u, graph_unary(m, f, OP_PROLONG, n, span), span);
}

/* Back to where the maximum was; ties share equally, as those of max() do. */
Node deriv_maxpool(Module *m, FuncId f, Node n, uint32_t i, Node w) {
    NodeData d = *graph_node(graph_get(m, f), n);
    GridId fine = operand_type(m, f, graph_operand(graph_get(m, f), n, 0)).grid;
    Node at = is_largest(m, f, n, d.span);
    Node ties = graph_binary(m, f, OP_MUL, graph_unary(m, f, OP_RESTRICT, at, d.span),
                             children_node(m, f, fine, d.type.grid, d.span), d.span);
    Node share = graph_binary(m, f, OP_DIV, w, ties, d.span);
    return graph_binary(m, f, OP_MUL, at, graph_unary(m, f, OP_PROLONG, share, d.span), d.span);
}

Node maxpool_tangent(Module *m, FuncId f, Node n, Node t) {
    Span span = graph_node(graph_get(m, f), n)->span;
    Node at = is_largest(m, f, n, span);
    Node sum = graph_unary(m, f, OP_RESTRICT, graph_binary(m, f, OP_MUL, at, t, span), span);
    return graph_binary(m, f, OP_DIV, sum, graph_unary(m, f, OP_RESTRICT, at, span), span);
}
