/* The norm of a convolution with its boundary, on grids of every size: the least of several proved upper bounds.
 * docs/norms.md has the theorems and how tight they are. */
#include "runtime/conv_norm.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- lags of pairs of taps ------------------------------------------------------------ */

/* q += scale a'b; a and b are rows x n. */
static void add_product(double *q, const double *a, const double *b, int64_t rows, int64_t n,
                        double scale) {
    for (int64_t o = 0; o < rows; o++)
        for (int64_t i = 0; i < n; i++) {
            double c = scale * a[o * n + i];
            if (c == 0) continue;
            for (int64_t j = 0; j < n; j++) q[i * n + j] += c * b[o * n + j];
        }
}

static int64_t gcd(int64_t a, int64_t b) { return b == 0 ? (a < 0 ? -a : a) : gcd(b, a % b); }

static void tap_places(const NormFilter *f, int64_t tap, int64_t t[3]) {
    for (int a = 0; a < 3; a++) {
        t[a] = tap % f->size[a];
        tap /= f->size[a];
    }
}

/* Tap differences: of `delta` taps, is it a lag, and which, in units? */
static bool lag_of(const NormFilter *f, int axis, int64_t delta, int64_t *lag) {
    int64_t cells = delta * f->dilation[axis];
    *lag = cells / f->stride[axis] / norm_lag_unit(f, axis);
    return cells % f->stride[axis] == 0;
}

/* ---- Fourier's bound ------------------------------------------------------------------ */

/* The derivative of v*G(w)v by the weights. */
static void fourier_gradient(const NormFilter *f, const NormLags *l, const double where[3],
                             const double *v, double scale, double *gradient) {
    int64_t n = f->columns, taps = norm_taps(f), t[3], u[3], lag;
    for (int64_t p = 0; p < taps; p++)
        for (int64_t q = 0; q < taps; q++) {
            double phase = 0;
            bool meet = true;
            tap_places(f, p, t);
            tap_places(f, q, u);
            for (int a = 0; a < 3; a++) {
                meet = lag_of(f, a, u[a] - t[a], &lag) && meet;
                phase += (double)lag * where[a];
            }
            if (!meet) continue;
            double c = cos(phase), s = sin(phase);
            for (int64_t o = 0; o < f->rows;
                 o++) { /* 2 Re of conj(k_p v) k_q v exp(i phase), by k_q */
                const double *k = f->weights + (p * f->rows + o) * n;
                double re = 0, im = 0;
                for (int64_t i = 0; i < n; i++) {
                    re += k[i] * v[i];
                    im += k[i] * v[n + i];
                }
                double x = re * c + im * s, y = re * s - im * c;
                double *g = gradient + (q * f->rows + o) * n;
                for (int64_t i = 0; i < n; i++) g[i] += scale * 2 * (x * v[i] - y * v[n + i]);
            }
        }
}

double norm_square_fourier(const NormFilter *f, double *gradient) {
    int64_t n = f->columns, taps = norm_taps(f), t[3], u[3], lag;
    NormLags l = {.n = n};
    for (int a = 0; a < 3; a++)
        for (int64_t d = f->size[a] - 1; d > 0 && l.reach[a] == 0; d--)
            if (lag_of(f, a, d, &lag)) l.reach[a] = lag;
    if (!norm_lags_new(&l)) return INFINITY;
    for (int64_t p = 0; p < taps; p++)
        for (int64_t q = 0; q < taps; q++) {
            int64_t at = 0;
            bool meet = true;
            tap_places(f, p, t);
            tap_places(f, q, u);
            for (int a = 2; a >= 0; a--) {
                meet = lag_of(f, a, u[a] - t[a], &lag) && meet;
                at = at * norm_lags_length(&l, a) + lag + l.reach[a];
            }
            if (meet)
                add_product(l.q + at * n * n, f->weights + p * f->rows * n,
                            f->weights + q * f->rows * n, f->rows, n, 1);
        }
    double where[3], *v, factor;
    double bound = norm_symbol_bound(&l, where, &v, &factor);
    if (gradient) memset(gradient, 0, sizeof *gradient * (size_t)(taps * f->rows * n));
    if (gradient && v) fourier_gradient(f, &l, where, v, factor, gradient);
    if (gradient && !v && bound > 0) bound = INFINITY;
    free(v);
    free(l.q);
    return bound;
}

/* ---- the bound by parity --------------------------------------------------------------- */

/* A filter cut into its even and odd parts along the reflecting axes. Axis a of part p has the magnitudes 0 … reach of
 * offsets where it is reflecting, else all taps. */
typedef struct {
    const NormFilter *f;
    bool split[3];
    int64_t unit[3], reach[3], length[3], cells; /* cells: product of lengths */
    int parts;                                   /* 2^split axes; bit a of p: odd along axis a */
    double *part[8];                             /* [cell][row][column] */
    double *energy; /* [row][part]: root of the mean of the symbol's square */
} Parity;

/* Folds a tap to its magnitude and sign along a split axis. */
static int64_t fold_tap(const Parity *p, int axis, int64_t t, int *sign) {
    *sign = 1;
    if (!p->split[axis]) return t;
    int64_t offset = norm_offset(p->f, axis, t) / p->unit[axis];
    *sign = offset < 0 ? -1 : 1;
    return offset < 0 ? -offset : offset;
}

/* Where tap t stands in part q, and its share there; share 0: an odd part has nothing at 0. */
static double part_share(const Parity *p, int q, const int64_t t[3], int64_t *cell) {
    double share = 1;
    *cell = 0;
    for (int a = 2; a >= 0; a--) {
        int sign;
        int64_t at = fold_tap(p, a, t[a], &sign);
        *cell = *cell * p->length[a] + at;
        if (!p->split[a]) continue;
        bool odd = q >> a & 1;
        if (at == 0)
            share *= odd ? 0 : 1;
        else
            share *= odd ? 0.5 * sign : 0.5;
    }
    return share;
}

/* 1, or 2 where a cell of a part stands for two offsets. */
static double cell_weight(const Parity *p, int64_t cell) {
    double weight = 1;
    for (int a = 0; a < 3; a++) {
        if (p->split[a] && cell % p->length[a] > 0) weight *= 2;
        cell /= p->length[a];
    }
    return weight;
}

static void parity_free(Parity *p) {
    for (int q = 0; q < 8; q++) free(p->part[q]);
    free(p->energy);
}

static bool parity_new(Parity *p, const NormFilter *f) {
    *p = (Parity){.f = f, .cells = 1, .parts = 1};
    for (int a = 0; a < 3; a++) {
        p->split[a] =
            f->size[a] > 1 && (f->sides[a][0] == PDN_SIDE_EVEN || f->sides[a][0] == PDN_SIDE_ODD ||
                               f->sides[a][1] == PDN_SIDE_EVEN || f->sides[a][1] == PDN_SIDE_ODD);
        p->length[a] = f->size[a];
        if (p->split[a]) {
            for (int64_t t = 0; t < f->size[a]; t++)
                p->unit[a] = gcd(p->unit[a], norm_offset(f, a, t));
            p->reach[a] = (f->high[a] > f->low[a] ? f->high[a] : f->low[a]) / p->unit[a];
            p->length[a] = p->reach[a] + 1;
        }
        p->cells *= p->length[a];
    }
    int bits = p->split[0] | p->split[1] << 1 | p->split[2] << 2;
    size_t block = (size_t)(f->rows * f->columns);
    p->energy = calloc((size_t)f->rows * 8, sizeof(double));
    bool ok = p->energy;
    for (int q = 0; q < 8; q++) {
        if (q & ~bits) continue;
        p->part[q] = calloc((size_t)p->cells * block, sizeof(double));
        if (!p->part[q]) ok = false;
    }
    for (int64_t tap = 0; ok && tap < norm_taps(f); tap++) {
        int64_t t[3], cell;
        tap_places(f, tap, t);
        for (int q = 0; q < 8; q++) {
            double share = p->part[q] ? part_share(p, q, t, &cell) : 0;
            if (share == 0) continue;
            double *to = p->part[q] + (size_t)cell * block;
            const double *from = f->weights + (size_t)tap * block;
            for (size_t i = 0; i < block; i++) to[i] += share * from[i];
        }
    }
    for (int q = 0; ok && q < 8; q++)
        for (int64_t cell = 0; p->part[q] && cell < p->cells; cell++)
            for (int64_t o = 0; o < f->rows; o++)
                for (int64_t i = 0; i < f->columns; i++) {
                    double x = p->part[q][(size_t)cell * block + (size_t)(o * f->columns + i)];
                    p->energy[o * 8 + q] += cell_weight(p, cell) * x * x;
                }
    for (int64_t i = 0; ok && i < f->rows * 8; i++) p->energy[i] = sqrt(p->energy[i]);
    if (!ok) parity_free(p);
    return ok;
}

/* 1 / t of part q of row o. */
static double part_weight(const Parity *p, int64_t o, int q) {
    double all = 0;
    for (int i = 0; i < 8; i++) all += p->energy[o * 8 + i];
    return p->energy[o * 8 + q] > 0 ? all / p->energy[o * 8 + q] : 0;
}

/* Adds cells x and y of part q to the lags: products of cosines, and of sines, are sums of cosines. */
static void add_pair(const Parity *p, int q, NormLags *l, const double *product, int64_t x,
                     int64_t y) {
    int64_t lag[3][2];
    double weight[3][2], m;
    for (int a = 0; a < 3; a++) {
        int64_t b = x % p->length[a], c = y % p->length[a];
        x /= p->length[a];
        y /= p->length[a];
        lag[a][0] = lag[a][1] = c - b + l->reach[a];
        weight[a][0] = 1;
        weight[a][1] = 0;
        if (!p->split[a]) continue;
        m = (b > 0 ? 2 : 1) * (c > 0 ? 2 : 1);
        lag[a][0] = b > c ? b - c : c - b;
        lag[a][1] = b + c;
        weight[a][0] = m / 2;
        weight[a][1] = q >> a & 1 ? -m / 2 : m / 2;
    }
    int64_t n = l->n;
    for (int i = 0; i < 8; i++) {
        double w = weight[0][i & 1] * weight[1][i >> 1 & 1] * weight[2][i >> 2];
        if (w == 0) continue;
        int64_t at = (lag[2][i >> 2] * norm_lags_length(l, 1) + lag[1][i >> 1 & 1]) *
                         norm_lags_length(l, 0) +
                     lag[0][i & 1];
        for (int64_t k = 0; k < n * n; k++) l->q[at * n * n + k] += w * product[k];
    }
}

static bool parity_lags(const Parity *p, NormLags *l) {
    const NormFilter *f = p->f;
    int64_t block = f->rows * f->columns;
    double *scaled = malloc(sizeof *scaled * (size_t)(p->cells * block));
    double *product = malloc(sizeof *product * (size_t)(l->n * l->n));
    for (int q = 0; scaled && product && q < 8; q++) {
        if (!p->part[q]) continue;
        for (int64_t i = 0; i < p->cells * block; i++)
            scaled[i] = p->part[q][i] * part_weight(p, i / f->columns % f->rows, q);
        for (int64_t x = 0; x < p->cells; x++)
            for (int64_t y = 0; y < p->cells; y++) {
                memset(product, 0, sizeof *product * (size_t)(l->n * l->n));
                add_product(product, p->part[q] + x * block, scaled + y * block, f->rows,
                            f->columns, 1);
                add_pair(p, q, l, product, x, y);
            }
    }
    bool ok = scaled && product;
    free(scaled);
    free(product);
    return ok;
}

/* The symbol of a cell of part q at w, a power of i left out: cosines and sines on split axes. */
static void cell_wave(const Parity *p, int q, int64_t cell, const double where[3], double *re,
                      double *im) {
    double phase = 0, factor = 1;
    for (int a = 0; a < 3; a++) {
        double b = (double)(cell % p->length[a]);
        cell /= p->length[a];
        if (!p->split[a])
            phase += b * where[a];
        else if (q >> a & 1)
            factor *= 2 * sin(b * where[a]);
        else
            factor *= b > 0 ? 2 * cos(b * where[a]) : 1;
    }
    *re = factor * cos(phase);
    *im = factor * sin(phase);
}

/* y = symbol of row o of part q, times v. */
static void row_image(const Parity *p, int q, int64_t o, const double where[3], const double *v,
                      double y[2]) {
    int64_t n = p->f->columns;
    y[0] = y[1] = 0;
    for (int64_t cell = 0; cell < p->cells; cell++) {
        const double *k = p->part[q] + (cell * p->f->rows + o) * n;
        double c, s, re = 0, im = 0;
        cell_wave(p, q, cell, where, &c, &s);
        for (int64_t i = 0; i < n; i++) {
            re += k[i] * v[i];
            im += k[i] * v[n + i];
        }
        y[0] += c * re - s * im;
        y[1] += c * im + s * re;
    }
}

/* Derivative by part q of row o, given its image y and the derivative by its energy; then by the weights. */
static void row_gradient(const Parity *p, int q, int64_t o, const double where[3], const double *v,
                         const double y[2], double by_energy, double scale, double *gradient) {
    const NormFilter *f = p->f;
    int64_t n = f->columns, t[3], cell;
    double e = p->energy[o * 8 + q], weight = part_weight(p, o, q);
    for (int64_t tap = 0; tap < norm_taps(f); tap++) {
        tap_places(f, tap, t);
        double share = part_share(p, q, t, &cell), c, s;
        if (share == 0) continue;
        cell_wave(p, q, cell, where, &c, &s);
        const double *k = p->part[q] + (cell * f->rows + o) * n;
        double *g = gradient + (tap * f->rows + o) * n;
        double x = y[0] * c + y[1] * s, z = y[1] * c - y[0] * s;
        for (int64_t i = 0; i < n; i++) {
            double d = 2 * weight * (x * v[i] + z * v[n + i]) +
                       by_energy * cell_weight(p, cell) * k[i] / e;
            g[i] += scale * share * d;
        }
    }
}

static void parity_gradient(const Parity *p, const double where[3], const double *v, double scale,
                            double *gradient) {
    for (int64_t o = 0; o < p->f->rows; o++) {
        const double *e = p->energy + o * 8;
        double y[8][2], all = 0, sum = 0;
        for (int q = 0; q < 8; q++) {
            all += e[q];
            if (e[q] == 0) continue;
            row_image(p, q, o, where, v, y[q]);
            sum += (y[q][0] * y[q][0] + y[q][1] * y[q][1]) / e[q];
        }
        for (int q = 0; q < 8; q++) {
            if (e[q] == 0) continue;
            double by_energy = sum - all * (y[q][0] * y[q][0] + y[q][1] * y[q][1]) / (e[q] * e[q]);
            row_gradient(p, q, o, where, v, y[q], by_energy, scale, gradient);
        }
    }
}

double norm_square_parity(const NormFilter *f, double enough, double *gradient) {
    (void)enough;
    for (int a = 0; a < 3; a++)
        if (f->stride[a] != 1) return INFINITY;
    Parity p;
    if (!parity_new(&p, f)) return INFINITY;
    NormLags l = {.n = f->columns};
    for (int a = 0; a < 3; a++) {
        l.even[a] = p.split[a];
        l.reach[a] = p.split[a] ? 2 * p.reach[a] : f->size[a] - 1;
    }
    double bound = INFINITY, where[3], *v = NULL, factor;
    if (norm_lags_new(&l) && parity_lags(&p, &l)) bound = norm_symbol_bound(&l, where, &v, &factor);
    if (gradient)
        memset(gradient, 0, sizeof *gradient * (size_t)(norm_taps(f) * f->rows * f->columns));
    if (gradient && v) parity_gradient(&p, where, v, factor, gradient);
    if (gradient && !v && bound > 0) bound = INFINITY;
    free(v);
    free(l.q);
    parity_free(&p);
    return bound;
}

/* ---- the least of them -------------------------------------------------------------------- */

static bool reflects(const NormFilter *f, int axis) {
    for (int side = 0; side < 2; side++)
        if (f->sides[axis][side] == PDN_SIDE_EVEN || f->sides[axis][side] == PDN_SIDE_ODD)
            return f->size[axis] > 1;
    return false;
}

/* Fourier's bound, twice as much for every reflecting axis: half of a field that is extended by reflection. A periodic
 * axis of an odd number of cells is no circulant where every other cell is kept: then without the stride. */
static double square_reflected(const NormFilter *f, double enough, double *gradient) {
    (void)enough;
    NormFilter g = *f;
    double factor = 1;
    for (int a = 0; a < 3; a++) {
        if (reflects(f, a)) factor *= 2;
        if (f->sides[a][0] == PDN_SIDE_PERIODIC) g.stride[a] = 1;
    }
    double bound = norm_square_fourier(&g, gradient) * factor;
    for (int64_t i = 0; gradient && i < norm_taps(f) * f->rows * f->columns; i++)
        gradient[i] *= factor;
    return bound;
}

typedef double Bound(const NormFilter *f, double enough, double *gradient);

/* Which bound of a group, of the filter as it stands or of its transpose. */
typedef struct {
    Bound *bound;
    bool transposed;
} Way;

static void transpose(const NormFilter *f, NormFilter *to, double *weights) {
    *to = *f;
    to->rows = f->columns;
    to->columns = f->rows;
    to->transposed = !f->transposed;
    to->weights = weights;
    for (int64_t t = 0; t < norm_taps(f); t++)
        for (int64_t o = 0; o < f->rows; o++)
            for (int64_t i = 0; i < f->columns; i++)
                weights[(t * f->columns + i) * f->rows + o] =
                    f->weights[(t * f->rows + o) * f->columns + i];
}

/* The least bound of the square, and which it was. */
static double least_bound(const NormFilter *f, const NormFilter *transposed, Way *way) {
    bool narrow = f->rows < f->columns; /* the smaller side makes smaller matrices */
    bool strided = f->stride[0] > 1 || f->stride[1] > 1 || f->stride[2] > 1;
    bool reflecting = reflects(f, 0) || reflects(f, 1) || reflects(f, 2);
    double best = INFINITY;
    *way = (Way){square_reflected, narrow};
    if (reflecting && !strided) {
        *way = (Way){norm_square_parity, false};
        best = norm_square_parity(f, best, NULL);
    }
    for (int other = 0; other < 2 && (reflecting || strided); other++) {
        Way edges = {norm_square_edges, narrow || strided || other};
        /* where both Gram matrices are small, either may give less */
        if (other && (strided || f->rows != f->columns || f->columns > 4)) break;
        double bound = norm_square_edges(edges.transposed ? transposed : f, best, NULL);
        if (bound < best) *way = edges;
        best = fmin(best, bound);
    }
    if (best < INFINITY) return best;
    *way = (Way){square_reflected, narrow};
    return square_reflected(narrow ? transposed : f, best, NULL);
}

/* Room for what rounding did on the way: sums of at most some 10^5 products of numbers of at most `size` in all. */
static double with_room(const NormFilter *f, double square) {
    double size = 0;
    for (int64_t t = 0; t < norm_taps(f); t++) {
        double sum = 0;
        for (int64_t i = 0; i < f->rows * f->columns; i++) {
            double w = f->weights[t * f->rows * f->columns + i];
            sum += w * w;
        }
        size += sqrt(sum);
    }
    return square * (1 + 1e-9) + 1e-11 * size * size;
}

static double number_at(PdnType type, const void *numbers, int64_t i) {
    return type == PDN_F32 ? (double)((const float *)numbers)[i] : ((const double *)numbers)[i];
}

/* A group of a convolution: its weights, read and scaled. */
static void read_group(const PdnConvShape *s, PdnType type, const void *weights, int64_t group,
                       double scale, NormFilter *f) {
    int64_t taps = norm_taps(f);
    for (int64_t o = 0; o < f->rows; o++)
        for (int64_t i = 0; i < f->columns; i++)
            for (int64_t t = 0; t < taps; t++) {
                int64_t at = ((group * f->rows + o) * f->columns + i) * taps + t;
                double w = number_at(type, weights, at);
                f->weights[(t * f->rows + o) * f->columns + i] = w * scale;
            }
    (void)s;
}

/* The gradient of the square root, in the order of the weights. */
static bool write_gradient(const NormFilter *f, const NormFilter *transposed, Way way,
                           double square, double *to) {
    const NormFilter *g = way.transposed ? transposed : f;
    int64_t taps = norm_taps(f);
    double *gradient = malloc(sizeof *gradient * (size_t)(taps * f->rows * f->columns));
    if (!gradient) return false;
    bool ok = way.bound(g, INFINITY, gradient) < INFINITY;
    double factor = 1 / (2 * sqrt(square));
    for (int64_t o = 0; o < f->rows; o++)
        for (int64_t i = 0; i < f->columns; i++)
            for (int64_t t = 0; t < taps; t++)
                *to++ = factor * gradient[way.transposed ? (t * g->rows + i) * g->columns + o
                                                         : (t * g->rows + o) * g->columns + i];
    free(gradient);
    return ok;
}

static NormFilter filter_of(const PdnConvShape *s) {
    NormFilter f = {.rank = s->rank, .rows = s->out / s->groups, .columns = s->in / s->groups};
    for (int a = 0; a < 3; a++) {
        bool used = a < s->rank;
        f.size[a] = used ? s->size[a] : 1;
        f.stride[a] = used ? s->stride[a] : 1;
        f.dilation[a] = used ? s->dilation[a] : 1;
        f.low[a] = f.dilation[a] * (f.size[a] - 1) / 2;
        f.high[a] = f.dilation[a] * (f.size[a] - 1) - f.low[a];
        for (int side = 0; side < 2; side++) {
            f.sides[a][side] = used ? s->sides[a][side] : PDN_SIDE_PERIODIC;
            if (f.sides[a][side] == PDN_SIDE_SLOPE) f.sides[a][side] = PDN_SIDE_EVEN;
        }
    }
    return f;
}

static bool shape_makes_sense(const PdnConvShape *s) {
    bool ok = s->rank >= 1 && s->rank <= 3 && s->in > 0 && s->out > 0 && s->groups > 0 &&
              s->in % s->groups == 0 && s->out % s->groups == 0;
    for (int a = 0; ok && a < s->rank; a++) {
        ok = s->size[a] > 0 && s->dilation[a] > 0 && (s->stride[a] == 1 || s->stride[a] == 2);
        for (int side = 0; side < 2; side++)
            ok = ok && s->sides[a][side] >= PDN_SIDE_PERIODIC && s->sides[a][side] <= PDN_SIDE_ZERO;
        ok = ok && (s->sides[a][0] == PDN_SIDE_PERIODIC) == (s->sides[a][1] == PDN_SIDE_PERIODIC);
    }
    return ok;
}

/* A bound of the square that is cheap, and no more than a few times the least one. */
static double quick_bound(const NormFilter *f, const NormFilter *transposed) {
    bool strided = f->stride[0] > 1 || f->stride[1] > 1 || f->stride[2] > 1;
    bool reflecting = reflects(f, 0) || reflects(f, 1) || reflects(f, 2);
    if (reflecting && !strided) return norm_square_parity(f, INFINITY, NULL);
    return square_reflected(f->rows < f->columns ? transposed : f, INFINITY, NULL);
}

/* The bound of one group; its derivative goes to `gradient`, if it is wanted. `quick`: a cheap one. */
static double group_bound(const PdnConvShape *s, PdnType type, const void *weights, int64_t group,
                          double largest, bool quick, double *gradient) {
    NormFilter f = filter_of(s), g;
    size_t count = (size_t)(norm_taps(&f) * f.rows * f.columns);
    double *room = malloc(2 * count * sizeof *room), bound = INFINITY;
    if (room) {
        f.weights = room;
        read_group(s, type, weights, group, 1 / largest, &f);
        transpose(&f, &g, room + count);
        Way way = {square_reflected, false};
        double square = with_room(&f, quick ? quick_bound(&f, &g) : least_bound(&f, &g, &way));
        bound = sqrt(square) * (1 + 1e-14) * largest;
        if (gradient && !write_gradient(&f, &g, way, square, gradient)) bound = INFINITY;
    }
    free(room);
    return bound;
}

static double bound_of(const PdnConvShape *s, PdnType type, const void *weights, bool quick,
                       double *gradient) {
    if (!shape_makes_sense(s)) return NAN;
    NormFilter f = filter_of(s);
    int64_t part = norm_taps(&f) * f.rows * f.columns, first = 0;
    double largest = 0, bound = 0;
    if (gradient) memset(gradient, 0, sizeof *gradient * (size_t)(part * s->groups));
    for (int64_t i = 0; i < part * s->groups; i++) {
        double w =
            type == PDN_F32 ? (double)((const float *)weights)[i] : ((const double *)weights)[i];
        if (isnan(w)) return NAN;
        largest = fmax(largest, fabs(w));
    }
    if (largest == 0 || isinf(largest)) return largest;
    largest = ldexp(1, ilogb(largest)); /* scaling by a power of 2 rounds nothing */
    for (int64_t group = 0; group < s->groups; group++) {
        double b = group_bound(s, type, weights, group, largest, quick, NULL);
        if (b > bound) {
            bound = b;
            first = group;
        }
    }
    if (gradient) {
        double b = group_bound(s, type, weights, first, largest, quick, gradient + first * part);
        if (!(b < INFINITY)) return INFINITY;
    }
    return bound;
}

double pdn_conv_norm(const PdnConvShape *s, PdnType type, const void *weights, double *gradient) {
    return bound_of(s, type, weights, false, gradient);
}

bool pdn_conv_norm_within(const PdnConvShape *s, PdnType type, const void *weights, double most) {
    return bound_of(s, type, weights, true, NULL) <= most;
}

void pdn_conv_norm_into(const PdnConvShape *s, PdnType type, const void *weights,
                        const void *cotangent, void *result) {
    if (!cotangent) {
        double bound = pdn_conv_norm(s, type, weights, NULL);
        if (type == PDN_F64) {
            *(double *)result = bound;
            return;
        }
        float rounded = (float)bound;
        *(float *)result = (double)rounded < bound ? nextafterf(rounded, INFINITY) : rounded;
        return;
    }
    NormFilter f = filter_of(s);
    int64_t count = norm_taps(&f) * f.rows * f.columns * s->groups;
    double *gradient = malloc(sizeof *gradient * (size_t)count),
           factor = number_at(type, cotangent, 0);
    double bound = gradient ? pdn_conv_norm(s, type, weights, gradient) : NAN;
    for (int64_t i = 0; i < count; i++) {
        double g = isfinite(bound) ? gradient[i] * factor : NAN;
        if (type == PDN_F32)
            ((float *)result)[i] = (float)g;
        else
            ((double *)result)[i] = g;
    }
    free(gradient);
}
