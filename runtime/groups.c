/* groups.c: see groups.h, and cgroups(7). */
#include "runtime/groups.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PATH_ROOM 4096

int64_t pdn_read_number(const char *path, const char *key) {
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

/* A container may not see its own path: the root of the hierarchy is asked always. */
static int64_t least_upwards(const char *hierarchy, const char *path, int version,
                             PdnGroupLeaves *leaves) {
    char folder[PATH_ROOM];
    if ((size_t)snprintf(folder, sizeof folder, "%s%s", hierarchy, path) >= sizeof folder) {
        return INT64_MAX;
    }
    int64_t least = INT64_MAX;
    for (;;) {
        int64_t here = leaves(folder, version);
        least = here < least ? here : least;
        char *slash = strrchr(folder, '/');
        if (strlen(folder) <= strlen(hierarchy) || !slash) { return least; }
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

int64_t pdn_groups_least(const char *root, const char *controller, PdnGroupLeaves *leaves) {
    char hierarchy[PATH_ROOM], line[PATH_ROOM];
    snprintf(line, sizeof line, "%s/proc/self/cgroup", root);
    FILE *file = fopen(line, "re");
    if (!file) { return INT64_MAX; }
    int64_t least = INT64_MAX;
    while (fgets(line, sizeof line, file)) { /* hierarchy:controllers:path */
        line[strcspn(line, "\n")] = 0;
        char *controllers = strchr(line, ':');
        char *group = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!group) { continue; }
        *group++ = 0;
        controllers++;
        if (strcmp(group, "/") == 0) { group = ""; }
        int64_t here = INT64_MAX;
        if (*controllers == 0) {
            snprintf(hierarchy, sizeof hierarchy, "%s/sys/fs/cgroup", root);
            here = least_upwards(hierarchy, group, 2, leaves);
        } else if (lists(controllers, controller)) {
            snprintf(hierarchy, sizeof hierarchy, "%s/sys/fs/cgroup/%s", root, controller);
            here = least_upwards(hierarchy, group, 1, leaves);
        }
        least = here < least ? here : least;
    }
    fclose(file);
    return least;
}
