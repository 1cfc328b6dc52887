/* Modules: grids, stencils, loops and functions, interned where equal. */
#include "compiler/graph/internal.h"

#include <stdlib.h>
#include <string.h>

Module *graph_new(Names *names) {
    Arena *arena = arena_new();
    Module *module = ARENA_NEW(arena, Module);
    module->arena = arena;
    module->names = names;
    vec_push(&module->grids, (Grid){0});
    vec_push(&module->stencils, (Stencil){0});
    vec_push(&module->convs, (Conv){0});
    vec_push(&module->loops, (Loop){0});
    vec_push(&module->implicits, (Implicit){0});
    vec_push(&module->funcs, NULL);
    return module;
}

void graph_free(Module *module) {
    if (!module) return;
    for (uint32_t i = 1; i < module->funcs.len; i++) {
        Func *f = module->funcs.data[i];
        vec_free(&f->nodes);
        vec_free(&f->operands);
        vec_free(&f->params);
        vec_free(&f->results);
        vec_free(&f->effects);
        map_free(&f->shared);
    }
    vec_free(&module->grids);
    vec_free(&module->stencils);
    vec_free(&module->convs);
    vec_free(&module->loops);
    vec_free(&module->implicits);
    vec_free(&module->inputs);
    vec_free(&module->funcs);
    arena_free(module->arena);
}

void graph_fault(const Module *module, const char *what) {
    Text text = {0};
    graph_print(module, &text);
    if (text.len) fwrite(text.data, 1, text.len, stderr);
    text_free(&text);
    fprintf(stderr, "internal error in the graph above: %s\n", what);
    abort();
}

/* ---- grids ------------------------------------------------------------------ */

static bool grid_equal(const Grid *a, const Grid *b) {
    if (a->rank != b->rank || a->finer != b->finer || a->coarser != b->coarser || a->row != b->row)
        return false;
    for (uint32_t axis = 0; axis < a->rank; axis++)
        if (a->extent[axis] != b->extent[axis] || a->spacing[axis] != b->spacing[axis] ||
            a->origin[axis] != b->origin[axis])
            return false;
    return true;
}

GridId graph_grid(Module *module, const Grid *grid) {
    Grid clean = *grid;
    for (uint32_t axis = clean.rank; axis < MAX_RANK; axis++) {
        clean.extent[axis] = 1;
        clean.spacing[axis] = 1;
        clean.origin[axis] = 0;
    }
    for (GridId i = 1; i < module->grids.len; i++)
        if (grid_equal(&module->grids.data[i], &clean)) return i;
    vec_push(&module->grids, clean);
    return module->grids.len - 1;
}

GridId graph_row(Module *module, int64_t count) {
    return graph_grid(module, &(Grid){.rank = 1, .extent = {count}, .spacing = {1}, .row = true});
}

GridId graph_coarser(Module *module, GridId fine) {
    Grid coarse = module->grids.data[fine];
    if (coarse.coarser != GRID_NONE) return coarse.coarser;
    coarse.finer = fine;
    coarse.name = 0;
    coarse.row = false;
    for (uint32_t axis = 0; axis < coarse.rank; axis++) {
        if (coarse.extent[axis] >= 0) coarse.extent[axis] = (coarse.extent[axis] + 1) / 2;
        coarse.spacing[axis] *= 2;
    }
    return graph_grid(module, &coarse);
}

bool grid_shares(const Grid *fine, uint32_t axis) {
    return fine->extent[axis] >= 0 && fine->extent[axis] % 2 != 0;
}

GridId graph_fitted(Module *module, GridId fine) {
    Grid from = module->grids.data[fine];
    GridId halved = graph_coarser(module, fine);
    Grid coarse = module->grids.data[halved];
    bool any = false;
    for (uint32_t axis = 0; axis < from.rank; axis++)
        if (grid_shares(&from, axis)) {
            coarse.spacing[axis] =
                from.spacing[axis] * ((double)from.extent[axis] / (double)coarse.extent[axis]);
            any = true;
        }
    return any ? graph_grid(module, &coarse) : halved;
}

Resample graph_resample(const Module *module, GridId fine, GridId coarse) {
    const Grid *f = &module->grids.data[fine], *c = &module->grids.data[coarse];
    for (uint32_t axis = 0; axis < f->rank; axis++)
        if (c->finer == fine && grid_shares(f, axis) && c->spacing[axis] != 2 * f->spacing[axis])
            return RESAMPLE_SHARES;
    return RESAMPLE_MEAN;
}

GridId graph_finer(Module *module, GridId coarse) {
    Grid fine = module->grids.data[coarse];
    if (fine.finer != GRID_NONE) return fine.finer;
    fine.coarser = coarse;
    fine.name = 0;
    fine.row = false;
    for (uint32_t axis = 0; axis < fine.rank; axis++) {
        if (fine.extent[axis] >= 0) fine.extent[axis] *= 2;
        fine.spacing[axis] /= 2;
    }
    return graph_grid(module, &fine);
}

/* ---- stencils ----------------------------------------------------------------- */

static int tap_compare(const void *left, const void *right) {
    const Tap *a = left, *b = right;
    if (a->to != b->to) return a->to < b->to ? -1 : 1;
    if (a->from != b->from) return a->from < b->from ? -1 : 1;
    for (int axis = MAX_RANK - 1; axis >= 0; axis--)
        if (a->offset[axis] != b->offset[axis]) return a->offset[axis] < b->offset[axis] ? -1 : 1;
    return 0;
}

static bool stencil_equal(const Stencil *a, const Stencil *b) {
    if (a->rank != b->rank || a->in_channels != b->in_channels ||
        a->out_channels != b->out_channels || a->transposed != b->transposed ||
        a->count != b->count || memcmp(a->sides, b->sides, sizeof a->sides) != 0 ||
        memcmp(a->has_value, b->has_value, sizeof a->has_value) != 0)
        return false;
    for (uint32_t i = 0; i < a->count; i++)
        if (tap_compare(&a->taps[i], &b->taps[i]) != 0 || a->taps[i].weight != b->taps[i].weight)
            return false;
    return true;
}

StencilId graph_stencil(Module *module, const Stencil *stencil) {
    Stencil s = *stencil;
    for (uint32_t axis = 0; axis < MAX_RANK; axis++)
        for (int side = 0; side < 2; side++) {
            SideKind kind = s.sides[axis][side];
            if (axis >= s.rank) s.sides[axis][side] = SIDE_PERIODIC;
            /* a transposed stencil takes no values; nor do sides without any */
            if (axis >= s.rank || s.transposed || kind == SIDE_PERIODIC || kind == SIDE_EVEN)
                s.has_value[axis][side] = false;
        }
    Tap *taps = arena_copy(module->arena, s.taps, sizeof *taps * s.count);
    uint32_t kept = 0;
    if (s.count) qsort(taps, s.count, sizeof *taps, tap_compare);
    for (uint32_t i = 0; i < s.count; i++) {
        if (kept && tap_compare(&taps[kept - 1], &taps[i]) == 0)
            taps[kept - 1].weight += taps[i].weight;
        else
            taps[kept++] = taps[i];
    }
    s.count = 0;
    for (uint32_t i = 0; i < kept; i++)
        if (taps[i].weight != 0) taps[s.count++] = taps[i];
    s.taps = taps;
    for (StencilId i = 1; i < module->stencils.len; i++)
        if (stencil_equal(&module->stencils.data[i], &s)) return i;
    vec_push(&module->stencils, s);
    return module->stencils.len - 1;
}

/* ---- convolutions ---------------------------------------------------------------- */

static bool conv_equal(const Conv *a, const Conv *b) {
    return a->rank == b->rank && a->in == b->in && a->out == b->out && a->groups == b->groups &&
           memcmp(a->size, b->size, sizeof a->size) == 0 &&
           memcmp(a->stride, b->stride, sizeof a->stride) == 0 &&
           memcmp(a->dilation, b->dilation, sizeof a->dilation) == 0 &&
           memcmp(a->sides, b->sides, sizeof a->sides) == 0;
}

ConvId graph_conv(Module *module, const Conv *conv) {
    Conv c = *conv;
    for (uint32_t axis = 0; axis < MAX_RANK; axis++) {
        if (axis >= c.rank) c.size[axis] = c.stride[axis] = c.dilation[axis] = 1;
        for (int side = 0; side < 2; side++) {
            if (axis >= c.rank) c.sides[axis][side] = SIDE_PERIODIC;
            if (c.sides[axis][side] == SIDE_SLOPE) c.sides[axis][side] = SIDE_EVEN;
        }
    }
    for (ConvId i = 1; i < module->convs.len; i++)
        if (conv_equal(&module->convs.data[i], &c)) return i;
    vec_push(&module->convs, c);
    return module->convs.len - 1;
}

/* ---- loops and functions ------------------------------------------------------- */

static bool loop_equal(const Loop *a, const Loop *b) {
    return a->body == b->body && a->start == b->start && a->states == b->states &&
           a->captured == b->captured && a->has_stop == b->has_stop &&
           a->collected == b->collected && a->stride == b->stride && a->name == b->name &&
           (a->collected == 0 ||
            memcmp(a->collect, b->collect, sizeof *a->collect * a->collected) == 0);
}

LoopId graph_loop(Module *module, const Loop *loop) {
    for (LoopId i = 1; i < module->loops.len; i++)
        if (loop_equal(&module->loops.data[i], loop)) return i;
    Loop copy = *loop;
    copy.collect =
        arena_copy(module->arena, loop->collect, sizeof *loop->collect * loop->collected);
    vec_push(&module->loops, copy);
    return module->loops.len - 1;
}

ImplicitId graph_implicit(Module *module, const Implicit *implicit) {
    vec_push(&module->implicits, *implicit);
    return module->implicits.len - 1;
}

FuncId graph_func(Module *module, Name name) {
    Func *f = ARENA_NEW(module->arena, Func);
    f->name = name;
    vec_push(&f->nodes, (NodeData){0});
    vec_push(&module->funcs, f);
    return module->funcs.len - 1;
}

/* ---- what a function holds --------------------------------------------------------- */

static void mark_needed(const Func *f, uint8_t *needed) {
    memset(needed, 0, f->nodes.len);
    for (uint32_t i = 0; i < f->results.len; i++) needed[f->results.data[i]] = 1;
    for (uint32_t i = 0; i < f->effects.len; i++)
        for (uint32_t k = 0; k < f->effects.data[i].count; k++)
            needed[f->effects.data[i].values[k]] = 1;
    for (Node n = f->nodes.len; --n > 0;)
        for (uint32_t k = 0; needed[n] && k < graph_node(f, n)->count; k++)
            needed[graph_operand(f, n, k)] = 1;
}

typedef struct {
    const Module *m;
    GraphFound *found;
    void *context;
    FuncId in;
    uint8_t *seen; /* by function */
} Search;

static Node search_in(Search *s, FuncId func) {
    if (s->seen[func]) return NODE_NONE;
    s->seen[func] = 1;
    const Func *f = graph_get(s->m, func);
    uint8_t *needed = mem_alloc(f->nodes.len);
    mark_needed(f, needed);
    Node found = NODE_NONE;
    for (Node n = 1; n < f->nodes.len && !found; n++) {
        const NodeData *d = graph_node(f, n);
        if (!needed[n]) continue;
        if (s->found(s->context, func, n)) {
            found = n;
            s->in = func;
        } else if (d->op == OP_CALL)
            found = search_in(s, d->index);
        else if (d->op == OP_LOOP || d->op == OP_BACK)
            found = search_in(s, s->m->loops.data[d->index].body);
    }
    mem_free(needed);
    return found;
}

Node graph_search(const Module *module, FuncId func, GraphFound *found, void *context, FuncId *in) {
    Search s = {module, found, context, 0, mem_alloc(module->funcs.len)};
    memset(s.seen, 0, module->funcs.len);
    Node n = search_in(&s, func);
    mem_free(s.seen);
    if (in) *in = s.in;
    return n;
}

typedef struct {
    const Module *module;
    Op op;
} Wanted;

static bool has_op(void *context, FuncId in, Node n) {
    const Wanted *w = context;
    return graph_node(graph_get(w->module, in), n)->op == w->op;
}

Node graph_find(const Module *module, FuncId func, Op op, FuncId *in) {
    Wanted w = {module, op};
    return graph_search(module, func, has_op, &w, in);
}

int64_t graph_least_extent(const Module *module, GridId *grid, int64_t least) {
    for (const Grid *g = &module->grids.data[*grid]; g->finer || g->coarser;
         g = &module->grids.data[*grid]) {
        if (least > 1) least = g->finer ? 2 * least - 1 : (least + 1) / 2;
        *grid = g->finer ? g->finer : g->coarser;
    }
    return least;
}
