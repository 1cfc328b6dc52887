/* pdn build: a definition as a standalone kernel. */
#include "compiler/driver/build_target.h"
#include "compiler/driver/certificates.h"
#include "compiler/driver/execute.h"
#include "compiler/driver/version.h"
#include "compiler/llvm/code.h"

#include <ctype.h>
#include <dlfcn.h>
#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* ---- what the command line says ------------------------------------------------------- */

/* "512x?x64", slowest axis first, into extents with x first. False where it is no size. */
static bool kernel_size(const char *text, KernelOptions *k) {
    int64_t sizes[MAX_RANK];
    uint32_t n = 0;
    for (const char *p = text;; p++) {
        char *end = (char *)p;
        if (n == MAX_RANK) return false;
        if (*p == '?')
            sizes[n] = -1, end++;
        else if (isdigit((unsigned char)*p))
            sizes[n] = strtoll(p, &end, 10);
        if (end == p || sizes[n] == 0 || sizes[n] > INT32_MAX) return false;
        n++;
        if (!*end) break;
        if (*end != 'x') return false;
        p = end;
    }
    k->rank = n;
    for (uint32_t i = 0; i < n; i++) k->extent[i] = sizes[n - 1 - i];
    return true;
}

/* "0.5", or one an axis: "0.5x1". */
static bool kernel_spacing(const char *text, KernelOptions *k) {
    double values[MAX_RANK];
    uint32_t n = 0;
    for (const char *p = text;; p++) {
        char *end;
        if (n == MAX_RANK) return false;
        values[n] = strtod(p, &end);
        if (end == p || !(values[n] > 0) || !isfinite(values[n])) return false;
        n++;
        if (!*end) break;
        if (*end != 'x') return false;
        p = end;
    }
    if (n != 1 && n != k->rank) return false;
    for (uint32_t i = 0; i < k->rank; i++) k->spacing[i] = n == 1 ? values[0] : values[n - 1 - i];
    return true;
}

static bool read_emit(const char *text, unsigned *emit) {
    static const struct {
        const char *word;
        unsigned bit;
    } words[] = {
        {"obj", EMIT_OBJECT}, {"header", EMIT_HEADER}, {"shared", EMIT_SHARED},
        {"llvm", EMIT_LLVM},  {"asm", EMIT_ASM},
    };
    *emit = 0;
    while (*text) {
        size_t n = strcspn(text, ",");
        unsigned bit = 0;
        for (size_t i = 0; i < sizeof words / sizeof *words; i++)
            if (strlen(words[i].word) == n && memcmp(words[i].word, text, n) == 0)
                bit = words[i].bit;
        if (!bit) return false;
        *emit |= bit;
        text += n + (text[n] == ',');
    }
    return *emit != 0;
}

static bool is_c_name(const char *name) {
    if (!isalpha((unsigned char)name[0]) && name[0] != '_') return false;
    for (const char *p = name; *p; p++)
        if (!isalnum((unsigned char)*p) && *p != '_') return false;
    return true;
}

/* A header that declares it is refused by compilers of C or C++. */
static bool is_c_word(const char *name) {
    static const char *const words[] = {
        "alignas",   "alignof",   "asm",          "auto",     "bool",     "break",
        "case",      "catch",     "char",         "class",    "const",    "constexpr",
        "continue",  "decltype",  "default",      "delete",   "do",       "double",
        "enum",      "explicit",  "export",       "extern",   "float",    "friend",
        "goto",      "inline",    "int",          "int64_t",  "long",     "main",
        "mutable",   "namespace", "new",          "noexcept", "nullptr",  "private",
        "protected", "public",    "register",     "restrict", "short",    "signed",
        "size_t",    "sizeof",    "static",       "struct",   "switch",   "static_assert",
        "template",  "this",      "thread_local", "throw",    "try",      "typedef",
        "typeid",    "typename",  "typeof",       "union",    "unsigned", "using",
        "virtual",   "void",      "volatile",     "wchar_t",  "while",    "xor"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcmp(name, words[i]) == 0) return true;
    return false;
}

/* A kernel of that name would stand in the place of the function, which it calls itself or the program does. */
static bool in_c_library(const char *name) {
    static const char *const libraries[] = {"libc.so.6", "libm.so.6"};
    bool found = false;
    for (size_t i = 0; i < 2 && !found; i++) {
        void *library = dlopen(libraries[i], RTLD_NOW | RTLD_LOCAL);
        found = library && dlsym(library, name);
        if (library) dlclose(library);
    }
    return found;
}

bool kernel_grid(const char *command, const Options *o, KernelOptions *k) {
    if (!kernel_size(o->size ? o->size : "?x?", k))
        return options_wrong(
            command,
            "--size is '%s', but must be cells an axis such as 512x512 or ?x?, of up to three axes",
            o->size);
    if (!kernel_spacing(o->spacing ? o->spacing : "1", k))
        return options_wrong(
            command,
            "--spacing is '%s', but must be a positive number, or one an axis such as 0.5x1",
            o->spacing);
    return true;
}

static bool read_options(const Options *o, KernelOptions *k, CodeBuild *b) {
    *k = (KernelOptions){.overrides = o->overrides.data,
                         .count = o->overrides.len,
                         .weights = o->weights != NULL,
                         .gradient = o->gradient};
    *b = (CodeBuild){.folder = o->out ? o->out : ".",
                     .emit = EMIT_OBJECT | EMIT_HEADER,
                     .conv_norm = pdn_conv_norm_into,
                     .target = {o->target, o->cpu, o->features, o->optimise, o->exact,
                                o->threads ? (int)o->threads : pdn_threads_available()}};
    if (o->words.len != 1)
        return options_wrong("build", "one NAME is needed, of the definition to build");
    if (!kernel_grid("build", o, k)) return false;
    if (o->emit && !read_emit(o->emit, &b->emit))
        return options_wrong(
            "build",
            "--emit is '%s', but must be of obj, header, shared, llvm and asm, such as obj,header",
            o->emit);
    b->name = o->words.data[0];
    return true;
}

/* ---- what the kernel is given, and what goes inside ------------------------------------------------- */

/* Fields and numbers first, then parameters, unless they have weights. */
static CodeInput *place_inputs(const Elaborated *what, bool weights, Arena *arena,
                               uint32_t *count) {
    uint32_t n = what->module->inputs.len, parameters = 0;
    CodeInput *inputs = arena_alloc(arena, sizeof *inputs * (n + 1));
    *count = 0;
    for (uint32_t i = 0; i < n; i++) {
        SourceKind kind = what->sources.data[i].kind;
        inputs[i] =
            (CodeInput){.place = kind == SOURCE_ARGUMENT ? (int64_t)(*count)++ : -1, .frames = -1};
        parameters += kind == SOURCE_START;
    }
    for (uint32_t i = 0; i < n; i++) {
        const Source *s = &what->sources.data[i];
        CodeInput *c = &inputs[i];
        if (s->kind != SOURCE_START) continue;
        int first = s->depth >= 0;
        if (!weights) c->place = *count + s->number;
        c->parameter = s->name;
        c->frames = s->depth;
        c->rank = s->rank + first;
        c->shape[0] = s->depth;
        memcpy(c->shape + first, s->shape, sizeof *s->shape * (size_t)s->rank);
    }
    if (!weights) *count += parameters;
    return inputs;
}

/* The array of a parameter, from the file. */
static PdnStatus read_weight(const PdnTensors *file, PdnType type, CodeInput *c, Arena *arena,
                             PdnError *error) {
    int64_t count = 1;
    for (int i = 0; i < c->rank; i++) count *= c->shape[i];
    void *data = arena_alloc(arena, (size_t)(count + 1) * (type == PDN_F64 ? 8 : 4));
    c->data = data;
    c->bytes = (size_t)count * (type == PDN_F64 ? 8 : 4);
    return pdn_tensors_get(file, c->parameter, type, c->rank, c->shape, data, error);
}

/* It keeps to its range and constraints; false after a message. */
static bool keeps_to_them(Session *s, const Numbers *x, const Source *source, const CodeInput *c) {
    int64_t frames = source->depth < 0 ? 1 : source->depth,
            count = (int64_t)c->bytes / (x->type == PDN_F64 ? 8 : 4);
    const char *fault = tensor_fault(x, source->tensor, c->parameter, (void *)c->data, frames,
                                     count / frames, s->arena);
    if (fault) tensor_refuse(s, s->options->weights, fault, source->span);
    return !fault;
}

/* A field that the definition reads from a file. */
static PdnStatus read_field(const char *path, PdnType type, CodeInput *c, Arena *arena,
                            PdnError *error) {
    PdnArray a;
    PdnStatus status = pdn_file_read(path, type, &a, error);
    if (status != PDN_OK) return status;
    c->bytes = (size_t)pdn_array_count(&a) * (type == PDN_F64 ? 8 : 4);
    void *data = arena_alloc(arena, c->bytes + 1);
    memcpy(data, a.data, c->bytes);
    c->data = data;
    pdn_array_free(&a);
    return PDN_OK;
}

/* A parameter that starts from a field is as large as the grid; false after a message. */
static bool has_size(Session *s, const Source *source, const CodeInput *c) {
    for (int i = 0; c->parameter && i < c->rank; i++)
        if (c->shape[i] < 0) {
            Diagnostic *d =
                diag_report(s->diagnostics, DIAG_WEIGHT_SIZE, source->span, c->parameter);
            diag_help(d, "fix the size: --size 512x512");
            return false;
        }
    return true;
}

static bool read_inside(Session *s, const Elaborated *what, CodeInput *inputs, bool f64) {
    PdnTensors *file = NULL;
    PdnError error = {{0}};
    PdnType type = f64 ? PDN_F64 : PDN_F32;
    Numbers numbers = {type, what->module};
    const char *weights = s->options->weights;
    if (weights && pdn_tensors_read(weights, &file, &error) != PDN_OK) {
        diag_report(s->diagnostics, DIAG_FILE_UNREADABLE, SPAN_NONE, error.message);
        return false;
    }
    bool ok = true, any = false;
    for (uint32_t i = 0; i < what->module->inputs.len; i++) {
        const Source *source = &what->sources.data[i];
        any = any || source->kind == SOURCE_START;
        if (inputs[i].place >= 0) continue;
        if (!has_size(s, source, &inputs[i])) {
            ok = false;
            continue;
        }
        PdnStatus status = source->kind == SOURCE_FILE
                               ? read_field(source->path, type, &inputs[i], s->arena, &error)
                               : read_weight(file, type, &inputs[i], s->arena, &error);
        if (status == PDN_OK) {
            ok = (source->kind == SOURCE_FILE || keeps_to_them(s, &numbers, source, &inputs[i])) &&
                 ok;
            continue;
        }
        diag_report(s->diagnostics, DIAG_FILE_UNREADABLE, source->span, error.message);
        ok = false;
    }
    if (weights && !any) {
        diag_report(s->diagnostics, DIAG_NO_PARAMETERS, SPAN_NONE, what->name);
        ok = false;
    }
    pdn_tensors_free(file);
    return ok;
}

/* ---- the certificate --------------------------------------------------------------------------- */

/* What goes inside, in double. */
static Array inside_value(const CodeInput *c, Type type, bool f64, Arena *arena) {
    Array a = {.type = type, .frames = c->frames < 0 ? 1 : c->frames};
    if (c->place >= 0 || !c->data) return a;
    a.size = (int64_t)(c->bytes / (f64 ? 8 : 4));
    a.data = ARENA_ARRAY(arena, double, a.size + 1);
    for (int64_t i = 0; i < a.size; i++)
        a.data[i] = f64 ? ((const double *)c->data)[i] : (double)((const float *)c->data)[i];
    return a;
}

/* Of the graph as it was elaborated, before the passes. */
static json_t *certificate_of(const Session *s, const Elaborated *what, const CodeInput *inputs,
                              bool f64) {
    const Module *m = what->module;
    Array *values = ARENA_ARRAY(s->arena, Array, m->inputs.len + 1);
    for (uint32_t i = 0; i < m->inputs.len; i++)
        values[i] = inside_value(&inputs[i], m->inputs.data[i].type, f64, s->arena);
    Certificates steps = {0};
    Certificate c = certificate_of_kernel(what, values, &steps);
    json_t *o = certificate_json(&c, s->names);
    json_object_set_new(o, "schemes", certificates_json(&steps, s->names));
    vec_free(&steps);
    return o;
}

/* ---- the manifest ----------------------------------------------------------------------------- */

static json_t *extents_json(const Grid *g) {
    json_t *sizes = json_array();
    for (uint32_t i = g->rank; i-- > 0;)
        json_array_append_new(sizes,
                              g->extent[i] < 0 ? json_string("?") : json_integer(g->extent[i]));
    return sizes;
}

static json_t *type_json(const Module *m, Type t, const char *name) {
    json_t *o = json_object();
    if (name && *name) json_object_set_new(o, "name", json_string(name));
    json_object_set_new(o, "kind", json_string(t.kind == TYPE_SCALAR ? "number" : "field"));
    if (t.kind == TYPE_FIELD) {
        json_object_set_new(o, "channels", json_integer(t.channels));
        json_object_set_new(o, "shape", extents_json(&m->grids.data[t.grid]));
    }
    return o;
}

static json_t *parameters_json(const Elaborated *what, const CodeBuild *b) {
    json_t *list = json_array();
    for (uint32_t number = 0; number < what->sources.len; number++)
        for (uint32_t i = 0; i < what->sources.len; i++) {
            const CodeInput *c = &b->inputs[i];
            if (!c->parameter || what->sources.data[i].number != number) continue;
            json_t *o = json_object(), *shape = json_array();
            for (int a = 0; a < c->rank; a++)
                json_array_append_new(shape, c->shape[a] < 0 ? json_string("?")
                                                             : json_integer(c->shape[a]));
            json_object_set_new(o, "name", json_string(c->parameter));
            json_object_set_new(o, "shape", shape);
            json_object_set_new(o, "input", c->place < 0 ? json_null() : json_integer(c->place));
            json_array_append_new(list, o);
        }
    return list;
}

static char *manifest_text(const Session *s, const Elaborated *what, const CodeBuild *b,
                           const KernelOptions *k, json_t *certificate) {
    const Module *m = what->module;
    json_t *o = json_object(), *in = json_array(), *out = json_array(), *spacing = json_array(),
           *given = json_object();
    const Func *f = graph_get(m, m->main);
    for (uint32_t i = 0; i < m->inputs.len; i++)
        if (what->sources.data[i].kind == SOURCE_ARGUMENT)
            json_array_append_new(in, type_json(m, m->inputs.data[i].type,
                                                names_text(s->names, m->inputs.data[i].name)));
    for (uint32_t i = 0; i < f->results.len; i++)
        json_array_append_new(out, type_json(m, graph_node(f, f->results.data[i])->type, NULL));
    for (uint32_t i = k->rank; i-- > 0;) json_array_append_new(spacing, json_real(k->spacing[i]));
    for (uint32_t i = 0; i < what->settings.len; i++)
        json_object_set_new(given, what->settings.data[i].name,
                            json_string(what->settings.data[i].text));
    json_object_set_new(o, "name", json_string(b->name));
    json_object_set_new(o, "compiler", json_string("pdn " PDN_VERSION));
    json_object_set_new(o, "source", json_string(s->options->file));
    json_object_set_new(o, "configuration", given);
    json_object_set_new(o, "precision", json_string(session_f64(s) ? "f64" : "f32"));
    json_object_set_new(o, "rank", json_integer(k->rank));
    json_object_set_new(o, "spacing", spacing);
    json_object_set_new(o, "inputs", in);
    json_object_set_new(o, "outputs", out);
    json_object_set_new(o, "parameters", parameters_json(what, b));
    json_object_set_new(o, "weights",
                        s->options->weights ? json_string(s->options->weights) : json_null());
    json_object_set_new(o, "gradient", json_boolean(k->gradient));
    json_object_set_new(o, "certificate", certificate);
    json_object_set_new(o, "target", json_string(b->target.triple ? b->target.triple : "native"));
    json_object_set_new(o, "cpu",
                        json_string(b->target.cpu      ? b->target.cpu
                                    : b->target.triple ? "generic"
                                                       : "native"));
    char *text = json_dumps(o, JSON_INDENT(2) | JSON_REAL_PRECISION(17));
    json_decref(o);
    return text;
}

/* ---- the command ------------------------------------------------------------------------------------ */

static int build(Session *s, const KernelOptions *k, CodeBuild *b) {
    Elaborated *what = sema_elaborate_kernel(s->unit, b->name, k);
    session_time(s, "elaborate");
    if (!what) return 1;
    Module *m = what->module;
    int status = 1;
    bool fma = code_target_has_fma(&b->target);
    CodeInput *inputs = place_inputs(what, k->weights, s->arena, &b->in_count);
    b->inputs = inputs;
    if (!read_inside(s, what, inputs, k->f64)) {
        sema_free(what);
        return 1;
    }
    json_t *certificate = certificate_of(s, what, inputs, k->f64);
    PipelineResult made = pipeline_run(s, what, k->f64, fma, true);
    if (made == PIPELINE_DUMPED) status = 0;
    if (made == PIPELINE_OK) {
        Plan *plan = pipeline_plan(s, m, m->main, k->f64, fma);
        if (what->vjp) b->vjp = pipeline_plan(s, m, what->vjp, k->f64, fma);
        char *error = NULL, *manifest = manifest_text(s, what, b, k, json_incref(certificate));
        b->manifest = manifest;
        if (mkdir(b->folder, 0777) != 0 && errno != EEXIST)
            diag_report(s->diagnostics, DIAG_NO_FOLDER, SPAN_NONE, b->folder, strerror(errno));
        else if (code_build(plan, m, b, &error))
            status = 0;
        else
            diag_report(s->diagnostics, DIAG_CODE_FAILED, SPAN_NONE, error ? error : "unknown");
        free(manifest);
        mem_free(error);
        session_time(s, "generate code");
    }
    json_decref(certificate);
    sema_free(what);
    return status;
}

int command_build(Options *options) {
    KernelOptions k;
    CodeBuild b;
    int helped;
    CodeTarget target = {options->target,   options->cpu,   options->features,
                         options->optimise, options->exact, 1};
    if (target_help(options, &target, &helped)) return helped;
    if (!read_options(options, &k, &b) || !pipeline_check(options) ||
        !target_known(options, &b.target))
        return 2;
    Session s;
    session_open(&s, options);
    int status = 1;
    if (session_load(&s, options->file)) {
        k.f64 = session_f64(&s);
        if (!is_c_name(b.name))
            diag_report(s.diagnostics, DIAG_NOT_A_C_NAME, SPAN_NONE, b.name);
        else if (is_c_word(b.name) || in_c_library(b.name))
            diag_report(s.diagnostics, DIAG_C_NAME_TAKEN, SPAN_NONE, b.name);
        else
            status = build(&s, &k, &b);
    }
    session_close(&s);
    return status;
}
