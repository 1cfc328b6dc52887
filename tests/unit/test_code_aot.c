/* Standalone kernels: the same bits as just-in-time code, other machines within rounding. */
#include "tests/unit/cases.h"

#include <criterion/criterion.h>
#include <dlfcn.h>
#include <unistd.h>

enum { STEPS = 12 };

/* out 0 = u after STEPS steps of diffusion, weighted by the number `gain`; out 1 = the sum of u. */
static Case kernel_case(int64_t nx, int64_t ny, bool run_time) {
    Case c = start(2, (int64_t[]){run_time ? -1 : nx, run_time ? -1 : ny});
    vec_push(&c.m->inputs,
             ((Input){.type = type_field(c.grid, 1), .name = names_of(c.names, "u")}));
    vec_push(&c.m->inputs, ((Input){.type = type_scalar(), .name = names_of(c.names, "gain")}));
    Node u = graph_add_typed(c.m, c.f, OP_INPUT, type_field(c.grid, 1), NULL, 0, 0, 0, SPAN_NONE);
    Node gain = graph_add_typed(c.m, c.f, OP_INPUT, type_scalar(), NULL, 0, 1, 0, SPAN_NONE);
    Node p[2];
    FuncId body = body_of(&c, "step", 1, p);
    result(&c, body, diffusion_step(&c, body, p[1], 0.3, 0.02));
    Node loop = loop_of(&c, body, STEPS, &u, 1, 0, (Loop){.stride = 1});
    Node last = graph_result(c.m, c.f, loop, 0);
    result(&c, c.f, graph_binary(c.m, c.f, OP_MUL, last, gain, SPAN_NONE));
    result(&c, c.f, graph_unary(c.m, c.f, OP_SUM, last, SPAN_NONE));
    return c;
}

static float value(int64_t i) {
    return (float)(((uint64_t)i * 2654435761u >> 8) & 0xffff) / 65536.0f;
}

static char *temporary(void) {
    static char folder[] = "/tmp/pdn-aot-XXXXXX";
    strcpy(folder, "/tmp/pdn-aot-XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
    return folder;
}

static void remove_folder(const char *folder) {
    char command[200];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    if (system(command) != 0) cr_log_warn("%s is left", folder);
}

static bool shell(const char *format, ...) {
    char command[2000];
    va_list args;
    va_start(args, format);
    vsnprintf(command, sizeof command, format, args);
    va_end(args);
    return system(command) == 0;
}

/* What the compiled program gives for the same input. */
static void just_in_time(Case *c, const CodeTarget *target, int64_t nx, int64_t ny, const float *in,
                         float *out, float *sum) {
    Arena *arena = arena_new();
    Plan *plan = plan_make(c->m, &(PlanOptions){.fma = code_target_has_fma(target)}, arena);
    char *error = NULL;
    Code *code = code_load(plan, NULL, NULL, &error);
    cr_assert_not_null(code, "%s", error);
    c->m->grids.data[c->grid].extent[0] = nx;
    c->m->grids.data[c->grid].extent[1] = ny;
    Run r = {.module = c->m, .threads = 2, .grids = make_grids(c->m)};
    PdnHost host = {.context = &r,
                    .launch = run_launch,
                    .effect = run_effect,
                    .progress = run_progress,
                    .random = run_random,
                    .relay = run_relay};
    float gain = 1.5f;
    CodeArguments a = {&host, r.grids, (const void *[]){in, &gain}, (void *[]){out, sum}, NULL};
    a.workspace = aligned_alloc(64, (code_workspace(code, &a) + 63) & ~(uint64_t)63);
    cr_expect_eq(code_run(code, &a), 0);
    free(a.workspace);
    free(r.grids);
    code_free(code);
    arena_free(arena);
}

static bool build(Case *c, const char *folder, const CodeTarget *target, unsigned emit) {
    Arena *arena = arena_new();
    Plan *plan = plan_make(c->m, &(PlanOptions){.fma = code_target_has_fma(target)}, arena);
    char *error = NULL;
    CodeBuild b = {
        .name = "smooth", .folder = folder, .emit = emit, .target = *target, .manifest = "{}\n"};
    bool ok = code_build(plan, c->m, &b, &error);
    cr_expect(ok, "%s", error);
    arena_free(arena);
    return ok;
}

typedef size_t Workspace(const int64_t size[]);
typedef int Kernel_(const int64_t size[], const float *const in[], float *const out[],
                    void *workspace);

Test(code_aot, shared_library_has_the_same_bits) {
    enum { NX = 75, NY = 31 };
    for (int run_time = 0; run_time < 2; run_time++) {
        static float in[NX * NY], out[NX * NY], expected[NX * NY];
        float sum, expected_sum, gain = 1.5f;
        for (int i = 0; i < NX * NY; i++) in[i] = value(i);
        Case c = kernel_case(NX, NY, run_time);
        char *folder = temporary(), path[100];
        CodeTarget here = {.optimise = 3};
        if (build(&c, folder, &here,
                  EMIT_SHARED | EMIT_HEADER | EMIT_LLVM | EMIT_ASM | EMIT_OBJECT)) {
            snprintf(path, sizeof path, "%s/libsmooth.so", folder);
            void *library = dlopen(path, RTLD_NOW);
            cr_assert_not_null(library, "%s", dlerror());
            Workspace *workspace;
            Kernel_ *kernel;
            *(void **)&workspace = dlsym(library, "smooth_workspace");
            *(void **)&kernel = dlsym(library, "smooth");
            int64_t size[2] = {NY, NX};
            size_t bytes = workspace(size);
            void *scratch = aligned_alloc(64, (bytes + 63) & ~(size_t)63);
            const float *inputs[] = {in, &gain};
            float *outputs[] = {out, &sum};
            cr_expect_eq(kernel(size, inputs, outputs, scratch), 0);
            cr_expect_eq(kernel(size, inputs, outputs, NULL), PDN_ERROR_ARGUMENT);
            cr_expect_eq(kernel(NULL, inputs, outputs, scratch), run_time ? PDN_ERROR_ARGUMENT : 0);
            cr_expect_eq(kernel(size, (const float *[]){in, NULL}, outputs, scratch),
                         PDN_ERROR_ARGUMENT);
            cr_expect_eq(kernel(size, inputs, (float *[]){NULL, &sum}, scratch),
                         PDN_ERROR_ARGUMENT);
            if (run_time) {
                cr_expect_eq(kernel((int64_t[]){0, 5}, inputs, outputs, scratch), PDN_ERROR_SIZE);
                cr_expect_eq(workspace((int64_t[]){-1, 5}), 0);
            }
            cr_expect_eq(kernel(size, inputs, outputs, scratch), 0);
            just_in_time(&c, &here, NX, NY, in, expected, &expected_sum);
            cr_expect_eq(memcmp(out, expected, sizeof out), 0);
            cr_expect_eq(memcmp(&sum, &expected_sum, sizeof sum), 0);
            free(scratch);
            dlclose(library);
        }
        remove_folder(folder);
        finish(&c);
    }
}

static const char program[] =
    "#include \"smooth.h\"\n#include <stdio.h>\n#include <stdlib.h>\n"
    "int main(void) {\n"
    "    int64_t size[2] = {31, 75}; static float in[31 * 75], out[31 * 75]; float gain = 1.5f, sum;\n"
    "    for (int64_t i = 0; i < 31 * 75; i++) in[i] = (float)(((uint64_t)i * 2654435761u >> 8) & 0xffff) / 65536.0f;\n"
    "    const float *inputs[] = {in, &gain}; float *outputs[] = {out, &sum};\n"
    "    void *scratch = aligned_alloc(64, (smooth_workspace(size) + 63) & ~(size_t)63);\n"
    "    if (smooth(size, inputs, outputs, scratch) != SMOOTH_OK) return 1;\n"
    "    for (int i = 0; i < 31 * 75; i++) printf(\"%a\\n\", (double)out[i]);\n"
    "    printf(\"%a\\n\", (double)sum);\n    return 0;\n}\n";

static const char script[] =
    "const fs = require('fs');\n"
    "const env = new Proxy({}, {get: (_, k) => Math[String(k).replace(/f$/, '')]});\n"
    "WebAssembly.instantiate(fs.readFileSync(process.argv[2]), {env}).then(({instance}) => {\n"
    "  const e = instance.exports, m = e.memory; m.grow(64); const base = (e.__heap_base.value + 63) & ~63;\n"
    "  const n = 31 * 75; let at = base; const take = b => { const p = at; at = (at + b + 63) & ~63; return p; };\n"
    "  const size = take(16), pin = take(n * 4), pgain = take(4), pout = take(n * 4), psum = take(4), ins = take(8), outs = take(8);\n"
    "  new BigInt64Array(m.buffer, size, 2).set([31n, 75n]);\n"
    "  const f = new Float32Array(m.buffer), u = new Uint32Array(m.buffer);\n"
    "  for (let i = 0; i < n; i++) f[pin / 4 + i] = Number((BigInt(i) * 2654435761n >> 8n) & 0xffffn) / 65536;\n"
    "  f[pgain / 4] = 1.5; u[ins / 4] = pin; u[ins / 4 + 1] = pgain; u[outs / 4] = pout; u[outs / 4 + 1] = psum;\n"
    "  const ws = take(e.smooth_workspace(size));\n"
    "  if (e.smooth(size, ins, outs, ws) !== 0) process.exit(1);\n"
    "  for (let i = 0; i < n; i++) console.log(f[pout / 4 + i]);\n  console.log(f[psum / 4]);\n});\n";

/* Reads n numbers and the sum from the output of a run elsewhere; the largest relative difference. */
static double compare(const char *folder, const float *expected, int n, float sum) {
    char path[200];
    double worst = 0, x;
    snprintf(path, sizeof path, "%s/numbers", folder);
    FILE *f = fopen(path, "r");
    int seen = 0;
    while (f && fscanf(f, "%lf", &x) == 1) {
        double y = seen < n ? expected[seen] : sum, d = fabs(x - y) / (seen < n ? 1 : fabs(y));
        worst = d > worst ? d : worst;
        seen++;
    }
    if (f) fclose(f);
    return seen == n + 1 ? worst : 1e9;
}

static void elsewhere(const CodeTarget *target, unsigned emit, const char *compile, const char *run,
                      double tolerance) {
    enum { NX = 75, NY = 31 };
    static float in[NX * NY], expected[NX * NY];
    float sum;
    for (int i = 0; i < NX * NY; i++) in[i] = value(i);
    Case c = kernel_case(NX, NY, true);
    char *folder = temporary(), path[100];
    if (build(&c, folder, target, emit | EMIT_HEADER)) {
        just_in_time(&c, &(CodeTarget){.optimise = 3}, NX, NY, in, expected, &sum);
        snprintf(path, sizeof path, "%s/main.c", folder);
        FILE *f = fopen(path, "w");
        fputs(program, f);
        fclose(f);
        snprintf(path, sizeof path, "%s/run.js", folder);
        f = fopen(path, "w");
        fputs(script, f);
        fclose(f);
        cr_expect(shell(compile, folder, folder, folder, folder), "%s", compile);
        cr_expect(shell(run, folder, folder, folder), "%s", run);
        double d = compare(folder, expected, NX * NY, sum);
        cr_expect(d <= tolerance, "differs by %g", d);
    }
    remove_folder(folder);
    finish(&c);
}

static bool there(const char *tool) {
    bool found = shell("command -v %s >/dev/null 2>&1", tool);
    if (!found) cr_log_warn("skipped: %s is not installed", tool);
    return found;
}

Test(code_aot, c_program_on_baseline_x86) {
#if defined(__x86_64__)
    elsewhere(&(CodeTarget){.triple = "x86_64-unknown-linux-gnu", .cpu = "x86-64", .optimise = 3},
              EMIT_OBJECT, "cc -std=c11 -Wall -Werror -I%s %s/main.c %s/smooth.o -lm -o %s/main",
              "%s/main > %s/numbers", 1e-6);
#endif
}

Test(code_aot, aarch64_under_qemu) {
    if (there("qemu-aarch64") && there("aarch64-linux-gnu-gcc"))
        elsewhere(&(CodeTarget){.triple = "aarch64-linux-gnu", .optimise = 3}, EMIT_OBJECT,
                  "aarch64-linux-gnu-gcc -static -I%s %s/main.c %s/smooth.o -lm -o %s/main",
                  "qemu-aarch64 %s/main > %s/numbers", 1e-6);
}

Test(code_aot, wasm_under_node) {
    if (there("node") && (there("wasm-ld-19") || there("wasm-ld")))
        elsewhere(&(CodeTarget){.triple = "wasm32-unknown-unknown", .optimise = 3},
                  EMIT_OBJECT | EMIT_SHARED, "true", "node %s/run.js %s/smooth.wasm > %s/numbers",
                  1e-6);
}
