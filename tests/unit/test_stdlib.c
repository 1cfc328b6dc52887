/* The embedded library: every module is there, whole, and in order. */
#include "compiler/sema/stdlib.h"

#include <criterion/criterion.h>
#include <string.h>

Test(stdlib, table_is_ordered_and_ended) {
    for (size_t i = 0; i < pdn_stdlib_count; i++) {
        cr_assert_not_null(pdn_stdlib[i].name);
        cr_assert_eq(pdn_stdlib[i].bytes[pdn_stdlib[i].length], 0);
        cr_assert_eq(strlen(pdn_stdlib[i].bytes), pdn_stdlib[i].length, "%s holds a 0 byte",
                     pdn_stdlib[i].name);
        if (i > 0) cr_assert_lt(strcmp(pdn_stdlib[i - 1].name, pdn_stdlib[i].name), 0);
    }
    cr_assert_null(pdn_stdlib[pdn_stdlib_count].name);
}
