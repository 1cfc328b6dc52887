#define _GNU_SOURCE /* pseudo-terminals */
/* Arrays, memory, progress, statuses. */
#include <criterion/criterion.h>

#include "runtime/file.h"

#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

Test(array, is_aligned_and_zero) {
    PdnArray array;
    const int64_t shape[3] = {3, 5, 7};
    cr_assert_eq(pdn_array_new(&array, PDN_F64, 3, shape, NULL), PDN_OK);
    cr_assert_eq((uintptr_t)array.data % 64, 0);
    cr_assert_eq(pdn_array_count(&array), 105);
    for (int i = 0; i < 105; i++) { cr_assert_eq(((double *)array.data)[i], 0); }
    pdn_array_free(&array);
    cr_assert_null(array.data);
    pdn_array_free(&array);
}

Test(array, of_no_axes_is_a_number) {
    PdnArray array;
    cr_assert_eq(pdn_array_new(&array, PDN_F32, 0, NULL, NULL), PDN_OK);
    cr_assert_eq(pdn_array_count(&array), 1);
    pdn_array_free(&array);
}

Test(array, refuses_what_does_not_fit) {
    PdnArray array;
    PdnError error;
    const int64_t large[2] = {INT64_C(1) << 25, INT64_C(1) << 25};
    cr_assert_eq(pdn_array_new(&array, PDN_F32, 2, large, &error), PDN_ERROR_MEMORY);
    cr_assert(strstr(error.message, "33554432 x 33554432") && strstr(error.message, "4.0 PiB"),
              "%s", error.message);
    const int64_t overflow[3] = {INT64_C(1) << 30, INT64_C(1) << 30, INT64_C(1) << 30};
    cr_assert_eq(pdn_array_new(&array, PDN_F32, 3, overflow, &error), PDN_ERROR_MEMORY);
    const int64_t negative[1] = {-1};
    cr_assert_eq(pdn_array_new(&array, PDN_F32, 1, negative, &error), PDN_ERROR_MEMORY);
    cr_assert_eq(pdn_array_new(&array, PDN_F32, 6, negative, &error), PDN_ERROR_ARGUMENT);
    cr_assert_null(array.data);
}

Test(array, bytes_of_shapes) {
    int64_t bytes;
    const int64_t a[3] = {4, 5, 6}, empty[3] = {INT64_MAX, INT64_MAX, 0},
                  large[2] = {INT64_MAX / 2, 3};
    cr_assert(pdn_shape_bytes(3, a, 8, &bytes) && bytes == 960);
    cr_assert(pdn_shape_bytes(3, empty, 8, &bytes) && bytes == 0);
    cr_assert_not(pdn_shape_bytes(2, large, 1, &bytes));
}

Test(status, names_and_bytes) {
    for (int status = PDN_OK; status <= PDN_ERROR_DIVERGED; status++) {
        cr_assert_str_neq(pdn_status_name(status), "unknown status");
    }
    cr_assert_str_eq(pdn_bytes_text(1023).text, "1023 bytes");
    cr_assert_str_eq(pdn_bytes_text(1536).text, "1.5 KiB");
    cr_assert_str_eq(pdn_bytes_text(INT64_MAX).text, "8.0 EiB");
}

Test(status, messages_are_clean) {
    PdnError error;
    cr_assert_eq(pdn_fail(&error, PDN_ERROR_OPEN, "%s",
                          "a\033[2J\n\x80 \xc3\xa9 \xe2\x82 \xe2\x82\xac \xff"),
                 PDN_ERROR_OPEN);
    cr_assert_str_eq(error.message, "a?[2J?? \xc3\xa9 ?? \xe2\x82\xac ?");
    char path[4000];
    memset(path, 'p', sizeof path - 1);
    path[sizeof path - 1] = 0;
    pdn_fail(&error, PDN_ERROR_OPEN, "%s cannot be opened: %s", path, "No such file");
    cr_assert_eq(strlen(error.message), sizeof error.message - 1);
    cr_assert_not_null(strstr(error.message, " ... p"));
    cr_assert_str_eq(error.message + strlen(error.message) - 32,
                     "p cannot be opened: No such file");
    memset(path, 0xe2, sizeof path - 1);
    pdn_fail(&error, PDN_ERROR_OPEN, "%s", path);
    cr_assert_eq(strspn(error.message, "?"), 160);
    pdn_fail(NULL, PDN_ERROR_OPEN, "%s", path);
}

/* ---- memory: made-up proc and sys ----------------------------------------------------- */

static void put(const char *root, const char *path, const char *text) {
    char whole[512];
    snprintf(whole, sizeof whole, "%s%s", root, path);
    for (char *c = whole + strlen(root) + 1; *c; c++) {
        if (*c == '/') {
            *c = 0;
            mkdir(whole, 0777);
            *c = '/';
        }
    }
    FILE *file = fopen(whole, "w");
    cr_assert_not_null(file);
    fputs(text, file);
    fclose(file);
}

static int remove_one(const char *path, const struct stat *info, int flag, struct FTW *where) {
    return remove(path);
}
static void remove_tree(const char *root) {
    cr_assert_eq(nftw(root, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
}

Test(memory, machine_and_groups) {
    char root[] = "/tmp/pdn-memory-XXXXXX";
    cr_assert_not_null(mkdtemp(root));
    put(root, "/proc/meminfo", "MemTotal:  9000 kB\nMemFree: 10 kB\nMemAvailable:    8000 kB\n");
    cr_assert_eq(pdn_memory_available_under(root), 8000 * 1024);

    /* version 2: the group above is stricter; file cache counts as free */
    put(root, "/proc/self/cgroup", "0::/user/job\n");
    put(root, "/sys/fs/cgroup/user/job/memory.max", "max\n");
    put(root, "/sys/fs/cgroup/user/job/memory.current", "1000\n");
    cr_assert_eq(pdn_memory_available_under(root), 8000 * 1024);
    put(root, "/sys/fs/cgroup/user/memory.max", "500000\n");
    put(root, "/sys/fs/cgroup/user/memory.current", "200000\n");
    put(root, "/sys/fs/cgroup/user/memory.stat", "anon 150000\ninactive_file 50000\nfile 60000\n");
    cr_assert_eq(pdn_memory_available_under(root), 350000);
    put(root, "/sys/fs/cgroup/user/job/memory.max", "900\n"); /* full */
    cr_assert_eq(pdn_memory_available_under(root), 0);
    remove_tree(root);
}

Test(memory, groups_of_version_1) {
    char root[] = "/tmp/pdn-memory-XXXXXX";
    cr_assert_not_null(mkdtemp(root));
    put(root, "/proc/meminfo", "MemAvailable:    8000 kB\n");
    put(root, "/proc/self/cgroup", "5:cpu,cpuacct:/\n4:hugetlb,memory:/docker/abc\n");
    /* in a container the group's own path is not seen, only its root */
    put(root, "/sys/fs/cgroup/memory/memory.limit_in_bytes", "700000\n");
    put(root, "/sys/fs/cgroup/memory/memory.usage_in_bytes", "100000\n");
    cr_assert_eq(pdn_memory_available_under(root), 600000);
    put(root, "/sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes", "300000\n");
    put(root, "/sys/fs/cgroup/memory/docker/abc/memory.usage_in_bytes", "100000\n");
    put(root, "/sys/fs/cgroup/memory/docker/abc/memory.stat", "total_inactive_file 4000\n");
    cr_assert_eq(pdn_memory_available_under(root), 204000);
    remove_tree(root);
}

Test(threads, quota_of_groups) {
    char root[] = "/tmp/pdn-memory-XXXXXX";
    cr_assert_not_null(mkdtemp(root));
    int all = pdn_threads_available_under(root); /* no groups: no quota */
    cr_assert_geq(all, 1);
    put(root, "/proc/self/cgroup", "0::/job\n");
    put(root, "/sys/fs/cgroup/job/cpu.max", "max 100000\n");
    cr_assert_eq(pdn_threads_available_under(root), all);
    put(root, "/sys/fs/cgroup/job/cpu.max", "150000 100000\n");
    cr_assert_eq(pdn_threads_available_under(root), all < 2 ? all : 2);
    put(root, "/sys/fs/cgroup/job/cpu.max", "50000 100000\n");
    cr_assert_eq(pdn_threads_available_under(root), 1);
    put(root, "/proc/self/cgroup", "3:cpu,cpuacct:/\n");
    cr_assert_eq(pdn_threads_available_under(root), all);
    put(root, "/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "100000\n");
    put(root, "/sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
    cr_assert_eq(pdn_threads_available_under(root), 1);
    put(root, "/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n");
    cr_assert_eq(pdn_threads_available_under(root), all);
    remove_tree(root);
}

Test(memory, limit_on_the_address_space) {
#if !defined(__SANITIZE_ADDRESS__)
    struct rlimit limit = {INT64_C(1) << 32, INT64_C(1) << 32};
    if (setrlimit(RLIMIT_AS, &limit) == 0) {
        int64_t available = pdn_memory_available();
        cr_assert(available >= 0 && available < INT64_C(1) << 32);
    }
#endif
    cr_assert_geq(pdn_memory_available(), 0);
}

/* ---- progress --------------------------------------------------------------------------- */

Test(progress, text) {
    char line[160];
    pdn_progress_text(line, sizeof line, "explicit", 500, 2000, 10);
    cr_assert_str_eq(line, "explicit 500/2000 (25 %), 50/s, 30 s left");
    pdn_progress_text(line, sizeof line, "", 500, -1, 10);
    cr_assert_str_eq(line, "500, 50/s");
    pdn_progress_text(line, sizeof line, "a", 1, 361, 10);
    cr_assert_str_eq(line, "a 1/361 (0 %), 0.1/s, 60 min left");
    pdn_progress_text(line, sizeof line, "a", 1, 3601, 10);
    cr_assert_str_eq(line, "a 1/3601 (0 %), 0.1/s, 10.0 h left");
    pdn_progress_text(line, sizeof line, "a", 0, 10, 0);
    cr_assert_str_eq(line, "a 0/10 (0 %)");
    char small[8];
    pdn_progress_text(small, sizeof small, "explicit", 500, 2000, 10);
    cr_assert_str_eq(small, "explici");
}

Test(progress, silent_where_there_is_no_terminal) {
    FILE *file = tmpfile();
    PdnProgress progress;
    pdn_progress_begin(&progress, file, "loop", 10);
    usleep(600000);
    pdn_progress_update(&progress, 5);
    pdn_progress_end(&progress);
    fseek(file, 0, SEEK_END);
    cr_assert_eq(ftell(file), 0);
    fclose(file);
}

Test(progress, line_on_a_terminal) {
    int master = posix_openpt(O_RDWR | O_NOCTTY);
    if (master < 0 || grantpt(master) || unlockpt(master)) { cr_skip("no pseudo-terminals"); }
    FILE *file = fdopen(open(ptsname(master), O_RDWR | O_NOCTTY), "r+");
    cr_assert_not_null(file);
    PdnProgress progress;
    pdn_progress_begin(&progress, file, "loop", 10);
    pdn_progress_update(&progress, 1); /* too early to be shown */
    usleep(600000);
    for (int i = 0; i < 1000; i++) { pdn_progress_update(&progress, 5); /* one line only */ }
    pdn_progress_end(&progress);
    char text[512] = "";
    ssize_t length = 0;
    struct pollfd ready = {.fd = master, .events = POLLIN};
    while (length < 500 && poll(&ready, 1, 300) > 0 && ready.revents & POLLIN) {
        ssize_t more = read(master, text + length, (size_t)(500 - length));
        cr_assert_gt(more, 0);
        length += more;
    }
    cr_assert_gt(length, 4);
    cr_assert_eq(strncmp(text, "\rloop 5/10 (50 %), ", 19), 0, "%s", text);
    cr_assert_str_eq(text + length - 4, "\r\033[K");
    fclose(file);
    close(master);
}
