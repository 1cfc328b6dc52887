/* value.h: what the staged evaluator computes with. Private to sema.
 *
 * Values live in the unit's arena and never change. A run-time value is a node of the graph function
 * that was being built when it was made (its Frame); used in an inner one it is captured there. */
#ifndef PDN_VALUE_H
#define PDN_VALUE_H

#include "compiler/analysis/analysis.h"
#include "compiler/ops/ops.h"
#include "compiler/sema/sema.h"
#include "runtime/pdn.h"

#define APPLY_DEPTH_LIMIT 1000         /* operators applied within operators */
#define UNROLL_LIMIT      100000       /* passes of a `for` over a range */
#define WORK_LIMIT        1000000      /* applications and passes in one elaboration */
#define LIST_LIMIT        1000000      /* items of a list */
#define CHANNELS_LIMIT    1024         /* of a field that a derivative or stencil takes */
#define FAR_ITERATION     2147483647.0 /* the count of a recurrence that ends by `until` alone */

typedef struct Value Value;
typedef struct Operator Operator;
typedef struct Elab Elab;
typedef struct Parameter Parameter; /* param.h */
typedef struct Instance Instance;
typedef struct Local Local;

typedef VEC(Node) Nodes;

/* ---- scopes and frames ------------------------------------------------------- */

/* A chain of bindings, newest first; a scope grows by consing, so closures keep what they saw. */
typedef struct Env Env;
struct Env {
    const Env *outer;
    Name name;
    const Value *value;
    Span span;
};
/* No binding: what is found beyond it belongs to a finer grid (coarse.c). Its value is NULL where the coarse grid has
 * twice the spacing, a number where it is fitted. */
#define ENV_COARSE ((Name)0)

/* The steps from a grid to a coarser one; NULL: none. */
typedef struct Coarsening Coarsening;
struct Coarsening {
    const Coarsening *before;
    bool fit; /* to the grid of graph_fitted */
};

/* A graph function under construction. Nodes of an enclosing frame enter as captured parameters. */
typedef struct {
    Node outer; /* in the parent's function */
    Node inner; /* the parameter here */
} Capture;

/* A running parameter in a function: what it was at its start, and what it has become. Nodes of the frame. */
typedef struct {
    Parameter *parameter;
    Node before, now;
} Moved;

typedef struct Frame Frame;
struct Frame {
    Frame *parent;
    FuncId func;
    Node step; /* of the body of a loop: the parameter that counts its steps; else NODE_NONE */
    VEC(Capture) captures;
    bool training;    /* of a loss: what running parameters become is among its results */
    VEC(Moved) moved; /* also of loops inside of such a frame */
};

/* A file of the program: what its definitions see. */
typedef struct {
    const Program *program;
    const Env *env;     /* names of the modules it uses, then its own */
    const char *folder; /* for paths; ends with '/' or is "" */
} Home;

/* ---- boundaries ---------------------------------------------------------------- */

typedef struct {
    SideKind kind[MAX_RANK][2];
    Node value[MAX_RANK][2]; /* NODE_NONE is 0; nodes of the field's own frame */
    Span span;               /* of the `boundary` statement */
    /* Two operands that disagree: a derivative of their sum is taken one by one, of anything else it
     * is an error that names both. */
    const Value *left, *right;
    Op clash;           /* OP_ADD, OP_SUB; OP_NONE: cannot be taken apart */
    bool gradient;      /* differences across faces: what `grad` gave, times something */
    const char *reason; /* why the boundary of the expression is not known */
} Boundary;

/* ---- values -------------------------------------------------------------------- */

typedef enum {
    VALUE_ERROR,  /* was reported; silently spreads */
    VALUE_NUMBER, /* known while elaborating */
    VALUE_STRING,
    VALUE_LIST,
    VALUE_RANGE, /* 0..n: first, and one past the last */
    VALUE_ARROW, /* 1 -> 16 */
    VALUE_GRID,
    VALUE_NODE,      /* a run-time number, a field, a stack of fields */
    VALUE_OPERATOR,  /* whatever can be applied */
    VALUE_SIDE,      /* reflecting, dirichlet(v), …: the right side of `boundary` */
    VALUE_SEQUENCE,  /* the unknown of a recurrence, to be indexed */
    VALUE_END,       /* the index `end` */
    VALUE_THUNK,     /* a `let` at the top of a file, evaluated when first asked for */
    VALUE_HIDDEN,    /* of a step of a training, where `every` holds statements of the experiment */
    VALUE_PARAMETER, /* an indexed one, without its index */
    VALUE_CONV,      /* conv(1 -> 16), for a `param` */
    VALUE_INIT,      /* he, glorot, …: how parameters start */
    VALUE_DATA,      /* a set of samples, by its number in Elaborated.data */
    VALUE_OPTIMISER,
    VALUE_SCHEDULE,
} ValueKind;

typedef struct Recurrence Recurrence;

struct Value {
    ValueKind kind;
    Span span;
    union {
        double number;
        struct {
            const char *bytes;
            uint32_t length;
            bool from_command_line;
        } string;
        struct {
            const Value **items;
            uint32_t count, leaves;
        } list; /* leaves: with those of lists inside it */
        struct {
            double first, last;
        } range;
        GridId grid;
        struct {
            Frame *frame;
            Node node;
            const Boundary *boundary;
        } node; /* boundary NULL: not stated */
        const Operator *op;
        struct {
            SideKind side;
            const Value *value;
        } side; /* value NULL: 0 */
        struct {
            Recurrence *recurrence;
            uint32_t unknown;
            const Coarsening *coarse; /* how its states are restricted */
        } sequence;
        struct {
            const Item *item;
            const Home *home;
        } thunk;
        Parameter *parameter;
        const struct ConvSpec *conv;
        PdnInit init;
        struct {
            uint32_t number; /* in Elaborated.data */
            /* of synthetic(…): what a sample is, and where its names are looked up */
            const Expr *sample;
            const Env *env;
        } data;
        const PdnOptimiserOptions *optimiser;
        const PdnScheduleOptions *schedule;
    };
};

/* ---- operators ------------------------------------------------------------------ */

typedef struct BuiltinInfo BuiltinInfo;

typedef enum {
    OPERATOR_DEF,   /* operator, pde, scheme, network, solver; with or without its configuration */
    OPERATOR_FN,    /* fn */
    OPERATOR_LOCAL, /* let A(u) = … */
    OPERATOR_BUILTIN,
    OPERATOR_STENCIL, /* stencil([…]) */
    OPERATOR_POWER,   /* a ^ count */
    OPERATOR_COMPOSE, /* items, applied from the last to the first */
    OPERATOR_SUM,     /* items added */
    OPERATOR_SCALE,   /* factor * a */
    OPERATOR_ADJOINT, /* of a */
    OPERATOR_JVP,
    OPERATOR_VJP,        /* of a, at `at` */
    OPERATOR_TRAJECTORY, /* of a, every count-th state */
    OPERATOR_FLOW,       /* minus the variational derivative of a, which gives a number */
    OPERATOR_CONV,       /* a trainable convolution, or one of several */
    OPERATOR_UNKNOWN,    /* the left side of a `solve`, as a function of its unknown */
    /* a, of a list of fields, as an operator of one field that holds all their channels */
    OPERATOR_PACKED,
} OperatorKind;

struct Operator {
    OperatorKind kind;
    Span span;
    Name name;        /* 0: none */
    const Item *item; /* DEF, FN */
    const Stmt *stmt; /* LOCAL, UNKNOWN */
    const Env *env;   /* LOCAL, UNKNOWN: where it was made */
    const Home *home; /* DEF, FN: whose names it sees */
    bool configured;  /* DEF: config holds a value for every parameter of the first list */
    const Value **config;
    const BuiltinInfo *builtin;
    const Operator *a;
    const Operator **items;
    uint32_t count;         /* of items; exponent; stride */
    const Value *factor;    /* SCALE; JVP, VJP: the point */
    const Stencil *stencil; /* STENCIL: taps of one channel to one channel, sides unset */
    Instance *instance;     /* DEF: its parameters; LOCAL, UNKNOWN: of the body that it stands in */
    uint64_t pass;          /* LOCAL, UNKNOWN: of the `for` loops around it */
    Local *local;           /* LOCAL; UNKNOWN: of the local operator around it, or NULL */
    Parameter *parameter;   /* CONV */
    const Value *index;     /* CONV: which one; NULL where it has no index */
    const Coarsening *coarse; /* DEF, FN, LOCAL, UNKNOWN: from which grid to which */
    Recurrence *recurrence;   /* UNKNOWN: of a recurrence, and which; NULL: stmt names it */
    uint32_t unknown;
    const Value *like; /* UNKNOWN, PACKED: has the shape and boundary of what it acts on */
};

/* ---- the evaluator's state --------------------------------------------------------- */

struct Unit {
    SemaContext context;
    Arena *arena;
    VEC(Home *) homes;       /* the program first, then what it uses */
    VEC(const char *) paths; /* of the homes: module names and files */
    VEC(const Item *) experiments;
    VEC(const Item *) tests;
    const Env *globals; /* of the program */
    bool f64;
};

typedef struct {
    const Item *item;
    const Value *value; /* NULL while being evaluated */
} GlobalLet;

/* A gradient at sides with values: the same gradient across the low faces of the cells, which `div` needs
 * for the face of the low side that no cell stores. */
typedef struct {
    FuncId func;
    Node high, low;
} GradientFace;

struct Elab {
    Unit *unit;
    Frame *root; /* of the main function */
    VEC(GlobalLet) lets;
    Arena *arena;
    Diagnostics *diagnostics;
    /* there were before this was elaborated, and such as only say that something was not applied */
    uint32_t errors;
    Names *names;
    Module *module;
    Frame *frame;
    Elaborated *out;
    const ElaborateOptions *options;
    uint32_t depth;     /* of applications */
    uint32_t work;      /* applications and passes so far */
    uint32_t streams;   /* random streams handed out */
    const char *folder; /* of the program's file, see Home */
    bool *used_overrides;
    VEC(GradientFace) gradients;
    VEC(Span) calls; /* spans of the user's calls that are being applied, outermost first */
    /* the root of all, and that of the body that is being elaborated */
    Instance *program, *instance;
    uint64_t pass; /* tells the passes of the `for` loops around apart */
    /* of the local operator whose body is being elaborated; NULL: of none */
    Local *local;
    bool global; /* it is a `let` of a file that is being elaborated */
    /* by number of a definition's place: holds parameters (1) or not (2) */
    Map trainable;
    VEC(Instance *) instances;
    VEC(Parameter *) parameters; /* all, in the order in which they were made */
    const Operator *solver;      /* the outermost one whose body is being elaborated; NULL: none */
    uint32_t solvers;            /* applied within each other */
    /* in which the outermost one was applied: it answers for those in its iteration */
    const Frame *solver_frame;
    /* solves inside the derivatives of solves: these have none themselves */
    uint32_t deriving;
    bool training; /* what is elaborated belongs to the body of a `train` */
    /* an input that the host sets for each batch; NULL: nobody asked */
    const Value *batch_size;
    bool declaring; /* instance_declare: what cannot be made yet is left */
};

/* Arguments of a call, evaluated. */
typedef struct {
    Name name;
    Span span;
    const Value *value;
    const Expr *expr; /* as written; NULL when made by the evaluator */
} Argument;

typedef struct {
    Argument *items;
    uint32_t count;
    Span span; /* of the call */
} Arguments;

/* The vector's data goes with the arena; the vector itself lies there. */
#define vec_adopt(arena, v) arena_adopt((arena), (void **)&(v)->data)

/* No mistake was found so far. Else what a statement did not do, such as applying a network, may be its mistake: that
 * it was not done is then no message of its own. */
static inline bool elab_sound(const Elab *e) {
    return diagnostics_errors(e->diagnostics) <= e->errors;
}

/* ---- value.c: making and asking ------------------------------------------------------ */

Value *value_new(Elab *e, ValueKind kind, Span span);
const Value *value_error(Elab *e);
const Value *value_number(Elab *e, double number, Span span);
/* values in a list and the lists inside it: lists that share parts stay small enough to visit */
#define LIST_MAX 1000000
const Value *value_list(Elab *e, const Value **items, uint32_t count, Span span);
const Value *value_operator(Elab *e, const Operator *op, Span span);
const Value *value_node(Elab *e, Node node, const Boundary *boundary,
                        Span span); /* of the current frame */
/* An input of the main function, with what fills it; a node of that function, as a value. */
Node program_input(Elab *e, Type type, Source source);
const Value *program_value(Elab *e, Node node, Span span);
const Value *value_at(Elab *e, const Value *value,
                      Span span); /* the same value, at another place */
Node value_to_node(Elab *e,
                   const Value *value); /* numbers and nodes, in the current frame; else 0 */
/* The boundary of a run-time value with its value nodes brought into the current frame. */
const Boundary *value_boundary(Elab *e, const Value *value);
Type value_type(Elab *e, const Value *value); /* of a NODE; a NUMBER is a scalar */
bool value_is_field(Elab *e, const Value *value);
bool value_is_scalar(Elab *e, const Value *value); /* a number, known or not */
bool value_is_builtin(const Value *value, const char *name);
const char *
value_describe(Elab *e, const Value *value); /* "a field of 3 channels on 64×64", "the number 2" */
/* A static number, or a message that `what` must be known while elaborating. */
bool value_static(Elab *e, const Value *value, const char *what, double *number);
bool value_static_int(Elab *e, const Value *value, const char *what, double low, double high,
                      int64_t *number);

const Env *env_bind(Elab *e, const Env *env, Name name, const Value *value, Span span);
const Env *env_find(const Env *env, Name name);

Frame *frame_push(Elab *e, Name name);
void frame_pop(Elab *e);
Node frame_use(Elab *e, Frame *owner,
               Node node); /* the node in the current frame, captured where needed */

/* A message at `span`. Inside library code the place is the user's call, and the line of the library is a
 * note (docs/language.md, "Errors"). */
#define report(e, id, span, ...)                                                                   \
    report_place(                                                                                  \
        (e), diag_report((e)->diagnostics, DIAG_##id, report_span((e), (span)), ##__VA_ARGS__),    \
        (span))
Span report_span(const Elab *e, Span span);
Diagnostic *report_place(const Elab *e, Diagnostic *d, Span span);

/* ---- coarse.c ----------------------------------------------------------------------------- */

/* The value on the coarser grid. */
const Value *value_coarse(Elab *e, const Value *value, const Coarsening *how, Span span);
/* The environment with marks: what is found beyond one is coarse. */
const Env *env_coarse(Elab *e, const Env *env, const Coarsening *how);
const Coarsening *env_marks(Elab *e, const Env *env, const Env *found); /* between the two */

/* ---- expr.c, arith.c ------------------------------------------------------------------- */

const Value *eval_expr(Elab *e, const Env *env, const Expr *expr);
const Value *eval_unary(Elab *e, AstOp op, const Value *a, Span span);
const Value *eval_binary(Elab *e, AstOp op, const Value *a, const Value *b, Span span);
/* A graph op on run-time values, boundaries joined; lists componentwise. */
const Value *eval_pointwise(Elab *e, Op op, const Value *const *operands, uint32_t count,
                            Span span);

/* ---- apply.c ----------------------------------------------------------------------------- */

const Value *apply(Elab *e, const Value *callee, const Arguments *arguments);
const Value *apply_operator(Elab *e, const Operator *op, const Value *const *inputs, uint32_t count,
                            const Value *time, Span span);
const Value *apply_one(Elab *e, const Operator *op, const Value *input, Span span);
/* The arguments of a call as values; those of builtins that read words (`d(u, x)`) as texts. */
Arguments eval_arguments(Elab *e, const Env *env, const Value *callee, const Expr *call);
const Env *operator_env(const Operator *op); /* where its names are looked up */
const char *operator_name(Elab *e, const Operator *op);

/* Counts one more application or pass; false, with one message, when there were too many. */
bool elab_work(Elab *e, Span span);

/* ---- block.c, recurrence.c ------------------------------------------------------------------ */

/* Runs the statements of a definition's block; the value of `return`, or of a pde's equations. */
const Value *eval_block(Elab *e, const Env *env, const Item *item, const Block *block);
/* Runs the statements of an experiment or test. */
void eval_experiment(Elab *e, const Env *env, const Block *block);
/* The same for the statements of a loop over data, or of `every`. */
void eval_statements(Elab *e, const Env *env, const Block *block);
/* That of `train`: minimise and every go to the function, which is false where it failed. False: something failed. */
typedef bool TrainStatement(void *context, const Env *env, const Stmt *stmt);
bool eval_training(Elab *e, const Env *env, const Block *block, TrainStatement *statement,
                   void *context);
/* The value of a text of the command line, read as an expression of the program. */
const Value *eval_override(Elab *e, const Override *override, bool as_text);
/* A loop region: `body` gets k and the states of one step (in the loop's frame) and returns the next
 * ones. The last states come back in `states`. `stop` may be left NULL. */
typedef bool LoopBody(Elab *e, void *context, const Value *k, const Value **states,
                      const Value **stop);
bool build_loop(Elab *e, Name name, const Value *count, int64_t start, const Value **states,
                uint32_t n, LoopBody *body, void *context, Span span);
const Value *eval_recurrence(Elab *e, const Env *env, const Item *item, const Block *block);
/* `let a, b = e` and `let A(u) = e`. */
const Env *let_bind(Elab *e, const Env *env, const Stmt *stmt);
bool block_has_recurrence(const Block *block);
const Value *sequence_index(Elab *e, const Env *env, const Value *sequence, const Expr *expr);
const Env *boundary_statement(Elab *e, const Env *env, const Env *target, const Stmt *stmt);
const Value *assign_boundary(Elab *e, const Value *field, const Value *side, int axis, int which,
                             Span span);

/* ---- derive.c --------------------------------------------------------------------------------- */

/* Taps of the central difference of `order` and `accuracy` on unit spacing: weights for offsets
 * -reach..reach. Returns reach. Source: Fornberg 1988. */
int derivative_weights(int order, int accuracy, double *weights);
/* cells along an axis: what a kernel holds at the sides of its interior */
#define STENCIL_REACH_MAX      100
#define DERIVATIVE_REACH_LIMIT 16
const Value *derive_grad(Elab *e, const Value *u, Span span);
const Value *derive_div(Elab *e, const Value *w, Span span);
const Value *derive_axis(Elab *e, const Value *u, int axis, int order, int accuracy, Span span);
const Value *derive_laplacian(Elab *e, const Value *u, int accuracy, Span span);
/* A stencil of one channel applied to every channel of u. */
const Value *derive_stencil(Elab *e, const Value *u, const Stencil *stencil, bool odd[MAX_RANK],
                            Span span);
/* The numbers of the cells along an axis, 0 for the first, as a field of one channel. */
Node cell_number(Elab *e, GridId grid, uint32_t axis, Span span);
/* What a derivative, odd along some axes, makes of the boundary of its field: values become 0, and where it is
 * odd, even and odd continuation change places. NULL stays NULL. */
const Boundary *boundary_derived(Elab *e, const Boundary *b, const bool odd[MAX_RANK]);
/* Lists componentwise; sums of fields with different boundaries term by term; `one` for the rest. Another
 * expression whose boundary is not known gets a message. */
typedef const Value *OneDerivative(Elab *e, const Value *u, const void *what, Span span);
const Value *take_apart(Elab *e, const Value *u, OneDerivative *one, const void *what, Span span);
const Boundary *boundary_join(Elab *e, Op op, const Value *const *operands, uint32_t count,
                              Span span);
/* For another field than `field`, with its sides: a parameter, a state, what is not a sum. Where sides disagree, it cannot be
 * taken apart: the terms are those of `field`. */
const Boundary *boundary_like(Elab *e, const Value *field);

/* ---- prelude_fields.c ----------------------------------------------------------------------- */

/* A path of the program, to be read: relative to the program's file, or as the command line gave it. */
const char *read_path(const Elab *e, const Value *text);
/* A frame of a film, counted from 0, or from -1 backwards; a message where it is known that there is none. */
const Value *cells_of(Elab *e, GridId grid, Span span); /* their number */
const Value *film_frame(Elab *e, const Value *film, const Value *index, Span span);

/* ---- prelude_layers.c: rows of numbers ---------------------------------------------------------------- */

/* Number `index` of a row, from 0; a message where there is none. */
const Value *row_entry(Elab *e, const Value *row, const Value *index, Span span);

/* ---- running.c: parameters that rules move (param.h) ----------------------------------------------------- */

/* Samples of the batch, a number at run time in a training, elsewhere 1. */
const Value *batch_size(Elab *e, Span span);
/* Of a loop's frame, with so many states: adds what running parameters have become to the results of its body, before
 * `stop`; gives the body in which they are states after the others, and adds their starts to the operands; and tells the
 * frame around what the loop has made of them. */
void running_results(Elab *e, const Frame *frame);
FuncId running_states(Elab *e, const Frame *frame, uint32_t states, Nodes *operands);
void running_done(Elab *e, const Frame *frame, Node loop, uint32_t states);

/* ---- proof.c ----------------------------------------------------------------------------------- */

const Value *prove_stable(Elab *e, const Operator *op, const Value *f, Span span);
/* Is a step with this body (k, u, captured…) proved unstable? Then a message with the largest stable step. One back in time,
 * with a negative tau, is only warned of. */
bool refute_step(Elab *e, FuncId body, const Env *env, Span span);
const Value *prove_norm(Elab *e, const Operator *op, const Value *grid_or_field, Span span);
const Value *prove_lipschitz(Elab *e, const Operator *op, const Arguments *arguments);
const Value *apply_adjoint(Elab *e, const Operator *op, const Value *w, Span span);
const Value *apply_jvp(Elab *e, const Operator *op, const Value *at, const Value *v, Span span);
const Value *apply_vjp(Elab *e, const Operator *op, const Value *at, const Value *w, Span span);

/* ---- variation.c ----------------------------------------------------------------------------------- */

/* -δE/δu for a field, a number or a list of them. */
const Value *apply_flow(Elab *e, const Operator *energy, const Value *u, const Value *time,
                        Span span);
/* The diagonal of the derivative of A at u. */
const Value *operator_diagonal(Elab *e, const Operator *op, const Value *u, Span span);

/* ---- builtin.c: the prelude ------------------------------------------------------------------------ */

typedef const Value *BuiltinCall(Elab *e, const BuiltinInfo *info, const Arguments *arguments);
/* A row of builtins.def. */
struct BuiltinInfo {
    const char *name;
    BuiltinCall *call;
    int least, most;   /* arguments; most -1: any number; least -1: a word that is not called */
    const char *words; /* names of the arguments, in order, separated by blanks */
    Op op;             /* of pointwise functions and reductions */
    int number;        /* what else the function wants to know */
};
const BuiltinInfo *builtin_find(const Names *names, Name name);
const BuiltinInfo *builtin_at(uint32_t i); /* NULL past the last */
/* Does this builtin read `text` as a word in this place, or as the argument called `argument` ("": none), such as the axis
 * in d(u, x), not as a name? `bound`: there is such a name. */
bool builtin_reads_word(const char *builtin, uint32_t position, const char *argument,
                        const char *text, bool bound);
const Value *builtin_value(Elab *e, const BuiltinInfo *info, Span span);
/* Checks number and names of the arguments, then calls. */
const Value *builtin_call(Elab *e, const Env *env, const BuiltinInfo *info,
                          const Arguments *arguments);
/* Argument `i` of a call to a builtin, by position or by name; NULL when absent. */
const Value *argument_get(Elab *e, const BuiltinInfo *info, const Arguments *arguments, uint32_t i);
#define BUILTIN(name, call, least, most, words, op, number)                                        \
    const Value *call(Elab *e, const BuiltinInfo *info, const Arguments *arguments);
#define WORD(name, number)
#include "compiler/sema/builtins.def"
#undef WORD
#undef BUILTIN

/* ---- resolve.c -------------------------------------------------------------------------------------- */

void resolve_unit(Unit *unit);
void suggest_name(Unit *unit, Diagnostic *d, const Env *env, Name wanted);
/* Adds which module of the library has that name; false: none. */
bool suggest_module(Diagnostic *d, const char *name);

#endif
