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
    const Array *values; /* by Module.inputs; data NULL: not known, but ranges and constraints hold. NULL: none is */
    FuncId body; /* a function that a task runs, and which values its parameters have; 0: none */
    const TaskBody *task;
    const TensorInfo *tensors; /* of the task's first values */
    uint32_t tensor_count;
    const Array *trained; /* of the tensors; NULL: not known */
} CertificateFacts;

Facts certificate_facts(CertificateFacts *facts);

/* Of the experiment and of all functions that its tasks run, each scheme once; nothing of values is known. */
void certificates_of_experiment(const Elaborated *what, Certificates *out);
/* A line for each, to the standard output: "explicit (line 12): proved stable …". */
void certificates_print(Session *s, const char *experiment, const Certificates *all);
/* {verdict, theorem, statement, source, claim, numbers, missing, scheme}; a new reference. */
json_t *certificate_json(const Certificate *c, const Names *names);

#endif
