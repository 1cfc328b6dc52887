/* print, assert and save, as they happen. */
#include "compiler/driver/certificates.h"
#include "compiler/driver/execute.h"

#include <errno.h>
#include <glob.h>
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* The shortest text that reads back as the same number of its precision; 1000 rather than 1e+03. */
void number_text(char *out, size_t room, double x, PdnType type) {
    if (isnan(x)) {
        snprintf(out, room, "nan"); /* without the sign that some processors give it */
        return;
    }
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(out, room, "%.*g", digits, x);
        double back = strtod(out, NULL);
        if (type == PDN_F32 ? (float)back == (float)x : back == x) break;
    }
    if (strstr(out, "e+") && fabs(x) < 1e15) snprintf(out, room, "%.0f", x);
}

static double scalar_at(PdnType type, const void *p) {
    return type == PDN_F32 ? (double)*(const float *)p : *(const double *)p;
}

static int64_t field_count(const Running *r, Type t) {
    return t.grid == GRID_NONE ? 1 : r->grids[t.grid].channel_stride * t.channels;
}

/* ---- not a number ------------------------------------------------------------------ */

static bool any_nan(PdnType type, const void *data, int64_t count) {
    const float *f = data;
    const double *d = data;
    bool found = false;
    for (int64_t i = 0; i < count; i++) found |= type == PDN_F32 ? f[i] != f[i] : d[i] != d[i];
    return found;
}

static void nan_noticed(Execution *x, Span span) {
    Diagnostic *d = diag_report(x->session->diagnostics, DIAG_NAN, span);
    nan_trace(x, d);
    x->failed = true;
}

/* ---- print -------------------------------------------------------------------------------- */

static void put_json_string(const char *key, const char *text) {
    json_t *value = text ? json_string(text) : json_null();
    char *shown = json_dumps(value, JSON_ENCODE_ANY);
    printf("\"%s\":%s", key, shown ? shown : "null");
    free(shown);
    json_decref(value);
}

/* JSON knows no NaN and no infinity: they are null. */
static void print_json(const Execution *x, const Action *a, const double *numbers) {
    putchar('{');
    if (x->several) {
        put_json_string("experiment", x->what->name);
        putchar(',');
    }
    put_json_string("label", a->label);
    printf(",\"values\":[");
    for (uint32_t i = 0; i < a->count; i++) {
        char text[40] = "null";
        if (isfinite(numbers[i])) number_text(text, sizeof text, numbers[i], x->type);
        printf("%s%s", i ? "," : "", text);
    }
    puts("]}");
}

static void print_text(const Execution *x, const Action *a, const double *numbers) {
    if (a->label) printf("%s:", a->label);
    for (uint32_t i = 0; i < a->count; i++) {
        char text[40];
        number_text(text, sizeof text, numbers[i], x->type);
        printf("%s%s", i || a->label ? " " : "", text);
    }
    putchar('\n');
}

static void read_numbers(const Execution *x, const Action *a, const void *const *values,
                         double *numbers) {
    for (uint32_t i = 0; i < a->count; i++)
        numbers[i] = a->known[i] ? a->numbers[i] : scalar_at(x->type, values[i]);
}

static int do_print(Execution *x, const Action *a, const void *const *values) {
    double *numbers = mem_alloc(sizeof(double) * (a->count + 1));
    read_numbers(x, a, values, numbers);
    if (!x->test) {
        if (x->session->options->json)
            print_json(x, a, numbers);
        else
            print_text(x, a, numbers);
        fflush(stdout);
    }
    for (uint32_t i = 0; i < a->count; i++)
        if (isnan(numbers[i])) {
            nan_noticed(x, a->spans[i]);
            break;
        }
    mem_free(numbers);
    return 0;
}

/* ---- assert ---------------------------------------------------------------------------------- */

static int do_assert(Execution *x, const Action *a, const void *const *values) {
    double numbers[3] = {0, 0, 0};
    read_numbers(x, a, values, numbers);
    if (numbers[0] != 0 && !isnan(numbers[0])) return 0;
    Diagnostic *d = diag_report(x->session->diagnostics, DIAG_ASSERTION, a->span, a->text);
    for (uint32_t i = 1; i < a->count; i++) {
        char text[40];
        number_text(text, sizeof text, numbers[i], x->type);
        diag_label(d, a->spans[i], "%s", text);
    }
    if (isnan(numbers[0]) || isnan(numbers[1]) || isnan(numbers[2])) nan_trace(x, d);
    x->failed = true;
    return 1;
}

/* ---- save ------------------------------------------------------------------------------------- */

const char *output_path(const Execution *x, const char *path) {
    const char *out = x->session->options->out;
    return out ? arena_format(x->session->arena, "%s/%s", out, path) : path;
}

/* `grids` NULL: before the program runs; sizes that are not known then are 1. */
static PdnSave save_shape(const Execution *x, const Action *a, const PdnGrid *grids) {
    const Module *m = x->what->module;
    const Grid *g = &m->grids.data[a->types[0].grid];
    PdnSave s = {.type = x->type,
                 .rank = (int)g->rank,
                 .channels = a->types[0].channels,
                 .items = a->list,
                 .names = a->names,
                 .frames = a->types[0].kind == TYPE_STACK,
                 .time_step = a->time_step};
    for (uint32_t i = 0; i < g->rank; i++) {
        s.extent[i] = grids              ? grids[a->types[0].grid].extent[i]
                      : g->extent[i] < 0 ? 1
                                         : g->extent[i];
        s.spacing[i] = g->spacing[i];
        s.origin[i] = g->origin[i];
    }
    return s;
}

/* The folder of a file that is missing; NULL: it is there. */
static const char *missing_folder(const Execution *x, const char *path) {
    const char *slash = strrchr(path, '/');
    if (!slash) return NULL;
    const char *folder = arena_text(x->session->arena, path, (size_t)(slash + 1 - path));
    struct stat info;
    return stat(folder, &info) != 0 && errno == ENOENT ? folder : NULL;
}

/* In a loop over data each sample has a file of its own: u.png becomes u_0002.png. */
static const char *turn_path(Arena *arena, const char *path, const char *turn) {
    const char *slash = strrchr(path, '/'), *dot = strrchr(slash ? slash : path, '.');
    if (!turn || !dot) return path;
    return arena_format(arena, "%.*s%s%s", (int)(dot - path), path, turn, dot);
}

/* Files are read before the program runs: one that it writes first, by the order of its text, would be that of the
 * last run. */
static bool is_read_later(Execution *x, const Action *save, const char *path) {
    struct stat written, read;
    if (stat(path, &written) != 0) return false;
    for (uint32_t i = 0; i < x->what->sources.len; i++) {
        const Source *s = &x->what->sources.data[i];
        if (!s->path || s->span.file != save->span.file || s->span.begin < save->span.end ||
            stat(s->path, &read) != 0 || read.st_dev != written.st_dev ||
            read.st_ino != written.st_ino)
            continue;
        Diagnostic *d = diag_report(x->session->diagnostics, DIAG_READ_BEFORE, s->span, path);
        diag_note(d, save->span, "it is written here");
        return true;
    }
    return false;
}

/* Turns of the loop over data that an action stands in; 0: it stands in none. */
static int64_t turns_of(const Execution *x, uint32_t action) {
    for (uint32_t i = 0; i < x->what->each.len; i++) {
        const EachTask *task = &x->what->each.data[i];
        const Func *f = graph_get(x->what->module, task->body.func);
        for (uint32_t k = 0; k < f->effects.len; k++)
            if (f->effects.data[k].number == action)
                return x->what->data.data[task->data].info.per_epoch;
    }
    return 0;
}

static bool read_in_time(Execution *x, uint32_t action, const char *path) {
    const Action *save = &x->what->actions.data[action];
    if (save->tensors || !turns_of(x, action)) return !is_read_later(x, save, path);
    char *pattern = ARENA_ARRAY(x->session->arena, char, 2 * strlen(path) + 1), *to = pattern;
    for (const char *from = path; *from; *to++ = *from++)
        if (strchr("*?[\\", *from)) *to++ = '\\';
    glob_t there = {0};
    bool ok = true;
    if (glob(turn_path(x->session->arena, pattern, "_[0-9]*"), 0, NULL, &there) == 0)
        for (size_t i = 0; i < there.gl_pathc && ok; i++)
            ok = !is_read_later(x, save, there.gl_pathv[i]);
    globfree(&there);
    return ok;
}

bool effects_check(Execution *x, bool folders) {
    bool ok = true;
    for (uint32_t i = 0; i < x->what->actions.len; i++) {
        const Action *a = &x->what->actions.data[i];
        if (a->kind != EFFECT_SAVE) continue;
        PdnSave s = a->tensors ? (PdnSave){0} : save_shape(x, a, NULL);
        PdnError error = {{0}};
        const char *path = output_path(x, a->path), *message = NULL;
        const char *folder = folders ? missing_folder(x, path) : NULL;
        ok = (!folders || read_in_time(x, i, path)) && ok;
        if (folders) pdn_file_tidy(path, a->tensors ? 0 : turns_of(x, i));
        if (!a->tensors && pdn_file_can_write(path, &s, &error) != PDN_OK)
            message = error.message;
        else if (folder)
            message = arena_format(x->session->arena, "%s cannot be written: there is no folder %s",
                                   path, folder);
        if (!message) continue;
        diag_report(x->session->diagnostics, DIAG_CANNOT_WRITE, a->span, message);
        ok = false;
    }
    return ok;
}

/* What is proved of the schemes with these weights, as JSON; NULL: none is there. From malloc. */
static char *weights_certificate(const Execution *x, const Action *a, const PdnTensor *tensors,
                                 const int64_t *frames) {
    const Module *m = x->what->module;
    const Func *f = graph_get(m, m->main);
    const Effect *save = NULL;
    for (uint32_t i = 0; i < f->effects.len; i++)
        if (f->effects.data[i].kind == EFFECT_SAVE &&
            &x->what->actions.data[f->effects.data[i].number] == a)
            save = &f->effects.data[i];
    if (!save) return NULL;
    Arena *arena = arena_new();
    Array *values = ARENA_ARRAY(arena, Array, a->count + 1);
    for (uint32_t i = 0; i < a->count; i++) {
        int64_t count = pdn_tensor_count(&tensors[i]);
        values[i] = (Array){a->types[i], a->types[i].kind == TYPE_STACK ? frames[i] : 1, count,
                            ARENA_ARRAY(arena, double, count + 1)};
        for (int64_t k = 0; k < count; k++)
            values[i].data[k] = scalar_at(x->type, (const char *)tensors[i].data +
                                                       k * (x->type == PDN_F32 ? 4 : 8));
    }
    Certificates all = {0};
    certificates_of_weights(x->what, save, values, &all);
    json_t *json = all.len ? certificates_json(&all, x->session->names) : NULL;
    char *text = json ? json_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(9)) : NULL;
    json_decref(json);
    vec_free(&all);
    arena_free(arena);
    return text;
}

/* A network: all its arrays, as they are now. */
static int save_network(Execution *x, const Action *a, const void *const *values,
                        const int64_t *frames) {
    PdnTensor *tensors = mem_alloc(sizeof *tensors * (a->count + 1));
    for (uint32_t i = 0; i < a->count; i++) {
        const TensorInfo *t = &a->tensors[i];
        int first = t->depth >= 0;
        tensors[i] = (PdnTensor){t->path, x->type, t->rank + first, {t->depth}, values[i]};
        for (int k = 0; k < t->rank; k++) tensors[i].shape[k + first] = t->shape[k];
        if (any_nan(x->type, values[i], pdn_tensor_count(&tensors[i]))) {
            nan_noticed(x, a->span);
            mem_free(tensors);
            return 1;
        }
    }
    char *certificate = weights_certificate(x, a, tensors, frames);
    const char *const metadata[][2] = {
        {"format", "pt"}, {"pdn.network", a->text}, {"pdn.certificate", certificate}};
    PdnError error = {{0}};
    PdnStatus status = pdn_tensors_write(output_path(x, a->path), tensors, (int)a->count, metadata,
                                         certificate ? 3 : 2, &error);
    free(certificate);
    mem_free(tensors);
    if (status == PDN_OK) return 0;
    diag_report(x->session->diagnostics, DIAG_CANNOT_WRITE, a->span, error.message);
    x->failed = true;
    return 1;
}

static int do_save(Running *r, const Action *a, const void *const *values, const int64_t *frames) {
    Execution *x = r->x;
    if (a->tensors) return save_network(x, a, values, frames);
    PdnSave s = save_shape(x, a, r->grids);
    int64_t items = a->count, count = field_count(r, a->types[0]);
    int64_t n = s.frames ? frames[0] : 1, bytes = x->type == PDN_F32 ? 4 : 8;
    if (s.frames) s.frames = n;
    const void **data = mem_alloc(sizeof(void *) * (size_t)(n * items + 1));
    for (int64_t f = 0; f < n; f++)
        for (int64_t i = 0; i < items; i++)
            data[f * items + i] = (const char *)values[i] + f * count * bytes;
    s.data = data;
    for (int64_t i = 0; i < n * items; i++)
        if (any_nan(x->type, data[i], count)) {
            nan_noticed(x, a->spans[0]);
            mem_free(data);
            return 1;
        }
    PdnError error = {{0}};
    Arena *arena = arena_new();
    PdnStatus status =
        pdn_file_write(turn_path(arena, output_path(x, a->path), r->turn), &s, &error);
    arena_free(arena);
    mem_free(data);
    if (status == PDN_OK) return 0;
    diag_report(x->session->diagnostics, DIAG_CANNOT_WRITE, a->span, error.message);
    x->failed = true;
    return 1;
}

/* ---- reports ------------------------------------------------------------------------------------ */

static Report *report_of(Reports *reports, uint32_t action, uint32_t count) {
    for (uint32_t i = 0; i < reports->len; i++)
        if (reports->data[i].action == action) return &reports->data[i];
    size_t bytes = sizeof(double) * (count + 1);
    Report made = {.action = action,
                   .sum = mem_alloc(bytes),
                   .squares = mem_alloc(bytes),
                   .first = mem_alloc(bytes)};
    memset(made.sum, 0, bytes);
    memset(made.squares, 0, bytes);
    memset(made.first, 0, bytes);
    vec_push(reports, made);
    return &vec_last(reports);
}

/* Sums of deviations from the first value, so that the deviation of numbers that differ little is right. */
static int do_report(Running *r, uint32_t action, const Action *a, const void *const *values) {
    double *numbers = mem_alloc(sizeof(double) * (a->count + 1));
    read_numbers(r->x, a, values, numbers);
    Reports alone = {0};
    Report *report = report_of(r->reports ? r->reports : &alone, action, a->count);
    int status = 0;
    for (uint32_t i = 0; i < a->count; i++) {
        if (isnan(numbers[i]) && !status) {
            nan_noticed(r->x, a->spans[i]);
            status = 1;
        }
        if (!report->count) report->first[i] = numbers[i];
        double d = numbers[i] - report->first[i];
        report->sum[i] += d;
        report->squares[i] += d * d;
    }
    report->count++;
    if (!r->reports) {
        reports_print(r->x, report, 1);
        mem_free(report->sum);
        mem_free(report->squares);
        mem_free(report->first);
        vec_free(&alone);
    }
    mem_free(numbers);
    return status;
}

static void report_json(const Execution *x, const Action *a, const Report *r, const double *mean,
                        const double *deviation) {
    putchar('{');
    if (x->several) {
        put_json_string("experiment", x->what->name);
        putchar(',');
    }
    put_json_string("report", a->label);
    for (int which = 0; which < 2; which++) {
        printf(",\"%s\":[", which ? "deviation" : "mean");
        for (uint32_t i = 0; i < a->count; i++) {
            char text[40] = "null";
            double number = which ? deviation[i] : mean[i];
            if (isfinite(number)) number_text(text, sizeof text, number, x->type);
            printf("%s%s", i ? "," : "", text);
        }
        putchar(']');
    }
    printf(",\"samples\":%" PRId64 "}\n", r->count);
}

static void report_text(const Execution *x, const Action *a, const Report *r, const double *mean,
                        const double *deviation) {
    if (a->label) printf("%s:", a->label);
    for (uint32_t i = 0; i < a->count; i++) {
        char text[40];
        number_text(text, sizeof text, mean[i], x->type);
        printf("%s%s", i || a->label ? " " : "", text);
        if (r->count == 1) continue;
        printf(" ± %.3g", deviation[i]);
    }
    if (r->count > 1) printf(" (%" PRId64 ")", r->count);
    putchar('\n');
}

static void report_to_history(Execution *x, const Action *a, const Report *r, const double *mean,
                              const double *deviation) {
    PdnError error;
    for (uint32_t i = 0; x->history && i < a->count; i++) {
        const char *label = a->label ? a->label : "report";
        const char *name =
            a->count > 1 ? arena_format(x->session->arena, "%s_%u", label, i) : label;
        pdn_history_report(x->history, name, mean[i], r->count > 1 ? deviation[i] : NAN, &error);
    }
}

void reports_print(Execution *x, const Report *reports, uint32_t count) {
    for (uint32_t k = 0; k < count && !x->test; k++) {
        const Report *r = &reports[k];
        const Action *a = &x->what->actions.data[r->action];
        double *mean = mem_alloc(sizeof(double) * 2 * (a->count + 1)), *deviation = mean + a->count;
        double n = (double)r->count;
        for (uint32_t i = 0; i < a->count; i++) {
            mean[i] = r->first[i] + r->sum[i] / n;
            double spread = r->squares[i] - r->sum[i] * r->sum[i] / n;
            deviation[i] = r->count > 1 ? sqrt(fmax(spread, 0) / (n - 1)) : 0;
        }
        (x->session->options->json ? report_json : report_text)(x, a, r, mean, deviation);
        report_to_history(x, a, r, mean, deviation);
        mem_free(mean);
    }
    fflush(stdout);
}

/* ---- what happens ---------------------------------------------------------------------------------- */

static int do_each(Running *r, const Action *a, const void *const *values, const int64_t *frames) {
    HostValue *given = mem_alloc(sizeof *given * (a->count + 1));
    for (uint32_t i = 0; i < a->count; i++)
        given[i] = (HostValue){a->types[i], frames[i], values[i]};
    int status = each_sample(r, &r->x->what->each.data[a->task], given);
    mem_free(given);
    return status;
}

int effect_happens(Running *r, uint32_t number, const void *const *values, const int64_t *frames) {
    Execution *x = r->x;
    const Action *a = &x->what->actions.data[number];
    if (each_turn(r)) return 1;
    if (r->func == x->what->module->main) x->next = number + 1;
    pdn_progress_end(&x->progress);
    x->progress_loop = -1;
    switch (a->kind) {
    case EFFECT_ASSERT: return do_assert(x, a, values);
    case EFFECT_SAVE: return do_save(r, a, values, frames);
    case EFFECT_REPORT: return do_report(r, number, a, values);
    case EFFECT_EACH: return do_each(r, a, values, frames);
    case EFFECT_TRAIN: return 0; /* its values are there: it has been trained */
    default: return do_print(x, a, values);
    }
}
