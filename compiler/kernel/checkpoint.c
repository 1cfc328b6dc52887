#include "compiler/kernel/checkpoint.h"

/* The least r with binomial(s + r, s) >= length, and that binomial for r, r - 1 and r - 2. */
static int64_t repetitions(int64_t length, int64_t s, int64_t b[3]) {
    int64_t r = 0;
    b[0] = 1;
    b[1] = b[2] = 0;
    while (b[0] < length) {
        r++;
        b[2] = b[1];
        b[1] = b[0];
        b[0] = b[1] * (s + r) / r;
    }
    return r;
}

int64_t checkpoint_advance(int64_t length, int64_t free) {
    int64_t b[3];
    if (free <= 0) return length;
    if (free >= length) return 1;
    /* The chain before the next kept state is undone with s states, what follows with s - 1: neither may need
     * more repetitions than the whole, or b[2] fewer. */
    repetitions(length, free + 1, b);
    int64_t advance = length - (b[0] - b[1]); /* binomial(s - 1 + r, s - 1) = b[0] - b[1] */
    if (advance < b[2]) advance = b[2];
    return advance < 1 ? 1 : advance;
}

int64_t checkpoint_again(int64_t steps, int64_t slots) {
    int64_t length = steps + 1, b[3];
    if (slots >= steps || steps <= 0) return 0;
    if (slots == 1) return steps * (steps - 1) / 2;
    int64_t r = repetitions(length, slots, b);
    /* binomial(s + r, s + 1) = binomial(s + r, s) r / (s + 1); the difference is small, its parts may be large */
    return (int64_t)((__int128)r * length - (__int128)b[0] * r / (slots + 1)) - steps;
}
