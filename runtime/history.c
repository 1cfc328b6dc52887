/* history.c: the table of a training, as CSV (RFC 4180), written anew at every epoch.
 *
 * Cells are texts, so that what is kept of an older file stays as it stands. */
#define _GNU_SOURCE /* asprintf, strtod_l */
#include "runtime/file.h"
#include "runtime/pending.h"

#include <errno.h>
#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define FILE_LIMIT (INT64_C(1) << 28) /* bytes of a file that is read */

static const char *const fixed[] = {"epoch", "step", "loss", "rate", "seconds"};
#define FIXED 5

typedef struct {
    char **cells; /* NULL, or fewer than the columns: empty */
    int64_t count;
} Row;

struct PdnHistory {
    char *path;
    Row columns; /* their names */
    Row *rows;
    int64_t count, room;
    double seconds; /* of the last row */
};

static PdnStatus no_memory(const PdnHistory *history, PdnError *error) {
    return pdn_fail(error, PDN_ERROR_MEMORY, "%s: no memory for the history of the training",
                    history->path);
}

static void free_row(Row *row) {
    for (int64_t i = 0; i < row->count; i++) { free(row->cells[i]); }
    free(row->cells);
    *row = (Row){0};
}

void pdn_history_free(PdnHistory *history) {
    if (!history) { return; }
    for (int64_t i = 0; i < history->count; i++) { free_row(&history->rows[i]); }
    free(history->rows);
    free_row(&history->columns);
    free(history->path);
    free(history);
}

/* Takes over `text` (NULL: there was no memory for it), as cell `at`. */
static bool set_cell(Row *row, int64_t at, char *text) {
    if (!text) { return false; }
    if (at >= row->count) {
        char **cells = realloc(row->cells, (size_t)(at + 1) * sizeof *cells);
        if (!cells) {
            free(text);
            return false;
        }
        memset(cells + row->count, 0, (size_t)(at + 1 - row->count) * sizeof *cells);
        row->cells = cells;
        row->count = at + 1;
    }
    free(row->cells[at]);
    row->cells[at] = text;
    return true;
}

static bool set_number(Row *row, int64_t at, double value) {
    return set_cell(row, at, strdup(pdn_number_text(value, PDN_F64).text));
}

static Row *new_row(PdnHistory *history) {
    if (history->count == history->room) {
        int64_t room = history->room ? 2 * history->room : 32;
        Row *rows = realloc(history->rows, (size_t)room * sizeof *rows);
        if (!rows) { return NULL; }
        history->rows = rows;
        history->room = room;
    }
    Row *row = &history->rows[history->count++];
    *row = (Row){0};
    return row;
}

/* ---- reading an older file ------------------------------------------------------------------ */

typedef struct {
    const char *at, *end;
    int64_t line;     /* of `at`, from 1 on */
    const char *what; /* is wrong */
    char *room;       /* as long as the text, and a byte */
} Text;

/* One cell, and whether another one follows in its row. NULL: `text->what`, or no memory. */
static char *read_cell(Text *text, bool *more) {
    char *to = text->room;
    bool quoted = text->at < text->end && *text->at == '"';
    text->at += quoted;
    while (text->at < text->end) {
        char c = *text->at;
        if (quoted && c == '"') {
            if (text->at + 1 == text->end || text->at[1] != '"') { break; }
            text->at++;
        } else if (!quoted && (c == ',' || c == '\n' || c == '\r')) {
            break;
        }
        text->line += c == '\n';
        *to++ = c;
        text->at++;
    }
    *to = 0;
    if (quoted && text->at == text->end) { text->what = "a quotation mark is not closed"; }
    text->at += quoted && !text->what;
    if (!text->what && memchr(text->room, 0, (size_t)(to - text->room))) {
        text->what = "it has a zero byte";
    }
    *more = text->at < text->end && *text->at == ',';
    if (*more) {
        text->at++;
    } else if (!text->what) {
        text->at += text->at < text->end && *text->at == '\r';
        if (text->at < text->end && *text->at != '\n') {
            text->what = "text stands behind a quotation mark or a carriage return";
        }
    }
    return text->what ? NULL : strdup(text->room);
}

static bool read_row(Text *text, Row *row) {
    bool more = true;
    while (more) {
        if (!set_cell(row, row->count, read_cell(text, &more))) { return false; }
    }
    if (text->at < text->end) { /* the end of the line */
        text->at++;
        text->line++;
    }
    return true;
}

/* A whole number from 0 on; -1: none. */
static int64_t whole(const char *cell) {
    char *end;
    errno = 0;
    long long value = strtoll(cell, &end, 10);
    return *cell < '0' || *cell > '9' || *end || errno ? -1 : value;
}

/* With a decimal point whatever the user's language; 0 where there is none. */
static double number(const char *cell) {
    locale_t c = newlocale(LC_NUMERIC_MASK, "C", (locale_t)0);
    double value = c ? strtod_l(cell, NULL, c) : strtod(cell, NULL);
    if (c) { freelocale(c); }
    return isfinite(value) ? value : 0;
}

/* What is wrong with a row, or NULL. */
static const char *row_fault(const PdnHistory *history, const Row *row) {
    if (row->count == 1 && !*row->cells[0]) { return NULL; } /* an empty line */
    if (row->count != history->columns.count) {
        return "it has more or fewer cells than the first line has names";
    }
    if (whole(row->cells[0]) < 0 || whole(row->cells[1]) < 0) {
        return "it does not begin with an epoch and a step, which are whole numbers";
    }
    return NULL;
}

static bool is_header(const Row *row) {
    for (int64_t i = 0; i < FIXED; i++) {
        if (i >= row->count || strcmp(row->cells[i], fixed[i]) != 0) { return false; }
    }
    return true;
}

static PdnStatus broken(const PdnHistory *history, int64_t line, const char *what,
                        PdnError *error) {
    return pdn_fail(error, PDN_ERROR_FORMAT,
                    "%s, line %lld: %s; to go on with the training, mend this line, or move the "
                    "file away: a new one will begin",
                    history->path, (long long)line, what);
}

/* The rows of the text up to this epoch and step. */
static PdnStatus parse(PdnHistory *history, Text text, int64_t epoch, int64_t step,
                       PdnError *error) {
    Row header = {0};
    if (!read_row(&text, &header) || !is_header(&header)) {
        free_row(&header);
        return pdn_fail(error, PDN_ERROR_FORMAT,
                        "%s is no history of a training, whose first line begins with "
                        "epoch,step,loss,rate,seconds: move it away, and a new one will begin",
                        history->path);
    }
    free_row(&history->columns);
    history->columns = header;
    while (text.at < text.end) {
        int64_t line = text.line;
        Row row = {0};
        bool read = read_row(&text, &row);
        const char *fault = text.what ? text.what : read ? row_fault(history, &row) : NULL;
        if (!read || fault) {
            free_row(&row);
            return fault ? broken(history, line, fault, error) : no_memory(history, error);
        }
        if (!*row.cells[0] || whole(row.cells[0]) > epoch || whole(row.cells[1]) > step) {
            free_row(&row);
            continue;
        }
        Row *kept = new_row(history);
        if (!kept) {
            free_row(&row);
            return no_memory(history, error);
        }
        *kept = row;
        history->seconds = number(row.cells[4]);
    }
    return PDN_OK;
}

static PdnStatus read_old(PdnHistory *history, int64_t epoch, int64_t step, PdnError *error) {
    FILE *file = fopen(history->path, "rbe");
    struct stat info;
    if (!file && errno == ENOENT) { return PDN_OK; }
    if (!file || fstat(fileno(file), &info) != 0 || !S_ISREG(info.st_mode)) {
        PdnStatus status = pdn_fail(error, PDN_ERROR_OPEN, "%s cannot be read: %s", history->path,
                                    file ? "it is no file" : strerror(errno));
        if (file) { fclose(file); }
        return status;
    }
    PdnStatus status = PDN_OK;
    size_t most = (size_t)info.st_size;
    char *bytes = info.st_size <= FILE_LIMIT ? malloc(2 * most + 1) : NULL;
    if (info.st_size > FILE_LIMIT) {
        status = pdn_fail(error, PDN_ERROR_LIMIT, "%s is larger than a history may be (%s)",
                          history->path, pdn_bytes_text(FILE_LIMIT).text);
    } else if (!bytes) {
        status = no_memory(history, error);
    } else {
        size_t count = fread(bytes, 1, most, file);
        Text text = {bytes, bytes + count, 1, NULL, bytes + most};
        status = ferror(file) ? pdn_fail(error, PDN_ERROR_OPEN, "%s cannot be read: %s",
                                         history->path, strerror(errno))
                              : parse(history, text, epoch, step, error);
    }
    free(bytes);
    fclose(file);
    return status;
}

/* ---- the table ------------------------------------------------------------------------------- */

/* Can the file be written? And away with what killed runs left. */
static PdnStatus prepare(const PdnHistory *history, PdnError *error) {
    pending_clean(history->path, NULL, NULL);
    Pending pending;
    pending_begin(&pending);
    FILE *file;
    const char *temp;
    PdnStatus status = pending_open(&pending, history->path, &file, &temp, error);
    if (!status) { status = pending_close(&pending, error); }
    pending_discard(&pending);
    return status;
}

PdnStatus pdn_history_open(const char *path, bool resume, int64_t epoch, int64_t step,
                           PdnHistory **history, PdnError *error) {
    *history = NULL;
    PdnHistory *made = calloc(1, sizeof *made);
    if (made) { made->path = strdup(path); }
    if (!made || !made->path) {
        free(made);
        return pdn_fail(error, PDN_ERROR_MEMORY, "%s: no memory for the history of the training",
                        path);
    }
    PdnStatus status = PDN_OK;
    for (int64_t i = 0; i < FIXED && !status; i++) {
        if (!set_cell(&made->columns, i, strdup(fixed[i]))) { status = no_memory(made, error); }
    }
    if (!status && resume) { status = read_old(made, epoch, step, error); }
    if (!status) { status = prepare(made, error); }
    if (status) {
        pdn_history_free(made);
        return status;
    }
    *history = made;
    return PDN_OK;
}

static bool set_whole(Row *row, int64_t at, int64_t value) {
    char text[32];
    snprintf(text, sizeof text, "%lld", (long long)value);
    return set_cell(row, at, strdup(text));
}

PdnStatus pdn_history_add(PdnHistory *history, const PdnHistoryRow *given, PdnError *error) {
    Row *row = new_row(history);
    if (!row) { return no_memory(history, error); }
    if (!set_whole(row, 0, given->epoch) || !set_whole(row, 1, given->step) ||
        !set_number(row, 2, given->loss) || !set_number(row, 3, given->rate) ||
        !set_number(row, 4, given->seconds)) {
        free_row(row);
        history->count--;
        return no_memory(history, error);
    }
    history->seconds = given->seconds;
    return PDN_OK;
}

/* The column NAME_ending, new at the end unless it is there; -1: no memory. */
static int64_t column(PdnHistory *history, const char *name, const char *ending) {
    char *full;
    if (asprintf(&full, "%s_%s", name, ending) < 0) { return -1; }
    for (int64_t i = FIXED; i < history->columns.count; i++) {
        if (strcmp(history->columns.cells[i], full) == 0) {
            free(full);
            return i;
        }
    }
    return set_cell(&history->columns, history->columns.count, full) ? history->columns.count - 1
                                                                     : -1;
}

PdnStatus pdn_history_report(PdnHistory *history, const char *name, double mean, double deviation,
                             PdnError *error) {
    if (history->count == 0) {
        return pdn_fail(error, PDN_ERROR_ARGUMENT, "a report needs a row to stand in");
    }
    Row *row = &history->rows[history->count - 1];
    int64_t first = column(history, name, "mean"), second = column(history, name, "std");
    bool done = first >= 0 && second >= 0 && set_number(row, first, mean);
    if (done && isnan(deviation)) {
        done = set_cell(row, second, strdup(""));
    } else if (done) {
        done = set_number(row, second, deviation);
    }
    return done ? PDN_OK : no_memory(history, error);
}

int64_t pdn_history_rows(const PdnHistory *history) { return history->count; }
double pdn_history_seconds(const PdnHistory *history) { return history->seconds; }

/* ---- writing --------------------------------------------------------------------------------- */

static void write_cell(FILE *file, const char *text) {
    if (!strpbrk(text, ",\"\r\n")) {
        fputs(text, file);
        return;
    }
    putc('"', file);
    for (; *text; text++) {
        if (*text == '"') { putc('"', file); }
        putc(*text, file);
    }
    putc('"', file);
}

static void write_row(FILE *file, const Row *row, int64_t columns) {
    for (int64_t i = 0; i < columns; i++) {
        if (i) { putc(',', file); }
        if (i < row->count && row->cells[i]) { write_cell(file, row->cells[i]); }
    }
    putc('\n', file);
}

PdnStatus pdn_history_write(const PdnHistory *history, PdnError *error) {
    Pending pending;
    pending_begin(&pending);
    FILE *file;
    const char *temp;
    PdnStatus status = pending_open(&pending, history->path, &file, &temp, error);
    if (!status) {
        errno = 0;
        write_row(file, &history->columns, history->columns.count);
        for (int64_t i = 0; i < history->count; i++) {
            write_row(file, &history->rows[i], history->columns.count);
        }
        status = pending_close(&pending, error);
    }
    if (!status) { status = pending_commit(&pending, error); }
    pending_discard(&pending);
    return status;
}
