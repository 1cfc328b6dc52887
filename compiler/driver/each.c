/* Loops over data. */
#include "compiler/driver/execute.h"

#include <inttypes.h>
#include <string.h>

uint64_t draw_seed(const Execution *x, uint64_t draw) {
    return hash_mix((uint64_t)x->session->options->seed, draw + 1);
}

HostValue *body_arguments(Arena *arena, const Module *m, const TaskBody *body, const PdnSample *sample,
                          const HostValue *values) {
    const Func *f = graph_get(m, body->func);
    HostValue *out = ARENA_ARRAY(arena, HostValue, body->samples + body->count + 1);
    for (uint32_t i = 0; i < body->samples; i++)
        out[i] = (HostValue){graph_node(f, f->params.data[i])->type, 1, sample->field[i].data};
    for (uint32_t i = 0; i < body->count; i++) out[body->samples + i] = values[body->values[i]];
    return out;
}

typedef struct {
    Running *outer;
    const EachTask *task;
    const HostValue *values;
    Workspace workspace;
    Reports reports;
} Each;

/* As the frames of a film, with as many digits as the last one needs, four at least. */
static const char *turn_text(const Each *each, Arena *arena, int64_t number) {
    int64_t count = each->outer->x->what->data.data[each->task->data].info.per_epoch;
    int digits = 4;
    for (int64_t most = 10000; most < count; most *= 10) digits++;
    const char *outer = each->outer->turn;
    return arena_format(arena, "%s_%0*" PRId64, outer ? outer : "", digits, number);
}

static int run_sample(Each *each, const PdnSample *sample, int64_t number) {
    Execution *x = each->outer->x;
    const Module *m = x->what->module;
    const TaskBody *body = &each->task->body;
    Arena *arena = arena_new();
    PdnGrid *grids =
        describe_grids(m, each->task->grid, sample ? sample->field[0].extent : NULL);
    Running r = {.x = x,
                 .func = body->func,
                 .grids = grids,
                 .seed = draw_seed(x, (uint64_t)number),
                 .threads = each->outer->threads,
                 .reports = &each->reports,
                 .turn = turn_text(each, arena, number)};
    HostValue *arguments = body_arguments(arena, m, body, sample, each->values);
    int status = run_func(&r, arguments, body->samples + body->count, NULL, &each->workspace);
    free(grids);
    arena_free(arena);
    return status;
}

static int wrong_data(Execution *x, const EachTask *task, const PdnError *error) {
    diag_report(x->session->diagnostics, DIAG_DATA_WRONG, task->span, error->message);
    x->failed = true;
    return 1;
}

static int run_samples(Each *each, const DataSet *set) {
    Execution *x = each->outer->x;
    int status = 0;
    if (!set->data) {
        for (int64_t i = 0; i < set->info.per_epoch && status == 0; i++) status = run_sample(each, NULL, i);
        return status;
    }
    PdnLoader *loader;
    PdnError error = {{0}};
    PdnBatch batch = {0};
    if (pdn_loader_open(set->data, (uint64_t)x->session->options->seed, 0, 1, false, &loader, &error) != PDN_OK)
        return wrong_data(x, each->task, &error);
    do {
        if (pdn_loader_next(loader, &batch, &error) != PDN_OK) {
            status = wrong_data(x, each->task, &error);
            break;
        }
        for (int64_t i = 0; i < batch.count && status == 0; i++)
            status = run_sample(each, &batch.samples[i], batch.first + i);
    } while (batch.count && status == 0);
    pdn_loader_close(loader);
    return status;
}

int each_sample(Running *outer, const EachTask *task, const HostValue *values) {
    Execution *x = outer->x;
    Each each = {.outer = outer, .task = task, .values = values};
    int status = run_samples(&each, &x->what->data.data[task->data]);
    if (status == 0) reports_print(x, each.reports.data, each.reports.len);
    for (uint32_t i = 0; i < each.reports.len; i++) {
        mem_free(each.reports.data[i].sum);
        mem_free(each.reports.data[i].squares);
        mem_free(each.reports.data[i].first);
    }
    vec_free(&each.reports);
    free(each.workspace.memory);
    return status;
}
