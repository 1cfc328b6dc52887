/* ops: the table of ops and each op's behaviour. Adding an op is a row in ops.def and its functions
 * in the file of its family (pointwise.c, channel.c, row.c, stencil.c, conv.c, resample.c, reduce.c, source.c,
 * control.c). */
#ifndef PDN_OPS_H
#define PDN_OPS_H

#include "compiler/analysis/analysis.h"
#include "compiler/graph/graph.h"
#include "runtime/pdn.h"

typedef enum {
    CLASS_POINTWISE,
    CLASS_LINEAR,   /* in the first operand */
    CLASS_BILINEAR, /* two operands, linear in each: a convolution in its field and its weights */
    CLASS_REDUCE,
    CLASS_SOURCE,
    CLASS_CONTROL
} OpClass;

typedef struct Evaluator Evaluator; /* the interpreter's state; see ops/eval.h */

/* Result type of a node about to be added, or false and *why (static or arena text). For SOURCE ops
 * with shape_given the caller sets *out beforehand. */
typedef bool ShapeRule(Module *m, FuncId f, Op op, const Node *operands, uint32_t count,
                       uint32_t index, uint32_t detail, Type *out, const char **why);
/* A simpler node equal to the one about to be added, or NODE_NONE. */
typedef Node FoldRule(Module *m, FuncId f, Op op, const Node *operands, uint32_t count,
                      uint32_t index, uint32_t detail, Span span);
/* Computes node n from the values of its operands into `out` (allocated, sized by type). */
typedef void EvalRule(Evaluator *e, FuncId f, Node n, const Array *const *operands, Array *out);
/* POINTWISE: the partial derivative of n by operand i (a node, possibly constant).
 * LINEAR, BILINEAR, REDUCE: the contribution to operand i's cotangent when n's cotangent is w. */
typedef Node DerivativeRule(Module *m, FuncId f, Node n, uint32_t i, Node w);

typedef struct {
    const char *id, *name;
    int operands;
    OpClass class;
    ShapeRule *shape;
    FoldRule *fold;
    EvalRule *eval;
    DerivativeRule *derivative;
    const char *lower;
    int cost;
} OpInfo;

extern const OpInfo op_table[OP_COUNT];
static inline const OpInfo *op_info(Op op) { return &op_table[op]; }
/* Does it compare or reason, so that it gives 0 or 1? */
static inline bool op_is_truth(Op op) {
    return op == OP_LT || op == OP_LE || op == OP_EQ || op == OP_NE || op == OP_AND ||
           op == OP_OR || op == OP_NOT;
}
Op op_by_name(const char *name, size_t length); /* OP_NONE if unknown */

/* Would these operands fit? As ShapeRule; used by elaboration before it adds. */
bool op_shape(Module *m, FuncId f, Op op, const Node *operands, uint32_t count, uint32_t index,
              uint32_t detail, Type *out, const char **why);
/* Do the operands of CONV, CONVT or CONVW and its type go together? Adds nothing to the module. */
bool conv_fits(Module *m, FuncId f, Op op, const Node *operands, uint32_t count, ConvId index,
               Type type, const char **why);

/* The bits of TRIDIAG's detail. Row i of a line's system has the entries lower[i], diagonal[i], upper[i], or, with the
 * first two bits, lower[i - 1] and upper[i + 1]: a symmetric system has one field as both with LOWER_BEFORE. Entries that
 * would multiply what lies beyond the ends are not looked at, unless PERIODIC makes the ends neighbours. */
typedef enum {
    TRIDIAG_LOWER_BEFORE = 1,
    TRIDIAG_UPPER_AFTER = 2,
    TRIDIAG_PERIODIC = 4,
    TRIDIAG_BITS = 7
} TridiagBit;

/* The same as the runtime has it. */
PdnConvShape conv_shape(const Conv *c);

/* ---- rows of numbers ---- */

bool type_is_row(const Module *m, Type type); /* of a row of numbers */
/* Is `row` a row of as many numbers as a field of this type has channels? */
bool row_fits(Module *m, FuncId f, Node row, Type type);
/* `row` as a field of this type: number c in every cell of channel c. */
Node node_bychannel(Module *m, FuncId f, Node row, Type type, Span span);

#endif
