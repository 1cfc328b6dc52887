/* print, assert and save, as they happen. */
#include "compiler/driver/execute.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* The shortest text that reads back as the same number of its precision; 1000 rather than 1e+03. */
static void number_text(char *out, size_t room, double x, PdnType type) {
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

static int64_t field_count(const Module *m, Type t) {
    const Grid *g = &m->grids.data[t.grid];
    int64_t n = t.channels;
    for (uint32_t i = 0; i < g->rank; i++) n *= g->extent[i];
    return n;
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

static const char *output_path(const Execution *x, const char *path) {
    const char *out = x->session->options->out;
    return out ? arena_format(x->session->arena, "%s/%s", out, path) : path;
}

static PdnSave save_shape(const Execution *x, const Action *a) {
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
        s.extent[i] = g->extent[i];
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

bool effects_check(Execution *x, bool folders) {
    bool ok = true;
    for (uint32_t i = 0; i < x->what->actions.len; i++) {
        const Action *a = &x->what->actions.data[i];
        if (a->kind != EFFECT_SAVE) continue;
        PdnSave s = save_shape(x, a);
        PdnError error = {{0}};
        const char *path = output_path(x, a->path), *message = NULL;
        const char *folder = folders ? missing_folder(x, path) : NULL;
        if (pdn_file_can_write(path, &s, &error) != PDN_OK)
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

static int do_save(Execution *x, const Action *a, const void *const *values,
                   const int64_t *frames) {
    PdnSave s = save_shape(x, a);
    int64_t items = a->count, count = field_count(x->what->module, a->types[0]);
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
    PdnStatus status = pdn_file_write(output_path(x, a->path), &s, &error);
    mem_free(data);
    if (status == PDN_OK) return 0;
    diag_report(x->session->diagnostics, DIAG_CANNOT_WRITE, a->span, error.message);
    x->failed = true;
    return 1;
}

int effect_happens(Execution *x, uint32_t number, const void *const *values,
                   const int64_t *frames) {
    const Action *a = &x->what->actions.data[number];
    pdn_progress_end(&x->progress);
    x->progress_loop = -1;
    switch (a->kind) {
    case EFFECT_ASSERT: return do_assert(x, a, values);
    case EFFECT_SAVE: return do_save(x, a, values, frames);
    default: return do_print(x, a, values);
    }
}
