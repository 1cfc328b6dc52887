/* Vector code of exp, log, tanh and the functions made of them against the maths library in higher precision: units in the last place. */
#include "tests/unit/cases.h"

#include <criterion/criterion.h>
#include <float.h>

/* A result below the least normal number may be 0. */
static double ulps(double got, long double want, bool f64) {
    if (got == 0 && fabsl(want) < (f64 ? DBL_MIN : FLT_MIN)) return 0;
    if (isnan(got) || isnan(want)) return isnan(got) && isnan(want) ? 0 : INFINITY;
    double nearest = f64 ? (double)want : (double)(float)want;
    if (isinf(nearest) || isinf(got)) return got == nearest ? 0 : INFINITY;
    double size = fabs(nearest);
    double step =
        f64 ? nextafter(size, INFINITY) - size : (double)nextafterf((float)size, INFINITY) - size;
    return (double)(fabsl((long double)got - want) / step);
}

static long double exact(Op op, long double x) {
    switch (op) {
    case OP_EXP: return expl(x);
    case OP_EXPM1: return expm1l(x);
    case OP_LOG: return logl(x);
    case OP_LOG1P: return log1pl(x);
    case OP_SIGMOID: return 1 / (1 + expl(-x));
    case OP_SOFTPLUS: return (x < 0 ? 0 : x) + log1pl(expl(-fabsl(x)));
    case OP_SIN: return sinl(x);
    case OP_COS: return cosl(x);
    default: return tanhl(x);
    }
}

static void one_function(Op op, double low, double high, bool f64, double allowed) {
    enum { N = 60000 };
    static const double odd[] = {0.0,         -0.0,   INFINITY, -INFINITY, NAN,        1,
                                 -1,          1e-40,  5e-324,   -1e-42,    1.57079637, 3.14159274,
                                 -4.71238899, 355,    999999.9, 88.72284,  -103.9,     -87.5,
                                 709.78,      -744.4, -745.2,   1e30,      -1e30};
    Case c = start(2, (int64_t[]){N / 10, 10});
    Node x = field_input(&c, 1, 9, low, high);
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++)
        c.data[0][i * 7] = f64 ? odd[i] : (double)(float)odd[i];
    for (int i = 200; i < 2000; i++) /* near 1, and near 0 */
        c.data[0][i] = (double)(float)(i % 2 ? 1 + (i - 1100) * 1e-4 : (i - 1100) * 1e-3);
    show(&c, graph_unary(c.m, c.f, op, x, SPAN_NONE));
    differ(&c, f64, 1);
    cr_assert_eq(c.run.seen.len, N);
    double worst = 0, at = 0;
    for (int i = 0; i < N; i++) {
        double d = ulps(c.run.seen.data[i], exact(op, c.data[0][i]), f64);
        if (d > worst) {
            worst = d;
            at = c.data[0][i];
        }
    }
    cr_expect(worst <= allowed, "%s in %s: %g ulp at %g", op_info(op)->name, f64 ? "f64" : "f32",
              worst, at);
    if (getenv("SHOW_ULPS"))
        fprintf(stderr, "%s %s: %.3f ulp at %g\n", op_info(op)->name, f64 ? "f64" : "f32", worst,
                at);
    finish(&c);
}

Test(code_math, exp) {
    one_function(OP_EXP, -104, 89, false, 2);
    one_function(OP_EXP, -745, 710, true, 2);
}

Test(code_math, log) {
    one_function(OP_LOG, 0, 10, false, 2);
    one_function(OP_LOG, 0, 1000, true, 2);
}

Test(code_math, tanh) {
    one_function(OP_TANH, -10, 10, false, 2);
    one_function(OP_TANH, -20, 20, true, 2);
}

/* Small ones, all that the vector code takes, and beyond; multiples of a quarter turn. */
Test(code_math, sin_and_cos) {
    static const Op ops[] = {OP_SIN, OP_COS};
    for (int k = 0; k < 2; k++) {
        one_function(ops[k], -4, 4, false, 2);
        one_function(ops[k], -1e-3, 1e-3, false, 2);
        one_function(ops[k], -1.1e6, 1.1e6, false, 2);
        one_function(ops[k], -1e9, 1e9, false, 2);
        one_function(ops[k], -100, 100, true, 2);
    }
}

Test(code_math, expm1) {
    one_function(OP_EXPM1, -10, 89, false, 2);
    one_function(OP_EXPM1, -1, 1, false, 2);
    one_function(OP_EXPM1, -40, 710, true, 4);
    one_function(OP_EXPM1, -1, 1, true, 4);
}

Test(code_math, log1p) {
    one_function(OP_LOG1P, -1, 10, false, 2);
    one_function(OP_LOG1P, -0.01, 0.01, false, 2);
    one_function(OP_LOG1P, -1, 1000, true, 2);
    one_function(OP_LOG1P, -0.01, 0.01, true, 2);
}

Test(code_math, sigmoid) {
    one_function(OP_SIGMOID, -103, 103, false, 4);
    one_function(OP_SIGMOID, -745, 745, true, 4);
}

Test(code_math, softplus) {
    one_function(OP_SOFTPLUS, -103, 103, false, 4);
    one_function(OP_SOFTPLUS, -745, 745, true, 4);
}

/* a / b and 1 / b of numbers of all sizes, special ones among them, and of a number that is the same for all cells. */
static float any_float(uint64_t *seed) {
    static const float odd[] = {
        0.0f,      -0.0f,     INFINITY, -INFINITY,       NAN,      1,
        -1,        1e-38f,    1e-39f,   -3e-42f,         1.4e-45f, 0x1p-126f,
        0x1p-128f, 0x1p-127f, 0x1p126f, 0x1.fffffep127f, 0x1p127f};
    uint64_t r = next_random(seed);
    if (r % 16 == 0) return odd[r / 16 % (sizeof odd / sizeof *odd)];
    return ldexpf(1 + (float)(r >> 40) * 0x1p-24f, (int)(r / 16 % 277) - 149) *
           (r & 0x100000 ? -1.0f : 1.0f);
}

/* Units in the last place of a / b. A denormal numerator may be half a unit of its last place away (docs/language.md). */
static double quotient_ulps(double got, double a, double b) {
    long double size = fabsl((long double)a), half = size != 0 && size < 0x1p-126L ? 0x1p-150L : 0;
    long double q = (long double)a / b, low = fabsl(q) - fabsl(half / b),
                high = fabsl(q) + fabsl(half / b);
    if (half == 0 || isinf(q) || isnan(got)) return ulps(got, q, false);
    if (signbit(got) != signbit((double)q)) return INFINITY;
    long double seen = fabsl((long double)got);
    return seen < low    ? ulps((double)seen, low, false)
           : seen > high ? ulps((double)seen, high, false)
                         : 0;
}

static void quotients(bool one, double allowed) {
    enum { N = 200000 };
    uint64_t seed = 11;
    Case c = start(2, (int64_t[]){N / 10, 10});
    Node a = field_input(&c, 1, 1, 0, 1), b = field_input(&c, 1, 2, 0, 1);
    for (int i = 0; i < N; i++) {
        c.data[0][i] = one ? 1 : (double)any_float(&seed);
        c.data[1][i] = (double)any_float(&seed);
    }
    show(&c, graph_binary(c.m, c.f, OP_DIV, one ? graph_const(c.m, c.f, 1) : a, b, SPAN_NONE));
    differ(&c, false, 1);
    double worst = 0;
    int at = 0;
    for (int i = 0; i < N; i++) {
        double d = quotient_ulps(c.run.seen.data[i], c.data[0][i], c.data[1][i]);
        if (d > worst) {
            worst = d;
            at = i;
        }
    }
    cr_expect(worst <= allowed, "%g / %g is %g, %g ulp off", c.data[0][at], c.data[1][at],
              c.run.seen.data[at], worst);
    if (getenv("SHOW_ULPS"))
        fprintf(stderr, "%s / b: %.3f ulp at %g / %g\n", one ? "1" : "a", worst, c.data[0][at],
                c.data[1][at]);
    finish(&c);
}

Test(code_math, division) { quotients(false, 1.5); }

/* What is a number of 24 bits is that: i k / k = i. */
Test(code_math, exact_quotients) {
    enum { N = 40000 };
    uint64_t seed = 17;
    Case c = start(2, (int64_t[]){N / 10, 10});
    Node a = field_input(&c, 1, 1, 0, 1), b = field_input(&c, 1, 2, 0, 1);
    for (int n = 0; n < N; n++) {
        c.data[1][n] = (double)(1 + next_random(&seed) % 4095);
        c.data[0][n] = c.data[1][n] * (double)(next_random(&seed) % 4096);
    }
    show(&c, graph_binary(c.m, c.f, OP_DIV, a, b, SPAN_NONE));
    differ(&c, false, 1);
    for (int n = 0; n < N; n++)
        cr_assert_eq(c.run.seen.data[n], c.data[0][n] / c.data[1][n], "%g / %g is %.9g",
                     c.data[0][n], c.data[1][n], c.run.seen.data[n]);
    finish(&c);
}

Test(code_math, reciprocal) { quotients(true, 1); }

/* Results below the least normal number are 0 where that is faster, but not those of divisions by numbers whose reciprocals are. */
Test(code_math, below_the_least_normal_number) {
    enum { N = 6000 };
    uint64_t seed = 5;
    Case c = start(2, (int64_t[]){N / 10, 10});
    Node a = field_input(&c, 1, 1, 0, 1), b = field_input(&c, 1, 2, 0, 1);
    for (int i = 0; i < N; i++) {
        c.data[0][i] = (double)ldexpf(1 + (float)(next_random(&seed) >> 40) * 0x1p-24f,
                                      (int)(next_random(&seed) % 60) - 90);
        c.data[1][i] = (double)0x1.8p126f; /* its reciprocal is below 2^-126 */
    }
    Node large = graph_unary(c.m, c.f, OP_LARGEST, b, SPAN_NONE),
         square = graph_binary(c.m, c.f, OP_MUL, a, a, SPAN_NONE);
    show(&c, square);
    show(&c,
         graph_binary(c.m, c.f, OP_DIV,
                      graph_binary(c.m, c.f, OP_MUL, a, graph_const(c.m, c.f, 0x1p127), SPAN_NONE),
                      large, SPAN_NONE));
    show(&c,
         graph_binary(c.m, c.f, OP_DIV,
                      graph_binary(c.m, c.f, OP_MUL, a, graph_const(c.m, c.f, 0x1p120), SPAN_NONE),
                      b, SPAN_NONE));
    differ(&c, false, 1);
    cr_assert_eq(c.run.seen.len, 3 * N);
    int zeros = 0;
    for (int i = 0; i < N; i++) {
        long double x = c.data[0][i];
        zeros += c.run.seen.data[i] == 0;
        cr_expect(ulps(c.run.seen.data[i], x * x, false) <= 0.5, "%Lg^2 is %g", x,
                  c.run.seen.data[i]);
        cr_expect(ulps(c.run.seen.data[N + i], x * 0x1p127L / 0x1.8p126L, false) <= 1.5,
                  "%Lg/s is %g", x, c.run.seen.data[N + i]);
        cr_expect(ulps(c.run.seen.data[2 * N + i], x * 0x1p120L / 0x1.8p126L, false) <= 1.5,
                  "%Lg/b is %g", x, c.run.seen.data[2 * N + i]);
    }
    cr_expect(zeros > 0 && zeros < N);
    finish(&c);
}
