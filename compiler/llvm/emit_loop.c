/* Loops of the host program: buffers that rotate, trajectories, progress. */
#include "compiler/llvm/emit_host.h"

enum { PROGRESS_EVERY = 16 };

/* By buffer of the pool: does a state point to it? */
static LLVMValueRef *busy_buffers(HE *h, const HLoop *l, const struct HPool *pool) {
    Emit *e = h->e;
    LLVMValueRef *busy = ARENA_ARRAY(e->arena, LLVMValueRef, pool->slots + 1);
    for (uint32_t s = 0; s < pool->slots; s++) {
        busy[s] = LLVMConstInt(e->i1, 0, false);
        for (uint32_t k = 0; k < l->states; k++) {
            Type t = h->f->regs.data[l->param[k]].type;
            if (t.kind == TYPE_FIELD && t.grid == pool->grid && t.channels == pool->channels)
                busy[s] = LLVMBuildOr(e->b, busy[s],
                                      LLVMBuildICmp(e->b, LLVMIntEQ, h->regs[l->param[k]].value,
                                                    h->slots[pool->slot[s]], ""),
                                      "");
        }
    }
    return busy;
}

/* The first buffer that is not busy; it is, then. */
static LLVMValueRef take_buffer(HE *h, const struct HPool *pool, LLVMValueRef *busy) {
    Emit *e = h->e;
    LLVMValueRef pick = h->slots[pool->slot[pool->slots - 1]];
    for (uint32_t s = pool->slots - 1; s-- > 0;)
        pick = LLVMBuildSelect(e->b, busy[s], pick, h->slots[pool->slot[s]], "");
    for (uint32_t s = 0; s < pool->slots; s++)
        busy[s] = LLVMBuildOr(
            e->b, busy[s], LLVMBuildICmp(e->b, LLVMIntEQ, pick, h->slots[pool->slot[s]], ""), "");
    return pick;
}

/* For each maker of a pool a buffer that no state points to, all different. */
static void pick_buffers(HE *h, const HLoop *l) {
    for (uint32_t p = 0; p < l->pools; p++) {
        const struct HPool *pool = &l->pool[p];
        LLVMValueRef *busy = busy_buffers(h, l, pool);
        for (uint32_t m = 0; m < pool->made; m++)
            h->regs[pool->maker[m]].value = take_buffer(h, pool, busy);
    }
}

LLVMValueRef pick_buffer(HE *h, const HLoop *l, uint32_t number) {
    LLVMValueRef *busy = busy_buffers(h, l, &l->pool[0]), pick = NULL;
    for (uint32_t i = 0; i <= number; i++) pick = take_buffer(h, &l->pool[0], busy);
    return pick;
}

static void push_frame(HE *h, const HLoop *l, LoopValues *v, uint32_t i, LLVMValueRef state) {
    Emit *e = h->e;
    Type t = h->f->regs.data[l->param[l->collect[i]]].type;
    LLVMValueRef n = LLVMBuildLoad2(e->b, e->i64, v->frames[i], "");
    LLVMValueRef to =
        bytes_on(e, v->stack[i], mul(e, n, field_bytes(e, h->grids, t.grid, t.channels)));
    if (t.kind == TYPE_SCALAR)
        LLVMBuildStore(e->b, state, to);
    else
        emit_copy(h, l->stack_kernel[i], t.grid, state, to);
    LLVMBuildStore(e->b, plus(e, n, emit_i64(e, 1)), v->frames[i]);
}

static void start_stacks(HE *h, const HLoop *l, LoopValues *v) {
    Emit *e = h->e;
    v->stack = ARENA_ARRAY(e->arena, LLVMValueRef, l->collected + 1);
    v->frames = ARENA_ARRAY(e->arena, LLVMValueRef, l->collected + 1);
    LLVMValueRef most = LLVMBuildSDiv(e->b, emit_max(e, v->count, emit_i64(e, 0)), v->stride, "");
    most = plus(e, most, emit_i64(e, 1));
    for (uint32_t i = 0; i < l->collected; i++) {
        Type t = h->f->regs.data[l->param[l->collect[i]]].type;
        v->frames[i] = emit_variable(e, e->i64, "frames");
        LLVMBuildStore(e->b, emit_i64(e, 0), v->frames[i]);
        v->stack[i] = LLVMBuildLoad2(e->b, e->ptr, h->top, "stack");
        LLVMValueRef bytes =
            slot_bytes(e, mul(e, most, field_bytes(e, h->grids, t.grid, t.channels)));
        LLVMBuildStore(e->b, bytes_on(e, v->stack[i], bytes), h->top);
        push_frame(h, l, v, i, h->regs[l->init[l->collect[i]]].value);
    }
}

void tell_progress(HE *h, const HLoop *l, LLVMValueRef done, LLVMValueRef total) {
    Emit *e = h->e;
    if (e->standalone || !l->progress) return;
    LLVMBasicBlockRef call = emit_block(e, "tell"), go = emit_block(e, "go");
    LLVMValueRef f = pointer_at(e, e->ptr, h->host, HOST_PROGRESS, "");
    LLVMBuildCondBr(e->b, LLVMBuildIsNotNull(e->b, f, ""), call, go);
    LLVMPositionBuilderAtEnd(e->b, call);
    LLVMValueRef args[4] = {NULL, LLVMConstInt(e->i32, l->number, false), done, total};
    LLVMValueRef stop = host_call(h, HOST_PROGRESS, e->i32, args, 4);
    return_if(h, LLVMBuildICmp(e->b, LLVMIntNE, stop, LLVMConstInt(e->i32, 0, false), ""),
              status(e, PDN_ERROR_STOPPED));
    LLVMBuildBr(e->b, go);
    LLVMPositionBuilderAtEnd(e->b, go);
}

void report_progress(HE *h, const HLoop *l, LLVMValueRef done, LLVMValueRef total) {
    Emit *e = h->e;
    if (e->standalone || !l->progress) return;
    LLVMBasicBlockRef now = emit_block(e, "progress"), go = emit_block(e, "go");
    LLVMValueRef rest = LLVMBuildAnd(e->b, done, emit_i64(e, PROGRESS_EVERY - 1), "");
    LLVMBuildCondBr(e->b, LLVMBuildICmp(e->b, LLVMIntEQ, rest, emit_i64(e, 0), ""), now, go);
    LLVMPositionBuilderAtEnd(e->b, now);
    tell_progress(h, l, done, total);
    LLVMBuildBr(e->b, go);
    LLVMPositionBuilderAtEnd(e->b, go);
}

/* The states after so many steps, if the film keeps them. */
static void collect_states(HE *h, const HLoop *l, LoopValues *v, LLVMValueRef done) {
    Emit *e = h->e;
    if (l->collected == 0) return;
    LLVMBasicBlockRef take = emit_block(e, "collect"), go = emit_block(e, "go");
    LLVMValueRef rest = LLVMBuildSRem(e->b, done, v->stride, "");
    LLVMBuildCondBr(e->b, LLVMBuildICmp(e->b, LLVMIntEQ, rest, emit_i64(e, 0), ""), take, go);
    LLVMPositionBuilderAtEnd(e->b, take);
    for (uint32_t i = 0; i < l->collected; i++) {
        LLVMTypeRef type = reg_type(e, h->f->regs.data[l->param[l->collect[i]]].type);
        push_frame(h, l, v, i, LLVMBuildLoad2(e->b, type, v->state[l->collect[i]], "state"));
    }
    LLVMBuildBr(e->b, go);
    LLVMPositionBuilderAtEnd(e->b, go);
}

LLVMValueRef loop_count(HE *h, const HLoop *l) {
    Emit *e = h->e;
    LLVMValueRef count =
        l->count == NONE ? constant_f64(h, l->count_constant) : to_f64(e, h->regs[l->count].value);
    return to_integer(e, emit_intrinsic(e, "llvm.rint", e->f64, &count, 1));
}

/* A stack goes from step to step in the same memory. */
static bool is_variable(const HE *h, const HLoop *l, uint32_t s) {
    return h->f->regs.data[l->param[s]].type.kind != TYPE_STACK;
}

void loop_states(HE *h, const HLoop *l, LoopValues *v) {
    Emit *e = h->e;
    v->state = ARENA_ARRAY(e->arena, LLVMValueRef, l->states + 1);
    for (uint32_t s = 0; s < l->states; s++) {
        if (!is_variable(h, l, s)) continue;
        v->state[s] = emit_variable(e, reg_type(e, h->f->regs.data[l->param[s]].type), "state");
        if (l->init) LLVMBuildStore(e->b, h->regs[l->init[s]].value, v->state[s]);
    }
}

static void load_states(HE *h, const HLoop *l, const LoopValues *v, const HReg *to,
                        const char *name) {
    Emit *e = h->e;
    for (uint32_t s = 0; s < l->states; s++)
        h->regs[to[s]] =
            is_variable(h, l, s)
                ? (Reg){LLVMBuildLoad2(e->b, reg_type(e, h->f->regs.data[l->param[s]].type),
                                       v->state[s], name),
                        NULL}
                : h->regs[l->init[s]];
}

void loop_load(HE *h, const HLoop *l, const LoopValues *v) {
    load_states(h, l, v, l->param, "state");
}

void loop_results(HE *h, const HLoop *l, const LoopValues *v) {
    load_states(h, l, v, l->result, "last");
}

void loop_step(HE *h, const HLoop *l, LoopValues *v, LLVMValueRef i) {
    Emit *e = h->e;
    LLVMValueRef k = LLVMBuildFAdd(e->b, v->start, LLVMBuildSIToFP(e->b, i, e->f64, ""), "");
    h->regs[l->k].value = to_real(e, k);
    LLVMValueRef top = LLVMBuildLoad2(e->b, e->ptr, h->top, "");
    pick_buffers(h, l);
    if (v->keeps) tape_places(h, l, v, i);
    LLVMValueRef outer = h->last, stays = h->stays;
    h->last = v->last;
    emit_code(h, l->body);
    h->last = outer;
    h->stays = stays;
    LLVMBuildStore(e->b, top, h->top);
    for (uint32_t s = 0; s < l->states; s++)
        if (is_variable(h, l, s)) LLVMBuildStore(e->b, h->regs[l->next[s]].value, v->state[s]);
}

static void loop_iteration(HE *h, const HLoop *l, LoopValues *v, LLVMBasicBlockRef head,
                           LLVMBasicBlockRef exit) {
    Emit *e = h->e;
    LLVMValueRef i = LLVMBuildLoad2(e->b, e->i64, v->i, "");
    loop_load(h, l, v);
    if (l->tape != NONE) tape_keep(h, l, v, i);
    LLVMValueRef done = plus(e, i, emit_i64(e, 1));
    v->last = LLVMBuildICmp(e->b, LLVMIntSGE, done, v->count, "");
    loop_step(h, l, v, i);
    LLVMBuildStore(e->b, done, v->i);
    collect_states(h, l, v, done);
    report_progress(h, l, done, v->count);
    if (l->stop == NONE) {
        LLVMBuildBr(e->b, head);
        return;
    }
    LLVMValueRef zero = emit_real(e, 0);
    LLVMBuildCondBr(e->b, LLVMBuildFCmp(e->b, LLVMRealUNE, h->regs[l->stop].value, zero, ""), exit,
                    head);
}

/* Steps together up to the next one that the film keeps; if they come so far, on to `head`. */
static void emit_stretch(HE *h, const HLoop *l, LoopValues *v, LLVMBasicBlockRef head) {
    Emit *e = h->e;
    LLVMBasicBlockRef kept = emit_block(e, "kept"), left = emit_block(e, "left");
    LLVMValueRef i = LLVMBuildLoad2(e->b, e->i64, v->i, "");
    LLVMValueRef next =
        mul(e, plus(e, LLVMBuildSDiv(e->b, i, v->stride, ""), emit_i64(e, 1)), v->stride);
    LLVMValueRef end = emit_min(e, next, v->count);
    emit_steps_together(h, l, v, end);
    LLVMValueRef done = LLVMBuildLoad2(e->b, e->i64, v->i, "");
    LLVMBuildCondBr(e->b, LLVMBuildICmp(e->b, LLVMIntEQ, done, end, ""), kept, left);
    LLVMPositionBuilderAtEnd(e->b, kept);
    collect_states(h, l, v, done);
    LLVMBuildBr(e->b, head);
    LLVMPositionBuilderAtEnd(e->b, left);
}

/* A number of steps found at run time must be one: whole, but for rounding (graph.h). */
static void check_count(HE *h, const HLoop *l) {
    Emit *e = h->e;
    if (l->count == NONE) return;
    LLVMValueRef zero = LLVMConstReal(e->f64, 0), count = to_f64(e, h->regs[l->count].value);
    LLVMValueRef whole = emit_intrinsic(e, "llvm.rint", e->f64, &count, 1);
    LLVMValueRef off = LLVMBuildFSub(e->b, count, whole, "");
    off = emit_intrinsic(e, "llvm.fabs", e->f64, &off, 1);
    LLVMValueRef most[2] = {
        LLVMBuildFMul(e->b, count, LLVMConstReal(e->f64, LOOP_COUNT_ROUNDING), ""),
        LLVMConstReal(e->f64, LOOP_COUNT_CLOSE)};
    LLVMValueRef close = emit_intrinsic(e, "llvm.minnum", e->f64, most, 2);
    LLVMValueRef good = LLVMBuildAnd(e->b, LLVMBuildFCmp(e->b, LLVMRealOGE, count, zero, ""),
                                     LLVMBuildFCmp(e->b, LLVMRealOLE, off, close, ""), "");
    return_if(h, LLVMBuildNot(e->b, good, ""), status(e, PDN_ERROR_ARGUMENT));
}

void emit_loop(HE *h, const HLoop *l) {
    Emit *e = h->e;
    check_count(h, l);
    LoopValues v = {.count = loop_count(h, l), .start = constant_f64(h, l->start_constant)};
    v.stride = to_integer(e, constant_f64(h, l->stride_constant));
    v.i = emit_variable(e, e->i64, "i");
    LLVMBuildStore(e->b, emit_i64(e, 0), v.i);
    loop_states(h, l, &v);
    start_stacks(h, l, &v);
    if (l->tape != NONE) tape_start(h, l, &v);
    v.keeps = l->tape != NONE;
    bool together = l->together && !e->standalone;
    if (together) {
        v.refused = emit_variable(e, e->i64, "refused");
        LLVMBuildStore(e->b, emit_i64(e, 0), v.refused);
    }
    if (together && !l->collected) emit_steps_together(h, l, &v, v.count);
    LLVMBasicBlockRef head = emit_block(e, "loop"), body = emit_block(e, "step"),
                      exit = emit_block(e, "end");
    LLVMBuildBr(e->b, head);
    LLVMPositionBuilderAtEnd(e->b, head);
    LLVMValueRef more =
        LLVMBuildICmp(e->b, LLVMIntSLT, LLVMBuildLoad2(e->b, e->i64, v.i, ""), v.count, "");
    LLVMBuildCondBr(e->b, more, body, exit);
    LLVMPositionBuilderAtEnd(e->b, body);
    if (together && l->collected) emit_stretch(h, l, &v, head);
    loop_iteration(h, l, &v, head, exit);
    LLVMPositionBuilderAtEnd(e->b, exit);
    loop_results(h, l, &v);
    LLVMValueRef done = LLVMBuildLoad2(e->b, e->i64, v.i, "");
    h->regs[l->steps].value = LLVMBuildSIToFP(e->b, done, e->real, "");
    if (l->tape != NONE) tape_done(h, l, done);
    for (uint32_t i = 0; i < l->collected; i++)
        h->regs[l->stack[i]] =
            (Reg){v.stack[i], LLVMBuildLoad2(e->b, e->i64, v.frames[i], "frames")};
}
