/* load: programs from the cache, or compiled by libpdn_code.so. Private to compiler/load. */
#ifndef PDN_LOAD_H
#define PDN_LOAD_H

#include "compiler/kernel/plan_ir.h"
#include "compiler/llvm/backend.h"

/* Facts about the target, without LLVM. */
Machine machine_of(const CodeTarget *target);
/* Text that tells machines apart that need other code; for keys of the cache. */
void machine_describe(const CodeTarget *target, Text *out);

/* Opens libpdn_code.so (once for each call; dlopen counts). NULL and a message. */
const CodeBackend *backend_open(char **error);

/* ---- the cache ---- */

typedef struct {
    void *library; /* from dlopen */
    CodeEntry entry;
} Cached;
/* A hit loads the program. Damaged entries are removed. */
bool cache_find(const char *folder, uint64_t key, Cached *found);
/* Links the object to a shared object and puts it there; failures are silent: the cache is an aid. */
void cache_store(const char *folder, uint64_t key, const void *object, size_t size);

char *load_message(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
