/* What the statements of a recurrence are: unknowns, starts, equations; those of the steps and those before them. */
#include "compiler/sema/recurrence.h"
#include "compiler/sema/param.h"
#include "compiler/sema/solve.h"
#include "compiler/sema/walk.h"

/* ---- finding the unknowns and the index --------------------------------------------------- */

static const Expr *left_index(const Stmt *s) {
    if (s->kind == STMT_EQUATION)
        return s->equation.left->kind == EXPR_INDEX ? s->equation.left : NULL;
    return s->kind == STMT_SOLVE && s->solve.unknown->kind == EXPR_INDEX ? s->solve.unknown : NULL;
}

typedef struct {
    Elab *e;
    Recurrence *r;
    const Env *env;
} Finder;

static bool find_index_name(void *context, const Expr *x) {
    Finder *f = context;
    if (x->kind == EXPR_NAME && !env_find(f->env, x->name) && !builtin_find(f->e->names, x->name) &&
        !f->r->index) {
        f->r->index = x->name;
        f->r->index_span = x->span;
    }
    return true;
}

void recurrence_find(Elab *e, Recurrence *r, const Env *env, const Block *block, Unknowns *found) {
    for (uint32_t i = 0; i < block->count; i++) {
        const Stmt *s = block->items[i];
        if (s->kind == STMT_LET) /* a let named like the index would be static: not the index */
            for (uint32_t k = 0; k < s->let.count; k++)
                env = env_bind(e, env, s->let.names[k].name, value_error(e), s->span);
        if (s->kind == STMT_IF) {
            recurrence_find(e, r, env, s->branch.then, found);
            if (s->branch.otherwise) recurrence_find(e, r, env, s->branch.otherwise, found);
        }
        const Expr *left = left_index(s);
        if (!left || left->index.base->kind != EXPR_NAME) continue;
        Finder f = {e, r, env};
        walk_expr(left->index.index, find_index_name, &f);
        bool known = false;
        for (uint32_t k = 0; k < found->len; k++)
            known = known || found->data[k].name == left->index.base->name;
        if (known) continue;
        Unknown u = {
            .name = left->index.base->name, .span = left->index.base->span, .oldest = INT64_MAX};
        vec_push(found, u);
    }
}

/* ---- collecting the statements --------------------------------------------------------------------- */

/* let r = f - u[steps]: the mistake is there, not where r is returned. */
static bool check_last(void *context, const Expr *x) {
    const Reader *reader = context;
    Recurrence *r = reader->r;
    if (x->kind != EXPR_INDEX || x->index.base->kind != EXPR_NAME) return !r->failed;
    Unknown *u = recurrence_unknown(r, x->index.base->name);
    if (!u || expr_mentions(x->index.index, &r->index, 1)) return !r->failed;
    int64_t index = 0;
    IndexKind kind = recurrence_index(reader->e, r, r->env, x->index.index, &index, NULL);
    r->failed = kind != INDEX_ABSOLUTE || !unknown_given(u, index);
    if (r->failed && kind != INDEX_BAD) recurrence_late(reader->e, x);
    return !r->failed;
}

static void check_let(Reader *reader, Name name) {
    for (uint32_t i = 0; i < reader->r->steps.len; i++) {
        const Stmt *s = reader->r->steps.data[i];
        for (uint32_t k = 0; s->kind == STMT_LET && k < s->let.count; k++)
            if (s->let.names[k].name == name) walk_expr(s->let.value, check_last, reader);
    }
}

static bool check_name(void *context, const Expr *x) {
    Reader *reader = context;
    Recurrence *r = reader->r;
    for (uint32_t i = r->count + (r->index != 0);
         x->kind == EXPR_NAME && !r->failed && i < r->moving.len; i++) {
        if (r->moving.data[i] != x->name) continue;
        check_let(reader, x->name);
        if (r->failed) return false;
        Diagnostic *d =
            report(reader->e, ONLY_IN_STEPS, x->span, names_text(reader->e->names, x->name));
        diag_help(
            d,
            "a recurrence gives its last states, return u[n]; what is made of them stands where this is applied");
        r->failed = true;
    }
    return !r->failed;
}

bool recurrence_outside(Elab *e, Recurrence *r, const Expr *x) {
    Reader reader = {e, r};
    walk_expr(x, check_name, &reader);
    return !r->failed;
}

static void add_base(Elab *e, Recurrence *r, Unknown *u, int64_t index, const Stmt *s) {
    if (!recurrence_outside(e, r, s->equation.right)) return;
    const Value *v = unknown_bounded(e, r->env, u, eval_expr(e, r->env, s->equation.right));
    for (uint32_t i = 0; i < u->base_count; i++)
        if (u->bases[i].index == index) {
            report(e, DEFINED_TWICE, s->equation.left->span, names_text(e->names, u->name),
                   (long long)index);
            r->failed = true;
            return;
        }
    if (u->base_count == BASES_MAX) {
        report(e, TOO_MUCH_HISTORY, s->span, BASES_MAX);
        r->failed = true;
        return;
    }
    if (v->kind == VALUE_ERROR) r->failed = true;
    u->bases[u->base_count++] = (Base){index, v};
}

static void add_equation(Elab *e, Recurrence *r, const Stmt *s) {
    const Expr *left = s->equation.left;
    if (left->kind != EXPR_INDEX || left->index.base->kind != EXPR_NAME) {
        Diagnostic *d = report(e, BAD_EQUATION, left->span);
        diag_help(d, "a recurrence defines u[0] = … and u[k+1] = …");
        r->failed = true;
        return;
    }
    Unknown *u = recurrence_unknown(r, left->index.base->name);
    int64_t offset;
    const Value *value;
    IndexKind kind = recurrence_index(e, r, r->env, left->index.index, &offset, &value);
    if (kind == INDEX_ABSOLUTE)
        add_base(e, r, u, offset, s);
    else if (kind == INDEX_RELATIVE && !u->right && !u->solve) {
        u->right = s->equation.right;
        u->target = offset;
    } else {
        if (kind == INDEX_RELATIVE)
            report(e, STEP_TWICE, left->span, names_text(e->names, u->name));
        else if (kind != INDEX_BAD)
            report(e, BAD_INDEX, left->index.index->span);
        r->failed = true;
    }
}

/* `solve … for u[k+1]`: the step of u is implicit. */
static void add_implicit(Elab *e, Recurrence *r, const Stmt *s) {
    const Expr *unknown = s->solve.unknown;
    Unknown *u = unknown->index.base->kind == EXPR_NAME
                     ? recurrence_unknown(r, unknown->index.base->name)
                     : NULL;
    r->failed = true;
    if (!u) {
        Diagnostic *d = report(e, NOT_TO_SOLVE_FOR, unknown->span);
        diag_help(d, "an implicit step is written: solve … = … for u[k+1] with SOLVER");
        return;
    }
    int64_t offset;
    IndexKind kind = recurrence_index(e, r, r->env, unknown->index.index, &offset, NULL);
    if (kind == INDEX_BAD) return;
    if (kind != INDEX_RELATIVE) {
        report(e, BAD_INDEX, unknown->index.index->span);
    } else if (u->right || u->solve) {
        report(e, STEP_TWICE, unknown->span, names_text(e->names, u->name));
    } else if (!expr_mentions(s->solve.left, &u->name, 1)) {
        report(e, NOT_MENTIONED, s->solve.left->span);
    } else {
        u->solve = s;
        u->target = offset;
        r->failed = false;
    }
}

static void note_moving(Recurrence *r, const Stmt *s) {
    if (s->kind == STMT_LET)
        for (uint32_t i = 0; i < s->let.count; i++) vec_push(&r->moving, s->let.names[i].name);
    else if (s->kind == STMT_SOLVE && s->solve.unknown->kind == EXPR_LIST)
        for (uint32_t i = 0; i < s->solve.unknown->list.count; i++)
            vec_push(&r->moving, s->solve.unknown->list.items[i]->name);
    else if (s->kind == STMT_SOLVE)
        vec_push(&r->moving, s->solve.unknown->name);
    else
        vec_push(&r->moving, s->let_fn.name.name);
}

/* A boundary of what changes from step to step. */
static bool of_moving(const Recurrence *r, const Stmt *s) {
    for (uint32_t i = 0; i < s->boundary.count; i++)
        for (uint32_t k = 0; k < r->moving.len; k++)
            if (r->moving.data[k] == s->boundary.names[i].name) return true;
    return false;
}

/* Of an unknown of the recurrence, or of the block: before the steps, or in each. */
static void collect_solve(Elab *e, Recurrence *r, const Stmt *s) {
    if (s->solve.unknown->kind == EXPR_INDEX) {
        add_implicit(e, r, s);
    } else if (stmt_mentions(s, r->moving.data, r->moving.len)) {
        vec_push(&r->steps, s);
        note_moving(r, s);
    } else {
        const Env *env = solve_bind(e, r->env, s);
        if (env) r->env = env;
        r->failed = !env;
    }
}

static void collect_stmt(Elab *e, Recurrence *r, const Stmt *s) {
    switch (s->kind) {
    case STMT_LET:
    case STMT_LET_FN:
        if (stmt_mentions(s, r->moving.data, r->moving.len)) {
            vec_push(&r->steps, s);
            note_moving(r, s);
        } else
            r->env = let_bind(e, r->env, s);
        break;
    case STMT_BOUNDARY:
        if (of_moving(r, s))
            vec_push(&r->steps, s);
        else
            r->env = boundary_statement(e, r->env, r->env, s);
        break;
    case STMT_EQUATION: add_equation(e, r, s); break;
    case STMT_UNTIL: r->until = s; break;
    case STMT_RETURN: r->ret = s; break;
    case STMT_IF: {
        double c;
        if (!recurrence_outside(e, r, s->branch.condition)) break;
        if (!value_static(e, eval_expr(e, r->env, s->branch.condition), "a condition", &c))
            r->failed = true;
        else if (c != 0)
            recurrence_collect(e, r, s->branch.then);
        else if (s->branch.otherwise)
            recurrence_collect(e, r, s->branch.otherwise);
        break;
    }
    case STMT_SOLVE: collect_solve(e, r, s); break;
    case STMT_PARAM: r->env = param_statement(e, r->env, s); break;
    default: report(e, MISPLACED, s->span, "a", "recurrence"); r->failed = true;
    }
}

/* Is it a boundary of the name, or one whose value mentions it? */
static bool bounds(const Stmt *boundary, Name name) {
    for (uint32_t n = 0; n < boundary->boundary.count; n++)
        if (boundary->boundary.names[n].name == name) return true;
    return expr_mentions(boundary->boundary.value, &name, 1);
}

/* Does the block give what the boundary needs? */
static bool block_lets(const Block *block, const Stmt *boundary) {
    for (uint32_t i = 0; i < block->count; i++) {
        const Stmt *s = block->items[i];
        if (s->kind == STMT_PARAM && bounds(boundary, s->param.name.name)) return true;
        for (uint32_t k = 0; s->kind == STMT_LET && k < s->let.count; k++)
            if (bounds(boundary, s->let.names[k].name)) return true;
    }
    return false;
}

/* Gives the unknowns of a `boundary` what it says; what is left of the statement for the others, or NULL. */
static const Stmt *unknowns_boundary(Elab *e, Recurrence *r, const Stmt *s) {
    NameAt *others = ARENA_ARRAY(e->arena, NameAt, s->boundary.count);
    uint32_t count = 0;
    for (uint32_t i = 0; i < s->boundary.count; i++) {
        Unknown *u = recurrence_unknown(r, s->boundary.names[i].name);
        if (u)
            vec_push(&u->boundaries, s);
        else
            others[count++] = s->boundary.names[i];
    }
    Stmt *rest = arena_copy(e->arena, s, sizeof *s);
    rest->boundary.names = others;
    rest->boundary.count = count;
    return count ? rest : NULL;
}

/* Boundaries of unknowns and of what the block was given hold in all of it; those of a `let`, and those
 * whose values need one or a `param`, from their place on. */
void recurrence_collect(Elab *e, Recurrence *r, const Block *block) {
    const Stmt **later = ARENA_ARRAY(e->arena, const Stmt *, block->count + 1);
    for (uint32_t i = 0; i < block->count; i++) {
        later[i] = block->items[i];
        if (later[i]->kind != STMT_BOUNDARY) continue;
        later[i] = unknowns_boundary(e, r, later[i]);
        if (!later[i] || block_lets(block, later[i])) continue;
        collect_stmt(e, r, later[i]);
        later[i] = NULL;
    }
    for (uint32_t i = 0; i < block->count && !r->failed; i++)
        if (later[i]) collect_stmt(e, r, later[i]);
}
