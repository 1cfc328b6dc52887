/* Training, and loops over data: functions that the host runs for every sample. */
#include "compiler/sema/train.h"
#include "compiler/analysis/transpose.h"
#include "compiler/ops/ops.h"
#include "compiler/sema/data.h"
#include "compiler/sema/effect.h"
#include "compiler/sema/param.h"

#include <math.h>
#include <string.h>

/* ---- for x in data { … } -------------------------------------------------------------- */

void each_statement(Elab *e, const Env *env, const Value *data, const Stmt *s) {
    SampleFrame frame;
    if (!sample_begin(e, s->loop.name.name, env, data, s->loop.name, &frame)) return;
    eval_statements(e, frame.env, s->loop.body);
    NodeList values = {0};
    EachTask task = {.data = data->data.number, .grid = frame.grid, .span = s->span};
    task.body = sample_end(e, &frame, &values);
    vec_push(&e->out->each, task);
    Action a = {.kind = EFFECT_EACH, .task = e->out->each.len - 1, .span = s->span};
    effect_add(e, a, values.data, values.len);
    vec_free(&values);
}

/* ---- what is trained ---------------------------------------------------------------------- */

typedef struct {
    const char *name; /* as written: "net", "net.K, A" */
    Span span;        /* there */
    const ExprList *what;
    const Value **values; /* of these */
    Parameters parameters;
    Parameters running;     /* that the loss applies, trained or not */
    const Instance *within; /* what their paths begin from */
} Trained;

static bool find_trained(Elab *e, const Env *env, const ExprList *what, Trained *out) {
    Span span = {what->items[0]->span.file, what->items[0]->span.begin,
                 what->items[what->count - 1]->span.end};
    out->name = source_text(e, span);
    out->span = span;
    out->what = what;
    out->values = ARENA_ARRAY(e->arena, const Value *, what->count);
    for (uint32_t i = 0; i < what->count; i++) {
        out->values[i] = eval_expr(e, env, what->items[i]);
        if (out->values[i]->kind == VALUE_ERROR || !parameters_whole(e, out->values[i]))
            return false;
    }
    out->within = what->count == 1 ? path_begin(out->values[0]) : NULL;
    return true;
}

/* train f(3): whatever the loss applies is another one. */
static bool is_made_there(const Expr *x, const Value *v) {
    return x->kind == EXPR_CALL && path_begin(v);
}

static void help_made_there(Elab *e, Diagnostic *d, const Expr *x) {
    diag_help(d, "it is made here, and nothing else can apply it: let net = %s, then train net",
              source_text(e, x->span));
}

/* What rules move, no optimiser does. False where nothing else is there, though something is. */
static bool drop_running(Parameters *all) {
    uint32_t kept = 0, before = all->len;
    for (uint32_t i = 0; i < before; i++)
        if (!all->data[i]->rule) all->data[kept++] = all->data[i];
    all->len = kept;
    return kept || !before;
}

/* After they were applied: parameters of what they call are made then. */
static bool find_parameters(Elab *e, Trained *out) {
    for (uint32_t i = 0; i < out->what->count; i++) {
        Parameters own = {0};
        parameters_of(e, out->values[i], &own);
        bool some = drop_running(&own), none = !own.len;
        vec_free(&own);
        /* those of before once more are no more */
        parameters_of(e, out->values[i], &out->parameters);
        if (none) {
            const Expr *x = out->what->items[i];
            if (!some)
                diag_help(report(e, ALL_RUNNING, x->span, source_text(e, x->span)),
                          "they move by themselves in the training of what applies them");
            else if (is_made_there(x, out->values[i]))
                help_made_there(e, report(e, LOSS_INDEPENDENT, x->span, source_text(e, x->span)),
                                x);
            else
                parameters_lacking(e, out->values[i], x->span, "train");
            return false;
        }
    }
    drop_running(&out->parameters);
    return true;
}

static bool names_apart(Elab *e, Trained *out) {
    Span first = out->what->items[0]->span;
    Parameters all = {0};
    for (uint32_t i = 0; i < out->parameters.len; i++) vec_push(&all, out->parameters.data[i]);
    for (uint32_t i = 0; i < out->running.len; i++) vec_push(&all, out->running.data[i]);
    if (!parameters_apart(e, &all, out->within, NULL, first)) out->within = NULL;
    bool apart = parameters_apart(e, &all, out->within, out->name, first);
    vec_free(&all);
    return apart;
}

/* ---- the body ------------------------------------------------------------------------------ */

typedef struct {
    Elab *e;
    const Value *loss; /* so far */
    VEC(const Stmt *) every;
    bool failed;
} Body;

static bool minimise(Body *b, const Env *env, const Stmt *s) {
    Elab *e = b->e;
    const Value *v = eval_expr(e, env, s->expr.value);
    if (v->kind == VALUE_ERROR) return false;
    if (!value_is_scalar(e, v)) {
        Diagnostic *d = report(e, LOSS_NOT_A_NUMBER, s->expr.value->span, value_describe(e, v));
        diag_help(d, "mean(…) of a field is one");
        return false;
    }
    b->loss = b->loss ? eval_binary(e, AST_ADD, b->loss, v, s->span) : v;
    return true;
}

static bool train_body(void *context, const Env *env, const Stmt *s) {
    Body *b = context;
    if (s->kind == STMT_MINIMISE) return minimise(b, env, s);
    vec_push(&b->every, s);
    return true;
}

static bool read_unit(Elab *e, const NameAt *unit, bool has_data, bool *epochs) {
    const char *text = names_text(e->names, unit->name);
    *epochs = strcmp(text, "epochs") == 0 || strcmp(text, "epoch") == 0;
    if (!*epochs && strcmp(text, "steps") != 0 && strcmp(text, "step") != 0) {
        Diagnostic *d = report(e, TRAIN_UNIT, unit->span, text);
        diag_help(d, "epochs, each of which goes through the data once, and steps are");
        return false;
    }
    if (!*epochs || has_data) return true;
    Diagnostic *d = report(e, EPOCHS_WITHOUT_DATA, unit->span);
    diag_help(d, "without data it is trained for steps: for 100 steps");
    return false;
}

static bool read_count(Elab *e, const Env *env, const Expr *x, const char *what, double *count) {
    int64_t n;
    if (!value_static_int(e, eval_expr(e, env, x), what, 1, 1e12, &n)) return false;
    *count = (double)n;
    return true;
}

/* What the steps of a training name is not known in its `every` blocks, nor what had such a name before. */
static const Env *hide(Elab *e, const Env *env, NameAt name) {
    return name.name ? env_bind(e, env, name.name, value_new(e, VALUE_HIDDEN, name.span), name.span)
                     : env;
}

static const Env *hide_steps(Elab *e, const Env *env, const Block *block) {
    for (uint32_t i = 0; block && i < block->count; i++) {
        const Stmt *s = block->items[i];
        for (uint32_t k = 0; s->kind == STMT_LET && k < s->let.count; k++)
            env = hide(e, env, s->let.names[k]);
        if (s->kind == STMT_LET_FN) env = hide(e, env, s->let_fn.name);
        if (s->kind == STMT_GRID) env = hide(e, env, s->bind.name);
        if (s->kind == STMT_IF)
            env = hide_steps(e, hide_steps(e, env, s->branch.then), s->branch.otherwise);
    }
    return env;
}

/* An `every` block is a function without sample, elaborated when the parameters are still those of before. */
static void add_every(Elab *e, const Env *env, const Stmt *s, TrainTask *task, NodeList *values) {
    EveryTask every = {.span = s->span};
    SampleFrame frame;
    if (!read_unit(e, &s->every.unit, task->data >= 0, &every.epochs) ||
        !read_count(e, env, s->every.count, "how often `every` reports", &every.count) ||
        !sample_begin(e, names_of(e->names, "every"), env, NULL, (NameAt){0, s->span}, &frame))
        return;
    eval_statements(e, frame.env, s->every.body);
    every.body = sample_end(e, &frame, values);
    task->every[task->every_count++] = every;
}

typedef VEC(TensorInfo) Tensors;

static void add_tensors(Elab *e, const Trained *trained, const Parameters *from, Tensors *tensors,
                        NodeList *values) {
    for (uint32_t i = 0; i < from->len; i++) {
        Parameter *p = from->data[i];
        for (uint32_t t = 0; t < p->tensor_count; t++) {
            vec_push(values, p->tensors[t].value->node.node);
            TensorInfo info = tensor_info(e, p, &p->tensors[t], trained->within);
            vec_push(tensors, info);
        }
    }
}

/* The tensors of what is trained come first among the values of the task, then running ones. */
static void place_tensors(Elab *e, const Trained *trained, TrainTask *task, NodeList *values) {
    Tensors tensors = {0};
    add_tensors(e, trained, &trained->parameters, &tensors, values);
    task->trained = tensors.len;
    add_tensors(e, trained, &trained->running, &tensors, values);
    task->tensors = arena_copy(e->arena, tensors.data, tensors.len * sizeof *tensors.data);
    task->tensor_count = tensors.len;
    vec_free(&tensors);
}

static bool is_zero(const Func *f, Node n) {
    const NodeData *d = graph_node(f, n);
    if (d->op == OP_SPREAD) return is_zero(f, graph_operand(f, n, 0));
    return d->op == OP_ZEROSTACK || (d->op == OP_CONST && d->number == 0);
}

/* Trained tensors that the loss does not see, or whose gradient is 0 whatever their values are: forgotten, most likely. A bias
 * is told with its convolution. */
static void warn_of_idle(Elab *e, const Trained *trained, const TrainTask *task) {
    const Func *f = graph_get(e->module, task->step.func);
    bool *moves = ARENA_ARRAY(e->arena, bool, task->trained + 1);
    uint32_t result = graph_get(e->module, task->loss.func)->results.len;
    for (uint32_t i = 0; i < task->loss.count; i++)
        if (task->loss.values[i] < task->trained)
            moves[task->loss.values[i]] = !is_zero(f, f->results.data[result++]);
    uint32_t at = 0;
    for (uint32_t i = 0; i < trained->parameters.len; i++) {
        const Parameter *p = trained->parameters.data[i];
        bool idle = p->tensor_count > 0;
        for (uint32_t t = 0; t < p->tensor_count; t++) idle = !moves[at++] && idle;
        if (!idle) continue;
        Diagnostic *d = report(e, PARAMETER_INDEPENDENT, trained->span,
                               task->tensors[at - p->tensor_count].path, task->name);
        diag_note(d, p->span, "it is declared here");
    }
}

/* The gradient's function takes what the loss took; its results are those of the loss, and the gradients by the trained
 * tensors that it depends on. */
static bool differentiate(Elab *e, const Trained *trained, TrainTask *task, Span loss) {
    const Func *f = graph_get(e->module, task->loss.func);
    bool *wanted = ARENA_ARRAY(e->arena, bool, f->params.len + 1);
    uint32_t any = 0;
    for (uint32_t i = 0; i < task->loss.count; i++) {
        wanted[task->loss.samples + i] = task->loss.values[i] < task->trained;
        any += wanted[task->loss.samples + i];
    }
    if (!any) {
        Diagnostic *d = report(e, LOSS_INDEPENDENT, loss, task->name);
        const Expr *made = NULL;
        for (uint32_t i = 0; i < trained->what->count && !made; i++)
            if (is_made_there(trained->what->items[i], trained->values[i]))
                made = trained->what->items[i];
        if (made)
            help_made_there(e, d, made);
        else
            diag_help(d, "apply what is trained to something, and compare the result");
        return false;
    }
    Node why = NODE_NONE;
    task->step = task->loss;
    task->step.func = gradient_func(e->module, task->loss.func, wanted, &why);
    if (task->step.func) {
        warn_of_idle(e, trained, task);
        return true;
    }
    Diagnostic *d = report(e, LOSS_NOT_DIFFERENTIABLE, loss);
    const NodeData *n = why ? graph_node(graph_get(e->module, task->loss.func), why) : NULL;
    if (n && n->span.file) diag_note(d, n->span, "because of this (%s)", op_info(n->op)->name);
    return false;
}

/* Does the loss depend on running parameters? */
static bool loss_runs(Elab *e, const TrainTask *task) {
    const Func *f = graph_get(e->module, task->loss.func);
    bool *running = ARENA_ARRAY(e->arena, bool, f->params.len + 1);
    for (uint32_t i = 0; i < task->loss.count; i++)
        running[task->loss.samples + i] =
            task->loss.values[i] >= task->trained && task->loss.values[i] < task->tensor_count;
    return activity_of(e->module, task->loss.func, running, e->arena)[f->results.data[0]];
}

/* lbfgs compares losses and gradients of one step with those of others. */
static bool same_in_every_step(Elab *e, const TrainTask *task, Span with) {
    const char *name = task->optimiser->name;
    if (!pdn_optimiser_wants_fixed(name)) return true;
    const char *others = "adam(rate = 1e-3) and others do without";
    const PdnDataInfo *set = task->data < 0 ? NULL : &e->out->data.data[task->data].info;
    bool stored = set && e->out->data.data[task->data].data;
    if (stored && set->batch < set->per_epoch) {
        Diagnostic *d = report(e, LOSS_VARIES, with, name,
                               arena_format(e->arena, "its batches hold %lld of %lld samples",
                                            (long long)set->batch, (long long)set->per_epoch));
        diag_help(d, "batch = %lld takes all of them; %s", (long long)set->per_epoch, others);
        return false;
    }
    if (stored && set->varies) {
        Diagnostic *d = report(e, LOSS_VARIES, with, name,
                               "its samples are other windows, or turned otherwise, in each epoch");
        diag_help(d, "leave out patch and augment; %s", others);
        return false;
    }
    if (loss_runs(e, task)) {
        Diagnostic *d =
            report(e, LOSS_VARIES, with, name, "this one depends on what its rules move in each");
        diag_help(d, "%s", others);
        return false;
    }
    FuncId in = 0;
    Node n = graph_find(e->module, task->loss.func, OP_NORMAL, &in);
    if (!n) n = graph_find(e->module, task->loss.func, OP_UNIFORM, &in);
    if (!n) return true;
    Diagnostic *d = report(e, LOSS_VARIES, with, name, "this one draws other numbers each time");
    Span span = graph_node(graph_get(e->module, in), n)->span;
    if (span.file) diag_note(d, span, "they are drawn here");
    diag_help(d, "draw them before the training; %s", others);
    return false;
}

static void take_results(Elab *e, Trained *trained, const TrainTask *task, const NodeList *values,
                         uint32_t number, Span span) {
    Node node =
        graph_add(e->module, e->root->func, OP_TASK, values->data, values->len, number, 0, span);
    Node *results = ARENA_ARRAY(e->arena, Node, task->tensor_count + 1);
    uint32_t at = 0;
    for (uint32_t i = 0; i < trained->parameters.len + trained->running.len; i++) {
        Parameter *p = i < trained->parameters.len
                           ? trained->parameters.data[i]
                           : trained->running.data[i - trained->parameters.len];
        for (uint32_t t = 0; t < p->tensor_count; t++, at++) {
            results[at] = graph_result(e->module, e->root->func, node, at);
            Value *v = value_new(e, VALUE_NODE, p->span);
            v->node.frame = e->root;
            v->node.node = results[at];
            v->node.boundary = p->tensors[t].value->node.boundary;
            p->tensors[t].value = v;
        }
    }
    effect_add(e, (Action){.kind = EFFECT_TRAIN, .task = number, .span = span}, results,
               task->tensor_count);
}

/* What rules have made of parameters are results after the loss. */
static void take_running(Elab *e, const SampleFrame *frame, Node loss, Trained *trained) {
    Func *f = graph_get(e->module, frame->frame->func);
    vec_push(&f->results, loss);
    running_results(e, frame->frame);
    for (uint32_t i = 0; i < frame->frame->moved.len; i++)
        vec_push(&trained->running, frame->frame->moved.data[i].parameter);
}

/* Which of its values is the number of samples in a batch. */
static int64_t batch_value(const Elab *e, const NodeList *values) {
    for (uint32_t i = 0; e->batch_size && i < values->len; i++)
        if (values->data[i] == e->batch_size->node.node) return i;
    return -1;
}

static void build_training(Elab *e, const Env *env, const Stmt *s, const Value *data,
                           TrainTask *task, Trained *trained) {
    SampleFrame frame;
    if (!sample_begin(e, names_of(e->names, "loss"), env, data, s->train.on_name, &frame)) return;
    Body body = {.e = e};
    bool outer = e->training;
    e->training = true;
    frame.frame->training = true;
    body.failed = !eval_training(e, frame.env, s->train.body, train_body, &body);
    e->training = outer;
    if (!body.failed && !body.loss) {
        Diagnostic *d = report(e, NO_LOSS, s->span);
        diag_help(d, "minimise mean((net(y) - x)^2), say");
        body.failed = true;
    }
    Node loss = body.failed ? NODE_NONE : value_to_node(e, body.loss);
    if (loss) take_running(e, &frame, loss, trained);
    NodeList values = {0};
    task->grid = frame.grid;
    body.failed = body.failed || !find_parameters(e, trained) || !names_apart(e, trained);
    if (!body.failed) place_tensors(e, trained, task, &values);
    task->loss = sample_end(e, &frame, &values);
    task->batch_size = batch_value(e, &values);
    task->every = ARENA_ARRAY(e->arena, EveryTask, body.every.len + 1);
    const Env *around = hide_steps(e, hide(e, env, s->train.on_name), s->train.body);
    for (uint32_t i = 0; i < body.every.len && !body.failed; i++)
        add_every(e, around, body.every.data[i], task, &values);
    if (!body.failed && same_in_every_step(e, task, s->train.with->span) &&
        differentiate(e, trained, task, s->span)) {
        vec_push(&e->out->trainings, *task);
        take_results(e, trained, task, &values, e->out->trainings.len - 1, s->span);
    }
    vec_free(&body.every);
    vec_free(&values);
}

void train_statement(Elab *e, const Env *env, const Stmt *s) {
    if (e->frame != e->root) {
        Diagnostic *d = report(e, MISPLACED, s->span, "a", "loop over data");
        diag_help(d, "an experiment trains, one thing after the other");
        return;
    }
    const Value *data = s->train.on ? eval_expr(e, env, s->train.on) : NULL;
    const Value *with = eval_expr(e, env, s->train.with);
    TrainTask task = {.data = -1, .span = s->span};
    Trained trained = {0};
    bool ok = with->kind != VALUE_ERROR && !(data && data->kind == VALUE_ERROR);
    if (ok && data && data->kind != VALUE_DATA) {
        report(e, NOT_DATA, s->train.on->span, value_describe(e, data));
        ok = false;
    }
    if (ok && with->kind != VALUE_OPTIMISER) {
        Diagnostic *d = report(e, NOT_AN_OPTIMISER, s->train.with->span, value_describe(e, with));
        diag_help(d, "sgd(), adam(rate = 1e-3), adamw(), rmsprop() and lbfgs() are");
        ok = false;
    }
    if (data) task.data = ok ? (int64_t)data->data.number : -1;
    if (ok && read_unit(e, &s->train.unit, data != NULL, &task.epochs) &&
        read_count(e, env, s->train.count, "how long it is trained", &task.count) &&
        find_trained(e, env, &s->train.what, &trained)) {
        task.name = trained.name;
        task.optimiser = with->optimiser;
        build_training(e, env, s, data, &task, &trained);
    }
    vec_free(&trained.parameters);
    vec_free(&trained.running);
}
