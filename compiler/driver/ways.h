/* ways: in which way convolutions are computed: verdicts of pdn bench --tune, which the cache keeps for this machine. */
#ifndef PDN_WAYS_H
#define PDN_WAYS_H

#include "compiler/driver/pipeline.h"

/* Gives the convolutions of a plan the way that is forced, or else their verdicts. */
void ways_apply(Session *s, Plan *plan);
void ways_of_model(Session *s, bool only); /* verdicts do not count meanwhile */
/* For plans from now on, all convolutions for which it is one; 0: verdicts. */
void ways_force(Session *s, uint32_t way);
/* A verdict, by plan_convolution_text; 0: the cost model shall choose. */
void ways_judge(Session *s, const char *convolution, uint32_t way);
bool ways_keep(Session *s); /* in the cache, with those of other programs; false: there is none */

void ways_close(Session *s);

#endif
