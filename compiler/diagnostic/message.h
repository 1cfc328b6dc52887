/* What a message is made of; private to this folder. */
#ifndef PDN_MESSAGE_H
#define PDN_MESSAGE_H

#include "compiler/diagnostic/diagnostic.h"

typedef struct {
    Span at;
    const char *text; /* never null */
} Label;

struct Diagnostic {
    Arena *arena;
    bool dropped; /* counted only: whatever is added to it is forgotten */
    Severity severity;
    Span at;
    const char *text, *primary; /* what is wrong; the label at the span or NULL */
    VEC(Label) labels, notes;
    VEC(const char *) helps;
};

struct Diagnostics {
    Sources *sources;
    Arena *arena;
    uint32_t limit, errors, warnings, kept_errors, kept_warnings;
    VEC(Diagnostic *) kept;
    Map seen; /* hashes of what was reported */
    Diagnostic dropped;
};

#endif
