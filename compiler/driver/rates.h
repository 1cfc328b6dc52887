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

/* With all of these threads, each part the best of several short tries: a fifth of a second or so. `vector_bits`: those
 * of the code that it is compared with. False: there is no memory for the arrays; bytes is 0 then. */
bool rates_measure(PdnThreads *threads, PdnType type, int vector_bits, Rates *rates);

#endif
