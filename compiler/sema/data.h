/* data.h: sets of samples, and functions of a sample. Private to sema. */
#ifndef PDN_DATA_H
#define PDN_DATA_H

#include "compiler/sema/value.h"

/* `data x = images(…)`: binds the set. */
const Env *data_statement(Elab *e, const Env *env, const Stmt *stmt);

/* A function of one sample, under construction as the current frame. */
typedef struct {
    Frame *frame;
    uint32_t samples; /* parameters that are fields of the sample */
    GridId grid;      /* of samples whose sizes differ, or GRID_NONE */
    const Env *env;   /* with the sample's name bound */
} SampleFrame;
/* Opens it; the name gets the sample: a value, or a list where a sample has several fields. `data` NULL: a function
 * of no sample. False after a message. */
bool sample_begin(Elab *e, Name function, const Env *env, const Value *data, NameAt name,
                  SampleFrame *out);
/* Closes it. values[i] is where captured value i stands in `list`, to which it is added if it is not there. */
typedef VEC(Node) NodeList;
TaskBody sample_end(Elab *e, const SampleFrame *s, NodeList *list);

#endif
