/* Files that an experiment reads. */
#include "compiler/driver/execute.h"

#include <stdlib.h>

static bool fits(const Module *m, Type type, const PdnArray *a) {
    const Grid *g = &m->grids.data[type.grid];
    int rank = (int)g->rank, extra = a->rank - rank;
    if (extra < 0 || extra > 1 || (extra ? a->shape[0] : 1) != (int64_t)type.channels) return false;
    for (int i = 0; i < rank; i++)
        if (a->shape[a->rank - 1 - i] != g->extent[i]) return false;
    return true;
}

bool inputs_read(Execution *x) {
    const Module *m = x->what->module;
    x->inputs = calloc(m->inputs.len + 1, sizeof *x->inputs);
    for (uint32_t i = 0; x->inputs && i < m->inputs.len; i++) {
        const Source *source = &x->what->sources.data[i];
        PdnError error = {{0}};
        if (pdn_file_read(source->path, x->type, &x->inputs[i], &error) != PDN_OK) {
            diag_report(x->session->diagnostics, DIAG_FILE_UNREADABLE, source->span, error.message);
            return false;
        }
        if (!fits(m, m->inputs.data[i].type, &x->inputs[i])) {
            diag_report(x->session->diagnostics, DIAG_FILE_CHANGED, source->span, source->path);
            return false;
        }
    }
    return x->inputs != NULL;
}

void inputs_free(Execution *x) {
    for (uint32_t i = 0; x->inputs && i < x->what->module->inputs.len; i++)
        pdn_array_free(&x->inputs[i]);
    free(x->inputs);
    x->inputs = NULL;
}
