#include "compiler/driver/execute.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static bool make_folder(Execution *x) {
    const char *out = x->session->options->out;
    if (!out || mkdir(out, 0777) == 0 || errno == EEXIST) return true;
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
        inputs[i] = (Array){m->inputs.data[i].type, 1, pdn_array_count(&x->inputs[i]), x->inputs[i].data};
    EvalOptions options = {.inputs = inputs, .seed = (uint64_t)x->session->options->seed,
                           .effect = interpreted_effect, .context = x};
    Arena *arena = arena_new();
    Array *results = ARENA_ARRAY(arena, Array, graph_get(m, m->main)->results.len + 1);
    if (eval_func(m, m->main, NULL, results, &options, arena) != 0) x->failed = true;
    arena_free(arena);
    mem_free(inputs);
}

/* ---- both ------------------------------------------------------------------------------- */

int execute(Execution *x) {
    Session *s = x->session;
    bool interpreted = s->options->interpret;
    x->type = interpreted || session_f64(s) ? PDN_F64 : PDN_F32;
    x->progress_loop = -1;
    Plan *plan = NULL;
    bool fma = !interpreted && engine_has_fma();
    PipelineResult made = pipeline_run(s, x->what->module, x->type == PDN_F64, fma, interpreted ? NULL : &plan);
    if (made != PIPELINE_OK) return made == PIPELINE_WRONG;
    bool ok = effects_check(x) && make_folder(x) && inputs_read(x);
    session_time(s, "read files");
    if (ok && interpreted) interpret(x);
    else if (ok && engine_run(x, plan) != 0) x->failed = true;
    pdn_progress_end(&x->progress);
    session_time(s, "run");
    inputs_free(x);
    return !ok || x->failed;
}
