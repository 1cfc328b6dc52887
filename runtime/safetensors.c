/* safetensors.c: files of named arrays: 8 bytes that say how long the header is, a JSON header (through jansson),
 * the numbers (https://github.com/huggingface/safetensors#format). What is refused is what the reference
 * library refuses, and a little more; the bytes that are written are those that it would write. */
#include "runtime/file.h"
#include "runtime/pending.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define HEADER_LIMIT 100000000 /* bytes; the reference library's */
#define PER_BYTE     40        /* memory that jansson needs at most for a byte of JSON */
#define METADATA     "__metadata__"
#define ALIGNMENT    64

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the numbers are copied as they are");

/* The types of the format that are read, and what they become. */
typedef enum { F64, F32, F16, BF16, I64, I32, I16, I8, U64, U32, U16, U8, BOOL, TYPES } Kind;
static const struct {
    const char *name;
    int size;
    PdnType to;
} kinds[TYPES] = {
    [F64] = {"F64", 8, PDN_F64},   [F32] = {"F32", 4, PDN_F32}, [F16] = {"F16", 2, PDN_F32},
    [BF16] = {"BF16", 2, PDN_F32}, [I64] = {"I64", 8, PDN_F64}, [I32] = {"I32", 4, PDN_F64},
    [I16] = {"I16", 2, PDN_F32},   [I8] = {"I8", 1, PDN_F32},   [U64] = {"U64", 8, PDN_F64},
    [U32] = {"U32", 4, PDN_F64},   [U16] = {"U16", 2, PDN_F32}, [U8] = {"U8", 1, PDN_F32},
    [BOOL] = {"BOOL", 1, PDN_F32},
};

typedef struct {
    const char *key, *value;
} Pair;

struct PdnTensors {
    char *path;     /* for messages */
    json_t *header; /* names and metadata are in it */
    int count, pair_count;
    PdnTensor *tensors; /* by name */
    Pair *pairs;        /* by key */
    void *numbers;
};

/* ---- what was read ---------------------------------------------------------------------- */

void pdn_tensors_free(PdnTensors *tensors) {
    if (!tensors) { return; }
    json_decref(tensors->header);
    free(tensors->path);
    free(tensors->tensors);
    free(tensors->pairs);
    free(tensors->numbers);
    free(tensors);
}

int pdn_tensors_count(const PdnTensors *tensors) { return tensors->count; }

const PdnTensor *pdn_tensors_at(const PdnTensors *tensors, int i) {
    return i >= 0 && i < tensors->count ? &tensors->tensors[i] : NULL;
}

static int by_name(const void *a, const void *b) {
    return strcmp(((const PdnTensor *)a)->name, ((const PdnTensor *)b)->name);
}

const PdnTensor *pdn_tensors_find(const PdnTensors *tensors, const char *name) {
    const PdnTensor key = {.name = name};
    return tensors->count
               ? bsearch(&key, tensors->tensors, (size_t)tensors->count, sizeof key, by_name)
               : NULL;
}

int64_t pdn_tensor_count(const PdnTensor *tensor) {
    int64_t count = 1;
    for (int axis = 0; axis < tensor->rank; axis++) {
        if (tensor->shape[axis] == 0) { return 0; }
    }
    for (int axis = 0; axis < tensor->rank; axis++) { count *= tensor->shape[axis]; }
    return count;
}

static int by_key(const void *a, const void *b) {
    return strcmp(((const Pair *)a)->key, ((const Pair *)b)->key);
}

const char *pdn_tensors_metadata(const PdnTensors *tensors, const char *key) {
    const Pair wanted = {.key = key};
    const Pair *found =
        tensors->pair_count
            ? bsearch(&wanted, tensors->pairs, (size_t)tensors->pair_count, sizeof wanted, by_key)
            : NULL;
    return found ? found->value : NULL;
}

int pdn_tensors_metadata_count(const PdnTensors *tensors) { return tensors->pair_count; }

const char *pdn_tensors_metadata_at(const PdnTensors *tensors, int i, const char **key) {
    bool there = i >= 0 && i < tensors->pair_count;
    if (key) { *key = there ? tensors->pairs[i].key : NULL; }
    return there ? tensors->pairs[i].value : NULL;
}

static bool same_shape(const PdnTensor *tensor, int rank, const int64_t *shape) {
    bool same = tensor->rank == rank;
    for (int axis = 0; same && axis < rank; axis++) { same = tensor->shape[axis] == shape[axis]; }
    return same;
}

PdnStatus pdn_tensors_get(const PdnTensors *tensors, const char *name, PdnType type, int rank,
                          const int64_t *shape, void *to, PdnError *error) {
    const PdnTensor *tensor = pdn_tensors_find(tensors, name);
    if (!tensor) {
        char names[160] = "nothing";
        size_t used = 0;
        for (int i = 0; i < tensors->count && used < sizeof names; i++) {
            used += (size_t)snprintf(names + used, sizeof names - used, "%s%s", i ? " " : "",
                                     tensors->tensors[i].name);
        }
        return pdn_fail(error, PDN_ERROR_FORMAT, "%s holds no array '%.80s'; it holds: %s%s",
                        tensors->path, name, names, used >= sizeof names ? " …" : "");
    }
    if (!same_shape(tensor, rank, shape)) {
        return pdn_fail(error, PDN_ERROR_FORMAT, "%s: the array '%.80s' is %s, not %s",
                        tensors->path, name, pdn_shape_text(tensor->rank, tensor->shape).text,
                        pdn_shape_text(rank, shape).text);
    }
    int64_t count = pdn_tensor_count(tensor);
    if (tensor->type == type) {
        if (count) { memcpy(to, tensor->data, (size_t)count * pdn_type_size(type)); }
        return PDN_OK;
    }
    for (int64_t i = 0; i < count; i++) {
        if (type == PDN_F64) {
            ((double *)to)[i] = ((const float *)tensor->data)[i];
            continue;
        }
        double value = ((const double *)tensor->data)[i];
        ((float *)to)[i] = (float)value;
        if (isinf((float)value) && !isinf(value)) {
            return pdn_fail(error, PDN_ERROR_FORMAT,
                            "%s: the array '%.80s' holds %s, which f32 cannot hold: use f64",
                            tensors->path, name, pdn_number_text(value, PDN_F64).text);
        }
    }
    return PDN_OK;
}

/* ---- reading: the header ------------------------------------------------------------------ */

/* An array as the header says it. */
typedef struct {
    PdnTensor tensor; /* without data */
    Kind kind;
    int64_t begin, end; /* bytes, from the end of the header */
} Entry;

typedef struct {
    const char *name; /* of the file */
    FILE *file;
    int64_t size; /* of the file */
    int64_t data; /* where the numbers begin */
    Entry *entries;
    PdnTensors *tensors;
    PdnError *error;
} Reader;

#define BROKEN(reader, format, ...)                                                                \
    pdn_fail((reader)->error, PDN_ERROR_FORMAT, "%s is a broken safetensors file: " format,        \
             (reader)->name, __VA_ARGS__)

static PdnStatus no_memory(Reader *reader) {
    return pdn_fail(reader->error, PDN_ERROR_MEMORY, "%s cannot be read: out of memory",
                    reader->name);
}

/* A number of the header that counts something. */
static bool count_of(const json_t *value, int64_t *count) {
    *count = json_is_integer(value) ? (int64_t)json_integer_value(value) : -1;
    return *count >= 0;
}

static PdnStatus read_shape(Reader *reader, Entry *entry, const json_t *shape) {
    const char *name = entry->tensor.name;
    size_t rank = json_array_size(shape);
    if (!json_is_array(shape)) { return BROKEN(reader, "'%.80s' has no shape", name); }
    if (rank > PDN_TENSOR_RANK) {
        return pdn_fail(reader->error, PDN_ERROR_LIMIT,
                        "%s: the array '%.80s' has %zu axes: at most %d are read", reader->name,
                        name, rank, PDN_TENSOR_RANK);
    }
    entry->tensor.rank = (int)rank;
    for (size_t axis = 0; axis < rank; axis++) {
        if (!count_of(json_array_get(shape, axis), &entry->tensor.shape[axis])) {
            return BROKEN(reader, "the shape of '%.80s' holds what is no length", name);
        }
    }
    return PDN_OK;
}

static PdnStatus read_entry(Reader *reader, Entry *entry, const char *name, const json_t *value) {
    entry->tensor.name = name;
    const char *type = json_string_value(json_object_get(value, "dtype"));
    if (!type) { return BROKEN(reader, "'%.80s' has no type", name); }
    for (entry->kind = 0; entry->kind < TYPES && strcmp(type, kinds[entry->kind].name) != 0;) {
        entry->kind++;
    }
    if (entry->kind == TYPES) {
        return pdn_fail(
            reader->error, PDN_ERROR_LIMIT,
            "%s: the array '%.80s' has the type %.20s, which is not read: save it as F32",
            reader->name, name, type);
    }
    entry->tensor.type = kinds[entry->kind].to;
    PdnStatus status = read_shape(reader, entry, json_object_get(value, "shape"));
    if (status) { return status; }
    const json_t *offsets = json_object_get(value, "data_offsets");
    if (json_array_size(offsets) != 2 || !count_of(json_array_get(offsets, 0), &entry->begin) ||
        !count_of(json_array_get(offsets, 1), &entry->end) || entry->end < entry->begin) {
        return BROKEN(reader, "'%.80s' does not say where its numbers are", name);
    }
    int64_t bytes;
    if (!pdn_shape_bytes(entry->tensor.rank, entry->tensor.shape, kinds[entry->kind].size,
                         &bytes)) {
        return BROKEN(reader, "'%.80s' has more numbers than can be counted", name);
    }
    if (bytes != entry->end - entry->begin) {
        return BROKEN(reader, "'%.80s' needs %lld bytes and has %lld", name, (long long)bytes,
                      (long long)(entry->end - entry->begin));
    }
    return PDN_OK;
}

static PdnStatus read_metadata(Reader *reader, json_t *object) {
    if (!json_is_object(object)) { return BROKEN(reader, "its %s is no map", METADATA); }
    PdnTensors *tensors = reader->tensors;
    tensors->pairs = calloc(json_object_size(object) + 1, sizeof *tensors->pairs);
    if (!tensors->pairs) { return no_memory(reader); }
    const char *key;
    json_t *value;
    json_object_foreach(object, key, value) {
        if (!json_is_string(value)) {
            return BROKEN(reader, "'%.80s' of its %s is no text", key, METADATA);
        }
        tensors->pairs[tensors->pair_count++] = (Pair){key, json_string_value(value)};
    }
    qsort(tensors->pairs, (size_t)tensors->pair_count, sizeof *tensors->pairs, by_key);
    return PDN_OK;
}

/* Loads the JSON text. */
static PdnStatus load_header(Reader *reader) {
    uint8_t head[9] = {0};
    size_t got = fread(head, 1, sizeof head, reader->file);
    uint64_t length = 0;
    for (int i = 7; i >= 0; i--) { length = length << 8 | head[i]; }
    if (got < sizeof head || head[8] != '{' || length < 2) {
        return pdn_fail(reader->error, PDN_ERROR_FORMAT,
                        "%s is not a safetensors file: it does not begin like one", reader->name);
    }
    if (length > HEADER_LIMIT) {
        return pdn_fail(reader->error, PDN_ERROR_LIMIT,
                        "%s says that its header has %llu bytes: at most %d are read", reader->name,
                        (unsigned long long)length, HEADER_LIMIT);
    }
    if ((int64_t)length > reader->size - 8) {
        return pdn_fail(reader->error, PDN_ERROR_FORMAT,
                        "%s is cut off: its header has %lld bytes, the file only %lld",
                        reader->name, (long long)length, (long long)reader->size);
    }
    reader->data = 8 + (int64_t)length;
    if (length >= 1 << 20 && pdn_memory_available() / PER_BYTE < (int64_t)length) {
        return no_memory(reader);
    }
    char *text = malloc(length);
    if (!text) { return no_memory(reader); }
    text[0] = '{';
    PdnStatus status = PDN_OK;
    json_error_t error = {0};
    if (fread(text + 1, 1, length - 1, reader->file) != length - 1) {
        status = pdn_fail(reader->error, PDN_ERROR_OPEN, "%s cannot be read: %s", reader->name,
                          strerror(errno ? errno : EIO));
    } else {
        reader->tensors->header = json_loadb(text, length, JSON_REJECT_DUPLICATES, &error);
        if (!reader->tensors->header) {
            status = json_error_code(&error) == json_error_out_of_memory
                         ? no_memory(reader)
                         : BROKEN(reader, "its header is no JSON that is read: %s", error.text);
        }
    }
    free(text);
    return status;
}

static int by_offset(const void *a, const void *b) {
    const Entry *x = a, *y = b;
    int64_t x_key = x->begin != y->begin ? x->begin : x->end;
    int64_t y_key = x->begin != y->begin ? y->begin : y->end;
    return (x_key > y_key) - (x_key < y_key);
}

/* The arrays follow one another, from the end of the header to the end of the file. */
static PdnStatus check_places(Reader *reader) {
    int count = reader->tensors->count;
    int64_t at = 0;
    for (int i = 0; i < count; i++) {
        const Entry *entry = &reader->entries[i];
        if (entry->begin != at) {
            return BROKEN(reader, "'%.80s' %s", entry->tensor.name,
                          entry->begin < at ? "overlaps another array" : "comes after a hole");
        }
        at = entry->end;
        if (at > reader->size - reader->data) {
            return BROKEN(reader, "it is cut off: '%.80s' ends beyond the end of the file",
                          entry->tensor.name);
        }
    }
    int64_t over = reader->size - reader->data - at;
    return over ? BROKEN(reader, "%lld bytes belong to no array", (long long)over) : PDN_OK;
}

static PdnStatus read_header(Reader *reader) {
    PdnStatus status = load_header(reader);
    if (status) { return status; }
    PdnTensors *tensors = reader->tensors;
    size_t room = json_object_size(tensors->header) + 1;
    reader->entries = calloc(room, sizeof *reader->entries);
    tensors->tensors = calloc(room, sizeof *tensors->tensors);
    if (!reader->entries || !tensors->tensors) { return no_memory(reader); }
    const char *name;
    json_t *value;
    json_object_foreach(tensors->header, name, value) {
        status = strcmp(name, METADATA) == 0
                     ? read_metadata(reader, value)
                     : read_entry(reader, &reader->entries[tensors->count++], name, value);
        if (status) { return status; }
    }
    qsort(reader->entries, (size_t)tensors->count, sizeof *reader->entries, by_offset);
    return check_places(reader);
}

/* ---- reading: the numbers ------------------------------------------------------------------- */

static float bfloat_value(uint16_t bits) {
    uint32_t wide = (uint32_t)bits << 16;
    float value;
    memcpy(&value, &wide, sizeof value);
    return value;
}

/* `count` numbers at `from` become those at `to`; `from` may lie at the end of the room of `to`, as number i + 1
 * begins behind the end of result i. */
static void convert(Kind kind, const uint8_t *from, void *to, int64_t count) {
#define EACH(number, result, expression)                                                           \
    for (int64_t i = 0; i < count; i++) {                                                          \
        number value;                                                                              \
        memcpy(&value, from + (size_t)i * sizeof value, sizeof value);                             \
        result wide = (result)(expression);                                                        \
        memcpy((uint8_t *)to + (size_t)i * sizeof wide, &wide, sizeof wide);                       \
    }                                                                                              \
    break
    switch (kind) {
    case F16: EACH(uint16_t, float, pdn_half_value(value));
    case BF16: EACH(uint16_t, float, bfloat_value(value));
    case I64: EACH(int64_t, double, value);
    case I32: EACH(int32_t, double, value);
    case I16: EACH(int16_t, float, value);
    case I8: EACH(int8_t, float, value);
    case U64: EACH(uint64_t, double, value);
    case U32: EACH(uint32_t, double, value);
    case U16: EACH(uint16_t, float, value);
    case U8: EACH(uint8_t, float, value);
    case BOOL: EACH(uint8_t, float, value != 0);
    case F64:
    case F32:
    case TYPES: break; /* they are what they were */
    }
#undef EACH
}

static int64_t room_of(const Entry *entry) {
    int64_t bytes = pdn_tensor_count(&entry->tensor) * (int64_t)pdn_type_size(entry->tensor.type);
    return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

static PdnStatus read_numbers(Reader *reader) {
    PdnTensors *tensors = reader->tensors;
    int64_t total = ALIGNMENT; /* at most a few times the file's size, and so nothing overflows */
    for (int i = 0; i < tensors->count; i++) { total += room_of(&reader->entries[i]); }
    if (total < 1 << 20 || total <= pdn_memory_available()) {
        tensors->numbers = pdn_memory_new((size_t)total);
    }
    if (!tensors->numbers) {
        return pdn_fail(reader->error, PDN_ERROR_MEMORY, "%s needs %s of memory; %s are available",
                        reader->name, pdn_bytes_text(total).text,
                        pdn_bytes_text(pdn_memory_available()).text);
    }
    if (fseeko(reader->file, reader->data, SEEK_SET) != 0) {
        return pdn_fail(reader->error, PDN_ERROR_OPEN, "%s cannot be read: %s", reader->name,
                        strerror(errno));
    }
    uint8_t *at = tensors->numbers;
    for (int i = 0; i < tensors->count; i++) {
        Entry *entry = &reader->entries[i];
        size_t bytes = (size_t)(entry->end - entry->begin), room = (size_t)room_of(entry);
        errno = 0;
        if (fread(at + room - bytes, 1, bytes, reader->file) != bytes) {
            return pdn_fail(reader->error, PDN_ERROR_OPEN, "%s cannot be read: %s", reader->name,
                            errno ? strerror(errno) : "it became shorter");
        }
        if (entry->kind == F64 || entry->kind == F32) { memmove(at, at + room - bytes, bytes); }
        convert(entry->kind, at + room - bytes, at, pdn_tensor_count(&entry->tensor));
        entry->tensor.data = at;
        tensors->tensors[i] = entry->tensor;
        at += room;
    }
    qsort(tensors->tensors, (size_t)tensors->count, sizeof *tensors->tensors, by_name);
    return PDN_OK;
}

static PdnStatus read_stream(const char *name, FILE *file, int64_t size, PdnTensors **out,
                             PdnError *error) {
    Reader reader = {.name = name, .file = file, .size = size, .error = error};
    reader.tensors = calloc(1, sizeof *reader.tensors);
    if (reader.tensors) { reader.tensors->path = strdup(name); }
    PdnStatus status = reader.tensors && reader.tensors->path ? PDN_OK : no_memory(&reader);
    if (!status) { status = read_header(&reader); }
    if (!status) { status = read_numbers(&reader); }
    free(reader.entries);
    if (status) {
        pdn_tensors_free(reader.tensors);
    } else {
        *out = reader.tensors;
    }
    return status;
}

PdnStatus pdn_tensors_read(const char *path, PdnTensors **out, PdnError *error) {
    *out = NULL;
    FILE *file;
    int64_t size;
    PdnStatus status = pdn_file_open(path, &file, &size, error);
    if (status) { return status; }
    status = size == 0 ? pdn_fail(error, PDN_ERROR_FORMAT, "%s is empty", path)
                       : read_stream(path, file, size, out, error);
    fclose(file);
    return status;
}

PdnStatus pdn_tensors_read_bytes(const char *name, const void *bytes, size_t count,
                                 PdnTensors **out, PdnError *error) {
    *out = NULL;
    if (count == 0) { return pdn_fail(error, PDN_ERROR_FORMAT, "%s is empty", name); }
    FILE *file = fmemopen((void *)(uintptr_t)bytes, count, "rb");
    if (!file) {
        return pdn_fail(error, PDN_ERROR_MEMORY, "%s cannot be read: %s", name, strerror(errno));
    }
    PdnStatus status = read_stream(name, file, (int64_t)count, out, error);
    fclose(file);
    return status;
}

/* ---- writing ------------------------------------------------------------------------------------ */

static int by_width_and_name(const void *a, const void *b) {
    const PdnTensor *x = *(const PdnTensor *const *)a, *y = *(const PdnTensor *const *)b;
    size_t x_size = pdn_type_size(x->type), y_size = pdn_type_size(y->type);
    return x_size != y_size ? (x_size < y_size) - (x_size > y_size) : strcmp(x->name, y->name);
}

static int64_t bytes_of(const PdnTensor *tensor) {
    return pdn_tensor_count(tensor) * (int64_t)pdn_type_size(tensor->type);
}

static PdnStatus check_tensor(const char *path, const PdnTensor *tensor, PdnError *error) {
    int64_t bytes;
    const char *wrong = !tensor->name ? "without a name"
                        : strcmp(tensor->name, METADATA) == 0
                            ? "with a name that the format has taken"
                        : tensor->rank < 0 || tensor->rank > PDN_TENSOR_RANK ? "with too many axes"
                        : !pdn_shape_bytes(tensor->rank, tensor->shape,
                                           (int64_t)pdn_type_size(tensor->type), &bytes)
                            ? "with more numbers than can be counted"
                        : bytes && !tensor->data ? "without numbers"
                                                 : NULL;
    return wrong ? pdn_fail(error, PDN_ERROR_ARGUMENT, "%s: an array %s: '%.80s'", path, wrong,
                            tensor->name ? tensor->name : "")
                 : PDN_OK;
}

/* Adds to an object what it does not have yet; takes `value`. */
static PdnStatus add(const char *path, json_t *object, const char *key, json_t *value,
                     PdnError *error) {
    if (json_object_get(object, key)) {
        json_decref(value);
        return pdn_fail(error, PDN_ERROR_ARGUMENT, "%s: two have the name '%.80s'", path, key);
    }
    if (!value || json_object_set_new(object, key, value) != 0) { /* which frees it */
        return pdn_fail(error, PDN_ERROR_ARGUMENT, "%s: a text is not UTF-8: '%.80s'", path, key);
    }
    return PDN_OK;
}

static PdnStatus add_metadata(const char *path, json_t *header, const char *const (*metadata)[2],
                              int count, PdnError *error) {
    Pair *pairs = calloc((size_t)count, sizeof *pairs);
    json_t *object = json_object();
    PdnStatus status =
        pairs && object && json_object_set(header, METADATA, object) == 0
            ? PDN_OK
            : pdn_fail(error, PDN_ERROR_MEMORY, "%s cannot be written: out of memory", path);
    if (!status) {
        for (int i = 0; i < count; i++) { pairs[i] = (Pair){metadata[i][0], metadata[i][1]}; }
        qsort(pairs, (size_t)count, sizeof *pairs, by_key);
    }
    for (int i = 0; i < count && !status; i++) {
        status = add(path, object, pairs[i].key, json_string(pairs[i].value), error);
    }
    json_decref(object);
    free(pairs);
    return status;
}

/* The JSON text, padded so that the numbers behind it lie at a multiple of 8. */
static PdnStatus make_header(const char *path, const PdnTensor *const *sorted, int count,
                             const char *const (*metadata)[2], int metadata_count, char **text,
                             size_t *length, PdnError *error) {
    json_t *header = json_object();
    PdnStatus status = PDN_OK;
    if (header && metadata_count) {
        status = add_metadata(path, header, metadata, metadata_count, error);
    }
    int64_t at = 0, end = 0;
    for (int i = 0; header && i < count && !status; i++, at = end) {
        const PdnTensor *tensor = sorted[i];
        if (__builtin_add_overflow(at, bytes_of(tensor), &end)) {
            status = pdn_fail(error, PDN_ERROR_LIMIT, "%s: more numbers than can be counted", path);
            break;
        }
        json_t *shape = json_array();
        for (int axis = 0; axis < tensor->rank; axis++) {
            json_array_append_new(shape, json_integer(tensor->shape[axis]));
        }
        json_t *entry =
            json_pack("{s:s, s:o, s:[I, I]}", "dtype", tensor->type == PDN_F64 ? "F64" : "F32",
                      "shape", shape, "data_offsets", (json_int_t)at, (json_int_t)end);
        status = add(path, header, tensor->name, entry, error);
    }
    *text = header && !status ? json_dumps(header, JSON_COMPACT) : NULL;
    json_decref(header);
    size_t used = *text ? strlen(*text) : 0;
    *length = (used + 7) / 8 * 8;
    char *padded = *text ? realloc(*text, *length + 1) : NULL;
    if (padded) {
        memset(padded + used, ' ', *length - used);
        *text = padded;
    }
    if (status || !padded) {
        return status
                   ? status
                   : pdn_fail(error, PDN_ERROR_MEMORY, "%s cannot be written: out of memory", path);
    }
    return *length > HEADER_LIMIT
               ? pdn_fail(error, PDN_ERROR_LIMIT,
                          "%s: the names and the metadata need more than %d bytes, the "
                          "format's limit",
                          path, HEADER_LIMIT)
               : PDN_OK;
}

static PdnStatus write_file(const char *path, const char *header, size_t length,
                            const PdnTensor *const *sorted, int count, PdnError *error) {
    Pending pending;
    pending_begin(&pending);
    pending.durable = true;
    FILE *file;
    const char *temp;
    PdnStatus status = pending_open(&pending, path, &file, &temp, error);
    if (!status) {
        errno = 0;
        uint8_t head[8];
        for (int i = 0; i < 8; i++) { head[i] = (uint8_t)((uint64_t)length >> 8 * i); }
        fwrite(head, 1, sizeof head, file);
        fwrite(header, 1, length, file);
        for (int i = 0; i < count && !ferror(file); i++) {
            if (bytes_of(sorted[i])) {
                fwrite(sorted[i]->data, 1, (size_t)bytes_of(sorted[i]), file);
            }
        }
        status = pending_close(&pending, error);
    }
    if (!status) { status = pending_commit(&pending, error); }
    pending_discard(&pending);
    return status;
}

PdnStatus pdn_tensors_write(const char *path, const PdnTensor *tensors, int count,
                            const char *const (*metadata)[2], int metadata_count, PdnError *error) {
    if (count < 0 || metadata_count < 0) {
        return pdn_fail(error, PDN_ERROR_ARGUMENT, "%s: a negative number of arrays", path);
    }
    for (int i = 0; i < count; i++) {
        PdnStatus status = check_tensor(path, &tensors[i], error);
        if (status) { return status; }
    }
    for (int i = 0; i < metadata_count; i++) {
        if (!metadata[i][0] || !metadata[i][1]) {
            return pdn_fail(error, PDN_ERROR_ARGUMENT, "%s: metadata without a text", path);
        }
    }
    const PdnTensor **sorted = calloc((size_t)count + 1, sizeof *sorted);
    if (!sorted) {
        return pdn_fail(error, PDN_ERROR_MEMORY, "%s cannot be written: out of memory", path);
    }
    for (int i = 0; i < count; i++) { sorted[i] = &tensors[i]; }
    qsort(sorted, (size_t)count, sizeof *sorted, by_width_and_name);
    char *header = NULL;
    size_t length;
    PdnStatus status =
        make_header(path, sorted, count, metadata, metadata_count, &header, &length, error);
    if (!status) { status = write_file(path, header, length, sorted, count, error); }
    free(header);
    free(sorted);
    return status;
}
