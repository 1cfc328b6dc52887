/* What the parts of the formatter share; private to this folder.
 *
 * Layout: a construct is written flat where it fits and the user broke no line in it. Otherwise the
 * user's line breaks between the elements of a bracket and after operators are kept, and a
 * bracket without any gets one line an element. Every decision is a function of the tree and of line
 * breaks that the output has again, so that formatting twice changes nothing. */
#ifndef PDN_FORMAT_H
#define PDN_FORMAT_H

#include "compiler/syntax/ast.h"

enum { LINE_WIDTH = 100, INDENT = 4, DEEPEST_INDENT = 80 };

typedef struct {
    uint32_t at;     /* in the output: where the padding goes */
    uint32_t column; /* at which the text before ends */
    uint32_t line;   /* of the output */
    uint32_t source_line, source_column;
} Trailing;

typedef struct {
    const Names *names;
    const char *bytes;
    uint32_t length, file;
    const Sources *sources;
    Text *out;
    uint32_t start; /* of what is written here in `out` */

    uint32_t column, line; /* of the output */
    uint32_t line_indent;  /* of the line being written */
    uint32_t base;         /* indent of the statement or element being written */
    bool flat;             /* write on one line */
    bool dry, over;        /* count columns only; there was no room, or a break must stay */

    const Comment *comments;
    uint32_t comment_count, next_comment;
    bool *done;             /* comments written out of order */
    VEC(Trailing) trailing; /* comments at line ends that stand in one column so far */
} Formatter;

/* format_text.c */
void format_emit(Formatter *f, const char *text, size_t length);
void format_puts(Formatter *f, const char *text);
void format_newline(Formatter *f, uint32_t indent);
uint32_t format_skip_blank(const Formatter *f, uint32_t at); /* and comments */
bool format_has_newline(const Formatter *f, uint32_t begin, uint32_t end);
void format_comment(Formatter *f, uint32_t index);
uint32_t format_first_comment(const Formatter *f,
                              uint32_t at); /* index of the first from `at` on */

/* format_expr.c */
void format_expr(Formatter *f, const Expr *expr,
                 uint32_t tail); /* `tail`: columns that follow it */
void format_exprs(Formatter *f, const ExprList *list, uint32_t tail);
void format_params(Formatter *f, const ParamList *params, uint32_t open_at);
bool format_fits(Formatter *f, const Expr *expr, uint32_t tail);

#endif
