/* Trainable convolutions: conv(1 -> 16, size = 5), their application, adjoint and norm. */
#include "compiler/sema/param.h"

#include <math.h>
#include <string.h>

/* ---- conv(…) --------------------------------------------------------------------------- */

static bool read_int(Elab *e, const Value *v, const char *what, double most, int64_t *out) {
    return !v || value_static_int(e, v, what, 1, most, out);
}

enum { MOST_CHANNELS = 65536 };

static bool read_channels(Elab *e, const Value *v, ConvSpec *c) {
    if (v->kind == VALUE_ERROR) return false;
    if (v->kind != VALUE_ARROW) {
        Diagnostic *d = report(e, CONV_CHANNELS, v->span, value_describe(e, v));
        diag_help(d, "conv(1 -> 16, size = 5) takes 1 channel and gives 16");
        return false;
    }
    if (v->range.first > MOST_CHANNELS || v->range.last > MOST_CHANNELS) {
        report(e, CONV_CHANNELS_MOST, v->span, MOST_CHANNELS, fmax(v->range.first, v->range.last));
        return false;
    }
    c->in = (int64_t)v->range.first;
    c->out = (int64_t)v->range.last;
    return true;
}

/* size = 5, or one for each axis, the slowest first as in arrays: size = [3, 5]. */
static bool read_size(Elab *e, const Value *v, ConvSpec *c) {
    enum { MOST = 255 };
    if (!v) return true;
    if (v->kind != VALUE_LIST)
        return read_int(e, v, "the size of a convolution", MOST, &c->size[0]);
    if (v->list.count < 1 || v->list.count > MAX_RANK) {
        report(e, LIST_EXPECTED, v->span, 2u, value_describe(e, v));
        return false;
    }
    c->rank = v->list.count;
    for (uint32_t a = 0; a < c->rank; a++)
        if (!read_int(e, v->list.items[c->rank - 1 - a], "the size of a convolution", MOST,
                      &c->size[a]))
            return false;
    return true;
}

const Value *conv_init(Elab *e, const Env *env, const Expr *x) {
    static const struct {
        const char *name;
        PdnInitKind kind;
        uint32_t numbers;
    } forms[] = {{"normal", PDN_INIT_NORMAL, 1},
                 {"uniform", PDN_INIT_UNIFORM, 2},
                 {"constant", PDN_INIT_CONSTANT, 1}};
    if (x->kind != EXPR_CALL || x->call.callee->kind != EXPR_NAME) return NULL;
    const char *name = names_text(e->names, x->call.callee->name);
    for (size_t f = 0; f < sizeof forms / sizeof *forms; f++) {
        if (strcmp(forms[f].name, name) != 0 || x->call.count != forms[f].numbers) continue;
        double number[2] = {0, 0};
        for (uint32_t i = 0; i < x->call.count; i++)
            if (!value_static(e, eval_expr(e, env, x->call.args[i].value),
                              "how a convolution starts", &number[i]))
                return value_error(e);
        Value *v = value_new(e, VALUE_INIT, x->span);
        v->init = (PdnInit){forms[f].kind, number[0], number[1]};
        if (v->init.kind == PDN_INIT_NORMAL) v->init = (PdnInit){PDN_INIT_NORMAL, 0, number[0]};
        return start_possible(e, &v->init, x->span) ? v : value_error(e);
    }
    return NULL;
}

static bool read_init(Elab *e, const Value *v, ConvSpec *c) {
    if (!v) return true;
    if (v->kind == VALUE_INIT) {
        c->init = v->init;
        return true;
    }
    static const struct {
        const char *name;
        PdnInit init;
    } words[] = {{"zeros", {PDN_INIT_CONSTANT, 0, 0}},
                 {"ones", {PDN_INIT_CONSTANT, 1, 0}},
                 {"normal", {PDN_INIT_NORMAL, 0, 1}},
                 {"uniform", {PDN_INIT_UNIFORM, 0, 1}}};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (value_is_builtin(v, words[i].name)) {
            c->init = words[i].init;
            return true;
        }
    if (v->kind == VALUE_NUMBER) {
        c->init = (PdnInit){PDN_INIT_CONSTANT, v->number, 0};
        return true;
    }
    Diagnostic *d = report(e, CONV_INIT, v->span, value_describe(e, v));
    diag_help(
        d,
        "he, glorot, orthogonal, dirac, zeros, ones, constant(2), normal(0.1) and uniform(-1, 1) are");
    return false;
}

static bool read_side(Elab *e, const Value *v, ConvSpec *c) {
    if (!v) return true;
    if (v->kind == VALUE_SIDE) {
        double zero = 0;
        if (v->side.value &&
            !value_static(e, v->side.value, "the boundary of a convolution", &zero))
            return false;
        c->has_side = true;
        c->side = v->side.side;
        if (zero == 0) return true;
    } else if (v->kind == VALUE_ERROR) {
        return false;
    }
    Diagnostic *d = report(e, CONV_SIDE, v->span);
    diag_help(d, "reflecting, periodic, zero, dirichlet(0) and neumann(0) are");
    return false;
}

const Value *prelude_conv(Elab *e, const BuiltinInfo *info, const Arguments *a) {
    ConvSpec *c = ARENA_NEW(e->arena, ConvSpec);
    *c = (ConvSpec){
        .groups = 1, .size = {3, 1, 1}, .stride = 1, .dilation = 1, .init = {PDN_INIT_HE, 0, 0}};
    double bias = 0;
    const Value *with_bias = argument_get(e, info, a, 5), *channels = argument_get(e, info, a, 0);
    if (!channels) {
        report(e, MISSING_ARGUMENT, a->span, "conv", "channels");
        return value_error(e);
    }
    bool ok = read_channels(e, channels, c);
    ok = read_size(e, argument_get(e, info, a, 1), c) && ok;
    ok = read_int(e, argument_get(e, info, a, 2), "the stride of a convolution", 2, &c->stride) &&
         ok;
    ok = read_int(e, argument_get(e, info, a, 3), "a dilation", 255, &c->dilation) && ok;
    ok =
        read_int(e, argument_get(e, info, a, 4), "a number of groups", MOST_CHANNELS, &c->groups) &&
        ok;
    ok = (!with_bias || value_static(e, with_bias, "whether there is a bias", &bias)) && ok;
    ok = read_side(e, argument_get(e, info, a, 6), c) && ok;
    ok = read_init(e, argument_get(e, info, a, 7), c) && ok;
    if (!ok) return value_error(e);
    if (c->in % c->groups || c->out % c->groups) {
        report(e, CONV_GROUPS, a->span, (long long)c->groups, (long long)c->in, (long long)c->out);
        return value_error(e);
    }
    c->bias = bias != 0;
    Value *v = value_new(e, VALUE_CONV, a->span);
    v->conv = c;
    return v;
}

/* ---- application --------------------------------------------------------------------------- */

/* The convolution on fields with this boundary; 0 after a message. */
static ConvId conv_id(Elab *e, Parameter *p, uint32_t rank, const Boundary *b, Span span) {
    const ConvSpec *s = &p->conv;
    Conv c = {.rank = rank,
              .in = (uint32_t)s->in,
              .out = (uint32_t)s->out,
              .groups = (uint32_t)s->groups};
    for (uint32_t a = 0; a < MAX_RANK; a++) {
        bool used = a < rank;
        c.size[a] = used ? (uint32_t)s->size[a] : 1;
        c.stride[a] = used ? (uint32_t)s->stride : 1;
        c.dilation[a] = used ? (uint32_t)s->dilation : 1;
        for (int side = 0; side < 2; side++) {
            SideKind kind = s->has_side ? s->side : b ? b->kind[a][side] : SIDE_EVEN;
            if (used && !s->has_side && b && (b->value[a][side] || b->reason || b->left)) {
                Diagnostic *d = report(e, CONV_VALUES, span);
                diag_help(d, "give the convolution its own: conv(…, boundary = zero), say");
                return 0;
            }
            c.sides[a][side] = !used ? SIDE_PERIODIC : kind == SIDE_SLOPE ? SIDE_EVEN : kind;
        }
    }
    ConvId id = graph_conv(e->module, &c);
    for (uint32_t i = 0; i < p->convs.len; i++)
        if (p->convs.data[i] == id) return id;
    vec_push(&p->convs, id);
    return id;
}

/* Array t of the parameter, or its frame, in the current function. */
static Node weights(Elab *e, const Operator *op, uint32_t t, Span span) {
    Node all = value_to_node(e, op->parameter->tensors[t].value);
    if (op->parameter->depth < 0) return all;
    Node operands[2] = {all, value_to_node(e, op->index)};
    return graph_add(e->module, e->frame->func, OP_FRAME, operands, 2, 0, 0, span);
}

static bool takes_field(Elab *e, const Operator *op, const Value *u, int64_t channels, Span span) {
    if (u->kind == VALUE_ERROR) return false;
    if (!value_is_field(e, u)) {
        report(e, NOT_A_FIELD, span, value_describe(e, u));
        return false;
    }
    if (value_type(e, u).channels == channels) return true;
    Diagnostic *d = report(e, CONV_INPUT, span, names_text(e->names, op->name), (long long)channels,
                           value_type(e, u).channels);
    diag_note(d, op->parameter->span, "the convolution stands here");
    return false;
}

/* Whether sides have no values, so that those of a field are those of its convolution, too. (With values only where the
 * convolution has sides of its own.) */
static bool homogeneous(const Boundary *b) {
    for (int a = 0; b && a < MAX_RANK; a++)
        if (b->value[a][0] || b->value[a][1]) return false;
    return !b || (!b->reason && !b->left);
}

/* Beyond a side it reads no farther than there are cells. Sizes that are not known yet are looked at when they are. */
static bool reads_inside(Elab *e, const Operator *op, const Grid *g, ConvId id, Span span) {
    const Conv *c = &e->module->convs.data[id];
    for (uint32_t a = 0; a < c->rank; a++) {
        long long reach = conv_high(c, a), cells = g->extent[a];
        if (cells < 0 || cells >= reach) continue;
        Diagnostic *d =
            report(e, CONV_TOO_SMALL, span, names_text(e->names, op->name), reach, cells, "xyz"[a]);
        diag_note(d, op->parameter->span, "the convolution stands here; it needs %lld cells",
                  reach);
        return false;
    }
    return true;
}

static const Value *convolve(Elab *e, const Operator *op, Op form, const Value *u, Span span) {
    Parameter *p = op->parameter;
    Type type = value_type(e, u);
    uint32_t rank = e->module->grids.data[type.grid].rank;
    if (!parameter_settle(e, p, rank, span)) return value_error(e);
    const Boundary *b = value_boundary(e, u);
    ConvId id = conv_id(e, p, rank, b, span);
    if (!id) return value_error(e);
    Node operands[2] = {value_to_node(e, u), weights(e, op, 0, span)};
    Type made;
    const char *why = NULL;
    if (!op_shape(e->module, e->frame->func, form, operands, 2, id, 0, &made, &why)) {
        report(e, SHAPE, span, why);
        return value_error(e);
    }
    if (!reads_inside(e, op, &e->module->grids.data[form == OP_CONV ? type.grid : made.grid], id,
                      span))
        return value_error(e);
    Node n = graph_add(e->module, e->frame->func, form, operands, 2, id, 0, span);
    return value_node(e, n, homogeneous(b) ? b : NULL, span);
}

const Value *apply_conv(Elab *e, const Operator *op, const Value *u, Span span) {
    if (!takes_field(e, op, u, op->parameter->conv.in, span)) return value_error(e);
    const Value *v = convolve(e, op, OP_CONV, u, span);
    if (v->kind == VALUE_ERROR || !op->parameter->conv.bias) return v;
    Node row = weights(e, op, 1, span);
    Node bias = graph_add_typed(e->module, e->frame->func, OP_BYCHANNEL, value_type(e, v), &row, 1,
                                0, 0, span);
    Node sum = graph_binary(e->module, e->frame->func, OP_ADD, v->node.node, bias, span);
    return value_node(e, sum, v->node.boundary, span);
}

const Value *apply_conv_adjoint(Elab *e, const Operator *op, const Value *v, Span span) {
    if (!takes_field(e, op, v, op->parameter->conv.out, span)) return value_error(e);
    if (op->parameter->conv.bias) {
        Diagnostic *d = report(e, NOT_LINEAR, span, names_text(e->names, op->name));
        diag_help(d, "its bias makes it affine: leave the bias out, and add a row of numbers");
        return value_error(e);
    }
    return convolve(e, op, OP_CONVT, v, span);
}

const Value *conv_norm(Elab *e, const Operator *op, Span span) {
    Parameter *p = op->parameter;
    /* the field that it is applied to tells nothing more */
    bool stated = p->conv.rank && p->conv.has_side;
    if (!p->convs.len && !(stated && conv_id(e, p, p->conv.rank, NULL, span))) {
        if (!elab_sound(e)) return value_error(e);
        e->errors++;
        Diagnostic *d = report(e, CONV_NORM_EARLY, span, names_text(e->names, op->name));
        diag_note(d, p->span, "%s not known yet",
                  p->conv.rank       ? "its boundary is"
                  : p->conv.has_side ? "how many dimensions it has is"
                                     : "its dimensions and boundary are");
        diag_help(
            d,
            "apply it to a field before, or state both: conv(…, size = [3, 3], boundary = reflecting)");
        return value_error(e);
    }
    /* it may stand between several boundaries */
    Node w = weights(e, op, 0, span), largest = NODE_NONE;
    for (uint32_t i = 0; i < p->convs.len; i++) {
        Node n =
            graph_add(e->module, e->frame->func, OP_CONVNORM, &w, 1, p->convs.data[i], 0, span);
        largest = i == 0 ? n : graph_binary(e->module, e->frame->func, OP_MAX, largest, n, span);
    }
    return value_node(e, largest, NULL, span);
}
