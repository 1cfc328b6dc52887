/* Chains: convolutions, pointwise launches of what they make, and what is summed of that: its transposed convolution, and
 * the sums of products that are gradients of weights.
 *
 * The fields between have many channels and nobody else wants them. So they never exist as a whole: a few of their rows at a
 * time stand in the scratch (compiler/llvm/emit_chain.c). The members stand one after another: convolutions, launches,
 * the one transposed convolution, gradients of weights, and the launch that alone reads what the transposed convolution
 * makes, such as u - τ(…): of that, too, there are rows only. */
#include "compiler/kernel/plan_ir.h"

#include <string.h>

enum {
    MOST_MEMBERS = 8,
    FAR = 64,           /* instructions among which members are looked for */
    MOST_CHANNELS = 32, /* of a field between: the code of the pointwise launches is as long */
    /* channels of what the transposed convolution makes: it is summed by tiles of rows */
    MOST_MADE = 3,
};

typedef struct {
    const Plan *plan;
    const HFunc *f;
    const HInstr *member[MOST_MEMBERS];
    uint32_t count;
} Chain;

/* ---- what may be a member ---------------------------------------------------------------------- */

bool conv_by_rows(const Conv *c) {
    bool plain = c->rank >= 2 && c->stride[0] == 1 && c->stride[1] == 1 && c->dilation[0] == 1 &&
                 c->dilation[1] == 1;
    return plain && c->size[1] >= 2 && c->size[1] <= 7 && c->size[0] <= 9;
}

static bool plain_conv(const Conv *c) {
    return c->rank == 2 && c->groups == 1 && c->stride[0] == 1 && c->stride[1] == 1 &&
           c->dilation[0] == 1 && c->dilation[1] == 1 && c->out <= MOST_CHANNELS;
}

static bool is_conv(const Plan *plan, const HInstr *h, ConvForm form) {
    if (h->kind != H_CONV || h->detail != form) return false;
    const Conv *c = &plan->convs.data[h->index];
    return plain_conv(c) && (form != CONV_TRANSPOSED || (conv_by_rows(c) && c->in <= MOST_MADE));
}

/* Does it read the cell itself alone, and nothing but numbers beside? */
static bool pointwise(const Kernel *k) {
    if (k->rank != 2) return false;
    for (KNode n = 1; n < k->nodes.len; n++) {
        KKind kind = k->nodes.data[n].kind;
        if (kind != K_NUMBER && kind != K_SCALAR && kind != K_LOAD && kind != K_ENTRY &&
            kind != K_OP)
            return false;
    }
    return true;
}

static const Kernel *kernel_of(const Plan *plan, const HInstr *h) {
    return plan->kernels.data[h->index];
}

/* Fields that a member makes for the others. */
static uint32_t makes(const Plan *plan, const HInstr *h) {
    if (h->kind == H_LAUNCH) return kernel_of(plan, h)->written.len;
    return h->detail == CONV_FORWARD;
}

static HReg made(const HInstr *h, uint32_t i) {
    return h->kind == H_LAUNCH ? h->outputs[i] : h->dst;
}

/* Is the register a field between: made by a member for the others? */
static bool between(const Chain *c, HReg reg) {
    for (uint32_t m = 0; m < c->count; m++)
        for (uint32_t i = 0; i < makes(c->plan, c->member[m]); i++)
            if (made(c->member[m], i) == reg) return true;
    return false;
}

typedef struct {
    const Chain *chain;
    HReg reg;
    uint32_t reads;
    bool made_there;
} Look;

static void look(void *context, HReg reg, bool written) {
    Look *l = context;
    l->reads += !written && reg == l->reg;
    l->made_there = l->made_there || (written && reg == l->reg);
}

static Look look_at(const Chain *c, const HInstr *h, HReg reg) {
    Look l = {.chain = c, .reg = reg};
    host_visit(h, c->plan, look, &l);
    return l;
}

static uint32_t reads_in(const Chain *c, const HBlock *block, HReg reg) {
    uint32_t reads = 0;
    for (uint32_t i = 0; i < block->code.len; i++) {
        const HInstr *h = &block->code.data[i];
        reads += look_at(c, h, reg).reads;
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
    for (uint32_t m = 0; m < c->count; m++) inside += look_at(c, c->member[m], reg).reads;
    for (uint32_t i = 0; i < c->f->results.len; i++)
        if (c->f->results.data[i] == reg) return false;
    return inside > 0 && inside == reads_in(c, &c->f->body, reg);
}

/* Does the instruction read what a member makes? `numbers`: other things than fields between. */
typedef struct {
    const Chain *chain;
    HReg but; /* this is not asked for */
    bool fields, others;
} Needs;

static void note_need(void *context, HReg reg, bool written) {
    Needs *n = context;
    if (written || reg == n->but) return;
    if (between(n->chain, reg)) {
        n->fields = true;
        return;
    }
    for (uint32_t m = 0; m < n->chain->count; m++)
        n->others = n->others || look_at(n->chain, n->chain->member[m], reg).made_there;
}

static Needs needs_but(const Chain *c, const HInstr *h, HReg but) {
    Needs n = {.chain = c, .but = but};
    host_visit(h, c->plan, note_need, &n);
    return n;
}

static Needs needs_of(const Chain *c, const HInstr *h) { return needs_but(c, h, NONE); }

/* What a gradient of weights multiplies is padded for a member, too. */
static bool padded_for(const Chain *c, const HInstr *h) {
    for (uint32_t m = 0; m < c->count; m++) {
        const HInstr *f = c->member[m];
        if (is_conv(c->plan, f, CONV_FORWARD) && f->index == h->index && f->args[0] == h->args[0])
            return true;
    }
    return false;
}

static const HInstr *transposed(const Chain *c) {
    for (uint32_t m = 0; m < c->count; m++)
        if (is_conv(c->plan, c->member[m], CONV_TRANSPOSED)) return c->member[m];
    return NULL;
}

static HReg summed(const Chain *c) { return transposed(c) ? transposed(c)->dst : NONE; }

static bool launch_joins(const Chain *c, const HInstr *h) {
    const Kernel *k = kernel_of(c->plan, h);
    if (h->grids[0] != c->member[0]->grids[1] || !pointwise(k) || k->written.len == 0) return false;
    for (uint32_t i = 0; i < k->fields.len; i++)
        if (between(c, h->fields[i]) && k->fields.data[i].grid != 0) return false;
    for (uint32_t m = 0; m < c->count; m++) /* partial results of a grid share their place */
        if (k->reductions.len && c->member[m]->kind == H_LAUNCH &&
            kernel_of(c->plan, c->member[m])->reductions.len)
            return false;
    return true;
}

/* Fields between are read where they are made, and nothing else that members make; all on one grid. */
static bool joins(const Chain *c, const HInstr *h) {
    GridId grid = c->member[0]->grids[1];
    if (c->count == MOST_MEMBERS || needs_of(c, h).others) return false;
    if (h->kind == H_LAUNCH) return launch_joins(c, h);
    if (h->kind != H_CONV || h->grids[1] != grid) return false;
    bool first = between(c, h->args[0]), second = between(c, h->args[1]);
    switch (h->detail) {
    case CONV_FORWARD: return is_conv(c->plan, h, CONV_FORWARD) && !first && !second;
    case CONV_TRANSPOSED:
        return is_conv(c->plan, h, CONV_TRANSPOSED) && first && !second && !transposed(c);
    default: return is_conv(c->plan, h, CONV_WEIGHTS) && !first && second && padded_for(c, h);
    }
}

/* Do all fields between stay among the members? */
static bool whole(const Chain *c) {
    if (!transposed(c)) return false;
    for (uint32_t m = 0; m < c->count; m++)
        for (uint32_t i = 0; i < makes(c->plan, c->member[m]); i++) {
            HReg reg = made(c->member[m], i);
            if (c->f->regs.data[reg].type.channels > MOST_CHANNELS || !read_inside(c, reg))
                return false;
        }
    return true;
}

/* May it be the last of the chain: a launch that alone reads what the transposed convolution makes? */
static bool ends(const Chain *c, const HInstr *h) {
    const HInstr *t = transposed(c);
    if (h->kind != H_LAUNCH || !t || c->count == MOST_MEMBERS || h->grids[0] != t->grids[0])
        return false;
    const Kernel *k = kernel_of(c->plan, h);
    if (!pointwise(k) || k->reductions.len || !look_at(c, h, t->dst).reads) return false;
    for (uint32_t i = 0; i < k->fields.len; i++)
        if (h->fields[i] == t->dst && k->fields.data[i].grid != 0) return false;
    for (uint32_t o = 0; o < k->written.len; o++)
        if (k->written.data[o] > MOST_CHANNELS) return false;
    Needs n = needs_but(c, h, t->dst);
    Chain with = *c;
    with.member[with.count++] = h;
    return !n.fields && !n.others && read_inside(&with, t->dst);
}

/* Where it stands among the members. */
typedef enum { RANK_FORWARD, RANK_LAUNCH, RANK_TRANSPOSED, RANK_WEIGHTS, RANK_END, RANKS } Rank;

static Rank rank_of(const Chain *c, const HInstr *h) {
    if (h->kind == H_LAUNCH) return look_at(c, h, summed(c)).reads ? RANK_END : RANK_LAUNCH;
    return h->detail == CONV_FORWARD      ? RANK_FORWARD
           : h->detail == CONV_TRANSPOSED ? RANK_TRANSPOSED
                                          : RANK_WEIGHTS;
}

static bool in_rows(const HFunc *f, HReg reg) { return f->regs.data[reg].place == PLACE_ROWS; }

bool chain_holds(const Plan *plan, const HFunc *f, const HInstr *first, uint32_t left) {
    if (first->chain == 0) return true;
    if (first->chain > left || first->chain >= MOST_MEMBERS || !is_conv(plan, first, CONV_FORWARD))
        return false;
    Chain c = {.plan = plan, .f = f, .member = {first}, .count = 1};
    bool end = false;
    for (uint32_t m = 1; m <= first->chain; m++) {
        if (first[m].chain + m != first->chain ||
            (first[m].kind != H_LAUNCH && first[m].kind != H_CONV))
            return false;
        end = m == first->chain && ends(&c, &first[m]);
        if (end) break;
        if (!joins(&c, &first[m]) || rank_of(&c, &first[m]) < rank_of(&c, &first[m - 1]))
            return false;
        c.member[c.count++] = &first[m];
    }
    for (uint32_t m = 0; m < c.count; m++)
        for (uint32_t i = 0; i < makes(plan, c.member[m]); i++)
            if (!in_rows(f, made(c.member[m], i))) return false;
    return whole(&c) && end == in_rows(f, summed(&c));
}

/* ---- finding them ------------------------------------------------------------------------------- */

/* May it be done earlier, or later, than it stands? Effects only later, and in their order. */
static bool may_move(const HInstr *h) {
    return h->kind == H_CONSTANT || h->kind == H_INPUT || h->kind == H_OP || h->kind == H_CELLS ||
           h->kind == H_FRAME || h->kind == H_FRAMES || h->kind == H_ENTRY || h->kind == H_ROW ||
           h->kind == H_LAUNCH || h->kind == H_CONV || h->kind == H_SCATTER || h->kind == H_EFFECT;
}

typedef enum { BEFORE, MEMBER, AFTER } Part;

typedef struct {
    Chain chain;
    Chain after; /* as if they were members: whether something needs what they make */
    const HBlock *block;
    uint32_t first, end;
    Part part[FAR];
} Search;

static bool needs(const Chain *c, const HInstr *h) {
    Needs n = needs_of(c, h);
    return n.fields || n.others;
}

/* A launch brings convolutions with it that stand before it, and that only it and what follows read. */
static void bring_convolutions(Search *s, uint32_t launch) {
    for (uint32_t k = 1; k < launch && s->chain.count < MOST_MEMBERS; k++) {
        const HInstr *h = &s->block->code.data[s->first + k];
        if (s->part[k] != BEFORE || !is_conv(s->chain.plan, h, CONV_FORWARD) ||
            !joins(&s->chain, h))
            continue;
        if (!look_at(&s->chain, &s->block->code.data[s->first + launch], h->dst).reads) continue;
        s->part[k] = MEMBER;
        s->chain.member[s->chain.count++] = h;
    }
}

/* Are the members that follow each other by rank made of nothing that comes after? Finds them, from s->first on. */
static bool find_members(Search *s) {
    const HInstr *code = s->block->code.data + s->first;
    uint32_t left = s->block->code.len - s->first;
    s->chain.member[0] = code;
    s->chain.count = 1;
    s->part[0] = MEMBER;
    for (uint32_t k = 1; k < left && k < FAR; k++) {
        const HInstr *h = &code[k];
        if (host_is_loop(h->kind) || !may_move(h) || host_in_chain(s->block, s->first + k))
            return false;
        bool late = h->kind == H_EFFECT || (s->after.count && needs(&s->after, h));
        s->part[k] = BEFORE;
        if (!late && !needs(&s->chain, h)) {
            if (h->kind == H_SCATTER) return false; /* what stands between reads what it changes */
            continue;
        }
        if (!late && h->kind == H_LAUNCH && needs_of(&s->chain, h).fields) bring_convolutions(s, k);
        if (!late && needs_of(&s->chain, h).fields && joins(&s->chain, h)) {
            s->part[k] = MEMBER;
            s->chain.member[s->chain.count++] = h;
            s->end = k + 1;
            if (whole(&s->chain)) return true;
            continue;
        }
        if (s->after.count == MOST_MEMBERS) return false;
        s->part[k] = AFTER;
        s->after.member[s->after.count++] = h;
    }
    return false;
}

/* The launch that ends the chain, if there is one: what stands before it and needs what members make goes after it. */
static bool find_end(Search *s) {
    const HInstr *code = s->block->code.data + s->first;
    uint32_t left = s->block->code.len - s->first;
    for (uint32_t k = 1; k < left && k < FAR; k++) {
        const HInstr *h = &code[k];
        if (k < s->end && s->part[k] != AFTER) continue;
        if (host_is_loop(h->kind) || !may_move(h) || h->kind == H_SCATTER) return false;
        if (host_in_chain(s->block, s->first + k)) return false;
        bool late = h->kind == H_EFFECT || (s->after.count && needs(&s->after, h));
        if (!late && ends(&s->chain, h)) {
            s->part[k] = MEMBER;
            s->chain.member[s->chain.count++] = h;
            if (s->end <= k) s->end = k + 1;
            return true;
        }
        if (k < s->end) continue;
        s->part[k] = late || needs(&s->chain, h) ? AFTER : BEFORE;
        if (s->part[k] == BEFORE) continue;
        if (s->after.count == MOST_MEMBERS) return false;
        s->after.member[s->after.count++] = h;
    }
    return false;
}

/* What stands among the members goes before them, or after them if it needs what they make. */
static void move_together(HBlock *block, const Search *s) {
    HInstr old[FAR], *code = block->code.data + s->first, *to = code;
    Chain moved = s->chain;
    memcpy(old, to, sizeof *old * s->end);
    for (uint32_t k = 0; k < s->end; k++)
        if (s->part[k] == BEFORE) *to++ = old[k];
    uint32_t left = s->chain.count;
    for (uint32_t m = 0; m < s->chain.count; m++)
        moved.member[m] = old + (s->chain.member[m] - code);
    for (Rank rank = 0; rank < RANKS; rank++)
        for (uint32_t k = 0; k < s->end; k++) {
            if (s->part[k] != MEMBER || rank_of(&moved, &old[k]) != rank) continue;
            *to = old[k];
            to++->chain = --left;
        }
    for (uint32_t k = 0; k < s->end; k++)
        if (s->part[k] == AFTER) *to++ = old[k];
}

static void chain_block(Plan *plan, HFunc *f, HBlock *block) {
    for (uint32_t i = 0; i < block->code.len; i++) {
        HInstr *h = &block->code.data[i];
        if (host_is_loop(h->kind)) chain_block(plan, f, h->loop->body);
        if (!is_conv(plan, h, CONV_FORWARD) || host_in_chain(block, i)) continue;
        Search s = {.chain = {.plan = plan, .f = f},
                    .after = {.plan = plan, .f = f},
                    .block = block,
                    .first = i};
        if (!find_members(&s)) continue;
        for (uint32_t m = 0; m < s.chain.count; m++)
            for (uint32_t k = 0; k < makes(plan, s.chain.member[m]); k++)
                f->regs.data[made(s.chain.member[m], k)].place = PLACE_ROWS;
        if (find_end(&s)) f->regs.data[summed(&s.chain)].place = PLACE_ROWS;
        move_together(block, &s);
    }
}

void plan_chains(Plan *plan) {
    for (uint32_t i = 0; i < plan->funcs.len; i++)
        chain_block(plan, plan->funcs.data[i], &plan->funcs.data[i]->body);
}
