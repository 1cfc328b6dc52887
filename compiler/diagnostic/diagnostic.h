/* diagnostic: source files, places, messages as objects, and the caret renderer. */
#ifndef PDN_DIAGNOSTIC_H
#define PDN_DIAGNOSTIC_H

#include "compiler/base/base.h"

#include <stdio.h>

/* Bytes [begin, end) of a file; file 0 is "nowhere" (the command line, say). */
typedef struct {
    uint32_t file, begin, end;
} Span;

#define SPAN_NONE ((Span){0, 0, 0})
Span span_join(Span a, Span b); /* the smallest that covers both; of one file */

typedef struct Sources Sources;
Sources *sources_new(void);
void sources_free(Sources *sources);
/* Takes a copy of the bytes; `name` is what messages show. `library` files are stdlib modules. */
uint32_t sources_add(Sources *sources, const char *name, const char *bytes, size_t length,
                     bool library);
const char *sources_name(const Sources *sources, uint32_t file);
const char *sources_bytes(const Sources *sources, uint32_t file, size_t *length);
bool sources_is_library(const Sources *sources, uint32_t file);
/* 1-based line and column (in characters); the line map is built once a file. */
void sources_place(const Sources *sources, uint32_t file, uint32_t offset, uint32_t *line,
                   uint32_t *column);
/* The bytes [begin, end) of a line (1-based), without its end of line; false when there is none. */
bool sources_line(const Sources *sources, uint32_t file, uint32_t line, uint32_t *begin,
                  uint32_t *end);

typedef enum { SEVERITY_NOTE, SEVERITY_WARNING, SEVERITY_ERROR } Severity;

/* Every kind of message has a row in diagnostics.def: DIAGNOSTIC(id, ERROR or WARNING, "format").
 * tests/regress holds an expected-error file for each. */
typedef enum {
#define DIAGNOSTIC(id, severity, format) DIAG_##id,
#include "compiler/diagnostic/diagnostics.def"
#undef DIAGNOSTIC
    DIAG_COUNT
} DiagnosticId;

typedef struct Diagnostic Diagnostic;
typedef struct Diagnostics Diagnostics;

/* `limit`: after so many errors the rest are counted, not kept (0: 20). */
Diagnostics *diagnostics_new(Sources *sources, uint32_t limit);
void diagnostics_free(Diagnostics *all);
void diagnostics_told(Diagnostics *all); /* those so far are not written again; they stay counted */
uint32_t diagnostics_errors(const Diagnostics *all);
uint32_t diagnostics_warnings(const Diagnostics *all);
Sources *diagnostics_sources(const Diagnostics *all);

/* A message at `at`; the arguments fill the format of its row. Returned to have labels added. */
Diagnostic *diag_report(Diagnostics *all, DiagnosticId id, Span at, ...);
void diag_label_primary(Diagnostic *d, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void diag_label(Diagnostic *d, Span at, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void diag_note(Diagnostic *d, Span at, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void diag_help(Diagnostic *d, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The same message at the same place is kept once. */

/* Writes all messages, in order of report, in the form of docs/language.md ("Errors"). */
void diagnostics_render(const Diagnostics *all, FILE *to, bool colour);
void diagnostics_render_text(const Diagnostics *all, Text *to);

/* The nearest of `count` candidates to `wanted`, or NULL when none is near. */
const char *diag_nearest(const char *wanted, const char *const *candidates, uint32_t count);

#endif
