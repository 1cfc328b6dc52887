/* What is proved about the schemes and networks of a program, as text and JSON. */
#include "compiler/driver/certificates.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- what is known of values ------------------------------------------------------------ */

/* Its range and constraints hold from the start on, and after every step of a training. */
static Fact fact_of_tensor(const TensorInfo *t) {
    Fact f = FACT_NOTHING;
    f.low = t->low;
    f.high = t->high;
    f.convs = t->convs;
    f.conv_count = t->conv_count;
    for (uint32_t i = 0; i < t->constraint_count; i++)
        if (t->constraints[i].kind == CONSTRAINT_NORM && t->conv_count)
            f.norm = fmin(f.norm, t->constraints[i].number);
    return f;
}

static Fact known_fact(Array value) {
    Fact f = {.known = true, .value = value, .low = INFINITY, .high = -INFINITY, .norm = HUGE_VAL};
    for (int64_t i = 0; i < value.size; i++) {
        f.low = fmin(f.low, value.data[i]);
        f.high = fmax(f.high, value.data[i]);
        if (!isfinite(value.data[i])) return FACT_NOTHING;
    }
    return f;
}

/* Of a node of the main function. */
static bool main_fact(const CertificateFacts *c, Node node, Fact *out) {
    const Module *m = c->what->module;
    const Func *f = graph_get(m, m->main);
    const NodeData *d = graph_node(f, node);
    for (uint32_t i = 0; i < c->node_count; i++)
        if (c->nodes[i] == node) {
            *out = known_fact(c->node_values[i]);
            return true;
        }
    if (d->op == OP_INPUT) {
        const Source *source = &c->what->sources.data[d->index];
        const TensorInfo *t = source->kind == SOURCE_START && !c->outside ? source->tensor : NULL;
        if (c->values && c->values[d->index].data)
            *out = known_fact(c->values[d->index]);
        else if (t)
            *out = fact_of_tensor(t);
        else
            return false;
        return true;
    }
    if (d->op != OP_RESULT) return false;
    const NodeData *task = graph_node(f, graph_operand(f, node, 0));
    if (task->op != OP_TASK || task->index >= c->what->trainings.len) return false;
    const TrainTask *t = &c->what->trainings.data[task->index];
    if (d->index >= t->tensor_count || t->count < 1) return false;
    *out = fact_of_tensor(&t->tensors[d->index]);
    return true;
}

/* Of a parameter of the body of a loop over data: what the effect has as that value. */
static bool each_fact(const CertificateFacts *c, uint32_t value, Fact *out) {
    const Module *m = c->what->module;
    const Func *f = graph_get(m, m->main);
    for (uint32_t i = 0; i < f->effects.len; i++) {
        const Effect *e = &f->effects.data[i];
        if (e->kind == EFFECT_EACH &&
            &c->what->each.data[c->what->actions.data[e->number].task].body == c->task &&
            value < e->count)
            return main_fact(c, e->values[value], out);
    }
    return false;
}

/* Of tensor `value` of a training: what it is in the end, where that is known. */
static void trained_fact(const CertificateFacts *c, uint32_t value, Fact *out) {
    const Func *f = graph_get(c->what->module, c->what->module->main);
    for (uint32_t i = 0; i < c->node_count; i++) {
        const NodeData *d = graph_node(f, c->nodes[i]);
        if (d->op != OP_RESULT || d->index != value) continue;
        const NodeData *task = graph_node(f, graph_operand(f, c->nodes[i], 0));
        if (task->op == OP_TASK && task->index == c->training) *out = known_fact(c->node_values[i]);
    }
}

static bool find_fact(void *context, FuncId func, Node node, Fact *out) {
    const CertificateFacts *c = context;
    if (func == c->what->module->main) return main_fact(c, node, out);
    const NodeData *d = graph_node(graph_get(c->what->module, func), node);
    if (!c->task || func != c->body || d->op != OP_PARAM || d->index < c->task->samples ||
        d->index - c->task->samples >= c->task->count)
        return false;
    uint32_t value = c->task->values[d->index - c->task->samples];
    if (!c->tensors) return each_fact(c, value, out);
    if (value >= c->tensor_count) return false;
    *out = fact_of_tensor(&c->tensors[value]);
    trained_fact(c, value, out);
    return true;
}

Facts certificate_facts(CertificateFacts *facts) { return (Facts){find_fact, facts}; }

/* ---- of an experiment ----------------------------------------------------------------------- */

static bool same_certificate(const Certificate *a, const Certificate *b) {
    Text x = {0}, y = {0};
    certificate_text(a, &x);
    certificate_text(b, &y);
    bool same = a->name == b->name && a->span.file == b->span.file &&
                a->span.begin == b->span.begin && strcmp(x.data, y.data) == 0;
    text_free(&x);
    text_free(&y);
    return same;
}

static void add_loops(CertificateFacts *c, FuncId func, Certificates *out) {
    Certificates found = {0};
    Facts facts = certificate_facts(c);
    if (func) certify_loops(c->what->module, func, &facts, &found);
    for (uint32_t i = 0; i < found.len; i++) {
        bool again = false;
        for (uint32_t k = 0; k < out->len; k++)
            again = again || same_certificate(&out->data[k], &found.data[i]);
        if (!again) vec_push(out, found.data[i]);
    }
    vec_free(&found);
}

/* What `load` will give: the arrays of the files that are there. */
static Array *loaded_values(const Elaborated *what, Arena *arena) {
    Array *values = ARENA_ARRAY(arena, Array, what->module->inputs.len + 1);
    for (uint32_t i = 0; i < what->module->inputs.len; i++) {
        const Source *s = &what->sources.data[i];
        PdnTensors *file = NULL;
        PdnError error;
        if (s->kind != SOURCE_TENSOR || pdn_tensors_read(s->path, &file, &error) != PDN_OK)
            continue;
        int64_t shape[PDN_TENSOR_RANK + 1] = {s->depth}, count = 1,
                                        frames = s->depth < 0 ? 1 : s->depth;
        int first = s->depth >= 0;
        memcpy(shape + first, s->shape, sizeof *shape * (size_t)s->rank);
        for (int k = 0; k < s->rank; k++) count *= s->shape[k];
        double *data = count > 0 ? ARENA_ARRAY(arena, double, count *frames + 1) : NULL;
        if (data &&
            pdn_tensors_get(file, s->name, PDN_F64, s->rank + first, shape, data, &error) == PDN_OK)
            values[i] = (Array){what->module->inputs.data[i].type, frames, count * frames, data};
        pdn_tensors_free(file);
    }
    return values;
}

/* The main function, and all functions that its tasks run. */
static void add_all(const CertificateFacts *known, Certificates *out) {
    const Elaborated *what = known->what;
    CertificateFacts c = *known;
    c.training = -1;
    add_loops(&c, what->module->main, out);
    for (uint32_t i = 0; i < what->trainings.len; i++) {
        const TrainTask *t = &what->trainings.data[i];
        c = *known;
        c.body = t->loss.func;
        c.task = &t->loss;
        c.tensors = t->tensors;
        c.tensor_count = t->tensor_count;
        c.training = i;
        add_loops(&c, t->loss.func, out);
    }
    for (uint32_t i = 0; i < what->each.len; i++) {
        c = *known;
        c.body = what->each.data[i].body.func;
        c.task = &what->each.data[i].body;
        c.training = -1;
        add_loops(&c, c.body, out);
    }
}

void certificates_of_experiment(const Elaborated *what, Certificates *out) {
    Arena *arena = arena_new();
    CertificateFacts c = {.what = what, .values = loaded_values(what, arena)};
    add_all(&c, out);
    arena_free(arena);
}

void certificates_of_weights(const Elaborated *what, const Effect *save, const Array *values,
                             Certificates *out) {
    CertificateFacts c = {
        .what = what, .nodes = save->values, .node_values = values, .node_count = save->count};
    Certificates all = {0};
    add_all(&c, &all);
    for (uint32_t i = 0; i < all.len; i++)
        if (all.data[i].weights) vec_push(out, all.data[i]);
    vec_free(&all);
}

Certificate certificate_of_kernel(const Elaborated *what, const Array *values,
                                  Certificates *steps) {
    CertificateFacts c = {.what = what, .outside = true, .values = values, .training = -1};
    Facts facts = certificate_facts(&c);
    certify_loops(what->module, what->module->main, &facts, steps);
    return certify_func(what->module, what->module->main, &facts);
}

/* ---- text and JSON ------------------------------------------------------------------------------ */

void certificates_print(Session *s, const char *experiment, const Certificates *all) {
    for (uint32_t i = 0; i < all->len; i++) {
        const Certificate *c = &all->data[i];
        Text text = {0};
        uint32_t line = 0, column = 0;
        certificate_text(c, &text);
        sources_place(s->sources, c->span.file, c->span.begin, &line, &column);
        printf("%s, line %u, %s: %s\n", experiment, line, names_text(s->names, c->name), text.data);
        text_free(&text);
    }
}

json_t *certificate_json(const Certificate *c, const Names *names) {
    json_t *o = json_object(), *numbers = json_object();
    const TheoremInfo *t = theorem_info(c->theorem);
    for (uint32_t i = 0; i < c->count; i++)
        json_object_set_new(numbers, c->numbers[i].name,
                            isfinite(c->numbers[i].value) ? json_real(c->numbers[i].value)
                                                          : json_null());
    json_object_set_new(o, "verdict", json_string(verdict_text(c->verdict)));
    if (c->name) json_object_set_new(o, "scheme", json_string(names_text(names, c->name)));
    json_object_set_new(o, "theorem", t ? json_string(t->id) : json_null());
    if (t) {
        json_object_set_new(o, "title", json_string(t->title));
        json_object_set_new(o, "statement", json_string(t->statement));
        json_object_set_new(o, "source", json_string(t->source));
    }
    if (c->part) json_object_set_new(o, "part", json_string(theorem_info(c->part)->id));
    if (c->claim) json_object_set_new(o, "claim", json_string(claim_text(c)));
    json_object_set_new(o, "numbers", numbers);
    json_object_set_new(o, "steps", json_integer(c->layers));
    if (c->missing) json_object_set_new(o, "missing", json_string(c->missing));
    return o;
}

json_t *certificates_json(const Certificates *all, const Names *names) {
    json_t *list = json_array();
    for (uint32_t i = 0; i < all->len; i++) {
        json_t *one = certificate_json(&all->data[i], names);
        bool known = false; /* a network that is applied in several places */
        for (size_t k = 0; k < json_array_size(list); k++)
            known = known || json_equal(json_array_get(list, k), one);
        if (!known) json_array_append(list, one);
        json_decref(one);
    }
    return list;
}
