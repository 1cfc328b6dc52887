/* Running tensors: what their rules make of them in a batch, and how they get there. */
#include "compiler/driver/training.h"

#include <math.h>
#include <string.h>

void running_begin(Training *t) {
    size_t bytes = (size_t)t->running * number_bytes(t);
    double batch = (double)t->batch;
    float single = (float)batch;
    if (t->x->type == PDN_F32)
        memcpy(&t->batch_value, &single, sizeof single);
    else
        memcpy(&t->batch_value, &batch, sizeof batch);
    if (t->task->batch_size >= 0) t->values[t->task->batch_size].data = &t->batch_value;
    if (!t->running) return;
    t->next = mem_resize(t->next, bytes);
    t->moved = mem_resize(t->moved, bytes * (size_t)t->room);
    memset(t->next, 0, bytes); /* what lies between tensors, too */
    memset(t->moved, 0, bytes * (size_t)t->batch);
}

void running_outputs(const Training *t, int64_t sample, void **outputs) {
    char *to = t->moved + (size_t)(sample * t->running) * number_bytes(t);
    for (uint32_t i = t->task->trained; i < t->task->tensor_count; i++)
        *outputs++ = to + (size_t)(t->places[i].offset - t->total) * number_bytes(t);
}

static double number_at(const Training *t, const void *numbers, int64_t i) {
    return t->x->type == PDN_F32 ? (double)((const float *)numbers)[i]
                                 : ((const double *)numbers)[i];
}

/* Samples that have all the same, as means over the batch are, have it as their mean, to the bit. */
static double mean_at(const Training *t, int64_t i, double *sums) {
    double first = number_at(t, t->moved, i);
    for (int64_t s = 0; s < t->batch; s++)
        sums[s] = number_at(t, t->moved, s * t->running + i) - first;
    for (int64_t apart = 1; apart < t->batch; apart *= 2)
        for (int64_t s = 0; s + apart < t->batch; s += 2 * apart) sums[s] += sums[s + apart];
    return first + sums[0] / (double)t->batch;
}

bool running_mean(Training *t) {
    bool finite = true;
    double *sums = mem_alloc(sizeof *sums * (size_t)(t->batch + 1));
    for (uint32_t k = t->task->trained; k < t->task->tensor_count; k++) {
        const Place *p = &t->places[k];
        for (int64_t i = p->offset - t->total; i < p->offset - t->total + p->frames * p->count;
             i++) {
            double mean = mean_at(t, i, sums);
            if (t->task->tensors[k].depth >= 0)
                mean += number_at(t, t->parameters, t->total + i); /* changes */
            finite = finite && isfinite(mean);
            if (t->x->type == PDN_F32)
                ((float *)t->next)[i] = (float)mean;
            else
                ((double *)t->next)[i] = mean;
        }
    }
    mem_free(sums);
    return finite;
}

void running_take(Training *t) {
    if (!t->running) return;
    memcpy((char *)t->parameters + (size_t)t->total * number_bytes(t), t->next,
           (size_t)t->running * number_bytes(t));
    training_project_running(t);
}

int64_t running_broken(const Training *t) {
    for (int64_t i = 0; i < t->batch * t->running; i++)
        if (!isfinite(number_at(t, t->moved, i))) return i / t->running;
    return 0;
}

void running_free(Training *t) {
    mem_free(t->moved);
    mem_free(t->next);
}
