/* Compiled convolutions against the reference interpreter: random ones, every kind of side, both precisions, one
 * and two threads; plans as text. */
#include "compiler/kernel/tiles.h"
#include "tests/unit/cases.h"

#include <criterion/criterion.h>

static Node input_of(Case *c, Type type, uint64_t seed) {
    uint32_t number = c->m->inputs.len;
    const Grid *g = &c->m->grids.data[type.grid];
    int64_t n = type.channels;
    for (uint32_t a = 0; a < g->rank; a++) n *= g->extent[a];
    vec_push(&c->m->inputs, ((Input){.type = type}));
    c->data[number] = malloc(sizeof(double) * (size_t)n);
    for (int64_t i = 0; i < n; i++) c->data[number][i] = (float)(2 * uniform(&seed) - 1);
    return graph_add_typed(c->m, c->f, OP_INPUT, type, NULL, 0, number, 0, SPAN_NONE);
}

/* Shows all three forms of a convolution of inputs. */
static Case conv_case(const Conv *conv, const int64_t *extent, uint64_t seed) {
    Case c = start(conv->rank, extent);
    ConvId id = graph_conv(c.m, conv);
    GridId coarse = conv->stride[0] == 2 ? graph_coarser(c.m, c.grid) : c.grid;
    const Conv *made = &c.m->convs.data[id];
    Node u = input_of(&c, type_field(c.grid, conv->in), seed),
         v = input_of(&c, type_field(coarse, conv->out), seed + 1);
    Node w = input_of(&c, type_field(graph_row(c.m, conv_weights(made)), 1), seed + 2);
    show(&c, graph_add(c.m, c.f, OP_CONV, (Node[]){u, w}, 2, id, 0, SPAN_NONE));
    show(&c, graph_add(c.m, c.f, OP_CONVT, (Node[]){v, w}, 2, id, 0, SPAN_NONE));
    show(&c, graph_add(c.m, c.f, OP_CONVW, (Node[]){u, v}, 2, id, 0, SPAN_NONE));
    return c;
}

/* Compiles once a precision; f32 on one thread and on two. way: of all its convolutions, 0: the model's. */
static void check_way(Case *c, const char *what, uint32_t way) {
    Numbers expected = {0}, one = {0};
    for (int f64 = 0; f64 < 2; f64++) {
        Arena *arena = arena_new();
        char *error = NULL;
        free(c->run.grids);
        prepare(c, f64, 1);
        Plan *plan =
            plan_make(c->m, &(PlanOptions){.f64 = f64, .fma = code_target_has_fma(NULL)}, arena);
        const char *unsound = plan_verify(plan, arena);
        cr_assert_null(unsound, "%s: %s", what, unsound);
        for (uint32_t n = 0; n < plan_convolutions(plan); n++)
            for (uint32_t f = 0; f < plan_forms(); f++) plan_set_way(plan, n, f, way);
        if (!f64) cr_assert_eq(run_reference(&c->run, &expected), 0, "%s", what);
        Code *code = code_load(plan, NULL, NULL, &error);
        cr_assert_not_null(code, "%s: %s", what, error);
        run_code(&c->run, code);
        cr_expect_eq(c->run.status, 0, "%s", what);
        double d = numbers_differ(&c->run.seen, &expected);
        cr_expect(d >= 0 && d <= (f64 ? 1e-13 : 1e-5), "%s in f%d is off by %g", what,
                  f64 ? 64 : 32, d);
        one = c->run.seen;
        c->run.seen = (Numbers){0};
        c->run.threads = 2;
        run_code(&c->run, code);
        cr_expect(one.len == c->run.seen.len &&
                      memcmp(one.data, c->run.seen.data, sizeof(double) * one.len) == 0,
                  "%s: other bits on two threads", what);
        vec_free(&one);
        vec_free(&c->run.seen);
        code_free(code);
        arena_free(arena);
    }
    vec_free(&expected);
    finish(c);
}

static void check(Case *c, const char *what) { check_way(c, what, 0); }

static const char *describe(const Conv *c, const int64_t *extent) {
    static char text[200];
    snprintf(
        text, sizeof text,
        "rank %u %u->%u groups %u size %u %u %u stride %u dilation %u %u %u sides %d%d %d%d %d%d on %d %d %d",
        c->rank, c->in, c->out, c->groups, c->size[0], c->size[1], c->size[2], c->stride[0],
        c->dilation[0], c->dilation[1], c->dilation[2], c->sides[0][0], c->sides[0][1],
        c->sides[1][0], c->sides[1][1], c->sides[2][0], c->sides[2][1], (int)extent[0],
        (int)extent[1], (int)extent[2]);
    return text;
}

static uint32_t pick(uint64_t *seed, uint32_t low, uint32_t high) {
    return low + (uint32_t)(next_random(seed) % (high - low + 1));
}

/* Norms, and their derivatives times a number, of every kind of side. */
Test(code_conv, norms) {
    for (int side = 0; side < 4; side++) {
        Conv conv = {.rank = 2,
                     .in = 1,
                     .out = 3,
                     .groups = 1,
                     .size = {3, 2, 1},
                     .stride = {1, 1, 1},
                     .dilation = {1, 1, 1}};
        static const SideKind kinds[] = {SIDE_PERIODIC, SIDE_EVEN, SIDE_ODD, SIDE_GHOST};
        for (int a = 0; a < 2; a++) conv.sides[a][0] = conv.sides[a][1] = kinds[side];
        Case c = start(2, (int64_t[]){9, 7});
        ConvId id = graph_conv(c.m, &conv);
        Node w = input_of(&c, type_field(graph_row(c.m, conv_weights(&conv)), 1), (uint64_t)side);
        Node norm = graph_add(c.m, c.f, OP_CONVNORM, &w, 1, id, 0, SPAN_NONE);
        Node factor = graph_binary(c.m, c.f, OP_MUL, norm, graph_const(c.m, c.f, 1.5), SPAN_NONE);
        show(&c, norm);
        show(&c, graph_add(c.m, c.f, OP_CONVNORMW, (Node[]){w, factor}, 2, id, 0, SPAN_NONE));
        check(&c, "the norm of a convolution");
    }
}

Test(code_conv, random_ones) {
    uint64_t seed = 11;
    for (int trial = 0; trial < 24; trial++) {
        Conv c = {.rank = pick(&seed, 1, 3), .groups = pick(&seed, 1, 3)};
        int64_t extent[MAX_RANK] = {1, 1, 1};
        if (c.groups == 3) c.groups = 1;
        c.in = c.groups * pick(&seed, 1, 5);
        c.out = c.groups * pick(&seed, 1, trial % 4 == 0 ? 13 : 4);
        uint32_t stride = trial % 3 == 0 ? 2 : 1;
        for (uint32_t a = 0; a < MAX_RANK; a++) {
            c.size[a] = c.stride[a] = c.dilation[a] = 1;
            if (a >= c.rank) continue;
            c.size[a] = pick(&seed, 1, c.rank == 3 ? 3 : 5);
            c.stride[a] = stride;
            c.dilation[a] = pick(&seed, 1, 2);
            bool periodic = pick(&seed, 0, 3) == 0;
            for (int s = 0; s < 2; s++)
                c.sides[a][s] =
                    periodic ? SIDE_PERIODIC : (SideKind)pick(&seed, SIDE_EVEN, SIDE_GHOST);
            int64_t least = conv_high(&c, a) > 1 ? conv_high(&c, a) : 1;
            extent[a] = least + pick(&seed, 0, c.rank == 1 ? 300 : c.rank == 2 ? 40 : 9);
        }
        Case k = conv_case(&c, extent, seed);
        check(&k, describe(&c, extent));
    }
}

/* Rows that are whole tiles, as well as ones that are not, and grids of several blocks. */
Test(code_conv, rows_and_blocks) {
    static const struct {
        uint32_t in, out, size, stride;
        int64_t extent[3];
    } list[] = {
        {1, 16, 5, 1, {64, 64, 1}},  {16, 1, 5, 1, {64, 16, 1}},   {1, 16, 5, 1, {40, 40, 1}},
        {24, 17, 3, 1, {40, 13, 1}}, {3, 9, 3, 1, {192, 70, 1}},   {2, 3, 3, 1, {193, 90, 1}},
        {3, 3, 3, 2, {128, 65, 1}},  {16, 2, 3, 1, {384, 100, 1}}, {4, 2, 4, 2, {63, 64, 1}}};
    for (size_t i = 0; i < sizeof list / sizeof *list; i++)
        for (int side = 0; side < 2; side++) {
            Conv c = {.rank = 2,
                      .in = list[i].in,
                      .out = list[i].out,
                      .groups = 1,
                      .size = {list[i].size, list[i].size, 1}};
            for (uint32_t a = 0; a < MAX_RANK; a++) {
                c.stride[a] = a < 2 ? list[i].stride : 1;
                c.dilation[a] = 1;
                c.sides[a][0] = c.sides[a][1] = a == 2 ? SIDE_PERIODIC
                                                : side ? SIDE_ODD
                                                       : SIDE_GHOST;
            }
            Case k = conv_case(&c, list[i].extent, i);
            check(&k, describe(&c, list[i].extent));
        }
}

/* A flux of v that other fields and numbers take part in. */
static Node flux_of(Case *c, Node v, Node other, int kind) {
    Node one = graph_const(c->m, c->f, 1), rate = graph_const(c->m, c->f, 0.3);
    Node square = graph_binary(c->m, c->f, OP_MUL, v, v, SPAN_NONE);
    Node slow =
        graph_binary(c->m, c->f, OP_ADD, graph_binary(c->m, c->f, OP_DIV, square, rate, SPAN_NONE),
                     one, SPAN_NONE);
    if (kind == 0) return v;
    if (kind == 1) return graph_binary(c->m, c->f, OP_DIV, v, slow, SPAN_NONE);
    if (kind == 4) { /* a number for each channel */
        Type t = graph_node(graph_get(c->m, c->f), v)->type;
        Node row = input_of(c, type_field(graph_row(c->m, t.channels), 1), 77);
        Node bias = graph_add_typed(c->m, c->f, OP_BYCHANNEL, t, &row, 1, 0, 0, SPAN_NONE);
        Node shifted = graph_binary(c->m, c->f, OP_ADD, v, bias, SPAN_NONE);
        return graph_binary(c->m, c->f, OP_DIV,
                            graph_unary(c->m, c->f, OP_TANH, shifted, SPAN_NONE), slow, SPAN_NONE);
    }
    Node sum = graph_binary(c->m, c->f, OP_ADD,
                            graph_binary(c->m, c->f, OP_DIV, v, slow, SPAN_NONE), other, SPAN_NONE);
    return kind == 2 ? sum : graph_unary(c->m, c->f, OP_TANH, sum, SPAN_NONE);
}

static bool mentions(const Plan *plan, const char *what) {
    Text text = {0};
    plan_print(plan, &text);
    bool found = strstr(text.data, what);
    text_free(&text);
    return found;
}

/* The plan of a chain as text, and texts that are wrong. */
static void reads_back(const Plan *plan, Arena *arena) {
    Text one = {0}, two = {0};
    plan_print(plan, &one);
    char *error = NULL;
    Plan *again = plan_read(one.data, one.len, arena, &error);
    cr_assert_not_null(again, "%s", error);
    plan_print(again, &two);
    cr_expect_str_eq(one.data, two.data);
    static const char *const broken[][2] = {
        {"chain 2", "chain 1"}, {"chain 1", "chain 9"}, {"rows 0", "pointer 0"}};
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        char *at = strstr(one.data, broken[i][0]);
        if (!at) continue;
        Text text = {0};
        text_printf(&text, "%.*s%s%s", (int)(at - one.data), one.data, broken[i][1],
                    at + strlen(broken[i][0]));
        cr_expect_null(plan_read(text.data, text.len, arena, &error), "%s is taken for sound",
                       broken[i][1]);
        text_free(&text);
    }
    text_free(&one);
    text_free(&two);
}

/* What plan_cost says covers what a run needs, and not much more. */
static void covers_scratch(Case *c, const Plan *plan, const char *what) {
    char *error = NULL;
    Code *code = code_load(plan, NULL, NULL, &error);
    cr_assert_not_null(code, "%s", error);
    void **inputs = run_inputs(&c->run);
    CodeArguments args = {.grids = c->run.grids, .inputs = (const void *const *)inputs};
    uint64_t bytes = code_workspace(code, &args), said = plan_cost(plan, c->m).workspace;
    cr_expect(bytes <= said && said < 4 * bytes + 100000, "%s: %llu of %llu bytes", what,
              (unsigned long long)bytes, (unsigned long long)said);
    for (uint32_t i = 0; i < c->m->inputs.len; i++) free(inputs[i]);
    free(inputs);
    code_free(code);
}

/* A convolution, a flux, the transposed convolution: row by row, against the reference and what plan_cost says. */
Test(code_conv, chains) {
    uint64_t seed = 5;
    for (int trial = 0; trial < 40; trial++) {
        static const SideKind kinds[] = {SIDE_PERIODIC, SIDE_EVEN, SIDE_ODD, SIDE_GHOST};
        Conv conv = {.rank = 2, .groups = 1, .in = pick(&seed, 1, 3), .out = pick(&seed, 1, 16)};
        int64_t extent[MAX_RANK] = {1, 1, 1};
        for (uint32_t a = 0; a < MAX_RANK; a++) {
            conv.size[a] = conv.stride[a] = conv.dilation[a] = 1;
            if (a == 2) continue;
            conv.size[a] = pick(&seed, a == 1 ? 2 : 1, 7);
            bool periodic = pick(&seed, 0, 3) == 0;
            for (int s = 0; s < 2; s++)
                conv.sides[a][s] = periodic ? SIDE_PERIODIC : kinds[pick(&seed, 1, 3)];
            int64_t least = conv_high(&conv, a) > 1 ? conv_high(&conv, a) : 1;
            extent[a] = least + pick(&seed, 0, trial % 4 == 0 ? 4 : a == 0 ? 90 : 130);
        }
        Case c = start(2, extent);
        ConvId id = graph_conv(c.m, &conv);
        Type v = type_field(c.grid, conv.out);
        Node u = input_of(&c, type_field(c.grid, conv.in), seed), other = input_of(&c, v, seed + 1);
        Node w = input_of(&c, type_field(graph_row(c.m, conv_weights(&c.m->convs.data[id])), 1),
                          seed + 2);
        Node k = graph_add(c.m, c.f, OP_CONV, (Node[]){u, w}, 2, id, 0, SPAN_NONE);
        Node t = flux_of(&c, k, other, trial % 5);
        Node back = graph_add(c.m, c.f, OP_CONVT, (Node[]){t, w}, 2, id, 0, SPAN_NONE);
        show(&c, graph_binary(
                     c.m, c.f, OP_SUB, u,
                     graph_binary(c.m, c.f, OP_DIV, back, graph_const(c.m, c.f, 50), SPAN_NONE),
                     SPAN_NONE));
        if (trial % 3 == 0) show(&c, graph_binary(c.m, c.f, OP_MUL, u, back, SPAN_NONE));
        prepare(&c, false, 1);
        Arena *arena = arena_new();
        Plan *plan = plan_make(c.m, &(PlanOptions){.fma = code_target_has_fma(NULL)}, arena);
        cr_expect(mentions(plan, trial % 5 ? "chain 3" : "chain 2"),
                  "%s: no chain, or it does not end in the launch", describe(&conv, extent));
        if (trial < 8) reads_back(plan, arena);
        covers_scratch(&c, plan, describe(&conv, extent));
        arena_free(arena);
        check(&c, describe(&conv, extent));
    }
}

/* What a gradient makes of a chain: two fields go in, two of what is made of them are summed, by the filters and by the
 * fields; one number is their sum. */
Test(code_conv, chains_backwards) {
    uint64_t seed = 17;
    for (int trial = 0; trial < 24; trial++) {
        static const SideKind kinds[] = {SIDE_PERIODIC, SIDE_EVEN, SIDE_ODD, SIDE_GHOST};
        Conv conv = {.rank = 2,
                     .groups = 1,
                     .in = pick(&seed, 1, 3),
                     .out = pick(&seed, 1, trial % 3 ? 7 : 16)};
        int64_t extent[MAX_RANK] = {1, 1, 1};
        for (uint32_t a = 0; a < MAX_RANK; a++) {
            conv.size[a] = conv.stride[a] = conv.dilation[a] = 1;
            if (a == 2) continue;
            conv.size[a] = pick(&seed, a == 1 ? 2 : 1, 6);
            for (int s = 0; s < 2; s++)
                conv.sides[a][s] = trial % 4 == 0 ? SIDE_PERIODIC : kinds[pick(&seed, 1, 3)];
            int64_t least = conv_high(&conv, a) > 1 ? conv_high(&conv, a) : 1;
            extent[a] = least + pick(&seed, 0, trial % 4 == 1 ? 4 : 90);
        }
        Case c = start(2, extent);
        ConvId id = graph_conv(c.m, &conv);
        Type field = type_field(c.grid, conv.in);
        Node u = input_of(&c, field, seed), g = input_of(&c, field, seed + 1);
        Node w = input_of(&c, type_field(graph_row(c.m, conv_weights(&c.m->convs.data[id])), 1),
                          seed + 2);
        Node v = graph_add(c.m, c.f, OP_CONV, (Node[]){u, w}, 2, id, 0, SPAN_NONE);
        Node h = graph_add(c.m, c.f, OP_CONV, (Node[]){g, w}, 2, id, 0, SPAN_NONE);
        Node flux = flux_of(&c, v, NODE_NONE, 1),
             slope = graph_binary(c.m, c.f, OP_MUL, h, flux, SPAN_NONE);
        Node back = graph_add(c.m, c.f, OP_CONVT, (Node[]){slope, w}, 2, id, 0, SPAN_NONE);
        show(&c, trial % 2 ? graph_binary(c.m, c.f, OP_SUB, g, back, SPAN_NONE) : back);
        show(&c, graph_unary(c.m, c.f, OP_SUM,
                             graph_binary(c.m, c.f, OP_MUL, slope, slope, SPAN_NONE), SPAN_NONE));
        show(&c, graph_add(c.m, c.f, OP_CONVW, (Node[]){g, flux}, 2, id, 0, SPAN_NONE));
        show(&c, graph_add(c.m, c.f, OP_CONVW, (Node[]){u, slope}, 2, id, 0, SPAN_NONE));
        prepare(&c, false, 1);
        Arena *arena = arena_new();
        Plan *plan = plan_make(c.m, &(PlanOptions){.fma = code_target_has_fma(NULL)}, arena);
        cr_expect(mentions(plan, trial % 2 ? "chain 6" : "chain 5"), "%s: no chain",
                  describe(&conv, extent));
        covers_scratch(&c, plan, describe(&conv, extent));
        if (trial == 0) reads_back(plan, arena);
        arena_free(arena);
        check(&c, describe(&conv, extent));
    }
}

/* A launch ends a chain if it alone reads what the transposed convolution makes, and nothing that waits for the whole chain. */
Test(code_conv, ends_of_chains) {
    static const struct {
        const char *what, *chain;
    } list[] = {{"a launch that waits for nothing", "chain 3"},
                {"what is made is a result, too", "chain 2"},
                {"the launch reads a total of the chain", "chain 2"},
                {"the launch makes a total", "chain 2"},
                {"the launch reads neighbours", "chain 2"}};
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        Conv conv = {.rank = 2,
                     .in = 1,
                     .out = 4,
                     .groups = 1,
                     .size = {5, 3, 1},
                     .stride = {1, 1, 1},
                     .dilation = {1, 1, 1}};
        for (int a = 0; a < 2; a++) conv.sides[a][0] = conv.sides[a][1] = SIDE_EVEN;
        Case c = start(2, (int64_t[]){37, 50});
        ConvId id = graph_conv(c.m, &conv);
        Node u = input_of(&c, type_field(c.grid, 1), 1),
             w = input_of(&c, type_field(graph_row(c.m, 60), 1), 2);
        Node v = graph_add(c.m, c.f, OP_CONV, (Node[]){u, w}, 2, id, 0, SPAN_NONE),
             t = flux_of(&c, v, NODE_NONE, 1);
        Node back = graph_add(c.m, c.f, OP_CONVT, (Node[]){t, w}, 2, id, 0, SPAN_NONE),
             factor = graph_const(c.m, c.f, 0.1);
        if (i == 1) show(&c, back);
        if (i == 2)
            factor = graph_unary(c.m, c.f, OP_SUM, graph_binary(c.m, c.f, OP_MUL, t, t, SPAN_NONE),
                                 SPAN_NONE);
        Node made =
            graph_binary(c.m, c.f, OP_SUB, u,
                         graph_binary(c.m, c.f, OP_MUL, back, factor, SPAN_NONE), SPAN_NONE);
        if (i == 4)
            made =
                graph_add(c.m, c.f, OP_STENCIL, &back, 1, laplacian(&c, SIDE_EVEN), 0, SPAN_NONE);
        show(&c, i == 3 ? graph_unary(c.m, c.f, OP_SUM, made, SPAN_NONE) : made);
        Arena *arena = arena_new();
        prepare(&c, false, 1);
        Plan *plan = plan_make(c.m, &(PlanOptions){.fma = true}, arena);
        cr_expect(mentions(plan, list[i].chain), "%s: no %s", list[i].what, list[i].chain);
        cr_expect(i == 0 || !mentions(plan, "chain 3"), "%s: it ends the chain", list[i].what);
        arena_free(arena);
        check(&c, list[i].what);
    }
}

/* Rows that are wide: fewer of them at a time. */
Test(code_conv, chains_of_wide_rows) {
    Conv conv = {.rank = 2,
                 .in = 1,
                 .out = 16,
                 .groups = 1,
                 .size = {5, 5, 1},
                 .stride = {1, 1, 1},
                 .dilation = {1, 1, 1}};
    for (int a = 0; a < 2; a++) conv.sides[a][0] = conv.sides[a][1] = SIDE_EVEN;
    Case c = start(2, (int64_t[]){1500, 23});
    ConvId id = graph_conv(c.m, &conv);
    Node u = input_of(&c, type_field(c.grid, 1), 1),
         w = input_of(&c, type_field(graph_row(c.m, 400), 1), 2);
    Node t = flux_of(&c, graph_add(c.m, c.f, OP_CONV, (Node[]){u, w}, 2, id, 0, SPAN_NONE),
                     NODE_NONE, 1);
    show(&c, graph_add(c.m, c.f, OP_CONVT, (Node[]){t, w}, 2, id, 0, SPAN_NONE));
    check(&c, "a chain of wide rows");
}

/* More units than calls that may run at once, each with a place of its own in the scratch. */
Test(code_conv, chains_of_many_units) {
    Conv conv = {.rank = 2,
                 .in = 1,
                 .out = 5,
                 .groups = 1,
                 .size = {3, 3, 1},
                 .stride = {1, 1, 1},
                 .dilation = {1, 1, 1}};
    for (int64_t rows = 470; rows < 2000; rows += 509) {
        Case c = start(2, (int64_t[]){21, rows});
        for (int a = 0; a < 2; a++) conv.sides[a][0] = conv.sides[a][1] = a ? SIDE_EVEN : SIDE_ODD;
        ConvId id = graph_conv(c.m, &conv);
        Node u = input_of(&c, type_field(c.grid, 1), 1),
             w = input_of(&c, type_field(graph_row(c.m, 45), 1), 2);
        Node t = flux_of(&c, graph_add(c.m, c.f, OP_CONV, (Node[]){u, w}, 2, id, 0, SPAN_NONE),
                         NODE_NONE, 1);
        Node v = graph_add(c.m, c.f, OP_CONVT, (Node[]){t, w}, 2, id, 0, SPAN_NONE);
        show(&c, graph_binary(c.m, c.f, OP_SUB, u, v, SPAN_NONE));
        check(&c, "a chain of many units");
    }
}

/* What else reads the field between, or is no transposed convolution of it alone, makes no chain. */
Test(code_conv, no_chains) {
    for (int kind = 0; kind < 3; kind++) {
        Conv conv = {.rank = 2,
                     .in = 1,
                     .out = 4,
                     .groups = 1,
                     .size = {3, 3, 1},
                     .stride = {1, 1, 1},
                     .dilation = {1, 1, 1}};
        if (kind == 2) conv.stride[0] = conv.stride[1] = 2;
        for (int a = 0; a < 2; a++) conv.sides[a][0] = conv.sides[a][1] = SIDE_EVEN;
        Case c = start(2, (int64_t[]){20, 20});
        ConvId id = graph_conv(c.m, &conv);
        Node u = input_of(&c, type_field(c.grid, 1), 1),
             w = input_of(&c, type_field(graph_row(c.m, 36), 1), 2);
        Node v = graph_add(c.m, c.f, OP_CONV, (Node[]){u, w}, 2, id, 0, SPAN_NONE),
             t = flux_of(&c, v, NODE_NONE, 1);
        show(&c, graph_add(c.m, c.f, OP_CONVT, (Node[]){t, w}, 2, id, 0, SPAN_NONE));
        if (kind < 2) show(&c, kind ? t : v);
        Arena *arena = arena_new();
        prepare(&c, false, 1);
        Plan *plan = plan_make(c.m, &(PlanOptions){.fma = true}, arena);
        cr_expect(!mentions(plan, "chain"), "kind %d: a chain", kind);
        arena_free(arena);
        check(&c, "no chain");
    }
}

/* Whole vectors of channels on both sides, in both precisions or in one: few cells, rows that are cut, several chunks of
 * sums, lines longer than a run. */
Test(code_conv, vectors_of_channels) {
    static const struct {
        uint32_t rank, in, out, size, dilation;
        int64_t extent[3];
    } list[] = {{2, 16, 16, 3, 1, {40, 13, 1}}, {2, 32, 64, 3, 1, {21, 30, 1}},
                {2, 16, 48, 5, 1, {200, 7, 1}}, {2, 208, 16, 3, 1, {17, 9, 1}},
                {2, 64, 32, 1, 1, {33, 20, 1}}, {2, 16, 80, 3, 2, {5, 9, 1}},
                {2, 8, 24, 3, 1, {70, 6, 1}},   {2, 16, 16, 2, 1, {20, 999, 1}},
                {3, 16, 32, 3, 1, {7, 5, 6}},   {3, 32, 16, 2, 2, {18, 13, 70}},
                {1, 16, 32, 9, 3, {300, 1, 1}}, {2, 128, 64, 3, 1, {16, 16, 1}}};
    static const SideKind kinds[] = {SIDE_PERIODIC, SIDE_EVEN, SIDE_ODD, SIDE_GHOST};
    for (size_t i = 0; i < sizeof list / sizeof *list; i++)
        for (size_t side = i % 2; side < 4; side += 2) {
            Conv c = {.rank = list[i].rank, .in = list[i].in, .out = list[i].out, .groups = 1};
            for (uint32_t a = 0; a < MAX_RANK; a++) {
                bool there = a < c.rank;
                c.size[a] = there ? list[i].size : 1;
                c.dilation[a] = there ? list[i].dilation : 1;
                c.stride[a] = 1;
                c.sides[a][0] = c.sides[a][1] = there ? kinds[(side + a) % 4] : SIDE_PERIODIC;
            }
            Case k = conv_case(&c, list[i].extent, i);
            check(&k, describe(&c, list[i].extent));
        }
}

/* Every way makes the same, also where it would not be chosen; where it is none for a form the model chooses. */
Test(code_conv, ways) {
    static const struct {
        uint32_t in, out, size, dilation;
        int64_t extent[3];
    } list[] = {{1, 16, 5, 1, {40, 23, 1}},
                {16, 2, 3, 1, {49, 12, 1}},
                {16, 48, 3, 1, {33, 20, 1}},
                {5, 7, 3, 2, {64, 9, 1}},
                {32, 16, 3, 1, {7, 41, 1}}};
    for (size_t i = 0; i < sizeof list / sizeof *list; i++)
        for (uint32_t way = 1; way < plan_ways(); way++) {
            Conv c = {.rank = 2, .in = list[i].in, .out = list[i].out, .groups = 1};
            for (uint32_t a = 0; a < MAX_RANK; a++) {
                c.size[a] = a < 2 ? list[i].size : 1;
                c.dilation[a] = a < 2 ? list[i].dilation : 1;
                c.stride[a] = 1;
                c.sides[a][0] = c.sides[a][1] = a == 0   ? SIDE_EVEN
                                                : a == 1 ? SIDE_GHOST
                                                         : SIDE_PERIODIC;
            }
            Case k = conv_case(&c, list[i].extent, i);
            char what[300];
            snprintf(what, sizeof what, "%s, %s", describe(&c, list[i].extent), plan_way_name(way));
            check_way(&k, what, way);
        }
}

static TileFor tile_for(const Conv *c, ConvForm form, bool chained) {
    return (TileFor){c, form, chained, true, 16, false};
}

/* The model gives every form a way, the cheapest that it has, and the one that is known to be the best of these. */
Test(code_conv, the_model_chooses) {
    static const struct {
        uint32_t in, out, size;
        const char *best[3]; /* by form */
    } list[] = {{1, 16, 5, {"channels", "rows", "taps"}},
                {64, 64, 3, {"winograd", "winograd", "winograd"}},
                {128, 64, 3, {"winograd", "winograd", "winograd"}},
                {16, 1, 3, {"rows", "channels", "taps"}},
                {16, 48, 3, {"winograd", "winograd", "winograd"}},
                {64, 32, 5, {"last", "last", "last"}},
                {5, 7, 3, {"channels", "channels", "taps"}}};
    for (size_t i = 0; i < sizeof list / sizeof *list; i++)
        for (int form = 0; form < CONV_FORMS; form++) {
            Conv c = {.rank = 2,
                      .in = list[i].in,
                      .out = list[i].out,
                      .groups = 1,
                      .size = {list[i].size, list[i].size, 1},
                      .stride = {1, 1, 1},
                      .dilation = {1, 1, 1}};
            TileFor f = tile_for(&c, (ConvForm)form, false);
            ConvWay best = conv_best_way(&f);
            for (uint32_t w = 1; w < plan_ways(); w++)
                cr_assert(conv_tile_cost(&f, best) <= conv_tile_cost(&f, (ConvWay)w), "%s",
                          plan_way_name(w));
            cr_expect_str_eq(plan_way_name(best), list[i].best[form], "%u to %u, form %d: %s", c.in,
                             c.out, form, plan_way_name(best));
            f.exact = true;
            cr_assert_str_neq(plan_way_name(conv_best_way(&f)), "winograd",
                              "--exact sums the products themselves");
            f = tile_for(&c, (ConvForm)form, true);
            cr_assert(form == CONV_TRANSPOSED || conv_tile(&f, conv_best_way(&f)).channels > 0);
        }
}

/* What plan_cost says of scratch covers what a run needs, and not much more. */
static void check_costs(uint32_t in, uint32_t out, uint32_t rows) {
    for (int stride = 1; stride <= 2; stride++)
        for (int k = 0; k < 3; k++) {
            static const Op ops[] = {OP_CONV, OP_CONVT, OP_CONVW};
            Conv c = {.rank = 2,
                      .in = in,
                      .out = out,
                      .groups = 1,
                      .size = {3, rows, 1},
                      .dilation = {1, 1, 1}};
            for (int a = 0; a < 2; a++) {
                c.stride[a] = (uint32_t)stride;
                c.sides[a][0] = c.sides[a][1] = SIDE_EVEN;
            }
            Case s = start(2, (int64_t[]){90, 70});
            ConvId id = graph_conv(s.m, &c);
            GridId coarse = stride == 2 ? graph_coarser(s.m, s.grid) : s.grid;
            Type u = type_field(s.grid, in), v = type_field(coarse, out),
                 w = type_field(graph_row(s.m, in * out * 3 * rows), 1);
            Node a = input_of(&s, k == 1 ? v : u, 1), b = input_of(&s, k == 2 ? v : w, 2);
            show(&s, graph_add(s.m, s.f, ops[k], (Node[]){a, b}, 2, id, 0, SPAN_NONE));
            prepare(&s, false, 1);
            Arena *arena = arena_new();
            Plan *plan = plan_make(s.m, &(PlanOptions){.fma = code_target_has_fma(NULL)}, arena);
            PlanCost cost = plan_cost(plan, s.m);
            cr_expect_eq(cost.flops,
                         2.0 * in * out * 3 * rows * (stride == 1 ? 90.0 * 70 : 45.0 * 35));
            cr_expect_eq(cost.smallest[1], rows / 2);
            char *error = NULL;
            Code *code = code_load(plan, NULL, NULL, &error);
            CodeArguments args = {.grids = s.run.grids};
            void **inputs = run_inputs(&s.run);
            args.inputs = (const void *const *)inputs;
            uint64_t bytes = code_workspace(code, &args);
            cr_expect(bytes <= cost.workspace && cost.workspace < 2 * bytes + 100000,
                      "stride %d form %d: %llu of %llu", stride, k, (unsigned long long)bytes,
                      (unsigned long long)cost.workspace);
            for (uint32_t i = 0; i < s.m->inputs.len; i++) free(inputs[i]);
            free(inputs);
            code_free(code);
            arena_free(arena);
            finish(&s);
        }
}

Test(code_conv, costs) {
    check_costs(8, 12, 5);
    check_costs(16, 32, 3);
}

/* A convolution and its transposes in a loop: states that rotate, results that are convolutions. */
static void loop_of_convolutions(bool residual) {
    Conv conv = {.rank = 2,
                 .in = 1,
                 .out = 4,
                 .groups = 1,
                 .size = {3, 3, 1},
                 .stride = {1, 1, 1},
                 .dilation = {1, 1, 1}};
    conv.sides[0][0] = conv.sides[0][1] = conv.sides[1][0] = conv.sides[1][1] = SIDE_EVEN;
    Case c = start(2, (int64_t[]){37, 20});
    ConvId id = graph_conv(c.m, &conv);
    Type row = type_field(graph_row(c.m, 36), 1), field = type_field(c.grid, 1);
    Node u = input_of(&c, field, 1), w = input_of(&c, row, 2);
    FuncId body = graph_func(c.m, names_of(c.names, "step"));
    graph_param(c.m, body, type_scalar(), 0);
    Node x = graph_param(c.m, body, field, 0), k = graph_param(c.m, body, row, 0);
    Node v = graph_add(c.m, body, OP_CONV, (Node[]){x, k}, 2, id, 0, SPAN_NONE);
    Node t = graph_unary(c.m, body, OP_TANH, v, SPAN_NONE);
    Node back = graph_add(c.m, body, OP_CONVT, (Node[]){t, k}, 2, id, 0, SPAN_NONE);
    Node slope = graph_add(c.m, body, OP_CONVW, (Node[]){x, t}, 2, id, 0, SPAN_NONE);
    Node small = graph_binary(c.m, body, OP_MUL, slope, graph_const(c.m, body, 1e-4), SPAN_NONE);
    Node next = graph_binary(
        c.m, body, OP_SUB, x,
        graph_binary(c.m, body, OP_MUL, back, graph_const(c.m, body, 0.05), SPAN_NONE), SPAN_NONE);
    vec_push(&graph_get(c.m, body)->results, residual ? next : back);
    vec_push(&graph_get(c.m, body)->results, graph_binary(c.m, body, OP_SUB, k, small, SPAN_NONE));
    Loop loop = {.body = body, .states = 2, .stride = 1};
    Node steps = graph_const(c.m, c.f, 5);
    Node l = graph_add(c.m, c.f, OP_LOOP, (Node[]){steps, u, w}, 3, graph_loop(c.m, &loop), 0,
                       SPAN_NONE);
    show(&c, graph_result(c.m, c.f, l, 0));
    show(&c, graph_result(c.m, c.f, l, 1));
    check(&c, residual ? "residual blocks in a loop" : "convolutions in a loop");
}

Test(code_conv, in_loops_and_as_results) {
    loop_of_convolutions(false);
    loop_of_convolutions(true);
}

Test(code_conv, plans_read_back) {
    Conv c = {.rank = 2,
              .in = 4,
              .out = 6,
              .groups = 2,
              .size = {3, 5, 1},
              .stride = {2, 2, 1},
              .dilation = {1, 1, 1}};
    c.sides[0][0] = c.sides[0][1] = SIDE_EVEN;
    c.sides[1][0] = SIDE_ODD;
    c.sides[1][1] = SIDE_GHOST;
    Case k = conv_case(&c, (int64_t[]){9, 8}, 3);
    Arena *arena = arena_new();
    Plan *plan = plan_make(k.m, &(PlanOptions){.fma = true}, arena);
    Text one = {0}, two = {0};
    plan_set_way(plan, 0, CONV_FORWARD, WAY_square);
    plan_set_way(plan, 0, CONV_WEIGHTS, WAY_taps);
    plan_print(plan, &one);
    cr_assert_not_null(strstr(one.data, " forward square weights taps\n"));
    char *error = NULL;
    Plan *again = plan_read(one.data, one.len, arena, &error);
    cr_assert_not_null(again, "%s", error);
    plan_print(again, &two);
    cr_assert_str_eq(one.data, two.data);
    static const char *const broken[][2] = {{"forward square", "forward oblong"},
                                            {"conv 0 forward", "conv 1 forward"},
                                            {"conv 0 forward", "conv 0 sideways"},
                                            {"conv 0 forward", "conv 0 weights"},
                                            {"transposed grids 2 1 2", "transposed grids 2 1 1"},
                                            {"groups 2", "groups 4"},
                                            {"axis 3 2 1", "axis 0 2 1"},
                                            {"axis 3 2 1 1", "axis 3 2 1 9"}};
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        Text text = {0};
        const char *at = strstr(one.data, broken[i][0]);
        cr_assert_not_null(at, "%s in %s", broken[i][0], one.data);
        text_add(&text, one.data, (size_t)(at - one.data));
        text_puts(&text, broken[i][1]);
        text_puts(&text, at + strlen(broken[i][0]));
        cr_assert_null(plan_read(text.data, text.len, arena, &error), "%s", broken[i][1]);
        text_free(&text);
    }
    text_free(&one);
    text_free(&two);
    arena_free(arena);
    finish(&k);
}
