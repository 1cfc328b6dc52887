/* The reader of PGM and PPM files. */
#include "tests/fuzz/read.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count) {
    return fuzz_read(pdn_pnm_magic, bytes, count);
}
