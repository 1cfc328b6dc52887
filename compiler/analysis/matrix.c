/* Sparse matrices of operators, found by impulses, and bounds of their norms. */
#include "compiler/analysis/operator.h"
#include "compiler/ops/eval.h"

#include <fenv.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- impulses ------------------------------------------------------------------------ */

typedef struct {
    uint32_t row, column;
    double value;
} Entry;

typedef VEC(Entry) Entries;

static int entry_compare(const void *left, const void *right) {
    const Entry *a = left, *b = right;
    return a->column < b->column ? -1 : a->column > b->column;
}

/* By rows (counting), then by columns in each row. */
static void sort_entries(Entries *entries, uint32_t rows) {
    uint32_t *first = mem_alloc(sizeof *first * (rows + 2));
    Entry *sorted = mem_alloc(sizeof *sorted * (entries->len + 1));
    memset(first, 0, sizeof *first * (rows + 2));
    for (uint32_t i = 0; i < entries->len; i++) first[entries->data[i].row + 2]++;
    for (uint32_t r = 2; r < rows + 2; r++) first[r] += first[r - 1];
    for (uint32_t i = 0; i < entries->len; i++)
        sorted[first[entries->data[i].row + 1]++] = entries->data[i];
    for (uint32_t r = 0; r < rows; r++)
        if (first[r + 1] - first[r] > 1)
            qsort(sorted + first[r], first[r + 1] - first[r], sizeof *sorted, entry_compare);
    if (entries->len) memcpy(entries->data, sorted, sizeof *sorted * entries->len);
    mem_free(first);
    mem_free(sorted);
}

/* Rows in order; entries of the same place are added. */
static Sparse from_entries(Entries *entries, uint32_t rows, uint32_t columns, bool exact,
                           Arena *arena) {
    Sparse a = {.rows = rows, .columns = columns, .exact = exact};
    sort_entries(entries, rows);
    a.start = ARENA_ARRAY(arena, uint32_t, rows + 1);
    a.index = ARENA_ARRAY(arena, uint32_t, entries->len + 1);
    a.value = ARENA_ARRAY(arena, double, entries->len + 1);
    uint32_t count = 0;
    for (uint32_t i = 0; i < entries->len; i++) {
        const Entry *e = &entries->data[i];
        bool again = i > 0 && e[-1].row == e->row && e[-1].column == e->column;
        if (again) {
            a.value[count - 1] += e->value;
            continue;
        }
        a.index[count] = e->column;
        a.value[count++] = e->value;
        a.start[e->row + 1] = count;
    }
    for (uint32_t r = 0; r < rows; r++)
        if (a.start[r + 1] < a.start[r]) a.start[r + 1] = a.start[r];
    return a;
}

/* How far apart impulses of one run stand on each axis: the least divisor of the extent that
 * keeps them from meeting, also around a periodic side. */
static void spacing_of(const SmallGrid *grid, int64_t period[MAX_RANK]) {
    for (uint32_t a = 0; a < MAX_RANK; a++) {
        int64_t n = a < grid->rank ? grid->extent[a] : 1,
                p = a < grid->rank ? grid->low[a] + grid->high[a] + 1 : 1;
        while (p < n && n % p) p++;
        period[a] = p < n ? p : n;
    }
}

/* The impulse of run `colour` that the cell at i can see, along one axis: in [i - low, i - low +
 * period). */
static int64_t impulse_near(int64_t i, int64_t colour, int64_t period, int64_t low, int64_t n) {
    int64_t first = i - low, d = ((colour - first) % period + period) % period;
    return ((first + d) % n + n) % n;
}

typedef struct {
    Module *module;
    const SmallGrid *grid;
    Arena *arena;
    EvalOptions options;
    FuncId func;
    Array *args;
    Array *results;
    int64_t cells, period[MAX_RANK];
} Probe;

static bool run_colour(Probe *p, uint32_t param, uint32_t result, uint32_t channel,
                       const int64_t colour[MAX_RANK], Entries *entries) {
    const int64_t *n = p->grid->extent;
    Array *u = &p->args[param];
    int64_t q[MAX_RANK], i = 0;
    memset(u->data, 0, sizeof(double) * (size_t)u->size);
    for (q[2] = 0; q[2] < n[2]; q[2]++)
        for (q[1] = 0; q[1] < n[1]; q[1]++)
            for (q[0] = 0; q[0] < n[0]; q[0]++, i++)
                u->data[channel * p->cells + i] = q[0] % p->period[0] == colour[0] &&
                                                  q[1] % p->period[1] == colour[1] &&
                                                  q[2] % p->period[2] == colour[2];
    Arena *arena = arena_new();
    bool ok = eval_func(p->module, p->func, p->args, p->results, &p->options, arena) == 0;
    const Array *out = &p->results[result];
    int64_t rows = ok ? out->size / out->type.channels : 0;
    for (uint32_t c = 0; ok && c < out->type.channels; c++)
        for (i = 0, q[2] = 0; q[2] < n[2]; q[2]++)
            for (q[1] = 0; q[1] < n[1]; q[1]++)
                for (q[0] = 0; q[0] < n[0]; q[0]++, i++) {
                    double value = out->data[c * rows + i];
                    if (value == 0) continue;
                    int64_t at = 0;
                    for (int a = MAX_RANK - 1; a >= 0; a--)
                        at = at * n[a] +
                             impulse_near(q[a], colour[a], p->period[a], p->grid->low[a], n[a]);
                    Entry e = {(uint32_t)(c * rows + i), (uint32_t)(channel * p->cells + at),
                               value};
                    vec_push(entries, e);
                }
    arena_free(arena);
    return ok;
}

bool operator_matrix(Module *module, FuncId func, uint32_t param, uint32_t result,
                     const SmallGrid *grid, Arena *arena, Sparse *out) {
    const Func *f = graph_get(module, func);
    int64_t(*extents)[MAX_RANK] = mem_alloc(sizeof *extents * module->grids.len);
    for (GridId g = 0; g < module->grids.len; g++)
        for (int a = 0; a < MAX_RANK; a++) extents[g][a] = g == grid->grid ? grid->extent[a] : -1;
    Probe p = {.module = module, .grid = grid, .arena = arena, .func = func, .cells = 1};
    p.options.extents = (const int64_t(*)[MAX_RANK])extents;
    p.args = ARENA_ARRAY(arena, Array, f->params.len);
    p.results = ARENA_ARRAY(arena, Array, f->results.len);
    spacing_of(grid, p.period);
    for (int a = 0; a < MAX_RANK; a++) p.cells *= grid->extent[a];
    for (uint32_t i = 0; i < f->params.len; i++) {
        Type t = graph_node(f, f->params.data[i])->type;
        p.args[i] = (Array){t, 1, t.kind == TYPE_FIELD ? p.cells * t.channels : 1, NULL};
        p.args[i].data = ARENA_ARRAY(arena, double, p.args[i].size);
    }
    Entries entries = {0};
    Type in = p.args[param].type, to = graph_node(f, f->results.data[result])->type;
    feclearexcept(FE_INEXACT);
    bool ok = true;
    int64_t c[MAX_RANK];
    for (uint32_t channel = 0; channel < in.channels; channel++)
        for (c[2] = 0; c[2] < p.period[2]; c[2]++)
            for (c[1] = 0; c[1] < p.period[1]; c[1]++)
                for (c[0] = 0; c[0] < p.period[0]; c[0]++)
                    ok = ok && run_colour(&p, param, result, channel, c, &entries);
    bool exact = !fetestexcept(FE_INEXACT);
    *out = from_entries(&entries, (uint32_t)(p.cells * to.channels),
                        (uint32_t)(p.cells * in.channels), exact, arena);
    vec_free(&entries);
    mem_free(extents);
    return ok;
}

/* ---- algebra ---------------------------------------------------------------------------- */

Sparse sparse_transpose(const Sparse *a, Arena *arena) {
    Entries entries = {0};
    for (uint32_t r = 0; r < a->rows; r++)
        for (uint32_t k = a->start[r]; k < a->start[r + 1]; k++)
            vec_push(&entries, ((Entry){a->index[k], r, a->value[k]}));
    Sparse t = from_entries(&entries, a->columns, a->rows, a->exact, arena);
    vec_free(&entries);
    return t;
}

static void add_entries(Entries *entries, const Sparse *a, double factor) {
    for (uint32_t r = 0; r < a->rows; r++)
        for (uint32_t k = a->start[r]; k < a->start[r + 1]; k++)
            vec_push(entries, ((Entry){r, a->index[k], factor * a->value[k]}));
}

Sparse sparse_add(const Sparse *a, const Sparse *b, double factor, Arena *arena) {
    Entries entries = {0};
    feclearexcept(FE_INEXACT);
    if (a->rows) add_entries(&entries, a, 1);
    add_entries(&entries, b, factor);
    Sparse s =
        from_entries(&entries, b->rows, b->columns, b->exact && (!a->rows || a->exact), arena);
    s.exact = s.exact && !fetestexcept(FE_INEXACT);
    vec_free(&entries);
    return s;
}

Sparse sparse_multiply(const Sparse *a, const Sparse *b, Arena *arena) {
    Entries entries = {0};
    double *row = mem_alloc(sizeof *row * (b->columns + 1));
    uint32_t *used = mem_alloc(sizeof *used * (b->columns + 1));
    uint8_t *seen = mem_alloc(b->columns + 1);
    memset(row, 0, sizeof *row * b->columns);
    memset(seen, 0, b->columns);
    feclearexcept(FE_INEXACT);
    for (uint32_t r = 0; r < a->rows; r++) {
        uint32_t count = 0;
        for (uint32_t k = a->start[r]; k < a->start[r + 1]; k++)
            for (uint32_t j = b->start[a->index[k]]; j < b->start[a->index[k] + 1]; j++) {
                uint32_t c = b->index[j];
                if (!seen[c]) {
                    seen[c] = 1;
                    used[count++] = c;
                }
                row[c] += a->value[k] * b->value[j];
            }
        for (uint32_t i = 0; i < count; i++) {
            if (row[used[i]] != 0) vec_push(&entries, ((Entry){r, used[i], row[used[i]]}));
            row[used[i]] = 0;
            seen[used[i]] = 0;
        }
    }
    bool exact = a->exact && b->exact && !fetestexcept(FE_INEXACT);
    Sparse p = from_entries(&entries, a->rows, b->columns, exact, arena);
    vec_free(&entries);
    mem_free(row);
    mem_free(used);
    mem_free(seen);
    return p;
}

double sparse_largest(const Sparse *a) {
    double largest = 0;
    for (uint32_t k = 0; k < a->start[a->rows]; k++) largest = fmax(largest, fabs(a->value[k]));
    return largest;
}

/* ---- bounds ------------------------------------------------------------------------------ */

/* Largest absolute row sum. */
static double row_sums(const Sparse *a) {
    double largest = 0;
    for (uint32_t r = 0; r < a->rows; r++) {
        double sum = 0;
        for (uint32_t k = a->start[r]; k < a->start[r + 1]; k++) sum += fabs(a->value[k]);
        largest = fmax(largest, sum);
    }
    return largest;
}

/* y = |A| x */
static void multiply_abs(const Sparse *a, const double *x, double *y) {
    for (uint32_t r = 0; r < a->rows; r++) {
        double sum = 0;
        for (uint32_t k = a->start[r]; k < a->start[r + 1]; k++)
            sum += fabs(a->value[k]) * x[a->index[k]];
        y[r] = sum;
    }
}

/* The spectral radius of the nonnegative matrix |B| is at most max (|B| w)_i / w_i for any w >
 * 0. With `channels`, the weights are one number a channel, and the bound is that of every size. */
static double collatz_wielandt(const Sparse *b, uint32_t channels) {
    double *w = mem_alloc(sizeof *w * b->rows), *next = mem_alloc(sizeof *next * b->rows),
           best = INFINITY;
    uint32_t cells = channels ? b->rows / channels : 1;
    for (uint32_t i = 0; i < b->rows; i++) w[i] = 1;
    for (int step = 0; step < 40; step++) {
        double bound = 0, size = 0;
        multiply_abs(b, w, next);
        for (uint32_t i = 0; i < b->rows; i++) {
            bound = fmax(bound, next[i] / w[i]);
            size = fmax(size, next[i]);
        }
        best = fmin(best, bound);
        if (size == 0) break;
        for (uint32_t first = 0; first < b->rows; first += cells) {
            double largest = 0;
            for (uint32_t i = first; i < first + cells; i++) largest = fmax(largest, next[i]);
            for (uint32_t i = first; i < first + cells;
                 i++) /* a mean of both keeps it positive and from swinging */
                w[i] = fmax(0.5 * w[i] + 0.5 * largest / size, 1e-30);
        }
    }
    mem_free(w);
    mem_free(next);
    return best;
}

/* Outward: an exact sum of exact entries stays; else a relative widening that covers the few
 * roundings of an entry (against the largest sum, since entries may have cancelled) and of the
 * sums. */
static double outward(double bound, bool exact) { return exact ? bound : bound * (1 + 1e-13); }

/* The root of a sum, which is exact or was widened: outward. */
static double root_up(double x) {
    double r = sqrt(x);
    return fma(r, r, -x) < 0 ? nextafter(r, INFINITY) : r;
}

enum { COLLATZ_SIZE = 4096 };

double sparse_norm_bound(const Sparse *a, bool actual, uint32_t channels, Arena *arena,
                         const char **theorem) {
    Sparse t = sparse_transpose(a, arena);
    feclearexcept(FE_INEXACT);
    double rows = row_sums(a), columns = row_sums(&t);
    bool exact = a->exact && !fetestexcept(FE_INEXACT);
    rows = outward(rows, exact);
    columns = outward(columns, exact);
    double product = rows * columns;
    bool rounded = fma(rows, columns, -product) != 0;
    double schur =
        rows == columns ? rows : root_up(rounded ? nextafter(product, INFINITY) : product);
    *theorem = "Schur test";
    if (schur == 0 || !isfinite(schur)) return schur;
    /* the same test on AᵀA, which is symmetric */
    Sparse b = sparse_multiply(&t, a, arena);
    feclearexcept(FE_INEXACT);
    double square = row_sums(&b);
    exact = b.exact && !fetestexcept(FE_INEXACT);
    double gram = root_up(outward(square, exact));
    if (gram < schur) {
        schur = gram;
        *theorem = "Schur test of the normal operator";
    }
    if ((actual && b.rows <= COLLATZ_SIZE) || channels > 1) {
        double collatz = outward(root_up(collatz_wielandt(&b, actual ? 0 : channels)), false);
        if (collatz < schur * (1 - 1e-12)) {
            schur = collatz;
            *theorem = "Collatz-Wielandt";
        }
    }
    return schur;
}

/* ---- sizes -------------------------------------------------------------------------------- */

enum { MOST_SIZES = 1000, MOST_CELLS = 1 << 20 };

bool operator_sizes(Module *module, const SmallGrid *windows, const int64_t *enough,
                    VisitGrid *visit, void *context) {
    const Grid *g = &module->grids.data[windows->grid];
    int64_t low[MAX_RANK] = {1, 1, 1}, high[MAX_RANK] = {1, 1, 1}, sizes = 1, cells = 1;
    bool cut[MAX_RANK] = {false, false, false};
    SmallGrid small = *windows;
    for (uint32_t a = 0; a < g->rank; a++) {
        /* a multiple of the window, so that periodic sides fit the impulses */
        int64_t p = windows->low[a] + windows->high[a] + 1, full = (enough[a] + p - 1) / p * p;
        cut[a] = g->extent[a] < 0 || g->extent[a] > full;
        high[a] = cut[a] ? full : g->extent[a];
        low[a] = g->extent[a] < 0 ? 1 : high[a];
        sizes *= high[a] - low[a] + 1;
        cells *= high[a];
    }
    if (sizes > MOST_SIZES || cells > MOST_CELLS || sizes * cells > MOST_CELLS) return false;
    int64_t n[MAX_RANK];
    for (n[2] = low[2]; n[2] <= high[2]; n[2]++)
        for (n[1] = low[1]; n[1] <= high[1]; n[1]++)
            for (n[0] = low[0]; n[0] <= high[0]; n[0]++) {
                memcpy(small.extent, n, sizeof n);
                bool actual = true; /* or does an axis stand for all longer ones? */
                for (uint32_t a = 0; a < g->rank; a++)
                    actual = actual && !(cut[a] && n[a] == high[a]);
                if (!visit(context, &small, actual)) return false;
            }
    return true;
}
