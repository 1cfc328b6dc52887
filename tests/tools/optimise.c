/* optimise: steps of an optimiser on a small function. For tests/check/optimisers.py.
 *
 *   optimise f32|f64 FUNCTION COUNT STEPS [lower=L] [upper=U] [fixed=1] [resume=K] NAME [argument=value…]
 *            [schedule NAME [argument=value…]]…
 * FUNCTION: rosenbrock, or waves: sum of w (x - c)^2 + cos(3 x) / 2 with w = 1 + i % 7, c = cos(i). It starts at
 * sin(i + 1). lower, upper: the constraint. resume: before step K a new optimiser goes on with the old one's state.
 * Prints a line for each step: loss, rate, evaluations, parameters; at the end "converged: why" or "more". A failure
 * prints "error STATUS: message" and exits with 1; 2: the command line is wrong. */
#include "runtime/pdn.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    PdnType type;
    int64_t count;
    bool rosenbrock;
    double lower, upper;
    int evaluations;
} Problem;

static double get(const Problem *p, const void *x, int64_t i) {
    return p->type == PDN_F32 ? (double)((const float *)x)[i] : ((const double *)x)[i];
}

static void set(const Problem *p, void *x, int64_t i, double value) {
    if (p->type == PDN_F32) {
        ((float *)x)[i] = (float)value;
    } else {
        ((double *)x)[i] = value;
    }
}

/* In double, then rounded to the type. */
static int evaluate(void *context, const void *x, void *g, double *loss) {
    Problem *p = context;
    p->evaluations++;
    *loss = 0;
    double carried = 0; /* the part of the next number's gradient that a term of rosenbrock gives */
    for (int64_t i = 0; i < p->count; i++) {
        double here = get(p, x, i), slope = carried;
        carried = 0;
        if (!p->rosenbrock) {
            double w = 1 + (double)(i % 7), away = here - cos((double)i);
            *loss += w * away * away + cos(3 * here) / 2;
            slope = 2 * w * away - 1.5 * sin(3 * here);
        } else if (i + 1 < p->count) {
            double up = get(p, x, i + 1) - here * here;
            *loss += 100 * up * up + (1 - here) * (1 - here);
            slope += -400 * here * up - 2 * (1 - here);
            carried = 200 * up;
        }
        set(p, g, i, slope);
    }
    return 0;
}

static void project(void *context, void *x) {
    const Problem *p = context;
    for (int64_t i = 0; i < p->count; i++) {
        set(p, x, i, fmin(fmax(get(p, x, i), p->lower), p->upper));
    }
}

#define MOST 16
static PdnArgument arguments[MOST];
static PdnScheduleOptions schedules[MOST];

static int failed(PdnStatus status, const PdnError *error) {
    printf("error %s: %s\n", pdn_status_name(status), error->message);
    return 1;
}

/* The options after the function's; arguments belong to the last name. */
static bool read_options(char **words, PdnOptimiserOptions *options) {
    int used = 0, *count = &options->argument_count;
    options->arguments = arguments;
    options->schedules = schedules;
    for (; *words; words++) {
        char *value = strchr(*words, '=');
        if (strcmp(*words, "schedule") == 0 && words[1] && options->schedule_count < MOST) {
            PdnScheduleOptions *next = &schedules[options->schedule_count++];
            *next = (PdnScheduleOptions){*++words, &arguments[used], 0};
            count = &next->argument_count;
        } else if (value && used < MOST) {
            *value = 0;
            arguments[used++] = (PdnArgument){*words, atof(value + 1)};
            ++*count;
        } else {
            return false;
        }
    }
    return true;
}

/* A new optimiser with the state of the old one. */
static PdnStatus resume(const PdnOptimiserOptions *options, const Problem *p,
                        PdnOptimiser **optimiser, PdnError *error) {
    PdnOptimiser *fresh;
    PdnStatus status = pdn_optimiser_new(options, p->type, p->count, &fresh, error);
    if (status != PDN_OK) { return status; }
    int count, same;
    const PdnNamedArray *from = pdn_optimiser_state(*optimiser, &count),
                        *to = pdn_optimiser_state(fresh, &same);
    for (int i = 0; i < count && i < same; i++) {
        size_t size = from[i].array.type == PDN_F32 ? sizeof(float) : sizeof(double);
        memcpy(to[i].array.data, from[i].array.data,
               (size_t)pdn_array_count(&from[i].array) * size);
    }
    pdn_optimiser_free(*optimiser);
    *optimiser = fresh;
    return PDN_OK;
}

static PdnStatus steps(const PdnOptimiserOptions *options, Problem *p, int64_t count,
                       int64_t resumed, void *x, PdnOptimiser **optimiser, PdnError *error) {
    bool bounded = isfinite(p->lower) || isfinite(p->upper);
    for (int64_t k = 0; k < count; k++) {
        double loss = 0;
        PdnStatus status = PDN_OK;
        if (k == resumed) { status = resume(options, p, optimiser, error); }
        if (status == PDN_OK) {
            status = pdn_optimiser_step(*optimiser, x, evaluate, bounded ? project : NULL, p, k,
                                        count, &loss, error);
        }
        if (status != PDN_OK) { return status; }
        printf("%.17g %.17g %d", loss, pdn_optimiser_rate(*optimiser, k, count), p->evaluations);
        for (int64_t i = 0; i < p->count; i++) { printf(" %.17g", get(p, x, i)); }
        printf("\n");
    }
    const char *why = pdn_optimiser_converged(*optimiser);
    printf("%s%s\n", why ? "converged: " : "more", why ? why : "");
    return PDN_OK;
}

int main(int argc, char **argv) {
    if (argc < 6) { return 2; }
    Problem p = {strcmp(argv[1], "f32") ? PDN_F64 : PDN_F32,
                 atoll(argv[3]),
                 !strcmp(argv[2], "rosenbrock"),
                 -INFINITY,
                 INFINITY,
                 0};
    PdnOptimiserOptions options = {0};
    int64_t resumed = -1;
    char **word = argv + 5;
    for (char *value; *word && (value = strchr(*word, '=')); word++) {
        double number = atof(value + 1);
        switch (**word) {
        case 'l': p.lower = number; break;
        case 'u': p.upper = number; break;
        case 'f': options.fixed = number != 0; break;
        case 'r': resumed = (int64_t)number; break;
        default: return 2;
        }
    }
    if (!*word) { return 2; }
    options.name = *word++;
    PdnError error = {""};
    PdnArray x = {0};
    PdnOptimiser *optimiser = NULL;
    if (!read_options(word, &options)) { return 2; }
    PdnStatus status = pdn_array_new(&x, p.type, 1, &p.count, &error);
    if (status == PDN_OK) {
        status = pdn_optimiser_new(&options, p.type, p.count, &optimiser, &error);
    }
    if (status == PDN_OK) {
        for (int64_t i = 0; i < p.count; i++) { set(&p, x.data, i, sin((double)i + 1)); }
        status = steps(&options, &p, atoll(argv[4]), resumed, x.data, &optimiser, &error);
    }
    pdn_optimiser_free(optimiser);
    pdn_array_free(&x);
    return status == PDN_OK ? 0 : failed(status, &error);
}
