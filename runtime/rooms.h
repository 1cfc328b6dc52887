/* rooms: the rings of time blocking, which are dear to make and alike from one pass to the next. Private to runtime. */
#ifndef PDN_ROOMS_H
#define PDN_ROOMS_H

#include "runtime/pdn.h"

/* Whole pages: `rings` rings of so many bytes, each of them mapped twice, one behind the other. */
typedef struct {
    char *base;
    int64_t ring_bytes, rings;
} Room;

/* Takes `count` rooms of at least so many rings, of `rooms` or new ones; what is in them is anything. False: not so many can be had,
 * and none is taken. By any thread. */
bool rooms_take(PdnRooms *rooms, int64_t ring_bytes, int64_t rings, int count, Room *taken);
void rooms_give(PdnRooms *rooms, int count, const Room *taken);

#endif
