/* explain: what network a function of a graph is.
 *
 * A function becomes a Part: layers in the order of computation, each with what it reads, what it costs and how far it
 * sees. A loop is a layer with a Part of its own, whose first layers are its states: a state and its past are histories,
 * which is where skip connections over steps come from; layers on coarser grids have a level, which is where the U
 * comes from. All of it is found in the graph: names of the library mean nothing here, and a user's copy of a scheme
 * is the same network. Text, Graphviz and SVG are three ways to write the same Part.
 *
 * What does not depend on the data (weights, step sizes, masks of sides) is no layer: it belongs to the layer that
 * uses it. */
#ifndef PDN_EXPLAIN_H
#define PDN_EXPLAIN_H

#include "compiler/graph/graph.h"

/* ---- amounts ---------------------------------------------------------------------------- */

/* A sum of numbers times counts that are known only at run time: 3 + 2 n m. Symbols are bits. */
enum { AMOUNT_TERMS = 12 };
typedef struct {
    double number;
    uint64_t symbols;
} Term;
typedef struct {
    Term terms[AMOUNT_TERMS];
    uint32_t count;
} Amount;

Amount amount_of(double number);
Amount amount_add(Amount a, Amount b);
Amount amount_scaled(Amount a, double factor);
Amount amount_times(Amount a, Amount b);
Amount amount_most(Amount a, Amount b); /* at least both: the larger coefficients */
bool amount_known(const Amount *a, double *number);

/* What a value reads of where it is computed from, an axis each: cells of the finest grid before and behind its own
 * first one. */
typedef struct {
    bool none;       /* nothing */
    bool everything; /* all cells, as a sum does */
    Amount low[MAX_RANK], high[MAX_RANK];
} Reach;

/* ---- layers ------------------------------------------------------------------------------ */

typedef enum {
    LAYER_START,     /* an input, a state of a loop, what a loop captured; noise, coordinates */
    LAYER_STENCIL,   /* fixed weights */
    LAYER_CONV,      /* weights that are parameters */
    LAYER_POINTWISE, /* everything between layers of other kinds that acts in each cell */
    LAYER_DOWN,      /* to the coarser grid */
    LAYER_UP,        /* to the finer grid */
    LAYER_JOIN,      /* channels put together */
    LAYER_REDUCE,    /* a number, or one for each channel */
    LAYER_CHECK,     /* a solver's stopping test: a run fails where it was not met */
    LAYER_LOOP,
    LAYER_CALL, /* a function, done once */
} LayerKind;

typedef struct Part Part;

typedef struct {
    LayerKind kind;
    uint32_t number;     /* of all parts, from 1; 0: a start */
    const char *title;   /* "gradient", "convolution 5×5, 1 → 16" */
    const char *formula; /* of what a pointwise layer computes; NULL: too long to say */
    Type type;           /* of what it makes; of several things, the first */
    int32_t level;       /* of its grid: 0 the finest of all parts; -1: a number */
    uint32_t *from;      /* layers of the same part that it reads */
    uint32_t from_count;
    const char **weights; /* names of the parameters that it uses: "K[k]" */
    uint32_t weight_count;
    double parameters; /* numbers that no layer before has used */
    bool trained;      /* it uses some that count: running ones do not */
    bool adjoint;      /* the transpose of layer `partner` of the same part */
    uint32_t partner;  /* or UINT32_MAX */
    Amount flops;   /* once, without repeating it: of a loop for all its steps. By Explained.unit */
    Amount memory;  /* bytes of what it makes */
    Reach reach;    /* from the start of its part */
    Part *body;     /* of loops and calls */
    int64_t state;  /* a start that is a state: its number, else -1 */
    bool used;      /* a start: something reads it */
    uint32_t given; /* a start of a body: the layer around it that gives it, or UINT32_MAX */
    Node node;      /* one of its nodes */
} Layer;

/* A state of a loop and its past: u[k], u[k-1], … */
typedef struct {
    const char *name;
    uint32_t first;   /* start of the newest: layer of the part */
    uint32_t length;  /* states kept */
    uint32_t *starts; /* layers, newest first */
    uint32_t next;    /* layer that makes the next state */
    bool field;
    bool residual;         /* the next state is a sum with the last one as a term */
    bool symmetric;        /* … and −Kᵀ Φ(K u) as another */
    bool linear;           /* Φ is the identity */
    uint32_t outer, inner; /* the layers Kᵀ and K */
} History;

/* A field that goes past what happens on the coarser grids. */
typedef struct {
    uint32_t from, to; /* layers */
} Bridge;

struct Part {
    FuncId func;
    const Part *around; /* NULL: none */
    uint32_t at;        /* its layer there */
    VEC(Layer) layers;
    uint32_t *results; /* layers; UINT32_MAX: a constant */
    uint32_t result_count;
    /* of a loop */
    const char *name; /* as the program calls it, or "" */
    Span span;
    double count;           /* steps, where known; with `until` at most */
    const char *count_text; /* "10", "steps", "n" */
    bool until;
    bool own_weights; /* a step takes its weights by its number */
    bool any_weights;
    VEC(History) histories;
    VEC(Bridge) bridges;
    int32_t top, bottom; /* levels, bodies included; the same: one grid */
    Amount flops;        /* of one pass */
    Amount memory;       /* of all that its layers make, all steps */
    Reach reach;         /* of all results */
};

/* What an input of the module is. */
typedef struct {
    bool data;        /* a field or number that it acts on; else a parameter */
    const char *name; /* "f", "K" */
    double count;     /* numbers of a parameter, all its frames; of a running one 0 */
} ExplainInput;

typedef struct {
    const ExplainInput *inputs; /* by Module.inputs */
    uint32_t word;              /* bytes of a number */
    bool places;                /* coordinates are data: where nothing is given from outside */
    const Sources *sources;
    /* The scalar function whose text holds a place, or NULL. */
    const char *(*word_at)(void *context, Span span);
    void *context;
    const bool *param_data; /* of a function that is not main: which of its parameters are data */
    const char *const *param_names;
    const double *param_counts; /* numbers of those that are parameters */
} ExplainOptions;

typedef struct {
    const Module *module;
    Arena *arena;
    Part *part;
    const char *unit; /* "" where sizes are known, else " per cell" of the finest grid */
    const char *symbols[64];
    uint32_t symbol_count;
    const char *symbol_about[64]; /* "steps of cg, at most 10000" */
    double parameters;
    int32_t levels;
} Explained;

/* The network of a function of a module that pass_simplify has seen. Lives in the arena. */
Explained *explain_func(const Module *module, FuncId func, const ExplainOptions *options,
                        Arena *arena);

/* ---- writing -------------------------------------------------------------------------------- */

char *explain_amount(const Explained *e, const Amount *a, bool bytes); /* "4.2 k", "16 n" */
char *explain_shape(const Explained *e, Type type);                    /* "2 × h × w" */
char *explain_reach(const Explained *e, const Reach *r, uint32_t rank);
/* What a loop is, in words: "10 symmetric residual blocks …". */
char *explain_loop(const Explained *e, const Part *part);
/* Layers in columns, and what the network is. */
void explain_layers(const Explained *e, Text *out);
void explain_network(const Explained *e, uint32_t indent, Text *out);
void explain_dot(const Explained *e, const char *name, Text *out);
void explain_svg(const Explained *e, const char *name, Text *out);

#endif
