/* What the scanner's rules call: the token list. */
#include "compiler/syntax/parser.h"

void scan_token(Parser *parser, int kind, Slip slip) {
    Token token = {
        .begin = parser->begin,
        .end = parser->end,
        .kind = (int16_t)kind,
        .slip = (uint8_t)slip,
        .newline = parser->newline,
    };
    parser->newline = false;
    vec_push(&parser->tokens, token);
}

void scan_skip(Parser *parser, uint32_t begin, uint32_t end, Slip slip) {
    Token token = {
        .begin = begin,
        .end = end,
        .kind = TOKEN_SKIP,
        .slip = (uint8_t)slip,
        .newline = parser->newline,
    };
    parser->newline = false;
    /* A run of bytes of one sort is one mistake. */
    if (parser->tokens.len && (slip == SLIP_UTF8 || slip == SLIP_BYTE)) {
        Token *last = &vec_last(&parser->tokens);
        if (last->slip == slip && last->end == begin && !token.newline) {
            last->end = end;
            return;
        }
    }
    vec_push(&parser->tokens, token);
}

static bool is_stray(unsigned char byte) { return (byte < 0x20 && byte != '\t') || byte == 0x7F; }

void scan_text(Parser *parser, uint32_t begin, uint32_t end) {
    for (uint32_t i = begin, length; i < end; i += length) {
        if (utf8_decode(parser->bytes + i, end - i, &length) == UINT32_MAX) {
            scan_skip(parser, i, i + 1, SLIP_UTF8);
        } else if (length == 1 && is_stray((unsigned char)parser->bytes[i])) {
            scan_skip(parser, i, i + 1, SLIP_BYTE);
        }
    }
}

/* A byte that begins no token: take the rest of its character too. */
void scan_character(Parser *parser) {
    uint32_t length, begin = parser->begin;
    uint32_t point = utf8_decode(parser->bytes + begin, parser->length - begin, &length);
    if (point == UINT32_MAX) {
        /* The bytes of a character that was already taken come one by one. */
        uint32_t before = parser->tokens.len ? vec_last(&parser->tokens).end : 0;
        if (begin >= before) { scan_skip(parser, begin, begin + 1, SLIP_UTF8); }
    } else if (length == 1 && is_stray((unsigned char)parser->bytes[begin])) {
        scan_skip(parser, begin, begin + 1, SLIP_BYTE);
    } else {
        scan_skip(parser, begin, begin + length, SLIP_CHARACTER);
    }
}
