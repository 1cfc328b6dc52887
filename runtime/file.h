/* file.h: what the formats share. Private to the runtime (and its fuzzers).
 *
 * A reader finds out the shape, says it with pdn_input_shape, and, unless only the shape was asked
 * for, fills the array. A writer writes one file. Neither opens, closes, renames or removes. */
#ifndef PDN_FILE_H
#define PDN_FILE_H

#include "runtime/pdn.h"

/* Fills in the message (valid UTF-8, without control characters; too long: without its middle) and gives
 * `status` back. */
PdnStatus pdn_fail(PdnError *error, PdnStatus status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The product of the shape times `size`; false when it does not fit an int64_t or an axis is < 0. */
bool pdn_shape_bytes(int rank, const int64_t *shape, int64_t size, int64_t *bytes);

/* "512 x 512", for messages; of rank 0 "a number". */
typedef struct {
    char text[192];
} PdnShapeText;
PdnShapeText pdn_shape_text(int rank, const int64_t *shape);

/* "1.5 GiB" and the like, for messages. */
typedef struct {
    char text[32];
} PdnBytesText;
PdnBytesText pdn_bytes_text(int64_t bytes);

/* As the public functions, with proc and sys looked for under `root` ("" for the real ones). */
int64_t pdn_memory_available_under(const char *root);
int pdn_threads_available_under(const char *root);

/* Philox4x32-10: one block of four words. */
void pdn_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t block[4]);

/* ---- reading ---------------------------------------------------------------------- */

/* A picture as it is stored: samples of 1 or 2 bytes, from 0 to `most`, as [channel][y][x]. */
typedef struct {
    int64_t width, height;
    int channels, bytes; /* 1 or 3 channels */
    unsigned most;
    void *samples; /* freed by the caller; NULL when only the header was read */
} PdnPicture;
/* Only files that have a picture's extension, as pdn_picture_named says, are read. */
PdnStatus pdn_picture_read(const char *path, bool header_only, PdnPicture *picture,
                           PdnError *error);
bool pdn_picture_named(const char *path);
/* Those extensions, as a text: "png pgm ppm". */
const char *pdn_picture_extensions(char *to, size_t room);

typedef struct {
    const char *name;     /* of the file, for messages */
    FILE *file;           /* at its start */
    int64_t size;         /* of the file in bytes */
    const uint8_t *bytes; /* the content, where it is in memory already, else NULL */
    const char *entry;    /* of an archive: the wanted array; NULL: the first */
    bool shape_only;
    PdnPicture *picture; /* not NULL: the samples of a picture go there, and not to `array` */
    PdnType type;
    PdnArray array; /* made by pdn_input_shape unless shape_only */
    int rank;
    int64_t shape[PDN_MAX_RANK];
    PdnError *error;
} PdnInput;

/* Notes the shape; refuses empty arrays, sizes beyond PDN_FILE_LIMIT and what memory does not hold. */
PdnStatus pdn_input_shape(PdnInput *in, int rank, const int64_t *shape);

/* Reads from bytes in memory, whatever their format; `name` is for messages. For tests and fuzzers. */
PdnStatus pdn_bytes_read(const char *name, const void *bytes, size_t count, PdnType type,
                         PdnArray *array, PdnError *error);

/* Opens a regular file for reading: `size` is its bytes. Anything else, a pipe that would hang too, is an error. */
PdnStatus pdn_file_open(const char *path, FILE **file, int64_t *size, PdnError *error);

/* A file that is shorter than it must be. */
PdnStatus pdn_truncated(PdnInput *in);

static inline void pdn_array_set(const PdnArray *array, int64_t i, double value) {
    if (array->type == PDN_F32) {
        ((float *)array->data)[i] = (float)value;
    } else {
        ((double *)array->data)[i] = value;
    }
}

/* ---- writing ----------------------------------------------------------------------- */

typedef struct {
    const char *name; /* of the file that is to be, for messages */
    const char *temp; /* the file that is written; NULL when it is a device */
    FILE *file;       /* open for writing */
    double time;      /* of a frame of a series */
    PdnError *error;
} PdnOutput;

enum { SERIES_FRAMES = 1, SERIES_ITEMS = 2 };

static inline double pdn_save_value(const PdnSave *save, const void *data, int64_t i) {
    return save->type == PDN_F32 ? ((const float *)data)[i] : ((const double *)data)[i];
}
static inline size_t pdn_type_size(PdnType type) {
    return type == PDN_F32 ? sizeof(float) : sizeof(double);
}
/* Cells of the grid, and fields in `data`. */
int64_t pdn_save_cells(const PdnSave *save);
int64_t pdn_save_fields(const PdnSave *save);

/* The name of an item, unique in its list, in at most 64 bytes; `plain` is what stands for a missing name. */
typedef struct {
    char text[96];
} PdnItemName;
PdnItemName pdn_item_name(const PdnSave *save, int64_t item, const char *plain);

/* PDN_OK, or the status of a stream that could not be written, with errno's text. */
PdnStatus pdn_output_status(PdnOutput *out);

/* The shortest decimal number that reads back as the same value. */
typedef struct {
    char text[40];
} PdnNumberText;
PdnNumberText pdn_number_text(double value, PdnType type);

/* ---- pictures ----------------------------------------------------------------------- */

/* Said by the readers of pictures before the shape: the greatest sample. */
static inline void pdn_input_most(PdnInput *in, unsigned most) {
    if (in->picture) {
        in->picture->most = most;
        in->picture->bytes = most > 255 ? 2 : 1;
    }
}
/* One row of samples (of 1 or 2 bytes, big endian, `stride` a pixel) to row y of the array, divided
 * by `most`. False when a sample is greater than `most`. */
bool pdn_picture_row(PdnInput *in, const uint8_t *row, int64_t y, int stride, int bytes,
                     unsigned most);
/* The other way: row y of a picture, clamped to [0, 1], rounded to nearest. */
void pdn_picture_pack(const PdnSave *save, int64_t y, uint8_t *row);
/* NaN in a picture is an error. */
PdnStatus pdn_picture_finite(PdnOutput *out, const PdnSave *save);
static inline int pdn_picture_depth(const PdnSave *save) { return save->depth == 16 ? 16 : 8; }

/* ---- NumPy -------------------------------------------------------------------------- */

/* Where the bytes of an array come from: gives fewer than `count` only at the end or on an error. */
typedef struct {
    size_t (*read)(void *context, void *to, size_t count);
    void *context;
    int64_t size; /* bytes that it can give at most */
} PdnSource;
PdnStatus pdn_npy_read_from(PdnInput *in, PdnSource *source);
#define PDN_NPY_HEADER 256
/* The header of an array with these axes; its length (a multiple of 64) is returned. */
size_t pdn_npy_header(PdnType type, int rank, const int64_t *shape, char to[PDN_NPY_HEADER]);

/* The number of an IEEE half. */
double pdn_half_value(uint16_t bits);

/* ---- safetensors ----------------------------------------------------------------------- */

/* As pdn_tensors_read, from bytes in memory; `name` is for messages. For tests and fuzzers. */
PdnStatus pdn_tensors_read_bytes(const char *name, const void *bytes, size_t count,
                                 PdnTensors **out, PdnError *error);
/* Likewise a checkpoint. */
PdnStatus pdn_checkpoint_read_bytes(const char *name, const void *bytes, size_t count,
                                    PdnCheckpoint *training, PdnTensors **out, PdnError *error);

/* ---- the rows of formats.def ------------------------------------------------------------ */

typedef bool PdnMagic(const uint8_t *head, size_t count);
typedef PdnStatus PdnReader(PdnInput *in);
typedef PdnStatus PdnCheck(const char *name, const PdnSave *save, PdnError *error);
typedef PdnStatus PdnWriter(PdnOutput *out, const PdnSave *save);

PdnMagic pdn_png_magic, pdn_pnm_magic, pdn_npy_magic, pdn_npz_magic;
PdnReader pdn_png_read, pdn_pnm_read, pdn_npy_read, pdn_npz_read;
PdnCheck pdn_picture_check, pdn_pgm_check, pdn_ppm_check, pdn_npy_check, pdn_vti_check,
    pdn_csv_check;
PdnWriter pdn_png_write, pdn_pnm_write, pdn_npy_write, pdn_npz_write, pdn_vti_write, pdn_csv_write;

#endif
