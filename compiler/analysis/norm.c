/* Proved upper bounds of spectral norms.
 *
 * An operator whose coefficients are the same in every cell but near the boundary has, on every grid that is large
 * enough, the rows and columns that it has on a small one: impulses find them, and
 *     ‖A‖² <= ‖A‖₁ ‖A‖∞ (Schur), also for AᵀA,
 * holds for all sizes. On small actual grids max (|AᵀA| w)_i / w_i (Collatz, Wielandt) is tighter; with periodic
 * sides alone, the largest value of the symbol (fourier.c). Else norms are multiplied and added along the graph. */
#include "compiler/analysis/fourier.h"
#include "compiler/analysis/interval.h"
#include "compiler/analysis/operator.h"
#include "compiler/ops/ops.h"

#include <math.h>

typedef struct {
    Module *module;
    FuncId func;
    uint32_t channels; /* of u */
    double bound;
    const char *theorem;
    bool any;
} Search;

static bool visit_norm(void *context, const SmallGrid *grid, bool actual) {
    Search *s = context;
    Arena *arena = arena_new();
    Sparse a;
    if (operator_matrix(s->module, s->func, 0, 0, grid, arena,
                        &a)) { /* else the grid is too small to run on */
        const char *theorem;
        double bound = sparse_norm_bound(&a, actual, s->channels, arena, &theorem);
        if (!s->any || bound > s->bound) {
            s->bound = bound;
            s->theorem = theorem;
        }
        s->any = true;
    }
    arena_free(arena);
    return isfinite(s->bound);
}

static uint32_t input_channels(const Module *module, FuncId func) {
    const Func *f = graph_get(module, func);
    return graph_node(f, f->params.data[0])->type.channels;
}

/* By impulses, for all sizes; INFINITY where that is too much work. */
static double impulse_bound(Module *module, FuncId func, GridId grid, const Simple *result,
                            const char **theorem) {
    Search s = {.module = module, .func = func, .channels = input_channels(module, func)};
    SmallGrid windows = {.grid = grid, .rank = module->grids.data[grid].rank};
    int64_t enough[MAX_RANK];
    for (int a = 0; a < MAX_RANK; a++) {
        windows.low[a] = result->low[a];
        windows.high[a] = result->high[a];
        /* what a column meets, and a row of AᵀA: the windows of the rows that see it, on either
         * side; beside them the edge, and a cell that sees neither */
        enough[a] = 2 * (windows.low[a] + windows.high[a]) + 3;
    }
    if (!operator_sizes(module, &windows, enough, visit_norm, &s) || !s.any) return INFINITY;
    *theorem = s.theorem;
    return s.bound;
}

enum {
    MOST_WORK = 200000000,
    DENSE_UNKNOWNS = 1024,
    TIGHTENED_UNKNOWNS = 4096,
    TIGHTENED_WORK = 4000000
};

/* On the very grid: coefficients may depend on place, and with `dense` on everything that can be
 * computed. */
static double actual_bound(Module *module, FuncId func, GridId grid, const Simple *result,
                           bool dense, const char **theorem) {
    const Grid *g = &module->grids.data[grid];
    const Func *f = graph_get(module, func);
    SmallGrid small = {.grid = grid, .rank = g->rank, .extent = {1, 1, 1}};
    double cells = 1, runs = graph_node(f, f->params.data[0])->type.channels;
    for (uint32_t a = 0; a < g->rank; a++) {
        if (g->extent[a] < 0) return INFINITY;
        small.extent[a] = g->extent[a];
        small.low[a] = dense ? g->extent[a] : result->low[a];
        small.high[a] = dense ? g->extent[a] : result->high[a];
        int64_t window = small.low[a] + small.high[a] + 1;
        cells *= (double)g->extent[a];
        runs *= (double)(window < g->extent[a] ? window : g->extent[a]);
    }
    if (cells * runs * f->nodes.len > MOST_WORK || (dense && cells > DENSE_UNKNOWNS))
        return INFINITY;
    Search s = {.module = module, .func = func, .channels = input_channels(module, func)};
    if (!visit_norm(&s, &small, true) || !s.any) return INFINITY;
    *theorem = s.theorem;
    return s.bound;
}

/* A grid of known size, larger than those that stand for all, and small enough to be looked at
 * whole? */
static bool worth_tightening(const Module *module, FuncId func, GridId grid, const Simple *simple) {
    const Grid *g = &module->grids.data[grid];
    const Func *f = graph_get(module, func);
    double cells = 1, window = graph_node(f, f->params.data[0])->type.channels;
    for (uint32_t a = 0; a < g->rank; a++) {
        cells *= (double)g->extent[a];
        window *= simple->low[a] + simple->high[a] + 1;
        if (g->extent[a] < 0) return false;
    }
    /* the matrix, and its square */
    double work = cells * window * window * graph_node(f, f->results.data[0])->type.channels;
    return cells <= TIGHTENED_UNKNOWNS && work <= TIGHTENED_WORK;
}

/* Can the interpreter run it on impulses alone: no inputs, no noise, no other parameter? */
static bool runs_alone(const Func *f) {
    uint8_t *live = mem_alloc(f->nodes.len);
    bool ok = true;
    for (Node n = 0; n < f->nodes.len; n++) live[n] = n == f->results.data[0];
    for (Node n = f->nodes.len; --n > 0;) {
        const NodeData *d = graph_node(f, n);
        if (!live[n]) continue;
        ok = ok && d->op != OP_INPUT && d->op != OP_NORMAL && d->op != OP_UNIFORM &&
             !(d->op == OP_PARAM && d->index > 0);
        for (uint32_t k = 0; k < d->count; k++) live[graph_operand(f, n, k)] = 1;
    }
    mem_free(live);
    return ok;
}

/* ---- along the graph --------------------------------------------------------------------- */

static double stencil_bound(Module *module, GridId grid, StencilId id) {
    Stencil s = module->stencils.data[id];
    for (int a = 0; a < MAX_RANK; a++) s.has_value[a][0] = s.has_value[a][1] = false;
    FuncId func = graph_func(module, 0);
    Node u = graph_param(module, func,
                         type_field(grid, s.transposed ? s.out_channels : s.in_channels), 0);
    Node n = graph_add(module, func, OP_STENCIL, &u, 1, graph_stencil(module, &s), 0, SPAN_NONE);
    vec_push(&graph_get(module, func)->results, n);
    Simple *all = operator_scan(module, func, (bool[]){true}, false);
    const char *theorem;
    double bound = impulse_bound(module, func, grid, &all[n], &theorem);
    mem_free(all);
    return bound;
}

static double magnitude_of(Interval r) { return fmax(fabs(r.low), fabs(r.high)); }

/* bound[k]: of the map from u to operand k, -1 where it does not depend on u. */
static double node_bound(Module *module, const Func *f, Node n, const double *bound,
                         const Interval *range) {
    const NodeData *d = graph_node(f, n);
    Node a = d->count > 0 ? graph_operand(f, n, 0) : 0,
         b = d->count > 1 ? graph_operand(f, n, 1) : 0;
    double x = fmax(bound[a], 0), sum = 0;
    /* a one-channel operand that broadcasts is used that often */
    double copies = sqrt((double)d->type.channels / graph_node(f, a)->type.channels);
    uint32_t rank = module->grids.data[d->type.grid].rank;
    switch (d->op) {
    case OP_NEG:
    case OP_CHANNEL: return x;
    case OP_CHSUM: return x * sqrt(graph_node(f, a)->type.channels);
    case OP_ADD:
    case OP_SUB:
        for (uint32_t k = 0; k < 2; k++) {
            Node o = graph_operand(f, n, k);
            if (bound[o] >= 0 && graph_node(f, o)->type.kind == TYPE_SCALAR &&
                d->type.kind == TYPE_FIELD)
                return INFINITY;
            sum += fmax(bound[o], 0) *
                   sqrt((double)d->type.channels / graph_node(f, o)->type.channels);
        }
        return sum;
    case OP_MUL:
        if (bound[a] >= 0 && bound[b] >= 0) return INFINITY;
        if (bound[b] >= 0) {
            x = bound[b];
            copies = sqrt((double)d->type.channels / graph_node(f, b)->type.channels);
            Node keep = a;
            a = b;
            b = keep;
        }
        return graph_node(f, a)->type.kind == d->type.kind ? x * copies * magnitude_of(range[b])
                                                           : INFINITY;
    case OP_DIV:
        return bound[b] >= 0 ? INFINITY
                             : x * copies * magnitude_of(interval_div(interval(1, 1), range[b]));
    case OP_CONCAT:
        for (uint32_t k = 0; k < d->count; k++)
            sum = hypot(sum, fmax(bound[graph_operand(f, n, k)], 0));
        return sum;
    case OP_STENCIL:
        for (uint32_t k = 1; k < d->count; k++)
            if (bound[graph_operand(f, n, k)] >= 0) return INFINITY;
        return x == 0 ? 0 : x * stencil_bound(module, d->type.grid, d->index);
    /* a mean of 2^rank, but of single cells where sizes are odd; or shares: less */
    case OP_RESTRICT: return x;
    case OP_PROLONG: return x * sqrt((double)(1u << rank));
    default: return INFINITY;
    }
}

static double graph_bound(Module *module, FuncId func) {
    Func *f = graph_get(module, func);
    uint32_t count = f->nodes.len;
    double *bound = mem_alloc(sizeof *bound * count);
    Interval *range = mem_alloc(sizeof *range * count);
    interval_nodes(module, func, count - 1, NULL, 0, range);
    bound[0] = -1;
    for (Node n = 1; n < count; n++) {
        bool depends = graph_node(f, n)->op == OP_PARAM && graph_node(f, n)->index == 0;
        bound[n] = depends ? 1 : -1;
        for (uint32_t k = 0; k < graph_node(f, n)->count; k++)
            depends = depends || bound[graph_operand(f, n, k)] >= 0;
        if (depends && bound[n] < 0) bound[n] = node_bound(module, f, n, bound, range);
    }
    double result = fmax(bound[f->results.data[0]], 0) * (1 + 1e-12);
    mem_free(bound);
    mem_free(range);
    return result;
}

/* ---- all together ------------------------------------------------------------------------- */

static void offer(NormBound *best, double bound, const char *theorem) {
    if (isfinite(bound) && (!best->proved || bound < best->bound))
        *best = (NormBound){true, bound, theorem, NULL};
}

static NormBound best_bound(Module *module, FuncId func) {
    NormBound best = {
        .missing =
            "a bound of its coefficients: they depend on fields or numbers that are known only "
            "when the program runs"};
    const Func *f = graph_get(module, func);
    Type in = graph_node(f, f->params.data[0])->type;
    bool *variable = mem_alloc(sizeof *variable * f->params.len), alone = runs_alone(f);
    for (uint32_t p = 0; p < f->params.len; p++) variable[p] = p == 0;
    Node result = f->results.data[0];
    const char *theorem = "";
    double bound;
    if (in.kind == TYPE_FIELD && graph_node(f, result)->type.kind == TYPE_FIELD) {
        Simple *all = operator_scan(module, func, variable, false);
        Simple simple = all[result];
        mem_free(all);
        all = operator_scan(module, func, variable, true);
        Simple placed = all[result];
        mem_free(all);
        if (simple.kind == SIMPLE_COEFFICIENT && simple.zero) offer(&best, 0, "zero");
        if (simple.kind == SIMPLE_LINEAR) {
            bound = impulse_bound(module, func, in.grid, &simple, &theorem);
            offer(&best, bound, theorem);
            bound = fourier_bound(module, func, in.grid, &simple, &theorem);
            offer(&best, bound, theorem);
        }
        /* this very grid: small ones tighter, and coefficients that depend on place */
        bool here = simple.kind == SIMPLE_LINEAR ? worth_tightening(module, func, in.grid, &simple)
                                                 : alone && placed.kind == SIMPLE_LINEAR;
        bound = here ? actual_bound(module, func, in.grid, &placed, false, &theorem) : INFINITY;
        offer(&best, bound, theorem);
        if (alone && !best.proved && graph_node(f, result)->type.grid == in.grid) {
            bound = actual_bound(module, func, in.grid, &simple, true, &theorem);
            offer(&best, bound, theorem);
        }
    }
    if (!best.proved) offer(&best, graph_bound(module, func), "norms of the parts");
    mem_free(variable);
    return best;
}

NormBound norm_bound(Module *module, FuncId func, Arena *arena) {
    (void)arena; /* all texts are static */
    NormBound best = {.missing = "the operator is not linear: a norm belongs to linear ones"};
    Linearity linearity = analyse_linearity(module, func, 0, NULL);
    if (linearity == LINEARITY_NONLINEAR) return best;
    if (linearity == LINEARITY_CONSTANT)
        return (NormBound){true, 0, "it does not depend on its argument", NULL};
    ModuleMark mark = operator_mark(module);
    FuncId linear = operator_homogeneous(module, func);
    FuncId flat = linear ? operator_inline(module, linear) : 0;
    best.missing = "the operator is too large to be looked through";
    if (flat) best = best_bound(module, flat);
    operator_release(module, mark);
    return best;
}
