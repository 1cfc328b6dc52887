/* Statements of blocks: of operators and pdes, and of experiments and tests. */
#include "compiler/sema/data.h"
#include "compiler/sema/effect.h"
#include "compiler/sema/param.h"
#include "compiler/sema/solve.h"
#include "compiler/sema/train.h"
#include "compiler/sema/value.h"
#include "compiler/sema/walk.h"

#include <string.h>

typedef struct {
    const Env *env;
    const Item *item;      /* of a definition; NULL in experiments */
    const Value *returned; /* NULL while running */
    VEC(const Stmt *) equations;
    bool experiment, failed;
    bool inner;               /* of a loop over data, or `every` */
    TrainStatement *training; /* of `train`: takes minimise and every */
    void *context;
} Scope;

static void exec_block(Elab *e, Scope *s, const Block *block);

/* ---- let -------------------------------------------------------------------------- */

static const Env *bind_many(Elab *e, const Env *env, const Stmt *s, const Value *v) {
    uint32_t n = s->let.count;
    bool fits = v->kind == VALUE_LIST && v->list.count == n;
    if (!fits && v->kind != VALUE_ERROR) {
        Diagnostic *d = report(e, LIST_EXPECTED, s->let.value->span, n, value_describe(e, v));
        diag_help(d, "`let a, b = e` takes a list of two apart");
    }
    for (uint32_t i = 0; i < n; i++)
        env = env_bind(e, env, s->let.names[i].name, fits ? v->list.items[i] : value_error(e),
                       s->let.names[i].span);
    return env;
}

const Env *let_bind(Elab *e, const Env *env, const Stmt *s) {
    if (s->kind == STMT_LET_FN) {
        Operator *op = ARENA_NEW(e->arena, Operator);
        *op = (Operator){.kind = OPERATOR_LOCAL,
                         .span = s->span,
                         .name = s->let_fn.name.name,
                         .stmt = s,
                         .env = env,
                         .instance = e->instance,
                         .pass = e->pass,
                         .local = ARENA_NEW(e->arena, Local)};
        vec_adopt(e->arena, &op->local->used.instances);
        vec_adopt(e->arena, &op->local->used.parameters);
        return env_bind(e, env, s->let_fn.name.name, value_operator(e, op, s->span),
                        s->let_fn.name.span);
    }
    const Value *v = eval_expr(e, env, s->let.value);
    if (s->let.count == 1) return env_bind(e, env, s->let.names[0].name, v, s->let.names[0].span);
    return bind_many(e, env, s, v);
}

/* ---- control ------------------------------------------------------------------------- */

static void exec_if(Elab *e, Scope *s, const Stmt *stmt) {
    double c;
    const Value *v = eval_expr(e, s->env, stmt->branch.condition);
    if (!value_static(e, v, "a condition", &c)) {
        s->failed = true;
        return;
    }
    const Env *env = s->env;
    if (c != 0)
        exec_block(e, s, stmt->branch.then);
    else if (stmt->branch.otherwise)
        exec_block(e, s, stmt->branch.otherwise);
    s->env = env; /* what was bound inside stays inside */
}

static void exec_for(Elab *e, Scope *s, const Stmt *stmt) {
    const Value *range = eval_expr(e, s->env, stmt->loop.range);
    if (range->kind == VALUE_DATA && s->experiment) {
        each_statement(e, s->env, range, stmt);
        return;
    }
    if (range->kind != VALUE_LIST && range->kind != VALUE_RANGE) {
        if (range->kind != VALUE_ERROR) {
            Diagnostic *d =
                report(e, NOT_A_RANGE, stmt->loop.range->span, value_describe(e, range));
            diag_help(d, "ranges 0..n, lists [1, 2] and data sets are");
        }
        s->failed = true;
        return;
    }
    const Env *env = s->env;
    uint64_t pass = e->pass;
    double n =
        range->kind == VALUE_LIST ? range->list.count : range->range.last - range->range.first;
    if (n > UNROLL_LIMIT) {
        Diagnostic *d = report(e, TOO_MANY_PASSES, stmt->loop.range->span, n, UNROLL_LIMIT);
        diag_help(d, "a recurrence (u[k+1] = …) runs as a loop and may be as long as you like");
        s->failed = true;
        return;
    }
    for (double i = 0; i < n && !s->returned && !s->failed; i++) {
        if (!elab_work(e, stmt->loop.range->span)) {
            s->failed = true;
            break;
        }
        const Value *v = range->kind == VALUE_LIST
                             ? range->list.items[(uint32_t)i]
                             : value_number(e, range->range.first + i, stmt->span);
        s->env = env_bind(e, env, stmt->loop.name.name, v, stmt->loop.name.span);
        e->pass = hash_mix(pass, (uint64_t)i + 1);
        exec_block(e, s, stmt->loop.body);
    }
    e->pass = pass;
    s->env = env;
}

static void exec_return(Elab *e, Scope *s, const Stmt *stmt) {
    const ExprList *values = &stmt->ret.values;
    const Value **items = ARENA_ARRAY(e->arena, const Value *, values->count);
    for (uint32_t i = 0; i < values->count; i++) items[i] = eval_expr(e, s->env, values->items[i]);
    s->returned = values->count == 1 ? items[0] : value_list(e, items, values->count, stmt->span);
}

static void exec_grid(Elab *e, Scope *s, const Stmt *stmt) {
    const Value *v = eval_expr(e, s->env, stmt->bind.value);
    if (v->kind != VALUE_GRID && v->kind != VALUE_ERROR) {
        Diagnostic *d = report(e, NOT_A_GRID, stmt->bind.value->span, value_describe(e, v));
        diag_help(d, "box([0, 1], [0, 1], cells = [64, 64]) is one");
        v = value_error(e);
    }
    s->env = env_bind(e, s->env, stmt->bind.name.name, v, stmt->bind.name.span);
}

static void exec_input(Elab *e, Scope *s, const Stmt *stmt) {
    const Value *v = eval_expr(e, s->env, stmt->bind.value);
    for (uint32_t i = 0; i < e->options->count; i++)
        if (names_of(e->names, e->options->overrides[i].name) == stmt->bind.name.name) {
            e->used_overrides[i] = true;
            v = eval_override(e, &e->options->overrides[i], v->kind == VALUE_STRING);
        }
    s->env = env_bind(e, s->env, stmt->bind.name.name, v, stmt->bind.name.span);
}

static void exec_solve(Elab *e, Scope *s, const Stmt *stmt) {
    const Env *env = solve_bind(e, s->env, stmt);
    s->failed = !env;
    if (env) s->env = env;
}

/* Statements that only experiments have. */
static bool exec_experiment(Elab *e, Scope *s, const Stmt *stmt) {
    switch (stmt->kind) {
    case STMT_INPUT:
        if (s->inner) return false;
        exec_input(e, s, stmt);
        return true;
    case STMT_PRINT: effect_print(e, s->env, stmt); return true;
    case STMT_REPORT: effect_report(e, s->env, stmt); return true;
    case STMT_ASSERT: effect_assert(e, s->env, stmt); return true;
    case STMT_SAVE: effect_save(e, s->env, stmt); return true;
    case STMT_DATA: s->env = data_statement(e, s->env, stmt); return true;
    case STMT_TRAIN: train_statement(e, s->env, stmt); return true;
    case STMT_LOAD: load_statement(e, s->env, stmt); return true;
    default: return false;
    }
}

static void exec_stmt(Elab *e, Scope *s, const Stmt *stmt) {
    switch (stmt->kind) {
    case STMT_LET:
    case STMT_LET_FN: s->env = let_bind(e, s->env, stmt); return;
    case STMT_BOUNDARY: s->env = boundary_statement(e, s->env, s->env, stmt); return;
    case STMT_GRID: exec_grid(e, s, stmt); return;
    case STMT_IF: exec_if(e, s, stmt); return;
    case STMT_FOR: exec_for(e, s, stmt); return;
    case STMT_RETURN:
        if (s->item) {
            exec_return(e, s, stmt);
            return;
        }
        break;
    case STMT_EQUATION:
        if (s->item && s->item->def.kind == DEF_PDE) {
            vec_push(&s->equations, stmt);
            return;
        }
        break;
    case STMT_PARAM:
        if (s->item) {
            s->env = param_statement(e, s->env, stmt);
            return;
        }
        break;
    case STMT_MINIMISE:
    case STMT_EVERY:
        if (s->training) {
            s->failed = !s->training(s->context, s->env, stmt);
            return;
        }
        break;
    case STMT_SOLVE: exec_solve(e, s, stmt); return;
    case STMT_ERROR: s->failed = true; return;
    default: break;
    }
    if (s->experiment && exec_experiment(e, s, stmt)) return;
    bool an = s->experiment || (s->item && s->item->def.kind == DEF_OPERATOR);
    Diagnostic *d = report(e, MISPLACED, stmt->span, an ? "an" : "a",
                           s->training     ? "training"
                           : s->experiment ? "experiment"
                                           : ast_def_text(s->item->def.kind));
    if (stmt->kind == STMT_MINIMISE || stmt->kind == STMT_EVERY)
        diag_help(d, "it stands in the block of a `train` statement");
    else if (s->training)
        diag_help(d, "`every 1 epochs { … }` holds what is reported while it trains");
    if (stmt->kind == STMT_PARAM)
        diag_help(d, "parameters belong to definitions: network scale()(f) { param a = 1; … }");
    s->failed = true;
}

static void exec_block(Elab *e, Scope *s, const Block *block) {
    for (uint32_t i = 0; i < block->count && !s->returned && !s->failed; i++)
        exec_stmt(e, s, block->items[i]);
}

/* ---- pdes ------------------------------------------------------------------------------- */

/* The input whose time derivative stands on the left: dt(u). */
static int64_t derived_unknown(Elab *e, const Item *item, const Expr *left) {
    if (left->kind != EXPR_CALL || left->call.callee->kind != EXPR_NAME || left->call.count != 1 ||
        strcmp(names_text(e->names, left->call.callee->name), "dt") != 0 ||
        left->call.args[0].value->kind != EXPR_NAME)
        return -1;
    Name u = left->call.args[0].value->name;
    for (uint32_t i = 0; i < item->def.inputs.count; i++)
        if (item->def.inputs.items[i].name == u) return i;
    Diagnostic *d = report(e, NOT_AN_UNKNOWN, left->span, names_text(e->names, u),
                           names_text(e->names, item->name.name));
    diag_note(d, item->name.span, "the unknowns stand in its parameter list");
    return -2;
}

/* What an equation without dt leaves, left - right: 0 where it holds. */
static const Value *residual_of(Elab *e, const Scope *s, const Stmt *q) {
    const Value *left = eval_expr(e, s->env, q->equation.left);
    return eval_binary(e, AST_SUB, left, eval_expr(e, s->env, q->equation.right), q->span);
}

/* Stationary equations, as many as unknowns: their residuals, in their order. */
static const Value *evaluate_stationary(Elab *e, Scope *s) {
    const Item *item = s->item;
    uint32_t n = item->def.inputs.count;
    const Value **residuals = ARENA_ARRAY(e->arena, const Value *, s->equations.len + 1);
    if (s->equations.len != n) {
        report(e, EQUATION_COUNT, item->name.span, names_text(e->names, item->name.name),
               s->equations.len, s->equations.len == 1 ? "" : "s", n, n == 1 ? "" : "s");
        return value_error(e);
    }
    for (uint32_t i = 0; i < n; i++) {
        residuals[i] = residual_of(e, s, s->equations.data[i]);
        if (residuals[i]->kind == VALUE_ERROR) return residuals[i];
    }
    return n == 1 ? residuals[0] : value_list(e, residuals, n, item->span);
}

static const Value *evaluate_equations(Elab *e, Scope *s) {
    const Item *item = s->item;
    uint32_t n = item->def.inputs.count, given = 0, stationary = 0;
    const Value **rates = ARENA_ARRAY(e->arena, const Value *, n + 1);
    int64_t *places = ARENA_ARRAY(e->arena, int64_t, s->equations.len + 1);
    for (uint32_t i = 0; i < s->equations.len; i++) {
        places[i] = derived_unknown(e, item, s->equations.data[i]->equation.left);
        if (places[i] == -2) return value_error(e);
        stationary += places[i] == -1;
    }
    if (stationary == s->equations.len) return evaluate_stationary(e, s);
    for (uint32_t i = 0; i < s->equations.len; i++) {
        const Stmt *q = s->equations.data[i];
        int64_t at = places[i];
        if (at == -1) {
            Diagnostic *d = report(e, MIXED_EQUATIONS, q->span);
            diag_help(
                d,
                "solve it inside the right side of the evolution: solve … = … for psi with cg()");
            return value_error(e);
        }
        if (rates[at]) {
            report(e, EQUATION_TWICE, q->span,
                   names_text(e->names, item->def.inputs.items[at].name));
            return value_error(e);
        }
        rates[at] = eval_expr(e, s->env, q->equation.right);
        if (rates[at]->kind == VALUE_ERROR) return rates[at];
        given++;
    }
    for (uint32_t i = 0; i < n; i++)
        if (!rates[i]) {
            const char *u = names_text(e->names, item->def.inputs.items[i].name);
            Diagnostic *d =
                report(e, NO_EQUATION, item->name.span, names_text(e->names, item->name.name), u);
            diag_help(d,
                      "write dt(%s) = …; a given coefficient belongs into the first parameter list",
                      u);
            return value_error(e);
        }
    return given == 1 ? rates[0] : value_list(e, rates, n, item->span);
}

/* Boundaries of the inputs hold in the whole block, wherever they stand; those whose values need a `let` or
 * `param` of the block are set in their place. */
static void hoist_boundaries(Elab *e, Scope *s, const Block *block) {
    VEC(Name) local = {0};
    for (uint32_t i = 0; i < block->count; i++) {
        const Stmt *stmt = block->items[i];
        if (stmt->kind == STMT_LET)
            for (uint32_t k = 0; k < stmt->let.count; k++)
                vec_push(&local, stmt->let.names[k].name);
        if (stmt->kind == STMT_PARAM) vec_push(&local, stmt->param.name.name);
        if (stmt->kind == STMT_LET_FN || stmt->kind == STMT_GRID)
            vec_push(&local,
                     stmt->kind == STMT_GRID ? stmt->bind.name.name : stmt->let_fn.name.name);
    }
    for (uint32_t i = 0; i < block->count; i++) {
        const Stmt *stmt = block->items[i];
        if (stmt->kind != STMT_BOUNDARY ||
            expr_mentions(stmt->boundary.value, local.data, local.len))
            continue;
        bool inputs = true;
        for (uint32_t k = 0; k < stmt->boundary.count; k++)
            for (uint32_t l = 0; l < local.len; l++)
                inputs = inputs && local.data[l] != stmt->boundary.names[k].name;
        if (inputs) s->env = boundary_statement(e, s->env, s->env, stmt);
    }
    vec_free(&local);
}

const Value *eval_block(Elab *e, const Env *env, const Item *item, const Block *block) {
    Scope s = {.env = env, .item = item};
    uint32_t errors = diagnostics_errors(e->diagnostics);
    hoist_boundaries(e, &s, block);
    exec_block(e, &s, block);
    const Value *v = s.returned;
    bool silent = s.failed || diagnostics_errors(e->diagnostics) > errors;
    if (!v && s.equations.len && !silent) v = evaluate_equations(e, &s);
    vec_free(&s.equations);
    if (v) return v;
    if (!silent) {
        Diagnostic *d =
            report(e, NO_RETURN, item->name.span, names_text(e->names, item->name.name));
        diag_help(d, item->def.kind == DEF_PDE ? "give it an equation: dt(u) = …"
                                               : "end its block with: return …");
    }
    return value_error(e);
}

static void run_statements(Elab *e, const Env *env, const Block *block, bool inner) {
    Scope s = {.env = env, .experiment = true, .inner = inner};
    /* one statement that failed does not hide the others' errors: what it bound is an error, silently */
    for (uint32_t i = 0; i < block->count; i++) {
        s.failed = false;
        exec_stmt(e, &s, block->items[i]);
    }
}

void eval_experiment(Elab *e, const Env *env, const Block *block) {
    run_statements(e, env, block, false);
}

void eval_statements(Elab *e, const Env *env, const Block *block) {
    run_statements(e, env, block, true);
}

bool eval_training(Elab *e, const Env *env, const Block *block, TrainStatement *statement,
                   void *context) {
    Scope s = {.env = env, .training = statement, .context = context};
    exec_block(e, &s, block);
    return !s.failed;
}
