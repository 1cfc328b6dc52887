/* Rings of time blocking: mapped twice, kept from one pass to the next, shared by threads. And memory for numbers. */
#include "runtime/rooms.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { RING = 8192 };

Test(runtime_rooms, what_is_written_behind_a_ring_is_at_its_beginning) {
    PdnRooms *rooms = pdn_rooms_new();
    Room room;
    cr_assert(rooms_take(rooms, RING, 3, 1, &room));
    /* that two addresses are one place is no business of the compiler */
    volatile char *at = room.base;
    for (int i = 0; i < 3; i++) {
        at[2 * i * RING] = (char)(1 + i);
        at[(2 * i + 2) * RING - 1] = (char)(4 + i);
    }
    for (int i = 0; i < 3; i++)
        cr_assert(at[(2 * i + 1) * RING] == 1 + i && at[(2 * i + 1) * RING - 1] == 4 + i);
    at[-1] = at[6 * RING] = 9; /* beside the rings, too, something is there */
    rooms_give(rooms, 1, &room);
    pdn_rooms_free(rooms);
}

Test(runtime_rooms, are_used_again) {
    PdnRooms *rooms = pdn_rooms_new();
    Room room[2], fewer[2], other;
    cr_assert(rooms_take(rooms, RING, 4, 2, room));
    cr_assert(room[0].base != room[1].base);
    rooms_give(rooms, 2, room);
    cr_assert(rooms_take(rooms, RING, 3, 2, fewer), "rooms of more rings will do");
    cr_assert(fewer[0].base == room[1].base && fewer[1].base == room[0].base, "the last one first");
    cr_assert(rooms_take(rooms, 2 * RING, 3, 1, &other));
    cr_assert(other.ring_bytes == 2 * RING);
    rooms_give(rooms, 2, fewer);
    rooms_give(rooms, 1, &other);
    cr_assert(rooms_take(rooms, RING, 5, 1, &other), "of fewer rings will not");
    cr_assert(other.rings == 5 && other.base != room[0].base && other.base != room[1].base);
    memset(other.base, 1, 10 * RING);
    rooms_give(rooms, 1, &other);
    pdn_rooms_free(rooms);
}

Test(runtime_rooms, too_many_are_not_kept) {
    PdnRooms *rooms = pdn_rooms_new();
    Room first, room;
    cr_assert(rooms_take(rooms, RING, 1, 1, &first));
    rooms_give(rooms, 1, &first);
    for (int i = 1; i <= 80; i++) { /* 26 MB of some size, and 80 others */
        cr_assert(rooms_take(rooms, (100 + i) * 4096, 1, 1, &room));
        rooms_give(rooms, 1, &room);
    }
    cr_assert(rooms_take(rooms, 101 * 4096, 1, 1, &room));
    cr_assert(rooms_take(rooms, 180 * 4096, 1, 1, &first));
    memset(first.base, 1, 2 * 180 * 4096);
    rooms_give(rooms, 1, &room);
    rooms_give(rooms, 1, &first);
    pdn_rooms_free(rooms);
}

Test(runtime_rooms, that_cannot_be_had_are_refused) {
    PdnRooms *rooms = pdn_rooms_new();
    Room room[3];
    cr_assert(!rooms_take(rooms, INT64_C(1) << 58, 1, 3, room));
    cr_assert(rooms_take(rooms, RING, 1, 3, room));
    rooms_give(rooms, 3, room);
    pdn_rooms_free(rooms);
}

static void *take_and_give(void *rooms) {
    for (int i = 0; i < 300; i++) {
        Room room[2];
        bool taken = rooms_take(rooms, RING * (1 + i % 3), 2, 2, room);
        cr_assert(taken);
        for (int k = 0; k < 2; k++) *(volatile char *)room[k].base = (char)i;
        for (int k = 0; k < 2; k++)
            cr_assert(*(volatile char *)(room[k].base + room[k].ring_bytes) == (char)i,
                      "nobody else has it");
        rooms_give(rooms, 2, room);
    }
    return NULL;
}

Test(runtime_rooms, of_several_threads) {
    PdnRooms *rooms = pdn_rooms_new();
    pthread_t thread[4];
    for (int i = 0; i < 4; i++)
        cr_assert(pthread_create(&thread[i], NULL, take_and_give, rooms) == 0);
    for (int i = 0; i < 4; i++) pthread_join(thread[i], NULL);
    pdn_rooms_free(rooms);
}

Test(runtime_memory, lies_at_lines_and_huge_pages) {
    const size_t bytes[] = {0, 1, 100, 100000, 4 << 20, 33 << 20};
    for (size_t i = 0; i < sizeof bytes / sizeof *bytes; i++) {
        char *memory = pdn_memory_new(bytes[i]);
        cr_assert(memory != NULL);
        cr_assert((uintptr_t)memory % (bytes[i] >= 4 << 20 ? 2 << 20 : 64) == 0);
        if (bytes[i]) memory[bytes[i] - 1] = 1;
        free(memory);
    }
}
