/* optimiser_search.h: a line search for the strong Wolfe conditions, on numbers alone. */
#ifndef PDN_OPTIMISER_SEARCH_H
#define PDN_OPTIMISER_SEARCH_H

#include "runtime/pdn.h"

/* A point of the line x0 + t d: the loss there, and its slope along d. */
typedef struct {
    double t, loss, slope;
} PdnPoint;

typedef struct {
    /* Evaluates at t; not finite: there is no such point. Nonzero stops the search. */
    int (*evaluate)(void *context, double t, PdnPoint *point);
    /* The last evaluation is the best one so far, and another will be tried: its gradient must outlive that. */
    void (*keep)(void *context);
    void *context;
    double decrease, curvature; /* of the conditions: 0 < decrease < curvature < 1 */
    double slack;               /* two losses that differ by less are equal, but for rounding */
    double least;               /* brackets narrower than this are points */
    int evaluations;            /* at most */
} PdnSearch;

typedef enum {
    SEARCH_LAST,    /* the best point is the one evaluated last */
    SEARCH_KEPT,    /* … the one that was kept last */
    SEARCH_NOTHING, /* nothing is better than the start */
    SEARCH_STOPPED,
} PdnSearchEnd;
/* From `start` (t = 0, slope < 0), at first to `t`; `best` is where it ends. */
PdnSearchEnd pdn_search(const PdnSearch *search, PdnPoint start, double t, PdnPoint *best);

#endif
