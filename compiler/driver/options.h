/* options: the command line of every command. */
#ifndef PDN_OPTIONS_H
#define PDN_OPTIONS_H

#include "compiler/sema/sema.h"

typedef struct {
    const char *file;        /* the first word; NULL: none */
    VEC(const char *) words; /* the others that hold no '=' */
    VEC(Override) overrides; /* name=value */
    const char *out;         /* folder for results; "." by default */
    long seed, threads;      /* threads 0: all */
    long repeat;             /* runs that are timed; 0: as many as fit into a second */
    const char *memory_text; /* as given */
    /* bytes for states that gradients go back through; 0: as the machine has it */
    int64_t memory;
    const char *precision; /* NULL: the program's */
    const char *stdlib, *cache, *dump_after;
    const char *target, *cpu, *features, *size, *spacing, *emit, *weights;
    int optimise; /* 0 to 3 */
    int tune, resume, json, quiet, time, interpret, no_cache, check, gradient, dot, svg, exact;
} Options;

typedef enum { OPTIONS_OK, OPTIONS_HELP, OPTIONS_WRONG } OptionsResult;

typedef struct Command Command;
struct Command {
    const char *name;
    int (*run)(Options *options);
    const char *usage; /* after the name */
    const char *about; /* one line */
    unsigned groups;   /* of options that it takes */
};
enum {
    GROUP_RUN = 1,
    GROUP_BUILD = 2,
    GROUP_FORMAT = 4,
    GROUP_EXPLAIN = 8,
    GROUP_BENCH = 16,
    GROUPS = 5
};

OptionsResult options_parse(const Command *command, int count, const char **words,
                            Options *options);
void options_free(Options *options);
/* A sentence about what was given, and where to look; false. */
__attribute__((format(printf, 2, 3))) bool options_wrong(const char *command, const char *format,
                                                         ...);

int command_run(Options *options);
int command_check(Options *options);
int command_build(Options *options);
int command_test(Options *options);
int command_bench(Options *options);
int command_fmt(Options *options);
int command_explain(Options *options);

/* --size and --spacing of a command, or what stands for them. False after a message. */
bool kernel_grid(const char *command, const Options *options, KernelOptions *k);

#endif
