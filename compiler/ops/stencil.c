/* Stencils with their boundaries.
 *
 * Ghost cells are resolved axis by axis, x first, then y, then z: a position outside on x is
 * replaced by the side's rule for x (whose value operand is read at the cell inside on x,
 * wrapped on periodic axes and clamped on the others), which leaves a position inside on x; then
 * y, then z. */
#include "compiler/ops/rules.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- facts about stencils ----------------------------------------------------------- */

uint32_t stencil_value_operand(const Stencil *s, uint32_t axis, int side) {
    uint32_t number = 0;
    for (uint32_t a = 0; a < s->rank; a++)
        for (int k = 0; k < 2; k++) {
            number += s->has_value[a][k];
            if (a == axis && k == side) return s->has_value[a][k] ? number : 0;
        }
    return 0;
}

uint32_t stencil_values(const Stencil *s) {
    uint32_t number = 0;
    for (uint32_t a = 0; a < s->rank; a++)
        number += (uint32_t)s->has_value[a][0] + s->has_value[a][1];
    return number;
}

int32_t stencil_reach(const Stencil *s, uint32_t axis) {
    int32_t reach = 0;
    for (uint32_t i = 0; i < s->count; i++)
        if (abs(s->taps[i].offset[axis]) > reach) reach = abs(s->taps[i].offset[axis]);
    return reach;
}

GhostRead stencil_read(const Stencil *s, uint32_t axis, int64_t p, int64_t n, double h) {
    return ghost_read(s->sides[axis], p, n, h);
}

GhostRead ghost_read(const SideKind sides[2], int64_t p, int64_t n, double h) {
    if (p >= 0 && p < n) return (GhostRead){p, 1, 0, -1};
    int side = p >= n;
    int64_t j = side ? p - n : -1 - p; /* number of the ghost */
    int64_t mirror = side ? n - 1 - j : j;
    switch (sides[side]) {
    case SIDE_PERIODIC: return (GhostRead){side ? j : n - 1 - j, 1, 0, side};
    case SIDE_EVEN: return (GhostRead){mirror, 1, 0, side};
    case SIDE_ODD: return (GhostRead){mirror, -1, 2, side};
    case SIDE_SLOPE: return (GhostRead){mirror, 1, (double)(2 * j + 1) * h, side};
    case SIDE_GHOST: break;
    }
    return (GhostRead){mirror, 0, 1, side};
}

/* ---- shape -------------------------------------------------------------------------- */

static Type operand_type(Module *m, FuncId f, Node n) {
    return graph_node(graph_get(m, f), n)->type;
}

bool shape_stencil(Module *m, FuncId f, Op op, const Node *operands, uint32_t count, uint32_t index,
                   uint32_t detail, Type *out, const char **why) {
    if (index == 0 || index >= m->stencils.len || count == 0) {
        *why = "no such stencil, or nothing to act on";
        return false;
    }
    const Stencil *s = &m->stencils.data[index];
    Type t = operand_type(m, f, operands[0]);
    uint32_t in = s->transposed ? s->out_channels : s->in_channels;
    if (t.kind != TYPE_FIELD) {
        *why = arena_format(m->arena, "a stencil acts on fields, not on %s",
                            type_text(m, t, m->arena));
        return false;
    }
    if (m->grids.data[t.grid].rank != s->rank) {
        *why = arena_format(m->arena, "a stencil of %u dimensions on a grid of %u", s->rank,
                            m->grids.data[t.grid].rank);
        return false;
    }
    if (t.channels != in) {
        *why = arena_format(m->arena, "a stencil for %u channels, a field of %u", in, t.channels);
        return false;
    }
    if (count != 1 + stencil_values(s)) {
        *why = arena_format(m->arena, "%u boundary values are needed, %u are given",
                            stencil_values(s), count - 1);
        return false;
    }
    for (uint32_t i = 1; i < count; i++) {
        Type v = operand_type(m, f, operands[i]);
        if (v.kind == TYPE_SCALAR) continue;
        if (v.kind != TYPE_FIELD || v.grid != t.grid || (v.channels != 1 && v.channels != in)) {
            *why = arena_format(m->arena, "a boundary value lives on %s, the field on %s",
                                type_text(m, v, m->arena), type_text(m, t, m->arena));
            return false;
        }
    }
    *out = type_field(t.grid, s->transposed ? s->in_channels : s->out_channels);
    return true;
}

Node fold_stencil(Module *m, FuncId f, Op op, const Node *operands, uint32_t count, uint32_t index,
                  uint32_t detail, Span span) {
    const Stencil *s = &m->stencils.data[index];
    for (uint32_t axis = 0; axis < s->rank; axis++)
        if (stencil_reach(s, axis) != 0) return NODE_NONE;
    /* the identity */
    if (s->in_channels != s->out_channels || s->count != s->in_channels) return NODE_NONE;
    for (uint32_t i = 0; i < s->count; i++)
        if (s->taps[i].from != i || s->taps[i].to != i || s->taps[i].weight != 1) return NODE_NONE;
    return operands[0];
}

/* ---- evaluation ----------------------------------------------------------------------- */

typedef struct {
    const Stencil *s;
    const Array *const *operands;
    int64_t extent[MAX_RANK], cells;
    double spacing[MAX_RANK];
    const double *field; /* of the input channel that is read */
    uint32_t channel;
} Reader;

static double value_at(const Reader *r, uint32_t axis, int side, const int64_t p[MAX_RANK]) {
    uint32_t number = stencil_value_operand(r->s, axis, side);
    if (number == 0) return 0;
    const Array *v = r->operands[number];
    if (v->type.kind == TYPE_SCALAR) return v->data[0];
    int64_t at = 0;
    for (int a = MAX_RANK - 1; a >= 0; a--) {
        int64_t n = r->extent[a], i = p[a];
        if ((uint32_t)a != axis && (uint32_t)a < r->s->rank && r->s->sides[a][0] == SIDE_PERIODIC)
            i = (i % n + n) % n;
        i = i < 0 ? 0 : i >= n ? n - 1 : i;
        at = at * n + i;
    }
    return v->data[at + (v->type.channels > 1 ? r->channel * r->cells : 0)];
}

/* The field at a position that may be outside, axis by axis. */
static double read_at(const Reader *r, const int64_t position[MAX_RANK]) {
    int64_t p[MAX_RANK] = {position[0], position[1], position[2]};
    double sum = 0, factor = 1;
    for (uint32_t axis = 0; axis < r->s->rank; axis++) {
        GhostRead g = stencil_read(r->s, axis, p[axis], r->extent[axis], r->spacing[axis]);
        if (g.value_factor != 0 && r->s->has_value[axis][g.side])
            sum += factor * g.value_factor * value_at(r, axis, g.side, p);
        if (g.factor == 0) return sum;
        factor *= g.factor;
        p[axis] = g.at;
    }
    return sum + factor * r->field[(p[2] * r->extent[1] + p[1]) * r->extent[0] + p[0]];
}

/* Adds weight * (in(i + offset) [- in(i)]) of one tap to all cells of one output channel. */
static void add_tap(const Reader *r, const Tap *tap, bool difference, double *out) {
    const int64_t *n = r->extent;
    int64_t low = tap->offset[0] < 0 ? -tap->offset[0] : 0;
    int64_t high = tap->offset[0] > 0 ? n[0] - tap->offset[0] : n[0];
    int64_t i = 0;
    for (int64_t z = 0; z < n[2]; z++)
        for (int64_t y = 0; y < n[1]; y++) {
            int64_t pz = z + tap->offset[2], py = y + tap->offset[1];
            bool inside = pz >= 0 && pz < n[2] && py >= 0 && py < n[1];
            const double *row = inside ? r->field + (pz * n[1] + py) * n[0] + tap->offset[0] : NULL;
            for (int64_t x = 0; x < n[0]; x++, i++) {
                double value = inside && x >= low && x < high
                                   ? row[x]
                                   : read_at(r, (int64_t[]){x + tap->offset[0], py, pz});
                out[i] += tap->weight * (difference ? value - r->field[i] : value);
            }
        }
}

/* The transpose of one tap: scatters. */
static void scatter_tap(const Reader *r, const Tap *tap, double *out) {
    const int64_t *n = r->extent;
    int64_t i = 0, p[MAX_RANK];
    for (p[2] = 0; p[2] < n[2]; p[2]++)
        for (p[1] = 0; p[1] < n[1]; p[1]++)
            for (p[0] = 0; p[0] < n[0]; p[0]++, i++) {
                int64_t at = 0;
                int factor = 1;
                for (int axis = MAX_RANK - 1; axis >= 0; axis--) {
                    GhostRead g = {0, 1, 0, -1};
                    if ((uint32_t)axis < r->s->rank)
                        g = stencil_read(r->s, (uint32_t)axis, p[axis] + tap->offset[axis], n[axis],
                                         r->spacing[axis]);
                    factor *= g.factor;
                    at = at * n[axis] + g.at;
                }
                if (factor) out[at] += tap->weight * factor * r->field[i];
            }
}

/* Do the taps [begin, end), all of one output channel, sum to 0 with one at the cell itself? */
static bool is_difference(const Tap *taps, uint32_t begin, uint32_t end) {
    double sum = 0, size = 0;
    bool centre = false;
    for (uint32_t i = begin; i < end; i++) {
        const int32_t *o = taps[i].offset;
        sum += taps[i].weight;
        size += fabs(taps[i].weight);
        centre = centre || (o[0] == 0 && o[1] == 0 && o[2] == 0);
        if (taps[i].from != taps[begin].from) return false;
    }
    return centre && fabs(sum) <= 1e-14 * size;
}

void eval_stencil(Evaluator *e, FuncId f, Node n, const Array *const *operands, Array *out) {
    const Stencil *s = &e->module->stencils.data[graph_node(graph_get(e->module, f), n)->index];
    Reader r = {.s = s, .operands = operands};
    r.cells = eval_extents(e, out->type.grid, r.extent);
    for (uint32_t axis = 0; axis < s->rank; axis++) {
        r.spacing[axis] = e->module->grids.data[out->type.grid].spacing[axis];
        if (stencil_reach(s, axis) > r.extent[axis]) {
            e->status = EVAL_SIZE;
            return;
        }
    }
    memset(out->data, 0, sizeof(double) * (size_t)out->size);
    for (uint32_t begin = 0, end; begin < s->count; begin = end) {
        for (end = begin; end < s->count && s->taps[end].to == s->taps[begin].to;) end++;
        bool difference = !s->transposed && is_difference(s->taps, begin, end);
        for (uint32_t i = begin; i < end; i++) {
            const Tap *tap = &s->taps[i];
            r.channel = s->transposed ? tap->to : tap->from;
            r.field = operands[0]->data + r.channel * r.cells;
            double *to = out->data + (s->transposed ? tap->from : tap->to) * r.cells;
            if (s->transposed)
                scatter_tap(&r, tap, to);
            else
                add_tap(&r, tap, difference, to);
        }
    }
}

/* ---- transpose -------------------------------------------------------------------------- */

/* How the value of side (axis, side) enters, as a stencil on the field that is the value in the
 * cells at that side and 0 elsewhere. False where that is no stencil: taps that reach, across a
 * corner, more than one cell beyond a later axis that is not periodic. */
static bool value_stencil(Module *m, const Stencil *s, uint32_t axis, int side, Stencil *out) {
    int32_t reach = stencil_reach(s, axis);
    *out = *s;
    memset(out->has_value, 0, sizeof out->has_value);
    out->sides[axis][0] = out->sides[axis][1] = SIDE_GHOST;
    for (uint32_t a = axis + 1; a < s->rank; a++)
        for (int k = 0; k < 2; k++)
            if (s->sides[a][k] != SIDE_PERIODIC)
                out->sides[a][k] = SIDE_EVEN; /* the first ghost of an even side is clamped */
    out->taps = ARENA_ARRAY(m->arena, Tap, (size_t)s->count * (size_t)(reach + 1));
    out->count = 0;
    for (uint32_t i = 0; i < s->count; i++)
        for (int32_t depth = 0; depth < reach; depth++) {
            Tap tap = s->taps[i];
            int32_t j = (side ? tap.offset[axis] : -tap.offset[axis]) - 1 - depth;
            if (j < 0) continue;
            for (uint32_t a = axis + 1; a < s->rank; a++)
                if (abs(tap.offset[a]) > 1 && s->sides[a][0] != SIDE_PERIODIC) return false;
            GhostRead g = stencil_read(s, axis, side ? reach + j : -1 - j, reach, 1);
            tap.offset[axis] = side ? depth : -depth;
            tap.weight *= g.value_factor;
            out->taps[out->count++] = tap;
        }
    return true;
}

/* By u: the transposed stencil. By the value of a side: the transpose of how it enters. */
Node deriv_stencil(Module *m, FuncId f, Node n, uint32_t i, Node w) {
    NodeData d = *graph_node(graph_get(m, f), n);
    Stencil s = m->stencils.data[d.index];
    if (i == 0) {
        memset(s.has_value, 0, sizeof s.has_value);
        s.transposed = !s.transposed;
        return graph_add(m, f, OP_STENCIL, &w, 1, graph_stencil(m, &s), 0, d.span);
    }
    for (uint32_t axis = 0; axis < s.rank; axis++)
        for (int side = 0; side < 2; side++) {
            if (stencil_value_operand(&s, axis, side) != i) continue;
            Stencil enters;
            if (!value_stencil(m, &s, axis, side, &enters)) return NODE_NONE;
            if (s.sides[axis][side] == SIDE_SLOPE)
                for (uint32_t k = 0; k < enters.count; k++)
                    enters.taps[k].weight *= m->grids.data[d.type.grid].spacing[axis];
            enters.transposed = true;
            Node back = graph_add(m, f, OP_STENCIL, &w, 1, graph_stencil(m, &enters), 0, d.span);
            Node edge = graph_add_typed(m, f, OP_EDGE, type_field(d.type.grid, 1), NULL, 0, axis,
                                        (uint32_t)side, d.span);
            Type value = operand_type(m, f, graph_operand(graph_get(m, f), n, i));
            return node_unbroadcast(m, f, graph_binary(m, f, OP_MUL, edge, back, d.span), value,
                                    d.span);
        }
    return NODE_NONE;
}
