/* Application: configurations, inputs, and operators made of operators. */
#include "compiler/sema/param.h"
#include "compiler/sema/solve.h"
#include "compiler/sema/value.h"

#include <string.h>

const char *operator_name(Elab *e, const Operator *op) {
    if (op->kind == OPERATOR_BUILTIN) return op->builtin->name;
    return op->name ? names_text(e->names, op->name) : "the operator";
}

const Env *operator_env(const Operator *op) { return op->home ? op->home->env : op->env; }

/* ---- binding arguments to parameters ----------------------------------------------- */

static void unknown_argument(Elab *e, const Argument *a, const char *owner,
                             const ParamList *params) {
    const char **names = ARENA_ARRAY(e->arena, const char *, params->count + 1);
    for (uint32_t i = 0; i < params->count; i++)
        names[i] = names_text(e->names, params->items[i].name);
    Diagnostic *d = report(e, UNKNOWN_ARGUMENT, a->span, owner, names_text(e->names, a->name));
    const char *near = diag_nearest(names_text(e->names, a->name), names, params->count);
    if (near) diag_help(d, "did you mean '%s'?", near);
    if (params->count && params->items[0].span.file)
        diag_note(d, params->items[0].span, "its parameters stand here");
}

/* "f(depth = …)": what is needed of its configuration. */
static const char *configuration_text(Elab *e, const Operator *op) {
    const ParamList *config = &op->item->def.config;
    const char *needed = "";
    for (uint32_t i = 0; i < config->count; i++)
        if (!config->items[i].value)
            needed = arena_format(e->arena, "%s%s%s = …", needed, *needed ? ", " : "",
                                  names_text(e->names, config->items[i].name));
    return arena_format(e->arena, "%s(%s)", operator_name(e, op), needed);
}

static const Value *not_configured(Elab *e, const Operator *op, Span span) {
    const char *name = operator_name(e, op), *configured = configuration_text(e, op);
    bool defaults = configured[strlen(name) + 1] == ')' && op->item->def.config.count;
    Diagnostic *d = report(e, NOT_CONFIGURED, span, name);
    if (defaults)
        diag_help(d, "%s(…) with its configuration, or %s for the defaults, is the operator", name,
                  configured);
    else
        diag_help(d, "%s is the operator", configured);
    return value_error(e);
}

/* `configured`: what the parameter configures; NULL: it is an input. */
static bool check_annotation(Elab *e, const Env *env, const Param *p, const Value *v,
                             const Operator *configured) {
    if (!p->type || v->kind == VALUE_ERROR) return true;
    const char *type = names_text(e->names, p->type), *name = names_text(e->names, p->name);
    bool ok = true;
    if (strcmp(type, "int") == 0 && value_is_field(e, v)) {
        ok = false;
    } else if (strcmp(type, "int") == 0) {
        int64_t n;
        return value_static_int(e, v, arena_format(e->arena, "'%s'", name), -1e15, 1e15, &n);
    } else if (strcmp(type, "number") == 0)
        ok = v->kind == VALUE_NUMBER || (v->kind == VALUE_NODE && !value_is_field(e, v));
    else if (strcmp(type, "field") == 0)
        ok = value_is_field(e, v);
    else if (strcmp(type, "function") == 0)
        ok = v->kind == VALUE_OPERATOR;
    else if (strcmp(type, "list") == 0)
        ok = v->kind == VALUE_LIST;
    else if (strcmp(type, "text") == 0)
        ok = v->kind == VALUE_STRING;
    if (!ok) {
        Diagnostic *d = report(e, WRONG_KIND, v->span, name, type, value_describe(e, v));
        diag_note(d, p->span, "the parameter stands here");
        if (configured && value_is_field(e, v))
            diag_help(d, "what it acts on comes in a second list: %s(…)",
                      configuration_text(e, configured));
        return false;
    }
    int64_t channels;
    if (p->channels && value_is_field(e, v) &&
        value_static_int(e, eval_expr(e, env, p->channels), "a number of channels", 1, 1e6,
                         &channels) &&
        value_type(e, v).channels != (uint32_t)channels) {
        Diagnostic *d =
            report(e, WRONG_CHANNELS, v->span, name, (unsigned)channels, value_type(e, v).channels);
        diag_note(d, p->span, "the parameter stands here");
        return false;
    }
    return true;
}

/* Fills `values` (one a parameter; some may be set already). `time` receives an argument `t` that is no
 * parameter; NULL where none may be given. */
static bool bind_arguments(Elab *e, const char *owner, const ParamList *params,
                           const Arguments *args, const Value **values, const Value **time) {
    uint32_t next = 0;
    bool ok = true;
    for (uint32_t i = 0; i < args->count; i++) {
        const Argument *a = &args->items[i];
        uint32_t at = params->count;
        if (a->name) {
            for (at = 0; at < params->count && params->items[at].name != a->name; at++) {}
            if (at == params->count && time && strcmp(names_text(e->names, a->name), "t") == 0) {
                *time = a->value;
                continue;
            }
            if (at == params->count) {
                unknown_argument(e, a, owner, params);
                ok = false;
                continue;
            }
        } else {
            while (next < params->count && values[next]) next++;
            at = next;
            if (at == params->count) {
                Diagnostic *d = report(e, TOO_MANY_ARGUMENTS, a->span, owner, params->count,
                                       params->count == 1 ? "" : "s");
                if (params->count) diag_note(d, params->items[0].span, "its parameters stand here");
                if (params->count == 1 && values[0]->kind == VALUE_NODE &&
                    a->value->kind == VALUE_NODE)
                    diag_help(d, "the state of a system is one argument, a list: [u, v]");
                return false;
            }
        }
        if (values[at]) {
            report(e, ARGUMENT_TWICE, a->span, names_text(e->names, params->items[at].name));
            ok = false;
            continue;
        }
        values[at] = a->value;
    }
    return ok;
}

/* Defaults for what was not given; the environment with all parameters bound. */
static const Env *bind_rest(Elab *e, const char *owner, const ParamList *params,
                            const Value **values, const Env *env, Span span,
                            const Operator *configured) {
    bool ok = true;
    for (uint32_t i = 0; i < params->count; i++) {
        const Param *p = &params->items[i];
        if (!values[i] && p->value) values[i] = eval_expr(e, env, p->value);
        if (!values[i]) {
            Diagnostic *d = report(e, MISSING_ARGUMENT, span, owner, names_text(e->names, p->name));
            diag_note(d, p->span, "the parameter stands here");
            ok = false;
            values[i] = value_error(e);
        }
        if (values[i]->kind == VALUE_ERROR)
            ok = false;
        else if (!check_annotation(e, env, p, values[i], configured))
            ok = false;
        env = env_bind(e, env, p->name, values[i], p->span);
    }
    return ok ? env : NULL;
}

static bool has_param(const ParamList *params, Name name) {
    for (uint32_t i = 0; i < params->count; i++)
        if (params->items[i].name == name) return true;
    return false;
}

/* Is it applied before it has its configuration, in which there are not as many? */
static bool is_applied(Elab *e, const Operator *op, const Arguments *args) {
    if (op->item->def.config.count >= args->count || args->count > op->item->def.inputs.count)
        return false;
    for (uint32_t i = 0; i < args->count; i++)
        if (args->items[i].name || !value_is_field(e, args->items[i].value)) return false;
    return true;
}

static const Value *configure(Elab *e, const Operator *op, const Arguments *args) {
    const ParamList *params = &op->item->def.config;
    Name time = names_of(e->names, "t");
    if (is_applied(e, op, args)) return not_configured(e, op, args->span);
    for (uint32_t i = 0; i < args->count; i++) /* a scheme applies it, and passes the time */
        if (args->items[i].name == time && !has_param(params, time))
            return not_configured(e, op, args->span);
    const Value **values = ARENA_ARRAY(e->arena, const Value *, params->count + 1);
    const char *owner = operator_name(e, op);
    if (!bind_arguments(e, owner, params, args, values, NULL)) return value_error(e);
    if (!bind_rest(e, owner, params, values, operator_env(op), args->span, op))
        return value_error(e);
    Operator *made = arena_copy(e->arena, op, sizeof *op);
    made->configured = true;
    made->config = values;
    made->span = args->span;
    bool holds = item_is_trainable(e, op->item, op->home);
    for (uint32_t i = 0; i < params->count && !holds; i++) holds = value_is_template(e, values[i]);
    if (holds) {
        made->instance = instance_at(e, made, args->span);
        instance_declare(e, made);
    }
    return value_operator(e, made, args->span);
}

/* ---- entering a definition ------------------------------------------------------------- */

bool elab_work(Elab *e, Span span) {
    if (e->work < WORK_LIMIT) {
        e->work++;
        return true;
    }
    if (e->work++ == WORK_LIMIT) {
        Diagnostic *d = report(e, TOO_MUCH_WORK, span, WORK_LIMIT);
        diag_help(d, "A^n and recurrences are loops, elaborated once however long they run");
    }
    return false;
}

static bool enter(Elab *e, const Operator *op, Span span) {
    if (!elab_work(e, span)) return false;
    if (e->depth < APPLY_DEPTH_LIMIT) {
        e->depth++;
        return true;
    }
    Diagnostic *d = report(e, ENDLESS_RECURSION, span, operator_name(e, op), APPLY_DEPTH_LIMIT);
    diag_help(d, "an operator that applies itself needs an `if` on a static number that ends it");
    return false;
}

/* `tau = stable` stands for stable(F, f): F is the first operator among the configuration, f the first input. */
static const Value *resolve_stable(Elab *e, const Operator *op, const Value *v,
                                   const Value *const *inputs, uint32_t count) {
    if (!value_is_builtin(v, "stable")) return v;
    const ParamList *params = &op->item->def.config;
    for (uint32_t i = 0; i < params->count; i++) {
        const Value *c = op->config[i];
        if (c->kind == VALUE_OPERATOR && !value_is_builtin(c, "stable") && count)
            return prove_stable(e, c->op, inputs[0], v->span);
    }
    Diagnostic *d = report(e, STABLE_WITHOUT_OPERATOR, v->span, operator_name(e, op));
    diag_help(d, "write stable(F, f) with the operator F and a field f");
    return value_error(e);
}

static const Value *apply_def(Elab *e, const Operator *op, const Value **inputs, const Value *time,
                              Span span) {
    const Item *item = op->item;
    const char *owner = operator_name(e, op);
    const ParamList *config = &item->def.config;
    const Env *env = env_coarse(e, operator_env(op), op->coarse);
    bool ok = true;
    for (uint32_t i = 0; item->def.has_config && i < config->count; i++) {
        const Value *v = resolve_stable(e, op, op->config[i], inputs, item->def.inputs.count);
        ok = ok && v->kind != VALUE_ERROR;
        env = env_bind(e, env, config->items[i].name, v, config->items[i].span);
    }
    if (!ok) return value_error(e);
    if (time) env = env_bind(e, env, names_of(e->names, "t"), time, time->span);
    env = bind_rest(e, owner, &item->def.inputs, inputs, env, span, NULL);
    if (!env) return value_error(e);
    if (!enter(e, op, span)) return value_error(e);
    Instance *outer = e->instance;
    uint64_t pass = e->pass;
    Local *local = e->local;
    Instance *own = instance_of_operator(e, op);
    bool solver = item->def.kind == DEF_SOLVER;
    if (solver && e->solvers++ == 0) {
        e->solver = op;
        e->solver_frame = e->frame;
    }
    if (own) {
        instance_used(e, own, NULL);
        e->instance = own;
        e->pass = 0;
        e->local = NULL;
    }
    const Value *v = item->def.value ? eval_expr(e, env, item->def.value)
                     : block_has_recurrence(item->def.block) && item->def.kind != DEF_PDE
                         ? eval_recurrence(e, env, item, item->def.block)
                         : eval_block(e, env, item, item->def.block);
    if (own && !e->declaring) own->open = false;
    if (solver && --e->solvers == 0) e->solver = NULL;
    /* of (A, b, x0): as solve says */
    if (solver && item->def.inputs.count == 3) v = with_sides_of(e, v, inputs[2]);
    e->instance = outer;
    e->pass = pass;
    e->local = local;
    e->depth--;
    return v;
}

/* Where the instances belong that are made in the body of a fn, of a local operator, or of the left side of an equation:
 * there it is always the same place and pass, wherever it is applied. */
static void enter_closure(Elab *e, const Operator *op) {
    Instance *own = op->kind == OPERATOR_FN ? instance_of_operator(e, op) : op->instance;
    if (!own) return;
    if (op->kind == OPERATOR_FN) instance_used(e, own, NULL);
    e->instance = own;
    e->pass = op->pass;
    e->local = op->local;
}

static const Value *apply_closure(Elab *e, const Operator *op, const ParamList *params,
                                  const Expr *body, const Value **values, Span span) {
    const Env *env = env_coarse(e, operator_env(op), op->coarse);
    env = bind_rest(e, operator_name(e, op), params, values, env, span, NULL);
    if (!env || !enter(e, op, span)) return value_error(e);
    Instance *outer = e->instance;
    uint64_t pass = e->pass;
    Local *local = e->local;
    enter_closure(e, op);
    const Value *v = eval_expr(e, env, body);
    if (op->local && !e->declaring) op->local->applied = true;
    if (op->kind == OPERATOR_FN && e->instance != outer && !e->declaring) e->instance->open = false;
    e->instance = outer;
    e->pass = pass;
    e->local = local;
    e->depth--;
    return v;
}

static const Value *apply_named(Elab *e, const Operator *op, const Arguments *args) {
    const ParamList *params = op->kind == OPERATOR_DEF  ? &op->item->def.inputs
                              : op->kind == OPERATOR_FN ? &op->item->fn.params
                                                        : &op->stmt->let_fn.params;
    const Value **values = ARENA_ARRAY(e->arena, const Value *, params->count + 1);
    const Value *time = NULL;
    /* an operator of n unknowns takes a list of n */
    if (params->count > 1 && args->count && !args->items[0].name &&
        args->items[0].value->kind == VALUE_LIST &&
        args->items[0].value->list.count == params->count &&
        (args->count == 1 || args->items[1].name)) {
        for (uint32_t i = 0; i < params->count; i++)
            values[i] = args->items[0].value->list.items[i];
        Arguments rest = {args->items + 1, args->count - 1, args->span};
        if (!bind_arguments(e, operator_name(e, op), params, &rest, values, &time))
            return value_error(e);
    } else if (!bind_arguments(e, operator_name(e, op), params, args, values, &time)) {
        return value_error(e);
    }
    if (op->kind == OPERATOR_DEF) return apply_def(e, op, values, time, args->span);
    if (op->kind == OPERATOR_FN)
        return apply_closure(e, op, params, op->item->fn.value, values, args->span);
    return apply_closure(e, op, params, op->stmt->let_fn.value, values, args->span);
}

static const Value *enter_unknown(Elab *e, const Operator *op, const Value *x, Span span) {
    if (!enter(e, op, span)) return value_error(e);
    Instance *outer = e->instance;
    uint64_t pass = e->pass;
    Local *local = e->local;
    enter_closure(e, op);
    const Value *v = apply_unknown(e, op, x, span);
    e->instance = outer;
    e->pass = pass;
    e->local = local;
    e->depth--;
    return v;
}

/* ---- operators made of operators ------------------------------------------------------------ */

typedef struct {
    const Operator *a;
    const Value *time, *like;
    Span span;
} PowerContext;

/* States of a loop come one by one; an operator of n unknowns wants them as a list. */
static bool power_body(Elab *e, void *context, const Value *k, const Value **states,
                       const Value **stop) {
    const PowerContext *p = context;
    (void)k, (void)stop;
    uint32_t n = p->like->kind == VALUE_LIST ? p->like->list.count : 1;
    const Value *in = states[0];
    if (p->like->kind == VALUE_LIST)
        in = value_list(e, arena_copy(e->arena, states, n * sizeof *states), n, p->span);
    const Value *out = apply_operator(e, p->a, &in, 1, p->time, p->span);
    if (out->kind == VALUE_ERROR) return false;
    if (p->like->kind != VALUE_LIST) {
        states[0] = out;
        return true;
    }
    if (out->kind != VALUE_LIST || out->list.count != n) {
        report(e, POWER_SHAPE, p->span);
        return false;
    }
    memcpy(states, out->list.items, n * sizeof *states);
    return true;
}

static const Value *apply_power(Elab *e, const Operator *op, const Value *u, const Value *time,
                                Span span) {
    if (op->count == 0) return u;
    if (op->count == 1) return apply_operator(e, op->a, &u, 1, time, span);
    bool list = u->kind == VALUE_LIST;
    uint32_t n = list ? u->list.count : 1;
    const Value **states = ARENA_ARRAY(e->arena, const Value *, n + 1);
    if (list)
        memcpy(states, u->list.items, n * sizeof *states);
    else
        states[0] = u;
    PowerContext context = {op->a, time, u, span};
    if (!build_loop(e, op->a->name, value_number(e, op->count, span), 0, states, n, power_body,
                    &context, span))
        return value_error(e);
    return list ? value_list(e, states, n, span) : states[0];
}

static const Value *apply_sum(Elab *e, const Operator *op, const Value *const *inputs,
                              uint32_t count, const Value *time, Span span) {
    const Value *sum = NULL;
    for (uint32_t i = 0; i < op->count; i++) {
        const Value *v = apply_operator(e, op->items[i], inputs, count, time, span);
        sum = sum ? eval_binary(e, AST_ADD, sum, v, span) : v;
    }
    return sum;
}

static const Value *apply_compose(Elab *e, const Operator *op, const Value *const *inputs,
                                  uint32_t count, const Value *time, Span span) {
    const Value *v = NULL;
    for (uint32_t i = op->count; i-- > 0;) {
        v = apply_operator(e, op->items[i], v ? &v : inputs, v ? 1 : count, time, span);
        if (v->kind == VALUE_ERROR) return v;
    }
    return v;
}

static const Value *apply_trajectory(Elab *e, const Operator *op, const Value *const *inputs,
                                     uint32_t count, const Value *time, Span span);

const Value *apply_operator(Elab *e, const Operator *op, const Value *const *inputs, uint32_t count,
                            const Value *time, Span span) {
    for (uint32_t i = 0; i < count; i++)
        if (inputs[i]->kind == VALUE_ERROR) return inputs[i];
    switch (op->kind) {
    case OPERATOR_DEF:
        if (op->item->def.has_config && !op->configured) return not_configured(e, op, span);
        /* fallthrough */
    case OPERATOR_FN:
    case OPERATOR_LOCAL:
    case OPERATOR_BUILTIN: {
        Arguments args = {ARENA_ARRAY(e->arena, Argument, count + 1), count, span};
        for (uint32_t i = 0; i < count; i++)
            args.items[i] = (Argument){0, inputs[i]->span, inputs[i], NULL};
        if (time && op->kind != OPERATOR_BUILTIN)
            args.items[args.count++] = (Argument){names_of(e->names, "t"), time->span, time, NULL};
        if (op->kind == OPERATOR_BUILTIN)
            return builtin_call(e, e->unit->globals, op->builtin, &args);
        if (op->kind != OPERATOR_DEF && time) args.count--; /* scalar functions know no time */
        return apply_named(e, op, &args);
    }
    default: break;
    }
    if (op->kind == OPERATOR_SUM) return apply_sum(e, op, inputs, count, time, span);
    if (op->kind == OPERATOR_COMPOSE) return apply_compose(e, op, inputs, count, time, span);
    if (op->kind == OPERATOR_SCALE)
        return eval_binary(e, AST_MUL, op->factor,
                           apply_operator(e, op->a, inputs, count, time, span), span);
    if (op->kind == OPERATOR_TRAJECTORY) return apply_trajectory(e, op, inputs, count, time, span);
    if (op->kind == OPERATOR_FLOW && count) { /* F([u, v]) or F(u, v) */
        const Value *list = count == 1 ? inputs[0] : NULL;
        if (!list)
            list = value_list(e, arena_copy(e->arena, inputs, count * sizeof *inputs), count, span);
        return apply_flow(e, op->a, list, time, span);
    }
    if (count != 1) {
        report(e, ONE_INPUT, span, count);
        return value_error(e);
    }
    switch (op->kind) {
    case OPERATOR_STENCIL: {
        bool odd[MAX_RANK] = {false, false, false};
        return derive_stencil(e, inputs[0], op->stencil, odd, span);
    }
    case OPERATOR_POWER: return apply_power(e, op, inputs[0], time, span);
    case OPERATOR_CONV: return apply_conv(e, op, inputs[0], span);
    case OPERATOR_UNKNOWN: return enter_unknown(e, op, inputs[0], span);
    case OPERATOR_PACKED: return apply_packed(e, op, inputs[0], span);
    case OPERATOR_ADJOINT: return apply_adjoint(e, op->a, inputs[0], span);
    case OPERATOR_JVP: return apply_jvp(e, op->a, op->factor, inputs[0], span);
    case OPERATOR_VJP: return apply_vjp(e, op->a, op->factor, inputs[0], span);
    default: return value_error(e);
    }
}

const Value *apply_one(Elab *e, const Operator *op, const Value *input, Span span) {
    return apply_operator(e, op, &input, 1, NULL, span);
}

const Value *apply(Elab *e, const Value *callee, const Arguments *args) {
    if (callee->kind != VALUE_OPERATOR) {
        Diagnostic *d = report(e, CANNOT_APPLY, callee->span, value_describe(e, callee));
        if (callee->kind == VALUE_NUMBER) diag_help(d, "a product is written with *");
        if (callee->kind == VALUE_SEQUENCE)
            diag_help(d, "the unknown of a recurrence has an index: u[k]");
        if (callee->kind == VALUE_PARAMETER)
            diag_help(d, "%s[0] is the first", names_text(e->names, callee->parameter->name));
        if (callee->kind == VALUE_CONV)
            diag_help(
                d, "its weights are a parameter of a network: param K = conv(1 -> 16, size = 5)");
        return value_error(e);
    }
    const Operator *op = callee->op;
    if (op->kind == OPERATOR_DEF && op->item->def.has_config && !op->configured)
        return configure(e, op, args);
    if (op->kind == OPERATOR_DEF || op->kind == OPERATOR_FN || op->kind == OPERATOR_LOCAL)
        return apply_named(e, op, args);
    if (op->kind == OPERATOR_BUILTIN) return builtin_call(e, e->unit->globals, op->builtin, args);
    const Value **inputs = ARENA_ARRAY(e->arena, const Value *, args->count + 1);
    const Value *time = NULL;
    uint32_t count = 0;
    for (uint32_t i = 0; i < args->count; i++) {
        const Argument *a = &args->items[i];
        if (a->name && strcmp(names_text(e->names, a->name), "t") == 0)
            time = a->value;
        else if (a->name) {
            report(e, UNKNOWN_ARGUMENT, a->span, "this operator", names_text(e->names, a->name));
            return value_error(e);
        } else
            inputs[count++] = a->value;
    }
    return apply_operator(e, op, inputs, count, time, args->span);
}

/* ---- trajectories ------------------------------------------------------------------------------ */

/* The loop node again, with states `which` collected. */
static Node collecting_loop(Elab *e, Node loop, const uint32_t *which, uint32_t count,
                            int64_t stride, Span span) {
    Func *f = graph_get(e->module, e->frame->func);
    Loop made = e->module->loops.data[graph_node(f, loop)->index];
    made.collect = arena_copy(e->arena, which, count * sizeof *which);
    made.collected = count;
    made.stride = stride;
    LoopId id = graph_loop(e->module, &made);
    uint32_t operands = graph_node(f, loop)->count;
    Node *copy = ARENA_ARRAY(e->arena, Node, operands);
    for (uint32_t i = 0; i < operands; i++) copy[i] = graph_operand(f, loop, i);
    return graph_add(e->module, e->frame->func, OP_LOOP, copy, operands, id, 0, span);
}

static bool is_loop_state(Elab *e, const Value *v, Node *loop, uint32_t *state) {
    if (v->kind != VALUE_NODE || v->node.frame != e->frame) return false;
    const Func *f = graph_get(e->module, e->frame->func);
    const NodeData *d = graph_node(f, v->node.node);
    if (d->op != OP_RESULT) return false;
    *loop = graph_operand(f, v->node.node, 0);
    *state = d->index;
    const NodeData *l = graph_node(f, *loop);
    return l->op == OP_LOOP && d->index < e->module->loops.data[l->index].states;
}

static const Value *apply_trajectory(Elab *e, const Operator *op, const Value *const *inputs,
                                     uint32_t count, const Value *time, Span span) {
    const Value *last = apply_operator(e, op->a, inputs, count, time, span);
    if (last->kind == VALUE_ERROR) return last;
    uint32_t n = last->kind == VALUE_LIST ? last->list.count : 1;
    uint32_t *states = ARENA_ARRAY(e->arena, uint32_t, n);
    Node loop = NODE_NONE, other = NODE_NONE;
    for (uint32_t i = 0; i < n; i++) {
        const Value *v = last->kind == VALUE_LIST ? last->list.items[i] : last;
        if (!is_loop_state(e, v, &other, &states[i]) || (loop && loop != other)) {
            Diagnostic *d = report(e, NO_TRAJECTORY, span, operator_name(e, op->a));
            diag_help(
                d,
                "trajectory() keeps the states of one recurrence: a scheme that returns u[steps] itself");
            return value_error(e);
        }
        loop = other;
    }
    double steps;
    const Func *f = graph_get(e->module, e->frame->func);
    if (!graph_is_const(f, graph_operand(f, loop, 0), &steps)) {
        Diagnostic *d = report(e, NOT_STATIC, span, "the number of steps of a film");
        diag_help(d, "room for all its frames is made before anything is computed: give a number");
        return value_error(e);
    }
    if (steps >= FAR_ITERATION) {
        Diagnostic *d = report(e, ENDLESS_TRAJECTORY, span);
        diag_help(
            d, "say when to give up, so that it is known how much to keep: until … or k >= 1000");
        return value_error(e);
    }
    Node made = collecting_loop(e, loop, states, n, op->count, span);
    uint32_t base =
        e->module->loops.data[graph_node(graph_get(e->module, e->frame->func), made)->index]
            .states +
        1;
    const Value **films = ARENA_ARRAY(e->arena, const Value *, n);
    for (uint32_t i = 0; i < n; i++)
        films[i] =
            value_node(e, graph_result(e->module, e->frame->func, made, base + i), NULL, span);
    return last->kind == VALUE_LIST ? value_list(e, films, n, span) : films[0];
}
