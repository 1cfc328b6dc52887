/* The reader of safetensors files. */
#include "tests/fuzz/tensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count) {
    PdnTensors *tensors = NULL;
    PdnError error = {""};
    PdnStatus status = pdn_tensors_read_bytes("fuzz", bytes, count, &tensors, &error);
    if ((status == PDN_OK) != (tensors != NULL) || (status && !error.message[0]) ||
        status == PDN_ERROR_ARGUMENT) {
        abort();
    }
    if (tensors) { look_at(tensors, count); }
    pdn_tensors_free(tensors);
    return 0;
}
