/* What the processor can do at best: multiply-adds of vectors in registers, all threads, the best of some tries.
 * The loops are those that the compiler's vectors fill: enough independent sums for every pipeline. usage: peak */
#include "common.h"

enum { WIDTH = 16, CHAINS = 12, ROUNDS = 4 << 20, TRIES = 9 };
typedef float Vector __attribute__((vector_size(4 * WIDTH)));

#define EACH(X)  X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11)
#define START(i) Vector a##i = last = last * x;
#define ROUND(i) a##i = a##i * x + y;
#define SUM(i)   last += a##i;

static float chains(void) {
    Vector x = (Vector){0} + 0.999f, y = (Vector){0} + 0.001f, last = x;
    EACH(START)
    for (long i = 0; i < ROUNDS; i++) { EACH(ROUND) }
    EACH(SUM)
    return last[0];
}

int main(void) {
    double best = 0;
    float kept = 0;
    for (int try = 0; try < TRIES; try++) {
        int threads = 0;
        double begin = seconds();
#pragma omp parallel reduction(+ : kept, threads)
        {
            kept += chains();
            threads++;
        }
        double rate = 2.0 * WIDTH * CHAINS * ROUNDS * threads / (seconds() - begin);
        if (rate > best) best = rate;
    }
    printf("flops: %.6g\nkept: %g\n", best, (double)kept);
    return 0;
}
