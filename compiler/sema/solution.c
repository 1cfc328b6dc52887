/* solution(x, A, b, …): x, which a solver found for A(x) = b; checked as the program runs, and differentiated by
 * the implicit function theorem: one more linear solve with the Jacobian of A at x, or its transpose. */
#include "compiler/sema/proof.h"
#include "compiler/sema/solve.h"

#include <string.h>

/* ---- systems as one field ------------------------------------------------------------------ */

const Value *pack(Elab *e, const Value *v, Span span) {
    if (v->kind != VALUE_LIST) return v;
    Node *parts = ARENA_ARRAY(e->arena, Node, v->list.count + 1);
    GridId grid = GRID_NONE;
    for (uint32_t i = 0; i < v->list.count; i++) {
        const Value *part = v->list.items[i];
        if (part->kind == VALUE_ERROR) return part;
        if (!value_is_field(e, part) || (i && value_type(e, part).grid != grid)) {
            report(e, SYSTEM_PARTS, span, value_describe(e, part));
            return value_error(e);
        }
        grid = value_type(e, part).grid;
        parts[i] = value_to_node(e, part);
    }
    Node n = graph_add(e->module, e->frame->func, OP_CONCAT, parts, v->list.count, 0, 0, span);
    return value_node(e, n, NULL, span);
}

const Value *unpack(Elab *e, const Value *v, const Value *like, bool sides, Span span) {
    if (like->kind != VALUE_LIST)
        return sides ? value_node(e, value_to_node(e, v), boundary_like(e, like), span) : v;
    const Value **items = ARENA_ARRAY(e->arena, const Value *, like->list.count + 1);
    Node whole = value_to_node(e, v);
    uint32_t channel = 0;
    for (uint32_t i = 0; i < like->list.count; i++) {
        const Value *part = like->list.items[i];
        uint32_t count = value_type(e, part).channels;
        Node *channels = ARENA_ARRAY(e->arena, Node, count + 1);
        for (uint32_t c = 0; c < count; c++)
            channels[c] =
                graph_add(e->module, e->frame->func, OP_CHANNEL, &whole, 1, channel++, 0, span);
        Node n = graph_add(e->module, e->frame->func, OP_CONCAT, channels, count, 0, 0, span);
        items[i] = value_node(e, n, sides ? boundary_like(e, part) : NULL, span);
    }
    return value_list(e, items, like->list.count, span);
}

const Operator *packed_operator(Elab *e, const Operator *op, const Value *like) {
    Operator *made = ARENA_NEW(e->arena, Operator);
    *made = (Operator){
        .kind = OPERATOR_PACKED, .span = op->span, .name = op->name, .a = op, .like = like};
    return made;
}

const Value *apply_packed(Elab *e, const Operator *op, const Value *x, Span span) {
    return pack(e, apply_one(e, op->a, unpack(e, x, op->like, true, span), span), span);
}

/* ---- checks ----------------------------------------------------------------------------------- */

/* sqrt of the sum of squares over all fields of b - A(x). */
static const Value *residual_norm(Elab *e, const Operator *op, const Value *x, const Value *b,
                                  Span span) {
    const Value *r = pack(e, eval_binary(e, AST_SUB, b, apply_one(e, op, x, span), span), span);
    if (!value_is_field(e, r)) return r;
    FuncId f = e->frame->func;
    Node n = value_to_node(e, r);
    Node square =
        graph_unary(e->module, f, OP_SUM, graph_binary(e->module, f, OP_MUL, n, n, span), span);
    return value_node(e, graph_unary(e->module, f, OP_SQRT, square, span), NULL, span);
}

typedef struct {
    Node residual, tolerance, steps;
    uint32_t number;
    bool strict;
    Span span;
} CheckNodes;

static const Value *checked(Elab *e, const Value *x, const CheckNodes *c) {
    if (x->kind == VALUE_LIST) {
        const Value **items = ARENA_ARRAY(e->arena, const Value *, x->list.count + 1);
        for (uint32_t i = 0; i < x->list.count; i++) items[i] = checked(e, x->list.items[i], c);
        return value_list(e, items, x->list.count, x->span);
    }
    if (!value_is_field(e, x)) return x;
    Node operands[4] = {value_to_node(e, x), c->residual, c->tolerance, c->steps};
    Node n = graph_add(e->module, e->frame->func, OP_CHECKED, operands, 4, c->number, c->strict,
                       c->span);
    return value_node(e, n, boundary_like(e, x), x->span);
}

static const Value *detached(Elab *e, const Value *x) {
    if (x->kind == VALUE_LIST) {
        const Value **items = ARENA_ARRAY(e->arena, const Value *, x->list.count + 1);
        for (uint32_t i = 0; i < x->list.count; i++) items[i] = detached(e, x->list.items[i]);
        return value_list(e, items, x->list.count, x->span);
    }
    Node n = graph_unary(e->module, e->frame->func, OP_DETACH, value_to_node(e, x), x->span);
    return value_node(e, n, boundary_like(e, x), x->span);
}

/* The number of an argument as a node; `otherwise` where it is not given; NODE_NONE after a message. */
static Node number_argument(Elab *e, const Value *v, double otherwise) {
    if (!v) return graph_const(e->module, e->frame->func, otherwise);
    if (v->kind == VALUE_NUMBER || (v->kind == VALUE_NODE && value_type(e, v).kind == TYPE_SCALAR))
        return value_to_node(e, v);
    if (v->kind != VALUE_ERROR) report(e, NOT_A_NUMBER, v->span, "this", value_describe(e, v));
    return NODE_NONE;
}

/* ---- derivatives -------------------------------------------------------------------------------- */

/* The function of (x, w, captured…) that solves with the Jacobian of A at x, or its transpose; 0 where it has none.
 * What it captured is added to the operands. */
static FuncId linear_solve(Elab *e, const Operator *op, const Value *x, const Value *by,
                           bool transposed, Type type, Nodes *operands, uint32_t *captured,
                           Span span) {
    Diagnostics *real = e->diagnostics;
    e->diagnostics = diagnostics_new(e->unit->context.sources, 1);
    const Operator *solver = e->solver;
    const Frame *solver_frame = e->solver_frame;
    uint32_t solvers = e->solvers;
    e->solvers = 0; /* this solve answers for itself */
    e->deriving++;
    Frame *frame = frame_push(e, op->name);
    const Value *at = value_node(e, graph_param(e->module, frame->func, type, 0), NULL, span);
    const Value *w = value_node(e, graph_param(e->module, frame->func, type, 0), NULL, span);
    Operator *linear = ARENA_NEW(e->arena, Operator);
    *linear = (Operator){.kind = transposed ? OPERATOR_VJP : OPERATOR_JVP,
                         .span = span,
                         .a = op,
                         .factor = unpack(e, at, x, true, span)};
    w = unpack(e, w, x, false, span);
    const Value *inputs[3] = {value_operator(e, linear, span), w, zeros_like(e, w, span)};
    const Value *v = pack(e, apply_operator(e, by->op, inputs, 3, NULL, span), span);
    bool ok = value_is_field(e, v) && type_equal(value_type(e, v), type) &&
              !diagnostics_errors(e->diagnostics);
    if (ok) vec_push(&graph_get(e->module, frame->func)->results, value_to_node(e, v));
    frame_pop(e);
    e->deriving--;
    e->solver = solver;
    e->solver_frame = solver_frame;
    e->solvers = solvers;
    diagnostics_free(e->diagnostics);
    e->diagnostics = real;
    *captured = ok ? frame->captures.len : 0;
    for (uint32_t i = 0; i < *captured; i++) vec_push(operands, frame->captures.data[i].outer);
    return ok ? frame->func : 0;
}

static const Value *differentiable(Elab *e, const Operator *op, const Value *x, const Value *b,
                                   const Value *by, Span span) {
    const Value *y = detached(e, x);
    const Value *r = pack(e, eval_binary(e, AST_SUB, apply_one(e, op, y, span), b, span), span);
    const Value *whole = pack(e, y, span);
    if (!value_is_field(e, r) || !value_is_field(e, whole)) return value_error(e);
    Type type = value_type(e, whole);
    if (!type_equal(type, value_type(e, r))) {
        report(e, SOLVER_SHAPE, span, value_describe(e, r));
        return value_error(e);
    }
    Nodes operands = {0};
    vec_push(&operands, value_to_node(e, whole));
    vec_push(&operands, value_to_node(e, r));
    Implicit s = {.name = e->solver ? e->solver->name : 0, .span = span};
    s.adjoint = linear_solve(e, op, x, by, true, type, &operands, &s.adjoint_captured, span);
    s.tangent = linear_solve(e, op, x, by, false, type, &operands, &s.tangent_captured, span);
    Node n = graph_add(e->module, e->frame->func, OP_IMPLICIT, operands.data, operands.len,
                       graph_implicit(e->module, &s), 0, span);
    vec_free(&operands);
    return unpack(e, value_node(e, n, NULL, span), x, true, span);
}

static const Value *argument_named(Elab *e, const BuiltinInfo *info, const Arguments *a,
                                   const char *word) {
    uint32_t place = 0;
    for (const char *at = info->words; *at; place++) {
        size_t length = strcspn(at, " ");
        if (strlen(word) == length && memcmp(word, at, length) == 0) break;
        at += length + (at[length] == ' ');
    }
    return argument_get(e, info, a, place);
}

/* Is A known to be not linear in x? `*at`: where. What analysis cannot see through is not known. */
static bool is_nonlinear(Elab *e, const Operator *op, const Value *x, Span span, Span *at) {
    const Value *whole = op->kind == OPERATOR_JVP || op->kind == OPERATOR_VJP || e->deriving
                             ? NULL
                             : pack(e, x, span);
    if (!whole || !value_is_field(e, whole)) return false;
    Type type = value_type(e, whole);
    Diagnostics *real = e->diagnostics;
    uint32_t solvers = e->solvers++; /* solves in A are none of the program's here */
    e->diagnostics = diagnostics_new(e->unit->context.sources, 1);
    e->deriving++;
    OperatorFunc A;
    Node why = NODE_NONE;
    bool found = false;
    if (operator_func(e, packed_operator(e, op, x), type, NULL, span, &A) &&
        !diagnostics_errors(e->diagnostics)) {
        found = analyse_linearity(e->module, A.func, 0, &why) == LINEARITY_NONLINEAR &&
                why != NODE_NONE;
        const NodeData *d = graph_node(graph_get(e->module, A.func), why);
        found = found &&
                (op_info(d->op)->class == CLASS_POINTWISE || op_info(d->op)->class == CLASS_REDUCE);
        if (found) *at = d->span;
    }
    e->deriving--;
    e->solvers = solvers;
    diagnostics_free(e->diagnostics);
    e->diagnostics = real;
    return found;
}

const Value *prelude_solution(Elab *e, const BuiltinInfo *info, const Arguments *a) {
    const Value *x = argument_named(e, info, a, "x"), *A = argument_named(e, info, a, "A"),
                *b = argument_named(e, info, a, "b"), *by = argument_named(e, info, a, "by"),
                *residual = argument_named(e, info, a, "residual"),
                *tolerance = argument_named(e, info, a, "tolerance"),
                *strict = argument_named(e, info, a, "strict");
    double must = 1;
    if (A->kind != VALUE_OPERATOR || (by && by->kind != VALUE_OPERATOR)) {
        const Value *wrong = A->kind != VALUE_OPERATOR ? A : by;
        report(e, NOT_A_SOLVER, wrong->span, value_describe(e, wrong));
        return value_error(e);
    }
    double linear = 0;
    const Value *says = argument_named(e, info, a, "linear");
    Span at = a->span;
    if (strict && !value_static(e, strict, "'strict'", &must)) return value_error(e);
    if (says && !value_static(e, says, "'linear'", &linear)) return value_error(e);
    if (linear && (e->solvers == 0 || e->frame == e->solver_frame) &&
        is_nonlinear(e, A->op, x, a->span, &at)) {
        const char *name = e->solver ? names_text(e->names, e->solver->name) : "the solver";
        Diagnostic *d = report(e, NONLINEAR_EQUATION, report_span(e, a->span), name);
        diag_label(d, at, "this depends on it in another way");
        diag_help(
            d,
            "newton(by = %s(…)) solves such equations; fixed_point those whose coefficients depend on the unknown",
            name);
        return value_error(e);
    }
    if (tolerance && (e->solvers == 0 || e->frame == e->solver_frame)) {
        if (!residual) residual = residual_norm(e, A->op, x, b, a->span);
        Check check = {e->solver ? names_text(e->names, e->solver->name) : "the solver", must != 0,
                       report_span(e, a->span)};
        CheckNodes c = {number_argument(e, residual, 0),
                        number_argument(e, tolerance, 0),
                        number_argument(e, argument_named(e, info, a, "steps"), 0),
                        e->out->checks.len,
                        check.strict,
                        a->span};
        if (!c.residual || !c.tolerance || !c.steps) return value_error(e);
        vec_push(&e->out->checks, check);
        x = checked(e, x, &c);
    }
    return by && !e->deriving ? differentiable(e, A->op, x, b, by, a->span) : x;
}
