/* Mistakes that one token shows by itself, and the values of numbers and strings. */
#include "compiler/syntax/parser.h"

#include "grammar.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- characters ------------------------------------------------------------------ */

static const struct {
    const char *text, *help;
} characters[] = {
    {"\xC2\xA0", "this is a no-break space; write a plain one"},
    {"\xC2\xB2", "write ^2 for a square"},
    {"\xC2\xB3", "write ^3 for a cube"},
    {"\xC2\xB5", "this is the micro sign; the Greek letter is μ"},
    {"\xE2\x88\x87", "write grad(u), div(u) or laplacian(u)"},
    {"\xE2\x88\x82", "write dt(u), dx(u), dxx(u) or d(u, x, order = n)"},
    {"\xE2\x88\x9A", "write sqrt(x)"},
    {"\xE2\x88\xAB", "write integral(u)"},
    {"\xE2\x88\x91", "write sum(u)"},
    {"\xE2\x88\x86", "this is the increment sign; write laplacian(u)"},
    {"\xE2\x80\x9C", "strings stand in plain double quotes: \"…\""},
    {"\xE2\x80\x9D", "strings stand in plain double quotes: \"…\""},
    {"\xE2\x80\x98", "strings stand in plain double quotes: \"…\""},
    {"\xE2\x80\x99", "strings stand in plain double quotes: \"…\""},
    {"\xE2\x80\xA6", "a range is written 0..n"},
    {"\xEF\xBB\xBF", "a byte order mark may stand at the start of a file alone"},
    {"'", "strings stand in double quotes: \"…\""},
    {"?", "write where(c, a, b) to choose pointwise"},
    {"$", "names need no sign in front"},
    {"@", "compose(A, B) applies B, then A"},
    {"~", "write 'not' for the negation"},
    {"\\", "a line goes on after an operator, a comma, or inside brackets"},
};

static const struct {
    const char *text, *help;
} operators[] = {
    {"**", "write '^' for a power"},
    {".^", "write '^' for a power: it acts pointwise on fields"},
    {".*", "write '*' for a product: it acts pointwise on fields"},
    {"./", "write '/' for a quotient: it acts pointwise on fields"},
    {"&&", "write 'and'"},
    {"&", "write 'and'"},
    {"||", "write 'or'; abs(x) is the absolute value, norm(u) the norm"},
    {"|", "write 'or'; abs(x) is the absolute value, norm(u) the norm"},
    {"!", "write 'not'"},
    {"~=", "write '!='"},
    {"<>", "write '!='"},
    {"!==", "write '!='"},
    {"===", "write '=='"},
    {"=<", "write '<='"},
    {"=>", "write '->' for channels, '>=' to compare"},
    {":=", "write '='"},
    {"<-", "write '='"},
    {"+=", "a name is defined once; a recurrence is written u[k+1] = u[k] + …"},
    {"-=", "a name is defined once; a recurrence is written u[k+1] = u[k] - …"},
    {"*=", "a name is defined once; a recurrence is written u[k+1] = u[k] * …"},
    {"/=", "a name is defined once; a recurrence is written u[k+1] = u[k] / …"},
    {"...", "a range is written 0..n"},
    {"..=", "a range is written 0..n"},
    {";", "the end of the line ends a statement"},
    {"\xE2\x88\x92", "this is the minus sign of typesetting; write '-'"},
    {"\xC2\xB7", "write '*' for a product"},
    {"\xC3\x97", "write '*' for a product"},
    {"\xE2\x8B\x85", "write '*' for a product"},
    {"\xC3\xB7", "write '/' for a quotient"},
    {"\xE2\x89\xA4", "write '<='"},
    {"\xE2\x89\xA5", "write '>='"},
    {"\xE2\x89\xA0", "write '!='"},
    {"\xE2\x86\x92", "write '->'"},
};

#define HELP_FROM(d, table, wanted)                                                                \
    for (size_t i_ = 0; i_ < sizeof(table) / sizeof *(table); i_++) {                              \
        if (strcmp((table)[i_].text, wanted) == 0) { diag_help(d, "%s", (table)[i_].help); }       \
    }

/* Bytes as \xNN, the first few of them. */
static const char *hex_text(Parser *parser, const Token *token) {
    const unsigned char *bytes = (const unsigned char *)parser->bytes;
    char *text = arena_format(parser->arena, "\\x%02x", bytes[token->begin]);
    for (uint32_t i = token->begin + 1; i < token->end; i++) {
        if (i == token->begin + 6) { return arena_format(parser->arena, "%s …", text); }
        text = arena_format(parser->arena, "%s \\x%02x", text, bytes[i]);
    }
    return text;
}

static void report_number(Parser *parser, Span at, const char *text) {
    Diagnostic *d = diag_report(parser->diagnostics, DIAG_SYNTAX_NUMBER, at, text);
    size_t digits = strspn(text, "0123456789.");
    const char *rest = text + digits;
    if (text[0] == '0' && strchr("xXbBoO", text[1])) {
        diag_help(d, "numbers are decimal");
    } else if (*rest == '_') {
        diag_help(d, "digits are not grouped: write 1000 or 1e3");
    } else if ((*rest == 'e' || *rest == 'E') && !rest[1]) {
        diag_help(d, "an exponent has digits: 1e-3");
    } else {
        diag_help(d, "a product needs its sign: %.*s * %s", (int)digits, text, rest);
    }
}

void report_slip(Parser *parser, const Token *token) {
    if (!count_error(parser)) { return; }
    Diagnostics *all = parser->diagnostics;
    Span at = parser_span(parser, token->begin, token->end);
    const char *text = text_of(parser, token->begin, token->end);
    Diagnostic *d;
    switch (token->slip) {
    case SLIP_OPERATOR:
        d = diag_report(all, DIAG_SYNTAX_FOREIGN_OPERATOR, at, text);
        HELP_FROM(d, operators, text);
        break;
    case SLIP_COMMENT:
        at.end = at.begin + 2;
        d = diag_report(all, DIAG_SYNTAX_FOREIGN_OPERATOR, at, text_of(parser, at.begin, at.end));
        diag_help(d, "a comment begins with '#'");
        break;
    case SLIP_QUOTES:
        d = diag_report(all, DIAG_SYNTAX_STRAY_CHARACTER,
                        parser_span(parser, at.begin, at.begin + 1), "'");
        diag_help(d, "strings stand in double quotes: \"…\"");
        break;
    case SLIP_UNTERMINATED:
        d = diag_report(all, DIAG_SYNTAX_STRING_UNTERMINATED, at);
        diag_help(d, "a string ends with '\"' on the line where it begins");
        break;
    case SLIP_NUMBER: report_number(parser, at, text); break;
    case SLIP_CHARACTER:
        d = diag_report(all, DIAG_SYNTAX_STRAY_CHARACTER, at, text);
        HELP_FROM(d, characters, text);
        break;
    case SLIP_BYTE: diag_report(all, DIAG_SYNTAX_STRAY_BYTE, at, hex_text(parser, token)); break;
    default:
        d = diag_report(all, DIAG_SYNTAX_INVALID_UTF8, at, hex_text(parser, token));
        diag_help(d, "save the file in the encoding UTF-8");
        break;
    }
}

/* ---- values ----------------------------------------------------------------------- */

double number_value(Parser *parser, Span at) {
    enum { SHORT = 64 };
    char copy[SHORT];
    uint32_t length = at.end - at.begin;
    const char *text = length < SHORT ? memcpy(copy, parser->bytes + at.begin, length)
                                      : arena_text(parser->arena, parser->bytes + at.begin, length);
    if (length < SHORT) { copy[length] = 0; }
    double value = strtod(text, NULL);
    if (isinf(value)) {
        if (count_error(parser)) {
            diag_report(parser->diagnostics, DIAG_SYNTAX_NUMBER_RANGE, at,
                        text_of(parser, at.begin, at.end));
        }
        return 0;
    }
    return value;
}

/* The bytes of a string between its quotes, escapes resolved. */
Expr *string_node(Parser *parser, Span at) {
    const char *bytes = parser->bytes;
    uint32_t begin = at.begin + 1, end = at.end;
    if (end > begin && bytes[end - 1] == bytes[at.begin]) { end--; }
    Expr *expr = make_expr(parser, EXPR_STRING, at);
    char *to = arena_alloc(parser->arena, (size_t)(end - begin) + 1);
    expr->string.bytes = to;
    for (uint32_t i = begin; i < end; i++) {
        if (bytes[i] != '\\' || i + 1 >= end) {
            *to++ = bytes[i];
            continue;
        }
        static const char letters[] = "nt\"\\", meanings[] = "\n\t\"\\";
        char letter = bytes[++i];
        const char *known = letter ? strchr(letters, letter) : NULL;
        if (known) {
            *to++ = meanings[known - letters];
            continue;
        }
        uint32_t length;
        utf8_decode(bytes + i, end - i, &length);
        if (count_error(parser)) {
            Diagnostic *d = diag_report(parser->diagnostics, DIAG_SYNTAX_STRING_ESCAPE,
                                        parser_span(parser, i - 1, i + length),
                                        text_of(parser, i - 1, i + length));
            diag_help(d, "the escapes are \\n, \\t, \\\" and \\\\");
        }
        *to++ = letter;
    }
    expr->string.length = (uint32_t)(to - expr->string.bytes);
    return expr;
}
