/* Projections: ranges, norms and sums of parameters, after every step of an optimiser. */
#include "compiler/driver/training.h"
#include "compiler/ops/ops.h"

#include <math.h>

static double get(const Training *t, const void *p, int64_t i) {
    return t->x->type == PDN_F32 ? (double)((const float *)p)[i] : ((const double *)p)[i];
}

static void set(const Training *t, void *p, int64_t i, double v) {
    if (t->x->type == PDN_F32)
        ((float *)p)[i] = (float)v;
    else
        ((double *)p)[i] = v;
}

/* In f32 a bound between two numbers is kept by the one inside. */
static double inside(const Training *t, double v, double low, double high) {
    if (t->x->type == PDN_F64) return fmin(fmax(v, low), high);
    float f = (float)fmin(fmax(v, low), high);
    if ((double)f < low) f = nextafterf(f, INFINITY);
    if ((double)f > high) f = nextafterf(f, -INFINITY);
    return (double)f;
}

static void clamp(const Training *t, void *frame, int64_t n, double low, double high) {
    if (low == -INFINITY && high == INFINITY) return;
    for (int64_t i = 0; i < n; i++) {
        double v = get(t, frame, i);
        if (v < low || v > high) set(t, frame, i, inside(t, v, low, high));
    }
}

static double euclidean(const Training *t, const void *frame, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += get(t, frame, i) * get(t, frame, i);
    return sqrt(sum);
}

static double norm_of(const Training *t, const TensorInfo *info, const void *frame, int64_t n) {
    if (!info->conv_count) return euclidean(t, frame, n);
    double most = 0;
    for (uint32_t i = 0; i < info->conv_count; i++) {
        PdnConvShape shape = conv_shape(&t->x->what->module->convs.data[info->convs[i]]);
        double norm = pdn_conv_norm(&shape, t->x->type, frame, NULL);
        if (!(norm <= most)) most = norm; /* NaN, too */
    }
    return most;
}

/* The frame scaled down until its norm is proved to be at most `most`. */
static void limit_norm(const Training *t, const TensorInfo *info, void *frame, int64_t n, double most) {
    for (int pass = 0; pass < 4; pass++) { /* one, but for rounding */
        double norm = norm_of(t, info, frame, n);
        if (!(norm > most) || isinf(norm)) return;
        double by = most / norm * (1 - ldexp(1, t->x->type == PDN_F32 ? -22 + pass : -50 + pass));
        for (int64_t i = 0; i < n; i++) set(t, frame, i, by * get(t, frame, i));
    }
}

/* The nearest numbers of that sum: all moved alike. Of a convolution each filter by itself. */
static void fix_sum(const Training *t, const TensorInfo *info, void *frame, int64_t n, double sum) {
    int64_t filters = info->conv_count && info->rank > 1 ? info->shape[0] * info->shape[1] : 1;
    int64_t taps = n / filters;
    for (int64_t f = 0; f < filters; f++) {
        double now = 0;
        for (int64_t i = 0; i < taps; i++) now += get(t, frame, f * taps + i);
        double move = (sum - now) / (double)taps;
        for (int64_t i = 0; i < taps; i++)
            set(t, frame, f * taps + i, get(t, frame, f * taps + i) + move);
    }
}

static void project_frame(const Training *t, const TensorInfo *info, void *frame, int64_t n) {
    for (uint32_t c = 0; c < info->constraint_count; c++)
        if (info->constraints[c].kind == CONSTRAINT_SUM)
            fix_sum(t, info, frame, n, info->constraints[c].number);
    clamp(t, frame, n, info->low, info->high);
    for (uint32_t c = 0; c < info->constraint_count; c++)
        if (info->constraints[c].kind == CONSTRAINT_NORM)
            limit_norm(t, info, frame, n, info->constraints[c].number);
}

void training_project(void *training, void *parameters) {
    const Training *t = training;
    size_t bytes = t->x->type == PDN_F32 ? 4 : 8;
    for (uint32_t i = 0; i < t->task->tensor_count; i++) {
        const TensorInfo *info = &t->task->tensors[i];
        const Place *p = &t->places[i];
        for (int64_t f = 0; f < p->frames; f++)
            project_frame(t, info, (char *)parameters + (size_t)(p->offset + f * p->count) * bytes, p->count);
    }
}
