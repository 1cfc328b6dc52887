/* What scanner, grammar and the makers of nodes share; private to this folder.
 *
 * The scanner turns the whole file into tokens first. `feed` hands them to the grammar: it
 * decides where statements end, mends brackets (so the grammar sees them balanced), and after an
 * error passes over the rest of the statement. */
#ifndef PDN_PARSER_H
#define PDN_PARSER_H

#include "compiler/syntax/ast.h"

#define FILE_LIMIT  ((size_t)16 << 20) /* bytes of a file */
#define ERROR_LIMIT 1000               /* after so many errors the rest of the file is not read */

/* What was wrong with a token already in the scanner. */
typedef enum {
    SLIP_NONE,
    SLIP_OPERATOR,     /* another language's way to write `kind` */
    SLIP_COMMENT,      /* a comment as in C */
    SLIP_QUOTES,       /* a string in single quotes */
    SLIP_UNTERMINATED, /* a string without its end */
    SLIP_NUMBER,
    SLIP_CHARACTER,
    SLIP_BYTE,
    SLIP_UTF8,
} Slip;

enum { TOKEN_SKIP = -1 }; /* nothing for the grammar, only its slip to report */

typedef struct {
    uint32_t begin, end;
    int16_t kind; /* of the grammar, or TOKEN_SKIP */
    uint8_t slip;
    bool newline; /* a line ended between the token before and this one */
} Token;

/* Growing lists of nodes, in the arena. */
#define NODES(T)                                                                                   \
    struct {                                                                                       \
        T *items;                                                                                  \
        uint32_t count, cap;                                                                       \
    }
typedef NODES(Expr *) Exprs;
typedef NODES(Arg) Args;
typedef NODES(Param) Params;
typedef NODES(NameAt) NameAts;
typedef NODES(Stmt *) Stmts;
typedef NODES(Item) Items;

typedef struct {
    Exprs ranges, constraints, rules;
    Expr *entry;
} Limits;

#define NODES_PUSH(parser, list, item)                                                             \
    do {                                                                                           \
        if ((list)->count == (list)->cap) {                                                        \
            (list)->cap = (list)->cap ? 2 * (list)->cap : 4;                                       \
            void *grown_ = arena_alloc((parser)->arena, (list)->cap * sizeof *(list)->items);      \
            (list)->items =                                                                        \
                nodes_move(grown_, (list)->items, (list)->count * sizeof *(list)->items);          \
        }                                                                                          \
        (list)->items[(list)->count++] = (item);                                                   \
    } while (0)
void *nodes_move(void *to, const void *from, size_t size);

typedef struct {
    uint8_t kind; /* '(', '[' or '{' */
    uint32_t begin;
    uint32_t indent; /* of the line that it stands on, for '{' */
    uint32_t chain;  /* `else if`s in a row inside of it */
} Bracket;

typedef struct Parser {
    Arena *arena;
    Names *names;
    Diagnostics *diagnostics;
    uint32_t file;
    const char *bytes;
    uint32_t length;

    /* scanner */
    VEC(Token) tokens; /* the last one is the end of the file */
    VEC(Comment) comments;
    uint32_t begin, end; /* of the match */
    bool newline;

    /* feed */
    uint32_t at;  /* the next token */
    int previous; /* kind of the token handed out last; 0 at the start */
    Span previous_span;
    Token current;        /* the token handed out last, as it stands in the file */
    bool current_made;    /* it was put in by `feed` to mend a bracket */
    uint32_t statement;   /* index of the first token of the statement */
    bool newline_settled; /* the end of line before the next token was dealt with */
    uint32_t slip_reported, unclosed_reported; /* at which token, plus 1 */
    bool skipped_newline;                      /* a line ended before a token that was skipped */
    VEC(Bracket) brackets;
    uint32_t braces, chains;
    bool has_suspect;
    Bracket suspect; /* a '{' whose '}' stands further out: perhaps that of another */
    bool panic;      /* pass over what is left of the statement */
    bool panic_stops_at_block;
    uint32_t panic_braces;
    uint32_t errors;
    bool dead; /* reading stopped */

    Items items;
} Parser;

/* pdn.l, tokens.c */
void scan(Parser *parser);
void scan_token(Parser *parser, int kind, Slip slip);
void scan_skip(Parser *parser, uint32_t begin, uint32_t end, Slip slip);
void scan_text(Parser *parser, uint32_t begin, uint32_t end); /* odd bytes of a comment or string */
void scan_character(Parser *parser);

/* feed.c */
bool count_error(Parser *parser); /* false when it is one too many to report */
void too_deep(Parser *parser, Span at);
bool starts_statement(int kind);
bool starts_definition(int kind);
bool is_word(int kind);                                            /* a reserved word */
const char *text_of(Parser *parser, uint32_t begin, uint32_t end); /* as written, shortened */
Span parser_span(const Parser *parser, uint32_t begin, uint32_t end);
const Token *token_after(const Parser *parser, uint32_t at); /* skips TOKEN_SKIP */

/* unexpected.c: what the grammar could have taken at the current token, by kind - T_NL */
enum { EXPECTED_MOST = 100 };
typedef struct {
    bool has[EXPECTED_MOST];
} Expected;
void report_unexpected(Parser *parser, const Expected *expected);

/* slips.c */
void report_slip(Parser *parser, const Token *token);
double number_value(Parser *parser, Span at);
Expr *string_node(Parser *parser, Span at);

/* ast.c: one maker a form; the depth limit is kept here */
Expr *make_expr(Parser *parser, ExprKind kind, Span span);
Expr *make_name(Parser *parser, NameAt name);
Expr *make_list(Parser *parser, Span span, const Exprs *items);
Expr *make_call(Parser *parser, Span span, Expr *callee, const Args *args);
Expr *make_index(Parser *parser, Span span, Expr *base, Expr *index);
Expr *make_member(Parser *parser, Span span, Expr *base, NameAt name);
Expr *make_unary(Parser *parser, Span span, AstOp op, Expr *operand);
Expr *make_binary(Parser *parser, Span span, AstOp op, Span op_span, Expr *left, Expr *right);
Stmt *make_stmt(Parser *parser, StmtKind kind, Span span);
Block *make_block(Parser *parser, Span span, const Stmts *stmts);
#define MAKE_LIST(Type, from) ((Type){(from)->items, (from)->count})

#endif
