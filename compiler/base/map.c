/* Hashes, the map of numbers, and the edit distance. */
#include "compiler/base/base.h"

#include <string.h>

uint64_t hash_mix(uint64_t a, uint64_t b) {
    /* The finisher of MurmurHash3 over a combination in which the order counts. */
    uint64_t h = a * UINT64_C(0x9E3779B97F4A7C15) + (b ^ (b >> 29)) + UINT64_C(0x632BE59BD9B4E019);
    h ^= h >> 33;
    h *= UINT64_C(0xFF51AFD7ED558CCD);
    h ^= h >> 33;
    h *= UINT64_C(0xC4CEB9FE1A85EC53);
    h ^= h >> 33;
    return h;
}

uint64_t hash_bytes(uint64_t seed, const void *bytes, size_t length) {
    const unsigned char *at = bytes;
    uint64_t h = UINT64_C(0xCBF29CE484222325) ^ seed;
    for (size_t i = 0; i < length; i++) { h = (h ^ at[i]) * UINT64_C(0x100000001B3); }
    return hash_mix(h, length);
}

/* ---- map --------------------------------------------------------------- */

/* A slot with key 0 is free; the value of the key 0 itself lies behind the slots, at
 * values[cap], and values[cap + 1] says whether there is one. */

static uint32_t slot_of(const Map *map, uint64_t key) {
    uint32_t slot = (uint32_t)hash_mix(key, 0) & (map->cap - 1);
    while (map->keys[slot] && map->keys[slot] != key) { slot = (slot + 1) & (map->cap - 1); }
    return slot;
}

bool map_get(const Map *map, uint64_t key, uint32_t *value) {
    if (!map->cap) { return false; }
    uint32_t slot = key ? slot_of(map, key) : map->cap;
    if (key ? !map->keys[slot] : !map->values[map->cap + 1]) { return false; }
    if (value) { *value = map->values[slot]; }
    return true;
}

static void map_grow(Map *map) {
    Map old = *map;
    map->cap = old.cap ? old.cap * 2 : 16;
    map->keys = mem_alloc(map->cap * sizeof *map->keys);
    map->values = mem_alloc((map->cap + (size_t)2) * sizeof *map->values);
    memset(map->keys, 0, map->cap * sizeof *map->keys);
    map->values[map->cap] = old.cap ? old.values[old.cap] : 0;
    map->values[map->cap + 1] = old.cap ? old.values[old.cap + 1] : 0;
    for (uint32_t i = 0; i < old.cap; i++) {
        if (old.keys[i]) {
            uint32_t slot = slot_of(map, old.keys[i]);
            map->keys[slot] = old.keys[i];
            map->values[slot] = old.values[i];
        }
    }
    map_free(&old);
}

void map_set(Map *map, uint64_t key, uint32_t value) {
    if (map->len + 1 > map->cap / 4 * 3) { map_grow(map); }
    if (!key) {
        map->values[map->cap] = value;
        map->len += !map->values[map->cap + 1];
        map->values[map->cap + 1] = 1;
        return;
    }
    uint32_t slot = slot_of(map, key);
    map->len += !map->keys[slot];
    map->keys[slot] = key;
    map->values[slot] = value;
}

void map_copy(Map *to, const Map *from) {
    *to = (Map){0};
    for (uint32_t i = 0; i < from->cap; i++)
        if (from->keys[i]) { map_set(to, from->keys[i], from->values[i]); }
    if (from->cap && from->values[from->cap + 1]) { map_set(to, 0, from->values[from->cap]); }
}

void map_free(Map *map) {
    mem_free(map->keys);
    mem_free(map->values);
    *map = (Map){0};
}

/* ---- edit distance ------------------------------------------------------ */

static uint32_t least(uint32_t a, uint32_t b) { return a < b ? a : b; }

/* Optimal string alignment in a band of `limit` on each side of the diagonal. */
uint32_t edit_distance(const char *a, const char *b, uint32_t limit) {
    size_t m = strlen(a), n = strlen(b);
    if ((m > n ? m - n : n - m) > limit) { return limit + 1; }
    if (limit > (m > n ? m : n)) { limit = (uint32_t)(m > n ? m : n); /* no distance is larger */ }
    uint32_t far = limit + 1;
    uint32_t *rows = mem_alloc(3 * (n + 1) * sizeof *rows);
    uint32_t *before = rows, *last = rows + n + 1, *row = rows + 2 * (n + 1);
    for (size_t j = 0; j <= n; j++) { row[j] = before[j] = last[j] = j < far ? (uint32_t)j : far; }
    for (size_t i = 1; i <= m; i++) {
        uint32_t *spare = before;
        before = last, last = row, row = spare;
        size_t low = i > limit ? i - limit : 0, high = i + limit < n ? i + limit : n;
        if (low > 0) { row[low - 1] = far; }
        for (size_t j = low; j <= high; j++) {
            if (j == 0) {
                row[0] = (uint32_t)i;
                continue;
            }
            uint32_t d = last[j - 1] + (a[i - 1] != b[j - 1]);
            d = least(d, row[j - 1] + 1);
            if (j < i + limit) { /* the row above ends one place earlier in its band */
                d = least(d, last[j] + 1);
            }
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
                d = least(d, before[j - 2] + 1);
            }
            row[j] = least(d, far);
        }
    }
    uint32_t distance = row[n];
    mem_free(rows);
    return distance;
}
