/* Programs are compiled in parts, each a module of its own in a context of its own: nothing in LLVM is shared. Nearly all of the
 * time goes into machine code, so that a part emits the whole program again and drops what belongs to others. The objects
 * become one (objects.c), so that neither the cache nor a linker sees any of this. */
#include "compiler/llvm/parts.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum {
    /* instructions: about a tenth of a second; emitting the program again is a fiftieth of that */
    PART = 8192,
    MOST_PARTS = 4,
};

/* ---- which functions ---------------------------------------------------------------------------- */

static uint32_t instructions(LLVMValueRef f) {
    uint32_t count = 0;
    for (LLVMBasicBlockRef b = LLVMGetFirstBasicBlock(f); b; b = LLVMGetNextBasicBlock(b))
        for (LLVMValueRef i = LLVMGetFirstInstruction(b); i; i = LLVMGetNextInstruction(i)) count++;
    return count;
}

/* The largest function that is left goes to the part that has least. */
static void deal(Division *d, const uint32_t *sizes) {
    uint64_t load[MOST_PARTS] = {0};
    for (uint32_t i = 0; i < d->count; i++) d->part[i] = MOST_PARTS;
    for (uint32_t left = d->count; left > 0; left--) {
        uint32_t next = d->count, least = 0;
        for (uint32_t i = 0; i < d->count; i++)
            if (d->part[i] == MOST_PARTS && (next == d->count || sizes[i] > sizes[next])) next = i;
        for (uint32_t p = 1; p < d->parts; p++)
            if (load[p] < load[least]) least = p;
        d->part[next] = least;
        load[least] += sizes[next];
    }
}

Division parts_divide(const Emit *e, const Target *t) {
    Division d = {.parts = 1};
    uint32_t total = 0, functions = 0;
    for (LLVMValueRef f = LLVMGetFirstFunction(e->module); f; f = LLVMGetNextFunction(f))
        functions++;
    uint32_t *sizes = ARENA_ARRAY(e->arena, uint32_t, functions + 1);
    d.names = ARENA_ARRAY(e->arena, const char *, functions + 1);
    d.part = ARENA_ARRAY(e->arena, uint32_t, functions + 1);
    for (LLVMValueRef f = LLVMGetFirstFunction(e->module); f; f = LLVMGetNextFunction(f)) {
        if (LLVMIsDeclaration(f)) continue;
        size_t length;
        const char *name = LLVMGetValueName2(f, &length);
        d.names[d.count] = arena_text(e->arena, name, length);
        sizes[d.count] = instructions(f);
        total += sizes[d.count++];
    }
    bool elf = strstr(t->triple, "linux") &&
               (strncmp(t->triple, "x86_64", 6) == 0 || strncmp(t->triple, "aarch64", 7) == 0);
    while (elf && d.parts < MOST_PARTS && (d.parts + 1) * PART <= total) d.parts++;
    if (d.parts > 1) deal(&d, sizes);
    return d;
}

/* What parts have in common is known to all of them, and to nobody else once their objects are one. */
static void share(LLVMValueRef global, bool own) {
    bool internal = LLVMGetLinkage(global) == LLVMInternalLinkage;
    if (internal || !own)
        LLVMSetLinkage(global, own ? LLVMExternalLinkage : LLVMAvailableExternallyLinkage);
    if (internal) LLVMSetVisibility(global, LLVMHiddenVisibility);
}

/* Leaves declarations of what belongs to other parts: by the pass that drops what is available elsewhere. */
static void take_part(LLVMModuleRef module, const Division *d, uint32_t part) {
    for (uint32_t i = 0; i < d->count; i++) {
        LLVMValueRef f = LLVMGetNamedFunction(module, d->names[i]);
        if (f) share(f, d->part[i] == part);
    }
    for (LLVMValueRef g = LLVMGetFirstGlobal(module); g; g = LLVMGetNextGlobal(g))
        if (LLVMGetLinkage(g) == LLVMInternalLinkage) share(g, part == 0);
}

/* ---- who makes them ------------------------------------------------------------------------------ */

typedef struct {
    Emit *first; /* part 0 */
    const Target *target;
    const Source *source;
    const Division *division;
    bool optimised; /* part 0 is */
    Object objects[MOST_PARTS];
    char *errors[MOST_PARTS];
    atomic_uint next;
} Work;

static void make_part(Work *w, uint32_t part) {
    Emit own, *e = part ? &own : w->first;
    Object *out = &w->objects[part];
    char **error = &w->errors[part];
    Target t = target_again(w->target);
    if (part) {
        emit_start(e, w->source->plan, &t.machine, w->source->standalone);
        w->source->emit(e, w->source->context);
    }
    take_part(e->module, w->division, part);
    bool optimised = part == 0 && w->optimised;
    if (target_passes(&t, e->module, "elim-avail-extern", error) &&
        (optimised ? target_passes(&t, e->module, "globaldce", error)
                   : target_optimise(&t, e->module, error)))
        target_emit(&t, e->module, LLVMObjectFile, &out->bytes, &out->size, error);
    if (part) emit_free(e);
    LLVMDisposeTargetMachine(t.tm);
}

static void *make_parts(void *work) {
    Work *w = work;
    for (uint32_t part; (part = atomic_fetch_add(&w->next, 1)) < w->division->parts;)
        make_part(w, part);
    return NULL;
}

/* The caller is one of the threads; signals go to those that were there before. */
static void run_threads(Work *w, uint32_t threads) {
    pthread_t others[MOST_PARTS];
    uint32_t count = 0;
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (count + 1 < threads && pthread_create(&others[count], NULL, make_parts, w) == 0) count++;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    make_parts(w);
    while (count > 0) pthread_join(others[--count], NULL);
}

bool parts_object(Emit *e, const Target *t, const Source *source, const Division *division,
                  bool optimised, void **bytes, size_t *size, char **error) {
    if (division->parts == 1)
        return (optimised || target_optimise(t, e->module, error)) &&
               target_emit(t, e->module, LLVMObjectFile, bytes, size, error);
    Work w = {
        .first = e, .target = t, .source = source, .division = division, .optimised = optimised};
    run_threads(&w, t->threads < (int)division->parts ? (uint32_t)t->threads : division->parts);
    bool ok = true;
    for (uint32_t i = 0; i < division->parts; i++) {
        if (ok) *error = w.errors[i];
        if (!ok) mem_free(w.errors[i]);
        ok = ok && !w.errors[i];
    }
    ok = ok && objects_join(w.objects, division->parts, bytes, size, error);
    for (uint32_t i = 0; i < division->parts; i++) mem_free(w.objects[i].bytes);
    return ok;
}
