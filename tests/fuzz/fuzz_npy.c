/* The reader of .npy files. */
#include "tests/fuzz/read.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count) {
    return fuzz_read(pdn_npy_magic, bytes, count);
}
