/* syntax_parse: from the bytes of a file to its tree. */
#include "compiler/syntax/parser.h"

#include "grammar.h"

Program *syntax_parse(Arena *arena, Names *names, Diagnostics *diagnostics, uint32_t file,
                      Comments *comments) {
    size_t length;
    Parser parser = {
        .arena = arena,
        .names = names,
        .diagnostics = diagnostics,
        .file = file,
        .bytes = sources_bytes(diagnostics_sources(diagnostics), file, &length),
    };
    Program *program = ARENA_NEW(arena, Program);
    program->file = file;
    if (length > FILE_LIMIT) {
        Diagnostic *d =
            diag_report(diagnostics, DIAG_FILE_TOO_LARGE, (Span){file, 0, 0}, length, FILE_LIMIT);
        diag_help(d, "numbers belong in a file of their own: array(\"data.npy\")");
        return program;
    }
    parser.length = (uint32_t)length;
    scan(&parser);
    pdn_parse(&parser);
    program->items = parser.items.items;
    program->count = parser.items.count;
    if (comments) {
        comments->count = parser.comments.len;
        comments->items = arena_copy(arena, parser.comments.data,
                                     parser.comments.len * sizeof *parser.comments.data);
    }
    vec_free(&parser.tokens);
    vec_free(&parser.comments);
    vec_free(&parser.brackets);
    return program;
}
