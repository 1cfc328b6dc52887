/* Fast semi-iterative steps for Perona-Malik diffusion, as fsi of the language: cycles of 20 steps
 *   u[k+1] = a (u[k] + tau F(u[k])) + (1 - a) u[k-1],  a = (4k + 2) / (2k + 3),  u[-1] = u[0].
 * The new state goes where the one before the last was. usage: fsi CELLS STEPS (whole cycles) */
#include "diffusion.h"

enum { LENGTH = 20 };
static const float tau = 0.2f;

int main(int argc, char **argv) {
    if (argc < 3) return 2;
    long n = atol(argv[1]), steps = atol(argv[2]) / LENGTH * LENGTH;
    size_t count = (size_t)(n * n);
    float *u = field(count), *v = field(count);
    start(u, v, n);
    double begin = seconds();
    for (long i = 0; i < steps; i++) {
        long k = i % LENGTH;
        float a = (4 * (float)k + 2) / (2 * (float)k + 3);
        diffusion_step(u, k == 0 ? u : v, v, n, a, a * tau, 1 - a);
        swap(&u, &v);
    }
    report(u, count, count * (size_t)steps, seconds() - begin);
    return 0;
}
