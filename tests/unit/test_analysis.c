/* analysis: ranges, norms, Lipschitz constants and steps: never below the truth, tight where it
 * is known; and what has no proof is not proved. */
#include "tests/unit/build_graph.h"

#include <criterion/criterion.h>

/* Norm of the linear part by power iteration on AᵀA: a lower bound of the truth, near it. */
static double power_iteration(Bench *b, FuncId func) {
    FuncId back = transpose_func(b->m, func, NULL);
    cr_assert_neq(back, 0);
    Array v = random_array(
        b, graph_node(graph_get(b->m, func), graph_get(b->m, func)->params.data[0])->type, 11);
    double norm = 0;
    for (int i = 0; i < 300; i++) {
        Arena *keep = b->arena;
        b->arena = arena_new();
        Array av = run_func(b, func, &v), aav = run_func(b, back, &av);
        norm = sqrt(dot(&av, &av) / dot(&v, &v));
        double size = sqrt(dot(&aav, &aav));
        for (int64_t k = 0; k < v.size && size > 0; k++) v.data[k] = aav.data[k] / size;
        arena_free(b->arena);
        b->arena = keep;
        if (size == 0) break;
    }
    return norm;
}

static Stencil random_stencil(Bench *b, uint32_t rank, int reach, uint32_t in, uint32_t out,
                              uint64_t *seed) {
    static const SideKind kinds[] = {SIDE_PERIODIC, SIDE_EVEN, SIDE_ODD, SIDE_SLOPE, SIDE_GHOST};
    Stencil s = {.rank = rank, .in_channels = in, .out_channels = out};
    s.taps = ARENA_ARRAY(b->arena, Tap, 400);
    for (uint32_t a = 0; a < rank; a++) {
        s.sides[a][0] = kinds[(int)(fabs(noise(seed)) * 4.99)];
        s.sides[a][1] = s.sides[a][0] == SIDE_PERIODIC ? SIDE_PERIODIC
                                                       : kinds[1 + (int)(fabs(noise(seed)) * 3.99)];
    }
    for (int y = rank > 1 ? -reach : 0; y <= (rank > 1 ? reach : 0); y++)
        for (int x = -reach; x <= reach; x++)
            for (uint32_t c = 0; c < in * out; c++)
                if (noise(seed) > -0.3)
                    s.taps[s.count++] = (Tap){{x, y, 0}, c % in, c / in, noise(seed)};
    s.transposed = noise(seed) > 0;
    return s;
}

Test(analysis, norm_is_never_below_the_truth) {
    static const int64_t shapes[][2] = {{3, 2}, {5, 5}, {9, 4}, {16, 13}, {31, 18}, {2, 40}};
    for (uint64_t trial = 0; trial < 60; trial++) {
        uint64_t seed = trial * 7919 + 1;
        uint32_t rank = 1 + trial % 2;
        const int64_t *shape = shapes[trial % 6];
        if (shape[0] < 2 || (rank > 1 && shape[1] < 2)) continue;
        Bench b = bench_new(rank, shape, 1);
        int reach = 1 + (int)(trial % 3 == 0 && shape[0] > 4 && shape[1] > 4);
        Stencil s = random_stencil(&b, rank, reach, 1 + trial % 2, 1 + trial / 2 % 2, &seed);
        Node u = field_param(&b, s.transposed ? s.out_channels : s.in_channels),
             n = apply(&b, graph_stencil(b.m, &s), u);
        if (trial % 4 == 1) /* K, then its transpose: what diffusion makes */
            s.transposed = !s.transposed, n = apply(&b, graph_stencil(b.m, &s), n);
        if (trial % 5 == 2)
            n = bin(&b, OP_SUB, bin(&b, OP_MUL, n, number(&b, 0.3)), un(&b, OP_CHSUM, u));
        if (trial % 7 == 3)
            n = bin(&b, OP_MUL, n,
                    graph_add_typed(b.m, b.f, OP_EDGE, type_field(b.grid, 1), NULL, 0, 0, 1,
                                    SPAN_NONE));
        if (trial % 7 == 4)
            n = bin(&b, OP_MUL, n,
                    graph_add_typed(b.m, b.f, OP_COORD, type_field(b.grid, 1), NULL, 0, 0, 0,
                                    SPAN_NONE));
        returns(&b, n);
        NormBound bound = norm_bound(b.m, b.f, b.arena);
        double truth = power_iteration(&b, b.f);
        cr_assert(bound.proved, "trial %d: %s", (int)trial, bound.missing);
        cr_assert(bound.bound >= truth * (1 - 1e-13), "trial %d: bound %.17g below %.17g (%s)",
                  (int)trial, bound.bound, truth, bound.theorem);
        cr_assert(bound.bound <= truth * 2.5 + 1e-9, "trial %d: bound %g far from %g (%s)",
                  (int)trial, bound.bound, truth, bound.theorem);
        /* a bound for every size holds for this one */
        int64_t unknown[2] = {-1, -1};
        if (trial % 7 != 4 && rank == 1) {
            Bench any = bench_new(rank, unknown, 1);
            Node v = field_param(&any, graph_node(bench_func(&b), u)->type.channels);
            (void)v;
            Module *m = any.m;
            for (uint32_t i = 1; i < b.m->stencils.len; i++)
                graph_stencil(m, &b.m->stencils.data[i]);
            Text text = {0};
            graph_print(b.m, &text);
            char *at = strstr(text.data, "extent");
            char *end = strstr(text.data, " spacing");
            Text other = {0};
            text_add(&other, text.data, (size_t)(at - text.data));
            text_puts(&other, "extent -1");
            text_puts(&other, end);
            char *error = NULL;
            Module *sized = graph_read(b.names, other.data, other.len, &error);
            cr_assert_not_null(sized, "%s", error);
            NormBound every = norm_bound(sized, b.f, b.arena);
            cr_assert(every.proved);
            cr_assert(every.bound >= truth * (1 - 1e-13), "trial %d: %g for every size, below %g",
                      (int)trial, every.bound, truth);
            graph_free(sized);
            text_free(&text);
            text_free(&other);
            bench_free(&any);
        }
        bench_free(&b);
    }
}

Test(analysis, norm_of_gradients_is_sharp) {
    for (uint32_t rank = 1; rank <= 3; rank++)
        for (int large = 0; large < 2; large++) {
            Bench b = bench_new(
                rank, (const int64_t[]){large ? 4000 : 40, large ? 300 : 31, large ? 200 : 20},
                0.5);
            returns(&b, apply(&b, gradient_stencil(&b, SIDE_EVEN, false), field_param(&b, 1)));
            NormBound bound = norm_bound(b.m, b.f, b.arena);
            cr_assert(bound.proved);
            cr_assert(bound.bound * bound.bound <= 4 * rank / 0.25 * (1 + 1e-12), "%.17g",
                      bound.bound);
            cr_assert(bound.bound * bound.bound >= 4 * rank / 0.25 * 0.97, "%.17g", bound.bound);
            bench_free(&b);
        }
}

Test(analysis, norm_of_small_grids_and_other_operators) {
    Bench b = bench_new(1, (const int64_t[]){16}, 1);
    Node u = field_param(&b, 1);
    Node mean = bin(&b, OP_DIV, un(&b, OP_SUM, u), number(&b, 16));
    returns(&b, bin(&b, OP_SUB, u,
                    graph_add_typed(b.m, b.f, OP_SPREAD, type_field(b.grid, 1), &mean, 1, 0, 0,
                                    SPAN_NONE)));
    NormBound bound = norm_bound(b.m, b.f, b.arena); /* a projection */
    cr_assert(bound.proved && bound.bound >= 1 - 1e-12 && bound.bound < 2, "%g", bound.bound);
    bench_func(&b)->results.len = 0;
    returns(&b, un(&b, OP_PROLONG, un(&b, OP_RESTRICT, u)));
    bound = norm_bound(b.m, b.f, b.arena);
    cr_assert(bound.proved && fabs(bound.bound - 1) < 1e-6, "%g", bound.bound);
    bench_func(&b)->results.len = 0;
    returns(&b, bin(&b, OP_MUL, u, u));
    bound = norm_bound(b.m, b.f, b.arena);
    cr_assert(!bound.proved && bound.missing);
    bench_func(&b)->results.len = 0;
    returns(&b, bin(&b, OP_MUL, u, field_param(&b, 1)));
    bound = norm_bound(b.m, b.f, b.arena);
    cr_assert(!bound.proved && strstr(bound.missing, "known only"));
    bench_free(&b);
}

Test(analysis, norm_of_periodic_averages_by_their_symbol) {
    /* (u[i-1] + 2 u[i] + u[i+1]) / 4 - u[i] has symbol -(1 - cos θ) / 2; the second difference
     * of fourth order */
    Bench b = bench_new(1, (const int64_t[]){-1}, 1);
    Tap taps[] = {{{-2, 0, 0}, 0, 0, -1. / 12},
                  {{-1, 0, 0}, 0, 0, 16. / 12},
                  {{0, 0, 0}, 0, 0, -30. / 12},
                  {{1, 0, 0}, 0, 0, 16. / 12},
                  {{2, 0, 0}, 0, 0, -1. / 12}};
    Tap skew[] = {{{-1, 0, 0}, 0, 0, -0.5}, {{0, 0, 0}, 0, 0, 1}, {{1, 0, 0}, 0, 0, 0.5}};
    Stencil s = {.rank = 1, .in_channels = 1, .out_channels = 1, .taps = taps, .count = 5};
    Node u = field_param(&b, 1);
    returns(&b, apply(&b, graph_stencil(b.m, &s), u));
    NormBound bound = norm_bound(b.m, b.f, b.arena);
    cr_assert(bound.proved && bound.bound >= 16. / 3 && bound.bound < 16. / 3 * (1 + 1e-5), "%.17g",
              bound.bound);
    bench_func(&b)->results.len = 0;
    s.taps = skew, s.count = 3; /* 1 + i sin θ: norm √2, where row sums give 2 */
    returns(&b, apply(&b, graph_stencil(b.m, &s), u));
    bound = norm_bound(b.m, b.f, b.arena);
    cr_assert(bound.proved && bound.bound >= sqrt(2) && bound.bound < sqrt(2) * (1 + 1e-5), "%.17g",
              bound.bound);
    bench_free(&b);
}

/* ---- random chains of stencils, masks and sums -------------------------------------------------- */

/* Taps from -reach to ahead on every axis, on random channels; sides of any kind. */
static Node random_link(Bench *b, Node x, uint64_t *seed) {
    uint32_t rank = b->m->grids.data[b->grid].rank;
    uint32_t in = graph_node(bench_func(b), x)->type.channels, out = 1 + (fabs(noise(seed)) < 0.4);
    static const SideKind kinds[] = {SIDE_PERIODIC, SIDE_EVEN, SIDE_ODD, SIDE_SLOPE, SIDE_GHOST};
    int low = -(int)(fabs(noise(seed)) * (rank == 2 ? 2.99 : 3.99));
    int high = (int)(fabs(noise(seed)) * (rank == 2 ? 1.99 : 2.99));
    Stencil s = {.rank = rank, .in_channels = in, .out_channels = out};
    s.transposed = noise(seed) > 0;
    s.taps = ARENA_ARRAY(b->arena, Tap, 200);
    for (uint32_t a = 0; a < rank; a++) {
        s.sides[a][0] = s.sides[a][1] = kinds[(int)(fabs(noise(seed)) * 4.99)];
        if (s.sides[a][0] != SIDE_PERIODIC)
            s.sides[a][1] = kinds[1 + (int)(fabs(noise(seed)) * 3.99)];
    }
    for (int y = rank > 1 ? low : 0; y <= (rank > 1 ? high : 0); y++)
        for (int i = low; i <= high; i++)
            for (uint32_t c = 0; c < in * out; c++)
                if (noise(seed) > -0.2)
                    s.taps[s.count++] = (Tap){{i, y, 0}, c % in, c / in, noise(seed)};
    for (uint32_t k = 0; k < s.count && s.transposed; k++)
        s.taps[k] = (Tap){{s.taps[k].offset[0], s.taps[k].offset[1], 0},
                          s.taps[k].to,
                          s.taps[k].from,
                          s.taps[k].weight};
    if (s.transposed) {
        s.in_channels = out;
        s.out_channels = in;
    }
    x = apply(b, graph_stencil(b->m, &s), x);
    if (noise(seed) > 0) return x;
    Node edge = graph_add_typed(b->m, b->f, OP_EDGE, type_field(b->grid, 1), NULL, 0, rank - 1,
                                noise(seed) > 0, SPAN_NONE);
    if (noise(seed) > 0) return bin(b, OP_MUL, x, bin(b, OP_SUB, number(b, 1), edge));
    Node larger = bin(b, OP_MUL, x, number(b, 3));
    return graph_add(b->m, b->f, OP_WHERE, (Node[]){edge, larger, x}, 3, 0, 0, SPAN_NONE);
}

/* One-sided stencils, folds at every kind of side, masks: the small grids must show every row. */
Test(analysis, norm_of_random_chains) {
    int compared = 0;
    for (uint64_t trial = 0; trial < 200; trial++) {
        uint64_t seed = trial * 7919 + 17;
        for (int i = 0; i < 5; i++) noise(&seed);
        uint32_t rank = trial % 3 == 0 ? 2 : 1;
        int64_t extent[2] = {1 + (int64_t)(fabs(noise(&seed)) * (rank == 2 ? 14 : 40)),
                             1 + (int64_t)(fabs(noise(&seed)) * 14)};
        Bench b = bench_new(rank, extent, 1);
        Node u = field_param(&b, 1 + (fabs(noise(&seed)) < 0.3)), x = u;
        int links = 1 + (int)(fabs(noise(&seed)) * 2.99);
        for (int i = 0; i < links; i++) x = random_link(&b, x, &seed);
        returns(&b, x);
        Array probe = random_array(&b, graph_node(bench_func(&b), u)->type, 1);
        if (run_func(&b, b.f, &probe).data) { /* else the grid is smaller than a reach */
            double truth = power_iteration(&b, b.f);
            NormBound bound = norm_bound(b.m, b.f, b.arena);
            cr_assert(bound.proved, "trial %d: %s", (int)trial, bound.missing);
            cr_assert(bound.bound >= truth * (1 - 1e-12), "trial %d: %.17g below %.17g (%s)",
                      (int)trial, bound.bound, truth, bound.theorem);
            compared += truth > 0;
            b.m->grids.data[b.grid].extent[0] = rank == 1 ? -1 : extent[0];
            bound = norm_bound(b.m, b.f, b.arena);
            cr_assert(bound.proved && bound.bound >= truth * (1 - 1e-12),
                      "trial %d, every size: %.17g below %.17g", (int)trial, bound.bound, truth);
        }
        bench_free(&b);
    }
    cr_assert(compared > 100, "%d", compared);
}

/* ---- ranges ------------------------------------------------------------------------------ */

static Node square_of(Bench *b, Node x) { return bin(b, OP_MUL, x, x); }

Test(analysis, ranges_of_diffusivities_are_exact) {
    Bench b = bench_new(2, (const int64_t[]){8, 8}, 1);
    Node g = apply(&b, gradient_stencil(&b, SIDE_EVEN, false), field_param(&b, 1));
    Node q = bin(&b, OP_DIV, un(&b, OP_CHSUM, square_of(&b, g)), number(&b, 0.03 * 0.03)),
         one = number(&b, 1);
    Node s8 = square_of(&b, square_of(&b, q));
    Node weickert = bin(&b, OP_SUB, one, un(&b, OP_EXP, bin(&b, OP_DIV, number(&b, -3.31488), s8)));
    Node list[] = {bin(&b, OP_DIV, one, bin(&b, OP_ADD, one, q)),
                   bin(&b, OP_DIV, one, un(&b, OP_SQRT, bin(&b, OP_ADD, one, q))),
                   un(&b, OP_EXP, bin(&b, OP_DIV, un(&b, OP_NEG, q), number(&b, 2))),
                   graph_add(b.m, b.f, OP_WHERE,
                             (Node[]){bin(&b, OP_LE, q, number(&b, 0)), one, weickert}, 3, 0, 0,
                             SPAN_NONE)};
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        Interval r = range_of(b.m, b.f, list[i]);
        cr_assert_eq(r.high, 1, "%zu: %.17g", i, r.high);
        cr_assert_eq(r.low, 0, "%zu: %.17g", i, r.low);
    }
    bench_free(&b);
}

/* Every pointwise op's range contains its values. */
Test(analysis, ranges_contain_values) {
    uint64_t seed = 5;
    for (Op op = 1; op < OP_COUNT; op++) {
        if (op_info(op)->class != CLASS_POINTWISE) continue;
        for (int trial = 0; trial < 200; trial++) {
            Bench b = bench_new(1, (const int64_t[]){1}, 1);
            uint32_t count = (uint32_t)op_info(op)->operands;
            double scale = trial % 3 == 0 ? 1 : trial % 3 == 1 ? 30 : 1e-3;
            double at[3];
            Node x[3], c[3];
            for (uint32_t i = 0; i < count; i++) {
                /* max(min(p, high), low) has the range [low, high] */
                double a = scale * noise(&seed), z = scale * noise(&seed),
                       t = 0.5 + 0.5 * noise(&seed);
                double low = fmin(a, z), high = fmax(a, z);
                at[i] = fmin(high, fmax(low, low + t * (high - low)));
                x[i] = graph_param(b.m, b.f, type_scalar(), 0);
                x[i] = bin(&b, OP_MAX, bin(&b, OP_MIN, x[i], number(&b, high)), number(&b, low));
                c[i] = number(&b, at[i]);
            }
            double value;
            Node n = graph_add(b.m, b.f, op, x, count, 0, 0, SPAN_NONE);
            Interval r = range_of(b.m, b.f, n);
            cr_assert(graph_is_const(bench_func(&b),
                                     graph_add(b.m, b.f, op, c, count, 0, 0, SPAN_NONE), &value));
            cr_assert(isnan(value) || (r.low <= value && value <= r.high),
                      "%s: %.17g outside %.17g … %.17g", op_info(op)->name, value, r.low, r.high);
            bench_free(&b);
        }
    }
}

Test(analysis, lipschitz_constants) {
    const struct {
        int kind;
        double truth;
    } cases[] = {{0, 1},        {1, 1},   {2, 1},
                 {3, 1},        {4, 2},   {5, HUGE_VAL},
                 {6, HUGE_VAL}, {7, 0.5}, {8, 1.1283791670955126},
                 {9, 0.25},     {10, 1},  {11, 1.1283791670955126}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Bench b = bench_new(1, (const int64_t[]){1}, 1);
        Node s = graph_param(b.m, b.f, type_scalar(), 0), one = number(&b, 1), zero = number(&b, 0);
        Node f = NODE_NONE;
        switch (cases[i].kind) {
        case 0:
            f = bin(&b, OP_DIV, s,
                    bin(&b, OP_ADD, one, bin(&b, OP_DIV, square_of(&b, s), number(&b, 0.01))));
            break;
        case 1: f = un(&b, OP_TANH, s); break;
        case 2: f = bin(&b, OP_MAX, s, zero); break;
        case 3:
            f = graph_add(b.m, b.f, OP_WHERE, (Node[]){bin(&b, OP_LT, zero, s), s, zero}, 3, 0, 0,
                          SPAN_NONE);
            break;
        case 4: f = bin(&b, OP_SUB, s, un(&b, OP_SIN, s)); break;
        case 5: f = square_of(&b, s); break;
        case 6:
            f = graph_add(b.m, b.f, OP_WHERE, (Node[]){bin(&b, OP_LT, zero, s), one, zero}, 3, 0, 0,
                          SPAN_NONE);
            break;
        case 7: f = bin(&b, OP_MUL, un(&b, OP_ABS, s), number(&b, 0.5)); break;
        case 8: f = un(&b, OP_ERF, s); break;
        case 9: f = un(&b, OP_SIGMOID, s); break;
        case 10: f = un(&b, OP_SOFTPLUS, s); break;
        case 11: f = un(&b, OP_ERFC, s); break;
        }
        returns(&b, f);
        double bound = lipschitz_bound(b.m, b.f, b.arena);
        if (isinf(cases[i].truth))
            cr_assert(isinf(bound), "case %zu: %g", i, bound);
        else
            cr_assert(bound >= cases[i].truth && bound <= cases[i].truth * (1 + 1e-6),
                      "case %zu: %.17g", i, bound);
        bench_free(&b);
    }
}

static Node small_conv(Bench *b, Op op, Node u, uint32_t size, uint32_t stride) {
    Conv c = {.rank = 2,
              .in = 1,
              .out = 1,
              .groups = 1,
              .size = {size, 3, 1},
              .stride = {stride, stride, 1},
              .dilation = {1, 1, 1}};
    Node w = graph_param(b->m, b->f, type_field(graph_row(b->m, 3 * size), 1), 0);
    Node n = graph_add(b->m, b->f, op, (Node[]){u, w}, 2, graph_conv(b->m, &c), 0,
                       (Span){1, size, size});
    return n;
}

/* n cells suffice exactly when all that is read beyond a side lies in the grid, itself or halved or doubled. */
Test(analysis, least_extents) {
    Bench b = bench_new(2, (const int64_t[]){-1, -1}, 1);
    LeastExtents e;
    Node u = field_param(&b, 1);
    returns(&b, un(&b, OP_SUM, u));
    extents_least(b.m, b.f, b.grid, &e);
    cr_assert(e.least[0] == 1 && e.least[1] == 1 && e.span[0].file == 0);
    Node half = un(&b, OP_RESTRICT, u), quarter = un(&b, OP_RESTRICT, half);
    returns(&b, small_conv(&b, OP_CONV, u, 7, 1)); /* 3 cells */
    extents_least(b.m, b.f, b.grid, &e);
    cr_assert(e.least[0] == 3 && e.least[1] == 1 && e.span[0].begin == 7);
    small_conv(&b, OP_CONV, u, 99, 1);                   /* not needed */
    returns(&b, small_conv(&b, OP_CONV, quarter, 9, 1)); /* 4 quarter cells: 7 halves, 13 */
    extents_least(b.m, b.f, b.grid, &e);
    cr_assert(e.least[0] == 13 && e.least[1] == 1 && e.span[0].begin == 9, "%ld", (long)e.least[0]);
    returns(&b, small_conv(&b, OP_CONVT, half, 29, 2)); /* onto u's grid: 14 of its cells */
    extents_least(b.m, b.f, b.grid, &e);
    cr_assert(e.least[0] == 14 && e.span[0].begin == 29, "%ld", (long)e.least[0]);
    returns(&b, small_conv(&b, OP_CONV, un(&b, OP_PROLONG, u), 61, 1)); /* 30 of twice as many */
    extents_least(b.m, b.f, b.grid, &e);
    cr_assert(e.least[0] == 15 && e.span[0].begin == 61, "%ld", (long)e.least[0]);
    bench_free(&b);
}
