/* optimiser_kernels.c: the loops of optimiser_loops.h, for both types. Compiled to vectorise, without contraction to
 * fused multiply-add: the same bits on every machine. */
#include "runtime/optimiser_kernels.h"

#include <math.h>

#ifdef __FAST_MATH__
#error "optimiser_kernels.c needs IEEE arithmetic: the same training must give the same bits"
#endif

/* Would the step x0 - tau g have moved number i, and did the projection x put it back? */
#define HELD(i) ((x)[i] == (x0)[i] && (x0)[i] - tau * (g)[i] != (x0)[i])

#define REAL    float
#define NAME(x) pdn_##x##_f32
#define SQRT    sqrtf
#define FABS    fabsf
#include "runtime/optimiser_loops.h"
#undef REAL
#undef NAME
#undef SQRT
#undef FABS

#define REAL    double
#define NAME(x) pdn_##x##_f64
#define SQRT    sqrt
#define FABS    fabs
#include "runtime/optimiser_loops.h"
