/* The binomial schedule: no other one does with fewer steps, and what it does is what its formula says. */
#include "compiler/kernel/checkpoint.h"

#include <criterion/criterion.h>
#include <stdlib.h>

enum { LENGTH = 120, SLOTS = 10 };

static int64_t best[LENGTH + 1][SLOTS + 1], done[LENGTH + 1][SLOTS + 1];

/* Fewest steps to undo a chain of l with s states, by trying every place (dynamic programming). */
static void search(void) {
    for (int s = 1; s <= SLOTS; s++)
        for (int l = 0; l <= LENGTH; l++) {
            best[l][s] = l <= 1 ? 0 : (int64_t)l * (l - 1) / 2;
            for (int m = 1; m < l && s > 1; m++) {
                int64_t steps = m + best[l - m][s - 1] + best[m][s];
                if (steps < best[l][s]) best[l][s] = steps;
            }
        }
}

Test(checkpoint, no_schedule_does_with_fewer_steps) {
    search();
    for (int s = 1; s <= SLOTS; s++)
        for (int l = 1; l <= LENGTH; l++) {
            int64_t m = checkpoint_advance(l, s - 1);
            if (s == 1 || l == 1) {
                cr_assert(m == l, "%d %d", l, s);
                done[l][s] = (int64_t)l * (l - 1) / 2;
                continue;
            }
            cr_assert(m >= 1 && m < l, "%lld of %d with %d", (long long)m, l, s);
            done[l][s] = m + done[l - m][s - 1] + done[m][s];
            cr_assert_eq(done[l][s], best[l][s], "%d steps, %d states: %lld, not %lld", l, s,
                         (long long)done[l][s], (long long)best[l][s]);
            cr_assert_eq(checkpoint_again(l - 1, s), best[l][s] - (l - 1), "%d steps, %d states", l,
                         s);
        }
}

static double binomial(int n, int k) {
    double b = 1;
    for (int i = 1; i <= k; i++) b = b * (n - k + i) / i;
    return b;
}

/* With s states and r repetitions, binomial(s + r, s) steps and no more. */
Test(checkpoint, reaches_the_binomial_number_of_steps) {
    for (int s = 1; s <= 12; s++)
        for (int r = 1; r <= 6; r++) {
            int64_t length = (int64_t)binomial(s + r, s);
            double expected = r * (double)length - binomial(s + r, s + 1);
            cr_assert_eq((double)checkpoint_again(length - 1, s), expected - (double)(length - 1));
        }
    cr_assert_eq(checkpoint_again(10000, 10000), 0);
    cr_assert_eq(checkpoint_again(10000, 20000), 0);
    cr_assert_eq(checkpoint_again(0, 1), 0);
    cr_assert_eq(checkpoint_again(10000, 1), INT64_C(10000) * 9999 / 2);
}

/* Large numbers neither overflow nor take long. */
Test(checkpoint, large_numbers) {
    int64_t n = INT32_MAX;
    for (int64_t s = 1; s < n / 2; s *= 7) {
        int64_t m = checkpoint_advance(n, s);
        cr_assert(m >= 1 && m < n, "%lld", (long long)m);
        int64_t again = s > 1 ? checkpoint_again(n - 1, s) : 0;
        cr_assert(again >= 0);
    }
    cr_assert_eq(checkpoint_advance(n, n), 1);
}
