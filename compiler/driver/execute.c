#include "compiler/driver/execute.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static bool make_folder(Execution *x) {
    const char *out = x->session->options->out;
    struct stat info;
    if (!out || mkdir(out, 0777) == 0) return true;
    if (errno == EEXIST && stat(out, &info) == 0 && S_ISDIR(info.st_mode)) return true;
    diag_report(x->session->diagnostics, DIAG_NO_FOLDER, SPAN_NONE, out, strerror(errno));
    return false;
}

/* ---- memory ---------------------------------------------------------------------------- */

const char *bytes_text(Arena *arena, double bytes) {
    static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    int unit = 0;
    while (bytes >= 1024 && unit < 6) bytes /= 1024, unit++;
    return arena_format(arena, unit ? "%.1f %s" : "%.0f %s", bytes, units[unit]);
}

bool memory_suffices(Execution *x, double bytes) {
    double available = (double)pdn_memory_available();
    if (bytes <= available) return true;
    Span span = x->what->actions.len ? x->what->actions.data[0].span : SPAN_NONE;
    Diagnostic *d =
        diag_report(x->session->diagnostics, DIAG_TOO_LARGE, span,
                    bytes_text(x->session->arena, bytes), bytes_text(x->session->arena, available));
    diag_help(d, "use fewer cells, or keep fewer states (a larger stride)%s",
              x->type == PDN_F64 ? ", or precision f32" : "");
    return false;
}

/* The largest field, fused away or not, must fit: so a program means the same for every schedule. */
static bool fields_fit(Execution *x) {
    const Module *m = x->what->module;
    double largest = 0;
    for (uint32_t f = 1; f < m->funcs.len; f++)
        for (Node n = 1; n < m->funcs.data[f]->nodes.len; n++) {
            Type t = graph_node(m->funcs.data[f], n)->type;
            if (t.kind != TYPE_FIELD) continue;
            const Grid *g = &m->grids.data[t.grid];
            double bytes = t.channels * (x->type == PDN_F32 ? 4.0 : 8.0);
            for (uint32_t a = 0; a < g->rank; a++)
                bytes *= g->extent[a] < 0 ? 1 : (double)g->extent[a]; /* known when it runs */
            if (bytes > largest) largest = bytes;
        }
    return memory_suffices(x, largest);
}

/* ---- both ------------------------------------------------------------------------------- */

int execute(Execution *x) {
    Session *s = x->session;
    bool interpreted = s->options->interpret;
    x->type = interpreted || session_f64(s) ? PDN_F64 : PDN_F32;
    x->progress_loop = -1;
    x->fma = !interpreted && engine_has_fma();
    x->memory = session_memory(s);
    PipelineResult made = pipeline_run(s, x->what, x->type == PDN_F64, x->fma, !interpreted);
    if (made != PIPELINE_OK) return made == PIPELINE_WRONG;
    bool ok = fields_fit(x) && make_folder(x) && effects_check(x, true) && samples_check(x) &&
              inputs_read(x);
    session_time(s, "read files");
    missed_open(x);
    x->threads = ok ? pdn_threads_new((int)s->options->threads) : NULL;
    x->rooms = pdn_rooms_new();
    if (ok && (x->run ? x->run(x->context) : run_experiment(x)) != 0) x->failed = true;
    missed_close(x);
    pdn_threads_free(x->threads);
    pdn_rooms_free(x->rooms);
    executables_free(x);
    pdn_progress_end(&x->progress);
    session_time(s, "run");
    inputs_free(x);
    return !ok || x->failed;
}
