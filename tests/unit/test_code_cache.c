/* The cache of compiled programs: hits, damage, folders that cannot be written, several runs at once; and sizes
 * that a stencil does not fit. */
#include "tests/unit/cases.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static Case small_case(double tau) {
    Case c = start(2, (int64_t[]){40, 12});
    Node u = field_input(&c, 1, 3, 0, 1);
    show(&c, diffusion_step(&c, c.f, u, 0.3, tau));
    return c;
}

/* Loads through the cache, runs, and says whether it was there. -1: failure. */
static int load_and_run(Case *c, const char *cache) {
    Arena *arena = arena_new();
    char *error = NULL;
    Plan *plan = plan_make(c->m, &(PlanOptions){0}, arena);
    Numbers kept = c->run.seen;
    free(c->run.grids);
    prepare(c, false, 1);
    c->run.seen = kept;
    Code *code = code_load(plan, NULL, cache, &error);
    int hit = -1;
    Numbers expected = {0};
    if (code && run_reference(&c->run, &expected) == 0) {
        run_code(&c->run, code);
        double d = numbers_differ(&c->run.seen, &expected);
        if (c->run.status == 0 && d >= 0 && d < 1e-6) hit = code_from_cache(code);
    }
    vec_free(&expected);
    code_free(code);
    mem_free(error);
    arena_free(arena);
    return hit;
}

static void folder_of(char *name) {
    strcpy(name, "/tmp/pdn-cache-XXXXXX");
    cr_assert_not_null(mkdtemp(name));
}

static void remove_folder(const char *folder) {
    char command[200];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    if (system(command) != 0) cr_log_warn("%s is left", folder);
}

/* The one entry of the cache. */
static uint32_t entry_of(const char *folder, char *path, size_t size) {
    uint32_t count = 0;
    DIR *list = opendir(folder);
    for (struct dirent *d; list && (d = readdir(list));)
        if (d->d_name[0] != '.') {
            snprintf(path, size, "%s/%s", folder, d->d_name);
            count++;
        }
    if (list) closedir(list);
    return count;
}

Test(code_cache, hit_whatever_the_numbers) {
    char folder[40], inner[80], path[400];
    folder_of(folder);
    snprintf(inner, sizeof inner, "%s/not/there/yet", folder);
    Case a = small_case(0.02), b = small_case(0.03);
    cr_expect_eq(load_and_run(&a, inner), 0);
    cr_expect_eq(load_and_run(&a, inner), 1);
    cr_expect_eq(load_and_run(&b, inner), 1, "another step size is the same code");
    cr_expect_eq(entry_of(inner, path, sizeof path), 1);
    finish(&a);
    finish(&b);
    remove_folder(folder);
}

Test(code_cache, damaged_entries_are_made_again) {
    char folder[40], path[400];
    folder_of(folder);
    Case c = small_case(0.02);
    cr_expect_eq(load_and_run(&c, folder), 0);
    for (int how = 0; how < 5; how++) {
        cr_assert_eq(entry_of(folder, path, sizeof path), 1);
        struct stat info;
        stat(path, &info);
        int file = open(path, O_RDWR);
        char byte = 0x55;
        if (how == 0)
            cr_expect_eq(ftruncate(file, 0), 0);
        else if (how == 1)
            cr_expect_eq(ftruncate(file, info.st_size / 2), 0);
        else if (how == 2)
            cr_expect_eq(pwrite(file, &byte, 1, info.st_size / 2), 1);
        else if (how == 3)
            cr_expect_eq(pwrite(file, &byte, 1, 3), 1);
        else
            cr_expect_eq(pwrite(file, &byte, 1, info.st_size), 1);
        close(file);
        cr_expect_eq(load_and_run(&c, folder), 0, "damage %d was not seen", how);
        cr_expect_eq(load_and_run(&c, folder), 1, "damage %d was not mended", how);
    }
    finish(&c);
    remove_folder(folder);
}

Test(code_cache, no_folder_no_disk) {
    Case c = small_case(0.02);
    cr_expect_eq(load_and_run(&c, "/proc/no/such/place"), 0);
    cr_expect_eq(load_and_run(&c, "/dev/full"), 0);
    cr_expect_eq(load_and_run(&c, ""), 0);
    finish(&c);
}

Test(code_cache, several_at_once) {
    char folder[40], path[400];
    folder_of(folder);
    Case c = small_case(0.02);
    pid_t children[6];
    for (int i = 0; i < 6; i++) {
        children[i] = fork();
        if (children[i] == 0) _exit(load_and_run(&c, folder) < 0);
    }
    for (int i = 0; i < 6; i++) {
        int status = -1;
        waitpid(children[i], &status, 0);
        cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    cr_expect_eq(entry_of(folder, path, sizeof path), 1, "no half-written files stay");
    cr_expect_eq(load_and_run(&c, folder), 1);
    finish(&c);
    remove_folder(folder);
}

Test(code_cache, too_small_a_grid_is_said_before_anything_runs) {
    Case c = start(2, (int64_t[]){40, 2});
    Node u = field_input(&c, 1, 3, 0, 1);
    show(&c, graph_binary(c.m, c.f, OP_ADD, u, u, SPAN_NONE));
    Stencil s = {.rank = 2,
                 .in_channels = 1,
                 .out_channels = 1,
                 .taps = (Tap[]){{.offset = {0, 3, 0}, .weight = 1}},
                 .count = 1};
    show(&c, graph_add(c.m, c.f, OP_STENCIL, &u, 1, graph_stencil(c.m, &s), 0, SPAN_NONE));
    prepare(&c, false, 1);
    Arena *arena = arena_new();
    char *error = NULL;
    Code *code = code_load(plan_make(c.m, &(PlanOptions){0}, arena), NULL, NULL, &error);
    cr_assert_not_null(code);
    run_code(&c.run, code);
    cr_expect_eq(c.run.status, PDN_ERROR_SIZE);
    cr_expect_eq(c.run.effects, 0);
    code_free(code);
    arena_free(arena);
    finish(&c);
}
