/* Instances: which parameters a value holds, and what they are called. */
#include "compiler/sema/param.h"
#include "compiler/sema/walk.h"

#include <math.h>
#include <string.h>

/* ---- does a definition hold parameters? --------------------------------------------- */

typedef struct {
    Elab *e;
    const Home *home;
    bool found;
} Search;

static bool find_trainable(void *context, const Expr *x) {
    Search *s = context;
    if (s->found || x->kind != EXPR_NAME) return !s->found;
    const Env *found = env_find(s->home->env, x->name);
    if (found && found->value->kind == VALUE_OPERATOR && found->value->op->kind == OPERATOR_DEF)
        s->found = item_is_trainable(s->e, found->value->op->item, found->value->op->home);
    return true;
}

static bool block_holds_param(const Block *b) {
    for (uint32_t i = 0; b && i < b->count; i++) {
        const Stmt *s = b->items[i];
        if (s->kind == STMT_PARAM) return true;
        if (s->kind == STMT_IF &&
            (block_holds_param(s->branch.then) || block_holds_param(s->branch.otherwise)))
            return true;
        if (s->kind == STMT_FOR && block_holds_param(s->loop.body)) return true;
    }
    return false;
}

static bool mentions_trainable(Elab *e, const Item *item, const Home *home) {
    Search s = {e, home, false};
    walk_expr(item->def.value, find_trainable, &s);
    if (!s.found) walk_block(item->def.block, find_trainable, &s);
    return s.found;
}

bool item_is_trainable(Elab *e, const Item *item, const Home *home) {
    uint64_t key = hash_mix(item->span.file, item->span.begin);
    uint32_t known;
    if (map_get(&e->trainable, key, &known)) return known == 1;
    map_set(&e->trainable, key, 2); /* while it is looked at: what it calls again adds nothing */
    Search s = {e, home, block_holds_param(item->def.block)};
    if (!s.found) walk_expr(item->def.value, find_trainable, &s);
    if (!s.found) walk_block(item->def.block, find_trainable, &s);
    if (s.found) map_set(&e->trainable, key, 1);
    return s.found;
}

/* ---- instances ------------------------------------------------------------------------ */

static const char *number_name(Elab *e, const Instance *owner, const char *name) {
    uint32_t same = 0;
    size_t length = strlen(name);
    for (uint32_t i = 0; i < owner->inner.len; i++) {
        const char *other = owner->inner.data[i]->name;
        same += strncmp(other, name, length) == 0 && (other[length] == 0 || other[length] == '_');
    }
    return same ? arena_format(e->arena, "%s_%u", name, same) : name;
}

Instance *instance_at(Elab *e, const Operator *op, Span call) {
    Instance *owner = e->instance;
    uint64_t place = hash_mix(hash_mix(call.file, call.begin), hash_mix(call.end, e->pass));
    place = hash_mix(place, hash_mix(op->item->span.file, op->item->span.begin));
    uint32_t known;
    if (map_get(&owner->places, place, &known)) return owner->inner.data[known];
    Instance *made = ARENA_NEW(e->arena, Instance);
    made->owner = owner;
    made->open = true;
    made->name = number_name(e, owner, operator_name(e, op));
    vec_adopt(e->arena, &made->parameters);
    vec_adopt(e->arena, &made->inner);
    map_set(&owner->places, place, owner->inner.len);
    vec_push(&owner->inner, made);
    vec_push(&e->instances, made);
    return made;
}

void instance_declare(Elab *e, const Operator *op) {
    const Block *b = op->item->def.block;
    if (!b || e->declaring || !op->instance->open) return;
    Diagnostics *real = e->diagnostics;
    Instance *outer = e->instance;
    uint64_t pass = e->pass;
    e->diagnostics = diagnostics_new(e->unit->context.sources, 1);
    e->instance = op->instance;
    e->pass = 0;
    e->declaring = true;
    const Env *env = operator_env(op);
    const ParamList *config = &op->item->def.config;
    for (uint32_t i = 0; i < config->count; i++)
        env = env_bind(e, env, config->items[i].name, op->config[i], config->items[i].span);
    /* inputs and unknowns are errors, silently, and so is what is made of them */
    const ParamList *inputs = &op->item->def.inputs;
    for (uint32_t i = 0; i < inputs->count; i++)
        env = env_bind(e, env, inputs->items[i].name, value_error(e), inputs->items[i].span);
    bool all = !mentions_trainable(e, op->item, op->home);
    for (uint32_t i = 0; i < b->count; i++) {
        const Stmt *s = b->items[i];
        if (s->kind == STMT_LET || s->kind == STMT_LET_FN) env = let_bind(e, env, s);
        if (s->kind == STMT_PARAM) env = param_statement(e, env, s);
        if (s->kind != STMT_LET && s->kind != STMT_LET_FN && s->kind != STMT_PARAM &&
            s->kind != STMT_BOUNDARY) {
            const Block rest = {.items = b->items + i, .count = b->count - i};
            all = all && !block_holds_param(&rest);
            break;
        }
    }
    all = all && !diagnostics_errors(e->diagnostics);
    op->instance->open = !all;
    diagnostics_free(e->diagnostics);
    e->diagnostics = real;
    e->instance = outer;
    e->pass = pass;
    e->declaring = false;
}

/* ---- what a value holds ------------------------------------------------------------------ */

typedef struct {
    Parameters *parameters;
    const Loaded *loaded;
    bool open;
} Holdings;

static void add_parameter(Holdings *out, Parameter *p) {
    for (uint32_t i = 0; i < out->parameters->len; i++)
        if (out->parameters->data[i] == p) return;
    vec_push(out->parameters, p);
}

static void add_instance(Instance *instance, Holdings *out) {
    if (out->loaded) instance->loaded = out->loaded;
    out->open = out->open || instance->open;
    for (uint32_t i = 0; i < instance->parameters.len; i++)
        add_parameter(out, instance->parameters.data[i]);
    for (uint32_t i = 0; i < instance->inner.len; i++) add_instance(instance->inner.data[i], out);
}

static void add_operator(Elab *e, const Operator *op, Holdings *out, uint32_t depth);

static void add_value(Elab *e, const Value *v, Holdings *out, uint32_t depth) {
    if (!v || depth > 100) return;
    if (v->kind == VALUE_PARAMETER) add_parameter(out, v->parameter);
    if (v->kind == VALUE_OPERATOR) add_operator(e, v->op, out, depth + 1);
    for (uint32_t i = 0; v->kind == VALUE_LIST && i < v->list.count; i++)
        add_value(e, v->list.items[i], out, depth + 1);
    const Parameter *behind = v->kind == VALUE_NODE ? parameter_behind(e, v) : NULL;
    if (behind) add_parameter(out, (Parameter *)behind);
}

typedef struct {
    Elab *e;
    const Operator *op;
    Holdings *out;
    uint32_t depth;
} Mentioned;

static bool add_mentioned(void *context, const Expr *x) {
    Mentioned *m = context;
    const Env *found = x->kind == EXPR_NAME ? env_find(m->op->env, x->name) : NULL;
    if (found) add_value(m->e, found->value, m->out, m->depth + 1);
    return true;
}

/* That of a definition without configuration is one for the whole program. */
Instance *instance_of_operator(Elab *e, const Operator *op) {
    if (op->instance || op->item->def.has_config) return op->instance;
    Instance *outer = e->instance;
    uint64_t pass = e->pass;
    e->instance = e->program;
    e->pass = 0;
    Instance *made =
        item_is_trainable(e, op->item, op->home) ? instance_at(e, op, op->item->span) : NULL;
    e->instance = outer;
    e->pass = pass;
    return made;
}

static void add_operator(Elab *e, const Operator *op, Holdings *out, uint32_t depth) {
    if (depth > 100) return;
    if (op->kind == OPERATOR_DEF) {
        Instance *own = instance_of_operator(e, op);
        if (own) add_instance(own, out);
        for (uint32_t i = 0; op->configured && i < op->item->def.config.count; i++)
            add_value(e, op->config[i], out, depth);
    }
    if (op->kind == OPERATOR_CONV) add_parameter(out, op->parameter);
    if (op->kind == OPERATOR_LOCAL) {
        Mentioned m = {e, op, out, depth};
        walk_expr(op->stmt->let_fn.value, add_mentioned, &m);
    }
    if (op->a) add_operator(e, op->a, out, depth + 1);
    for (uint32_t i = 0; op->items && i < op->count; i++)
        add_operator(e, op->items[i], out, depth + 1);
    add_value(e, op->factor, out, depth);
}

bool parameters_found(Elab *e, const Value *value, Parameters *out, const Loaded *loaded) {
    Holdings h = {.parameters = out, .loaded = loaded};
    add_value(e, value, &h, 0);
    return !h.open;
}

void parameters_of(Elab *e, const Value *value, Parameters *out) {
    parameters_found(e, value, out, NULL);
}

static const char *instance_path(Elab *e, const Instance *i, const Instance *within) {
    if (i == within || !i->owner) return "";
    return arena_format(e->arena, "%s%s.", instance_path(e, i->owner, within), i->name);
}

const char *parameter_path(Elab *e, const Parameter *p, const Instance *within) {
    return arena_format(e->arena, "%s%s", instance_path(e, p->owner, within),
                        names_text(e->names, p->name));
}

/* The frame that `v` was captured from on, the node there. */
static Node outer_node(Elab *e, const Value *v, const Frame **frame) {
    const Frame *f = v->node.frame;
    Node n = v->node.node;
    for (;;) {
        const NodeData *d = graph_node(graph_get(e->module, f->func), n);
        bool captured = false;
        if (d->op == OP_FRAME) {
            n = graph_operand(graph_get(e->module, f->func), n, 0);
            continue;
        }
        for (uint32_t i = 0; d->op == OP_PARAM && i < f->captures.len; i++)
            if (f->captures.data[i].inner == n) {
                n = f->captures.data[i].outer;
                captured = true;
                break;
            }
        if (!captured) break;
        f = f->parent;
    }
    *frame = f;
    return n;
}

const Parameter *parameter_behind(Elab *e, const Value *v) {
    if (v->kind == VALUE_PARAMETER) return v->parameter;
    if (v->kind == VALUE_OPERATOR && v->op->kind == OPERATOR_CONV) return v->op->parameter;
    if (v->kind != VALUE_NODE) return NULL;
    const Frame *frame;
    Node n = outer_node(e, v, &frame);
    if (frame != e->root) return NULL;
    for (uint32_t i = 0; i < e->parameters.len; i++)
        for (uint32_t t = 0; t < e->parameters.data[i]->tensor_count; t++)
            if (e->parameters.data[i]->tensors[t].value->node.node == n) return e->parameters.data[i];
    return NULL;
}

TensorInfo tensor_info(Elab *e, const Parameter *p, const Tensor *t, const Instance *within) {
    TensorInfo info = {.path = arena_format(e->arena, "%s%s", parameter_path(e, p, within), t->suffix),
                       .type = t->type,
                       .depth = p->depth,
                       .rank = t->rank,
                       .low = p->low,
                       .high = p->high};
    memcpy(info.shape, t->shape, sizeof info.shape);
    if (*t->suffix) {
        info.low = -INFINITY;
        info.high = INFINITY;
        return info;
    }
    info.constraints = p->constraints.data;
    info.constraint_count = p->constraints.len;
    info.convs = p->convs.data;
    info.conv_count = p->convs.len;
    return info;
}

void parameters_constrain(Elab *e) {
    for (uint32_t i = 0; i < e->parameters.len; i++) {
        const Parameter *p = e->parameters.data[i];
        for (uint32_t t = 0; t < p->tensor_count; t++) {
            if (!p->tensors[t].source) continue;
            TensorInfo *info = ARENA_NEW(e->arena, TensorInfo);
            *info = tensor_info(e, p, &p->tensors[t], NULL);
            e->out->sources.data[p->tensors[t].source - 1].tensor = info;
        }
    }
}
