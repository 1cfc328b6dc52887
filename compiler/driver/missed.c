/* Solvers that did not converge: noted as the program runs, said once each at its end. */
#include "compiler/driver/execute.h"

#include <math.h>

typedef struct Missed {
    int64_t count;
    double residual, tolerance, steps; /* of the worst */
} Missed;

void missed_open(Execution *x) {
    pthread_mutex_init(&x->lock, NULL);
    x->missed = calloc(x->what->checks.len + 1, sizeof *x->missed);
    if (!x->missed) abort();
}

static double excess(double residual, double tolerance) {
    return isnan(residual) ? INFINITY : residual / fmax(tolerance, 1e-300);
}

int missed_note(Execution *x, uint32_t check, double residual, double tolerance, double steps) {
    Missed *m = &x->missed[check];
    pthread_mutex_lock(&x->lock);
    if (m->count == 0 || excess(residual, tolerance) > excess(m->residual, m->tolerance)) {
        m->residual = residual;
        m->tolerance = tolerance;
        m->steps = steps;
    }
    m->count++;
    pthread_mutex_unlock(&x->lock);
    return x->what->checks.data[check].strict;
}

static void say(Execution *x, const Check *check, const Missed *m) {
    Diagnostics *all = x->session->diagnostics;
    Diagnostic *d = check->strict ? diag_report(all, DIAG_UNCONVERGED, check->span, check->solver,
                                                m->residual, m->tolerance)
                                  : diag_report(all, DIAG_UNCONVERGED_USED, check->span,
                                                check->solver, m->residual, m->tolerance);
    if (m->steps > 0) diag_note(d, SPAN_NONE, "after %.0f steps", m->steps);
    if (m->count > 1)
        diag_note(d, SPAN_NONE, "%lld times in all; this was the worst", (long long)m->count);
    if (check->strict)
        diag_help(
            d,
            "allow more steps, choose another solver, or say strict = false to go on with what it has");
}

void missed_close(Execution *x) {
    for (uint32_t i = 0; i < x->what->checks.len; i++)
        if (x->missed[i].count) say(x, &x->what->checks.data[i], &x->missed[i]);
    free(x->missed);
    x->missed = NULL;
    pthread_mutex_destroy(&x->lock);
}
