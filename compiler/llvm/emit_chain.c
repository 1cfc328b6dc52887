/* Chains (kernel/chain.c): a convolution, pointwise launches of what it makes, the transposed convolution of that.
 *
 * A unit goes through some rows of what is made, a few at a time. Before these are summed (emit_conv_tile.c), the rows that
 * they read are made: a row of all channels of the convolution, to a place for one row, from there through the launches, a
 * vector of cells at a time, to a row of the padded array of the transposed convolution. Of that array only these
 * few rows exist; those that are read again move to its front. Units of one call follow one another in the rows of the
 * first; at their beginning they make some rows again that another call makes, too.
 *
 * Words of the launch: those of the convolution, those of its transpose, then the arguments of the launches. */
#include "compiler/llvm/emit_conv.h"
#include "compiler/llvm/emit_host.h"

enum { C_FIRST = 0, C_LAST = CONV_LAUNCH_WORDS, C_LAUNCHES = 2 * CONV_LAUNCH_WORDS };

/* Of a launch of a chain: where its words begin: a grid, its fields, its numbers. */
static uint32_t launch_words(const Kernel *k) { return 1 + k->fields.len + k->scalars; }

static uint32_t words_of(const Plan *plan, const HInstr *first) {
    uint32_t words = C_LAUNCHES;
    for (uint32_t m = 1; m < first->chain; m++) words += launch_words(plan->kernels.data[first[m].index]);
    return words;
}

uint32_t chain_words(const Plan *plan, const HBlock *block) {
    uint32_t most = 0;
    for (uint32_t i = 0; i < block->code.len; i++) {
        const HInstr *h = &block->code.data[i];
        uint32_t words = host_is_loop(h->kind) ? chain_words(plan, h->loop->body) : 0;
        if (h->kind == H_CONV && h->chain) words = words_of(plan, h);
        most = words > most ? words : most;
    }
    return most;
}

/* ---- pointwise launches ---------------------------------------------------------------------- */

/* Code that is written: member `m` at cells x … of row `y`. */
typedef struct {
    CE *from, *to;
    const HInstr *first;
    LLVMValueRef words, row, x, y, mask; /* row: of what the convolution makes; mask: lanes that are there, or NULL */
    ConvArray made;                      /* the row of what the convolution makes */
    LLVMValueRef **values;               /* by member and channel of all its outputs */
    LLVMValueRef *memo;                  /* of the member's nodes */
    LLVMValueRef **scalars;              /* by member and number: splats, of reciprocals after them */
} Chain;

static const Kernel *kernel_of(const Emit *e, const HInstr *h) { return e->plan->kernels.data[h->index]; }

static uint32_t words_before(const Chain *c, uint32_t m) {
    uint32_t word = C_LAUNCHES;
    for (uint32_t k = 1; k < m; k++) word += launch_words(kernel_of(c->from->e, &c->first[k]));
    return word;
}

/* Number of the channel of `reg` among those that member m writes; NONE: it does not write it. */
static uint32_t written_at(const Chain *c, uint32_t m, HReg reg) {
    const HInstr *h = &c->first[m];
    const Kernel *k = kernel_of(c->from->e, h);
    uint32_t channel = 0;
    for (uint32_t o = 0; o < k->written.len; channel += k->written.data[o++])
        if (h->outputs[o] == reg) return channel;
    return NONE;
}

static LLVMValueRef load_there(Chain *c, LLVMValueRef at) {
    CE *ce = c->from;
    Emit *e = ce->e;
    LLVMTypeRef v = cv_vector(ce);
    if (!c->mask) return cv_load(ce, v, at);
    LLVMValueRef args[4] = {at, LLVMConstInt(e->i32, e->size, false), c->mask, LLVMConstNull(v)};
    LLVMTypeRef types[2] = {v, e->ptr};
    unsigned id = LLVMLookupIntrinsicID("llvm.masked.load", 16);
    LLVMValueRef f = LLVMGetIntrinsicDeclaration(e->module, id, types, 2);
    return LLVMBuildCall2(e->b, LLVMIntrinsicGetType(e->context, id, types, 2), f, args, 4, "");
}

/* A channel of a field that member m reads, at the cells. */
static LLVMValueRef load_field(Chain *c, uint32_t m, uint32_t field, uint32_t channel) {
    CE *ce = c->from;
    HReg reg = c->first[m].fields[field];
    if (reg == c->first[0].dst) {
        LLVMValueRef row = cv_at(ce, c->made.base, cv_times(ce, c->made.channel, channel));
        return cv_load(ce, cv_vector(ce), cv_at(ce, row, c->x));
    }
    for (uint32_t k = 1; k < m; k++) {
        uint32_t at = written_at(c, k, reg);
        if (at != NONE) return c->values[k][at + channel];
    }
    uint32_t word = words_before(c, m);
    LLVMValueRef grid = emit_word(ce->e, ce->e->ptr, c->words, word, "grid");
    LLVMValueRef base = emit_word(ce->e, ce->e->ptr, c->words, word + 1 + field, "field");
    LLVMValueRef at = cv_times(ce, emit_word(ce->e, ce->e->i64, grid, GRID_CHANNEL, "channel"), channel);
    at = cv_add(ce, at, cv_mul(ce, c->y, emit_word(ce->e, ce->e->i64, grid, GRID_STRIDE + 1, "y")));
    return load_there(c, cv_at(ce, base, cv_add(ce, at, c->x)));
}

/* A number that member m is given, in all lanes; or its reciprocal. */
static LLVMValueRef scalar(Chain *c, uint32_t m, uint32_t number, bool reciprocal) {
    return c->scalars[m][number + (reciprocal ? kernel_of(c->from->e, &c->first[m])->scalars : 0)];
}

static LLVMValueRef evaluate(Chain *c, uint32_t m, KNode n) {
    Emit *e = c->from->e;
    const Kernel *k = kernel_of(e, &c->first[m]);
    const KNodeData *d = &k->nodes.data[n];
    LLVMValueRef x[3] = {NULL}, v;
    if (c->memo[n]) return c->memo[n];
    switch (d->kind) {
    case K_NUMBER: v = emit_number(e, cv_vector(c->from), d->number); break;
    case K_SCALAR: v = scalar(c, m, d->index, false); break;
    case K_LOAD: v = load_field(c, m, d->index, d->detail); break;
    case K_ENTRY: {
        LLVMValueRef base = emit_word(e, e->ptr, c->words, words_before(c, m) + 1 + d->index, "row");
        v = emit_splat(e, cv_load(c->from, e->real, cv_at(c->from, base, emit_i64(e, d->detail))));
        break;
    }
    default:
        for (uint32_t i = 0; i < kernel_operands(d); i++) x[i] = evaluate(c, m, d->operand[i]);
        if (d->op == OP_DIV && !e->plan->f64 && k->nodes.data[d->operand[1]].kind == K_SCALAR)
            v = LLVMBuildFMul(e->b, x[0], scalar(c, m, k->nodes.data[d->operand[1]].index, true), "");
        else
            v = emit_op(e, d->op, x);
    }
    return c->memo[n] = v;
}

/* All launches at some cells; what the last convolution reads goes to its row. */
static void emit_cells_of(Chain *c, const ConvArray *to) {
    Emit *e = c->from->e;
    HReg read = c->first[c->first->chain].args[0];
    for (uint32_t m = 1; m < c->first->chain; m++) {
        const Kernel *k = kernel_of(e, &c->first[m]);
        uint32_t channel = written_at(c, m, read), channels = 0;
        c->memo = ARENA_ARRAY(e->arena, LLVMValueRef, k->nodes.len);
        for (uint32_t o = 0; o < k->written.len; o++) channels += k->written.data[o];
        c->values[m] = ARENA_ARRAY(e->arena, LLVMValueRef, channels + 1);
        for (uint32_t i = 0; i < k->outputs.len; i++) {
            const KOutput *out = &k->outputs.data[i];
            uint32_t at = out->channel;
            for (uint32_t o = 0; o < out->field; o++) at += k->written.data[o];
            c->values[m][at] = evaluate(c, m, out->node);
            if (channel == NONE || at < channel || at >= channel + c->to->p.in) continue;
            LLVMValueRef row = cv_at(c->to, to->base, cv_times(c->to, to->channel, at - channel));
            cv_store(c->to, c->values[m][at], cv_at(c->to, row, c->x));
        }
    }
}

/* ---- rows ------------------------------------------------------------------------------------- */

/* Zeros to the numbers [from, from + count) of a row of every channel, and to some after them. */
static void clear_cells(CE *c, const ConvArray *row, LLVMValueRef from, LLVMValueRef count) {
    Counting channels, vectors;
    LLVMValueRef o = cv_loop(c, &channels, cv_int(c, 0), cv_int(c, c->p.in), 1);
    LLVMValueRef at = cv_at(c, row->base, cv_add(c, cv_mul(c, o, row->channel), from));
    LLVMValueRef i = cv_loop(c, &vectors, cv_int(c, 0), count, c->e->lanes);
    cv_store(c, emit_number(c->e, cv_vector(c), 0), cv_at(c, at, i));
    emit_loop_end(c->e, &vectors);
    emit_loop_end(c->e, &channels);
}

static bool reads_outside(const Chain *c) {
    for (uint32_t m = 1; m < c->first->chain; m++) {
        const Kernel *k = kernel_of(c->from->e, &c->first[m]);
        for (KNode n = 1; n < k->nodes.len; n++) {
            HReg reg = k->nodes.data[n].kind == K_LOAD ? c->first[m].fields[k->nodes.data[n].index] : NONE;
            bool inside = reg == NONE || reg == c->first[0].dst;
            for (uint32_t l = 1; l < m; l++) inside = inside || written_at(c, l, reg) != NONE;
            if (!inside) return true;
        }
    }
    return false;
}

/* The launches for a row of what the convolution made. */
static void emit_launches(Chain *c, const ConvArray *to) {
    CE *ce = c->from;
    Emit *e = ce->e;
    Counting cells;
    LLVMValueRef n = ce->made[0], zero = cv_int(ce, 0);
    bool outside = reads_outside(c); /* rows of the chain have room for whole vectors */
    LLVMValueRef end = outside ? cv_plus(ce, n, 1 - (int64_t)e->lanes) : n;
    e->in_kernel = true;
    c->x = cv_loop(ce, &cells, zero, end, e->lanes);
    emit_cells_of(c, to);
    emit_loop_end(e, &cells);
    if (outside) {
        Guard g;
        LLVMValueRef lane[64];
        c->x = LLVMBuildLoad2(e->b, e->i64, cells.variable, "");
        for (uint32_t l = 0; l < e->lanes; l++) lane[l] = emit_i64(e, l);
        cv_when(ce, &g, cv_less(ce, c->x, n));
        LLVMValueRef left = emit_splat(e, cv_sub(ce, n, c->x));
        c->mask = LLVMBuildICmp(e->b, LLVMIntSLT, LLVMConstVector(lane, e->lanes), left, "");
        emit_cells_of(c, to);
        c->mask = NULL;
        cv_end(ce, &g);
    }
    e->in_kernel = false;
}

/* Row `p` of the padded array of the transposed convolution, which goes to `to`. */
static void emit_padded_row(Chain *c, LLVMValueRef p, const ConvArray *to) {
    Emit *e = c->from->e;
    int64_t low[2] = {c->to->p.axis[0].low, c->to->p.axis[1].low};
    c->y = cv_plus(c->to, p, -low[1]);
    LLVMBasicBlockRef live = emit_block(e, "live"), dead = emit_block(e, "dead"), join = emit_block(e, "join");
    LLVMBuildCondBr(e->b, LLVMBuildICmp(e->b, LLVMIntULT, c->y, c->to->m[1], ""), live, dead);
    LLVMPositionBuilderAtEnd(e->b, live);
    ConvArray inside = *to;
    inside.base = cv_at(c->to, to->base, cv_int(c->to, low[0]));
    bool direct = c->first->chain == 1;
    clear_cells(c->to, to, cv_int(c->to, 0), cv_int(c->to, low[0]));
    conv_chain_row(c->from, c->y, direct ? &inside : &c->made);
    if (!direct) emit_launches(c, &inside);
    LLVMValueRef end = cv_plus(c->to, c->to->m[0], low[0]);
    clear_cells(c->to, to, end, cv_sub(c->to, c->to->extent[0], end));
    LLVMBuildBr(e->b, join);
    LLVMPositionBuilderAtEnd(e->b, dead);
    clear_cells(c->to, to, cv_int(c->to, 0), c->to->extent[0]);
    LLVMBuildBr(e->b, join);
    LLVMPositionBuilderAtEnd(e->b, join);
}

/* The last rows of a turn that the next one reads, too: to the front. */
static void move_rows(CE *c, const ConvArray *rows) {
    Counting vectors;
    LLVMValueRef from = cv_at(c, rows->base, cv_mul(c, c->turn, rows->y));
    LLVMValueRef count = cv_times(c, rows->y, (int64_t)c->conv->size[1] - 1);
    LLVMValueRef i = cv_loop(c, &vectors, cv_int(c, 0), count, c->e->lanes);
    cv_store(c, cv_load(c, cv_vector(c), cv_at(c, from, i)), cv_at(c, rows->base, i));
    emit_loop_end(c->e, &vectors);
}

/* ---- the function of a chain ------------------------------------------------------------------- */

static void load_scalars(Chain *c) {
    Emit *e = c->from->e;
    for (uint32_t m = 1; m < c->first->chain; m++) {
        const Kernel *k = kernel_of(e, &c->first[m]);
        c->scalars[m] = ARENA_ARRAY(e->arena, LLVMValueRef, 2 * k->scalars + 1);
        for (uint32_t i = 0; i < k->scalars; i++) {
            LLVMValueRef x = emit_word(e, e->real, c->words, words_before(c, m) + 1 + k->fields.len + i, "scalar");
            c->scalars[m][i] = emit_splat(e, x);
            c->scalars[m][k->scalars + i] = emit_splat(e, LLVMBuildFDiv(e->b, emit_real(e, 1), x, ""));
        }
    }
}

/* Bytes of the place for a row of what the convolution makes, of a unit. */
static LLVMValueRef made_bytes(CE *from, CE *to) {
    return cv_times(to, to->padded.channel, (int64_t)from->p.out * from->e->size);
}

/* Rows [y, end) of what is made, and the padded ones that they read beyond those that are there. */
static void emit_turn(Chain *c, const ConvArray *rows, LLVMValueRef y, LLVMValueRef end, LLVMValueRef done) {
    CE *t = c->to;
    Emit *e = t->e;
    Counting padded, tiles;
    LLVMValueRef last = cv_plus(t, end, (int64_t)t->conv->size[1] - 1);
    LLVMValueRef p = cv_loop(t, &padded, LLVMBuildLoad2(e->b, e->i64, done, ""), last, 1);
    ConvArray to = *rows;
    to.base = cv_at(t, rows->base, cv_mul(t, cv_sub(t, p, y), rows->y));
    emit_padded_row(c, p, &to);
    emit_loop_end(e, &padded);
    LLVMBuildStore(e->b, last, done);
    LLVMValueRef start = cv_at(t, rows->base, LLVMBuildNeg(e->b, cv_mul(t, y, rows->y), ""));
    conv_chain_tile(t, start, cv_loop(t, &tiles, y, end, t->tile.rows));
    emit_loop_end(e, &tiles);
}

static void emit_units(Chain *c, LLVMValueRef begin, LLVMValueRef stop) {
    CE *t = c->to;
    Emit *e = t->e;
    Counting turns;
    ConvArray rows = t->padded;
    rows.base = cv_at(t, conv_scratch(t, t->padded.base), cv_mul(t, begin, conv_turn_numbers(t)));
    c->made = (ConvArray){.channel = rows.channel};
    c->made.base = conv_scratch(t, cv_add(t, t->bytes, cv_mul(t, begin, made_bytes(c->from, t))));
    LLVMValueRef from = cv_mul(t, begin, t->block), to = emit_min(e, cv_mul(t, stop, t->block), t->made[1]);
    LLVMValueRef done = emit_variable(e, e->i64, "done");
    LLVMBuildStore(e->b, from, done);
    LLVMValueRef y = cv_loop(t, &turns, from, to, 0), next = cv_add(t, y, t->turn);
    Guard g;
    cv_when(t, &g, LLVMBuildICmp(e->b, LLVMIntNE, y, from, ""));
    move_rows(t, &rows);
    cv_end(t, &g);
    emit_turn(c, &rows, y, emit_min(e, next, to), done);
    turns.step = t->turn;
    emit_loop_end(e, &turns);
}

static LLVMValueRef words_at(Emit *e, LLVMValueRef words, uint32_t word) {
    LLVMValueRef i = emit_i64(e, word);
    return LLVMBuildInBoundsGEP2(e->b, e->i64, words, &i, 1, "");
}

/* A name that chains share if they do the same. */
static const char *chain_name(Emit *e, const HInstr *first) {
    Text name = {0};
    text_printf(&name, "pdn_chain_%u_%u", first->index, first[first->chain].index);
    for (uint32_t m = 1; m <= first->chain; m++) {
        const HInstr *h = &first[m];
        uint32_t count = h->kind == H_CONV ? 1 : kernel_of(e, h)->fields.len;
        if (h->kind == H_LAUNCH) text_printf(&name, "_%u", h->index);
        for (uint32_t i = 0; i < count; i++) { /* who made what it reads */
            HReg reg = h->kind == H_CONV ? h->args[0] : h->fields[i];
            if (reg == first->dst) text_printf(&name, ".%u.0", i);
            for (uint32_t k = 1; k < m; k++)
                for (uint32_t o = 0; o < kernel_of(e, &first[k])->written.len; o++)
                    if (first[k].outputs[o] == reg) text_printf(&name, ".%u.%u.%u", i, k, o);
        }
    }
    const char *copy = arena_format(e->arena, "%s", name.data);
    text_free(&name);
    return copy;
}

/* void chain(words, begin, end), as other kernels. */
static LLVMValueRef chain_function(Emit *e, const HInstr *first) {
    const HInstr *last = &first[first->chain];
    const char *name = chain_name(e, first);
    LLVMValueRef made = LLVMGetNamedFunction(e->module, name);
    if (made) return made;
    LLVMBasicBlockRef back = LLVMGetInsertBlock(e->b);
    LLVMValueRef f = emit_function(e, name, e->kernel_type, false), words = LLVMGetParam(f, 0);
    LLVMPositionBuilderAtEnd(e->b, LLVMAppendBasicBlockInContext(e->context, f, "entry"));
    CE from, to;
    conv_reopen(&from, e, first->index, CONV_FORWARD, true, words_at(e, words, C_FIRST));
    conv_reopen(&to, e, last->index, CONV_TRANSPOSED, true, words_at(e, words, C_LAST));
    Chain c = {.from = &from, .to = &to, .first = first, .words = words};
    c.values = ARENA_ARRAY(e->arena, LLVMValueRef *, first->chain + 1);
    c.scalars = ARENA_ARRAY(e->arena, LLVMValueRef *, first->chain + 1);
    load_scalars(&c);
    emit_units(&c, LLVMGetParam(f, 1), LLVMGetParam(f, 2));
    LLVMBuildRetVoid(e->b);
    LLVMPositionBuilderAtEnd(e->b, back);
    return f;
}

/* ---- in the host program ------------------------------------------------------------------------- */

LLVMValueRef chain_bytes(Emit *e, const HInstr *first, LLVMValueRef grids) {
    const HInstr *last = &first[first->chain];
    LLVMValueRef words = emit_variable(e, LLVMArrayType2(e->i64, CONV_LAUNCH_WORDS), "words");
    LLVMValueRef bytes =
        emit_conv_bytes(e, first, true, grid_at(e, grids, first->grids[0]), grid_at(e, grids, first->grids[1]), words);
    CE from, to;
    conv_reopen(&from, e, first->index, CONV_FORWARD, true, words);
    bytes = plus(
        e, bytes,
        emit_conv_bytes(e, last, true, grid_at(e, grids, last->grids[0]), grid_at(e, grids, last->grids[1]), words));
    conv_reopen(&to, e, last->index, CONV_TRANSPOSED, true, words);
    return plus(e, bytes, mul(e, made_bytes(&from, &to), to.blocks));
}

static void put_words(HE *h, const HInstr *in, LLVMValueRef first, LLVMValueRef made, LLVMValueRef scratch) {
    LLVMValueRef words[CONV_OPERANDS] = {grid_at(h->e, h->grids, in->grids[0]),
                                         grid_at(h->e, h->grids, in->grids[1]),
                                         first,
                                         h->regs[in->args[1]].value,
                                         made,
                                         scratch};
    for (uint32_t i = 0; i < CONV_OPERANDS; i++) put_word(h, i, words[i]);
}

/* Stages of a member, those that come after the chain or the others. */
static void launch_stages(HE *h, const ConvLaunch *stages, uint32_t count, bool after) {
    for (uint32_t i = 0; i < count; i++)
        if (stages[i].folds == after) launch(h, stages[i].function, stages[i].units, stages[i].work);
}

static void put_arguments(HE *h, const HInstr *first) {
    Emit *e = h->e;
    uint32_t word = C_LAUNCHES;
    for (uint32_t m = 1; m < first->chain; m++) {
        const HInstr *in = &first[m];
        const Kernel *k = kernel_of(e, in);
        put_word(h, word++, grid_at(e, h->grids, in->grids[0]));
        for (uint32_t i = 0; i < k->fields.len; i++) {
            LLVMValueRef p = h->regs[in->fields[i]].value;
            put_word(h, word++, p ? p : LLVMConstNull(e->ptr));
        }
        for (uint32_t i = 0; i < k->scalars; i++)
            put_word(h, word++,
                     in->scalars[i] == NONE ? to_real(e, constant_f64(h, in->scalar_constant[i]))
                                            : h->regs[in->scalars[i]].value);
    }
}

static LLVMValueRef chain_work(HE *h, const HInstr *first, LLVMValueRef rows) {
    Emit *e = h->e;
    if (e->standalone) return NULL;
    const HInstr *last = &first[first->chain];
    LLVMValueRef cells = emit_cells(e, grid_at(e, h->grids, first->grids[1]), 2);
    LLVMValueRef work = plus(e, work_products(e, &e->plan->convs.data[first->index], cells),
                             work_products(e, &e->plan->convs.data[last->index], cells));
    for (uint32_t m = 1; m < first->chain; m++)
        work = plus(e, work, work_kernel(e, kernel_of(e, &first[m]), cells, rows));
    return work;
}

void emit_chain(HE *h, const HInstr *first) {
    Emit *e = h->e;
    const HInstr *last = &first[first->chain];
    LLVMValueRef words = h->words, none = LLVMConstNull(e->ptr);
    ConvLaunch stages[2][CONV_LAUNCHES];
    uint32_t count[2];
    CE from, to;
    put_words(h, first, h->regs[first->args[0]].value, none, h->scratch);
    count[0] = emit_conv_launches(e, first, true, grid_at(e, h->grids, first->grids[0]),
                                  grid_at(e, h->grids, first->grids[1]), words, stages[0]);
    conv_reopen(&from, e, first->index, CONV_FORWARD, true, words);
    h->words = words_at(e, words, C_LAST);
    put_words(h, last, none, field_place(h, last->dst), bytes_on(e, h->scratch, from.bytes));
    count[1] = emit_conv_launches(e, last, true, grid_at(e, h->grids, last->grids[0]),
                                  grid_at(e, h->grids, last->grids[1]), h->words, stages[1]);
    conv_reopen(&to, e, last->index, CONV_TRANSPOSED, true, h->words);
    launch_stages(h, stages[1], count[1], false);
    h->words = words;
    launch_stages(h, stages[0], count[0], false);
    put_arguments(h, first);
    launch(h, chain_function(e, first), to.blocks, chain_work(h, first, to.made[1]));
    h->words = words_at(e, words, C_LAST);
    launch_stages(h, stages[1], count[1], true);
    h->words = words;
}
