/* Are samples that differ in size large enough for what is computed with them? Asked before anything is. */
#include "compiler/driver/execute.h"

static const char *extent_text(Arena *arena, const int64_t *extent, int rank) {
    char *text = arena_format(arena, "%lld", (long long)extent[0]);
    for (int a = 1; a < rank; a++)
        text = arena_format(arena, "%s x %lld", text, (long long)extent[a]);
    return text;
}

static bool large_enough(Execution *x, uint32_t number, GridId grid, FuncId func, Span span) {
    const DataSet *set = &x->what->data.data[number];
    /* of one size, which elaboration has looked at */
    if (!set->data || grid == GRID_NONE) return true;
    LeastExtents need;
    extents_least(x->what->module, func, grid, &need);
    int64_t sample = 0, extent[3];
    long long count = pdn_data_too_small(set->data, need.least, &sample, extent);
    if (count == 0) return true;
    Arena *arena = x->session->arena;
    char name[1024];
    pdn_data_name(set->data, sample, name, sizeof name);
    int rank = set->info.field[0].rank;
    Diagnostic *d =
        diag_report(x->session->diagnostics, DIAG_SAMPLE_TOO_SMALL, span, name,
                    extent_text(arena, extent, rank), extent_text(arena, need.least, rank));
    Span last = SPAN_NONE;
    for (int a = 0; a < rank; a++) {
        if (need.least[a] <= extent[a] ||
            (need.span[a].file == last.file && need.span[a].begin == last.begin))
            continue;
        last = need.span[a];
        diag_note(d, last, "this reads so far beyond the sides");
    }
    diag_note(d, set->span, "of the %lld samples of this set %lld %s too small, that one the most",
              (long long)set->info.count, count, count == 1 ? "is" : "are");
    diag_help(
        d, "leave out what is smaller than %s, or take smaller convolutions or fewer coarser grids",
        extent_text(arena, need.least, rank));
    return false;
}

bool samples_check(Execution *x) {
    bool ok = true;
    for (uint32_t i = 0; i < x->what->trainings.len; i++) {
        const TrainTask *t = &x->what->trainings.data[i];
        ok = (t->data < 0 || large_enough(x, (uint32_t)t->data, t->grid, t->step.func, t->span)) &&
             ok;
    }
    for (uint32_t i = 0; i < x->what->each.len; i++) {
        const EachTask *t = &x->what->each.data[i];
        ok = large_enough(x, t->data, t->grid, t->body.func, t->span) && ok;
    }
    return ok;
}
