/* execute: runs an elaborated experiment, compiled or interpreted, with its effects. */
#ifndef PDN_EXECUTE_H
#define PDN_EXECUTE_H

#include "compiler/analysis/analysis.h"
#include "compiler/driver/pipeline.h"
#include "runtime/pdn.h"

/* One run of one experiment or test. */
typedef struct {
    Session *session;
    Elaborated *what;
    PdnType type; /* of the data that effects see */
    bool several; /* more than one experiment is run: JSON names them */
    bool test;    /* of `pdn test`: nothing is printed but failures */
    bool failed;
    bool traced;      /* the first NaN was looked for */
    PdnArray *inputs; /* by Module.inputs */
    PdnProgress progress;
    int64_t progress_loop;
} Execution;

/* 0: done; 1: failed, with messages in the session's diagnostics. */
int execute(Execution *x);
/* Is there so much memory? Otherwise a message that says how much is needed. */
bool memory_suffices(Execution *x, double bytes);

/* ---- effects.c ---- */
/* values: pointers to the scalars and fields; frames[i]: of stacks. Nonzero stops. */
int effect_happens(Execution *x, uint32_t action, const void *const *values, const int64_t *frames);
/* Can every `save` be done, by extension and shape, and is its folder there? Asked before anything is computed. */
bool effects_check(Execution *x, bool folders);

/* ---- nan.c ---- */
/* Notes at `d` where the first number that is not finite arose: found by the interpreter, for some seconds. */
void nan_trace(Execution *x, Diagnostic *d);

/* ---- inputs.c ---- */
bool inputs_read(Execution *x);
void inputs_free(Execution *x);

/* ---- engine.c: machine code ---- */
bool engine_has_fma(void);
int engine_run(Execution *x, const Plan *plan);

#endif
