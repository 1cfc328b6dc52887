/* coarse(A): the same operator on the next coarser grid.
 *
 * An operator captures what its body names. So coarsening an operator leaves its body as it is and puts a mark
 * into its environment, between its inputs and what surrounds them: a name that is found beyond n marks stands for
 * its value on the n times coarser grid. Fields are restricted (means over the finer cells), grids are coarsened,
 * operators are coarse operators, numbers stay. The restriction is made in the function in which the field was,
 * so a loop that applies the operator does not repeat it. */
#include "compiler/sema/proof.h"
#include "compiler/sema/value.h"

#include <string.h>

static const Value *coarse_once(Elab *e, const Value *v, bool fit, Span span);

static GridId coarse_grid(Elab *e, GridId grid, bool fit) {
    return fit ? graph_fitted(e->module, grid) : graph_coarser(e->module, grid);
}

static Node restricted(Elab *e, FuncId f, Node n, bool fit, Span span) {
    GridId fine = graph_node(graph_get(e->module, f), n)->type.grid;
    Resample how = graph_resample(e->module, fine, coarse_grid(e, fine, fit));
    return graph_add(e->module, f, OP_RESTRICT, &n, 1, how, 0, span);
}

/* The sides of a field for its restriction: values are restricted likewise, a slope does not change. */
static const Boundary *coarse_sides(Elab *e, const Boundary *b, bool fit, Span span) {
    if (!b || b->left || b->reason) return NULL;
    Boundary *made = ARENA_NEW(e->arena, Boundary);
    *made = *b;
    for (int a = 0; a < MAX_RANK; a++)
        for (int s = 0; s < 2; s++) {
            FuncId f = e->frame->func;
            Node n = b->value[a][s];
            if (n && graph_node(graph_get(e->module, f), n)->type.kind == TYPE_FIELD)
                made->value[a][s] = restricted(e, f, n, fit, span);
        }
    return made;
}

static const Value *coarse_field(Elab *e, const Value *v, bool fit, Span span) {
    Frame *current = e->frame;
    Type t;
    const char *why = NULL;
    e->frame = v->node.frame;
    Node n = v->node.node;
    const Value *made;
    if (op_shape(e->module, e->frame->func, OP_RESTRICT, &n, 1, 0, 0, &t, &why)) {
        Node coarse = restricted(e, e->frame->func, n, fit, span);
        made = value_node(e, coarse, coarse_sides(e, v->node.boundary, fit, span), v->span);
    } else {
        Diagnostic *d = report(e, SHAPE, span, why);
        if (v->span.file) diag_note(d, v->span, "a field that the coarse operator uses");
        made = value_error(e);
    }
    e->frame = current;
    return made;
}

static const Value **coarse_items(Elab *e, const Value **items, uint32_t count, bool fit,
                                  Span span) {
    const Value **made = ARENA_ARRAY(e->arena, const Value *, count + 1);
    for (uint32_t i = 0; i < count; i++) made[i] = coarse_once(e, items[i], fit, span);
    return made;
}

static const Coarsening *coarser(Elab *e, const Coarsening *before, bool fit) {
    Coarsening *made = ARENA_NEW(e->arena, Coarsening);
    *made = (Coarsening){before, fit};
    return made;
}

static const Operator *coarse_operator(Elab *e, const Operator *op, bool fit, Span span) {
    Operator *made = arena_copy(e->arena, op, sizeof *op);
    switch (op->kind) {
    case OPERATOR_DEF:
        if (op->configured)
            made->config = coarse_items(e, op->config, op->item->def.config.count, fit, span);
        /* fallthrough */
    case OPERATOR_FN:
    case OPERATOR_LOCAL:
    case OPERATOR_UNKNOWN: made->coarse = coarser(e, op->coarse, fit); break;
    case OPERATOR_COMPOSE:
    case OPERATOR_SUM: {
        const Operator **items = ARENA_ARRAY(e->arena, const Operator *, op->count + 1);
        for (uint32_t i = 0; i < op->count; i++)
            items[i] = coarse_operator(e, op->items[i], fit, span);
        made->items = items;
        break;
    }
    default:
        if (op->a) made->a = coarse_operator(e, op->a, fit, span);
        if (op->factor) made->factor = coarse_once(e, op->factor, fit, span);
        if (op->like) made->like = coarse_once(e, op->like, fit, span);
    }
    return made;
}

static const Value *coarse_once(Elab *e, const Value *v, bool fit, Span span) {
    Value *made;
    switch (v->kind) {
    case VALUE_NODE: {
        Type t = value_type(e, v);
        return t.kind == TYPE_FIELD && !type_is_row(e->module, t) ? coarse_field(e, v, fit, span)
                                                                  : v;
    }
    case VALUE_LIST:
        return value_list(e, coarse_items(e, v->list.items, v->list.count, fit, span),
                          v->list.count, v->span);
    case VALUE_OPERATOR: return value_operator(e, coarse_operator(e, v->op, fit, span), v->span);
    default: break;
    }
    if (v->kind != VALUE_GRID && v->kind != VALUE_SIDE && v->kind != VALUE_SEQUENCE) return v;
    made = value_new(e, v->kind, v->span);
    *made = *v;
    if (v->kind == VALUE_GRID)
        made->grid = coarse_grid(e, v->grid, fit);
    else if (v->kind == VALUE_SEQUENCE)
        made->sequence.coarse = coarser(e, v->sequence.coarse, fit);
    else if (v->side.value)
        made->side.value = coarse_once(e, v->side.value, fit, span);
    return made;
}

const Value *value_coarse(Elab *e, const Value *v, const Coarsening *how, Span span) {
    if (!how) return v;
    v = value_coarse(e, v, how->before, span);
    return v->kind == VALUE_ERROR ? v : coarse_once(e, v, how->fit, span);
}

const Env *env_coarse(Elab *e, const Env *env, const Coarsening *how) {
    if (!how) return env;
    const Value *fit = how->fit ? value_number(e, 1, SPAN_NONE) : NULL;
    return env_bind(e, env_coarse(e, env, how->before), ENV_COARSE, fit, SPAN_NONE);
}

const Coarsening *env_marks(Elab *e, const Env *env, const Env *found) {
    if (env == found) return NULL;
    const Coarsening *before = env_marks(e, env->outer, found);
    return env->name == ENV_COARSE ? coarser(e, before, env->value != NULL) : before;
}

const Value *prelude_coarse(Elab *e, const BuiltinInfo *info, const Arguments *a) {
    const Value *v = argument_get(e, info, a, 0);
    double fit = 0;
    const Value *given = argument_get(e, info, a, 1);
    if (given && !value_static(e, given, "'fit'", &fit)) return value_error(e);
    if (v->kind == VALUE_OPERATOR || v->kind == VALUE_GRID)
        return value_at(e, coarse_once(e, v, fit != 0, a->span), a->span);
    Diagnostic *d = report(e, NOT_COARSENED, v->span, value_describe(e, v));
    if (value_is_field(e, v)) diag_help(d, "restrict(u) brings a field to the next coarser grid");
    return value_error(e);
}

/* ---- corrections --------------------------------------------------------------------------- */

/* The sides beyond which the function's stencils read its parameter 0, which agree. Inside loops, too: where a loop's
 * state begins as the parameter, its first step reads it. */
static bool read_sides(const Module *m, FuncId func, Node u, SideKind sides[MAX_RANK][2],
                       bool *any) {
    const Func *f = graph_get(m, func);
    for (Node n = 1; n < f->nodes.len; n++) {
        const NodeData *d = graph_node(f, n);
        if (d->op != OP_STENCIL || graph_operand(f, n, 0) != u) continue;
        const Stencil *s = &m->stencils.data[d->index];
        if (s->transposed) continue;
        if (*any && memcmp(sides, s->sides, sizeof s->sides) != 0) return false;
        memcpy(sides, s->sides, sizeof s->sides);
        *any = true;
    }
    return true;
}

/* correction(A, e): e with the sides of what A acts on, their values 0, as the difference of two fields that
 * satisfy A's boundary has them. */
const Value *prelude_correction(Elab *e, const BuiltinInfo *info, const Arguments *a) {
    const Value *A = argument_get(e, info, a, 0), *v = argument_get(e, info, a, 1);
    OperatorFunc func;
    SideKind sides[MAX_RANK][2];
    bool any = false;
    if (A->kind != VALUE_OPERATOR) {
        report(e, NOT_A_SOLVER, A->span, value_describe(e, A));
        return value_error(e);
    }
    if (!needs_field(e, v, a->span)) return value_error(e);
    const Boundary *own = value_boundary(e, v); /* where A states none */
    bool known = own && !own->left && !own->reason;
    if (!operator_func(e, A->op, value_type(e, v), known ? v : NULL, a->span, &func))
        return value_error(e);
    Node u = graph_get(e->module, func.func)->params.data[0];
    memset(sides, 0, sizeof sides);
    if (!read_sides(e->module, func.func, u, sides, &any) || !any) return v;
    Boundary *b = ARENA_NEW(e->arena, Boundary);
    b->span = a->span;
    for (int axis = 0; axis < MAX_RANK; axis++)
        for (int s = 0; s < 2; s++)
            b->kind[axis][s] = sides[axis][s] == SIDE_SLOPE ? SIDE_EVEN : sides[axis][s];
    return value_node(e, value_to_node(e, v), b, a->span);
}
