/* optimiser_parts.c: work on all numbers of an optimiser, in blocks that threads share. */
#include "runtime/optimiser.h"

#include "runtime/optimiser_kernels.h"

enum { BLOCK = PDN_OPTIMISER_BLOCK };

typedef struct {
    const PdnOptimiser *o;
    PdnOptimiserPart *part;
    const void *call;
} Parts;

static int64_t blocks_of(const PdnOptimiser *o) { return (o->count + BLOCK - 1) / BLOCK; }

static void run_blocks(const void *parts, int64_t begin, int64_t end) {
    const Parts *p = parts;
    int64_t last = end * BLOCK < p->o->count ? end * BLOCK : p->o->count;
    p->part(p->o, p->call, begin * BLOCK, last - begin * BLOCK);
}

void pdn_optimiser_parts(const PdnOptimiser *o, PdnOptimiserPart *part, const void *call,
                         int64_t cycles) {
    Parts parts = {o, part, call};
    pdn_threads_run(o->threads, run_blocks, &parts, blocks_of(o), o->count * cycles);
}

void *pdn_optimiser_at(const PdnOptimiser *o, const void *array, int64_t first) {
    return array ? (char *)array + (size_t)first * pdn_type_size(o->type) : NULL;
}

static void sum_squares(const PdnOptimiser *o, const void *sums, int64_t first, int64_t count) {
    const void *g = o->gradient.data;
    for (int64_t at = first; at < first + count; at += BLOCK) {
        int64_t left = first + count - at;
        ((double *)sums)[at / BLOCK] =
            PDN_KERNEL(o->type, squares, pdn_optimiser_at(o, g, at), left < BLOCK ? left : BLOCK);
    }
}

double pdn_optimiser_squares(PdnOptimiser *o) {
    double *sums = o->sums.data, sum = 0;
    pdn_optimiser_parts(o, sum_squares, sums, 1);
    for (int64_t i = 0; i < blocks_of(o); i++) { sum += sums[i]; }
    return sum;
}
