/* convert: reads a file and writes another through the runtime. For tests/python/test_files.py.
 *
 *   convert FROM TO [f32|f64] [name=value…]   reads and writes; prints "ok [2, 3]"
 *   convert FROM                              prints the shape, by the header alone
 *   convert -                                 many of these: a line of standard input each, split at tabs
 * Values: rank=, items=1 (the first axis is a list), frames=1 (before it, a film), depth=, spacing=,
 * origin=, step= (time between frames), names=a,b, fsize= (limit on the size of files, bytes).
 * A failure prints "error STATUS: message" and exits with 1; 2: the command line is wrong. */
#include "runtime/pdn.h"

#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

static int failed(PdnStatus status, const PdnError *error) {
    printf("error %d %s: %s\n", status, pdn_status_name(status), error->message);
    return 1;
}

static int print_shape(int rank, const int64_t *shape) {
    printf("ok [");
    for (int axis = 0; axis < rank; axis++) {
        printf("%s%lld", axis ? ", " : "", (long long)shape[axis]);
    }
    printf("]\n");
    return 0;
}

static char *names[65];

static void set_names(char *list) {
    int count = 0;
    memset(names, 0, sizeof names);
    for (char *name = strtok(list, ","); name && count < 64; name = strtok(NULL, ",")) {
        names[count++] = name;
    }
}

/* Sets one name=value; false when there is no such name. */
static bool set_option(char *text, PdnSave *save, bool *items, bool *frames) {
    char *value = strchr(text, '=');
    if (!value) { return false; }
    *value++ = 0;
    double number = atof(value);
    if (strcmp(text, "rank") == 0) {
        save->rank = (int)number;
    } else if (strcmp(text, "items") == 0) {
        *items = number != 0;
    } else if (strcmp(text, "frames") == 0) {
        *frames = number != 0;
    } else if (strcmp(text, "depth") == 0) {
        save->depth = (int)number;
    } else if (strcmp(text, "step") == 0) {
        save->time_step = number;
    } else if (strcmp(text, "spacing") == 0 || strcmp(text, "origin") == 0) {
        double *to = *text == 's' ? save->spacing : save->origin;
        to[0] = to[1] = to[2] = number;
    } else if (strcmp(text, "names") == 0) {
        set_names(value);
    } else if (strcmp(text, "fsize") == 0) {
        struct rlimit limit = {(rlim_t)number, (rlim_t)number};
        setrlimit(RLIMIT_FSIZE, &limit);
    } else {
        return false;
    }
    return true;
}

static int convert(int argc, char **argv) {
    set_names((char[]){""});
    PdnError error = {""};
    PdnArray array;
    PdnType type = PDN_F32;
    if (argc < 2) { return 2; }
    if (argc == 2) {
        int rank;
        int64_t shape[PDN_MAX_RANK];
        PdnStatus status = pdn_file_shape(argv[1], &rank, shape, &error);
        return status ? failed(status, &error) : print_shape(rank, shape);
    }
    PdnSave save = {.rank = -1, .channels = 1, .spacing = {1, 1, 1}};
    bool items = false, frames = false;
    for (int i = 3; i < argc; i++) {
        if (strcmp(argv[i], "f64") == 0) {
            type = PDN_F64;
        } else if (strcmp(argv[i], "f32") != 0 && !set_option(argv[i], &save, &items, &frames)) {
            return 2;
        }
    }
    PdnStatus status = pdn_file_read(argv[1], type, &array, &error);
    if (status) { return failed(status, &error); }
    int axis = 0;
    save.frames = frames ? array.shape[axis++] : 0;
    save.items = items ? array.shape[axis++] : 0;
    if (save.rank < 0) { save.rank = array.rank - axis > 2 ? 2 : array.rank - axis; }
    save.type = type;
    save.channels = array.rank - axis > save.rank ? array.shape[axis++] : 1;
    int64_t size = save.channels * (type == PDN_F32 ? 4 : 8);
    for (int i = 0; i < save.rank; i++) {
        save.extent[i] = array.shape[array.rank - 1 - i];
        size *= save.extent[i];
    }
    int64_t fields = (save.frames ? save.frames : 1) * (save.items ? save.items : 1);
    const void **data = calloc((size_t)fields, sizeof *data);
    for (int64_t i = 0; i < fields; i++) { data[i] = (char *)array.data + i * size; }
    save.data = data;
    save.names = names[0] ? (const char *const *)names : NULL;
    status = pdn_file_write(argv[2], &save, &error);
    if (status) {
        failed(status, &error);
    } else {
        print_shape(array.rank, array.shape);
    }
    free(data);
    pdn_array_free(&array);
    return status ? 1 : 0;
}

int main(int argc, char **argv) {
    if (argc != 2 || strcmp(argv[1], "-") != 0) { return convert(argc, argv); }
    char line[8192];
    while (fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\n")] = 0;
        char *words[16] = {"convert"};
        int count = 1;
        for (char *word = strtok(line, "\t"); word && count < 15; word = strtok(NULL, "\t")) {
            words[count++] = word;
        }
        if (convert(count, words) == 2) { printf("usage\n"); }
        fflush(stdout);
    }
    return 0;
}
