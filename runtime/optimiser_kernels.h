/* optimiser_kernels.h: loops over flat arrays of parameters, in f32 and f64. Sums are taken in double over a
 * fixed number of lanes, so that they vectorise and their bits are always the same. */
#ifndef PDN_OPTIMISER_KERNELS_H
#define PDN_OPTIMISER_KERNELS_H

#include "runtime/pdn.h"

/* The kernel of that name for the type, called. */
#define PDN_KERNEL(type, name, ...)                                                                \
    ((type) == PDN_F32 ? pdn_##name##_f32(__VA_ARGS__) : pdn_##name##_f64(__VA_ARGS__))

#define PDN_KERNELS_OF(T)                                                                          \
    double pdn_squares_##T(const void *g, int64_t count);            /* sum of squares */          \
    double pdn_dot_##T(const void *a, const void *b, int64_t count); /* sum of products */         \
    double pdn_absolute_##T(const void *g, int64_t count);           /* sum of absolute values */  \
    double pdn_largest_##T(const void *g, int64_t count);            /* largest absolute value */  \
    void pdn_scale_##T(void *g, int64_t count, double factor);       /* g = factor g */            \
    void pdn_clamp_##T(void *g, int64_t count, double limit);        /* g to [-limit, limit] */    \
    void pdn_along_##T(void *to, const void *x, double t, const void *d,                           \
                       int64_t count);                                              /* x + t d */  \
    void pdn_difference_##T(void *to, const void *a, const void *b, int64_t count); /* a - b */    \
    /* d += factor y; the sum of d z: a step of the two loops of L-BFGS, in one pass */            \
    double pdn_add_dot_##T(void *d, double factor, const void *y, const void *z, int64_t count);   \
    /* d = -g, but 0 where x, the projection of x0 - tau g, has stayed at x0 */                    \
    void pdn_downhill_##T(void *d, const void *g, const void *x, const void *x0, double tau,       \
                          int64_t count);                                                          \
    /* d = 0 in those places */                                                                    \
    void pdn_mask_##T(void *d, const void *g, const void *x, const void *x0, double tau,           \
                      int64_t count);                                                              \
    void pdn_sgd_##T(void *p, const void *g, void *m, int64_t count, double rate, double decay,    \
                     double momentum, double dampening, bool nesterov);                            \
    /* p = keep p - step m / (sqrt(v) / root + epsilon) */                                         \
    void pdn_adam_##T(void *p, const void *g, void *m, void *v, int64_t count, const double *beta, \
                      double decay, double keep, double step, double root, double epsilon);        \
    /* mean, m: NULL where not centred, without momentum */                                        \
    void pdn_rmsprop_##T(void *p, const void *g, void *v, void *mean, void *m, int64_t count,      \
                         double rate, double decay, double forget, double epsilon,                 \
                         double momentum);
PDN_KERNELS_OF(f32)
PDN_KERNELS_OF(f64)
#undef PDN_KERNELS_OF

#endif
