/* pdn fmt: items, statements and comments in canonical layout. */
#include "compiler/syntax/format.h"

#include <string.h>

/* A sequence of items or of statements. */
typedef struct {
    Stmt *const *stmts;
    const Item *items;
    uint32_t count;
    uint32_t begin, end; /* of what may hold its comments */
    uint32_t indent;
} Lines;

static void put_stmt(Formatter *f, const Stmt *stmt, uint32_t pad);
static void put_lines(Formatter *f, const Lines *lines);

static const char *name_text(const Formatter *f, Name name) { return names_text(f->names, name); }

static void put_name(Formatter *f, NameAt name) { format_puts(f, name_text(f, name.name)); }

static void put_names(Formatter *f, const NameAt *names, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        format_puts(f, i ? ", " : "");
        put_name(f, names[i]);
    }
}

/* ---- comments ------------------------------------------------------------------- */

/* Comments at the ends of lines that follow each other stay in one column when they stood in one. */
static void settle_trailing(Formatter *f) {
    uint32_t widest = 0;
    for (uint32_t i = 0; i < f->trailing.len; i++) {
        widest = f->trailing.data[i].column > widest ? f->trailing.data[i].column : widest;
    }
    uint32_t shift = 0, length = f->out->len;
    for (uint32_t i = 0; i < f->trailing.len; i++) { shift += widest - f->trailing.data[i].column; }
    for (uint32_t i = 0; i < shift; i++) { text_add(f->out, " ", 1); }
    char *data = f->out->data;
    for (uint32_t i = f->trailing.len; i-- > 0 && shift;) {
        const Trailing *comment = &f->trailing.data[i];
        uint32_t pad = widest - comment->column;
        memmove(data + comment->at + shift, data + comment->at, length - comment->at);
        memset(data + comment->at + shift - pad, ' ', pad);
        length = comment->at;
        shift -= pad;
    }
    f->trailing.len = 0;
}

static void put_trailing(Formatter *f, uint32_t index) {
    Trailing now = {.at = f->out->len, .column = f->column, .line = f->line};
    sources_place(f->sources, f->file, f->comments[index].span.begin, &now.source_line,
                  &now.source_column);
    if (f->trailing.len) {
        const Trailing *last = &vec_last(&f->trailing);
        if (last->line + 1 != now.line || last->source_line + 1 != now.source_line ||
            last->source_column != now.source_column) {
            uint32_t before = f->out->len;
            settle_trailing(f);
            now.at += f->out->len - before;
        }
    }
    vec_push(&f->trailing, now);
    format_puts(f, "  ");
    format_comment(f, index);
}

static bool blank_line_before(const Formatter *f, uint32_t at) {
    uint32_t newlines = 0;
    while (at > 0 && newlines < 2) {
        char c = f->bytes[at - 1];
        if (c != ' ' && c != '\t' && c != '\r' && c != '\n') { break; }
        newlines += c == '\n';
        at--;
    }
    return newlines >= 2;
}

/* Begins the line of something at `at`, after a blank one where the user left one. */
static void begin_line(Formatter *f, uint32_t at, uint32_t indent, bool *first) {
    if (!*first && blank_line_before(f, at)) {
        text_add(f->out, "\n", 1);
        f->line++;
    }
    if (f->out->len > f->start) { format_newline(f, indent); }
    *first = false;
}

static void put_comments(Formatter *f, uint32_t before, uint32_t indent, bool *first) {
    for (; f->next_comment < f->comment_count && f->comments[f->next_comment].span.begin < before;
         f->next_comment++) {
        if (!f->done[f->next_comment]) {
            begin_line(f, f->comments[f->next_comment].span.begin, indent, first);
            format_comment(f, f->next_comment);
        }
    }
}

/* The comment on the line that ends at `end`, before `limit`. */
static void put_comment_beside(Formatter *f, uint32_t end, uint32_t limit) {
    uint32_t i = format_first_comment(f, end);
    if (i < f->comment_count && f->comments[i].span.begin < limit && !f->done[i] &&
        !format_has_newline(f, end, f->comments[i].span.begin)) {
        put_trailing(f, i);
    }
}

/* Comments of a head that have no place in its layout go above it, at `at` in the output. */
static void hoist_comments(Formatter *f, uint32_t at, uint32_t begin, uint32_t end) {
    Text lines = {0};
    for (uint32_t i = format_first_comment(f, begin);
         i < f->comment_count && f->comments[i].span.begin < end; i++) {
        if (!f->done[i]) {
            Span span = f->comments[i].span;
            f->done[i] = true;
            text_add(&lines, f->bytes + span.begin, span.end - span.begin);
            text_printf(&lines, "\n%*s", (int)f->base, "");
            f->line++;
        }
    }
    if (lines.len) {
        uint32_t length = f->out->len;
        text_add(f->out, lines.data, lines.len); /* room, then moved into place */
        memmove(f->out->data + at + lines.len, f->out->data + at, length - at);
        memcpy(f->out->data + at, lines.data, lines.len);
    }
    text_free(&lines);
}

/* ---- alignment of '=' ------------------------------------------------------------------ */

/* The value after the '=' of a statement of one line that defines, or NULL. */
static const Expr *value_of(const Stmt *stmt) {
    switch (stmt->kind) {
    case STMT_LET: return stmt->let.value;
    case STMT_LET_FN: return stmt->let_fn.value;
    case STMT_INPUT:
    case STMT_GRID:
    case STMT_DATA: return stmt->bind.value;
    case STMT_PARAM: return stmt->param.value;
    case STMT_BOUNDARY: return stmt->boundary.value;
    case STMT_EQUATION: return stmt->equation.right;
    default: return NULL;
    }
}

static const Expr *item_value(const Item *item) {
    return item->kind == ITEM_LET   ? item->let.value
           : item->kind == ITEM_FN  ? item->fn.value
           : item->kind == ITEM_DEF ? item->def.value
                                    : NULL;
}

static Span line_span(const Lines *lines, uint32_t i) {
    return lines->stmts ? lines->stmts[i]->span : lines->items[i].span;
}

/* The offset of '=', 0 when there is none or the left side takes several lines. */
static uint32_t equals_of(const Formatter *f, const Lines *lines, uint32_t i) {
    const Expr *value = lines->stmts ? value_of(lines->stmts[i]) : item_value(&lines->items[i]);
    if (!value) { return 0; }
    uint32_t at = value->span.begin, begin = line_span(lines, i).begin;
    while (at > begin && (f->bytes[at - 1] == ' ' || f->bytes[at - 1] == '\t')) { at--; }
    if (at <= begin || f->bytes[at - 1] != '=' || at - begin > LINE_WIDTH ||
        format_has_newline(f, begin, at)) {
        return 0;
    }
    return at - 1;
}

static uint32_t source_column(const Formatter *f, uint32_t at, uint32_t *line) {
    uint32_t column;
    sources_place(f->sources, f->file, at, line, &column);
    return column;
}

static void put_left(Formatter *f, const Lines *lines, uint32_t i);

static uint32_t left_width(Formatter *f, const Lines *lines, uint32_t i) {
    f->dry = f->flat = true;
    uint32_t column = f->column;
    f->column = 0;
    put_left(f, lines, i);
    uint32_t width = f->over ? 0 : f->column;
    f->dry = f->flat = f->over = false;
    f->column = column;
    return width;
}

/* Whether line i + 1 stands right below line i with its '=' in the same column. */
static bool linked(const Formatter *f, const Lines *lines, uint32_t i) {
    uint32_t above = equals_of(f, lines, i), below = equals_of(f, lines, i + 1);
    Span next = line_span(lines, i + 1);
    uint32_t comment = format_first_comment(f, next.begin);
    if (!above || !below ||
        (comment < f->comment_count && f->comments[comment].span.begin < next.end)) {
        return false;
    }
    uint32_t above_line, below_line, last_line;
    uint32_t column = source_column(f, above, &above_line);
    source_column(f, line_span(lines, i).end, &last_line);
    return source_column(f, below, &below_line) == column && last_line + 1 == below_line;
}

/* The width of the left sides from line i on that are aligned; *last is set to the last of them. */
static uint32_t aligned_width(Formatter *f, const Lines *lines, uint32_t i, uint32_t *last) {
    *last = i;
    while (*last + 1 < lines->count && linked(f, lines, *last)) { ++*last; }
    uint32_t width = 0;
    for (uint32_t k = i; k <= *last && *last > i; k++) {
        uint32_t own = left_width(f, lines, k);
        width = own > width ? own : width;
    }
    return width; /* 0: alone */
}

/* ---- heads ---------------------------------------------------------------------------------- */

/* The parameters whose '(' stands at or after `at`; returns the offset after their ')'. */
static uint32_t put_params(Formatter *f, const ParamList *params, uint32_t at) {
    uint32_t open = format_skip_blank(f, at);
    format_params(f, params, open);
    uint32_t depth = 0;
    for (uint32_t i = open; i < f->length; i++) { /* comments and strings may hold brackets */
        char c = f->bytes[i];
        if (c == '#') {
            i = format_skip_blank(f, i) - 1;
        } else if (c == '"') {
            for (i++; i < f->length && f->bytes[i] != '"'; i++) { i += f->bytes[i] == '\\'; }
        } else if (c == '(') {
            depth++;
        } else if (c == ')' && --depth == 0) {
            return i + 1;
        }
    }
    return f->length;
}

static void put_def_head(Formatter *f, const Item *item) {
    format_puts(f, ast_def_text(item->def.kind));
    format_puts(f, " ");
    put_name(f, item->name);
    uint32_t at = item->name.span.end;
    if (item->def.has_config) { at = put_params(f, &item->def.config, at); }
    put_params(f, &item->def.inputs, at);
}

static void put_stmt_left(Formatter *f, const Stmt *stmt) {
    switch (stmt->kind) {
    case STMT_LET:
        format_puts(f, "let ");
        put_names(f, stmt->let.names, stmt->let.count);
        break;
    case STMT_LET_FN:
        format_puts(f, "let ");
        put_name(f, stmt->let_fn.name);
        put_params(f, &stmt->let_fn.params, stmt->let_fn.name.span.end);
        break;
    case STMT_INPUT:
    case STMT_GRID:
    case STMT_DATA:
        format_puts(f, stmt->kind == STMT_INPUT  ? "input "
                       : stmt->kind == STMT_GRID ? "grid "
                                                 : "data ");
        put_name(f, stmt->bind.name);
        break;
    case STMT_PARAM:
        format_puts(f, "param ");
        put_name(f, stmt->param.name);
        if (stmt->param.length) {
            format_puts(f, "[");
            format_expr(f, stmt->param.length, 3);
            format_puts(f, "]");
        }
        break;
    case STMT_BOUNDARY:
        format_puts(f, "boundary ");
        put_names(f, stmt->boundary.names, stmt->boundary.count);
        if (stmt->boundary.side) {
            format_puts(f, " at ");
            format_expr(f, stmt->boundary.side, 2);
        }
        break;
    default: format_expr(f, stmt->equation.left, 2); break;
    }
}

/* What stands left of '='. */
static void put_left(Formatter *f, const Lines *lines, uint32_t i) {
    if (lines->stmts) {
        put_stmt_left(f, lines->stmts[i]);
        return;
    }
    const Item *item = &lines->items[i];
    if (item->kind == ITEM_DEF) {
        put_def_head(f, item);
        return;
    }
    format_puts(f, item->kind == ITEM_LET ? "let " : "fn ");
    put_name(f, item->name);
    if (item->kind == ITEM_FN) { put_params(f, &item->fn.params, item->name.span.end); }
}

static void put_equals(Formatter *f, uint32_t left_begin, uint32_t pad) {
    while (pad && f->column - left_begin < pad) { format_puts(f, " "); }
    format_puts(f, " = ");
}

/* ---- blocks -------------------------------------------------------------------------------------- */

/* A block; on one line when the whole statement is. */
static void put_block(Formatter *f, const Block *block) {
    if (f->flat) {
        f->over |= f->dry && block->count > 1;
        if (f->dry && f->over) { return; }
        format_puts(f, block->count ? "{ " : "{}");
        for (uint32_t i = 0; i < block->count; i++) {
            put_stmt(f, block->items[i], 0);
            format_puts(f, " }");
        }
        return;
    }
    uint32_t comment = format_first_comment(f, block->span.begin);
    bool comments = comment < f->comment_count && f->comments[comment].span.begin < block->span.end;
    if (!block->count && !comments) {
        format_puts(f, "{}");
        return;
    }
    uint32_t base = f->base;
    Lines lines = {
        .stmts = block->items,
        .count = block->count,
        .begin = block->span.begin + 1,
        .end = block->span.end - 1,
        .indent = base + INDENT,
    };
    format_puts(f, "{");
    put_comment_beside(f, lines.begin, block->count ? block->items[0]->span.begin : lines.end);
    put_lines(f, &lines);
    f->base = base;
    format_newline(f, base);
    format_puts(f, "}");
}

/* A head was written that began at `at` in the output: its stray comments go above it. */
static void end_head(Formatter *f, uint32_t at, Span from, const Block *block) {
    if (!f->dry) { hoist_comments(f, at, from.begin, block->span.begin); }
    format_puts(f, " ");
    put_block(f, block);
}

static void put_if(Formatter *f, const Stmt *stmt, uint32_t at) {
    Span from = stmt->span;
    for (;;) {
        format_puts(f, "if ");
        format_expr(f, stmt->branch.condition, 2);
        end_head(f, at, from, stmt->branch.then);
        const Block *otherwise = stmt->branch.otherwise;
        if (!otherwise || (f->dry && f->over)) { return; }
        format_puts(f, " else ");
        if (f->bytes[otherwise->span.begin] == '{') {
            put_block(f, otherwise);
            return;
        }
        stmt = otherwise->items[0]; /* else if */
        at = f->out->len;
        from.begin = from.end; /* its comments go into its block */
    }
}

static void put_train(Formatter *f, const Stmt *stmt) {
    format_puts(f, "train ");
    format_exprs(f, &stmt->train.what, 0);
    if (stmt->train.on_name.name) {
        format_puts(f, " on ");
        put_name(f, stmt->train.on_name);
        format_puts(f, " in ");
        format_expr(f, stmt->train.on, 0);
    }
    format_puts(f, " for ");
    format_expr(f, stmt->train.count, 0);
    format_puts(f, " ");
    put_name(f, stmt->train.unit);
    format_puts(f, " with ");
    format_expr(f, stmt->train.with, 2);
}

/* ---- statements ------------------------------------------------------------------------------------ */

static void put_word(Formatter *f, const char *word, const Expr *expr, uint32_t tail) {
    format_puts(f, word);
    format_expr(f, expr, tail);
}

/* `in`, `subject to` and `with`: on lines of their own when the statement is too long for one. */
static void put_limits(Formatter *f, const Stmt *stmt) {
    static const char *const words[] = {"in ", "subject to ", "with "};
    const ExprList *lists[] = {&stmt->param.ranges, &stmt->param.constraints, &stmt->param.rules};
    for (uint32_t pass = 0; pass < 3; pass++) {
        const ExprList *list = lists[pass];
        for (uint32_t i = 0; i < list->count; i++) {
            if (f->flat) {
                format_puts(f, " ");
            } else {
                format_newline(f, f->base + INDENT);
            }
            bool entry = pass == 2 && i + 1 == list->count && stmt->param.entry;
            put_word(f, words[pass], list->items[i], entry ? 4 : 0);
            if (entry) { put_word(f, " at ", stmt->param.entry, 0); }
        }
    }
}

static void put_defining(Formatter *f, const Stmt *stmt, uint32_t pad) {
    uint32_t begin = f->column;
    put_stmt_left(f, stmt);
    put_equals(f, begin, pad);
    format_expr(f, value_of(stmt), 0);
    if (stmt->kind == STMT_PARAM) { put_limits(f, stmt); }
}

static void put_print(Formatter *f, const Stmt *stmt) {
    format_puts(f, stmt->kind == STMT_PRINT ? "print " : "report ");
    if (stmt->print.label) {
        format_expr(f, stmt->print.label, 1);
        format_puts(f, ": ");
    }
    format_exprs(f, &stmt->print.values, 0);
}

static void put_stmt(Formatter *f, const Stmt *stmt, uint32_t pad) {
    uint32_t at = f->out->len;
    switch (stmt->kind) {
    case STMT_ERROR: break; /* only files without errors are formatted */
    case STMT_SOLVE:
        put_word(f, "solve ", stmt->solve.left, 2);
        put_word(f, " = ", stmt->solve.right, 4);
        put_word(f, " for ", stmt->solve.unknown, 0);
        if (stmt->solve.from) { put_word(f, " from ", stmt->solve.from, 0); }
        put_word(f, " with ", stmt->solve.with, 0);
        break;
    case STMT_UNTIL: put_word(f, "until ", stmt->expr.value, 0); break;
    case STMT_MINIMISE: put_word(f, "minimise ", stmt->expr.value, 0); break;
    case STMT_ASSERT: put_word(f, "assert ", stmt->expr.value, 0); break;
    case STMT_RETURN:
        format_puts(f, "return ");
        format_exprs(f, &stmt->ret.values, 0);
        break;
    case STMT_IF: put_if(f, stmt, at); break;
    case STMT_FOR:
        format_puts(f, "for ");
        put_name(f, stmt->loop.name);
        put_word(f, " in ", stmt->loop.range, 2);
        end_head(f, at, stmt->span, stmt->loop.body);
        break;
    case STMT_TRAIN:
        put_train(f, stmt);
        end_head(f, at, stmt->span, stmt->train.body);
        break;
    case STMT_EVERY:
        put_word(f, "every ", stmt->every.count, 0);
        format_puts(f, " ");
        put_name(f, stmt->every.unit);
        end_head(f, at, stmt->span, stmt->every.body);
        break;
    case STMT_REPORT:
    case STMT_PRINT: put_print(f, stmt); break;
    case STMT_SAVE:
        put_word(f, "save ", stmt->file.what, 4);
        put_word(f, " to ", stmt->file.where, 0);
        break;
    case STMT_LOAD:
        put_word(f, "load ", stmt->file.what, 6);
        put_word(f, " from ", stmt->file.where, 0);
        break;
    default: put_defining(f, stmt, pad); break;
    }
}

static void put_item(Formatter *f, const Item *item, uint32_t pad) {
    uint32_t at = f->out->len, begin = f->column;
    Lines self = {.items = item, .count = 1};
    switch (item->kind) {
    case ITEM_ERROR: break;
    case ITEM_USE:
        format_puts(f, "use ");
        if (item->use.path) {
            format_expr(f, item->use.path, 0);
        } else {
            put_name(f, item->name);
        }
        break;
    case ITEM_PRECISION:
        format_puts(f, "precision ");
        put_name(f, item->name);
        break;
    case ITEM_LET:
    case ITEM_FN:
        put_left(f, &self, 0);
        put_equals(f, begin, pad);
        format_expr(f, item_value(item), 0);
        break;
    case ITEM_DEF:
        put_def_head(f, item);
        if (item->def.value) {
            put_equals(f, begin, pad);
            format_expr(f, item->def.value, 0);
        } else {
            end_head(f, at, item->span, item->def.block);
        }
        break;
    case ITEM_EXPERIMENT:
        format_puts(f, "experiment ");
        put_name(f, item->name);
        end_head(f, at, item->span, item->experiment.block);
        break;
    case ITEM_TEST:
        put_word(f, "test ", item->test.title, 2);
        end_head(f, at, item->span, item->test.block);
        break;
    }
}

static void put_line(Formatter *f, const Lines *lines, uint32_t i, uint32_t pad) {
    if (lines->stmts) {
        put_stmt(f, lines->stmts[i], pad);
    } else {
        put_item(f, &lines->items[i], pad);
    }
}

/* A construct with blocks stays on one line only where the user wrote it so. */
static bool has_block(const Lines *lines, uint32_t i) {
    if (lines->stmts) {
        StmtKind kind = lines->stmts[i]->kind;
        return kind == STMT_IF || kind == STMT_FOR || kind == STMT_TRAIN || kind == STMT_EVERY;
    }
    const Item *item = &lines->items[i];
    return item->kind == ITEM_EXPERIMENT || item->kind == ITEM_TEST ||
           (item->kind == ITEM_DEF && item->def.block);
}

static bool goes_on_one_line(Formatter *f, const Lines *lines, uint32_t i, uint32_t pad) {
    Span span = line_span(lines, i);
    if (has_block(lines, i) && format_has_newline(f, span.begin, span.end)) { return false; }
    uint32_t column = f->column;
    f->dry = f->flat = true;
    put_line(f, lines, i, pad);
    bool fits = !f->over && f->column <= LINE_WIDTH;
    f->dry = f->flat = f->over = false;
    f->column = column;
    return fits;
}

static void put_lines(Formatter *f, const Lines *lines) {
    bool first = true;
    uint32_t last_aligned = 0, width = 0;
    for (uint32_t i = 0; i < lines->count; i++) {
        Span span = line_span(lines, i);
        if (f->trailing.len && vec_last(&f->trailing).line != f->line) {
            settle_trailing(f); /* the last line had no comment beside */
        }
        put_comments(f, span.begin, lines->indent, &first);
        begin_line(f, span.begin, lines->indent, &first);
        f->base = lines->indent;
        if (i == 0 || i > last_aligned) { width = aligned_width(f, lines, i, &last_aligned); }
        uint32_t at = f->out->len;
        f->flat = goes_on_one_line(f, lines, i, width);
        put_line(f, lines, i, width);
        f->flat = false;
        if (!has_block(lines, i)) { hoist_comments(f, at, span.begin, span.end); }
        put_comment_beside(f, span.end,
                           i + 1 < lines->count ? line_span(lines, i + 1).begin : lines->end);
    }
    put_comments(f, lines->end, lines->indent, &first);
}

void syntax_format(const Program *program, const Names *names, const Sources *sources,
                   const Comments *comments, Text *out) {
    size_t length;
    const char *bytes = sources_bytes(sources, program->file, &length);
    Formatter f = {
        .names = names,
        .bytes = bytes,
        .length = (uint32_t)length,
        .file = program->file,
        .sources = sources,
        .out = out,
        .start = out->len,
        .comments = comments ? comments->items : NULL,
        .comment_count = comments ? comments->count : 0,
    };
    f.done = mem_alloc(f.comment_count + 1);
    memset(f.done, 0, f.comment_count + 1);
    Lines lines = {.items = program->items, .count = program->count, .end = f.length};
    put_lines(&f, &lines);
    settle_trailing(&f);
    if (out->len > f.start) { text_add(out, "\n", 1); }
    vec_free(&f.trailing);
    mem_free(f.done);
}
