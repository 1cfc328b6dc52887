/* Random programs: stencils, pointwise maps, channels, reductions, resampling, loops and calls, compiled
 * and interpreted. PDN_RANDOM=count asks for more of them, PDN_RANDOM_SEED=n for one. */
#include "tests/unit/cases.h"

#include <criterion/criterion.h>

typedef struct {
    Case *c;
    uint64_t seed;
    FuncId f;
    Node fields[40], scalars[20];
    uint32_t field_count, scalar_count, depth;
} Maker;

static uint32_t pick(Maker *m, uint32_t n) { return (uint32_t)(next_random(&m->seed) % n); }

static Type type_of(Maker *m, Node n) { return graph_node(graph_get(m->c->m, m->f), n)->type; }

/* Mean, first, or mean on the fitted grid. */
static Resample restriction(Maker *m, Node u) {
    GridId fine = type_of(m, u).grid;
    uint32_t how = pick(m, 3);
    return how < 2 ? (Resample)how : graph_resample(m->c->m, fine, graph_fitted(m->c->m, fine));
}

static void add_field(Maker *m, Node n) {
    if (n != NODE_NONE && m->field_count < 40 && type_of(m, n).kind == TYPE_FIELD)
        m->fields[m->field_count++] = n;
}

static void add_scalar(Maker *m, Node n) {
    if (m->scalar_count < 20) m->scalars[m->scalar_count++] = n;
}

static Node some_field(Maker *m) {
    /* the newest more often, for deep chains */
    uint32_t i = pick(m, 3) ? m->field_count - 1 - pick(m, m->field_count < 4 ? m->field_count : 4)
                            : pick(m, m->field_count);
    return m->fields[i];
}

static Node some_scalar(Maker *m) {
    return pick(m, 3) == 0 ? graph_const(m->c->m, m->f, (double)(float)(uniform(&m->seed) * 2 - 1))
                           : m->scalars[pick(m, m->scalar_count)];
}

static Node unary(Maker *m, Op op, Node a) { return graph_unary(m->c->m, m->f, op, a, SPAN_NONE); }

static Node binary(Maker *m, Op op, Node a, Node b) {
    const char *why;
    Type t;
    Node operands[2] = {a, b};
    return op_shape(m->c->m, m->f, op, operands, 2, 0, 0, &t, &why)
               ? graph_binary(m->c->m, m->f, op, a, b, SPAN_NONE)
               : NODE_NONE;
}

static void make_stencil(Maker *m) {
    Module *g = m->c->m;
    Node u = some_field(m);
    Type t = type_of(m, u);
    const Grid *grid = &g->grids.data[t.grid];
    Stencil s = {
        .rank = grid->rank, .transposed = pick(m, 3) == 0, .taps = ARENA_ARRAY(g->arena, Tap, 16)};
    s.in_channels = s.out_channels = t.channels;
    if (pick(m, 2)) *(s.transposed ? &s.in_channels : &s.out_channels) = 1 + pick(m, 3);
    Node operands[7] = {u};
    uint32_t count = 1;
    for (uint32_t a = 0; a < s.rank; a++) {
        bool periodic = pick(m, 4) == 0;
        for (int k = 0; k < 2; k++) {
            s.sides[a][k] = periodic ? SIDE_PERIODIC : (SideKind)(SIDE_EVEN + pick(m, 4));
            s.has_value[a][k] = !s.transposed && s.sides[a][k] > SIDE_EVEN && pick(m, 2);
            if (!s.has_value[a][k]) continue;
            Node v = some_field(m);
            bool fits = type_of(m, v).grid == t.grid && type_of(m, v).channels == 1;
            operands[count++] = fits ? v : some_scalar(m);
        }
    }
    uint32_t taps = 1 + pick(m, 5);
    for (uint32_t i = 0; i < taps; i++) {
        Tap tap = {.from = pick(m, s.in_channels),
                   .to = pick(m, s.out_channels),
                   .weight = (double)((int)pick(m, 9) - 4) / 4};
        for (uint32_t a = 0; a < s.rank; a++)
            tap.offset[a] =
                (int32_t)pick(m, 5) - 2 < -(int32_t)grid->extent[a] ? 0 : (int32_t)pick(m, 3) - 1;
        if (pick(m, 5) == 0 && grid->extent[0] > 3) tap.offset[0] *= 2;
        bool twice = tap.weight == 0;
        for (uint32_t k = 0; k < s.count; k++)
            twice = twice || (memcmp(s.taps[k].offset, tap.offset, sizeof tap.offset) == 0 &&
                              s.taps[k].from == tap.from && s.taps[k].to == tap.to);
        if (!twice) s.taps[s.count++] = tap;
    }
    if (s.count && pick(m, 2)) { /* a difference */
        double sum = 0;
        uint32_t to = s.taps[0].to, from = s.taps[0].from;
        bool centre = false;
        for (uint32_t i = 0; i < s.count; i++)
            if (s.taps[i].to == to) {
                sum += s.taps[i].weight;
                centre = centre || (!s.taps[i].offset[0] && !s.taps[i].offset[1] &&
                                    !s.taps[i].offset[2] && s.taps[i].from == from);
            }
        if (!centre) s.taps[s.count++] = (Tap){.from = from, .to = to, .weight = -sum};
    }
    if (s.count)
        add_field(
            m, graph_add(g, m->f, OP_STENCIL, operands, count, graph_stencil(g, &s), 0, SPAN_NONE));
}

static void make_nodes(Maker *m, uint32_t count);

static void make_loop(Maker *m) {
    Module *g = m->c->m;
    if (m->depth >= 2) return;
    Maker inner = {.c = m->c, .seed = next_random(&m->seed), .depth = m->depth + 1};
    uint32_t states = 1 + pick(m, 3), captured = pick(m, 3);
    Node operands[8] = {graph_const(g, m->f, pick(m, 5))};
    inner.f = graph_func(g, 0);
    add_scalar(&inner, graph_param(g, inner.f, type_scalar(), 0));
    for (uint32_t i = 0; i < states + captured; i++) {
        bool scalar = i > 0 && pick(m, 4) == 0;
        operands[1 + i] = scalar ? some_scalar(m) : some_field(m);
        Node p = graph_param(g, inner.f, type_of(m, operands[1 + i]), 0);
        scalar ? add_scalar(&inner, p) : add_field(&inner, p);
    }
    make_nodes(&inner, 4 + pick(m, 8));
    for (uint32_t i = 0; i < states; i++) {
        Type t = type_of(m, operands[1 + i]);
        Node next = graph_get(g, inner.f)->params.data[1 + (pick(m, 3) ? i : pick(m, states))];
        uint32_t n = t.kind == TYPE_SCALAR ? inner.scalar_count : inner.field_count;
        for (uint32_t k = n; k-- > 0;) {
            Node one = (t.kind == TYPE_SCALAR ? inner.scalars : inner.fields)[k];
            if (type_equal(type_of(&inner, one), t) &&
                (pick(m, 3) || !type_equal(type_of(&inner, next), t))) {
                next = one;
                break;
            }
        }
        if (!type_equal(type_of(&inner, next), t)) next = graph_get(g, inner.f)->params.data[1 + i];
        vec_push(&graph_get(g, inner.f)->results, next);
    }
    Loop l = {.body = inner.f,
              .start = (int64_t)pick(m, 3),
              .states = states,
              .captured = captured,
              .stride = 1 + pick(m, 2)};
    uint32_t collect = pick(m, states);
    if (pick(m, 2)) {
        l.collect = &collect;
        l.collected = 1;
    }
    Node loop = graph_add(g, m->f, OP_LOOP, operands, 1 + states + captured, graph_loop(g, &l), 0,
                          SPAN_NONE);
    for (uint32_t i = 0; i <= states; i++) {
        Node r = graph_result(g, m->f, loop, i);
        type_of(m, r).kind == TYPE_SCALAR ? add_scalar(m, r) : add_field(m, r);
    }
    if (l.collected) {
        Node stack = graph_result(g, m->f, loop, states + 1);
        Node frame = graph_binary(g, m->f, OP_FRAME, stack,
                                  graph_const(g, m->f, pick(m, 2) ? 0 : -1), SPAN_NONE);
        type_of(m, frame).kind == TYPE_SCALAR ? add_scalar(m, frame) : add_field(m, frame);
    }
}

static void make_call(Maker *m) {
    Module *g = m->c->m;
    if (m->depth >= 2) return;
    Maker inner = {
        .c = m->c, .seed = next_random(&m->seed), .depth = m->depth + 1, .f = graph_func(g, 0)};
    Node operands[3] = {some_scalar(m), some_field(m), some_field(m)};
    add_scalar(&inner, graph_param(g, inner.f, type_scalar(), 0));
    for (int i = 1; i < 3; i++)
        add_field(&inner, graph_param(g, inner.f, type_of(m, operands[i]), 0));
    make_nodes(&inner, 3 + pick(m, 10));
    vec_push(&graph_get(g, inner.f)->results, inner.fields[inner.field_count - 1]);
    vec_push(&graph_get(g, inner.f)->results, inner.scalars[inner.scalar_count - 1]);
    vec_push(&graph_get(g, inner.f)->results, inner.fields[pick(m, inner.field_count)]);
    for (int times = 0; times < 2; times++) {
        Node call = graph_add(g, m->f, OP_CALL, operands, 3, inner.f, 0, SPAN_NONE);
        add_field(m, graph_result(g, m->f, call, 0));
        add_scalar(m, graph_result(g, m->f, call, 1));
        add_field(m, graph_result(g, m->f, call, 2));
        operands[0] = m->scalars[m->scalar_count - 1];
    }
}

/* Sums by channel or given numbers, mapped, as factors or summands of the channels. */
static void make_row(Maker *m, Node u) {
    Module *g = m->c->m;
    Type t = type_of(m, u);
    Node row = unary(m, OP_TOTALS, u), numbers[4];
    if (pick(m, 3) == 0 && t.channels <= 4) {
        for (uint32_t i = 0; i < t.channels; i++) numbers[i] = some_scalar(m);
        row = graph_add(g, m->f, OP_ROW, numbers, t.channels, 0, 0, SPAN_NONE);
    }
    if (pick(m, 2)) row = binary(m, OP_MUL, unary(m, OP_TANH, row), some_scalar(m));
    add_scalar(m, unary(m, OP_TANH,
                        graph_add(g, m->f, OP_ENTRY, &row, 1, pick(m, t.channels), 0, SPAN_NONE)));
    Node spread = graph_add_typed(g, m->f, OP_BYCHANNEL, t, &row, 1, 0, 0, SPAN_NONE);
    if (pick(m, 4)) spread = binary(m, pick(m, 2) ? OP_ADD : OP_MUL, u, spread);
    add_field(m, unary(m, OP_TANH, spread));
}

static void make_node(Maker *m) {
    static const Op ops1[] = {OP_NEG, OP_ABS, OP_TANH, OP_COS, OP_TANH},
                    ops2[] = {OP_ADD, OP_SUB, OP_MUL, OP_MIN, OP_MAX};
    Module *g = m->c->m;
    Node u = some_field(m);
    switch (pick(m, 15)) {
    case 0: add_field(m, unary(m, ops1[pick(m, 5)], u)); break;
    case 1:
    case 2:
    case 3:
        add_field(m, binary(m, ops2[pick(m, 5)], u, pick(m, 4) ? some_field(m) : some_scalar(m)));
        break;
    case 4: {
        Node v = some_field(m), one = graph_const(g, m->f, 1);
        add_field(m, binary(m, OP_DIV, u, binary(m, OP_ADD, one, binary(m, OP_MUL, v, v))));
        break;
    }
    case 5:
    case 6:
    case 7: make_stencil(m); break;
    case 8:
        add_scalar(m, unary(m, OP_TANH,
                            unary(m, (Op[]){OP_SUM, OP_LEAST, OP_LARGEST}[pick(m, 3)],
                                  unary(m, OP_TANH, u))));
        break;
    case 9: {
        Node parts[3] = {u, some_field(m), some_field(m)};
        Type t;
        const char *why;
        if (op_shape(g, m->f, OP_CONCAT, parts, 2, 0, 0, &t, &why) && t.channels <= 4)
            add_field(m, graph_add(g, m->f, OP_CONCAT, parts, 2, 0, 0, SPAN_NONE));
        break;
    }
    case 10:
        add_field(m, pick(m, 2) ? unary(m, OP_CHSUM, u)
                                : graph_add(g, m->f, OP_CHANNEL, &u, 1,
                                            pick(m, type_of(m, u).channels), 0, SPAN_NONE));
        break;
    case 11:
        if (pick(m, 2)) {
            Node coarse =
                pick(m, 3) ? graph_add(g, m->f, OP_RESTRICT, &u, 1, restriction(m, u), 0, SPAN_NONE)
                           : unary(m, OP_MAXPOOL, u);
            if (pick(m, 2)) coarse = unary(m, OP_TANH, coarse);
            Resample back = graph_resample(g, type_of(m, u).grid, type_of(m, coarse).grid);
            add_field(m, graph_add(g, m->f, OP_PROLONG, &coarse, 1,
                                   pick(m, 2) ? back : RESAMPLE_FIRST, 0, SPAN_NONE));
        } else {
            add_field(m, graph_add_typed(g, m->f, pick(m, 2) ? OP_EDGE : OP_COORD,
                                         type_field(m->c->grid, 1), NULL, 0,
                                         pick(m, g->grids.data[m->c->grid].rank), pick(m, 2),
                                         SPAN_NONE));
        }
        break;
    case 12: make_loop(m); break;
    case 13: make_row(m, u); break;
    default: make_call(m); break;
    }
    /* nothing grows without bound */
    if (m->field_count && pick(m, 3) == 0)
        m->fields[m->field_count - 1] = unary(m, OP_TANH, m->fields[m->field_count - 1]);
}

static void make_nodes(Maker *m, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) make_node(m);
}

static void one_program(uint64_t seed) {
    uint64_t s = seed;
    uint32_t rank = 1 + (uint32_t)(next_random(&s) % 3);
    int64_t extent[3];
    for (uint32_t a = 0; a < 3; a++)
        extent[a] = 3 + (int64_t)(next_random(&s) % (a == 0 ? 50 : rank == 3 ? 5 : 12));
    Case c = start(rank, extent);
    Maker m = {.c = &c, .seed = s, .f = c.f};
    add_field(&m, field_input(&c, 1, s + 1, -1, 1));
    add_field(&m, field_input(&c, 2, s + 2, -1, 1));
    add_scalar(&m, graph_const(c.m, c.f, 0.37));
    make_nodes(&m, 6 + pick(&m, 14));
    for (uint32_t i = 0; i < 3; i++)
        show(&c, m.fields[m.field_count - 1 - pick(&m, m.field_count < 6 ? m.field_count : 6)]);
    show(&c, m.scalars[m.scalar_count - 1]);
    char what[100];
    snprintf(what, sizeof what, "PDN_RANDOM_SEED=%llu rank %u %lld", (unsigned long long)seed, rank,
             (long long)extent[0]);
    double d = differ(&c, true, 1);
    cr_expect(d >= 0 && d <= 1e-9, "%s: f64 is off by %g", what, d);
    Numbers one = c.run.seen;
    c.run.seen = (Numbers){0};
    d = differ(&c, true, 2);
    cr_expect(one.len == c.run.seen.len &&
                  memcmp(one.data, c.run.seen.data, sizeof(double) * one.len) == 0,
              "%s: other bits on two threads", what);
    vec_free(&one);
    if (seed % 4 == 0) {
        d = differ(&c, false, 2);
        cr_expect(d >= 0 && d <= 2e-3, "%s: f32 is off by %g", what, d);
    }
    finish(&c);
}

Test(code_random, programs) {
    const char *count = getenv("PDN_RANDOM"), *one = getenv("PDN_RANDOM_SEED");
    if (one) {
        one_program(strtoull(one, NULL, 10));
        return;
    }
    uint64_t n = count ? strtoull(count, NULL, 10) : 30;
    for (uint64_t seed = 1; seed <= n; seed++) one_program(seed);
}
