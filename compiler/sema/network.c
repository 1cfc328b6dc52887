/* Networks: how many parameters they have, in files, and what trains them. */
#include "compiler/sema/effect.h"
#include "compiler/sema/param.h"
#include "compiler/sema/train.h"

#include <math.h>
#include <string.h>

/* All are there, with their shapes; false after a message. */
static bool settled(Elab *e, const Value *v, const Parameters *all, bool found, Span span,
                    const char *verb) {
    if (!found && all->len) {
        if (!elab_sound(e)) return false;
        e->errors++;
        Diagnostic *d = report(e, NOT_FOUND_YET, span, value_describe(e, v));
        diag_help(d, "apply it to a field before");
        return false;
    }
    if (!all->len) {
        parameters_lacking(e, v, span, verb);
        return false;
    }
    for (uint32_t i = 0; i < all->len; i++)
        if (!all->data[i]->tensor_count) {
            if (!elab_sound(e)) return false;
            e->errors++;
            Diagnostic *d = report(e, NOT_SETTLED, span, names_text(e->names, all->data[i]->name));
            diag_note(d, all->data[i]->span, "the convolution stands here");
            diag_help(d,
                      "apply it to a field before, or say its size for each axis: size = [5, 5]");
            return false;
        }
    return true;
}

static double count_of(const Parameter *p) {
    double count = 0;
    for (uint32_t t = 0; t < p->tensor_count; t++) {
        double one = 1;
        for (int i = 0; i < p->tensors[t].rank; i++) one *= (double)p->tensors[t].shape[i];
        count += one;
    }
    return p->depth >= 0 ? count * (double)p->depth : count;
}

const Value *prelude_parameters(Elab *e, const BuiltinInfo *info, const Arguments *a) {
    const Value *net = argument_get(e, info, a, 0);
    Parameters all = {0};
    if (!parameters_whole(e, net)) return value_error(e);
    bool found = parameters_found(e, net, &all, NULL);
    double count = 0;
    bool none = found && !all.len && !value_is_template(e, net);
    bool ok = none || settled(e, net, &all, found, net->span, "count");
    if (found && !all.len && net->kind != VALUE_OPERATOR && net->kind != VALUE_LIST) {
        report(e, NOT_AN_OPERATOR, net->span, value_describe(e, net));
        ok = false;
    }
    for (uint32_t i = 0; i < all.len && ok; i++)
        if (!all.data[i]->rule) count += count_of(all.data[i]);
    vec_free(&all);
    return ok ? value_number(e, count, a->span) : value_error(e);
}

/* ---- files ---------------------------------------------------------------------------- */

static TensorInfo *tensor_list(Elab *e, const Parameters *all, const Instance *within, Node *values,
                               uint32_t *count) {
    TensorInfo *list = ARENA_ARRAY(e->arena, TensorInfo, all->len * 2 + 1);
    *count = 0;
    for (uint32_t i = 0; i < all->len; i++)
        for (uint32_t t = 0; t < all->data[i]->tensor_count; t++) {
            list[*count] = tensor_info(e, all->data[i], &all->data[i]->tensors[t], within);
            values[(*count)++] = value_to_node(e, all->data[i]->tensors[t].value);
        }
    return list;
}

static bool has_extension(const char *path, const char *extension) {
    size_t n = strlen(path), m = strlen(extension);
    return n > m && strcmp(path + n - m, extension) == 0;
}

static bool check_extension(Elab *e, const char *path, Span span) {
    if (has_extension(path, ".safetensors")) return true;
    Diagnostic *d = report(e, NETWORK_FORMAT, span, path);
    diag_help(d, "net.safetensors, which PyTorch and NumPy users read");
    return false;
}

void save_network(Elab *e, const Value *what, const char *path, Span span) {
    Parameters all = {0};
    bool found = parameters_found(e, what, &all, NULL);
    if (parameters_whole(e, what) && settled(e, what, &all, found, span, "save") &&
        check_extension(e, path, span) &&
        parameters_apart(e, &all, path_begin(what), value_describe(e, what), span)) {
        Node *values = ARENA_ARRAY(e->arena, Node, all.len * 2 + 1);
        uint32_t count;
        Action a = {.kind = EFFECT_SAVE, .path = path, .text = source_text(e, span), .span = span};
        a.tensors = tensor_list(e, &all, path_begin(what), values, &count);
        effect_add(e, a, values, count);
    }
    vec_free(&all);
}

/* The shape in the file, of one frame; 0 dimensions where it is not there. */
static int file_rank(const PdnTensors *file, const char *name, const Parameter *p) {
    const PdnTensor *t = file ? pdn_tensors_find(file, name) : NULL;
    return t ? t->rank - (p->depth >= 0) : 0;
}

static void load_tensors(Elab *e, Parameter *p, const char *name, const char *path, Span span) {
    for (uint32_t t = 0; t < p->tensor_count; t++) {
        Tensor *tensor = &p->tensors[t];
        Source s = {.kind = SOURCE_TENSOR,
                    .path = path,
                    .name = arena_format(e->arena, "%s%s", name, tensor->suffix),
                    .span = span,
                    .rank = tensor->rank,
                    .depth = p->depth};
        memcpy(s.shape, tensor->shape, sizeof s.shape);
        Type type = tensor->type;
        if (p->depth >= 0) type.kind = TYPE_STACK;
        Value *v = (Value *)program_value(e, program_input(e, type, s), p->span);
        v->node.boundary = tensor->value->node.boundary;
        tensor->value = v;
        vec_push(&tensor->sources, e->out->sources.len - 1);
    }
}

void parameter_load(Elab *e, Parameter *p) {
    const Instance *i = p->owner;
    while (i && !i->loaded) i = i->owner;
    if (i)
        load_tensors(e, p, parameter_path(e, p, i->loaded->within), i->loaded->path,
                     i->loaded->span);
}

static bool load_parameter(Elab *e, Parameter *p, const Instance *within, const PdnTensors *file,
                           const char *path, Span span) {
    const char *name = parameter_path(e, p, within);
    int rank = file_rank(file, name, p) - 2;
    if (!p->tensor_count && rank >= 1 && rank <= MAX_RANK &&
        !parameter_settle(e, p, (uint32_t)rank, span))
        return false;
    if (!p->tensor_count) {
        const PdnTensor *there = file ? pdn_tensors_find(file, name) : NULL;
        if (there)
            report(e, LOAD_AXES, span, path, name, there->rank,
                   p->depth >= 0 ? "several convolutions has 4 to 6" : "a convolution has 3 to 5");
        else if (file) { /* of no shape that is known: it is asked for to be told what is there */
            PdnError error = {{0}};
            pdn_tensors_get(file, name, PDN_F32, 0, NULL, NULL, &error);
            report(e, FILE_UNREADABLE, span, error.message);
        } else
            report(e, NOT_SETTLED, span, name);
        return false;
    }
    load_tensors(e, p, name, path, span);
    return true;
}

void load_statement(Elab *e, const Env *env, const Stmt *s) {
    const Value *what = eval_expr(e, env, s->file.what), *where = eval_expr(e, env, s->file.where);
    if (what->kind == VALUE_ERROR || where->kind == VALUE_ERROR) return;
    if (where->kind != VALUE_STRING) {
        report(e, NOT_A_PATH, s->file.where->span, value_describe(e, where));
        return;
    }
    if (e->frame != e->root) {
        report(e, MISPLACED, s->span, "a", "loop over data");
        return;
    }
    const char *path = read_path(e, where);
    PdnTensors *file = NULL;
    PdnError error = {{0}};
    if (!check_extension(e, path, s->file.where->span) || !parameters_whole(e, what)) return;
    if (pdn_tensors_read(path, &file, &error) != PDN_OK && !e->options->check_only) {
        report(e, FILE_UNREADABLE, s->file.where->span, error.message);
        return;
    }
    Parameters all = {0};
    Loaded *loaded = ARENA_NEW(e->arena, Loaded);
    *loaded = (Loaded){path, path_begin(what), s->file.what->span};
    if (parameters_found(e, what, &all, loaded) && !all.len)
        parameters_lacking(e, what, s->file.what->span, "load");
    bool apart =
        parameters_apart(e, &all, path_begin(what), value_describe(e, what), s->file.what->span);
    for (uint32_t i = 0; i < all.len && apart; i++)
        if (!load_parameter(e, all.data[i], path_begin(what), file, path, s->file.what->span))
            break;
    vec_free(&all);
    pdn_tensors_free(file);
}

/* ---- optimisers and schedules ------------------------------------------------------------- */

static bool is_name(Elab *e, const Argument *a, const char *name) {
    return a->name && strcmp(names_text(e->names, a->name), name) == 0;
}

/* Numbers by name; the first without one is the rate (of a schedule: its first argument). */
static bool read_numbers(Elab *e, const Arguments *a, const char *first, PdnArgument *out,
                         int *count) {
    *count = 0;
    for (uint32_t i = 0; i < a->count; i++) {
        const Argument *arg = &a->items[i];
        if (is_name(e, arg, "schedule")) continue;
        if (!arg->name && (i > 0 || !first)) {
            Diagnostic *d = report(e, ARGUMENT_UNNAMED, arg->span);
            diag_help(d, "adam(rate = 1e-3, beta1 = 0.9)");
            return false;
        }
        PdnArgument *to = &out[*count];
        to->name = arg->name ? names_text(e->names, arg->name) : first;
        if (!value_static(e, arg->value, arena_format(e->arena, "'%s'", to->name), &to->value))
            return false;
        ++*count;
    }
    return true;
}

const Value *prelude_schedule(Elab *e, const BuiltinInfo *info, const Arguments *a) {
    PdnScheduleOptions *o = ARENA_NEW(e->arena, PdnScheduleOptions);
    PdnArgument *arguments = ARENA_ARRAY(e->arena, PdnArgument, a->count + 1);
    *o = (PdnScheduleOptions){.name = info->name, .arguments = arguments};
    if (!read_numbers(e, a, pdn_schedule_argument(info->name, 0), arguments, &o->argument_count))
        return value_error(e);
    Value *v = value_new(e, VALUE_SCHEDULE, a->span);
    v->schedule = o;
    return v;
}

static bool read_schedules(Elab *e, const Value *v, PdnOptimiserOptions *o) {
    uint32_t n = v->kind == VALUE_LIST ? v->list.count : 1;
    PdnScheduleOptions *list = ARENA_ARRAY(e->arena, PdnScheduleOptions, n + 1);
    for (uint32_t i = 0; i < n; i++) {
        const Value *one = v->kind == VALUE_LIST ? v->list.items[i] : v;
        if (one->kind != VALUE_SCHEDULE) {
            Diagnostic *d = report(e, NOT_A_SCHEDULE, one->span, value_describe(e, one));
            diag_help(d, "schedule = cosine(), or [warmup(100), cosine()]");
            return false;
        }
        list[i] = *one->schedule;
    }
    o->schedules = list;
    o->schedule_count = (int)n;
    return true;
}

const Value *prelude_optimiser(Elab *e, const BuiltinInfo *info, const Arguments *a) {
    PdnOptimiserOptions *o = ARENA_NEW(e->arena, PdnOptimiserOptions);
    PdnArgument *arguments = ARENA_ARRAY(e->arena, PdnArgument, a->count + 1);
    *o = (PdnOptimiserOptions){.name = info->name, .arguments = arguments};
    if (!read_numbers(e, a, "rate", arguments, &o->argument_count)) return value_error(e);
    for (uint32_t i = 0; i < a->count; i++)
        if (is_name(e, &a->items[i], "schedule") && !read_schedules(e, a->items[i].value, o))
            return value_error(e);
    PdnError error = {{0}};
    if (pdn_optimiser_check(o, &error) != PDN_OK) {
        report(e, OPTIMISER_WRONG, a->span, error.message);
        return value_error(e);
    }
    Value *v = value_new(e, VALUE_OPTIMISER, a->span);
    v->optimiser = o;
    return v;
}
