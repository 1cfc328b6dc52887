/* optimiser_update.c: first-order methods: what they keep, and how the gradient moves the parameters. The formulas
 * stand in optimisers.def. */
#include "runtime/optimiser.h"

#include "runtime/optimiser_kernels.h"

#include <math.h>

/* ---- sgd -------------------------------------------------------------------------- */

PdnStatus pdn_sgd_check(const double *a, PdnError *error) {
    if (a[sgd_nesterov] != 0 && (a[sgd_momentum] == 0 || a[sgd_dampening] != 0)) {
        return pdn_fail(
            error, PDN_ERROR_ARGUMENT,
            "sgd: nesterov = 1 needs a momentum (momentum = 0.9, say) and no dampening");
    }
    return PDN_OK;
}

enum { SGD_MOMENTUM, SGD_UPDATES };

typedef struct {
    void *parameters, *momentum;
    double rate, dampening;
} Sgd;

static void sgd_part(const PdnOptimiser *o, const void *call, int64_t first, int64_t count) {
    const Sgd *s = call;
    const double *a = o->arguments;
    PDN_KERNEL(o->type, sgd, pdn_optimiser_at(o, s->parameters, first),
               pdn_optimiser_at(o, o->gradient.data, first),
               pdn_optimiser_at(o, s->momentum, first), count, s->rate, a[sgd_weight_decay],
               a[sgd_momentum], s->dampening, a[sgd_nesterov] != 0);
}

PdnStatus pdn_sgd_state(PdnOptimiser *o, PdnError *error) {
    if (o->arguments[sgd_momentum] == 0) { return PDN_OK; }
    PdnStatus status = pdn_state_add(o, "momentum", o->type, 1, &o->count, error);
    return status == PDN_OK ? pdn_state_add(o, "updates", PDN_F64, 0, NULL, error) : status;
}

void pdn_sgd_update(PdnOptimiser *o, void *parameters, double rate) {
    const double *a = o->arguments;
    Sgd call = {parameters, NULL, rate, a[sgd_dampening]};
    if (o->states > 0) {
        call.momentum = o->state[SGD_MOMENTUM].array.data;
        /* the first gradient becomes the momentum as it is */
        if ((*pdn_state_number(o, SGD_UPDATES))++ == 0) { call.dampening = 0; }
    }
    pdn_optimiser_parts(o, sgd_part, &call, 2);
}

/* ---- adam, adamw ------------------------------------------------------------------ */

enum { ADAM_MEAN, ADAM_SQUARES, ADAM_UPDATES };

PdnStatus pdn_adam_state(PdnOptimiser *o, PdnError *error) {
    PdnStatus status = pdn_state_add(o, "mean", o->type, 1, &o->count, error);
    if (status == PDN_OK) { status = pdn_state_add(o, "squares", o->type, 1, &o->count, error); }
    return status == PDN_OK ? pdn_state_add(o, "updates", PDN_F64, 0, NULL, error) : status;
}

typedef struct {
    void *parameters;
    const double *beta;
    double decay, keep, step, root, epsilon;
} Adam;

static void adam_part(const PdnOptimiser *o, const void *call, int64_t first, int64_t count) {
    const Adam *a = call;
    PDN_KERNEL(o->type, adam, pdn_optimiser_at(o, a->parameters, first),
               pdn_optimiser_at(o, o->gradient.data, first),
               pdn_optimiser_at(o, o->state[ADAM_MEAN].array.data, first),
               pdn_optimiser_at(o, o->state[ADAM_SQUARES].array.data, first), count, a->beta,
               a->decay, a->keep, a->step, a->root, a->epsilon);
}

/* `beta` are the two in a row; `decay` is added to the gradient, `keep` a factor of the parameters. */
static void adam(PdnOptimiser *o, void *parameters, double rate, const double *beta, double decay,
                 double keep, double epsilon) {
    double updates = ++*pdn_state_number(o, ADAM_UPDATES);
    Adam call = {.parameters = parameters,
                 .beta = beta,
                 .decay = decay,
                 .keep = keep,
                 .step = rate / (1 - pow(beta[0], updates)),
                 .root = sqrt(1 - pow(beta[1], updates)),
                 .epsilon = epsilon};
    pdn_optimiser_parts(o, adam_part, &call, 4);
}

_Static_assert(adam_beta2 == adam_beta1 + 1 && adamw_beta2 == adamw_beta1 + 1,
               "they stand in a row");

void pdn_adam_update(PdnOptimiser *o, void *parameters, double rate) {
    const double *a = o->arguments;
    adam(o, parameters, rate, &a[adam_beta1], a[adam_weight_decay], 1, a[adam_epsilon]);
}

void pdn_adamw_update(PdnOptimiser *o, void *parameters, double rate) {
    const double *a = o->arguments;
    adam(o, parameters, rate, &a[adamw_beta1], 0, 1 - rate * a[adamw_weight_decay],
         a[adamw_epsilon]);
}

/* ---- rmsprop ---------------------------------------------------------------------- */

PdnStatus pdn_rmsprop_state(PdnOptimiser *o, PdnError *error) {
    PdnStatus status = pdn_state_add(o, "squares", o->type, 1, &o->count, error);
    if (status == PDN_OK && o->arguments[rmsprop_centred] != 0) {
        status = pdn_state_add(o, "mean", o->type, 1, &o->count, error);
    }
    if (status == PDN_OK && o->arguments[rmsprop_momentum] != 0) {
        status = pdn_state_add(o, "momentum", o->type, 1, &o->count, error);
    }
    return status;
}

typedef struct {
    void *parameters, *squares, *mean, *momentum;
    double rate;
} Rmsprop;

static void rmsprop_part(const PdnOptimiser *o, const void *call, int64_t first, int64_t count) {
    const Rmsprop *r = call;
    const double *a = o->arguments;
    PDN_KERNEL(o->type, rmsprop, pdn_optimiser_at(o, r->parameters, first),
               pdn_optimiser_at(o, o->gradient.data, first), pdn_optimiser_at(o, r->squares, first),
               pdn_optimiser_at(o, r->mean, first), pdn_optimiser_at(o, r->momentum, first), count,
               r->rate, a[rmsprop_weight_decay], a[rmsprop_decay], a[rmsprop_epsilon],
               a[rmsprop_momentum]);
}

void pdn_rmsprop_update(PdnOptimiser *o, void *parameters, double rate) {
    const double *a = o->arguments;
    int next = 0;
    Rmsprop call = {.parameters = parameters, .rate = rate};
    call.squares = o->state[next++].array.data;
    if (a[rmsprop_centred] != 0) { call.mean = o->state[next++].array.data; }
    if (a[rmsprop_momentum] != 0) { call.momentum = o->state[next].array.data; }
    pdn_optimiser_parts(o, rmsprop_part, &call, 4);
}
