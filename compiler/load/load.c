/* Loading programs: from the cache, else through libpdn_code.so. */

#include "compiler/load/load.h"

#include "compiler/kernel/tiles.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct Code {
    double *constants;
    Linked own; /* by object.c */
    const CodeBackend *backend;
    void *linked; /* by the backend */
    CodeEntry entry;
    bool hit;
};

/* ---- the back end -------------------------------------------------------------------------- */

#ifndef PDN_CODE_PATH
#define PDN_CODE_PATH ""
#endif

/* Where libpdn_code.so is: $PDN_CODE_LIBRARY, beside the program, or where it was built. */
static bool backend_path(char *path, size_t size) {
    static const char *const places[] = {
        "%s/libpdn_code.so", "%s/../lib/pdn/libpdn_code.so", "%s/../lib/libpdn_code.so",
        "%s/../" PDN_LIBDIR "/pdn/libpdn_code.so", "%s/compiler/llvm/libpdn_code.so"};
    const char *given = getenv("PDN_CODE_LIBRARY");
    if (given) return snprintf(path, size, "%s", given) < (int)size;
    char self[4096];
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    self[length > 0 ? length : 0] = 0;
    char *slash = strrchr(self, '/');
    if (slash) *slash = 0;
    for (size_t i = 0; i < sizeof places / sizeof *places && slash; i++)
        if (snprintf(path, size, places[i], self) < (int)size && access(path, R_OK) == 0)
            return true;
    return snprintf(path, size, "%s", PDN_CODE_PATH) < (int)size && access(path, R_OK) == 0;
}

const CodeBackend *backend_open(char **error) {
    char path[4200];
    void *library =
        dlopen(backend_path(path, sizeof path) ? path : "libpdn_code.so", RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        *error = text_message("the code generator cannot be loaded: %s", dlerror());
        return NULL;
    }
    const CodeBackend *(*get)(void);
    void *symbol = dlsym(library, "pdn_code_backend");
    memcpy(&get, &symbol, sizeof get);
    const CodeBackend *backend = symbol ? get() : NULL;
    if (!backend || backend->version != CODE_BACKEND_VERSION) {
        *error = text_message("libpdn_code.so does not belong to this program");
        return NULL;
    }
    return backend;
}

/* ---- keys ----------------------------------------------------------------------------------- */

/* The text of a plan says all of its code; constants are arguments. */
static uint64_t key_of(const Plan *plan, const CodeTarget *target) {
    Text text = {0};
    plan_print_code(plan, &text);
    machine_describe(target, &text);
    char path[4200];
    struct stat made = {0};
    if (backend_path(path, sizeof path)) stat(path, &made); /* another code generator, other code */
    text_printf(&text, "backend %d %lld %lld.%ld\n", CODE_BACKEND_VERSION, (long long)made.st_size,
                (long long)made.st_mtim.tv_sec, made.st_mtim.tv_nsec);
    uint64_t key = hash_bytes(0x70646e, text.data, text.len);
    text_free(&text);
    return key;
}

/* ---- code.h --------------------------------------------------------------------------------- */

/* By the linker that needs no LLVM, if that knows all that the object holds: it is the faster one, too. */
static bool link_code(const void *bytes, size_t size, Code *code, char **error) {
    if (object_link(bytes, size, &code->own)) {
        code->entry = code->own.entry;
        return true;
    }
    if (!code->backend) code->backend = backend_open(error);
    code->linked = code->backend ? code->backend->link(bytes, size, &code->entry, error) : NULL;
    return code->linked != NULL;
}

static bool compile(const Plan *plan, const CodeTarget *target, const char *cache, uint64_t key,
                    Code *code, char **error) {
    void *bytes = NULL;
    size_t size = 0;
    Machine machine = machine_of(target);
    code->backend = backend_open(error);
    if (!code->backend || !code->backend->object(plan, target, &machine, &bytes, &size, error))
        return false;
    if (cache) cache_store(cache, key, bytes, size);
    bool linked = link_code(bytes, size, code, error);
    mem_free(bytes);
    return linked;
}

static bool from_cache(const char *cache, uint64_t key, Code *code) {
    size_t size;
    void *object = cache_find(cache, key, &size);
    if (!object) return false;
    char *error = NULL;
    code->hit = link_code(object, size, code, &error);
    mem_free(error);
    mem_free(object);
    return code->hit;
}

Code *code_load(const Plan *plan, const CodeTarget *target, const char *cache, char **error) {
    Code *code = mem_alloc(sizeof *code);
    *code = (Code){0};
    size_t bytes = sizeof(double) * plan->constants.len;
    code->constants = mem_alloc(bytes + 1);
    if (bytes) memcpy(code->constants, plan->constants.data, bytes);
    uint64_t key = cache ? key_of(plan, target) : 0;
    if (cache && from_cache(cache, key, code)) return code;
    if (compile(plan, target, cache, key, code, error)) return code;
    code_free(code);
    return NULL;
}

void code_free(Code *code) {
    if (!code) return;
    if (code->linked) code->backend->unlink(code->linked);
    object_unlink(&code->own);
    mem_free(code->constants);
    mem_free(code);
}

bool code_from_cache(const Code *code) { return code->hit; }

static CodeRun run_of(const Code *code, const CodeArguments *a) {
    return (CodeRun){a->host, a->grids, a->inputs, a->outputs, a->workspace, code->constants};
}

uint64_t code_workspace(const Code *code, const CodeArguments *arguments) {
    CodeRun run = run_of(code, arguments);
    int64_t bytes = code->entry.workspace(&run);
    return bytes < 0 ? UINT64_C(1) << 62 : (uint64_t)bytes;
}

int code_run(const Code *code, const CodeArguments *arguments) {
    CodeRun run = run_of(code, arguments);
    return code->entry.run(&run);
}

uint32_t code_conv_way(const Plan *plan, const CodeTarget *target, uint32_t number, uint32_t form) {
    Machine m = machine_of(target);
    uint32_t lanes = m.vector_bits / (plan->f64 ? 64 : 32);
    return conv_way(plan, number, (ConvForm)form, false, m.registers >= 32, lanes, m.exact);
}

/* ---- texts in the cache ---- */

static uint64_t text_key(const CodeTarget *target, const char *name) {
    Text text = {0};
    text_puts(&text, name);
    machine_describe(target, &text);
    uint64_t key = hash_bytes(0x746578, text.data, text.len);
    text_free(&text);
    return key;
}

char *code_cache_text(const char *cache, const CodeTarget *target, const char *name) {
    size_t size;
    void *bytes = cache_find(cache, text_key(target, name), &size);
    char *text = bytes ? text_message("%.*s", (int)size, (const char *)bytes) : NULL;
    mem_free(bytes);
    return text;
}

void code_cache_keep(const char *cache, const CodeTarget *target, const char *name,
                     const char *text) {
    cache_store(cache, text_key(target, name), text, strlen(text));
}

bool code_build(const Plan *plan, const Module *module, const CodeBuild *build, char **error) {
    Machine machine = machine_of(&build->target);
    const CodeBackend *backend = backend_open(error);
    return backend && backend->build(plan, module, build, &machine, error);
}

bool code_target_check(const CodeTarget *target, char **error) {
    Machine machine = machine_of(target);
    const CodeBackend *backend = backend_open(error);
    return backend && backend->check(target, &machine, error);
}

char *code_target_names(CodeNames what, const CodeTarget *target, char **error) {
    Machine machine = machine_of(target);
    const CodeBackend *backend = backend_open(error);
    return backend ? backend->names(what, target, &machine, error) : NULL;
}
