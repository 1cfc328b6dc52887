/* Sets of samples: images(…), signals(…), arrays(…), synthetic(…). */
#include "compiler/sema/data.h"
#include "compiler/sema/effect.h"

#include <math.h>
#include <string.h>

/* ---- the sources ----------------------------------------------------------------------- */

static const char *data_path(Elab *e, const Value *v) {
    if (v && v->kind == VALUE_STRING) return read_path(e, v);
    if (v && v->kind != VALUE_ERROR) report(e, NOT_A_PATH, v->span, value_describe(e, v));
    return NULL;
}

static bool data_count(Elab *e, const Value *v, const char *what, int64_t *out) {
    return !v || value_static_int(e, v, what, 1, 1e9, out);
}

/* Arguments that every source takes, by their names. */
static bool data_options(Elab *e, const BuiltinInfo *info, const Arguments *a, PdnDataOptions *o) {
    const char *words = info->words;
    uint32_t at = 0;
    double augment = 0;
    for (const char *w = words; *w; at++) {
        size_t n = strcspn(w, " ");
        const Value *v = argument_get(e, info, a, at);
        bool ok = true;
        if (n == 5 && !memcmp(w, "patch", n)) ok = data_count(e, v, "a patch", &o->patch);
        if (n == 5 && !memcmp(w, "batch", n)) ok = data_count(e, v, "a batch", &o->batch);
        if (n == 5 && !memcmp(w, "limit", n)) ok = data_count(e, v, "a limit", &o->limit);
        if (n == 6 && !memcmp(w, "repeat", n))
            ok = data_count(e, v, "how often a sample is drawn", &o->repeat);
        if (n == 7 && !memcmp(w, "augment", n) && v)
            ok = value_static(e, v, "whether samples are turned", &augment);
        if (!ok) return false;
        w += n + (w[n] == ' ');
    }
    o->augment = augment != 0;
    o->source = (uint16_t)(e->out->data.len + 1);
    return true;
}

static const Value *data_value(Elab *e, const DataSet *set, Span span) {
    vec_push(&e->out->data, *set);
    Value *v = value_new(e, VALUE_DATA, span);
    v->data.number = e->out->data.len - 1;
    return v;
}

static const Value *data_made(Elab *e, PdnStatus status, PdnData *data, const PdnError *error,
                              const Arguments *a) {
    DataSet set = {.data = data, .text = source_text(e, a->span), .span = a->span};
    if (status == PDN_OK) {
        pdn_data_info(data, &set.info);
    } else if (status == PDN_ERROR_OPEN &&
               e->options->check_only) { /* pictures, say, of unknown size */
        set.info =
            (PdnDataInfo){.fields = 1, .field = {{2, 1, {-1, -1, 1}}}, .per_epoch = 1, .batch = 1};
    } else {
        report(e, DATA_WRONG, a->span, error->message);
        return value_error(e);
    }
    return data_value(e, &set, a->span);
}

const Value *prelude_images(Elab *e, const BuiltinInfo *info, const Arguments *a) {
    const char *path = data_path(e, argument_get(e, info, a, 0));
    PdnDataOptions options = PDN_DATA_OPTIONS;
    int64_t channels = PDN_ABSENT;
    if (!path || !data_options(e, info, a, &options) ||
        !data_count(e, argument_get(e, info, a, 3), "a number of channels", &channels))
        return value_error(e);
    PdnData *data = NULL;
    PdnError error = {{0}};
    PdnStatus made = pdn_data_images(path, channels, &options, e->options->data, &data, &error);
    return data_made(e, made, data, &error, a);
}

const Value *prelude_signals(Elab *e, const BuiltinInfo *info, const Arguments *a) {
    const Value *kind = argument_get(e, info, a, 0), *seed = argument_get(e, info, a, 8);
    PdnDataOptions options = PDN_DATA_OPTIONS;
    PdnSignals signals = PDN_SIGNALS;
    int64_t number = 0;
    if (!data_options(e, info, a, &options) ||
        !data_count(e, argument_get(e, info, a, 1), "a number of cells", &signals.cells) ||
        !data_count(e, argument_get(e, info, a, 2), "a number of signals", &signals.count) ||
        (seed && !value_static_int(e, seed, "a seed", 0, 9e15, &number)))
        return value_error(e);
    const char *path = NULL;
    if (kind) {
        if (kind->kind == VALUE_STRING && strncmp(kind->string.bytes, "piecewise", 9) == 0)
            path = kind->string.bytes;
        else if (!(path = data_path(e, kind)))
            return value_error(e);
    }
    signals.seed = (uint64_t)number;
    PdnData *data = NULL;
    PdnError error = {{0}};
    PdnStatus made = pdn_data_signals(path, &signals, &options, e->options->data, &data, &error);
    return data_made(e, made, data, &error, a);
}

/* arrays("x.npy", "y.npy", batch = 4): positional arguments are files. */
const Value *prelude_arrays(Elab *e, const BuiltinInfo *info, const Arguments *a) {
    const char **paths = ARENA_ARRAY(e->arena, const char *, a->count + 1);
    Arguments named = {ARENA_ARRAY(e->arena, Argument, a->count + 1), 0, a->span};
    int64_t files = 0, rank = PDN_ABSENT;
    for (uint32_t i = 0; i < a->count; i++)
        if (a->items[i].name)
            named.items[named.count++] = a->items[i];
        else if (!(paths[files++] = data_path(e, a->items[i].value)))
            return value_error(e);
    PdnDataOptions options = PDN_DATA_OPTIONS;
    if (!data_options(e, info, &named, &options) ||
        !data_count(e, argument_get(e, info, &named, 5), "a rank", &rank))
        return value_error(e);
    PdnData *data = NULL;
    PdnError error = {{0}};
    PdnStatus made = pdn_data_arrays(paths, files, rank, &options, e->options->data, &data, &error);
    return data_made(e, made, data, &error, a);
}

/* synthetic(expression, count = 1000, batch = 1): the expression is elaborated where a sample is used, so that
 * noise in it is drawn anew for each. */
static const Value *synthetic(Elab *e, const Env *env, const Expr *x) {
    int64_t count = 1000, batch = 1;
    const Expr *sample = NULL;
    for (uint32_t i = 0; i < x->call.count; i++) {
        const Arg *arg = &x->call.args[i];
        const char *name = arg->name ? names_text(e->names, arg->name) : "";
        if (!arg->name && !sample) {
            sample = arg->value;
        } else if (strcmp(name, "count") == 0 || strcmp(name, "batch") == 0) {
            if (!data_count(e, eval_expr(e, env, arg->value), "a number of samples",
                            *name == 'c' ? &count : &batch))
                return value_error(e);
        } else {
            report(e, UNKNOWN_ARGUMENT, arg->value->span, "synthetic",
                   *name ? name : "a second sample");
            return value_error(e);
        }
    }
    if (!sample) {
        report(e, MISSING_ARGUMENT, x->span, "synthetic", "sample");
        return value_error(e);
    }
    if (batch > count) {
        report(e, DATA_WRONG, x->span,
               arena_format(e->arena, "a batch of %lld is more than the %lld samples of an epoch",
                            (long long)batch, (long long)count));
        return value_error(e);
    }
    DataSet set = {.info = {.count = count, .per_epoch = count, .batch = batch},
                   .text = source_text(e, x->span),
                   .span = x->span};
    Value *v = (Value *)data_value(e, &set, x->span);
    v->data.sample = sample;
    v->data.env = env;
    return v;
}

static bool is_synthetic(Elab *e, const Env *env, const Expr *x) {
    return x->kind == EXPR_CALL && x->call.callee->kind == EXPR_NAME &&
           strcmp(names_text(e->names, x->call.callee->name), "synthetic") == 0 &&
           !env_find(env, x->call.callee->name);
}

const Env *data_statement(Elab *e, const Env *env, const Stmt *s) {
    const Expr *x = s->bind.value;
    const Value *v = is_synthetic(e, env, x) ? synthetic(e, env, x) : eval_expr(e, env, x);
    if (v->kind != VALUE_DATA && v->kind != VALUE_ERROR) {
        Diagnostic *d = report(e, NOT_DATA, x->span, value_describe(e, v));
        diag_help(d, "images(\"photos\", patch = 64, batch = 16), signals(), arrays(\"x.npy\") and "
                     "synthetic(normal(G.x)) are");
        v = value_error(e);
    }
    return env_bind(e, env, s->bind.name.name, v, s->bind.name.span);
}

const Value *prelude_synthetic(Elab *e, const BuiltinInfo *info, const Arguments *a) {
    (void)info;
    Diagnostic *d = report(e, DATA_PLACE, a->span);
    diag_help(d, "data set = synthetic(…)");
    return value_error(e);
}

/* ---- functions of a sample --------------------------------------------------------------- */

static const Value *sample_field(Elab *e, SampleFrame *s, const PdnDataField *f, Name name,
                                 Span span) {
    Type type = type_scalar();
    if (f->rank) {
        Grid g = {.rank = (uint32_t)f->rank};
        for (int a = 0; a < f->rank; a++) {
            g.extent[a] = f->extent[a];
            g.spacing[a] = 1;
        }
        type = type_field(graph_grid(e->module, &g), (uint32_t)f->channels);
        for (int a = 0; a < f->rank; a++)
            if (f->extent[a] < 0) s->grid = type.grid;
    }
    s->samples++;
    return value_node(e, graph_param(e->module, s->frame->func, type, name), NULL, span);
}

bool sample_begin(Elab *e, Name function, const Env *env, const Value *data, NameAt name,
                  SampleFrame *s) {
    *s = (SampleFrame){.frame = frame_push(e, function), .env = env};
    if (!data) return true;
    const DataSet *set = &e->out->data.data[data->data.number];
    const Value *v;
    if (!data->data.sample) {
        const PdnDataInfo info = set->info;
        const Value **fields = ARENA_ARRAY(e->arena, const Value *, info.fields);
        for (int i = 0; i < info.fields; i++)
            fields[i] = sample_field(e, s, &info.field[i], name.name, name.span);
        v = info.fields == 1 ? fields[0] : value_list(e, fields, (uint32_t)info.fields, name.span);
    } else {
        v = eval_expr(e, data->data.env, data->data.sample);
    }
    s->env = env_bind(e, env, name.name, v, name.span);
    if (v->kind != VALUE_ERROR) return true;
    frame_pop(e);
    return false;
}

TaskBody sample_end(Elab *e, const SampleFrame *s, NodeList *list) {
    frame_pop(e);
    TaskBody body = {
        .func = s->frame->func, .samples = s->samples, .count = s->frame->captures.len};
    body.values = ARENA_ARRAY(e->arena, uint32_t, body.count + 1);
    for (uint32_t i = 0; i < body.count; i++) {
        Node outer = s->frame->captures.data[i].outer;
        uint32_t at = 0;
        while (at < list->len && list->data[at] != outer) at++;
        if (at == list->len) vec_push(list, outer);
        body.values[i] = at;
    }
    return body;
}
