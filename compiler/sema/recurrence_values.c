/* Indices of recurrences, and values of the unknowns there: before the steps, in a step, after them. */
#include "compiler/sema/recurrence.h"
#include "compiler/sema/effect.h"
#include "compiler/sema/solve.h"
#include "compiler/sema/walk.h"

Unknown *recurrence_unknown(Recurrence *r, Name name) {
    for (uint32_t i = 0; i < r->count; i++)
        if (r->unknowns[i].name == name) return &r->unknowns[i];
    return NULL;
}

/* ---- indices -------------------------------------------------------------------------------- */

IndexKind recurrence_index(Elab *e, const Recurrence *r, const Env *env, const Expr *x,
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
                recurrence_index(e, r, env, a, &inner, value) == INDEX_RELATIVE &&
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

/* ---- values of the unknowns -------------------------------------------------------------------- */

const Value *unknown_bounded(Elab *e, const Env *env, const Unknown *u, const Value *v) {
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

const Value *unknown_gather(Elab *e, const Unknown *u, const Value **states, Span span) {
    if (!u->is_list) return states[0];
    return value_list(e, arena_copy(e->arena, states, u->parts * sizeof *states), u->parts, span);
}

bool unknown_given(const Unknown *u, int64_t index) {
    for (uint32_t i = 0; i < u->base_count; i++)
        if (u->bases[i].index == index) return true;
    return false;
}

const Value *unknown_base(Elab *e, const Unknown *u, int64_t index, Span span) {
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
    const Value *last = unknown_gather(e, u, r->states + u->first, u->span);
    return run_solver(e, r->body, u->solve, made, unknown_bounded(e, r->body, u, last));
}

const Value *unknown_next(Elab *e, Recurrence *r, Unknown *u, Span span) {
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
    u->next = unknown_bounded(e, r->body, u, v);
    const Value *state = r->states ? r->states[u->first] : NULL;
    if (!u->boundaries.len && !u->is_list && state && value_is_field(e, state) &&
        value_is_field(e, u->next) &&
        /* read in its own step, too, it has the sides of the state */
        type_equal(value_type(e, state), value_type(e, u->next)))
        u->next = value_node(e, value_to_node(e, u->next), boundary_like(e, state), u->next->span);
    return u->next;
}

const Value *recurrence_late(Elab *e, const Expr *x) {
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
    switch (recurrence_index(e, r, env, x->index.index, &offset, &value)) {
    case INDEX_RELATIVE: {
        if (offset == u->target) return u->trial ? u->trial : unknown_next(e, r, u, x->span);
        int64_t back = u->target - offset;
        if (back > 0 && back <= u->history)
            return value_at(
                e,
                unknown_bounded(
                    e, r->body, u,
                    unknown_gather(e, u, r->states + u->first + (back - 1) * u->parts, x->span)),
                x->span);
        report(e, FUTURE_INDEX, x->span, names_text(e->names, u->name),
               names_text(e->names, r->index), (long long)u->target);
        return value_error(e);
    }
    case INDEX_ABSOLUTE:
        if (offset < r->start + u->target || unknown_given(u, offset))
            return unknown_base(e, u, offset, x->span);
        return recurrence_late(e, x);
    case INDEX_BAD: return value_error(e);
    default: return recurrence_late(e, x);
    }
}

static const Value *index_in_return(Elab *e, Recurrence *r, Unknown *u, const Env *env,
                                    const Expr *x) {
    int64_t index = 0;
    const Value *value;
    IndexKind kind = recurrence_index(e, r, env, x->index.index, &index, &value);
    if (kind == INDEX_BAD) return value_error(e);
    int64_t back = kind == INDEX_ABSOLUTE ? r->last + u->target - index : 0;
    bool stepped = r->states && back >= 0 && back < u->history; /* of zero steps, what is given */
    if (kind == INDEX_ABSOLUTE &&
        (!stepped || (index < r->start + u->target && !unknown_given(u, index)))) {
        bool before = true; /* all that is given */
        for (uint32_t i = 0; i < u->base_count; i++) before = before && index < u->bases[i].index;
        if (!before) return unknown_base(e, u, index, x->span);
        Diagnostic *d =
            report(e, BEFORE_START, x->span, names_text(e->names, u->name), (long long)index);
        diag_help(d, "a recurrence runs forwards: its number of steps is 0 or more");
        return value_error(e);
    }
    return unknown_gather(e, u, r->states + u->first + back * u->parts, x->span);
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
    if (recurrence_index(e, r, env, x->index.index, &index, &value) != INDEX_ABSOLUTE)
        return value_error(e);
    return unknown_base(e, u, index, x->span);
}
