#include "compiler/driver/build_target.h"
#include "compiler/diagnostic/diagnostic.h"

#include <stdlib.h>
#include <string.h>

/* ---- names that are near ------------------------------------------------------------------- */

typedef struct {
    Arena *arena;
    const char **names;
    uint32_t count;
} Known;

static Known ask_names(Arena *arena, CodeNames what, const CodeTarget *target) {
    char *error = NULL, *list = code_target_names(what, target, &error);
    Known out = {.arena = arena};
    uint32_t lines = 0;
    for (const char *c = list; c && *c; c++) lines += *c == '\n';
    out.names = ARENA_ARRAY(arena, const char *, lines + 1);
    for (const char *c = list; c && *c;) {
        size_t n = strcspn(c, "\n");
        out.names[out.count++] = arena_text(arena, c, n);
        c += n + (c[n] == '\n');
    }
    mem_free(list);
    mem_free(error);
    return out;
}

static bool holds(const Known *names, const char *name) {
    for (uint32_t i = 0; i < names->count; i++)
        if (strcmp(names->names[i], name) == 0) return true;
    return false;
}

/* "; near it: a, b, c", the nearest first; "": nothing is near. */
static const char *near_text(Known names, const char *wanted) {
    const char *text = "";
    for (int i = 0; i < 3 && names.count; i++) {
        const char *next = diag_nearest(wanted, names.names, names.count);
        if (!next) break;
        text = arena_format(names.arena, "%s%s%s", text, i ? ", " : "; near it: ", next);
        uint32_t at = 0;
        while (names.names[at] != next) at++;
        names.names[at] = names.names[--names.count];
    }
    return text;
}

/* ---- is it there? -------------------------------------------------------------------------------- */

static bool unknown(const char *option, const char *what, const char *name,
                    const CodeTarget *target, Known names) {
    fprintf(stderr, "pdn build: --%s: there is no %s '%s' for %s%s (--%s help lists all)\n", option,
            what, name, target->triple ? target->triple : "this machine's architecture",
            near_text(names, name), option);
    return false;
}

/* Of a triple by itself: its architecture is known, and code can be made. */
static bool triple_known(Arena *arena, const CodeTarget *target) {
    const CodeTarget of = {.triple = target->triple, .optimise = target->optimise};
    char *error = NULL;
    if (!target->triple || code_target_check(&of, &error)) return true;
    Known names = ask_names(arena, CODE_TARGETS, NULL);
    const char *first = arena_text(arena, target->triple, strcspn(target->triple, "-"));
    if (holds(&names, first))
        fprintf(stderr, "pdn build: --target: no code can be made for '%s': %s\n", target->triple,
                error);
    else
        fprintf(
            stderr,
            "pdn build: --target: there is no target '%s'%s (--target help lists what they begin with)\n",
            target->triple, near_text(names, first));
    mem_free(error);
    return false;
}

static bool features_known(Arena *arena, const CodeTarget *target) {
    Known names = ask_names(arena, CODE_FEATURES, target);
    for (const char *at = target->features; *at;) {
        size_t n = strcspn(at, ",");
        const char *feature = arena_text(arena, at, n);
        at += n + (at[n] == ',');
        if (*feature != '+' && *feature != '-') {
            fprintf(
                stderr,
                "pdn build: --features: '%s' is not clear: with a feature +NAME, without it -NAME\n",
                feature);
            return false;
        }
        if (names.count && !holds(&names, feature + 1))
            return unknown("features", "feature", feature + 1, target, names);
    }
    return true;
}

static bool parts_known(Arena *arena, const CodeTarget *target) {
    if (target->cpu && (target->triple || strcmp(target->cpu, "native") != 0)) {
        Known names = ask_names(arena, CODE_CPUS, target);
        if (names.count && !holds(&names, target->cpu))
            return unknown("cpu", "processor", target->cpu, target, names);
    }
    return !target->features || features_known(arena, target);
}

bool target_known(const Options *o, const CodeTarget *target) {
    if (!o->target && !o->cpu && !o->features) return true;
    char *error = NULL;
    Arena *arena = arena_new();
    bool known = triple_known(arena, target) && parts_known(arena, target);
    if (known && !code_target_check(target, &error)) {
        known = false;
        fprintf(stderr, "pdn build: no code can be made for%s%s%s%s%s%s: %s\n",
                o->target ? " --target " : "", o->target ? o->target : "", o->cpu ? " --cpu " : "",
                o->cpu ? o->cpu : "", o->features ? " --features " : "",
                o->features ? o->features : "", error);
    }
    arena_free(arena);
    mem_free(error);
    return known;
}

/* ---- --cpu help --------------------------------------------------------------------------------------- */

static bool asks(const char *value) { return value && strcmp(value, "help") == 0; }

bool target_help(const Options *o, const CodeTarget *target, int *status) {
    if (!asks(o->target) && !asks(o->cpu) && !asks(o->features)) return false;
    CodeNames what = asks(o->target) ? CODE_TARGETS : asks(o->cpu) ? CODE_CPUS : CODE_FEATURES;
    Arena *arena = arena_new();
    *status = 2;
    if (what == CODE_TARGETS || triple_known(arena, target)) {
        Known names = ask_names(arena, what, target);
        for (uint32_t i = 0; i < names.count; i++) puts(names.names[i]);
        if (names.count)
            *status = 0;
        else
            fprintf(stderr, "pdn build: LLVM has no list of them\n");
    }
    arena_free(arena);
    return true;
}
