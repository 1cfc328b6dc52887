/* Plans from text: what print.c and kernel.c write, word by word. plan_verify says whether it is sound. */
#include "compiler/kernel/plan_ir.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MANY = 1000000 };

typedef struct {
    const char *at, *end;
    uint32_t line;
    Arena *arena;
    Plan *plan;
    char *error; /* the first one */
    char word[64];
} Reader;

static void fail(Reader *r, const char *what) {
    if (!r->error) r->error = arena_format(r->arena, "line %u: %s at '%s'", r->line, what, r->word);
}

/* The next word; empty at the end. Comments run from # to the end of the line. */
static const char *next(Reader *r) {
    while (r->at < r->end && (strchr(" \t\r\n", *r->at) || *r->at == '#')) {
        if (*r->at == '#')
            while (r->at < r->end && *r->at != '\n') r->at++;
        else
            r->line += *r->at++ == '\n';
    }
    size_t length = 0;
    while (r->at < r->end && *r->at && !strchr(" \t\r\n", *r->at)) {
        if (length < sizeof r->word - 1) r->word[length++] = *r->at;
        r->at++;
    }
    if (r->at < r->end && *r->at == 0) fail(r, "a zero byte");
    r->word[length] = 0;
    return r->word;
}

static bool is(Reader *r, const char *word) { return strcmp(r->word, word) == 0; }

static bool peek(Reader *r, const char *word) {
    Reader copy = *r;
    copy.error = NULL;
    next(&copy);
    return is(&copy, word);
}

static void expect(Reader *r, const char *word) {
    next(r);
    if (!is(r, word)) fail(r, arena_format(r->arena, "'%s' expected", word));
}

/* The number after `prefix` in a word. */
static uint32_t number_in(Reader *r, const char *word, const char *prefix) {
    char *end;
    size_t skip = strlen(prefix);
    if (strncmp(word, prefix, skip) != 0 || word[skip] < '0' || word[skip] > '9') {
        fail(r, "a number expected");
        return 0;
    }
    unsigned long value = strtoul(word + skip, &end, 10);
    if (*end || value > UINT32_MAX) fail(r, "a number expected");
    return (uint32_t)value;
}

static uint32_t number(Reader *r) { return number_in(r, next(r), ""); }

static uint32_t count(Reader *r) {
    uint32_t n = number(r);
    if (n > MANY || n > (uint64_t)(r->end - r->at)) {
        fail(r, "too long a list");
        return 0;
    }
    return r->error ? 0 : n;
}

static int32_t integer(Reader *r) {
    char *end;
    long value = strtol(next(r), &end, 10);
    if (end == r->word || *end || value < -10000 || value > 10000)
        fail(r, "a small integer expected");
    return (int32_t)value;
}

static uint32_t one_of(Reader *r, const char *const *names, uint32_t total, const char *what) {
    for (uint32_t i = 0; i < total; i++)
        if (is(r, names[i])) return i;
    fail(r, what);
    return 0;
}

/* ---- kernels ------------------------------------------------------------------------------ */

static const char *const side_names[] = {"periodic", "even", "odd", "slope", "ghost"};

static void read_shift(Reader *r, const Kernel *k, KNodeData *d) {
    d->operand[0] = number_in(r, next(r), "%");
    for (uint32_t a = 0; a < k->rank; a++) d->offset[a] = integer(r);
    for (uint32_t a = 0; a < k->rank; a++)
        for (int s = 0; s < 2; s++) {
            next(r);
            d->sides[a][s] = (SideKind)one_of(r, side_names, 5, "a side expected");
            while (r->at < r->end && *r->at == ' ') r->at++;
            if (r->at < r->end && *r->at == '%') d->value[a][s] = number_in(r, next(r), "%");
        }
}

static void read_node(Reader *r, Kernel *k) {
    KNodeData d;
    memset(&d, 0, sizeof d);
    if (number_in(r, r->word, "%") != k->nodes.len) fail(r, "nodes are numbered in order");
    expect(r, "=");
    next(r);
    for (KKind kind = K_NUMBER; kind < K_OP; kind++)
        if (is(r, kernel_kinds[kind])) d.kind = kind;
    switch (d.kind) {
    case K_NONE:
        d.kind = K_OP;
        d.op = op_by_name(r->word, strlen(r->word));
        if (d.op == OP_NONE || op_info(d.op)->class != CLASS_POINTWISE) {
            fail(r, "an op expected");
            return;
        }
        for (uint32_t i = 0; i < kernel_operands(&d); i++)
            d.operand[i] = number_in(r, next(r), "%");
        break;
    case K_NUMBER: d.number = strtod(next(r), NULL); break;
    case K_SCALAR:
    case K_COORD: d.index = number(r); break;
    case K_SHIFT:
    case K_UNSHIFT: read_shift(r, k, &d); break;
    default:
        d.index = number(r);
        d.detail = number(r);
        for (uint32_t a = 0; a < k->rank && kernel_shares(d.kind); a++) d.offset[a] = integer(r);
        break;
    }
    vec_push(&k->nodes, d);
}

static void read_reduction(Reader *r, Kernel *k) {
    next(r);
    KReduction red = {.op = op_by_name(r->word, strlen(r->word))};
    VEC(KNode) nodes = {0};
    for (;;) {
        while (r->at < r->end && *r->at == ' ') r->at++;
        if (r->at >= r->end || *r->at != '%' || r->error) break;
        KNode n = number_in(r, next(r), "%");
        vec_push(&nodes, n);
    }
    red.count = nodes.len;
    red.nodes = arena_copy(r->arena, nodes.data, sizeof(KNode) * nodes.len);
    vec_free(&nodes);
    vec_push(&k->reductions, red);
}

/* Numbers until the end of the line. */
static bool more_on_line(Reader *r) {
    while (r->at < r->end && *r->at == ' ') r->at++;
    return r->at < r->end && *r->at != '\n' && !r->error;
}

static void read_kernel(Reader *r) {
    Kernel *k = ARENA_NEW(r->arena, Kernel);
    vec_push(&r->plan->kernels, k);
    vec_push(&k->nodes, ((KNodeData){0}));
    expect(r, "kernel");
    number(r);
    expect(r, "rank");
    k->rank = number(r);
    if (k->rank < 1 || k->rank > MAX_RANK) fail(r, "a rank of 1 to 3 expected");
    VEC(uint32_t) ranks = {0};
    expect(r, "grids");
    while (more_on_line(r)) {
        uint32_t rank = number(r);
        vec_push(&ranks, rank);
    }
    k->grids = ranks.len;
    k->grid_rank = arena_copy(r->arena, ranks.data, sizeof(uint32_t) * ranks.len);
    vec_free(&ranks);
    expect(r, "fields");
    while (more_on_line(r)) {
        char *colon = strchr(next(r), ':');
        if (!colon) {
            fail(r, "grid:channels expected");
            break;
        }
        *colon = 0;
        KField f = {.grid = number_in(r, r->word, "")};
        f.channels = number_in(r, colon + 1, "");
        vec_push(&k->fields, f);
    }
    expect(r, "scalars");
    k->scalars = count(r);
    expect(r, "written");
    while (more_on_line(r)) {
        uint32_t channels = number(r);
        vec_push(&k->written, channels);
    }
    while (!r->error && strcmp(next(r), "end") != 0) {
        if (is(r, "store")) {
            KOutput o = {.node = number_in(r, next(r), "%")};
            o.field = number(r);
            o.channel = number(r);
            vec_push(&k->outputs, o);
        } else if (is(r, "reduce")) {
            read_reduction(r, k);
        } else {
            read_node(r, k);
        }
    }
}

/* ---- host functions -------------------------------------------------------------------------- */

static HReg reg(Reader *r) {
    next(r);
    return is(r, "-") ? NONE : number_in(r, r->word, "r");
}

static HReg named_reg(Reader *r, const char *word) {
    expect(r, word);
    return reg(r);
}

/* The word, how many there are, and so many of what `one` reads. */
static uint32_t *counted(Reader *r, const char *word, uint32_t *n, uint32_t (*one)(Reader *r)) {
    expect(r, word);
    *n = count(r);
    uint32_t *list = ARENA_ARRAY(r->arena, uint32_t, *n + 1);
    for (uint32_t i = 0; i < *n; i++) list[i] = one(r);
    return list;
}

static HReg *regs(Reader *r, const char *word, uint32_t *n) { return counted(r, word, n, reg); }

static uint32_t *numbers(Reader *r, const char *word, uint32_t *n) {
    return counted(r, word, n, number);
}

static void same(Reader *r, uint32_t a, uint32_t b) {
    if (a != b) fail(r, "lists of other lengths before this");
}

static void read_together(Reader *r, HInstr *h) {
    if (peek(r, "chain")) {
        expect(r, "chain");
        h->chain = number(r);
    }
    h->ahead = peek(r, "ahead");
    if (h->ahead) expect(r, "ahead");
    h->stays = peek(r, "stays");
    if (h->stays) expect(r, "stays");
}

static void read_launch(Reader *r, HInstr *h) {
    uint32_t n;
    h->kind = H_LAUNCH;
    h->index = number(r);
    if (h->index >= r->plan->kernels.len) {
        fail(r, "no such kernel");
        return;
    }
    const Kernel *k = r->plan->kernels.data[h->index];
    h->grids = numbers(r, "grids", &n);
    same(r, n, k->grids);
    h->fields = regs(r, "fields", &n);
    same(r, n, k->fields.len);
    expect(r, "scalars");
    n = count(r);
    same(r, n, k->scalars);
    h->scalars = ARENA_ARRAY(r->arena, HReg, n + 1);
    h->scalar_constant = ARENA_ARRAY(r->arena, uint32_t, n + 1);
    for (uint32_t i = 0; i < n; i++) {
        bool constant = *next(r) == 'c';
        uint32_t number = number_in(r, r->word, constant ? "c" : "r");
        h->scalars[i] = constant ? NONE : number;
        h->scalar_constant[i] = constant ? number : 0;
    }
    h->outputs = regs(r, "outputs", &n);
    same(r, n, k->written.len);
    h->reductions = regs(r, "reductions", &n);
    same(r, n, k->reductions.len);
    if (peek(r, "relay")) {
        expect(r, "relay");
        h->relay = number(r);
        expect(r, "own");
        h->own = number(r);
    }
    read_together(r, h);
}

static void read_block(Reader *r, HBlock *block, uint32_t depth);

static void read_tape(Reader *r, HLoop *l) {
    uint32_t n;
    l->tape = NONE;
    if (!peek(r, "tape")) return;
    expect(r, "tape");
    l->tape = number(r);
    l->keep = numbers(r, "keep", &l->kept);
    l->keep_kernel = numbers(r, "copies", &n);
    same(r, n, l->kept);
}

static void read_loop(Reader *r, HInstr *h, uint32_t depth) {
    HLoop *l = h->loop = ARENA_NEW(r->arena, HLoop);
    uint32_t n, init;
    l->number = number(r);
    expect(r, "progress");
    l->progress = number(r) != 0;
    l->count = named_reg(r, "count");
    expect(r, "limits");
    l->count_constant = number_in(r, next(r), "c");
    l->start_constant = number_in(r, next(r), "c");
    l->stride_constant = number_in(r, next(r), "c");
    l->k = named_reg(r, "k");
    l->stop = named_reg(r, "stop");
    l->steps = named_reg(r, "steps");
    l->init = regs(r, "init", &init);
    l->param = regs(r, "param", &l->states);
    if (h->kind == H_ADVANCE) l->init = NULL;
    same(r, init, h->kind == H_ADVANCE ? 0 : l->states);
    l->next = regs(r, "next", &n);
    same(r, n, l->states);
    l->result = regs(r, "result", &n);
    same(r, n, l->states);
    l->stack = regs(r, "stack", &l->collected);
    l->collect = numbers(r, "collect", &n);
    same(r, n, l->collected);
    l->stack_kernel = numbers(r, "copies", &n);
    same(r, n, l->collected);
    read_tape(r, l);
    if (peek(r, "together")) {
        expect(r, "together");
        l->together = number(r);
    }
    expect(r, "pools");
    l->pools = count(r);
    l->pool = ARENA_ARRAY(r->arena, struct HPool, l->pools + 1);
    for (uint32_t i = 0; i < l->pools && !r->error; i++) {
        expect(r, "pool");
        l->pool[i].grid = number(r);
        l->pool[i].channels = number(r);
        l->pool[i].slot = numbers(r, "slots", &l->pool[i].slots);
        l->pool[i].maker = regs(r, "makers", &l->pool[i].made);
    }
    expect(r, "{");
    l->body = ARENA_NEW(r->arena, HBlock);
    read_block(r, l->body, depth + 1);
}

static void read_instruction(Reader *r, HInstr *h, uint32_t depth) {
    *h = (HInstr){.dst = NONE,
                  .kind = (HKind)one_of(r, host_words, H_KINDS, "an instruction expected")};
    if (h->kind == H_LAUNCH) {
        read_launch(r, h);
        return;
    }
    if (host_is_loop(h->kind)) {
        read_loop(r, h, depth);
        return;
    }
    if (h->kind == H_OP) {
        next(r);
        h->op = op_by_name(r->word, strlen(r->word));
        if (op_info(h->op)->class != CLASS_POINTWISE) fail(r, "an op expected");
    } else {
        h->index = number(r);
    }
    if (h->kind == H_RANDOM) h->detail = number(r);
    if (h->kind == H_CONV) {
        uint32_t n;
        next(r);
        h->detail = one_of(r, conv_form_names, CONV_FORMS, "a form of a convolution expected");
        h->grids = numbers(r, "grids", &n);
        same(r, n, 2);
    }
    if (h->kind == H_TRIDIAG) {
        uint32_t n;
        h->detail = number(r);
        h->grids = numbers(r, "grids", &n);
        same(r, n, 1);
    }
    h->dst = named_reg(r, "to");
    h->args = regs(r, "args", &h->args_count);
    h->dsts = regs(r, "dsts", &h->dsts_count);
    read_together(r, h);
}

static void read_block(Reader *r, HBlock *block, uint32_t depth) {
    if (depth > 200) fail(r, "loops in too many loops");
    while (!r->error && strcmp(next(r), "}") != 0) {
        HInstr h;
        read_instruction(r, &h, depth);
        vec_push(&block->code, h);
    }
}

static void read_ways(Reader *r) {
    ConvWays ways = {{WAY_any}};
    for (uint32_t f = 0; f < CONV_FORMS; f++) {
        if (!peek(r, conv_form_names[f])) continue;
        next(r);
        next(r);
        ways.of[f] =
            (uint8_t)one_of(r, conv_way_names, CONV_WAYS, "a way to tile a convolution expected");
    }
    vec_push(&r->plan->ways, ways);
}

static void read_conv(Reader *r) {
    Conv c = {.size = {1, 1, 1}, .stride = {1, 1, 1}, .dilation = {1, 1, 1}};
    expect(r, "conv");
    expect(r, "rank");
    c.rank = number(r);
    expect(r, "in");
    c.in = number(r);
    expect(r, "out");
    c.out = number(r);
    expect(r, "groups");
    c.groups = number(r);
    for (uint32_t a = 0; a < c.rank && a < MAX_RANK; a++) {
        expect(r, "axis");
        c.size[a] = number(r);
        c.stride[a] = number(r);
        c.dilation[a] = number(r);
        for (int s = 0; s < 2; s++) c.sides[a][s] = (SideKind)number(r);
    }
    vec_push(&r->plan->convs, c);
    read_ways(r);
}

static Type read_type(Reader *r) {
    static const char *const names[] = {"scalar", "field", "stack"};
    next(r);
    Type t = {.kind = (TypeKind)one_of(r, names, 3, "a type expected"), .channels = 1};
    if (t.kind != TYPE_SCALAR) {
        t.grid = number(r);
        t.channels = number(r);
    }
    return t;
}

static uint32_t read_slots(Reader *r, const char *word, HSlot **slots) {
    expect(r, word);
    uint32_t n = count(r);
    *slots = mem_alloc(sizeof(HSlot) * (n + 1));
    for (uint32_t i = 0; i < n; i++) {
        char *colon = strchr(next(r), ':');
        (*slots)[i] = (HSlot){0};
        if (!colon) {
            fail(r, "grid:channels expected");
            continue;
        }
        *colon = 0;
        (*slots)[i].grid = number_in(r, r->word, "");
        (*slots)[i].channels = number_in(r, colon + 1, "");
    }
    return n;
}

static void read_func(Reader *r) {
    static const char *const places[] = {"none", "pointer", "slot", "pool", "result", "rows"};
    HFunc *f = ARENA_NEW(r->arena, HFunc);
    vec_push(&r->plan->funcs, f);
    expect(r, "func");
    number(r);
    expect(r, "regs");
    uint32_t n = count(r);
    for (uint32_t i = 0; i < n && !r->error; i++) {
        number_in(r, next(r), "r");
        HRegData d = {.type = read_type(r)};
        next(r);
        d.place = (HPlace)one_of(r, places, 6, "a place expected");
        d.place_index = number(r);
        vec_push(&f->regs, d);
    }
    f->slots.len = f->slots.cap = read_slots(r, "slots", &f->slots.data);
    f->partials.len = f->partials.cap = read_slots(r, "partials", &f->partials.data);
    expect(r, "tapes");
    f->tapes = count(r);
    HReg *list = regs(r, "params", &n);
    for (uint32_t i = 0; i < n; i++) vec_push(&f->params, list[i]);
    list = regs(r, "results", &n);
    for (uint32_t i = 0; i < n; i++) vec_push(&f->results, list[i]);
    expect(r, "{");
    read_block(r, &f->body, 0);
}

/* ---- the whole ------------------------------------------------------------------------------- */

static void read_grids(Reader *r) {
    Plan *p = r->plan;
    expect(r, "grids");
    p->grids = count(r);
    p->grid_rank = ARENA_ARRAY(r->arena, uint32_t, p->grids + 1);
    p->finer = ARENA_ARRAY(r->arena, GridId, p->grids + 1);
    p->smallest = arena_alloc(r->arena, sizeof *p->smallest * (p->grids + 1));
    for (GridId g = 1; g < p->grids && !r->error; g++) {
        long long least[MAX_RANK];
        if (sscanf(next(r), "%u:%u:%lld:%lld:%lld", &p->grid_rank[g], &p->finer[g], &least[0],
                   &least[1], &least[2]) != 5)
            fail(r, "rank:finer:least extents expected");
        for (uint32_t a = 0; a < MAX_RANK && !r->error; a++) p->smallest[g][a] = least[a];
    }
}

static void read_all(Reader *r) {
    Plan *p = r->plan;
    expect(r, "plan");
    p->f64 = strcmp(next(r), "f64") == 0;
    expect(r, "fma");
    p->fma = number(r) != 0;
    read_grids(r);
    expect(r, "inputs");
    for (uint32_t i = 0, n = count(r); i < n && !r->error; i++) {
        Type t = read_type(r);
        vec_push(&p->inputs, t);
    }
    expect(r, "kernels");
    for (uint32_t i = 0, n = count(r); i < n && !r->error; i++) read_kernel(r);
    expect(r, "convs");
    for (uint32_t i = 0, n = count(r); i < n && !r->error; i++) read_conv(r);
    expect(r, "funcs");
    for (uint32_t i = 0, n = count(r); i < n && !r->error; i++) read_func(r);
    if (peek(r, "constants")) {
        expect(r, "constants");
        for (uint32_t i = 0, n = count(r); i < n && !r->error; i++) {
            double value = strtod(next(r), NULL);
            vec_push(&p->constants, value);
        }
    }
    if (*next(r)) fail(r, "the end expected");
}

Plan *plan_read(const char *text, size_t length, Arena *arena, char **error) {
    Reader r = {.at = text,
                .end = text + length,
                .line = 1,
                .arena = arena,
                .plan = ARENA_NEW(arena, Plan)};
    r.plan->arena = arena;
    read_all(&r);
    plan_seal(r.plan);
    plan_number(r.plan);
    *error = r.error;
    if (!r.error) {
        const char *wrong = plan_verify(r.plan, arena);
        *error = wrong ? arena_format(arena, "%s", wrong) : NULL;
    }
    if (*error) return NULL;
    for (uint32_t i = 0; i < r.plan->kernels.len; i++)
        kernel_measure(r.plan->kernels.data[i], arena);
    return r.plan;
}
