/* The bound of a convolution's norm, and its subgradient times a number: runtime/conv_norm.c. */
#include "compiler/ops/rules.h"

#include <math.h>

PdnConvShape conv_shape(const Conv *c) {
    PdnConvShape s = {.rank = (int)c->rank, .in = c->in, .out = c->out, .groups = c->groups};
    for (int a = 0; a < MAX_RANK; a++) {
        s.size[a] = c->size[a];
        s.stride[a] = c->stride[a];
        s.dilation[a] = c->dilation[a];
        for (int side = 0; side < 2; side++) {
            static const int kinds[] = {[SIDE_PERIODIC] = PDN_SIDE_PERIODIC,
                                        [SIDE_EVEN] = PDN_SIDE_EVEN,
                                        [SIDE_ODD] = PDN_SIDE_ODD,
                                        [SIDE_SLOPE] = PDN_SIDE_SLOPE,
                                        [SIDE_GHOST] = PDN_SIDE_ZERO};
            s.sides[a][side] = kinds[c->sides[a][side]];
        }
    }
    return s;
}

bool shape_convnorm(Module *m, FuncId f, Op op, const Node *operands, uint32_t count,
                    uint32_t index, uint32_t detail, Type *out, const char **why) {
    if (index == 0 || index >= m->convs.len) {
        *why = "no such convolution";
        return false;
    }
    Type w = graph_node(graph_get(m, f), operands[0])->type;
    int64_t wanted = conv_weights(&m->convs.data[index]);
    if (w.kind != TYPE_FIELD || w.channels != 1 || !m->grids.data[w.grid].row ||
        m->grids.data[w.grid].extent[0] != wanted) {
        *why = arena_format(m->arena,
                            "the weights of this convolution are a row of %lld numbers, not %s",
                            (long long)wanted, type_text(m, w, m->arena));
        return false;
    }
    if (op == OP_CONVNORMW && graph_node(graph_get(m, f), operands[1])->type.kind != TYPE_SCALAR) {
        *why = "the cotangent of a norm is a number";
        return false;
    }
    *out = op == OP_CONVNORMW ? w : type_scalar();
    return true;
}

void eval_convnorm(Evaluator *e, FuncId f, Node n, const Array *const *operands, Array *out) {
    const NodeData *d = graph_node(graph_get(e->module, f), n);
    PdnConvShape s = conv_shape(&e->module->convs.data[d->index]);
    pdn_conv_norm_into(&s, PDN_F64, operands[0]->data,
                       d->op == OP_CONVNORMW ? operands[1]->data : NULL, out->data);
}

Node deriv_convnorm(Module *m, FuncId f, Node n, uint32_t i, Node w) {
    NodeData d = *graph_node(graph_get(m, f), n);
    Node operands[2] = {graph_operand(graph_get(m, f), n, 0), w};
    return graph_add(m, f, OP_CONVNORMW, operands, 2, d.index, 0, d.span);
}
