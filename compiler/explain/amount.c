/* Amounts: numbers, and counts that are known only at run time. */
#include "compiler/explain/build.h"

#include <math.h>

Amount amount_of(double number) {
    Amount a = {.count = number != 0};
    a.terms[0].number = number;
    return a;
}

/* Room for the term with these symbols; terms beyond the last join the first with any. */
static Term *term_at(Amount *a, uint64_t symbols) {
    for (uint32_t i = 0; i < a->count; i++)
        if (a->terms[i].symbols == symbols) return &a->terms[i];
    if (a->count == AMOUNT_TERMS) return &a->terms[AMOUNT_TERMS - 1];
    a->terms[a->count] = (Term){0, symbols};
    return &a->terms[a->count++];
}

Amount amount_add(Amount a, Amount b) {
    for (uint32_t i = 0; i < b.count; i++)
        term_at(&a, b.terms[i].symbols)->number += b.terms[i].number;
    return a;
}

Amount amount_scaled(Amount a, double factor) {
    if (factor == 0) return amount_of(0);
    for (uint32_t i = 0; i < a.count; i++) a.terms[i].number *= factor;
    return a;
}

Amount amount_times(Amount a, Amount b) {
    Amount out = {.count = 0};
    for (uint32_t i = 0; i < a.count; i++)
        for (uint32_t j = 0; j < b.count; j++)
            term_at(&out, a.terms[i].symbols | b.terms[j].symbols)->number +=
                a.terms[i].number * b.terms[j].number;
    return out;
}

Amount amount_most(Amount a, Amount b) {
    for (uint32_t i = 0; i < b.count; i++) {
        Term *t = term_at(&a, b.terms[i].symbols);
        t->number = fmax(t->number, b.terms[i].number);
    }
    return a;
}

bool amount_known(const Amount *a, double *number) {
    *number = 0;
    for (uint32_t i = 0; i < a->count; i++) {
        if (a->terms[i].symbols) return false;
        *number += a->terms[i].number;
    }
    return true;
}

/* "12", "3.4 k", "1.25 M"; counts below 10,000 exactly. */
static void put_number(Text *out, double x, bool bytes) {
    static const char *const units[] = {"", " k", " M", " G", " T", " P"};
    int u = 0;
    while (fabs(x) >= (u ? 999.5 : 9999.5) && u < 5) x /= 1000, u++;
    text_printf(out, u || x != floor(x) ? "%.3g" : "%.0f", x);
    text_puts(out, units[u]);
    if (bytes) text_puts(out, u ? "B" : " B");
}

char *explain_amount(const Explained *e, const Amount *a, bool bytes) {
    Text t = {0};
    for (uint32_t i = 0; i < a->count; i++) {
        const Term *x = &a->terms[i];
        if (x->number == 0) continue;
        if (t.len) text_puts(&t, " + ");
        bool unit = x->number == 1 && x->symbols && !bytes;
        if (!unit) put_number(&t, x->number, bytes);
        for (uint32_t s = 0; s < e->symbol_count; s++)
            if (x->symbols >> s & 1) {
                if (!unit || t.data[t.len - 1] != ' ') text_puts(&t, unit ? "" : " ");
                text_puts(&t, e->symbols[s]);
                unit = false;
            }
    }
    if (!t.len) text_puts(&t, "0");
    char *made = arena_text(e->arena, t.data, t.len);
    text_free(&t);
    return made;
}

/* Cells of an axis that are read in all: low + 1 + high. */
static char *width_text(const Explained *e, const Reach *r, uint32_t axis) {
    Amount all = amount_add(amount_of(1), amount_add(r->low[axis], r->high[axis]));
    char *text = explain_amount(e, &all, false);
    double known;
    return amount_known(&all, &known) ? text : arena_format(e->arena, "(%s)", text);
}

char *explain_reach(const Explained *e, const Reach *r, uint32_t rank) {
    if (r->none) return "nothing";
    if (r->everything) return "all cells";
    Text t = {0};
    for (uint32_t a = rank; a-- > 0;) {
        text_puts(&t, width_text(e, r, a));
        if (a) text_puts(&t, "×");
    }
    char *made = arena_text(e->arena, t.data ? t.data : "", t.len);
    text_free(&t);
    return *made ? made : "1";
}

/* ---- shapes ----------------------------------------------------------------------------- */

static void put_axis(const Explained *e, Text *out, GridId grid, uint32_t axis) {
    static const char *const words[MAX_RANK][MAX_RANK] = {{"n"}, {"w", "h"}, {"w", "h", "d"}};
    const Grid *g = &e->module->grids.data[grid];
    uint64_t parts = 1;
    while (g->extent[axis] < 0 && g->finer && parts < 1u << 30) {
        g = &e->module->grids.data[g->finer];
        parts *= 2;
    }
    if (g->extent[axis] >= 0)
        text_printf(out, "%lld",
                    (long long)((g->extent[axis] + (int64_t)parts - 1) / (int64_t)parts));
    else if (parts == 1)
        text_puts(out, words[g->rank - 1][axis]);
    else
        text_printf(out, "%s/%llu", words[g->rank - 1][axis], (unsigned long long)parts);
}

char *explain_shape(const Explained *e, Type type) {
    if (type.kind == TYPE_SCALAR || type.grid == GRID_NONE) return "number";
    const Grid *g = &e->module->grids.data[type.grid];
    Text t = {0};
    if (type.kind == TYPE_STACK) text_puts(&t, "film of ");
    if (g->row) {
        text_printf(&t, "%lld numbers", (long long)g->extent[0]);
    } else {
        if (type.channels != 1) text_printf(&t, "%u×", type.channels);
        for (uint32_t a = g->rank; a-- > 0;) {
            put_axis(e, &t, type.grid, a);
            if (a) text_puts(&t, "×");
        }
    }
    char *made = arena_text(e->arena, t.data, t.len);
    text_free(&t);
    return made;
}
