/* Running parameters: those that a rule moves while something is trained, such as the averages of a batch
 * normalisation.
 *
 * What a rule gives in the body of `train` is a result of the loss's function. Applied twice, an instance moves
 * twice: each frame knows how far a parameter has come, a loop has it as one more state. Nothing is
 * differentiated through it. */
#include "compiler/ops/rules.h"
#include "compiler/sema/param.h"

/* What it has become in the frame so far; NULL: from there nothing leads to the results of a loss. */
static Moved *moved_in(Elab *e, Frame *f, Parameter *p) {
    for (uint32_t i = 0; i < f->moved.len; i++)
        if (f->moved.data[i].parameter == p) return &f->moved.data[i];
    const Value *start = p->tensors[0].value;
    Node before;
    if (f->training) {
        Frame *current = e->frame;
        e->frame = f;
        before = value_to_node(e, start);
        e->frame = current;
    } else if (f->step && moved_in(e, f->parent, p)) {
        before = graph_param(e->module, f->func, value_type(e, start), 0);
    } else {
        return NULL;
    }
    vec_push(&f->moved, ((Moved){p, before, before}));
    return &vec_last(&f->moved);
}

static void misplaced(Elab *e, const Parameter *p) {
    Diagnostic *d = report(e, RUNNING_PLACE, p->span, names_text(e->names, p->name));
    diag_help(d, "apply what it belongs to in what is minimised, or in a step of a recurrence");
}

/* A number may stand for a row of equal ones. */
static Node fitting(Elab *e, const Parameter *p, const Value *v) {
    Type wanted = p->tensors[0].type;
    bool alike = v->kind == VALUE_NODE && type_equal(value_type(e, v), wanted);
    if (!alike && !value_is_scalar(e, v)) {
        if (v->kind != VALUE_ERROR)
            report(e, RULE_SHAPE, v->span, names_text(e->names, p->name),
                   value_describe(e, p->tensors[0].value), value_describe(e, v));
        return NODE_NONE;
    }
    return node_broadcast(e->module, e->frame->func, value_to_node(e, v), wanted, v->span);
}

void parameter_move(Elab *e, const Env *env, Parameter *p) {
    const Moved *before = moved_in(e, e->frame, p);
    if (!before) {
        misplaced(e, p);
        return;
    }
    Value *v = value_new(e, VALUE_NODE, p->span);
    v->node.frame = e->frame;
    v->node.node = before->now;
    v->node.boundary = value_boundary(e, p->tensors[0].value);
    Node n = fitting(e, p, eval_expr(e, env_bind(e, env, p->name, v, p->span), p->rule));
    if (n) /* found anew: the rule may have moved others */
        moved_in(e, e->frame, p)->now =
            graph_unary(e->module, e->frame->func, OP_DETACH, n, p->rule->span);
}

bool parameter_rule(Elab *e, Parameter *p, const Stmt *s) {
    if (!s->param.rules.count) return true;
    const char *name = names_text(e->names, p->name);
    p->rule = s->param.rules.items[0];
    if (s->param.rules.count > 1) {
        report(e, RULE_TWICE, s->param.rules.items[1]->span, name);
        return false;
    }
    if (!p->is_conv && p->depth < 0) return true;
    report(e, RULE_KIND, p->rule->span, name, p->is_conv ? "a convolution" : "indexed");
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
