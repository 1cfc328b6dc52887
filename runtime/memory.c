/* memory.c: how much memory can still be had: the machine's MemAvailable, what the control groups
 * (versions 1 and 2) that hold this process leave, and the limit on the address space. */
#include "runtime/file.h"

#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define PATH_ROOM 4096

/* The number after `key` at the start of a line (key "": the file's first word), or -1. */
static int64_t read_number(const char *path, const char *key) {
    FILE *file = fopen(path, "re");
    if (!file) { return -1; }
    char line[256];
    size_t length = strlen(key);
    int64_t value = -1;
    while (value < 0 && fgets(line, sizeof line, file)) {
        char *end;
        if (strncmp(line, key, length) == 0) {
            long long number = strtoll(line + length, &end, 10);
            value = end != line + length && number >= 0 ? number : -1;
        }
        if (length == 0) { break; /* "max" is no number */ }
    }
    fclose(file);
    return value;
}

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

/* What one group leaves: its limit less what is used, where file cache that can be dropped is free. */
static int64_t group_leaves(const char *folder, const char *limit_name, const char *used_name,
                            const char *cache_key) {
    char path[PATH_ROOM + 64];
    snprintf(path, sizeof path, "%s/%s", folder, limit_name);
    int64_t limit = read_number(path, "");
    if (limit < 0) { return INT64_MAX; }
    snprintf(path, sizeof path, "%s/%s", folder, used_name);
    int64_t used = read_number(path, "");
    snprintf(path, sizeof path, "%s/memory.stat", folder);
    int64_t cache = read_number(path, cache_key);
    used = used < 0 ? 0 : used;
    used -= cache < 0 ? 0 : least(cache, used);
    return limit > used ? limit - used : 0;
}

/* The least that the groups from `path` up to the root of the hierarchy leave. A container may not
 * see its own path: the root is asked always. */
static int64_t groups_leave(const char *hierarchy, const char *path, const char *limit_name,
                            const char *used_name, const char *cache_key) {
    char folder[PATH_ROOM];
    if ((size_t)snprintf(folder, sizeof folder, "%s%s", hierarchy, path) >= sizeof folder) {
        return INT64_MAX;
    }
    int64_t leaves = INT64_MAX;
    for (;;) {
        leaves = least(leaves, group_leaves(folder, limit_name, used_name, cache_key));
        char *slash = strrchr(folder, '/');
        if (strlen(folder) <= strlen(hierarchy) || !slash) { return leaves; }
        *slash = 0;
    }
}

/* Does the comma-separated list hold the word? */
static bool lists(const char *list, const char *word) {
    size_t length = strlen(word);
    for (const char *at = list; (at = strstr(at, word)); at += length) {
        if ((at == list || at[-1] == ',') && (at[length] == 0 || at[length] == ',')) {
            return true;
        }
    }
    return false;
}

static int64_t control_groups(const char *root) {
    char path[PATH_ROOM], hierarchy[PATH_ROOM], line[PATH_ROOM];
    snprintf(path, sizeof path, "%s/proc/self/cgroup", root);
    FILE *file = fopen(path, "re");
    if (!file) { return INT64_MAX; }
    int64_t leaves = INT64_MAX;
    while (fgets(line, sizeof line, file)) { /* hierarchy:controllers:path */
        line[strcspn(line, "\n")] = 0;
        char *controllers = strchr(line, ':');
        char *group = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!group) { continue; }
        *group++ = 0;
        controllers++;
        if (strcmp(group, "/") == 0) { group = ""; }
        if (lists(controllers, "memory")) {
            snprintf(hierarchy, sizeof hierarchy, "%s/sys/fs/cgroup/memory", root);
            leaves = least(leaves, groups_leave(hierarchy, group, "memory.limit_in_bytes",
                                                "memory.usage_in_bytes", "total_inactive_file "));
        } else if (*controllers == 0) {
            snprintf(hierarchy, sizeof hierarchy, "%s/sys/fs/cgroup", root);
            leaves = least(leaves, groups_leave(hierarchy, group, "memory.max", "memory.current",
                                                "inactive_file "));
        }
    }
    fclose(file);
    return leaves;
}

int64_t pdn_memory_available_under(const char *root) {
    char path[PATH_ROOM];
    snprintf(path, sizeof path, "%s/proc/meminfo", root);
    int64_t kilobytes = read_number(path, "MemAvailable:");
    int64_t available = kilobytes < 0 ? INT64_MAX : kilobytes * 1024;
    available = least(available, control_groups(root));
    struct rlimit limit;
    if (getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) {
        snprintf(path, sizeof path, "%s/proc/self/statm", root);
        int64_t pages = read_number(path, "");
        int64_t used = pages < 0 ? 0 : pages * sysconf(_SC_PAGESIZE);
        int64_t most = limit.rlim_cur > INT64_MAX ? INT64_MAX : (int64_t)limit.rlim_cur;
        available = least(available, most > used ? most - used : 0);
    }
    return available;
}

int64_t pdn_memory_available(void) { return pdn_memory_available_under(""); }
