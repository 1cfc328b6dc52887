/* What the drawings share: boxes and the links between them. */
#include "compiler/explain/build.h"

/* The layer before, where this is the activation of a convolution, which nothing else reads. */
uint32_t drawn_host(const Part *p, uint32_t layer) {
    const Layer *l = &p->layers.data[layer];
    if (l->kind != LAYER_POINTWISE || l->from_count != 1) return NO_LAYER;
    uint32_t host = l->from[0];
    if (p->layers.data[host].kind != LAYER_CONV || p->layers.data[host].level != l->level)
        return NO_LAYER;
    for (uint32_t i = 0; i < p->layers.len; i++)
        for (uint32_t k = 0; k < p->layers.data[i].from_count && i != layer; k++)
            if (p->layers.data[i].from[k] == host) return NO_LAYER;
    for (uint32_t i = 0; i < p->result_count; i++)
        if (p->results[i] == host) return NO_LAYER;
    return host;
}

uint32_t drawn_guest(const Part *p, uint32_t layer) {
    for (uint32_t i = 0; i < p->layers.len; i++)
        if (drawn_host(p, i) == layer) return i;
    return NO_LAYER;
}

bool is_drawn(const Part *p, const Layer *l) {
    if (drawn_host(p, (uint32_t)(l - p->layers.data)) != NO_LAYER) return false;
    if (l->kind == LAYER_START)
        return l->used && (!p->around || l->state >= 0 || l->given == NO_LAYER);
    return !l->body || layer_is_folded(p, l);
}

const char *link_colour(LinkKind kind) {
    static const char *const colours[] = {"#555555", "#1f6fb2", "#c0392b",
                                          "#2e8b57", "#999999", "#999999"};
    return colours[kind];
}

const char *level_colour(int32_t level) {
    static const char *const colours[] = {"#e8f1fa", "#d3e6d3", "#fbe7c6", "#f5d5d5", "#e3d7ef"};
    return level < 0 ? "#f2f2f2" : colours[level % 5];
}

/* What stands for a layer that something reads: of a loop what its body makes last, of what a loop captured
 * the layer outside. */
static Drawn drawn_source(const Part *p, uint32_t layer, uint32_t depth) {
    if (layer == NO_LAYER || depth == 64) return (Drawn){NULL, 0};
    const Layer *l = &p->layers.data[layer];
    if (is_drawn(p, l)) return (Drawn){p, layer};
    if (drawn_host(p, layer) != NO_LAYER) return (Drawn){p, drawn_host(p, layer)};
    if (l->kind == LAYER_START)
        return p->around ? drawn_source(p->around, l->given, depth + 1) : (Drawn){NULL, 0};
    for (uint32_t i = 0; l->body && i < l->body->result_count; i++) {
        Drawn d = drawn_source(l->body, l->body->results[i], depth + 1);
        if (d.part) return d;
    }
    return (Drawn){NULL, 0};
}

static void add_link(Links *out, Drawn from, Drawn to, LinkKind kind) {
    if (!from.part || !to.part) return;
    for (uint32_t i = 0; i < out->len; i++) {
        Link *l = &out->data[i];
        if (l->from.part != from.part || l->from.layer != from.layer || l->to.part != to.part ||
            l->to.layer != to.layer)
            continue;
        if (l->kind == LINK_PLAIN) l->kind = kind;
        return;
    }
    Link made = {from, to, kind};
    vec_push(out, made);
}

static LinkKind kind_of_link(const Part *p, uint32_t from, uint32_t to) {
    for (uint32_t i = 0; i < p->histories.len; i++) {
        const History *h = &p->histories.data[i];
        for (uint32_t k = 1; k < h->length; k++)
            if (h->starts[k] == from) return LINK_SKIP;
        if (h->first == from && h->next == to && h->residual) return LINK_RESIDUAL;
    }
    for (uint32_t i = 0; i < p->bridges.len; i++)
        if (p->bridges.data[i].from == from && p->bridges.data[i].to == to) return LINK_BRIDGE;
    return LINK_PLAIN;
}

static void links_of(const Part *p, Links *out) {
    for (uint32_t to = 0; to < p->layers.len; to++) {
        const Layer *l = &p->layers.data[to];
        if (l->body && !layer_is_folded(p, l)) {
            links_of(l->body, out);
            for (uint32_t s = 0; s < l->body->layers.len; s++)
                if (l->body->layers.data[s].state >= 0 && l->body->layers.data[s].used)
                    add_link(out, drawn_source(p, l->body->layers.data[s].given, 0),
                             (Drawn){l->body, s}, LINK_PLAIN);
            continue;
        }
        for (uint32_t i = 0; i < l->from_count && is_drawn(p, l); i++)
            add_link(out, drawn_source(p, l->from[i], 0), (Drawn){p, to},
                     kind_of_link(p, l->from[i], to));
    }
    for (uint32_t i = 0; i < p->histories.len; i++) {
        const History *h = &p->histories.data[i];
        for (uint32_t k = 0; k + 1 < h->length; k++)
            add_link(out, drawn_source(p, h->starts[k], 0), drawn_source(p, h->starts[k + 1], 0),
                     LINK_PAST);
        if (p->layers.data[h->first].used && h->next != NO_LAYER)
            add_link(out, drawn_source(p, h->next, 0), (Drawn){p, h->first}, LINK_NEXT);
    }
}

void draw_links(const Explained *e, Links *out) { links_of(e->part, out); }
