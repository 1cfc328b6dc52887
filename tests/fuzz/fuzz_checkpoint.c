/* The reader of checkpoints, for a training of two arrays. */
#include "tests/fuzz/tensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count) {
    static const PdnTensor state[] = {{.name = "K", .type = PDN_F32, .rank = 2, .shape = {2, 3}},
                                      {.name = "m", .type = PDN_F64, .rank = 1, .shape = {2}}};
    static const PdnIdentity identity[] = {
        {"the program",
         "let a = 1\nparam K[depth]: ones\n\xc3\xa4\xc3\xb6 \xe2\x89\xa4 a line that is longer than "
         "what a message shows of it, so that it is cut\n"},
        {"the optimiser", "adam(rate = 0.001)"}};
    PdnCheckpoint training = {.epoch = -1,
                              .step = -1,
                              .epoch_steps = 100,
                              .steps = 10000,
                              .seed = 7,
                              .identity = identity,
                              .identity_count = 2,
                              .tensors = state,
                              .count = 2};
    PdnTensors *tensors = NULL;
    PdnError error = {""};
    PdnStatus status = pdn_checkpoint_read_bytes("fuzz", bytes, count, &training, &tensors, &error);
    if ((status == PDN_OK) != (tensors != NULL) || (status && !error.message[0]) ||
        status == PDN_ERROR_ARGUMENT) {
        abort();
    }
    if (status
            ? training.epoch != -1 || training.step != -1
            : training.epoch != training.step / 100 || training.step < 0 || training.step > 10000) {
        abort();
    }
    if (tensors) {
        float weights[6];
        double moments[2];
        if (pdn_tensors_get(tensors, "K", PDN_F32, 2, state[0].shape, weights, NULL) ||
            pdn_tensors_get(tensors, "m", PDN_F64, 1, state[1].shape, moments, NULL)) {
            abort();
        }
        look_at(tensors, count);
    }
    pdn_tensors_free(tensors);
    return 0;
}
