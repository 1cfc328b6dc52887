/* pending.c: see pending.h. */
#define _GNU_SOURCE /* asprintf */
#include "runtime/pending.h"
#include "runtime/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static PdnStatus cannot(const char *path, int reason, PdnError *error) {
    return pdn_fail(error, reason == ENOMEM ? PDN_ERROR_MEMORY : PDN_ERROR_OPEN,
                    "%s cannot be written: %s", path, strerror(reason));
}

/* The folder of a path, with its slash; "" for the current one. */
static int folder_length(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? (int)(slash + 1 - path) : 0;
}

unsigned pending_hash(const char *target) {
    uint32_t hash = 2166136261u;
    for (const char *c = target + folder_length(target); *c; c++) {
        hash = (hash ^ (unsigned char)*c) * 16777619u;
    }
    return hash;
}

/* Creates a file of a new name in the target's folder. The mode is that of the old file, or the usual. */
static int create_beside(PendingFile *file, const struct stat *old) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    unsigned long nonce = (unsigned long)t.tv_nsec + (unsigned long)t.tv_sec * 1000000007ul;
    for (int attempt = 0; attempt < 1000; attempt++) {
        if (asprintf(&file->temp, "%.*s.pdn-%08x-%ld-%08lx.tmp", folder_length(file->target),
                     file->target, pending_hash(file->target), (long)getpid(),
                     (nonce + (unsigned long)attempt) & 0xffffffff) < 0) {
            file->temp = NULL;
            errno = ENOMEM;
            return -1;
        }
        int fd = open(file->temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (fd >= 0) {
            if (old) { (void)!fchmod(fd, old->st_mode & 0777); }
            return fd;
        }
        int reason = errno;
        free(file->temp);
        file->temp = NULL;
        errno = reason;
        if (errno != EEXIST) { return -1; }
    }
    return -1;
}

/* The last file of the list gets its target, its temporary file and a descriptor. */
static PdnStatus prepare(PendingFile *file, const char *path, int *fd, PdnError *error) {
    struct stat info;
    bool link = lstat(path, &info) == 0 && S_ISLNK(info.st_mode);
    file->target = link ? realpath(path, NULL) : strdup(path);
    if (!file->target) {
        if (link && errno == ENOENT) {
            return pdn_fail(error, PDN_ERROR_OPEN,
                            "%s is a symbolic link to a file that does not exist", path);
        }
        return cannot(path, errno, error);
    }
    bool exists = stat(file->target, &info) == 0;
    if (exists && S_ISDIR(info.st_mode)) {
        return pdn_fail(error, PDN_ERROR_OPEN, "%s cannot be written: a folder has that name",
                        path);
    }
    if (exists && !S_ISREG(info.st_mode)) {
        *fd = open(file->target, O_WRONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
        if (*fd >= 0) { /* a pipe without a reader must not hang; one with a reader may wait */
            fcntl(*fd, F_SETFL, fcntl(*fd, F_GETFL) & ~O_NONBLOCK);
        }
    } else if (exists && access(file->target, W_OK) != 0) {
        return cannot(path, errno, error);
    } else {
        *fd = create_beside(file, exists ? &info : NULL);
        if (*fd < 0 && errno == ENOENT && folder_length(file->target)) {
            return pdn_fail(error, PDN_ERROR_OPEN, "%s cannot be written: there is no folder %.*s",
                            path, folder_length(file->target), file->target);
        }
    }
    return *fd < 0 ? cannot(path, errno, error) : PDN_OK;
}

/* Blocks SIGXFSZ for this thread, which such a write would get. */
void pending_begin(Pending *pending) {
    *pending = (Pending){0};
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGXFSZ);
    pending->masked = pthread_sigmask(SIG_BLOCK, &set, &pending->mask) == 0 &&
                      !sigismember(&pending->mask, SIGXFSZ);
}

static void unmask(Pending *pending) {
    if (!pending->masked) { return; }
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGXFSZ);
    const struct timespec none = {0, 0};
    while (sigtimedwait(&set, NULL, &none) == SIGXFSZ) {} /* the ones that came */
    pthread_sigmask(SIG_SETMASK, &pending->mask, NULL);
    pending->masked = false;
}

PdnStatus pending_open(Pending *pending, const char *path, FILE **file, const char **temp,
                       PdnError *error) {
    *file = NULL;
    *temp = NULL;
    if (pending->count == pending->room) {
        size_t room = pending->room ? 2 * pending->room : 8;
        PendingFile *files = realloc(pending->files, room * sizeof *files);
        if (!files) { return cannot(path, ENOMEM, error); }
        pending->files = files;
        pending->room = room;
    }
    PendingFile *last = &pending->files[pending->count++];
    *last = (PendingFile){0};
    int fd = -1;
    PdnStatus status = prepare(last, path, &fd, error);
    if (status) { return status; }
    pending->open = fdopen(fd, "wb");
    if (!pending->open) {
        int reason = errno;
        close(fd);
        return cannot(path, reason, error);
    }
    pending->name = path;
    *file = pending->open;
    *temp = last->temp;
    return PDN_OK;
}

PdnStatus pending_close(Pending *pending, PdnError *error) {
    FILE *file = pending->open;
    pending->open = NULL;
    bool failed = ferror(file) != 0;
    int reason = errno; /* of the write that failed, where one did */
    if (!failed) {
        errno = 0;
        failed = fflush(file) != 0;
        reason = errno;
    }
    if (!failed && pending->durable && pending->files[pending->count - 1].temp) {
        failed = fsync(fileno(file)) != 0;
        reason = errno;
    }
    if (fclose(file) != 0 && !failed) {
        failed = true;
        reason = errno;
    }
    return failed ? cannot(pending->name, reason ? reason : EIO, error) : PDN_OK;
}

/* The new name, too, is to be on the disk. Where a folder cannot be opened, or cannot do that, nothing more can
 * be done: the file is whole under the old name or the new one. */
static PdnStatus sync_folder(const char *target, PdnError *error) {
    int length = folder_length(target);
    char *folder = length ? strndup(target, (size_t)length) : strdup(".");
    if (!folder) { return cannot(target, ENOMEM, error); }
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    free(folder);
    if (fd < 0) { return PDN_OK; }
    int reason = fsync(fd) == 0 ? 0 : errno;
    close(fd);
    return reason == EIO || reason == ENOSPC || reason == EDQUOT ? cannot(target, reason, error)
                                                                 : PDN_OK;
}

/* Removes the temporary files in the target's folder whose hash is meant and whose process is no more. */
static void clean(const char *target, PendingMine *mine, const void *context) {
    int length = folder_length(target);
    char *name = length ? strndup(target, (size_t)length) : strdup(".");
    DIR *folder = name ? opendir(name) : NULL;
    for (struct dirent *entry; folder && (entry = readdir(folder));) {
        unsigned hash, nonce;
        long pid;
        int end = 0;
        if (sscanf(entry->d_name, ".pdn-%8x-%ld-%8x.tmp%n", &hash, &pid, &nonce, &end) == 3 &&
            end && !entry->d_name[end] && pid > 0) {
            /* in containers this process may have the number of the one before */
            bool gone = pid == getpid() || (kill((pid_t)pid, 0) != 0 && errno == ESRCH);
            if (gone && mine(context, hash)) { unlinkat(dirfd(folder), entry->d_name, 0); }
        }
    }
    if (folder) { closedir(folder); }
    free(name);
}

static bool is_hash(const void *context, unsigned hash) {
    return hash == *(const unsigned *)context;
}

static bool is_one_of(const void *context, unsigned hash) {
    const Pending *pending = context;
    for (size_t i = 0; i < pending->count; i++) {
        if (pending_hash(pending->files[i].target) == hash) { return true; }
    }
    return false;
}

PdnStatus pending_commit(Pending *pending, PdnError *error) {
    for (size_t i = 0; i < pending->count; i++) {
        PendingFile *file = &pending->files[i];
        if (file->temp) {
            if (rename(file->temp, file->target) != 0) {
                return cannot(file->target, errno, error);
            }
            free(file->temp);
            file->temp = NULL;
            if (pending->durable) {
                PdnStatus status = sync_folder(file->target, error);
                if (status) { return status; }
            }
        }
    }
    /* which files a series has is not known before; they share a folder */
    if (pending->count > 1) { clean(pending->files[0].target, is_one_of, pending); }
    return PDN_OK;
}

void pending_clean(const char *path, PendingMine *mine, const void *context) {
    char *target = realpath(path, NULL); /* a link is followed, as when it is written */
    unsigned hash = pending_hash(target ? target : path);
    clean(target ? target : path, mine ? mine : is_hash, mine ? context : &hash);
    free(target);
}

void pending_discard(Pending *pending) {
    if (pending->open) { fclose(pending->open); }
    for (size_t i = 0; i < pending->count; i++) {
        if (pending->files[i].temp) { unlink(pending->files[i].temp); }
        free(pending->files[i].temp);
        free(pending->files[i].target);
    }
    free(pending->files);
    unmask(pending);
    *pending = (Pending){0};
}
