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

/* A definition, fn or `let` of a file that holds parameters. */
static bool is_trainable(Elab *e, const Value *v) {
    if (v->kind == VALUE_THUNK) return item_is_trainable(e, v->thunk.item, v->thunk.home);
    return v->kind == VALUE_OPERATOR &&
           (v->op->kind == OPERATOR_DEF || v->op->kind == OPERATOR_FN) &&
           item_is_trainable(e, v->op->item, v->op->home);
}

static bool find_trainable(void *context, const Expr *x) {
    Search *s = context;
    if (s->found || x->kind != EXPR_NAME) return !s->found;
    const Env *found = env_find(s->home->env, x->name);
    if (found) s->found = is_trainable(s->e, found->value);
    return true;
}

bool value_is_template(Elab *e, const Value *v) {
    for (uint32_t i = 0; v->kind == VALUE_LIST && i < v->list.count; i++)
        if (value_is_template(e, v->list.items[i])) return true;
    return v->kind == VALUE_OPERATOR && v->op->kind == OPERATOR_DEF &&
           v->op->item->def.has_config && !v->op->configured && is_trainable(e, v);
}

bool block_declares(const Block *b, Name name) {
    for (uint32_t i = 0; b && i < b->count; i++) {
        const Stmt *s = b->items[i];
        if (s->kind == STMT_PARAM && (!name || s->param.name.name == name)) return true;
        if (s->kind == STMT_IF &&
            (block_declares(s->branch.then, name) || block_declares(s->branch.otherwise, name)))
            return true;
        if (s->kind == STMT_FOR && block_declares(s->loop.body, name)) return true;
    }
    return false;
}

static bool mentions_trainable(Elab *e, const Item *item, const Home *home) {
    Search s = {e, home, false};
    switch (item->kind) {
    case ITEM_LET: walk_expr(item->let.value, find_trainable, &s); break;
    case ITEM_FN: walk_expr(item->fn.value, find_trainable, &s); break;
    case ITEM_DEF:
        walk_expr(item->def.value, find_trainable, &s);
        if (!s.found) walk_block(item->def.block, find_trainable, &s);
        break;
    default: break;
    }
    return s.found;
}

bool item_is_trainable(Elab *e, const Item *item, const Home *home) {
    uint64_t key = hash_mix(item->span.file, item->span.begin);
    uint32_t known;
    if (map_get(&e->trainable, key, &known)) return known == 1;
    map_set(&e->trainable, key, 2); /* while it is looked at: what it calls again adds nothing */
    bool found = (item->kind == ITEM_DEF && block_declares(item->def.block, 0)) ||
                 mentions_trainable(e, item, home);
    if (found) map_set(&e->trainable, key, 1);
    return found;
}

/* ---- instances ------------------------------------------------------------------------ */

static const char *number_name(Elab *e, const Instance *owner, const char *name) {
    uint32_t same = 0;
    size_t length = strlen(name);
    for (uint32_t i = 0; i < owner->inner.len; i++) {
        const char *other = owner->inner.data[i]->name;
        same += strncmp(other, name, length) == 0 && (other[length] == 0 || other[length] == '_');
    }
    const char *made = same ? arena_format(e->arena, "%s_%u", name, same) : name;
    for (uint32_t i = 0; i < owner->inner.len; i++) /* of a definition called name_1, say */
        if (strcmp(owner->inner.data[i]->name, made) == 0) {
            made = arena_format(e->arena, "%s_%u", name, ++same);
            i = UINT32_MAX; /* once more from the first on */
        }
    return made;
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
    made->global = e->global;
    made->name = number_name(e, owner, operator_name(e, op));
    vec_adopt(e->arena, &made->parameters);
    vec_adopt(e->arena, &made->inner);
    vec_adopt(e->arena, &made->used.instances);
    vec_adopt(e->arena, &made->used.parameters);
    map_set(&owner->places, place, owner->inner.len);
    vec_push(&owner->inner, made);
    vec_push(&e->instances, made);
    if (e->local) {
        made->loaded = e->local->loaded;
        vec_push(&e->local->used.instances, made);
    }
    return made;
}

/* ---- what belongs to the whole program, and is used in a body ----------------------------- */

static void use(Used *used, Instance *instance, Parameter *read) {
    for (uint32_t i = 0; read && i < used->parameters.len; i++)
        if (used->parameters.data[i] == read) return;
    for (uint32_t i = 0; !read && i < used->instances.len; i++)
        if (used->instances.data[i] == instance) return;
    if (read)
        vec_push(&used->parameters, read);
    else
        vec_push(&used->instances, instance);
}

void instance_used(Elab *e, Instance *instance, Parameter *read) {
    if (!instance->global || instance == e->instance) return;
    const Instance *from = e->instance;
    while (from && !from->loaded) from = from->owner;
    const Loaded *loaded = e->local && e->local->loaded ? e->local->loaded
                           : from                       ? from->loaded
                                                        : NULL;
    if (e->local) use(&e->local->used, instance, read);
    if (e->instance != e->program) use(&e->instance->used, instance, read);
    if (!loaded || instance->loaded) return; /* what uses it was loaded before it was known to */
    instance->loaded = loaded;
    for (uint32_t i = 0; i < instance->parameters.len; i++)
        parameter_load(e, instance->parameters.data[i]);
}

void instance_declare(Elab *e, const Operator *op) {
    const Block *b = op->item->def.block;
    if (!b || e->declaring || !op->instance->open) return;
    Diagnostics *real = e->diagnostics;
    Instance *outer = e->instance;
    uint64_t pass = e->pass;
    Local *local = e->local;
    e->diagnostics = diagnostics_new(e->unit->context.sources, 1);
    e->instance = op->instance;
    e->pass = 0;
    e->local = NULL;
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
    for (uint32_t i = 0; i < config->count; i++) all = all && !value_is_template(e, op->config[i]);
    for (uint32_t i = 0; i < b->count; i++) {
        const Stmt *s = b->items[i];
        if (s->kind == STMT_LET || s->kind == STMT_LET_FN) env = let_bind(e, env, s);
        if (s->kind == STMT_PARAM) {
            env = param_statement(e, env, s);
            all = all && env->value->kind != VALUE_ERROR;
        }
        if (s->kind != STMT_LET && s->kind != STMT_LET_FN && s->kind != STMT_PARAM &&
            s->kind != STMT_BOUNDARY) {
            const Block rest = {.items = b->items + i, .count = b->count - i};
            all = all && !block_declares(&rest, 0);
            break;
        }
    }
    all = all && !diagnostics_errors(e->diagnostics);
    op->instance->open = !all;
    diagnostics_free(e->diagnostics);
    e->diagnostics = real;
    e->instance = outer;
    e->pass = pass;
    e->local = local;
    e->declaring = false;
}

/* ---- what a value holds ------------------------------------------------------------------ */

typedef struct {
    Elab *e;
    Parameters *parameters;
    const Loaded *loaded;
    Map seen; /* instances and operators, by a hash of their addresses */
    bool open;
} Holdings;

static bool first_seen(Holdings *out, const void *what) {
    uint64_t key = hash_mix(0, (uint64_t)(uintptr_t)what);
    uint32_t known;
    if (map_get(&out->seen, key, &known)) return false;
    map_set(&out->seen, key, 1);
    return true;
}

static void add_parameter(Holdings *out, Parameter *p) {
    if (first_seen(out, p)) vec_push(out->parameters, p);
}

static void add_instance(Holdings *out, Instance *instance);

static void add_used(Holdings *out, const Used *used) {
    for (uint32_t i = 0; i < used->instances.len; i++) add_instance(out, used->instances.data[i]);
    for (uint32_t i = 0; i < used->parameters.len; i++)
        add_parameter(out, used->parameters.data[i]);
}

static void add_instance(Holdings *out, Instance *instance) {
    if (!first_seen(out, instance)) return;
    if (out->loaded) instance->loaded = out->loaded;
    out->open = out->open || instance->open;
    for (uint32_t i = 0; i < instance->parameters.len; i++)
        add_parameter(out, instance->parameters.data[i]);
    for (uint32_t i = 0; i < instance->inner.len; i++) add_instance(out, instance->inner.data[i]);
    add_used(out, &instance->used);
}

static void add_operator(Holdings *out, const Operator *op);

static void add_value(Holdings *out, const Value *v) {
    if (!v) return;
    if (v->kind == VALUE_PARAMETER) add_parameter(out, v->parameter);
    if (v->kind == VALUE_OPERATOR) add_operator(out, v->op);
    for (uint32_t i = 0; v->kind == VALUE_LIST && i < v->list.count; i++)
        add_value(out, v->list.items[i]);
    const Parameter *behind = v->kind == VALUE_NODE ? parameter_behind(out->e, v) : NULL;
    if (behind) add_parameter(out, (Parameter *)behind);
}

typedef struct {
    const Operator *op; /* a local one */
    Holdings *out;
} Mentioned;

/* net.K, where the network has it by now, is that parameter alone. */
static bool add_member(Holdings *out, const Env *env, const Expr *x) {
    const Env *found =
        x->member.base->kind == EXPR_NAME ? env_find(env, x->member.base->name) : NULL;
    const Operator *op = found && found->value->kind == VALUE_OPERATOR ? found->value->op : NULL;
    const Instance *own = op && op->kind == OPERATOR_DEF ? instance_of_operator(out->e, op) : NULL;
    for (uint32_t i = 0; own && i < own->parameters.len; i++)
        if (own->parameters.data[i]->name == x->member.name) {
            add_parameter(out, own->parameters.data[i]);
            return true;
        }
    return false;
}

/* What it configures, and what it uses of the program, shows when it is applied. */
static bool add_mentioned(void *context, const Expr *x) {
    Mentioned *m = context;
    if (x->kind == EXPR_MEMBER) return !add_member(m->out, m->op->env, x);
    const Env *found = x->kind == EXPR_NAME ? env_find(m->op->env, x->name) : NULL;
    if (!found) return true;
    add_value(m->out, found->value);
    bool later = value_is_template(m->out->e, found->value) ||
                 (found->value->kind == VALUE_THUNK && is_trainable(m->out->e, found->value));
    m->out->open = m->out->open || (later && !m->op->local->applied);
    return true;
}

/* That of a definition without configuration, or of a fn, is one for the whole program. */
Instance *instance_of_operator(Elab *e, const Operator *op) {
    if (op->instance || (op->kind == OPERATOR_DEF && op->item->def.has_config)) return op->instance;
    if (!item_is_trainable(e, op->item, op->home)) return NULL;
    const Elab outer = *e;
    e->instance = e->program;
    e->pass = 0;
    e->local = NULL;
    e->global = true;
    Instance *made = instance_at(e, op, op->item->span);
    e->instance = outer.instance;
    e->pass = outer.pass;
    e->local = outer.local;
    e->global = outer.global;
    return made;
}

static void add_operator(Holdings *out, const Operator *op) {
    if (!first_seen(out, op)) return;
    if (op->kind == OPERATOR_DEF || op->kind == OPERATOR_FN) {
        Instance *own = instance_of_operator(out->e, op);
        if (own) add_instance(out, own);
        for (uint32_t i = 0; op->configured && i < op->item->def.config.count; i++)
            add_value(out, op->config[i]);
    }
    if (op->kind == OPERATOR_CONV) add_parameter(out, op->parameter);
    if (op->kind == OPERATOR_LOCAL) {
        Mentioned m = {op, out};
        walk_expr(op->stmt->let_fn.value, add_mentioned, &m);
        if (out->loaded) op->local->loaded = out->loaded;
        add_used(out, &op->local->used);
    }
    if (op->a) add_operator(out, op->a);
    for (uint32_t i = 0; op->items && i < op->count; i++) add_operator(out, op->items[i]);
    add_value(out, op->factor);
}

bool parameters_found(Elab *e, const Value *value, Parameters *out, const Loaded *loaded) {
    Holdings h = {.e = e, .parameters = out, .loaded = loaded};
    /* there are some already */
    for (uint32_t i = 0; i < out->len; i++) first_seen(&h, out->data[i]);
    add_value(&h, value);
    map_free(&h.seen);
    return !h.open;
}

void parameters_of(Elab *e, const Value *value, Parameters *out) {
    parameters_found(e, value, out, NULL);
}

bool parameters_whole(Elab *e, const Value *v) {
    for (uint32_t i = 0; v->kind == VALUE_LIST && i < v->list.count; i++)
        if (!parameters_whole(e, v->list.items[i])) return false;
    const Parameter *p = NULL;
    if (v->kind == VALUE_OPERATOR && v->op->kind == OPERATOR_CONV && v->op->index)
        p = v->op->parameter;
    if (v->kind == VALUE_NODE &&
        graph_node(graph_get(e->module, v->node.frame->func), v->node.node)->op == OP_FRAME)
        p = parameter_behind(e, v);
    if (!p) return true;
    const char *name = names_text(e->names, p->name);
    Diagnostic *d = report(e, PARAM_ENTRY, v->span, name);
    diag_help(d, "without its index it is all %lld of them", (long long)p->depth);
    return false;
}

/* "f(depth, width)", as its definition is written. */
static const char *configured_text(Elab *e, const Operator *op) {
    const ParamList *config = &op->item->def.config;
    const char *text = "";
    for (uint32_t i = 0; i < config->count; i++)
        text = arena_format(e->arena, "%s%s%s", text, i ? ", " : "",
                            names_text(e->names, config->items[i].name));
    return arena_format(e->arena, "%s(%s)", operator_name(e, op), text);
}

/* A definition that still needs its configuration; NULL: it is none. */
static const Operator *bare_definition(const Value *v) {
    const Operator *op = v->kind == VALUE_OPERATOR && v->op->kind == OPERATOR_DEF ? v->op : NULL;
    return op && op->item->def.has_config && !op->configured ? op : NULL;
}

void parameters_lacking(Elab *e, const Value *v, Span span, const char *verb) {
    const Operator *bare = bare_definition(v);
    Parameters none = {0};
    bool all = parameters_found(e, v, &none, NULL);
    vec_free(&none);
    if (!all && !elab_sound(e)) return;
    if (bare && value_is_template(e, v)) {
        Diagnostic *d = report(e, NONE_BEFORE_CONFIGURED, span, value_describe(e, v));
        diag_help(d, "let net = %s, then %s net", configured_text(e, bare), verb);
    } else if (!all) {
        e->errors++;
        Diagnostic *d = report(e, NOT_FOUND_YET, span, value_describe(e, v));
        diag_help(d, strcmp(verb, "train") == 0 ? "apply it in what is minimised"
                                                : "apply it to a field before");
    } else {
        Diagnostic *d = report(e, NO_PARAMETERS, span, value_describe(e, v));
        if (bare)
            diag_help(d, "configured with what has some, it has those: let net = %s",
                      configured_text(e, bare));
        else if (v->kind == VALUE_OPERATOR && v->op->kind == OPERATOR_DEF)
            diag_help(d, "parameters are declared in its body: param K = conv(1 -> 16, size = 5)");
        else
            diag_help(
                d, "what definitions make has parameters: let net = resnet(depth = 4), then %s net",
                verb);
    }
}

/* ---- names ------------------------------------------------------------------------------------ */

const Instance *path_begin(const Value *v) {
    return v->kind == VALUE_OPERATOR && v->op->kind == OPERATOR_DEF ? v->op->instance : NULL;
}

static const char *instance_path(Elab *e, const Instance *i, const Instance *within) {
    if (i == within || !i->owner) return "";
    return arena_format(e->arena, "%s%s.", instance_path(e, i->owner, within), i->name);
}

const char *parameter_path(Elab *e, const Parameter *p, const Instance *within) {
    return arena_format(e->arena, "%s%s", instance_path(e, p->owner, within),
                        names_text(e->names, p->name));
}

bool parameters_apart(Elab *e, const Parameters *all, const Instance *within, const char *what,
                      Span span) {
    Map known = {0};
    bool apart = true;
    for (uint32_t i = 0; i < all->len && apart; i++)
        for (uint32_t t = 0; t < all->data[i]->tensor_count && apart; t++) {
            const Parameter *p = all->data[i];
            const char *path =
                arena_format(e->arena, "%s%s", parameter_path(e, p, within), p->tensors[t].suffix);
            uint64_t key = hash_bytes(0, path, strlen(path));
            uint32_t other;
            apart = !map_get(&known, key, &other);
            map_set(&known, key, i);
            if (apart || !what) continue;
            Diagnostic *d = report(e, SAME_NAME, span, what, path);
            bool both = all->data[other]->span.begin == p->span.begin;
            diag_note(d, all->data[other]->span, both ? "both stand here" : "one of them");
            if (!both) diag_note(d, p->span, "another one");
            diag_help(d, "another name of one of the definitions, or parameters, tells them apart");
        }
    map_free(&known);
    return apart;
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
            if (e->parameters.data[i]->tensors[t].value->node.node == n)
                return e->parameters.data[i];
    return NULL;
}

TensorInfo tensor_info(Elab *e, const Parameter *p, const Tensor *t, const Instance *within) {
    TensorInfo info = {.path =
                           arena_format(e->arena, "%s%s", parameter_path(e, p, within), t->suffix),
                       .type = t->type,
                       .depth = p->depth,
                       .rank = t->rank,
                       .low = p->low,
                       .high = p->high,
                       .running = p->rule != NULL,
                       .is_conv = p->is_conv && !*t->suffix};
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
            TensorInfo *info = ARENA_NEW(e->arena, TensorInfo);
            *info = tensor_info(e, p, &p->tensors[t], NULL);
            for (uint32_t i = 0; i < p->tensors[t].sources.len; i++)
                e->out->sources.data[p->tensors[t].sources.data[i]].tensor = info;
        }
    }
}
