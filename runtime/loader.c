/* loader.c: the batches of epochs one after another, prepared ahead by a thread, across the end of an epoch too.
 *
 * Batches are numbered from the first one of the first epoch on. A ring of slots, a batch each: one is with the caller, the
 * others are ready or being filled. */
#include "runtime/data.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#define SLOTS 3

typedef struct {
    PdnSample *samples;
    int64_t count, first;
    void *room; /* of the values; aligned */
    int64_t bytes;
    PdnStatus status;
    PdnError error;
} Slot;

struct PdnLoader {
    const PdnData *data;
    uint64_t seed;
    int64_t epoch;   /* the first */
    int64_t batches; /* of an epoch */
    int64_t all;
    uint32_t *order; /* of the epoch that the thread is in; NULL: that of the set */
    Slot slots[SLOTS];
    void *scratch; /* the thread's own */
    int64_t scratch_bytes;
    int64_t wanted; /* the caller's next batch */
    bool ended;     /* the caller was told that the epoch before that batch ended */
    bool holds;     /* the caller has batch wanted - 1 */
    pthread_t thread;
    bool running;
    pthread_mutex_t mutex; /* of what follows */
    pthread_cond_t changed;
    int64_t ready;    /* batches that were prepared */
    int64_t returned; /* batches that the caller is through with */
    bool stop;
};

static PdnStatus make_order(PdnLoader *loader, PdnError *error) {
    int64_t count = loader->data->info.per_epoch;
    loader->order = malloc((size_t)count * sizeof *loader->order);
    if (!loader->order) {
        return pdn_fail(error, PDN_ERROR_MEMORY, "the order of %lld samples needs %s of memory",
                        (long long)count, pdn_bytes_text(4 * count).text);
    }
    return PDN_OK;
}

/* Fisher and Yates: each order is equally likely, to within 2^-37. */
static void shuffle(PdnLoader *loader, int64_t epoch) {
    int64_t count = loader->data->info.per_epoch;
    for (int64_t i = 0; i < count; i++) { loader->order[i] = (uint32_t)i; }
    for (int64_t i = count - 1; i > 0; i--) {
        uint32_t bits[4];
        pdn_data_draw(loader->seed, PDN_DRAW_ORDER, loader->data->options.source, (uint64_t)epoch,
                      (uint32_t)i, bits);
        unsigned __int128 wide = (unsigned __int128)((uint64_t)bits[1] << 32 | bits[0]);
        int64_t j = (int64_t)(wide * (uint64_t)(i + 1) >> 64);
        uint32_t kept = loader->order[i];
        loader->order[i] = loader->order[j];
        loader->order[j] = kept;
    }
}

/* ---- the thread ------------------------------------------------------------------------ */

static PdnStatus make_room(void **room, int64_t *have, int64_t need, int64_t samples,
                           PdnError *error) {
    if (need <= *have) { return PDN_OK; }
    free(*room);
    *have = 0;
    bool fits = need < (1 << 20) || need <= pdn_memory_available();
    *room = fits ? pdn_memory_new((size_t)need) : NULL;
    if (!*room) {
        return pdn_fail(error, PDN_ERROR_MEMORY,
                        "a batch of %lld samples needs %s of memory: take a smaller batch",
                        (long long)samples, pdn_bytes_text(need).text);
    }
    *have = need;
    return PDN_OK;
}

static int64_t place_index(const PdnLoader *loader, int64_t place) {
    return loader->order ? loader->order[place] : place;
}

static PdnStatus fill(PdnLoader *loader, Slot *slot, int64_t number) {
    const PdnData *data = loader->data;
    int64_t epoch = loader->epoch + number / loader->batches, batch = number % loader->batches;
    int64_t total = data->info.per_epoch, need = 0, widest = 0;
    slot->first = batch * data->info.batch;
    slot->count = total - slot->first < data->info.batch ? total - slot->first : data->info.batch;
    for (int64_t s = 0; s < slot->count; s++) {
        int64_t own = 0;
        pdn_data_sizes(data, place_index(loader, slot->first + s), &slot->samples[s]);
        if (pdn_data_placed(data, &slot->samples[s])) { continue; }
        for (int f = 0; f < data->info.fields; f++) {
            own += pdn_data_room(data, &slot->samples[s], f);
        }
        need += own;
        widest = own > widest ? own : widest;
    }
    PdnStatus status = make_room(&slot->room, &slot->bytes, need, slot->count, &slot->error);
    if (!status && data->options.augment) {
        status = make_room(&loader->scratch, &loader->scratch_bytes, widest, 1, &slot->error);
    }
    char *next = slot->room;
    for (int64_t s = 0; s < slot->count && !status; s++) {
        PdnSample *sample = &slot->samples[s];
        if (pdn_data_placed(data, sample)) { continue; }
        for (int f = 0; f < data->info.fields; f++) {
            sample->field[f].data = next;
            next += pdn_data_room(data, sample, f);
        }
        status = pdn_data_sample(data, loader->seed, epoch, place_index(loader, slot->first + s),
                                 sample, loader->scratch, &slot->error);
    }
    return status;
}

static void *prepare(void *context) {
    PdnLoader *loader = context;
    for (int64_t batch = 0; batch < loader->all; batch++) {
        pthread_mutex_lock(&loader->mutex);
        while (!loader->stop && batch - loader->returned >= SLOTS) {
            pthread_cond_wait(&loader->changed, &loader->mutex);
        }
        bool stop = loader->stop;
        pthread_mutex_unlock(&loader->mutex);
        if (stop) { break; }
        if (loader->order && batch % loader->batches == 0) {
            shuffle(loader, loader->epoch + batch / loader->batches);
        }
        Slot *slot = &loader->slots[batch % SLOTS];
        slot->status = fill(loader, slot, batch);
        bool failed = slot->status != PDN_OK;
        pthread_mutex_lock(&loader->mutex);
        loader->ready = batch + 1;
        pthread_cond_broadcast(&loader->changed);
        pthread_mutex_unlock(&loader->mutex);
        if (failed) { break; }
    }
    return NULL;
}

/* Signals are for the caller's threads. */
static bool start(PdnLoader *loader) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    loader->running = pthread_create(&loader->thread, NULL, prepare, loader) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return loader->running;
}

int64_t pdn_data_batches(const PdnData *data, int64_t batches, PdnSample *largest) {
    int64_t most = -1;
    for (int64_t i = 0; i < data->info.count; i++) {
        PdnSample sample = {0};
        int64_t bytes = 0;
        pdn_data_sizes(data, i, &sample);
        bool placed = pdn_data_placed(data, &sample);
        for (int f = 0; f < data->info.fields && !placed; f++) {
            bytes += pdn_data_room(data, &sample, f);
        }
        if (bytes <= most) { continue; }
        most = bytes;
        *largest = sample;
    }
    return most * (data->info.batch * (batches < SLOTS ? batches : SLOTS) +
                   (data->options.augment ? 1 : 0));
}

/* ---- the caller ------------------------------------------------------------------------- */

PdnStatus pdn_loader_open(const PdnData *data, uint64_t seed, int64_t epoch, int64_t epochs,
                          bool shuffled, PdnLoader **loader, PdnError *error) {
    *loader = NULL;
    PdnLoader *made = calloc(1, sizeof *made);
    if (!made) { return pdn_fail(error, PDN_ERROR_MEMORY, "no memory to read samples"); }
    made->data = data;
    made->seed = seed;
    made->epoch = epoch;
    made->batches = (data->info.per_epoch - 1) / data->info.batch + 1;
    made->all = epochs > INT64_MAX / made->batches ? INT64_MAX : epochs * made->batches;
    pthread_mutex_init(&made->mutex, NULL);
    pthread_cond_init(&made->changed, NULL);
    PdnStatus status = shuffled ? make_order(made, error) : PDN_OK;
    for (int s = 0; s < SLOTS && !status; s++) {
        made->slots[s].samples = calloc((size_t)data->info.batch, sizeof(PdnSample));
        if (!made->slots[s].samples) {
            status = pdn_fail(error, PDN_ERROR_MEMORY, "no memory for a batch of %lld samples",
                              (long long)data->info.batch);
        }
    }
    if (!status && !start(made)) {
        status = pdn_fail(error, PDN_ERROR_MEMORY, "no thread can be started to read samples");
    }
    if (status) {
        pdn_loader_close(made);
        return status;
    }
    *loader = made;
    return PDN_OK;
}

PdnStatus pdn_loader_next(PdnLoader *loader, PdnBatch *batch, PdnError *error) {
    *batch = (PdnBatch){.first = loader->data->info.per_epoch};
    pthread_mutex_lock(&loader->mutex);
    if (loader->holds) {
        loader->holds = false;
        loader->returned = loader->wanted;
        pthread_cond_broadcast(&loader->changed);
    }
    bool last = loader->wanted > 0 && loader->wanted % loader->batches == 0;
    bool end = loader->wanted == loader->all || (last && !loader->ended);
    while (!end && loader->ready <= loader->wanted) {
        pthread_cond_wait(&loader->changed, &loader->mutex);
    }
    pthread_mutex_unlock(&loader->mutex);
    loader->ended = end;
    if (end) { return PDN_OK; }
    const Slot *slot = &loader->slots[loader->wanted % SLOTS];
    if (slot->status) { return pdn_fail(error, slot->status, "%s", slot->error.message); }
    *batch = (PdnBatch){.first = slot->first, .count = slot->count, .samples = slot->samples};
    loader->holds = true;
    loader->wanted++;
    return PDN_OK;
}

void pdn_loader_close(PdnLoader *loader) {
    if (!loader) { return; }
    if (loader->running) {
        pthread_mutex_lock(&loader->mutex);
        loader->stop = true;
        pthread_cond_broadcast(&loader->changed);
        pthread_mutex_unlock(&loader->mutex);
        pthread_join(loader->thread, NULL);
    }
    pthread_mutex_destroy(&loader->mutex);
    pthread_cond_destroy(&loader->changed);
    for (int s = 0; s < SLOTS; s++) {
        free(loader->slots[s].samples);
        free(loader->slots[s].room);
    }
    free(loader->order);
    free(loader->scratch);
    free(loader);
}
