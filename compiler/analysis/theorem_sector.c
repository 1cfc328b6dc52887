/* u - Σ c Kᵀ Φ(K u): the sector condition, for stencils (stable.c) and for convolutions with weights. */
#include "compiler/analysis/interval.h"
#include "compiler/analysis/operator.h"
#include "compiler/analysis/scheme.h"
#include "compiler/analysis/sector.h"
#include "compiler/ops/ops.h"

#include <math.h>
#include <string.h>

/* ---- one convolution: c Kᵀ Φ(K u) ------------------------------------------------------ */

/* The node CONV(u, w) that CONVT(φ, w) belongs to. */
static Node forward_conv(const Func *f, Node transposed, Node u) {
    const NodeData *t = graph_node(f, transposed);
    for (Node n = 1; n < transposed; n++) {
        const NodeData *d = graph_node(f, n);
        if (d->op == OP_CONV && d->index == t->index && graph_operand(f, n, 0) == u &&
            graph_operand(f, n, 1) == graph_operand(f, transposed, 1))
            return n;
    }
    return NODE_NONE;
}

/* The sector of one summand of Φ(s): its result as a function of s, parameter 0. */
static bool summand_sector(Module *module, FuncId func, Node summand, Interval *sector,
                           const char **missing) {
    Func *f = graph_get(module, func);
    uint32_t params = f->params.len;
    f->results.len = 0;
    vec_push(&f->results, summand);
    bool *variable = mem_alloc(params + 1);
    for (uint32_t p = 0; p < params; p++) variable[p] = p == 0;
    Simple *simple = operator_scan(module, func, variable, false);
    FluxForm form = sector_find(module, func, simple);
    bool ok = !form.missing && form.fluxes.len == 1 && !form.has_source &&
              form.fluxes.data[0].flux == summand &&
              form.fluxes.data[0].argument == graph_get(module, func)->params.data[0];
    if (ok) *sector = form.fluxes.data[0].sector;
    if (!ok)
        *missing =
            form.missing
                ? form.missing
                : "the form -Kᵀ Φ(K u): what stands between the convolution and its adjoint is "
                  "not a flux Φ(s) = m s of what the convolution gives";
    sector_free(&form);
    mem_free(simple);
    mem_free(variable);
    return ok;
}

/* 0 <= Φ(s)/s <= L of φ as a function of node s and of nothing else that depends on u. */
static bool flux_sector(Scheme *scheme, const Step *step, Node phi, Node s, Node u,
                        Interval *sector, const char **missing) {
    Module *m = scheme->module;
    FuncId func = graph_func(m, 0);
    Map map = {0};
    const Func *f = graph_get(m, step->func);
    map_set(&map, s, graph_param(m, func, graph_node(f, s)->type, 0));
    Node other = NODE_NONE;
    for (uint32_t i = 0; i < f->params.len; i++) {
        Node p = f->params.data[i], made = graph_param(m, func, graph_node(f, p)->type, 0);
        if (p == u) other = made;
        map_set(&map, p, made);
    }
    Node result = graph_copy(m, step->func, phi, func, &map);
    map_free(&map);
    uint8_t *from_s = field_masks(m, func, graph_get(m, func)->params.data, 1);
    uint32_t count = graph_get(m, func)->nodes.len;
    Atoms atoms = {0};
    bool ok = atoms_of(m, func, result, from_s, count, &atoms);
    *sector = interval(0, 0);
    for (uint32_t i = 0; i < atoms.len && ok; i++) {
        double c;
        Interval part = interval(1, 1);
        const Func *g = graph_get(m, func);
        ok = graph_is_const(g, atoms.data[i].coefficient, &c) && from_s[atoms.data[i].node];
        if (!ok) *missing = "a flux with Φ(0) = 0, whose factors are known";
        if (ok && atoms.data[i].node != g->params.data[0])
            ok = summand_sector(m, func, atoms.data[i].node, &part, missing);
        if (ok)
            *sector = interval_op(OP_ADD, (Interval[]){*sector, interval_mul(part, interval(c, c))},
                                  false);
    }
    for (Node n = 1; n < count && ok; n++) /* Φ must not look at u beside K u */
        for (uint32_t k = 0; k < graph_node(graph_get(m, func), n)->count; k++)
            ok = ok && graph_operand(graph_get(m, func), n, k) != other;
    if (!ok && !*missing) *missing = "a flux that is a function of K u alone";
    vec_free(&atoms);
    mem_free(from_s);
    return ok;
}

/* A bound of ‖K‖ for the weights of parameter w; HUGE_VAL: none is known. */
static double conv_bound(const Scheme *scheme, const Step *step, Node w, ConvId id) {
    const NodeData *d = graph_node(graph_get(scheme->module, step->func), w);
    if (d->op != OP_PARAM) return HUGE_VAL;
    const Fact *fact = &step->fact[d->index];
    if (fact->known) {
        PdnConvShape shape = conv_shape(&scheme->module->convs.data[id]);
        double norm = pdn_conv_norm(&shape, PDN_F64, fact->value.data, NULL);
        return isfinite(norm) ? norm : HUGE_VAL;
    }
    for (uint32_t i = 0; i < fact->conv_count; i++)
        if (fact->convs[i] == id) return fact->norm;
    return HUGE_VAL;
}

/* c = a / d with d >= b ‖K‖²: so c ‖K‖² <= a / b. Such is 2 / (L max(norm(K)², tiny)), whatever the weights. */
static bool over_norm_square(const Func *f, Node c, Node w, ConvId id, double *bound) {
    double sign = 1, factor = 1, number;
    for (;;) {
        const NodeData *d = graph_node(f, c);
        Node a = d->count > 0 ? graph_operand(f, c, 0) : 0,
             b = d->count > 1 ? graph_operand(f, c, 1) : 0;
        if (d->op == OP_NEG) {
            sign = -sign;
            c = a;
        } else if (d->op == OP_MUL && graph_is_const(f, a, &number)) {
            factor *= number;
            c = b;
        } else if (d->op == OP_MUL && graph_is_const(f, b, &number)) {
            factor *= number;
            c = a;
        } else if (d->op == OP_DIV && graph_is_const(f, b, &number)) {
            factor /= number;
            c = a;
        } else if (d->op == OP_DIV && graph_is_const(f, a, &number)) {
            factor *= number;
            c = b;
            break;
        } else
            return false;
    }
    for (;;) {
        const NodeData *d = graph_node(f, c);
        Node a = d->count > 0 ? graph_operand(f, c, 0) : 0,
             b = d->count > 1 ? graph_operand(f, c, 1) : 0;
        if (d->op == OP_MAX && graph_is_const(f, a, &number) && number > 0)
            c = b;
        else if (d->op == OP_MAX && graph_is_const(f, b, &number) && number > 0)
            c = a;
        else if (d->op == OP_MUL && graph_is_const(f, a, &number) && number > 0) {
            factor /= number;
            c = b;
        } else if (d->op == OP_MUL && graph_is_const(f, b, &number) && number > 0) {
            factor /= number;
            c = a;
        } else if (d->op == OP_ADD) {
            return false;
        } else
            break;
    }
    const NodeData *d = graph_node(f, c);
    Node n = NODE_NONE;
    if (d->op == OP_MUL && graph_operand(f, c, 0) == graph_operand(f, c, 1))
        n = graph_operand(f, c, 0);
    if (d->op == OP_POW && graph_is_const(f, graph_operand(f, c, 1), &number) && number == 2)
        n = graph_operand(f, c, 0);
    if (!n || graph_node(f, n)->op != OP_CONVNORM || graph_node(f, n)->index != id ||
        graph_operand(f, n, 0) != w)
        return false;
    *bound = sign * factor;
    return true;
}

static const char *const not_adjoint =
    "the symmetry of -Kᵀ Φ(K u): the convolution on the way back is not the adjoint of one of u, with the same weights and "
    "boundary";
static const char *const against =
    "the sector condition 0 <= Φ(s)/s: the flux may point against the difference, which makes patterns grow";

typedef struct {
    Scheme *scheme;
    const Step *step;
    Node u;
    Growth *out;
    GrowthKind kind;
} Adding;

static bool miss(Growth *g, const char *why) {
    if (!g->missing) g->missing = why;
    return false;
}

static void part_of_norm(Growth *g, double part, double L, double norm2) {
    if (part > g->L * g->norm2 || g->L == 0) {
        g->L = L;
        g->norm2 = norm2;
    }
    g->N += part;
}

static bool add_conv(Adding *a, const Atom *atom) {
    Module *m = a->scheme->module;
    const Func *f = graph_get(m, a->step->func);
    const NodeData d = *graph_node(f, atom->node);
    Node w = graph_operand(f, atom->node, 1), phi = graph_operand(f, atom->node, 0);
    Node s = forward_conv(f, atom->node, a->u);
    Interval sector;
    const char *missing = NULL;
    if (!s)
        return miss(
            a->out,
            "the symmetry of -Kᵀ Φ(K u): the convolution on the way back is not the adjoint of one of u, with "
            "the same weights and boundary");
    if (!flux_sector(a->scheme, a->step, phi, s, a->u, &sector, &missing))
        return miss(a->out, missing);
    double c, product;
    if (a->kind == GROWTH_SIGN) {
        sector = interval_mul(sector, range_of(m, a->step->func, atom->coefficient));
        return sector.high <= 0 || miss(a->out, "the sign of Φ(s) s >= 0, and of the step size");
    }
    f = graph_get(m, a->step->func);
    if (graph_is_const(f, atom->coefficient, &c)) {
        sector = interval_mul(sector, interval(-c, -c));
        if (sector.low < 0)
            return miss(
                a->out,
                "the sector condition 0 <= Φ(s)/s: the flux may point against the difference, which makes patterns grow");
        if (isinf(sector.high))
            return miss(a->out, "a bound L with Φ(s)/s <= L: the flux grows without one");
        double norm = conv_bound(a->scheme, a->step, w, d.index);
        if (isinf(norm))
            return miss(
                a->out,
                "a bound of ‖K‖: the weights are not known here and no constraint bounds them; subject to "
                "norm(K) <= 1, or a step 2 / (L norm(K)^2), gives one");
        part_of_norm(a->out, sector.high * norm * norm, sector.high, norm * norm);
        return true;
    }
    if (!over_norm_square(f, atom->coefficient, w, d.index, &product))
        return miss(
            a->out,
            "a step size that is known, or 2 / (L norm(K)^2) of the same K: this one is known only when the program runs");
    sector = interval_mul(sector, interval(-product, -product));
    if (sector.low < 0 || isinf(sector.high))
        return miss(a->out, "the sector condition 0 <= Φ(s)/s <= L");
    part_of_norm(a->out, sector.high, sector.high, 1);
    return true;
}

/* ---- all summands --------------------------------------------------------------------------- */

/* Σ coefficient · node of the atoms that are neither u nor a convolution's, as a function of the step's parameters with
 * parameter `field` first; 0 where there are none. */
static FuncId rest_func(Scheme *scheme, const Step *step, const Atoms *atoms, uint32_t field) {
    Module *m = scheme->module;
    FuncId func = graph_func(m, 0);
    Map map = {0};
    const Func *f = graph_get(m, step->func);
    uint32_t params = f->params.len;
    Node u = f->params.data[field], sum = NODE_NONE;
    map_set(&map, u, graph_param(m, func, graph_node(f, u)->type, 0));
    for (uint32_t i = 0; i < params; i++)
        if (i != field)
            map_set(&map, f->params.data[i],
                    graph_param(m, func, graph_node(f, f->params.data[i])->type, 0));
    for (uint32_t i = 0; i < atoms->len; i++) {
        Node n = atoms->data[i].node;
        if (n == u || graph_node(graph_get(m, step->func), n)->op == OP_CONVT) continue;
        Node node = graph_copy(m, step->func, n, func, &map);
        Node c = graph_copy(m, step->func, atoms->data[i].coefficient, func, &map);
        Node term = graph_binary(m, func, OP_MUL, c, node, SPAN_NONE);
        sum = sum ? graph_binary(m, func, OP_ADD, sum, term, SPAN_NONE) : term;
    }
    map_free(&map);
    if (!sum) return 0;
    if (graph_node(graph_get(m, func), sum)->type.kind != TYPE_FIELD) return 0;
    vec_push(&graph_get(m, func)->results, sum);
    return func;
}

static bool add_rest(Scheme *scheme, FuncId rest, Growth *g, GrowthKind kind) {
    Linearity l = analyse_linearity(scheme->module, rest, 0, NULL);
    if (l == LINEARITY_CONSTANT)
        return miss(
            g,
            "a form without sources: a term or a boundary value that does not depend on u is added to it");
    if (kind == GROWTH_SIGN) {
        const char *missing = NULL;
        g->linear = g->linear && l != LINEARITY_NONLINEAR;
        g->differences = g->differences || l == LINEARITY_AFFINE;
        return is_dissipative(scheme->module, rest, &missing) || miss(g, missing);
    }
    StepBound bound = stable_step(scheme->module, rest, scheme->arena);
    if (!bound.proved) return miss(g, bound.missing);
    g->linear = g->linear && l != LINEARITY_NONLINEAR;
    g->differences = g->differences || l == LINEARITY_AFFINE;
    g->unstable = bound.unstable;
    double N = isinf(bound.step) ? 0 : 2 / bound.step;
    part_of_norm(g, N, bound.lipschitz, bound.lipschitz > 0 ? N / bound.lipschitz : 0);
    return true;
}

Growth sector_growth(Scheme *scheme, const Step *step, const Atoms *atoms, uint32_t field,
                     GrowthKind kind) {
    Growth g = {.linear = true, .unstable = HUGE_VAL};
    Module *m = scheme->module;
    Node u = graph_get(m, step->func)->params.data[field];
    Adding a = {scheme, step, u, &g, kind};
    bool ok = true, convs = false;
    for (uint32_t i = 0; i < atoms->len && ok; i++) {
        const Atom *atom = &atoms->data[i];
        const Func *f = graph_get(m, step->func);
        if (atom->node == u) {
            ok =
                graph_is_const(f, atom->coefficient, &g.c) ||
                miss(
                    &g,
                    "a step whose factor of u is known: this one is known only when the program runs");
        } else if (graph_node(f, atom->node)->op == OP_CONVT) {
            convs = true;
            g.linear = false;
            ok = add_conv(&a, atom);
        }
    }
    FuncId rest = ok ? rest_func(scheme, step, atoms, field) : 0;
    if (rest) ok = add_rest(scheme, rest, &g, kind);
    if (ok && g.differences && convs)
        ok = miss(
            &g,
            "a form without sources: a term or a boundary value that does not depend on u is added to it");
    g.growth = fmax(fabs(g.c), fabs(g.N - g.c));
    g.proved = ok;
    return g;
}

/* ---- steps whose size is computed from the weights ---------------------------------------------- */

ConvStep conv_step(Module *module, FuncId func, Arena *arena) {
    ConvStep out = {.flat = operator_inline(module, func)};
    if (!out.flat) return out;
    Func *f = graph_get(module, out.flat);
    Fact *facts = ARENA_ARRAY(arena, Fact, f->params.len + 1);
    for (uint32_t i = 0; i < f->params.len; i++) facts[i] = FACT_NOTHING;
    Scheme scheme = {.module = module, .arena = arena, .fields = 1};
    Step step = {out.flat, 1, facts};
    Growth g = {.linear = true};
    uint8_t *masks = field_masks(module, out.flat, f->params.data, 1);
    Atoms atoms = {0};
    Node u = f->params.data[0];
    bool ok = atoms_of(module, out.flat, f->results.data[0], masks, f->nodes.len, &atoms);
    out.parts = ARENA_ARRAY(arena, ConvPart, atoms.len + 1);
    for (uint32_t i = 0; i < atoms.len && ok; i++) {
        f = graph_get(module, out.flat);
        const NodeData d = *graph_node(f, atoms.data[i].node);
        if (d.op != OP_CONVT) {
            ok = atoms.data[i].node != u;
            continue;
        }
        ConvPart *part = &out.parts[out.count++];
        Interval sector;
        double c;
        part->weights = graph_operand(f, atoms.data[i].node, 1);
        part->conv = d.index;
        Node s = forward_conv(f, atoms.data[i].node, u);
        ok = s ? flux_sector(&scheme, &step, graph_operand(f, atoms.data[i].node, 0), s, u, &sector,
                             &out.missing)
               : miss(&g, not_adjoint);
        f = graph_get(module, out.flat);
        ok = ok && (graph_is_const(f, atoms.data[i].coefficient, &c) ||
                    miss(&g, "factors that are known"));
        if (ok) sector = interval_mul(sector, interval(-c, -c));
        ok = ok && (sector.low >= 0 || miss(&g, against));
        ok = ok && (isfinite(sector.high) ||
                    miss(&g, "a bound L with Φ(s)/s <= L: the flux grows without one"));
        if (ok) part->factor = sector.high;
    }
    FuncId rest = ok && out.count ? rest_func(&scheme, &step, &atoms, 0) : 0;
    if (rest) ok = add_rest(&scheme, rest, &g, GROWTH_NORM);
    out.rest = g.N;
    if (!out.missing) out.missing = g.missing;
    if (!out.count) out.missing = NULL;
    if (!ok) out.count = 0;
    vec_free(&atoms);
    mem_free(masks);
    return out;
}

/* ---- the theorems ------------------------------------------------------------------------------ */

/* Where the step size is not a number of the program, it is part of L. */
static void say_numbers(const Scheme *scheme, const Growth *g, Certificate *out) {
    double tau = scheme->tau;
    if (!(g->N > 0)) return;
    if (tau > 0 && g->linear) {
        certificate_number(out, "τ", tau);
        certificate_number(out, "‖F‖", g->N / tau);
    } else if (tau > 0) {
        certificate_number(out, "τ", tau);
        certificate_number(out, "L", g->L);
        certificate_number(out, "‖K‖²", g->norm2 / tau);
    } else
        certificate_number(out, g->linear ? "τ ‖F‖" : "τ L ‖K‖²", g->N);
    if (g->c != 1) certificate_number(out, "c", g->c);
    if (tau > 0 && g->c == 1)
        certificate_number(out, g->linear ? "largest τ, 2/‖F‖" : "largest τ, 2/(L ‖K‖²)",
                           tau * 2 / g->N);
    out->largest = g->c == 1 ? 2 / g->N : 0;
}

static Growth growth_at(Scheme *scheme, int64_t k) {
    Step step = scheme_step(scheme, k);
    Module *m = scheme->module;
    uint8_t *masks = field_masks(m, step.func, graph_get(m, step.func)->params.data, step.fields);
    Atoms atoms = {0};
    Growth g = {.missing = "a step that is a sum of fewer terms"};
    if (atoms_of(m, step.func, graph_get(m, step.func)->results.data[0], masks,
                 graph_get(m, step.func)->nodes.len, &atoms))
        g = sector_growth(scheme, &step, &atoms, 0, GROWTH_NORM);
    vec_free(&atoms);
    mem_free(masks);
    return g;
}

static bool is_stable(const Growth *g) { return g->proved && g->growth <= 1 + ROUNDING; }

static const char *const too_large =
    "a smaller step: it is beyond the largest one with a proof, and nothing shows that patterns grow";

/* Are there weights of each step by itself, which are known? */
static bool has_known_weights(const Scheme *scheme) {
    const Func *f = graph_get(scheme->module, scheme->body);
    for (uint32_t i = 0; i < f->params.len; i++)
        if (graph_node(f, f->params.data[i])->type.kind == TYPE_STACK && scheme->param[i].known)
            return true;
    return false;
}

/* The least certain of all steps. False: they cannot be looked at one by one. */
static bool least_certain(Scheme *scheme, Growth *worst, Certificate *out) {
    int64_t first, count;
    bool weights = has_known_weights(scheme), linear = true, differences = false;
    /* weights that are not known: what holds for all of them; else each step with its own */
    *worst = growth_at(scheme, ANY_STEP);
    if (!scheme->moving || (is_stable(worst) && !weights)) return true;
    if (!scheme_steps(scheme, &first, &count)) {
        if (!worst->missing)
            worst->missing = "a number of steps that is known, each of which is looked at";
        return is_stable(worst);
    }
    for (int64_t k = first; k < first + count; k++) {
        Growth g = growth_at(scheme, k);
        linear = linear && g.linear;
        differences = differences || g.differences;
        bool worse = !is_stable(&g) || g.growth > worst->growth ||
                     (g.growth == worst->growth && g.N > worst->N);
        if (k == first || worse) {
            *worst = g;
            out->worst = k;
        }
        if (!is_stable(&g)) break;
    }
    worst->linear = worst->linear && linear;
    worst->differences = differences;
    out->layers = count;
    if (differences && !linear && is_stable(worst)) {
        worst->missing =
            "steps none of which, or all of which, have a source: a nonlinear one has no proof for differences "
            "of solutions";
        return false;
    }
    return true;
}

static bool check(Scheme *scheme, Certificate *out) {
    Growth worst;
    if (!least_certain(scheme, &worst, out)) {
        out->missing = worst.missing;
        return false;
    }
    if (worst.proved && worst.c == 1 && worst.linear && worst.unstable < 1 && !scheme->moving) {
        out->verdict = VERDICT_UNSTABLE;
        say_numbers(scheme, &worst, out);
        return true;
    }
    if (!is_stable(&worst)) {
        out->missing = worst.missing ? worst.missing : too_large;
        if (!worst.missing) say_numbers(scheme, &worst, out);
        return false;
    }
    out->verdict = VERDICT_STABLE;
    out->claim = CLAIM_STEP;
    out->linear = worst.linear;
    out->differences = worst.differences;
    say_numbers(scheme, &worst, out);
    return true;
}

bool scheme_is_linear(Scheme *scheme) {
    Step step = scheme_step(scheme, ANY_STEP);
    Linearity l = analyse_linearity(scheme->module, step.func, 0, NULL);
    return l == LINEARITY_LINEAR || l == LINEARITY_AFFINE;
}

bool theorem_symmetric(Scheme *scheme, Certificate *out) {
    return scheme->fields == 1 && scheme_is_linear(scheme) && check(scheme, out);
}

bool theorem_sector(Scheme *scheme, Certificate *out) {
    return scheme->fields == 1 && !scheme_is_linear(scheme) && check(scheme, out);
}
