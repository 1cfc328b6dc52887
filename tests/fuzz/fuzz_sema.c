/* libFuzzer target for names and elaboration: what parses is resolved, its experiments and tests are elaborated
 * as `pdn check` does, and the graph is verified and simplified. Nothing is run. */
#include "compiler/analysis/analysis.h"
#include "compiler/sema/sema.h"

#include <stdlib.h>

static void finish(Elaborated *what) {
    if (!what) return;
    const char *fault = graph_verify(what->module);
    if (!fault) {
        pass_simplify(what->module);
        fault = graph_verify(what->module);
    }
    if (fault) {
        fprintf(stderr, "unsound graph: %s\n", fault);
        abort();
    }
    graph_free(what->module);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    Sources *sources = sources_new();
    SemaContext context = {arena_new(), names_new(), sources, diagnostics_new(sources, 0), NULL};
    Unit *unit = sema_load_text(&context, "fuzz.pdn", (const char *)data, size);
    if (!diagnostics_errors(context.diagnostics)) {
        ElaborateOptions options = {.check_only = true};
        for (uint32_t i = 0; i < sema_experiments(unit); i++)
            finish(sema_elaborate_experiment(unit, i, &options));
        for (uint32_t i = 0; i < sema_tests(unit); i++)
            finish(sema_elaborate_test(unit, i, &options));
    }
    Text text = {0};
    diagnostics_render_text(context.diagnostics, &text);
    text_free(&text);
    diagnostics_free(context.diagnostics);
    sources_free(sources);
    names_free(context.names);
    arena_free(context.arena);
    return 0;
}
