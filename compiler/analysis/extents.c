/* How many cells a grid must have for what a function computes on it. */
#include "compiler/analysis/analysis.h"
#include "compiler/ops/rules.h"

typedef struct {
    const Module *module;
    GridId grid;
    LeastExtents *out;
} Walk;

/* Cells that the node reads beyond a side, at most; *grid is where. */
static int64_t reach_of(const Module *m, const Func *f, Node n, uint32_t axis, GridId *grid) {
    const NodeData *d = graph_node(f, n);
    *grid = d->op == OP_STENCIL || d->op == OP_CONVT
                ? d->type.grid
                : graph_node(f, graph_operand(f, n, 0))->type.grid;
    return d->op == OP_STENCIL ? stencil_reach(&m->stencils.data[d->index], axis)
                               : conv_high(&m->convs.data[d->index], axis);
}

static bool ask(void *context, FuncId in, Node n) {
    Walk *w = context;
    const Func *f = graph_get(w->module, in);
    Op op = graph_node(f, n)->op;
    if (op != OP_STENCIL && op != OP_CONV && op != OP_CONVT && op != OP_CONVW) return false;
    for (uint32_t a = 0; a < MAX_RANK; a++) {
        GridId grid;
        int64_t reach = reach_of(w->module, f, n, a, &grid),
                least = graph_least_extent(w->module, &grid, reach);
        if (grid != w->grid || least <= w->out->least[a]) continue;
        w->out->least[a] = least;
        w->out->span[a] = graph_node(f, n)->span;
    }
    return false;
}

void extents_least(const Module *module, FuncId func, GridId grid, LeastExtents *out) {
    *out = (LeastExtents){{1, 1, 1}, {SPAN_NONE, SPAN_NONE, SPAN_NONE}};
    Walk w = {module, grid, out};
    graph_search(module, func, ask, &w, NULL);
}
