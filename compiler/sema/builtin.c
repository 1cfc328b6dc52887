/* The prelude's table: looking names up, checking arguments. */
#include "compiler/sema/value.h"

#include <math.h>
#include <string.h>

static const BuiltinInfo table[] = {
#define BUILTIN(name, call, least, most, words, op, number)                                        \
    {name, call, least, most, words, op, number},
#define WORD(name, number) {name, NULL, -1, -1, "", OP_NONE, number},
#include "compiler/sema/builtins.def"
#undef WORD
#undef BUILTIN
};

const BuiltinInfo *builtin_at(uint32_t i) {
    return i < sizeof table / sizeof *table ? &table[i] : NULL;
}

const BuiltinInfo *builtin_find(const Names *names, Name name) {
    const char *text = names_text(names, name);
    for (uint32_t i = 0; i < sizeof table / sizeof *table; i++)
        if (strcmp(table[i].name, text) == 0) return &table[i];
    return NULL;
}

bool builtin_reads_word(const char *builtin, uint32_t position, const char *argument,
                        const char *text, bool bound) {
    static const char *const methods[] = {"nearest", "bilinear", "area"};
    bool axis = strlen(text) == 1 && text[0] >= 'x' && text[0] <= 'z', named = *argument;
    if (strcmp(builtin, "d") == 0) return (position == 1 || named) && axis;
    bool second = strcmp(builtin, "cell") == 0 || strcmp(builtin, "spacing") == 0;
    if (second || strcmp(builtin, "tridiagonal_solve") == 0)
        return axis && (named ? strcmp(argument, "axis") == 0 : position == (second ? 1u : 4u));
    if (strcmp(builtin, "resize") != 0 || (position != 2 && !named)) return false;
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++)
        if (strcmp(methods[i], text) == 0) return true;
    return !bound; /* a word that resize() does not know, and says so */
}

const Value *builtin_value(Elab *e, const BuiltinInfo *info, Span span) {
    if (info->least >= 0) {
        Operator *op = ARENA_NEW(e->arena, Operator);
        *op = (Operator){.kind = OPERATOR_BUILTIN, .span = span, .builtin = info};
        return value_operator(e, op, span);
    }
    if (info->number == 100) return value_number(e, M_PI, span);
    if (info->number == 101) return value_number(e, M_E, span);
    if (info->number == 102) return value_number(e, e->training, span);
    if (info->number == 103) return batch_size(e, span);
    if (info->number < 0) {
        Value *init = value_new(e, VALUE_INIT, span);
        init->init.kind = (PdnInitKind)-info->number;
        return init;
    }
    Value *v = value_new(e, VALUE_SIDE, span);
    v->side.side = (SideKind)info->number;
    return v;
}

/* Number of word `name` among the argument names, or -1. */
static int word_index(const BuiltinInfo *info, const char *name) {
    int at = 0;
    for (const char *w = info->words; *w; at++) {
        size_t n = strcspn(w, " ");
        if (strlen(name) == n && memcmp(w, name, n) == 0) return at;
        w += n + (w[n] == ' ');
    }
    return -1;
}

const Value *argument_get(Elab *e, const BuiltinInfo *info, const Arguments *arguments,
                          uint32_t i) {
    uint32_t position = 0;
    for (uint32_t k = 0; k < arguments->count; k++) {
        const Argument *a = &arguments->items[k];
        if (a->name ? word_index(info, names_text(e->names, a->name)) == (int)i : position++ == i)
            return a->value;
    }
    return NULL;
}

static bool check_names(Elab *e, const BuiltinInfo *info, const Arguments *arguments) {
    for (uint32_t i = 0; i < arguments->count; i++) {
        const Argument *a = &arguments->items[i];
        if (!a->name || (info->most < 0 && !*info->words)) continue;
        const char *name = names_text(e->names, a->name);
        if (word_index(info, name) >= 0) continue;
        Diagnostic *d = report(e, UNKNOWN_ARGUMENT, a->span, info->name, name);
        if (*info->words) diag_help(d, "%s takes: %s", info->name, info->words);
        return false;
    }
    return true;
}

const Value *builtin_call(Elab *e, const Env *env, const BuiltinInfo *info,
                          const Arguments *arguments) {
    (void)env;
    int count = (int)arguments->count;
    /* one that applies to fields ignores the time that schemes pass along */
    if (count < info->least || (info->most >= 0 && count > info->most)) {
        const char *most = info->most < 0             ? " or more"
                           : info->most > info->least ? arena_format(e->arena, " to %d", info->most)
                                                      : "";
        Diagnostic *d = report(e, ARGUMENT_COUNT, arguments->span, info->name, info->least, most,
                               info->least == 1 && !*most ? "" : "s", count);
        if (*info->words) diag_help(d, "%s takes: %s", info->name, info->words);
        return value_error(e);
    }
    if (!check_names(e, info, arguments)) return value_error(e);
    for (uint32_t i = 0; i < arguments->count; i++)
        if (arguments->items[i].value->kind == VALUE_ERROR) return value_error(e);
    return info->call(e, info, arguments);
}
