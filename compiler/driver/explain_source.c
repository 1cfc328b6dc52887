/* The definitions that a graph came from, as they are written. */
#include "compiler/driver/explain_source.h"

#include <string.h>

const char *explain_place(Session *s, Span span) {
    uint32_t line = 0, column = 0;
    sources_place(s->sources, span.file, span.begin, &line, &column);
    const char *name = sources_name(s->sources, span.file), *slash = strrchr(name, '/');
    if (sources_is_library(s->sources, span.file)) return name;
    if (slash) name = slash + 1;
    return arena_format(s->arena, "%s:%u", name, line);
}

/* ---- which ------------------------------------------------------------------------------------ */

static void add_item(Items *out, const Item *item) {
    for (uint32_t i = 0; i < out->len; i++)
        if (out->data[i] == item) return;
    vec_push(out, item);
}

/* Stencils of the prelude that are no derivatives: between grids and for the diagonal of a Jacobian. */
static bool is_transfer(const Session *s, Span span) {
    static const char *const words[] = {"prolong", "restrict", "resize", "diagonal", "shift"};
    size_t length;
    const char *bytes = sources_bytes(s->sources, span.file, &length);
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        size_t n = strlen(words[i]);
        if (span.begin + n <= length && memcmp(bytes + span.begin, words[i], n) == 0) return true;
    }
    return false;
}

/* A pde of which something is needed, an operator that takes differences. */
static bool is_equation(const Session *s, const Item *item, const NodeData *d) {
    if (!item || item->kind != ITEM_DEF) return false;
    return item->def.kind == DEF_PDE ||
           (item->def.kind == DEF_OPERATOR && d->op == OP_STENCIL && !is_transfer(s, d->span));
}

static void visit(Session *s, const Module *m, FuncId func, uint8_t *seen, Items *equations,
                  Items *schemes) {
    if (seen[func]) return;
    seen[func] = 1;
    const Func *f = graph_get(m, func);
    for (Node n = 1; n < f->nodes.len; n++) {
        const NodeData *d = graph_node(f, n);
        const Item *item = d->span.file ? sema_item_at(s->unit, d->span) : NULL;
        if (is_equation(s, item, d)) add_item(equations, item);
        if (d->op == OP_CALL) visit(s, m, d->index, seen, equations, schemes);
        if (d->op != OP_LOOP && d->op != OP_BACK) continue;
        const Loop *l = &m->loops.data[d->index];
        item = sema_item_at(s->unit, l->span);
        bool own = item && item->kind == ITEM_DEF && item->def.block && l->name == item->name.name;
        if (own) add_item(schemes, item);
        visit(s, m, l->body, seen, equations, schemes);
    }
}

void explain_items(Session *s, const Module *m, FuncId func, const Item *own, Items *out) {
    Items equations = {0}, schemes = {0};
    uint8_t *seen = mem_alloc(m->funcs.len);
    memset(seen, 0, m->funcs.len);
    visit(s, m, func, seen, &equations, &schemes);
    for (uint32_t i = 0; i < equations.len; i++) add_item(out, equations.data[i]);
    if (own) add_item(out, own);
    for (uint32_t i = 0; i < schemes.len; i++) add_item(out, schemes.data[i]);
    mem_free(seen);
    vec_free(&equations);
    vec_free(&schemes);
}

/* ---- how they are written ---------------------------------------------------------------------------- */

/* Of a solver its recurrences alone: names and the rest are for who wants to read it. */
static bool is_shown(const Item *item, const Stmt *s) {
    if (s->kind == STMT_PARAM || s->kind == STMT_ERROR) return s->kind == STMT_PARAM;
    if (item->def.kind != DEF_SOLVER) return true;
    return s->kind == STMT_EQUATION || s->kind == STMT_SOLVE || s->kind == STMT_UNTIL;
}

/* Lines without the first, which names the definition, and the last, which closes it. */
static void put_body(const char *text, Text *out) {
    const char *line = strstr(text, "{\n");
    for (line = line ? line + 2 : text; *line;) {
        const char *end = strchr(line, '\n');
        if (!end) end = line + strlen(line);
        bool last = *end && end[1] == 0;
        if (!(last && *line == '}')) {
            uint32_t skip = 0;
            while (skip < 4 && line[skip] == ' ') skip++;
            text_printf(out, "    %.*s\n", (int)(end - line - skip), line + skip);
        }
        line = *end ? end + 1 : end;
    }
}

static void put_item(Session *s, const Item *item, Text *out) {
    Item shown = *item;
    Block block;
    Text text = {0};
    Comments none = {0};
    if (item->def.block) {
        block = *item->def.block;
        block.items = ARENA_ARRAY(s->arena, Stmt *, block.count + 1);
        block.count = 0;
        for (uint32_t i = 0; i < item->def.block->count; i++)
            if (is_shown(item, item->def.block->items[i]))
                block.items[block.count++] = item->def.block->items[i];
        shown.def.block = &block;
    }
    if (!item->def.block) shown.def.has_config = false;
    Program one = {item->span.file, &shown, 1};
    syntax_format(&one, s->names, s->sources, &none, &text);
    text_printf(out, "  %s %s, %s\n", ast_def_text(item->def.kind),
                names_text(s->names, item->name.name), explain_place(s, item->name.span));
    if (item->def.block)
        put_body(text.data ? text.data : "", out);
    else if (text.data) {
        const char *line = strchr(text.data, ' ') ? strchr(text.data, ' ') + 1 : text.data;
        for (const char *end; *line; line = *end ? end + 1 : end) {
            end = strchr(line, '\n');
            if (!end) end = line + strlen(line);
            text_printf(out, "    %.*s\n", (int)(end - line), line);
        }
    }
    text_free(&text);
}

void explain_sources(Session *s, const Items *items, Text *out) {
    for (uint32_t i = 0; i < items->len; i++) put_item(s, items->data[i], out);
}
