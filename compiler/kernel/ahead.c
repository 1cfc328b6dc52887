/* What a loop makes for its next step alone: the last step need not make it.
 *
 * Going back through layers, each step makes the derivative by what the layer read. What the first layer read is data, whose
 * derivative nobody wants, and a convolution is dear. */
#include "compiler/kernel/plan_ir.h"

#include <string.h>

typedef struct {
    const Plan *plan;
    uint32_t *reads; /* by register: how often it is read, or a state becomes it */
    uint32_t *ahead; /* so often for a next step alone */
    bool good;       /* of the instruction at hand: all that it makes is so */
} Ahead;

static void count_read(void *context, HReg reg, bool written) {
    Ahead *a = context;
    if (!written) a->reads[reg]++;
}

static void count_reads(Ahead *a, const HBlock *block) {
    for (uint32_t i = 0; i < block->code.len; i++) {
        const HInstr *h = &block->code.data[i];
        host_visit(h, a->plan, count_read, a);
        if (!host_is_loop(h->kind)) continue;
        for (uint32_t s = 0; s < h->loop->states; s++) a->reads[h->loop->next[s]]++;
        if (h->loop->stop != NONE) a->reads[h->loop->stop]++;
        count_reads(a, h->loop->body);
    }
}

static void note_made(void *context, HReg reg, bool written) {
    Ahead *a = context;
    if (written) a->good &= a->ahead[reg] == a->reads[reg];
}

static void note_ahead(void *context, HReg reg, bool written) {
    Ahead *a = context;
    if (!written) a->ahead[reg]++;
}

static bool collects(const HLoop *l, uint32_t state) {
    for (uint32_t i = 0; i < l->collected; i++)
        if (l->collect[i] == state) return true;
    return false;
}

bool host_may_be_ahead(const Plan *plan, const HBlock *block, uint32_t i) {
    const HInstr *h = &block->code.data[i];
    if (host_in_chain(block, i) || h->relay > 0 || (i > 0 && block->code.data[i - 1].relay > 0))
        return false;
    return h->kind == H_CONV || h->kind == H_TRIDIAG ||
           (h->kind == H_LAUNCH && plan->kernels.data[h->index]->reductions.len == 0);
}

static void mark_loop(Ahead *a, HLoop *l) {
    for (uint32_t s = 0; s < l->states; s++)
        if (a->reads[l->result[s]] == 0 && !collects(l, s)) a->ahead[l->next[s]]++;
    for (uint32_t i = l->body->code.len; i-- > 0;) {
        HInstr *h = &l->body->code.data[i];
        a->good = host_may_be_ahead(a->plan, l->body, i);
        host_visit(h, a->plan, note_made, a);
        h->ahead = a->good;
        if (a->good) host_visit(h, a->plan, note_ahead, a);
    }
}

static void mark_block(Ahead *a, HBlock *block) {
    for (uint32_t i = 0; i < block->code.len; i++) {
        HInstr *h = &block->code.data[i];
        if (!host_is_loop(h->kind)) continue;
        mark_block(a, h->loop->body);
        bool last_is_known =
            h->kind == H_BACK || (h->kind == H_LOOP && h->loop->stop == NONE && !h->loop->together);
        if (last_is_known) mark_loop(a, h->loop);
    }
}

void plan_ahead(Plan *plan) {
    for (uint32_t i = 0; i < plan->funcs.len; i++) {
        HFunc *f = plan->funcs.data[i];
        size_t bytes = sizeof(uint32_t) * (f->regs.len + 1);
        Ahead a = {.plan = plan, .reads = mem_alloc(bytes), .ahead = mem_alloc(bytes)};
        memset(a.reads, 0, bytes);
        memset(a.ahead, 0, bytes);
        for (uint32_t r = 0; r < f->results.len; r++) a.reads[f->results.data[r]]++;
        count_reads(&a, &f->body);
        mark_block(&a, &f->body);
        mem_free(a.reads);
        mem_free(a.ahead);
    }
}
