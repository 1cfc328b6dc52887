/* stdlib: the modules of stdlib/, embedded when the compiler is built (cmake/embed.cmake). */
#ifndef PDN_STDLIB_H
#define PDN_STDLIB_H

#include <stddef.h>

typedef struct {
    const char *name;  /* as `use` says it: "schemes" */
    const char *bytes; /* the text; a 0 follows it */
    size_t length;
} PdnModule;

extern const PdnModule pdn_stdlib[]; /* in alphabetical order; a row of NULL ends it */
extern const size_t pdn_stdlib_count;

#endif
