/* execute: runs an elaborated experiment, compiled or interpreted, with its effects. */
#ifndef PDN_EXECUTE_H
#define PDN_EXECUTE_H

#include "compiler/analysis/analysis.h"
#include "compiler/driver/pipeline.h"
#include "runtime/pdn.h"

#include <pthread.h>
#include <stdlib.h>

typedef struct Executable Executable; /* a function of the module, compiled: engine.c */

/* Scratch memory of runs, kept from one to the next. */
typedef struct {
    void *memory;
    uint64_t bytes;
} Workspace;

/* One run of one experiment or test. */
typedef struct {
    Session *session;
    Elaborated *what;
    PdnType type; /* of the data that effects see */
    bool several; /* more than one experiment is run: JSON names them */
    bool test;    /* of `pdn test` and `pdn bench`: nothing is printed but failures */
    bool fma;     /* compiled for a processor that has it */
    bool failed;
    bool traced;      /* the first NaN was looked for */
    uint32_t next;    /* the action after the last one that happened */
    PdnArray *inputs; /* by Module.inputs */
    PdnProgress progress;
    int64_t progress_loop;
    VEC(Executable *) programs;
    PdnHistory *history; /* of the training that runs; NULL: none */
    int64_t cache;       /* as for pdn_relay */
    /* bytes for the states that gradients go back through, of all that runs at once */
    int64_t memory;
    PdnThreads *threads; /* as many as --threads says, else the machine has */
    PdnRooms *rooms;     /* as for pdn_relay */
    Workspace workspace; /* of the experiment, which may run several times */
    VEC(void *) kept;    /* memory of values that tasks gave */
    VEC(uint64_t) told;  /* loops of which --time has told what they kept: function and number */
    struct Profile *profile;   /* where times are added; NULL: nothing is timed */
    int (*run)(void *context); /* in place of run_experiment, which it calls; NULL: that once */
    void *context;
    struct Missed *missed; /* by Elaborated.checks: solvers that did not converge */
    pthread_mutex_t lock;  /* of `missed` and `told` */
} Execution;

/* What a report has seen of a set of data. */
typedef struct {
    uint32_t action;
    double *sum, *squares; /* of each value; deviations from the first seen */
    double *first;
    int64_t count;
} Report;

typedef VEC(Report) Reports;

/* A function as it runs: the experiment, the body of a loop over data, a step of training. */
typedef struct {
    Execution *x;
    FuncId func;
    const PdnGrid *grids;
    uint64_t seed;           /* of its noise */
    PdnThreads *threads;     /* that share its launches; NULL: none but the one that it runs on */
    int beside;              /* others that run at the same time and have as much of the memory */
    struct Meeting *meeting; /* of a batch, and which of its samples this is; NULL: it is alone */
    int64_t sample;
    /* of a batch of a loop over data, of whose samples this is one; NULL: it is alone */
    struct Turns *turns;
    Reports *reports; /* of a loop over data; NULL: a report is printed at once */
    /* of loops over data: "_0002" of sample 2, in the names of what it saves; NULL: of none */
    const char *turn;
} Running;

/* A value that the host holds: a number, the cells of a field, the frames of a stack. */
typedef struct {
    Type type;
    int64_t frames;
    const void *data;
} HostValue;

/* 0: done; 1: failed, with messages in the session's diagnostics. */
int execute(Execution *x);
const char *bytes_text(Arena *arena, double bytes); /* "1.5 MiB" */
/* Is there so much memory? Otherwise a message that says how much is needed. */
bool memory_suffices(Execution *x, double bytes);

/* ---- run.c ---- */
ElaborateOptions elaborate_options(const Session *s, bool check_only);
/* Is every experiment that the command line names there, and one at all? Otherwise a message. */
bool experiments_known(Session *s);
bool experiment_chosen(const Options *o, const char *name);

/* ---- samples.c ---- */
/* Are the samples of every training and loop over data large enough? Otherwise a message names the smallest. */
bool samples_check(Execution *x);

/* ---- effects.c ---- */
/* Action `action` of the program. values: pointers to the scalars and fields; frames[i]: of stacks. Nonzero stops. */
int effect_happens(Running *r, uint32_t action, const void *const *values, const int64_t *frames);
/* Can every `save` be done, by extension and shape, and is its folder there? Asked before anything is computed. */
bool effects_check(Execution *x, bool folders);
/* Prints what the reports of a loop over data have seen, in the order of the program. */
void reports_print(Execution *x, const Report *reports, uint32_t count);
/* The path of a file that is written: in the output folder. */
const char *output_path(const Execution *x, const char *path);
void number_text(char *out, size_t room, double x, PdnType type);

/* ---- nan.c ---- */
/* Notes at `d` where the first number that is not finite arose: found by the interpreter, for some seconds. */
void nan_trace(Execution *x, Diagnostic *d);
/* The node that made it, or the parameter that has it, of a function on these arguments; node 0: none was found. Samples of a batch look side by side
 * where they meet (r->meeting, of numbers in f64). */
typedef struct {
    FuncId func;
    Node node;
    double k; /* of the loop that it is in */
    bool in_loop, infinite;
    bool late; /* there was no time to look any further */
} NanOrigin;
NanOrigin nan_find(const Running *r, const HostValue *arguments);
void nan_report(const Execution *x, const NanOrigin *origin, Diagnostic *d);

/* ---- missed.c: solvers that did not converge ---- */
void missed_open(Execution *x);
/* One more; nonzero: the run stops. May be called by several threads at once. */
int missed_note(Execution *x, uint32_t check, double residual, double tolerance, double steps);
/* Says what was noted, and forgets it. */
void missed_close(Execution *x);

/* ---- inputs.c ---- */
bool inputs_read(Execution *x);
void inputs_free(Execution *x);

/* ---- engine.c: machine code, or the interpreter ---- */
bool engine_has_fma(void);
/* Grids of the module with all extents; those of `grid` (GRID_NONE: none) are `extent`. From calloc. */
PdnGrid *describe_grids(const Module *m, GridId grid, const int64_t *extent);
/* The function compiled, once; NULL after a message, and where it is interpreted. */
Executable *executable_get(Execution *x, FuncId func);
/* Runs a function: results to outputs[i] (room for the numbers of a number, field or stack). 0 or nonzero, with
 * messages where the program failed. */
int run_func(Running *r, const HostValue *arguments, uint32_t count, void *const *outputs,
             Workspace *w);
/* Bytes of workspace that a run of it needs, where states that gradients go back through have so much memory; as code_workspace.
 * 0: it is not compiled. */
uint64_t run_bytes(Running *r, const HostValue *arguments, uint32_t count, int64_t memory);
/* Room for so many bytes; false after a message. */
bool workspace_grow(Execution *x, Workspace *w, uint64_t bytes);
int run_experiment(Execution *x);
/* Whose the function is: "": the experiment's; "train net", "for each". From the session's arena. */
const char *program_name(const Execution *x, FuncId func);
void executables_free(Execution *x);

/* ---- each.c ---- */
/* Waits until it is the turn of a sample of a batch to do what is seen of it: the samples before it are over. Nonzero: one
 * of these has stopped the loop. */
int each_turn(const Running *r);
/* A loop over data: its body for every sample. values: of the effect. Nonzero stops. */
int each_sample(Running *r, const EachTask *task, const HostValue *values);
/* The arguments of a body: fields of the sample, then values of the task. From the arena. */
HostValue *body_arguments(Arena *arena, const Module *m, const TaskBody *body,
                          const PdnSample *sample, const HostValue *values);
/* Seed of the noise of sample number `draw`: a hash, so that all draws are apart. */
uint64_t draw_seed(const Execution *x, uint64_t draw);

/* ---- training_meeting.c ---- */
/* Means of the numbers at `data` over the samples that meet there, as PdnHost.batch_mean. Nonzero: one of them failed. */
int meeting_mean(struct Meeting *meeting, int64_t sample, uint64_t place, void *data, int64_t count,
                 const int64_t *extent);

/* ---- training.c ---- */
/* Trains; results[i] are the new values of the tensors, in memory that x keeps. Nonzero stops. */
int train(Execution *x, uint32_t number, const HostValue *values, HostValue *results);

/* ---- training_constraints.c ---- */
/* What numbers of parameters are, and whose convolutions they have norms as. */
typedef struct {
    PdnType type;
    const Module *module;
} Numbers;
static inline Numbers numbers_of(const Execution *x) { return (Numbers){x->type, x->what->module}; }
/* Moves the frames of a parameter's array, of `count` numbers each, to the nearest that its range and constraints allow. */
void project_tensor(const Numbers *x, const TensorInfo *info, void *data, int64_t frames,
                    int64_t count);
/* Of an array from a file: its numbers are finite, in their range, and as the constraints want them, and NULL is the
 * result; what is so but for rounding is moved there. Else why not, from the arena. */
const char *tensor_fault(const Numbers *x, const TensorInfo *info, const char *name, void *data,
                         int64_t frames, int64_t count, Arena *arena);
/* The message about it. */
void tensor_refuse(Session *s, const char *file, const char *fault, Span span);

#endif
