/* optimiser.c: what all optimisers share: their tables, options, schedules, state, and a step with one
 * evaluation. */
#include "runtime/optimiser.h"

#include "runtime/optimiser_kernels.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- the tables ------------------------------------------------------------------- */

#define ARGUMENT(of, name, initial, range) {#name, initial, range},
#define OPTIMISER(name, check, state, step, update, loss, arguments)                               \
    {#name, check, state, step, update, loss, (const PdnArgumentRow[]){arguments{NULL, 0, 0}}},
#define SCHEDULE(name, function, place, arguments)                                                 \
    {#name, function, place, (const PdnArgumentRow[]){arguments{NULL, 0, 0}}},
static const PdnOptimiserRow optimisers[] = {
#include "runtime/optimisers.def"
};
static const PdnScheduleRow schedules[] = {
#include "runtime/schedules.def"
};
#undef SCHEDULE
#undef OPTIMISER
#undef ARGUMENT
#define OPTIMISER(name, check, state, step, update, loss, arguments)                               \
    _Static_assert(name##_arguments <= PDN_MOST_ARGUMENTS, #name " has too many arguments");
#include "runtime/optimisers.def"
#undef OPTIMISER

#define LENGTH(array) ((int)(sizeof(array) / sizeof *(array)))

const char *pdn_optimiser_name(int i) {
    return i >= 0 && i < LENGTH(optimisers) ? optimisers[i].name : NULL;
}

const char *pdn_schedule_name(int i) {
    return i >= 0 && i < LENGTH(schedules) ? schedules[i].name : NULL;
}

static const PdnOptimiserRow *find_optimiser(const char *name) {
    for (int i = 0; i < LENGTH(optimisers); i++) {
        if (strcmp(optimisers[i].name, name) == 0) { return &optimisers[i]; }
    }
    return NULL;
}

bool pdn_optimiser_wants_fixed(const char *optimiser) {
    const PdnOptimiserRow *row = find_optimiser(optimiser);
    return row && row->loss == LOSS_FIXED;
}

static const PdnScheduleRow *find_schedule(const char *name) {
    for (int i = 0; i < LENGTH(schedules); i++) {
        if (strcmp(schedules[i].name, name) == 0) { return &schedules[i]; }
    }
    return NULL;
}

static const char *argument_name(const PdnArgumentRow *rows, int i) {
    for (int k = 0; rows && i >= 0 && rows[k].name; k++) {
        if (k == i) { return rows[k].name; }
    }
    return NULL;
}

const char *pdn_optimiser_argument(const char *optimiser, int i) {
    const PdnOptimiserRow *row = find_optimiser(optimiser);
    return argument_name(row ? row->arguments : NULL, i);
}

const char *pdn_schedule_argument(const char *schedule, int i) {
    const PdnScheduleRow *row = find_schedule(schedule);
    return argument_name(row ? row->arguments : NULL, i);
}

/* ---- options ---------------------------------------------------------------------- */

/* "a, b, c" of names that `name` counts through, or of a table of arguments. */
typedef struct {
    char text[320];
} List;

static List list_of(const char *(*name)(int), const PdnArgumentRow *rows) {
    List list = {""};
    size_t used = 0;
    for (int i = 0;; i++) {
        const char *next = name ? name(i) : rows[i].name;
        if (!next) { return list; }
        used += (size_t)snprintf(list.text + used, sizeof list.text - used, "%s%s", i ? ", " : "",
                                 next);
        if (used >= sizeof list.text) { return list; }
    }
}

static const char *range_text(PdnRange range) {
    switch (range) {
    case RANGE_POSITIVE: return "a number greater than 0";
    case RANGE_NOT_NEGATIVE: return "a number that is at least 0";
    case RANGE_FRACTION: return "at least 0 and less than 1";
    case RANGE_WHOLE: return "a whole number, 1 or more";
    case RANGE_WHOLE_OR_0: return "a whole number, 0 or more";
    case RANGE_SWITCH: return "0 or 1";
    }
    return "";
}

static bool in_range(double value, PdnRange range) {
    bool whole = value == floor(value) && value <= 9007199254740992.0; /* 2^53 */
    switch (range) {
    case RANGE_POSITIVE: return value > 0 && isfinite(value);
    case RANGE_NOT_NEGATIVE: return value >= 0 && isfinite(value);
    case RANGE_FRACTION: return value >= 0 && value < 1;
    case RANGE_WHOLE: return whole && value >= 1;
    case RANGE_WHOLE_OR_0: return whole && value >= 0;
    case RANGE_SWITCH: return value == 0 || value == 1;
    }
    return false;
}

/* The values of `rows`, given or by default, to `values`. `of` is the owner's name, for messages. */
static PdnStatus set_arguments(const char *of, const PdnArgumentRow *rows, const PdnArgument *given,
                               int count, double *values, PdnError *error) {
    bool was_given[PDN_MOST_ARGUMENTS] = {false};
    for (int k = 0; rows[k].name; k++) { values[k] = rows[k].initial; }
    for (int i = 0; i < count; i++) {
        int k = 0;
        while (rows[k].name && strcmp(rows[k].name, given[i].name) != 0) { k++; }
        if (!rows[k].name) {
            return rows[0].name
                       ? pdn_fail(error, PDN_ERROR_ARGUMENT, "%s has no argument `%s`; it has %s",
                                  of, given[i].name, list_of(NULL, rows).text)
                       : pdn_fail(error, PDN_ERROR_ARGUMENT,
                                  "%s takes no arguments, and was given `%s`", of, given[i].name);
        }
        if (was_given[k]) {
            return pdn_fail(error, PDN_ERROR_ARGUMENT, "%s: `%s` is given twice", of, rows[k].name);
        }
        if (!in_range(given[i].value, rows[k].range)) {
            return pdn_fail(error, PDN_ERROR_ARGUMENT, "%s: %s = %g must be %s", of, rows[k].name,
                            given[i].value, range_text(rows[k].range));
        }
        was_given[k] = true;
        values[k] = given[i].value;
    }
    for (int k = 0; rows[k].name; k++) {
        if (isnan(values[k])) {
            return pdn_fail(error, PDN_ERROR_ARGUMENT, "%s needs its argument `%s`, %s", of,
                            rows[k].name, range_text(rows[k].range));
        }
    }
    return PDN_OK;
}

/* Row, arguments and schedules of `o`, by the options. */
static PdnStatus set_options(PdnOptimiser *o, const PdnOptimiserOptions *options, PdnError *error) {
    o->row = find_optimiser(options->name);
    if (!o->row) {
        return pdn_fail(error, PDN_ERROR_ARGUMENT, "there is no optimiser `%s`; there are %s",
                        options->name, list_of(pdn_optimiser_name, NULL).text);
    }
    PdnStatus status = set_arguments(o->row->name, o->row->arguments, options->arguments,
                                     options->argument_count, o->arguments, error);
    if (status == PDN_OK && o->row->check) { status = o->row->check(o->arguments, error); }
    if (status == PDN_OK && options->schedule_count > PDN_MOST_SCHEDULES) {
        status =
            pdn_fail(error, PDN_ERROR_ARGUMENT, "%d schedules of one rate: at most %d are possible",
                     options->schedule_count, PDN_MOST_SCHEDULES);
    }
    for (int i = 0; status == PDN_OK && i < options->schedule_count; i++) {
        const PdnScheduleOptions *given = &options->schedules[i];
        const PdnScheduleRow *row = o->schedules[i] = find_schedule(given->name);
        if (!row) {
            return pdn_fail(error, PDN_ERROR_ARGUMENT, "there is no schedule `%s`; there are %s",
                            given->name, list_of(pdn_schedule_name, NULL).text);
        }
        if (row->place == PLACE_FIRST && i > 0) {
            return pdn_fail(
                error, PDN_ERROR_ARGUMENT,
                "%s stands behind %s in the list of schedules, and has to be the first: the others begin "
                "when it is over",
                row->name, o->schedules[i - 1]->name);
        }
        status = set_arguments(row->name, row->arguments, given->arguments, given->argument_count,
                               o->schedule_arguments[i], error);
        o->schedule_count = i + 1;
    }
    o->fixed = options->fixed;
    o->threads = options->threads;
    o->converged = -1;
    o->clip_norm = o->clip_value = INFINITY;
    for (int k = 0; o->row->arguments[k].name; k++) {
        if (strcmp(o->row->arguments[k].name, "clip_norm") == 0) { o->clip_norm = o->arguments[k]; }
        if (strcmp(o->row->arguments[k].name, "clip_value") == 0) {
            o->clip_value = o->arguments[k];
        }
    }
    return status;
}

PdnStatus pdn_optimiser_check(const PdnOptimiserOptions *options, PdnError *error) {
    PdnOptimiser o = {0};
    return set_options(&o, options, error);
}

PdnStatus pdn_optimiser_new(const PdnOptimiserOptions *options, PdnType type, int64_t count,
                            PdnOptimiser **optimiser, PdnError *error) {
    *optimiser = NULL;
    if (count <= 0) {
        return pdn_fail(error, PDN_ERROR_ARGUMENT,
                        "an optimiser of %lld parameters: there must be some", (long long)count);
    }
    PdnOptimiser *o = calloc(1, sizeof *o);
    if (!o) { return pdn_fail(error, PDN_ERROR_MEMORY, "no memory for an optimiser"); }
    o->type = type;
    o->count = count;
    PdnStatus status = set_options(o, options, error);
    if (status == PDN_OK) { status = pdn_array_new(&o->gradient, type, 1, &count, error); }
    int64_t blocks = (count + PDN_OPTIMISER_BLOCK - 1) / PDN_OPTIMISER_BLOCK;
    if (status == PDN_OK) { status = pdn_array_new(&o->sums, PDN_F64, 1, &blocks, error); }
    if (status == PDN_OK && o->row->state) { status = o->row->state(o, error); }
    if (status == PDN_OK) {
        *optimiser = o;
    } else {
        pdn_optimiser_free(o);
    }
    return status;
}

static int64_t array_bytes(const PdnArray *array) {
    return array->data ? pdn_array_count(array) * (int64_t)pdn_type_size(array->type) : 0;
}

int64_t pdn_optimiser_bytes(const PdnOptimiser *o) {
    int64_t bytes = array_bytes(&o->gradient) + array_bytes(&o->sums);
    for (int i = 0; i < o->states; i++) { bytes += array_bytes(&o->state[i].array); }
    for (int i = 0; i < LENGTH(o->scratch); i++) { bytes += array_bytes(&o->scratch[i]); }
    return bytes;
}

void pdn_optimiser_free(PdnOptimiser *o) {
    if (!o) { return; }
    for (int i = 0; i < o->states; i++) { pdn_array_free(&o->state[i].array); }
    for (int i = 0; i < LENGTH(o->scratch); i++) { pdn_array_free(&o->scratch[i]); }
    pdn_array_free(&o->gradient);
    pdn_array_free(&o->sums);
    free(o);
}

/* ---- schedules -------------------------------------------------------------------- */

double pdn_schedule_constant(const double *arguments, double rate, PdnMoment *moment) {
    return rate;
}

double pdn_schedule_step(const double *arguments, double rate, PdnMoment *moment) {
    return rate * pow(arguments[schedule_step_factor],
                      floor(moment->step / arguments[schedule_step_every]));
}

double pdn_schedule_cosine(const double *arguments, double rate, PdnMoment *moment) {
    double over = arguments[schedule_cosine_over], to = arguments[schedule_cosine_final];
    if (over == 0) { over = moment->steps; }
    if (over <= 0) { return NAN; } /* how many steps there are is not known */
    if (moment->step >= over) { return to; }
    return to + (rate - to) * (1 + cos(M_PI * moment->step / over)) / 2;
}

double pdn_schedule_warmup(const double *arguments, double rate, PdnMoment *moment) {
    double steps = arguments[schedule_warmup_steps], step = moment->step;
    moment->step = fmax(0, step - steps);
    /* a training that is over before the others begin leaves them one step */
    if (moment->steps > 0) { moment->steps = fmax(1, moment->steps - steps); }
    return step < steps ? rate * (step + 1) / steps : rate;
}

double pdn_optimiser_rate(const PdnOptimiser *o, int64_t step, int64_t steps) {
    double rate = o->arguments[0];
    PdnMoment moment = {(double)step, (double)steps};
    for (int i = 0; i < o->schedule_count; i++) {
        rate = o->schedules[i]->rate(o->schedule_arguments[i], rate, &moment);
    }
    return rate;
}

/* ---- state ------------------------------------------------------------------------ */

PdnStatus pdn_state_add(PdnOptimiser *o, const char *name, PdnType type, int rank,
                        const int64_t *shape, PdnError *error) {
    PdnNamedArray *state = &o->state[o->states++];
    state->name = name;
    return pdn_array_new(&state->array, type, rank, shape, error);
}

const PdnNamedArray *pdn_optimiser_state(PdnOptimiser *o, int *count) {
    *count = o->states;
    return o->state;
}

const void *pdn_optimiser_gradient(const PdnOptimiser *o) { return o->gradient.data; }

const char *pdn_optimiser_converged(const PdnOptimiser *o) {
    if (o->converged < 0) { return NULL; }
    switch ((PdnConvergence) * (const double *)o->state[o->converged].array.data) {
    case NOT_CONVERGED: break;
    case CONVERGED_GRADIENT: return "the gradient has vanished beside what it was at first";
    case CONVERGED_LOSS: return "the loss does not change any more, but for rounding";
    case CONVERGED_SEARCH: return "no step along the gradient lowers the loss any more";
    }
    return NULL;
}

/* ---- a step ----------------------------------------------------------------------- */

PdnStatus pdn_step_evaluate(PdnOptimiser *o, const PdnStep *call, double *loss) {
    *loss = NAN;
    if (call->evaluate(call->context, call->parameters, o->gradient.data, loss) != 0) {
        return pdn_fail(call->error, PDN_ERROR_STOPPED, "stopped");
    }
    return PDN_OK;
}

PdnStatus pdn_step_finite(PdnOptimiser *o, const PdnStep *call, double loss, double squares) {
    if (!isfinite(loss)) {
        return pdn_fail(call->error, PDN_ERROR_DIVERGED, "the loss is %s",
                        isnan(loss) ? "not a number"
                        : loss > 0  ? "infinite"
                                    : "minus infinity");
    }
    if (!isfinite(squares)) {
        return pdn_fail(call->error, PDN_ERROR_DIVERGED,
                        "the loss is %g, and its gradient holds infinity or what is not a number",
                        loss);
    }
    return PDN_OK;
}

static void clamp_part(const PdnOptimiser *o, const void *limit, int64_t first, int64_t count) {
    PDN_KERNEL(o->type, clamp, pdn_optimiser_at(o, o->gradient.data, first), count,
               *(const double *)limit);
}

static void scale_part(const PdnOptimiser *o, const void *factor, int64_t first, int64_t count) {
    PDN_KERNEL(o->type, scale, pdn_optimiser_at(o, o->gradient.data, first), count,
               *(const double *)factor);
}

PdnStatus pdn_step_once(PdnOptimiser *o, const PdnStep *call) {
    PdnStatus status = pdn_step_evaluate(o, call, call->loss);
    if (status != PDN_OK) { return status; }
    double squares = pdn_optimiser_squares(o);
    status = pdn_step_finite(o, call, *call->loss, squares);
    if (status != PDN_OK) { return status; }
    if (o->clip_value < INFINITY) {
        pdn_optimiser_parts(o, clamp_part, &o->clip_value, 1);
        squares = pdn_optimiser_squares(o);
    }
    double shorter = o->clip_norm / (sqrt(squares) + 1e-6); /* as PyTorch's clip_grad_norm_ */
    if (shorter < 1) { pdn_optimiser_parts(o, scale_part, &shorter, 1); }
    o->row->update(o, call->parameters, call->rate);
    if (call->project) { call->project(call->context, call->parameters); }
    return PDN_OK;
}

PdnStatus pdn_optimiser_step(PdnOptimiser *o, void *parameters, PdnEvaluate *evaluate,
                             PdnProject *project, void *context, int64_t step, int64_t steps,
                             double *loss, PdnError *error) {
    if (step < 0 || steps < 0) {
        return pdn_fail(error, PDN_ERROR_ARGUMENT, "step %lld of %lld: steps are counted from 0",
                        (long long)step, (long long)steps);
    }
    double rate = pdn_optimiser_rate(o, step, steps);
    if (isnan(rate)) {
        return pdn_fail(
            error, PDN_ERROR_ARGUMENT,
            "the schedule of %s goes over all steps, and how many there will be is not known: give it "
            "`over`",
            o->row->name);
    }
    double ignored;
    PdnStep call = {parameters, evaluate, project, context, rate, loss ? loss : &ignored, error};
    return o->row->step(o, &call);
}
