/* pdn run, pdn check, pdn test. */
#include "compiler/driver/certificates.h"
#include "compiler/driver/execute.h"

#include <stdlib.h>
#include <string.h>

ElaborateOptions elaborate_options(const Session *s, bool check_only) {
    const Options *o = s->options;
    return (ElaborateOptions){.overrides = o->overrides.data,
                              .count = o->overrides.len,
                              .f64 = session_f64(s),
                              .data = session_f64(s) || o->interpret ? PDN_F64 : PDN_F32,
                              .check_only = check_only};
}

/* ---- run ------------------------------------------------------------------------------- */

bool experiment_chosen(const Options *o, const char *name) {
    if (!o->words.len) return true;
    for (uint32_t i = 0; i < o->words.len; i++)
        if (strcmp(o->words.data[i], name) == 0) return true;
    return false;
}

bool experiments_known(Session *s) {
    uint32_t n = sema_experiments(s->unit);
    const char **names = ARENA_ARRAY(s->arena, const char *, n + 1);
    for (uint32_t i = 0; i < n; i++) names[i] = sema_experiment_name(s->unit, i);
    if (!n) {
        Diagnostic *d =
            diag_report(s->diagnostics, DIAG_NO_EXPERIMENT, SPAN_NONE, s->options->file);
        diag_help(d,
                  sema_tests(s->unit) ? "it has tests: pdn test %s"
                                      : "an experiment is what runs: experiment name { … }",
                  s->options->file);
        return false;
    }
    bool ok = true;
    for (uint32_t w = 0; w < s->options->words.len; w++) {
        const char *word = s->options->words.data[w];
        bool known = false;
        for (uint32_t i = 0; i < n; i++) known = known || strcmp(word, names[i]) == 0;
        if (known) continue;
        Diagnostic *d =
            diag_report(s->diagnostics, DIAG_UNKNOWN_EXPERIMENT, SPAN_NONE, s->options->file, word);
        const char *near = diag_nearest(word, names, n);
        if (near) diag_help(d, "did you mean '%s'?", near);
        ok = false;
    }
    return ok;
}

static int run_one(Session *s, Elaborated *what, bool several, bool test) {
    Execution x = {
        .session = s, .what = what, .several = several, .test = test, .cache = pdn_relay_cache()};
    int status = execute(&x);
    sema_free(what);
    return status;
}

int command_run(Options *options) {
    if (!pipeline_check(options)) return 2;
    Session s;
    session_open(&s, options);
    int status = 1;
    if (session_load(&s, options->file) && experiments_known(&s)) {
        status = 0;
        uint32_t n = sema_experiments(s.unit);
        for (uint32_t i = 0; i < n && status == 0; i++) {
            if (!experiment_chosen(options, sema_experiment_name(s.unit, i))) continue;
            ElaborateOptions how = elaborate_options(&s, false);
            Elaborated *what = sema_elaborate_experiment(s.unit, i, &how);
            session_time(&s, "elaborate");
            session_warn(&s);
            status = what ? run_one(&s, what, n > 1, false) : 1;
        }
    }
    session_close(&s);
    return status;
}

/* ---- check --------------------------------------------------------------------------------- */

static void check_one(Session *s, Elaborated *what) {
    if (!what) return;
    Execution x = {.session = s, .what = what, .cache = pdn_relay_cache()};
    Certificates all = {0};
    if (effects_check(&x, false) && !s->options->quiet) {
        certificates_of_experiment(what, &all);
        certificates_print(s, what->name, &all);
    }
    vec_free(&all);
    sema_free(what);
}

int command_check(Options *options) {
    Session s;
    session_open(&s, options);
    if (session_load(&s, options->file)) {
        ElaborateOptions how = elaborate_options(&s, true);
        for (uint32_t i = 0; i < sema_experiments(s.unit); i++)
            check_one(&s, sema_elaborate_experiment(s.unit, i, &how));
        for (uint32_t i = 0; i < sema_tests(s.unit); i++)
            check_one(&s, sema_elaborate_test(s.unit, i, &how));
    }
    int status = session_failed(&s) || !s.unit;
    session_close(&s);
    return status;
}

/* ---- test ------------------------------------------------------------------------------------- */

static void test_file(Options *options, const char *file, uint32_t *passed, uint32_t *failed) {
    Session s;
    session_open(&s, options);
    if (!session_load(&s, file))
        ++*failed;
    else
        for (uint32_t i = 0; i < sema_tests(s.unit); i++) {
            ElaborateOptions how = elaborate_options(&s, false);
            Elaborated *what = sema_elaborate_test(s.unit, i, &how);
            bool ok = what && run_one(&s, what, false, true) == 0;
            ++*(ok ? passed : failed);
            if (!ok || !options->quiet) {
                printf("%s: %s: %s\n", ok ? "passed" : "FAILED", file, sema_test_title(s.unit, i));
                fflush(stdout);
            }
        }
    session_close(&s);
}

int command_test(Options *options) {
    uint32_t passed = 0, failed = 0;
    test_file(options, options->file, &passed, &failed);
    for (uint32_t i = 0; i < options->words.len; i++)
        test_file(options, options->words.data[i], &passed, &failed);
    printf("%u passed, %u failed\n", passed, failed);
    if (!passed && !failed)
        fprintf(stderr, "pdn test: no tests there; a test is written: test \"what\" { … }\n");
    return failed || !passed;
}
