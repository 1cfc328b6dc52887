/* The prelude: grids and files, derivatives and stencils, operators. */
#include "compiler/sema/value.h"

#include <math.h>
#include <string.h>

/* ---- grids --------------------------------------------------------------------------- */

static bool read_interval(Elab *e, const Value *v, double *low, double *high) {
    if (v->kind != VALUE_LIST || v->list.count != 2) {
        Diagnostic *d = report(e, NOT_AN_INTERVAL, v->span, value_describe(e, v));
        diag_help(d, "write [0, 1]");
        return false;
    }
    if (!value_static(e, v->list.items[0], "the end of an axis", low) ||
        !value_static(e, v->list.items[1], "the end of an axis", high))
        return false;
    if (!(*low < *high) || !isfinite(*high - *low)) {
        report(e, EMPTY_INTERVAL, v->span, *low, *high);
        return false;
    }
    return true;
}

const Value *prelude_box(Elab *e, const BuiltinInfo *info, const Arguments *a) {
    Grid g = {0};
    const Value *axes[MAX_RANK], *cells = NULL;
    for (uint32_t i = 0; i < a->count; i++) {
        const char *name = names_text(e->names, a->items[i].name);
        if (strcmp(name, "cells") == 0) cells = a->items[i].value;
    }
    for (uint32_t i = 0; i < MAX_RANK; i++) {
        axes[i] = argument_get(e, info, a, i);
        if (axes[i]) g.rank = i + 1;
    }
    if (!cells || !g.rank) {
        Diagnostic *d = report(e, BOX_CELLS, a->span);
        diag_help(d, "box([0, 1], [0, 1], cells = [64, 64])");
        return value_error(e);
    }
    bool list = cells->kind == VALUE_LIST;
    if (list && cells->list.count != g.rank) {
        report(e, BOX_AXES, cells->span, g.rank, cells->list.count);
        return value_error(e);
    }
    for (uint32_t i = 0; i < g.rank; i++) {
        double high;
        if (!axes[i] || !read_interval(e, axes[i], &g.origin[i], &high)) return value_error(e);
        if (!value_static_int(e, list ? cells->list.items[i] : cells, "a number of cells", 1,
                              2147483647.0, &g.extent[i]))
            return value_error(e);
        g.spacing[i] = (high - g.origin[i]) / (double)g.extent[i];
    }
    Value *v = value_new(e, VALUE_GRID, a->span);
    v->grid = graph_grid(e->module, &g);
    return v;
}

/* ---- files ------------------------------------------------------------------------------ */

const char *read_path(const Elab *e, const Value *v) {
    if (v->string.from_command_line || v->string.bytes[0] == '/' || !*e->folder)
        return v->string.bytes;
    return arena_format(e->arena, "%s%s", e->folder, v->string.bytes);
}

static const Value *source_field(Elab *e, const char *path, const Grid *grid, uint32_t channels,
                                 Span span) {
    GridId id = graph_grid(e->module, grid);
    Type type = type_field(id, channels);
    const Source *known = e->out->sources.data;
    uint32_t index = 0;
    for (; index < e->out->sources.len; index++)
        if (known[index].kind == SOURCE_FILE && strcmp(known[index].path, path) == 0 &&
            type_equal(e->module->inputs.data[index].type, type))
            break;
    Source source = {.path = path, .channels = (int)channels, .span = span};
    Node n = index < e->out->sources.len ? graph_add_typed(e->module, e->root->func, OP_INPUT, type,
                                                           NULL, 0, index, 0, span)
                                         : program_input(e, type, source);
    return program_value(e, n, span);
}

static const Value *check_path(Elab *e, const Value *v) {
    if (v && v->kind == VALUE_STRING) return v;
    if (v && v->kind != VALUE_ERROR) report(e, NOT_A_PATH, v->span, value_describe(e, v));
    return NULL;
}

static bool file_shape(Elab *e, const char *path, Span span, int *rank, int64_t shape[PDN_MAX_RANK],
                       int unknown_rank) {
    PdnError error = {{0}};
    if (pdn_file_shape(path, rank, shape, &error) == PDN_OK) return true;
    if (e->options && e->options->check_only) { /* its size is then unknown */
        *rank = unknown_rank;
        for (int i = 0; i < *rank; i++) shape[i] = -1;
        return true;
    }
    report(e, FILE_UNREADABLE, span, error.message);
    return false;
}

const Value *prelude_image(Elab *e, const BuiltinInfo *info, const Arguments *a) {
    const Value *v = check_path(e, argument_get(e, info, a, 0));
    if (!v) return value_error(e);
    const char *path = read_path(e, v);
    int rank;
    int64_t shape[PDN_MAX_RANK];
    if (!file_shape(e, path, v->span, &rank, shape, 2)) return value_error(e);
    if (rank != 2 && rank != 3) {
        Diagnostic *d = report(e, NOT_A_PICTURE, v->span, path, rank);
        diag_help(d, "array(file) reads any array");
        return value_error(e);
    }
    Grid g = {.rank = 2, .extent = {shape[rank - 1], shape[rank - 2], 0}, .spacing = {1, 1, 0}};
    return source_field(e, path, &g, rank == 3 ? (uint32_t)shape[0] : 1, a->span);
}

/* No field has so many axes; `on` is its grid, where that was given, else it has `wanted` axes. */
static void array_rank(Elab *e, const Value *v, const char *path, int rank, int wanted,
                       const Grid *on) {
    const char *right =
        wanted < 1 || wanted > MAX_RANK
            ? arena_format(e->arena, "has 1 to %d", MAX_RANK + 1)
            : arena_format(e->arena, "on a grid of %d has %d or %d", wanted, wanted, wanted + 1);
    Diagnostic *d = report(e, ARRAY_RANK, v->span, path, rank, rank == 1 ? "axis" : "axes", right);
    const char *shape = "";
    for (uint32_t i = 0; on && i < on->rank; i++)
        shape = arena_format(e->arena, "%lld%s%s", (long long)on->extent[i], i ? " x " : "", shape);
    if (on) shape = arena_format(e->arena, " (%s)", shape);
    diag_help(
        d,
        "a field of one channel has the shape of its grid%s, one of c channels a first axis of c",
        shape);
}

const Value *prelude_array(Elab *e, const BuiltinInfo *info, const Arguments *a) {
    const Value *v = check_path(e, argument_get(e, info, a, 0));
    const Value *grid = argument_get(e, info, a, 1), *asked = argument_get(e, info, a, 2);
    int64_t wanted = 0;
    if (!v || (asked && !value_static_int(e, asked, "a rank", 1, MAX_RANK, &wanted)))
        return value_error(e);
    if (grid && grid->kind != VALUE_GRID) {
        report(e, NOT_A_GRID, grid->span, value_describe(e, grid));
        return value_error(e);
    }
    const Grid *on = grid ? &e->module->grids.data[grid->grid] : NULL;
    const char *path = read_path(e, v);
    int rank;
    int64_t shape[PDN_MAX_RANK];
    if (!file_shape(e, path, v->span, &rank, shape, on ? (int)on->rank : wanted ? (int)wanted : 2))
        return value_error(e);
    if (on && !wanted) wanted = on->rank;
    if (!wanted) wanted = rank == 3 ? 2 : rank == 4 ? 3 : rank;
    if (rank < 1 || wanted > MAX_RANK || (rank != wanted && rank != wanted + 1)) {
        array_rank(e, v, path, rank, (int)wanted, on);
        return value_error(e);
    }
    Grid g = {.rank = (uint32_t)wanted, .spacing = {1, 1, 1}};
    for (uint32_t i = 0; i < g.rank; i++) g.extent[i] = shape[rank - 1 - (int)i];
    if (on) {
        for (uint32_t i = 0; i < g.rank; i++)
            if (g.extent[i] >= 0 && g.extent[i] != on->extent[i]) {
                Diagnostic *d = report(e, ARRAY_GRID, v->span, path);
                diag_label(d, report_span(e, grid->span), "%s",
                           type_text(e->module, type_field(grid->grid, 1), e->arena));
                return value_error(e);
            }
        g = *on;
    }
    return source_field(e, path, &g, rank > (int)wanted ? (uint32_t)shape[0] : 1, a->span);
}

/* ---- derivatives -------------------------------------------------------------------------- */

const Value *prelude_grad(Elab *e, const BuiltinInfo *info, const Arguments *a) {
    return derive_grad(e, argument_get(e, info, a, 0), a->span);
}

const Value *prelude_div(Elab *e, const BuiltinInfo *info, const Arguments *a) {
    return derive_div(e, argument_get(e, info, a, 0), a->span);
}

static bool read_accuracy(Elab *e, const Value *v, int *accuracy) {
    int64_t n = 2;
    if (v && !value_static_int(e, v, "an accuracy", 2, 8, &n)) return false;
    if (n % 2) {
        Diagnostic *d = report(e, ODD_ACCURACY, v->span, (int)n);
        diag_help(d, "central differences have the accuracies 2, 4, 6 and 8");
        return false;
    }
    *accuracy = (int)n;
    return true;
}

const Value *prelude_laplacian(Elab *e, const BuiltinInfo *info, const Arguments *a) {
    int accuracy;
    if (!read_accuracy(e, argument_get(e, info, a, 1), &accuracy)) return value_error(e);
    return derive_laplacian(e, argument_get(e, info, a, 0), accuracy, a->span);
}

const Value *prelude_partial(Elab *e, const BuiltinInfo *info, const Arguments *a) {
    int accuracy,
        orders[MAX_RANK] = {info->number % 10, info->number / 10 % 10, info->number / 100};
    if (!read_accuracy(e, argument_get(e, info, a, 1), &accuracy)) return value_error(e);
    const Value *v = argument_get(e, info, a, 0);
    for (int axis = 0; axis < MAX_RANK && v->kind != VALUE_ERROR; axis++)
        if (orders[axis]) v = derive_axis(e, v, axis, orders[axis], accuracy, a->span);
    return v;
}

const Value *prelude_d(Elab *e, const BuiltinInfo *info, const Arguments *a) {
    int accuracy;
    int64_t order = 1;
    const Value *axis = argument_get(e, info, a, 1), *asked = argument_get(e, info, a, 2);
    if (!read_accuracy(e, argument_get(e, info, a, 3), &accuracy)) return value_error(e);
    if (asked && !value_static_int(e, asked, "the order of a derivative", 1, 12, &order))
        return value_error(e);
    if (!axis || axis->kind != VALUE_STRING || axis->string.length != 1 ||
        axis->string.bytes[0] < 'x' || axis->string.bytes[0] > 'z') {
        Diagnostic *d = report(e, NOT_AN_AXIS, axis ? axis->span : a->span);
        diag_help(d, "d(u, x, order = 2, accuracy = 4), with x, y or z");
        return value_error(e);
    }
    return derive_axis(e, argument_get(e, info, a, 0), axis->string.bytes[0] - 'x', (int)order,
                       accuracy, a->span);
}

/* ---- stencils -------------------------------------------------------------------------------- */

typedef struct {
    uint32_t rank;
    uint32_t size[MAX_RANK]; /* slowest first */
    VEC(double) weights;
} Weights;

static bool read_weights(Elab *e, const Value *v, Weights *w, uint32_t level) {
    if (v->kind != VALUE_LIST) {
        double x;
        if (level != w->rank || !value_static(e, v, "the weight of a stencil", &x)) {
            if (level != w->rank) report(e, STENCIL_WEIGHTS, v->span);
            return false;
        }
        vec_push(&w->weights, x);
        return true;
    }
    if (level == w->rank && !w->weights.len && level < MAX_RANK && v->list.count)
        w->size[w->rank++] = v->list.count;
    if (level >= w->rank || v->list.count != w->size[level]) {
        report(e, STENCIL_WEIGHTS, v->span);
        return false;
    }
    for (uint32_t i = 0; i < v->list.count; i++)
        if (!read_weights(e, v->list.items[i], w, level + 1)) return false;
    return true;
}

const Value *prelude_stencil(Elab *e, const BuiltinInfo *info, const Arguments *a) {
    Weights w = {0};
    const Value *v = argument_get(e, info, a, 0);
    bool ok = v->kind == VALUE_LIST && read_weights(e, v, &w, 0);
    if (v->kind != VALUE_LIST) report(e, STENCIL_WEIGHTS, a->span);
    for (uint32_t i = 0; ok && i < w.rank; i++)
        if (w.size[i] % 2 == 0) {
            Diagnostic *d = report(e, STENCIL_EVEN, a->span, w.size[i]);
            diag_help(d, "the weight in the middle belongs to the cell itself: pad with a 0");
            ok = false;
        }
    for (uint32_t i = 0; ok && i < w.rank; i++)
        if (w.size[i] > 2 * STENCIL_REACH_MAX + 1) {
            Diagnostic *d = report(e, STENCIL_LONG, a->span, w.size[i], 2 * STENCIL_REACH_MAX + 1);
            diag_help(d, "compose(A, B) of two shorter ones reaches as far as both together");
            ok = false;
        }
    if (!ok) {
        vec_free(&w.weights);
        return value_error(e);
    }
    Stencil *s = ARENA_NEW(e->arena, Stencil);
    s->rank = w.rank;
    s->taps = ARENA_ARRAY(e->arena, Tap, w.weights.len);
    for (uint32_t i = 0; i < w.weights.len; i++) {
        if (w.weights.data[i] == 0) continue;
        Tap *tap = &s->taps[s->count++];
        tap->weight = w.weights.data[i];
        uint32_t rest = i;
        for (uint32_t axis = 0; axis < w.rank; axis++) { /* x is the last index */
            uint32_t size = w.size[w.rank - 1 - axis];
            tap->offset[axis] = (int32_t)(rest % size) - (int32_t)(size / 2);
            rest /= size;
        }
    }
    vec_free(&w.weights);
    Operator *op = ARENA_NEW(e->arena, Operator);
    *op = (Operator){.kind = OPERATOR_STENCIL, .span = a->span, .stencil = s};
    return value_operator(e, op, a->span);
}

const Value *prelude_side(Elab *e, const BuiltinInfo *info, const Arguments *a) {
    Value *v = value_new(e, VALUE_SIDE, a->span);
    v->side.side = (SideKind)info->number;
    v->side.value = argument_get(e, info, a, 0);
    return v;
}

/* ---- operators --------------------------------------------------------------------------------- */

static const Operator *want_operator(Elab *e, const Value *v) {
    if (v && v->kind == VALUE_OPERATOR) return v->op;
    if (v && v->kind != VALUE_ERROR) report(e, NOT_AN_OPERATOR, v->span, value_describe(e, v));
    return NULL;
}

const Value *prelude_compose(Elab *e, const BuiltinInfo *info, const Arguments *a) {
    (void)info;
    Operator *op = ARENA_NEW(e->arena, Operator);
    *op = (Operator){.kind = OPERATOR_COMPOSE, .span = a->span, .count = a->count};
    op->items = ARENA_ARRAY(e->arena, const Operator *, a->count);
    for (uint32_t i = 0; i < a->count; i++)
        if (!(op->items[i] = want_operator(e, a->items[i].value))) return value_error(e);
    return value_operator(e, op, a->span);
}

const Value *prelude_adjoint(Elab *e, const BuiltinInfo *info, const Arguments *a) {
    Operator *op = ARENA_NEW(e->arena, Operator);
    *op = (Operator){.kind = OPERATOR_ADJOINT, .span = a->span};
    if (!(op->a = want_operator(e, argument_get(e, info, a, 0)))) return value_error(e);
    return value_operator(e, op, a->span);
}

const Value *prelude_linearised(Elab *e, const BuiltinInfo *info, const Arguments *a) {
    Operator *op = ARENA_NEW(e->arena, Operator);
    *op = (Operator){.kind = (OperatorKind)info->number, .span = a->span};
    if (!(op->a = want_operator(e, argument_get(e, info, a, 0)))) return value_error(e);
    op->factor = argument_get(e, info, a, 1);
    return value_operator(e, op, a->span);
}

const Value *prelude_flow(Elab *e, const BuiltinInfo *info, const Arguments *a) {
    Operator *op = ARENA_NEW(e->arena, Operator);
    *op = (Operator){.kind = OPERATOR_FLOW, .span = a->span};
    if (!(op->a = want_operator(e, argument_get(e, info, a, 0)))) return value_error(e);
    op->name = op->a->name;
    return value_operator(e, op, a->span);
}

const Value *prelude_trajectory(Elab *e, const BuiltinInfo *info, const Arguments *a) {
    const Value *stride = argument_get(e, info, a, 1);
    int64_t n = 1;
    if (stride && !value_static_int(e, stride, "a stride", 1, 1e9, &n)) return value_error(e);
    Operator *op = ARENA_NEW(e->arena, Operator);
    *op = (Operator){.kind = OPERATOR_TRAJECTORY, .span = a->span, .count = (uint32_t)n};
    if (!(op->a = want_operator(e, argument_get(e, info, a, 0)))) return value_error(e);
    op->name = op->a->name;
    return value_operator(e, op, a->span);
}

const Value *prelude_diagonal(Elab *e, const BuiltinInfo *info, const Arguments *a) {
    const Operator *op = want_operator(e, argument_get(e, info, a, 0));
    return op ? operator_diagonal(e, op, argument_get(e, info, a, 1), a->span) : value_error(e);
}

const Value *prelude_stable(Elab *e, const BuiltinInfo *info, const Arguments *a) {
    const Operator *op = want_operator(e, argument_get(e, info, a, 0));
    return op ? prove_stable(e, op, argument_get(e, info, a, 1), a->span) : value_error(e);
}

const Value *prelude_lipschitz(Elab *e, const BuiltinInfo *info, const Arguments *a) {
    (void)info;
    const Operator *op = want_operator(e, a->items[0].value);
    Arguments rest = {a->items + 1, a->count - 1, a->span};
    return op ? prove_lipschitz(e, op, &rest) : value_error(e);
}

/* ---- colours of cells --------------------------------------------------------------------- */

static Node cell_op(Elab *e, Op op, Node a, Node b, Span span) {
    return graph_binary(e->module, e->frame->func, op, a, b, span);
}

Node cell_number(Elab *e, GridId grid, uint32_t axis, Span span) {
    const Grid g = e->module->grids.data[grid];
    FuncId f = e->frame->func;
    Node at = graph_add_typed(e->module, f, OP_COORD, type_field(grid, 1), NULL, 0, axis, 0, span);
    Node from = cell_op(e, OP_SUB, at, graph_const(e->module, f, g.origin[axis]), span);
    Node cells = cell_op(e, OP_DIV, from, graph_const(e->module, f, g.spacing[axis]), span);
    return graph_unary(e->module, f, OP_FLOOR, cells, span);
}

/* (i + j + k) mod 2 of the cells of u's grid. */
const Value *prelude_parity(Elab *e, const BuiltinInfo *info, const Arguments *a) {
    const Value *u = argument_get(e, info, a, 0);
    if (u->kind == VALUE_LIST && u->list.count) u = u->list.items[0];
    if (!value_is_field(e, u)) {
        if (u->kind != VALUE_ERROR) report(e, NOT_A_FIELD, a->span, value_describe(e, u));
        return value_error(e);
    }
    GridId grid = value_type(e, u).grid;
    Grid g = e->module->grids.data[grid];
    FuncId f = e->frame->func;
    Node sum = NODE_NONE;
    for (uint32_t axis = 0; axis < g.rank; axis++) {
        Node index = cell_number(e, grid, axis, a->span);
        sum = sum ? cell_op(e, OP_ADD, sum, index, a->span) : index;
    }
    return value_node(e, cell_op(e, OP_MOD, sum, graph_const(e->module, f, 2), a->span), NULL,
                      a->span);
}
