/* checkpoint.c: the state of training as a safetensors file. What tells one training from another is kept as
 * text, so that a message can show what differs. */
#define _GNU_SOURCE /* asprintf */
#include "runtime/file.h"
#include "runtime/pending.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define VERSION  "1"
#define IDENTITY "identity: " /* before what it is about, in the key of the metadata */
#define SHOWN    60           /* bytes of a line in a message */

static const char anew[] = "begin anew without --resume";

/* ---- writing ------------------------------------------------------------------------------- */

typedef struct {
    char text[32];
} Number;
static Number number_text(int64_t value) {
    Number number;
    snprintf(number.text, sizeof number.text, "%" PRId64, value);
    return number;
}

PdnStatus pdn_checkpoint_write(const char *path, const PdnCheckpoint *checkpoint, PdnError *error) {
    enum { FIXED = 4 };
    int parts = checkpoint->identity_count;
    if (parts < 0 || checkpoint->epoch < 0 || checkpoint->step < 0) {
        return pdn_fail(error, PDN_ERROR_ARGUMENT, "%s: a negative number of steps", path);
    }
    const char *(*metadata)[2] = calloc((size_t)parts + FIXED, sizeof *metadata);
    char **keys = calloc((size_t)parts + 1, sizeof *keys);
    bool whole = metadata && keys;
    Number epoch = number_text(checkpoint->epoch), step = number_text(checkpoint->step), seed;
    snprintf(seed.text, sizeof seed.text, "%" PRIu64, checkpoint->seed);
    const char *const fixed[FIXED][2] = {{"pdn.checkpoint", VERSION},
                                         {"epoch", epoch.text},
                                         {"step", step.text},
                                         {"seed", seed.text}};
    if (whole) { memcpy(metadata, fixed, sizeof fixed); }
    for (int i = 0; i < parts && whole; i++) {
        whole = asprintf(&keys[i], IDENTITY "%s", checkpoint->identity[i].what) >= 0;
        if (!whole) { keys[i] = NULL; }
        metadata[FIXED + i][0] = keys[i];
        metadata[FIXED + i][1] = checkpoint->identity[i].text;
    }
    PdnStatus status =
        whole ? pdn_tensors_write(path, checkpoint->tensors, checkpoint->count,
                                  (const char *const(*)[2])metadata, FIXED + parts, error)
              : pdn_fail(error, PDN_ERROR_MEMORY, "%s cannot be written: out of memory", path);
    for (int i = 0; keys && i < parts; i++) { free(keys[i]); }
    free(keys);
    free(metadata);
    return status;
}

PdnStatus pdn_checkpoint_prepare(const char *path, PdnError *error) {
    pending_clean(path, NULL, NULL);
    Pending pending;
    pending_begin(&pending);
    FILE *file;
    const char *temp;
    PdnStatus status = pending_open(&pending, path, &file, &temp, error);
    if (!status) { status = pending_close(&pending, error); }
    pending_discard(&pending);
    return status;
}

/* ---- reading: is it the same training? ------------------------------------------------------------ */

typedef struct {
    const char *name; /* of the file */
    const PdnTensors *tensors;
    PdnError *error;
} Found;

/* A whole number >= 0 in the metadata. */
static bool metadata_number(const Found *found, const char *key, uint64_t most, uint64_t *value) {
    const char *text = pdn_tensors_metadata(found->tensors, key);
    if (!text || *text < '0' || *text > '9') { return false; }
    char *end;
    errno = 0;
    *value = strtoull(text, &end, 10);
    return errno == 0 && *end == 0 && *value <= most;
}

/* A part of a text, for a message: the line of byte `at`, or the part of a long line around it. */
typedef struct {
    char text[SHOWN + 16];
} Excerpt;
static bool inside_character(char c) { return ((unsigned char)c & 0xc0) == 0x80; }
static Excerpt excerpt(const char *text, size_t at) {
    size_t begin = at, end;
    while (begin > 0 && text[begin - 1] != '\n') { begin--; }
    bool cut = at - begin > SHOWN / 2;
    if (cut) { begin = at - SHOWN / 3; }
    while (inside_character(text[begin])) { begin++; }
    for (end = begin; text[end] && text[end] != '\n' && end - begin < SHOWN;) { end++; }
    bool more = text[end] && text[end] != '\n';
    while (end > begin && inside_character(text[end])) { end--; }
    Excerpt part;
    snprintf(part.text, sizeof part.text, "%s%.*s%s", cut ? "…" : "", (int)(end - begin),
             text + begin, more ? "…" : "");
    return part;
}

static PdnStatus differs(const Found *found, const char *what, const char *was, const char *is) {
    size_t at = 0;
    while (was[at] && was[at] == is[at]) { at++; }
    long line = 1;
    for (size_t i = 0; i < at; i++) { line += was[i] == '\n'; }
    char where[48] = "";
    if (strchr(was, '\n') || strchr(is, '\n')) {
        snprintf(where, sizeof where, " differs in line %ld: it", line);
    }
    return pdn_fail(found->error, PDN_ERROR_FORMAT,
                    "%s is of another training: %.60s%s was '%s' and is now '%s'; undo that, or %s",
                    found->name, what, where, excerpt(was, at).text, excerpt(is, at).text, anew);
}

static PdnStatus check_identity(const Found *found, const PdnCheckpoint *training) {
    for (int i = 0; i < training->identity_count; i++) {
        const PdnIdentity *now = &training->identity[i];
        const char *was = NULL;
        for (int m = 0; m < pdn_tensors_metadata_count(found->tensors) && !was; m++) {
            const char *key, *value = pdn_tensors_metadata_at(found->tensors, m, &key);
            bool named = strncmp(key, IDENTITY, strlen(IDENTITY)) == 0 &&
                         strcmp(key + strlen(IDENTITY), now->what) == 0;
            was = named ? value : NULL;
        }
        if (!was) {
            return pdn_fail(found->error, PDN_ERROR_FORMAT,
                            "%s is of another training: it does not say what %.60s was; %s",
                            found->name, now->what, anew);
        }
        if (strcmp(was, now->text) != 0) { return differs(found, now->what, was, now->text); }
    }
    for (int m = 0; m < pdn_tensors_metadata_count(found->tensors); m++) {
        const char *key;
        pdn_tensors_metadata_at(found->tensors, m, &key);
        bool known = strncmp(key, IDENTITY, strlen(IDENTITY)) != 0;
        for (int i = 0; i < training->identity_count && !known; i++) {
            known = strcmp(key + strlen(IDENTITY), training->identity[i].what) == 0;
        }
        if (!known) {
            return pdn_fail(found->error, PDN_ERROR_FORMAT,
                            "%s is of another training: '%.60s' has no meaning here; %s",
                            found->name, key + strlen(IDENTITY), anew);
        }
    }
    return PDN_OK;
}

static PdnStatus check_tensors(const Found *found, const PdnCheckpoint *training) {
    for (int i = 0; i < training->count; i++) {
        const PdnTensor *now = &training->tensors[i];
        const PdnTensor *was = pdn_tensors_find(found->tensors, now->name);
        if (!was) {
            return pdn_fail(found->error, PDN_ERROR_FORMAT,
                            "%s is of another training: it does not hold '%.80s'; %s", found->name,
                            now->name, anew);
        }
        if (was->type != now->type) {
            return pdn_fail(found->error, PDN_ERROR_FORMAT,
                            "%s was computed in %s, and this training computes in %s: choose that "
                            "precision, or %s",
                            found->name, was->type == PDN_F32 ? "f32" : "f64",
                            now->type == PDN_F32 ? "f32" : "f64", anew);
        }
        bool same = was->rank == now->rank;
        for (int axis = 0; same && axis < now->rank; axis++) {
            same = was->shape[axis] == now->shape[axis];
        }
        if (!same) {
            return pdn_fail(found->error, PDN_ERROR_FORMAT,
                            "%s is of another training: its '%.80s' is %s, not %s; %s", found->name,
                            now->name, pdn_shape_text(was->rank, was->shape).text,
                            pdn_shape_text(now->rank, now->shape).text, anew);
        }
    }
    for (int i = 0; i < pdn_tensors_count(found->tensors); i++) {
        const PdnTensor *was = pdn_tensors_at(found->tensors, i);
        bool known = false;
        for (int j = 0; j < training->count && !known; j++) {
            known = strcmp(training->tensors[j].name, was->name) == 0;
        }
        if (!known) {
            return pdn_fail(found->error, PDN_ERROR_FORMAT,
                            "%s is of another training: nothing here is called '%.80s'; %s",
                            found->name, was->name, anew);
        }
    }
    return PDN_OK;
}

/* Does the epoch follow from the step, and is there so much to do? */
static PdnStatus check_progress(const Found *found, const PdnCheckpoint *training, uint64_t epoch,
                                uint64_t step) {
    uint64_t of_epoch = (uint64_t)training->epoch_steps, steps = (uint64_t)training->steps;
    if (of_epoch == 0 && epoch > 0) {
        return pdn_fail(found->error, PDN_ERROR_FORMAT,
                        "%s is of %" PRIu64 " epoch%s, and this training has none; %s", found->name,
                        epoch, epoch == 1 ? "" : "s", anew);
    }
    if (of_epoch > 0 && epoch != step / of_epoch) {
        return pdn_fail(
            found->error, PDN_ERROR_FORMAT,
            "%s contradicts itself, or the data: it is of epoch %" PRIu64 " and step %" PRIu64
            ", and with %" PRIu64 " step%s an epoch that step is of "
            "epoch %" PRIu64 "; %s",
            found->name, epoch, step, of_epoch, of_epoch == 1 ? "" : "s", step / of_epoch, anew);
    }
    if (steps > 0 && step > steps) {
        return pdn_fail(found->error, PDN_ERROR_FORMAT,
                        "%s is of step %" PRIu64 ", and this training ends at step %" PRIu64
                        ": train for as long as then, or %s",
                        found->name, step, steps, anew);
    }
    return PDN_OK;
}

static PdnStatus check(const Found *found, PdnCheckpoint *training) {
    const char *version = pdn_tensors_metadata(found->tensors, "pdn.checkpoint");
    uint64_t epoch, step, seed;
    if (!version) {
        return pdn_fail(found->error, PDN_ERROR_FORMAT,
                        "%s is no checkpoint of training, but a file of other arrays; %s",
                        found->name, anew);
    }
    if (strcmp(version, VERSION) != 0) {
        return pdn_fail(
            found->error, PDN_ERROR_FORMAT,
            "%s was written by another pdn (version %.20s of checkpoints, this one reads "
            "%s): use that one, or %s",
            found->name, version, VERSION, anew);
    }
    if (!metadata_number(found, "epoch", INT64_MAX, &epoch) ||
        !metadata_number(found, "step", INT64_MAX, &step) ||
        !metadata_number(found, "seed", UINT64_MAX, &seed)) {
        return pdn_fail(found->error, PDN_ERROR_FORMAT,
                        "%s is a broken checkpoint: it does not say its epoch, step and seed; %s",
                        found->name, anew);
    }
    PdnStatus status = check_identity(found, training);
    if (!status && seed != training->seed) {
        status = pdn_fail(found->error, PDN_ERROR_FORMAT,
                          "%s was made with --seed %" PRIu64 ", and now the seed is %" PRIu64
                          ": give --seed %" PRIu64 ", or %s",
                          found->name, seed, training->seed, seed, anew);
    }
    if (!status) { status = check_tensors(found, training); }
    if (!status) { status = check_progress(found, training, epoch, step); }
    if (!status) {
        training->epoch = (int64_t)epoch;
        training->step = (int64_t)step;
    }
    return status;
}

/* What was read, if it is this training's. */
static PdnStatus accept(const char *name, PdnCheckpoint *training, PdnTensors *tensors,
                        PdnTensors **out, PdnError *error) {
    const Found found = {name, tensors, error};
    PdnStatus status = check(&found, training);
    *out = status ? NULL : tensors;
    if (status) { pdn_tensors_free(tensors); }
    return status;
}

PdnStatus pdn_checkpoint_read(const char *path, PdnCheckpoint *training, PdnTensors **out,
                              PdnError *error) {
    PdnTensors *tensors;
    *out = NULL;
    PdnStatus status = pdn_tensors_read(path, &tensors, error);
    return status ? status : accept(path, training, tensors, out, error);
}

PdnStatus pdn_checkpoint_read_bytes(const char *name, const void *bytes, size_t count,
                                    PdnCheckpoint *training, PdnTensors **out, PdnError *error) {
    PdnTensors *tensors;
    *out = NULL;
    PdnStatus status = pdn_tensors_read_bytes(name, bytes, count, &tensors, error);
    return status ? status : accept(name, training, tensors, out, error);
}
