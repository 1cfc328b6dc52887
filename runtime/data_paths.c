/* data_paths.c: the pictures that a folder or a pattern names. */
#define _GNU_SOURCE /* asprintf */
#include "runtime/data.h"

#include <dirent.h>
#include <errno.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void pdn_paths_free(PdnPaths *paths) {
    for (int64_t i = 0; i < paths->count; i++) { free(paths->paths[i]); }
    free(paths->paths);
    *paths = (PdnPaths){0};
}

/* What was found, for the message when none of it is a picture. */
typedef struct {
    int64_t files, folders;
    char first[256]; /* the first by name of the files that are no pictures */
} Others;

static void note_other(Others *others, const char *name) {
    others->files++;
    if (others->files == 1 || strcmp(name, others->first) < 0) {
        snprintf(others->first, sizeof others->first, "%s", name);
    }
}

static bool is_folder(const char *path) {
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

/* Takes over `path` (NULL: there was no memory for it). */
static PdnStatus add(PdnPaths *paths, char *path, const char *set, int64_t most, PdnError *error) {
    if (path && paths->count == most) {
        free(path);
        return pdn_fail(error, PDN_ERROR_LIMIT,
                        "%s holds more than %lld pictures, which is the limit: sort them into "
                        "folders, or give a pattern that matches fewer",
                        set, (long long)most);
    }
    if (path && paths->count == paths->room) {
        int64_t room = paths->room ? 2 * paths->room : 64;
        char **grown = realloc(paths->paths, (size_t)room * sizeof *grown);
        if (grown) {
            paths->paths = grown;
            paths->room = room;
        }
    }
    if (!path || paths->count == paths->room) {
        free(path);
        return pdn_fail(error, PDN_ERROR_MEMORY, "no memory for the names of the pictures of %s",
                        set);
    }
    paths->paths[paths->count++] = path;
    return PDN_OK;
}

static PdnStatus from_folder(const char *folder, int64_t most, PdnPaths *paths, Others *others,
                             PdnError *error) {
    DIR *dir = opendir(folder);
    if (!dir) {
        return pdn_fail(error, PDN_ERROR_OPEN, "%s cannot be opened: %s", folder, strerror(errno));
    }
    int length = (int)strlen(folder);
    while (length > 1 && folder[length - 1] == '/') { length--; }
    const char *slash = folder[length - 1] == '/' ? "" : "/";
    PdnStatus status = PDN_OK;
    errno = 0;
    for (struct dirent *entry; !status && (entry = readdir(dir)); errno = 0) {
        if (entry->d_name[0] == '.') { continue; }
        char *path;
        if (asprintf(&path, "%.*s%s%s", length, folder, slash, entry->d_name) < 0) { path = NULL; }
        if (path && is_folder(path)) {
            others->folders++;
            free(path);
        } else if (path && !pdn_picture_named(path)) {
            note_other(others, entry->d_name);
            free(path);
        } else {
            status = add(paths, path, folder, most, error);
        }
    }
    if (!status && errno) {
        status = pdn_fail(error, PDN_ERROR_OPEN, "%s cannot be read: %s", folder, strerror(errno));
    }
    closedir(dir);
    return status;
}

/* The folders at the beginning of a pattern that exist by that name are no part of it: they may have
 * brackets in their names. */
static char *literal_beginning(const char *pattern) {
    char *copy = strdup(pattern), *escaped = malloc(2 * strlen(pattern) + 1);
    if (!copy || !escaped) {
        free(copy);
        free(escaped);
        return NULL;
    }
    size_t literal = 0;
    for (char *slash = copy; (slash = strchr(slash, '/')); slash++) {
        *slash = 0;
        bool exists = slash == copy || access(copy, F_OK) == 0;
        *slash = '/';
        if (!exists) { break; }
        literal = (size_t)(slash - copy) + 1;
    }
    char *to = escaped;
    for (size_t i = 0; pattern[i]; i++) {
        if (i < literal && strchr("*?[\\", pattern[i])) { *to++ = '\\'; }
        *to++ = pattern[i];
    }
    *to = 0;
    free(copy);
    return escaped;
}

static PdnStatus from_pattern(const char *pattern, int64_t most, PdnPaths *paths, Others *others,
                              PdnError *error) {
    char *escaped = literal_beginning(pattern);
    glob_t found = {0};
    int result = escaped ? glob(escaped, GLOB_NOSORT, NULL, &found) : GLOB_NOSPACE;
    free(escaped);
    PdnStatus status = PDN_OK;
    if (result == GLOB_NOMATCH) {
        char list[64];
        status = pdn_fail(error, PDN_ERROR_OPEN,
                          "no file matches %s; pictures are files that end in one of: %s", pattern,
                          pdn_picture_extensions(list, sizeof list));
    } else if (result != 0) {
        status = pdn_fail(error, PDN_ERROR_MEMORY, "%s cannot be searched: out of memory", pattern);
    }
    for (size_t i = 0; i < found.gl_pathc && !status; i++) {
        const char *path = found.gl_pathv[i];
        if (is_folder(path)) {
            others->folders++;
        } else if (!pdn_picture_named(path)) {
            note_other(others, path);
        } else {
            status = add(paths, strdup(path), pattern, most, error);
        }
    }
    globfree(&found);
    return status;
}

static PdnStatus no_pictures(const char *path, const Others *others, PdnError *error) {
    char list[64], what[400] = "it is empty";
    pdn_picture_extensions(list, sizeof list);
    if (others->files) {
        snprintf(what, sizeof what, "it has %lld other file%s, such as %s",
                 (long long)others->files, others->files == 1 ? "" : "s", others->first);
    } else if (others->folders) {
        snprintf(what, sizeof what,
                 "it has %lld folder%s, which %s not searched: give one of them, "
                 "or the pattern %.200s/*/*.png",
                 (long long)others->folders, others->folders == 1 ? "" : "s",
                 others->folders == 1 ? "is" : "are", path);
    }
    return pdn_fail(error, PDN_ERROR_OPEN,
                    "%s holds no pictures (files that end in one of: %s): %s", path, list, what);
}

static int by_name(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

PdnStatus pdn_picture_paths(const char *path, int64_t most, PdnPaths *paths, PdnError *error) {
    *paths = (PdnPaths){0};
    struct stat info;
    Others others = {0};
    PdnStatus status;
    if (stat(path, &info) == 0) {
        if (!S_ISDIR(info.st_mode)) {
            return pdn_fail(error, PDN_ERROR_OPEN,
                            "%s is a file: images() takes a folder of pictures, or a pattern such "
                            "as \"photos/*.png\"; image() reads a single one",
                            path);
        }
        status = from_folder(path, most, paths, &others, error);
    } else if (errno == ENOENT && strpbrk(path, "*?[")) {
        status = from_pattern(path, most, paths, &others, error);
    } else {
        return pdn_fail(error, PDN_ERROR_OPEN, "%s, a folder of pictures, cannot be opened: %s",
                        path, strerror(errno));
    }
    if (!status && paths->count == 0) { status = no_pictures(path, &others, error); }
    if (status) {
        pdn_paths_free(paths);
        return status;
    }
    qsort(paths->paths, (size_t)paths->count, sizeof *paths->paths, by_name);
    return PDN_OK;
}
