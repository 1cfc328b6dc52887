/* Projections: ranges, norms and sums of parameters, after every step of an optimiser. */
#include "compiler/driver/training.h"
#include "compiler/ops/ops.h"

#include <math.h>

static double get(const Numbers *x, const void *p, int64_t i) {
    return x->type == PDN_F32 ? (double)((const float *)p)[i] : ((const double *)p)[i];
}

static void set(const Numbers *x, void *p, int64_t i, double v) {
    if (x->type == PDN_F32)
        ((float *)p)[i] = (float)v;
    else
        ((double *)p)[i] = v;
}

/* In f32 a bound between two numbers is kept by the one inside. */
static double inside(const Numbers *x, double v, double low, double high) {
    if (x->type == PDN_F64) return fmin(fmax(v, low), high);
    float f = (float)fmin(fmax(v, low), high);
    if ((double)f < low) f = nextafterf(f, INFINITY);
    if ((double)f > high) f = nextafterf(f, -INFINITY);
    return (double)f;
}

static void clamp(const Numbers *x, void *frame, int64_t n, double low, double high) {
    if (low == -INFINITY && high == INFINITY) return;
    for (int64_t i = 0; i < n; i++) {
        double v = get(x, frame, i);
        if (v < low || v > high) set(x, frame, i, inside(x, v, low, high));
    }
}

static double euclidean(const Numbers *x, const void *frame, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += get(x, frame, i) * get(x, frame, i);
    return sqrt(sum);
}

/* Of a convolution that is never applied: 0. */
static double norm_of(const Numbers *x, const TensorInfo *info, const void *frame, int64_t n) {
    if (!info->is_conv) return euclidean(x, frame, n);
    double most = 0;
    for (uint32_t i = 0; i < info->conv_count; i++) {
        PdnConvShape shape = conv_shape(&x->module->convs.data[info->convs[i]]);
        double norm = pdn_conv_norm(&shape, x->type, frame, NULL);
        if (!(norm <= most)) most = norm; /* NaN, too */
    }
    return most;
}

static bool is_within(const Numbers *x, const TensorInfo *info, const void *frame, double most) {
    for (uint32_t i = 0; i < info->conv_count; i++) {
        PdnConvShape shape = conv_shape(&x->module->convs.data[info->convs[i]]);
        if (!pdn_conv_norm_within(&shape, x->type, frame, most)) return false;
    }
    return info->is_conv;
}

/* The frame scaled down until its norm is proved to be at most `most`. */
static void limit_norm(const Numbers *x, const TensorInfo *info, void *frame, int64_t n,
                       double most) {
    if (is_within(x, info, frame, most)) return;
    for (int pass = 0; pass < 4; pass++) { /* one, but for rounding */
        double norm = norm_of(x, info, frame, n);
        if (!(norm > most) || isinf(norm)) return;
        double by = most / norm * (1 - ldexp(1, x->type == PDN_F32 ? -22 + pass : -50 + pass));
        for (int64_t i = 0; i < n; i++) set(x, frame, i, by * get(x, frame, i));
    }
}

static double sum_moved(const Numbers *x, const TensorInfo *info, const void *frame, int64_t first,
                        int64_t n, double move) {
    double sum = 0;
    for (int64_t i = first; i < first + n; i++)
        sum += fmin(fmax(get(x, frame, i) + move, info->low), info->high);
    return sum;
}

/* The nearest numbers of that sum that lie in the range: all moved alike, but for those that meet its ends. The mean
 * lies in the range, so that the move is between those that take the greatest and the least number there. */
static void fix_sum_within(const Numbers *x, const TensorInfo *info, void *frame, int64_t first,
                           int64_t n, double sum) {
    double least = get(x, frame, first), most = least;
    for (int64_t i = first; i < first + n; i++) {
        least = fmin(least, get(x, frame, i));
        most = fmax(most, get(x, frame, i));
    }
    double low = sum / (double)n - most, high = sum / (double)n - least;
    for (int pass = 0; pass < 200; pass++) { /* until they are neighbours */
        double middle = low + (high - low) / 2;
        if (!(middle > low && middle < high)) break;
        *(sum_moved(x, info, frame, first, n, middle) < sum ? &low : &high) = middle;
    }
    for (int64_t i = first; i < first + n; i++)
        set(x, frame, i, inside(x, get(x, frame, i) + high, info->low, info->high));
}

/* Of a convolution each has the sum by itself. */
static int64_t filters_of(const TensorInfo *info) {
    return info->is_conv ? info->shape[0] * info->shape[1] : 1;
}

/* The nearest numbers of that sum: all moved alike. */
static void fix_sum(const Numbers *x, const TensorInfo *info, void *frame, int64_t n, double sum) {
    int64_t filters = filters_of(info);
    int64_t taps = n / filters;
    for (int64_t f = 0; f < filters; f++) {
        if (info->low > -INFINITY || info->high < INFINITY) {
            fix_sum_within(x, info, frame, f * taps, taps, sum);
            continue;
        }
        double now = 0;
        for (int64_t i = 0; i < taps; i++) now += get(x, frame, f * taps + i);
        double move = (sum - now) / (double)taps;
        for (int64_t i = 0; i < taps; i++)
            set(x, frame, f * taps + i, get(x, frame, f * taps + i) + move);
    }
}

static void project_frame(const Numbers *x, const TensorInfo *info, void *frame, int64_t n) {
    for (uint32_t c = 0; c < info->constraint_count; c++)
        if (info->constraints[c].kind == CONSTRAINT_SUM)
            fix_sum(x, info, frame, n, info->constraints[c].number);
    clamp(x, frame, n, info->low, info->high);
    for (uint32_t c = 0; c < info->constraint_count; c++)
        if (info->constraints[c].kind == CONSTRAINT_NORM)
            limit_norm(x, info, frame, n, info->constraints[c].number);
}

void project_tensor(const Numbers *x, const TensorInfo *info, void *data, int64_t frames,
                    int64_t count) {
    size_t bytes = x->type == PDN_F32 ? 4 : 8;
    for (int64_t f = 0; f < frames; f++)
        project_frame(x, info, (char *)data + (size_t)(f * count) * bytes, count);
}

/* ---- what is loaded ---------------------------------------------------------------------------------- */

/* Of numbers that were computed, or saved, in f32. */
static const double rounding = 0x1p-20;

typedef struct {
    const Numbers *x;
    const TensorInfo *info;
    const char *name; /* of the frame, such as K[2] */
    Arena *arena;
} Loaded;

static const char *range_fault(const Loaded *l, const void *frame, int64_t n) {
    double low = l->info->low - rounding * fabs(l->info->low),
           high = l->info->high + rounding * fabs(l->info->high);
    for (int64_t i = 0; i < n; i++) {
        double v = get(l->x, frame, i);
        if (!isfinite(v))
            return arena_format(l->arena, "%s holds %s, and parameters are finite numbers", l->name,
                                isnan(v) ? "what is not a number" : "infinity");
        if (v < low || v > high)
            return arena_format(l->arena, "%s holds %g, and its range is from %g to %g", l->name, v,
                                l->info->low, l->info->high);
    }
    return NULL;
}

static const char *norm_fault(const Loaded *l, const void *frame, int64_t n, double most) {
    double norm = norm_of(l->x, l->info, frame, n);
    if (norm <= most * (1 + rounding)) return NULL;
    return arena_format(l->arena, "the norm of %s is proved to be at most %g, and may be %g",
                        l->name, norm, most);
}

static const char *sum_fault(const Loaded *l, const void *frame, int64_t n, double wanted) {
    int64_t filters = filters_of(l->info), taps = n / filters;
    for (int64_t f = 0; f < filters; f++) {
        double sum = 0, size = fabs(wanted);
        for (int64_t i = f * taps; i < (f + 1) * taps; i++) {
            sum += get(l->x, frame, i);
            size += fabs(get(l->x, frame, i));
        }
        if (fabs(sum - wanted) > rounding * size)
            return arena_format(l->arena, "the sum of %s%s is %g, and has to be %g",
                                filters > 1 ? "a filter of " : "", l->name, sum, wanted);
    }
    return NULL;
}

static const char *frame_fault(const Loaded *l, const void *frame, int64_t n) {
    const char *fault = range_fault(l, frame, n);
    for (uint32_t c = 0; c < l->info->constraint_count && !fault; c++) {
        const Constraint *k = &l->info->constraints[c];
        fault = (k->kind == CONSTRAINT_NORM ? norm_fault : sum_fault)(l, frame, n, k->number);
    }
    return fault;
}

/* A sum is what rounding leaves of it; ranges and norms hold exactly. */
static void move_inside(const Loaded *l, void *frame, int64_t n) {
    clamp(l->x, frame, n, l->info->low, l->info->high);
    for (uint32_t c = 0; c < l->info->constraint_count; c++)
        if (l->info->constraints[c].kind == CONSTRAINT_NORM)
            limit_norm(l->x, l->info, frame, n, l->info->constraints[c].number);
}

const char *tensor_fault(const Numbers *x, const TensorInfo *info, const char *name, void *data,
                         int64_t frames, int64_t count, Arena *arena) {
    size_t bytes = x->type == PDN_F32 ? 4 : 8;
    const char *fault = NULL;
    for (int64_t f = 0; f < frames && !fault; f++) {
        Loaded l = {x, info, name, arena};
        if (info->depth >= 0) l.name = arena_format(arena, "%s[%lld]", name, (long long)f);
        void *frame = (char *)data + (size_t)(f * count) * bytes;
        fault = frame_fault(&l, frame, count);
        if (!fault) move_inside(&l, frame, count);
    }
    return fault;
}

void tensor_refuse(Session *s, const char *file, const char *fault, Span span) {
    Diagnostic *d = diag_report(s->diagnostics, DIAG_LOADED_WRONG, span, file, fault);
    diag_help(
        d,
        "what is loaded keeps to the ranges and constraints of its parameters: change them, or the file");
}

/* ---- while it is trained ------------------------------------------------------------------------------- */

typedef struct {
    const Training *t;
    Numbers numbers;
    char *parameters;
    int64_t *first; /* of each tensor: the number of its first frame */
} Projection;

/* Frames of all tensors, one after the other. */
static void project_frames(const void *projection, int64_t begin, int64_t end) {
    const Projection *p = projection;
    const Training *t = p->t;
    size_t bytes = number_bytes(t);
    uint32_t tensor = 0;
    for (int64_t f = begin; f < end; f++) {
        while (p->first[tensor + 1] <= f) tensor++;
        const Place *place = &t->places[tensor];
        int64_t at = place->offset + (f - p->first[tensor]) * place->count;
        project_frame(&p->numbers, &t->task->tensors[tensor], p->parameters + (size_t)at * bytes,
                      place->count);
    }
}

void training_project_running(Training *t) {
    Numbers numbers = numbers_of(t->x);
    for (uint32_t i = t->task->trained; i < t->task->tensor_count; i++)
        project_tensor(&numbers, &t->task->tensors[i],
                       (char *)t->parameters + (size_t)t->places[i].offset * number_bytes(t),
                       t->places[i].frames, t->places[i].count);
}

void training_project(void *training, void *parameters) {
    Training *t = training;
    uint32_t count = t->task->trained;
    int64_t *first = mem_alloc(sizeof *first * (count + 1));
    first[0] = 0;
    for (uint32_t i = 0; i < count; i++) first[i + 1] = first[i] + t->places[i].frames;
    Projection p = {t, numbers_of(t->x), parameters, first};
    bool dear = false;
    for (uint32_t i = 0; i < count; i++) dear = dear || t->task->tensors[i].constraint_count;
    if (dear)
        pdn_threads_run(t->x->threads, project_frames, &p, first[count], PDN_MUCH_WORK);
    else
        project_frames(&p, 0, first[count]);
    mem_free(first);
}
