/* groups.h: the control groups that hold this process. Private to the runtime. */
#ifndef PDN_GROUPS_H
#define PDN_GROUPS_H

#include <stdint.h>

/* The number after `key` at the start of a line (key "": the file's first word), or -1. */
int64_t pdn_read_number(const char *path, const char *key);

/* What the group of this folder leaves; INT64_MAX: no limit. `version` is that of control groups. */
typedef int64_t PdnGroupLeaves(const char *folder, int version);

/* The least that the groups of a controller ("memory", "cpu") leave, from the process's own up to the
 * root, in either version; proc and sys are looked for under `root`. */
int64_t pdn_groups_least(const char *root, const char *controller, PdnGroupLeaves *leaves);

#endif
