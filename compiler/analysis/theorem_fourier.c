/* Von Neumann: linear steps with the same coefficients in every cell, by their symbols.
 *
 * With periodic sides such a step is a block circulant, whose blocks are the symbol G(θ) at the frequencies of the
 * grid. With reflecting sides, even or odd, it is the same on the even or odd extensions, which it keeps where its
 * coefficients are even along that axis. That the rows at the sides are those of the extension is looked at on a grid
 * that stands for all larger ones (docs/certificates.md). */
#include "compiler/analysis/linearity.h"
#include "compiler/analysis/operator.h"
#include "compiler/analysis/scheme.h"

#include <complex.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* MOST_CELLS: cells looked at for each cell that is read, on a grid that stands for all. */
enum { MOST_CELLS = 4000000, MOST_BLOCK = 4, MOST_FREQUENCIES = 1 << 22, MOST_BOXES = 1 << 20 };

typedef enum { END_PERIODIC, END_EVEN, END_ODD, END_ZERO } End;

typedef struct {
    uint32_t to, from; /* field · channels + channel */
    int32_t offset[MAX_RANK];
    double value;
} Term;

typedef VEC(Term) Terms;

typedef struct {
    Module *module;
    GridId grid;
    uint32_t rank, fields, channels, size; /* size = fields · channels */
    FuncId *block;                         /* [to · fields + from]: linear functions; 0: zero */
    int64_t low[MAX_RANK], high[MAX_RANK];
    Terms terms;
    End end[MAX_RANK][2];
    const char *missing;
    /* of all grids that were looked at */
    double norm;   /* largest ‖G‖ */
    double radius; /* largest spectral radius */
    double powers; /* bound of all powers; INFINITY: there is none */
    /* frequencies between those of grids were looked at: a radius beyond 1 is no proof */
    bool every;
} Symbol;

static const char *const too_wide =
    "a step that reads fewer neighbours: this one has too many cases to check";

static double work_of(const int64_t *low, const int64_t *high, uint32_t rank) {
    double work = 1;
    for (uint32_t a = 0; a < rank; a++) {
        double window = (double)(low[a] + high[a] + 1);
        work *= window * (3 * window);
    }
    return work;
}

/* ---- the blocks -------------------------------------------------------------------------- */

/* Result i of the step as a function of field j alone, its linear part; 0: it does not depend on it. */
static bool make_block(Symbol *s, const Step *step, uint32_t i, uint32_t j, FuncId *out) {
    Module *m = s->module;
    FuncId func = graph_func(m, 0);
    Map map = {0};
    const Func *f = graph_get(m, step->func);
    uint32_t params = f->params.len;
    for (uint32_t turn = 0; turn < 2; turn++) /* field j first */
        for (uint32_t p = 0; p < params; p++)
            if ((p == j) == (turn == 0)) {
                Node node = graph_get(m, step->func)->params.data[p];
                map_set(&map, node,
                        graph_param(m, func, graph_node(graph_get(m, step->func), node)->type, 0));
            }
    Node result = graph_copy(m, step->func, graph_get(m, step->func)->results.data[i], func, &map);
    vec_push(&graph_get(m, func)->results, result);
    map_free(&map);
    *out = 0;
    if (analyse_linearity(m, func, 0, NULL) == LINEARITY_CONSTANT) return true;
    FuncId linear = operator_homogeneous(m, func), flat = linear ? operator_inline(m, linear) : 0;
    if (!flat) return false;
    bool *variable = mem_alloc(graph_get(m, flat)->params.len + 1);
    for (uint32_t p = 0; p < graph_get(m, flat)->params.len; p++) variable[p] = p == 0;
    Simple *all = operator_scan(m, flat, variable, false);
    Simple simple = all[graph_get(m, flat)->results.data[0]];
    mem_free(all);
    mem_free(variable);
    if (simple.zero) return true;
    if (simple.kind != SIMPLE_LINEAR) return false;
    for (uint32_t a = 0; a < s->rank; a++) {
        s->low[a] = simple.low[a] > s->low[a] ? simple.low[a] : s->low[a];
        s->high[a] = simple.high[a] > s->high[a] ? simple.high[a] : s->high[a];
    }
    *out = flat;
    return true;
}

static bool jointly_linear(Module *m, const Step *step, bool *affine) {
    Arena *arena = arena_new();
    const Func *f = graph_get(m, step->func);
    Dependence *params = ARENA_ARRAY(arena, Dependence, f->params.len + 1);
    for (uint32_t p = 0; p < f->params.len; p++)
        params[p] = p < step->fields ? DEPENDS_LINEAR : DEPENDS_NOT;
    Dependences d = dependences_of(m, step->func, params, arena);
    bool ok = true;
    *affine = false;
    for (uint32_t i = 0; i < f->results.len; i++) {
        Dependence r = d.nodes[f->results.data[i]];
        ok = ok && r != DEPENDS_NONLINEAR;
        *affine = *affine || r == DEPENDS_AFFINE || r == DEPENDS_NOT;
    }
    arena_free(arena);
    return ok;
}

/* ---- the coefficients, and what lies beyond the sides ----------------------------------------- */

static int64_t cells_of(const SmallGrid *g) { return g->extent[0] * g->extent[1] * g->extent[2]; }

static void place_of(const SmallGrid *g, int64_t cell, int64_t at[MAX_RANK]) {
    for (int a = 0; a < MAX_RANK; a++) {
        at[a] = cell % g->extent[a];
        cell /= g->extent[a];
    }
}

/* The rows of a cell that sees no side. */
static void middle_terms(Symbol *s, const Sparse *a, const SmallGrid *g, uint32_t i, uint32_t j) {
    int64_t cells = cells_of(g), middle = 0, at[MAX_RANK], to[MAX_RANK];
    for (int axis = MAX_RANK - 1; axis >= 0; axis--) {
        at[axis] = axis < (int)s->rank ? s->low[axis] : 0;
        middle = middle * g->extent[axis] + at[axis];
    }
    for (uint32_t c = 0; c < s->channels; c++) {
        uint32_t row = (uint32_t)(c * cells + middle);
        for (uint32_t k = a->start[row]; k < a->start[row + 1]; k++) {
            Term t = {i * s->channels + c,
                      j * s->channels + (uint32_t)(a->index[k] / cells),
                      {0, 0, 0},
                      a->value[k]};
            place_of(g, a->index[k] % cells, to);
            for (int axis = 0; axis < MAX_RANK; axis++)
                t.offset[axis] = (int32_t)(to[axis] - at[axis]);
            vec_push(&s->terms, t);
        }
    }
}

/* Where a cell beyond the sides is found, and its sign; 0: nowhere. */
static int fold(const End end[2], int64_t n, int64_t *p) {
    int sign = 1;
    for (int turn = 0; turn < 8 && (*p < 0 || *p >= n); turn++) {
        int side = *p >= n;
        switch (end[side]) {
        case END_PERIODIC: *p = (*p % n + n) % n; break;
        case END_ZERO: return 0;
        case END_ODD:
            sign = -sign;
            *p = side ? 2 * n - 1 - *p : -1 - *p;
            break;
        case END_EVEN: *p = side ? 2 * n - 1 - *p : -1 - *p; break;
        }
    }
    return *p >= 0 && *p < n ? sign : 0;
}

/* Is block (i, j) what the terms make of fields that are continued like that? */
static bool block_folds(const Symbol *s, const Sparse *m, const SmallGrid *g, End end[MAX_RANK][2],
                        uint32_t i, uint32_t j, double small) {
    int64_t cells = cells_of(g), at[MAX_RANK];
    double *row = mem_alloc(sizeof *row * (size_t)cells * s->channels);
    bool ok = true;
    for (uint32_t c = 0; c < s->channels && ok; c++)
        for (int64_t cell = 0; cell < cells && ok; cell++) {
            memset(row, 0, sizeof *row * (size_t)cells * s->channels);
            place_of(g, cell, at);
            for (uint32_t k = 0; k < s->terms.len; k++) {
                const Term *t = &s->terms.data[k];
                if (t->to != i * s->channels + c || t->from / s->channels != j) continue;
                int sign = 1;
                int64_t index = 0, q[MAX_RANK];
                for (int a = MAX_RANK - 1; a >= 0; a--) {
                    q[a] = at[a] + t->offset[a];
                    sign *= a < (int)s->rank ? fold(end[a], g->extent[a], &q[a]) : 1;
                    index = index * g->extent[a] + q[a];
                }
                if (sign) row[(t->from % s->channels) * cells + index] += sign * t->value;
            }
            uint32_t r = (uint32_t)(c * cells + cell);
            for (uint32_t k = m->start[r]; k < m->start[r + 1]; k++)
                row[m->index[k]] -= m->value[k];
            for (int64_t k = 0; k < cells * s->channels; k++) ok = ok && fabs(row[k]) <= small;
        }
    mem_free(row);
    return ok;
}

static bool all_fold(const Symbol *s, const Sparse *blocks, const SmallGrid *g,
                     End end[MAX_RANK][2], double small) {
    for (uint32_t i = 0; i < s->fields; i++)
        for (uint32_t j = 0; j < s->fields; j++)
            if (s->block[i * s->fields + j] &&
                !block_folds(s, &blocks[i * s->fields + j], g, end, i, j, small))
                return false;
    return true;
}

/* Coefficients even along an axis: then even and odd extensions stay what they are. */
static bool is_even(const Symbol *s, uint32_t axis, double small) {
    for (uint32_t i = 0; i < s->terms.len; i++) {
        const Term *a = &s->terms.data[i];
        double other = 0;
        for (uint32_t k = 0; k < s->terms.len; k++) {
            const Term *b = &s->terms.data[k];
            bool mirror = a->to == b->to && a->from == b->from;
            for (uint32_t d = 0; d < MAX_RANK; d++)
                mirror = mirror && b->offset[d] == (d == axis ? -a->offset[d] : a->offset[d]);
            if (mirror) other = b->value;
        }
        if (fabs(other - a->value) > small) return false;
    }
    return true;
}

/* Which continuation of the fields makes the rows at the sides. */
static bool find_ends(Symbol *s, const Sparse *blocks, const SmallGrid *g, double small) {
    static const End tries[6][2] = {{END_PERIODIC, END_PERIODIC}, {END_EVEN, END_EVEN},
                                    {END_ODD, END_ODD},           {END_EVEN, END_ODD},
                                    {END_ODD, END_EVEN},          {END_ZERO, END_ZERO}};
    uint32_t kinds = s->rank == 1 ? 6 : s->rank == 2 ? 36 : 216;
    for (uint32_t code = 0; code < kinds; code++) {
        uint32_t rest = code;
        bool ok = true;
        for (uint32_t a = 0; a < s->rank; a++, rest /= 6) {
            memcpy(s->end[a], tries[rest % 6], sizeof s->end[a]);
            ok = ok && (rest % 6 == 0 || rest % 6 == 5 || is_even(s, a, small));
        }
        if (ok && all_fold(s, blocks, g, s->end, small)) return true;
    }
    s->missing =
        "sides that continue the solution so that waves stay waves: periodic ones, or reflecting and "
        "dirichlet(0) ones with coefficients that are even along that axis";
    return false;
}

/* ---- one frequency --------------------------------------------------------------------------------- */

typedef double complex Block[MOST_BLOCK][MOST_BLOCK];

static void symbol_at(const Symbol *s, const double theta[MAX_RANK], Block g) {
    memset(g, 0, sizeof(Block));
    for (uint32_t k = 0; k < s->terms.len; k++) {
        const Term *t = &s->terms.data[k];
        double phase = 0;
        for (uint32_t a = 0; a < s->rank; a++) phase += theta[a] * t->offset[a];
        g[t->to][t->from] += t->value * cexp(I * phase);
    }
}

/* ‖G‖ <= sqrt of a bound of λmax(G*G): its powers' traces. */
static double block_norm(Block g, uint32_t n) {
    if (n == 1) return cabs(g[0][0]);
    Block h = {{0}};
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t j = 0; j < n; j++)
            for (uint32_t k = 0; k < n; k++) h[i][j] += conj(g[k][i]) * g[k][j];
    if (n == 2) {
        double a = creal(h[0][0]), d = creal(h[1][1]), b = cabs(h[0][1]);
        return sqrt(0.5 * (a + d) + hypot(0.5 * (a - d), b));
    }
    double log_scale = 0, power = 1;
    for (int step = 0; step < 40; step++) {
        double trace = 0;
        for (uint32_t i = 0; i < n; i++) trace += creal(h[i][i]);
        if (!(trace > 0)) return 0;
        log_scale += log(trace) / power;
        Block next = {{0}};
        for (uint32_t i = 0; i < n; i++)
            for (uint32_t j = 0; j < n; j++)
                for (uint32_t k = 0; k < n; k++) next[i][j] += h[i][k] * h[k][j] / (trace * trace);
        memcpy(h, next, sizeof next);
        power *= 2;
    }
    return exp(0.5 * log_scale);
}

/* Both eigenvalues of a 2 × 2 matrix, and a bound of the norms of all its powers: in Schur's form [z1 s; 0 z2] the
 * corner of the n-th power is s Σ z1^i z2^(n-1-i). */
static void block_powers(Block g, double *radius, double *powers) {
    double complex t = g[0][0] + g[1][1], d = g[0][0] * g[1][1] - g[0][1] * g[1][0],
                   root = csqrt(t * t - 4 * d);
    double complex z1 = (t + root) / 2, z2 = (t - root) / 2;
    if (cabs(z1) < cabs(z2)) z1 = z2;
    z2 = cabs(z1) > 0 ? d / z1 : 0;
    double square = 0, big = cabs(z1), little = cabs(z2);
    for (int i = 0; i < 4; i++) square += creal(g[i / 2][i % 2] * conj(g[i / 2][i % 2]));
    double corner = sqrt(fmax(square - big * big - little * little, 0));
    if (corner <= 1e-7 * sqrt(square) && cabs(z1 - z2) <= 1e-7)
        corner = corner <= 1e-12 ? 0 : corner;
    double sum = fmin(2 / cabs(z1 - z2), 1 / fmax(1 - little, 0));
    *radius = big;
    *powers = corner > 0 ? 1 + corner * sum : 1;
}

static void look_at(Symbol *s, const double theta[MAX_RANK]) {
    Block g;
    symbol_at(s, theta, g);
    double norm = block_norm(g, s->size), radius = norm,
           powers = norm <= 1 + ROUNDING ? 1 : INFINITY;
    if (s->size == 2) block_powers(g, &radius, &powers);
    s->norm = fmax(s->norm, norm);
    s->radius = fmax(s->radius, radius);
    s->powers = fmax(s->powers, powers);
}

/* ---- all frequencies of a grid ------------------------------------------------------------------------ */

static double frequency(const End end[2], int64_t j, int64_t n) {
    if (end[0] == END_PERIODIC) return 2 * M_PI * (double)j / (double)n;
    if (end[0] != end[1]) return M_PI * ((double)j + 0.5) / (double)n;
    return M_PI * (double)(end[0] == END_ODD ? j + 1 : j) / (double)n;
}

static bool has_zero_end(const Symbol *s) {
    for (uint32_t a = 0; a < s->rank; a++)
        if (s->end[a][0] == END_ZERO) return true;
    return false;
}

static void look_at_grid(Symbol *s, const int64_t extent[MAX_RANK]) {
    double theta[MAX_RANK] = {0};
    int64_t n[MAX_RANK] = {1, 1, 1}, j[MAX_RANK];
    for (uint32_t a = 0; a < s->rank; a++) n[a] = extent[a];
    for (j[2] = 0; j[2] < n[2]; j[2]++)
        for (j[1] = 0; j[1] < n[1]; j[1]++)
            for (j[0] = 0; j[0] < n[0]; j[0]++) {
                for (uint32_t a = 0; a < s->rank; a++) theta[a] = frequency(s->end[a], j[a], n[a]);
                look_at(s, theta);
            }
}

/* ---- all frequencies there are, of a symbol that is a number ---------------------------------------------- */

typedef struct {
    double middle[MAX_RANK], half[MAX_RANK];
} Box;

/* |G|² = Σ r cos(offset · θ): its value, slopes and curvatures in the middle of a box, and Taylor's remainder. */
static double box_bound(const Terms *square, uint32_t rank, double third, const Box *b) {
    double value = 0, slope[MAX_RANK] = {0}, curve[MAX_RANK][MAX_RANK] = {{0}}, width = 0;
    for (uint32_t k = 0; k < square->len; k++) {
        const Term *t = &square->data[k];
        double phase = 0;
        for (uint32_t a = 0; a < rank; a++) phase += b->middle[a] * t->offset[a];
        double c = t->value * cos(phase), s = t->value * sin(phase);
        value += c;
        for (uint32_t a = 0; a < rank; a++) {
            slope[a] -= s * t->offset[a];
            for (uint32_t d = 0; d < rank; d++) curve[a][d] -= c * t->offset[a] * t->offset[d];
        }
    }
    for (uint32_t a = 0; a < rank; a++) {
        value += fabs(slope[a]) * b->half[a];
        width = fmax(width, b->half[a]);
        for (uint32_t d = 0; d < rank; d++)
            value += 0.5 * fabs(curve[a][d]) * b->half[a] * b->half[d];
    }
    return value + third * width * width * width / 6;
}

static void square_terms(const Symbol *s, Terms *square, double *third) {
    *third = 0;
    for (uint32_t i = 0; i < s->terms.len; i++)
        for (uint32_t j = 0; j < s->terms.len; j++) {
            const Term *a = &s->terms.data[i], *b = &s->terms.data[j];
            Term t = {0, 0, {0, 0, 0}, a->value * b->value};
            for (int d = 0; d < MAX_RANK; d++) t.offset[d] = a->offset[d] - b->offset[d];
            uint32_t k = 0;
            while (k < square->len && memcmp(square->data[k].offset, t.offset, sizeof t.offset))
                k++;
            if (k < square->len)
                square->data[k].value += t.value;
            else
                vec_push(square, t);
        }
    for (uint32_t k = 0; k < square->len; k++) {
        double reach = 0;
        for (uint32_t a = 0; a < s->rank; a++) reach += abs(square->data[k].offset[a]);
        *third += fabs(square->data[k].value) * reach * reach * reach;
    }
}

/* Is |G| <= 1 everywhere? False: it is not, or that is not found out. */
static bool bounded_everywhere(Symbol *s) {
    Terms square = {0};
    VEC(Box) boxes = {0};
    double third, theta[MAX_RANK] = {0};
    square_terms(s, &square, &third);
    Box all = {{0}, {0}};
    for (uint32_t a = 0; a < s->rank; a++) {
        all.middle[a] = a == 0 ? M_PI / 2 : 0; /* |G(-θ)| = |G(θ)| */
        all.half[a] = a == 0 ? M_PI / 2 : M_PI;
    }
    vec_push(&boxes, all);
    bool ok = true;
    for (uint32_t seen = 0; boxes.len && ok; seen++) {
        Box b = vec_pop(&boxes);
        double bound = box_bound(&square, s->rank, third, &b);
        if (bound <= 1 + 2 * ROUNDING) continue;
        memcpy(theta, b.middle, sizeof theta);
        look_at(s, theta);
        ok = s->norm <= 1 + 1e-9 && seen < MOST_BOXES;
        uint32_t widest = 0;
        for (uint32_t a = 1; a < s->rank; a++)
            if (b.half[a] > b.half[widest]) widest = a;
        ok = ok && b.half[widest] > 1e-9;
        for (int side = -1; side <= 1 && ok; side += 2) {
            Box part = b;
            part.half[widest] /= 2;
            part.middle[widest] += side * part.half[widest];
            vec_push(&boxes, part);
        }
    }
    vec_free(&square);
    vec_free(&boxes);
    if (ok) s->norm = s->radius = s->powers = fmax(s->powers, 1);
    return ok;
}

/* ---- grids ------------------------------------------------------------------------------------------------- */

static bool visit(void *context, const SmallGrid *grid, bool actual) {
    Symbol *s = context;
    Arena *arena = arena_new();
    Sparse blocks[MOST_BLOCK * MOST_BLOCK];
    bool runs = true;
    double largest = 0;
    s->terms.len = 0;
    for (uint32_t i = 0; i < s->fields && runs; i++)
        for (uint32_t j = 0; j < s->fields && runs; j++) {
            uint32_t b = i * s->fields + j;
            if (!s->block[b]) continue;
            runs = operator_matrix(s->module, s->block[b], 0, 0, grid, arena, &blocks[b]);
            if (runs) largest = fmax(largest, sparse_largest(&blocks[b]));
        }
    bool large = true;
    for (uint32_t a = 0; a < s->rank; a++)
        large = large && grid->extent[a] > s->low[a] + s->high[a];
    if (!runs) { /* a grid on which the program does not run */
        arena_free(arena);
        return true;
    }
    if (!large) {
        s->missing = "a grid larger than what the step reads, or --size";
        arena_free(arena);
        return false;
    }
    for (uint32_t i = 0; i < s->fields; i++)
        for (uint32_t j = 0; j < s->fields; j++)
            if (s->block[i * s->fields + j])
                middle_terms(s, &blocks[i * s->fields + j], grid, i, j);
    bool ok = find_ends(s, blocks, grid, 1e-12 * largest);
    arena_free(arena);
    if (!ok) return false;
    const Grid *g = &s->module->grids.data[s->grid];
    int64_t extent[MAX_RANK] = {1, 1, 1};
    double frequencies = 1;
    bool known = !has_zero_end(s);
    for (uint32_t a = 0; a < s->rank; a++) {
        extent[a] = g->extent[a] >= 0 ? g->extent[a] : grid->extent[a];
        known = known && (g->extent[a] >= 0 || actual);
        frequencies *= (double)extent[a];
    }
    if (known && frequencies <= MOST_FREQUENCIES) {
        look_at_grid(s, extent);
        return true;
    }
    s->every = true;
    if (s->size != 1)
        s->missing =
            "a size that is known: for every size, only symbols that are a number are looked at";
    else if (!bounded_everywhere(s))
        s->missing = "a symbol of modulus at most 1 at every frequency";
    return !s->missing;
}

static bool make_symbol(Scheme *scheme, int64_t k, Symbol *s, bool *affine) {
    Module *m = scheme->module;
    Step step = scheme_step(scheme, k);
    const Func *f = graph_get(m, step.func);
    Type type = graph_node(f, f->params.data[0])->type;
    for (uint32_t i = 0; i < step.fields; i++)
        if (!type_equal(graph_node(f, f->params.data[i])->type, type)) return false;
    *s = (Symbol){.module = m,
                  .grid = type.grid,
                  .rank = m->grids.data[type.grid].rank,
                  .fields = step.fields,
                  .channels = type.channels,
                  .size = step.fields * type.channels,
                  .powers = 1};
    if (s->size > MOST_BLOCK || !jointly_linear(m, &step, affine)) return false;
    s->block = ARENA_ARRAY(scheme->arena, FuncId, s->fields * s->fields);
    bool ok = true;
    for (uint32_t i = 0; i < s->fields && ok; i++)
        for (uint32_t j = 0; j < s->fields && ok; j++)
            ok = make_block(s, &step, i, j, &s->block[i * s->fields + j]);
    if (!ok) {
        s->missing = "coefficients that are the same in every cell";
        return true;
    }
    SmallGrid windows = {.grid = s->grid, .rank = s->rank};
    int64_t enough[MAX_RANK] = {1, 1, 1};
    for (uint32_t a = 0; a < s->rank; a++) {
        windows.low[a] = s->low[a];
        windows.high[a] = s->high[a];
        enough[a] = 2 * (s->low[a] + s->high[a]) + 3;
    }
    if (work_of(s->low, s->high, s->rank) > MOST_CELLS)
        s->missing = too_wide;
    else if (!operator_sizes(m, &windows, enough, visit, s) && !s->missing)
        s->missing = "a size of the grid: for unknown sizes this step has too many cases to check";
    vec_free(&s->terms);
    return true;
}

bool theorem_fourier(Scheme *scheme, Certificate *out) {
    int64_t first, count;
    double norm = 0, radius = 0, powers = 1;
    bool affine = false, every = false;
    if (!scheme_steps(scheme, &first, &count)) return false;
    for (int64_t k = first; k == first || k < first + count; k++) {
        Symbol s;
        bool source = false;
        if (!make_symbol(scheme, k, &s, &source)) return false;
        out->missing = s.missing;
        norm = fmax(norm, s.norm);
        radius = fmax(radius, s.radius);
        powers = fmax(powers, s.powers);
        every = every || s.every;
        affine = affine || source;
        if (s.missing && !(radius > 1 + 1e-9 && !s.every && s.size <= 2)) return false;
        out->missing = NULL;
        bool scalar = s.size <= 2; /* else the radius is a bound, not a value */
        if (radius > 1 + 1e-9 && scalar && !every && count == 1 && first == ANY_STEP) {
            certificate_number(out, "largest |G|", radius);
            out->verdict = VERDICT_UNSTABLE;
            out->linear = true;
            return true;
        }
    }
    out->linear = !scheme->moving;
    out->differences = affine;
    out->layers = count;
    certificate_number(out, "largest ‖G‖", norm);
    if (norm <= 1 + ROUNDING) {
        out->verdict = VERDICT_STABLE;
        out->claim = CLAIM_STEP;
        out->linear = true;
        return true;
    }
    if (count == 1 && first == ANY_STEP && radius <= 1 + ROUNDING && powers < 1e6) {
        certificate_number(out, "largest |z|", radius);
        certificate_number(out, "powers at most", powers);
        out->verdict = VERDICT_STABLE;
        out->claim = CLAIM_BOUNDED;
        return true;
    }
    out->missing =
        radius <= 1 + ROUNDING
            ? "simple roots on the unit circle: some pattern has a double root, by which it grows in "
              "proportion to time"
            : "a symbol whose eigenvalues lie in the unit circle at every frequency";
    return false;
}

/* ---- the norm ------------------------------------------------------------------------------------------------ */

/* Would its matrix be too much to look at? */
static bool is_wide(Scheme *scheme, const Step *step) {
    Module *m = scheme->module;
    const Func *f = graph_get(m, step->func);
    bool *variable = mem_alloc(f->params.len + 1);
    int64_t low[MAX_RANK], high[MAX_RANK];
    for (uint32_t p = 0; p < f->params.len; p++) variable[p] = p == 0;
    Simple *all = operator_scan(m, step->func, variable, false);
    const Simple simple = all[f->results.data[0]];
    for (uint32_t a = 0; a < MAX_RANK; a++) {
        low[a] = simple.low[a];
        high[a] = simple.high[a];
    }
    mem_free(all);
    mem_free(variable);
    uint32_t rank = m->grids.data[graph_node(f, f->params.data[0])->type.grid].rank;
    return simple.kind == SIMPLE_LINEAR && work_of(low, high, rank) > MOST_CELLS / 20;
}

bool theorem_norm(Scheme *scheme, Certificate *out) {
    int64_t first, count;
    double worst = 0;
    if (scheme->fields != 1 || !scheme_steps(scheme, &first, &count) || !scheme_is_linear(scheme))
        return false;
    for (int64_t k = first; k == first || k < first + count; k++) {
        Step step = scheme_step(scheme, k);
        Linearity l = analyse_linearity(scheme->module, step.func, 0, NULL);
        if (is_wide(scheme, &step)) {
            out->missing = too_wide;
            return false;
        }
        NormBound bound = norm_bound(scheme->module, step.func, scheme->arena);
        if (!bound.proved) {
            out->missing = bound.missing;
            return false;
        }
        out->differences = out->differences || l == LINEARITY_AFFINE;
        if (bound.bound > worst || k == first) out->worst = k;
        worst = fmax(worst, bound.bound);
    }
    out->layers = count;
    out->linear = true;
    certificate_number(out, "‖S‖", worst);
    if (!(worst <= 1 + ROUNDING)) {
        out->missing = "a bound of the step's norm that is at most 1";
        return false;
    }
    out->verdict = VERDICT_STABLE;
    out->claim = CLAIM_STEP;
    return true;
}
