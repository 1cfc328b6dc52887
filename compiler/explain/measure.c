/* What layers cost, and how far they see. */
#include "compiler/explain/build.h"

#include <math.h>
#include <string.h>

/* ---- costs ---------------------------------------------------------------------------------- */

static double cells_of(const Builder *b, Type t) {
    return t.kind == TYPE_SCALAR || t.grid == GRID_NONE ? 0 : b->cells[t.grid];
}

double type_bytes(const Builder *b, Type t) {
    if (t.kind != TYPE_FIELD) return 0;
    return cells_of(b, t) * t.channels * b->options->word;
}

Amount node_flops(const Builder *b, const Func *f, Node n) {
    const NodeData *d = graph_node(f, n);
    const OpInfo *info = op_info(d->op);
    Type t = d->type, in = d->count ? graph_node(f, graph_operand(f, n, 0))->type : t;
    double points = cells_of(b, t) * t.channels;
    switch (d->op) {
    case OP_STENCIL:
        return amount_of(cells_of(b, t) * 2 * b->module->stencils.data[d->index].count);
    case OP_CONV:
        return amount_of(2 * cells_of(b, t) *
                         (double)conv_weights(&b->module->convs.data[d->index]));
    case OP_CONVT:
    case OP_CONVW:
        return amount_of(2 *
                         cells_of(b, graph_node(f, graph_operand(f, n, d->op == OP_CONVW))->type) *
                         (double)conv_weights(&b->module->convs.data[d->index]));
    case OP_CHSUM:
    case OP_SUM:
    case OP_LEAST:
    case OP_LARGEST:
    case OP_TOTALS: points = cells_of(b, in) * in.channels; break;
    default: break;
    }
    return amount_of(points * info->cost);
}

/* ---- counts --------------------------------------------------------------------------------------- */

static uint32_t symbol_named(Builder *b, const char *name, const char *about) {
    Explained *e = b->out;
    static const char *const letters[] = {"n", "m", "p", "q", "r", "s"};
    for (uint32_t i = 0; name && i < e->symbol_count; i++)
        if (strcmp(e->symbols[i], name) == 0) return i;
    if (e->symbol_count == 64) return 63;
    uint32_t i = e->symbol_count++;
    e->symbols[i] = name                                   ? name
                    : i < sizeof letters / sizeof *letters ? letters[i]
                                                           : arena_format(b->arena, "n%u", i);
    e->symbol_about[i] = about;
    return i;
}

static Amount count_of(Reading *r, Node loop, Part *body) {
    Builder *b = r->b;
    const NodeData *d = graph_node(r->f, loop);
    const Loop *l = &b->module->loops.data[d->index];
    Node count = graph_operand(r->f, loop, 0);
    double known = -1;
    bool is_known = graph_is_const(r->f, count, &known);
    const char *what = l->name ? names_text(b->module->names, l->name) : "the loop";
    body->count = is_known ? fmax(known, 0) : -1;
    body->until = l->has_stop;
    if (is_known && !l->has_stop) {
        body->count_text = arena_format(b->arena, "%.0f", body->count);
        return amount_of(body->count);
    }
    const char *name = is_known ? NULL : name_of_node(r, count);
    if (name && strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_") == 0)
        name = NULL;
    bool limited = is_known && known < 1e12;
    uint32_t s =
        symbol_named(b, l->has_stop ? NULL : name,
                     limited ? arena_format(b->arena, "steps of %s, at most %.0f", what, known)
                             : arena_format(b->arena, "steps of %s", what));
    body->count_text = b->out->symbols[s];
    return (Amount){.terms = {{1, 1ull << s}}, .count = 1};
}

Amount loop_count(Reading *r, Node loop, Part *body) {
    Amount *known = &r->b->counts[graph_node(r->f, loop)->index];
    if (known->count == 0 || body->layers.len) *known = count_of(r, loop, body);
    return *known;
}

/* ---- reach ------------------------------------------------------------------------------------------- */

Reach reach_own(void) {
    Reach r;
    memset(&r, 0, sizeof r);
    return r;
}

static Reach reach_none(void) {
    Reach r = reach_own();
    r.none = true;
    return r;
}

static Reach reach_all(void) {
    Reach r = reach_own();
    r.everything = true;
    return r;
}

Reach reach_join(Reach a, Reach b) {
    if (a.none || b.everything) return b;
    if (b.none || a.everything) return a;
    for (uint32_t i = 0; i < MAX_RANK; i++) {
        a.low[i] = amount_most(a.low[i], b.low[i]);
        a.high[i] = amount_most(a.high[i], b.high[i]);
    }
    return a;
}

/* One after the other. */
static Reach reach_then(Reach a, const Reach *b) {
    if (a.none || b->none) return reach_none();
    if (a.everything || b->everything) return reach_all();
    for (uint32_t i = 0; i < MAX_RANK; i++) {
        a.low[i] = amount_add(a.low[i], b->low[i]);
        a.high[i] = amount_add(a.high[i], b->high[i]);
    }
    return a;
}

static Reach widened(Reach a, uint32_t axis, double low, double high) {
    if (a.none || a.everything) return a;
    a.low[axis] = amount_add(a.low[axis], amount_of(fmax(low, 0)));
    a.high[axis] = amount_add(a.high[axis], amount_of(fmax(high, 0)));
    return a;
}

static double size_of_cell(const Builder *b, Type t) { return ldexp(1, b->level[t.grid]); }

static Reach through_stencil(const Builder *b, const Stencil *s, Type in, Reach a) {
    for (uint32_t axis = 0; axis < s->rank; axis++) {
        int32_t low = 0, high = 0;
        for (uint32_t i = 0; i < s->count; i++) {
            int32_t o = s->transposed ? -s->taps[i].offset[axis] : s->taps[i].offset[axis];
            low = o < low ? o : low;
            high = o > high ? o : high;
        }
        a = widened(a, axis, -low * size_of_cell(b, in), high * size_of_cell(b, in));
    }
    return a;
}

static Reach through_conv(const Builder *b, const Conv *c, bool transposed, Type fine, Reach a) {
    for (uint32_t axis = 0; axis < c->rank; axis++) {
        double low = (double)conv_low(c, axis), high = (double)conv_high(c, axis);
        double h = size_of_cell(b, fine);
        a = widened(a, axis, (transposed ? high : low) * h, (transposed ? low : high) * h);
    }
    return a;
}

/* Between a grid and its coarser one. */
static Reach through_grids(const Builder *b, const NodeData *d, Type in, Reach a) {
    bool down = d->op != OP_PROLONG, one = d->op != OP_MAXPOOL && d->index == RESAMPLE_FIRST;
    const Grid *g = &b->module->grids.data[in.grid];
    double h = one ? 0 : size_of_cell(b, down ? in : d->type);
    bool shares = d->op != OP_MAXPOOL && d->index == RESAMPLE_SHARES;
    for (uint32_t axis = 0; axis < g->rank; axis++)
        a = widened(a, axis, down && !shares ? 0 : h, down || shares ? h : 0);
    return a;
}

/* ---- loops ------------------------------------------------------------------------------------------ */

enum { MOST_STATES = 64 };

static double plus(double a, double b) {
    return a == -INFINITY || b == -INFINITY ? -INFINITY : a + b;
}

/* out = a after b, in the arithmetic of (max, +). */
static void compose(const double *a, const double *b, double *out, uint32_t n) {
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t j = 0; j < n; j++) {
            double most = -INFINITY;
            for (uint32_t k = 0; k < n; k++) most = fmax(most, plus(a[i * n + k], b[k * n + j]));
            out[i * n + j] = most;
        }
}

/* The power of a matrix, in place. */
static void power(double *a, uint32_t n, double times) {
    size_t bytes = sizeof(double) * n * n;
    double *result = mem_alloc(bytes), *next = mem_alloc(bytes);
    for (uint32_t i = 0; i < n * n; i++) result[i] = i % (n + 1) == 0 ? 0 : -INFINITY;
    while (times >= 1) {
        if (fmod(times, 2) == 1) {
            compose(result, a, next, n);
            memcpy(result, next, bytes);
        }
        times = floor(times / 2);
        if (times < 1) break;
        compose(a, a, next, n);
        memcpy(a, next, bytes);
    }
    memcpy(a, result, bytes);
    mem_free(result);
    mem_free(next);
}

/* One number of each entry: 6 sides of the reach, or -1: only whether there is one. False: not known. */
static bool side_matrix(const Reach *step, uint32_t n, int side, double *out) {
    for (uint32_t i = 0; i < n * n; i++) {
        const Reach *r = &step[i];
        out[i] = r->none ? -INFINITY : r->everything ? INFINITY : 0;
        if (side < 0 || out[i] != 0) continue;
        const Amount *a = side < 3 ? &r->low[side] : &r->high[side - 3];
        if (!amount_known(a, &out[i])) return false;
    }
    return true;
}

/* The loop done `count` times: by the numbers of every side. */
static bool exact_power(const Reach *step, uint32_t n, double count, Reach *out) {
    double *m = mem_alloc(sizeof(double) * n * n);
    bool ok = true;
    for (uint32_t i = 0; i < n * n; i++) out[i] = reach_own();
    for (int side = 0; ok && side < 6; side++) {
        ok = side_matrix(step, n, side, m);
        if (!ok) break;
        power(m, n, count);
        for (uint32_t i = 0; i < n * n; i++) {
            if (m[i] == -INFINITY) out[i] = reach_none();
            if (m[i] == INFINITY) out[i] = reach_all();
            if (!isfinite(m[i])) continue;
            *(side < 3 ? &out[i].low[side] : &out[i].high[side - 3]) = amount_of(m[i]);
        }
    }
    mem_free(m);
    return ok;
}

/* A bound for any count: as often the most that a step reaches. */
static void bounded_power(const Reach *step, uint32_t n, uint32_t states, Amount count,
                          Reach *out) {
    double *m = mem_alloc(sizeof(double) * n * n);
    Reach most = reach_own(), first = reach_own();
    side_matrix(step, n, -1, m);
    for (uint32_t i = 0; i < n; i++) m[i * (n + 1)] = fmax(m[i * (n + 1)], 0);
    power(m, n, n);
    for (uint32_t i = 0; i < n * n; i++)
        if (!step[i].none && !step[i].everything)
            *(i % n < states ? &most : &first) = reach_join(i % n < states ? most : first, step[i]);
    for (uint32_t i = 0; i < n * n; i++) {
        out[i] = m[i] == -INFINITY ? reach_none() : m[i] == INFINITY ? reach_all() : reach_own();
        for (uint32_t a = 0; a < MAX_RANK && m[i] == 0; a++) {
            out[i].low[a] = amount_times(count, most.low[a]);
            out[i].high[a] = amount_times(count, most.high[a]);
            if (i % n < states) continue;
            out[i].low[a] = amount_add(out[i].low[a], first.low[a]);
            out[i].high[a] = amount_add(out[i].high[a], first.high[a]);
        }
    }
    mem_free(m);
}

/* What the states after the loop read of the states before and of what it captured. */
static const ReachTable *loop_table(Builder *b, const Func *f, Node loop) {
    const NodeData *d = graph_node(f, loop);
    if (b->tables[d->index]) return b->tables[d->index];
    const Loop *l = &b->module->loops.data[d->index];
    const Func *body = graph_get(b->module, l->body);
    uint32_t n = body->params.len - 1;
    Reach *step = ARENA_ARRAY(b->arena, Reach, (size_t)n * n + 1),
          *params = ARENA_ARRAY(b->arena, Reach, n + 1),
          *nodes = ARENA_ARRAY(b->arena, Reach, body->nodes.len);
    for (uint32_t c = 0; c < n; c++) {
        for (uint32_t p = 0; p <= n; p++) params[p] = p == c + 1 ? reach_own() : reach_none();
        reach_nodes(b, l->body, params, nodes);
        for (uint32_t i = 0; i < n; i++)
            step[i * n + c] = i < l->states ? nodes[body->results.data[i]]
                              : i == c      ? reach_own()
                                            : reach_none();
    }
    ReachTable *table = ARENA_NEW(b->arena, ReachTable);
    table->columns = n;
    table->of = ARENA_ARRAY(b->arena, Reach, (size_t)n * n + 1);
    double count;
    bool known = graph_is_const(f, graph_operand(f, loop, 0), &count) && !l->has_stop;
    if (!known || n > MOST_STATES || !exact_power(step, n, fmax(count, 0), table->of)) {
        Reading r = {.b = b, .f = f, .names = NULL};
        Part scratch = {.func = 0};
        bounded_power(step, n, l->states, loop_count(&r, loop, &scratch), table->of);
    }
    b->tables[d->index] = table;
    return table;
}

static Reach result_reach(Builder *b, const Func *f, Node n, const Reach *nodes) {
    Node tuple = graph_operand(f, n, 0);
    const NodeData *d = graph_node(f, tuple);
    uint32_t index = graph_node(f, n)->index;
    Reach out = reach_none();
    if (d->op == OP_LOOP) {
        const Loop *l = &b->module->loops.data[d->index];
        if (index == l->states) return l->has_stop ? nodes[tuple] : out;
        if (index > l->states) index = l->collect[index - l->states - 1];
        const ReachTable *t = loop_table(b, f, tuple);
        for (uint32_t c = 0; c < t->columns; c++)
            out = reach_join(out, reach_then(t->of[index * t->columns + c],
                                             &nodes[graph_operand(f, tuple, 1 + c)]));
        return out;
    }
    return nodes[tuple];
}

static Reach node_reach(Builder *b, const Func *f, Node n, const Reach *nodes) {
    const NodeData *d = graph_node(f, n);
    Reach all = reach_none();
    for (uint32_t k = 0; k < d->count; k++) all = reach_join(all, nodes[graph_operand(f, n, k)]);
    if (all.none || d->count == 0) return all;
    const Reach first = nodes[graph_operand(f, n, 0)];
    Type in = graph_node(f, graph_operand(f, n, 0))->type;
    switch (d->op) {
    case OP_STENCIL:
        return reach_join(through_stencil(b, &b->module->stencils.data[d->index], in, first), all);
    case OP_CONV: return through_conv(b, &b->module->convs.data[d->index], false, in, first);
    case OP_CONVT: return through_conv(b, &b->module->convs.data[d->index], true, d->type, first);
    case OP_RESTRICT:
    case OP_PROLONG:
    case OP_MAXPOOL: return through_grids(b, d, in, first);
    case OP_SUM:
    case OP_LEAST:
    case OP_LARGEST:
    case OP_TOTALS:
    case OP_BATCHMEAN:
    case OP_CONVW:
    case OP_LOOP:
    case OP_BACK:
    case OP_CALL: return reach_all();
    case OP_CHECKED: return first;
    default: return all;
    }
}

/* What a function reads of its parameters, called. */
static Reach call_reach(Builder *b, const Func *f, Node n, const Reach *nodes) {
    Node tuple = graph_operand(f, n, 0);
    const NodeData *d = graph_node(f, tuple);
    const Func *callee = graph_get(b->module, d->index);
    Reach *params = ARENA_ARRAY(b->arena, Reach, callee->params.len + 1),
          *inner = ARENA_ARRAY(b->arena, Reach, callee->nodes.len);
    for (uint32_t p = 0; p < callee->params.len && p < d->count; p++)
        params[p] = nodes[graph_operand(f, tuple, p)];
    reach_nodes(b, d->index, params, inner);
    return inner[callee->results.data[graph_node(f, n)->index]];
}

void reach_nodes(Builder *b, FuncId func, const Reach *params, Reach *out) {
    const Func *f = graph_get(b->module, func);
    out[0] = reach_none();
    for (Node n = 1; n < f->nodes.len; n++) {
        const NodeData *d = graph_node(f, n);
        if (d->op == OP_PARAM)
            out[n] = params[d->index];
        else if (d->op == OP_INPUT)
            out[n] = b->options->inputs[d->index].data && func == b->out->part->func ? reach_own()
                                                                                     : reach_none();
        else if (d->op == OP_COORD && b->options->places && func == b->out->part->func)
            out[n] = reach_own();
        else if (d->op == OP_RESULT)
            out[n] = graph_node(f, graph_operand(f, n, 0))->op == OP_CALL
                         ? call_reach(b, f, n, out)
                         : result_reach(b, f, n, out);
        else
            out[n] = node_reach(b, f, n, out);
    }
}
