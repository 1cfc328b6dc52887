/* checkpoint: which states of a loop are kept for the way back, when they are not all.
 *
 * The binomial schedule: A. Griewank, A. Walther, Algorithm 799: Revolve, ACM Transactions on Mathematical
 * Software 26 (2000). With room for s states and steps computed again at most r times, chains of up to
 * binomial(s + r, s) steps can be undone, and no schedule does with fewer steps.
 *
 * A chain of l steps: the state before its first step is kept; the l-th step is the one that is undone
 * without being done. A loop of n steps is a chain of n + 1, the last of which is what follows the loop.
 * What compiled code does (compiler/llvm/emit_tape.c) is checkpoint_advance, again and again. */
#ifndef PDN_KERNEL_CHECKPOINT_H
#define PDN_KERNEL_CHECKPOINT_H

#include <stdint.h>

/* In a chain of `length` >= 1 steps whose first state is kept, with room for `free` >= 0 states more: how many
 * steps to go before the next state is kept; `length` where none is. Both below 2^31. */
int64_t checkpoint_advance(int64_t length, int64_t free);

/* Steps that a loop of `steps` steps does a second time or more often, with room for `slots` >= 1 states:
 * t(n + 1, s) - n with t(l, s) = r l - binomial(s + r, s + 1), r the least with binomial(s + r, s) >= l. */
int64_t checkpoint_again(int64_t steps, int64_t slots);

#endif
