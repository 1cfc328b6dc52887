/* sector: writing F(u) as a linear map of products m(u) s, s linear in u, m a multiplier with a
 * known range. */
#ifndef PDN_ANALYSIS_SECTOR_H
#define PDN_ANALYSIS_SECTOR_H

#include "compiler/analysis/analysis.h"
#include "compiler/analysis/operator.h"

typedef struct {
    Node flux;       /* w = m s, pointwise */
    Node argument;   /* s, linear in u */
    Interval sector; /* of m = Φ(s) / s */
} Flux;

/* F = tail(linear terms, fluxes) of a function without calls. */
typedef struct {
    VEC(Flux) fluxes;
    bool has_source;     /* a term without u */
    const char *missing; /* why the form was not found, in the field's words; NULL where it was */
} FluxForm;

FluxForm sector_find(Module *module, FuncId func, const Simple *simple);
void sector_free(FluxForm *form);

/* Range of Φ(s)/s over all s, where `flux` is a function of the node s alone; by subdivision. */
bool sector_scalar(Module *module, FuncId func, Node flux, Node s, Interval *sector);

#endif
