/* The reader of .npz files. */
#include "tests/fuzz/read.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count) {
    return fuzz_read(pdn_npz_magic, bytes, count);
}
