/* data_signals.c: signals on a line that are generated when they are drawn. A kind is a function and a row. */
#include "runtime/data.h"

#include <stdlib.h>
#include <string.h>

typedef struct Signals Signals;
/* Values [low, low + count) of signal `number` to `to`. */
typedef void Generator(const Signals *signals, int64_t number, int64_t low, int64_t count,
                       double *to);

struct Signals {
    Generator *generator;
    const char *name;
    int64_t cells;
    uint64_t seed;
    uint16_t source;
};

/* Block j of the signal gives segment j: the length, the values at its ends (multiples of 2^-32). */
static void piecewise(const Signals *signals, int64_t number, int64_t low, int64_t count,
                      double *to, bool constant) {
    int64_t n = signals->cells, least = n / 10, most = 3 * n / 10, begin = 0;
    least = least < 1 ? 1 : least;
    most = most < 1 ? 1 : most;
    for (uint32_t j = 0; begin < low + count; j++) {
        uint32_t bits[4];
        pdn_data_draw(signals->seed, PDN_DRAW_SIGNAL, signals->source, (uint64_t)number, j, bits);
        int64_t length = least + pdn_data_below(bits[0], most - least + 1);
        double a = bits[1] * 0x1p-32, b = constant ? a : bits[2] * 0x1p-32;
        for (int64_t i = 0; i < length; i++) {
            int64_t at = begin + i - low;
            if (at >= 0 && at < count) {
                to[at] = a + (b - a) * (((double)i + 0.5) / (double)length);
            }
        }
        begin += length;
    }
}

static void piecewise_affine(const Signals *signals, int64_t number, int64_t low, int64_t count,
                             double *to) {
    piecewise(signals, number, low, count, to, false);
}
static void piecewise_constant(const Signals *signals, int64_t number, int64_t low, int64_t count,
                               double *to) {
    piecewise(signals, number, low, count, to, true);
}

static const struct {
    const char *name;
    Generator *generator;
} generators[] = {
    {"piecewise_affine", piecewise_affine},
    {"piecewise_constant", piecewise_constant},
};
#define GENERATOR_COUNT (sizeof generators / sizeof generators[0])

/* ---- the kind of data --------------------------------------------------------------------- */

static void extent_of(const PdnData *data, int64_t number, int field, int64_t extent[3]) {
    extent[0] = ((const Signals *)data->source)->cells;
    extent[1] = extent[2] = 1;
}

static void name_of(const PdnData *data, int64_t number, char *to, size_t room) {
    const Signals *signals = data->source;
    snprintf(to, room, "signal %lld of %s", (long long)number, signals->name);
}

static PdnStatus read_window(const PdnData *data, int64_t number, const PdnWindow windows[],
                             void *const to[], PdnError *error) {
    const Signals *signals = data->source;
    int64_t low = windows[0].low[0], count = windows[0].extent[0];
    if (data->type == PDN_F64) {
        signals->generator(signals, number, low, count, to[0]);
        return PDN_OK;
    }
    double *wide = malloc((size_t)count * sizeof *wide);
    if (!wide) { return pdn_fail(error, PDN_ERROR_MEMORY, "no memory for a signal"); }
    signals->generator(signals, number, low, count, wide);
    for (int64_t i = 0; i < count; i++) { ((float *)to[0])[i] = (float)wide[i]; }
    free(wide);
    return PDN_OK;
}

static const PdnDataKind kind = {extent_of, read_window, NULL, name_of, free};

/* ---- opening ------------------------------------------------------------------------------ */

static PdnStatus from_file(const char *path, const PdnSignals *given, const PdnDataOptions *options,
                           PdnType type, PdnData **data, PdnError *error) {
    char list[120];
    size_t used = 0;
    for (size_t i = 0; i < GENERATOR_COUNT; i++) {
        used += (size_t)snprintf(list + used, sizeof list - used, "%s%s", i ? ", " : "",
                                 generators[i].name);
    }
    FILE *file = fopen(path, "rbe");
    if (!file && !strpbrk(path, "./")) {
        return pdn_fail(error, PDN_ERROR_ARGUMENT,
                        "signals of the kind %s are not known, and there is no file of that name; "
                        "kinds are: %s",
                        path, list);
    }
    if (file) { fclose(file); }
    if (given->cells != PDN_ABSENT || given->count != PDN_ABSENT) {
        return pdn_fail(error, PDN_ERROR_ARGUMENT,
                        "%s is a file, whose signals have their number and length: leave out cells "
                        "and count (limit = n takes the first n)",
                        path);
    }
    return pdn_data_arrays(&path, 1, 1, options, type, data, error);
}

static bool in_range(int64_t *value, int64_t absent, int64_t most, const char *name,
                     PdnError *error) {
    if (*value == PDN_ABSENT) { *value = absent; }
    if (*value >= 1 && *value <= most) { return true; }
    pdn_fail(error, *value < 1 ? PDN_ERROR_ARGUMENT : PDN_ERROR_LIMIT,
             "%s = %lld: it is a whole number from 1 to %lld", name, (long long)*value,
             (long long)most);
    return false;
}

PdnStatus pdn_data_signals(const char *name, const PdnSignals *given, const PdnDataOptions *options,
                           PdnType type, PdnData **data, PdnError *error) {
    *data = NULL;
    size_t which = 0;
    while (name && which < GENERATOR_COUNT && strcmp(name, generators[which].name) != 0) {
        which++;
    }
    if (which == GENERATOR_COUNT) { return from_file(name, given, options, type, data, error); }
    PdnSignals wanted = *given;
    if (!in_range(&wanted.cells, 256, INT32_MAX, "cells", error) ||
        !in_range(&wanted.count, 1000, PDN_DATA_SAMPLES, "count", error)) {
        return wanted.cells > INT32_MAX || wanted.count > PDN_DATA_SAMPLES ? PDN_ERROR_LIMIT
                                                                           : PDN_ERROR_ARGUMENT;
    }
    Signals *signals = malloc(sizeof *signals);
    if (!signals) { return pdn_fail(error, PDN_ERROR_MEMORY, "no memory for signals"); }
    *signals = (Signals){generators[which].generator, generators[which].name, wanted.cells,
                         wanted.seed, options->source};
    PdnData *made;
    PdnStatus status = pdn_data_new(&kind, signals, options, type, &made, error);
    if (status) { return status; }
    made->info.fields = 1;
    made->info.field[0] = (PdnDataField){.rank = 1, .channels = 1, .extent = {wanted.cells, 1, 1}};
    made->info.count = pdn_data_limited(made, wanted.count);
    made->info.decoded = true;
    status = pdn_data_finish(signals->name, &made, error);
    if (!status) { *data = made; }
    return status;
}
