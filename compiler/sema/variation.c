/* What is derived of operators that the user wrote: gradient flows of energies, diagonals. */
#include "compiler/analysis/factor.h"
#include "compiler/analysis/transpose.h"
#include "compiler/sema/proof.h"
#include "compiler/sema/value.h"

/* ---- energies as functions ----------------------------------------------------------------- */

static bool energy_is_number(Elab *e, const Operator *energy, const Value *v, Span span) {
    if (v->kind == VALUE_ERROR) return false;
    if (value_is_scalar(e, v)) return true;
    Diagnostic *d =
        report(e, ENERGY_NOT_A_NUMBER, span, operator_name(e, energy), value_describe(e, v));
    diag_help(d, value_is_field(e, v) ? "integral(…) of that field is a number"
                                      : "integral(…) of a field is a number");
    return false;
}

/* Elaborates energy(u, …) in a function of its own. */
static bool energy_func(Elab *e, const Operator *energy, const Value *const *unknowns,
                        uint32_t count, bool list, const Value *time, Span span,
                        OperatorFunc *out) {
    out->frame = frame_push(e, energy->name);
    out->func = out->frame->func;
    const Value **own = ARENA_ARRAY(e->arena, const Value *, count + 1);
    for (uint32_t i = 0; i < count; i++) {
        Value *u = value_new(e, VALUE_NODE, span);
        u->node.frame = out->frame;
        u->node.node = graph_param(e->module, out->func, value_type(e, unknowns[i]), 0);
        own[i] = u;
    }
    for (uint32_t i = 0; i < count; i++)
        if (value_is_field(e, unknowns[i]))
            ((Value *)own[i])->node.boundary = boundary_like(e, unknowns[i]);
    const Value *in = list ? value_list(e, own, count, span) : own[0];
    const Value *v = apply_operator(e, energy, &in, 1, time, span);
    bool ok = energy_is_number(e, energy, v, span);
    if (ok) {
        Node result = value_to_node(e, v);
        vec_push(&graph_get(e->module, out->func)->results, result);
    }
    frame_pop(e);
    return ok;
}

/* factor * n, the factor joined with numbers that n is multiplied by: the volume in an integral cancels. */
static Node scaled(Elab *e, FuncId func, Node n, double factor, uint32_t depth) {
    NodeData d = *graph_node(graph_get(e->module, func), n);
    Node a = d.count > 0 ? graph_operand(graph_get(e->module, func), n, 0) : NODE_NONE,
         b = d.count > 1 ? graph_operand(graph_get(e->module, func), n, 1) : NODE_NONE;
    double c;
    bool number = b && graph_is_const(graph_get(e->module, func), b, &c) && c != 0;
    if (depth > 0 && d.op == OP_NEG) return scaled(e, func, a, -factor, depth - 1);
    if (depth > 0 && d.op == OP_MUL && number) return scaled(e, func, a, factor * c, depth - 1);
    if (depth > 0 && d.op == OP_DIV && number) return scaled(e, func, a, factor / c, depth - 1);
    if (depth > 0 && (d.op == OP_ADD || d.op == OP_SUB)) {
        Node x = scaled(e, func, a, factor, depth - 1), y = scaled(e, func, b, factor, depth - 1);
        return graph_binary(e->module, func, d.op, x, y, d.span);
    }
    return graph_binary(e->module, func, OP_MUL, n, graph_const(e->module, func, factor), d.span);
}

static double cell_volume(Elab *e, const Value *u) {
    double volume = 1;
    if (!value_is_field(e, u)) return volume;
    const Grid *g = &e->module->grids.data[value_type(e, u).grid];
    for (uint32_t a = 0; a < g->rank; a++) volume *= g->spacing[a];
    return volume;
}

static bool varies(Elab *e, FuncId func, uint32_t count) {
    Arena *arena = arena_new();
    const Func *f = graph_get(e->module, func);
    bool *unknown = ARENA_ARRAY(arena, bool, f->params.len + 1);
    for (uint32_t i = 0; i < count; i++) unknown[i] = true;
    bool yes = activity_of(e->module, func, unknown, arena)[f->results.data[0]];
    arena_free(arena);
    return yes;
}

/* ---- gradient_flow ------------------------------------------------------------------------------ */

/* A function of the unknowns with -δE/δu of each; ∂E/∂uᵢ = volume · δE/δu(xᵢ). The volume is that of the first;
 * others than it are made good by the caller. */
static FuncId flow_func(Elab *e, const Operator *energy, const OperatorFunc *f, uint32_t count,
                        double volume, Span span) {
    Node result = graph_get(e->module, f->func)->results.data[0];
    graph_get(e->module, f->func)->results.data[0] = scaled(e, f->func, result, -1 / volume, 100);
    uint32_t params = graph_get(e->module, f->func)->params.len;
    bool *wanted = ARENA_ARRAY(e->arena, bool, params + 1);
    for (uint32_t i = 0; i < count; i++) wanted[i] = true;
    Node why = NODE_NONE;
    FuncId gradient = gradient_func(e->module, f->func, wanted, &why);
    if (!gradient) {
        blame(e, report(e, NOT_DIFFERENTIABLE, span, operator_name(e, energy)), f->func, why);
        return 0;
    }
    Func *g = graph_get(e->module, gradient); /* without the energy itself */
    for (uint32_t i = 0; i < count; i++) g->results.data[i] = g->results.data[i + 1];
    g->results.len = count;
    return factor_func(e->module, gradient);
}

static const Value *flow_of(Elab *e, const Operator *energy, const Value *const *unknowns,
                            uint32_t count, bool list, const Value *time, Span span) {
    OperatorFunc f;
    if (!energy_func(e, energy, unknowns, count, list, time, span, &f)) return value_error(e);
    if (!varies(e, f.func, count)) {
        report(e, ENERGY_CONSTANT, span, operator_name(e, energy));
        return value_error(e);
    }
    double volume = cell_volume(e, unknowns[0]);
    FuncId flow = flow_func(e, energy, &f, count, volume, span);
    if (!flow) return value_error(e);
    Node *nodes = ARENA_ARRAY(e->arena, Node, count), *rates = ARENA_ARRAY(e->arena, Node, count);
    for (uint32_t i = 0; i < count; i++) nodes[i] = value_to_node(e, unknowns[i]);
    inline_results(e, flow, &f, nodes, count, rates);
    const Value **items = ARENA_ARRAY(e->arena, const Value *, count);
    static const bool even[MAX_RANK];
    for (uint32_t i = 0; i < count; i++) {
        bool field = value_is_field(e, unknowns[i]);
        const Boundary *b =
            field ? boundary_derived(e, value_boundary(e, unknowns[i]), even) : NULL;
        items[i] = value_node(e, rates[i], b, span);
        double ratio = volume / cell_volume(e, unknowns[i]);
        if (ratio != 1)
            items[i] = eval_binary(e, AST_MUL, items[i], value_number(e, ratio, span), span);
    }
    return list ? value_list(e, items, count, span) : items[0];
}

const Value *apply_flow(Elab *e, const Operator *energy, const Value *u, const Value *time,
                        Span span) {
    bool list = u->kind == VALUE_LIST;
    const Value *const *unknowns = list ? u->list.items : &u;
    uint32_t count = list ? u->list.count : 1;
    for (uint32_t i = 0; i < count; i++)
        if (!value_is_scalar(e, unknowns[i]) && !needs_field(e, unknowns[i], span))
            return value_error(e);
    if (count == 0) {
        needs_field(e, u, span);
        return value_error(e);
    }
    return flow_of(e, energy, unknowns, count, list, time, span);
}

/* ---- diagonal ------------------------------------------------------------------------------------ */

const Value *operator_diagonal(Elab *e, const Operator *op, const Value *u, Span span) {
    OperatorFunc f;
    if (!needs_field(e, u, span)) return value_error(e);
    Type type = value_type(e, u);
    if (!operator_func(e, op, type, u, span, &f)) return value_error(e);
    const Func *made = graph_get(e->module, f.func);
    Type result = graph_node(made, made->results.data[0])->type;
    if (!type_equal(type, result)) {
        report(e, DIAGONAL_SHAPE, span, operator_name(e, op),
               type_text(e->module, result, e->arena), type_text(e->module, type, e->arena));
        return value_error(e);
    }
    Node why = NODE_NONE, node = value_to_node(e, u);
    const char *missing = NULL;
    FuncId diagonal = diagonal_func(e->module, f.func, &why, &missing);
    if (!diagonal) {
        Diagnostic *d = report(e, NO_DIAGONAL, span, operator_name(e, op));
        if (missing) diag_label_primary(d, "%s", missing);
        if (missing)
            diag_help(
                d,
                "diagonals are those of stencils, convolutions and pointwise functions, and of loops and "
                "coarser grids where it is known how far they read");
        blame(e, d, f.func, why);
        return value_error(e);
    }
    inline_results(e, diagonal, &f, &node, 1, &node);
    return value_node(e, node, NULL, span);
}
