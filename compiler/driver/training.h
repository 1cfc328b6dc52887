/* training: one `train` as it runs. Private to the driver's training_*.c files. */
#ifndef PDN_TRAINING_H
#define PDN_TRAINING_H

#include "compiler/driver/execute.h"

/* All tensors in one array, each at a multiple of 64 bytes, frames one after the other. */
typedef struct {
    int64_t offset;        /* of tensor i, in numbers */
    int64_t frames, count; /* 1 without index; numbers of a frame */
} Place;

typedef struct Meeting Meeting;

/* to[i] += from[i], in order: each `to` is that of the one before, or what that was added from. */
enum { GRADIENT_LEVELS = 64 };
typedef struct {
    void *to[GRADIENT_LEVELS], *from[GRADIENT_LEVELS];
    int count;
} Additions;

/* Gradients of a batch as they are summed. Those of neighbours are added, in pairs, pairs of pairs, …, as soon as both are
 * there: a thread that goes through its samples in order has as many in memory as the tree has levels. */
typedef struct {
    void **waiting; /* by sample: the sum of one half of what meets there; NULL: none */
    int64_t batch, room;
    void *whole; /* when all are there, and these additions are done */
    Additions last;
    /* gradients that nobody uses; numbers that the loss does not depend on are 0 in them */
    void **free;
    int free_count, free_room;
    int64_t made;
    bool lacking; /* there was no memory for one */
} GradientSum;

typedef struct {
    Execution *x;
    const TrainTask *task;
    uint32_t number;
    Arena *arena;
    HostValue *values; /* of the task; those of the tensors point into `parameters` */
    Place *places;
    /* numbers in `parameters` that the optimiser moves; those of running tensors stand behind them */
    int64_t total;
    int64_t running;
    void *parameters;
    /* by result of the step, after the loss and the running tensors: by which tensor */
    uint32_t *gradient_of;
    uint32_t gradients;
    /* a batch */
    const PdnSample *samples; /* NULL: a step without data, or of computed samples */
    int64_t batch;
    uint64_t draw;   /* of its first sample */
    const void *at;  /* parameters at which it is evaluated */
    GradientSum sum; /* of `total` numbers */
    char *moved;     /* of each sample: what the rules make of running tensors */
    char *next;      /* the mean of these */
    /* task->batch_size: its first bytes are a number of the program's precision */
    double batch_value;
    double *loss; /* of each sample */
    int *status;
    bool *finite; /* of each sample, its gradient; looked at where one is sought that is not */
    bool looking;
    PdnGrid **grids;       /* of each sample */
    int64_t room;          /* samples that there is room for */
    int64_t block;         /* samples that a thread takes at once */
    Workspace *workspaces; /* free ones: a stack */
    int workspace_count, workspace_room;
    int64_t least;        /* cycles that a sample took, the fastest of all; 0: none ran yet */
    pthread_mutex_t lock; /* of the sum, the workspaces, `least` */
    /* what the last evaluation gave: numbers that are not finite */
    enum { WHOLE, LOSS_BROKEN, GRADIENT_BROKEN, RUNNING_BROKEN } found;
    bool fixed;       /* the loss is the same function in every step */
    bool meets;       /* the step takes means over the batch */
    Meeting *meeting; /* while it runs so */
} Training;

static inline size_t number_bytes(const Training *t) { return t->x->type == PDN_F32 ? 4 : 8; }

/* training_step.c: loss and gradient at `parameters` (the mean over the batch), a thread a sample. Nonzero: failed, with a
 * message. A loss that is no finite number is one of the samples'; then there is no gradient. */
int training_evaluate(void *training, const void *parameters, void *gradient, double *loss);
/* After an evaluation at t->parameters, where t->found says so: reports the number that is not finite, and where it
 * arose. */
void training_diverged(Training *t);
void training_step_free(Training *t);
/* How many samples are computed at once, of t->batch. */
int training_at_once(const Training *t);
/* Bytes of workspace of the first of t->samples, where states have so much memory; as code_workspace. */
uint64_t training_step_bytes(Training *t, int64_t memory);

/* training_memory.c. Before the first step: says how much memory the training will need; false, after a message, where there is not so
 * much. */
bool training_memory(Training *t, const PdnOptimiser *optimiser);

/* training_sum.c. Before a batch; false after a message. */
bool gradient_sum_begin(Training *t);
/* Room for the gradient of a sample; NULL: there is no memory. By any thread. */
void *gradient_sum_room(Training *t);
/* The gradient of a sample is there: adds it to what is there of its neighbours; `threads` share the work. By any thread. */
void gradient_sum_add(Training *t, int64_t sample, void *gradient, PdnThreads *threads);
/* After all samples: their mean; false where that holds numbers that are not finite. */
bool gradient_sum_mean(Training *t, void *mean);
void gradient_sum_free(Training *t);
double gradient_sum_bytes(const Training *t); /* of all gradients that are in memory at once */
/* training_running.c. Before a batch: room for what the rules make of running tensors. */
void running_begin(Training *t);
/* Where the step for a sample puts them, one after the other. */
void running_outputs(const Training *t, int64_t sample, void **outputs);
/* After a batch: their means over it; false where one is no finite number. */
bool running_mean(Training *t);
/* After a step: the running tensors are what the last evaluation made of them. */
void running_take(Training *t);
/* The sample whose own are not finite; 0: none. */
int64_t running_broken(const Training *t);
void running_free(Training *t);

/* training_constraints.c: moves parameters to the nearest point that ranges and constraints allow: those that are
 * trained, at `parameters`, or the running ones. */
void training_project(void *training, void *parameters);
void training_project_running(Training *t);

/* training_meeting.c: samples that take means over their batch run side by side, a thread each, and wait for each other.
 * `run` is called for each, with t->meeting set, and says nonzero where it failed; means are of numbers in f64, or f32.
 * False, after a message: there are too few threads, or means that not every sample can give: of fields of different
 * sizes, of a loop that takes more steps for one sample than for another. */
bool meeting_run(Training *t, bool f64, int (*run)(void *context, int64_t sample), void *context);

#endif
