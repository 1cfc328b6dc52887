/* Perona-Malik diffusion, u += tau div(g(|grad u|²) grad u), g = 1 / (1 + |grad u|²/lambda²), with forward
 * differences and reflecting boundaries, exactly as nonlinear_diffusion(g = perona_malik) of the
 * language; written as diffusion.h says.
 *
 * usage: perona_malik CELLS STEPS [rows]; `rows` keeps the fluxes of a row in a small buffer instead, so
 * that each is computed once. */
#include "diffusion.h"

#include <string.h>

static const float tau = 0.2f;

/* Out of line, so that at the border it does not swell the loop of the step. */
static __attribute__((noinline)) float cell(const float *u, long n, long x, long y, float scale) {
    return u[y * n + x] + tau * diffusion_at(u, n, x, y, scale);
}

static void step(const float *restrict u, float *restrict v, long n) {
    const float scale = 1 / (lambda * lambda);
#pragma omp parallel for schedule(static)
    for (long y = 0; y < n; y++) {
        const float *restrict c = u + y * n;
        float *restrict to = v + y * n;
        if (y == 0 || y == n - 1) {
            for (long x = 0; x < n; x++) to[x] = cell(u, n, x, y, scale);
            continue;
        }
        to[0] = cell(u, n, 0, y, scale);
#pragma omp simd
        for (long x = 1; x < n - 1; x++) {
            float right = c[x + 1] - c[x], up = c[x + n] - c[x];
            float left = c[x] - c[x - 1], left_up = c[x + n - 1] - c[x - 1];
            float down = c[x] - c[x - n], down_right = c[x - n + 1] - c[x - n];
            float g = diffusivity(right, up, scale);
            to[x] = c[x] + tau * (g * (right + up) - diffusivity(left, left_up, scale) * left -
                                  diffusivity(down_right, down, scale) * down);
        }
        to[n - 1] = cell(u, n, n - 1, y, scale);
    }
}

/* Fluxes of row y: fx[x] across the face between x and x + 1 (fx[-1] = 0), fy[x] to the row above. */
static inline void fluxes(const float *restrict c, long n, long y, float scale, float *restrict fx,
                          float *restrict fy) {
    if (y + 1 < n) {
#pragma omp simd
        for (long x = 0; x < n - 1; x++) {
            float right = c[x + 1] - c[x], up = c[x + n] - c[x];
            float g = diffusivity(right, up, scale);
            fx[x] = g * right;
            fy[x] = g * up;
        }
        float up = c[2 * n - 1] - c[n - 1];
        fx[n - 1] = 0;
        fy[n - 1] = diffusivity(0, up, scale) * up;
    } else {
        for (long x = 0; x < n; x++) {
            float right = x + 1 < n ? c[x + 1] - c[x] : 0;
            fx[x] = diffusivity(right, 0, scale) * right;
            fy[x] = 0;
        }
    }
}

static void step_rows(const float *restrict u, float *restrict v, long n, float *buffers) {
    const float scale = 1 / (lambda * lambda);
#pragma omp parallel
    {
        float *row = buffers;
#ifdef _OPENMP
        extern int omp_get_thread_num(void);
        row += (size_t)omp_get_thread_num() * 3 * ((size_t)n + 64);
#endif
        float *fx = row + 16, *fy = fx + n + 64, *below = fy + n + 64;
        fx[-1] = 0;
        long last = -2;
#pragma omp for schedule(static)
        for (long y = 0; y < n; y++) {
            if (y == 0)
                memset(below, 0, (size_t)n * sizeof(float));
            else if (last != y - 1)
                fluxes(u + (y - 1) * n, n, y - 1, scale, fx, below);
            fluxes(u + y * n, n, y, scale, fx, fy);
            const float *restrict c = u + y * n;
            float *restrict to = v + y * n;
#pragma omp simd
            for (long x = 0; x < n; x++)
                to[x] = c[x] + tau * (fx[x] - fx[x - 1] + fy[x] - below[x]);
            swap(&fy, &below);
            last = y;
        }
    }
}

int main(int argc, char **argv) {
    if (argc < 3) return 2;
    long n = atol(argv[1]), steps = atol(argv[2]);
    int rows = argc > 3 && !strcmp(argv[3], "rows");
    size_t count = (size_t)(n * n);
    float *u = field(count), *v = field(count);
    float *buffers = field((size_t)256 * 3 * ((size_t)n + 64));
    start(u, v, n);
    double begin = seconds();
    for (long k = 0; k < steps; k++) {
        if (rows)
            step_rows(u, v, n, buffers);
        else
            step(u, v, n);
        swap(&u, &v);
    }
    report(u, count, count * (size_t)steps, seconds() - begin);
    return 0;
}
