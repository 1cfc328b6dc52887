/* What the plain C programs share: the start picture, the clock, and the report. */
#ifndef PLAIN_COMMON_H
#define PLAIN_COMMON_H

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* 64-byte aligned. */
static float *field(size_t count) {
    void *data = NULL;
    if (posix_memalign(&data, 64, count * sizeof(float))) exit(1);
    return data;
}

/* The field that the .pdn programs start from; coordinates of cell centres. */
static float start_value(double x, double y) {
    return (float)(0.5 + 0.25 * sin(0.02 * x) * cos(0.03 * y) + 0.2 * (fmod(x, 97) < 40));
}

/* In two dimensions: u is that field, v is there. */
static inline void start(float *u, float *v, long n) {
#pragma omp parallel for schedule(static)
    for (long y = 0; y < n; y++)
        for (long x = 0; x < n; x++) {
            u[y * n + x] = start_value((double)x + 0.5, (double)y + 0.5);
            v[y * n + x] = 0;
        }
}

static inline void swap(float **u, float **v) {
    float *old = *u;
    *u = *v;
    *v = old;
}

static void report(const float *u, size_t count, size_t cells_times_steps, double time) {
    double sum = 0, squares = 0;
    for (size_t i = 0; i < count; i++) {
        sum += u[i];
        squares += (double)u[i] * u[i];
    }
    printf("mean: %.9g\nsquares: %.9g\ntime: %.6f\nrate: %.4g\n", sum / (double)count,
           squares / (double)count, time, (double)cells_times_steps / time);
}

#endif
