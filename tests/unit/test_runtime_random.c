/* Random numbers: against the reference's known answers, against the maths library, and statistics. */
#include <criterion/criterion.h>

#include "runtime/file.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Random123's file kat_vectors, rows "philox4x32 10". */
Test(random, philox_known_answers) {
    static const uint32_t rows[3][10] = {
        {0, 0, 0, 0, 0, 0, 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8},
        {0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0x408f276d,
         0x41c83b0e, 0xa20bc7c6, 0x6d5451fd},
        {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xa4093822, 0x299f31d0, 0xd16cfe09,
         0x94fdcceb, 0x5001e420, 0x24126ea1},
    };
    for (int i = 0; i < 3; i++) {
        uint32_t block[4];
        pdn_philox(rows[i], rows[i] + 4, block);
        for (int w = 0; w < 4; w++) {
            cr_assert_eq(block[w], rows[i][6 + w], "row %d word %d: %08x", i, w, block[w]);
        }
    }
}

static double *fill(int kind, uint64_t seed, uint64_t stream, int64_t count) {
    double *values = malloc((size_t)count * sizeof *values);
    pdn_random(PDN_F64, kind, seed, stream, values, count);
    return values;
}

static uint64_t fnv(const void *bytes, size_t count) {
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < count; i++) {
        hash = (hash ^ ((const uint8_t *)bytes)[i]) * UINT64_C(0x100000001b3);
    }
    return hash;
}

/* The same on every machine and with every compiler: results that people keep depend on these bits. */
Test(random, bits_are_fixed) {
    enum { COUNT = 100001 };
    static const uint64_t f64[2] = {UINT64_C(0xed7b996e02cb81e6), UINT64_C(0xb7e2367cc65a95ef)};
    static const uint64_t f32[2] = {UINT64_C(0x1e46478022e9a7e5), UINT64_C(0xe49aee6f9a57d82e)};
    float *narrow = malloc(COUNT * sizeof *narrow);
    for (int kind = 0; kind < 2; kind++) {
        double *wide = fill(kind, 42, 7, COUNT);
        pdn_random(PDN_F32, kind, 42, 7, narrow, COUNT);
        cr_assert_eq(fnv(wide, COUNT * 8), f64[kind]);
        cr_assert_eq(fnv(narrow, COUNT * 4), f32[kind]);
        free(wide);
    }
    free(narrow);
}

/* Words 0 and 1 of a block give its first uniform number, 2 and 3 its second. */
Test(random, uniform_is_the_block) {
    double *u = fill(1, 0x123456789abcdef0, 0xfedcba9876543210, 200);
    for (uint32_t i = 0; i < 200; i += 2) {
        const uint32_t counter[4] = {i / 2, 0, 0x76543210, 0xfedcba98},
                       key[2] = {0x9abcdef0, 0x12345678};
        uint32_t w[4];
        pdn_philox(counter, key, w);
        double first = (double)(((uint64_t)w[1] << 32 | w[0]) >> 12) * 0x1p-52;
        double second = (double)(((uint64_t)w[3] << 32 | w[2]) >> 12) * 0x1p-52;
        cr_assert_eq(u[i], first);
        cr_assert_eq(u[i + 1], second);
    }
    free(u);
}

/* Box-Muller with the C library's functions: the polynomials agree to rounding. */
Test(random, normal_is_box_muller) {
    enum { COUNT = 1 << 16 };
    double *u = fill(1, 9, 1, COUNT), *z = fill(0, 9, 1, COUNT), worst = 0;
    for (int i = 0; i < COUNT; i += 2) {
        double radius = sqrt(-2 * log1p(-u[i])), angle = 2 * 3.14159265358979323846 * u[i + 1];
        worst = fmax(worst, fabs(z[i] - radius * cos(angle)));
        worst = fmax(worst, fabs(z[i + 1] - radius * sin(angle)));
    }
    cr_assert_lt(worst, 1e-14, "%g", worst);
    free(u);
    free(z);
}

Test(random, parts_are_the_whole) {
    enum { COUNT = 1000 };
    static const int cuts[] = {0, 1, 2, 3, 127, 128, 129, 500, 501, 999, COUNT};
    for (int kind = 0; kind < 2; kind++) {
        for (int type = PDN_F32; type <= PDN_F64; type++) {
            size_t size = pdn_type_size(type);
            char *whole = malloc(COUNT * size), *parts = malloc(COUNT * size);
            pdn_random(type, kind, 3, 4, whole, COUNT);
            for (int i = 9; i >= 0; i--) {
                pdn_random_range(type, kind, 3, 4, parts, cuts[i], cuts[i + 1]);
            }
            cr_assert(memcmp(whole, parts, COUNT * size) == 0);
            free(whole);
            free(parts);
        }
    }
}

Test(random, f32_follows_f64) {
    enum { COUNT = 1 << 16 };
    float *narrow = malloc(COUNT * sizeof *narrow);
    double *wide = fill(0, 1, 2, COUNT);
    pdn_random(PDN_F32, 0, 1, 2, narrow, COUNT);
    for (int i = 0; i < COUNT; i++) { cr_assert_eq(narrow[i], (float)wide[i]); }
    free(wide);
    wide = fill(1, 1, 2, COUNT);
    pdn_random(PDN_F32, 1, 1, 2, narrow, COUNT);
    for (int i = 0; i < COUNT; i++) {
        cr_assert(narrow[i] <= wide[i] && wide[i] - narrow[i] < 0x1p-24 && narrow[i] < 1);
    }
    free(wide);
    free(narrow);
}

Test(random, seeds_and_streams_differ) {
    static const uint64_t pairs[][2] = {
        {1, 0}, {0, 1}, {UINT64_C(1) << 32, 0}, {0, UINT64_C(1) << 32}};
    double *base = fill(0, 0, 0, 64);
    for (int p = 0; p < 4; p++) {
        double *other = fill(0, pairs[p][0], pairs[p][1], 64);
        for (int i = 0; i < 64; i++) { cr_assert_neq(base[i], other[i]); }
        free(other);
    }
    free(base);
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double normal_cdf(double x) { return 0.5 * erfc(-x / sqrt(2)); }
static double uniform_cdf(double x) { return x < 0 ? 0 : x > 1 ? 1 : x; }

/* Kolmogorov-Smirnov: sqrt(n) D exceeds 1.95 with probability 0.001. */
static void check_distribution(double *values, int64_t count, double (*cdf)(double)) {
    qsort(values, (size_t)count, sizeof *values, compare);
    double distance = 0, n = (double)count;
    for (int64_t i = 0; i < count; i++) {
        double expected = cdf(values[i]);
        distance = fmax(distance, fmax((double)(i + 1) / n - expected, expected - (double)i / n));
    }
    cr_assert_lt(distance * sqrt(n), 1.95, "%g", distance * sqrt(n));
}

Test(random, kolmogorov_smirnov) {
    for (uint64_t seed = 0; seed < 2; seed++) {
        int64_t count = 100000;
        double *z = fill(0, seed, 11, count), *u = fill(1, seed, 11, count);
        check_distribution(z, count, normal_cdf);
        check_distribution(u, count, uniform_cdf);
        free(z);
        free(u);
    }
}

/* Moments within five standard errors; neighbours and the two of a pair are uncorrelated. */
Test(random, moments) {
    enum { COUNT = 1 << 18 };
    double n = COUNT, sum[5] = {0}, near = 0, pair = 0;
    double *z = fill(0, 2026, 1, COUNT);
    for (int i = 0; i < COUNT; i++) {
        double power = 1;
        for (int k = 1; k <= 4; k++) { sum[k] += power *= z[i]; }
        near += i ? z[i] * z[i - 1] : 0;
        pair += i % 2 ? z[i] * z[i] * z[i - 1] * z[i - 1] - 1 : 0;
    }
    cr_assert_lt(fabs(sum[1] / n), 5 / sqrt(n));
    cr_assert_lt(fabs(sum[2] / n - 1), 5 * sqrt(2 / n));
    cr_assert_lt(fabs(sum[3] / n), 5 * sqrt(15 / n));
    cr_assert_lt(fabs(sum[4] / n - 3), 5 * sqrt(96 / n));
    cr_assert_lt(fabs(near / n), 5 / sqrt(n));
    cr_assert_lt(fabs(pair / (n / 2)), 5 * sqrt(8 / (n / 2)));
    free(z);
}

/* ---- streams of draws in loops ------------------------------------------------------------ */

static int compare_streams(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

Test(random, streams_of_steps_are_their_own) {
    enum { DRAWS = 3, STEPS = 300, COUNT = DRAWS * STEPS * STEPS + DRAWS * STEPS + DRAWS };
    uint64_t *all = malloc(sizeof *all * COUNT);
    int64_t n = 0;
    for (uint64_t draw = 0; draw < DRAWS; draw++) {
        cr_assert_eq(pdn_stream(draw, NULL, 0), draw);
        all[n++] = draw;
        for (int i = 0; i < STEPS; i++) {
            all[n++] = pdn_stream(draw, (double[]){1e5 * i}, 1);
            for (int j = 0; j < STEPS; j++) all[n++] = pdn_stream(draw, (double[]){i, 50 * j}, 2);
        }
    }
    cr_assert_eq(n, COUNT);
    /* a pair of steps may be the number of one step, but no loop is both in one and in two */
    qsort(all, COUNT, sizeof *all, compare_streams);
    int64_t same = 0;
    for (int64_t i = 1; i < COUNT; i++) same += all[i] == all[i - 1];
    cr_assert_leq(same, DRAWS * STEPS);
    cr_assert_lt(all[COUNT - 1], UINT64_C(1) << 40);
    free(all);
    static const double odd[][3] = {{-1, 0, 0}, {NAN, 3, 1}, {INFINITY, 2, 2}, {-1e300, 1e300, 4}};
    for (int i = 0; i < 4; i++)
        for (uint32_t count = 1; count <= 3; count++)
            cr_assert_lt(pdn_stream(1u << 20, odd[i], count), UINT64_C(1) << 40);
    cr_assert_neq(pdn_stream(2000, (double[]){1}, 1), pdn_stream(2000, (double[]){2}, 1));
    cr_assert_neq(pdn_stream(2000, (double[]){1}, 1), pdn_stream(2001, (double[]){1}, 1));
    cr_assert_neq(pdn_stream(0, (double[]){1, 2}, 2), pdn_stream(0, (double[]){2, 1}, 2));
}
