/* relay.c: launches that run together, row by row.
 *
 * Launches one after the other write whole fields to memory and read them again. Here each makes a few rows, as soon as
 * those that it reads are there, while they are in the cache: memory is gone through once for all stages. A field
 * that nobody else wants never exists as a whole: a few of its rows take turns in a part of its place.
 *
 * Parts of the rows go to several threads. Each computes the rows beyond its part that its own need, too, so that nobody
 * waits; where these belong to a field that is wanted as a whole, two threads write the same bits there. */
#include "runtime/blocking.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    BLOCK_BYTES = 32768,   /* of a row's stages, between changes from one to the next */
    LEAST_BYTES = 1 << 20, /* of what is handed over: less stays in the cache anyway */
    CACHE_BYTES = 1 << 20, /* of the second-level cache, where the machine does not say */
    PARTS_EACH = 4,        /* parts a thread */
    BEYOND = 8,            /* a part has so many times the rows beyond it that it computes */
};

typedef struct {
    int64_t low, high;
} Span;

/* Bytes from a row of a field to the next: of the rows of its slowest axis. */
static int64_t row_bytes(const PdnRelay *r, const PdnHandOver *f) {
    return r->grids[f->grid].stride[f->rank - 1] * r->size;
}

/* A relay on its way. Rows are counted on the coarsest grid, whose rows hold one or two of a stage's. */
typedef struct {
    const PdnRelay *relay;
    int64_t rows, block, units, ahead;
    int64_t scale[PDN_RELAY_STAGES], places[PDN_RELAY_FIELDS];
} Run;

/* The rows of stage `from` that the rows `span` of stage `to` read: not cut at the sides. */
static Span read_by(const Run *run, const PdnReading *r, int64_t from, Span span) {
    span = (Span){span.low - r->reach, span.high + r->reach};
    if (run->scale[from] > run->scale[r->stage]) span = (Span){2 * span.low - 1, 2 * span.high + 1};
    return span;
}

/* The rows [low, high) of the coarsest grid, by stage, with all that the later stages read for theirs. */
static void needed(const Run *run, int64_t low, int64_t high, Span *spans) {
    const PdnRelay *r = run->relay;
    for (int64_t s = r->stages_count; s-- > 0;) {
        spans[s] = (Span){low * run->scale[s],
                          high >= run->rows ? r->stages[s].rows : high * run->scale[s]};
        for (int64_t i = 0; i < r->readings_count; i++) {
            const PdnReading *reading = &r->readings[i];
            if (r->fields[reading->field].stage != s) continue;
            Span more = read_by(run, reading, s, spans[reading->stage]);
            if (more.low < spans[s].low) spans[s].low = more.low;
            if (more.high > spans[s].high) spans[s].high = more.high;
        }
    }
}

static Span cut(Span span, int64_t rows) {
    return (Span){span.low < 0 ? 0 : span.low, span.high > rows ? rows : span.high};
}

/* ---- a part ------------------------------------------------------------------------------- */

typedef struct {
    const Run *run;
    int64_t done[PDN_RELAY_STAGES]; /* rows below are made */
    struct {
        char *base; /* where row `first` is */
        int64_t first, row;
    } field[PDN_RELAY_FIELDS];
    int64_t words[PDN_RELAY_STAGES][PDN_RELAY_WORDS];
} Part;

static void point(Part *p, int64_t field) {
    const PdnRelay *r = p->run->relay;
    const PdnHandOver *f = &r->fields[field];
    /* as if all rows stood there */
    int64_t address =
        (int64_t)((intptr_t)p->field[field].base - p->field[field].first * p->field[field].row);
    p->words[f->stage][f->word] = address;
    for (int64_t i = 0; i < r->readings_count; i++)
        if (r->readings[i].field == field)
            p->words[r->readings[i].stage][r->readings[i].word] = address;
}

/* Makes room for the rows below `end` of a field whose rows take turns: those still wanted go to the front. */
static void make_room(Part *p, int64_t field, int64_t end) {
    const PdnRelay *r = p->run->relay;
    const PdnHandOver *f = &r->fields[field];
    if (!f->own || end - p->field[field].first <= p->run->places[field]) return;
    int64_t keep = end, done = p->done[f->stage], row = p->field[field].row;
    for (int64_t i = 0; i < r->readings_count; i++) {
        const PdnReading *reading = &r->readings[i];
        if (reading->field != field) continue;
        int64_t next = p->done[reading->stage];
        int64_t low = read_by(p->run, reading, f->stage, (Span){next, next}).low;
        if (low < keep) keep = low;
    }
    if (keep < p->field[field].first) keep = p->field[field].first;
    for (int64_t c = 0; c < f->channels && keep < done; c++) {
        char *to = p->field[field].base + c * r->grids[f->grid].channel_stride * r->size;
        memmove(to, to + (keep - p->field[field].first) * row, (size_t)((done - keep) * row));
    }
    p->field[field].first = keep;
    point(p, field);
}

static void advance(Part *p, int64_t stage, int64_t end) {
    const PdnRelay *r = p->run->relay;
    if (end <= p->done[stage]) return;
    for (int64_t i = 0; i < r->fields_count; i++)
        if (r->fields[i].stage == stage) make_room(p, i, end);
    r->stages[stage].kernel(p->words[stage], p->done[stage], end);
    p->done[stage] = end;
}

static void start(Part *p, int64_t low, int64_t high) {
    const Run *run = p->run;
    const PdnRelay *r = run->relay;
    Span all[PDN_RELAY_STAGES];
    needed(run, low, high, all);
    for (int64_t s = 0; s < r->stages_count; s++) {
        memcpy(p->words[s], r->stages[s].words, sizeof(int64_t) * (size_t)r->stages[s].words_count);
        p->done[s] = cut(all[s], r->stages[s].rows).low;
    }
    for (int64_t i = 0; i < r->fields_count; i++) {
        const PdnHandOver *f = &r->fields[i];
        /* NOLINT: a word holds a pointer */
        p->field[i].base = (char *)(intptr_t)p->words[f->stage][f->word];
        p->field[i].first = 0;
        p->field[i].row = row_bytes(r, f);
        if (!f->own) continue;
        p->field[i].base += low * run->scale[f->stage] * p->field[i].row;
        p->field[i].first = p->done[f->stage];
        point(p, i);
    }
}

static void run_units(const void *arguments, int64_t begin, int64_t end) {
    const Run *run = arguments;
    const PdnRelay *r = run->relay;
    int64_t low = run->rows * begin / run->units, high = run->rows * end / run->units;
    Part p;
    p.run = run;
    start(&p, low, high);
    /* begins so far below that the first rows are made one after the other, as all others */
    for (int64_t y = low - 2 * run->ahead; y < high;) {
        y = y + run->block < high ? y + run->block : high;
        Span spans[PDN_RELAY_STAGES];
        needed(run, low, y, spans);
        for (int64_t s = 0; s < r->stages_count; s++)
            advance(&p, s, cut(spans[s], r->stages[s].rows).high);
    }
}

/* ---- whether ------------------------------------------------------------------------------- */

/* How far stages are ahead of the last, and for how many rows a field whose rows take turns needs places. */
static void measure(Run *run) {
    const PdnRelay *r = run->relay;
    Span now[PDN_RELAY_STAGES], then[PDN_RELAY_STAGES];
    int64_t rows = run->rows;
    run->rows = INT64_MAX; /* far from the sides */
    needed(run, 0, 0, now);
    needed(run, 0, run->block, then);
    run->rows = rows;
    run->ahead = 0;
    for (int64_t s = 0; s < r->stages_count; s++) {
        int64_t ahead = (now[s].high + run->scale[s] - 1) / run->scale[s];
        if (ahead > run->ahead) run->ahead = ahead;
    }
    for (int64_t i = 0; i < r->fields_count; i++) {
        int64_t from = r->fields[i].stage, low = now[from].high;
        for (int64_t k = 0; k < r->readings_count; k++) {
            const PdnReading *reading = &r->readings[k];
            if (reading->field != i) continue;
            int64_t next = now[reading->stage].high;
            int64_t least = read_by(run, reading, from, (Span){next, next}).low;
            if (least < low) low = least;
        }
        run->places[i] = 2 * (then[from].high - low);
    }
}

static int64_t work_of(const PdnRelay *r) {
    int64_t work = 0;
    for (int64_t s = 0; s < r->stages_count; s++) work += r->stages[s].work;
    return work;
}

static int64_t handed_over(const PdnRelay *r) {
    int64_t bytes = 0;
    for (int64_t i = 0; i < r->fields_count; i++) {
        const PdnHandOver *f = &r->fields[i];
        bytes += r->stages[f->stage].rows * row_bytes(r, f) * f->channels;
    }
    return bytes;
}

/* Is it worth it to run them together? Sets how. The rows that take turns must stay in the cache. */
static bool arrange(Run *run, int threads, int64_t cache) {
    const PdnRelay *r = run->relay;
    int64_t row = 1, turns = 0;
    bool always = cache == PDN_RELAY_ALWAYS;
    run->rows = INT64_MAX;
    for (int64_t s = 0; s < r->stages_count; s++)
        if (r->stages[s].rows < run->rows) run->rows = r->stages[s].rows;
    for (int64_t s = 0; s < r->stages_count; s++)
        run->scale[s] = r->stages[s].rows > run->rows ? 2 : 1;
    for (int64_t i = 0; i < r->fields_count; i++) {
        const PdnHandOver *f = &r->fields[i];
        int64_t two = row_bytes(r, f) * run->scale[f->stage];
        if (two > row) row = two;
    }
    run->block = BLOCK_BYTES / row < 1 || always ? 1 : BLOCK_BYTES / row;
    measure(run);
    int64_t most = run->rows / ((always ? 0 : 2 * BEYOND) * run->ahead + 1);
    run->units = (int64_t)threads * (threads > 1 ? PARTS_EACH : 1);
    if (run->units > most) run->units = most;
    if (run->units < threads || (handed_over(r) < LEAST_BYTES && !always)) return false;
    for (int64_t i = 0; i < r->fields_count; i++) {
        const PdnHandOver *f = &r->fields[i];
        turns += (f->own ? run->places[i] : run->places[i] / 2) * row_bytes(r, f) * f->channels;
        if (f->own && run->places[i] >= run->rows / run->units * run->scale[f->stage]) return false;
    }
    return turns <= cache;
}

/* The stages [first, end) of a relay as one of their own. */
typedef struct {
    PdnRelay relay;
    PdnHandOver fields[PDN_RELAY_FIELDS];
    PdnReading readings[PDN_RELAY_READINGS];
} Leg;

static void cut_out(const PdnRelay *r, int64_t first, int64_t end, Leg *leg) {
    leg->relay = (PdnRelay){.stages = r->stages + first,
                            .stages_count = end - first,
                            .fields = leg->fields,
                            .readings = leg->readings,
                            .grids = r->grids,
                            .size = r->size};
    for (int64_t i = 0; i < r->fields_count; i++) {
        PdnHandOver f = r->fields[i];
        int64_t number = leg->relay.fields_count, before = leg->relay.readings_count;
        if (f.stage < first || f.stage >= end) continue;
        for (int64_t k = 0; k < r->readings_count; k++) {
            PdnReading reading = r->readings[k];
            if (reading.field != i) continue;
            if (reading.stage >= end) {
                f.own = 0;
                continue;
            }
            reading.field = number;
            reading.stage -= first;
            leg->readings[leg->relay.readings_count++] = reading;
        }
        if (leg->relay.readings_count == before) continue;
        f.stage -= first;
        leg->fields[leg->relay.fields_count++] = f;
    }
}

int64_t pdn_relay_cache(void) {
    long cache = sysconf(_SC_LEVEL2_CACHE_SIZE);
    return (cache > 0 ? cache : CACHE_BYTES) / 8 * 7;
}

bool pdn_relay(const PdnRelay *relay, int threads, int64_t cache, PdnRooms *rooms,
               PdnLaunch *launch, void *context) {
    if (relay->whole) return pdn_blocking(relay, threads, cache, rooms, launch, context);
    bool large = cache == PDN_RELAY_ALWAYS || handed_over(relay) >= LEAST_BYTES;
    for (int64_t first = 0, end; first < relay->stages_count; first = end) {
        Leg leg;
        Run run = {.relay = &leg.relay};
        bool together = false;
        /* as many as can */
        for (end = large ? relay->stages_count : first + 1; end > first + 1; end--) {
            cut_out(relay, first, end, &leg);
            if ((together = arrange(&run, threads < 1 ? 1 : threads, cache))) break;
        }
        const PdnStage *s = &relay->stages[first];
        if (together)
            launch(context, run_units, &run, run.units, work_of(&leg.relay));
        else
            launch(context, s->kernel, s->words, s->rows, s->work);
    }
    return true;
}
