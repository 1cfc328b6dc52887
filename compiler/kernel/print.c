/* Plans as text. Words apart by spaces; a list says its length first; registers are r0, r1, … */
#include "compiler/kernel/plan_ir.h"

#include <inttypes.h>

static const char *const places[] = {"none", "pointer", "slot", "pool", "result", "rows"};
static const char *const types[] = {"scalar", "field", "stack", "tuple"};

const char *const host_words[H_KINDS] = {
    "constant", "input",  "op",     "cells", "launch",   "random",    "loop",    "call",
    "frame",    "frames", "effect", "back",  "advance",  "zerostack", "scatter", "task",
    "row",      "entry",  "batch",  "check", "convnorm", "tridiag",   "conv"};

static void put_type(Type t, Text *out) {
    text_printf(out, " %s", types[t.kind]);
    if (t.kind != TYPE_SCALAR) text_printf(out, " %u %u", t.grid, t.channels);
}

static void put_regs(const char *word, const HReg *regs, uint32_t count, Text *out) {
    text_printf(out, " %s %u", word, count);
    for (uint32_t i = 0; i < count; i++) text_printf(out, " r%u", regs[i]);
}

static void put_reg(const char *word, HReg reg, Text *out) {
    if (reg == NONE)
        text_printf(out, " %s -", word);
    else
        text_printf(out, " %s r%u", word, reg);
}

static void put_together(const HInstr *h, Text *out) {
    if (h->chain) text_printf(out, " chain %u", h->chain);
    if (h->ahead) text_puts(out, " ahead");
    if (h->stays) text_puts(out, " stays");
}

static void put_launch(const Plan *plan, const HInstr *h, Text *out) {
    const Kernel *k = plan->kernels.data[h->index];
    text_printf(out, "launch %u grids %u", h->index, k->grids);
    for (uint32_t i = 0; i < k->grids; i++) text_printf(out, " %u", h->grids[i]);
    put_regs("fields", h->fields, k->fields.len, out);
    text_printf(out, " scalars %u", k->scalars);
    for (uint32_t i = 0; i < k->scalars; i++)
        if (h->scalars[i] == NONE)
            text_printf(out, " c%u", h->scalar_constant[i]);
        else
            text_printf(out, " r%u", h->scalars[i]);
    put_regs("outputs", h->outputs, k->written.len, out);
    put_regs("reductions", h->reductions, k->reductions.len, out);
    if (h->relay) text_printf(out, " relay %u own %u", h->relay, h->own);
    put_together(h, out);
}

static void put_block(const Plan *plan, const HBlock *block, int depth, Text *out);

static void put_numbers(const char *word, const uint32_t *numbers, uint32_t count, Text *out) {
    text_printf(out, " %s %u", word, count);
    for (uint32_t i = 0; i < count; i++) text_printf(out, " %" PRIu32, numbers[i]);
}

static void put_loop(const Plan *plan, const char *word, const HLoop *l, int depth, Text *out) {
    text_printf(out, "%s %u progress %d", word, l->number, l->progress);
    put_reg("count", l->count, out);
    text_printf(out, " limits c%u c%u c%u", l->count_constant, l->start_constant,
                l->stride_constant);
    put_reg("k", l->k, out);
    put_reg("stop", l->stop, out);
    put_reg("steps", l->steps, out);
    put_regs("init", l->init, l->init ? l->states : 0, out);
    put_regs("param", l->param, l->states, out);
    put_regs("next", l->next, l->states, out);
    put_regs("result", l->result, l->states, out);
    put_regs("stack", l->stack, l->collected, out);
    put_numbers("collect", l->collect, l->collected, out);
    put_numbers("copies", l->stack_kernel, l->collected, out);
    if (l->tape != NONE) {
        text_printf(out, " tape %u", l->tape);
        put_numbers("keep", l->keep, l->kept, out);
        put_numbers("copies", l->keep_kernel, l->kept, out);
    }
    if (l->together) text_printf(out, " together %u", l->together);
    text_printf(out, " pools %u", l->pools);
    for (uint32_t i = 0; i < l->pools; i++) {
        const struct HPool *p = &l->pool[i];
        text_printf(out, " pool %u %u", p->grid, p->channels);
        put_numbers("slots", p->slot, p->slots, out);
        put_regs("makers", p->maker, p->made, out);
    }
    text_puts(out, " {\n");
    put_block(plan, l->body, depth + 1, out);
    text_printf(out, "%*s}", 2 * depth, "");
}

static void put_instruction(const Plan *plan, const HInstr *h, int depth, Text *out) {
    if (h->kind == H_LAUNCH) {
        put_launch(plan, h, out);
        return;
    }
    if (host_is_loop(h->kind)) {
        put_loop(plan, host_words[h->kind], h->loop, depth, out);
        return;
    }
    text_puts(out, host_words[h->kind]);
    if (h->kind == H_OP)
        text_printf(out, " %s", op_info(h->op)->name);
    else
        text_printf(out, " %u", h->index);
    if (h->kind == H_RANDOM) text_printf(out, " %u", h->detail);
    if (h->kind == H_CONV)
        text_printf(out, " %s grids 2 %u %u", conv_form_names[h->detail], h->grids[0], h->grids[1]);
    if (h->kind == H_TRIDIAG) text_printf(out, " %u grids 1 %u", h->detail, h->grids[0]);
    put_reg("to", h->dst, out);
    put_regs("args", h->args, h->args_count, out);
    put_regs("dsts", h->dsts, h->dsts_count, out);
    put_together(h, out);
}

static void put_block(const Plan *plan, const HBlock *block, int depth, Text *out) {
    for (uint32_t i = 0; i < block->code.len; i++) {
        text_printf(out, "%*s", 2 * depth, "");
        put_instruction(plan, &block->code.data[i], depth, out);
        text_puts(out, "\n");
    }
}

/* What a convolution is, on a line, and the ways that are given. */
static void put_conv(const Conv *c, const ConvWays *ways, Text *out) {
    text_printf(out, "conv rank %u in %u out %u groups %u", c->rank, c->in, c->out, c->groups);
    for (uint32_t a = 0; a < c->rank; a++)
        text_printf(out, " axis %u %u %u %u %u", c->size[a], c->stride[a], c->dilation[a],
                    c->sides[a][0], c->sides[a][1]);
    for (uint32_t f = 0; f < CONV_FORMS; f++)
        if (ways->of[f])
            text_printf(out, " %s %s", conv_form_names[f], conv_way_names[ways->of[f]]);
    text_puts(out, "\n");
}

uint32_t plan_convolutions(const Plan *plan) { return plan->convs.len; }
uint32_t plan_forms(void) { return CONV_FORMS; }
uint32_t plan_ways(void) { return CONV_WAYS; }
const char *plan_way_name(uint32_t way) { return conv_way_names[way]; }

void plan_convolution_text(const Plan *plan, uint32_t number, uint32_t form, Text *out) {
    const ConvWays none = {{WAY_any}};
    text_printf(out, "%s %s ", plan->f64 ? "f64" : "f32", conv_form_names[form]);
    put_conv(&plan->convs.data[number], &none, out);
}

void plan_set_way(Plan *plan, uint32_t number, uint32_t form, uint32_t way) {
    plan->ways.data[number].of[form] = (uint8_t)way;
}

static void put_slots(const char *word, const HSlot *slots, uint32_t count, Text *out) {
    text_printf(out, "  %s %u", word, count);
    for (uint32_t i = 0; i < count; i++)
        text_printf(out, " %u:%u", slots[i].grid, slots[i].channels);
    text_puts(out, "\n");
}

static void put_func(const Plan *plan, uint32_t number, Text *out) {
    const HFunc *f = plan->funcs.data[number];
    text_printf(out, "func %u regs %u\n", number, f->regs.len);
    for (HReg r = 0; r < f->regs.len; r++) {
        const HRegData *d = &f->regs.data[r];
        text_printf(out, "  r%u", r);
        put_type(d->type, out);
        text_printf(out, " %s %u\n", places[d->place], d->place_index);
    }
    put_slots("slots", f->slots.data, f->slots.len, out);
    put_slots("partials", f->partials.data, f->partials.len, out);
    text_printf(out, "  tapes %u\n ", f->tapes);
    put_regs("params", f->params.data, f->params.len, out);
    put_regs("results", f->results.data, f->results.len, out);
    text_puts(out, " {\n");
    put_block(plan, &f->body, 2, out);
    text_puts(out, "  }\n");
}

void plan_print_code(const Plan *plan, Text *out) {
    text_printf(out, "plan %s fma %d\ngrids %u", plan->f64 ? "f64" : "f32", plan->fma, plan->grids);
    for (GridId g = 1; g < plan->grids; g++)
        text_printf(out, " %u:%u:%" PRId64 ":%" PRId64 ":%" PRId64, plan->grid_rank[g],
                    plan->finer[g], plan->smallest[g][0], plan->smallest[g][1],
                    plan->smallest[g][2]);
    text_printf(out, "\ninputs %u", plan->inputs.len);
    for (uint32_t i = 0; i < plan->inputs.len; i++) put_type(plan->inputs.data[i], out);
    text_printf(out, "\nkernels %u\n", plan->kernels.len);
    for (uint32_t i = 0; i < plan->kernels.len; i++) kernel_print(plan->kernels.data[i], i, out);
    text_printf(out, "convs %u\n", plan->convs.len);
    for (uint32_t i = 0; i < plan->convs.len; i++)
        put_conv(&plan->convs.data[i], &plan->ways.data[i], out);
    text_printf(out, "funcs %u\n", plan->funcs.len);
    for (uint32_t i = 0; i < plan->funcs.len; i++) put_func(plan, i, out);
}

void plan_print(const Plan *plan, Text *out) {
    plan_print_code(plan, out);
    text_printf(out, "constants %u", plan->constants.len);
    for (uint32_t i = 0; i < plan->constants.len; i++)
        text_printf(out, " %a", plan->constants.data[i]);
    text_puts(out, "\n");
    for (uint32_t i = 0; i < plan->kernels.len; i++) {
        const Kernel *k = plan->kernels.data[i];
        text_printf(out, "# kernel %u: loads %u stores %u reach", i, k->loads, k->outputs.len);
        for (uint32_t a = 0; a < k->rank; a++) text_printf(out, " %d/%d", k->low[a], k->high[a]);
        text_printf(out, " flops %.0f bytes %u a cell\n", k->flops,
                    (k->loads + k->outputs.len) * (plan->f64 ? 8 : 4));
    }
}
