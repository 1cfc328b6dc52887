/* ops: derived from ops.def. Every pointwise op's value and derivative, every linear op's
 * transpose, every kind of boundary in every rank against matrices built by padding. */
#include "tests/unit/build_graph.h"

#include <criterion/criterion.h>

static const int64_t sizes[3] = {6, 5, 4};

Test(ops, rows_have_names_of_their_own) {
    for (Op op = 1; op < OP_COUNT; op++) {
        const OpInfo *info = op_info(op);
        cr_assert(info->name && info->shape && info->fold && info->eval && info->derivative &&
                  info->lower);
        cr_assert_eq(op_by_name(info->name, strlen(info->name)), op, "%s", info->name);
    }
    cr_assert_eq(op_by_name("addition", 8), OP_NONE);
}

/* ---- pointwise -------------------------------------------------------------------- */

/* Points where an op is smooth: scaled into its domain, away from kinks. */
static double inside_domain(Op op, uint32_t operand, double x) {
    switch (op) {
    case OP_LOG:
    case OP_LOG1P:
    case OP_LOG2:
    case OP_SQRT: return 1.5 + x;
    case OP_POW: return operand == 0 ? 1.5 + x : 1.3 + x;
    case OP_ASIN:
    case OP_ACOS: return 0.8 * x;
    case OP_DIV:
    case OP_MOD: return operand == 1 ? 2.3 + 0.1 * x : x + 0.35;
    case OP_WHERE: return operand == 0 ? (x > 0 ? 1 : 0) : x;
    case OP_MIN:
    case OP_MAX: return operand == 0 ? x : x + (x > 0 ? 0.9 : -0.9);
    case OP_ABS: return x + (x > 0 ? 0.3 : -0.3);
    default: return x;
    }
}

static bool is_smooth(Op op) {
    static const Op steps[] = {OP_LT,   OP_LE,    OP_EQ,   OP_NE,    OP_AND,    OP_OR,     OP_NOT,
                               OP_SIGN, OP_FLOOR, OP_CEIL, OP_ROUND, OP_DETACH, OP_GUARDED};
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++)
        if (op == steps[i]) return false;
    return true;
}

static void check_pointwise(Op op, uint32_t active) {
    Bench b = bench_new(1, (const int64_t[]){64}, 1);
    uint32_t operands = (uint32_t)op_info(op)->operands;
    Node x[3];
    for (uint32_t i = 0; i < operands; i++) x[i] = field_param(&b, 1);
    returns(&b, graph_add(b.m, b.f, op, x, operands, 0, 0, SPAN_NONE));
    /* jvp by parameter `active`: swap it with parameter 0 */
    FuncId swapped = graph_func(b.m, 0);
    Map known = {0};
    Node p[3];
    for (uint32_t i = 0; i < operands; i++)
        p[i] = graph_param(b.m, swapped, type_field(b.grid, 1), 0);
    for (uint32_t i = 0; i < operands; i++)
        map_set(&known, x[i], p[i == active ? 0 : i == 0 ? active : i]);
    Node r = graph_copy(b.m, b.f, bench_func(&b)->results.data[0], swapped, &known);
    vec_push(&graph_get(b.m, swapped)->results, r);
    map_free(&known);
    FuncId jvp = jvp_func(b.m, swapped, NULL);
    cr_assert_neq(jvp, 0, "%s has no derivative", op_info(op)->name);
    cr_assert_null(graph_verify(b.m), "%s", graph_verify(b.m));
    double value[2], slope[2];
    for (int i = 0; i < 2; i++) {
        double h = i ? 1e-4 : 1e-3;
        Type field = type_field(b.grid, 1);
        Array at[3], moved[3], v = random_array(&b, field, 77);
        for (uint32_t k = 0; k < operands; k++) {
            at[k] = random_array(&b, field, op == OP_MIN || op == OP_MAX ? 1 : 1 + k);
            for (int64_t c = 0; c < at[k].size; c++)
                at[k].data[c] = inside_domain(op, k, at[k].data[c]);
            moved[k] = array_of(&b, field);
            for (int64_t c = 0; c < at[k].size; c++)
                moved[k].data[c] = at[k].data[c] + (k == active ? h * v.data[c] : 0);
        }
        Array args[4] = {at[active], v};
        for (uint32_t k = 1; k < operands; k++) args[1 + k] = at[k == active ? 0 : k];
        Array f0 = run_func(&b, b.f, at), f1 = run_func(&b, b.f, moved),
              df = run_func(&b, jvp, args);
        value[i] = slope[i] = 0;
        for (int64_t c = 0; c < f0.size; c++) {
            value[i] = fmax(value[i], fabs(f1.data[c] - f0.data[c]));
            slope[i] = fmax(slope[i], fabs(f1.data[c] - f0.data[c] - h * df.data[c]));
        }
    }
    if (is_smooth(op) && !(op == OP_WHERE && active == 0)) {
        if (op != OP_MOD || active == 0)
            cr_assert(value[0] > 5 * value[1], "%s by %u: the value does not vary",
                      op_info(op)->name, active);
        /* slope 2, or nothing left but rounding */
        cr_assert(slope[0] > 50 * slope[1] || slope[1] < 1e-13, "%s by %u: remainders %g %g",
                  op_info(op)->name, active, slope[0], slope[1]);
    }
    bench_free(&b);
}

Test(ops, derivatives_by_taylor_remainder) {
    for (Op op = 1; op < OP_COUNT; op++)
        for (uint32_t i = 0;
             op_info(op)->class == CLASS_POINTWISE && i < (uint32_t)op_info(op)->operands; i++)
            check_pointwise(op, i);
}

Test(ops, derivatives_are_finite_at_kinks) {
    static const struct {
        Op op;
        double x[2], slope;
    } kinks[] = {{OP_ABS, {0, 0}, 0},   {OP_SQRT, {0, 0}, 0},  {OP_MIN, {2, 2}, 0.5},
                 {OP_MAX, {2, 2}, 0.5}, {OP_ATAN2, {0, 0}, 0}, {OP_ASIN, {1, 0}, 0},
                 {OP_ACOS, {-1, 0}, 0}, {OP_POW, {0, 0}, 0},   {OP_POW, {0, 2}, 0},
                 {OP_SIGN, {0, 0}, 0}};
    for (size_t i = 0; i < sizeof kinks / sizeof *kinks; i++) {
        Bench b = bench_new(1, (const int64_t[]){1}, 1);
        uint32_t operands = (uint32_t)op_info(kinks[i].op)->operands;
        Node x[2] = {field_param(&b, 1), field_param(&b, 1)};
        returns(&b, graph_add(b.m, b.f, kinks[i].op, x, operands, 0, 0, SPAN_NONE));
        FuncId jvp = jvp_func(b.m, b.f, NULL);
        Array args[3];
        for (int k = 0; k < 3; k++) args[k] = array_of(&b, type_field(b.grid, 1));
        args[0].data[0] = kinks[i].x[0];
        args[1].data[0] = 1;
        args[2].data[0] = kinks[i].x[1];
        cr_assert_eq(run_func(&b, jvp, args).data[0], kinks[i].slope, "%s",
                     op_info(kinks[i].op)->name);
        bench_free(&b);
    }
}

Test(ops, constants_fold_to_what_is_evaluated) {
    for (Op op = 1; op < OP_COUNT; op++) {
        if (op_info(op)->class != CLASS_POINTWISE) continue;
        Bench b = bench_new(1, (const int64_t[]){1}, 1);
        uint32_t operands = (uint32_t)op_info(op)->operands;
        Node p[3], c[3];
        Array args[3];
        uint64_t seed = op;
        for (uint32_t i = 0; i < operands; i++) {
            double x = inside_domain(op, i, noise(&seed));
            p[i] = graph_param(b.m, b.f, type_scalar(), 0);
            c[i] = number(&b, x);
            args[i] = array_of(&b, type_scalar());
            args[i].data[0] = x;
        }
        returns(&b, graph_add(b.m, b.f, op, p, operands, 0, 0, SPAN_NONE));
        double folded;
        Node n = graph_add(b.m, b.f, op, c, operands, 0, 0, SPAN_NONE);
        cr_assert(graph_is_const(bench_func(&b), n, &folded));
        cr_assert_eq(folded, run_func(&b, b.f, args).data[0], "%s", op_info(op)->name);
        bench_free(&b);
    }
}

Test(ops, known_values) {
    Bench b = bench_new(1, (const int64_t[]){1}, 1);
    const struct {
        Op op;
        double x, y, result;
    } known[] = {{OP_MOD, -1, 3, 2},      {OP_MOD, 7, -3, -2},  {OP_ROUND, 2.5, 0, 2},
                 {OP_ROUND, -1.5, 0, -2}, {OP_SIGN, -3, 0, -1}, {OP_AND, 2, 0, 0},
                 {OP_OR, 0, -1, 1},       {OP_NOT, 0, 0, 1},    {OP_ATAN2, 1, 0, M_PI_2},
                 {OP_LE, 2, 2, 1},        {OP_LT, 2, 2, 0},     {OP_MAX, 2, 3, 3}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        double got;
        Node n = graph_add(b.m, b.f, known[i].op,
                           (Node[]){number(&b, known[i].x), number(&b, known[i].y)},
                           (uint32_t)op_info(known[i].op)->operands, 0, 0, SPAN_NONE);
        cr_assert(graph_is_const(bench_func(&b), n, &got));
        cr_assert_eq(got, known[i].result, "%s", op_info(known[i].op)->name);
    }
    double got;
    graph_is_const(bench_func(&b), bin(&b, OP_MIN, number(&b, NAN), number(&b, 1)), &got);
    cr_assert(isnan(got), "min notices NaN");
    bench_free(&b);
}

/* ---- linear ops: <K u, v> = <u, Kᵀ v> --------------------------------------------------- */

static void check_adjoint(Bench *b, const char *what) {
    const Func *f = bench_func(b);
    Type in = graph_node(f, f->params.data[0])->type, out = graph_node(f, f->results.data[0])->type;
    Node why = 0;
    cr_assert_eq(analyse_linearity(b->m, b->f, 0, &why), LINEARITY_LINEAR, "%s", what);
    FuncId back = transpose_func(b->m, b->f, &why);
    cr_assert_neq(back, 0, "%s has no transpose", what);
    cr_assert_null(graph_verify(b->m), "%s: %s", what, graph_verify(b->m));
    Array u[3] = {random_array(b, in, 3)}, v[3] = {random_array(b, out, 5)};
    for (uint32_t i = 1; i < f->params.len; i++)
        u[i] = v[i] = random_array(b, graph_node(f, f->params.data[i])->type, 7 + i);
    Array ku = run_func(b, b->f, u), kv = run_func(b, back, v);
    cr_assert(ku.data && kv.data, "%s", what);
    cr_assert(type_equal(kv.type, in), "%s", what);
    double left = dot(&ku, v), right = dot(u, &kv);
    cr_assert_float_eq(left, right, 1e-12 * (1 + fabs(left)), "%s: %.17g %.17g", what, left, right);
    cr_assert(fabs(left) > 1e-6, "%s: the test says nothing", what);
}

Test(ops, transposes_of_pointwise_and_channels) {
    for (int i = 0; i < 15; i++) {
        Bench b = bench_new(2, sizes, 0.5);
        Node u = field_param(&b, i == 0 || i == 1 || i == 7 ? 3 : 1), c = field_param(&b, 3),
             k = field_param(&b, 1);
        Node s = graph_add_typed(b.m, b.f, OP_SPREAD, type_field(b.grid, 1),
                                 (Node[]){un(&b, OP_SUM, u)}, 1, 0, 0, SPAN_NONE);
        Node results[] = {
            graph_add(b.m, b.f, OP_CHANNEL, &u, 1, i < 2 ? 1 : 0, 0, SPAN_NONE),
            un(&b, OP_CHSUM, u),
            graph_add(b.m, b.f, OP_CONCAT, (Node[]){u, un(&b, OP_NEG, u), bin(&b, OP_MUL, u, k)}, 3,
                      0, 0, SPAN_NONE),
            bin(&b, OP_MUL, u, c),
            bin(&b, OP_DIV, u, c),
            bin(&b, OP_SUB, bin(&b, OP_MUL, number(&b, 3), u), bin(&b, OP_MUL, k, u)),
            graph_add(b.m, b.f, OP_WHERE,
                      (Node[]){bin(&b, OP_LT, k, number(&b, 0)), u, bin(&b, OP_MUL, c, u)}, 3, 0, 0,
                      SPAN_NONE),
            un(&b, OP_RESTRICT, u),
            un(&b, OP_PROLONG, un(&b, OP_RESTRICT, u)),
            un(&b, OP_SUM, bin(&b, OP_MUL, u, k)),
            s,
            bin(&b, OP_MUL, un(&b, OP_SUM, bin(&b, OP_MUL, u, c)), k),
            graph_add(b.m, b.f, OP_FMA, (Node[]){u, k, bin(&b, OP_MUL, u, c)}, 3, 0, 0, SPAN_NONE),
            un(&b, OP_PROLONG, un(&b, OP_PROLONG, un(&b, OP_RESTRICT, un(&b, OP_RESTRICT, u)))),
            bin(&b, OP_MUL, un(&b, OP_BATCHMEAN, bin(&b, OP_MUL, u, k)), c),
        };
        returns(&b, results[i]);
        char what[32];
        snprintf(what, sizeof what, "case %d", i);
        check_adjoint(&b, what);
        bench_free(&b);
    }
}

Test(ops, transposes_of_rows) {
    for (int i = 0; i < 5; i++) {
        Bench b = bench_new(2, sizes, 0.5);
        GridId row = graph_row(b.m, 3);
        Node u = i == 1 || i == 3 ? graph_param(b.m, b.f, type_field(row, 1), 0)
                                  : field_param(&b, 3),
             c = field_param(&b, 3), s = graph_param(b.m, b.f, type_field(row, 1), 0);
        Type t = type_field(b.grid, 3);
        Node totals = un(&b, OP_TOTALS, i == 1 || i == 3 ? c : u);
        Node entry = graph_add(b.m, b.f, OP_ENTRY, i == 3 ? &u : &totals, 1, 2, 0, SPAN_NONE);
        Node first = graph_add(b.m, b.f, OP_ENTRY, i == 3 ? &u : &totals, 1, 0, 0, SPAN_NONE);
        Node results[] = {
            totals,
            bin(&b, OP_MUL, c,
                graph_add_typed(b.m, b.f, OP_BYCHANNEL, t, i == 1 ? &u : &s, 1, 0, 0, SPAN_NONE)),
            bin(&b, OP_MUL, totals, s),
            bin(&b, OP_MUL, entry, c),
            graph_add(b.m, b.f, OP_ROW, (Node[]){entry, bin(&b, OP_MUL, first, number(&b, 3))}, 2,
                      0, 0, SPAN_NONE),
        };
        returns(&b, results[i]);
        char what[32];
        snprintf(what, sizeof what, "case %d", i);
        check_adjoint(&b, what);
        bench_free(&b);
    }
}

Test(ops, rows_are_shared_and_refused) {
    Bench b = bench_new(2, sizes, 0.5);
    Node u = field_param(&b, 3), v = graph_param(b.m, b.f, type_field(graph_row(b.m, 2), 1), 0);
    Node entries[2] = {graph_add(b.m, b.f, OP_ENTRY, &v, 1, 0, 0, SPAN_NONE),
                       graph_add(b.m, b.f, OP_ENTRY, &v, 1, 1, 0, SPAN_NONE)};
    cr_assert_eq(graph_add(b.m, b.f, OP_ROW, entries, 2, 0, 0, SPAN_NONE), v);
    Node made =
        graph_add(b.m, b.f, OP_ROW, (Node[]){entries[1], number(&b, 3)}, 2, 0, 0, SPAN_NONE);
    cr_assert_eq(graph_add(b.m, b.f, OP_ENTRY, &made, 1, 0, 0, SPAN_NONE), entries[1]);
    Type t = type_field(b.grid, 3);
    const char *why;
    cr_assert_not(op_shape(b.m, b.f, OP_BYCHANNEL, &v, 1, 0, 0, &t, &why), "two numbers");
    cr_assert_not(op_shape(b.m, b.f, OP_BYCHANNEL, &u, 1, 0, 0, &t, &why), "no row");
    cr_assert_not(op_shape(b.m, b.f, OP_ENTRY, &v, 1, 2, 0, &t, &why), "no third number");
    cr_assert_not(op_shape(b.m, b.f, OP_ENTRY, &u, 1, 0, 0, &t, &why), "no row");
    cr_assert_not(op_shape(b.m, b.f, OP_ROW, &u, 1, 0, 0, &t, &why), "no number");
    cr_assert_not(op_shape(b.m, b.f, OP_TOTALS, entries, 1, 0, 0, &t, &why), "no field");
    bench_free(&b);
}

/* The derivative of the maximum of cells: by Taylor remainder where it is alone, exact where it ties,
 * and forward against reverse. */
Test(ops, derivative_of_the_largest_of_finer_cells) {
    Bench b = bench_new(3, (const int64_t[]){5, 4, 3}, 1);
    Node u = field_param(&b, 2);
    returns(&b, un(&b, OP_MAXPOOL, u));
    FuncId jvp = jvp_func(b.m, b.f, NULL);
    cr_assert_neq(jvp, 0);
    FuncId back = graph_func(b.m, 0);
    Type in = type_field(b.grid, 2), out = type_field(graph_coarser(b.m, b.grid), 2);
    Node at = graph_param(b.m, back, in, 0), w = graph_param(b.m, back, out, 0);
    Node pooled = graph_unary(b.m, back, OP_MAXPOOL, at, SPAN_NONE);
    vec_push(&graph_get(b.m, back)->results,
             op_info(OP_MAXPOOL)->derivative(b.m, back, pooled, 0, w));
    cr_assert_null(graph_verify(b.m), "%s", graph_verify(b.m));
    Array args[2] = {random_array(&b, in, 3), random_array(&b, in, 4)},
          ws = random_array(&b, out, 5);
    Array f0 = run_func(&b, b.f, args), df = run_func(&b, jvp, args), moved = array_of(&b, in);
    for (int64_t i = 0; i < moved.size; i++)
        moved.data[i] = args[0].data[i] + 1e-6 * args[1].data[i];
    Array f1 = run_func(&b, b.f, &moved);
    for (int64_t i = 0; i < f0.size; i++)
        cr_assert_float_eq(f1.data[i] - f0.data[i], 1e-6 * df.data[i], 1e-14);
    Array given = run_func(&b, back, (Array[]){args[0], ws});
    cr_assert_float_eq(dot(&df, &ws), dot(&given, &args[1]), 1e-12);
    cr_assert(fabs(dot(&df, &ws)) > 1e-3, "the test says nothing");
    /* equal cells share equally: each of n in a coarse cell gets 1/n of its cotangent */
    Array same = array_of(&b, in), shares = run_func(&b, back, (Array[]){same, ws});
    cr_assert_float_eq(shares.data[0], ws.data[0] / 8, 1e-15);
    cr_assert_float_eq(shares.data[4], ws.data[2] / 4, 1e-15, "half a cell at the end of x");
    cr_assert_float_eq(shares.data[59], ws.data[2 + 3 * 1 + 6 * 1] / 2, 1e-15, "and of z");
    bench_free(&b);
}

/* Run-time sizes: the number of finer cells is found from coordinates. */
Test(ops, transpose_of_restriction_for_sizes_of_run_time) {
    for (int64_t n = 1; n < 8; n++) {
        Bench b = bench_new(2, (const int64_t[]){-1, -1}, 0.1);
        Node u = field_param(&b, 1);
        Node r = un(&b, OP_PROLONG, un(&b, OP_RESTRICT, bin(&b, OP_MUL, u, u)));
        (void)r;
        returns(&b, un(&b, OP_RESTRICT, u));
        FuncId back = transpose_func(b.m, b.f, NULL);
        int64_t extents[4][MAX_RANK] = {
            {1, 1, 1}, {n, 9 - n, 1}, {(n + 1) / 2, (10 - n) / 2, 1}, {0}};
        EvalOptions options = {.extents = (const int64_t(*)[MAX_RANK])extents};
        Array u0 = {type_field(b.grid, 1), 1, n * (9 - n), NULL},
              w = {type_field(graph_coarser(b.m, b.grid), 1), 1, extents[2][0] * extents[2][1],
                   NULL};
        uint64_t seed = 3;
        u0.data = ARENA_ARRAY(b.arena, double, u0.size);
        w.data = ARENA_ARRAY(b.arena, double, w.size);
        for (int64_t i = 0; i < u0.size; i++) u0.data[i] = noise(&seed);
        for (int64_t i = 0; i < w.size; i++) w.data[i] = noise(&seed);
        Array ku, kw;
        cr_assert_eq(eval_func(b.m, b.f, &u0, &ku, &options, b.arena), 0);
        cr_assert_eq(eval_func(b.m, back, &w, &kw, &options, b.arena), 0);
        cr_assert_float_eq(dot(&ku, &w), dot(&u0, &kw), 1e-13);
        bench_free(&b);
    }
}

/* ---- stencils against padded arrays ------------------------------------------------------ */

enum { PAD = 2 };
static const SideKind kinds[5] = {SIDE_PERIODIC, SIDE_EVEN, SIDE_ODD, SIDE_SLOPE, SIDE_GHOST};

typedef struct {
    uint32_t rank;
    int64_t n[3];
    double h;
    SideKind sides[3][2];
    const double *value[3][2]; /* fields, or NULL */
} Domain;

static int64_t padded_at(const Domain *d, const int64_t p[3]) {
    int64_t at = 0;
    for (int a = 2; a >= 0; a--) at = at * (d->n[a] + 2 * PAD) + p[a] + PAD;
    return at;
}

static double value_of(const Domain *d, int axis, int side, const int64_t p[3]) {
    if (!d->value[axis][side]) return 0;
    int64_t at = 0;
    for (int a = 2; a >= 0; a--) {
        int64_t i = p[a];
        if (a != axis && d->sides[a][0] == SIDE_PERIODIC && (uint32_t)a < d->rank)
            i = (i + d->n[a]) % d->n[a];
        i = i < 0 ? 0 : i > d->n[a] - 1 ? d->n[a] - 1 : i;
        at = at * d->n[a] + i;
    }
    return d->value[axis][side][at];
}

/* Fills the ghosts of one axis for all positions that are known on it: z first, x last, so that
 * a corner is resolved on x first. */
static void pad_axis(const Domain *d, double *padded, int axis) {
    int64_t p[3], low[3], high[3];
    for (int a = 0; a < 3; a++) {
        low[a] = a > axis ? -PAD : 0;
        high[a] = a > axis ? d->n[a] + PAD : d->n[a];
    }
    low[axis] = -PAD;
    high[axis] = d->n[axis] + PAD;
    for (p[2] = low[2]; p[2] < high[2]; p[2]++)
        for (p[1] = low[1]; p[1] < high[1]; p[1]++)
            for (p[0] = low[0]; p[0] < high[0]; p[0]++) {
                int64_t i = p[axis], n = d->n[axis];
                if (i >= 0 && i < n) continue;
                int side = i >= n;
                int64_t j = side ? i - n : -1 - i;
                int64_t mirror[3] = {p[0], p[1], p[2]}, wrapped[3] = {p[0], p[1], p[2]};
                mirror[axis] = side ? n - 1 - j : j;
                wrapped[axis] = side ? j : n - 1 - j;
                double v = value_of(d, axis, side, p), inner = padded[padded_at(d, mirror)];
                double *to = &padded[padded_at(d, p)];
                switch (d->sides[axis][side]) {
                case SIDE_PERIODIC: *to = padded[padded_at(d, wrapped)]; break;
                case SIDE_EVEN: *to = inner; break;
                case SIDE_ODD: *to = 2 * v - inner; break;
                case SIDE_SLOPE: *to = inner + (double)(2 * j + 1) * d->h * v; break;
                case SIDE_GHOST: *to = v; break;
                }
            }
}

/* One channel of the stencil applied to one field, by padding. */
static void apply_padded(const Domain *d, const Stencil *s, uint32_t to, uint32_t from,
                         const double *u, double *out) {
    int64_t count = 1, p[3], i = 0;
    for (int a = 0; a < 3; a++) count *= d->n[a] + 2 * PAD;
    double *padded = calloc((size_t)count, sizeof *padded);
    for (p[2] = 0; p[2] < d->n[2]; p[2]++)
        for (p[1] = 0; p[1] < d->n[1]; p[1]++)
            for (p[0] = 0; p[0] < d->n[0]; p[0]++) padded[padded_at(d, p)] = u[i++];
    for (int axis = (int)d->rank - 1; axis >= 0; axis--) pad_axis(d, padded, axis);
    i = 0;
    for (p[2] = 0; p[2] < d->n[2]; p[2]++)
        for (p[1] = 0; p[1] < d->n[1]; p[1]++)
            for (p[0] = 0; p[0] < d->n[0]; p[0]++, i++)
                for (uint32_t k = 0; k < s->count; k++) {
                    const Tap *t = &s->taps[k];
                    int64_t q[3] = {p[0] + t->offset[0], p[1] + t->offset[1], p[2] + t->offset[2]};
                    if (t->to == to && t->from == from)
                        out[i] += t->weight * padded[padded_at(d, q)];
                }
    free(padded);
}

/* All taps within `reach` along the axes, and in the plane and space diagonals. */
static Stencil dense_stencil(Bench *b, uint32_t rank, int reach, uint64_t *seed) {
    Stencil s = {.rank = rank, .in_channels = 2, .out_channels = 2};
    s.taps = ARENA_ARRAY(b->arena, Tap, 4 * 125);
    for (int z = rank > 2 ? -reach : 0; z <= (rank > 2 ? reach : 0); z++)
        for (int y = rank > 1 ? -reach : 0; y <= (rank > 1 ? reach : 0); y++)
            for (int x = -reach; x <= reach; x++)
                for (uint32_t c = 0; c < 4; c++)
                    if (fabs(noise(seed)) < 0.4)
                        s.taps[s.count++] = (Tap){{x, y, z}, c / 2, c % 2, noise(seed)};
    return s;
}

static void check_stencil(uint32_t rank, int reach, uint64_t seed) {
    Bench b = bench_new(rank, sizes, 0.5);
    Stencil s = dense_stencil(&b, rank, reach, &seed);
    Domain d = {.rank = rank, .n = {1, 1, 1}, .h = 0.5};
    Node u = field_param(&b, 2), operands[7] = {u};
    uint32_t count = 1;
    Array args[7] = {random_array(&b, type_field(b.grid, 2), seed)};
    for (uint32_t a = 0; a < rank; a++) {
        d.n[a] = sizes[a];
        for (int k = 0; k < 2; k++) {
            SideKind kind = kinds[(uint64_t)(fabs(noise(&seed)) * 4.999)];
            if (k == 1 && (kind == SIDE_PERIODIC || s.sides[a][0] == SIDE_PERIODIC))
                kind = s.sides[a][0];
            s.sides[a][k] = d.sides[a][k] = kind;
            if (kind >= SIDE_ODD && noise(&seed) > -0.5) {
                s.has_value[a][k] = true;
                args[count] = random_array(&b, type_field(b.grid, 1), seed + count);
                d.value[a][k] = args[count].data;
                operands[count++] = field_param(&b, 1);
            }
        }
    }
    returns(&b,
            graph_add(b.m, b.f, OP_STENCIL, operands, count, graph_stencil(b.m, &s), 0, SPAN_NONE));
    cr_assert_null(graph_verify(b.m), "%s", graph_verify(b.m));
    Array out = run_func(&b, b.f, args), wanted = array_of(&b, type_field(b.grid, 2));
    int64_t cells = cells_of(&b, b.grid);
    for (uint32_t to = 0; to < 2; to++)
        for (uint32_t from = 0; from < 2; from++)
            apply_padded(&d, &s, to, from, args[0].data + from * cells, wanted.data + to * cells);
    for (int64_t i = 0; i < out.size; i++)
        cr_assert_float_eq(out.data[i], wanted.data[i], 1e-12,
                           "rank %u reach %d seed %llu cell %lld", rank, reach,
                           (unsigned long long)seed, (long long)i);
    /* the transpose, by u and by every value, of the matrix that padding gives */
    for (uint32_t k = 0; k < count; k++) {
        Type type = graph_node(bench_func(&b), operands[k])->type;
        FuncId back = graph_func(b.m, 0);
        Func *f = graph_get(b.m, back);
        Map known = {0};
        Node zero = graph_const(b.m, back, 0), w = graph_param(b.m, back, type_field(b.grid, 2), 0);
        for (uint32_t i = 0; i < count; i++)
            map_set(&known, operands[i],
                    i == 0
                        ? graph_add(
                              b.m, back, OP_CONCAT,
                              (Node[]){graph_add_typed(b.m, back, OP_SPREAD, type_field(b.grid, 1),
                                                       &zero, 1, 0, 0, SPAN_NONE),
                                       graph_add_typed(b.m, back, OP_SPREAD, type_field(b.grid, 1),
                                                       &zero, 1, 0, 0, SPAN_NONE)},
                              2, 0, 0, SPAN_NONE)
                        : graph_add_typed(b.m, back, OP_SPREAD, type_field(b.grid, 1), &zero, 1, 0,
                                          0, SPAN_NONE));
        Node n = graph_copy(b.m, b.f, bench_func(&b)->results.data[0], back, &known);
        map_free(&known);
        Node result = op_info(OP_STENCIL)->derivative(b.m, back, n, k, w);
        if (result == NODE_NONE) {
            cr_assert(k > 0 && reach > 1 && rank > 1);
            continue;
        }
        vec_push(&f->results, result);
        Array weights = random_array(&b, type_field(b.grid, 2), 99),
              given = run_func(&b, back, &weights);
        cr_assert(type_equal(given.type, type));
        Array none[7];
        for (uint32_t i = 0; i < count; i++)
            none[i] = array_of(&b, graph_node(bench_func(&b), operands[i])->type);
        for (int64_t i = 0; i < given.size; i++) {
            Domain unit = d;
            Array column = array_of(&b, type_field(b.grid, 2));
            none[k].data[i] = 1;
            uint32_t number = 1;
            for (uint32_t a = 0; a < rank; a++)
                for (int side = 0; side < 2; side++)
                    if (d.value[a][side]) unit.value[a][side] = none[number++].data;
            for (uint32_t to = 0; to < 2; to++)
                for (uint32_t from = 0; from < 2; from++)
                    apply_padded(&unit, &s, to, from, none[0].data + from * cells,
                                 column.data + to * cells);
            none[k].data[i] = 0;
            cr_assert_float_eq(given.data[i], dot(&column, &weights), 1e-12,
                               "rank %u reach %d operand %u", rank, reach, k);
        }
    }
    bench_free(&b);
}

Test(ops, stencils_of_every_boundary_equal_padding) {
    for (uint32_t rank = 1; rank <= 3; rank++)
        for (int reach = 0; reach <= 2; reach++)
            for (uint64_t seed = 1; seed <= (rank == 3 ? 6u : 20u); seed++)
                check_stencil(rank, reach, seed * 1000 + rank * 10 + (uint64_t)reach);
}

Test(ops, stencils_refuse_grids_that_are_too_small) {
    Bench b = bench_new(1, (const int64_t[]){2}, 1);
    Tap taps[] = {{{3, 0, 0}, 0, 0, 1}, {{0, 0, 0}, 0, 0, 1}};
    Stencil s = {.rank = 1,
                 .in_channels = 1,
                 .out_channels = 1,
                 .sides = {{SIDE_EVEN, SIDE_EVEN}},
                 .taps = taps,
                 .count = 2};
    returns(&b, apply(&b, graph_stencil(b.m, &s), field_param(&b, 1)));
    Array u = random_array(&b, type_field(b.grid, 1), 1);
    cr_assert_null(run_func(&b, b.f, &u).data);
    bench_free(&b);
}

Test(ops, sources) {
    Bench b = bench_new(2, sizes, 0.5);
    b.m->grids.data[b.grid].origin[1] = 3;
    Type one = type_field(b.grid, 1);
    returns(&b, graph_add_typed(b.m, b.f, OP_COORD, one, NULL, 0, 1, 0, SPAN_NONE));
    returns(&b, graph_add_typed(b.m, b.f, OP_EDGE, one, NULL, 0, 0, 1, SPAN_NONE));
    returns(&b, graph_add_typed(b.m, b.f, OP_CELLS, type_scalar(), NULL, 0, b.grid, 0, SPAN_NONE));
    returns(&b, graph_add_typed(b.m, b.f, OP_UNIFORM, one, NULL, 0, 4, 0, SPAN_NONE));
    returns(&b, graph_add_typed(b.m, b.f, OP_UNIFORM, one, NULL, 0, 5, 0, SPAN_NONE));
    Array r[8];
    EvalOptions options = {.seed = 1};
    cr_assert_eq(eval_func(b.m, b.f, NULL, r, &options, b.arena), 0);
    cr_assert_eq(r[0].data[6 * 2 + 1], 3 + 2.5 * 0.5);
    cr_assert_eq(r[1].data[5], 1);
    cr_assert_eq(r[1].data[4], 0);
    cr_assert_eq(r[2].data[0], 30);
    cr_assert_neq(r[3].data[0], r[4].data[0], "streams differ");
    for (int64_t i = 0; i < r[3].size; i++) cr_assert(r[3].data[i] >= 0 && r[3].data[i] < 1);
    bench_free(&b);
}
