/* Building functions: hash-consed nodes, types and their text, copies. */
#include "compiler/graph/internal.h"
#include "compiler/ops/ops.h"
#include "compiler/ops/rules.h"

#include <string.h>

/* ---- types ------------------------------------------------------------------- */

Type type_scalar(void) { return (Type){TYPE_SCALAR, 1, GRID_NONE}; }

Type type_field(GridId grid, uint32_t channels) { return (Type){TYPE_FIELD, channels, grid}; }

bool type_equal(Type a, Type b) {
    return a.kind == b.kind && a.channels == b.channels && a.grid == b.grid;
}

static void put_grid(const Module *module, GridId id, Text *out) {
    const Grid *grid = &module->grids.data[id];
    bool uniform = true;
    if (grid->row) {
        text_printf(out, "a row of %lld numbers", (long long)grid->extent[0]);
        return;
    }
    for (uint32_t axis = 0; axis < grid->rank; axis++) {
        text_puts(out, axis ? "×" : "");
        if (grid->extent[axis] < 0)
            text_puts(out, "?");
        else
            text_printf(out, "%lld", (long long)grid->extent[axis]);
        uniform = uniform && grid->spacing[axis] == grid->spacing[0];
    }
    text_printf(out, ", spacing %.6g", grid->spacing[0]);
    for (uint32_t axis = 1; axis < grid->rank && !uniform; axis++)
        text_printf(out, "×%.6g", grid->spacing[axis]);
    bool moved = false;
    for (uint32_t axis = 0; axis < grid->rank; axis++) moved = moved || grid->origin[axis] != 0;
    for (uint32_t axis = 0; axis < grid->rank && moved; axis++)
        text_printf(out, "%s%.6g", axis ? "×" : ", from ", grid->origin[axis]);
}

char *type_text(const Module *module, Type type, Arena *arena) {
    Text text = {0};
    switch (type.kind) {
    case TYPE_SCALAR: text_puts(&text, "a number"); break;
    case TYPE_TUPLE: text_puts(&text, "several values"); break;
    case TYPE_STACK:
        text_puts(&text, "a trajectory of ");
        if (type.grid == GRID_NONE) text_puts(&text, "numbers");
        break;
    case TYPE_FIELD: break;
    }
    if (type.grid != GRID_NONE) {
        put_grid(module, type.grid, &text);
        if (type.channels != 1) text_printf(&text, ", %u channels", type.channels);
    }
    char *copy = arena_text(arena, text.data, text.len);
    text_free(&text);
    return copy;
}

/* ---- nodes ------------------------------------------------------------------- */

bool graph_type_is_given(Op op) { return op_info(op)->shape == shape_given; }

static uint64_t node_hash(const NodeData *d, const Node *operands) {
    uint64_t bits, h;
    memcpy(&bits, &d->number, sizeof bits);
    h = hash_mix((uint64_t)d->op << 32 | d->index, (uint64_t)d->detail << 32 | d->count);
    h = hash_mix(h, bits);
    h = hash_mix(h, (uint64_t)d->type.kind << 60 ^ (uint64_t)d->type.channels << 32 ^ d->type.grid);
    return hash_bytes(h, operands, sizeof *operands * d->count);
}

static bool node_same(const Func *f, Node n, const NodeData *d, const Node *operands) {
    const NodeData *o = graph_node(f, n);
    return o->op == d->op && o->index == d->index && o->detail == d->detail &&
           o->count == d->count && type_equal(o->type, d->type) &&
           memcmp(&o->number, &d->number, sizeof o->number) == 0 &&
           (d->count == 0 ||
            memcmp(f->operands.data + o->first, operands, sizeof *operands * d->count) == 0);
}

Node graph_append(Module *module, FuncId func, const NodeData *data, const Node *operands) {
    Func *f = graph_get(module, func);
    NodeData copy = *data;
    copy.first = f->operands.len;
    for (uint32_t i = 0; i < copy.count; i++) vec_push(&f->operands, operands[i]);
    vec_push(&f->nodes, copy);
    Node n = f->nodes.len - 1;
    uint64_t key = node_hash(&copy, operands);
    uint32_t other;
    while (map_get(&f->shared, key, &other)) {
        if (node_same(f, other, &copy, operands))
            return n; /* only the reader can meet a repeated node; the first one is shared */
        key++;
    }
    map_set(&f->shared, key, n);
    return n;
}

/* The node equal to `d`, made if there is none. */
static Node node_intern(Module *module, FuncId func, const NodeData *d, const Node *operands) {
    Func *f = graph_get(module, func);
    uint64_t key = node_hash(d, operands);
    uint32_t other;
    while (map_get(&f->shared, key, &other)) {
        if (node_same(f, other, d, operands)) return other;
        key++;
    }
    return graph_append(module, func, d, operands);
}

enum { FEW_OPERANDS = 16 };

static Node add_node(Module *module, FuncId func, Op op, const Type *given, const Node *operands,
                     uint32_t count, uint32_t index, uint32_t detail, Span span) {
    const OpInfo *info = op_info(op);
    Node few[FEW_OPERANDS];
    Node *own = few; /* a copy: rules add nodes, and `operands` may point into the function */
    if (count > FEW_OPERANDS)
        own = arena_copy(module->arena, operands, sizeof *own * count);
    else if (count)
        memcpy(few, operands, sizeof *own * count);

    NodeData d = {.op = op, .count = count, .index = index, .detail = detail, .span = span};
    const char *why = "operands do not fit";
    if (given) d.type = *given;
    if (!op_shape(module, func, op, own, count, index, detail, &d.type, &why))
        graph_fault(module, arena_format(module->arena, "%s: %s", info->name, why));
    if (info->class == CLASS_POINTWISE) {
        Node simple = pointwise_canonical(module, func, op, own, count, d.type, span);
        if (simple != NODE_NONE) return simple;
    }
    Node simple = info->fold(module, func, op, own, count, index, detail, span);
    if (simple != NODE_NONE) return simple;
    return node_intern(module, func, &d, own);
}

Node graph_add(Module *module, FuncId func, Op op, const Node *operands, uint32_t count,
               uint32_t index, uint32_t detail, Span span) {
    if (graph_type_is_given(op))
        graph_fault(module, arena_format(module->arena, "%s needs its type", op_info(op)->name));
    return add_node(module, func, op, NULL, operands, count, index, detail, span);
}

Node graph_add_typed(Module *module, FuncId func, Op op, Type type, const Node *operands,
                     uint32_t count, uint32_t index, uint32_t detail, Span span) {
    return add_node(module, func, op, &type, operands, count, index, detail, span);
}

Node graph_const(Module *module, FuncId func, double number) {
    NodeData d = {.op = OP_CONST, .type = type_scalar(), .number = number};
    return node_intern(module, func, &d, NULL);
}

Node graph_param(Module *module, FuncId func, Type type, Name name) {
    (void)name; /* parameters are known by position; the name is for the caller's reading */
    Func *f = graph_get(module, func);
    NodeData d = {.op = OP_PARAM, .type = type, .index = f->params.len};
    Node n = graph_append(module, func, &d, NULL);
    vec_push(&f->params, n);
    return n;
}

Node graph_param_like(Module *module, FuncId func, const Func *other, uint32_t i) {
    NodeData like = *graph_node(other, other->params.data[i]);
    Node n = graph_param(module, func, like.type, 0);
    graph_node(graph_get(module, func), n)->span = like.span;
    return n;
}

Node graph_unary(Module *module, FuncId func, Op op, Node a, Span span) {
    return graph_add(module, func, op, &a, 1, 0, 0, span);
}

Node graph_binary(Module *module, FuncId func, Op op, Node a, Node b, Span span) {
    return graph_add(module, func, op, (Node[]){a, b}, 2, 0, 0, span);
}

Node graph_result(Module *module, FuncId func, Node tuple, uint32_t index) {
    Span span = graph_node(graph_get(module, func), tuple)->span;
    return graph_add(module, func, OP_RESULT, &tuple, 1, index, 0, span);
}

bool graph_is_const(const Func *f, Node n, double *number) {
    const NodeData *d = graph_node(f, n);
    if (d->op != OP_CONST) return false;
    if (number) *number = d->number;
    return true;
}

/* ---- copies ------------------------------------------------------------------- */

/* Marks what `node` needs, stopping at nodes that are known. */
static void mark_needed(const Func *f, Node node, const Map *known, uint8_t *needed) {
    needed[node] = 1;
    for (Node n = node; n > 0; n--) {
        uint32_t ignored;
        if (!needed[n]) continue;
        if (map_get(known, n, &ignored)) {
            needed[n] = 0;
            continue;
        }
        for (uint32_t i = 0; i < graph_node(f, n)->count; i++) needed[graph_operand(f, n, i)] = 1;
    }
}

Node graph_copy(Module *module, FuncId from, Node node, FuncId to, Map *known) {
    uint32_t found;
    if (map_get(known, node, &found)) return found;
    Func *f = graph_get(module, from);
    uint8_t *needed = mem_alloc(node + 1);
    memset(needed, 0, node + 1);
    mark_needed(f, node, known, needed);
    VEC(Node) operands = {0};
    Node made = NODE_NONE;
    for (Node n = 1; n <= node; n++) {
        if (!needed[n]) continue;
        NodeData d = *graph_node(f, n);
        if (d.op == OP_PARAM) {
            if (from != to) graph_fault(module, "a parameter is not known where a node is copied");
            made = n; /* substitution within a function leaves its parameters as they are */
            map_set(known, n, made);
            continue;
        }
        operands.len = 0;
        for (uint32_t i = 0; i < d.count; i++) {
            if (!map_get(known, graph_operand(f, n, i), &found))
                graph_fault(module, "an operand stands after its use");
            vec_push(&operands, found);
        }
        if (d.op == OP_CONST)
            made = graph_const(module, to, d.number);
        else
            made = add_node(module, to, d.op, graph_type_is_given(d.op) ? &d.type : NULL,
                            operands.data, d.count, d.index, d.detail, d.span);
        map_set(known, n, made);
    }
    vec_free(&operands);
    mem_free(needed);
    return made;
}
