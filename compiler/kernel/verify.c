/* Is a plan sound? What the code generator relies on, so that a plan read from text cannot hurt it. */
#include "compiler/kernel/plan_ir.h"

#include <math.h>
#include <string.h>

typedef struct {
    const Plan *plan;
    Arena *arena;
    const char *wrong;
    const HFunc *f;
    uint32_t number;     /* of the kernel or function that is looked at */
    bool *defined;       /* registers that hold something here */
    bool *written;       /* registers written anywhere: once */
    bool *placed;        /* pool registers, by the loops around */
    const HLoop **tapes; /* written so far and not gone over, by number */
    const HLoop *back;   /* the loop whose body begins here goes back */
} Check;

static void fail(Check *c, const char *what, const char *why) {
    if (!c->wrong) c->wrong = arena_format(c->arena, "%s %u: %s", what, c->number, why);
}

/* ---- kernels ------------------------------------------------------------------------------- */

static bool node_sound(const Kernel *k, KNode id) {
    const KNodeData *n = &k->nodes.data[id];
    if (n->kind == K_NONE || n->kind >= K_KINDS) return false;
    if (n->kind == K_OP &&
        (n->op == OP_NONE || n->op >= OP_COUNT || op_info(n->op)->class != CLASS_POINTWISE))
        return false;
    for (uint32_t i = 0; i < kernel_operands(n); i++)
        if (n->operand[i] == 0 || n->operand[i] >= id) return false;
    switch (n->kind) {
    case K_NUMBER: return kernel_literal(n->number);
    case K_SCALAR: return n->index < k->scalars;
    case K_LOAD:
        return n->index < k->fields.len && k->fields.data[n->index].grid == 0 &&
               n->detail < k->fields.data[n->index].channels;
    case K_RESTRICT:
    case K_POOL:
    case K_FIRST:
    case K_PROLONG:
    case K_SPIKE:
    case K_SHARE:
    case K_BLEND:
        for (uint32_t a = 0; a < MAX_RANK && kernel_shares(n->kind); a++)
            if (n->offset[a] < 0 || n->offset[a] > (a < k->rank)) return false;
        return n->index < k->fields.len && k->fields.data[n->index].grid > 0 &&
               k->grid_rank[k->fields.data[n->index].grid] == k->rank &&
               n->detail < k->fields.data[n->index].channels;
    case K_ENTRY:
        return n->index < k->fields.len && k->grid_rank[k->fields.data[n->index].grid] == 1 &&
               n->detail < 1u << 20;
    case K_COORD: return n->index < k->rank;
    case K_EDGE: return n->index < k->rank && n->detail < 2;
    case K_SHIFT:
    case K_UNSHIFT:
        for (uint32_t a = 0; a < MAX_RANK; a++) {
            if (n->offset[a] > 100 || n->offset[a] < -100 || (a >= k->rank && n->offset[a] != 0))
                return false;
            for (int s = 0; s < 2; s++)
                if (n->sides[a][s] > SIDE_GHOST || n->value[a][s] >= id) return false;
        }
        return true;
    default: return true;
    }
}

static void check_kernel(Check *c, const Kernel *k) {
    if (k->rank < 1 || k->rank > MAX_RANK || k->grids < 1 || k->grid_rank[0] != k->rank) {
        fail(c, "kernel", "a kernel runs over a grid of 1 to 3 dimensions");
        return;
    }
    for (uint32_t i = 0; i < k->grids; i++)
        if (k->grid_rank[i] != k->rank && k->grid_rank[i] != 1)
            fail(c, "kernel", "grids of other ranks");
    for (uint32_t i = 0; i < k->fields.len; i++)
        if (k->fields.data[i].grid >= k->grids || k->fields.data[i].channels == 0) {
            fail(c, "kernel", "a field without grid or channels");
            return;
        }
    for (KNode n = 1; n < k->nodes.len; n++)
        if (!node_sound(k, n)) {
            fail(c, "kernel", arena_format(c->arena, "node %%%u is unsound", n));
            return;
        }
    for (uint32_t i = 0; i < k->outputs.len; i++) {
        const KOutput *o = &k->outputs.data[i];
        if (o->node == 0 || o->node >= k->nodes.len || o->field >= k->written.len ||
            o->channel >= k->written.data[o->field])
            fail(c, "kernel", "a store to nowhere");
    }
    for (uint32_t i = 0; i < k->reductions.len; i++) {
        const KReduction *r = &k->reductions.data[i];
        if (r->op != OP_SUM && r->op != OP_LEAST && r->op != OP_LARGEST)
            fail(c, "kernel", "an op that is no reduction");
        for (uint32_t n = 0; n < r->count; n++)
            if (r->nodes[n] == 0 || r->nodes[n] >= k->nodes.len)
                fail(c, "kernel", "a reduction of nothing");
    }
    if (k->outputs.len + k->reductions.len == 0) fail(c, "kernel", "it computes nothing");
}

/* ---- host functions ---------------------------------------------------------------------------- */

static bool is_reg(const Check *c, HReg r, TypeKind kind) {
    return r < c->f->regs.len && c->f->regs.data[r].type.kind == kind;
}

static void reads(Check *c, HReg r, TypeKind kind, const char *why) {
    if (!is_reg(c, r, kind) || !c->defined[r]) fail(c, "func", why);
}

static void writes(Check *c, HReg r, TypeKind kind, const char *why) {
    if (!is_reg(c, r, kind) || c->written[r])
        fail(c, "func", why);
    else
        c->defined[r] = c->written[r] = true;
}

static void check_launch(Check *c, const HInstr *h) {
    if (h->index >= c->plan->kernels.len) {
        fail(c, "func", "a launch of no kernel");
        return;
    }
    const Kernel *k = c->plan->kernels.data[h->index];
    for (uint32_t i = 0; i < k->grids; i++)
        if (h->grids[i] == GRID_NONE || h->grids[i] >= c->plan->grids ||
            c->plan->grid_rank[h->grids[i]] != k->grid_rank[i])
            fail(c, "func", "a launch over a grid of another rank");
    if (c->wrong) return;
    for (uint32_t i = 0; i < k->fields.len; i++) {
        reads(c, h->fields[i], TYPE_FIELD, "a launch reads what is no field");
        if (!c->wrong &&
            (c->f->regs.data[h->fields[i]].type.channels < k->fields.data[i].channels ||
             c->f->regs.data[h->fields[i]].type.grid != h->grids[k->fields.data[i].grid]))
            fail(c, "func", "a launch reads a field of another shape");
    }
    for (uint32_t i = 0; i < k->scalars; i++)
        if (h->scalars[i] != NONE)
            reads(c, h->scalars[i], TYPE_SCALAR, "a launch is given what is no number");
        else if (h->scalar_constant[i] >= c->plan->constants.len)
            fail(c, "func", "no such constant");
    for (uint32_t i = 0; i < k->written.len; i++) {
        writes(c, h->outputs[i], TYPE_FIELD, "a launch writes what is no new field");
        if (!c->wrong && (c->f->regs.data[h->outputs[i]].type.channels != k->written.data[i] ||
                          c->f->regs.data[h->outputs[i]].type.grid != h->grids[0] ||
                          c->f->regs.data[h->outputs[i]].place < PLACE_SLOT))
            fail(c, "func", "a launch writes a field of another shape");
    }
    for (uint32_t i = 0; i < k->reductions.len; i++)
        writes(c, h->reductions[i], TYPE_SCALAR, "a reduction gives a new number");
    for (KNode n = 1; n < k->nodes.len && !c->wrong; n++)
        if (k->nodes.data[n].kind == K_ENTRY) {
            GridId row = h->grids[k->fields.data[k->nodes.data[n].index].grid];
            if (c->plan->smallest[row][0] <= k->nodes.data[n].detail)
                fail(c, "func", "a launch reads past the end of a row");
        }
    uint32_t p = 0;
    while (p < c->f->partials.len && c->f->partials.data[p].grid != h->grids[0]) p++;
    if (k->reductions.len &&
        (p == c->f->partials.len || c->f->partials.data[p].channels < k->reductions.len))
        fail(c, "func", "no room for partial results");
}

static void check_block(Check *c, const HBlock *block, uint32_t depth);

/* Stands for a tape that was gone over, or whose block has ended: no loop reads it. */
static const HLoop over = {.tape = NONE, .kept = NONE};

static void check_pools(Check *c, const HLoop *l) {
    for (uint32_t p = 0; p < l->pools; p++) {
        const struct HPool *pool = &l->pool[p];
        uint32_t states = 0;
        for (uint32_t i = 0; i < l->states; i++) {
            Type t = c->f->regs.data[l->param[i]].type;
            states += t.kind == TYPE_FIELD && t.grid == pool->grid && t.channels == pool->channels;
        }
        if (pool->made &&
            pool->slots < states + (l->together && states > pool->made ? states : pool->made))
            fail(c, "func", "a pool with too few buffers");
        for (uint32_t s = 0; s < pool->slots; s++)
            if (pool->slot[s] >= c->f->slots.len ||
                c->f->slots.data[pool->slot[s]].grid != pool->grid ||
                c->f->slots.data[pool->slot[s]].channels != pool->channels)
                fail(c, "func", "a pool of slots of another shape");
        for (uint32_t m = 0; m < pool->made; m++)
            if (!is_reg(c, pool->maker[m], TYPE_FIELD) ||
                c->f->regs.data[pool->maker[m]].place != PLACE_POOL ||
                c->f->regs.data[pool->maker[m]].type.grid != pool->grid ||
                c->f->regs.data[pool->maker[m]].type.channels != pool->channels)
                fail(c, "func", "a pool for what is no field of its shape");
            else
                c->placed[pool->maker[m]] = true;
    }
}

/* Does this kernel copy fields of this type? */
static bool copies(const Check *c, uint32_t kernel, Type t) {
    if (kernel >= c->plan->kernels.len) return false;
    const Kernel *k = c->plan->kernels.data[kernel];
    return k->fields.len == 1 && k->written.len == 1 && !k->scalars && !k->reductions.len &&
           k->rank == c->plan->grid_rank[t.grid] && k->written.data[0] == t.channels;
}

/* A state that is copied to a trajectory or a tape needs a kernel for that. */
static void check_copies(Check *c, const HLoop *l, const uint32_t *states, const uint32_t *kernels,
                         uint32_t count) {
    for (uint32_t i = 0; i < count && !c->wrong; i++) {
        if (states[i] >= l->states) {
            fail(c, "func", "a loop collects what is no state");
            return;
        }
        Type t = c->f->regs.data[l->param[states[i]]].type;
        if (t.kind == TYPE_STACK) fail(c, "func", "a loop collects what is a trajectory itself");
        if (t.kind == TYPE_FIELD && !copies(c, kernels[i], t))
            fail(c, "func", "a trajectory needs a kernel that copies");
    }
}

/* A tape is written once, then gone over once, by a loop whose body begins with getting at the states. */
static void check_tape(Check *c, HKind kind, const HLoop *l, bool begins) {
    const char *wrong = "a tape is not written, then gone over, once";
    const HLoop *written = l->tape < c->f->tapes ? c->tapes[l->tape] : NULL;
    if (kind == H_LOOP) {
        if (l->tape == NONE) return;
        if (l->tape >= c->f->tapes || written) fail(c, "func", wrong);
        check_copies(c, l, l->keep, l->keep_kernel, l->kept);
        if (!c->wrong) c->tapes[l->tape] = l;
        return;
    }
    if (!written || written == &over) {
        fail(c, "func", wrong);
        return;
    }
    if (kind == H_BACK) {
        const HInstr *first = l->body->code.len ? &l->body->code.data[0] : NULL;
        if (!first || first->kind != H_ADVANCE || first->loop->tape != l->tape)
            fail(c, "func", "a loop that goes back does not begin with getting at the states");
        if (l->kept) fail(c, "func", wrong);
        return;
    }
    check_copies(c, l, l->keep, l->keep_kernel, l->kept);
    if (!begins || !c->back || c->back->tape != l->tape || l->states != written->kept ||
        l->kept != written->kept)
        fail(c, "func", wrong);
    for (uint32_t i = 0; i < l->kept && !c->wrong; i++)
        if (l->keep[i] != i || !type_equal(c->f->regs.data[l->param[i]].type,
                                           c->f->regs.data[written->param[written->keep[i]]].type))
            fail(c, "func", "a tape gives back other states than were kept");
}

static void check_states(Check *c, HKind kind, const HLoop *l) {
    for (uint32_t i = 0; i < l->states && !c->wrong; i++) {
        HReg first = kind == H_ADVANCE ? l->param[i] : l->init[i];
        TypeKind type = first < c->f->regs.len ? c->f->regs.data[first].type.kind : TYPE_SCALAR;
        if (kind != H_ADVANCE) reads(c, first, type, "a loop's first state");
        writes(c, l->param[i], type, "a loop's state");
        if (!c->wrong &&
            !type_equal(c->f->regs.data[first].type, c->f->regs.data[l->param[i]].type))
            fail(c, "func", "a loop's states change type");
    }
}

static void check_results(Check *c, const HLoop *l) {
    for (uint32_t i = 0; i < l->states && !c->wrong; i++) {
        TypeKind kind = c->f->regs.data[l->param[i]].type.kind;
        writes(c, l->result[i], kind, "a loop's result");
        if (!c->wrong &&
            (!type_equal(c->f->regs.data[l->next[i]].type, c->f->regs.data[l->param[i]].type) ||
             !type_equal(c->f->regs.data[l->result[i]].type, c->f->regs.data[l->param[i]].type)))
            fail(c, "func", "a loop's states change type");
    }
    writes(c, l->steps, TYPE_SCALAR, "a loop's steps");
    for (uint32_t i = 0; i < l->collected && !c->wrong; i++)
        writes(c, l->stack[i], TYPE_STACK, "a loop's trajectory");
    if (!c->wrong) check_copies(c, l, l->collect, l->stack_kernel, l->collected);
}

static void check_loop(Check *c, HKind kind, const HLoop *l, uint32_t depth, bool begins) {
    if (l->count != NONE) reads(c, l->count, TYPE_SCALAR, "a loop's count is no number");
    if (l->count_constant >= c->plan->constants.len ||
        l->start_constant >= c->plan->constants.len ||
        l->stride_constant >= c->plan->constants.len ||
        !(c->plan->constants.data[l->stride_constant] >= 1))
        fail(c, "func", "a loop's limits are no constants");
    if (kind != H_LOOP && (l->collected || l->stop != NONE))
        fail(c, "func", "a loop over a tape collects, or has a stop of its own");
    writes(c, l->k, TYPE_SCALAR, "a loop counts in a new number");
    check_states(c, kind, l);
    if (c->wrong) return;
    check_pools(c, l);
    if (l->together && (kind != H_LOOP || l->together != steps_together(c->plan, c->f, l)))
        fail(c, "func", "steps that cannot be taken together");
    if (kind != H_LOOP) check_tape(c, kind, l, begins);
    bool *before = arena_copy(c->arena, c->defined, sizeof(bool) * c->f->regs.len);
    const HLoop **tapes = arena_copy(c->arena, c->tapes, sizeof *tapes * c->f->tapes),
                *back = c->back;
    c->back = kind == H_BACK ? l : NULL;
    for (uint32_t i = 0; i < c->f->tapes; i++) /* the body may run again and again */
        if (c->tapes[i] && !(kind == H_BACK && i == l->tape)) c->tapes[i] = &over;
    check_block(c, l->body, depth + 1);
    c->back = back;
    for (uint32_t i = 0; i < l->states && !c->wrong; i++)
        reads(c, l->next[i], c->f->regs.data[l->param[i]].type.kind, "a loop's next state");
    if (l->stop != NONE) reads(c, l->stop, TYPE_SCALAR, "a loop's stop is no number");
    memcpy(c->defined, before, sizeof(bool) * c->f->regs.len); /* what the body made ends with it */
    for (uint32_t i = 0; i < c->f->tapes; i++) /* its tapes, too; they are not written again */
        c->tapes[i] = tapes[i] ? tapes[i] : c->tapes[i] ? &over : NULL;
    check_results(c, l);
    if (kind == H_LOOP && !c->wrong) check_tape(c, kind, l, begins);
    if (kind == H_BACK) c->tapes[l->tape] = &over;
}

static void check_call(Check *c, const HInstr *h) {
    /* callees stand before callers, main is 0: no recursion */
    if (h->index == 0 || h->index >= c->plan->funcs.len ||
        (c->number != 0 && h->index >= c->number)) {
        fail(c, "func", "a call of what is not made before");
        return;
    }
    const HFunc *f = c->plan->funcs.data[h->index];
    if (f->params.len != h->args_count || f->results.len != h->dsts_count) {
        fail(c, "func", "a call with too many or too few values");
        return;
    }
    for (uint32_t i = 0; i < h->args_count && !c->wrong; i++) {
        reads(c, h->args[i], f->regs.data[f->params.data[i]].type.kind, "a call's argument");
        if (!c->wrong &&
            !type_equal(c->f->regs.data[h->args[i]].type, f->regs.data[f->params.data[i]].type))
            fail(c, "func", "a call's argument of another type");
    }
    for (uint32_t i = 0; i < h->dsts_count && !c->wrong; i++) {
        writes(c, h->dsts[i], f->regs.data[f->results.data[i]].type.kind, "a call's result");
        if (!c->wrong &&
            !type_equal(c->f->regs.data[h->dsts[i]].type, f->regs.data[f->results.data[i]].type))
            fail(c, "func", "a call's result of another type");
    }
}

static void check_task(Check *c, const HInstr *h) {
    if (h->args_count != h->dsts_count) {
        fail(c, "func", "a task with too many or too few values");
        return;
    }
    for (uint32_t i = 0; i < h->args_count && !c->wrong; i++) {
        TypeKind kind =
            h->args[i] < c->f->regs.len ? c->f->regs.data[h->args[i]].type.kind : TYPE_TUPLE;
        reads(c, h->args[i], kind, "a task's value");
        if (c->wrong || h->dsts[i] == NONE) continue;
        writes(c, h->dsts[i], kind, "a task's result");
        if (!c->wrong && c->f->regs.data[h->dsts[i]].place > PLACE_POINTER)
            fail(c, "func", "a task's result is where the host says");
    }
}

/* The channels of u and v, their grids, and the row of weights. */
static bool conv_operand(Check *c, const Conv *conv, const HInstr *h, HReg reg, uint32_t which) {
    Type t = c->f->regs.data[reg].type;
    if (which == 2) return t.channels == 1 && c->plan->grid_rank[t.grid] == 1;
    return t.channels == (which ? conv->out : conv->in) && t.grid == h->grids[which];
}

static void check_conv(Check *c, const HInstr *h) {
    static const uint32_t operands[CONV_FORMS][3] = {{0, 2, 1}, {1, 2, 0}, {0, 1, 2}};
    if (h->index >= c->plan->convs.len || h->detail >= CONV_FORMS || h->args_count != 2 ||
        h->dsts_count) {
        fail(c, "func", "no such convolution");
        return;
    }
    const Conv *conv = &c->plan->convs.data[h->index];
    for (int i = 0; i < 2; i++)
        if (h->grids[i] == GRID_NONE || h->grids[i] >= c->plan->grids ||
            c->plan->grid_rank[h->grids[i]] != conv->rank) {
            fail(c, "func", "a convolution between grids of another rank");
            return;
        }
    if (conv->stride[0] == 1 ? h->grids[0] != h->grids[1]
                             : c->plan->finer[h->grids[1]] != h->grids[0])
        fail(c, "func", "a convolution between grids that its stride does not connect");
    for (uint32_t i = 0; i < 2; i++)
        reads(c, h->args[i], TYPE_FIELD, "a convolution reads what is no field");
    writes(c, h->dst, TYPE_FIELD, "a convolution makes a new field");
    if (c->wrong) return;
    if (c->f->regs.data[h->dst].place < PLACE_SLOT)
        fail(c, "func", "a convolution without a place");
    for (uint32_t i = 0; i < 3; i++)
        if (!conv_operand(c, conv, h, i < 2 ? h->args[i] : h->dst, operands[h->detail][i]))
            fail(c, "func", "a convolution of fields of another shape");
}

static void check_tridiag(Check *c, const HInstr *h) {
    if (h->args_count != 4 || h->dsts_count || h->detail > TRIDIAG_BITS ||
        h->grids[0] == GRID_NONE || h->grids[0] >= c->plan->grids ||
        h->index >= c->plan->grid_rank[h->grids[0]]) {
        fail(c, "func", "no such tridiagonal system");
        return;
    }
    for (uint32_t i = 0; i < 4; i++)
        reads(c, h->args[i], TYPE_FIELD, "a tridiagonal system of what is no field");
    writes(c, h->dst, TYPE_FIELD, "a tridiagonal system makes a new field");
    if (c->wrong) return;
    const HRegData *x = &c->f->regs.data[h->dst];
    for (uint32_t i = 0; i < 4; i++) {
        Type t = c->f->regs.data[h->args[i]].type;
        if (t.grid != h->grids[0] ||
            (t.channels != x->type.channels && (t.channels != 1 || i == 0)))
            fail(c, "func", "a tridiagonal system of fields of another shape");
    }
    if (x->type.grid != h->grids[0] || x->place < PLACE_SLOT)
        fail(c, "func", "a tridiagonal system without a place");
}

static void check_convnorm(Check *c, const HInstr *h) {
    if (h->index >= c->plan->convs.len || h->args_count < 1 || h->args_count > 2) {
        fail(c, "func", "no such norm of a convolution");
        return;
    }
    bool derivative = h->args_count == 2;
    reads(c, h->args[0], TYPE_FIELD, "a norm reads weights that are not there");
    if (derivative) reads(c, h->args[1], TYPE_SCALAR, "a norm's cotangent is not there");
    writes(c, h->dst, derivative ? TYPE_FIELD : TYPE_SCALAR, "the norm of a convolution");
    if (c->wrong) return;
    Type w = c->f->regs.data[h->args[0]].type;
    const HRegData *made = &c->f->regs.data[h->dst];
    int64_t count = conv_weights(&c->plan->convs.data[h->index]);
    if (c->plan->grid_rank[w.grid] != 1 || w.channels != 1 || c->plan->smallest[w.grid][0] < count)
        fail(c, "func", "the weights of a norm are no row of as many numbers");
    if (derivative && (!type_equal(w, made->type) || made->place < PLACE_SLOT))
        fail(c, "func", "the derivative of a norm without its place");
}

/* Frames have the type that their stack says. */
static void check_stack(Check *c, const HInstr *h, Type result) {
    bool makes = h->kind == H_ZEROSTACK || h->kind == H_SCATTER;
    if (c->wrong || (h->kind != H_FRAME && !makes)) return;
    Type stack = c->f->regs.data[h->args[0]].type, frame = stack;
    frame.kind = stack.grid == GRID_NONE ? TYPE_SCALAR : TYPE_FIELD;
    if (!type_equal(result, makes ? stack : frame) ||
        (h->kind == H_SCATTER && !type_equal(frame, c->f->regs.data[h->args[2]].type)))
        fail(c, "func", "a frame of another type than its stack's");
}

static uint32_t wanted_args(const HInstr *h) {
    switch (h->kind) {
    case H_FRAME: return 2;
    case H_SCATTER:
    case H_CHECK: return 3;
    case H_FRAMES:
    case H_ZEROSTACK:
    case H_ENTRY:
    case H_BATCH: return 1;
    case H_OP: return (uint32_t)op_info(h->op)->operands;
    case H_EFFECT:
    case H_ROW:
    case H_RANDOM: return h->args_count;
    default: return 0;
    }
}

static TypeKind wanted_kind(const Check *c, const HInstr *h, uint32_t i) {
    bool any = h->kind == H_EFFECT || h->kind == H_BATCH || (h->kind == H_SCATTER && i == 2);
    if (any && h->args[i] < c->f->regs.len) return c->f->regs.data[h->args[i]].type.kind;
    if (i == 0 && (h->kind == H_FRAME || h->kind == H_FRAMES || h->kind == H_ZEROSTACK ||
                   h->kind == H_SCATTER))
        return TYPE_STACK;
    return h->kind == H_ENTRY ? TYPE_FIELD : TYPE_SCALAR;
}

/* Rows and their numbers; means over a batch, in a copy of their own. */
static void check_rows(Check *c, const HInstr *h, HRegData to) {
    if (h->kind == H_ROW &&
        (to.type.kind != TYPE_FIELD || c->plan->grid_rank[to.type.grid] != 1 ||
         to.type.channels != 1 || h->args_count == 0 ||
         c->plan->smallest[to.type.grid][0] < h->args_count || to.place < PLACE_SLOT))
        fail(c, "func", "a row without its place");
    if (h->kind == H_ENTRY) {
        GridId row = c->f->regs.data[h->args[0]].type.grid;
        if (c->plan->grid_rank[row] != 1 || c->plan->smallest[row][0] <= h->index)
            fail(c, "func", "a number of no row");
    }
    if (h->kind == H_BATCH &&
        (!type_equal(to.type, c->f->regs.data[h->args[0]].type) || to.type.kind > TYPE_FIELD ||
         (to.type.kind == TYPE_FIELD && (to.place < PLACE_SLOT || !copies(c, h->index, to.type)))))
        fail(c, "func", "a mean over a batch without its place");
}

static void check_simple(Check *c, const HInstr *h) {
    if (h->args_count != wanted_args(h)) {
        fail(c, "func", "an instruction with too many or too few values");
        return;
    }
    for (uint32_t i = 0; i < h->args_count && !c->wrong; i++)
        reads(c, h->args[i], wanted_kind(c, h, i), "an instruction reads what is not there");
    if (h->kind == H_EFFECT || h->kind == H_CHECK || c->wrong) return;
    if (h->dst >= c->f->regs.len) {
        fail(c, "func", "an instruction without result");
        return;
    }
    Type t = c->f->regs.data[h->dst].type;
    bool any = h->kind == H_INPUT || h->kind == H_RANDOM || h->kind == H_FRAME ||
               h->kind == H_ROW || h->kind == H_BATCH || h->kind == H_ZEROSTACK ||
               h->kind == H_SCATTER;
    writes(c, h->dst, any ? t.kind : TYPE_SCALAR, "an instruction's result");
    check_rows(c, h, c->f->regs.data[h->dst]);
    check_stack(c, h, t);
    if (h->kind == H_RANDOM && t.kind == TYPE_FIELD && c->f->regs.data[h->dst].place < PLACE_SLOT)
        fail(c, "func", "noise without a place");
    if ((h->kind == H_CONSTANT && h->index >= c->plan->constants.len) ||
        (h->kind == H_INPUT &&
         (h->index >= c->plan->inputs.len || !type_equal(t, c->plan->inputs.data[h->index]))) ||
        (h->kind == H_CELLS && (h->index == GRID_NONE || h->index >= c->plan->grids)))
        fail(c, "func", "no such constant, input or grid");
}

static void check_block(Check *c, const HBlock *block, uint32_t depth) {
    if (depth > 200) fail(c, "func", "loops in too many loops");
    for (uint32_t i = 0; i < block->code.len && !c->wrong; i++) {
        const HInstr *h = &block->code.data[i];
        bool follows = i > 0 && block->code.data[i - 1].relay > 0;
        if (!follows && !relay_holds(c->plan, h, block->code.len - 1 - i))
            fail(c, "func", "launches that cannot run together");
        if ((i == 0 || block->code.data[i - 1].chain == 0) &&
            !chain_holds(c->plan, c->f, h, block->code.len - 1 - i))
            fail(c, "func", "a chain of what cannot run together");
        if (h->stays && (!c->back || !host_may_stay(c->back, h) || h->ahead))
            fail(c, "func", "a copy of no state that stays");
        if (h->ahead && (depth == 0 || !host_may_be_ahead(c->plan, block, i)))
            fail(c, "func", "something that the last step of a loop cannot leave out");
        if (h->kind == H_LAUNCH)
            check_launch(c, h);
        else if (host_is_loop(h->kind))
            check_loop(c, h->kind, h->loop, depth, i == 0);
        else if (h->kind == H_CALL)
            check_call(c, h);
        else if (h->kind == H_TASK)
            check_task(c, h);
        else if (h->kind == H_CONV)
            check_conv(c, h);
        else if (h->kind == H_TRIDIAG)
            check_tridiag(c, h);
        else if (h->kind == H_CONVNORM)
            check_convnorm(c, h);
        else
            check_simple(c, h);
    }
}

static void check_func(Check *c, const HFunc *f) {
    c->f = f;
    c->defined = ARENA_ARRAY(c->arena, bool, f->regs.len + 1);
    c->written = ARENA_ARRAY(c->arena, bool, f->regs.len + 1);
    c->placed = ARENA_ARRAY(c->arena, bool, f->regs.len + 1);
    c->tapes = ARENA_ARRAY(c->arena, const HLoop *, f->tapes + 1);
    c->back = NULL;
    for (HReg r = 0; r < f->regs.len; r++) {
        const HRegData *d = &f->regs.data[r];
        if (d->type.kind > TYPE_STACK || d->type.grid >= c->plan->grids ||
            (d->type.kind == TYPE_FIELD && d->type.grid == GRID_NONE) || d->type.channels == 0)
            fail(c, "func", "a register of no type");
        else if (d->place == PLACE_SLOT &&
                 (d->place_index >= f->slots.len ||
                  f->slots.data[d->place_index].grid != d->type.grid ||
                  f->slots.data[d->place_index].channels != d->type.channels))
            fail(c, "func", "a field in a slot of another shape");
        else if (d->place == PLACE_RESULT &&
                 (d->place_index >= f->results.len || f->results.data[d->place_index] != r))
            fail(c, "func", "a result that is none");
    }
    for (uint32_t i = 0; i < f->slots.len + f->partials.len; i++) {
        const HSlot *s = i < f->slots.len ? &f->slots.data[i] : &f->partials.data[i - f->slots.len];
        if (s->grid == GRID_NONE || s->grid >= c->plan->grids || s->channels == 0)
            fail(c, "func", "a slot of no grid");
    }
    for (uint32_t i = 0; i < f->params.len && !c->wrong; i++)
        writes(c, f->params.data[i],
               f->params.data[i] < f->regs.len ? f->regs.data[f->params.data[i]].type.kind
                                               : TYPE_SCALAR,
               "a parameter");
    if (!c->wrong) check_block(c, &f->body, 0);
    for (uint32_t i = 0; i < f->results.len && !c->wrong; i++) {
        reads(c, f->results.data[i],
              f->results.data[i] < f->regs.len ? f->regs.data[f->results.data[i]].type.kind
                                               : TYPE_SCALAR,
              "a result");
        const HRegData *d = &f->regs.data[f->results.data[i]];
        if (!c->wrong &&
            ((d->type.kind == TYPE_STACK && c->number != 0) ||
             (d->type.kind == TYPE_FIELD && (d->place != PLACE_RESULT || d->place_index != i))))
            fail(c, "func", "a result field that is not in the caller's buffer");
    }
    for (HReg r = 0; r < f->regs.len && !c->wrong; r++)
        if (f->regs.data[r].place == PLACE_POOL && !c->placed[r])
            fail(c, "func", "a field of no pool");
}

const char *plan_verify(const Plan *plan, Arena *arena) {
    Check c = {.plan = plan, .arena = arena};
    for (GridId g = 1; g < plan->grids && !c.wrong; g++) {
        c.number = g;
        if (plan->grid_rank[g] < 1 || plan->grid_rank[g] > MAX_RANK ||
            plan->finer[g] >= plan->grids)
            fail(&c, "grid", "a grid has 1 to 3 dimensions");
    }
    for (uint32_t i = 0; i < plan->kernels.len && !c.wrong; i++) {
        c.number = i;
        check_kernel(&c, plan->kernels.data[i]);
    }
    for (uint32_t i = 0; i < plan->convs.len && !c.wrong; i++) {
        const char *wrong = conv_wrong(&plan->convs.data[i]);
        c.number = i;
        if (wrong) fail(&c, "conv", wrong);
    }
    if (plan->funcs.len == 0 || plan->funcs.data[0]->params.len)
        return "there is no main function, or it has parameters";
    for (uint32_t i = 0; i < plan->funcs.len && !c.wrong; i++) {
        c.number = i;
        check_func(&c, plan->funcs.data[i]);
    }
    return c.wrong;
}
