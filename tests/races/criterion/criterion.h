/* In Criterion's place under ThreadSanitizer, which does not get on with its processes: runs all tests of the program, in
 * one process, one after the other. What `./dev races` needs of it, and no more. */
#ifndef PDN_RACES_CRITERION_H
#define PDN_RACES_CRITERION_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct {
    const char *suite, *name;
    void (*run)(void);
} RacesTest;

extern RacesTest races_tests[256];
extern int races_count;
void races_fail(const char *file, int line, const char *what);

#define Test(suite, name)                                                                          \
    static void suite##_##name(void);                                                              \
    __attribute__((constructor)) static void add_##suite##_##name(void) {                          \
        races_tests[races_count++] = (RacesTest){#suite, #name, suite##_##name};                   \
    }                                                                                              \
    static void suite##_##name(void)

#define races_expect(truth)      ((truth) ? (void)0 : races_fail(__FILE__, __LINE__, #truth))
#define cr_assert(truth, ...)    races_expect(truth)
#define cr_assert_eq(a, b, ...)  races_expect((a) == (b))
#define cr_assert_gt(a, b, ...)  races_expect((a) > (b))
#define cr_assert_geq(a, b, ...) races_expect((a) >= (b))

#endif
