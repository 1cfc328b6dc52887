/* The `param` statement: shapes, start values, ranges and constraints of parameters. */
#include "compiler/sema/param.h"

#include <math.h>
#include <string.h>

/* ---- start values -------------------------------------------------------------------- */

static Type stacked(const Parameter *p, Type one) {
    if (p->depth >= 0) one.kind = TYPE_STACK;
    return one;
}

/* Can `count` numbers of the range have the sum? */
static bool sum_possible(Elab *e, const Parameter *p, int64_t count) {
    for (uint32_t i = 0; i < p->constraints.len; i++) {
        const Constraint *c = &p->constraints.data[i];
        double mean = c->number / (double)count;
        if (c->kind != CONSTRAINT_SUM || (mean >= p->low && mean <= p->high)) continue;
        report(e, PARAM_CLASH, p->span, names_text(e->names, p->name),
               arena_format(e->arena, "no %lld numbers in the range from %g to %g have the sum %g",
                            (long long)count, p->low, p->high, c->number));
        return false;
    }
    return true;
}

bool start_possible(Elab *e, const PdnInit *init, Span span) {
    if (init->kind == PDN_INIT_NORMAL && init->b < 0) {
        report(e, INIT_DEVIATION, span, init->b);
        return false;
    }
    if (init->kind == PDN_INIT_UNIFORM && init->a > init->b) {
        report(e, PARAM_RANGE_EMPTY, span, init->a, init->b);
        return false;
    }
    return true;
}

/* Can the start lie in the range? Of random numbers those outside are moved to its ends, but all of them are not. */
static bool start_inside(Elab *e, const Parameter *p, const PdnInit *init, Span span) {
    double first = NAN, last = NAN; /* the numbers that it is known to hold, or to lie between */
    if (init->kind == PDN_INIT_CONSTANT) first = last = init->a;
    if (init->kind == PDN_INIT_UNIFORM) first = init->a, last = init->b;
    if (init->kind == PDN_INIT_DIRAC) first = p->low > 0 ? 0 : 1, last = first;
    double nearest = first > p->high ? first : last < p->low ? last : NAN;
    if (isnan(nearest)) return true;
    report(e, PARAM_OUTSIDE, span, nearest, p->low, p->high);
    return false;
}

/* One array of the parameter, filled before the program runs. */
static void add_tensor(Elab *e, Parameter *p, Tensor t, PdnInit init) {
    Source s = {.kind = SOURCE_START,
                .span = p->span,
                .init = init,
                .stream = e->streams,
                .rank = t.rank,
                .depth = p->depth};
    memcpy(s.shape, t.shape, sizeof s.shape);
    e->streams += p->depth > 1 ? (uint32_t)p->depth : 1;
    t.value = program_value(e, program_input(e, stacked(p, t.type), s), p->span);
    Tensor *to = &p->tensors[p->tensor_count++];
    *to = t;
    vec_adopt(e->arena, &to->sources);
    vec_push(&to->sources, e->out->sources.len - 1);
}

static void add_row(Elab *e, Parameter *p, int64_t n, PdnInit init) {
    Tensor t = {
        .type = type_field(graph_row(e->module, n), 1), .rank = 1, .shape = {n}, .suffix = ""};
    add_tensor(e, p, t, init);
}

static Tensor computed_tensor(Elab *e, Type type) {
    Tensor t = {.type = type, .suffix = ""};
    if (type.kind != TYPE_FIELD) return t;
    const Grid *g = &e->module->grids.data[type.grid];
    if (type.channels > 1) t.shape[t.rank++] = type.channels;
    for (uint32_t a = g->rank; a-- > 0;) t.shape[t.rank++] = g->extent[a];
    return t;
}

/* Of a kernel, which is given the values of its parameters, all that matters is what v is like. */
static void add_input(Elab *e, Parameter *p, const Value *v) {
    Tensor t = computed_tensor(e, value_type(e, v));
    add_tensor(e, p, t, (PdnInit){PDN_INIT_CONSTANT, 0, 0});
    ((Value *)p->tensors[0].value)->node.boundary = boundary_like(e, v);
}

/* A start that is computed: opaque from here on, since training may change it. */
static bool add_computed(Elab *e, Parameter *p, const Value *v) {
    if (p->depth >= 0) {
        Diagnostic *d = report(e, PARAM_INDEXED_FIELD, v->span, value_describe(e, v));
        diag_help(
            d, "indexed parameters start from numbers, rows such as zeros(16), and convolutions");
        return false;
    }
    if (e->options->kernel) {
        add_input(e, p, v);
        return true;
    }
    if (e->frame != e->root) {
        Diagnostic *d = report(e, PARAM_START_LATE, v->span);
        diag_help(
            d,
            "let the field that it starts from be one of the experiment's, not of a step or of data");
        return false;
    }
    Type type = value_type(e, v);
    Tensor t = computed_tensor(e, type);
    /* an identity that is called keeps the node apart from others that compute the same */
    FuncId same = graph_func(e->module, p->name);
    vec_push(&graph_get(e->module, same)->results, graph_param(e->module, same, type, 0));
    Node n = value_to_node(e, v);
    Node call = graph_add(e->module, e->root->func, OP_CALL, &n, 1, same, 0, p->span);
    Value *value =
        (Value *)program_value(e, graph_result(e->module, e->root->func, call, 0), p->span);
    value->node.boundary = boundary_like(e, v);
    t.value = value;
    p->tensors[p->tensor_count++] = t;
    return true;
}

/* zeros(16), ones(n), constant(n, 2), normal(n, 0.1), uniform(n, -1, 1): a row of n numbers, or one number each
 * where n is not given. False: not of this form. */
static bool row_start(Elab *e, const Env *env, const Expr *x, int64_t *n, PdnInit *init) {
    if (x->kind != EXPR_CALL || x->call.callee->kind != EXPR_NAME || x->call.count < 1 ||
        x->call.count > 3 || env_find(env, x->call.callee->name))
        return false;
    static const struct {
        const char *name;
        PdnInit init;
        uint32_t least, most;
    } forms[] = {{"zeros", {PDN_INIT_CONSTANT, 0, 0}, 1, 1},
                 {"ones", {PDN_INIT_CONSTANT, 1, 0}, 1, 1},
                 {"constant", {PDN_INIT_CONSTANT, 0, 0}, 2, 2},
                 {"normal", {PDN_INIT_NORMAL, 0, 1}, 1, 2},
                 {"uniform", {PDN_INIT_UNIFORM, 0, 1}, 1, 3}};
    const char *name = names_text(e->names, x->call.callee->name);
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        if (strcmp(forms[i].name, name) != 0 || x->call.count < forms[i].least ||
            x->call.count > forms[i].most)
            continue;
        double numbers[3] = {0};
        for (uint32_t k = 0; k < x->call.count; k++) {
            const Value *v = eval_expr(e, env, x->call.args[k].value);
            if (v->kind != VALUE_NUMBER) return false;
            numbers[k] = v->number;
        }
        if (!(numbers[0] >= 1 && numbers[0] <= 1e9 && numbers[0] == floor(numbers[0])))
            return false;
        *n = (int64_t)numbers[0];
        *init = forms[i].init;
        if (init->kind == PDN_INIT_CONSTANT && x->call.count == 2) init->a = numbers[1];
        if (init->kind == PDN_INIT_NORMAL && x->call.count == 2) init->b = numbers[1];
        if (init->kind == PDN_INIT_UNIFORM && x->call.count == 2) init->b = numbers[1];
        if (init->kind == PDN_INIT_UNIFORM && x->call.count == 3)
            init->a = numbers[1], init->b = numbers[2];
        return true;
    }
    return false;
}

static bool start_parameter(Elab *e, const Env *env, Parameter *p, const Expr *x) {
    int64_t n;
    PdnInit init;
    if (row_start(e, env, x, &n, &init)) {
        if (!start_possible(e, &init, x->span) || !sum_possible(e, p, n) ||
            !start_inside(e, p, &init, x->span))
            return false;
        add_row(e, p, n, init);
        return true;
    }
    const Value *v = eval_expr(e, env, x);
    switch (v->kind) {
    case VALUE_ERROR: return false;
    case VALUE_CONV:
        p->is_conv = true;
        p->conv = *v->conv;
        if (!start_inside(e, p, &p->conv.init, x->span)) return false;
        if (p->conv.rank) return parameter_settle(e, p, p->conv.rank, x->span);
        return true;
    case VALUE_NUMBER:
        if (v->number < p->low || v->number > p->high) {
            report(e, PARAM_OUTSIDE, x->span, v->number, p->low, p->high);
            return false;
        }
        if (!sum_possible(e, p, 1)) return false;
        add_tensor(e, p, (Tensor){.type = type_scalar(), .suffix = ""},
                   (PdnInit){PDN_INIT_CONSTANT, v->number, 0});
        return true;
    case VALUE_NODE:
        if (value_type(e, v).kind != TYPE_STACK) return add_computed(e, p, v);
        break;
    default: break;
    }
    Diagnostic *d = report(e, PARAM_START, x->span, value_describe(e, v));
    if (v->kind == VALUE_OPERATOR && v->op->kind == OPERATOR_DEF &&
        v->op->item->def.kind == DEF_NETWORK)
        diag_help(
            d, "it has parameters of its own: let A = …, applied as A(u), is one network for all "
               "steps; what differs from step to step is a parameter here: param K[n] = "
               "conv(1 -> 16, size = 5), and K[k] in a step");
    else
        diag_help(d, "a number, a field, a row such as zeros(16), or conv(1 -> 16, size = 5)");
    return false;
}

bool parameter_settle(Elab *e, Parameter *p, uint32_t rank, Span span) {
    ConvSpec *c = &p->conv;
    if (p->tensor_count) {
        if (c->rank == rank) return true;
        Diagnostic *d = report(e, CONV_RANK, span, names_text(e->names, p->name), c->rank, rank);
        diag_note(d, p->span, "the convolution stands here");
        return false;
    }
    if (!c->rank)
        for (uint32_t a = 1; a < rank; a++) c->size[a] = c->size[0];
    c->rank = rank;
    Tensor t = {.rank = (int)rank + 2, .shape = {c->out, c->in / c->groups}, .suffix = ""};
    int64_t count = c->out * (c->in / c->groups);
    for (uint32_t a = 0; a < rank; a++) {
        t.shape[2 + a] = c->size[rank - 1 - a];
        count *= c->size[a];
    }
    if (count > INT32_MAX) {
        report(e, PARAM_TOO_LARGE, p->span, (double)count);
        return false;
    }
    if (!sum_possible(e, p, count / (c->out * (c->in / c->groups)))) return false;
    t.type = type_field(graph_row(e->module, count), 1);
    add_tensor(e, p, t, c->init);
    if (c->bias) {
        Tensor b = {.type = type_field(graph_row(e->module, c->out), 1),
                    .rank = 1,
                    .shape = {c->out},
                    .suffix = ".bias"};
        add_tensor(e, p, b, (PdnInit){PDN_INIT_CONSTANT, 0, 0});
    }
    parameter_load(e, p);
    return true;
}

/* ---- ranges and constraints ------------------------------------------------------------ */

static bool read_range(Elab *e, const Env *env, Parameter *p, const Expr *x) {
    const Value *v = eval_expr(e, env, x);
    double low, high;
    if (v->kind == VALUE_ERROR) return false;
    if (v->kind != VALUE_LIST || v->list.count != 2) {
        Diagnostic *d = report(e, PARAM_RANGE, x->span, value_describe(e, v));
        diag_help(d, "in [0.001, 10]");
        return false;
    }
    if (!value_static(e, v->list.items[0], "the range of a parameter", &low) ||
        !value_static(e, v->list.items[1], "the range of a parameter", &high))
        return false;
    if (!(low < high)) {
        report(e, PARAM_RANGE_EMPTY, x->span, low, high);
        return false;
    }
    p->low = fmax(p->low, low);
    p->high = fmin(p->high, high);
    if (p->low <= p->high) return true;
    report(e, PARAM_RANGE_EMPTY, x->span, p->low, p->high);
    return false;
}

static bool is_call_of(Elab *e, const Expr *x, const char *function, Name parameter) {
    return x->kind == EXPR_CALL && x->call.callee->kind == EXPR_NAME && x->call.count == 1 &&
           strcmp(names_text(e->names, x->call.callee->name), function) == 0 &&
           x->call.args[0].value->kind == EXPR_NAME && x->call.args[0].value->name == parameter;
}

static bool bad_constraint(Elab *e, const Parameter *p, const Expr *x) {
    const char *name = names_text(e->names, p->name);
    Diagnostic *d = report(e, PARAM_CONSTRAINT, x->span);
    diag_help(d, "norm(%s) <= 1, sum(%s) == 0, %s >= 0 and %s <= 1 are", name, name, name, name);
    return false;
}

static bool read_constraint(Elab *e, const Env *env, Parameter *p, const Expr *x) {
    if (x->kind != EXPR_BINARY || x->binary.op < AST_EQ || x->binary.op > AST_GE)
        return bad_constraint(e, p, x);
    const Expr *left = x->binary.left, *right = x->binary.right;
    AstOp op = x->binary.op;
    bool plain = left->kind == EXPR_NAME && left->name == p->name;
    double number;
    if (!value_static(e, eval_expr(e, env, right), "the bound of a constraint", &number))
        return false;
    if (plain && (op == AST_GE || op == AST_GT)) {
        p->low = fmax(p->low, number);
    } else if (plain && (op == AST_LE || op == AST_LT)) {
        p->high = fmin(p->high, number);
    } else if (is_call_of(e, left, "norm", p->name) && op == AST_LE) {
        if (!(number > 0)) return bad_constraint(e, p, x);
        vec_push(&p->constraints, ((Constraint){CONSTRAINT_NORM, number}));
    } else if (is_call_of(e, left, "sum", p->name) && op == AST_EQ) {
        vec_push(&p->constraints, ((Constraint){CONSTRAINT_SUM, number}));
    } else {
        return bad_constraint(e, p, x);
    }
    if (p->low <= p->high) return true;
    report(e, PARAM_RANGE_EMPTY, x->span, p->low, p->high);
    return false;
}

/* Whether the projections onto constraints leave each other alone: a sum is kept within a range; what makes a norm
 * smaller scales all numbers down, which leaves ranges that 0 lies in, and sums of 0. */
static bool constraints_agree(Elab *e, const Parameter *p, Span span) {
    bool sums = false, norms = false;
    double sum = 0;
    for (uint32_t i = 0; i < p->constraints.len; i++) {
        const Constraint *c = &p->constraints.data[i];
        const char *why = NULL;
        if (c->kind == CONSTRAINT_SUM && sums && c->number != sum) why = "there are two sums";
        sums = sums || c->kind == CONSTRAINT_SUM;
        norms = norms || c->kind == CONSTRAINT_NORM;
        if (c->kind == CONSTRAINT_SUM) sum = c->number;
        if (!why && norms && sums && sum != 0)
            why = "with a norm it is only sums of 0 that can be kept";
        if (!why && norms && (p->low > 0 || p->high < 0))
            why = "with a norm it is only ranges that hold 0 that can be kept";
        if (!why) continue;
        report(e, PARAM_CLASH, span, names_text(e->names, p->name), why);
        return false;
    }
    return true;
}

/* ---- the statement -------------------------------------------------------------------------- */

static Parameter *find_parameter(const Instance *owner, Name name) {
    for (uint32_t i = 0; i < owner->parameters.len; i++)
        if (owner->parameters.data[i]->name == name) return owner->parameters.data[i];
    return NULL;
}

static Parameter *declare(Elab *e, const Env *env, const Stmt *s) {
    Parameter *p = ARENA_NEW(e->arena, Parameter);
    *p = (Parameter){.name = s->param.name.name,
                     .span = s->span,
                     .owner = e->instance,
                     .depth = -1,
                     .low = -INFINITY,
                     .high = INFINITY};
    vec_adopt(e->arena, &p->constraints);
    vec_adopt(e->arena, &p->convs);
    if (s->param.length) {
        const Value *n = eval_expr(e, env, s->param.length);
        if (!value_static_int(e, n, "how many parameters there are", 1, 1e6, &p->depth))
            return NULL;
    }
    for (uint32_t i = 0; i < s->param.ranges.count; i++)
        if (!read_range(e, env, p, s->param.ranges.items[i])) return NULL;
    for (uint32_t i = 0; i < s->param.constraints.count; i++)
        if (!read_constraint(e, env, p, s->param.constraints.items[i])) return NULL;
    if (!constraints_agree(e, p, s->span)) return NULL;
    return start_parameter(e, env, p, s->param.value) && parameter_rule(e, p, s) ? p : NULL;
}

const Env *param_statement(Elab *e, const Env *env, const Stmt *s) {
    Parameter *p = find_parameter(e->instance, s->param.name.name);
    if (p && (p->span.file != s->span.file || p->span.begin != s->span.begin)) {
        Diagnostic *d = report(e, PARAM_TWICE, s->param.name.span, names_text(e->names, p->name));
        diag_note(d, p->span, "it stands here");
        p = NULL;
    } else if (!p && (p = declare(e, env, s))) {
        vec_push(&e->instance->parameters, p);
        vec_push(&e->parameters, p);
        if (!p->is_conv) parameter_load(e, p);
    }
    if (p && p->rule && e->training && !e->declaring) parameter_move(e, env, p);
    const Value *v = p ? parameter_value(e, p, s->param.name.span) : value_error(e);
    return env_bind(e, env, s->param.name.name, v, s->param.name.span);
}

/* ---- what its name means ----------------------------------------------------------------------- */

static const Value *conv_value(Elab *e, const Parameter *p, const Value *index, Span span) {
    Operator *op = ARENA_NEW(e->arena, Operator);
    *op = (Operator){.kind = OPERATOR_CONV,
                     .span = span,
                     .name = p->name,
                     .parameter = (Parameter *)p,
                     .index = index};
    return value_operator(e, op, span);
}

const Value *parameter_value(Elab *e, const Parameter *p, Span span) {
    if (p->depth >= 0) {
        Value *v = value_new(e, VALUE_PARAMETER, span);
        v->parameter = (Parameter *)p;
        return v;
    }
    return p->is_conv ? conv_value(e, p, NULL, span) : value_at(e, p->tensors[0].value, span);
}

const Value *parameter_index(Elab *e, const Value *parameter, const Value *index, Span span) {
    const Parameter *p = parameter->parameter;
    if (index->kind == VALUE_ERROR) return index;
    if (!value_is_scalar(e, index)) {
        report(e, NOT_A_NUMBER, index->span, "the index of a parameter", value_describe(e, index));
        return value_error(e);
    }
    if (index->kind == VALUE_NUMBER) {
        int64_t i;
        double most = (double)p->depth - 1;
        if (!value_static_int(
                e, index,
                arena_format(e->arena, "the index of '%s'", names_text(e->names, p->name)),
                -most - 1, most, &i))
            return value_error(e);
    }
    if (p->is_conv) return conv_value(e, p, index, span);
    Node operands[2] = {value_to_node(e, p->tensors[0].value), value_to_node(e, index)};
    return value_node(e, graph_add(e->module, e->frame->func, OP_FRAME, operands, 2, 0, 0, span),
                      NULL, span);
}
