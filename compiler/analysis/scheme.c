/* Loops as theorems look at them: what is known of values, and steps with it put in its place. */
#include "compiler/analysis/scheme.h"
#include "compiler/analysis/interval.h"
#include "compiler/analysis/operator.h"
#include "compiler/ops/eval.h"
#include "compiler/ops/ops.h"
#include "compiler/ops/rules.h"

#include <math.h>
#include <string.h>

/* ---- what is known --------------------------------------------------------------------- */

/* A number, a row of numbers, a stack of those. */
static bool is_coefficient_type(const Module *module, Type t) {
    return t.kind != TYPE_TUPLE && (t.grid == GRID_NONE || module->grids.data[t.grid].row);
}

static bool can_compute(const Module *module, const NodeData *d) {
    switch (d->op) {
    case OP_INPUT:
    case OP_PARAM:
    case OP_NORMAL:
    case OP_UNIFORM:
    case OP_TASK:
    case OP_BACK:
    case OP_COORD:
    case OP_EDGE:
    case OP_CONVNORMW: return false;
    case OP_CONST: return true;
    case OP_CELLS:
        for (uint32_t a = 0; a < module->grids.data[d->index].rank; a++)
            if (module->grids.data[d->index].extent[a] < 0) return false;
        return true;
    default: return d->count > 0;
    }
}

static uint8_t *known_nodes(const Module *module, const Func *f, const Fact *fact) {
    uint8_t *known = mem_alloc(f->nodes.len);
    memset(known, 0, f->nodes.len);
    for (Node n = 1; n < f->nodes.len; n++) {
        const NodeData *d = graph_node(f, n);
        bool fits = d->type.kind == TYPE_TUPLE || is_coefficient_type(module, d->type);
        known[n] = fits && (fact[n].known || can_compute(module, d));
        for (uint32_t k = 0; k < d->count && !fact[n].known; k++)
            known[n] = known[n] && known[graph_operand(f, n, k)];
    }
    return known;
}

/* Known nodes that are used by what is not known. */
static void frontier(const Func *f, const uint8_t *known, const Fact *fact, uint8_t *wanted) {
    memset(wanted, 0, f->nodes.len);
    for (Node n = 1; n < f->nodes.len; n++) {
        const NodeData *d = graph_node(f, n);
        for (uint32_t k = 0; k < d->count && !known[n]; k++) wanted[graph_operand(f, n, k)] = 1;
    }
    for (uint32_t i = 0; i < f->results.len; i++) wanted[f->results.data[i]] = 1;
    for (Node n = 1; n < f->nodes.len; n++)
        wanted[n] =
            wanted[n] && known[n] && !fact[n].known && graph_node(f, n)->type.kind != TYPE_TUPLE;
}

static double least_of(const Array *a) {
    double x = INFINITY;
    for (int64_t i = 0; i < a->size; i++) x = a->data[i] < x || isnan(a->data[i]) ? a->data[i] : x;
    return x;
}

static double most_of(const Array *a) {
    double x = -INFINITY;
    for (int64_t i = 0; i < a->size; i++) x = a->data[i] > x || isnan(a->data[i]) ? a->data[i] : x;
    return x;
}

static void know(Fact *fact, Array value) {
    *fact = (Fact){true, value, least_of(&value), most_of(&value), HUGE_VAL, NULL, 0};
    if (isnan(fact->low) || isnan(fact->high)) *fact = FACT_NOTHING;
}

/* Computes the known nodes that something needs, all together. */
static void evaluate_known(Module *module, FuncId func, const uint8_t *wanted, Fact *fact,
                           Arena *arena) {
    Func *f = graph_get(module, func);
    uint32_t count = f->nodes.len, results = 0;
    VEC(Array) args = {0};
    Map map = {0};
    FuncId made = graph_func(module, 0);
    for (Node n = 1; n < count; n++)
        if (fact[n].known && graph_node(graph_get(module, func), n)->op != OP_CONST) {
            map_set(&map, n, graph_param(module, made, fact[n].value.type, 0));
            vec_push(&args, fact[n].value);
        }
    for (Node n = 1; n < count; n++)
        if (wanted[n]) {
            Node copy = graph_copy(module, func, n, made, &map);
            vec_push(&graph_get(module, made)->results, copy);
            results++;
        }
    Array *values = ARENA_ARRAY(arena, Array, results + 1);
    EvalOptions options = {0};
    if (results && eval_func(module, made, args.data, values, &options, arena) == 0) {
        uint32_t i = 0;
        for (Node n = 1; n < count; n++)
            if (wanted[n]) know(&fact[n], values[i++]);
    }
    vec_free(&args);
    map_free(&map);
}

static void find_ranges(Module *module, FuncId func, Fact *fact) {
    const Func *f = graph_get(module, func);
    uint32_t count = f->nodes.len;
    VEC(GivenRange) given = {0};
    for (Node n = 1; n < count; n++) {
        const NodeData *d = graph_node(f, n);
        if (d->op == OP_FRAME && !fact[n].known) {
            const Fact *stack = &fact[graph_operand(f, n, 0)];
            Array none = {0};
            fact[n] = *stack;
            fact[n].known = false;
            fact[n].value = none;
        }
        bool told = isfinite(fact[n].low) || isfinite(fact[n].high);
        if (told && d->op != OP_CONST)
            vec_push(&given, ((GivenRange){n, interval(fact[n].low, fact[n].high)}));
    }
    Interval *range = mem_alloc(sizeof *range * count);
    interval_nodes(module, func, count - 1, given.data, given.len, range);
    for (Node n = 1; n < count; n++)
        if (!fact[n].known && is_coefficient_type(module, graph_node(f, n)->type)) {
            fact[n].low = range[n].low;
            fact[n].high = range[n].high;
        }
    mem_free(range);
    vec_free(&given);
}

static Level make_level(Module *module, FuncId func, const Facts *facts, const Node *also,
                        uint32_t also_count, Arena *arena) {
    const Func *f = graph_get(module, func);
    Level level = {func, f->nodes.len, ARENA_ARRAY(arena, Fact, f->nodes.len)};
    for (Node n = 0; n < level.count; n++) {
        const NodeData *d = graph_node(f, n);
        level.fact[n] = FACT_NOTHING;
        if (n == 0 || !is_coefficient_type(module, d->type)) continue;
        if (d->op == OP_CONST) {
            double *data = ARENA_NEW(arena, double);
            *data = d->number;
            know(&level.fact[n], (Array){d->type, 1, 1, data});
        } else if (d->op == OP_INPUT || d->op == OP_PARAM || d->op == OP_RESULT) {
            Fact told = FACT_NOTHING;
            if (facts->fact && facts->fact(facts->context, func, n, &told)) level.fact[n] = told;
        }
    }
    ModuleMark mark = operator_mark(module);
    uint8_t *known = known_nodes(module, graph_get(module, func), level.fact),
            *wanted = mem_alloc(level.count);
    frontier(graph_get(module, func), known, level.fact, wanted);
    for (uint32_t i = 0; i < also_count; i++)
        wanted[also[i]] = known[also[i]] && !level.fact[also[i]].known;
    evaluate_known(module, func, wanted, level.fact, arena);
    find_ranges(module, func, level.fact);
    mem_free(known);
    mem_free(wanted);
    operator_release(module, mark);
    return level;
}

Level level_new(Module *module, FuncId func, const Facts *facts, Arena *arena) {
    return make_level(module, func, facts, NULL, 0, arena);
}

typedef VEC(Fact) FactList;

/* ---- schemes ---------------------------------------------------------------------------- */

/* By node: does it depend on a parameter for which `from` says so? */
static uint8_t *depends_on(const Func *f, const uint8_t *from, Arena *arena) {
    uint8_t *d = ARENA_ARRAY(arena, uint8_t, f->nodes.len);
    for (Node n = 1; n < f->nodes.len; n++) {
        const NodeData *data = graph_node(f, n);
        if (data->op == OP_PARAM) d[n] = from[data->index];
        for (uint32_t k = 0; k < data->count; k++) d[n] |= d[graph_operand(f, n, k)];
    }
    return d;
}

static void find_fields(Scheme *s) {
    const Func *f = graph_get(s->module, s->body);
    uint32_t *field = ARENA_ARRAY(s->arena, uint32_t, s->states + 1);
    for (uint32_t i = 0; i < s->states; i++) {
        Type t = graph_node(f, f->params.data[1 + i])->type;
        if (t.kind == TYPE_FIELD && !s->module->grids.data[t.grid].row) field[s->fields++] = i;
    }
    s->field = field;
    s->history = s->fields > 1;
    for (uint32_t i = 1; i < s->fields; i++)
        s->history = s->history && f->results.data[field[i]] == f->params.data[1 + field[i - 1]];
}

static void find_dependences(Scheme *s) {
    const Func *f = graph_get(s->module, s->body);
    uint8_t *of_field = ARENA_ARRAY(s->arena, uint8_t, f->params.len + 1);
    uint8_t *of_step = ARENA_ARRAY(s->arena, uint8_t, f->params.len + 1);
    for (uint32_t i = 0; i < s->states; i++) of_step[1 + i] = 1;
    of_step[0] = 1;
    for (uint32_t i = 0; i < s->fields; i++) {
        of_field[1 + s->field[i]] = 1;
        of_step[1 + s->field[i]] = 0;
    }
    s->varies = depends_on(f, of_field, s->arena);
    s->moves = depends_on(f, of_step, s->arena);
    s->nodes = f->nodes.len;
    for (uint32_t i = 0; i < s->fields; i++) s->moving = s->moving || s->moves[scheme_next(s, i)];
    for (Node n = 1; n < f->nodes.len; n++)
        s->frames = s->frames || (graph_node(f, n)->op == OP_FRAME && s->moves[n] &&
                                  is_coefficient_type(s->module, graph_node(f, n)->type));
}

/* Is node n computed from numbers, rows and stacks of them alone? Marks what it needs. */
static bool is_expression(const Module *module, const Func *f, Node n, uint8_t *needs) {
    memset(needs, 0, n + 1);
    needs[n] = 1;
    for (Node x = n; x > 0; x--) {
        const NodeData *d = graph_node(f, x);
        if (!needs[x]) continue;
        if (!is_coefficient_type(module, d->type) && d->op != OP_TASK) return false;
        if (d->op == OP_NORMAL || d->op == OP_UNIFORM) return false;
        if (d->op == OP_RESULT && graph_node(f, graph_operand(f, x, 0))->op == OP_TASK) continue;
        for (uint32_t k = 0; k < d->count; k++) needs[graph_operand(f, x, k)] = 1;
    }
    return true;
}

/* The body with captured numbers that are not known, but computed from weights (2 / norm(K)^2, say), written out, so
 * that it shows what they have to do with those weights. Adds parameters for what they need. */
static FuncId written_out(Module *module, const Level *level, Node loop, const Loop *l, FuncId body,
                          FactList *param) {
    FuncId made = graph_func(module, 0);
    Map inner = {0}, outer = {0}; /* nodes of the body, and of the function around it */
    uint32_t count = graph_get(module, body)->params.len, first = 1 + l->states;
    uint8_t *needs = mem_alloc(level->count + 1);
    for (uint32_t i = 0; i < count; i++) {
        Node p = graph_get(module, body)->params.data[i];
        Node own = graph_param(module, made, graph_node(graph_get(module, body), p)->type, 0);
        map_set(&inner, p, own);
        if (i < first) continue;
        const Func *f = graph_get(module, level->func);
        Node n = graph_operand(f, loop, i);
        bool number = graph_node(f, n)->type.kind == TYPE_SCALAR && !level->fact[n].known;
        if (!number || !is_expression(module, f, n, needs)) map_set(&outer, n, own);
    }
    for (uint32_t i = first; i < count; i++) {
        const Func *f = graph_get(module, level->func);
        Node n = graph_operand(f, loop, i);
        uint32_t known;
        if (map_get(&outer, n, &known) || !is_expression(module, f, n, needs)) continue;
        for (Node x = 1; x <= n; x++) {
            const NodeData d = *graph_node(graph_get(module, level->func), x);
            bool leaf = d.op == OP_INPUT || d.op == OP_PARAM || d.op == OP_RESULT;
            if (!needs[x] || !leaf || map_get(&outer, x, &known)) continue;
            map_set(&outer, x, graph_param(module, made, d.type, 0));
            vec_push(param, level->fact[x]);
        }
        Node copy = graph_copy(module, level->func, n, made, &outer);
        map_set(&inner, graph_get(module, body)->params.data[i], copy);
    }
    for (uint32_t i = 0; i < graph_get(module, body)->results.len; i++) {
        Node result =
            graph_copy(module, body, graph_get(module, body)->results.data[i], made, &inner);
        vec_push(&graph_get(module, made)->results, result);
    }
    mem_free(needs);
    map_free(&inner);
    map_free(&outer);
    return made;
}

Scheme *scheme_of_loop(Module *module, const Level *level, Node loop, uint32_t depth,
                       Arena *arena) {
    const Func *f = graph_get(module, level->func);
    const Loop l = module->loops.data[graph_node(f, loop)->index];
    FuncId body = operator_inline(module, l.body);
    if (!body) return NULL;
    f = graph_get(module, level->func);
    Scheme *s = ARENA_NEW(arena, Scheme);
    *s = (Scheme){.module = module,
                  .arena = arena,
                  .body = body,
                  .states = l.states,
                  .start = l.start,
                  .count = -1,
                  .tau = l.tau,
                  .depth = depth};
    const Fact *count = &level->fact[graph_operand(f, loop, 0)];
    if (count->known && !l.has_stop && count->value.data[0] < 1e9)
        s->count = (int64_t)count->value.data[0];
    FactList param = {0};
    for (uint32_t i = 0; i <= l.states; i++) vec_push(&param, FACT_NOTHING);
    for (uint32_t i = 1 + l.states; i < graph_node(f, loop)->count; i++)
        vec_push(&param, level->fact[graph_operand(f, loop, i)]);
    s->body = written_out(module, level, loop, &l, body, &param);
    s->param = arena_copy(arena, param.data, sizeof *param.data * param.len);
    vec_free(&param);
    f = graph_get(module, level->func);
    find_fields(s);
    find_dependences(s);
    s->same_start = s->fields > 0;
    for (uint32_t i = 1; i < s->fields; i++)
        s->same_start = s->same_start && graph_operand(f, loop, 1 + s->field[i]) ==
                                             graph_operand(f, loop, 1 + s->field[0]);
    return s;
}

Scheme *scheme_of_nodes(Module *module, const Level *level, Node from, Node result, uint32_t depth,
                        Arena *arena) {
    FuncId made = graph_func(module, 0);
    Map map = {0};
    VEC(Fact) param = {0};
    uint32_t count = graph_get(module, level->func)->nodes.len;
    Type type = graph_node(graph_get(module, level->func), from)->type;
    graph_param(module, made, type_scalar(), 0);
    vec_push(&param, FACT_NOTHING);
    map_set(&map, from, graph_param(module, made, type, 0));
    vec_push(&param, FACT_NOTHING);
    for (Node n = 1; n < count; n++) {
        const NodeData d = *graph_node(graph_get(module, level->func), n);
        bool outside = d.op == OP_INPUT || d.op == OP_PARAM || d.op == OP_TASK || d.op == OP_RESULT;
        if (n == from || !outside || d.type.kind == TYPE_TUPLE) continue;
        if (d.op == OP_RESULT && graph_node(graph_get(module, level->func),
                                            graph_operand(graph_get(module, level->func), n, 0))
                                         ->op != OP_TASK)
            continue;
        map_set(&map, n, graph_param(module, made, d.type, 0));
        vec_push(&param, n < level->count ? level->fact[n] : FACT_NOTHING);
    }
    Node next = graph_copy(module, level->func, result, made, &map);
    vec_push(&graph_get(module, made)->results, next);
    map_free(&map);
    FuncId body = operator_inline(module, made);
    Scheme *s = NULL;
    if (body) {
        s = ARENA_NEW(arena, Scheme);
        *s = (Scheme){.module = module,
                      .arena = arena,
                      .body = body,
                      .states = 1,
                      .count = 1,
                      .same_start = true,
                      .depth = depth};
        s->param = arena_copy(arena, param.data, sizeof *param.data * param.len);
        find_fields(s);
        find_dependences(s);
    }
    vec_free(&param);
    return s;
}

/* ---- levels and steps ----------------------------------------------------------------------- */

typedef struct {
    const Scheme *s;
    int64_t k;
    double *number; /* k as data */
} BodyFacts;

static bool body_fact(void *context, FuncId func, Node node, Fact *out) {
    const BodyFacts *b = context;
    const NodeData *d = graph_node(graph_get(b->s->module, func), node);
    if (d->op != OP_PARAM) return false;
    *out = b->s->param[d->index];
    if (d->index == 0 && b->k != ANY_STEP) {
        *out =
            (Fact){true, {d->type, 1, 1, b->number}, (double)b->k, (double)b->k, HUGE_VAL, NULL, 0};
    } else if (d->index == 0) {
        *out = FACT_NOTHING;
        out->low = (double)b->s->start;
        if (b->s->count >= 0) out->high = (double)(b->s->start + b->s->count - 1);
    }
    return true;
}

static Level level_at(Scheme *s, int64_t k, const Node *also, uint32_t count) {
    BodyFacts b = {s, k, ARENA_NEW(s->arena, double)};
    *b.number = (double)k;
    Facts facts = {body_fact, &b};
    return make_level(s->module, s->body, &facts, also, count, s->arena);
}

Level scheme_level(Scheme *s, int64_t k) { return level_at(s, k, NULL, 0); }

bool scheme_numbers(Scheme *s, int64_t k, const Node *nodes, uint32_t count, double *out) {
    Level level = level_at(s, k, nodes, count);
    for (uint32_t i = 0; i < count; i++) {
        if (!level.fact[nodes[i]].known) return false;
        out[i] = level.fact[nodes[i]].value.data[0];
    }
    return true;
}

static Node clamped(Module *m, FuncId f, Node n, const Fact *fact) {
    if (isfinite(fact->low))
        n = graph_binary(m, f, OP_MAX, n, graph_const(m, f, fact->low), SPAN_NONE);
    if (isfinite(fact->high))
        n = graph_binary(m, f, OP_MIN, n, graph_const(m, f, fact->high), SPAN_NONE);
    return n;
}

static Node new_param(Module *m, FuncId f, Type type, Fact fact, FactList *facts) {
    vec_push(facts, fact);
    return graph_param(m, f, type, 0);
}

/* A node of the body that depends on no field, in the step. */
static void place(Scheme *s, const Level *level, Node n, FuncId step, Map *map, FactList *facts) {
    const NodeData d = *graph_node(graph_get(s->module, s->body), n);
    const Fact *fact = &level->fact[n];
    bool number = d.type.kind == TYPE_SCALAR;
    if (fact->known && number)
        map_set(map, n, graph_const(s->module, step, fact->value.data[0]));
    else if (fact->known && d.op != OP_CONST)
        map_set(map, n, new_param(s->module, step, d.type, *fact, facts));
    else if (d.op == OP_PARAM || d.op == OP_FRAME) {
        Node made = new_param(s->module, step, d.type, *fact, facts);
        map_set(map, n, number ? clamped(s->module, step, made, fact) : made);
    }
}

Step scheme_step_of(Scheme *s, int64_t k, const Node *results, uint32_t count, Node also) {
    Level level = scheme_level(s, k);
    Step step = {.func = graph_func(s->module, 0), .fields = s->fields};
    Map map = {0};
    FactList facts = {0};
    for (uint32_t i = 0; i < s->fields; i++) {
        Node p = scheme_field(s, i);
        Type type = graph_node(graph_get(s->module, s->body), p)->type;
        map_set(&map, p, new_param(s->module, step.func, type, FACT_NOTHING, &facts));
    }
    if (also) {
        Type type = graph_node(graph_get(s->module, s->body), also)->type;
        map_set(&map, also, new_param(s->module, step.func, type, FACT_NOTHING, &facts));
    }
    for (Node n = 1; n < level.count; n++)
        if (n >= s->nodes ? level.fact[n].known : !s->varies[n])
            place(s, &level, n, step.func, &map, &facts);
    for (uint32_t i = 0; i < count; i++) {
        Node next = graph_copy(s->module, s->body, results[i], step.func, &map);
        vec_push(&graph_get(s->module, step.func)->results, next);
    }
    step.fact = arena_copy(s->arena, facts.data, sizeof *facts.data * facts.len);
    vec_free(&facts);
    map_free(&map);
    return step;
}

Step scheme_step(Scheme *s, int64_t k) {
    Node *next = ARENA_ARRAY(s->arena, Node, s->fields);
    for (uint32_t i = 0; i < s->fields; i++) next[i] = scheme_next(s, i);
    return scheme_step_of(s, k, next, s->fields, NODE_NONE);
}

bool scheme_steps(const Scheme *s, int64_t *first, int64_t *count) {
    *first = ANY_STEP;
    *count = 1;
    if (!s->moving) return true;
    if (s->count < 0 || s->count > MOST_LAYERS) return false;
    *first = s->start;
    *count = s->count;
    return true;
}
