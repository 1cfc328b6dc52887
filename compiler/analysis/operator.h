/* operator: linear operators as explicit sparse matrices on small grids that stand for all
 * sizes. */
#ifndef PDN_ANALYSIS_OPERATOR_H
#define PDN_ANALYSIS_OPERATOR_H

#include "compiler/analysis/analysis.h"

/* ---- how nodes depend on the variables ---------------------------------------------- */

/* A simple coefficient is the same in every cell but near the boundary: numbers and masks of
 * edges. A simple linear node is made of variables by stencils, sums, channels and simple
 * coefficients: its matrix on a small grid shows its rows on every larger one. */
typedef enum { SIMPLE_COEFFICIENT, OTHER_COEFFICIENT, SIMPLE_LINEAR, NOT_SIMPLE } SimpleKind;

typedef struct {
    uint8_t kind;
    bool zero;             /* the number 0 */
    int32_t low[MAX_RANK]; /* of linear nodes: how far they read towards each side, in cells */
    int32_t high[MAX_RANK];
} Simple;

/* By node; `variable` says which parameters are variables. With `places`, coefficients that the
 * interpreter can compute from the grid alone count as simple too: the matrix is then that of
 * this very grid. Freed by the caller (mem_free). */
Simple *operator_scan(Module *module, FuncId func, const bool *variable, bool places);
/* A copy of `func` with every call put in place; 0 where that grows beyond reason. */
FuncId operator_inline(Module *module, FuncId func);
/* The linear part of a linear or affine function of parameter 0: the same parameters. 0 if there
 * is none. */
FuncId operator_homogeneous(Module *module, FuncId func);

/* What analyses add to a module for their own use, taken away again. */
typedef struct {
    uint32_t funcs, loops;
} ModuleMark;
ModuleMark operator_mark(const Module *module);
void operator_release(Module *module, ModuleMark mark);

/* ---- matrices ------------------------------------------------------------------------- */

typedef struct {
    uint32_t rows, columns;
    uint32_t *start; /* rows + 1 */
    uint32_t *index; /* columns, ascending in a row */
    double *value;
    bool exact; /* no arithmetic was rounded on the way */
} Sparse;

typedef struct {
    GridId grid;
    uint32_t rank;
    int64_t extent[MAX_RANK];
    int64_t low[MAX_RANK], high[MAX_RANK]; /* how far the operator reads towards each side */
} SmallGrid;

/* The matrix of result `result` by parameter `param`, the other parameters taken as 0. Impulses
 * that no cell reads together (by grid->low and high) share a run. False where the interpreter
 * refuses (a grid smaller than a stencil). */
bool operator_matrix(Module *module, FuncId func, uint32_t param, uint32_t result,
                     const SmallGrid *grid, Arena *arena, Sparse *out);
Sparse sparse_transpose(const Sparse *a, Arena *arena);
/* a + factor b; a may have no rows yet (zero). */
Sparse sparse_add(const Sparse *a, const Sparse *b, double factor, Arena *arena);
Sparse sparse_multiply(const Sparse *a, const Sparse *b, Arena *arena);
double sparse_largest(const Sparse *a);

/* Upper bound of the spectral norm of a matrix whose rows and columns are those of every larger
 * grid (or, with `actual`, of this matrix alone): Schur's test, and Collatz-Wielandt with
 * weights by cell or by channel of the `channels` that the columns have. Rounded outward. */
double sparse_norm_bound(const Sparse *a, bool actual, uint32_t channels, Arena *arena,
                         const char **theorem);

/* The grids that stand for all sizes allowed by a grid's extents: extents that are large enough
 * are cut to `enough` or a little more; unknown ones are each of 1 … that. `windows` has the
 * grid and how far is read. Calls `visit` for each; stops when it returns false. */
typedef bool VisitGrid(void *context, const SmallGrid *grid, bool actual);
bool operator_sizes(Module *module, const SmallGrid *windows, const int64_t *enough,
                    VisitGrid *visit, void *context);

#endif
