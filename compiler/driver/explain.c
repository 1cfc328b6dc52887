/* pdn explain: what a definition or an experiment is, as equation, scheme and network. */
#include "compiler/driver/certificates.h"
#include "compiler/driver/explain_source.h"
#include "compiler/explain/explain.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    Session *s;
    Elaborated *what;
    const Item *item; /* a definition; NULL: an experiment */
    const char *name;
    Arena *arena;
    Text out;
} Job;

/* ---- what the inputs are ---------------------------------------------------------------------------- */

static double numbers_of(int rank, const int64_t *shape, int64_t depth) {
    double count = depth >= 0 ? (double)depth : 1;
    for (int i = 0; i < rank; i++) count *= shape[i] < 0 ? 1 : (double)shape[i];
    return count;
}

static const char *scalar_function_at(void *context, Span span) {
    Session *s = context;
    const Item *item = sema_item_at(s->unit, span);
    return item && item->kind == ITEM_FN ? names_text(s->names, item->name.name) : NULL;
}

static ExplainOptions explain_options(Job *j) {
    const Elaborated *what = j->what;
    uint32_t n = what->module->inputs.len;
    ExplainInput *inputs = ARENA_ARRAY(j->arena, ExplainInput, n + 1);
    ExplainOptions o = {.inputs = inputs,
                        .word = session_f64(j->s) ? 8 : 4,
                        .places = true,
                        .sources = j->s->sources,
                        .word_at = scalar_function_at,
                        .context = j->s};
    for (uint32_t i = 0; i < n; i++) {
        const Source *s = &what->sources.data[i];
        inputs[i].data = s->kind == SOURCE_ARGUMENT || s->kind == SOURCE_FILE;
        inputs[i].name =
            s->name ? s->name : names_text(j->s->names, what->module->inputs.data[i].name);
        if (s->tensor) inputs[i].name = s->tensor->path;
        if (!*inputs[i].name) inputs[i].name = s->path ? s->path : "input";
        inputs[i].count =
            s->tensor && s->tensor->running ? 0 : numbers_of(s->rank, s->shape, s->depth);
        if (inputs[i].data) o.places = false;
    }
    return o;
}

/* ---- stability ------------------------------------------------------------------------------------------- */

/* The arrays of a file of weights, as doubles: by input. NULL after a message. */
static const Array *weights_read(Job *j) {
    Array *values = ARENA_ARRAY(j->arena, Array, j->what->module->inputs.len + 1);
    PdnTensors *file = NULL;
    PdnError error = {{0}};
    const char *path = j->s->options->weights;
    bool ok = !path || pdn_tensors_read(path, &file, &error) == PDN_OK;
    for (uint32_t i = 0; path && ok && i < j->what->module->inputs.len; i++) {
        const Source *s = &j->what->sources.data[i];
        int64_t shape[PDN_TENSOR_RANK + 1];
        int first = s->depth >= 0;
        if (s->kind != SOURCE_START) continue;
        shape[0] = s->depth;
        memcpy(shape + first, s->shape, sizeof *shape * (size_t)s->rank);
        int64_t count = (int64_t)numbers_of(s->rank, s->shape, s->depth);
        Array a = {j->what->module->inputs.data[i].type, first ? s->depth : 1, count,
                   ARENA_ARRAY(j->arena, double, count + 1)};
        ok = pdn_tensors_get(file, s->name, PDN_F64, s->rank + first, shape, a.data, &error) ==
             PDN_OK;
        values[i] = a;
    }
    if (!ok) diag_report(j->s->diagnostics, DIAG_FILE_UNREADABLE, SPAN_NONE, error.message);
    pdn_tensors_free(file);
    return ok ? values : NULL;
}

/* The definition as a function of its field, for the step that is stable; 0: it maps no field to one like it. */
static FuncId right_side(Module *m) {
    const Func *f = graph_get(m, m->main);
    Node field = NODE_NONE;
    for (Node n = 1; n < f->nodes.len && !field; n++)
        if (graph_node(f, n)->op == OP_INPUT && graph_node(f, n)->type.kind == TYPE_FIELD &&
            !m->grids.data[graph_node(f, n)->type.grid].row)
            field = n;
    if (!field || f->results.len != 1) return 0;
    Type type = graph_node(f, field)->type;
    if (!type_equal(type, graph_node(f, f->results.data[0])->type)) return 0;
    FuncId made = graph_func(m, f->name);
    Map known = {0};
    map_set(&known, field, graph_param(m, made, type, 0));
    Node result = graph_copy(m, m->main, graph_get(m, m->main)->results.data[0], made, &known);
    vec_push(&graph_get(m, made)->results, result);
    map_free(&known);
    return made;
}

static void put_certificate(Job *j, const Certificate *c, const char *name) {
    text_printf(&j->out, "  %s: ", name);
    certificate_text(c, &j->out);
    text_puts(&j->out, "\n");
    const TheoremInfo *t = theorem_info(c->theorem);
    if (t) text_printf(&j->out, "    %s\n", t->statement);
}

/* Of a definition without recurrences: a right side, or else one step. */
static void put_step(Job *j, const Facts *facts) {
    FuncId f = right_side(j->what->module);
    if (!f) return;
    if (j->item->def.kind != DEF_PDE) {
        Certificate c = certify_func(j->what->module, j->what->module->main, facts);
        text_puts(&j->out, "\nStability\n");
        put_certificate(j, &c, "as one step");
        return;
    }
    StepBound bound = stable_step(j->what->module, f, j->arena);
    text_puts(&j->out, "\nStability\n");
    if (bound.proved)
        text_printf(&j->out, "  explicit steps up to %.6g are proved stable (%s)\n", bound.step,
                    bound.theorem);
    else
        text_printf(&j->out, "  explicit steps: no proof; missing: %s\n",
                    bound.missing ? bound.missing : "a theorem");
    if (isfinite(bound.unstable) && bound.unstable > 0 &&
        !(bound.proved && bound.unstable < bound.step))
        text_printf(&j->out, "  above %.6g they are proved unstable\n", bound.unstable);
}

static bool put_stability(Job *j) {
    Certificates all = {0};
    CertificateFacts facts = {.what = j->what, .training = -1};
    Facts f = certificate_facts(&facts);
    if (j->item) {
        facts.values = weights_read(j);
        if (!facts.values) return false;
        certify_loops(j->what->module, j->what->module->main, &f, &all);
    } else {
        certificates_of_experiment(j->what, &all);
    }
    if (all.len) text_puts(&j->out, "\nStability\n");
    for (uint32_t i = 0; i < all.len; i++)
        put_certificate(j, &all.data[i], names_text(j->s->names, all.data[i].name));
    if (!all.len && j->item) put_step(j, &f);
    vec_free(&all);
    return true;
}

/* ---- the plan ------------------------------------------------------------------------------------------------ */

static void put_bytes(Text *out, double bytes) {
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB"};
    int u = 0;
    while (bytes >= 999.5 && u < 4) bytes /= 1000, u++;
    text_printf(out, "%.3g %s", bytes, units[u]);
}

/* What is compiled; where sizes are open, for a grid of a usual one. */
static void put_plan(Job *j, FuncId func, bool open_ended) {
    Module *m = j->what->module;
    static const int64_t usual[MAX_RANK] = {65536, 512, 64};
    Plan *plan = pipeline_plan(j->s, m, func, session_f64(j->s), false);
    Text on = {0};
    for (GridId g = 1; g < m->grids.len; g++) {
        Grid *grid = &m->grids.data[g];
        bool open = false;
        for (uint32_t a = grid->rank; a-- > 0;) {
            if (grid->row || grid->finer || grid->extent[a] >= 0) continue;
            grid->extent[a] = usual[grid->rank - 1];
            open = true;
        }
        if (!open || on.len) continue;
        text_puts(&on, "on ");
        for (uint32_t a = grid->rank; a-- > 0;)
            text_printf(&on, a ? "%lld×" : "%lld: ", (long long)grid->extent[a]);
    }
    PlanCost cost = plan_cost(plan, m);
    text_printf(&j->out, "\nCompiled\n  %s%u kernel%s, ", on.data ? on.data : "", cost.kernels,
                cost.kernels == 1 ? "" : "s");
    put_bytes(&j->out, cost.bytes);
    text_puts(&j->out, " read and written, ");
    if (cost.together < 0.999 * cost.bytes) {
        put_bytes(&j->out, cost.together);
        text_puts(&j->out, " where fields are so large that launches run together, ");
    }
    put_bytes(&j->out, (double)cost.workspace);
    text_puts(&j->out, " of scratch\n");
    if (open_ended)
        text_puts(&j->out, "  (loops that end by a test counted as often as they may run)\n");
    text_free(&on);
}

/* ---- sections ---------------------------------------------------------------------------------------------------- */

static void put_heading(Job *j) {
    Session *s = j->s;
    if (!j->item) {
        text_printf(&j->out, "experiment %s\n", j->name);
        return;
    }
    text_printf(&j->out, "%s %s", ast_def_text(j->item->def.kind), j->name);
    for (uint32_t i = 0; i < j->what->settings.len; i++)
        text_printf(&j->out, "%s%s = %s", i ? ", " : "(", j->what->settings.data[i].name,
                    j->what->settings.data[i].text);
    if (j->what->settings.len) text_puts(&j->out, ")");
    text_puts(&j->out, "(");
    for (uint32_t i = 0; i < j->item->def.inputs.count; i++)
        text_printf(&j->out, i ? ", %s" : "%s",
                    names_text(s->names, j->item->def.inputs.items[i].name));
    text_printf(&j->out, "), %s\n", explain_place(s, j->item->name.span));
}

static void put_items(Job *j, FuncId func) {
    Items items = {0};
    explain_items(j->s, j->what->module, func, j->item, &items);
    if (items.len) text_puts(&j->out, "\nEquations and schemes\n");
    explain_sources(j->s, &items, &j->out);
    vec_free(&items);
}

static void put_network(Job *j, const Explained *e) {
    text_puts(&j->out, "\nNetwork\n");
    explain_network(e, 2, &j->out);
    text_puts(&j->out, "\nLayers\n");
    explain_layers(e, &j->out);
    for (uint32_t i = 0; i < e->symbol_count; i++)
        text_printf(&j->out, "  %s: %s\n", e->symbols[i], e->symbol_about[i]);
}

/* The loss of a training: its samples are data, its other values parameters. */
static void put_training(Job *j, const TrainTask *task) {
    const TaskBody *body = &task->loss;
    if (!body->func) return;
    const Func *f = graph_get(j->what->module, body->func);
    uint32_t n = f->params.len;
    bool *data = ARENA_ARRAY(j->arena, bool, n + 1);
    const char **names = ARENA_ARRAY(j->arena, const char *, n + 1);
    double *counts = ARENA_ARRAY(j->arena, double, n + 1);
    for (uint32_t i = 0; i < n; i++) {
        uint32_t value = i >= body->samples ? body->values[i - body->samples] : UINT32_MAX;
        const TensorInfo *t = value < task->tensor_count ? &task->tensors[value] : NULL;
        data[i] = i < body->samples;
        names[i] = t                           ? t->path
                   : data[i]                   ? "sample"
                   : value == task->batch_size ? "batch_size"
                                               : "value";
        counts[i] = t && !t->running ? numbers_of(t->rank, t->shape, t->depth) : 0;
    }
    ExplainOptions o = explain_options(j);
    o.places = !body->samples;
    o.param_data = data;
    o.param_names = names;
    o.param_counts = counts;
    text_printf(&j->out, "\nThe loss of training %s\n", task->name);
    put_network(j, explain_func(j->what->module, body->func, &o, j->arena));
}

static void put_trainings(Job *j) {
    for (uint32_t i = 0; i < j->what->trainings.len; i++)
        put_training(j, &j->what->trainings.data[i]);
}

static const Explained *explained(Job *j) {
    ExplainOptions o = explain_options(j);
    return explain_func(j->what->module, j->what->module->main, &o, j->arena);
}

static bool explain(Job *j) {
    Session *s = j->s;
    const Options *o = s->options;
    put_heading(j);
    put_items(j, j->what->module->main);
    bool ok = o->dot || o->svg || put_stability(j);
    if (!ok || pipeline_run(s, j->what, session_f64(s), false, false) != PIPELINE_OK) return false;
    const Explained *e = explained(j);
    if (o->dot || o->svg) {
        j->out.len = 0;
        (o->dot ? explain_dot : explain_svg)(e, j->name, &j->out);
        return true;
    }
    put_network(j, e);
    if (!j->item) put_trainings(j);
    put_plan(j, j->what->module->main, e->symbol_count > 0);
    return true;
}

/* ---- the command --------------------------------------------------------------------------------------------------- */

static bool read_options(const Options *o, KernelOptions *k) {
    *k = (KernelOptions){
        .overrides = o->overrides.data, .count = o->overrides.len, .weights = o->weights != NULL};
    if (o->words.len != 1)
        return options_wrong("explain", "one NAME is needed, of a definition or an experiment");
    if (!kernel_grid("explain", o, k)) return false;
    if (o->dot && o->svg) return options_wrong("explain", "--dot and --svg: one drawing at a time");
    return true;
}

static Elaborated *elaborated(Session *s, Job *j, KernelOptions *k) {
    const Options *o = s->options;
    j->item = sema_definition(s->unit, j->name);
    if (j->item) return sema_elaborate_kernel(s->unit, j->name, k);
    ElaborateOptions how = {.overrides = o->overrides.data,
                            .count = o->overrides.len,
                            .f64 = session_f64(s),
                            .data = session_f64(s) ? PDN_F64 : PDN_F32,
                            .check_only = true};
    for (uint32_t i = 0; i < sema_experiments(s->unit); i++)
        if (strcmp(sema_experiment_name(s->unit, i), j->name) == 0)
            return sema_elaborate_experiment(s->unit, i, &how);
    Diagnostic *d = diag_report(s->diagnostics, DIAG_NOT_EXPLAINED, SPAN_NONE, j->name);
    sema_suggest(s->unit, d, j->name, false);
    return NULL;
}

int command_explain(Options *options) {
    KernelOptions k;
    if (!read_options(options, &k)) return 2;
    Session s;
    session_open(&s, options);
    int status = 1;
    if (session_load(&s, options->file)) {
        Job j = {.s = &s, .name = options->words.data[0], .arena = arena_new()};
        k.f64 = session_f64(&s);
        j.what = elaborated(&s, &j, &k);
        if (j.what && explain(&j)) {
            if (j.out.len) fwrite(j.out.data, 1, j.out.len, stdout);
            status = 0;
        }
        sema_free(j.what);
        text_free(&j.out);
        arena_free(j.arena);
    }
    session_close(&s);
    return status;
}
