/* Messages as objects. */
#include "compiler/diagnostic/message.h"

#include <string.h>
#include <strings.h>

typedef struct {
    Severity severity;
    const char *format;
} Row;

static const Row rows[DIAG_COUNT] = {
#define DIAGNOSTIC(id, severity, format) [DIAG_##id] = {SEVERITY_##severity, format},
#include "compiler/diagnostic/diagnostics.def"
#undef DIAGNOSTIC
};

Diagnostics *diagnostics_new(Sources *sources, uint32_t limit) {
    Diagnostics *all = mem_alloc(sizeof *all);
    *all = (Diagnostics){
        .sources = sources,
        .arena = arena_new(),
        .limit = limit ? limit : 20,
        .dropped = {.dropped = true},
    };
    return all;
}

void diagnostics_told(Diagnostics *all) {
    for (uint32_t i = 0; i < all->kept.len; i++) {
        Diagnostic *d = all->kept.data[i];
        vec_free(&d->labels);
        vec_free(&d->notes);
        vec_free(&d->helps);
    }
    all->kept.len = 0;
}

void diagnostics_free(Diagnostics *all) {
    if (!all) { return; }
    diagnostics_told(all);
    vec_free(&all->kept);
    map_free(&all->seen);
    arena_free(all->arena);
    mem_free(all);
}

uint32_t diagnostics_errors(const Diagnostics *all) { return all->errors; }
uint32_t diagnostics_warnings(const Diagnostics *all) { return all->warnings; }
Sources *diagnostics_sources(const Diagnostics *all) { return all->sources; }

static Diagnostic *keep(Diagnostics *all, Severity severity, Span at, const char *text) {
    Diagnostic *d = ARENA_NEW(all->arena, Diagnostic);
    d->arena = all->arena;
    d->severity = severity;
    d->at = at;
    d->text = text;
    vec_push(&all->kept, d);
    return d;
}

Diagnostic *diag_report(Diagnostics *all, DiagnosticId id, Span at, ...) {
    const Row *row = &rows[id];
    bool error = row->severity == SEVERITY_ERROR;
    uint32_t *count = error ? &all->errors : &all->warnings;
    uint32_t *kept = error ? &all->kept_errors : &all->kept_warnings;
    if (*kept >= all->limit) {
        ++*count;
        return &all->dropped;
    }
    va_list args;
    va_start(args, at);
    char *text = arena_vformat(all->arena, row->format, args);
    va_end(args);

    uint64_t hash =
        hash_bytes(hash_mix(hash_mix((uint64_t)id, at.file), (uint64_t)at.begin << 32 | at.end),
                   text, strlen(text));
    if (map_get(&all->seen, hash, NULL)) { return &all->dropped; }
    map_set(&all->seen, hash, 1);
    ++*count;
    ++*kept;
    return keep(all, row->severity, at, text);
}

#define FORMATTED(d, into)                                                                         \
    const char *into;                                                                              \
    do {                                                                                           \
        va_list args_;                                                                             \
        va_start(args_, format);                                                                   \
        into = arena_vformat((d)->arena, format, args_);                                           \
        va_end(args_);                                                                             \
    } while (0)

void diag_label_primary(Diagnostic *d, const char *format, ...) {
    if (!d->dropped) {
        FORMATTED(d, text);
        d->primary = text;
    }
}

void diag_label(Diagnostic *d, Span at, const char *format, ...) {
    if (!d->dropped) {
        FORMATTED(d, text);
        vec_push(&d->labels, ((Label){at, text}));
    }
}

void diag_note(Diagnostic *d, Span at, const char *format, ...) {
    if (!d->dropped) {
        FORMATTED(d, text);
        vec_push(&d->notes, ((Label){at, text}));
    }
}

void diag_help(Diagnostic *d, const char *format, ...) {
    if (!d->dropped) {
        FORMATTED(d, text);
        vec_push(&d->helps, text);
    }
}

const char *diag_nearest(const char *wanted, const char *const *candidates, uint32_t count) {
    size_t length = strlen(wanted);
    uint32_t limit = length < 30 ? (uint32_t)(length + 2) / 3 : 10;
    const char *nearest = NULL;
    for (uint32_t i = 0; i < count; i++) {
        if (strcasecmp(wanted, candidates[i]) == 0) { return candidates[i]; }
        uint32_t distance = edit_distance(wanted, candidates[i], limit);
        /* A word of which every letter changes is another word: 'x' is not near 'y'. */
        if (distance <= limit && distance < length && distance < strlen(candidates[i])) {
            nearest = candidates[i];
            limit = distance - 1; /* distance 0 was found above */
        }
    }
    return nearest;
}
