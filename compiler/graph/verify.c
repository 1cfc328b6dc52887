/* The verifier: whatever it accepts, every later stage can walk without checks. */
#include "compiler/graph/internal.h"
#include "compiler/ops/ops.h"

#include <math.h>
#include <string.h>

#define WRONG(...) return arena_format(module->arena, __VA_ARGS__)

enum { MOST_CHANNELS = 1 << 20, MOST_REACH = 1 << 16 };

static const char *verify_grids(Module *module) {
    for (GridId i = 1; i < module->grids.len; i++) {
        const Grid *grid = &module->grids.data[i];
        if (grid->rank < 1 || grid->rank > MAX_RANK)
            WRONG("grid %u has %u dimensions", i, grid->rank);
        if (grid->finer >= i)
            WRONG("grid %u halves grid %u, which does not stand before it", i, grid->finer);
        if (grid->coarser >= i)
            WRONG("grid %u doubles grid %u, which does not stand before it", i, grid->coarser);
        if (grid->finer && grid->coarser) WRONG("grid %u halves one and doubles one", i);
        if ((grid->finer && module->grids.data[grid->finer].rank != grid->rank) ||
            (grid->coarser && module->grids.data[grid->coarser].rank != grid->rank))
            WRONG("grid %u halves or doubles one of another rank", i);
        if (grid->row && (grid->rank != 1 || grid->finer || grid->coarser || grid->spacing[0] != 1))
            WRONG("grid %u is a row of numbers, which has one axis of spacing 1", i);
        for (uint32_t a = 0; a < grid->rank; a++) {
            if (grid->extent[a] < -1 || grid->extent[a] == 0 || grid->extent[a] > INT32_MAX)
                WRONG("grid %u has an extent of %lld", i, (long long)grid->extent[a]);
            if (!isfinite(grid->spacing[a]) || !(grid->spacing[a] > 0) ||
                !isfinite(grid->origin[a]))
                WRONG("grid %u has a spacing that is not positive, or an origin that is not finite",
                      i);
        }
    }
    return NULL;
}

static const char *verify_stencils(Module *module) {
    for (StencilId i = 1; i < module->stencils.len; i++) {
        const Stencil *s = &module->stencils.data[i];
        if (s->rank < 1 || s->rank > MAX_RANK) WRONG("stencil %u has %u dimensions", i, s->rank);
        if (s->in_channels < 1 || s->out_channels < 1 || s->in_channels > MOST_CHANNELS ||
            s->out_channels > MOST_CHANNELS)
            WRONG("stencil %u has no channels, or too many", i);
        for (uint32_t a = 0; a < s->rank; a++) {
            if ((s->sides[a][0] == SIDE_PERIODIC) != (s->sides[a][1] == SIDE_PERIODIC))
                WRONG("stencil %u is periodic on one side of an axis only", i);
            for (int k = 0; k < 2; k++)
                if (s->has_value[a][k] && (s->transposed || s->sides[a][k] == SIDE_PERIODIC ||
                                           s->sides[a][k] == SIDE_EVEN))
                    WRONG("stencil %u has a value on a side that takes none", i);
        }
        for (uint32_t k = 0; k < s->count; k++) {
            const Tap *tap = &s->taps[k];
            if (tap->from >= s->in_channels || tap->to >= s->out_channels)
                WRONG("stencil %u has a tap on a channel that it lacks", i);
            if (!isfinite(tap->weight)) WRONG("stencil %u has a weight that is not finite", i);
            for (uint32_t a = 0; a < MAX_RANK; a++)
                if (tap->offset[a] > MOST_REACH || tap->offset[a] < -MOST_REACH ||
                    (a >= s->rank && tap->offset[a] != 0))
                    WRONG("stencil %u has a tap too far away", i);
        }
    }
    return NULL;
}

const char *conv_wrong(const Conv *c) {
    if (c->rank < 1 || c->rank > MAX_RANK) return "has no dimensions, or too many";
    if (c->in < 1 || c->out < 1 || c->in > MOST_CHANNELS || c->out > MOST_CHANNELS)
        return "has no channels, or too many";
    if (c->groups < 1 || c->in % c->groups || c->out % c->groups)
        return "has groups that its channels cannot be divided into";
    double weights = (double)c->out * (c->in / c->groups);
    for (uint32_t a = 0; a < MAX_RANK; a++) {
        if (a >= c->rank && (c->size[a] != 1 || c->stride[a] != 1 || c->dilation[a] != 1))
            return "has taps beyond its dimensions";
        if (c->size[a] < 1 || c->size[a] > MOST_REACH || c->dilation[a] < 1 ||
            c->dilation[a] > MOST_REACH || conv_high(c, a) > MOST_REACH)
            return "has no taps on an axis, or reaches too far";
        if (a < c->rank && (c->stride[a] < 1 || c->stride[a] > 2 || c->stride[a] != c->stride[0]))
            return "has a stride that is neither 1 nor 2 on all axes";
        if (c->sides[a][0] > SIDE_GHOST || c->sides[a][1] > SIDE_GHOST ||
            (c->sides[a][0] == SIDE_PERIODIC) != (c->sides[a][1] == SIDE_PERIODIC))
            return "is periodic on one side of an axis only";
        if (c->sides[a][0] == SIDE_SLOPE || c->sides[a][1] == SIDE_SLOPE)
            return "has a slope at a side, which without a value is even";
        weights *= c->size[a];
    }
    return weights > INT32_MAX ? "has too many weights" : NULL;
}

static const char *verify_convs(Module *module) {
    for (ConvId i = 1; i < module->convs.len; i++) {
        const char *wrong = conv_wrong(&module->convs.data[i]);
        if (wrong) WRONG("convolution %u %s", i, wrong);
    }
    return NULL;
}

static const char *verify_type(Module *module, Type type) {
    if (type.grid >= module->grids.len)
        WRONG("a type names grid %u, which does not exist", type.grid);
    bool ok = false;
    switch (type.kind) {
    case TYPE_SCALAR:
    case TYPE_TUPLE: ok = type.grid == GRID_NONE && type.channels == 1; break;
    case TYPE_FIELD:
        ok = type.grid != GRID_NONE && type.channels >= 1 && type.channels <= MOST_CHANNELS;
        break;
    case TYPE_STACK: ok = type.channels >= 1 && type.channels <= MOST_CHANNELS; break;
    }
    if (!ok) WRONG("a type whose kind, channels and grid do not go together");
    return NULL;
}

static const char *verify_inputs(Module *module) {
    for (uint32_t i = 0; i < module->inputs.len; i++) {
        const char *wrong = verify_type(module, module->inputs.data[i].type);
        if (wrong) return wrong;
        if (module->inputs.data[i].type.kind == TYPE_TUPLE)
            WRONG("input %u is neither a number, nor a field, nor a stack", i);
    }
    return NULL;
}

static bool has_index(Op op, uint32_t index, const Module *module) {
    if (op == OP_LOOP || op == OP_BACK) return index > 0 && index < module->loops.len;
    if (op == OP_CALL) return index > 0 && index < module->funcs.len;
    if (op == OP_IMPLICIT) return index > 0 && index < module->implicits.len;
    return true;
}

/* Numbers only: what shape rules rely on when they follow operands. */
static const char *verify_numbers(Module *module, FuncId id) {
    const Func *f = graph_get(module, id);
    for (Node n = 1; n < f->nodes.len; n++) {
        const NodeData *d = graph_node(f, n);
        if (d->op <= OP_NONE || d->op >= OP_COUNT) WRONG("function %u: %%%u has no op", id, n);
        if (d->first > f->operands.len || d->count > f->operands.len - d->first)
            WRONG("function %u: the operands of %%%u are missing", id, n);
        for (uint32_t k = 0; k < d->count; k++)
            if (graph_operand(f, n, k) == 0 || graph_operand(f, n, k) >= n)
                WRONG("function %u: operand %u of %%%u does not stand before it", id, k, n);
        const char *wrong = verify_type(module, d->type);
        if (wrong) return wrong;
        if (!has_index(d->op, d->index, module))
            WRONG("function %u: %%%u names a loop or function that does not exist", id, n);
    }
    for (uint32_t i = 0; i < f->params.len; i++) {
        Node p = f->params.data[i];
        if (p == 0 || p >= f->nodes.len || graph_node(f, p)->op != OP_PARAM ||
            graph_node(f, p)->index != i)
            WRONG("function %u: parameter %u is not listed as such", id, i);
    }
    for (Node n = 1; n < f->nodes.len; n++)
        if (graph_node(f, n)->op == OP_PARAM && (graph_node(f, n)->index >= f->params.len ||
                                                 f->params.data[graph_node(f, n)->index] != n))
            WRONG("function %u: %%%u is a parameter that is not listed", id, n);
    for (uint32_t i = 0; i < f->results.len; i++)
        if (f->results.data[i] == 0 || f->results.data[i] >= f->nodes.len ||
            graph_node(f, f->results.data[i])->type.kind == TYPE_TUPLE)
            WRONG("function %u: result %u is no value", id, i);
    for (uint32_t i = 0; i < f->effects.len; i++)
        for (uint32_t k = 0; k < f->effects.data[i].count; k++) {
            Node v = f->effects.data[i].values[k];
            if (v >= f->nodes.len || (v != 0 && graph_node(f, v)->type.kind == TYPE_TUPLE))
                WRONG("function %u: effect %u has no such value", id, i);
        }
    return NULL;
}

static const char *verify_types(Module *module, FuncId id) {
    const Func *f = graph_get(module, id);
    for (Node n = 1; n < f->nodes.len; n++) {
        NodeData d = *graph_node(f, n);
        Type type = d.type;
        const char *why = "";
        if (d.op == OP_PROLONG || d.op == OP_RESTRICT || d.op == OP_MAXPOOL) {
            /* asking the rule could add a grid; the two must be neighbours */
            Type from = graph_node(f, graph_operand(f, n, 0))->type;
            GridId fine = d.op == OP_PROLONG ? type.grid : from.grid;
            GridId coarse = d.op == OP_PROLONG ? from.grid : type.grid;
            if (d.count != 1 || from.kind != TYPE_FIELD || type.kind != TYPE_FIELD ||
                from.channels != type.channels ||
                (module->grids.data[coarse].finer != fine &&
                 module->grids.data[fine].coarser != coarse) ||
                (d.op != OP_MAXPOOL && d.index != RESAMPLE_FIRST &&
                 d.index != graph_resample(module, fine, coarse)))
                WRONG("function %u: %%%u does not go between a grid and the one that halves it", id,
                      n);
            continue;
        }
        if (op_info(d.op)->class == CLASS_BILINEAR) { /* its rule could add a grid, too */
            if (!conv_fits(module, id, d.op, d.count ? f->operands.data + d.first : NULL, d.count,
                           d.index, d.type, &why))
                WRONG("function %u: %%%u = %s: %s", id, n, op_info(d.op)->name, why);
            continue;
        }
        if (!op_shape(module, id, d.op, d.count ? f->operands.data + d.first : NULL, d.count,
                      d.index, d.detail, &type, &why))
            WRONG("function %u: %%%u = %s: %s", id, n, op_info(d.op)->name, why);
        if (!type_equal(type, d.type))
            WRONG("function %u: %%%u is %s, but stands as %s", id, n,
                  type_text(module, type, module->arena), type_text(module, d.type, module->arena));
    }
    return NULL;
}

/* ---- stacks that are summed into: nothing else may see them, since that is done in place ---- */

/* Does node n take operand k over, to change it? */
static bool takes_over(const Module *module, const Func *f, Node n, uint32_t k) {
    const NodeData *d = graph_node(f, n);
    if (graph_node(f, graph_operand(f, n, k))->type.kind != TYPE_STACK) return false;
    if (d->op == OP_SCATTER) return k == 0;
    return (d->op == OP_LOOP || d->op == OP_BACK) && k >= 1 &&
           k <= module->loops.data[d->index].states;
}

/* Where the memory of a stack comes from: a node that nothing before has changed. */
static Node stack_origin(const Module *module, const Func *f, Node n) {
    for (;;) {
        const NodeData *d = graph_node(f, n);
        if (d->op == OP_SCATTER) {
            n = graph_operand(f, n, 0);
        } else if (d->op == OP_RESULT) {
            const NodeData *loop = graph_node(f, graph_operand(f, n, 0));
            bool state = (loop->op == OP_LOOP || loop->op == OP_BACK) &&
                         d->index < module->loops.data[loop->index].states;
            if (!state) return n;
            n = graph_operand(f, graph_operand(f, n, 0), 1 + d->index);
        } else {
            return n;
        }
    }
}

static const char *verify_stack_uses(Module *module, FuncId id) {
    const Func *f = graph_get(module, id);
    uint8_t *taken = ARENA_ARRAY(module->arena, uint8_t, f->nodes.len);
    uint32_t *uses = ARENA_ARRAY(module->arena, uint32_t, f->nodes.len);
    for (Node n = 1; n < f->nodes.len; n++)
        for (uint32_t k = 0; k < graph_node(f, n)->count; k++) {
            Op op = graph_node(f, n)->op;
            uses[graph_operand(f, n, k)] += op != OP_FRAMES && op != OP_ZEROSTACK;
            taken[graph_operand(f, n, k)] |= takes_over(module, f, n, k);
        }
    for (uint32_t i = 0; i < f->results.len; i++) uses[f->results.data[i]]++;
    for (uint32_t i = 0; i < f->effects.len; i++)
        for (uint32_t k = 0; k < f->effects.data[i].count; k++)
            uses[f->effects.data[i].values[k]]++;
    for (Node n = 1; n < f->nodes.len; n++) {
        Op op = graph_node(f, stack_origin(module, f, n))->op;
        if (taken[n] && (uses[n] > 1 || (op != OP_ZEROSTACK && op != OP_PARAM)))
            WRONG("function %u: stack %%%u is summed into, and used elsewhere", id, n);
    }
    return NULL;
}

/* A loop's stack goes from step to step in the same memory; what it captured is not summed into. */
static const char *verify_loop_stacks(Module *module, FuncId id) {
    const Func *f = graph_get(module, id);
    for (Node n = 1; n < f->nodes.len; n++) {
        const NodeData *d = graph_node(f, n);
        if (d->op != OP_LOOP && d->op != OP_BACK && d->op != OP_CALL) continue;
        const Loop none = {.body = d->index},
                   *loop = d->op == OP_CALL ? &none : &module->loops.data[d->index];
        const Func *body = graph_get(module, loop->body);
        uint32_t first = d->op == OP_BACK ? 1 + loop->collected : 1;
        for (uint32_t i = 0; i < loop->states; i++) {
            Node next = body->results.data[i];
            if (graph_node(body, next)->type.kind == TYPE_STACK &&
                stack_origin(module, body, next) != body->params.data[first + i])
                WRONG("function %u: a stack of loop %u is another one after a step", id, d->index);
        }
        for (Node b = 1; b < body->nodes.len; b++)
            for (uint32_t k = 0; k < graph_node(body, b)->count; k++) {
                if (!takes_over(module, body, b, k)) continue;
                const NodeData *o =
                    graph_node(body, stack_origin(module, body, graph_operand(body, b, k)));
                if (o->op == OP_PARAM && (o->index < first || o->index >= first + loop->states))
                    WRONG("function %u: what %%%u runs sums into a stack that is not its own", id,
                          n);
            }
    }
    return NULL;
}

/* Calls and loops must not lead back to their own function: depth-first, with a stack of our
 * own. */
static const char *verify_calls(Module *module) {
    uint32_t count = module->funcs.len;
    uint8_t *colour = ARENA_ARRAY(module->arena, uint8_t, count); /* 1: open, 2: done */
    Node *at = ARENA_ARRAY(module->arena, Node, count);
    FuncId *stack = ARENA_ARRAY(module->arena, FuncId, count);
    for (FuncId root = 1; root < count; root++) {
        uint32_t depth = 0;
        if (colour[root]) continue;
        stack[depth++] = root;
        colour[root] = 1;
        while (depth) {
            FuncId id = stack[depth - 1];
            const Func *f = graph_get(module, id);
            FuncId callee = 0;
            while (callee == 0 && ++at[id] < f->nodes.len) {
                const NodeData *d = graph_node(f, at[id]);
                callee = d->op == OP_LOOP || d->op == OP_BACK ? module->loops.data[d->index].body
                         : d->op == OP_CALL                   ? d->index
                                                              : 0;
            }
            if (callee == 0) {
                colour[id] = 2;
                depth--;
            } else if (colour[callee] == 1) {
                WRONG("function %u calls itself", callee);
            } else if (colour[callee] == 0) {
                colour[callee] = 1;
                stack[depth++] = callee;
            }
        }
    }
    return NULL;
}

const char *graph_verify(Module *module) {
    const char *wrong = verify_grids(module);
    if (!wrong) wrong = verify_stencils(module);
    if (!wrong) wrong = verify_convs(module);
    if (!wrong) wrong = verify_inputs(module);
    for (LoopId i = 1; i < module->loops.len && !wrong; i++)
        if (module->loops.data[i].body == 0 || module->loops.data[i].body >= module->funcs.len)
            WRONG("loop %u has no body", i);
    for (FuncId i = 1; i < module->funcs.len && !wrong; i++) wrong = verify_numbers(module, i);
    for (FuncId i = 1; i < module->funcs.len && !wrong; i++) wrong = verify_types(module, i);
    if (!wrong) wrong = verify_calls(module);
    for (FuncId i = 1; i < module->funcs.len && !wrong; i++) wrong = verify_stack_uses(module, i);
    for (FuncId i = 1; i < module->funcs.len && !wrong; i++) wrong = verify_loop_stacks(module, i);
    if (!wrong && module->main >= module->funcs.len) WRONG("the main function does not exist");
    return wrong;
}
