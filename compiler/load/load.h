/* load: programs from the cache, or compiled by libpdn_code.so. Private to compiler/load. */
#ifndef PDN_LOAD_H
#define PDN_LOAD_H

#include "compiler/kernel/plan_ir.h"
#include "compiler/llvm/backend.h"

/* Facts about the target, without LLVM. */
Machine machine_of(const CodeTarget *target);
/* Text that tells machines apart that need other code; for keys of the cache. */
void machine_describe(const CodeTarget *target, Text *out);

/* Opens libpdn_code.so. NULL and a message. */
const CodeBackend *backend_open(char **error);

/* ---- object files linked into this process, without LLVM: x86-64 ELF ---- */

typedef struct {
    void *memory; /* of the mapping */
    size_t size;
    CodeEntry entry;
} Linked;
/* False where the object holds anything that this linker does not know (or on other machines). */
bool object_link(const void *bytes, size_t size, Linked *out);
void object_unlink(Linked *linked);

/* ---- the cache ---- */

/* The object stored under the key, from mem_alloc, or NULL. Damaged entries are removed. */
void *cache_find(const char *folder, uint64_t key, size_t *size);
/* Puts it there; failures are silent: the cache is an aid. Old entries go when it grows too large. */
void cache_store(const char *folder, uint64_t key, const void *object, size_t size);

#endif
