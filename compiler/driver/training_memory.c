/* What memory a training will need: counted before its first step, and said, by the sizes that are known then. */
#include "compiler/driver/training.h"

#include <math.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

/* In bytes. `so_far`: of the process, with all that was read and compiled; the others come on top. `peak`: of the process before. */
typedef struct {
    double peak, so_far, parameters, gradients, batches, states, all_states, fields;
    int at_once; /* samples */
    bool known;  /* else a loop or a film is as long as it will be */
} Expected;

static double more_of(const Expected *e) {
    return e->gradients + e->batches + e->states + e->fields;
}

static double peak_of(const Expected *e) {
    double then = e->so_far + e->parameters + more_of(e);
    return then > e->peak ? then : e->peak;
}

enum {
    UNKNOWN_BITS =
        61 /* more bytes than that are nobody's: how many there are is not known (code_workspace) */
};

/* Bytes that one sample needs where there is so much memory for states. */
static double step_bytes(Training *t, int64_t memory) {
    uint64_t bytes = training_step_bytes(t, memory);
    return bytes >> UNKNOWN_BITS ? -1 : (double)bytes;
}

/* The largest sample of the set, and a batch of those. */
static void take_largest(Training *t, const DataSet *set, PdnSample *sample, double *batches) {
    t->samples = NULL;
    t->batch = set ? set->info.batch : 1;
    if (!set || !set->data) return;
    double of_epoch = ceil((double)set->info.per_epoch / (double)set->info.batch);
    double drawn = t->task->count * (t->task->epochs ? of_epoch : 1);
    *batches = (double)pdn_data_batches(set->data, (int64_t)fmin(drawn, 1e9), sample);
    t->samples = sample;
}

static Expected expect(Training *t, const PdnOptimiser *optimiser) {
    Execution *x = t->x;
    const DataSet *set = t->task->data >= 0 ? &x->what->data.data[t->task->data] : NULL;
    PdnSample sample = {0};
    struct rusage usage = {0};
    getrusage(RUSAGE_SELF, &usage);
    Expected e = {.peak = (double)usage.ru_maxrss * 1024,
                  .parameters = (double)(t->total + t->running) * (double)number_bytes(t) +
                                (double)pdn_optimiser_bytes(optimiser)};
    e.so_far = fmax(0, (double)pdn_memory_used() - e.parameters); /* these are there */
    take_largest(t, set, &sample, &e.batches);
    e.at_once = training_at_once(t);
    e.gradients = gradient_sum_bytes(t) + (double)(t->batch * t->running) * (double)number_bytes(t);
    double least = step_bytes(t, 1), chosen = step_bytes(t, x->memory / e.at_once),
           all = step_bytes(t, INT64_MAX / 4);
    e.known = least >= 0 && chosen >= 0;
    if (e.known) {
        e.fields = e.at_once * least;
        e.states = e.at_once * (chosen - least);
        e.all_states = all < 0 ? e.states : e.at_once * (all - least);
    }
    t->samples = NULL;
    return e;
}

static const char *text_of(const Training *t, double bytes) { return bytes_text(t->arena, bytes); }

static const char *parts_text(const Training *t, const Expected *e) {
    const char *fields = text_of(t, e->fields), *states = text_of(t, e->states);
    return arena_format(
        t->arena,
        "parameters and optimiser %s, gradients %s, batches of data %s, states that gradients go back through %s, "
        "other fields %s (of %d sample%s at once), the process so far %s",
        text_of(t, e->parameters), text_of(t, e->gradients), text_of(t, e->batches),
        e->known ? states : "not known before", e->known ? fields : "not known before", e->at_once,
        e->at_once == 1 ? "" : "s", text_of(t, e->so_far));
}

/* A line, for who watches; with --time what it is for, too. */
static void show(const Training *t, const Expected *e) {
    const Options *o = t->x->session->options;
    if (t->x->test || (!o->time && (o->quiet || !isatty(STDERR_FILENO)))) return;
    fprintf(stderr, "train %s: about %s of memory%s", t->task->name, text_of(t, peak_of(e)),
            e->known ? "" : " or more");
    if (e->all_states > e->states)
        fprintf(stderr, "; steps are done again: to keep all states would take %s more (--memory)",
                text_of(t, e->all_states - e->states));
    fprintf(stderr, "\n");
    if (o->time) fprintf(stderr, "train %s: %s\n", t->task->name, parts_text(t, e));
}

static bool suffices(Training *t, const Expected *e) {
    double need = more_of(e), available = (double)pdn_memory_available();
    if (need <= available) return true;
    Diagnostic *d = diag_report(t->x->session->diagnostics, DIAG_TRAINING_TOO_LARGE, t->task->span,
                                t->task->name, text_of(t, need), text_of(t, available));
    diag_note(d, SPAN_NONE, "%s", parts_text(t, e));
    if (e->at_once > 1)
        diag_help(d, "%s needs less: so few samples are computed at once",
                  t->meets ? "a smaller batch"
                           : arena_format(t->arena, "--threads %d", (e->at_once + 1) / 2));
    else
        diag_help(d, "use fewer cells, a smaller batch, or less for the states (--memory)%s",
                  t->x->type == PDN_F64 ? ", or precision f32" : "");
    t->x->failed = true;
    return false;
}

bool training_memory(Training *t, const PdnOptimiser *optimiser) {
    if (t->x->session->options->interpret) return true;
    if (!executable_get(t->x, t->task->step.func)) return false;
    Expected e = expect(t, optimiser);
    show(t, &e);
    return suffices(t, &e);
}
