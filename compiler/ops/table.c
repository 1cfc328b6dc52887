/* The table of ops. */
#include "compiler/ops/rules.h"

#include <string.h>

#define CLASS(x) CLASS_##x
const OpInfo op_table[OP_COUNT] = {
    [OP_NONE] = {"NONE", "none", 0, CLASS_SOURCE, shape_given, fold_none, eval_none, deriv_none,
                 "special", 0},
#define OP(id, name, operands, class, shape, fold, eval, derivative, lower, cost)                  \
    [OP_##id] = {#id, name, operands, CLASS(class), shape, fold, eval, derivative, lower, cost},
#include "compiler/ops/ops.def"
#undef OP
};

Op op_by_name(const char *name, size_t length) {
    for (Op op = 1; op < OP_COUNT; op++)
        if (strlen(op_table[op].name) == length && memcmp(op_table[op].name, name, length) == 0)
            return op;
    return OP_NONE;
}

bool op_shape(Module *m, FuncId f, Op op, const Node *operands, uint32_t count, uint32_t index,
              uint32_t detail, Type *out, const char **why) {
    const OpInfo *info = op_info(op);
    const char *ignored;
    if (info->operands >= 0 && count != (uint32_t)info->operands) {
        *(why ? why : &ignored) = arena_format(m->arena, "%s takes %d operands, not %u", info->name,
                                               info->operands, count);
        return false;
    }
    return info->shape(m, f, op, operands, count, index, detail, out, why ? why : &ignored);
}

Node fold_none(Module *m, FuncId f, Op op, const Node *operands, uint32_t count, uint32_t index,
               uint32_t detail, Span span) {
    return NODE_NONE;
}

Node deriv_none(Module *m, FuncId f, Node n, uint32_t i, Node w) { return NODE_NONE; }

Node deriv_zero(Module *m, FuncId f, Node n, uint32_t i, Node w) { return graph_const(m, f, 0); }

void eval_none(Evaluator *e, FuncId f, Node n, const Array *const *operands, Array *out) {}
