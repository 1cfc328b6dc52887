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

/* ---- the reference interpreter ------------------------------------------------------ */

static int interpreted_effect(void *context, const Effect *effect, const Array *values) {
    Execution *x = context;
    const void **data = mem_alloc(sizeof(void *) * (effect->count + 1));
    int64_t *frames = mem_alloc(sizeof(int64_t) * (effect->count + 1));
    for (uint32_t i = 0; i < effect->count; i++) {
        data[i] = values[i].data;
        frames[i] = values[i].frames;
    }
    int status = effect_happens(x, effect->number, data, frames);
    mem_free(data);
    mem_free(frames);
    return status;
}

static void interpret(Execution *x) {
    Module *m = x->what->module;
    Array *inputs = mem_alloc(sizeof(Array) * (m->inputs.len + 1));
    for (uint32_t i = 0; i < m->inputs.len; i++)
        inputs[i] =
            (Array){m->inputs.data[i].type, 1, pdn_array_count(&x->inputs[i]), x->inputs[i].data};
    EvalOptions options = {.inputs = inputs,
                           .seed = (uint64_t)x->session->options->seed,
                           .effect = interpreted_effect,
                           .context = x};
    Arena *arena = arena_new();
    Array *results = ARENA_ARRAY(arena, Array, graph_get(m, m->main)->results.len + 1);
    int status = eval_func(m, m->main, NULL, results, &options, arena);
    if (status < 0)
        diag_report(x->session->diagnostics, DIAG_STOPPED, SPAN_NONE,
                    "a number of steps is negative or not a number, a film lacks a frame, or a grid is "
                    "too small for a stencil");
    if (status != 0) x->failed = true;
    arena_free(arena);
    mem_free(inputs);
}

/* ---- memory ---------------------------------------------------------------------------- */

static const char *bytes_text(Arena *arena, double bytes) {
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
    diag_help(d, "use fewer cells, keep fewer states (a larger stride), or precision f32");
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
            for (uint32_t a = 0; a < g->rank; a++) bytes *= (double)g->extent[a];
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
    Plan *plan = NULL;
    bool fma = !interpreted && engine_has_fma();
    PipelineResult made =
        pipeline_run(s, x->what->module, x->type == PDN_F64, fma, interpreted ? NULL : &plan);
    if (made != PIPELINE_OK) return made == PIPELINE_WRONG;
    bool ok = fields_fit(x) && make_folder(x) && effects_check(x, true) && inputs_read(x);
    session_time(s, "read files");
    if (ok && interpreted)
        interpret(x);
    else if (ok && engine_run(x, plan) != 0)
        x->failed = true;
    pdn_progress_end(&x->progress);
    session_time(s, "run");
    inputs_free(x);
    return !ok || x->failed;
}
