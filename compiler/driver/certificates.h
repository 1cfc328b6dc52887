/* certificates: what is proved about the schemes and networks of a program, as text and JSON. */
#ifndef PDN_CERTIFICATES_H
#define PDN_CERTIFICATES_H

#include "compiler/analysis/certificate.h"
#include "compiler/driver/pipeline.h"

#include <jansson.h>

/* What is known of the arrays that a program starts from: by Module.inputs, for the arrays that are there. */
typedef struct {
    const Elaborated *what;
    bool outside; /* parameters are inputs of a kernel: nothing is known of them */
    /* by Module.inputs; data NULL: not known, but ranges and constraints hold. NULL: none is */
    const Array *values;
    FuncId body; /* a function that a task runs, and which values its parameters have; 0: none */
    const TaskBody *task;
    const TensorInfo *tensors; /* of the task's first values */
    uint32_t tensor_count;
    int64_t training;  /* number of the training whose loss the body is; -1: none */
    const Node *nodes; /* of the main function, whose values are known */
    const Array *node_values;
    uint32_t node_count;
} CertificateFacts;

Facts certificate_facts(CertificateFacts *facts);

/* Of the experiment and of all functions that its tasks run, each scheme once; nothing of values is known. */
void certificates_of_experiment(const Elaborated *what, Certificates *out);
/* Of what an effect saves: of the schemes that have these weights, which are the values of the effect's nodes. */
void certificates_of_weights(const Elaborated *what, const Effect *save, const Array *values,
                             Certificates *out);
/* Of a kernel: as a whole, then of each scheme in it. `values` by Module.inputs, data NULL: its caller gives them. */
Certificate certificate_of_kernel(const Elaborated *what, const Array *values, Certificates *steps);
/* A line for each, to the standard output: "explicit (line 12): proved stable …". */
void certificates_print(Session *s, const char *experiment, const Certificates *all);
/* {verdict, theorem, statement, source, claim, numbers, missing, scheme}; a new reference. */
json_t *certificate_json(const Certificate *c, const Names *names);
json_t *certificates_json(const Certificates *all, const Names *names); /* an array */

#endif
