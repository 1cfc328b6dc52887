/* conv_norm.h: what the files of the norm of a convolution share. Not public; docs/norms.md has the theorems. */
#ifndef RUNTIME_CONV_NORM_H
#define RUNTIME_CONV_NORM_H

#include "runtime/pdn.h"

/* One group of a convolution. Weights are [tap][row][column], tap t = (t2 size1 + t1) size0 + t0; rows are outputs and
 * columns inputs, unless it was transposed. */
typedef struct {
    int rank;
    int64_t rows, columns;
    int64_t size[3], stride[3], dilation[3], low[3], high[3]; /* reach in cells */
    int sides[3][2];
    bool transposed; /* rows are inputs, columns are outputs */
    double *weights;
} NormFilter;

static inline int64_t norm_taps(const NormFilter *f) {
    return f->size[0] * f->size[1] * f->size[2];
}
/* Cell that tap t reads, from the cell's own place. */
static inline int64_t norm_offset(const NormFilter *f, int axis, int64_t t) {
    return t * f->dilation[axis] - f->low[axis];
}

/* Cells of the side whose Gram matrix is taken between neighbouring lags of an axis: those that the stride lets meet. */
static inline int64_t norm_lag_unit(const NormFilter *f, int axis) {
    return f->dilation[axis] % f->stride[axis] == 0 ? f->dilation[axis] / f->stride[axis]
                                                    : f->dilation[axis];
}

/* ---- eigenvalues (conv_norm_eigen.c) ------------------------------------------------- */

/* The largest eigenvalue of all symmetric matrices offered so far, bounded from above by a Cholesky factorisation of
 * bound I - A, to about 1e-10 of it. */
typedef struct {
    double bound;   /* at least its first value */
    double *vector; /* where the largest is, of length 1; NULL: none was above the first bound */
    int64_t count;
    int64_t where[8]; /* for whoever offers: kept from the offer that was the largest */
    bool failed;      /* memory ran out: the bound is none */
} NormTop;

void norm_top_offer(NormTop *top, const double *a, int64_t n, const int64_t where[8]);
void norm_top_free(NormTop *top);

/* ---- symbols (conv_norm_symbol.c) ---------------------------------------------------- */

/* A Hermitian, positive semidefinite trigonometric polynomial, by its lags:
 *   G(w) = sum over d of q[d] prod over even axes of cos(d_a w_a) prod over the others of exp(i d_a w_a),
 * d_a from 0 on even axes, from -reach on others. */
typedef struct {
    int64_t n;        /* matrices n x n */
    int64_t reach[3]; /* the degree */
    bool even[3];
    double *q; /* [d2][d1][d0][n][n] */
} NormLags;

bool norm_lags_new(NormLags *lags); /* with n, reach and even set: zeros */
static inline int64_t norm_lags_length(const NormLags *l, int a) {
    return l->even[a] ? l->reach[a] + 1 : 2 * l->reach[a] + 1;
}
/* sup over w of the largest eigenvalue of G, from samples; where is the frequency (radians) of the largest sample,
 * vector its eigenvector (2 n numbers, real parts first; free it), factor what the sample was multiplied by.
 * Infinity where memory runs out. */
double norm_symbol_bound(const NormLags *lags, double where[3], double **vector, double *factor);
/* Samples of a circle for a polynomial of that degree, by the price of one. */
int64_t norm_samples(int64_t degree, int axes, double price);
/* The i-th of `count` samples in an order that jumps: what grows smoothly would be a new largest at every step. */
int64_t norm_scatter(int64_t i, int64_t count);
/* What a largest sample is multiplied by to bound a polynomial of that degree that is nowhere negative. */
double norm_sample_factor(int64_t degree, int64_t samples);

/* ---- bounds of the square of the norm ------------------------------------------------- */

/* Each: the bound, or infinity where it does not apply, costs too much, cannot be below `enough` or memory runs out.
 * `gradient` (may be NULL) is laid out as the weights; it is set to the derivative of the bound. */
double norm_square_fourier(const NormFilter *f, double *gradient);
double norm_square_parity(const NormFilter *f, double enough, double *gradient);
double norm_square_edges(const NormFilter *f, double enough, double *gradient);

#endif
