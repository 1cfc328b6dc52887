/* The report of pdn bench, as a table and as JSON. */
#include "compiler/driver/bench.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { WHERE = 26, WHAT = 46, ALWAYS = 12 /* rows are shown, and those of SMALL of the time */ };
#define SMALL 0.002

static ProfileRow total_of(const BenchRows *rows) {
    ProfileRow all = {0};
    for (uint32_t i = 0; i < rows->len; i++) {
        const ProfileRow *r = &rows->data[i].r;
        all.seconds += r->seconds, all.launches += r->launches, all.flops += r->flops,
            all.bytes += r->bytes;
    }
    return all;
}

static uint32_t rank_of(const ProfileRow *r) {
    uint32_t rank = MAX_RANK;
    while (rank > 1 && r->extent[rank - 1] <= 1) rank--;
    return r->extent[0] ? rank : 0;
}

/* ---- text ------------------------------------------------------------------------------------- */

/* In so many columns, as letters of several bytes are counted; cut where it is longer. */
static void put_text(const char *text, int width) {
    int columns = 0;
    const char *cut = text;
    for (const char *p = text; *p; p++) {
        if (((unsigned char)*p & 0xc0) == 0x80) continue;
        columns++;
        if (columns == width) cut = p;
    }
    if (columns > width)
        printf("%.*s…", (int)(cut - text), text);
    else
        printf("%s%*s", text, width - columns, "");
}

static void put_size(const ProfileRow *r, const PlanPlace *p) {
    char text[80] = "", channels[40] = "";
    size_t at = 0;
    for (uint32_t a = rank_of(r); a-- > 0;)
        at += (size_t)snprintf(text + at, sizeof text - at, "%lld%s", (long long)r->extent[a],
                               a ? "×" : "");
    if (p->in || p->out) snprintf(channels, sizeof channels, "%u→%u", p->in, p->out);
    put_text(text, 14);
    put_text(channels, 9);
}

static void put_count(double count) { count > 0 ? printf(" %9.6g", count) : printf(" %9s", ""); }

static void put_rate(double amount, double seconds) {
    amount > 0 && seconds > 0 ? printf(" %8.3g", 1e-9 * amount / seconds) : printf(" %8s", "");
}

static void put_row(const BenchRow *row, const char *mark, bool stage) {
    Text what = {0};
    text_printf(&what, "%s%s", mark, row->what);
    if (*row->source && !row->r.end &&
        (row->place.work == WORK_KERNEL || row->place.work == WORK_CONVOLUTION))
        text_printf(&what, ": %s", row->source);
    printf("  ");
    put_text(row->where, WHERE);
    putchar(' ');
    put_text(what.data, WHAT);
    putchar(' ');
    text_free(&what);
    put_size(&row->r, &row->place);
    put_count(row->r.launches);
    if (!stage) {
        printf(" %9.3f %6.1f%%", 1e3 * row->r.seconds, 100 * row->share);
        put_rate(row->r.flops, row->r.seconds);
        put_rate(row->r.bytes, row->r.seconds);
        if (isfinite(row->limit)) printf(" %6.0f%%", 100 * row->limit);
    }
    putchar('\n');
}

static void put_heading(const Bench *b) {
    printf("%s: %.4g ms a run (%.4g to %.4g), %u run%s%s, %d thread%s, %s\n\n", b->x.what->name,
           1e3 * bench_median(b)->seconds, 1e3 * b->runs.data[0].seconds,
           1e3 * vec_last(&b->runs).seconds, b->runs.len, b->runs.len > 1 ? "s" : "",
           b->warm ? " after one to warm up" : "", b->threads, b->threads > 1 ? "s" : "",
           b->x.type == PDN_F32 ? "f32" : "f64");
    printf("  ");
    put_text("where", WHERE + 1);
    put_text("what", WHAT + 1);
    put_text("grid", 14);
    put_text("channels", 9);
    printf(" %9s %9s %7s %8s %8s %7s\n", "launches", "ms", "time", "GFLOP/s", "GB/s", "limit");
}

static void put_rows(const Bench *b, const BenchRows *rows) {
    uint32_t small = 0;
    double seconds = 0, share = 0;
    for (uint32_t i = 0; i < rows->len; i++) {
        const BenchRow *row = &rows->data[i];
        if (i >= ALWAYS && row->share < SMALL) {
            small++;
            seconds += row->r.seconds;
            share += row->share;
            continue;
        }
        put_row(row, "", false);
        BenchRows stages = bench_stages(b, row);
        for (uint32_t s = 0; s < stages.len; s++)
            put_row(&stages.data[s], s + 1 < stages.len ? "├ " : "└ ", true);
        vec_free(&stages);
    }
    if (!small) return;
    BenchRow rest = {
        .where = "", .source = "", .r = {.seconds = seconds}, .share = share, .limit = NAN};
    rest.what = arena_format(b->x.session->arena, "%u other%s", small, small > 1 ? "s" : "");
    put_row(&rest, "", false);
}

static void put_ending(const Bench *b, const ProfileRow *all) {
    const Session *s = b->x.session;
    printf(
        "\n  limit: the time that the arithmetic takes at %.4g GFLOP/s (multiply-adds on vectors of %d bits), or the\n"
        "  memory at %.3g GB/s (read and written by a copy of 128 MiB), whichever is longer, in parts of the time that it\n"
        "  took; both were measured now, with as many threads, the arithmetic between the runs (median). More than 100 %%: it\n"
        "  was in the caches.\n",
        1e-9 * b->rates.flops, b->rates.vector_bits, 1e-9 * b->rates.bytes);
    printf(
        "  Timing itself takes about %.2g %% of the time. Memory: %.4g MB at most.\n  Processor time before it ran:",
        100 * b->timing * bench_median(b)->calls / all->seconds, 1e-6 * (double)b->memory);
    for (uint32_t i = 0; i + 1 < s->stages.len; i++) {
        const Stage *stage = &s->stages.data[i];
        printf("%s %s %.3g ms", i ? "," : "", stage->name, 1e3 * stage->seconds);
    }
    printf("\n");
}

void bench_print(Bench *b) {
    BenchRows rows = bench_rows(b);
    ProfileRow sum = total_of(&rows);
    BenchRow all = {.where = "all", .what = "", .source = "", .r = sum, .share = 1, .limit = NAN};
    put_heading(b);
    put_rows(b, &rows);
    put_row(&all, "", false);
    put_ending(b, &sum);
    vec_free(&rows);
    fflush(stdout);
}

/* ---- JSON --------------------------------------------------------------------------------------- */

static json_t *where_json(const Bench *b, const BenchRow *row) {
    const Sources *sources = b->x.session->sources;
    uint32_t line, column;
    if (!row->span.file) return json_null();
    sources_place(sources, row->span.file, row->span.begin, &line, &column);
    return json_pack("{s:s, s:i, s:i}", "file", sources_name(sources, row->span.file), "line",
                     (int)line, "column", (int)column);
}

static json_t *number_json(double x) { return isfinite(x) ? json_real(x) : json_null(); }

static json_t *row_json(const Bench *b, const BenchRow *row, bool stage) {
    static const char *const works[] = {"other", "kernel", "convolution", "tridiagonal", "random",
                                        "norm",  "mean",   "loop",        "effect",      "task"};
    json_t *o = json_object(), *grid = json_array();
    bool group = row->r.end != 0;
    for (uint32_t a = rank_of(&row->r); a-- > 0;)
        json_array_append_new(grid, json_integer(row->r.extent[a]));
    json_object_set_new(o, "program", json_string(row->program));
    json_object_set_new(o, "work",
                        json_string(!row->r.place ? "host"
                                    : group       ? "group"
                                                  : works[row->place.work]));
    json_object_set_new(o, "what", json_string(row->what));
    json_object_set_new(o, "where", where_json(b, row));
    json_object_set_new(o, "scheme", json_string(row->scheme));
    json_object_set_new(o, "source", json_string(row->source));
    json_object_set_new(o, "grid", grid);
    json_object_set_new(o, "channels",
                        json_pack("[i, i]", (int)row->place.in, (int)row->place.out));
    json_object_set_new(o, "launches", number_json(row->r.launches));
    if (stage) return o;
    json_object_set_new(o, "passes", number_json(row->r.passes));
    json_object_set_new(o, "seconds", number_json(row->r.seconds));
    json_object_set_new(o, "share", number_json(row->share));
    json_object_set_new(o, "flops", number_json(row->r.flops));
    json_object_set_new(o, "bytes", number_json(row->r.bytes));
    json_object_set_new(o, "limit", number_json(row->limit));
    if (!group) return o;
    json_t *list = json_array();
    BenchRows stages = bench_stages(b, row);
    for (uint32_t i = 0; i < stages.len; i++)
        json_array_append_new(list, row_json(b, &stages.data[i], true));
    vec_free(&stages);
    json_object_set_new(o, "stages", list);
    return o;
}

void bench_print_json(Bench *b) {
    const Session *s = b->x.session;
    BenchRows rows = bench_rows(b);
    ProfileRow sum = total_of(&rows);
    json_t *o = json_object(), *runs = json_array(), *list = json_array(), *stages = json_object();
    for (uint32_t i = 0; i < b->runs.len; i++)
        json_array_append_new(runs, json_real(b->runs.data[i].seconds));
    for (uint32_t i = 0; i < rows.len; i++)
        json_array_append_new(list, row_json(b, &rows.data[i], false));
    for (uint32_t i = 0; i + 1 < s->stages.len; i++) {
        double before = json_number_value(json_object_get(stages, s->stages.data[i].name));
        json_object_set_new(stages, s->stages.data[i].name,
                            json_real(before + s->stages.data[i].seconds));
    }
    json_object_set_new(o, "experiment", json_string(b->x.what->name));
    json_object_set_new(o, "threads", json_integer(b->threads));
    json_object_set_new(o, "precision", json_string(b->x.type == PDN_F32 ? "f32" : "f64"));
    json_object_set_new(o, "runs", runs);
    json_object_set_new(o, "seconds", json_real(bench_median(b)->seconds));
    json_object_set_new(o, "rows", list);
    json_object_set_new(o, "total",
                        json_pack("{s:f, s:f, s:f, s:f}", "seconds", sum.seconds, "launches",
                                  sum.launches, "flops", sum.flops, "bytes", sum.bytes));
    json_object_set_new(o, "rates",
                        json_pack("{s:f, s:f, s:i}", "flops", b->rates.flops, "bytes",
                                  b->rates.bytes, "vector_bits", b->rates.vector_bits));
    json_object_set_new(o, "timing", json_real(b->timing * bench_median(b)->calls));
    json_object_set_new(o, "memory", json_integer(b->memory));
    json_object_set_new(o, "stages", stages);
    char *text = json_dumps(o, JSON_COMPACT | JSON_REAL_PRECISION(9));
    puts(text ? text : "{}");
    free(text);
    json_decref(o);
    vec_free(&rows);
    fflush(stdout);
}
