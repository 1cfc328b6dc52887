/* Between scanner and grammar: ends statements, mends brackets, passes over broken statements. */
#include "compiler/syntax/parser.h"

#include "grammar.h"

#include <string.h>

/* ---- kinds of tokens -------------------------------------------------------- */

bool is_word(int kind) { return kind >= T_USE && kind <= T_PRECISION; }

bool starts_definition(int kind) {
    return kind == T_USE || (kind >= T_FN && kind <= T_TEST) || kind == T_PRECISION;
}

bool starts_statement(int kind) {
    switch (kind) {
    case T_LET:
    case T_INPUT:
    case T_PARAM:
    case T_GRID:
    case T_DATA:
    case T_BOUNDARY:
    case T_SOLVE:
    case T_FOR:
    case T_TRAIN:
    case T_EVERY:
    case T_MINIMISE:
    case T_REPORT:
    case T_PRINT:
    case T_SAVE:
    case T_LOAD:
    case T_ASSERT:
    case T_RETURN:
    case T_IF:
    case T_UNTIL: return true;
    default: return starts_definition(kind);
    }
}

/* Whether an end of line after it ends the statement. */
static bool can_end(int kind) {
    switch (kind) {
    case T_NAME:
    case T_NUMBER:
    case T_STRING:
    case T_TRUE:
    case T_FALSE:
    case T_RPAREN:
    case T_RBRACKET:
    case T_RBRACE: return true;
    default: return false;
    }
}

/* What begins no statement continues the one before. */
static bool continues(int kind) {
    switch (kind) {
    case T_ELSE:
    case T_WITH:
    case T_FROM:
    case T_IN:
    case T_ON:
    case T_TO:
    case T_AT:
    case T_SUBJECT:
    case T_AND:
    case T_OR:
    case T_LBRACE: return true;
    default: return false;
    }
}

const Token *token_after(const Parser *parser, uint32_t at) {
    while (at + 1 < parser->tokens.len && parser->tokens.data[at].kind == TOKEN_SKIP) { at++; }
    return &parser->tokens.data[at < parser->tokens.len ? at : parser->tokens.len - 1];
}

/* Whether a reserved word at `at` is used as if it were a name: f(data = 3). */
static bool used_as_name(const Parser *parser, uint32_t at) {
    switch (token_after(parser, at + 1)->kind) {
    case T_ASSIGN:
    case T_COMMA:
    case T_RPAREN:
    case T_RBRACKET:
    case T_COLON:
    case T_DOT:
    case T_PLUS:
    case T_STAR:
    case T_SLASH:
    case T_POWER: return true;
    default: return false;
    }
}

/* ---- mistakes -------------------------------------------------------------------- */

Span parser_span(const Parser *parser, uint32_t begin, uint32_t end) {
    return (Span){parser->file, begin, end};
}

const char *text_of(Parser *parser, uint32_t begin, uint32_t end) {
    enum { MOST = 40 };
    if (end - begin <= MOST) {
        return arena_text(parser->arena, parser->bytes + begin, end - begin);
    }
    end = begin + MOST;
    while (end > begin && ((unsigned char)parser->bytes[end] & 0xC0) == 0x80) {
        end--; /* not in the middle of a character */
    }
    return arena_format(parser->arena, "%.*s…", (int)(end - begin), parser->bytes + begin);
}

bool count_error(Parser *parser) {
    if (++parser->errors >= ERROR_LIMIT) { parser->dead = true; }
    return parser->errors <= ERROR_LIMIT;
}

void too_deep(Parser *parser, Span at) {
    if (!parser->dead) {
        Diagnostic *d = diag_report(parser->diagnostics, DIAG_SYNTAX_TOO_DEEP, at, AST_DEPTH_LIMIT);
        diag_help(d, "give parts of it names with 'let'");
        parser->dead = true;
    }
}

static const char *bracket_text(int kind) { return kind == '(' ? "(" : kind == '[' ? "[" : "{"; }

static const char *closer_text(int kind) { return kind == '(' ? ")" : kind == '[' ? "]" : "}"; }

static int closer_kind(int kind) {
    return kind == '(' ? T_RPAREN : kind == '[' ? T_RBRACKET : T_RBRACE;
}

static Span bracket_span(const Parser *parser, const Bracket *bracket) {
    return parser_span(parser, bracket->begin, bracket->begin + 1);
}

static void report_unclosed(Parser *parser, const Token *before) {
    const Bracket *bracket = &vec_last(&parser->brackets);
    if (bracket->kind == '{' && parser->has_suspect) {
        bracket = &parser->suspect;
        parser->has_suspect = false;
    }
    if (!count_error(parser)) { return; }
    Diagnostic *d = diag_report(parser->diagnostics, DIAG_SYNTAX_UNCLOSED,
                                bracket_span(parser, bracket), bracket_text(bracket->kind));
    if (before->kind == T_END) {
        diag_help(d, "the file ends without its '%s'", closer_text(bracket->kind));
    } else {
        diag_label(d, parser_span(parser, before->begin, before->end),
                   "'%s' is missing before this", closer_text(bracket->kind));
    }
}

/* ---- brackets ----------------------------------------------------------------------- */

/* The column at which the text of the line with `offset` begins. */
static uint32_t indent_of(const Parser *parser, uint32_t offset, bool *first) {
    enum { FARTHEST = 400 };
    uint32_t begin = offset, stop = offset > FARTHEST ? offset - FARTHEST : 0;
    while (begin > stop && parser->bytes[begin - 1] != '\n') { begin--; }
    uint32_t text = begin;
    while (text < offset && (parser->bytes[text] == ' ' || parser->bytes[text] == '\t')) { text++; }
    *first = text == offset;
    return text - begin;
}

static void push_bracket(Parser *parser, int kind, const Token *token) {
    if (parser->brackets.len + parser->chains >= AST_DEPTH_LIMIT) {
        too_deep(parser, parser_span(parser, token->begin, token->end));
        return;
    }
    bool first;
    Bracket bracket = {.kind = (uint8_t)kind, .begin = token->begin};
    if (kind == '{') {
        bracket.indent = indent_of(parser, token->begin, &first);
        parser->braces++;
    }
    vec_push(&parser->brackets, bracket);
}

static void pop_bracket(Parser *parser, const Token *closer) {
    Bracket bracket = vec_pop(&parser->brackets);
    parser->chains -= bracket.chain;
    if (bracket.kind != '{') { return; }
    parser->braces--;
    bool first;
    if (closer && !parser->has_suspect &&
        indent_of(parser, closer->begin, &first) < bracket.indent && first) {
        parser->has_suspect = true;
        parser->suspect = bracket;
    }
}

static int top(const Parser *parser) {
    return parser->brackets.len ? vec_last(&parser->brackets).kind : 0;
}

static bool in_parens(const Parser *parser) { return top(parser) == '(' || top(parser) == '['; }

/* Whether an open bracket of this kind waits, with no '{' after it. */
static bool waits(const Parser *parser, int kind) {
    for (uint32_t i = parser->brackets.len; i-- > 0;) {
        if (parser->brackets.data[i].kind == kind) { return true; }
        if (parser->brackets.data[i].kind == '{' && kind != '{') { return false; }
    }
    return false;
}

/* ---- one token ------------------------------------------------------------------------- */

/* A token that stands nowhere: an end of statement or a missing bracket, after the last one. */
static int make_up(Parser *parser, int kind, bool mends, Span *at) {
    *at = parser_span(parser, parser->previous_span.end, parser->previous_span.end);
    parser->current = (Token){.begin = at->begin, .end = at->end, .kind = (int16_t)kind};
    parser->previous = kind;
    parser->previous_span = *at;
    parser->current_made = mends;
    return kind;
}

static bool statement_is_open(const Parser *parser) {
    return parser->previous && parser->previous != T_NL && parser->previous != T_LBRACE &&
           parser->previous != T_RBRACE;
}

/* Whether the end of line before `token` ends a statement. */
static bool ends_statement(const Parser *parser, const Token *token) {
    if (!parser->previous || parser->previous == T_NL || parser->previous == T_LBRACE ||
        in_parens(parser)) {
        return false;
    }
    if (can_end(parser->previous)) { return !continues(token->kind); }
    /* After a token that cannot end one, unless what follows can only begin another. */
    return starts_statement(token->kind);
}

static int take(Parser *parser, const Token *token, Span *at) {
    *at = parser_span(parser, token->begin, token->end);
    parser->current = *token;
    if (!statement_is_open(parser)) { parser->statement = parser->at; }
    parser->at++;
    parser->newline_settled = false;
    parser->skipped_newline = false;
    parser->previous = token->kind;
    parser->previous_span = *at;
    parser->current_made = false;
    return token->kind;
}

/* Passes over the next token. */
static void drop(Parser *parser) {
    parser->skipped_newline = !parser->newline_settled &&
                              (parser->skipped_newline || parser->tokens.data[parser->at].newline);
    parser->at++;
    parser->newline_settled = false;
}

/* Supplies the closer that is missing before `token`; one message for all that are. */
static int close_for(Parser *parser, const Token *token, Span *at) {
    if (parser->unclosed_reported != parser->at + 1) {
        parser->unclosed_reported = parser->at + 1;
        report_unclosed(parser, token);
    }
    int kind = closer_kind(top(parser));
    pop_bracket(parser, NULL);
    return make_up(parser, kind, true, at);
}

static int close_bracket(Parser *parser, const Token *token, Span *at, bool *taken) {
    int opener = token->kind == T_RPAREN ? '(' : token->kind == T_RBRACKET ? '[' : '{';
    *taken = true;
    if (top(parser) == opener) {
        pop_bracket(parser, token);
        return take(parser, token, at);
    }
    if (waits(parser, opener)) { return close_for(parser, token, at); }
    if (in_parens(parser) && opener != '{') {
        const Bracket *open = &vec_last(&parser->brackets);
        if (count_error(parser)) {
            Diagnostic *d = diag_report(parser->diagnostics, DIAG_SYNTAX_MISMATCHED,
                                        parser_span(parser, token->begin, token->end),
                                        closer_text(opener), bracket_text(open->kind));
            diag_label(d, bracket_span(parser, open), "opened here");
        }
        int kind = closer_kind(open->kind);
        pop_bracket(parser, NULL);
        take(parser, token, at);
        parser->previous = kind;
        parser->current.kind = (int16_t)kind;
        parser->current_made = true;
        return kind;
    }
    if (count_error(parser)) {
        diag_report(parser->diagnostics, DIAG_SYNTAX_UNOPENED,
                    parser_span(parser, token->begin, token->end), closer_text(opener));
    }
    drop(parser);
    *taken = false;
    return 0;
}

/* A bracket that must be closed before `token` can stand where it does. */
static bool must_close_before(Parser *parser, const Token *token, bool newline) {
    if (!parser->brackets.len) { return false; }
    if (token->kind == T_END) { return true; }
    if (in_parens(parser)) {
        return token->kind == T_LBRACE ||
               (newline && starts_statement(token->kind) && !used_as_name(parser, parser->at));
    }
    /* A definition at the left margin while a block further in is open. */
    bool first;
    return newline && starts_definition(token->kind) && vec_last(&parser->brackets).kind == '{' &&
           indent_of(parser, token->begin, &first) == 0 && first && (token + 1)->kind != T_ASSIGN;
}

/* Keeps count of the `else if`s, which nest in the tree but not in brackets. */
static void count_chain(Parser *parser, const Token *token) {
    if (token->kind != T_IF) { return; }
    uint32_t *chain = parser->brackets.len ? &vec_last(&parser->brackets).chain : NULL;
    if (!chain) { return; }
    if (parser->previous != T_ELSE) {
        parser->chains -= *chain;
        *chain = 0;
    } else {
        ++*chain;
        ++parser->chains;
        if (parser->brackets.len + parser->chains >= AST_DEPTH_LIMIT) {
            too_deep(parser, parser_span(parser, token->begin, token->end));
        }
    }
}

static int next(Parser *parser, Span *at) {
    for (;;) {
        const Token *token = &parser->tokens.data[parser->at];
        if (parser->dead) {
            *at = parser_span(parser, token->begin, token->begin);
            return T_END;
        }
        if (token->slip && parser->slip_reported != parser->at + 1) {
            parser->slip_reported = parser->at + 1;
            report_slip(parser, token);
        }
        if (token->kind == TOKEN_SKIP) {
            drop(parser);
            continue;
        }
        bool newline = (token->newline || parser->skipped_newline) && !parser->newline_settled;
        if (must_close_before(parser, token, newline)) {
            if (top(parser) == '{' && statement_is_open(parser)) {
                return make_up(parser, T_NL, false, at);
            }
            return close_for(parser, token, at);
        }
        if (newline && ends_statement(parser, token)) {
            parser->newline_settled = true;
            return make_up(parser, T_NL, false, at);
        }
        parser->newline_settled = true;
        switch (token->kind) {
        case T_LPAREN:
        case T_LBRACKET:
        case T_LBRACE: push_bracket(parser, parser->bytes[token->begin], token); break;
        case T_RBRACE:
            if (statement_is_open(parser) && top(parser) == '{') {
                return make_up(parser, T_NL, false, at);
            }
            /* fall through */
        case T_RPAREN:
        case T_RBRACKET: {
            bool taken;
            int kind = close_bracket(parser, token, at, &taken);
            if (taken) { return kind; }
            continue;
        }
        case T_NL: /* a ';' */
            if (!statement_is_open(parser) || in_parens(parser)) {
                drop(parser);
                continue;
            }
            break;
        case T_END:
            if (statement_is_open(parser)) { return make_up(parser, T_NL, false, at); }
            *at = parser_span(parser, token->begin, token->end);
            parser->current = *token;
            return T_END;
        default: count_chain(parser, token); break;
        }
        if (!parser->dead) { return take(parser, token, at); }
    }
}

/* The values that go with names, numbers and strings. */
static void set_value(Parser *parser, int kind, Span at, PDN_STYPE *value) {
    if (kind == T_NAME) {
        value->name.span = at;
        value->name.name = names_intern(parser->names, parser->bytes + at.begin, at.end - at.begin);
    } else if (kind == T_NUMBER) {
        value->expr = make_expr(parser, EXPR_NUMBER, at);
        value->expr->number = number_value(parser, at);
    } else if (kind == T_STRING) {
        value->expr = string_node(parser, at);
    }
}

int pdn_lex(PDN_STYPE *value, Span *at, Parser *parser);
int pdn_lex(PDN_STYPE *value, Span *at, Parser *parser) {
    int kind = next(parser, at);
    while (parser->panic && !parser->dead && kind != T_END) {
        bool here = parser->braces <= parser->panic_braces && !in_parens(parser);
        bool block = kind == T_LBRACE && parser->panic_stops_at_block &&
                     parser->braces == parser->panic_braces + 1;
        if ((kind == T_NL && here) || block) { break; }
        /* A '}' at the end of a passed-over block ends the statement, `else` apart. */
        if (kind == T_RBRACE && parser->braces == parser->panic_braces && here &&
            token_after(parser, parser->at)->kind != T_ELSE) {
            kind = make_up(parser, T_NL, false, at);
            break;
        }
        kind = next(parser, at);
    }
    parser->panic = false;
    set_value(parser, kind, *at, value);
    return kind;
}
