/* Files that an experiment reads. */
#include "compiler/driver/execute.h"

#include <stdlib.h>
#include <string.h>

static bool fits(const Module *m, Type type, const PdnArray *a) {
    const Grid *g = &m->grids.data[type.grid];
    int rank = (int)g->rank, extra = a->rank - rank;
    if (extra < 0 || extra > 1 || (extra ? a->shape[0] : 1) != (int64_t)type.channels) return false;
    for (int i = 0; i < rank; i++)
        if (a->shape[a->rank - 1 - i] != g->extent[i]) return false;
    return true;
}

/* The file that parameters are taken from, one after the other: read once. */
typedef struct {
    const char *path; /* NULL: none yet */
    PdnTensors *tensors;
} Opened;

static PdnStatus open_tensors(Opened *o, const char *path, PdnError *error) {
    if (o->path && strcmp(o->path, path) == 0) return PDN_OK;
    pdn_tensors_free(o->tensors);
    *o = (Opened){0};
    PdnStatus status = pdn_tensors_read(path, &o->tensors, error);
    if (status == PDN_OK) o->path = path;
    return status;
}

static PdnStatus read_start(Execution *x, const Source *s, Opened *o, PdnArray *out,
                            PdnError *error) {
    int64_t shape[PDN_MAX_RANK] = {1}, count = 1, frames = s->depth < 0 ? 1 : s->depth;
    for (int i = 0; i < s->rank; i++) count *= s->shape[i];
    shape[0] = count * frames;
    PdnStatus status = pdn_array_new(out, x->type, 1, shape, error);
    if (status != PDN_OK) return status;
    if (s->kind == SOURCE_START) {
        status = pdn_initialise(&s->init, x->type, s->rank, s->shape, frames,
                                (uint64_t)x->session->options->seed, s->stream, out->data, error);
        Numbers numbers = numbers_of(x);
        if (status == PDN_OK && s->tensor)
            project_tensor(&numbers, s->tensor, out->data, frames, count);
        return status;
    }
    status = open_tensors(o, s->path, error);
    if (status != PDN_OK) return status;
    int64_t whole[PDN_TENSOR_RANK + 1] = {s->depth};
    int first = s->depth >= 0;
    memcpy(whole + first, s->shape, sizeof(int64_t) * (size_t)s->rank);
    return pdn_tensors_get(o->tensors, s->name, x->type, s->rank + first, whole, out->data, error);
}

/* What was loaded keeps to its range and constraints; false after a message. */
static bool keeps_to_them(Execution *x, const Source *s, PdnArray *a) {
    if (s->kind != SOURCE_TENSOR) return true;
    Numbers numbers = numbers_of(x);
    int64_t frames = s->depth < 0 ? 1 : s->depth;
    const char *fault = tensor_fault(&numbers, s->tensor, s->name, a->data, frames,
                                     pdn_array_count(a) / frames, x->session->arena);
    if (fault) tensor_refuse(x->session, s->path, fault, s->span);
    return !fault;
}

static bool read_input(Execution *x, uint32_t i, Opened *o) {
    const Module *m = x->what->module;
    const Source *source = &x->what->sources.data[i];
    PdnError error = {{0}};
    PdnStatus status = source->kind == SOURCE_FILE
                           ? pdn_file_read(source->path, x->type, &x->inputs[i], &error)
                           : read_start(x, source, o, &x->inputs[i], &error);
    if (status != PDN_OK) {
        diag_report(x->session->diagnostics, DIAG_FILE_UNREADABLE, source->span, error.message);
        return false;
    }
    if (!keeps_to_them(x, source, &x->inputs[i])) return false;
    if (source->kind == SOURCE_FILE && !fits(m, m->inputs.data[i].type, &x->inputs[i])) {
        diag_report(x->session->diagnostics, DIAG_FILE_CHANGED, source->span, source->path);
        return false;
    }
    return true;
}

bool inputs_read(Execution *x) {
    uint32_t count = x->what->module->inputs.len;
    Opened opened = {0};
    x->inputs = calloc(count + 1, sizeof *x->inputs);
    bool good = x->inputs != NULL;
    for (uint32_t i = 0; good && i < count; i++) good = read_input(x, i, &opened);
    pdn_tensors_free(opened.tensors);
    return good;
}

void inputs_free(Execution *x) {
    for (uint32_t i = 0; x->inputs && i < x->what->module->inputs.len; i++)
        pdn_array_free(&x->inputs[i]);
    free(x->inputs);
    x->inputs = NULL;
}
