/* memory.c: how much memory can still be had: the machine's MemAvailable, what the control groups
 * that hold this process leave, and the limit on the address space. */
#include "runtime/file.h"
#include "runtime/groups.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#define PATH_ROOM 4096
#define LINE      64        /* bytes of a line of cache */
#define HUGE_PAGE (2 << 20) /* of most machines; elsewhere it is an alignment as good as others */
/* Half a huge page too much is at most an eighth of it. */
#define LARGE_BYTES (4 << 20)

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

/* The limit less what is used, where file cache that can be dropped counts as free. */
static int64_t group_leaves(const char *folder, int version) {
    char path[PATH_ROOM + 64];
    snprintf(path, sizeof path, "%s/%s", folder,
             version == 2 ? "memory.max" : "memory.limit_in_bytes");
    int64_t limit = pdn_read_number(path, "");
    if (limit < 0) { return INT64_MAX; }
    snprintf(path, sizeof path, "%s/%s", folder,
             version == 2 ? "memory.current" : "memory.usage_in_bytes");
    int64_t used = pdn_read_number(path, "");
    snprintf(path, sizeof path, "%s/memory.stat", folder);
    int64_t cache = pdn_read_number(path, version == 2 ? "inactive_file " : "total_inactive_file ");
    used = used < 0 ? 0 : used;
    used -= cache < 0 ? 0 : least(cache, used);
    return limit > used ? limit - used : 0;
}

int64_t pdn_memory_available_under(const char *root) {
    char path[PATH_ROOM];
    snprintf(path, sizeof path, "%s/proc/meminfo", root);
    int64_t kilobytes = pdn_read_number(path, "MemAvailable:");
    int64_t available = kilobytes < 0 ? INT64_MAX : kilobytes * 1024;
    available = least(available, pdn_groups_least(root, "memory", group_leaves));
    struct rlimit limit;
    if (getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) {
        snprintf(path, sizeof path, "%s/proc/self/statm", root);
        int64_t pages = pdn_read_number(path, "");
        int64_t used = pages < 0 ? 0 : pages * sysconf(_SC_PAGESIZE);
        int64_t most = limit.rlim_cur > INT64_MAX ? INT64_MAX : (int64_t)limit.rlim_cur;
        available = least(available, most > used ? most - used : 0);
    }
    return available;
}

int64_t pdn_memory_used(void) {
    FILE *file = fopen("/proc/self/statm", "re");
    long long whole, resident = 0;
    if (file && fscanf(file, "%lld %lld", &whole, &resident) != 2) { resident = 0; }
    if (file) { fclose(file); }
    return (int64_t)resident * sysconf(_SC_PAGESIZE);
}

void *pdn_memory_new(size_t bytes) {
    void *memory;
    bool large = bytes >= LARGE_BYTES;
    if (posix_memalign(&memory, large ? HUGE_PAGE : LINE, bytes ? bytes : LINE) != 0) return NULL;
    if (large) { (void)madvise(memory, bytes, MADV_HUGEPAGE); }
    return memory;
}

int64_t pdn_memory_available(void) { return pdn_memory_available_under(""); }
