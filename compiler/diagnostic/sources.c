/* Source files and places in them. */
#include "compiler/diagnostic/diagnostic.h"

#include <string.h>

typedef struct {
    const char *name, *bytes;
    size_t length;
    bool library;
    VEC(uint32_t) lines; /* offsets at which lines begin; made when first asked for */
} Source;

struct Sources {
    Arena *arena;
    VEC(Source *) files; /* file n is item n - 1 */
};

Span span_join(Span a, Span b) {
    if (!a.file || a.file != b.file) { return a.file ? a : b; }
    if (b.begin < a.begin) { a.begin = b.begin; }
    if (b.end > a.end) { a.end = b.end; }
    return a;
}

Sources *sources_new(void) {
    Sources *sources = mem_alloc(sizeof *sources);
    *sources = (Sources){.arena = arena_new()};
    return sources;
}

void sources_free(Sources *sources) {
    if (!sources) { return; }
    for (uint32_t i = 0; i < sources->files.len; i++) { vec_free(&sources->files.data[i]->lines); }
    vec_free(&sources->files);
    arena_free(sources->arena);
    mem_free(sources);
}

uint32_t sources_add(Sources *sources, const char *name, const char *bytes, size_t length,
                     bool library) {
    if (length > INT32_MAX) {
        length = INT32_MAX; /* offsets have 32 bits; the parser refuses far smaller files */
    }
    Source *source = ARENA_NEW(sources->arena, Source);
    source->name = arena_text(sources->arena, name, strlen(name));
    source->bytes = arena_text(sources->arena, bytes, length);
    source->length = length;
    source->library = library;
    vec_push(&sources->files, source);
    return sources->files.len;
}

static Source *get(const Sources *sources, uint32_t file) {
    return file && file <= sources->files.len ? sources->files.data[file - 1] : NULL;
}

const char *sources_name(const Sources *sources, uint32_t file) {
    Source *source = get(sources, file);
    return source ? source->name : "";
}

const char *sources_bytes(const Sources *sources, uint32_t file, size_t *length) {
    Source *source = get(sources, file);
    if (length) { *length = source ? source->length : 0; }
    return source ? source->bytes : "";
}

bool sources_is_library(const Sources *sources, uint32_t file) {
    Source *source = get(sources, file);
    return source && source->library;
}

static void map_lines(Source *source) {
    vec_push(&source->lines, 0);
    const char *end = source->bytes + source->length;
    for (const char *at = source->bytes; (at = memchr(at, '\n', (size_t)(end - at)));) {
        at++;
        vec_push(&source->lines, (uint32_t)(at - source->bytes));
    }
}

void sources_place(const Sources *sources, uint32_t file, uint32_t offset, uint32_t *line,
                   uint32_t *column) {
    *line = *column = 1;
    Source *source = get(sources, file);
    if (!source) { return; }
    if (offset > source->length) { offset = (uint32_t)source->length; }
    if (!source->lines.len) { map_lines(source); }
    uint32_t low = 0, high = source->lines.len; /* the line lies in [low, high) */
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        if (source->lines.data[middle] <= offset) {
            low = middle;
        } else {
            high = middle;
        }
    }
    *line = low + 1;
    for (uint32_t i = source->lines.data[low]; i < offset; i++) {
        *column += ((unsigned char)source->bytes[i] & 0xC0) != 0x80; /* not a continuation */
    }
}

bool sources_line(const Sources *sources, uint32_t file, uint32_t line, uint32_t *begin,
                  uint32_t *end) {
    Source *source = get(sources, file);
    if (!source) { return false; }
    if (!source->lines.len) { map_lines(source); }
    if (!line || line > source->lines.len) { return false; }
    *begin = source->lines.data[line - 1];
    *end = line < source->lines.len ? source->lines.data[line] - 1 : (uint32_t)source->length;
    if (*end > *begin && source->bytes[*end - 1] == '\r') { --*end; }
    return true;
}
