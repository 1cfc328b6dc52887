/* Sums taken apart: a node as coefficients times nodes that are no sums. */
#include "compiler/analysis/scheme.h"

#include <string.h>

enum { MOST_ATOMS = 2000 };

typedef struct {
    Module *module;
    FuncId func;
    const uint8_t *varies;
    uint32_t count, budget;
    Atoms *out;
} Sum;

static bool varies(const Sum *s, Node n) { return n < s->count && s->varies[n]; }

static Node times(Sum *s, Op op, Node a, Node b) {
    return graph_binary(s->module, s->func, op, a, b, SPAN_NONE);
}

static void put(Sum *s, Node node, Node coefficient) {
    for (uint32_t i = 0; i < s->out->len; i++)
        if (s->out->data[i].node == node) {
            s->out->data[i].coefficient =
                times(s, OP_ADD, s->out->data[i].coefficient, coefficient);
            return;
        }
    Atom a = {node, coefficient};
    vec_push(s->out, a);
}

static bool is_number_type(const Sum *s, Node n) {
    return graph_node(graph_get(s->module, s->func), n)->type.kind == TYPE_SCALAR;
}

static void expand(Sum *s, Node n, Node c) {
    const Func *f = graph_get(s->module, s->func);
    NodeData d = *graph_node(f, n);
    if (s->budget == 0) return;
    s->budget--;
    if (!varies(s, n)) {
        put(s, n, c);
        return;
    }
    Node a = d.count > 0 ? graph_operand(f, n, 0) : NODE_NONE,
         b = d.count > 1 ? graph_operand(f, n, 1) : NODE_NONE;
    switch (d.op) {
    case OP_NEG: expand(s, a, graph_unary(s->module, s->func, OP_NEG, c, SPAN_NONE)); return;
    case OP_ADD:
    case OP_SUB:
        /* a field of one channel that takes part with several is no summand of the same shape */
        if (!type_equal(graph_node(f, a)->type, d.type) ||
            !type_equal(graph_node(f, b)->type, d.type))
            break;
        expand(s, a, c);
        expand(s, b, d.op == OP_ADD ? c : graph_unary(s->module, s->func, OP_NEG, c, SPAN_NONE));
        return;
    case OP_MUL:
        if (!varies(s, a) && is_number_type(s, a)) {
            expand(s, b, times(s, OP_MUL, c, a));
            return;
        }
        if (!varies(s, b) && is_number_type(s, b)) {
            expand(s, a, times(s, OP_MUL, c, b));
            return;
        }
        break;
    case OP_DIV:
        if (!varies(s, b) && is_number_type(s, b)) {
            expand(s, a, times(s, OP_DIV, c, b));
            return;
        }
        break;
    default: break;
    }
    put(s, n, c);
}

bool atoms_of(Module *module, FuncId func, Node result, const uint8_t *varies, uint32_t count,
              Atoms *out) {
    Sum s = {module, func, varies, count, MOST_ATOMS, out};
    expand(&s, result, graph_const(module, func, 1));
    return s.budget > 0;
}

uint8_t *field_masks(const Module *module, FuncId func, const Node *fields, uint32_t count) {
    const Func *f = graph_get(module, func);
    uint8_t *mask = mem_alloc(f->nodes.len);
    memset(mask, 0, f->nodes.len);
    for (uint32_t i = 0; i < count; i++) mask[fields[i]] = (uint8_t)(1u << (i < 7 ? i : 7));
    for (Node n = 1; n < f->nodes.len; n++)
        for (uint32_t k = 0; k < graph_node(f, n)->count; k++)
            mask[n] |= mask[graph_operand(f, n, k)];
    return mask;
}
