/* Recurrences: u[0] = …, u[k+1] = …, return u[steps].
 *
 * The right sides are elaborated once, as the body of a loop whose states are as much of each unknown's
 * history as they read. Statements that depend on k or on an unknown belong to the body, the others are
 * evaluated before it. */
#include "compiler/sema/recurrence.h"
#include "compiler/sema/solve.h"
#include "compiler/sema/walk.h"

#include <math.h>
#include <string.h>

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

static bool note_read(void *context, const Expr *x) {
    Reader *reader = context;
    if (x->kind != EXPR_INDEX || x->index.base->kind != EXPR_NAME) return true;
    Unknown *u = recurrence_unknown(reader->r, x->index.base->name);
    if (!u || !expr_mentions(x->index.index, &reader->r->index, 1)) return true;
    int64_t offset;
    if (recurrence_index(reader->e, reader->r, reader->r->env, x->index.index, &offset, NULL) !=
        INDEX_RELATIVE) {
        reader->r->failed = true;
        return false;
    }
    if (offset < u->oldest) u->oldest = offset;
    return true;
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

/* Is one of the numbers that the condition compares NaN? NODE_NONE: it compares nothing that could be. */
static Node unordered(Elab *e, Node condition) {
    FuncId func = e->frame->func;
    NodeData d = *graph_node(graph_get(e->module, func), condition);
    Node any = NODE_NONE;
    if (d.op == OP_AND || d.op == OP_OR || d.op == OP_NOT) {
        for (uint32_t i = 0; i < d.count; i++) {
            Node one = unordered(e, graph_operand(graph_get(e->module, func), condition, i));
            any = any && one ? graph_binary(e->module, func, OP_OR, any, one, d.span)
                  : any      ? any
                             : one;
        }
        return any;
    }
    if (d.op != OP_LT && d.op != OP_LE && d.op != OP_EQ && d.op != OP_NE) return NODE_NONE;
    Node a = graph_operand(graph_get(e->module, func), condition, 0);
    Node b = graph_operand(graph_get(e->module, func), condition, 1);
    Node k = graph_get(e->module, func)->params.data[0];
    Node to = a == k ? b : b == k ? a : NODE_NONE;
    double number;
    if (to && graph_is_const(graph_get(e->module, func), to, &number)) return NODE_NONE;
    Node least = graph_binary(e->module, func, OP_LE, a, b, d.span);
    Node most = graph_binary(e->module, func, OP_LT, b, a, d.span);
    Node ordered = graph_binary(e->module, func, OP_OR, least, most, d.span);
    return graph_unary(e->module, func, OP_NOT, ordered, d.span);
}

/* Steps end, too, when what they are judged by is NaN: it stays so, and what is made of the result will tell. */
static const Value *stop_of(Elab *e, const Value *condition, Span span) {
    if (condition->kind != VALUE_NODE || !value_is_scalar(e, condition)) return condition;
    Node stop = value_to_node(e, condition), nan = unordered(e, stop);
    if (!nan) return condition;
    return value_node(e, graph_binary(e->module, e->frame->func, OP_OR, stop, nan, span), NULL,
                      span);
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
        if (unknown_next(e, r, &r->unknowns[i], r->unknowns[i].span)->kind == VALUE_ERROR)
            return false;
    if (r->until) *stop = stop_of(e, eval_expr(e, r->body, r->until->expr.value), r->until->span);
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
    Unknown *u = recurrence_unknown(r, x->index.base->name);
    if (!u) return true;
    int64_t index = 0;
    const Value *value = NULL;
    IndexKind kind = recurrence_index(ret->e, r, r->env, x->index.index, &index, &value);
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
    Unknown *u = recurrence_unknown(ret->r, x->index.base->name);
    int64_t index;
    const Value *value;
    if (u && recurrence_index(ret->e, ret->r, ret->r->env, x->index.index, &index, &value) ==
                 INDEX_ABSOLUTE) {
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
            bool given = unknown_given(u, index);
            /* kept for the return alone: never read before it was computed */
            const Value *v = given || u->oldest <= u->target - 1 - (int64_t)j
                                 ? unknown_base(e, u, index, u->span)
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
        if (recurrence_outside(e, r, x)) walk_expr(x, note_returned, &ret);
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

/* Finds the unknowns, and names them in r->env. */
static Recurrence *open_recurrence(Elab *e, const Env *env, const Item *item, const Block *block) {
    Recurrence *r = ARENA_NEW(e->arena, Recurrence);
    Unknowns found = {0};
    recurrence_find(e, r, env, block, &found);
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
    return r;
}

/* How old the states are that the steps read. */
static void note_reads(Elab *e, Recurrence *r) {
    Reader reader = {e, r};
    for (uint32_t i = 0; i < r->count; i++)
        if (r->unknowns[i].solve)
            walk_stmt(r->unknowns[i].solve, note_read, &reader);
        else
            walk_expr(r->unknowns[i].right, note_read, &reader);
    for (uint32_t i = 0; i < r->steps.len; i++) walk_stmt(r->steps.data[i], note_read, &reader);
    if (r->until) walk_expr(r->until->expr.value, note_read, &reader);
}

/* From the last index, or what `until` says, to the number of steps. */
static const Value *steps_of(Elab *e, const Recurrence *r, const Value *count) {
    if (r->until) {
        double steps = last_by_until(e, r, r->until->expr.value) - (double)r->start + 1;
        return isfinite(steps) ? value_number(e, fmax(steps, 1), r->until->span) : count;
    }
    int64_t target = count->kind == VALUE_NUMBER ? 0 : r->unknowns[0].target;
    const Value *shift = value_number(e, (double)(r->start - 1 + target), r->ret->span);
    return eval_binary(e, AST_SUB, count, shift, r->ret->span);
}

const Value *eval_recurrence(Elab *e, const Env *env, const Item *item, const Block *block) {
    Recurrence *r = open_recurrence(e, env, item, block);
    recurrence_collect(e, r, block);
    if (r->failed || !check_unknowns(e, r)) return value_error(e);
    if (!r->ret) {
        Diagnostic *d =
            report(e, NO_RETURN, item->name.span, names_text(e->names, item->name.name));
        diag_help(d, "end with: return %s[steps]", names_text(e->names, r->unknowns[0].name));
        return value_error(e);
    }
    note_reads(e, r);
    const Value *count = r->failed ? NULL : step_count(e, r);
    uint32_t total = 0;
    const Value **states = count ? lay_out(e, r, &total) : NULL;
    if (!states) return value_error(e);
    count = steps_of(e, r, count);
    if (count->kind == VALUE_ERROR) return count;
    if (count->kind == VALUE_NUMBER && count->number < 0) return return_value(e, r);
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
