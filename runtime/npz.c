/* npz.c: NumPy's archives: a zip file of .npy entries, through libzip. Entries are written without
 * compression and with one fixed date, so that the same arrays give the same bytes. */
#include "runtime/file.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zip.h>

bool pdn_npz_magic(const uint8_t *head, size_t count) {
    return count >= 4 && memcmp(head, "PK", 2) == 0 &&
           (memcmp(head + 2, "\3\4", 2) == 0 || memcmp(head + 2, "\5\6", 2) == 0);
}

/* ---- reading ------------------------------------------------------------------------- */

static size_t read_entry(void *context, void *to, size_t count) {
    size_t done = 0;
    while (done < count) {
        zip_int64_t now = zip_fread(context, (char *)to + done, count - done);
        if (now <= 0) { break; }
        done += (size_t)now;
    }
    return done;
}

static zip_t *open_archive(PdnInput *in, zip_error_t *error) {
    zip_source_t *source;
    if (in->bytes) {
        source = zip_source_buffer_create(in->bytes, (zip_uint64_t)in->size, 0, error);
    } else {
        int fd = dup(fileno(in->file));
        FILE *file = fd >= 0 ? fdopen(fd, "rb") : NULL;
        if (!file) {
            if (fd >= 0) { close(fd); }
            zip_error_set(error, ZIP_ER_OPEN, errno);
            return NULL;
        }
        source = zip_source_filep_create(file, 0, -1, error);
        if (!source) { fclose(file); }
    }
    zip_t *zip = source ? zip_open_from_source(source, ZIP_RDONLY, error) : NULL;
    if (source && !zip) { zip_source_free(source); }
    return zip;
}

static bool ends_with_npy(const char *name) {
    size_t length = strlen(name);
    return length > 4 && strcmp(name + length - 4, ".npy") == 0;
}

/* The entry that is asked for, with or without its .npy, or the first; -1: there is none. */
static zip_int64_t find_entry(PdnInput *in, zip_t *zip) {
    zip_int64_t count = zip_get_num_entries(zip, 0);
    for (zip_int64_t i = 0; i < count; i++) {
        const char *name = zip_get_name(zip, (zip_uint64_t)i, ZIP_FL_ENC_RAW);
        if (!name || !ends_with_npy(name)) { continue; }
        size_t wanted = in->entry ? strlen(in->entry) : 0;
        if (!in->entry || strcmp(name, in->entry) == 0 ||
            (strlen(name) == wanted + 4 && strncmp(name, in->entry, wanted) == 0)) {
            return i;
        }
    }
    return -1;
}

static PdnStatus missing(PdnInput *in, zip_t *zip) {
    char names[200] = "";
    size_t used = 0;
    zip_int64_t count = zip_get_num_entries(zip, 0);
    for (zip_int64_t i = 0; i < count && used < sizeof names; i++) {
        const char *name = zip_get_name(zip, (zip_uint64_t)i, ZIP_FL_ENC_RAW);
        if (name && ends_with_npy(name)) {
            used += (size_t)snprintf(names + used, sizeof names - used, "%s%.*s", used ? " " : "",
                                     (int)strlen(name) - 4, name);
        }
    }
    if (in->entry && used) {
        return pdn_fail(in->error, PDN_ERROR_FORMAT, "%s holds no array '%.80s'; it holds: %s",
                        in->name, in->entry, names);
    }
    return pdn_fail(in->error, PDN_ERROR_FORMAT, "%s is a zip archive without NumPy arrays",
                    in->name);
}

static PdnStatus read_archive(PdnInput *in, zip_t *zip) {
    zip_int64_t i = find_entry(in, zip);
    if (i < 0) { return missing(in, zip); }
    zip_stat_t stat;
    zip_stat_init(&stat);
    if (zip_stat_index(zip, (zip_uint64_t)i, 0, &stat) != 0 ||
        (stat.valid & (ZIP_STAT_SIZE | ZIP_STAT_COMP_SIZE | ZIP_STAT_COMP_METHOD)) !=
            (ZIP_STAT_SIZE | ZIP_STAT_COMP_SIZE | ZIP_STAT_COMP_METHOD)) {
        return pdn_fail(in->error, PDN_ERROR_FORMAT, "%s is a broken NumPy archive", in->name);
    }
    if (stat.comp_method != ZIP_CM_STORE && stat.comp_method != ZIP_CM_DEFLATE) {
        return pdn_fail(
            in->error, PDN_ERROR_FORMAT,
            "%s is packed by another method (%d) than NumPy's: save it with numpy.savez", in->name,
            stat.comp_method);
    }
    /* An entry cannot be larger than its packed bytes allow: deflate makes at most 1032 of one. */
    if (stat.comp_size > (zip_uint64_t)in->size || stat.size / 1040 > stat.comp_size) {
        return pdn_fail(in->error, PDN_ERROR_FORMAT,
                        "%s is a broken NumPy archive: its sizes are impossible", in->name);
    }
    zip_file_t *file = zip_fopen_index(zip, (zip_uint64_t)i, 0);
    if (!file) {
        return pdn_fail(in->error, PDN_ERROR_FORMAT, "%s is a broken NumPy archive: %s", in->name,
                        zip_strerror(zip));
    }
    PdnSource source = {read_entry, file, (int64_t)stat.size};
    PdnStatus status = pdn_npy_read_from(in, &source);
    zip_error_t *error = zip_file_get_error(file);
    if (zip_error_code_zip(error) != ZIP_ER_OK &&
        status != PDN_ERROR_MEMORY) { /* sum, or packing */
        status = pdn_fail(in->error, PDN_ERROR_FORMAT, "%s is a broken NumPy archive: %s", in->name,
                          zip_error_strerror(error));
    }
    zip_fclose(file);
    return status;
}

PdnStatus pdn_npz_read(PdnInput *in) {
    zip_error_t error;
    zip_error_init(&error);
    zip_t *zip = open_archive(in, &error);
    PdnStatus status;
    if (zip) {
        status = read_archive(in, zip);
        zip_discard(zip);
    } else {
        status = pdn_fail(in->error, PDN_ERROR_FORMAT, "%s is a broken NumPy archive: %s", in->name,
                          zip_error_strerror(&error));
    }
    zip_error_fini(&error);
    return status;
}

/* ---- writing --------------------------------------------------------------------------- */

/* What libzip reads an entry from: the header, then the item's field of each frame. */
typedef struct {
    char header[PDN_NPY_HEADER];
    size_t header_size;
    const void *const *fields; /* of this item, `step` apart */
    int64_t count, step;
    size_t field_size;
    size_t part, offset; /* part 0 is the header */
    zip_error_t error;
} Entry;

static const char *entry_part(const Entry *entry, size_t part, size_t *size) {
    *size = part == 0 ? entry->header_size : entry->field_size;
    return part == 0 ? entry->header : entry->fields[(int64_t)(part - 1) * entry->step];
}

static zip_int64_t entry_read(Entry *entry, char *to, size_t room) {
    size_t done = 0;
    while (done < room && entry->part <= (size_t)entry->count) {
        size_t size;
        const char *from = entry_part(entry, entry->part, &size);
        size_t now = size - entry->offset < room - done ? size - entry->offset : room - done;
        memcpy(to + done, from + entry->offset, now);
        done += now;
        entry->offset += now;
        if (entry->offset == size) {
            entry->part++;
            entry->offset = 0;
        }
    }
    return (zip_int64_t)done;
}

static zip_int64_t entry_source(void *user, void *data, zip_uint64_t count,
                                zip_source_cmd_t command) {
    Entry *entry = user;
    zip_stat_t *stat = data;
    switch (command) {
    case ZIP_SOURCE_OPEN: entry->part = entry->offset = 0; return 0;
    case ZIP_SOURCE_READ: return entry_read(entry, data, (size_t)count);
    case ZIP_SOURCE_CLOSE: return 0;
    case ZIP_SOURCE_STAT:
        zip_stat_init(stat);
        stat->size = entry->header_size + (zip_uint64_t)entry->count * entry->field_size;
        stat->valid = ZIP_STAT_SIZE;
        return sizeof *stat;
    case ZIP_SOURCE_ERROR: return zip_error_to_data(&entry->error, data, count);
    case ZIP_SOURCE_FREE: return 0;
    case ZIP_SOURCE_SUPPORTS:
        return zip_source_make_command_bitmap(ZIP_SOURCE_OPEN, ZIP_SOURCE_READ, ZIP_SOURCE_CLOSE,
                                              ZIP_SOURCE_STAT, ZIP_SOURCE_ERROR, ZIP_SOURCE_FREE,
                                              -1);
    default: zip_error_set(&entry->error, ZIP_ER_INVAL, 0); return -1;
    }
}

static void entry_init(Entry *entry, const PdnSave *save, int64_t item) {
    int64_t shape[5];
    int rank = 0;
    if (save->frames) { shape[rank++] = save->frames; }
    if (save->channels > 1) { shape[rank++] = save->channels; }
    for (int axis = save->rank - 1; axis >= 0; axis--) { shape[rank++] = save->extent[axis]; }
    zip_error_init(&entry->error);
    entry->header_size = pdn_npy_header(save->type, rank, shape, entry->header);
    entry->fields = save->data + item;
    entry->step = save->items ? save->items : 1;
    entry->count = save->frames ? save->frames : 1;
    entry->field_size = (size_t)(pdn_save_cells(save) * save->channels) * pdn_type_size(save->type);
}

static bool add_entry(zip_t *zip, Entry *entry, const char *name) {
    char file[112];
    snprintf(file, sizeof file, "%s.npy", name);
    for (char *c = file; *c; c++) { /* no folders within the archive */
        *c = *c == '/' || *c == '\\' ? '_' : *c;
    }
    zip_source_t *source = zip_source_function(zip, entry_source, entry);
    if (!source) { return false; }
    zip_int64_t i = zip_file_add(zip, file, source, ZIP_FL_ENC_UTF_8);
    if (i < 0) {
        zip_source_free(source);
        return false;
    }
    return zip_set_file_compression(zip, (zip_uint64_t)i, ZIP_CM_STORE, 0) == 0 &&
           zip_file_set_dostime(zip, (zip_uint64_t)i, 0, 1 << 5 | 1, 0) == 0; /* 1980-01-01 */
}

/* After a failure: libzip's words, or the system's. */
static PdnStatus not_written(PdnOutput *out, zip_error_t *error) {
    int reason = zip_error_code_system(error);
    bool system = zip_error_system_type(error) == ZIP_ET_SYS && reason;
    return pdn_fail(out->error, PDN_ERROR_OPEN, "%s cannot be written: %s", out->name,
                    system ? strerror(reason) : zip_error_strerror(error));
}

PdnStatus pdn_npz_write(PdnOutput *out, const PdnSave *save) {
    if (!out->temp) {
        return pdn_fail(out->error, PDN_ERROR_ARGUMENT,
                        "%s is a device: an npz is written to files only", out->name);
    }
    int64_t items = save->items ? save->items : 1;
    Entry *entries = calloc((size_t)items, sizeof *entries);
    int code = 0;
    zip_t *zip = entries ? zip_open(out->temp, ZIP_CREATE | ZIP_TRUNCATE, &code) : NULL;
    PdnStatus status = PDN_OK;
    if (!zip) {
        zip_error_t error;
        zip_error_init_with_code(&error, entries ? code : ZIP_ER_MEMORY);
        status = not_written(out, &error);
        zip_error_fini(&error);
    }
    for (int64_t item = 0; item < items && !status; item++) {
        PdnSave named = *save;
        named.items = items; /* one array, too, is arr_0 where it has no name */
        entry_init(&entries[item], save, item);
        if (!add_entry(zip, &entries[item], pdn_item_name(&named, item, "arr_").text)) {
            status = not_written(out, zip_get_error(zip));
        }
    }
    if (zip && (status || zip_close(zip) != 0)) {
        status = status ? status : not_written(out, zip_get_error(zip));
        zip_discard(zip);
    }
    free(entries);
    return status;
}
