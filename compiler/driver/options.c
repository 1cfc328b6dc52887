#include "compiler/driver/options.h"

#include <limits.h>
#include <popt.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define NOT_GIVEN LONG_MIN /* a number on the command line, before it is checked */

#define END                                                                                        \
    { NULL, 0, 0, NULL, 0, NULL, NULL }

/* The tables of options, by group. `o` receives the values. */
static void run_table(Options *o, struct poptOption *t) {
    struct poptOption table[] = {
        {"out", 'o', POPT_ARG_STRING, &o->out, 0,
         "where files are written (default: the current folder)", "DIR"},
        {"seed", 0, POPT_ARG_LONG, &o->seed, 0, "another seed gives other noise (default: 0)", "N"},
        {"threads", 0, POPT_ARG_LONG, &o->threads, 0,
         "threads (default: all); results do not depend on it", "N"},
        {"memory", 0, POPT_ARG_STRING, &o->memory_text, 0,
         "for the states that gradients go back through, such as 512M (default: half of what is free); "
         "results do not depend on it",
         "SIZE"},
        {"precision", 0, POPT_ARG_STRING, &o->precision, 0, "f32 or f64, in place of the program's",
         "P"},
        {"json", 0, POPT_ARG_NONE, &o->json, 0, "results as one JSON object a line", NULL},
        {"quiet", 0, POPT_ARG_NONE, &o->quiet, 0, "no progress", NULL},
        {"resume", 0, POPT_ARG_NONE, &o->resume, 0,
         "go on with training where its checkpoints left off", NULL},
        {"time", 0, POPT_ARG_NONE, &o->time, 0, "the time of each stage, on the standard error",
         NULL},
        {"dump-after", 0, POPT_ARG_STRING, &o->dump_after, 0,
         "print what a pass left and stop (`help` lists them)", "PASS"},
        {"interpret", 0, POPT_ARG_NONE, &o->interpret, 0, "run the reference interpreter, in f64",
         NULL},
        {"optimise", 0, POPT_ARG_INT, &o->optimise, 0,
         "effort of the code generator, 0 to 3 (default: 2)", "N"},
        {"exact", 0, POPT_ARG_NONE, &o->exact, 0,
         "divisions rounded correctly, functions of the maths library, direct sums of convolutions, small numbers kept: "
         "slower",
         NULL},
        {"cache", 0, POPT_ARG_STRING, &o->cache, 0,
         "folder of compiled programs (default: ~/.cache/pdn)", "DIR"},
        {"no-cache", 0, POPT_ARG_NONE, &o->no_cache, 0, "compile anew", NULL},
        {"stdlib", 0, POPT_ARG_STRING, &o->stdlib, 0, "a folder in place of the built-in library",
         "DIR"},
        END,
    };
    memcpy(t, table, sizeof table);
}

static void build_table(Options *o, struct poptOption *t) {
    struct poptOption table[] = {
        {"out", 'o', POPT_ARG_STRING, &o->out, 0,
         "where files are written (default: the current folder)", "DIR"},
        {"size", 0, POPT_ARG_STRING, &o->size, 0,
         "the grid, slowest axis first; ? is any size (default: ?x?)", "NxM"},
        {"spacing", 0, POPT_ARG_STRING, &o->spacing, 0,
         "the grid's spacing, or one an axis as in --size (default: 1)", "H"},
        {"precision", 0, POPT_ARG_STRING, &o->precision, 0, "f32 or f64, in place of the program's",
         "P"},
        {"weights", 0, POPT_ARG_STRING, &o->weights, 0,
         "parameters that go inside (default: they are inputs)", "FILE.safetensors"},
        {"gradient", 0, POPT_ARG_NONE, &o->gradient, 0,
         "the derivative too: NAME_vjp, by all inputs", NULL},
        {"target", 0, POPT_ARG_STRING, &o->target, 0,
         "as LLVM writes it, such as aarch64-linux-gnu (default: this machine; `help` lists what it begins with)",
         "TRIPLE"},
        {"cpu", 0, POPT_ARG_STRING, &o->cpu, 0,
         "such as x86-64 or skylake-avx512 (default: this machine's; `help` lists them)", "CPU"},
        {"features", 0, POPT_ARG_STRING, &o->features, 0,
         "of the processor, such as +avx2 (`help` lists them)", "LIST"},
        {"emit", 0, POPT_ARG_STRING, &o->emit, 0,
         "of obj,header,shared,llvm,asm (default: obj,header)", "LIST"},
        {"threads", 0, POPT_ARG_LONG, &o->threads, 0,
         "threads that compile (default: all); what they write does not depend on it", "N"},
        {"optimise", 0, POPT_ARG_INT, &o->optimise, 0,
         "effort of the code generator, 0 to 3 (default: 2)", "N"},
        {"exact", 0, POPT_ARG_NONE, &o->exact, 0,
         "divisions rounded correctly, functions of the maths library, direct sums of convolutions, small numbers kept: "
         "slower",
         NULL},
        {"dump-after", 0, POPT_ARG_STRING, &o->dump_after, 0,
         "print what a pass left and stop (`help` lists them)", "PASS"},
        {"time", 0, POPT_ARG_NONE, &o->time, 0, "the time of each stage, on the standard error",
         NULL},
        {"stdlib", 0, POPT_ARG_STRING, &o->stdlib, 0, "a folder in place of the built-in library",
         "DIR"},
        END,
    };
    memcpy(t, table, sizeof table);
}

static void format_table(Options *o, struct poptOption *t) {
    struct poptOption table[] = {
        {"check", 0, POPT_ARG_NONE, &o->check, 0,
         "change nothing; exit status 1 where a file would change", NULL},
        END,
    };
    memcpy(t, table, sizeof table);
}

static void explain_table(Options *o, struct poptOption *t) {
    struct poptOption table[] = {
        {"dot", 0, POPT_ARG_NONE, &o->dot, 0,
         "the drawing, for Graphviz: pdn explain FILE NAME --dot | dot -Tpdf", NULL},
        {"svg", 0, POPT_ARG_NONE, &o->svg, 0, "the drawing, as SVG", NULL},
        {"size", 0, POPT_ARG_STRING, &o->size, 0,
         "the grid, slowest axis first; ? is any size (default: ?x?)", "NxM"},
        {"spacing", 0, POPT_ARG_STRING, &o->spacing, 0,
         "the grid's spacing, or one an axis as in --size (default: 1)", "H"},
        {"precision", 0, POPT_ARG_STRING, &o->precision, 0, "f32 or f64, in place of the program's",
         "P"},
        {"weights", 0, POPT_ARG_STRING, &o->weights, 0,
         "parameters that the certificate is about (default: any that are allowed)",
         "FILE.safetensors"},
        {"stdlib", 0, POPT_ARG_STRING, &o->stdlib, 0, "a folder in place of the built-in library",
         "DIR"},
        END,
    };
    memcpy(t, table, sizeof table);
}

static void bench_table(Options *o, struct poptOption *t) {
    struct poptOption table[] = {
        {"repeat", 0, POPT_ARG_LONG, &o->repeat, 0,
         "so many runs (default: after one to warm up, those of a second, 20 at most; of a longer one that alone)",
         "N"},
        {"tune", 0, POPT_ARG_NONE, &o->tune, 0,
         "try all ways to compute its convolutions and keep the quickest, for later runs on this machine",
         NULL},
        END,
    };
    memcpy(t, table, sizeof table);
}

bool options_wrong(const char *command, const char *format, ...) {
    va_list arguments;
    fprintf(stderr, "pdn %s: ", command);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fprintf(stderr, "\nTry: pdn %s --help\n", command);
    return false;
}

/* "512M", "1.5G", "65536", "2GiB": bytes, in powers of 1024. */
static bool size_read(const char *text, int64_t *bytes) {
    static const char units[] = "KMGT";
    char *end;
    double size = text[0] >= '0' && text[0] <= '9' ? strtod(text, &end) : 0;
    if (!(size > 0)) return false;
    const char *unit = *end ? strchr(units, *end) : NULL;
    if (unit) {
        for (const char *u = units; u <= unit; u++) size *= 1024;
        end++;
        if (*end == 'i') end++;
    }
    if (*end == 'B') end++;
    if (*end || !(size >= 1) || size > 1e18) return false;
    *bytes = (int64_t)size;
    return true;
}

/* `pdn build --cpu help` */
static bool asks_for_list(const Options *o) {
    const char *values[] = {o->target, o->cpu, o->features};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
        if (values[i] && strcmp(values[i], "help") == 0) return true;
    return false;
}

/* What was not given becomes 0, which stands for the default; it cannot be given. */
static bool check_count(const Command *c, const char *option, long most, long *count) {
    if (*count == NOT_GIVEN)
        *count = 0;
    else if (*count < 1 || *count > most)
        return options_wrong(c->name, "%s is %ld, but must be from 1 to %ld", option, *count, most);
    return true;
}

static bool check_values(const Command *c, Options *o) {
    if (o->precision && strcmp(o->precision, "f32") != 0 && strcmp(o->precision, "f64") != 0)
        return options_wrong(c->name, "--precision is '%s', but must be f32 or f64", o->precision);
    if (o->optimise < 0 || o->optimise > 3)
        return options_wrong(c->name, "--optimise is %d, but must be from 0 to 3", o->optimise);
    if (!check_count(c, "--threads", 1024, &o->threads) ||
        !check_count(c, "--repeat", 1000, &o->repeat))
        return false;
    if (o->memory_text && !size_read(o->memory_text, &o->memory))
        return options_wrong(c->name, "--memory is '%s', but must be a size such as 512M or 2G",
                             o->memory_text);
    if (o->seed < 0)
        return options_wrong(c->name, "--seed is %ld, but must not be negative", o->seed);
    if (!o->file && !asks_for_list(o))
        return options_wrong(c->name, "no FILE is given, but a program is needed");
    return true;
}

/* Options of the language's reference that come later. */
static bool is_later(const char *option) {
    static const char *const later[] = {"--report"};
    for (size_t i = 0; i < sizeof later / sizeof *later; i++)
        if (strncmp(option, later[i], strlen(later[i])) == 0) return true;
    return false;
}

/* name=value, once for each name. */
static bool take_override(const Command *c, Options *o, const char *word, const char *equal) {
    Override override = {strndup(word, (size_t)(equal - word)), strdup(equal + 1)};
    const char *before = NULL;
    for (uint32_t i = 0; i < o->overrides.len && !before; i++)
        if (strcmp(o->overrides.data[i].name, override.name) == 0)
            before = o->overrides.data[i].value;
    vec_push(&o->overrides, override);
    if (!before) return true;
    fprintf(stderr, "pdn %s: '%s' is given twice: %s=%s and %s\nTry: pdn %s --help\n", c->name,
            override.name, override.name, before, word, c->name);
    return false;
}

static bool take_word(const Command *c, Options *o, const char *word) {
    const char *equal = strchr(word, '=');
    if (o->file && equal && equal != word) return take_override(c, o, word, equal);
    if (!o->file)
        o->file = strdup(word);
    else
        vec_push(&o->words, strdup(word));
    return true;
}

/* `bad`: an option, or the value behind it, as popt tells of it. */
static void wrong_option(const Command *c, const char **words, int error, const char *bad) {
    const char *reason = error == POPT_ERROR_BADOPT && is_later(bad)
                             ? "not executed by this version"
                             : poptStrerror(error);
    if (error == POPT_ERROR_BADNUMBER || error == POPT_ERROR_OVERFLOW)
        for (int i = 2; words[i]; i++)
            if (strcmp(words[i], bad) == 0 && words[i - 1][0] == '-') {
                options_wrong(c->name, "%s is '%s': %s", words[i - 1], bad, reason);
                return;
            }
    options_wrong(c->name, "%s: %s", bad, reason);
}

OptionsResult options_parse(const Command *c, int count, const char **words, Options *o) {
    struct poptOption tables[GROUPS][24],
        help[] = {
            {"help", 'h', POPT_ARG_NONE, NULL, 'h', "this text", NULL},
            END,
        };
    *o = (Options){.optimise = 2, .threads = NOT_GIVEN, .repeat = NOT_GIVEN};
    run_table(o, tables[0]);
    build_table(o, tables[1]);
    format_table(o, tables[2]);
    explain_table(o, tables[3]);
    bench_table(o, tables[4]);
    struct poptOption all[GROUPS + 2];
    int n = 0;
    for (int g = 0; g < GROUPS; g++)
        if (c->groups & (1u << g))
            all[n++] = (struct poptOption){NULL,       0,   POPT_ARG_INCLUDE_TABLE, tables[g], 0,
                                           "Options:", NULL};
    all[n++] = (struct poptOption){NULL, 0, POPT_ARG_INCLUDE_TABLE, help, 0, "Help:", NULL};
    all[n] = (struct poptOption)END;
    char usage[128];
    snprintf(usage, sizeof usage, "pdn %s", c->name);
    words[0] = usage; /* as popt prints it */
    poptContext context = poptGetContext(NULL, count, words, all, POPT_CONTEXT_NO_EXEC);
    poptSetOtherOptionHelp(context, c->usage);
    int got;
    OptionsResult result = OPTIONS_OK;
    while ((got = poptGetNextOpt(context)) > 0)
        if (got == 'h') result = OPTIONS_HELP;
    if (result == OPTIONS_HELP) {
        printf("%s\n\n", c->about);
        poptPrintHelp(context, stdout, 0);
    } else if (got < -1) {
        wrong_option(c, words, got, poptBadOption(context, POPT_BADOPTION_NOALIAS));
        result = OPTIONS_WRONG;
    } else {
        const char **rest = poptGetArgs(context);
        bool right = true;
        for (; rest && *rest && right; rest++) right = take_word(c, o, *rest);
        if (!right || !check_values(c, o)) result = OPTIONS_WRONG;
    }
    poptFreeContext(context);
    words[0] = c->name;
    return result;
}

void options_free(Options *o) {
    const char *strings[] = {o->file,       o->out,    o->precision, o->stdlib,     o->cache,
                             o->dump_after, o->target, o->cpu,       o->features,   o->size,
                             o->spacing,    o->emit,   o->weights,   o->memory_text};
    for (size_t i = 0; i < sizeof strings / sizeof *strings; i++) free((void *)strings[i]);
    for (uint32_t i = 0; i < o->words.len; i++) free((void *)o->words.data[i]);
    for (uint32_t i = 0; i < o->overrides.len; i++) {
        free((void *)o->overrides.data[i].name);
        free((void *)o->overrides.data[i].value);
    }
    vec_free(&o->words);
    vec_free(&o->overrides);
}
