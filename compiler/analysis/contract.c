/* contract: a b + c with one rounding, where the product has no other use.
 *
 * The choice is made here, once, so that every schedule and every machine computes the same: of
 * two products the first operand's is taken; a b - c becomes fma(a, b, -c), and c - a b fma(-a,
 * b, c), exactly. */
#include "compiler/analysis/analysis.h"
#include "compiler/analysis/rebuild.h"

#include <string.h>

typedef struct {
    uint32_t *uses; /* by node */
} Contract;

static uint32_t *count_uses(const Func *f) {
    uint8_t *live = rebuild_live(f);
    uint32_t *uses = mem_alloc(sizeof *uses * f->nodes.len);
    memset(uses, 0, sizeof *uses * f->nodes.len);
    for (Node n = 1; n < f->nodes.len; n++)
        for (uint32_t k = 0; live[n] && k < graph_node(f, n)->count; k++)
            uses[graph_operand(f, n, k)]++;
    for (uint32_t i = 0; i < f->results.len; i++) uses[f->results.data[i]]++;
    for (uint32_t i = 0; i < f->effects.len; i++)
        for (uint32_t k = 0; k < f->effects.data[i].count; k++)
            uses[f->effects.data[i].values[k]]++;
    mem_free(live);
    return uses;
}

static Node rewrite_sum(void *context, Module *module, FuncId from, Node n, FuncId to,
                        const Node *known) {
    const Contract *c = context;
    const Func *f = graph_get(module, from);
    NodeData d = *graph_node(f, n);
    if (d.op != OP_ADD && d.op != OP_SUB) return NODE_NONE;
    for (uint32_t i = 0; i < 2; i++) {
        Node product = graph_operand(f, n, i);
        const NodeData *p = graph_node(f, product);
        if (p->op != OP_MUL || c->uses[product] != 1 || !type_equal(p->type, d.type)) continue;
        Node a = known[graph_operand(f, product, 0)], b = known[graph_operand(f, product, 1)];
        Node rest = known[graph_operand(f, n, 1 - i)];
        double number;
        if (d.op == OP_SUB && i == 0)
            rest = graph_unary(module, to, OP_NEG, rest, d.span);
        else if (d.op == OP_SUB && graph_is_const(graph_get(module, to), b, &number))
            b = graph_const(module, to, -number);
        else if (d.op == OP_SUB)
            a = graph_unary(module, to, OP_NEG, a, d.span);
        return graph_add(module, to, OP_FMA, (Node[]){a, b, rest}, 3, 0, 0, d.span);
    }
    return NODE_NONE;
}

void pass_contract(Module *module) {
    for (FuncId id = 1; id < module->funcs.len; id++) {
        Contract c = {count_uses(graph_get(module, id))};
        rebuild_func(module, id, rewrite_sum, &c);
        rebuild_func(module, id, NULL, NULL); /* the products are dead now */
        mem_free(c.uses);
    }
}
