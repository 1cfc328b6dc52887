/* The formatter's output, and its looks into the source. */
#include "compiler/syntax/format.h"

#include <string.h>

void format_emit(Formatter *f, const char *text, size_t length) {
    for (size_t i = 0; i < length; i++) { f->column += ((unsigned char)text[i] & 0xC0) != 0x80; }
    if (f->dry) {
        f->over |= f->column > LINE_WIDTH;
    } else {
        text_add(f->out, text, length);
    }
}

void format_puts(Formatter *f, const char *text) { format_emit(f, text, strlen(text)); }

void format_newline(Formatter *f, uint32_t indent) {
    static const char blanks[DEEPEST_INDENT + 1] =
        "                                                                                ";
    if (f->dry) {
        f->over = true;
        return;
    }
    indent = indent > DEEPEST_INDENT ? DEEPEST_INDENT : indent;
    text_add(f->out, "\n", 1);
    text_add(f->out, blanks, indent);
    f->line++;
    f->column = f->line_indent = indent;
}

bool format_has_newline(const Formatter *f, uint32_t begin, uint32_t end) {
    return begin < end && memchr(f->bytes + begin, '\n', end - begin) != NULL;
}

uint32_t format_skip_blank(const Formatter *f, uint32_t at) {
    while (at < f->length) {
        char c = f->bytes[at];
        if (c == '#') {
            const char *end = memchr(f->bytes + at, '\n', f->length - at);
            at = end ? (uint32_t)(end - f->bytes) : f->length;
        } else if (c == ' ' || c == '\t' || c == '\r' || c == '\n') {
            at++;
        } else {
            break;
        }
    }
    return at;
}

void format_comment(Formatter *f, uint32_t index) {
    Span span = f->comments[index].span;
    f->done[index] = true;
    format_emit(f, f->bytes + span.begin, span.end - span.begin);
}

uint32_t format_first_comment(const Formatter *f, uint32_t at) {
    uint32_t low = 0, high = f->comment_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (f->comments[middle].span.begin < at) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}
