/* base: arena, vector, interned names, hash. Knows nothing of the language.
 *
 * Memory that a stage makes lives in its arena and goes with it. Running out of
 * memory inside an arena or a vector writes a message and aborts, so callers never
 * see a null pointer. Texts and vectors hold at most 2^31 - 1 items. */
#ifndef PDN_BASE_H
#define PDN_BASE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- memory ---------------------------------------------------------- */

void *mem_alloc(size_t size);               /* never null; contents undefined */
void *mem_resize(void *block, size_t size); /* never null */
void mem_free(void *block);

typedef struct Arena Arena;
Arena *arena_new(void);
void arena_free(Arena *arena);
void *arena_alloc(Arena *arena, size_t size); /* zeroed, aligned for any type */
void *arena_copy(Arena *arena, const void *from, size_t size);
char *arena_text(Arena *arena, const char *from, size_t length); /* adds the 0 */
char *arena_format(Arena *arena, const char *format, ...) __attribute__((format(printf, 2, 3)));
char *arena_vformat(Arena *arena, const char *format, va_list args);
/* *block, from mem_alloc (a vector's data, say), is freed with the arena; `block` must lie in the arena. It may grow
 * and move in the meantime. */
void arena_adopt(Arena *arena, void **block);
size_t arena_bytes(const Arena *arena); /* taken from the system so far */
#define ARENA_NEW(arena, type) ((type *)arena_alloc((arena), sizeof(type)))
#define ARENA_ARRAY(arena, type, count)                                                            \
    ((type *)arena_alloc((arena), sizeof(type) * (size_t)(count)))

/* ---- growing arrays --------------------------------------------------- */

/* VEC(T) is {T *data; uint32_t len, cap;}; zero-initialised is empty. */
#define VEC(T)                                                                                     \
    struct {                                                                                       \
        T *data;                                                                                   \
        uint32_t len, cap;                                                                         \
    }
void vec_grow(void **data, uint32_t *cap, uint32_t need, size_t item);
#define vec_reserve(v, n)                                                                          \
    ((n) > (v)->cap ? vec_grow((void **)&(v)->data, &(v)->cap, (uint32_t)(n), sizeof *(v)->data)   \
                    : (void)0)
#define vec_push(v, item)                                                                          \
    do {                                                                                           \
        vec_reserve((v), (v)->len + 1);                                                            \
        (v)->data[(v)->len++] = (item);                                                            \
    } while (0)
#define vec_last(v) ((v)->data[(v)->len - 1])
#define vec_pop(v)  ((v)->data[--(v)->len])
#define vec_free(v) (mem_free((v)->data), (v)->data = NULL, (v)->len = (v)->cap = 0)

/* A text that grows; `data` ends with 0 as soon as something was added. */
typedef VEC(char) Text;
void text_add(Text *text, const char *bytes, size_t length);
void text_puts(Text *text, const char *string);
void text_printf(Text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
void text_vprintf(Text *text, const char *format, va_list args);
void text_free(Text *text);
/* What printf would write, from mem_alloc: messages that outlive every arena. */
char *text_message(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The code point at `at` and its length in bytes; UINT32_MAX and length 1 where the bytes are not
 * valid UTF-8 (overlong forms, surrogates and numbers above 10FFFF included). `left` >= 1. */
uint32_t utf8_decode(const char *at, size_t left, uint32_t *length);

/* ---- names ------------------------------------------------------------- */

/* An interned name: equal names have equal numbers; 0 is no name. */
typedef uint32_t Name;
typedef struct Names Names;
Names *names_new(void);
void names_free(Names *names);
Name names_intern(Names *names, const char *bytes, size_t length);
Name names_of(Names *names, const char *string);
const char *names_text(const Names *names, Name name); /* "" for 0 */

/* ---- hash --------------------------------------------------------------- */

uint64_t hash_bytes(uint64_t seed, const void *bytes, size_t length); /* FNV-1a, then mixed */
uint64_t hash_mix(uint64_t a, uint64_t b);

/* Map from uint64 keys to uint32 values; no key is removed. */
typedef struct {
    uint64_t *keys;
    uint32_t *values;
    uint32_t len, cap; /* cap is 0 or a power of two */
} Map;
bool map_get(const Map *map, uint64_t key, uint32_t *value);
void map_set(Map *map, uint64_t key, uint32_t value);
void map_copy(Map *to, const Map *from); /* `to` is empty before */
void map_free(Map *map);

/* ---- clocks -------------------------------------------------------------- */

double clock_seconds(void);     /* since some moment; never goes back */
double clock_cpu_seconds(void); /* of this process, all threads */

/* Edit distance (Damerau-Levenshtein, adjacent swaps) of two strings, at most `limit`+1. */
uint32_t edit_distance(const char *a, const char *b, uint32_t limit);

#endif
