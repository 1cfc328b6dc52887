/* Values, scopes and frames of the staged evaluator. */
#include "compiler/sema/param.h"
#include "compiler/sema/value.h"

#include <math.h>
#include <string.h>

Value *value_new(Elab *e, ValueKind kind, Span span) {
    Value *v = ARENA_NEW(e->arena, Value);
    v->kind = kind;
    v->span = span;
    return v;
}

const Value *value_error(Elab *e) { return value_new(e, VALUE_ERROR, SPAN_NONE); }

const Value *value_number(Elab *e, double number, Span span) {
    Value *v = value_new(e, VALUE_NUMBER, span);
    v->number = number;
    return v;
}

const Value *value_list(Elab *e, const Value **items, uint32_t count, Span span) {
    Value *v = value_new(e, VALUE_LIST, span);
    v->list.items = items;
    v->list.count = count;
    uint64_t leaves = 1;
    for (uint32_t i = 0; i < count; i++)
        leaves += items[i]->kind == VALUE_LIST ? items[i]->list.leaves : 1;
    v->list.leaves = (uint32_t)leaves;
    if (leaves <= LIST_MAX) return v;
    report(e, LIST_TOO_LONG, span, LIST_MAX);
    return value_error(e);
}

const Value *value_operator(Elab *e, const Operator *op, Span span) {
    Value *v = value_new(e, VALUE_OPERATOR, span);
    v->op = op;
    return v;
}

const Value *value_node(Elab *e, Node node, const Boundary *boundary, Span span) {
    double number;
    const Func *f = graph_get(e->module, e->frame->func);
    if (graph_is_const(f, node, &number)) return value_number(e, number, span);
    Value *v = value_new(e, VALUE_NODE, span);
    v->node.frame = e->frame;
    v->node.node = node;
    v->node.boundary = boundary;
    return v;
}

Node program_input(Elab *e, Type type, Source source) {
    vec_push(&e->out->sources, source);
    vec_push(&e->module->inputs, ((Input){type, 0, source.span}));
    return graph_add_typed(e->module, e->root->func, OP_INPUT, type, NULL, 0,
                           e->module->inputs.len - 1, 0, source.span);
}

const Value *program_value(Elab *e, Node node, Span span) {
    Value *v = value_new(e, VALUE_NODE, span);
    v->node.frame = e->root;
    v->node.node = node;
    return v;
}

const Value *value_at(Elab *e, const Value *value, Span span) {
    Value *v = value_new(e, value->kind, span);
    *v = *value;
    v->span = span;
    return v;
}

/* ---- scopes ------------------------------------------------------------------ */

const Env *env_bind(Elab *e, const Env *env, Name name, const Value *value, Span span) {
    Env *bound = ARENA_NEW(e->arena, Env);
    *bound = (Env){env, name, value, span};
    return bound;
}

const Env *env_find(const Env *env, Name name) {
    for (; env; env = env->outer)
        if (env->name == name) return env;
    return NULL;
}

/* ---- frames -------------------------------------------------------------------- */

Frame *frame_push(Elab *e, Name name) {
    Frame *f = ARENA_NEW(e->arena, Frame);
    f->parent = e->frame;
    f->func = graph_func(e->module, name);
    vec_adopt(e->arena, &f->captures);
    vec_adopt(e->arena, &f->moved);
    e->frame = f;
    return f;
}

void frame_pop(Elab *e) { e->frame = e->frame->parent; }

static bool is_cheap_source(Op op) {
    return op == OP_CONST || op == OP_COORD || op == OP_EDGE || op == OP_CELLS;
}

static Node use_in(Elab *e, Frame *frame, Frame *owner, Node node) {
    if (frame == owner) return node;
    const NodeData *d = graph_node(graph_get(e->module, owner->func), node);
    if (d->op == OP_CONST) return graph_const(e->module, frame->func, d->number);
    if (is_cheap_source(d->op))
        return graph_add_typed(e->module, frame->func, d->op, d->type, NULL, 0, d->index, d->detail,
                               d->span);
    Type type = d->type;
    Node outer = use_in(e, frame->parent, owner, node);
    for (uint32_t i = 0; i < frame->captures.len; i++)
        if (frame->captures.data[i].outer == outer) return frame->captures.data[i].inner;
    Capture capture = {outer, graph_param(e->module, frame->func, type, 0)};
    vec_push(&frame->captures, capture);
    return capture.inner;
}

Node frame_use(Elab *e, Frame *owner, Node node) { return use_in(e, e->frame, owner, node); }

/* ---- questions --------------------------------------------------------------------- */

Node value_to_node(Elab *e, const Value *value) {
    if (value->kind == VALUE_NUMBER) return graph_const(e->module, e->frame->func, value->number);
    if (value->kind == VALUE_NODE) return frame_use(e, value->node.frame, value->node.node);
    return NODE_NONE;
}

const Boundary *value_boundary(Elab *e, const Value *value) {
    if (value->kind != VALUE_NODE || !value->node.boundary) return NULL;
    const Boundary *b = value->node.boundary;
    if (value->node.frame == e->frame) return b;
    Boundary *here = ARENA_NEW(e->arena, Boundary);
    *here = *b;
    for (int a = 0; a < MAX_RANK; a++)
        for (int s = 0; s < 2; s++)
            if (b->value[a][s]) here->value[a][s] = frame_use(e, value->node.frame, b->value[a][s]);
    return here;
}

Type value_type(Elab *e, const Value *value) {
    if (value->kind != VALUE_NODE) return type_scalar();
    return graph_node(graph_get(e->module, value->node.frame->func), value->node.node)->type;
}

bool value_is_field(Elab *e, const Value *value) {
    return value->kind == VALUE_NODE && value_type(e, value).kind == TYPE_FIELD;
}

bool value_is_scalar(Elab *e, const Value *value) {
    return value->kind == VALUE_NUMBER ||
           (value->kind == VALUE_NODE && value_type(e, value).kind == TYPE_SCALAR);
}

bool value_is_builtin(const Value *value, const char *name) {
    return value->kind == VALUE_OPERATOR && value->op->kind == OPERATOR_BUILTIN &&
           strcmp(value->op->builtin->name, name) == 0;
}

static const char *describe_operator(Elab *e, const Operator *op) {
    if (op->kind == OPERATOR_CONV)
        return arena_format(e->arena, "the convolution '%s'", names_text(e->names, op->name));
    const char *name = op->name ? names_text(e->names, op->name) : NULL;
    switch (op->kind) {
    case OPERATOR_DEF:
        return arena_format(
            e->arena, "the %s '%s'%s", ast_def_text(op->item->def.kind), name,
            op->item->def.has_config && !op->configured ? " without its configuration" : "");
    case OPERATOR_FN: return arena_format(e->arena, "the function '%s'", name);
    case OPERATOR_LOCAL: return arena_format(e->arena, "the operator '%s'", name);
    case OPERATOR_BUILTIN: return arena_format(e->arena, "'%s'", op->builtin->name);
    case OPERATOR_STENCIL: return "a stencil";
    default: return "an operator";
    }
}

const char *value_describe(Elab *e, const Value *value) {
    switch (value->kind) {
    case VALUE_ERROR: return "an error";
    case VALUE_NUMBER: return arena_format(e->arena, "the number %g", value->number);
    case VALUE_STRING: return arena_format(e->arena, "the text \"%.40s\"", value->string.bytes);
    case VALUE_LIST: return arena_format(e->arena, "a list of %u", value->list.count);
    case VALUE_RANGE: return "a range";
    case VALUE_ARROW: return "a pair of channel counts";
    case VALUE_GRID: return "a grid";
    case VALUE_NODE: {
        Type t = value_type(e, value);
        if (t.kind == TYPE_SCALAR) return "a number known only at run time";
        if (type_is_row(e->module, t)) return type_text(e->module, t, e->arena);
        return arena_format(e->arena, "%s (%s)", t.kind == TYPE_STACK ? "a film" : "a field",
                            type_text(e->module, t, e->arena));
    }
    case VALUE_OPERATOR: return describe_operator(e, value->op);
    case VALUE_SIDE: return "a boundary condition";
    case VALUE_SEQUENCE: return "the unknown of a recurrence";
    case VALUE_END: return "'end'";
    case VALUE_THUNK: return "a value";
    case VALUE_HIDDEN: return "a value of a step";
    case VALUE_PARAMETER:
        return arena_format(e->arena, "the indexed parameter '%s'",
                            names_text(e->names, value->parameter->name));
    case VALUE_CONV: return "a convolution that is no parameter yet";
    case VALUE_INIT: return "a way to start parameters";
    case VALUE_DATA: return "a set of data";
    case VALUE_OPTIMISER: return arena_format(e->arena, "the optimiser %s", value->optimiser->name);
    case VALUE_SCHEDULE: return arena_format(e->arena, "the schedule %s", value->schedule->name);
    }
    return "?";
}

bool value_static(Elab *e, const Value *value, const char *what, double *number) {
    if (value->kind == VALUE_ERROR) return false;
    if (value->kind == VALUE_NUMBER) {
        *number = value->number;
        return true;
    }
    if (value->kind != VALUE_NODE) {
        report(e, NOT_A_NUMBER, value->span, what, value_describe(e, value));
        return false;
    }
    Diagnostic *d = report(e, NOT_STATIC, value->span, what);
    diag_label_primary(d, "%s", value_describe(e, value));
    return false;
}

bool value_static_int(Elab *e, const Value *value, const char *what, double low, double high,
                      int64_t *number) {
    double x;
    if (!value_static(e, value, what, &x)) return false;
    if (x != floor(x) || !(x >= low && x <= high)) {
        bool close = x != floor(x) && fabs(x - rint(x)) < 1e-3; /* as quotients are: 0.3 / 0.1 */
        Diagnostic *d = report(e, BAD_COUNT, value->span, what, low, high);
        diag_label_primary(d, close ? "this is %.17g" : "this is %g", x);
        if (close) diag_help(d, "round(…) makes a whole number of it");
        return false;
    }
    *number = (int64_t)x;
    return true;
}

/* ---- messages about library code ------------------------------------------------------ */

Span report_span(const Elab *e, Span span) {
    if (span.file && !sources_is_library(e->unit->context.sources, span.file)) return span;
    return e->calls.len ? vec_last(&e->calls) : span;
}

Diagnostic *report_place(const Elab *e, Diagnostic *d, Span span) {
    Span shown = report_span(e, span);
    if (span.file && (shown.file != span.file || shown.begin != span.begin))
        diag_note(d, span, "in the library, here");
    return d;
}
