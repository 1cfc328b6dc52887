/* Convolutions in standalone kernels: the same bits as just-in-time code on this CPU, and within rounding on
 * others: baseline and AVX2 x86-64 here, AArch64 under qemu, WebAssembly under node. */
#include "tests/unit/cases.h"

#include <criterion/criterion.h>
#include <dlfcn.h>
#include <unistd.h>

enum {
    NX = 40,
    NY = 31,
    IN = 2,
    OUT = 3,
    WEIGHTS = IN * OUT * 15,
    MADE = (IN + OUT) * NX * NY + WEIGHTS
};

/* Out: v = conv(u, w), its transpose of v, the weights' of (u, v). The size is known at run time. */
static Case conv_case(void) {
    Case c = start(2, (int64_t[]){-1, -1});
    Conv conv = {.rank = 2,
                 .in = IN,
                 .out = OUT,
                 .groups = 1,
                 .size = {5, 3, 1},
                 .stride = {1, 1, 1},
                 .dilation = {1, 1, 1}};
    conv.sides[0][0] = conv.sides[0][1] = SIDE_PERIODIC;
    conv.sides[1][0] = SIDE_ODD;
    conv.sides[1][1] = SIDE_EVEN;
    ConvId id = graph_conv(c.m, &conv);
    Type u = type_field(c.grid, IN), w = type_field(graph_row(c.m, WEIGHTS), 1);
    vec_push(&c.m->inputs, ((Input){.type = u, .name = names_of(c.names, "u")}));
    vec_push(&c.m->inputs, ((Input){.type = w, .name = names_of(c.names, "w")}));
    Node x = graph_add_typed(c.m, c.f, OP_INPUT, u, NULL, 0, 0, 0, SPAN_NONE);
    Node k = graph_add_typed(c.m, c.f, OP_INPUT, w, NULL, 0, 1, 0, SPAN_NONE);
    Node v = graph_add(c.m, c.f, OP_CONV, (Node[]){x, k}, 2, id, 0, SPAN_NONE);
    vec_push(&graph_get(c.m, c.f)->results, v);
    Node back = graph_add(c.m, c.f, OP_CONVT, (Node[]){v, k}, 2, id, 0, SPAN_NONE);
    vec_push(&graph_get(c.m, c.f)->results, back);
    Node slope = graph_add(c.m, c.f, OP_CONVW, (Node[]){x, v}, 2, id, 0, SPAN_NONE);
    vec_push(&graph_get(c.m, c.f)->results, slope);
    return c;
}

static void fill(float *u, float *w) {
    uint64_t seed = 5;
    for (int i = 0; i < IN * NX * NY; i++) u[i] = (float)(2 * uniform(&seed) - 1);
    for (int i = 0; i < WEIGHTS; i++) w[i] = (float)(2 * uniform(&seed) - 1);
}

static void just_in_time(Case *c, const float *u, const float *w, float *out) {
    Arena *arena = arena_new();
    Plan *plan = plan_make(c->m, &(PlanOptions){.fma = code_target_has_fma(NULL)}, arena);
    char *error = NULL;
    Code *code = code_load(plan, NULL, NULL, &error);
    cr_assert_not_null(code, "%s", error);
    c->m->grids.data[c->grid].extent[0] = NX;
    c->m->grids.data[c->grid].extent[1] = NY;
    Run r = {.module = c->m, .threads = 2, .grids = make_grids(c->m)};
    PdnHost host = {.context = &r, .launch = run_launch, .effect = run_effect, .relay = run_relay};
    void *outputs[] = {out, out + OUT * NX * NY, out + (IN + OUT) * NX * NY};
    CodeArguments a = {&host, r.grids, (const void *[]){u, w}, outputs, NULL};
    a.workspace = aligned_alloc(64, (code_workspace(code, &a) + 63) & ~(uint64_t)63);
    cr_expect_eq(code_run(code, &a), 0);
    free(a.workspace);
    free(r.grids);
    code_free(code);
    arena_free(arena);
    c->m->grids.data[c->grid].extent[0] = c->m->grids.data[c->grid].extent[1] = -1;
}

static void write_file(const char *folder, const char *name, const void *data, size_t size) {
    char path[200];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "wb");
    cr_assert_not_null(f);
    cr_assert_eq(fwrite(data, 1, size, f), size);
    fclose(f);
}

static bool shell(const char *folder, const char *command) {
    char whole[1000];
    snprintf(whole, sizeof whole, "cd '%s' && %s", folder, command);
    return system(whole) == 0;
}

static bool there(const char *tool) {
    char command[100];
    snprintf(command, sizeof command, "command -v %s >/dev/null 2>&1", tool);
    bool found = system(command) == 0;
    if (!found) cr_log_warn("skipped: %s is not installed", tool);
    return found;
}

static const char program[] =
    "#include \"conv.h\"\n#include <stdio.h>\n#include <stdlib.h>\n"
    "static float in[2480 + 90], out[6290];\n"
    "int main(void) {\n"
    "    int64_t size[2] = {31, 40};\n"
    "    FILE *f = fopen(\"in\", \"rb\");\n"
    "    if (!f || fread(in, 4, 2570, f) != 2570) return 1;\n"
    "    const float *ins[] = {in, in + 2480}; float *outs[] = {out, out + 3720, out + 6200};\n"
    "    void *scratch = aligned_alloc(64, (conv_workspace(size) + 63) & ~(size_t)63);\n"
    "    if (conv(size, ins, outs, scratch) != CONV_OK) return 2;\n"
    "    f = fopen(\"out\", \"wb\");\n"
    "    return !f || fwrite(out, 4, 6290, f) != 6290 || fclose(f);\n}\n";

static const char script[] =
    "const fs = require('fs');\n"
    "const env = new Proxy({}, {get: (_, k) => Math[String(k).replace(/f$/, '')]});\n"
    "WebAssembly.instantiate(fs.readFileSync('conv.wasm'), {env}).then(({instance}) => {\n"
    "  const e = instance.exports, m = e.memory; m.grow(64); let at = (e.__heap_base.value + 63) & ~63;\n"
    "  const take = b => { const p = at; at = (at + b + 63) & ~63; return p; };\n"
    "  const size = take(16), u = take(9920), w = take(360), ins = take(8), outs = take(12), out = take(25160);\n"
    "  new BigInt64Array(m.buffer, size, 2).set([31n, 40n]);\n"
    "  const given = fs.readFileSync('in');\n"
    "  new Uint8Array(m.buffer).set(given.subarray(0, 9920), u);\n"
    "  new Uint8Array(m.buffer).set(given.subarray(9920), w);\n"
    "  new Uint32Array(m.buffer, ins, 2).set([u, w]);\n"
    "  new Uint32Array(m.buffer, outs, 3).set([out, out + 14880, out + 24800]);\n"
    "  if (e.conv(size, ins, outs, take(e.conv_workspace(size))) !== 0) process.exit(1);\n"
    "  fs.writeFileSync('out', new Uint8Array(m.buffer, out, 25160));\n});\n";

/* Builds for a target, runs `command` in the folder, compares with what was made just in time. */
static void standalone(const CodeTarget *target, unsigned emit, const char *command,
                       double tolerance) {
    static float in[IN * NX * NY + WEIGHTS], expected[MADE], out[MADE + 1];
    char folder[] = "/tmp/pdn-conv-XXXXXX", *error = NULL;
    cr_assert_not_null(mkdtemp(folder));
    fill(in, in + IN * NX * NY);
    Case c = conv_case();
    just_in_time(&c, in, in + IN * NX * NY, expected);
    Arena *arena = arena_new();
    Plan *plan = plan_make(c.m, &(PlanOptions){.fma = code_target_has_fma(target)}, arena);
    CodeBuild b = {.name = "conv", .folder = folder, .emit = emit | EMIT_HEADER, .target = *target};
    cr_assert(code_build(plan, c.m, &b, &error), "%s", error);
    write_file(folder, "in", in, sizeof in);
    write_file(folder, "main.c", program, sizeof program - 1);
    write_file(folder, "run.js", script, sizeof script - 1);
    cr_assert(shell(folder, command), "%s", command);
    char path[100];
    snprintf(path, sizeof path, "%s/out", folder);
    FILE *f = fopen(path, "rb");
    cr_assert_not_null(f);
    cr_assert_eq(fread(out, sizeof *out, MADE + 1, f), MADE);
    fclose(f);
    double worst = 0, size = 0;
    for (int i = 0; i < MADE; i++) {
        size = fmax(size, fabs(expected[i]));
        double d = fabs(out[i] - expected[i]);
        worst = d <= worst ? worst : d;
    }
    cr_expect(worst <= tolerance * size, "differs by %g of %g", worst, size);
    cr_expect(size > 1);
    arena_free(arena);
    finish(&c);
    char clean[100];
    snprintf(clean, sizeof clean, "rm -rf %s", folder);
    if (!shell("/tmp", clean)) cr_log_warn("%s is left", folder);
}

#define C_PROGRAM "cc -std=c11 -Wall -Werror main.c conv.o -lm -o main && ./main"

Test(code_conv_aot, norms_are_refused) {
    Case c = conv_case();
    Node w = graph_operand(graph_get(c.m, c.f), graph_get(c.m, c.f)->results.data[0], 1);
    vec_push(&graph_get(c.m, c.f)->results,
             graph_add(c.m, c.f, OP_CONVNORM, &w, 1, 1, 0, SPAN_NONE));
    Arena *arena = arena_new();
    Plan *plan = plan_make(c.m, &(PlanOptions){0}, arena);
    CodeBuild b = {.name = "conv", .folder = "/tmp", .emit = EMIT_HEADER};
    char *error = NULL;
    cr_expect_not(code_build(plan, c.m, &b, &error));
    cr_expect(error && strstr(error, "cannot bound the norm"), "%s", error ? error : "no message");
    free(error);
    arena_free(arena);
    finish(&c);
}

Test(code_conv_aot, the_same_bits_on_this_cpu) {
    standalone(&(CodeTarget){.optimise = 3}, EMIT_OBJECT, C_PROGRAM, 0);
    standalone(&(CodeTarget){.optimise = 0}, EMIT_OBJECT, C_PROGRAM, 0);
}

Test(code_conv_aot, older_x86) {
#if defined(__x86_64__)
    CodeTarget t = {.triple = "x86_64-unknown-linux-gnu", .cpu = "x86-64", .optimise = 3};
    standalone(&t, EMIT_OBJECT, C_PROGRAM, 1e-6);
    t.cpu = "x86-64-v3";
    if (code_target_has_fma(NULL)) standalone(&t, EMIT_OBJECT, C_PROGRAM, 1e-6);
#endif
}

Test(code_conv_aot, aarch64_under_qemu) {
    if (there("qemu-aarch64") && there("aarch64-linux-gnu-gcc"))
        standalone(&(CodeTarget){.triple = "aarch64-linux-gnu", .optimise = 3}, EMIT_OBJECT,
                   "aarch64-linux-gnu-gcc -static main.c conv.o -lm -o main && qemu-aarch64 ./main",
                   1e-6);
}

Test(code_conv_aot, wasm_under_node) {
    if (there("node") && (there("wasm-ld-19") || there("wasm-ld")))
        standalone(&(CodeTarget){.triple = "wasm32-unknown-unknown", .optimise = 3},
                   EMIT_OBJECT | EMIT_SHARED, "node run.js", 1e-6);
}
