/* Loop regions: a step elaborated once, in a frame of its own. */
#include "compiler/sema/value.h"

static void state_changes(Elab *e, Name name, const Value *before, Type was, const Value *after,
                          Span span) {
    Diagnostic *d = report(e, STATE_CHANGES, after->span.file ? after->span : span,
                           name ? names_text(e->names, name) : "A^n");
    diag_label_primary(d, "after a step: %s", value_describe(e, after));
    if (before->span.file)
        diag_note(d, before->span, "at the start: %s", value_describe(e, before));
    if (was.kind == TYPE_SCALAR) diag_help(d, "start from a field: zeros(f), say");
}

bool build_loop(Elab *e, Name name, const Value *count, int64_t start, const Value **states,
                uint32_t n, LoopBody *body, void *context, Span span) {
    Node *operands = ARENA_ARRAY(e->arena, Node, n + 1);
    const Value **inner = ARENA_ARRAY(e->arena, const Value *, n + 1);
    operands[0] = value_to_node(e, count);
    for (uint32_t i = 0; i < n; i++) {
        if (states[i]->kind == VALUE_ERROR) return false;
        operands[i + 1] = value_to_node(e, states[i]);
        if (!operands[i + 1] || value_type(e, states[i]).kind == TYPE_STACK) {
            report(e, BAD_OPERAND, states[i]->span.file ? states[i]->span : span,
                   value_describe(e, states[i]));
            return false;
        }
    }
    Frame *frame = frame_push(e, name);
    Node k = graph_param(e->module, frame->func, type_scalar(), names_of(e->names, "k"));
    frame->step = k;
    for (uint32_t i = 0; i < n; i++) {
        Value *v = value_new(e, VALUE_NODE, states[i]->span);
        v->node.frame = frame;
        v->node.node = graph_param(e->module, frame->func, value_type(e, states[i]), 0);
        inner[i] = v;
    }
    for (uint32_t i = 0; i < n; i++)
        ((Value *)inner[i])->node.boundary = boundary_like(e, states[i]);
    const Value *stop = NULL;
    bool ok = body(e, context, value_node(e, k, NULL, span), inner, &stop);
    Func *f = graph_get(e->module, frame->func);
    for (uint32_t i = 0; ok && i < n; i++) {
        Type was = value_type(e, states[i]);
        Node next = value_to_node(e, inner[i]);
        if (inner[i]->kind == VALUE_ERROR)
            ok = false;
        else if (!next || !type_equal(value_type(e, inner[i]), was)) {
            state_changes(e, name, states[i], was, inner[i], span);
            ok = false;
        } else
            vec_push(&f->results, next);
    }
    running_results(e, frame);
    if (ok && stop) {
        Node s = value_to_node(e, stop);
        if (stop->kind == VALUE_ERROR)
            ok = false;
        else if (!s || value_type(e, stop).kind != TYPE_SCALAR) {
            Diagnostic *d = report(e, NOT_A_CONDITION, stop->span, value_describe(e, stop));
            diag_help(d, "reduce a field to a number: max(…), norm(…)");
            ok = false;
        } else
            vec_push(&f->results, s);
    }
    frame_pop(e);
    if (!ok) return false;
    Nodes all = {0};
    for (uint32_t i = 0; i <= n; i++) vec_push(&all, operands[i]);
    Loop loop = {.body = running_states(e, frame, n, &all),
                 .start = start,
                 .states = n + frame->moved.len,
                 .captured = frame->captures.len,
                 .has_stop = stop != NULL,
                 .stride = 1,
                 .name = name,
                 .span = span};
    LoopId id = graph_loop(e->module, &loop);
    for (uint32_t i = 0; i < frame->captures.len; i++)
        vec_push(&all, frame->captures.data[i].outer);
    Node node = graph_add(e->module, e->frame->func, OP_LOOP, all.data, all.len, id, 0, span);
    vec_free(&all);
    running_done(e, frame, node, n);
    for (uint32_t i = 0; i < n; i++)
        states[i] = value_node(e, graph_result(e->module, e->frame->func, node, i),
                               boundary_like(e, states[i]), states[i]->span);
    return true;
}
