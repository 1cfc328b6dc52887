/* graph: sharing, shapes, copies, text and the verifier; the passes that rebuild functions. */
#include "tests/unit/build_graph.h"

#include <criterion/criterion.h>

static const int64_t small[3] = {5, 4, 3};

Test(graph, equal_nodes_exist_once) {
    Bench b = bench_new(2, small, 1);
    Node u = field_param(&b, 1), v = field_param(&b, 1);
    cr_assert_eq(bin(&b, OP_ADD, u, v), bin(&b, OP_ADD, v, u));
    cr_assert_eq(bin(&b, OP_MUL, u, v), bin(&b, OP_MUL, v, u));
    cr_assert_neq(bin(&b, OP_SUB, u, v), bin(&b, OP_SUB, v, u));
    cr_assert_eq(number(&b, 0.1), number(&b, 0.1));
    cr_assert_neq(number(&b, 0.0), number(&b, -0.0));
    bench_free(&b);
}

/* What is doubled halves to itself; what was halved doubles to what it came from. Text keeps both. */
Test(graph, grids_double_as_they_halve) {
    Bench b = bench_new(2, small, 1);
    GridId fine = graph_finer(b.m, b.grid), coarse = graph_coarser(b.m, b.grid);
    cr_assert_eq(graph_coarser(b.m, fine), b.grid);
    cr_assert_eq(graph_finer(b.m, coarse), b.grid);
    cr_assert_eq(graph_finer(b.m, b.grid), fine);
    cr_assert_eq(b.m->grids.data[fine].extent[0], 10);
    cr_assert_eq(b.m->grids.data[fine].spacing[1], 0.5);
    Node u = field_param(&b, 2), up = un(&b, OP_PROLONG, u);
    returns(&b, un(&b, OP_MAXPOOL, up));
    returns(&b, graph_add(b.m, b.f, OP_RESTRICT, &u, 1, 1, 0, SPAN_NONE));
    cr_assert_null(graph_verify(b.m), "%s", graph_verify(b.m));
    Text text = {0}, again = {0};
    graph_print(b.m, &text);
    char *error = NULL;
    Module *read = graph_read(b.names, text.data, text.len, &error);
    cr_assert(read, "%s", error);
    graph_print(read, &again);
    cr_assert_str_eq(text.data, again.data);
    /* a grid that halves one and doubles another is none */
    read->grids.data[coarse].coarser = b.grid;
    cr_assert(graph_verify(read));
    text_free(&text);
    text_free(&again);
    graph_free(read);
    bench_free(&b);
}

Test(graph, equal_grids_and_stencils_are_one) {
    Bench b = bench_new(2, small, 1);
    Grid same = {.rank = 2, .extent = {5, 4, 9}, .spacing = {1, 1}};
    cr_assert_eq(graph_grid(b.m, &same), b.grid);
    same.origin[1] = 1;
    cr_assert_neq(graph_grid(b.m, &same), b.grid);
    Tap ab[] = {{{1, 0}, 0, 0, 2}, {{-1, 0}, 0, 0, 3}, {{0, 0}, 0, 0, 0}};
    Tap ba[] = {{{-1, 0}, 0, 0, 3}, {{1, 0}, 0, 0, 1.5}, {{1, 0}, 0, 0, 0.5}};
    Stencil s = {.rank = 2, .in_channels = 1, .out_channels = 1, .taps = ab, .count = 3};
    StencilId one = graph_stencil(b.m, &s);
    s.taps = ba;
    cr_assert_eq(graph_stencil(b.m, &s), one, "taps are sorted, summed, and zeros dropped");
    cr_assert_eq(b.m->stencils.data[one].count, 2);
    GridId coarse = graph_coarser(b.m, b.grid);
    cr_assert_eq(b.m->grids.data[coarse].extent[0], 3);
    cr_assert_eq(b.m->grids.data[coarse].spacing[1], 2);
    cr_assert_eq(graph_coarser(b.m, b.grid), coarse);
    bench_free(&b);
}

Test(graph, shapes_name_both_grids) {
    Bench b = bench_new(2, small, 1);
    Grid other = {.rank = 2, .extent = {128, 128}, .spacing = {2, 2}};
    Node u = field_param(&b, 1);
    Node v = graph_param(b.m, b.f, type_field(graph_grid(b.m, &other), 1), 0);
    Type type;
    const char *why = "";
    cr_assert_not(op_shape(b.m, b.f, OP_ADD, (Node[]){u, v}, 2, 0, 0, &type, &why));
    cr_assert_str_eq(why, "fields live on different grids: 5×4, spacing 1 and 128×128, spacing 2");
    cr_assert_not(op_shape(b.m, b.f, OP_ADD, &u, 1, 0, 0, &type, &why));
    Node three = field_param(&b, 3), two = field_param(&b, 2);
    cr_assert(op_shape(b.m, b.f, OP_MUL, (Node[]){u, three}, 2, 0, 0, &type, &why));
    cr_assert_eq(type.channels, 3);
    cr_assert_not(op_shape(b.m, b.f, OP_MUL, (Node[]){two, three}, 2, 0, 0, &type, &why));
    cr_assert(
        op_shape(b.m, b.f, OP_MUL, (Node[]){number(&b, 2), number(&b, 3)}, 2, 0, 0, &type, &why));
    cr_assert_eq(type.kind, TYPE_SCALAR);
    bench_free(&b);
}

Test(graph, folds) {
    Bench b = bench_new(2, small, 1);
    Node u = field_param(&b, 1), v = field_param(&b, 1), c = field_param(&b, 3);
    Node zero = number(&b, 0), one = number(&b, 1);
    cr_assert_eq(bin(&b, OP_ADD, zero, u), u);
    cr_assert_eq(bin(&b, OP_SUB, u, zero), u);
    cr_assert_eq(bin(&b, OP_SUB, zero, u), un(&b, OP_NEG, u));
    cr_assert_eq(bin(&b, OP_MUL, u, one), u);
    cr_assert_eq(bin(&b, OP_DIV, u, one), u);
    cr_assert_eq(un(&b, OP_NEG, un(&b, OP_NEG, u)), u);
    cr_assert_eq(un(&b, OP_NEG, bin(&b, OP_SUB, u, v)), bin(&b, OP_SUB, v, u));
    cr_assert_neq(bin(&b, OP_MUL, u, zero), zero, "NaN must be noticed");
    cr_assert_neq(bin(&b, OP_SUB, u, u), zero, "NaN must be noticed");
    cr_assert_eq(bin(&b, OP_POW, u, number(&b, 2)), bin(&b, OP_MUL, u, u));
    cr_assert_eq(bin(&b, OP_POW, u, one), u);
    cr_assert_eq(bin(&b, OP_POW, u, number(&b, 0.5)), un(&b, OP_SQRT, u));
    cr_assert_eq(bin(&b, OP_POW, u, number(&b, -1)), bin(&b, OP_DIV, one, u));
    cr_assert_eq(bin(&b, OP_DIV, u, number(&b, 4)), bin(&b, OP_MUL, u, number(&b, 0.25)));
    cr_assert_eq(graph_node(bench_func(&b), bin(&b, OP_DIV, u, number(&b, 3)))->op, OP_DIV);
    Node parts[3] = {graph_add(b.m, b.f, OP_CHANNEL, &c, 1, 0, 0, SPAN_NONE),
                     graph_add(b.m, b.f, OP_CHANNEL, &c, 1, 1, 0, SPAN_NONE),
                     graph_add(b.m, b.f, OP_CHANNEL, &c, 1, 2, 0, SPAN_NONE)};
    cr_assert_eq(graph_add(b.m, b.f, OP_CONCAT, parts, 3, 0, 0, SPAN_NONE), c);
    Node joined = graph_add(b.m, b.f, OP_CONCAT, (Node[]){u, c, v}, 3, 0, 0, SPAN_NONE);
    cr_assert_eq(graph_add(b.m, b.f, OP_CHANNEL, &joined, 1, 4, 0, SPAN_NONE), v);
    cr_assert_eq(graph_add(b.m, b.f, OP_CHANNEL, &joined, 1, 2, 0, SPAN_NONE), parts[1]);
    /* zero may not eat the channels of what it is added to */
    Node zeros =
        graph_add_typed(b.m, b.f, OP_SPREAD, type_field(b.grid, 1), &zero, 1, 0, 0, SPAN_NONE);
    cr_assert_eq(bin(&b, OP_ADD, zeros, c), c);
    cr_assert_eq(graph_node(bench_func(&b), bin(&b, OP_ADD, number(&b, 5), zeros))->type.kind,
                 TYPE_FIELD);
    double x;
    cr_assert(graph_is_const(bench_func(&b), bin(&b, OP_DIV, one, number(&b, 3)), &x));
    cr_assert_eq(x, 1.0 / 3.0);
    bench_free(&b);
}

/* A loop of two states, one of them useless, one capture constant; collects the first. */
static Node loop_of(Bench *b, Node u, bool stop) {
    FuncId body = graph_func(b->m, names_of(b->names, "body"));
    Type field = type_field(b->grid, 1);
    Node k = graph_param(b->m, body, type_scalar(), 0);
    Node state = graph_param(b->m, body, field, 0), useless = graph_param(b->m, body, field, 0);
    Node fixed = graph_param(b->m, body, type_scalar(), 0),
         tau = graph_param(b->m, body, type_scalar(), 0);
    Node step = graph_binary(b->m, body, OP_MUL, tau, k, SPAN_NONE);
    Node next = graph_binary(b->m, body, OP_ADD, state, step, SPAN_NONE);
    next = graph_binary(b->m, body, OP_ADD, next, fixed, SPAN_NONE);
    Func *f = graph_get(b->m, body);
    vec_push(&f->results, next);
    vec_push(&f->results, graph_binary(b->m, body, OP_MUL, useless, state, SPAN_NONE));
    vec_push(&f->results, fixed);
    if (stop)
        vec_push(&f->results,
                 graph_binary(b->m, body, OP_EQ, k, graph_const(b->m, body, 4), SPAN_NONE));
    uint32_t collect[] = {0};
    Loop loop = {.body = body,
                 .start = 1,
                 .states = 3,
                 .captured = 1,
                 .has_stop = stop,
                 .collect = collect,
                 .collected = 1,
                 .stride = 2};
    Node operands[] = {number(b, 7), u, u, number(b, 10), number(b, 0.5)};
    return graph_add(b->m, b->f, OP_LOOP, operands, 5, graph_loop(b->m, &loop), 0, SPAN_NONE);
}

static void check_loop(Bench *b, double steps, double sum) {
    Array u = random_array(b, type_field(b->grid, 1), 1);
    Array results[4];
    EvalOptions options = {0};
    cr_assert_eq(eval_func(b->m, b->f, &u, results, &options, b->arena), 0);
    for (int64_t i = 0; i < u.size; i++)
        cr_assert_float_eq(results[0].data[i], u.data[i] + 0.5 * sum + 10 * steps, 1e-12);
    cr_assert_eq(results[1].data[0], steps);
    cr_assert_eq(results[2].frames, 1 + (int)(steps / 2));
    cr_assert_float_eq(results[3].data[0], u.data[0] + 0.5 * (1 + 2) + 20, 1e-12,
                       "frame 1 is after two steps");
}

Test(graph, loops_run_and_shrink) {
    for (int stop = 0; stop < 2; stop++) {
        Bench b = bench_new(2, small, 1);
        Node u = field_param(&b, 1), loop = loop_of(&b, u, stop);
        returns(&b, graph_result(b.m, b.f, loop, 0));
        returns(&b, graph_result(b.m, b.f, loop, 3));
        Node stack = graph_result(b.m, b.f, loop, 4);
        returns(&b, stack);
        returns(&b,
                graph_add(b.m, b.f, OP_FRAME, (Node[]){stack, number(&b, 1)}, 2, 0, 0, SPAN_NONE));
        cr_assert_null(graph_verify(b.m), "%s", graph_verify(b.m));
        check_loop(&b, stop ? 4 : 7, stop ? 10 : 28);
        pass_simplify(b.m);
        cr_assert_null(graph_verify(b.m), "%s", graph_verify(b.m));
        check_loop(&b, stop ? 4 : 7, stop ? 10 : 28);
        const Func *f = bench_func(&b);
        const Loop *made = NULL;
        for (Node n = 1; n < f->nodes.len; n++)
            if (graph_node(f, n)->op == OP_LOOP) made = &b.m->loops.data[graph_node(f, n)->index];
        cr_assert_not_null(made);
        cr_assert_eq(made->states, 1, "the useless and the constant state are gone");
        cr_assert_eq(made->captured, 0, "constants are made inside");
        pass_contract(b.m);
        cr_assert_null(graph_verify(b.m), "%s", graph_verify(b.m));
        check_loop(&b, stop ? 4 : 7, stop ? 10 : 28);
        bench_free(&b);
    }
}

Test(graph, contract_keeps_products_that_are_used) {
    Bench b = bench_new(1, small, 1);
    Node u = field_param(&b, 1), v = field_param(&b, 1), w = field_param(&b, 1);
    Node shared = bin(&b, OP_MUL, u, v);
    returns(&b, bin(&b, OP_ADD, shared, w));
    returns(&b, shared);
    returns(&b, bin(&b, OP_SUB, w, bin(&b, OP_MUL, u, w)));
    pass_contract(b.m);
    cr_assert_null(graph_verify(b.m));
    const Func *f = bench_func(&b);
    cr_assert_eq(graph_node(f, f->results.data[0])->op, OP_ADD);
    cr_assert_eq(graph_node(f, f->results.data[1])->op, OP_MUL);
    cr_assert_eq(graph_node(f, f->results.data[2])->op, OP_FMA);
    bench_free(&b);
}

Test(graph, text_reads_back_exactly) {
    Bench b = bench_new(2, small, 0.1);
    b.m->grids.data[b.grid].name = names_of(b.names, "a \"grid\"\\");
    Node u = field_param(&b, 1), loop = loop_of(&b, u, true);
    Node sum = bin(&b, OP_ADD, graph_result(b.m, b.f, loop, 0), number(&b, NAN));
    Node g = apply(&b, gradient_stencil(&b, SIDE_ODD, false), sum);
    returns(&b, apply(&b, gradient_stencil(&b, SIDE_ODD, true), g));
    returns(&b,
            graph_add_typed(b.m, b.f, OP_EDGE, type_field(b.grid, 1), NULL, 0, 1, 1, SPAN_NONE));
    returns(&b, un(&b, OP_RESTRICT, u));
    Input input = {.type = type_field(b.grid, 1), .name = names_of(b.names, "photo")};
    vec_push(&b.m->inputs, input);
    Effect effect = {EFFECT_SAVE, 3, ARENA_ARRAY(b.arena, Node, 1), 1, SPAN_NONE};
    effect.values[0] = u;
    vec_push(&bench_func(&b)->effects, effect);
    b.m->main = b.f;
    cr_assert_null(graph_verify(b.m), "%s", graph_verify(b.m));
    Text first = {0}, second = {0};
    graph_print(b.m, &first);
    char *error = NULL;
    Module *again = graph_read(b.names, first.data, first.len, &error);
    cr_assert_not_null(again, "%s\n%s", error, first.data);
    graph_print(again, &second);
    cr_assert_str_eq(first.data, second.data);
    /* every cut and every damaged byte is refused or sound, never a crash */
    for (uint32_t i = 0; i < first.len; i += 3) {
        char *damaged = strdup(first.data);
        damaged[i] = (char)('0' + i % 10);
        Module *m = graph_read(b.names, damaged, first.len, &error);
        if (m)
            graph_free(m);
        else
            mem_free(error);
        m = graph_read(b.names, first.data, i, &error);
        if (m)
            graph_free(m);
        else
            mem_free(error);
        free(damaged);
    }
    graph_free(again);
    text_free(&first);
    text_free(&second);
    bench_free(&b);
}

static void refuses(Names *names, const char *text, const char *part) {
    char *error = NULL;
    Module *m = graph_read(names, text, strlen(text), &error);
    cr_assert_null(m, "accepted: %s", text);
    cr_assert(strstr(error, part), "%s lacks %s", error, part);
    mem_free(error);
}

Test(graph, verifier_refuses) {
    Names *names = names_new();
#define GRID1 "grid 1 extent 8 spacing 1 origin 0 finer 0\n"
    refuses(names, "grid 1 extent 0 spacing 1 origin 0 finer 0\n", "extent of 0");
    refuses(names, "grid 1 extent 8 spacing 2 origin 0 finer 0 row\n", "row of numbers");
    refuses(names, "grid 1 extent 8 spacing 0 origin 0 finer 0\n", "not positive");
    refuses(names, "func 1\n  %1 = add 0 (%2, %1) : scalar\n", "does not stand before it");
    refuses(names, "func 1\n  %1 = nothing 0 : scalar\n", "there is no op `nothing`");
    refuses(names, GRID1 "func 1\n  %1 = param 0 : field 1 1\n  %2 = neg 0 (%1) : scalar\n",
            "stands as");
    refuses(names, GRID1 "func 1\n  %1 = param 0 : field 1 2\n", "grid that does not exist");
    refuses(names, "func 1\n  %1 = call 1 : tuple\n", "no such function");
    refuses(names, "func 1\n  %1 = call 2 : tuple\nfunc 2\n  %1 = call 1 : tuple\n",
            "calls itself");
    refuses(names, "loop 1 body 7 start 0 states 0 captured 0 stop 0 stride 1 collect 0\n",
            "no body");
    refuses(names, "func 1\n  %1 = const 1 : scalar\n  %2 = result 0 (%1) : scalar\n",
            "no such result");
    refuses(names, "func 1\n  results (%1)\n", "no value");
    refuses(names, "main 3\n", "does not exist");
    refuses(names, GRID1 "stencil 1 rank 1 in 1 out 1 sides periodic even values 0 0 taps 0\n",
            "one side");
    refuses(names, GRID1 "stencil 1 rank 1 in 1 out 1 sides even even values 1 0 taps 0\n",
            "takes none");
    refuses(names, "hello\n", "line 1");
    refuses(names, "\n\nfunc 1\n  %1 = const one : scalar\n", "line 4");
    names_free(names);
}

Test(graph, copies_substitute) {
    Bench b = bench_new(1, small, 1);
    Node u = field_param(&b, 1), v = field_param(&b, 1);
    Node n = bin(&b, OP_ADD, bin(&b, OP_MUL, u, u), v);
    Map known = {0};
    map_set(&known, u, v);
    map_set(&known, v, number(&b, 0));
    cr_assert_eq(graph_copy(b.m, b.f, n, b.f, &known), bin(&b, OP_MUL, v, v));
    map_free(&known);
    bench_free(&b);
}

/* ---- random graphs: what passes and text must keep ------------------------------------------------ */

static Node random_graph(Bench *b, uint64_t seed) {
    static const Op unary[] = {OP_NEG,   OP_ABS,      OP_TANH, OP_SIN,  OP_SQRT,
                               OP_CHSUM, OP_RESTRICT, OP_NOT,  OP_ROUND};
    static const Op binary[] = {OP_ADD, OP_SUB, OP_MUL, OP_DIV, OP_MIN,
                                OP_MAX, OP_LT,  OP_POW, OP_ADD, OP_MUL};
    static const double numbers[] = {0, 1, -1, 2, 0.5, 3, -0.25};
    Node pool[64];
    uint32_t count = 0;
    pool[count++] = field_param(b, 1);
    pool[count++] = field_param(b, 2);
    pool[count++] = graph_param(b->m, b->f, type_scalar(), 0);
    while (count < 40) {
        double kind = noise(&seed);
        Node x = pool[(uint32_t)(fabs(noise(&seed)) * count)],
             y = pool[(uint32_t)(fabs(noise(&seed)) * count)];
        Node z = pool[(uint32_t)(fabs(noise(&seed)) * count)], made;
        Op op;
        uint32_t operands = 2, index = 0;
        Type type;
        const char *why;
        if (kind < -0.7) {
            pool[count++] = number(b, numbers[(int)(fabs(noise(&seed)) * 6.99)]);
            continue;
        } else if (kind < -0.3) {
            op = unary[(int)(fabs(noise(&seed)) * 8.99)], operands = 1;
        } else if (kind < 0.6) {
            op = binary[(int)(fabs(noise(&seed)) * 9.99)];
        } else if (kind < 0.7) {
            op = OP_WHERE, operands = 3;
        } else if (kind < 0.8) {
            op = OP_CONCAT;
        } else if (kind < 0.9) {
            op = OP_CHANNEL, operands = 1, index = noise(&seed) > 0;
        } else {
            op = OP_STENCIL, operands = 1,
            index = gradient_stencil(b, noise(&seed) > 0 ? SIDE_EVEN : SIDE_ODD, noise(&seed) > 0);
        }
        Node all[3] = {x, y, z};
        if (!op_shape(b->m, b->f, op, all, operands, index, 0, &type, &why) || type.channels > 4)
            continue;
        made = graph_add(b->m, b->f, op, all, operands, index, 0, SPAN_NONE);
        pool[count++] = made;
    }
    return pool[39];
}

Test(graph, passes_and_text_keep_values) {
    uint32_t compared = 0;
    for (uint64_t seed = 1; seed <= 150; seed++) {
        Bench b = bench_new(2, small, 0.7);
        returns(&b, random_graph(&b, seed));
        b.m->main = b.f;
        cr_assert_null(graph_verify(b.m), "%s", graph_verify(b.m));
        Array args[3] = {random_array(&b, type_field(b.grid, 1), seed),
                         random_array(&b, type_field(b.grid, 2), seed + 1),
                         array_of(&b, type_scalar())};
        args[2].data[0] = 0.3;
        Array before = run_func(&b, b.f, args);
        Text text = {0};
        graph_print(b.m, &text);
        char *error = NULL;
        Bench copy = b;
        copy.m = graph_read(b.names, text.data, text.len, &error);
        cr_assert_not_null(copy.m, "%s", error);
        for (int pass = 0; pass < 3; pass++) {
            if (pass == 1) pass_simplify(b.m);
            if (pass == 2) pass_contract(b.m);
            cr_assert_null(graph_verify(b.m), "%s", graph_verify(b.m));
            Array after = run_func(pass ? &b : &copy, b.f, args);
            cr_assert(type_equal(before.type, after.type));
            for (int64_t i = 0; i < before.size; i++) {
                double x = before.data[i], y = after.data[i];
                bool close = pass < 2 ? x == y || (isnan(x) && isnan(y)) : isnan(x) == isnan(y);
                cr_assert(close, "seed %d pass %d: %.17g %.17g", (int)seed, pass, x, y);
                compared += isfinite(x) && x != 0;
            }
        }
        graph_free(copy.m);
        text_free(&text);
        bench_free(&b);
    }
    cr_assert(compared > 2000, "%u", compared);
}
