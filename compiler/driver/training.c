/* `train`: epochs, steps, what happens every so often, checkpoints. */
#include "compiler/driver/training.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- layout ------------------------------------------------------------------------------ */

static int64_t tensor_numbers(const TensorInfo *info) {
    int64_t n = 1;
    for (int i = 0; i < info->rank; i++) n *= info->shape[i];
    return n;
}

static bool lay_out(Training *t, const HostValue *values, uint32_t count) {
    const TrainTask *task = t->task;
    int64_t line = 64 / (int64_t)number_bytes(t);
    t->values = arena_copy(t->arena, values, sizeof *values * (count + 1));
    t->places = ARENA_ARRAY(t->arena, Place, task->tensor_count + 1);
    int64_t whole = 0;
    for (uint32_t i = 0; i < task->tensor_count; i++) {
        Place *p = &t->places[i];
        if (i == task->trained) t->total = whole;
        *p = (Place){whole, task->tensors[i].depth < 0 ? 1 : task->tensors[i].depth,
                     tensor_numbers(&task->tensors[i])};
        whole += (p->frames * p->count + line - 1) / line * line;
    }
    if (task->trained == task->tensor_count) t->total = whole;
    t->running = whole - t->total;
    size_t bytes = (size_t)whole * number_bytes(t);
    if (!memory_suffices(t->x, (double)bytes) || !(t->parameters = pdn_memory_new(bytes)))
        return false;
    vec_push(&t->x->kept, t->parameters);
    memset(t->parameters, 0, bytes);
    for (uint32_t i = 0; i < task->tensor_count; i++)
        memcpy((char *)t->parameters + (size_t)t->places[i].offset * number_bytes(t),
               values[i].data,
               (size_t)(t->places[i].frames * t->places[i].count) * number_bytes(t));
    t->gradient_of = ARENA_ARRAY(t->arena, uint32_t, task->step.count + 1);
    for (uint32_t i = 0; i < task->step.count; i++)
        if (task->step.values[i] < task->trained)
            t->gradient_of[t->gradients++] = task->step.values[i];
    return true;
}

static void *tensor_at(const Training *t, uint32_t i) {
    return (char *)t->parameters + (size_t)t->places[i].offset * number_bytes(t);
}

static PdnOptimiser *make_optimiser(Training *t) {
    const Module *m = t->x->what->module;
    FuncId step = t->task->step.func;
    const DataSet *set = t->task->data < 0 ? NULL : &t->x->what->data.data[t->task->data];
    bool all = !set || !set->data || (set->info.batch == set->info.per_epoch && !set->info.varies);
    t->fixed =
        all && !graph_find(m, step, OP_NORMAL, NULL) && !graph_find(m, step, OP_UNIFORM, NULL);
    t->meets = graph_find(m, step, OP_BATCHMEAN, NULL);
    PdnOptimiserOptions options = *t->task->optimiser;
    options.fixed = t->fixed;
    options.threads = t->x->threads;
    PdnOptimiser *made = NULL;
    PdnError error = {{0}};
    if (pdn_optimiser_new(&options, t->x->type, t->total, &made, &error) == PDN_OK) return made;
    diag_report(t->x->session->diagnostics, DIAG_OPTIMISER_WRONG, t->task->span, error.message);
    return NULL;
}

/* ---- checkpoints -------------------------------------------------------------------------------- */

static const char *stem_of(const Training *t, const TrainTask *task) {
    char *name = arena_format(t->arena, "%s-%s", t->x->what->name, task->name);
    for (size_t i = 0; name[i]; i++)
        if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_", name[i]))
            name[i] = '_';
    return name;
}

/* The second training of the same has files of its own, EXPERIMENT-WHAT-2.…, as --resume asks for those of both. */
static const char *file_name(const Training *t, const char *extension) {
    const char *stem = stem_of(t, t->task);
    unsigned which = 1;
    for (uint32_t i = 0; i < t->number; i++)
        which += strcmp(stem_of(t, &t->x->what->trainings.data[i]), stem) == 0;
    if (which > 1) stem = arena_format(t->arena, "%s-%u", stem, which);
    return output_path(t->x, arena_format(t->arena, "%s%s", stem, extension));
}

static PdnTensor tensor_of(const char *name, PdnType type, int64_t depth, int rank,
                           const int64_t *shape, const void *data) {
    PdnTensor made = {.name = name, .type = type, .rank = rank, .data = data};
    if (depth >= 0) made.shape[made.rank++ - rank] = depth;
    memcpy(made.shape + (depth >= 0), shape, sizeof *shape * (size_t)rank);
    return made;
}

typedef struct {
    const char *path;
    PdnCheckpoint checkpoint;
    const PdnNamedArray *state;
    int state_count;
    double written, cost; /* when the last one was, and the seconds that it took */
} Keeping;

static void print_arguments(Text *out, const char *name, const PdnArgument *arguments, int count) {
    text_printf(out, "%s%s", out->len ? " " : "", name);
    for (int i = 0; i < count; i++)
        text_printf(out, " %s %.17g", arguments[i].name, arguments[i].value);
}

/* Batches of an epoch; 0: there are no data. */
static int64_t epoch_steps(const Training *t) {
    if (t->task->data < 0) return 0;
    const PdnDataInfo *info = &t->x->what->data.data[t->task->data].info;
    return (info->per_epoch + info->batch - 1) / info->batch;
}

static int64_t all_steps(const Training *t) {
    return (int64_t)t->task->count * (t->task->epochs ? epoch_steps(t) : 1);
}

/* What has to be the same: the program, the data, the optimiser, and how long it is where the schedule asks for that. */
static void identify(const Training *t, const PdnOptimiser *optimiser, PdnCheckpoint *checkpoint) {
    const DataSet *set = t->task->data >= 0 ? &t->x->what->data.data[t->task->data] : NULL;
    const PdnOptimiserOptions *o = t->task->optimiser;
    Text program = {0}, optimiser_text = {0};
    graph_print(t->x->what->module, &program);
    uint64_t hash = hash_bytes(0, program.data, program.len);
    print_arguments(&optimiser_text, o->name, o->arguments, o->argument_count);
    for (int i = 0; i < o->schedule_count; i++)
        print_arguments(&optimiser_text, o->schedules[i].name, o->schedules[i].arguments,
                        o->schedules[i].argument_count);
    PdnIdentity *identity = ARENA_ARRAY(t->arena, PdnIdentity, 5);
    int count = 0;
    identity[count++] = (PdnIdentity){"the program", arena_format(t->arena, "%016" PRIx64, hash)};
    identity[count++] = (PdnIdentity){"the data", set ? set->text : "none"};
    if (set)
        identity[count++] =
            (PdnIdentity){"the size of the data",
                          arena_format(t->arena, "%" PRId64 " samples in batches of %" PRId64,
                                       set->info.per_epoch, set->info.batch)};
    identity[count++] = (PdnIdentity){
        "the optimiser", arena_text(t->arena, optimiser_text.data, optimiser_text.len)};
    if (isnan(pdn_optimiser_rate(optimiser, 0, 0)))
        identity[count++] =
            (PdnIdentity){"the length of the schedule",
                          arena_format(t->arena, "%" PRId64 " steps", all_steps(t))};
    text_free(&program);
    text_free(&optimiser_text);
    checkpoint->identity = identity;
    checkpoint->identity_count = count;
}

/* What is kept: parameters under their paths, the optimiser's arrays under "optimiser/", which no path holds */
static Keeping keeping(Training *t, PdnOptimiser *optimiser) {
    const TrainTask *task = t->task;
    Keeping k = {.path = file_name(t, ".checkpoint")};
    k.state = pdn_optimiser_state(optimiser, &k.state_count);
    uint32_t count = task->tensor_count + (uint32_t)k.state_count;
    PdnTensor *tensors = ARENA_ARRAY(t->arena, PdnTensor, count + 1);
    for (uint32_t i = 0; i < task->tensor_count; i++)
        tensors[i] = tensor_of(task->tensors[i].path, t->x->type, task->tensors[i].depth,
                               task->tensors[i].rank, task->tensors[i].shape, tensor_at(t, i));
    for (int i = 0; i < k.state_count; i++) {
        const PdnArray *a = &k.state[i].array;
        tensors[task->tensor_count + (uint32_t)i] =
            tensor_of(arena_format(t->arena, "optimiser/%s", k.state[i].name), a->type, -1, a->rank,
                      a->shape, a->data);
    }
    k.checkpoint = (PdnCheckpoint){.epoch_steps = epoch_steps(t),
                                   .steps = all_steps(t),
                                   .seed = (uint64_t)t->x->session->options->seed,
                                   .tensors = tensors,
                                   .count = (int)count};
    identify(t, optimiser, &k.checkpoint);
    return k;
}

static bool file_failed(Training *t, const PdnError *error) {
    diag_report(t->x->session->diagnostics, DIAG_CHECKPOINT, t->task->span, error->message);
    t->x->failed = true;
    return false;
}

/* With --resume: goes on where the file left off, if there is one. */
static bool read_checkpoint(Training *t, Keeping *k) {
    if (!t->x->session->options->resume) return true;
    FILE *there = fopen(k->path, "rb");
    if (!there) {
        diag_report(t->x->session->diagnostics, DIAG_NO_CHECKPOINT, t->task->span, k->path);
        session_warn(t->x->session);
        return true;
    }
    fclose(there);
    PdnError error = {{0}};
    PdnTensors *file = NULL;
    if (pdn_checkpoint_read(k->path, &k->checkpoint, &file, &error) != PDN_OK)
        return file_failed(t, &error);
    for (int i = 0; i < k->checkpoint.count; i++) {
        const PdnTensor *to = &k->checkpoint.tensors[i];
        if (pdn_tensors_get(file, to->name, to->type, to->rank, to->shape, (void *)to->data,
                            &error) != PDN_OK) {
            pdn_tensors_free(file);
            return file_failed(t, &error);
        }
    }
    pdn_tensors_free(file);
    return true;
}

/* ---- every ------------------------------------------------------------------------------------------ */

static int run_every(Training *t, const EveryTask *every) {
    Execution *x = t->x;
    Arena *arena = arena_new();
    for (uint32_t i = 0; i < t->task->tensor_count; i++) t->values[i].data = tensor_at(t, i);
    PdnGrid *grids = describe_grids(x->what->module, GRID_NONE, NULL);
    Running r = {.x = x,
                 .func = every->body.func,
                 .grids = grids,
                 .seed = draw_seed(x, 0),
                 .threads = x->threads};
    Workspace w = {0};
    HostValue *arguments = body_arguments(arena, x->what->module, &every->body, NULL, t->values);
    int status = run_func(&r, arguments, every->body.count, NULL, &w);
    free(w.memory);
    free(grids);
    arena_free(arena);
    return status;
}

static int run_due(Training *t, bool epochs, int64_t done) {
    for (uint32_t i = 0; i < t->task->every_count; i++) {
        const EveryTask *every = &t->task->every[i];
        if (every->epochs != epochs || done % (int64_t)every->count) continue;
        pdn_progress_clear(&t->x->progress);
        if (run_every(t, every)) return 1;
    }
    return 0;
}

/* ---- the loops --------------------------------------------------------------------------------------- */

typedef struct {
    Training *t;
    PdnOptimiser *optimiser;
    int64_t step, steps;   /* done, in all */
    double loss;           /* sum over the epoch, weighted by samples */
    int64_t seen, samples; /* of the epoch, in all */
    int64_t epoch;         /* done */
    double started;        /* so that the clock of the history goes on */
    bool done;
    PdnLoader *loader; /* or NULL: no data, or such as are made from the number of the sample */
} Course;

static void show_progress(const Course *c, double loss) {
    Training *t = c->t;
    Execution *x = t->x;
    if (x->session->options->quiet || x->test) return;
    if (!x->progress.label[0]) pdn_progress_begin(&x->progress, stderr, t->task->name, c->steps);
    const DataSet *set = t->task->data >= 0 ? &x->what->data.data[t->task->data] : NULL;
    int64_t a_pass = set ? epoch_steps(t) : c->steps;
    PdnTraining shown = {.epoch = set ? (c->step - 1) / a_pass + 1 : 0,
                         .epochs = set ? (c->steps + a_pass - 1) / a_pass : 0,
                         .step = set ? (c->step - 1) % a_pass + 1 : c->step,
                         .steps = a_pass,
                         .samples = set ? c->samples : 0,
                         .loss = loss,
                         .rate = pdn_optimiser_rate(c->optimiser, c->step - 1, c->steps)};
    pdn_progress_training(&x->progress, &shown);
}

static int history_failed(Training *t, const PdnError *error) {
    diag_report(t->x->session->diagnostics, DIAG_HISTORY, t->task->span, error->message);
    t->x->failed = true;
    return 1;
}

/* A row of the history: of an epoch, or of a step where steps are counted (of a thousand steps at most). */
static int add_row(const Course *c, double loss) {
    Training *t = c->t;
    int64_t every = t->task->epochs ? 1 : c->steps / 1000 + 1;
    if (!t->x->history || (c->step % every && !c->done)) return 0;
    PdnHistoryRow row = {.epoch = c->epoch,
                         .step = c->step,
                         .loss = loss,
                         .rate = pdn_optimiser_rate(c->optimiser, c->step - 1, c->steps),
                         .seconds = clock_seconds() - c->started};
    PdnError error = {{0}};
    return pdn_history_add(t->x->history, &row, &error) == PDN_OK ? 0 : history_failed(t, &error);
}

static int write_history(Training *t) {
    PdnError error = {{0}};
    return !t->x->history || pdn_history_write(t->x->history, &error) == PDN_OK
               ? 0
               : history_failed(t, &error);
}

/* The history and the checkpoint. Where steps are counted, and epochs or steps are short, not after each of them, but
 * so that training takes 20 times as long as writing does; at the end, always. */
static int keep(Course *c, Keeping *k) {
    Training *t = c->t;
    double now = clock_seconds();
    if (t->x->test || (!t->task->epochs && !c->done && now - k->written < 20 * k->cost)) return 0;
    if (write_history(t)) return 1;
    PdnError error = {{0}};
    k->checkpoint.epoch = c->epoch;
    k->checkpoint.step = c->step;
    if (pdn_checkpoint_write(k->path, &k->checkpoint, &error) != PDN_OK)
        return !file_failed(t, &error);
    k->written = clock_seconds();
    k->cost = k->written - now;
    return 0;
}

static int one_step(Course *c) {
    Training *t = c->t;
    PdnError error = {{0}};
    double loss = NAN;
    PdnStatus status = pdn_optimiser_step(c->optimiser, t->parameters, training_evaluate,
                                          training_project, t, c->step, c->steps, &loss, &error);
    if (status != PDN_OK) {
        if (status == PDN_ERROR_DIVERGED && t->found != WHOLE)
            training_diverged(t);
        else if (status != PDN_ERROR_STOPPED)
            diag_report(t->x->session->diagnostics, DIAG_OPTIMISER_WRONG, t->task->span,
                        error.message);
        t->x->failed = true;
        return 1;
    }
    running_take(t);
    c->loss += loss * (double)t->batch;
    c->seen += t->batch;
    c->samples += t->batch;
    c->step++;
    const char *why = pdn_optimiser_converged(c->optimiser);
    c->done = c->step >= c->steps || why;
    show_progress(c, loss);
    if (!t->task->epochs && add_row(c, loss)) return 1;
    return run_due(t, false, c->step);
}

static int data_failed(Training *t, const PdnError *error) {
    diag_report(t->x->session->diagnostics, DIAG_DATA_WRONG, t->task->span, error->message);
    t->x->failed = true;
    return 1;
}

/* One pass through the data: batches that a loader draws, or that are computed. Of an epoch that a training which was
 * shorter left off, the rest. */
static int one_epoch(Course *c, int64_t epoch) {
    Training *t = c->t;
    const DataSet *set = &t->x->what->data.data[t->task->data];
    int64_t base = epoch * set->info.per_epoch,
            done = (c->step - epoch * epoch_steps(t)) * set->info.batch;
    int status = 0;
    if (!set->data) {
        for (int64_t i = done; i < set->info.per_epoch && !status && !c->done;
             i += set->info.batch) {
            int64_t left = set->info.per_epoch - i;
            t->samples = NULL;
            t->batch = left < set->info.batch ? left : set->info.batch;
            t->draw = (uint64_t)(base + i);
            status = one_step(c);
        }
        return status;
    }
    PdnError error = {{0}};
    PdnBatch batch = {0};
    while (!status && !c->done) {
        if (pdn_loader_next(c->loader, &batch, &error) != PDN_OK) return data_failed(t, &error);
        if (batch.count == 0) break;
        if (batch.first < done) continue;
        t->samples = batch.samples;
        t->batch = batch.count;
        t->draw = (uint64_t)(base + batch.first);
        status = one_step(c);
    }
    return status;
}

/* The last epoch may be cut short: then it is not counted, and nothing is due. */
static int run_epochs(Course *c, Keeping *k) {
    Training *t = c->t;
    while (!c->done) {
        int64_t epoch = c->epoch;
        c->loss = 0;
        c->seen = 0;
        if (one_epoch(c, epoch)) return 1;
        c->epoch = c->step / epoch_steps(t);
        if (t->task->epochs && add_row(c, c->loss / (double)c->seen)) return 1;
        if ((c->epoch > epoch && run_due(t, true, c->epoch)) || keep(c, k)) return 1;
    }
    return 0;
}

static int run_steps(Course *c, Keeping *k) {
    Training *t = c->t;
    t->batch = 1;
    while (!c->done) {
        t->draw = (uint64_t)c->step;
        if (one_step(c) || keep(c, k)) return 1;
    }
    return 0;
}

static int open_loader(Course *c) {
    Training *t = c->t;
    const PdnData *data = t->x->what->data.data[t->task->data].data;
    PdnError error = {{0}};
    uint64_t seed = (uint64_t)t->x->session->options->seed;
    int64_t epochs = (c->steps + epoch_steps(t) - 1) / epoch_steps(t) - c->epoch;
    if (!data || epochs < 1) return 0;
    return pdn_loader_open(data, seed, c->epoch, epochs, !t->fixed, &c->loader, &error) == PDN_OK
               ? 0
               : data_failed(t, &error);
}

static int run_course(Training *t, PdnOptimiser *optimiser) {
    Keeping k = keeping(t, optimiser);
    PdnError error = {{0}};
    bool keeps = !t->x->test;
    if (keeps && pdn_checkpoint_prepare(k.path, &error) != PDN_OK) return !file_failed(t, &error);
    training_project(t, t->parameters);
    training_project_running(t);
    if (keeps && !read_checkpoint(t, &k)) return 1;
    if (keeps &&
        pdn_history_open(file_name(t, ".history.csv"), k.checkpoint.step > 0, k.checkpoint.epoch,
                         k.checkpoint.step, &t->x->history, &error) != PDN_OK)
        return history_failed(t, &error);
    Course c = {.t = t,
                .optimiser = optimiser,
                .step = k.checkpoint.step,
                .epoch = k.checkpoint.epoch,
                .started =
                    clock_seconds() - (t->x->history ? pdn_history_seconds(t->x->history) : 0),
                .steps = all_steps(t)};
    c.done = c.step >= c.steps || pdn_optimiser_converged(optimiser);
    int status = t->task->data < 0 ? run_steps(&c, &k) : open_loader(&c) || run_epochs(&c, &k);
    pdn_loader_close(c.loader);
    /* what led there; failing again changes nothing */
    if (status && t->x->history && pdn_history_rows(t->x->history))
        (void)pdn_history_write(t->x->history, &error);
    pdn_progress_end(&t->x->progress);
    memset(&t->x->progress, 0, sizeof t->x->progress);
    pdn_history_free(t->x->history);
    t->x->history = NULL;
    return status;
}

int train(Execution *x, uint32_t number, const HostValue *values, HostValue *results) {
    Training t = {
        .x = x, .task = &x->what->trainings.data[number], .number = number, .arena = arena_new()};
    pthread_mutex_init(&t.lock, NULL);
    uint32_t count = t.task->tensor_count;
    const TaskBody *bodies[2] = {&t.task->step, NULL};
    for (uint32_t b = 0; b <= t.task->every_count; b++) {
        const TaskBody *body = b ? &t.task->every[b - 1].body : bodies[0];
        for (uint32_t i = 0; i < body->count; i++)
            if (body->values[i] >= count) count = body->values[i] + 1;
    }
    memset(&x->progress, 0, sizeof x->progress);
    int status = lay_out(&t, values, count) ? 0 : 1;
    PdnOptimiser *optimiser = status ? NULL : make_optimiser(&t);
    status = optimiser && training_memory(&t, optimiser) ? run_course(&t, optimiser) : 1;
    for (uint32_t i = 0; i < t.task->tensor_count && !status; i++)
        results[i].data = tensor_at(&t, i);
    if (status) x->failed = true;
    pdn_optimiser_free(optimiser);
    training_step_free(&t);
    pthread_mutex_destroy(&t.lock);
    arena_free(t.arena);
    return status;
}
