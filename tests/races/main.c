/* Runs the tests that were linked with it (criterion/criterion.h of this folder). */
#include "tests/races/criterion/criterion.h"

RacesTest races_tests[256];
int races_count;

void races_fail(const char *file, int line, const char *what) {
    fprintf(stderr, "%s:%d: not so: %s\n", file, line, what);
    exit(1);
}

int main(void) {
    for (int i = 0; i < races_count; i++) {
        fprintf(stderr, "%s/%s\n", races_tests[i].suite, races_tests[i].name);
        races_tests[i].run();
    }
    fprintf(stderr, "%d tests\n", races_count);
    return races_count ? 0 : 1;
}
