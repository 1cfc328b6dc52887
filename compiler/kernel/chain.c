/* Chains: convolutions, pointwise launches of what they make, and the transposed convolution of that.
 *
 * The field between has many channels and nobody else wants it. So it never exists as a whole: a few of its rows at a time
 * stand in the scratch (compiler/llvm/emit_chain.c). The members stand one after another, with nothing between them. */
#include "compiler/kernel/plan_ir.h"

#include <string.h>

enum {
    MOST_MEMBERS = 8,
    MOST_CHANNELS = 32, /* of all fields between: the code of the pointwise launches is as long */
    MOST_MADE = 3,      /* channels of what the transposed convolution makes: it is summed by tiles of rows */
};

typedef struct {
    const Plan *plan;
    const HFunc *f;
    const HInstr *member[MOST_MEMBERS];
    uint32_t count;
} Chain;

/* ---- what may be a member ---------------------------------------------------------------------- */

bool conv_by_rows(const Conv *c) {
    bool plain = c->rank >= 2 && c->stride[0] == 1 && c->dilation[0] == 1 && c->dilation[1] == 1;
    return plain && c->size[1] >= 2 && c->size[1] <= 7 && c->size[0] <= 9;
}

static bool plain_conv(const Conv *c) {
    return c->rank == 2 && c->groups == 1 && c->stride[0] == 1 && c->stride[1] == 1 && c->dilation[0] == 1 &&
           c->dilation[1] == 1;
}

static bool may_start(const Plan *plan, const HInstr *h) {
    if (h->kind != H_CONV || h->detail != CONV_FORWARD) return false;
    const Conv *c = &plan->convs.data[h->index];
    return plain_conv(c) && c->out <= MOST_CHANNELS;
}

static bool may_end(const Plan *plan, const HInstr *h) {
    if (h->kind != H_CONV || h->detail != CONV_TRANSPOSED) return false;
    const Conv *c = &plan->convs.data[h->index];
    return plain_conv(c) && conv_by_rows(c) && c->in <= MOST_MADE && c->out <= MOST_CHANNELS;
}

/* Does it read the cell itself alone, and nothing but numbers beside? */
static bool pointwise(const Kernel *k) {
    if (k->rank != 2 || k->reductions.len) return false;
    for (KNode n = 1; n < k->nodes.len; n++) {
        KKind kind = k->nodes.data[n].kind;
        if (kind != K_NUMBER && kind != K_SCALAR && kind != K_LOAD && kind != K_ENTRY && kind != K_OP) return false;
    }
    return true;
}

/* Is the register a field between: made by a member? */
static bool between(const Chain *c, HReg reg) {
    for (uint32_t m = 0; m < c->count; m++) {
        const HInstr *h = c->member[m];
        if (h->kind == H_CONV && h->dst == reg) return true;
        for (uint32_t o = 0; h->kind == H_LAUNCH && o < c->plan->kernels.data[h->index]->written.len; o++)
            if (h->outputs[o] == reg) return true;
    }
    return false;
}

typedef struct {
    const Chain *chain;
    HReg reg;
    uint32_t reads;
    bool touches; /* a field between */
} Look;

static void look(void *context, HReg reg, bool written) {
    Look *l = context;
    l->reads += !written && reg == l->reg;
    l->touches = l->touches || between(l->chain, reg);
}

static bool touches(const Chain *c, const HInstr *h) {
    Look l = {.chain = c, .reg = NONE};
    host_visit(h, c->plan, look, &l);
    return l.touches;
}

static uint32_t reads_of(const Chain *c, const HInstr *h, HReg reg) {
    Look l = {.chain = c, .reg = reg};
    host_visit(h, c->plan, look, &l);
    return l.reads;
}

static uint32_t reads_in(const Chain *c, const HBlock *block, HReg reg) {
    uint32_t reads = 0;
    for (uint32_t i = 0; i < block->code.len; i++) {
        const HInstr *h = &block->code.data[i];
        reads += reads_of(c, h, reg);
        if (!host_is_loop(h->kind)) continue;
        for (uint32_t s = 0; s < h->loop->states; s++) reads += h->loop->next[s] == reg;
        reads += h->loop->stop == reg;
        reads += reads_in(c, h->loop->body, reg);
    }
    return reads;
}

/* Does nobody but the members read it? */
static bool read_inside(const Chain *c, HReg reg) {
    uint32_t inside = 0;
    for (uint32_t m = 0; m < c->count; m++) inside += reads_of(c, c->member[m], reg);
    for (uint32_t i = 0; i < c->f->results.len; i++)
        if (c->f->results.data[i] == reg) return false;
    return inside > 0 && inside == reads_in(c, &c->f->body, reg);
}

/* Fields between are read where they are made, and rows by numbers: all on one grid. */
static bool joins(const Chain *c, const HInstr *h) {
    GridId grid = c->member[0]->grids[1];
    if (c->count == MOST_MEMBERS) return false;
    if (h->kind == H_CONV)
        return may_end(c->plan, h) && between(c, h->args[0]) && !between(c, h->args[1]) && h->grids[1] == grid;
    if (h->kind != H_LAUNCH || h->grids[0] != grid) return false;
    const Kernel *k = c->plan->kernels.data[h->index];
    for (uint32_t i = 0; i < k->fields.len; i++)
        if (between(c, h->fields[i]) && k->fields.data[i].grid != 0) return false;
    return pointwise(k);
}

static const HRegData *made(const Chain *c, uint32_t m, uint32_t o) {
    const HInstr *h = c->member[m];
    return &c->f->regs.data[h->kind == H_CONV ? h->dst : h->outputs[o]];
}

static uint32_t makes(const Chain *c, uint32_t m) {
    const HInstr *h = c->member[m];
    return h->kind == H_CONV ? 1 : c->plan->kernels.data[h->index]->written.len;
}

/* Are the members whole: all that they make but the last, for each other alone? */
static bool whole(const Chain *c) {
    uint32_t channels = 0;
    if (c->count < 2 || !may_end(c->plan, c->member[c->count - 1])) return false;
    for (uint32_t m = 0; m + 1 < c->count; m++)
        for (uint32_t o = 0; o < makes(c, m); o++) {
            const HInstr *h = c->member[m];
            if (!read_inside(c, h->kind == H_CONV ? h->dst : h->outputs[o])) return false;
            channels += made(c, m, o)->type.channels;
        }
    return channels <= 2 * MOST_CHANNELS;
}

bool chain_holds(const Plan *plan, const HFunc *f, const HInstr *first, uint32_t left) {
    if (first->chain == 0) return true;
    if (first->chain > left || first->chain >= MOST_MEMBERS || !may_start(plan, first)) return false;
    Chain c = {.plan = plan, .f = f, .member = {first}, .count = 1};
    for (uint32_t m = 1; m <= first->chain; m++) {
        if (first[m].chain + m != first->chain || !joins(&c, &first[m])) return false;
        if (m < first->chain && first[m].kind != H_LAUNCH) return false;
        c.member[c.count++] = &first[m];
    }
    for (uint32_t m = 0; m + 1 < c.count; m++)
        for (uint32_t o = 0; o < makes(&c, m); o++)
            if (made(&c, m, o)->place != PLACE_ROWS) return false;
    return whole(&c);
}

/* ---- finding them ------------------------------------------------------------------------------- */

/* May it be done earlier, before the members, which make nothing that it reads? */
static bool may_pass(const HInstr *h) {
    return h->kind == H_CONSTANT || h->kind == H_INPUT || h->kind == H_OP || h->kind == H_CELLS || h->kind == H_FRAME ||
           h->kind == H_FRAMES || h->kind == H_ENTRY || h->kind == H_ROW;
}

/* The members from instruction `i` on, by their numbers; 0: there is no chain. */
static uint32_t find_members(Chain *c, const HBlock *block, uint32_t i, uint32_t *at) {
    c->member[0] = &block->code.data[i];
    c->count = 1;
    at[0] = i;
    for (uint32_t k = i + 1; k < block->code.len; k++) {
        const HInstr *h = &block->code.data[k];
        if (!touches(c, h)) {
            if (!may_pass(h)) return 0;
            continue;
        }
        if (!joins(c, h)) return 0;
        at[c->count] = k;
        c->member[c->count++] = h;
        if (h->kind == H_CONV) return whole(c) ? c->count : 0;
    }
    return 0;
}

/* Puts what stood between the members before them. */
static void move_together(HBlock *block, const uint32_t *at, uint32_t count) {
    HInstr members[MOST_MEMBERS];
    for (uint32_t m = 0; m < count; m++) members[m] = block->code.data[at[m]];
    uint32_t to = at[0], m = 0;
    for (uint32_t i = at[0]; i <= at[count - 1]; i++) {
        if (m < count && at[m] == i)
            m++;
        else
            block->code.data[to++] = block->code.data[i];
    }
    for (m = 0; m < count; m++) {
        block->code.data[to + m] = members[m];
        block->code.data[to + m].chain = count - 1 - m;
    }
}

static void chain_block(Plan *plan, HFunc *f, HBlock *block) {
    for (uint32_t i = 0; i < block->code.len; i++) {
        HInstr *h = &block->code.data[i];
        uint32_t at[MOST_MEMBERS];
        if (host_is_loop(h->kind)) chain_block(plan, f, h->loop->body);
        if (!may_start(plan, h)) continue;
        Chain c = {.plan = plan, .f = f};
        uint32_t count = find_members(&c, block, i, at);
        if (count == 0) continue;
        for (uint32_t m = 0; m + 1 < count; m++)
            for (uint32_t o = 0; o < makes(&c, m); o++) ((HRegData *)(uintptr_t)made(&c, m, o))->place = PLACE_ROWS;
        move_together(block, at, count);
        i = at[count - 1];
    }
}

void plan_chains(Plan *plan) {
    for (uint32_t i = 0; i < plan->funcs.len; i++) chain_block(plan, plan->funcs.data[i], &plan->funcs.data[i]->body);
}
