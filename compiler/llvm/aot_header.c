/* The C header of a standalone kernel. */
#include "compiler/llvm/aot.h"

#include <stdio.h>

/* "[64, 16, 5, 5]" */
static void describe_shape(const CodeInput *c, Text *out) {
    text_puts(out, c->rank ? "[" : "a number");
    for (int i = 0; i < c->rank; i++) {
        if (c->shape[i] >= 0)
            text_printf(out, "%lld", (long long)c->shape[i]);
        else
            text_puts(out, "?");
        text_puts(out, i + 1 < c->rank ? ", " : "]");
    }
    text_puts(out, "\n");
}

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
            text_printf(out,
                        g->finer     ? "coarser"
                        : g->coarser ? "finer"
                                     : "size[%u]",
                        g->rank - 1 - a);
        text_puts(out, a ? ", " : "]\n");
    }
}

static void describe_inputs(const Module *m, const CodeBuild *b, Text *out) {
    text_puts(out, " *\n * in:\n");
    for (uint32_t place = 0; place < b->in_count; place++)
        for (uint32_t i = 0; i < m->inputs.len; i++) {
            if (b->inputs[i].place != place) continue;
            text_printf(out, " *   %u: ", place);
            if (b->inputs[i].parameter) {
                text_printf(out, "parameter %s, ", b->inputs[i].parameter);
                describe_shape(&b->inputs[i], out);
            } else {
                describe(m, m->inputs.data[i].type, m->inputs.data[i].name, out);
            }
        }
    bool any = false;
    for (uint32_t i = 0; i < m->inputs.len; i++) {
        if (b->inputs[i].place >= 0 || !b->inputs[i].parameter) continue;
        text_printf(out, "%s *   parameter %s, ", any ? "" : " * inside:\n",
                    b->inputs[i].parameter);
        describe_shape(&b->inputs[i], out);
        any = true;
    }
}

static void describe_vjp(const char *real, const char *name, Text *out) {
    text_printf(
        out,
        "/* in_bar[i] = (d out / d in[i])^T out_bar, summed over all of out, by reverse differentiation: out_bar has the\n"
        " * shapes of out, in_bar those of in; an in_bar[i] that is not wanted may be null. Overlaps nothing. */\n"
        "int %s_vjp(const int64_t size[], const %s *const in[], const %s *const out_bar[],\n"
        "    %s *const in_bar[], void *workspace);\n\n",
        name, real, real, real);
}

void aot_header(const Plan *plan, const Module *m, const CodeBuild *b, Text *out) {
    const char *real = plan->f64 ? "double" : "float", *name = b->name;
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
        " * nothing, keeps no state, may run in several threads at once.\n",
        name);
    describe_inputs(m, b, out);
    text_puts(out, " * out (must not overlap in):\n");
    for (uint32_t i = 0; i < f->results.len; i++) {
        text_printf(out, " *   %u: ", i);
        describe(m, graph_node(f, f->results.data[i])->type, 0, out);
    }
    text_puts(out, " * Arrays are dense, the last axis (x) fastest.\n");
    text_puts(out, aot_needs_size(m) ? " * size: cells of the grid, slowest axis first.\n"
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
        "    %s_ERROR_SIZE = %d,     /* a size below 1, above 2^31, or smaller than a stencil's reach */\n"
        "    %s_ERROR_UNCONVERGED = %d /* a solver did not reach its tolerance: out is not to be used */\n};\n\n",
        upper, upper, PDN_ERROR_ARGUMENT, upper, PDN_ERROR_SIZE, upper, PDN_ERROR_UNCONVERGED);
    text_printf(
        out,
        "size_t %s_workspace(const int64_t size[]); /* bytes of scratch; 0: no such size */\n"
        "int %s(const int64_t size[], const %s *const in[], %s *const out[], void *workspace);\n\n",
        name, name, real, real);
    if (b->vjp) describe_vjp(real, name, out);
    text_puts(out, "#ifdef __cplusplus\n}\n#endif\n#endif\n");
}
