/* One op as LLVM instructions, on scalars or vectors; and small helpers of the emitter.
 *
 * Scalars and vectors get the same arithmetic, so that a cell's value does not depend on which loop
 * computed it. Nothing here may reassociate or contract. */
#include "compiler/llvm/emit.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

LLVMValueRef emit_i64(Emit *e, int64_t value) {
    return LLVMConstInt(e->i64, (unsigned long long)value, true);
}

LLVMValueRef emit_real(Emit *e, double value) { return LLVMConstReal(e->real, value); }

LLVMValueRef emit_number(Emit *e, LLVMTypeRef like, double value) {
    if (LLVMGetTypeKind(like) != LLVMVectorTypeKind) return LLVMConstReal(like, value);
    uint32_t lanes = LLVMGetVectorSize(like);
    LLVMValueRef items[64], one = LLVMConstReal(LLVMGetElementType(like), value);
    for (uint32_t i = 0; i < lanes; i++) items[i] = one;
    return LLVMConstVector(items, lanes);
}

LLVMValueRef emit_reciprocal(Emit *e, LLVMValueRef x, LLVMValueRef variable) {
    LLVMSetVolatile(LLVMBuildStore(e->b, LLVMBuildFDiv(e->b, emit_real(e, 1), x, ""), variable),
                    true);
    LLVMValueRef y = LLVMBuildLoad2(e->b, e->real, variable, "");
    LLVMSetVolatile(y, true);
    return y;
}

LLVMValueRef emit_splat(Emit *e, LLVMValueRef scalar) {
    LLVMTypeRef vector = LLVMVectorType(LLVMTypeOf(scalar), e->lanes);
    LLVMValueRef poison = LLVMGetPoison(vector);
    LLVMValueRef first =
        LLVMBuildInsertElement(e->b, poison, scalar, LLVMConstInt(e->i32, 0, false), "");
    return LLVMBuildShuffleVector(e->b, first, poison,
                                  LLVMConstNull(LLVMVectorType(e->i32, e->lanes)), "");
}

LLVMValueRef emit_intrinsic(Emit *e, const char *name, LLVMTypeRef overload,
                            const LLVMValueRef *args, uint32_t count) {
    unsigned id = LLVMLookupIntrinsicID(name, strlen(name));
    LLVMTypeRef types[1] = {overload};
    LLVMValueRef f = LLVMGetIntrinsicDeclaration(e->module, id, types, overload ? 1 : 0);
    LLVMTypeRef type = LLVMIntrinsicGetType(e->context, id, types, overload ? 1 : 0);
    return LLVMBuildCall2(e->b, type, f, (LLVMValueRef *)(uintptr_t)args, count, "");
}

/* Calls of such a function may be shared, moved, and dropped. */
static void mark_pure(Emit *e, LLVMValueRef f) {
    for (const char *const *a = (const char *const[]){"nounwind", "willreturn", "memory", NULL}; *a;
         a++) /* memory: 0 is none */
        LLVMAddAttributeAtIndex(
            f, (unsigned)LLVMAttributeFunctionIndex,
            LLVMCreateEnumAttribute(e->context, LLVMGetEnumAttributeKindForName(*a, strlen(*a)),
                                    0));
}

/* `f` of every lane, as a function of vectors of its own: written once, however often it is called. */
static LLVMValueRef lanes_function(Emit *e, const char *symbol, LLVMValueRef f, LLVMTypeRef type,
                                   LLVMTypeRef vector, uint32_t count) {
    char name[48];
    uint32_t lanes = LLVMGetVectorSize(vector);
    snprintf(name, sizeof name, "pdn_%s_x%u", symbol, lanes);
    LLVMValueRef made = LLVMGetNamedFunction(e->module, name);
    if (made) return made;
    LLVMTypeRef args[3] = {vector, vector, vector};
    made = emit_function(e, name, LLVMFunctionType(vector, args, count, false), false);
    mark_pure(e, made);
    LLVMAddAttributeAtIndex(
        made, (unsigned)LLVMAttributeFunctionIndex,
        LLVMCreateEnumAttribute(e->context, LLVMGetEnumAttributeKindForName("noinline", 8), 0));
    LLVMBasicBlockRef back = LLVMGetInsertBlock(e->b);
    LLVMPositionBuilderAtEnd(e->b, LLVMAppendBasicBlockInContext(e->context, made, ""));
    LLVMValueRef out = LLVMGetPoison(vector);
    for (uint32_t i = 0; i < lanes; i++) {
        LLVMValueRef lane = LLVMConstInt(e->i32, i, false), item[3];
        for (uint32_t k = 0; k < count; k++)
            item[k] = LLVMBuildExtractElement(e->b, LLVMGetParam(made, k), lane, "");
        out = LLVMBuildInsertElement(e->b, out, LLVMBuildCall2(e->b, type, f, item, count, ""),
                                     lane, "");
    }
    LLVMBuildRet(e->b, out);
    LLVMPositionBuilderAtEnd(e->b, back);
    return made;
}

/* A function of the maths library. */
LLVMValueRef emit_library(Emit *e, const char *name, const LLVMValueRef *x, uint32_t count) {
    char symbol[32];
    snprintf(symbol, sizeof symbol, "%s%s", name, e->plan->f64 ? "" : "f");
    LLVMTypeRef args[3] = {e->real, e->real, e->real}, vector = LLVMTypeOf(x[0]);
    LLVMTypeRef type = LLVMFunctionType(e->real, args, count, false);
    LLVMValueRef f = LLVMGetNamedFunction(e->module, symbol);
    if (!f) {
        f = LLVMAddFunction(e->module, symbol, type);
        mark_pure(e, f);
    }
    if (LLVMGetTypeKind(vector) == LLVMVectorTypeKind) {
        f = lanes_function(e, symbol, f, type, vector, count);
        for (uint32_t k = 0; k < 3; k++) args[k] = vector;
        type = LLVMFunctionType(vector, args, count, false);
    }
    return LLVMBuildCall2(e->b, type, f, (LLVMValueRef *)(uintptr_t)x, count, "");
}

static LLVMValueRef compare(Emit *e, LLVMRealPredicate p, LLVMValueRef a, LLVMValueRef b) {
    return LLVMBuildFCmp(e->b, p, a, b, "");
}

static LLVMValueRef truth(Emit *e, LLVMValueRef condition, LLVMTypeRef like) {
    return LLVMBuildSelect(e->b, condition, emit_number(e, like, 1), emit_number(e, like, 0), "");
}

/* a < b ? a : b (or >), NaN where either is NaN. */
static LLVMValueRef extremum(Emit *e, LLVMRealPredicate p, LLVMValueRef a, LLVMValueRef b) {
    LLVMValueRef chosen = LLVMBuildSelect(e->b, compare(e, p, a, b), a, b, "");
    return LLVMBuildSelect(e->b, compare(e, LLVMRealUNO, a, a), a, chosen, "");
}

/* exp(-|x|) */
static LLVMValueRef emit_tail(Emit *e, LLVMValueRef x) {
    LLVMValueRef size = emit_op(e, OP_ABS, &x), minus = LLVMBuildFNeg(e->b, size, "");
    return emit_op(e, OP_EXP, &minus);
}

static LLVMValueRef special(Emit *e, Op op, const LLVMValueRef *x) {
    LLVMTypeRef t = LLVMTypeOf(x[0]);
    LLVMValueRef zero = emit_number(e, t, 0);
    switch (op) {
    case OP_MIN: return extremum(e, LLVMRealOLT, x[0], x[1]);
    case OP_MAX: return extremum(e, LLVMRealOGT, x[0], x[1]);
    case OP_MOD: {
        LLVMValueRef q = emit_op(e, OP_FLOOR, (LLVMValueRef[]){emit_op(e, OP_DIV, x)});
        return LLVMBuildFSub(e->b, x[0], LLVMBuildFMul(e->b, q, x[1], ""), "");
    }
    case OP_AND:
    case OP_OR: {
        LLVMValueRef a = compare(e, LLVMRealUNE, x[0], zero),
                     b = compare(e, LLVMRealUNE, x[1], zero);
        return truth(e, op == OP_AND ? LLVMBuildAnd(e->b, a, b, "") : LLVMBuildOr(e->b, a, b, ""),
                     t);
    }
    case OP_NOT: return truth(e, compare(e, LLVMRealOEQ, x[0], zero), t);
    case OP_WHERE:
        return LLVMBuildSelect(e->b, compare(e, LLVMRealUNE, x[0], zero), x[1], x[2], "");
    case OP_GUARDED:
        return LLVMBuildSelect(e->b, compare(e, LLVMRealOEQ, x[1], zero), zero, x[0], "");
    case OP_DETACH: return x[0];
    case OP_SIGN: {
        LLVMValueRef s = LLVMBuildSelect(e->b, compare(e, LLVMRealOLT, x[0], zero),
                                         emit_number(e, t, -1), zero, "");
        s = LLVMBuildSelect(e->b, compare(e, LLVMRealOGT, x[0], zero), emit_number(e, t, 1), s, "");
        return LLVMBuildSelect(e->b, compare(e, LLVMRealUNO, x[0], x[0]), x[0], s, "");
    }
    case OP_SIGMOID: {
        LLVMValueRef tail = emit_tail(e, x[0]), one = emit_number(e, t, 1);
        LLVMValueRef top =
            LLVMBuildSelect(e->b, compare(e, LLVMRealOLT, x[0], zero), tail, one, "");
        return emit_op(e, OP_DIV, (LLVMValueRef[]){top, LLVMBuildFAdd(e->b, one, tail, "")});
    }
    case OP_SOFTPLUS: {
        LLVMValueRef tail = emit_tail(e, x[0]);
        LLVMValueRef line = extremum(e, LLVMRealOGT, x[0], zero);
        return LLVMBuildFAdd(e->b, line, emit_op(e, OP_LOG1P, &tail), "");
    }
    default: return zero; /* a row of ops.def without a lowering: caught by tests of every op */
    }
}

/* 1/b to 14 bits; scalars go through a vector, so that they get the same bits. */
static LLVMValueRef estimate(Emit *e, LLVMValueRef b) {
    LLVMTypeRef t = LLVMTypeOf(b);
    bool vector = LLVMGetTypeKind(t) == LLVMVectorTypeKind;
    LLVMTypeRef wide = vector ? t : LLVMVectorType(t, 4);
    LLVMValueRef zero = LLVMConstInt(e->i32, 0, false);
    LLVMValueRef v = vector ? b : LLVMBuildInsertElement(e->b, LLVMConstNull(wide), b, zero, "");
    LLVMTypeRef mask = LLVMIntTypeInContext(e->context, vector ? 16 : 8);
    LLVMValueRef args[3] = {v, LLVMConstNull(wide), LLVMConstAllOnes(mask)};
    LLVMValueRef r = emit_intrinsic(
        e, vector ? "llvm.x86.avx512.rcp14.ps.512" : "llvm.x86.avx512.rcp14.ps.128", NULL, args, 3);
    return vector ? r : LLVMBuildExtractElement(e->b, r, zero, "");
}

static bool is_one(Emit *e, LLVMValueRef v) { return v == emit_number(e, LLVMTypeOf(v), 1); }

/* A Newton step on the estimate r0 of 1/b. */
static LLVMValueRef newton_step(Emit *e, LLVMValueRef b, LLVMValueRef r0) {
    LLVMTypeRef t = LLVMTypeOf(b);
    LLVMValueRef minus = LLVMBuildFNeg(e->b, b, "");
    LLVMValueRef error =
        emit_intrinsic(e, "llvm.fma", t, (LLVMValueRef[]){minus, r0, emit_number(e, t, 1)}, 3);
    return emit_intrinsic(e, "llvm.fma", t, (LLVMValueRef[]){r0, error, r0}, 3);
}

/* Within 1 ulp, and where that is 0 or infinite it is so exactly. */
static LLVMValueRef reciprocal_by_estimate(Emit *e, LLVMValueRef b) {
    LLVMValueRef r0 = estimate(e, b), r = newton_step(e, b, r0);
    return LLVMBuildSelect(e->b, LLVMBuildFCmp(e->b, LLVMRealUNO, r, r, ""), r0, r, "");
}

void emit_rare_begin(Emit *e, Rare *r, LLVMValueRef where) {
    LLVMValueRef any = where;
    if (LLVMGetTypeKind(LLVMTypeOf(where)) == LLVMVectorTypeKind) {
        LLVMTypeRef bits = LLVMIntTypeInContext(e->context, LLVMGetVectorSize(LLVMTypeOf(where)));
        any = LLVMBuildICmp(e->b, LLVMIntNE, LLVMBuildBitCast(e->b, where, bits, ""),
                            LLVMConstNull(bits), "");
    }
    LLVMBasicBlockRef rare = emit_block(e, "rare");
    r->before = LLVMGetInsertBlock(e->b);
    r->go = emit_block(e, "go");
    LLVMBuildCondBr(e->b, any, rare, r->go);
    LLVMPositionBuilderAtEnd(e->b, rare);
}

void emit_rare_end(Emit *e, Rare *r, LLVMValueRef *value, const LLVMValueRef *there,
                   uint32_t count) {
    LLVMBasicBlockRef from = LLVMGetInsertBlock(e->b);
    LLVMBuildBr(e->b, r->go);
    LLVMPositionBuilderAtEnd(e->b, r->go);
    for (uint32_t i = 0; i < count; i++) {
        LLVMValueRef phi = LLVMBuildPhi(e->b, LLVMTypeOf(value[i]), "");
        LLVMAddIncoming(phi, (LLVMValueRef[]){value[i], there[i]},
                        (LLVMBasicBlockRef[]){r->before, from}, 2);
        value[i] = phi;
    }
}

/* Each q, but what the divider gives where that is NaN, which is rare, and so asked of all at once: b is 0 or so small that
 * 1/b is too large, a or b is infinite, the quotient is too large. */
static void divide_rare(Emit *e, const LLVMValueRef *a, const LLVMValueRef *b, LLVMValueRef *q,
                        uint32_t count) {
    LLVMValueRef where = NULL;
    for (uint32_t i = 0; i < count; i += 2) {
        LLVMValueRef here =
            LLVMBuildFCmp(e->b, LLVMRealUNO, q[i], q[i + 1 < count ? i + 1 : i], "");
        where = where ? LLVMBuildOr(e->b, where, here, "") : here;
    }
    Rare rare;
    LLVMValueRef there[MOST_QUOTIENTS];
    emit_rare_begin(e, &rare, where);
    for (uint32_t i = 0; i < count; i++) {
        LLVMValueRef wrong = LLVMBuildFCmp(e->b, LLVMRealUNO, q[i], q[i], "");
        there[i] = LLVMBuildSelect(e->b, wrong, LLVMBuildFDiv(e->b, a[i], b[i], ""), q[i], "");
    }
    emit_rare_end(e, &rare, q, there, count);
}

/* a / b in single precision: by the estimate of 1/b, then a Newton step on the quotient; within 1 ulp, so that quotients
 * that are numbers are exact; 1.5 where a is below 1e-30. Of a below 2^-126, which has lost bits itself, the rest is rounded
 * as a was: the result is within 1 ulp of that of a numerator that is half a unit of its last place away. */
static LLVMValueRef divide_by_estimate(Emit *e, LLVMValueRef a, LLVMValueRef b) {
    LLVMTypeRef t = LLVMTypeOf(a);
    LLVMValueRef r = estimate(e, b), minus = LLVMBuildFNeg(e->b, b, ""),
                 first = LLVMBuildFMul(e->b, a, r, "");
    LLVMValueRef rest = emit_intrinsic(e, "llvm.fma", t, (LLVMValueRef[]){minus, first, a}, 3);
    return emit_intrinsic(e, "llvm.fma", t, (LLVMValueRef[]){rest, r, first}, 3);
}

void emit_quotients(Emit *e, const LLVMValueRef *a, const LLVMValueRef *b, LLVMValueRef *q,
                    uint32_t count) {
    bool estimates = e->in_kernel && e->machine.estimates && !e->machine.exact && !e->plan->f64 &&
                     e->lanes == 16;
    bool inverse = is_one(e, a[0]);
    for (uint32_t i = 0; i < count; i++)
        q[i] = !estimates ? LLVMBuildFDiv(e->b, a[i], b[i], "")
               : inverse  ? reciprocal_by_estimate(e, b[i])
                          : divide_by_estimate(e, a[i], b[i]);
    if (!estimates || inverse) return;
    divide_rare(e, a, b, q, count);
    e->estimated = true;
}

static LLVMValueRef divide(Emit *e, LLVMValueRef a, LLVMValueRef b) {
    LLVMValueRef q;
    emit_quotients(e, &a, &b, &q, 1);
    return q;
}

LLVMValueRef emit_op(Emit *e, Op op, const LLVMValueRef *x) {
    const OpInfo *info = op_info(op);
    const char *how = info->lower;
    LLVMTypeRef t = LLVMTypeOf(x[0]);
    if (strcmp(how, "fneg") == 0) return LLVMBuildFNeg(e->b, x[0], "");
    if (strcmp(how, "fadd") == 0) return LLVMBuildFAdd(e->b, x[0], x[1], "");
    if (strcmp(how, "fsub") == 0) return LLVMBuildFSub(e->b, x[0], x[1], "");
    if (strcmp(how, "fmul") == 0) return LLVMBuildFMul(e->b, x[0], x[1], "");
    if (strcmp(how, "fdiv") == 0) return divide(e, x[0], x[1]);
    if (strncmp(how, "llvm.", 5) == 0)
        return emit_intrinsic(e, how, t, x, (uint32_t)info->operands);
    if (strncmp(how, "call ", 5) == 0) {
        LLVMValueRef vector = e->in_kernel && !e->machine.exact ? emit_math(e, op, x) : NULL;
        return vector ? vector : emit_library(e, how + 5, x, (uint32_t)info->operands);
    }
    if (strcmp(how, "fcmp olt") == 0) return truth(e, compare(e, LLVMRealOLT, x[0], x[1]), t);
    if (strcmp(how, "fcmp ole") == 0) return truth(e, compare(e, LLVMRealOLE, x[0], x[1]), t);
    if (strcmp(how, "fcmp oeq") == 0) return truth(e, compare(e, LLVMRealOEQ, x[0], x[1]), t);
    if (strcmp(how, "fcmp une") == 0) return truth(e, compare(e, LLVMRealUNE, x[0], x[1]), t);
    return special(e, op, x);
}

/* ---- reductions ------------------------------------------------------------------------- */

double reduction_start(Op op) { return op == OP_SUM ? 0 : op == OP_LEAST ? INFINITY : -INFINITY; }

LLVMValueRef emit_combine(Emit *e, Op op, LLVMValueRef a, LLVMValueRef b) {
    return op == OP_SUM ? LLVMBuildFAdd(e->b, a, b, "")
                        : extremum(e, op == OP_LEAST ? LLVMRealOLT : LLVMRealOGT, a, b);
}

/* ---- control flow ------------------------------------------------------------------------- */

LLVMValueRef emit_word(Emit *e, LLVMTypeRef type, LLVMValueRef base, uint32_t word,
                       const char *name) {
    LLVMValueRef at = base;
    if (word) {
        LLVMValueRef index = emit_i64(e, word);
        at = LLVMBuildInBoundsGEP2(e->b, e->i64, base, &index, 1, "");
    }
    return LLVMBuildLoad2(e->b, type, at, name);
}

static LLVMValueRef current_function(Emit *e) {
    return LLVMGetBasicBlockParent(LLVMGetInsertBlock(e->b));
}

LLVMValueRef emit_variable(Emit *e, LLVMTypeRef type, const char *name) {
    LLVMBasicBlockRef here = LLVMGetInsertBlock(e->b),
                      entry = LLVMGetEntryBasicBlock(current_function(e));
    LLVMValueRef first = LLVMGetFirstInstruction(entry);
    if (first)
        LLVMPositionBuilderBefore(e->b, first);
    else
        LLVMPositionBuilderAtEnd(e->b, entry);
    LLVMValueRef v = LLVMBuildAlloca(e->b, type, name);
    LLVMPositionBuilderAtEnd(e->b, here);
    return v;
}

LLVMBasicBlockRef emit_block(Emit *e, const char *name) {
    return LLVMAppendBasicBlockInContext(e->context, current_function(e), name);
}

LLVMBasicBlockRef emit_if_begin(Emit *e, LLVMValueRef condition) {
    LLVMBasicBlockRef then = emit_block(e, "then"), go = emit_block(e, "go");
    LLVMBuildCondBr(e->b, condition, then, go);
    LLVMPositionBuilderAtEnd(e->b, then);
    return go;
}

void emit_if_end(Emit *e, LLVMBasicBlockRef go) {
    LLVMBuildBr(e->b, go);
    LLVMPositionBuilderAtEnd(e->b, go);
}

/* Is it known that the loop has one turn? Then there is no loop: blocks are what takes time to compile. */
static bool turns_once(LLVMValueRef from, LLVMValueRef to, LLVMValueRef step) {
    if (!LLVMIsAConstantInt(from) || !LLVMIsAConstantInt(to) || !LLVMIsAConstantInt(step))
        return false;
    int64_t turns = LLVMConstIntGetSExtValue(to) - LLVMConstIntGetSExtValue(from);
    return turns > 0 && turns <= LLVMConstIntGetSExtValue(step);
}

LLVMValueRef emit_loop_begin(Emit *e, Counting *c, LLVMValueRef from, LLVMValueRef to,
                             LLVMValueRef step, const char *name) {
    c->variable = emit_variable(e, e->i64, name);
    c->step = step;
    c->head = NULL;
    LLVMBuildStore(e->b, from, c->variable);
    if (turns_once(from, to, step)) return from;
    c->head = emit_block(e, "head");
    c->done = emit_block(e, "done");
    LLVMBasicBlockRef body = emit_block(e, "body");
    LLVMBuildBr(e->b, c->head);
    LLVMPositionBuilderAtEnd(e->b, c->head);
    LLVMValueRef i = LLVMBuildLoad2(e->b, e->i64, c->variable, name);
    LLVMBuildCondBr(e->b, LLVMBuildICmp(e->b, LLVMIntSLT, i, to, ""), body, c->done);
    LLVMPositionBuilderAtEnd(e->b, body);
    return i;
}

void emit_loop_end(Emit *e, Counting *c) {
    LLVMValueRef i = LLVMBuildLoad2(e->b, e->i64, c->variable, "");
    LLVMBuildStore(e->b, LLVMBuildNSWAdd(e->b, i, c->step, ""), c->variable);
    if (!c->head) return;
    LLVMBuildBr(e->b, c->head);
    LLVMPositionBuilderAtEnd(e->b, c->done);
}

LLVMValueRef emit_cells(Emit *e, LLVMValueRef grid, uint32_t rank) {
    LLVMValueRef cells = emit_word(e, e->i64, grid, GRID_EXTENT, "extent");
    for (uint32_t a = 1; a < rank; a++)
        cells =
            LLVMBuildNSWMul(e->b, cells, emit_word(e, e->i64, grid, GRID_EXTENT + a, "extent"), "");
    return cells;
}

LLVMValueRef emit_min(Emit *e, LLVMValueRef a, LLVMValueRef b) {
    return LLVMBuildSelect(e->b, LLVMBuildICmp(e->b, LLVMIntSLT, a, b, ""), a, b, "");
}

LLVMValueRef emit_max(Emit *e, LLVMValueRef a, LLVMValueRef b) {
    return LLVMBuildSelect(e->b, LLVMBuildICmp(e->b, LLVMIntSGT, a, b, ""), a, b, "");
}

static void attribute(Emit *e, LLVMValueRef f, const char *name, const char *value) {
    LLVMAddAttributeAtIndex(f, (unsigned)LLVMAttributeFunctionIndex,
                            LLVMCreateStringAttribute(e->context, name, (unsigned)strlen(name),
                                                      value, (unsigned)strlen(value)));
}

LLVMValueRef emit_function(Emit *e, const char *name, LLVMTypeRef type, bool external) {
    LLVMValueRef f = LLVMAddFunction(e->module, name, type);
    LLVMSetLinkage(f, external ? LLVMExternalLinkage : LLVMInternalLinkage);
    LLVMAddAttributeAtIndex(
        f, (unsigned)LLVMAttributeFunctionIndex,
        LLVMCreateEnumAttribute(e->context, LLVMGetEnumAttributeKindForName("nounwind", 8), 0));
    if (e->machine.cpu && *e->machine.cpu) attribute(e, f, "target-cpu", e->machine.cpu);
    if (e->machine.features && *e->machine.features)
        attribute(e, f, "target-features", e->machine.features);
    if (e->machine.vector_bits == 512) attribute(e, f, "prefer-vector-width", "512");
    return f;
}

void emit_start(Emit *e, const Plan *plan, const Machine *machine, bool standalone) {
    *e = (Emit){.plan = plan, .program = "", .machine = *machine, .standalone = standalone};
    e->arena = arena_new();
    e->context = LLVMContextCreate();
    e->module = LLVMModuleCreateWithNameInContext("pdn", e->context);
    e->b = LLVMCreateBuilderInContext(e->context);
    e->f64 = LLVMDoubleTypeInContext(e->context);
    e->real = plan->f64 ? e->f64 : LLVMFloatTypeInContext(e->context);
    e->i64 = LLVMInt64TypeInContext(e->context);
    e->i32 = LLVMInt32TypeInContext(e->context);
    e->i1 = LLVMInt1TypeInContext(e->context);
    e->ptr = LLVMPointerTypeInContext(e->context, 0);
    e->none = LLVMVoidTypeInContext(e->context);
    e->size = plan->f64 ? 8 : 4;
    e->lanes = machine->vector_bits / 8 / e->size;
    e->kernel_type = LLVMFunctionType(e->none, (LLVMTypeRef[]){e->ptr, e->i64, e->i64}, 3, false);
}

void emit_free(Emit *e) {
    LLVMDisposeBuilder(e->b);
    LLVMDisposeModule(e->module);
    LLVMContextDispose(e->context);
    arena_free(e->arena);
}

/* ---- trees of partial results ------------------------------------------------------------------ */

LLVMValueRef emit_tree(Emit *e, Op op) {
    if (e->trees[op]) return e->trees[op];
    LLVMBasicBlockRef back = LLVMGetInsertBlock(e->b);
    LLVMTypeRef type = LLVMFunctionType(e->f64, (LLVMTypeRef[]){e->ptr, e->i64}, 2, false);
    char *name = arena_format(e->arena, "pdn_tree_%s", op_info(op)->name);
    LLVMValueRef f = e->trees[op] = emit_function(e, name, type, false), x = LLVMGetParam(f, 0);
    LLVMPositionBuilderAtEnd(e->b, LLVMAppendBasicBlockInContext(e->context, f, "entry"));
    LLVMValueRef left = emit_variable(e, e->i64, "left"), one = emit_i64(e, 1);
    LLVMBuildStore(e->b, LLVMGetParam(f, 1), left);
    LLVMBasicBlockRef head = emit_block(e, "level"), body = emit_block(e, "pairs"),
                      done = emit_block(e, "one");
    LLVMBuildBr(e->b, head);
    LLVMPositionBuilderAtEnd(e->b, head);
    LLVMValueRef n = LLVMBuildLoad2(e->b, e->i64, left, "");
    LLVMBuildCondBr(e->b, LLVMBuildICmp(e->b, LLVMIntSGT, n, one, ""), body, done);
    LLVMPositionBuilderAtEnd(e->b, body);
    Counting c;
    LLVMValueRef half = LLVMBuildLShr(e->b, LLVMBuildNSWAdd(e->b, n, one, ""), one, "");
    LLVMValueRef i = emit_loop_begin(e, &c, emit_i64(e, 0), half, one, "i");
    LLVMValueRef even = LLVMBuildShl(e->b, i, one, ""), odd = LLVMBuildNSWAdd(e->b, even, one, "");
    LLVMValueRef has = LLVMBuildICmp(e->b, LLVMIntSLT, odd, n, "");
    odd = LLVMBuildSelect(e->b, has, odd, even, "");
    LLVMValueRef a =
        LLVMBuildLoad2(e->b, e->f64, LLVMBuildInBoundsGEP2(e->b, e->f64, x, &even, 1, ""), "");
    LLVMValueRef b =
        LLVMBuildLoad2(e->b, e->f64, LLVMBuildInBoundsGEP2(e->b, e->f64, x, &odd, 1, ""), "");
    LLVMValueRef both = LLVMBuildSelect(e->b, has, emit_combine(e, op, a, b), a, "");
    LLVMBuildStore(e->b, both, LLVMBuildInBoundsGEP2(e->b, e->f64, x, &i, 1, ""));
    emit_loop_end(e, &c);
    LLVMBuildStore(e->b, half, left);
    LLVMBuildBr(e->b, head);
    LLVMPositionBuilderAtEnd(e->b, done);
    LLVMBuildRet(e->b, LLVMBuildLoad2(e->b, e->f64, x, ""));
    LLVMPositionBuilderAtEnd(e->b, back);
    return f;
}
