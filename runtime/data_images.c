/* data_images.c: sets of pictures, decoded once where the memory holds them. */
#include "runtime/data.h"

#include <stdlib.h>
#include <string.h>

typedef struct {
    PdnPaths paths;
    PdnPicture *pictures; /* one for each path; samples NULL: decoded when drawn */
    int64_t count;        /* of those that are used */
    int channels;         /* of the samples that are drawn */
} Images;

static void free_images(void *source) {
    Images *images = source;
    for (int64_t i = 0; i < images->count && images->pictures; i++) {
        free(images->pictures[i].samples);
    }
    free(images->pictures);
    pdn_paths_free(&images->paths);
    free(images);
}

static void extent_of(const PdnData *data, int64_t number, int field, int64_t extent[3]) {
    const Images *images = data->source;
    extent[0] = images->pictures[number].width;
    extent[1] = images->pictures[number].height;
    extent[2] = 1;
}

static void name_of(const PdnData *data, int64_t number, char *to, size_t room) {
    const Images *images = data->source;
    snprintf(to, room, "%s", images->paths.paths[number]);
}

/* ---- windows ---------------------------------------------------------------------------- */

static inline unsigned sample_at(const PdnPicture *picture, int64_t i) {
    return picture->bytes == 1 ? ((const uint8_t *)picture->samples)[i]
                               : ((const uint16_t *)picture->samples)[i];
}

/* `count` samples from place `at` on, of which `most` is 1. */
static void row(const PdnPicture *picture, int64_t at, int64_t count, PdnType type, void *to) {
    double most = picture->most;
    for (int64_t x = 0; x < count; x++) {
        double value = (double)sample_at(picture, at + x) / most;
        if (type == PDN_F32) {
            ((float *)to)[x] = (float)value;
        } else {
            ((double *)to)[x] = value;
        }
    }
}

/* The grey of colours. Whole numbers as long as possible: the grey of a grey colour is that grey. */
static void grey_row(const PdnPicture *picture, int64_t at, int64_t count, PdnType type, void *to) {
    int64_t plane = picture->width * picture->height;
    double most = 1000.0 * picture->most;
    for (int64_t x = 0; x < count; x++) {
        unsigned grey = 299 * sample_at(picture, at + x) +
                        587 * sample_at(picture, at + x + plane) +
                        114 * sample_at(picture, at + x + 2 * plane);
        double value = (double)grey / most;
        if (type == PDN_F32) {
            ((float *)to)[x] = (float)value;
        } else {
            ((double *)to)[x] = value;
        }
    }
}

static void copy_window(const PdnPicture *picture, const PdnWindow *w, int channels, PdnType type,
                        void *to) {
    size_t bytes = (size_t)w->extent[0] * pdn_type_size(type);
    char *next = to;
    for (int c = 0; c < channels; c++) {
        int from = picture->channels == 3 ? c : 0;
        for (int64_t y = 0; y < w->extent[1]; y++, next += bytes) {
            int64_t line = (from * picture->height + w->low[1] + y) * picture->width;
            if (channels == 1 && picture->channels == 3) {
                grey_row(picture, line + w->low[0], w->extent[0], type, next);
            } else {
                row(picture, line + w->low[0], w->extent[0], type, next);
            }
        }
    }
}

static PdnStatus read_window(const PdnData *data, int64_t number, const PdnWindow windows[],
                             void *const to[], PdnError *error) {
    const Images *images = data->source;
    const PdnPicture *known = &images->pictures[number];
    if (known->samples) {
        copy_window(known, windows, images->channels, data->type, to[0]);
        return PDN_OK;
    }
    PdnPicture picture;
    PdnStatus status = pdn_picture_read(images->paths.paths[number], false, &picture, error);
    if (status) { return status; }
    if (picture.width != known->width || picture.height != known->height ||
        picture.channels != known->channels) {
        status = pdn_fail(error, PDN_ERROR_FORMAT,
                          "%s has become another picture since the program began",
                          images->paths.paths[number]);
    } else {
        copy_window(&picture, windows, images->channels, data->type, to[0]);
    }
    free(picture.samples);
    return status;
}

static const PdnDataKind kind = {extent_of, read_window, NULL, name_of, free_images};

/* ---- opening ---------------------------------------------------------------------------- */

static PdnStatus read_headers(Images *images, PdnError *error) {
    images->pictures = calloc((size_t)images->count, sizeof *images->pictures);
    if (!images->pictures) {
        return pdn_fail(error, PDN_ERROR_MEMORY, "no memory for %lld pictures",
                        (long long)images->count);
    }
    PdnStatus status = PDN_OK;
    for (int64_t i = 0; i < images->count && !status; i++) {
        status = pdn_picture_read(images->paths.paths[i], true, &images->pictures[i], error);
    }
    return status;
}

static PdnStatus check_channels(Images *images, int64_t wanted, PdnError *error) {
    if (wanted != PDN_ABSENT && wanted != 1 && wanted != 3) {
        return pdn_fail(error, PDN_ERROR_ARGUMENT,
                        "channels = %lld: pictures have 1 channel (grey) or 3 (red, green, blue)",
                        (long long)wanted);
    }
    int first = images->pictures[0].channels;
    images->channels = wanted == PDN_ABSENT ? first : (int)wanted;
    for (int64_t i = 1; i < images->count && wanted == PDN_ABSENT; i++) {
        if (images->pictures[i].channels != first) {
            return pdn_fail(error, PDN_ERROR_FORMAT,
                            "%.170s is grey and %.170s has colours: channels = 1 makes all grey, "
                            "channels = 3 gives all three channels",
                            images->paths.paths[first == 1 ? 0 : i],
                            images->paths.paths[first == 1 ? i : 0]);
        }
    }
    return PDN_OK;
}

static PdnStatus check_patch(const Images *images, int64_t patch, PdnError *error) {
    int64_t small = 0, least = INT64_MAX, smallest = 0;
    for (int64_t i = 0; i < images->count; i++) {
        const PdnPicture *picture = &images->pictures[i];
        int64_t side = picture->width < picture->height ? picture->width : picture->height;
        small += side < patch;
        if (side < least) {
            least = side;
            smallest = i;
        }
    }
    if (small == 0) { return PDN_OK; }
    const PdnPicture *picture = &images->pictures[smallest];
    return pdn_fail(error, PDN_ERROR_SIZE,
                    "%s has %lld x %lld pixels, less than the patch of %lld x %lld (%lld of %lld "
                    "pictures are too small, this one the most): take patch = %lld or less, or "
                    "leave such pictures out",
                    images->paths.paths[smallest], (long long)picture->width,
                    (long long)picture->height, (long long)patch, (long long)patch,
                    (long long)small, (long long)images->count, (long long)least);
}

/* Units are pictures. A failure leaves one without samples. */
static void decode(const void *arguments, int64_t begin, int64_t end) {
    const Images *images = arguments;
    for (int64_t i = begin; i < end; i++) {
        PdnPicture picture;
        if (pdn_picture_read(images->paths.paths[i], false, &picture, NULL) == PDN_OK) {
            const PdnPicture *known = &images->pictures[i];
            if (picture.width == known->width && picture.height == known->height &&
                picture.channels == known->channels) {
                images->pictures[i] = picture;
            } else {
                free(picture.samples);
            }
        }
    }
}

static int64_t decoded_bytes(const Images *images) {
    int64_t total = 0;
    for (int64_t i = 0; i < images->count;
         i++) { /* 2^20 pictures of at most 2^33 samples of 2 bytes */
        const PdnPicture *picture = &images->pictures[i];
        total += picture->width * picture->height * picture->channels * picture->bytes;
    }
    return total;
}

/* Keeps all pictures in memory where they fit. */
static PdnStatus decode_all(PdnData *data, PdnError *error) {
    const Images *images = data->source;
    int64_t bound = data->options.memory;
    if (bound == PDN_ABSENT) { bound = pdn_memory_available() / 4; }
    data->info.decoded = decoded_bytes(images) <= bound;
    if (!data->info.decoded) { return PDN_OK; }
    pdn_launch(decode, images, images->count, 0);
    for (int64_t i = 0; i < images->count; i++) {
        if (images->pictures[i].samples) { continue; }
        PdnPicture picture; /* again, for the message */
        PdnStatus status = pdn_picture_read(images->paths.paths[i], false, &picture, error);
        free(picture.samples);
        return status ? status
                      : pdn_fail(error, PDN_ERROR_FORMAT, "%s changed while it was read",
                                 images->paths.paths[i]);
    }
    return PDN_OK;
}

static void describe(PdnData *data) {
    const Images *images = data->source;
    data->info.fields = 1;
    data->info.count = images->count;
    PdnDataField *field = &data->info.field[0];
    *field = (PdnDataField){.rank = 2, .channels = images->channels};
    extent_of(data, 0, 0, field->extent);
    for (int64_t i = 1; i < images->count; i++) {
        if (images->pictures[i].width != field->extent[0]) { field->extent[0] = -1; }
        if (images->pictures[i].height != field->extent[1]) { field->extent[1] = -1; }
    }
}

PdnStatus pdn_data_images(const char *path, int64_t channels, const PdnDataOptions *options,
                          PdnType type, PdnData **data, PdnError *error) {
    *data = NULL;
    Images *images = calloc(1, sizeof *images);
    if (!images) { return pdn_fail(error, PDN_ERROR_MEMORY, "no memory for a set of pictures"); }
    PdnData *made;
    PdnStatus status = pdn_data_new(&kind, images, options, type, &made, error);
    if (status) { return status; }
    status = pdn_picture_paths(path, PDN_DATA_FILES, &images->paths, error);
    if (!status) {
        images->count = pdn_data_limited(made, images->paths.count);
        status = read_headers(images, error);
    }
    if (!status) { status = check_channels(images, channels, error); }
    if (!status) { status = check_patch(images, made->options.patch, error); }
    if (status) {
        pdn_data_free(made);
        return status;
    }
    describe(made);
    status = pdn_data_finish(path, &made, error);
    if (status) { return status; }
    status = decode_all(made, error);
    if (status) {
        pdn_data_free(made);
        return status;
    }
    *data = made;
    return PDN_OK;
}
