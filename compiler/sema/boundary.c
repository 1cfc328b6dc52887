/* Boundaries of expressions.
 *
 * A field carries what `boundary` stated for it. A pointwise function of fields inherits the sides of its
 * operands; values at the sides are mapped through the function, where operands without a stated boundary
 * (coefficients) take their value in the cell inside. */
#include "compiler/sema/value.h"

#include <string.h>

static bool has_value(SideKind kind) {
    return kind == SIDE_ODD || kind == SIDE_SLOPE || kind == SIDE_GHOST;
}

static bool is_zero(Elab *e, Node n) {
    double x;
    return n == NODE_NONE ||
           (graph_is_const(graph_get(e->module, e->frame->func), n, &x) && x == 0);
}

static const Boundary *clash(Elab *e, Op op, const Value *a, const Value *b, const char *reason) {
    Boundary *c = ARENA_NEW(e->arena, Boundary);
    c->left = a;
    c->right = b;
    c->clash = op == OP_ADD || op == OP_SUB ? op : OP_NONE;
    c->reason = reason;
    return c;
}

/* The value at one side of op(operands): the function of the operands' values there. */
static Node map_value(Elab *e, Op op, const Value *const *operands, const Boundary *const *sides,
                      uint32_t count, int axis, int side, Span span) {
    Node nodes[3];
    bool zeros[3];
    for (uint32_t i = 0; i < count; i++) {
        nodes[i] = sides[i] ? sides[i]->value[axis][side] : value_to_node(e, operands[i]);
        zeros[i] = sides[i] && is_zero(e, nodes[i]);
        if (!nodes[i]) nodes[i] = graph_const(e->module, e->frame->func, 0);
    }
    /* products with a value of 0 are 0 there, whatever the coefficient */
    if ((op == OP_MUL && (zeros[0] || zeros[1])) || (op == OP_DIV && zeros[0])) return NODE_NONE;
    if ((op == OP_ADD || op == OP_SUB) && zeros[0] && zeros[1]) return NODE_NONE;
    if (op == OP_NEG && zeros[0]) return NODE_NONE;
    Node n = graph_add(e->module, e->frame->func, op, nodes, count, 0, 0, span);
    return is_zero(e, n) ? NODE_NONE : n;
}

/* A slope maps through linear functions alone, unless it is 0 everywhere. */
static bool slope_maps(Elab *e, Op op, const Value *const *operands, const Boundary *const *sides,
                       uint32_t count, int axis, int side) {
    bool zero = true, fields = true;
    for (uint32_t i = 0; i < count; i++) {
        if (sides[i])
            zero = zero && is_zero(e, sides[i]->value[axis][side]);
        else if (value_is_field(e, operands[i]))
            fields = false;
    }
    if (zero) return true;
    if (!fields) return false;
    if (op == OP_ADD || op == OP_SUB) return count == 2 && sides[0] && sides[1];
    if (op == OP_NEG) return true;
    if (op == OP_MUL) return !sides[0] || !sides[1];
    return op == OP_DIV && sides[0] && !sides[1];
}

const Boundary *boundary_join(Elab *e, Op op, const Value *const *operands, uint32_t count,
                              Span span) {
    const Boundary *sides[3] = {NULL, NULL, NULL}, *first = NULL;
    const Value *owner = NULL;
    for (uint32_t i = 0; i < count; i++) {
        sides[i] = value_boundary(e, operands[i]);
        if (sides[i] && !first) first = sides[i], owner = operands[i];
    }
    if (!first) return NULL;
    if (first->left || first->reason)
        return clash(e, count == 1 && op == OP_NEG ? OP_NONE : op, operands[0],
                     count > 1 ? operands[1] : NULL, first->reason);
    uint32_t rank = e->module->grids.data[value_type(e, owner).grid].rank;
    Boundary *b = ARENA_NEW(e->arena, Boundary);
    *b = *first;
    memset(b->value, 0, sizeof b->value);
    for (uint32_t i = 0; i < count; i++)
        b->gradient = b->gradient || (sides[i] && sides[i]->gradient);
    for (uint32_t i = 0; i < count; i++)
        if (sides[i] && (sides[i]->left || sides[i]->reason ||
                         memcmp(sides[i]->kind, first->kind, rank * sizeof b->kind[0]) != 0))
            return clash(e, op, owner, operands[i], sides[i]->reason);
    for (uint32_t a = 0; a < rank; a++)
        for (int s = 0; s < 2; s++) {
            if (!has_value(b->kind[a][s])) continue;
            if (b->kind[a][s] == SIDE_SLOPE) {
                if (!slope_maps(e, op, operands, sides, count, (int)a, s))
                    return clash(
                        e, op, owner, NULL,
                        "the slope of a nonlinear expression at its boundary is not known");
                bool zero = true;
                for (uint32_t i = 0; i < count; i++)
                    zero = zero && (!sides[i] || is_zero(e, sides[i]->value[a][s]));
                if (zero) continue;
            }
            b->value[a][s] = map_value(e, op, operands, sides, count, (int)a, s, span);
        }
    return b;
}

const Boundary *boundary_like(Elab *e, const Value *field) {
    const Boundary *b = value_boundary(e, field);
    if (!b || (!b->left && !b->reason)) return b;
    Boundary *unknown = ARENA_NEW(e->arena, Boundary);
    *unknown = *b;
    unknown->clash = OP_NONE;
    return unknown;
}

/* ---- the statement ------------------------------------------------------------------------ */

/* `node` with the coordinate normal to a side at the face instead of in the cells. */
static Node at_face(Elab *e, Node node, GridId grid, int axis, int side) {
    FuncId func = e->frame->func;
    const Grid *g = &e->module->grids.data[grid];
    Node coord = graph_add_typed(e->module, func, OP_COORD, type_field(grid, 1), NULL, 0,
                                 (uint32_t)axis, 0, SPAN_NONE);
    if (node < coord && !graph_node(graph_get(e->module, func), node)->count) return node;
    Node face;
    if (side == 0)
        face = graph_const(e->module, func, g->origin[axis]);
    else if (g->extent[axis] >= 0)
        face = graph_const(e->module, func,
                           g->origin[axis] + (double)g->extent[axis] * g->spacing[axis]);
    else
        face = graph_binary(e->module, func, OP_ADD, coord,
                            graph_const(e->module, func, g->spacing[axis] / 2), SPAN_NONE);
    Map known = {0};
    map_set(&known, coord, face);
    Node made = graph_copy(e->module, func, node, func, &known);
    map_free(&known);
    return made;
}

static const Boundary *start_boundary(Elab *e, const Value *field, Span span) {
    const Boundary *old = value_boundary(e, field);
    Boundary *b = ARENA_NEW(e->arena, Boundary);
    if (old && !old->left && !old->reason)
        *b = *old;
    else
        for (int a = 0; a < MAX_RANK; a++) b->kind[a][0] = b->kind[a][1] = SIDE_EVEN;
    b->span = span;
    return b;
}

static bool side_value(Elab *e, const Value *side, const Value *field, int axis, int which,
                       Node *node) {
    *node = NODE_NONE;
    const Value *v = side->side.value;
    if (!v) return true;
    if (v->kind != VALUE_NUMBER && v->kind != VALUE_NODE) {
        report(e, BAD_OPERAND, v->span, value_describe(e, v));
        return false;
    }
    Type t = value_type(e, v), u = value_type(e, field);
    if (t.kind == TYPE_FIELD &&
        (t.grid != u.grid || (t.channels != 1 && t.channels != u.channels))) {
        Diagnostic *d = report(e, BOUNDARY_SHAPE, v->span);
        diag_label(d, report_span(e, v->span), "%s", type_text(e->module, t, e->arena));
        diag_label(d, report_span(e, field->span), "%s", type_text(e->module, u, e->arena));
        return false;
    }
    *node = value_to_node(e, v);
    if (is_zero(e, *node))
        *node = NODE_NONE;
    else if (t.kind == TYPE_FIELD)
        *node = at_face(e, *node, u.grid, axis, which);
    return true;
}

/* axis -1: all sides */
const Value *assign_boundary(Elab *e, const Value *field, const Value *side, int axis, int which,
                             Span span) {
    if (field->kind == VALUE_ERROR || side->kind == VALUE_ERROR) return field;
    if (!value_is_field(e, field)) {
        Diagnostic *d = report(e, BOUNDARY_OF, span, value_describe(e, field));
        diag_help(
            d,
            "boundaries belong to fields: the unknowns of a pde, the inputs of an operator, a `let`");
        return value_error(e);
    }
    if (side->kind != VALUE_SIDE) {
        Diagnostic *d = report(e, NOT_A_SIDE, side->span, value_describe(e, side));
        diag_help(d, "reflecting, periodic, zero, dirichlet(value) and neumann(value) are");
        return value_error(e);
    }
    Type t = value_type(e, field);
    int rank = (int)e->module->grids.data[t.grid].rank;
    if (axis >= rank) {
        report(e, NO_SUCH_AXIS, span, "xyz"[axis], (unsigned)rank);
        return value_error(e);
    }
    Node node = value_to_node(e, field);
    Boundary *b = (Boundary *)start_boundary(e, field, span);
    for (int a = 0; a < rank; a++) {
        if (axis >= 0 && a != axis) continue;
        bool both = axis < 0 || side->side.side == SIDE_PERIODIC || b->kind[a][0] == SIDE_PERIODIC;
        for (int s = 0; s < 2; s++) {
            if (axis >= 0 && s != which && !both) continue;
            if (axis >= 0 && s != which &&
                side->side.side != SIDE_PERIODIC) { /* leaves a periodic pair */
                b->kind[a][s] = SIDE_EVEN;
                b->value[a][s] = NODE_NONE;
                continue;
            }
            b->kind[a][s] = side->side.side;
            if (!side_value(e, side, field, a, s, &b->value[a][s])) return value_error(e);
            if (b->kind[a][s] == SIDE_SLOPE && !b->value[a][s]) b->kind[a][s] = SIDE_EVEN;
        }
    }
    Value *v = value_new(e, VALUE_NODE, field->span);
    v->node.frame = e->frame;
    v->node.node = node;
    v->node.boundary = b;
    return v;
}

static bool side_of(Elab *e, const Expr *x, int *axis, int *which) {
    if (x->kind == EXPR_MEMBER && x->member.base->kind == EXPR_NAME) {
        const char *a = names_text(e->names, x->member.base->name),
                   *s = names_text(e->names, x->member.name);
        if (strlen(a) == 1 && a[0] >= 'x' && a[0] <= 'z' &&
            (strcmp(s, "low") == 0 || strcmp(s, "high") == 0)) {
            *axis = a[0] - 'x';
            *which = s[0] == 'h';
            return true;
        }
    }
    Diagnostic *d = report(e, NOT_A_PLACE, x->span);
    diag_help(d, "x.low, x.high, y.low, y.high, z.low and z.high are the sides");
    return false;
}

/* Names are looked up in `target` and bound again there; the condition is evaluated in `env`. */
const Env *boundary_statement(Elab *e, const Env *env, const Env *target, const Stmt *stmt) {
    int axis = -1, which = 0;
    if (stmt->boundary.side && !side_of(e, stmt->boundary.side, &axis, &which)) return target;
    const Value *side = eval_expr(e, env, stmt->boundary.value);
    for (uint32_t i = 0; i < stmt->boundary.count; i++) {
        const NameAt *name = &stmt->boundary.names[i];
        const Env *found = env_find(target, name->name);
        if (!found) {
            Diagnostic *d = report(e, UNKNOWN_NAME, name->span, names_text(e->names, name->name));
            suggest_name(e->unit, d, target, name->name);
            continue;
        }
        const Value *v,
            *old = value_coarse(e, found->value, env_marks(e, target, found), name->span);
        if (old->kind == VALUE_LIST) {
            uint32_t n = old->list.count;
            const Value **items = ARENA_ARRAY(e->arena, const Value *, n);
            for (uint32_t k = 0; k < n; k++)
                items[k] = assign_boundary(e, old->list.items[k], side, axis, which, stmt->span);
            v = value_list(e, items, n, name->span);
        } else {
            v = assign_boundary(e, value_at(e, old, name->span), side, axis, which, stmt->span);
        }
        target = env_bind(e, target, name->name, v, name->span);
    }
    return target;
}
