/* Names: every name of every definition, used or not, is known; named arguments exist. */
#include "compiler/sema/stdlib.h"
#include "compiler/sema/value.h"
#include "compiler/sema/walk.h"

#include <string.h>

typedef struct {
    Unit *unit;
    const Env *env;
    bool is_pde;
} Resolver;

static void resolve_block(Resolver *r, const Block *b);

static const Env *bind(Resolver *r, Name name, Span span) {
    Env *bound = ARENA_NEW(r->unit->arena, Env);
    *bound = (Env){r->env, name, NULL, span};
    r->env = bound;
    return bound;
}

void suggest_name(Unit *u, Diagnostic *d, const Env *env, Name wanted) {
    const char *name = names_text(u->context.names, wanted);
    VEC(const char *) all = {0};
    if (suggest_module(d, name)) return;
    for (; env; env = env->outer)
        if (env->name != ENV_COARSE) vec_push(&all, names_text(u->context.names, env->name));
    for (uint32_t i = 0; builtin_at(i); i++) vec_push(&all, builtin_at(i)->name);
    const char *near = diag_nearest(name, all.data, all.len);
    if (near) diag_help(d, "did you mean '%s'?", near);
    vec_free(&all);
}

/* Does the module define it: is there a line `operator name…`, or the like? */
static bool defines(const PdnModule *module, const char *name) {
    static const char *const words[] = {"fn", "operator", "pde", "scheme", "network", "solver"};
    size_t length = strlen(name);
    for (const char *line = module->bytes; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        for (size_t w = 0; w < sizeof words / sizeof *words; w++) {
            size_t word = strlen(words[w]);
            if (strncmp(line, words[w], word) != 0 || line[word] != ' ') continue;
            const char *at = line + word + 1;
            if (strncmp(at, name, length) == 0 && at[length] == '(') return true;
        }
    }
    return false;
}

bool suggest_module(Diagnostic *d, const char *name) {
    bool found = false;
    for (const PdnModule *m = pdn_stdlib; m->name; m++) {
        if (!defines(m, name)) continue;
        diag_help(d, "it stands in a module: use %s", m->name);
        found = true;
    }
    return found;
}

/* ---- expressions ------------------------------------------------------------------ */

static void unknown(Resolver *r, Name name, Span span) {
    Unit *u = r->unit;
    const char *text = names_text(u->context.names, name);
    Diagnostic *d = diag_report(u->context.diagnostics, DIAG_UNKNOWN_NAME, span, text);
    suggest_name(u, d, r->env, name);
}

static bool has_param(const ParamList *list, Name name) {
    for (uint32_t i = 0; i < list->count; i++)
        if (list->items[i].name == name) return true;
    return false;
}

/* Of whatever is called: builtins, grids and data take the one or the other. */
static void check_twice(Resolver *r, const Expr *x) {
    const Unit *u = r->unit;
    for (uint32_t i = 0; i < x->call.count; i++)
        for (uint32_t k = 0; k < i; k++) {
            const Arg *a = &x->call.args[i];
            if (!a->name || x->call.args[k].name != a->name) continue;
            diag_report(u->context.diagnostics, DIAG_ARGUMENT_TWICE, a->name_span,
                        names_text(u->context.names, a->name));
            break;
        }
}

/* Named arguments of calls whose callee is a definition by name. */
static void check_call(Resolver *r, const Expr *x) {
    if (x->call.callee->kind != EXPR_NAME) return;
    const Env *found = env_find(r->env, x->call.callee->name);
    if (!found || !found->value || found->value->kind != VALUE_OPERATOR) return;
    const Operator *op = found->value->op;
    const ParamList *params = op->kind == OPERATOR_FN    ? &op->item->fn.params
                              : op->item->def.has_config ? &op->item->def.config
                                                         : &op->item->def.inputs;
    Unit *u = r->unit;
    const char *owner = names_text(u->context.names, op->name);
    for (uint32_t i = 0; i < x->call.count; i++) {
        const Arg *a = &x->call.args[i];
        bool time = op->kind == OPERATOR_DEF && !op->item->def.has_config &&
                    strcmp(names_text(u->context.names, a->name), "t") == 0;
        if (!a->name || has_param(params, a->name) || time) continue;
        const char **names = ARENA_ARRAY(u->arena, const char *, params->count + 1);
        for (uint32_t k = 0; k < params->count; k++)
            names[k] = names_text(u->context.names, params->items[k].name);
        Diagnostic *d = diag_report(u->context.diagnostics, DIAG_UNKNOWN_ARGUMENT, a->name_span,
                                    owner, names_text(u->context.names, a->name));
        const char *near =
            diag_nearest(names_text(u->context.names, a->name), names, params->count);
        if (near) diag_help(d, "did you mean '%s'?", near);
        if (params->count) diag_note(d, params->items[0].span, "its parameters stand here");
    }
}

/* A word that a builtin reads, not a name. */
static bool is_word(const Resolver *r, const Expr *call, uint32_t i) {
    const Expr *callee = call->call.callee;
    const Arg *arg = &call->call.args[i];
    Names *names = r->unit->context.names;
    if (callee->kind != EXPR_NAME || arg->value->kind != EXPR_NAME) return false;
    bool bound = env_find(r->env, arg->value->name) || builtin_find(names, arg->value->name);
    return builtin_reads_word(names_text(names, callee->name), i,
                              arg->name ? names_text(names, arg->name) : "",
                              names_text(names, arg->value->name), bound);
}

static bool visit(void *context, const Expr *x) {
    Resolver *r = context;
    const Unit *u = r->unit;
    if (x->kind == EXPR_CALL) {
        check_twice(r, x);
        check_call(r, x);
        walk_expr(x->call.callee, visit, r);
        for (uint32_t i = 0; i < x->call.count; i++)
            if (!is_word(r, x, i)) walk_expr(x->call.args[i].value, visit, r);
        return false;
    }
    if (x->kind != EXPR_NAME) return true;
    if (env_find(r->env, x->name) || builtin_find(u->context.names, x->name)) return true;
    if (r->is_pde && strcmp(names_text(u->context.names, x->name), "t") == 0) return true;
    unknown(r, x->name, x->span);
    return true;
}

/* ---- blocks --------------------------------------------------------------------------- */

static bool bind_free(void *context, const Expr *x) {
    Resolver *r = context;
    if (x->kind == EXPR_NAME && !env_find(r->env, x->name) &&
        !builtin_find(r->unit->context.names, x->name))
        bind(r, x->name, x->span);
    return true;
}

static void bind_left(Resolver *r, const Expr *left) {
    if (left->kind == EXPR_INDEX && left->index.base->kind == EXPR_NAME)
        bind(r, left->index.base->name, left->index.base->span);
    else if (left->kind == EXPR_NAME)
        bind(r, left->name, left->span);
    for (uint32_t i = 0; left->kind == EXPR_LIST && i < left->list.count; i++)
        bind_left(r, left->list.items[i]);
}

/* All names that a block binds: recurrences may speak of what stands further down. */
static void bind_block(Resolver *r, const Block *b) {
    for (uint32_t i = 0; i < b->count; i++) {
        const Stmt *s = b->items[i];
        if (s->kind == STMT_LET)
            for (uint32_t k = 0; k < s->let.count; k++)
                bind(r, s->let.names[k].name, s->let.names[k].span);
        if (s->kind == STMT_LET_FN) bind(r, s->let_fn.name.name, s->let_fn.name.span);
        if (s->kind == STMT_PARAM) bind(r, s->param.name.name, s->param.name.span);
        if (s->kind == STMT_INPUT || s->kind == STMT_GRID || s->kind == STMT_DATA)
            bind(r, s->bind.name.name, s->bind.name.span);
        if (s->kind == STMT_EQUATION) bind_left(r, s->equation.left);
        if (s->kind == STMT_SOLVE) bind_left(r, s->solve.unknown);
        if (s->kind == STMT_IF) {
            bind_block(r, s->branch.then);
            if (s->branch.otherwise) bind_block(r, s->branch.otherwise);
        }
    }
    for (uint32_t i = 0; i < b->count;
         i++) { /* the index of a recurrence is free on its left side */
        const Stmt *s = b->items[i];
        const Expr *left = s->kind == STMT_EQUATION ? s->equation.left
                           : s->kind == STMT_SOLVE  ? s->solve.unknown
                                                    : NULL;
        if (left && left->kind == EXPR_INDEX) walk_expr(left->index.index, bind_free, r);
        if (s->kind == STMT_UNTIL || s->kind == STMT_EQUATION || s->kind == STMT_SOLVE)
            bind(r, names_of(r->unit->context.names, "end"), s->span);
    }
}

static void resolve_expr(Resolver *r, const Expr *x) { walk_expr(x, visit, r); }

static void resolve_list(Resolver *r, const ExprList *list) {
    for (uint32_t i = 0; i < list->count; i++) resolve_expr(r, list->items[i]);
}

static bool is_rate(const Unit *u, const Expr *left) {
    return left->kind == EXPR_CALL && left->call.callee->kind == EXPR_NAME &&
           strcmp(names_text(u->context.names, left->call.callee->name), "dt") == 0;
}

static void resolve_stmt(Resolver *r, const Stmt *s) {
    const Env *env = r->env;
    switch (s->kind) {
    case STMT_LET_FN:
        for (uint32_t i = 0; i < s->let_fn.params.count; i++)
            bind(r, s->let_fn.params.items[i].name, s->span);
        resolve_expr(r, s->let_fn.value);
        break;
    case STMT_EQUATION:
        if (is_rate(r->unit, s->equation.left)) {
            for (uint32_t i = 0; i < s->equation.left->call.count; i++)
                resolve_expr(r, s->equation.left->call.args[i].value);
        } else
            resolve_expr(r, s->equation.left);
        resolve_expr(r, s->equation.right);
        break;
    case STMT_IF:
        resolve_expr(r, s->branch.condition);
        resolve_block(r, s->branch.then);
        if (s->branch.otherwise) resolve_block(r, s->branch.otherwise);
        break;
    case STMT_FOR:
        resolve_expr(r, s->loop.range);
        bind(r, s->loop.name.name, s->loop.name.span);
        resolve_block(r, s->loop.body);
        break;
    case STMT_TRAIN:
        resolve_list(r, &s->train.what);
        if (s->train.on) resolve_expr(r, s->train.on);
        resolve_expr(r, s->train.count);
        resolve_expr(r, s->train.with);
        if (s->train.on_name.name) bind(r, s->train.on_name.name, s->train.on_name.span);
        resolve_block(r, s->train.body);
        break;
    case STMT_EVERY:
        resolve_expr(r, s->every.count);
        resolve_block(r, s->every.body);
        break;
    default: walk_stmt(s, visit, r);
    }
    r->env = env;
}

static void resolve_block(Resolver *r, const Block *b) {
    const Env *env = r->env;
    bind_block(r, b);
    for (uint32_t i = 0; i < b->count; i++) resolve_stmt(r, b->items[i]);
    r->env = env;
}

static void check_type(Resolver *r, const Param *p) {
    static const char *const types[] = {"int", "number", "field", "list", "text", "function"};
    const char *type = names_text(r->unit->context.names, p->type);
    if (!p->type) return;
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (strcmp(types[i], type) == 0) return;
    Diagnostic *d = diag_report(r->unit->context.diagnostics, DIAG_UNKNOWN_TYPE, p->span, type);
    diag_help(d, "int, number, field, field[3], list, text and function are");
}

static void bind_params(Resolver *r, const ParamList *list) {
    for (uint32_t i = 0; i < list->count; i++) {
        const Param *p = &list->items[i];
        if (p->value) resolve_expr(r, p->value);
        if (p->channels) resolve_expr(r, p->channels);
        check_type(r, p);
        for (uint32_t k = 0; k < i; k++)
            if (list->items[k].name == p->name)
                diag_report(r->unit->context.diagnostics, DIAG_PARAMETER_TWICE, p->span,
                            names_text(r->unit->context.names, p->name));
        bind(r, p->name, p->span);
    }
}

static void resolve_item(Resolver *r, const Item *item) {
    switch (item->kind) {
    case ITEM_LET: resolve_expr(r, item->let.value); break;
    case ITEM_FN:
        bind_params(r, &item->fn.params);
        resolve_expr(r, item->fn.value);
        break;
    case ITEM_DEF:
        r->is_pde = item->def.kind == DEF_PDE;
        bind_params(r, &item->def.config);
        bind_params(r, &item->def.inputs);
        if (item->def.value) resolve_expr(r, item->def.value);
        if (item->def.block) resolve_block(r, item->def.block);
        break;
    case ITEM_EXPERIMENT: resolve_block(r, item->experiment.block); break;
    case ITEM_TEST: resolve_block(r, item->test.block); break;
    default: break;
    }
}

void resolve_unit(Unit *u) {
    for (uint32_t h = 0; h < u->homes.len; h++) {
        const Home *home = u->homes.data[h];
        if (!home->program) continue;
        for (uint32_t i = 0; i < home->program->count; i++) {
            Resolver r = {u, home->env, false};
            resolve_item(&r, &home->program->items[i]);
        }
    }
}
