/* blocking_ends.c: time blocking where ends of an axis are neighbours.
 *
 * Parts and strips keep away from such ends, so that nothing in them reads across. Rows near the ends of the slowest axis are
 * a part of their own, the seam; lines near the ends of the axis below a strip, the edge. Their units see a grid that begins
 * twice as far before the end as cells are needed, and goes on as far after it: what they read of whole fields is copied to
 * rings, where cells beyond the end stand behind those before it, and what they make is copied from there. In 1D, whose last
 * row may be short, the seam makes some cells that the last part makes, too, with the same bits. */
#include "runtime/blocking_parts.h"

#include <string.h>

void ends_open(Blocking *b) {
    const PdnRelay *r = b->relay;
    for (int64_t i = 0; i < r->fields_count; i++) {
        if (r->fields[i].own) continue;
        b->ring[i] = b->rings;
        b->rings += r->fields[i].channels;
    }
}

void ends_frame(Unit *u) {
    const Blocking *b = u->blocking;
    int64_t last = b->relay->fields[0].rank - 1;
    u->frame = b->relay->grids[b->relay->fields[0].grid];
    if (u->seam)
        u->frame.extent[last] = u->frame.high[last] = 4 * b->margin * (last ? 1 : PDN_UNIT_CELLS);
    if (u->edge) u->frame.extent[last - 1] = u->frame.high[last - 1] = 4 * b->edge;
}

/* Where a row of a channel of a whole field stands; in a ring, from the frame's first line on. */
static char *whole_row(const Unit *u, int64_t field, int64_t word, int64_t channel, int64_t row) {
    const Blocking *b = u->blocking;
    const PdnGrid *grid = &b->relay->grids[b->relay->fields[field].grid];
    int64_t size = b->relay->size, last = b->relay->fields[field].rank - 1, middle = 2 * b->margin;
    /* NOLINT: a word holds a pointer */
    char *base = (char *)(intptr_t)word + channel * grid->channel_stride * size;
    if (!u->seam) return base + row * b->row_bytes;
    if (row < middle) base += grid->extent[last] * grid->stride[last] * size;
    return base + (row - middle) * b->row_bytes;
}

static char *ring_row(const Unit *u, int64_t field, int64_t channel, int64_t row) {
    const Blocking *b = u->blocking;
    return u->rings + 2 * (b->ring[field] + channel) * b->ring_bytes +
           row % b->places * b->ring_row - u->first_line * b->line_bytes;
}

/* Lines of a row to the ring: those of the edge, or all that the ring has room for. */
static void copy_in(const Unit *u, char *to, const char *from) {
    const Blocking *b = u->blocking;
    int64_t half = 2 * b->edge * b->line_bytes, all = b->lines * b->line_bytes;
    if (u->edge) {
        memcpy(to, from + all - half, (size_t)half);
        memcpy(to + half, from, (size_t)half);
        return;
    }
    int64_t low = most(u->first_line, 0),
            high = least(u->first_line + b->ring_row / b->line_bytes, b->lines);
    memcpy(to + low * b->line_bytes, from + low * b->line_bytes,
           (size_t)((high - low) * b->line_bytes));
}

/* The unit's own lines of a row from the ring. */
static void copy_out(const Unit *u, char *to, const char *from) {
    const Blocking *b = u->blocking;
    int64_t half = b->edge * b->line_bytes, all = b->lines * b->line_bytes;
    if (u->edge) {
        memcpy(to + all - half, from + half, (size_t)half);
        memcpy(to, from + 2 * half, (size_t)half);
        return;
    }
    memcpy(to + u->left * b->line_bytes, from + u->left * b->line_bytes,
           (size_t)((u->right - u->left) * b->line_bytes));
}

/* The first word that points to the field, which no stage makes. */
static int64_t input_word(const PdnRelay *r, int64_t field) {
    int64_t i = 0;
    while (r->readings[i].field != field) i++;
    return r->stages[r->readings[i].stage].words[r->readings[i].word];
}

void ends_copy_in(Unit *u, int64_t y) {
    const PdnRelay *r = u->blocking->relay;
    for (int64_t i = 0; i < r->fields_count; i++) {
        if (r->fields[i].stage >= 0) continue;
        int64_t end = least(y + u->blocking->input_lead[i], u->rows), word = input_word(r, i);
        for (; u->copied[i] < end; u->copied[i]++)
            for (int64_t c = 0; c < r->fields[i].channels; c++)
                copy_in(u, ring_row(u, i, c, u->copied[i]), whole_row(u, i, word, c, u->copied[i]));
    }
}

void ends_copy_out(const Unit *u, int64_t stage, int64_t from, int64_t end) {
    const PdnRelay *r = u->blocking->relay;
    for (int64_t i = 0; i < r->fields_count; i++) {
        if (r->fields[i].stage != stage || r->fields[i].own) continue;
        int64_t word = r->stages[stage].words[r->fields[i].word];
        for (int64_t row = most(from, u->low); row < least(end, u->high); row++)
            for (int64_t c = 0; c < r->fields[i].channels; c++)
                copy_out(u, whole_row(u, i, word, c, row), ring_row(u, i, c, row));
    }
}
