/* The host program: launches, scalars, loops with rotating buffers, effects.
 *
 * Every host function is (run, scratch, parameters…, places for results…) -> PdnStatus. `run` points to the
 * words of Run below; `scratch` is the function's part of the workspace: its slots, then its partial results,
 * then (a moving top) stacks and the parts of functions that it calls. */
#include "compiler/llvm/aot.h"
#include "compiler/llvm/emit_host.h"

#include <string.h>

LLVMValueRef pointer_at(Emit *e, LLVMTypeRef type, LLVMValueRef base, uint32_t index,
                        const char *name) {
    LLVMValueRef i = emit_i64(e, index);
    return LLVMBuildLoad2(e->b, type, LLVMBuildInBoundsGEP2(e->b, e->ptr, base, &i, 1, ""), name);
}

static LLVMValueRef number_at(Emit *e, LLVMValueRef base, uint32_t index) {
    LLVMValueRef i = emit_i64(e, index);
    return LLVMBuildInBoundsGEP2(e->b, e->real, base, &i, 1, "");
}

/* ---- grids and sizes ----------------------------------------------------------------------- */

LLVMValueRef grid_at(Emit *e, LLVMValueRef grids, GridId grid) {
    LLVMValueRef i = emit_i64(e, (int64_t)grid * GRID_WORDS);
    return LLVMBuildInBoundsGEP2(e->b, e->i64, grids, &i, 1, "grid");
}

/* Bytes of a field: channels apart by the grid's stride. */
LLVMValueRef field_bytes(Emit *e, LLVMValueRef grids, GridId grid, uint32_t channels) {
    if (grid == GRID_NONE) return emit_i64(e, e->size);
    LLVMValueRef apart = emit_word(e, e->i64, grid_at(e, grids, grid), GRID_CHANNEL, "channel");
    return mul(e, apart, emit_i64(e, (int64_t)channels * e->size));
}

/* Whole lines of cache, and a bit, so that fields of 2^k bytes do not compete for the same lines. */
LLVMValueRef slot_bytes(Emit *e, LLVMValueRef bytes) {
    bytes = plus(e, bytes, emit_i64(e, 63 + PLAN_SLOT_GAP));
    return LLVMBuildAnd(e->b, bytes, emit_i64(e, -64), "");
}

LLVMValueRef ceil_div(Emit *e, LLVMValueRef a, LLVMValueRef b) {
    return LLVMBuildSDiv(e->b, plus(e, a, plus(e, b, emit_i64(e, -1))), b, "");
}

LLVMValueRef rows_of(Emit *e, LLVMValueRef grids, GridId grid) {
    LLVMValueRef g = grid_at(e, grids, grid);
    uint32_t rank = e->plan->grid_rank[grid];
    if (rank == 1)
        return ceil_div(e, emit_word(e, e->i64, g, GRID_EXTENT, "nx"), emit_i64(e, BLOCK_X));
    LLVMValueRef rows = emit_word(e, e->i64, g, GRID_EXTENT + 1, "ny");
    return rank == 2 ? rows : mul(e, rows, emit_word(e, e->i64, g, GRID_EXTENT + 2, "nz"));
}

/* ---- small instructions -------------------------------------------------------------------------- */

LLVMValueRef constant_f64(HE *h, uint32_t index) {
    LLVMValueRef i = emit_i64(h->e, index);
    return LLVMBuildLoad2(h->e->b, h->e->f64,
                          LLVMBuildInBoundsGEP2(h->e->b, h->e->f64, h->constants, &i, 1, ""), "");
}

LLVMValueRef to_real(Emit *e, LLVMValueRef f64) {
    return e->plan->f64 ? f64 : LLVMBuildFPTrunc(e->b, f64, e->real, "");
}

LLVMValueRef to_f64(Emit *e, LLVMValueRef real) {
    return e->plan->f64 ? real : LLVMBuildFPExt(e->b, real, e->f64, "");
}

/* A double as an integer, NaN as 0, too large ones at the limit. */
LLVMValueRef to_integer(Emit *e, LLVMValueRef x) {
    LLVMTypeRef types[2] = {e->i64, e->f64};
    unsigned id = LLVMLookupIntrinsicID("llvm.fptosi.sat", 15);
    LLVMValueRef f = LLVMGetIntrinsicDeclaration(e->module, id, types, 2);
    return LLVMBuildCall2(e->b, LLVMIntrinsicGetType(e->context, id, types, 2), f, &x, 1, "");
}

void return_if(HE *h, LLVMValueRef condition, LLVMValueRef status) {
    LLVMBasicBlockRef stop = emit_block(h->e, "stop"), go = emit_block(h->e, "go");
    LLVMBuildCondBr(h->e->b, condition, stop, go);
    LLVMPositionBuilderAtEnd(h->e->b, stop);
    LLVMBuildRet(h->e->b, status);
    LLVMPositionBuilderAtEnd(h->e->b, go);
}

LLVMValueRef host_call(HE *h, uint32_t member, LLVMTypeRef result, LLVMValueRef *args,
                       uint32_t count) {
    Emit *e = h->e;
    LLVMTypeRef types[8];
    LLVMValueRef place = emit_i64(e, HOST_PLACE);
    LLVMBuildStore(e->b, emit_i64(e, (int64_t)h->place),
                   LLVMBuildInBoundsGEP2(e->b, e->ptr, h->host, &place, 1, ""));
    args[0] = pointer_at(e, e->ptr, h->host, HOST_CONTEXT, "context");
    for (uint32_t i = 0; i < count; i++) types[i] = LLVMTypeOf(args[i]);
    LLVMValueRef f = pointer_at(e, e->ptr, h->host, member, "");
    return LLVMBuildCall2(e->b, LLVMFunctionType(result, types, count, false), f, args, count, "");
}

static void emit_conv(HE *h, const HInstr *in) {
    Emit *e = h->e;
    ConvLaunch launches[CONV_LAUNCHES];
    LLVMValueRef u = grid_at(e, h->grids, in->grids[0]), v = grid_at(e, h->grids, in->grids[1]);
    LLVMValueRef words[CONV_OPERANDS] = {u,
                                         v,
                                         h->regs[in->args[0]].value,
                                         h->regs[in->args[1]].value,
                                         field_place(h, in->dst),
                                         h->scratch};
    for (uint32_t i = 0; i < CONV_OPERANDS; i++) put_word(h, i, words[i]);
    uint32_t count = emit_conv_launches(e, in, false, u, v, h->words, launches);
    for (uint32_t i = 0; i < count; i++)
        launch(h, launches[i].function, launches[i].units, launches[i].work);
}

void emit_copy(HE *h, uint32_t kernel, GridId grid, LLVMValueRef from, LLVMValueRef to) {
    launch_kernel(h, kernel, &grid, &from, &to, NULL);
}

/* ---- the other instructions ----------------------------------------------------------------------- */

/* Where the host finds a value: a number, the cells of a field, a PdnStack. */
static LLVMValueRef value_place(HE *h, HReg reg) {
    Emit *e = h->e;
    Type t = h->f->regs.data[reg].type;
    Reg r = h->regs[reg];
    if (t.kind == TYPE_FIELD) return r.value;
    if (t.kind == TYPE_SCALAR) {
        LLVMValueRef p = emit_variable(e, e->real, "number");
        LLVMBuildStore(e->b, r.value, p);
        return p;
    }
    LLVMValueRef p = emit_variable(e, LLVMArrayType2(e->i64, 2), "stack"), one = emit_i64(e, 1);
    LLVMBuildStore(e->b, r.frames, p);
    LLVMBuildStore(e->b, r.value, LLVMBuildInBoundsGEP2(e->b, e->i64, p, &one, 1, ""));
    return p;
}

static void put_pointer(HE *h, LLVMValueRef list, uint32_t i, LLVMValueRef p) {
    LLVMValueRef index = emit_i64(h->e, i);
    LLVMBuildStore(h->e->b, p, LLVMBuildInBoundsGEP2(h->e->b, h->e->ptr, list, &index, 1, ""));
}

static LLVMValueRef value_list(HE *h, const HInstr *in) {
    Emit *e = h->e;
    LLVMValueRef list = emit_variable(e, LLVMArrayType2(e->ptr, in->args_count + 1), "values");
    for (uint32_t i = 0; i < in->args_count; i++)
        put_pointer(h, list, i, value_place(h, in->args[i]));
    return list;
}

void stop_unless_zero(HE *h, LLVMValueRef stop) {
    return_if(h, LLVMBuildICmp(h->e->b, LLVMIntNE, stop, LLVMConstInt(h->e->i32, 0, false), ""),
              status(h->e, PDN_ERROR_STOPPED));
}

static void emit_effect(HE *h, const HInstr *in) {
    Emit *e = h->e;
    if (e->standalone) return;
    LLVMValueRef args[3] = {NULL, LLVMConstInt(e->i32, in->index, false), value_list(h, in)};
    stop_unless_zero(h, host_call(h, HOST_EFFECT, e->i32, args, 3));
}

/* The host says where results are: a number in place of what it was given, else a PdnStack. */
static void emit_task(HE *h, const HInstr *in) {
    Emit *e = h->e;
    LLVMValueRef results = emit_variable(e, LLVMArrayType2(e->ptr, in->dsts_count + 1), "results");
    LLVMValueRef *place = ARENA_ARRAY(e->arena, LLVMValueRef, in->dsts_count + 1);
    for (uint32_t i = 0; i < in->dsts_count; i++) {
        bool scalar = h->f->regs.data[in->args[i]].type.kind == TYPE_SCALAR;
        place[i] = emit_variable(e, scalar ? e->real : LLVMArrayType2(e->i64, 2), "result");
        put_pointer(h, results, i, place[i]);
    }
    LLVMValueRef args[4] = {NULL, LLVMConstInt(e->i32, in->index, false), value_list(h, in),
                            results};
    stop_unless_zero(h, host_call(h, HOST_TASK, e->i32, args, 4));
    for (uint32_t i = 0; i < in->dsts_count; i++) {
        if (in->dsts[i] == NONE) continue;
        bool scalar = h->f->regs.data[in->args[i]].type.kind == TYPE_SCALAR;
        h->regs[in->dsts[i]] = scalar ? (Reg){LLVMBuildLoad2(e->b, e->real, place[i], ""), NULL}
                                      : (Reg){pointer_at(e, e->ptr, place[i], 1, "data"),
                                              emit_word(e, e->i64, place[i], 0, "frames")};
    }
}

static void emit_call(HE *h, const HInstr *in) {
    Emit *e = h->e;
    const HFunc *callee = e->plan->funcs.data[in->index];
    uint32_t count = 2 + in->args_count + in->dsts_count;
    LLVMValueRef *args = ARENA_ARRAY(e->arena, LLVMValueRef, count);
    args[0] = h->run;
    args[1] = LLVMBuildLoad2(e->b, e->ptr, h->top, "");
    for (uint32_t i = 0; i < in->args_count; i++) args[2 + i] = h->regs[in->args[i]].value;
    for (uint32_t i = 0; i < in->dsts_count; i++) {
        bool scalar = callee->regs.data[callee->results.data[i]].type.kind == TYPE_SCALAR;
        args[2 + in->args_count + i] =
            scalar ? emit_variable(e, e->real, "result") : field_place(h, in->dsts[i]);
    }
    LLVMValueRef f = e->hosts[in->index];
    LLVMValueRef s = LLVMBuildCall2(e->b, LLVMGlobalGetValueType(f), f, args, count, "");
    return_if(h, LLVMBuildICmp(e->b, LLVMIntNE, s, status(e, PDN_OK), ""), s);
    for (uint32_t i = 0; i < in->dsts_count; i++)
        if (callee->regs.data[callee->results.data[i]].type.kind == TYPE_SCALAR)
            h->regs[in->dsts[i]].value =
                LLVMBuildLoad2(e->b, e->real, args[2 + in->args_count + i], "");
}

/* pdn_stream of runtime/random.c, in the same arithmetic. */
static LLVMValueRef random_stream(HE *h, const HInstr *in) {
    Emit *e = h->e;
    LLVMBuilderRef b = e->b;
    LLVMValueRef steps = NULL;
    for (uint32_t i = 0; i < in->args_count; i++) {
        LLVMValueRef k = to_integer(e, to_f64(e, h->regs[in->args[i]].value));
        if (!steps) {
            steps = k;
            continue;
        }
        LLVMValueRef more = LLVMBuildICmp(b, LLVMIntUGE, steps, k, "");
        LLVMValueRef left =
            LLVMBuildAdd(b, LLVMBuildAdd(b, LLVMBuildMul(b, steps, steps, ""), steps, ""), k, "");
        LLVMValueRef right = LLVMBuildAdd(b, LLVMBuildMul(b, k, k, ""), steps, "");
        steps = LLVMBuildSelect(b, more, left, right, "");
    }
    if (!steps) return emit_i64(e, in->index);
    uint64_t salt = UINT64_C(0x9e3779b97f4a7c15) * ((uint64_t)in->index + 1);
    LLVMValueRef z = LLVMBuildAdd(b, steps, emit_i64(e, (int64_t)salt), "");
    static const struct {
        int shift;
        uint64_t factor;
    } rounds[3] = {{30, UINT64_C(0xbf58476d1ce4e5b9)}, {27, UINT64_C(0x94d049bb133111eb)}, {31, 1}};
    for (int i = 0; i < 3; i++) {
        z = LLVMBuildXor(b, z, LLVMBuildLShr(b, z, emit_i64(e, rounds[i].shift), ""), "");
        z = LLVMBuildMul(b, z, emit_i64(e, (int64_t)rounds[i].factor), "");
    }
    z = LLVMBuildOr(b, LLVMBuildLShr(b, z, emit_i64(e, 25), ""), emit_i64(e, INT64_C(1) << 39), "");
    if (in->index >= 1024) return z;
    LLVMValueRef few = LLVMBuildICmp(b, LLVMIntULT, steps, emit_i64(e, 1 << 28), "");
    LLVMValueRef own = LLVMBuildOr(b, LLVMBuildShl(b, steps, emit_i64(e, 10), ""),
                                   emit_i64(e, INT64_C(1) << 38 | in->index), "");
    return LLVMBuildSelect(b, few, own, z, "");
}

static void emit_random(HE *h, const HInstr *in) {
    Emit *e = h->e;
    Type t = h->f->regs.data[in->dst].type;
    LLVMValueRef to, count = emit_i64(e, 1);
    if (t.kind == TYPE_SCALAR)
        to = emit_variable(e, e->real, "random");
    else {
        to = field_place(h, in->dst);
        count = mul(e, emit_word(e, e->i64, grid_at(e, h->grids, t.grid), GRID_CHANNEL, ""),
                    emit_i64(e, t.channels));
    }
    LLVMValueRef args[5] = {NULL, LLVMConstInt(e->i32, in->detail, false), random_stream(h, in), to,
                            count};
    host_call(h, HOST_RANDOM, e->none, args, 5);
    if (t.kind == TYPE_SCALAR) h->regs[in->dst].value = LLVMBuildLoad2(e->b, e->real, to, "");
}

static void emit_conv_norm(HE *h, const HInstr *in) {
    Emit *e = h->e;
    bool derivative = in->args_count == 2;
    if (e->standalone) {
        h->regs[in->dst].value = inside_norm(h, in);
        return;
    }
    LLVMValueRef to = derivative ? field_place(h, in->dst) : emit_variable(e, e->real, "norm");
    LLVMValueRef cotangent = derivative ? value_place(h, in->args[1]) : LLVMConstNull(e->ptr);
    LLVMValueRef args[5] = {NULL, emit_conv_shape(e, &e->plan->convs.data[in->index]),
                            h->regs[in->args[0]].value, cotangent, to};
    host_call(h, HOST_CONV_NORM, e->none, args, 5);
    if (!derivative) h->regs[in->dst].value = LLVMBuildLoad2(e->b, e->real, to, "");
}

/* The value, or what the host makes of it when samples run side by side. */
static void emit_batch(HE *h, const HInstr *in) {
    Emit *e = h->e;
    Type t = h->f->regs.data[in->dst].type;
    LLVMValueRef from = h->regs[in->args[0]].value, to, count = emit_i64(e, 1),
                 grid = LLVMConstNull(e->ptr);
    bool scalar = t.kind == TYPE_SCALAR;
    if (scalar) {
        to = emit_variable(e, e->real, "mean");
        LLVMBuildStore(e->b, from, to);
    } else {
        to = field_place(h, in->dst);
        emit_copy(h, in->index, t.grid, from, to);
        grid = grid_at(e, h->grids, t.grid); /* its extents come first */
        count = mul(e, emit_word(e, e->i64, grid, GRID_CHANNEL, ""), emit_i64(e, t.channels));
    }
    if (!e->standalone) {
        LLVMBasicBlockRef call = emit_block(e, "mean"), go = emit_block(e, "go");
        LLVMValueRef f = pointer_at(e, e->ptr, h->host, HOST_BATCH, "");
        LLVMBuildCondBr(e->b, LLVMBuildIsNotNull(e->b, f, ""), call, go);
        LLVMPositionBuilderAtEnd(e->b, call);
        LLVMValueRef args[5] = {NULL, emit_i64(e, e->means++), to, count, grid};
        stop_unless_zero(h, host_call(h, HOST_BATCH, e->i32, args, 5));
        LLVMBuildBr(e->b, go);
        LLVMPositionBuilderAtEnd(e->b, go);
    }
    if (scalar) h->regs[in->dst].value = LLVMBuildLoad2(e->b, e->real, to, "");
}

/* Not below the tolerance: also where the residual is no number. */
static void emit_check(HE *h, const HInstr *in) {
    Emit *e = h->e;
    LLVMValueRef residual = h->regs[in->args[0]].value, tolerance = h->regs[in->args[1]].value;
    LLVMValueRef missed = LLVMBuildFCmp(e->b, LLVMRealUGT, residual, tolerance, "missed");
    if (e->standalone) {
        if (in->detail) return_if(h, missed, status(e, PDN_ERROR_UNCONVERGED));
        return;
    }
    LLVMBasicBlockRef tell = emit_block(e, "tell"), go = emit_block(e, "go");
    LLVMBuildCondBr(e->b, missed, tell, go);
    LLVMPositionBuilderAtEnd(e->b, tell);
    LLVMValueRef args[5] = {NULL, LLVMConstInt(e->i32, in->index, false), to_f64(e, residual),
                            to_f64(e, tolerance), to_f64(e, h->regs[in->args[2]].value)};
    stop_unless_zero(h, host_call(h, HOST_UNCONVERGED, e->i32, args, 5));
    LLVMBuildBr(e->b, go);
    LLVMPositionBuilderAtEnd(e->b, go);
}

static void emit_alone(HE *h, const HInstr *in) {
    Emit *e = h->e;
    switch (in->kind) {
    case H_CONSTANT: h->regs[in->dst].value = to_real(e, constant_f64(h, in->index)); break;
    case H_INPUT: {
        LLVMValueRef p = pointer_at(e, e->ptr, h->inputs, in->index, "input");
        h->regs[in->dst].value = p;
        TypeKind kind = h->f->regs.data[in->dst].type.kind;
        if (kind == TYPE_SCALAR) h->regs[in->dst].value = LLVMBuildLoad2(e->b, e->real, p, "");
        if (kind == TYPE_STACK) /* a PdnStack */
            h->regs[in->dst] =
                (Reg){emit_word(e, e->ptr, p, 1, "data"), emit_word(e, e->i64, p, 0, "frames")};
        break;
    }
    case H_OP: {
        LLVMValueRef x[3] = {NULL};
        for (uint32_t i = 0; i < in->args_count && i < 3; i++) x[i] = h->regs[in->args[i]].value;
        h->regs[in->dst].value = emit_op(e, in->op, x);
        break;
    }
    case H_CELLS:
        h->regs[in->dst].value = LLVMBuildSIToFP(
            e->b, emit_cells(e, grid_at(e, h->grids, in->index), e->plan->grid_rank[in->index]),
            e->real, "");
        break;
    case H_LAUNCH: emit_launch(h, in); break;
    case H_RANDOM: emit_random(h, in); break;
    case H_LOOP: emit_loop(h, in->loop); break;
    case H_BACK: emit_back(h, in->loop); break;
    case H_ADVANCE: emit_advance(h, in->loop); break;
    case H_CALL: emit_call(h, in); break;
    case H_FRAME: emit_frame(h, in); break;
    case H_ZEROSTACK: emit_zerostack(h, in); break;
    case H_SCATTER: emit_scatter(h, in); break;
    case H_FRAMES:
        h->regs[in->dst].value = LLVMBuildSIToFP(e->b, h->regs[in->args[0]].frames, e->real, "");
        break;
    case H_EFFECT: emit_effect(h, in); break;
    case H_TASK: emit_task(h, in); break;
    case H_BATCH: emit_batch(h, in); break;
    case H_CHECK: emit_check(h, in); break;
    case H_ROW: {
        LLVMValueRef to = field_place(h, in->dst);
        for (uint32_t i = 0; i < in->args_count; i++)
            LLVMBuildStore(e->b, h->regs[in->args[i]].value, number_at(e, to, i));
        break;
    }
    case H_ENTRY:
        h->regs[in->dst].value =
            LLVMBuildLoad2(e->b, e->real, number_at(e, h->regs[in->args[0]].value, in->index), "");
        break;
    case H_CONV: emit_conv(h, in); break;
    case H_TRIDIAG: emit_tridiag(h, in); break;
    case H_CONVNORM: emit_conv_norm(h, in); break;
    }
}

void emit_instruction(HE *h, const HInstr *in) {
    uint64_t outer = h->place;
    h->place = in->place;
    emit_alone(h, in);
    h->place = outer;
}

void emit_code(HE *h, const HBlock *block) {
    uint64_t outer = h->place;
    for (uint32_t i = 0; i < block->code.len; i++) {
        const HInstr *in = &block->code.data[i];
        if (in->chain) {
            h->place = in->place;
            emit_chain(h, in);
            i += in->chain;
        } else if (in->relay && !h->e->standalone) {
            h->place = in->place;
            emit_relay(h, in);
            i += in->relay;
        } else if (in->stays) {
            emit_staying(h, in);
        } else if (in->ahead) {
            LLVMBasicBlockRef go = emit_if_begin(h->e, LLVMBuildNot(h->e->b, h->last, ""));
            emit_instruction(h, in);
            emit_if_end(h->e, go);
        } else {
            emit_instruction(h, in);
        }
    }
    h->place = outer;
}

/* ---- functions ------------------------------------------------------------------------------------- */

static LLVMTypeRef host_type(Emit *e, const HFunc *f) {
    uint32_t count = 2 + f->params.len + f->results.len;
    LLVMTypeRef *types = ARENA_ARRAY(e->arena, LLVMTypeRef, count);
    types[0] = types[1] = e->ptr;
    for (uint32_t i = 0; i < f->params.len; i++)
        types[2 + i] = reg_type(e, f->regs.data[f->params.data[i]].type);
    for (uint32_t i = 0; i < f->results.len; i++) types[2 + f->params.len + i] = e->ptr;
    return LLVMFunctionType(e->i32, types, count, false);
}

static uint32_t most_words(const Plan *plan) {
    uint32_t most = plan->convs.len ? CONV_LAUNCH_WORDS : TRIDIAG_WORDS;
    for (uint32_t i = 0; i < plan->kernels.len; i++) {
        uint32_t count = kernel_words(plan->kernels.data[i]).count;
        most = count > most ? count : most;
    }
    for (uint32_t i = 0; i < plan->funcs.len; i++) {
        uint32_t count = chain_words(plan, &plan->funcs.data[i]->body);
        most = count > most ? count : most;
    }
    return most;
}

/* The most scratch that a convolution or tridiagonal system of the block needs: they run one after another. */
static LLVMValueRef scratch_of(Emit *e, const HFunc *f, const HBlock *block, LLVMValueRef grids,
                               LLVMValueRef most) {
    for (uint32_t i = 0; i < block->code.len; i++) {
        const HInstr *h = &block->code.data[i];
        if (host_is_loop(h->kind)) most = scratch_of(e, f, h->loop->body, grids, most);
        if (h->kind == H_TRIDIAG) {
            LLVMValueRef g = grid_at(e, grids, h->grids[0]);
            LLVMValueRef bytes = tridiag_bytes(e, h, g, f->regs.data[h->dst].type.channels);
            most = most ? emit_max(e, most, bytes) : bytes;
        }
        if (h->kind != H_CONV || (i > 0 && block->code.data[i - 1].chain)) continue;
        bool seen = false;
        for (uint32_t k = 0; k < i && !seen; k++) {
            const HInstr *o = &block->code.data[k];
            seen = o->kind == H_CONV && o->index == h->index && o->detail == h->detail &&
                   o->grids[0] == h->grids[0] && !h->chain && !host_in_chain(block, k);
        }
        if (seen) continue;
        LLVMValueRef words = emit_variable(e, LLVMArrayType2(e->i64, CONV_LAUNCH_WORDS), "words");
        LLVMValueRef bytes = h->chain ? chain_bytes(e, h, grids)
                                      : emit_conv_bytes(e, h, false, grid_at(e, grids, h->grids[0]),
                                                        grid_at(e, grids, h->grids[1]), words);
        most = most ? emit_max(e, most, bytes) : bytes;
    }
    return most;
}

/* Fixed part of the scratch: slots, partial results, that of convolutions and systems. Sets their addresses when `base` is
 * given. */
static LLVMValueRef lay_out(Emit *e, const HFunc *f, LLVMValueRef grids, LLVMValueRef base,
                            LLVMValueRef *slots, LLVMValueRef *partials, LLVMValueRef *scratch) {
    LLVMValueRef at = emit_i64(e, 0);
    for (uint32_t i = 0; i < f->slots.len; i++) {
        if (base) slots[i] = bytes_on(e, base, at);
        at = plus(
            e, at,
            slot_bytes(e, field_bytes(e, grids, f->slots.data[i].grid, f->slots.data[i].channels)));
    }
    for (uint32_t i = 0; i < f->partials.len; i++) {
        if (base) partials[i] = bytes_on(e, base, at);
        LLVMValueRef bytes = mul(e, rows_of(e, grids, f->partials.data[i].grid),
                                 emit_i64(e, 8 * (int64_t)f->partials.data[i].channels));
        at = plus(e, at, slot_bytes(e, bytes));
    }
    if (base) *scratch = bytes_on(e, base, at);
    LLVMValueRef most = scratch_of(e, f, &f->body, grids, NULL);
    return most ? plus(e, at, slot_bytes(e, most)) : at;
}

/* The frames of a stack that is a result, number by number. */
static void copy_stack(HE *h, HReg reg, LLVMValueRef to) {
    Emit *e = h->e;
    Type t = h->f->regs.data[reg].type;
    LLVMValueRef bytes = mul(e, h->regs[reg].frames, field_bytes(e, h->grids, t.grid, t.channels));
    LLVMValueRef count = LLVMBuildSDiv(e->b, bytes, emit_i64(e, e->size), "");
    Counting c;
    LLVMValueRef i = emit_loop_begin(e, &c, emit_i64(e, 0), count, emit_i64(e, 1), "i");
    LLVMValueRef from = LLVMBuildInBoundsGEP2(e->b, e->real, h->regs[reg].value, &i, 1, "");
    LLVMBuildStore(e->b, LLVMBuildLoad2(e->b, e->real, from, ""),
                   LLVMBuildInBoundsGEP2(e->b, e->real, to, &i, 1, ""));
    emit_loop_end(e, &c);
}

static void emit_host(Emit *e, uint32_t number) {
    const HFunc *f = e->plan->funcs.data[number];
    HE h = {.e = e, .f = f, .number = number, .function = e->hosts[number]};
    LLVMPositionBuilderAtEnd(e->b, LLVMAppendBasicBlockInContext(e->context, h.function, "entry"));
    h.run = LLVMGetParam(h.function, 0);
    if (!e->standalone) h.host = pointer_at(e, e->ptr, h.run, RUN_HOST, "host");
    h.grids = pointer_at(e, e->ptr, h.run, RUN_GRIDS, "grids");
    h.inputs = pointer_at(e, e->ptr, h.run, RUN_INPUTS, "inputs");
    h.constants = pointer_at(e, e->ptr, h.run, RUN_CONSTANTS, "constants");
    h.regs = ARENA_ARRAY(e->arena, Reg, f->regs.len + 1);
    h.slots = ARENA_ARRAY(e->arena, LLVMValueRef, f->slots.len + 1);
    h.partials = ARENA_ARRAY(e->arena, LLVMValueRef, f->partials.len + 1);
    h.tapes = ARENA_ARRAY(e->arena, Tape *, f->tapes + 1);
    h.words = emit_variable(e, LLVMArrayType2(e->i64, most_words(e->plan)), "words");
    h.top = emit_variable(e, e->ptr, "top");
    LLVMValueRef base = LLVMGetParam(h.function, 1);
    e->threads = host_number(&h, HOST_THREADS);
    LLVMValueRef fixed = lay_out(e, f, h.grids, base, h.slots, h.partials, &h.scratch);
    LLVMBuildStore(e->b, bytes_on(e, base, fixed), h.top);
    for (uint32_t i = 0; i < f->params.len; i++)
        h.regs[f->params.data[i]].value = LLVMGetParam(h.function, 2 + i);
    for (uint32_t i = 0; i < f->results.len; i++)
        if (f->regs.data[f->results.data[i]].type.kind == TYPE_FIELD)
            h.regs[f->results.data[i]].value = LLVMGetParam(h.function, 2 + f->params.len + i);
    emit_code(&h, &f->body);
    for (uint32_t i = 0; i < f->results.len; i++) {
        LLVMValueRef to = LLVMGetParam(h.function, 2 + f->params.len + i);
        TypeKind kind = f->regs.data[f->results.data[i]].type.kind;
        if (kind == TYPE_SCALAR) LLVMBuildStore(e->b, h.regs[f->results.data[i]].value, to);
        const HInstr *zeros = kind == TYPE_STACK ? stack_zeros(f, f->results.data[i]) : NULL;
        if (kind == TYPE_STACK && (!zeros || stack_result(f, zeros) != i))
            copy_stack(&h, f->results.data[i], to);
    }
    LLVMBuildRet(e->b, status(e, PDN_OK));
}

/* ---- how much scratch ----------------------------------------------------------------------------------- */

const HInstr *host_maker(const HBlock *block, HReg reg) {
    for (uint32_t i = 0; i < block->code.len; i++) {
        const HInstr *in = &block->code.data[i];
        const HInstr *inner = host_is_loop(in->kind) ? host_maker(in->loop->body, reg) : NULL;
        if (in->dst == reg || inner) return inner ? inner : in;
    }
    return NULL;
}

/* A scalar that depends on constants, inputs and sizes alone; NULL where it does not. */
static LLVMValueRef known_scalar(HE *h, HReg reg, uint32_t depth) {
    if (h->regs[reg].value) return h->regs[reg].value;
    const HInstr *in = host_maker(&h->f->body, reg);
    if (!in || depth > 100) return NULL;
    if (in->kind == H_OP) {
        for (uint32_t i = 0; i < in->args_count; i++)
            if (!known_scalar(h, in->args[i], depth + 1)) return NULL;
    } else if (in->kind != H_CONSTANT && in->kind != H_CELLS &&
               (in->kind != H_INPUT || h->e->standalone)) {
        return NULL;
    }
    emit_instruction(h, in);
    return h->regs[reg].value;
}

#define UNKNOWN_BYTES (INT64_C(1) << 62)

/* Frames of what a loop collects, when no test ends it. */
static LLVMValueRef most_frames(HE *h, const HLoop *l) {
    Emit *e = h->e;
    LLVMValueRef stride = to_integer(e, constant_f64(h, l->stride_constant));
    LLVMValueRef count = emit_max(e, loop_count(h, l), emit_i64(e, 0));
    return plus(e, LLVMBuildSDiv(e->b, count, stride, ""), emit_i64(e, 1));
}

/* How many frames a stack has, where that is known before the run; else NULL. */
static LLVMValueRef known_frames(HE *h, HReg reg, uint32_t depth) {
    Emit *e = h->e;
    const HInstr *in = host_maker(&h->f->body, reg);
    if (depth > 100) return NULL;
    if (in && in->kind == H_INPUT && e->standalone)
        return emit_i64(e, e->inside->build->inputs[in->index].frames);
    if (in && in->kind == H_INPUT)
        return emit_word(e, e->i64, pointer_at(e, e->ptr, h->inputs, in->index, ""), 0, "frames");
    if (in && (in->kind == H_ZEROSTACK || in->kind == H_SCATTER))
        return known_frames(h, in->args[0], depth + 1);
    HReg init;
    const HLoop *l = in ? NULL : loop_of_stack(&h->f->body, reg, &init);
    if (l && init != NONE) return known_frames(h, init, depth + 1);
    return l && (l->count == NONE || known_scalar(h, l->count, 0)) ? most_frames(h, l) : NULL;
}

static LLVMValueRef size_block(HE *h, const HBlock *block) {
    Emit *e = h->e;
    LLVMValueRef stacks = emit_i64(e, 0), calls = emit_i64(e, 0);
    for (uint32_t i = 0; i < block->code.len; i++) {
        const HInstr *in = &block->code.data[i];
        if (in->kind == H_CALL) {
            LLVMValueRef f = e->sizes[in->index];
            calls = emit_max(e, calls,
                             LLVMBuildCall2(e->b, LLVMGlobalGetValueType(f), f, &h->run, 1, ""));
        }
        if (in->kind == H_ZEROSTACK && stack_result(h->f, in) == NONE) {
            Type t = h->f->regs.data[in->dst].type;
            LLVMValueRef frames = known_frames(h, in->args[0], 0),
                         bytes = emit_i64(e, UNKNOWN_BYTES);
            if (frames)
                bytes = slot_bytes(e, mul(e, frames, field_bytes(e, h->grids, t.grid, t.channels)));
            stacks = plus(e, stacks, bytes);
        }
        if (!host_is_loop(in->kind)) continue;
        const HLoop *l = in->loop;
        bool known = in->kind == H_LOOP && (l->count == NONE || known_scalar(h, l->count, 0));
        if (in->kind == H_LOOP && l->tape != NONE)
            stacks = plus(e, stacks, tape_bytes(h, l, known ? loop_count(h, l) : NULL));
        LLVMValueRef most = l->collected && known ? most_frames(h, l) : NULL;
        for (uint32_t k = 0; k < l->collected; k++) {
            Type t = h->f->regs.data[l->param[l->collect[k]]].type;
            LLVMValueRef bytes = emit_i64(e, UNKNOWN_BYTES);
            if (known)
                bytes = slot_bytes(e, mul(e, most, field_bytes(e, h->grids, t.grid, t.channels)));
            stacks = plus(e, stacks, bytes);
        }
        stacks = plus(e, stacks, size_block(h, l->body));
    }
    return plus(e, stacks, calls);
}

static void emit_size(Emit *e, uint32_t number) {
    const HFunc *f = e->plan->funcs.data[number];
    HE h = {.e = e, .f = f, .number = number, .function = e->sizes[number]};
    LLVMPositionBuilderAtEnd(e->b, LLVMAppendBasicBlockInContext(e->context, h.function, "entry"));
    h.run = LLVMGetParam(h.function, 0);
    h.grids = pointer_at(e, e->ptr, h.run, RUN_GRIDS, "grids");
    h.inputs = pointer_at(e, e->ptr, h.run, RUN_INPUTS, "inputs");
    h.constants = pointer_at(e, e->ptr, h.run, RUN_CONSTANTS, "constants");
    h.regs = ARENA_ARRAY(e->arena, Reg, f->regs.len + 1);
    e->threads = host_number(&h, HOST_THREADS);
    LLVMValueRef fixed = lay_out(e, f, h.grids, NULL, NULL, NULL, NULL);
    LLVMBuildRet(e->b, plus(e, fixed, size_block(&h, &f->body)));
}

/* ---- the program ---------------------------------------------------------------------------------- */

static void check_sizes(Emit *e, LLVMValueRef grids) {
    HE h = {.e = e};
    for (GridId g = 1; g < e->plan->grids; g++)
        for (uint32_t a = 0; a < e->plan->grid_rank[g]; a++) {
            int64_t least = e->plan->smallest[g][a];
            if (least == 0) continue; /* nothing runs there */
            LLVMValueRef n = emit_word(e, e->i64, grid_at(e, grids, g), GRID_EXTENT + a, "extent");
            return_if(&h, LLVMBuildICmp(e->b, LLVMIntSLT, n, emit_i64(e, least), ""),
                      status(e, PDN_ERROR_SIZE));
        }
}

static void emit_run(Emit *e) {
    LLVMTypeRef type = LLVMFunctionType(e->i32, &e->ptr, 1, false);
    LLVMValueRef f = emit_function(e, "pdn_program_run", type, !e->standalone),
                 run = LLVMGetParam(f, 0);
    LLVMPositionBuilderAtEnd(e->b, LLVMAppendBasicBlockInContext(e->context, f, "entry"));
    check_sizes(e, pointer_at(e, e->ptr, run, RUN_GRIDS, "grids"));
    const HFunc *main = e->plan->funcs.data[0];
    uint32_t count = 2 + main->results.len;
    LLVMValueRef *args = ARENA_ARRAY(e->arena, LLVMValueRef, count);
    args[0] = run;
    args[1] = pointer_at(e, e->ptr, run, RUN_WORKSPACE, "workspace");
    if (main->results.len) {
        LLVMValueRef outputs = pointer_at(e, e->ptr, run, RUN_OUTPUTS, "outputs");
        for (uint32_t i = 0; i < main->results.len; i++)
            args[2 + i] = pointer_at(e, e->ptr, outputs, i, "output");
    }
    LLVMBuildRet(e->b, LLVMBuildCall2(e->b, LLVMGlobalGetValueType(e->hosts[0]), e->hosts[0], args,
                                      count, ""));
}

static void emit_workspace(Emit *e) {
    LLVMTypeRef type = LLVMFunctionType(e->i64, &e->ptr, 1, false);
    LLVMValueRef f = emit_function(e, "pdn_program_workspace", type, !e->standalone),
                 run = LLVMGetParam(f, 0);
    LLVMPositionBuilderAtEnd(e->b, LLVMAppendBasicBlockInContext(e->context, f, "entry"));
    LLVMBuildRet(
        e->b, LLVMBuildCall2(e->b, LLVMGlobalGetValueType(e->sizes[0]), e->sizes[0], &run, 1, ""));
}

/* How kernels are launched: by a step that may be taken together with others; by itself, for many rows at once. */
static void find_uses(Emit *e, const HBlock *block, bool inside) {
    uint32_t joined = 0; /* launches that belong to the relay before */
    for (uint32_t i = 0; i < block->code.len; i++) {
        const HInstr *in = &block->code.data[i];
        if (in->kind == H_LAUNCH) {
            e->use[in->index].in_parts |= inside;
            e->use[in->index].alone |= e->standalone || (!joined && !in->relay);
        }
        joined = joined ? joined - 1 : in->relay;
        if (host_is_loop(in->kind))
            find_uses(e, in->loop->body, in->loop->together > 0 && !e->standalone);
    }
}

void emit_program(Emit *e) {
    const Plan *plan = e->plan;
    e->use = ARENA_ARRAY(e->arena, KernelUse, plan->kernels.len + 1);
    for (uint32_t i = 0; i < plan->funcs.len; i++) find_uses(e, &plan->funcs.data[i]->body, false);
    e->kernels = ARENA_ARRAY(e->arena, LLVMValueRef, plan->kernels.len + 1);
    e->hosts = ARENA_ARRAY(e->arena, LLVMValueRef, plan->funcs.len);
    e->sizes = ARENA_ARRAY(e->arena, LLVMValueRef, plan->funcs.len);
    for (uint32_t i = 0; i < plan->kernels.len; i++)
        e->kernels[i] = emit_kernel(e, plan->kernels.data[i], i);
    emit_convs(e);
    LLVMTypeRef size = LLVMFunctionType(e->i64, &e->ptr, 1, false);
    for (uint32_t i = 0; i < plan->funcs.len; i++) {
        e->hosts[i] = emit_function(e, arena_format(e->arena, "pdn_host_%u", i),
                                    host_type(e, plan->funcs.data[i]), false);
        e->sizes[i] = emit_function(e, arena_format(e->arena, "pdn_size_%u", i), size, false);
    }
    for (uint32_t i = 0; i < plan->funcs.len; i++) {
        emit_host(e, i);
        emit_size(e, i);
    }
    emit_run(e);
    emit_workspace(e);
}
