/* data.h: what the kinds of data sources share. Private to the runtime (and its tests).
 *
 * A kind makes a PdnData with its fields and count, says the size of every sample, and copies windows of
 * samples; what is drawn, in which order, and by which thread is none of its business. */
#ifndef PDN_DATA_H
#define PDN_DATA_H

#include "runtime/file.h"

typedef struct {
    int64_t low[3], extent[3]; /* cells low <= i < low + extent; unused axes 0 and 1 */
} PdnWindow;

typedef struct {
    /* The extents of a whole sample (x first, unused axes 1). */
    void (*extent)(const PdnData *data, int64_t number, int field, int64_t extent[3]);
    /* Copies a window of each field to to[field], as [channel][z][y][x] without gaps. By several threads. */
    PdnStatus (*read)(const PdnData *data, int64_t number, const PdnWindow windows[],
                      void *const to[], PdnError *error);
    /* Where the fields of a whole sample are in memory, as read would copy them, for as long as the set; NULL: nowhere. */
    const void *(*place)(const PdnData *data, int64_t number, int field);
    void (*name)(const PdnData *data, int64_t number, char *to, size_t room); /* as pdn_data_name */
    void (*free)(void *source);
} PdnDataKind;

struct PdnData {
    const PdnDataKind *kind;
    void *source; /* the kind's own */
    PdnType type;
    PdnDataOptions options; /* patch 0: none; limit and memory may be absent, the others are not */
    PdnDataInfo info;
};

/* A new set with checked options; `source` is freed with it, and by this function when it fails. */
PdnStatus pdn_data_new(const PdnDataKind *kind, void *source, const PdnDataOptions *options,
                       PdnType type, PdnData **data, PdnError *error);
/* The last step: with the fields (and their whole extents) and the count of samples in data->info, checks the
 * rest of the options and fills in the rest of the info. `name` is for messages. On failure frees the set. */
PdnStatus pdn_data_finish(const char *name, PdnData **data, PdnError *error);
/* The set's samples: `count`, or the limit. */
int64_t pdn_data_limited(const PdnData *data, int64_t count);

/* A block of random bits that no pdn_random gives: its blocks are numbered below 2^62, these are not. */
enum { PDN_DRAW_ORDER, PDN_DRAW_WINDOW, PDN_DRAW_SIGNAL };
void pdn_data_draw(uint64_t seed, int purpose, uint16_t source, uint64_t major, uint32_t minor,
                   uint32_t block[4]);
/* Uniform in {0, …, count - 1} to within count / 2^32, of 32 random bits. */
static inline int64_t pdn_data_below(uint32_t bits, int64_t count) {
    return (int64_t)((uint64_t)bits * (uint64_t)count >> 32);
}

/* What place `index` of an epoch (before it is shuffled) draws: the number in the set and the sizes of the
 * fields; then, with sample->field[].data pointing to room for them, the values. `scratch` has room for the
 * fields of the sample too, each rounded up by pdn_data_room. */
void pdn_data_sizes(const PdnData *data, int64_t index, PdnSample *sample);
/* Is the sample, after that, in memory as it is drawn, as aligned as in such room? Then sample->field[].data point there. */
bool pdn_data_placed(const PdnData *data, PdnSample *sample);
PdnStatus pdn_data_sample(const PdnData *data, uint64_t seed, int64_t epoch, int64_t index,
                          PdnSample *sample, void *scratch, PdnError *error);
/* Bytes of a field, rounded up to 64. */
int64_t pdn_data_room(const PdnData *data, const PdnSample *sample, int field);

/* The pictures of a folder or of a pattern, in the order of their names; at most `most`. */
typedef struct {
    char **paths;
    int64_t count, room;
} PdnPaths;
PdnStatus pdn_picture_paths(const char *path, int64_t most, PdnPaths *paths, PdnError *error);
void pdn_paths_free(PdnPaths *paths);

#endif
