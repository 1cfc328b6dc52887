/* What depends on the data, and what on parameters alone. */
#include "compiler/explain/build.h"

#include <string.h>

bool is_alias(Op op) { return op == OP_RESULT || op == OP_DETACH; }

/* Where data come from. */
static bool is_source(const Builder *b, const NodeData *d) {
    if (d->op == OP_INPUT) return b->options->inputs[d->index].data;
    if (d->op == OP_NORMAL || d->op == OP_UNIFORM) return true;
    return d->op == OP_COORD && b->options->places;
}

uint8_t *scan_loop(const Builder *b, const Func *f, const uint8_t *varies, Node n) {
    const NodeData *d = graph_node(f, n);
    const Loop *l = &b->module->loops.data[d->index];
    const Func *body = graph_get(b->module, l->body);
    uint8_t *params = ARENA_ARRAY(b->arena, uint8_t, body->params.len + 1);
    uint8_t *inner = mem_alloc(body->nodes.len);
    for (uint32_t p = 1; p < body->params.len && p < d->count; p++)
        params[p] = varies[graph_operand(f, n, p)];
    for (bool again = true; again;) {
        again = false;
        scan_varies(b, l->body, params, inner);
        for (uint32_t i = 0; i < l->states; i++)
            if (inner[body->results.data[i]] && !params[1 + i]) params[1 + i] = again = true;
    }
    mem_free(inner);
    return params;
}

/* Of a result of a loop. */
static bool result_varies(const Builder *b, const Func *f, const uint8_t *varies, Node n) {
    Node tuple = graph_operand(f, n, 0);
    const NodeData *d = graph_node(f, tuple);
    uint32_t index = graph_node(f, n)->index;
    if (d->op == OP_TASK || !varies[tuple]) return false;
    if (d->op != OP_LOOP) return true;
    const Loop *l = &b->module->loops.data[d->index];
    uint8_t *params = scan_loop(b, f, varies, tuple);
    if (index < l->states) return params[1 + index];
    if (index == l->states) return l->has_stop;
    return params[1 + l->collect[index - l->states - 1]];
}

void scan_varies(const Builder *b, FuncId func, const uint8_t *params, uint8_t *out) {
    const Func *f = graph_get(b->module, func);
    memset(out, 0, f->nodes.len);
    for (Node n = 1; n < f->nodes.len; n++) {
        const NodeData *d = graph_node(f, n);
        if (d->op == OP_PARAM)
            out[n] = params && params[d->index];
        else if (d->op == OP_RESULT)
            out[n] = result_varies(b, f, out, n);
        else {
            out[n] = is_source(b, d);
            for (uint32_t k = 0; k < d->count; k++) out[n] |= out[graph_operand(f, n, k)];
            if (d->op == OP_LOOP && !out[n]) { /* noise inside */
                uint8_t *inner = scan_loop(b, f, out, n);
                for (uint32_t i = 0; i < b->module->loops.data[d->index].states; i++)
                    out[n] |= inner[1 + i];
            }
        }
    }
}

const uint64_t *node_tensors(const Reading *r, Node n) {
    return r->tensors + (size_t)n * r->b->words;
}

void scan_tensors(Reading *r, const uint64_t *params) {
    const Builder *b = r->b;
    uint32_t words = b->words;
    r->tensors = ARENA_ARRAY(b->arena, uint64_t, (size_t)r->f->nodes.len * words + 1);
    for (Node n = 1; n < r->f->nodes.len; n++) {
        const NodeData *d = graph_node(r->f, n);
        uint64_t *own = r->tensors + (size_t)n * words;
        if (d->op == OP_PARAM && params)
            memcpy(own, params + (size_t)d->index * words, sizeof *own * words);
        if (d->op == OP_INPUT && !b->options->inputs[d->index].data)
            own[d->index / 64] |= 1ull << (d->index % 64);
        uint32_t first = 0, last = d->count;
        if (d->op == OP_RESULT && graph_node(r->f, graph_operand(r->f, n, 0))->op == OP_TASK) {
            /* the same parameter, trained */
            Node was = graph_operand(r->f, graph_operand(r->f, n, 0), d->index);
            memcpy(own, node_tensors(r, was), sizeof *own * words);
            last = 0;
        }
        for (uint32_t k = first; k < last; k++) {
            Node o = graph_operand(r->f, n, k);
            for (uint32_t w = 0; w < words && !r->varies[o]; w++) own[w] |= node_tensors(r, o)[w];
        }
    }
}
