/* The prelude: numbers of cells along an axis, tridiagonal systems. */
#include "compiler/sema/value.h"

static bool read_field(Elab *e, const Value *u, Span span) {
    if (value_is_field(e, u)) return true;
    if (u->kind != VALUE_ERROR) report(e, NOT_A_FIELD, span, value_describe(e, u));
    return false;
}

/* An axis of the field's grid: x, y or z, or its number. */
static bool read_axis(Elab *e, const Value *v, const Value *field, Span span, int64_t *axis) {
    uint32_t rank = e->module->grids.data[value_type(e, field).grid].rank;
    if (v->kind == VALUE_ERROR) return false;
    bool named = v->kind == VALUE_STRING && v->string.length == 1;
    if (named && v->string.bytes[0] >= 'x' && v->string.bytes[0] <= 'z')
        *axis = v->string.bytes[0] - 'x';
    else if (v->kind != VALUE_NUMBER) {
        report(e, AXIS_NEEDED, span, value_describe(e, v));
        return false;
    } else if (!value_static_int(e, v, "an axis", 0, MAX_RANK - 1, axis)) {
        return false;
    }
    if (*axis < rank) return true;
    report(e, NO_SUCH_AXIS, span, (int)('x' + *axis), rank);
    return false;
}

/* The field that u stands for, the first of a list, and an axis of it. */
static const Value *field_and_axis(Elab *e, const BuiltinInfo *info, const Arguments *a,
                                   int64_t *axis) {
    const Value *u = argument_get(e, info, a, 0);
    if (u->kind == VALUE_LIST && u->list.count) u = u->list.items[0];
    return read_field(e, u, a->span) && read_axis(e, argument_get(e, info, a, 1), u, a->span, axis)
               ? u
               : NULL;
}

/* cell(u, axis): the numbers of the cells of u's grid along the axis, 0 for the first. */
const Value *prelude_cell(Elab *e, const BuiltinInfo *info, const Arguments *a) {
    int64_t axis;
    const Value *u = field_and_axis(e, info, a, &axis);
    if (!u) return value_error(e);
    return value_node(e, cell_number(e, value_type(e, u).grid, (uint32_t)axis, a->span), NULL,
                      a->span);
}

/* spacing(u, axis): of the cells of u's grid. */
const Value *prelude_spacing(Elab *e, const BuiltinInfo *info, const Arguments *a) {
    int64_t axis;
    const Value *u = field_and_axis(e, info, a, &axis);
    return u ? value_number(e, e->module->grids.data[value_type(e, u).grid].spacing[axis], a->span)
             : value_error(e);
}

/* The number or field that argument i is, as a field on b's grid; NODE_NONE after a message. */
static Node band(Elab *e, const BuiltinInfo *info, const Arguments *a, uint32_t i, GridId grid) {
    const Value *v = argument_get(e, info, a, i);
    bool number =
        v->kind == VALUE_NUMBER || (v->kind == VALUE_NODE && value_type(e, v).kind == TYPE_SCALAR);
    if (!number && !read_field(e, v, v->span)) return NODE_NONE;
    Node n = value_to_node(e, v);
    return number ? graph_add_typed(e->module, e->frame->func, OP_SPREAD, type_field(grid, 1), &n,
                                    1, 0, 0, a->span)
                  : n;
}

/* tridiagonal_solve(lower, diagonal, upper, b, axis): numbers stand for themselves in every cell. Without `lower` it is
 * symmetric; periodic where b is. */
const Value *prelude_tridiagonal(Elab *e, const BuiltinInfo *info, const Arguments *a) {
    const Value *b = argument_get(e, info, a, 3), *at = argument_get(e, info, a, 4);
    FuncId f = e->frame->func;
    static const char *const names[] = {"diagonal", "upper", "b", "axis"};
    int64_t axis;
    for (uint32_t i = 0; i < 4; i++)
        if (!argument_get(e, info, a, i + 1)) {
            Diagnostic *d = report(e, MISSING_ARGUMENT, a->span, info->name, names[i]);
            if (i == 3)
                diag_help(d, "of a symmetric system: %s(diagonal = d, upper = u, b = b, axis = x)",
                          info->name);
            return value_error(e);
        }
    if (!read_field(e, b, a->span) || !read_axis(e, at, b, a->span, &axis)) return value_error(e);
    GridId grid = value_type(e, b).grid;
    bool symmetric = !argument_get(e, info, a, 0);
    Node operands[4] = {value_to_node(e, b), symmetric ? NODE_NONE : band(e, info, a, 0, grid),
                        band(e, info, a, 1, grid), band(e, info, a, 2, grid)};
    if (symmetric) operands[1] = operands[3];
    for (uint32_t i = 1; i < 4; i++)
        if (operands[i] == NODE_NONE) return value_error(e);
    const Boundary *sides = value_boundary(e, b);
    uint32_t detail = sides && sides->kind[axis][0] == SIDE_PERIODIC ? TRIDIAG_PERIODIC : 0;
    if (symmetric) detail |= TRIDIAG_LOWER_BEFORE;
    const char *why;
    Type made;
    if (!op_shape(e->module, f, OP_TRIDIAG, operands, 4, (uint32_t)axis, detail, &made, &why)) {
        report(e, SHAPE, a->span, why);
        return value_error(e);
    }
    Node n = graph_add(e->module, f, OP_TRIDIAG, operands, 4, (uint32_t)axis, detail, a->span);
    return value_node(e, n, boundary_derived(e, sides, (bool[MAX_RANK]){false, false, false}),
                      a->span);
}
