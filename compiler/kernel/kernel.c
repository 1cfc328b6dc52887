/* Kernels: sharing, printing, and what can be measured on them. */
#include "compiler/kernel/plan_ir.h"

#include <string.h>

bool kernel_literal(double number) {
    return number == 0 || number == 1 || number == -1 || number == 2 || number == -2 ||
           number == 0.5;
}

uint32_t kernel_operands(const KNodeData *n) {
    switch (n->kind) {
    case K_SHIFT:
    case K_UNSHIFT: return 1;
    case K_OP: return (uint32_t)op_info(n->op)->operands;
    default: return 0;
    }
}

/* ---- text ------------------------------------------------------------------------ */

const char *const kernel_kinds[K_KINDS] = {
    "none",  "number", "scalar", "load",  "restrict", "share", "pool",    "first", "prolong",
    "blend", "spike",  "entry",  "coord", "edge",     "shift", "unshift", "op"};
static const char *const side_names[] = {"periodic", "even", "odd", "slope", "ghost"};

static void print_node(const KNodeData *n, KNode id, uint32_t rank, Text *out) {
    text_printf(out, "  %%%u = ", id);
    if (n->kind == K_OP) {
        text_puts(out, op_info(n->op)->name);
        for (uint32_t i = 0; i < kernel_operands(n); i++) text_printf(out, " %%%u", n->operand[i]);
    } else {
        text_puts(out, kernel_kinds[n->kind]);
        switch (n->kind) {
        case K_NUMBER: text_printf(out, " %g", n->number); break;
        case K_SCALAR:
        case K_COORD: text_printf(out, " %u", n->index); break;
        case K_LOAD:
        case K_RESTRICT:
        case K_POOL:
        case K_FIRST:
        case K_PROLONG:
        case K_SPIKE:
        case K_ENTRY:
        case K_EDGE: text_printf(out, " %u %u", n->index, n->detail); break;
        case K_SHARE:
        case K_BLEND:
            text_printf(out, " %u %u", n->index, n->detail);
            for (uint32_t a = 0; a < rank; a++) text_printf(out, " %d", n->offset[a]);
            break;
        case K_SHIFT:
        case K_UNSHIFT:
            text_printf(out, " %%%u", n->operand[0]);
            for (uint32_t a = 0; a < rank; a++) text_printf(out, " %d", n->offset[a]);
            for (uint32_t a = 0; a < rank; a++)
                for (int s = 0; s < 2; s++) {
                    text_printf(out, " %s", side_names[n->sides[a][s]]);
                    if (n->value[a][s]) text_printf(out, " %%%u", n->value[a][s]);
                }
            break;
        default: break;
        }
    }
    text_puts(out, "\n");
}

void kernel_print(const Kernel *k, uint32_t number, Text *out) {
    text_printf(out, "kernel %u rank %u\n", number, k->rank);
    text_puts(out, "  grids");
    for (uint32_t i = 0; i < k->grids; i++) text_printf(out, " %u", k->grid_rank[i]);
    text_puts(out, "\n  fields");
    for (uint32_t i = 0; i < k->fields.len; i++)
        text_printf(out, " %u:%u", k->fields.data[i].grid, k->fields.data[i].channels);
    text_printf(out, "\n  scalars %u\n  written", k->scalars);
    for (uint32_t i = 0; i < k->written.len; i++) text_printf(out, " %u", k->written.data[i]);
    text_puts(out, "\n");
    for (KNode n = 1; n < k->nodes.len; n++) print_node(&k->nodes.data[n], n, k->rank, out);
    for (uint32_t i = 0; i < k->outputs.len; i++)
        text_printf(out, "  store %%%u %u %u\n", k->outputs.data[i].node, k->outputs.data[i].field,
                    k->outputs.data[i].channel);
    for (uint32_t i = 0; i < k->reductions.len; i++) {
        text_printf(out, "  reduce %s", op_info(k->reductions.data[i].op)->name);
        for (uint32_t c = 0; c < k->reductions.data[i].count; c++)
            text_printf(out, " %%%u", k->reductions.data[i].nodes[c]);
        text_puts(out, "\n");
    }
    text_puts(out, "end\n");
}

uint32_t plan_add_kernel(Plan *plan, Kernel *kernel) {
    Text mine = {0}, other = {0};
    kernel_print(kernel, 0, &mine);
    uint32_t found = NONE;
    for (uint32_t i = 0; i < plan->kernels.len && found == NONE; i++) {
        if (plan->kernels.data[i]->nodes.len != kernel->nodes.len) continue;
        other.len = 0;
        kernel_print(plan->kernels.data[i], 0, &other);
        if (other.len == mine.len && memcmp(other.data, mine.data, mine.len) == 0) found = i;
    }
    text_free(&mine);
    text_free(&other);
    if (found != NONE) {
        vec_free(&kernel->nodes);
        vec_free(&kernel->fields);
        vec_free(&kernel->written);
        vec_free(&kernel->outputs);
        vec_free(&kernel->reductions);
        return found;
    }
    kernel_measure(kernel, plan->arena);
    vec_push(&plan->kernels, kernel);
    return plan->kernels.len - 1;
}

/* ---- counting evaluations ------------------------------------------------------------ */

typedef struct {
    const KNodes *nodes;
    uint32_t rank, cap;
    Map seen, chains;
    KCount count;
    uint32_t *places;  /* by node, or NULL */
    bool quiet;        /* in values of sides: only their reach along other axes matters */
    uint32_t unpaired; /* evaluations made quietly */
} Counter;

#define OFFSET_LIMIT 100
#define BIAS         128

static void widen(Counter *c, uint32_t axis, int32_t low, int32_t high) {
    if (c->count.low[axis] < low) c->count.low[axis] = low;
    if (c->count.high[axis] < high) c->count.high[axis] = high;
}

/* An UNSHIFT has extra terms near this side. */
static bool folds(SideKind side) {
    return side == SIDE_EVEN || side == SIDE_ODD || side == SIDE_SLOPE;
}

/* What cells are interior for node n evaluated at `at`. */
static void reach_of(Counter *c, const KNodeData *n, const int32_t *at) {
    switch (n->kind) {
    case K_EDGE:
        if (n->detail == 0)
            widen(c, n->index, 1 - at[n->index], 0);
        else
            widen(c, n->index, 0, 1 + at[n->index]);
        break;
    case K_SHIFT:
        for (uint32_t a = 0; a < c->rank; a++) {
            int32_t o = n->offset[a];
            widen(c, a, (o < 0 ? -o : 0) - at[a], (o > 0 ? o : 0) + at[a]);
        }
        break;
    case K_UNSHIFT:
        for (uint32_t a = 0; a < c->rank; a++) {
            int32_t o = n->offset[a], far = o < 0 ? -o : o;
            bool low = o > 0 || (o < 0 && folds(n->sides[a][0]));
            bool high = o < 0 || (o > 0 && folds(n->sides[a][1]));
            widen(c, a, (low ? far : 0) - at[a], (high ? far : 0) + at[a]);
        }
        break;
    default: break;
    }
}

static void count_static(Counter *c, KNode id, const int32_t *at) {
    const KNodeData *n = &c->nodes->data[id];
    uint64_t key = (uint64_t)c->quiet << 63 | (uint64_t)id << 24 | (uint64_t)(at[0] + BIAS) << 16 |
                   (uint64_t)(at[1] + BIAS) << 8 | (uint64_t)(at[2] + BIAS);
    uint32_t ignored;
    if (c->count.capped || map_get(&c->seen, key, &ignored)) return;
    map_set(&c->seen, key, 1);
    if (++*(c->quiet ? &c->unpaired : &c->count.pairs) > c->cap) {
        c->count.capped = true;
        return;
    }
    reach_of(c, n, at);
    if (c->places && !c->quiet) c->places[id]++;
    if (!c->quiet && n->kind == K_OP) {
        c->count.flops += op_info(n->op)->cost;
        c->count.fused += n->op == OP_FMA;
    }
    if (!c->quiet && kernel_resamples(n->kind))
        c->count.flops += 4 << (n->kind < K_PROLONG ? c->rank : 1); /* loads, and sorting */
    else if (!c->quiet && n->kind == K_COORD)
        c->count.flops += 4;
    int32_t next[MAX_RANK] = {at[0], at[1], at[2]};
    if (n->kind == K_SHIFT || n->kind == K_UNSHIFT)
        for (uint32_t a = 0; a < c->rank; a++) {
            next[a] += n->kind == K_SHIFT ? n->offset[a] : -n->offset[a];
            if (next[a] > OFFSET_LIMIT || next[a] < -OFFSET_LIMIT) {
                c->count.capped = true;
                return;
            }
        }
    for (uint32_t i = 0; i < kernel_operands(n); i++) count_static(c, n->operand[i], next);
    if (n->kind != K_SHIFT) return;
    bool quiet = c->quiet;
    c->quiet = true;
    for (uint32_t a = 0; a < c->rank; a++)
        if (n->offset[a] && n->value[a][n->offset[a] > 0]) {
            int32_t beside[MAX_RANK] = {next[0], next[1], next[2]};
            beside[a] = at[a];
            count_static(c, n->value[a][n->offset[a] > 0], beside);
        }
    c->quiet = quiet;
}

/* Folded positions are numbered per chain of shifts, as boundary code makes them. */
static uint32_t chain(Counter *c, uint32_t parent, int32_t offset, uint32_t how) {
    uint64_t key = (uint64_t)parent << 32 | (uint64_t)(uint16_t)(int16_t)offset << 8 | how;
    uint32_t id;
    if (!map_get(&c->chains, key, &id)) {
        id = c->chains.len + 1;
        map_set(&c->chains, key, id);
    }
    return id & 0x1fff;
}

static void count_chains(Counter *c, KNode id, const uint32_t *at);

static void count_shift(Counter *c, const KNodeData *n, uint32_t axis, const uint32_t *at) {
    while (axis < c->rank && n->offset[axis] == 0) axis++;
    if (axis >= c->rank) {
        count_chains(c, n->operand[0], at);
        return;
    }
    uint32_t next[MAX_RANK] = {at[0], at[1], at[2]};
    int side = n->offset[axis] > 0;
    SideKind kind = n->sides[axis][side];
    if (n->kind == K_UNSHIFT && folds(kind)) {
        next[axis] = chain(c, at[axis], n->offset[axis], 6);
        count_shift(c, n, axis + 1, next);
    }
    next[axis] = chain(c, at[axis], n->offset[axis], kind | (n->kind == K_UNSHIFT ? 8 : 0));
    count_shift(c, n, axis + 1, next);
    if (n->value[axis][side]) {
        next[axis] = chain(c, at[axis], n->offset[axis], 7);
        count_chains(c, n->value[axis][side], next);
    }
}

static void count_chains(Counter *c, KNode id, const uint32_t *at) {
    const KNodeData *n = &c->nodes->data[id];
    uint64_t key = (uint64_t)id << 39 | (uint64_t)at[0] << 26 | (uint64_t)at[1] << 13 | at[2];
    uint32_t ignored;
    if (c->count.capped || map_get(&c->seen, key, &ignored)) return;
    map_set(&c->seen, key, 1);
    if (++c->count.chains > c->cap * 2) {
        c->count.capped = true;
        return;
    }
    if (n->kind == K_SHIFT || n->kind == K_UNSHIFT) {
        count_shift(c, n, 0, at);
        return;
    }
    for (uint32_t i = 0; i < kernel_operands(n); i++) count_chains(c, n->operand[i], at);
}

KCount kernel_count(const KNodes *nodes, const KNode *roots, uint32_t count, uint32_t rank,
                    uint32_t cap) {
    Counter c = {.nodes = nodes, .rank = rank, .cap = cap};
    for (uint32_t i = 0; i < count; i++) count_static(&c, roots[i], (int32_t[MAX_RANK]){0});
    map_free(&c.seen);
    c.seen = (Map){0};
    for (uint32_t i = 0; i < count; i++) count_chains(&c, roots[i], (uint32_t[MAX_RANK]){0});
    map_free(&c.seen);
    map_free(&c.chains);
    return c.count;
}

KCount kernel_count_places(const KNodes *nodes, const KNode *roots, uint32_t count, uint32_t rank,
                           uint32_t cap, uint32_t *places) {
    Counter c = {.nodes = nodes, .rank = rank, .cap = cap, .places = places};
    for (uint32_t i = 0; i < count; i++) count_static(&c, roots[i], (int32_t[MAX_RANK]){0});
    map_free(&c.seen);
    return c.count;
}

void kernel_measure(Kernel *k, Arena *arena) {
    VEC(KNode) roots = {0};
    for (uint32_t i = 0; i < k->outputs.len; i++) vec_push(&roots, k->outputs.data[i].node);
    for (uint32_t i = 0; i < k->reductions.len; i++)
        for (uint32_t c = 0; c < k->reductions.data[i].count; c++)
            vec_push(&roots, k->reductions.data[i].nodes[c]);
    KCount count = kernel_count(&k->nodes, roots.data, roots.len, k->rank, 1u << 20);
    k->flops = count.flops;
    k->fused = count.fused;
    k->loads = 0;
    for (uint32_t a = 0; a < MAX_RANK; a++) {
        k->low[a] = count.low[a];
        k->high[a] = count.high[a];
        k->smallest[a] = 1;
    }
    for (KNode n = 1; n < k->nodes.len; n++) {
        const KNodeData *d = &k->nodes.data[n];
        k->loads += d->kind == K_LOAD || kernel_resamples(d->kind);
        if (d->kind == K_SHIFT || d->kind == K_UNSHIFT)
            for (uint32_t a = 0; a < k->rank; a++) {
                int64_t far = d->offset[a] < 0 ? -(int64_t)d->offset[a] : d->offset[a];
                if (k->smallest[a] < far) k->smallest[a] = far;
            }
    }
    vec_free(&roots);
}

uint32_t kernel_words_count(const Kernel *k) {
    return k->grids + k->fields.len + k->written.len + 6 + k->scalars;
}

Kernel *kernel_copying(uint32_t rank, uint32_t channels, Arena *arena) {
    Kernel *k = ARENA_NEW(arena, Kernel);
    k->rank = rank;
    k->grids = 1;
    k->grid_rank = ARENA_ARRAY(arena, uint32_t, 1);
    k->grid_rank[0] = rank;
    vec_push(&k->nodes, ((KNodeData){0}));
    vec_push(&k->fields, ((KField){0, channels}));
    vec_push(&k->written, channels);
    for (uint32_t c = 0; c < channels; c++) {
        vec_push(&k->nodes, ((KNodeData){.kind = K_LOAD, .detail = c}));
        vec_push(&k->outputs, ((KOutput){k->nodes.len - 1, 0, c}));
    }
    return k;
}
