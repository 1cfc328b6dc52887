/* param.h: trainable parameters and the instances that own them. Private to sema.
 *
 * A configured definition is an instance; its `param` statements make parameters of it when they are first
 * reached, and find them again at every further application. Instances made inside a body belong to the
 * instance whose body it is, by the place of the call: applied twice, a network is the same network. */
#ifndef PDN_PARAM_H
#define PDN_PARAM_H

#include "compiler/sema/value.h"

/* What a trainable convolution is like; its rank is that of the field that it meets first. */
typedef struct ConvSpec {
    int64_t in, out, groups;
    int64_t size[MAX_RANK], stride, dilation; /* x first */
    /* 0: not known yet; then size[0] is that of every axis */
    uint32_t rank;
    bool bias;
    bool has_side;
    SideKind side; /* `boundary = zero`; else as the field that it is applied to */
    PdnInit init;
} ConvSpec;

/* One array of a parameter: of a convolution with bias there are two. */
typedef struct {
    /* now: a node of the main function, a number, field, row or stack of those */
    const Value *value;
    Type type; /* without the index */
    int rank;  /* as it is saved, without the index */
    int64_t shape[PDN_TENSOR_RANK];
    const char *suffix; /* "" or ".bias" */
    /* numbers of those that fill it before the program runs: at the start, with `load` */
    VEC(uint32_t) sources;
} Tensor;

struct Parameter {
    Name name;
    Span span;
    Instance *owner;
    int64_t depth; /* of param K[depth]; -1: no index */
    bool is_conv;
    ConvSpec conv;
    Tensor tensors[2];
    uint32_t tensor_count; /* 0: a convolution that has not met a field */
    double low, high;      /* `in [low, high]` */
    VEC(Constraint) constraints;
    const Expr *rule;  /* of a running one: `with` it training moves it; NULL: an optimiser does */
    const Expr *entry; /* the number of the entry that it moves; NULL: it has no index */
    VEC(ConvId) convs; /* as which it is applied: with each boundary that it meets */
};

/* `load net from "file"`: parameters that are found only when the network is applied come from there, too. */
typedef struct {
    const char *path;
    const Instance *within; /* what names in the file begin from */
    Span span;
} Loaded;

/* What a body was seen to use, when it was applied, that belongs to nothing in it. */
typedef struct {
    VEC(Instance *) instances;
    VEC(Parameter *) parameters;
} Used;

/* Of a local operator: also what was made of the networks that are configured in its body. */
struct Local {
    Used used;
    bool applied;
    const Loaded *loaded; /* where what is found later comes from; NULL: nothing */
};

struct Instance {
    Instance *owner;  /* NULL: of the whole program */
    const char *name; /* of the definition, numbered where there are several; "" for the root */
    VEC(Parameter *) parameters;
    VEC(Instance *) inner;
    Map places; /* place of the call to number in `inner` */
    Used used;  /* instances of the whole program */
    bool open;  /* applying it may find more parameters */
    /* one for the whole program: of a fn, of what has no configuration, of a `let` of a file */
    bool global;
    const Loaded *loaded; /* NULL: nothing */
};

typedef VEC(Parameter *) Parameters;

/* The instance that a call at this place makes in the body that is being elaborated. */
Instance *instance_at(Elab *e, const Operator *op, Span call);
/* The instance of a definition or fn that can be applied; NULL where it holds no parameters. */
Instance *instance_of_operator(Elab *e, const Operator *op);
/* The body that is being elaborated begins to apply it, or reads one of its parameters (NULL: applies it). */
void instance_used(Elab *e, Instance *instance, Parameter *read);
/* Does the definition, fn or `let` hold parameters, itself or in what it calls by name? */
bool item_is_trainable(Elab *e, const Item *item, const Home *home);
/* Is there a `param` statement of this name (0: of any) in the block? */
bool block_declares(const Block *block, Name name);
/* Is it, or does it hold, a definition with parameters that is still to be configured? */
bool value_is_template(Elab *e, const Value *value);
/* Makes what parameters can be made before the operator is applied; silently leaves the others. */
void instance_declare(Elab *e, const Operator *op);
/* All parameters of what a value holds: of its instance, of operators that it is configured with, of those
 * that a local operator speaks of. Each once, in the order in which they were made. */
void parameters_of(Elab *e, const Value *value, Parameters *out);
/* What the paths of its parameters begin from, alone: its instance, or NULL, the root. */
const Instance *path_begin(const Value *value);
/* Have all their arrays names of their own? False after a message at `span` that `what` has two of one name; silently
 * where `what` is NULL. */
bool parameters_apart(Elab *e, const Parameters *all, const Instance *within, const char *what,
                      Span span);
/* False after a message where the value is one entry of an indexed parameter, or a list with one. */
bool parameters_whole(Elab *e, const Value *value);
/* Where parameters_found gives none: says why, and what makes some of it. `verb`: "train", "save", "load", "count". */
void parameters_lacking(Elab *e, const Value *value, Span span, const char *verb);
/* "K", "block.K": from the instance `within` on (NULL: from the root). */
const char *parameter_path(Elab *e, const Parameter *p, const Instance *within);
/* What the host must know of array t of p. */
TensorInfo tensor_info(Elab *e, const Parameter *p, const Tensor *t, const Instance *within);
/* The same; `loaded`: what is found later comes from this file. False: applying the value may find more. */
bool parameters_found(Elab *e, const Value *value, Parameters *out, const Loaded *loaded);
/* Its arrays come from the file that an instance around it was loaded from, if one was. */
void parameter_load(Elab *e, Parameter *p);
/* Gives the sources of all parameters' starts what they have to keep to. */
void parameters_constrain(Elab *e);
/* The parameter whose value, or whose frame, the value is; NULL: none. */
const Parameter *parameter_behind(Elab *e, const Value *value);

/* The value that a name of a parameter has: a node, an operator, or something to be indexed. */
const Value *parameter_value(Elab *e, const Parameter *p, Span span);
const Value *parameter_index(Elab *e, const Value *parameter, const Value *index, Span span);
/* The `param` statement in a body. */
const Env *param_statement(Elab *e, const Env *env, const Stmt *stmt);
/* Its rule, if it has one; false after a message. */
bool parameter_rule(Elab *e, Parameter *p, const Stmt *stmt);
/* In the body of a `train`: its rule moves it once more. */
void parameter_move(Elab *e, const Env *env, Parameter *p);
/* The convolution meets a grid of this many axes; false after a message. */
bool parameter_settle(Elab *e, Parameter *p, uint32_t rank, Span span);

/* False after a message where the numbers cannot be drawn: of a negative deviation, from an empty range. */
bool start_possible(Elab *e, const PdnInit *init, Span span);

/* ---- convolution.c ---- */

/* normal(0.1), uniform(-1, 1), constant(2) in `init = …`: what draws numbers elsewhere says how there. NULL: not such. */
const Value *conv_init(Elab *e, const Env *env, const Expr *x);

const Value *apply_conv(Elab *e, const Operator *op, const Value *u, Span span);
const Value *apply_conv_adjoint(Elab *e, const Operator *op, const Value *v, Span span);
/* norm(K): a bound for every grid, as a number at run time. */
const Value *conv_norm(Elab *e, const Operator *op, Span span);

#endif
