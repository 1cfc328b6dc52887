/* Rows of numbers: making and taking them apart, a number for each channel, sums by channel. */
#include "compiler/ops/rules.h"

static const NodeData *node_of(Module *m, FuncId f, Node n) {
    return graph_node(graph_get(m, f), n);
}

bool type_is_row(const Module *m, Type type) {
    return type.kind == TYPE_FIELD && type.channels == 1 && m->grids.data[type.grid].row;
}

bool row_fits(Module *m, FuncId f, Node row, Type type) {
    Type t = node_of(m, f, row)->type;
    return type_is_row(m, t) && type.kind == TYPE_FIELD &&
           m->grids.data[t.grid].extent[0] == (int64_t)type.channels;
}

/* ---- a row from numbers, a number from a row ------------------------------------------ */

bool shape_row(Module *m, FuncId f, Op op, const Node *operands, uint32_t count, uint32_t index,
               uint32_t detail, Type *out, const char **why) {
    if (count == 0 || count > 1u << 20) {
        *why = "a row has 1 to 1048576 numbers";
        return false;
    }
    for (uint32_t i = 0; i < count; i++)
        if (node_of(m, f, operands[i])->type.kind != TYPE_SCALAR) {
            *why = "a row is made of numbers";
            return false;
        }
    *out = type_field(graph_row(m, count), 1);
    return true;
}

/* The entries of one row, all in order, are that row. */
Node fold_row(Module *m, FuncId f, Op op, const Node *operands, uint32_t count, uint32_t index,
              uint32_t detail, Span span) {
    Node whole = NODE_NONE;
    for (uint32_t i = 0; i < count; i++) {
        const NodeData *d = node_of(m, f, operands[i]);
        if (d->op != OP_ENTRY || d->index != i) return NODE_NONE;
        Node from = graph_operand(graph_get(m, f), operands[i], 0);
        if (whole != NODE_NONE && from != whole) return NODE_NONE;
        whole = from;
    }
    return m->grids.data[node_of(m, f, whole)->type.grid].extent[0] == count ? whole : NODE_NONE;
}

void eval_row(Evaluator *e, FuncId f, Node n, const Array *const *operands, Array *out) {
    for (int64_t i = 0; i < out->size; i++) out->data[i] = operands[i]->data[0];
}

Node deriv_row(Module *m, FuncId f, Node n, uint32_t i, Node w) {
    return graph_add(m, f, OP_ENTRY, &w, 1, i, 0, node_of(m, f, n)->span);
}

bool shape_entry(Module *m, FuncId f, Op op, const Node *operands, uint32_t count, uint32_t index,
                 uint32_t detail, Type *out, const char **why) {
    Type t = node_of(m, f, operands[0])->type;
    if (!type_is_row(m, t)) {
        *why = arena_format(m->arena, "entries are taken of rows of numbers, not of %s",
                            type_text(m, t, m->arena));
        return false;
    }
    if (index >= m->grids.data[t.grid].extent[0]) {
        *why = arena_format(m->arena, "number %u of %s", index, type_text(m, t, m->arena));
        return false;
    }
    *out = type_scalar();
    return true;
}

Node fold_entry(Module *m, FuncId f, Op op, const Node *operands, uint32_t count, uint32_t index,
                uint32_t detail, Span span) {
    Op made = node_of(m, f, operands[0])->op;
    if (made == OP_ROW) return graph_operand(graph_get(m, f), operands[0], index);
    return made == OP_SPREAD ? graph_operand(graph_get(m, f), operands[0], 0) : NODE_NONE;
}

void eval_entry(Evaluator *e, FuncId f, Node n, const Array *const *operands, Array *out) {
    out->data[0] = operands[0]->data[graph_node(graph_get(e->module, f), n)->index];
}

/* The transpose is a row with w there, zeros elsewhere. */
Node deriv_entry(Module *m, FuncId f, Node n, uint32_t i, Node w) {
    NodeData d = *node_of(m, f, n);
    Type row = node_of(m, f, graph_operand(graph_get(m, f), n, 0))->type;
    uint32_t count = (uint32_t)m->grids.data[row.grid].extent[0];
    Node *numbers = ARENA_ARRAY(m->arena, Node, count), zero = graph_const(m, f, 0);
    for (uint32_t k = 0; k < count; k++) numbers[k] = k == d.index ? w : zero;
    return graph_add(m, f, OP_ROW, numbers, count, 0, 0, d.span);
}

/* ---- a number for each channel, and sums by channel ------------------------------------- */

Node node_bychannel(Module *m, FuncId f, Node row, Type type, Span span) {
    if (node_of(m, f, row)->op == OP_SPREAD) /* the same number for every channel */
        return node_fill(m, f, graph_operand(graph_get(m, f), row, 0), type, span);
    return graph_add_typed(m, f, OP_BYCHANNEL, type, &row, 1, 0, 0, span);
}

void eval_bychannel(Evaluator *e, FuncId f, Node n, const Array *const *operands, Array *out) {
    int64_t cells = out->size / out->type.channels;
    for (int64_t i = 0; i < out->size; i++) out->data[i] = operands[0]->data[i / cells];
}

Node deriv_bychannel(Module *m, FuncId f, Node n, uint32_t i, Node w) {
    return graph_unary(m, f, OP_TOTALS, w, node_of(m, f, n)->span);
}

bool shape_totals(Module *m, FuncId f, Op op, const Node *operands, uint32_t count, uint32_t index,
                  uint32_t detail, Type *out, const char **why) {
    Type t = node_of(m, f, operands[0])->type;
    if (t.kind != TYPE_FIELD) {
        *why = arena_format(m->arena, "sums over cells are of fields, not of %s",
                            type_text(m, t, m->arena));
        return false;
    }
    *out = type_field(graph_row(m, t.channels), 1);
    return true;
}

void eval_totals(Evaluator *e, FuncId f, Node n, const Array *const *operands, Array *out) {
    int64_t cells = operands[0]->size / out->size;
    for (int64_t c = 0; c < out->size; c++)
        out->data[c] = eval_sum_of(operands[0]->data + c * cells, cells);
}

Node deriv_totals(Module *m, FuncId f, Node n, uint32_t i, Node w) {
    Type t = node_of(m, f, graph_operand(graph_get(m, f), n, 0))->type;
    return node_bychannel(m, f, w, t, node_of(m, f, n)->span);
}
