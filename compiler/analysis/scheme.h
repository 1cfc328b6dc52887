/* scheme: a loop as theorems look at it: the step as a function of its fields, with what is known put in its place. */
#ifndef PDN_ANALYSIS_SCHEME_H
#define PDN_ANALYSIS_SCHEME_H

#include "compiler/analysis/certificate.h"

/* What is known of every node of a function that is a number, a row of numbers or a stack of those. */
typedef struct {
    FuncId func;
    uint32_t count; /* nodes */
    Fact *fact;     /* by node */
} Level;

/* A step for one k, or for all of them at once: a function of the fields, then of what else it needs, without k. What
 * is known are constants; numbers that are not known but lie in a range are clamped to it. */
typedef struct {
    FuncId func;
    uint32_t fields;  /* its first parameters, and its results: the next ones */
    const Fact *fact; /* by parameter */
} Step;

enum { ANY_STEP = INT64_MIN };

typedef struct {
    Module *module;
    Arena *arena;
    FuncId body; /* (k, states…, captured…) to the next states, calls put in place */
    uint32_t states, fields;
    const uint32_t *field; /* numbers of the states that are fields */
    bool history;          /* one unknown and its past: field i + 1 becomes field i */
    bool same_start;       /* all fields start from one and the same */
    bool moving;           /* the step depends on k, or on numbers that recur */
    bool frames;           /* it reads its own weights from a stack */
    int64_t start, count;  /* count -1: not known */
    const Fact *param;     /* by parameter of the body, k and the fields aside */
    const uint8_t *varies; /* by node of the body: depends on a field */
    const uint8_t *moves;  /* depends on k, or on numbers that recur */
    uint32_t nodes;        /* of the body, when varies and moves were made */
    double tau;            /* the step size, as the program says it; 0: it does not */
    uint32_t depth;        /* loops around */
} Scheme;

/* The scheme of a LOOP node of a function; NULL where there is none to speak of. Lives in the arena; the functions that
 * it makes stay until operator_release. */
Scheme *scheme_of_loop(Module *module, const Level *level, Node loop, uint32_t depth, Arena *arena);
/* Node `result` as one step that starts from node `from`. */
Scheme *scheme_of_nodes(Module *module, const Level *level, Node from, Node result, uint32_t depth,
                        Arena *arena);
Certificate scheme_certify(Scheme *scheme);

Level level_new(Module *module, FuncId func, const Facts *facts, Arena *arena);
Level scheme_level(Scheme *scheme, int64_t k);
Step scheme_step(Scheme *scheme, int64_t k);
/* The same with other nodes of the body as results; a field `also` of the body (NODE_NONE: none) is one more parameter,
 * after the fields. */
Step scheme_step_of(Scheme *scheme, int64_t k, const Node *results, uint32_t count, Node also);
/* Numbers of the body for one k; false where one is not known. */
bool scheme_numbers(Scheme *scheme, int64_t k, const Node *nodes, uint32_t count, double *out);
/* In the body: field i as it is, and what becomes of it. */
static inline Node scheme_field(const Scheme *s, uint32_t i) {
    return graph_get(s->module, s->body)->params.data[1 + s->field[i]];
}
static inline Node scheme_next(const Scheme *s, uint32_t i) {
    return graph_get(s->module, s->body)->results.data[s->field[i]];
}
/* The k that have to be looked at: one, where all steps are alike or nothing is known of k; false: too many. */
enum { MOST_LAYERS = 512 };
bool scheme_steps(const Scheme *scheme, int64_t *first, int64_t *count);

/* ---- sums ------------------------------------------------------------------------------------ */

/* A node as a sum of coefficients times nodes that are no sums: Σ coefficient · node. */
typedef struct {
    Node node, coefficient; /* of the same function; the coefficient is a number */
} Atom;
typedef VEC(Atom) Atoms;

/* `varies`: of the first `count` nodes, which depend on a field. Adds coefficients to the function. False: too many. */
bool atoms_of(Module *module, FuncId func, Node result, const uint8_t *varies, uint32_t count,
              Atoms *out);
/* By node of func: bit i where it depends on fields[i], a parameter; from the eighth on they share a bit. From mem_alloc. */
uint8_t *field_masks(const Module *module, FuncId func, const Node *fields, uint32_t count);

/* ---- growth ------------------------------------------------------------------------------------ */

/* ‖S(u)‖ <= growth ‖u‖ for a sum S of atoms that depend on one field alone: S = c u - A(u) u, A(u) symmetric,
 * 0 <= A(u) <= N, so that growth = max(|c|, |N - c|). */
typedef struct {
    bool proved, linear, differences;
    double growth, c, N;
    double L, norm2; /* of the flux with the largest part in N: L and ‖K‖² */
    /* linear: a step of S - c u so many times as large is proved unstable with c = 1 */
    double unstable;
    const char *missing;
} Growth;
typedef enum {
    GROWTH_NORM,
    /* S = c u - A(u) u with (A(u) u, u) >= 0 alone: growth and N mean nothing, no L is needed */
    GROWTH_SIGN,
} GrowthKind;
Growth sector_growth(Scheme *scheme, const Step *step, const Atoms *atoms, uint32_t field,
                     GrowthKind kind);

/* Is the step of one field linear in it, or affine? */
bool scheme_is_linear(Scheme *scheme);

/* To rounding: what is larger than 1 by less is 1. */
#define ROUNDING 1e-12

void certificate_number(Certificate *c, const char *name, double value);

#define THEOREM(id, name, title, statement, source, check)                                         \
    bool check(Scheme *scheme, Certificate *out);
#include "compiler/analysis/theorems.def"
#undef THEOREM

#endif
