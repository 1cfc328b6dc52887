/* blocking_ends.c: time blocking where ends of an axis are neighbours.
 *
 * Parts and strips keep away from such ends, so that nothing in them reads across. Rows near the ends of the slowest axis are made
 * on a small grid that begins before the end and goes on after it, the seam, one stage after the other. Lines near the ends of the axis
 * below are a strip of such a grid, the edge: as other strips, but that what it reads and makes of whole fields goes through rings, too,
 * in which lines beyond the end stand behind those before it. */
#include "runtime/blocking_parts.h"

#include <stdlib.h>
#include <string.h>

/* ---- the seam ------------------------------------------------------------------------------------ */

enum { SEAM = 4 /* margins of rows: half of them before the end, half after it */ };

static char *in_seam(const Blocking *b, int64_t field) {
    int64_t before = 0;
    for (int64_t i = 0; i < field; i++) before += b->relay->fields[i].channels;
    return b->seam + before * SEAM * b->margin * b->row_bytes;
}

/* Copies so many margins of rows at either end of a whole field to the middle of its rows in the seam, or back. */
static void copy_seam(const Blocking *b, int64_t field, int64_t whole, int64_t margins, bool back) {
    const PdnHandOver *f = &b->relay->fields[field];
    int64_t half = margins * b->margin * b->row_bytes;
    const PdnGrid *grid = &b->relay->grids[f->grid];
    int64_t channel = grid->channel_stride * b->relay->size, axis = f->rank - 1;
    int64_t all = grid->extent[axis] * grid->stride[axis] * b->relay->size;
    for (int64_t c = 0; c < f->channels; c++) {
        char *first = (char *)(intptr_t)whole + c * channel; /* NOLINT: a word holds a pointer */
        char *last = first + all - half;
        char *middle = in_seam(b, field) + (c * SEAM + SEAM / 2) * b->margin * b->row_bytes;
        memcpy(back ? last : middle - half, back ? middle - half : last, (size_t)half);
        memcpy(back ? first : middle, back ? middle : first, (size_t)half);
    }
}

/* Tells a stage where its fields are in the seam. */
static void point_to_seam(const Blocking *b, int64_t stage, int64_t *words) {
    const PdnRelay *r = b->relay;
    for (int64_t i = 0; i < r->readings_count; i++)
        if (r->readings[i].stage == stage)
            words[r->readings[i].word] = (int64_t)(intptr_t)in_seam(b, r->readings[i].field);
    for (int64_t i = 0; i < r->fields_count; i++)
        if (r->fields[i].stage == stage) words[r->fields[i].word] = (int64_t)(intptr_t)in_seam(b, i);
}

/* The rows at the ends, and some more on either side of them, as a grid of their own, on which stages follow each other. What is
 * wrong at that grid's ends has not come as far as the rows that are wanted when the last stage is done. */
void run_seam(const Blocking *b) {
    const PdnRelay *r = b->relay;
    int64_t words[PDN_RELAY_WORDS], rows = SEAM * b->margin, last = r->fields[0].rank - 1;
    PdnGrid grid = r->grids[r->fields[0].grid];
    grid.channel_stride = rows * b->row_bytes / r->size;
    grid.extent[last] = grid.high[last] = grid.channel_stride / grid.stride[last];
    for (int64_t i = 0, done = -1; i < r->readings_count; i++) {
        const PdnReading *reading = &r->readings[i]; /* those of a field stand together */
        if (r->fields[reading->field].stage >= 0 || reading->field == done) continue;
        copy_seam(b, reading->field, r->stages[reading->stage].words[reading->word], SEAM / 2, false);
        done = reading->field;
    }
    for (int64_t s = 0; s < r->stages_count; s++) {
        memcpy(words, r->stages[s].words, sizeof(int64_t) * (size_t)r->stages[s].words_count);
        words[0] = (int64_t)(intptr_t)&grid; /* a launch's first word is its grid */
        point_to_seam(b, s, words);
        r->stages[s].kernel(words, 0, rows);
    }
    for (int64_t i = 0; i < r->fields_count; i++)
        if (r->fields[i].stage >= 0 && !r->fields[i].own)
            copy_seam(b, i, r->stages[r->fields[i].stage].words[r->fields[i].word], 1, true);
}

/* How near to the ends rows are for which others beyond them are needed; false: too many. */
bool make_seam(Blocking *b) {
    const PdnRelay *r = b->relay;
    int64_t channels = 0;
    for (int64_t i = 0; i < r->readings_count; i++) {
        int64_t margin = b->lead[r->readings[i].stage] + r->readings[i].reach;
        if (margin > b->margin) b->margin = margin;
    }
    for (int64_t i = 0; i < r->fields_count; i++) channels += r->fields[i].channels;
    int64_t rows = SEAM * b->margin;
    if (rows + 2 > b->rows || (!b->always && rows * channels > b->rows)) return false;
    b->seam = malloc((size_t)(rows * channels * b->row_bytes));
    return b->seam != NULL;
}

/* ---- the edge -------------------------------------------------------------------------------------- */

void edge_open(Blocking *b) {
    const PdnRelay *r = b->relay;
    b->edge_grid = r->grids[r->fields[0].grid];
    int64_t axis = r->fields[0].rank - 2;
    b->edge_grid.extent[axis] = b->edge_grid.high[axis] = 4 * b->edge;
    for (int64_t i = 0; i < r->fields_count; i++) {
        if (r->fields[i].own) continue;
        b->ring[i] = b->rings;
        b->rings += r->fields[i].channels;
    }
}

/* Where a row of a channel of a whole field stands, and in its ring, from the edge's first line on. */
static char *whole_row(const Blocking *b, int64_t field, int64_t word, int64_t channel, int64_t row) {
    const PdnGrid *grid = &b->relay->grids[b->relay->fields[field].grid];
    return (char *)(intptr_t)word + channel * grid->channel_stride * b->relay->size + /* NOLINT: a word holds a pointer */
           row * b->row_bytes;
}

static char *ring_row(const Unit *u, int64_t field, int64_t channel, int64_t row) {
    const Blocking *b = u->blocking;
    return u->rings + 2 * (b->ring[field] + channel) * b->ring_bytes + row % b->places * b->ring_row -
           u->first_line * b->line_bytes;
}

/* The first word that points to the field, which no stage makes. */
static int64_t input_word(const PdnRelay *r, int64_t field) {
    int64_t i = 0;
    while (r->readings[i].field != field) i++;
    return r->stages[r->readings[i].stage].words[r->readings[i].word];
}

void edge_copy_in(Unit *u, int64_t y) {
    const Blocking *b = u->blocking;
    const PdnRelay *r = b->relay;
    int64_t half = 2 * b->edge * b->line_bytes, all = b->lines * b->line_bytes;
    for (int64_t i = 0; i < r->fields_count; i++) {
        if (r->fields[i].stage >= 0) continue;
        int64_t end = least(y + b->input_lead[i], b->rows), word = input_word(r, i);
        for (; u->copied[i] < end; u->copied[i]++)
            for (int64_t c = 0; c < r->fields[i].channels; c++) {
                const char *from = whole_row(b, i, word, c, u->copied[i]);
                char *to = ring_row(u, i, c, u->copied[i]);
                memcpy(to, from + all - half, (size_t)half);
                memcpy(to + half, from, (size_t)half);
            }
    }
}

void edge_copy_out(const Unit *u, int64_t stage, int64_t from, int64_t end) {
    const Blocking *b = u->blocking;
    const PdnRelay *r = b->relay;
    int64_t size = b->edge * b->line_bytes, all = b->lines * b->line_bytes;
    for (int64_t i = 0; i < r->fields_count; i++) {
        if (r->fields[i].stage != stage || r->fields[i].own) continue;
        for (int64_t row = most(from, u->low); row < least(end, u->high); row++)
            for (int64_t c = 0; c < r->fields[i].channels; c++) {
                char *to = whole_row(b, i, r->stages[stage].words[r->fields[i].word], c, row);
                const char *made = ring_row(u, i, c, row);
                memcpy(to + all - size, made + size, (size_t)size);
                memcpy(to, made + 2 * size, (size_t)size);
            }
    }
}
