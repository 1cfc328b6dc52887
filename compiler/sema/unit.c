/* A program and what it uses: reading, parsing, and the names that each file sees. */
#include "compiler/sema/stdlib.h"
#include "compiler/sema/value.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#define MODULES_MAX 1000

static bool read_file(Unit *u, const char *path, Span from, Text *out) {
    FILE *f = fopen(path, "rb");
    struct stat st;
    if (f && fstat(fileno(f), &st) == 0 && S_ISDIR(st.st_mode)) {
        fclose(f);
        f = NULL;
        errno = EISDIR;
    }
    if (!f) {
        diag_report(u->context.diagnostics, DIAG_FILE_NOT_READ, from, path, strerror(errno));
        return false;
    }
    char part[65536];
    size_t n;
    while ((n = fread(part, 1, sizeof part, f)) > 0 && out->len <= (64u << 20))
        text_add(out, part, n);
    bool ok = !ferror(f);
    if (!ok) diag_report(u->context.diagnostics, DIAG_FILE_NOT_READ, from, path, strerror(errno));
    fclose(f);
    return ok;
}

static const char *folder_of(Arena *arena, const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? arena_text(arena, path, (size_t)(slash - path + 1)) : "";
}

/* ---- uses ------------------------------------------------------------------------ */

static Home *add_text(Unit *u, const char *key, const char *shown, const char *bytes, size_t length,
                      bool library);

static Home *known_home(const Unit *u, const char *key) {
    for (uint32_t i = 0; i < u->paths.len; i++)
        if (strcmp(u->paths.data[i], key) == 0) return u->homes.data[i];
    return NULL;
}

static Home *add_file(Unit *u, const char *path, Span from) {
    Home *known = known_home(u, path);
    if (known) return known;
    Text text = {0};
    Home *home = read_file(u, path, from, &text)
                     ? add_text(u, path, path, text.data ? text.data : "", text.len, false)
                     : NULL;
    text_free(&text);
    return home;
}

static Home *add_module(Unit *u, const Item *use) {
    const char *name = names_text(u->context.names, use->name.name);
    const char *key = arena_format(u->arena, "module %s", name);
    Home *known = known_home(u, key);
    if (known) return known;
    const char **names = ARENA_ARRAY(u->arena, const char *, pdn_stdlib_count + 1);
    for (size_t i = 0; i < pdn_stdlib_count; i++) {
        names[i] = pdn_stdlib[i].name;
        if (strcmp(pdn_stdlib[i].name, name) != 0) continue;
        const char *shown = arena_format(u->arena, "stdlib/%s.pdn", name);
        if (!u->context.stdlib)
            return add_text(u, key, shown, pdn_stdlib[i].bytes, pdn_stdlib[i].length, true);
        Text text = {0};
        const char *path = arena_format(u->arena, "%s/%s.pdn", u->context.stdlib, name);
        Home *home = read_file(u, path, use->name.span, &text)
                         ? add_text(u, key, shown, text.data, text.len, true)
                         : NULL;
        text_free(&text);
        return home;
    }
    Diagnostic *d = diag_report(u->context.diagnostics, DIAG_NO_MODULE, use->name.span, name);
    const char *near = diag_nearest(name, names, (uint32_t)pdn_stdlib_count);
    if (near) diag_help(d, "did you mean '%s'?", near);
    if (near || suggest_module(d, name)) return NULL;
    Text all = {0};
    for (size_t i = 0; i < pdn_stdlib_count; i++)
        text_printf(&all, "%s%s", i ? ", " : "", names[i]);
    diag_help(d, "a file is used by its path: use \"%s.pdn\"; the library has %s", name, all.data);
    text_free(&all);
    return NULL;
}

/* ---- names --------------------------------------------------------------------------- */

static const Value *item_value(Unit *u, const Home *home, const Item *item) {
    Value *v = ARENA_NEW(u->arena, Value);
    v->span = item->name.span;
    if (item->kind == ITEM_LET) {
        v->kind = VALUE_THUNK;
        v->thunk.item = item;
        v->thunk.home = home;
        return v;
    }
    Operator *op = ARENA_NEW(u->arena, Operator);
    *op = (Operator){.kind = item->kind == ITEM_FN ? OPERATOR_FN : OPERATOR_DEF,
                     .span = item->name.span,
                     .name = item->name.name,
                     .item = item,
                     .home = home};
    v->kind = VALUE_OPERATOR;
    v->op = op;
    return v;
}

static bool is_definition(const Item *item) {
    return item->kind == ITEM_LET || item->kind == ITEM_FN || item->kind == ITEM_DEF;
}

static const Env *bind_items(Unit *u, const Env *env, const Home *home) {
    for (uint32_t i = 0; i < home->program->count; i++) {
        const Item *item = &home->program->items[i];
        if (!is_definition(item)) continue;
        Env *bound = ARENA_NEW(u->arena, Env);
        *bound = (Env){env, item->name.name, item_value(u, home, item), item->name.span};
        env = bound;
    }
    return env;
}

static void check_twice(Unit *u, const Home *home) {
    const Program *p = home->program;
    Map seen = {0};
    for (uint32_t i = 0; i < p->count; i++) {
        const Item *item = &p->items[i];
        bool other = item->kind == ITEM_EXPERIMENT;
        if (!is_definition(item) && !other) continue;
        uint32_t before;
        uint64_t key = item->name.name * 2ull + other;
        if (map_get(&seen, key, &before)) {
            Diagnostic *d = diag_report(u->context.diagnostics, DIAG_DEFINED_AGAIN, item->name.span,
                                        names_text(u->context.names, item->name.name));
            diag_note(d, p->items[before].name.span, "the first definition stands here");
        } else
            map_set(&seen, key, i);
    }
    map_free(&seen);
}

static Home *add_text(Unit *u, const char *key, const char *shown, const char *bytes, size_t length,
                      bool library) {
    const SemaContext *c = &u->context;
    Home *home = ARENA_NEW(u->arena, Home);
    vec_push(&u->homes, home);
    vec_push(&u->paths, key);
    uint32_t file = sources_add(c->sources, shown, bytes, length, library);
    home->program = syntax_parse(u->arena, c->names, c->diagnostics, file, NULL);
    home->folder = folder_of(u->arena, shown);
    const Env *env = NULL;
    for (uint32_t i = 0; i < home->program->count; i++) {
        const Item *item = &home->program->items[i];
        if (item->kind != ITEM_USE) continue;
        if (u->homes.len > MODULES_MAX) break;
        Home *used;
        if (!item->use.path)
            used = add_module(u, item);
        else {
            const char *path = item->use.path->string.bytes;
            if (path[0] != '/') path = arena_format(u->arena, "%s%s", home->folder, path);
            used = add_file(u, path, item->use.path->span);
        }
        if (used) env = bind_items(u, env, used);
    }
    home->env = bind_items(u, env, home);
    check_twice(u, home);
    return home;
}

/* ---- the unit ------------------------------------------------------------------------------ */

static void read_precision(Unit *u, const Item *item) {
    const char *p = names_text(u->context.names, item->name.name);
    if (strcmp(p, "f64") == 0)
        u->f64 = true;
    else if (strcmp(p, "f32") != 0)
        diag_help(diag_report(u->context.diagnostics, DIAG_BAD_PRECISION, item->name.span, p),
                  "f32 and f64 are");
}

static Unit *finish(Unit *u) {
    const Program *p = u->homes.data[0]->program;
    u->globals = u->homes.data[0]->env;
    for (uint32_t i = 0; i < p->count; i++) {
        const Item *item = &p->items[i];
        if (item->kind == ITEM_EXPERIMENT) vec_push(&u->experiments, item);
        if (item->kind == ITEM_TEST) vec_push(&u->tests, item);
        if (item->kind == ITEM_PRECISION) read_precision(u, item);
    }
    /* names that a broken line would have defined are not missed */
    if (!diagnostics_errors(u->context.diagnostics)) resolve_unit(u);
    return u;
}

static Unit *unit_new(const SemaContext *context) {
    Unit *u = ARENA_NEW(context->arena, Unit);
    u->context = *context;
    u->arena = context->arena;
    vec_adopt(u->arena, &u->homes);
    vec_adopt(u->arena, &u->paths);
    vec_adopt(u->arena, &u->experiments);
    vec_adopt(u->arena, &u->tests);
    return u;
}

Unit *sema_load(const SemaContext *context, const char *path) {
    Unit *u = unit_new(context);
    return add_file(u, path, SPAN_NONE) ? finish(u) : NULL;
}

Unit *sema_load_text(const SemaContext *context, const char *name, const char *text,
                     size_t length) {
    Unit *u = unit_new(context);
    add_text(u, name, name, text, length, false);
    return finish(u);
}

uint32_t sema_experiments(const Unit *u) { return u->experiments.len; }
uint32_t sema_tests(const Unit *u) { return u->tests.len; }
bool sema_wants_f64(const Unit *u) { return u->f64; }
Span sema_test_span(const Unit *u, uint32_t i) { return u->tests.data[i]->span; }
const char *sema_test_title(const Unit *u, uint32_t i) {
    return u->tests.data[i]->test.title->string.bytes;
}
const char *sema_experiment_name(const Unit *u, uint32_t i) {
    return names_text(u->context.names, u->experiments.data[i]->name.name);
}

const Item *sema_item_at(const Unit *u, Span place) {
    for (uint32_t h = 0; h < u->homes.len; h++) {
        const Program *p = u->homes.data[h]->program;
        if (!place.file || !p || p->file != place.file) continue;
        for (uint32_t i = 0; i < p->count; i++)
            if (place.begin >= p->items[i].span.begin && place.end <= p->items[i].span.end)
                return &p->items[i];
    }
    return NULL;
}

const Item *sema_definition(const Unit *u, const char *name) {
    const Env *found = env_find(u->globals, names_of(u->context.names, name));
    bool is = found && found->value && found->value->kind == VALUE_OPERATOR &&
              found->value->op->kind == OPERATOR_DEF;
    return is ? found->value->op->item : NULL;
}

void sema_suggest(Unit *u, Diagnostic *d, const char *name, bool kernels) {
    VEC(const char *) all = {0};
    Text own = {0};
    for (uint32_t i = 0; !kernels && i < u->experiments.len; i++) {
        vec_push(&all, sema_experiment_name(u, i));
        text_printf(&own, "%s%s", own.len ? ", " : "", sema_experiment_name(u, i));
    }
    for (uint32_t h = 0; h < u->homes.len; h++)
        for (uint32_t i = 0; i < u->homes.data[h]->program->count; i++) {
            const Item *item = &u->homes.data[h]->program->items[i];
            const char *text =
                item->kind == ITEM_DEF ? names_text(u->context.names, item->name.name) : NULL;
            if (!text || !sema_definition(u, text)) continue;
            if (kernels && item->def.kind == DEF_SOLVER) continue;
            vec_push(&all, text);
            if (h == 0) text_printf(&own, "%s%s", own.len ? ", " : "", text);
        }
    const char *near = name ? diag_nearest(name, all.data, all.len) : NULL;
    if (near) diag_help(d, "did you mean '%s'?", near);
    bool said = near || (name && suggest_module(d, name));
    if (!said && own.len) diag_help(d, "the program defines %.*s", (int)own.len, own.data);
    if (!said && !own.len)
        diag_help(d, "the program defines no operator; one is written: operator name(u) = …");
    text_free(&own);
    vec_free(&all);
}
