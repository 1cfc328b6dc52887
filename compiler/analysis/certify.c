/* Verdicts: the theorems in their order; loops of a function; what is said of them. */
#include "compiler/analysis/operator.h"
#include "compiler/analysis/rebuild.h"
#include "compiler/analysis/scheme.h"

#include <math.h>
#include <string.h>

static const struct {
    TheoremInfo info;
    bool (*check)(Scheme *scheme, Certificate *out);
} theorems[THEOREM_COUNT] = {
#define THEOREM(id, name, title, statement, source, check)                                         \
    [THEOREM_##id] = {{name, title, statement, source}, check},
#include "compiler/analysis/theorems.def"
#undef THEOREM
};

const TheoremInfo *theorem_info(TheoremId id) { return id ? &theorems[id].info : NULL; }

const char *verdict_text(Verdict verdict) {
    static const char *const texts[] = {"no proof", "proved stable", "proved unstable"};
    return texts[verdict];
}

const char *claim_text(const Certificate *c) {
    static const char *const texts[][2] = {
        [CLAIM_NONE] = {"", ""},
        [CLAIM_STEP] = {"no step increases the norm",
                        "no step increases the distance of two solutions"},
        [CLAIM_CYCLE] = {"a cycle does not increase the norm",
                         "a cycle does not increase the distance of two solutions"},
        [CLAIM_HISTORY] = {"no step exceeds the norms of the states before",
                           "no step exceeds the distances of two solutions before"},
        [CLAIM_BOUNDED] = {"all powers of the step are bounded",
                           "all powers of the step are bounded, for differences of two solutions"},
    };
    return texts[c->claim][c->differences];
}

void certificate_number(Certificate *c, const char *name, double value) {
    if (c->count < CERTIFICATE_NUMBERS) c->numbers[c->count++] = (CertificateNumber){name, value};
}

void certificate_text(const Certificate *c, Text *out) {
    text_puts(out, verdict_text(c->verdict));
    if (c->theorem) text_printf(out, " (%s", theorem_info(c->theorem)->title);
    if (c->part) text_printf(out, " of parts; %s", theorem_info(c->part)->title);
    if (c->theorem) text_puts(out, ")");
    if (c->verdict == VERDICT_STABLE) {
        text_printf(out, ": %s", claim_text(c));
        if (c->theorem == THEOREM_IMPLICIT || c->part == THEOREM_IMPLICIT)
            text_puts(out, ", to the tolerance of the solver");
    }
    if (c->verdict == VERDICT_NONE && c->missing) text_printf(out, "; missing: %s", c->missing);
    for (uint32_t i = 0; i < c->count; i++)
        text_printf(out, "%s%s = %.6g", i ? ", " : "; ", c->numbers[i].name, c->numbers[i].value);
    if (c->layers > 1)
        text_printf(out,
                    c->verdict == VERDICT_STABLE ? "; the least certain of %lld steps is k = %lld"
                                                 : "; of %lld steps, this is k = %lld",
                    (long long)c->layers, (long long)c->worst);
}

/* ---- one scheme --------------------------------------------------------------------------- */

enum { MOST_DEPTH = 8 };

Certificate scheme_certify(Scheme *scheme) {
    Certificate none = {.layers = 1};
    if (scheme->depth > MOST_DEPTH) {
        none.missing = "a recurrence that is not nested so deeply";
        return none;
    }
    if (scheme->fields == 0) {
        none.missing = "a field that recurs";
        return none;
    }
    for (int id = 1; id < THEOREM_COUNT; id++) {
        Certificate c = {.layers = 1};
        if (theorems[id].check(scheme, &c)) {
            c.theorem = (TheoremId)id;
            return c;
        }
        /* what fails by its numbers says more than a form that was not found */
        if (c.missing && (!none.missing || c.linear || c.close)) none = c;
    }
    none.verdict = VERDICT_NONE;
    if (!none.missing)
        none.missing =
            "a theorem for recurrences of this form: explicit steps -Kᵀ Φ(K u), linear steps and compositions of them have some";
    return none;
}

static bool scheme_knows_weights(const Scheme *s) {
    const Func *f = graph_get(s->module, s->body);
    for (uint32_t i = 1; i < f->params.len; i++)
        if (s->param[i].known && graph_node(f, f->params.data[i])->type.kind != TYPE_SCALAR)
            return true;
    return false;
}

/* ---- functions ------------------------------------------------------------------------------ */

void certify_loops(Module *module, FuncId func, const Facts *facts, Certificates *out) {
    Arena *arena = arena_new();
    ModuleMark mark = operator_mark(module);
    Level level = level_new(module, func, facts, arena);
    uint8_t *live = rebuild_live(graph_get(module, func));
    for (Node n = 1; n < level.count; n++) {
        const NodeData *d = graph_node(graph_get(module, func), n);
        if (!live[n] || d->op != OP_LOOP || !module->loops.data[d->index].call.file) continue;
        const Loop loop = module->loops.data[d->index];
        ModuleMark inner = operator_mark(module);
        Scheme *s = scheme_of_loop(module, &level, n, 0, arena);
        if (s && s->fields > 0) {
            Certificate c = scheme_certify(s);
            c.weights = scheme_knows_weights(s);
            c.name = loop.name;
            c.span = loop.call;
            vec_push(out, c);
        }
        operator_release(module, inner);
    }
    mem_free(live);
    operator_release(module, mark);
    arena_free(arena);
}

static Node first_field(const Module *module, const Func *f) {
    for (Node n = 1; n < f->nodes.len; n++) {
        const NodeData *d = graph_node(f, n);
        if ((d->op == OP_INPUT || d->op == OP_PARAM) && d->type.kind == TYPE_FIELD &&
            !module->grids.data[d->type.grid].row && (d->op != OP_INPUT || d->index == 0))
            return n;
    }
    return NODE_NONE;
}

Certificate certify_func(Module *module, FuncId func, const Facts *facts) {
    Arena *arena = arena_new();
    ModuleMark mark = operator_mark(module);
    Level level = level_new(module, func, facts, arena);
    const Func *f = graph_get(module, func);
    Certificate c = {.layers = 1};
    Node from = first_field(module, f), to = f->results.len ? f->results.data[0] : NODE_NONE;
    if (!from || !to)
        c.missing = "a field that it acts on";
    else if (!type_equal(graph_node(f, from)->type, graph_node(f, to)->type))
        c.missing = "a result on the grid and with the channels of what it acts on";
    else {
        Scheme *s = scheme_of_nodes(module, &level, from, to, 0, arena);
        if (s) {
            c = scheme_certify(s);
            c.weights = scheme_knows_weights(s);
        } else
            c.missing = "an operator small enough to be looked through";
    }
    operator_release(module, mark);
    arena_free(arena);
    return c;
}
