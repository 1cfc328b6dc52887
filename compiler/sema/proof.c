/* Operators handed to analysis: adjoints, directional derivatives, norms, stable steps. */
#include "compiler/sema/proof.h"
#include "compiler/analysis/operator.h"
#include "compiler/sema/param.h"
#include "compiler/sema/solve.h"
#include "compiler/sema/value.h"

#include <math.h>

/* The same, and the result may be a number. */
static bool operator_values(Elab *e, const Operator *op, Type type, const Value *like, Span span,
                            OperatorFunc *out) {
    out->frame = frame_push(e, op->name);
    out->func = out->frame->func;
    Value *u = value_new(e, VALUE_NODE, span);
    u->node.frame = out->frame;
    u->node.node = graph_param(e->module, out->func, type, names_of(e->names, "u"));
    u->node.boundary = like ? boundary_like(e, like) : NULL;
    const Value *v = apply_one(e, op, u, span);
    out->boundary = v->kind == VALUE_NODE ? v->node.boundary : NULL;
    Node n = v->kind == VALUE_ERROR ? NODE_NONE : value_to_node(e, v);
    if (v->kind != VALUE_ERROR && !n) report(e, NOT_A_FIELD, span, value_describe(e, v));
    if (n) vec_push(&graph_get(e->module, out->func)->results, n);
    frame_pop(e);
    return n != NODE_NONE;
}

static Type result_type(Elab *e, const OperatorFunc *f) {
    const Func *made = graph_get(e->module, f->func);
    return graph_node(made, made->results.data[0])->type;
}

bool operator_func(Elab *e, const Operator *op, Type type, const Value *like, Span span,
                   OperatorFunc *out) {
    if (!operator_values(e, op, type, like, span, out)) return false;
    bool number = result_type(e, out).kind == TYPE_SCALAR && type.kind == TYPE_FIELD;
    if (number) report(e, NOT_A_FIELD, span, "a number known only at run time");
    return !number;
}

void inline_results(Elab *e, FuncId func, const OperatorFunc *f, const Node *first, uint32_t count,
                    Node *results) {
    Map known = {0};
    const Func *g = graph_get(e->module, func);
    for (uint32_t i = 0; i < count; i++) map_set(&known, g->params.data[i], first[i]);
    for (uint32_t i = 0; i < f->frame->captures.len && count + i < g->params.len; i++)
        map_set(&known, g->params.data[count + i], f->frame->captures.data[i].outer);
    for (uint32_t i = 0; i < g->results.len; i++)
        results[i] = graph_copy(e->module, func, g->results.data[i], e->frame->func, &known);
    map_free(&known);
}

static const Value *inline_func(Elab *e, FuncId func, const OperatorFunc *f, const Node *first,
                                uint32_t count, Span span) {
    Node n;
    inline_results(e, func, f, first, count, &n);
    return value_node(e, n, NULL, span);
}

bool needs_field(Elab *e, const Value *v, Span span) {
    if (v && value_is_field(e, v)) return true;
    if (!v || v->kind != VALUE_ERROR) {
        Diagnostic *d =
            report(e, NOT_A_FIELD, v ? v->span : span, v ? value_describe(e, v) : "nothing");
        if (v && v->kind == VALUE_LIST)
            diag_help(d, "systems have no such form here: take one equation at a time");
    }
    return false;
}

void blame(Elab *e, Diagnostic *d, FuncId func, Node why) {
    if (!why) return;
    const NodeData *n = graph_node(graph_get(e->module, func), why);
    if (n->span.file) diag_note(d, n->span, "because of this (%s)", op_info(n->op)->name);
}

/* ---- adjoint, jvp, vjp ---------------------------------------------------------------- */

/* Elaborates with the messages thrown away. */
static bool operator_func_quiet(Elab *e, const Operator *op, Type type, const Value *like,
                                Span span, OperatorFunc *f) {
    Diagnostics *real = e->diagnostics;
    e->diagnostics = diagnostics_new(e->unit->context.sources, 1);
    bool ok = operator_func(e, op, type, like, span, f);
    diagnostics_free(e->diagnostics);
    e->diagnostics = real;
    return ok;
}

static bool same_sides(const Boundary *a, const Boundary *b, uint32_t rank) {
    for (uint32_t i = 0; a && b && i < rank; i++)
        if (a->kind[i][0] != b->kind[i][0] || a->kind[i][1] != b->kind[i][1]) return false;
    return a && b;
}

/* Of the boundaries of a field of which the operator makes those of w, the first: w's own, or with even and odd
 * continuation exchanged along some axes, as a first derivative does. Where the operator does not say what boundary
 * its result has, w's own. The field has no other use than that boundary. Leaves f elaborated for it; NULL: not. */
static const Value *adjoint_boundary(Elab *e, const Operator *op, Type in, const Value *w,
                                     Span span, OperatorFunc *f) {
    uint32_t rank = e->module->grids.data[in.grid].rank;
    const Value *own = NULL;
    for (uint32_t axes = 0; axes < 1u << rank; axes++) {
        bool odd[MAX_RANK] = {axes & 1, axes >> 1 & 1, axes >> 2 & 1};
        const Value *like =
            value_node(e, w->node.node, boundary_derived(e, w->node.boundary, odd), span);
        if (!own) own = like;
        if (!operator_func_quiet(e, op, in, like, span, f)) continue;
        if (!f->boundary || same_sides(f->boundary, own->node.boundary, rank)) return like;
    }
    return operator_func(e, op, in, own, span, f) ? own : NULL;
}

static void adjoint_shape(Elab *e, Type w, Type gives, Span span) {
    Diagnostic *d = report(e, ADJOINT_SHAPE, span);
    diag_label_primary(d, "this is %s", type_text(e->module, w, e->arena));
    diag_help(d, "the operator gives %s", type_text(e->module, gives, e->arena));
}

/* An operator does not say what it acts on. When w is what it gives, its input has the channels that a stencil,
 * a gradient or a divergence would have, lies on w's grid, or on the grid that w's came from or leads to, and has
 * the boundary of which the operator makes that of w. */
static bool adjoint_input(Elab *e, const Operator *op, const Value *of, Span span, OperatorFunc *f,
                          const Boundary **boundary) {
    Type w = value_type(e, of);
    uint32_t rank = e->module->grids.data[w.grid].rank;
    uint32_t channels[3] = {w.channels, w.channels / rank, w.channels * rank};
    GridId grids[3] = {w.grid, e->module->grids.data[w.grid].finer,
                       graph_coarser(e->module, w.grid)};
    for (int g = 0; g < 3; g++)
        for (int c = 0; c < 3; c++) {
            if (!channels[c] || !grids[g] || (c && rank == 1)) continue;
            Type in = type_field(grids[g], channels[c]);
            if (!operator_func_quiet(e, op, in, NULL, span, f)) continue;
            const Func *made = graph_get(e->module, f->func);
            if (!type_equal(graph_node(made, made->results.data[0])->type, w)) continue;
            *boundary = NULL;
            if (!of->node.boundary) return true;
            const Value *like = adjoint_boundary(e, op, in, of, span, f);
            *boundary = like ? like->node.boundary : NULL;
            return like != NULL;
        }
    /* say what is wrong with the plainest reading */
    if (operator_func(e, op, type_field(w.grid, 1), NULL, span, f)) {
        const Func *made = graph_get(e->module, f->func);
        adjoint_shape(e, w, graph_node(made, made->results.data[0])->type, span);
    }
    return false;
}

static const Value *adjoint_one(Elab *e, const Value *w, const void *what, Span span) {
    const Operator *op = what;
    OperatorFunc f;
    const Boundary *boundary;
    if (!adjoint_input(e, op, w, span, &f, &boundary)) return value_error(e);
    Node why = NODE_NONE;
    FuncId transposed = transpose_func(e->module, f.func, &why);
    if (!transposed) {
        Diagnostic *d = report(e, NOT_LINEAR, span, operator_name(e, op));
        blame(e, d, f.func, why);
        diag_help(
            d,
            "only linear operators have an adjoint; vjp(A, u)(w) is that of the derivative at u");
        return value_error(e);
    }
    Node node = value_to_node(e, w);
    const Value *v = inline_func(e, transposed, &f, &node, 1, span);
    return value_node(e, v->node.node, boundary, span);
}

const Value *apply_adjoint(Elab *e, const Operator *op, const Value *w, Span span) {
    if (!needs_field(e, w, span)) return value_error(e);
    if (op->kind == OPERATOR_ADJOINT) return apply_one(e, op->a, w, span);
    if (op->kind == OPERATOR_CONV) return apply_conv_adjoint(e, op, w, span);
    if (op->kind == OPERATOR_JVP) return apply_vjp(e, op->a, op->factor, w, span);
    return take_apart(e, w, adjoint_one, op, span);
}

/* Of systems: of their fields as the channels of one. */
typedef const Value *Linearised(Elab *e, const Operator *op, const Value *at, const Value *v,
                                Span span);

static const Value *linearised_system(Elab *e, Linearised *one, const Operator *op, const Value *at,
                                      const Value *v, Span span) {
    const Value *result =
        one(e, packed_operator(e, op, at), pack(e, at, span), pack(e, v, span), span);
    if (!value_is_field(e, result)) return value_error(e);
    uint32_t channels = 0;
    for (uint32_t i = 0; i < at->list.count; i++)
        channels += value_type(e, at->list.items[i]).channels;
    return channels == value_type(e, result).channels ? unpack(e, result, at, false, span) : result;
}

const Value *apply_jvp(Elab *e, const Operator *op, const Value *at, const Value *v, Span span) {
    OperatorFunc f;
    if (at->kind == VALUE_LIST) return linearised_system(e, apply_jvp, op, at, v, span);
    if (!needs_field(e, at, span) || !needs_field(e, v, span)) return value_error(e);
    if (!type_equal(value_type(e, at), value_type(e, v))) {
        Diagnostic *d =
            report(e, SHAPE, span, "a direction has the shape of the field at which it is taken");
        diag_label(d, report_span(e, at->span), "%s",
                   type_text(e->module, value_type(e, at), e->arena));
        diag_label(d, report_span(e, v->span), "%s",
                   type_text(e->module, value_type(e, v), e->arena));
        return value_error(e);
    }
    if (!operator_values(e, op, value_type(e, at), at, span, &f)) return value_error(e);
    Node why = NODE_NONE;
    FuncId jvp = jvp_func(e->module, f.func, &why);
    if (!jvp) {
        blame(e, report(e, NOT_DIFFERENTIABLE, span, operator_name(e, op)), f.func, why);
        return value_error(e);
    }
    Node nodes[2] = {value_to_node(e, at), value_to_node(e, v)};
    return inline_func(e, jvp, &f, nodes, 2, span);
}

const Value *apply_vjp(Elab *e, const Operator *op, const Value *at, const Value *w, Span span) {
    OperatorFunc f;
    if (at->kind == VALUE_LIST) return linearised_system(e, apply_vjp, op, at, w, span);
    if (!needs_field(e, at, span) || !operator_values(e, op, value_type(e, at), at, span, &f))
        return value_error(e);
    Type gives = result_type(e, &f); /* of an energy w is a number: vjp(E, u)(1) is its gradient */
    if (!(gives.kind == TYPE_SCALAR && value_is_scalar(e, w)) && !needs_field(e, w, span))
        return value_error(e);
    if (!type_equal(gives, value_type(e, w))) {
        adjoint_shape(e, value_type(e, w), gives, span);
        return value_error(e);
    }
    Node why = NODE_NONE;
    FuncId vjp = vjp_func(e->module, f.func, &why);
    if (!vjp) {
        Diagnostic *d = report(e, NOT_DIFFERENTIABLE, span, operator_name(e, op));
        blame(e, d, f.func, why);
        diag_help(
            d, "a gradient's own gradient is known where no loop lies between; jvp(A, u)(v) goes "
               "forward");
        return value_error(e);
    }
    Node nodes[2] = {value_to_node(e, w), value_to_node(e, at)};
    return inline_func(e, vjp, &f, nodes, 2, span);
}

/* ---- proofs ---------------------------------------------------------------------------------- */

/* 2 / (rest + Σ factor ‖K‖²), a number at run time. */
static const Value *step_of_norms(Elab *e, const ConvStep *c, const OperatorFunc *f, Node at,
                                  Span span) {
    static const double TINY = 1e-30; /* K = 0 changes nothing, whatever the step */
    FuncId here = e->frame->func;
    Map known = {0};
    const Func *g = graph_get(e->module, c->flat);
    map_set(&known, g->params.data[0], at);
    for (uint32_t i = 0; i < f->frame->captures.len && 1 + i < g->params.len; i++)
        map_set(&known, g->params.data[1 + i], f->frame->captures.data[i].outer);
    Node sum = graph_const(e->module, here, c->rest);
    for (uint32_t i = 0; i < c->count; i++) {
        const ConvPart *p = &c->parts[i];
        Node w = graph_copy(e->module, c->flat, p->weights, here, &known);
        Node norm = graph_add(e->module, here, OP_CONVNORM, &w, 1, p->conv, 0, span);
        Node part = graph_binary(e->module, here, OP_MUL, graph_const(e->module, here, p->factor),
                                 graph_binary(e->module, here, OP_MUL, norm, norm, span), span);
        sum = graph_binary(e->module, here, OP_ADD, sum, part, span);
    }
    map_free(&known);
    sum = graph_binary(e->module, here, OP_MAX, sum, graph_const(e->module, here, TINY), span);
    Node step = graph_binary(e->module, here, OP_DIV, graph_const(e->module, here, 2), sum, span);
    return value_node(e, step, NULL, span);
}

const Value *prove_stable(Elab *e, const Operator *op, const Value *f, Span span) {
    OperatorFunc func;
    if (!needs_field(e, f, span)) return value_error(e);
    if (!operator_func(e, op, value_type(e, f), f, span, &func)) return value_error(e);
    StepBound bound = stable_step(e->module, func.func, e->arena);
    if (bound.proved) return value_number(e, bound.step, span);
    ModuleMark mark = operator_mark(e->module);
    ConvStep convs = conv_step(e->module, func.func, e->arena);
    const Value *step =
        convs.count ? step_of_norms(e, &convs, &func, value_to_node(e, f), span) : NULL;
    operator_release(e->module, mark);
    if (step) return step;
    if (convs.missing) bound.missing = convs.missing;
    Diagnostic *d = report(e, NO_STABLE_STEP, span, operator_name(e, op));
    if (bound.missing) diag_label_primary(d, "missing: %s", bound.missing);
    diag_help(
        d,
        "give the step as a number, or write the operator as -adjoint(K)(Φ(K(u))) with 0 ≤ Φ(s)/s ≤ L");
    return value_error(e);
}

/* body(u) - u as a function of u, or, backward, u - body(u); false where the body depends on k. */
static bool increment_func(Elab *e, FuncId body, bool backward, FuncId *out) {
    const Func *b = graph_get(e->module, body);
    Frame *frame = frame_push(e, b->name);
    Map known = {0};
    Node u = NODE_NONE, k = NODE_NONE;
    for (uint32_t i = 1; i < b->params.len; i++) {
        Node p = graph_param(e->module, frame->func, graph_node(b, b->params.data[i])->type, 0);
        if (i == 1) u = p;
        map_set(&known, b->params.data[i], p);
    }
    k = graph_param(e->module, frame->func, type_scalar(), 0);
    map_set(&known, b->params.data[0], k);
    Node next = graph_copy(e->module, body, b->results.data[0], frame->func, &known);
    Node change = backward ? graph_binary(e->module, frame->func, OP_SUB, u, next, SPAN_NONE)
                           : graph_binary(e->module, frame->func, OP_SUB, next, u, SPAN_NONE);
    Func *f = graph_get(e->module, frame->func);
    vec_push(&f->results, change);
    bool depends = false;
    for (uint32_t i = 0; i < f->operands.len; i++) depends = depends || f->operands.data[i] == k;
    map_free(&known);
    frame_pop(e);
    *out = frame->func;
    return !depends;
}

/* The bound for a linear step whose increment, or what it takes away, is a diffusion; false for any other step. */
static bool step_bound(Elab *e, FuncId body, bool backward, StepBound *bound) {
    FuncId change;
    if (!increment_func(e, body, backward, &change)) return false;
    Linearity l = analyse_linearity(e->module, change, 0, NULL);
    if (l != LINEARITY_LINEAR && l != LINEARITY_AFFINE) return false;
    *bound = stable_step(e->module, change, e->arena);
    return bound->proved;
}

/* Growth may be what is meant, as that of an equation that is followed back to its start: so it is not refused. */
static void warn_of_backward_step(Elab *e, FuncId body, double tau, Span span) {
    StepBound bound;
    if (!step_bound(e, body, true, &bound) || isinf(bound.unstable)) return;
    Diagnostic *d = report(e, BACKWARD_STEP, span);
    diag_help(d, "with tau = %.6g it is a diffusion", -tau);
}

bool refute_step(Elab *e, FuncId body, const Env *env, Span span) {
    const Func *b = graph_get(e->module, body);
    if (b->results.len != 1 || graph_node(b, b->results.data[0])->type.kind != TYPE_FIELD)
        return false;
    const Env *tau = env_find(env, names_of(e->names, "tau"));
    bool number = tau && tau->value && tau->value->kind == VALUE_NUMBER;
    double factor = vec_last(&e->module->loops).tau; /* of a step tau * F(…), else 0 */
    StepBound bound;
    if (!step_bound(e, body, false, &bound)) {
        if (factor < 0) warn_of_backward_step(e, body, factor, span);
        return false;
    }
    if (bound.unstable >= 1) return false;
    Diagnostic *d = report(e, UNSTABLE_STEP, span);
    if (number)
        diag_help(
            d,
            "the largest stable step here is tau = %.6g, and tau = stable stands for it; cycles of fsi or fed, and du_fort_frankel, go further with the same operator, implicit and crank_nicolson take any step",
            tau->value->number * bound.step);
    else
        diag_help(d, "the largest stable step is %.6g of this one", bound.step);
    return true;
}

const Value *prove_norm(Elab *e, const Operator *op, const Value *where, Span span) {
    Type type;
    if (where && where->kind == VALUE_GRID)
        type = type_field(where->grid, 1);
    else if (where && value_is_field(e, where))
        type = value_type(e, where);
    else {
        Diagnostic *d = report(e, NORM_OF, span);
        diag_help(
            d, "norm(A, G) is the norm of an operator on the grid G, norm(A, f) on the grid of f");
        return value_error(e);
    }
    OperatorFunc func;
    if (!operator_func(e, op, type, where->kind == VALUE_GRID ? NULL : where, span, &func))
        return value_error(e);
    NormBound bound = norm_bound(e->module, func.func, e->arena);
    if (bound.proved) return value_number(e, bound.bound, span);
    Diagnostic *d = report(e, NO_NORM, span, operator_name(e, op));
    if (bound.missing) diag_label_primary(d, "missing: %s", bound.missing);
    return value_error(e);
}

/* The function of its first parameter alone, the second being `number`. */
static FuncId with_number(Elab *e, FuncId func, double number) {
    const Func *f = graph_get(e->module, func);
    FuncId made = graph_func(e->module, f->name);
    Map known = {0};
    map_set(&known, f->params.data[0], graph_param(e->module, made, type_scalar(), 0));
    map_set(&known, f->params.data[1], graph_const(e->module, made, number));
    Node n = graph_copy(e->module, func, f->results.data[0], made, &known);
    vec_push(&graph_get(e->module, made)->results, n);
    map_free(&known);
    return made;
}

/* Of f(s, a), where the number a is known only at run time. If f is homogeneous of degree d, the derivative by s at
 * (s, a) is |a|^(d-1) times that at (s/|a|, ±1): a bound for a = ±1 is one for all a. NULL: no bound is found. */
static const Value *lipschitz_scaled(Elab *e, const Frame *frame, Span span) {
    const Func *f = graph_get(e->module, frame->func);
    double degree, bound = 0;
    if (frame->captures.len != 1 || f->params.len != 2 ||
        graph_node(f, f->params.data[1])->type.kind != TYPE_SCALAR ||
        !homogeneity_degree(e->module, frame->func, &degree))
        return NULL;
    const Value *a = value_node(e, frame->captures.data[0].outer, NULL, span);
    const Parameter *p = parameter_behind(e, a);
    for (int sign = p && p->low > 0 ? 1 : -1; sign <= 1; sign += 2)
        bound =
            fmax(bound, lipschitz_bound(e->module, with_number(e, frame->func, sign), e->arena));
    if (!isfinite(bound)) return NULL;
    const Value *at_one = value_number(e, bound, span);
    if (degree == 1) return at_one;
    const Value *size = eval_pointwise(e, OP_ABS, &a, 1, span);
    const Value *power = eval_binary(e, AST_POW, size, value_number(e, degree - 1, span), span);
    return eval_binary(e, AST_MUL, at_one, power, span);
}

/* lipschitz(f, a, …): of f in its first argument, the others given. */
const Value *prove_lipschitz(Elab *e, const Operator *op, const Arguments *rest) {
    Frame *frame = frame_push(e, op->name);
    Value *s = value_new(e, VALUE_NODE, rest->span);
    s->node.frame = frame;
    s->node.node = graph_param(e->module, frame->func, type_scalar(), names_of(e->names, "s"));
    Arguments all = {ARENA_ARRAY(e->arena, Argument, rest->count + 1), rest->count + 1, rest->span};
    all.items[0] = (Argument){0, rest->span, s, NULL};
    for (uint32_t i = 0; i < rest->count; i++) all.items[i + 1] = rest->items[i];
    const Value *v = apply(e, value_operator(e, op, rest->span), &all);
    Node n = v->kind == VALUE_ERROR ? NODE_NONE : value_to_node(e, v);
    if (n) vec_push(&graph_get(e->module, frame->func)->results, n);
    frame_pop(e);
    if (v->kind == VALUE_ERROR) return v;
    if (!n || value_type(e, v).kind != TYPE_SCALAR) {
        report(e, NOT_A_FUNCTION, rest->span, operator_name(e, op));
        return value_error(e);
    }
    double bound = lipschitz_bound(e->module, frame->func, e->arena);
    if (isfinite(bound)) return value_number(e, bound, rest->span);
    const Value *scaled = lipschitz_scaled(e, frame, rest->span);
    if (scaled) return scaled;
    Diagnostic *d = report(e, NO_LIPSCHITZ, rest->span, operator_name(e, op));
    diag_help(
        d,
        "its derivative could not be bounded over all arguments, or it may jump: at a division by 0, or where the branches of a condition do not meet");
    return value_error(e);
}
