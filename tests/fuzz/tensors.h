/* tensors.h: what the fuzzers of safetensors and checkpoints share: mutations that keep the length of the header
 * right, and what has to hold for a file that was read. */
#ifndef PDN_FUZZ_TENSORS_H
#define PDN_FUZZ_TENSORS_H

#include "runtime/file.h"

#include <stdlib.h>
#include <string.h>

size_t LLVMFuzzerMutate(uint8_t *bytes, size_t count, size_t most);

/* Bytes of the JSON object that begins there, by its brackets; 0: it does not end. */
static inline size_t object_length(const uint8_t *bytes, size_t count) {
    size_t depth = 0;
    bool quoted = false;
    for (size_t i = 0; i < count; i++) {
        if (quoted) {
            if (bytes[i] == '\\') {
                i++;
            } else if (bytes[i] == '"') {
                quoted = false;
            }
        } else if (bytes[i] == '"') {
            quoted = true;
        } else if (bytes[i] == '{') {
            depth++;
        } else if (bytes[i] == '}' && --depth == 0) {
            return i + 1;
        }
    }
    return 0;
}

/* In 15 of 16 mutations the length of the header is right, so that they reach what is behind it. */
size_t LLVMFuzzerCustomMutator(uint8_t *bytes, size_t count, size_t most, unsigned seed) {
    count = LLVMFuzzerMutate(bytes, count, most);
    size_t length = count > 8 && bytes[8] == '{' ? object_length(bytes + 8, count - 8) : 0;
    if (seed % 16 && length) {
        while (8 + length < count && bytes[8 + length] == ' ') { length++; }
        for (int i = 0; i < 8; i++) { bytes[i] = (uint8_t)((uint64_t)length >> 8 * i); }
    }
    return count;
}

/* Each number can be looked at, each name is found; the size is that of the file's data. */
static inline void look_at(const PdnTensors *tensors, size_t bytes) {
    double sum = 0;
    size_t most = 0;
    for (int i = 0; i < pdn_tensors_count(tensors); i++) {
        const PdnTensor *tensor = pdn_tensors_at(tensors, i);
        int64_t count = pdn_tensor_count(tensor);
        if (tensor->rank < 0 || tensor->rank > PDN_TENSOR_RANK || count < 0 ||
            pdn_tensors_find(tensors, tensor->name) != tensor ||
            (i && strcmp(pdn_tensors_at(tensors, i - 1)->name, tensor->name) >= 0)) {
            abort();
        }
        most += (size_t)count;
        for (int64_t n = 0; n < count; n++) {
            sum += tensor->type == PDN_F32 ? ((const float *)tensor->data)[n]
                                           : ((const double *)tensor->data)[n];
        }
        void *copy = malloc((size_t)count * sizeof(double) + 1);
        PdnError error = {""};
        for (int type = PDN_F32; type <= PDN_F64; type++) {
            PdnStatus status = pdn_tensors_get(tensors, tensor->name, (PdnType)type, tensor->rank,
                                               tensor->shape, copy, &error);
            if (status && (type == (int)tensor->type || !error.message[0])) { abort(); }
        }
        free(copy);
    }
    for (int i = 0; i < pdn_tensors_metadata_count(tensors); i++) {
        const char *key, *value = pdn_tensors_metadata_at(tensors, i, &key);
        if (pdn_tensors_metadata(tensors, key) != value) { abort(); }
    }
    volatile double used = sum;
    (void)used;
    if (most > bytes) { abort(); }
}

#endif
