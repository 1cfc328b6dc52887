/* Compiled code against the reference interpreter. */
#include "tests/unit/differential.h"

#include <criterion/criterion.h>

typedef struct {
    Module *m;
    Names *names;
    FuncId f;
    GridId grid;
    Run run;
    double *data[8];
} Case;

static uint64_t next_random(uint64_t *state)
{
    *state += 0x9e3779b97f4a7c15u;
    uint64_t z = *state;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static double uniform(uint64_t *state)
{
    return (double)(next_random(state) >> 11) / 9007199254740992.0;
}

static Case start(uint32_t rank, const int64_t *extent)
{
    Case c = {0};
    c.names = names_new();
    c.m = graph_new(c.names);
    Grid g = {.rank = rank};
    for (uint32_t a = 0; a < rank; a++) {
        g.extent[a] = extent[a];
        g.spacing[a] = 0.5 + 0.25 * a;
        g.origin[a] = -1.0 + a;
    }
    c.grid = graph_grid(c.m, &g);
    c.f = c.m->main = graph_func(c.m, names_of(c.names, "main"));
    return c;
}

static Node field_input(Case *c, uint32_t channels, uint64_t seed, double low, double high)
{
    uint32_t number = c->m->inputs.len;
    vec_push(&c->m->inputs, ((Input){.type = type_field(c->grid, channels)}));
    const Grid *g = &c->m->grids.data[c->grid];
    int64_t n = channels;
    for (uint32_t a = 0; a < g->rank; a++)
        n *= g->extent[a];
    c->data[number] = malloc(sizeof(double) * (size_t)n);
    for (int64_t i = 0; i < n; i++)
        c->data[number][i] = (float)(low + (high - low) * uniform(&seed));
    return graph_add_typed(c->m, c->f, OP_INPUT, type_field(c->grid, channels), NULL, 0, number, 0, SPAN_NONE);
}

static void show(Case *c, Node n)
{
    Effect e = {EFFECT_PRINT, 0, ARENA_ARRAY(c->m->arena, Node, 1), 1, SPAN_NONE};
    e.values[0] = n;
    vec_push(&graph_get(c->m, c->f)->effects, e);
}

static void prepare(Case *c, bool f64, int threads)
{
    c->run = (Run){.module = c->m, .f64 = f64, .threads = threads, .seed = 7, .grids = make_grids(c->m)};
    c->run.inputs = (const double **)c->data;
}

static double differ(Case *c, bool f64, int threads)
{
    char *error = NULL;
    free(c->run.grids);
    Numbers kept = c->run.seen;
    prepare(c, f64, threads);
    c->run.seen = kept;
    double d = run_differential(&c->run, &error);
    if (error)
        cr_log_error("%s", error);
    return d;
}

static void finish(Case *c)
{
    for (int i = 0; i < 8; i++)
        free(c->data[i]);
    vec_free(&c->run.seen);
    free(c->run.grids);
    graph_free(c->m);
    names_free(c->names);
}

static void check(Case *c, double f32, double f64, const char *what)
{
    double d = differ(c, false, 1);
    cr_expect(d >= 0 && d <= f32, "%s in f32 is off by %g", what, d);
    Numbers one = c->run.seen;
    c->run.seen = (Numbers){0};
    d = differ(c, false, 2);
    cr_expect(one.len == c->run.seen.len && memcmp(one.data, c->run.seen.data, sizeof(double) * one.len) == 0,
              "%s: other bits on two threads", what);
    vec_free(&one);
    d = differ(c, true, 2);
    cr_expect(d >= 0 && d <= f64, "%s in f64 is off by %g", what, d);
}

/* ---- every pointwise op, from the table ---- */

Test(code, pointwise_ops)
{
    for (Op op = 1; op < OP_COUNT; op++) {
        const OpInfo *info = op_info(op);
        if (info->class != CLASS_POINTWISE)
            continue;
        Case c = start(2, (int64_t[]){37, 5});
        bool positive = op == OP_POW || op == OP_LOG || op == OP_LOG2 || op == OP_SQRT;
        bool unit = op == OP_ASIN || op == OP_ACOS;
        Node x[3];
        for (int i = 0; i < info->operands; i++)
            x[i] = field_input(&c, 1, 3u + (uint64_t)i, positive ? 0.1 : unit ? -0.99 : -3, unit ? 0.99 : 3);
        if (op == OP_EQ || op == OP_NE)
            x[1] = graph_unary(c.m, c.f, OP_ABS, x[0], SPAN_NONE);
        if (op == OP_AND || op == OP_OR || op == OP_NOT || op == OP_WHERE) {
            Node zero = graph_const(c.m, c.f, 0);
            x[0] = graph_binary(c.m, c.f, OP_MAX, x[0], zero, SPAN_NONE);
        }
        show(&c, graph_add(c.m, c.f, op, x, (uint32_t)info->operands, 0, 0, SPAN_NONE));
        check(&c, 2e-6, 1e-14, info->name);
        finish(&c);
    }
}

/* ---- stencils: sides × rank × sizes × forward and transposed ---- */

static const char *const side_names[] = {"periodic", "even", "odd", "slope", "ghost"};

static Stencil random_stencil(Case *c, uint32_t rank, int reach, const SideKind *kinds, bool transposed, bool values, uint64_t *seed)
{
    Stencil s = {.rank = rank, .in_channels = 1 + next_random(seed) % 2, .out_channels = 1 + next_random(seed) % 2,
                 .transposed = transposed};
    for (uint32_t a = 0; a < rank; a++)
        for (int side = 0; side < 2; side++) {
            s.sides[a][side] = kinds[a] == SIDE_PERIODIC ? SIDE_PERIODIC : kinds[(a + (uint32_t)side) % rank];
            if (kinds[a] != SIDE_PERIODIC && s.sides[a][side] == SIDE_PERIODIC)
                s.sides[a][side] = kinds[a];
            s.has_value[a][side] = values && (s.sides[a][side] == SIDE_ODD || s.sides[a][side] == SIDE_SLOPE || s.sides[a][side] == SIDE_GHOST);
        }
    s.taps = ARENA_ARRAY(c->m->arena, Tap, 40);
    uint32_t wanted = 3 + next_random(seed) % 6;
    for (uint32_t i = 0; i < wanted; i++) {
        Tap t = {.from = next_random(seed) % s.in_channels, .to = next_random(seed) % s.out_channels};
        for (uint32_t a = 0; a < rank; a++)
            t.offset[a] = (int32_t)(next_random(seed) % (uint64_t)(2 * reach + 1)) - reach;
        t.weight = (double)(float)(uniform(seed) * 2 - 1);
        bool twice = false;
        for (uint32_t k = 0; k < s.count; k++)
            twice = twice || (memcmp(s.taps[k].offset, t.offset, sizeof t.offset) == 0 && s.taps[k].from == t.from && s.taps[k].to == t.to);
        if (!twice)
            s.taps[s.count++] = t;
    }
    return s;
}

static void one_stencil(uint32_t rank, const int64_t *extent, int reach, const SideKind *kinds, bool transposed, bool values,
                        int chain, uint64_t seed)
{
    Case c = start(rank, extent);
    Stencil s = random_stencil(&c, rank, reach, kinds, transposed, values, &seed);
    uint32_t in = transposed ? s.out_channels : s.in_channels;
    Node u = field_input(&c, in, seed, -1, 1);
    Node v = field_input(&c, 1, seed + 5, -1, 1);
    Node operands[7] = {u};
    uint32_t count = 1;
    for (uint32_t a = 0; a < rank; a++)
        for (int side = 0; side < 2; side++)
            if (s.has_value[a][side])
                operands[count] = count % 2 ? v : graph_const(c.m, c.f, 0.75), count++;
    StencilId id = graph_stencil(c.m, &s);
    for (int i = 0; i < chain; i++) {
        if (i > 0 && s.in_channels != s.out_channels)
            break;
        u = graph_add(c.m, c.f, OP_STENCIL, operands, count, id, 0, SPAN_NONE);
        operands[0] = u;
    }
    show(&c, u);
    show(&c, graph_unary(c.m, c.f, OP_SUM, graph_binary(c.m, c.f, OP_MUL, u, u, SPAN_NONE), SPAN_NONE));
    char what[200];
    snprintf(what, sizeof what, "rank %u %lldx%lldx%lld reach %d sides %s %s transposed %d values %d chain %d", rank,
             (long long)extent[0], (long long)extent[1], (long long)extent[2], reach, side_names[kinds[0]],
             side_names[kinds[rank - 1]], transposed, values, chain);
    check(&c, 1e-5, 1e-13, what);
    finish(&c);
}

static void stencils_of_rank(uint32_t rank)
{
    static const int64_t sizes[][3] = {{3, 3, 3}, {2, 5, 4}, {37, 6, 3}, {70, 4, 5}, {33, 33, 3}};
    uint64_t seed = 11 + rank;
    for (size_t n = 0; n < sizeof sizes / sizeof *sizes; n++)
        for (SideKind a = SIDE_PERIODIC; a <= SIDE_GHOST; a++)
            for (int how = 0; how < 4; how++) {
                SideKind kinds[3] = {a, (SideKind)((a + 1 + n) % 5), (SideKind)((a + 3) % 5)};
                int reach = 1 + (int)(next_random(&seed) % 2);
                bool transposed = how % 2;
                one_stencil(rank, sizes[n], reach, kinds, transposed, !transposed && n % 2 == 0, 1 + how / 2, next_random(&seed));
            }
}

Test(code, stencils_1d) { stencils_of_rank(1); }
Test(code, stencils_2d) { stencils_of_rank(2); }
Test(code, stencils_3d) { stencils_of_rank(3); }
