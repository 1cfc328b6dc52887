/* Modules as text. Doubles are hexadecimal, so that reading gives the same bits.
 *
 *   grid 1 extent 64 -1 spacing 0x1p-6 0x1p-6 origin 0x0p+0 0x0p+0 finer 0 name "G"
 *   stencil 1 rank 1 in 1 out 1 sides even even values 0 0 taps 2
 *     tap to 0 from 0 offset 0 weight -0x1p+0
 *   conv 1 rank 1 in 1 out 16 groups 1 size 5 stride 1 dilation 1 sides ghost ghost
 *   loop 1 body 1 start 0 states 1 captured 0 stop 0 stride 1 collect 0 name "k"
 *   input 1 type field 1 1 name "photo"        (from 0; types: scalar, field, stack, tuple)
 *   func 1 name "step"
 *     %1 = param 0 : field 1 1                 (channels, grid)
 *     %2 = stencil 1 (%1) : field 1 1          (op [number | index[.detail]] [(operands)] : type)
 *     results (%2)
 *     effect print 0 (%2)
 *   main 1
 */
#include "compiler/graph/internal.h"
#include "compiler/graph/words.h"
#include "compiler/ops/ops.h"

#include <math.h>

const char *const graph_side_words[SIDE_WORDS] = {"periodic", "even", "odd", "slope", "ghost"};
const char *const graph_type_words[TYPE_WORDS] = {"scalar", "field", "stack", "tuple"};
const char *const graph_effect_words[EFFECT_WORDS] = {"print", "report", "assert",
                                                      "save",  "each",   "train"};

static void put_number(Text *out, double x) {
    if (isnan(x)) {
        uint64_t bits;
        __builtin_memcpy(&bits, &x, sizeof bits);
        text_printf(out, " nan:%llx", (unsigned long long)bits);
    } else {
        text_printf(out, " %a", x);
    }
}

static void put_name(const Module *module, Name name, Text *out) {
    if (name == 0) return;
    text_puts(out, " name \"");
    for (const char *c = names_text(module->names, name); *c; c++) {
        if (*c == '"' || *c == '\\' || (unsigned char)*c < ' ')
            text_printf(out, "\\%02x", (unsigned char)*c);
        else
            text_add(out, c, 1);
    }
    text_puts(out, "\"");
}

static void put_type(Type type, Text *out) {
    text_printf(out, " %s", graph_type_words[type.kind]);
    if (type.kind == TYPE_FIELD || type.kind == TYPE_STACK)
        text_printf(out, " %u %u", type.channels, type.grid);
}

static void put_nodes(const Node *nodes, uint32_t count, Text *out) {
    text_puts(out, " (");
    for (uint32_t i = 0; i < count; i++) text_printf(out, "%s%%%u", i ? ", " : "", nodes[i]);
    text_puts(out, ")");
}

static void put_grid(const Module *module, uint32_t number, Text *out) {
    const Grid *grid = &module->grids.data[number];
    text_printf(out, "grid %u extent", number);
    for (uint32_t a = 0; a < grid->rank; a++) text_printf(out, " %lld", (long long)grid->extent[a]);
    text_puts(out, " spacing");
    for (uint32_t a = 0; a < grid->rank; a++) put_number(out, grid->spacing[a]);
    text_puts(out, " origin");
    for (uint32_t a = 0; a < grid->rank; a++) put_number(out, grid->origin[a]);
    text_printf(out, " finer %u", grid->finer);
    if (grid->coarser) text_printf(out, " coarser %u", grid->coarser);
    if (grid->row) text_puts(out, " row");
    put_name(module, grid->name, out);
    text_puts(out, "\n");
}

static void put_stencil(const Module *module, uint32_t number, Text *out) {
    const Stencil *s = &module->stencils.data[number];
    text_printf(out, "stencil %u rank %u in %u out %u%s sides", number, s->rank, s->in_channels,
                s->out_channels, s->transposed ? " transposed" : "");
    for (uint32_t a = 0; a < s->rank; a++)
        text_printf(out, " %s %s", graph_side_words[s->sides[a][0]],
                    graph_side_words[s->sides[a][1]]);
    text_puts(out, " values");
    for (uint32_t a = 0; a < s->rank; a++)
        text_printf(out, " %d %d", s->has_value[a][0], s->has_value[a][1]);
    text_printf(out, " taps %u\n", s->count);
    for (uint32_t i = 0; i < s->count; i++) {
        text_printf(out, "  tap to %u from %u offset", s->taps[i].to, s->taps[i].from);
        for (uint32_t a = 0; a < s->rank; a++) text_printf(out, " %d", s->taps[i].offset[a]);
        text_puts(out, " weight");
        put_number(out, s->taps[i].weight);
        text_puts(out, "\n");
    }
}

static void put_axes(const char *word, const uint32_t *numbers, uint32_t rank, Text *out) {
    text_printf(out, " %s", word);
    for (uint32_t a = 0; a < rank; a++) text_printf(out, " %u", numbers[a]);
}

static void put_conv(const Module *module, uint32_t number, Text *out) {
    const Conv *c = &module->convs.data[number];
    text_printf(out, "conv %u rank %u in %u out %u groups %u", number, c->rank, c->in, c->out,
                c->groups);
    put_axes("size", c->size, c->rank, out);
    put_axes("stride", c->stride, c->rank, out);
    put_axes("dilation", c->dilation, c->rank, out);
    text_puts(out, " sides");
    for (uint32_t a = 0; a < c->rank; a++)
        text_printf(out, " %s %s", graph_side_words[c->sides[a][0]],
                    graph_side_words[c->sides[a][1]]);
    text_puts(out, "\n");
}

static void put_loop(const Module *module, uint32_t number, Text *out) {
    const Loop *loop = &module->loops.data[number];
    text_printf(out,
                "loop %u body %u start %lld states %u captured %u stop %d stride %lld collect %u",
                number, loop->body, (long long)loop->start, loop->states, loop->captured,
                loop->has_stop, (long long)loop->stride, loop->collected);
    for (uint32_t i = 0; i < loop->collected; i++) text_printf(out, " %u", loop->collect[i]);
    put_name(module, loop->name, out);
    text_puts(out, "\n");
}

static void put_implicit(const Module *module, uint32_t number, Text *out) {
    const Implicit *s = &module->implicits.data[number];
    text_printf(out, "implicit %u adjoint %u %u tangent %u %u", number, s->adjoint,
                s->adjoint_captured, s->tangent, s->tangent_captured);
    put_name(module, s->name, out);
    text_puts(out, "\n");
}

static void put_node(const Func *f, Node n, Text *out) {
    const NodeData *d = graph_node(f, n);
    text_printf(out, "  %%%u = %s", n, op_info(d->op)->name);
    if (d->op == OP_CONST)
        put_number(out, d->number);
    else if (d->detail)
        text_printf(out, " %u.%u", d->index, d->detail);
    else
        text_printf(out, " %u", d->index);
    if (d->count) put_nodes(f->operands.data + d->first, d->count, out);
    text_puts(out, " :");
    put_type(d->type, out);
    text_puts(out, "\n");
}

static void put_func(const Module *module, FuncId id, Text *out) {
    const Func *f = graph_get(module, id);
    text_printf(out, "func %u", id);
    put_name(module, f->name, out);
    text_puts(out, "\n");
    for (Node n = 1; n < f->nodes.len; n++) put_node(f, n, out);
    text_puts(out, "  results");
    put_nodes(f->results.data, f->results.len, out);
    text_puts(out, "\n");
    for (uint32_t i = 0; i < f->effects.len; i++) {
        const Effect *effect = &f->effects.data[i];
        text_printf(out, "  effect %s %u", graph_effect_words[effect->kind], effect->number);
        put_nodes(effect->values, effect->count, out);
        text_puts(out, "\n");
    }
}

void graph_print(const Module *module, Text *out) {
    for (uint32_t i = 1; i < module->grids.len; i++) put_grid(module, i, out);
    for (uint32_t i = 1; i < module->stencils.len; i++) put_stencil(module, i, out);
    for (uint32_t i = 1; i < module->convs.len; i++) put_conv(module, i, out);
    for (uint32_t i = 1; i < module->loops.len; i++) put_loop(module, i, out);
    for (uint32_t i = 1; i < module->implicits.len; i++) put_implicit(module, i, out);
    for (uint32_t i = 0; i < module->inputs.len; i++) {
        text_printf(out, "input %u type", i);
        put_type(module->inputs.data[i].type, out);
        put_name(module, module->inputs.data[i].name, out);
        text_puts(out, "\n");
    }
    for (FuncId i = 1; i < module->funcs.len; i++) put_func(module, i, out);
    text_printf(out, "main %u\n", module->main);
}
