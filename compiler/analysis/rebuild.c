/* Rebuilding functions from their live nodes. */
#include "compiler/analysis/rebuild.h"
#include "compiler/graph/internal.h"

#include <string.h>

uint8_t *rebuild_live(const Func *f) {
    uint8_t *live = mem_alloc(f->nodes.len);
    memset(live, 0, f->nodes.len);
    for (uint32_t i = 0; i < f->results.len; i++) live[f->results.data[i]] = 1;
    for (uint32_t i = 0; i < f->effects.len; i++)
        for (uint32_t k = 0; k < f->effects.data[i].count; k++)
            live[f->effects.data[i].values[k]] = 1;
    for (Node n = f->nodes.len; --n > 0;)
        for (uint32_t k = 0; live[n] && k < graph_node(f, n)->count; k++)
            live[graph_operand(f, n, k)] = 1;
    return live;
}

FuncId *rebuild_order(const Module *module, uint32_t *count) {
    uint32_t funcs = module->funcs.len;
    FuncId *order = mem_alloc(sizeof *order * funcs), *stack = mem_alloc(sizeof *stack * funcs);
    Node *at = mem_alloc(sizeof *at * funcs);
    uint8_t *seen = mem_alloc(funcs);
    memset(at, 0, sizeof *at * funcs);
    memset(seen, 0, funcs);
    *count = 0;
    for (FuncId root = 1; root < funcs; root++) {
        uint32_t depth = 0;
        if (!seen[root]) stack[depth++] = root;
        seen[root] = 1;
        while (depth) {
            FuncId id = stack[depth - 1], callee = 0;
            const Func *f = graph_get(module, id);
            while (callee == 0 && ++at[id] < f->nodes.len) {
                const NodeData *d = graph_node(f, at[id]);
                callee = d->op == OP_LOOP || d->op == OP_BACK ? module->loops.data[d->index].body
                         : d->op == OP_CALL                   ? d->index
                                                              : 0;
                if (seen[callee]) callee = 0;
            }
            if (callee) {
                seen[callee] = 1;
                stack[depth++] = callee;
            } else {
                order[(*count)++] = id;
                depth--;
            }
        }
    }
    mem_free(stack);
    mem_free(at);
    mem_free(seen);
    return order;
}

static Node copy_node(Module *module, FuncId from, Node n, FuncId to, const Node *known) {
    NodeData d = *graph_node(graph_get(module, from), n);
    if (d.op == OP_CONST) return graph_const(module, to, d.number);
    Node *operands = mem_alloc(sizeof *operands * (d.count + 1));
    for (uint32_t k = 0; k < d.count; k++)
        operands[k] = known[graph_operand(graph_get(module, from), n, k)];
    Node made = graph_type_is_given(d.op)
                    ? graph_add_typed(module, to, d.op, d.type, operands, d.count, d.index,
                                      d.detail, d.span)
                    : graph_add(module, to, d.op, operands, d.count, d.index, d.detail, d.span);
    mem_free(operands);
    return made;
}

static void swap_funcs(Func *a, Func *b) {
    Func keep = *a;
    *a = *b;
    *b = keep;
}

void rebuild_func(Module *module, FuncId func, Rewrite *rewrite, void *context) {
    Func *old = graph_get(module, func);
    uint8_t *live = rebuild_live(old);
    Node *known = mem_alloc(sizeof *known * old->nodes.len);
    memset(known, 0, sizeof *known * old->nodes.len);
    FuncId to = graph_func(module, old->name);
    for (uint32_t i = 0; i < old->params.len; i++)
        known[old->params.data[i]] = graph_param_like(module, to, old, i);
    for (Node n = 1; n < old->nodes.len; n++) {
        if (!live[n] || known[n]) continue;
        if (rewrite) known[n] = rewrite(context, module, func, n, to, known);
        if (!known[n]) known[n] = copy_node(module, func, n, to, known);
    }
    Func *made = graph_get(module, to);
    for (uint32_t i = 0; i < old->results.len; i++)
        vec_push(&made->results, known[old->results.data[i]]);
    for (uint32_t i = 0; i < old->effects.len; i++) {
        Effect effect = old->effects.data[i];
        effect.values = ARENA_ARRAY(module->arena, Node, effect.count + 1);
        for (uint32_t k = 0; k < effect.count; k++)
            effect.values[k] = known[old->effects.data[i].values[k]];
        vec_push(&made->effects, effect);
    }
    mem_free(live);
    mem_free(known);
    /* the new content takes the old number; rewriting made no function after `to` */
    swap_funcs(old, made);
    vec_free(&made->nodes);
    vec_free(&made->operands);
    vec_free(&made->params);
    vec_free(&made->results);
    vec_free(&made->effects);
    map_free(&made->shared);
    module->funcs.len--;
}
