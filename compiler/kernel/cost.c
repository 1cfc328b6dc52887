/* What one execution of a plan moves, computes and needs, for the sizes of a module. */
#include "compiler/kernel/checkpoint.h"
#include "compiler/kernel/plan_ir.h"
#include "runtime/pdn.h"

#include <math.h>
#include <string.h>

typedef struct {
    const Plan *plan;
    const Module *module;
    PlanCost cost;
    int64_t memory;       /* for tapes */
    uint32_t size, tapes; /* of all functions */
    double *steps;        /* by tape of the function that is looked at: of the loop that wrote it */
    const PdnGrid *grids; /* where the sizes are known; else NULL */
    bool together;        /* inside of a loop whose steps run together */
} Costs;

static double extent(const Costs *c, GridId g, uint32_t axis) {
    const Grid *grid = &c->module->grids.data[g];
    if (axis >= grid->rank) return 1;
    if (c->grids) return (double)c->grids[g].extent[axis];
    if (grid->extent[axis] >= 0) return (double)grid->extent[axis];
    if (grid->coarser) return 2 * extent(c, grid->coarser, axis);
    return grid->finer ? ceil(extent(c, grid->finer, axis) / 2) : 1;
}

static double cells(const Costs *c, GridId g) {
    return g == GRID_NONE ? 1 : extent(c, g, 0) * extent(c, g, 1) * extent(c, g, 2);
}

/* Times a loop runs: as often as its constant says, else once. */
static double trips(const Costs *c, const HLoop *l) {
    double n = l->count == NONE ? ceil(c->plan->constants.data[l->count_constant]) : 1;
    return n > 0 ? n : 0;
}

static double conv_flops(const Costs *c, const HInstr *h) {
    const Conv *conv = &c->plan->convs.data[h->index];
    return 2 * cells(c, h->grids[1]) * (double)conv_weights(conv);
}

/* Operands and result, each once; without what never exists as a whole. */
static double conv_moved(const Costs *c, const HFunc *f, const HInstr *h) {
    const Conv *conv = &c->plan->convs.data[h->index];
    double numbers = (double)conv_weights(conv);
    bool read = f->regs.data[h->args[0]].place != PLACE_ROWS,
         made = f->regs.data[h->dst].place != PLACE_ROWS;
    bool back = h->detail == CONV_TRANSPOSED;
    if (back ? made : read) numbers += cells(c, h->grids[0]) * conv->in;
    if (back ? read : made) numbers += cells(c, h->grids[1]) * conv->out;
    return numbers * c->size;
}

/* Numbers that a launch reads and writes a cell. */
static double launch_moved(const HFunc *f, const Kernel *k, const HInstr *h) {
    double numbers = k->loads + k->outputs.len;
    for (uint32_t i = 0; i < k->fields.len; i++)
        if (f->regs.data[h->fields[i]].place == PLACE_ROWS) numbers -= k->fields.data[i].channels;
    for (uint32_t i = 0; i < k->written.len; i++)
        if (f->regs.data[h->outputs[i]].place == PLACE_ROWS) numbers -= k->written.data[i];
    return numbers < 0 ? 0 : numbers;
}

static double type_bytes(const Costs *c, Type t) {
    return t.kind == TYPE_STACK ? 0 : cells(c, t.grid) * t.channels * c->size;
}

/* Of one run. */
static PlanAmount amount(const Costs *c, const HFunc *f, const HInstr *h) {
    PlanAmount a = {0, 0};
    double result = h->dst == NONE || f->regs.data[h->dst].type.kind != TYPE_FIELD
                        ? 0
                        : type_bytes(c, f->regs.data[h->dst].type);
    if (h->kind == H_LAUNCH) {
        const Kernel *k = c->plan->kernels.data[h->index];
        double n = cells(c, h->grids[0]);
        a = (PlanAmount){n * (k->flops + k->fused), n * launch_moved(f, k, h) * c->size};
    } else if (h->kind == H_CONV) {
        a = (PlanAmount){conv_flops(c, h), conv_moved(c, f, h)};
    } else if (h->kind == H_TRIDIAG) {
        a = (PlanAmount){result / c->size * op_info(OP_TRIDIAG)->cost, result};
        for (uint32_t k = 0; k < h->args_count; k++)
            a.bytes += type_bytes(c, f->regs.data[h->args[k]].type);
    } else if (h->kind == H_RANDOM) {
        a.bytes = result;
    } else if (h->kind == H_BATCH) {
        a.bytes = 2 * result;
    }
    return a;
}

/* ---- together ------------------------------------------------------------------------------- */

typedef struct {
    uint64_t name;
    double bytes; /* to write it; 0: it is there */
    bool wanted;  /* by others than the stages that are looked at */
} TogetherField;

/* What stages [first, end) of a relay, or of steps of a loop, read and make. Fields go by names: that of a register, or,
 * where a step of a loop makes it, that number times the step, counted from 1 on. */
typedef struct {
    const Costs *c;
    const HFunc *f;
    const HLoop *l; /* NULL: launches in a row */
    const HInstr *stage[PDN_RELAY_STAGES];
    uint32_t count, first, end;
    uint32_t body;   /* stages of a step */
    uint64_t *state; /* by state: its name now */
    VEC(TogetherField) fields;
    double read;
} Together;

static bool makes(const Plan *plan, const HInstr *h, HReg reg) {
    for (uint32_t o = 0; o < plan->kernels.data[h->index]->written.len; o++)
        if (h->outputs[o] == reg) return true;
    return false;
}

static uint64_t field_name(const Together *t, HReg reg, uint32_t step) {
    if (!t->l) return reg;
    for (uint32_t s = 0; s < t->body; s++)
        if (makes(t->c->plan, t->stage[s], reg)) return (uint64_t)(step + 1) * t->f->regs.len + reg;
    for (uint32_t i = 0; i < t->l->states; i++)
        if (t->l->param[i] == reg) return t->state[i];
    return reg;
}

static double loads_of(const Kernel *k, uint32_t field) {
    uint64_t seen = 0;
    uint32_t count = 0;
    for (KNode n = 1; n < k->nodes.len; n++) {
        const KNodeData *d = &k->nodes.data[n];
        if (d->index != field || (d->kind != K_LOAD && !kernel_resamples(d->kind))) continue;
        if (d->detail >= 64 || seen >> d->detail & 1) continue;
        seen |= UINT64_C(1) << d->detail;
        count++;
    }
    return count;
}

static TogetherField *find_field(Together *t, uint64_t name) {
    for (uint32_t i = 0; i < t->fields.len; i++)
        if (t->fields.data[i].name == name) return &t->fields.data[i];
    return NULL;
}

static void note_stage(Together *t, uint32_t s, uint32_t step) {
    const HInstr *h = t->stage[s];
    const Kernel *k = t->c->plan->kernels.data[h->index];
    double n = cells(t->c, h->grids[0]) * t->c->size;
    bool inside = s >= t->first && s < t->end;
    for (uint32_t i = 0; i < k->fields.len; i++) {
        uint64_t name = field_name(t, h->fields[i], step);
        TogetherField *known = find_field(t, name);
        if (inside && !known) {
            vec_push(&t->fields, ((TogetherField){.name = name}));
            t->read += n * loads_of(k, i);
        } else if (s >= t->end && known) {
            known->wanted = true;
        }
    }
    for (uint32_t o = 0; o < k->written.len && inside; o++) {
        TogetherField made = {field_name(t, h->outputs[o], step), n * k->written.data[o],
                              !t->l && !(h->own >> o & 1)};
        vec_push(&t->fields, made);
    }
}

/* What the next step begins with. */
static void rotate(Together *t, uint32_t step) {
    uint64_t *next = mem_alloc(sizeof *next * (t->l->states + 1));
    for (uint32_t i = 0; i < t->l->states; i++) next[i] = field_name(t, t->l->next[i], step);
    memcpy(t->state, next, sizeof *next * t->l->states);
    mem_free(next);
}

static Together together_at(const Costs *c, const HFunc *f, const HInstr *h) {
    uint32_t places[PDN_RELAY_STAGES];
    Together t = {.c = c, .f = f, .l = h->kind == H_LOOP ? h->loop : NULL};
    t.count = t.end = plan_stages(c->plan, h->place, places);
    for (uint32_t s = 0; s < t.count; s++) t.stage[s] = c->plan->place[places[s]].instr;
    t.body = t.l ? t.count / t.l->together : t.count;
    return t;
}

static double bytes_together(Together *t) {
    t->state = mem_alloc(sizeof *t->state * (t->l ? t->l->states + 1 : 1));
    for (uint32_t i = 0; t->l && i < t->l->states; i++) t->state[i] = t->l->param[i];
    for (uint32_t s = 0; s < t->count; s++) {
        note_stage(t, s, s / t->body);
        if (t->l && s % t->body == t->body - 1) rotate(t, s / t->body);
    }
    for (uint32_t i = 0; t->l && i < t->l->states; i++) {
        TogetherField *last = find_field(t, t->state[i]);
        if (last) last->wanted = true;
    }
    double bytes = t->read;
    for (uint32_t i = 0; i < t->fields.len; i++)
        bytes += t->fields.data[i].wanted ? t->fields.data[i].bytes : 0;
    mem_free(t->state);
    vec_free(&t->fields);
    return bytes;
}

/* Bytes that all that may run together from `h` on saves by it; of a loop: so many steps. */
static double saved_bytes(const Costs *c, const HFunc *f, const HInstr *h, uint32_t steps) {
    Together t = together_at(c, f, h);
    double alone = 0;
    if (t.l) t.count = t.end = t.body * steps;
    for (uint32_t s = 0; s < t.count; s++) alone += amount(c, f, t.stage[s]).bytes;
    return alone - bytes_together(&t);
}

/* Of so many steps of a loop in a row, as emit_steps_together takes them. */
static double saved_by_steps(const Costs *c, const HFunc *f, const HInstr *h, double steps) {
    double saved = 0;
    for (uint32_t n = h->loop->together; n > 1; n /= 2) {
        double times = floor(steps / n);
        if (times > 0) saved += times * saved_bytes(c, f, h, n);
        steps -= times * n;
    }
    return saved;
}

/* Of all steps of a loop: from one that a film keeps to the next. */
static double saved_by_loop(const Costs *c, const HFunc *f, const HInstr *h, double steps) {
    const HLoop *l = h->loop;
    double stride = l->collected ? c->plan->constants.data[l->stride_constant] : steps;
    if (stride >= steps) return saved_by_steps(c, f, h, steps);
    return floor(steps / stride) * saved_by_steps(c, f, h, stride) +
           saved_by_steps(c, f, h, fmod(steps, stride));
}

/* Scratch of a convolution, for tiles and vectors of any machine: what is read, padded, if it is not a chain that does; what
 * is made, before it is folded; packed weights, or sums of chunks. */
static double conv_bytes(const Costs *c, const HInstr *h, bool chained) {
    const Conv *conv = &c->plan->convs.data[h->index];
    ConvForm form = (ConvForm)h->detail;
    ConvPlan p = conv_plan(conv, form);
    double padded = p.in * p.groups, made = p.out * p.groups, v = cells(c, h->grids[1]);
    for (uint32_t a = 0; a < MAX_RANK; a++) {
        double n = extent(c, h->grids[0], a), room = (double)(p.axis[a].low + p.axis[a].rest);
        double all =
            ceil((n + (double)(p.axis[a].ghost[0] + p.axis[a].ghost[1])) / p.axis[a].made_split);
        double wide = form == CONV_TRANSPOSED ? all + room : ceil((n + room) / p.axis[a].split);
        padded *= (a == 0 ? ceil(wide / 16) * 16 : wide) * p.axis[a].split;
        made *= (form == CONV_TRANSPOSED ? all : extent(c, h->grids[1], a) + room) *
                p.axis[a].made_split;
    }
    double weights = (double)conv_weights(conv),
           bytes = ((chained ? 0 : padded) + 2 * CONV_TILE) * c->size;
    /* emit_conv_winograd.c: points, a row more */
    bool square = conv->rank == 2 && conv->size[0] == 3 && conv->size[1] == 3;
    if (square && form != CONV_WEIGHTS)
        bytes += (16.0 * conv->in * conv->out + p.in * (extent(c, h->grids[0], 0) + 16)) * c->size;
    if (form == CONV_WEIGHTS) {
        double chunks = 1 + ceil(2 * v * c->size / CONV_CHUNK),
               each = square ? 16.0 / 9 * weights : weights;
        return bytes + (made + each * chunks) * c->size;
    }
    double fold = !p.folds ? 0 : p.made_phases > 1 ? 2 * made : made;
    return bytes + (fold + 8 * weights / p.out + 2 * weights) * c->size +
           16 * (weights / p.out + 64 * p.made_phases);
}

/* Numbers of the rows of a chain, and of sums of gradients, for tiles of so many rows and rows of so many channels apart
 * (emit_conv.c, take_turns; emit_chain.c). */
static double chain_rows(const Costs *c, const HInstr *first, const Conv *last, double rows,
                         double channel, double tile, double lanes) {
    double beyond = (double)last->size[1] - 1, row = channel * last->out, one = 0, rings = 1,
           sums = 0;
    double tiles = floor(floor(CHAIN_BYTES / (row * c->size)) / (2 * tile));
    double turn = tile * fmax(1, fmin(tiles, CHAIN_TILES)),
           ring = turn + turn * ceil(beyond / turn);
    double block = turn * ceil(CHAIN_ROWS / turn), units = ceil(rows / block);
    for (uint32_t m = 0; m <= first->chain; m++) {
        const HInstr *h = &first[m];
        const Conv *conv = h->kind == H_CONV ? &c->plan->convs.data[h->index] : NULL;
        if (conv && h->detail == CONV_FORWARD) {
            double wide = extent(c, h->grids[0], 0) + (double)conv->size[0] - 1;
            one += conv->out * CHAIN_PART * lanes;
            one += (block + (double)(last->size[1] + conv->size[1])) * ceil(wide / lanes) * lanes *
                   conv->in;
        }
        /* turns of what the launch reads */
        if (m == first->chain && !conv) one += turn * channel * last->in;
        if (!conv || h->detail != CONV_WEIGHTS) continue;
        double cells_apart =
            fmax(1, fmin(turn, floor(CONV_CHUNK / c->size / fmax(1, extent(c, h->grids[1], 0)))));
        sums += ceil(rows / turn) * ceil(turn / cells_apart) * (double)conv_weights(conv);
        rings++;
    }
    return units * (rings * row * ring + one) + sums;
}

/* Scratch of a chain: that of its convolutions, and rows in place of the fields between. */
static double chain_bytes(const Costs *c, const HInstr *first) {
    const HInstr *last = first;
    double bytes = 64 * (first->chain + 4.0), most = 0;
    for (uint32_t m = 0; m <= first->chain; m++) {
        if (first[m].kind != H_CONV || first[m].detail == CONV_WEIGHTS) continue;
        last = &first[m];
        if (last->detail == CONV_FORWARD) bytes += conv_bytes(c, last, true);
    }
    const Conv *conv = &c->plan->convs.data[last->index];
    ConvPlan p = conv_plan(conv, CONV_TRANSPOSED);
    double all[2], weights = (double)conv_weights(conv);
    for (uint32_t a = 0; a < 2; a++)
        all[a] = extent(c, last->grids[0], a) + (double)(p.axis[a].ghost[0] + p.axis[a].ghost[1]);
    double row = all[0] + (double)(p.axis[0].low + p.axis[0].rest);
    for (int tile = 4; tile <= 5; tile++)
        for (int lanes = 2; lanes <= 16; lanes *= 2) {
            double channel = ceil(row / lanes) * lanes + lanes; /* or one vector more */
            most = fmax(most, chain_rows(c, first, conv, all[1], channel, tile, lanes));
            most = fmax(most, chain_rows(c, first, conv, all[1], channel + lanes, tile, lanes));
        }
    return bytes +
           (most + CONV_TILE * (first->chain + 1.0) + all[0] * all[1] * p.out + 8 * weights +
            4 * CONV_TILE) *
               c->size +
           16 * (weights + 64);
}

static double slot_bytes(const Costs *c, double bytes) {
    return floor((bytes + 63 + PLAN_SLOT_GAP) / 64) * 64;
}

/* Bytes of the states that a tape keeps of a step. */
static double kept_bytes(const Costs *c, const HFunc *f, const HLoop *l) {
    double bytes = 0;
    for (uint32_t i = 0; i < l->kept; i++) {
        Type t = f->regs.data[l->param[l->keep[i]]].type;
        bytes += ceil(cells(c, t.grid) * t.channels * c->size / 64) * 64;
    }
    return bytes;
}

/* States that a tape has room for; as in compiler/llvm/emit_tape.c. */
static double kept_slots(const Costs *c, const HFunc *f, const HLoop *l, double steps) {
    double room = floor(floor((double)c->memory / c->tapes) / (kept_bytes(c, f, l) + 8));
    return fmax(1, fmin(room, steps));
}

static void walk(Costs *c, const HFunc *f, const HBlock *block, double times);

/* A loop that goes back over `steps` steps: what it does again is shared out among them. */
static void walk_loop(Costs *c, const HFunc *f, const HInstr *h, double times) {
    const HLoop *l = h->loop;
    double steps = h->kind == H_LOOP ? trips(c, l) : c->steps[l->tape];
    bool outer = c->together;
    if (h->kind == H_LOOP && l->tape != NONE) c->steps[l->tape] = steps;
    if (h->kind == H_ADVANCE && steps > 0) {
        double slots = kept_slots(c, f, l, steps);
        bool far = steps >= INT32_MAX || l->kept == 0;
        steps = far ? 0 : (double)checkpoint_again((int64_t)steps, (int64_t)slots) / steps;
    }
    c->together = outer || (h->kind == H_LOOP && l->together);
    walk(c, f, l->body, times * steps);
    if (h->kind == H_LOOP && l->together && !outer)
        c->cost.together -= times * saved_by_loop(c, f, h, steps);
    c->together = outer;
}

static void walk_func(Costs *c, uint32_t number, double times) {
    const HFunc *f = c->plan->funcs.data[number];
    double *outer = c->steps;
    c->steps = mem_alloc(sizeof(double) * (f->tapes + 1));
    walk(c, f, &f->body, times);
    mem_free(c->steps);
    c->steps = outer;
}

static void walk(Costs *c, const HFunc *f, const HBlock *block, double times) {
    uint32_t joined = 0; /* launches that belong to the relay before */
    for (uint32_t i = 0; i < block->code.len; i++) {
        const HInstr *h = &block->code.data[i];
        if (host_is_loop(h->kind)) {
            walk_loop(c, f, h, times);
        } else if (h->kind == H_CALL) {
            walk_func(c, h->index, times);
        } else if (h->kind == H_LAUNCH || h->kind == H_CONV || h->kind == H_TRIDIAG) {
            PlanAmount a = amount(c, f, h);
            c->cost.flops += times * a.flops;
            c->cost.bytes += times * a.bytes;
            c->cost.together += times * a.bytes;
            c->cost.launches++;
        }
        if (h->relay && !joined && !c->together)
            c->cost.together -= times * saved_bytes(c, f, h, 1);
        joined = joined ? joined - 1 : h->relay;
    }
}

static double rows(const Costs *c, GridId g) {
    return c->plan->grid_rank[g] == 1 ? ceil(extent(c, g, 0) / 4096)
                                      : extent(c, g, 1) * extent(c, g, 2);
}

static double func_bytes(const Costs *c, uint32_t number);

static double block_bytes(const Costs *c, const HFunc *f, const HBlock *block) {
    double stacks = 0, calls = 0;
    for (uint32_t i = 0; i < block->code.len; i++) {
        const HInstr *h = &block->code.data[i];
        if (h->kind == H_CALL) calls = fmax(calls, func_bytes(c, h->index));
        if (!host_is_loop(h->kind)) continue;
        const HLoop *l = h->loop;
        if (h->kind == H_LOOP && l->tape != NONE && l->kept) {
            double slots = kept_slots(c, f, l, trips(c, l));
            stacks += slot_bytes(c, ceil(slots / 8) * 64 + slots * kept_bytes(c, f, l));
        }
        double frames = 1 + floor(trips(c, l) / c->plan->constants.data[l->stride_constant]);
        for (uint32_t k = 0; k < l->collected; k++) {
            Type t = f->regs.data[l->param[l->collect[k]]].type;
            stacks += slot_bytes(c, frames * cells(c, t.grid) * t.channels * c->size);
        }
        stacks += block_bytes(c, f, l->body);
    }
    return stacks + calls;
}

/* What lines keep from a sweep to the sweep back: two or three numbers a cell, for rows a little longer. */
static double tridiag_bytes(const Costs *c, const HInstr *h, uint32_t channels) {
    double n = extent(c, h->grids[0], h->index) + 1, others = cells(c, h->grids[0]) / (n - 1);
    double lines = h->index == 0 ? others * channels : others;
    double group = h->index == 0 ? 128.0 / c->size : 1;
    if (lines >= group) lines = ceil(lines / group) * group;
    bool ring = h->detail & TRIDIAG_PERIODIC;
    return (n * (ring ? 3 : 2) + (ring ? 5 : 0)) * lines * c->size * 1.02 + 4096;
}

/* Convolutions and systems of a function run one after another: the largest. */
static double most_scratch(const Costs *c, const HFunc *f, const HBlock *block) {
    double most = 0;
    for (uint32_t i = 0; i < block->code.len; i++) {
        const HInstr *h = &block->code.data[i];
        if (h->kind == H_CONV && !host_in_chain(block, i))
            most = fmax(most, slot_bytes(c, conv_bytes(c, h, false)));
        if (h->kind == H_CONV && h->chain) most = fmax(most, slot_bytes(c, chain_bytes(c, h)));
        if (h->kind == H_TRIDIAG)
            most =
                fmax(most, slot_bytes(c, tridiag_bytes(c, h, f->regs.data[h->dst].type.channels)));
        if (host_is_loop(h->kind)) most = fmax(most, most_scratch(c, f, h->loop->body));
    }
    return most;
}

static double func_bytes(const Costs *c, uint32_t number) {
    const HFunc *f = c->plan->funcs.data[number];
    double bytes = 0;
    for (uint32_t i = 0; i < f->slots.len; i++)
        bytes +=
            slot_bytes(c, cells(c, f->slots.data[i].grid) * f->slots.data[i].channels * c->size);
    for (uint32_t i = 0; i < f->partials.len; i++)
        bytes +=
            slot_bytes(c, rows(c, f->partials.data[i].grid) * 8 * f->partials.data[i].channels);
    return bytes + most_scratch(c, f, &f->body) + block_bytes(c, f, &f->body);
}

/* Least extents of the grids that are made of no other. */
static void smallest(Costs *c) {
    for (GridId g = 1; g < c->plan->grids; g++)
        for (uint32_t a = 0; a < c->plan->grid_rank[g] && !c->module->grids.data[g].row; a++) {
            GridId from = g;
            int64_t least = graph_least_extent(c->module, &from, c->plan->smallest[g][a]);
            if (least > 0 && c->cost.smallest[a] < (uint64_t)least)
                c->cost.smallest[a] = (uint64_t)least;
        }
}

/* ---- what is kept, as text ------------------------------------------------------------------ */

/* Is the size known before the program runs? */
static bool fixed_grid(const Costs *c, GridId g) {
    /* to the one that the others are made of */
    for (int hops = 0; g != GRID_NONE && hops < 64; hops++) {
        const Grid *grid = &c->module->grids.data[g];
        bool fixed = true;
        for (uint32_t a = 0; a < grid->rank; a++) fixed = fixed && grid->extent[a] >= 0;
        if (fixed) return true;
        g = grid->coarser ? grid->coarser : grid->finer;
        if (!g) return false;
    }
    return g == GRID_NONE;
}

static void print_tape(const Costs *c, uint32_t number, const HLoop *l, Text *out) {
    const HFunc *f = c->plan->funcs.data[number];
    bool known = true;
    Name name = c->module->loops.data[l->number].name;
    text_printf(out, "# func %u tape %u: loop %u", number, l->tape, l->number);
    if (name) text_printf(out, " (%s)", names_text(c->module->names, name));
    text_puts(out, " keeps");
    if (!l->kept) text_puts(out, " nothing");
    for (uint32_t i = 0; i < l->kept; i++) {
        Type t = f->regs.data[l->param[l->keep[i]]].type;
        known = known && fixed_grid(c, t.grid);
        if (t.kind == TYPE_SCALAR)
            text_printf(out, "%s a number", i ? "," : "");
        else
            text_printf(out, "%s %u channel%s on grid %u", i ? "," : "", t.channels,
                        t.channels == 1 ? "" : "s", t.grid);
    }
    double per = kept_bytes(c, f, l), steps = trips(c, l);
    if (l->kept && known) text_printf(out, ", %.0f bytes a step", per);
    if (l->kept && l->stop != NONE)
        text_puts(out,
                  ", of every step, and where there is no more room of every second, fourth, …");
    else if (l->kept && l->count != NONE)
        text_puts(out, "; how many steps there are shows when it runs");
    else if (l->kept && known) {
        double slots = kept_slots(c, f, l, steps);
        text_printf(
            out,
            "; of %.0f steps there is room for %.0f in %.3g MiB, and %lld steps are done again",
            steps, slots, slots * per / 1048576,
            (long long)checkpoint_again((int64_t)steps, (int64_t)slots));
    }
    text_puts(out, "\n");
}

static void print_tapes(const Costs *c, uint32_t number, const HBlock *block, Text *out) {
    for (uint32_t i = 0; i < block->code.len; i++) {
        const HInstr *h = &block->code.data[i];
        if (!host_is_loop(h->kind)) continue;
        if (h->kind == H_LOOP && h->loop->tape != NONE) print_tape(c, number, h->loop, out);
        print_tapes(c, number, h->loop->body, out);
    }
}

static Costs costs_of(const Plan *plan, const Module *module, int64_t memory) {
    Costs c = {.plan = plan, .module = module, .memory = memory, .size = plan->f64 ? 8 : 4};
    for (uint32_t i = 0; i < plan->funcs.len; i++) c.tapes += plan->funcs.data[i]->tapes;
    return c;
}

void plan_print_tapes(const Plan *plan, const Module *module, int64_t memory, Text *out) {
    Costs c = costs_of(plan, module, memory);
    for (uint32_t i = 0; i < plan->funcs.len; i++)
        print_tapes(&c, i, &plan->funcs.data[i]->body, out);
}

PlanCost plan_cost(const Plan *plan, const Module *module) {
    Costs c = costs_of(plan, module, PDN_MEMORY_DEFAULT);
    c.cost.kernels = plan->kernels.len;
    for (uint32_t a = 0; a < MAX_RANK; a++) c.cost.smallest[a] = 1;
    walk_func(&c, 0, 1);
    smallest(&c);
    double bytes = func_bytes(&c, 0);
    c.cost.workspace = bytes < 1e18 ? (uint64_t)bytes : UINT64_MAX;
    return c.cost;
}

static const HFunc *function_at(const Plan *plan, uint32_t place) {
    return plan->funcs.data[plan->place[place].func];
}

PlanAmount plan_amount(const Plan *plan, const Module *module, const PdnGrid *grids,
                       uint32_t place) {
    Costs c = {.plan = plan, .module = module, .grids = grids, .size = plan->f64 ? 8 : 4};
    const HInstr *h = plan->place[place].instr;
    PlanAmount all = amount(&c, function_at(plan, place), h);
    for (uint32_t m = 1; h->kind == H_CONV && m <= h->chain; m++) {
        PlanAmount a = amount(&c, function_at(plan, place), &h[m]);
        all = (PlanAmount){all.flops + a.flops, all.bytes + a.bytes};
    }
    return all;
}

PlanAmount plan_amount_together(const Plan *plan, const Module *module, const PdnGrid *grids,
                                uint32_t place, uint32_t first, uint32_t end) {
    Costs c = {.plan = plan, .module = module, .grids = grids, .size = plan->f64 ? 8 : 4};
    const HFunc *f = function_at(plan, place);
    Together t = together_at(&c, f, plan->place[place].instr);
    PlanAmount all = {0, 0};
    t.first = first;
    t.end = end;
    for (uint32_t s = first; s < end; s++) all.flops += amount(&c, f, t.stage[s]).flops;
    all.bytes = bytes_together(&t);
    return all;
}
