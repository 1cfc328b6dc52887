/* checkpoints: a training that only counts, and writes a checkpoint after each epoch, for tests/check/kill.py;
 * and what the runtime reads in a safetensors file, for tests/python/test_safetensors.py.
 *
 *   checkpoints FILE COUNT EPOCHS [--resume]   in every epoch the COUNT numbers of each of three arrays become
 *                             the epoch's; "epoch N" is printed when its checkpoint is on the disk
 *   checkpoints copy FROM TO  reads and writes
 *   checkpoints -             copies: a line of standard input each, split at tabs
 * A failure prints "error STATUS: message" and exits with 1; 2: the command line is wrong. */
#include "runtime/pdn.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int failed(PdnStatus status, const PdnError *error) {
    printf("error %d %s: %s\n", status, pdn_status_name(status), error->message);
    return 1;
}

static int copy(const char *from, const char *to) {
    PdnError error = {""};
    PdnTensors *tensors;
    PdnStatus status = pdn_tensors_read(from, &tensors, &error);
    if (status) { return failed(status, &error); }
    int count = pdn_tensors_count(tensors), pairs = pdn_tensors_metadata_count(tensors);
    PdnTensor *list = calloc((size_t)count + 1, sizeof *list);
    const char *(*metadata)[2] = calloc((size_t)pairs + 1, sizeof *metadata);
    for (int i = 0; i < count; i++) { list[i] = *pdn_tensors_at(tensors, i); }
    for (int i = 0; i < pairs; i++) {
        metadata[i][1] = pdn_tensors_metadata_at(tensors, i, &metadata[i][0]);
    }
    status = pdn_tensors_write(to, list, count, (const char *const(*)[2])metadata, pairs, &error);
    free(list);
    free(metadata);
    pdn_tensors_free(tensors);
    if (status) { return failed(status, &error); }
    printf("ok %d\n", count);
    return 0;
}

/* What was read becomes the state: its numbers are those of its epoch. */
static PdnStatus take_up(const char *path, PdnCheckpoint *training, float *weights, double *moments,
                         PdnError *error) {
    PdnTensors *tensors;
    PdnStatus status = pdn_checkpoint_read(path, training, &tensors, error);
    const int64_t *shape = training->tensors[0].shape;
    if (!status) { status = pdn_tensors_get(tensors, "K", PDN_F32, 1, shape, weights, error); }
    if (!status) { status = pdn_tensors_get(tensors, "m", PDN_F64, 1, shape, moments, error); }
    pdn_tensors_free(tensors);
    for (int64_t i = 0; !status && i < shape[0]; i++) {
        if (weights[i] != (float)training->epoch || moments[i] != (double)training->epoch) {
            snprintf(error->message, sizeof error->message, "%s holds numbers of another epoch",
                     path);
            status = PDN_ERROR_FORMAT;
        }
    }
    return status;
}

static int count_epochs(const char *path, int64_t count, int64_t epochs, bool resume) {
    PdnError error = {""};
    float *weights = calloc((size_t)count, sizeof *weights);
    double *moments = calloc((size_t)count, sizeof *moments);
    const PdnTensor state[] = {{"K", PDN_F32, 1, {count}, weights},
                               {"m", PDN_F64, 1, {count}, moments},
                               {"v", PDN_F64, 1, {count}, moments}};
    const PdnIdentity identity = {"the program", "counts\n"};
    PdnCheckpoint training = {.epoch_steps = 10,
                              .seed = 1,
                              .identity = &identity,
                              .identity_count = 1,
                              .tensors = state,
                              .count = 3};
    PdnStatus status = pdn_checkpoint_prepare(path, &error);
    if (!status && resume && access(path, F_OK) == 0) {
        status = take_up(path, &training, weights, moments, &error);
    }
    while (!status && training.epoch < epochs) {
        training.epoch++;
        training.step += 10;
        for (int64_t i = 0; i < count; i++) {
            weights[i] = (float)training.epoch;
            moments[i] = (double)training.epoch;
        }
        status = pdn_checkpoint_write(path, &training, &error);
        if (!status) {
            printf("epoch %lld\n", (long long)training.epoch);
            fflush(stdout);
        }
    }
    free(weights);
    free(moments);
    return status ? failed(status, &error) : 0;
}

int main(int argc, char **argv) {
    if (argc == 4 && strcmp(argv[1], "copy") == 0) { return copy(argv[2], argv[3]); }
    if (argc == 4 || (argc == 5 && strcmp(argv[4], "--resume") == 0)) {
        return count_epochs(argv[1], atoll(argv[2]), atoll(argv[3]), argc == 5);
    }
    if (argc != 2 || strcmp(argv[1], "-") != 0) { return 2; }
    char line[8192];
    while (fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\n")] = 0;
        char *to = strchr(line, '\t');
        if (!to) { return 2; }
        *to++ = 0;
        copy(line, to);
        fflush(stdout);
    }
    return 0;
}
