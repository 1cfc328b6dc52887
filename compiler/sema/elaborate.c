/* Elaboration of experiments, tests and standalone kernels. */
#include "compiler/analysis/analysis.h"
#include "compiler/sema/param.h"
#include "compiler/sema/value.h"
#include "compiler/sema/walk.h"

#include <stdlib.h>
#include <string.h>

static Elab *elab_new(Unit *u, const ElaborateOptions *options, Name main) {
    Elab *e = ARENA_NEW(u->arena, Elab);
    e->unit = u;
    e->arena = u->arena;
    e->diagnostics = u->context.diagnostics;
    e->names = u->context.names;
    e->errors = diagnostics_errors(e->diagnostics);
    e->module = graph_new(e->names);
    e->options = options;
    e->folder = u->homes.data[0]->folder;
    e->used_overrides = ARENA_ARRAY(u->arena, bool, options->count + 1);
    e->out = ARENA_NEW(u->arena, Elaborated);
    e->out->module = e->module;
    vec_adopt(u->arena, &e->out->actions);
    vec_adopt(u->arena, &e->out->sources);
    vec_adopt(u->arena, &e->out->settings);
    vec_adopt(u->arena, &e->lets);
    vec_adopt(u->arena, &e->gradients);
    vec_adopt(u->arena, &e->calls);
    vec_adopt(u->arena, &e->instances);
    vec_adopt(u->arena, &e->parameters);
    vec_adopt(u->arena, &e->out->data);
    vec_adopt(u->arena, &e->out->trainings);
    vec_adopt(u->arena, &e->out->each);
    vec_adopt(u->arena, &e->out->checks);
    e->program = e->instance = ARENA_NEW(u->arena, Instance);
    e->program->name = "";
    vec_push(&e->instances, e->program);
    vec_adopt(u->arena, &e->program->parameters);
    vec_adopt(u->arena, &e->program->inner);
    e->root = frame_push(e, main);
    e->module->main = e->root->func;
    return e;
}

void sema_free(Elaborated *x) {
    if (!x) return;
    graph_free(x->module);
    for (uint32_t i = 0; i < x->data.len; i++) pdn_data_free(x->data.data[i].data);
}

static Elaborated *elab_finish(Elab *e, uint32_t errors_before) {
    for (uint32_t i = 0; i < e->instances.len; i++) map_free(&e->instances.data[i]->places);
    map_free(&e->trainable);
    if (diagnostics_errors(e->diagnostics) > errors_before) {
        sema_free(e->out);
        return NULL;
    }
    parameters_constrain(e);
    return e->out;
}

/* ---- values of the command line ------------------------------------------------------ */

const Value *eval_override(Elab *e, const Override *o, bool as_text) {
    Value *text = value_new(e, VALUE_STRING, SPAN_NONE);
    text->string.bytes = o->value;
    text->string.length = (uint32_t)strlen(o->value);
    text->string.from_command_line = true;
    if (as_text) return text;
    const char *line = arena_format(e->arena, "let value = %s\n", o->value);
    const char *shown = arena_format(e->arena, "%s=…", o->name);
    uint32_t file = sources_add(e->unit->context.sources, shown, line, strlen(line), false);
    uint32_t before = diagnostics_errors(e->diagnostics);
    Program *p = syntax_parse(e->arena, e->names, e->diagnostics, file, NULL);
    if (diagnostics_errors(e->diagnostics) > before || p->count != 1 ||
        p->items[0].kind != ITEM_LET) {
        if (diagnostics_errors(e->diagnostics) == before)
            diag_report(e->diagnostics, DIAG_BAD_OVERRIDE, SPAN_NONE, o->name, o->value);
        return value_error(e);
    }
    return eval_expr(e, e->unit->globals, p->items[0].let.value);
}

typedef VEC(const char *) Texts;

static void collect_inputs(Elab *e, const Block *b, Texts *out) {
    for (uint32_t i = 0; i < b->count; i++) {
        const Stmt *s = b->items[i];
        if (s->kind == STMT_INPUT) vec_push(out, names_text(e->names, s->bind.name.name));
        if (s->kind == STMT_IF) {
            collect_inputs(e, s->branch.then, out);
            if (s->branch.otherwise) collect_inputs(e, s->branch.otherwise, out);
        }
    }
}

static void unused_overrides(Elab *e, const char *owner, const Texts *known, bool kernel) {
    for (uint32_t i = 0; i < e->options->count; i++) {
        if (e->used_overrides[i]) continue;
        bool exists = false; /* read in a branch that was not taken */
        for (uint32_t k = 0; k < known->len; k++)
            exists = exists || strcmp(known->data[k], e->options->overrides[i].name) == 0;
        if (exists) continue;
        Diagnostic *d = diag_report(e->diagnostics, kernel ? DIAG_NO_CONFIGURATION : DIAG_NO_INPUT,
                                    SPAN_NONE, owner, e->options->overrides[i].name);
        const char *near = diag_nearest(e->options->overrides[i].name, known->data, known->len);
        if (near) diag_help(d, "did you mean '%s'?", near);
    }
}

/* ---- experiments and tests ---------------------------------------------------------------- */

static Elaborated *elaborate_block(Unit *u, const Item *item, const char *name, const Block *block,
                                   const ElaborateOptions *options) {
    uint32_t before = diagnostics_errors(u->context.diagnostics);
    Elab *e = elab_new(u, options, item->name.name);
    e->out->name = name;
    eval_experiment(e, u->globals, block);
    if (item->kind == ITEM_EXPERIMENT) {
        Texts known = {0};
        collect_inputs(e, block, &known);
        unused_overrides(e, name, &known, false);
        vec_free(&known);
    }
    return elab_finish(e, before);
}

Elaborated *sema_elaborate_experiment(Unit *u, uint32_t i, const ElaborateOptions *options) {
    const Item *item = u->experiments.data[i];
    return elaborate_block(u, item, names_text(u->context.names, item->name.name),
                           item->experiment.block, options);
}

Elaborated *sema_elaborate_test(Unit *u, uint32_t i, const ElaborateOptions *options) {
    const Item *item = u->tests.data[i];
    return elaborate_block(u, item, item->test.title->string.bytes, item->test.block, options);
}

/* ---- kernels ----------------------------------------------------------------------------------- */

static const Value *kernel_input(Elab *e, Type type, Name name, Span span) {
    Node n = program_input(e, type, (Source){.kind = SOURCE_ARGUMENT, .span = span, .depth = -1});
    e->module->inputs.data[e->module->inputs.len - 1].name = name;
    return value_node(e, n, NULL, span);
}

/* What the configuration lacks has a message each. */
static bool kernel_lacks(Elab *e, const Item *item, const KernelOptions *k) {
    bool lacks = false;
    for (uint32_t p = 0; p < item->def.config.count; p++) {
        const Param *param = &item->def.config.items[p];
        const char *name = names_text(e->names, param->name);
        bool given = param->value != NULL;
        for (uint32_t i = 0; i < k->count; i++)
            given = given || strcmp(k->overrides[i].name, name) == 0;
        if (given) continue;
        Diagnostic *d = diag_report(e->diagnostics, DIAG_MISSING_ARGUMENT, param->span,
                                    names_text(e->names, item->name.name), name);
        diag_help(d, "give it on the command line: %s=…", name);
        lacks = true;
    }
    return lacks;
}

static const Value *kernel_configured(Elab *e, const Value *callee, const KernelOptions *k) {
    if (kernel_lacks(e, callee->op->item, k)) return value_error(e);
    const ParamList *params = &callee->op->item->def.config;
    Arguments args = {ARENA_ARRAY(e->arena, Argument, k->count + 1), 0, callee->span};
    for (uint32_t i = 0; i < k->count; i++) {
        Name name = names_of(e->names, k->overrides[i].name);
        for (uint32_t p = 0; p < params->count; p++) {
            if (params->items[p].name != name) continue;
            e->used_overrides[i] = true;
            const Value *v = eval_override(e, &k->overrides[i], false);
            args.items[args.count++] = (Argument){name, v->span, v, NULL};
        }
    }
    return apply(e, callee, &args);
}

static const char *setting_text(Elab *e, const Value *v) {
    if (v->kind == VALUE_NUMBER) {
        const char *shortest = arena_format(e->arena, "%.15g", v->number);
        return strtod(shortest, NULL) == v->number ? shortest
                                                   : arena_format(e->arena, "%.17g", v->number);
    }
    if (v->kind == VALUE_STRING) return v->string.bytes;
    if (v->kind == VALUE_OPERATOR && (v->op->name || v->op->kind == OPERATOR_BUILTIN))
        return operator_name(e, v->op);
    return value_describe(e, v);
}

static void note_settings(Elab *e, const Operator *op) {
    const ParamList *params = &op->item->def.config;
    for (uint32_t i = 0; op->configured && i < params->count; i++) {
        Setting s = {names_text(e->names, params->items[i].name), setting_text(e, op->config[i])};
        vec_push(&e->out->settings, s);
    }
}

static bool kernel_result(Elab *e, const Value *v, Span span) {
    if (v->kind == VALUE_ERROR) return false;
    if (v->kind == VALUE_LIST) {
        for (uint32_t i = 0; i < v->list.count; i++)
            if (!kernel_result(e, v->list.items[i], span)) return false;
        return true;
    }
    Node n = value_to_node(e, v);
    if (!n || value_type(e, v).kind == TYPE_STACK) {
        report(e, KERNEL_RESULT, span, value_describe(e, v));
        return false;
    }
    vec_push(&graph_get(e->module, e->frame->func)->results, n);
    return true;
}

static bool is_number_param(Elab *e, const Param *p) {
    const char *type = p->type ? names_text(e->names, p->type) : "field";
    return strcmp(type, "number") == 0 || strcmp(type, "int") == 0;
}

/* In which the annotations of a definition's inputs are read. */
static const Env *configured_env(Elab *e, const Operator *op) {
    const Env *env = operator_env(op);
    const ParamList *config = &op->item->def.config;
    for (uint32_t i = 0; op->configured && i < config->count; i++)
        env = env_bind(e, env, config->items[i].name, op->config[i], config->items[i].span);
    return env;
}

static void apply_kernel(Elab *e, const Value *op, const Item *item, const KernelOptions *k) {
    Grid g = {.rank = k->rank};
    memcpy(g.extent, k->extent, sizeof g.extent);
    memcpy(g.spacing, k->spacing, sizeof g.spacing);
    for (uint32_t i = k->rank; i < MAX_RANK; i++) g.extent[i] = 0, g.spacing[i] = 0;
    GridId grid = graph_grid(e->module, &g);
    const ParamList *inputs = &item->def.inputs;
    Name time = names_of(e->names, "t");
    Arguments args = {ARENA_ARRAY(e->arena, Argument, inputs->count + 1), 0, item->name.span};
    for (uint32_t i = 0; i < inputs->count; i++) {
        const Param *p = &inputs->items[i];
        int64_t channels = 1;
        if (p->channels &&
            !value_static_int(e, eval_expr(e, configured_env(e, op->op), p->channels),
                              "a number of channels", 1, 1e6, &channels))
            return;
        Type type = is_number_param(e, p) ? type_scalar() : type_field(grid, (uint32_t)channels);
        args.items[args.count++] =
            (Argument){0, p->span, kernel_input(e, type, p->name, p->span), NULL};
    }
    if (item->def.kind == DEF_PDE && item->def.block) {
        bool mentions = false;
        for (uint32_t i = 0; i < item->def.block->count; i++)
            mentions = mentions || stmt_mentions(item->def.block->items[i], &time, 1);
        if (mentions)
            args.items[args.count++] = (Argument){
                time, item->name.span, kernel_input(e, type_scalar(), time, item->name.span), NULL};
    }
    kernel_result(e, apply(e, op, &args), item->name.span);
}

/* The sources of parameters learn their paths and their order. */
static void name_parameters(Elab *e, const Instance *within) {
    uint32_t number = 0;
    for (uint32_t i = 0; i < e->parameters.len; i++) {
        const Parameter *p = e->parameters.data[i];
        for (uint32_t t = 0; t < p->tensor_count; t++) {
            Node n = p->tensors[t].value->node.node;
            Source *s =
                &e->out->sources.data[graph_node(graph_get(e->module, e->root->func), n)->index];
            s->name =
                arena_format(e->arena, "%s%s", parameter_path(e, p, within), p->tensors[t].suffix);
            s->number = number++;
        }
    }
}

/* The number that has the derivative: the sum of the results times their cotangents, as a function of inputs and
 * cotangents. */
static FuncId paired_results(Elab *e, const Func *main, Name name) {
    Module *m = e->module;
    FuncId sum = graph_func(m, name);
    Node *inputs = ARENA_ARRAY(e->arena, Node, m->inputs.len + 1), total = graph_const(m, sum, 0);
    Map known = {0};
    for (uint32_t i = 0; i < m->inputs.len; i++)
        inputs[i] = graph_param(m, sum, m->inputs.data[i].type, m->inputs.data[i].name);
    for (Node n = 1; n < main->nodes.len; n++)
        if (graph_node(main, n)->op == OP_INPUT)
            map_set(&known, n, inputs[graph_node(main, n)->index]);
    for (uint32_t i = 0; i < main->results.len; i++) {
        Node out = graph_copy(m, m->main, main->results.data[i], sum, &known);
        Type type = graph_node(graph_get(m, sum), out)->type;
        Node term = graph_binary(m, sum, OP_MUL, out, graph_param(m, sum, type, 0), SPAN_NONE);
        if (type.kind == TYPE_FIELD) term = graph_unary(m, sum, OP_SUM, term, SPAN_NONE);
        total = graph_binary(m, sum, OP_ADD, total, term, SPAN_NONE);
    }
    map_free(&known);
    vec_push(&graph_get(m, sum)->results, total);
    return sum;
}

static void kernel_vjp(Elab *e, const Item *item, bool weights) {
    Module *m = e->module;
    FuncId sum = paired_results(e, graph_get(m, m->main), item->name.name);
    bool *wanted = ARENA_ARRAY(e->arena, bool, graph_get(m, sum)->params.len + 1);
    for (uint32_t i = 0; i < m->inputs.len; i++) {
        SourceKind kind = e->out->sources.data[i].kind;
        wanted[i] = kind == SOURCE_ARGUMENT || (kind == SOURCE_START && !weights);
    }
    Node why = NODE_NONE;
    e->out->vjp = gradient_func(m, sum, wanted, &why);
    if (!e->out->vjp) {
        Diagnostic *d =
            report(e, NOT_DIFFERENTIABLE, item->name.span, names_text(e->names, item->name.name));
        const NodeData *n = why ? graph_node(graph_get(m, sum), why) : NULL;
        if (n && n->span.file) diag_note(d, n->span, "because of this (%s)", op_info(n->op)->name);
        return;
    }
    Func *f = graph_get(m, e->out->vjp); /* its first result is the sum */
    for (uint32_t i = 1; i < f->results.len; i++) f->results.data[i - 1] = f->results.data[i];
    f->results.len--;
}

/* A message on a name that no operator has. */
static void no_kernel(Unit *u, const char *name) {
    bool runs = false;
    for (uint32_t i = 0; i < sema_experiments(u); i++)
        runs = runs || strcmp(sema_experiment_name(u, i), name) == 0;
    Diagnostic *d = diag_report(u->context.diagnostics,
                                runs ? DIAG_NOT_A_KERNEL : DIAG_NO_DEFINITION, SPAN_NONE, name);
    if (runs) diag_help(d, "an experiment is run: pdn run %s %s", u->paths.data[0], name);
    sema_suggest(u, d, runs ? NULL : name, true);
}

Elaborated *sema_elaborate_kernel(Unit *u, const char *name, const KernelOptions *k) {
    uint32_t before = diagnostics_errors(u->context.diagnostics);
    ElaborateOptions *options = ARENA_NEW(u->arena, ElaborateOptions);
    *options = (ElaborateOptions){
        .overrides = k->overrides, .count = k->count, .f64 = k->f64, .kernel = true};
    Name wanted = names_of(u->context.names, name);
    Elab *e = elab_new(u, options, wanted);
    e->out->name = name;
    const Env *found = env_find(u->globals, wanted);
    if (!found || found->value->kind != VALUE_OPERATOR || found->value->op->kind != OPERATOR_DEF) {
        no_kernel(u, name);
        return elab_finish(e, before);
    }
    const Item *item = found->value->op->item;
    if (item->def.kind == DEF_SOLVER) {
        Diagnostic *d = diag_report(e->diagnostics, DIAG_SOLVER_ALONE, item->name.span, name);
        diag_help(d, "name what uses it: operator solution(f) { solve … = f for u with %s(…) … }",
                  name);
        return elab_finish(e, before);
    }
    const Value *op = item->def.has_config ? kernel_configured(e, found->value, k) : found->value;
    if (op->kind == VALUE_OPERATOR) {
        note_settings(e, op->op);
        apply_kernel(e, op, item, k);
        Parameters all = {0};
        for (uint32_t i = 0; i < e->parameters.len; i++) vec_push(&all, e->parameters.data[i]);
        if (parameters_apart(e, &all, op->op->instance, value_describe(e, op), item->name.span))
            name_parameters(e, op->op->instance);
        vec_free(&all);
        if (k->gradient && diagnostics_errors(e->diagnostics) == before)
            kernel_vjp(e, item, k->weights);
    }
    Texts known = {0};
    for (uint32_t i = 0; item->def.has_config && i < item->def.config.count; i++)
        vec_push(&known, names_text(e->names, item->def.config.items[i].name));
    unused_overrides(e, name, &known, true);
    vec_free(&known);
    return elab_finish(e, before);
}
