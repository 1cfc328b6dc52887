/* npy.c: NumPy's array files, format versions 1.0, 2.0 and 3.0
 * (https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html). */
#include "runtime/file.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define HEADER_LIMIT 65536 /* NumPy itself reads 10,000 */
#define CHUNK        4096  /* values at a time */

bool pdn_npy_magic(const uint8_t *head, size_t count) {
    return count >= 6 && memcmp(head, "\x93NUMPY", 6) == 0;
}

/* ---- the header: the text of a Python dictionary ----------------------------------------- */

typedef struct {
    PdnInput *in;
    const char *at, *end;
    char kind; /* f i u b */
    int size;  /* bytes of a value */
    bool swap; /* the bytes are in the other order */
    bool fortran;
    int rank;
    int64_t shape[PDN_MAX_RANK];
    bool has_type, has_order, has_shape;
} Header;

static PdnStatus broken(Header *header, const char *what) {
    return pdn_fail(header->in->error, PDN_ERROR_FORMAT, "%s is a broken NumPy array: %s",
                    header->in->name, what);
}

static void skip_space(Header *header) {
    while (header->at < header->end && strchr(" \t\r\n", *header->at) && *header->at) {
        header->at++;
    }
}

/* Takes the character if it comes next. */
static bool take(Header *header, char c) {
    skip_space(header);
    if (header->at < header->end && *header->at == c) {
        header->at++;
        return true;
    }
    return false;
}

static bool take_word(Header *header, const char *word) {
    skip_space(header);
    size_t length = strlen(word);
    if ((size_t)(header->end - header->at) >= length && memcmp(header->at, word, length) == 0) {
        header->at += length;
        return true;
    }
    return false;
}

/* A quoted text without escapes, of at most room - 1 bytes. */
static bool take_text(Header *header, char *to, size_t room) {
    skip_space(header);
    if (header->at == header->end || (*header->at != '\'' && *header->at != '"')) { return false; }
    char quote = *header->at++;
    size_t length = 0;
    while (header->at < header->end && *header->at != quote && *header->at != '\\') {
        if (length + 1 >= room) { return false; }
        to[length++] = *header->at++;
    }
    to[length] = 0;
    return take(header, quote);
}

static PdnStatus parse_type(Header *header) {
    char text[32];
    if (!take_text(header, text, sizeof text)) {
        return pdn_fail(
            header->in->error, PDN_ERROR_FORMAT,
            "%s holds records or a type that is not read: save a plain array of numbers",
            header->in->name);
    }
    char order = text[0], *end;
    const char *rest = strchr("<>|=", order) && order ? text + 1 : text;
    long size = *rest ? strtol(rest + 1, &end, 10) : 0;
    bool known =
        *rest && *end == 0 &&
        ((*rest == 'f' && (size == 2 || size == 4 || size == 8)) ||
         ((*rest == 'i' || *rest == 'u') && (size == 1 || size == 2 || size == 4 || size == 8)) ||
         (*rest == 'b' && size == 1));
    if (!known) {
        const char *what = *rest == 'c'                                   ? "complex numbers"
                           : *rest == 'O'                                 ? "Python objects"
                           : *rest == 'S' || *rest == 'U' || *rest == 'a' ? "texts"
                           : *rest == 'M' || *rest == 'm'                 ? "dates or times"
                                                          : "values of another type";
        return pdn_fail(header->in->error, PDN_ERROR_FORMAT,
                        "%s holds %s (%s); booleans, integers and floats of up to 64 bits are read",
                        header->in->name, what, text);
    }
    header->kind = *rest;
    header->size = (int)size;
    bool big = order == '>';
    bool little = order == '<';
    header->swap = size > 1 && (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? big : little);
    return PDN_OK;
}

static PdnStatus parse_shape(Header *header) {
    if (!take(header, '(')) { return broken(header, "its shape is not a tuple"); }
    int64_t axes = 0;
    while (!take(header, ')')) {
        skip_space(header);
        int64_t value = 0;
        const char *begin = header->at;
        for (; header->at < header->end && *header->at >= '0' && *header->at <= '9'; header->at++) {
            if (__builtin_mul_overflow(value, 10, &value) ||
                __builtin_add_overflow(value, *header->at - '0', &value)) {
                return broken(header, "an axis is too long to be counted");
            }
        }
        if (header->at == begin) {
            return broken(header, "an axis of its shape is no whole number from 0 on");
        }
        (void)take(header, 'L'); /* Python 2 */
        if (axes < PDN_MAX_RANK) { header->shape[axes] = value; }
        axes++;
        if (!take(header, ',')) {
            if (!take(header, ')')) { return broken(header, "its shape is not a tuple"); }
            break;
        }
    }
    header->rank = (int)axes; /* a header has fewer than 65536 bytes */
    return PDN_OK;
}

static PdnStatus parse_entry(Header *header) {
    char key[32];
    if (!take_text(header, key, sizeof key) || !take(header, ':')) {
        return broken(header, "its header is no dictionary");
    }
    if (strcmp(key, "descr") == 0 && !header->has_type) {
        header->has_type = true;
        return parse_type(header);
    }
    if (strcmp(key, "fortran_order") == 0 && !header->has_order) {
        header->has_order = true;
        header->fortran = take_word(header, "True");
        return header->fortran || take_word(header, "False")
                   ? PDN_OK
                   : broken(header, "fortran_order is not True or False");
    }
    if (strcmp(key, "shape") == 0 && !header->has_shape) {
        header->has_shape = true;
        return parse_shape(header);
    }
    return broken(header, "its header has a key that is unknown or comes twice");
}

static PdnStatus parse(Header *header) {
    if (!take(header, '{')) { return broken(header, "its header is no dictionary"); }
    while (!take(header, '}')) {
        PdnStatus status = parse_entry(header);
        if (status) { return status; }
        if (!take(header, ',')) {
            if (!take(header, '}')) { return broken(header, "its header is no dictionary"); }
            break;
        }
    }
    skip_space(header);
    if (header->at != header->end) {
        return broken(header, "its header goes on after the dictionary");
    }
    if (!header->has_type || !header->has_order || !header->has_shape) {
        return broken(header, "its header lacks descr, fortran_order or shape");
    }
    return PDN_OK;
}

/* ---- the values ---------------------------------------------------------------------- */

double pdn_half_value(uint16_t bits) {
    int exponent = bits >> 10 & 31, mantissa = bits & 1023;
    double value = exponent == 0    ? ldexp(mantissa, -24)
                   : exponent == 31 ? (mantissa ? (double)NAN : (double)INFINITY)
                                    : ldexp(mantissa + 1024, exponent - 25);
    return bits >> 15 ? -value : value;
}

/* One value, to the array; integers are rounded once. */
static void convert(const Header *header, const uint8_t *from, const PdnArray *array, int64_t i) {
    uint8_t bytes[8];
    for (int b = 0; b < header->size; b++) {
        bytes[b] = from[header->swap ? header->size - 1 - b : b];
    }
#define LOAD(number)                                                                               \
    do {                                                                                           \
        number value;                                                                              \
        memcpy(&value, bytes, sizeof value);                                                       \
        if (array->type == PDN_F32) {                                                              \
            ((float *)array->data)[i] = (float)value;                                              \
        } else {                                                                                   \
            ((double *)array->data)[i] = (double)value;                                            \
        }                                                                                          \
    } while (0)
    uint16_t half;
    switch (header->kind * 16 + header->size) {
    case 'f' * 16 + 2:
        memcpy(&half, bytes, 2);
        pdn_array_set(array, i, pdn_half_value(half));
        break;
    case 'f' * 16 + 4: LOAD(float); break;
    case 'f' * 16 + 8: LOAD(double); break;
    case 'i' * 16 + 1: LOAD(int8_t); break;
    case 'i' * 16 + 2: LOAD(int16_t); break;
    case 'i' * 16 + 4: LOAD(int32_t); break;
    case 'i' * 16 + 8: LOAD(int64_t); break;
    case 'u' * 16 + 1: LOAD(uint8_t); break;
    case 'u' * 16 + 2: LOAD(uint16_t); break;
    case 'u' * 16 + 4: LOAD(uint32_t); break;
    case 'u' * 16 + 8: LOAD(uint64_t); break;
    default: pdn_array_set(array, i, bytes[0] != 0); break; /* b1 */
    }
#undef LOAD
}

/* A finite f64 that f32 cannot hold must not become infinite in silence. */
static bool overflows(const Header *header, const uint8_t *from, const PdnArray *array, int64_t i) {
    if (header->kind != 'f' || header->size != 8 || array->type != PDN_F32 ||
        !isinf(((float *)array->data)[i])) {
        return false;
    }
    const uint8_t *top =
        from + (header->swap == (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__) ? 0 : 6);
    bool big = top == from;
    unsigned exponent =
        ((big ? (unsigned)top[0] << 8 | top[1] : (unsigned)top[1] << 8 | top[0]) >> 4) & 2047;
    return exponent != 2047;
}

/* The place in C order of the value that comes next in Fortran order; `index` counts, first axis fastest. */
static int64_t next_place(const Header *header, int64_t index[PDN_MAX_RANK], int64_t place) {
    int64_t stride = 1, strides[PDN_MAX_RANK];
    for (int axis = header->rank - 1; axis >= 0; axis--) {
        strides[axis] = stride;
        stride *= header->shape[axis];
    }
    for (int axis = 0; axis < header->rank; axis++) {
        place += strides[axis];
        if (++index[axis] < header->shape[axis]) { break; }
        place -= strides[axis] * header->shape[axis];
        index[axis] = 0;
    }
    return place;
}

static PdnStatus read_values(Header *header, PdnSource *source) {
    PdnInput *in = header->in;
    PdnArray *array = &in->array;
    int64_t count = pdn_array_count(array), place = 0, index[PDN_MAX_RANK] = {0};
    if (header->kind == 'f' && (size_t)header->size == pdn_type_size(array->type) &&
        !header->swap && (!header->fortran || header->rank < 2)) { /* as it is */
        size_t bytes = (size_t)count * (size_t)header->size;
        return source->read(source->context, array->data, bytes) == bytes ? PDN_OK
                                                                          : pdn_truncated(in);
    }
    uint8_t *chunk = malloc((size_t)CHUNK * 8);
    if (!chunk) {
        return pdn_fail(in->error, PDN_ERROR_MEMORY, "%s cannot be read: out of memory", in->name);
    }
    PdnStatus status = PDN_OK;
    for (int64_t done = 0; done < count && !status;) {
        size_t now = count - done < CHUNK ? (size_t)(count - done) : CHUNK;
        size_t bytes = now * (size_t)header->size;
        if (source->read(source->context, chunk, bytes) != bytes) {
            status = pdn_truncated(in);
            break;
        }
        for (size_t k = 0; k < now; k++, done++) {
            int64_t to = header->fortran ? place : done;
            const uint8_t *from = chunk + k * (size_t)header->size;
            convert(header, from, array, to);
            if (overflows(header, from, array, to)) {
                status = pdn_fail(in->error, PDN_ERROR_FORMAT,
                                  "%s: value %lld is too large for f32; compute with precision f64",
                                  in->name, (long long)to);
                break;
            }
            if (header->fortran) { place = next_place(header, index, place); }
        }
    }
    free(chunk);
    return status;
}

/* Magic, version and header, which stay in `text` (of HEADER_LIMIT bytes). */
static PdnStatus read_header(Header *header, PdnSource *source, char *text, int64_t *used) {
    uint8_t start[12];
    if (source->read(source->context, start, 10) != 10) { return pdn_truncated(header->in); }
    if (!pdn_npy_magic(start, 10)) {
        return pdn_fail(header->in->error, PDN_ERROR_FORMAT, "%s: this is no NumPy array",
                        header->in->name);
    }
    if (start[6] < 1 || start[6] > 3 || start[7] != 0) {
        return pdn_fail(header->in->error, PDN_ERROR_FORMAT,
                        "%s has version %d.%d of the NumPy format; 1.0, 2.0 and 3.0 are read",
                        header->in->name, start[6], start[7]);
    }
    size_t length = (size_t)start[8] | (size_t)start[9] << 8;
    *used = 10;
    if (start[6] > 1) {
        if (source->read(source->context, start + 10, 2) != 2) { return pdn_truncated(header->in); }
        length |= (size_t)start[10] << 16 | (size_t)start[11] << 24;
        *used = 12;
    }
    if (length > HEADER_LIMIT) {
        return pdn_fail(header->in->error, PDN_ERROR_LIMIT,
                        "%s has a header of %zu bytes; at most %d are read", header->in->name,
                        length, HEADER_LIMIT);
    }
    if (source->read(source->context, text, length) != length) { return pdn_truncated(header->in); }
    *used += (int64_t)length;
    header->at = text;
    header->end = text + length;
    return parse(header);
}

PdnStatus pdn_npy_read_from(PdnInput *in, PdnSource *source) {
    Header header = {.in = in};
    char *text = malloc(HEADER_LIMIT);
    if (!text) {
        return pdn_fail(in->error, PDN_ERROR_MEMORY, "%s cannot be read: out of memory", in->name);
    }
    int64_t used = 0;
    PdnStatus status = read_header(&header, source, text, &used);
    free(text);
    if (status) { return status; }
    int64_t bytes;
    if (header.rank <= PDN_MAX_RANK &&
        (!pdn_shape_bytes(header.rank, header.shape, header.size, &bytes) ||
         bytes > source->size - used)) {
        return pdn_truncated(in);
    }
    status = pdn_input_shape(in, header.rank, header.shape);
    if (status || in->shape_only) { return status; }
    status = read_values(&header, source);
    uint8_t more; /* also lets an archive check its sum */
    if (!status && source->read(source->context, &more, 1) != 0) {
        status = pdn_fail(in->error, PDN_ERROR_FORMAT,
                          "%s goes on after its array: it is damaged, or holds several", in->name);
    }
    return status;
}

static size_t read_file(void *context, void *to, size_t count) {
    return fread(to, 1, count, context);
}

PdnStatus pdn_npy_read(PdnInput *in) {
    PdnSource source = {read_file, in->file, in->size};
    return pdn_npy_read_from(in, &source);
}

/* ---- writing --------------------------------------------------------------------------- */

size_t pdn_npy_header(PdnType type, int rank, const int64_t *shape, char to[PDN_NPY_HEADER]) {
    char order = __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? '<' : '>';
    memcpy(to, "\x93NUMPY\x01\x00", 8);
    size_t used = 10;
    used += (size_t)snprintf(to + used, PDN_NPY_HEADER - used,
                             "{'descr': '%cf%zu', 'fortran_order': False, 'shape': (", order,
                             pdn_type_size(type));
    for (int axis = 0; axis < rank; axis++) {
        used += (size_t)snprintf(to + used, PDN_NPY_HEADER - used, "%s%lld%s", axis ? " " : "",
                                 (long long)shape[axis], axis + 1 < rank || rank == 1 ? "," : "");
    }
    used += (size_t)snprintf(to + used, PDN_NPY_HEADER - used, "), }");
    size_t total = (used + 1 + 63) / 64 * 64;
    memset(to + used, ' ', total - used);
    to[total - 1] = '\n';
    to[8] = (char)((total - 10) & 255);
    to[9] = (char)((total - 10) >> 8);
    return total;
}

PdnStatus pdn_npy_check(const char *name, const PdnSave *save, PdnError *error) { return PDN_OK; }

PdnStatus pdn_npy_write(PdnOutput *out, const PdnSave *save) {
    int64_t shape[6];
    int rank = 0;
    if (save->frames) { shape[rank++] = save->frames; }
    if (save->items) { shape[rank++] = save->items; }
    if (save->channels > 1) { shape[rank++] = save->channels; }
    for (int axis = save->rank - 1; axis >= 0; axis--) { shape[rank++] = save->extent[axis]; }
    char header[PDN_NPY_HEADER];
    fwrite(header, 1, pdn_npy_header(save->type, rank, shape, header), out->file);
    size_t count = (size_t)(pdn_save_cells(save) * save->channels);
    int64_t fields = pdn_save_fields(save);
    for (int64_t field = 0; field < fields && !ferror(out->file); field++) {
        fwrite(save->data[field], pdn_type_size(save->type), count, out->file);
    }
    return pdn_output_status(out);
}
