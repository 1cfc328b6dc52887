/* Launches that can run together, row by row (runtime/relay.c).
 *
 * Launches in a row are stages of one relay if each reads what an earlier one makes, or reads a field that an earlier
 * one reads, and if rows near a row are all that it needs of what is made: no sides that lead to the other end of
 * the field, no totals. Grids are one, and the next coarser one. Whether it is worth it shows when the program
 * runs, by the sizes; so nothing here depends on them.
 *
 * Steps of a loop follow each other in the same way, if what they do is nothing but launches and numbers that no launch
 * gives: several of them are one relay, so that memory is gone through once for all. */
#include "compiler/kernel/plan_ir.h"

/* Steps together, at most: a pass over memory for ten of them costs a few percent; planes in 3D are so large that more of them would
 * leave narrow strips, which compute much beside themselves. */
enum { STEPS = 10, STEPS_3D = 5 };

typedef struct {
    const Plan *plan;
    const HInstr *stage; /* the first */
    uint32_t stages, fields, readings;
    GridId fine, coarse; /* coarse: GRID_NONE as long as there is none */
} Relay;

int32_t kernel_reach(const Kernel *k, uint32_t axis) {
    return k->low[axis] > k->high[axis] ? k->low[axis] : k->high[axis];
}

/* Does it read beyond a side of the axis that is the other end, or one that is not? */
static bool reads_beyond(const Kernel *k, uint32_t axis, bool periodic) {
    for (KNode n = 1; n < k->nodes.len; n++) {
        const KNodeData *d = &k->nodes.data[n];
        if ((d->kind != K_SHIFT && d->kind != K_UNSHIFT) || !d->offset[axis]) continue;
        if ((d->sides[axis][d->offset[axis] > 0] == SIDE_PERIODIC) == periodic) return true;
    }
    return false;
}

bool kernel_goes_round(const Kernel *k, uint32_t axis) { return reads_beyond(k, axis, true); }

static bool reads_finer_cells_only(const Kernel *k, uint32_t field) {
    for (KNode n = 1; n < k->nodes.len; n++) {
        const KNodeData *d = &k->nodes.data[n];
        if (d->index != field) continue;
        if (d->kind == K_PROLONG || d->kind == K_SPIKE || d->kind == K_ENTRY ||
            kernel_shares(d->kind))
            return false;
    }
    return true;
}

/* Which stage makes the field, or gives the number; NONE: none. */
static uint32_t maker(const Relay *r, HReg reg) {
    for (uint32_t s = 0; s < r->stages; s++) {
        const HInstr *h = &r->stage[s];
        const Kernel *k = r->plan->kernels.data[h->index];
        for (uint32_t i = 0; i < k->written.len; i++)
            if (h->outputs[i] == reg) return s;
        for (uint32_t i = 0; i < k->reductions.len; i++)
            if (h->reductions[i] == reg) return s;
    }
    return NONE;
}

static bool is_read(const Relay *r, HReg reg) {
    for (uint32_t s = 0; s < r->stages; s++)
        for (uint32_t i = 0; i < r->plan->kernels.data[r->stage[s].index]->fields.len; i++)
            if (r->stage[s].fields[i] == reg) return true;
    return false;
}

/* Partial results of a grid's launches share their place. */
static bool reduces_already(const Relay *r, GridId grid) {
    for (uint32_t s = 0; s < r->stages; s++)
        if (r->stage[s].grids[0] == grid &&
            r->plan->kernels.data[r->stage[s].index]->reductions.len)
            return true;
    return false;
}

static bool fits(const Plan *plan, const HInstr *h) {
    if (h->kind != H_LAUNCH) return false;
    const Kernel *k = plan->kernels.data[h->index];
    return k->written.len <= 8 && kernel_words_count(k) <= PDN_RELAY_WORDS;
}

static bool may_start(const Plan *plan, const HInstr *h) {
    return fits(plan, h) && plan->kernels.data[h->index]->rank == 2;
}

/* The grid, as one of the relay's; false: it is none of them. */
static bool joins_grid(Relay *r, GridId grid) {
    if (grid == r->fine || grid == r->coarse) return true;
    if (r->coarse != GRID_NONE || r->plan->finer[grid] != r->fine) return false;
    r->coarse = grid;
    return true;
}

static bool joins(Relay *r, const HInstr *h) {
    if (r->stages == PDN_RELAY_STAGES || !may_start(r->plan, h)) return false;
    Relay then = *r;
    const Kernel *k = r->plan->kernels.data[h->index];
    GridId grid = h->grids[0];
    bool round = kernel_goes_round(k, k->rank - 1), common = false;
    if (!joins_grid(&then, grid) || (k->reductions.len && reduces_already(r, grid))) return false;
    for (uint32_t i = 0; i < k->scalars; i++)
        if (h->scalars[i] != NONE && maker(r, h->scalars[i]) != NONE) return false;
    for (uint32_t i = 0; i < k->fields.len; i++) {
        common = common || is_read(r, h->fields[i]);
        if (maker(r, h->fields[i]) == NONE) continue;
        if (round || !reads_finer_cells_only(k, i)) return false;
        common = true;
        then.readings++;
    }
    then.fields += k->written.len;
    then.stages++;
    if (!common || then.fields > PDN_RELAY_FIELDS || then.readings > PDN_RELAY_READINGS)
        return false;
    *r = then;
    return true;
}

/* The relay of this launch alone. */
static Relay relay_of(const Plan *plan, const HInstr *h) {
    return (Relay){.plan = plan,
                   .stage = h,
                   .stages = 1,
                   .fine = h->grids[0],
                   .fields = plan->kernels.data[h->index]->written.len};
}

bool relay_holds(const Plan *plan, const HInstr *first, uint32_t left) {
    if (first->relay == 0) return true;
    if (first->relay > left || !may_start(plan, first)) return false;
    Relay r = relay_of(plan, first);
    while (r.stages <= first->relay)
        if (first[r.stages].relay + r.stages != first->relay || !joins(&r, &first[r.stages]))
            return false;
    return true;
}

/* ---- steps of loops ----------------------------------------------------------------------------- */

static bool only_loads(const Kernel *k) {
    for (KNode n = 1; n < k->nodes.len; n++)
        if (kernel_resamples(k->nodes.data[n].kind) || k->nodes.data[n].kind == K_ENTRY)
            return false;
    return true;
}

/* Does it ask where along the axis a cell is? */
static bool looks_at(const Kernel *k, uint32_t axis) {
    for (KNode n = 1; n < k->nodes.len; n++)
        if ((k->nodes.data[n].kind == K_COORD || k->nodes.data[n].kind == K_EDGE) &&
            k->nodes.data[n].index == axis)
            return true;
    return false;
}

/* A launch of a step: rows of one grid by rows near by; the ends of the slowest axis may be neighbours. */
static bool may_repeat(const Plan *plan, const HInstr *h, GridId grid) {
    const Kernel *k = plan->kernels.data[h->index];
    return fits(plan, h) && k->fields.len + k->written.len <= PDN_PART_FIELDS &&
           h->grids[0] == grid && k->reductions.len == 0 && only_loads(k);
}

static bool makes_number(const HFunc *f, const HInstr *h) {
    return (h->kind == H_CONSTANT || h->kind == H_OP || h->kind == H_CELLS || h->kind == H_INPUT) &&
           f->regs.data[h->dst].type.kind == TYPE_SCALAR;
}

/* Of a field: made by a launch of the body? */
static bool made_in(const Plan *plan, const HBlock *body, HReg reg) {
    for (uint32_t i = 0; i < body->code.len; i++) {
        const HInstr *h = &body->code.data[i];
        for (uint32_t o = 0; h->kind == H_LAUNCH && o < plan->kernels.data[h->index]->written.len;
             o++)
            if (h->outputs[o] == reg) return true;
    }
    return false;
}

/* Of the launches of a loop along the axis so many below the slowest: does one read across the ends; does one, too, ask where they
 * are? Cells at the ends are made on a grid in whose middle these are (runtime/blocking_ends.c), which suits the first alone. */
typedef struct {
    bool round, fixed;
} Ends;

static Ends ends_of(const Plan *plan, const HLoop *l, uint32_t below) {
    Ends ends = {0};
    for (uint32_t i = 0; i < l->body->code.len; i++) {
        const HInstr *h = &l->body->code.data[i];
        const Kernel *k = h->kind == H_LAUNCH ? plan->kernels.data[h->index] : NULL;
        if (!k || k->rank <= below) continue;
        uint32_t axis = k->rank - 1 - below;
        ends.round = ends.round || kernel_goes_round(k, axis);
        ends.fixed = ends.fixed || looks_at(k, axis) || reads_beyond(k, axis, false);
    }
    return ends;
}

uint32_t steps_round(const Plan *plan, const HLoop *l) {
    Ends rows = ends_of(plan, l, 0), lines = ends_of(plan, l, 1);
    uint32_t round = rows.round ? PDN_ROUND_ROWS : 0;
    return lines.round ? round | (lines.fixed ? PDN_ROUND_WHOLE_LINES : PDN_ROUND_LINES) : round;
}

uint32_t steps_together(const Plan *plan, const HFunc *f, const HLoop *l) {
    uint32_t launches = 0, fields = 0, readings = 0, made = 0, channels = 0;
    GridId grid = GRID_NONE;
    if (l->tape != NONE || l->stop != NONE) return 0;
    for (uint32_t s = 0; s < l->states; s++) {
        Type t = f->regs.data[l->param[s]].type;
        if (t.kind == TYPE_STACK || t.kind == TYPE_TUPLE) return 0;
        if (t.kind != TYPE_FIELD) continue;
        if (grid != GRID_NONE && (t.grid != grid || t.channels != channels)) return 0;
        grid = t.grid;
        channels = t.channels;
        made += made_in(plan, l->body, l->next[s]);
    }
    for (uint32_t i = 0; i < l->body->code.len; i++) {
        const HInstr *h = &l->body->code.data[i];
        if (makes_number(f, h)) continue;
        if (h->kind != H_LAUNCH || !may_repeat(plan, h, grid)) return 0;
        const Kernel *k = plan->kernels.data[h->index];
        launches++;
        fields += k->written.len;
        readings += k->fields.len;
    }
    Ends rows = ends_of(plan, l, 0);
    if (!made || (rows.round && rows.fixed)) return 0;
    uint32_t steps = plan->grid_rank[grid] == 3 ? STEPS_3D : STEPS;
    while (steps > 1 &&
           (steps * launches > PDN_RELAY_STAGES || steps * fields + readings > PDN_RELAY_FIELDS ||
            steps * readings > PDN_RELAY_READINGS))
        steps--;
    return steps > 1 ? steps : 0;
}

static void relay_block(const Plan *plan, const HFunc *f, HBlock *block) {
    for (uint32_t i = 0; i < block->code.len; i++) {
        HInstr *h = &block->code.data[i];
        if (host_is_loop(h->kind)) relay_block(plan, f, h->loop->body);
        if (h->kind == H_LOOP) h->loop->together = steps_together(plan, f, h->loop);
        if (!may_start(plan, h)) continue;
        Relay r = relay_of(plan, h);
        while (i + r.stages < block->code.len && joins(&r, &block->code.data[i + r.stages]))
            continue;
        for (uint32_t s = 0; s < r.stages; s++) block->code.data[i + s].relay = r.stages - 1 - s;
        i += r.stages - 1;
    }
}

void plan_relay(Plan *plan) {
    for (uint32_t i = 0; i < plan->funcs.len; i++)
        relay_block(plan, plan->funcs.data[i], &plan->funcs.data[i]->body);
}
