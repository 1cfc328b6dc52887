/* Compiled code against the reference interpreter. */
#include "tests/unit/cases.h"

#include <criterion/criterion.h>

static void check(Case *c, double f32, double f64, const char *what) {
    double d = differ(c, false, 1);
    if (getenv("SHOW_PLAN"))
        fprintf(stderr, "%s: %u numbers, f32 off by %g\n", what, c->run.seen.len, d);
    cr_expect(d >= 0 && d <= f32, "%s in f32 is off by %g", what, d);
    Numbers one = c->run.seen;
    c->run.seen = (Numbers){0};
    d = differ(c, false, 2);
    cr_expect(one.len == c->run.seen.len &&
                  memcmp(one.data, c->run.seen.data, sizeof(double) * one.len) == 0,
              "%s: other bits on two threads", what);
    vec_free(&one);
    d = differ(c, true, 2);
    cr_expect(d >= 0 && d <= f64, "%s in f64 is off by %g", what, d);
}

/* ---- every pointwise op, from the table ---- */

Test(code, pointwise_ops) {
    for (Op op = 1; op < OP_COUNT; op++) {
        const OpInfo *info = op_info(op);
        if (info->class != CLASS_POINTWISE) continue;
        Case c = start(2, (int64_t[]){37, 5});
        bool positive = op == OP_POW || op == OP_LOG || op == OP_LOG2 || op == OP_SQRT;
        bool unit = op == OP_ASIN || op == OP_ACOS;
        Node x[3];
        for (int i = 0; i < info->operands; i++)
            x[i] = field_input(&c, 1, 3u + (uint64_t)i,
                               positive ? 0.1
                               : unit   ? -0.99
                                        : -3,
                               unit ? 0.99 : 3);
        if (op == OP_EQ || op == OP_NE) x[1] = graph_unary(c.m, c.f, OP_ABS, x[0], SPAN_NONE);
        if (op == OP_AND || op == OP_OR || op == OP_NOT || op == OP_WHERE) {
            Node zero = graph_const(c.m, c.f, 0);
            x[0] = graph_binary(c.m, c.f, OP_MAX, x[0], zero, SPAN_NONE);
        }
        show(&c, graph_add(c.m, c.f, op, x, (uint32_t)info->operands, 0, 0, SPAN_NONE));
        check(&c, 2e-6, 1e-14, info->name);
        finish(&c);
    }
}

/* ---- stencils: sides × rank × sizes × forward and transposed ---- */

static const char *const side_names[] = {"periodic", "even", "odd", "slope", "ghost"};

static Stencil random_stencil(Case *c, uint32_t rank, int reach, const SideKind *kinds,
                              bool transposed, bool values, uint64_t *seed) {
    Stencil s = {.rank = rank,
                 .in_channels = 1 + next_random(seed) % 2,
                 .out_channels = 1 + next_random(seed) % 2,
                 .transposed = transposed};
    for (uint32_t a = 0; a < rank; a++)
        for (int side = 0; side < 2; side++) {
            s.sides[a][side] =
                kinds[a] == SIDE_PERIODIC ? SIDE_PERIODIC : kinds[(a + (uint32_t)side) % rank];
            if (kinds[a] != SIDE_PERIODIC && s.sides[a][side] == SIDE_PERIODIC)
                s.sides[a][side] = kinds[a];
            s.has_value[a][side] =
                values && (s.sides[a][side] == SIDE_ODD || s.sides[a][side] == SIDE_SLOPE ||
                           s.sides[a][side] == SIDE_GHOST);
        }
    s.taps = ARENA_ARRAY(c->m->arena, Tap, 40);
    uint32_t wanted = 3 + next_random(seed) % 6;
    for (uint32_t i = 0; i < wanted; i++) {
        Tap t = {.from = next_random(seed) % s.in_channels,
                 .to = next_random(seed) % s.out_channels};
        for (uint32_t a = 0; a < rank; a++)
            t.offset[a] = (int32_t)(next_random(seed) % (uint64_t)(2 * reach + 1)) - reach;
        t.weight = (double)(float)(uniform(seed) * 2 - 1);
        bool twice = false;
        for (uint32_t k = 0; k < s.count; k++)
            twice = twice || (memcmp(s.taps[k].offset, t.offset, sizeof t.offset) == 0 &&
                              s.taps[k].from == t.from && s.taps[k].to == t.to);
        if (!twice) s.taps[s.count++] = t;
    }
    return s;
}

static void one_stencil(uint32_t rank, const int64_t *extent, int reach, const SideKind *kinds,
                        bool transposed, bool values, int chain, uint64_t seed) {
    Case c = start(rank, extent);
    Stencil s = random_stencil(&c, rank, reach, kinds, transposed, values, &seed);
    uint32_t in = transposed ? s.out_channels : s.in_channels;
    Node u = field_input(&c, in, seed, -1, 1);
    Node v = field_input(&c, 1, seed + 5, -1, 1);
    Node operands[7] = {u};
    uint32_t count = 1;
    for (uint32_t a = 0; a < rank; a++)
        for (int side = 0; side < 2; side++)
            if (s.has_value[a][side])
                operands[count] = count % 2 ? v : graph_const(c.m, c.f, 0.75), count++;
    StencilId id = graph_stencil(c.m, &s);
    for (int i = 0; i < chain; i++) {
        if (i > 0 && s.in_channels != s.out_channels) break;
        u = graph_add(c.m, c.f, OP_STENCIL, operands, count, id, 0, SPAN_NONE);
        operands[0] = u;
    }
    show(&c, u);
    show(&c,
         graph_unary(c.m, c.f, OP_SUM, graph_binary(c.m, c.f, OP_MUL, u, u, SPAN_NONE), SPAN_NONE));
    char what[200];
    snprintf(what, sizeof what,
             "rank %u %lldx%lldx%lld reach %d sides %s %s transposed %d values %d chain %d", rank,
             (long long)extent[0], (long long)extent[1], (long long)extent[2], reach,
             side_names[kinds[0]], side_names[kinds[rank - 1]], transposed, values, chain);
    if (seed % 4 == 0) {
        check(&c, 1e-5, 1e-13, what);
    } else {
        bool f64 = seed % 2;
        double d = differ(&c, f64, 1 + (int)(seed / 4 % 2));
        cr_expect(d >= 0 && d <= (f64 ? 1e-13 : 1e-5), "%s in %s is off by %g", what,
                  f64 ? "f64" : "f32", d);
    }
    finish(&c);
}

static void stencils_of_rank(uint32_t rank) {
    static const int64_t sizes[][3] = {{3, 3, 3}, {2, 5, 4}, {37, 6, 3}, {70, 4, 5}, {33, 33, 3}};
    uint64_t seed = 11 + rank;
    for (size_t n = 0; n < sizeof sizes / sizeof *sizes; n++)
        for (SideKind a = SIDE_PERIODIC; a <= SIDE_GHOST; a++)
            for (int how = 0; how < 4; how++) {
                SideKind kinds[3] = {a, (SideKind)((a + 1 + n) % 5), (SideKind)((a + 3) % 5)};
                int reach = 1 + (int)(next_random(&seed) % 2);
                bool transposed = how % 2;
                one_stencil(rank, sizes[n], reach, kinds, transposed, !transposed && n % 2 == 0,
                            1 + how / 2, next_random(&seed));
            }
}

Test(code, stencils_1d) { stencils_of_rank(1); }
Test(code, stencils_2d) { stencils_of_rank(2); }
Test(code, stencils_3d) { stencils_of_rank(3); }

/* ---- loops, history, trajectories, reductions, calls ---- */

Test(code, explicit_diffusion_loop) {
    for (uint32_t rank = 1; rank <= 3; rank++) {
        Case c = start(rank, rank == 3 ? (int64_t[]){21, 9, 7} : (int64_t[]){67, 13, 1});
        Node u = field_input(&c, 1, 5, 0, 1), p[2];
        FuncId body = body_of(&c, "step", 1, p);
        result(&c, body, diffusion_step(&c, body, p[1], 0.3, 0.02));
        Node loop = loop_of(&c, body, 17, &u, 1, 0,
                            (Loop){.stride = 5, .collect = (uint32_t[]){0}, .collected = 1});
        Node last = graph_result(c.m, c.f, loop, 0), film = graph_result(c.m, c.f, loop, 2);
        show(&c, last);
        show(&c, graph_result(c.m, c.f, loop, 1));
        show(&c, film);
        show(&c, graph_unary(c.m, c.f, OP_FRAMES, film, SPAN_NONE));
        Node frame = graph_binary(c.m, c.f, OP_FRAME, film, graph_const(c.m, c.f, -2), SPAN_NONE);
        show(&c, graph_unary(c.m, c.f, OP_SUM, frame, SPAN_NONE));
        show(&c, graph_unary(c.m, c.f, OP_LEAST, last, SPAN_NONE));
        show(&c, graph_unary(c.m, c.f, OP_LARGEST, last, SPAN_NONE));
        check(&c, 2e-6, 1e-13, "diffusion loop");
        cr_expect(c.run.progress >= 1);
        finish(&c);
    }
}

/* u[k+1] = (4k + 2)/(2k + 3) (u[k] + tau L u[k]) + … u[k-1]: history by rotating pointers; f stays. */
Test(code, history_and_stop) {
    Case c = start(2, (int64_t[]){40, 11});
    Node f = field_input(&c, 1, 5, 0, 1), p[4];
    FuncId body = body_of(&c, "cycle", 3, p); /* u[k], u[k-1], f */
    Node lap = graph_add(c.m, body, OP_STENCIL, &p[1], 1, laplacian(&c, SIDE_EVEN), 0, SPAN_NONE);
    Node a = graph_binary(
        c.m, body, OP_DIV,
        graph_binary(c.m, body, OP_ADD, p[0], graph_const(c.m, body, 0.7), SPAN_NONE),
        graph_binary(c.m, body, OP_ADD, p[0], graph_const(c.m, body, 3), SPAN_NONE), SPAN_NONE);
    Node step = graph_binary(
        c.m, body, OP_ADD, p[1],
        graph_binary(c.m, body, OP_MUL, graph_const(c.m, body, 0.03), lap, SPAN_NONE), SPAN_NONE);
    Node rest = graph_binary(c.m, body, OP_SUB, graph_const(c.m, body, 1), a, SPAN_NONE);
    Node next = graph_binary(c.m, body, OP_ADD, graph_binary(c.m, body, OP_MUL, a, step, SPAN_NONE),
                             graph_binary(c.m, body, OP_MUL, rest, p[2], SPAN_NONE), SPAN_NONE);
    next = graph_binary(
        c.m, body, OP_ADD, next,
        graph_binary(c.m, body, OP_MUL, graph_const(c.m, body, 0.001), p[3], SPAN_NONE), SPAN_NONE);
    result(&c, body, next);
    result(&c, body, p[1]);
    Node change = graph_binary(c.m, body, OP_SUB, next, p[1], SPAN_NONE);
    Node norm = graph_unary(c.m, body, OP_SUM,
                            graph_binary(c.m, body, OP_MUL, change, change, SPAN_NONE), SPAN_NONE);
    result(&c, body, graph_binary(c.m, body, OP_LT, norm, graph_const(c.m, body, 0.05), SPAN_NONE));
    Node loop =
        loop_of(&c, body, 200, (Node[]){f, f, f}, 2, 1, (Loop){.has_stop = true, .stride = 1});
    show(&c, graph_result(c.m, c.f, loop, 0));
    show(&c, graph_result(c.m, c.f, loop, 1));
    show(&c, graph_result(c.m, c.f, loop, 2));
    show(&c, f);
    check(&c, 1e-5, 1e-12, "history");
    finish(&c);
}

/* Loops in loops, a loop's result as the state of another, zero iterations, swapped states. */
Test(code, nested_loops) {
    Case c = start(2, (int64_t[]){19, 8});
    Node u = field_input(&c, 1, 5, 0, 1), v = field_input(&c, 1, 6, 0, 1), p[3], q[3];
    FuncId inner = body_of(&c, "inner", 2, p);
    result(&c, inner, diffusion_step(&c, inner, p[1], 0.3, 0.02));
    result(&c, inner, graph_binary(c.m, inner, OP_ADD, p[2], p[1], SPAN_NONE));
    FuncId outer = body_of(&c, "outer", 2, q);
    Loop l = {.body = inner, .states = 2, .stride = 1};
    Node operands[3] = {
        graph_binary(c.m, outer, OP_MUL, q[0], graph_const(c.m, outer, 2), SPAN_NONE), q[1], q[2]};
    Node run = graph_add(c.m, outer, OP_LOOP, operands, 3, graph_loop(c.m, &l), 0, SPAN_NONE);
    result(&c, outer, graph_result(c.m, outer, run, 1));
    result(&c, outer, graph_result(c.m, outer, run, 0));
    Node loop = loop_of(&c, outer, 4, (Node[]){u, v}, 2, 0,
                        (Loop){.stride = 2, .collect = (uint32_t[]){1}, .collected = 1});
    show(&c, graph_result(c.m, c.f, loop, 0));
    show(&c, graph_result(c.m, c.f, loop, 1));
    show(&c, graph_result(c.m, c.f, loop, 3));
    Node never = loop_of(&c, outer, 0, (Node[]){u, v}, 2, 0, (Loop){.stride = 2});
    show(&c, graph_result(c.m, c.f, never, 1));
    check(&c, 1e-5, 1e-12, "nested loops");
    finish(&c);
}

Test(code, resampling) {
    for (uint32_t rank = 1; rank <= 3; rank++) {
        Case c = start(rank, rank == 3 ? (int64_t[]){21, 8, 3} : (int64_t[]){67, 14, 1});
        Node u = field_input(&c, 2, 5, 0, 1);
        Node coarse = graph_unary(c.m, c.f, OP_RESTRICT, u, SPAN_NONE);
        Node coarser =
            graph_unary(c.m, c.f, OP_RESTRICT,
                        graph_binary(c.m, c.f, OP_MUL, coarse, coarse, SPAN_NONE), SPAN_NONE);
        Node back = graph_unary(c.m, c.f, OP_PROLONG,
                                graph_unary(c.m, c.f, OP_PROLONG, coarser, SPAN_NONE), SPAN_NONE);
        show(&c, coarser);
        Node first = graph_add(c.m, c.f, OP_RESTRICT, &u, 1, 1, 0, SPAN_NONE);
        show(&c, first);
        show(&c, graph_add(c.m, c.f, OP_PROLONG, &first, 1, 1, 0, SPAN_NONE));
        Node finer = graph_unary(c.m, c.f, OP_PROLONG, u, SPAN_NONE);
        show(&c, finer);
        show(&c, graph_unary(c.m, c.f, OP_RESTRICT,
                             graph_binary(c.m, c.f, OP_MUL, finer, finer, SPAN_NONE), SPAN_NONE));
        Node shared = graph_add(c.m, c.f, OP_RESTRICT, &u, 1, RESAMPLE_SHARES, 0, SPAN_NONE);
        Node shared_again =
            graph_add(c.m, c.f, OP_RESTRICT, &shared, 1, RESAMPLE_SHARES, 0, SPAN_NONE);
        Node blended =
            graph_add(c.m, c.f, OP_PROLONG, &shared_again, 1, RESAMPLE_SHARES, 0, SPAN_NONE);
        show(&c, shared_again);
        show(&c, graph_binary(c.m, c.f, OP_ADD, shared, blended, SPAN_NONE));
        show(&c, graph_add(c.m, c.f, OP_PROLONG, &blended, 1, RESAMPLE_SHARES, 0, SPAN_NONE));
        Node largest = graph_unary(c.m, c.f, OP_MAXPOOL, u, SPAN_NONE);
        show(&c, graph_unary(c.m, c.f, OP_MAXPOOL,
                             graph_unary(c.m, c.f, OP_TANH, largest, SPAN_NONE), SPAN_NONE));
        show(&c, op_info(OP_MAXPOOL)->derivative(c.m, c.f, largest, 0, coarse));
        show(&c, graph_binary(c.m, c.f, OP_SUB, u, back, SPAN_NONE));
        check(&c, 1e-6, 1e-14, "resampling");
        finish(&c);
    }
}

/* A normalisation of every channel, of few channels and of more than one launch sums. */
Test(code, rows_of_numbers) {
    static const uint32_t widths[] = {1, 3, 21};
    for (uint32_t i = 0; i < 6; i++) {
        uint32_t n = widths[i % 3];
        Case c = start(i < 3 ? 2 : 3, i < 3 ? (int64_t[]){37, 9} : (int64_t[]){19, 5, 4});
        Node u = field_input(&c, n, 5, -1, 1), numbers[21];
        Type t = type_field(c.grid, n);
        for (uint32_t k = 0; k < n; k++)
            numbers[k] = k == 2 ? graph_unary(c.m, c.f, OP_LARGEST, u, SPAN_NONE)
                                : graph_const(c.m, c.f, 0.1 * k - 0.7);
        Node row = graph_add(c.m, c.f, OP_ROW, numbers, n, 0, 0, SPAN_NONE);
        Node count = graph_const(c.m, c.f, i < 3 ? 37 * 9 : 19 * 5 * 4);
        Node mean = graph_binary(c.m, c.f, OP_DIV, graph_unary(c.m, c.f, OP_TOTALS, u, SPAN_NONE),
                                 count, SPAN_NONE);
        Node off = graph_binary(
            c.m, c.f, OP_SUB, u,
            graph_add_typed(c.m, c.f, OP_BYCHANNEL, t, &mean, 1, 0, 0, SPAN_NONE), SPAN_NONE);
        Node squares = graph_unary(c.m, c.f, OP_TOTALS,
                                   graph_binary(c.m, c.f, OP_MUL, off, off, SPAN_NONE), SPAN_NONE);
        Node scale = graph_binary(
            c.m, c.f, OP_DIV, row,
            graph_unary(c.m, c.f, OP_SQRT,
                        graph_binary(c.m, c.f, OP_DIV, squares, count, SPAN_NONE), SPAN_NONE),
            SPAN_NONE);
        Node out = graph_binary(
            c.m, c.f, OP_MUL, off,
            graph_add_typed(c.m, c.f, OP_BYCHANNEL, t, &scale, 1, 0, 0, SPAN_NONE), SPAN_NONE);
        show(&c, mean);
        show(&c, row);
        show(&c, scale);
        show(&c, out);
        show(&c, graph_add_typed(c.m, c.f, OP_BYCHANNEL, t, &row, 1, 0, 0, SPAN_NONE));
        show(&c, graph_add(c.m, c.f, OP_ENTRY, &scale, 1, n / 2, 0, SPAN_NONE));
        show(&c, graph_unary(c.m, c.f, OP_SUM, scale, SPAN_NONE));
        check(&c, 2e-6, 1e-13, "rows of numbers");
        finish(&c);
    }
}

/* Rows as states of loops, and where a row of one number is the grid as well. */
Test(code, rows_in_loops) {
    Case c = start(2, (int64_t[]){21, 6});
    Node u = field_input(&c, 2, 5, -1, 1),
         ends[2] = {graph_const(c.m, c.f, 0.5), graph_const(c.m, c.f, 2)};
    Node first = graph_add(c.m, c.f, OP_ROW, ends, 2, 0, 0, SPAN_NONE);
    FuncId body = graph_func(c.m, 0);
    Type t = type_field(c.grid, 2), row = type_field(graph_row(c.m, 2), 1);
    graph_param(c.m, body, type_scalar(), 0);
    Node p = graph_param(c.m, body, row, 0), q = graph_param(c.m, body, t, 0);
    Node by = graph_add_typed(c.m, body, OP_BYCHANNEL, t, &p, 1, 0, 0, SPAN_NONE);
    Node next = graph_unary(c.m, body, OP_TANH, graph_binary(c.m, body, OP_MUL, q, by, SPAN_NONE),
                            SPAN_NONE);
    result(&c, body,
           graph_binary(c.m, body, OP_MUL, graph_unary(c.m, body, OP_TOTALS, next, SPAN_NONE),
                        graph_const(c.m, body, 0.01), SPAN_NONE));
    result(&c, body, graph_binary(c.m, body, OP_ADD, next, by, SPAN_NONE));
    Node loop = loop_of(&c, body, 5, (Node[]){first, u}, 2, 0,
                        (Loop){.stride = 1, .collect = (uint32_t[]){0}, .collected = 1});
    Node film = graph_result(c.m, c.f, loop, 3), last = graph_result(c.m, c.f, loop, 0);
    show(&c, last);
    show(&c, film);
    show(&c, graph_result(c.m, c.f, loop, 1));
    Node one = graph_unary(c.m, c.f, OP_TOTALS, last, SPAN_NONE),
         more = graph_unary(c.m, c.f, OP_TOTALS, one, SPAN_NONE);
    show(&c, graph_binary(c.m, c.f, OP_ADD, one, more, SPAN_NONE));
    check(&c, 2e-6, 1e-13, "rows in loops");
    finish(&c);
}

/* Noise of its own at each step of every loop around it, the same bits in every mode. */
Test(code, noise_in_loops) {
    Case c = start(1, (int64_t[]){19});
    Node u = field_input(&c, 1, 5, -1, 1), p[2], q[3];
    FuncId inner = graph_func(c.m, 0), outer = body_of(&c, "outer", 1, q);
    p[0] = graph_param(c.m, inner, type_scalar(), 0);
    p[1] = graph_param(c.m, inner, type_field(c.grid, 1), 0);
    q[2] = graph_param(c.m, inner, type_scalar(), 0); /* the step of the loop outside */
    Node fresh = graph_add_typed(c.m, inner, OP_UNIFORM, type_field(c.grid, 1),
                                 (Node[]){q[2], p[0]}, 2, 7, 0, SPAN_NONE);
    result(&c, inner, fresh);
    Loop l = {.body = inner,
              .states = 1,
              .captured = 1,
              .stride = 1,
              .collect = (uint32_t[]){0},
              .collected = 1};
    Node run = graph_add(c.m, outer, OP_LOOP, (Node[]){graph_const(c.m, outer, 3), q[1], q[0]}, 3,
                         graph_loop(c.m, &l), 0, SPAN_NONE);
    Node film = graph_result(c.m, outer, run, 2);
    Node one = graph_binary(c.m, outer, OP_FRAME, film, graph_const(c.m, outer, 1), SPAN_NONE);
    Node two = graph_binary(c.m, outer, OP_FRAME, film, graph_const(c.m, outer, -1), SPAN_NONE);
    Node late = graph_add_typed(c.m, outer, OP_NORMAL, type_scalar(), &q[0], 1, 5000, 0, SPAN_NONE);
    result(&c, outer,
           graph_binary(c.m, outer, OP_ADD,
                        graph_binary(c.m, outer, OP_SUB, one,
                                     graph_binary(c.m, outer, OP_MUL, two,
                                                  graph_const(c.m, outer, 3), SPAN_NONE),
                                     SPAN_NONE),
                        late, SPAN_NONE));
    Node loop =
        loop_of(&c, outer, 4, &u, 1, 0,
                (Loop){.stride = 1, .start = -1, .collect = (uint32_t[]){0}, .collected = 1});
    show(&c, graph_result(c.m, c.f, loop, 2));
    for (int i = 0; i < 3; i++) { /* huge steps, no numbers, negative ones */
        Node k = graph_const(c.m, c.f, (double[]){3e19, NAN, -5}[i]);
        show(&c, graph_add_typed(c.m, c.f, OP_UNIFORM, type_field(c.grid, 1),
                                 (Node[]){k, graph_const(c.m, c.f, 2)}, 2, 3, 0, SPAN_NONE));
    }
    check(&c, 1e-6, 1e-15, "noise in loops");
    finish(&c);
}

static int mean_with(void *context, uint64_t place, void *data, int64_t count,
                     const int64_t *extent) {
    Run *r = context;
    cr_expect_eq(extent == NULL, count == 1, "a number has no extents, fields have");
    if (count > 2)
        cr_expect(extent[0] == 19 && extent[1] == 5 && extent[2] == 1,
                  "the extents of the field's grid");
    for (int64_t i = 0; i < count; i++) /* the other sample of the batch has zeros */
        if (r->f64)
            ((double *)data)[i] /= 2;
        else
            ((float *)data)[i] /= 2;
    return count == 1 && r->progress == 77; /* asked to stop */
}

static int reference_mean(void *context, uint64_t place, double *data, int64_t count,
                          const int64_t *extent) {
    for (int64_t i = 0; i < count; i++) data[i] /= 2;
    return 0;
}

Test(code, means_over_a_batch) {
    Case c = start(2, (int64_t[]){19, 5});
    Node u = field_input(&c, 2, 5, -1, 1);
    Node mean = graph_unary(c.m, c.f, OP_BATCHMEAN, graph_unary(c.m, c.f, OP_TANH, u, SPAN_NONE),
                            SPAN_NONE);
    Node sums = graph_unary(c.m, c.f, OP_BATCHMEAN, graph_unary(c.m, c.f, OP_TOTALS, u, SPAN_NONE),
                            SPAN_NONE);
    show(&c, u);
    show(&c, graph_binary(c.m, c.f, OP_SUB, u, mean, SPAN_NONE));
    show(&c, sums);
    show(&c, graph_unary(c.m, c.f, OP_BATCHMEAN, graph_unary(c.m, c.f, OP_SUM, u, SPAN_NONE),
                         SPAN_NONE));
    check(&c, 2e-6, 1e-14, "means of one sample");
    for (int stop = 0; stop < 2; stop++) {
        vec_free(&c.run.seen);
        free(c.run.grids);
        prepare(&c, true, 1);
        c.run.batch_mean = mean_with;
        c.run.reference_mean = reference_mean;
        char *error = NULL;
        c.run.progress = stop ? 77 : 0;
        double d = run_differential(&c.run, &error);
        if (stop)
            cr_expect_eq(c.run.status, PDN_ERROR_STOPPED);
        else
            cr_expect(d >= 0 && d < 1e-14, "means of two samples are off by %g", d);
        free(c.run.grids);
        c.run.grids = NULL;
    }
    finish(&c);
}

Test(code, sources_channels_and_noise) {
    Case c = start(2, (int64_t[]){35, 6});
    Type one = type_field(c.grid, 1);
    Node x = graph_add_typed(c.m, c.f, OP_COORD, one, NULL, 0, 0, 0, SPAN_NONE);
    Node y = graph_add_typed(c.m, c.f, OP_COORD, one, NULL, 0, 1, 0, SPAN_NONE);
    Node edge = graph_add_typed(c.m, c.f, OP_EDGE, one, NULL, 0, 0, 1, SPAN_NONE);
    Node low = graph_add_typed(c.m, c.f, OP_EDGE, one, NULL, 0, 1, 0, SPAN_NONE);
    Node noise = graph_add_typed(c.m, c.f, OP_UNIFORM, one, NULL, 0, 3, 0, SPAN_NONE);
    Node cells = graph_add_typed(c.m, c.f, OP_CELLS, type_scalar(), NULL, 0, c.grid, 0, SPAN_NONE);
    Node spread = graph_add_typed(c.m, c.f, OP_SPREAD, one, &cells, 1, 0, 0, SPAN_NONE);
    Node all[6] = {x, y, edge, low, noise, spread};
    Node many = graph_add(c.m, c.f, OP_CONCAT, all, 6, 0, 0, SPAN_NONE);
    show(&c, many);
    show(&c, graph_unary(c.m, c.f, OP_CHSUM, many, SPAN_NONE));
    show(&c, graph_add(c.m, c.f, OP_CHANNEL, &many, 1, 2, 0, SPAN_NONE));
    Node lap =
        graph_add(c.m, c.f, OP_STENCIL, &edge, 1, laplacian(&c, SIDE_PERIODIC), 0, SPAN_NONE);
    show(&c, lap);
    show(&c, graph_unary(c.m, c.f, OP_SUM, many, SPAN_NONE));
    show(&c, graph_binary(c.m, c.f, OP_DIV, graph_unary(c.m, c.f, OP_SUM, x, SPAN_NONE), cells,
                          SPAN_NONE));
    check(&c, 1e-6, 1e-6, "sources"); /* f32 noise has 24 bits */
    finish(&c);
}

Test(code, calls) {
    Case c = start(2, (int64_t[]){23, 9});
    Node u = field_input(&c, 1, 5, 0, 1), p[3];
    FuncId big = body_of(&c, "big", 1, p); /* holds a loop, so it stays a call */
    Node q[2];
    FuncId body = body_of(&c, "step", 1, q);
    result(&c, body, diffusion_step(&c, body, q[1], 0.3, 0.02));
    Loop l = {.body = body, .states = 1, .stride = 1};
    Node run = graph_add(c.m, big, OP_LOOP, p, 2, graph_loop(c.m, &l), 0, SPAN_NONE);
    Node end = graph_result(c.m, big, run, 0);
    result(&c, big, end);
    result(&c, big, graph_unary(c.m, big, OP_SUM, end, SPAN_NONE));
    result(&c, big, p[1]);
    Node s[2];
    FuncId small = body_of(&c, "small", 1, s);
    result(&c, small,
           graph_binary(c.m, small, OP_ADD, diffusion_step(&c, small, s[1], 0.3, 0.02), s[0],
                        SPAN_NONE));
    Node first =
        graph_add(c.m, c.f, OP_CALL, (Node[]){graph_const(c.m, c.f, 3), u}, 2, big, 0, SPAN_NONE);
    Node second =
        graph_add(c.m, c.f, OP_CALL,
                  (Node[]){graph_result(c.m, c.f, first, 1), graph_result(c.m, c.f, first, 0)}, 2,
                  small, 0, SPAN_NONE);
    Node third = graph_add(c.m, c.f, OP_CALL,
                           (Node[]){graph_const(c.m, c.f, 2), graph_result(c.m, c.f, second, 0)}, 2,
                           big, 0, SPAN_NONE);
    show(&c, graph_result(c.m, c.f, third, 0));
    show(&c, graph_result(c.m, c.f, third, 1));
    show(&c, graph_result(c.m, c.f, third, 2));
    show(&c, graph_result(c.m, c.f, first, 2));
    check(&c, 1e-5, 1e-12, "calls");
    finish(&c);
}
