/* Control: loops, calls, their results, and frames of stacks. */
#include "compiler/ops/rules.h"

#include <math.h>
#include <string.h>

static Type type_in(Module *m, FuncId f, Node n) { return graph_node(graph_get(m, f), n)->type; }

bool control_misfit(Module *m, const char **why, const char *what, Type wanted, Type have) {
    *why = arena_format(m->arena, "%s is %s where %s is expected", what,
                        type_text(m, have, m->arena), type_text(m, wanted, m->arena));
    return false;
}

static bool fits_loop(Module *m, FuncId f, const Loop *loop, const Node *operands, uint32_t count,
                      const char **why) {
    *why = "a loop's operands and its body's parameters and results do not agree in number";
    if (loop->body == 0 || loop->body >= m->funcs.len || count != 1 + loop->states + loop->captured)
        return false;
    const Func *body = graph_get(m, loop->body);
    if (body->params.len != count || body->results.len != loop->states + loop->has_stop)
        return false;
    for (uint32_t i = 0; i < count; i++) {
        Type wanted = graph_node(body, body->params.data[i])->type,
             have = type_in(m, f, operands[i]);
        if (i == 0 && (wanted.kind != TYPE_SCALAR || have.kind != TYPE_SCALAR))
            return control_misfit(m, why, "a loop's count", type_scalar(), have);
        if (!type_equal(wanted, have))
            return control_misfit(
                m, why, i <= loop->states ? "a loop's first state" : "what a loop captured", wanted,
                have);
    }
    for (uint32_t i = 0; i < loop->states; i++) {
        Type wanted = graph_node(body, body->params.data[1 + i])->type;
        Type have = graph_node(body, body->results.data[i])->type;
        if (!type_equal(wanted, have))
            return control_misfit(m, why, "a loop's next state", wanted, have);
    }
    if (loop->has_stop &&
        graph_node(body, body->results.data[loop->states])->type.kind != TYPE_SCALAR)
        return control_misfit(m, why, "a loop's stop", type_scalar(),
                              graph_node(body, body->results.data[loop->states])->type);
    for (uint32_t i = 0; i < loop->collected; i++)
        if (loop->collect[i] >= loop->states || loop->stride < 1) {
            *why = "a loop collects a state that it lacks, or with no stride";
            return false;
        }
    return true;
}

bool shape_tuple(Module *m, FuncId f, Op op, const Node *operands, uint32_t count, uint32_t index,
                 uint32_t detail, Type *out, const char **why) {
    *out = (Type){TYPE_TUPLE, 1, GRID_NONE};
    if (op == OP_LOOP) {
        if (index == 0 || index >= m->loops.len) {
            *why = "no such loop";
            return false;
        }
        return fits_loop(m, f, &m->loops.data[index], operands, count, why);
    }
    if (op == OP_TASK) return true;
    if (index == 0 || index >= m->funcs.len || index == f) {
        *why = "no such function to call";
        return false;
    }
    const Func *callee = graph_get(m, index);
    if (callee->params.len != count) {
        *why = arena_format(m->arena, "a function of %u parameters is called with %u",
                            callee->params.len, count);
        return false;
    }
    for (uint32_t i = 0; i < count; i++) {
        Type wanted = graph_node(callee, callee->params.data[i])->type;
        if (!type_equal(wanted, type_in(m, f, operands[i])))
            return control_misfit(m, why, "an argument", wanted, type_in(m, f, operands[i]));
    }
    return true;
}

bool shape_result(Module *m, FuncId f, Op op, const Node *operands, uint32_t count, uint32_t index,
                  uint32_t detail, Type *out, const char **why) {
    NodeData d = *graph_node(graph_get(m, f), operands[0]);
    *why = "no such result of the loop or call";
    if (d.op == OP_TASK) {
        if (index >= d.count) return false;
        *out = type_in(m, f, graph_operand(graph_get(m, f), operands[0], index));
        return out->kind != TYPE_TUPLE;
    }
    if (d.op == OP_CALL) {
        const Func *callee = graph_get(m, d.index);
        if (index >= callee->results.len) return false;
        *out = graph_node(callee, callee->results.data[index])->type;
        return true;
    }
    if (d.op != OP_LOOP && d.op != OP_BACK) return false;
    const Loop *loop = &m->loops.data[d.index];
    const Func *body = graph_get(m, loop->body);
    if (d.op == OP_BACK) {
        if (index >= loop->states) return false;
        *out = graph_node(body, body->results.data[index])->type;
    } else if (index < loop->states) {
        *out = graph_node(body, body->params.data[1 + index])->type;
    } else if (index == loop->states) {
        *out = type_scalar();
    } else if (index - loop->states - 1 < loop->collected) {
        uint32_t state = loop->collect[index - loop->states - 1];
        *out = graph_node(body, body->params.data[1 + state])->type;
        if (out->kind == TYPE_STACK) {
            *why = "a stack of stacks is not a value";
            return false;
        }
        out->kind = TYPE_STACK;
    } else {
        return false;
    }
    return true;
}

bool shape_frame(Module *m, FuncId f, Op op, const Node *operands, uint32_t count, uint32_t index,
                 uint32_t detail, Type *out, const char **why) {
    Type stack = type_in(m, f, operands[0]), i = type_in(m, f, operands[1]);
    if (stack.kind != TYPE_STACK || i.kind != TYPE_SCALAR) {
        *why = "a frame is taken from a trajectory, by its number";
        return false;
    }
    *out = stack;
    out->kind = stack.grid == GRID_NONE ? TYPE_SCALAR : TYPE_FIELD;
    return true;
}

bool shape_reduce_stack(Module *m, FuncId f, Op op, const Node *operands, uint32_t count,
                        uint32_t index, uint32_t detail, Type *out, const char **why) {
    *why = "only a trajectory has a length in frames";
    *out = type_scalar();
    return type_in(m, f, operands[0]).kind == TYPE_STACK;
}

/* ---- evaluation ------------------------------------------------------------------------ */

Array *tuple_make(Array *out, uint32_t count) {
    *out = (Array){.type = {TYPE_TUPLE, 1, GRID_NONE}, .frames = count};
    out->data = mem_alloc(sizeof(Array) * (count ? count : 1));
    Array *items = tuple_items(out);
    memset(items, 0, sizeof(Array) * count);
    return items;
}

void eval_call(Evaluator *e, FuncId f, Node n, const Array *const *operands, Array *out) {
    NodeData d = *graph_node(graph_get(e->module, f), n);
    Array *args = mem_alloc(sizeof(Array) * (d.count + 1));
    for (uint32_t i = 0; i < d.count; i++) args[i] = *operands[i];
    Array *items = tuple_make(out, graph_get(e->module, d.index)->results.len);
    eval_run(e, d.index, args, items);
    mem_free(args);
}

void eval_task(Evaluator *e, FuncId f, Node n, const Array *const *operands, Array *out) {
    const NodeData *d = graph_node(graph_get(e->module, f), n);
    Array *items = tuple_make(out, d->count);
    for (uint32_t i = 0; i < d->count; i++) array_copy(&items[i], operands[i]);
    if (e->options->task)
        e->status = e->options->task(e->options->context, d->index, items, d->count);
}

void stack_push(Array *stack, const Array *frame) {
    stack->data = mem_resize(stack->data, sizeof(double) * (size_t)(stack->size + frame->size));
    memcpy(stack->data + stack->size, frame->data, sizeof(double) * (size_t)frame->size);
    stack->size += frame->size;
    stack->frames++;
}

/* Runs the body until the count is reached, it says stop, or evaluation fails; returns the steps
 * done. args[1 …] hold the states, owned here. `kept` (may be NULL) gets what they were before each step. */
static int64_t run_loop(Evaluator *e, const Loop *loop, double count, Array *args, Array *stacks,
                        Array *kept) {
    Array *next = mem_alloc(sizeof(Array) * (loop->states + 1));
    int64_t done = 0;
    double number;
    args[0] = (Array){.type = type_scalar(), .frames = 1, .size = 1, .data = &number};
    bool stop = false;
    while (!stop && (double)done < count && e->status == 0) {
        number = (double)(loop->start + done);
        for (uint32_t i = 0; kept && i < loop->states; i++) stack_push(&kept[i], &args[1 + i]);
        memset(next, 0, sizeof(Array) * (loop->states + 1));
        eval_run(e, loop->body, args, next);
        if (e->status == 0 && loop->has_stop) stop = next[loop->states].data[0] != 0;
        if (loop->has_stop) array_free(&next[loop->states]);
        for (uint32_t i = 0; i < loop->states; i++) {
            array_free(&args[1 + i]);
            args[1 + i] = next[i];
        }
        done++;
        for (uint32_t i = 0; i < loop->collected && e->status == 0 && done % loop->stride == 0; i++)
            stack_push(&stacks[i], &args[1 + loop->collect[i]]);
    }
    mem_free(next);
    return done;
}

void eval_loop(Evaluator *e, FuncId f, Node n, const Array *const *operands, Array *out) {
    NodeData d = *graph_node(graph_get(e->module, f), n);
    Loop loop = e->module->loops.data[d.index];
    bool keeps = loop_runs_back(graph_get(e->module, f), n);
    Array *items = tuple_make(out, loop.states + 1 + loop.collected + (keeps ? loop.states : 0));
    Array *stacks = items + loop.states + 1, *kept = keeps ? stacks + loop.collected : NULL;
    Array *args = mem_alloc(sizeof(Array) * d.count);
    for (uint32_t i = 1; i < d.count; i++) {
        args[i] = *operands[i];
        if (i <= loop.states) array_copy(&args[i], operands[i]);
    }
    for (uint32_t i = 0; i < loop.collected; i++) {
        const Array *first = &args[1 + loop.collect[i]];
        stacks[i] = (Array){.type = first->type};
        stacks[i].type.kind = TYPE_STACK;
        stack_push(&stacks[i], first);
    }
    double count = operands[0]->data[0], whole = rint(count);
    if (!(count >= 0 && fabs(count - whole) <= fmin(LOOP_COUNT_ROUNDING * count, LOOP_COUNT_CLOSE)))
        e->status = EVAL_COUNT;
    for (uint32_t i = 0; kept && i < loop.states; i++) kept[i].type = args[1 + i].type;
    int64_t done = run_loop(e, &loop, whole, args, stacks, kept);
    for (uint32_t i = 0; i < loop.states; i++) items[i] = args[1 + i];
    mem_free(args);
    array_make(e, &items[loop.states], type_scalar(), 1);
    items[loop.states].data[0] = (double)done;
}

void eval_result(Evaluator *e, FuncId f, Node n, const Array *const *operands, Array *out) {
    array_copy(out, &tuple_items(operands[0])[graph_node(graph_get(e->module, f), n)->index]);
}

void eval_frame(Evaluator *e, FuncId f, Node n, const Array *const *operands, Array *out) {
    double wanted = operands[1]->data[0];
    if (wanted < 0) wanted += (double)operands[0]->frames;
    if (!(wanted >= 0 && wanted < (double)operands[0]->frames)) {
        e->status = EVAL_FRAME;
        return;
    }
    memcpy(out->data, operands[0]->data + (int64_t)wanted * out->size,
           sizeof(double) * (size_t)out->size);
}

void eval_frames(Evaluator *e, FuncId f, Node n, const Array *const *operands, Array *out) {
    out->data[0] = (double)operands[0]->frames;
}

/* ---- derivatives: of whole functions, so analysis treats these ops (transpose.c, jvp.c, gradient.c) ------- */

Node deriv_loop(Module *m, FuncId f, Node n, uint32_t i, Node w) { return NODE_NONE; }

Node deriv_call(Module *m, FuncId f, Node n, uint32_t i, Node w) { return NODE_NONE; }

Node deriv_result(Module *m, FuncId f, Node n, uint32_t i, Node w) { return NODE_NONE; }

Node deriv_frame(Module *m, FuncId f, Node n, uint32_t i, Node w) { return NODE_NONE; }
