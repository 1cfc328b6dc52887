/* data_arrays.c: samples along the first axis of arrays, a field each. */
#include "runtime/data.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    int fields;
    PdnArray array[PDN_DATA_FIELDS];
    char *path[PDN_DATA_FIELDS];
    int64_t extent[PDN_DATA_FIELDS][3], channels[PDN_DATA_FIELDS];
} Arrays;

static void free_arrays(void *source) {
    Arrays *arrays = source;
    for (int f = 0; f < PDN_DATA_FIELDS; f++) {
        pdn_array_free(&arrays->array[f]);
        free(arrays->path[f]);
    }
    free(arrays);
}

static void extent_of(const PdnData *data, int64_t number, int field, int64_t extent[3]) {
    memcpy(extent, ((const Arrays *)data->source)->extent[field], 3 * sizeof *extent);
}

static void name_of(const PdnData *data, int64_t number, char *to, size_t room) {
    const Arrays *arrays = data->source;
    snprintf(to, room, "sample %lld of %s", (long long)number, arrays->path[0]);
}

static const void *place_of(const PdnData *data, int64_t number, int field) {
    const Arrays *arrays = data->source;
    const int64_t *extent = arrays->extent[field];
    int64_t values = arrays->channels[field] * extent[0] * extent[1] * extent[2];
    return (const char *)arrays->array[field].data +
           (size_t)(number * values) * pdn_type_size(data->type);
}

static PdnStatus read_windows(const PdnData *data, int64_t number, const PdnWindow windows[],
                              void *const to[], PdnError *error) {
    const Arrays *arrays = data->source;
    size_t size = pdn_type_size(data->type);
    for (int f = 0; f < arrays->fields; f++) {
        const PdnWindow *w = &windows[f];
        const int64_t *extent = arrays->extent[f];
        int64_t cells = extent[0] * extent[1] * extent[2];
        const char *from = place_of(data, number, f);
        char *next = to[f];
        size_t bytes = (size_t)w->extent[0] * size;
        for (int64_t c = 0; c < arrays->channels[f]; c++) {
            for (int64_t z = w->low[2]; z < w->low[2] + w->extent[2]; z++) {
                for (int64_t y = w->low[1]; y < w->low[1] + w->extent[1]; y++, next += bytes) {
                    int64_t at = c * cells + (z * extent[1] + y) * extent[0] + w->low[0];
                    memcpy(next, from + (size_t)at * size, bytes);
                }
            }
        }
    }
    return PDN_OK;
}

static const PdnDataKind kind = {extent_of, read_windows, place_of, name_of, free_arrays};

/* ---- opening ------------------------------------------------------------------------------ */

static PdnStatus check_finite(const char *path, const PdnArray *array, PdnError *error) {
    int64_t count = pdn_array_count(array), each = count / array->shape[0], bad = 0, first = -1;
    for (int64_t i = 0; i < count; i++) {
        double value = array->type == PDN_F32 ? ((const float *)array->data)[i]
                                              : ((const double *)array->data)[i];
        if (!isfinite(value)) { first = bad++ ? first : i; }
    }
    if (bad == 0) { return PDN_OK; }
    return pdn_fail(error, PDN_ERROR_FORMAT,
                    "%s: %lld of %lld values are no finite numbers (NaN or infinite), the first in "
                    "sample %lld, value %lld of it, counted from 0: training would spread them",
                    path, (long long)bad, (long long)count, (long long)(first / each),
                    (long long)(first % each));
}

/* What the axes of an array mean, but for the first. */
static PdnStatus understand(const char *path, int axes, const int64_t *shape, int64_t wanted,
                            PdnDataField *field, PdnError *error) {
    if (axes == 0) {
        return pdn_fail(error, PDN_ERROR_FORMAT,
                        "%s is a single number: the first axis counts the samples", path);
    }
    int rest = axes - 1;
    int rank = wanted != PDN_ABSENT ? (int)wanted : rest < 3 ? rest : rest - 1;
    if (rest != rank && rest != rank + 1) {
        return pdn_fail(error, PDN_ERROR_FORMAT,
                        "%s has %d axes: fields of %d dimension%s have %d (samples and grid), or "
                        "%d with channels",
                        path, axes, rank, rank == 1 ? "" : "s", rank + 1, rank + 2);
    }
    *field = (PdnDataField){.rank = rank, .channels = rest > rank ? shape[1] : 1};
    for (int axis = 0; axis < 3; axis++) {
        field->extent[axis] = axis < rank ? shape[axes - 1 - axis] : 1;
    }
    return PDN_OK;
}

static PdnStatus read_field(PdnData *data, int f, const char *path, int64_t rank, PdnError *error) {
    Arrays *arrays = data->source;
    PdnDataField *field = &data->info.field[f];
    int axes;
    int64_t shape[PDN_MAX_RANK];
    PdnStatus status = pdn_file_shape(path, &axes, shape, error);
    if (!status && pdn_picture_named(path)) {
        status = pdn_fail(error, PDN_ERROR_FORMAT,
                          "%s is a picture, and arrays() takes npy and npz files whose first axis "
                          "counts samples; a folder of pictures is read by images()",
                          path);
    }
    if (!status) { status = understand(path, axes, shape, rank, field, error); }
    if (!status && f > 0 && shape[0] != arrays->array[0].shape[0]) {
        status = pdn_fail(error, PDN_ERROR_SIZE,
                          "%.170s has %lld samples and %.170s has %lld: the first axes must be as "
                          "long as each other, as they count the samples",
                          arrays->path[0], (long long)arrays->array[0].shape[0], path,
                          (long long)shape[0]);
    }
    if (!status) { status = pdn_file_read(path, data->type, &arrays->array[f], error); }
    if (status) { return status; }
    const PdnArray *array = &arrays->array[f];
    if (array->rank != axes || memcmp(array->shape, shape, (size_t)axes * sizeof *shape) != 0) {
        return pdn_fail(error, PDN_ERROR_FORMAT, "%s changed while it was read", path);
    }
    arrays->path[f] = strdup(path);
    if (!arrays->path[f]) { return pdn_fail(error, PDN_ERROR_MEMORY, "%s: out of memory", path); }
    arrays->channels[f] = field->channels;
    memcpy(arrays->extent[f], field->extent, sizeof field->extent);
    arrays->fields = data->info.fields = f + 1;
    return check_finite(path, array, error);
}

/* One window and one symmetry for all fields. */
static PdnStatus check_alike(const PdnData *data, PdnError *error) {
    const PdnDataInfo *info = &data->info;
    const Arrays *arrays = data->source;
    if (!data->options.patch && !data->options.augment) { return PDN_OK; }
    for (int f = 0; f < info->fields; f++) {
        if (info->field[f].rank != info->field[0].rank ||
            memcmp(info->field[f].extent, info->field[0].extent, sizeof info->field[0].extent)) {
            return pdn_fail(error, PDN_ERROR_SIZE,
                            "the samples of %.170s and %.170s are not of one size: %s cannot be "
                            "the same for both",
                            arrays->path[0], arrays->path[f],
                            data->options.patch ? "a patch" : "what augment does");
        }
    }
    if (info->field[0].rank == 0) {
        return pdn_fail(error, PDN_ERROR_ARGUMENT,
                        "the samples of %s are numbers: patch and augment are for fields",
                        arrays->path[0]);
    }
    return PDN_OK;
}

PdnStatus pdn_data_arrays(const char *const *paths, int64_t count, int64_t rank,
                          const PdnDataOptions *options, PdnType type, PdnData **data,
                          PdnError *error) {
    *data = NULL;
    if (count < 1 || count > PDN_DATA_FIELDS) {
        return pdn_fail(error, PDN_ERROR_ARGUMENT,
                        "arrays() of %lld files: a sample has 1 to %d fields, a file each",
                        (long long)count, PDN_DATA_FIELDS);
    }
    if (rank != PDN_ABSENT && (rank < 1 || rank > 3)) {
        return pdn_fail(error, PDN_ERROR_ARGUMENT, "rank = %lld: grids have 1, 2 or 3 dimensions",
                        (long long)rank);
    }
    Arrays *arrays = calloc(1, sizeof *arrays);
    if (!arrays) { return pdn_fail(error, PDN_ERROR_MEMORY, "no memory for a set of arrays"); }
    PdnData *made;
    PdnStatus status = pdn_data_new(&kind, arrays, options, type, &made, error);
    if (status) { return status; }
    for (int f = 0; f < count && !status; f++) {
        status = read_field(made, f, paths[f], rank, error);
    }
    if (!status) { status = check_alike(made, error); }
    if (status) {
        pdn_data_free(made);
        return status;
    }
    made->info.count = pdn_data_limited(made, arrays->array[0].shape[0]);
    made->info.decoded = true;
    status = pdn_data_finish(paths[0], &made, error);
    if (!status) { *data = made; }
    return status;
}
