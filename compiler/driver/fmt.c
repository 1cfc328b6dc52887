/* pdn fmt. */
#include "compiler/driver/pipeline.h"
#include "runtime/pdn.h"

#include <errno.h>
#include <string.h>

static bool read_all(const char *path, Text *text) {
    FILE *f = fopen(path, "rb");
    if (!f) {
        fprintf(stderr, "pdn fmt: %s: %s\n", path, strerror(errno));
        return false;
    }
    char part[65536];
    size_t n;
    while ((n = fread(part, 1, sizeof part, f)) > 0 && text->len <= (64u << 20))
        text_add(text, part, n);
    bool ok = !ferror(f);
    if (!ok) fprintf(stderr, "pdn fmt: %s: %s\n", path, strerror(errno));
    fclose(f);
    return ok;
}

static int write_back(const char *path, const Text *before, const Text *after, bool check) {
    if (before->len == after->len &&
        (!after->len || memcmp(before->data, after->data, after->len) == 0))
        return 0;
    if (check) {
        printf("%s\n", path);
        return 1;
    }
    PdnError error = {{0}};
    if (pdn_text_write(path, after->len ? after->data : "", after->len, &error) == PDN_OK) return 0;
    fprintf(stderr, "pdn fmt: %s\n", error.message);
    return 1;
}

static int format_file(const Options *o, const char *path) {
    Text before = {0}, after = {0};
    int status = 1;
    if (read_all(path, &before)) {
        Session s;
        session_open(&s, o);
        uint32_t file =
            sources_add(s.sources, path, before.len ? before.data : "", before.len, false);
        Comments comments = {0};
        Program *p = syntax_parse(s.arena, s.names, s.diagnostics, file, &comments);
        if (!session_failed(&s)) {
            syntax_format(p, s.names, s.sources, &comments, &after);
            status = write_back(path, &before, &after, o->check);
        }
        session_close(&s);
    }
    text_free(&before);
    text_free(&after);
    return status;
}

int command_fmt(Options *options) {
    int status = format_file(options, options->file);
    for (uint32_t i = 0; i < options->words.len; i++)
        status |= format_file(options, options->words.data[i]);
    return status;
}
