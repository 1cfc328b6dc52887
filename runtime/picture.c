/* picture.c: samples of pictures to and from fields in [0, 1]. */
#include "runtime/file.h"

#include <math.h>

/* The same, as they are. */
static bool keep_row(PdnPicture *picture, const uint8_t *row, int64_t y, int stride, int bytes,
                     unsigned most) {
    for (int channel = 0; channel < picture->channels; channel++) {
        int64_t to = (channel * picture->height + y) * picture->width;
        const uint8_t *from = row + channel * bytes;
        for (int64_t x = 0; x < picture->width; x++, from += stride * bytes) {
            unsigned sample = bytes == 1 ? from[0] : (unsigned)from[0] << 8 | from[1];
            if (sample > most) { return false; }
            if (picture->bytes == 1) {
                ((uint8_t *)picture->samples)[to + x] = (uint8_t)sample;
            } else {
                ((uint16_t *)picture->samples)[to + x] = (uint16_t)sample;
            }
        }
    }
    return true;
}

bool pdn_picture_row(PdnInput *in, const uint8_t *row, int64_t y, int stride, int bytes,
                     unsigned most) {
    if (in->picture) { return keep_row(in->picture, row, y, stride, bytes, most); }
    PdnArray *array = &in->array;
    int channels = array->rank == 3 ? (int)array->shape[0] : 1;
    int64_t height = array->shape[array->rank - 2], width = array->shape[array->rank - 1];
    for (int channel = 0; channel < channels; channel++) {
        int64_t to = (channel * height + y) * width;
        const uint8_t *from = row + channel * bytes;
        for (int64_t x = 0; x < width; x++, from += stride * bytes) {
            unsigned sample = bytes == 1 ? from[0] : (unsigned)from[0] << 8 | from[1];
            if (sample > most) { return false; }
            pdn_array_set(array, to + x, (double)sample / most);
        }
    }
    return true;
}

void pdn_picture_pack(const PdnSave *save, int64_t y, uint8_t *row) {
    int64_t width = save->extent[0], plane = width * save->extent[1];
    bool wide = pdn_picture_depth(save) == 16;
    double most = wide ? 65535 : 255;
    for (int64_t x = 0; x < width; x++) {
        for (int64_t channel = 0; channel < save->channels; channel++) {
            double value = pdn_save_value(save, save->data[0], channel * plane + y * width + x);
            value = value > 0 ? (value < 1 ? value : 1) : 0;
            unsigned sample = (unsigned)(value * most + 0.5);
            if (wide) { *row++ = (uint8_t)(sample >> 8); }
            *row++ = (uint8_t)sample;
        }
    }
}

PdnStatus pdn_picture_finite(PdnOutput *out, const PdnSave *save) {
    int64_t cells = pdn_save_cells(save), count = cells * save->channels, bad = 0, first = -1;
    for (int64_t i = 0; i < count; i++) {
        if (isnan(pdn_save_value(save, save->data[0], i))) { first = bad++ ? first : i; }
    }
    if (bad == 0) { return PDN_OK; }
    int64_t cell = first % cells;
    char channel[48] = "";
    if (save->channels > 1) {
        snprintf(channel, sizeof channel, " of channel %lld", (long long)(first / cells));
    }
    return pdn_fail(out->error, PDN_ERROR_ARGUMENT,
                    "%s cannot be written: %lld of %lld values are not numbers (NaN), the first at "
                    "x = %lld, y = %lld%s, counted from 0",
                    out->name, (long long)bad, (long long)count,
                    (long long)(cell % save->extent[0]), (long long)(cell / save->extent[0]),
                    channel);
}

static PdnStatus check(const char *name, const PdnSave *save, bool grey, bool colour,
                       PdnError *error) {
    if (save->rank != 2) {
        return pdn_fail(
            error, PDN_ERROR_ARGUMENT,
            "%s: a picture is a field on a 2D grid, and this one is %dD; use npy, npz or %s", name,
            save->rank, save->rank == 3 ? "vti" : "csv");
    }
    if ((save->channels == 1 && grey) || (save->channels == 3 && colour)) {
        for (int axis = 0; axis < 2; axis++) {
            if (save->extent[axis] > INT32_MAX) {
                return pdn_fail(error, PDN_ERROR_SIZE,
                                "%s: pictures have at most %d columns and rows", name, INT32_MAX);
            }
        }
        return PDN_OK;
    }
    const char *what = grey && colour ? "one channel (grey) or three (red, green, blue)"
                       : grey         ? "one channel (three: use ppm or png)"
                                      : "three channels (one: use pgm or png)";
    return pdn_fail(error, PDN_ERROR_ARGUMENT, "%s: such a picture has %s, and this field has %lld",
                    name, what, (long long)save->channels);
}

PdnStatus pdn_picture_check(const char *name, const PdnSave *save, PdnError *error) {
    return check(name, save, true, true, error);
}
PdnStatus pdn_pgm_check(const char *name, const PdnSave *save, PdnError *error) {
    return check(name, save, true, false, error);
}
PdnStatus pdn_ppm_check(const char *name, const PdnSave *save, PdnError *error) {
    return check(name, save, false, true, error);
}
