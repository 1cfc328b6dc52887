/* The largest step with a proof.
 *
 * Where F(u) = -B u - Σ Kᵢᵀ Dᵢ Mᵢ(u) Kᵢ u with B symmetric and positive semidefinite, Dᵢ >= 0
 * diagonal and 0 <= Mᵢ(u) <= Lᵢ diagonal, u + τ F(u) = (I - τ A(u)) u with A(u) symmetric and 0
 * <= A(u) <= N = B + Σ Lᵢ Kᵢᵀ Dᵢ Kᵢ: it does not grow for τ <= 2 / ‖N‖. With B = 0 and one flux
 * that is 2 / (L ‖K‖²) (Alt, Schrader, Augustin, Peter, Weickert 2021). The matrices are
 * compared on small grids that stand for all sizes; equal to rounding is equal. */
#include "compiler/analysis/interval.h"
#include "compiler/analysis/operator.h"
#include "compiler/analysis/sector.h"

#include <math.h>
#include <string.h>

typedef struct {
    Module *module;
    FuncId split; /* (u, w…) -> (F, s…) */
    uint32_t fluxes;
    const Interval *sectors;
    bool linear; /* no flux stands for a nonlinear one */
    /* only -(F u, u) >= 0 is to be proved: no L, and the linear part need not be symmetric */
    bool dissipative;
    int64_t low[2][MAX_RANK], high[2][MAX_RANK]; /* windows of F, and of the arguments */
    double bound, below; /* of ‖N‖: proved upper one; largest Rayleigh quotient seen */
    const char *missing;
    bool any;
} Proof;

enum { TOLERANCE_ULPS = 4096 };
static const double tolerance = TOLERANCE_ULPS * 2.220446049250313e-16;

/* Is row r of T's transpose = -d times row r of K, with d >= 0? Entries below `small` are
 * rounding. */
static bool row_matches(const Sparse *t, const Sparse *k, uint32_t r, double small_t,
                        double small_k) {
    double d = 0, largest = 0;
    uint32_t i = t->start[r], j = k->start[r];
    for (uint32_t e = j; e < k->start[r + 1]; e++)
        if (fabs(k->value[e]) > largest) {
            largest = fabs(k->value[e]);
            for (uint32_t s = i; s < t->start[r + 1]; s++)
                if (t->index[s] == k->index[e]) d = -t->value[s] / k->value[e];
        }
    if (largest <= small_k) d = 0;
    if (d < 0) return false;
    while (i < t->start[r + 1] || j < k->start[r + 1]) {
        uint32_t a = i < t->start[r + 1] ? t->index[i] : UINT32_MAX,
                 b = j < k->start[r + 1] ? k->index[j] : UINT32_MAX;
        double x = a <= b ? t->value[i] : 0, y = b <= a ? k->value[j] : 0;
        if (fabs(x + d * y) > tolerance * fabs(d) * largest + small_t) return false;
        i += a <= b;
        j += b <= a;
    }
    return true;
}

static bool matrices_match(const Sparse *tail, const Sparse *k, Arena *arena) {
    Sparse t = sparse_transpose(tail, arena);
    double small_t = tolerance * sparse_largest(&t), small_k = tolerance * sparse_largest(k);
    for (uint32_t r = 0; r < k->rows; r++)
        if (!row_matches(&t, k, r, small_t, small_k)) return false;
    return true;
}

static bool is_symmetric(const Sparse *a, Arena *arena) {
    Sparse t = sparse_transpose(a, arena), d = sparse_add(a, &t, -1, arena);
    return sparse_largest(&d) <= tolerance * sparse_largest(a);
}

/* Gershgorin: every disc of B lies on the right side of 0, to rounding. */
static bool is_dominant(const Sparse *b) {
    double small = tolerance * sparse_largest(b);
    for (uint32_t r = 0; r < b->rows; r++) {
        double diagonal = 0, rest = 0;
        for (uint32_t k = b->start[r]; k < b->start[r + 1]; k++) {
            if (b->index[k] == r)
                diagonal = b->value[k];
            else
                rest += fabs(b->value[k]);
        }
        if (diagonal < rest - small) return false;
    }
    return true;
}

enum { CHOLESKY_SIZE = 400 };

/* Cholesky of B + small I on an actual grid: it exists only where B >= -small I. */
static bool has_cholesky(const Sparse *b, Arena *arena) {
    uint32_t n = b->rows;
    if (n > CHOLESKY_SIZE) return false;
    double *l = ARENA_ARRAY(arena, double, (size_t)n *n), small = 1e-11 * sparse_largest(b);
    for (uint32_t r = 0; r < n; r++)
        for (uint32_t k = b->start[r]; k < b->start[r + 1]; k++)
            l[(size_t)r * n + b->index[k]] = b->value[k];
    for (uint32_t j = 0; j < n; j++) {
        double diagonal = l[(size_t)j * n + j] + small;
        for (uint32_t k = 0; k < j; k++) diagonal -= l[(size_t)j * n + k] * l[(size_t)j * n + k];
        if (!(diagonal > 0)) return false;
        l[(size_t)j * n + j] = sqrt(diagonal);
        for (uint32_t i = j + 1; i < n; i++) {
            double sum = l[(size_t)i * n + j];
            for (uint32_t k = 0; k < j; k++) sum -= l[(size_t)i * n + k] * l[(size_t)j * n + k];
            l[(size_t)i * n + j] = sum / l[(size_t)j * n + j];
        }
    }
    return true;
}

/* Is cell `column` so far inside that what stands there is the same on every larger grid? */
static bool is_inside(const SmallGrid *grid, uint32_t column) {
    int64_t cells = grid->extent[0] * grid->extent[1] * grid->extent[2], cell = column % cells;
    for (uint32_t a = 0; a < MAX_RANK; a++) {
        int64_t i = cell % grid->extent[a];
        cell /= grid->extent[a];
        if (a < grid->rank && (i <= grid->low[a] || i >= grid->extent[a] - 1 - grid->high[a]))
            return false;
    }
    return true;
}

/* A Rayleigh quotient of symmetric N, by power steps from the fastest oscillation; on grids that
 * stand for larger ones the vector is 0 near the boundary, so that the quotient is one of
 * theirs. A lower bound of ‖N‖. */
static double rayleigh(const Sparse *n, const SmallGrid *grid, bool actual, Arena *arena) {
    double *v = ARENA_ARRAY(arena, double, n->rows), *w = ARENA_ARRAY(arena, double, n->rows),
           best = 0;
    int64_t cells = grid->extent[0] * grid->extent[1] * grid->extent[2];
    for (uint32_t i = 0; i < n->rows; i++) {
        int64_t cell = i % cells, x = cell % grid->extent[0],
                y = cell / grid->extent[0] % grid->extent[1];
        int64_t z = cell / (grid->extent[0] * grid->extent[1]);
        v[i] = actual || is_inside(grid, i)
                   ? ((x + y + z) % 2 ? -1 : 1) * (1 + 0.01 * (double)(i % 7))
                   : 0;
    }
    for (int step = 0; step < 100; step++) {
        double vv = 0, vw = 0, ww = 0;
        for (uint32_t r = 0; r < n->rows; r++) {
            double sum = 0;
            for (uint32_t k = n->start[r]; k < n->start[r + 1]; k++)
                sum += n->value[k] * v[n->index[k]];
            w[r] = sum;
            vv += v[r] * v[r];
            vw += v[r] * sum;
        }
        if (!(vv > 0)) break;
        best = fmax(best, vw / vv);
        for (uint32_t r = 0; r < n->rows; r++) {
            w[r] = actual || is_inside(grid, r) ? w[r] : 0;
            ww += w[r] * w[r];
        }
        for (uint32_t r = 0; r < n->rows && ww > 0; r++) v[r] = w[r] / sqrt(ww);
    }
    return best * (1 - 1e-12);
}

static bool fail(Proof *p, const char *missing) {
    if (!p->missing) p->missing = missing;
    return false;
}

/* N on one grid: B must be symmetric and positive semidefinite, each tail -Kᵀ D. */
static bool visit_step(void *context, const SmallGrid *grid, bool actual) {
    Proof *p = context;
    Arena *arena = arena_new();
    Sparse g, n = {0};
    SmallGrid windows[2] = {*grid, *grid}; /* of F by u and by its fluxes; of their arguments */
    for (int i = 0; i < 2; i++) {
        memcpy(windows[i].low, p->low[i], sizeof p->low[i]);
        memcpy(windows[i].high, p->high[i], sizeof p->high[i]);
    }
    bool ok = true, runs = operator_matrix(p->module, p->split, 0, 0, &windows[0], arena, &g);
    for (uint32_t i = 0; runs && ok && i < p->fluxes; i++) {
        Sparse tail, k;
        operator_matrix(p->module, p->split, 1 + i, 0, &windows[0], arena, &tail);
        operator_matrix(p->module, p->split, 0, 1 + i, &windows[1], arena, &k);
        ok = matrices_match(&tail, &k, arena);
        if (!ok)
            fail(
                p,
                "the symmetry of -Kᵀ Φ(K u): the divergence is not minus the adjoint of the difference inside the "
                "flux, with its boundary");
        Sparse product = ok ? sparse_multiply(&tail, &k, arena) : (Sparse){0};
        if (ok) n = sparse_add(&n, &product, -p->sectors[i].high, arena);
    }
    if (runs && ok && (p->fluxes == 0 || sparse_largest(&g) > 0)) {
        Sparse zero = {0}, b = sparse_add(&zero, &g, -1, arena);
        bool vanishes = false;
        if (p->dissipative) { /* (B u, u) = (½ (B + Bᵀ) u, u) */
            Sparse t = sparse_transpose(&b, arena), sum = sparse_add(&b, &t, 1, arena);
            vanishes = sparse_largest(&sum) <= tolerance * sparse_largest(&b);
            b = sum;
        }
        if (!p->dissipative && !is_symmetric(&b, arena))
            ok = fail(
                p,
                "symmetry: the linear part, with its boundary, is not its own adjoint (as advection is not); "
                "an implicit scheme, or one that treats that part by itself, needs no such proof");
        else if (!vanishes && !is_dominant(&b) && !(actual && has_cholesky(&b, arena)))
            ok = fail(
                p,
                "a proof that the linear part is negative semidefinite: it may let some patterns grow; write "
                "it as minus an adjoint times the operator, or treat it implicitly");
        else
            n = sparse_add(&n, &b, 1, arena);
    }
    if (runs && p->dissipative) p->any = true;
    if (runs && ok && !p->dissipative) {
        const char *theorem;
        uint32_t channels =
            n.rows / (uint32_t)(grid->extent[0] * grid->extent[1] * grid->extent[2]);
        double bound = sparse_norm_bound(&n, actual, channels, arena, &theorem);
        p->bound = fmax(p->bound, bound);
        if (p->linear) {
            double below = rayleigh(&n, grid, actual, arena);
            p->below = p->any ? fmin(p->below, below) : below;
        }
        p->any = true;
    }
    arena_free(arena);
    return ok;
}

/* (u, w…) -> (F, s…) with the fluxes as parameters of their own. */
static FuncId split_func(Module *module, FuncId func, const Flux *fluxes, uint32_t count) {
    const Func *f = graph_get(module, func);
    FuncId split = graph_func(module, f->name);
    Map inner = {0}, outer = {0};
    Node u = graph_param(module, split, graph_node(f, f->params.data[0])->type, 0);
    VEC(Node) results = {0};
    map_set(&inner, f->params.data[0], u);
    map_set(&outer, f->params.data[0], u);
    for (uint32_t i = 0; i < count; i++)
        map_set(&outer, fluxes[i].flux,
                graph_param(module, split, graph_node(f, fluxes[i].flux)->type, 0));
    for (uint32_t p = 1; p < f->params.len; p++) {
        Node captured = graph_param(module, split, graph_node(f, f->params.data[p])->type, 0);
        map_set(&inner, f->params.data[p], captured);
        map_set(&outer, f->params.data[p], captured);
    }
    vec_push(&results, graph_copy(module, func, f->results.data[0], split, &outer));
    for (uint32_t i = 0; i < count; i++)
        vec_push(&results, graph_copy(module, func, fluxes[i].argument, split, &inner));
    for (uint32_t i = 0; i < results.len; i++)
        vec_push(&graph_get(module, split)->results, results.data[i]);
    vec_free(&results);
    map_free(&inner);
    map_free(&outer);
    return split;
}

enum { MOST_WORK = 1000000000 };

/* Large enough that rows at either side, and between them, are those of all larger grids: of N,
 * whose windows are those of the tail and of the arguments together, and of the comparison of
 * the tail's columns with the arguments' rows. A linear F on a grid of known size gets room for
 * a Rayleigh quotient. */
static void visit_sizes(Proof *p, GridId id) {
    static const int64_t room[MAX_RANK + 1] = {0, 64, 24, 12};
    const Grid *g = &p->module->grids.data[id];
    SmallGrid windows = {.grid = id, .rank = g->rank};
    int64_t enough[MAX_RANK];
    bool known = true;
    double cells = 1, window = 1;
    for (uint32_t a = 0; a < g->rank; a++) known = known && g->extent[a] >= 0;
    for (int a = 0; a < MAX_RANK; a++) {
        windows.low[a] = p->low[0][a] + p->low[1][a];
        windows.high[a] = p->high[0][a] + p->high[1][a];
        int64_t column = p->low[0][a] + p->high[0][a];
        int64_t below = windows.low[a] > column ? windows.low[a] : column;
        int64_t above = windows.high[a] > column ? windows.high[a] : column;
        enough[a] = below + above + 3;
        if (p->linear && known && enough[a] < room[g->rank]) enough[a] = room[g->rank];
        cells *= (double)(enough[a] + windows.low[a] + windows.high[a]);
        window *= (double)(windows.low[a] + windows.high[a] + 1);
    }
    if (cells * window * window > MOST_WORK) /* of a product of such matrices */
        fail(p, "an operator that reads fewer neighbours: this one has too many cases to check");
    else if (!operator_sizes(p->module, &windows, enough, visit_step, p))
        fail(p, "a size of the grid: for unknown sizes this operator has too many cases to check");
    else if (!p->any)
        fail(p, "a grid that is large enough for the stencils");
}

/* Tries one way of cutting F into tail and fluxes. */
static Proof try_proof(Module *module, FuncId func, const Flux *fluxes, uint32_t count, bool linear,
                       bool dissipative) {
    Interval *sectors = mem_alloc(sizeof *sectors * (count + 1));
    for (uint32_t i = 0; i < count; i++) {
        sectors[i] = fluxes[i].sector;
        if (dissipative) sectors[i].high = 1;
    }
    Proof p = {.module = module,
               .fluxes = count,
               .sectors = sectors,
               .linear = linear,
               .dissipative = dissipative};
    p.split = split_func(module, func, fluxes, count);
    const Func *f = graph_get(module, p.split);
    bool *variable = mem_alloc(f->params.len + 1);
    for (uint32_t i = 0; i < f->params.len; i++) variable[i] = i <= count;
    Simple *all = operator_scan(module, p.split, variable, false);
    bool simple = true;
    for (uint32_t i = 0; i < f->results.len; i++) {
        const Simple *s = &all[f->results.data[i]];
        simple = simple && (s->kind == SIMPLE_LINEAR || s->zero);
        for (int a = 0; a < MAX_RANK && s->kind == SIMPLE_LINEAR; a++) {
            int64_t *low = &p.low[i > 0][a], *high = &p.high[i > 0][a];
            *low = s->low[a] > *low ? s->low[a] : *low;
            *high = s->high[a] > *high ? s->high[a] : *high;
        }
    }
    if (!simple)
        fail(&p, "stencils with the same coefficients in every cell");
    else
        visit_sizes(&p, graph_node(f, f->params.data[0])->type.grid);
    mem_free(all);
    mem_free(variable);
    mem_free(sectors);
    return p;
}

/* A linear F of no form seen so far: each stencil between u and F is tried as K. */
static Proof try_cuts(Module *module, FuncId func, const Simple *simple, Proof first,
                      bool dissipative) {
    uint32_t count = graph_get(module, func)->nodes.len;
    for (Node n = 1; n < count && first.missing; n++) {
        const NodeData *d = graph_node(graph_get(module, func), n);
        if (d->op != OP_STENCIL || simple[n].kind != SIMPLE_LINEAR ||
            n == graph_get(module, func)->results.data[0])
            continue;
        Flux cut = {n, n, interval(1, 1)};
        Proof p = try_proof(module, func, &cut, 1, true, dissipative);
        if (!p.missing) return p;
    }
    return first;
}

static double step_below(double bound) {
    double step = 2 / bound;
    return fma(step, bound, -2) > 0 ? nextafter(step, 0) : step;
}

static StepBound finish(const Proof *p, const Interval *sectors, bool affine) {
    StepBound s = {.missing = p->missing, .unstable = HUGE_VAL};
    if (p->missing) return s;
    s.proved = true;
    s.step = p->bound > 0 ? step_below(p->bound) : HUGE_VAL;
    for (uint32_t i = 0; i < p->fluxes; i++) s.lipschitz = fmax(s.lipschitz, sectors[i].high);
    if (p->fluxes == 0) s.lipschitz = 1;
    s.norm = s.lipschitz > 0 ? sqrt(p->bound / s.lipschitz) : 0;
    s.theorem = !p->linear ? "2 / (L ‖K‖²) of -Kᵀ Φ(K u) with 0 <= Φ(s)/s <= L"
                : affine
                    ? "2 / ‖F‖ of the differences of solutions: symmetric, negative semidefinite"
                    : "2 / ‖F‖: linear, symmetric, negative semidefinite";
    if (p->linear && p->below > 0) s.unstable = nextafter(2 / p->below, HUGE_VAL);
    s.refutes = p->linear && s.unstable <= s.step * (1 + 1e-9);
    return s;
}

/* Does a node depend on inputs or parameters other than u? */
static bool needs_run_time(const Func *f, Node node) {
    uint8_t *live = mem_alloc(node + 1);
    bool needs = false;
    memset(live, 0, node + 1);
    live[node] = 1;
    for (Node n = node; n > 0 && !needs; n--) {
        const NodeData *d = graph_node(f, n);
        if (!live[n]) continue;
        needs = d->op == OP_INPUT || (d->op == OP_PARAM && d->index > 0) || d->op == OP_LOOP;
        for (uint32_t k = 0; k < d->count; k++) live[graph_operand(f, n, k)] = 1;
    }
    mem_free(live);
    return needs;
}

static StepBound nonlinear_step(Module *module, FuncId func, const Simple *simple,
                                bool dissipative) {
    StepBound none = {.unstable = HUGE_VAL};
    FluxForm form = sector_find(module, func, simple);
    none.missing = form.missing;
    for (uint32_t i = 0; i < form.fluxes.len && !none.missing; i++) {
        Interval m = form.fluxes.data[i].sector;
        if ((m.low < 0 || (isinf(m.high) && !dissipative)) &&
            needs_run_time(graph_get(module, func), form.fluxes.data[i].flux))
            none.missing =
                "a range of a coefficient that is known only when the program runs: a function with a "
                "bounded range around it, such as exp(-x^2), gives one";
        else if (m.low < 0)
            none.missing =
                "the sector condition 0 <= Φ(s)/s: the flux may point against the difference, which makes "
                "patterns grow";
        else if (isinf(m.high) && !dissipative)
            none.missing =
                "a bound L with Φ(s)/s <= L: the flux grows without one; a diffusivity that is bounded for "
                "all s has one";
    }
    if (!none.missing && form.has_source)
        none.missing =
            "a form without sources: a term or a boundary value that does not depend on u is added to it";
    if (!none.missing) {
        Interval *sectors = mem_alloc(sizeof *sectors * (form.fluxes.len + 1));
        for (uint32_t i = 0; i < form.fluxes.len; i++) sectors[i] = form.fluxes.data[i].sector;
        Proof p = try_proof(module, func, form.fluxes.data, form.fluxes.len, false, dissipative);
        none = finish(&p, sectors, false);
        mem_free(sectors);
    }
    sector_free(&form);
    return none;
}

static StepBound linear_step(Module *module, FuncId func, const Simple *simple, bool affine,
                             bool dissipative) {
    Interval one = interval(1, 1);
    Node result = graph_get(module, func)->results.data[0];
    if (simple[result].kind != SIMPLE_LINEAR) {
        /* coefficients that vary: the multipliers of fluxes */
        StepBound s = nonlinear_step(module, func, simple, dissipative);
        return s;
    }
    Proof p = try_proof(module, func, NULL, 0, true, dissipative);
    if (p.missing) p = try_cuts(module, func, simple, p, dissipative);
    return finish(&p, &one, affine);
}

static StepBound find_proof(Module *module, FuncId func, bool dissipative) {
    StepBound none = {.unstable = HUGE_VAL};
    const Func *f = graph_get(module, func);
    Type in = graph_node(f, f->params.data[0])->type, out = graph_node(f, f->results.data[0])->type;
    if (in.kind != TYPE_FIELD || !type_equal(in, out)) {
        none.missing = "an operator from fields to fields of the same grid and channels";
        return none;
    }
    Linearity linearity = analyse_linearity(module, func, 0, NULL);
    if (linearity == LINEARITY_CONSTANT) {
        none.missing = "dependence on u: the operator gives the same whatever it is applied to";
        return none;
    }
    ModuleMark mark = operator_mark(module);
    bool linear = linearity != LINEARITY_NONLINEAR;
    FuncId body = linear ? operator_homogeneous(module, func) : func;
    FuncId flat = body ? operator_inline(module, body) : 0;
    if (flat == 0) {
        none.missing = "an operator small enough to be looked through";
    } else {
        bool *variable = mem_alloc(graph_get(module, flat)->params.len + 1);
        for (uint32_t p = 0; p < graph_get(module, flat)->params.len; p++) variable[p] = p == 0;
        Simple *simple = operator_scan(module, flat, variable, false);
        none = linear
                   ? linear_step(module, flat, simple, linearity == LINEARITY_AFFINE, dissipative)
                   : nonlinear_step(module, flat, simple, dissipative);
        mem_free(simple);
        mem_free(variable);
    }
    operator_release(module, mark);
    return none;
}

StepBound stable_step(Module *module, FuncId func, Arena *arena) {
    (void)arena; /* all texts are static */
    return find_proof(module, func, false);
}

bool is_dissipative(Module *module, FuncId func, const char **missing) {
    StepBound found = find_proof(module, func, true);
    if (!found.proved) *missing = found.missing;
    return found.proved;
}
