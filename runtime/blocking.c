/* blocking.c: steps of explicit loops, several at a time (temporal blocking).
 *
 * The stages of a `whole` relay, the launches of some steps, make a few rows (in 3D planes, in 1D units of a launch) each as
 * soon as those that they read are there, so that memory is gone through once for all steps. Fields between them exist as
 * some rows each, in rings. Where rows are too wide for these to stay in the second-level cache, the axis below the slowest
 * is cut into strips, of which each stage makes a few lines more on either side, as its later stages need them. Strips and
 * parts of the rows are shared by threads; what two of them make, both make with the same bits.
 *
 * A ring is mapped twice, one behind the other, so that a window of its rows is always one piece, whatever row it begins
 * with.
 *
 * M. Wittmann, G. Hager, J. Treibig, G. Wellein: Leveraging shared caches for parallel temporal blocking of stencil codes,
 * 2010. */
#include "runtime/blocking_parts.h"

#include <stdlib.h>
#include <string.h>

enum {
    PAGE = 4096,
    ROW_ALIGN = 256,     /* bytes: of short rows, so many that 16 of them are pages */
    VECTOR = 64,         /* bytes: strips of columns are whole vectors, */
    BESIDE = 2 * VECTOR, /* and so much may be read beside them */
    LEAST_STRIP = 1024,  /* bytes of a row */
    LEAST_GRAINS = 4,    /* of a strip */
    BLOCK_BYTES = 40960, /* of a stage's rows, between changes from one to the next */
    PARTS_EACH = 4,      /* units of a thread */
    /* parts, and strips, have so many times the rows that they compute beyond themselves */
    BEYOND = 8,
    EDGES = 16, /* so many times the lines, or rows, that are needed beyond an end must be there */
};

/* ---- rings ---------------------------------------------------------------------------------- */

static bool take_rooms(Blocking *b, PdnRooms *rooms, int count) {
    b->room = calloc((size_t)count, sizeof *b->room);
    b->taken = calloc((size_t)count, sizeof *b->taken);
    if (b->room && b->taken && rooms_take(rooms, b->ring_bytes, b->rings, count, b->room))
        b->rooms = count;
    for (int i = 0; i < b->rooms; i++) atomic_flag_clear(&b->taken[i]);
    return b->rooms > 0;
}

/* One that nobody has. */
static int find_room(Blocking *b) {
    for (int i = 0;; i = (i + 1) % b->rooms)
        if (!atomic_flag_test_and_set(&b->taken[i])) return i;
}

/* ---- a unit: a strip of a part ----------------------------------------------------------------- */

/* Tells who reads or makes a field where it is: as if all its rows and lines stood there. */
static void point(Unit *u, int64_t field, int64_t stage, int64_t word, int64_t first_row) {
    const Blocking *b = u->blocking;
    int64_t row = b->ring_row, from = first_row < 0 ? 0 : first_row;
    int64_t origin = u->first_line * b->line_bytes;
    char *base = u->rings + 2 * b->ring[field] * b->ring_bytes;
    u->words[stage][word] = (int64_t)(intptr_t)base + (from % b->places - from) * row - origin;
    u->part[stage].strides[word - b->relay->stages[stage].fields_word] = &b->grid;
}

/* Does the unit have rows of the field in a ring? */
static bool in_ring(const Unit *u, int64_t field) {
    return at_ends(u) || u->blocking->relay->fields[field].own;
}

static void advance(Unit *u, int64_t stage, int64_t end) {
    const PdnRelay *r = u->blocking->relay;
    if (end <= u->done[stage]) return;
    for (int64_t i = 0; i < r->fields_count; i++)
        if (r->fields[i].stage == stage && in_ring(u, i))
            point(u, i, stage, r->fields[i].word, u->done[stage]);
    for (int64_t i = 0; i < r->readings_count; i++) {
        const PdnReading *reading = &r->readings[i];
        if (reading->stage == stage && in_ring(u, reading->field))
            point(u, reading->field, stage, reading->word, u->done[stage] - reading->reach);
    }
    r->stages[stage].kernel(u->words[stage], u->done[stage], end);
    if (at_ends(u)) ends_copy_out(u, stage, u->done[stage], end);
    u->done[stage] = end;
}

/* Stages begin with the rows that the unit's first rows need. */
static void open_stages(Unit *u) {
    const Blocking *b = u->blocking;
    const PdnRelay *r = b->relay;
    ends_frame(u);
    for (int64_t s = 0; s < r->stages_count; s++) {
        memcpy(u->words[s], r->stages[s].words, sizeof(int64_t) * (size_t)r->stages[s].words_count);
        u->words[s][0] = (int64_t)(intptr_t)&u->frame; /* a launch's first word is its grid */
        u->words[s][r->stages[s].part_word] = (int64_t)(intptr_t)&u->part[s];
        u->part[s].from = most(u->left - b->halo[s], 0);
        u->part[s].to = least(u->right + b->halo[s], u->edge ? 4 * b->edge : b->lines);
        for (int i = 0; i < PDN_PART_FIELDS; i++) u->part[s].strides[i] = &u->frame;
        u->done[s] = most(u->low - b->lead[s], 0);
    }
    for (int64_t i = 0; i < r->fields_count; i++) u->copied[i] = most(u->low - b->input_lead[i], 0);
}

static void run_unit(Unit *u) {
    const Blocking *b = u->blocking;
    int64_t ahead = 0, stages = b->relay->stages_count;
    u->first_line = u->edge ? -b->beside : u->left - b->most_halo - b->beside;
    open_stages(u);
    for (int64_t s = 0; s < stages; s++) ahead = most(ahead, b->lead[s]);
    /* begins so far below that the first rows are made one after the other, as all others */
    for (int64_t y = u->low - 2 * ahead; y < u->high;) {
        y = least(y + b->block, u->high);
        if (at_ends(u)) ends_copy_in(u, y);
        for (int64_t s = 0; s < stages; s++) advance(u, s, least(y + b->lead[s], u->rows));
    }
}

/* Units of the seam, those of the edge, and all. */
static int64_t seam_units(const Blocking *b) { return b->margin ? b->strips + (b->edge > 0) : 0; }
static int64_t edge_units(const Blocking *b) { return b->edge ? b->parts : 0; }
static int64_t all_units(const Blocking *b) {
    return b->strips * b->parts + seam_units(b) + edge_units(b);
}

/* Unit number i. Those at ends are small; they stand evenly among the others, so that threads share them, too. */
static void choose_unit(Unit *u, int64_t i) {
    const Blocking *b = u->blocking;
    int64_t seams = seam_units(b), small = seams + edge_units(b), all = all_units(b),
            before = i * small / all;
    bool at_end = (i + 1) * small / all > before;
    int64_t k = at_end ? before : i - before, inner = b->rows - 2 * b->margin;
    int64_t part = at_end ? (k < seams ? b->parts : k - seams) : k / b->strips;
    int64_t strip = at_end ? (k < seams ? k : b->strips) : k % b->strips;
    u->edge = strip == b->strips;
    u->seam = part == b->parts;
    u->left = u->edge ? b->edge : b->edge + strip * b->strip;
    u->right = u->edge                  ? 3 * b->edge
               : strip + 1 == b->strips ? b->lines - b->edge
                                        : u->left + b->strip;
    u->rows = u->seam ? 4 * b->margin : b->rows;
    u->low = b->margin + (u->seam ? 0 : inner * part / b->parts);
    u->high = u->seam ? 3 * b->margin : b->margin + inner * (part + 1) / b->parts;
}

static void run_units(const void *arguments, int64_t begin, int64_t end) {
    Blocking *b = *(Blocking *const *)arguments;
    int room = find_room(b);
    Unit u = {.blocking = b, .rings = b->room[room].base};
    for (int64_t i = begin; i < end; i++) {
        choose_unit(&u, i);
        run_unit(&u);
    }
    atomic_flag_clear(&b->taken[room]);
}

/* ---- how, and whether ------------------------------------------------------------------------------- */

static int64_t up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

/* Does the stage make a field that is wanted as a whole? */
static bool makes_whole(const PdnRelay *r, int64_t stage) {
    for (int64_t i = 0; i < r->fields_count; i++)
        if (r->fields[i].stage == stage && !r->fields[i].own) return true;
    return false;
}

/* How far a stage is ahead of the last, and how many lines more it makes, by those that read it. */
static void measure_stage(Blocking *b, int64_t stage) {
    const PdnRelay *r = b->relay;
    for (int64_t i = 0; i < r->readings_count; i++) {
        const PdnReading *reading = &r->readings[i];
        if (r->fields[reading->field].stage != stage) continue;
        int64_t lead = b->lead[reading->stage] + reading->reach,
                halo = b->halo[reading->stage] + reading->side;
        if (lead > b->lead[stage]) b->lead[stage] = lead;
        if (halo > b->halo[stage]) b->halo[stage] = halo;
    }
    /* what stands in a whole field, others read, too: not even the lines that only fill a vector may be wrong */
    if (makes_whole(r, stage)) b->halo[stage] = up(b->halo[stage], b->grain);
}

/* Finds all of that; returns how near to the ends lines are for which others beyond them are needed. */
static int64_t measure(Blocking *b) {
    const PdnRelay *r = b->relay;
    int64_t edge = 0, margin = 0;
    for (int64_t s = r->stages_count; s-- > 0;) measure_stage(b, s);
    for (int64_t s = 0; s < r->stages_count; s++) {
        b->halo[s] = up(b->halo[s], b->grain);
        b->most_halo = most(b->most_halo, b->halo[s]);
    }
    for (int64_t i = 0; i < r->readings_count; i++) {
        const PdnReading *reading = &r->readings[i];
        edge = most(edge, up(b->halo[reading->stage] + reading->side, b->grain));
        if (r->fields[reading->field].stage >= 0) continue;
        int64_t *lead = &b->input_lead[reading->field];
        *lead = most(*lead, b->lead[reading->stage] + reading->reach);
        margin = most(margin, *lead);
    }
    if (r->round & PDN_ROUND_ROWS) {
        b->margin = margin;
        b->most_halo = most(b->most_halo, edge); /* so much there is of what is read, too */
    }
    return r->round & PDN_ROUND_LINES ? edge : 0;
}

/* Most rows of a field that are wanted at a time. */
static int64_t window(const Blocking *b) {
    const PdnRelay *r = b->relay;
    int64_t most = 0;
    for (int64_t i = 0; i < r->readings_count; i++) {
        const PdnReading *reading = &r->readings[i];
        int64_t from = r->fields[reading->field].stage,
                lead = from < 0 ? b->input_lead[reading->field] : b->lead[from];
        int64_t rows = from < 0 && !b->edge && !b->margin
                           ? 0
                           : lead - b->lead[reading->stage] + reading->reach;
        if (rows > most) most = rows;
    }
    return most + b->block;
}

/* Strips of so many lines, but for the edge, and the layout of rings for them. */
static void lay_out(Blocking *b, int64_t strip, int64_t edge) {
    int64_t rank = b->relay->fields[0].rank, size = b->relay->size,
            narrow = LEAST_GRAINS * b->grain;
    int64_t inner = b->lines - 2 * edge;
    b->edge = edge;
    b->strip = strip;
    b->strips = (inner + strip - 1) / strip;
    if (b->strips > 1 && inner - (b->strips - 1) * strip < narrow)
        b->strips--; /* the last one is longer */
    int64_t widest = (b->strips > 1 ? strip + narrow : inner) + 2 * (b->most_halo + b->beside);
    widest = most(widest, 4 * edge + 2 * b->beside);
    int64_t row = up(widest * b->line_bytes, ROW_ALIGN);
    if (row >= 16 * PAGE) row = up(row, PAGE);
    b->block = row > BLOCK_BYTES ? 1 : BLOCK_BYTES / row;
    b->places = window(b);
    while (b->places * row % PAGE) b->places++, b->block++;
    if (b->always) b->block = 1;
    b->ring_bytes = b->places * row;
    b->grid = b->relay->grids[b->relay->fields[0].grid];
    b->ring_row = row;
    if (rank > 1) b->grid.stride[rank - 1] = row / size;
    b->grid.channel_stride = 2 * b->ring_bytes / size;
}

/* The widest strips whose rings fit into so many bytes; false: none that are worth it. */
static bool choose_strips(Blocking *b, int64_t bytes, int64_t edge) {
    int64_t narrowest = most(up(LEAST_STRIP / b->line_bytes, b->grain), BEYOND * b->most_halo),
            inner = b->lines - 2 * edge;
    bool may_strip = b->relay->fields[0].rank > 1 && !(b->relay->round & PDN_ROUND_WHOLE_LINES) &&
                     b->lines >= (b->always ? 4 * edge + LEAST_GRAINS * b->grain : EDGES * edge);
    if (b->always && may_strip) {
        lay_out(b, LEAST_GRAINS * b->grain, edge);
        return true;
    }
    b->most_halo = may_strip ? b->most_halo : 0;
    lay_out(b, up(b->lines, b->grain), 0);
    for (int64_t n = 2; !b->always && b->own_rings * b->ring_bytes > bytes; n++) {
        int64_t strip = up((inner + n - 1) / n, b->grain);
        if (!may_strip || strip < narrowest) return false;
        lay_out(b, strip, edge);
    }
    return true;
}

static void count_rings(Blocking *b) {
    for (int64_t i = 0; i < b->relay->fields_count; i++) {
        b->ring[i] = b->rings;
        if (b->relay->fields[i].own) b->rings += b->relay->fields[i].channels;
    }
    b->own_rings = b->rings;
}

static bool arrange(Blocking *b, int threads, int64_t cache) {
    const PdnRelay *r = b->relay;
    const PdnGrid *grid = &r->grids[r->fields[0].grid];
    int64_t rank = r->fields[0].rank;
    b->rows = r->stages[0].rows;
    b->row_bytes = (rank > 1 ? grid->stride[rank - 1] : PDN_UNIT_CELLS) * r->size;
    b->lines = rank > 1 ? grid->extent[rank - 2] : 1;
    b->line_bytes = rank > 1 ? grid->stride[rank - 2] * r->size : b->row_bytes;
    b->grain = rank == 2 ? VECTOR / r->size : 1;
    b->beside = rank == 2 ? BESIDE / r->size : 0;
    count_rings(b);
    if (!b->always && b->row_bytes * b->rows < cache / 2) return false; /* stays there, anyway */
    int64_t edge = measure(b);
    if (b->rows < (b->always ? 4 * b->margin + 2 : EDGES * b->margin)) return false;
    if (!choose_strips(b, cache / 4 * 3, edge)) return false;
    if (b->edge || b->margin) ends_open(b);
    int64_t units = threads > 1 ? threads * PARTS_EACH : 1,
            parts = (units + b->strips - 1) / b->strips;
    int64_t many = b->rows / ((b->always ? 0 : 2 * BEYOND) * b->lead[0] + 1);
    while (b->strips * parts % threads) parts++;
    b->parts = parts > many ? most(many, 1) : parts;
    return b->always || b->strips * b->parts >= threads;
}

static bool run_blocked(Blocking *b, PdnRooms *rooms, int threads, PdnLaunch *launch,
                        void *context) {
    const PdnRelay *r = b->relay;
    int64_t work = 0;
    if (!take_rooms(b, rooms, threads)) return false;
    for (int64_t s = 0; s < r->stages_count; s++) work += r->stages[s].work;
    launch(context, run_units, &b, all_units(b), work);
    rooms_give(rooms, b->rooms, b->room);
    return true;
}

bool pdn_blocking(const PdnRelay *relay, int threads, int64_t cache, PdnRooms *rooms,
                  PdnLaunch *launch, void *context) {
    Blocking b = {.relay = relay, .always = cache == PDN_RELAY_ALWAYS};
    if (threads < 1) threads = 1;
    if (relay->fields_count == 0 || !arrange(&b, threads, cache)) return false;
    PdnRooms *own = rooms ? NULL : pdn_rooms_new();
    bool done = (rooms || own) && run_blocked(&b, rooms ? rooms : own, threads, launch, context);
    free(b.room);
    free(b.taken);
    pdn_rooms_free(own);
    return done;
}
