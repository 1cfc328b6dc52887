/* Diagonals by probing.
 *
 * Cells are coloured so that no cell's value depends on another cell of its own colour: the derivative in the direction
 * that is 1 in the cells of a colour has in those cells the entries of the diagonal, as exact as the derivative is.
 * One loop runs over the colours of all channels. How far u is read, through loops and coarser grids, is found
 * beforehand; a value that depends on all cells has no such colours. */
#include "compiler/analysis/diagonal.h"
#include "compiler/analysis/transpose.h"
#include "compiler/graph/internal.h"
#include "compiler/ops/rules.h"

#include <math.h>
#include <string.h>

enum { STEPS_LIMIT = 4096 };

/* What a value at a cell depends on, in cells of u's grid before the first and after the last that the cell
 * covers. */
typedef struct {
    bool any, all; /* on any cell; on all of them, through a number */
    int64_t low[MAX_RANK], high[MAX_RANK];
} Region;

typedef struct {
    Module *module;
    Arena *arena;
    GridId grid;
    uint32_t rank;
    bool periodic[MAX_RANK];
    const char *missing;
    uint32_t steps; /* of loops, gone through */
} Reach;

static void lack(Reach *r, const char *text) {
    if (!r->missing) r->missing = text;
}

static bool join(Region *a, const Region *b) {
    bool grows = (b->any && !a->any) || (b->all && !a->all);
    for (int i = 0; i < MAX_RANK && b->any; i++) {
        grows = grows || b->low[i] > a->low[i] || b->high[i] > a->high[i];
        a->low[i] = b->low[i] > a->low[i] ? b->low[i] : a->low[i];
        a->high[i] = b->high[i] > a->high[i] ? b->high[i] : a->high[i];
    }
    a->any = a->any || b->any;
    a->all = a->all || b->all;
    return grows;
}

/* Cells of u's grid along a cell of a coarser one; 0 where it is not made of it. */
static int64_t width(const Reach *r, GridId grid) {
    int64_t w = 1;
    while (grid != GRID_NONE && grid != r->grid) {
        grid = r->module->grids.data[grid].finer;
        w *= 2;
    }
    return grid == GRID_NONE ? 0 : w;
}

static void widen(Reach *r, Region *x, uint32_t axis, int64_t low, int64_t high,
                  const SideKind sides[2]) {
    if (low == 0 && high == 0) return;
    if (sides[0] == SIDE_PERIODIC) r->periodic[axis] = true;
    int64_t both = low > high ? low : high; /* what is read beyond a side is reflected */
    x->low[axis] += both;
    x->high[axis] += both;
}

/* What a node adds to the cells that its operands together depend on. */
static void through(Reach *r, const NodeData *n, Region *x) {
    int64_t w = width(r, n->type.grid);
    bool here = op_info(n->op)->class == CLASS_POINTWISE || n->op == OP_CHANNEL ||
                n->op == OP_CONCAT || n->op == OP_CHSUM || n->op == OP_SPREAD ||
                n->op == OP_FRAME || n->op == OP_RESTRICT || n->op == OP_MAXPOOL;
    bool near = n->op == OP_STENCIL || n->op == OP_CONV || n->op == OP_CONVT || n->op == OP_PROLONG;
    if (!here && !near) { /* sums by channel, means over a batch, weights */
        x->all = true;
        return;
    }
    if (w == 0) {
        lack(r, "missing: one grid; it looks at a finer grid, or at another one than that of u");
        return;
    }
    for (uint32_t a = 0; a < r->rank; a++) {
        if (n->op == OP_RESTRICT && n->index == RESAMPLE_SHARES) {
            x->low[a] += w / 2; /* a finer cell on each side */
            x->high[a] += w / 2;
        } else if (n->op == OP_STENCIL) {
            const Stencil *s = &r->module->stencils.data[n->index];
            int64_t reach = w * stencil_reach(s, a);
            widen(r, x, a, reach, reach, s->sides[a]);
        } else if (n->op == OP_CONV || n->op == OP_CONVT) {
            const Conv *c = &r->module->convs.data[n->index];
            int64_t reach = 2 * w * (conv_high(c, a) + (c->stride[a] > 1));
            widen(r, x, a, reach, reach, c->sides[a]);
        } else if (n->op == OP_PROLONG) {
            x->low[a] += w;
            x->high[a] += n->index == RESAMPLE_SHARES ? 2 * w : w; /* the next coarse cell, too */
        }
    }
}

static void regions(Reach *r, FuncId func, const Region *params, Region *results);

static Region *loop_regions(Reach *r, const Func *f, Node n, const Region *nodes) {
    const NodeData *d = graph_node(f, n);
    const Loop *loop = &r->module->loops.data[d->index];
    const Func *body = graph_get(r->module, loop->body);
    Region *in = ARENA_ARRAY(r->arena, Region, d->count + 1);
    Region *out = ARENA_ARRAY(r->arena, Region, body->results.len + 1);
    Region *all = ARENA_ARRAY(r->arena, Region, loop->states + 1 + loop->collected);
    double count;
    if (!graph_is_const(f, graph_operand(f, n, 0), &count)) count = INFINITY;
    for (uint32_t k = 1; k < d->count; k++) in[k] = nodes[graph_operand(f, n, k)];
    bool grows = true;
    for (double step = 0; step < count && grows && !r->missing; step++) {
        if (r->steps++ > STEPS_LIMIT)
            lack(r, "missing: a known number of steps; a loop in it reads further at each of them");
        regions(r, loop->body, in, out);
        grows = false;
        for (uint32_t i = 0; i < loop->states; i++)
            if (join(&in[1 + i], &out[i])) grows = true;
    }
    for (uint32_t i = 0; i < loop->states; i++) all[i] = in[1 + i];
    for (uint32_t i = 0; i < loop->collected; i++)
        all[loop->states + 1 + i] = in[1 + loop->collect[i]];
    return all;
}

static Region *call_regions(Reach *r, const Func *f, Node n, const Region *nodes) {
    const NodeData *d = graph_node(f, n);
    Region *in = ARENA_ARRAY(r->arena, Region, d->count + 1);
    Region *out = ARENA_ARRAY(r->arena, Region, graph_get(r->module, d->index)->results.len + 1);
    for (uint32_t k = 0; k < d->count; k++) in[k] = nodes[graph_operand(f, n, k)];
    regions(r, d->index, in, out);
    return out;
}

static void regions(Reach *r, FuncId func, const Region *params, Region *results) {
    const Func *f = graph_get(r->module, func);
    Region *nodes = ARENA_ARRAY(r->arena, Region, f->nodes.len);
    Region **tuples = ARENA_ARRAY(r->arena, Region *, f->nodes.len);
    for (Node n = 1; n < f->nodes.len && !r->missing; n++) {
        const NodeData *d = graph_node(f, n);
        if (d->op == OP_PARAM) {
            nodes[n] = params[d->index];
        } else if (d->op == OP_RESULT) {
            nodes[n] = tuples[graph_operand(f, n, 0)] ? tuples[graph_operand(f, n, 0)][d->index]
                                                      : (Region){0};
        } else {
            for (uint32_t k = 0; k < d->count; k++) join(&nodes[n], &nodes[graph_operand(f, n, k)]);
            if (!nodes[n].any) continue;
            if (d->op == OP_LOOP)
                tuples[n] = loop_regions(r, f, n, nodes);
            else if (d->op == OP_CALL)
                tuples[n] = call_regions(r, f, n, nodes);
            else if (!op_varies(d->op))
                nodes[n] = (Region){0};
            else if (d->type.kind == TYPE_SCALAR)
                nodes[n].all = true;
            else if (d->op == OP_BACK || d->op == OP_TASK || d->type.kind == TYPE_TUPLE)
                lack(
                    r,
                    "missing: an operator that is differentiated once; it holds the gradient of a loop");
            else
                through(r, d, &nodes[n]);
        }
    }
    for (uint32_t i = 0; i < f->results.len && !r->missing; i++)
        results[i] = nodes[f->results.data[i]];
}

/* ---- colours ------------------------------------------------------------------------------------- */

typedef struct {
    Module *module;
    FuncId func;
    GridId grid;
} Builder;

static Node number(const Builder *b, double x) { return graph_const(b->module, b->func, x); }

static Node unary(const Builder *b, Op op, Node x) {
    return graph_unary(b->module, b->func, op, x, SPAN_NONE);
}

static Node binary(const Builder *b, Op op, Node x, Node y) {
    return graph_binary(b->module, b->func, op, x, y, SPAN_NONE);
}

static Node where(const Builder *b, Node c, Node x, Node y) {
    return graph_add(b->module, b->func, OP_WHERE, (Node[]){c, x, y}, 3, 0, 0, SPAN_NONE);
}

/* The number of a cell along an axis. */
static Node cell_number(const Builder *b, uint32_t axis) {
    const Grid *g = &b->module->grids.data[b->grid];
    Node x = graph_add_typed(b->module, b->func, OP_COORD, type_field(b->grid, 1), NULL, 0, axis, 0,
                             SPAN_NONE);
    x = binary(b, OP_SUB, x, number(b, g->origin[axis]));
    x = binary(b, OP_DIV, x, number(b, g->spacing[axis]));
    return unary(b, OP_ROUND, binary(b, OP_SUB, x, number(b, 0.5)));
}

/* Cells along an axis: a number known here, or when it runs. */
static Node cells_along(const Builder *b, uint32_t axis) {
    int64_t extent = b->module->grids.data[b->grid].extent[axis];
    if (extent >= 0) return number(b, (double)extent);
    return binary(b, OP_ADD, unary(b, OP_LARGEST, cell_number(b, axis)), number(b, 1));
}

/* Colours along an axis for cells `apart` or more from each other: 0 … apart - 1 again and again; around a periodic
 * axis those beyond the last whole turn have colours of their own. */
static Node colours_along(const Builder *b, uint32_t axis, double apart, bool periodic) {
    if (!periodic) return number(b, apart);
    Node n = cells_along(b, axis);
    return binary(b, OP_ADD, number(b, apart), binary(b, OP_MOD, n, number(b, apart)));
}

static Node colour_of(const Builder *b, uint32_t axis, double apart, bool periodic) {
    Node cell = cell_number(b, axis), turn = binary(b, OP_MOD, cell, number(b, apart));
    if (!periodic) return turn;
    Node n = cells_along(b, axis);
    Node whole = binary(b, OP_SUB, n, binary(b, OP_MOD, n, number(b, apart)));
    Node rest = binary(b, OP_ADD, binary(b, OP_SUB, cell, whole), number(b, apart));
    return where(b, binary(b, OP_LT, cell, whole), turn, rest);
}

/* k as a number in a mixed base: takes the last digit off. */
static Node digit(const Builder *b, Node *k, Node base) {
    Node d = binary(b, OP_MOD, *k, base);
    *k = unary(b, OP_FLOOR, binary(b, OP_DIV, binary(b, OP_ADD, *k, number(b, 0.5)), base));
    return d;
}

/* 1 in the cells of colour k. */
static Node colour_mask(const Builder *b, Node k, const double *apart, const bool *periodic,
                        uint32_t channels) {
    uint32_t rank = b->module->grids.data[b->grid].rank;
    Node mask = NODE_NONE;
    for (uint32_t a = 0; a < rank; a++) {
        Node d = digit(b, &k, colours_along(b, a, apart[a], periodic[a]));
        Node is = binary(b, OP_EQ, colour_of(b, a, apart[a], periodic[a]), d);
        mask = mask ? binary(b, OP_MUL, mask, is) : is;
    }
    if (channels == 1) return mask;
    Node *parts = ARENA_ARRAY(b->module->arena, Node, channels);
    for (uint32_t c = 0; c < channels; c++)
        parts[c] = binary(b, OP_MUL, mask, binary(b, OP_EQ, k, number(b, c)));
    return graph_add(b->module, b->func, OP_CONCAT, parts, channels, 0, 0, SPAN_NONE);
}

/* (k, diagonal so far, parameters of the operator…) -> diagonal with the entries of colour k */
static FuncId probe_body(Module *module, FuncId func, FuncId jvp, const double *apart,
                         const bool *periodic) {
    const Func *f = graph_get(module, func), *j = graph_get(module, jvp);
    Type type = graph_node(f, f->params.data[0])->type;
    Builder b = {module, graph_func(module, f->name), type.grid};
    Node k = graph_param(module, b.func, type_scalar(), 0);
    Node so_far = graph_param(module, b.func, type, 0);
    Map known = {0};
    for (uint32_t p = 0; p < f->params.len; p++)
        map_set(&known, j->params.data[p ? p + 1 : 0],
                graph_param(module, b.func, graph_node(f, f->params.data[p])->type, 0));
    Node mask = colour_mask(&b, k, apart, periodic, type.channels);
    map_set(&known, j->params.data[1], mask);
    Node along = graph_copy(module, jvp, j->results.data[0], b.func, &known);
    map_free(&known);
    Node next = node_broadcast(module, b.func, where(&b, mask, along, so_far), type, SPAN_NONE);
    vec_push(&graph_get(module, b.func)->results, next);
    return b.func;
}

static FuncId probe_func(Module *module, FuncId func, FuncId jvp, const double *apart,
                         const bool *periodic) {
    const Func *f = graph_get(module, func);
    Type type = graph_node(f, f->params.data[0])->type;
    Loop loop = {.body = probe_body(module, func, jvp, apart, periodic),
                 .states = 1,
                 .captured = f->params.len,
                 .stride = 1,
                 .name = f->name};
    LoopId id = graph_loop(module, &loop);
    Builder b = {module, graph_func(module, f->name), type.grid};
    VEC(Node) operands = {0};
    Node count = number(&b, type.channels);
    for (uint32_t p = 0; p < f->params.len; p++) {
        Node param = graph_param(module, b.func, graph_node(f, f->params.data[p])->type, 0);
        vec_push(&operands, param);
    }
    for (uint32_t a = 0; a < module->grids.data[type.grid].rank; a++)
        count = binary(&b, OP_MUL, count, colours_along(&b, a, apart[a], periodic[a]));
    Node start = zero_of(module, b.func, type, SPAN_NONE);
    Node *all = ARENA_ARRAY(module->arena, Node, operands.len + 2);
    all[0] = count;
    all[1] = start;
    memcpy(all + 2, operands.data, sizeof(Node) * operands.len);
    Node made = graph_add(module, b.func, OP_LOOP, all, operands.len + 2, id, 0, SPAN_NONE);
    Node result = graph_result(module, b.func, made, 0);
    vec_push(&graph_get(module, b.func)->results, result);
    vec_free(&operands);
    return b.func;
}

FuncId probe_diagonal(Module *module, FuncId func, Node *why, const char **missing) {
    const Func *f = graph_get(module, func);
    Type type = graph_node(f, f->params.data[0])->type;
    const Grid *g = &module->grids.data[type.grid];
    Reach r = {.module = module, .arena = arena_new(), .grid = type.grid, .rank = g->rank};
    Region *params = ARENA_ARRAY(r.arena, Region, f->params.len);
    Region *results = ARENA_ARRAY(r.arena, Region, f->results.len);
    params[0].any = true;
    regions(&r, func, params, results);
    if (results[0].all)
        lack(&r, "missing: cells that do not depend on each other; a number in it depends on all");
    double apart[MAX_RANK] = {1, 1, 1};
    for (uint32_t a = 0; a < g->rank; a++) {
        apart[a] = 1 + (double)(results[0].low[a] > results[0].high[a] ? results[0].low[a]
                                                                       : results[0].high[a]);
        if (g->extent[a] >= 0 && apart[a] > (double)g->extent[a]) apart[a] = (double)g->extent[a];
        if (fabs(g->origin[a]) / g->spacing[a] + (double)g->extent[a] > 1 << 21)
            lack(
                &r,
                "missing: numbers of cells; the coordinates of its grid are too large for its spacing to tell its cells apart");
    }
    arena_free(r.arena);
    *missing = r.missing;
    if (r.missing) return 0;
    FuncId jvp = jvp_func(module, func, why);
    return jvp ? probe_func(module, func, jvp, apart, r.periodic) : 0;
}
