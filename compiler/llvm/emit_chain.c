/* Chains (kernel/chain.c): convolutions, pointwise launches of what they make, and what is summed of that: its transposed
 * convolution, and gradients of weights.
 *
 * What rows are made of (emit_chain_rows.c): padded rows, parts, rings and turns, stands in the scratch
 * once for each call that may run at a time, which are fewer than the units: a place for each.
 *
 * Words of the launch: those of each convolution among the members, in order, then those of the launches, then the number of
 * places. Of those that go forward, CONV_MADE: where their padded rows are; of the transposed one, CONV_FIRST: where the parts
 * are, behind which stands its ring, CONV_MADE: what is made, or where the turns are; of gradients, CONV_FIRST: where the rows of
 * their field are, if the transposed convolution does not read it, CONV_SCRATCH: where their chunks are. */
#include "compiler/llvm/emit_chain.h"

const Kernel *chain_kernel(const Emit *e, const HInstr *h) {
    return e->plan->kernels.data[h->index];
}

static uint32_t launch_words(const Kernel *k) {
    return CHAIN_FIELDS + k->fields.len + k->scalars + k->written.len;
}

static uint32_t convs_before(const HInstr *first, uint32_t m) {
    uint32_t count = 0;
    for (uint32_t k = 0; k < m; k++) count += first[k].kind == H_CONV;
    return count;
}

static uint32_t words_before(const Plan *plan, const HInstr *first, uint32_t m) {
    uint32_t words = CONV_LAUNCH_WORDS * convs_before(first, first->chain + 1);
    for (uint32_t k = 0; k < m; k++)
        if (first[k].kind == H_LAUNCH) words += launch_words(plan->kernels.data[first[k].index]);
    return words;
}

uint32_t chain_words(const Plan *plan, const HBlock *block) {
    uint32_t most = 0;
    for (uint32_t i = 0; i < block->code.len; i++) {
        const HInstr *h = &block->code.data[i];
        uint32_t words = host_is_loop(h->kind) ? chain_words(plan, h->loop->body) : 0;
        if (h->chain && !(i > 0 && block->code.data[i - 1].chain))
            words = words_before(plan, h, h->chain + 1) + 1;
        most = words > most ? words : most;
    }
    return most;
}

static LLVMValueRef words_at(Emit *e, LLVMValueRef words, uint32_t word) {
    LLVMValueRef i = emit_i64(e, word);
    return LLVMBuildInBoundsGEP2(e->b, e->i64, words, &i, 1, "");
}

LLVMValueRef chain_word(const Chain *c, LLVMTypeRef type, uint32_t m, uint32_t word) {
    uint32_t at = c->first[m].kind == H_CONV ? CONV_LAUNCH_WORDS * convs_before(c->first, m)
                                             : words_before(c->e->plan, c->first, m);
    return emit_word(c->e, type, c->words, at + word, "");
}

LLVMValueRef chain_places(const Chain *c) {
    return emit_word(c->e, c->e->i64, c->words, words_before(c->e->plan, c->first, c->members),
                     "places");
}

/* ---- its members --------------------------------------------------------------------------------- */

uint32_t chain_ring_of(const Chain *c, HReg reg) {
    for (uint32_t r = 0; r < c->rings; r++)
        if (c->ring[r].reg == reg) return r;
    return NONE;
}

static void add_ring(Chain *c, HReg reg, uint32_t m) {
    if (chain_ring_of(c, reg) == NONE) c->ring[c->rings++] = (ChainRing){.reg = reg, .member = m};
}

/* Who is what; the transposed convolution has the first ring. */
static void find_members(Chain *c, Emit *e, const HInstr *first) {
    *c = (Chain){.e = e, .first = first, .members = first->chain + 1, .end = NONE};
    for (uint32_t m = 0; m < c->members; m++)
        if (chain_form(&first[m], CONV_TRANSPOSED)) c->last = m;
    if (first[c->members - 1].kind == H_LAUNCH) c->end = c->members - 1;
    add_ring(c, first[c->last].args[0], c->last);
    for (uint32_t m = 0; m < c->members; m++)
        if (chain_form(&first[m], CONV_WEIGHTS)) add_ring(c, first[m].args[1], m);
}

/* Opens the descriptions, whose sizes are in the words. */
static void open_members(Chain *c, LLVMValueRef words) {
    c->words = words;
    for (uint32_t m = 0; m < c->members; m++) {
        const HInstr *h = &c->first[m];
        LLVMValueRef at = words_at(c->e, words, CONV_LAUNCH_WORDS * convs_before(c->first, m));
        if (h->kind == H_CONV)
            conv_reopen(&c->conv[m], c->e, h->index, (ConvForm)h->detail, true, at);
    }
    c->to = &c->conv[c->last];
}

/* A function of (words, begin, end), as other kernels, in which the members are open. */
static LLVMValueRef begin_function(Chain *c, Emit *e, const HInstr *first, const char *name) {
    LLVMValueRef f = emit_function(e, name, e->kernel_type, false);
    LLVMPositionBuilderAtEnd(e->b, LLVMAppendBasicBlockInContext(e->context, f, "entry"));
    e->estimated = false;
    find_members(c, e, first);
    open_members(c, LLVMGetParam(f, 0));
    return f;
}

/* The member that pads what a gradient of weights multiplies. */
CE *chain_padded_for(Chain *c, uint32_t sums) {
    for (uint32_t m = 0; m < c->members; m++)
        if (chain_form(&c->first[m], CONV_FORWARD) && c->first[m].index == c->first[sums].index &&
            c->first[m].args[0] == c->first[sums].args[0])
            return &c->conv[m];
    return NULL; /* the verifier has seen one */
}

/* void total(words, begin, end): the chunks of member m, in order. */
static LLVMValueRef total_function(Emit *e, const HInstr *first, uint32_t m, const char *chain) {
    const char *name = arena_format(e->arena, "%s_total_%u", chain, m);
    LLVMValueRef f = LLVMGetNamedFunction(e->module, name);
    if (f) return f;
    Chain c;
    LLVMBasicBlockRef back = LLVMGetInsertBlock(e->b);
    f = begin_function(&c, e, first, name);
    CE *sum = &c.conv[m];
    sum->blocks = chain_chunks(&c).all;
    sum->layers = cv_int(sum, 1);
    sum->partial = cv_int(sum, 0);
    Counting units;
    conv_total(sum, cv_loop(sum, &units, LLVMGetParam(f, 1), LLVMGetParam(f, 2), 1));
    emit_loop_end(e, &units);
    LLVMBuildRetVoid(e->b);
    LLVMPositionBuilderAtEnd(e->b, back);
    return f;
}

/* ---- the function of a chain ------------------------------------------------------------------- */

/* A name that chains share if they do the same: what the members are, and who made what they read. */
static const char *chain_name(Emit *e, const HInstr *first) {
    Text name = {0};
    text_puts(&name, "pdn_chain");
    for (uint32_t m = 0; m <= first->chain; m++) {
        const HInstr *h = &first[m];
        uint32_t count = h->kind == H_CONV ? 2 : chain_kernel(e, h)->fields.len;
        text_printf(&name, "_%c%u", h->kind == H_CONV ? "ftw"[h->detail] : 'l', h->index);
        for (uint32_t i = 0; i < count; i++) {
            HReg reg = h->kind == H_CONV ? h->args[i] : h->fields[i];
            for (uint32_t k = 0; k < m; k++) {
                if (first[k].kind == H_CONV && (first[k].dst == reg || first[k].args[0] == reg))
                    text_printf(&name, ".%u%c%u", i, first[k].dst == reg ? 'm' : 'r', k);
                for (uint32_t o = 0;
                     first[k].kind == H_LAUNCH && o < chain_kernel(e, &first[k])->written.len; o++)
                    if (first[k].outputs[o] == reg) text_printf(&name, ".%um%uo%u", i, k, o);
            }
        }
    }
    const char *copy = arena_format(e->arena, "%s%s", name.data, e->program);
    text_free(&name);
    return copy;
}

/* void chain(words, begin, end), as other kernels. */
static LLVMValueRef chain_function(Emit *e, const HInstr *first, const char *name) {
    LLVMValueRef f = LLVMGetNamedFunction(e->module, name);
    if (f) return f;
    Chain c;
    LLVMBasicBlockRef back = LLVMGetInsertBlock(e->b);
    f = begin_function(&c, e, first, name);
    if (chain_by_channel(&c))
        chain_finish(&c, name);
    else
        open_chain_cells(&c);
    if (c.end != NONE) open_chain_end(&c);
    emit_chain_units(&c, LLVMGetParam(f, 1), LLVMGetParam(f, 2));
    LLVMBuildRetVoid(e->b);
    emit_flush(e, f);
    LLVMPositionBuilderAtEnd(e->b, back);
    return f;
}

/* void waiting(words, begin, end): rows of the launch that ends the chain. */
static LLVMValueRef waiting_function(Emit *e, const HInstr *first, const char *chain) {
    const char *name = arena_format(e->arena, "%s_waiting", chain);
    LLVMValueRef f = LLVMGetNamedFunction(e->module, name);
    if (f) return f;
    Chain c;
    Counting units;
    LLVMBasicBlockRef back = LLVMGetInsertBlock(e->b);
    f = begin_function(&c, e, first, name);
    open_chain_end(&c);
    end_waiting(&c, cv_loop(c.to, &units, LLVMGetParam(f, 1), LLVMGetParam(f, 2), 1));
    emit_loop_end(e, &units);
    LLVMBuildRetVoid(e->b);
    emit_flush(e, f);
    LLVMPositionBuilderAtEnd(e->b, back);
    return f;
}

/* ---- in the host program ------------------------------------------------------------------------- */

/* Where what stands in the scratch, in bytes: scratch of convolutions, or chunks of gradients, by member; padded rows; the
 * parts and the first ring; the other rings; turns of what is made; so many of each but the first. */
typedef struct {
    LLVMValueRef member[CHAIN_MEMBERS], rows[CHAIN_MEMBERS], parts, ring[CHAIN_MEMBERS], turns, all,
        places;
} Layout;

/* As many as parts of a launch may run at once; no more than there are units. */
static LLVMValueRef count_places(const Chain *c) {
    Emit *e = c->e;
    if (e->standalone) return emit_i64(e, 1); /* launches are one call */
    LLVMValueRef units = c->to->blocks, most = emit_min(e, cv_times(c->to, e->threads, 8), units);
    return cv_if(c->to, LLVMBuildICmp(e->b, LLVMIntEQ, e->threads, emit_i64(e, 0), ""), units,
                 most);
}

static LLVMValueRef lines(Emit *e, LLVMValueRef bytes) {
    return LLVMBuildAnd(e->b, plus(e, bytes, emit_i64(e, 63)), emit_i64(e, -64), "");
}

static Layout lay_out(const Chain *c) {
    Emit *e = c->e;
    CE *t = c->to;
    Layout l = {.places = count_places(c)};
    LLVMValueRef at = emit_i64(e, 0), size = emit_i64(e, e->size);
    for (uint32_t m = 0; m < c->members; m++) {
        if (c->first[m].kind != H_CONV) continue;
        l.member[m] = at;
        LLVMValueRef bytes = c->conv[m].bytes;
        if (chain_form(&c->first[m], CONV_WEIGHTS))
            bytes =
                mul(e, chain_chunks(c).all, emit_i64(e, conv_weights(c->conv[m].conv) * e->size));
        at = lines(e, plus(e, at, bytes));
        if (!chain_form(&c->first[m], CONV_FORWARD)) continue;
        l.rows[m] = at;
        LLVMValueRef numbers = cv_plus(t, mul(e, chain_unit_numbers(c, m), l.places), CONV_TILE);
        at = lines(e, plus(e, at, mul(e, numbers, size)));
    }
    l.parts = at;
    int64_t part = (int64_t)CHAIN_PART * e->lanes * chain_channels_before(c, c->members);
    LLVMValueRef numbers = mul(e, cv_plus(t, conv_ring_numbers(t), part), l.places);
    at = lines(e, plus(e, at, mul(e, cv_plus(t, numbers, CONV_TILE), size)));
    for (uint32_t r = 1; r < c->rings; r++) {
        l.ring[r] = at;
        at = lines(
            e, plus(e, at,
                    mul(e, cv_plus(t, mul(e, conv_ring_numbers(t), l.places), CONV_TILE), size)));
    }
    l.turns = at;
    if (c->end != NONE)
        at = lines(e, plus(e, at, mul(e, mul(e, chain_turn_numbers(c), l.places), size)));
    l.all = at;
    return l;
}

LLVMValueRef chain_bytes(Emit *e, const HInstr *first, LLVMValueRef grids) {
    Chain c;
    find_members(&c, e, first);
    uint32_t convs = convs_before(first, c.members);
    LLVMValueRef words =
        emit_variable(e, LLVMArrayType2(e->i64, convs * CONV_LAUNCH_WORDS), "words");
    for (uint32_t m = 0; m < c.members; m++)
        if (first[m].kind == H_CONV && first[m].detail != CONV_WEIGHTS)
            (void)emit_conv_bytes(e, &first[m], true, grid_at(e, grids, first[m].grids[0]),
                                  grid_at(e, grids, first[m].grids[1]),
                                  words_at(e, words, CONV_LAUNCH_WORDS * convs_before(first, m)));
    open_members(&c, words);
    return lay_out(&c).all;
}

/* The words of a convolution are h->words meanwhile. */
static void put_conv(HE *h, const Chain *c, const Layout *l, uint32_t m) {
    Emit *e = h->e;
    const HInstr *in = &c->first[m];
    LLVMValueRef none = LLVMConstNull(e->ptr), first = none, second = none, made = none;
    if (in->detail == CONV_FORWARD) first = h->regs[in->args[0]].value;
    if (in->detail == CONV_TRANSPOSED) first = bytes_on(e, h->scratch, l->parts);
    if (in->detail == CONV_WEIGHTS && chain_ring_of(c, in->args[1]) > 0)
        first = bytes_on(e, h->scratch, l->ring[chain_ring_of(c, in->args[1])]);
    if (in->detail != CONV_WEIGHTS) second = h->regs[in->args[1]].value;
    made =
        in->detail == CONV_FORWARD ? bytes_on(e, h->scratch, l->rows[m]) : field_place(h, in->dst);
    if (in->detail == CONV_TRANSPOSED && c->end != NONE) made = bytes_on(e, h->scratch, l->turns);
    LLVMValueRef words[CONV_OPERANDS] = {grid_at(e, h->grids, in->grids[0]),
                                         grid_at(e, h->grids, in->grids[1]),
                                         first,
                                         second,
                                         made,
                                         bytes_on(e, h->scratch, l->member[m])};
    for (uint32_t i = 0; i < CONV_OPERANDS; i++) put_word(h, i, words[i]);
}

/* `writes`: to whole fields. */
static void put_launch(HE *h, const HInstr *in, uint32_t word, bool writes) {
    Emit *e = h->e;
    const Kernel *k = chain_kernel(e, in);
    put_word(h, word + CHAIN_GRID, grid_at(e, h->grids, in->grids[0]));
    put_word(h, word + CHAIN_ROW_COUNT, rows_of(e, h->grids, in->grids[0]));
    put_word(h, word + CHAIN_PARTIALS, partials_of(h, in->grids[0]));
    for (uint32_t i = 0; i < k->fields.len; i++) {
        LLVMValueRef p = h->regs[in->fields[i]].value; /* of fields between: whatever it was */
        put_word(h, word + CHAIN_FIELDS + i, p ? p : LLVMConstNull(e->ptr));
    }
    for (uint32_t i = 0; i < k->scalars; i++)
        put_word(h, word + CHAIN_FIELDS + k->fields.len + i,
                 in->scalars[i] == NONE ? to_real(e, constant_f64(h, in->scalar_constant[i]))
                                        : h->regs[in->scalars[i]].value);
    for (uint32_t i = 0; writes && i < k->written.len; i++)
        put_word(h, word + CHAIN_FIELDS + k->fields.len + k->scalars + i,
                 field_place(h, in->outputs[i]));
}

static LLVMValueRef chain_work(HE *h, const Chain *c) {
    Emit *e = h->e;
    if (e->standalone) return NULL;
    LLVMValueRef cells = emit_cells(e, grid_at(e, h->grids, c->first->grids[1]), 2),
                 work = emit_i64(e, 0);
    for (uint32_t m = 0; m < c->members; m++) {
        const HInstr *in = &c->first[m];
        work =
            plus(e, work,
                 in->kind == H_CONV ? work_products(e, &e->plan->convs.data[in->index], cells)
                                    : work_kernel(e, chain_kernel(e, in), cells, c->to->made[1]));
    }
    return work;
}

/* Stages of convolutions that come before the chain, or after it. */
static void launch_stages(HE *h, const Chain *c, LLVMValueRef words, bool after) {
    for (uint32_t m = 0; m < c->members; m++) {
        const HInstr *in = &c->first[m];
        ConvLaunch stages[CONV_LAUNCHES];
        if (in->kind != H_CONV || in->detail == CONV_WEIGHTS) continue;
        h->words = words_at(h->e, words, CONV_LAUNCH_WORDS * convs_before(c->first, m));
        uint32_t count =
            emit_conv_launches(h->e, in, true, grid_at(h->e, h->grids, in->grids[0]),
                               grid_at(h->e, h->grids, in->grids[1]), h->words, stages);
        for (uint32_t i = 0; i < count; i++)
            if (stages[i].folds == after)
                launch(h, stages[i].function, stages[i].units, stages[i].work);
    }
    h->words = words;
}

static void launch_totals(HE *h, const Chain *c, const char *name) {
    Emit *e = h->e;
    for (uint32_t m = 0; m < c->members; m++) {
        const HInstr *in = &c->first[m];
        if (in->kind == H_LAUNCH) emit_totals(h, in);
        if (!chain_form(in, CONV_WEIGHTS)) continue;
        const Conv *conv = &e->plan->convs.data[in->index];
        LLVMValueRef work = e->standalone ? NULL : work_weights(e, conv, chain_chunks(c).all);
        launch(h, total_function(e, c->first, m, name),
               emit_i64(e, (conv_weights(conv) + 1023) / 1024), work);
    }
}

void emit_chain(HE *h, const HInstr *first) {
    Emit *e = h->e;
    Chain c;
    LLVMValueRef words = h->words;
    const char *name = chain_name(e, first);
    find_members(&c, e, first);
    for (uint32_t m = 0; m < c.members; m++)
        if (first[m].kind == H_CONV && first[m].detail != CONV_WEIGHTS)
            (void)emit_conv_bytes(e, &first[m], true, grid_at(e, h->grids, first[m].grids[0]),
                                  grid_at(e, h->grids, first[m].grids[1]),
                                  words_at(e, words, CONV_LAUNCH_WORDS * convs_before(first, m)));
    open_members(&c, words);
    Layout l = lay_out(&c);
    for (uint32_t m = 0; m < c.members; m++) {
        if (first[m].kind == H_LAUNCH) {
            put_launch(h, &first[m], words_before(e->plan, first, m), m == c.end);
            continue;
        }
        h->words = words_at(e, words, CONV_LAUNCH_WORDS * convs_before(first, m));
        put_conv(h, &c, &l, m);
        h->words = words;
    }
    put_word(h, words_before(e->plan, first, c.members), l.places);
    launch_stages(h, &c, words, false);
    launch(h, chain_function(e, first, name), c.to->blocks, chain_work(h, &c));
    if (c.end == NONE)
        launch_stages(h, &c, words, true);
    else if (end_waits(&c))
        launch(h, waiting_function(e, first, name), emit_i64(e, END_UNITS), end_work(h, &c));
    launch_totals(h, &c, name);
}
