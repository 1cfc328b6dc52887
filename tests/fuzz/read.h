/* read.h: the body of the fuzzers of file readers. */
#ifndef PDN_FUZZ_READ_H
#define PDN_FUZZ_READ_H

#include "runtime/file.h"

#include <stdlib.h>
#include <string.h>

/* Reads the bytes as a file of the one format; what comes back must hold together. */
static inline int fuzz_read(PdnMagic *magic, const uint8_t *bytes, size_t count) {
    if (!magic(bytes, count)) { return -1; /* another fuzzer's */ }
    PdnArray array;
    PdnError error = {""};
    PdnType type = count % 2 ? PDN_F32 : PDN_F64;
    PdnStatus status = pdn_bytes_read("fuzz", bytes, count, type, &array, &error);
    if (status) {
        /* a failure has a message, a kind, and leaves nothing behind */
        if (error.message[0] == 0 || array.data || status == PDN_ERROR_ARGUMENT) { abort(); }
        return 0;
    }
    double sum = 0;
    int64_t values = pdn_array_count(&array);
    for (int64_t i = 0; i < values; i++) { /* each value can be looked at */
        sum += type == PDN_F32 ? ((float *)array.data)[i] : ((double *)array.data)[i];
    }
    bool picture = bytes[0] == 'P' || bytes[1] == 'P';
    if (array.type != type || array.rank < 0 || array.rank > PDN_MAX_RANK || values < 1 ||
        (picture && memcmp(bytes, "PK", 2) != 0 && !(sum >= 0 && sum <= (double)values))) {
        abort();
    }
    pdn_array_free(&array);
    return 0;
}

#endif
