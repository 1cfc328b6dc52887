/* sema: names, kinds, shapes; and elaboration: a staged evaluator that runs the operator level of a
 * program and leaves a graph. Knows no loops over cells and no machines. */
#ifndef PDN_SEMA_H
#define PDN_SEMA_H

#include "compiler/diagnostic/diagnostic.h"
#include "compiler/graph/graph.h"
#include "compiler/syntax/ast.h"
#include "runtime/pdn.h"

/* A program with the modules that it uses, parsed and resolved. */
typedef struct Unit Unit;

typedef struct {
    Arena *arena;
    Names *names;
    Sources *sources;
    Diagnostics *diagnostics;
    const char *stdlib; /* folder that replaces the embedded library, or NULL */
} SemaContext;

/* Parses `path` and everything that it uses; resolves names in every definition, used or not. */
Unit *sema_load(const SemaContext *context, const char *path);
/* The same for a text in memory (tests, fuzzers, snippets); `name` is what messages show. */
Unit *sema_load_text(const SemaContext *context, const char *name, const char *text, size_t length);

uint32_t sema_experiments(const Unit *unit);
const char *sema_experiment_name(const Unit *unit, uint32_t i);
uint32_t sema_tests(const Unit *unit);
const char *sema_test_title(const Unit *unit, uint32_t i);
Span sema_test_span(const Unit *unit, uint32_t i);
bool sema_wants_f64(const Unit *unit); /* `precision f64` */

typedef struct {
    const char *name, *value;
} Override; /* name=value of the command line */

/* What a parameter must satisfy, besides its range. */
typedef enum {
    /* `norm(K) <= number`: of a convolution the bound of its norm, else the Euclidean norm */
    CONSTRAINT_NORM,
    CONSTRAINT_SUM, /* `sum(K) == number`: of every filter of a convolution, else of all numbers */
} ConstraintKind;
typedef struct {
    ConstraintKind kind;
    double number;
} Constraint;

/* A trainable array, as the host keeps it. */
typedef struct {
    const char *path; /* "K", "block.K", "K.bias" */
    Type type;        /* of one frame: a number or a field, maybe on a row */
    int64_t depth;    /* frames; -1: no index */
    int rank;         /* of one frame, as it is saved */
    int64_t shape[PDN_TENSOR_RANK];
    double low, high;
    const Constraint *constraints;
    uint32_t constraint_count;
    bool running; /* a rule moves it, no optimiser does */
    bool is_conv;
    const ConvId *convs; /* a convolution: as which it is applied */
    uint32_t conv_count;
} TensorInfo;

/* What an experiment does beside computing; the graph's effects point here by number. */
typedef struct {
    EffectKind kind;
    const char *label;  /* print, report; NULL: none */
    const char *text;   /* assert: the condition as written */
    const char *path;   /* save */
    uint32_t list;      /* save: items of the list, 0: not a list */
    const char **names; /* save: of the items, where the program has names for all; else NULL */
    double time_step;   /* save of a film */
    uint32_t task;      /* each: number in Elaborated.each; train: in Elaborated.trainings */
    const TensorInfo *tensors; /* save of a network: its arrays, one a value */
    /* values of the effect; an assertion of a comparison has (truth, left, right) */
    uint32_t count;
    /* those known while elaborating, in double; the effect has them as constants too */
    double *numbers;
    bool *known;
    Type *types;
    Span span;
    Span *spans; /* of each value */
} Action;

typedef enum {
    SOURCE_FILE,
    SOURCE_START,
    SOURCE_TENSOR,
    SOURCE_ARGUMENT, /* of a kernel: a field or number that its caller gives */
} SourceKind;
typedef struct {
    SourceKind kind;
    const char *path; /* FILE, TENSOR: of the file that fills Module.inputs[i] */
    int channels;     /* FILE: as asked; 0: as the file */
    Span span;
    /* START, TENSOR: a parameter's array */
    PdnInit init;
    uint64_t stream;
    const char *name; /* in the file; of a kernel's parameters: their paths */
    int rank;
    int64_t shape[PDN_TENSOR_RANK];
    int64_t depth;            /* frames of a stack; -1: not a stack */
    const TensorInfo *tensor; /* START, TENSOR: whose range and constraints hold; NULL: none */
    /* of a kernel's parameters: which of their arrays, as the program declares them */
    uint32_t number;
} Source;

/* By index of CHECKED nodes: what is said when a solver did not converge. */
typedef struct {
    const char *solver;
    bool strict; /* the run fails */
    Span span;
} Check;

/* A function of the module that the host runs as a program of its own. Its parameters: the fields of a sample,
 * then values of the task (or effect) that it belongs to. */
typedef struct {
    FuncId func; /* 0: none */
    uint32_t samples;
    uint32_t *values; /* of the other parameters: number of the task's value */
    uint32_t count;
} TaskBody;

/* A set of samples. */
typedef struct {
    /* owned; NULL: every sample is computed by the function that asks for it, or (check) the files
     * are not there */
    PdnData *data;
    PdnDataInfo info;
    const char *text; /* as the program says it, to know it again */
    Span span;
} DataSet;

/* for x in data { … } */
typedef struct {
    uint32_t data;
    GridId grid; /* of the samples, where their sizes differ; else GRID_NONE */
    TaskBody body;
    Span span;
} EachTask;

typedef struct {
    double count;
    bool epochs; /* else steps */
    TaskBody body;
    Span span;
} EveryTask;

typedef struct {
    const char *name; /* of what is trained, as written */
    int64_t data;     /* number in Elaborated.data, or -1 */
    GridId grid;      /* as of EachTask */
    double count;
    bool epochs;
    TensorInfo *tensors; /* they are the first values of the task, in order */
    uint32_t tensor_count;
    uint32_t trained;   /* the first of them, by an optimiser; the others, running ones, by rules */
    int64_t batch_size; /* number of the value that is the number of samples in a batch, or -1 */
    TaskBody step;      /* results: those of `loss`, then gradients by the trained tensors */
    TaskBody loss;      /* results: the loss, then what the rules make of the running tensors */
    EveryTask *every;
    uint32_t every_count;
    const PdnOptimiserOptions *optimiser;
    Span span;
} TrainTask;

/* A value of a kernel's configuration, as the manifest says it. */
typedef struct {
    const char *name, *text;
} Setting;

typedef struct {
    const char *name;
    Module *module;        /* main is the experiment */
    VEC(Setting) settings; /* of a kernel: what it was configured with, defaults included */
    VEC(Action) actions;
    VEC(Source) sources;
    VEC(DataSet) data;
    VEC(TrainTask) trainings; /* by index of TASK nodes */
    VEC(EachTask) each;       /* by Action.task */
    VEC(Check) checks;
    /* Of a kernel, or 0: a function of the module's inputs, then of a cotangent for each result of main. Its
     * results: the cotangents of the inputs that are ARGUMENTs and, without weights, of parameters. */
    FuncId vjp;
} Elaborated;
void sema_free(Elaborated *elaborated); /* the module and the data; NULL is allowed */

typedef struct {
    const Override *overrides;
    uint32_t count;
    bool f64;
    PdnType data;    /* what samples are read as: what the program will run in */
    bool check_only; /* files need not exist: their sizes are then unknown (-1) */
    bool kernel;     /* parameters are inputs, however they would start */
} ElaborateOptions;

/* NULL after errors (in the diagnostics). */
Elaborated *sema_elaborate_experiment(Unit *unit, uint32_t i, const ElaborateOptions *options);
Elaborated *sema_elaborate_test(Unit *unit, uint32_t i, const ElaborateOptions *options);

/* A definition as a kernel: the module has an input for every field and number that it acts on and for every array
 * of its parameters (Elaborated.sources says which is what), main one result an output. */
typedef struct {
    uint32_t rank;
    int64_t extent[MAX_RANK]; /* x first; -1: at run time */
    double spacing[MAX_RANK];
    const Override *overrides; /* configuration */
    uint32_t count;
    bool f64;
    bool weights;  /* parameters have values: they are not differentiated by */
    bool gradient; /* makes Elaborated.vjp */
} KernelOptions;
Elaborated *sema_elaborate_kernel(Unit *unit, const char *name, const KernelOptions *options);

/* The item of the program, or of a module that it uses, whose text holds a place; NULL: none. */
const Item *sema_item_at(const Unit *unit, Span place);
/* The operator, pde, scheme, network or solver of that name that the program sees; NULL: none. */
const Item *sema_definition(const Unit *unit, const char *name);
/* Adds the nearest name to a message about a name that there is not, or the module where it stands, or those that there
 * are (NULL: these): of definitions and experiments, or of what can be built into kernels. */
void sema_suggest(Unit *unit, Diagnostic *message, const char *name, bool kernels);

/* Names that are wrong on the command line are reported with the nearest right ones. */

#endif
