/* Standalone kernels: the whole program behind two C functions, in files that need nothing but the maths library.
 *
 *     size_t NAME_workspace(const int64_t size[]);
 *     int NAME(const int64_t size[], const T *const in[], T *const out[], void *workspace);
 */
#include "compiler/llvm/emit.h"
#include "compiler/llvm/target.h"

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

static bool needs_size(const Module *m) {
    for (GridId g = 1; g < m->grids.len; g++)
        for (uint32_t a = 0; a < m->grids.data[g].rank; a++)
            if (m->grids.data[g].extent[a] < 0) return true;
    return false;
}

static LLVMValueRef call_named(Emit *e, const char *name, LLVMValueRef run) {
    LLVMValueRef f = LLVMGetNamedFunction(e->module, name);
    return LLVMBuildCall2(e->b, LLVMGlobalGetValueType(f), f, &run, 1, "");
}

/* Whether one of the first `count` pointers that `list` points to is null; joined with `any`. */
static LLVMValueRef or_null(Emit *e, LLVMValueRef any, LLVMValueRef list, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        LLVMValueRef index = emit_i64(e, i);
        LLVMValueRef at = LLVMBuildInBoundsGEP2(e->b, e->ptr, list, &index, 1, "");
        LLVMValueRef is = LLVMBuildIsNull(e->b, LLVMBuildLoad2(e->b, e->ptr, at, ""), "");
        any = any ? LLVMBuildOr(e->b, any, is, "") : is;
    }
    return any;
}

static void emit_entry(Emit *e, const Module *m, const char *name) {
    LLVMTypeRef type =
        LLVMFunctionType(e->i32, (LLVMTypeRef[]){e->ptr, e->ptr, e->ptr, e->ptr}, 4, false);
    LLVMValueRef f = emit_function(e, name, type, true), any = NULL;
    LLVMPositionBuilderAtEnd(e->b, LLVMAppendBasicBlockInContext(e->context, f, "entry"));
    LLVMBasicBlockRef null = emit_block(e, "null"), lists = emit_block(e, "lists");
    LLVMBasicBlockRef go = emit_block(e, "go"), bad = emit_block(e, "bad");
    for (unsigned i = needs_size(m) ? 0 : 1; i < 4; i++) {
        if (i == 1 && m->inputs.len == 0) continue;
        LLVMValueRef is = LLVMBuildIsNull(e->b, LLVMGetParam(f, i), "");
        any = any ? LLVMBuildOr(e->b, any, is, "") : is;
    }
    LLVMBuildCondBr(e->b, any, null, lists);
    LLVMPositionBuilderAtEnd(e->b, lists);
    any = or_null(e, NULL, LLVMGetParam(f, 1), m->inputs.len);
    any = or_null(e, any, LLVMGetParam(f, 2), graph_get(m, m->main)->results.len);
    if (any)
        LLVMBuildCondBr(e->b, any, null, go);
    else
        LLVMBuildBr(e->b, go);
    LLVMPositionBuilderAtEnd(e->b, null);
    LLVMBuildRet(e->b, LLVMConstInt(e->i32, PDN_ERROR_ARGUMENT, false));
    LLVMPositionBuilderAtEnd(e->b, bad);
    LLVMBuildRet(e->b, LLVMConstInt(e->i32, PDN_ERROR_SIZE, false));
    LLVMPositionBuilderAtEnd(e->b, go);
    LLVMValueRef grids = make_grids(e, m, LLVMGetParam(f, 0), bad);
    LLVMValueRef run =
        make_run(e, grids, LLVMGetParam(f, 1), LLVMGetParam(f, 2), LLVMGetParam(f, 3));
    LLVMBuildRet(e->b, call_named(e, "pdn_program_run", run));
}

static void emit_workspace_entry(Emit *e, const Module *m, const char *name,
                                 uint32_t pointer_bits) {
    LLVMTypeRef result = pointer_bits == 64 ? e->i64 : e->i32;
    LLVMTypeRef type = LLVMFunctionType(result, &e->ptr, 1, false);
    LLVMValueRef f = emit_function(e, arena_format(e->arena, "%s_workspace", name), type, true);
    LLVMPositionBuilderAtEnd(e->b, LLVMAppendBasicBlockInContext(e->context, f, "entry"));
    LLVMBasicBlockRef bad = emit_block(e, "bad"), go = emit_block(e, "go");
    if (needs_size(m))
        LLVMBuildCondBr(e->b, LLVMBuildIsNull(e->b, LLVMGetParam(f, 0), ""), bad, go);
    else
        LLVMBuildBr(e->b, go);
    LLVMPositionBuilderAtEnd(e->b, bad);
    LLVMBuildRet(e->b, LLVMConstNull(result));
    LLVMPositionBuilderAtEnd(e->b, go);
    LLVMValueRef run = make_run(e, make_grids(e, m, LLVMGetParam(f, 0), bad), NULL, NULL, NULL);
    LLVMValueRef bytes = call_named(e, "pdn_program_workspace", run);
    LLVMBuildRet(e->b, pointer_bits == 64 ? bytes : LLVMBuildTrunc(e->b, bytes, result, ""));
}

/* ---- the header ------------------------------------------------------------------------------ */

static void describe(const Module *m, Type t, Name name, Text *out) {
    if (name) text_printf(out, "%s, ", names_text(m->names, name));
    if (t.kind == TYPE_SCALAR) {
        text_puts(out, "a number\n");
        return;
    }
    text_puts(out, "[");
    if (t.channels > 1) text_printf(out, "%u, ", t.channels);
    const Grid *g = &m->grids.data[t.grid];
    for (uint32_t a = g->rank; a-- > 0;) {
        if (g->extent[a] >= 0)
            text_printf(out, "%lld", (long long)g->extent[a]);
        else
            text_printf(out, g->finer ? "coarser" : "size[%u]", g->rank - 1 - a);
        text_puts(out, a ? ", " : "]\n");
    }
}

static void write_header(const Plan *plan, const Module *m, const char *name, Text *out) {
    const char *real = plan->f64 ? "double" : "float";
    const Func *f = graph_get(m, m->main);
    char upper[256];
    for (size_t i = 0; i < sizeof upper; i++) {
        char c = name[i];
        upper[i] = c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
        if (!c) break;
    }
    upper[sizeof upper - 1] = 0;
    text_printf(
        out,
        "/* %s: a standalone kernel made by pdn. Needs nothing but the C maths library; allocates\n"
        " * nothing, keeps no state, may run in several threads at once.\n"
        " *\n * in:\n",
        name);
    for (uint32_t i = 0; i < m->inputs.len; i++) {
        text_printf(out, " *   %u: ", i);
        describe(m, m->inputs.data[i].type, m->inputs.data[i].name, out);
    }
    text_puts(out, " * out (must not overlap in):\n");
    for (uint32_t i = 0; i < f->results.len; i++) {
        text_printf(out, " *   %u: ", i);
        describe(m, graph_node(f, f->results.data[i])->type, 0, out);
    }
    text_puts(out, " * Arrays are dense, the last axis (x) fastest.\n");
    text_puts(out, needs_size(m) ? " * size: cells of the grid, slowest axis first.\n"
                                 : " * size: not read (the size is fixed); may be null.\n");
    text_printf(out, " * workspace: %s_workspace(size) bytes, aligned to 64.\n */\n", name);
    text_printf(
        out,
        "#ifndef PDN_KERNEL_%s_H\n#define PDN_KERNEL_%s_H\n\n#include <stddef.h>\n#include <stdint.h>\n\n"
        "#ifdef __cplusplus\nextern \"C\" {\n#endif\n\n",
        upper, upper);
    text_printf(
        out,
        "enum {\n    %s_OK = 0,\n    %s_ERROR_ARGUMENT = %d, /* a null pointer, or a frame that a trajectory lacks */\n"
        "    %s_ERROR_SIZE = %d      /* a size below 1, above 2^31, or smaller than a stencil's reach */\n};\n\n",
        upper, upper, PDN_ERROR_ARGUMENT, upper, PDN_ERROR_SIZE);
    text_printf(
        out,
        "size_t %s_workspace(const int64_t size[]); /* bytes of scratch; 0: no such size */\n"
        "int %s(const int64_t size[], const %s *const in[], %s *const out[], void *workspace);\n\n"
        "#ifdef __cplusplus\n}\n#endif\n#endif\n",
        name, name, real, real);
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
    char from[4096], aside[4096], to[4096], exported[300], exported2[300];
    bool wasm = strncmp(t->triple, "wasm", 4) == 0, native = !b->target.triple;
    char hidden[300];
    snprintf(hidden, sizeof hidden, ".%s.%ld", b->name, (long)getpid());
    if (!write_file(b->folder, "", hidden, ".o", object, size, error)) return false;
    snprintf(from, sizeof from, "%s/%s.o", b->folder, hidden);
    snprintf(aside, sizeof aside, "%s/%s.tmp", b->folder, hidden);
    snprintf(to, sizeof to, wasm ? "%s/%s.wasm" : "%s/lib%s.so", b->folder, b->name);
    snprintf(exported, sizeof exported, "--export=%s", b->name);
    snprintf(exported2, sizeof exported2, "--export=%s_workspace", b->name);
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

static bool write_files(const Plan *plan, const Module *m, const CodeBuild *b, const Target *t,
                        LLVMModuleRef module, char **error) {
    bool ok = true;
    void *bytes = NULL;
    size_t size = 0;
    if (b->emit & EMIT_LLVM) {
        char *text = LLVMPrintModuleToString(module);
        ok = write_file(b->folder, "", b->name, ".ll", text, strlen(text), error);
        LLVMDisposeMessage(text);
    }
    if (ok && b->emit & EMIT_ASM) {
        ok = emit_kind(t, module, LLVMAssemblyFile, &bytes, &size, error) &&
             write_file(b->folder, "", b->name, ".s", bytes, size, error);
        mem_free(bytes);
        bytes = NULL;
    }
    if (ok && b->emit & (EMIT_OBJECT | EMIT_SHARED)) {
        ok = emit_kind(t, module, LLVMObjectFile, &bytes, &size, error);
        if (ok && b->emit & EMIT_OBJECT)
            ok = write_file(b->folder, "", b->name, ".o", bytes, size, error);
        if (ok && b->emit & EMIT_SHARED) ok = link_shared(b, t, bytes, size, error);
        mem_free(bytes);
    }
    if (ok && b->emit & EMIT_HEADER) {
        Text text = {0};
        write_header(plan, m, b->name, &text);
        ok = write_file(b->folder, "", b->name, ".h", text.data, text.len, error);
        text_free(&text);
    }
    if (ok && b->manifest)
        ok = write_file(b->folder, "", b->name, ".json", b->manifest, strlen(b->manifest), error);
    return ok;
}

static bool has_kind(const HBlock *block, HKind kind) {
    for (uint32_t i = 0; i < block->code.len; i++)
        if (block->code.data[i].kind == kind ||
            (host_is_loop(block->code.data[i].kind) && has_kind(block->code.data[i].loop->body, kind)))
            return true;
    return false;
}

bool aot_build(const Plan *plan, const Module *module, const CodeBuild *build,
               const Machine *machine, char **error) {
    for (uint32_t i = 0; i < plan->funcs.len; i++) {
        const HBlock *body = &plan->funcs.data[i]->body;
        *error = has_kind(body, H_RANDOM)
                     ? text_message("a standalone kernel cannot draw random numbers: pass the noise "
                                    "as an input")
                 : has_kind(body, H_CONVNORM)
                     ? text_message("a standalone kernel cannot bound the norm of a convolution: "
                                    "compute it with `pdn run` and pass it as a number")
                     : NULL;
        if (*error) return false;
    }
    if (graph_get(module, module->main)->results.len == 0) {
        *error = text_message("there is nothing that the kernel would give");
        return false;
    }
    Target t;
    Emit e;
    if (!target_open(&build->target, machine, &t, error)) return false;
    LLVMTargetDataRef layout = LLVMCreateTargetDataLayout(t.tm);
    uint32_t pointer_bits = 8 * LLVMPointerSize(layout);
    LLVMDisposeTargetData(layout);
    emit_start(&e, plan, &t.machine, true);
    emit_program(&e);
    emit_entry(&e, module, build->name);
    emit_workspace_entry(&e, module, build->name, pointer_bits);
    char *why = NULL;
    bool ok = !LLVMVerifyModule(e.module, LLVMReturnStatusAction, &why);
    if (!ok) *error = text_message("unsound LLVM module: %s", why);
    LLVMDisposeMessage(why);
    ok = ok && target_optimise(&t, e.module, error) &&
         write_files(plan, module, build, &t, e.module, error);
    emit_free(&e);
    target_close(&t);
    return ok;
}
