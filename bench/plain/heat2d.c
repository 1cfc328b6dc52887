/* Heat in two dimensions, u += tau laplacian(u), reflecting boundaries; one sweep a step, two buffers,
 * rows over threads. usage: heat2d CELLS STEPS */
#include "common.h"

static const float tau = 0.2f;

static void step(const float *restrict u, float *restrict v, long n) {
#pragma omp parallel for schedule(static)
    for (long y = 0; y < n; y++) {
        /* a ghost of a reflecting boundary is the cell itself */
        const float *restrict c = u + y * n;
        const float *restrict below = y > 0 ? c - n : c;
        const float *restrict above = y + 1 < n ? c + n : c;
        float *restrict to = v + y * n;
        to[0] = c[0] + tau * (c[1] + below[0] + above[0] - 3 * c[0]);
#pragma omp simd
        for (long x = 1; x < n - 1; x++)
            to[x] = c[x] + tau * (c[x - 1] + c[x + 1] + below[x] + above[x] - 4 * c[x]);
        to[n - 1] = c[n - 1] + tau * (c[n - 2] + below[n - 1] + above[n - 1] - 3 * c[n - 1]);
    }
}

int main(int argc, char **argv) {
    if (argc < 3) return 2;
    long n = atol(argv[1]), steps = atol(argv[2]);
    size_t count = (size_t)(n * n);
    float *u = field(count), *v = field(count);
    start(u, v, n);
    double begin = seconds();
    for (long k = 0; k < steps; k++) {
        step(u, v, n);
        swap(&u, &v);
    }
    report(u, count, count * (size_t)steps, seconds() - begin);
    return 0;
}
