/* The network in words, and its layers in columns. */
#include "compiler/explain/build.h"

#include <string.h>

/* ---- words ------------------------------------------------------------------------------------ */

static const History *main_history(const Part *p) {
    for (uint32_t i = 0; i < p->histories.len; i++)
        if (p->histories.data[i].field) return &p->histories.data[i];
    return NULL;
}

static bool holds_loop(const Part *p) {
    for (uint32_t i = 0; i < p->layers.len; i++)
        if (p->layers.data[i].kind == LAYER_LOOP) return true;
    return false;
}

bool part_is_u(const Part *p) {
    bool down = false, up = false;
    for (uint32_t i = 0; i < p->layers.len; i++) {
        const Layer *l = &p->layers.data[i];
        for (uint32_t k = 0; k < l->from_count && l->level >= 0; k++) {
            int32_t before = p->layers.data[l->from[k]].level;
            down = down || (before >= 0 && l->level > before);
            up = up || l->level < before;
        }
    }
    return down && up;
}

bool layer_is_folded(const Part *p, const Layer *l) {
    return l->body && part_is_u(p) && !holds_loop(l->body);
}

/* Grids on which a bridge goes past the coarser ones. */
static uint32_t bridged_levels(const Part *p) {
    uint32_t levels = 0;
    uint64_t seen = 0;
    for (uint32_t i = 0; i < p->layers.len; i++) {
        const Layer *l = &p->layers.data[i];
        if (l->body) levels += bridged_levels(l->body);
    }
    for (uint32_t i = 0; i < p->bridges.len; i++) {
        int32_t level = p->layers.data[p->bridges.data[i].to].level;
        if (level >= 0 && level < 64 && !(seen >> level & 1)) levels++;
        if (level >= 0 && level < 64) seen |= 1ull << level;
    }
    return levels;
}

static const char *step_word(const Part *p, const History *h, bool many) {
    if (part_is_u(p)) return many ? "U-shaped steps" : "a U-shaped step";
    if (h && h->symmetric) return many ? "symmetric residual blocks" : "a symmetric residual block";
    if (h && h->residual) return many ? "residual blocks" : "a residual block";
    return many ? "steps" : "a step";
}

static void put_u(const Part *p, Text *out) {
    uint32_t bridges = bridged_levels(p);
    text_printf(out, " over %d grids", p->bottom - p->top + 1);
    if (bridges == 1)
        text_puts(out, ", with a skip connection on one of them");
    else if (bridges)
        text_printf(out, ", with skip connections on %u of them", bridges);
}

static void put_weights(const Part *p, Text *out) {
    if (p->count == 1 && !p->until) return;
    if (p->own_weights)
        text_puts(out, "; each has weights of its own");
    else if (p->any_weights)
        text_puts(out, "; all share their weights");
}

char *explain_loop(const Explained *e, const Part *p) {
    const History *h = main_history(p);
    Text t = {0};
    if (p->until) {
        text_puts(&t, "a recurrent network: ");
        text_printf(&t, "%s, repeated until it has converged", step_word(p, h, false));
        if (p->count >= 0 && p->count < 1e12) text_printf(&t, ", at most %.0f times", p->count);
    } else if (p->count == 1) {
        text_puts(&t, step_word(p, h, false));
    } else {
        text_printf(&t, "%s %s", p->count_text, step_word(p, h, true));
    }
    if (h && h->symmetric && !part_is_u(p)) {
        text_printf(&t, h->linear ? " %s - τ Kᵀ K %s" : " %s - τ Kᵀ Φ(K %s)", h->name, h->name);
    }
    if (part_is_u(p)) put_u(p, &t);
    if (h && h->length > 1)
        text_printf(&t, ", with a skip connection over %s steps",
                    h->length == 2 ? "two" : arena_format(e->arena, "%u", h->length));
    put_weights(p, &t);
    char *made = arena_text(e->arena, t.data, t.len);
    text_free(&t);
    return made;
}

static void put_part(const Explained *e, const Part *p, uint32_t indent, uint32_t depth,
                     Text *out) {
    for (uint32_t i = 0; i < p->layers.len; i++) {
        const Layer *l = &p->layers.data[i];
        if (!l->body) continue;
        if (layer_is_folded(p, l)) continue;
        text_printf(out, "%*s#%u %s: %s\n", (int)indent, "", l->number, l->title,
                    explain_loop(e, l->body));
        put_part(e, l->body, indent + 4, depth + 1, out);
    }
}

/* Kᵀ Φ(K u) in a function without loops. */
static void put_forms(const Part *p, uint32_t indent, Text *out) {
    for (uint32_t i = 0; i < p->layers.len; i++) {
        const Layer *l = &p->layers.data[i];
        if (!l->adjoint) continue;
        const Layer *k = &p->layers.data[l->partner];
        bool linear = l->from_count == 1 && l->from[0] == l->partner;
        text_printf(out, "%*s%s with K = #%u, %s\n", (int)indent, "", linear ? "Kᵀ K" : "Kᵀ Φ(K ·)",
                    k->number, k->title);
    }
}

void explain_network(const Explained *e, uint32_t indent, Text *out) {
    const Part *p = e->part;
    uint32_t before = out->len;
    if (part_is_u(p)) {
        text_printf(out, "%*sa U", (int)indent, "");
        put_u(p, out);
        text_puts(out, "\n");
    }
    put_part(e, p, indent, 0, out);
    if (out->len == before) put_forms(p, indent, out);
    if (out->len == before)
        text_printf(out, "%*s%s\n", (int)indent, "",
                    p->layers.len ? "layers one after the other"
                                  : "no layers: it depends on no data");
}

/* ---- columns ------------------------------------------------------------------------------------- */

enum { COLUMNS = 6 };

typedef struct {
    const char *cell[COLUMNS];
    bool wide; /* the first cell alone, beyond its column */
} Row;

typedef struct {
    const Explained *e;
    VEC(Row) rows;
} Table;

static uint32_t width_of(const char *text) {
    uint32_t width = 0;
    for (const char *c = text; *c; c++) width += (*c & 0xC0) != 0x80;
    return width;
}

static void put_wide(Table *t, const char *text) {
    Row row = {.cell = {text}, .wide = true};
    vec_push(&t->rows, row);
}

static const char *weights_text(const Explained *e, const Layer *l) {
    if (!l->weight_count || l->formula) return ""; /* a formula names them */
    Text t = {0};
    text_puts(&t, " with ");
    for (uint32_t i = 0; i < l->weight_count; i++)
        text_printf(&t, i ? ", %s" : "%s", l->weights[i]);
    char *made = arena_text(e->arena, t.data, t.len);
    text_free(&t);
    return made;
}

static const char *layer_ref(const Explained *e, const Layer *l) {
    return l->number ? arena_format(e->arena, "#%u", l->number) : l->title;
}

/* "of u[k]", "of #3 and #4": for those that do not say so by their formula. */
static const char *sources_text(const Explained *e, const Part *p, const Layer *l) {
    if (l->formula || !l->from_count || l->kind == LAYER_CHECK) return "";
    Text t = {0};
    text_puts(&t, l->body ? ", from " : *l->title ? " of " : "made of ");
    for (uint32_t i = 0; i < l->from_count && i < 6; i++) {
        if (i) text_puts(&t, i + 1 == l->from_count ? " and " : ", ");
        text_puts(&t, layer_ref(e, &p->layers.data[l->from[i]]));
    }
    if (l->from_count > 6) text_puts(&t, " and others");
    char *made = arena_text(e->arena, t.data, t.len);
    text_free(&t);
    return made;
}

/* Names of the states that a layer makes: "u[k+1] = ". */
const char *layer_makes(const Explained *e, const Part *p, uint32_t layer) {
    const char *text = "";
    for (uint32_t i = 0; i < p->histories.len; i++)
        if (p->histories.data[i].next == layer)
            text = *text ? arena_format(e->arena, "%s, %s[k+1]", text, p->histories.data[i].name)
                         : arena_format(e->arena, "%s[k+1]", p->histories.data[i].name);
    return text;
}

static const char *parameters_text(const Explained *e, const Layer *l) {
    if (!l->trained) return "";
    if (l->parameters == 0) return "shared";
    Amount a = amount_of(l->parameters);
    return explain_amount(e, &a, false);
}

static void fill_row(const Explained *e, const Layer *l, Row *row) {
    uint32_t rank = l->type.grid ? e->module->grids.data[l->type.grid].rank : 0;
    row->cell[1] = explain_shape(e, l->type);
    row->cell[2] = l->body ? "" : parameters_text(e, l);
    row->cell[3] = l->flops.count ? explain_amount(e, &l->flops, false) : "";
    row->cell[4] = l->memory.count ? explain_amount(e, &l->memory, true) : "";
    row->cell[5] = rank || l->reach.everything ? explain_reach(e, &l->reach, rank) : "";
}

static void put_rows(Table *t, const Part *p, const char *bar);

static void put_skips(Table *t, const Part *p, const char *bar) {
    const Explained *e = t->e;
    for (uint32_t i = 0; i < p->histories.len; i++) {
        const History *h = &p->histories.data[i];
        for (uint32_t k = 0; k < h->length; k++)
            for (uint32_t j = 0; j < p->layers.len; j++) {
                const Layer *l = &p->layers.data[j];
                bool reads = false;
                for (uint32_t f = 0; f < l->from_count; f++)
                    reads = reads || l->from[f] == h->starts[k];
                const char *name = p->layers.data[h->starts[k]].title;
                if (k > 0 && reads)
                    put_wide(t, arena_format(e->arena, "%sskip connection: %s → #%u, past a step",
                                             bar, name, l->number));
                if (k == 0 && h->residual && reads && j == h->next)
                    put_wide(t, arena_format(e->arena,
                                             "%sresidual: %s → #%u, past what is added to it", bar,
                                             name, l->number));
            }
    }
    for (uint32_t i = 0; i < p->bridges.len; i++)
        put_wide(t, arena_format(e->arena, "%sskip connection: %s → #%u, past the coarser grids",
                                 bar, layer_ref(e, &p->layers.data[p->bridges.data[i].from]),
                                 p->layers.data[p->bridges.data[i].to].number));
}

static void put_loop(Table *t, const Part *p, uint32_t i, const char *bar) {
    const Explained *e = t->e;
    const Layer *l = &p->layers.data[i];
    const Part *body = l->body;
    const char *made = layer_makes(e, p, i);
    const char *times = l->kind == LAYER_CALL ? ""
                        : body->until ? arena_format(e->arena, ", %s times until it has converged",
                                                     body->count_text)
                        : body->count == 1 ? ", once"
                                           : arena_format(e->arena, ", %s times", body->count_text);
    Row row = {
        .cell = {arena_format(e->arena, "%s┌ #%u%s%s %s%s%s", bar, l->number, *made ? " " : "",
                              *made ? arena_format(e->arena, "%s =", made) : "", l->title, times,
                              sources_text(e, p, l))}};
    fill_row(e, l, &row);
    vec_push(&t->rows, row);
    const char *inner = arena_format(e->arena, "%s│ ", bar);
    put_rows(t, body, inner);
    put_skips(t, body, inner);
    put_wide(t, arena_format(e->arena, "%s└", bar));
}

/* A short formula stands in the line of its layer, others below. */
static void put_layer(Table *t, const Part *p, uint32_t i, const char *bar) {
    enum { SHORT = 48 };
    const Explained *e = t->e;
    const Layer *l = &p->layers.data[i];
    const char *made = layer_makes(e, p, i), *title = l->title;
    bool inside = l->formula && !*title && width_of(l->formula) <= SHORT;
    if (inside) title = l->formula;
    if (l->adjoint && l->kind == LAYER_CONV)
        title =
            arena_format(e->arena, "%s, adjoint of #%u,", title, p->layers.data[l->partner].number);
    if (l->formula && !inside && !*title) title = "pointwise";
    Row row = {.cell = {arena_format(e->arena, "%s#%u %s%s%s%s%s", bar, l->number, made,
                                     *made ? " = " : "", title, sources_text(e, p, l),
                                     weights_text(e, l))}};
    fill_row(e, l, &row);
    vec_push(&t->rows, row);
    if (l->formula && !inside) put_wide(t, arena_format(e->arena, "%s     %s", bar, l->formula));
}

static void put_rows(Table *t, const Part *p, const char *bar) {
    for (uint32_t i = 0; i < p->layers.len; i++) {
        const Layer *l = &p->layers.data[i];
        if (l->kind == LAYER_START) continue;
        if (l->body) {
            put_loop(t, p, i, bar);
            continue;
        }
        put_layer(t, p, i, bar);
    }
}

static void put_starts(Table *t, const Part *p) {
    for (uint32_t i = 0; i < p->layers.len; i++) {
        const Layer *l = &p->layers.data[i];
        if (l->kind != LAYER_START || !l->used) continue;
        Row row = {.cell = {l->title}};
        fill_row(t->e, l, &row);
        row.cell[2] = row.cell[3] = row.cell[5] = "";
        vec_push(&t->rows, row);
    }
}

static void put_total(Table *t, const Part *p) {
    const Explained *e = t->e;
    uint32_t rank = 0;
    for (GridId g = 1; g < e->module->grids.len; g++)
        if (!e->module->grids.data[g].row && e->module->grids.data[g].rank > rank)
            rank = e->module->grids.data[g].rank;
    Amount parameters = amount_of(e->parameters);
    Row row = {.cell = {"all", "", explain_amount(e, &parameters, false),
                        explain_amount(e, &p->flops, false), explain_amount(e, &p->memory, true),
                        p->result_count ? explain_reach(e, &p->reach, rank) : ""}};
    vec_push(&t->rows, row);
}

static void write_row(const Row *row, const uint32_t *widths, uint32_t columns, Text *out) {
    uint32_t begin = out->len;
    for (uint32_t c = 0; c < columns; c++) {
        const char *text = row->cell[c] ? row->cell[c] : "";
        uint32_t room = widths[c] - (row->wide ? 0 : width_of(text));
        if (row->wide) {
            text_puts(out, text);
            break;
        }
        if (c >= 2 && c < 5) text_printf(out, "%*s", (int)room, "");
        text_puts(out, text);
        if (c < 2 || c == 5) text_printf(out, "%*s", (int)room, "");
        text_puts(out, "   ");
    }
    while (out->len > begin && out->data[out->len - 1] == ' ') out->data[--out->len] = 0;
    text_puts(out, "\n");
}

void explain_layers(const Explained *e, Text *out) {
    Table t = {.e = e};
    Row head = {.cell = {"layer", "makes", "parameters", arena_format(e->arena, "flops%s", e->unit),
                         arena_format(e->arena, "memory%s", e->unit), "sees"}};
    uint32_t widths[COLUMNS] = {0};
    vec_push(&t.rows, head);
    put_starts(&t, e->part);
    put_rows(&t, e->part, "");
    put_skips(&t, e->part, "");
    put_total(&t, e->part);
    for (uint32_t i = 0; i < t.rows.len; i++)
        for (uint32_t c = 0; c < COLUMNS && !t.rows.data[i].wide; c++) {
            uint32_t w = width_of(t.rows.data[i].cell[c] ? t.rows.data[i].cell[c] : "");
            if (w > widths[c]) widths[c] = w;
        }
    for (uint32_t i = 0; i < t.rows.len; i++) {
        text_puts(out, "  ");
        write_row(&t.rows.data[i], widths, COLUMNS, out);
    }
    vec_free(&t.rows);
}
