/* Graph nodes as kernel nodes; which fields are stored.
 *
 * All is fused but sources, what loops, calls, effects and resampling need in memory, and what it costs
 * too much to compute again for every neighbour that reads it (kernel_count). What several want of a finer grid is
 * stored: each would go through the finer field, which is larger. */
#include "compiler/kernel/build.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    PAIR_CAP = 4096,    /* evaluations counted for one field */
    EXTRA_FLOPS = 200,  /* recomputation a cell that is dearer than a field in memory */
    AGAIN_FLOPS = 200,  /* the same, for all evaluations of a field in a chain of stencils */
    SHARED_FLOPS = 200, /* a field used twice and dearer than this is stored */
    TOTAL_FLOPS = 1500, /* a kernel's size is bounded */
    CHAIN_CAP = 3000,   /* and that of its boundary code */
    REACH_CAP = 8,      /* composed reach */
};

bool block_is_source(Op op) {
    return op == OP_PARAM || op == OP_INPUT || op == OP_RESULT || op == OP_FRAME ||
           op == OP_NORMAL || op == OP_UNIFORM || op == OP_ROW || op == OP_TOTALS ||
           op == OP_BATCHMEAN || op == OP_CHECKED || op == OP_CONVNORMW || op == OP_TRIDIAG ||
           op_info(op)->class == CLASS_BILINEAR;
}

/* ---- kernel nodes, hash-consed -------------------------------------------------------- */

static KNode intern(Block *b, const KNodeData *d) {
    uint64_t key = hash_bytes(0, d, sizeof *d);
    uint32_t n;
    while (map_get(&b->shared, key, &n)) {
        if (memcmp(&b->nodes.data[n], d, sizeof *d) == 0) return n;
        key++;
    }
    vec_push(&b->nodes, ((KNodeData){0}));
    memcpy(&vec_last(&b->nodes), d, sizeof *d);
    map_set(&b->shared, key, b->nodes.len - 1);
    return b->nodes.len - 1;
}

static KNode leaf(Block *b, KKind kind, uint32_t index, uint32_t detail) {
    KNodeData d;
    memset(&d, 0, sizeof d);
    d.kind = kind;
    d.index = index;
    d.detail = detail;
    return intern(b, &d);
}

static KNode number(Block *b, double value) {
    KNodeData d;
    memset(&d, 0, sizeof d);
    d.kind = K_NUMBER;
    d.number = value;
    return intern(b, &d);
}

static KNode apply(Block *b, Op op, KNode x, KNode y, KNode z) {
    KNodeData d;
    memset(&d, 0, sizeof d);
    d.kind = K_OP;
    d.op = op;
    d.operand[0] = x;
    d.operand[1] = y;
    d.operand[2] = z;
    return intern(b, &d);
}

/* Channel c of node n; numbers and one-channel fields serve every channel. */
static KNode channel_of(Block *b, Node n, uint32_t c) {
    const NodeData *d = graph_node(b->f, n);
    double value;
    if (d->type.kind == TYPE_SCALAR)
        return graph_is_const(b->f, n, &value) ? number(b, value) : leaf(b, K_SCALAR, n, 0);
    return b->value[n][c < d->type.channels ? c : d->type.channels - 1];
}

/* ---- stencils ----------------------------------------------------------------------- */

static KNode shift(Block *b, const NodeData *node, const Stencil *s, KNode of, const Tap *tap,
                   uint32_t channel) {
    KNodeData d;
    memset(&d, 0, sizeof d);
    d.kind = s->transposed ? K_UNSHIFT : K_SHIFT;
    d.operand[0] = of;
    uint32_t value = 0;
    bool moves = false, plain = true;
    for (uint32_t a = 0; a < s->rank; a++) {
        d.offset[a] = tap->offset[a];
        moves = moves || tap->offset[a];
        for (int side = 0; side < 2; side++) {
            value += s->has_value[a][side];
            if ((tap->offset[a] > 0) != side || tap->offset[a] == 0) continue;
            d.sides[a][side] = s->sides[a][side];
            plain = plain && (s->sides[a][side] == SIDE_EVEN || s->sides[a][side] == SIDE_PERIODIC);
            if (s->has_value[a][side] && !s->transposed)
                d.value[a][side] = channel_of(b, b->f->operands.data[node->first + value], channel);
        }
    }
    KKind kind = b->nodes.data[of].kind;
    bool constant = kind == K_NUMBER || kind == K_SCALAR || kind == K_ENTRY;
    if (!moves || (plain && constant && !s->transposed)) return of;
    return intern(b, &d);
}

/* weight * (P - N) for the taps of one size of weight. */
typedef struct {
    double weight;
    KNode plus, minus;
} Group;

static KNode weighted_sum(Block *b, const Group *groups, uint32_t count) {
    KNode sum = 0;
    for (uint32_t i = 0; i < count; i++) {
        const Group *g = &groups[i];
        double weight = g->plus ? g->weight : -g->weight;
        KNode term = !g->plus    ? g->minus
                     : !g->minus ? g->plus
                                 : apply(b, OP_SUB, g->plus, g->minus, 0);
        if (weight == 1)
            sum = sum ? apply(b, OP_ADD, sum, term, 0) : term;
        else if (weight == -1)
            sum = sum ? apply(b, OP_SUB, sum, term, 0) : apply(b, OP_NEG, term, 0, 0);
        else if (sum && b->planner->plan->fma)
            sum = apply(b, OP_FMA, number(b, weight), term, sum);
        else {
            term = apply(b, OP_MUL, number(b, weight), term, 0);
            sum = sum ? apply(b, OP_ADD, sum, term, 0) : term;
        }
    }
    return sum ? sum : number(b, 0);
}

/* Do the taps that give channel c, all from one channel, sum to 0 with one at the cell itself? */
static bool is_difference(const Stencil *s, uint32_t c) {
    double sum = 0, size = 0;
    bool centre = false, one = true;
    uint32_t from = NONE;
    for (uint32_t i = 0; i < s->count; i++) {
        const Tap *t = &s->taps[i];
        if (t->to != c) continue;
        one = one && (from == NONE || from == t->from);
        from = t->from;
        sum += t->weight;
        size += fabs(t->weight);
        centre = centre || (!t->offset[0] && !t->offset[1] && !t->offset[2]);
    }
    return centre && one && fabs(sum) <= 1e-14 * size;
}

static KNode stencil_channel(Block *b, const NodeData *d, const Stencil *s, uint32_t c) {
    Node u = b->f->operands.data[d->first];
    bool difference = !s->transposed && is_difference(s, c);
    Group *groups = ARENA_ARRAY(b->planner->arena, Group, s->count + 1);
    uint32_t count = 0;
    for (uint32_t i = 0; i < s->count; i++) {
        const Tap *t = &s->taps[i];
        if ((s->transposed ? t->from : t->to) != c || t->weight == 0) continue;
        uint32_t channel = s->transposed ? t->to : t->from;
        KNode at = channel_of(b, u, channel), term = shift(b, d, s, at, t, channel);
        if (difference) {
            if (!t->offset[0] && !t->offset[1] && !t->offset[2]) continue;
            term = apply(b, OP_SUB, term, at, 0);
        }
        uint32_t g = 0;
        while (g < count && groups[g].weight != fabs(t->weight)) g++;
        if (g == count) groups[count++] = (Group){fabs(t->weight), 0, 0};
        KNode *sum = t->weight > 0 ? &groups[g].plus : &groups[g].minus;
        *sum = *sum ? apply(b, OP_ADD, *sum, term, 0) : term;
    }
    return weighted_sum(b, groups, count);
}

/* ---- nodes -------------------------------------------------------------------------- */

static KNode resampled(Block *b, const NodeData *d, Node u, uint32_t channel) {
    static const KKind kinds[2][3] = {{K_RESTRICT, K_FIRST, K_SHARE},
                                      {K_PROLONG, K_SPIKE, K_BLEND}};
    bool up = d->op == OP_PROLONG;
    KNodeData made;
    memset(&made, 0, sizeof made);
    made.kind = kinds[up][d->index];
    made.index = u;
    made.detail = channel;
    const Grid *fine =
        &b->planner->module->grids.data[up ? d->type.grid : graph_node(b->f, u)->type.grid];
    for (uint32_t a = 0; a < fine->rank && kernel_shares(made.kind); a++)
        made.offset[a] = grid_shares(fine, a);
    return intern(b, &made);
}

static KNode *lower_node(Block *b, Node n) {
    const NodeData *d = graph_node(b->f, n);
    uint32_t channels = d->type.channels, place = 0;
    KNode *out = ARENA_ARRAY(b->planner->arena, KNode, channels);
    const Node *operands = b->f->operands.data + d->first;
    for (uint32_t c = 0; c < channels; c++) {
        switch (d->op) {
        case OP_CONST: out[c] = number(b, d->number); break;
        case OP_COORD: out[c] = leaf(b, K_COORD, d->index, 0); break;
        case OP_EDGE: out[c] = leaf(b, K_EDGE, d->index, d->detail); break;
        case OP_SPREAD: out[c] = channel_of(b, operands[0], 0); break;
        case OP_CHANNEL: out[c] = channel_of(b, operands[0], d->index); break;
        case OP_CONCAT: {
            uint32_t width = graph_node(b->f, operands[place])->type.channels, first = c;
            for (uint32_t k = 0; k < place; k++)
                first -= graph_node(b->f, operands[k])->type.channels;
            while (first >= width) {
                first -= width;
                width = graph_node(b->f, operands[++place])->type.channels;
            }
            out[c] = channel_of(b, operands[place], first);
            break;
        }
        case OP_CHSUM:
            out[c] = channel_of(b, operands[0], 0);
            for (uint32_t k = 1; k < graph_node(b->f, operands[0])->type.channels; k++)
                out[c] = apply(b, OP_ADD, out[c], channel_of(b, operands[0], k), 0);
            break;
        case OP_STENCIL:
            out[c] = stencil_channel(b, d, &b->planner->module->stencils.data[d->index], c);
            break;
        case OP_RESTRICT:
        case OP_PROLONG: out[c] = resampled(b, d, operands[0], c); break;
        case OP_MAXPOOL: out[c] = leaf(b, K_POOL, operands[0], c); break;
        case OP_BYCHANNEL: out[c] = leaf(b, K_ENTRY, operands[0], c); break;
        default: /* pointwise */
            out[c] = apply(b, d->op, channel_of(b, operands[0], c),
                           d->count > 1 ? channel_of(b, operands[1], c) : 0,
                           d->count > 2 ? channel_of(b, operands[2], c) : 0);
            break;
        }
    }
    return out;
}

/* Is the field computed at all by kernel nodes that are worth storing? */
static bool trivial(const Block *b, Node n) {
    for (uint32_t c = 0; c < graph_node(b->f, n)->type.channels; c++) {
        KKind kind = b->nodes.data[b->value[n][c]].kind;
        if (kind != K_LOAD && kind != K_NUMBER && kind != K_SCALAR && kind != K_ENTRY) return false;
    }
    return true;
}

static KCount count_node(Block *b, Node n) {
    Type t = graph_node(b->f, n)->type;
    return kernel_count(&b->nodes, b->value[n], t.channels,
                        b->planner->module->grids.data[t.grid].rank, PAIR_CAP);
}

static bool too_much(const KCount *c) {
    bool far = false;
    for (uint32_t a = 0; a < MAX_RANK; a++)
        far = far || c->low[a] > REACH_CAP || c->high[a] > REACH_CAP;
    return far || c->capped || c->chains > CHAIN_CAP;
}

/* What stencils read, and is computed for it. */
static void note_wide(Block *b, Node n) {
    Node u = graph_operand(b->f, n, 0);
    if (b->stored[u] || trivial(b, u)) return;
    for (uint32_t i = 0; i < b->wide.len; i++)
        if (b->wide.data[i] == u) return;
    vec_push(&b->wide, u);
}

static uint32_t *places_of(Block *b, Node n) {
    Type t = graph_node(b->f, n)->type;
    uint32_t *places = mem_alloc(sizeof *places * b->nodes.len);
    memset(places, 0, sizeof *places * b->nodes.len);
    kernel_count_places(&b->nodes, b->value[n], t.channels,
                        b->planner->module->grids.data[t.grid].rank, PAIR_CAP, places);
    return places;
}

/* At how many places the field is evaluated. */
static uint32_t evaluations(const Block *b, const uint32_t *places, Node u) {
    uint32_t most = 0;
    for (uint32_t c = 0; c < graph_node(b->f, u)->type.channels; c++)
        if (most < places[b->value[u][c]]) most = places[b->value[u][c]];
    return most;
}

/* Does it evaluate a field that is stored from the next round on? It will be cheaper then. */
static bool awaits(Block *b, Node u) {
    uint32_t *places = places_of(b, u);
    bool any = false;
    for (uint32_t i = 0; i < b->wide.len; i++) {
        Node w = b->wide.data[i];
        any = any || (w != u && b->stored[w] && evaluations(b, places, w) > 0);
    }
    mem_free(places);
    return any;
}

/* Should operands of stencil n be in memory? */
static void weigh_stencil(Block *b, Node n) {
    const NodeData *d = graph_node(b->f, n);
    const Stencil *s = &b->planner->module->stencils.data[d->index];
    KCount all = count_node(b, n);
    for (uint32_t i = 0; i < d->count; i++) {
        Node u = b->f->operands.data[d->first + i];
        if (graph_node(b->f, u)->type.kind != TYPE_FIELD || b->stored[u] || trivial(b, u)) continue;
        KCount one = count_node(b, u);
        bool dear = i == 0 && all.flops - one.flops > EXTRA_FLOPS + 2.0 * s->count;
        if ((too_much(&all) || dear) && !awaits(b, u)) b->stored[u] = true;
    }
}

/* Stencils of stencils: a field that n evaluates again and again, each time dearly, is stored, too, and passed on
 * while its rows are in the cache (relay.c). */
static void weigh_chain(Block *b, Node n) {
    uint32_t *places = places_of(b, n);
    for (uint32_t i = 0; i < b->wide.len; i++) {
        Node u = b->wide.data[i];
        uint32_t times = u < n && !b->stored[u] ? evaluations(b, places, u) : 0;
        if (times > 1 && (times - 1) * count_node(b, u).flops > AGAIN_FLOPS && !awaits(b, u))
            b->stored[u] = true;
    }
    mem_free(places);
}

static void lower_all(Block *b) {
    b->nodes.len = 0;
    b->wide.len = 0;
    map_free(&b->shared);
    b->shared = (Map){0};
    vec_push(&b->nodes, ((KNodeData){0}));
    for (Node n = 1; n < b->f->nodes.len; n++) {
        const NodeData *d = graph_node(b->f, n);
        if (!b->needed[n] || d->type.kind != TYPE_FIELD) continue;
        bool source = block_is_source(d->op);
        if (!source) {
            b->value[n] = lower_node(b, n);
            if (d->op == OP_STENCIL) {
                note_wide(b, n);
                weigh_stencil(b, n);
            }
            if (b->wide.len && (d->op == OP_STENCIL || b->stored[n]) && !trivial(b, n))
                weigh_chain(b, n);
            if (!b->stored[n] && !trivial(b, n)) {
                KCount c = count_node(b, n);
                b->stored[n] = c.flops > TOTAL_FLOPS || too_much(&c) ||
                               (b->uses[n] > 1 && (c.flops > SHARED_FLOPS || d->op == OP_RESTRICT));
            }
            b->define[n] = b->value[n];
        }
        if (source || b->stored[n]) {
            b->value[n] = ARENA_ARRAY(b->planner->arena, KNode, d->type.channels);
            for (uint32_t c = 0; c < d->type.channels; c++) b->value[n][c] = leaf(b, K_LOAD, n, c);
        }
    }
}

static void mark_needed(Block *b) {
    Func *f = b->f;
    for (uint32_t i = 0; i < f->results.len; i++) {
        b->needed[f->results.data[i]] = b->stored[f->results.data[i]] = true;
    }
    for (uint32_t i = 0; i < f->effects.len; i++)
        for (uint32_t k = 0; k < f->effects.data[i].count; k++)
            if (f->effects.data[i].values[k] != NODE_NONE)
                b->needed[f->effects.data[i].values[k]] = b->stored[f->effects.data[i].values[k]] =
                    true;
    for (Node n = f->nodes.len; n-- > 1;) {
        const NodeData *d = graph_node(f, n);
        if (!b->needed[n]) continue;
        bool memory = d->op == OP_LOOP || d->op == OP_BACK || d->op == OP_CALL ||
                      d->op == OP_TASK || d->op == OP_SCATTER || d->op == OP_RESTRICT ||
                      d->op == OP_PROLONG || d->op == OP_BYCHANNEL || d->op == OP_ENTRY ||
                      d->op == OP_MAXPOOL || d->op == OP_BATCHMEAN || d->op == OP_CHECKED ||
                      d->op == OP_CONVNORM || d->op == OP_CONVNORMW || d->op == OP_TRIDIAG ||
                      op_info(d->op)->class == CLASS_BILINEAR;
        for (uint32_t i = 0; i < d->count; i++) {
            Node u = f->operands.data[d->first + i];
            b->needed[u] = true;
            b->uses[u]++;
            b->stored[u] = b->stored[u] || memory;
        }
    }
}

void block_lower(Block *b) {
    mark_needed(b);
    uint32_t before, after = 0;
    do { /* what is stored late makes what stands before it cheaper; few rounds settle it */
        before = after;
        lower_all(b);
        after = 0;
        for (Node n = 1; n < b->f->nodes.len; n++) after += b->stored[n];
    } while (after != before);
}

void block_free(Block *b) {
    vec_free(&b->nodes);
    vec_free(&b->wide);
    map_free(&b->shared);
}
