/* Where fields live.
 *
 * A field made by a launch, a fill or a call gets a slot of its function's workspace for as long as it is
 * read, or the caller's buffer if it is a result. States of loops are pointers: what an iteration makes
 * goes to a buffer of the loop's pool that no state points to at that moment (states + makers buffers
 * always suffice), so that no state is ever copied. A field that only a loop starts from is one of its buffers. Where a loop is
 * gone through backwards, the field that it starts from stays until that is over: it is the first state on the tape. */
#include "compiler/kernel/plan_ir.h"

#include <string.h>

HReg host_reg(HFunc *f, Type type, HPlace place) {
    vec_push(&f->regs, ((HRegData){.type = type, .place = place}));
    return f->regs.len - 1;
}

uint32_t plan_constant(Plan *plan, double number) {
    for (uint32_t i = 0; i < plan->constants.len; i++)
        if (memcmp(&plan->constants.data[i], &number, sizeof number) == 0) return i;
    vec_push(&plan->constants, number);
    return plan->constants.len - 1;
}

void host_visit(const HInstr *h, const Plan *plan, HVisit *visit, void *context) {
    for (uint32_t i = 0; i < h->args_count; i++) visit(context, h->args[i], false);
    if (h->kind == H_LAUNCH) {
        const Kernel *k = plan->kernels.data[h->index];
        for (uint32_t i = 0; i < k->fields.len; i++) visit(context, h->fields[i], false);
        for (uint32_t i = 0; i < k->scalars; i++)
            if (h->scalars[i] != NONE) visit(context, h->scalars[i], false);
        for (uint32_t i = 0; i < k->written.len; i++) visit(context, h->outputs[i], true);
        for (uint32_t i = 0; i < k->reductions.len; i++) visit(context, h->reductions[i], true);
    }
    if (host_is_loop(h->kind)) {
        const HLoop *l = h->loop;
        for (uint32_t i = 0; l->init && i < l->states; i++) visit(context, l->init[i], false);
        if (l->count != NONE) visit(context, l->count, false);
        for (uint32_t i = 0; i < l->states; i++) visit(context, l->result[i], true);
        visit(context, l->steps, true);
        for (uint32_t i = 0; i < l->collected; i++) visit(context, l->stack[i], true);
    }
    for (uint32_t i = 0; i < h->dsts_count; i++)
        if (h->dsts[i] != NONE) visit(context, h->dsts[i], true);
    if (h->dst != NONE) visit(context, h->dst, true);
}

/* ---- copies where a pointer will not do ------------------------------------------------------ */

typedef struct {
    Plan *plan;
    HFunc *f;
    uint32_t *maker; /* by register: the instruction kind that makes it, in which block */
    HBlock **block;
    VEC(HLoop *) loops; /* inner ones first */
    uint32_t position;
    /* by register */
    uint32_t *first, *last, *depth;
    uint32_t *own;    /* last use but for the time in which states of a loop may point to it */
    uint32_t *starts; /* so many states of loops begin with it */
    VEC(HLoop *) nest;
    HLoop **taped; /* by tape: the loop that keeps its states there */
} Memory;

static HInstr copying(Plan *plan, HReg from, HReg to, Type type) {
    Kernel *k = kernel_copying(plan->grid_rank[type.grid], type.channels, plan->arena);
    HInstr h = {.kind = H_LAUNCH, .dst = NONE, .index = plan_add_kernel(plan, k)};
    h.grids = arena_copy(plan->arena, &type.grid, sizeof type.grid);
    h.fields = arena_copy(plan->arena, &from, sizeof from);
    h.outputs = arena_copy(plan->arena, &to, sizeof to);
    h.scalars = ARENA_ARRAY(plan->arena, HReg, 1);
    h.scalar_constant = ARENA_ARRAY(plan->arena, uint32_t, 1);
    h.reductions = ARENA_ARRAY(plan->arena, HReg, 1);
    return h;
}

static HInstr *find_maker(HBlock *block, const Plan *plan, HReg reg) {
    for (uint32_t i = 0; i < block->code.len; i++) {
        HInstr *h = &block->code.data[i];
        if (h->dst == reg) return h;
        for (uint32_t k = 0; h->kind == H_LAUNCH && k < plan->kernels.data[h->index]->written.len;
             k++)
            if (h->outputs[k] == reg) return h;
        for (uint32_t k = 0; k < h->dsts_count; k++)
            if (h->dsts[k] == reg) return h;
        for (uint32_t k = 0; host_is_loop(h->kind) && k < h->loop->states; k++)
            if (h->loop->result[k] == reg) return h;
    }
    return NULL;
}

/* Can the instruction write to a buffer of our choice? */
static bool writes_anywhere(const HInstr *h) {
    return h->kind == H_LAUNCH || h->kind == H_RANDOM || h->kind == H_CALL || h->kind == H_ROW ||
           h->kind == H_BATCH || h->kind == H_CONV || h->kind == H_CONVNORM || h->kind == H_TRIDIAG;
}

static struct HPool *pool_of(HLoop *l, Type t, Arena *arena) {
    for (uint32_t i = 0; i < l->pools; i++)
        if (l->pool[i].grid == t.grid && l->pool[i].channels == t.channels) return &l->pool[i];
    struct HPool *p = &l->pool[l->pools++];
    p->grid = t.grid;
    p->channels = t.channels;
    p->maker = ARENA_ARRAY(arena, HReg, l->states);
    return p;
}

static bool makes(const struct HPool *p, HReg reg) {
    for (uint32_t i = 0; i < p->made; i++)
        if (p->maker[i] == reg) return true;
    return false;
}

bool host_may_stay(const HLoop *back, const HInstr *h) {
    const HInstr *first = back->body->code.len ? &back->body->code.data[0] : NULL;
    if (h->kind != H_LAUNCH || !first || first->kind != H_ADVANCE) return false;
    bool kept = false;
    for (uint32_t s = 0; s < first->loop->states; s++)
        kept = kept || first->loop->result[s] == h->fields[0];
    for (uint32_t s = 0; s < back->states; s++)
        for (uint32_t k = 0; k < back->states && back->next[s] == h->outputs[0]; k++)
            if (back->next[k] == back->param[s]) return false;
    return kept;
}

static void prepare_block(Memory *m, HBlock *block);

/* The kernels that copy these states to a stack or a tape. */
static uint32_t *state_copies(Memory *m, const HLoop *l, const uint32_t *states, uint32_t count) {
    Plan *plan = m->plan;
    uint32_t *kernels = ARENA_ARRAY(plan->arena, uint32_t, count + 1);
    for (uint32_t i = 0; i < count; i++) {
        Type t = m->f->regs.data[l->param[states[i]]].type;
        kernels[i] = NONE;
        if (t.kind != TYPE_FIELD) continue;
        Kernel *copy = kernel_copying(plan->grid_rank[t.grid], t.channels, plan->arena);
        kernels[i] = plan_add_kernel(plan, copy);
    }
    return kernels;
}

static void prepare_loop(Memory *m, HLoop *l) {
    Arena *arena = m->plan->arena;
    prepare_block(m, l->body);
    l->pool = ARENA_ARRAY(arena, struct HPool, l->states + 1);
    for (uint32_t i = 0; i < l->states; i++) {
        Type t = m->f->regs.data[l->next[i]].type;
        if (t.kind != TYPE_FIELD) continue;
        struct HPool *p = pool_of(l, t, arena);
        HInstr *maker = find_maker(l->body, m->plan, l->next[i]);
        if (makes(p, l->next[i]) || !maker)
            continue; /* made already, or a parameter, or from outside: a pointer */
        if (!writes_anywhere(maker)) {
            HReg to = host_reg(m->f, t, PLACE_POOL);
            HInstr copy = copying(m->plan, l->next[i], to, t);
            for (uint32_t k = l->states; k-- > i;)
                if (l->next[k] == l->next[i] && k != i) l->next[k] = to;
            l->next[i] = to;
            copy.stays = host_may_stay(l, &copy);
            vec_push(&l->body->code, copy);
        }
        m->f->regs.data[l->next[i]].place = PLACE_POOL;
        m->f->regs.data[l->next[i]].place_index = p->made;
        p->maker[p->made++] = l->next[i];
    }
    for (uint32_t i = 0; i < l->pools; i++) {
        struct HPool *p = &l->pool[i];
        uint32_t states = 0;
        for (uint32_t k = 0; k < l->states; k++) {
            Type t = m->f->regs.data[l->next[k]].type;
            states += t.kind == TYPE_FIELD && t.grid == p->grid && t.channels == p->channels;
        }
        /* of several steps at once, every state may be one that they make */
        p->slots = !p->made ? 0 : states + (l->together && states > p->made ? states : p->made);
        p->slot = ARENA_ARRAY(arena, uint32_t, p->slots + 1);
    }
    l->stack_kernel = state_copies(m, l, l->collect, l->collected);
    l->keep_kernel = state_copies(m, l, l->keep, l->kept);
    vec_push(&m->loops, l);
}

static void prepare_block(Memory *m, HBlock *block) {
    for (uint32_t i = 0; i < block->code.len; i++)
        if (host_is_loop(block->code.data[i].kind)) prepare_loop(m, block->code.data[i].loop);
}

static void prepare_results(Memory *m) {
    HFunc *f = m->f;
    for (uint32_t i = 0; i < f->results.len; i++) {
        HReg r = f->results.data[i];
        Type t = f->regs.data[r].type;
        if (t.kind != TYPE_FIELD) continue;
        HInstr *maker = find_maker(&f->body, m->plan, r);
        if (!maker || !writes_anywhere(maker) || f->regs.data[r].place == PLACE_RESULT) {
            HReg to = host_reg(f, t, PLACE_RESULT);
            HInstr copy = copying(m->plan, r, to, t);
            vec_push(&f->body.code, copy);
            f->results.data[i] = r = to;
        }
        f->regs.data[r].place = PLACE_RESULT;
        f->regs.data[r].place_index = i;
    }
}

/* ---- lifetimes -------------------------------------------------------------------------- */

/* What is read in a loop that it was made outside of: until that loop ends. */
static uint32_t read_until(const Memory *m, HReg r) {
    return m->nest.len > m->depth[r] ? m->nest.data[m->depth[r]]->end : m->position;
}

static void see(void *context, HReg r, bool written) {
    Memory *m = context;
    if (written) {
        m->first[r] = m->last[r] = m->own[r] = m->position;
        m->depth[r] = m->nest.len;
        return;
    }
    uint32_t until = read_until(m, r);
    if (m->last[r] < until) m->last[r] = until;
    if (m->own[r] < until) m->own[r] = until;
}

/* A state of a loop that is about to begin starts there, and may point there until the loop ends. */
static void see_start(Memory *m, const HLoop *l, HReg r) {
    see(m, r, false);
    m->starts[r]++;
    uint32_t until = read_until(m, r) > l->end ? read_until(m, r) : l->end;
    if (m->last[r] < until) m->last[r] = until;
}

/* Launches that may run together are at one place in time: none may write where another reads. */
static bool runs_with_last(const HBlock *block, uint32_t i) {
    return i > 0 && (block->code.data[i - 1].relay > 0 || block->code.data[i - 1].chain > 0);
}

static void number_block(Memory *m, HBlock *block) {
    for (uint32_t i = 0; i < block->code.len; i++) {
        m->position += !runs_with_last(block, i);
        if (host_is_loop(block->code.data[i].kind)) {
            HLoop *l = block->code.data[i].loop;
            l->begin = m->position++;
            number_block(m, l->body);
            l->end = ++m->position;
        }
    }
}

static void walk_block(Memory *m, HBlock *block) {
    for (uint32_t i = 0; i < block->code.len; i++) {
        HInstr *h = &block->code.data[i];
        m->position += !runs_with_last(block, i);
        if (!host_is_loop(h->kind)) {
            host_visit(h, m->plan, see, m);
            continue;
        }
        HLoop *l = h->loop;
        m->position++;
        for (uint32_t s = 0; l->init && s < l->states; s++) see_start(m, l, l->init[s]);
        vec_push(&m->nest, l);
        see(m, l->k, true);
        for (uint32_t s = 0; s < l->states; s++) see(m, l->param[s], true);
        if (l->count != NONE) see(m, l->count, false);
        walk_block(m, l->body);
        m->position++;
        for (uint32_t s = 0; s < l->states; s++) see(m, l->next[s], false);
        if (l->stop != NONE) see(m, l->stop, false);
        (void)vec_pop(&m->nest);
        for (uint32_t s = 0; s < l->states; s++) see(m, l->result[s], true);
        see(m, l->steps, true);
        for (uint32_t s = 0; s < l->collected; s++) see(m, l->stack[s], true);
        if (h->kind == H_LOOP && l->tape != NONE) m->taped[l->tape] = l;
        if (h->kind == H_BACK)
            for (uint32_t s = 0; s < m->taped[l->tape]->states; s++)
                see(m, m->taped[l->tape]->init[s], false);
    }
}

/* A loop's results are pointers to its pool, or to what its states started from; of one that goes back, to the tape, too. */
static void spread_lifetimes(Memory *m, uint32_t *pool_last) {
    for (uint32_t i = m->loops.len; i-- > 0;) {
        HLoop *l = m->loops.data[i];
        pool_last[i] = l->end;
        for (uint32_t s = 0; s < l->states; s++)
            if (pool_last[i] < m->last[l->result[s]]) pool_last[i] = m->last[l->result[s]];
        for (uint32_t s = 0; s < l->states; s++) {
            if (l->init && m->last[l->init[s]] < pool_last[i]) m->last[l->init[s]] = pool_last[i];
            if (m->last[l->next[s]] < pool_last[i] && m->first[l->next[s]] < l->begin)
                m->last[l->next[s]] = pool_last[i];
        }
        const HLoop *taped = l->tape == NONE ? NULL : m->taped[l->tape];
        for (uint32_t s = 0; taped && s < taped->states; s++)
            if (m->last[taped->init[s]] < pool_last[i]) m->last[taped->init[s]] = pool_last[i];
    }
}

/* ---- slots --------------------------------------------------------------------------------- */

typedef struct {
    uint32_t first, last, order;
    GridId grid;
    uint32_t channels;
    uint32_t *slot; /* where its number goes */
} Item;

typedef VEC(Item) Items;

static void assign_slots(HFunc *f, Items *items) {
    /* by first use: insertion keeps it stable, and the list is nearly sorted */
    for (uint32_t i = 1; i < items->len; i++)
        for (uint32_t k = i; k > 0 && items->data[k].first < items->data[k - 1].first; k--) {
            Item t = items->data[k];
            items->data[k] = items->data[k - 1];
            items->data[k - 1] = t;
        }
    VEC(uint32_t) busy = {0}; /* by slot: last use */
    for (uint32_t i = 0; i < items->len; i++) {
        Item *item = &items->data[i];
        uint32_t s = 0;
        while (s < f->slots.len &&
               (f->slots.data[s].grid != item->grid ||
                f->slots.data[s].channels != item->channels || busy.data[s] >= item->first))
            s++;
        if (s == f->slots.len) {
            vec_push(&f->slots, ((HSlot){item->grid, item->channels}));
            vec_push(&busy, 0);
        }
        busy.data[s] = item->last;
        *item->slot = s;
    }
    vec_free(&busy);
}

/* A field in which one state of the loop begins, and nobody else wants: when no state points there any longer, it is one more
 * buffer of the pool. */
static bool joins_pool(const Memory *m, const HLoop *l, const struct HPool *p, HReg r) {
    const HRegData *d = &m->f->regs.data[r];
    return d->place == PLACE_SLOT && d->type.grid == p->grid && d->type.channels == p->channels &&
           l->tape == NONE && m->starts[r] == 1 && m->own[r] <= l->begin + 1;
}

/* Buffers of the pool that are such fields stand last: they have their place. */
static uint32_t join_pool(const Memory *m, HLoop *l, struct HPool *p) {
    uint32_t left = p->slots;
    for (uint32_t s = 0; l->init && s < l->states && left > 0; s++)
        if (joins_pool(m, l, p, l->init[s]))
            p->slot[--left] = m->f->regs.data[l->init[s]].place_index;
    return left;
}

static void collect_items(Memory *m, const uint32_t *pool_last, Items *items) {
    HFunc *f = m->f;
    for (uint32_t i = 0; i < m->loops.len; i++) {
        HLoop *l = m->loops.data[i];
        for (uint32_t p = 0; p < l->pools; p++)
            for (uint32_t s = 0, own = join_pool(m, l, &l->pool[p]); s < own; s++)
                vec_push(items, ((Item){.first = l->begin,
                                        .last = pool_last[i],
                                        .grid = l->pool[p].grid,
                                        .channels = l->pool[p].channels,
                                        .slot = &l->pool[p].slot[s]}));
    }
    for (HReg r = 0; r < f->regs.len; r++)
        if (f->regs.data[r].place == PLACE_SLOT)
            vec_push(items, ((Item){.first = m->first[r],
                                    .last = m->last[r],
                                    .grid = f->regs.data[r].type.grid,
                                    .channels = f->regs.data[r].type.channels,
                                    .slot = &f->regs.data[r].place_index}));
}

/* Fields that instructions make, and that have no place yet, get slots. */
static void want_slots(Memory *m, HBlock *block) {
    for (uint32_t i = 0; i < block->code.len; i++) {
        HInstr *h = &block->code.data[i];
        const Kernel *k = h->kind == H_LAUNCH ? m->plan->kernels.data[h->index] : NULL;
        uint32_t count = k                   ? k->written.len
                         : h->kind == H_CALL ? h->dsts_count
                                             : h->kind == H_RANDOM || h->kind == H_ROW ||
                                                   h->kind == H_BATCH || h->kind == H_CONV ||
                                                   h->kind == H_CONVNORM || h->kind == H_TRIDIAG;
        const HReg *made = k ? h->outputs : h->kind == H_CALL ? h->dsts : &h->dst;
        for (uint32_t o = 0; o < count; o++) {
            HRegData *r = &m->f->regs.data[made[o]];
            if (r->type.kind == TYPE_FIELD && r->place == PLACE_POINTER) r->place = PLACE_SLOT;
        }
        if (host_is_loop(h->kind)) want_slots(m, h->loop->body);
        if (k && k->reductions.len) {
            uint32_t p = 0;
            while (p < m->f->partials.len && m->f->partials.data[p].grid != h->grids[0]) p++;
            if (p == m->f->partials.len) vec_push(&m->f->partials, ((HSlot){h->grids[0], 0}));
            if (m->f->partials.data[p].channels < k->reductions.len)
                m->f->partials.data[p].channels = k->reductions.len;
        }
    }
}

/* Outputs of such launches that are read at that place alone. */
static void mark_own(Memory *m, HBlock *block) {
    for (uint32_t i = 0; i < block->code.len; i++) {
        HInstr *h = &block->code.data[i];
        if (host_is_loop(h->kind)) mark_own(m, h->loop->body);
        for (uint32_t o = 0; h->relay && o < m->plan->kernels.data[h->index]->written.len; o++) {
            HReg r = h->outputs[o];
            if (m->f->regs.data[r].place == PLACE_SLOT && m->last[r] == m->first[r])
                h->own |= 1u << o;
        }
    }
}

static void place_function(Plan *plan, HFunc *f) {
    Memory m = {.plan = plan, .f = f};
    Arena *scratch = arena_new();
    prepare_block(&m, &f->body);
    prepare_results(&m);
    want_slots(&m, &f->body);
    m.first = ARENA_ARRAY(scratch, uint32_t, f->regs.len);
    m.last = ARENA_ARRAY(scratch, uint32_t, f->regs.len);
    m.depth = ARENA_ARRAY(scratch, uint32_t, f->regs.len);
    m.own = ARENA_ARRAY(scratch, uint32_t, f->regs.len);
    m.starts = ARENA_ARRAY(scratch, uint32_t, f->regs.len);
    memset(m.starts, 0, sizeof *m.starts * f->regs.len);
    m.taped = ARENA_ARRAY(scratch, HLoop *, f->tapes + 1);
    memset(m.taped, 0, sizeof *m.taped * (f->tapes + 1));
    number_block(&m, &f->body);
    uint32_t total = m.position + 1;
    m.position = 0;
    walk_block(&m, &f->body);
    for (uint32_t i = 0; i < f->results.len; i++) m.last[f->results.data[i]] = total;
    uint32_t *pool_last = ARENA_ARRAY(scratch, uint32_t, m.loops.len + 1);
    spread_lifetimes(&m, pool_last);
    Items items = {0};
    collect_items(&m, pool_last, &items);
    mark_own(&m, &f->body);
    assign_slots(f, &items);
    for (uint32_t i = 0; i < m.loops.len; i++)
        for (uint32_t p = 0; p < m.loops.data[i]->pools; p++)
            (void)join_pool(&m, m.loops.data[i], &m.loops.data[i]->pool[p]);
    vec_free(&items);
    vec_free(&m.loops);
    vec_free(&m.nest);
    arena_free(scratch);
}

void plan_memory(Plan *plan) {
    for (uint32_t i = 0; i < plan->funcs.len; i++) place_function(plan, plan->funcs.data[i]);
}

/* ---- sealing ------------------------------------------------------------------------------- */

#define SEAL(arena, v)                                                                             \
    do {                                                                                           \
        void *copy = arena_copy((arena), (v)->data, sizeof *(v)->data * (v)->len);                 \
        mem_free((v)->data);                                                                       \
        (v)->data = copy;                                                                          \
        (v)->cap = (v)->len;                                                                       \
    } while (0)

static void seal_block(Arena *arena, HBlock *block) {
    SEAL(arena, &block->code);
    for (uint32_t i = 0; i < block->code.len; i++)
        if (host_is_loop(block->code.data[i].kind))
            seal_block(arena, block->code.data[i].loop->body);
}

void plan_seal(Plan *plan) {
    Arena *arena = plan->arena;
    for (uint32_t i = 0; i < plan->kernels.len; i++) {
        Kernel *k = plan->kernels.data[i];
        SEAL(arena, &k->nodes);
        SEAL(arena, &k->fields);
        SEAL(arena, &k->written);
        SEAL(arena, &k->outputs);
        SEAL(arena, &k->reductions);
    }
    for (uint32_t i = 0; i < plan->funcs.len; i++) {
        HFunc *f = plan->funcs.data[i];
        SEAL(arena, &f->regs);
        SEAL(arena, &f->params);
        SEAL(arena, &f->results);
        SEAL(arena, &f->slots);
        SEAL(arena, &f->partials);
        seal_block(arena, &f->body);
    }
    SEAL(arena, &plan->inputs);
    SEAL(arena, &plan->kernels);
    SEAL(arena, &plan->convs);
    SEAL(arena, &plan->ways);
    SEAL(arena, &plan->funcs);
    SEAL(arena, &plan->constants);
}
