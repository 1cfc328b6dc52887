/* The cache of compiled programs. */
#include "compiler/load/load.h"

#include <stdlib.h>

bool cache_find(const char *folder, uint64_t key, Cached *found)
{
    return false;
}

void cache_store(const char *folder, uint64_t key, const void *object, size_t size)
{
}

const char *code_cache_folder(Arena *arena)
{
    const char *given = getenv("PDN_CACHE"), *home = getenv("XDG_CACHE_HOME");
    if (given && *given)
        return arena_format(arena, "%s", given);
    if (home && *home)
        return arena_format(arena, "%s/pdn", home);
    home = getenv("HOME");
    return home && *home ? arena_format(arena, "%s/.cache/pdn", home) : NULL;
}
