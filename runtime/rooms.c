/* rooms.c: rings of rows. A ring is mapped twice, one behind the other, so that a window of its rows is always one piece,
 * whatever row it begins with. To map them costs as much as some steps of a small grid, and pages that are new must be cleared:
 * they are kept, and those that are not asked for again go when there are too many. */
#define _GNU_SOURCE /* memfd_create */
#include "runtime/rooms.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    PAGE = 4096,           /* beside the rings, on either side: vectors of a row may reach there */
    KEPT_BYTES = 32 << 20, /* of rooms that nobody has */
};

struct PdnRooms {
    pthread_mutex_t lock;
    Room *kept; /* the last ones given back behind the others */
    int count, room;
};

static size_t bytes_of(const Room *r) { return (size_t)(r->ring_bytes * r->rings); }

static void unmap(const Room *r) { munmap(r->base - PAGE, 2 * bytes_of(r) + 2 * PAGE); }

static bool map(Room *r) {
    size_t ring = (size_t)r->ring_bytes, all = bytes_of(r);
    int file = memfd_create("rings", MFD_CLOEXEC);
    if (file < 0) return false;
    char *base = mmap(NULL, 2 * all + 2 * PAGE, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    bool there = base != MAP_FAILED, good = there && ftruncate(file, (off_t)all) == 0;
    r->base = there ? base + PAGE : NULL;
    for (size_t i = 0; good && i < 2 * (size_t)r->rings; i++)
        good = mmap(r->base + i * ring, ring, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file,
                    (off_t)(i / 2 * ring)) != MAP_FAILED;
    close(file);
    if (there && !good) unmap(r);
    return good;
}

PdnRooms *pdn_rooms_new(void) {
    PdnRooms *rooms = calloc(1, sizeof *rooms);
    if (rooms) pthread_mutex_init(&rooms->lock, NULL);
    return rooms;
}

void pdn_rooms_free(PdnRooms *rooms) {
    if (!rooms) return;
    for (int i = 0; i < rooms->count; i++) unmap(&rooms->kept[i]);
    free(rooms->kept);
    pthread_mutex_destroy(&rooms->lock);
    free(rooms);
}

static void remove_kept(PdnRooms *rooms, int i) {
    rooms->count--;
    for (; i < rooms->count; i++) rooms->kept[i] = rooms->kept[i + 1];
}

/* The one that was given back last, which may still be in a cache. */
static bool take_kept(PdnRooms *rooms, int64_t ring_bytes, int64_t rings, Room *taken) {
    for (int i = rooms->count; i-- > 0;) {
        if (rooms->kept[i].ring_bytes != ring_bytes || rooms->kept[i].rings < rings) continue;
        *taken = rooms->kept[i];
        remove_kept(rooms, i);
        return true;
    }
    return false;
}

bool rooms_take(PdnRooms *rooms, int64_t ring_bytes, int64_t rings, int count, Room *taken) {
    for (int i = 0; i < count; i++) {
        pthread_mutex_lock(&rooms->lock);
        bool found = take_kept(rooms, ring_bytes, rings, &taken[i]);
        pthread_mutex_unlock(&rooms->lock);
        if (found) continue;
        taken[i] = (Room){.ring_bytes = ring_bytes, .rings = rings};
        if (map(&taken[i])) continue;
        rooms_give(rooms, i, taken);
        return false;
    }
    return true;
}

/* False: there is no memory for the list. */
static bool keep(PdnRooms *rooms, const Room *room) {
    if (rooms->count == rooms->room) {
        int more = rooms->room ? 2 * rooms->room : 8;
        Room *kept = realloc(rooms->kept, sizeof *kept * (size_t)more);
        if (!kept) return false;
        rooms->kept = kept;
        rooms->room = more;
    }
    rooms->kept[rooms->count++] = *room;
    return true;
}

void rooms_give(PdnRooms *rooms, int count, const Room *taken) {
    size_t bytes = 0;
    pthread_mutex_lock(&rooms->lock);
    for (int i = 0; i < count; i++)
        if (!keep(rooms, &taken[i])) unmap(&taken[i]);
    for (int i = 0; i < rooms->count; i++) bytes += bytes_of(&rooms->kept[i]);
    while (rooms->count > count && bytes > KEPT_BYTES) {
        bytes -= bytes_of(&rooms->kept[0]);
        unmap(&rooms->kept[0]);
        remove_kept(rooms, 0);
    }
    pthread_mutex_unlock(&rooms->lock);
}
