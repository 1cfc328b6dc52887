/* What is said where the grammar can go no further. */
#include "compiler/syntax/parser.h"

#include "grammar.h"

#include <string.h>

typedef struct {
    Parser *parser;
    const Expected *expected;
    Token at;              /* the token that does not fit */
    const Token *first;    /* of the statement */
    const Token *previous; /* or NULL at the start of a statement */
    Span span;
} Place;

static bool expects(const Place *place, int kind) { return place->expected->has[kind - T_NL]; }

/* The place takes an expression (and so nearly anything but a reserved word). */
static bool expects_expression(const Place *place) { return expects(place, T_NUMBER); }

/* What stands before is whole: it could go on with an operator. */
static bool expects_operator(const Place *place) { return expects(place, T_PLUS); }

static bool expects_statement(const Place *place) { return expects(place, T_RETURN); }

static bool expects_definition(const Place *place) {
    return expects(place, T_OPERATOR) && !expects_statement(place);
}

static const char *quoted(Parser *parser, const Token *token) {
    const char *text = text_of(parser, token->begin, token->end);
    return token->kind == T_STRING ? text : arena_format(parser->arena, "'%s'", text);
}

static const char *found_text(const Place *place) {
    Parser *parser = place->parser;
    const Token *next = token_after(parser, parser->at);
    switch (place->at.kind) {
    case T_NL:
        if (place->at.end > place->at.begin) { return "';'"; }
        return next->kind == T_END                        ? "the end of the file"
               : next->kind == T_RBRACE && !next->newline ? "'}'"
                                                          : "the end of the line";
    case T_END: return "the end of the file";
    case T_NAME: return arena_format(parser->arena, "the name %s", quoted(parser, &place->at));
    case T_NUMBER:
        return arena_format(parser->arena, "the number %s",
                            text_of(parser, place->at.begin, place->at.end));
    case T_STRING: return arena_format(parser->arena, "the string %s", quoted(parser, &place->at));
    default: return quoted(parser, &place->at);
    }
}

/* ---- what was expected --------------------------------------------------------------- */

static const struct {
    int kind;
    const char *text;
} choices[] = {
    {T_COMMA, "','"},       {T_RPAREN, "')'"},
    {T_RBRACKET, "']'"},    {T_ASSIGN, "'='"},
    {T_COLON, "':'"},       {T_LPAREN, "'('"},
    {T_LBRACE, "'{'"},      {T_RBRACE, "'}'"},
    {T_FOR, "'for'"},       {T_IN, "'in'"},
    {T_ON, "'on'"},         {T_WITH, "'with'"},
    {T_FROM, "'from'"},     {T_TO, "'to'"},
    {T_AT, "'at'"},         {T_SUBJECT, "'subject to'"},
    {T_ELSE, "'else'"},     {T_NAME, "a name"},
    {T_STRING, "a string"}, {T_NL, "the end of the statement"},
};

static const char *expected_text(const Place *place) {
    if (expects_statement(place)) { return "a statement"; }
    if (expects_definition(place)) { return "a definition"; }
    if (expects_expression(place)) {
        return expects(place, T_RPAREN) || expects(place, T_RBRACKET)
                   ? "an expression or a closing bracket"
                   : "an expression";
    }
    bool complete = expects_operator(place);
    const char *found[sizeof choices / sizeof *choices];
    uint32_t count = 0;
    for (size_t i = 0; i < sizeof choices / sizeof *choices; i++) {
        /* Of a whole expression, that it could be called is nothing new. */
        if (expects(place, choices[i].kind) && !(complete && choices[i].kind == T_LPAREN)) {
            found[count++] = choices[i].text;
        }
    }
    if (!count) { return complete ? "an operator" : "something else"; }
    char *text = (char *)found[0];
    for (uint32_t i = 1; i < count; i++) {
        text = arena_format(place->parser->arena, i + 1 < count ? "%s, %s" : "%s or %s", text,
                            found[i]);
    }
    return text;
}

/* ---- words of other languages ------------------------------------------------------------ */

static const struct {
    const char *word, *help;
} foreign[] = {
    {"elif", "write 'else if'"},
    {"elsif", "write 'else if'"},
    {"elseif", "write 'else if'"},
    {"while", "a recurrence u[k+1] = … repeats; 'until' ends it"},
    {"do", "a recurrence u[k+1] = … repeats; 'until' ends it"},
    {"foreach", "write 'for x in xs { … }'"},
    {"def", "write 'fn f(x) = …' or 'operator A(u) = …'"},
    {"function", "write 'fn f(x) = …' or 'operator A(u) = …'"},
    {"func", "write 'fn f(x) = …' or 'operator A(u) = …'"},
    {"class", "write 'operator', 'pde', 'scheme', 'network' or 'solver'"},
    {"import", "write 'use NAME' or 'use \"file.pdn\"'"},
    {"include", "write 'use NAME' or 'use \"file.pdn\"'"},
    {"const", "write 'let NAME = …'"},
    {"var", "write 'let NAME = …'"},
    {"set", "write 'let NAME = …'"},
    {"minimize", "write 'minimise'"},
    {"maximise", "write 'minimise' of the negative"},
    {"maximize", "write 'minimise' of the negative"},
    {"end", "blocks end with '}'"},
    {"begin", "blocks begin with '{'"},
    {"then", "a block stands in braces: { … }"},
};

static bool report_foreign_word(const Place *place) {
    const Token *first = place->first;
    if (first->kind != T_NAME || place->at.kind == T_ASSIGN) { return false; }
    Parser *parser = place->parser;
    const char *word = text_of(parser, first->begin, first->end);
    for (size_t i = 0; i < sizeof foreign / sizeof *foreign; i++) {
        if (strcmp(word, foreign[i].word) == 0) {
            Diagnostic *d = diag_report(parser->diagnostics, DIAG_SYNTAX_FOREIGN_WORD,
                                        parser_span(parser, first->begin, first->end), word);
            diag_help(d, "%s", foreign[i].help);
            return true;
        }
    }
    return false;
}

/* ---- particular mistakes --------------------------------------------------------------------- */

/* A reserved word where a name must stand, or where it is used as one. */
static bool report_reserved(const Place *place) {
    Parser *parser = place->parser;
    if (!is_word(place->at.kind) || !expects(place, T_NAME)) { return false; }
    const Token *next = token_after(parser, parser->at);
    bool like_name = next->kind == T_ASSIGN || next->kind == T_COMMA || next->kind == T_RPAREN ||
                     next->kind == T_RBRACKET || next->kind == T_DOT || next->kind == T_LPAREN ||
                     next->kind == T_LBRACKET || next->kind == T_COLON || next->kind == T_LBRACE ||
                     next->kind == T_END || (next->kind >= T_RANGE && next->kind <= T_POWER) ||
                     next->newline;
    bool joins = place->at.kind >= T_FOR && !starts_statement(place->at.kind); /* with, in, to, … */
    if (expects_statement(place) || ((expects_expression(place) || joins) && !like_name)) {
        return false;
    }
    const char *text = text_of(parser, place->at.begin, place->at.end);
    Diagnostic *d = diag_report(parser->diagnostics, DIAG_SYNTAX_RESERVED, place->span, text);
    diag_help(d, "choose another name, such as '%s_'", text);
    return true;
}

static bool report_misplaced(const Place *place) {
    Parser *parser = place->parser;
    int kind = place->at.kind;
    const char *text = text_of(parser, place->at.begin, place->at.end);
    if (expects_definition(place) && starts_statement(kind)) {
        Diagnostic *d =
            diag_report(parser->diagnostics, DIAG_SYNTAX_MISPLACED_STATEMENT, place->span, text);
        diag_help(d, kind == T_RETURN || kind == T_PARAM || kind == T_BOUNDARY || kind == T_SOLVE ||
                             kind == T_UNTIL
                         ? "put it into the braces of an operator, pde, scheme, network or solver"
                         : "put it into an experiment: experiment NAME { … }");
        return true;
    }
    if (expects_statement(place) && starts_definition(kind)) {
        const char *what =
            kind == T_USE || kind == T_PRECISION ? arena_format(parser->arena, "'%s'", text)
            : kind == T_FN
                ? "a function"
                : arena_format(parser->arena, "%s %s", strchr("aeio", text[0]) ? "an" : "a", text);
        Diagnostic *d =
            diag_report(parser->diagnostics, DIAG_SYNTAX_MISPLACED_DEFINITION, place->span, what);
        if (kind == T_OPERATOR || kind == T_FN) {
            diag_help(d, "a local one is written: let A(u) = …");
        } else {
            diag_help(d, "move it to the top of the file");
        }
        return true;
    }
    return false;
}

/* A '==' of the statement outside all brackets, or NULL. */
static const Token *equality_of(const Place *place) {
    int depth = 0;
    const Token *end = place->parser->tokens.data + place->parser->at;
    for (const Token *token = place->first; token < end; token++) {
        switch (token->kind) {
        case T_LPAREN:
        case T_LBRACKET:
        case T_LBRACE: depth++; break;
        case T_RPAREN:
        case T_RBRACKET:
        case T_RBRACE: depth--; break;
        case T_EQ:
            if (depth == 0) { return token; }
            break;
        default: break;
        }
    }
    return NULL;
}

static bool report_equals(const Place *place) {
    Parser *parser = place->parser;
    if (place->at.kind == T_ASSIGN && expects_operator(place) && !expects(place, T_ASSIGN)) {
        Diagnostic *d = diag_report(parser->diagnostics, DIAG_SYNTAX_ASSIGNMENT, place->span);
        bool argument = expects(place, T_RPAREN) && expects(place, T_COMMA);
        diag_help(d, argument ? "write '==' to compare; a named argument is written name = value"
                              : "write '==' to compare");
        return true;
    }
    const Token *equality = NULL;
    if (place->at.kind == T_EQ && expects(place, T_ASSIGN)) {
        equality = &place->at;
    } else if (place->at.kind == T_NL && expects(place, T_ASSIGN)) {
        equality = equality_of(place);
    }
    if (!equality) { return false; }
    Diagnostic *d = diag_report(parser->diagnostics, DIAG_SYNTAX_EQUALITY,
                                parser_span(parser, equality->begin, equality->end));
    diag_help(d, "write '='; '==' compares");
    return true;
}

static bool report_chain(const Place *place) {
    if (place->at.kind < T_EQ || place->at.kind > T_GE || !expects_operator(place)) {
        return false;
    }
    Diagnostic *d =
        diag_report(place->parser->diagnostics, DIAG_SYNTAX_CHAINED_COMPARISON, place->span);
    diag_help(d, "write a < b and b < c");
    return true;
}

/* A way out, where the slip is a known one. */
static void add_help(const Place *place, Diagnostic *d) {
    int kind = place->at.kind, before = place->previous ? place->previous->kind : 0;
    static const char broken[] =
        "the line before ended its statement: break a long one after an operator, or inside brackets";
    if (kind == T_NL && expects(place, T_ASSIGN) && place->first->kind == T_MINUS) {
        diag_help(d, broken);
    } else if (kind == T_NL && expects(place, T_ASSIGN) && expects_operator(place)) {
        diag_help(d,
                  "a statement is an equation 'left = right', or begins with a word such as 'let'; "
                  "'print' shows a value");
    } else if (kind == T_COLON && expects(place, T_LBRACE)) {
        diag_help(d, "a block stands in braces: { … }");
    } else if (expects_operator(place) && before != T_STRING &&
               (kind == T_NAME || kind == T_NUMBER)) {
        diag_help(d, "a product needs its sign '*'");
    } else if (expects_definition(place) && kind == T_NAME) {
        diag_help(d, "at the top of a file a value is defined by: let NAME = …");
    } else if (place->first->kind == T_LET && kind == T_LPAREN && expects(place, T_ASSIGN)) {
        diag_help(d, "at the top of a file write: operator A(u) = … or fn f(x) = …");
    } else if (expects_statement(place) && kind >= T_EQ && kind <= T_POWER) {
        diag_help(d, broken);
    } else if (kind == T_LBRACE && expects_expression(place)) {
        diag_help(d, "lists stand in brackets: [1, 2]");
    }
}

static void report_general(const Place *place) {
    Parser *parser = place->parser;
    const char *wanted = expected_text(place), *found = found_text(place);
    Diagnostic *d;
    if (place->previous) {
        d = diag_report(parser->diagnostics, DIAG_SYNTAX_EXPECTED_AFTER, place->span, wanted,
                        quoted(parser, place->previous), found);
    } else {
        d = diag_report(parser->diagnostics, DIAG_SYNTAX_EXPECTED, place->span, wanted, found);
    }
    add_help(place, d);
}

/* ---- the entry ---------------------------------------------------------------------------------- */

/* Statements that carry a block: what is inside of it can be read although the head is broken. */
static bool carries_block(int kind) {
    switch (kind) {
    case T_IF:
    case T_ELSE:
    case T_FOR:
    case T_TRAIN:
    case T_EVERY:
    case T_NAME: return true;
    default: return kind != T_USE && kind != T_PRECISION && starts_definition(kind);
    }
}

static void start_panic(Parser *parser, const Token *first) {
    int kind = parser->current.kind;
    parser->panic_stops_at_block = carries_block(first->kind);
    parser->panic_braces = parser->braces - (kind == T_LBRACE && parser->braces > 0);
    parser->panic =
        kind != T_NL && kind != T_END && !(kind == T_LBRACE && parser->panic_stops_at_block);
}

void report_unexpected(Parser *parser, const Expected *expected) {
    if (parser->dead) { return; }
    const Token *tokens = parser->tokens.data;
    Place place = {
        .parser = parser,
        .expected = expected,
        .at = parser->current,
        .first = token_after(parser, parser->statement),
        .span = parser_span(parser, parser->current.begin, parser->current.end),
    };
    /* The last token of the file before the one that does not fit, when of this statement. */
    uint32_t before = parser->at;
    bool made = parser->current.begin == parser->current.end;
    for (uint32_t skip = made ? 0 : 1; before > parser->statement; skip -= skip > 0) {
        before--;
        if (skip == 0 && tokens[before].kind != TOKEN_SKIP) {
            place.previous = &tokens[before];
            break;
        }
    }
    /* A character that was left out, and reported, leaves a hole that explains the rest. */
    bool silent = parser->current_made;
    for (uint32_t i = parser->at; i-- > parser->statement && &tokens[i] != place.previous;) {
        silent |= tokens[i].kind == TOKEN_SKIP && tokens[i].slip != SLIP_COMMENT;
    }
    start_panic(parser, place.first);
    if (silent || !count_error(parser)) { return; }
    if (!(report_foreign_word(&place) || report_reserved(&place) || report_misplaced(&place) ||
          report_equals(&place) || report_chain(&place))) {
        report_general(&place);
    }
}
