/* pending.h: files that are written beside their targets and take their places together, when all
 * are whole. Private to the runtime. */
#ifndef PDN_PENDING_H
#define PDN_PENDING_H

#include "runtime/pdn.h"

#include <signal.h>

typedef struct {
    char *target; /* symbolic links followed */
    char *temp;   /* NULL: the target is a device and is written directly */
} PendingFile;

/* Made by pending_begin. */
typedef struct {
    PendingFile *files;
    size_t count, room;
    FILE *open; /* the last one, while it is written */
    const char *name;
    /* set after pending_begin: what is written is on the disk before it takes its target's place */
    bool durable;
    sigset_t mask; /* of signals, before */
    bool masked;
} Pending;

/* Until pending_discard, a limit on the size of files (RLIMIT_FSIZE) is an error of a write, as it should be,
 * and no signal that ends the program. */
void pending_begin(Pending *pending);
/* Begins the next file. `temp` belongs to the list; `path` must stay until it is closed. */
PdnStatus pending_open(Pending *pending, const char *path, FILE **file, const char **temp,
                       PdnError *error);
/* Ends it, and says whether everything reached it. */
PdnStatus pending_close(Pending *pending, PdnError *error);
/* Renames all files to their targets; of several, also removes what killed processes left beside them. */
PdnStatus pending_commit(Pending *pending, PdnError *error);
/* FNV-1a of a target's own name: its temporary files are told by it. */
unsigned pending_hash(const char *target);
/* Removes what processes that are no more left beside `path` when they were killed while they wrote it, or (`mine`)
 * another file of that folder, by its hash. */
typedef bool PendingMine(const void *context, unsigned hash);
void pending_clean(const char *path, PendingMine *mine, const void *context);
/* The end: removes what has not been renamed, frees the list. */
void pending_discard(Pending *pending);

#endif
