/* blocking.c: steps of explicit loops, several at a time (temporal blocking).
 *
 * The stages of a `whole` relay, the launches of some steps, make a few rows (in 3D: planes) each as soon as those that they read
 * are there, so that memory is gone through once for all steps. Fields between them exist as some rows each, in rings. Where rows
 * are too wide for these to stay in the second-level cache, the axis below the slowest is cut into strips, of which each stage makes
 * a few lines more on either side, as its later stages need them. Strips and parts of the rows are shared by threads; what two of them make, both
 * make with the same bits.
 *
 * A ring is mapped twice, one behind the other, so that a window of its rows is always one piece, whatever row it begins with.
 *
 * M. Wittmann, G. Hager, J. Treibig, G. Wellein: Leveraging shared caches for parallel temporal blocking of stencil codes, 2010. */
#include "runtime/blocking.h"
#include "runtime/rooms.h"

#include <stdatomic.h>
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
    BEYOND =
        8, /* parts, and strips, have so many times the rows that they compute beyond themselves */
};

typedef struct {
    int64_t low, high;
} Span;

/* Rows are those of the slowest axis, lines those of the one below: columns in 2D. In 1D, rows are the units of a launch. */
typedef struct {
    const PdnRelay *relay;
    int64_t rows, lines, row_bytes, line_bytes, grain; /* strips are multiples of `grain` lines */
    int64_t block, strips, strip, parts;
    int64_t lead[PDN_RELAY_STAGES],
        halo[PDN_RELAY_STAGES];     /* rows that a stage is ahead; lines on either side */
    int64_t ring[PDN_RELAY_FIELDS]; /* number of a field's first ring */
    int64_t rings, places;          /* places: of rows in a ring */
    bool always;
    int64_t most_halo, beside; /* lines beside a strip: of stages; nobody's */
    PdnGrid grid;              /* strides of rings */
    int64_t ring_row, ring_bytes;
    Room *room;                /* as many as threads */
    atomic_flag *taken;        /* of each: by a thread */
    int rooms;
    /* Where rows are read across the ends: rows nearer to them than this are made apart (`run_seam`). */
    int64_t margin;
    char *seam;
} Blocking;

/* ---- rings ---------------------------------------------------------------------------------- */

static bool take_rooms(Blocking *b, PdnRooms *rooms, int count) {
    b->room = calloc((size_t)count, sizeof *b->room);
    b->taken = calloc((size_t)count, sizeof *b->taken);
    if (b->room && b->taken && rooms_take(rooms, b->ring_bytes, b->rings, count, b->room)) b->rooms = count;
    for (int i = 0; i < b->rooms; i++) atomic_flag_clear(&b->taken[i]);
    return b->rooms > 0;
}

/* One that nobody has. */
static int find_room(Blocking *b) {
    for (int i = 0;; i = (i + 1) % b->rooms)
        if (!atomic_flag_test_and_set(&b->taken[i])) return i;
}

/* ---- a unit: a strip of a part ----------------------------------------------------------------- */

typedef struct {
    const Blocking *blocking;
    char *rings;
    int64_t left, right;            /* lines */
    int64_t done[PDN_RELAY_STAGES]; /* rows below are made */
    PdnPart part[PDN_RELAY_STAGES];
    int64_t words[PDN_RELAY_STAGES][PDN_RELAY_WORDS];
} Unit;

static Span cut(int64_t low, int64_t high, int64_t rows) {
    return (Span){low < 0 ? 0 : low, high > rows ? rows : high};
}

/* Tells who reads or makes a field where it is: as if all its rows and lines stood there. */
static void point(Unit *u, int64_t field, int64_t stage, int64_t word, int64_t first_row) {
    const Blocking *b = u->blocking;
    int64_t row = b->ring_row, from = first_row < 0 ? 0 : first_row;
    int64_t origin = (u->left - b->most_halo - b->beside) * b->line_bytes;
    char *base = u->rings + 2 * b->ring[field] * b->ring_bytes;
    u->words[stage][word] = (int64_t)(intptr_t)base + (from % b->places - from) * row - origin;
    u->part[stage].strides[word - b->relay->stages[stage].fields_word] = &b->grid;
}

static void advance(Unit *u, int64_t stage, int64_t end) {
    const PdnRelay *r = u->blocking->relay;
    if (end <= u->done[stage]) return;
    for (int64_t i = 0; i < r->fields_count; i++)
        if (r->fields[i].stage == stage && r->fields[i].own)
            point(u, i, stage, r->fields[i].word, u->done[stage]);
    for (int64_t i = 0; i < r->readings_count; i++) {
        const PdnReading *reading = &r->readings[i];
        if (reading->stage == stage && r->fields[reading->field].own)
            point(u, reading->field, stage, reading->word, u->done[stage] - reading->reach);
    }
    r->stages[stage].kernel(u->words[stage], u->done[stage], end);
    u->done[stage] = end;
}

static void run_unit(Unit *u, int64_t low, int64_t high) {
    const Blocking *b = u->blocking;
    const PdnRelay *r = b->relay;
    int64_t ahead = 0;
    for (int64_t s = 0; s < r->stages_count; s++) {
        Span lines = cut(u->left - b->halo[s], u->right + b->halo[s], b->lines);
        memcpy(u->words[s], r->stages[s].words, sizeof(int64_t) * (size_t)r->stages[s].words_count);
        u->words[s][r->stages[s].part_word] = (int64_t)(intptr_t)&u->part[s];
        u->part[s].from = lines.low;
        u->part[s].to = lines.high;
        for (int i = 0; i < PDN_PART_FIELDS; i++) u->part[s].strides[i] = &r->grids[r->fields[0].grid];
        u->done[s] = low < b->lead[s] ? 0 : low - b->lead[s];
        if (b->lead[s] > ahead) ahead = b->lead[s];
    }
    /* begins so far below that the first rows are made one after the other, as all others */
    for (int64_t y = low - 2 * ahead; y < high;) {
        y = y + b->block < high ? y + b->block : high;
        for (int64_t s = 0; s < r->stages_count; s++)
            advance(u, s, cut(0, y + b->lead[s], b->rows).high);
    }
}

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
static void run_seam(const Blocking *b) {
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
static bool make_seam(Blocking *b) {
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

static void run_units(const void *arguments, int64_t begin, int64_t end) {
    Blocking *b = *(Blocking *const *)arguments;
    int room = find_room(b);
    Unit u = {.blocking = b, .rings = b->room[room].base};
    for (int64_t i = begin; i < end; i++) {
        int64_t part = i / b->strips, strip = i % b->strips, rows = b->rows - 2 * b->margin;
        if (part == b->parts) {
            run_seam(b);
            break;
        }
        u.left = strip * b->strip;
        u.right = strip + 1 == b->strips ? b->lines : u.left + b->strip;
        run_unit(&u, b->margin + rows * part / b->parts, b->margin + rows * (part + 1) / b->parts);
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

/* How far a stage is ahead of the last, and how many lines more it makes, by those that read it; false: somebody reads all lines, so that
 * there are no strips. */
static bool measure_stage(Blocking *b, int64_t stage) {
    const PdnRelay *r = b->relay;
    bool strips = true;
    for (int64_t i = 0; i < r->readings_count; i++) {
        const PdnReading *reading = &r->readings[i];
        if (r->fields[reading->field].stage != stage) continue;
        strips = strips && reading->side >= 0;
        int64_t lead = b->lead[reading->stage] + reading->reach, halo = b->halo[reading->stage] + reading->side;
        if (lead > b->lead[stage]) b->lead[stage] = lead;
        if (halo > b->halo[stage]) b->halo[stage] = halo;
    }
    /* what stands in a whole field, others read, too: not even the lines that only fill a vector may be wrong */
    if (makes_whole(r, stage)) b->halo[stage] = up(b->halo[stage], b->grain);
    return strips;
}

static bool measure(Blocking *b) {
    const PdnRelay *r = b->relay;
    bool strips = true;
    for (int64_t s = r->stages_count; s-- > 0;) strips = measure_stage(b, s) && strips;
    for (int64_t s = 0; s < r->stages_count; s++) {
        b->halo[s] = strips ? up(b->halo[s], b->grain) : 0;
        if (b->halo[s] > b->most_halo) b->most_halo = b->halo[s];
    }
    return strips;
}

/* Most rows of a field that are wanted at a time. */
static int64_t window(const Blocking *b) {
    const PdnRelay *r = b->relay;
    int64_t most = 0;
    for (int64_t i = 0; i < r->readings_count; i++) {
        const PdnReading *reading = &r->readings[i];
        int64_t from = r->fields[reading->field].stage;
        int64_t rows = from < 0 ? 0 : b->lead[from] - b->lead[reading->stage] + reading->reach;
        if (rows > most) most = rows;
    }
    return most + b->block;
}

/* Strips of so many lines, and the layout of rings for them. */
static void lay_out(Blocking *b, int64_t strip) {
    int64_t rank = b->relay->fields[0].rank, size = b->relay->size, least = LEAST_GRAINS * b->grain;
    b->strip = strip;
    b->strips = (b->lines + strip - 1) / strip;
    if (b->strips > 1 && b->lines - (b->strips - 1) * strip < least)
        b->strips--; /* the last one is longer */
    int64_t widest = (b->strips > 1 ? strip + least : b->lines) + 2 * (b->most_halo + b->beside);
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
static bool choose_strips(Blocking *b, int64_t bytes, bool may_strip) {
    int64_t least = up(LEAST_STRIP / b->line_bytes, b->grain);
    if (least < BEYOND * b->most_halo) least = BEYOND * b->most_halo;
    for (int64_t n = 1;; n++) {
        int64_t strip =
            b->always && may_strip ? LEAST_GRAINS * b->grain : up((b->lines + n - 1) / n, b->grain);
        if (n > 1 && (!may_strip || strip < least)) return false;
        lay_out(b, strip);
        if (b->always || b->rings * b->ring_bytes <= bytes) return true;
    }
}

static void count_rings(Blocking *b) {
    for (int64_t i = 0; i < b->relay->fields_count; i++) {
        b->ring[i] = b->rings;
        if (b->relay->fields[i].own) b->rings += b->relay->fields[i].channels;
    }
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
    if (!b->always && b->row_bytes * b->rows < cache / 2)
        return false; /* stays there, anyway */
    bool may_strip = measure(b);
    if (!choose_strips(b, cache / 4 * 3, may_strip)) return false;
    int64_t units = threads > 1 ? threads * PARTS_EACH : 1,
            most = b->rows / ((b->always ? 0 : 2 * BEYOND) * b->lead[0] + 1);
    b->parts = (units + b->strips - 1) / b->strips;
    if (b->parts > most) b->parts = most < 1 ? 1 : most;
    return b->always || b->strips * b->parts >= threads;
}

static bool run_blocked(Blocking *b, PdnRooms *rooms, int threads, PdnLaunch *launch, void *context) {
    const PdnRelay *r = b->relay;
    int64_t work = 0;
    if (r->round && !make_seam(b)) return false;
    if (!take_rooms(b, rooms, threads)) return false;
    for (int64_t s = 0; s < r->stages_count; s++) work += r->stages[s].work;
    launch(context, run_units, &b, b->strips * b->parts + (r->round ? 1 : 0), work);
    rooms_give(rooms, b->rooms, b->room);
    return true;
}

bool pdn_blocking(const PdnRelay *relay, int threads, int64_t cache, PdnRooms *rooms, PdnLaunch *launch,
                  void *context) {
    Blocking b = {.relay = relay, .always = cache == PDN_RELAY_ALWAYS};
    if (threads < 1) threads = 1;
    if (relay->fields_count == 0 || !arrange(&b, threads, cache)) return false;
    PdnRooms *own = rooms ? NULL : pdn_rooms_new();
    bool done = (rooms || own) && run_blocked(&b, rooms ? rooms : own, threads, launch, context);
    free(b.seam);
    free(b.room);
    free(b.taken);
    pdn_rooms_free(own);
    return done;
}
