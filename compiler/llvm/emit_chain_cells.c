/* The pointwise launches of a chain: a vector of cells of a row through all of them, with the arithmetic of kernels. */
#include "compiler/llvm/emit_chain.h"

#include <string.h>

/* Number of the channel of `reg` among those that member m writes; NONE: it does not write it. */
static uint32_t written_at(const Chain *c, uint32_t m, HReg reg) {
    const HInstr *h = &c->first[m];
    if (h->kind != H_LAUNCH) return NONE;
    const Kernel *k = chain_kernel(c->e, h);
    uint32_t channel = 0;
    for (uint32_t o = 0; o < k->written.len; channel += k->written.data[o++])
        if (h->outputs[o] == reg) return channel;
    return NONE;
}

static LLVMValueRef masked(Emit *e, const char *name, LLVMTypeRef v, LLVMValueRef *args) {
    LLVMTypeRef types[2] = {v, e->ptr};
    unsigned id = LLVMLookupIntrinsicID(name, strlen(name));
    LLVMValueRef f = LLVMGetIntrinsicDeclaration(e->module, id, types, 2);
    return LLVMBuildCall2(e->b, LLVMIntrinsicGetType(e->context, id, types, 2), f, args, 4, "");
}

static LLVMValueRef load_there(Chain *c, LLVMValueRef at) {
    Emit *e = c->e;
    LLVMTypeRef v = cv_vector(c->to);
    if (!c->mask) return cv_load(c->to, v, at);
    LLVMValueRef args[4] = {at, LLVMConstInt(e->i32, e->size, false), c->mask, LLVMConstNull(v)};
    return masked(e, "llvm.masked.load", v, args);
}

static void store_there(Chain *c, LLVMValueRef v, LLVMValueRef at) {
    Emit *e = c->e;
    LLVMValueRef args[4] = {v, at, LLVMConstInt(e->i32, e->size, false), c->mask};
    if (c->mask)
        masked(e, "llvm.masked.store", cv_vector(c->to), args);
    else
        cv_store(c->to, v, at);
}

/* Is the register made by a convolution before member m? NONE: by none. */
static uint32_t convolution_of(const Chain *c, HReg reg) {
    for (uint32_t k = 0; k < c->members; k++)
        if (c->first[k].kind == H_CONV && c->first[k].detail == CONV_FORWARD &&
            c->first[k].dst == reg)
            return k;
    return NONE;
}

static LLVMValueRef load_made(Chain *c, uint32_t conv, uint32_t channel) {
    CE *t = c->to;
    LLVMValueRef row = cv_at(t, c->made[conv].base, cv_times(t, c->made[conv].channel, channel));
    return cv_load(t, cv_vector(t), cv_at(t, row, cv_sub(t, c->x, c->from)));
}

/* The cells of a channel of a field as a whole, on the grid of member m. */
static LLVMValueRef cells_at(Chain *c, uint32_t m, LLVMValueRef base, uint32_t channel) {
    CE *t = c->to;
    Emit *e = c->e;
    LLVMValueRef grid = chain_word(c, e->ptr, m, CHAIN_GRID);
    LLVMValueRef at = cv_times(t, emit_word(e, e->i64, grid, GRID_CHANNEL, "channel"), channel);
    at = cv_add(t, at, cv_mul(t, c->y, emit_word(e, e->i64, grid, GRID_STRIDE + 1, "y")));
    return cv_at(t, base, cv_add(t, at, c->x));
}

/* A channel of a field that member m reads, at the cells. */
static LLVMValueRef load_field(Chain *c, uint32_t m, uint32_t field, uint32_t channel) {
    CE *t = c->to;
    Emit *e = c->e;
    HReg reg = c->first[m].fields[field];
    if (m == c->end && reg == c->first[c->last].dst)
        return cv_load(
            t, cv_vector(t),
            cv_at(t, c->row.base, cv_add(t, cv_times(t, c->row.channel, channel), c->x)));
    if (convolution_of(c, reg) != NONE) return load_made(c, convolution_of(c, reg), channel);
    for (uint32_t k = 0; k < m; k++) {
        uint32_t at = written_at(c, k, reg);
        if (at != NONE) return c->values[k][at + channel];
    }
    return load_there(c, cells_at(c, m, chain_word(c, e->ptr, m, CHAIN_FIELDS + field), channel));
}

/* A number that member m is given, in all lanes; or its reciprocal. */
static LLVMValueRef scalar(Chain *c, uint32_t m, uint32_t number, bool reciprocal) {
    return c->scalars[m][number + (reciprocal ? chain_kernel(c->e, &c->first[m])->scalars : 0)];
}

/* Of `vectors` vectors of cells. */
static LLVMValueRef *evaluate(Chain *c, uint32_t m, KNode n);

/* A division by a number that is the same at all cells is a product with its reciprocal. */
static bool by_scalar(const Chain *c, const Kernel *k, KNode n) {
    const KNodeData *d = &k->nodes.data[n];
    if (c->e->plan->f64 || c->e->machine.exact || d->kind != K_OP || d->op != OP_DIV) return false;
    return k->nodes.data[d->operand[1]].kind == K_SCALAR;
}

static LLVMValueRef divisor(Chain *c, uint32_t m, const KNodeData *division) {
    return scalar(c, m, chain_kernel(c->e, &c->first[m])->nodes.data[division->operand[1]].index,
                  true);
}

/* term + x / scalar */
static void add_divided(Chain *c, uint32_t m, KNode term, const KNodeData *division,
                        LLVMValueRef *out) {
    LLVMValueRef *a = evaluate(c, m, term), *x = evaluate(c, m, division->operand[0]);
    for (uint32_t v = 0; v < c->vectors; v++)
        out[v] = cv_fma(c->to, x[v], divisor(c, m, division), a[v]);
}

static void evaluate_op(Chain *c, uint32_t m, KNode n, LLVMValueRef *out) {
    const Kernel *k = chain_kernel(c->e, &c->first[m]);
    const KNodeData *d = &k->nodes.data[n];
    LLVMValueRef *x[3] = {NULL};
    for (uint32_t s = 0; s < 2 && d->op == OP_ADD; s++)
        if (by_scalar(c, k, d->operand[1 - s])) {
            add_divided(c, m, d->operand[s], &k->nodes.data[d->operand[1 - s]], out);
            return;
        }
    for (uint32_t i = 0; i < kernel_operands(d); i++) x[i] = evaluate(c, m, d->operand[i]);
    if (d->op == OP_DIV && !by_scalar(c, k, n)) {
        emit_quotients(c->e, x[0], x[1], out, c->vectors);
        return;
    }
    for (uint32_t v = 0; v < c->vectors; v++) {
        LLVMValueRef each[3] = {x[0] ? x[0][v] : NULL, x[1] ? x[1][v] : NULL,
                                x[2] ? x[2][v] : NULL};
        out[v] = by_scalar(c, k, n) ? LLVMBuildFMul(c->e->b, each[0], divisor(c, m, d), "")
                                    : emit_op(c->e, d->op, each);
    }
}

static LLVMValueRef evaluate_leaf(Chain *c, uint32_t m, const KNodeData *d, uint32_t vector) {
    Emit *e = c->e;
    switch (d->kind) {
    case K_NUMBER: return emit_number(e, cv_vector(c->to), d->number);
    case K_SCALAR: return scalar(c, m, d->index, false);
    case K_LOAD: return c->sum ? c->sum[vector] : load_field(c, m, d->index, d->detail);
    default: { /* K_ENTRY */
        LLVMValueRef base = chain_word(c, e->ptr, m, CHAIN_FIELDS + d->index),
                     at = emit_i64(e, d->detail);
        if (c->sum) at = plus(e, at, c->channel);
        return emit_splat(e, cv_load(c->to, e->real, cv_at(c->to, base, at)));
    }
    }
}

static LLVMValueRef *evaluate(Chain *c, uint32_t m, KNode n) {
    const KNodeData *d = &chain_kernel(c->e, &c->first[m])->nodes.data[n];
    if (c->memo[m][n]) return c->memo[m][n];
    LLVMValueRef *out = ARENA_ARRAY(c->e->arena, LLVMValueRef, c->vectors);
    if (d->kind == K_OP)
        evaluate_op(c, m, n, out);
    else
        for (uint32_t v = 0; v < c->vectors; v++) out[v] = evaluate_leaf(c, m, d, v);
    return c->memo[m][n] = out;
}

/* To the row of every field that is summed and is this register. */
static void store_to_rings(Chain *c, HReg reg, uint32_t channel, LLVMValueRef v) {
    for (uint32_t r = 0; r < c->rings; r++) {
        const ConvArray *to = &c->ring[r].row;
        if (c->ring[r].reg != reg) continue;
        LLVMValueRef row = cv_at(c->to, to->base, cv_times(c->to, to->channel, channel));
        cv_store(c->to, v, cv_at(c->to, row, c->x));
    }
}

/* ---- totals -------------------------------------------------------------------------------------- */

static LLVMTypeRef total_type(const Chain *c, Op op) {
    return op == OP_SUM ? c->e->f64 : c->e->real;
}

static void add_to_total(Chain *c, uint32_t m, uint32_t number, KNode n) {
    Emit *e = c->e;
    Op op = chain_kernel(e, &c->first[m])->reductions.data[number].op;
    LLVMTypeRef type = LLVMVectorType(total_type(c, op), e->lanes);
    LLVMValueRef v = evaluate(c, m, n)[0];
    if (type != cv_vector(c->to)) v = LLVMBuildFPExt(e->b, v, type, "");
    if (c->mask)
        v = LLVMBuildSelect(e->b, c->mask, v, emit_number(e, type, reduction_start(op)), "");
    LLVMValueRef old = LLVMBuildLoad2(e->b, type, c->total[number], "");
    LLVMBuildStore(e->b, emit_combine(e, op, old, v), c->total[number]);
}

static void start_totals(Chain *c, uint32_t m) {
    const Kernel *k = chain_kernel(c->e, &c->first[m]);
    for (uint32_t i = 0; i < k->reductions.len; i++) {
        Op op = k->reductions.data[i].op;
        LLVMTypeRef type = LLVMVectorType(total_type(c, op), c->e->lanes);
        LLVMBuildStore(c->e->b, emit_number(c->e, type, reduction_start(op)), c->total[i]);
    }
}

/* The total of a row, lanes first: a fixed tree. */
static void finish_totals(Chain *c, uint32_t m) {
    Emit *e = c->e;
    const Kernel *k = chain_kernel(e, &c->first[m]);
    for (uint32_t i = 0; i < k->reductions.len; i++) {
        Op op = k->reductions.data[i].op;
        LLVMValueRef lane[64];
        LLVMValueRef v =
            LLVMBuildLoad2(e->b, LLVMVectorType(total_type(c, op), e->lanes), c->total[i], "");
        for (uint32_t l = 0; l < e->lanes; l++)
            lane[l] = LLVMBuildExtractElement(e->b, v, LLVMConstInt(e->i32, l, false), "");
        for (uint32_t width = e->lanes; width > 1; width /= 2)
            for (uint32_t l = 0; l < width / 2; l++)
                lane[l] = emit_combine(e, op, lane[l], lane[l + width / 2]);
        LLVMValueRef sum = lane[0];
        if (LLVMTypeOf(sum) != e->f64) sum = LLVMBuildFPExt(e->b, sum, e->f64, "");
        LLVMValueRef at = mul(e, chain_word(c, e->i64, m, CHAIN_ROW_COUNT), emit_i64(e, i));
        at = plus(e, at, c->y);
        LLVMValueRef partials = chain_word(c, e->ptr, m, CHAIN_PARTIALS);
        LLVMBuildStore(e->b, sum, LLVMBuildInBoundsGEP2(e->b, e->f64, partials, &at, 1, ""));
    }
}

/* ---- rows ----------------------------------------------------------------------------------------- */

/* A launch at some cells, channel by channel, so that few values live at a time. */
static void emit_launch_cells(Chain *c, uint32_t m) {
    Emit *e = c->e;
    const HInstr *h = &c->first[m];
    const Kernel *k = chain_kernel(e, h);
    uint32_t channels = 0, most = 0;
    for (uint32_t o = 0; o < k->written.len; o++) {
        channels += k->written.data[o];
        most = k->written.data[o] > most ? k->written.data[o] : most;
    }
    for (uint32_t i = 0; i < k->reductions.len; i++)
        most = k->reductions.data[i].count > most ? k->reductions.data[i].count : most;
    c->vectors = 1;
    c->memo[m] = ARENA_ARRAY(e->arena, LLVMValueRef *, k->nodes.len);
    c->values[m] = ARENA_ARRAY(e->arena, LLVMValueRef, channels + 1);
    for (uint32_t channel = 0; channel < most; channel++) {
        for (uint32_t i = 0; i < k->outputs.len; i++) {
            const KOutput *out = &k->outputs.data[i];
            if (out->channel != channel) continue;
            LLVMValueRef v = evaluate(c, m, out->node)[0];
            c->values[m][written_at(c, m, h->outputs[out->field]) + channel] = v;
            store_to_rings(c, h->outputs[out->field], channel, v);
        }
        for (uint32_t i = 0; i < k->reductions.len; i++)
            if (channel < k->reductions.data[i].count)
                add_to_total(c, m, i, k->reductions.data[i].nodes[channel]);
    }
}

/* All launches at some cells. */
static void emit_cells_of(Chain *c) {
    for (uint32_t m = 0; m < c->last; m++) {
        const HInstr *h = &c->first[m];
        if (h->kind == H_LAUNCH) emit_launch_cells(c, m);
        if (h->kind != H_CONV || h->detail != CONV_FORWARD) continue;
        bool summed = false;
        for (uint32_t r = 0; r < c->rings; r++) summed = summed || c->ring[r].reg == h->dst;
        for (uint32_t o = 0; summed && o < c->conv[m].p.out; o++)
            store_to_rings(c, h->dst, o, load_made(c, m, o));
    }
}

static bool reads_outside(const Chain *c) {
    for (uint32_t m = 0; m < c->last; m++) {
        const Kernel *k = c->first[m].kind == H_LAUNCH ? chain_kernel(c->e, &c->first[m]) : NULL;
        if (k && k->reductions.len) return true;
        for (KNode n = 1; k && n < k->nodes.len; n++) {
            if (k->nodes.data[n].kind != K_LOAD) continue;
            HReg reg = c->first[m].fields[k->nodes.data[n].index];
            bool inside = convolution_of(c, reg) != NONE;
            for (uint32_t l = 0; l < m; l++) inside = inside || written_at(c, l, reg) != NONE;
            if (!inside) return true;
        }
    }
    return false;
}

void start_chain_cells(Chain *c) {
    for (uint32_t m = 0; m < c->last; m++)
        if (c->first[m].kind == H_LAUNCH) start_totals(c, m);
}

/* The cells of a last vector that are there. */
static void emit_last_cells(Chain *c, LLVMValueRef n, void (*body)(Chain *)) {
    CE *t = c->to;
    Emit *e = c->e;
    Guard g;
    LLVMValueRef lane[64];
    for (uint32_t l = 0; l < e->lanes; l++) lane[l] = emit_i64(e, l);
    cv_when(t, &g, cv_less(t, c->x, n));
    LLVMValueRef left = emit_splat(e, cv_sub(t, n, c->x));
    c->mask = LLVMBuildICmp(e->b, LLVMIntSLT, LLVMConstVector(lane, e->lanes), left, "");
    body(c);
    c->mask = NULL;
    cv_end(t, &g);
}

/* Cells [from, n), in whole vectors; beyond n there is room for them, or there is not. */
static void emit_vectors(Chain *c, LLVMValueRef from, LLVMValueRef n, bool room,
                         void (*body)(Chain *)) {
    CE *t = c->to;
    Emit *e = c->e;
    Counting cells;
    e->in_kernel = true;
    c->x = cv_loop(t, &cells, from, room ? n : cv_plus(t, n, 1 - (int64_t)e->lanes), e->lanes);
    body(c);
    emit_loop_end(e, &cells);
    if (!room) {
        c->x = LLVMBuildLoad2(e->b, e->i64, cells.variable, "");
        emit_last_cells(c, n, body);
    }
    e->in_kernel = false;
}

void emit_chain_cells(Chain *c, LLVMValueRef end) {
    LLVMValueRef n = emit_min(c->e, end, c->to->m[0]);
    emit_vectors(c, c->from, n, !reads_outside(c), emit_cells_of); /* rows of the chain have room */
}

void finish_chain_cells(Chain *c) {
    for (uint32_t m = 0; m < c->last; m++)
        if (c->first[m].kind == H_LAUNCH) finish_totals(c, m);
}

/* ---- in the tiles of the convolution ---------------------------------------------------------------- */

enum { FINISHER = 1 }; /* the launch's number among the members */

/* Is node b what node a is, for a channel that is so much higher? `same`: by node that was seen, its counterpart. */
static bool same_way(const Chain *c, KNode a, KNode b, uint32_t higher, KNode *same) {
    const KNodes *nodes = &chain_kernel(c->e, &c->first[FINISHER])->nodes;
    const KNodeData *x = &nodes->data[a], *y = &nodes->data[b];
    if (same[a]) return same[a] == b;
    same[a] = b;
    if (x->kind != y->kind) return false;
    switch (x->kind) {
    case K_NUMBER: return memcmp(&x->number, &y->number, sizeof x->number) == 0;
    case K_SCALAR: return x->index == y->index;
    case K_LOAD:
        if (c->first[FINISHER].fields[x->index] != c->first[0].dst || x->detail != 0) return false;
        return x->index == y->index && x->detail + higher == y->detail;
    case K_ENTRY: return x->index == y->index && x->detail + higher == y->detail;
    default: break;
    }
    if (x->kind != K_OP || x->op != y->op) return false;
    for (uint32_t i = 0; i < kernel_operands(x); i++)
        if (!same_way(c, x->operand[i], y->operand[i], higher, same)) return false;
    return true;
}

/* The node that is what the launch writes to a channel. */
static KNode written_node(const Kernel *k, uint32_t channel) {
    for (uint32_t i = 0; i < k->outputs.len; i++)
        if (k->outputs.data[i].channel == channel) return k->outputs.data[i].node;
    return 0;
}

bool chain_by_channel(const Chain *c) {
    if (c->last != 2 || c->members != 3 + (c->end != NONE)) return false;
    if (c->first[0].kind != H_CONV || c->first[FINISHER].kind != H_LAUNCH) return false;
    const Kernel *k = chain_kernel(c->e, &c->first[FINISHER]);
    if (k->reductions.len || k->written.len != 1 || k->written.data[0] != c->conv[0].p.out)
        return false;
    KNode *same = mem_alloc(sizeof *same * k->nodes.len), first = written_node(k, 0);
    bool all = first != 0;
    for (uint32_t o = 0; all && o < k->written.data[0]; o++) {
        memset(same, 0, sizeof *same * k->nodes.len);
        all = same_way(c, first, written_node(k, o), o, same);
    }
    mem_free(same);
    return all;
}

/* Context of the tiles: the words, then the numbers of the launch, then their reciprocals. */
static LLVMValueRef context_at(Emit *e, LLVMValueRef context, uint32_t number) {
    return bytes_on(e, context, emit_i64(e, 8 + (int64_t)number * e->size));
}

/* Vectors of channel `channel`, in a tile that sums them. */
static void finish_channel(const ConvFinish *finish, LLVMValueRef context, LLVMValueRef channel,
                           LLVMValueRef *sum, uint32_t vectors) {
    Chain c = *(const Chain *)finish->data;
    Emit *e = c.e;
    const Kernel *k = chain_kernel(e, &c.first[FINISHER]);
    LLVMValueRef *scalars = c.scalars[FINISHER] =
        ARENA_ARRAY(e->arena, LLVMValueRef, 2 * k->scalars + 1);
    c.memo[FINISHER] = ARENA_ARRAY(e->arena, LLVMValueRef *, k->nodes.len);
    c.words = LLVMBuildLoad2(e->b, e->ptr, context, "words");
    c.sum = sum;
    c.vectors = vectors;
    c.channel = channel;
    for (uint32_t i = 0; i < 2 * k->scalars; i++)
        scalars[i] = emit_splat(e, LLVMBuildLoad2(e->b, e->real, context_at(e, context, i), ""));
    e->in_kernel = true;
    const LLVMValueRef *v = evaluate(&c, FINISHER, written_node(k, 0));
    e->in_kernel = false;
    memcpy(sum, v, vectors * sizeof *sum);
}

void chain_finish(Chain *c, const char *name) {
    Emit *e = c->e;
    const Kernel *k = chain_kernel(e, &c->first[FINISHER]);
    LLVMTypeRef bytes =
        LLVMArrayType2(LLVMInt8TypeInContext(e->context), 8 + 2 * k->scalars * e->size);
    c->finish = (ConvFinish){.name = name, .data = c, .apply = finish_channel};
    c->conv[0].finish = &c->finish;
    c->context = emit_variable(e, bytes, "context");
    LLVMSetAlignment(c->context, 8);
    LLVMBuildStore(e->b, c->words, c->context);
    for (uint32_t i = 0; i < k->scalars; i++) {
        LLVMValueRef x = chain_word(c, e->real, FINISHER, CHAIN_FIELDS + k->fields.len + i);
        LLVMBuildStore(e->b, x, context_at(e, c->context, i));
        LLVMBuildStore(e->b, emit_reciprocal(e, x, emit_variable(e, e->real, "reciprocal")),
                       context_at(e, c->context, k->scalars + i));
    }
}

static void open_launch(Chain *c, uint32_t m) {
    Emit *e = c->e;
    const Kernel *k = chain_kernel(e, &c->first[m]);
    c->scalars[m] = ARENA_ARRAY(e->arena, LLVMValueRef, 2 * k->scalars + 1);
    for (uint32_t i = 0; i < k->scalars; i++) {
        LLVMValueRef x = chain_word(c, e->real, m, CHAIN_FIELDS + k->fields.len + i);
        c->scalars[m][i] = emit_splat(e, x);
        c->scalars[m][k->scalars + i] =
            emit_splat(e, emit_reciprocal(e, x, emit_variable(e, e->real, "reciprocal")));
    }
}

void open_chain_cells(Chain *c) {
    Emit *e = c->e;
    for (uint32_t m = 0; m < c->last; m++) {
        if (c->first[m].kind != H_LAUNCH) continue;
        const Kernel *k = chain_kernel(e, &c->first[m]);
        open_launch(c, m);
        for (uint32_t i = 0; i < k->reductions.len; i++)
            c->total[i] = emit_variable(
                e, LLVMVectorType(total_type(c, k->reductions.data[i].op), e->lanes), "total");
    }
}

/* ---- the launch that ends the chain -------------------------------------------------------------------- */

void open_chain_end(Chain *c) { open_launch(c, c->end); }

static void emit_end_cells(Chain *c) {
    const Kernel *k = chain_kernel(c->e, &c->first[c->end]);
    c->vectors = 1;
    c->memo[c->end] = ARENA_ARRAY(c->e->arena, LLVMValueRef *, k->nodes.len);
    for (uint32_t i = 0; i < k->outputs.len; i++) {
        const KOutput *out = &k->outputs.data[i];
        uint32_t word = CHAIN_FIELDS + k->fields.len + k->scalars + out->field;
        LLVMValueRef v = evaluate(c, c->end, out->node)[0];
        store_there(c, v,
                    cells_at(c, c->end, chain_word(c, c->e->ptr, c->end, word), out->channel));
    }
}

void emit_chain_end(Chain *c) {
    emit_vectors(c, cv_int(c->to, 0), c->to->n[0], false, emit_end_cells);
}
