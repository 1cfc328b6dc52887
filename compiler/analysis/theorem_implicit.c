/* Implicit steps: the state y that solves r(y, u) = c y + A(y, u) - b(u) = 0.
 *
 * (A(y, u), y) >= 0 for all y and u makes c ‖y‖² <= (b(u), y) <= ‖b(u)‖ ‖y‖; where b(u) = c u - A(u) with a linear A,
 * as in the scheme of Crank and Nicolson, y - u = -A(y + u)/c and so ‖y‖² - ‖u‖² = -(A(y + u), y + u)/c <= 0. */
#include "compiler/analysis/operator.h"
#include "compiler/analysis/scheme.h"

#include <math.h>
#include <string.h>

static const char *const unchecked =
    "a solver that stops where its residual is small, and fails where it is not: after a given number of iterations the "
    "equation may not hold";

/* The node that is a solution, and its residual; false where the next state is none, or the solver promises nothing. */
static bool find_solution(Scheme *s, Node *solution, Node *residual, const char **missing) {
    const Func *f = graph_get(s->module, s->body);
    Node next = scheme_next(s, 0);
    if (graph_node(f, next)->op != OP_IMPLICIT) return false;
    *solution = graph_operand(f, next, 0);
    *residual = graph_operand(f, next, 1);
    const NodeData *y = graph_node(f, *solution);
    Node checked = y->op == OP_DETACH ? graph_operand(f, *solution, 0) : *solution;
    y = graph_node(f, checked);
    if (y->op == OP_CHECKED && y->detail == 1) return true;
    *missing = unchecked;
    return false;
}

/* r(y, u) taken apart: b of u alone, the rest of y. Negated: -r = b(u) - c y - A. */
typedef struct {
    Step step;
    Atoms of_u, of_y;
} Parts;

static bool take_apart(Scheme *s, const Step *step, Parts *parts, const char **missing) {
    Module *m = s->module;
    Func *f = graph_get(m, step->func);
    uint8_t *masks = field_masks(m, step->func, f->params.data, 2); /* u, y */
    Atoms atoms = {0};
    bool ok = atoms_of(m, step->func, f->results.data[0], masks, f->nodes.len, &atoms);
    for (uint32_t i = 0; i < atoms.len && ok; i++) {
        Atom a = atoms.data[i];
        a.coefficient = graph_unary(m, step->func, OP_NEG, a.coefficient, SPAN_NONE);
        if (masks[a.node] & 2)
            vec_push(&parts->of_y, a);
        else if (masks[a.node])
            vec_push(&parts->of_u, a);
        else {
            *missing =
                "an equation without sources: a term or a boundary value that does not depend on u is added to it";
            ok = false;
        }
    }
    vec_free(&atoms);
    mem_free(masks);
    return ok;
}

/* Is r(-u, u) + 2 c u = 0 for all u, r linear? Then b(u) = c u - A(u). */
static bool is_trapezoidal(Scheme *s, const Step *step, double c, bool *differences) {
    Module *m = s->module;
    FuncId func = graph_func(m, 0);
    Map map = {0};
    const Func *f = graph_get(m, step->func);
    uint32_t params = f->params.len;
    Node u = graph_param(m, func, graph_node(f, f->params.data[0])->type, 0);
    map_set(&map, f->params.data[0], u);
    map_set(&map, f->params.data[1], graph_unary(m, func, OP_NEG, u, SPAN_NONE));
    for (uint32_t p = 2; p < params; p++) {
        Node old = graph_get(m, step->func)->params.data[p];
        map_set(&map, old,
                graph_param(m, func, graph_node(graph_get(m, step->func), old)->type, 0));
    }
    Node r = graph_copy(m, step->func, graph_get(m, step->func)->results.data[0], func, &map);
    Node twice = graph_binary(m, func, OP_MUL, graph_const(m, func, 2 * c), u, SPAN_NONE);
    Node sum = graph_binary(m, func, OP_ADD, r, twice, SPAN_NONE);
    map_free(&map);
    if (graph_node(graph_get(m, func), sum)->type.kind != TYPE_FIELD) return false;
    vec_push(&graph_get(m, func)->results, sum);
    Linearity l = analyse_linearity(m, func, 0, NULL);
    *differences = *differences || (l != LINEARITY_LINEAR && l != LINEARITY_CONSTANT);
    NormBound bound = norm_bound(m, func, s->arena);
    return bound.proved && bound.bound <= ROUNDING * c;
}

typedef struct {
    bool proved, linear, differences;
    double c, growth; /* ‖b(u)‖ <= growth ‖u‖; of the trapezoidal rule c */
    const char *missing;
} Solved;

static Solved look_at(Scheme *s, int64_t k, Node solution, Node residual) {
    Solved out = {.linear = true};
    Parts parts = {.step = scheme_step_of(s, k, &residual, 1, solution)};
    if (take_apart(s, &parts.step, &parts, &out.missing)) {
        Growth y = sector_growth(s, &parts.step, &parts.of_y, 1, GROWTH_SIGN);
        Growth b = sector_growth(s, &parts.step, &parts.of_u, 0, GROWTH_NORM);
        out.c = -y.c;
        out.linear = y.linear && b.linear;
        out.differences = y.differences || b.differences;
        out.growth = b.growth;
        bool sign = y.proved && out.c > 0;
        out.proved = sign && b.proved && b.growth <= out.c * (1 + ROUNDING);
        if (!out.proved && sign && y.linear &&
            is_trapezoidal(s, &parts.step, out.c, &out.differences)) {
            out.proved = out.linear = true;
            out.growth = out.c;
        }
        out.missing = !y.proved      ? y.missing
                      : !(out.c > 0) ? "a positive factor of u[k+1] in the equation"
                      : !b.proved
                          ? b.missing
                          : "a right side that is no larger than the state: ‖b(u)‖ <= c ‖u‖";
        if (out.proved && out.differences && !out.linear) {
            out.proved = false;
            out.missing =
                "an equation without sources: a nonlinear one has no proof for differences of solutions";
        }
    }
    vec_free(&parts.of_u);
    vec_free(&parts.of_y);
    return out;
}

bool theorem_implicit(Scheme *scheme, Certificate *out) {
    Node solution, residual;
    int64_t first = ANY_STEP, count = 1;
    if (scheme->fields != 1 || !find_solution(scheme, &solution, &residual, &out->missing))
        return false;
    Solved worst = look_at(scheme, ANY_STEP, solution, residual);
    if (!worst.proved && scheme->moving) {
        if (!scheme_steps(scheme, &first, &count)) {
            out->missing = worst.missing;
            return false;
        }
        bool linear = true, differences = false;
        for (int64_t k = first; k < first + count; k++) {
            Solved one = look_at(scheme, k, solution, residual);
            linear = linear && one.linear;
            differences = differences || one.differences;
            if (k == first || !one.proved || one.growth / one.c > worst.growth / worst.c) {
                worst = one;
                out->worst = k;
            }
            if (!one.proved) break;
        }
        worst.linear = worst.linear && linear;
        worst.differences = differences;
        worst.proved = worst.proved && (linear || !differences);
        out->layers = count;
    }
    if (!worst.proved) {
        out->missing = worst.missing;
        out->close = true;
        return false;
    }
    out->verdict = VERDICT_STABLE;
    out->claim = CLAIM_STEP;
    out->linear = worst.linear;
    out->differences = worst.differences;
    if (scheme->tau > 0) certificate_number(out, "τ", scheme->tau);
    certificate_number(out, "‖u[k+1]‖/‖u[k]‖ at most", worst.growth / worst.c);
    return true;
}
