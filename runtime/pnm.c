/* pnm.c: the Netpbm formats PGM and PPM, in text (P2, P3) and binary (P5, P6), up to 16 bits. */
#include "runtime/file.h"

#include <stdlib.h>

bool pdn_pnm_magic(const uint8_t *head, size_t count) {
    return count >= 3 && head[0] == 'P' &&
           (head[1] == '2' || head[1] == '3' || head[1] == '5' || head[1] == '6') &&
           (head[2] == ' ' || head[2] == '#' || (head[2] >= '\t' && head[2] <= '\r'));
}

static bool is_space(int c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

/* A number between white space and comments; -1: none, or greater than `most`. */
static int64_t read_number(FILE *file, int64_t most) {
    int c = getc_unlocked(file);
    while (is_space(c) || c == '#') {
        while (c == '#') {
            do { c = getc_unlocked(file); } while (c != '\n' && c != '\r' && c != EOF);
        }
        c = getc_unlocked(file);
    }
    int64_t value = -1;
    while (c >= '0' && c <= '9') {
        value = (value < 0 ? 0 : value) * 10 + (c - '0');
        if (value > most) { return -1; }
        c = getc_unlocked(file);
    }
    if (c == '#') {
        ungetc(c, file); /* a comment right after a number */
    } else if (!is_space(c) && c != EOF) {
        return -1;
    }
    return value;
}

static PdnStatus broken(PdnInput *in, const char *what) {
    if (feof(in->file) || ferror(in->file)) { return pdn_truncated(in); }
    return pdn_fail(in->error, PDN_ERROR_FORMAT, "%s is a broken picture: %s", in->name, what);
}

/* One row of numbers in decimal, as samples of two bytes. */
static bool text_row(PdnInput *in, uint8_t *row, int64_t count, unsigned most) {
    for (int64_t i = 0; i < count; i++) {
        int64_t sample = read_number(in->file, most);
        if (sample < 0) { return false; }
        row[2 * i] = (uint8_t)(sample >> 8);
        row[2 * i + 1] = (uint8_t)sample;
    }
    return true;
}

PdnStatus pdn_pnm_read(PdnInput *in) {
    getc(in->file);
    int kind = getc(in->file) - '0';
    int channels = kind == 3 || kind == 6 ? 3 : 1;
    bool text = kind == 2 || kind == 3;
    int64_t width = read_number(in->file, INT32_MAX),
            height = width < 1 ? -1 : read_number(in->file, INT32_MAX);
    if (width < 1 || height < 1) {
        return broken(in, "its width and height must be whole numbers from 1 on");
    }
    int64_t most = read_number(in->file, 65535);
    if (most < 1) { return broken(in, "its greatest value must be from 1 to 65535"); }
    int bytes = text || most > 255 ? 2 : 1;
    int64_t samples = width * channels, least; /* a sample of text is a digit and a space */
    if (__builtin_mul_overflow(samples, height, &least) || least > INT64_MAX / 2 ||
        least * (text ? 2 : bytes) - (text ? 1 : 0) > in->size) {
        return pdn_truncated(in);
    }
    int64_t shape[3] = {channels, height, width};
    pdn_input_most(in, (unsigned)most);
    PdnStatus status =
        pdn_input_shape(in, channels == 3 ? 3 : 2, channels == 3 ? shape : shape + 1);
    if (status || in->shape_only) { return status; }
    uint8_t *row = malloc((size_t)(samples * bytes));
    if (!row) {
        return pdn_fail(in->error, PDN_ERROR_MEMORY, "%s cannot be read: out of memory", in->name);
    }
    for (int64_t y = 0; y < height && !status; y++) {
        if (text ? !text_row(in, row, samples, (unsigned)most)
                 : fread(row, (size_t)bytes, (size_t)samples, in->file) != (size_t)samples) {
            status = broken(in, "a value is no number from 0 to its greatest value");
        } else if (!pdn_picture_row(in, row, y, channels, bytes, (unsigned)most)) {
            status = broken(in, "a value is greater than its greatest value");
        }
    }
    free(row);
    return status;
}

PdnStatus pdn_pnm_write(PdnOutput *out, const PdnSave *save) {
    PdnStatus status = pdn_picture_finite(out, save);
    if (status) { return status; }
    int depth = pdn_picture_depth(save);
    size_t count = (size_t)(save->extent[0] * save->channels * depth / 8);
    uint8_t *row = malloc(count);
    if (!row) {
        return pdn_fail(out->error, PDN_ERROR_MEMORY, "%s cannot be written: out of memory",
                        out->name);
    }
    fprintf(out->file, "P%d\n%lld %lld\n%d\n", save->channels == 3 ? 6 : 5,
            (long long)save->extent[0], (long long)save->extent[1], (1 << depth) - 1);
    for (int64_t y = 0; y < save->extent[1] && !ferror(out->file); y++) {
        pdn_picture_pack(save, y, row);
        fwrite(row, 1, count, out->file);
    }
    status = pdn_output_status(out);
    free(row);
    return status;
}
