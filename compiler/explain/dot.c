/* The network for Graphviz. Layers of one grid have one colour, and are led to stand in one row. */
#include "compiler/explain/build.h"

#include <string.h>

static void put_text(Text *out, const char *text) {
    for (const char *c = text; *c; c++) {
        if (*c == '"' || *c == '\\') text_add(out, "\\", 1);
        if (*c == '\n')
            text_puts(out, "\\n");
        else
            text_add(out, c, 1);
    }
}

static void put_id(Text *out, Drawn d) { text_printf(out, "p%u_%u", d.part->func, d.layer); }

static void put_node(const Explained *e, const Part *p, uint32_t i, Text *out) {
    const Layer *l = &p->layers.data[i];
    const char *made = layer_makes(e, p, i);
    put_id(out, (Drawn){p, i});
    text_puts(out, " [label=\"");
    if (l->number) text_printf(out, "#%u ", l->number);
    put_text(out, made);
    if (*made) text_puts(out, " = ");
    put_text(out, l->title);
    if (l->body) {
        text_puts(out, ", ");
        put_text(out, l->body->count_text);
        text_puts(out, " times");
    }
    if (l->formula) {
        text_puts(out, "\\n");
        put_text(out, l->formula);
    }
    uint32_t guest = drawn_guest(p, i);
    if (guest != NO_LAYER) {
        const Layer *g = &p->layers.data[guest];
        text_printf(out, "\\n#%u ", g->number);
        put_text(out, g->formula ? g->formula : *g->title ? g->title : "pointwise");
    }
    text_puts(out, "\\n");
    put_text(out, explain_shape(e, l->type));
    text_printf(out, "\", group=\"g%d\", fillcolor=\"%s\"%s];\n", l->level, level_colour(l->level),
                l->kind == LAYER_START ? ", shape=ellipse"
                : l->body              ? ", peripheries=2"
                                       : "");
}

static void put_part(const Explained *e, const Part *p, Text *out) {
    for (uint32_t i = 0; i < p->layers.len; i++) {
        const Layer *l = &p->layers.data[i];
        if (is_drawn(p, l)) put_node(e, p, i, out);
        if (!l->body || layer_is_folded(p, l)) continue;
        text_printf(out, "subgraph cluster_%u {\nlabel=\"", l->number);
        text_printf(out, "#%u ", l->number);
        put_text(out, l->title);
        if (l->kind == LAYER_LOOP) {
            text_puts(out, ", ");
            put_text(out, l->body->count_text);
            text_puts(out, l->body->until ? " times until it has converged" : " times");
        }
        text_puts(out, "\";\n");
        put_part(e, l->body, out);
        text_puts(out, "}\n");
    }
}

static void put_link(const Link *l, Text *out) {
    static const char *const words[] = {"",          "", "skip connection", "skip connection",
                                        "next step", ""};
    put_id(out, l->from);
    text_puts(out, " -> ");
    put_id(out, l->to);
    text_printf(out, " [color=\"%s\"", link_colour(l->kind));
    if (*words[l->kind])
        text_printf(out, ", label=\"%s\", fontcolor=\"%s\"", words[l->kind], link_colour(l->kind));
    if (l->kind == LINK_NEXT || l->kind == LINK_PAST)
        text_puts(out, ", style=dashed, constraint=false");
    else if (l->kind != LINK_PLAIN)
        text_puts(out, ", penwidth=2");
    text_puts(out, "];\n");
}

void explain_dot(const Explained *e, const char *name, Text *out) {
    Links links = {0};
    text_puts(out, "digraph \"");
    put_text(out, name);
    text_puts(
        out,
        "\" {\nrankdir=LR;\nnode [shape=box, style=\"filled,rounded\", fontname=\"Helvetica\", "
        "fontsize=10];\nedge [fontname=\"Helvetica\", fontsize=9];\ngraph [fontname=\"Helvetica\", "
        "fontsize=10, style=rounded, color=\"#999999\"];\n");
    put_part(e, e->part, out);
    draw_links(e, &links);
    for (uint32_t i = 0; i < links.len; i++) put_link(&links.data[i], out);
    text_puts(out, "}\n");
    vec_free(&links);
}
