/* The command: finds the verb, parses its options, runs it on a large stack. */
#include "compiler/driver/options.h"
#include "compiler/driver/version.h"

#include <malloc.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <ucontext.h>

/* Programs may nest 10,000 levels deep, and the evaluator recurses with them. */
#define STACK_BYTES ((size_t)1 << 30)
#define GUARD_BYTES ((size_t)1 << 16)

/* What popt prints is cut at the first letter beyond ASCII. */
static const Command commands[] = {
    {"run", command_run, "FILE [EXPERIMENT...] [name=value...]",
     "Runs the experiments of a program.", GROUP_RUN},
    {"check", command_check, "FILE", "Checks names, shapes and stability; nothing is run.",
     GROUP_RUN},
    {"bench", command_bench, "FILE [EXPERIMENT...] [name=value...]",
     "Runs the experiments of a program, and says what took the time.", GROUP_RUN | GROUP_BENCH},
    {"test", command_test, "FILE...", "Runs the tests of programs.", GROUP_RUN},
    {"build", command_build, "FILE NAME [name=value...]",
     "Writes an operator as a standalone kernel with a C header.", GROUP_BUILD},
    {"explain", command_explain, "FILE NAME [name=value...]",
     "Shows an operator or experiment as equation, scheme and network: layers, costs, stability.",
     GROUP_EXPLAIN},
    {"fmt", command_fmt, "FILE...", "Lays programs out; comments are kept.", GROUP_FORMAT},
};
#define COMMANDS (sizeof commands / sizeof *commands)

static void help(FILE *to) {
    fprintf(to,
            "pdn: a language in which a PDE scheme and a neural network are the same thing\n\n");
    for (size_t i = 0; i < COMMANDS; i++)
        fprintf(to, "  pdn %s %s\n      %s\n", commands[i].name, commands[i].usage,
                commands[i].about);
    fprintf(to, "  pdn --version\n\npdn COMMAND --help lists the options of a command.\n");
}

static const Command *find(const char *name) {
    for (size_t i = 0; i < COMMANDS; i++)
        if (strcmp(commands[i].name, name) == 0) return &commands[i];
    return NULL;
}

static int unknown(const char *name) {
    const char *names[COMMANDS];
    for (size_t i = 0; i < COMMANDS; i++) names[i] = commands[i].name;
    const char *near = diag_nearest(name, names, COMMANDS);
    fprintf(stderr, "pdn: there is no command '%s'\n", name);
    if (near)
        fprintf(stderr, "Did you mean: pdn %s\n", near);
    else
        fprintf(stderr, "Try: pdn --help\n");
    return 2;
}

typedef struct {
    const Command *command;
    Options *options;
    int status;
} Job;

/* The main thread's heap grows in large steps, those of other threads by a few pages at a time, with a system call for
 * each: some per cent of what a cold start costs. */
static void prepare_heap(void) {
    mallopt(M_TOP_PAD, 4 << 20);
    mallopt(M_TRIM_THRESHOLD, 64 << 20);
}

/* they know threads, but not contexts */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)

static void *run_job(void *context) {
    Job *job = context;
    job->status = job->command->run(job->options);
    return NULL;
}

static bool run_on_large_stack(Job *job) {
    pthread_attr_t attributes;
    pthread_t thread;
    pthread_attr_init(&attributes);
    bool good = pthread_attr_setstacksize(&attributes, STACK_BYTES) == 0 &&
                pthread_create(&thread, &attributes, run_job, job) == 0;
    pthread_attr_destroy(&attributes);
    if (good) pthread_join(thread, NULL);
    return good;
}

#else

/* The two words are halves of a pointer: makecontext hands on integers. */
static void run_job(unsigned low, unsigned high) {
    Job *job = (Job *)((uintptr_t)high << 32 | low); /* NOLINT */
    job->status = job->command->run(job->options);
}

/* On the main thread, whose heap is the better one. */
static bool run_on_large_stack(Job *job) {
    ucontext_t back, forth;
    /* reserved, not used: pages come as they are touched; the last ones are never there */
    char *stack = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
    if (stack == MAP_FAILED || mprotect(stack, GUARD_BYTES, PROT_NONE) != 0 ||
        getcontext(&forth) != 0)
        return false;
    forth.uc_stack = (stack_t){.ss_sp = stack, .ss_size = STACK_BYTES};
    forth.uc_link = &back;
    uintptr_t word = (uintptr_t)job;
    makecontext(&forth, (void (*)(void))run_job, 2, (unsigned)word, (unsigned)(word >> 32));
    swapcontext(&back, &forth);
    munmap(stack, STACK_BYTES);
    return true;
}

#endif

int main(int count, char **words) {
    if (count < 2) {
        help(stderr);
        return 2;
    }
    if (strcmp(words[1], "--help") == 0 || strcmp(words[1], "-h") == 0 ||
        strcmp(words[1], "help") == 0) {
        help(stdout);
        return 0;
    }
    if (strcmp(words[1], "--version") == 0) {
        printf("pdn %s\n", PDN_VERSION);
        return 0;
    }
    const Command *command = find(words[1]);
    if (!command) return unknown(words[1]);
    Options options;
    OptionsResult parsed = options_parse(command, count - 1, (const char **)words + 1, &options);
    prepare_heap();
    Job job = {command, &options, parsed == OPTIONS_HELP ? 0 : 2};
    if (parsed == OPTIONS_OK && !run_on_large_stack(&job)) job.status = command->run(&options);
    options_free(&options);
    return fflush(stdout) == 0 && !ferror(stdout) ? job.status : 1;
}
