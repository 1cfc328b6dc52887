/* Reads what graph_print wrote. Any text is safe: what is not a module gives a message with its
 * line. */
#include "compiler/graph/internal.h"
#include "compiler/graph/words.h"
#include "compiler/ops/ops.h"

#include <stdlib.h>
#include <string.h>

typedef struct {
    const char *at, *end;
    uint32_t line;
    const char *wrong; /* first message */
    Module *module;
    FuncId func;   /* that is being read */
    Node *numbers; /* scratch: operands */
    uint32_t count, cap;
} Parser;

static void fail(Parser *p, const char *what) {
    if (!p->wrong) p->wrong = what;
}

/* ---- words --------------------------------------------------------------------- */

static void skip_blanks(Parser *p) {
    while (p->at < p->end && (*p->at == ' ' || *p->at == '\t' || *p->at == '\r')) p->at++;
}

static bool end_of_line(Parser *p) {
    skip_blanks(p);
    return p->at == p->end || *p->at == '\n' || *p->at == '#';
}

static void next_line(Parser *p) {
    while (p->at < p->end && *p->at != '\n') p->at++;
    if (p->at < p->end) {
        p->at++;
        p->line++;
    }
}

/* The next word of the line: letters, digits and what numbers need. */
static size_t peek_word(Parser *p) {
    skip_blanks(p);
    size_t n = 0;
    while (p->at + n < p->end && strchr(" \t\r\n(),:\"#=", p->at[n]) == NULL && p->at[n] != 0) n++;
    return n;
}

static bool word_is(Parser *p, const char *word) {
    size_t n = peek_word(p);
    return n == strlen(word) && memcmp(p->at, word, n) == 0;
}

static bool take(Parser *p, const char *word) {
    if (!word_is(p, word)) return false;
    p->at += strlen(word);
    return true;
}

static void expect(Parser *p, const char *word) {
    if (!take(p, word)) fail(p, arena_format(p->module->arena, "`%s` is missing", word));
}

static bool take_mark(Parser *p, char mark) {
    skip_blanks(p);
    if (p->at == p->end || *p->at != mark) return false;
    p->at++;
    return true;
}

static int take_choice(Parser *p, const char *const *words, int count, const char *what) {
    for (int i = 0; i < count; i++)
        if (take(p, words[i])) return i;
    fail(p, what);
    return 0;
}

static int64_t take_integer(Parser *p) {
    char copy[32] = "", *stop;
    size_t n = peek_word(p);
    if (n == 0 || n >= sizeof copy) {
        fail(p, "a whole number is missing");
        return 0;
    }
    memcpy(copy, p->at, n);
    int64_t value = strtoll(copy, &stop, 10);
    if (*stop) fail(p, "a whole number is missing");
    p->at += n;
    return value;
}

static uint32_t take_count(Parser *p) {
    int64_t value = take_integer(p);
    if (value < 0 || value > UINT32_MAX) {
        fail(p, "a number is out of range");
        return 0;
    }
    return (uint32_t)value;
}

static void take_counts(Parser *p, uint32_t n, uint32_t *to) {
    for (uint32_t i = 0; i < n; i++) to[i] = take_count(p);
}

static double take_number(Parser *p) {
    char copy[64] = "", *stop;
    size_t n = 0;
    skip_blanks(p);
    while (p->at + n < p->end && strchr(" \t\r\n(),", p->at[n]) == NULL && p->at[n] != 0) n++;
    if (n == 0 || n >= sizeof copy) {
        fail(p, "a number is missing");
        return 0;
    }
    memcpy(copy, p->at, n);
    p->at += n;
    if (strncmp(copy, "nan:", 4) == 0) {
        uint64_t bits = strtoull(copy + 4, &stop, 16);
        double value;
        memcpy(&value, &bits, sizeof value);
        if (*stop) fail(p, "a number is missing");
        return value;
    }
    double value = strtod(copy, &stop);
    if (*stop) fail(p, "a number is missing");
    return value;
}

static int hex_digit(char c) {
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static Name take_name(Parser *p) {
    if (!take(p, "name")) return 0;
    if (!take_mark(p, '"')) {
        fail(p, "a name in quotes is missing");
        return 0;
    }
    Text text = {0};
    while (p->at < p->end && *p->at != '"' && *p->at != '\n') {
        char c = *p->at++;
        if (c == '\\' && p->end - p->at >= 2) {
            int high = hex_digit(p->at[0]), low = hex_digit(p->at[1]);
            if (high < 0 || low < 0) fail(p, "a broken escape in a name");
            c = (char)(high * 16 + low);
            p->at += 2;
        }
        text_add(&text, &c, 1);
    }
    if (!take_mark(p, '"')) fail(p, "a name without its closing quote");
    Name name = names_intern(p->module->names, text.len ? text.data : "", text.len);
    text_free(&text);
    return name;
}

static Type take_type(Parser *p) {
    Type type = {0, 1, GRID_NONE};
    type.kind = (TypeKind)take_choice(p, graph_type_words, TYPE_WORDS, "a type is missing");
    if (type.kind == TYPE_FIELD || type.kind == TYPE_STACK) {
        type.channels = take_count(p);
        type.grid = take_count(p);
    }
    if (type.grid >= p->module->grids.len) {
        fail(p, "a type names a grid that does not exist");
        type.grid = GRID_NONE;
    }
    return type;
}

/* "(%1, %2)" into p->numbers */
static void take_nodes(Parser *p) {
    p->count = 0;
    if (!take_mark(p, '(')) {
        fail(p, "`(` is missing");
        return;
    }
    if (take_mark(p, ')')) return;
    do {
        if (!take_mark(p, '%')) {
            fail(p, "a node is missing");
            return;
        }
        if (p->count == p->cap)
            vec_grow((void **)&p->numbers, &p->cap, p->count + 1, sizeof *p->numbers);
        p->numbers[p->count++] = take_count(p);
    } while (!p->wrong && take_mark(p, ','));
    if (!take_mark(p, ')')) fail(p, "`)` is missing");
}

static void expect_number(Parser *p, uint32_t wanted) {
    if (take_count(p) != wanted) fail(p, "numbers must follow one another");
}

/* ---- lines ----------------------------------------------------------------------- */

static void read_grid(Parser *p) {
    Grid grid = {.extent = {1, 1, 1}, .spacing = {1, 1, 1}};
    expect_number(p, p->module->grids.len);
    expect(p, "extent");
    while (!p->wrong && !word_is(p, "spacing") && grid.rank < MAX_RANK)
        grid.extent[grid.rank++] = take_integer(p);
    expect(p, "spacing");
    for (uint32_t a = 0; a < grid.rank; a++) grid.spacing[a] = take_number(p);
    expect(p, "origin");
    for (uint32_t a = 0; a < grid.rank; a++) grid.origin[a] = take_number(p);
    expect(p, "finer");
    grid.finer = take_count(p);
    if (take(p, "coarser")) grid.coarser = take_count(p);
    grid.row = take(p, "row");
    grid.name = take_name(p);
    vec_push(&p->module->grids, grid);
}

static void read_tap(Parser *p, const Stencil *s, Tap *tap) {
    next_line(p);
    expect(p, "tap");
    expect(p, "to");
    tap->to = take_count(p);
    expect(p, "from");
    tap->from = take_count(p);
    expect(p, "offset");
    for (uint32_t a = 0; a < s->rank; a++) {
        int64_t offset = take_integer(p);
        if (offset < INT32_MIN || offset > INT32_MAX) fail(p, "an offset is out of range");
        tap->offset[a] = (int32_t)offset;
    }
    expect(p, "weight");
    tap->weight = take_number(p);
}

static void read_sides(Parser *p, uint32_t rank, SideKind sides[MAX_RANK][2]) {
    expect(p, "sides");
    for (uint32_t a = 0; a < rank; a++)
        for (int k = 0; k < 2; k++)
            sides[a][k] =
                (SideKind)take_choice(p, graph_side_words, SIDE_WORDS, "a kind of side is missing");
}

static void read_stencil(Parser *p) {
    Stencil s = {0};
    expect_number(p, p->module->stencils.len);
    expect(p, "rank");
    s.rank = take_count(p);
    if (s.rank > MAX_RANK) {
        fail(p, "too many dimensions");
        s.rank = 0;
    }
    expect(p, "in");
    s.in_channels = take_count(p);
    expect(p, "out");
    s.out_channels = take_count(p);
    s.transposed = take(p, "transposed");
    read_sides(p, s.rank, s.sides);
    expect(p, "values");
    for (uint32_t a = 0; a < s.rank; a++)
        for (int k = 0; k < 2; k++) s.has_value[a][k] = take_count(p) != 0;
    expect(p, "taps");
    uint32_t count = take_count(p);
    if (p->wrong) return;
    VEC(Tap) taps = {0};
    for (uint32_t i = 0; i < count && !p->wrong; i++) {
        Tap tap = {0};
        read_tap(p, &s, &tap);
        vec_push(&taps, tap);
    }
    s.count = taps.len;
    s.taps = arena_copy(p->module->arena, taps.data, sizeof(Tap) * taps.len);
    vec_free(&taps);
    vec_push(&p->module->stencils, s);
}

static void read_axes(Parser *p, const char *word, uint32_t rank, uint32_t numbers[MAX_RANK]) {
    expect(p, word);
    take_counts(p, rank, numbers);
}

static void read_conv(Parser *p) {
    Conv c = {.size = {1, 1, 1}, .stride = {1, 1, 1}, .dilation = {1, 1, 1}};
    expect_number(p, p->module->convs.len);
    expect(p, "rank");
    c.rank = take_count(p);
    if (c.rank > MAX_RANK) {
        fail(p, "too many dimensions");
        c.rank = 0;
    }
    expect(p, "in");
    c.in = take_count(p);
    expect(p, "out");
    c.out = take_count(p);
    expect(p, "groups");
    c.groups = take_count(p);
    read_axes(p, "size", c.rank, c.size);
    read_axes(p, "stride", c.rank, c.stride);
    read_axes(p, "dilation", c.rank, c.dilation);
    read_sides(p, c.rank, c.sides);
    vec_push(&p->module->convs, c);
}

static void read_loop(Parser *p) {
    Loop loop = {0};
    expect_number(p, p->module->loops.len);
    expect(p, "body");
    loop.body = take_count(p);
    expect(p, "start");
    loop.start = take_integer(p);
    expect(p, "states");
    loop.states = take_count(p);
    expect(p, "captured");
    loop.captured = take_count(p);
    expect(p, "stop");
    loop.has_stop = take_count(p) != 0;
    expect(p, "stride");
    loop.stride = take_integer(p);
    expect(p, "collect");
    loop.collected = take_count(p);
    if (loop.states > 1u << 20 || loop.captured > 1u << 20 || loop.collected > 1u << 20) {
        fail(p, "a loop of too many states");
        return;
    }
    loop.collect = ARENA_ARRAY(p->module->arena, uint32_t, loop.collected + 1);
    take_counts(p, loop.collected, loop.collect);
    loop.name = take_name(p);
    vec_push(&p->module->loops, loop);
}

static void read_implicit(Parser *p) {
    Implicit s = {0};
    expect_number(p, p->module->implicits.len);
    expect(p, "adjoint");
    s.adjoint = take_count(p);
    s.adjoint_captured = take_count(p);
    expect(p, "tangent");
    s.tangent = take_count(p);
    s.tangent_captured = take_count(p);
    s.name = take_name(p);
    vec_push(&p->module->implicits, s);
}

static void read_input(Parser *p) {
    Input input = {0};
    expect_number(p, p->module->inputs.len);
    expect(p, "type");
    input.type = take_type(p);
    input.name = take_name(p);
    vec_push(&p->module->inputs, input);
}

static void read_func(Parser *p) {
    expect_number(p, p->module->funcs.len);
    p->func = graph_func(p->module, take_name(p));
}

/* "%3 = add 0 (%1, %2) : scalar" */
static void read_node(Parser *p) {
    Func *f = graph_get(p->module, p->func);
    NodeData d = {0};
    p->at++;
    expect_number(p, f->nodes.len);
    if (!take_mark(p, '=')) fail(p, "`=` is missing");
    size_t n = peek_word(p);
    d.op = op_by_name(p->at, n);
    if (d.op == OP_NONE)
        fail(p, arena_format(p->module->arena, "there is no op `%.*s`", (int)(n > 40 ? 40 : n),
                             p->at));
    p->at += n;
    if (d.op == OP_CONST) {
        d.number = take_number(p);
    } else {
        /* index, or index.detail */
        char copy[32] = "", *stop;
        n = peek_word(p);
        memcpy(copy, p->at, n < sizeof copy ? n : 0);
        d.index = (uint32_t)strtoul(copy, &stop, 10);
        if (*stop == '.') d.detail = (uint32_t)strtoul(stop + 1, &stop, 10);
        if (n == 0 || n >= sizeof copy || *stop) fail(p, "an index is missing");
        p->at += n;
    }
    p->count = 0;
    skip_blanks(p);
    if (p->at < p->end && *p->at == '(') take_nodes(p);
    d.count = p->count;
    if (!take_mark(p, ':')) fail(p, "`:` is missing");
    d.type = take_type(p);
    if (p->wrong) return;
    Node made = graph_append(p->module, p->func, &d, p->numbers);
    if (d.op == OP_PARAM) {
        if (d.index != f->params.len) fail(p, "parameters must be numbered in order");
        vec_push(&f->params, made);
    }
}

static void read_results(Parser *p) {
    take_nodes(p);
    Func *f = graph_get(p->module, p->func);
    for (uint32_t i = 0; i < p->count && !p->wrong; i++) vec_push(&f->results, p->numbers[i]);
}

static void read_effect(Parser *p) {
    Effect effect = {0};
    effect.kind =
        (EffectKind)take_choice(p, graph_effect_words, EFFECT_WORDS, "a kind of effect is missing");
    effect.number = take_count(p);
    take_nodes(p);
    effect.count = p->count;
    effect.values = arena_copy(p->module->arena, p->numbers, sizeof(Node) * p->count);
    vec_push(&graph_get(p->module, p->func)->effects, effect);
}

static void read_line(Parser *p) {
    skip_blanks(p);
    bool in_func = p->func != 0;
    if (take(p, "grid"))
        read_grid(p);
    else if (take(p, "stencil"))
        read_stencil(p);
    else if (take(p, "conv"))
        read_conv(p);
    else if (take(p, "loop"))
        read_loop(p);
    else if (take(p, "implicit"))
        read_implicit(p);
    else if (take(p, "input"))
        read_input(p);
    else if (take(p, "func"))
        read_func(p);
    else if (take(p, "main"))
        p->module->main = take_count(p);
    else if (in_func && take(p, "results"))
        read_results(p);
    else if (in_func && take(p, "effect"))
        read_effect(p);
    else if (in_func && p->at < p->end && *p->at == '%')
        read_node(p);
    else
        fail(
            p,
            "a line that is none of grid, stencil, conv, loop, implicit, input, func, node, results, effect, main");
    if (!p->wrong && !end_of_line(p)) fail(p, "the line goes on where it should end");
}

static char *heap_format(const char *format, ...) __attribute__((format(printf, 1, 2)));
static char *heap_format(const char *format, ...) {
    Text text = {0};
    va_list args;
    va_start(args, format);
    text_vprintf(&text, format, args);
    va_end(args);
    return text.data;
}

Module *graph_read(Names *names, const char *text, size_t length, char **error) {
    Parser p = {.at = text, .end = text + length, .line = 1, .module = graph_new(names)};
    while (p.at < p.end && !p.wrong) {
        if (!end_of_line(&p)) read_line(&p);
        if (!p.wrong) next_line(&p);
    }
    char *message = NULL;
    if (p.wrong) {
        message = heap_format("line %u: %s", p.line, p.wrong);
    } else {
        const char *wrong = graph_verify(p.module);
        if (wrong) message = heap_format("line %u (the end): %s", p.line, wrong);
    }
    mem_free(p.numbers);
    if (!message) return p.module;
    graph_free(p.module);
    if (error)
        *error = message;
    else
        mem_free(message);
    return NULL;
}
