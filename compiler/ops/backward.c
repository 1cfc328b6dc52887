/* What gradients of loops need: loops run backwards, and stacks that are summed into. */
#include "compiler/ops/rules.h"

#include <string.h>

static Type type_in(Module *m, FuncId f, Node n) { return graph_node(graph_get(m, f), n)->type; }

/* ---- loops run backwards ------------------------------------------------------------- */

bool loop_runs_back(const Func *f, Node n) {
    for (Node b = n + 1; b < f->nodes.len; b++)
        if (graph_node(f, b)->op == OP_BACK && graph_operand(f, b, 0) == n) return true;
    return false;
}

/* The kept states have the types of the loop's. */
static bool fits_kept(Module *m, const Loop *back, const Loop *loop, const char **why) {
    const Func *body = graph_get(m, back->body), *forward = graph_get(m, loop->body);
    for (uint32_t i = 0; i < back->collected; i++) {
        if (back->collect[i] >= loop->states || 1 + back->collect[i] >= forward->params.len) {
            *why = "a loop run backwards needs a state that the loop lacks";
            return false;
        }
        Type wanted = graph_node(forward, forward->params.data[1 + back->collect[i]])->type;
        Type have = graph_node(body, body->params.data[1 + i])->type;
        if (!type_equal(wanted, have)) return control_misfit(m, why, "a kept state", wanted, have);
    }
    return true;
}

bool shape_back(Module *m, FuncId f, Op op, const Node *operands, uint32_t count, uint32_t index,
                uint32_t detail, Type *out, const char **why) {
    *out = (Type){TYPE_TUPLE, 1, GRID_NONE};
    *why = "what is run backwards is no loop, or its body does not fit";
    if (index == 0 || index >= m->loops.len || count == 0) return false;
    const NodeData *forward = graph_node(graph_get(m, f), operands[0]);
    const Loop *back = &m->loops.data[index];
    if (forward->op != OP_LOOP || back->body == 0 || back->body >= m->funcs.len ||
        count != 1 + back->states + back->captured)
        return false;
    const Func *body = graph_get(m, back->body);
    uint32_t kept = back->collected;
    if (body->params.len != kept + count || body->results.len != back->states) return false;
    if (graph_node(body, body->params.data[0])->type.kind != TYPE_SCALAR) return false;
    if (!fits_kept(m, back, &m->loops.data[forward->index], why)) return false;
    for (uint32_t i = 1; i < count; i++) {
        Type wanted = graph_node(body, body->params.data[kept + i])->type;
        if (!type_equal(wanted, type_in(m, f, operands[i])))
            return control_misfit(m, why, "what a loop is run backwards with", wanted,
                                  type_in(m, f, operands[i]));
        if (i <= back->states &&
            !type_equal(wanted, graph_node(body, body->results.data[i - 1])->type))
            return control_misfit(m, why, "the next state of a loop run backwards", wanted,
                                  graph_node(body, body->results.data[i - 1])->type);
    }
    return true;
}

/* The frame of a stack that holds what a state was before step `step`; not owned. */
static Array frame_at(const Array *stack, int64_t step) {
    Array a = *stack;
    a.size /= stack->frames > 0 ? stack->frames : 1;
    a.frames = 1;
    a.data += a.size * step;
    return a;
}

void eval_back(Evaluator *e, FuncId f, Node n, const Array *const *operands, Array *out) {
    const Func *func = graph_get(e->module, f);
    NodeData d = *graph_node(func, n);
    Loop back = e->module->loops.data[d.index],
         loop = e->module->loops.data[graph_node(func, graph_operand(func, n, 0))->index];
    const Array *items = tuple_items(operands[0]), *kept = items + loop.states + 1 + loop.collected;
    int64_t steps = (int64_t)items[loop.states].data[0];
    Array *args = mem_alloc(sizeof(Array) * (d.count + back.collected));
    Array *states = args + 1 + back.collected, *next = tuple_make(out, back.states);
    double number;
    args[0] = (Array){.type = type_scalar(), .frames = 1, .size = 1, .data = &number};
    for (uint32_t i = 1; i < d.count; i++) states[i - 1] = *operands[i];
    for (uint32_t i = 0; i < back.states; i++) array_copy(&states[i], operands[1 + i]);
    while (steps-- > 0 && e->status == 0) {
        number = (double)(loop.start + steps);
        for (uint32_t i = 0; i < back.collected; i++)
            args[1 + i] = frame_at(&kept[back.collect[i]], steps);
        memset(next, 0, sizeof(Array) * back.states);
        eval_run(e, back.body, args, next);
        for (uint32_t i = 0; i < back.states; i++) {
            array_free(&states[i]);
            states[i] = next[i];
        }
    }
    for (uint32_t i = 0; i < back.states; i++) next[i] = states[i];
    mem_free(args);
}

/* ---- stacks -------------------------------------------------------------------------- */

bool shape_zerostack(Module *m, FuncId f, Op op, const Node *operands, uint32_t count,
                     uint32_t index, uint32_t detail, Type *out, const char **why) {
    *out = type_in(m, f, operands[0]);
    *why = "a stack of zeros is made like another stack";
    return out->kind == TYPE_STACK;
}

bool shape_scatter(Module *m, FuncId f, Op op, const Node *operands, uint32_t count, uint32_t index,
                   uint32_t detail, Type *out, const char **why) {
    Type frame = *out = type_in(m, f, operands[0]);
    frame.kind = frame.grid == GRID_NONE ? TYPE_SCALAR : TYPE_FIELD;
    *why = "a value is added to a frame of a stack, by its number";
    if (out->kind != TYPE_STACK || type_in(m, f, operands[1]).kind != TYPE_SCALAR) return false;
    if (!type_equal(frame, type_in(m, f, operands[2])))
        return control_misfit(m, why, "what is added to a frame", frame,
                              type_in(m, f, operands[2]));
    return true;
}

/* run_nodes made room for one frame: it goes. */
void eval_zerostack(Evaluator *e, FuncId f, Node n, const Array *const *operands, Array *out) {
    array_free(out);
    array_make(e, out, operands[0]->type, operands[0]->frames);
    memset(out->data, 0, sizeof(double) * (size_t)out->size);
}

void eval_scatter(Evaluator *e, FuncId f, Node n, const Array *const *operands, Array *out) {
    double at = operands[1]->data[0];
    array_free(out);
    array_copy(out, operands[0]);
    if (at < 0) at += (double)out->frames;
    if (!(at >= 0 && at < (double)out->frames)) {
        e->status = EVAL_FRAME;
        return;
    }
    double *to = out->data + (int64_t)at * operands[2]->size;
    for (int64_t i = 0; i < operands[2]->size; i++) to[i] += operands[2]->data[i];
}

/* Of functions as a whole: analysis/gradient.c and jvp.c. */
Node deriv_back(Module *m, FuncId f, Node n, uint32_t i, Node w) { return NODE_NONE; }

Node deriv_scatter(Module *m, FuncId f, Node n, uint32_t i, Node w) {
    const NodeData *d = graph_node(graph_get(m, f), n);
    if (i == 0) return w;
    if (i == 1) return NODE_NONE;
    return graph_binary(m, f, OP_FRAME, w, graph_operand(graph_get(m, f), n, 1), d->span);
}
