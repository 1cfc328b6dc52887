/* The abstract syntax tree. The parser's actions build it and nothing else does;
 * it knows no types. All nodes live in one arena. */
#ifndef PDN_AST_H
#define PDN_AST_H

#include "compiler/base/base.h"
#include "compiler/diagnostic/diagnostic.h"

#define AST_DEPTH_LIMIT 10000 /* nesting of expressions and blocks */

typedef struct Expr Expr;
typedef struct Stmt Stmt;
typedef struct Block Block;

typedef struct {
    Expr **items;
    uint32_t count;
} ExprList;

typedef struct { /* an argument of a call; name 0 when positional */
    Name name;
    Span name_span;
    Expr *value;
} Arg;

typedef enum {
    EXPR_ERROR, /* stands where parsing failed; nothing more is said about it */
    EXPR_NAME,
    EXPR_NUMBER,
    EXPR_STRING,
    EXPR_BOOL,
    EXPR_LIST,
    EXPR_CALL,
    EXPR_INDEX,
    EXPR_MEMBER,
    EXPR_UNARY,
    EXPR_BINARY,
} ExprKind;

typedef enum {
    AST_NEG,
    AST_NOT,
    AST_OR,
    AST_AND,
    AST_EQ,
    AST_NE,
    AST_LT,
    AST_LE,
    AST_GT,
    AST_GE,
    AST_RANGE,
    AST_ARROW,
    AST_ADD,
    AST_SUB,
    AST_MUL,
    AST_DIV,
    AST_MOD,
    AST_POW,
} AstOp;
const char *ast_op_text(AstOp op); /* as written: "+", "and", … */

struct Expr {
    ExprKind kind;
    uint32_t depth; /* height of the tree below, leaves are 1 */
    bool parens;    /* written in parentheses */
    Span span;      /* parentheses included */
    union {
        Name name;
        double number;
        struct {
            const char *bytes;
            uint32_t length;
        } string; /* escapes resolved; ends with 0 */
        bool boolean;
        ExprList list;
        struct {
            Expr *callee;
            Arg *args;
            uint32_t count;
        } call;
        struct {
            Expr *base, *index;
        } index;
        struct {
            Expr *base;
            Name name;
            Span name_span;
        } member;
        struct {
            AstOp op;
            Expr *operand;
        } unary;
        struct {
            AstOp op;
            Expr *left, *right;
            Span op_span;
        } binary;
    };
};

typedef struct {
    Name name;
    Span span;      /* of the name */
    Name type;      /* annotation or 0 */
    Expr *channels; /* field[3] or NULL */
    Expr *value;    /* default or NULL */
} Param;

typedef struct {
    Param *items;
    uint32_t count;
} ParamList;

typedef enum {
    STMT_ERROR,
    STMT_LET,    /* let a, b = e */
    STMT_LET_FN, /* let A(u) = e */
    STMT_INPUT,
    STMT_GRID,
    STMT_DATA,
    STMT_PARAM,
    STMT_BOUNDARY,
    STMT_SOLVE,
    STMT_EQUATION,
    STMT_UNTIL,
    STMT_RETURN,
    STMT_IF,
    STMT_FOR,
    STMT_TRAIN,
    STMT_EVERY,
    STMT_MINIMISE,
    STMT_REPORT,
    STMT_PRINT,
    STMT_SAVE,
    STMT_LOAD,
    STMT_ASSERT,
} StmtKind;

typedef struct {
    Name name;
    Span span;
} NameAt;

struct Block {
    Span span;
    Stmt **items;
    uint32_t count;
};

struct Stmt {
    StmtKind kind;
    Span span;
    union {
        struct {
            NameAt *names;
            uint32_t count;
            Expr *value;
        } let;
        struct {
            NameAt name;
            ParamList params;
            Expr *value;
        } let_fn;
        struct {
            NameAt name;
            Expr *value;
        } bind; /* input, grid, data */
        struct {
            NameAt name;
            Expr *length; /* K[depth] or NULL */
            Expr *value;
            ExprList ranges;      /* in e */
            ExprList constraints; /* subject to e */
            ExprList rules;       /* with e: how training moves it, in place of an optimiser */
            Expr *entry;          /* with e at k: which entry, or NULL */
        } param;
        /* side: x.low or NULL */
        struct {
            NameAt *names;
            uint32_t count;
            Expr *side;
            Expr *value;
        } boundary;
        struct {
            Expr *left, *right, *unknown, *from, *with;
        } solve; /* from may be NULL */
        struct {
            Expr *left, *right;
        } equation;
        struct {
            Expr *value;
        } expr; /* until, minimise, assert */
        struct {
            ExprList values;
        } ret;
        struct {
            Expr *condition;
            Block *then, *otherwise;
        } branch; /* otherwise may be NULL */
        struct {
            NameAt name;
            Expr *range;
            Block *body;
        } loop;
        struct {
            ExprList what;
            NameAt on_name; /* name 0 when without data */
            Expr *on;
            Expr *count;
            NameAt unit; /* epochs, steps */
            Expr *with;
            Block *body;
        } train;
        struct {
            Expr *count;
            NameAt unit;
            Block *body;
        } every;
        /* print and report; label an EXPR_STRING or NULL */
        struct {
            Expr *label;
            ExprList values;
        } print;
        struct {
            Expr *what, *where;
        } file; /* save, load */
    };
};

typedef enum { DEF_OPERATOR, DEF_PDE, DEF_SCHEME, DEF_NETWORK, DEF_SOLVER } DefKind;
const char *ast_def_text(DefKind kind); /* "operator", … */

typedef enum {
    ITEM_ERROR,
    ITEM_USE,
    ITEM_LET,
    ITEM_PRECISION,
    ITEM_FN,
    ITEM_DEF,
    ITEM_EXPERIMENT,
    ITEM_TEST
} ItemKind;

typedef struct {
    ItemKind kind;
    Span span;
    NameAt name; /* use: the module's name or 0; precision: f32, f64; test: 0 */
    union {
        struct {
            Expr *path;
        } use; /* EXPR_STRING when a file, else NULL */
        struct {
            Expr *value;
        } let;
        struct {
            ParamList params;
            Expr *value;
        } fn;
        struct {
            DefKind kind;
            bool has_config;  /* two parameter lists were written */
            ParamList config; /* empty without */
            ParamList inputs;
            Expr *value;  /* `= e` or NULL */
            Block *block; /* `{ … }` or NULL */
        } def;
        struct {
            Block *block;
        } experiment;
        struct {
            Expr *title;
            Block *block;
        } test;
    };
} Item;

typedef struct {
    uint32_t file;
    Item *items;
    uint32_t count;
} Program;

/* A comment, for `pdn fmt`: bytes from `#` to the end of line. */
typedef struct {
    Span span;
    bool alone; /* nothing but blanks before it on its line */
} Comment;

typedef struct {
    Comment *items;
    uint32_t count;
} Comments;

/* Parses a file of `sources`; errors go to `diagnostics`; what could be parsed is returned, never
 * NULL. `comments` may be NULL. */
Program *syntax_parse(Arena *arena, Names *names, Diagnostics *diagnostics, uint32_t file,
                      Comments *comments);

/* The program in canonical layout, comments kept; idempotent. Only for files without errors. */
void syntax_format(const Program *program, const Names *names, const Sources *sources,
                   const Comments *comments, Text *out);

/* One line a node, for tests and --dump-after=parse. */
void syntax_print(const Program *program, const Names *names, Text *out);

#endif
