/* Pointwise ops: shape with broadcasting, the functions on numbers, evaluation. */
#include "compiler/ops/rules.h"

#include <math.h>

/* ---- shape ------------------------------------------------------------------- */

bool shape_scalar(Module *m, FuncId f, Op op, const Node *operands, uint32_t count, uint32_t index,
                  uint32_t detail, Type *out, const char **why) {
    *out = type_scalar();
    return true;
}

/* Scalars and one-channel fields broadcast; grids must agree. */
bool shape_pointwise(Module *m, FuncId f, Op op, const Node *operands, uint32_t count,
                     uint32_t index, uint32_t detail, Type *out, const char **why) {
    Type result = type_scalar();
    for (uint32_t i = 0; i < count; i++) {
        Type t = graph_node(graph_get(m, f), operands[i])->type;
        if (t.kind == TYPE_SCALAR) continue;
        if (t.kind != TYPE_FIELD) {
            *why = arena_format(m->arena, "%s acts on fields and numbers, not on %s",
                                op_info(op)->name, type_text(m, t, m->arena));
            return false;
        }
        if (result.kind == TYPE_SCALAR) {
            result = t;
        } else if (result.grid != t.grid) {
            *why = arena_format(m->arena, "fields live on different grids: %s and %s",
                                type_text(m, type_field(result.grid, 1), m->arena),
                                type_text(m, type_field(t.grid, 1), m->arena));
            return false;
        } else if (result.channels == 1) {
            result.channels = t.channels;
        } else if (t.channels != 1 && t.channels != result.channels) {
            *why =
                arena_format(m->arena, "fields of %u and %u channels", result.channels, t.channels);
            return false;
        }
    }
    *out = result;
    return true;
}

/* ---- on numbers --------------------------------------------------------------- */

static double modulo(double x, double y) { return x - floor(x / y) * y; }

static double smaller(double a, double b) { return isnan(a) || isnan(b) ? NAN : a < b ? a : b; }

static double larger(double a, double b) { return isnan(a) || isnan(b) ? NAN : a > b ? a : b; }

static double sign(double x) { return isnan(x) ? x : (x > 0) - (x < 0); }

/* With exp(-|x|), which is never large, and 0 only where it makes no difference. */
static double sigmoid(double x) {
    double tail = exp(-fabs(x));
    return (x < 0 ? tail : 1) / (1 + tail);
}

static double softplus(double x) { return larger(x, 0) + log1p(exp(-fabs(x))); }

/* SCALAR(id, slot, expression in x[0], x[1], …): a row for each pointwise op. */
#define SCALARS                                                                                    \
    SCALAR(NEG, neg, -x[0])                                                                        \
    SCALAR(ADD, add, x[0] + x[1])                                                                  \
    SCALAR(SUB, sub, x[0] - x[1])                                                                  \
    SCALAR(MUL, mul, x[0] * x[1])                                                                  \
    SCALAR(DIV, div, x[0] / x[1])                                                                  \
    SCALAR(FMA, fma, fma(x[0], x[1], x[2]))                                                        \
    SCALAR(MOD, mod, modulo(x[0], x[1]))                                                           \
    SCALAR(POW, pow, pow(x[0], x[1]))                                                              \
    SCALAR(MIN, min, smaller(x[0], x[1]))                                                          \
    SCALAR(MAX, max, larger(x[0], x[1]))                                                           \
    SCALAR(ATAN2, atan2, atan2(x[0], x[1]))                                                        \
    SCALAR(LT, lt, x[0] < x[1])                                                                    \
    SCALAR(LE, le, x[0] <= x[1])                                                                   \
    SCALAR(EQ, eq, x[0] == x[1])                                                                   \
    SCALAR(NE, ne, x[0] != x[1])                                                                   \
    SCALAR(AND, and, x[0] != 0 && x[1] != 0)                                                       \
    SCALAR(OR, or, x[0] != 0 || x[1] != 0)                                                         \
    SCALAR(NOT, not, x[0] == 0)                                                                    \
    SCALAR(GUARDED, guarded, x[1] == 0 ? 0 : x[0])                                                 \
    SCALAR(DETACH, detach, x[0])                                                                   \
    SCALAR(WHERE, where, x[0] != 0 ? x[1] : x[2])                                                  \
    SCALAR(ABS, abs, fabs(x[0]))                                                                   \
    SCALAR(SIGN, sign, sign(x[0]))                                                                 \
    SCALAR(SQRT, sqrt, sqrt(x[0]))                                                                 \
    SCALAR(EXP, exp, exp(x[0]))                                                                    \
    SCALAR(LOG, log, log(x[0]))                                                                    \
    SCALAR(LOG2, log2, log2(x[0]))                                                                 \
    SCALAR(SIN, sin, sin(x[0]))                                                                    \
    SCALAR(COS, cos, cos(x[0]))                                                                    \
    SCALAR(TAN, tan, tan(x[0]))                                                                    \
    SCALAR(ASIN, asin, asin(x[0]))                                                                 \
    SCALAR(ACOS, acos, acos(x[0]))                                                                 \
    SCALAR(ATAN, atan, atan(x[0]))                                                                 \
    SCALAR(SINH, sinh, sinh(x[0]))                                                                 \
    SCALAR(COSH, cosh, cosh(x[0]))                                                                 \
    SCALAR(TANH, tanh, tanh(x[0]))                                                                 \
    SCALAR(ERF, erf, erf(x[0]))                                                                    \
    SCALAR(ERFC, erfc, erfc(x[0]))                                                                 \
    SCALAR(EXPM1, expm1, expm1(x[0]))                                                              \
    SCALAR(LOG1P, log1p, log1p(x[0]))                                                              \
    SCALAR(SIGMOID, sigmoid, sigmoid(x[0]))                                                        \
    SCALAR(SOFTPLUS, softplus, softplus(x[0]))                                                     \
    SCALAR(FLOOR, floor, floor(x[0]))                                                              \
    SCALAR(CEIL, ceil, ceil(x[0]))                                                                 \
    SCALAR(ROUND, round, rint(x[0]))

/* One loop for all: operand k advances by step[k] values a cell (0: a number). */
static void eval_pointwise(const Array *const *operands, uint32_t count, Array *out,
                           ScalarFunction *function) {
    int64_t cells = out->size / out->type.channels;
    for (uint32_t c = 0; c < out->type.channels; c++) {
        const double *from[3] = {NULL, NULL, NULL};
        int64_t step[3] = {0, 0, 0};
        for (uint32_t k = 0; k < count; k++) {
            bool field = operands[k]->type.kind == TYPE_FIELD;
            from[k] = operands[k]->data + (field && operands[k]->type.channels > 1 ? c * cells : 0);
            step[k] = field;
        }
        double *to = out->data + c * cells;
        for (int64_t i = 0; i < cells; i++) {
            double x[3];
            for (uint32_t k = 0; k < count; k++) x[k] = from[k][i * step[k]];
            to[i] = function(x);
        }
    }
}

#define SCALAR(id, slot, expression)                                                               \
    static double scalar_##slot(const double *x) { return expression; }                            \
    void eval_##slot(Evaluator *e, FuncId f, Node n, const Array *const *operands, Array *out) {   \
        eval_pointwise(operands, (uint32_t)op_info(OP_##id)->operands, out, scalar_##slot);        \
    }
SCALARS
#undef SCALAR

ScalarFunction *op_scalar(Op op) {
    static ScalarFunction *const table[OP_COUNT] = {
#define SCALAR(id, slot, expression) [OP_##id] = scalar_##slot,
        SCALARS
#undef SCALAR
    };
    return table[op];
}
