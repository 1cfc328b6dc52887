/* Expressions. */
#include "compiler/sema/param.h"
#include "compiler/sema/value.h"

#include <math.h>
#include <string.h>

static const Value *eval_global_let(Elab *e, const Item *item, const Home *home, Span span) {
    for (uint32_t i = 0; i < e->lets.len; i++) {
        if (e->lets.data[i].item != item) continue;
        if (e->lets.data[i].value) return e->lets.data[i].value;
        report(e, LET_CYCLE, span, names_text(e->names, item->name.name));
        return value_error(e);
    }
    GlobalLet let = {item, NULL};
    uint32_t at = e->lets.len;
    vec_push(&e->lets, let);
    const Elab outer = *e;
    /* its nodes may then be used from every frame, its networks are those of the program */
    e->frame = e->root;
    e->instance = e->program;
    e->pass = 0;
    e->local = NULL;
    e->global = true;
    const Value *v = eval_expr(e, home->env, item->let.value);
    e->frame = outer.frame;
    e->instance = outer.instance;
    e->pass = outer.pass;
    e->local = outer.local;
    e->global = outer.global;
    e->lets.data[at].value = v;
    return v;
}

static const Value *eval_name(Elab *e, const Env *env, const Expr *x) {
    const Env *found = env_find(env, x->name);
    if (found) {
        const Value *v = found->value;
        if (v->kind == VALUE_THUNK) v = eval_global_let(e, v->thunk.item, v->thunk.home, x->span);
        if (v->kind == VALUE_HIDDEN) {
            Diagnostic *d = report(e, ONLY_IN_STEPS, x->span, names_text(e->names, x->name));
            diag_help(
                d,
                "`every` holds statements of the experiment: for x in set { … } goes through samples");
            return value_error(e);
        }
        return value_at(e, value_coarse(e, v, env_marks(e, env, found), x->span), x->span);
    }
    const BuiltinInfo *info = builtin_find(e->names, x->name);
    if (info) return builtin_value(e, info, x->span);
    const char *name = names_text(e->names, x->name);
    if (strcmp(name, "t") == 0) {
        Diagnostic *d = report(e, NO_TIME, x->span);
        diag_help(
            d, "give it where the operator is applied: F(u, t = 0); the library's schemes do so");
        return value_error(e);
    }
    Diagnostic *d = report(e, UNKNOWN_NAME, x->span, name);
    suggest_name(e->unit, d, env, x->name);
    return value_error(e);
}

static const Value *eval_string(Elab *e, const Expr *x) {
    Value *v = value_new(e, VALUE_STRING, x->span);
    v->string.bytes = x->string.bytes;
    v->string.length = x->string.length;
    return v;
}

static const Value *eval_list(Elab *e, const Env *env, const Expr *x) {
    const Value **items = ARENA_ARRAY(e->arena, const Value *, x->list.count);
    for (uint32_t i = 0; i < x->list.count; i++) items[i] = eval_expr(e, env, x->list.items[i]);
    return value_list(e, items, x->list.count, x->span);
}

/* ---- members ---------------------------------------------------------------------- */

static const Value *grid_spacing(Elab *e, const Grid *g, const Expr *x, const char *member) {
    if (member[1] == 0) {
        for (uint32_t a = 1; a < g->rank; a++)
            if (g->spacing[a] != g->spacing[0]) {
                Diagnostic *d = report(e, SPACING_DIFFERS, x->span);
                diag_help(d, "hx, hy%s are the spacings of each axis", g->rank > 2 ? ", hz" : "");
                return value_error(e);
            }
        return value_number(e, g->spacing[0], x->span);
    }
    uint32_t axis = (uint32_t)(member[1] - 'x');
    return axis < g->rank ? value_number(e, g->spacing[axis], x->span) : NULL;
}

static const Value *grid_member(Elab *e, GridId grid, const Expr *x) {
    const Grid *g = &e->module->grids.data[grid];
    const char *m = names_text(e->names, x->member.name);
    const Value *v = NULL;
    if (strlen(m) == 1 && m[0] >= 'x' && m[0] <= 'z' && (uint32_t)(m[0] - 'x') < g->rank) {
        Node n = graph_add_typed(e->module, e->frame->func, OP_COORD, type_field(grid, 1), NULL, 0,
                                 (uint32_t)(m[0] - 'x'), 0, x->span);
        v = value_node(e, n, NULL, x->span);
    } else if (m[0] == 'h' && (m[1] == 0 || (m[1] >= 'x' && m[1] <= 'z' && m[2] == 0))) {
        v = grid_spacing(e, g, x, m);
    }
    if (v) return v;
    Diagnostic *d = report(e, NO_MEMBER, x->member.name_span, "a grid", m);
    static const char *const list[] = {"x and h", "x, y, h, hx and hy",
                                       "x, y, z, h, hx, hy and hz"};
    diag_help(d, "a grid of %u axes has %s", g->rank, list[g->rank - 1]);
    return value_error(e);
}

static const Value *operator_member(Elab *e, const Operator *op, const Expr *x) {
    Instance *own = op->kind == OPERATOR_DEF ? instance_of_operator(e, op) : NULL;
    for (uint32_t i = 0; own && i < own->parameters.len; i++)
        if (own->parameters.data[i]->name == x->member.name) {
            instance_used(e, own, own->parameters.data[i]);
            return parameter_value(e, own->parameters.data[i], x->span);
        }
    return NULL;
}

/* "K, lambda": the names of the instance's parameters, those that are like the one that was asked for first. */
static const char *parameter_list(Elab *e, const Instance *own, const char *wanted) {
    uint32_t n = own->parameters.len;
    const char **names = ARENA_ARRAY(e->arena, const char *, n + 1), *list = "";
    for (uint32_t i = 0; i < n; i++) names[i] = names_text(e->names, own->parameters.data[i]->name);
    for (uint32_t left = n; left > 0; left--) {
        const char *next = diag_nearest(wanted, names, left);
        uint32_t at = 0;
        while (next && names[at] != next) at++;
        list = arena_format(e->arena, "%s%s%s", list, left < n ? ", " : "", names[at]);
        memmove(names + at, names + at + 1, (left - 1 - at) * sizeof *names);
    }
    return list;
}

static void help_member(Elab *e, Diagnostic *d, const Value *base, const char *wanted) {
    const Operator *op =
        base->kind == VALUE_OPERATOR && base->op->kind == OPERATOR_DEF ? base->op : NULL;
    const Instance *own = op ? instance_of_operator(e, op) : NULL;
    if (own && own->parameters.len)
        diag_help(d, "its parameters are: %s", parameter_list(e, own, wanted));
    else if (op && value_is_template(e, base))
        diag_help(d,
                  "each configuration of it has parameters of its own: let net = %s(…), then net.K",
                  operator_name(e, op));
    else
        diag_help(
            d, "grids have members (G.h, G.x), and what holds parameters has them by name (net.K)");
}

/* A parameter that its definition declares, but that could not be made before it is applied, or whose statement is wrong,
 * which was reported. False: there is none. */
static bool found_later(Elab *e, const Value *base, const Expr *x) {
    const Operator *op = base->op;
    const Instance *own = op->kind == OPERATOR_DEF ? instance_of_operator(e, op) : NULL;
    if (!own || !block_declares(op->item->def.block, x->member.name) ||
        (!own->open && elab_sound(e)))
        return false;
    if (!elab_sound(e)) return true;
    e->errors++;
    Diagnostic *d = report(e, NOT_FOUND_YET, x->member.name_span, value_describe(e, base));
    diag_help(d, "apply it to a field before");
    return true;
}

static const Value *eval_member(Elab *e, const Env *env, const Expr *x) {
    const Value *base = eval_expr(e, env, x->member.base);
    if (base->kind == VALUE_ERROR) return base;
    if (base->kind == VALUE_GRID) return grid_member(e, base->grid, x);
    const Value *v = base->kind == VALUE_OPERATOR ? operator_member(e, base->op, x) : NULL;
    if (v) return v;
    if (base->kind == VALUE_OPERATOR && found_later(e, base, x)) return value_error(e);
    const char *wanted = names_text(e->names, x->member.name);
    help_member(e, report(e, NO_MEMBER, x->member.name_span, value_describe(e, base), wanted), base,
                wanted);
    return value_error(e);
}

/* ---- index ------------------------------------------------------------------------- */

static const Value *eval_index(Elab *e, const Env *env, const Expr *x) {
    const Value *base = eval_expr(e, env, x->index.base);
    if (base->kind == VALUE_ERROR) return base;
    if (base->kind == VALUE_SEQUENCE) return sequence_index(e, env, base, x);
    const Value *index = eval_expr(e, env, x->index.index);
    if (index->kind == VALUE_ERROR) return index;
    if (base->kind == VALUE_PARAMETER) return parameter_index(e, base, index, x->span);
    if (base->kind == VALUE_LIST) {
        int64_t i;
        if (!value_static_int(e, index, "the index of a list", 0, (double)base->list.count - 1, &i))
            return value_error(e);
        return value_at(e, base->list.items[i], x->span);
    }
    if (base->kind == VALUE_NODE && type_is_row(e->module, value_type(e, base)))
        return row_entry(e, base, index, x->span);
    if (base->kind == VALUE_NODE && value_type(e, base).kind == TYPE_STACK) {
        if (value_to_node(e, index)) return film_frame(e, base, index, x->span);
    }
    Diagnostic *d = report(e, CANNOT_INDEX, x->index.base->span, value_describe(e, base));
    diag_help(
        d,
        "lists, rows of numbers, films and the unknowns of a recurrence have an index; channel(u, i) takes a channel");
    return value_error(e);
}

/* ---- calls ------------------------------------------------------------------------------ */

Arguments eval_arguments(Elab *e, const Env *env, const Value *callee, const Expr *x) {
    Arguments a = {ARENA_ARRAY(e->arena, Argument, x->call.count), x->call.count, x->span};
    const BuiltinInfo *builtin =
        callee->kind == VALUE_OPERATOR && callee->op->kind == OPERATOR_BUILTIN ? callee->op->builtin
                                                                               : NULL;
    for (uint32_t i = 0; i < a.count; i++) {
        const Arg *arg = &x->call.args[i];
        a.items[i].name = arg->name;
        a.items[i].span = arg->name ? arg->name_span : arg->value->span;
        a.items[i].expr = arg->value;
        const char *text =
            arg->value->kind == EXPR_NAME ? names_text(e->names, arg->value->name) : "";
        bool bound =
            *text && (env_find(env, arg->value->name) || builtin_find(e->names, arg->value->name));
        if (*text && builtin &&
            builtin_reads_word(builtin->name, i, arg->name ? names_text(e->names, arg->name) : "",
                               text, bound)) {
            Value *v = value_new(e, VALUE_STRING, arg->value->span);
            v->string.bytes = text;
            v->string.length = (uint32_t)strlen(text);
            a.items[i].value = v;
        } else {
            bool init = arg->name && value_is_builtin(callee, "conv") &&
                        strcmp(names_text(e->names, arg->name), "init") == 0;
            const Value *v = init ? conv_init(e, env, arg->value) : NULL;
            a.items[i].value = v ? v : eval_expr(e, env, arg->value);
        }
    }
    return a;
}

static const Value *eval_call(Elab *e, const Env *env, const Expr *x) {
    const Value *callee = eval_expr(e, env, x->call.callee);
    if (callee->kind == VALUE_ERROR) return callee;
    Arguments arguments = eval_arguments(e, env, callee, x);
    for (uint32_t i = 0; i < arguments.count; i++)
        if (arguments.items[i].value->kind == VALUE_ERROR) return value_error(e);
    bool mine = !sources_is_library(e->unit->context.sources, x->span.file);
    if (mine) vec_push(&e->calls, x->span);
    const Value *v;
    if (callee->kind == VALUE_OPERATOR && callee->op->kind == OPERATOR_BUILTIN)
        v = builtin_call(e, env, callee->op->builtin, &arguments);
    else
        v = apply(e, callee, &arguments);
    if (mine) (void)vec_pop(&e->calls);
    return value_at(e, v, x->span);
}

const Value *eval_expr(Elab *e, const Env *env, const Expr *x) {
    switch (x->kind) {
    case EXPR_ERROR: return value_error(e);
    case EXPR_NAME: return eval_name(e, env, x);
    case EXPR_NUMBER: return value_number(e, x->number, x->span);
    case EXPR_STRING: return eval_string(e, x);
    case EXPR_BOOL: return value_number(e, x->boolean, x->span);
    case EXPR_LIST: return eval_list(e, env, x);
    case EXPR_CALL: return eval_call(e, env, x);
    case EXPR_INDEX: return eval_index(e, env, x);
    case EXPR_MEMBER: return eval_member(e, env, x);
    case EXPR_UNARY:
        return eval_unary(e, x->unary.op, eval_expr(e, env, x->unary.operand), x->span);
    case EXPR_BINARY: {
        const Value *a = eval_expr(e, env, x->binary.left);
        const Value *b = eval_expr(e, env, x->binary.right);
        return eval_binary(e, x->binary.op, a, b, x->span);
    }
    }
    return value_error(e);
}
