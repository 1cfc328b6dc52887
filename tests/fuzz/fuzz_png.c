/* The reader of .png files. Mutations get right sums (CRC) mostly, so that they reach the decoder. */
#include "tests/fuzz/read.h"

#include <zlib.h>

size_t LLVMFuzzerMutate(uint8_t *bytes, size_t count, size_t most);

static uint32_t load(const uint8_t *from) {
    return (uint32_t)from[0] << 24 | (uint32_t)from[1] << 16 | (uint32_t)from[2] << 8 | from[3];
}

/* The sums of all chunks that are whole. */
static void mend_sums(uint8_t *bytes, size_t count) {
    for (size_t at = 8; at + 12 <= count;) {
        size_t length = load(bytes + at);
        if (length > count - at - 12) { return; }
        uint32_t sum = (uint32_t)crc32(0, bytes + at + 4, (uInt)length + 4);
        for (int i = 0; i < 4; i++) {
            bytes[at + 8 + length + (size_t)i] = (uint8_t)(sum >> (24 - 8 * i));
        }
        at += 12 + length;
    }
}

size_t LLVMFuzzerCustomMutator(uint8_t *bytes, size_t count, size_t most, unsigned seed) {
    count = LLVMFuzzerMutate(bytes, count, most);
    if (seed % 16) { mend_sums(bytes, count); }
    return count;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count) {
    /* A few bytes may rightly become gigabytes: such inputs are only slow. */
    if (count >= 24 && (uint64_t)load(bytes + 16) * load(bytes + 20) > 1 << 20 && bytes[23] % 8) {
        return -1;
    }
    return fuzz_read(pdn_png_magic, bytes, count);
}
