/* The symbol of a periodic operator with constant coefficients.
 *
 * With S(θ) the symbol, channels × channels, ‖A‖² = sup λmax(S*S), and v*S*S v is a trigonometric polynomial of degree
 * d = 2 reach in each variable for every v. So by Ehlich and Zeller (1964)
 *     sup λmax <= max over N equispaced points an axis of λmax · Π 1 / cos(π d / N),  N > 2 d. */
#include "compiler/analysis/fourier.h"

#include <complex.h>
#include <math.h>
#include <string.h>

enum { MOST_CHANNELS_SIDE = 8, MOST_SIDE = 64 * MOST_CHANNELS_SIDE };

/* Is everything periodic, without masks of edges? */
static bool has_no_boundary(Module *module, FuncId func) {
    const Func *f = graph_get(module, func);
    for (Node n = 1; n < f->nodes.len; n++) {
        const NodeData *d = graph_node(f, n);
        if (d->op == OP_EDGE) return false;
        if (d->op != OP_STENCIL) continue;
        const Stencil *s = &module->stencils.data[d->index];
        for (uint32_t a = 0; a < s->rank; a++)
            if (s->sides[a][0] != SIDE_PERIODIC) return false;
    }
    return true;
}

typedef struct {
    uint32_t to, from;
    int32_t offset[MAX_RANK]; /* from the low end of the window */
    double value;
} Term;

typedef VEC(Term) Terms;

/* The row of the middle cell, for each output channel. */
static void middle_rows(const Sparse *a, const SmallGrid *grid, uint32_t out_channels,
                        Terms *terms) {
    int64_t cells = 1, middle = 0, at[MAX_RANK];
    for (int axis = MAX_RANK - 1; axis >= 0; axis--) {
        at[axis] = grid->low[axis];
        middle = middle * grid->extent[axis] + at[axis];
        cells *= grid->extent[axis];
    }
    for (uint32_t c = 0; c < out_channels; c++) {
        uint32_t row = (uint32_t)(c * cells + middle);
        for (uint32_t k = a->start[row]; k < a->start[row + 1]; k++) {
            int64_t cell = a->index[k] % cells;
            Term term = {c, (uint32_t)(a->index[k] / cells), {0, 0, 0}, a->value[k]};
            for (int axis = 0; axis < MAX_RANK; axis++) {
                term.offset[axis] = (int32_t)(cell % grid->extent[axis]);
                cell /= grid->extent[axis];
            }
            vec_push(terms, term);
        }
    }
}

/* Upper bound of the largest eigenvalue of a Hermitian, positive semidefinite n × n matrix:
 * squared again and again, scaled; λ^(2^k) <= trace. */
static double eigenvalue_bound(double complex h[MOST_CHANNELS_SIDE][MOST_CHANNELS_SIDE],
                               uint32_t n) {
    double log_scale = 0, power = 1;
    for (int step = 0; step < 12; step++) {
        double trace = 0;
        for (uint32_t i = 0; i < n; i++) trace += creal(h[i][i]);
        if (!(trace > 0)) return 0;
        log_scale += log(trace) / power;
        if (n == 1) return exp(log_scale);
        double complex next[MOST_CHANNELS_SIDE][MOST_CHANNELS_SIDE];
        for (uint32_t i = 0; i < n; i++)
            for (uint32_t j = 0; j < n; j++) {
                next[i][j] = 0;
                for (uint32_t k = 0; k < n; k++) next[i][j] += h[i][k] * h[k][j] / (trace * trace);
            }
        memcpy(h, next, sizeof next);
        power *= 2;
    }
    double trace = 0;
    for (uint32_t i = 0; i < n; i++) trace += creal(h[i][i]);
    return exp(log_scale + log(fmax(trace, 1e-300)) / power);
}

/* λmax(S*S), or of SS*, whichever is smaller, at one frequency; wave[axis][offset] = exp(i θ
 * offset). The window's low end stands for 0: that shifts all phases alike. */
static double symbol_square(const Terms *terms, uint32_t rows, uint32_t columns,
                            double complex *const *wave, double complex *s) {
    double complex h[MOST_CHANNELS_SIDE][MOST_CHANNELS_SIDE] = {{0}};
    bool tall = rows >= columns;
    uint32_t n = tall ? columns : rows, m = tall ? rows : columns;
    memset(s, 0, sizeof *s * n * m);
    for (uint32_t k = 0; k < terms->len; k++) {
        const Term *t = &terms->data[k];
        double complex phase =
            wave[0][t->offset[0]] * wave[1][t->offset[1]] * wave[2][t->offset[2]];
        /* of SS*, the rows of S take the place of columns, conjugated */
        if (tall)
            s[t->to * n + t->from] += t->value * phase;
        else
            s[t->from * n + t->to] += t->value * conj(phase);
    }
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t j = 0; j < n; j++)
            for (uint32_t k = 0; k < m; k++) h[i][j] += conj(s[k * n + i]) * s[k * n + j];
    return eigenvalue_bound(h, n);
}

/* The largest λmax over all samples. */
static double largest_sample(const Terms *terms, uint32_t rows, uint32_t columns,
                             const SmallGrid *g, const int64_t *samples) {
    double complex *wave[MAX_RANK], *s = mem_alloc(sizeof *s * rows * columns);
    double largest = 0;
    int64_t i[MAX_RANK];
    for (int a = 0; a < MAX_RANK; a++) {
        wave[a] = mem_alloc(sizeof *wave[a] * (size_t)(samples[a] * g->extent[a]));
        for (int64_t k = 0; k < samples[a]; k++)
            for (int64_t o = 0; o < g->extent[a]; o++)
                wave[a][k * g->extent[a] + o] =
                    cexp(I * (2 * M_PI * (double)(k * o % samples[a]) / (double)samples[a]));
    }
    for (i[2] = 0; i[2] < samples[2]; i[2]++)
        for (i[1] = 0; i[1] < samples[1]; i[1]++)
            for (i[0] = 0; i[0] < samples[0]; i[0]++) {
                double complex *at[MAX_RANK];
                for (int a = 0; a < MAX_RANK; a++) at[a] = wave[a] + i[a] * g->extent[a];
                largest = fmax(largest, symbol_square(terms, rows, columns, at, s));
            }
    for (int a = 0; a < MAX_RANK; a++) mem_free(wave[a]);
    mem_free(s);
    return largest;
}

double fourier_bound(Module *module, FuncId func, GridId grid, const Simple *result,
                     const char **theorem) {
    const Func *f = graph_get(module, func);
    uint32_t rank = module->grids.data[grid].rank;
    uint32_t columns = graph_node(f, f->params.data[0])->type.channels;
    uint32_t rows = graph_node(f, f->results.data[0])->type.channels;
    uint32_t small = rows < columns ? rows : columns, large = rows < columns ? columns : rows;
    if (!has_no_boundary(module, func) || small > MOST_CHANNELS_SIDE || large > MOST_SIDE)
        return INFINITY;
    SmallGrid g = {.grid = grid, .rank = rank, .extent = {1, 1, 1}};
    int64_t samples[MAX_RANK] = {1, 1, 1};
    double factor = 1, work = 1;
    for (uint32_t a = 0; a < rank; a++) {
        g.low[a] = result->low[a];
        g.high[a] = result->high[a];
        g.extent[a] = g.low[a] + g.high[a] + 1;
        int64_t degree = g.low[a] + g.high[a];
        /* 16 a period of the fastest wave: within 1 % of the largest value an axis; 256 in 1D,
         * where it is cheap */
        samples[a] = degree == 0 ? 1 : degree * (rank == 1 ? 256 : rank == 2 ? 16 : 8);
        factor /= cos(M_PI * (double)degree / (double)samples[a]);
        work *= (double)samples[a];
    }
    Arena *arena = arena_new();
    Sparse matrix;
    Terms terms = {0};
    double largest = 0;
    bool ok = operator_matrix(module, func, 0, 0, &g, arena, &matrix);
    if (ok) middle_rows(&matrix, &g, rows, &terms);
    ok = ok && work * (terms.len + (double)small * small * large) < 1e7;
    if (ok) largest = largest_sample(&terms, rows, columns, &g, samples);
    vec_free(&terms);
    arena_free(arena);
    *theorem = "Fourier symbol";
    return ok ? sqrt(largest * factor) * (1 + 1e-12) : INFINITY;
}
