/* The supremum of a Hermitian trigonometric polynomial, from samples: docs/norms.md, "From samples to all frequencies". */
#include "runtime/conv_norm.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

bool norm_lags_new(NormLags *l) {
    size_t count = (size_t)(l->n * l->n);
    for (int a = 0; a < 3; a++) count *= (size_t)norm_lags_length(l, a);
    l->q = calloc(count, sizeof *l->q);
    return l->q;
}

int64_t norm_samples(int64_t degree, int axes, double price) {
    if (degree == 0) return 1;
    static const int64_t most[] = {256, 64, 16};
    int64_t samples = most[axes - 1];
    /* about 3e7 operations, but not less than what bounds the polynomial within some 10 % */
    while (samples > 8 && pow((double)samples, axes) * price > 6e7) samples -= samples > 32 ? 8 : 4;
    int64_t least = 4 * degree;
    return samples > least ? samples : least;
}

int64_t norm_scatter(int64_t i, int64_t count) {
    int64_t step = count * 3 / 8 + 1;
    for (;; step++) {
        int64_t a = step, b = count;
        while (b) {
            int64_t rest = a % b;
            a = b;
            b = rest;
        }
        if (a == 1) return i * step % count;
    }
}

double norm_sample_factor(int64_t degree, int64_t samples) {
    double c = degree == 0 ? 1 : cos(M_PI * (double)degree / (2 * (double)samples));
    return 1 / (c * c) * (1 + 1e-14);
}

/* to = sum over the lags of one axis, the slowest, of from times their cosines and sines. */
static void contract(int64_t lags, const double *cosine, const double *sine, int64_t block,
                     const double *from_re, const double *from_im, double *re, double *im) {
    memset(re, 0, sizeof *re * (size_t)block);
    memset(im, 0, sizeof *im * (size_t)block);
    for (int64_t d = 0; d < lags; d++) {
        double c = cosine[d], s = sine[d];
        const double *x = from_re + d * block, *y = from_im ? from_im + d * block : NULL;
        for (int64_t i = 0; i < block; i++) re[i] += c * x[i];
        if (s != 0)
            for (int64_t i = 0; i < block; i++) im[i] += s * x[i];
        if (!y) continue;
        for (int64_t i = 0; i < block; i++) im[i] += c * y[i];
        if (s != 0)
            for (int64_t i = 0; i < block; i++) re[i] -= s * y[i];
    }
}

/* [[re, -im], [im, re]], whose eigenvalues are those of re + i im, twice. */
static void embed(const double *re, const double *im, int64_t n, double *a) {
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < n; j++) {
            double x = (re[i * n + j] + re[j * n + i]) / 2, y = (im[i * n + j] - im[j * n + i]) / 2;
            a[i * 2 * n + j] = a[(i + n) * 2 * n + j + n] = x;
            a[(i + n) * 2 * n + j] = y;
            a[i * 2 * n + j + n] = -y;
        }
}

typedef struct {
    const NormLags *lags;
    int64_t samples[3], last[3]; /* samples of the circle; the last that is looked at */
    bool real;
    double *wave[3]; /* [sample][0 cosine, 1 sine][lag]; of numbers on axis 0 [lag][0, 1][sample] */
    double *part[3][2]; /* contracted over axis 2, 2 and 1, all */
    double *matrix;
    NormTop *top;
} Scan;

/* All samples of axis 0 of a polynomial of numbers at once. */
static void scan_row(Scan *s, const double *re, const double *im, int64_t *at) {
    int64_t lags = norm_lags_length(s->lags, 0), best = 0;
    double value[256];
    for (int64_t first = 0; first <= s->last[0]; first += 256) {
        int64_t count = s->last[0] + 1 - first < 256 ? s->last[0] + 1 - first : 256;
        memset(value, 0, sizeof value);
        for (int64_t d = 0; d < lags; d++) {
            const double *wave = s->wave[0] + 2 * d * (s->last[0] + 1) + first;
            const double *sine = wave + s->last[0] + 1;
            double x = re[d], y = im ? im[d] : 0;
            for (int64_t i = 0; i < count; i++) value[i] += x * wave[i] - y * sine[i];
        }
        for (int64_t i = best = 0; i < count; i++)
            if (value[i] > value[best]) best = i;
        norm_top_offer(s->top, value + best, 1, (int64_t[8]){first + best, at[1], at[2]});
    }
}

static void scan_axis(Scan *s, int axis, const double *re, const double *im, int64_t *at) {
    const NormLags *l = s->lags;
    int64_t block = l->n * l->n;
    for (int a = 0; a < axis; a++) block *= norm_lags_length(l, a);
    double *pr = s->part[axis][0], *pi = s->part[axis][1];
    if (l->n == 1 && axis == 0) {
        scan_row(s, re, im, at);
        return;
    }
    for (int64_t i = 0; i <= s->last[axis]; i++) {
        at[axis] = norm_scatter(i, s->last[axis] + 1);
        int64_t lags = norm_lags_length(l, axis);
        const double *wave = s->wave[axis] + at[axis] * 2 * lags;
        contract(lags, wave, wave + lags, block, re, im, pr, pi);
        if (axis > 0) {
            scan_axis(s, axis - 1, pr, pi, at);
            continue;
        }
        if (s->real) {
            for (int64_t i = 0; i < l->n; i++)
                for (int64_t j = 0; j < l->n; j++)
                    s->matrix[i * l->n + j] = (pr[i * l->n + j] + pr[j * l->n + i]) / 2;
        } else {
            embed(pr, pi, l->n, s->matrix);
        }
        norm_top_offer(s->top, s->matrix, s->real ? l->n : 2 * l->n,
                       (int64_t[8]){at[0], at[1], at[2]});
    }
}

/* How the samples lie, and what that costs in the bound. */
static double plan_samples(Scan *s) {
    const NormLags *l = s->lags;
    int axes = 0;
    double factor = 1, entries = (double)(l->n * l->n), size;
    bool halved = false;
    s->real = true;
    for (int a = 0; a < 3; a++) {
        axes += l->reach[a] > 0;
        s->real = s->real && (l->even[a] || l->reach[a] == 0 || l->n == 1);
    }
    size = (double)l->n * (s->real ? 1 : 2);
    for (int a = 0; a < 3; a++) {
        double price = size * size * size / 12 + entries * (double)norm_lags_length(l, 0) + 8;
        s->samples[a] = norm_samples(l->reach[a], axes, price);
        s->last[a] = s->samples[a] - 1;
        /* cosines are even; G(-w) is the conjugate of G(w) */
        if (s->samples[a] > 1 && (l->even[a] || !halved)) {
            s->last[a] = s->samples[a] / 2;
            halved = halved || !l->even[a];
        }
        factor *= norm_sample_factor(l->reach[a], s->samples[a]);
    }
    return factor;
}

/* Cosines and sines of one axis; on even axes the sines are taken as 0. */
static double *waves(const NormLags *l, int axis, int64_t samples, int64_t last) {
    int64_t lags = norm_lags_length(l, axis), first = l->even[axis] ? 0 : -l->reach[axis];
    double *wave = malloc(sizeof *wave * (size_t)((last + 1) * 2 * lags));
    for (int64_t i = 0; wave && i <= last; i++)
        for (int64_t d = 0; d < lags; d++) {
            double w = 2 * M_PI * (double)((d + first) * i % samples) / (double)samples;
            double c = cos(w), s = l->even[axis] ? 0 : sin(w);
            bool row = l->n == 1 && axis == 0;
            wave[row ? 2 * d * (last + 1) + i : i * 2 * lags + d] = c;
            wave[row ? (2 * d + 1) * (last + 1) + i : i * 2 * lags + lags + d] = s;
        }
    return wave;
}

double norm_symbol_bound(const NormLags *l, double where[3], double **vector, double *factor) {
    NormTop top = {0};
    Scan s = {.lags = l, .top = &top};
    *factor = plan_samples(&s);
    *vector = NULL;
    int64_t block = l->n * l->n, at[3];
    bool ok = true;
    for (int a = 0; a < 3; a++) {
        for (int i = 0; i < 2; i++) {
            s.part[a][i] = malloc(sizeof(double) * (size_t)block);
            ok = ok && s.part[a][i];
        }
        s.wave[a] = waves(l, a, s.samples[a], s.last[a]);
        ok = ok && s.wave[a];
        block *= norm_lags_length(l, a);
    }
    s.matrix = malloc(sizeof(double) * (size_t)(4 * l->n * l->n));
    ok = ok && s.matrix;
    if (ok) scan_axis(&s, 2, l->q, NULL, at);
    double bound = ok && !top.failed ? top.bound * *factor : INFINITY;
    if (top.vector && bound < INFINITY) {
        for (int a = 0; a < 3; a++)
            where[a] = 2 * M_PI * (double)top.where[a] / (double)s.samples[a];
        *vector = calloc((size_t)(2 * l->n), sizeof(double));
        if (*vector) memcpy(*vector, top.vector, sizeof(double) * (size_t)top.count);
        /* the real matrix has every eigenvalue twice: any vector of the pair is one of the complex matrix */
    }
    norm_top_free(&top);
    free(s.matrix);
    for (int a = 0; a < 3; a++) {
        free(s.wave[a]);
        for (int i = 0; i < 2; i++) free(s.part[a][i]);
    }
    return bound;
}
