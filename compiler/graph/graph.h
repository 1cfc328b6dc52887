/* graph: the typed, hash-consed, first-order graph between elaboration and kernels.
 *
 * A Module holds grids, stencils, loops, inputs and functions. A function is a list of nodes in
 * topological order (operands have smaller numbers); equal nodes exist once. Loops are nodes whose
 * body is another function; nothing is ever unrolled. All numbers are real numbers: comparisons give
 * 0 and 1. Precision is chosen when kernels are made; constants are kept as double. */
#ifndef PDN_GRAPH_H
#define PDN_GRAPH_H

#include "compiler/base/base.h"
#include "compiler/diagnostic/diagnostic.h"

#define MAX_RANK  3
#define NODE_NONE 0u /* node 0 of every function is reserved */
#define GRID_NONE 0u /* grid 0 is reserved: the "grid" of scalars */

typedef uint32_t Node;
typedef uint32_t GridId;
typedef uint32_t StencilId;
typedef uint32_t ConvId;
typedef uint32_t LoopId;
typedef uint32_t ImplicitId;
typedef uint32_t FuncId;

/* ---- types ------------------------------------------------------------- */

typedef enum {
    TYPE_SCALAR,
    TYPE_FIELD, /* `channels` fields on `grid` */
    TYPE_STACK, /* a run-time number of fields of one shape: a trajectory */
    TYPE_TUPLE, /* what a loop or call gives; only RESULT takes it apart */
} TypeKind;

typedef struct {
    TypeKind kind;
    uint32_t channels; /* 1 for scalars */
    GridId grid;       /* GRID_NONE for scalars and tuples */
} Type;

/* A grid: axis 0 is x, the fastest. Extents are -1 where known only at run time. */
typedef struct {
    uint32_t rank; /* 1 to 3 */
    int64_t extent[MAX_RANK];
    double spacing[MAX_RANK];
    double origin[MAX_RANK]; /* coordinate of the low face */
    GridId finer;            /* the grid that this one halves, or GRID_NONE */
    GridId coarser;          /* the grid that this one doubles, or GRID_NONE */
    /* no domain, but a row of numbers: the entries of a parameter, a number for each channel.
     * Rank 1, spacing 1; fields on it have 1 channel */
    bool row;
    Name name; /* for messages, or 0 */
} Grid;

/* ---- stencils ------------------------------------------------------------- */

/* What a stencil reads beyond the last cell of a side. j = 0 is the first ghost. */
typedef enum {
    SIDE_PERIODIC, /* u[n + j] = u[j] */
    SIDE_EVEN,     /* u[-1 - j] = u[j]                        reflecting */
    SIDE_ODD,      /* u[-1 - j] = 2 v - u[j]                  dirichlet(v), v at the face */
    SIDE_SLOPE,    /* u[-1 - j] = u[j] + (2 j + 1) h v        neumann(v), outward derivative */
    SIDE_GHOST,    /* u[-1 - j] = v                           zero is v = 0 */
} SideKind;

typedef struct {
    int32_t offset[MAX_RANK]; /* in cells; 0 beyond the rank */
    uint32_t from, to;        /* input and output channel */
    double weight;
} Tap;

/* out[to](i) = sum of weight * in[from](i + offset), ghosts as the sides say.
 * With `transposed`, the exact transpose of the homogeneous part (values taken as 0) of that
 * matrix, boundary rows included. Taps are sorted (to, from, offset z, y, x) and distinct.
 * Where weights of an output channel sum to 0 and one tap sits at offset 0, kernels and
 * interpreter compute differences to that cell first: sum of weight * (in(i + offset) - in(i)). */
typedef struct {
    uint32_t rank, in_channels, out_channels;
    bool transposed;             /* then the node maps out_channels to in_channels */
    SideKind sides[MAX_RANK][2]; /* [axis][0 low, 1 high]; periodic comes in pairs */
    bool has_value[MAX_RANK][2]; /* a value operand is given (else the value is 0) */
    Tap *taps;
    uint32_t count;
} Stencil;

/* ---- convolutions -------------------------------------------------------- */

/* A convolution whose weights are an operand: a field on the row of conv_weights numbers, in the order
 * [out][in / groups][size z][size y][size x]. Cross-correlation, as networks have it: with g = out
 * channels a group, output o reads the inputs i of group o / g,
 *   v[o](p) = sum over i, t of w[o][i][t] u[i](stride p + dilation t - low), low = dilation (size - 1) / 2
 * rounded down, an axis each; ghosts as the sides say, their values 0. Forward from a grid to itself (stride 1)
 * or to its coarser one (stride 2); the node's op says which of the three operands is computed. */
typedef struct {
    uint32_t rank, in, out, groups; /* channels; groups divides both */
    uint32_t size[MAX_RANK];        /* taps an axis; this and what follows is 1 beyond the rank */
    uint32_t stride[MAX_RANK];      /* 1 or 2, the same on all axes */
    uint32_t dilation[MAX_RANK];    /* cells from tap to tap */
    SideKind sides[MAX_RANK][2]; /* SLOPE is EVEN, as the values are 0; PERIODIC beyond the rank */
} Conv;

/* Cells that a convolution reads beyond the low and the high side of an axis, at most. */
static inline int64_t conv_low(const Conv *c, uint32_t axis) {
    return (int64_t)c->dilation[axis] * (c->size[axis] - 1) / 2;
}
static inline int64_t conv_high(const Conv *c, uint32_t axis) {
    return (int64_t)c->dilation[axis] * (c->size[axis] - 1) - conv_low(c, axis);
}
/* Why that is no convolution, or NULL. Static text. */
const char *conv_wrong(const Conv *c);
/* Number of weights. */
static inline int64_t conv_weights(const Conv *c) {
    return (int64_t)c->out * (c->in / c->groups) * c->size[0] * c->size[1] * c->size[2];
}

/* ---- nodes ------------------------------------------------------------- */

typedef enum {
    OP_NONE,
#define OP(id, ...) OP_##id,
#include "compiler/ops/ops.def"
#undef OP
    OP_COUNT
} Op;

typedef struct {
    Op op;
    Type type;
    uint32_t first, count; /* operands, in the function's operand array */
    double number;         /* CONST */
    uint32_t index;        /* meaning by op: axis, channel, stencil, loop, function, input, … */
    uint32_t detail;       /* a second one: side of EDGE, … */
    /* where the user wrote it; of a state of a recurrence, its name. Not part of identity */
    Span span;
} NodeData;

/* A number of steps that is so close to a whole one, relatively and in all, stands for it: T / tau was rounded. */
#define LOOP_COUNT_ROUNDING 1e-6
#define LOOP_COUNT_CLOSE    0.1

/* A loop: operands of a LOOP node are (count, states…, captured…); its body is a function of
 * (k, states…, captured…) that returns (next states…[, stop]). k runs from `start` upwards by 1.
 * Results: the last states, then the number of steps done (scalar), then one stack for each collected
 * state: the initial state and every stride-th after it.
 *
 * A BACK node goes through the steps of a LOOP node once more, the last one first: operands (the LOOP node,
 * states…, captured…). Its body is a function of (k, kept…, states…, captured…) that returns the next
 * states: k as in the step that it undoes, `kept` what the states of the LOOP with the numbers in `collect`
 * were before that step. Results: the last states. (start, has_stop and stride mean nothing here.) How the
 * kept states are had, stored or computed again from some that are stored, is the plan's affair. */
typedef struct {
    FuncId body;
    int64_t start;
    uint32_t states, captured;
    bool has_stop;     /* ends after the step whose `stop` is not 0 */
    uint32_t *collect; /* state numbers */
    uint32_t collected;
    int64_t stride; /* of the collected states, >= 1 */
    Name name;      /* for progress and messages */
    Span span;
    /* of a scheme or network: where the program applies it, for its certificate; else none */
    Span call;
    /* with `call`: its step size, where that is a known number called tau and a factor of the step; else 0 */
    double tau;
} Loop;

/* The derivatives of a solution y of A(y) = b: an IMPLICIT node's operands are (y, r, captured by adjoint…,
 * captured by tangent…), r = A(y) - b being a value that depends on what A and b are made of, though not on them
 * through y (DETACH). Functions of (y, w, captured…) whose result solves a linear system with the Jacobian J of A
 * at y: adjoint, of J^T x = w; tangent, of J x = w. By the implicit function theorem the cotangent w of y gives r
 * the cotangent -J^-T w, and the tangent v of r gives y the tangent -J^-1 v. A function 0: no such derivative. */
typedef struct {
    FuncId adjoint, tangent;
    uint32_t adjoint_captured, tangent_captured;
    Name name; /* of the solver */
    Span span;
} Implicit;

typedef struct {
    Type type;
    Name name;
    Span span;
} Input; /* a field or scalar that comes from outside: a file at run time, an argument of a kernel */

typedef enum {
    EFFECT_PRINT,
    EFFECT_REPORT,
    EFFECT_ASSERT,
    EFFECT_SAVE,
    EFFECT_EACH,  /* a loop over data: the host runs another function for every sample */
    EFFECT_TRAIN, /* its values are results of a TASK, which is thereby done here, needed or not */
} EffectKind;

typedef struct {
    EffectKind kind;
    uint32_t number; /* the driver's own number for it: label, path, text of the assertion */
    Node *values;
    uint32_t count;
    Span span;
} Effect; /* in the order of the program; only functions that are programs have any */

typedef struct {
    Name name;
    VEC(NodeData) nodes;
    VEC(Node) operands;
    VEC(Node) params; /* nodes of op PARAM, in order */
    VEC(Node) results;
    VEC(Effect) effects;
    Map shared; /* hash to node, for hash-consing */
} Func;

typedef struct Module {
    Arena *arena;
    Names *names;
    VEC(Grid) grids;
    VEC(Stencil) stencils;
    VEC(Conv) convs;
    VEC(Loop) loops;
    VEC(Implicit) implicits;
    VEC(Input) inputs;
    VEC(Func *) funcs;
    FuncId main; /* 0: none yet; funcs.data[0] is NULL */
} Module;

Module *graph_new(Names *names);
void graph_free(Module *module);

GridId graph_grid(Module *module, const Grid *grid); /* equal grids are one */
GridId graph_coarser(Module *module, GridId fine);   /* half the cells, rounded up */
/* The same, but along an axis of an odd number n of cells, if that is known, its (n + 1) / 2 cells cover the same interval: they
 * are a little narrower than two. */
GridId graph_fitted(Module *module, GridId fine);
/* How restrict and prolong go between a grid and its coarser one (their index). */
typedef enum {
    /* a coarse cell holds 2 finer ones an axis, the last of an odd number 1: their mean */
    RESAMPLE_MEAN,
    RESAMPLE_FIRST, /* the first of these */
    /* to and from a fitted grid: a finer cell counts by what of it a coarse cell covers */
    RESAMPLE_SHARES,
} Resample;
bool grid_shares(const Grid *fine, uint32_t axis); /* is the number of cells known, and odd? */
Resample graph_resample(const Module *module, GridId fine, GridId coarse); /* SHARES or MEAN */
/* The grid that this one halves, or else one of twice the cells, whose coarser grid it is. */
GridId graph_finer(Module *module, GridId coarse);
/* What the grid that *grid was made of, by halving or doubling, must have along an axis for that to have `least` cells (n
 * cells have (n + 1) / 2 coarse ones, 2 n fine ones); *grid becomes that grid. */
int64_t graph_least_extent(const Module *module, GridId *grid, int64_t least);
GridId graph_row(Module *module, int64_t count);                 /* a row of so many numbers */
StencilId graph_stencil(Module *module, const Stencil *stencil); /* sorts; equal ones are one */
ConvId graph_conv(Module *module, const Conv *conv);             /* equal ones are one */
LoopId graph_loop(Module *module, const Loop *loop);             /* copies */
ImplicitId graph_implicit(Module *module, const Implicit *implicit);
FuncId graph_func(Module *module, Name name);
static inline Func *graph_get(const Module *module, FuncId id) { return module->funcs.data[id]; }

/* Adds a node, or finds the equal one. Types are computed by the op's shape rule; operands that do
 * not fit are the caller's fault (assertion): ask graph_shape first. Simplifies as it builds
 * (constant folding, x + 0, x * 1, …: the op's fold rule). */
Node graph_add(Module *module, FuncId func, Op op, const Node *operands, uint32_t count,
               uint32_t index, uint32_t detail, Span span);
/* The same for ops whose type is given, not computed (shape_given): INPUT, COORD, EDGE, SPREAD, … */
Node graph_add_typed(Module *module, FuncId func, Op op, Type type, const Node *operands,
                     uint32_t count, uint32_t index, uint32_t detail, Span span);
Node graph_const(Module *module, FuncId func, double number);
Node graph_param(Module *module, FuncId func, Type type, Name name);
/* The same parameter as number `i` of another function: its type, and the place of its name. */
Node graph_param_like(Module *module, FuncId func, const Func *other, uint32_t i);
Node graph_unary(Module *module, FuncId func, Op op, Node a, Span span);
Node graph_binary(Module *module, FuncId func, Op op, Node a, Node b, Span span);
/* Result number `index` of a loop or call. */
Node graph_result(Module *module, FuncId func, Node tuple, uint32_t index);

static inline NodeData *graph_node(const Func *f, Node n) { return &f->nodes.data[n]; }
static inline Node graph_operand(const Func *f, Node n, uint32_t i) {
    return f->operands.data[f->nodes.data[n].first + i];
}
/* The first node for which `found` says true, of those that results or effects of a function need, in it or in what it
 * calls and loops over, each function once; *in (may be NULL) is the function that holds it. NODE_NONE: there is none. */
typedef bool GraphFound(void *context, FuncId in, Node n);
Node graph_search(const Module *module, FuncId func, GraphFound *found, void *context, FuncId *in);
/* The first node of such an op that results or effects of a function need, in it or in what it calls and loops over;
 * *in (may be NULL) is the function that holds it. NODE_NONE: there is none. */
Node graph_find(const Module *module, FuncId func, Op op, FuncId *in);
bool graph_is_const(const Func *f, Node n, double *number);

Type type_scalar(void);
Type type_field(GridId grid, uint32_t channels);
bool type_equal(Type a, Type b);
/* "128×128, spacing 2, 3 channels" */
char *type_text(const Module *module, Type type, Arena *arena);

/* ---- copying -------------------------------------------------------------- */

/* Copies into `to` what is needed for `node` of `from`, with from's nodes in `known` (pairs through
 * map: old node to new node) replaced; parameters must be known. Used to inline calls, to apply
 * operators kept as graphs, and to substitute. */
Node graph_copy(Module *module, FuncId from, Node node, FuncId to, Map *known);

/* ---- text ------------------------------------------------------------------ */

void graph_print(const Module *module, Text *out);
/* Reads what graph_print wrote; on failure returns NULL and a message with its line. */
Module *graph_read(Names *names, const char *text, size_t length, char **error);
/* NULL if the module is sound, else what is wrong (in the module's arena). */
const char *graph_verify(Module *module);

#endif
