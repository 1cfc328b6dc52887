/* Convolutions: against plain loops over padded arrays, as exact transposes of one another, by the grids
 * that they go between, as text. */
#include "tests/unit/build_graph.h"

#include <criterion/criterion.h>

typedef struct {
    Conv conv;
    int64_t extent[MAX_RANK];
    const char *name;
} Case;

static const SideKind kinds[] = {SIDE_PERIODIC, SIDE_EVEN, SIDE_ODD, SIDE_SLOPE, SIDE_GHOST};

#define CONV_2D(i, o, g, x, y, s, d)                                                               \
    {                                                                                              \
        .rank = 2, .in = i, .out = o, .groups = g, .size = {x, y}, .stride = {s, s}, .dilation = { \
            d,                                                                                     \
            d                                                                                      \
        }                                                                                          \
    }

static const Case cases[] = {
    {CONV_2D(1, 1, 1, 3, 3, 1, 1), {7, 5}, "one channel"},
    {CONV_2D(2, 3, 1, 3, 5, 1, 1), {6, 8}, "channels"},
    {CONV_2D(4, 6, 2, 2, 4, 1, 1), {7, 6}, "groups, even sizes"},
    {CONV_2D(2, 2, 1, 3, 2, 1, 2), {8, 7}, "dilation"},
    {CONV_2D(3, 2, 1, 3, 3, 2, 1), {7, 6}, "stride 2, odd and even extents"},
    {CONV_2D(4, 4, 4, 4, 2, 2, 1), {8, 5}, "stride 2, a channel a group"},
    {CONV_2D(1, 2, 1, 5, 3, 2, 2), {9, 9}, "stride 2 and dilation"},
    {CONV_2D(3, 5, 1, 1, 1, 1, 1), {4, 3}, "one tap"},
    {CONV_2D(1, 1, 1, 7, 7, 1, 1), {3, 4}, "reach as far as the grid"},
    {{.rank = 1, .in = 2, .out = 3, .groups = 1, .size = {5}, .stride = {1}, .dilation = {1}},
     {11},
     "1D"},
    {{.rank = 1, .in = 2, .out = 1, .groups = 1, .size = {4}, .stride = {2}, .dilation = {3}},
     {13},
     "1D, 2"},
    {{.rank = 3,
      .in = 2,
      .out = 2,
      .groups = 1,
      .size = {3, 2, 3},
      .stride = {1, 1, 1},
      .dilation = {1, 1, 1}},
     {4, 5, 3},
     "3D"},
    {{.rank = 3,
      .in = 2,
      .out = 4,
      .groups = 2,
      .size = {3, 3, 3},
      .stride = {2, 2, 2},
      .dilation = {1, 1, 1}},
     {5, 4, 3},
     "3D, stride 2"},
};
enum { CASES = sizeof cases / sizeof *cases, KINDS = 5 };

typedef struct {
    Bench b;
    Conv conv;
    ConvId id;
    Type u, v, w;
} Setting;

static Setting setting(const Case *c, SideKind low, SideKind high) {
    Setting s = {.b = bench_new(c->conv.rank, c->extent, 1), .conv = c->conv};
    for (uint32_t a = 0; a < c->conv.rank; a++) {
        /* sides differ along an axis and from axis to axis where they may */
        bool swap = a == 1 && low != SIDE_PERIODIC && high != SIDE_PERIODIC;
        s.conv.sides[a][0] = swap ? high : low;
        s.conv.sides[a][1] = swap ? low : high;
        if ((low == SIDE_PERIODIC) != (high == SIDE_PERIODIC)) /* some axes periodic */
            s.conv.sides[a][0] = s.conv.sides[a][1] = a % 2 == 0 ? low : high;
    }
    for (uint32_t a = c->conv.rank; a < MAX_RANK; a++) s.conv.size[a] = 1;
    s.id = graph_conv(s.b.m, &s.conv);
    GridId coarse = c->conv.stride[0] == 2 ? graph_coarser(s.b.m, s.b.grid) : s.b.grid;
    s.u = type_field(s.b.grid, c->conv.in);
    s.v = type_field(coarse, c->conv.out);
    s.w = type_field(graph_row(s.b.m, conv_weights(&s.conv)), 1);
    return s;
}

static Array apply_op(Setting *s, Op op, const Array *a, const Array *b) {
    FuncId f = graph_func(s->b.m, 0);
    Node x = graph_param(s->b.m, f, a->type, 0), y = graph_param(s->b.m, f, b->type, 0);
    Node n = graph_add(s->b.m, f, op, (Node[]){x, y}, 2, s->id, 0, SPAN_NONE);
    vec_push(&graph_get(s->b.m, f)->results, n);
    cr_assert_null(graph_verify(s->b.m), "%s", graph_verify(s->b.m));
    return run_func(&s->b, f, (const Array[]){*a, *b});
}

/* ---- the truth: padded as the sides say, then plain loops ------------------------------------------ */

enum { PAD = 8, WIDTH = 40 };

/* A ghost in terms of cells inside, from the definitions in graph.h. */
static double padded_at(const Setting *s, const double *u, const int64_t *n, const int64_t *at) {
    double factor = 1;
    int64_t p[MAX_RANK] = {0};
    for (uint32_t a = 0; a < s->conv.rank; a++) {
        p[a] = at[a];
        for (int side = 0; side < 2; side++) {
            int64_t j = side ? at[a] - n[a] : -1 - at[a];
            if (j < 0) continue;
            SideKind kind = s->conv.sides[a][side];
            if (kind == SIDE_PERIODIC)
                p[a] = side ? j : n[a] - 1 - j;
            else
                p[a] = side ? n[a] - 1 - j : j;
            factor *= kind == SIDE_ODD ? -1 : kind == SIDE_GHOST ? 0 : 1;
        }
    }
    return factor * u[(p[2] * n[1] + p[1]) * n[0] + p[0]];
}

/* conv2d of PyTorch's documentation, for any rank, on the padded input. */
static void plain(const Setting *s, const Case *c, const double *u, const double *w, double *v) {
    int64_t n[MAX_RANK] = {1, 1, 1}, m[MAX_RANK] = {1, 1, 1}, pad[MAX_RANK] = {0};
    int64_t stride[MAX_RANK] = {1, 1, 1}, dilation[MAX_RANK] = {1, 1, 1},
            size[MAX_RANK] = {1, 1, 1};
    for (uint32_t a = 0; a < s->conv.rank; a++) {
        n[a] = c->extent[a];
        stride[a] = s->conv.stride[a];
        dilation[a] = s->conv.dilation[a];
        size[a] = s->conv.size[a];
        m[a] = (n[a] + stride[a] - 1) / stride[a];
        pad[a] = dilation[a] * (size[a] - 1) / 2;
    }
    uint32_t each = s->conv.in / s->conv.groups;
    int64_t cells = n[0] * n[1] * n[2];
    for (uint32_t o = 0; o < s->conv.out; o++)
        for (int64_t z = 0; z < m[2]; z++)
            for (int64_t y = 0; y < m[1]; y++)
                for (int64_t x = 0; x < m[0]; x++) {
                    double sum = 0;
                    for (uint32_t i = 0; i < each; i++)
                        for (int64_t kz = 0; kz < size[2]; kz++)
                            for (int64_t ky = 0; ky < size[1]; ky++)
                                for (int64_t kx = 0; kx < size[0]; kx++) {
                                    int64_t at[3] = {x * stride[0] + kx * dilation[0] - pad[0],
                                                     y * stride[1] + ky * dilation[1] - pad[1],
                                                     z * stride[2] + kz * dilation[2] - pad[2]};
                                    int64_t k =
                                        (((o * each + i) * size[2] + kz) * size[1] + ky) * size[0] +
                                        kx;
                                    uint32_t from = o / (s->conv.out / s->conv.groups) * each + i;
                                    sum += w[k] * padded_at(s, u + from * cells, n, at);
                                }
                    *v++ = sum;
                }
}

static void check_case(const Case *c, SideKind low, SideKind high) {
    Setting s = setting(c, low, high);
    Array u = random_array(&s.b, s.u, 1), v = random_array(&s.b, s.v, 2),
          w = random_array(&s.b, s.w, 3);
    Array ku = apply_op(&s, OP_CONV, &u, &w), kv = apply_op(&s, OP_CONVT, &v, &w),
          kw = apply_op(&s, OP_CONVW, &u, &v);
    Array truth = array_of(&s.b, s.v);
    plain(&s, c, u.data, w.data, truth.data);
    cr_assert_eq(ku.size, truth.size);
    for (int64_t i = 0; i < truth.size; i++)
        cr_assert_float_eq(ku.data[i], truth.data[i], 1e-12,
                           "%s, sides %d %d, %lld: %.17g, not %.17g", c->name, low, high,
                           (long long)i, ku.data[i], truth.data[i]);
    double a = dot(&ku, &v), b = dot(&u, &kv), d = dot(&w, &kw);
    cr_assert(fabs(a) > 1e-6, "%s", c->name);
    cr_assert_float_eq(a, b, 1e-11, "%s, sides %d %d: by u %.17g %.17g", c->name, low, high, a, b);
    cr_assert_float_eq(a, d, 1e-11, "%s, sides %d %d: by w %.17g %.17g", c->name, low, high, a, d);
    bench_free(&s.b);
}

Test(conv, equals_plain_loops_and_its_transposes_are_exact) {
    for (int c = 0; c < CASES; c++)
        for (int low = 0; low < KINDS; low++)
            for (int high = 0; high < KINDS; high++) check_case(&cases[c], kinds[low], kinds[high]);
}

/* By hand: [1 2 3 4 5] with [10 1 0.1], zero sides. */
Test(conv, is_cross_correlation) {
    Case c = {
        {.rank = 1, .in = 1, .out = 1, .groups = 1, .size = {3}, .stride = {1}, .dilation = {1}},
        {5},
        ""};
    Setting s = setting(&c, SIDE_GHOST, SIDE_GHOST);
    Array u = {s.u, 1, 5, (double[]){1, 2, 3, 4, 5}}, w = {s.w, 1, 3, (double[]){10, 1, 0.1}};
    Array v = apply_op(&s, OP_CONV, &u, &w);
    static const double truth[] = {1.2, 12.3, 23.4, 34.5, 45};
    for (int i = 0; i < 5; i++) cr_assert_float_eq(v.data[i], truth[i], 1e-14);
    bench_free(&s.b);
}

/* Each op's transposes by either operand, as the derivative slots give them. */
Test(conv, derivative_slots_are_transposes) {
    static const Op ops[] = {OP_CONV, OP_CONVT, OP_CONVW};
    for (int k = 0; k < 3; k++)
        for (uint32_t i = 0; i < 2; i++) {
            Setting s = setting(&cases[4], SIDE_EVEN, SIDE_ODD);
            Type types[3][3] = {{s.u, s.w, s.v}, {s.v, s.w, s.u}, {s.u, s.v, s.w}};
            Module *m = s.b.m;
            FuncId f = graph_func(m, 0);
            Node a = graph_param(m, f, types[k][0], 0), b = graph_param(m, f, types[k][1], 0),
                 w = graph_param(m, f, types[k][2], 0);
            Node n = graph_add(m, f, ops[k], (Node[]){a, b}, 2, s.id, 0, SPAN_NONE);
            Node back = op_info(ops[k])->derivative(m, f, n, i, w);
            cr_assert(type_equal(graph_node(graph_get(m, f), back)->type, types[k][i]));
            vec_push(&graph_get(m, f)->results, n);
            vec_push(&graph_get(m, f)->results, back);
            cr_assert_null(graph_verify(m), "%s", graph_verify(m));
            Array args[3], results[2];
            for (int j = 0; j < 3; j++) args[j] = random_array(&s.b, types[k][j], 5 + (uint64_t)j);
            EvalOptions options = {0};
            cr_assert_eq(eval_func(m, f, args, results, &options, s.b.arena), 0);
            cr_assert_float_eq(dot(&results[0], &args[2]), dot(&results[1], &args[i]), 1e-12);
            bench_free(&s.b);
        }
}

Test(conv, what_does_not_fit_is_said) {
    Setting s = setting(&cases[4], SIDE_EVEN, SIDE_EVEN);
    Module *m = s.b.m;
    FuncId f = s.b.f;
    Type type;
    const char *why = "";
    Node u = graph_param(m, f, s.u, 0), v = graph_param(m, f, s.v, 0),
         w = graph_param(m, f, s.w, 0);
    Node row = graph_param(m, f, type_field(graph_row(m, 7), 1), 0);
    const struct {
        Op op;
        Node a, b;
        const char *why;
    } wrong[] = {
        {OP_CONV, u, row, "the weights of this convolution are a row of 54 numbers, not"},
        {OP_CONV, v, w, "the convolution has 3 channels there, the field has 2"},
        {OP_CONV, w, w, "a convolution acts on fields, not on"},
        {OP_CONV, number(&s.b, 1), w, "a convolution acts on fields, not on"},
        {OP_CONVW, u, graph_param(m, f, type_field(s.b.grid, 2), 0),
         "a convolution of stride 2 from"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        cr_assert_not(
            op_shape(m, f, wrong[i].op, (Node[]){wrong[i].a, wrong[i].b}, 2, s.id, 0, &type, &why));
        cr_assert(strncmp(why, wrong[i].why, strlen(wrong[i].why)) == 0, "%s", why);
    }
    /* a grid smaller than the reach */
    Setting t = setting(&cases[8], SIDE_EVEN, SIDE_EVEN);
    Grid g = {.rank = 2, .extent = {2, 4}, .spacing = {1, 1}};
    Array small = random_array(&t.b, type_field(graph_grid(t.b.m, &g), 1), 1),
          k = random_array(&t.b, t.w, 2);
    cr_assert_null(apply_op(&t, OP_CONV, &small, &k).data);
    bench_free(&t.b);
    bench_free(&s.b);
}

Test(conv, equal_ones_are_one_and_read_back) {
    Setting s = setting(&cases[2], SIDE_SLOPE, SIDE_GHOST);
    Module *m = s.b.m;
    Conv even = s.conv;
    for (int a = 0; a < 2; a++)
        for (int k = 0; k < 2; k++)
            if (even.sides[a][k] == SIDE_SLOPE) even.sides[a][k] = SIDE_EVEN;
    cr_assert_eq(graph_conv(m, &even), s.id, "a slope of 0 is even");
    even.dilation[1] = 3;
    cr_assert_neq(graph_conv(m, &even), s.id);
    FuncId f = s.b.f;
    Node u = graph_param(m, f, s.u, 0), w = graph_param(m, f, s.w, 0);
    Node n = graph_add(m, f, OP_CONV, (Node[]){u, w}, 2, s.id, 0, SPAN_NONE);
    vec_push(&graph_get(m, f)->results,
             graph_add(m, f, OP_CONVT, (Node[]){n, w}, 2, s.id, 0, SPAN_NONE));
    vec_push(&graph_get(m, f)->results,
             graph_add(m, f, OP_CONVW, (Node[]){u, n}, 2, s.id, 0, SPAN_NONE));
    Text one = {0}, two = {0};
    graph_print(m, &one);
    char *error = NULL;
    Module *again = graph_read(s.b.names, one.data, one.len, &error);
    cr_assert_not_null(again, "%s", error);
    graph_print(again, &two);
    cr_assert_str_eq(one.data, two.data);
    graph_free(again);
    static const char *const broken[][2] = {{"groups 2", "groups 3"},
                                            {"size 2 4", "size 0 4"},
                                            {"stride 1 1", "stride 1 2"},
                                            {"stride 1 1", "stride 3 3"},
                                            {"sides even", "sides periodic"},
                                            {"dilation 1 1", "dilation 1 99999"},
                                            {"rank 2 in 4", "rank 4 in 4"},
                                            {"in 4 out", "in 0 out"},
                                            {"in 4 out 6 groups", "in 4 out groups"},
                                            {"out 6", "out 8"}};
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        Text text = {0};
        const char *at = strstr(strstr(one.data, "conv 1"), broken[i][0]);
        cr_assert_not_null(at, "%s", broken[i][0]);
        text_add(&text, one.data, (size_t)(at - one.data));
        text_puts(&text, broken[i][1]);
        text_puts(&text, at + strlen(broken[i][0]));
        error = NULL;
        cr_assert_null(graph_read(s.b.names, text.data, text.len, &error), "%s", broken[i][1]);
        cr_assert_not_null(error);
        mem_free(error);
        text_free(&text);
    }
    text_free(&one);
    text_free(&two);
    bench_free(&s.b);
}
