/* The caret renderer: messages as text, with the lines that they speak of. */
#include "compiler/diagnostic/message.h"

#include <stdlib.h>
#include <string.h>

enum { TAB = 4, WINDOW = 120, WINDOW_BEFORE = 40 };

typedef struct {
    const Sources *sources;
    Text *out;
    bool colour;
} Renderer;

/* A marked stretch of one line; a span of several lines has several. */
typedef struct {
    uint32_t line, begin, end; /* bytes of the file */
    bool primary, head;        /* head: where the span begins */
    const char *text;          /* the label or NULL */
    uint32_t from, to;         /* display columns */
} Mark;
typedef VEC(Mark) Marks;

static const char *const RED = "\033[1;31m", *const MAGENTA = "\033[1;35m",
                         *const CYAN = "\033[1;36m", *const BOLD = "\033[1m",
                         *const BLUE = "\033[1;34m", *const PLAIN = "\033[0m";

static void style(Renderer *r, const char *code) {
    if (r->colour) { text_puts(r->out, code); }
}

static void pad(Text *out, uint32_t count) {
    static const char blanks[] = "                                ";
    for (; count > sizeof blanks - 1; count -= sizeof blanks - 1) {
        text_add(out, blanks, sizeof blanks - 1);
    }
    text_add(out, blanks, count);
}

/* ---- characters --------------------------------------------------------- */

/* Columns of a character on a terminal: 0 for combining marks, 2 for wide scripts. */
static uint32_t char_width(uint32_t c) {
    if ((c >= 0x300 && c <= 0x36F) || (c >= 0x20D0 && c <= 0x20FF) ||
        (c >= 0xFE00 && c <= 0xFE0F)) {
        return 0;
    }
    bool wide = (c >= 0x1100 && c <= 0x115F) || (c >= 0x2E80 && c <= 0xA4CF && c != 0x303F) ||
                (c >= 0xAC00 && c <= 0xD7A3) || (c >= 0xF900 && c <= 0xFAFF) ||
                (c >= 0xFE30 && c <= 0xFE6F) || (c >= 0xFF00 && c <= 0xFF60) ||
                (c >= 0xFFE0 && c <= 0xFFE6) || (c >= 0x1F300 && c <= 0x1FAFF) ||
                (c >= 0x20000 && c <= 0x3FFFD);
    return wide ? 2 : 1;
}

/* Characters that would move the cursor, hide, or reorder what is shown. */
static bool is_control(uint32_t c) {
    return c < 0x20 || (c >= 0x7F && c <= 0x9F) || (c >= 0x200B && c <= 0x200F) ||
           (c >= 0x2028 && c <= 0x202E) || (c >= 0x2060 && c <= 0x206F) || c == 0xFEFF;
}

/* Adds one character, made visible where it is not; returns its columns. `length`: its bytes. */
static uint32_t put_char(Text *out, const char *at, size_t left, uint32_t column,
                         uint32_t *length) {
    uint32_t c = utf8_decode(at, left, length), before = out->len;
    if (c == '\t') {
        uint32_t width = TAB - column % TAB;
        pad(out, width);
        return width;
    }
    if (c == UINT32_MAX || c < 0x20) {
        text_printf(out, "\\x%02x", (unsigned char)*at);
        return out->len - before;
    }
    if (is_control(c)) {
        text_printf(out, "\\u{%x}", (unsigned)c);
        return out->len - before;
    }
    text_add(out, at, *length);
    return char_width(c);
}

/* A text of a message: on one line, nothing that a terminal would obey. */
static void put_text(Text *out, const char *text) {
    size_t left = strlen(text);
    for (uint32_t length; left; text += length, left -= length) {
        if (*text == '\n' || *text == '\t') {
            text_puts(out, " ");
            length = 1;
        } else {
            put_char(out, text, left, 0, &length);
        }
    }
}

/* ---- marks --------------------------------------------------------------- */

static void add_mark(Renderer *r, Marks *marks, Span at, const char *text, bool primary) {
    uint32_t first, last, column, begin, end;
    size_t size;
    sources_bytes(r->sources, at.file, &size);
    at.begin = at.begin > size ? (uint32_t)size : at.begin;
    at.end = at.end > size ? (uint32_t)size : at.end;
    sources_place(r->sources, at.file, at.begin, &first, &column);
    last = first;
    if (at.end > at.begin + 1) { sources_place(r->sources, at.file, at.end - 1, &last, &column); }
    for (uint32_t line = first; line <= last; line++) {
        if (last - first > 3 && line == first + 1) {
            line = last; /* of a long stretch the first and the last line are enough */
        }
        if (!sources_line(r->sources, at.file, line, &begin, &end)) { break; }
        const char *bytes = sources_bytes(r->sources, at.file, NULL);
        Mark mark = {.line = line, .begin = begin, .end = end, .primary = primary};
        if (line == first) {
            mark.begin = at.begin;
            mark.head = true;
            mark.text = text && *text ? text : NULL;
        } else {
            while (mark.begin < end && (bytes[mark.begin] == ' ' || bytes[mark.begin] == '\t')) {
                mark.begin++;
            }
            if (mark.begin == end) { continue; /* an empty line inside */ }
        }
        if (line == last && at.end < mark.end) { mark.end = at.end; }
        if (mark.end < mark.begin) { mark.end = mark.begin; }
        vec_push(marks, mark);
    }
}

static int by_place(const void *a, const void *b) {
    const Mark *x = a, *y = b;
    if (x->line != y->line) { return x->line < y->line ? -1 : 1; }
    if (x->begin != y->begin) { return x->begin < y->begin ? -1 : 1; }
    return (int)y->primary - (int)x->primary;
}

/* ---- one line with its marks ----------------------------------------------- */

/* The bytes [*begin, *end) of a line that are shown: about `WINDOW` around the marks. */
static void choose_window(const char *bytes, const Mark *marks, uint32_t count, uint32_t *begin,
                          uint32_t *end) {
    if (*end - *begin <= WINDOW) { return; }
    uint32_t low = marks[0].begin, high = marks[0].end;
    const Mark *anchor = &marks[0];
    for (uint32_t i = 1; i < count; i++) {
        high = marks[i].end > high ? marks[i].end : high;
        anchor = marks[i].primary && !anchor->primary ? &marks[i] : anchor;
    }
    if (high - low > WINDOW - WINDOW_BEFORE) { low = anchor->begin; }
    uint32_t from = *begin, to = *end;
    if (low - *begin > WINDOW_BEFORE) { from = low - WINDOW_BEFORE; }
    if (to - from > WINDOW) { to = from + WINDOW; }
    /* Not in the middle of a character. */
    while (from > *begin && ((unsigned char)bytes[from] & 0xC0) == 0x80 && low - from < WINDOW) {
        from--;
    }
    while (to < *end && ((unsigned char)bytes[to] & 0xC0) == 0x80 && to - from < 2 * WINDOW) {
        to++;
    }
    *begin = from;
    *end = to;
}

static uint32_t clamp(uint32_t value, uint32_t low, uint32_t high) {
    return value < low ? low : value > high ? high : value;
}

/* Shows the window of the line and finds the display columns of its marks. */
static void put_source(Renderer *r, const char *bytes, uint32_t line_begin, uint32_t line_end,
                       Mark *marks, uint32_t count) {
    uint32_t begin = line_begin, end = line_end, column = 0;
    choose_window(bytes, marks, count, &begin, &end);
    uint32_t *columns = mem_alloc((end - begin + (size_t)1) * sizeof *columns);
    if (begin > line_begin) {
        text_puts(r->out, "…");
        column = 1;
    }
    for (uint32_t i = begin, length; i < end; i += length) {
        uint32_t width = put_char(r->out, bytes + i, end - i, column, &length);
        for (uint32_t k = 0; k < length; k++) { columns[i - begin + k] = column; }
        column += width;
    }
    columns[end - begin] = column;
    if (end < line_end) { text_puts(r->out, "…"); }
    for (uint32_t i = 0; i < count; i++) {
        marks[i].from = columns[clamp(marks[i].begin, begin, end) - begin];
        marks[i].to = columns[clamp(marks[i].end, begin, end) - begin];
        if (marks[i].to <= marks[i].from) { marks[i].to = marks[i].from + 1; }
    }
    mem_free(columns);
}

static void put_gutter(Renderer *r, uint32_t width, uint32_t line) {
    style(r, BLUE);
    if (line) {
        text_printf(r->out, "  %*u |", (int)width, line);
    } else {
        pad(r->out, width + 3);
        text_puts(r->out, "|");
    }
    style(r, PLAIN);
}

/* A row of `length` cells: spaces at its end are left out. */
static void put_row(Renderer *r, uint32_t gutter, const char *row, uint32_t length) {
    while (length && row[length - 1] == ' ') { length--; }
    put_gutter(r, gutter, 0);
    text_puts(r->out, " ");
    style(r, BLUE);
    text_add(r->out, row, length);
    style(r, PLAIN);
}

/* Bars that lead from the marks down to their labels, for the marks that begin left of `limit`. */
static void fill_bars(char *row, uint32_t width, const Mark *marks, uint32_t count,
                      const Mark *except, uint32_t limit) {
    memset(row, ' ', width);
    for (uint32_t i = 0; i < count; i++) {
        if (marks[i].text && &marks[i] != except && marks[i].from < limit) {
            row[marks[i].from] = '|';
        }
    }
}

static void put_marks(Renderer *r, uint32_t gutter, const Mark *marks, uint32_t count) {
    uint32_t width = 0, below = 0;
    const Mark *beside = NULL; /* the label that stands beside its mark: the rightmost */
    for (uint32_t i = 0; i < count; i++) { width = marks[i].to > width ? marks[i].to : width; }
    for (uint32_t i = 0; i < count; i++) {
        below += marks[i].text != NULL;
        if (marks[i].text && marks[i].to == width && (!beside || marks[i].from >= beside->from)) {
            beside = &marks[i];
        }
    }
    for (uint32_t i = 0; beside && i < count; i++) {
        if (marks[i].text && marks[i].from > beside->from) {
            beside = NULL; /* its line would cross the text */
        }
    }
    char *row = mem_alloc(width + 1);
    memset(row, ' ', width);
    for (int primary = 0; primary < 2; primary++) {
        for (uint32_t i = 0; i < count; i++) {
            if (marks[i].primary == primary) {
                memset(row + marks[i].from, '~', marks[i].to - marks[i].from);
                if (primary && marks[i].head) { row[marks[i].from] = '^'; }
            }
        }
    }
    put_row(r, gutter, row, width);
    if (beside) {
        text_puts(r->out, " ");
        put_text(r->out, beside->text);
        below--;
    }
    text_puts(r->out, "\n");
    if (below) {
        fill_bars(row, width, marks, count, beside, width);
        put_row(r, gutter, row, width);
        text_puts(r->out, "\n");
    }
    for (uint32_t i = count; i-- > 0;) {
        if (!marks[i].text || &marks[i] == beside) { continue; }
        fill_bars(row, width, marks, count, beside, marks[i].from);
        put_gutter(r, gutter, 0);
        text_puts(r->out, " ");
        text_add(r->out, row, marks[i].from);
        put_text(r->out, marks[i].text);
        text_puts(r->out, "\n");
    }
    mem_free(row);
}

/* All marked lines of a file. */
static void put_snippet(Renderer *r, uint32_t file, Marks *marks) {
    if (!marks->len) { return; }
    qsort(marks->data, marks->len, sizeof *marks->data, by_place);
    uint32_t gutter = 1;
    for (uint32_t line = vec_last(marks).line; line >= 10; line /= 10) { gutter++; }
    const char *bytes = sources_bytes(r->sources, file, NULL);
    uint32_t before = marks->data[0].line;
    for (uint32_t i = 0, next; i < marks->len; i = next) {
        uint32_t line = marks->data[i].line, begin = 0, end = 0;
        for (next = i; next < marks->len && marks->data[next].line == line; next++) {}
        if (line > before + 1) {
            pad(r->out, gutter > 1 ? gutter - 1 : 0);
            text_puts(r->out, "...\n");
        }
        sources_line(r->sources, file, line, &begin, &end);
        put_gutter(r, gutter, line);
        if (end > begin) { text_puts(r->out, " "); }
        put_source(r, bytes, begin, end, marks->data + i, next - i);
        text_puts(r->out, "\n");
        put_marks(r, gutter, marks->data + i, next - i);
        before = line;
    }
}

/* ---- whole messages ---------------------------------------------------------- */

static void put_heading(Renderer *r, Span at, Severity severity, const char *text) {
    static const char *const words[] = {"note", "warning", "error"};
    style(r, BOLD);
    if (at.file) {
        uint32_t line, column;
        sources_place(r->sources, at.file, at.begin, &line, &column);
        put_text(r->out, sources_name(r->sources, at.file));
        text_printf(r->out, ":%u:%u: ", line, column);
    } else {
        text_puts(r->out, "pdn: ");
    }
    style(r, severity == SEVERITY_ERROR ? RED : severity == SEVERITY_WARNING ? MAGENTA : CYAN);
    text_printf(r->out, "%s: ", words[severity]);
    style(r, PLAIN);
    style(r, BOLD);
    put_text(r->out, text);
    style(r, PLAIN);
    text_puts(r->out, "\n");
}

static void put_aside(Renderer *r, const char *word, const char *text) {
    style(r, CYAN);
    text_printf(r->out, "  %s:", word);
    style(r, PLAIN);
    text_puts(r->out, " ");
    put_text(r->out, text);
    text_puts(r->out, "\n");
}

/* A note, or a label that lies in another file than the message. */
static void put_note(Renderer *r, const Label *note) {
    if (!note->at.file) {
        put_aside(r, "note", note->text);
        return;
    }
    Marks marks = {0};
    put_heading(r, note->at, SEVERITY_NOTE, note->text);
    add_mark(r, &marks, note->at, NULL, false);
    put_snippet(r, note->at.file, &marks);
    vec_free(&marks);
}

static void put_diagnostic(Renderer *r, const Diagnostic *d) {
    Marks marks = {0};
    put_heading(r, d->at, d->severity, d->text);
    if (d->at.file) { add_mark(r, &marks, d->at, d->primary, true); }
    for (uint32_t i = 0; i < d->labels.len; i++) {
        const Label *label = &d->labels.data[i];
        if (d->at.file && label->at.file == d->at.file) {
            add_mark(r, &marks, label->at, label->text, false);
        }
    }
    put_snippet(r, d->at.file, &marks);
    vec_free(&marks);
    if (!d->at.file && d->primary) { put_aside(r, "note", d->primary); }
    for (uint32_t i = 0; i < d->labels.len; i++) {
        if (!d->at.file || d->labels.data[i].at.file != d->at.file) {
            put_note(r, &d->labels.data[i]);
        }
    }
    for (uint32_t i = 0; i < d->notes.len; i++) { put_note(r, &d->notes.data[i]); }
    for (uint32_t i = 0; i < d->helps.len; i++) { put_aside(r, "help", d->helps.data[i]); }
}

static void render(const Diagnostics *all, Text *to, bool colour) {
    Renderer r = {.sources = all->sources, .out = to, .colour = colour};
    for (uint32_t i = 0; i < all->kept.len; i++) { put_diagnostic(&r, all->kept.data[i]); }
    uint32_t errors = all->errors - all->kept_errors;
    uint32_t warnings = all->warnings - all->kept_warnings;
    if (errors) { text_printf(to, "… and %u more error%s\n", errors, errors == 1 ? "" : "s"); }
    if (warnings) {
        text_printf(to, "… and %u more warning%s\n", warnings, warnings == 1 ? "" : "s");
    }
}

void diagnostics_render(const Diagnostics *all, FILE *to, bool colour) {
    Text text = {0};
    render(all, &text, colour);
    if (text.len) { fwrite(text.data, 1, text.len, to); }
    text_free(&text);
}

void diagnostics_render_text(const Diagnostics *all, Text *to) { render(all, to, false); }
