/* The network as SVG: layers from left to right, coarser grids further down, loops as frames around their layers,
 * skip connections as arcs above. */
#include "compiler/explain/build.h"

#include <string.h>

enum { BOX = 150, HIGH = 46, STEP = 178, ROW = 150, MARGIN = 24, PAD = 34, ARC = 28 };

typedef struct {
    const Part *part;
    uint32_t layer;
    double x, y; /* the left top corner */
} Box;

typedef struct {
    const Part *part;
    uint32_t number;
    const char *title;
    double left, right, top, bottom;
    uint32_t inner; /* frames inside, one in the other */
} Frame;

typedef struct {
    const Explained *e;
    VEC(Box) boxes;
    VEC(Frame) frames;
    uint32_t rows[16]; /* columns used, by row */
    double above, width, height;
    Text *out;
} Drawing;

static void put_text(Text *out, const char *text) {
    for (const char *c = text; *c; c++) {
        if (*c == '&')
            text_puts(out, "&amp;");
        else if (*c == '<')
            text_puts(out, "&lt;");
        else if (*c == '>')
            text_puts(out, "&gt;");
        else if (*c == '"')
            text_puts(out, "&quot;");
        else if ((unsigned char)*c >= 32)
            text_add(out, c, 1);
    }
}

/* ---- places ------------------------------------------------------------------------------------------ */

static uint32_t frames_inside(const Part *p) {
    uint32_t most = 0;
    for (uint32_t i = 0; i < p->layers.len; i++) {
        const Layer *l = &p->layers.data[i];
        if (!l->body || layer_is_folded(p, l)) continue;
        uint32_t inner = 1 + frames_inside(l->body);
        if (inner > most) most = inner;
    }
    return most;
}

static double row_of(const Drawing *d, const Layer *l, double otherwise) {
    return l->level < 0 ? otherwise : d->above + l->level * ROW;
}

/* Behind what it reads, and behind what stands in its row. In a loop every layer stands behind all before it, so
 * that frames do not overlap. */
static uint32_t column_of(Drawing *d, const Part *p, uint32_t layer) {
    const Layer *l = &p->layers.data[layer];
    uint32_t row = l->level < 0 ? 0 : (uint32_t)l->level % 16, column = d->rows[row];
    if (!part_is_u(p) || l->kind == LAYER_START)
        for (uint32_t i = 0; i < 16; i++)
            if (d->rows[i] > column) column = d->rows[i];
    for (uint32_t i = 0; i < l->from_count; i++)
        for (uint32_t k = 0; k < d->boxes.len; k++) {
            const Box *b = &d->boxes.data[k];
            uint32_t host = drawn_host(p, l->from[i]), from = host == NO_LAYER ? l->from[i] : host;
            uint32_t end = (uint32_t)((b->x - MARGIN) / STEP) + 1;
            if (b->part == p && b->layer == from && end > column) column = end;
        }
    d->rows[row] = column + 1;
    return column;
}

/* A number stands below the row of the layer before it, so that it is out of the way of fields. */
static void place_part(Drawing *d, const Part *p) {
    double row = d->above + (p->top > 0 ? p->top : 0) * ROW;
    for (uint32_t i = 0; i < p->layers.len; i++) {
        const Layer *l = &p->layers.data[i];
        if (is_drawn(p, l)) {
            row = row_of(d, l, row);
            Box b = {p, i,
                     MARGIN + PAD * frames_inside(d->e->part) + STEP * (double)column_of(d, p, i),
                     row};
            vec_push(&d->boxes, b);
        }
        if (!l->body || layer_is_folded(p, l)) continue;
        uint32_t first = d->boxes.len;
        place_part(d, l->body);
        if (d->boxes.len == first) continue;
        Frame f = {l->body, l->number, l->title, 1e9, 0, 1e9, 0, frames_inside(l->body)};
        for (uint32_t k = first; k < d->boxes.len; k++) {
            const Box *b = &d->boxes.data[k];
            if (b->x < f.left) f.left = b->x;
            if (b->x + BOX > f.right) f.right = b->x + BOX;
            if (b->y < f.top) f.top = b->y;
            if (b->y + HIGH > f.bottom) f.bottom = b->y + HIGH;
        }
        double pad = 12 + 10.0 * f.inner, high = ARC + 30 + (double)PAD * f.inner;
        f.left -= pad, f.right += pad, f.top -= high, f.bottom += ARC + 6 + (double)PAD * f.inner;
        vec_push(&d->frames, f);
    }
}

static const Box *box_of(const Drawing *d, Drawn what) {
    for (uint32_t i = 0; i < d->boxes.len; i++)
        if (d->boxes.data[i].part == what.part && d->boxes.data[i].layer == what.layer)
            return &d->boxes.data[i];
    return NULL;
}

/* ---- shapes ------------------------------------------------------------------------------------------------ */

/* At most so many characters, cut with an ellipsis. */
static void put_cut(Text *out, const char *text, uint32_t most) {
    Text cut = {0};
    uint32_t n = 0;
    for (const char *c = text; *c; c++) {
        if ((*c & 0xC0) != 0x80 && ++n > most) {
            text_puts(&cut, "…");
            break;
        }
        text_add(&cut, c, 1);
    }
    put_text(out, cut.data ? cut.data : "");
    text_free(&cut);
}

static void put_line(Drawing *d, double x, double y, const char *style, const char *text) {
    enum { MOST = 24 };
    text_printf(d->out, "<text x=\"%.0f\" y=\"%.0f\" %s>", x, y, style);
    put_cut(d->out, text, MOST);
    text_puts(d->out, "</text>\n");
}

static void put_box(Drawing *d, const Box *b) {
    const Explained *e = d->e;
    const Layer *l = &b->part->layers.data[b->layer];
    const char *made = layer_makes(e, b->part, b->layer);
    const char *title = *l->title ? l->title : l->formula ? l->formula : "pointwise";
    if (l->body) title = arena_format(e->arena, "%s, %s times", l->title, l->body->count_text);
    if (*made) title = arena_format(e->arena, "%s = %s", made, title);
    if (l->number) title = arena_format(e->arena, "#%u %s", l->number, title);
    text_puts(d->out, "<g>\n<title>");
    put_text(d->out, title);
    if (l->formula) {
        text_puts(d->out, ": ");
        put_text(d->out, l->formula);
    }
    text_printf(
        d->out,
        "</title>\n<rect x=\"%.0f\" y=\"%.0f\" width=\"%d\" height=\"%d\" rx=\"%d\" fill=\"%s\" "
        "stroke=\"#555555\"%s/>\n",
        b->x, b->y, BOX, HIGH, l->kind == LAYER_START ? HIGH / 2 : 5, level_colour(l->level),
        l->body ? " stroke-width=\"3\"" : "");
    put_line(d, b->x + BOX / 2.0, b->y + 19, "text-anchor=\"middle\"", title);
    uint32_t guest = drawn_guest(b->part, b->layer);
    const char *shape = explain_shape(e, l->type);
    if (guest != NO_LAYER) {
        const Layer *g = &b->part->layers.data[guest];
        shape = arena_format(e->arena, "%s, #%u %s", shape, g->number,
                             *g->title ? g->title : "pointwise");
    }
    put_line(d, b->x + BOX / 2.0, b->y + 36, "text-anchor=\"middle\" fill=\"#666666\"", shape);
    text_puts(d->out, "</g>\n");
}

static void put_frame(Drawing *d, const Frame *f) {
    text_printf(d->out,
                "<rect x=\"%.0f\" y=\"%.0f\" width=\"%.0f\" height=\"%.0f\" rx=\"8\" fill=\"none\" "
                "stroke=\"#999999\"/>\n<text x=\"%.0f\" y=\"%.0f\" font-weight=\"bold\">",
                f->left, f->top, f->right - f->left, f->bottom - f->top, f->left + 8, f->top + 15);
    text_printf(d->out, "#%u ", f->number);
    put_text(d->out, f->title);
    text_puts(d->out, ": ");
    put_text(d->out, explain_loop(d->e, f->part));
    text_puts(d->out, "</text>\n");
}

static bool is_between(const Drawing *d, const Box *a, const Box *b) {
    for (uint32_t i = 0; i < d->boxes.len; i++) {
        const Box *c = &d->boxes.data[i];
        if (c->y == a->y && c->x > a->x && c->x < b->x) return true;
    }
    return false;
}

static void put_link(Drawing *d, const Link *l) {
    const Box *a = box_of(d, l->from), *b = box_of(d, l->to);
    if (!a || !b) return;
    bool plain = l->kind == LINK_PLAIN, back = l->kind == LINK_NEXT || l->kind == LINK_PAST;
    double x0 = a->x + BOX, y0 = a->y + HIGH / 2.0, x1 = b->x, y1 = b->y + HIGH / 2.0;
    text_puts(d->out, "<path d=\"");
    if (back || b->x <= a->x) { /* below, back to the states */
        x0 = a->x + BOX / 2.0, y0 = a->y + HIGH, x1 = b->x + BOX / 2.0, y1 = b->y + HIGH;
        double low = (y0 > y1 ? y0 : y1) + ARC;
        text_printf(d->out, "M%.0f %.0f C%.0f %.0f %.0f %.0f %.0f %.0f", x0, y0, x0, low, x1, low,
                    x1, y1);
    } else if (a->y == b->y && is_between(d, a, b)) { /* above what lies between */
        x0 = a->x + BOX / 2.0, y0 = a->y, x1 = b->x + BOX / 2.0, y1 = b->y;
        double high = y0 - ARC - (plain ? 0 : l->kind == LINK_RESIDUAL ? 6 : 18);
        text_printf(d->out, "M%.0f %.0f C%.0f %.0f %.0f %.0f %.0f %.0f", x0, y0, x0, high, x1, high,
                    x1, y1);
    } else {
        double bend = (x1 - x0) / 2;
        text_printf(d->out, "M%.0f %.0f C%.0f %.0f %.0f %.0f %.0f %.0f", x0, y0, x0 + bend, y0,
                    x1 - bend, y1, x1, y1);
    }
    text_printf(d->out,
                "\" fill=\"none\" stroke=\"%s\" stroke-width=\"%s\"%s marker-end=\"url(#a%d)\"/>\n",
                link_colour(l->kind), plain || back ? "1" : "2.5",
                back ? " stroke-dasharray=\"5 4\"" : "", (int)l->kind);
}

static void put_markers(Text *out) {
    text_puts(out, "<defs>\n");
    for (int k = LINK_PLAIN; k <= LINK_PAST; k++)
        text_printf(
            out,
            "<marker id=\"a%d\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"8\" "
            "markerHeight=\"8\" markerUnits=\"userSpaceOnUse\" orient=\"auto\"><path d=\"M0 0L8 4L0 8z\" "
            "fill=\"%s\"/></marker>\n",
            k, link_colour((LinkKind)k));
    text_puts(out, "</defs>\n");
}

static void put_legend(Drawing *d, const Links *links, double y) {
    static const char *const words[] = {"",
                                        "residual: the state goes past what is added to it",
                                        "skip connection over steps",
                                        "skip connection past the coarser grids",
                                        "the next step",
                                        ""};
    double x = MARGIN;
    for (int k = LINK_RESIDUAL; k <= LINK_NEXT; k++) {
        bool any = false;
        for (uint32_t i = 0; i < links->len; i++) any = any || links->data[i].kind == (LinkKind)k;
        if (!any) continue;
        text_printf(d->out, "<path d=\"M%.0f %.0fh24\" stroke=\"%s\" stroke-width=\"2.5\"%s/>\n", x,
                    y - 4, link_colour((LinkKind)k),
                    k == LINK_NEXT ? " stroke-dasharray=\"5 4\"" : "");
        text_printf(d->out, "<text x=\"%.0f\" y=\"%.0f\">%s</text>\n", x + 30, y, words[k]);
        x += 60 + 6.2 * (double)strlen(words[k]);
    }
    if (x > d->width) d->width = x;
}

void explain_svg(const Explained *e, const char *name, Text *out) {
    Text body = {0};
    Links links = {0};
    uint32_t inner = frames_inside(e->part);
    Drawing d = {.e = e, .out = &body, .above = MARGIN + 50 + ARC + (double)PAD * inner};
    place_part(&d, e->part);
    draw_links(e, &links);
    d.height = d.above;
    for (uint32_t i = 0; i < d.boxes.len; i++) {
        if (d.boxes.data[i].x + BOX + MARGIN + PAD * inner > d.width)
            d.width = d.boxes.data[i].x + BOX + MARGIN + PAD * inner;
        if (d.boxes.data[i].y + HIGH > d.height) d.height = d.boxes.data[i].y + HIGH;
    }
    d.height += ARC + (double)PAD * inner + MARGIN;
    for (uint32_t i = d.frames.len; i-- > 0;) put_frame(&d, &d.frames.data[i]);
    for (uint32_t i = 0; i < links.len; i++) put_link(&d, &links.data[i]);
    for (uint32_t i = 0; i < d.boxes.len; i++) put_box(&d, &d.boxes.data[i]);
    put_legend(&d, &links, d.height + 10);
    d.height += 24;
    text_printf(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %.0f %.0f\" width=\"%.0f\" "
        "height=\"%.0f\" font-family=\"Helvetica, Arial, sans-serif\" font-size=\"11\">\n<title>",
        d.width, d.height, d.width, d.height);
    put_text(out, name);
    text_puts(out, "</title>\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n");
    put_markers(out);
    text_printf(out, "<text x=\"%d\" y=\"%d\" font-size=\"15\" font-weight=\"bold\">", MARGIN,
                MARGIN);
    put_text(out, name);
    text_puts(out, "</text>\n");
    if (body.len) text_add(out, body.data, body.len);
    text_puts(out, "</svg>\n");
    text_free(&body);
    vec_free(&links);
    vec_free(&d.boxes);
    vec_free(&d.frames);
}
