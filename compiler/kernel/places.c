/* The instructions of a host program by number: so that whoever runs it can say what took the time. */
#include "compiler/kernel/plan_ir.h"

#include "runtime/pdn.h"

/* ---- numbers ------------------------------------------------------------------------------ */

typedef struct {
    Plan *plan;
    uint32_t func, loop;
    bool fill; /* the table is there */
} Numbering;

static void number_block(Numbering *n, HBlock *block) {
    Plan *plan = n->plan;
    for (uint32_t i = 0; i < block->code.len; i++) {
        HInstr *h = &block->code.data[i];
        h->place = ++plan->places;
        if (n->fill) plan->place[h->place] = (struct HPlaced){h, n->func, n->loop};
        if (!host_is_loop(h->kind)) continue;
        uint32_t outer = n->loop;
        n->loop = h->place;
        number_block(n, h->loop->body);
        n->loop = outer;
    }
}

static void number_all(Plan *plan, bool fill) {
    plan->places = 0;
    for (uint32_t f = 0; f < plan->funcs.len; f++) {
        Numbering n = {.plan = plan, .func = f, .fill = fill};
        number_block(&n, &plan->funcs.data[f]->body);
    }
}

void plan_number(Plan *plan) {
    number_all(plan, false);
    plan->place = ARENA_ARRAY(plan->arena, struct HPlaced, plan->places + 1);
    number_all(plan, true);
}

uint32_t plan_places(const Plan *plan) { return plan->places; }

/* ---- what they are -------------------------------------------------------------------------- */

static PlanWork work_of(HKind kind) {
    switch (kind) {
    case H_LAUNCH: return WORK_KERNEL;
    case H_CONV: return WORK_CONVOLUTION;
    case H_TRIDIAG: return WORK_TRIDIAGONAL;
    case H_RANDOM: return WORK_RANDOM;
    case H_CONVNORM: return WORK_NORM;
    case H_BATCH: return WORK_MEAN;
    case H_EFFECT: return WORK_EFFECT;
    case H_TASK: return WORK_TASK;
    case H_LOOP:
    case H_BACK:
    case H_ADVANCE: return WORK_LOOP;
    default: return WORK_OTHER;
    }
}

static uint32_t channels(const HFunc *f, HReg reg) {
    Type t = f->regs.data[reg].type;
    return t.kind == TYPE_SCALAR ? 0 : t.channels;
}

static void describe_launch(const Plan *plan, const HInstr *h, PlanPlace *p) {
    const Kernel *k = plan->kernels.data[h->index];
    p->grid = h->grids[0];
    for (uint32_t i = 0; i < k->fields.len; i++) p->in += k->fields.data[i].channels;
    for (uint32_t i = 0; i < k->written.len; i++) p->out += k->written.data[i];
    p->together = h->relay ? h->relay + 1 : 0;
}

PlanPlace plan_place(const Plan *plan, uint32_t place) {
    const struct HPlaced *at = &plan->place[place];
    const HInstr *h = at->instr;
    const HFunc *f = plan->funcs.data[at->func];
    PlanPlace p = {
        .work = work_of(h->kind), .number = h->index, .outer = at->loop, .span = h->span};
    if (host_is_loop(h->kind)) {
        p.number = h->loop->number;
        p.together = h->kind == H_LOOP ? h->loop->together : 0;
        return p;
    }
    if (h->kind == H_LAUNCH) describe_launch(plan, h, &p);
    if (h->kind == H_CONV || h->kind == H_TRIDIAG) p.grid = h->grids[h->kind == H_CONV ? 1 : 0];
    if (h->kind == H_RANDOM || h->kind == H_BATCH) p.grid = f->regs.data[h->dst].type.grid;
    if (h->kind == H_LAUNCH || h->dst == NONE) return p;
    for (uint32_t i = 0; i < h->args_count; i++) p.in += channels(f, h->args[i]);
    p.out = channels(f, h->dst);
    if (h->kind != H_CONV) return p;
    p.form = h->detail;
    p.chained = h->chain > 0;
    const Conv *c = &plan->convs.data[h->index]; /* of the fields, not of the weights */
    p.in = h->detail == CONV_TRANSPOSED ? c->out : c->in;
    p.out = h->detail == CONV_TRANSPOSED ? c->in : c->out;
    return p;
}

uint32_t plan_stages(const Plan *plan, uint32_t place, uint32_t *stages) {
    const HInstr *h = plan->place[place].instr;
    uint32_t count = 0;
    if (h->kind == H_LAUNCH)
        for (uint32_t i = 0; i <= h->relay; i++) stages[count++] = place + i;
    if (h->kind != H_LOOP) return count;
    const HBlock *body = h->loop->body;
    for (uint32_t step = 0; step < h->loop->together; step++)
        for (uint32_t i = 0; i < body->code.len; i++)
            if (body->code.data[i].kind == H_LAUNCH) stages[count++] = body->code.data[i].place;
    return count;
}

/* ---- as text ---------------------------------------------------------------------------------- */

static void put_extents(const int64_t *extent, uint32_t rank, Text *out) {
    for (uint32_t a = rank; a-- > 0;)
        text_printf(out, "%lld%s", (long long)extent[a], a ? "×" : "");
}

/* A kernel by what it reads around a cell, and whether it makes fields or numbers. */
static void put_kernel(const Plan *plan, const HInstr *h, Text *out) {
    const Kernel *k = plan->kernels.data[h->index];
    int64_t extent[MAX_RANK];
    bool stencil = false;
    for (uint32_t a = 0; a < k->rank; a++) {
        extent[a] = k->low[a] + k->high[a] + 1;
        stencil = stencil || extent[a] > 1;
    }
    text_printf(out, "kernel %u, ", h->index);
    if (stencil) put_extents(extent, k->rank, out);
    text_puts(out, stencil ? " cells" : "pointwise");
    if (k->reductions.len)
        text_printf(out, ", %u total%s", k->reductions.len, k->reductions.len > 1 ? "s" : "");
}

static void put_conv(const Plan *plan, const HInstr *h, Text *out) {
    static const char *const forms[CONV_FORMS] = {"", ", transposed", ", by its weights"};
    const Conv *c = &plan->convs.data[h->index];
    int64_t size[MAX_RANK];
    for (uint32_t a = 0; a < c->rank; a++) size[a] = c->size[a];
    text_printf(out, "convolution %u, ", h->index);
    put_extents(size, c->rank, out);
    text_puts(out, forms[h->detail]);
    uint32_t way = plan->ways.data[h->index].of[h->detail];
    if (way && !h->chain) text_printf(out, ", by %s", plan_way_name(way));
    for (uint32_t m = 1; m <= h->chain; m++) {
        if (h[m].kind == H_LAUNCH) text_printf(out, ", kernel %u", h[m].index);
        if (h[m].kind == H_CONV)
            text_printf(out, ", convolution %u%s", h[m].index, forms[h[m].detail]);
    }
}

void plan_place_text(const Plan *plan, uint32_t place, Text *out) {
    const HInstr *h = plan->place[place].instr;
    switch (h->kind) {
    case H_LAUNCH: put_kernel(plan, h, out); break;
    case H_CONV: put_conv(plan, h, out); break;
    case H_TRIDIAG: text_printf(out, "tridiagonal systems along %c", 'x' + (int)h->index); break;
    case H_RANDOM: text_puts(out, h->detail ? "uniform noise" : "normal noise"); break;
    case H_CONVNORM: text_printf(out, "norm of convolution %u", h->index); break;
    case H_BATCH: text_puts(out, "mean over the batch"); break;
    case H_LOOP:
    case H_BACK:
    case H_ADVANCE: text_puts(out, "copies of states"); break;
    default: text_puts(out, host_words[h->kind]); break;
    }
}
