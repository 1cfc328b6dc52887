/* gradients: of every op against finite differences and against the forward derivative; loops, stacks, films. */
#include "compiler/analysis/factor.h"
#include "compiler/ops/rules.h"
#include "tests/unit/build_graph.h"

#include <criterion/criterion.h>

static const int64_t sizes[3] = {6, 5, 3};

/* ---- checks ---------------------------------------------------------------------- */

static double value_at(Bench *b, FuncId f, const Array *args, const Array *steps, uint32_t count,
                       double h) {
    Array moved[16];
    for (uint32_t i = 0; i < count; i++) {
        moved[i] = args[i];
        moved[i].data = ARENA_ARRAY(b->arena, double, args[i].size);
        for (int64_t k = 0; k < args[i].size; k++)
            moved[i].data[k] = args[i].data[k] + (steps[i].data ? h * steps[i].data[k] : 0);
    }
    Array r = run_func(b, f, moved);
    cr_assert(r.data, "the function does not run");
    return r.data[0];
}

/* With its numbers gathered, a function has the same results to rounding. */
static void check_factored(Bench *b, FuncId g, const Array *args, const Array *wanted,
                           const char *what) {
    Array results[17];
    EvalOptions options = {0};
    FuncId made = factor_func(b->m, g);
    const char *wrong = graph_verify(b->m);
    cr_assert_null(wrong, "%s, factored: %s", what, wrong);
    cr_assert_eq(eval_func(b->m, made, args, results, &options, b->arena), 0, "%s", what);
    for (uint32_t i = 0; i < graph_get(b->m, g)->results.len; i++) {
        cr_assert(type_equal(results[i].type, wanted[i].type), "%s, factored: type %u", what, i);
        for (int64_t k = 0; k < wanted[i].size; k++)
            cr_assert(fabs(results[i].data[k] - wanted[i].data[k]) <=
                          1e-12 * fmax(1, fabs(wanted[i].data[k])),
                      "%s, factored: result %u is %.17g, not %.17g", what, i, results[i].data[k],
                      wanted[i].data[k]);
    }
}

/* f(x + h d) - f(x) = h <g, d> + O(h²): remainders without and with the gradient shrink with h and h². */
static void check_taylor(Bench *b, FuncId f, const Array *args, const Array *steps, uint32_t count,
                         const char *what) {
    bool wanted[16];
    Array results[17];
    for (uint32_t i = 0; i < count; i++) wanted[i] = steps[i].data != NULL;
    Node why = 0;
    FuncId g = gradient_func(b->m, f, wanted, &why);
    cr_assert(g, "%s: no gradient because of %u (%s)", what, why,
              op_info(graph_node(graph_get(b->m, f), why)->op)->name);
    const char *wrong = graph_verify(b->m);
    cr_assert_null(wrong, "%s: %s", what, wrong);
    EvalOptions options = {0};
    cr_assert_eq(eval_func(b->m, g, args, results, &options, b->arena), 0, "%s", what);
    check_factored(b, g, args, results, what);
    double f0 = value_at(b, f, args, steps, count, 0), slope = 0, size = 1e-300;
    cr_assert(results[0].data[0] == f0, "%s: the value changed, %.17g %.17g", what,
              results[0].data[0], f0);
    for (uint32_t i = 0, r = graph_get(b->m, f)->results.len; i < count; i++) {
        if (!wanted[i]) continue;
        cr_assert(type_equal(results[r].type, args[i].type), "%s: type of gradient %u", what, i);
        cr_assert_eq(results[r].size, args[i].size, "%s: size of gradient %u", what, i);
        slope += dot(&results[r++], &steps[i]);
    }
    double first[2], second[2];
    for (int i = 0; i < 2; i++) {
        double h = i ? 5e-5 : 1e-4, change = value_at(b, f, args, steps, count, h) - f0;
        first[i] = fabs(change);
        second[i] = fabs(change - h * slope);
        size = fmax(size, first[i]);
    }
    cr_assert(isfinite(slope), "%s: slope %g", what, slope);
    /* rounding of f is far below; a function that is linear in h leaves nothing but that */
    double floor = 1e-13 * fmax(1, fabs(f0));
    if (first[0] > 1e3 * floor)
        cr_assert(fabs(log2(first[0] / first[1]) - 1) < 0.2, "%s: slope 1: %g %g", what, first[0],
                  first[1]);
    if (second[0] > 100 * floor)
        cr_assert(log2(second[0] / second[1]) > 1.7, "%s: slope 2: %g %g of %g", what, second[0],
                  second[1], first[0]);
    else
        cr_assert(second[0] <= 1e-6 * size + 100 * floor, "%s: %g of %g", what, second[0], size);
}

/* ---- every op ----------------------------------------------------------------------- */

/* Where it is smooth, and far from where it is not. */
static double domain(Op op, uint32_t operand, double x) {
    switch (op) {
    case OP_LOG:
    case OP_LOG1P:
    case OP_LOG2:
    case OP_SQRT: return 1.5 + x;
    case OP_POW: return operand == 0 ? 1.5 + 0.9 * x : x;
    case OP_DIV: return operand == 1 ? 2 + x : x;
    case OP_TRIDIAG: return operand == 2 ? 3 + x : x;
    case OP_MOD: return operand == 1 ? 5 + 0.3 * x : 1.2 + 0.5 * x;
    case OP_ASIN:
    case OP_ACOS: return 0.8 * x;
    case OP_ATAN2: return operand == 0 ? 1.5 + x : x;
    case OP_ABS: return x < 0 ? x - 0.2 : x + 0.2;
    case OP_MIN:
    case OP_MAX: return operand == 0 ? x : -x + 0.01;
    default: return x;
    }
}

static Node weighted(Bench *b, Node n) {
    Type t = graph_node(bench_func(b), n)->type;
    if (t.kind == TYPE_SCALAR) return bin(b, OP_MUL, n, n);
    Node w = graph_add_typed(b->m, b->f, OP_NORMAL, type_field(t.grid, t.channels), NULL, 0, 7, 0,
                             SPAN_NONE);
    return un(b, OP_SUM, bin(b, OP_MUL, w, n));
}

/* 2 -> 3 channels, 3 taps along every axis, halving the grid. */
static Node say_conv(Bench *b, Op op) {
    uint32_t rank = b->m->grids.data[b->grid].rank;
    Conv c = {.rank = rank, .in = 2, .out = 3, .groups = 1};
    for (uint32_t a = 0; a < MAX_RANK; a++) {
        c.size[a] = a < rank ? 3 : 1;
        c.stride[a] = a < rank ? 2 : 1;
        c.dilation[a] = 1;
        c.sides[a][0] = c.sides[a][1] = a < rank ? SIDE_ODD : SIDE_EVEN;
    }
    ConvId id = graph_conv(b->m, &c);
    GridId row = graph_row(b->m, conv_weights(&c)), coarse = graph_coarser(b->m, b->grid);
    Node x[2];
    x[0] = op == OP_CONVT ? graph_param(b->m, b->f, type_field(coarse, 3), 0) : field_param(b, 2);
    x[1] = op == OP_CONVW ? graph_param(b->m, b->f, type_field(coarse, 3), 0)
                          : graph_param(b->m, b->f, type_field(row, 1), 0);
    return graph_add(b->m, b->f, op, x, 2, id, 0, SPAN_NONE);
}

/* One op of operands of its own; NODE_NONE where this test has no way to say it. */
static Node say(Bench *b, Op op, uint32_t channels) {
    const OpInfo *info = op_info(op);
    uint32_t rank = b->m->grids.data[b->grid].rank;
    Node x[3];
    if (info->class == CLASS_POINTWISE) {
        for (int i = 0; i < info->operands; i++) x[i] = field_param(b, i == 2 ? 1 : channels);
        return graph_add(b->m, b->f, op, x, (uint32_t)info->operands, 0, 0, SPAN_NONE);
    }
    switch (op) {
    case OP_SPREAD:
        x[0] = graph_param(b->m, b->f, type_scalar(), 0);
        return graph_add_typed(b->m, b->f, op, type_field(b->grid, 1), x, 1, 0, 0, SPAN_NONE);
    case OP_CHANNEL:
        x[0] = field_param(b, 3);
        return graph_add(b->m, b->f, op, x, 1, 1, 0, SPAN_NONE);
    case OP_CONCAT:
        x[0] = field_param(b, 1), x[1] = field_param(b, 2);
        return graph_add(b->m, b->f, op, x, 2, 0, 0, SPAN_NONE);
    case OP_CHSUM: return un(b, op, field_param(b, 3));
    case OP_STENCIL: return apply(b, gradient_stencil(b, SIDE_ODD, false), field_param(b, 1));
    case OP_RESTRICT: /* the mean in 1D, the first of the cells in 2D */
        x[0] = field_param(b, 2);
        return graph_add(b->m, b->f, op, x, 1, rank - 1, 0, SPAN_NONE);
    case OP_SUM:
    case OP_LEAST:
    case OP_LARGEST:
    case OP_MAXPOOL:
    case OP_BATCHMEAN:
    case OP_TOTALS: return un(b, op, field_param(b, 2));
    case OP_PROLONG:
        x[0] = un(b, OP_RESTRICT, field_param(b, 2));
        return graph_add(b->m, b->f, op, x, 1, rank - 1, 0, SPAN_NONE);
    case OP_ROW:
        x[0] = graph_param(b->m, b->f, type_scalar(), 0);
        x[1] = graph_param(b->m, b->f, type_scalar(), 0);
        x[2] = x[0];
        return graph_add(b->m, b->f, op, x, 3, 0, 0, SPAN_NONE);
    case OP_ENTRY:
        x[0] = graph_param(b->m, b->f, type_field(graph_row(b->m, 3), 1), 0);
        return graph_add(b->m, b->f, op, x, 1, 2, 0, SPAN_NONE);
    case OP_BYCHANNEL:
        x[0] = graph_param(b->m, b->f, type_field(graph_row(b->m, 3), 1), 0);
        return graph_add_typed(b->m, b->f, op, type_field(b->grid, 3), x, 1, 0, 0, SPAN_NONE);
    case OP_CONV:
    case OP_CONVT:
    case OP_CONVW: return say_conv(b, op);
    case OP_TRIDIAG: { /* of two channels in 2D, some bands of one */
        Node bands[4];
        for (uint32_t i = 0; i < 4; i++) bands[i] = field_param(b, i == 2 ? 1 : channels);
        uint32_t detail = rank == 1 ? 0 : TRIDIAG_LOWER_BEFORE | TRIDIAG_PERIODIC;
        return graph_add(b->m, b->f, op, bands, 4, rank - 1, detail, SPAN_NONE);
    }
    default: return NODE_NONE;
    }
}

static void check_op(Op op, uint32_t rank, uint32_t channels) {
    Bench b = bench_new(rank, sizes, 0.7);
    Node n = say(&b, op, channels);
    cr_assert(n, "%s has a derivative and no test: say() needs a line", op_info(op)->name);
    returns(&b, weighted(&b, n));
    Array args[4] = {0}, steps[4] = {0};
    uint32_t count = bench_func(&b)->params.len;
    for (uint32_t i = 0; i < count; i++) {
        Type t = graph_node(bench_func(&b), bench_func(&b)->params.data[i])->type;
        args[i] = random_array(&b, t, 10 + i);
        for (int64_t k = 0; k < args[i].size; k++) args[i].data[k] = domain(op, i, args[i].data[k]);
        if (op != OP_WHERE || i > 0) steps[i] = random_array(&b, t, 20 + i);
    }
    check_taylor(&b, b.f, args, steps, count, op_info(op)->name);
    bench_free(&b);
}

/* The norm of a convolution: its bound is a number, with a derivative, of the weights alone. */
Test(gradient, of_norms_of_convolutions) {
    for (uint32_t stride = 1; stride <= 2; stride++) {
        Bench b = bench_new(2, sizes, 0.7);
        Conv c = {.rank = 2, .in = 2, .out = 3, .groups = 1};
        for (uint32_t a = 0; a < MAX_RANK; a++) {
            c.size[a] = a < 2 ? 3 : 1;
            c.stride[a] = a < 2 ? stride : 1;
            c.dilation[a] = 1;
            c.sides[a][0] = c.sides[a][1] = a < 2 ? SIDE_EVEN : SIDE_PERIODIC;
        }
        ConvId id = graph_conv(b.m, &c);
        Node w = graph_param(b.m, b.f, type_field(graph_row(b.m, conv_weights(&c)), 1), 0);
        Node n = graph_add(b.m, b.f, OP_CONVNORM, &w, 1, id, 0, SPAN_NONE);
        returns(&b, weighted(&b, n));
        Type t = graph_node(bench_func(&b), w)->type;
        Array args[1] = {random_array(&b, t, 3)}, steps[1] = {random_array(&b, t, 4)};
        PdnConvShape s = conv_shape(&c);
        double bound = pdn_conv_norm(&s, PDN_F64, args[0].data, NULL),
               value = value_at(&b, b.f, args, steps, 1, 0);
        cr_expect_float_eq(value, bound * bound, 1e-12 * value);
        bool wanted[1] = {true};
        FuncId g = gradient_func(b.m, b.f, wanted, NULL);
        cr_assert(g);
        Array results[2];
        EvalOptions options = {0};
        cr_assert_eq(eval_func(b.m, g, args, results, &options, b.arena), 0);
        double h = 1e-5, slope = dot(&results[1], &steps[0]);
        double change =
            (value_at(&b, b.f, args, steps, 1, h) - value_at(&b, b.f, args, steps, 1, -h)) /
            (2 * h);
        cr_expect(fabs(slope - change) < 1e-4 * fabs(change), "%g against %g", slope, change);
        bench_free(&b);
    }
}

Test(gradient, of_every_op) {
    uint32_t checked = 0;
    for (Op op = 1; op < OP_COUNT; op++) {
        const OpInfo *info = op_info(op);
        if (info->derivative == deriv_none || info->derivative == deriv_zero) continue;
        if (info->class == CLASS_CONTROL) continue; /* of whole functions: below */
        for (uint32_t rank = 1; rank <= 2; rank++) check_op(op, rank, 1 + rank % 2);
        checked++;
    }
    cr_assert(checked > 30);
}

/* ---- loops ------------------------------------------------------------------------------ */

typedef struct {
    Bench b;
    Node u, K, tau;
} Net;

static Node at(Bench *b, FuncId f, Op op, Node x, Node y) {
    return graph_binary(b->m, f, op, x, y, SPAN_NONE);
}

/* A stack of numbers or fields as a parameter. */
static Node stack_param(Bench *b, bool field) {
    Type t = field ? type_field(b->grid, 1) : type_scalar();
    t.kind = TYPE_STACK;
    return graph_param(b->m, b->f, t, 0);
}

static Array random_stack(Bench *b, bool field, int64_t frames, uint64_t seed) {
    Type t = field ? type_field(b->grid, 1) : type_scalar();
    Array one = array_of(b, t), a = one;
    a.type.kind = TYPE_STACK;
    a.frames = frames;
    a.size = one.size * frames;
    a.data = ARENA_ARRAY(b->arena, double, a.size);
    for (int64_t i = 0; i < a.size; i++) a.data[i] = noise(&seed);
    return a;
}

/* u -> u - tau_k adjoint(K_k grad)(flux(K_k grad u)), K_k a field that weighs, twice used. */
static FuncId step_body(Bench *b, bool two_steps) {
    FuncId f = graph_func(b->m, names_of(b->names, "step"));
    Type field = type_field(b->grid, 1), fields = field, numbers = {TYPE_STACK, 1, GRID_NONE};
    fields.kind = TYPE_STACK;
    Node k = graph_param(b->m, f, type_scalar(), 0), old = 0;
    if (two_steps) old = graph_param(b->m, f, field, 0);
    Node u = graph_param(b->m, f, field, 0), K = graph_param(b->m, f, fields, 0),
         tau = graph_param(b->m, f, numbers, 0), same = graph_param(b->m, f, fields, 0);
    Node w = at(b, f, OP_FRAME, K, k), again = at(b, f, OP_FRAME, same, k);
    Node g =
        graph_add(b->m, f, OP_STENCIL, &u, 1, gradient_stencil(b, SIDE_EVEN, false), 0, SPAN_NONE);
    g = at(b, f, OP_MUL, w, g);
    Node s = graph_unary(b->m, f, OP_CHSUM, at(b, f, OP_MUL, g, g), SPAN_NONE);
    g = at(b, f, OP_DIV, g, at(b, f, OP_ADD, s, graph_const(b->m, f, 1)));
    g = at(b, f, OP_MUL, again, g);
    Node div =
        graph_add(b->m, f, OP_STENCIL, &g, 1, gradient_stencil(b, SIDE_EVEN, true), 0, SPAN_NONE);
    Node next = at(b, f, OP_SUB, u, at(b, f, OP_MUL, at(b, f, OP_FRAME, tau, k), div));
    if (two_steps) {
        Node a = at(b, f, OP_DIV, at(b, f, OP_ADD, k, graph_const(b->m, f, 1)),
                    at(b, f, OP_ADD, k, graph_const(b->m, f, 2)));
        next = at(b, f, OP_ADD, at(b, f, OP_MUL, a, next), at(b, f, OP_MUL, old, a));
        vec_push(&graph_get(b->m, f)->results, u);
    }
    vec_push(&graph_get(b->m, f)->results, next);
    return f;
}

/* The loss of a network of steps; `stop`: ends before the count by a test of the state; `film`: reads
 * states on the way. */
static void network(Bench *b, bool two_steps, int64_t stride) {
    FuncId body = step_body(b, two_steps);
    uint32_t collect[] = {two_steps};
    Loop loop = {.body = body,
                 .states = 1 + two_steps,
                 .captured = 3,
                 .stride = stride ? stride : 1,
                 .collect = collect,
                 .collected = stride > 0};
    Node u = field_param(b, 1), K = stack_param(b, true), tau = stack_param(b, false);
    Node operands[6] = {number(b, 5), u, two_steps ? un(b, OP_NEG, u) : K, K, tau, K};
    if (!two_steps) operands[3] = tau, operands[4] = K;
    uint32_t count = two_steps ? 6 : 5;
    Node made =
        graph_add(b->m, b->f, OP_LOOP, operands, count, graph_loop(b->m, &loop), 0, SPAN_NONE);
    Node loss = weighted(b, graph_result(b->m, b->f, made, two_steps));
    if (stride) {
        Node film = graph_result(b->m, b->f, made, loop.states + 1);
        Node last = bin(b, OP_FRAME, film, number(b, -1)),
             first = bin(b, OP_FRAME, film, number(b, 0));
        Node middle = bin(b, OP_FRAME, film, number(b, 1));
        Node all = bin(b, OP_MUL, bin(b, OP_MUL, last, middle), un(b, OP_EXP, first));
        loss = bin(b, OP_ADD, loss, weighted(b, all));
    }
    /* a frame used outside of the loop, too */
    loss = bin(b, OP_ADD, loss, weighted(b, bin(b, OP_FRAME, K, number(b, 2))));
    returns(b, loss);
    returns(b, graph_result(b->m, b->f, made, 0));
}

static void network_arrays(Bench *b, Array *args, Array *steps) {
    args[0] = random_array(b, type_field(b->grid, 1), 1);
    args[1] = random_stack(b, true, 5, 2);
    args[2] = random_stack(b, false, 5, 3);
    steps[0] = random_array(b, type_field(b->grid, 1), 4);
    steps[1] = random_stack(b, true, 5, 5);
    steps[2] = random_stack(b, false, 5, 6);
}

Test(gradient, through_loops_with_indexed_parameters) {
    for (uint32_t rank = 1; rank <= 2; rank++)
        for (int two = 0; two < 2; two++)
            for (int64_t stride = 0; stride < 4; stride++) {
                Bench b = bench_new(rank, sizes, 0.9);
                Array args[3], steps[3];
                network(&b, two, stride);
                cr_assert_null(graph_verify(b.m), "%s", graph_verify(b.m));
                network_arrays(&b, args, steps);
                check_taylor(&b, b.f, args, steps, 3, "network");
                Array none = {0};
                check_taylor(&b, b.f, args, (Array[]){none, steps[1], none}, 3, "K alone");
                check_taylor(&b, b.f, args, (Array[]){none, none, steps[2]}, 3, "tau alone");
                bench_free(&b);
            }
}

/* Simplified before and after: the same gradient. */
Test(gradient, survives_simplification) {
    Bench b = bench_new(2, sizes, 0.9);
    Array args[3], steps[3], before[5], after[5];
    bool wanted[3] = {true, true, true};
    network(&b, true, 2);
    network_arrays(&b, args, steps);
    FuncId g = gradient_func(b.m, b.f, wanted, NULL);
    cr_assert(g);
    EvalOptions options = {0};
    cr_assert_eq(eval_func(b.m, g, args, before, &options, b.arena), 0);
    for (int round = 0; round < 2; round++) {
        pass_simplify(b.m);
        cr_assert_null(graph_verify(b.m), "%s", graph_verify(b.m));
        cr_assert_eq(eval_func(b.m, g, args, after, &options, b.arena), 0);
        for (int i = 0; i < 5; i++)
            for (int64_t k = 0; k < before[i].size; k++)
                cr_assert_float_eq(before[i].data[k], after[i].data[k], 1e-12);
    }
    Text text = {0};
    graph_print(b.m, &text);
    char *error = NULL;
    Module *read = graph_read(b.names, text.data, text.len, &error);
    cr_assert(read, "%s", error);
    graph_free(read);
    text_free(&text);
    bench_free(&b);
}

/* while: u <- u (1 + a u) until its largest value exceeds 2, in a loop around a loop: sum of it all. */
Test(gradient, of_loops_that_stop_and_loops_in_loops) {
    Bench b = bench_new(1, sizes, 1);
    Type field = type_field(b.grid, 1);
    FuncId inner = graph_func(b.m, 0), outer = graph_func(b.m, 0);
    graph_param(b.m, inner, type_scalar(), 0);
    Node x = graph_param(b.m, inner, field, 0), a = graph_param(b.m, inner, field, 0);
    Node grown = at(&b, inner, OP_MUL, x,
                    at(&b, inner, OP_ADD, graph_const(b.m, inner, 1), at(&b, inner, OP_MUL, a, x)));
    vec_push(&graph_get(b.m, inner)->results, grown);
    vec_push(&graph_get(b.m, inner)->results,
             at(&b, inner, OP_LT, graph_const(b.m, inner, 2),
                graph_unary(b.m, inner, OP_LARGEST, grown, SPAN_NONE)));
    Loop stops = {.body = inner, .states = 1, .captured = 1, .has_stop = true, .stride = 1};
    Node k = graph_param(b.m, outer, type_scalar(), 0), y = graph_param(b.m, outer, field, 0),
         rate = graph_param(b.m, outer, field, 0);
    Node start = at(&b, outer, OP_DIV, y, at(&b, outer, OP_ADD, k, graph_const(b.m, outer, 3)));
    Node loop = graph_add(b.m, outer, OP_LOOP, (Node[]){graph_const(b.m, outer, 100), start, rate},
                          3, graph_loop(b.m, &stops), 0, SPAN_NONE);
    vec_push(
        &graph_get(b.m, outer)->results,
        at(&b, outer, OP_SUB, graph_result(b.m, outer, loop, 0), at(&b, outer, OP_MUL, rate, y)));
    Loop around = {.body = outer, .states = 1, .captured = 1, .stride = 1};
    Node u = field_param(&b, 1), r = field_param(&b, 1);
    Node made = graph_add(b.m, b.f, OP_LOOP, (Node[]){number(&b, 3), u, r}, 3,
                          graph_loop(b.m, &around), 0, SPAN_NONE);
    returns(&b, weighted(&b, graph_result(b.m, b.f, made, 0)));
    cr_assert_null(graph_verify(b.m), "%s", graph_verify(b.m));
    Array args[2] = {random_array(&b, field, 1), random_array(&b, field, 2)}, steps[2];
    for (int64_t i = 0; i < args[0].size; i++) {
        args[0].data[i] = 1 + 0.3 * args[0].data[i];
        args[1].data[i] = 0.4 + 0.1 * args[1].data[i];
    }
    steps[0] = random_array(&b, field, 3), steps[1] = random_array(&b, field, 4);
    check_taylor(&b, b.f, args, steps, 2, "loops in loops");
    bench_free(&b);
}

/* Forward and reverse agree: <J v, w> = <v, Jᵀ w>. */
Test(gradient, forward_agrees_with_reverse) {
    for (int two = 0; two < 2; two++) {
        Bench b = bench_new(2, sizes, 0.9);
        network(&b, two, 2);
        Func *f = bench_func(&b);
        f->results.data[0] = f->results.data[1]; /* the field */
        f->results.len = 1;
        Array args[3], steps[3];
        network_arrays(&b, args, steps);
        FuncId jvp = jvp_func(b.m, b.f, NULL), vjp = vjp_func(b.m, b.f, NULL);
        cr_assert(jvp && vjp);
        cr_assert_null(graph_verify(b.m), "%s", graph_verify(b.m));
        Array w = random_array(&b, args[0].type, 9);
        Array jv = run_func(&b, jvp, (Array[]){args[0], steps[0], args[1], args[2]});
        Array jw = run_func(&b, vjp, (Array[]){w, args[0], args[1], args[2]});
        cr_assert_float_eq(dot(&jv, &w), dot(&steps[0], &jw), 1e-12);
        cr_assert(fabs(dot(&jv, &w)) > 1e-3);
        bench_free(&b);
    }
}

/* Noise in a loop depends on the step alone: steps that are run again, or backwards, draw the same. */
Test(gradient, through_noise_that_is_fresh_at_each_step) {
    Bench b = bench_new(1, sizes, 1);
    Type field = type_field(b.grid, 1);
    FuncId body = graph_func(b.m, 0);
    Node k = graph_param(b.m, body, type_scalar(), 0), u = graph_param(b.m, body, field, 0);
    Node noise = graph_add_typed(b.m, body, OP_UNIFORM, field, &k, 1, 3, 0, SPAN_NONE);
    Node next = graph_binary(b.m, body, OP_MUL, graph_unary(b.m, body, OP_TANH, u, SPAN_NONE),
                             graph_binary(b.m, body, OP_ADD, noise, u, SPAN_NONE), SPAN_NONE);
    vec_push(&graph_get(b.m, body)->results, next);
    Loop loop = {.body = body, .states = 1, .stride = 1};
    Node operands[2] = {number(&b, 4), field_param(&b, 1)};
    Node run = graph_add(b.m, b.f, OP_LOOP, operands, 2, graph_loop(b.m, &loop), 0, SPAN_NONE);
    returns(&b, un(&b, OP_SUM, graph_result(b.m, b.f, run, 0)));
    Array at = random_array(&b, field, 3), step = random_array(&b, field, 4);
    for (int64_t i = 0; i < at.size; i++) at.data[i] += 1;
    check_taylor(&b, b.f, &at, &step, 1, "noise in a loop");
    bench_free(&b);
}

Test(gradient, of_calls_and_of_what_is_refused) {
    Bench b = bench_new(1, sizes, 1);
    Type field = type_field(b.grid, 1);
    FuncId callee = graph_func(b.m, 0);
    Node x = graph_param(b.m, callee, field, 0), c = graph_param(b.m, callee, type_scalar(), 0);
    vec_push(&graph_get(b.m, callee)->results,
             at(&b, callee, OP_MUL, c, graph_unary(b.m, callee, OP_SIN, x, SPAN_NONE)));
    Node u = field_param(&b, 1), s = graph_param(b.m, b.f, type_scalar(), 0);
    Node call = graph_add(b.m, b.f, OP_CALL, (Node[]){u, s}, 2, callee, 0, SPAN_NONE);
    Node once = graph_result(b.m, b.f, call, 0);
    Node twice = graph_result(
        b.m, b.f, graph_add(b.m, b.f, OP_CALL, (Node[]){once, s}, 2, callee, 0, SPAN_NONE), 0);
    returns(&b, weighted(&b, twice));
    Array args[2] = {random_array(&b, field, 1), random_array(&b, type_scalar(), 2)};
    check_taylor(&b, b.f, args,
                 (Array[]){random_array(&b, field, 3), random_array(&b, type_scalar(), 4)}, 2,
                 "calls");
    /* a gradient's gradient through its loops: refused, and the node named */
    Bench d = bench_new(1, sizes, 1);
    network(&d, false, 0);
    bool wanted[3] = {true, false, false}, all[3] = {true, true, true};
    FuncId once_more = gradient_func(d.m, d.f, wanted, NULL);
    Node why = NODE_NONE;
    cr_assert(once_more);
    graph_get(d.m, once_more)->results.data[0] =
        graph_unary(d.m, once_more, OP_SUM, graph_get(d.m, once_more)->results.data[2], SPAN_NONE);
    cr_assert_eq(gradient_func(d.m, once_more, all, &why), 0);
    cr_assert_neq(why, NODE_NONE);
    bench_free(&b);
    bench_free(&d);
}

/* ---- kinks ---------------------------------------------------------------------------------- */

/* The gradient by two fields at x, y of the sum of what `make` says. */
typedef Node Kinked(Bench *b, Node x, Node y);

static void check_kink(Kinked *make, double x, double y, double by_x, double by_y,
                       const char *what) {
    for (int loops = 0; loops < 2; loops++) {
        Bench b = bench_new(1, sizes, 1);
        Type field = type_field(b.grid, 1);
        Node u = field_param(&b, 1), v = field_param(&b, 1), made;
        if (loops) { /* one step of a loop, which chooses nothing itself */
            FuncId whole = b.f, body = graph_func(b.m, 0);
            graph_param(b.m, body, type_scalar(), 0);
            Node state = graph_param(b.m, body, field, 0), p = graph_param(b.m, body, field, 0),
                 q = graph_param(b.m, body, field, 0);
            b.f = body;
            Node n = make(&b, p, q);
            vec_push(&bench_func(&b)->results, bin(&b, OP_ADD, state, n));
            b.f = whole;
            Loop loop = {.body = body, .states = 1, .captured = 2, .stride = 1};
            Node none = graph_add_typed(b.m, b.f, OP_SPREAD, field, (Node[]){number(&b, 0)}, 1, 0,
                                        0, SPAN_NONE);
            Node all = graph_add(b.m, b.f, OP_LOOP, (Node[]){number(&b, 1), none, u, v}, 4,
                                 graph_loop(b.m, &loop), 0, SPAN_NONE);
            made = graph_result(b.m, b.f, all, 0);
        } else {
            made = make(&b, u, v);
        }
        returns(&b, un(&b, OP_SUM, made));
        FuncId g = gradient_func(b.m, b.f, (bool[]){true, true}, NULL);
        cr_assert(g, "%s", what);
        Array args[2] = {array_of(&b, field), array_of(&b, field)}, results[3];
        for (int64_t i = 0; i < args[0].size; i++) args[0].data[i] = x, args[1].data[i] = y;
        EvalOptions options = {0};
        cr_assert_eq(eval_func(b.m, g, args, results, &options, b.arena), 0);
        cr_assert(isfinite(results[0].data[0]), "%s: the value is %g", what, results[0].data[0]);
        for (int64_t i = 0; i < args[0].size; i++) {
            cr_assert_float_eq(results[1].data[i], by_x, 1e-12, "%s by x: %g", what,
                               results[1].data[i]);
            cr_assert_float_eq(results[2].data[i], by_y, 1e-12, "%s by y: %g", what,
                               results[2].data[i]);
        }
        bench_free(&b);
    }
}

static Node choose(Bench *b, Node c, Node x, Node y) {
    return graph_add(b->m, b->f, OP_WHERE, (Node[]){c, x, y}, 3, 0, 0, SPAN_NONE);
}

static Node positive_x(Bench *b, Node x) { return bin(b, OP_LT, number(b, 0), x); }

static Node guarded_division(Bench *b, Node x, Node y) {
    return choose(b, positive_x(b, x), bin(b, OP_DIV, y, x), number(b, 0));
}

/* tanh(y * (1 / x)): what is no number goes through products and other functions on the way back */
static Node guarded_chain(Bench *b, Node x, Node y) {
    Node n = bin(b, OP_MUL, y, bin(b, OP_DIV, number(b, 1), x));
    n = bin(b, OP_ADD, un(b, OP_TANH, n), bin(b, OP_MUL, un(b, OP_LOG, x), y));
    return choose(b, positive_x(b, x), n, y);
}

static Node guarded_exp(Bench *b, Node x, Node y) {
    Node large = un(b, OP_EXP, bin(b, OP_MUL, x, number(b, 1000)));
    return choose(b, positive_x(b, x), y, bin(b, OP_MUL, large, y));
}

static Node floor_of_log(Bench *b, Node x, Node y) {
    return bin(b, OP_MAX, un(b, OP_LOG, x), bin(b, OP_MUL, y, y));
}

static Node least_of_log(Bench *b, Node x, Node y) {
    Node n = graph_add(b->m, b->f, OP_LARGEST, (Node[]){bin(b, OP_SUB, y, un(b, OP_LOG, y))}, 1, 0,
                       0, SPAN_NONE);
    return bin(b, OP_MUL, x, n);
}

static Node norm_of(Bench *b, Node x, Node y) {
    return un(b, OP_SQRT, bin(b, OP_ADD, bin(b, OP_MUL, x, x), bin(b, OP_MUL, y, y)));
}

static Node absolute(Bench *b, Node x, Node y) {
    return bin(b, OP_ADD, un(b, OP_ABS, x), un(b, OP_SQRT, y));
}

static Node larger(Bench *b, Node x, Node y) { return bin(b, OP_MAX, x, y); }

static Node small_power(Bench *b, Node x, Node y) {
    return bin(b, OP_ADD, bin(b, OP_POW, x, number(b, 0.3)), bin(b, OP_POW, x, y));
}

static Node angle(Bench *b, Node x, Node y) {
    return bin(b, OP_ADD, bin(b, OP_ATAN2, x, y), un(b, OP_ASIN, bin(b, OP_ADD, y, number(b, 1))));
}

Test(gradient, at_kinks_is_finite) {
    check_kink(guarded_division, 0, 3, 0, 0, "a division guarded by a condition");
    check_kink(guarded_division, 0, 0, 0, 0, "0 / 0 guarded by a condition");
    check_kink(guarded_division, 2, 3, -0.75, 0.5, "the same where it is chosen");
    check_kink(guarded_chain, 0, 2, 0, 1, "functions of what is no number");
    check_kink(guarded_chain, -1, 2, 0, 1, "the logarithm of a negative number");
    check_kink(guarded_exp, 2, 3, 0, 1, "a number beyond all bounds");
    check_kink(floor_of_log, 0, 2, 0, 4, "a maximum with -inf");
    check_kink(norm_of, 0, 0, 0, 0, "a norm at 0");
    check_kink(absolute, 0, 0, 0, 0, "abs and sqrt at 0");
    check_kink(larger, 1, 1, 0.5, 0.5, "a tie");
    check_kink(small_power, 0, 0.5, 0, 0, "a power below 1 at 0");
    check_kink(angle, 0, 0, 0, 0, "an angle at the origin");
    check_kink(least_of_log, 0, 1, 1, 0, "the largest of equal ones");
}

/* ---- random graphs --------------------------------------------------------------------------- */

static uint32_t draw(uint64_t *seed, uint32_t below) {
    return (uint32_t)((noise(seed) + 1) / 2 * below) % below;
}

/* A smooth value from those that there are; bounded, so that loops do not run away. */
static Node random_node(Bench *b, FuncId f, const Node *pool, uint32_t count, uint64_t *seed) {
    Node x = pool[draw(seed, count)], y = pool[draw(seed, count)];
    Node two = graph_const(b->m, f, 2), zero = graph_const(b->m, f, 0);
    switch (draw(seed, 9)) {
    case 0: return at(b, f, OP_ADD, x, at(b, f, OP_MUL, y, graph_const(b->m, f, 0.3)));
    case 1: return graph_unary(b->m, f, OP_TANH, at(b, f, OP_MUL, x, y), SPAN_NONE);
    case 2: return graph_unary(b->m, f, OP_SIN, x, SPAN_NONE);
    case 3: return at(b, f, OP_DIV, x, at(b, f, OP_ADD, two, at(b, f, OP_MUL, y, y)));
    case 4:
        return graph_add(b->m, f, OP_WHERE, (Node[]){at(b, f, OP_LT, zero, x), y, x}, 3, 0, 0,
                         SPAN_NONE);
    case 5: return at(b, f, OP_SUB, graph_unary(b->m, f, OP_ATAN, x, SPAN_NONE), y);
    case 6: {
        Node g = graph_add(b->m, f, OP_STENCIL, &x, 1, gradient_stencil(b, SIDE_ODD, false), 0,
                           SPAN_NONE);
        g = graph_unary(b->m, f, OP_TANH, g, SPAN_NONE);
        return graph_add(b->m, f, OP_STENCIL, &g, 1, gradient_stencil(b, SIDE_ODD, true), 0,
                         SPAN_NONE);
    }
    case 7:
        return at(
            b, f, OP_MUL, x,
            graph_unary(b->m, f, OP_TANH, graph_unary(b->m, f, OP_SUM, y, SPAN_NONE), SPAN_NONE));
    default: return at(b, f, OP_MUL, graph_unary(b->m, f, OP_COS, y, SPAN_NONE), x);
    }
}

/* A body of (k, states, captured) of random expressions; in some a loop of such a body. */
static FuncId random_body(Bench *b, uint32_t states, uint32_t captured, uint32_t depth,
                          uint64_t *seed);

static Node random_loop(Bench *b, FuncId f, const Node *pool, uint32_t count, uint32_t depth,
                        uint64_t *seed) {
    uint32_t states = 1 + draw(seed, 3), captured = 1 + draw(seed, 3),
             collect[] = {draw(seed, states)};
    Loop loop = {.body = random_body(b, states, captured, depth, seed),
                 .start = (int64_t)draw(seed, 3) - 1,
                 .states = states,
                 .captured = captured,
                 .stride = 1 + draw(seed, 3),
                 .collect = collect,
                 .collected = draw(seed, 2)};
    Node operands[8] = {graph_const(b->m, f, 1 + draw(seed, 5))};
    for (uint32_t i = 1; i <= states + captured; i++) operands[i] = pool[draw(seed, count)];
    Node made = graph_add(b->m, f, OP_LOOP, operands, 1 + states + captured,
                          graph_loop(b->m, &loop), 0, SPAN_NONE);
    Node last = graph_result(b->m, f, made, draw(seed, states));
    if (!loop.collected) return last;
    Node film = graph_result(b->m, f, made, states + 1);
    return at(b, f, OP_ADD, last, at(b, f, OP_FRAME, film, graph_const(b->m, f, -1)));
}

static FuncId random_body(Bench *b, uint32_t states, uint32_t captured, uint32_t depth,
                          uint64_t *seed) {
    FuncId f = graph_func(b->m, 0);
    Node pool[24];
    uint32_t count = 0;
    Node k = graph_param(b->m, f, type_scalar(), 0);
    for (uint32_t i = 0; i < states + captured; i++)
        pool[count++] = graph_param(b->m, f, type_field(b->grid, 1), 0);
    Node step =
        at(b, f, OP_ADD, graph_const(b->m, f, 1), at(b, f, OP_MUL, k, graph_const(b->m, f, 0.2)));
    pool[count] = at(b, f, OP_MUL, pool[0], step);
    count++;
    for (int i = 0; i < 5; i++, count++) pool[count] = random_node(b, f, pool, count, seed);
    if (depth && draw(seed, 2)) {
        pool[count] = random_loop(b, f, pool, count, depth - 1, seed);
        count++;
    }
    for (uint32_t i = 0; i < states; i++) {
        Node next = pool[draw(seed, 4) ? count - 1 - draw(seed, 3) : draw(seed, count)];
        next = graph_unary(b->m, f, OP_TANH, next, SPAN_NONE);
        vec_push(&graph_get(b->m, f)->results,
                 draw(seed, 5) ? next : pool[draw(seed, states + captured)]);
    }
    return f;
}

Test(gradient, of_random_graphs_with_loops) {
    for (uint64_t first = 1; first <= 60; first++) {
        uint64_t seed = first * 7919;
        Bench b = bench_new(1 + first % 2, sizes, 0.9);
        Type field = type_field(b.grid, 1);
        Node pool[16];
        uint32_t count = 3;
        for (int i = 0; i < 3; i++) pool[i] = field_param(&b, 1);
        for (int i = 0; i < 3; i++, count++) pool[count] = random_node(&b, b.f, pool, count, &seed);
        for (int i = 0; i < 2; i++, count++)
            pool[count] = random_loop(&b, b.f, pool, count, 2, &seed);
        for (int i = 0; i < 2; i++, count++) pool[count] = random_node(&b, b.f, pool, count, &seed);
        Node all = pool[count - 1];
        for (uint32_t i = 3; i + 1 < count; i++) all = bin(&b, OP_ADD, all, pool[i]);
        returns(&b, weighted(&b, all));
        cr_assert_null(graph_verify(b.m), "%s", graph_verify(b.m));
        if (first % 3 == 0) pass_simplify(b.m);
        Array args[3], steps[3];
        for (int i = 0; i < 3; i++) {
            args[i] = random_array(&b, field, first + 100 + (uint64_t)i);
            steps[i] = random_array(&b, field, first + 200 + (uint64_t)i);
        }
        char what[32];
        snprintf(what, sizeof what, "random graph %d", (int)first);
        check_taylor(&b, b.f, args, steps, 3, what);
        bench_free(&b);
    }
}

static uint32_t count_ops(const Bench *b, FuncId func, Op op) {
    const Func *f = graph_get(b->m, func);
    uint32_t count = 0;
    for (Node n = 1; n < f->nodes.len; n++) count += graph_node(f, n)->op == op;
    return count;
}

/* The flux of λ² (√(1 + s²/λ²) - 1) is s / √(1 + s²/λ²): numbers cancel, known ones and one that is a parameter, and
 * nothing guards a root of what is at least 1. */
Test(gradient, numbers_are_gathered) {
    for (int given = 0; given < 2; given++) {
        Bench b = bench_new(1, (int64_t[]){5}, 1);
        Node s = field_param(&b, 1), lambda = number(&b, 0.3);
        if (given) lambda = graph_param(b.m, b.f, type_scalar(), 0);
        Node square = bin(&b, OP_MUL, lambda, lambda);
        Node ratio = bin(&b, OP_DIV, bin(&b, OP_MUL, s, s), square);
        Node root = un(&b, OP_SQRT, bin(&b, OP_ADD, ratio, number(&b, 1)));
        returns(&b, un(&b, OP_SUM, bin(&b, OP_MUL, square, bin(&b, OP_SUB, root, number(&b, 1)))));
        FuncId g = gradient_func(b.m, b.f, (bool[]){true, false}, NULL);
        graph_get(b.m, g)->results.data[0] = graph_get(b.m, g)->results.data[1];
        graph_get(b.m, g)->results.len = 1;
        cr_assert(count_ops(&b, g, OP_WHERE) > 0 && count_ops(&b, g, OP_MUL) > 3);
        FuncId f = factor_func(b.m, g);
        cr_assert_eq(count_ops(&b, f, OP_WHERE), 0);
        cr_assert_eq(count_ops(&b, f, OP_MUL), 2 + (uint32_t)given); /* s², (λ²,) s times … */
        cr_assert_eq(count_ops(&b, f, OP_DIV), 2);                   /* s²/λ², 1/√ */
        Array args[2] = {random_array(&b, type_field(b.grid, 1), 3),
                         random_array(&b, type_scalar(), 4)};
        args[1].data[0] = 0.3;
        Array flux = run_func(&b, f, args);
        for (int i = 0; i < 5; i++) {
            double x = args[0].data[i];
            cr_assert(fabs(flux.data[i] - x / sqrt(1 + x * x / 0.09)) < 1e-15);
        }
        bench_free(&b);
    }
}

/* Chains of products, quotients, sums and linear ops with numbers in them, known and not. */
static FuncId random_products(Bench *b, uint64_t *seed) {
    Node pool[40] = {field_param(b, 1), field_param(b, 1),
                     graph_param(b->m, b->f, type_scalar(), 0),
                     graph_param(b->m, b->f, type_scalar(), 0)};
    uint32_t count = 4;
    StencilId smooth = gradient_stencil(b, SIDE_ODD, false);
    Type one = type_field(b->grid, 1);
    while (count < 40) {
        Node x = pool[(uint32_t)((noise(seed) + 1) / 2 * count) % count],
             y = pool[(uint32_t)((noise(seed) + 1) / 2 * count) % count], made;
        double c = floor(noise(seed) * 4) / 2;
        Node safe = un(b, OP_EXP, un(b, OP_SIN, y)), s = pool[2 + (count & 1)];
        bool field = graph_node(bench_func(b), x)->type.kind == TYPE_FIELD;
        switch ((uint32_t)((noise(seed) + 1) / 2 * 12)) {
        case 0: made = bin(b, OP_MUL, x, number(b, c)); break;
        case 1: made = bin(b, OP_DIV, x, number(b, c != 0 ? c : 3)); break;
        case 2: made = bin(b, OP_MUL, x, s); break;
        case 3: made = bin(b, OP_DIV, x, s); break;
        case 4: made = bin(b, OP_MUL, x, un(b, OP_SIN, y)); break;
        case 5: made = bin(b, OP_DIV, bin(b, OP_MUL, x, s), bin(b, OP_MUL, safe, s)); break;
        case 6: made = bin(b, OP_ADD, bin(b, OP_MUL, x, s), bin(b, OP_MUL, y, s)); break;
        case 7: made = bin(b, OP_SUB, bin(b, OP_MUL, x, number(b, c)), bin(b, OP_MUL, x, s)); break;
        case 8:
            made = graph_add(b->m, b->f, OP_WHERE,
                             (Node[]){bin(b, OP_LT, x, y), bin(b, OP_MUL, x, s), number(b, 0)}, 3,
                             0, 0, SPAN_NONE);
            break;
        case 9: made = field ? apply(b, smooth, bin(b, OP_DIV, x, s)) : un(b, OP_NEG, x); break;
        case 10:
            made = graph_add_typed(b->m, b->f, OP_SPREAD, one, &s, 1, 0, 0, SPAN_NONE);
            made = bin(b, OP_DIV, bin(b, OP_MUL, x, made), safe);
            break;
        default:
            if (field) {
                Node two[2] = {bin(b, OP_MUL, x, number(b, 3)),
                               bin(b, OP_MUL, pool[0], number(b, c))};
                made = graph_add(b->m, b->f, OP_CONCAT, two, 2, 0, 0, SPAN_NONE);
                made = un(b, OP_TANH, un(b, OP_CHSUM, made));
            } else {
                made = un(b, OP_SUM, bin(b, OP_MUL, pool[1], x));
            }
        }
        pool[count++] = made;
    }
    for (uint32_t i = 0; i < 40; i += 3) returns(b, pool[i]);
    return b->f;
}

Test(gradient, gathered_numbers_keep_the_values) {
    for (uint64_t seed = 1; seed <= 200; seed++) {
        Bench b = bench_new(1, (int64_t[]){4}, 1);
        uint64_t state = seed * 977;
        FuncId f = random_products(&b, &state), g = factor_func(b.m, f);
        cr_assert_null(graph_verify(b.m));
        Array args[4], want[16], have[16];
        for (uint32_t i = 0; i < 4; i++)
            args[i] = random_array(&b, i < 2 ? type_field(b.grid, 1) : type_scalar(), seed + i);
        EvalOptions options = {0};
        cr_assert_eq(eval_func(b.m, f, args, want, &options, b.arena), 0);
        cr_assert_eq(eval_func(b.m, g, args, have, &options, b.arena), 0);
        for (uint32_t i = 0; i < graph_get(b.m, f)->results.len; i++) {
            cr_assert(type_equal(have[i].type, want[i].type), "seed %d result %u", (int)seed, i);
            double largest = 1;
            for (int64_t k = 0; k < want[i].size; k++)
                largest = fmax(largest, fabs(want[i].data[k]));
            for (int64_t k = 0; k < want[i].size && largest < 1e6; k++)
                cr_assert(fabs(have[i].data[k] - want[i].data[k]) <= 1e-8 * largest,
                          "seed %d result %u: %.17g, not %.17g", (int)seed, i, have[i].data[k],
                          want[i].data[k]);
        }
        bench_free(&b);
    }
}
