/* The rows of a profile, with their names, from what was counted. */
#include "compiler/driver/bench.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- names -------------------------------------------------------------------------------- */

static bool in_program(const Bench *b, Span s) {
    return s.file && !sources_is_library(b->x.session->sources, s.file);
}

/* Where the user's program says it: what is in the library, by the loop around it. */
static Span span_of(const Bench *b, const ProfileProgram *program, PlanPlace p) {
    const Module *m = b->x.what->module;
    Span own = p.span;
    if (p.work == WORK_LOOP) own = m->loops.data[p.number].span;
    if (p.work == WORK_EFFECT) own = graph_get(m, program->func)->effects.data[p.number].span;
    Span first = own;
    for (;;) {
        if (in_program(b, own)) return own;
        if (p.work == WORK_LOOP && in_program(b, m->loops.data[p.number].call))
            return m->loops.data[p.number].call;
        if (!p.outer) return first;
        p = plan_place(program->plan, p.outer);
        own = m->loops.data[p.number].span;
    }
}

/* Of the innermost loop around it that has one. */
static const char *scheme_of(const Bench *b, const Plan *plan, PlanPlace p) {
    const Module *m = b->x.what->module;
    for (;;) {
        Name name = p.work == WORK_LOOP ? m->loops.data[p.number].name : 0;
        if (name) return names_text(b->x.session->names, name);
        if (!p.outer) return "";
        p = plan_place(plan, p.outer);
    }
}

/* What is written there, with single spaces. */
static const char *source_of(const Bench *b, Span s) {
    if (!s.file) return "";
    size_t length;
    const char *bytes = sources_bytes(b->x.session->sources, s.file, &length);
    char *text = ARENA_ARRAY(b->x.session->arena, char, s.end - s.begin + 1), *to = text;
    for (uint32_t i = s.begin; i < s.end && i < length; i++) {
        bool blank = bytes[i] == ' ' || bytes[i] == '\n' || bytes[i] == '\t' || bytes[i] == '\r';
        if (!blank)
            *to++ = bytes[i];
        else if (to > text && to[-1] != ' ')
            *to++ = ' ';
    }
    *to = 0;
    return text;
}

static const char *place_text(const Bench *b, Span s, const char *scheme) {
    Arena *arena = b->x.session->arena;
    if (!s.file) return scheme;
    const char *name = sources_name(b->x.session->sources, s.file), *slash = strrchr(name, '/');
    uint32_t line, column;
    sources_place(b->x.session->sources, s.file, s.begin, &line, &column);
    return arena_format(arena, "%s:%u%s%s", slash ? slash + 1 : name, line, *scheme ? " " : "",
                        scheme);
}

static const char *effect_text(const Bench *b, const ProfileProgram *program, uint32_t number) {
    static const char *const names[] = {"print", "report",         "assert",
                                        "save",  "loop over data", "training"};
    return names[graph_get(b->x.what->module, program->func)->effects.data[number].kind];
}

static void name_row(const Bench *b, BenchRow *row) {
    const ProfileProgram *program = &b->profile.programs.data[row->r.program];
    Arena *arena = b->x.session->arena;
    row->program = program_name(&b->x, program->func);
    row->where = row->program;
    row->scheme = row->source = "";
    row->what = "host program: numbers, loops, calls";
    if (!row->r.place) return;
    row->place = plan_place(program->plan, row->r.place);
    row->scheme = scheme_of(b, program->plan, row->place);
    PlanPlace named = row->place;
    uint32_t step = 1; /* stages of a step of a loop */
    if (row->r.end) {  /* a group is named by its first stage */
        uint32_t stages[PDN_RELAY_STAGES];
        uint32_t count = plan_stages(program->plan, row->r.place, stages);
        if (row->place.together) step = count / row->place.together;
        named = plan_place(program->plan, stages[row->r.first]);
        row->place.in = row->place.out = 0; /* its stages say */
    }
    row->span = span_of(b, program, named);
    row->source = source_of(b, named.span.file ? named.span : row->span);
    row->where = place_text(b, row->span, row->scheme);
    Text text = {0};
    if (row->r.end && row->place.work == WORK_LOOP)
        text_printf(&text, "%u steps in one pass", (row->r.end - row->r.first) / step);
    else if (row->r.end)
        text_printf(&text, "%u launches in one pass", row->r.end - row->r.first);
    else if (row->place.work == WORK_EFFECT)
        text_puts(&text, effect_text(b, program, row->place.number));
    else if (row->place.work == WORK_TASK)
        text_puts(&text, "training: batches, sums, optimiser");
    else
        plan_place_text(program->plan, row->r.place, &text);
    row->what = arena_text(arena, text.data, text.len);
    text_free(&text);
}

/* ---- numbers --------------------------------------------------------------------------------- */

static int slower_first(const void *a, const void *b) {
    const BenchRow *x = a, *y = b;
    return x->r.seconds > y->r.seconds ? -1 : x->r.seconds < y->r.seconds;
}

/* What the machine needs at least, by its rates. */
static double least_seconds(const Rates *rates, const ProfileRow *r) {
    double memory = rates->bytes > 0 ? r->bytes / rates->bytes : 0;
    return fmax(r->flops / rates->flops, memory);
}

BenchRows bench_rows(const Bench *b) {
    BenchRows rows = {0};
    const ProfileRows *measured = &bench_median(b)->rows;
    double all = 0;
    for (uint32_t i = 0; i < measured->len; i++) {
        BenchRow row = {.r = measured->data[i]};
        all += row.r.seconds;
        name_row(b, &row);
        row.limit = row.r.flops + row.r.bytes > 0 && row.r.seconds > 0
                        ? least_seconds(&b->rates, &row.r) / row.r.seconds
                        : NAN;
        vec_push(&rows, row);
    }
    for (uint32_t i = 0; i < rows.len; i++)
        rows.data[i].share = all > 0 ? rows.data[i].r.seconds / all : 0;
    if (rows.len) qsort(rows.data, rows.len, sizeof *rows.data, slower_first);
    return rows;
}

BenchRows bench_stages(const Bench *b, const BenchRow *group) {
    BenchRows rows = {0};
    const Plan *plan = b->profile.programs.data[group->r.program].plan;
    uint32_t stages[PDN_RELAY_STAGES];
    if (!group->r.end) return rows;
    (void)plan_stages(plan, group->r.place, stages);
    for (uint32_t s = group->r.first; s < group->r.end; s++) {
        uint32_t known = 0; /* the same launch in another step */
        while (known < rows.len && rows.data[known].r.place != stages[s]) known++;
        if (known == rows.len) {
            BenchRow row = {.r = {.program = group->r.program, .place = stages[s]}};
            memcpy(row.r.extent, group->r.extent, sizeof row.r.extent);
            name_row(b, &row);
            vec_push(&rows, row);
        }
        rows.data[known].r.launches += group->r.passes;
    }
    return rows;
}
