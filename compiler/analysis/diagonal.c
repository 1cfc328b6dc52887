/* The diagonal of a Jacobian, as a graph.
 *
 * The entry (p, i), (q, i + o) of a node's Jacobian by u, for all cells i together, is a field: the coefficient of
 * channel p by channel q at the offset o. The diagonal of a function is the sum of its coefficients at the offset 0
 * of each channel by itself, and a coefficient is made of those of the operands: multiplied by partial derivatives
 * at pointwise ops, read at the cell that a tap reads at stencils and convolutions. Coefficients are asked for from
 * the result back, so that only offsets which lead back to the cell are ever made.
 *
 * A tap that reads beyond a side reads a cell inside, whose distance depends on the cell that reads: near a side,
 * each layer of cells has an offset of its own, and a mask. On periodic axes an offset of the whole extent is the
 * offset 0. A number that varies with u (a norm, a mean) has its gradient by u as coefficients.
 *
 * What has no such form (loops, coarser grids, very many coefficients) is probed (probe.c). */
#include "compiler/analysis/diagonal.h"
#include "compiler/analysis/factor.h"
#include "compiler/analysis/operator.h"
#include "compiler/analysis/transpose.h"
#include "compiler/ops/rules.h"

#include <stdlib.h>
#include <string.h>

enum { ENTRY_LIMIT = 20000, WRAP_LIMIT = 64 };

typedef struct {
    int32_t at[MAX_RANK];
} Offset;

/* A coefficient that was asked for. */
typedef struct Entry Entry;
struct Entry {
    uint32_t p, q;
    Offset offset;
    bool wrapped;
    Node value; /* NODE_NONE: zero */
    Entry *next;
};

typedef struct {
    Module *module;
    FuncId func;
    Arena *arena;
    uint32_t count; /* of nodes before coefficients were made */
    const bool *active;
    Offset *reach;  /* by node: how far u is read, by taps and by numbers */
    Offset *near;   /* the same by taps alone */
    Entry **known;  /* by node */
    Node *gradient; /* by node that is a number: its gradient by u */
    GridId grid;
    uint32_t rank, entries;
    bool periodic[MAX_RANK]; /* does anything wrap around the axis? */
    bool wrapped;            /* the offset is one of a whole extent, not 0 */
    bool failed;
    Span span;
} Diagonal;

/* How one tap reads along one axis: cells of one layer at a side, or all others that read inside. */
typedef struct {
    int32_t offset;
    double factor;
    bool folds;
    int side;
    int32_t layer; /* cells from the side */
    int32_t past;  /* of a direct read: the layers at `side` that read beyond it; 0 where none do */
} AxisRead;

typedef struct {
    const SideKind (*sides)[2];
    bool transposed;
    Offset tap;
    uint32_t from; /* channel of the operand */
    double weight;
    Node factor; /* a number that the weight is multiplied by; or NODE_NONE */
} TapRead;

static Node entry(Diagonal *d, Node n, uint32_t p, uint32_t q, Offset o);

/* ---- building ------------------------------------------------------------------------------- */

static NodeData node_at(const Diagonal *d, Node n) {
    return *graph_node(graph_get(d->module, d->func), n);
}

static Node operand_at(const Diagonal *d, Node n, uint32_t i) {
    return graph_operand(graph_get(d->module, d->func), n, i);
}

static Node number(Diagonal *d, double x) { return graph_const(d->module, d->func, x); }

static Node binary(Diagonal *d, Op op, Node a, Node b) {
    return graph_binary(d->module, d->func, op, a, b, d->span);
}

static Node where(Diagonal *d, Node c, Node a, Node b) {
    return graph_add(d->module, d->func, OP_WHERE, (Node[]){c, a, b}, 3, 0, 0, d->span);
}

static Node plus(Diagonal *d, Node a, Node b) {
    return b == NODE_NONE ? a : sum_of(d->module, d->func, a, b, d->span);
}

static bool is_number_type(const Diagonal *d, Node n) {
    return node_at(d, n).type.kind == TYPE_SCALAR;
}

/* Channel p of a value, which may be a number or have one channel for all. */
static Node channel_of(Diagonal *d, Node n, uint32_t p) {
    if (node_at(d, n).type.channels == 1) return n;
    return graph_add(d->module, d->func, OP_CHANNEL, &n, 1, p, 0, d->span);
}

/* The field at the cell at an offset, wrapped on these axes, 0 beyond other sides. */
static Node shifted(Diagonal *d, Node n, Offset o, const bool periodic[MAX_RANK]) {
    if (is_number_type(d, n)) return n;
    Tap tap = {.weight = 1};
    Stencil s = {.rank = d->rank, .in_channels = 1, .out_channels = 1, .taps = &tap, .count = 1};
    memcpy(tap.offset, o.at, sizeof tap.offset);
    for (uint32_t a = 0; a < d->rank; a++)
        s.sides[a][0] = s.sides[a][1] = periodic[a] ? SIDE_PERIODIC : SIDE_GHOST;
    StencilId id = graph_stencil(d->module, &s);
    return graph_add(d->module, d->func, OP_STENCIL, &n, 1, id, 0, d->span);
}

/* 1 in the cells that are `layer` cells from a side. */
static Node layer_mask(Diagonal *d, uint32_t axis, int side, int32_t layer) {
    static const bool none[MAX_RANK];
    Offset o = {0};
    o.at[axis] = side ? layer : -layer;
    Node edge = graph_add_typed(d->module, d->func, OP_EDGE, type_field(d->grid, 1), NULL, 0, axis,
                                (uint32_t)side, d->span);
    return shifted(d, edge, o, none);
}

/* ---- stencils and convolutions -------------------------------------------------------------- */

/* The ways in which a tap reads along an axis, its sides being those rules; returns how many. */
static uint32_t axis_reads(const TapRead *tap, uint32_t axis, AxisRead *out) {
    int32_t t = tap->tap.at[axis], size = abs(t);
    int side = t > 0;
    SideKind kind = tap->sides[axis][side];
    bool wraps = kind == SIDE_PERIODIC;
    int32_t own = tap->transposed ? -t : t;
    out[0] = (AxisRead){.offset = own, .factor = 1, .side = own > 0, .past = wraps ? 0 : size};
    if (wraps || kind == SIDE_GHOST) return 1;
    for (int32_t layer = 0; layer < size; layer++) {
        int32_t mirror = size - 1 - layer, inwards = mirror - layer;
        int32_t there = side ? -inwards : inwards; /* from the cell that reads to the one read */
        out[1 + layer] = (AxisRead){.offset = tap->transposed ? -there : there,
                                    .factor = kind == SIDE_ODD ? -1 : 1,
                                    .folds = true,
                                    .side = side,
                                    .layer = tap->transposed ? mirror : layer};
    }
    return 1 + (uint32_t)size;
}

/* What one way of reading adds; reads[a] for each axis. */
static Node read_term(Diagonal *d, Node operand, const TapRead *tap, const AxisRead *reads,
                      uint32_t q, Offset o) {
    Offset shift = {0}, rest = o;
    bool periodic[MAX_RANK] = {0};
    double weight = tap->weight;
    for (uint32_t a = 0; a < d->rank; a++) {
        shift.at[a] = reads[a].offset;
        rest.at[a] -= shift.at[a];
        weight *= reads[a].factor;
        periodic[a] = tap->sides[a][0] == SIDE_PERIODIC;
    }
    Node n = entry(d, operand, tap->from, q, rest);
    if (!n) return NODE_NONE;
    bool same = is_number_type(d, n); /* in all cells: also where the tap reads nothing inside */
    n = shifted(d, n, shift, periodic);
    if (tap->factor) n = binary(d, OP_MUL, n, tap->factor);
    n = binary(d, OP_MUL, n, number(d, weight));
    for (uint32_t a = 0; a < d->rank; a++) {
        if (reads[a].folds)
            n = where(d, layer_mask(d, a, reads[a].side, reads[a].layer), n, number(d, 0));
        Node outside = NODE_NONE;
        for (int32_t layer = 0; same && layer < reads[a].past; layer++)
            outside = plus(d, outside, layer_mask(d, a, reads[a].side, layer));
        if (outside) n = where(d, outside, number(d, 0), n);
    }
    return n;
}

static Node tap_entry(Diagonal *d, Node operand, const TapRead *tap, uint32_t q, Offset o) {
    AxisRead *reads[MAX_RANK] = {0}, now[MAX_RANK] = {0};
    uint32_t count[MAX_RANK] = {1, 1, 1}, index[MAX_RANK] = {0};
    for (uint32_t a = 0; a < d->rank; a++) {
        reads[a] = ARENA_ARRAY(d->arena, AxisRead, abs(tap->tap.at[a]) + 1);
        count[a] = axis_reads(tap, a, reads[a]);
    }
    Node sum = NODE_NONE;
    for (bool more = true; more && !d->failed;) {
        for (uint32_t a = 0; a < d->rank; a++) now[a] = reads[a][index[a]];
        sum = plus(d, sum, read_term(d, operand, tap, now, q, o));
        more = false;
        for (uint32_t a = 0; a < d->rank && !more; a++) {
            more = ++index[a] < count[a];
            if (!more) index[a] = 0;
        }
    }
    return sum;
}

static Node stencil_entry(Diagonal *d, Node n, uint32_t p, uint32_t q, Offset o) {
    const Stencil s = d->module->stencils.data[node_at(d, n).index];
    Node sum = NODE_NONE, operand = operand_at(d, n, 0);
    for (uint32_t i = 1; i < node_at(d, n).count; i++)
        if (d->active[operand_at(d, n, i)]) d->failed = true; /* a side that varies with u */
    for (uint32_t i = 0; i < s.count && !d->failed; i++) {
        const Tap *t = &s.taps[i];
        if ((s.transposed ? t->from : t->to) != p) continue;
        TapRead tap = {.sides = s.sides,
                       .transposed = s.transposed,
                       .from = s.transposed ? t->to : t->from,
                       .weight = t->weight};
        memcpy(tap.tap.at, t->offset, sizeof tap.tap.at);
        sum = plus(d, sum, tap_entry(d, operand, &tap, q, o));
    }
    return sum;
}

/* One tap for each weight that makes channel p: CONV reads it from `in`, CONVT sends it from `out`. */
static Node conv_entry(Diagonal *d, Node n, uint32_t p, uint32_t q, Offset o) {
    NodeData data = node_at(d, n);
    const Conv c = d->module->convs.data[data.index];
    Node sum = NODE_NONE, u = operand_at(d, n, 0), w = operand_at(d, n, 1);
    bool transposed = data.op == OP_CONVT;
    uint32_t in = c.in / c.groups, out = c.out / c.groups;
    uint32_t taps = c.size[0] * c.size[1] * c.size[2];
    if (d->active[w] || c.stride[0] != 1) {
        d->failed = true;
        return NODE_NONE;
    }
    for (uint32_t k = 0; k < (transposed ? out : in) * taps && !d->failed; k++) {
        uint32_t other = k / taps, t = k % taps;
        uint32_t group = p / (transposed ? in : out);
        uint32_t to = transposed ? group * out + other : p, from = transposed ? p % in : other;
        uint32_t place[MAX_RANK] = {t % c.size[0], t / c.size[0] % c.size[1],
                                    t / (c.size[0] * c.size[1])};
        TapRead tap = {.sides = c.sides, .transposed = transposed, .weight = 1};
        tap.from = transposed ? to : group * in + other;
        for (uint32_t a = 0; a < d->rank; a++)
            tap.tap.at[a] = (int32_t)(place[a] * c.dilation[a]) - (int32_t)conv_low(&c, a);
        tap.factor =
            graph_add(d->module, d->func, OP_ENTRY, &w, 1, (to * in + from) * taps + t, 0, d->span);
        sum = plus(d, sum, tap_entry(d, u, &tap, q, o));
    }
    return sum;
}

/* ---- other ops ---------------------------------------------------------------------------------- */

static Node pointwise_entry(Diagonal *d, Node n, uint32_t p, uint32_t q, Offset o) {
    NodeData data = node_at(d, n);
    Node sum = NODE_NONE, parts[3] = {NODE_NONE, NODE_NONE, NODE_NONE};
    for (uint32_t i = 0; i < data.count && !d->failed; i++) {
        Node x = operand_at(d, n, i);
        if (!d->active[x]) continue;
        Node part = entry(d, x, node_at(d, x).type.channels == 1 ? 0 : p, q, o);
        if (!part) continue;
        if (data.op == OP_WHERE) {
            parts[i] = part;
            continue;
        }
        double c;
        if (data.op == OP_DIV && i == 0) {
            part = binary(d, OP_DIV, part, channel_of(d, operand_at(d, n, 1), p));
        } else {
            Node partial = derivative_pointwise(d->module, d->func, n, i);
            if (node_is_number(graph_get(d->module, d->func), partial, &c) && c == 0) continue;
            part = binary(d, OP_MUL, channel_of(d, partial, p), part);
        }
        sum = plus(d, sum, part);
    }
    if (!parts[1] && !parts[2]) return sum;
    Node zero = number(d, 0);
    return where(d, channel_of(d, operand_at(d, n, 0), p), parts[1] ? parts[1] : zero,
                 parts[2] ? parts[2] : zero);
}

static Node concat_entry(Diagonal *d, Node n, uint32_t p, uint32_t q, Offset o) {
    for (uint32_t i = 0; i < node_at(d, n).count; i++) {
        Node x = operand_at(d, n, i);
        uint32_t channels = node_at(d, x).type.channels;
        if (p < channels) return entry(d, x, p, q, o);
        p -= channels;
    }
    return NODE_NONE;
}

/* The gradient of a number by u, in the function. */
static Node gradient_at(Diagonal *d, Node n) {
    if (d->gradient[n]) return d->gradient[n];
    Func *f = graph_get(d->module, d->func);
    uint32_t params = f->params.len;
    FuncId alone = graph_func(d->module, f->name);
    Map known = {0};
    bool *wanted = ARENA_ARRAY(d->arena, bool, params + 1);
    wanted[0] = true;
    for (uint32_t i = 0; i < params; i++)
        map_set(&known, graph_get(d->module, d->func)->params.data[i],
                graph_param(d->module, alone,
                            node_at(d, graph_get(d->module, d->func)->params.data[i]).type, 0));
    Node result = graph_copy(d->module, d->func, n, alone, &known);
    vec_push(&graph_get(d->module, alone)->results, result);
    map_free(&known);
    FuncId gradient = gradient_func(d->module, alone, wanted, NULL);
    if (!gradient) {
        d->failed = true;
        return NODE_NONE;
    }
    known = (Map){0};
    const Func *g = graph_get(d->module, gradient);
    for (uint32_t i = 0; i < params; i++)
        map_set(&known, g->params.data[i], graph_get(d->module, d->func)->params.data[i]);
    d->gradient[n] =
        graph_copy(d->module, gradient, g->results.data[g->results.len - 1], d->func, &known);
    map_free(&known);
    return d->gradient[n];
}

static Node compute(Diagonal *d, Node n, uint32_t p, uint32_t q, Offset o) {
    NodeData data = node_at(d, n);
    d->span = data.span;
    if (data.op == OP_PARAM) {
        for (uint32_t a = 0; a < d->rank; a++)
            if (o.at[a]) return NODE_NONE;
        return p == q ? number(d, 1) : NODE_NONE;
    }
    if (data.type.kind == TYPE_SCALAR) { /* every cell of it once, whatever leads there */
        Node gradient = d->wrapped ? NODE_NONE : gradient_at(d, n);
        return gradient ? shifted(d, channel_of(d, gradient, q), o, d->periodic) : NODE_NONE;
    }
    if (op_info(data.op)->class == CLASS_POINTWISE) return pointwise_entry(d, n, p, q, o);
    Node sum = NODE_NONE, x = data.count ? operand_at(d, n, 0) : NODE_NONE;
    switch (data.op) {
    case OP_STENCIL: return stencil_entry(d, n, p, q, o);
    case OP_CONV:
    case OP_CONVT: return conv_entry(d, n, p, q, o);
    case OP_CHANNEL: return entry(d, x, data.index, q, o);
    case OP_CONCAT: return concat_entry(d, n, p, q, o);
    case OP_SPREAD: return entry(d, x, 0, q, o);
    case OP_CHSUM:
        for (uint32_t c = 0; c < node_at(d, x).type.channels; c++)
            sum = plus(d, sum, entry(d, x, c, q, o));
        return sum;
    default: d->failed = true; return NODE_NONE;
    }
}

/* The coefficient of channel p of node n by channel q of u at an offset: a number or a field of one channel. */
static Node entry(Diagonal *d, Node n, uint32_t p, uint32_t q, Offset o) {
    if (!d->active[n] || d->failed) return NODE_NONE;
    for (uint32_t a = 0; a < d->rank; a++)
        if (abs(o.at[a]) > d->reach[n].at[a]) return NODE_NONE;
    for (const Entry *e = d->known[n]; e; e = e->next)
        if (e->p == p && e->q == q && e->wrapped == d->wrapped &&
            memcmp(&e->offset, &o, sizeof o) == 0)
            return e->value;
    if (d->entries++ == ENTRY_LIMIT) d->failed = true;
    Node value = compute(d, n, p, q, o);
    Entry *made = ARENA_NEW(d->arena, Entry);
    *made = (Entry){p, q, o, d->wrapped, value, d->known[n]};
    d->known[n] = made;
    return value;
}

/* ---- functions ---------------------------------------------------------------------------------- */

/* Cells that an op reads beyond its own, and its sides along an axis where it has some. */
static int32_t own_reach(const Diagonal *d, const NodeData *n, uint32_t axis,
                         const SideKind **sides) {
    *sides = NULL;
    if (n->op == OP_STENCIL) {
        const Stencil *s = &d->module->stencils.data[n->index];
        *sides = s->sides[axis];
        return stencil_reach(s, axis);
    }
    if (n->op != OP_CONV && n->op != OP_CONVT) return 0;
    const Conv *c = &d->module->convs.data[n->index];
    *sides = c->sides[axis];
    return (int32_t)conv_high(c, axis);
}

static void scan(Diagonal *d) {
    enum { FAR = INT32_MAX / 4 };
    const Func *f = graph_get(d->module, d->func);
    for (Node n = 1; n < d->count; n++) {
        const NodeData *data = graph_node(f, n);
        for (uint32_t a = 0; a < d->rank && d->active[n]; a++) {
            const SideKind *sides;
            int32_t own = own_reach(d, data, a, &sides), far = 0, near = 0;
            if (sides && sides[0] == SIDE_PERIODIC && own) d->periodic[a] = true;
            for (uint32_t k = 0; k < data->count; k++) {
                Node x = graph_operand(f, n, k);
                if (!d->active[x]) continue;
                if (d->reach[x].at[a] > far) far = d->reach[x].at[a];
                if (d->near[x].at[a] > near) near = d->near[x].at[a];
            }
            bool number = data->type.kind == TYPE_SCALAR || far > FAR - own;
            d->reach[n].at[a] = number ? FAR : far + own;
            d->near[n].at[a] = near > FAR - own ? FAR : near + own;
        }
    }
}

/* Offsets of whole extents that lead back to a cell, either way; grids of unknown extents are large enough. */
static int64_t wraps(Diagonal *d, Node result, uint32_t axis) {
    int64_t extent = d->module->grids.data[d->grid].extent[axis];
    if (!d->periodic[axis] || extent < 1) return 0;
    int64_t most = d->near[result].at[axis] / extent;
    if (most > WRAP_LIMIT) d->failed = true;
    return most > WRAP_LIMIT ? 0 : most;
}

/* The sum of the coefficients at the offset 0, and at those that are 0 around periodic axes. */
static Node whole_entry(Diagonal *d, Node result, uint32_t p) {
    const int64_t *n = d->module->grids.data[d->grid].extent;
    int64_t most[MAX_RANK] = {0};
    Node sum = NODE_NONE;
    for (uint32_t a = 0; a < d->rank; a++) most[a] = wraps(d, result, a);
    for (int64_t z = -most[2]; z <= most[2]; z++)
        for (int64_t y = -most[1]; y <= most[1]; y++)
            for (int64_t x = -most[0]; x <= most[0]; x++) {
                Offset o = {{x ? (int32_t)(x * n[0]) : 0, y ? (int32_t)(y * n[1]) : 0,
                             z ? (int32_t)(z * n[2]) : 0}};
                d->wrapped = x || y || z;
                Node term = entry(d, result, p, p, o);
                if (term) sum = plus(d, sum, term);
            }
    return sum;
}

/* A grid of unknown extent that u is read around once or more has no diagonal of this form: reading a coordinate as
 * far away makes a kernel refuse it. */
static Node refusing_small(Diagonal *d, Node result, Node diagonal) {
    const Grid g = d->module->grids.data[d->grid];
    for (uint32_t a = 0; a < d->rank; a++) {
        if (!d->periodic[a] || g.extent[a] >= 0) continue;
        Node x = graph_add_typed(d->module, d->func, OP_COORD, type_field(d->grid, 1), NULL, 0, a,
                                 0, d->span);
        Offset o = {0};
        o.at[a] = d->near[result].at[a] + 1;
        x = binary(d, OP_MUL, shifted(d, x, o, d->periodic), number(d, 0));
        diagonal = binary(d, OP_ADD, diagonal, x);
    }
    return diagonal;
}

static Node diagonal_node(Diagonal *d) {
    const Func *f = graph_get(d->module, d->func);
    Node result = f->results.data[0], u = f->params.data[0];
    Type type = node_at(d, u).type;
    d->span = node_at(d, result).span;
    Node *channels = ARENA_ARRAY(d->arena, Node, type.channels);
    scan(d);
    for (uint32_t p = 0; p < type.channels && !d->failed; p++) {
        Node sum = whole_entry(d, result, p);
        if (d->failed) return NODE_NONE;
        channels[p] = node_broadcast(d->module, d->func, sum ? sum : number(d, 0),
                                     type_field(d->grid, 1), d->span);
    }
    Node n = graph_add(d->module, d->func, OP_CONCAT, channels, type.channels, 0, 0, d->span);
    return refusing_small(d, result, n);
}

/* The coefficients as a function; 0: they have no such form. */
static FuncId diagonal_graph(Module *module, FuncId func) {
    FuncId flat = operator_inline(module, func), made = 0;
    if (!flat) return 0;
    const Func *f = graph_get(module, flat);
    Diagonal d = {.module = module, .func = flat, .arena = arena_new(), .count = f->nodes.len};
    d.grid = graph_node(f, f->params.data[0])->type.grid;
    d.rank = module->grids.data[d.grid].rank;
    bool *params = ARENA_ARRAY(d.arena, bool, f->params.len);
    params[0] = true;
    d.active = activity_of(module, flat, params, d.arena);
    d.reach = ARENA_ARRAY(d.arena, Offset, d.count);
    d.near = ARENA_ARRAY(d.arena, Offset, d.count);
    d.known = ARENA_ARRAY(d.arena, Entry *, d.count);
    d.gradient = ARENA_ARRAY(d.arena, Node, d.count);
    for (Node n = 1; n < d.count; n++) { /* other grids have other cells */
        Type t = graph_node(f, n)->type;
        if (d.active[n] && t.kind == TYPE_FIELD && t.grid != d.grid) d.failed = true;
    }
    Node n = d.failed ? NODE_NONE : diagonal_node(&d);
    if (!d.failed) {
        graph_get(module, flat)->results.data[0] = n;
        graph_get(module, flat)->results.len = 1;
        made = factor_func(module, flat);
    }
    arena_free(d.arena);
    return made;
}

FuncId diagonal_func(Module *module, FuncId func, Node *why, const char **missing) {
    *why = NODE_NONE;
    *missing = NULL;
    FuncId made = diagonal_graph(module, func);
    return made ? made : probe_diagonal(module, func, why, missing);
}
