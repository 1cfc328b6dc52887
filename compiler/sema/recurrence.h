/* recurrence: what the files of recurrences share. Private to compiler/sema.
 *
 * recurrence_collect.c sorts the statements, recurrence_values.c knows what u[…] stands for, recurrence.c makes the loop. */
#ifndef PDN_SEMA_RECURRENCE_H
#define PDN_SEMA_RECURRENCE_H

#include "compiler/sema/value.h"

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

/* A recurrence for a walk over its expressions. */
typedef struct {
    Elab *e;
    Recurrence *r;
} Reader;

Unknown *recurrence_unknown(Recurrence *r, Name name); /* NULL: none of that name */

/* ---- recurrence_collect.c ---- */

typedef VEC(Unknown) Unknowns;
/* The names that equations of the block define, and that of the index: r->index, 0 where no equation has one. */
void recurrence_find(Elab *e, Recurrence *r, const Env *env, const Block *block, Unknowns *found);
/* Sorts the statements; r->failed after an error. */
void recurrence_collect(Elab *e, Recurrence *r, const Block *block);
/* What stands outside of the steps speaks of nothing that a statement of theirs gives; a name that was there before is
 * hidden by it. Else a message, and r->failed. */
bool recurrence_outside(Elab *e, Recurrence *r, const Expr *x);

/* ---- recurrence_values.c ---- */

/* `offset`: of k + offset, or a number that does not mention k; *value: what else it is, where value is not NULL. */
typedef enum { INDEX_BAD, INDEX_RELATIVE, INDEX_ABSOLUTE, INDEX_NODE, INDEX_END } IndexKind;
IndexKind recurrence_index(Elab *e, const Recurrence *r, const Env *env, const Expr *x,
                           int64_t *offset, const Value **value);
/* The message that a state which no start gives is known only once the steps are over. */
const Value *recurrence_late(Elab *e, const Expr *x);
bool unknown_given(const Unknown *u, int64_t index); /* is there a start for it? */
const Value *unknown_base(Elab *e, const Unknown *u, int64_t index,
                          Span span); /* that, or a message */
/* A value of the unknown from its states for one index. */
const Value *unknown_gather(Elab *e, const Unknown *u, const Value **states, Span span);
/* One of its values with its own `boundary` statements. */
const Value *unknown_bounded(Elab *e, const Env *env, const Unknown *u, const Value *v);
const Value *unknown_next(Elab *e, Recurrence *r, Unknown *u,
                          Span span); /* in the body: what the step makes */

#endif
