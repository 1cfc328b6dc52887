/* The least extents of grids, by what runs on them. */
#include "compiler/kernel/plan_ir.h"

static void conv_smallest(Plan *plan, const HFunc *f, const HInstr *h) {
    const Conv *c = &plan->convs.data[h->index];
    int64_t *least = plan->smallest[h->grids[0]];
    for (uint32_t a = 0; a < MAX_RANK; a++) {
        int64_t reach = conv_high(c, a) > 1 ? conv_high(c, a) : 1;
        if (least[a] < reach) least[a] = reach;
    }
    HReg weights = h->detail == CONV_WEIGHTS ? h->dst : h->args[1];
    least = plan->smallest[f->regs.data[weights].type.grid];
    if (least[0] < conv_weights(c)) least[0] = conv_weights(c);
}

static void smallest_block(Plan *plan, const HFunc *f, const HBlock *block) {
    for (uint32_t i = 0; i < block->code.len; i++) {
        const HInstr *h = &block->code.data[i];
        if (host_is_loop(h->kind)) smallest_block(plan, f, h->loop->body);
        if (h->kind == H_ROW || h->kind == H_ENTRY) {
            HReg row = h->kind == H_ROW ? h->dst : h->args[0];
            int64_t *least = plan->smallest[f->regs.data[row].type.grid],
                    count = h->kind == H_ROW ? h->args_count : (int64_t)h->index + 1;
            if (least[0] < count) least[0] = count;
        }
        if (h->kind == H_CONV) conv_smallest(plan, f, h);
        for (uint32_t a = 0; h->kind == H_TRIDIAG && a < MAX_RANK; a++)
            if (plan->smallest[h->grids[0]][a] < 1) plan->smallest[h->grids[0]][a] = 1;
        if (h->kind == H_CONVNORM) {
            int64_t *least = plan->smallest[f->regs.data[h->args[0]].type.grid],
                    count = conv_weights(&plan->convs.data[h->index]);
            if (least[0] < count) least[0] = count;
        }
        if (h->kind != H_LAUNCH) continue;
        const Kernel *k = plan->kernels.data[h->index];
        int64_t *least = plan->smallest[h->grids[0]];
        for (uint32_t a = 0; a < MAX_RANK; a++)
            if (least[a] < k->smallest[a]) least[a] = k->smallest[a];
        for (KNode n = 1; n < k->nodes.len; n++) { /* rows have the numbers that are read */
            const KNodeData *d = &k->nodes.data[n];
            if (d->kind != K_ENTRY) continue;
            least = plan->smallest[h->grids[k->fields.data[d->index].grid]];
            if (least[0] <= d->detail) least[0] = (int64_t)d->detail + 1;
        }
    }
}

/* 0 where no kernel runs. */
void plan_smallest(Plan *plan) {
    plan->smallest = arena_alloc(plan->arena, sizeof *plan->smallest * plan->grids);
    for (uint32_t i = 0; i < plan->funcs.len; i++)
        smallest_block(plan, plan->funcs.data[i], &plan->funcs.data[i]->body);
}
