/* Kernels that do the same to many channels: the code of one channel, and how far apart the others are.
 *
 * What a kernel writes falls apart into components that share no value. Neighbouring components of equal expressions
 * whose channels are equally far apart, argument by argument, are one part: its code moves its pointers on. The
 * code of a network of 128 channels would be a hundred times as long otherwise, and read 128 arrays at once. */
#include "compiler/llvm/emit_kernel.h"

#include <string.h>

enum { LEAST_COPIES = 8 }; /* fewer stand beside each other in one loop over cells */

/* An output or a reduction, after another in the order of the kernel. */
typedef struct {
    uint32_t component; /* another root of it, or itself */
} Root;

/* The channel that a component reads or writes, or the number of its reduction. */
typedef struct {
    enum { OF_FIELD, OF_ROW, OF_OUTPUT, OF_REDUCTION } kind;
    uint32_t argument;
    int64_t channel;
} Place;

typedef struct {
    Text shape; /* everything but the places */
    VEC(Place) places;
    VEC(uint32_t) roots;
    Map numbers; /* node -> its number in the text + 1 */
} Component;

typedef VEC(Component) Components;

static uint32_t root_count(const Kernel *k) { return k->outputs.len + k->reductions.len; }

static const KNode *nodes_of(const Kernel *k, uint32_t root, uint32_t *count) {
    const KReduction *r =
        &k->reductions.data[root - (root < k->outputs.len ? root : k->outputs.len)];
    *count = root < k->outputs.len ? 1 : r->count;
    return root < k->outputs.len ? &k->outputs.data[root].node : r->nodes;
}

/* ---- components ------------------------------------------------------------------------------- */

/* Costs nothing to have again in every copy. */
static bool is_free(const KNodeData *n) {
    return n->kind == K_NUMBER || n->kind == K_SCALAR || n->kind == K_ENTRY || n->kind == K_COORD ||
           n->kind == K_EDGE;
}

static uint32_t find(Root *roots, uint32_t i) {
    while (roots[i].component != i) i = roots[i].component = roots[roots[i].component].component;
    return i;
}

/* Operands, then values of sides. */
static uint32_t children(const KNodeData *n, KNode *out) {
    uint32_t count = kernel_operands(n);
    memcpy(out, n->operand, sizeof *out * count);
    if (n->kind == K_SHIFT)
        for (uint32_t a = 0; a < MAX_RANK; a++)
            for (int s = 0; s < 2; s++)
                if (n->value[a][s]) out[count++] = n->value[a][s];
    return count;
}

static void claim(const Kernel *k, Root *roots, uint32_t *owner, uint32_t root, KNode id) {
    const KNodeData *n = &k->nodes.data[id];
    if (is_free(n)) return;
    if (owner[id] != NONE) {
        uint32_t a = find(roots, owner[id]), b = find(roots, root);
        roots[a < b ? b : a].component = a < b ? a : b;
        return;
    }
    owner[id] = root;
    KNode below[3 + 2 * MAX_RANK];
    uint32_t count = children(n, below);
    for (uint32_t i = 0; i < count; i++) claim(k, roots, owner, root, below[i]);
}

static uint32_t describe(const Kernel *k, Component *c, KNode id) {
    uint32_t number;
    if (map_get(&c->numbers, id, &number)) return number;
    const KNodeData *n = &k->nodes.data[id];
    KNode below[3 + 2 * MAX_RANK];
    uint32_t count = children(n, below), at[3 + 2 * MAX_RANK];
    for (uint32_t i = 0; i < count; i++) at[i] = describe(k, c, below[i]);
    text_printf(&c->shape, "%d %d %u %a", n->kind, n->op, n->index, n->number);
    if (n->kind == K_LOAD || n->kind == K_ENTRY || kernel_resamples(n->kind))
        vec_push(&c->places,
                 ((Place){n->kind == K_ENTRY ? OF_ROW : OF_FIELD, n->index, n->detail}));
    else
        text_printf(&c->shape, " %u", n->detail);
    for (uint32_t i = 0; i < count; i++) text_printf(&c->shape, " %%%u", at[i]);
    for (uint32_t a = 0; a < MAX_RANK && kernel_shares(n->kind); a++)
        text_printf(&c->shape, " %d", n->offset[a]);
    for (uint32_t a = 0; a < MAX_RANK && (n->kind == K_SHIFT || n->kind == K_UNSHIFT); a++)
        text_printf(&c->shape, " %d %d:%d %d:%d", n->offset[a], n->sides[a][0], n->value[a][0] != 0,
                    n->sides[a][1], n->value[a][1] != 0);
    text_puts(&c->shape, "\n");
    number = c->numbers.len;
    map_set(&c->numbers, id, number);
    return number;
}

static void describe_root(const Kernel *k, Component *c, uint32_t root) {
    uint32_t count;
    const KNode *nodes = nodes_of(k, root, &count);
    for (uint32_t i = 0; i < count; i++)
        text_printf(&c->shape, "= %%%u\n", describe(k, c, nodes[i]));
    if (root < k->outputs.len) {
        const KOutput *o = &k->outputs.data[root];
        text_printf(&c->shape, "store %u\n", o->field);
        vec_push(&c->places, ((Place){OF_OUTPUT, o->field, o->channel}));
    } else {
        text_printf(&c->shape, "reduce %d\n", k->reductions.data[root - k->outputs.len].op);
        vec_push(&c->places, ((Place){OF_REDUCTION, 0, root - k->outputs.len}));
    }
    vec_push(&c->roots, root);
}

static void find_components(const Kernel *k, Arena *arena, Components *out) {
    uint32_t count = root_count(k);
    Root *roots = ARENA_ARRAY(arena, Root, count + 1);
    uint32_t *owner = ARENA_ARRAY(arena, uint32_t, k->nodes.len + 1);
    uint32_t *number = ARENA_ARRAY(arena, uint32_t, count + 1);
    for (uint32_t i = 0; i < k->nodes.len; i++) owner[i] = NONE;
    for (uint32_t r = 0; r < count; r++) {
        uint32_t nodes;
        const KNode *list = nodes_of(k, r, &nodes);
        roots[r].component = r;
        for (uint32_t i = 0; i < nodes; i++) claim(k, roots, owner, r, list[i]);
    }
    for (uint32_t r = 0; r < count; r++) {
        uint32_t first = find(roots, r);
        if (first == r) {
            number[r] = out->len;
            vec_push(out, ((Component){.places = {0}}));
        }
        describe_root(k, &out->data[number[first]], r);
    }
}

/* ---- parts --------------------------------------------------------------------------------------- */

static bool set_step(KernelPart *p, const Place *place, int64_t step, uint32_t *seen,
                     uint32_t reductions) {
    int64_t *to = place->kind == OF_OUTPUT      ? &p->output_step[place->argument]
                  : place->kind == OF_REDUCTION ? &p->reduction_step
                                                : &p->field_step[place->argument];
    uint32_t at = place->kind == OF_OUTPUT      ? reductions + 1 + place->argument
                  : place->kind == OF_REDUCTION ? reductions
                                                : place->argument;
    uint32_t how =
        place->kind == OF_ROW ? 2 : 1; /* steps of rows are of numbers, not of channels */
    if (seen[at] && (*to != step || seen[at] != how)) return false;
    seen[at] = how;
    *to = step;
    if (place->kind == OF_ROW) p->row[place->argument] = true;
    return true;
}

/* The steps from one component to an equal one. */
static bool find_steps(const Kernel *k, KernelPart *p, const Component *from, const Component *to,
                       Arena *arena) {
    uint32_t *seen = ARENA_ARRAY(arena, uint32_t, k->fields.len + 1 + k->written.len + 1);
    memset(seen, 0, sizeof *seen * (k->fields.len + 1 + k->written.len + 1));
    for (uint32_t i = 0; i < from->places.len; i++) {
        const Place *a = &from->places.data[i], *b = &to->places.data[i];
        if (!set_step(p, a, b->channel - a->channel, seen, k->fields.len)) return false;
    }
    return true;
}

static bool same_steps(const KernelPart *p, const Component *from, const Component *to) {
    for (uint32_t i = 0; i < from->places.len; i++) {
        const Place *a = &from->places.data[i];
        int64_t step = a->kind == OF_OUTPUT      ? p->output_step[a->argument]
                       : a->kind == OF_REDUCTION ? p->reduction_step
                                                 : p->field_step[a->argument];
        if (to->places.data[i].channel - a->channel != step) return false;
    }
    return true;
}

static bool same_shape(const Component *a, const Component *b) {
    return a->shape.len == b->shape.len && a->places.len == b->places.len &&
           memcmp(a->shape.data, b->shape.data, a->shape.len) == 0;
}

static KernelPart *part_new(const Kernel *k, Arena *arena) {
    KernelPart *p = ARENA_NEW(arena, KernelPart);
    *p = (KernelPart){.count = 1,
                      .field_step = ARENA_ARRAY(arena, int64_t, k->fields.len + 1),
                      .row = ARENA_ARRAY(arena, bool, k->fields.len + 1),
                      .output_step = ARENA_ARRAY(arena, int64_t, k->written.len + 1),
                      .reduction = ARENA_ARRAY(arena, uint32_t, k->reductions.len + 1)};
    memset(p->field_step, 0, sizeof *p->field_step * (k->fields.len + 1));
    memset(p->row, 0, sizeof *p->row * (k->fields.len + 1));
    memset(p->output_step, 0, sizeof *p->output_step * (k->written.len + 1));
    return p;
}

static void part_add(const Kernel *k, KernelPart *p, const Component *c) {
    for (uint32_t i = 0; i < c->roots.len; i++) {
        uint32_t r = c->roots.data[i];
        if (r < k->outputs.len) {
            vec_push(&p->outputs, k->outputs.data[r]);
        } else {
            p->reduction[p->reductions.len] = r - k->outputs.len;
            vec_push(&p->reductions, k->reductions.data[r - k->outputs.len]);
        }
    }
}

KernelParts kernel_parts(const Kernel *k, Arena *arena) {
    Components all = {0};
    KernelParts parts = {0};
    KernelPart *rest = part_new(k, arena);
    if (root_count(k) >= LEAST_COPIES) find_components(k, arena, &all);
    for (uint32_t i = 0, next; i < all.len; i = next) {
        KernelPart *p = part_new(k, arena);
        const Component *c = all.data;
        next = i + 1;
        if (next < all.len && same_shape(&c[i], &c[next]) &&
            find_steps(k, p, &c[i], &c[next], arena))
            while (next < all.len && same_shape(&c[next - 1], &c[next]) &&
                   same_steps(p, &c[next - 1], &c[next]))
                next++;
        if (next - i < LEAST_COPIES) {
            for (uint32_t j = i; j < next; j++) part_add(k, rest, &c[j]);
            continue;
        }
        p->count = next - i;
        part_add(k, p, &c[i]);
        vec_push(&parts, p);
    }
    if (!all.len) {
        Component whole = {.places = {0}};
        for (uint32_t r = 0; r < root_count(k); r++) vec_push(&whole.roots, r);
        part_add(k, rest, &whole);
        vec_free(&whole.roots);
    }
    if (rest->outputs.len || rest->reductions.len) vec_push(&parts, rest);
    for (uint32_t i = 0; i < all.len; i++) {
        text_free(&all.data[i].shape);
        vec_free(&all.data[i].places);
        vec_free(&all.data[i].roots);
        map_free(&all.data[i].numbers);
    }
    vec_free(&all);
    return parts;
}

void kernel_parts_free(KernelParts *parts) {
    for (uint32_t i = 0; i < parts->len; i++) {
        vec_free(&parts->data[i]->outputs);
        vec_free(&parts->data[i]->reductions);
    }
    vec_free(parts);
}
