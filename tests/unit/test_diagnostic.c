/* diagnostic: places, and the exact text of messages. */
#include "compiler/diagnostic/diagnostic.h"

#include <criterion/criterion.h>
#include <string.h>

static Sources *sources;
static Diagnostics *all;
static Text text;

static void set_up(void) {
    sources = sources_new();
    all = diagnostics_new(sources, 0);
    text = (Text){0};
}

static void tear_down(void) {
    text_free(&text);
    diagnostics_free(all);
    sources_free(sources);
}

TestSuite(diagnostic, .init = set_up, .fini = tear_down);

static uint32_t add(const char *name, const char *bytes) {
    return sources_add(sources, name, bytes, strlen(bytes), false);
}

/* The n-th stretch of the file that reads `word`. */
static Span find(uint32_t file, const char *word, int n) {
    const char *bytes = sources_bytes(sources, file, NULL), *at = bytes - 1;
    while (n-- > 0) {
        at = strstr(at + 1, word);
        cr_assert_not_null(at);
    }
    uint32_t begin = (uint32_t)(at - bytes);
    return (Span){file, begin, begin + (uint32_t)strlen(word)};
}

static void expect(const char *expected) {
    diagnostics_render_text(all, &text);
    cr_assert_str_eq(text.data, expected);
}

Test(diagnostic, the_form_of_the_language_page) {
    const char *program = "let r = f - A(restrict(v))\n";
    char lines[400] = "";
    for (int i = 0; i < 13; i++) { strcat(lines, "\n"); }
    strcat(strcat(lines, "    "), program);
    uint32_t file = add("denoise.pdn", lines);
    Diagnostic *d =
        diag_report(all, DIAG_SYNTAX_EXPECTED, find(file, "A(restrict(v))", 1), "one grid", "two");
    diag_label_primary(d, "128×128, spacing 2");
    diag_label(d, find(file, "f", 1), "256×256, spacing 1");
    diag_help(d, "prolong() brings a field to the next finer grid");
    expect("denoise.pdn:14:17: error: expected one grid, found two\n"
           "  14 |     let r = f - A(restrict(v))\n"
           "     |             ~   ^~~~~~~~~~~~~~ 128×128, spacing 2\n"
           "     |             |\n"
           "     |             256×256, spacing 1\n"
           "  help: prolong() brings a field to the next finer grid\n");
}

Test(diagnostic, three_labels_and_a_line_far_away) {
    uint32_t file = add("a.pdn", "let a = 1\n\n\nlet b = f(a, c)\n");
    Diagnostic *d = diag_report(all, DIAG_SYNTAX_EXPECTED, find(file, "f", 1), "x", "y");
    diag_label_primary(d, "here");
    diag_label(d, find(file, "a", 2), "first");
    diag_label(d, find(file, "c", 1), "last");
    diag_label(d, find(file, "1", 1), "defined");
    expect("a.pdn:4:9: error: expected x, found y\n"
           "  1 | let a = 1\n"
           "    |         ~ defined\n"
           "...\n"
           "  4 | let b = f(a, c)\n"
           "    |         ^ ~  ~ last\n"
           "    |         | |\n"
           "    |         | first\n"
           "    |         here\n");
}

Test(diagnostic, several_lines_notes_and_other_files) {
    uint32_t file = add("a.pdn", "let a = f(1,\n          2)\n");
    uint32_t library = add("lib.pdn", "fn f(x) = x\n");
    Diagnostic *d = diag_report(all, DIAG_SYNTAX_UNCLOSED, (Span){file, 8, 24}, "(");
    diag_label(d, find(library, "f", 2), "defined here");
    diag_note(d, find(library, "x", 2), "used here");
    diag_note(d, SPAN_NONE, "so it is");
    expect("a.pdn:1:9: error: this '(' is never closed\n"
           "  1 | let a = f(1,\n"
           "    |         ^~~~\n"
           "  2 |           2)\n"
           "    |           ~\n"
           "lib.pdn:1:4: note: defined here\n"
           "  1 | fn f(x) = x\n"
           "    |    ~\n"
           "lib.pdn:1:11: note: used here\n"
           "  1 | fn f(x) = x\n"
           "    |           ~\n"
           "  note: so it is\n");
}

Test(diagnostic, tabs_wide_characters_and_stray_bytes) {
    uint32_t file = add("t.pdn", "\tλ = \x01 \xff 漢é q\n");
    diag_report(all, DIAG_SYNTAX_UNOPENED, find(file, "q", 1), "q");
    expect("t.pdn:1:13: error: this 'q' closes nothing\n"
           "  1 |     λ = \\x01 \\xff 漢é q\n"
           "    |                       ^\n");
}

Test(diagnostic, what_a_terminal_would_obey_is_made_visible) {
    uint32_t file = add("t\033[31m.pdn", "a\xE2\x80\xAE z\n"); /* right-to-left override */
    diag_report(all, DIAG_SYNTAX_UNOPENED, find(file, "z", 1), "\033[0m\n");
    expect("t\\x1b[31m.pdn:1:4: error: this '\\x1b[0m ' closes nothing\n"
           "  1 | a\\u{202e} z\n"
           "    |           ^\n");
}

Test(diagnostic, long_lines_are_cut_to_a_window) {
    Text line = {0};
    for (int i = 0; i < 3000; i++) { text_puts(&line, "é"); }
    text_puts(&line, " here ");
    for (int i = 0; i < 3000; i++) { text_puts(&line, "ü"); }
    uint32_t file = add("long.pdn", line.data);
    Diagnostic *d = diag_report(all, DIAG_SYNTAX_UNOPENED, find(file, "here", 1), "x");
    diag_label_primary(d, "this");
    diagnostics_render_text(all, &text);
    cr_assert_eq(strncmp(text.data, "long.pdn:1:3002: error: ", 24), 0);
    char *shown = strchr(text.data, '\n') + 1, *marks = strchr(shown, '\n') + 1;
    cr_assert_leq(marks - shown, 300);
    cr_assert_not_null(strstr(shown, "…é"));
    cr_assert_not_null(strstr(marks, "^~~~ this"));
    /* The marks stand below the word: columns are characters here. */
    int column = 0, mark = 0;
    for (char *c = shown; strncmp(c, "here", 4) != 0; c++) {
        column += ((unsigned char)*c & 0xC0) != 0x80;
    }
    mark = (int)(strchr(marks, '^') - marks);
    cr_assert_eq(column, mark);
    text_free(&line);
}

Test(diagnostic, the_same_message_is_kept_once) {
    uint32_t file = add("a.pdn", "abc\n");
    for (int i = 0; i < 3; i++) {
        Diagnostic *d = diag_report(all, DIAG_SYNTAX_UNOPENED, find(file, "b", 1), "b");
        diag_help(d, "only once");
    }
    diag_report(all, DIAG_SYNTAX_UNOPENED, find(file, "c", 1), "b");
    cr_assert_eq(diagnostics_errors(all), 2);
    expect("a.pdn:1:2: error: this 'b' closes nothing\n"
           "  1 | abc\n"
           "    |  ^\n"
           "  help: only once\n"
           "a.pdn:1:3: error: this 'b' closes nothing\n"
           "  1 | abc\n"
           "    |   ^\n");
}

Test(diagnostic, errors_past_the_limit_are_counted) {
    Diagnostics *few = diagnostics_new(sources, 2);
    uint32_t file = add("a.pdn", "abcdef");
    for (uint32_t i = 0; i < 5; i++) {
        Diagnostic *d = diag_report(few, DIAG_SYNTAX_UNOPENED, (Span){file, i, i + 1}, "x");
        diag_label_primary(d, "label %u", i);
        diag_note(d, SPAN_NONE, "note");
    }
    cr_assert_eq(diagnostics_errors(few), 5);
    cr_assert_eq(diagnostics_warnings(few), 0);
    diagnostics_render_text(few, &text);
    cr_assert_not_null(strstr(text.data, "label 1"));
    cr_assert_null(strstr(text.data, "label 2"));
    cr_assert_str_eq(strstr(text.data, "…"), "… and 3 more errors\n");
    diagnostics_free(few);
}

Test(diagnostic, nowhere) {
    Diagnostic *d = diag_report(all, DIAG_SYNTAX_UNOPENED, SPAN_NONE, "x");
    diag_help(d, "help");
    expect("pdn: error: this 'x' closes nothing\n  help: help\n");
}

Test(diagnostic, colour_is_only_dressing) {
    uint32_t file = add("a.pdn", "abc\n");
    Diagnostic *d = diag_report(all, DIAG_SYNTAX_UNOPENED, find(file, "b", 1), "b");
    diag_help(d, "help");
    char *coloured = NULL;
    size_t size = 0;
    FILE *to = open_memstream(&coloured, &size);
    diagnostics_render(all, to, true);
    fclose(to);
    cr_assert_not_null(strstr(coloured, "\033[1;31merror: \033[0m"));
    Text bare = {0};
    for (char *c = coloured; *c; c++) {
        if (*c == '\033') {
            c = strchr(c, 'm');
        } else {
            text_add(&bare, c, 1);
        }
    }
    diagnostics_render_text(all, &text);
    cr_assert_str_eq(bare.data, text.data);
    text_free(&bare);
    free(coloured);
}

Test(diagnostic, places) {
    uint32_t file = add("a.pdn", "ab\r\nλx\n\nlast"), line, column, begin, end;
    cr_assert_eq(file, 1);
    static const struct {
        uint32_t offset, line, column;
    } places[] = {{0, 1, 1}, {1, 1, 2}, {4, 2, 1},  {6, 2, 2},  {7, 2, 3},
                  {8, 3, 1}, {9, 4, 1}, {13, 4, 5}, {999, 4, 5}};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        sources_place(sources, file, places[i].offset, &line, &column);
        cr_assert_eq(line, places[i].line, "offset %u: line %u", places[i].offset, line);
        cr_assert_eq(column, places[i].column, "offset %u: column %u", places[i].offset, column);
    }
    cr_assert(sources_line(sources, file, 1, &begin, &end));
    cr_assert(begin == 0 && end == 2, "without its carriage return");
    cr_assert(sources_line(sources, file, 4, &begin, &end));
    cr_assert(begin == 9 && end == 13);
    cr_assert_not(sources_line(sources, file, 5, &begin, &end));
    cr_assert_not(sources_line(sources, file, 0, &begin, &end));
    cr_assert_not(sources_line(sources, 9, 1, &begin, &end));
    cr_assert_str_eq(sources_name(sources, 9), "");
    size_t length = 1;
    cr_assert_str_eq(sources_bytes(sources, 0, &length), "");
    cr_assert_eq(length, 0);
}

Test(diagnostic, sources_are_copied_and_marked) {
    char bytes[] = "abc", name[] = "n";
    uint32_t mine = sources_add(sources, name, bytes, 3, false);
    uint32_t library = sources_add(sources, "l", "", 0, true);
    bytes[0] = name[0] = 'X';
    cr_assert_str_eq(sources_bytes(sources, mine, NULL), "abc");
    cr_assert_str_eq(sources_name(sources, mine), "n");
    cr_assert_not(sources_is_library(sources, mine));
    cr_assert(sources_is_library(sources, library));
}

Test(diagnostic, spans_join) {
    Span joined = span_join((Span){1, 5, 7}, (Span){1, 2, 6});
    cr_assert(joined.file == 1 && joined.begin == 2 && joined.end == 7);
    joined = span_join((Span){1, 5, 7}, (Span){2, 2, 6});
    cr_assert(joined.file == 1 && joined.begin == 5 && joined.end == 7);
    joined = span_join(SPAN_NONE, (Span){2, 2, 6});
    cr_assert_eq(joined.file, 2);
}

Test(diagnostic, nearest) {
    static const char *const names[] = {"heat", "laplacian", "grad", "reflecting", "K", "Theta"};
    cr_assert_str_eq(diag_nearest("haet", names, 6), "heat");
    cr_assert_str_eq(diag_nearest("laplacain", names, 6), "laplacian");
    cr_assert_str_eq(diag_nearest("reflective", names, 6), "reflecting");
    cr_assert_str_eq(diag_nearest("theta", names, 6), "Theta");
    cr_assert_str_eq(diag_nearest("k", names, 6), "K");
    cr_assert_null(diag_nearest("x", names, 6));
    cr_assert_null(diag_nearest("divergence", names, 6));
    cr_assert_null(diag_nearest("heat", names, 0));
}
