/* pdn.h: the runtime's public header: status, grids, arrays, files, random numbers, threads, and
 * the table through which compiled code calls back. Everything returns a PdnStatus; on failure
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
} PdnStatus;
const char *pdn_status_name(PdnStatus status);

typedef struct {
    char message[512]; /* in the field's words, with the file's name where there is one */
} PdnError;

/* ---- grids ------------------------------------------------------------------- */

/* A box of a grid, as kernels see it. Axis 0 is x, the fastest; unused axes have extent 1.
 * Lengths are in cells, strides in elements, spacing in the user's units of length. */
typedef struct {
    int64_t extent[3];       /* cells of the whole grid */
    int64_t low[3], high[3]; /* the box that is computed: low <= i < high */
    int64_t stride[3];       /* of the stored array; stride[0] = 1 */
    int64_t channel_stride;
    double spacing[3];
    double origin[3];        /* coordinate of the grid's low face */
} PdnGrid;

/* ---- the way back from compiled code ------------------------------------------------ */

/* A trajectory handed to an effect: frames stand one after the other, each channels * cells numbers. */
typedef struct {
    int64_t frames;
    const void *data;
} PdnStack;

typedef void PdnKernel(const void *arguments, int64_t begin, int64_t end);

/* Given to compiled programs; `context` is handed back unchanged. Function pointers, so that
 * compiled code has no external symbols but those of the maths library. */
typedef struct PdnHost {
    void *context;
    /* Runs kernel(arguments, b, e) over disjoint parts of [0, count), on several threads. */
    void (*launch)(void *context, PdnKernel *kernel, const void *arguments, int64_t count);
    /* Effect `number` of the program (its place in the main function's list): pointers to its values,
     * without those that are NODE_NONE: a number, the cells of a field, a PdnStack. Nonzero stops. */
    int (*effect)(void *context, uint32_t number, const void *const *values);
    /* Every so many iterations of loop `number`; total < 0: not known. Nonzero stops the program. */
    int (*progress)(void *context, uint32_t number, int64_t done, int64_t total);
    /* Fills `count` values: kind 0 standard normal, 1 uniform in [0, 1). */
    void (*random)(void *context, int kind, uint64_t stream, void *to, int64_t count);
} PdnHost;

/* ---- threads ------------------------------------------------------------------- */

/* Cuts [0, count) into parts of whole units and runs them on `threads` threads (0: as many as
 * OpenMP would). Parts are handed out as threads are free; each unit is computed once, and results may
 * depend on its number only, so that their bits do not depend on `threads`. */
void pdn_launch(PdnKernel *kernel, const void *arguments, int64_t count, int threads);
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
PdnStatus pdn_array_new(PdnArray *array, PdnType type, int rank, const int64_t *shape, PdnError *error);
void pdn_array_free(PdnArray *array);
int64_t pdn_array_count(const PdnArray *array);
int64_t pdn_memory_available(void); /* bytes that the machine, or its cgroup, can still give */

/* ---- random numbers --------------------------------------------------------------- */

/* Philox4x32-10 (Salmon, Moraes, Dror, Shaw 2011), key seed, counter (i/2, stream): value i depends on
 * nothing else. `kind` 1: uniform in [0, 1), multiples of 2^-52 (f32: cut to 2^-24). Else standard normal:
 * Box-Muller on pairs, with this library's own polynomials, so that the bits are the same on every
 * machine; f32 is the f64 value, rounded. */
void pdn_random(PdnType type, int kind, uint64_t seed, uint64_t stream, void *to, int64_t count);
/* Values begin <= i < end of the same sequence, to to[begin] … to[end - 1]: parts for several threads. */
void pdn_random_range(PdnType type, int kind, uint64_t seed, uint64_t stream, void *to, int64_t begin,
                      int64_t end);

/* ---- progress -------------------------------------------------------------------- */

/* A line that says how far a long loop is, with its rate and the time left: shown only on a terminal,
 * after half a second, at most ten times a second, and cleared at the end. */
typedef struct {
    FILE *to; /* NULL: not a terminal, nothing is shown */
    char label[64];
    int64_t total;
    double start, last; /* seconds */
    bool shown;
} PdnProgress;
/* `total` < 0: not known. `to` is stderr as a rule. */
void pdn_progress_begin(PdnProgress *progress, FILE *to, const char *label, int64_t total);
void pdn_progress_update(PdnProgress *progress, int64_t done);
void pdn_progress_end(PdnProgress *progress);
/* The text of that line. */
void pdn_progress_text(char *line, size_t room, const char *label, int64_t done, int64_t total,
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
    int rank;             /* of the grid */
    int64_t extent[3];    /* x first */
    double spacing[3], origin[3];
    int64_t channels;     /* 1: no axis */
    int64_t items;        /* of a list; 0: not a list */
    int64_t frames;       /* of a film; 0: not a film */
    const void *const *data; /* one pointer for each item of each frame: [frame * max(items, 1) + item] */
    const char *const *names; /* of the items, or NULL */
    double time_step;     /* between frames; 0: not known */
    int depth;            /* of pictures: 8 or 16 bits a sample; 0: 8 */
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

/* A text written to a temporary file and renamed. */
PdnStatus pdn_text_write(const char *path, const char *bytes, size_t count, PdnError *error);

#ifdef __cplusplus
}
#endif
#endif
