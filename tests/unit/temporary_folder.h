/* A folder of its own for each test of a suite, which is the current one while it runs and goes with all that it holds:
 * TestSuite(file, .init = enter_folder, .fini = leave_folder). Needs _GNU_SOURCE (nftw), before anything is included. */
#ifndef PDN_TEST_TEMPORARY_FOLDER_H
#define PDN_TEST_TEMPORARY_FOLDER_H

#include <criterion/criterion.h>

#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[64];

static inline void enter_folder(void) {
    strcpy(folder, "/tmp/pdn-unit-XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
    cr_assert_eq(chdir(folder), 0);
}

static inline int remove_one(const char *path, const struct stat *info, int flag,
                             struct FTW *where) {
    return remove(path);
}

static inline void leave_folder(void) {
    cr_assert_eq(chdir("/"), 0);
    cr_assert_eq(nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
}

#endif
