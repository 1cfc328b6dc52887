#include "compiler/driver/rates.h"
#include "compiler/base/base.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

enum {
    TRIES = 7,
    /* tries of arithmetic: the first is slower, as the clock changes for wide vectors */
    WARM = 4,
    CHAINS = 12,       /* a multiply-add takes some four cycles, and two start in one */
    ROUNDS = 16384,    /* of all chains, a unit: about 30 microseconds */
    UNITS = 64,        /* a thread */
    ARRAY = 128 << 20, /* bytes of each of two arrays */
    PIECE = 1 << 20,   /* of a unit */
};

/* ---- arithmetic ------------------------------------------------------------------------------- */

/* One unit, with vectors of so many bytes. Named values: arrays would stay in memory. */
#define CHAINED(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11)
#define START(i)   V a##i = all = all * x;
#define ROUND(i)   a##i = a##i * x + y;
#define SUM(i)     all = all + a##i;
#define UNIT(name, type, bytes)                                                                    \
    static int name(void) {                                                                        \
        typedef type V __attribute__((vector_size(bytes)));                                        \
        V x = (V){0} + (type)0.999, y = (V){0} + (type)0.001, all = x;                             \
        CHAINED(START)                                                                             \
        for (int i = 0; i < ROUNDS; i++) { CHAINED(ROUND) }                                        \
        CHAINED(SUM)                                                                               \
        return all[0] > 0;                                                                         \
    }

UNIT(unit_128_f32, float, 16)
UNIT(unit_128_f64, double, 16)
#if defined(__x86_64__)
__attribute__((target("avx2,fma"))) UNIT(unit_256_f32, float, 32)
    __attribute__((target("avx2,fma"))) UNIT(unit_256_f64, double, 32)
        __attribute__((target("avx512f"))) UNIT(unit_512_f32, float, 64)
            __attribute__((target("avx512f"))) UNIT(unit_512_f64, double, 64)
#endif

                typedef int Unit(void);

static Unit *unit_for(PdnType type, int *vector_bits) {
#if defined(__x86_64__)
    if (*vector_bits == 512) return type == PDN_F32 ? unit_512_f32 : unit_512_f64;
    if (*vector_bits == 256) return type == PDN_F32 ? unit_256_f32 : unit_256_f64;
#endif
    *vector_bits = 128;
    return type == PDN_F32 ? unit_128_f32 : unit_128_f64;
}

static void run_arithmetic(const void *arguments, int64_t begin, int64_t end) {
    Unit *const *unit = arguments;
    volatile int kept = 0;
    for (int64_t i = begin; i < end; i++) kept = kept + (*unit)();
}

/* ---- memory ------------------------------------------------------------------------------------- */

typedef void Copy(char *to, const char *from, size_t bytes);
typedef struct {
    Copy *copy;
    char *to;
    const char *from;
} Copying;

#if defined(__x86_64__)
__attribute__((target("avx512f"))) static void copy_512(char *to, const char *from, size_t bytes) {
    for (size_t i = 0; i < bytes; i += 64)
        _mm512_stream_si512((void *)(to + i), _mm512_load_si512(from + i));
    _mm_sfence();
}
__attribute__((target("avx"))) static void copy_256(char *to, const char *from, size_t bytes) {
    for (size_t i = 0; i < bytes; i += 32)
        _mm256_stream_si256((__m256i *)(to + i), _mm256_load_si256((const __m256i *)(from + i)));
    _mm_sfence();
}
static void copy_any(char *to, const char *from, size_t bytes) {
    for (size_t i = 0; i < bytes; i += 16)
        _mm_stream_si128((__m128i *)(to + i), _mm_load_si128((const __m128i *)(from + i)));
    _mm_sfence();
}
#else
static void copy_any(char *to, const char *from, size_t bytes) { memcpy(to, from, bytes); }
#endif

static Copy *copy_for(int vector_bits) {
#if defined(__x86_64__)
    if (vector_bits == 512) return copy_512;
    if (vector_bits == 256) return copy_256;
#endif
    return copy_any;
}

static void run_copy(const void *arguments, int64_t begin, int64_t end) {
    const Copying *c = arguments;
    c->copy(c->to + begin * PIECE, c->from + begin * PIECE, (size_t)(end - begin) * PIECE);
}

static void touch(const void *arguments, int64_t begin, int64_t end) {
    memset((char *)arguments + begin * PIECE, 1, (size_t)(end - begin) * PIECE);
}

/* ---- both --------------------------------------------------------------------------------------- */

double rates_flops(PdnThreads *threads, PdnType type, int *vector_bits) {
    Unit *unit = unit_for(type, vector_bits);
    int64_t units = (int64_t)UNITS * pdn_threads_most(threads);
    double numbers = *vector_bits / (type == PDN_F32 ? 32.0 : 64.0), best = 0;
    for (int i = 0; i < WARM; i++) {
        double start = clock_seconds();
        pdn_threads_run(threads, run_arithmetic, &unit, units, PDN_MUCH_WORK);
        best =
            fmax(best, 2.0 * CHAINS * ROUNDS * numbers * (double)units / (clock_seconds() - start));
    }
    return best;
}

double rates_bytes(PdnThreads *threads, int vector_bits) {
    int64_t pieces = ARRAY / PIECE;
    char *from = aligned_alloc(64, ARRAY);
    Copying c = {.copy = copy_for(vector_bits), .to = aligned_alloc(64, ARRAY), .from = from};
    double best = 0;
    if (pdn_memory_available() > 4 * (int64_t)ARRAY && c.to && from) {
        pdn_threads_run(threads, touch, from, pieces, PDN_MUCH_WORK);
        pdn_threads_run(threads, touch, c.to, pieces, PDN_MUCH_WORK);
        for (int i = 0; i < TRIES; i++) {
            double start = clock_seconds();
            pdn_threads_run(threads, run_copy, &c, pieces, PDN_MUCH_WORK);
            best = fmax(best, 2.0 * ARRAY / (clock_seconds() - start));
        }
    }
    free(from);
    free(c.to);
    return best;
}
