#include "compiler/driver/ways.h"
#include "compiler/llvm/code.h"

#include "compiler/analysis/analysis.h"

#include <stdlib.h>
#include <string.h>

void session_open(Session *s, const Options *options) {
    *s = (Session){
        .options = options, .arena = arena_new(), .names = names_new(), .sources = sources_new()};
    s->diagnostics = diagnostics_new(s->sources, 0);
    s->started = s->last = clock_cpu_seconds();
}

static void print_diagnostics(Session *s) {
    fflush(stdout);
    diagnostics_render(s->diagnostics, stderr, false);
    diagnostics_free(s->diagnostics);
    s->diagnostics = diagnostics_new(s->sources, 0);
}

void session_warn(Session *s) {
    if (diagnostics_errors(s->diagnostics)) return;
    fflush(stdout);
    diagnostics_render(s->diagnostics, stderr, false);
    diagnostics_told(s->diagnostics);
}

void session_close(Session *s) {
    print_diagnostics(s);
    diagnostics_free(s->diagnostics);
    sources_free(s->sources);
    names_free(s->names);
    ways_close(s);
    arena_free(s->arena);
    vec_free(&s->stages);
}

bool session_failed(Session *s) {
    if (!diagnostics_errors(s->diagnostics)) return false;
    return true;
}

bool session_load(Session *s, const char *file) {
    SemaContext context = {s->arena, s->names, s->sources, s->diagnostics, s->options->stdlib};
    s->unit = sema_load(&context, file);
    session_time(s, "parse and resolve");
    return s->unit && !session_failed(s);
}

bool session_f64(const Session *s) {
    return s->options->precision ? strcmp(s->options->precision, "f64") == 0
                                 : sema_wants_f64(s->unit);
}

void session_time(Session *s, const char *stage) {
    double now = clock_cpu_seconds();
    if (s->options->time) fprintf(stderr, "%-20s %9.3f ms\n", stage, 1e3 * (now - s->last));
    vec_push(&s->stages, ((Stage){stage, now - s->last}));
    s->last = now;
}

/* ---- passes --------------------------------------------------------------------------- */

enum { WHEN_ALWAYS, WHEN_FMA };

static const struct {
    const char *name;
    void (*run)(Module *module);
    int when;
} passes[] = {
#define PASS(name, function, when) {#name, function, WHEN_##when},
#include "compiler/driver/passes.def"
#undef PASS
};
#define PASSES (sizeof passes / sizeof *passes)

bool pipeline_check(const Options *o) {
    if (!o->dump_after) return true;
    bool known = strcmp(o->dump_after, "elaborate") == 0 || strcmp(o->dump_after, "plan") == 0;
    for (size_t i = 0; i < PASSES; i++) known = known || strcmp(o->dump_after, passes[i].name) == 0;
    if (known) return true;
    fprintf(stderr, "pdn: --dump-after: the passes are elaborate");
    for (size_t i = 0; i < PASSES; i++) fprintf(stderr, ", %s", passes[i].name);
    fprintf(stderr, ", plan\n");
    return false;
}

static bool wanted(const Session *s, const char *pass) {
    return s->options->dump_after && strcmp(s->options->dump_after, pass) == 0;
}

static void dump_graph(const Module *module) {
    Text text = {0};
    graph_print(module, &text);
    if (text.len) fwrite(text.data, 1, text.len, stdout);
    text_free(&text);
}

static void verify(Module *module, const char *pass) {
    const char *fault = graph_verify(module);
    if (!fault) return;
    dump_graph(module);
    fprintf(stderr, "pdn: internal error: after %s: %s\n", pass, fault);
    abort();
}

Plan *pipeline_plan(Session *s, Module *module, FuncId func, bool f64, bool fma) {
    PlanOptions options = {.f64 = f64, .fma = fma, .func = func};
    Plan *plan = plan_make(module, &options, s->arena);
    const char *fault = plan_verify(plan, s->arena);
    if (fault) {
        fprintf(stderr, "pdn: internal error: after plan: %s\n", fault);
        abort();
    }
    session_time(s, "plan");
    return plan;
}

const char *session_cache(const Session *s) {
    const Options *o = s->options;
    return o->no_cache ? NULL : o->cache ? o->cache : code_cache_folder(s->arena);
}

int64_t session_memory(const Session *s) {
    int64_t there = pdn_memory_available(); /* more than there is does not help */
    return s->options->memory && s->options->memory <= there ? s->options->memory : there / 2;
}

static void dump_plan(const Session *s, const Module *module, const Plan *plan) {
    Text text = {0};
    plan_print(plan, &text);
    plan_print_tapes(plan, module, session_memory(s), &text);
    if (text.len) fwrite(text.data, 1, text.len, stdout);
    text_free(&text);
}

static void dump_body(Session *s, Module *module, const TaskBody *body, const char *what, bool f64,
                      bool fma) {
    printf("program of %s (function %u)\n", what, body->func);
    dump_plan(s, module, pipeline_plan(s, module, body->func, f64, fma));
}

/* The main function, and those that the host runs by themselves. */
static void dump_plans(Session *s, Elaborated *what, bool f64, bool fma) {
    Module *m = what->module;
    dump_plan(s, m, pipeline_plan(s, m, m->main, f64, fma));
    if (what->vjp) {
        printf("program of the derivative (function %u)\n", what->vjp);
        dump_plan(s, m, pipeline_plan(s, m, what->vjp, f64, fma));
    }
    for (uint32_t i = 0; i < what->each.len; i++)
        dump_body(s, m, &what->each.data[i].body, "a loop over data", f64, fma);
    for (uint32_t i = 0; i < what->trainings.len; i++) {
        const TrainTask *t = &what->trainings.data[i];
        dump_body(s, m, &t->step, "a step of training", f64, fma);
        for (uint32_t k = 0; k < t->every_count; k++)
            dump_body(s, m, &t->every[k].body, "every", f64, fma);
    }
}

PipelineResult pipeline_run(Session *s, Elaborated *what, bool f64, bool fma, bool plans) {
    Module *module = what->module;
    verify(module, "elaborate");
    if (wanted(s, "elaborate")) {
        dump_graph(module);
        return PIPELINE_DUMPED;
    }
    for (size_t i = 0; i < PASSES; i++) {
        if (passes[i].when == WHEN_FMA && !fma) continue;
        passes[i].run(module);
        verify(module, passes[i].name);
        session_time(s, passes[i].name);
        if (wanted(s, passes[i].name)) {
            dump_graph(module);
            return PIPELINE_DUMPED;
        }
    }
    if (!plans || !wanted(s, "plan")) return PIPELINE_OK;
    dump_plans(s, what, f64, fma);
    return PIPELINE_DUMPED;
}
