/* file.c: the formats as a table; reading by content, writing through temporary files. */
#define _GNU_SOURCE /* asprintf */
#include "runtime/file.h"
#include "runtime/pending.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct {
    const char *extension, *title;
    PdnMagic *magic;
    PdnReader *reader;
    PdnCheck *check;
    PdnWriter *writer;
    int series;
    bool picture;
} Format;

static const Format formats[] = {
#define FORMAT(extension, title, magic, reader, check, writer, series, picture)                    \
    {extension, title, magic, reader, check, writer, series, picture},
#include "runtime/formats.def"
#undef FORMAT
};
#define FORMAT_COUNT (sizeof formats / sizeof formats[0])

/* What is often given and not read: said by name. */
static const struct {
    const char *title, *bytes;
    int count;
} foreign[] = {
    {"JPEG picture", "\xff\xd8\xff", 3},
    {"GIF picture", "GIF8", 4},
    {"TIFF picture", "II*\0", 4},
    {"TIFF picture", "MM\0*", 4},
    {"BMP picture", "BM", 2},
    {"RIFF file (WebP?)", "RIFF", 4},
    {"HDF5 file", "\x89HDF\r\n", 6},
    {"PBM bitmap", "P1", 2},
    {"PBM bitmap", "P4", 2},
    {"PAM picture", "P7", 2},
    {"gzip file", "\x1f\x8b", 2},
    {"pickled Python object", "\x80\x04", 2},
};

static const char *base_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* What follows the last dot of the file's name, or NULL. */
static const char *extension_of(const char *path) {
    const char *base = base_name(path), *dot = strrchr(base, '.');
    return dot && dot != base && dot[1] ? dot + 1 : NULL;
}

static const Format *format_by_extension(const char *path) {
    const char *extension = extension_of(path);
    for (size_t i = 0; extension && i < FORMAT_COUNT; i++) {
        if (strcasecmp(extension, formats[i].extension) == 0) { return &formats[i]; }
    }
    return NULL;
}

enum { READ, WRITTEN, PICTURES };

/* The extensions of the formats that are read, that are written, or that are pictures, as a text. */
static const char *extensions(int which, char *to, size_t room) {
    size_t used = 0;
    to[0] = 0;
    for (size_t i = 0; i < FORMAT_COUNT && used < room; i++) {
        if (which == WRITTEN    ? formats[i].writer != NULL
            : which == PICTURES ? formats[i].picture
                                : formats[i].reader != NULL) {
            used += (size_t)snprintf(to + used, room - used, "%s%s", used ? " " : "",
                                     formats[i].extension);
        }
    }
    return to;
}

/* ---- reading --------------------------------------------------------------------- */

PdnStatus pdn_truncated(PdnInput *in) {
    if (in->file && ferror(in->file)) {
        return pdn_fail(in->error, PDN_ERROR_OPEN, "%s cannot be read: %s", in->name,
                        strerror(errno));
    }
    return pdn_fail(in->error, PDN_ERROR_FORMAT, "%s ends too early: it is truncated", in->name);
}

PdnStatus pdn_input_shape(PdnInput *in, int rank, const int64_t *shape) {
    if (rank > PDN_MAX_RANK) {
        return pdn_fail(in->error, PDN_ERROR_LIMIT,
                        "%s holds an array of %d axes: at most %d are read", in->name, rank,
                        PDN_MAX_RANK);
    }
    int64_t bytes;
    if (!pdn_shape_bytes(rank, shape, sizeof(double), &bytes) || bytes > PDN_FILE_LIMIT) {
        return pdn_fail(in->error, PDN_ERROR_LIMIT,
                        "%s says that it holds more than %s of numbers, which is the limit",
                        in->name, pdn_bytes_text(PDN_FILE_LIMIT).text);
    }
    if (bytes == 0) {
        return pdn_fail(in->error, PDN_ERROR_FORMAT, "%s holds an array without values", in->name);
    }
    in->rank = rank;
    for (int axis = 0; axis < rank; axis++) { in->shape[axis] = shape[axis]; }
    if (in->picture) {
        in->picture->channels = rank == 3 ? (int)shape[0] : 1;
        in->picture->height = shape[rank - 2];
        in->picture->width = shape[rank - 1];
    }
    if (in->shape_only) { return PDN_OK; }
    if (in->picture) {
        int64_t stored = bytes / (int64_t)sizeof(double) * in->picture->bytes;
        bool fits = stored < (1 << 20) || stored <= pdn_memory_available();
        in->picture->samples = fits ? malloc((size_t)stored) : NULL;
        return in->picture->samples
                   ? PDN_OK
                   : pdn_fail(in->error, PDN_ERROR_MEMORY, "%s needs %s of memory to be decoded",
                              in->name, pdn_bytes_text(stored).text);
    }
    PdnError reason;
    PdnStatus status = pdn_array_new(&in->array, in->type, rank, shape, &reason);
    return status ? pdn_fail(in->error, status, "%s: %.400s", in->name, reason.message) : PDN_OK;
}

/* Reads an open input whose format is known by its content. */
static PdnStatus read_input(PdnInput *in, const Format *named) {
    uint8_t head[16];
    size_t count = fread(head, 1, sizeof head, in->file);
    if (ferror(in->file)) { return pdn_truncated(in); }
    if (count == 0) { return pdn_fail(in->error, PDN_ERROR_FORMAT, "%s is empty", in->name); }
    rewind(in->file);
    const Format *format = NULL;
    for (size_t i = 0; i < FORMAT_COUNT && !format; i++) {
        if (formats[i].magic && formats[i].magic(head, count)) { format = &formats[i]; }
    }
    if (format && named && format->reader != named->reader) {
        return pdn_fail(in->error, PDN_ERROR_FORMAT,
                        "%s is not a %s: its content is that of a %s; rename it to .%s", in->name,
                        named->title, format->title, format->extension);
    }
    if (format) { return format->reader(in); }
    char list[64];
    extensions(READ, list, sizeof list);
    for (size_t i = 0; i < sizeof foreign / sizeof foreign[0]; i++) {
        if (count >= (size_t)foreign[i].count &&
            memcmp(head, foreign[i].bytes, (size_t)foreign[i].count) == 0) {
            return pdn_fail(in->error, PDN_ERROR_FORMAT,
                            "%s is a %s, which is not read: convert it to one of: %s", in->name,
                            foreign[i].title, list);
        }
    }
    if (named) {
        return pdn_fail(in->error, PDN_ERROR_FORMAT, "%s is not a %s: it does not begin like one",
                        in->name, named->title);
    }
    return pdn_fail(in->error, PDN_ERROR_FORMAT, "%s has none of the formats that are read: %s",
                    in->name, list);
}

/* Splits "fields.npz:u" into a path and an entry; the copy is freed by the caller. */
static char *split_entry(const char *path, const char **entry) {
    char *copy = strdup(path);
    *entry = NULL;
    if (copy && access(path, F_OK) != 0) {
        char *colon = strrchr(copy, ':');
        if (colon && colon - copy > 4 && strncasecmp(colon - 4, ".npz", 4) == 0) {
            *colon = 0;
            *entry = colon + 1;
        }
    }
    return copy;
}

PdnStatus pdn_file_open(const char *path, FILE **file, int64_t *size, PdnError *error) {
    *file = NULL;
    *size = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY); /* a pipe must not hang */
    struct stat info;
    if (fd < 0 || fstat(fd, &info) != 0) {
        PdnStatus status =
            pdn_fail(error, PDN_ERROR_OPEN, "%s cannot be opened: %s", path, strerror(errno));
        if (fd >= 0) { close(fd); }
        return status;
    }
    if (!S_ISREG(info.st_mode)) {
        close(fd);
        return pdn_fail(error, PDN_ERROR_OPEN, "%s is %s, not a file", path,
                        S_ISDIR(info.st_mode) ? "a folder" : "a device or a pipe");
    }
    *size = info.st_size;
    *file = fdopen(fd, "rb");
    if (!*file) {
        close(fd);
        return pdn_fail(error, PDN_ERROR_OPEN, "%s cannot be opened: %s", path, strerror(errno));
    }
    return PDN_OK;
}

static PdnStatus open_and_read(PdnInput *in) {
    const char *path = in->name;
    const Format *named = format_by_extension(path);
    if (named && !named->reader) {
        char list[64];
        return pdn_fail(in->error, PDN_ERROR_FORMAT,
                        "%s: %s files are written, not read; read are: %s", path, named->extension,
                        extensions(READ, list, sizeof list));
    }
    PdnStatus status = pdn_file_open(path, &in->file, &in->size, in->error);
    if (status) { return status; }
    status = read_input(in, named);
    fclose(in->file);
    return status;
}

static PdnStatus read_path(const char *path, PdnInput *in) {
    char *copy = split_entry(path, &in->entry);
    if (!copy) {
        return pdn_fail(in->error, PDN_ERROR_MEMORY, "%s cannot be opened: out of memory", path);
    }
    in->name = copy;
    PdnStatus status = open_and_read(in);
    if (status) { pdn_array_free(&in->array); }
    free(copy);
    return status;
}

PdnStatus pdn_file_shape(const char *path, int *rank, int64_t shape[PDN_MAX_RANK],
                         PdnError *error) {
    PdnInput in = {.shape_only = true, .error = error};
    PdnStatus status = read_path(path, &in);
    *rank = status ? 0 : in.rank;
    for (int axis = 0; axis < PDN_MAX_RANK; axis++) { shape[axis] = status ? 0 : in.shape[axis]; }
    return status;
}

PdnStatus pdn_file_read(const char *path, PdnType type, PdnArray *array, PdnError *error) {
    PdnInput in = {.type = type, .error = error};
    PdnStatus status = read_path(path, &in);
    *array = in.array;
    return status;
}

bool pdn_picture_named(const char *path) {
    const Format *format = format_by_extension(path);
    return format && format->picture;
}

const char *pdn_picture_extensions(char *to, size_t room) { return extensions(PICTURES, to, room); }

PdnStatus pdn_picture_read(const char *path, bool header_only, PdnPicture *picture,
                           PdnError *error) {
    *picture = (PdnPicture){0};
    if (!pdn_picture_named(path)) {
        char list[64];
        return pdn_fail(error, PDN_ERROR_FORMAT, "%s is no picture; pictures are: %s", path,
                        extensions(PICTURES, list, sizeof list));
    }
    PdnInput in = {.shape_only = header_only, .picture = picture, .error = error};
    PdnStatus status = read_path(path, &in);
    if (status) {
        free(picture->samples);
        picture->samples = NULL;
    }
    return status;
}

PdnStatus pdn_bytes_read(const char *name, const void *bytes, size_t count, PdnType type,
                         PdnArray *array, PdnError *error) {
    PdnInput in = {.name = name, .type = type, .error = error};
    memset(array, 0, sizeof *array);
    if (count == 0) { return pdn_fail(error, PDN_ERROR_FORMAT, "%s is empty", name); }
    in.bytes = bytes;
    in.size = (int64_t)count;
    in.file = fmemopen((void *)(uintptr_t)bytes, count, "rb");
    if (!in.file) {
        return pdn_fail(error, PDN_ERROR_MEMORY, "%s cannot be read: %s", name, strerror(errno));
    }
    PdnStatus status = read_input(&in, NULL);
    fclose(in.file);
    if (status) { pdn_array_free(&in.array); }
    *array = in.array;
    return status;
}

/* ---- writing ---------------------------------------------------------------------- */

int64_t pdn_save_cells(const PdnSave *save) {
    int64_t cells = 1;
    for (int axis = 0; axis < save->rank; axis++) { cells *= save->extent[axis]; }
    return cells;
}

int64_t pdn_save_fields(const PdnSave *save) {
    return (save->frames ? save->frames : 1) * (save->items ? save->items : 1);
}

static const char *item_text(const PdnSave *save, int64_t item) {
    const char *name = save->names ? save->names[item] : NULL;
    return name && *name ? name : NULL;
}

PdnItemName pdn_item_name(const PdnSave *save, int64_t item, const char *plain) {
    PdnItemName name;
    const char *given = item_text(save, item);
    if (!given) {
        snprintf(name.text, sizeof name.text, save->items ? "%s%lld" : "%s", plain,
                 (long long)item);
        return name;
    }
    snprintf(name.text, sizeof name.text, "%.48s", given);
    for (int64_t other = 0; other < (save->items ? save->items : 1); other++) {
        const char *text = item_text(save, other);
        if (other != item && text && strncmp(text, given, 48) == 0) {
            snprintf(name.text, sizeof name.text, "%.48s_%lld", given, (long long)item);
            break;
        }
    }
    return name;
}

PdnStatus pdn_output_status(PdnOutput *out) {
    if (!ferror(out->file)) { return PDN_OK; }
    return pdn_fail(out->error, PDN_ERROR_OPEN, "%s cannot be written: %s", out->name,
                    strerror(errno ? errno : EIO));
}

PdnStatus pdn_file_can_write(const char *path, const PdnSave *shape, PdnError *error) {
    const Format *format = format_by_extension(path);
    if (!format || !format->writer) {
        char list[64];
        return pdn_fail(error, PDN_ERROR_ARGUMENT,
                        "%s: what to write is told by the extension, one of: %s", path,
                        extensions(WRITTEN, list, sizeof list));
    }
    if (shape->rank < 0 || shape->rank > 3 || shape->channels < 1 || shape->items < 0 ||
        shape->frames < 0) {
        return pdn_fail(error, PDN_ERROR_ARGUMENT, "%s: a field of rank %d and %lld channels", path,
                        shape->rank, (long long)shape->channels);
    }
    if (shape->depth != 0 && shape->depth != 8 && shape->depth != 16) {
        return pdn_fail(error, PDN_ERROR_ARGUMENT,
                        "%s: pictures have 8 or 16 bits a sample, not %d", path, shape->depth);
    }
    return format->check(path, shape, error);
}

/* The file's name of one item and frame of a series: the parts are left out where they are < 0. */
static char *series_path(const char *path, const PdnSave *save, int64_t item, int64_t frame) {
    const char *extension = extension_of(path);
    int stem = (int)(extension - 1 - path), digits = 4;
    for (int64_t most = 10000; most < save->frames; most *= 10) { digits++; }
    char item_part[128] = "";
    if (item >= 0) {
        PdnItemName name = pdn_item_name(save, item, "");
        for (char *c = name.text; *c; c++) { /* a name may be any expression */
            bool plain = (*c >= '0' && *c <= '9') || (*c >= 'a' && *c <= 'z') ||
                         (*c >= 'A' && *c <= 'Z') || *c == '-' || *c == '_';
            *c = plain ? *c : '_';
        }
        snprintf(item_part, sizeof item_part, "_%s", name.text);
    }
    char *to;
    int length = frame < 0 ? asprintf(&to, "%.*s%s.%s", stem, path, item_part, extension)
                           : asprintf(&to, "%.*s%s_%0*lld.%s", stem, path, item_part, digits,
                                      (long long)frame, extension);
    return length < 0 ? NULL : to;
}

typedef struct {
    const char *path; /* without its folder */
    int64_t count;
} Turns;

static bool is_turn(const void *context, unsigned hash) {
    const Turns *turns = context;
    const PdnSave numbered = {.frames = turns->count};
    bool found = hash == pending_hash(turns->path);
    for (int64_t i = 0; i < turns->count && !found; i++) {
        char *name = series_path(turns->path, &numbered, -1, i);
        found = name && hash == pending_hash(name);
        free(name);
    }
    return found;
}

void pdn_file_tidy(const char *path, int64_t turns) {
    Turns all = {base_name(path), turns};
    bool several = turns > 0 && extension_of(path);
    pending_clean(path, several ? is_turn : NULL, &all);
}

/* Writes one file (of a series) into the pending files. */
static PdnStatus write_one(Pending *pending, const Format *format, const char *path,
                           const PdnSave *save, double time, PdnError *error) {
    PdnOutput out = {.name = path, .time = time, .error = error};
    PdnStatus status = pending_open(pending, path, &out.file, &out.temp, error);
    if (status) { return status; }
    errno = 0;
    status = format->writer(&out, save);
    PdnStatus closed = pending_close(pending, status ? NULL : error);
    return status ? status : closed;
}

/* The list of a series of VTI files, with the times of the frames. */
static PdnStatus write_collection(Pending *pending, const char *path, const PdnSave *save,
                                  PdnError *error) {
    char *name;
    if (asprintf(&name, "%.*s.pvd", (int)(extension_of(path) - 1 - path), path) < 0) {
        return pdn_fail(error, PDN_ERROR_MEMORY, "%s cannot be written: out of memory", path);
    }
    FILE *file;
    const char *temp;
    PdnStatus status = pending_open(pending, name, &file, &temp, error);
    if (!status) {
        fprintf(file, "<?xml version=\"1.0\"?>\n<VTKFile type=\"Collection\" version=\"1.0\">\n"
                      "  <Collection>\n");
        for (int64_t frame = 0; frame < save->frames; frame++) {
            char *part = series_path(path, save, -1, frame);
            double time = save->time_step != 0 ? save->time_step * (double)frame : (double)frame;
            fprintf(file, "    <DataSet timestep=\"%s\" group=\"\" part=\"0\" file=\"",
                    pdn_number_text(time, PDN_F64).text);
            for (const char *c = part ? base_name(part) : ""; *c; c++) {
                switch (*c) {
                case '&': fputs("&amp;", file); break;
                case '<': fputs("&lt;", file); break;
                case '"': fputs("&quot;", file); break;
                default: fputc(*c, file);
                }
            }
            fputs("\"/>\n", file);
            free(part);
        }
        fprintf(file, "  </Collection>\n</VTKFile>\n");
        status = pending_close(pending, error);
    }
    free(name);
    return status;
}

static PdnStatus write_all(Pending *pending, const Format *format, const char *path,
                           const PdnSave *save, PdnError *error) {
    int64_t items = save->items ? save->items : 1;
    bool by_item = (format->series & SERIES_ITEMS) && save->items;
    bool by_frame = (format->series & SERIES_FRAMES) && save->frames;
    for (int64_t frame = 0; frame < (by_frame ? save->frames : 1); frame++) {
        for (int64_t item = 0; item < (by_item ? items : 1); item++) {
            PdnSave one = *save;
            one.data = save->data + frame * items + item;
            one.frames = by_frame ? 0 : save->frames;
            if (by_item) {
                one.items = 0;
                one.names = NULL;
            }
            char *name = by_item || by_frame
                             ? series_path(path, save, by_item ? item : -1, by_frame ? frame : -1)
                             : strdup(path);
            if (!name) {
                return pdn_fail(error, PDN_ERROR_MEMORY, "%s cannot be written: out of memory",
                                path);
            }
            PdnStatus status =
                write_one(pending, format, name, &one, save->time_step * (double)frame, error);
            free(name);
            if (status) { return status; }
        }
    }
    if (by_frame && format->writer == pdn_vti_write) {
        return write_collection(pending, path, save, error);
    }
    return PDN_OK;
}

PdnStatus pdn_file_write(const char *path, const PdnSave *save, PdnError *error) {
    PdnStatus status = pdn_file_can_write(path, save, error);
    if (status) { return status; }
    int64_t shape[6] = {save->extent[0], save->extent[1],       save->extent[2],
                        save->channels,  pdn_save_fields(save), 1};
    for (int axis = save->rank; axis < 3; axis++) { shape[axis] = 1; }
    int64_t bytes;
    if (!pdn_shape_bytes(5, shape, sizeof(double), &bytes) || bytes == 0) {
        return pdn_fail(error, PDN_ERROR_SIZE,
                        "%s: a field without cells, or with too many to count", path);
    }
    Pending pending;
    pending_begin(&pending);
    status = write_all(&pending, format_by_extension(path), path, save, error);
    if (!status) { status = pending_commit(&pending, error); }
    pending_discard(&pending);
    return status;
}

PdnStatus pdn_text_write(const char *path, const char *bytes, size_t count, PdnError *error) {
    Pending pending;
    pending_begin(&pending);
    FILE *file;
    const char *temp;
    PdnStatus status = pending_open(&pending, path, &file, &temp, error);
    if (!status) {
        errno = 0;
        fwrite(bytes, 1, count, file);
        status = pending_close(&pending, error);
    }
    if (!status) { status = pending_commit(&pending, error); }
    pending_discard(&pending);
    return status;
}
