/* Interned names: an open-addressing table of numbers, the texts in an arena. */
#include "compiler/base/base.h"

#include <string.h>

typedef struct {
    const char *text;
    size_t length;
    uint64_t hash;
} Entry;

struct Names {
    Arena *arena;
    VEC(Entry) entries; /* entry 0 is "no name" */
    Name *table;        /* 0 is free */
    uint32_t table_cap; /* a power of two, at least half of it free */
};

Names *names_new(void) {
    Names *names = mem_alloc(sizeof *names);
    *names = (Names){.arena = arena_new(), .table_cap = 256};
    names->table = mem_alloc(names->table_cap * sizeof *names->table);
    memset(names->table, 0, names->table_cap * sizeof *names->table);
    vec_push(&names->entries, ((Entry){"", 0, 0}));
    return names;
}

void names_free(Names *names) {
    if (!names) { return; }
    arena_free(names->arena);
    vec_free(&names->entries);
    mem_free(names->table);
    mem_free(names);
}

static void grow(Names *names) {
    mem_free(names->table);
    names->table_cap *= 2;
    names->table = mem_alloc(names->table_cap * sizeof *names->table);
    memset(names->table, 0, names->table_cap * sizeof *names->table);
    for (Name name = 1; name < names->entries.len; name++) {
        uint32_t slot = (uint32_t)names->entries.data[name].hash & (names->table_cap - 1);
        while (names->table[slot]) { slot = (slot + 1) & (names->table_cap - 1); }
        names->table[slot] = name;
    }
}

Name names_intern(Names *names, const char *bytes, size_t length) {
    if (!length) { return 0; }
    uint64_t hash = hash_bytes(0, bytes, length);
    uint32_t slot = (uint32_t)hash & (names->table_cap - 1);
    for (Name name; (name = names->table[slot]); slot = (slot + 1) & (names->table_cap - 1)) {
        const Entry *entry = &names->entries.data[name];
        if (entry->hash == hash && entry->length == length &&
            memcmp(entry->text, bytes, length) == 0) {
            return name;
        }
    }
    Name name = names->entries.len;
    vec_push(&names->entries, ((Entry){arena_text(names->arena, bytes, length), length, hash}));
    names->table[slot] = name;
    if (names->entries.len > names->table_cap / 2) { grow(names); }
    return name;
}

Name names_of(Names *names, const char *string) {
    return names_intern(names, string, strlen(string));
}

const char *names_text(const Names *names, Name name) {
    return name < names->entries.len ? names->entries.data[name].text : "";
}
