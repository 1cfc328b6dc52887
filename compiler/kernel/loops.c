/* Loops of the host program: forwards, and backwards over what their tapes keep. */
#include "compiler/kernel/build.h"

#include <string.h>

static const Loop *loop_at(const Block *b, Node n) {
    return &b->planner->module->loops.data[graph_node(b->f, n)->index];
}

/* ---- forwards ------------------------------------------------------------------------------ */

static void loop_body(Block *outer, FuncId func, HLoop *h, const HReg *captured, bool has_stop) {
    Planner *p = outer->planner;
    Block b;
    h->body = ARENA_NEW(p->plan->arena, HBlock);
    block_start(&b, p, func, outer->host, h->body);
    b.in_loop = true;
    for (uint32_t i = 0; i < b.f->params.len; i++) {
        Node param = b.f->params.data[i];
        b.reg[param] = i == 0           ? h->k
                       : i <= h->states ? h->param[i - 1]
                                        : captured[i - 1 - h->states];
    }
    for (uint32_t i = 0; i < h->states; i++) h->next[i] = block_require(&b, b.f->results.data[i]);
    h->stop = has_stop ? block_require(&b, b.f->results.data[h->states]) : NONE;
    block_free(&b);
}

/* Without states, count, stop and body. */
static HLoop *new_loop(Block *b, LoopId number, const Loop *loop) {
    Plan *plan = b->planner->plan;
    HLoop *h = ARENA_NEW(plan->arena, HLoop);
    h->number = number;
    h->name = loop->name;
    h->progress = !b->in_loop;
    h->start_constant = plan_constant(plan, (double)loop->start);
    h->stride_constant = plan_constant(plan, (double)(loop->stride < 1 ? 1 : loop->stride));
    h->count_constant = plan_constant(plan, 0);
    h->count = h->stop = h->tape = NONE;
    h->k = block_reg(b, type_scalar());
    h->steps = block_reg(b, type_scalar());
    return h;
}

static void new_states(Block *b, HLoop *h, const Type *types, uint32_t count) {
    Plan *plan = b->planner->plan;
    h->states = count;
    h->param = ARENA_ARRAY(plan->arena, HReg, count + 1);
    h->next = ARENA_ARRAY(plan->arena, HReg, count + 1);
    h->result = ARENA_ARRAY(plan->arena, HReg, count + 1);
    for (uint32_t i = 0; i < count; i++) {
        h->param[i] = block_reg(b, types[i]);
        h->result[i] = block_reg(b, types[i]);
    }
}

static Type *types_of(Block *b, const Node *nodes, uint32_t count) {
    Type *types = ARENA_ARRAY(b->planner->arena, Type, count + 1);
    for (uint32_t i = 0; i < count; i++) types[i] = graph_node(b->f, nodes[i])->type;
    return types;
}

/* A run of the loop at node n; `*results` are its registers. */
static HLoop *emit_forward(Block *b, Node n, HReg **results) {
    const NodeData *d = graph_node(b->f, n);
    Plan *plan = b->planner->plan;
    const Loop *loop = loop_at(b, n);
    const Node *operands = b->f->operands.data + d->first;
    uint32_t s = loop->states;
    double count;
    HReg *all = block_regs(b, operands + 1, d->count - 1), limit = NONE;
    if (!graph_is_const(b->f, operands[0], &count)) limit = block_require(b, operands[0]);
    HLoop *h = new_loop(b, d->index, loop);
    h->count = limit;
    if (limit == NONE) h->count_constant = plan_constant(plan, count);
    h->init = all;
    new_states(b, h, types_of(b, operands + 1, s), s);
    *results = ARENA_ARRAY(b->planner->arena, HReg, s + 1 + loop->collected);
    memcpy(*results, h->result, sizeof **results * s);
    (*results)[s] = h->steps;
    h->collect = ARENA_ARRAY(plan->arena, uint32_t, loop->collected + 1);
    h->stack = ARENA_ARRAY(plan->arena, HReg, loop->collected + 1);
    for (uint32_t i = 0; i < loop->collected; i++) {
        if (!block_result_needed(b, n, s + 1 + i)) continue;
        Type t = graph_node(b->f, operands[1 + loop->collect[i]])->type;
        t.kind = TYPE_STACK;
        h->collect[h->collected] = loop->collect[i];
        (*results)[s + 1 + i] = h->stack[h->collected++] = block_reg(b, t);
    }
    loop_body(b, loop->body, h, all + s, loop->has_stop);
    return h;
}

/* ---- tapes ----------------------------------------------------------------------------------- */

/* Marks the states on which body result r depends; returns whether there are new ones. */
static bool mark_states(const Func *body, uint32_t r, uint32_t states, bool *needed) {
    uint8_t *live = mem_alloc(body->nodes.len);
    bool more = false;
    memset(live, 0, body->nodes.len);
    live[body->results.data[r]] = 1;
    for (Node n = body->results.data[r]; n > 0; n--)
        for (uint32_t k = 0; live[n] && k < graph_node(body, n)->count; k++)
            live[graph_operand(body, n, k)] = 1;
    for (uint32_t i = 0; i < states; i++)
        if (live[body->params.data[1 + i]] && !needed[i]) needed[i] = more = true;
    mem_free(live);
    return more;
}

/* What must be kept to have the states that `back` wants: those, and what they are computed from. */
static void choose_kept(Block *b, const Loop *loop, const Loop *back, HLoop *h) {
    Planner *p = b->planner;
    bool *needed = ARENA_ARRAY(p->arena, bool, loop->states + 1);
    for (uint32_t i = 0; i < back->collected; i++) needed[back->collect[i]] = true;
    for (bool again = true; again;) {
        again = false;
        for (uint32_t i = 0; i < loop->states; i++)
            if (needed[i])
                again |= mark_states(graph_get(p->module, loop->body), i, loop->states, needed);
    }
    h->keep = ARENA_ARRAY(p->plan->arena, uint32_t, loop->states + 1);
    for (uint32_t i = 0; i < loop->states; i++)
        if (needed[i]) h->keep[h->kept++] = i;
}

/* The body with the kept states alone. */
static FuncId kept_body(Block *b, const Loop *loop, const HLoop *h) {
    Module *m = b->planner->module;
    const Func *old = graph_get(m, loop->body);
    FuncId body = graph_func(m, old->name);
    Map known = {0};
    for (uint32_t p = 0; p < old->params.len; p++) {
        bool kept = p == 0 || p > loop->states;
        for (uint32_t i = 0; i < h->kept; i++) kept = kept || h->keep[i] + 1 == p;
        if (!kept) continue;
        Type type = graph_node(old, old->params.data[p])->type;
        map_set(&known, old->params.data[p], graph_param(m, body, type, 0));
    }
    for (uint32_t i = 0; i < h->kept; i++) {
        Node next = graph_copy(m, loop->body, old->results.data[h->keep[i]], body, &known);
        vec_push(&graph_get(m, body)->results, next);
    }
    map_free(&known);
    return body;
}

/* The first BACK that goes over loop n and is needed, after node `from`. */
static Node back_of(const Block *b, Node n) {
    for (Node k = n + 1; k < b->f->nodes.len; k++)
        if (b->needed[k] && graph_node(b->f, k)->op == OP_BACK &&
            b->f->operands.data[graph_node(b->f, k)->first] == n)
            return k;
    return NODE_NONE;
}

static void add_tape(Block *b, HLoop *h, Node n, Node back) {
    choose_kept(b, loop_at(b, n), loop_at(b, back), h);
    h->tape = b->host->tapes++;
    b->tape[back] = h;
}

void block_loop(Block *b, Node n) {
    Node back = back_of(b, n);
    HReg *results;
    HLoop *h = emit_forward(b, n, &results);
    b->tuple[n] = results;
    if (back) add_tape(b, h, n, back);
    block_emit(b, H_LOOP)->loop = h;
}

/* ---- backwards ------------------------------------------------------------------------------- */

/* The loop from a kept state to the step that is undone. `captured`: of the loop itself. */
static HLoop *emit_advance(Block *b, Node n, const HLoop *forward, const HReg *captured) {
    const Loop *loop = loop_at(b, n);
    const Node *operands = b->f->operands.data + graph_node(b->f, n)->first;
    HLoop *h = new_loop(b, forward->number, loop);
    Type *types = ARENA_ARRAY(b->planner->arena, Type, forward->kept + 1);
    for (uint32_t i = 0; i < forward->kept; i++)
        types[i] = graph_node(b->f, operands[1 + forward->keep[i]])->type;
    new_states(b, h, types, forward->kept);
    h->progress = false;
    h->tape = forward->tape;
    h->kept = forward->kept;
    h->keep = ARENA_ARRAY(b->planner->plan->arena, uint32_t, h->kept + 1);
    for (uint32_t i = 0; i < h->kept; i++) h->keep[i] = i;
    loop_body(b, kept_body(b, loop, forward), h, captured, false);
    return h;
}

/* The body of a loop that goes back, after what it begins with. */
static void back_body(Block *outer, const Loop *back, HLoop *h, const HLoop *forward,
                      const HLoop *advance, const HReg *captured) {
    Block b;
    uint32_t first = 1 + back->collected;
    block_start(&b, outer->planner, back->body, outer->host, h->body);
    b.in_loop = true;
    for (uint32_t i = 0; i < b.f->params.len; i++) {
        Node param = b.f->params.data[i];
        if (i == 0)
            b.reg[param] = h->k;
        else if (i >= first)
            b.reg[param] =
                i < first + h->states ? h->param[i - first] : captured[i - first - h->states];
        for (uint32_t k = 0; i > 0 && i < first && k < forward->kept; k++)
            if (forward->keep[k] == back->collect[i - 1]) b.reg[param] = advance->result[k];
    }
    for (uint32_t i = 0; i < h->states; i++) h->next[i] = block_require(&b, b.f->results.data[i]);
    block_free(&b);
}

void block_back(Block *b, Node n) {
    const NodeData *d = graph_node(b->f, n);
    const Node *operands = b->f->operands.data + d->first;
    Loop back = *loop_at(b, n);
    Node loop = operands[0];
    uint32_t states = loop_at(b, loop)->states;
    if (!b->tuple[loop]) block_loop(b, loop);
    HReg *all = block_regs(b, operands + 1, d->count - 1);
    const NodeData *l = graph_node(b->f, loop);
    HReg *captured =
        block_regs(b, b->f->operands.data + l->first + 1 + states, l->count - 1 - states);
    if (!b->tape[n]) { /* another one has gone over the tape: the loop is run again */
        HReg *ignored;
        HLoop *again = emit_forward(b, loop, &ignored);
        add_tape(b, again, loop, n);
        block_emit(b, H_LOOP)->loop = again;
    }
    const HLoop *forward = b->tape[n];
    HLoop *h = new_loop(b, d->index, &back);
    h->start_constant = forward->start_constant;
    h->tape = forward->tape;
    h->init = all;
    new_states(b, h, types_of(b, operands + 1, back.states), back.states);
    b->tuple[n] = h->result;
    h->body = ARENA_NEW(b->planner->plan->arena, HBlock);
    HLoop *advance = emit_advance(b, loop, forward, captured);
    vec_push(&h->body->code, ((HInstr){.kind = H_ADVANCE, .dst = NONE, .loop = advance}));
    back_body(b, &back, h, forward, advance, all + back.states);
    block_emit(b, H_BACK)->loop = h;
}
