/* The largest eigenvalue of symmetric matrices, from above.
 *
 * A Cholesky factorisation of t I - A that succeeds proves that no eigenvalue of A exceeds t but by its rounding,
 * at most n (n + 1) 2^-53 t (Higham, Accuracy and Stability, theorem 10.3), for which conv_norm.c leaves room. Where it fails, the
 * interval between a bound that holds and one that does not is closed, with inverse iteration for good guesses. */
#include "runtime/conv_norm.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#if defined __x86_64__ && !defined __SANITIZE_ADDRESS__ && !defined __SANITIZE_THREAD__ &&         \
    !defined __clang__
#define FAST __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define FAST
#endif

/* Four rows of `to` lose their products with four of `from`: to[i][j] -= sum over p of from[p][i] from[p][j], for
 * j < count; c points to from[0][i]. Without contraction, so that the bits are those of every processor. */
FAST static void subtract_block(double *restrict to, const double *restrict from, int64_t stride,
                                const double *c, int64_t count) {
    double w[4][4];
    for (int i = 0; i < 4; i++)
        for (int p = 0; p < 4; p++) w[i][p] = c[p * stride + i];
    const double *f0 = from, *f1 = f0 + stride, *f2 = f1 + stride, *f3 = f2 + stride;
    double *t0 = to, *t1 = t0 + stride, *t2 = t1 + stride, *t3 = t2 + stride;
    for (int64_t j = 0; j < count; j++) {
        double a = f0[j], b = f1[j], d = f2[j], e = f3[j];
        t0[j] -= (w[0][0] * a + w[0][1] * b) + (w[0][2] * d + w[0][3] * e);
        t1[j] -= (w[1][0] * a + w[1][1] * b) + (w[1][2] * d + w[1][3] * e);
        t2[j] -= (w[2][0] * a + w[2][1] * b) + (w[2][2] * d + w[2][3] * e);
        t3[j] -= (w[3][0] * a + w[3][1] * b) + (w[3][2] * d + w[3][3] * e);
    }
}

static void subtract_row(double *to, const double *from, double c, int64_t count) {
    for (int64_t j = 0; j < count; j++) to[j] -= c * from[j];
}

/* Is t I - A positive definite? Then u is its factor, upper triangular with u'u = t I - A. */
static bool factorise(const double *a, int64_t n, double t, double *u) {
    for (int64_t i = 0; i < n; i++) {
        for (int64_t j = i; j < n; j++) u[i * n + j] = -a[i * n + j];
        u[i * n + i] += t;
    }
    for (int64_t k = 0; k < n; k += 4) {
        int64_t end = k + 4 < n ? k + 4 : n;
        for (int64_t p = k; p < end; p++) {
            double *row = u + p * n;
            if (!(row[p] > 0)) return false;
            double scale = 1 / sqrt(row[p]);
            for (int64_t j = p; j < n; j++) row[j] *= scale;
            for (int64_t i = p + 1; i < end; i++)
                subtract_row(u + i * n + i, row + i, row[i], n - i);
        }
        if (end == n) break;
        int64_t i = end;
        for (; i + 4 <= n && n - end > 16;
             i += 4) /* writes a little below the diagonal, where nothing is read */
            subtract_block(u + i * n + i, u + k * n + i, n, u + k * n + i, n - i);
        for (; i < n; i++)
            for (int64_t p = k; p < end; p++)
                subtract_row(u + i * n + i, u + p * n + i, u[p * n + i], n - i);
    }
    return true;
}

enum { FEW = 32 };

static double normalise(double *v, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += v[i] * v[i];
    sum = sqrt(sum);
    for (int64_t i = 0; i < n; i++) v[i] /= sum;
    return sum;
}

/* v becomes (u'u)^-1 v. */
static void solve(const double *u, int64_t n, double *v) {
    for (int64_t i = 0; i < n; i++) {
        v[i] /= u[i * n + i];
        subtract_row(v + i + 1, u + i * n + i + 1, v[i], n - i - 1);
    }
    for (int64_t i = n - 1; i >= 0; i--) {
        double sum = v[i];
        for (int64_t j = i + 1; j < n; j++) sum -= u[i * n + j] * v[j];
        v[i] = sum / u[i * n + i];
    }
}

/* Rayleigh's quotient of v, of length 1, and the length of what is left of A v. */
static double quotient(const double *a, int64_t n, const double *v, double *image,
                       double *residual) {
    double rho = 0, sum = 0;
    for (int64_t i = 0; i < n; i++) {
        image[i] = 0;
        for (int64_t j = 0; j < n; j++) image[i] += a[i * n + j] * v[j];
        rho += image[i] * v[i];
    }
    for (int64_t i = 0; i < n; i++) sum += (image[i] - rho * v[i]) * (image[i] - rho * v[i]);
    *residual = sqrt(sum);
    return rho;
}

/* The largest eigenvalue lies in (low, high]: closes in on it. u and other are n x n, u a factor at high. */
static double close_in(const double *a, int64_t n, double low, double high, double *u,
                       double *other, double *v, double *image) {
    for (int step = 0; step < 8; step++) { /* a start: powers of A + high / 2 I */
        double residual;
        quotient(a, n, v, image, &residual);
        for (int64_t i = 0; i < n; i++) v[i] = image[i] + high / 2 * v[i];
        normalise(v, n);
    }
    for (int round = 0; round < 200 && high - low > 1e-10 * high; round++) {
        for (int step = 0; step < 2; step++) {
            solve(u, n, v);
            normalise(v, n);
        }
        double residual, rho = quotient(a, n, v, image, &residual);
        if (rho > low) low = rho;
        double next = low + fmax(residual, 0.5e-10 * high);
        if (round > 20 || next > (low + high) / 2) next = (low + high) / 2;
        if (!(next < high)) break;
        if (factorise(a, n, next, other)) {
            double *t = u;
            u = other;
            other = t;
            high = next;
        } else {
            low = next;
        }
    }
    solve(u, n, v);
    normalise(v, n);
    return high;
}

/* No eigenvalue is above that: the largest sum of a row, or Frobenius' norm. */
static double crude_bound(const double *a, int64_t n) {
    double rows = 0, squares = 0;
    for (int64_t i = 0; i < n; i++) {
        double row = 0;
        for (int64_t j = 0; j < n; j++) {
            row += fabs(a[i * n + j]);
            squares += a[i * n + j] * a[i * n + j];
        }
        rows = fmax(rows, row);
    }
    return fmin(rows, sqrt(squares)) * (1 + 1e-9);
}

void norm_top_offer(NormTop *top, const double *a, int64_t n, const int64_t where[8]) {
    if (top->failed || (n == 1 && a[0] <= top->bound)) return;
    if (n == 1) {
        if (!top->vector) top->vector = malloc(2 * sizeof *top->vector);
        top->failed = !top->vector;
        if (top->vector) top->vector[0] = 1;
        top->bound = a[0];
        top->count = 1;
        memcpy(top->where, where, sizeof top->where);
        return;
    }
    size_t square = sizeof(double) * (size_t)(n * n);
    double few[FEW * FEW], *u = n <= FEW ? NULL : malloc(square), *other = NULL, *v = NULL;
    bool ok = n <= FEW || u;
    if (ok && factorise(a, n, top->bound, u ? u : few)) {
        free(u);
        return;
    }
    if (!u) u = malloc(square);
    ok = ok && u;
    other = malloc(square);
    v = malloc(2 * sizeof *v * (size_t)n);
    ok = ok && other && v;
    double high = ok ? crude_bound(a, n) : 0;
    for (int i = 0; ok && high > top->bound && !factorise(a, n, high, u); i++) {
        high *= 1.0001;
        ok = i < 1000;
    }
    if (!ok) {
        top->failed = true;
        free(v);
    } else if (high <= top->bound) {
        free(v);
    } else {
        uint64_t bits =
            88172645463325252u; /* a start that is orthogonal to nothing in particular */
        for (int64_t i = 0; i < n; i++) {
            bits = bits * 6364136223846793005u + 1442695040888963407u;
            v[i] = 0.5 + (double)(bits >> 40) * 0x1p-24;
            if (bits & (1u << 30)) v[i] = -v[i];
        }
        normalise(v, n);
        top->bound = close_in(a, n, top->bound, high, u, other, v, v + n);
        free(top->vector);
        top->vector = v;
        top->count = n;
        memcpy(top->where, where, sizeof top->where);
    }
    free(u);
    free(other);
}

void norm_top_free(NormTop *top) {
    free(top->vector);
    top->vector = NULL;
}
