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

PdnStatus pdn_sgd_state(PdnOptimiser *o, PdnError *error) {
    if (o->arguments[sgd_momentum] == 0) { return PDN_OK; }
    PdnStatus status = pdn_state_add(o, "momentum", o->type, 1, &o->count, error);
    return status == PDN_OK ? pdn_state_add(o, "updates", PDN_F64, 0, NULL, error) : status;
}

void pdn_sgd_update(PdnOptimiser *o, void *parameters, double rate) {
    const double *a = o->arguments;
    void *momentum = NULL;
    double dampening = a[sgd_dampening];
    if (o->states > 0) {
        momentum = o->state[SGD_MOMENTUM].array.data;
        /* the first gradient becomes the momentum as it is */
        if ((*pdn_state_number(o, SGD_UPDATES))++ == 0) { dampening = 0; }
    }
    PDN_KERNEL(o->type, sgd, parameters, o->gradient.data, momentum, o->count, rate,
               a[sgd_weight_decay], a[sgd_momentum], dampening, a[sgd_nesterov] != 0);
}

/* ---- adam, adamw ------------------------------------------------------------------ */

enum { ADAM_MEAN, ADAM_SQUARES, ADAM_UPDATES };

PdnStatus pdn_adam_state(PdnOptimiser *o, PdnError *error) {
    PdnStatus status = pdn_state_add(o, "mean", o->type, 1, &o->count, error);
    if (status == PDN_OK) { status = pdn_state_add(o, "squares", o->type, 1, &o->count, error); }
    return status == PDN_OK ? pdn_state_add(o, "updates", PDN_F64, 0, NULL, error) : status;
}

/* `beta` are the two in a row; `decay` is added to the gradient, `keep` a factor of the parameters. */
static void adam(PdnOptimiser *o, void *parameters, double rate, const double *beta, double decay,
                 double keep, double epsilon) {
    double updates = ++*pdn_state_number(o, ADAM_UPDATES);
    double step = rate / (1 - pow(beta[0], updates)), root = sqrt(1 - pow(beta[1], updates));
    PDN_KERNEL(o->type, adam, parameters, o->gradient.data, o->state[ADAM_MEAN].array.data,
               o->state[ADAM_SQUARES].array.data, o->count, beta, decay, keep, step, root, epsilon);
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

void pdn_rmsprop_update(PdnOptimiser *o, void *parameters, double rate) {
    const double *a = o->arguments;
    int next = 0;
    void *squares = o->state[next++].array.data;
    void *mean = a[rmsprop_centred] != 0 ? o->state[next++].array.data : NULL;
    void *momentum = a[rmsprop_momentum] != 0 ? o->state[next].array.data : NULL;
    PDN_KERNEL(o->type, rmsprop, parameters, o->gradient.data, squares, mean, momentum, o->count,
               rate, a[rmsprop_weight_decay], a[rmsprop_decay], a[rmsprop_epsilon],
               a[rmsprop_momentum]);
}
