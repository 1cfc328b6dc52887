/* Start values of trainable arrays. */
#include "runtime/pdn.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The array as PyTorch sees it: `out` rows of `in` channels of `taps` numbers. */
typedef struct {
    int64_t out, in, taps;
} Fans;

static Fans fans_of(int rank, const int64_t *shape) {
    Fans f = {rank > 0 ? shape[0] : 1, rank > 1 ? shape[1] : 1, 1};
    for (int i = 2; i < rank; i++) f.taps *= shape[i];
    return f;
}

/* Orthonormal rows, or columns where there are fewer of them, from normal numbers: Gram-Schmidt, twice for each
 * (Giraud, Langou, Rozloznik 2005: then orthogonal to rounding). a: rows × columns. */
static void orthonormalise(double *a, int64_t rows, int64_t columns) {
    int64_t vectors = rows < columns ? rows : columns, length = rows < columns ? columns : rows;
    int64_t next = rows < columns ? columns : 1, step = rows < columns ? 1 : columns;
    for (int64_t v = 0; v < vectors; v++) {
        double *x = a + v * next;
        for (int pass = 0; pass < 2; pass++)
            for (int64_t w = 0; w < v; w++) {
                const double *y = a + w * next;
                double dot = 0;
                for (int64_t i = 0; i < length; i++) dot += x[i * step] * y[i * step];
                for (int64_t i = 0; i < length; i++) x[i * step] -= dot * y[i * step];
            }
        double sum = 0;
        for (int64_t i = 0; i < length; i++) sum += x[i * step] * x[i * step];
        for (int64_t i = 0; i < length; i++) x[i * step] /= sqrt(sum);
    }
}

/* The identity, as far as channels go: the middle tap of channel o of channel o is 1. */
static void dirac(double *a, const Fans *f, int rank, const int64_t *shape) {
    int64_t middle = 0;
    for (int i = 2; i < rank; i++) middle = middle * shape[i] + (shape[i] - 1) / 2;
    memset(a, 0, sizeof *a * (size_t)(f->out * f->in * f->taps));
    for (int64_t o = 0; o < f->out && o < f->in; o++) a[(o * f->in + o) * f->taps + middle] = 1;
}

PdnStatus pdn_initialise(const PdnInit *init, PdnType type, int rank, const int64_t *shape,
                         int64_t frames, uint64_t seed, uint64_t stream, void *to,
                         PdnError *error) {
    Fans f = fans_of(rank, shape);
    int64_t count = f.out * f.in * f.taps;
    double *a = malloc(sizeof *a * (size_t)(count > 0 ? count : 1));
    if (!a) {
        if (error)
            snprintf(error->message, sizeof error->message,
                     "no memory for the start of a parameter of %lld numbers", (long long)count);
        return PDN_ERROR_MEMORY;
    }
    double fan_in = (double)(f.in * f.taps), fan_out = (double)(f.out * f.taps);
    double scale = init->kind == PDN_INIT_HE       ? sqrt(2 / fan_in)
                   : init->kind == PDN_INIT_GLOROT ? sqrt(6 / (fan_in + fan_out))
                                                   : init->b;
    for (int64_t frame = 0; frame < frames; frame++) {
        bool uniform = init->kind == PDN_INIT_UNIFORM || init->kind == PDN_INIT_GLOROT;
        if (init->kind != PDN_INIT_CONSTANT && init->kind != PDN_INIT_DIRAC)
            pdn_random(PDN_F64, uniform, seed, stream + (uint64_t)frame, a, count);
        for (int64_t i = 0; i < count; i++) switch (init->kind) {
            case PDN_INIT_CONSTANT: a[i] = init->a; break;
            case PDN_INIT_UNIFORM: a[i] = init->a + (init->b - init->a) * a[i]; break;
            case PDN_INIT_GLOROT: a[i] = scale * (2 * a[i] - 1); break;
            case PDN_INIT_NORMAL: a[i] = init->a + scale * a[i]; break;
            case PDN_INIT_HE: a[i] *= scale; break;
            default: break;
            }
        if (init->kind == PDN_INIT_ORTHOGONAL) orthonormalise(a, f.out, f.in * f.taps);
        if (init->kind == PDN_INIT_DIRAC) dirac(a, &f, rank, shape);
        for (int64_t i = 0; i < count; i++)
            if (type == PDN_F32)
                ((float *)to)[frame * count + i] = (float)a[i];
            else
                ((double *)to)[frame * count + i] = a[i];
    }
    free(a);
    return PDN_OK;
}
