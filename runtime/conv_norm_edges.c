/* The bound by edges: T'T, or TT', is a Toeplitz operator and corrections at sides and corners. docs/norms.md, "The bound by
 * edges", has the theorem; the letters are those of that page. */
#include "runtime/conv_norm.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* What an axis contributes: sum over entries of v e_x e_y' (k_t)'k_u. */
typedef struct {
    int t, u, x, y;
    double v;
} Entry;

typedef struct {
    Entry *entries;
    int64_t count, cells;
} Pattern;

/* Of an axis: far from its sides, few cells, the correction at a side. */
enum { FREE, SMALL, EDGE, KINDS };
enum { MOST_PATTERNS = 64, MOST_SAMPLES = 64, TYPES = KINDS * KINDS * KINDS };

typedef struct {
    Pattern pattern[MOST_PATTERNS];
    int kind[MOST_PATTERNS], count; /* pattern 0 is FREE and has no entries */
    int64_t degree, samples;        /* of the symbol in that axis */
    bool shared;                    /* the patterns are those of an axis before */
} Axis;

/* One kind for each axis: the largest eigenvalue of all patterns and frequencies. */
typedef struct {
    NormTop top;
    double frobenius; /* largest square of Frobenius' norm */
    int64_t largest[8];
    double bound, by_top, by_frobenius; /* of all frequencies, and its derivatives by the two */
    bool used;
} Term;

typedef struct {
    const NormFilter *f;
    Axis axis[3];
    Term term[TYPES];
    double *products[3][MOST_SAMPLES]; /* of slices with one FREE axis, by its sample */
    bool failed;
} Edges;

/* ---- patterns ------------------------------------------------------------------------------ */

/* Cell that output p reads by tap t on n cells; returns the sign, 0: nothing. */
static int read_cell(const NormFilter *f, int axis, int64_t n, int64_t p, int64_t t, int64_t *at) {
    *at = p * f->stride[axis] + norm_offset(f, axis, t);
    if (*at >= 0 && *at < n) return 1;
    switch (f->sides[axis][*at >= n]) {
    case PDN_SIDE_PERIODIC: *at = (*at % n + n) % n; return 1;
    case PDN_SIDE_ZERO: return 0;
    default: break;
    }
    int sign = f->sides[axis][*at >= n] == PDN_SIDE_ODD ? -1 : 1;
    *at = *at < 0 ? -1 - *at : 2 * n - 1 - *at;
    return sign;
}

/* Cells of the side whose Gram matrix is taken. */
static int64_t gram_cells(const NormFilter *f, int axis, int64_t n) {
    return f->transposed ? (n + f->stride[axis] - 1) / f->stride[axis] : n;
}

/* All of it, on n cells: m[t][u][x][y]. */
static void fill_pattern(const NormFilter *f, int axis, int64_t n, double *m) {
    int64_t outputs = (n + f->stride[axis] - 1) / f->stride[axis], size = f->size[axis];
    int64_t cells = gram_cells(f, axis, n);
    memset(m, 0, sizeof *m * (size_t)(size * size * cells * cells));
    for (int64_t p = 0; p < outputs; p++)
        for (int64_t t = 0; t < size; t++) {
            int64_t x, y;
            int s = read_cell(f, axis, n, p, t, &x);
            for (int64_t u = 0; s && u < size; u++) {
                if (!f->transposed) {
                    int r = read_cell(f, axis, n, p, u, &y);
                    if (r) m[((t * size + u) * cells + x) * cells + y] += s * r;
                    continue;
                }
                for (int64_t q = 0; q < outputs; q++) {
                    int r = read_cell(f, axis, n, q, u, &y);
                    if (r && x == y) m[((t * size + u) * cells + p) * cells + q] += s * r;
                }
            }
        }
}

/* Takes the Toeplitz part away: what is left is at the sides. */
static void subtract_toeplitz(const NormFilter *f, int axis, int64_t n, double *m) {
    int64_t size = f->size[axis], cells = gram_cells(f, axis, n);
    for (int64_t t = 0; t < size; t++)
        for (int64_t u = 0; u < size; u++) {
            int64_t delta = norm_offset(f, axis, u) - norm_offset(f, axis, t);
            if (f->transposed) delta = -delta;
            if (delta % f->stride[axis]) continue;
            delta /= f->stride[axis];
            for (int64_t x = 0; x < cells; x++)
                if (x + delta >= 0 && x + delta < cells)
                    m[((t * size + u) * cells + x) * cells + x + delta] -= 1;
        }
}

/* Adds a pattern: the entries of m in cells first … last, which it numbers from 0. */
static bool add_pattern(Axis *axis, int kind, const double *m, int64_t size, int64_t cells,
                        int64_t first, int64_t last) {
    if (axis->count == MOST_PATTERNS) return false;
    Pattern *p = &axis->pattern[axis->count];
    int64_t found = 0;
    for (int pass = 0; pass < 2; pass++) {
        int64_t at = 0;
        for (int64_t i = 0; i < size * size * cells * cells; i++) {
            int64_t y = i % cells, x = i / cells % cells, u = i / cells / cells % size;
            if (m[i] == 0 || x < first || x > last || y < first || y > last) continue;
            if (pass == 1)
                p->entries[at] = (Entry){(int)(i / cells / cells / size), (int)u, (int)(x - first),
                                         (int)(y - first), m[i]};
            at++;
        }
        found = at;
        if (pass == 0) p->entries = malloc(sizeof(Entry) * (size_t)(at + 1));
        if (!p->entries) return false;
    }
    p->count = found;
    p->cells = last - first + 1;
    axis->kind[axis->count++] = kind;
    return true;
}

/* The corrections at the sides of n cells; n is large enough for them not to meet. */
static bool add_edges(const NormFilter *f, int a, Axis *axis, int64_t n, bool low, double *m) {
    int64_t size = f->size[a], cells = gram_cells(f, a, n), half = cells / 2;
    fill_pattern(f, a, n, m);
    subtract_toeplitz(f, a, n, m);
    bool apart = true;
    int64_t end[2] = {-1,
                      cells}; /* the last cell of the low correction, the first of the high one */
    for (int64_t i = 0; i < size * size * cells * cells; i++) {
        int64_t y = i % cells, x = i / cells % cells;
        if (m[i] == 0) continue;
        apart = apart && (x < half) == (y < half);
        if (x < half && x > end[0]) end[0] = x;
        if (x >= half && x < end[1]) end[1] = x;
    }
    if (!apart) return add_pattern(axis, EDGE, m, size, cells, 0, cells - 1);
    bool ok = true;
    if (low && end[0] >= 0) ok = add_pattern(axis, EDGE, m, size, cells, 0, end[0]);
    if (end[1] < cells) ok = ok && add_pattern(axis, EDGE, m, size, cells, end[1], cells - 1);
    return ok;
}

/* Is the axis, on every grid, part of a Toeplitz operator or a circulant? */
static bool is_plain(const NormFilter *f, int a) {
    if (f->size[a] == 1 && f->stride[a] == 1) return true;
    if (f->sides[a][0] == PDN_SIDE_PERIODIC) return f->stride[a] == 1;
    return f->sides[a][0] == PDN_SIDE_ZERO && f->sides[a][1] == PDN_SIDE_ZERO;
}

static bool make_axis(const NormFilter *f, int a, Axis *axis) {
    axis->count = 1; /* FREE */
    if (is_plain(f, a)) return true;
    int64_t reach = f->high[a], least = reach > 1 ? reach : 1,
            many = 4 * reach + 2 * (f->stride[a] - 1);
    if (many < least) many = least;
    if (many - least + 4 >= MOST_PATTERNS) return false;
    int64_t size = f->size[a];
    double *m = malloc(sizeof *m * (size_t)(size * size * (many + 1) * (many + 1)));
    bool ok = m, periodic = f->sides[a][0] == PDN_SIDE_PERIODIC;
    for (int64_t n = many - 1; ok && n >= least; n--) {
        fill_pattern(f, a, n, m);
        ok = add_pattern(axis, SMALL, m, size, gram_cells(f, a, n), 0, gram_cells(f, a, n) - 1);
    }
    /* with a stride the high side depends on the extent's parity; a periodic axis is a circulant if it is even */
    for (int64_t n = many; ok && n < many + f->stride[a]; n++)
        if (!periodic || n % 2 == 1) ok = add_edges(f, a, axis, n, n == many, m);
    free(m);
    return ok;
}

static void edges_free(Edges *e) {
    for (int a = 0; a < 3; a++) {
        for (int i = 1; i < e->axis[a].count && !e->axis[a].shared; i++)
            free(e->axis[a].pattern[i].entries);
        for (int i = 0; i < MOST_SAMPLES; i++) free(e->products[a][i]);
    }
    for (int i = 0; i < TYPES; i++) norm_top_free(&e->term[i].top);
}

/* ---- matrices ------------------------------------------------------------------------------- */

/* The filter at a frequency of its FREE axes: [tap of the others][row, residue of the stride][column], complex. */
typedef struct {
    int64_t size[3], taps, rows, n;
    bool real;
    double *re, *im;
} Slice;

/* Where tap t goes, in which residue of the stride, with which phase. */
static void slice_tap(const Edges *e, const Slice *s, const int64_t at[6], int64_t tap, int64_t *to,
                      int64_t *residue, double *phase) {
    const NormFilter *f = e->f;
    int64_t t[3];
    *to = *residue = 0;
    *phase = 0;
    for (int a = 0; a < 3; a++) {
        t[a] = tap % f->size[a];
        tap /= f->size[a];
    }
    for (int a = 2; a >= 0; a--) {
        if (at[a] > 0) {
            *to = *to * s->size[a] + t[a];
            continue;
        }
        int64_t cells = t[a] * f->dilation[a];
        *residue = *residue * f->stride[a] + cells % f->stride[a];
        *phase += 2 * M_PI * (double)(at[3 + a]) * (double)cells /
                  (double)(f->stride[a] * norm_lag_unit(f, a) * e->axis[a].samples);
    }
}

/* at: the pattern of each axis, then the sample of each FREE one. */
static Slice slice_shape(const Edges *e, const int64_t at[6]) {
    const NormFilter *f = e->f;
    Slice s = {.taps = 1, .rows = f->rows, .n = f->columns, .real = true};
    for (int a = 0; a < 3; a++) {
        s.size[a] = at[a] > 0 ? f->size[a] : 1;
        s.taps *= s.size[a];
        if (at[a] > 0) continue;
        s.rows *= f->stride[a];
        if (at[3 + a] > 0) s.real = false;
    }
    return s;
}

static bool fill_slice(const Edges *e, const int64_t at[6], Slice *s) {
    const NormFilter *f = e->f;
    int64_t block = f->rows * f->columns;
    size_t count = (size_t)(s->taps * s->rows * s->n);
    s->re = calloc(2 * count, sizeof *s->re);
    s->im = s->re + count;
    for (int64_t tap = 0; s->re && tap < norm_taps(f); tap++) {
        int64_t to, residue;
        double phase;
        slice_tap(e, s, at, tap, &to, &residue, &phase);
        double c = cos(phase), d = sin(phase);
        int64_t place = (to * s->rows + residue * f->rows) * s->n;
        double *re = s->re + place, *im = s->im + place;
        const double *from = f->weights + tap * block;
        for (int64_t i = 0; i < block; i++) re[i] += c * from[i];
        if (s->real) continue;
        for (int64_t i = 0; i < block; i++) im[i] += d * from[i];
    }
    return s->re;
}

/* q[t][u] = k_t* k_u, n x n; real parts, then imaginary ones if the slice is not real. */
static double *slice_products(const Slice *s) {
    int64_t n = s->n, square = n * n, block = s->real ? square : 2 * square;
    double *q = calloc((size_t)(s->taps * s->taps * block), sizeof *q);
    for (int64_t tu = 0; q && tu < s->taps * s->taps; tu++) {
        double *to = q + tu * block;
        const double *ar = s->re + tu / s->taps * s->rows * n,
                     *ai = s->im + tu / s->taps * s->rows * n;
        const double *br = s->re + tu % s->taps * s->rows * n,
                     *bi = s->im + tu % s->taps * s->rows * n;
        if (tu % s->taps < tu / s->taps) { /* k_t* k_u is the adjoint of k_u* k_t, made before */
            const double *from = q + (tu % s->taps * s->taps + tu / s->taps) * block;
            for (int64_t i = 0; i < n; i++)
                for (int64_t j = 0; j < n; j++) {
                    to[i * n + j] = from[j * n + i];
                    if (!s->real) to[square + i * n + j] = -from[square + j * n + i];
                }
            continue;
        }
        for (int64_t o = 0; n == 1 && o < s->rows; o++) {
            to[0] += ar[o] * br[o] + ai[o] * bi[o];
            if (!s->real) to[1] += ar[o] * bi[o] - ai[o] * br[o];
        }
        for (int64_t o = 0; n > 1 && o < s->rows; o++)
            for (int64_t i = 0; i < n; i++) {
                double x = ar[o * n + i], y = ai[o * n + i];
                const double *b = br + o * n, *d = bi + o * n;
                for (int64_t j = 0; j < n; j++) to[i * n + j] += x * b[j] + y * d[j];
                if (s->real) continue;
                for (int64_t j = 0; j < n; j++) to[square + i * n + j] += x * d[j] - y * b[j];
            }
    }
    return q;
}

/* Runs over the products of the entries of the axes that are not FREE. */
typedef struct {
    const Pattern *pattern[3]; /* NULL: FREE */
    int64_t i[3];
    int64_t t, u, x, y; /* combined */
    double v;
} Walk;

static bool walk_next(Walk *w, const Slice *s, bool first) {
    for (int a = 0; a < 3; a++) {
        if (first) {
            w->i[a] = 0;
            if (w->pattern[a] && w->pattern[a]->count == 0) return false;
        } else if (w->pattern[a]) {
            if (++w->i[a] < w->pattern[a]->count) break;
            w->i[a] = 0;
            if (a == 2) return false;
        } else if (a == 2) {
            return false;
        }
    }
    w->t = w->u = w->x = w->y = 0;
    w->v = 1;
    for (int a = 2; a >= 0; a--) {
        if (!w->pattern[a]) continue;
        const Entry *e = &w->pattern[a]->entries[w->i[a]];
        w->t = w->t * s->size[a] + e->t;
        w->u = w->u * s->size[a] + e->u;
        w->x = w->x * w->pattern[a]->cells + e->x;
        w->y = w->y * w->pattern[a]->cells + e->y;
        w->v *= e->v;
    }
    return true;
}

static int64_t walk_start(const Edges *e, const int64_t at[6], Walk *w) {
    int64_t cells = 1;
    *w = (Walk){.v = 1};
    for (int a = 0; a < 3; a++) {
        w->pattern[a] = at[a] > 0 ? &e->axis[a].pattern[at[a]] : NULL;
        if (w->pattern[a]) cells *= w->pattern[a]->cells;
    }
    return cells;
}

/* One axis contracted with its pattern: from in[t][u][block], t = rest size + t_a, to out[rest][rest][x][y][block]. */
static double *contract(const double *in, int64_t taps, int64_t size, const Pattern *p,
                        int64_t block) {
    int64_t rest = taps / size, cells = p->cells;
    double *out = calloc((size_t)(rest * rest * cells * cells * block), sizeof *out);
    for (int64_t tu = 0; out && tu < rest * rest; tu++) {
        const double *corner = in + (tu / rest * size * taps + tu % rest * size) * block;
        double *to = out + tu * cells * cells * block;
        for (int64_t k = 0; k < p->count; k++) {
            const Entry *e = &p->entries[k];
            const double *from = corner + (e->t * taps + e->u) * block;
            double *here = to + (e->x * cells + e->y) * block, v = e->v;
            if (block == 1)
                here[0] += v * from[0];
            else
                for (int64_t i = 0; i < block; i++) here[i] += v * from[i];
        }
    }
    return out;
}

/* The matrix of what all axes were contracted to, [x2][y2][x1][y1][x0][y0][re, im][n][n], the imaginary parts embedded. */
static double *assemble(const double *c, const int64_t cells[3], int64_t n, bool real,
                        int64_t *order) {
    int64_t half = cells[0] * cells[1] * cells[2] * n;
    *order = real ? half : 2 * half;
    double *a = malloc(sizeof *a * (size_t)(*order * *order));
    if (!a) return NULL;
    int64_t n0 = cells[0], n1 = cells[1], n2 = cells[2];
    for (int64_t k = 0; k < n2 * n2 * n1 * n1 * n0; k++) {
        int64_t x0 = k % n0, y1 = k / n0 % n1, x1 = k / n0 / n1 % n1, y2 = k / n0 / n1 / n1 % n2;
        int64_t x2 = k / n0 / n1 / n1 / n2;
        double *to = a + (((x2 * n1 + x1) * n0 + x0) * *order + (y2 * n1 + y1) * n0) * n;
        if (n == 1 && real) {
            memcpy(to, c, sizeof *to * (size_t)n0);
            c += n0;
            continue;
        }
        for (int64_t y0 = 0; y0 < n0; y0++, to += n)
            for (int64_t i = 0; i < n; i++) {
                for (int64_t j = 0; j < n; j++) to[i * *order + j] = *c++;
                if (!real && i == n - 1) {
                    for (int64_t l = 0; l < n; l++)
                        for (int64_t j = 0; j < n; j++, c++) {
                            to[(half + l) * *order + half + j] = to[l * *order + j];
                            to[(half + l) * *order + j] = *c;
                            to[l * *order + half + j] = -*c;
                        }
                }
            }
    }
    return a;
}

/* The matrix of given patterns, from the products q of the slice. */
static double *make_matrix(const Edges *e, const int64_t at[6], const Slice *s, const double *q,
                           int64_t *order) {
    int64_t block = s->n * s->n * (s->real ? 1 : 2), taps = s->taps, cells[3] = {1, 1, 1};
    const double *now = q;
    double *made = NULL;
    for (int a = 0; a < 3; a++) {
        if (at[a] == 0) continue;
        const Pattern *p = &e->axis[a].pattern[at[a]];
        double *next = contract(now, taps, s->size[a], p, block);
        free(made);
        now = made = next;
        if (!made) return NULL;
        taps /= s->size[a];
        cells[a] = p->cells;
        block *= p->cells * p->cells;
    }
    double *a = assemble(now, cells, s->n, s->real, order);
    free(made);
    return a;
}

/* ---- the search ------------------------------------------------------------------------------- */

static int kind_of(int type, int axis) {
    return axis == 0 ? type % KINDS : axis == 1 ? type / KINDS % KINDS : type / KINDS / KINDS;
}
static bool has_edge(int type) {
    return kind_of(type, 0) == EDGE || kind_of(type, 1) == EDGE || kind_of(type, 2) == EDGE;
}

static void offer(Edges *e, int type, const int64_t at[6], const Slice *s, const double *c,
                  const int64_t cells[3]) {
    int64_t order, where[8] = {at[0], at[1], at[2], at[3], at[4], at[5]};
    double *a = assemble(c, cells, s->n, s->real, &order);
    if (!a) {
        e->failed = true;
        return;
    }
    Term *term = &e->term[type];
    norm_top_offer(&term->top, a, order, where);
    if (has_edge(type)) {
        double sum = 0;
        for (int64_t i = 0; i < order * order; i++) sum += a[i] * a[i];
        if (!s->real) sum /= 2;
        if (sum > term->frobenius) {
            term->frobenius = sum;
            memcpy(term->largest, where, sizeof where);
        }
    }
    free(a);
}

/* All patterns of that type in axes axis … 2, those before are contracted. */
static void offer_axis(Edges *e, int type, int axis, int64_t at[6], const Slice *s, const double *c,
                       int64_t taps, int64_t block, int64_t cells[3]) {
    if (axis == 3) {
        offer(e, type, at, s, c, cells);
        return;
    }
    at[axis] = 0;
    cells[axis] = 1;
    if (kind_of(type, axis) == FREE) {
        offer_axis(e, type, axis + 1, at, s, c, taps, block, cells);
        return;
    }
    for (int i = 1; i < e->axis[axis].count; i++) {
        if (e->axis[axis].kind[i] != kind_of(type, axis)) continue;
        const Pattern *p = &e->axis[axis].pattern[i];
        double *next = contract(c, taps, s->size[axis], p, block);
        at[axis] = i;
        cells[axis] = p->cells;
        if (next)
            offer_axis(e, type, axis + 1, at, s, next, taps / s->size[axis],
                       block * p->cells * p->cells, cells);
        else
            e->failed = true;
        free(next);
    }
}

/* Where the products of a slice are kept: those with one FREE axis are wanted again. */
static double **kept_products(Edges *e, const int64_t at[6]) {
    int only = -1;
    for (int a = 0; a < 3; a++) {
        if (e->axis[a].samples == 1 && e->axis[a].count > 1)
            return NULL; /* FREE or not: the same place */
        if (at[a] > 0 || e->axis[a].samples == 1) continue;
        if (only >= 0) return NULL;
        only = a;
    }
    return only >= 0 && at[3 + only] < MOST_SAMPLES ? &e->products[only][at[3 + only]] : NULL;
}

/* All patterns of that type, at one frequency. */
static void offer_patterns(Edges *e, int type, int64_t at[6]) {
    int64_t cells[3];
    for (int a = 0; a < 3; a++) at[a] = kind_of(type, a) == FREE ? 0 : 1;
    Slice s = slice_shape(e, at);
    double **kept = kept_products(e, at), *q = kept ? *kept : NULL;
    if (!q && fill_slice(e, at, &s)) q = slice_products(&s);
    if (q)
        offer_axis(e, type, 0, at, &s, q, s.taps, s.n * s.n * (s.real ? 1 : 2), cells);
    else
        e->failed = true;
    free(s.re);
    if (kept)
        *kept = q;
    else
        free(q);
}

/* From the samples to all frequencies: lemma 1, and lemma 3 for what may be indefinite. */
static void finish_term(const Edges *e, int type) {
    Term *term = (Term *)&e->term[type];
    term->bound = term->top.bound;
    term->by_top = 1;
    term->by_frobenius = 0;
    double frobenius = term->frobenius, factor = 1;
    for (int a = 0; a < 3; a++)
        if (kind_of(type, a) == FREE)
            factor *= norm_sample_factor(2 * e->axis[a].degree, e->axis[a].samples);
    frobenius = sqrt(frobenius * factor);
    for (int a = 0; a < 3; a++) {
        const Axis *x = &e->axis[a];
        if (kind_of(type, a) != FREE || x->degree == 0) continue;
        if (!has_edge(type)) {
            term->bound *= norm_sample_factor(x->degree, x->samples);
            term->by_top *= norm_sample_factor(x->degree, x->samples);
            continue;
        }
        double c = cos(M_PI * (double)x->degree / (double)x->samples);
        term->bound = (2 * term->bound + frobenius * (1 - c)) / (1 + c);
        term->by_top *= 2 / (1 + c);
        term->by_frobenius = (2 * term->by_frobenius + sqrt(factor) * (1 - c)) / (1 + c);
    }
}

/* Offers all patterns and frequencies of a type; what stays below `start` does not matter. */
static void search(Edges *e, int type, double start) {
    Term *term = &e->term[type];
    int64_t last[3], at[6] = {0};
    bool halved = false;
    double factor = 1;
    for (int a = 0; a < 3; a++) {
        last[a] = 0;
        if (kind_of(type, a) != FREE) continue;
        last[a] = e->axis[a].samples - 1;
        if (!halved && last[a] > 0) {
            last[a] = e->axis[a].samples / 2;
            halved = true;
        }
        if (!has_edge(type)) factor *= norm_sample_factor(e->axis[a].degree, e->axis[a].samples);
    }
    term->used = true;
    term->top.bound = start > 0 ? start / factor : 0;
    int64_t count[3] = {last[0] + 1, last[1] + 1, last[2] + 1};
    for (int64_t i = 0; i < count[0] * count[1] * count[2]; i++) {
        at[3] = norm_scatter(i % count[0], count[0]);
        at[4] = norm_scatter(i / count[0] % count[1], count[1]);
        at[5] = norm_scatter(i / count[0] / count[1], count[2]);
        offer_patterns(e, type, at);
    }
    finish_term(e, type);
    e->failed = e->failed || term->top.failed;
}

/* ---- gradient ------------------------------------------------------------------------------ */

/* Adds scale times the derivative of l* A r by the second of its two filters, twice. */
static void bilinear_gradient(const Edges *e, const int64_t at[6], const Slice *s, const double *l,
                              const double *r, double scale, double *by_re, double *by_im) {
    Walk w;
    int64_t n = s->n, half = walk_start(e, at, &w) * n;
    for (bool more = walk_next(&w, s, true); more; more = walk_next(&w, s, false)) {
        const double *kr = s->re + w.t * s->rows * n, *ki = s->im + w.t * s->rows * n;
        const double *lr = l + w.x * n, *rr = r + w.y * n;
        for (int64_t o = 0; o < s->rows; o++) {
            double x = 0, y = 0; /* (k_t l)_o */
            for (int64_t i = 0; i < n; i++) {
                x += kr[o * n + i] * lr[i];
                if (s->real) continue;
                x -= ki[o * n + i] * lr[half + i];
                y += kr[o * n + i] * lr[half + i] + ki[o * n + i] * lr[i];
            }
            if (x == 0 && y == 0) continue;
            double *gr = by_re + (w.u * s->rows + o) * n, *gi = by_im + (w.u * s->rows + o) * n;
            for (int64_t i = 0; i < n; i++) { /* Re of conj(x + i y) (re + i im) r */
                double p = rr[i], q = s->real ? 0 : rr[half + i];
                gr[i] += 2 * scale * w.v * (x * p + y * q);
                gi[i] += 2 * scale * w.v * (y * p - x * q);
            }
        }
    }
}

/* Adds scale times the derivative of v'Av, or without v of Frobenius' norm, by the weights. */
static bool add_gradient(const Edges *e, const int64_t *at, const double *v, double scale,
                         double *gradient) {
    const NormFilter *f = e->f;
    Slice s = slice_shape(e, at);
    if (!fill_slice(e, at, &s)) return false;
    size_t count = (size_t)(s.taps * s.rows * s.n);
    double *by = calloc(2 * count, sizeof *by), *a = NULL, *q = NULL, *unit = NULL;
    int64_t order;
    bool ok = by;
    if (ok && v) bilinear_gradient(e, at, &s, v, v, scale, by, by + count);
    if (ok && !v) {
        q = slice_products(&s);
        a = q ? make_matrix(e, at, &s, q, &order) : NULL;
        unit = a ? calloc((size_t)order, sizeof *unit) : NULL;
        ok = unit;
        double norm = 0;
        for (int64_t i = 0; ok && i < order * order; i++) norm += a[i] * a[i];
        if (!s.real) norm *= 2; /* of the embedded matrix, twice the square of the complex one */
        for (int64_t m = 0; ok && m < order; m++) {
            unit[m] = 1;
            bilinear_gradient(e, at, &s, unit, a + m * order, scale / sqrt(norm), by, by + count);
            unit[m] = 0;
        }
    }
    int64_t block = f->rows * f->columns;
    for (int64_t tap = 0; ok && tap < norm_taps(f); tap++) {
        int64_t to, residue;
        double phase;
        slice_tap(e, &s, at, tap, &to, &residue, &phase);
        double c = cos(phase), d = sin(phase);
        int64_t place = (to * s.rows + residue * f->rows) * s.n;
        for (int64_t i = 0; i < block; i++)
            gradient[tap * block + i] += c * by[place + i] + d * by[(int64_t)count + place + i];
    }
    free(by);
    free(a);
    free(q);
    free(unit);
    free(s.re);
    return ok;
}

/* ---- the bound --------------------------------------------------------------------------------- */

/* The types that add up for grids whose axes of the set `small` have few cells. */
static double sum_types(const Edges *e, int small, double *gradient, bool *ok) {
    double sum = 0;
    for (int edges = 0; edges < 8; edges++) {
        int type = 0, power = 1;
        bool fits = (edges & small) == 0;
        for (int a = 0; a < 3; a++, power *= KINDS) {
            if (small >> a & 1) type += SMALL * power;
            if (!(edges >> a & 1)) continue;
            fits = fits && e->axis[a].count > 1;
            type += EDGE * power;
        }
        if (!fits) continue;
        const Term *term = &e->term[type];
        sum += term->bound;
        if (!gradient || type == 0) continue;
        if (term->top.vector)
            *ok = *ok && add_gradient(e, term->top.where, term->top.vector, term->by_top, gradient);
        if (term->by_frobenius > 0 && term->frobenius > 0)
            *ok = *ok && add_gradient(e, term->largest, NULL, term->by_frobenius, gradient);
    }
    return sum;
}

/* Numbers of operations, roughly. */
static double price(const Edges *e) {
    double sum = 0, n = (double)e->f->columns;
    for (int type = 1; type < TYPES; type++) {
        double cube = 1, entries = n * n;
        bool fits = true, free_axis = false;
        for (int a = 0; a < 3; a++) {
            double here = 0, walks = 0;
            for (int i = 0; i < e->axis[a].count; i++) {
                if (e->axis[a].kind[i] != kind_of(type, a)) continue;
                double cells = i ? (double)e->axis[a].pattern[i].cells : 1;
                here += cells * cells * cells;
                walks += i ? (double)e->axis[a].pattern[i].count : 1;
            }
            if (kind_of(type, a) == FREE && e->axis[a].samples > 1) {
                here *= (double)e->axis[a].samples;
                walks *= (double)e->axis[a].samples;
                free_axis = true;
            }
            fits = fits && here > 0;
            cube *= here;
            entries *= walks;
        }
        if (fits) sum += cube * n * n * n * (free_axis ? 4 : 1) / 3 + entries * (free_axis ? 2 : 1);
    }
    return sum;
}

static bool same_axis(const NormFilter *f, int a, int b) {
    return f->size[a] == f->size[b] && f->stride[a] == f->stride[b] &&
           f->dilation[a] == f->dilation[b] && f->sides[a][0] == f->sides[b][0] &&
           f->sides[a][1] == f->sides[b][1];
}

static bool prepare(Edges *e, const NormFilter *f) {
    *e = (Edges){.f = f};
    bool ok = true;
    int axes = 0;
    for (int a = 0; a < 3; a++) {
        int64_t lag;
        for (int b = 0; b < a; b++)
            if (same_axis(f, a, b) && ok) {
                e->axis[a] = e->axis[b];
                e->axis[a].shared = true;
            }
        ok = (e->axis[a].shared || make_axis(f, a, &e->axis[a])) && ok;
        e->axis[a].degree = 0;
        for (int64_t d = f->size[a] - 1; d > 0 && e->axis[a].degree == 0; d--)
            if (d * f->dilation[a] % f->stride[a] == 0) {
                lag = d * f->dilation[a] / f->stride[a] / norm_lag_unit(f, a);
                e->axis[a].degree = lag;
            }
        axes += e->axis[a].degree > 0;
    }
    for (int a = 0; a < 3; a++) {
        int64_t degree = e->axis[a].degree, samples = axes < 3 ? (f->columns == 1 ? 40 : 24) : 12;
        e->axis[a].samples = degree == 0 ? 1 : samples > 4 * degree ? samples : 4 * degree;
    }
    return ok;
}

double norm_square_edges(const NormFilter *f, double enough, double *gradient) {
    Edges *e = malloc(sizeof *e);
    if (!e) return INFINITY;
    double best = INFINITY;
    int best_small = 0;
    bool ok = prepare(e, f) && price(e) < 1e8;
    if (ok) {
        /* without small axes first: then the rest need only be compared with that */
        e->term[0].bound = norm_square_fourier(f, NULL);
        ok = e->term[0].bound < enough;
        for (int small = 0; ok && small < 8; small++) {
            bool fits = true;
            int type = 0, power = 1;
            for (int a = 0; a < 3; a++, power *= KINDS)
                if (small >> a & 1) {
                    fits = fits && e->axis[a].count > 1 && e->axis[a].kind[1] == SMALL;
                    type += SMALL * power;
                }
            if (!fits) continue;
            double others = 0;
            for (int edges = 1; edges < 8; edges++) {
                int t = type;
                bool there = (edges & small) == 0;
                power = 1;
                for (int a = 0; a < 3; a++, power *= KINDS)
                    if (edges >> a & 1) {
                        there = there && e->axis[a].count > 1;
                        t += EDGE * power;
                    }
                if (!there) continue;
                if (!e->term[t].used) search(e, t, 0);
                others += e->term[t].bound;
            }
            if (type > 0) search(e, type, best - others);
            double sum = sum_types(e, small, NULL, &ok);
            if (small == 0 || (sum > best && e->term[type].top.vector)) {
                best = sum;
                best_small = small;
            }
        }
        ok = ok && !e->failed;
    }
    if (ok && gradient) {
        memset(gradient, 0, sizeof *gradient * (size_t)(norm_taps(f) * f->rows * f->columns));
        if (!(best_small)) ok = norm_square_fourier(f, gradient) < INFINITY;
        sum_types(e, best_small, gradient, &ok);
    }
    edges_free(e);
    free(e);
    return ok ? best : INFINITY;
}
