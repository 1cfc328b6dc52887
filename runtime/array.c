/* array.c: dense arrays, and whether the memory for them is there. */
#include "runtime/file.h"

#include <stdlib.h>
#include <string.h>

#define ALIGNMENT 64

bool pdn_shape_bytes(int rank, const int64_t *shape, int64_t size, int64_t *bytes) {
    int64_t total = size;
    bool fits = true, empty = false;
    for (int axis = 0; axis < rank; axis++) {
        if (shape[axis] < 0) { return false; }
        empty |= shape[axis] == 0;
        fits = fits && !__builtin_mul_overflow(total, shape[axis], &total);
    }
    *bytes = empty ? 0 : total;
    return empty || fits;
}

PdnShapeText pdn_shape_text(int rank, const int64_t *shape) {
    PdnShapeText text = {"a number"};
    size_t used = 0;
    for (int axis = 0; axis < rank && used < sizeof text.text; axis++) {
        used += (size_t)snprintf(text.text + used, sizeof text.text - used, "%s%lld",
                                 axis ? " x " : "", (long long)shape[axis]);
    }
    return text;
}

PdnStatus pdn_array_new(PdnArray *array, PdnType type, int rank, const int64_t *shape,
                        PdnError *error) {
    memset(array, 0, sizeof *array);
    if (rank < 0 || rank > PDN_MAX_RANK) {
        return pdn_fail(error, PDN_ERROR_ARGUMENT, "an array of %d axes: at most %d are possible",
                        rank, PDN_MAX_RANK);
    }
    int64_t bytes;
    if (!pdn_shape_bytes(rank, shape, (int64_t)pdn_type_size(type), &bytes) ||
        bytes > INT64_MAX - ALIGNMENT) {
        return pdn_fail(error, PDN_ERROR_MEMORY,
                        "an array of %s values needs more bytes than can be counted",
                        pdn_shape_text(rank, shape).text);
    }
    int64_t rounded = bytes == 0 ? ALIGNMENT : (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    int64_t available = rounded < (1 << 20) ? INT64_MAX : pdn_memory_available();
    void *data = rounded <= available ? pdn_memory_new((size_t)rounded) : NULL;
    if (!data) {
        return pdn_fail(error, PDN_ERROR_MEMORY,
                        "an array of %s values needs %s of memory; %s are available",
                        pdn_shape_text(rank, shape).text, pdn_bytes_text(bytes).text,
                        pdn_bytes_text(pdn_memory_available()).text);
    }
    memset(data, 0, (size_t)rounded);
    array->type = type;
    array->rank = rank;
    for (int axis = 0; axis < rank; axis++) { array->shape[axis] = shape[axis]; }
    array->data = data;
    return PDN_OK;
}

void pdn_array_free(PdnArray *array) {
    free(array->data);
    array->data = NULL;
}

int64_t pdn_array_count(const PdnArray *array) {
    int64_t count = 1;
    for (int axis = 0; axis < array->rank; axis++) { count *= array->shape[axis]; }
    return count;
}
