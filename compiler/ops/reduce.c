/* Reductions of a field to a number. */
#include "compiler/ops/rules.h"

#include <math.h>
#include <string.h>

bool shape_reduce(Module *m, FuncId f, Op op, const Node *operands, uint32_t count, uint32_t index,
                  uint32_t detail, Type *out, const char **why) {
    Type t = graph_node(graph_get(m, f), operands[0])->type;
    if (t.kind != TYPE_FIELD) {
        *why = arena_format(m->arena, "%s reduces fields, not %s", op_info(op)->name,
                            type_text(m, t, m->arena));
        return false;
    }
    *out = type_scalar();
    return true;
}

/* Pairwise, so that the reference is more exact than what it checks. */
double eval_sum_of(const double *x, int64_t n) {
    if (n <= 32) {
        double sum = 0;
        for (int64_t i = 0; i < n; i++) sum += x[i];
        return sum;
    }
    return eval_sum_of(x, n / 2) + eval_sum_of(x + n / 2, n - n / 2);
}

void eval_sum(Evaluator *e, FuncId f, Node n, const Array *const *operands, Array *out) {
    out->data[0] = eval_sum_of(operands[0]->data, operands[0]->size);
}

void eval_least(Evaluator *e, FuncId f, Node n, const Array *const *operands, Array *out) {
    double x[2] = {INFINITY, 0};
    for (int64_t i = 0; i < operands[0]->size; i++) {
        x[1] = operands[0]->data[i];
        x[0] = op_scalar(OP_MIN)(x);
    }
    out->data[0] = x[0];
}

void eval_largest(Evaluator *e, FuncId f, Node n, const Array *const *operands, Array *out) {
    double x[2] = {-INFINITY, 0};
    for (int64_t i = 0; i < operands[0]->size; i++) {
        x[1] = operands[0]->data[i];
        x[0] = op_scalar(OP_MAX)(x);
    }
    out->data[0] = x[0];
}

Node deriv_sum(Module *m, FuncId f, Node n, uint32_t i, Node w) {
    const NodeData *d = graph_node(graph_get(m, f), n);
    Type t = graph_node(graph_get(m, f), graph_operand(graph_get(m, f), n, 0))->type;
    return node_fill(m, f, w, t, d->span);
}

/* 1 where the extremum is taken, divided by the number of such cells: ties share equally. */
static Node extremum_share(Module *m, FuncId f, Node n) {
    Span span = graph_node(graph_get(m, f), n)->span;
    Node at = graph_binary(m, f, OP_EQ, graph_operand(graph_get(m, f), n, 0), n, span);
    return graph_binary(m, f, OP_DIV, at, graph_unary(m, f, OP_SUM, at, span), span);
}

/* Not linear: the share is taken at the point of linearisation; what is linear in w is the
 * result. */
Node deriv_least(Module *m, FuncId f, Node n, uint32_t i, Node w) {
    Span span = graph_node(graph_get(m, f), n)->span; /* before nodes are added: they may move */
    return graph_binary(m, f, OP_MUL, extremum_share(m, f, n), w, span);
}

Node deriv_largest(Module *m, FuncId f, Node n, uint32_t i, Node w) {
    return deriv_least(m, f, n, i, w);
}

/* ---- over the samples of a batch ---------------------------------------------------------- */

bool shape_batchmean(Module *m, FuncId f, Op op, const Node *operands, uint32_t count,
                     uint32_t index, uint32_t detail, Type *out, const char **why) {
    *out = graph_node(graph_get(m, f), operands[0])->type;
    *why = "means over a batch are of numbers and fields";
    return out->kind == TYPE_SCALAR || out->kind == TYPE_FIELD;
}

void eval_batchmean(Evaluator *e, FuncId f, Node n, const Array *const *operands, Array *out) {
    memcpy(out->data, operands[0]->data, sizeof(double) * (size_t)out->size);
    if (!e->options->batch_mean) return;
    int64_t extent[MAX_RANK];
    bool field = out->type.kind == TYPE_FIELD;
    if (field) eval_extents(e, out->type.grid, extent);
    e->status = e->options->batch_mean(e->options->context, (uint64_t)f << 32 | n, out->data,
                                       out->size, field ? extent : NULL);
}

/* The mean of the cotangents: it is its own transpose. */
Node deriv_batchmean(Module *m, FuncId f, Node n, uint32_t i, Node w) {
    return graph_unary(m, f, OP_BATCHMEAN, w, graph_node(graph_get(m, f), n)->span);
}
