/* Projections: ranges, norms and sums of parameters, after every step of an optimiser. */
#include "compiler/driver/training.h"
#include "compiler/ops/ops.h"

#include <math.h>

static double get(const Execution *x, const void *p, int64_t i) {
    return x->type == PDN_F32 ? (double)((const float *)p)[i] : ((const double *)p)[i];
}

static void set(const Execution *x, void *p, int64_t i, double v) {
    if (x->type == PDN_F32)
        ((float *)p)[i] = (float)v;
    else
        ((double *)p)[i] = v;
}

/* In f32 a bound between two numbers is kept by the one inside. */
static double inside(const Execution *x, double v, double low, double high) {
    if (x->type == PDN_F64) return fmin(fmax(v, low), high);
    float f = (float)fmin(fmax(v, low), high);
    if ((double)f < low) f = nextafterf(f, INFINITY);
    if ((double)f > high) f = nextafterf(f, -INFINITY);
    return (double)f;
}

static void clamp(const Execution *x, void *frame, int64_t n, double low, double high) {
    if (low == -INFINITY && high == INFINITY) return;
    for (int64_t i = 0; i < n; i++) {
        double v = get(x, frame, i);
        if (v < low || v > high) set(x, frame, i, inside(x, v, low, high));
    }
}

static double euclidean(const Execution *x, const void *frame, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += get(x, frame, i) * get(x, frame, i);
    return sqrt(sum);
}

static double norm_of(const Execution *x, const TensorInfo *info, const void *frame, int64_t n) {
    if (!info->conv_count) return euclidean(x, frame, n);
    double most = 0;
    for (uint32_t i = 0; i < info->conv_count; i++) {
        PdnConvShape shape = conv_shape(&x->what->module->convs.data[info->convs[i]]);
        double norm = pdn_conv_norm(&shape, x->type, frame, NULL);
        if (!(norm <= most)) most = norm; /* NaN, too */
    }
    return most;
}

/* The frame scaled down until its norm is proved to be at most `most`. */
static void limit_norm(const Execution *x, const TensorInfo *info, void *frame, int64_t n, double most) {
    for (int pass = 0; pass < 4; pass++) { /* one, but for rounding */
        double norm = norm_of(x, info, frame, n);
        if (!(norm > most) || isinf(norm)) return;
        double by = most / norm * (1 - ldexp(1, x->type == PDN_F32 ? -22 + pass : -50 + pass));
        for (int64_t i = 0; i < n; i++) set(x, frame, i, by * get(x, frame, i));
    }
}

static double sum_moved(const Execution *x, const TensorInfo *info, const void *frame, int64_t first, int64_t n,
                        double move) {
    double sum = 0;
    for (int64_t i = first; i < first + n; i++)
        sum += fmin(fmax(get(x, frame, i) + move, info->low), info->high);
    return sum;
}

/* The nearest numbers of that sum that lie in the range: all moved alike, but for those that meet its ends. The mean
 * lies in the range, so that the move is between those that take the greatest and the least number there. */
static void fix_sum_within(const Execution *x, const TensorInfo *info, void *frame, int64_t first, int64_t n,
                           double sum) {
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

/* The nearest numbers of that sum: all moved alike. Of a convolution each filter by itself. */
static void fix_sum(const Execution *x, const TensorInfo *info, void *frame, int64_t n, double sum) {
    int64_t filters = info->conv_count && info->rank > 1 ? info->shape[0] * info->shape[1] : 1;
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

static void project_frame(const Execution *x, const TensorInfo *info, void *frame, int64_t n) {
    for (uint32_t c = 0; c < info->constraint_count; c++)
        if (info->constraints[c].kind == CONSTRAINT_SUM)
            fix_sum(x, info, frame, n, info->constraints[c].number);
    clamp(x, frame, n, info->low, info->high);
    for (uint32_t c = 0; c < info->constraint_count; c++)
        if (info->constraints[c].kind == CONSTRAINT_NORM)
            limit_norm(x, info, frame, n, info->constraints[c].number);
}

void project_tensor(const Execution *x, const TensorInfo *info, void *data, int64_t frames, int64_t count) {
    size_t bytes = x->type == PDN_F32 ? 4 : 8;
    for (int64_t f = 0; f < frames; f++)
        project_frame(x, info, (char *)data + (size_t)(f * count) * bytes, count);
}

typedef struct {
    const Training *t;
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
        project_frame(t->x, &t->task->tensors[tensor], p->parameters + (size_t)at * bytes, place->count);
    }
}

void training_project(void *training, void *parameters) {
    Training *t = training;
    uint32_t count = t->task->tensor_count;
    int64_t *first = mem_alloc(sizeof *first * (count + 1));
    first[0] = 0;
    for (uint32_t i = 0; i < count; i++) first[i + 1] = first[i] + t->places[i].frames;
    Projection p = {t, parameters, first};
    bool dear = false;
    for (uint32_t i = 0; i < count; i++) dear = dear || t->task->tensors[i].constraint_count;
    if (dear)
        pdn_launch(project_frames, &p, first[count], (int)t->x->session->options->threads);
    else
        project_frames(&p, 0, first[count]);
    mem_free(first);
}
