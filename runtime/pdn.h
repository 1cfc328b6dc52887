/* pdn.h: the runtime's public header: status, grids, arrays, files, tensors, checkpoints, random numbers, threads,
 * and the table through which compiled code calls back. Everything returns a PdnStatus; on failure
 * `error` (may be NULL) holds the reason. Nothing here exits or keeps global state. */
#ifndef PDN_H
#define PDN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum {
    PDN_OK = 0,
    PDN_ERROR_ARGUMENT, /* a call that makes no sense */
    PDN_ERROR_SIZE,     /* a grid too small for a stencil, or sizes that do not fit */
    PDN_ERROR_MEMORY,   /* not enough memory; the message says how much was needed */
    PDN_ERROR_OPEN,     /* a file cannot be opened, read or written; the message has errno's text */
    PDN_ERROR_FORMAT,   /* a file is broken, truncated or of another kind */
    PDN_ERROR_LIMIT,    /* a file asks for more than the limits below */
    PDN_ERROR_STOPPED,  /* a callback asked to stop */
    PDN_ERROR_DIVERGED, /* a loss or a gradient that is not finite */
    PDN_ERROR_UNCONVERGED, /* a solver left a residual above its tolerance */
} PdnStatus;
const char *pdn_status_name(PdnStatus status);

typedef struct {
    char message[512]; /* in the field's words, with the file's name where there is one */
} PdnError;

/* ---- grids ------------------------------------------------------------------- */

/* A box of a grid, as kernels see it. Axis 0 is x, the fastest; unused axes have extent 1.
 * Lengths are in cells, strides in elements, spacing in the user's units of length. */
typedef struct PdnGrid {
    int64_t extent[3];       /* cells of the whole grid */
    int64_t low[3], high[3]; /* the box that is computed: low <= i < high */
    int64_t stride[3];       /* of the stored array; stride[0] = 1 */
    int64_t channel_stride;
    double spacing[3];
    double origin[3]; /* coordinate of the grid's low face */
} PdnGrid;

/* ---- the way back from compiled code ------------------------------------------------ */

/* A trajectory handed to an effect: frames stand one after the other, each channels * cells numbers. */
typedef struct {
    int64_t frames;
    const void *data;
} PdnStack;

typedef void PdnKernel(const void *arguments, int64_t begin, int64_t end);

/* Cells of a unit of a launch in one dimension. */
#define PDN_UNIT_CELLS 4096

/* Launches that may run together, row by row (pdn_relay): stages, in order. Their units are rows of their grids (in 1D,
 * of PDN_UNIT_CELLS cells), of which all have as many, or the coarser one half as many, rounded up. Words are of 8 bytes. */
enum {
    PDN_RELAY_STAGES = 12,
    PDN_RELAY_FIELDS = 32,
    PDN_RELAY_READINGS = 64,
    PDN_RELAY_WORDS = 64
};

/* Some lines of the rows of a launch: columns in 2D, rows of a plane in 3D; and whose strides fields have, in the order of the words. */
enum { PDN_PART_FIELDS = 24 };
typedef struct PdnPart {
    int64_t from, to;
    const PdnGrid *strides[PDN_PART_FIELDS];
} PdnPart;

typedef struct PdnStage {
    PdnKernel *kernel;
    int64_t *words; /* its arguments, so many of them */
    int64_t words_count;
    int64_t rows; /* its units */
    int64_t work; /* as of PdnHost.launch */
    /* Which of its words points to a PdnPart, or is 0: all is made; which is the first that points to a field. Of a `whole` relay. */
    int64_t part_word, fields_word;
} PdnStage;

/* A field that a stage makes and later ones read; where they read across ends also one that no stage makes: stage -1. */
typedef struct PdnHandOver {
    int64_t stage, word; /* which stage; which of its words points to the field */
    int64_t grid;        /* of PdnRelay.grids */
    int64_t rank, channels;
    int64_t own; /* not 0: nobody else reads it, so that it need not be there as a whole */
} PdnHandOver;

/* Who reads it: which of its words points to it, and how many rows beyond its own, on either side,
 * and lines of them. */
typedef struct PdnReading {
    int64_t field, stage, word, reach, side;
} PdnReading;

/* Those of the slowest axis; those of the one below; these, and others stop there, so that it must not be cut. */
enum PdnRound { PDN_ROUND_ROWS = 1, PDN_ROUND_LINES = 2, PDN_ROUND_WHOLE_LINES = 4 };

typedef struct PdnRelay {
    const PdnStage *stages;
    int64_t stages_count;
    const PdnHandOver *fields;
    int64_t fields_count;
    const PdnReading *readings;
    int64_t readings_count;
    const PdnGrid *grids;
    int64_t size; /* bytes of a number */
    /* not 0: fields that are `own` have no place; grids are one; together or not at all */
    int64_t whole;
    int64_t round; /* which ends stages read across, of a `whole` relay: some of PdnRound */
} PdnRelay;

/* bytes for PdnHost.memory; also of standalone kernels */
#define PDN_MEMORY_DEFAULT (INT64_C(1) << 28)
struct PdnConvShape;

/* Given to compiled programs; `context` is handed back unchanged. Function pointers, so that
 * compiled code has no external symbols but those of the maths library. */
typedef struct PdnHost {
    void *context;
    /* Runs kernel(arguments, b, e) over disjoint parts of [0, count), on several threads where that is worth it. `work`:
     * about how many cycles of one processor all of it takes. */
    void (*launch)(void *context, PdnKernel *kernel, const void *arguments, int64_t count,
                   int64_t work);
    /* Effect `number` of the program (its place in the main function's list): pointers to its values,
     * without those that are NODE_NONE: a number, the cells of a field, a PdnStack. Nonzero stops. */
    int (*effect)(void *context, uint32_t number, const void *const *values);
    /* Every so many iterations of loop `number`; total < 0: not known. Nonzero stops the program. */
    int (*progress)(void *context, uint32_t number, int64_t done, int64_t total);
    /* Fills `count` values: kind 0 standard normal, 1 uniform in [0, 1); stream: of pdn_stream. */
    void (*random)(void *context, int kind, uint64_t stream, void *to, int64_t count);
    /* Task `number`, such as training: new values of `values` (as for effects). A number goes to *results[i]; of a
     * field or stack a PdnStack there gets frames (of a field 1) and data, which stay until the program ends. */
    int (*task)(void *context, uint32_t number, const void *const *values, void *const *results);
    /* In place of the `count` numbers of `data` puts their means over the samples of a batch, which run
     * side by side and come here in the same order. `place` numbers the means that the program's text takes; extent:
     * cells of the field's grid, x first; NULL: of a number. Nonzero stops the program. NULL: there is one sample. */
    int (*batch_mean)(void *context, uint64_t place, void *data, int64_t count,
                      const int64_t *extent);
    /* As pdn_conv_norm_into, below, of numbers of the program's type. */
    void (*conv_norm)(void *context, const struct PdnConvShape *shape, const void *weights,
                      const void *cotangent, void *result);
    /* Bytes for the states that loops keep for the way back of a gradient, all together; what does not fit is
     * computed again. 0 or less: PDN_MEMORY_DEFAULT. */
    int64_t memory;
    /* Loop `number` was gone through backwards: its steps, for how many states there was room, steps that were
     * done again, bytes of the room. May be NULL. */
    void (*kept)(void *context, uint32_t number, int64_t steps, int64_t slots, int64_t again,
                 int64_t bytes);
    /* Solution `number` was left with a residual that is not below its tolerance after so many steps (0: it was not
     * said). Nonzero stops the program. */
    int (*unconverged)(void *context, uint32_t number, double residual, double tolerance,
                       double steps);
    /* As pdn_relay. */
    bool (*relay)(void *context, const PdnRelay *relay);
    /* Who calls: compiled code puts the number of its instruction here before it calls any of these (PlanPlace in
     * compiler/kernel/plan.h), of launches that may run together that of the first, of steps of a loop that of the loop. */
    uint64_t place;
    /* Threads that share a launch, at most, whose parts begin no nearer to each other than an eighth of a thread's share of the
     * units (or one). 0: not known; parts may be of one unit. There is scratch for so many parts at once. */
    int64_t threads;
} PdnHost;

/* ---- threads ------------------------------------------------------------------- */

/* Threads that share the units of kernels: `count` with that of the caller (0: pdn_threads_available), at most 1024; the
 * others start when they are first wanted. NULL: no memory, or (to the functions below) the caller's thread alone. What a
 * child of fork launches on threads of its parent runs on the thread that launches it. */
typedef struct PdnThreads PdnThreads;
PdnThreads *pdn_threads_new(int count);
void pdn_threads_free(PdnThreads *threads); /* when no launch is under way */
int pdn_threads_most(const PdnThreads *threads);
/* Cuts [0, count) into parts of whole units and runs them, each part on a thread that is free; returns when all are done.
 * Each unit is computed once, and results may depend on its number only, so that their bits do not depend on the
 * threads. `work`: about how many cycles of one processor all of it takes; where that is little (some microseconds) fewer
 * threads take part, or the caller's alone. A launch within a launch of the same threads, or beside one, runs on the caller's. */
void pdn_threads_run(PdnThreads *threads, PdnKernel *kernel, const void *arguments, int64_t count,
                     int64_t work);
#define PDN_MUCH_WORK INT64_MAX
/* The same, of much work, with threads that start and end with it. */
void pdn_launch(PdnKernel *kernel, const void *arguments, int64_t count, int threads);
/* As PdnHost.launch. */
typedef void PdnLaunch(void *context, PdnKernel *kernel, const void *arguments, int64_t count,
                       int64_t work);
/* Runs the stages of a relay by `launch`: together where their fields are large and a few rows of each fit into `cache`
 * bytes (PDN_RELAY_ALWAYS: wherever it is possible, a row at a time, for tests), else in parts or one after the other. `threads`: how many it
 * is likely to use. `rooms`: where it finds and leaves what `whole` relays need besides fields; several relays may run on them at once
 * (NULL: made for this one). The bits are the same. False: a `whole` relay that cannot run; nothing was done. */
typedef struct PdnRooms PdnRooms;
PdnRooms *pdn_rooms_new(void); /* NULL: no memory */
void pdn_rooms_free(PdnRooms *rooms);
bool pdn_relay(const PdnRelay *relay, int threads, int64_t cache, PdnRooms *rooms,
               PdnLaunch *launch, void *context);
int64_t pdn_relay_cache(void); /* of this machine: ask once */
#define PDN_RELAY_ALWAYS INT64_MAX
/* Processors that this process may use, by its affinity, OMP_NUM_THREADS and the quota of its control
 * groups. Reads files: ask once. */
int pdn_threads_available(void);

/* ---- arrays -------------------------------------------------------------------- */

typedef enum { PDN_F32, PDN_F64 } PdnType;

#define PDN_MAX_RANK 5
/* A dense array in C order: shape[0] is the slowest axis. */
typedef struct {
    PdnType type;
    int rank; /* 0: a number */
    int64_t shape[PDN_MAX_RANK];
    void *data; /* 64-byte aligned; from pdn_array_new */
} PdnArray;

/* Zeroed. Refuses what cannot fit the machine's memory, naming the bytes needed. */
PdnStatus pdn_array_new(PdnArray *array, PdnType type, int rank, const int64_t *shape,
                        PdnError *error);
void pdn_array_free(PdnArray *array);
int64_t pdn_array_count(const PdnArray *array);
int64_t pdn_memory_available(void); /* bytes that the machine, or its cgroup, can still give */
/* by this process: what is resident of it; 0 where the system does not say */
int64_t pdn_memory_used(void);
/* Memory for numbers, which lie at a multiple of 64 bytes; free() gives it back. What is large begins at a huge page and asks for
 * such: there are a few hundred times fewer faults, and the processor finds and prefetches more of it. Nothing of it is touched: a page
 * is made by the thread that first writes there. NULL: there is none. */
void *pdn_memory_new(size_t bytes);

/* ---- random numbers --------------------------------------------------------------- */

/* Philox4x32-10 (Salmon, Moraes, Dror, Shaw 2011), key seed, counter (i/2, stream): value i depends on
 * nothing else. `kind` 1: uniform in [0, 1), multiples of 2^-52 (f32: cut to 2^-24). Else standard normal:
 * Box-Muller on pairs, with this library's own polynomials, so that the bits are the same on every
 * machine; f32 is the f64 value, rounded. */
void pdn_random(PdnType type, int kind, uint64_t seed, uint64_t stream, void *to, int64_t count);
/* The stream of draw number `draw` of a program, in steps k[0], …, k[count - 1] of the loops around it,
 * outermost first: the draw's number where there are none, and below 2^40 in any case, so that whoever runs
 * programs side by side can put a number of their own above that. Draws below 1024 in steps whose pairing
 * is below 2^28 (of one loop: steps below that; of two: steps below 16384) all have streams of their own;
 * others have the same as another with a chance of 2^-39. Steps pair as in M. Szudzik, "An elegant pairing
 * function", 2006. What is no number counts as 0. */
uint64_t pdn_stream(uint64_t draw, const double *k, uint32_t count);
/* Values begin <= i < end of the same sequence, to to[begin] … to[end - 1]: parts for several threads. */
void pdn_random_range(PdnType type, int kind, uint64_t seed, uint64_t stream, void *to,
                      int64_t begin, int64_t end);

/* ---- start values of parameters --------------------------------------------------------- */

typedef enum {
    PDN_INIT_CONSTANT, /* a */
    PDN_INIT_NORMAL,   /* mean a, standard deviation b */
    PDN_INIT_UNIFORM,  /* in [a, b) */
    PDN_INIT_HE,       /* normal, variance 2 / fan_in (He, Zhang, Ren, Sun 2015) */
    PDN_INIT_GLOROT,   /* uniform in ±√(6 / (fan_in + fan_out)) (Glorot, Bengio 2010) */
    /* orthonormal rows, or columns, of the matrix [out, in·taps] (Saxe, McClelland, Ganguli 2014) */
    PDN_INIT_ORTHOGONAL,
    /* the identity: middle tap 1 from channel o to channel o (Zagoruyko, Komodakis 2017) */
    PDN_INIT_DIRAC,
} PdnInitKind;
typedef struct {
    PdnInitKind kind;
    double a, b;
} PdnInit;
/* Fills `frames` arrays of this shape, one after the other: [out, in, taps…] for convolutions, where fan_in is
 * in·taps and fan_out is out·taps; missing axes are 1 long. Frame i draws from stream + i of pdn_random. */
PdnStatus pdn_initialise(const PdnInit *init, PdnType type, int rank, const int64_t *shape,
                         int64_t frames, uint64_t seed, uint64_t stream, void *to, PdnError *error);

/* ---- optimisers ------------------------------------------------------------------- */

/* The optimisers and their arguments are the rows of runtime/optimisers.def, the schedules of the rate those of
 * runtime/schedules.def; an argument that is not given has the default that stands there. */
typedef struct {
    const char *name;
    double value; /* a switch is 0 or 1 */
} PdnArgument;

typedef struct {
    const char *name;
    const PdnArgument *arguments;
    int argument_count;
} PdnScheduleOptions;

typedef struct {
    const char *name;
    const PdnArgument *arguments;
    int argument_count;
    /* Applied to the rate one after the other; none: it is constant. After `warmup` the others count
     * from its end: {warmup, cosine} rises, then falls over the steps that are left. */
    const PdnScheduleOptions *schedules;
    int schedule_count;
    /* The loss is the same function in every step (no batches, no fresh noise): lbfgs then begins a step
     * with what it knows from the last one, instead of an evaluation. */
    bool fixed;
    PdnThreads *threads; /* that share the work; NULL: the caller's alone. They change no bit. */
} PdnOptimiserOptions;

typedef struct PdnOptimiser PdnOptimiser;

/* Are the options such that pdn_optimiser_new takes them? PDN_ERROR_ARGUMENT and a message that names what
 * exists, or the range, where not. */
PdnStatus pdn_optimiser_check(const PdnOptimiserOptions *options, PdnError *error);
/* For `count` > 0 parameters of `type`. PDN_ERROR_ARGUMENT as above, PDN_ERROR_MEMORY. Options are copied,
 * but for the threads, which stay the caller's. */
PdnStatus pdn_optimiser_new(const PdnOptimiserOptions *options, PdnType type, int64_t count,
                            PdnOptimiser **optimiser, PdnError *error);
void pdn_optimiser_free(PdnOptimiser *optimiser);

/* What exists, for other messages than these: name number i of the table; NULL: there are no more. */
const char *pdn_optimiser_name(int i);
/* Does it need the same loss in every step (no batches, no fresh noise)? */
bool pdn_optimiser_wants_fixed(const char *optimiser);
const char *pdn_schedule_name(int i);
/* The name of argument number i of the optimiser, or schedule; NULL: no more, or no such row. */
const char *pdn_optimiser_argument(const char *optimiser, int i);
const char *pdn_schedule_argument(const char *schedule, int i);

/* Writes the gradient of the loss at `parameters`, and the loss. Nonzero stops. `parameters` is the array that
 * was given to pdn_optimiser_step, `gradient` the same array in every call, 64-byte aligned, not zeroed. */
typedef int PdnEvaluate(void *context, const void *parameters, void *gradient, double *loss);
/* Moves the parameters to the nearest point that the constraints allow (lbfgs trusts it to be the nearest;
 * else it may stop early, though never at a greater loss). */
typedef void PdnProject(void *context, void *parameters);

/* One step, number `step` of `steps` (both are for the schedule; `steps` 0: not known). First-order methods
 * evaluate once, update and project; lbfgs projects, evaluates as often as its line search needs, and once it
 * has converged does nothing. `loss`: before the step; of lbfgs: after it. On an error parameters and state
 * are as before the step: PDN_ERROR_STOPPED (evaluate asked for it), PDN_ERROR_DIVERGED (`loss` is set),
 * PDN_ERROR_ARGUMENT (a schedule needs to know `steps`). The bits of the result depend on nothing but parameters,
 * state and what `evaluate` and `project` give. */
PdnStatus pdn_optimiser_step(PdnOptimiser *optimiser, void *parameters, PdnEvaluate *evaluate,
                             PdnProject *project /* may be NULL */, void *context, int64_t step,
                             int64_t steps, double *loss, PdnError *error);
/* The rate that the schedules give for a step; NaN where they need to know `steps`. */
double pdn_optimiser_rate(const PdnOptimiser *optimiser, int64_t step, int64_t steps);
/* NULL until an optimiser finds that it is done; then why, as a sentence for the user ("the gradient is 1e-9 of
 * what it was in the beginning"). It stays done; a change of the loss wants a new optimiser. */
const char *pdn_optimiser_converged(const PdnOptimiser *optimiser);
/* What the last evaluation of the last step wrote, clipped: `count` numbers of the type. */
const void *pdn_optimiser_gradient(const PdnOptimiser *optimiser);

typedef struct {
    const char *name;
    PdnArray array;
} PdnNamedArray;
/* Everything that the next steps depend on besides the parameters: `count` arrays, in a fixed order, the same
 * in every optimiser of the same options, type and count. Copy their data out to save it, in to restore it: the
 * steps that follow give the same bits. They belong to the optimiser. */
const PdnNamedArray *pdn_optimiser_state(PdnOptimiser *optimiser, int *count);
int64_t pdn_optimiser_bytes(const PdnOptimiser *optimiser); /* of all its arrays */

/* ---- norms of convolutions ----------------------------------------------------------- */

/* What is read beyond the last cell of a side; j = 0 is the first ghost. The numbers are those of the graph's SideKind. */
typedef enum {
    PDN_SIDE_PERIODIC, /* u[n + j] = u[j]; of both sides of an axis or of none */
    PDN_SIDE_EVEN,     /* u[-1 - j] = u[j]: reflecting */
    PDN_SIDE_ODD,      /* u[-1 - j] = -u[j]: dirichlet(0) */
    PDN_SIDE_SLOPE,    /* neumann(0), the same as EVEN */
    PDN_SIDE_ZERO,     /* 0 */
} PdnConvSide;

/* A convolution as the graph's Conv: output p reads the cells stride p + dilation t - low for t = 0 … size - 1, with
 * low = dilation (size - 1) / 2, rounded down; groups divides in and out. Axis 0 is x. */
typedef struct PdnConvShape {
    int rank;                                /* 1 to 3 */
    int64_t in, out, groups;                 /* channels */
    int64_t size[3], stride[3], dilation[3]; /* stride 1 or 2 */
    int sides[3][2];                         /* PdnConvSide: [axis][0 low, 1 high] */
} PdnConvShape;

/* A proved upper bound of the spectral norm of that convolution, on grids of every size that it allows: docs/norms.md has
 * the theorems. weights: [out][in / groups][kz][ky][kx]. If `gradient` is not NULL, it gets a subgradient of
 * the bound by every weight. A weight that is NaN, or a shape that makes no sense, gives NaN; too little memory gives infinity. The same
 * weights give the same bits. */
double pdn_conv_norm(const PdnConvShape *shape, PdnType type, const void *weights,
                     double *gradient);
/* Does a bound that is greater than that, and cheaper, prove the norm to be at most `most`? False says nothing. */
bool pdn_conv_norm_within(const PdnConvShape *shape, PdnType type, const void *weights,
                          double most);
/* As pdn_conv_norm for compiled code, of numbers of one type. Without `cotangent` *result is the bound, rounded upwards; else
 * *result gets as many numbers as there are weights, the subgradient times *cotangent. NaN where memory runs out. */
void pdn_conv_norm_into(const PdnConvShape *shape, PdnType type, const void *weights,
                        const void *cotangent, void *result);

/* ---- progress -------------------------------------------------------------------- */

/* A line that says how far a long loop is, with its rate and the time left: shown only on a terminal,
 * after half a second, at most ten times a second, and cleared at the end. */
typedef struct {
    FILE *to; /* NULL: not a terminal, nothing is shown */
    char label[64];
    int64_t total;
    double start, last; /* seconds */
    bool shown;
    /* of a training: what was done at its first line; first < 0: no line yet */
    int64_t first, first_samples;
} PdnProgress;
/* `total` < 0: not known. `to` is stderr as a rule. */
void pdn_progress_begin(PdnProgress *progress, FILE *to, const char *label, int64_t total);
void pdn_progress_update(PdnProgress *progress, int64_t done);
void pdn_progress_end(PdnProgress *progress);
/* Removes the line until the next update, so that other text can be written; the clock goes on. */
void pdn_progress_clear(PdnProgress *progress);
/* The text of that line. */
void pdn_progress_text(char *line, size_t room, const char *label, int64_t done, int64_t total,
                       double seconds);

/* How far a training is. */
typedef struct {
    int64_t epoch, epochs; /* at work on this one, from 1 on, of so many; epochs 0: steps alone */
    int64_t step, steps;   /* done, of those of an epoch (or of all, without epochs) */
    /* trained on in all; 0 where there are no data: steps are shown instead */
    int64_t samples;
    double loss, rate; /* NaN: not known */
} PdnTraining;
/* In place of pdn_progress_update: "net  epoch 3/20 ██████░░░░ 61%  loss 0.00123  rate 0.001  12.3 samples/s
 * 1:23 left" in one line, the time counted from the first call on (what was done before, a training that
 * goes on does not pretend to have done now). Where the terminal is narrow, parts are left out; without
 * UTF-8 (by LC_ALL, LC_CTYPE, LANG) the bar is of # and dots. */
void pdn_progress_training(PdnProgress *progress, const PdnTraining *training);
/* The text of that line in at most `width` columns; `first` steps and `first_samples` were done
 * `seconds` ago. */
void pdn_progress_training_text(char *line, size_t room, int width, bool utf8, const char *label,
                                const PdnTraining *training, int64_t first, int64_t first_samples,
                                double seconds);

/* ---- files ------------------------------------------------------------------------ */

#define PDN_FILE_LIMIT (INT64_C(1) << 36) /* decoded bytes that any reader will make */

/* The formats are the rows of runtime/formats.def. Reading: png pgm ppm npy npz; writing: these and vti csv.
 * Reading goes by the content: a file whose extension names another format is an error that says so.
 * Pictures are scaled to [0, 1]; grey [h, w], colour [3, h, w]; a pixel that is not opaque is an error.
 * Arrays: booleans, integers and floats of any byte order, in C or Fortran order, at most PDN_MAX_RANK axes;
 * integers are not scaled. Of an npz the first array is read, or the one named as in "fields.npz:u".
 * Empty arrays, and numbers too large for `type`, are errors. */
PdnStatus pdn_file_shape(const char *path, int *rank, int64_t shape[PDN_MAX_RANK], PdnError *error);
PdnStatus pdn_file_read(const char *path, PdnType type, PdnArray *array, PdnError *error);

/* What is written. `rank` grid axes last; before them channels (when > 1), before them the list, before
 * them the frames of a film: axes of length 0 are absent. */
typedef struct {
    PdnType type;
    int rank;          /* of the grid */
    int64_t extent[3]; /* x first */
    double spacing[3], origin[3];
    int64_t channels; /* 1: no axis */
    int64_t items;    /* of a list; 0: not a list */
    int64_t frames;   /* of a film; 0: not a film */
    /* one pointer for each item of each frame: [frame * max(items, 1) + item] */
    const void *const *data;
    const char *const *names; /* of the items, or NULL */
    double time_step;         /* between frames; 0: not known */
    int depth;                /* of pictures: 8 or 16 bits a sample; 0: 8 */
} PdnSave;
/* By the extension of `path`; to a temporary file beside it, then renamed: on failure the old file stays
 * as it was. A symbolic link is followed; a device is written directly.
 *   png pgm ppm  2D, one channel (png pgm) or three (png ppm). Values are clamped to [0, 1] and rounded to
 *                nearest; NaN is an error. A film becomes name_0000.png …, a list name_u.png …
 *                (name_0.png … without names), a film of lists name_u_0000.png …
 *   npy          one array [frames][items][channels][z][y][x]; rank 0 is a number
 *   npz          one such array for each item, under its name ("arr_0" … without names), not compressed
 *   vti          cell data, one array for each item ("u", in a list "u0" …, without names); a film becomes
 *                name_0000.vti … and name.pvd, which ParaView opens as one (files of an earlier, longer film stay)
 *   csv          2D: a line for each grid row, y = 0 first, values only. 0D and 1D: a header, then a line for
 *                each cell: x (the cell's centre) and a column for each item and channel (u, u_0, u_1 …); films
 *                have the time (t) or, where it is not known, the number (frame) in front
 * Numbers in csv are the shortest that read back as the same value. */
PdnStatus pdn_file_write(const char *path, const PdnSave *save, PdnError *error);
/* Can this be written there, by extension and shape? Asked before anything is computed. */
PdnStatus pdn_file_can_write(const char *path, const PdnSave *shape, PdnError *error);
/* Removes what runs that were killed while they wrote `path` left beside it, and its files name_0000.… of `turns` turns. A
 * process that lives keeps its own. Series are cleared when they are written. */
void pdn_file_tidy(const char *path, int64_t turns);

/* A text written to a temporary file and renamed. */
PdnStatus pdn_text_write(const char *path, const char *bytes, size_t count, PdnError *error);

/* ---- data sources ------------------------------------------------------------------- */

/* A set of samples, each of one or several fields, that is drawn in batches: pictures, generated signals,
 * arrays. What is drawn is a function of (seed, epoch, place in the epoch, source) alone, by Philox blocks
 * that pdn_random never reaches: the same bits for any number of threads, and after a new start at any
 * epoch. Everything that can be wrong with a set is an error when it is made. */
typedef struct PdnData PdnData;

#define PDN_DATA_FIELDS  8                  /* of a sample, at most */
#define PDN_DATA_FILES   1000000            /* pictures of a folder, at most */
#define PDN_DATA_SAMPLES INT64_C(100000000) /* of an epoch, at most */
#define PDN_ABSENT       INT64_MIN          /* an option that the user has not given */

/* What is drawn from a set, whatever its kind. */
typedef struct {
    int64_t patch;  /* cells along each axis of the random window taken; absent: the whole sample */
    int64_t batch;  /* samples of a batch; absent: 1. More than an epoch has is an error */
    int64_t limit;  /* only the first so many samples; absent: all. More than there are: all */
    int64_t repeat; /* windows of each sample an epoch; absent: 1 */
    /* A random symmetry of the square (or line, or cube): 2 in 1D; in 2D the 8 of flips and quarter turns,
     * in 3D 48; only the flips (4 and 8) where the extents differ. Off by default, as what is drawn should
     * be what the user gave, and digits have no symmetries. Channels are carried along unchanged: do not
     * use it for the components of vectors. */
    bool augment;
    int64_t memory; /* bytes for decoded pictures; absent: a quarter of what the machine can give */
    uint16_t source; /* a number of its own for each source of a program: independent draws */
} PdnDataOptions;
#define PDN_DATA_OPTIONS                                                                           \
    { PDN_ABSENT, PDN_ABSENT, PDN_ABSENT, PDN_ABSENT, false, PDN_ABSENT, 0 }

typedef struct {
    int rank; /* of the grid, 1 to 3; 0: a number */
    int64_t channels;
    int64_t extent[3]; /* x first, as drawn; unused axes 1; -1 where samples differ */
} PdnDataField;
typedef struct {
    int fields;
    PdnDataField field[PDN_DATA_FIELDS];
    int64_t count;     /* samples in the set */
    int64_t per_epoch; /* count * repeat */
    int64_t batch;
    bool varies;  /* windows, or symmetries, of a sample differ from epoch to epoch */
    bool decoded; /* all is in memory; else pictures are decoded anew when they are drawn */
} PdnDataInfo;

/* Pictures, whole or a random window of each. `path`: a folder (not those inside it), or a pattern as of the
 * shell ("photos/b*.png") where there is no file of that name; files that begin with a dot and those that do
 * not have the extension of a picture (runtime/formats.def) do not count. In the order of their names,
 * compared byte by byte. `channels` absent: as the files, which must agree; 1: grey, of colours
 * 0.299 R + 0.587 G + 0.114 B of the samples as they are (ITU-R BT.601); 3: grey three times.
 * Values in [0, 1], to the bit those of pdn_file_read. The header of every picture is read now. Where all
 * fit options->memory, as 8 or 16 bits a sample, they are decoded now (by several threads), so
 * that broken ones are found now; else when they are drawn. */
PdnStatus pdn_data_images(const char *path, int64_t channels, const PdnDataOptions *options,
                          PdnType type, PdnData **data, PdnError *error);

typedef struct {
    int64_t cells; /* absent: 256 */
    int64_t count; /* absent: 1000 */
    uint64_t seed; /* signals of another seed or options->source are others */
} PdnSignals;
#define PDN_SIGNALS                                                                                \
    { PDN_ABSENT, PDN_ABSENT, 0 }
/* Signals on a line, generated when they are drawn, one channel, values in [0, 1]. Kinds:
 *
 *   "piecewise_affine"    segments with jumps between them. Of n cells, the length of a segment is uniform in
 *                         {max(1, n/10), …, max(1, 3n/10)} (rounded down), the last one is cut at the end;
 *                         over a segment of l cells u_i = a + (b - a) (i + 1/2)/l, i = 0 … l - 1, with a and
 *                         b uniform in [0, 1): mostly 4 to 11 segments, with random values, slopes and jumps
 *   "piecewise_constant"  the same with b = a
 *
 * after the training signals of Alt, Schrader, Augustin, Peter, Weickert, "Connections between numerical
 * algorithms for PDEs and neural networks", J. Math. Imaging Vis. 65, 2023. Signal k is a function of
 * (seed, source, k) only: more signals begin with the same ones.
 * Anything else names a file (npy or npz) of axes [samples, cells] or [samples, channels, cells]; then
 * cells and count must be absent. `kind` NULL: "piecewise_affine". */
PdnStatus pdn_data_signals(const char *kind, const PdnSignals *signals,
                           const PdnDataOptions *options, PdnType type, PdnData **data,
                           PdnError *error);

/* Arrays of files, a field each (npy, npz, or one array of an npz as in "set.npz:x"): samples along the first
 * axis, which all have as long. The other axes of a sample: none: a number; [x]; [y, x]; [c, y, x];
 * [c, z, y, x]; with `rank` given 1 to 3 that many grid axes, and channels where one more is in front.
 * A value that is no finite number is an error. With a patch or augmentation all fields must have the same
 * extents, and get the same window and symmetry. All is read into memory. */
PdnStatus pdn_data_arrays(const char *const *paths, int64_t count, int64_t rank,
                          const PdnDataOptions *options, PdnType type, PdnData **data,
                          PdnError *error);

void pdn_data_info(const PdnData *data, PdnDataInfo *info);
/* How many samples have, as they are drawn, fewer cells along an axis than `least` (x first). Of the one that lacks the
 * most, where there are any, *number is its place in the set and `extent` its size. */
int64_t pdn_data_too_small(const PdnData *data, const int64_t least[3], int64_t *number,
                           int64_t extent[3]);
/* For messages, what sample `number` is: "photos/a.png", "sample 3 of x.npy", "signal 3 of piecewise_affine"; from 0. */
void pdn_data_name(const PdnData *data, int64_t number, char *to, size_t room);
void pdn_data_free(PdnData *data);

typedef struct {
    int64_t number; /* in the set */
    struct {
        int64_t channels, extent[3];
        const void *data; /* [channel][z][y][x] in the set's type, 64-byte aligned */
    } field[PDN_DATA_FIELDS];
} PdnSample;
typedef struct {
    int64_t first; /* the place in the epoch of the first sample */
    int64_t count; /* 0: the epoch is over */
    const PdnSample *samples;
} PdnBatch;
/* Bytes that a loader of so many batches in all has at a time, at most: some are read ahead. *largest: extents and channels of the sample with the most cells,
 * without data. */
int64_t pdn_data_batches(const PdnData *data, int64_t batches, PdnSample *largest);
typedef struct PdnLoader PdnLoader;

/* The batches of `epochs` epochs from `epoch` on, each in the order that (seed, epoch) gives (`shuffled`) or in the order
 * of the set, `repeat` times over; a last partial batch is kept. A thread reads and prepares two batches ahead, across the
 * ends of epochs; samples that are in memory as they are drawn are not copied. Several loaders may read one set at once. */
PdnStatus pdn_loader_open(const PdnData *data, uint64_t seed, int64_t epoch, int64_t epochs,
                          bool shuffled, PdnLoader **loader, PdnError *error);
/* Tells once, by a count of 0, that an epoch is over; then comes the next one, if there is one. Pointers are valid until
 * the next call or pdn_loader_close. After an error, again that error. */
PdnStatus pdn_loader_next(PdnLoader *loader, PdnBatch *batch, PdnError *error);
void pdn_loader_close(PdnLoader *loader); /* at any moment; NULL is allowed */

/* ---- tensors: files of named arrays -------------------------------------------------- */

/* safetensors, as networks and checkpoints are kept, and as PyTorch and NumPy users read them: 8 bytes (little
 * endian) that say how long the header is, a JSON header, then the numbers, little endian, in C order, one
 * array after the other without holes. */

#define PDN_TENSOR_RANK 8
typedef struct {
    const char *name; /* UTF-8 */
    PdnType type;
    int rank;                       /* 0: a number */
    int64_t shape[PDN_TENSOR_RANK]; /* shape[0] is the slowest axis; an axis may be 0 long */
    const void *data;
} PdnTensor;
typedef struct PdnTensors PdnTensors; /* what a file holds */

/* Writes `count` arrays and `metadata_count` pairs of key and value (NULL: none) to a temporary file beside `path`,
 * which takes its place when it is on the disk: a kill, or a machine that loses its power, leaves the old
 * file or the new one. The order is the reference library's (wide types first, then by name; keys by name), so that
 * the bytes depend on the content alone; every number lies at a multiple of its size. Two arrays of one name, a
 * name that is not UTF-8 and the name `__metadata__` are PDN_ERROR_ARGUMENT. */
PdnStatus pdn_tensors_write(const char *path, const PdnTensor *tensors, int count,
                            const char *const (*metadata)[2], int metadata_count, PdnError *error);
/* Reads a whole file; its arrays stay until pdn_tensors_free. F32, F16, BF16, I16, U16, I8, U8 and BOOL become
 * PDN_F32, which holds all their values; F64, I64, U64, I32 and U32 PDN_F64 (integers beyond 2^53 are rounded). NaN and
 * infinities are values. As the reference library, it refuses a header of more than 100 MB, names that stand
 * twice, and arrays that overlap, leave holes, or do not end where the file does (PDN_ERROR_FORMAT); beyond it,
 * arrays of other types and of more than PDN_TENSOR_RANK axes (PDN_ERROR_LIMIT). On failure *out is NULL. */
PdnStatus pdn_tensors_read(const char *path, PdnTensors **out, PdnError *error);
void pdn_tensors_free(PdnTensors *tensors);
int pdn_tensors_count(const PdnTensors *tensors);
/* in the order of names (bytewise) */
const PdnTensor *pdn_tensors_at(const PdnTensors *tensors, int i);
/* NULL: not there */
const PdnTensor *pdn_tensors_find(const PdnTensors *tensors, const char *name);
/* Copies the array `name` to `to`, which has this type and shape. PDN_ERROR_FORMAT, naming file and array: it is
 * not there, its shape is another, or a finite number becomes infinite in f32. */
PdnStatus pdn_tensors_get(const PdnTensors *tensors, const char *name, PdnType type, int rank,
                          const int64_t *shape, void *to, PdnError *error);
int64_t pdn_tensor_count(const PdnTensor *tensor);                            /* its numbers */
const char *pdn_tensors_metadata(const PdnTensors *tensors, const char *key); /* NULL: not there */
int pdn_tensors_metadata_count(const PdnTensors *tensors);
/* by key */
const char *pdn_tensors_metadata_at(const PdnTensors *tensors, int i, const char **key);

/* ---- checkpoints of training --------------------------------------------------------------- */

/* A safetensors file of everything that training needs to go on as if it had not stopped: the arrays (parameters,
 * what the optimiser keeps), and as metadata how far it is and which training it is. */
typedef struct {
    const char *what; /* as in messages: "the program", "the data", "the optimiser"; no two alike */
    const char *text; /* equal texts: the same */
} PdnIdentity;
typedef struct {
    int64_t epoch, step; /* that are done; of an epoch that is not whole, its steps alone */
    int64_t epoch_steps; /* of a whole epoch; 0: there are no epochs, and `epoch` is 0 */
    int64_t steps;       /* at most, in all; 0: any number */
    uint64_t seed;
    const PdnIdentity *identity; /* what has to be the same for going on to make sense */
    int identity_count;
    const PdnTensor *tensors;
    int count;
} PdnCheckpoint;

/* As pdn_tensors_write: whatever happens, `path` is the last checkpoint or the one before, whole. */
PdnStatus pdn_checkpoint_write(const char *path, const PdnCheckpoint *checkpoint, PdnError *error);
/* `training` is the one that wants to go on: its seed, identity and tensors (without data) are compared with the
 * file's, then its epoch and step are set. A difference, or an epoch and a step that do not belong together here, is
 * PDN_ERROR_FORMAT: the message says what differs and what can be done. The file's arrays, exactly those of `training`, in their types, are in *out. */
PdnStatus pdn_checkpoint_read(const char *path, PdnCheckpoint *training, PdnTensors **out,
                              PdnError *error);
/* At the start of training: removes what runs that were killed while they wrote `path` left beside it (of a
 * process that lives, nothing), and finds out whether a checkpoint can be written there. */
PdnStatus pdn_checkpoint_prepare(const char *path, PdnError *error);

/* ---- the history of a training ------------------------------------------------------------- */

/* A table as CSV (RFC 4180), a row for every epoch: the columns epoch, step, loss, rate, seconds, then two for
 * every name that was reported, in the order in which the names came: NAME_mean and NAME_std. Empty: not
 * reported. Numbers are the shortest that read back as the same f64. */
typedef struct PdnHistory PdnHistory;
typedef struct {
    int64_t epoch, step; /* that are done */
    double loss, rate;
    double seconds; /* since the training began, pauses left out */
} PdnHistoryRow;
/* A new table; an old file stays until the first pdn_history_write. Also removes what killed runs left beside it,
 * and finds out whether it can be written. With `resume` the rows of the file whose epoch and step are at most
 * these are kept as they stand, column by column, and the others cut off; no file: no rows.
 * PDN_ERROR_FORMAT: it is no such table; the message names the line. */
PdnStatus pdn_history_open(const char *path, bool resume, int64_t epoch, int64_t step,
                           PdnHistory **history, PdnError *error);
PdnStatus pdn_history_add(PdnHistory *history, const PdnHistoryRow *row, PdnError *error);
/* A report in the last row, again: the later one counts. `deviation` NaN: there is none (a single value). */
PdnStatus pdn_history_report(PdnHistory *history, const char *name, double mean, double deviation,
                             PdnError *error);
/* Writes the whole table to a temporary file, which takes the place of the old one. */
PdnStatus pdn_history_write(const PdnHistory *history, PdnError *error);
int64_t pdn_history_rows(const PdnHistory *history);
double pdn_history_seconds(const PdnHistory *history); /* of the last row; none: 0 */
void pdn_history_free(PdnHistory *history);

#ifdef __cplusplus
}
#endif
#endif
