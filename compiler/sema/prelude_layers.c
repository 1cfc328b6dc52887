/* The prelude: what layers of networks are made of. Rows of numbers, sums by channel, means over a batch,
 * resampling. */
#include "compiler/sema/value.h"

#include <math.h>
#include <string.h>

static const Value *add(Elab *e, Op op, Node operand, uint32_t index, Span span) {
    return value_node(e, graph_add(e->module, e->frame->func, op, &operand, 1, index, 0, span),
                      NULL, span);
}

static const Value *not_a_field(Elab *e, const Value *v, Span span) {
    if (v->kind != VALUE_ERROR) report(e, NOT_A_FIELD, span, value_describe(e, v));
    return value_error(e);
}

/* ---- rows ------------------------------------------------------------------------------ */

const Value *prelude_row(Elab *e, const BuiltinInfo *info, const Arguments *a) {
    const Value *list = argument_get(e, info, a, 0);
    if (list->kind != VALUE_LIST || list->list.count == 0) {
        Diagnostic *d = report(e, NOT_A_LIST, a->span, value_describe(e, list));
        diag_help(d, "row([1, 2, 3]) is a row of three numbers");
        return value_error(e);
    }
    Node *numbers = ARENA_ARRAY(e->arena, Node, list->list.count);
    for (uint32_t i = 0; i < list->list.count; i++) {
        const Value *v = list->list.items[i];
        if (v->kind == VALUE_ERROR) return v;
        if (!value_is_scalar(e, v)) {
            report(e, NOT_A_NUMBER, v->span, "what a row is made of", value_describe(e, v));
            return value_error(e);
        }
        numbers[i] = value_to_node(e, v);
    }
    Node n = graph_add(e->module, e->frame->func, OP_ROW, numbers, list->list.count, 0, 0, a->span);
    return value_node(e, n, NULL, a->span);
}

const Value *row_entry(Elab *e, const Value *row, const Value *index, Span span) {
    const Grid *grid = &e->module->grids.data[value_type(e, row).grid];
    int64_t i;
    if (!value_static_int(e, index, "the index of a row", 0, (double)grid->extent[0] - 1, &i))
        return value_error(e);
    return add(e, OP_ENTRY, value_to_node(e, row), (uint32_t)i, span);
}

/* ---- sums by channel, means over a batch -------------------------------------------------- */

const Value *prelude_totals(Elab *e, const BuiltinInfo *info, const Arguments *a) {
    const Value *u = argument_get(e, info, a, 0);
    if (!value_is_field(e, u)) return not_a_field(e, u, a->span);
    const Value *sums = add(e, OP_TOTALS, value_to_node(e, u), 0, a->span);
    if (!info->number) return sums;
    const Value *operands[2] = {sums, cells_of(e, value_type(e, u).grid, a->span)};
    return eval_pointwise(e, OP_DIV, operands, 2, a->span);
}

static const Value *batch_mean(Elab *e, const Value *x, Span span) {
    if (x->kind == VALUE_ERROR || x->kind == VALUE_NUMBER) return x;
    if (x->kind == VALUE_LIST) {
        const Value **items = ARENA_ARRAY(e->arena, const Value *, x->list.count);
        for (uint32_t i = 0; i < x->list.count; i++)
            items[i] = batch_mean(e, x->list.items[i], span);
        return value_list(e, items, x->list.count, span);
    }
    if (!value_is_scalar(e, x) && !value_is_field(e, x)) return not_a_field(e, x, span);
    if (!e->training) return x; /* one sample is its own mean */
    Node n = value_to_node(e, x);
    return value_node(e, graph_unary(e->module, e->frame->func, OP_BATCHMEAN, n, span),
                      boundary_like(e, x), span);
}

const Value *prelude_batch_mean(Elab *e, const BuiltinInfo *info, const Arguments *a) {
    return batch_mean(e, argument_get(e, info, a, 0), a->span);
}

/* ---- smoothing on the fine grid ------------------------------------------------------------ */

/* u with these sides, smoothed along every axis by the trapezoidal rule over `width` cells (even): weights 1/width,
 * half of that at both ends. Of constants on coarse cells of that width it makes the linear interpolation
 * between their centres, and its mean over such cells is weighted by hat functions: the transpose. */
static const Value *smoothed(Elab *e, const Value *u, const Boundary *b, int64_t width, Span span) {
    uint32_t rank = e->module->grids.data[value_type(e, u).grid].rank;
    bool odd[MAX_RANK] = {false, false, false};
    for (uint32_t axis = 0; axis < rank && u->kind != VALUE_ERROR; axis++) {
        Tap *taps = ARENA_ARRAY(e->arena, Tap, (size_t)width + 1);
        Stencil s = {.rank = rank, .taps = taps};
        for (int64_t i = 0; i <= width; i++) {
            Tap *tap = &taps[s.count++];
            tap->weight = (i == 0 || i == width ? 0.5 : 1.0) / (double)width;
            tap->offset[axis] = (int32_t)(i - width / 2);
        }
        u = derive_stencil(e, value_node(e, value_to_node(e, u), b, span), &s, odd, span);
    }
    return u;
}

static const Value *plain(Elab *e, const Value *u, Span span) {
    return u->kind == VALUE_ERROR ? u : value_node(e, value_to_node(e, u), NULL, span);
}

/* ---- the next coarser and finer grid ---------------------------------------------------------- */

/* u on the finer grid that it was restricted from, or one of twice as many cells. */
static const Value *on_finer(Elab *e, Node n, Span span) {
    GridId coarse = graph_node(graph_get(e->module, e->frame->func), n)->type.grid;
    GridId fine = e->module->grids.data[coarse].finer;
    return add(e, OP_PROLONG, n, fine ? graph_resample(e->module, fine, coarse) : RESAMPLE_MEAN,
               span);
}

typedef struct {
    Op op;
    int64_t order;
    bool fit; /* to the fitted grid */
} Resampling;

static const Value *on_next(Elab *e, const Resampling *r, Node n, Span span) {
    if (r->op == OP_PROLONG) return on_finer(e, n, span);
    GridId fine = graph_node(graph_get(e->module, e->frame->func), n)->type.grid;
    Resample how = RESAMPLE_MEAN;
    if (r->fit && r->op == OP_RESTRICT)
        how = graph_resample(e->module, fine, graph_fitted(e->module, fine));
    return add(e, r->op, n, how, span);
}

/* The sides of a coarse field, for what it becomes on the finer grid: the ghost that a slope gives lies
 * twice as far away, or by the ratio of the spacings. */
static const Boundary *finer_sides(Elab *e, const Boundary *b, GridId grid, Span span) {
    if (!b) return NULL;
    Boundary *fine = ARENA_NEW(e->arena, Boundary);
    *fine = *b;
    fine->gradient = false;
    Grid coarse = e->module->grids.data[grid];
    for (int a = 0; a < MAX_RANK; a++)
        for (int s = 0; s < 2; s++) {
            Node *value = &fine->value[a][s];
            if (!*value) continue;
            FuncId f = e->frame->func;
            if (graph_node(graph_get(e->module, f), *value)->type.kind == TYPE_FIELD)
                *value = value_to_node(e, on_finer(e, *value, span));
            if (b->kind[a][s] != SIDE_SLOPE) continue;
            double far = 2;
            if (coarse.finer != GRID_NONE)
                far = coarse.spacing[a] / e->module->grids.data[coarse.finer].spacing[a];
            *value =
                graph_binary(e->module, f, OP_MUL, *value, graph_const(e->module, f, far), span);
        }
    return fine;
}

/* Of order 2: linear interpolation between the centres of coarse cells, and its transpose, divided by
 * the number of finer cells. */
static const Value *resample_smooth(Elab *e, const Value *u, const void *what, Span span) {
    const Boundary *b = value_boundary(e, u);
    const Resampling *r = what;
    if (r->op == OP_PROLONG) {
        const Value *v = on_finer(e, value_to_node(e, u), span);
        const Boundary *sides = finer_sides(e, b, value_type(e, u).grid, span);
        return plain(e, smoothed(e, v, sides, 2, span), span);
    }
    const Value *v = smoothed(e, u, b, 2, span);
    return v->kind == VALUE_ERROR ? v : on_next(e, r, value_to_node(e, v), span);
}

/* The sides of u, for what it becomes on the next grid; those with values are not kept. */
static const Boundary *kept_sides(Elab *e, const Value *u) {
    const Boundary *b = value_boundary(e, u);
    if (!b || b->left || b->reason) return NULL;
    for (int a = 0; a < MAX_RANK; a++)
        if (b->value[a][0] || b->value[a][1]) return NULL;
    Boundary *kept = ARENA_NEW(e->arena, Boundary);
    *kept = *b;
    kept->gradient = false;
    return kept;
}

static const Value *resample(Elab *e, const Resampling *r, const Value *u, Span span) {
    if (u->kind == VALUE_LIST) {
        const Value **items = ARENA_ARRAY(e->arena, const Value *, u->list.count);
        for (uint32_t i = 0; i < u->list.count; i++)
            items[i] = resample(e, r, u->list.items[i], span);
        return value_list(e, items, u->list.count, span);
    }
    if (!value_is_field(e, u)) return not_a_field(e, u, span);
    Node n = value_to_node(e, u);
    Type t;
    const char *why = NULL;
    if (!op_shape(e->module, e->frame->func, r->op, &n, 1, 0, 0, &t, &why)) {
        report(e, SHAPE, span, why);
        return value_error(e);
    }
    const Value *v =
        r->order == 2 ? take_apart(e, u, resample_smooth, r, span) : on_next(e, r, n, span);
    return v->kind == VALUE_NODE ? value_node(e, value_to_node(e, v), kept_sides(e, u), span) : v;
}

const Value *prelude_resample(Elab *e, const BuiltinInfo *info, const Arguments *a) {
    const Value *u = argument_get(e, info, a, 0), *given = argument_get(e, info, a, 1);
    Resampling r = {info->op, 1, false};
    if (given && !value_static_int(e, given, "the order of resampling", 1, 2, &r.order))
        return value_error(e);
    const Value *fit = info->op == OP_RESTRICT ? argument_get(e, info, a, 2) : NULL;
    double fits = 0;
    if (fit && !value_static(e, fit, "'fit'", &fits)) return value_error(e);
    r.fit = fits != 0;
    return resample(e, &r, u, a->span);
}

/* ---- resize ------------------------------------------------------------------------------------ */

typedef enum { RESIZE_NEAREST, RESIZE_BILINEAR, RESIZE_AREA } Method;

#define RESIZE_LEVELS 6

static bool read_scale(Elab *e, const Value *v, int *levels) {
    double scale;
    int exponent;
    if (!value_static(e, v, "the factor of a resize", &scale)) return false;
    bool power = isfinite(scale) && frexp(scale, &exponent) == 0.5;
    *levels = power ? exponent - 1 : 0;
    if (power && *levels <= RESIZE_LEVELS && *levels >= -RESIZE_LEVELS) return true;
    Diagnostic *d = report(e, RESIZE_SCALE, v->span, scale);
    diag_help(d, "the factor is a power of two from 1/%d to %d: 1/4, 1/2, 2, 4 …",
              1 << RESIZE_LEVELS, 1 << RESIZE_LEVELS);
    return false;
}

static bool read_method(Elab *e, const Value *v, Method *method) {
    static const char *const names[] = {"nearest", "bilinear", "area"};
    *method = RESIZE_BILINEAR;
    if (!v) return true;
    for (int i = 0; v->kind == VALUE_STRING && i < 3; i++)
        if (strlen(names[i]) == v->string.length &&
            memcmp(names[i], v->string.bytes, v->string.length) == 0) {
            *method = (Method)i;
            return true;
        }
    Diagnostic *d = report(e, RESIZE_METHOD, v->span, value_describe(e, v));
    diag_help(d, "nearest, bilinear and area are: resize(u, 2, nearest)");
    return false;
}

/* The mean of the two cells beside the centre of each block of `width`, in its first cell. */
static const Value *middle_cells(Elab *e, const Value *u, int64_t width, Span span) {
    uint32_t rank = e->module->grids.data[value_type(e, u).grid].rank;
    bool odd[MAX_RANK] = {false, false, false};
    for (uint32_t axis = 0; axis < rank && u->kind != VALUE_ERROR; axis++) {
        Tap *taps = ARENA_ARRAY(e->arena, Tap, 2);
        for (int i = 0; i < 2; i++) {
            taps[i].weight = 0.5;
            taps[i].offset[axis] = (int32_t)(width / 2 - 1 + i);
        }
        Stencil s = {.rank = rank, .taps = taps, .count = 2};
        u = plain(e, derive_stencil(e, plain(e, u, span), &s, odd, span), span);
    }
    return u;
}

static const Value *resize(Elab *e, const Value *u, int levels, Method method, Span span) {
    if (u->kind == VALUE_LIST) {
        const Value **items = ARENA_ARRAY(e->arena, const Value *, u->list.count);
        for (uint32_t i = 0; i < u->list.count; i++)
            items[i] = resize(e, u->list.items[i], levels, method, span);
        return value_list(e, items, u->list.count, span);
    }
    if (!value_is_field(e, u)) return not_a_field(e, u, span);
    int64_t width = (int64_t)1 << (levels < 0 ? -levels : levels);
    u = plain(e, u, span); /* beyond the sides the cells there go on */
    if (levels < 0 && method == RESIZE_BILINEAR) u = middle_cells(e, u, width, span);
    for (int i = levels; i < 0 && u->kind != VALUE_ERROR; i++)
        u = add(e, OP_RESTRICT, value_to_node(e, u), method != RESIZE_AREA, span);
    for (int i = 0; i < levels && u->kind != VALUE_ERROR; i++)
        u = resample(e, &(Resampling){OP_PROLONG, 1, false}, u, span);
    if (levels > 0 && method == RESIZE_BILINEAR && u->kind != VALUE_ERROR)
        u = plain(e, smoothed(e, u, NULL, width, span), span);
    return u;
}

const Value *prelude_resize(Elab *e, const BuiltinInfo *info, const Arguments *a) {
    const Value *u = argument_get(e, info, a, 0), *scale = argument_get(e, info, a, 1);
    int levels;
    Method method;
    if (!scale) {
        report(e, ARGUMENT_COUNT, a->span, info->name, info->least, " to 3", "s", (int)a->count);
        return value_error(e);
    }
    if (!read_scale(e, scale, &levels) || !read_method(e, argument_get(e, info, a, 2), &method))
        return value_error(e);
    return resize(e, u, levels, method, a->span);
}
