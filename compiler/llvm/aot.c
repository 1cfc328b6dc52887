/* Standalone kernels: the whole program behind two C functions, in files that need nothing but the maths library.
 *
 *     size_t NAME_workspace(const int64_t size[]);
 *     int NAME(const int64_t size[], const T *const in[], T *const out[], void *workspace);
 *     int NAME_vjp(const int64_t size[], const T *const in[], const T *const out_bar[], T *const in_bar[],
 *                  void *workspace);
 */
#include "compiler/llvm/aot.h"
#include "compiler/llvm/parts.h"

#include <llvm-c/Analysis.h>
#include <llvm-c/Target.h>

#include <errno.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

/* ---- grids from sizes ----------------------------------------------------------------------- */

/* Which axis of `size` (slowest first) an axis of unknown extent is. */
static LLVMValueRef size_entry(Emit *e, LLVMValueRef size, uint32_t rank, uint32_t axis) {
    return emit_word(e, e->i64, size, rank - 1 - axis, "size");
}

static void put(Emit *e, LLVMValueRef grids, GridId g, uint32_t word, LLVMValueRef value) {
    LLVMValueRef i = emit_i64(e, (int64_t)g * GRID_WORDS + word);
    LLVMBuildStore(e->b, value, LLVMBuildInBoundsGEP2(e->b, e->i64, grids, &i, 1, ""));
}

/* Fills a PdnGrid for every grid of the module; extents[g][axis] are their values. Sizes that make no sense
 * leave through `bad`. */
static LLVMValueRef make_grids(Emit *e, const Module *m, LLVMValueRef size, LLVMBasicBlockRef bad) {
    LLVMValueRef grids =
        emit_variable(e, LLVMArrayType2(e->i64, (uint64_t)m->grids.len * GRID_WORDS), "grids");
    LLVMValueRef(*extent)[MAX_RANK] = arena_alloc(e->arena, sizeof *extent * m->grids.len);
    for (GridId g = 1; g < m->grids.len; g++) {
        const Grid *grid = &m->grids.data[g];
        LLVMValueRef stride = emit_i64(e, 1), one = emit_i64(e, 1);
        for (uint32_t a = 0; a < MAX_RANK; a++) {
            LLVMValueRef n = one;
            if (a < grid->rank && grid->extent[a] >= 0)
                n = emit_i64(e, grid->extent[a]);
            else if (a < grid->rank && grid->coarser)
                n = LLVMBuildShl(e->b, extent[grid->coarser][a], one, "");
            else if (a < grid->rank && grid->finer)
                n = LLVMBuildLShr(e->b, LLVMBuildNSWAdd(e->b, extent[grid->finer][a], one, ""), one,
                                  "");
            else if (a < grid->rank) {
                n = size_entry(e, size, grid->rank, a);
                LLVMBasicBlockRef good = emit_block(e, "good");
                LLVMValueRef low = LLVMBuildICmp(e->b, LLVMIntSLT, n, one, "");
                LLVMValueRef high =
                    LLVMBuildICmp(e->b, LLVMIntSGT, n, emit_i64(e, INT64_C(1) << 31), "");
                LLVMBuildCondBr(e->b, LLVMBuildOr(e->b, low, high, ""), bad, good);
                LLVMPositionBuilderAtEnd(e->b, good);
            }
            extent[g][a] = n;
            put(e, grids, g, GRID_EXTENT + a, n);
            put(e, grids, g, 3 + a, emit_i64(e, 0)); /* low, high: all of it */
            put(e, grids, g, 6 + a, n);
            put(e, grids, g, GRID_STRIDE + a, stride);
            stride = LLVMBuildNSWMul(e->b, stride, n, "");
            put(e, grids, g, GRID_SPACING + a,
                LLVMConstReal(e->f64, a < grid->rank ? grid->spacing[a] : 1));
            put(e, grids, g, GRID_ORIGIN + a,
                LLVMConstReal(e->f64, a < grid->rank ? grid->origin[a] : 0));
        }
        put(e, grids, g, GRID_CHANNEL, stride);
    }
    return grids;
}

static LLVMValueRef constant_table(Emit *e) {
    uint32_t count = e->plan->constants.len;
    LLVMValueRef *values = ARENA_ARRAY(e->arena, LLVMValueRef, count + 1);
    for (uint32_t i = 0; i < count; i++)
        values[i] = LLVMConstReal(e->f64, e->plan->constants.data[i]);
    LLVMValueRef table = LLVMAddGlobal(e->module, LLVMArrayType2(e->f64, count), "pdn_constants");
    LLVMSetInitializer(table, LLVMConstArray2(e->f64, values, count));
    LLVMSetGlobalConstant(table, true);
    LLVMSetLinkage(table, LLVMInternalLinkage);
    return table;
}

/* The six pointers of a run (emit_host.c). */
static LLVMValueRef make_run(Emit *e, LLVMValueRef grids, LLVMValueRef in, LLVMValueRef out,
                             LLVMValueRef workspace) {
    LLVMValueRef null = LLVMConstNull(e->ptr);
    LLVMValueRef values[6] = {null,
                              grids,
                              in ? in : null,
                              out ? out : null,
                              workspace ? workspace : null,
                              constant_table(e)};
    LLVMValueRef run = emit_variable(e, LLVMArrayType2(e->ptr, 6), "run");
    for (uint32_t i = 0; i < 6; i++) {
        LLVMValueRef index = emit_i64(e, i);
        LLVMBuildStore(e->b, values[i], LLVMBuildInBoundsGEP2(e->b, e->ptr, run, &index, 1, ""));
    }
    return run;
}

bool aot_needs_size(const Module *m) {
    for (GridId g = 1; g < m->grids.len; g++)
        for (uint32_t a = 0; a < m->grids.data[g].rank; a++)
            if (m->grids.data[g].extent[a] < 0) return true;
    return false;
}

/* ---- what a program is given -------------------------------------------------------------- */

/* All that the files are made of. */
typedef struct {
    const Plan *plan;
    const Module *m;
    const CodeBuild *b;
    uint32_t pointer_bits;
    bool swapped; /* as Inside.swapped */
} Standalone;

/* One of the programs of a kernel: its value, or its derivative. */
typedef struct {
    const Plan *plan;
    LLVMValueRef run, workspace;
} Program;

typedef struct {
    Emit *e;
    const Module *m;
    const CodeBuild *b;
    uint32_t pointer_bits;
    Program value, vjp;
} Kernels;

static Program take_program(Emit *e, const Plan *plan, const char *name, const char *run,
                            const char *workspace) {
    e->plan = plan;
    e->program = name;
    emit_program(e);
    Program p = {plan, LLVMGetNamedFunction(e->module, "pdn_program_run"),
                 LLVMGetNamedFunction(e->module, "pdn_program_workspace")};
    LLVMSetValueName2(p.run, run, strlen(run)); /* the names are free for another program */
    LLVMSetValueName2(p.workspace, workspace, strlen(workspace));
    return p;
}

static LLVMValueRef call_run(Emit *e, LLVMValueRef f, LLVMValueRef run) {
    return LLVMBuildCall2(e->b, LLVMGlobalGetValueType(f), f, &run, 1, "");
}

static LLVMValueRef entry(Emit *e, LLVMValueRef list, uint32_t i) {
    LLVMValueRef index = emit_i64(e, i);
    return LLVMBuildInBoundsGEP2(e->b, e->ptr, list, &index, 1, "");
}

static LLVMValueRef load_entry(Emit *e, LLVMValueRef list, uint32_t i) {
    return LLVMBuildLoad2(e->b, e->ptr, entry(e, list, i), "");
}

static bool is_plain(const Kernels *k) {
    for (uint32_t i = 0; i < k->m->inputs.len; i++)
        if (k->b->inputs[i].place != i || k->b->inputs[i].frames >= 0) return false;
    return true;
}

/* A PdnStack, of two words whatever the size of a pointer. */
static LLVMValueRef stack_of(Emit *e, int64_t frames, LLVMValueRef data) {
    LLVMValueRef p = emit_variable(e, LLVMArrayType2(e->i64, 2), "stack"), one = emit_i64(e, 1);
    LLVMBuildStore(e->b, emit_i64(e, frames), p);
    LLVMBuildStore(e->b, data, LLVMBuildInBoundsGEP2(e->b, e->i64, p, &one, 1, ""));
    return p;
}

/* Pointers by the program's inputs: those of `in`, what is inside, and the entries of out_bar if it is given. */
static LLVMValueRef program_inputs(Kernels *k, LLVMValueRef in, LLVMValueRef out_bar) {
    Emit *e = k->e;
    uint32_t count = k->m->inputs.len, results = graph_get(k->m, k->m->main)->results.len;
    if (!out_bar && is_plain(k)) return in;
    LLVMValueRef list =
        emit_variable(e, LLVMArrayType2(e->ptr, (uint64_t)count + results), "inputs");
    for (uint32_t i = 0; i < count; i++) {
        const CodeInput *c = &k->b->inputs[i];
        LLVMValueRef p = c->place < 0 ? inside_data(e, i) : load_entry(e, in, (uint32_t)c->place);
        if (c->frames >= 0) p = stack_of(e, c->frames, p);
        LLVMBuildStore(e->b, p, entry(e, list, i));
    }
    for (uint32_t i = 0; out_bar && i < results; i++)
        LLVMBuildStore(e->b, load_entry(e, out_bar, i), entry(e, list, count + i));
    return list;
}

/* ---- room for cotangents that nobody wants --------------------------------------------------- */

static LLVMValueRef input_bytes(Kernels *k, LLVMValueRef grids, uint32_t input) {
    Emit *e = k->e;
    Type t = k->m->inputs.data[input].type;
    int64_t frames = k->b->inputs[input].frames < 0 ? 1 : k->b->inputs[input].frames;
    LLVMValueRef bytes = emit_i64(e, frames * t.channels * e->size);
    if (t.grid != GRID_NONE) {
        LLVMValueRef i = emit_i64(e, (int64_t)t.grid * GRID_WORDS);
        LLVMValueRef g = LLVMBuildInBoundsGEP2(e->b, e->i64, grids, &i, 1, "grid");
        bytes = LLVMBuildNSWMul(e->b, bytes, emit_word(e, e->i64, g, GRID_CHANNEL, "channel"), "");
    }
    bytes = LLVMBuildNSWAdd(e->b, bytes, emit_i64(e, 63), "");
    return LLVMBuildAnd(e->b, bytes, emit_i64(e, -64), "");
}

/* Pointers by the program's results: those of in_bar; room at *room, which moves on, for those that are null. */
static LLVMValueRef program_outputs(Kernels *k, LLVMValueRef grids, LLVMValueRef in_bar,
                                    LLVMValueRef *room) {
    Emit *e = k->e;
    LLVMValueRef list = emit_variable(e, LLVMArrayType2(e->ptr, k->b->in_count + 1), "outputs");
    uint32_t at = 0;
    for (uint32_t i = 0; i < k->m->inputs.len; i++) {
        const CodeInput *c = &k->b->inputs[i];
        if (c->place < 0) continue;
        LLVMValueRef p = load_entry(e, in_bar, (uint32_t)c->place);
        p = LLVMBuildSelect(e->b, LLVMBuildIsNull(e->b, p, ""), *room, p, "");
        LLVMBuildStore(e->b, p, entry(e, list, at++));
        LLVMValueRef bytes = input_bytes(k, grids, i);
        *room =
            LLVMBuildInBoundsGEP2(e->b, LLVMInt8TypeInContext(e->context), *room, &bytes, 1, "");
    }
    return list;
}

/* ---- the functions ------------------------------------------------------------------------------- */

/* Whether one of the first `count` pointers that `list` points to is null; joined with `any`. */
static LLVMValueRef or_null(Emit *e, LLVMValueRef any, LLVMValueRef list, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        LLVMValueRef is = LLVMBuildIsNull(e->b, load_entry(e, list, i), "");
        any = any ? LLVMBuildOr(e->b, any, is, "") : is;
    }
    return any;
}

/* The function's beginning: null pointers leave with an error. lists[i] is how many entries of parameter i must
 * not be null; -1: the parameter itself may be null. Returns where sizes that make no sense go. */
static LLVMBasicBlockRef begin_entry(Kernels *k, const char *name, const int64_t *lists,
                                     uint32_t count) {
    Emit *e = k->e;
    LLVMTypeRef types[5] = {e->ptr, e->ptr, e->ptr, e->ptr, e->ptr};
    LLVMTypeRef type = LLVMFunctionType(e->i32, types, count, false);
    LLVMValueRef f = emit_function(e, name, type, true), any = NULL;
    LLVMPositionBuilderAtEnd(e->b, LLVMAppendBasicBlockInContext(e->context, f, "entry"));
    LLVMBasicBlockRef null = emit_block(e, "null"), inner = emit_block(e, "lists");
    LLVMBasicBlockRef go = emit_block(e, "go"), bad = emit_block(e, "bad");
    for (uint32_t i = 0; i < count; i++) {
        if (lists[i] < 0) continue;
        LLVMValueRef is = LLVMBuildIsNull(e->b, LLVMGetParam(f, i), "");
        any = any ? LLVMBuildOr(e->b, any, is, "") : is;
    }
    LLVMBuildCondBr(e->b, any, null, inner);
    LLVMPositionBuilderAtEnd(e->b, inner);
    any = NULL;
    for (uint32_t i = 0; i < count; i++)
        if (lists[i] > 0) any = or_null(e, any, LLVMGetParam(f, i), (uint32_t)lists[i]);
    if (any)
        LLVMBuildCondBr(e->b, any, null, go);
    else
        LLVMBuildBr(e->b, go);
    LLVMPositionBuilderAtEnd(e->b, null);
    LLVMBuildRet(e->b, LLVMConstInt(e->i32, PDN_ERROR_ARGUMENT, false));
    LLVMPositionBuilderAtEnd(e->b, bad);
    LLVMBuildRet(e->b, LLVMConstInt(e->i32, PDN_ERROR_SIZE, false));
    LLVMPositionBuilderAtEnd(e->b, go);
    return bad;
}

/* Scratch of a program, in whole lines of cache. */
static LLVMValueRef program_bytes(Kernels *k, const Program *p, LLVMValueRef grids) {
    Emit *e = k->e;
    e->plan = p->plan;
    LLVMValueRef bytes = call_run(e, p->workspace, make_run(e, grids, NULL, NULL, NULL));
    return LLVMBuildAnd(e->b, LLVMBuildNSWAdd(e->b, bytes, emit_i64(e, 63), ""), emit_i64(e, -64),
                        "");
}

static void emit_entry(Kernels *k) {
    Emit *e = k->e;
    int64_t in_count = k->b->in_count;
    const int64_t lists[4] = {aot_needs_size(k->m) ? 0 : -1, in_count ? in_count : -1,
                              graph_get(k->m, k->m->main)->results.len, 0};
    LLVMBasicBlockRef bad = begin_entry(k, k->b->name, lists, 4);
    LLVMValueRef f = LLVMGetNamedFunction(e->module, k->b->name);
    LLVMValueRef grids = make_grids(e, k->m, LLVMGetParam(f, 0), bad);
    LLVMValueRef run = make_run(e, grids, program_inputs(k, LLVMGetParam(f, 1), NULL),
                                LLVMGetParam(f, 2), LLVMGetParam(f, 3));
    LLVMBuildRet(e->b, call_run(e, k->value.run, run));
}

static void emit_vjp_entry(Kernels *k) {
    Emit *e = k->e;
    const char *name = arena_format(e->arena, "%s_vjp", k->b->name);
    int64_t in_count = k->b->in_count;
    const int64_t lists[5] = {aot_needs_size(k->m) ? 0 : -1, in_count ? in_count : -1,
                              graph_get(k->m, k->m->main)->results.len, in_count ? 0 : -1, 0};
    LLVMBasicBlockRef bad = begin_entry(k, name, lists, 5);
    LLVMValueRef f = LLVMGetNamedFunction(e->module, name), workspace = LLVMGetParam(f, 4);
    LLVMValueRef grids = make_grids(e, k->m, LLVMGetParam(f, 0), bad);
    LLVMValueRef inputs = program_inputs(k, LLVMGetParam(f, 1), LLVMGetParam(f, 2));
    LLVMValueRef bytes = program_bytes(k, &k->vjp, grids);
    LLVMValueRef room =
        LLVMBuildInBoundsGEP2(e->b, LLVMInt8TypeInContext(e->context), workspace, &bytes, 1, "");
    LLVMValueRef outputs = program_outputs(k, grids, LLVMGetParam(f, 3), &room);
    LLVMValueRef run = make_run(e, grids, inputs, outputs, workspace);
    LLVMBuildRet(e->b, call_run(e, k->vjp.run, run));
}

static LLVMValueRef vjp_bytes(Kernels *k, LLVMValueRef grids) {
    Emit *e = k->e;
    LLVMValueRef bytes = program_bytes(k, &k->vjp, grids);
    for (uint32_t i = 0; i < k->m->inputs.len; i++)
        if (k->b->inputs[i].place >= 0)
            bytes = LLVMBuildNSWAdd(e->b, bytes, input_bytes(k, grids, i), "");
    return bytes;
}

/* What suffices for the value and for the derivative. */
static void emit_workspace_entry(Kernels *k) {
    Emit *e = k->e;
    LLVMTypeRef result = k->pointer_bits == 64 ? e->i64 : e->i32;
    LLVMTypeRef type = LLVMFunctionType(result, &e->ptr, 1, false);
    LLVMValueRef f =
        emit_function(e, arena_format(e->arena, "%s_workspace", k->b->name), type, true);
    LLVMPositionBuilderAtEnd(e->b, LLVMAppendBasicBlockInContext(e->context, f, "entry"));
    LLVMBasicBlockRef bad = emit_block(e, "bad"), go = emit_block(e, "go");
    if (aot_needs_size(k->m))
        LLVMBuildCondBr(e->b, LLVMBuildIsNull(e->b, LLVMGetParam(f, 0), ""), bad, go);
    else
        LLVMBuildBr(e->b, go);
    LLVMPositionBuilderAtEnd(e->b, bad);
    LLVMBuildRet(e->b, LLVMConstNull(result));
    LLVMPositionBuilderAtEnd(e->b, go);
    LLVMValueRef grids = make_grids(e, k->m, LLVMGetParam(f, 0), bad);
    LLVMValueRef bytes = program_bytes(k, &k->value, grids);
    if (k->vjp.plan) bytes = emit_max(e, bytes, vjp_bytes(k, grids));
    LLVMBuildRet(e->b, k->pointer_bits == 64 ? bytes : LLVMBuildTrunc(e->b, bytes, result, ""));
}

static void emit_kernels(Emit *e, const void *standalone) {
    const Standalone *s = standalone;
    const CodeBuild *b = s->b;
    Inside *inside = e->inside = ARENA_NEW(e->arena, Inside);
    *inside = (Inside){.build = b, .count = s->m->inputs.len, .swapped = s->swapped};
    inside->data = ARENA_ARRAY(e->arena, LLVMValueRef, s->m->inputs.len + 1);
    Kernels k = {.e = e, .m = s->m, .b = b, .pointer_bits = s->pointer_bits};
    k.value = take_program(e, s->plan, "", "pdn_value_run", "pdn_value_workspace");
    emit_entry(&k);
    if (b->vjp) {
        k.vjp = take_program(e, b->vjp, "_vjp", "pdn_vjp_run", "pdn_vjp_workspace");
        emit_vjp_entry(&k);
        e->plan = s->plan;
    }
    emit_workspace_entry(&k);
}

/* ---- files -------------------------------------------------------------------------------------- */

static bool write_file(const char *folder, const char *prefix, const char *name, const char *suffix,
                       const void *bytes, size_t size, char **error) {
    char path[4096], aside[4160];
    if (snprintf(path, sizeof path, "%s/%s%s%s", folder, prefix, name, suffix) >=
        (int)sizeof path) {
        *error = text_message("the path is too long");
        return false;
    }
    snprintf(aside, sizeof aside, "%s.%ld.tmp", path, (long)getpid());
    FILE *file = fopen(aside, "wb");
    bool ok = file && fwrite(bytes, 1, size, file) == size;
    if (file) ok = fclose(file) == 0 && ok;
    if (ok && rename(aside, path) == 0) return true;
    *error = text_message("%s cannot be written: %s", path, strerror(errno));
    remove(aside);
    return false;
}

static bool run_tool(const char *const *command) {
    pid_t child;
    int status;
    if (posix_spawnp(&child, command[0], NULL, NULL, (char *const *)(uintptr_t)command, environ) !=
        0)
        return false;
    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR) return false;
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* Links NAME.o (a temporary one, if none was asked for) to a shared library, or a WebAssembly module. */
static bool link_shared(const CodeBuild *b, const Target *t, const void *object, size_t size,
                        char **error) {
    char from[4096], aside[4096], to[4096], exported[300], exported2[300], exported3[300];
    bool wasm = strncmp(t->triple, "wasm", 4) == 0, native = !b->target.triple;
    char hidden[300];
    snprintf(hidden, sizeof hidden, ".%s.%ld", b->name, (long)getpid());
    if (!write_file(b->folder, "", hidden, ".o", object, size, error)) return false;
    snprintf(from, sizeof from, "%s/%s.o", b->folder, hidden);
    snprintf(aside, sizeof aside, "%s/%s.tmp", b->folder, hidden);
    snprintf(to, sizeof to, wasm ? "%s/%s.wasm" : "%s/lib%s.so", b->folder, b->name);
    snprintf(exported, sizeof exported, "--export=%s", b->name);
    snprintf(exported2, sizeof exported2, "--export=%s_workspace", b->name);
    snprintf(exported3, sizeof exported3, "--export-if-defined=%s_vjp", b->name);
    const char *cc[] = {"cc", "-shared", from, "-o", aside, "-lm", NULL};
    const char *lld[] = {"ld.lld", "-shared", from, "-o", aside, NULL};
    const char *lld19[] = {"ld.lld-19", "-shared", from, "-o", aside, NULL};
    const char *ld[] = {"ld", "-shared", from, "-o", aside, NULL};
    const char *w[] = {"wasm-ld",
                       "--no-entry",
                       "--allow-undefined",
                       "--export=__heap_base",
                       exported,
                       exported2,
                       exported3,
                       from,
                       "-o",
                       aside,
                       NULL};
    const char *w19[] = {"wasm-ld-19",
                         "--no-entry",
                         "--allow-undefined",
                         "--export=__heap_base",
                         exported,
                         exported2,
                         exported3,
                         from,
                         "-o",
                         aside,
                         NULL};
    bool ok = wasm ? run_tool(w) || run_tool(w19)
                   : (native && run_tool(cc)) || run_tool(lld) || run_tool(lld19) ||
                         (native && run_tool(ld));
    ok = ok && rename(aside, to) == 0;
    if (!ok)
        *error = text_message("%s cannot be linked: %s is needed", to,
                              wasm     ? "wasm-ld"
                              : native ? "cc, ld.lld or ld"
                                       : "ld.lld");
    remove(from);
    remove(aside);
    return ok;
}

static bool emit_kind(const Target *t, LLVMModuleRef module, LLVMCodeGenFileType kind, void **bytes,
                      size_t *size, char **error) {
    LLVMModuleRef copy = LLVMCloneModule(module); /* code generation changes it */
    bool ok = target_emit(t, copy, kind, bytes, size, error);
    LLVMDisposeModule(copy);
    return ok;
}

/* The program as text: for people. */
static bool write_texts(const CodeBuild *b, const Target *t, LLVMModuleRef module, char **error) {
    bool ok = true;
    if (b->emit & EMIT_LLVM) {
        char *text = LLVMPrintModuleToString(module);
        ok = write_file(b->folder, "", b->name, ".ll", text, strlen(text), error);
        LLVMDisposeMessage(text);
    }
    if (ok && b->emit & EMIT_ASM) {
        void *bytes = NULL;
        size_t size = 0;
        ok = emit_kind(t, module, LLVMAssemblyFile, &bytes, &size, error) &&
             write_file(b->folder, "", b->name, ".s", bytes, size, error);
        mem_free(bytes);
    }
    return ok;
}

static bool write_object(const CodeBuild *b, const Target *t, const void *bytes, size_t size,
                         char **error) {
    if (b->emit & EMIT_OBJECT && !write_file(b->folder, "", b->name, ".o", bytes, size, error))
        return false;
    return !(b->emit & EMIT_SHARED) || link_shared(b, t, bytes, size, error);
}

static bool write_header(const Standalone *k, char **error) {
    const CodeBuild *b = k->b;
    bool ok = true;
    if (b->emit & EMIT_HEADER) {
        Text text = {0};
        aot_header(k->plan, k->m, b, &text);
        ok = write_file(b->folder, "", b->name, ".h", text.data, text.len, error);
        text_free(&text);
    }
    if (ok && b->manifest)
        ok = write_file(b->folder, "", b->name, ".json", b->manifest, strlen(b->manifest), error);
    return ok;
}

/* What only a host could do; NULL: nothing. */
static char *block_refusal(const Inside *inside, const HFunc *f, const HBlock *block) {
    char *no = NULL;
    for (uint32_t i = 0; i < block->code.len && !no; i++) {
        const HInstr *in = &block->code.data[i];
        if (host_is_loop(in->kind)) no = block_refusal(inside, f, in->loop->body);
        if (in->kind == H_RANDOM)
            no = text_message(
                "a standalone kernel cannot draw random numbers: pass the noise as an input");
        if (in->kind == H_CONVNORM && (in->args_count != 1 || !inside->build->conv_norm ||
                                       inside_input(inside, f, in->args[0]) < 0))
            no = text_message(
                "a standalone kernel cannot bound the norm of a convolution whose weights are not "
                "inside: build it with --weights, or pass the norm as a number");
    }
    return no;
}

static char *refusal(const Inside *inside, const Plan *plan) {
    char *no = NULL;
    for (uint32_t i = 0; i < plan->funcs.len && !no; i++)
        no = block_refusal(inside, plan->funcs.data[i], &plan->funcs.data[i]->body);
    return no;
}

static bool is_swapped(LLVMTargetDataRef layout) {
    const union {
        uint16_t word;
        uint8_t byte;
    } one = {1};
    return (LLVMByteOrder(layout) == LLVMLittleEndian) != (one.byte == 1);
}

/* The build with its inputs spelt out. */
static CodeBuild full_build(const CodeBuild *build, const Module *m, Arena *arena) {
    CodeBuild b = *build;
    if (b.inputs) return b;
    CodeInput *inputs = arena_alloc(arena, sizeof *inputs * (m->inputs.len + 1));
    for (uint32_t i = 0; i < m->inputs.len; i++) inputs[i] = (CodeInput){.place = i, .frames = -1};
    b.inputs = inputs;
    b.in_count = m->inputs.len;
    return b;
}

static bool is_sound(const Emit *e, char **error) {
    char *why = NULL;
    bool sound = !LLVMVerifyModule(e->module, LLVMReturnStatusAction, &why);
    if (!sound) *error = text_message("unsound LLVM module: %s", why);
    LLVMDisposeMessage(why);
    return sound;
}

static bool build_files(Emit *e, const Target *t, const Standalone *k, char **error) {
    const CodeBuild *b = k->b;
    const Source source = {k->plan, true, emit_kernels, k};
    Inside inside = {.build = b, .count = k->m->inputs.len};
    *error = refusal(&inside, k->plan);
    if (!*error && b->vjp) *error = refusal(&inside, b->vjp);
    if (*error) return false;
    emit_kernels(e, k);
    if (!is_sound(e, error)) return false;
    Division division = parts_divide(e, t);
    bool texts = b->emit & (EMIT_LLVM | EMIT_ASM), ok = true;
    if (texts) ok = target_optimise(t, e->module, error) && write_texts(b, t, e->module, error);
    if (ok && b->emit & (EMIT_OBJECT | EMIT_SHARED)) {
        void *bytes = NULL;
        size_t size = 0;
        ok = parts_object(e, t, &source, &division, texts, &bytes, &size, error) &&
             write_object(b, t, bytes, size, error);
        mem_free(bytes);
    }
    return ok && write_header(k, error);
}

bool aot_build(const Plan *plan, const Module *module, const CodeBuild *build,
               const Machine *machine, char **error) {
    if (graph_get(module, module->main)->results.len == 0) {
        *error = text_message("there is nothing that the kernel would give");
        return false;
    }
    Target t;
    Emit e;
    if (!target_open(&build->target, machine, &t, error)) return false;
    emit_start(&e, plan, &t.machine, true);
    CodeBuild full = full_build(build, module, e.arena);
    LLVMTargetDataRef layout = LLVMCreateTargetDataLayout(t.tm);
    Standalone k = {plan, module, &full, 8 * LLVMPointerSize(layout), is_swapped(layout)};
    LLVMDisposeTargetData(layout);
    bool ok = build_files(&e, &t, &k, error);
    emit_free(&e);
    target_close(&t);
    return ok;
}
