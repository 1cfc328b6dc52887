/* What a pointwise layer computes, as a text in terms of layers, states and parameters. */
#include "compiler/explain/build.h"

#include <math.h>
#include <string.h>

enum { MOST_TEXT = 110, MOST_DEPTH = 40 };

typedef struct {
    Reading *r;
    uint32_t layer;
    uint32_t left; /* room, in bytes; 0: it is too long */
} Writer;

typedef enum {
    BIND_LOGIC,
    BIND_COMPARE,
    BIND_SUM,
    BIND_PRODUCT,
    BIND_UNARY,
    BIND_POWER,
    BIND_ATOM
} Bind;

typedef struct {
    const char *text;
    Bind bind;
} Piece;

static Piece write_node(Writer *w, Node n, uint32_t depth);

static Piece piece(Writer *w, Bind bind, const char *format, ...) {
    va_list args;
    va_start(args, format);
    char *text = arena_vformat(w->r->b->arena, format, args);
    va_end(args);
    if (strlen(text) > MOST_TEXT) w->left = 0;
    return (Piece){w->left ? text : "", bind};
}

static const char *bound(Writer *w, Piece p, Bind least) {
    return p.bind < least ? arena_format(w->r->b->arena, "(%s)", p.text) : p.text;
}

/* ---- names ---------------------------------------------------------------------------------- */

/* How the frames of a stack are told apart: "k", or the number. */
static const char *frame_index(Reading *r, uint32_t tensor) {
    for (Node n = 1; n < r->f->nodes.len; n++) {
        double number;
        if (graph_node(r->f, n)->op == OP_FRAME &&
            (node_tensors(r, n)[tensor / 64] >> (tensor % 64) & 1) &&
            graph_is_const(r->f, graph_operand(r->f, n, 1), &number))
            return arena_format(r->b->arena, "%.0f", number);
    }
    return r->index ? r->index : "k";
}

const char *weight_name(Reading *r, uint32_t tensor) {
    const Tensor *t = &r->b->tensors[tensor];
    if (!t->stack) return t->name;
    return arena_format(r->b->arena, "%s[%s]", t->name, frame_index(r, tensor));
}

/* The parameter that a node is, if it is one as it stands. */
static const char *plain_weight(Reading *r, Node n) {
    const NodeData *d = graph_node(r->f, n);
    if (d->op != OP_INPUT && d->op != OP_PARAM && d->op != OP_FRAME && d->op != OP_RESULT)
        return NULL;
    for (uint32_t t = 0; t < r->b->tensor_count; t++)
        if (node_tensors(r, n)[t / 64] >> (t % 64) & 1) return weight_name(r, t);
    return NULL;
}

/* Of a loop's other results: "#9.rho", "steps of #9". */
static const char *result_name(Reading *r, const Layer *l, uint32_t index) {
    const Loop *loop = &r->b->module->loops.data[graph_node(r->f, l->node)->index];
    if (l->kind == LAYER_LOOP && index == loop->states)
        return arena_format(r->b->arena, "steps of #%u", l->number);
    for (uint32_t i = 0; i < l->body->histories.len; i++) {
        const History *h = &l->body->histories.data[i];
        for (uint32_t k = 0; k < h->length; k++)
            if (l->body->layers.data[h->starts[k]].state == index)
                return k ? arena_format(r->b->arena, "#%u.%s[k-%u]", l->number, h->name, k)
                         : arena_format(r->b->arena, "#%u.%s", l->number, h->name);
    }
    return arena_format(r->b->arena, "#%u.%u", l->number, index);
}

/* What stands for a node elsewhere: "f", "u[k-1]", "#3", "K[k]"; NULL where it has no name. */
const char *name_of_node(Reading *r, Node n) {
    const NodeData *d = graph_node(r->f, n);
    if (r->layer && r->layer[n] != NO_LAYER) {
        const Layer *l = &r->part->layers.data[r->layer[n]];
        if (d->op == OP_RESULT && l->body && d->index > 0) return result_name(r, l, d->index);
        return l->number ? arena_format(r->b->arena, "#%u", l->number) : l->title;
    }
    if (d->op == OP_PARAM && r->names && r->names[d->index]) return r->names[d->index];
    if (d->op == OP_INPUT) return r->b->options->inputs[d->index].name;
    return r->tensors && !r->varies[n] ? plain_weight(r, n) : NULL;
}

/* ---- ops ------------------------------------------------------------------------------------------ */

static Piece infix(Writer *w, const char *op, Bind bind, Piece a, Piece b, bool strict) {
    return piece(w, bind, "%s %s %s", bound(w, a, bind), op, bound(w, b, strict ? bind + 1 : bind));
}

static bool is_same(Writer *w, Node n) {
    return graph_operand(w->r->f, n, 0) == graph_operand(w->r->f, n, 1);
}

/* A number times a node, with a number below 0: that number, made positive. */
static bool negative_factor(Writer *w, Node n, Node *other, double *factor) {
    const NodeData *d = graph_node(w->r->f, n);
    if (d->op != OP_MUL || w->r->layer[n] != w->layer) return false;
    for (uint32_t k = 0; k < 2; k++)
        if (graph_is_const(w->r->f, graph_operand(w->r->f, n, k), factor) && *factor < 0) {
            *factor = -*factor;
            *other = graph_operand(w->r->f, n, 1 - k);
            return true;
        }
    return false;
}

static Piece write_sum(Writer *w, Node n, uint32_t depth) {
    const NodeData *d = graph_node(w->r->f, n);
    Node other;
    double factor;
    Node a = graph_operand(w->r->f, n, 0), b = graph_operand(w->r->f, n, 1);
    if (d->op == OP_ADD && graph_is_const(w->r->f, b, &factor) && factor < 0)
        return piece(w, BIND_SUM, "%s - %.6g", bound(w, write_node(w, a, depth), BIND_SUM),
                     -factor);
    if (d->op == OP_ADD && negative_factor(w, a, &other, &factor)) {
        Node keep = a;
        a = b;
        b = keep;
    }
    Piece left = write_node(w, a, depth);
    if (d->op == OP_ADD && negative_factor(w, b, &other, &factor)) {
        Piece right = write_node(w, other, depth);
        return factor == 1 ? infix(w, "-", BIND_SUM, left, right, true)
                           : piece(w, BIND_SUM, "%s - %.6g * %s", bound(w, left, BIND_SUM), factor,
                                   bound(w, right, BIND_PRODUCT));
    }
    if (d->op == OP_SUB && negative_factor(w, b, &other, &factor))
        return piece(w, BIND_SUM, "%s + %.6g * %s", bound(w, left, BIND_SUM), factor,
                     bound(w, write_node(w, other, depth), BIND_PRODUCT));
    return infix(w, d->op == OP_ADD ? "+" : "-", BIND_SUM, left, write_node(w, b, depth),
                 d->op == OP_SUB);
}

static Piece write_product(Writer *w, Node n, uint32_t depth) {
    Node a = graph_operand(w->r->f, n, 0), b = graph_operand(w->r->f, n, 1);
    double number;
    if (is_same(w, n))
        return piece(w, BIND_POWER, "%s^2", bound(w, write_node(w, a, depth), BIND_ATOM));
    if (graph_is_const(w->r->f, b, &number)) {
        Node keep = a;
        a = b;
        b = keep;
    }
    if (graph_is_const(w->r->f, a, &number) && number == -1)
        return piece(w, BIND_UNARY, "-%s", bound(w, write_node(w, b, depth), BIND_UNARY));
    Piece left = write_node(w, a, depth);
    const NodeData *d = graph_node(w->r->f, b); /* a * (1 / c) */
    bool inverse = d->op == OP_DIV && (w->r->layer[b] == w->layer || !w->r->varies[b]) &&
                   graph_is_const(w->r->f, graph_operand(w->r->f, b, 0), &number) && number == 1;
    if (inverse)
        return infix(w, "/", BIND_PRODUCT, left, write_node(w, graph_operand(w->r->f, b, 1), depth),
                     true);
    return infix(w, "*", BIND_PRODUCT, left, write_node(w, b, depth), false);
}

/* norm2(u), dot(u, v). */
static Piece write_channels(Writer *w, Node n, uint32_t depth) {
    Node a = graph_operand(w->r->f, n, 0);
    const NodeData *d = graph_node(w->r->f, a);
    bool mine = w->r->layer[a] == w->layer && d->op == OP_MUL;
    if (mine && is_same(w, a))
        return piece(w, BIND_ATOM, "norm2(%s)",
                     write_node(w, graph_operand(w->r->f, a, 0), depth).text);
    if (mine)
        return piece(w, BIND_ATOM, "dot(%s, %s)",
                     write_node(w, graph_operand(w->r->f, a, 0), depth).text,
                     write_node(w, graph_operand(w->r->f, a, 1), depth).text);
    return piece(w, BIND_ATOM, "sum of the channels of %s",
                 bound(w, write_node(w, a, depth), BIND_ATOM));
}

static Piece write_call(Writer *w, const char *name, Node n, uint32_t depth) {
    const NodeData *d = graph_node(w->r->f, n);
    Text t = {0};
    for (uint32_t k = 0; k < d->count && w->left; k++) {
        if (k) text_puts(&t, ", ");
        text_puts(&t, write_node(w, graph_operand(w->r->f, n, k), depth).text);
    }
    Piece made = piece(w, BIND_ATOM, "%s(%s)", name, t.data ? t.data : "");
    text_free(&t);
    return made;
}

static Piece write_op(Writer *w, Node n, uint32_t depth) {
    const NodeData *d = graph_node(w->r->f, n);
    Piece a = {"", BIND_ATOM};
    switch (d->op) {
    case OP_CONST: return piece(w, d->number < 0 ? BIND_UNARY : BIND_ATOM, "%.6g", d->number);
    case OP_ADD:
    case OP_SUB: return write_sum(w, n, depth);
    case OP_MUL: return write_product(w, n, depth);
    case OP_CHSUM: return write_channels(w, n, depth);
    case OP_COORD: return piece(w, BIND_ATOM, "%c", "xyz"[d->index]);
    case OP_EDGE: return piece(w, BIND_ATOM, "side");
    case OP_CELLS: return piece(w, BIND_ATOM, "cells");
    case OP_NEG:
        a = write_node(w, graph_operand(w->r->f, n, 0), depth);
        return piece(w, BIND_UNARY, "-%s", bound(w, a, BIND_UNARY));
    case OP_SPREAD:
    case OP_BYCHANNEL:
    case OP_GUARDED:
    case OP_DETACH: return write_node(w, graph_operand(w->r->f, n, 0), depth);
    case OP_CHANNEL:
    case OP_ENTRY:
        a = write_node(w, graph_operand(w->r->f, n, 0), depth);
        return piece(w, BIND_ATOM, "%s.%u", bound(w, a, BIND_ATOM), d->index);
    default: break;
    }
    static const struct {
        Op op;
        const char *text;
        Bind bind;
    } infixes[] = {
        {OP_DIV, "/", BIND_PRODUCT}, {OP_MOD, "%", BIND_PRODUCT}, {OP_POW, "^", BIND_POWER},
        {OP_LT, "<", BIND_COMPARE},  {OP_LE, "<=", BIND_COMPARE}, {OP_EQ, "==", BIND_COMPARE},
        {OP_NE, "!=", BIND_COMPARE}, {OP_AND, "and", BIND_LOGIC}, {OP_OR, "or", BIND_LOGIC},
    };
    for (size_t i = 0; i < sizeof infixes / sizeof *infixes; i++)
        if (infixes[i].op == d->op) {
            a = write_node(w, graph_operand(w->r->f, n, 0), depth);
            return infix(w, infixes[i].text, infixes[i].bind, a,
                         write_node(w, graph_operand(w->r->f, n, 1), depth), true);
        }
    return write_call(w, op_info(d->op)->name, n, depth);
}

/* A field that depends on no data, such as the diagonal of a linear operator, is only named. */
static bool is_constant_field(const Reading *r, Node n) {
    const NodeData *d = graph_node(r->f, n);
    if (r->varies[n] || d->type.kind != TYPE_FIELD || r->b->module->grids.data[d->type.grid].row)
        return false;
    return d->op != OP_SPREAD && d->op != OP_BYCHANNEL && d->op != OP_COORD && d->op != OP_EDGE;
}

static Piece write_node(Writer *w, Node n, uint32_t depth) {
    if (depth == MOST_DEPTH) w->left = 0;
    if (!w->left) return (Piece){"", BIND_ATOM};
    bool mine = w->r->layer[n] == w->layer;
    const char *name = mine ? NULL : name_of_node(w->r, n);
    if (name) return piece(w, BIND_ATOM, "%s", name);
    if (is_constant_field(w->r, n)) return piece(w, BIND_ATOM, "c(x)");
    w->left--;
    return write_op(w, n, depth + 1);
}

const char *formula_of(Reading *r, Node n, uint32_t layer) {
    Writer w = {r, layer, MOST_TEXT};
    Piece p = write_node(&w, n, 0);
    return w.left ? p.text : NULL;
}
