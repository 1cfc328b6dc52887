#include "compiler/sema/effect.h"
#include "compiler/sema/train.h"

#include <string.h>

typedef struct {
    VEC(const Value *) values;
    VEC(Span) spans;
} Shown;

/* Adds the action and its effect in the main function. */
static void add_effect(Elab *e, Action action, const Shown *shown) {
    uint32_t n = shown->values.len;
    Effect effect = {
        .kind = action.kind, .number = e->out->actions.len, .count = n, .span = action.span};
    effect.values = ARENA_ARRAY(e->arena, Node, n + 1);
    action.count = n;
    action.numbers = ARENA_ARRAY(e->arena, double, n + 1);
    action.known = ARENA_ARRAY(e->arena, bool, n + 1);
    action.types = ARENA_ARRAY(e->arena, Type, n + 1);
    action.spans = arena_copy(e->arena, shown->spans.data, n * sizeof(Span));
    for (uint32_t i = 0; i < n; i++) {
        const Value *v = shown->values.data[i];
        action.known[i] = v->kind == VALUE_NUMBER;
        if (action.known[i]) action.numbers[i] = v->number;
        action.types[i] = value_type(e, v);
        effect.values[i] = value_to_node(e, v);
    }
    vec_push(&graph_get(e->module, e->frame->func)->effects, effect);
    vec_push(&e->out->actions, action);
}

void effect_add(Elab *e, Action action, const Node *values, uint32_t count) {
    Effect effect = {
        .kind = action.kind, .number = e->out->actions.len, .count = count, .span = action.span};
    effect.values = arena_copy(e->arena, values, count * sizeof *values);
    action.count = count;
    action.known = ARENA_ARRAY(e->arena, bool, count + 1);
    action.types = ARENA_ARRAY(e->arena, Type, count + 1);
    action.spans = ARENA_ARRAY(e->arena, Span, count + 1);
    Func *f = graph_get(e->module, e->frame->func);
    for (uint32_t i = 0; i < count; i++) {
        action.types[i] = graph_node(f, values[i])->type;
        action.spans[i] = action.span;
    }
    vec_push(&f->effects, effect);
    vec_push(&e->out->actions, action);
}

static bool show(Elab *e, Shown *shown, const Value *v, Span span) {
    if (v->kind == VALUE_ERROR) return false;
    if (v->kind == VALUE_LIST) {
        for (uint32_t i = 0; i < v->list.count; i++)
            if (!show(e, shown, v->list.items[i], span)) return false;
        return true;
    }
    if (v->kind == VALUE_NUMBER ||
        (v->kind == VALUE_NODE && value_type(e, v).kind == TYPE_SCALAR)) {
        vec_push(&shown->values, v);
        vec_push(&shown->spans, span);
        return true;
    }
    Diagnostic *d = report(e, CANNOT_PRINT, span, value_describe(e, v));
    if (v->kind == VALUE_NODE)
        diag_help(
            d,
            "print a number of it, such as mean(u), min(u), max(u); `save u to \"u.png\"` writes it");
    if (v->kind == VALUE_STRING)
        diag_help(d, "a text is the label of what is printed: print \"%.*s\": 1",
                  (int)v->string.length, v->string.bytes);
    return false;
}

static void show_values(Elab *e, const Env *env, const Stmt *s, EffectKind kind) {
    Shown shown = {0};
    bool ok = true;
    for (uint32_t i = 0; i < s->print.values.count; i++) {
        const Expr *x = s->print.values.items[i];
        ok = show(e, &shown, eval_expr(e, env, x), x->span) && ok;
    }
    Action a = {.kind = kind,
                .label = s->print.label ? s->print.label->string.bytes : NULL,
                .span = s->span};
    if (ok) add_effect(e, a, &shown);
    vec_free(&shown.values);
    vec_free(&shown.spans);
}

void effect_report(Elab *e, const Env *env, const Stmt *s) {
    show_values(e, env, s, EFFECT_REPORT);
}

void effect_print(Elab *e, const Env *env, const Stmt *s) { show_values(e, env, s, EFFECT_PRINT); }

const char *source_text(Elab *e, Span span) {
    size_t length;
    const char *bytes = sources_bytes(e->unit->context.sources, span.file, &length);
    return arena_text(e->arena, bytes + span.begin, span.end - span.begin);
}

/* Everywhere, when it is a field. */
static const Value *as_truth(Elab *e, const Value *v, Span span) {
    if (!value_is_field(e, v)) return v;
    Node n = value_to_node(e, v);
    return value_node(e, graph_add(e->module, e->frame->func, OP_LEAST, &n, 1, 0, 0, span), NULL,
                      span);
}

static bool is_comparison(const Expr *x) {
    return x->kind == EXPR_BINARY && x->binary.op >= AST_EQ && x->binary.op <= AST_GE;
}

void effect_assert(Elab *e, const Env *env, const Stmt *s) {
    const Expr *x = s->expr.value;
    Shown shown = {0};
    const Value *left = NULL, *right = NULL, *v;
    if (is_comparison(x)) {
        left = eval_expr(e, env, x->binary.left);
        right = eval_expr(e, env, x->binary.right);
        v = eval_binary(e, x->binary.op, left, right, x->span);
    } else
        v = eval_expr(e, env, x);
    if (v->kind == VALUE_ERROR) return;
    v = as_truth(e, v, x->span);
    if (!value_is_scalar(e, v)) {
        report(e, NOT_A_CONDITION, x->span, value_describe(e, v));
        return;
    }
    vec_push(&shown.values, v);
    vec_push(&shown.spans, x->span);
    if (left && value_is_scalar(e, left) && value_is_scalar(e, right)) {
        vec_push(&shown.values, left);
        vec_push(&shown.spans, x->binary.left->span);
        vec_push(&shown.values, right);
        vec_push(&shown.spans, x->binary.right->span);
    }
    add_effect(e, (Action){.kind = EFFECT_ASSERT, .text = source_text(e, x->span), .span = s->span},
               &shown);
    vec_free(&shown.values);
    vec_free(&shown.spans);
}

/* What the program calls the fields that are saved: `save u`, `save [u, v]`. */
static const char **saved_names(Elab *e, const Expr *x, uint32_t count) {
    const char **names = ARENA_ARRAY(e->arena, const char *, count + 1);
    if (x->kind == EXPR_NAME && count == 1) {
        names[0] = names_text(e->names, x->name);
        return names;
    }
    if (x->kind != EXPR_LIST || x->list.count != count) return NULL;
    for (uint32_t i = 0; i < count; i++) {
        if (x->list.items[i]->kind != EXPR_NAME) return NULL;
        names[i] = names_text(e->names, x->list.items[i]->name);
        for (uint32_t k = 0; k < i; k++)
            if (names[k] == names[i]) return NULL;
    }
    return names;
}

void effect_save(Elab *e, const Env *env, const Stmt *s) {
    const Value *v = eval_expr(e, env, s->file.what), *where = eval_expr(e, env, s->file.where);
    if (v->kind == VALUE_ERROR || where->kind == VALUE_ERROR) return;
    if (where->kind != VALUE_STRING) {
        report(e, NOT_A_PATH, s->file.where->span, value_describe(e, where));
        return;
    }
    if (v->kind == VALUE_OPERATOR || v->kind == VALUE_PARAMETER) {
        save_network(e, v, where->string.bytes, s->file.what->span);
        return;
    }
    Shown shown = {0};
    uint32_t n = v->kind == VALUE_LIST ? v->list.count : 1;
    Type first = {TYPE_SCALAR, 0, 0};
    bool ok = n > 0;
    for (uint32_t i = 0; i < n && ok; i++) {
        const Value *item = v->kind == VALUE_LIST ? v->list.items[i] : v;
        Type t = value_type(e, item);
        if (item->kind != VALUE_NODE || t.kind == TYPE_SCALAR) {
            Diagnostic *d = report(e, CANNOT_SAVE, s->file.what->span, value_describe(e, item));
            diag_help(
                d,
                item->kind == VALUE_OPERATOR
                    ? "networks are saved one by one, each in a file of its own: save net to \"net.safetensors\""
                    : "fields, lists of fields and films can be saved; numbers are printed");
            ok = false;
        } else if (i && !type_equal(t, first)) {
            Diagnostic *d = report(e, SAVE_MIXED, s->file.what->span);
            diag_label_primary(d, "%s and %s", type_text(e->module, first, e->arena),
                               type_text(e->module, t, e->arena));
            ok = false;
        } else if (!i)
            first = t;
        vec_push(&shown.values, item);
        vec_push(&shown.spans, s->file.what->span);
    }
    Action a = {.kind = EFFECT_SAVE,
                .path = where->string.bytes,
                .list = v->kind == VALUE_LIST ? n : 0,
                .names = saved_names(e, s->file.what, n),
                .span = s->span};
    if (ok) add_effect(e, a, &shown);
    vec_free(&shown.values);
    vec_free(&shown.spans);
}
