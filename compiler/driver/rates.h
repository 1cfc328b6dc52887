/* rates: what this machine can do at best, measured now. */
#ifndef PDN_RATES_H
#define PDN_RATES_H

#include "runtime/pdn.h"

#include <stdbool.h>

typedef struct {
    double flops;    /* a second: fused multiply-adds (two each) in registers */
    double bytes;    /* a second: read and written, copying arrays beyond the caches past them */
    int vector_bits; /* of both */
} Rates;

/* With all of these threads, and vectors as those of the code that it is compared with. */

/* Flops a second, the best of a few short tries in some milliseconds. It wanders with the processor's clock: to compare it with a time, ask before
 * and after, as often as for the time. Sets vector_bits of the code to those that it had. */
double rates_flops(PdnThreads *threads, PdnType type, int *vector_bits);
/* Bytes a second, the best of several tries: a fifth of a second or so. 0: there is no memory for the arrays. */
double rates_bytes(PdnThreads *threads, int vector_bits);

#endif
