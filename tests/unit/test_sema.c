/* Elaboration: what graphs programs become, difference weights, and what the messages say. */
#include "compiler/sema/value.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <math.h>
#include <string.h>

typedef struct {
    SemaContext context;
    Unit *unit;
    Elaborated *first; /* the first experiment, or NULL after errors */
} Program1;

static Program1 elaborate(const char *text) {
    Sources *sources = sources_new();
    Program1 p = {
        .context = {arena_new(), names_new(), sources, diagnostics_new(sources, 0), NULL}};
    p.unit = sema_load_text(&p.context, "test.pdn", text, strlen(text));
    ElaborateOptions options = {0};
    if (!diagnostics_errors(p.context.diagnostics))
        p.first = sema_elaborate_experiment(p.unit, 0, &options);
    return p;
}

static void finish(Program1 *p) {
    if (p->first) graph_free(p->first->module);
    diagnostics_free(p->context.diagnostics);
    sources_free(p->context.sources);
    names_free(p->context.names);
    arena_free(p->context.arena);
}

static uint32_t count_op(const Module *m, Op op) {
    uint32_t n = 0;
    for (FuncId f = 1; f < m->funcs.len; f++)
        for (Node i = 1; i < m->funcs.data[f]->nodes.len; i++)
            n += graph_node(m->funcs.data[f], i)->op == op;
    return n;
}

static bool says(const Program1 *p, const char *text) {
    Text all = {0};
    diagnostics_render_text(p->context.diagnostics, &all);
    bool found = all.data && strstr(all.data, text);
    text_free(&all);
    return found;
}

/* Fornberg 1988, table 1: central differences on unit spacing. */
Test(sema, difference_weights) {
    static const struct {
        int order, accuracy, reach;
        double weights[9];
    } known[] = {
        {1, 2, 1, {-1. / 2, 0, 1. / 2}},
        {1, 4, 2, {1. / 12, -2. / 3, 0, 2. / 3, -1. / 12}},
        {1, 8, 4, {1. / 280, -4. / 105, 1. / 5, -4. / 5, 0, 4. / 5, -1. / 5, 4. / 105, -1. / 280}},
        {2, 2, 1, {1, -2, 1}},
        {2, 6, 3, {1. / 90, -3. / 20, 3. / 2, -49. / 18, 3. / 2, -3. / 20, 1. / 90}},
        {3, 2, 2, {-1. / 2, 1, 0, -1, 1. / 2}},
        {4, 4, 3, {-1. / 6, 2, -13. / 2, 28. / 3, -13. / 2, 2, -1. / 6}},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        double w[2 * DERIVATIVE_REACH_LIMIT + 1];
        int reach = derivative_weights(known[i].order, known[i].accuracy, w);
        cr_assert_eq(reach, known[i].reach);
        for (int k = 0; k < 2 * reach + 1; k++)
            cr_assert_float_eq(w[k], known[i].weights[k], 1e-14);
    }
}

/* Every moment that a central difference must reproduce, up to the highest order and accuracy. */
Test(sema, difference_moments) {
    for (int order = 1; order <= 12; order++)
        for (int accuracy = 2; accuracy <= 8; accuracy += 2) {
            double w[2 * DERIVATIVE_REACH_LIMIT + 1];
            int reach = derivative_weights(order, accuracy, w);
            cr_assert(reach <= DERIVATIVE_REACH_LIMIT);
            for (int power = 0; power < order + accuracy; power++) {
                double sum = 0, size = 0, factorial = 1;
                for (int k = -reach; k <= reach; k++) {
                    double term = w[k + reach] * pow(k, power);
                    sum += term;
                    size += fabs(term);
                }
                for (int k = 2; k <= order; k++) factorial *= k;
                cr_assert_leq(fabs(sum - (power == order ? factorial : 0)), 1e-12 * (size + 1),
                              "order %d accuracy %d moment %d", order, accuracy, power);
            }
        }
}

static const char *const heat =
    "pde heat(u) { dt(u) = laplacian(u) }\n"
    "scheme euler(F, tau, steps)(f) { u[0] = f\n u[k+1] = u[k] + tau * F(u[k])\n return u[steps] }\n";

Test(sema, steps_are_a_loop_of_fixed_size) {
    uint32_t nodes[2];
    for (int i = 0; i < 2; i++) {
        char text[600];
        snprintf(text, sizeof text,
                 "%sexperiment e { grid G = box([0, 8], cells = [8])\n"
                 "print \"m\": mean(euler(heat, 0.1, %d)(G.x)) }\n",
                 heat, i ? 10000 : 10);
        Program1 p = elaborate(text);
        cr_assert(p.first != NULL);
        cr_assert_eq(count_op(p.first->module, OP_LOOP), 1u);
        nodes[i] = 0;
        for (FuncId f = 1; f < p.first->module->funcs.len; f++)
            nodes[i] += p.first->module->funcs.data[f]->nodes.len;
        finish(&p);
    }
    cr_assert_eq(nodes[0], nodes[1]);
}

Test(sema, history_is_what_the_recurrence_reads) {
    static const struct {
        const char *step;
        uint32_t states;
    } cases[] = {
        {"u[k+1] = 2 * u[k]", 1},      {"u[k+1] = u[k] + u[k-1]", 2},
        {"u[k+1] = u[k-3] * 0.5", 4},  {"let a = u[k-1]\n u[k+1] = a + u[k]", 2},
        {"u[k] = u[k-1] + u[k-2]", 2},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[600];
        snprintf(text, sizeof text,
                 "scheme s(f) { u[-3] = f\n u[-2] = f\n u[-1] = f\n u[0] = f\n %s\n return u[9] }\n"
                 "experiment e { grid G = box([0, 8], cells = [8])\n print \"m\": mean(s(G.x)) }\n",
                 cases[i].step);
        Program1 p = elaborate(text);
        cr_assert(p.first != NULL, "%s", cases[i].step);
        cr_assert_eq(vec_last(&p.first->module->loops).states, cases[i].states, "%s",
                     cases[i].step);
        finish(&p);
    }
}

Test(sema, operators_leave_no_trace) {
    Program1 p =
        elaborate("operator twice(A)(u) = A(A(u))\n"
                  "experiment e { grid G = box([0, 8], cells = [8])\n let S = stencil([1, -2, 1])\n"
                  "print \"m\": mean(compose(S, twice(S))(G.x)), mean((S + 2 * S)(G.x)) }\n");
    cr_assert(p.first != NULL);
    /* S(x), S(S(x)), S(S(S(x))); the sum shares the first */
    cr_assert_eq(count_op(p.first->module, OP_STENCIL), 3u);
    cr_assert_eq(count_op(p.first->module, OP_CALL), 0u);
    finish(&p);
}

Test(sema, laplacian_is_the_divergence_of_the_gradient) {
    static const char *const sides[] = {"reflecting", "periodic", "zero", "dirichlet(1)",
                                        "neumann(2)"};
    for (size_t i = 0; i < sizeof sides / sizeof *sides; i++) {
        char text[500];
        snprintf(text, sizeof text,
                 "operator a(u) { boundary u = %s\n return laplacian(u) }\n"
                 "operator b(u) { boundary u = %s\n return div(grad(u)) }\n"
                 "experiment e { grid G = box([0, 8], [0, 1], cells = [8, 4])\n"
                 "print \"m\": sum(a(G.x)), sum(b(G.x)) }\n",
                 sides[i], sides[i]);
        Program1 p = elaborate(text);
        cr_assert(p.first != NULL, "%s", sides[i]);
        const Effect *effect = &graph_get(p.first->module, p.first->module->main)->effects.data[0];
        /* one node: equal to the bit */
        cr_assert_eq(effect->values[0], effect->values[1], "%s", sides[i]);
        finish(&p);
    }
}

Test(sema, static_numbers_are_numbers) {
    Program1 p = elaborate(
        "experiment e { let a = 3 * 2^3 + 10 % 4\n print \"n\": a, sqrt(16), where(a > 1, 5, 6) }\n");
    cr_assert(p.first != NULL);
    const Action *a = &p.first->actions.data[0];
    cr_assert(a->known[0] && a->known[1] && a->known[2]);
    cr_assert_float_eq(a->numbers[0], 26, 0);
    cr_assert_float_eq(a->numbers[1], 4, 0);
    cr_assert_float_eq(a->numbers[2], 5, 0);
    finish(&p);
}

Test(sema, an_override_is_one_expression) {
    Program1 p = elaborate("experiment e { input n = 3\n print \"n\": n }\n");
    Override two = {"n", "1\nlet m = 2"};
    ElaborateOptions options = {.overrides = &two, .count = 1};
    cr_assert_null(sema_elaborate_experiment(p.unit, 0, &options)); /* DIAG_BAD_OVERRIDE */
    cr_assert(says(&p, "gives no value"));
    finish(&p);
}

Test(sema, mistakes_are_named) {
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"experiment e { let a = (x) }\n", "unknown name 'x'"},
        {"operator f(u) = f(u)\nexperiment e { print \"x\": f(1) }\n", "applied within itself"},
        {"let a = b\nlet b = a\nexperiment e { print \"x\": a }\n", "defined by itself"},
        {"experiment e { print \"x\": 1 / 0 }\n", "this is infinite"},
        {"experiment e { print \"x\": 0 / 0 }\n", "this is not a number"},
        {"experiment e { grid G = box([0, 1], cells = [4])\n print \"x\": G.x }\n",
         "cannot be printed"},
        {"experiment e { for i in 0..1000000 { print \"x\": i } }\n", "passes of a loop"},
        {"operator d(A)(u) = A(A(u))\noperator i(u) = u + 1\n"
         "experiment e { print \"x\": d(d(d(d(d(d(d(d(d(d(d(d(d(d(d(d(d(d(d(d(d(d(i))))))))))))))))))))))(1) }\n",
         "operators are applied before anything is computed"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Program1 p = elaborate(cases[i].text);
        cr_assert_null(p.first, "%s", cases[i].text);
        cr_assert(says(&p, cases[i].message), "%s", cases[i].text);
        finish(&p);
    }
}
