/* The scheme of Du Fort and Frankel for Perona-Malik diffusion, as du_fort_frankel of the language:
 *   u[k+1] = (2 w u[k] + 2 tau F(u[k]) + (1 - w) u[k-1]) / (1 + w),  w = 2 tau alpha, alpha = 2,
 * the first step by two fast semi-iterative ones. The new state goes where the one before the last was.
 * usage: du_fort_frankel CELLS STEPS */
#include "diffusion.h"

static const float tau = 0.5f, w = 2;

int main(int argc, char **argv) {
    if (argc < 3) return 2;
    long n = atol(argv[1]), steps = atol(argv[2]);
    size_t count = (size_t)(n * n);
    float *u = field(count), *v = field(count), *first = field(count);
    start(u, v, n);
    double begin = seconds();
    float part = 3 * tau / 6; /* of a cycle of two */
    diffusion_step(u, u, first, n, 2.0f / 3, 2 * part / 3, 1.0f / 3);
    diffusion_step(first, u, v, n, 6.0f / 5, 6 * part / 5, -1.0f / 5);
    swap(&u, &v);
    for (long k = 1; k < steps; k++) {
        diffusion_step(u, v, v, n, 2 * w / (1 + w), 2 * tau / (1 + w), (1 - w) / (1 + w));
        swap(&u, &v);
    }
    report(u, count, count * (size_t)steps, seconds() - begin);
    return 0;
}
