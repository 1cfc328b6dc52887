/* Launches that run together, row by row, against the same launches one after the other: relays of kernels written here,
 * and compiled ones. */
#include "tests/unit/cases.h"

#include <criterion/criterion.h>

/* ---- kernels written here --------------------------------------------------------------------- */

enum {
    MOST_STAGES = PDN_RELAY_STAGES,
    OUT = 0,
    ROWS,
    WIDTH,
    FIRST_INPUT,
    INPUT_WORDS = 3 /* address, reach, rows */
};

/* A row is made of rows around it of each input: the same rows, or two a row of a finer one; mirrored at the sides. */
static void make_rows(const void *arguments, int64_t begin, int64_t end) {
    const int64_t *w = arguments;
    double *out = (double *)(intptr_t)w[OUT];
    for (int64_t y = begin; y < end; y++)
        for (int64_t x = 0; x < w[WIDTH]; x++) {
            double sum = (double)y;
            for (int i = 0; i < 2; i++) {
                const int64_t *in = w + FIRST_INPUT + INPUT_WORDS * i;
                const double *from = (const double *)(intptr_t)in[0];
                bool finer = in[2] > w[ROWS];
                for (int64_t d = -in[1]; from && d <= in[1]; d++)
                    for (int second = 0; second <= finer; second++) {
                        int64_t row = y + d < 0          ? -1 - y - d
                                      : y + d >= w[ROWS] ? 2 * w[ROWS] - 1 - y - d
                                                         : y + d;
                        row = finer ? 2 * row + second : row;
                        row = row >= in[2] ? in[2] - 1 : row;
                        sum = sum * 0.75 + (double)(d + 4) * from[row * w[WIDTH] + x];
                    }
            }
            out[y * w[WIDTH] + x] = sum;
        }
}

typedef struct {
    PdnStage stage[MOST_STAGES];
    PdnHandOver field[PDN_RELAY_FIELDS];
    PdnReading reading[PDN_RELAY_READINGS];
    PdnRelay relay;
    PdnGrid grid[2]; /* finer, coarser: of as many columns */
    int64_t words[MOST_STAGES][FIRST_INPUT + 2 * INPUT_WORDS];
    double *made[MOST_STAGES], *expected[MOST_STAGES], *input;
    bool read[MOST_STAGES], own[MOST_STAGES];
    int64_t rows[MOST_STAGES], width;
} Chain;

static void choose_input(Chain *c, int s, int i, uint64_t *seed) {
    int from = (int)(next_random(seed) % (uint64_t)(s + 1)) - 1; /* -1: from outside */
    if (i == 0 && s > 0) from = s - 1;
    if (from >= 0 && c->rows[from] < c->rows[s]) from = -1; /* not from a coarser one */
    int64_t reach = (int64_t)(next_random(seed) % 3),
            *in = c->words[s] + FIRST_INPUT + INPUT_WORDS * i;
    in[0] = (int64_t)(intptr_t)(from < 0 ? c->input : c->made[from]);
    in[1] = reach;
    in[2] = from < 0 ? c->rows[s] : c->rows[from];
    if (from < 0) return;
    c->reading[c->relay.readings_count++] = (PdnReading){
        .field = from, .stage = s, .word = FIRST_INPUT + INPUT_WORDS * i, .reach = reach};
    c->read[from] = true;
}

static Chain *new_chain(int64_t rows, int64_t width, uint64_t *seed) {
    Chain *c = calloc(1, sizeof *c);
    int stages = 2 + (int)(next_random(seed) % (MOST_STAGES - 1)),
        coarse = (int)(next_random(seed) % 16);
    c->width = width;
    c->input = malloc(sizeof(double) * (size_t)(rows * width));
    for (int64_t i = 0; i < rows * width; i++) c->input[i] = uniform(seed);
    c->relay = (PdnRelay){.stages = c->stage,
                          .stages_count = stages,
                          .fields = c->field,
                          .fields_count = stages,
                          .readings = c->reading,
                          .grids = c->grid,
                          .size = sizeof(double)};
    for (int g = 0; g < 2; g++)
        c->grid[g] = (PdnGrid){.stride = {1, width, 0},
                               .channel_stride = width * (g ? (rows + 1) / 2 : rows)};
    for (int s = 0; s < stages; s++) {
        c->rows[s] = s >= coarse ? (rows + 1) / 2 : rows;
        size_t bytes = sizeof(double) * (size_t)(c->rows[s] * width);
        c->made[s] = malloc(bytes);
        c->expected[s] = malloc(bytes);
        memset(c->made[s], 0xff, bytes); /* NaN: who reads before it is made shows */
        int64_t *w = c->words[s];
        w[OUT] = (int64_t)(intptr_t)c->made[s];
        w[ROWS] = c->rows[s];
        w[WIDTH] = width;
        for (int i = 0; i < 2; i++) choose_input(c, s, i, seed);
        c->stage[s] = (PdnStage){make_rows, w, FIRST_INPUT + 2 * INPUT_WORDS, c->rows[s], 1, 0, 0};
    }
    for (int s = 0; s < stages; s++) {
        c->own[s] = c->read[s] && next_random(seed) % 3 > 0;
        c->field[s] = (PdnHandOver){s, OUT, c->rows[s] < rows, 2, 1, c->own[s]};
    }
    return c;
}

static void compute_expected(Chain *c) {
    for (int s = 0; s < c->relay.stages_count; s++) {
        c->stage[s].kernel(c->words[s], 0, c->rows[s]);
        size_t bytes = sizeof(double) * (size_t)(c->rows[s] * c->width);
        memcpy(c->expected[s], c->made[s], bytes);
    }
    for (int s = 0; s < c->relay.stages_count; s++)
        memset(c->made[s], 0xff, sizeof(double) * (size_t)(c->rows[s] * c->width));
}

static void free_chain(Chain *c) {
    for (int s = 0; s < c->relay.stages_count; s++) {
        free(c->made[s]);
        free(c->expected[s]);
    }
    free(c->input);
    free(c);
}

typedef struct {
    int together; /* launches of something else than a stage */
    bool backwards;
} Launcher;

static void launch_parts(void *context, PdnKernel *kernel, const void *arguments, int64_t count,
                         int64_t work) {
    Launcher *l = context;
    l->together += kernel != make_rows;
    for (int64_t i = 0; i < count; i++) {
        int64_t at = l->backwards ? count - 1 - i : i;
        kernel(arguments, at, at + 1);
    }
}

static int run_chain(int64_t rows, int64_t width, int threads, int64_t cache, uint64_t seed) {
    Launcher l = {.backwards = seed & 1};
    Chain *c = new_chain(rows, width, &seed);
    compute_expected(c);
    pdn_relay(&c->relay, threads, cache, NULL, launch_parts, &l);
    for (int s = 0; s < c->relay.stages_count; s++) {
        size_t bytes = sizeof(double) * (size_t)(c->rows[s] * width);
        cr_expect(c->own[s] || memcmp(c->made[s], c->expected[s], bytes) == 0,
                  "%lld rows, %d threads: stage %d of %lld differs", (long long)rows, threads, s,
                  (long long)c->relay.stages_count);
    }
    free_chain(c);
    return l.together;
}

Test(relay, stages_of_all_kinds) {
    int together = 0, runs = 0;
    uint64_t seed = 5;
    for (int64_t rows = 4; rows < 120; rows += 1 + rows / 7)
        for (int threads = 1; threads <= 4; threads++)
            for (int again = 0; again < 12; again++, runs++)
                together += run_chain(rows, 3, threads, PDN_RELAY_ALWAYS, next_random(&seed)) > 0;
    cr_expect_gt(together, runs / 3, "only %d of %d ran together", together, runs);
}

/* Rows that do not fit into the cache all at once: fewer stages at a time. */
Test(relay, goes_in_parts_where_the_cache_is_small) {
    uint64_t seed = 9;
    int most = 0;
    for (int again = 0; again < 20; again++) {
        int together = run_chain(700, 512, 2, 64 << 10, next_random(&seed));
        most = together > most ? together : most;
    }
    cr_expect_gt(most, 1, "never more than one part");
}

Test(relay, small_fields_are_not_worth_it) { cr_expect_eq(run_chain(100, 4, 2, 1 << 20, 3), 0); }

/* ---- compiled ------------------------------------------------------------------------------------ */

/* Stencils of dear functions, several channels, a coarser grid, some of the fields shown, a sum at the end. */
static void compiled_chain(const int64_t *extent, SideKind side, uint64_t seed) {
    Case c = start(2, extent);
    Node u = field_input(&c, 1, seed, 0, 1);
    for (int i = 0; i < 4; i++) {
        Tap taps[5] = {{.weight = -3},
                       {{1, 0, 0}, 0, 0, 1},
                       {{-1, 0, 0}, 0, 0, 0.5},
                       {{0, 1, 0}, 0, 0, 0.25},
                       {{0, -1, 0}, 0, 0, 1.5}};
        Stencil s = {.rank = 2, .in_channels = 1, .out_channels = 1, .taps = taps, .count = 5};
        for (uint32_t a = 0; a < 2; a++)
            s.sides[a][0] = s.sides[a][1] = a == 1 && i < 2 ? side : SIDE_EVEN;
        s.transposed = i == 2;
        for (int k = 0; k < 4; k++)
            u = graph_unary(c.m, c.f, k % 2 ? OP_SIN : OP_EXP, u, SPAN_NONE);
        u = graph_add(c.m, c.f, OP_STENCIL, &u, 1, graph_stencil(c.m, &s), 0, SPAN_NONE);
        if (i == 1) show(&c, u);
    }
    Node coarse = graph_unary(c.m, c.f, OP_RESTRICT, u, SPAN_NONE);
    show(&c, graph_unary(c.m, c.f, OP_SIN, coarse, SPAN_NONE));
    show(&c,
         graph_unary(c.m, c.f, OP_SUM, graph_binary(c.m, c.f, OP_MUL, u, u, SPAN_NONE), SPAN_NONE));
    for (int f64 = 0; f64 < 2; f64++) {
        double d = differ(&c, f64, 1);
        cr_expect(d >= 0 && d <= (f64 ? 1e-12 : 1e-4), "%lldx%lld off by %g", (long long)extent[0],
                  (long long)extent[1], d);
        for (int threads = 1; threads <= 3; threads++) {
            Numbers together = c.run.seen;
            c.run.seen = (Numbers){0};
            c.run.apart = !c.run.apart;
            d = differ(&c, f64, threads);
            cr_expect(together.len == c.run.seen.len && memcmp(together.data, c.run.seen.data,
                                                               sizeof(double) * together.len) == 0,
                      "%lldx%lld: other bits, one after the other %d, %d threads",
                      (long long)extent[0], (long long)extent[1], c.run.apart, threads);
            vec_free(&together);
        }
    }
    finish(&c);
}

Test(relay, compiled_launches) {
    static const int64_t sizes[][3] = {{40, 64}, {33, 65}, {7, 30}, {100, 41}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (SideKind side = SIDE_PERIODIC; side <= SIDE_GHOST; side++)
            compiled_chain(sizes[i], side, 3 + i);
}

/* Along the last two axes, and x. */
static StencilId step_stencil(Case *c, uint32_t rank, uint32_t channels, const SideKind *sides,
                              bool transposed) {
    Tap taps[5] = {{.weight = 0.5},
                   {{0, 1, 0}, 0, 0, 0.25},
                   {{1, -1, 0}, 0, 0, 0.125},
                   {{0, -2, 0}, channels - 1, 0, 0.125},
                   {{-1, 0, 0}, 0, channels - 1, 0.25}};
    Stencil s = {.rank = rank,
                 .in_channels = channels,
                 .out_channels = channels,
                 .taps = taps,
                 .count = 5,
                 .transposed = transposed};
    for (uint32_t i = 0; i < 5 && rank == 3; i++) {
        taps[i].offset[2] = taps[i].offset[1];
        taps[i].offset[1] = i == 2 ? 1 : 0;
    }
    for (uint32_t i = 0; i < 5 && rank == 1; i++) { /* all along x: 0 1 2 -2 -1 */
        taps[i].offset[0] += i == 2 ? 1 : taps[i].offset[1];
        taps[i].offset[1] = 0;
    }
    for (uint32_t a = 0; a < rank; a++) s.sides[a][0] = s.sides[a][1] = sides[a];
    return graph_stencil(c->m, &s);
}

typedef struct {
    uint32_t rank, channels;
    int64_t extent[3];
    SideKind sides[3];
    enum { ONE_STATE, A_PAST, TWO_FIELDS, TWO_KINDS_OF_SIDES } kind;
    int steps;
    uint64_t seed;
} StepsCase;

/* Some steps at once, and what is left of them, against the interpreter and against one step after the other. Of the states there
 * is a film, if it has a stride. */
static void compiled_film(const StepsCase *t, int stride) {
    Case c = start(t->rank, t->extent);
    uint32_t states = t->kind == ONE_STATE ? 1 : 2;
    Node u = field_input(&c, t->channels, t->seed, 0, 1),
         v = field_input(&c, t->channels, t->seed + 1, 0, 1), p[3];
    FuncId body = graph_func(c.m, names_of(c.names, "step"));
    p[0] = graph_param(c.m, body, type_scalar(), 0);
    for (uint32_t i = 1; i <= states; i++)
        p[i] = graph_param(c.m, body, type_field(c.grid, t->channels), 0);
    StencilId id = step_stencil(&c, t->rank, t->channels, t->sides, t->seed % 2);
    Node next = graph_add(c.m, body, OP_STENCIL, &p[1], 1, id, 0, SPAN_NONE);
    next = graph_binary(
        c.m, body, OP_ADD, graph_unary(c.m, body, OP_SIN, next, SPAN_NONE),
        graph_binary(c.m, body, OP_MUL, p[0], graph_const(c.m, body, 1e-3), SPAN_NONE), SPAN_NONE);
    if (states > 1)
        next = graph_binary(
            c.m, body, OP_SUB, next,
            graph_binary(c.m, body, OP_MUL, p[2], graph_const(c.m, body, 0.25), SPAN_NONE),
            SPAN_NONE);
    static const SideKind even[3] = {SIDE_EVEN, SIDE_EVEN, SIDE_EVEN};
    StencilId second =
        t->kind == TWO_KINDS_OF_SIDES ? step_stencil(&c, t->rank, t->channels, even, false) : id;
    Node other = t->kind >= TWO_FIELDS
                     ? graph_add(c.m, body, OP_STENCIL, &p[2], 1, second, 0, SPAN_NONE)
                     : p[1];
    vec_push(&graph_get(c.m, body)->results, next);
    if (states > 1) vec_push(&graph_get(c.m, body)->results, other);
    Node loop = loop_of(&c, body, t->steps, (Node[]){u, v}, states, 0,
                        (Loop){.start = 3,
                               .stride = stride ? stride : 1,
                               .collect = (uint32_t[]){0, 1},
                               .collected = stride ? states : 0});
    for (uint32_t i = 0; i < states; i++) show(&c, graph_result(c.m, c.f, loop, i));
    for (uint32_t i = 0; stride && i < states; i++) /* behind the states and the number of steps */
        show(&c, graph_result(c.m, c.f, loop, states + 1 + i));
    char what[160];
    snprintf(what, sizeof what,
             "%uD %lldx%lldx%lld, %u channels, sides %d %d, kind %d, %d steps, film %d", t->rank,
             (long long)t->extent[0], (long long)t->extent[1], (long long)t->extent[2], t->channels,
             (int)t->sides[0], (int)t->sides[1], (int)t->kind, t->steps, stride);
    for (int threads = 1; threads <= 3; threads++) {
        double d = differ(&c, true, threads);
        cr_expect(d >= 0 && d <= 1e-12, "%s: off by %g", what, d);
    }
    Numbers together = c.run.seen;
    c.run.seen = (Numbers){0};
    c.run.apart = true;
    differ(&c, true, 1);
    cr_expect(together.len == c.run.seen.len &&
                  memcmp(together.data, c.run.seen.data, sizeof(double) * together.len) == 0,
              "%s: other bits", what);
    vec_free(&together);
    finish(&c);
}

static void compiled_loop(const StepsCase *t) { compiled_film(t, 0); }

Test(relay, steps_of_loops) {
    static const int64_t sizes[][3] = {{40, 64}, {33, 9}, {100, 41}, {171, 30}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (SideKind side = SIDE_PERIODIC; side <= SIDE_GHOST; side++)
            for (int kind = 0; kind < 3; kind++)
                compiled_loop(&(StepsCase){2,
                                           1,
                                           {sizes[i][0], sizes[i][1]},
                                           {kind == 1 && i % 2 ? SIDE_PERIODIC : SIDE_EVEN, side},
                                           kind,
                                           9 + (int)side,
                                           3 + i});
}

Test(relay, steps_across_the_ends) {
    for (int kind = 0; kind < 3; kind++)
        for (uint32_t channels = 1; channels <= 2; channels++)
            for (int steps = 9; steps <= 13; steps += 2)
                compiled_loop(&(StepsCase){2,
                                           channels,
                                           {70 + steps, 90},
                                           {steps == 9 ? SIDE_EVEN : SIDE_PERIODIC, SIDE_PERIODIC},
                                           kind,
                                           steps,
                                           (uint64_t)kind + channels});
}

Test(relay, steps_of_fields_of_channels) {
    for (int kind = 0; kind < 3; kind++)
        for (uint32_t channels = 2; channels <= 3; channels++)
            compiled_loop(&(StepsCase){
                2, channels, {100, 30}, {SIDE_ODD, SIDE_EVEN}, kind, 11, (uint64_t)kind});
}

Test(relay, steps_in_3d) {
    static const int64_t sizes[][3] = {{20, 13, 9}, {33, 5, 50}, {9, 24, 42}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (SideKind side = SIDE_PERIODIC; side <= SIDE_GHOST; side++)
            for (int kind = 0; kind < 3; kind++)
                compiled_loop(&(StepsCase){3,
                                           1 + (uint32_t)(kind == 0 && i == 1),
                                           {sizes[i][0], sizes[i][1], sizes[i][2]},
                                           {SIDE_EVEN, side,
                                            kind == 2          ? SIDE_ODD
                                            : side == SIDE_ODD ? SIDE_PERIODIC
                                                               : SIDE_EVEN},
                                           kind,
                                           7,
                                           3 + i});
}

/* Ends of the axis that is cut into strips are neighbours: those lines are a strip of their own. */
Test(relay, strips_across_the_ends) {
    static const int64_t sizes[][4] = {
        {2, 300, 30}, {2, 333, 90}, {3, 20, 40, 9}, {3, 9, 33, 42}, {3, 17, 61, 50}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (int other = 0; other < 2; other++)
            for (int kind = 0; kind < 3; kind++) {
                uint32_t rank = (uint32_t)sizes[i][0];
                SideKind slowest = other ? SIDE_PERIODIC : SIDE_ODD;
                compiled_loop(&(StepsCase){rank,
                                           1 + (uint32_t)(i % 2),
                                           {sizes[i][1], sizes[i][2], sizes[i][3]},
                                           {rank == 2 ? SIDE_PERIODIC : SIDE_EVEN,
                                            rank == 2 ? slowest : SIDE_PERIODIC, slowest},
                                           kind,
                                           11,
                                           3 + i});
            }
}

/* One field goes round where another one stops. */
Test(relay, steps_of_two_kinds_of_sides) {
    static const int64_t sizes[][4] = {{1, 77 * 4096 + 5, 1, 1}, {2, 300, 90, 1}, {3, 17, 61, 50}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (uint32_t axis = 0; axis < sizes[i][0]; axis++) {
            StepsCase t = {(uint32_t)sizes[i][0],
                           1,
                           {sizes[i][1], sizes[i][2], sizes[i][3]},
                           {SIDE_EVEN, SIDE_EVEN, SIDE_EVEN},
                           TWO_KINDS_OF_SIDES,
                           10,
                           4};
            t.sides[axis] = SIDE_PERIODIC;
            compiled_loop(&t);
        }
}

/* Units of 4096 cells: some, of which the last is whole or not; so many that the ends can be neighbours; one. */
Test(relay, steps_in_1d) {
    static const int64_t sizes[] = {3 * 4096 + 17, 9 * 4096, 77 * 4096 + 5, 90};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (SideKind side = SIDE_PERIODIC; side <= SIDE_GHOST; side++)
            for (int kind = 0; kind < 3; kind++)
                compiled_loop(&(StepsCase){1,
                                           1 + (uint32_t)(kind != 1 && i == 1),
                                           {sizes[i], 1, 1},
                                           {side},
                                           kind,
                                           7 + (int)i,
                                           3 + i});
}

/* Steps together end where the film keeps a state, whatever is left then. */
Test(relay, steps_with_films) {
    for (int stride = 1; stride <= 14; stride += stride < 4 ? 1 : 5)
        for (int kind = 0; kind < 3; kind++) {
            compiled_film(
                &(StepsCase){
                    2, 1, {100, 41}, {SIDE_EVEN, SIDE_ODD}, kind, 3 * stride + 2 * kind, 5},
                stride);
            compiled_film(&(StepsCase){2, 2, {90, 70}, {SIDE_PERIODIC, SIDE_PERIODIC}, kind, 27, 6},
                          stride);
            compiled_film(&(StepsCase){1, 1, {9 * 4096 + 3, 1, 1}, {SIDE_GHOST}, kind, 21, 7},
                          stride);
        }
    compiled_film(
        &(StepsCase){3, 1, {20, 13, 24}, {SIDE_EVEN, SIDE_PERIODIC, SIDE_EVEN}, A_PAST, 13, 8}, 6);
}
