/* Lines of tridiagonal systems: against a dense elimination with pivots; derivatives by every operand, for every way in
 * which bands stand; compiled code against the reference; what is folded and what is refused. */
#include "tests/unit/cases.h"

#include <criterion/criterion.h>

static double random_number(uint64_t *seed) { return 2 * uniform(seed) - 1; }

/* ---- one line, in full -------------------------------------------------------------------------- */

enum { MOST = 12 };

/* Row i's entry in column j. `bands` as the op's operands. */
static double entry(const double *const *bands, int n, uint32_t detail, int i, int j) {
    bool ring = detail & TRIDIAG_PERIODIC;
    double x = i == j ? bands[2][i] : 0;
    int low = ring ? (i + n - 1) % n : i - 1, high = ring ? (i + 1) % n : i + 1;
    if (low == j) x += bands[1][detail & TRIDIAG_LOWER_BEFORE ? low : i];
    if (high == j) x += bands[3][detail & TRIDIAG_UPPER_AFTER ? high : i];
    return x;
}

static void dense_solve(double a[MOST][MOST], double *x, int n) {
    for (int k = 0; k < n; k++) {
        int best = k;
        for (int i = k + 1; i < n; i++)
            if (fabs(a[i][k]) > fabs(a[best][k])) best = i;
        for (int j = 0; j < n; j++) {
            double t = a[k][j];
            a[k][j] = a[best][j];
            a[best][j] = t;
        }
        double t = x[k];
        x[k] = x[best];
        x[best] = t;
        for (int i = k + 1; i < n; i++) {
            double f = a[i][k] / a[k][k];
            for (int j = k; j < n; j++) a[i][j] -= f * a[k][j];
            x[i] -= f * x[k];
        }
    }
    for (int i = n; i-- > 0;) {
        for (int j = i + 1; j < n; j++) x[i] -= a[i][j] * x[j];
        x[i] /= a[i][i];
    }
}

static Numbers reference(Case *c) {
    Numbers seen = {0};
    prepare(c, true, 1);
    cr_assert_eq(run_reference(&c->run, &seen), 0);
    return seen;
}

Test(tridiag, equals_dense_elimination) {
    for (int n = 1; n <= MOST; n++)
        for (uint32_t detail = 0; detail <= TRIDIAG_BITS; detail++) {
            Case c = start(1, (int64_t[]){n});
            Node operands[4];
            for (uint32_t i = 0; i < 4; i++)
                operands[i] =
                    field_input(&c, 1, 100 * (uint64_t)n + i, i == 2 ? 2.2 : -1, i == 2 ? 3 : 1);
            show(&c, graph_add(c.m, c.f, OP_TRIDIAG, operands, 4, 0, detail, SPAN_NONE));
            cr_assert_null(graph_verify(c.m), "%s", graph_verify(c.m));
            Numbers found = reference(&c);
            double a[MOST][MOST], x[MOST];
            const double *bands[4] = {c.data[0], c.data[1], c.data[2], c.data[3]};
            for (int i = 0; i < n; i++) {
                x[i] = bands[0][i];
                for (int j = 0; j < n; j++) a[i][j] = entry(bands, n, detail, i, j);
            }
            dense_solve(a, x, n);
            for (int i = 0; i < n; i++)
                cr_expect_float_eq(found.data[i], x[i], 1e-13, "n %d detail %u: %.17g, not %.17g",
                                   n, detail, found.data[i], x[i]);
            vec_free(&found);
            finish(&c);
        }
}

/* ---- code ------------------------------------------------------------------------------------------ */

static Case code_case(uint32_t rank, const int64_t *extent, uint32_t axis, uint32_t detail,
                      uint32_t channels, uint32_t broadcast, uint64_t seed) {
    Case c = start(rank, extent);
    Node operands[4];
    for (uint32_t i = 0; i < 4; i++)
        operands[i] = field_input(&c, i == 0 || !(broadcast & 1u << i) ? channels : 1, seed + i,
                                  i == 2 ? 2.2 : -1, i == 2 ? 3 : 1);
    show(&c, graph_add(c.m, c.f, OP_TRIDIAG, operands, 4, axis, detail, SPAN_NONE));
    return c;
}

static void text_again(const Plan *plan, Arena *arena) {
    Text text = {0}, again = {0};
    char *error = NULL;
    plan_print(plan, &text);
    Plan *read = plan_read(text.data, text.len, arena, &error);
    cr_assert_not_null(read, "%s", error);
    plan_print(read, &again);
    cr_expect_str_eq(again.data, text.data);
    for (size_t i = 0; i < text.len; i += 7) { /* whatever stands there instead does no harm */
        char kept = text.data[i];
        text.data[i] = "0%r9 -"[i / 7 % 6];
        Plan *odd = plan_read(text.data, text.len, arena, &error);
        if (odd) (void)plan_verify(odd, arena);
        text.data[i] = kept;
    }
    text_free(&text);
    text_free(&again);
}

/* Both precisions against the reference; the same bits on two threads. */
static void check_code(Case *c, const char *what, bool text) {
    Numbers expected = reference(c);
    for (int f64 = 0; f64 < 2; f64++) {
        Arena *arena = arena_new();
        char *error = NULL;
        free(c->run.grids);
        prepare(c, f64, 1);
        Plan *plan =
            plan_make(c->m, &(PlanOptions){.f64 = f64, .fma = code_target_has_fma(NULL)}, arena);
        cr_assert_null(plan_verify(plan, arena), "%s: %s", what, plan_verify(plan, arena));
        if (text) text_again(plan, arena);
        Code *code = code_load(plan, NULL, NULL, &error);
        cr_assert_not_null(code, "%s: %s", what, error);
        run_code(&c->run, code);
        cr_expect_eq(c->run.status, 0, "%s", what);
        double d = numbers_differ(&c->run.seen, &expected);
        cr_expect(d >= 0 && d <= (f64 ? 1e-13 : 1e-5), "%s in f%d is off by %g", what,
                  f64 ? 64 : 32, d);
        Numbers one = c->run.seen;
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
}

Test(tridiag, compiled) {
    static const struct {
        uint32_t rank;
        int64_t extent[3];
    } grids[] = {{1, {1, 1, 1}},   {1, {137, 1, 1}}, {2, {37, 41, 1}},
                 {2, {16, 96, 1}}, {2, {300, 5, 1}}, {3, {19, 7, 11}},
                 {3, {3, 9, 40}},  {2, {33, 1, 1}},  {3, {8, 8, 8}}};
    uint64_t seed = 4;
    for (uint32_t g = 0; g < sizeof grids / sizeof *grids; g++)
        for (uint32_t axis = 0; axis < grids[g].rank; axis++)
            for (uint32_t detail = g % 2; detail <= TRIDIAG_BITS; detail += 3) {
                uint32_t channels = 1 + (uint32_t)(next_random(&seed) % 3),
                         broadcast = (uint32_t)next_random(&seed) & 14;
                char what[120];
                snprintf(what, sizeof what, "%d %d %d along %u, detail %u, %u channels, %u",
                         (int)grids[g].extent[0], (int)grids[g].extent[1], (int)grids[g].extent[2],
                         axis, detail, channels, broadcast);
                Case c = code_case(grids[g].rank, grids[g].extent, axis, detail, channels,
                                   broadcast, seed);
                check_code(&c, what, g == 2);
                finish(&c);
            }
}

/* ---- derivatives --------------------------------------------------------------------------------------- */

/* <w, derivative by all operands in a direction> forwards, backwards, and by differences. */
Test(tridiag, derivatives_of_every_form) {
    for (uint32_t detail = 0; detail <= TRIDIAG_BITS; detail++)
        for (uint32_t axis = 0; axis < 2; axis++) {
            Case c = start(2, (int64_t[]){5, 4});
            Type two = type_field(c.grid, 2);
            FuncId f = graph_func(c.m, names_of(c.names, "f"));
            Node all = graph_param(c.m, f, type_field(c.grid, 7), 0), parts[4];
            /* channels of one field: b two, lower two, diagonal one, upper two */
            for (uint32_t i = 0, at = 0; i < 4; i++) {
                Node channels[2];
                uint32_t count = i == 2 ? 1 : 2;
                for (uint32_t k = 0; k < count; k++)
                    channels[k] = graph_add(c.m, f, OP_CHANNEL, &all, 1, at++, 0, SPAN_NONE);
                parts[i] = graph_add(c.m, f, OP_CONCAT, channels, count, 0, 0, SPAN_NONE);
            }
            Node x = graph_add(c.m, f, OP_TRIDIAG, parts, 4, axis, detail, SPAN_NONE);
            vec_push(&graph_get(c.m, f)->results, x);
            Node why = 0;
            FuncId forward = jvp_func(c.m, f, &why), back = vjp_func(c.m, f, &why);
            cr_assert(forward && back);
            cr_assert_null(graph_verify(c.m), "%s", graph_verify(c.m));
            uint64_t seed = 10 + detail;
            double at[140], v[140], w[40], moved[140];
            for (int i = 0; i < 140; i++) {
                at[i] = random_number(&seed) + (i / 20 == 4 ? 3 : 0);
                v[i] = random_number(&seed);
            }
            for (int i = 0; i < 40; i++) w[i] = random_number(&seed);
            Array u = {.type = type_field(c.grid, 7), .frames = 1, .size = 140, .data = at},
                  dir = u, cot = u, shifted = u;
            dir.data = v;
            shifted.data = moved;
            cot = (Array){.type = two, .frames = 1, .size = 40, .data = w};
            EvalOptions options = {0};
            Arena *arena = arena_new();
            Array result[1], slope[2];
            cr_assert_eq(eval_func(c.m, forward, (Array[]){u, dir}, result, &options, arena), 0);
            double ahead = 0, behind = 0, change = 0, h = 1e-6;
            for (int i = 0; i < 40; i++) ahead += w[i] * result[0].data[i];
            cr_assert_eq(eval_func(c.m, back, (Array[]){cot, u}, result, &options, arena), 0);
            for (int i = 0; i < 140; i++) behind += v[i] * result[0].data[i];
            for (int side = 0; side < 2; side++) {
                for (int i = 0; i < 140; i++) moved[i] = at[i] + (side ? h : -h) * v[i];
                cr_assert_eq(eval_func(c.m, f, &shifted, &slope[side], &options, arena), 0);
                for (int i = 0; i < 40; i++)
                    change += (side ? 1 : -1) * w[i] * slope[side].data[i] / (2 * h);
            }
            cr_expect(fabs(ahead) > 1e-3, "the test says nothing");
            cr_expect_float_eq(ahead, behind, 1e-12, "detail %u axis %u: %.17g %.17g", detail, axis,
                               ahead, behind);
            cr_expect_float_eq(ahead, change, 1e-7, "detail %u axis %u: %.17g %.17g", detail, axis,
                               ahead, change);
            arena_free(arena);
            finish(&c);
        }
}

/* The transposed system is the transpose; of a symmetric one of one field it is the same node. */
Test(tridiag, transposes) {
    for (uint32_t detail = 0; detail <= TRIDIAG_BITS; detail++) {
        Case c = start(2, (int64_t[]){7, 6});
        FuncId f = graph_func(c.m, names_of(c.names, "f"));
        Node operands[4];
        for (uint32_t i = 0; i < 4; i++)
            operands[i] = graph_param(c.m, f, type_field(c.grid, 1), 0);
        vec_push(&graph_get(c.m, f)->results,
                 graph_add(c.m, f, OP_TRIDIAG, operands, 4, 1, detail, SPAN_NONE));
        Node why = 0;
        cr_expect_eq(analyse_linearity(c.m, f, 0, &why), LINEARITY_LINEAR);
        for (uint32_t i = 1; i < 4; i++)
            cr_expect_eq(analyse_linearity(c.m, f, i, &why), LINEARITY_NONLINEAR);
        FuncId back = transpose_func(c.m, f, &why);
        cr_assert(back);
        uint64_t seed = 3 + detail;
        double data[5][42];
        Array args[5];
        for (int i = 0; i < 5; i++) {
            for (int k = 0; k < 42; k++) data[i][k] = random_number(&seed) + (i == 2 ? 3 : 0);
            args[i] =
                (Array){.type = type_field(c.grid, 1), .frames = 1, .size = 42, .data = data[i]};
        }
        EvalOptions options = {0};
        Arena *arena = arena_new();
        Array x[1], y[1];
        cr_assert_eq(eval_func(c.m, f, args, x, &options, arena), 0);
        double left = 0, right = 0;
        for (int k = 0; k < 42; k++) left += x[0].data[k] * data[4][k];
        args[0].data = data[4];
        cr_assert_eq(eval_func(c.m, back, args, y, &options, arena), 0);
        for (int k = 0; k < 42; k++) right += y[0].data[k] * data[0][k];
        cr_expect_float_eq(left, right, 1e-12, "detail %u: %.17g %.17g", detail, left, right);
        arena_free(arena);
        finish(&c);
    }
    Case c = start(1, (int64_t[]){7});
    Node b = field_input(&c, 1, 1, -1, 1), a = field_input(&c, 1, 2, -1, 1),
         d = field_input(&c, 1, 3, 2, 3);
    Node x = graph_add(c.m, c.f, OP_TRIDIAG, (Node[]){b, a, d, a}, 4, 0, TRIDIAG_LOWER_BEFORE,
                       SPAN_NONE);
    cr_expect_eq(op_info(OP_TRIDIAG)->derivative(c.m, c.f, x, 0, b), x);
    finish(&c);
}

/* ---- folding, and what does not fit --------------------------------------------------------------------------- */

static Node shifted_field(Case *c, Node u, int by, SideKind side) {
    Tap tap = {.weight = 1, .offset = {by}};
    Stencil s = {.rank = 1, .in_channels = 1, .out_channels = 1, .taps = &tap, .count = 1};
    s.sides[0][0] = s.sides[0][1] = side;
    return graph_add(c->m, c->f, OP_STENCIL, &u, 1, graph_stencil(c->m, &s), 0, SPAN_NONE);
}

Test(tridiag, shifted_bands_are_read_where_they_stand) {
    static const SideKind sides[] = {SIDE_EVEN, SIDE_GHOST, SIDE_PERIODIC};
    for (int k = 0; k < 3; k++)
        for (int ring = 0; ring < 2; ring++) {
            Case c = start(1, (int64_t[]){9});
            uint32_t detail = ring ? TRIDIAG_PERIODIC : 0;
            Node b = field_input(&c, 1, 1, -1, 1), a = field_input(&c, 1, 2, -1, 1),
                 d = field_input(&c, 1, 3, 2.5, 3);
            Node lower = shifted_field(&c, a, -1, sides[k]);
            Node x =
                graph_add(c.m, c.f, OP_TRIDIAG, (Node[]){b, lower, d, a}, 4, 0, detail, SPAN_NONE);
            const NodeData *made = graph_node(graph_get(c.m, c.f), x);
            bool same = (sides[k] == SIDE_PERIODIC) == ring;
            cr_expect_eq(made->detail, detail | (same ? TRIDIAG_LOWER_BEFORE : 0));
            cr_expect_eq(graph_operand(graph_get(c.m, c.f), x, 1), same ? a : lower);
            finish(&c);
        }
}

Test(tridiag, what_does_not_fit) {
    Case c = start(2, (int64_t[]){4, 3});
    Node one = field_input(&c, 1, 1, 2, 3), two = field_input(&c, 2, 2, 2, 3);
    Node coarse = graph_unary(c.m, c.f, OP_RESTRICT, one, SPAN_NONE),
         number = graph_const(c.m, c.f, 1);
    const struct {
        Node operands[4];
        uint32_t axis, detail;
        const char *why;
    } cases[] = {
        {{one, two, one, one}, 0, 0, "the lower diagonal of a tridiagonal system lives on"},
        {{one, one, number, one}, 0, 0, "the diagonal of a tridiagonal system is a field, not"},
        {{one, one, one, coarse}, 0, 0, "the upper diagonal of a tridiagonal system lives on"},
        {{one, one, one, one}, 2, 0, "a tridiagonal system along axis 2 of a grid of 2"},
        {{one, one, one, one}, 0, 8, "a tridiagonal system along axis 0"}};
    for (uint32_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Type t;
        const char *why = "";
        cr_expect_not(op_shape(c.m, c.f, OP_TRIDIAG, cases[i].operands, 4, cases[i].axis,
                               cases[i].detail, &t, &why));
        cr_expect(strstr(why, cases[i].why) == why, "%s", why);
    }
    finish(&c);
}
