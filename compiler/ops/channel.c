/* Channels: taking one, joining, summing. */
#include "compiler/ops/rules.h"

#include <string.h>

static const NodeData *node_of(Module *m, FuncId f, Node n) {
    return graph_node(graph_get(m, f), n);
}

static bool needs_field(Module *m, Op op, Type t, const char **why) {
    if (t.kind == TYPE_FIELD) return true;
    *why = arena_format(m->arena, "%s acts on fields, not on %s", op_info(op)->name,
                        type_text(m, t, m->arena));
    return false;
}

/* ---- channel ------------------------------------------------------------------- */

bool shape_channel(Module *m, FuncId f, Op op, const Node *operands, uint32_t count, uint32_t index,
                   uint32_t detail, Type *out, const char **why) {
    Type t = node_of(m, f, operands[0])->type;
    if (!needs_field(m, op, t, why)) return false;
    if (index >= t.channels) {
        *why = arena_format(m->arena, "channel %u of a field of %u", index, t.channels);
        return false;
    }
    *out = type_field(t.grid, 1);
    return true;
}

Node fold_channel(Module *m, FuncId f, Op op, const Node *operands, uint32_t count, uint32_t index,
                  uint32_t detail, Span span) {
    NodeData d = *node_of(m, f, operands[0]);
    if (d.type.channels == 1) return operands[0];
    if (d.op != OP_CONCAT) return NODE_NONE;
    for (uint32_t i = 0; i < d.count; i++) {
        Node part = graph_operand(graph_get(m, f), operands[0], i);
        uint32_t channels = node_of(m, f, part)->type.channels;
        if (index < channels) return graph_add(m, f, OP_CHANNEL, &part, 1, index, 0, span);
        index -= channels;
    }
    return NODE_NONE;
}

void eval_channel(Evaluator *e, FuncId f, Node n, const Array *const *operands, Array *out) {
    uint32_t index = graph_node(graph_get(e->module, f), n)->index;
    memcpy(out->data, operands[0]->data + index * out->size, sizeof(double) * (size_t)out->size);
}

/* The transpose puts w into its channel, zeros elsewhere. */
Node deriv_channel(Module *m, FuncId f, Node n, uint32_t i, Node w) {
    NodeData d = *node_of(m, f, n);
    Type whole = node_of(m, f, graph_operand(graph_get(m, f), n, 0))->type;
    Node zero = node_fill(m, f, graph_const(m, f, 0), type_field(whole.grid, 1), d.span);
    Node *parts = ARENA_ARRAY(m->arena, Node, whole.channels);
    for (uint32_t c = 0; c < whole.channels; c++) parts[c] = c == d.index ? w : zero;
    return graph_add(m, f, OP_CONCAT, parts, whole.channels, 0, 0, d.span);
}

/* ---- concat -------------------------------------------------------------------- */

bool shape_concat(Module *m, FuncId f, Op op, const Node *operands, uint32_t count, uint32_t index,
                  uint32_t detail, Type *out, const char **why) {
    if (count == 0) {
        *why = "concat needs at least one field";
        return false;
    }
    uint64_t channels = 0;
    Type first = node_of(m, f, operands[0])->type;
    for (uint32_t i = 0; i < count; i++) {
        Type t = node_of(m, f, operands[i])->type;
        if (!needs_field(m, op, t, why)) return false;
        if (t.grid != first.grid) {
            *why = arena_format(m->arena, "fields live on different grids: %s and %s",
                                type_text(m, type_field(first.grid, 1), m->arena),
                                type_text(m, type_field(t.grid, 1), m->arena));
            return false;
        }
        channels += t.channels;
    }
    if (channels > 1u << 20) {
        *why = "more than 1048576 channels";
        return false;
    }
    *out = type_field(first.grid, (uint32_t)channels);
    return true;
}

/* Are the operands channels 0, 1, …, c - 1 of one field of c channels? */
static Node whole_field(Module *m, FuncId f, const Node *operands, uint32_t count) {
    Node whole = NODE_NONE;
    for (uint32_t i = 0; i < count; i++) {
        const NodeData *d = node_of(m, f, operands[i]);
        if (d->op != OP_CHANNEL || d->index != i) return NODE_NONE;
        Node from = graph_operand(graph_get(m, f), operands[i], 0);
        if (whole != NODE_NONE && from != whole) return NODE_NONE;
        whole = from;
    }
    return node_of(m, f, whole)->type.channels == count ? whole : NODE_NONE;
}

Node fold_concat(Module *m, FuncId f, Op op, const Node *operands, uint32_t count, uint32_t index,
                 uint32_t detail, Span span) {
    if (count == 1) return operands[0];
    bool nested = false;
    for (uint32_t i = 0; i < count; i++)
        nested = nested || node_of(m, f, operands[i])->op == OP_CONCAT;
    if (!nested) return whole_field(m, f, operands, count);
    VEC(Node) flat = {0};
    for (uint32_t i = 0; i < count; i++) {
        if (node_of(m, f, operands[i])->op != OP_CONCAT) {
            vec_push(&flat, operands[i]);
            continue;
        }
        for (uint32_t k = 0; k < node_of(m, f, operands[i])->count; k++)
            vec_push(&flat, graph_operand(graph_get(m, f), operands[i], k));
    }
    Node n = graph_add(m, f, OP_CONCAT, flat.data, flat.len, 0, 0, span);
    vec_free(&flat);
    return n;
}

void eval_concat(Evaluator *e, FuncId f, Node n, const Array *const *operands, Array *out) {
    double *to = out->data;
    for (uint32_t i = 0; i < graph_node(graph_get(e->module, f), n)->count; i++) {
        memcpy(to, operands[i]->data, sizeof(double) * (size_t)operands[i]->size);
        to += operands[i]->size;
    }
}

/* The transpose takes the operand's channels out of w. */
Node deriv_concat(Module *m, FuncId f, Node n, uint32_t i, Node w) {
    uint32_t first = 0;
    Span span = node_of(m, f, n)->span;
    for (uint32_t k = 0; k < i; k++)
        first += node_of(m, f, graph_operand(graph_get(m, f), n, k))->type.channels;
    uint32_t channels = node_of(m, f, graph_operand(graph_get(m, f), n, i))->type.channels;
    Node *parts = ARENA_ARRAY(m->arena, Node, channels);
    for (uint32_t c = 0; c < channels; c++)
        parts[c] = graph_add(m, f, OP_CHANNEL, &w, 1, first + c, 0, span);
    return graph_add(m, f, OP_CONCAT, parts, channels, 0, 0, span);
}

/* ---- sum over channels ----------------------------------------------------------- */

bool shape_chsum(Module *m, FuncId f, Op op, const Node *operands, uint32_t count, uint32_t index,
                 uint32_t detail, Type *out, const char **why) {
    Type t = node_of(m, f, operands[0])->type;
    if (!needs_field(m, op, t, why)) return false;
    *out = type_field(t.grid, 1);
    return true;
}

Node fold_chsum(Module *m, FuncId f, Op op, const Node *operands, uint32_t count, uint32_t index,
                uint32_t detail, Span span) {
    return node_of(m, f, operands[0])->type.channels == 1 ? operands[0] : NODE_NONE;
}

void eval_chsum(Evaluator *e, FuncId f, Node n, const Array *const *operands, Array *out) {
    memcpy(out->data, operands[0]->data, sizeof(double) * (size_t)out->size);
    for (uint32_t c = 1; c < operands[0]->type.channels; c++)
        for (int64_t i = 0; i < out->size; i++)
            out->data[i] += operands[0]->data[c * out->size + i];
}

Node deriv_chsum(Module *m, FuncId f, Node n, uint32_t i, Node w) {
    Type whole = node_of(m, f, graph_operand(graph_get(m, f), n, 0))->type;
    return node_broadcast(m, f, w, whole, node_of(m, f, n)->span);
}
