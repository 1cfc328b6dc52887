/* Small graphs for the tests of graph, ops and analysis. */
#ifndef PDN_TESTS_BUILD_GRAPH_H
#define PDN_TESTS_BUILD_GRAPH_H

#include "compiler/analysis/analysis.h"
#include "compiler/graph/graph.h"
#include "compiler/ops/ops.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    Names *names;
    Module *m;
    FuncId f;
    GridId grid;
    Arena *arena;
} Bench;

static inline Bench bench_new(uint32_t rank, const int64_t *extent, double spacing) {
    Bench b;
    Grid g = {.rank = rank};
    for (uint32_t a = 0; a < rank; a++) {
        g.extent[a] = extent[a];
        g.spacing[a] = spacing;
    }
    b.names = names_new();
    b.m = graph_new(b.names);
    b.grid = graph_grid(b.m, &g);
    b.f = graph_func(b.m, names_of(b.names, "f"));
    b.arena = arena_new();
    return b;
}

static inline void bench_free(Bench *b) {
    graph_free(b->m);
    names_free(b->names);
    arena_free(b->arena);
}

static inline Func *bench_func(const Bench *b) { return graph_get(b->m, b->f); }

static inline Node field_param(Bench *b, uint32_t channels) {
    return graph_param(b->m, b->f, type_field(b->grid, channels), 0);
}

static inline Node number(Bench *b, double x) { return graph_const(b->m, b->f, x); }

static inline Node un(Bench *b, Op op, Node x) { return graph_unary(b->m, b->f, op, x, SPAN_NONE); }

static inline Node bin(Bench *b, Op op, Node x, Node y) {
    return graph_binary(b->m, b->f, op, x, y, SPAN_NONE);
}

static inline void returns(Bench *b, Node n) { vec_push(&bench_func(b)->results, n); }

static inline int64_t cells_of(const Bench *b, GridId grid) {
    int64_t cells = 1;
    for (uint32_t a = 0; a < b->m->grids.data[grid].rank; a++)
        cells *= b->m->grids.data[grid].extent[a];
    return cells;
}

/* A repeatable number in (-1, 1). */
static inline double noise(uint64_t *state) {
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (double)(int64_t)(*state >> 11) / (double)(1ull << 52) - 1;
}

static inline Array array_of(Bench *b, Type type) {
    Array a = {.type = type,
               .frames = 1,
               .size = type.kind == TYPE_SCALAR ? 1 : cells_of(b, type.grid) * type.channels};
    a.data = ARENA_ARRAY(b->arena, double, a.size);
    return a;
}

static inline Array random_array(Bench *b, Type type, uint64_t seed) {
    Array a = array_of(b, type);
    for (int64_t i = 0; i < a.size; i++) a.data[i] = noise(&seed);
    return a;
}

/* Result 0 of a function. */
static inline Array run_func(Bench *b, FuncId f, const Array *args) {
    EvalOptions options = {0};
    Array results[8];
    if (eval_func(b->m, f, args, results, &options, b->arena) != 0) return (Array){0};
    return results[0];
}

static inline double dot(const Array *a, const Array *b) {
    double sum = 0;
    for (int64_t i = 0; i < a->size; i++) sum += a->data[i] * b->data[i];
    return sum;
}

/* Forward differences of one channel along all axes, 1 -> rank channels, with these sides
 * everywhere. */
static inline StencilId gradient_stencil(Bench *b, SideKind side, bool transposed) {
    const Grid *g = &b->m->grids.data[b->grid];
    Tap taps[2 * MAX_RANK] = {0};
    Stencil s = {.rank = g->rank,
                 .in_channels = 1,
                 .out_channels = g->rank,
                 .taps = taps,
                 .transposed = transposed};
    for (uint32_t a = 0; a < g->rank; a++) {
        s.sides[a][0] = s.sides[a][1] = side;
        taps[s.count++] = (Tap){{0, 0, 0}, 0, a, -1 / g->spacing[a]};
        taps[s.count] = (Tap){{0, 0, 0}, 0, a, 1 / g->spacing[a]};
        taps[s.count++].offset[a] = 1;
    }
    return graph_stencil(b->m, &s);
}

static inline Node apply(Bench *b, StencilId s, Node u) {
    return graph_add(b->m, b->f, OP_STENCIL, &u, 1, s, 0, SPAN_NONE);
}

#endif
