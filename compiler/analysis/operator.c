/* Which nodes are simple, calls put in place, linear parts. */
#include "compiler/analysis/operator.h"
#include "compiler/analysis/transpose.h"
#include "compiler/ops/rules.h"

#include <string.h>

/* ---- scan --------------------------------------------------------------------------- */

static bool is_coefficient(const Simple *s) {
    return s->kind == SIMPLE_COEFFICIENT || s->kind == OTHER_COEFFICIENT;
}

static void widen(Simple *s, const Simple *x) {
    for (int a = 0; a < MAX_RANK; a++) {
        s->low[a] = x->low[a] > s->low[a] ? x->low[a] : s->low[a];
        s->high[a] = x->high[a] > s->high[a] ? x->high[a] : s->high[a];
    }
}

/* Sum of parts: linear where each part is linear or zero. */
static Simple scan_sum(const Simple *const *x, uint32_t count) {
    Simple s = {.kind = SIMPLE_LINEAR};
    for (uint32_t i = 0; i < count; i++) {
        if (x[i]->kind == SIMPLE_LINEAR)
            widen(&s, x[i]);
        else if (!x[i]->zero)
            s.kind = NOT_SIMPLE;
    }
    return s;
}

static Simple scan_stencil(const Stencil *t, const Simple *const *x, uint32_t count) {
    Simple s = scan_sum(x, count);
    int32_t low[MAX_RANK] = {0}, high[MAX_RANK] = {0};
    for (uint32_t i = 0; i < t->count; i++)
        for (uint32_t a = 0; a < t->rank; a++) {
            int32_t o = t->transposed ? -t->taps[i].offset[a] : t->taps[i].offset[a];
            low[a] = -o > low[a] ? -o : low[a];
            high[a] = o > high[a] ? o : high[a];
        }
    for (uint32_t a = 0; a < t->rank; a++) {
        /* beyond a side that is not periodic, the cell at -1 - j is the one at j: a distance of
         * at most one less, in the other direction */
        bool folds = t->sides[a][0] != SIDE_PERIODIC;
        s.low[a] += folds && high[a] - 1 > low[a] ? high[a] - 1 : low[a];
        s.high[a] += folds && low[a] - 1 > high[a] ? low[a] - 1 : high[a];
    }
    return s;
}

static bool makes_coefficient(Op op, bool places) {
    return op == OP_CONST || op == OP_EDGE || (places && (op == OP_COORD || op == OP_CELLS));
}

static Simple scan_node(Module *module, const NodeData *d, const Simple *const *x, bool places) {
    Simple s = {.kind = NOT_SIMPLE};
    bool coefficient = true, simple = makes_coefficient(d->op, places);
    for (uint32_t i = 0; i < d->count; i++) {
        coefficient = coefficient && is_coefficient(x[i]);
        simple = (i == 0 || simple) && x[i]->kind == SIMPLE_COEFFICIENT;
    }
    if (coefficient) {
        OpClass class = op_info(d->op)->class;
        bool keeps = makes_coefficient(d->op, places) ||
                     (d->count > 0 && simple &&
                      (class == CLASS_POINTWISE || d->op == OP_SPREAD || d->op == OP_CHANNEL ||
                       d->op == OP_CONCAT || d->op == OP_CHSUM ||
                       (places && (class == CLASS_LINEAR || class == CLASS_REDUCE))));
        s.kind = keeps ? SIMPLE_COEFFICIENT : OTHER_COEFFICIENT;
        s.zero = (d->op == OP_CONST && d->number == 0) ||
                 ((d->op == OP_SPREAD || d->op == OP_NEG || d->op == OP_CHANNEL) && x[0]->zero);
        if (d->op == OP_CONCAT) {
            s.zero = true;
            for (uint32_t i = 0; i < d->count; i++) s.zero = s.zero && x[i]->zero;
        }
        return s;
    }
    switch (d->op) {
    case OP_NEG:
    case OP_CHANNEL:
    case OP_CHSUM: return *x[0];
    case OP_ADD:
    case OP_SUB:
    case OP_CONCAT: return scan_sum(x, d->count);
    case OP_MUL:
        for (int i = 0; i < 2; i++)
            if (x[i]->kind == SIMPLE_LINEAR && x[1 - i]->kind == SIMPLE_COEFFICIENT) return *x[i];
        return s;
    case OP_DIV: return x[0]->kind == SIMPLE_LINEAR && x[1]->kind == SIMPLE_COEFFICIENT ? *x[0] : s;
    case OP_WHERE: return x[0]->kind == SIMPLE_COEFFICIENT ? scan_sum(x + 1, 2) : s;
    case OP_STENCIL: return scan_stencil(&module->stencils.data[d->index], x, d->count);
    default: return s;
    }
}

Simple *operator_scan(Module *module, FuncId func, const bool *variable, bool places) {
    const Func *f = graph_get(module, func);
    Simple *all = mem_alloc(sizeof *all * f->nodes.len);
    memset(all, 0, sizeof *all * f->nodes.len);
    VEC(const Simple *) x = {0};
    for (Node n = 1; n < f->nodes.len; n++) {
        const NodeData *d = graph_node(f, n);
        x.len = 0;
        for (uint32_t k = 0; k < d->count; k++) vec_push(&x, &all[graph_operand(f, n, k)]);
        if (d->op == OP_PARAM)
            all[n].kind = variable[d->index] && d->type.kind == TYPE_FIELD ? SIMPLE_LINEAR
                          : variable[d->index]                             ? NOT_SIMPLE
                                                                           : OTHER_COEFFICIENT;
        else
            all[n] = scan_node(module, d, x.data, places);
    }
    vec_free(&x);
    return all;
}

ModuleMark operator_mark(const Module *module) {
    return (ModuleMark){module->funcs.len, module->loops.len};
}

void operator_release(Module *module, ModuleMark mark) {
    while (module->funcs.len > mark.funcs) func_drop(module, module->funcs.len - 1);
    module->loops.len = mark.loops;
}

/* ---- calls put in place ----------------------------------------------------------------- */

enum { MOST_INLINED = 20000 };

/* Copies `node` of `from` and all that it needs into `to`; known[] by node of `from`. */
static bool inline_into(Module *module, FuncId from, const Node *args, FuncId to, Node *results) {
    const Func *f = graph_get(module, from);
    uint32_t count = f->nodes.len;
    Node *known = mem_alloc(sizeof *known * count);
    Node **tuples = mem_alloc(sizeof *tuples * count);
    memset(known, 0, sizeof *known * count);
    memset(tuples, 0, sizeof *tuples * count);
    VEC(Node) operands = {0};
    bool ok = true;
    for (Node n = 1; n < count && ok; n++) {
        NodeData d = *graph_node(f, n);
        operands.len = 0;
        for (uint32_t k = 0; k < d.count; k++) vec_push(&operands, known[graph_operand(f, n, k)]);
        Node tuple = d.op == OP_RESULT ? graph_operand(f, n, 0) : NODE_NONE;
        if (d.op == OP_PARAM) {
            known[n] = args[d.index];
        } else if (d.op == OP_CONST) {
            known[n] = graph_const(module, to, d.number);
        } else if (d.op == OP_FMA) { /* as it was before contraction */
            Node product =
                graph_binary(module, to, OP_MUL, operands.data[0], operands.data[1], d.span);
            known[n] = graph_binary(module, to, OP_ADD, product, operands.data[2], d.span);
        } else if (d.op == OP_CALL) {
            tuples[n] = mem_alloc(sizeof(Node) * (graph_get(module, d.index)->results.len + 1));
            ok = inline_into(module, d.index, operands.data, to, tuples[n]);
        } else if (tuple != NODE_NONE && tuples[tuple]) {
            known[n] = tuples[tuple][d.index];
        } else {
            known[n] = op_info(d.op)->shape == shape_given
                           ? graph_add_typed(module, to, d.op, d.type, operands.data, d.count,
                                             d.index, d.detail, d.span)
                           : graph_add(module, to, d.op, operands.data, d.count, d.index, d.detail,
                                       d.span);
        }
        ok = ok && graph_get(module, to)->nodes.len < MOST_INLINED;
    }
    for (uint32_t i = 0; i < f->results.len && ok; i++) results[i] = known[f->results.data[i]];
    for (Node n = 1; n < count; n++) mem_free(tuples[n]);
    vec_free(&operands);
    mem_free(known);
    mem_free(tuples);
    return ok;
}

FuncId operator_inline(Module *module, FuncId func) {
    const Func *f = graph_get(module, func);
    FuncId to = graph_func(module, f->name);
    Node *args = mem_alloc(sizeof *args * (f->params.len + 1)),
         *results = mem_alloc(sizeof *results * (f->results.len + 1));
    for (uint32_t p = 0; p < f->params.len; p++)
        args[p] = graph_param(module, to, graph_node(f, f->params.data[p])->type, 0);
    bool ok = inline_into(module, func, args, to, results);
    for (uint32_t i = 0; i < f->results.len && ok; i++)
        vec_push(&graph_get(module, to)->results, results[i]);
    mem_free(args);
    mem_free(results);
    if (ok) return to;
    func_drop(module, to);
    return 0;
}

FuncId operator_homogeneous(Module *module, FuncId func) {
    Linearity linearity = analyse_linearity(module, func, 0, NULL);
    if (linearity == LINEARITY_NONLINEAR || linearity == LINEARITY_CONSTANT) return 0;
    FuncId jvp = jvp_func(module, func, NULL); /* of (u, v, captured…); does not depend on u */
    if (jvp == 0) return 0;
    const Func *old = graph_get(module, jvp);
    FuncId made = graph_func(module, old->name);
    Map known = {0};
    /* whatever still names u gets v: for what is linear in u that is the same */
    Node v = graph_param(module, made, graph_node(old, old->params.data[1])->type, 0);
    map_set(&known, old->params.data[0], v);
    map_set(&known, old->params.data[1], v);
    for (uint32_t p = 2; p < old->params.len; p++)
        map_set(&known, old->params.data[p],
                graph_param(module, made, graph_node(old, old->params.data[p])->type, 0));
    Node result = graph_copy(module, jvp, old->results.data[0], made, &known);
    vec_push(&graph_get(module, made)->results, result);
    map_free(&known);
    return made;
}
