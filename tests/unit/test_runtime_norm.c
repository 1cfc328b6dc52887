/* Norms of convolutions, against power iterations on grids: those approach the norm from below. The big comparison, with
 * singular values from LAPACK, is tests/check/norms.py. */
#include "runtime/pdn.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 1 << 14 };

static uint64_t state;
static double uniform(void) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (double)(state >> 11) * 0x1p-52 - 1;
}

static PdnConvShape shape(int64_t in, int64_t out, int64_t size, int side) {
    PdnConvShape s = {.rank = 2, .in = in, .out = out, .groups = 1};
    for (int a = 0; a < 3; a++) {
        s.size[a] = a < 2 ? size : 1;
        s.stride[a] = s.dilation[a] = 1;
        s.sides[a][0] = s.sides[a][1] = a < 2 ? side : PDN_SIDE_PERIODIC;
    }
    return s;
}

static int64_t weight_count(const PdnConvShape *s) {
    return s->out * (s->in / s->groups) * s->size[0] * s->size[1] * s->size[2];
}

/* Cell that is read in place of `at`, and the sign. 0: nothing. */
static int ghost(const int sides[2], int64_t n, int64_t *at) {
    if (*at >= 0 && *at < n) return 1;
    int side = sides[*at >= n];
    if (side == PDN_SIDE_ZERO) return 0;
    if (side == PDN_SIDE_PERIODIC) {
        *at = ((*at % n) + n) % n;
        return 1;
    }
    *at = *at < 0 ? -1 - *at : 2 * n - 1 - *at;
    return side == PDN_SIDE_ODD ? -1 : 1;
}

/* v = K u, or u = K'v. */
static void apply(const PdnConvShape *s, const double *w, const int64_t n[2], double *u, double *v,
                  bool back) {
    int64_t m[2] = {(n[0] + s->stride[0] - 1) / s->stride[0],
                    (n[1] + s->stride[1] - 1) / s->stride[1]};
    int64_t inputs = s->in / s->groups, outputs = s->out / s->groups;
    if (back)
        memset(u, 0, sizeof *u * (size_t)(s->in * n[0] * n[1]));
    else
        memset(v, 0, sizeof *v * (size_t)(s->out * m[0] * m[1]));
    for (int64_t o = 0; o < s->out; o++)
        for (int64_t i = 0; i < inputs; i++)
            for (int64_t ty = 0; ty < s->size[1]; ty++)
                for (int64_t tx = 0; tx < s->size[0]; tx++, w++)
                    for (int64_t y = 0; y < m[1]; y++)
                        for (int64_t x = 0; x < m[0]; x++) {
                            int64_t ax = x * s->stride[0] + tx * s->dilation[0] -
                                         s->dilation[0] * (s->size[0] - 1) / 2;
                            int64_t ay = y * s->stride[1] + ty * s->dilation[1] -
                                         s->dilation[1] * (s->size[1] - 1) / 2;
                            int sign =
                                ghost(s->sides[0], n[0], &ax) * ghost(s->sides[1], n[1], &ay);
                            if (sign == 0) continue;
                            double *a = u + ((o / outputs * inputs + i) * n[1] + ay) * n[0] + ax;
                            double *b = v + (o * m[1] + y) * m[0] + x;
                            if (back)
                                *a += sign * *w * *b;
                            else
                                *b += sign * *w * *a;
                        }
}

static double power(const PdnConvShape *s, const double *w, int64_t nx, int64_t ny, int steps) {
    static double u[MOST], v[MOST];
    int64_t n[2] = {nx, ny};
    size_t count = (size_t)(s->in * nx * ny);
    double norm = 0;
    for (size_t i = 0; i < count; i++) u[i] = uniform();
    for (int step = 0; step < steps; step++) {
        double length = 0, image = 0;
        for (size_t i = 0; i < count; i++) length += u[i] * u[i];
        for (size_t i = 0; i < count; i++) u[i] /= sqrt(length);
        apply(s, w, n, u, v, false);
        int64_t mx = (nx + s->stride[0] - 1) / s->stride[0],
                my = (ny + s->stride[1] - 1) / s->stride[1];
        for (int64_t i = 0; i < s->out * mx * my; i++) image += v[i] * v[i];
        norm = sqrt(image);
        apply(s, w, n, u, v, true);
    }
    return norm;
}

static void fill(double *w, int64_t count) {
    for (int64_t i = 0; i < count; i++) w[i] = uniform();
}

static double bound(const PdnConvShape *s, const double *w) {
    return pdn_conv_norm(s, PDN_F64, w, NULL);
}

Test(runtime_norm, above_every_grid) {
    static const int kinds[] = {PDN_SIDE_PERIODIC, PDN_SIDE_EVEN, PDN_SIDE_ODD, PDN_SIDE_ZERO};
    static const int64_t channels[][2] = {{1, 1}, {1, 4}, {3, 2}};
    double w[1024];
    for (int kind = 0; kind < 16; kind++)
        for (int c = 0; c < 3; c++)
            for (int64_t size = 1; size <= 4; size++)
                for (int64_t stride = 1; stride <= 2; stride++) {
                    PdnConvShape s = shape(channels[c][0], channels[c][1], size, kinds[kind % 4]);
                    if (kind >= 4 && kind % 4 > 0 && kind / 4 > 0) s.sides[0][1] = kinds[kind / 4];
                    s.stride[0] = s.stride[1] = stride;
                    state = (uint64_t)(kind * 100 + c * 10) + (uint64_t)size;
                    fill(w, weight_count(&s));
                    double b = bound(&s, w);
                    for (int64_t nx = size / 2 > 1 ? size / 2 : 1; nx < 8; nx++)
                        for (int64_t ny = size / 2 > 1 ? size / 2 : 1; ny < 8; ny += 2) {
                            double p = power(&s, w, nx, ny, 60);
                            cr_assert(b >= p * (1 - 1e-12), "kind %d, size %ld, %ld x %ld: %g < %g",
                                      kind, (long)size, (long)nx, (long)ny, b, p);
                        }
                }
}

/* Strides over axes of one tap, beside others. */
Test(runtime_norm, axes_of_one_tap) {
    double w[64];
    for (int which = 0; which < 2; which++)
        for (int side = PDN_SIDE_EVEN; side <= PDN_SIDE_ZERO; side++) {
            PdnConvShape s = shape(2, 3, 3, side);
            s.size[which] = 1;
            s.stride[0] = s.stride[1] = 2;
            state = (uint64_t)(which + 2 * side);
            fill(w, weight_count(&s));
            double b = bound(&s, w), p = 0;
            for (int64_t n = 1; n < 9; n++) p = fmax(p, power(&s, w, n, 9 - n, 200));
            cr_expect(b >= p * (1 - 1e-12) && b < 1.6 * p, "%g against %g", b, p);
        }
}

Test(runtime_norm, fourier_is_tight_where_it_holds) {
    double w[1600];
    state = 5;
    for (int kind = 0; kind < 2; kind++) {
        PdnConvShape s = shape(1, 16, 5, kind ? PDN_SIDE_ZERO : PDN_SIDE_PERIODIC);
        fill(w, weight_count(&s));
        double p = power(&s, w, 24, 24, 400), b = bound(&s, w);
        cr_assert(b >= p && b < p * (kind ? 1.04 : 1.02), "%g against %g", b, p);
    }
}

Test(runtime_norm, reflecting_sides_cost_little) {
    double w[400];
    state = 9;
    PdnConvShape s = shape(1, 16, 5, PDN_SIDE_EVEN);
    fill(w, weight_count(&s));
    double largest = 0;
    for (int64_t n = 2; n < 16; n++) largest = fmax(largest, power(&s, w, n, n, 300));
    cr_expect(bound(&s, w) < 1.35 * largest, "%g against %g", bound(&s, w), largest);
}

/* The cheap bound is one, and proves what is far inside. */
Test(runtime_norm, within) {
    double w[1600];
    state = 7;
    for (int side = PDN_SIDE_PERIODIC; side <= PDN_SIDE_ZERO; side++)
        for (int64_t stride = 1; stride <= 2; stride++) {
            PdnConvShape s = shape(stride, 16, 5, side);
            s.stride[0] = s.stride[1] = stride;
            fill(w, weight_count(&s));
            double p = power(&s, w, 12, 13, 100), b = bound(&s, w);
            cr_expect(!pdn_conv_norm_within(&s, PDN_F64, w, p * (1 - 1e-6)),
                      "side %d: below the norm", side);
            cr_expect(pdn_conv_norm_within(&s, PDN_F64, w, 2.01 * b), "side %d: far above it",
                      side);
        }
    PdnConvShape s = shape(1, 16, 5, PDN_SIDE_EVEN);
    w[3] = NAN;
    cr_expect(!pdn_conv_norm_within(&s, PDN_F64, w, 1e9));
}

Test(runtime_norm, exact_values) {
    PdnConvShape s = shape(1, 1, 3, PDN_SIDE_EVEN);
    double shift[9] = {1}, mean[9], difference[9] = {0, 0, 0, -0.5, 0, 0.5};
    for (int i = 0; i < 9; i++) mean[i] = 1.0 / 9;
    /* a diagonal shift doubles a corner's cell: the norm is 2 on every grid of at least 2 x 2 cells */
    cr_expect_float_eq(power(&s, shift, 5, 5, 100), 2, 1e-9);
    cr_expect(bound(&s, shift) >= 2 && bound(&s, shift) < 2.05, "%g", bound(&s, shift));
    /* even and odd filters: as much as Fourier's bound */
    cr_expect(bound(&s, mean) >= 1 && bound(&s, mean) < 1.005, "%g", bound(&s, mean));
    cr_expect(bound(&s, difference) >= 1 - 1e-3 && bound(&s, difference) < 1.005, "%g",
              bound(&s, difference));
    double nothing[9] = {0}, gradient[9];
    cr_expect_eq(pdn_conv_norm(&s, PDN_F64, nothing, gradient), 0);
    cr_expect_eq(gradient[4], 0);
    s.size[0] = s.size[1] = 1;
    cr_expect_float_eq(bound(&s, (double[]){-3}), 3, 1e-8);
}

Test(runtime_norm, gradient_against_differences) {
    static const int kinds[] = {PDN_SIDE_PERIODIC, PDN_SIDE_EVEN, PDN_SIDE_ODD, PDN_SIDE_ZERO};
    double w[512], g[512], d[512];
    for (int kind = 0; kind < 4; kind++)
        for (int c = 0; c < 3; c++) {
            PdnConvShape s = shape(c == 1 ? 4 : 2, c == 2 ? 4 : 2, 3, kinds[kind]);
            if (c == 2) s.groups = 2;
            state = (uint64_t)(kind * 10 + c + 1);
            int64_t count = weight_count(&s);
            fill(w, count);
            fill(d, count);
            double b = pdn_conv_norm(&s, PDN_F64, w, g), along = 0, h = 1e-5, difference = 0;
            cr_expect_eq(b, bound(&s, w), "the same bits with and without the gradient");
            for (int64_t i = 0; i < count; i++) along += g[i] * d[i];
            for (int sign = -1; sign <= 1; sign += 2) {
                double moved[512];
                for (int64_t i = 0; i < count; i++) moved[i] = w[i] + sign * h * d[i];
                difference += sign * bound(&s, moved) / (2 * h);
            }
            cr_expect(fabs(along - difference) < 1e-4 * (1 + fabs(along)),
                      "kind %d, %d: %g against %g", kind, c, along, difference);
        }
}

Test(runtime_norm, what_is_no_number) {
    PdnConvShape s = shape(1, 2, 3, PDN_SIDE_EVEN);
    float w[18] = {1, 2, 3};
    double b = pdn_conv_norm(&s, PDN_F32, w, NULL), d[18] = {1, 2, 3};
    cr_expect_eq(b, pdn_conv_norm(&s, PDN_F64, d, NULL));
    for (int i = 0; i < 18; i++) d[i] *= 1e200; /* squares overflow, the norm does not */
    cr_expect_float_eq(pdn_conv_norm(&s, PDN_F64, d, NULL) / b, 1e200, 1e188);
    w[7] = INFINITY;
    cr_expect(isinf(pdn_conv_norm(&s, PDN_F32, w, NULL)));
    w[3] = NAN;
    cr_expect(isnan(pdn_conv_norm(&s, PDN_F32, w, NULL)));
    s.groups = 3;
    cr_expect(isnan(pdn_conv_norm(&s, PDN_F32, w, NULL)));
}
