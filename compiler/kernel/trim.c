/* Outputs that nothing reads.
 *
 * A field that is dear to compute again is stored, and its users in the same launch have it at the cell itself:
 * where all of them were there, nobody reads what was stored. Known only when the whole program is there. */
#include "compiler/kernel/plan_ir.h"

#include <string.h>

typedef struct {
    Plan *plan;
    bool *read;     /* by register of the function at hand */
    bool **wanted;  /* by kernel and output: read after some launch */
    bool *launched; /* by kernel */
} Trim;

static void note_read(void *context, HReg reg, bool written) {
    if (!written) ((Trim *)context)->read[reg] = true;
}

typedef void Each(Trim *t, HInstr *h);

static void each_instruction(Trim *t, HBlock *block, Each *each) {
    for (uint32_t i = 0; i < block->code.len; i++) {
        HInstr *h = &block->code.data[i];
        each(t, h);
        if (host_is_loop(h->kind)) each_instruction(t, h->loop->body, each);
    }
}

static void mark_reads(Trim *t, HInstr *h) {
    host_visit(h, t->plan, note_read, t);
    if (!host_is_loop(h->kind)) return;
    const HLoop *l = h->loop;
    for (uint32_t i = 0; i < l->states; i++) t->read[l->next[i]] = true;
    if (l->stop != NONE) t->read[l->stop] = true;
}

static void mark_wanted(Trim *t, HInstr *h) {
    if (h->kind != H_LAUNCH) return;
    t->launched[h->index] = true;
    for (uint32_t i = 0; i < t->plan->kernels.data[h->index]->written.len; i++)
        t->wanted[h->index][i] |= t->read[h->outputs[i]];
}

static void drop_outputs(Trim *t, HInstr *h) {
    if (h->kind != H_LAUNCH) return;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < t->plan->kernels.data[h->index]->written.len; i++)
        if (t->wanted[h->index][i]) h->outputs[kept++] = h->outputs[i];
}

static void mark_nodes(const Kernel *k, bool *live) {
    for (uint32_t i = 0; i < k->outputs.len; i++) live[k->outputs.data[i].node] = true;
    for (uint32_t i = 0; i < k->reductions.len; i++)
        for (uint32_t c = 0; c < k->reductions.data[i].count; c++)
            live[k->reductions.data[i].nodes[c]] = true;
    for (KNode n = k->nodes.len; --n > 0;) {
        const KNodeData *d = &k->nodes.data[n];
        for (uint32_t i = 0; live[n] && i < 3; i++) live[d->operand[i]] = true;
        for (uint32_t a = 0; live[n] && a < MAX_RANK; a++)
            for (int s = 0; s < 2; s++) live[d->value[a][s]] = true;
    }
}

/* Leaves the nodes out that nothing needs any more. */
static void compact(Kernel *k) {
    bool *live = mem_alloc(k->nodes.len);
    KNode *place = mem_alloc(sizeof *place * k->nodes.len), count = 1;
    memset(live, 0, k->nodes.len);
    mark_nodes(k, live);
    place[0] = 0;
    for (KNode n = 1; n < k->nodes.len; n++) {
        if (!live[n]) continue;
        KNodeData d = k->nodes.data[n];
        for (uint32_t i = 0; i < 3; i++) d.operand[i] = d.operand[i] ? place[d.operand[i]] : 0;
        for (uint32_t a = 0; a < MAX_RANK; a++)
            for (int s = 0; s < 2; s++) d.value[a][s] = d.value[a][s] ? place[d.value[a][s]] : 0;
        k->nodes.data[place[n] = count++] = d;
    }
    k->nodes.len = count;
    for (uint32_t i = 0; i < k->outputs.len; i++)
        k->outputs.data[i].node = place[k->outputs.data[i].node];
    for (uint32_t i = 0; i < k->reductions.len; i++)
        for (uint32_t c = 0; c < k->reductions.data[i].count; c++)
            k->reductions.data[i].nodes[c] = place[k->reductions.data[i].nodes[c]];
    mem_free(live);
    mem_free(place);
}

static void trim_kernel(Plan *plan, Kernel *k, const bool *wanted) {
    uint32_t fields = 0, outputs = 0, *number = mem_alloc(sizeof *number * (k->written.len + 1));
    for (uint32_t i = 0; i < k->written.len; i++) {
        if (!wanted[i]) continue;
        number[i] = fields;
        k->written.data[fields++] = k->written.data[i];
    }
    bool all = fields == k->written.len;
    k->written.len = fields;
    for (uint32_t i = 0; i < k->outputs.len; i++) {
        KOutput o = k->outputs.data[i];
        if (!wanted[o.field]) continue;
        o.field = number[o.field];
        k->outputs.data[outputs++] = o;
    }
    k->outputs.len = outputs;
    mem_free(number);
    if (all) return;
    compact(k);
    kernel_measure(k, plan->arena);
}

/* A launch that nobody needs at all stays as it is: a kernel computes something. */
static void keep_some(const Kernel *k, bool *wanted) {
    bool any = k->reductions.len > 0;
    for (uint32_t i = 0; i < k->written.len; i++) any = any || wanted[i];
    for (uint32_t i = 0; i < k->written.len; i++) wanted[i] = wanted[i] || !any;
}

void plan_trim(Plan *plan) {
    Trim t = {.plan = plan};
    t.wanted = ARENA_ARRAY(plan->arena, bool *, plan->kernels.len + 1);
    t.launched = ARENA_ARRAY(plan->arena, bool, plan->kernels.len + 1);
    for (uint32_t i = 0; i < plan->kernels.len; i++)
        t.wanted[i] = ARENA_ARRAY(plan->arena, bool, plan->kernels.data[i]->written.len + 1);
    for (uint32_t i = 0; i < plan->funcs.len; i++) {
        HFunc *f = plan->funcs.data[i];
        t.read = mem_alloc(f->regs.len + 1);
        memset(t.read, 0, f->regs.len + 1);
        for (uint32_t r = 0; r < f->results.len; r++) t.read[f->results.data[r]] = true;
        each_instruction(&t, &f->body, mark_reads);
        each_instruction(&t, &f->body, mark_wanted);
        mem_free(t.read);
    }
    for (uint32_t i = 0; i < plan->kernels.len; i++) keep_some(plan->kernels.data[i], t.wanted[i]);
    for (uint32_t i = 0; i < plan->funcs.len; i++)
        each_instruction(&t, &plan->funcs.data[i]->body, drop_outputs);
    /* others copy, for instructions of other kinds */
    for (uint32_t i = 0; i < plan->kernels.len; i++)
        if (t.launched[i]) trim_kernel(plan, plan->kernels.data[i], t.wanted[i]);
}
