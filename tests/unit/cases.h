/* Small modules for tests: grids, inputs, stencils, steps of diffusion, loops. */
#ifndef PDN_TEST_CASES_H
#define PDN_TEST_CASES_H

#include "tests/unit/differential.h"

typedef struct {
    Module *m;
    Names *names;
    FuncId f;
    GridId grid;
    Run run;
    double *data[8];
} Case;

static inline uint64_t next_random(uint64_t *state) {
    *state += 0x9e3779b97f4a7c15u;
    uint64_t z = *state;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static inline double uniform(uint64_t *state) {
    return (double)(next_random(state) >> 11) / 9007199254740992.0;
}

static inline Case start(uint32_t rank, const int64_t *extent) {
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

static inline Node field_input(Case *c, uint32_t channels, uint64_t seed, double low, double high) {
    uint32_t number = c->m->inputs.len;
    vec_push(&c->m->inputs, ((Input){.type = type_field(c->grid, channels)}));
    const Grid *g = &c->m->grids.data[c->grid];
    int64_t n = channels;
    for (uint32_t a = 0; a < g->rank; a++) n *= g->extent[a];
    c->data[number] = malloc(sizeof(double) * (size_t)n);
    for (int64_t i = 0; i < n; i++)
        c->data[number][i] = (float)(low + (high - low) * uniform(&seed));
    return graph_add_typed(c->m, c->f, OP_INPUT, type_field(c->grid, channels), NULL, 0, number, 0,
                           SPAN_NONE);
}

static inline void show(Case *c, Node n) {
    Effect e = {EFFECT_PRINT, 0, ARENA_ARRAY(c->m->arena, Node, 1), 1, SPAN_NONE};
    e.values[0] = n;
    vec_push(&graph_get(c->m, c->f)->effects, e);
}

static inline void prepare(Case *c, bool f64, int threads) {
    c->run =
        (Run){.module = c->m, .f64 = f64, .threads = threads, .seed = 7, .grids = make_grids(c->m)};
    c->run.inputs = (const double **)c->data;
}

static inline double differ(Case *c, bool f64, int threads) {
    char *error = NULL;
    free(c->run.grids);
    Numbers kept = c->run.seen;
    prepare(c, f64, threads);
    c->run.seen = kept;
    double d = run_differential(&c->run, &error);
    if (error) fprintf(stderr, "%s\n", error);
    return d;
}

static inline void finish(Case *c) {
    for (int i = 0; i < 8; i++) free(c->data[i]);
    vec_free(&c->run.seen);
    free(c->run.grids);
    graph_free(c->m);
    names_free(c->names);
}

static inline StencilId laplacian(Case *c, SideKind side) {
    const Grid *g = &c->m->grids.data[c->grid];
    Stencil s = {.rank = g->rank,
                 .in_channels = 1,
                 .out_channels = 1,
                 .taps = ARENA_ARRAY(c->m->arena, Tap, 7)};
    double centre = 0;
    for (uint32_t a = 0; a < g->rank; a++) {
        s.sides[a][0] = s.sides[a][1] = side;
        for (int o = -1; o <= 1; o += 2) {
            Tap t = {.weight = 1 / (g->spacing[a] * g->spacing[a])};
            t.offset[a] = o;
            s.taps[s.count++] = t;
            centre -= t.weight;
        }
    }
    s.taps[s.count++] = (Tap){.weight = centre};
    return graph_stencil(c->m, &s);
}

/* grad with the difference to the ghost, stored with the low cell: out channel a is the difference along a. */
static inline StencilId gradient(Case *c, SideKind side, bool transposed) {
    const Grid *g = &c->m->grids.data[c->grid];
    Stencil s = {.rank = g->rank,
                 .in_channels = 1,
                 .out_channels = g->rank,
                 .transposed = transposed,
                 .taps = ARENA_ARRAY(c->m->arena, Tap, 6)};
    for (uint32_t a = 0; a < g->rank; a++) {
        s.sides[a][0] = s.sides[a][1] = side;
        Tap t = {.to = a, .weight = 1 / g->spacing[a]};
        s.taps[s.count] = t;
        s.taps[s.count++].weight = -t.weight;
        t.offset[a] = 1;
        s.taps[s.count++] = t;
    }
    return graph_stencil(c->m, &s);
}

static inline Node diffusion_step(Case *c, FuncId f, Node u, double lambda, double tau) {
    Module *m = c->m;
    Node grad = graph_add(m, f, OP_STENCIL, &u, 1, gradient(c, SIDE_EVEN, false), 0, SPAN_NONE);
    Node squares =
        graph_unary(m, f, OP_CHSUM, graph_binary(m, f, OP_MUL, grad, grad, SPAN_NONE), SPAN_NONE);
    Node ratio =
        graph_binary(m, f, OP_MUL, squares, graph_const(m, f, 1 / (lambda * lambda)), SPAN_NONE);
    Node one = graph_const(m, f, 1);
    Node g = graph_binary(m, f, OP_DIV, one, graph_binary(m, f, OP_ADD, one, ratio, SPAN_NONE),
                          SPAN_NONE);
    Node flux = graph_binary(m, f, OP_MUL, g, grad, SPAN_NONE);
    Node div = graph_add(m, f, OP_STENCIL, &flux, 1, gradient(c, SIDE_EVEN, true), 0, SPAN_NONE);
    return graph_binary(m, f, OP_SUB, u,
                        graph_binary(m, f, OP_MUL, graph_const(m, f, tau), div, SPAN_NONE),
                        SPAN_NONE);
}

static inline FuncId body_of(Case *c, const char *name, uint32_t fields, Node *params) {
    FuncId f = graph_func(c->m, names_of(c->names, name));
    params[0] = graph_param(c->m, f, type_scalar(), 0);
    for (uint32_t i = 1; i <= fields; i++)
        params[i] = graph_param(c->m, f, type_field(c->grid, 1), 0);
    return f;
}

static inline void result(Case *c, FuncId f, Node n) { vec_push(&graph_get(c->m, f)->results, n); }

static inline Node loop_of(Case *c, FuncId body, double count, Node *states, uint32_t n,
                           uint32_t captured, Loop like) {
    like.body = body;
    like.states = n;
    like.captured = captured;
    LoopId l = graph_loop(c->m, &like);
    Node operands[8] = {graph_const(c->m, c->f, count)};
    memcpy(operands + 1, states, sizeof *states * (n + captured));
    return graph_add(c->m, c->f, OP_LOOP, operands, 1 + n + captured, l, 0, SPAN_NONE);
}

#endif
