/* optimiser.h: what the files of the optimisers share. Private to the runtime. */
#ifndef PDN_OPTIMISER_H
#define PDN_OPTIMISER_H

#include "runtime/file.h"

typedef enum {
    RANGE_POSITIVE,     /* > 0, finite */
    RANGE_NOT_NEGATIVE, /* >= 0, finite */
    RANGE_FRACTION,     /* 0 <= value < 1 */
    RANGE_WHOLE,        /* 1, 2, … */
    RANGE_WHOLE_OR_0,
    RANGE_SWITCH, /* 0 or 1 */
} PdnRange;

typedef struct {
    const char *name; /* NULL ends the list */
    double initial;   /* what it is when not given; NaN: must be given */
    PdnRange range;
} PdnArgumentRow;
#define REQUIRED ((double)__builtin_nanf(""))

/* The places of arguments in `arguments`: lbfgs_history, adam_beta1, …, schedule_step_every, … */
#define CLIPPING(optimiser)                                                                        \
    ARGUMENT(optimiser, clip_norm, __builtin_inf(), RANGE_POSITIVE)                                \
    ARGUMENT(optimiser, clip_value, __builtin_inf(), RANGE_POSITIVE)
#define ARGUMENT(of, name, initial, range) of##_##name,
#define OPTIMISER(name, check, state, step, update, loss, arguments)                               \
    enum { arguments name##_arguments };
#include "runtime/optimisers.def"
#undef OPTIMISER
#undef ARGUMENT
#define ARGUMENT(of, name, initial, range)         schedule_##of##_##name,
#define SCHEDULE(name, function, place, arguments) enum { arguments schedule_##name##_arguments };
#include "runtime/schedules.def"
#undef SCHEDULE
#undef ARGUMENT

/* Where the training stands: step `step` of `steps` (0: not known). */
typedef struct {
    double step, steps;
} PdnMoment;

#define PDN_MOST_ARGUMENTS 16
#define PDN_MOST_SCHEDULES 8
#define PDN_MOST_STATES    12

typedef enum { PLACE_ANY, PLACE_FIRST } PdnPlace;

typedef struct {
    const char *name;
    double (*rate)(const double *arguments, double rate, PdnMoment *moment);
    PdnPlace place;
    const PdnArgumentRow *arguments;
} PdnScheduleRow;

/* Why an optimiser that ends by itself has ended. */
typedef enum { NOT_CONVERGED, CONVERGED_GRADIENT, CONVERGED_LOSS, CONVERGED_SEARCH } PdnConvergence;

/* A call of pdn_optimiser_step. */
typedef struct {
    void *parameters;
    PdnEvaluate *evaluate;
    PdnProject *project;
    void *context;
    double rate;
    double *loss;
    PdnError *error;
} PdnStep;

typedef enum { LOSS_ANY, LOSS_FIXED } PdnLossKind;

typedef struct {
    const char *name;
    PdnStatus (*check)(const double *arguments, PdnError *error);
    PdnStatus (*state)(PdnOptimiser *o, PdnError *error);
    PdnStatus (*step)(PdnOptimiser *o, const PdnStep *call);
    void (*update)(PdnOptimiser *o, void *parameters, double rate);
    PdnLossKind loss;
    const PdnArgumentRow *arguments;
} PdnOptimiserRow;

struct PdnOptimiser {
    const PdnOptimiserRow *row;
    PdnType type;
    int64_t count;
    PdnThreads *threads;
    bool fixed;
    double arguments[PDN_MOST_ARGUMENTS];
    double clip_norm, clip_value; /* infinite: none */
    const PdnScheduleRow *schedules[PDN_MOST_SCHEDULES];
    double schedule_arguments[PDN_MOST_SCHEDULES][PDN_MOST_ARGUMENTS];
    int schedule_count;
    PdnArray gradient;
    PdnArray sums;       /* f64: of each block, while they are added */
    PdnArray scratch[4]; /* `count` numbers each, as many as `state` made */
    PdnNamedArray state[PDN_MOST_STATES];
    int states;
    /* the place of a number of the state, a PdnConvergence; < 0: it never ends by itself */
    int converged;
};

/* Adds an array to the state; its data are o->state[place].array.data, places in the order of the calls. */
PdnStatus pdn_state_add(PdnOptimiser *o, const char *name, PdnType type, int rank,
                        const int64_t *shape, PdnError *error);
/* A number of the state, always an f64. */
static inline double *pdn_state_number(PdnOptimiser *o, int place) {
    return o->state[place].array.data;
}

/* Numbers of a block: a thread takes whole ones, and a sum is that of their sums, in order. */
#define PDN_OPTIMISER_BLOCK 16384
/* Does `part` for all numbers, some after `first` at a time, on the threads; `cycles`: about how many a number takes. */
typedef void PdnOptimiserPart(const PdnOptimiser *o, const void *call, int64_t first,
                              int64_t count);
void pdn_optimiser_parts(const PdnOptimiser *o, PdnOptimiserPart *part, const void *call,
                         int64_t cycles);
/* Where number `first` of such an array is; NULL where there is none. */
void *pdn_optimiser_at(const PdnOptimiser *o, const void *array, int64_t first);
/* The sum of the squares of the gradient. */
double pdn_optimiser_squares(PdnOptimiser *o);

/* Evaluates into o->gradient; PDN_ERROR_STOPPED with its message. */
PdnStatus pdn_step_evaluate(PdnOptimiser *o, const PdnStep *call, double *loss);
/* PDN_ERROR_DIVERGED with its message unless the loss and the gradient, by the sum of its squares, are finite. */
PdnStatus pdn_step_finite(PdnOptimiser *o, const PdnStep *call, double loss, double squares);

/* The behaviour of the rows. */
PdnStatus pdn_sgd_check(const double *arguments, PdnError *error);
PdnStatus pdn_lbfgs_check(const double *arguments, PdnError *error);
PdnStatus pdn_sgd_state(PdnOptimiser *o, PdnError *error);
PdnStatus pdn_adam_state(PdnOptimiser *o, PdnError *error);
PdnStatus pdn_rmsprop_state(PdnOptimiser *o, PdnError *error);
PdnStatus pdn_lbfgs_state(PdnOptimiser *o, PdnError *error);
PdnStatus pdn_step_once(PdnOptimiser *o, const PdnStep *call);
PdnStatus pdn_lbfgs_step(PdnOptimiser *o, const PdnStep *call);
void pdn_sgd_update(PdnOptimiser *o, void *parameters, double rate);
void pdn_adam_update(PdnOptimiser *o, void *parameters, double rate);
void pdn_adamw_update(PdnOptimiser *o, void *parameters, double rate);
void pdn_rmsprop_update(PdnOptimiser *o, void *parameters, double rate);

double pdn_schedule_constant(const double *arguments, double rate, PdnMoment *moment);
double pdn_schedule_step(const double *arguments, double rate, PdnMoment *moment);
double pdn_schedule_cosine(const double *arguments, double rate, PdnMoment *moment);
double pdn_schedule_warmup(const double *arguments, double rate, PdnMoment *moment);

#endif
