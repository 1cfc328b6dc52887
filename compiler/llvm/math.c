/* Functions of the maths library as vector code: exp, expm1, log, log1p, tanh; sin and cos in f32. Others are called lane by
 * lane.
 *
 * Method: Cephes (Moshier 1989): reduction to a small interval, a polynomial or rational function, scaling.
 * Bounds, measured against higher precision over the whole range (tests/unit/test_code_math.c): 2 ulp, 4 of expm1 in f64; sin
 * and cos are the library's beyond 1e6. Scalars get the same arithmetic; fused multiply-add is used where the target has it,
 * for every lane. */
#include "compiler/llvm/emit.h"

#include <math.h>
#include <stdint.h>

typedef struct {
    Emit *e;
    LLVMTypeRef t;  /* of the values: scalar or vector */
    LLVMTypeRef it; /* integers of the same width and shape */
    bool f64;
} M;

static M open_math(Emit *e, LLVMValueRef x) {
    M m = {e, LLVMTypeOf(x), NULL, e->plan->f64};
    LLVMTypeRef one = m.f64 ? e->i64 : e->i32;
    m.it = LLVMGetTypeKind(m.t) == LLVMVectorTypeKind ? LLVMVectorType(one, LLVMGetVectorSize(m.t))
                                                      : one;
    return m;
}

static LLVMValueRef num(M *m, double value) { return emit_number(m->e, m->t, value); }

static LLVMValueRef integer(M *m, int64_t value) {
    LLVMTypeRef one = m->f64 ? m->e->i64 : m->e->i32;
    LLVMValueRef c = LLVMConstInt(one, (unsigned long long)value, true), all[64];
    if (LLVMGetTypeKind(m->it) != LLVMVectorTypeKind) return c;
    for (uint32_t i = 0; i < LLVMGetVectorSize(m->it); i++) all[i] = c;
    return LLVMConstVector(all, LLVMGetVectorSize(m->it));
}

static LLVMValueRef add(M *m, LLVMValueRef a, LLVMValueRef b) {
    return LLVMBuildFAdd(m->e->b, a, b, "");
}
static LLVMValueRef sub(M *m, LLVMValueRef a, LLVMValueRef b) {
    return LLVMBuildFSub(m->e->b, a, b, "");
}
static LLVMValueRef mul(M *m, LLVMValueRef a, LLVMValueRef b) {
    return LLVMBuildFMul(m->e->b, a, b, "");
}
static LLVMValueRef divide(M *m, LLVMValueRef a, LLVMValueRef b) {
    return LLVMBuildFDiv(m->e->b, a, b, "");
}

/* a b + c */
static LLVMValueRef mad(M *m, LLVMValueRef a, LLVMValueRef b, LLVMValueRef c) {
    if (m->e->machine.fma)
        return emit_intrinsic(m->e, "llvm.fma", m->t, (LLVMValueRef[]){a, b, c}, 3);
    return add(m, mul(m, a, b), c);
}

static LLVMValueRef pick(M *m, LLVMRealPredicate p, LLVMValueRef a, LLVMValueRef b,
                         LLVMValueRef yes, LLVMValueRef no) {
    return LLVMBuildSelect(m->e->b, LLVMBuildFCmp(m->e->b, p, a, b, ""), yes, no, "");
}

/* Horner's scheme; the leading coefficient first. */
static LLVMValueRef polynomial(M *m, LLVMValueRef x, const double *c, uint32_t count) {
    LLVMValueRef p = num(m, c[0]);
    for (uint32_t i = 1; i < count; i++) p = mad(m, p, x, num(m, c[i]));
    return p;
}
#define POLYNOMIAL(m, x, ...)                                                                      \
    polynomial((m), (x), (const double[]){__VA_ARGS__},                                            \
               sizeof((const double[]){__VA_ARGS__}) / sizeof(double))

/* 2^k for an integer k within the range of normal exponents. */
static LLVMValueRef power_of_two(M *m, LLVMValueRef k) {
    LLVMValueRef biased = LLVMBuildAdd(m->e->b, k, integer(m, m->f64 ? 1023 : 127), "");
    return LLVMBuildBitCast(
        m->e->b, LLVMBuildShl(m->e->b, biased, integer(m, m->f64 ? 52 : 23), ""), m->t, "");
}

/* x = k ln 2 + r with |r| <= ln 2 / 2, or k = 0 where |x| < least; y = exp(r) - 1 by polynomial (f32) or 2 r P(r²) / (Q(r²) - r P(r²)) (f64). */
typedef struct {
    LLVMValueRef k, y;
} Reduced;

static Reduced reduce(M *m, LLVMValueRef x, double low, double high, double least) {
    LLVMValueRef v = pick(m, LLVMRealOGT, x, num(m, high), num(m, high), x);
    v = pick(m, LLVMRealOLT, v, num(m, low), num(m, low), v);
    v = pick(m, LLVMRealUNO, v, v, num(m, 0), v);
    LLVMValueRef scaled = mul(m, v, num(m, 1.44269504088896341)), y;
    LLVMValueRef n = emit_intrinsic(m->e, "llvm.rint", m->t, &scaled, 1);
    LLVMValueRef size = emit_intrinsic(m->e, "llvm.fabs", m->t, &v, 1);
    if (least > 0) n = pick(m, LLVMRealOLT, size, num(m, least), num(m, 0), n);
    LLVMValueRef r = mad(m, n, num(m, m->f64 ? -6.93145751953125e-1 : -0.693359375), v);
    r = mad(m, n, num(m, m->f64 ? -1.42860682030941723212e-6 : 2.12194440054690583e-4), r);
    LLVMValueRef rr = mul(m, r, r);
    if (m->f64) {
        LLVMValueRef p =
            mul(m, r, POLYNOMIAL(m, rr, 1.26177193074810590878e-4, 3.02994407707441961300e-2, 1.0));
        LLVMValueRef q = POLYNOMIAL(m, rr, 3.00198505138664455042e-6, 2.52448340349684104192e-3,
                                    2.27265548208155028766e-1, 2.0);
        y = mul(m, num(m, 2), divide(m, p, sub(m, q, p)));
    } else {
        LLVMValueRef p = POLYNOMIAL(m, r, 1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3,
                                    4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1);
        y = mad(m, p, rr, r);
    }
    return (Reduced){LLVMBuildFPToSI(m->e->b, n, m->it, ""), y};
}

/* (1 + y) 2^k, in two steps, so that results that are not normal come out right. */
static LLVMValueRef math_exp(Emit *e, const LLVMValueRef *x) {
    M m = open_math(e, x[0]);
    Reduced d = reduce(&m, x[0], m.f64 ? -746 : -104, m.f64 ? 710 : 89, 0);
    LLVMValueRef half = LLVMBuildAShr(e->b, d.k, integer(&m, 1), "");
    LLVMValueRef y = mul(&m, add(&m, d.y, num(&m, 1)), power_of_two(&m, half));
    y = mul(&m, y, power_of_two(&m, LLVMBuildSub(e->b, d.k, half, "")));
    return pick(&m, LLVMRealUNO, x[0], x[0], x[0], y);
}

/* y 2^k + (2^k - 1); where 2^k is so large that the 1 is lost, in two steps as well. */
static LLVMValueRef math_expm1(Emit *e, const LLVMValueRef *x) {
    M m = open_math(e, x[0]);
    Reduced d = reduce(&m, x[0], -60, m.f64 ? 710 : 89, 0.5);
    LLVMValueRef half = LLVMBuildAShr(e->b, d.k, integer(&m, 1), "");
    LLVMValueRef first = power_of_two(&m, half),
                 second = power_of_two(&m, LLVMBuildSub(e->b, d.k, half, ""));
    LLVMValueRef large = mul(&m, mul(&m, add(&m, d.y, num(&m, 1)), first), second);
    LLVMValueRef scale = mul(&m, first, second);
    LLVMValueRef y = mad(&m, d.y, scale, sub(&m, scale, num(&m, 1)));
    y = pick(&m, LLVMRealOGT, x[0], num(&m, 60), large, y);
    y = pick(&m, LLVMRealOEQ, x[0], num(&m, 0), x[0], y); /* -0 */
    return pick(&m, LLVMRealUNO, x[0], x[0], x[0], y);
}

/* x = m 2^k with sqrt(1/2) <= m < sqrt(2); log(1 + f), f = m - 1, as f - f²/2 + f³ R(f); plus k ln 2. */
static LLVMValueRef math_log(Emit *e, const LLVMValueRef *x) {
    M m = open_math(e, x[0]);
    LLVMBuilderRef b = e->b;
    int bits = m.f64 ? 52 : 23;
    double tiny = m.f64 ? 0x1p-1022 : 0x1p-126, lift = m.f64 ? 0x1p54 : 0x1p25;
    LLVMValueRef small = LLVMBuildFCmp(b, LLVMRealOLT, x[0], num(&m, tiny), "");
    LLVMValueRef v = LLVMBuildSelect(b, small, mul(&m, x[0], num(&m, lift)), x[0], "");
    LLVMValueRef word = LLVMBuildBitCast(b, v, m.it, "");
    /* exponent such that the mantissa lies around 1 */
    LLVMValueRef root = integer(&m, m.f64 ? 0x3fe6a09e667f3bcd : 0x3f3504f3);
    LLVMValueRef k = LLVMBuildAShr(b, LLVMBuildSub(b, word, root, ""), integer(&m, bits), "");
    LLVMValueRef mantissa = LLVMBuildBitCast(
        b, LLVMBuildSub(b, word, LLVMBuildShl(b, k, integer(&m, bits), ""), ""), m.t, "");
    LLVMValueRef exponent = LLVMBuildSIToFP(b, k, m.t, "");
    exponent = LLVMBuildSelect(b, small, sub(&m, exponent, num(&m, m.f64 ? 54 : 25)), exponent, "");
    LLVMValueRef f = sub(&m, mantissa, num(&m, 1)), ff = mul(&m, f, f), y;
    if (m.f64) {
        LLVMValueRef p = POLYNOMIAL(&m, f, 1.01875663804580931796e-4, 4.97494994976747001425e-1,
                                    4.70579119878881725854e0, 1.44989225341610930846e1,
                                    1.79368678507819816313e1, 7.70838733755885391666e0);
        LLVMValueRef q = POLYNOMIAL(&m, f, 1.0, 1.12873587189167450590e1, 4.52279145837532221105e1,
                                    8.29875266912776603211e1, 7.11544750618563894466e1,
                                    2.31251620126765340583e1);
        y = mul(&m, f, mul(&m, ff, divide(&m, p, q)));
    } else {
        y = mul(&m, mul(&m, f, ff),
                POLYNOMIAL(&m, f, 7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1,
                           -1.2420140846e-1, 1.4249322787e-1, -1.6668057665e-1, 2.0000714765e-1,
                           -2.4999993993e-1, 3.3333331174e-1));
    }
    y = mad(&m, exponent, num(&m, -2.121944400546905827679e-4), y);
    y = mad(&m, ff, num(&m, -0.5), y);
    y = mad(&m, exponent, num(&m, 0.693359375), add(&m, f, y));
    y = pick(&m, LLVMRealOEQ, x[0], num(&m, INFINITY), x[0], y);
    y = pick(&m, LLVMRealOEQ, x[0], num(&m, 0), num(&m, -INFINITY), y);
    return pick(&m, LLVMRealOGE, x[0], num(&m, 0), y, num(&m, NAN));
}

/* log(u) with u = 1 + x as it is rounded, and c/u for what the rounding left out: 1 + x = u + c. (W. Kahan's method,
 * as in Sun's fdlibm.) */
static LLVMValueRef math_log1p(Emit *e, const LLVMValueRef *x) {
    M m = open_math(e, x[0]);
    LLVMValueRef one = num(&m, 1), u = add(&m, x[0], one), log = math_log(e, &u);
    LLVMValueRef c = pick(&m, LLVMRealOGT, x[0], one, sub(&m, one, sub(&m, u, x[0])),
                          sub(&m, x[0], sub(&m, u, one)));
    LLVMValueRef y = add(&m, log, divide(&m, c, u));
    y = pick(&m, LLVMRealOEQ, u, num(&m, 0), log, y); /* -1 */
    y = pick(&m, LLVMRealOEQ, u, num(&m, INFINITY), log, y);
    return pick(&m, LLVMRealOEQ, x[0], num(&m, 0), x[0], y); /* -0 */
}

/* Odd polynomial or rational function near 0, else 1 - 2 / (exp(2 |x|) + 1). */
static LLVMValueRef math_tanh(Emit *e, const LLVMValueRef *x) {
    M m = open_math(e, x[0]);
    LLVMValueRef z = mul(&m, x[0], x[0]), near, size = emit_intrinsic(e, "llvm.fabs", m.t, x, 1);
    if (m.f64) {
        LLVMValueRef p = POLYNOMIAL(&m, z, -9.64399179425052238628e-1, -9.92877231001918586564e1,
                                    -1.61468768441708447952e3);
        LLVMValueRef q = POLYNOMIAL(&m, z, 1.0, 1.12811678491632931402e2, 2.23548839060100448583e3,
                                    4.84406305325125486048e3);
        near = mad(&m, mul(&m, x[0], z), divide(&m, p, q), x[0]);
    } else {
        LLVMValueRef p = POLYNOMIAL(&m, z, -5.70498872745e-3, 2.06390887954e-2, -5.37397155531e-2,
                                    1.33314422036e-1, -3.33332819422e-1);
        near = mad(&m, mul(&m, p, z), x[0], x[0]);
    }
    LLVMValueRef twice = add(&m, size, size), grown = math_exp(e, &twice);
    LLVMValueRef far = sub(&m, num(&m, 1), divide(&m, num(&m, 2), add(&m, grown, num(&m, 1))));
    far = emit_intrinsic(e, "llvm.copysign", m.t, (LLVMValueRef[]){far, x[0]}, 2);
    return pick(&m, LLVMRealOLT, size, num(&m, 0.625), near, far);
}

/* x = n π/2 + r with |r| <= π/4, in double: n and r, as integers and numbers of x's kind. π/2 in two parts, of which the first
 * has 33 bits (fdlibm, e_rem_pio2.c): exact below TURNS_EXACT. */
#define TURNS_EXACT 1e6

typedef struct {
    LLVMValueRef n, r;
} Turned;

static Turned turn(M *m, LLVMValueRef x) {
    Emit *e = m->e;
    LLVMTypeRef wide = e->f64;
    if (LLVMGetTypeKind(m->t) == LLVMVectorTypeKind)
        wide = LLVMVectorType(e->f64, LLVMGetVectorSize(m->t));
    LLVMValueRef v = LLVMBuildFPExt(e->b, x, wide, "");
    LLVMValueRef scaled =
        LLVMBuildFMul(e->b, v, emit_number(e, wide, 6.36619772367581382433e-01), "");
    LLVMValueRef n = emit_intrinsic(e, "llvm.rint", wide, &scaled, 1);
    LLVMValueRef first =
        LLVMBuildFMul(e->b, n, emit_number(e, wide, 1.57079632673412561417e+00), "");
    LLVMValueRef second =
        LLVMBuildFMul(e->b, n, emit_number(e, wide, 6.07710050650619224932e-11), "");
    LLVMValueRef r = LLVMBuildFSub(e->b, LLVMBuildFSub(e->b, v, first, ""), second, "");
    return (Turned){LLVMBuildFPToSI(e->b, n, m->it, ""), LLVMBuildFPTrunc(e->b, r, m->t, "")};
}

/* Is the bit of n set? */
static LLVMValueRef has_bit(M *m, LLVMValueRef n, int bit) {
    LLVMValueRef b = LLVMBuildAnd(m->e->b, n, integer(m, bit), "");
    return LLVMBuildICmp(m->e->b, LLVMIntNE, b, integer(m, 0), "");
}

/* sin(x + more π/2) where |x| is below TURNS_EXACT. */
static LLVMValueRef turned_sine(M *m, LLVMValueRef x, int more) {
    Emit *e = m->e;
    LLVMValueRef size = emit_intrinsic(e, "llvm.fabs", m->t, &x, 1);
    LLVMValueRef inside = pick(m, LLVMRealOLE, size, num(m, TURNS_EXACT), x, num(m, 0));
    Turned t = turn(m, inside);
    LLVMValueRef rr = mul(m, t.r, t.r), n = LLVMBuildAdd(e->b, t.n, integer(m, more), "");
    LLVMValueRef s = POLYNOMIAL(m, rr, -1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1);
    LLVMValueRef c =
        POLYNOMIAL(m, rr, 2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2);
    s = mad(m, mul(m, s, rr), t.r, t.r);
    if (!more) s = pick(m, LLVMRealOLT, size, num(m, 0x1p-12), x, s); /* and -0 is itself */
    c = mad(m, mul(m, c, rr), rr, mad(m, rr, num(m, -0.5), num(m, 1)));
    LLVMValueRef v = LLVMBuildSelect(e->b, has_bit(m, n, 1), c, s, "");
    return LLVMBuildSelect(e->b, has_bit(m, n, 2), LLVMBuildFNeg(e->b, v, ""), v, "");
}

/* Larger numbers, and what is none, are the library's: they are rare. */
static LLVMValueRef sine(Emit *e, const char *library, LLVMValueRef x, int more) {
    M m = open_math(e, x);
    if (m.f64) return NULL;
    LLVMValueRef v = turned_sine(&m, x, more), size = emit_intrinsic(e, "llvm.fabs", m.t, &x, 1);
    Rare rare;
    LLVMValueRef large = LLVMBuildFCmp(e->b, LLVMRealUGT, size, num(&m, TURNS_EXACT), "");
    emit_rare_begin(e, &rare, large);
    LLVMValueRef there = LLVMBuildSelect(e->b, large, emit_library(e, library, &x, 1), v, "");
    emit_rare_end(e, &rare, &v, &there, 1);
    return v;
}

static LLVMValueRef math_sin(Emit *e, const LLVMValueRef *x) { return sine(e, "sin", x[0], 0); }
static LLVMValueRef math_cos(Emit *e, const LLVMValueRef *x) { return sine(e, "cos", x[0], 1); }

/* Adding a function is a row. */
static const struct {
    Op op;
    LLVMValueRef (*emit)(Emit *e, const LLVMValueRef *x);
} functions[] = {
    {OP_EXP, math_exp},   {OP_EXPM1, math_expm1}, {OP_LOG, math_log}, {OP_LOG1P, math_log1p},
    {OP_TANH, math_tanh}, {OP_SIN, math_sin},     {OP_COS, math_cos},
};

LLVMValueRef emit_math(Emit *e, Op op, const LLVMValueRef *x) {
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++)
        if (functions[i].op == op) return functions[i].emit(e, x);
    return NULL;
}
