/* The prelude: pointwise functions, reductions, channels, places. */
#include "compiler/sema/param.h"
#include "compiler/sema/value.h"

#include <math.h>
#include <string.h>

static const Value *first(const Arguments *a) { return a->items[0].value; }

static const Value *num(Elab *e, double x, Span span) { return value_number(e, x, span); }

static const Value *point1(Elab *e, Op op, const Value *a, Span span) {
    return eval_pointwise(e, op, &a, 1, span);
}

static const Value *point2(Elab *e, Op op, const Value *a, const Value *b, Span span) {
    const Value *operands[2] = {a, b};
    return eval_pointwise(e, op, operands, 2, span);
}

const Value *prelude_pointwise(Elab *e, const BuiltinInfo *info, const Arguments *a) {
    const Value *operands[3] = {NULL, NULL, NULL};
    for (int i = 0; i < info->least; i++) {
        operands[i] = argument_get(e, info, a, (uint32_t)i);
        if (!operands[i]) {
            report(e, ARGUMENT_COUNT, a->span, info->name, info->least, "", "s", (int)a->count);
            return value_error(e);
        }
    }
    return eval_pointwise(e, info->op, operands, (uint32_t)info->least, a->span);
}

const Value *prelude_clamp(Elab *e, const BuiltinInfo *info, const Arguments *a) {
    const Value *x = argument_get(e, info, a, 0), *low = argument_get(e, info, a, 1),
                *high = argument_get(e, info, a, 2);
    return point2(e, OP_MIN, point2(e, OP_MAX, x, low, a->span), high, a->span);
}

const Value *prelude_relu(Elab *e, const BuiltinInfo *info, const Arguments *a) {
    (void)info;
    return point2(e, OP_MAX, first(a), num(e, 0, a->span), a->span);
}

/* x/2 (1 + erf(x/√2)): D. Hendrycks, K. Gimpel, Gaussian error linear units, 2016 */
const Value *prelude_gelu(Elab *e, const BuiltinInfo *info, const Arguments *a) {
    (void)info;
    Span s = a->span;
    const Value *x = first(a),
                *t = point1(e, OP_ERFC, point2(e, OP_MUL, x, num(e, -M_SQRT1_2, s), s), s);
    return point2(e, OP_MUL, point2(e, OP_MUL, num(e, 0.5, s), x, s), t, s);
}

const Value *prelude_silu(Elab *e, const BuiltinInfo *info, const Arguments *a) {
    (void)info;
    return point2(e, OP_MUL, first(a), point1(e, OP_SIGMOID, first(a), a->span), a->span);
}

/* ---- reductions -------------------------------------------------------------------- */

/* What makes a field of an operator. */
static void help_apply(Elab *e, Diagnostic *d, const Operator *op) {
    const char *name = operator_name(e, op);
    if (op->kind == OPERATOR_DEF && op->configured)
        diag_help(d, "it has its configuration, and acts on a second list of arguments: %s(…)(u)",
                  name);
    else
        diag_help(d, "an operator gives a field when it is applied: %s(u)", name);
}

/* Numbers are their own sum; lists give what their items give, combined. */
static const Value *reduce(Elab *e, Op op, Op combine, const Value *v, Span span) {
    if (v->kind == VALUE_LIST && v->list.count) {
        const Value *all = reduce(e, op, combine, v->list.items[0], span);
        for (uint32_t i = 1; i < v->list.count; i++)
            all = point2(e, combine, all, reduce(e, op, combine, v->list.items[i], span), span);
        return all;
    }
    if (v->kind == VALUE_NUMBER) return v;
    if (v->kind == VALUE_ERROR) return v;
    if (v->kind != VALUE_NODE || value_type(e, v).kind == TYPE_STACK) {
        Diagnostic *d = report(e, NOT_A_FIELD, span, value_describe(e, v));
        if (v->kind == VALUE_NODE)
            diag_help(d, "last(film) is its last field");
        else if (v->kind == VALUE_OPERATOR)
            help_apply(e, d, v->op);
        return value_error(e);
    }
    if (!value_is_field(e, v)) return v;
    Node n = value_to_node(e, v);
    return value_node(e, graph_add(e->module, e->frame->func, op, &n, 1, 0, 0, span), NULL, span);
}

const Value *prelude_extreme(Elab *e, const BuiltinInfo *info, const Arguments *a) {
    if (a->count == 1) return reduce(e, (Op)info->number, info->op, first(a), a->span);
    const Value *v = first(a);
    for (uint32_t i = 1; i < a->count; i++) v = point2(e, info->op, v, a->items[i].value, a->span);
    return v;
}

const Value *prelude_sum(Elab *e, const BuiltinInfo *info, const Arguments *a) {
    (void)info;
    return reduce(e, OP_SUM, OP_ADD, first(a), a->span);
}

const Value *cells_of(Elab *e, GridId grid, Span span) {
    const Grid *g = &e->module->grids.data[grid];
    double cells = 1;
    for (uint32_t i = 0; i < g->rank; i++)
        cells = g->extent[i] < 0 ? NAN : cells * (double)g->extent[i];
    if (!isnan(cells)) return num(e, cells, span);
    Node n =
        graph_add_typed(e->module, e->frame->func, OP_CELLS, type_scalar(), NULL, 0, grid, 0, span);
    return value_node(e, n, NULL, span);
}

static const Value *count_of(Elab *e, const Value *v, Span span) {
    if (v->kind == VALUE_LIST) {
        const Value *all = num(e, 0, span);
        for (uint32_t i = 0; i < v->list.count; i++)
            all = point2(e, OP_ADD, all, count_of(e, v->list.items[i], span), span);
        return all;
    }
    if (!value_is_field(e, v)) return num(e, 1, span);
    Type t = value_type(e, v);
    return point2(e, OP_MUL, cells_of(e, t.grid, span), num(e, t.channels, span), span);
}

const Value *prelude_mean(Elab *e, const BuiltinInfo *info, const Arguments *a) {
    (void)info;
    const Value *sum = reduce(e, OP_SUM, OP_ADD, first(a), a->span);
    if (sum->kind == VALUE_ERROR) return sum;
    return point2(e, OP_DIV, sum, count_of(e, first(a), a->span), a->span);
}

const Value *prelude_integral(Elab *e, const BuiltinInfo *info, const Arguments *a) {
    (void)info;
    if (!value_is_field(e, first(a))) {
        report(e, NOT_A_FIELD, a->span, value_describe(e, first(a)));
        return value_error(e);
    }
    const Grid *g = &e->module->grids.data[value_type(e, first(a)).grid];
    double volume = 1;
    for (uint32_t i = 0; i < g->rank; i++) volume *= g->spacing[i];
    return point2(e, OP_MUL, reduce(e, OP_SUM, OP_ADD, first(a), a->span), num(e, volume, a->span),
                  a->span);
}

const Value *prelude_norm(Elab *e, const BuiltinInfo *info, const Arguments *a) {
    const Value *u = argument_get(e, info, a, 0), *grid = argument_get(e, info, a, 1);
    if (u && u->kind == VALUE_OPERATOR && u->op->kind == OPERATOR_CONV && !grid)
        return conv_norm(e, u->op, a->span);
    if (u && u->kind == VALUE_OPERATOR) return prove_norm(e, u->op, grid, a->span);
    if (!u || grid) {
        report(e, NORM_OF, a->span);
        return value_error(e);
    }
    const Value *square = point2(e, OP_MUL, u, u, a->span);
    if (square->kind == VALUE_ERROR) return square;
    return point1(e, OP_SQRT, reduce(e, OP_SUM, OP_ADD, square, a->span), a->span);
}

/* ---- channels ------------------------------------------------------------------------- */

static const Value *over_channels(Elab *e, const Value *v, Span span) {
    if (v->kind == VALUE_ERROR || !value_is_field(e, v) || value_type(e, v).channels == 1) return v;
    Node n = value_to_node(e, v);
    return value_node(e, graph_add(e->module, e->frame->func, OP_CHSUM, &n, 1, 0, 0, span), NULL,
                      span);
}

/* norm2 and dot give what stands in the cells: no boundary is inherited (docs/language.md, "Boundaries"). */
static const Value *without_boundary(Elab *e, const Value *v, Span span) {
    return v->kind == VALUE_NODE ? value_node(e, value_to_node(e, v), NULL, span) : v;
}

const Value *prelude_norm2(Elab *e, const BuiltinInfo *info, const Arguments *a) {
    (void)info;
    return without_boundary(
        e, over_channels(e, point2(e, OP_MUL, first(a), first(a), a->span), a->span), a->span);
}

const Value *prelude_dot(Elab *e, const BuiltinInfo *info, const Arguments *a) {
    const Value *u = argument_get(e, info, a, 0), *v = argument_get(e, info, a, 1);
    return without_boundary(e, over_channels(e, point2(e, OP_MUL, u, v, a->span), a->span),
                            a->span);
}

const Value *prelude_concat(Elab *e, const BuiltinInfo *info, const Arguments *a) {
    (void)info;
    const Value *list = a->count == 1 && first(a)->kind == VALUE_LIST ? first(a) : NULL;
    uint32_t n = list ? list->list.count : a->count;
    Node *nodes = ARENA_ARRAY(e->arena, Node, n + 1);
    for (uint32_t i = 0; i < n; i++) {
        const Value *v = list ? list->list.items[i] : a->items[i].value;
        if (!value_is_field(e, v)) {
            report(e, NOT_A_FIELD, v->span, value_describe(e, v));
            return value_error(e);
        }
        nodes[i] = value_to_node(e, v);
    }
    Type t;
    const char *why = NULL;
    if (!n || !op_shape(e->module, e->frame->func, OP_CONCAT, nodes, n, 0, 0, &t, &why)) {
        report(e, SHAPE, a->span, why ? why : "concat() needs fields");
        return value_error(e);
    }
    /* the sides of the first, where all agree; values differ by channel and are not kept */
    const Boundary *b = list ? NULL : value_boundary(e, first(a));
    for (uint32_t i = 1; b && i < n; i++) {
        const Boundary *other = value_boundary(e, a->items[i].value);
        if (!other || memcmp(other->kind, b->kind, sizeof b->kind) != 0) b = NULL;
    }
    if (b && (b->left || b->reason)) b = NULL;
    for (int i = 0; b && i < MAX_RANK; i++)
        if (b->value[i][0] || b->value[i][1]) b = NULL;
    return value_node(e, graph_add(e->module, e->frame->func, OP_CONCAT, nodes, n, 0, 0, a->span),
                      b, a->span);
}

const Value *prelude_channel(Elab *e, const BuiltinInfo *info, const Arguments *a) {
    const Value *u = argument_get(e, info, a, 0), *i = argument_get(e, info, a, 1);
    if (!u || !i || !value_is_field(e, u)) {
        report(e, NOT_A_FIELD, a->span, u ? value_describe(e, u) : "nothing");
        return value_error(e);
    }
    uint32_t channels = value_type(e, u).channels;
    int64_t first, last;
    if (i->kind == VALUE_RANGE) {
        if (!value_static_int(e, num(e, i->range.first, i->span), "the first channel", 0,
                              channels - 1, &first) ||
            !value_static_int(e, num(e, i->range.last, i->span), "the end of the channels",
                              (double)first + 1, channels, &last))
            return value_error(e);
    } else {
        if (!value_static_int(e, i, "a channel", 0, channels - 1, &first)) return value_error(e);
        last = first + 1;
    }
    Node n = value_to_node(e, u), *parts = ARENA_ARRAY(e->arena, Node, (size_t)(last - first));
    for (int64_t c = first; c < last; c++)
        parts[c - first] =
            graph_add(e->module, e->frame->func, OP_CHANNEL, &n, 1, (uint32_t)c, 0, a->span);
    n = graph_add(e->module, e->frame->func, OP_CONCAT, parts, (uint32_t)(last - first), 0, 0,
                  a->span);
    return value_node(e, n, boundary_like(e, u), a->span);
}

const Value *prelude_channels(Elab *e, const BuiltinInfo *info, const Arguments *a) {
    (void)info;
    if (value_is_field(e, first(a))) return num(e, value_type(e, first(a)).channels, a->span);
    report(e, NOT_A_FIELD, a->span, value_describe(e, first(a)));
    return value_error(e);
}

const Value *prelude_cells(Elab *e, const BuiltinInfo *info, const Arguments *a) {
    (void)info;
    if (value_is_field(e, first(a))) return cells_of(e, value_type(e, first(a)).grid, a->span);
    report(e, NOT_A_FIELD, a->span, value_describe(e, first(a)));
    return value_error(e);
}

/* ---- places and shapes --------------------------------------------------------------------- */

/* (shift(u, dx, dy))(i, j) = u(i + dx, j + dy) */
const Value *prelude_shift(Elab *e, const BuiltinInfo *info, const Arguments *a) {
    Tap tap = {.weight = 1};
    uint32_t rank = 1;
    for (uint32_t i = 0; i < MAX_RANK; i++) {
        const Value *v = argument_get(e, info, a, i + 1);
        int64_t offset;
        if (!v) continue;
        if (!value_static_int(e, v, "a shift", -STENCIL_REACH_MAX, STENCIL_REACH_MAX, &offset))
            return value_error(e);
        tap.offset[i] = (int32_t)offset;
        rank = i + 1;
    }
    Stencil s = {.rank = rank, .taps = &tap, .count = 1};
    bool odd[MAX_RANK] = {false, false, false};
    return derive_stencil(e, argument_get(e, info, a, 0), &s, odd, a->span);
}

static const Value *for_each_like(Elab *e, const BuiltinInfo *info, const Value *like, Span span);

static const Value *like_list(Elab *e, const BuiltinInfo *info, const Value *like, Span span) {
    const Value **items = ARENA_ARRAY(e->arena, const Value *, like->list.count);
    for (uint32_t i = 0; i < like->list.count; i++)
        items[i] = for_each_like(e, info, like->list.items[i], span);
    return value_list(e, items, like->list.count, span);
}

/* Noise of a number of its own; in recurrences other noise at each step. */
static const Value *draw(Elab *e, Op op, Type type, Span span) {
    VEC(Node) steps = {0}, outermost_first = {0};
    for (Frame *f = e->frame; f; f = f->parent)
        if (f->step) vec_push(&steps, frame_use(e, f, f->step));
    while (steps.len) vec_push(&outermost_first, vec_pop(&steps));
    Node n = graph_add_typed(e->module, e->frame->func, op, type, outermost_first.data,
                             outermost_first.len, e->streams++, 0, span);
    vec_free(&steps);
    vec_free(&outermost_first);
    return value_node(e, n, NULL, span);
}

static const Value *for_each_like(Elab *e, const BuiltinInfo *info, const Value *like, Span span) {
    if (like->kind == VALUE_LIST) return like_list(e, info, like, span);
    if (!value_is_field(e, like)) {
        Diagnostic *d = report(e, NOT_A_FIELD, span, value_describe(e, like));
        diag_help(d, "%s(u) is shaped like the field u; on a grid G, %s(G.x)", info->name,
                  info->name);
        return value_error(e);
    }
    Type t = value_type(e, like);
    if (info->op) return draw(e, info->op, t, span);
    Node c = graph_const(e->module, e->frame->func, info->number);
    Node one = graph_add_typed(e->module, e->frame->func, OP_SPREAD, type_field(t.grid, 1), &c, 1,
                               0, 0, span);
    if (t.channels > 1) {
        Node *all = ARENA_ARRAY(e->arena, Node, t.channels);
        for (uint32_t i = 0; i < t.channels; i++) all[i] = one;
        one = graph_add(e->module, e->frame->func, OP_CONCAT, all, t.channels, 0, 0, span);
    }
    return value_node(e, one, NULL, span);
}

const Value *prelude_random(Elab *e, const BuiltinInfo *info, const Arguments *a) {
    return for_each_like(e, info, first(a), a->span);
}

const Value *prelude_fill(Elab *e, const BuiltinInfo *info, const Arguments *a) {
    return for_each_like(e, info, first(a), a->span);
}

/* ---- lists and films -------------------------------------------------------------------------- */

static bool is_film(Elab *e, const Value *v) {
    return v->kind == VALUE_NODE && value_type(e, v).kind == TYPE_STACK;
}

/* Frames of a film whose loop is in the current function and as long as is known while elaborating; else -1. */
static int64_t known_frames(Elab *e, Node film) {
    const Func *f = graph_get(e->module, e->frame->func);
    if (graph_node(f, film)->op != OP_RESULT) return -1;
    Node loop = graph_operand(f, film, 0);
    if (graph_node(f, loop)->op != OP_LOOP) return -1;
    const Loop *l = &e->module->loops.data[graph_node(f, loop)->index];
    const NodeData *count = graph_node(f, graph_operand(f, loop, 0));
    if (l->has_stop || count->op != OP_CONST || !(count->number >= 0 && count->number < 1e15))
        return -1;
    return (int64_t)count->number / l->stride + 1;
}

const Value *film_frame(Elab *e, const Value *film, const Value *index, Span span) {
    Node operands[2] = {value_to_node(e, film), value_to_node(e, index)};
    int64_t frames = known_frames(e, operands[0]), number;
    if (frames >= 0 && index->kind == VALUE_NUMBER &&
        !value_static_int(
            e, index, arena_format(e->arena, "the index into a film of %lld", (long long)frames),
            -(double)frames, (double)(frames - 1), &number))
        return value_error(e);
    return value_node(e, graph_add(e->module, e->frame->func, OP_FRAME, operands, 2, 0, 0, span),
                      NULL, span);
}

static const Value *frame_of(Elab *e, const Value *film, double index, Span span) {
    return film_frame(e, film, num(e, index, span), span);
}

const Value *prelude_length(Elab *e, const BuiltinInfo *info, const Arguments *a) {
    (void)info;
    const Value *v = first(a);
    if (v->kind == VALUE_LIST && v->list.count && is_film(e, v->list.items[0]))
        v = v->list.items[0];
    if (v->kind == VALUE_LIST) return num(e, v->list.count, a->span);
    if (v->kind == VALUE_NODE && type_is_row(e->module, value_type(e, v)))
        return num(e, (double)e->module->grids.data[value_type(e, v).grid].extent[0], a->span);
    if (is_film(e, v)) {
        Node n = value_to_node(e, v);
        return value_node(e, graph_add(e->module, e->frame->func, OP_FRAMES, &n, 1, 0, 0, a->span),
                          NULL, a->span);
    }
    report(e, NOT_A_LIST, a->span, value_describe(e, v));
    return value_error(e);
}

const Value *prelude_end(Elab *e, const BuiltinInfo *info, const Arguments *a) {
    const Value *v = first(a);
    if (is_film(e, v)) return frame_of(e, v, info->number, a->span);
    if (v->kind == VALUE_LIST && v->list.count) {
        if (!is_film(e, v->list.items[0]))
            return v->list.items[info->number ? v->list.count - 1 : 0];
        const Value **items =
            ARENA_ARRAY(e->arena, const Value *, v->list.count); /* a film of a system */
        for (uint32_t i = 0; i < v->list.count; i++)
            items[i] = frame_of(e, v->list.items[i], info->number, a->span);
        return value_list(e, items, v->list.count, a->span);
    }
    report(e, NOT_A_LIST, a->span, value_describe(e, v));
    return value_error(e);
}

/* A list without its first item. */
const Value *prelude_rest(Elab *e, const BuiltinInfo *info, const Arguments *a) {
    const Value *v = first(a);
    (void)info;
    if (v->kind == VALUE_LIST && v->list.count)
        return value_list(e, v->list.items + 1, v->list.count - 1, a->span);
    report(e, NOT_A_LIST, a->span, value_describe(e, v));
    return value_error(e);
}

/* Lists one after the other. */
const Value *prelude_join(Elab *e, const BuiltinInfo *info, const Arguments *a) {
    uint32_t count = 0;
    (void)info;
    for (uint32_t i = 0; i < a->count; i++) {
        const Value *v = a->items[i].value;
        if (v->kind != VALUE_LIST) {
            report(e, NOT_A_LIST, v->span, value_describe(e, v));
            return value_error(e);
        }
        count += v->list.count;
    }
    const Value **items = ARENA_ARRAY(e->arena, const Value *, count + 1);
    for (uint32_t i = 0, at = 0; i < a->count; i++) {
        const Value *v = a->items[i].value;
        for (uint32_t k = 0; k < v->list.count; k++) items[at++] = v->list.items[k];
    }
    return value_list(e, items, count, a->span);
}
