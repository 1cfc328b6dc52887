/* From the nodes of a function to layers.
 *
 * Every node that is not pointwise is a layer. Pointwise nodes join those that they read if as many other layers lie
 * between them and the inputs at most: so the pointwise layers of a part can be done one after the other. */
#include "compiler/analysis/rebuild.h"
#include "compiler/explain/build.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static LayerKind kind_of(const Reading *r, Node n) {
    const NodeData *d = graph_node(r->f, n);
    switch (d->op) {
    case OP_INPUT:
    case OP_PARAM:
    case OP_COORD:
    case OP_NORMAL:
    case OP_UNIFORM: return LAYER_START;
    case OP_STENCIL: return LAYER_STENCIL;
    case OP_CONV:
    case OP_CONVT:
    case OP_CONVW: return LAYER_CONV;
    case OP_RESTRICT:
    case OP_MAXPOOL: return LAYER_DOWN;
    case OP_PROLONG: return LAYER_UP;
    case OP_CONCAT: return LAYER_JOIN;
    case OP_SUM:
    case OP_LEAST:
    case OP_LARGEST:
    case OP_TOTALS:
    case OP_BATCHMEAN: return LAYER_REDUCE;
    case OP_CHECKED: return LAYER_CHECK;
    case OP_LOOP:
    case OP_BACK: return LAYER_LOOP;
    case OP_CALL: return LAYER_CALL;
    default: return LAYER_POINTWISE;
    }
}

/* ---- groups ----------------------------------------------------------------------------------- */

static uint32_t group_of(uint32_t *group, Node n) {
    while (group[n] != n) n = group[n] = group[group[n]];
    return n;
}

/* Nodes that are no layer: what nothing needs, what varies with nothing, names of other nodes. */
static bool counts(const Reading *r, Node n) {
    return r->live[n] && r->varies[n] && !is_alias(graph_node(r->f, n)->op);
}

/* Layers between a node and the inputs, at most. */
static uint32_t *depths(const Reading *r) {
    uint32_t *depth = ARENA_ARRAY(r->b->arena, uint32_t, r->f->nodes.len);
    for (Node n = 1; n < r->f->nodes.len; n++) {
        const NodeData *d = graph_node(r->f, n);
        for (uint32_t k = 0; k < d->count; k++) {
            Node o = graph_operand(r->f, n, k);
            if (r->varies[o] && depth[o] > depth[n]) depth[n] = depth[o];
        }
        if (counts(r, n) && kind_of(r, n) != LAYER_POINTWISE && kind_of(r, n) != LAYER_START)
            depth[n]++;
    }
    return depth;
}

static uint32_t *group_nodes(const Reading *r, const uint32_t *depth) {
    uint32_t count = r->f->nodes.len;
    uint32_t *group = ARENA_ARRAY(r->b->arena, uint32_t, count);
    GridId *grid = ARENA_ARRAY(r->b->arena, GridId, count);
    for (Node n = 0; n < count; n++) group[n] = n, grid[n] = graph_node(r->f, n)->type.grid;
    for (Node n = 1; n < count; n++) {
        const NodeData *d = graph_node(r->f, n);
        if (!counts(r, n) || kind_of(r, n) != LAYER_POINTWISE) continue;
        for (uint32_t k = 0; k < d->count; k++) {
            Node o = graph_operand(r->f, n, k);
            if (!counts(r, o) || kind_of(r, o) != LAYER_POINTWISE || depth[o] != depth[n]) continue;
            uint32_t a = group_of(group, n), b = group_of(group, o);
            if (grid[a] && grid[b] && grid[a] != grid[b]) continue;
            if (grid[a] == GRID_NONE) grid[a] = grid[b];
            grid[b] = grid[a];
            group[b] = a;
        }
    }
    return group;
}

/* A pointwise group that only one other reads belongs to that. Returns whether any did. */
static bool sink_groups(const Reading *r, uint32_t *group) {
    enum { NOBODY = 0, SEVERAL = UINT32_MAX };
    uint32_t count = r->f->nodes.len;
    bool any = false;
    uint32_t *reader = mem_alloc(sizeof *reader * count);
    memset(reader, 0, sizeof *reader * count);
    for (uint32_t i = 0; i < r->f->results.len; i++)
        reader[group_of(group, r->f->results.data[i])] = SEVERAL;
    for (uint32_t i = 0; i < r->f->effects.len; i++)
        for (uint32_t k = 0; k < r->f->effects.data[i].count; k++)
            reader[group_of(group, r->f->effects.data[i].values[k])] = SEVERAL;
    for (Node n = 1; n < count; n++)
        for (uint32_t k = 0; r->live[n] && r->varies[n] && k < graph_node(r->f, n)->count; k++) {
            uint32_t from = group_of(group, graph_operand(r->f, n, k)), to = group_of(group, n);
            if (from == to) continue;
            bool other = is_alias(graph_node(r->f, n)->op) || (reader[from] && reader[from] != to);
            reader[from] = other ? SEVERAL : to;
        }
    for (Node n = 1; n < count; n++) {
        uint32_t to = reader[n];
        if (group[n] != n || to == NOBODY || to == SEVERAL || !counts(r, n)) continue;
        to = group_of(group, to);
        GridId a = graph_node(r->f, n)->type.grid, b = graph_node(r->f, to)->type.grid;
        if (kind_of(r, n) != LAYER_POINTWISE || kind_of(r, to) != LAYER_POINTWISE || to == n ||
            (a && b && a != b))
            continue;
        group[n] = to;
        any = true;
    }
    mem_free(reader);
    return any;
}

typedef struct {
    Node node; /* the last of the group */
    uint32_t depth,
        rank; /* what comes first among those of one depth: starts, layers, pointwise ones */
} Place;

static int compare_places(const void *a, const void *b) {
    const Place *x = a, *y = b;
    if (x->depth != y->depth) return x->depth < y->depth ? -1 : 1;
    if (x->rank != y->rank) return x->rank < y->rank ? -1 : 1;
    return x->node < y->node ? -1 : x->node > y->node;
}

/* Makes the layers in order, empty but for kind and node. */
static void place_layers(Reading *r) {
    Part *p = r->part;
    uint32_t count = r->f->nodes.len;
    uint32_t *depth = depths(r), *group = group_nodes(r, depth);
    while (sink_groups(r, group)) {}
    VEC(Place) places = {0};
    uint32_t *of = ARENA_ARRAY(r->b->arena, uint32_t, count);
    for (Node n = 0; n < count; n++) r->layer[n] = of[n] = NO_LAYER;
    for (Node n = count; --n > 0;) {
        if (!counts(r, n) || of[group_of(group, n)] != NO_LAYER) continue;
        LayerKind kind = kind_of(r, n);
        of[group_of(group, n)] = places.len;
        Place place = {n, depth[n], kind == LAYER_START ? 0 : kind == LAYER_POINTWISE ? 2 : 1};
        vec_push(&places, place);
    }
    if (places.len) qsort(places.data, places.len, sizeof *places.data, compare_places);
    for (uint32_t i = 0; i < places.len; i++) {
        Node n = places.data[i].node;
        Layer l = {.kind = kind_of(r, n),
                   .node = n,
                   .partner = NO_LAYER,
                   .state = -1,
                   .level = -1,
                   .given = NO_LAYER};
        of[group_of(group, n)] = p->layers.len;
        vec_push(&p->layers, l);
    }
    for (Node n = 1; n < count; n++)
        if (counts(r, n)) r->layer[n] = of[group_of(group, n)];
    for (Node n = 1; n < count; n++)
        if (r->live[n] && r->varies[n] && is_alias(graph_node(r->f, n)->op))
            r->layer[n] = r->layer[graph_operand(r->f, n, 0)];
    vec_free(&places);
}

/* ---- what layers are ------------------------------------------------------------------------------ */

static uint64_t *tensor_set(const Builder *b) {
    return ARENA_ARRAY(b->arena, uint64_t, b->words + 1);
}

/* Its parameters, by name; those that no layer had before are counted. */
static void add_weights(Reading *r, Layer *l, const uint64_t *set) {
    Builder *b = r->b;
    l->weights = ARENA_ARRAY(b->arena, const char *, b->tensor_count + 1);
    for (uint32_t t = 0; t < b->tensor_count; t++) {
        if (!(set[t / 64] >> (t % 64) & 1)) continue;
        l->weights[l->weight_count++] = weight_name(r, t);
        l->trained = l->trained || b->tensors[t].count > 0;
        if (!b->tensors[t].counted) l->parameters += b->tensors[t].count;
        b->tensors[t].counted = true;
    }
}

/* Work on fields that vary with nothing is done where it is used first. */
static void add_constants(Reading *r, Layer *l, Node n, uint8_t *done) {
    for (uint32_t k = 0; k < graph_node(r->f, n)->count; k++) {
        Node o = graph_operand(r->f, n, k);
        if (r->varies[o] || done[o]) continue;
        done[o] = 1;
        const NodeData *d = graph_node(r->f, o);
        if (d->type.kind == TYPE_FIELD && !r->b->module->grids.data[d->type.grid].row)
            l->flops = amount_add(l->flops, node_flops(r->b, r->f, o));
        add_constants(r, l, o, done);
    }
}

/* Edges, weights, costs and what leaves the layer. */
static void join_nodes(Reading *r) {
    Part *p = r->part;
    uint8_t *done = mem_alloc(r->f->nodes.len), *leaves = mem_alloc(r->f->nodes.len);
    uint64_t **sets = ARENA_ARRAY(r->b->arena, uint64_t *, p->layers.len + 1);
    memset(done, 0, r->f->nodes.len);
    memset(leaves, 0, r->f->nodes.len);
    for (uint32_t i = 0; i < p->layers.len; i++) {
        sets[i] = tensor_set(r->b);
        p->layers.data[i].from = ARENA_ARRAY(r->b->arena, uint32_t, p->layers.len + 1);
    }
    for (uint32_t i = 0; i < r->f->results.len; i++) leaves[r->f->results.data[i]] = 1;
    for (Node n = 1; n < r->f->nodes.len; n++) {
        if (r->layer[n] == NO_LAYER || is_alias(graph_node(r->f, n)->op)) continue;
        Layer *l = &p->layers.data[r->layer[n]];
        l->flops = amount_add(l->flops, node_flops(r->b, r->f, n));
        add_constants(r, l, n, done);
        for (uint32_t k = 0; k < graph_node(r->f, n)->count; k++) {
            Node o = graph_operand(r->f, n, k);
            uint32_t from = r->layer[o];
            for (uint32_t w = 0; w < r->b->words && !r->varies[o]; w++)
                sets[r->layer[n]][w] |= node_tensors(r, o)[w];
            if (from == NO_LAYER || from == r->layer[n]) continue;
            leaves[o] = 1;
            p->layers.data[from].used = true;
            if (k == 0 && graph_node(r->f, n)->op == OP_LOOP) continue; /* how often */
            bool known = false;
            for (uint32_t i = 0; i < l->from_count; i++) known = known || l->from[i] == from;
            if (!known) l->from[l->from_count++] = from;
        }
    }
    for (Node n = 1; n < r->f->nodes.len; n++)
        if (leaves[n] && r->layer[n] != NO_LAYER) {
            Layer *l = &p->layers.data[r->layer[n]];
            Type t = graph_node(r->f, n)->type;
            l->memory = amount_add(l->memory, amount_of(type_bytes(r->b, t)));
            if (l->type.kind != TYPE_FIELD || l->node == n) l->type = t;
        }
    for (uint32_t i = 0; i < p->layers.len; i++)
        if (p->layers.data[i].kind != LAYER_LOOP && p->layers.data[i].kind != LAYER_CALL)
            add_weights(r, &p->layers.data[i], sets[i]);
    mem_free(done);
    mem_free(leaves);
}

/* ---- titles ------------------------------------------------------------------------------------------ */

static const char *grid_title(Reading *r, const NodeData *d, Type in) {
    static const char *const shapes[] = {"2", "2×2", "2×2×2"};
    const char *cells = shapes[r->b->module->grids.data[in.grid].rank - 1];
    const char *how = d->op == OP_MAXPOOL    ? "max pooling"
                      : d->op == OP_RESTRICT ? "restriction"
                                             : "prolongation";
    if (d->op == OP_MAXPOOL) return arena_format(r->b->arena, "%s, %s cells", how, cells);
    if (d->op != OP_MAXPOOL && d->index == RESAMPLE_SHARES)
        return arena_format(r->b->arena, "%s, by shares of the cells", how);
    if (d->op == OP_RESTRICT)
        return arena_format(r->b->arena, d->index ? "%s, one of %s cells" : "%s, mean of %s cells",
                            how, cells);
    return arena_format(r->b->arena, d->index ? "%s, to one of %s cells" : "%s, to %s cells", how,
                        cells);
}

/* The scalar functions of the program in which its nodes are written. */
static const char *pointwise_title(Reading *r, uint32_t layer) {
    const ExplainOptions *o = r->b->options;
    const char *words[4];
    uint32_t n = 0;
    for (Node node = 1; node < r->f->nodes.len && o->word_at; node++) {
        const NodeData *d = graph_node(r->f, node);
        if (r->layer[node] != layer || is_alias(d->op) || !d->span.file) continue;
        const char *word = o->word_at(o->context, d->span);
        bool known = !word;
        for (uint32_t i = 0; i < n; i++) known = known || strcmp(words[i], word) == 0;
        if (!known && n < 3) words[n++] = word;
    }
    if (!n) return "";
    const char *text = words[0];
    for (uint32_t i = 1; i < n; i++) text = arena_format(r->b->arena, "%s, %s", text, words[i]);
    return text;
}

static const char *start_title(Reading *r, Node n) {
    const NodeData *d = graph_node(r->f, n);
    static const char *const axes[] = {"coordinate x", "coordinate y", "coordinate z"};
    if (d->op == OP_COORD) return axes[d->index];
    if (d->op == OP_NORMAL) return "normal noise";
    if (d->op == OP_UNIFORM) return "uniform noise";
    if (d->op == OP_INPUT) return r->b->options->inputs[d->index].name;
    return r->names && r->names[d->index] ? r->names[d->index] : "what is given";
}

static const char *check_title(Reading *r, Node n) {
    const char *names[3];
    for (uint32_t k = 0; k < 3; k++) {
        names[k] = name_of_node(r, graph_operand(r->f, n, k));
        if (!names[k]) names[k] = "its bound";
    }
    return arena_format(r->b->arena, "%s: the run fails unless %s <= %s", names[0], names[1],
                        names[2]);
}

static void make_title(Reading *r, uint32_t i) {
    Builder *b = r->b;
    Layer *l = &r->part->layers.data[i];
    const NodeData *d = graph_node(r->f, l->node);
    Type in = d->count ? graph_node(r->f, graph_operand(r->f, l->node, 0))->type : d->type;
    switch (l->kind) {
    case LAYER_START: l->title = start_title(r, l->node); break;
    case LAYER_STENCIL:
        l->title =
            stencil_title(b, &b->module->stencils.data[d->index], &b->module->grids.data[in.grid]);
        break;
    case LAYER_CONV:
        l->title = conv_title(b, &b->module->convs.data[d->index], d->op == OP_CONVT);
        break;
    case LAYER_DOWN:
    case LAYER_UP: l->title = grid_title(r, d, in); break;
    case LAYER_JOIN: l->title = "concatenation"; break;
    case LAYER_REDUCE:
        l->title = d->op == OP_SUM         ? "sum over all cells"
                   : d->op == OP_LEAST     ? "least value"
                   : d->op == OP_LARGEST   ? "largest value"
                   : d->op == OP_BATCHMEAN ? "mean over the batch"
                                           : "sums of the channels";
        break;
    case LAYER_CHECK: l->title = check_title(r, l->node); break;
    case LAYER_POINTWISE: l->title = pointwise_title(r, i); break;
    default: l->title = "loop"; break;
    }
}

/* Of pointwise layers that make one thing: what it is. */
static void make_formula(Reading *r, uint32_t i) {
    Layer *l = &r->part->layers.data[i];
    Node made = NODE_NONE;
    uint32_t count = 0;
    for (Node n = 1; n < r->f->nodes.len; n++) {
        if (r->layer[n] != i || is_alias(graph_node(r->f, n)->op)) continue;
        bool leaves = false;
        for (uint32_t k = 0; k < r->f->results.len; k++)
            leaves = leaves || r->f->results.data[k] == n;
        for (Node m = n + 1; m < r->f->nodes.len && !leaves; m++)
            for (uint32_t k = 0; k < graph_node(r->f, m)->count; k++)
                leaves = leaves || (graph_operand(r->f, m, k) == n && r->layer[m] != NO_LAYER &&
                                    r->layer[m] != i);
        if (leaves) made = n, count++;
    }
    if (count == 1) l->formula = formula_of(r, made, i);
}

/* ---- loops ----------------------------------------------------------------------------------------------- */

static bool reads_by_number(const Reading *r, Node n) {
    const NodeData *d = graph_node(r->f, n);
    if (d->op != OP_FRAME || r->varies[n]) return false;
    double number;
    bool any = false;
    for (uint32_t w = 0; w < r->b->words; w++) any = any || node_tensors(r, n)[w];
    return any && !graph_is_const(r->f, graph_operand(r->f, n, 1), &number);
}

static void read_loop(Reading *r, uint32_t i) {
    Builder *b = r->b;
    Node n = r->part->layers.data[i].node;
    const NodeData *d = graph_node(r->f, n);
    bool call = d->op == OP_CALL;
    FuncId id = call ? d->index : b->module->loops.data[d->index].body;
    const Func *body = graph_get(b->module, id);
    uint32_t count = body->params.len, first = call ? 0 : 1;
    uint8_t *params =
        call ? ARENA_ARRAY(b->arena, uint8_t, count + 1) : scan_loop(b, r->f, r->varies, n);
    uint64_t *tensors = ARENA_ARRAY(b->arena, uint64_t, (size_t)count * b->words + 1);
    const char **names = ARENA_ARRAY(b->arena, const char *, count + 1);
    for (uint32_t p = first; p < count && p < d->count; p++) {
        Node o = graph_operand(r->f, n, p);
        if (call) params[p] = r->varies[o];
        if (!r->varies[o])
            memcpy(tensors + (size_t)p * b->words, node_tensors(r, o), sizeof(uint64_t) * b->words);
        names[p] = name_of_node(r, o);
        double number;
        if (!names[p] && graph_is_const(r->f, o, &number))
            names[p] = arena_format(b->arena, "%.6g", number);
    }
    Part *part =
        read_part(b, id, params, tensors, names, call ? NULL : &b->module->loops.data[d->index]);
    Amount times = amount_of(1);
    Name name = call ? body->name : b->module->loops.data[d->index].name;
    part->name = name ? names_text(b->module->names, name) : "";
    if (call)
        part->count = 1, part->count_text = "1";
    else {
        part->span = b->module->loops.data[d->index].span;
        times = loop_count(r, n, part);
    }
    Layer *l = &r->part->layers.data[i];
    l->title = part->name;
    l->body = part;
    part->around = r->part;
    part->at = i;
    for (uint32_t s = 0; s < part->layers.len; s++) {
        const NodeData *start = graph_node(body, part->layers.data[s].node);
        if (start->op == OP_PARAM && start->index < d->count)
            part->layers.data[s].given = r->layer[graph_operand(r->f, n, start->index)];
    }
    l->flops = amount_times(times, part->flops);
    part->memory = amount_times(times, part->memory);
}

/* ---- parts --------------------------------------------------------------------------------------------------- */

/* Levels, numbers, and loops, which count their layers after their own. */
static void number_layers(Reading *r) {
    Builder *b = r->b;
    Part *p = r->part;
    for (uint32_t i = 0; i < p->layers.len; i++) {
        Layer *l = &p->layers.data[i];
        if (l->type.kind == TYPE_SCALAR && l->type.channels == 0)
            l->type = graph_node(r->f, l->node)->type;
        if (l->type.grid && !b->module->grids.data[l->type.grid].row)
            l->level = b->level[l->type.grid];
        make_title(r, i);
        if (l->kind == LAYER_START) continue;
        l->number = ++b->numbers;
        if (l->kind == LAYER_LOOP || l->kind == LAYER_CALL) read_loop(r, i);
    }
    for (uint32_t i = 0; i < p->layers.len; i++)
        if (p->layers.data[i].kind == LAYER_POINTWISE) make_formula(r, i);
}

static void measure(Reading *r, const uint8_t *params) {
    Builder *b = r->b;
    Part *p = r->part;
    Reach *in = ARENA_ARRAY(b->arena, Reach, r->f->params.len + 1),
          *nodes = ARENA_ARRAY(b->arena, Reach, r->f->nodes.len);
    for (uint32_t i = 0; i < r->f->params.len; i++) {
        in[i] = reach_own();
        in[i].none = !params || !params[i];
    }
    reach_nodes(b, r->id, in, nodes);
    p->top = INT32_MAX;
    p->bottom = -1;
    for (uint32_t i = 0; i < p->layers.len; i++) {
        Layer *l = &p->layers.data[i];
        l->reach = nodes[l->node];
        for (Node n = 1; n < r->f->nodes.len; n++)
            if (r->layer[n] == i && is_alias(graph_node(r->f, n)->op) && l->kind == LAYER_LOOP &&
                graph_node(r->f, n)->type.kind == TYPE_FIELD && graph_node(r->f, n)->index == 0)
                l->reach = nodes[n];
        if (l->kind == LAYER_START) continue;
        p->flops = amount_add(p->flops, l->flops);
        p->memory = amount_add(p->memory, l->body ? l->body->memory : l->memory);
        int32_t top = l->body ? l->body->top : l->level,
                bottom = l->body ? l->body->bottom : l->level;
        if (top >= 0 && top < p->top) p->top = top;
        if (bottom > p->bottom) p->bottom = bottom;
    }
    if (p->top == INT32_MAX) p->top = -1;
    p->reach.none = true;
    for (uint32_t i = 0; i < p->result_count; i++)
        p->reach = reach_join(p->reach, nodes[r->f->results.data[i]]);
}

Part *read_part(Builder *b, FuncId func, const uint8_t *params, const uint64_t *tensors,
                const char **names, const Loop *loop) {
    static const char *const indices[] = {"k", "j", "i", "l", "m"};
    const Func *f = graph_get(b->module, func);
    Part *p = ARENA_NEW(b->arena, Part);
    arena_adopt(b->arena, (void **)&p->layers.data);
    arena_adopt(b->arena, (void **)&p->histories.data);
    arena_adopt(b->arena, (void **)&p->bridges.data);
    p->func = func;
    if (!b->out->part) b->out->part = p;
    Reading r = {.b = b, .id = func, .f = f, .names = names, .part = p, .index = indices[0]};
    uint8_t *live = rebuild_live(f);
    r.live = live;
    r.varies = ARENA_ARRAY(b->arena, uint8_t, f->nodes.len);
    r.layer = ARENA_ARRAY(b->arena, uint32_t, f->nodes.len);
    scan_varies(b, func, params, r.varies);
    scan_tensors(&r, tensors);
    if (loop) {
        names[0] = r.index;
        name_states(&r, loop);
    }
    place_layers(&r);
    for (uint32_t i = 0; i < p->layers.len; i++) {
        const NodeData *d = graph_node(f, p->layers.data[i].node);
        if (loop && d->op == OP_PARAM && d->index >= 1 && d->index <= loop->states)
            p->layers.data[i].state = d->index - 1;
    }
    join_nodes(&r);
    number_layers(&r);
    for (Node n = 1; n < f->nodes.len; n++) {
        if (live[n]) p->own_weights = p->own_weights || reads_by_number(&r, n);
    }
    for (uint32_t i = 0; i < p->layers.len; i++) {
        const Layer *l = &p->layers.data[i];
        p->any_weights = p->any_weights || l->weight_count || (l->body && l->body->any_weights);
        p->own_weights = p->own_weights || (l->body && l->body->own_weights);
    }
    p->result_count = f->results.len - (loop && loop->has_stop);
    p->results = ARENA_ARRAY(b->arena, uint32_t, p->result_count + 1);
    for (uint32_t i = 0; i < p->result_count; i++) p->results[i] = r.layer[f->results.data[i]];
    find_partners(&r);
    if (loop) find_histories(&r, loop);
    find_bridges(&r);
    measure(&r, params);
    mem_free(live);
    return p;
}

/* ---- all ------------------------------------------------------------------------------------------------------ */

static void measure_grids(Builder *b) {
    const Module *m = b->module;
    b->cells = ARENA_ARRAY(b->arena, double, m->grids.len + 1);
    b->level = ARENA_ARRAY(b->arena, int32_t, m->grids.len + 1);
    bool known = true;
    for (GridId g = 1; g < m->grids.len; g++)
        for (uint32_t a = 0; a < m->grids.data[g].rank && !m->grids.data[g].finer; a++)
            known = known && m->grids.data[g].extent[a] >= 0;
    b->out->unit = known ? "" : " per cell";
    for (GridId g = 1; g < m->grids.len; g++) {
        const Grid *grid = &m->grids.data[g];
        const Grid *root = grid;
        while (root->finer) root = &m->grids.data[root->finer], b->level[g]++;
        b->cells[g] = grid->row && !known ? 0 : 1;
        for (uint32_t a = 0; a < grid->rank && !grid->row; a++)
            b->cells[g] *=
                known ? ceil(ldexp((double)root->extent[a], -b->level[g])) : ldexp(1, -b->level[g]);
        if (grid->row && known) b->cells[g] = (double)grid->extent[0];
    }
}

Explained *explain_func(const Module *module, FuncId func, const ExplainOptions *options,
                        Arena *arena) {
    Explained *e = ARENA_NEW(arena, Explained);
    *e = (Explained){.module = module, .arena = arena};
    const Func *f = graph_get(module, func);
    bool main = func == module->main;
    Builder b = {.module = module, .arena = arena, .options = options, .out = e};
    b.tensor_count = main ? module->inputs.len : f->params.len;
    b.words = (b.tensor_count + 63) / 64;
    if (b.words == 0) b.words = 1;
    b.tensors = ARENA_ARRAY(arena, Tensor, b.tensor_count + 1);
    b.tables = ARENA_ARRAY(arena, ReachTable *, module->loops.len + 1);
    b.counts = ARENA_ARRAY(arena, Amount, module->loops.len + 1);
    measure_grids(&b);
    uint8_t *params = ARENA_ARRAY(arena, uint8_t, f->params.len + 1);
    uint64_t *tensors = ARENA_ARRAY(arena, uint64_t, (size_t)f->params.len * b.words + 1);
    const char **names = ARENA_ARRAY(arena, const char *, f->params.len + 1);
    for (uint32_t i = 0; i < b.tensor_count && main; i++)
        b.tensors[i] =
            (Tensor){options->inputs[i].name, options->inputs[i].count,
                     module->inputs.data[i].type.kind == TYPE_STACK, options->inputs[i].data};
    for (uint32_t i = 0; i < f->params.len && !main; i++) {
        params[i] = options->param_data[i];
        names[i] = options->param_names[i];
        b.tensors[i] =
            (Tensor){names[i], options->param_counts[i],
                     graph_node(f, f->params.data[i])->type.kind == TYPE_STACK, params[i]};
        if (!params[i]) tensors[(size_t)i * b.words + i / 64] |= 1ull << (i % 64);
    }
    Part *p = read_part(&b, func, params, tensors, names, NULL);
    e->part = p;
    for (uint32_t i = 0; i < b.tensor_count; i++)
        if (b.tensors[i].counted && !(main ? options->inputs[i].data : params[i]))
            e->parameters += b.tensors[i].count;
    e->levels = p->bottom - p->top + 1;
    return e;
}
