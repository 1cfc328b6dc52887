/* optimiser_loops.h: the bodies of optimiser_kernels.h for one type. optimiser_kernels.c includes it for each, with
 * REAL the type, NAME(x) the function's name, SQRT, FABS and FMAX. */

#define LANES 16

/* Adds up lanes that were filled in order; always the same tree. */
static double NAME(total)(double lane[LANES]) {
    for (int width = LANES / 2; width > 0; width /= 2) {
        for (int k = 0; k < width; k++) { lane[k] += lane[k + width]; }
    }
    return lane[0];
}

/* The sum of EXPRESSION(i) over i < count. */
#define SUM(EXPRESSION)                                                                            \
    double lane[LANES] = {0};                                                                      \
    int64_t whole = count / LANES * LANES;                                                         \
    for (int64_t i = 0; i < whole; i += LANES) {                                                   \
        for (int k = 0; k < LANES; k++) { lane[k] += EXPRESSION(i + k); }                          \
    }                                                                                              \
    for (int64_t i = whole; i < count; i++) { lane[i - whole] += EXPRESSION(i); }                  \
    return NAME(total)(lane)

double NAME(squares)(const void *g_, int64_t count) {
    const REAL *g = g_;
#define TERM(i) ((double)g[i] * (double)g[i])
    SUM(TERM);
#undef TERM
}

double NAME(dot)(const void *a_, const void *b_, int64_t count) {
    const REAL *a = a_, *b = b_;
#define TERM(i) ((double)a[i] * (double)b[i])
    SUM(TERM);
#undef TERM
}

double NAME(absolute)(const void *g_, int64_t count) {
    const REAL *g = g_;
#define TERM(i) ((double)FABS(g[i]))
    SUM(TERM);
#undef TERM
}

double NAME(largest)(const void *g_, int64_t count) {
    const REAL *g = g_;
    REAL lane[LANES] = {0};
    int64_t whole = count / LANES * LANES;
    for (int64_t i = 0; i < whole; i += LANES) {
        for (int k = 0; k < LANES; k++) {
            REAL size = FABS(g[i + k]);
            lane[k] = size > lane[k] ? size : lane[k];
        }
    }
    for (int64_t i = whole; i < count; i++) {
        REAL size = FABS(g[i]);
        lane[i - whole] = size > lane[i - whole] ? size : lane[i - whole];
    }
    for (int k = 1; k < LANES; k++) { lane[0] = lane[k] > lane[0] ? lane[k] : lane[0]; }
    return (double)lane[0];
}

void NAME(scale)(void *g_, int64_t count, double factor_) {
    REAL *g = g_;
    const REAL factor = (REAL)factor_;
    for (int64_t i = 0; i < count; i++) { g[i] *= factor; }
}

void NAME(clamp)(void *g_, int64_t count, double limit_) {
    REAL *g = g_;
    const REAL limit = (REAL)limit_;
    for (int64_t i = 0; i < count; i++) {
        REAL cut = g[i] > limit ? limit : g[i];
        g[i] = cut < -limit ? -limit : cut;
    }
}

void NAME(along)(void *restrict to_, const void *x_, double t_, const void *d_, int64_t count) {
    REAL *restrict to = to_;
    const REAL *x = x_, *d = d_, t = (REAL)t_;
    for (int64_t i = 0; i < count; i++) { to[i] = x[i] + t * d[i]; }
}

void NAME(difference)(void *restrict to_, const void *a_, const void *b_, int64_t count) {
    REAL *restrict to = to_;
    const REAL *a = a_, *b = b_;
    for (int64_t i = 0; i < count; i++) { to[i] = a[i] - b[i]; }
}

double NAME(add_dot)(void *restrict d_, double factor_, const void *y_, const void *z_,
                     int64_t count) {
    REAL *restrict d = d_;
    const REAL *y = y_, *z = z_, factor = (REAL)factor_;
    double lane[LANES] = {0};
    int64_t whole = count / LANES * LANES;
    for (int64_t i = 0; i < whole; i += LANES) {
        for (int k = 0; k < LANES; k++) { d[i + k] += factor * y[i + k]; }
        for (int k = 0; k < LANES; k++) { lane[k] += (double)d[i + k] * (double)z[i + k]; }
    }
    for (int64_t i = whole; i < count; i++) {
        d[i] += factor * y[i];
        lane[i - whole] += (double)d[i] * (double)z[i];
    }
    return NAME(total)(lane);
}

void NAME(downhill)(void *restrict d_, const void *g_, const void *x_, const void *x0_, double tau_,
                    int64_t count) {
    REAL *restrict d = d_;
    const REAL *g = g_, *x = x_, *x0 = x0_, tau = (REAL)tau_;
    for (int64_t i = 0; i < count; i++) { d[i] = HELD(i) ? 0 : -g[i]; }
}

void NAME(mask)(void *restrict d_, const void *g_, const void *x_, const void *x0_, double tau_,
                int64_t count) {
    REAL *restrict d = d_;
    const REAL *g = g_, *x = x_, *x0 = x0_, tau = (REAL)tau_;
    for (int64_t i = 0; i < count; i++) { d[i] = HELD(i) ? 0 : d[i]; }
}

void NAME(sgd)(void *restrict p_, const void *g_, void *restrict m_, int64_t count, double rate_,
               double decay_, double momentum_, double dampening, bool nesterov) {
    REAL *restrict p = p_, *restrict m = m_;
    const REAL *g = g_, rate = (REAL)rate_, decay = (REAL)decay_, momentum = (REAL)momentum_,
               fresh = (REAL)(1 - dampening);
    if (!m) {
        for (int64_t i = 0; i < count; i++) { p[i] -= rate * (g[i] + decay * p[i]); }
    } else if (!nesterov) {
        for (int64_t i = 0; i < count; i++) {
            m[i] = momentum * m[i] + fresh * (g[i] + decay * p[i]);
            p[i] -= rate * m[i];
        }
    } else {
        for (int64_t i = 0; i < count; i++) {
            REAL slope = g[i] + decay * p[i];
            m[i] = momentum * m[i] + fresh * slope;
            p[i] -= rate * (slope + momentum * m[i]);
        }
    }
}

void NAME(adam)(void *restrict p_, const void *g_, void *restrict m_, void *restrict v_,
                int64_t count, const double *beta, double decay_, double keep_, double step_,
                double root_, double epsilon_) {
    REAL *restrict p = p_, *restrict m = m_, *restrict v = v_;
    const REAL *g = g_, b1 = (REAL)beta[0], c1 = (REAL)(1 - beta[0]), b2 = (REAL)beta[1],
               c2 = (REAL)(1 - beta[1]), decay = (REAL)decay_, keep = (REAL)keep_,
               step = (REAL)step_, root = (REAL)root_, epsilon = (REAL)epsilon_;
    for (int64_t i = 0; i < count; i++) {
        REAL slope = g[i] + decay * p[i];
        m[i] = b1 * m[i] + c1 * slope;
        v[i] = b2 * v[i] + c2 * slope * slope;
        p[i] = keep * p[i] - step * (m[i] / (SQRT(v[i]) / root + epsilon));
    }
}

void NAME(rmsprop)(void *restrict p_, const void *g_, void *restrict v_, void *restrict mean_,
                   void *restrict m_, int64_t count, double rate_, double decay_, double forget,
                   double epsilon_, double momentum_) {
    REAL *restrict p = p_, *restrict v = v_, *restrict mean = mean_, *restrict m = m_;
    const REAL *g = g_, rate = (REAL)rate_, decay = (REAL)decay_, old = (REAL)forget,
               fresh = (REAL)(1 - forget), epsilon = (REAL)epsilon_, momentum = (REAL)momentum_;
    for (int64_t i = 0; i < count; i++) {
        REAL slope = g[i] + decay * p[i], centre = 0;
        v[i] = old * v[i] + fresh * slope * slope;
        if (mean) {
            mean[i] = old * mean[i] + fresh * slope;
            centre = mean[i] * mean[i];
        }
        REAL variance = v[i] - centre; /* rounding may leave less than nothing */
        REAL way = slope / (SQRT(variance > 0 ? variance : 0) + epsilon);
        if (m) { way = m[i] = momentum * m[i] + way; }
        p[i] -= rate * way;
    }
}

#undef SUM
#undef LANES
