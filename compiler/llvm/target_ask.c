/* What LLVM knows of targets, processors and their features, and whether code can be made for one. It ends the process
 * for some processors that it does not know, and its lists go to the standard error: so a child asks, and what it
 * wrote there is the answer. */
#include "compiler/llvm/target.h"

#include <llvm-c/Core.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

typedef int Question(const CodeTarget *target, const Machine *machine);

/* LLVM lists processors and features when it is asked for the processor `help`. */
static int list_names(const CodeTarget *target, const Machine *machine) {
    Machine helping = *machine;
    helping.native = false;
    helping.cpu = "help";
    helping.features = NULL;
    Target t;
    char *error;
    return target_open(target, &helping, &t, &error) ? 0 : 1;
}

/* Makes the object file of a function that adds two numbers. */
static int make_code(const CodeTarget *target, const Machine *machine) {
    Target t;
    char *error = NULL;
    void *bytes;
    size_t size;
    if (!target_open(target, machine, &t, &error)) {
        fputs(error, stderr);
        return 1;
    }
    LLVMContextRef context = LLVMContextCreate();
    LLVMModuleRef module = LLVMModuleCreateWithNameInContext("trial", context);
    LLVMTypeRef real = LLVMDoubleTypeInContext(context), types[2] = {real, real};
    LLVMValueRef f = LLVMAddFunction(module, "add", LLVMFunctionType(real, types, 2, false));
    LLVMBuilderRef b = LLVMCreateBuilderInContext(context);
    LLVMPositionBuilderAtEnd(b, LLVMAppendBasicBlockInContext(context, f, "entry"));
    LLVMBuildRet(b, LLVMBuildFAdd(b, LLVMGetParam(f, 0), LLVMGetParam(f, 1), ""));
    if (target_optimise(&t, module, &error) &&
        target_emit(&t, module, LLVMObjectFile, &bytes, &size, &error))
        return 0;
    fputs(error, stderr);
    return 1;
}

/* What the child wrote, from mem_alloc; NULL and a message where there is no child. *done: it came to its end, and
 * succeeded. */
static char *ask(Question *question, const CodeTarget *target, const Machine *machine, bool *done,
                 char **error) {
    int ends[2];
    fflush(stdout);
    fflush(stderr);
    if (pipe2(ends, O_CLOEXEC) != 0) {
        *error = text_message("LLVM cannot be asked: %s", strerror(errno));
        return NULL;
    }
    pid_t child = fork();
    if (child == 0) {
        const struct rlimit none = {0, 0};
        setrlimit(RLIMIT_CORE, &none);
        dup2(ends[1], STDERR_FILENO);
        int status = question(target, machine);
        fflush(stderr);
        _exit(status);
    }
    int reason = errno, status = 1;
    close(ends[1]);
    Text text = {0};
    char part[4096];
    ssize_t got;
    while (child > 0 &&
           ((got = read(ends[0], part, sizeof part)) > 0 || (got < 0 && errno == EINTR)))
        if (got > 0) text_printf(&text, "%.*s", (int)got, part);
    close(ends[0]);
    while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
    char *answer = NULL;
    if (child > 0)
        answer = text_message("%.*s", (int)text.len, text.len ? text.data : "");
    else
        *error = text_message("LLVM cannot be asked: %s", strerror(reason));
    text_free(&text);
    *done = child > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0;
    return answer;
}

bool target_check(const CodeTarget *target, const Machine *machine, char **error) {
    bool done;
    char *said = ask(make_code, target, machine, &done, error);
    if (!said) return false;
    if (!done || *said) { /* one line of it, without its title */
        char *line = strstr(said, "LLVM ERROR: ");
        line = line ? line + strlen("LLVM ERROR: ") : said;
        line[strcspn(line, "\n")] = 0;
        *error = text_message("%s", *line ? line : "LLVM gave up");
    }
    mem_free(said);
    return !*error;
}

/* The names of a list: lines "  skylake   - Select the skylake processor." behind its title. */
static char *names_in(const char *list, const char *title) {
    Text names = {0};
    const char *line = strstr(list, title);
    for (line = line ? strchr(line, '\n') : NULL; line; line = strchr(line, '\n')) {
        line++;
        size_t n = strcspn(line + (*line == ' ' ? 2 : 0), " \n");
        if (strncmp(line, "  ", 2) == 0 && n)
            text_printf(&names, "%.*s\n", (int)n, line + 2);
        else if (*line != '\n' ||
                 names.len) /* an empty line stands behind the title, and behind the list */
            break;
    }
    char *text = text_message("%.*s", (int)names.len, names.len ? names.data : "");
    text_free(&names);
    return text;
}

/* Those whose name is the beginning of a triple: "x86-64" is written x86_64 there. */
static char *architectures(void) {
    Text names = {0};
    target_start_all();
    for (LLVMTargetRef t = LLVMGetFirstTarget(), found; t; t = LLVMGetNextTarget(t)) {
        char *name = text_message("%s", LLVMGetTargetName(t)), *why = NULL;
        for (char *c = name; *c; c++)
            if (*c == '-') *c = '_';
        if (!LLVMGetTargetFromTriple(name, &found, &why)) text_printf(&names, "%s\n", name);
        LLVMDisposeMessage(why);
        mem_free(name);
    }
    char *text = text_message("%.*s", (int)names.len, names.len ? names.data : "");
    text_free(&names);
    return text;
}

char *target_names(CodeNames what, const CodeTarget *target, const Machine *machine, char **error) {
    if (what == CODE_TARGETS) return architectures();
    bool done;
    char *said = ask(list_names, target, machine, &done, error);
    char *names =
        said ? names_in(said, what == CODE_CPUS ? "Available CPUs" : "Available features") : NULL;
    mem_free(said);
    return names;
}
