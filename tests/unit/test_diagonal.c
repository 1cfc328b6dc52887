/* diagonals: of random operators against the columns of their Jacobians, by derivatives along unit fields. */
#include "compiler/analysis/diagonal.h"
#include "compiler/ops/rules.h"
#include "tests/unit/build_graph.h"

#include <criterion/criterion.h>

/* ---- the truth -------------------------------------------------------------------------- */

/* Compares `diagonal` with the matrix of func's derivative at args[0], both functions of the same parameters. */
static void check_diagonal(Bench *b, FuncId diagonal, FuncId func, const Array *args,
                           uint32_t count, const char *what) {
    Node why = 0;
    FuncId jvp = jvp_func(b->m, func, &why);
    cr_assert(jvp, "%s: no derivative", what);
    const char *wrong = graph_verify(b->m);
    cr_assert_null(wrong, "%s: %s", what, wrong);
    Array have = run_func(b, diagonal, args), all[8];
    cr_assert(have.data, "%s: the diagonal does not run", what);
    cr_assert(type_equal(have.type, args[0].type), "%s: type", what);
    cr_assert_eq(have.size, args[0].size, "%s: size", what);
    all[0] = args[0];
    all[1] = array_of(b, args[0].type);
    for (uint32_t i = 1; i < count; i++) all[1 + i] = args[i];
    for (int64_t k = 0; k < args[0].size; k++) {
        all[1].data[k] = 1;
        double wanted = run_func(b, jvp, all).data[k];
        all[1].data[k] = 0;
        cr_assert(fabs(have.data[k] - wanted) <= 1e-11 * fmax(1, fabs(wanted)),
                  "%s: entry %lld is %.17g, not %.17g", what, (long long)k, have.data[k], wanted);
    }
}

/* Both ways: by coefficients, which must be found where `graph`, and by probing. */
static void check_both(Bench *b, FuncId func, const Array *args, uint32_t count, bool graph,
                       const char *what) {
    Node why;
    const char *missing;
    uint32_t loops = b->m->loops.len;
    FuncId d = diagonal_func(b->m, func, &why, &missing);
    cr_assert(d, "%s: no diagonal: %s", what, missing ? missing : "an op without derivative");
    if (graph) cr_assert_eq(b->m->loops.len, loops, "%s: was probed", what);
    check_diagonal(b, d, func, args, count, what);
    d = probe_diagonal(b->m, func, &why, &missing);
    if (missing) return; /* a number that depends on all cells */
    cr_assert(d, "%s: cannot be probed", what);
    check_diagonal(b, d, func, args, count, what);
}

/* ---- random operators ------------------------------------------------------------------------ */

typedef struct {
    uint64_t state;
} Dice;

static uint32_t roll(Dice *d, uint32_t n) { return (uint32_t)((noise(&d->state) + 1) / 2 * n) % n; }

/* A stencil of up to 5 taps as far as `reach`, with these sides or any. */
static StencilId random_stencil(Bench *b, Dice *d, uint32_t in, uint32_t out, int32_t reach,
                                int side, bool transposed) {
    const Grid *g = &b->m->grids.data[b->grid];
    Tap taps[64] = {0};
    Stencil s = {.rank = g->rank,
                 .in_channels = in,
                 .out_channels = out,
                 .taps = taps,
                 .transposed = transposed};
    for (uint32_t a = 0; a < g->rank; a++) {
        bool wraps = side < 0 ? roll(d, 3) == 0 : side == SIDE_PERIODIC;
        for (int k = 0; k < 2; k++)
            s.sides[a][k] = wraps      ? SIDE_PERIODIC
                            : side < 0 ? (SideKind)(1 + roll(d, 4))
                                       : (SideKind)side;
    }
    for (uint32_t to = 0; to < out; to++)
        for (uint32_t i = 0; i < 5; i++) {
            Tap t = {.from = roll(d, in), .to = to, .weight = noise(&d->state)};
            for (uint32_t a = 0; a < g->rank; a++)
                if (roll(d, 2)) {
                    int32_t most = reach < g->extent[a] ? reach : (int32_t)g->extent[a];
                    t.offset[a] = (int32_t)roll(d, 2 * (uint32_t)most + 1) - most;
                }
            bool twice = false;
            for (uint32_t k = 0; k < s.count; k++)
                twice = twice || (taps[k].to == t.to && taps[k].from == t.from &&
                                  memcmp(taps[k].offset, t.offset, sizeof t.offset) == 0);
            if (!twice) taps[s.count++] = t;
        }
    return graph_stencil(b->m, &s);
}

/* A pointwise function of x and y. */
static Node random_pointwise(Bench *b, Dice *d, Node x, Node y) {
    switch (roll(d, 8)) {
    case 0: return bin(b, OP_MUL, x, y);
    case 1: return bin(b, OP_DIV, x, bin(b, OP_ADD, number(b, 1.5), bin(b, OP_MUL, y, y)));
    case 2: return un(b, OP_TANH, bin(b, OP_SUB, x, y));
    case 3: return bin(b, OP_ADD, un(b, OP_SIN, x), y);
    case 4: return bin(b, OP_MAX, x, y);
    case 5:
        return graph_add(b->m, b->f, OP_WHERE,
                         (Node[]){bin(b, OP_LT, x, y), bin(b, OP_MUL, x, x), y}, 3, 0, 0,
                         SPAN_NONE);
    case 6: return bin(b, OP_SUB, x, bin(b, OP_MUL, y, number(b, 0.7)));
    default: return bin(b, OP_MUL, x, un(b, OP_EXP, y));
    }
}

static void random_case(uint64_t seed, uint32_t rank, int side, int32_t reach) {
    Dice d = {seed * 7919 + 17};
    int64_t extent[3];
    for (uint32_t a = 0; a < rank; a++)
        extent[a] = 1 + roll(&d, rank == 1 ? 12 : rank == 2 ? 6 : 4);
    if (seed % 3 == 0)
        for (uint32_t a = 0; a < rank; a++) extent[a] = reach + 1;
    Bench b = bench_new(rank, extent, 0.5);
    uint32_t channels = 1 + roll(&d, 2), inner = 1 + roll(&d, 3);
    Type type = type_field(b.grid, channels);
    Node u = field_param(&b, channels), c = field_param(&b, inner);
    Node v = apply(&b, random_stencil(&b, &d, channels, inner, reach, side, false), u);
    Node w = apply(&b, random_stencil(&b, &d, inner, channels, reach, side, true), u);
    v = random_pointwise(&b, &d, v, c);
    v = random_pointwise(&b, &d, v, w);
    if (roll(&d, 3) == 0) v = bin(&b, OP_MUL, v, un(&b, OP_CHSUM, w));
    uint32_t last = roll(&d, 2);
    Node r = last ? apply(&b, random_stencil(&b, &d, channels, inner, reach, side, true), v)
                  : apply(&b, random_stencil(&b, &d, inner, channels, reach, side, false), v);
    r = random_pointwise(&b, &d, bin(&b, OP_SUB, u, r), u);
    bool numbers = roll(&d, 4) == 0;
    if (numbers) r = bin(&b, OP_MUL, r, un(&b, OP_SUM, bin(&b, OP_MUL, v, v)));
    returns(&b, r);
    Array args[2] = {random_array(&b, type, seed),
                     random_array(&b, type_field(b.grid, inner), ~seed)};
    char what[99];
    snprintf(what, sizeof what, "seed %d rank %u side %d reach %d", (int)seed, rank, side, reach);
    check_both(&b, b.f, args, 2, true, what);
    bench_free(&b);
}

Test(diagonal, of_random_operators) {
    for (uint64_t seed = 1; seed <= 60; seed++)
        for (uint32_t rank = 1; rank <= 3; rank++)
            random_case(seed, rank, -1, 1 + (int32_t)(seed % 3));
}

Test(diagonal, at_every_side) {
    for (int side = SIDE_PERIODIC; side <= SIDE_GHOST; side++)
        for (uint32_t rank = 1; rank <= 3; rank++)
            for (int32_t reach = 1; reach <= 4 - (int32_t)rank; reach++)
                for (uint64_t seed = 100; seed < 104; seed++) random_case(seed, rank, side, reach);
}

Test(diagonal, around_small_periodic_grids) {
    for (int64_t n = 1; n <= 5; n++)
        for (uint64_t seed = 0; seed < 6; seed++) {
            Dice d = {seed};
            Bench b = bench_new(1, (int64_t[]){n}, 1);
            Node u = field_param(&b, 1), v = u;
            for (int i = 0; i < 3; i++)
                v = apply(&b, random_stencil(&b, &d, 1, 1, (int32_t)n, SIDE_PERIODIC, i == 1), v);
            returns(&b, bin(&b, OP_MUL, v, u));
            Array arg = random_array(&b, type_field(b.grid, 1), seed);
            check_both(&b, b.f, &arg, 1, true, "a small periodic grid");
            bench_free(&b);
        }
}

/* ---- convolutions ---------------------------------------------------------------------------- */

Test(diagonal, of_convolutions) {
    static const int64_t extent[3] = {5, 4, 3};
    for (uint32_t rank = 1; rank <= 3; rank++)
        for (int side = SIDE_PERIODIC; side <= SIDE_GHOST; side++)
            for (uint32_t size = 1; size <= 4; size++) {
                Bench b = bench_new(rank, extent, 1);
                Conv c = {.rank = rank, .in = 2, .out = 4, .groups = 1 + size % 2};
                for (uint32_t a = 0; a < 3; a++) {
                    c.size[a] = a < rank ? size : 1;
                    c.stride[a] = c.dilation[a] = 1;
                    if (a == 0 && size < 3) c.dilation[a] = 2;
                    c.sides[a][0] = c.sides[a][1] = a < rank ? (SideKind)side : SIDE_PERIODIC;
                    if (side == SIDE_SLOPE && a < rank) c.sides[a][0] = c.sides[a][1] = SIDE_EVEN;
                }
                if (conv_wrong(&c)) continue;
                ConvId id = graph_conv(b.m, &c);
                Type type = type_field(b.grid, 2),
                     row = type_field(graph_row(b.m, conv_weights(&c)), 1);
                Node u = field_param(&b, 2), w = graph_param(b.m, b.f, row, 0);
                Node v = graph_add(b.m, b.f, OP_CONV, (Node[]){u, w}, 2, id, 0, SPAN_NONE);
                v = un(&b, OP_TANH, v);
                returns(&b, graph_add(b.m, b.f, OP_CONVT, (Node[]){v, w}, 2, id, 0, SPAN_NONE));
                Array args[2] = {random_array(&b, type, size), random_array(&b, row, 7)};
                check_both(&b, b.f, args, 2, size < 3 || rank < 3, "a convolution");
                bench_free(&b);
            }
}

/* ---- what is probed -------------------------------------------------------------------------------- */

Test(diagonal, through_coarser_grids) {
    for (uint32_t rank = 1; rank <= 2; rank++)
        for (int64_t n = 1; n <= 9; n++)
            for (int side = SIDE_PERIODIC; side <= SIDE_GHOST; side++) {
                Dice d = {(uint64_t)n};
                Bench b = bench_new(rank, (int64_t[]){n, 5}, 1);
                GridId fine = b.grid;
                Node u = field_param(&b, 1);
                Node v = un(&b, OP_RESTRICT, un(&b, OP_SIN, u));
                b.grid = graph_coarser(b.m, fine);
                if (b.m->grids.data[b.grid].extent[0] > 0)
                    v = apply(&b, random_stencil(&b, &d, 1, 1, 1, side, false), v);
                v = un(&b, OP_PROLONG, un(&b, OP_TANH, v));
                b.grid = fine;
                v = graph_node(bench_func(&b), v)->type.grid == fine ? v : u;
                returns(&b, bin(&b, OP_SUB,
                                apply(&b, random_stencil(&b, &d, 1, 1, 1, side, true), v), u));
                Array arg = random_array(&b, type_field(fine, 1), (uint64_t)n);
                check_both(&b, b.f, &arg, 1, false, "a coarser grid");
                bench_free(&b);
            }
}

Test(diagonal, of_loops) {
    for (int64_t n = 3; n <= 12; n += 3)
        for (int side = SIDE_PERIODIC; side <= SIDE_GHOST; side++) {
            Dice d = {(uint64_t)n};
            Bench b = bench_new(1, (int64_t[]){n}, 1);
            FuncId outer = b.f;
            b.f = graph_func(b.m, names_of(b.names, "step"));
            Node k = graph_param(b.m, b.f, type_scalar(), 0), x = field_param(&b, 1);
            Node y = un(&b, OP_SIN, apply(&b, random_stencil(&b, &d, 1, 1, 1, side, false), x));
            returns(&b, bin(&b, OP_ADD, x, bin(&b, OP_MUL, y, bin(&b, OP_ADD, k, number(&b, 1)))));
            Loop loop = {.body = b.f, .states = 1, .stride = 1};
            LoopId id = graph_loop(b.m, &loop);
            b.f = outer;
            Node u = field_param(&b, 1);
            Node l = graph_add(b.m, b.f, OP_LOOP, (Node[]){number(&b, 3), u}, 2, id, 0, SPAN_NONE);
            returns(&b, graph_result(b.m, b.f, l, 0));
            Array arg = random_array(&b, type_field(b.grid, 1), 5);
            check_both(&b, b.f, &arg, 1, false, "a loop");
            bench_free(&b);
        }
}

/* -1 2 -1, twice, on a grid whose size is known when it runs: 4 + 1 + 1 where that is large enough, else refused. */
Test(diagonal, around_periodic_grids_of_any_size) {
    Bench b = bench_new(1, (int64_t[]){-1}, 1);
    Tap taps[3] = {{{-1}, 0, 0, -1}, {{0}, 0, 0, 2}, {{1}, 0, 0, -1}};
    Stencil s = {.rank = 1, .in_channels = 1, .out_channels = 1, .taps = taps, .count = 3};
    s.sides[0][0] = s.sides[0][1] = SIDE_PERIODIC;
    StencilId id = graph_stencil(b.m, &s);
    returns(&b, apply(&b, id, apply(&b, id, field_param(&b, 1))));
    Node why;
    const char *missing;
    FuncId d = diagonal_func(b.m, b.f, &why, &missing);
    cr_assert(d);
    for (int64_t n = 1; n < 8; n++) {
        double data[8] = {0};
        int64_t extents[8][MAX_RANK];
        for (int i = 0; i < 8; i++) extents[i][0] = n, extents[i][1] = extents[i][2] = 1;
        Array u = {type_field(b.grid, 1), 1, n, data}, result = {0};
        EvalOptions options = {.extents = (const int64_t(*)[MAX_RANK])extents};
        int status = eval_func(b.m, d, &u, &result, &options, b.arena);
        cr_assert((status == 0) == (n > 2), "%d cells: %d", (int)n, status);
        for (int64_t i = 0; status == 0 && i < n; i++) cr_assert_eq(result.data[i], 6);
    }
    bench_free(&b);
}
