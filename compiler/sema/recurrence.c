/* Recurrences: u[0] = …, u[k+1] = …, return u[steps].
 *
 * The right sides are elaborated once, as the body of a loop whose states are as much of each unknown's
 * history as they read. Statements that depend on k or on an unknown belong to the body, the others are
 * evaluated before it. */
#include "compiler/sema/effect.h"
#include "compiler/sema/param.h"
#include "compiler/sema/solve.h"
#include "compiler/sema/value.h"
#include "compiler/sema/walk.h"

#include <math.h>
#include <string.h>

#define BASES_MAX   64
#define HISTORY_MAX 64

typedef struct {
    int64_t index;
    const Value *value;
} Base;

typedef struct {
    Name name;
    Span span;
    Base bases[BASES_MAX];
    uint32_t base_count;
    const Expr *right; /* of the step; NULL: none seen, or an implicit one */
    const Stmt *solve; /* an implicit step */
    int64_t target;    /* the step defines u[k + target] */
    int64_t oldest;    /* smallest offset read */
    bool is_list;
    uint32_t parts;   /* states for one index */
    uint32_t first;   /* of its states */
    uint32_t history; /* indices kept */
    VEC(const Stmt *) boundaries;
    /* during the body */
    const Value *next;
    /* in place of the next state while the left side of its `solve` is evaluated */
    const Value *trial;
    bool busy;
} Unknown;

typedef enum { PHASE_BASE, PHASE_BODY, PHASE_RETURN } Phase;

struct Recurrence {
    Unknown *unknowns;
    uint32_t count;
    Name index; /* k */
    Span index_span;
    Phase phase;
    const Env *env;          /* what is known before the body */
    const Env *body;         /* in the body */
    VEC(const Stmt *) steps; /* statements of the body */
    VEC(Name) moving;        /* k, the unknowns, and what depends on them */
    const Stmt *until, *ret;
    const Value **states;
    int64_t start, last; /* first k; k of the last step (unless `end`) */
    bool failed;
};

bool block_has_recurrence(const Block *block) {
    for (uint32_t i = 0; i < block->count; i++) {
        const Stmt *s = block->items[i];
        if (s->kind == STMT_EQUATION && s->equation.left->kind == EXPR_INDEX) return true;
        if (s->kind == STMT_IF &&
            (block_has_recurrence(s->branch.then) ||
             (s->branch.otherwise && block_has_recurrence(s->branch.otherwise))))
            return true;
        if (s->kind == STMT_SOLVE && s->solve.unknown->kind == EXPR_INDEX) return true;
    }
    return false;
}

static Unknown *find_unknown(Recurrence *r, Name name) {
    for (uint32_t i = 0; i < r->count; i++)
        if (r->unknowns[i].name == name) return &r->unknowns[i];
    return NULL;
}

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

typedef VEC(Unknown) Unknowns;

static void find_unknowns(Elab *e, Recurrence *r, const Env *env, const Block *block,
                          Unknowns *found) {
    for (uint32_t i = 0; i < block->count; i++) {
        const Stmt *s = block->items[i];
        if (s->kind == STMT_LET) /* a let named like the index would be static: not the index */
            for (uint32_t k = 0; k < s->let.count; k++)
                env = env_bind(e, env, s->let.names[k].name, value_error(e), s->span);
        if (s->kind == STMT_IF) {
            find_unknowns(e, r, env, s->branch.then, found);
            if (s->branch.otherwise) find_unknowns(e, r, env, s->branch.otherwise, found);
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

/* ---- indices -------------------------------------------------------------------------------- */

typedef enum { INDEX_BAD, INDEX_RELATIVE, INDEX_ABSOLUTE, INDEX_NODE, INDEX_END } IndexKind;

/* k + offset, or a number that does not mention k. */
static IndexKind read_index(Elab *e, const Recurrence *r, const Env *env, const Expr *x,
                            int64_t *offset, const Value **value) {
    if (x->kind == EXPR_NAME && x->name == r->index) {
        *offset = 0;
        return INDEX_RELATIVE;
    }
    if (r->index && expr_mentions(x, &r->index, 1)) {
        if (x->kind == EXPR_BINARY && (x->binary.op == AST_ADD || x->binary.op == AST_SUB)) {
            const Expr *a = x->binary.left, *b = x->binary.right;
            if (x->binary.op == AST_ADD && expr_mentions(b, &r->index, 1))
                a = b, b = x->binary.left;
            int64_t inner, add;
            if (!expr_mentions(b, &r->index, 1) &&
                read_index(e, r, env, a, &inner, value) == INDEX_RELATIVE &&
                value_static_int(e, eval_expr(e, env, b), "an offset of the index", -HISTORY_MAX,
                                 HISTORY_MAX, &add)) {
                *offset = inner + (x->binary.op == AST_ADD ? add : -add);
                return INDEX_RELATIVE;
            }
        }
        Diagnostic *d = report(e, BAD_INDEX, x->span);
        diag_help(d, "%s, %s + 1, %s - 2 are", names_text(e->names, r->index),
                  names_text(e->names, r->index), names_text(e->names, r->index));
        return INDEX_BAD;
    }
    const Value *v = eval_expr(e, env, x);
    if (value) *value = v;
    if (v->kind == VALUE_END) return INDEX_END;
    if (v->kind == VALUE_NODE && value_type(e, v).kind == TYPE_SCALAR) return INDEX_NODE;
    return value_static_int(e, v, "the index of a recurrence", -1e9, 1e15, offset) ? INDEX_ABSOLUTE
                                                                                   : INDEX_BAD;
}

typedef struct {
    Elab *e;
    Recurrence *r;
} Reader;

static bool note_read(void *context, const Expr *x) {
    Reader *reader = context;
    if (x->kind != EXPR_INDEX || x->index.base->kind != EXPR_NAME) return true;
    Unknown *u = find_unknown(reader->r, x->index.base->name);
    if (!u || !expr_mentions(x->index.index, &reader->r->index, 1)) return true;
    int64_t offset;
    if (read_index(reader->e, reader->r, reader->r->env, x->index.index, &offset, NULL) !=
        INDEX_RELATIVE) {
        reader->r->failed = true;
        return false;
    }
    if (offset < u->oldest) u->oldest = offset;
    return true;
}

/* ---- values of the unknowns -------------------------------------------------------------------- */

/* The unknown's own `boundary` statements, on one of its values. */
static const Value *with_boundaries(Elab *e, const Env *env, const Unknown *u, const Value *v) {
    if (!u->boundaries.len || v->kind == VALUE_ERROR) return v;
    const Env *bound = env_bind(e, NULL, u->name, v, u->span);
    for (uint32_t i = 0; i < u->boundaries.len; i++) {
        Stmt one = *u->boundaries.data[i];
        NameAt name = {u->name, u->span};
        one.boundary.names = &name;
        one.boundary.count = 1;
        bound = boundary_statement(e, env, bound, &one);
    }
    return env_find(bound, u->name)->value;
}

static const Value *gather(Elab *e, const Unknown *u, const Value **states, Span span) {
    if (!u->is_list) return states[0];
    return value_list(e, arena_copy(e->arena, states, u->parts * sizeof *states), u->parts, span);
}

static bool is_given(const Unknown *u, int64_t index) {
    for (uint32_t i = 0; i < u->base_count; i++)
        if (u->bases[i].index == index) return true;
    return false;
}

static const Value *base_value(Elab *e, const Unknown *u, int64_t index, Span span) {
    for (uint32_t i = 0; i < u->base_count; i++)
        if (u->bases[i].index == index) return u->bases[i].value;
    Diagnostic *d = report(e, NOT_STARTED, span, names_text(e->names, u->name), (long long)index);
    diag_help(d, "give it: %s[%lld] = …", names_text(e->names, u->name), (long long)index);
    return value_error(e);
}

const Value *recurrence_try(Elab *e, Recurrence *r, uint32_t unknown, const Value *x,
                            const Env *env, const Expr *left) {
    Unknown *u = &r->unknowns[unknown];
    const Value *outer = u->trial;
    u->trial = x;
    const Value *v = eval_expr(e, env, left);
    u->trial = outer;
    return v;
}

/* The solution of an implicit step; the iteration starts at the last known state. */
static const Value *solved_value(Elab *e, Recurrence *r, Unknown *u) {
    Operator *made = ARENA_NEW(e->arena, Operator);
    made->env = r->body;
    made->recurrence = r;
    made->unknown = (uint32_t)(u - r->unknowns);
    const Value *last = gather(e, u, r->states + u->first, u->span);
    return run_solver(e, r->body, u->solve, made, with_boundaries(e, r->body, u, last));
}

static const Value *next_value(Elab *e, Recurrence *r, Unknown *u, Span span) {
    if (u->next) return u->next;
    const char *name = names_text(e->names, u->name);
    if (u->busy) {
        Diagnostic *d =
            report(e, IMPLICIT, span, name, names_text(e->names, r->index), (long long)u->target);
        diag_help(d, "an implicit step is written: solve … = … for %s[%s+%lld] with SOLVER", name,
                  names_text(e->names, r->index), (long long)u->target);
        return value_error(e);
    }
    u->busy = true;
    const Value *v = u->solve ? solved_value(e, r, u) : eval_expr(e, r->body, u->right);
    u->busy = false;
    u->next = with_boundaries(e, r->body, u, v);
    const Value *state = r->states ? r->states[u->first] : NULL;
    if (!u->boundaries.len && !u->is_list && state && value_is_field(e, state) &&
        value_is_field(e, u->next) &&
        /* read in its own step, too, it has the sides of the state */
        type_equal(value_type(e, state), value_type(e, u->next)))
        u->next = value_node(e, value_to_node(e, u->next), boundary_like(e, state), u->next->span);
    return u->next;
}

/* A state that no start gives is known once the steps are over. */
static const Value *last_in_step(Elab *e, const Expr *x) {
    const char *text = source_text(e, x->span);
    diag_help(
        report(e, LAST_IN_STEP, x->span, text),
        "only `return` speaks of the last states, and of what is made of them: return f - %s, say",
        text);
    return value_error(e);
}

static const Value *index_in_body(Elab *e, Recurrence *r, Unknown *u, const Env *env,
                                  const Expr *x) {
    int64_t offset;
    const Value *value;
    switch (read_index(e, r, env, x->index.index, &offset, &value)) {
    case INDEX_RELATIVE: {
        if (offset == u->target) return u->trial ? u->trial : next_value(e, r, u, x->span);
        int64_t back = u->target - offset;
        if (back > 0 && back <= u->history)
            return value_at(
                e,
                with_boundaries(
                    e, r->body, u,
                    gather(e, u, r->states + u->first + (back - 1) * u->parts, x->span)),
                x->span);
        report(e, FUTURE_INDEX, x->span, names_text(e->names, u->name),
               names_text(e->names, r->index), (long long)u->target);
        return value_error(e);
    }
    case INDEX_ABSOLUTE:
        if (offset < r->start + u->target || is_given(u, offset))
            return base_value(e, u, offset, x->span);
        return last_in_step(e, x);
    case INDEX_BAD: return value_error(e);
    default: return last_in_step(e, x);
    }
}

static const Value *index_in_return(Elab *e, Recurrence *r, Unknown *u, const Env *env,
                                    const Expr *x) {
    int64_t index = 0;
    const Value *value;
    IndexKind kind = read_index(e, r, env, x->index.index, &index, &value);
    if (kind == INDEX_BAD) return value_error(e);
    int64_t back = kind == INDEX_ABSOLUTE ? r->last + u->target - index : 0;
    bool stepped = r->states && back >= 0 && back < u->history; /* of zero steps, what is given */
    if (kind == INDEX_ABSOLUTE &&
        (!stepped || (index < r->start + u->target && !is_given(u, index)))) {
        bool before = true; /* all that is given */
        for (uint32_t i = 0; i < u->base_count; i++) before = before && index < u->bases[i].index;
        if (!before) return base_value(e, u, index, x->span);
        Diagnostic *d =
            report(e, BEFORE_START, x->span, names_text(e->names, u->name), (long long)index);
        diag_help(d, "a recurrence runs forwards: its number of steps is 0 or more");
        return value_error(e);
    }
    return gather(e, u, r->states + u->first + back * u->parts, x->span);
}

const Value *sequence_index(Elab *e, const Env *env, const Value *sequence, const Expr *x) {
    Recurrence *r = sequence->sequence.recurrence;
    Unknown *u = &r->unknowns[sequence->sequence.unknown];
    if (r->phase == PHASE_BODY) {
        const Value *v = index_in_body(e, r, u, env, x);
        return v == u->trial ? v : value_coarse(e, v, sequence->sequence.coarse, x->span);
    }
    if (r->phase == PHASE_RETURN) return index_in_return(e, r, u, env, x);
    int64_t index;
    const Value *value;
    if (read_index(e, r, env, x->index.index, &index, &value) != INDEX_ABSOLUTE)
        return value_error(e);
    return base_value(e, u, index, x->span);
}

/* ---- collecting the statements --------------------------------------------------------------------- */

/* let r = f - u[steps]: the mistake is there, not where r is returned. */
static bool check_last(void *context, const Expr *x) {
    const Reader *reader = context;
    Recurrence *r = reader->r;
    if (x->kind != EXPR_INDEX || x->index.base->kind != EXPR_NAME) return !r->failed;
    Unknown *u = find_unknown(r, x->index.base->name);
    if (!u || expr_mentions(x->index.index, &r->index, 1)) return !r->failed;
    int64_t index = 0;
    IndexKind kind = read_index(reader->e, r, r->env, x->index.index, &index, NULL);
    r->failed = kind != INDEX_ABSOLUTE || !is_given(u, index);
    if (r->failed && kind != INDEX_BAD) last_in_step(reader->e, x);
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

/* What stands outside of the steps speaks of nothing that a statement of theirs gives; a name that was there before is
 * hidden by it. */
static bool is_outside(Elab *e, Recurrence *r, const Expr *x) {
    Reader reader = {e, r};
    walk_expr(x, check_name, &reader);
    return !r->failed;
}

static void add_base(Elab *e, Recurrence *r, Unknown *u, int64_t index, const Stmt *s) {
    if (!is_outside(e, r, s->equation.right)) return;
    const Value *v = with_boundaries(e, r->env, u, eval_expr(e, r->env, s->equation.right));
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
    Unknown *u = find_unknown(r, left->index.base->name);
    int64_t offset;
    const Value *value;
    IndexKind kind = read_index(e, r, r->env, left->index.index, &offset, &value);
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
    Unknown *u =
        unknown->index.base->kind == EXPR_NAME ? find_unknown(r, unknown->index.base->name) : NULL;
    r->failed = true;
    if (!u) {
        Diagnostic *d = report(e, NOT_TO_SOLVE_FOR, unknown->span);
        diag_help(d, "an implicit step is written: solve … = … for u[k+1] with SOLVER");
        return;
    }
    int64_t offset;
    IndexKind kind = read_index(e, r, r->env, unknown->index.index, &offset, NULL);
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

static void collect(Elab *e, Recurrence *r, const Block *block);

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
        if (!is_outside(e, r, s->branch.condition)) break;
        if (!value_static(e, eval_expr(e, r->env, s->branch.condition), "a condition", &c))
            r->failed = true;
        else if (c != 0)
            collect(e, r, s->branch.then);
        else if (s->branch.otherwise)
            collect(e, r, s->branch.otherwise);
        break;
    }
    case STMT_SOLVE: collect_solve(e, r, s); break;
    case STMT_PARAM: r->env = param_statement(e, r->env, s); break;
    default: report(e, MISPLACED, s->span, "a", "recurrence"); r->failed = true;
    }
}

static bool block_lets(const Block *block, const Stmt *boundary) {
    for (uint32_t i = 0; i < block->count; i++) {
        const Stmt *s = block->items[i];
        for (uint32_t k = 0; s->kind == STMT_LET && k < s->let.count; k++)
            for (uint32_t n = 0; n < boundary->boundary.count; n++)
                if (s->let.names[k].name == boundary->boundary.names[n].name) return true;
    }
    return false;
}

/* Gives the unknowns of a `boundary` what it says; what is left of the statement for the others, or NULL. */
static const Stmt *unknowns_boundary(Elab *e, Recurrence *r, const Stmt *s) {
    NameAt *others = ARENA_ARRAY(e->arena, NameAt, s->boundary.count);
    uint32_t count = 0;
    for (uint32_t i = 0; i < s->boundary.count; i++) {
        Unknown *u = find_unknown(r, s->boundary.names[i].name);
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

/* Boundaries of unknowns and of what the block was given hold in all of it; those of a `let` from their place on. */
static void collect(Elab *e, Recurrence *r, const Block *block) {
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

/* ---- the body ----------------------------------------------------------------------------------------- */

/* The states of the loop that is being made carry the places of their names. */
static void name_states(Elab *e, const Recurrence *r, const Value **states) {
    for (uint32_t i = 0; i < r->count; i++) {
        const Unknown *u = &r->unknowns[i];
        for (uint32_t p = 0; p < u->parts * u->history; p++) {
            Node n = states[u->first + p]->node.node;
            graph_node(graph_get(e->module, e->frame->func), n)->span = u->span;
        }
    }
}

static bool recurrence_body(Elab *e, void *context, const Value *k, const Value **states,
                            const Value **stop) {
    Recurrence *r = context;
    name_states(e, r, states);
    r->phase = PHASE_BODY;
    r->states = states;
    r->body = env_bind(e, r->env, r->index, k, r->index_span);
    for (uint32_t i = 0; i < r->count; i++) r->unknowns[i].next = NULL;
    for (uint32_t i = 0; i < r->steps.len; i++) {
        const Stmt *s = r->steps.data[i];
        r->body = s->kind == STMT_BOUNDARY ? boundary_statement(e, r->body, r->body, s)
                  : s->kind == STMT_SOLVE  ? solve_bind(e, r->body, s)
                                           : let_bind(e, r->body, s);
        if (!r->body) return false;
    }
    for (uint32_t i = 0; i < r->count; i++)
        if (next_value(e, r, &r->unknowns[i], r->unknowns[i].span)->kind == VALUE_ERROR)
            return false;
    if (r->until) *stop = eval_expr(e, r->body, r->until->expr.value);
    for (uint32_t i = 0; i < r->count; i++) {
        Unknown *u = &r->unknowns[i];
        const Value **own = states + u->first;
        memmove(own + u->parts, own, (u->history - 1) * u->parts * sizeof *own);
        bool fits = u->is_list ? u->next->kind == VALUE_LIST && u->next->list.count == u->parts
                               : u->next->kind != VALUE_LIST;
        if (!fits) {
            report(e, STATE_CHANGES, (u->solve ? u->solve->solve.left : u->right)->span,
                   names_text(e->names, u->name));
            return false;
        }
        if (u->is_list)
            memcpy(own, u->next->list.items, u->parts * sizeof *own);
        else
            own[0] = u->next;
    }
    return true;
}

/* ---- how far ------------------------------------------------------------------------------------------- */

typedef struct {
    Elab *e;
    Recurrence *r;
    bool any, end;
    const Value *node; /* a count known only at run time */
    int64_t node_offset;
} Returned;

static bool note_returned(void *context, const Expr *x) {
    Returned *ret = context;
    Recurrence *r = ret->r;
    if (x->kind != EXPR_INDEX || x->index.base->kind != EXPR_NAME) return true;
    Unknown *u = find_unknown(r, x->index.base->name);
    if (!u) return true;
    int64_t index = 0;
    const Value *value = NULL;
    IndexKind kind = read_index(ret->e, r, r->env, x->index.index, &index, &value);
    if (kind == INDEX_BAD || kind == INDEX_RELATIVE) {
        if (kind == INDEX_RELATIVE) report(ret->e, RETURNED_INDEX, x->span);
        r->failed = true;
    } else if (kind == INDEX_END)
        ret->end = true;
    else if (kind == INDEX_NODE) {
        ret->node = value;
        ret->node_offset = u->target;
    } else if (!ret->any || index - u->target > r->last)
        r->last = index - u->target;
    ret->any = true;
    return !r->failed;
}

static bool note_history(void *context, const Expr *x) {
    Returned *ret = context;
    if (x->kind != EXPR_INDEX || x->index.base->kind != EXPR_NAME) return true;
    Unknown *u = find_unknown(ret->r, x->index.base->name);
    int64_t index;
    const Value *value;
    if (u &&
        read_index(ret->e, ret->r, ret->r->env, x->index.index, &index, &value) == INDEX_ABSOLUTE) {
        int64_t back = ret->r->last + u->target - index + 1;
        if (back > u->history && back <= HISTORY_MAX) u->history = (uint32_t)back;
    }
    return true;
}

static bool check_unknowns(Elab *e, Recurrence *r) {
    for (uint32_t i = 0; i < r->count; i++) {
        Unknown *u = &r->unknowns[i];
        const char *name = names_text(e->names, u->name);
        if (!u->right && !u->solve) {
            Diagnostic *d = report(e, NO_STEP, u->span, name);
            diag_help(d, "a recurrence needs %s[k+1] = …", name);
            return false;
        }
        if (!u->base_count) {
            Diagnostic *d = report(e, NO_START, u->span, name);
            diag_help(d, "a recurrence needs a start, %s[0] = …", name);
            return false;
        }
    }
    return true;
}

/* Start, history and the flat list of states of all unknowns. */
static const Value **lay_out(Elab *e, Recurrence *r, uint32_t *total) {
    r->start = INT64_MIN;
    for (uint32_t i = 0; i < r->count; i++) {
        Unknown *u = &r->unknowns[i];
        int64_t latest = INT64_MIN;
        for (uint32_t b = 0; b < u->base_count; b++)
            if (u->bases[b].index > latest) latest = u->bases[b].index;
        if (latest - u->target + 1 > r->start) r->start = latest - u->target + 1;
        if (u->oldest != INT64_MAX && u->target - u->oldest > HISTORY_MAX) {
            report(e, TOO_MUCH_HISTORY, u->span, HISTORY_MAX);
            return NULL;
        }
        u->history = u->oldest == INT64_MAX || u->oldest >= u->target
                         ? 1
                         : (uint32_t)(u->target - u->oldest);
    }
    Returned ret = {.e = e, .r = r};
    if (!r->until)
        for (uint32_t i = 0; i < r->ret->ret.values.count; i++)
            walk_expr(r->ret->ret.values.items[i], note_history, &ret);
    *total = 0;
    for (uint32_t i = 0; i < r->count; i++) {
        Unknown *u = &r->unknowns[i];
        const Value *any = u->bases[0].value;
        u->is_list = any->kind == VALUE_LIST;
        u->parts = u->is_list ? any->list.count : 1;
        u->first = *total;
        *total += u->parts * u->history;
    }
    const Value **states = ARENA_ARRAY(e->arena, const Value *, *total + 1);
    for (uint32_t i = 0; i < r->count; i++) {
        Unknown *u = &r->unknowns[i];
        for (uint32_t j = 0; j < u->history; j++) {
            int64_t index = r->start + u->target - 1 - j;
            bool given = is_given(u, index);
            /* kept for the return alone: never read before it was computed */
            const Value *v = given || u->oldest <= u->target - 1 - (int64_t)j
                                 ? base_value(e, u, index, u->span)
                                 : u->bases[0].value;
            if (v->kind == VALUE_ERROR) return NULL;
            if ((v->kind == VALUE_LIST ? v->list.count : 1) != u->parts ||
                (v->kind == VALUE_LIST) != u->is_list) {
                report(e, STATE_CHANGES, v->span, names_text(e->names, u->name));
                return NULL;
            }
            for (uint32_t p = 0; p < u->parts; p++)
                states[u->first + j * u->parts + p] = u->is_list ? v->list.items[p] : v;
        }
    }
    return states;
}

static const Value *return_value(Elab *e, Recurrence *r) {
    r->phase = PHASE_RETURN;
    const ExprList *values = &r->ret->ret.values;
    if (values->count == 1) return eval_expr(e, r->env, values->items[0]);
    const Value **items = ARENA_ARRAY(e->arena, const Value *, values->count);
    for (uint32_t i = 0; i < values->count; i++) items[i] = eval_expr(e, r->env, values->items[i]);
    return value_list(e, items, values->count, r->ret->span);
}

/* The number of steps: from the indices that are returned. NULL after an error. */
static const Value *step_count(Elab *e, Recurrence *r) {
    Span span = r->ret->span;
    Returned ret = {.e = e, .r = r};
    for (uint32_t i = 0; i < r->ret->ret.values.count; i++) {
        const Expr *x = r->ret->ret.values.items[i];
        if (is_outside(e, r, x)) walk_expr(x, note_returned, &ret);
    }
    if (r->failed) return NULL;
    if (ret.end || r->until) {
        if (!r->until || !ret.end) {
            if (r->until)
                diag_help(report(e, UNTIL_WITHOUT_END, span), "return u[end], the last state");
            else
                diag_help(report(e, END_WITHOUT_UNTIL, span),
                          "`until` says when a recurrence ends");
            return NULL;
        }
        return value_number(e, FAR_ITERATION, span);
    }
    if (!ret.any) {
        Diagnostic *d = report(e, RETURNS_NO_STATE, span);
        diag_help(d, "return u[steps], say");
        return NULL;
    }
    return ret.node ? ret.node : value_number(e, (double)r->last, span);
}

/* The k of the last step at the latest: `until e or k >= 100` says so. INFINITY: not known. */
static double last_by_until(Elab *e, const Recurrence *r, const Expr *x) {
    if (x->kind != EXPR_BINARY) return INFINITY;
    const Expr *a = x->binary.left, *b = x->binary.right;
    AstOp op = x->binary.op;
    if (op == AST_OR) return fmin(last_by_until(e, r, a), last_by_until(e, r, b));
    if (op == AST_LT || op == AST_LE) { /* c < k */
        op = op == AST_LT ? AST_GT : AST_GE;
        a = x->binary.right;
        b = x->binary.left;
    }
    if ((op != AST_GT && op != AST_GE && op != AST_EQ) || a->kind != EXPR_NAME ||
        a->name != r->index || expr_mentions(b, r->moving.data, r->moving.len))
        return INFINITY;
    const Value *v = eval_expr(e, r->env, b);
    if (v->kind != VALUE_NUMBER || !isfinite(v->number) || fabs(v->number) > 1e9) return INFINITY;
    if (op == AST_EQ)
        return v->number == floor(v->number) && v->number >= (double)r->start ? v->number
                                                                              : INFINITY;
    return op == AST_GT ? floor(v->number) + 1 : ceil(v->number);
}

typedef struct {
    Name tau;
    bool found;
} StepSize;

/* tau * F(…): then the step is linear in tau. */
static bool find_step_size(void *context, const Expr *x) {
    StepSize *s = context;
    s->found = s->found || (x->kind == EXPR_BINARY && x->binary.op == AST_MUL &&
                            x->binary.left->kind == EXPR_NAME && x->binary.left->name == s->tau &&
                            x->binary.right->kind == EXPR_CALL);
    return true;
}

/* What the certificate of the loop that was made last needs to say of it. */
static void note_scheme(Elab *e, const Recurrence *r, Span span) {
    Loop *made = &vec_last(&e->module->loops);
    StepSize size = {names_of(e->names, "tau"), false};
    const Env *tau = env_find(r->env, size.tau);
    made->call = e->calls.len ? vec_last(&e->calls) : span;
    walk_expr(r->unknowns[0].right, find_step_size, &size);
    if (size.found && tau && tau->value && tau->value->kind == VALUE_NUMBER)
        made->tau = tau->value->number;
}

const Value *eval_recurrence(Elab *e, const Env *env, const Item *item, const Block *block) {
    Recurrence *r = ARENA_NEW(e->arena, Recurrence);
    Unknowns found = {0};
    find_unknowns(e, r, env, block, &found);
    r->unknowns = arena_copy(e->arena, found.data, found.len * sizeof *found.data);
    r->count = found.len;
    vec_free(&found);
    for (uint32_t i = 0; i < r->count; i++) vec_adopt(e->arena, &r->unknowns[i].boundaries);
    vec_adopt(e->arena, &r->steps);
    vec_adopt(e->arena, &r->moving);
    r->env = env;
    if (r->index) vec_push(&r->moving, r->index);
    for (uint32_t i = 0; i < r->count; i++) {
        Value *v = value_new(e, VALUE_SEQUENCE, r->unknowns[i].span);
        v->sequence.recurrence = r;
        v->sequence.unknown = i;
        r->env = env_bind(e, r->env, r->unknowns[i].name, v, r->unknowns[i].span);
        vec_push(&r->moving, r->unknowns[i].name);
    }
    Value *end = value_new(e, VALUE_END, item->span);
    r->env = env_bind(e, r->env, names_of(e->names, "end"), end, item->span);
    collect(e, r, block);
    if (r->failed || !check_unknowns(e, r)) return value_error(e);
    if (!r->ret) {
        Diagnostic *d =
            report(e, NO_RETURN, item->name.span, names_text(e->names, item->name.name));
        diag_help(d, "end with: return %s[steps]", names_text(e->names, r->unknowns[0].name));
        return value_error(e);
    }
    Reader reader = {e, r};
    for (uint32_t i = 0; i < r->count; i++)
        if (r->unknowns[i].solve)
            walk_stmt(r->unknowns[i].solve, note_read, &reader);
        else
            walk_expr(r->unknowns[i].right, note_read, &reader);
    for (uint32_t i = 0; i < r->steps.len; i++) walk_stmt(r->steps.data[i], note_read, &reader);
    if (r->until) walk_expr(r->until->expr.value, note_read, &reader);
    const Value *count = r->failed ? NULL : step_count(e, r);
    uint32_t total = 0;
    const Value **states = count ? lay_out(e, r, &total) : NULL;
    if (!states) return value_error(e);
    if (!r->until) { /* from the last index to the number of steps */
        Unknown *u = &r->unknowns[0];
        double shift = count->kind == VALUE_NUMBER ? (double)(r->start - 1)
                                                   : (double)(r->start - 1 + u->target);
        count = eval_binary(e, AST_SUB, count, value_number(e, shift, r->ret->span), r->ret->span);
        if (count->kind == VALUE_ERROR) return count;
        if (count->kind == VALUE_NUMBER && count->number < 0) return return_value(e, r);
    }
    if (r->until) {
        double steps = last_by_until(e, r, r->until->expr.value) - (double)r->start + 1;
        if (isfinite(steps)) count = value_number(e, fmax(steps, 1), r->until->span);
    }
    if (!build_loop(e, item->name.name, count, r->start, states, total, recurrence_body, r,
                    item->name.span))
        return value_error(e);
    FuncId body = vec_last(&e->module->loops).body;
    if (item->def.kind != DEF_SOLVER) note_scheme(e, r, item->name.span);
    if (total == 1 && vec_last(&e->module->loops).states == 1 &&
        refute_step(e, body, r->env, item->name.span))
        return value_error(e);
    r->states = states;
    return return_value(e, r);
}
