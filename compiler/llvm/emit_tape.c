/* Loops that are gone through backwards: their tapes.
 *
 * A tape is a stack of states kept before some of the steps, in room for as many as the run's memory allows. The first of them
 * are the fields that the loop starts from, where these are (memory.c lets them stay).
 * Where the number of steps is known before, they are placed by the binomial schedule
 * (compiler/kernel/checkpoint.h); where a test ends the loop, before every step until there is no room, then
 * every second, fourth … is left. On the way back the last one before a step is where the loop starts again;
 * room that has become free keeps states on this way, by the same schedule. The steps are done again by the same
 * kernels, so gradients have the same bits for every size of the memory. */
#include "compiler/llvm/emit_host.h"

struct Tape {
    LLVMValueRef slots, per;     /* room for so many, bytes of each */
    LLVMValueRef position, base; /* by number in the stack: step; states */
    LLVMValueRef used, next,
        stride;                /* variables: number in the stack; step before which to keep again */
    LLVMValueRef steps, again; /* variables: done forwards; done again */
    LLVMValueRef target;       /* the step that is undone */
    LLVMValueRef *offset;      /* of each state, in a slot */
    LLVMValueRef *first;       /* of each state: what the loop starts from */
};

static LLVMValueRef load(Emit *e, LLVMValueRef variable) {
    return LLVMBuildLoad2(e->b, e->i64, variable, "");
}

static LLVMValueRef minus(Emit *e, LLVMValueRef a, LLVMValueRef b) {
    return LLVMBuildNSWSub(e->b, a, b, "");
}

static LLVMValueRef less(Emit *e, LLVMValueRef a, LLVMValueRef b) {
    return LLVMBuildICmp(e->b, LLVMIntSLT, a, b, "");
}

static LLVMValueRef equal(Emit *e, LLVMValueRef a, LLVMValueRef b) {
    return LLVMBuildICmp(e->b, LLVMIntEQ, a, b, "");
}

/* ---- the schedule ------------------------------------------------------------------------ */

/* int64 pdn_advance(int64 length, int64 free): checkpoint_advance of compiler/kernel/checkpoint.c. */
static LLVMValueRef advance_function(Emit *e) {
    if (e->advance) return e->advance;
    LLVMBasicBlockRef back = LLVMGetInsertBlock(e->b);
    LLVMTypeRef type = LLVMFunctionType(e->i64, (LLVMTypeRef[]){e->i64, e->i64}, 2, false);
    LLVMValueRef f = e->advance = emit_function(e, "pdn_advance", type, false);
    LLVMValueRef length = LLVMGetParam(f, 0), free = LLVMGetParam(f, 1), one = emit_i64(e, 1);
    LLVMPositionBuilderAtEnd(e->b, LLVMAppendBasicBlockInContext(e->context, f, "entry"));
    LLVMBasicBlockRef all = emit_block(e, "all"), some = emit_block(e, "some"),
                      every = emit_block(e, "every"), search = emit_block(e, "search");
    LLVMBuildCondBr(e->b, less(e, free, one), all, some);
    LLVMPositionBuilderAtEnd(e->b, all);
    LLVMBuildRet(e->b, length);
    LLVMPositionBuilderAtEnd(e->b, some);
    LLVMBuildCondBr(e->b, less(e, free, length), search, every);
    LLVMPositionBuilderAtEnd(e->b, every);
    LLVMBuildRet(e->b, one);
    LLVMPositionBuilderAtEnd(e->b, search);
    LLVMValueRef b[3], r = emit_variable(e, e->i64, "r"), s = plus(e, free, one);
    for (int i = 0; i < 3; i++) {
        b[i] = emit_variable(e, e->i64, "binomial");
        LLVMBuildStore(e->b, emit_i64(e, i == 0), b[i]);
    }
    LLVMBuildStore(e->b, emit_i64(e, 0), r);
    LLVMBasicBlockRef head = emit_block(e, "head"), body = emit_block(e, "more"),
                      done = emit_block(e, "done");
    LLVMBuildBr(e->b, head);
    LLVMPositionBuilderAtEnd(e->b, head);
    LLVMBuildCondBr(e->b, less(e, load(e, b[0]), length), body, done);
    LLVMPositionBuilderAtEnd(e->b, body);
    LLVMValueRef now = plus(e, load(e, r), one);
    LLVMBuildStore(e->b, now, r);
    LLVMBuildStore(e->b, load(e, b[1]), b[2]);
    LLVMBuildStore(e->b, load(e, b[0]), b[1]);
    LLVMValueRef grown = mul(e, load(e, b[1]), plus(e, s, now));
    LLVMBuildStore(e->b, LLVMBuildSDiv(e->b, grown, now, ""), b[0]);
    LLVMBuildBr(e->b, head);
    LLVMPositionBuilderAtEnd(e->b, done);
    LLVMValueRef advance = minus(e, length, minus(e, load(e, b[0]), load(e, b[1])));
    LLVMBuildRet(e->b, emit_max(e, emit_max(e, advance, load(e, b[2])), one));
    LLVMPositionBuilderAtEnd(e->b, back);
    return f;
}

/* After a state was kept before step `from`, when a chain up to `end` is to be undone. */
static void set_next(Emit *e, const Tape *t, LLVMValueRef from, LLVMValueRef end) {
    LLVMValueRef f = advance_function(e);
    LLVMValueRef args[2] = {minus(e, end, from), minus(e, t->slots, load(e, t->used))};
    LLVMValueRef steps = LLVMBuildCall2(e->b, LLVMGlobalGetValueType(f), f, args, 2, "");
    LLVMBuildStore(e->b, plus(e, from, steps), t->next);
}

/* ---- room -------------------------------------------------------------------------------- */

static LLVMValueRef lines(Emit *e, LLVMValueRef bytes) {
    return LLVMBuildAnd(e->b, plus(e, bytes, emit_i64(e, 63)), emit_i64(e, -64), "");
}

/* Bytes of the kept states of one step; their places, if asked for. */
static LLVMValueRef slot_size(HE *h, const HLoop *l, LLVMValueRef *offset) {
    LLVMValueRef at = emit_i64(h->e, 0);
    for (uint32_t i = 0; i < l->kept; i++) {
        Type t = h->f->regs.data[l->param[l->keep[i]]].type;
        if (offset) offset[i] = at;
        at = plus(h->e, at, lines(h->e, field_bytes(h->e, h->grids, t.grid, t.channels)));
    }
    return at;
}

LLVMValueRef host_number(HE *h, uint32_t word) {
    Emit *e = h->e;
    if (e->standalone) return emit_i64(e, 0);
    LLVMValueRef none = emit_variable(e, LLVMArrayType2(e->i64, word + 1), "none"),
                 last = emit_i64(e, word);
    LLVMBuildStore(e->b, emit_i64(e, 0), LLVMBuildInBoundsGEP2(e->b, e->i64, none, &last, 1, ""));
    LLVMValueRef host = pointer_at(e, e->ptr, h->run, RUN_HOST, "host");
    host = LLVMBuildSelect(e->b, LLVMBuildIsNull(e->b, host, ""), none, host, "");
    return emit_word(e, e->i64, host, word, "");
}

static LLVMValueRef memory_of(HE *h) {
    Emit *e = h->e;
    LLVMValueRef standard = emit_i64(e, PDN_MEMORY_DEFAULT), bytes = host_number(h, HOST_MEMORY);
    return LLVMBuildSelect(e->b, less(e, emit_i64(e, 0), bytes), bytes, standard, "");
}

/* All tapes of a program have equal parts of the memory; a tape has room for one state at least. */
static LLVMValueRef slots_for(HE *h, LLVMValueRef per, LLVMValueRef count) {
    Emit *e = h->e;
    uint32_t tapes = 0;
    for (uint32_t i = 0; i < e->plan->funcs.len; i++) tapes += e->plan->funcs.data[i]->tapes;
    LLVMValueRef part = LLVMBuildSDiv(e->b, memory_of(h), emit_i64(e, tapes), "");
    LLVMValueRef slots = LLVMBuildSDiv(e->b, part, plus(e, per, emit_i64(e, 8)), "");
    slots = emit_min(e, slots, count ? count : emit_i64(e, INT32_MAX));
    return emit_max(e, slots, emit_i64(e, 1));
}

LLVMValueRef tape_bytes(HE *h, const HLoop *l, LLVMValueRef count) {
    Emit *e = h->e;
    if (l->kept == 0) return emit_i64(e, 0);
    LLVMValueRef per = slot_size(h, l, NULL), slots = slots_for(h, per, count);
    return slot_bytes(e, plus(e, lines(e, mul(e, slots, emit_i64(e, 8))), mul(e, slots, per)));
}

void tape_start(HE *h, const HLoop *l, const LoopValues *v) {
    Emit *e = h->e;
    Tape *t = h->tapes[l->tape] = ARENA_NEW(e->arena, Tape);
    LLVMValueRef *variables[] = {&t->used, &t->next, &t->again, &t->steps, &t->stride};
    for (int i = 0; i < 5; i++) {
        *variables[i] = emit_variable(e, e->i64, "tape");
        LLVMBuildStore(e->b, emit_i64(e, i == 4), *variables[i]);
    }
    t->offset = ARENA_ARRAY(e->arena, LLVMValueRef, l->kept + 1);
    t->per = slot_size(h, l, t->offset);
    t->first = ARENA_ARRAY(e->arena, LLVMValueRef, l->kept + 1);
    for (uint32_t k = 0; k < l->kept; k++) t->first[k] = h->regs[l->init[l->keep[k]]].value;
    LLVMValueRef count = emit_max(e, v->count, emit_i64(e, 1));
    t->slots = slots_for(h, t->per, count);
    if (l->kept == 0) return;
    t->position = LLVMBuildLoad2(e->b, e->ptr, h->top, "tape");
    t->base = bytes_on(e, t->position, lines(e, mul(e, t->slots, emit_i64(e, 8))));
    LLVMBuildStore(e->b, bytes_on(e, t->position, tape_bytes(h, l, count)), h->top);
}

void tape_done(HE *h, const HLoop *l, LLVMValueRef steps) {
    LLVMBuildStore(h->e->b, steps, h->tapes[l->tape]->steps);
}

/* ---- keeping ------------------------------------------------------------------------------- */

static LLVMValueRef place_of(Emit *e, const Tape *t, LLVMValueRef number, uint32_t state) {
    return bytes_on(e, t->base, plus(e, mul(e, number, t->per), t->offset[state]));
}

static LLVMValueRef position_at(Emit *e, const Tape *t, LLVMValueRef number) {
    return LLVMBuildInBoundsGEP2(e->b, e->i64, t->position, &number, 1, "");
}

static void push(HE *h, const HLoop *l, const Tape *t, LLVMValueRef i) {
    Emit *e = h->e;
    LLVMValueRef used = load(e, t->used);
    for (uint32_t k = 0; k < l->kept; k++) {
        HReg state = l->param[l->keep[k]];
        Type type = h->f->regs.data[state].type;
        LLVMValueRef to = place_of(e, t, used, k);
        if (type.kind == TYPE_SCALAR) {
            LLVMBuildStore(e->b, h->regs[state].value, to);
            continue;
        }
        LLVMValueRef away = LLVMBuildICmp(e->b, LLVMIntNE, h->regs[state].value, to, "");
        away = LLVMBuildAnd(e->b, away, less(e, emit_i64(e, 0), used), "");
        /* else it was made there (tape_places), or is one of the first */
        LLVMBasicBlockRef go = emit_if_begin(e, away);
        emit_copy(h, l->keep_kernel[k], type.grid, h->regs[state].value, to);
        emit_if_end(e, go);
    }
    LLVMBuildStore(e->b, i, position_at(e, t, used));
    LLVMBuildStore(e->b, plus(e, used, emit_i64(e, 1)), t->used);
}

/* Is the register the next value of kept state `k` and of nothing else, and does nothing hand that state's value on? */
static bool is_own(const HLoop *l, uint32_t k, HReg maker) {
    uint32_t state = l->keep[k], uses = 0;
    for (uint32_t s = 0; s < l->states; s++) {
        uses += l->next[s] == maker;
        if (l->next[s] == l->param[state]) return false;
    }
    return uses == 1 && l->next[state] == maker;
}

void tape_places(HE *h, const HLoop *l, const LoopValues *v, LLVMValueRef i) {
    Emit *e = h->e;
    const Tape *t = h->tapes[l->tape];
    if (l->kept == 0 || l->stop != NONE) return;
    LLVMValueRef step = plus(e, i, emit_i64(e, 1)), used = load(e, t->used);
    LLVMValueRef kept =
        LLVMBuildAnd(e->b, equal(e, step, load(e, t->next)), less(e, step, v->count), "");
    kept = LLVMBuildAnd(e->b, kept, less(e, used, t->slots), "");
    for (uint32_t p = 0; p < l->pools; p++)
        for (uint32_t m = 0; m < l->pool[p].made; m++)
            for (uint32_t k = 0; k < l->kept; k++) {
                HReg maker = l->pool[p].maker[m];
                if (!is_own(l, k, maker)) continue;
                LLVMValueRef *value = &h->regs[maker].value;
                *value = LLVMBuildSelect(e->b, kept, place_of(e, t, used, k), *value, "");
            }
}

/* Every second state goes. */
static void thin_out(HE *h, const HLoop *l, const Tape *t) {
    Emit *e = h->e;
    Counting c;
    LLVMValueRef one = emit_i64(e, 1);
    LLVMValueRef left = LLVMBuildLShr(e->b, plus(e, load(e, t->used), one), one, "");
    LLVMValueRef to = emit_loop_begin(e, &c, one, left, one, "to");
    LLVMValueRef from = LLVMBuildShl(e->b, to, one, "");
    for (uint32_t k = 0; k < l->kept; k++) {
        Type type = h->f->regs.data[l->param[l->keep[k]]].type;
        LLVMValueRef a = place_of(e, t, from, k), b = place_of(e, t, to, k);
        if (type.kind == TYPE_SCALAR)
            LLVMBuildStore(e->b, LLVMBuildLoad2(e->b, e->real, a, ""), b);
        else
            emit_copy(h, l->keep_kernel[k], type.grid, a, b);
    }
    LLVMBuildStore(e->b, load(e, position_at(e, t, from)), position_at(e, t, to));
    emit_loop_end(e, &c);
    LLVMBuildStore(e->b, left, t->used);
    LLVMBuildStore(e->b, LLVMBuildShl(e->b, load(e, t->stride), one, ""), t->stride);
}

void tape_keep(HE *h, const HLoop *l, const LoopValues *v, LLVMValueRef i) {
    Emit *e = h->e;
    const Tape *t = h->tapes[l->tape];
    if (l->kept == 0) return;
    if (l->stop == NONE) {
        LLVMBasicBlockRef go = emit_if_begin(e, equal(e, i, load(e, t->next)));
        push(h, l, t, i);
        set_next(e, t, i, plus(e, v->count, emit_i64(e, 1)));
        emit_if_end(e, go);
        return;
    }
    LLVMValueRef zero = emit_i64(e, 0);
    LLVMValueRef rest = LLVMBuildSRem(e->b, i, load(e, t->stride), "");
    LLVMValueRef full = equal(e, load(e, t->used), t->slots);
    LLVMBasicBlockRef go = emit_if_begin(e, LLVMBuildAnd(e->b, full, equal(e, rest, zero), ""));
    thin_out(h, l, t);
    emit_if_end(e, go);
    rest = LLVMBuildSRem(e->b, i, load(e, t->stride), "");
    LLVMValueRef room = less(e, load(e, t->used), t->slots);
    go = emit_if_begin(e, LLVMBuildAnd(e->b, room, equal(e, rest, zero), ""));
    push(h, l, t, i);
    emit_if_end(e, go);
}

/* ---- backwards ------------------------------------------------------------------------------ */

/* Do the states kept before the step that is undone, the last on the tape, stay there until the next step back is over? That needs no
 * steps again, as this one, and so it keeps none in their place. */
static LLVMValueRef stay(Emit *e, const Tape *t, LLVMValueRef last, LLVMValueRef at) {
    LLVMValueRef zero = emit_i64(e, 0), one = emit_i64(e, 1),
                 before = emit_max(e, minus(e, last, one), zero);
    LLVMValueRef next = equal(e, load(e, position_at(e, t, before)), minus(e, t->target, one));
    next = LLVMBuildOr(e->b, next, equal(e, last, zero), "");
    return LLVMBuildAnd(e->b, next, equal(e, at, t->target), "");
}

void emit_staying(HE *h, const HInstr *in) {
    Emit *e = h->e;
    LLVMValueRef *to = &h->regs[in->outputs[0]].value;
    LLVMBasicBlockRef go = emit_if_begin(e, LLVMBuildNot(e->b, h->stays, ""));
    emit_instruction(h, in);
    emit_if_end(e, go);
    *to = LLVMBuildSelect(e->b, h->stays, h->regs[in->fields[0]].value, *to, "");
}

void emit_advance(HE *h, const HLoop *l) {
    Emit *e = h->e;
    const Tape *t = h->tapes[l->tape];
    h->regs[l->steps].value = emit_real(e, 0);
    if (l->kept == 0) return;
    LoopValues v = {.start = constant_f64(h, l->start_constant)};
    LLVMValueRef one = emit_i64(e, 1), last = minus(e, load(e, t->used), one);
    LLVMValueRef at = load(e, position_at(e, t, last)), end = plus(e, t->target, one);
    h->stays = stay(e, t, last, at);
    loop_states(h, l, &v);
    for (uint32_t s = 0; s < l->states; s++) {
        LLVMValueRef state = place_of(e, t, last, s), begins = equal(e, last, emit_i64(e, 0));
        if (h->f->regs.data[l->param[s]].type.kind == TYPE_SCALAR)
            state = LLVMBuildLoad2(e->b, e->real, state, "");
        else
            state = LLVMBuildSelect(e->b, begins, t->first[s], state, "");
        LLVMBuildStore(e->b, state, v.state[s]);
    }
    set_next(e, t, at, end);
    LLVMValueRef again = plus(e, load(e, t->again), minus(e, t->target, at));
    LLVMBuildStore(e->b, again, t->again);
    Counting c;
    LLVMValueRef i = emit_loop_begin(e, &c, at, t->target, one, "i");
    loop_load(h, l, &v);
    LLVMBasicBlockRef go = emit_if_begin(e, equal(e, i, load(e, t->next)));
    push(h, l, t, i);
    set_next(e, t, i, end);
    emit_if_end(e, go);
    loop_step(h, l, &v, i);
    emit_loop_end(e, &c);
    loop_results(h, l, &v);
}

static void report_tape(HE *h, const HLoop *l, const Tape *t) {
    Emit *e = h->e;
    if (e->standalone) return;
    LLVMValueRef f = pointer_at(e, e->ptr, h->host, HOST_KEPT, "");
    LLVMBasicBlockRef go = emit_if_begin(e, LLVMBuildIsNotNull(e->b, f, ""));
    LLVMValueRef args[6] = {NULL,
                            LLVMConstInt(e->i32, l->number, false),
                            load(e, t->steps),
                            t->slots,
                            load(e, t->again),
                            mul(e, t->slots, t->per)};
    host_call(h, HOST_KEPT, e->none, args, 6);
    emit_if_end(e, go);
}

void emit_back(HE *h, const HLoop *l) {
    Emit *e = h->e;
    Tape *t = h->tapes[l->tape];
    LoopValues v = {.start = constant_f64(h, l->start_constant)};
    LLVMValueRef one = emit_i64(e, 1), steps = load(e, t->steps);
    v.i = emit_variable(e, e->i64, "i");
    LLVMBuildStore(e->b, steps, v.i);
    loop_states(h, l, &v);
    LLVMBasicBlockRef head = emit_block(e, "back"), body = emit_block(e, "undo"),
                      exit = emit_block(e, "end");
    LLVMBuildBr(e->b, head);
    LLVMPositionBuilderAtEnd(e->b, head);
    LLVMBuildCondBr(e->b, less(e, emit_i64(e, 0), load(e, v.i)), body, exit);
    LLVMPositionBuilderAtEnd(e->b, body);
    t->target = minus(e, load(e, v.i), one);
    LLVMBuildStore(e->b, t->target, v.i);
    LLVMValueRef target = t->target;
    v.last = equal(e, target, emit_i64(e, 0));
    loop_load(h, l, &v);
    loop_step(h, l, &v, target);
    if (t->base) { /* a state kept before this very step is done with */
        LLVMValueRef last = minus(e, load(e, t->used), one);
        LLVMBasicBlockRef go = emit_if_begin(e, equal(e, load(e, position_at(e, t, last)), target));
        LLVMBuildStore(e->b, last, t->used);
        emit_if_end(e, go);
    }
    report_progress(h, l, minus(e, steps, target), steps);
    LLVMBuildBr(e->b, head);
    LLVMPositionBuilderAtEnd(e->b, exit);
    loop_results(h, l, &v);
    h->regs[l->steps].value = LLVMBuildSIToFP(e->b, steps, e->real, "");
    report_tape(h, l, t);
}
