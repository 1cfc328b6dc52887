/* Steps of several stages as convex combinations of explicit steps (Shu and Osher): x_j + t F(x_j) with t so small that
 * each of them has a proof by the sector condition. */
#include "compiler/analysis/scheme.h"

#include <math.h>
#include <string.h>

enum { MOST_STAGES = 12 };

/* x[0] = u; x[i] = c[i] u + Σ_j d[i][j] F_j(x[j]); the last is the next state. */
typedef struct {
    Scheme *scheme;
    Step step;
    uint8_t *varies;
    uint32_t nodes, count;
    Node x[MOST_STAGES];
    Atoms sum[MOST_STAGES];  /* of each */
    Atoms part[MOST_STAGES]; /* F_j: coefficients times functions of x[j] alone */
    double c[MOST_STAGES], d[MOST_STAGES][MOST_STAGES], growth[MOST_STAGES];
    double largest[MOST_STAGES]; /* ‖x + t F_j(x)‖ <= ‖x‖ for 0 <= t <= largest[j] */
    bool settled[MOST_STAGES];   /* F_j is what an earlier stage has used */
    bool close;
    const char *missing;
} Stages;

static bool miss(Stages *s, const char *why) {
    s->missing = why;
    return false;
}

static const Func *func_of(const Stages *s) { return graph_get(s->scheme->module, s->step.func); }

static Atom *find_atom(Atoms *all, Node n) {
    for (uint32_t i = 0; i < all->len; i++)
        if (all->data[i].node == n) return &all->data[i];
    return NULL;
}

/* Stages: sums that something else than a sum looks at. */
static bool find_stages(Stages *s, Node result) {
    const Func *f = func_of(s);
    Type type = graph_node(f, result)->type;
    uint8_t *looked = mem_alloc(s->nodes);
    memset(looked, 0, s->nodes);
    for (Node n = 1; n < s->nodes; n++) {
        Op op = graph_node(f, n)->op;
        bool adds = op == OP_ADD || op == OP_SUB || op == OP_NEG || op == OP_MUL || op == OP_DIV;
        for (uint32_t k = 0; k < graph_node(f, n)->count && !adds; k++)
            looked[graph_operand(f, n, k)] = 1;
    }
    s->x[s->count++] = f->params.data[0];
    bool ok = true;
    for (Node n = 1; n < result && ok; n++) {
        Op op = graph_node(f, n)->op;
        if (!s->varies[n] || !looked[n] || !type_equal(graph_node(f, n)->type, type) ||
            (op != OP_ADD && op != OP_SUB))
            continue;
        Atoms sum = {0}; /* u must be in it */
        bool holds = atoms_of(s->scheme->module, s->step.func, n, s->varies, s->nodes, &sum) &&
                     find_atom(&sum, s->x[0]);
        vec_free(&sum);
        f = func_of(s);
        if (!holds) continue;
        ok = s->count < MOST_STAGES - 1;
        if (ok) s->x[s->count++] = n;
    }
    s->x[s->count++] = result;
    mem_free(looked);
    return ok && s->count > 2;
}

/* The last stage without which node n does not depend on u. */
static uint32_t stage_of(const Stages *s, Node n) {
    const Func *f = func_of(s);
    uint8_t *open = mem_alloc(n + 1);
    uint32_t found = 0;
    for (uint32_t j = s->count - 1; --j > 0 && !found;) {
        if (s->x[j] >= n) continue;
        memset(open, 0, n + 1);
        open[s->x[0]] = 1;
        for (Node i = s->x[0] + 1; i <= n; i++)
            for (uint32_t k = 0; k < graph_node(f, i)->count && i != s->x[j]; k++)
                open[i] |= open[graph_operand(f, i, k)];
        if (!open[n]) found = j;
    }
    mem_free(open);
    return found;
}

/* c and d of stage i; the first that uses F_j says what it is, the others use a multiple. */
static bool take_stage(Stages *s, uint32_t i) {
    Module *m = s->scheme->module;
    if (!atoms_of(m, s->step.func, s->x[i], s->varies, s->nodes, &s->sum[i])) return false;
    uint32_t used[MOST_STAGES] = {0};
    for (uint32_t a = 0; a < s->sum[i].len; a++) {
        Atom *atom = &s->sum[i].data[a];
        double c;
        if (atom->node >= s->nodes || !s->varies[atom->node])
            return miss(
                s,
                "a form without sources: a term or a boundary value that does not depend on u is added to it");
        if (!graph_is_const(func_of(s), atom->coefficient, &c))
            return miss(s, "step sizes that are known");
        if (atom->node == s->x[0]) {
            s->c[i] = c;
            continue;
        }
        uint32_t j = stage_of(s, atom->node);
        if (j >= i) return false;
        bool first = s->d[i][j] == 0;
        Atom *base = find_atom(&s->part[j], atom->node);
        if (!base && s->settled[j]) return false;
        if (!base) {
            vec_push(&s->part[j], *atom);
            base = &vec_last(&s->part[j]);
        }
        double b = 1;
        if (!graph_is_const(func_of(s), base->coefficient, &b) || b == 0) return false;
        if (first) s->d[i][j] = c / b;
        if (fabs(c / b - s->d[i][j]) > ROUNDING * fabs(s->d[i][j])) return false;
        used[j]++;
    }
    for (uint32_t j = 0; j < i; j++) {
        if (used[j] && used[j] != s->part[j].len) return false;
        s->settled[j] = s->settled[j] || used[j];
    }
    return true;
}

/* F_j as a function of x[j] alone: how large may a step be? */
static bool bound_stage(Stages *s, uint32_t j) {
    Module *m = s->scheme->module;
    FuncId func = graph_func(m, 0);
    Map map = {0};
    Atoms atoms = {0};
    uint32_t params = func_of(s)->params.len;
    map_set(&map, s->x[j], graph_param(m, func, graph_node(func_of(s), s->x[j])->type, 0));
    for (uint32_t p = 1; p < params; p++) {
        Node old = func_of(s)->params.data[p];
        map_set(&map, old, graph_param(m, func, graph_node(func_of(s), old)->type, 0));
    }
    for (uint32_t i = 0; i < s->part[j].len; i++) {
        Atom a = {graph_copy(m, s->step.func, s->part[j].data[i].node, func, &map),
                  graph_copy(m, s->step.func, s->part[j].data[i].coefficient, func, &map)};
        vec_push(&atoms, a);
    }
    Step step = {func, 1, s->step.fact};
    Growth g = sector_growth(s->scheme, &step, &atoms, 0, GROWTH_NORM);
    map_free(&map);
    vec_free(&atoms);
    if (g.proved && g.differences)
        return miss(s, "a form without sources: a boundary value is added to it");
    s->largest[j] = g.N > 0 ? 2 / g.N : HUGE_VAL;
    return g.proved || miss(s, g.missing);
}

/* x[i] = Σ_j w[j] (x[j] + d/w[j] F_j(x[j])) from the last stage on, with the least weights that have a proof. */
static bool combine(Stages *s, uint32_t i) {
    double c = s->c[i], d[MOST_STAGES], growth = 0;
    memcpy(d, s->d[i], sizeof d);
    for (uint32_t j = i; j-- > 0;) {
        double slack = ROUNDING * (1 + fabs(s->d[i][j]));
        if (d[j] < -slack) return false;
        double w = fmax(d[j], 0) / s->largest[j];
        if (j == 0) {
            if (w > c * (1 + ROUNDING) + ROUNDING || c < -ROUNDING) return false;
            growth += fmax(c, w);
            continue;
        }
        growth += w * s->growth[j];
        c -= w * s->c[j];
        for (uint32_t k = 0; k < j; k++) d[k] -= w * s->d[j][k];
    }
    s->growth[i] = growth;
    return true;
}

static bool is_convex(Stages *s, Scheme *scheme, int64_t k) {
    s->scheme = scheme;
    s->step = scheme_step(scheme, k);
    const Func *f = func_of(s);
    s->nodes = f->nodes.len;
    s->varies = field_masks(scheme->module, s->step.func, f->params.data, 1);
    bool ok = find_stages(s, f->results.data[0]);
    for (uint32_t i = 1; i < s->count && ok; i++) ok = take_stage(s, i);
    for (uint32_t j = 0; j + 1 < s->count && ok; j++) ok = s->part[j].len == 0 || bound_stage(s, j);
    s->growth[0] = 1;
    for (uint32_t j = 0; j < s->count; j++)
        if (s->part[j].len == 0) s->largest[j] = HUGE_VAL;
    s->close = ok; /* the form is there */
    for (uint32_t i = 1; i < s->count && ok; i++)
        ok =
            combine(s, i) ||
            miss(
                s,
                "a smaller step, or stages that are convex combinations of explicit steps: these weigh one of them "
                "negatively, or with more than its share");
    for (uint32_t j = 0; j < s->count; j++) {
        vec_free(&s->sum[j]);
        vec_free(&s->part[j]);
    }
    mem_free(s->varies);
    return ok;
}

bool theorem_stages(Scheme *scheme, Certificate *out) {
    int64_t first, count;
    double worst = 0;
    if (scheme->fields != 1 || !scheme_steps(scheme, &first, &count)) return false;
    for (int64_t k = first; k == first || k < first + count; k++) {
        Stages s = {0};
        if (!is_convex(&s, scheme, k)) {
            out->missing = s.missing;
            out->close = s.close;
            return false;
        }
        double growth = s.growth[s.count - 1];
        if (growth > worst) out->worst = k;
        worst = fmax(worst, growth);
        out->count = 0;
        certificate_number(out, "explicit steps", s.count - 1);
        certificate_number(out, "sum of weights", worst);
    }
    out->layers = count;
    if (worst > 1 + 10 * ROUNDING) return false;
    out->verdict = VERDICT_STABLE;
    out->claim = CLAIM_STEP;
    return true;
}
