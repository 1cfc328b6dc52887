/* Patterns: states and their past, residuals, a stencil and its transpose, what goes past coarser grids. */
#include "compiler/explain/build.h"

#include <string.h>

/* ---- a layer and its transpose -------------------------------------------------------------- */

static bool is_transpose(const Reading *r, Node a, Node b) {
    const NodeData *x = graph_node(r->f, a), *y = graph_node(r->f, b);
    if (x->op == OP_STENCIL && y->op == OP_STENCIL)
        return stencil_partners(&r->b->module->stencils.data[x->index],
                                &r->b->module->stencils.data[y->index]);
    return x->op == OP_CONVT && y->op == OP_CONV && x->index == y->index &&
           graph_operand(r->f, a, 1) == graph_operand(r->f, b, 1);
}

static bool is_transposed(const Reading *r, Node n) {
    const NodeData *d = graph_node(r->f, n);
    return d->op == OP_CONVT ||
           (d->op == OP_STENCIL && r->b->module->stencils.data[d->index].transposed);
}

/* Does a layer read another, through pointwise layers alone? */
static bool reads_through(const Part *p, uint32_t from, uint32_t to, uint32_t depth) {
    const Layer *l = &p->layers.data[to];
    for (uint32_t i = 0; i < l->from_count && depth < 8; i++) {
        if (l->from[i] == from) return true;
        if (p->layers.data[l->from[i]].kind == LAYER_POINTWISE &&
            reads_through(p, from, l->from[i], depth + 1))
            return true;
    }
    return false;
}

/* A transposed layer that reads what it is the transpose of, or failing that, one of the part. */
void find_partners(Reading *r) {
    Part *p = r->part;
    for (uint32_t t = 0; t < p->layers.len; t++) {
        Layer *l = &p->layers.data[t];
        l->partner = NO_LAYER;
        if ((l->kind != LAYER_STENCIL && l->kind != LAYER_CONV) || !is_transposed(r, l->node))
            continue;
        for (uint32_t s = 0; s < t; s++) {
            if (p->layers.data[s].number == 0 || !is_transpose(r, l->node, p->layers.data[s].node))
                continue;
            if (l->partner == NO_LAYER || reads_through(p, s, t, 0)) l->partner = s;
        }
        l->adjoint = l->partner != NO_LAYER;
    }
}

/* ---- states ----------------------------------------------------------------------------------------- */

typedef VEC(Node) Terms;

/* The terms of a sum, through multiples. */
static void terms_of(Reading *r, Node n, Terms *out, uint32_t depth) {
    const NodeData *d = graph_node(r->f, n);
    bool sum = d->op == OP_ADD || d->op == OP_SUB || d->op == OP_NEG, inner = d->op == OP_MUL;
    bool scaled = inner || d->op == OP_DIV;
    if (depth < 32 && sum) {
        for (uint32_t k = 0; k < d->count; k++)
            terms_of(r, graph_operand(r->f, n, k), out, depth + 1);
        return;
    }
    if (depth < 32 && scaled) {
        Node a = graph_operand(r->f, n, 0), b = graph_operand(r->f, n, 1);
        bool number = graph_node(r->f, b)->type.kind == TYPE_SCALAR;
        if (!number && inner && graph_node(r->f, a)->type.kind == TYPE_SCALAR) {
            a = b;
            number = true;
        }
        if (number) {
            terms_of(r, a, out, depth + 1);
            return;
        }
    }
    if (is_alias(d->op) && graph_node(r->f, graph_operand(r->f, n, 0))->op != OP_LOOP)
        n = graph_operand(r->f, n, 0);
    vec_push(out, n);
}

/* Is the next state the last one, or a multiple, and something more? And is that −Kᵀ Φ(K u)? */
static void find_residual(Reading *r, History *h, Node next) {
    Part *p = r->part;
    Terms terms = {0};
    terms_of(r, next, &terms, 0);
    bool last = false, others = false;
    for (uint32_t i = 0; i < terms.len; i++) {
        uint32_t layer = r->layer[terms.data[i]];
        if (layer == NO_LAYER) continue;
        bool is_state = false;
        for (uint32_t k = 0; k < h->length; k++) is_state = is_state || layer == h->starts[k];
        last = last || layer == h->first;
        others = others || !is_state;
        const Layer *l = &p->layers.data[layer];
        if (!l->adjoint || !reads_through(p, l->partner, layer, 0)) continue;
        const Layer *inner = &p->layers.data[l->partner];
        if (inner->from_count == 1 && inner->from[0] == h->first) {
            h->symmetric = true;
            h->outer = layer;
            h->inner = l->partner;
            h->linear = l->from_count == 1 && l->from[0] == l->partner;
        }
    }
    h->residual = last && others;
    h->symmetric = h->symmetric && h->residual;
    vec_free(&terms);
}

/* The state that becomes this one in the next step unchanged: this is its past. */
static uint32_t younger(const Func *body, const Loop *l, uint32_t state) {
    for (uint32_t i = 0; i < l->states; i++)
        if (i != state && body->results.data[state] == body->params.data[1 + i]) return i;
    return NO_LAYER;
}

static const char *state_name(Reading *r, Node param) {
    Span s = graph_node(r->f, param)->span;
    size_t length;
    if (s.file == 0 || s.end <= s.begin) return "u";
    const char *bytes = sources_bytes(r->b->options->sources, s.file, &length);
    return s.end <= length ? arena_text(r->b->arena, bytes + s.begin, s.end - s.begin) : "u";
}

/* Roots of the same name are the parts of a list. */
static const char *root_name(Reading *r, const Loop *l, uint32_t state) {
    const char *name = state_name(r, r->f->params.data[1 + state]);
    uint32_t before = 0, all = 0;
    for (uint32_t i = 0; i < l->states; i++) {
        if (younger(r->f, l, i) != NO_LAYER) continue;
        if (strcmp(state_name(r, r->f->params.data[1 + i]), name) != 0) continue;
        all++;
        before += i < state;
    }
    return all > 1 ? arena_format(r->b->arena, "%s.%u", name, before) : name;
}

/* Names of the states, before the layers are made: u[k], u[k-1]. */
static void name_history(Reading *r, const Loop *l, uint32_t root) {
    const char *name = root_name(r, l, root), *k = r->index;
    uint32_t age = 0;
    for (uint32_t s = root, guard = 0; s != NO_LAYER && guard <= l->states; guard++) {
        r->names[1 + s] = age ? arena_format(r->b->arena, "%s[%s-%u]", name, k, age)
                              : arena_format(r->b->arena, "%s[%s]", name, k);
        age++;
        uint32_t older = NO_LAYER;
        for (uint32_t i = 0; i < l->states; i++)
            if (i != root && younger(r->f, l, i) == s) older = i;
        s = older;
    }
}

void name_states(Reading *r, const Loop *l) {
    for (uint32_t i = 0; i < l->states; i++)
        if (younger(r->f, l, i) == NO_LAYER) name_history(r, l, i);
}

static uint32_t start_of(const Reading *r, uint32_t state) {
    for (uint32_t i = 0; i < r->part->layers.len; i++)
        if (r->part->layers.data[i].state == (int64_t)state) return i;
    return NO_LAYER;
}

void find_histories(Reading *r, const Loop *l) {
    Part *p = r->part;
    for (uint32_t root = 0; root < l->states; root++) {
        if (younger(r->f, l, root) != NO_LAYER) continue;
        History h = {.name = root_name(r, l, root),
                     .next = r->layer[r->f->results.data[root]],
                     .starts = ARENA_ARRAY(r->b->arena, uint32_t, l->states + 1)};
        h.field = graph_node(r->f, r->f->params.data[1 + root])->type.kind == TYPE_FIELD;
        for (uint32_t s = root, guard = 0; s != NO_LAYER && guard < l->states; guard++) {
            uint32_t start = start_of(r, s), older = NO_LAYER;
            if (start != NO_LAYER) h.starts[h.length++] = start;
            for (uint32_t i = 0; i < l->states; i++)
                if (i != root && younger(r->f, l, i) == s) older = i;
            s = older;
        }
        if (h.length == 0) continue;
        h.first = h.starts[0];
        if (h.field) find_residual(r, &h, r->f->results.data[root]);
        vec_push(&p->histories, h);
    }
}

/* ---- past coarser grids -------------------------------------------------------------------------------- */

static bool depends_on(const Part *p, uint32_t layer, uint32_t on) {
    if (layer < on) return false;
    uint8_t *needed = mem_alloc(layer + 1);
    memset(needed, 0, layer + 1);
    needed[layer] = 1;
    for (uint32_t i = layer; i > on; i--)
        for (uint32_t k = 0; needed[i] && k < p->layers.data[i].from_count; k++)
            if (p->layers.data[i].from[k] < i) needed[p->layers.data[i].from[k]] = 1;
    bool depends = needed[on];
    mem_free(needed);
    return depends;
}

/* Is it made of what a coarser grid gave alone, maybe through layers of its own grid? */
static bool comes_up(const Part *p, uint32_t layer, uint32_t depth) {
    const Layer *l = &p->layers.data[layer];
    if (l->level < 0 || !l->from_count || depth == 8) return false;
    for (uint32_t i = 0; i < l->from_count; i++) {
        const Layer *from = &p->layers.data[l->from[i]];
        if (from->level < l->level ||
            (from->level == l->level && !comes_up(p, l->from[i], depth + 1)))
            return false;
    }
    return true;
}

/* A layer that reads what came up from a coarser grid, and something of its own grid from which that was made. */
void find_bridges(Reading *r) {
    Part *p = r->part;
    for (uint32_t to = 0; to < p->layers.len; to++) {
        const Layer *l = &p->layers.data[to];
        for (uint32_t i = 0; i < l->from_count; i++) {
            const Layer *up = &p->layers.data[l->from[i]];
            if (up->level != l->level || !comes_up(p, l->from[i], 0)) continue;
            for (uint32_t k = 0; k < l->from_count; k++) {
                const Layer *past = &p->layers.data[l->from[k]];
                if (k == i || past->level != l->level || !depends_on(p, l->from[i], l->from[k]))
                    continue;
                Bridge bridge = {l->from[k], to};
                vec_push(&p->bridges, bridge);
            }
        }
    }
}
