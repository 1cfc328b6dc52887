/* png.c: PNG through libpng: 1 to 16 bits, grey, colour and palette, interlaced or not. Samples are taken
 * as they are, without gamma or colour profiles. */
#include "runtime/file.h"

#include <errno.h>
#include <png.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

/* Everything that must survive a longjmp lives here, not in local variables. */
typedef struct {
    png_structp png;
    png_infop info;
    uint8_t *pixels;   /* one row, or all rows of an interlaced picture */
    png_bytep *rows;   /* of an interlaced picture */
    char message[128]; /* libpng's */
    PdnStatus status;
    PdnInput *in;
    PdnOutput *out;
    const PdnSave *save;
} Codec;

bool pdn_png_magic(const uint8_t *head, size_t count) {
    static const uint8_t magic[8] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
    return count >= 8 && memcmp(head, magic, 8) == 0;
}

static void on_error(png_structp png, png_const_charp message) {
    Codec *codec = png_get_error_ptr(png);
    snprintf(codec->message, sizeof codec->message, "%s", message);
    longjmp(png_jmpbuf(png), 1);
}

static void on_warning(png_structp png, png_const_charp message) {}

/* ---- reading ---------------------------------------------------------------------- */

static void read_bytes(png_structp png, png_bytep to, size_t count) {
    Codec *codec = png_get_io_ptr(png);
    if (fread(to, 1, count, codec->in->file) != count) {
        codec->status = pdn_truncated(codec->in);
        png_error(png, "truncated");
    }
}

static bool fail(Codec *codec, PdnStatus status) {
    codec->status = status;
    return false;
}

/* Header, transformations to 8 or 16 bits without palettes, and the array. */
static bool read_header(Codec *codec) {
    PdnInput *in = codec->in;
    png_set_user_limits(codec->png, INT32_MAX, INT32_MAX);
    png_set_chunk_malloc_max(codec->png, 8 << 20);
    png_set_chunk_cache_max(codec->png, 64);
    /* Chunks that do not change samples are not decoded. */
    png_set_keep_unknown_chunks(codec->png, PNG_HANDLE_CHUNK_NEVER, NULL, -1);
    png_set_read_fn(codec->png, codec, read_bytes);
    png_read_info(codec->png, codec->info);
    int64_t width = png_get_image_width(codec->png, codec->info);
    int64_t height = png_get_image_height(codec->png, codec->info);
    int colour = png_get_color_type(codec->png, codec->info);
    int64_t raw = (int64_t)png_get_rowbytes(codec->png, codec->info);
    /* Deflate packs at most 1032 bytes into one. */
    if (raw > INT64_MAX / height || raw * height / 1040 > in->size) {
        return fail(codec, pdn_truncated(in));
    }
    bool grey = !(colour & PNG_COLOR_MASK_COLOR);
    pdn_input_most(in, png_get_bit_depth(codec->png, codec->info) == 16 ? 65535 : 255);
    int64_t shape[3] = {3, height, width};
    codec->status = pdn_input_shape(in, grey ? 2 : 3, grey ? shape + 1 : shape);
    if (codec->status || in->shape_only) { return false; }
    png_set_expand(codec->png);
    png_set_interlace_handling(codec->png);
    png_read_update_info(codec->png, codec->info);
    return true;
}

/* A row of samples to the array; the alpha that comes with it must say opaque. */
static bool take_row(Codec *codec, const uint8_t *row, int64_t y) {
    PdnInput *in = codec->in;
    int stride = png_get_channels(codec->png, codec->info);
    int bytes = png_get_bit_depth(codec->png, codec->info) / 8;
    int64_t width = in->shape[in->rank - 1];
    if (stride % 2 == 0) { /* grey and alpha, or colour and alpha */
        const uint8_t *alpha = row + (stride - 1) * bytes;
        for (int64_t x = 0; x < width; x++, alpha += stride * bytes) {
            if (alpha[0] != 255 || alpha[bytes - 1] != 255) {
                return fail(codec,
                            pdn_fail(in->error, PDN_ERROR_FORMAT,
                                     "%s has transparent pixels, the first at x = %lld, y = %lld: "
                                     "flatten it onto a background first",
                                     in->name, (long long)x, (long long)y));
            }
        }
    }
    pdn_picture_row(in, row, y, stride, bytes, bytes == 1 ? 255 : 65535);
    return true;
}

static bool read_rows(Codec *codec) {
    PdnInput *in = codec->in;
    int64_t height = in->shape[in->rank - 2];
    size_t row = png_get_rowbytes(codec->png, codec->info);
    bool interlaced = png_get_interlace_type(codec->png, codec->info) != PNG_INTERLACE_NONE;
    size_t total = interlaced ? row * (size_t)height : row;
    if (interlaced && (int64_t)total > pdn_memory_available()) {
        return fail(codec,
                    pdn_fail(in->error, PDN_ERROR_MEMORY, "%s needs %s of memory to be decoded",
                             in->name, pdn_bytes_text((int64_t)total).text));
    }
    codec->pixels = malloc(total);
    codec->rows = interlaced ? malloc((size_t)height * sizeof *codec->rows) : NULL;
    if (!codec->pixels || (interlaced && !codec->rows)) {
        return fail(codec,
                    pdn_fail(in->error, PDN_ERROR_MEMORY, "%s needs %s of memory to be decoded",
                             in->name, pdn_bytes_text((int64_t)total).text));
    }
    if (interlaced) {
        for (int64_t y = 0; y < height; y++) { codec->rows[y] = codec->pixels + (size_t)y * row; }
        png_read_image(codec->png, codec->rows);
    }
    for (int64_t y = 0; y < height; y++) {
        if (!interlaced) { png_read_row(codec->png, codec->pixels, NULL); }
        if (!take_row(codec, interlaced ? codec->rows[y] : codec->pixels, y)) { return false; }
    }
    png_read_end(codec->png, NULL);
    return true;
}

static void decode(Codec *codec) {
    if (setjmp(png_jmpbuf(codec->png))) {
        if (!codec->status) {
            codec->status =
                pdn_fail(codec->in->error, PDN_ERROR_FORMAT, "%s is a broken PNG picture: %s",
                         codec->in->name, codec->message);
        }
        return;
    }
    if (read_header(codec)) { read_rows(codec); }
}

PdnStatus pdn_png_read(PdnInput *in) {
    Codec codec = {.in = in};
    codec.png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &codec, on_error, on_warning);
    codec.info = codec.png ? png_create_info_struct(codec.png) : NULL;
    if (codec.info) {
        decode(&codec);
    } else {
        codec.status =
            pdn_fail(in->error, PDN_ERROR_MEMORY, "%s cannot be read: out of memory", in->name);
    }
    png_destroy_read_struct(&codec.png, &codec.info, NULL);
    free(codec.pixels);
    free(codec.rows);
    return codec.status;
}

/* ---- writing ----------------------------------------------------------------------- */

static void write_bytes(png_structp png, png_bytep from, size_t count) {
    Codec *codec = png_get_io_ptr(png);
    if (fwrite(from, 1, count, codec->out->file) != count) {
        codec->status = pdn_output_status(codec->out);
        png_error(png, "not written");
    }
}

static void flush_bytes(png_structp png) {}

static void encode(Codec *codec) {
    const PdnSave *save = codec->save;
    if (setjmp(png_jmpbuf(codec->png))) {
        if (!codec->status) {
            codec->status = pdn_fail(codec->out->error, PDN_ERROR_OPEN, "%s cannot be written: %s",
                                     codec->out->name, codec->message);
        }
        return;
    }
    png_set_user_limits(codec->png, INT32_MAX, INT32_MAX);
    png_set_write_fn(codec->png, codec, write_bytes, flush_bytes);
    png_set_IHDR(codec->png, codec->info, (png_uint_32)save->extent[0],
                 (png_uint_32)save->extent[1], pdn_picture_depth(save),
                 save->channels == 3 ? PNG_COLOR_TYPE_RGB : PNG_COLOR_TYPE_GRAY, PNG_INTERLACE_NONE,
                 PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    png_write_info(codec->png, codec->info);
    for (int64_t y = 0; y < save->extent[1]; y++) {
        pdn_picture_pack(save, y, codec->pixels);
        png_write_row(codec->png, codec->pixels);
    }
    png_write_end(codec->png, NULL);
}

PdnStatus pdn_png_write(PdnOutput *out, const PdnSave *save) {
    PdnStatus status = pdn_picture_finite(out, save);
    if (status) { return status; }
    Codec codec = {.out = out, .save = save};
    codec.pixels = malloc((size_t)(save->extent[0] * save->channels * pdn_picture_depth(save) / 8));
    codec.png = png_create_write_struct(PNG_LIBPNG_VER_STRING, &codec, on_error, on_warning);
    codec.info = codec.png ? png_create_info_struct(codec.png) : NULL;
    if (codec.info && codec.pixels) {
        encode(&codec);
    } else {
        codec.status = pdn_fail(out->error, PDN_ERROR_MEMORY, "%s cannot be written: out of memory",
                                out->name);
    }
    png_destroy_write_struct(&codec.png, &codec.info);
    free(codec.pixels);
    return codec.status;
}
