/* data.c: sets of samples: their options, and what an epoch draws from them. */
#include "runtime/data.h"

#include <stdlib.h>
#include <string.h>

/* ---- random bits ---------------------------------------------------------------------- */

void pdn_data_draw(uint64_t seed, int purpose, uint16_t source, uint64_t major, uint32_t minor,
                   uint32_t block[4]) {
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    const uint32_t counter[4] = {minor, UINT32_C(0x80000000) | (uint32_t)purpose << 16 | source,
                                 (uint32_t)major, (uint32_t)(major >> 32)};
    pdn_philox(counter, key, block);
}

/* ---- options -------------------------------------------------------------------------- */

/* A number of `what` that is given must be 1 or more; what is absent becomes `absent`. */
static bool positive(int64_t *value, int64_t absent, const char *name, const char *what,
                     PdnError *error) {
    if (*value == PDN_ABSENT) {
        *value = absent;
        return true;
    }
    if (*value >= 1) { return true; }
    pdn_fail(error, PDN_ERROR_ARGUMENT,
             "%s = %lld: %s is a whole number from 1 on; leave it out for %s", name,
             (long long)*value, what,
             absent == 1            ? "1"
             : absent == PDN_ABSENT ? "all of them"
                                    : "whole samples");
    return false;
}

PdnStatus pdn_data_new(const PdnDataKind *kind, void *source, const PdnDataOptions *options,
                       PdnType type, PdnData **data, PdnError *error) {
    PdnData *made = calloc(1, sizeof *made);
    *data = NULL;
    if (!made) {
        kind->free(source);
        return pdn_fail(error, PDN_ERROR_MEMORY, "no memory for a set of samples");
    }
    *made = (PdnData){.kind = kind, .source = source, .type = type, .options = *options};
    PdnDataOptions *o = &made->options;
    if (!positive(&o->patch, 0, "patch", "the size of a patch", error) ||
        !positive(&o->batch, 1, "batch", "the number of samples of a batch", error) ||
        !positive(&o->limit, PDN_ABSENT, "limit", "the number of samples to take", error) ||
        !positive(&o->repeat, 1, "repeat", "the number of times that a sample is drawn an epoch",
                  error)) {
        pdn_data_free(made);
        return PDN_ERROR_ARGUMENT;
    }
    *data = made;
    return PDN_OK;
}

int64_t pdn_data_limited(const PdnData *data, int64_t count) {
    int64_t limit = data->options.limit;
    return limit != PDN_ABSENT && limit < count ? limit : count;
}

/* "48 x 32". */
static const char *extent_text(int rank, const int64_t *extent, char *to, size_t room) {
    size_t used = 0;
    to[0] = 0;
    for (int axis = 0; axis < rank && used < room; axis++) {
        used += (size_t)snprintf(to + used, room - used, "%s%lld", axis ? " x " : "",
                                 (long long)extent[axis]);
    }
    return to;
}

static PdnStatus check_patch(const char *name, const PdnData *data, PdnError *error) {
    int64_t patch = data->options.patch;
    for (int f = 0; f < data->info.fields; f++) {
        const PdnDataField *field = &data->info.field[f];
        for (int axis = 0; axis < field->rank; axis++) {
            int64_t cells = field->extent[axis];
            if (cells >= 0 && cells < patch) {
                char text[80];
                return pdn_fail(error, PDN_ERROR_SIZE,
                                "%s has samples of %s cells, smaller than the patch, which has "
                                "%lld cells along each axis: take a smaller one, or leave it out",
                                name, extent_text(field->rank, field->extent, text, sizeof text),
                                (long long)patch);
            }
        }
    }
    return PDN_OK;
}

static PdnStatus check_epoch(const char *name, PdnData *data, PdnError *error) {
    PdnDataInfo *info = &data->info;
    info->batch = data->options.batch;
    if (__builtin_mul_overflow(info->count, data->options.repeat, &info->per_epoch) ||
        info->per_epoch > PDN_DATA_SAMPLES) {
        return pdn_fail(error, PDN_ERROR_LIMIT,
                        "%s: %lld samples, each drawn %lld times, are more than an epoch may have "
                        "(%lld); train for more epochs instead",
                        name, (long long)info->count, (long long)data->options.repeat,
                        (long long)PDN_DATA_SAMPLES);
    }
    if (info->batch > info->per_epoch) {
        return pdn_fail(error, PDN_ERROR_ARGUMENT,
                        "batch = %lld is more than the %lld sample%s that an epoch draws from %s: "
                        "take batch = %lld or less, or draw each sample more often (repeat = %lld)",
                        (long long)info->batch, (long long)info->per_epoch,
                        info->per_epoch == 1 ? "" : "s", name, (long long)info->per_epoch,
                        (long long)((info->batch - 1) / info->count + 1));
    }
    return PDN_OK;
}

PdnStatus pdn_data_finish(const char *name, PdnData **data, PdnError *error) {
    PdnData *made = *data;
    PdnStatus status = check_patch(name, made, error);
    if (!status) { status = check_epoch(name, made, error); }
    if (status) {
        pdn_data_free(made);
        *data = NULL;
        return status;
    }
    made->info.varies = made->options.augment;
    for (int f = 0; f < made->info.fields && made->options.patch; f++) {
        PdnDataField *field = &made->info.field[f];
        for (int axis = 0; axis < field->rank; axis++) {
            made->info.varies |= field->extent[axis] != made->options.patch;
            field->extent[axis] = made->options.patch;
        }
    }
    return PDN_OK;
}

void pdn_data_info(const PdnData *data, PdnDataInfo *info) { *info = data->info; }

void pdn_data_name(const PdnData *data, int64_t number, char *to, size_t room) {
    data->kind->name(data, number, to, room);
}

void pdn_data_free(PdnData *data) {
    if (!data) { return; }
    data->kind->free(data->source);
    free(data);
}

/* ---- drawing --------------------------------------------------------------------------- */

static int64_t field_bytes(const PdnData *data, const PdnSample *sample, int field) {
    const int64_t *extent = sample->field[field].extent;
    return sample->field[field].channels * extent[0] * extent[1] * extent[2] *
           (int64_t)pdn_type_size(data->type);
}

int64_t pdn_data_room(const PdnData *data, const PdnSample *sample, int field) {
    return (field_bytes(data, sample, field) + 63) / 64 * 64;
}

void pdn_data_sizes(const PdnData *data, int64_t index, PdnSample *sample) {
    sample->number = index % data->info.count;
    for (int f = 0; f < data->info.fields; f++) {
        const PdnDataField *field = &data->info.field[f];
        int64_t *extent = sample->field[f].extent;
        sample->field[f].channels = field->channels;
        data->kind->extent(data, sample->number, f, extent);
        for (int axis = 0; axis < field->rank && data->options.patch; axis++) {
            extent[axis] = data->options.patch;
        }
    }
}

bool pdn_data_placed(const PdnData *data, PdnSample *sample) {
    if (!data->kind->place || data->options.augment) { return false; }
    for (int f = 0; f < data->info.fields; f++) {
        int64_t whole[3];
        data->kind->extent(data, sample->number, f, whole);
        if (memcmp(whole, sample->field[f].extent, sizeof whole) != 0) { return false; }
        const char *place = data->kind->place(data, sample->number, f);
        int64_t room = pdn_data_room(data, sample, f);
        if (!place || (uintptr_t)place % 64 || room != field_bytes(data, sample, f)) {
            return false;
        }
        sample->field[f].data = place;
    }
    return true;
}

int64_t pdn_data_too_small(const PdnData *data, const int64_t least[3], int64_t *number,
                           int64_t extent[3]) {
    int64_t count = 0, most = 0;
    for (int64_t i = 0; i < data->info.count; i++) {
        PdnSample sample;
        pdn_data_sizes(data, i, &sample);
        int64_t lacks = 0;
        for (int axis = 0; axis < data->info.field[0].rank; axis++) {
            int64_t less = least[axis] - sample.field[0].extent[axis];
            if (less > lacks) { lacks = less; }
        }
        count += lacks > 0;
        if (lacks <= most) { continue; }
        most = lacks;
        *number = i;
        memcpy(extent, sample.field[0].extent, sizeof sample.field[0].extent);
    }
    return count;
}

/* A symmetry of a box: along axis a of the result runs axis from[a] of the source, backwards where flip[a]. */
typedef struct {
    int from[3];
    bool flip[3];
} Symmetry;

static Symmetry symmetry_of(uint32_t bits, int rank, const int64_t extent[3]) {
    static const int orders[6][3] = {{0, 1, 2}, {1, 0, 2}, {0, 2, 1},
                                     {2, 1, 0}, {1, 2, 0}, {2, 0, 1}};
    static const int order_count[4] = {1, 1, 2, 6};
    bool cube = true;
    for (int axis = 1; axis < rank; axis++) { cube &= extent[axis] == extent[0]; }
    int flips = 1 << rank;
    int which = (int)pdn_data_below(bits, flips * (cube ? order_count[rank] : 1));
    Symmetry s;
    for (int axis = 0; axis < 3; axis++) {
        s.from[axis] = orders[which / flips][axis];
        s.flip[axis] = which % flips >> axis & 1;
    }
    return s;
}

static bool is_identity(const Symmetry *s) {
    for (int axis = 0; axis < 3; axis++) {
        if (s->from[axis] != axis || s->flip[axis]) { return false; }
    }
    return true;
}

static void apply(const Symmetry *s, size_t size, const int64_t extent[3], int64_t channels,
                  const void *from, void *to) {
    int64_t stride[3] = {1, extent[0], extent[0] * extent[1]}, step[3], base = 0;
    int64_t cells = stride[2] * extent[2], at = 0;
    for (int axis = 0; axis < 3; axis++) {
        int64_t along = stride[s->from[axis]];
        base += s->flip[axis] ? along * (extent[axis] - 1) : 0;
        step[axis] = s->flip[axis] ? -along : along;
    }
    for (int64_t c = 0; c < channels; c++) {
        for (int64_t z = 0; z < extent[2]; z++) {
            for (int64_t y = 0; y < extent[1]; y++) {
                int64_t source = c * cells + base + z * step[2] + y * step[1];
                for (int64_t x = 0; x < extent[0]; x++, source += step[0], at++) {
                    if (size == sizeof(float)) {
                        ((float *)to)[at] = ((const float *)from)[source];
                    } else {
                        ((double *)to)[at] = ((const double *)from)[source];
                    }
                }
            }
        }
    }
}

PdnStatus pdn_data_sample(const PdnData *data, uint64_t seed, int64_t epoch, int64_t index,
                          PdnSample *sample, void *scratch, PdnError *error) {
    uint32_t bits[4];
    pdn_data_draw(seed, PDN_DRAW_WINDOW, data->options.source, (uint64_t)epoch, (uint32_t)index,
                  bits);
    Symmetry symmetry = {{0, 1, 2}, {false, false, false}};
    if (data->options.augment) {
        symmetry = symmetry_of(bits[3], data->info.field[0].rank, sample->field[0].extent);
    }
    bool plain = is_identity(&symmetry);
    PdnWindow windows[PDN_DATA_FIELDS];
    void *to[PDN_DATA_FIELDS];
    char *next = scratch;
    for (int f = 0; f < data->info.fields; f++) {
        data->kind->extent(data, sample->number, f, windows[f].extent);
        for (int axis = 0; axis < 3; axis++) {
            int64_t free_cells = windows[f].extent[axis] - sample->field[f].extent[axis];
            windows[f].low[axis] = pdn_data_below(bits[axis], free_cells + 1);
            windows[f].extent[axis] = sample->field[f].extent[axis];
        }
        to[f] = plain ? (void *)(uintptr_t)sample->field[f].data : next;
        next += pdn_data_room(data, sample, f);
    }
    PdnStatus status = data->kind->read(data, sample->number, windows, to, error);
    for (int f = 0; f < data->info.fields && !status && !plain; f++) {
        apply(&symmetry, pdn_type_size(data->type), sample->field[f].extent,
              sample->field[f].channels, to[f], (void *)(uintptr_t)sample->field[f].data);
    }
    return status;
}
