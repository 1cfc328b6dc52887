/* Steps of schemes for Perona-Malik diffusion with reflecting boundaries, as plain C writes them: one sweep a step, rows
 * over threads. A cell computes the diffusivities of itself, its left and its lower neighbour: cheaper than a pass
 * through memory for a field of fluxes, and the loop vectorises. */
#ifndef PLAIN_DIFFUSION_H
#define PLAIN_DIFFUSION_H

#include "common.h"

static const float lambda = 0.03f;

static inline float diffusivity(float gx, float gy, float scale) {
    return 1.0f / (1.0f + (gx * gx + gy * gy) * scale);
}

/* div(g grad u) in the cell (x, y), with every neighbour that may be missing asked for. */
static inline float diffusion_at(const float *u, long n, long x, long y, float scale) {
    const float *c = u + y * n + x;
    float right = x + 1 < n ? c[1] - c[0] : 0, up = y + 1 < n ? c[n] - c[0] : 0;
    float sum = diffusivity(right, up, scale) * (right + up);
    if (x > 0) {
        float gx = c[0] - c[-1], gy = y + 1 < n ? c[n - 1] - c[-1] : 0;
        sum -= diffusivity(gx, gy, scale) * gx;
    }
    if (y > 0) {
        float gx = x + 1 < n ? c[1 - n] - c[-n] : 0, gy = c[0] - c[-n];
        sum -= diffusivity(gx, gy, scale) * gy;
    }
    return sum;
}

/* v = a u + b div(g grad u) + c w; v and w may be one array. */
static inline void diffusion_step(const float *u, const float *w, float *v, long n, float a,
                                  float b, float c) {
    const float scale = 1 / (lambda * lambda);
#pragma omp parallel for schedule(static)
    for (long y = 0; y < n; y++) {
        const float *m = u + y * n, *old = w + y * n;
        float *to = v + y * n;
        if (y == 0 || y == n - 1) {
            for (long x = 0; x < n; x++)
                to[x] = a * m[x] + b * diffusion_at(u, n, x, y, scale) + c * old[x];
            continue;
        }
        to[0] = a * m[0] + b * diffusion_at(u, n, 0, y, scale) + c * old[0];
#pragma omp simd
        for (long x = 1; x < n - 1; x++) {
            float right = m[x + 1] - m[x], up = m[x + n] - m[x];
            float left = m[x] - m[x - 1], left_up = m[x + n - 1] - m[x - 1];
            float down = m[x] - m[x - n], down_right = m[x - n + 1] - m[x - n];
            float g = diffusivity(right, up, scale);
            float sum = g * (right + up) - diffusivity(left, left_up, scale) * left -
                        diffusivity(down_right, down, scale) * down;
            to[x] = a * m[x] + b * sum + c * old[x];
        }
        to[n - 1] = a * m[n - 1] + b * diffusion_at(u, n, n - 1, y, scale) + c * old[n - 1];
    }
}

#endif
