/* libFuzzer target for the front end: parse; what parses is formatted, parsed and formatted again.
 * Fails on a crash, on a format that does not parse, changes the tree, loses a comment, or is not
 * stable. See README.md beside this file. */
#include "compiler/syntax/ast.h"

#include <stdlib.h>
#include <string.h>

typedef struct {
    Sources *sources;
    Diagnostics *diagnostics;
    Arena *arena;
    Names *names;
    Comments comments;
    Program *program;
} Parsed;

static Parsed parse(const char *bytes, size_t size) {
    Parsed p = {.sources = sources_new(), .arena = arena_new(), .names = names_new()};
    p.diagnostics = diagnostics_new(p.sources, 0);
    uint32_t file = sources_add(p.sources, "fuzz.pdn", bytes, size, false);
    p.program = syntax_parse(p.arena, p.names, p.diagnostics, file, &p.comments);
    return p;
}

static void release(Parsed *p) {
    diagnostics_free(p->diagnostics);
    sources_free(p->sources);
    names_free(p->names);
    arena_free(p->arena);
}

static void fail(const char *what, const Text *a, const Text *b) {
    fprintf(stderr, "%s\n--- first\n%s\n--- second\n%s\n", what, a->data ? a->data : "",
            b->data ? b->data : "");
    abort();
}

static bool same(const Text *a, const Text *b) {
    return a->len == b->len && (!a->len || memcmp(a->data, b->data, a->len) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    Parsed first = parse((const char *)data, size);
    Text once = {0}, twice = {0}, tree = {0}, tree_again = {0}, messages = {0};
    diagnostics_render_text(first.diagnostics, &messages);
    syntax_print(first.program, first.names, &tree);
    if (!diagnostics_errors(first.diagnostics)) {
        syntax_format(first.program, first.names, first.sources, &first.comments, &once);
        Parsed second = parse(once.data ? once.data : "", once.len);
        text_free(&messages);
        diagnostics_render_text(second.diagnostics, &messages);
        if (diagnostics_errors(second.diagnostics)) {
            fail("the formatted program does not parse", &once, &messages);
        }
        syntax_print(second.program, second.names, &tree_again);
        if (!same(&tree, &tree_again)) {
            fail("formatting changed the program", &tree, &tree_again);
        }
        if (first.comments.count != second.comments.count) {
            fail("formatting lost a comment", &once, &twice);
        }
        syntax_format(second.program, second.names, second.sources, &second.comments, &twice);
        if (!same(&once, &twice)) { fail("formatting is not stable", &once, &twice); }
        release(&second);
    }
    text_free(&once);
    text_free(&twice);
    text_free(&tree);
    text_free(&tree_again);
    text_free(&messages);
    release(&first);
    return 0;
}
