/* Heat in three dimensions, u += tau laplacian(u), reflecting boundaries; one sweep a step, two buffers,
 * planes over threads. usage: heat3d CELLS STEPS */
#include "common.h"

static const float tau = 0.15f;

static void step(const float *restrict u, float *restrict v, long n) {
    const long plane = n * n;
#pragma omp parallel for schedule(static) collapse(2)
    for (long z = 0; z < n; z++) {
        for (long y = 0; y < n; y++) {
            /* a ghost of a reflecting boundary is the cell itself */
            const float *restrict c = u + z * plane + y * n;
            const float *restrict front = z > 0 ? c - plane : c;
            const float *restrict back = z + 1 < n ? c + plane : c;
            const float *restrict below = y > 0 ? c - n : c;
            const float *restrict above = y + 1 < n ? c + n : c;
            float *restrict to = v + z * plane + y * n;
            long e = n - 1;
            to[0] = c[0] + tau * (c[1] + below[0] + above[0] + front[0] + back[0] - 5 * c[0]);
#pragma omp simd
            for (long x = 1; x < n - 1; x++)
                to[x] = c[x] + tau * (c[x - 1] + c[x + 1] + below[x] + above[x] + front[x] +
                                      back[x] - 6 * c[x]);
            to[e] = c[e] + tau * (c[e - 1] + below[e] + above[e] + front[e] + back[e] - 5 * c[e]);
        }
    }
}

int main(int argc, char **argv) {
    if (argc < 3) return 2;
    long n = atol(argv[1]), steps = atol(argv[2]);
    size_t count = (size_t)(n * n * n);
    float *u = field(count), *v = field(count);
#pragma omp parallel for schedule(static)
    for (long z = 0; z < n; z++)
        for (long y = 0; y < n; y++)
            for (long x = 0; x < n; x++) {
                u[(z * n + y) * n + x] =
                    start_value((double)x + 0.5, (double)y + 0.5 + 0.3 * ((double)z + 0.5));
                v[(z * n + y) * n + x] = 0;
            }
    double begin = seconds();
    for (long k = 0; k < steps; k++) {
        step(u, v, n);
        swap(&u, &v);
    }
    report(u, count, count * (size_t)steps, seconds() - begin);
    return 0;
}
