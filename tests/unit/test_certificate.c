/* certificates: verdicts that must be given, and those that must not. */
#include "tests/unit/build_graph.h"

#include "compiler/analysis/certificate.h"

#include <criterion/criterion.h>

static const Facts nothing = {NULL, NULL};

/* u + tau · factor · Σ across the axes of the second difference of u, whose sides are `side`. */
static Bench heat(double tau, SideKind side, const int64_t extent[2]) {
    Bench b = bench_new(2, extent, 1);
    Tap taps[5] = {{{0, 0, 0}, 0, 0, -4},
                   {{1, 0, 0}, 0, 0, 1},
                   {{-1, 0, 0}, 0, 0, 1},
                   {{0, 1, 0}, 0, 0, 1},
                   {{0, -1, 0}, 0, 0, 1}};
    Stencil s = {.rank = 2, .in_channels = 1, .out_channels = 1, .taps = taps, .count = 5};
    for (int a = 0; a < 2; a++) s.sides[a][0] = s.sides[a][1] = side;
    Node u = field_param(&b, 1);
    Node change = graph_add(b.m, b.f, OP_STENCIL, &u, 1, graph_stencil(b.m, &s), 0, SPAN_NONE);
    returns(&b, bin(&b, OP_ADD, u, bin(&b, OP_MUL, number(&b, tau), change)));
    return b;
}

Test(certificate, steps_of_the_heat_equation) {
    static const SideKind sides[] = {SIDE_PERIODIC, SIDE_EVEN, SIDE_ODD, SIDE_GHOST};
    for (int side = 0; side < 4; side++) {
        Bench b = heat(0.249, sides[side], (const int64_t[]){64, 48});
        uint32_t funcs = b.m->funcs.len, loops = b.m->loops.len;
        Certificate c = certify_func(b.m, b.f, &nothing);
        cr_assert_eq(c.verdict, VERDICT_STABLE, "side %d: %s", side, c.missing);
        cr_assert_eq(c.claim, CLAIM_STEP);
        cr_assert_not(c.differences);
        cr_assert_eq(b.m->funcs.len, funcs, "the analysis leaves nothing behind");
        cr_assert_eq(b.m->loops.len, loops);
        bench_free(&b);
        b = heat(0.26, sides[side], (const int64_t[]){64, 48});
        c = certify_func(b.m, b.f, &nothing);
        cr_assert_eq(c.verdict, VERDICT_UNSTABLE, "side %d: %s", side, c.missing);
        bench_free(&b);
        b = heat(-0.01, sides[side], (const int64_t[]){64, 48});
        c = certify_func(b.m, b.f, &nothing);
        cr_assert_neq(c.verdict, VERDICT_STABLE, "backward diffusion, side %d", side);
        bench_free(&b);
    }
    Bench b = heat(0.2, SIDE_EVEN, (const int64_t[]){-1, -1});
    Certificate c = certify_func(b.m, b.f, &nothing);
    cr_assert_eq(c.verdict, VERDICT_STABLE, "for every size: %s", c.missing);
    bench_free(&b);
}

/* One step of a network, u - 2 Kᵀ Φ(K u) with weights that are a parameter. */
static Bench layer(Node *weights, bool same_weights, bool monotone) {
    Bench b = bench_new(1, (const int64_t[]){32}, 1);
    Conv conv = {.rank = 1,
                 .in = 1,
                 .out = 2,
                 .groups = 1,
                 .size = {3, 1, 1},
                 .stride = {1, 1, 1},
                 .dilation = {1, 1, 1}};
    conv.sides[0][0] = conv.sides[0][1] = SIDE_EVEN;
    ConvId id = graph_conv(b.m, &conv);
    Type row = type_field(graph_row(b.m, conv_weights(&conv)), 1);
    Node u = field_param(&b, 1), w = graph_param(b.m, b.f, row, 0),
         v = graph_param(b.m, b.f, row, 0);
    Node s = graph_add(b.m, b.f, OP_CONV, (Node[]){u, w}, 2, id, 0, SPAN_NONE);
    Node phi = bin(&b, OP_DIV, s, bin(&b, OP_ADD, number(&b, 1), bin(&b, OP_MUL, s, s)));
    if (!monotone) phi = bin(&b, OP_SUB, phi, s);
    Node back =
        graph_add(b.m, b.f, OP_CONVT, (Node[]){phi, same_weights ? w : v}, 2, id, 0, SPAN_NONE);
    returns(&b, bin(&b, OP_SUB, u, bin(&b, OP_MUL, number(&b, 2), back)));
    *weights = w;
    return b;
}

typedef struct {
    Node weights;
    Fact fact;
} Told;

static bool tell(void *context, FuncId func, Node node, Fact *out) {
    (void)func;
    const Told *t = context;
    if (node == t->weights) *out = t->fact;
    return node == t->weights;
}

Test(certificate, weights_that_are_known_and_constraints) {
    Told told = {0, FACT_NOTHING};
    Facts facts = {tell, &told};
    double values[6] = {0.2, -0.4, 0.2, 0.1, 0.3, 0.1};
    Bench b = layer(&told.weights, true, true);
    Certificate c = certify_func(b.m, b.f, &facts);
    cr_assert_eq(c.verdict, VERDICT_NONE, "nothing is known of the weights");
    cr_assert(strstr(c.missing, "norm(K)"), "%s", c.missing);
    ConvId id = 1;
    told.fact.norm = 1;
    told.fact.convs = &id;
    told.fact.conv_count = 1;
    c = certify_func(b.m, b.f, &facts);
    cr_assert_eq(c.verdict, VERDICT_STABLE, "norm(K) <= 1: %s", c.missing);
    told.fact.norm = 1.01;
    cr_assert_eq(certify_func(b.m, b.f, &facts).verdict, VERDICT_NONE, "norm(K) <= 1.01");
    const Type row = graph_node(bench_func(&b), told.weights)->type;
    told.fact = (Fact){true, {row, 1, 6, values}, -0.4, 0.3, HUGE_VAL, NULL, 0};
    c = certify_func(b.m, b.f, &facts);
    cr_assert_eq(c.verdict, VERDICT_STABLE, "small weights: %s", c.missing);
    cr_assert(c.weights);
    values[1] = -1.5;
    cr_assert_eq(certify_func(b.m, b.f, &facts).verdict, VERDICT_NONE, "large weights");
    bench_free(&b);
    values[1] = -0.4;
    for (int wrong = 0; wrong < 2; wrong++) {
        b = layer(&told.weights, wrong == 1, wrong == 0);
        told.fact.value.type = graph_node(bench_func(&b), told.weights)->type;
        c = certify_func(b.m, b.f, &facts);
        cr_assert_eq(c.verdict, VERDICT_NONE, "%s",
                     wrong ? "Φ(s)/s < 0" : "another convolution on the way back");
        bench_free(&b);
    }
}

Test(certificate, texts) {
    Certificate c = {.verdict = VERDICT_STABLE,
                     .theorem = THEOREM_SECTOR,
                     .claim = CLAIM_STEP,
                     .layers = 1,
                     .numbers = {{"τ", 0.25}},
                     .count = 1};
    Text text = {0};
    certificate_text(&c, &text);
    cr_assert_str_eq(text.data,
                     "proved stable (sector condition): no step increases the norm; τ = 0.25");
    text_free(&text);
    for (int id = 1; id < THEOREM_COUNT; id++) {
        const TheoremInfo *t = theorem_info((TheoremId)id);
        cr_assert(t->id && t->title && t->statement && t->source);
    }
    cr_assert_null(theorem_info(THEOREM_NONE));
}
