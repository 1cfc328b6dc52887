/* Solutions of equations: checked where they were computed, differentiated by the implicit function theorem. */
#include "compiler/ops/rules.h"

#include <string.h>

static Type type_in(Module *m, FuncId f, Node n) { return graph_node(graph_get(m, f), n)->type; }

bool shape_checked(Module *m, FuncId f, Op op, const Node *operands, uint32_t count, uint32_t index,
                   uint32_t detail, Type *out, const char **why) {
    *out = type_in(m, f, operands[0]);
    if (out->kind != TYPE_SCALAR && out->kind != TYPE_FIELD)
        return control_misfit(m, why, "a solution", type_scalar(), *out);
    for (uint32_t i = 1; i < count; i++)
        if (type_in(m, f, operands[i]).kind != TYPE_SCALAR)
            return control_misfit(m, why, "what a solution is checked by", type_scalar(),
                                  type_in(m, f, operands[i]));
    return true;
}

void eval_checked(Evaluator *e, FuncId f, Node n, const Array *const *operands, Array *out) {
    const NodeData *d = graph_node(graph_get(e->module, f), n);
    memcpy(out->data, operands[0]->data, sizeof(double) * (size_t)out->size);
    double residual = operands[1]->data[0], tolerance = operands[2]->data[0];
    if (!(residual <= tolerance) && e->options->unconverged)
        e->status = e->options->unconverged(e->options->context, d->index, residual, tolerance,
                                            operands[3]->data[0]);
}

/* The check changes no value. */
Node deriv_checked(Module *m, FuncId f, Node n, uint32_t i, Node w) {
    return i == 0 ? w : graph_const(m, f, 0);
}

bool implicit_fits(Module *m, const Implicit *s, Type y, const char **why) {
    *why = "the functions of a solution's derivatives do not fit it";
    const struct {
        FuncId func;
        uint32_t captured;
    } parts[2] = {{s->adjoint, s->adjoint_captured}, {s->tangent, s->tangent_captured}};
    for (int i = 0; i < 2; i++) {
        /* there is no such derivative */
        if (parts[i].func == 0 && parts[i].captured == 0) continue;
        if (parts[i].func == 0 || parts[i].func >= m->funcs.len) return false;
        const Func *f = graph_get(m, parts[i].func);
        if (f->params.len != 2 + parts[i].captured || f->results.len != 1) return false;
        if (!type_equal(graph_node(f, f->params.data[0])->type, y) ||
            !type_equal(graph_node(f, f->params.data[1])->type, y) ||
            !type_equal(graph_node(f, f->results.data[0])->type, y))
            return false;
    }
    return true;
}

bool shape_implicit(Module *m, FuncId f, Op op, const Node *operands, uint32_t count,
                    uint32_t index, uint32_t detail, Type *out, const char **why) {
    *why = "no such solution";
    if (count < 2 || index == 0 || index >= m->implicits.len) return false;
    *out = type_in(m, f, operands[0]);
    if (!type_equal(*out, type_in(m, f, operands[1])))
        return control_misfit(m, why, "what an equation leaves", *out, type_in(m, f, operands[1]));
    const Implicit *s = &m->implicits.data[index];
    *why = "a solution with too few or too many values of its surroundings";
    if (count != 2 + s->adjoint_captured + s->tangent_captured) return false;
    return implicit_fits(m, s, *out, why);
}

void eval_implicit(Evaluator *e, FuncId f, Node n, const Array *const *operands, Array *out) {
    memcpy(out->data, operands[0]->data, sizeof(double) * (size_t)out->size);
}
