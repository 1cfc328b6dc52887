/* emit_kernel: what the files that emit kernels share. emit_value.c evaluates kernel nodes at positions;
 * emit_kernel.c arranges cells in vectors, rows and units; emit_carry.c keeps what neighbours need again;
 * emit_copies.c finds channels that are treated alike. */
#ifndef PDN_LLVM_EMIT_KERNEL_H
#define PDN_LLVM_EMIT_KERNEL_H

#include "compiler/llvm/emit.h"

/* Distances of cells of a field. */
typedef struct {
    LLVMValueRef stride[MAX_RANK], channel;
} Strides;

typedef struct {
    LLVMValueRef extent[MAX_RANK], spacing[MAX_RANK], origin[MAX_RANK];
    Strides strides;
} GridValues;

/* Where along one axis: `offset` cells from the cell itself, or (not fixed) at index. */
typedef struct {
    bool fixed;
    int32_t offset;
    LLVMValueRef index;
} Axis;

typedef struct {
    LLVMValueRef vector, scalar; /* accumulators: one a lane; one for columns near sides */
    LLVMTypeRef type;            /* of an accumulator: double for sums */
} Total;

/* Some of what a kernel writes: `count` copies of the code for these outputs and reductions, which are those of the
 * first copy; in each further one channels are so much higher. */
typedef struct {
    KOutputs outputs;
    KReductions reductions;
    uint32_t *reduction; /* their numbers in the kernel */
    uint32_t count;
    int64_t *field_step, *output_step, reduction_step;
    bool *row; /* by field: a row, whose step is of numbers */
} KernelPart;

typedef VEC(KernelPart *) KernelParts;

/* All that the kernel writes, in parts. */
KernelParts kernel_parts(const Kernel *k, Arena *arena);
void kernel_parts_free(KernelParts *parts);

/* A value that the next vector of the row needs again, one cell to the left, or the next row one cell below. */
typedef struct {
    KNode id;
    int32_t at[MAX_RANK];  /* where it is computed; used at x - 1, or y - 1 */
    LLVMValueRef variable; /* the vector before; or two rows that take turns */
} Carry;
typedef VEC(Carry) Carries;

enum { MOST_ROW_CARRIES = 4 };

typedef struct {
    Emit *e;
    const Kernel *k; /* with the outputs and reductions of `part` alone */
    const KernelPart *part;
    LLVMValueRef copy; /* its number; NULL where there is one */
    KernelWords words;
    LLVMValueRef args;
    GridValues *grids;
    LLVMValueRef *fields, *outputs, *scalars, *reciprocals, partials, rows;
    /* by field, by output; of fields on the kernel's own grid */
    Strides *read_strides, *written_strides;
    bool in_parts;         /* it may run in parts: of lines [from, to) */
    bool many_rows;        /* a call computes many */
    LLVMValueRef from, to; /* columns in 2D, rows of a plane in 3D */
    LLVMValueRef stream;   /* write past the caches; NULL where the machine cannot */
    Total *totals;
    LLVMValueRef done;  /* variable of vector_loop */
    LLVMValueRef whole; /* write this vector past the caches? */
    LLVMValueRef even;  /* rows are whole vectors */
    bool ends_done;     /* the ends of rows are vectors, too */
    Carries carries, row_carries;
    bool carrying;      /* this vector takes values from the one before, and leaves its own */
    bool carrying_rows; /* the same of the row before */
    LLVMValueRef row_buffer[MOST_ROW_CARRIES];
    LLVMValueRef turn,
        /* variables: where this row's numbers begin in a buffer; the row after that in the other one */
        row_before;
    LLVMValueRef strip; /* column at which the buffers begin */
    /* the cell that is being computed */
    bool halves;        /* every axis of the grids that are read from is half or twice as long */
    bool vector, inner; /* vectors along x; y and z away from sides */
    enum { X_INSIDE, X_LOW, X_HIGH } ends; /* the vector is the first or the last of its row */
    LLVMValueRef cell[MAX_RANK];
    VEC(Axis) axes[MAX_RANK];
    Map chains, memo, rows_memo;
    VEC(LLVMValueRef) values;
} KE;

/* How a position came from its parent. */
enum { MOVE_FIXED = 16, MOVE_CLAMP, MOVE_WRAP, MOVE_BACK, MOVE_MIRROR };

/* The value of a node at the position with these numbers (of axes[…]). */
LLVMValueRef ke_eval(KE *ke, KNode id, const uint32_t *at);
/* The position along an axis that came from `parent` in this way; *made: it is new and to be filled in. */
uint32_t ke_axis(KE *ke, uint32_t axis, uint32_t parent, int32_t offset, uint32_t how, bool *made);
/* So many cells from the cell itself. */
uint32_t ke_fixed(KE *ke, uint32_t axis, int32_t offset);

LLVMValueRef ke_extent(KE *ke, uint32_t axis);
LLVMValueRef ke_add(KE *ke, LLVMValueRef a, int64_t b);
LLVMValueRef ke_gep(KE *ke, LLVMValueRef base, LLVMValueRef index);
/* Offset of channel and cell (y, z from index[1], index[2]) in a field. */
LLVMValueRef ke_offset(KE *ke, const Strides *s, uint32_t rank, uint32_t channel,
                       const LLVMValueRef *index);
/* 0, 1, 2, … */
LLVMValueRef ke_lanes(KE *ke, LLVMTypeRef element);
/* ---- emit_resample.c ---- */

/* Are all axes of the grids that the kernel restricts or prolongs from just half or twice as long? NULL: there are none. */
LLVMValueRef resample_halves(KE *ke);
/* The vector of a RESTRICT or PROLONG at a position, where ke->halves; NULL: not by shuffles. */
LLVMValueRef resample_vector(KE *ke, const KNodeData *n, const uint32_t *at);

/* The cell, or the first of the vector of cells, that is computed next. `inner`: y and z are away from sides. */
void ke_place(KE *ke, bool vector, bool inner, LLVMValueRef x, LLVMValueRef y, LLVMValueRef z);

/* ---- emit_carry.c ---- */

/* Decides what is carried by the kernel's part. */
void carry_find(KE *ke);
/* The value at a position, from the vector or the row before; NULL: it is not carried. */
LLVMValueRef carry_value(KE *ke, KNode id, const uint32_t *at);
/* Leaves what this vector has for the next one and the next row. */
void carry_leave(KE *ke);
/* Computes what the vector before that at x, of the row before `row` for the columns [from, to), would have left. */
void carry_from_left(KE *ke, LLVMValueRef x, LLVMValueRef y, LLVMValueRef z);
void carry_from_row_before(KE *ke, LLVMValueRef from, LLVMValueRef to, LLVMValueRef y,
                           LLVMValueRef z, LLVMValueRef row);
void carry_row_done(KE *ke, LLVMValueRef row);
/* A loop over strips of the columns [*from, to), if rows carry anything: from *from up to what it returns. */
LLVMValueRef carry_strip_begin(KE *ke, Counting *strips, LLVMValueRef *from, LLVMValueRef to);
void carry_strip_end(KE *ke, Counting *strips);

#endif
