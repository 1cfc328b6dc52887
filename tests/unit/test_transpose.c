/* transposes and forward derivatives through calls and loops; what is refused. */
#include "tests/unit/build_graph.h"

#include <criterion/criterion.h>

static const int64_t sizes[3] = {7, 5, 3};

/* x + tau div grad x on a function of its own: (x, tau) -> one step */
static FuncId step_func(Bench *b, bool nonlinear) {
    FuncId id = graph_func(b->m, names_of(b->names, "step"));
    Node x = graph_param(b->m, id, type_field(b->grid, 1), 0),
         tau = graph_param(b->m, id, type_scalar(), 0);
    Node g =
        graph_add(b->m, id, OP_STENCIL, &x, 1, gradient_stencil(b, SIDE_EVEN, false), 0, SPAN_NONE);
    if (nonlinear) {
        Node s = graph_unary(b->m, id, OP_CHSUM, graph_binary(b->m, id, OP_MUL, g, g, SPAN_NONE),
                             SPAN_NONE);
        Node d = graph_binary(b->m, id, OP_ADD, s, graph_const(b->m, id, 1), SPAN_NONE);
        g = graph_binary(b->m, id, OP_DIV, g, d, SPAN_NONE);
    }
    Node div =
        graph_add(b->m, id, OP_STENCIL, &g, 1, gradient_stencil(b, SIDE_EVEN, true), 0, SPAN_NONE);
    Node move = graph_binary(b->m, id, OP_MUL, tau, div, SPAN_NONE);
    vec_push(&graph_get(b->m, id)->results, graph_binary(b->m, id, OP_SUB, x, move, SPAN_NONE));
    return id;
}

/* A loop of (previous, current, tau): two-step recurrence with a source, whose tau shrinks by
 * itself. */
static void two_step_loop(Bench *b, bool nonlinear) {
    Type field = type_field(b->grid, 1);
    FuncId step = step_func(b, nonlinear), body = graph_func(b->m, names_of(b->names, "body"));
    Node k = graph_param(b->m, body, type_scalar(), 0), old = graph_param(b->m, body, field, 0);
    Node now = graph_param(b->m, body, field, 0), tau = graph_param(b->m, body, type_scalar(), 0);
    Node source = graph_param(b->m, body, field, 0), weight = graph_param(b->m, body, field, 0);
    Node call = graph_add(b->m, body, OP_CALL, (Node[]){now, tau}, 2, step, 0, SPAN_NONE);
    Node next =
        graph_binary(b->m, body, OP_MUL, weight, graph_result(b->m, body, call, 0), SPAN_NONE);
    next = graph_binary(b->m, body, OP_SUB, next,
                        graph_binary(b->m, body, OP_MUL, old, tau, SPAN_NONE), SPAN_NONE);
    Node late = graph_binary(
        b->m, body, OP_DIV, source,
        graph_binary(b->m, body, OP_ADD, k, graph_const(b->m, body, 2), SPAN_NONE), SPAN_NONE);
    next = graph_binary(b->m, body, OP_ADD, next, late, SPAN_NONE);
    Func *f = graph_get(b->m, body);
    vec_push(&f->results, now);
    vec_push(&f->results, next);
    vec_push(&f->results,
             graph_binary(b->m, body, OP_MUL, tau, graph_const(b->m, body, 0.7), SPAN_NONE));
    Loop loop = {.body = body, .start = 1, .states = 3, .captured = 2, .stride = 1};
    Node u = field_param(b, 1), w = field_param(b, 1);
    Node operands[] = {number(b, 4),     u, bin(b, OP_MUL, number(b, 2), u), number(b, 0.3),
                       un(b, OP_NEG, u), w};
    Node made = graph_add(b->m, b->f, OP_LOOP, operands, 6, graph_loop(b->m, &loop), 0, SPAN_NONE);
    Node last = graph_result(b->m, b->f, made, 1), before = graph_result(b->m, b->f, made, 0);
    returns(b, bin(b, OP_ADD, last, bin(b, OP_MUL, before, graph_result(b->m, b->f, made, 2))));
    cr_assert_null(graph_verify(b->m), "%s", graph_verify(b->m));
}

Test(transpose, through_loops_and_calls) {
    for (int simplify = 0; simplify < 2; simplify++) {
        Bench b = bench_new(2, sizes, 0.8);
        two_step_loop(&b, false);
        if (simplify) pass_simplify(b.m);
        cr_assert_eq(analyse_linearity(b.m, b.f, 0, NULL), LINEARITY_LINEAR);
        Node why = 0;
        FuncId back = transpose_func(b.m, b.f, &why);
        cr_assert_neq(back, 0, "refused because of %u", why);
        cr_assert_null(graph_verify(b.m), "%s", graph_verify(b.m));
        Type field = type_field(b.grid, 1);
        Array weight = random_array(&b, field, 9);
        Array u[2] = {random_array(&b, field, 1), weight},
              v[2] = {random_array(&b, field, 2), weight};
        Array ku = run_func(&b, b.f, u), kv = run_func(&b, back, v);
        cr_assert_float_eq(dot(&ku, &v[0]), dot(&u[0], &kv), 1e-11, "%.17g %.17g", dot(&ku, &v[0]),
                           dot(&u[0], &kv));
        cr_assert(fabs(dot(&ku, &v[0])) > 1e-3);
        bench_free(&b);
    }
}

Test(transpose, forward_derivative_through_loops_and_calls) {
    Bench b = bench_new(2, sizes, 0.8);
    two_step_loop(&b, true);
    Node why = 0;
    cr_assert_eq(analyse_linearity(b.m, b.f, 0, &why), LINEARITY_NONLINEAR);
    cr_assert_neq(why, NODE_NONE);
    cr_assert_eq(transpose_func(b.m, b.f, &why), 0);
    FuncId jvp = jvp_func(b.m, b.f, &why);
    cr_assert_neq(jvp, 0);
    cr_assert_null(graph_verify(b.m), "%s", graph_verify(b.m));
    pass_simplify(b.m);
    cr_assert_null(graph_verify(b.m), "%s", graph_verify(b.m));
    Type field = type_field(b.grid, 1);
    Array u = random_array(&b, field, 1), v = random_array(&b, field, 2),
          weight = random_array(&b, field, 9);
    double remainder[2];
    for (int i = 0; i < 2; i++) {
        double h = i ? 1e-4 : 1e-3;
        Array moved = array_of(&b, field);
        for (int64_t c = 0; c < u.size; c++) moved.data[c] = u.data[c] + h * v.data[c];
        Array f0 = run_func(&b, b.f, (Array[]){u, weight}),
              f1 = run_func(&b, b.f, (Array[]){moved, weight});
        Array df = run_func(&b, jvp, (Array[]){u, v, weight});
        remainder[i] = 0;
        for (int64_t c = 0; c < u.size; c++)
            remainder[i] = fmax(remainder[i], fabs(f1.data[c] - f0.data[c] - h * df.data[c]));
    }
    cr_assert(remainder[0] > 50 * remainder[1] && remainder[0] < 1e-3, "%g %g", remainder[0],
              remainder[1]);
    bench_free(&b);
}

Test(transpose, jvp_of_collected_states_and_extrema) {
    Bench b = bench_new(1, sizes, 1);
    Type field = type_field(b.grid, 1);
    FuncId body = graph_func(b.m, 0);
    graph_param(b.m, body, type_scalar(), 0);
    Node x = graph_param(b.m, body, field, 0);
    vec_push(&graph_get(b.m, body)->results, graph_binary(b.m, body, OP_MUL, x, x, SPAN_NONE));
    uint32_t collect[] = {0};
    Loop loop = {.body = body, .states = 1, .stride = 1, .collect = collect, .collected = 1};
    Node u = field_param(&b, 1);
    Node made = graph_add(b.m, b.f, OP_LOOP, (Node[]){number(&b, 3), u}, 2, graph_loop(b.m, &loop),
                          0, SPAN_NONE);
    Node frame =
        graph_add(b.m, b.f, OP_FRAME, (Node[]){graph_result(b.m, b.f, made, 2), number(&b, -2)}, 2,
                  0, 0, SPAN_NONE);
    returns(&b, bin(&b, OP_MUL, frame, un(&b, OP_LARGEST, u)));
    FuncId jvp = jvp_func(b.m, b.f, NULL);
    cr_assert_neq(jvp, 0);
    cr_assert_null(graph_verify(b.m), "%s", graph_verify(b.m));
    Array a[2] = {random_array(&b, field, 4), random_array(&b, field, 5)};
    Array d = run_func(&b, jvp, a);
    int64_t top = 0;
    for (int64_t i = 0; i < a[0].size; i++) top = a[0].data[i] > a[0].data[top] ? i : top;
    for (int64_t i = 0; i < d.size; i++) { /* (u^4 max u)' */
        double x0 = a[0].data[i];
        cr_assert_float_eq(
            d.data[i], 4 * pow(x0, 3) * a[1].data[i] * a[0].data[top] + pow(x0, 4) * a[1].data[top],
            1e-13);
    }
    bench_free(&b);
}

Test(transpose, linearity_tells_the_kinds_apart) {
    Bench b = bench_new(1, sizes, 1);
    Node u = field_param(&b, 1), c = field_param(&b, 1);
    const struct {
        Node n;
        Linearity kind;
    } cases[] = {{bin(&b, OP_MUL, c, u), LINEARITY_LINEAR},
                 {bin(&b, OP_ADD, c, u), LINEARITY_AFFINE},
                 {bin(&b, OP_MUL, u, u), LINEARITY_NONLINEAR},
                 {bin(&b, OP_MUL, c, c), LINEARITY_CONSTANT},
                 {un(&b, OP_ABS, u), LINEARITY_NONLINEAR},
                 {bin(&b, OP_MUL, u, un(&b, OP_LARGEST, c)), LINEARITY_LINEAR},
                 {un(&b, OP_LARGEST, u), LINEARITY_NONLINEAR},
                 {bin(&b, OP_DIV, c, u), LINEARITY_NONLINEAR}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        bench_func(&b)->results.len = 0;
        returns(&b, cases[i].n);
        cr_assert_eq(analyse_linearity(b.m, b.f, 0, NULL), cases[i].kind, "case %zu", i);
        FuncId back = transpose_func(b.m, b.f, NULL);
        cr_assert_eq(back != 0, cases[i].kind == LINEARITY_LINEAR, "case %zu", i);
    }
    bench_free(&b);
}
