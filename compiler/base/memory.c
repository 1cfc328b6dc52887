/* Blocks from the system and the arena. */
#include "compiler/base/base.h"

#include <stdalign.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static _Noreturn void out_of_memory(size_t size) {
    fprintf(stderr, "pdn: out of memory (%zu bytes wanted)\n", size);
    abort();
}

void *mem_alloc(size_t size) {
    void *block = malloc(size ? size : 1);
    if (!block) { out_of_memory(size); }
    return block;
}

void *mem_resize(void *block, size_t size) {
    void *moved = realloc(block, size ? size : 1);
    if (!moved) { out_of_memory(size); }
    return moved;
}

void mem_free(void *block) { free(block); }

/* ---- arena ------------------------------------------------------------ */

enum { ALIGNMENT = alignof(max_align_t), FIRST_CHUNK = 4 << 10, LARGEST_CHUNK = 1 << 20 };

typedef struct Chunk {
    struct Chunk *next;
    alignas(max_align_t) char data[];
} Chunk;

typedef struct Adopted Adopted;
struct Adopted {
    Adopted *next;
    void **block;
};

struct Arena {
    Adopted *adopted;
    Chunk *chunks;
    char *at, *end; /* the free part of the newest chunk */
    size_t chunk_size, taken;
};

Arena *arena_new(void) {
    Arena *arena = mem_alloc(sizeof *arena);
    *arena = (Arena){.chunk_size = FIRST_CHUNK};
    return arena;
}

void arena_free(Arena *arena) {
    if (!arena) { return; }
    for (Adopted *a = arena->adopted; a; a = a->next) { mem_free(*a->block); }
    for (Chunk *chunk = arena->chunks, *next; chunk; chunk = next) {
        next = chunk->next;
        free(chunk);
    }
    free(arena);
}

void arena_adopt(Arena *arena, void **block) {
    Adopted *a = arena_alloc(arena, sizeof *a);
    *a = (Adopted){arena->adopted, block};
    arena->adopted = a;
}

static char *add_chunk(Arena *arena, size_t size) {
    /* calloc: the system's fresh pages are zero already. */
    Chunk *chunk = size <= SIZE_MAX - sizeof(Chunk) ? calloc(1, sizeof(Chunk) + size) : NULL;
    if (!chunk) { out_of_memory(size); }
    chunk->next = arena->chunks;
    arena->chunks = chunk;
    arena->taken += sizeof(Chunk) + size;
    return chunk->data;
}

void *arena_alloc(Arena *arena, size_t size) {
    if (size > SIZE_MAX - ALIGNMENT) { out_of_memory(size); }
    size = (size + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
    if (size > (size_t)(arena->end - arena->at)) {
        if (size > arena->chunk_size / 4) {
            return add_chunk(arena, size); /* a block of its own; the open chunk stays open */
        }
        arena->at = add_chunk(arena, arena->chunk_size);
        arena->end = arena->at + arena->chunk_size;
        if (arena->chunk_size < LARGEST_CHUNK) { arena->chunk_size *= 2; }
    }
    char *block = arena->at;
    if (!block) { /* no bytes wanted of an arena that has none yet */
        return add_chunk(arena, ALIGNMENT);
    }
    arena->at += size;
    return block;
}

void *arena_copy(Arena *arena, const void *from, size_t size) {
    void *block = arena_alloc(arena, size);
    if (size) { memcpy(block, from, size); }
    return block;
}

char *arena_text(Arena *arena, const char *from, size_t length) {
    char *text = arena_alloc(arena, length + 1);
    if (length) { memcpy(text, from, length); }
    return text;
}

char *arena_vformat(Arena *arena, const char *format, va_list args) {
    va_list again;
    va_copy(again, args);
    int length = vsnprintf(NULL, 0, format, again);
    va_end(again);
    if (length < 0) { length = 0; }
    char *text = arena_alloc(arena, (size_t)length + 1);
    vsnprintf(text, (size_t)length + 1, format, args);
    return text;
}

char *arena_format(Arena *arena, const char *format, ...) {
    va_list args;
    va_start(args, format);
    char *text = arena_vformat(arena, format, args);
    va_end(args);
    return text;
}

size_t arena_bytes(const Arena *arena) { return arena->taken; }

/* ---- growing arrays ----------------------------------------------------- */

void vec_grow(void **data, uint32_t *cap, uint32_t need, size_t item) {
    uint64_t wanted = *cap ? 2 * (uint64_t)*cap : 8;
    if (wanted < need) { wanted = need; }
    /* Half of the numbers, so that len + 1 never wraps. */
    if (need > INT32_MAX || wanted * item > SIZE_MAX / 2) { out_of_memory((size_t)need * item); }
    if (wanted > INT32_MAX) { wanted = INT32_MAX; }
    *data = mem_resize(*data, (size_t)wanted * item);
    *cap = (uint32_t)wanted;
}
