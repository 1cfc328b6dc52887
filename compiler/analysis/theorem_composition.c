/* Compositions: loops inside a step, and layers one after the other, each with a theorem of its own. */
#include "compiler/analysis/operator.h"
#include "compiler/analysis/scheme.h"

#include <string.h>

typedef struct {
    Scheme *scheme;
    Level level;
    Node u;
    Certificate *out;
    uint32_t parts;
    bool norms, differences; /* every part is one for norms, for differences */
} Chain;

/* The last node before `n`, of its type, without which n does not depend on u; u itself where there is none other. */
static Node last_cut(const Chain *c, Node n) {
    const Func *f = graph_get(c->scheme->module, c->level.func);
    uint8_t *open = mem_alloc(n + 1);
    Node found = c->u;
    for (Node x = n; --x > c->u && found == c->u;) {
        const NodeData *d = graph_node(f, x);
        if (!c->scheme->varies[x] || !type_equal(d->type, graph_node(f, n)->type)) continue;
        memset(open, 0, n + 1);
        open[c->u] = 1;
        for (Node i = c->u + 1; i <= n; i++)
            for (uint32_t k = 0; k < graph_node(f, i)->count && i != x; k++)
                open[i] |= open[graph_operand(f, i, k)];
        if (!open[n]) found = x;
    }
    mem_free(open);
    return found;
}

static void take_part(Chain *c, const Certificate *part) {
    c->parts++;
    c->norms = c->norms && !part->differences;
    c->differences = c->differences && (part->differences || part->linear);
    bool linear = part->linear && (c->parts == 1 || c->out->linear);
    if (c->parts == 1) *c->out = *part;
    c->out->linear = linear;
    c->out->differences = !c->norms;
    if (c->parts > 1) return;
    c->out->part = part->part ? part->part : part->theorem;
    c->out->theorem = THEOREM_NONE;
}

static bool fail(Chain *c, const Certificate *part) {
    const Certificate missing = *part;
    *c->out = (Certificate){.layers = missing.layers,
                            .worst = missing.worst,
                            .count = missing.count,
                            .missing = missing.missing};
    memcpy(c->out->numbers, missing.numbers, sizeof missing.numbers);
    return false;
}

static bool keeps_norm(const Certificate *c) {
    return c->verdict == VERDICT_STABLE &&
           (c->claim == CLAIM_STEP || c->claim == CLAIM_CYCLE || c->claim == CLAIM_HISTORY);
}

static bool bounded(Chain *c, Node n);

static bool loop_bounded(Chain *c, Node loop, uint32_t result) {
    Module *m = c->scheme->module;
    Scheme *inner = scheme_of_loop(m, &c->level, loop, c->scheme->depth + 1, c->scheme->arena);
    Certificate none = {.layers = 1,
                        .missing = "a recurrence of fields, small enough to be looked through"};
    if (!inner) return fail(c, &none);
    Certificate part = scheme_certify(inner);
    if (!keeps_norm(&part)) {
        if (part.verdict == VERDICT_STABLE)
            part.missing =
                "an inner recurrence that does not increase the norm: its powers are bounded, but the norm may grow at first";
        return fail(c, &part);
    }
    bool field = false;
    for (uint32_t i = 0; i < inner->fields; i++) field = field || inner->field[i] == result;
    if (!field) return fail(c, &none);
    /* what it captures may depend on u, where the proof is one for whatever is captured */
    for (uint32_t i = 1 + inner->states; i < graph_node(graph_get(m, c->level.func), loop)->count;
         i++)
        if (part.differences &&
            c->scheme->varies[graph_operand(graph_get(m, c->level.func), loop, i)]) {
            none.missing =
                "an inner recurrence whose source does not depend on the state of the outer one";
            return fail(c, &none);
        }
    take_part(c, &part);
    Node from = NODE_NONE;
    for (uint32_t i = 0; i < inner->fields; i++) {
        Node start = graph_operand(graph_get(m, c->level.func), loop, 1 + inner->field[i]);
        if (start == from) continue;
        from = start;
        if (!bounded(c, start)) return false;
    }
    return true;
}

/* ‖n‖ <= ‖u‖? */
static bool bounded(Chain *c, Node n) {
    Module *m = c->scheme->module;
    if (n == c->u) return true;
    const Func *f = graph_get(m, c->level.func);
    const NodeData *d = graph_node(f, n);
    Node tuple = d->op == OP_RESULT ? graph_operand(f, n, 0) : NODE_NONE;
    if (tuple && graph_node(f, tuple)->op == OP_LOOP) return loop_bounded(c, tuple, d->index);
    Node x = last_cut(c, n);
    if (x == c->u && c->parts == 0) { /* one step: what the other theorems are for */
        Certificate none = {.layers = 1};
        return fail(c, &none);
    }
    Scheme *layer = scheme_of_nodes(m, &c->level, x, n, c->scheme->depth + 1, c->scheme->arena);
    Certificate part = {.layers = 1, .missing = "an operator small enough to be looked through"};
    if (layer) part = scheme_certify(layer);
    if (!keeps_norm(&part)) return fail(c, &part);
    take_part(c, &part);
    return bounded(c, x);
}

bool theorem_composition(Scheme *scheme, Certificate *out) {
    int64_t first = ANY_STEP, count = 1, worst = 0;
    if (scheme->fields != 1) return false;
    Node next = scheme_next(scheme, 0);
    if (!scheme->varies[next]) return false;
    for (int pass = 0; pass < 2; pass++) {
        if (pass == 1 && (!scheme->moving || !scheme_steps(scheme, &first, &count))) return false;
        bool ok = true, norms = true, differences = true, linear = true;
        Certificate all = {.layers = 1};
        for (int64_t k = first; ok && (k == first || k < first + count); k++) {
            Certificate one = {.layers = 1};
            Chain c = {scheme, scheme_level(scheme, k), scheme_field(scheme, 0), &one, 0, true,
                       true};
            ok = bounded(&c, next);
            norms = norms && c.norms;
            differences = differences && c.differences;
            linear = linear && one.linear;
            if (k == first || !ok) {
                all = one;
                worst = k;
            }
        }
        if (ok && !norms && !differences) {
            ok = false;
            all = (Certificate){
                .layers = 1,
                .missing =
                    "parts none of which, or all of which, have a source: a nonlinear one has "
                    "no proof for differences of solutions"};
        }
        *out = all;
        out->linear = linear;
        out->differences = !norms;
        if (count > 1) {
            out->layers = count;
            out->worst = worst;
        }
        if (ok) {
            out->verdict = VERDICT_STABLE;
            out->claim = CLAIM_STEP;
            return true;
        }
        out->verdict = VERDICT_NONE;
        out->theorem = out->part = THEOREM_NONE;
    }
    return false;
}
