/* Running parameters: those that a rule moves while something is trained, such as the averages of a batch
 * normalisation.
 *
 * What a rule gives in the body of `train` is a result of the loss's function. Applied twice, an instance moves
 * twice: each frame knows how far a parameter has come, a loop has it as one more state. Nothing is
 * differentiated through it. */
#include "compiler/ops/rules.h"
#include "compiler/sema/param.h"

/* What it has become in the frame so far; NULL: from there nothing leads to the results of a loss. An indexed one is the
 * sum of its changes, into which steps of a loop add their entries. */
static Moved *moved_in(Elab *e, Frame *f, Parameter *p) {
    for (uint32_t i = 0; i < f->moved.len; i++)
        if (f->moved.data[i].parameter == p) return &f->moved.data[i];
    const Value *start = p->tensors[0].value;
    Node before;
    if (f->training) {
        Frame *current = e->frame;
        e->frame = f;
        before = value_to_node(e, start);
        if (p->depth >= 0) before = graph_unary(e->module, f->func, OP_ZEROSTACK, before, p->span);
        e->frame = current;
    } else if (f->step && (p->depth < 0 || f->parent->training) && moved_in(e, f->parent, p)) {
        before = graph_param(e->module, f->func, value_type(e, start), 0);
    } else {
        return NULL;
    }
    vec_push(&f->moved, ((Moved){p, before, before}));
    return &vec_last(&f->moved);
}

static void misplaced(Elab *e, const Parameter *p) {
    const Frame *around = e->frame;
    while (around->step) around = around->parent;
    Diagnostic *d = report(e, RUNNING_PLACE, p->span, names_text(e->names, p->name),
                           around->training ? "a loop that is in another one: it has an index"
                                            : "a derivative, a proof or the equation of a solve");
    diag_help(d, "apply what it belongs to in what is minimised, or in a step of a recurrence%s",
              around->training ? " that is in no other one" : "");
}

/* A number may stand for a row of equal ones. */
static Node fitting(Elab *e, const Parameter *p, const Value *v) {
    Type wanted = p->tensors[0].type;
    bool alike = v->kind == VALUE_NODE && type_equal(value_type(e, v), wanted);
    if (!alike && !value_is_scalar(e, v)) {
        if (v->kind != VALUE_ERROR)
            report(e, RULE_SHAPE, v->span, names_text(e->names, p->name),
                   type_text(e->module, wanted, e->arena), value_describe(e, v));
        return NODE_NONE;
    }
    return node_broadcast(e->module, e->frame->func, value_to_node(e, v), wanted, v->span);
}

/* It as it is so far. */
static void move_whole(Elab *e, const Env *env, Parameter *p) {
    Value *v = value_new(e, VALUE_NODE, p->span);
    v->node.frame = e->frame;
    v->node.node = moved_in(e, e->frame, p)->now;
    v->node.boundary = value_boundary(e, p->tensors[0].value);
    Node n = fitting(e, p, eval_expr(e, env_bind(e, env, p->name, v, p->span), p->rule));
    if (n) /* found anew: the rule may have moved others */
        moved_in(e, e->frame, p)->now =
            graph_unary(e->module, e->frame->func, OP_DETACH, n, p->rule->span);
}

static void move_entry(Elab *e, const Env *env, Parameter *p) {
    Module *m = e->module;
    FuncId f = e->frame->func;
    Span span = p->rule->span;
    const Value *k = eval_expr(e, env, p->entry);
    const Value *all = parameter_value(e, p, p->span),
                *entry = parameter_index(e, all, k, p->entry->span);
    if (entry->kind == VALUE_ERROR) return;
    Node n = fitting(e, p, eval_expr(e, env_bind(e, env, p->name, all, p->span), p->rule));
    if (!n) return;
    Node change = graph_binary(m, f, OP_SUB, n, value_to_node(e, entry), span);
    change =
        node_broadcast(m, f, graph_unary(m, f, OP_DETACH, change, span), p->tensors[0].type, span);
    Node parts[3] = {moved_in(e, e->frame, p)->now, value_to_node(e, k), change};
    moved_in(e, e->frame, p)->now = graph_add(m, f, OP_SCATTER, parts, 3, 0, 0, span);
}

void parameter_move(Elab *e, const Env *env, Parameter *p) {
    if (!moved_in(e, e->frame, p))
        misplaced(e, p);
    else if (p->depth < 0)
        move_whole(e, env, p);
    else
        move_entry(e, env, p);
}

bool parameter_rule(Elab *e, Parameter *p, const Stmt *s) {
    if (!s->param.rules.count) return true;
    const char *name = names_text(e->names, p->name);
    p->rule = s->param.rules.items[0];
    p->entry = s->param.entry;
    if (s->param.rules.count > 1) {
        report(e, RULE_TWICE, s->param.rules.items[1]->span, name);
        return false;
    }
    if (p->is_conv) {
        report(e, RULE_KIND, p->rule->span, name);
        return false;
    }
    if ((p->depth >= 0) == (p->entry != NULL)) return true;
    Diagnostic *d = report(e, RULE_ENTRY, p->rule->span, name,
                           p->entry ? "moves an entry, and there is no index"
                                    : "does not say which entry it moves");
    if (!p->entry) diag_help(d, "with 0.9 * %s[k] + 0.1 * x at k", name);
    return false;
}

/* ---- loops ------------------------------------------------------------------------------------------ */

void running_results(Elab *e, const Frame *frame) {
    for (uint32_t i = 0; i < frame->moved.len; i++)
        vec_push(&graph_get(e->module, frame->func)->results, frame->moved.data[i].now);
}

FuncId running_states(Elab *e, const Frame *frame, uint32_t states, Nodes *operands) {
    Module *m = e->module;
    if (!frame->moved.len) return frame->func;
    FuncId made = graph_func(m, graph_get(m, frame->func)->name);
    Map known = {0};
    Nodes order = {0};
    for (uint32_t i = 0; i <= states; i++)
        vec_push(&order, graph_get(m, frame->func)->params.data[i]);
    for (uint32_t i = 0; i < frame->moved.len; i++) {
        vec_push(&order, frame->moved.data[i].before);
        vec_push(operands, moved_in(e, frame->parent, frame->moved.data[i].parameter)->now);
    }
    for (uint32_t i = 0; i < frame->captures.len; i++)
        vec_push(&order, frame->captures.data[i].inner);
    for (uint32_t i = 0; i < order.len; i++) {
        const Func *old = graph_get(m, frame->func);
        map_set(&known, order.data[i],
                graph_param_like(m, made, old, graph_node(old, order.data[i])->index));
    }
    for (uint32_t i = 0; i < graph_get(m, frame->func)->results.len; i++) {
        Node result =
            graph_copy(m, frame->func, graph_get(m, frame->func)->results.data[i], made, &known);
        vec_push(&graph_get(m, made)->results, result);
    }
    vec_free(&order);
    map_free(&known);
    return made;
}

void running_done(Elab *e, const Frame *frame, Node loop, uint32_t states) {
    for (uint32_t i = 0; i < frame->moved.len; i++)
        moved_in(e, frame->parent, frame->moved.data[i].parameter)->now =
            graph_result(e->module, frame->parent->func, loop, states + i);
}

/* ---- the batch ------------------------------------------------------------------------------------------ */

const Value *batch_size(Elab *e, Span span) {
    if (!e->training) return value_number(e, 1, span);
    if (!e->batch_size) {
        Source one = {
            .kind = SOURCE_START, .span = span, .init = {PDN_INIT_CONSTANT, 1, 0}, .depth = -1};
        e->batch_size = program_value(e, program_input(e, type_scalar(), one), span);
    }
    return value_at(e, e->batch_size, span);
}
