/* build.h: what the files that make a Part share. Private to this folder. */
#ifndef PDN_EXPLAIN_BUILD_H
#define PDN_EXPLAIN_BUILD_H

#include "compiler/explain/explain.h"
#include "compiler/ops/ops.h"

enum { NO_LAYER = UINT32_MAX };

typedef struct {
    const char *name;
    double count;
    bool stack;   /* one of its frames is used at a time */
    bool counted; /* by a layer */
} Tensor;

typedef struct {
    Reach *of; /* [states or results][states + captured]: what a result reads of a parameter */
    uint32_t columns;
} ReachTable;

typedef struct {
    const Module *module;
    Arena *arena;
    const ExplainOptions *options;
    Explained *out;
    double *cells;  /* by grid: cells, or their share of those of the finest grid */
    int32_t *level; /* by grid */
    Tensor *tensors;
    uint32_t tensor_count, words; /* 64 tensors a word */
    uint32_t numbers;             /* layers numbered so far */
    ReachTable **tables;          /* by loop */
    Amount *counts;               /* by loop: how often, once a part was made of it */
} Builder;

/* A function that is being read. */
typedef struct {
    Builder *b;
    FuncId id;
    const Func *f;
    uint8_t *live, *varies; /* by node: needed; depends on data */
    uint64_t *tensors;      /* by node: the parameters that it is made of, where it does not vary */
    uint32_t *layer;        /* by node */
    const char **names;     /* by parameter */
    const char *index;      /* how a step's number is called, "k" */
    Part *part;
} Reading;

/* scan.c: what varies. `out` by node. */
void scan_varies(const Builder *b, FuncId func, const uint8_t *params, uint8_t *out);
/* By parameter of a loop's body, given what varies around it. From the arena. */
uint8_t *scan_loop(const Builder *b, const Func *f, const uint8_t *varies, Node loop);
void scan_tensors(Reading *r, const uint64_t *params);
const uint64_t *node_tensors(const Reading *r, Node n);
bool is_alias(Op op); /* RESULT: not more than a name for another node */

/* stencils.c */
const char *stencil_title(Builder *b, const Stencil *s, const Grid *grid);
const char *conv_title(Builder *b, const Conv *c, bool transposed);
bool stencil_partners(const Stencil *a, const Stencil *b); /* each the transpose of the other */

/* measure.c */
Amount node_flops(const Builder *b, const Func *f, Node n);
double type_bytes(const Builder *b, Type t);
Amount loop_count(Reading *r, Node loop, Part *body);
void reach_nodes(Builder *b, FuncId func, const Reach *params, Reach *out);
Reach reach_own(void); /* the cell itself */
Reach reach_join(Reach a, Reach b);

/* formula.c */
const char *formula_of(Reading *r, Node n, uint32_t layer);
const char *name_of_node(Reading *r, Node n);
const char *weight_name(Reading *r, uint32_t tensor);

/* histories.c */
void name_states(Reading *r, const Loop *loop); /* fills names: u[k], u[k-1] */
void find_histories(Reading *r, const Loop *loop);
void find_partners(Reading *r);
void find_bridges(Reading *r);

/* text.c */
/* Do its own layers go to coarser grids and back? */
bool part_is_u(const Part *p);
/* A loop that a drawing shows as one layer: a smoother of a U. */
bool layer_is_folded(const Part *p, const Layer *l);
/* "u[k+1]", or "": the states that a layer makes. */
const char *layer_makes(const Explained *e, const Part *p, uint32_t layer);

/* draw.c: what the drawings share */
typedef struct {
    const Part *part;
    uint32_t layer;
} Drawn; /* part NULL: nothing */
typedef enum { LINK_PLAIN, LINK_RESIDUAL, LINK_SKIP, LINK_BRIDGE, LINK_NEXT, LINK_PAST } LinkKind;
typedef struct {
    Drawn from, to;
    LinkKind kind;
} Link;
typedef VEC(Link) Links;
/* All links between what is drawn: layers, states and inputs; loops are what is in them, unless folded. */
void draw_links(const Explained *e, Links *out);
bool is_drawn(const Part *p, const Layer *l);
/* The layer with which a layer shares its box, as its activation; the activation in the box of a layer. NO_LAYER: none. */
uint32_t drawn_host(const Part *p, uint32_t layer);
uint32_t drawn_guest(const Part *p, uint32_t layer);
const char *link_colour(LinkKind kind);
const char *level_colour(int32_t level);

/* layers.c */
Part *read_part(Builder *b, FuncId func, const uint8_t *params, const uint64_t *tensors,
                const char **names, const Loop *loop);

#endif
