/* solve LHS = RHS for X from X0 with SOLVER: the operator X ↦ LHS, handed to a solver.
 *
 * The operator evaluates LHS anew for every X that it is given: X is bound by its name, or, for the unknown of a
 * recurrence, tried as its next state. X has the boundary of X0, whatever the solver made it from. */
#include "compiler/sema/solve.h"
#include "compiler/sema/walk.h"

#include <string.h>

const Value *with_sides_of(Elab *e, const Value *v, const Value *like) {
    if (v->kind == VALUE_LIST && like->kind == VALUE_LIST && v->list.count == like->list.count) {
        const Value **items = ARENA_ARRAY(e->arena, const Value *, v->list.count + 1);
        for (uint32_t i = 0; i < v->list.count; i++)
            items[i] = with_sides_of(e, v->list.items[i], like->list.items[i]);
        return value_list(e, items, v->list.count, v->span);
    }
    if (!value_is_field(e, v) || !value_is_field(e, like) ||
        value_type(e, v).grid != value_type(e, like).grid)
        return v;
    return value_node(e, value_to_node(e, v), boundary_like(e, like), v->span);
}

static const Env *bind_unknown(Elab *e, const Env *env, const Expr *unknown, const Value *v) {
    if (unknown->kind == EXPR_NAME) return env_bind(e, env, unknown->name, v, unknown->span);
    bool fits = v->kind == VALUE_LIST && v->list.count == unknown->list.count;
    if (!fits && v->kind != VALUE_ERROR)
        report(e, LIST_EXPECTED, unknown->span, unknown->list.count, value_describe(e, v));
    for (uint32_t i = 0; i < unknown->list.count; i++) {
        const Expr *x = unknown->list.items[i];
        env = env_bind(e, env, x->name, fits ? v->list.items[i] : value_error(e), x->span);
    }
    return env;
}

const Value *apply_unknown(Elab *e, const Operator *op, const Value *x, Span span) {
    x = with_sides_of(e, x, value_coarse(e, op->like, op->coarse, span));
    const Env *env = env_coarse(e, op->env, op->coarse);
    if (op->recurrence)
        return recurrence_try(e, op->recurrence, op->unknown, x, env, op->stmt->solve.left);
    return eval_expr(e, bind_unknown(e, env, op->stmt->solve.unknown, x), op->stmt->solve.left);
}

/* ---- the statement ------------------------------------------------------------------------ */

const Value *zeros_like(Elab *e, const Value *like, Span span) {
    Argument one = {0, span, like, NULL};
    Arguments a = {&one, 1, span};
    return builtin_call(e, e->unit->globals, builtin_find(e->names, names_of(e->names, "zeros")),
                        &a);
}

static bool is_number(Elab *e, const Value *v) {
    return v->kind == VALUE_NUMBER ||
           (v->kind == VALUE_NODE && value_type(e, v).kind == TYPE_SCALAR);
}

/* A number on the right side stands for that number everywhere. */
static const Value *spread(Elab *e, const Value *v, const Value *like, Span span) {
    if (like->kind == VALUE_LIST && (v->kind == VALUE_LIST || is_number(e, v))) {
        uint32_t n = like->list.count;
        if (v->kind == VALUE_LIST && v->list.count != n) return v;
        const Value **items = ARENA_ARRAY(e->arena, const Value *, n + 1);
        for (uint32_t i = 0; i < n; i++)
            items[i] =
                spread(e, v->kind == VALUE_LIST ? v->list.items[i] : v, like->list.items[i], span);
        return value_list(e, items, n, span);
    }
    if (!is_number(e, v) || !value_is_field(e, like)) return v;
    Type t = value_type(e, like);
    Node n = value_to_node(e, v);
    Node field = graph_add_typed(e->module, e->frame->func, OP_SPREAD, type_field(t.grid, 1), &n, 1,
                                 0, 0, span);
    const Value *one = value_node(e, field, NULL, span);
    return t.channels == 1 ? one : eval_binary(e, AST_ADD, zeros_like(e, like, span), one, span);
}

static bool same_shape(Elab *e, const Value *a, const Value *b) {
    if (a->kind == VALUE_LIST || b->kind == VALUE_LIST) {
        bool same = a->kind == b->kind && a->list.count == b->list.count;
        for (uint32_t i = 0; same && i < a->list.count; i++)
            same = same_shape(e, a->list.items[i], b->list.items[i]);
        return same;
    }
    return value_is_field(e, a) && value_is_field(e, b) &&
           type_equal(value_type(e, a), value_type(e, b));
}

const Value *run_solver(Elab *e, const Env *env, const Stmt *stmt, Operator *made,
                        const Value *x0) {
    const Value *with = eval_expr(e, env, stmt->solve.with);
    const Value *b = eval_expr(e, env, stmt->solve.right);
    if (stmt->solve.from) {
        const Value *from = spread(e, eval_expr(e, env, stmt->solve.from), x0 ? x0 : b, stmt->span);
        x0 = x0 ? with_sides_of(e, from, x0) : from;
    } else if (!x0) {
        x0 = b->kind == VALUE_ERROR ? b : zeros_like(e, b, stmt->span);
    }
    if (with->kind == VALUE_ERROR || b->kind == VALUE_ERROR || x0->kind == VALUE_ERROR)
        return value_error(e);
    if (with->kind != VALUE_OPERATOR) {
        Diagnostic *d = report(e, NOT_A_SOLVER, with->span, value_describe(e, with));
        diag_help(d, "cg(), newton(), fas(levels = 5) and others stand in a module: use solvers");
        return value_error(e);
    }
    made->kind = OPERATOR_UNKNOWN;
    made->span = stmt->solve.left->span;
    made->stmt = stmt;
    made->instance = e->instance;
    made->pass = e->pass;
    made->local = e->local;
    made->like = x0;
    Span left = stmt->solve.left->span, right = stmt->solve.right->span;
    bool system = x0->kind == VALUE_LIST; /* solvers see one field with the channels of all */
    const Value *inputs[3] = {value_operator(e, system ? packed_operator(e, made, x0) : made, left),
                              pack(e, spread(e, b, x0, right), right), pack(e, x0, stmt->span)};
    for (int i = 1; i < 3; i++)
        if (inputs[i]->kind == VALUE_ERROR) return inputs[i];
    bool mine = !sources_is_library(e->unit->context.sources, stmt->span.file);
    if (mine) vec_push(&e->calls, stmt->span);
    const Value *x = apply_operator(e, with->op, inputs, 3, NULL, stmt->solve.with->span);
    if (mine) (void)vec_pop(&e->calls);
    if (x->kind == VALUE_ERROR) return x;
    if (system && value_is_field(e, x) && type_equal(value_type(e, x), value_type(e, inputs[2])))
        x = unpack(e, x, x0, false, stmt->span);
    if (!same_shape(e, x, x0)) {
        Diagnostic *d = report(e, SOLVER_SHAPE, stmt->solve.with->span, value_describe(e, x));
        diag_label(d, report_span(e, x0->span), "%s", value_describe(e, x0));
        return value_error(e);
    }
    return value_at(e, with_sides_of(e, x, x0), stmt->span);
}

static bool names_unknown(Elab *e, const Expr *unknown) {
    bool ok = unknown->kind == EXPR_NAME || unknown->kind == EXPR_LIST;
    for (uint32_t i = 0; unknown->kind == EXPR_LIST && i < unknown->list.count; i++)
        ok = ok && unknown->list.items[i]->kind == EXPR_NAME;
    if (ok) return true;
    Diagnostic *d = report(e, NOT_TO_SOLVE_FOR, unknown->span);
    diag_help(d, "solve A(u) = f for u with cg(); a list of them for a system: for [u, v]");
    return false;
}

/* Where the iteration starts unless `from` says: at what the unknown's name stands for already. */
static const Value *known_start(Elab *e, const Env *env, const Expr *unknown) {
    uint32_t n = unknown->kind == EXPR_LIST ? unknown->list.count : 1;
    const Value **items = ARENA_ARRAY(e->arena, const Value *, n + 1);
    for (uint32_t i = 0; i < n; i++) {
        const Expr *x = unknown->kind == EXPR_LIST ? unknown->list.items[i] : unknown;
        const Env *found = env_find(env, x->name);
        bool field = found && (found->value->kind == VALUE_LIST || value_is_field(e, found->value));
        if (!field) return NULL;
        items[i] = value_coarse(e, found->value, env_marks(e, env, found), x->span);
    }
    return unknown->kind == EXPR_LIST ? value_list(e, items, n, unknown->span) : items[0];
}

static bool mentions_unknown(const Expr *left, const Expr *unknown) {
    for (uint32_t i = 0; unknown->kind == EXPR_LIST && i < unknown->list.count; i++)
        if (expr_mentions(left, &unknown->list.items[i]->name, 1)) return true;
    return unknown->kind == EXPR_NAME && expr_mentions(left, &unknown->name, 1);
}

const Env *solve_bind(Elab *e, const Env *env, const Stmt *stmt) {
    const Expr *unknown = stmt->solve.unknown;
    if (!names_unknown(e, unknown)) return NULL;
    const Value *v = value_error(e);
    if (!mentions_unknown(stmt->solve.left, unknown)) {
        report(e, NOT_MENTIONED, stmt->solve.left->span);
    } else {
        Operator *made = ARENA_NEW(e->arena, Operator);
        made->env = env;
        v = run_solver(e, env, stmt, made, known_start(e, env, unknown));
    }
    return bind_unknown(e, env, unknown, v);
}
