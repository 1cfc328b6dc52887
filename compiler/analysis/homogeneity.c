/* Degrees of homogeneity: how a function of numbers scales when its parameters are all scaled alike.
 *
 * f is homogeneous of degree d in its parameters when f(c x) = c^d f(x) for every c > 0. It is found as units are
 * checked in physics: parameters have the unit 1, numbers have none, sums want equal units, products add them. What is
 * found is a proof; what is not found may be homogeneous all the same. */
#include "compiler/analysis/analysis.h"
#include "compiler/ops/ops.h"

#include <math.h>

typedef struct {
    bool known; /* homogeneous, of this degree */
    bool zero;  /* the number 0, which is of every degree */
    double degree;
} Degree;

static Degree none(void) { return (Degree){false, false, 0}; }

static Degree of(double degree) { return (Degree){true, false, degree}; }

/* Of a sum, a choice: all alike. */
static Degree alike(const Degree *x, uint32_t count) {
    Degree d = {true, true, 0};
    for (uint32_t i = 0; i < count; i++) {
        if (!x[i].known) return none();
        if (x[i].zero) continue;
        if (!d.zero && d.degree != x[i].degree) return none();
        d = x[i];
    }
    return d;
}

static Degree pointwise_degree(const Func *f, Node n, const Degree *x, uint32_t count) {
    double exponent;
    for (uint32_t i = 0; i < count; i++)
        if (!x[i].known) return none();
    switch (graph_node(f, n)->op) {
    case OP_NEG:
    case OP_ABS: return x[0];
    case OP_ADD:
    case OP_SUB:
    case OP_MIN:
    case OP_MAX: return alike(x, 2);
    case OP_MUL:
        return x[0].zero || x[1].zero ? (Degree){true, true, 0} : of(x[0].degree + x[1].degree);
    case OP_FMA: {
        bool zero = x[0].zero || x[1].zero;
        Degree sum[2] = {{true, zero, zero ? 0 : x[0].degree + x[1].degree}, x[2]};
        return alike(sum, 2);
    }
    case OP_DIV: return x[0].zero ? x[0] : of(x[0].degree - x[1].degree);
    case OP_SQRT: return of(0.5 * x[0].degree);
    case OP_POW:
        if (!graph_is_const(f, graph_operand(f, n, 1), &exponent)) break;
        return of(exponent * x[0].degree);
    case OP_LT:
    case OP_LE:
    case OP_EQ:
    case OP_NE:
    case OP_ATAN2: return alike(x, 2).known ? of(0) : none();
    case OP_GUARDED:
    case OP_DETACH: return x[0];
    case OP_SIGN: return of(0);
    case OP_WHERE: return x[0].zero || x[0].degree == 0 ? alike(x + 1, 2) : none();
    default: break;
    }
    /* of numbers without unit anything is a number without unit */
    for (uint32_t i = 0; i < count; i++)
        if (!x[i].zero && x[i].degree != 0) return none();
    return of(0);
}

bool homogeneity_degree(const Module *module, FuncId func, double *degree) {
    const Func *f = graph_get(module, func);
    Degree *all = mem_alloc(sizeof *all * f->nodes.len);
    Degree x[3];
    double number;
    for (Node n = 1; n < f->nodes.len; n++) {
        const NodeData *d = graph_node(f, n);
        all[n] = none();
        for (uint32_t i = 0; i < d->count && i < 3; i++) x[i] = all[graph_operand(f, n, i)];
        if (d->op == OP_PARAM)
            all[n] = of(1);
        else if (graph_is_const(f, n, &number))
            all[n] = (Degree){true, number == 0, 0};
        else if (op_info(d->op)->class == CLASS_POINTWISE)
            all[n] = pointwise_degree(f, n, x, d->count);
    }
    Degree result = all[f->results.data[0]];
    mem_free(all);
    *degree = result.degree;
    return result.known && !result.zero;
}
