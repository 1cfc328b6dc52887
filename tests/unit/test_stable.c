/* stable steps: the proofs that must be found, those that must not, and what the messages say. */
#include "tests/unit/build_graph.h"

#include <criterion/criterion.h>

enum { PERONA_MALIK, CHARBONNIER, EXPONENTIAL, WEICKERT, LINEAR, GROWING, NEGATIVE, TANH, TV_LIKE };

static Node flux_of(Bench *b, int kind, Node g, Node q) {
    Node one = number(b, 1);
    switch (kind) {
    case PERONA_MALIK: return bin(b, OP_MUL, bin(b, OP_DIV, one, bin(b, OP_ADD, one, q)), g);
    case CHARBONNIER: return bin(b, OP_DIV, g, un(b, OP_SQRT, bin(b, OP_ADD, one, q)));
    case EXPONENTIAL:
        return bin(b, OP_MUL, g, un(b, OP_EXP, bin(b, OP_DIV, un(b, OP_NEG, q), number(b, 2))));
    case WEICKERT: {
        Node q4 = bin(b, OP_POW, q, number(b, 4));
        Node d = bin(b, OP_SUB, one, un(b, OP_EXP, bin(b, OP_DIV, number(b, -3.31488), q4)));
        Node is_zero = bin(b, OP_LE, q, number(b, 0));
        return bin(b, OP_MUL,
                   graph_add(b->m, b->f, OP_WHERE, (Node[]){is_zero, one, d}, 3, 0, 0, SPAN_NONE),
                   g);
    }
    case LINEAR: return g;
    case GROWING: return bin(b, OP_MUL, g, q);
    case NEGATIVE: return bin(b, OP_MUL, g, un(b, OP_COS, q));
    case TANH: return un(b, OP_TANH, bin(b, OP_MUL, g, number(b, 3)));
    default: return bin(b, OP_DIV, g, un(b, OP_SQRT, q));
    }
}

/* F = -Kᵀ Φ(K u) with K the forward differences; `coupled` by the norm over channels, else by
 * channel. */
static void diffusion(Bench *b, int kind, SideKind side, bool coupled) {
    Node g = apply(b, gradient_stencil(b, side, false), field_param(b, 1));
    Node square = bin(b, OP_MUL, g, g);
    Node q = bin(b, OP_DIV, coupled ? un(b, OP_CHSUM, square) : square, number(b, 0.03 * 0.03));
    Node div = apply(b, gradient_stencil(b, side, true), flux_of(b, kind, g, q));
    returns(b, un(b, OP_NEG, div));
}

Test(stable, diffusion_on_photographs) {
    for (int kind = PERONA_MALIK; kind <= LINEAR; kind++)
        for (int side = 0; side < 5; side++)
            for (int coupled = 0; coupled < 2; coupled++) {
                SideKind kinds[] = {SIDE_EVEN, SIDE_PERIODIC, SIDE_GHOST, SIDE_ODD, SIDE_SLOPE};
                Bench b = bench_new(2, (const int64_t[]){256, 192}, 1);
                diffusion(&b, kind, kinds[side], coupled);
                uint32_t funcs = b.m->funcs.len;
                StepBound s = stable_step(b.m, b.f, b.arena);
                cr_assert(s.proved, "kind %d side %d: %s", kind, side, s.missing);
                double truth =
                    kinds[side] == SIDE_ODD ? 0 : 0.25; /* an odd face has a difference of 2 u */
                if (truth > 0) {
                    cr_assert_eq(s.step, truth, "kind %d side %d: %.17g", kind, side, s.step);
                    cr_assert_eq(s.lipschitz, 1);
                    cr_assert_float_eq(s.norm * s.norm, 8, 1e-12, "%.17g", s.norm * s.norm);
                }
                cr_assert_eq(b.m->funcs.len, funcs, "the analysis leaves nothing behind");
                if (kind == LINEAR) {
                    cr_assert(s.unstable >= s.step && s.unstable < s.step * (truth > 0 ? 1.1 : 1.7),
                              "%g %g", s.step, s.unstable);
                } else {
                    cr_assert(isinf(s.unstable));
                }
                bench_free(&b);
            }
}

Test(stable, steps_scale_with_spacing_rank_and_factors) {
    for (uint32_t rank = 1; rank <= 3; rank++) {
        Bench b = bench_new(rank, (const int64_t[]){200, 100, 90}, 0.5);
        diffusion(&b, PERONA_MALIK, SIDE_EVEN, true);
        Node r = bench_func(&b)->results.data[0];
        bench_func(&b)->results.data[0] = bin(&b, OP_MUL, r, number(&b, 4));
        StepBound s = stable_step(b.m, b.f, b.arena);
        cr_assert(s.proved, "%s", s.missing);
        cr_assert_float_eq(s.step, 2 / (4 * rank / 0.25 * 4), 1e-12, "%g", s.step);
        bench_func(&b)->results.data[0] = bin(&b, OP_MUL, r, number(&b, -1));
        s = stable_step(b.m, b.f, b.arena);
        cr_assert_not(s.proved, "backward diffusion");
        bench_free(&b);
    }
}

Test(stable, sizes_known_only_at_run_time) {
    for (uint32_t rank = 1; rank <= 2; rank++) {
        Bench b = bench_new(rank, (const int64_t[]){-1, -1}, 1);
        diffusion(&b, PERONA_MALIK, SIDE_EVEN, true);
        StepBound s = stable_step(b.m, b.f, b.arena);
        cr_assert(s.proved, "%s", s.missing);
        cr_assert_eq(s.step, 2. / (4 * rank));
        bench_free(&b);
    }
}

Test(stable, fluxes_by_sector_alone) {
    Bench b = bench_new(2, (const int64_t[]){64, 64}, 1);
    diffusion(&b, TANH, SIDE_EVEN, false);
    StepBound s = stable_step(b.m, b.f, b.arena);
    cr_assert(s.proved, "%s", s.missing);
    cr_assert_float_eq(s.step, 0.25 / 3, 1e-12, "%g", s.step);
    bench_free(&b);
}

Test(stable, what_has_no_proof) {
    static const struct {
        int kind;
        const char *part;
    } cases[] = {{GROWING, "grows"}, {NEGATIVE, "sector"}, {TV_LIKE, "grows"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Bench b = bench_new(2, (const int64_t[]){64, 64}, 1);
        diffusion(&b, cases[i].kind, SIDE_EVEN, true);
        StepBound s = stable_step(b.m, b.f, b.arena);
        cr_assert_not(s.proved, "case %zu", i);
        cr_assert(strstr(s.missing, cases[i].part), "case %zu: %s", i, s.missing);
        bench_free(&b);
    }
    /* a divergence that is not the adjoint of the gradient */
    Bench b = bench_new(2, (const int64_t[]){64, 64}, 1);
    Node g = apply(&b, gradient_stencil(&b, SIDE_EVEN, false), field_param(&b, 1));
    Node q = un(&b, OP_CHSUM, bin(&b, OP_MUL, g, g));
    returns(&b, un(&b, OP_NEG,
                   apply(&b, gradient_stencil(&b, SIDE_PERIODIC, true),
                         flux_of(&b, PERONA_MALIK, g, q))));
    StepBound s = stable_step(b.m, b.f, b.arena);
    cr_assert(!s.proved && strstr(s.missing, "adjoint"), "%s", s.missing);
    bench_free(&b);
    /* advection */
    b = bench_new(1, (const int64_t[]){64}, 1);
    returns(&b, un(&b, OP_NEG,
                   apply(&b, gradient_stencil(&b, SIDE_PERIODIC, false), field_param(&b, 1))));
    s = stable_step(b.m, b.f, b.arena);
    cr_assert(!s.proved && strstr(s.missing, "symmetry"), "%s", s.missing);
    bench_free(&b);
    /* a reaction with its own growth */
    b = bench_new(1, (const int64_t[]){64}, 1);
    diffusion(&b, LINEAR, SIDE_EVEN, true);
    Node u = bench_func(&b)->params.data[0];
    bench_func(&b)->results.data[0] = bin(&b, OP_ADD, bench_func(&b)->results.data[0],
                                          bin(&b, OP_SUB, u, bin(&b, OP_POW, u, number(&b, 3))));
    s = stable_step(b.m, b.f, b.arena);
    cr_assert_not(s.proved);
    bench_free(&b);
}

/* The face that the differences leave out at a low side, as a flux of its own behind a mask of
 * the edge. */
Test(stable, hidden_faces_behind_masks) {
    for (int wrong = 0; wrong < 2; wrong++) {
        Bench b = bench_new(1, (const int64_t[]){50}, 1);
        Tap taps[] = {{{-1, 0, 0}, 0, 0, -1}, {{0, 0, 0}, 0, 0, 1}};
        Stencil s = {.rank = 1,
                     .in_channels = 1,
                     .out_channels = 1,
                     .sides = {{SIDE_GHOST, SIDE_GHOST}},
                     .taps = taps,
                     .count = 2};
        Node u = field_param(&b, 1), g = apply(&b, gradient_stencil(&b, SIDE_GHOST, false), u);
        Node m =
            bin(&b, OP_DIV, number(&b, 1), bin(&b, OP_ADD, number(&b, 1), bin(&b, OP_MUL, g, g)));
        Node low = bin(&b, OP_MUL, apply(&b, graph_stencil(b.m, &s), u), m);
        Node edge =
            graph_add_typed(b.m, b.f, OP_EDGE, type_field(b.grid, 1), NULL, 0, 0, wrong, SPAN_NONE);
        Node hidden =
            graph_add(b.m, b.f, OP_WHERE, (Node[]){edge, low, number(&b, 0)}, 3, 0, 0, SPAN_NONE);
        Node div = un(&b, OP_NEG,
                      apply(&b, gradient_stencil(&b, SIDE_GHOST, true), bin(&b, OP_MUL, m, g)));
        returns(&b, bin(&b, OP_SUB, div, hidden));
        StepBound step = stable_step(b.m, b.f, b.arena);
        cr_assert_eq(step.proved, !wrong, "%s", step.missing);
        cr_assert(wrong || step.step == 0.5, "%g", step.step);
        bench_free(&b);
    }
}

/* -Δ² is not diagonally dominant: it is found as -Kᵀ K with K = Δ. */
Test(stable, biharmonic) {
    Bench b = bench_new(2, (const int64_t[]){128, 128}, 1);
    Node u = field_param(&b, 1);
    for (int i = 0; i < 2; i++)
        u = un(&b, OP_NEG,
               apply(&b, gradient_stencil(&b, SIDE_EVEN, true),
                     apply(&b, gradient_stencil(&b, SIDE_EVEN, false), u)));
    returns(&b, un(&b, OP_NEG, u));
    StepBound s = stable_step(b.m, b.f, b.arena);
    cr_assert(s.proved, "%s", s.missing);
    cr_assert_float_eq(s.step, 2. / 64, 1e-12, "%g", s.step);
    bench_free(&b);
}

/* div(a(x) grad u) with a field of coefficients that is known to lie in [0, 1] only. */
Test(stable, coefficients_of_run_time_with_a_range) {
    Bench b = bench_new(2, (const int64_t[]){64, 64}, 1);
    Node u = field_param(&b, 1), f = field_param(&b, 1);
    Node a = bin(&b, OP_DIV, number(&b, 1), bin(&b, OP_ADD, number(&b, 1), bin(&b, OP_MUL, f, f)));
    Node g = apply(&b, gradient_stencil(&b, SIDE_EVEN, false), u);
    returns(&b, un(&b, OP_NEG,
                   apply(&b, gradient_stencil(&b, SIDE_EVEN, true), bin(&b, OP_MUL, a, g))));
    StepBound s = stable_step(b.m, b.f, b.arena);
    cr_assert(s.proved, "%s", s.missing);
    cr_assert_eq(s.step, 0.25);
    bench_free(&b);
}

/* The proof against the truth: u + τ F(u) does not grow at the step, for random u. */
Test(stable, nothing_grows_at_the_step) {
    for (int kind = PERONA_MALIK; kind <= LINEAR; kind++)
        for (int side = 0; side < 5; side++) {
            SideKind kinds[] = {SIDE_EVEN, SIDE_PERIODIC, SIDE_GHOST, SIDE_ODD, SIDE_SLOPE};
            Bench b = bench_new(2, (const int64_t[]){9, 6}, 1);
            diffusion(&b, kind, kinds[side], true);
            StepBound s = stable_step(b.m, b.f, b.arena);
            cr_assert(s.proved, "%s", s.missing);
            for (uint64_t seed = 1; seed < 20; seed++) {
                Array u = random_array(&b, type_field(b.grid, 1), seed);
                double scale = pow(10, -(double)(seed % 5));
                for (int64_t i = 0; i < u.size; i++)
                    u.data[i] = scale * (seed % 2 ? u.data[i] : (i % 9 + i / 9) % 2 ? 1 : -1);
                double before = dot(&u, &u);
                Array f = run_func(&b, b.f, &u);
                for (int64_t i = 0; i < u.size; i++) u.data[i] += s.step * f.data[i];
                cr_assert(dot(&u, &u) <= before * (1 + 1e-12), "kind %d side %d", kind, side);
            }
            bench_free(&b);
        }
}
