/* random.c: counter-based random numbers.
 *
 * Philox4x32-10: J. K. Salmon, M. A. Moraes, R. O. Dror, D. E. Shaw, "Parallel random numbers: as easy
 * as 1, 2, 3", SC 2011. The key is the seed; the counter holds the number of the block (low 64 bits) and
 * the stream (high 64 bits). One block of four words gives values 2b and 2b+1.
 *
 * The bits must be the same on every machine: nothing here calls the maths library but for the square
 * root (exact by IEEE 754), and the file is compiled without contraction to fused multiply-add. */
#include "runtime/file.h"

#include <math.h>
#include <string.h>

#ifdef __FAST_MATH__
#error "random.c needs IEEE arithmetic: the same seed must give the same bits"
#endif

#define BATCH 64 /* blocks at a time, so that each stage is a loop that vectorises */

void pdn_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t block[4]) {
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
    uint32_t k0 = key[0], k1 = key[1];
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = UINT64_C(0xD2511F53) * c0;
        uint64_t p1 = UINT64_C(0xCD9E8D57) * c2;
        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)p1;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)p0;
        k0 += 0x9E3779B9; /* the golden ratio */
        k1 += 0xBB67AE85; /* sqrt(3) - 1 */
    }
    block[0] = c0;
    block[1] = c1;
    block[2] = c2;
    block[3] = c3;
}

/* 52 bits to [0, 1), by writing them into the mantissa of a number in [1, 2). */
static inline double unit_interval(uint32_t low, uint32_t high) {
    uint64_t bits = UINT64_C(0x3FF0000000000000) | (((uint64_t)high << 32 | low) >> 12);
    double value;
    memcpy(&value, &bits, sizeof value);
    return value - 1;
}

/* log of x in [2^-52, 1]: x = 2^e m with m in [sqrt(1/2), sqrt(2)), log m = 2 artanh((m - 1)/(m + 1)),
 * whose Taylor series is cut at an error below 3e-17. */
static inline double log_unit(double x) {
    int64_t bits;
    memcpy(&bits, &x, sizeof bits);
    const int64_t half = INT64_C(0x3FE6A09E667F3BCD); /* sqrt(1/2) */
    int64_t e = (bits - half) >> 52;
    bits -= (int64_t)((uint64_t)e << 52);
    double m;
    memcpy(&m, &bits, sizeof m);
    double s = (m - 1) / (m + 1), z = s * s;
    double p = 1.0 / 21;
    p = p * z + 1.0 / 19;
    p = p * z + 1.0 / 17;
    p = p * z + 1.0 / 15;
    p = p * z + 1.0 / 13;
    p = p * z + 1.0 / 11;
    p = p * z + 1.0 / 9;
    p = p * z + 1.0 / 7;
    p = p * z + 1.0 / 5;
    p = p * z + 1.0 / 3;
    return (double)(int32_t)e * 0.69314718055994530942 + (2 * s + 2 * s * z * p);
}

/* cos and sin of 2 pi u for u in [0, 1): reduced to [-pi/4, pi/4], then Taylor (error below 1e-16). */
static inline void turn(double u, double *cosine, double *sine) {
    int32_t quarter = (int32_t)(4 * u + 0.5);
    double x = (u - 0.25 * quarter) * 6.28318530717958647693, z = x * x;
    double s = 1.0 / 355687428096000; /* 17! */
    s = s * z - 1.0 / 1307674368000;
    s = s * z + 1.0 / 6227020800;
    s = s * z - 1.0 / 39916800;
    s = s * z + 1.0 / 362880;
    s = s * z - 1.0 / 5040;
    s = s * z + 1.0 / 120;
    s = s * z - 1.0 / 6;
    s = x + x * z * s;
    double c = 1.0 / 20922789888000; /* 16! */
    c = c * z - 1.0 / 87178291200;
    c = c * z + 1.0 / 479001600;
    c = c * z - 1.0 / 3628800;
    c = c * z + 1.0 / 40320;
    c = c * z - 1.0 / 720;
    c = c * z + 1.0 / 24;
    c = c * z - 0.5;
    c = 1 + z * c;
    double a = quarter & 1 ? s : c, b = quarter & 1 ? c : s;
    *cosine = (quarter + 1) & 2 ? -a : a;
    *sine = quarter & 2 ? -b : b;
}

/* Values of blocks [first, first + count), count <= BATCH. */
static void batch(int kind, uint64_t seed, uint64_t stream, uint64_t first, int count, double *to) {
    uint32_t words[BATCH][4];
    double u[BATCH], v[BATCH];
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    for (int b = 0; b < count; b++) {
        uint64_t number = first + (uint64_t)b;
        const uint32_t counter[4] = {(uint32_t)number, (uint32_t)(number >> 32), (uint32_t)stream,
                                     (uint32_t)(stream >> 32)};
        pdn_philox(counter, key, words[b]);
    }
    for (int b = 0; b < count; b++) {
        u[b] = unit_interval(words[b][0], words[b][1]);
        v[b] = unit_interval(words[b][2], words[b][3]);
    }
    if (kind == 1) {
        for (int b = 0; b < count; b++) {
            to[2 * b] = u[b];
            to[2 * b + 1] = v[b];
        }
        return;
    }
    for (int b = 0; b < count; b++) { /* Box and Muller 1958 */
        double radius = sqrt(-2 * log_unit(1 - u[b])), cosine, sine;
        turn(v[b], &cosine, &sine);
        to[2 * b] = radius * cosine;
        to[2 * b + 1] = radius * sine;
    }
}

/* To f32. A uniform number is cut, not rounded: it must stay below 1. */
static inline float narrow(int kind, double value) {
    if (kind == 1) { return (float)(int32_t)(value * 16777216) * (1.0f / 16777216); }
    return (float)value;
}

void pdn_random_range(PdnType type, int kind, uint64_t seed, uint64_t stream, void *to,
                      int64_t begin, int64_t end) {
    double values[2 * BATCH];
    while (begin < end) {
        int64_t block = begin / 2, blocks = (end + 1) / 2 - block;
        int count = blocks > BATCH ? BATCH : (int)blocks;
        batch(kind, seed, stream, (uint64_t)block, count, values);
        int64_t stop = 2 * (block + count) < end ? 2 * (block + count) : end;
        for (int64_t i = begin; i < stop; i++) {
            double value = values[i - 2 * block];
            if (type == PDN_F32) {
                ((float *)to)[i] = narrow(kind, value);
            } else {
                ((double *)to)[i] = value;
            }
        }
        begin = stop;
    }
}

void pdn_random(PdnType type, int kind, uint64_t seed, uint64_t stream, void *to, int64_t count) {
    pdn_random_range(type, kind, seed, stream, to, 0, count);
}

/* ---- streams ------------------------------------------------------------------------ */

/* As llvm.fptosi.sat, for compiled programs do the same. */
static uint64_t whole(double x) {
    if (isnan(x)) return 0;
    if (x >= 0x1p63) return INT64_MAX;
    return x < -0x1p63 ? (uint64_t)INT64_MIN : (uint64_t)(int64_t)x;
}

static uint64_t pair(uint64_t a, uint64_t b) { return a >= b ? a * a + a + b : b * b + a; }

/* The finaliser of SplitMix64: G. Steele, D. Lea, C. Flood, "Fast splittable pseudorandom number generators",
 * OOPSLA 2014. */
static uint64_t scramble(uint64_t z) {
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

uint64_t pdn_stream(uint64_t draw, const double *k, uint32_t count) {
    if (count == 0) return draw;
    uint64_t steps = whole(k[0]);
    for (uint32_t i = 1; i < count; i++) steps = pair(steps, whole(k[i]));
    if (draw < 1024 && steps < UINT64_C(1) << 28) return UINT64_C(1) << 38 | steps << 10 | draw;
    uint64_t mixed = scramble(steps + UINT64_C(0x9e3779b97f4a7c15) * (draw + 1));
    return UINT64_C(1) << 39 | mixed >> 25;
}
