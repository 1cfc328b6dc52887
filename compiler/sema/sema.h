/* sema: names, kinds, shapes; and elaboration: a staged evaluator that runs the operator level of a
 * program and leaves a graph. Knows no loops over cells and no machines. */
#ifndef PDN_SEMA_H
#define PDN_SEMA_H

#include "compiler/diagnostic/diagnostic.h"
#include "compiler/graph/graph.h"
#include "compiler/syntax/ast.h"

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

/* What an experiment does beside computing; the graph's effects point here by number. */
typedef struct {
    EffectKind kind;
    const char *label;  /* print, report; NULL: none */
    const char *text;   /* assert: the condition as written */
    const char *path;   /* save */
    uint32_t list;      /* save: items of the list, 0: not a list */
    const char **names; /* save: of the items, where the program has names for all; else NULL */
    double time_step;   /* save of a film */
    uint32_t
        count; /* values of the effect; an assertion of a comparison has (truth, left, right) */
    double *
        numbers; /* those known while elaborating, in double; the effect has them as constants too */
    bool *known;
    Type *types;
    Span span;
    Span *spans; /* of each value */
} Action;

typedef struct {
    const char *path; /* of the file that fills Module.inputs[i] */
    int channels;     /* as asked; 0: as the file */
    Span span;
} Source;

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
} Elaborated;

typedef struct {
    const Override *overrides;
    uint32_t count;
    bool f64;
    bool check_only; /* files need not exist: their sizes are then unknown (-1) */
} ElaborateOptions;

/* NULL after errors (in the diagnostics). */
Elaborated *sema_elaborate_experiment(Unit *unit, uint32_t i, const ElaborateOptions *options);
Elaborated *sema_elaborate_test(Unit *unit, uint32_t i, const ElaborateOptions *options);

/* A definition as a kernel: main has one parameter an input and one result an output. */
typedef struct {
    uint32_t rank;
    int64_t extent[MAX_RANK]; /* x first; -1: at run time */
    double spacing[MAX_RANK];
    const Override *overrides; /* configuration */
    uint32_t count;
    bool f64;
} KernelOptions;
Elaborated *sema_elaborate_kernel(Unit *unit, const char *name, const KernelOptions *options);

/* Names that are wrong on the command line are reported with the nearest right ones. */

#endif
