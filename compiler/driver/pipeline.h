/* pipeline: from a program's file to a plan, with dumps and times of each stage. */
#ifndef PDN_PIPELINE_H
#define PDN_PIPELINE_H

#include "compiler/driver/options.h"
#include "compiler/kernel/plan.h"

typedef struct {
    const char *name;
    double seconds; /* of the processor */
} Stage;

typedef struct Ways Ways; /* ways.h */

typedef struct {
    Arena *arena;
    Names *names;
    Sources *sources;
    Diagnostics *diagnostics;
    const Options *options;
    Unit *unit;        /* NULL until loaded */
    double started;    /* seconds */
    double last;       /* end of the stage before */
    VEC(Stage) stages; /* so far */
    Ways *ways;        /* of convolutions; NULL until a plan asks */
} Session;

void session_open(Session *s, const Options *options);
void session_close(Session *s); /* prints what diagnostics are left */
/* prints warnings so far: before what takes long; nothing where there are errors */
void session_warn(Session *s);
bool session_load(Session *s, const char *file);
/* Errors so far are printed; true when there are any. */
bool session_failed(Session *s);
bool session_f64(const Session *s);
/* one more stage has ended; printed with --time */
void session_time(Session *s, const char *stage);

typedef enum { PIPELINE_OK, PIPELINE_DUMPED, PIPELINE_WRONG } PipelineResult;
/* Runs the passes; PIPELINE_DUMPED after a dump that was asked for (of plans only where `plans`). */
PipelineResult pipeline_run(Session *s, Elaborated *what, bool f64, bool fma, bool plans);
/* Bytes for states that gradients go back through: what --memory says, else half of what is free; no more than there is. */
int64_t session_memory(const Session *s);
/* The plan of a function of a module that has passed. */
Plan *pipeline_plan(Session *s, Module *module, FuncId func, bool f64, bool fma);
const char *session_cache(const Session *s); /* the folder, or NULL: none is wanted or known */
/* Is --dump-after a name of the pipeline? Prints what there is, if not. */
bool pipeline_check(const Options *options);

#endif
