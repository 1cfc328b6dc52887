/* The cache of compiled programs: one file a program, `<key>.pdnc`, written aside and renamed, so that
 * whoever reads sees a whole entry or none. An entry says its key, size and checksum; what does not agree
 * is removed and made again. A full disk or a folder that cannot be written costs nothing but time. */
#define _GNU_SOURCE
#include "compiler/load/load.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define CACHE_MAGIC UINT64_C(0x3165686361436e70) /* "pnCache1" */
#define CACHE_LIMIT (INT64_C(256) << 20)
#define ENTRY_LIMIT (INT64_C(256) << 20)

typedef struct {
    uint64_t magic, key, size, sum;
} Header;

const char *code_cache_folder(Arena *arena) {
    const char *given = getenv("PDN_CACHE"), *home = getenv("XDG_CACHE_HOME");
    if (given && *given) return arena_format(arena, "%s", given);
    if (home && *home) return arena_format(arena, "%s/pdn", home);
    home = getenv("HOME");
    return home && *home ? arena_format(arena, "%s/.cache/pdn", home) : NULL;
}

static bool read_all(int file, void *to, size_t size) {
    for (size_t done = 0; done < size;) {
        ssize_t n = read(file, (char *)to + done, size - done);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return false;
        done += (size_t)n;
    }
    return true;
}

static bool write_all(int file, const void *from, size_t size) {
    for (size_t done = 0; done < size;) {
        ssize_t n = write(file, (const char *)from + done, size - done);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return false;
        done += (size_t)n;
    }
    return true;
}

/* The folder and those above it; true when it is there in the end. */
static bool make_folder(const char *folder) {
    char path[4096];
    size_t length = strlen(folder);
    if (length == 0 || length >= sizeof path) return false;
    memcpy(path, folder, length + 1);
    for (size_t i = 1; i <= length; i++)
        if (path[i] == '/' || path[i] == 0) {
            char kept = path[i];
            path[i] = 0;
            if (mkdir(path, 0700) != 0 && errno != EEXIST) return false;
            path[i] = kept;
        }
    return true;
}

/* Seen today: entries that are used stay. */
static void touch(int file, const struct stat *info) {
    if (time(NULL) - info->st_mtime > 86400) futimens(file, NULL);
}

void *cache_find(const char *folder, uint64_t key, size_t *size) {
    char path[4200];
    struct stat info;
    if (snprintf(path, sizeof path, "%s/%016" PRIx64 ".pdnc", folder, key) >= (int)sizeof path)
        return NULL;
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW |
                              O_NONBLOCK); /* a fifo keeps nobody waiting */
    if (file < 0) return NULL;
    Header h;
    void *bytes = NULL;
    bool sound = fstat(file, &info) == 0 && S_ISREG(info.st_mode) && info.st_uid == geteuid() &&
                 read_all(file, &h, sizeof h) && h.magic == CACHE_MAGIC && h.key == key &&
                 h.size < ENTRY_LIMIT && (uint64_t)info.st_size == h.size + sizeof h;
    if (sound) {
        bytes = mem_alloc(h.size + 1);
        sound = read_all(file, bytes, h.size) && hash_bytes(key, bytes, h.size) == h.sum;
    }
    if (sound) touch(file, &info);
    close(file);
    if (sound) {
        *size = h.size;
        return bytes;
    }
    mem_free(bytes);
    unlink(path);
    return NULL;
}

/* ---- keeping it small ---------------------------------------------------------------------- */

typedef struct {
    char name[256];
    int64_t size;
    time_t used;
} Entry;

static int by_age(const void *a, const void *b) {
    const Entry *x = a, *y = b;
    return x->used < y->used ? -1 : x->used > y->used;
}

/* Removes the oldest entries until four fifths of the limit are left; and what broken runs left behind. */
static void clean(const char *folder) {
    DIR *list = opendir(folder);
    if (!list) return;
    VEC(Entry) all = {0};
    int64_t total = 0;
    time_t now = time(NULL);
    for (struct dirent *d; (d = readdir(list));) {
        struct stat info;
        bool entry = strstr(d->d_name, ".pdnc") != NULL;
        if (!entry || strlen(d->d_name) >= sizeof(Entry){0}.name ||
            fstatat(dirfd(list), d->d_name, &info, AT_SYMLINK_NOFOLLOW) != 0)
            continue;
        if (strstr(d->d_name, ".tmp")) {
            if (now - info.st_mtime > 3600) unlinkat(dirfd(list), d->d_name, 0);
            continue;
        }
        Entry e = {.size = info.st_size, .used = info.st_mtime};
        strcpy(e.name, d->d_name);
        total += e.size;
        vec_push(&all, e);
    }
    if (total > CACHE_LIMIT) {
        qsort(all.data, all.len, sizeof *all.data, by_age);
        for (uint32_t i = 0; i < all.len && total > CACHE_LIMIT / 5 * 4; i++)
            if (unlinkat(dirfd(list), all.data[i].name, 0) == 0) total -= all.data[i].size;
    }
    vec_free(&all);
    closedir(list);
}

void cache_store(const char *folder, uint64_t key, const void *object, size_t size) {
    char path[4200], aside[4300];
    if (!make_folder(folder) ||
        snprintf(path, sizeof path, "%s/%016" PRIx64 ".pdnc", folder, key) >= (int)sizeof path)
        return;
    snprintf(aside, sizeof aside, "%s.tmpXXXXXX", path);
    int file = mkostemp(aside, O_CLOEXEC);
    if (file < 0) return;
    Header h = {CACHE_MAGIC, key, size, hash_bytes(key, object, size)};
    bool ok = write_all(file, &h, sizeof h) && write_all(file, object, size);
    ok = close(file) == 0 && ok;
    if (!ok || rename(aside, path) != 0)
        unlink(aside);
    else if (key % 8 == 0) /* now and then */
        clean(folder);
}
