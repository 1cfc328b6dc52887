/* From the graph to the host program: work on demand, in the order of the effects, cut into kernels.
 *
 * A launch is made when something needs its field or number; fields and reductions of the same grid
 * that could be computed at the same time, from something that is read anyway, join it. */
#include "compiler/kernel/build.h"

#include <string.h>

enum {
    GROUP_CAP = 16,
    GROUP_FLOPS = 2000,
    GROUP_TOTALS = 32, /* numbers that one launch reduces to */
    TOTALS_CAP = 16,   /* sums by channel of more channels take several launches */
};

/* ---- instructions ---------------------------------------------------------------------- */

HInstr *block_emit(Block *b, HKind kind) {
    vec_push(&b->code->code, ((HInstr){.kind = kind, .dst = NONE}));
    return &vec_last(&b->code->code);
}

HReg block_reg(Block *b, Type type) {
    return host_reg(b->host, type, type.kind == TYPE_SCALAR ? PLACE_NONE : PLACE_POINTER);
}

HReg *block_regs(Block *b, const Node *nodes, uint32_t count) {
    HReg *regs = ARENA_ARRAY(b->planner->plan->arena, HReg, count + 1);
    for (uint32_t i = 0; i < count; i++) regs[i] = block_require(b, nodes[i]);
    return regs;
}

/* ---- what an expression reads ------------------------------------------------------------- */

typedef struct {
    Block *b;
    Map seen;
    VEC(Node) fields;  /* read from memory */
    VEC(Node) shifted; /* read elsewhere than at the cell itself */
    VEC(Node) scalars;
    VEC(Node) rows; /* of numbers, the same in every cell */
} Leaves;

static bool contains(const Node *list, uint32_t len, Node n) {
    for (uint32_t i = 0; i < len; i++)
        if (list[i] == n) return true;
    return false;
}

static void find_leaves(Leaves *l, KNode k, bool shifted) {
    uint32_t ignored;
    if (map_get(&l->seen, (uint64_t)k << 1 | shifted, &ignored)) return;
    map_set(&l->seen, (uint64_t)k << 1 | shifted, 1);
    const KNodeData *d = &l->b->nodes.data[k];
    switch (d->kind) {
    case K_RESTRICT:
    case K_POOL:
    case K_FIRST:
    case K_SHARE:
    case K_PROLONG:
    case K_BLEND:
    case K_SPIKE: shifted = true; /* falls through */
    case K_LOAD:
        if (!contains(l->fields.data, l->fields.len, d->index)) vec_push(&l->fields, d->index);
        if (shifted && !contains(l->shifted.data, l->shifted.len, d->index))
            vec_push(&l->shifted, d->index);
        break;
    case K_ENTRY:
        if (!contains(l->rows.data, l->rows.len, d->index)) vec_push(&l->rows, d->index);
        break;
    case K_SCALAR:
        if (!contains(l->scalars.data, l->scalars.len, d->index)) vec_push(&l->scalars, d->index);
        break;
    case K_SHIFT:
    case K_UNSHIFT:
        shifted = true;
        for (uint32_t a = 0; a < MAX_RANK; a++)
            for (int s = 0; s < 2; s++)
                if (d->value[a][s]) find_leaves(l, d->value[a][s], true);
        break;
    default: break;
    }
    for (uint32_t i = 0; i < kernel_operands(d); i++) find_leaves(l, d->operand[i], shifted);
}

/* Does a root reduce its operand: to a number, or to one for each channel? Else it is a stored field. */
static bool reduces(const Block *b, Node root) {
    const NodeData *d = graph_node(b->f, root);
    return d->type.kind != TYPE_FIELD || d->op == OP_TOTALS;
}

/* The kernel nodes that a root stands for. */
static const KNode *root_nodes(const Block *b, Node root, uint32_t *count) {
    Node field = reduces(b, root) ? graph_operand(b->f, root, 0) : root;
    *count = graph_node(b->f, field)->type.channels;
    return field == root ? b->define[root] : b->value[field];
}

static GridId root_grid(const Block *b, Node root) {
    return graph_node(b->f, reduces(b, root) ? graph_operand(b->f, root, 0) : root)->type.grid;
}

/* Numbers that a root is reduced to. */
static uint32_t root_totals(const Block *b, Node root) {
    if (!reduces(b, root)) return 0;
    return graph_node(b->f, root)->op == OP_TOTALS
               ? graph_node(b->f, graph_operand(b->f, root, 0))->type.channels
               : 1;
}

static Leaves leaves_of(Block *b, Node root) {
    Leaves l = {.b = b};
    uint32_t count;
    const KNode *nodes = root_nodes(b, root, &count);
    for (uint32_t c = 0; c < count; c++) find_leaves(&l, nodes[c], false);
    return l;
}

static void leaves_free(Leaves *l) {
    map_free(&l->seen);
    vec_free(&l->fields);
    vec_free(&l->shifted);
    vec_free(&l->scalars);
    vec_free(&l->rows);
}

/* ---- groups ----------------------------------------------------------------------------- */

static bool is_root(const Block *b, Node n) {
    const NodeData *d = graph_node(b->f, n);
    if (!b->needed[n] || b->reg[n] != NONE) return false;
    if (d->op == OP_TOTALS) return root_totals(b, n) <= TOTALS_CAP;
    return d->type.kind == TYPE_FIELD ? b->stored[n] && !block_is_source(d->op)
                                      : op_info(d->op)->class == CLASS_REDUCE;
}

/* Is the value there, or had for nothing? */
static bool at_hand(const Block *b, Node n) {
    const NodeData *d = graph_node(b->f, n);
    bool row = d->op == OP_ROW; /* of numbers that are there */
    for (uint32_t i = 0; row && i < d->count; i++)
        row = graph_node(b->f, b->f->operands.data[d->first + i])->op == OP_CONST;
    return b->reg[n] != NONE || row || d->op == OP_CONST || d->op == OP_INPUT ||
           d->op == OP_CELLS || (d->op == OP_RESULT && b->tuple[b->f->operands.data[d->first]]);
}

/* Can the scalar be had without another pass over a field? */
static bool scalar_ready(Block *b, Node n, uint32_t depth) {
    const NodeData *d = graph_node(b->f, n);
    if (at_hand(b, n)) return true;
    if (op_info(d->op)->class != CLASS_POINTWISE || depth > 50) return false;
    for (uint32_t i = 0; i < d->count; i++)
        if (!scalar_ready(b, b->f->operands.data[d->first + i], depth + 1)) return false;
    return true;
}

typedef struct {
    Node roots[GROUP_CAP];
    uint32_t count;
    VEC(Node) reads;
    double flops;
    uint32_t totals;
} Gang;

static double root_flops(Block *b, Node root) {
    uint32_t count;
    if (b->flops[root] > 0) return b->flops[root];
    const KNode *nodes = root_nodes(b, root, &count);
    GridId grid = root_grid(b, root);
    uint32_t rank = b->planner->module->grids.data[grid].rank;
    return b->flops[root] = kernel_count(&b->nodes, nodes, count, rank, 4096).flops + 1e-3;
}

/* May `n` join: ready but for members of the gang read at the cell itself, and reading what they read? */
static bool may_join(Block *b, const Gang *g, Node n) {
    Leaves l = leaves_of(b, n);
    bool ready = true, common = l.fields.len == 0 && g->reads.len == 0;
    for (uint32_t i = 0; i < l.fields.len && ready; i++) {
        Node field = l.fields.data[i];
        bool member = contains(g->roots, g->count, field);
        ready = at_hand(b, field) ||
                (member && !reduces(b, field) && !contains(l.shifted.data, l.shifted.len, field));
        common = common || member || contains(g->reads.data, g->reads.len, field);
    }
    for (uint32_t i = 0; i < l.scalars.len && ready; i++)
        ready = scalar_ready(b, l.scalars.data[i], 0);
    for (uint32_t i = 0; i < l.rows.len && ready; i++) ready = at_hand(b, l.rows.data[i]);
    leaves_free(&l);
    return ready && common;
}

static void gather(Block *b, Gang *g) {
    GridId grid = root_grid(b, g->roots[0]);
    for (Node n = 1; n < b->f->nodes.len && g->count < GROUP_CAP; n++) {
        if (!is_root(b, n) || contains(g->roots, g->count, n) || root_grid(b, n) != grid) continue;
        double flops = root_flops(b, n);
        uint32_t totals = root_totals(b, n);
        if (g->flops + flops > GROUP_FLOPS || g->totals + totals > GROUP_TOTALS ||
            !may_join(b, g, n))
            continue;
        g->roots[g->count++] = n;
        g->flops += flops;
        g->totals += totals;
    }
}

/* ---- a kernel from a gang ------------------------------------------------------------------ */

typedef struct {
    Block *b;
    const Gang *gang;
    Kernel *k;
    Map copied;
    VEC(GridId) grids;
    VEC(Node) fields, scalars; /* of the graph, by argument; 0 where the scalar is a constant */
    VEC(double) numbers;       /* of the scalar arguments that are constants */
    VEC(HReg) sums;            /* by channel, of the TOTALS of the gang */
} Cut;

static uint32_t cut_scalar(Cut *c, Node node, double value) {
    for (uint32_t i = 0; i < c->scalars.len; i++)
        if (c->scalars.data[i] == node &&
            (node || memcmp(&c->numbers.data[i], &value, sizeof value) == 0))
            return i;
    vec_push(&c->scalars, node);
    vec_push(&c->numbers, value);
    return c->scalars.len - 1;
}

static uint32_t cut_field(Cut *c, Node node) {
    Type t = graph_node(c->b->f, node)->type;
    for (uint32_t i = 0; i < c->fields.len; i++)
        if (c->fields.data[i] == node) return i;
    uint32_t g = 0;
    while (g < c->grids.len && c->grids.data[g] != t.grid) g++;
    if (g == c->grids.len) vec_push(&c->grids, t.grid);
    vec_push(&c->fields, node);
    vec_push(&c->k->fields, ((KField){g, t.channels}));
    return c->fields.len - 1;
}

static KNode cut_copy(Cut *c, KNode from) {
    KNodeData d = c->b->nodes.data[from];
    uint32_t done;
    if (from == 0) return 0;
    if (map_get(&c->copied, from, &done)) return done;
    if (d.kind == K_LOAD && contains(c->gang->roots, c->gang->count, d.index)) {
        done = cut_copy(c, c->b->define[d.index][d.detail]);
        map_set(&c->copied, from, done);
        return done;
    }
    for (uint32_t i = 0; i < 3; i++) d.operand[i] = cut_copy(c, d.operand[i]);
    for (uint32_t a = 0; a < MAX_RANK; a++)
        for (int s = 0; s < 2; s++) d.value[a][s] = cut_copy(c, d.value[a][s]);
    if (d.kind == K_NUMBER && !kernel_literal(d.number)) {
        d = (KNodeData){.kind = K_SCALAR, .index = cut_scalar(c, NODE_NONE, d.number)};
    } else if (d.kind == K_SCALAR) {
        d.index = cut_scalar(c, d.index, 0);
    } else if (d.kind == K_LOAD || d.kind == K_ENTRY || kernel_resamples(d.kind)) {
        d.index = cut_field(c, d.index);
    }
    vec_push(&c->k->nodes, d);
    map_set(&c->copied, from, c->k->nodes.len - 1);
    return c->k->nodes.len - 1;
}

/* Reduces these nodes to one number. */
static HReg cut_reduction(Cut *c, HInstr *launch, Op op, const KNode *nodes, uint32_t count) {
    KReduction r = {op, ARENA_ARRAY(c->b->planner->plan->arena, KNode, count), count};
    for (uint32_t i = 0; i < count; i++) r.nodes[i] = cut_copy(c, nodes[i]);
    HReg reg = launch->reductions[c->k->reductions.len] = block_reg(c->b, type_scalar());
    vec_push(&c->k->reductions, r);
    return reg;
}

static void cut_roots(Cut *c, HInstr *launch) {
    Block *b = c->b;
    Arena *arena = b->planner->plan->arena;
    launch->outputs = ARENA_ARRAY(arena, HReg, c->gang->count);
    launch->reductions = ARENA_ARRAY(arena, HReg, c->gang->totals + 1);
    for (uint32_t i = 0; i < c->gang->count; i++) {
        Node root = c->gang->roots[i];
        const NodeData *d = graph_node(b->f, root);
        uint32_t count;
        const KNode *nodes = root_nodes(b, root, &count);
        if (d->op == OP_TOTALS) {
            b->reg[root] = block_reg(b, d->type);
            for (uint32_t ch = 0; ch < count; ch++) {
                HReg sum = cut_reduction(c, launch, OP_SUM, &nodes[ch], 1);
                vec_push(&c->sums, sum);
            }
        } else if (d->type.kind == TYPE_FIELD) {
            launch->outputs[c->k->written.len] = block_reg(b, d->type);
            b->reg[root] = launch->outputs[c->k->written.len];
            vec_push(&c->k->written, count);
            for (uint32_t ch = 0; ch < count; ch++)
                vec_push(&c->k->outputs,
                         ((KOutput){cut_copy(c, nodes[ch]), c->k->written.len - 1, ch}));
        } else {
            b->reg[root] = cut_reduction(c, launch, d->op, nodes, count);
        }
    }
}

static Cut cut_start(Block *b, const Gang *gang, GridId grid) {
    Cut c = {.b = b, .gang = gang, .k = ARENA_NEW(b->planner->plan->arena, Kernel)};
    c.k->rank = b->planner->plan->grid_rank[grid];
    vec_push(&c.k->nodes, ((KNodeData){0}));
    vec_push(&c.grids, grid);
    return c;
}

/* Emits the launch of what was cut. */
static void cut_launch(Cut *c, HInstr *made) {
    Block *b = c->b;
    Plan *plan = b->planner->plan;
    Kernel *k = c->k;
    k->grids = c->grids.len;
    k->grid_rank = ARENA_ARRAY(plan->arena, uint32_t, k->grids);
    for (uint32_t i = 0; i < k->grids; i++) k->grid_rank[i] = plan->grid_rank[c->grids.data[i]];
    k->scalars = c->scalars.len;
    made->index = plan_add_kernel(plan, k);
    made->grids = arena_copy(plan->arena, c->grids.data, sizeof(GridId) * c->grids.len);
    made->fields = ARENA_ARRAY(plan->arena, HReg, c->fields.len + 1);
    for (uint32_t i = 0; i < c->fields.len; i++)
        made->fields[i] = block_require(b, c->fields.data[i]);
    uint32_t scalars = c->scalars.len;
    made->scalars = ARENA_ARRAY(plan->arena, HReg, scalars + 1);
    made->scalar_constant = ARENA_ARRAY(plan->arena, uint32_t, scalars + 1);
    for (uint32_t i = 0; i < scalars; i++) {
        made->scalars[i] = c->scalars.data[i] ? block_require(b, c->scalars.data[i]) : NONE;
        made->scalar_constant[i] = c->scalars.data[i] ? 0 : plan_constant(plan, c->numbers.data[i]);
    }
    vec_push(&b->code->code, *made);
    map_free(&c->copied);
    vec_free(&c->grids);
    vec_free(&c->fields);
    vec_free(&c->scalars);
    vec_free(&c->numbers);
}

static void emit_row(Block *b, HReg row, const HReg *numbers, uint32_t count) {
    HInstr *h = block_emit(b, H_ROW);
    h->dst = row;
    h->args = arena_copy(b->planner->plan->arena, numbers, sizeof *numbers * count);
    h->args_count = count;
}

static void launch(Block *b, const Gang *gang) {
    Cut c = cut_start(b, gang, root_grid(b, gang->roots[0]));
    HInstr made = {.kind = H_LAUNCH, .dst = NONE, .span = graph_node(b->f, gang->roots[0])->span};
    cut_roots(&c, &made);
    cut_launch(&c, &made);
    uint32_t first = 0;
    for (uint32_t i = 0; i < gang->count; i++) {
        Node root = gang->roots[i];
        if (graph_node(b->f, root)->op != OP_TOTALS) continue;
        emit_row(b, b->reg[root], c.sums.data + first, root_totals(b, root));
        first += root_totals(b, root);
    }
    vec_free(&c.sums);
}

/* The sums of many channels: some at a time, so that kernels stay small. */
static void launch_totals(Block *b, Node root) {
    uint32_t count;
    VEC(HReg) sums = {0};
    root_nodes(b, root, &count);
    Gang gang = {.count = 0};
    for (uint32_t ch = 0; ch < count;) {
        Cut c = cut_start(b, &gang, root_grid(b, root));
        HInstr made = {.kind = H_LAUNCH, .dst = NONE, .span = graph_node(b->f, root)->span};
        made.outputs = ARENA_ARRAY(b->planner->plan->arena, HReg, 1);
        made.reductions = ARENA_ARRAY(b->planner->plan->arena, HReg, TOTALS_CAP);
        for (uint32_t last = ch + TOTALS_CAP; ch < count && ch < last; ch++) {
            HReg sum = cut_reduction(&c, &made, OP_SUM, &root_nodes(b, root, &count)[ch], 1);
            vec_push(&sums, sum);
        }
        cut_launch(&c, &made);
    }
    b->reg[root] = block_reg(b, graph_node(b->f, root)->type);
    emit_row(b, b->reg[root], sums.data, sums.len);
    vec_free(&sums);
}

static void require_root(Block *b, Node root) {
    Leaves l = leaves_of(b, root);
    for (uint32_t i = 0; i < l.fields.len; i++) block_require(b, l.fields.data[i]);
    for (uint32_t i = 0; i < l.scalars.len; i++) block_require(b, l.scalars.data[i]);
    for (uint32_t i = 0; i < l.rows.len; i++) block_require(b, l.rows.data[i]);
    if (b->reg[root] == NONE && root_totals(b, root) > TOTALS_CAP) {
        launch_totals(b, root);
    } else if (b->reg[root] == NONE) { /* else it joined one of those */
        Gang gang = {.roots = {root}, .count = 1, .totals = root_totals(b, root)};
        for (uint32_t i = 0; i < l.fields.len; i++) vec_push(&gang.reads, l.fields.data[i]);
        gang.flops = root_flops(b, root);
        gather(b, &gang);
        launch(b, &gang);
        vec_free(&gang.reads);
    }
    leaves_free(&l);
}

/* ---- functions ------------------------------------------------------------------------ */

static uint32_t host_func(Planner *p, FuncId id);

void block_start(Block *b, Planner *p, FuncId func, HFunc *host, HBlock *code) {
    *b = (Block){
        .planner = p, .f = graph_get(p->module, planner_flat(p, func)), .host = host, .code = code};
    uint32_t n = b->f->nodes.len;
    b->reg = ARENA_ARRAY(p->arena, HReg, n);
    memset(b->reg, 0xff, sizeof *b->reg * n);
    b->tuple = ARENA_ARRAY(p->arena, HReg *, n);
    b->needed = ARENA_ARRAY(p->arena, bool, n);
    b->stored = ARENA_ARRAY(p->arena, bool, n);
    b->uses = ARENA_ARRAY(p->arena, uint32_t, n);
    b->flops = ARENA_ARRAY(p->arena, double, n);
    b->value = ARENA_ARRAY(p->arena, KNode *, n);
    b->define = ARENA_ARRAY(p->arena, KNode *, n);
    b->tape = ARENA_ARRAY(p->arena, HLoop *, n);
    block_lower(b);
}

static void finish_effects(Block *b) {
    for (uint32_t i = 0; i < b->f->effects.len; i++) {
        const Effect *e = &b->f->effects.data[i];
        VEC(Node) values = {0};
        for (uint32_t k = 0; k < e->count; k++)
            if (e->values[k] != NODE_NONE) vec_push(&values, e->values[k]);
        HReg *args = block_regs(b, values.data, values.len);
        HInstr *h = block_emit(b, H_EFFECT);
        h->index = i;
        h->args = args;
        h->args_count = values.len;
        vec_free(&values);
    }
}

/* ---- calls and tasks ---------------------------------------------------------------------- */

bool block_result_needed(const Block *b, Node tuple, uint32_t index) {
    for (Node n = tuple + 1; n < b->f->nodes.len; n++) {
        const NodeData *d = graph_node(b->f, n);
        if (b->needed[n] && d->op == OP_RESULT && d->index == index &&
            b->f->operands.data[d->first] == tuple)
            return true;
    }
    return false;
}

static void require_call(Block *b, Node n) {
    const NodeData *d = graph_node(b->f, n);
    Plan *plan = b->planner->plan;
    const Node *operands = b->f->operands.data + d->first;
    uint32_t callee = host_func(b->planner, d->index);
    HReg *args = block_regs(b, operands, d->count);
    HFunc *f = plan->funcs.data[callee];
    HReg *results = ARENA_ARRAY(plan->arena, HReg, f->results.len + 1);
    for (uint32_t i = 0; i < f->results.len; i++)
        results[i] = block_reg(b, f->regs.data[f->results.data[i]].type);
    HInstr *h = block_emit(b, H_CALL);
    h->index = callee;
    h->args = args;
    h->args_count = d->count;
    h->dsts = results;
    h->dsts_count = f->results.len;
    b->tuple[n] = results;
}

static void require_task(Block *b, Node n) {
    NodeData d = *graph_node(b->f, n);
    HReg *args = block_regs(b, b->f->operands.data + d.first, d.count);
    HReg *results = ARENA_ARRAY(b->planner->plan->arena, HReg, d.count + 1);
    for (uint32_t i = 0; i < d.count; i++)
        results[i] = block_result_needed(b, n, i)
                         ? block_reg(b, graph_node(b->f, graph_operand(b->f, n, i))->type)
                         : NONE;
    HInstr *h = block_emit(b, H_TASK);
    h->index = d.index;
    h->span = d.span;
    h->args = args;
    h->args_count = d.count;
    h->dsts = results;
    h->dsts_count = d.count;
    b->tuple[n] = results;
}

/* ---- demand -------------------------------------------------------------------------------- */

static HReg simple(Block *b, Node n, HKind kind, uint32_t index) {
    HReg dst = block_reg(b, graph_node(b->f, n)->type);
    HInstr *h = block_emit(b, kind);
    h->dst = dst;
    h->index = index;
    h->span = graph_node(b->f, n)->span;
    return dst;
}

static HReg with_operands(Block *b, Node n, HKind kind) {
    const NodeData *d = graph_node(b->f, n);
    HReg *args = block_regs(b, b->f->operands.data + d->first, d->count);
    HReg dst = simple(b, n, kind, d->index);
    vec_last(&b->code->code).op = d->op;
    vec_last(&b->code->code).args = args;
    vec_last(&b->code->code).args_count = d->count;
    return dst;
}

static HReg require_conv(Block *b, Node n) {
    const NodeData *d = graph_node(b->f, n);
    Plan *plan = b->planner->plan;
    Node first = b->f->operands.data[d->first], second = b->f->operands.data[d->first + 1];
    Node u = d->op == OP_CONVT ? n : first;
    Node v = d->op == OP_CONV ? n : d->op == OP_CONVT ? first : second;
    HReg reg = with_operands(b, n, H_CONV);
    HInstr *h = &vec_last(&b->code->code);
    h->index = plan_add_conv(plan, &b->planner->module->convs.data[d->index]);
    h->detail = d->op == OP_CONV    ? CONV_FORWARD
                : d->op == OP_CONVT ? CONV_TRANSPOSED
                                    : CONV_WEIGHTS;
    h->grids = ARENA_ARRAY(plan->arena, GridId, 2);
    h->grids[0] = graph_node(b->f, u)->type.grid;
    h->grids[1] = graph_node(b->f, v)->type.grid;
    return reg;
}

static HReg require_tridiag(Block *b, Node n) {
    const NodeData *d = graph_node(b->f, n);
    HReg reg = with_operands(b, n, H_TRIDIAG);
    HInstr *h = &vec_last(&b->code->code);
    h->detail = d->detail;
    h->grids = arena_copy(b->planner->plan->arena, &d->type.grid, sizeof d->type.grid);
    return reg;
}

static HReg batch_mean(Block *b, Node n) {
    Plan *plan = b->planner->plan;
    Type t = graph_node(b->f, n)->type;
    HReg reg = with_operands(b, n, H_BATCH);
    uint32_t copy = 0;
    if (t.kind == TYPE_FIELD)
        copy =
            plan_add_kernel(plan, kernel_copying(plan->grid_rank[t.grid], t.channels, plan->arena));
    vec_last(&b->code->code).index = copy;
    return reg;
}

/* The value itself, after its check. */
static HReg checked(Block *b, Node n) {
    const NodeData *d = graph_node(b->f, n);
    const Node *operands = b->f->operands.data + d->first;
    HReg x = block_require(b, operands[0]), *args = block_regs(b, operands + 1, d->count - 1);
    HInstr *h = block_emit(b, H_CHECK);
    h->index = d->index;
    h->detail = d->detail;
    h->args = args;
    h->args_count = d->count - 1;
    return x;
}

/* The register that holds node n, after emitting what computes it. */
HReg block_require(Block *b, Node n) {
    const NodeData *d = graph_node(b->f, n);
    if (b->reg[n] != NONE) return b->reg[n];
    HReg reg = NONE;
    switch (d->op) {
    case OP_CONST:
        reg = simple(b, n, H_CONSTANT, plan_constant(b->planner->plan, d->number));
        break;
    case OP_INPUT: reg = simple(b, n, H_INPUT, d->index); break;
    case OP_CELLS: reg = simple(b, n, H_CELLS, d->index); break;
    case OP_NORMAL:
    case OP_UNIFORM:
        reg = with_operands(b, n, H_RANDOM);
        vec_last(&b->code->code).detail = d->op == OP_UNIFORM;
        break;
    case OP_CONV:
    case OP_CONVT:
    case OP_CONVW: reg = require_conv(b, n); break;
    case OP_TRIDIAG: reg = require_tridiag(b, n); break;
    case OP_CONVNORM:
    case OP_CONVNORMW: {
        Plan *plan = b->planner->plan;
        reg = with_operands(b, n, H_CONVNORM);
        vec_last(&b->code->code).index =
            plan_add_conv(plan, &b->planner->module->convs.data[d->index]);
        break;
    }
    case OP_FRAME: reg = with_operands(b, n, H_FRAME); break;
    case OP_ZEROSTACK: reg = with_operands(b, n, H_ZEROSTACK); break;
    case OP_SCATTER: reg = with_operands(b, n, H_SCATTER); break;
    case OP_FRAMES: reg = with_operands(b, n, H_FRAMES); break;
    case OP_ROW: reg = with_operands(b, n, H_ROW); break;
    case OP_ENTRY: reg = with_operands(b, n, H_ENTRY); break;
    case OP_BATCHMEAN: reg = batch_mean(b, n); break;
    case OP_CHECKED: reg = checked(b, n); break;
    case OP_RESULT: {
        Node tuple = b->f->operands.data[d->first];
        Op op = graph_node(b->f, tuple)->op;
        if (!b->tuple[tuple])
            (op == OP_LOOP   ? block_loop
             : op == OP_BACK ? block_back
             : op == OP_TASK ? require_task
                             : require_call)(b, tuple);
        reg = b->tuple[tuple][d->index];
        break;
    }
    default:
        if (d->type.kind == TYPE_SCALAR && op_info(d->op)->class == CLASS_POINTWISE) {
            reg = with_operands(b, n, H_OP);
            break;
        }
        require_root(b, n);
        return b->reg[n];
    }
    return b->reg[n] = reg;
}

/* The parameters of the `whole` program are its inputs. */
static void build_func(Planner *p, FuncId id, HFunc *f, bool whole) {
    Block b;
    block_start(&b, p, id, f, &f->body);
    for (uint32_t i = 0; i < b.f->params.len; i++) {
        Node param = b.f->params.data[i];
        if (whole) {
            if (b.needed[param]) b.reg[param] = simple(&b, param, H_INPUT, i);
            continue;
        }
        b.reg[param] = block_reg(&b, graph_node(b.f, param)->type);
        vec_push(&f->params, b.reg[param]);
    }
    finish_effects(&b);
    for (uint32_t i = 0; i < b.f->results.len; i++) {
        HReg r = block_require(&b, b.f->results.data[i]);
        vec_push(&f->results, r);
    }
    block_free(&b);
}

static uint32_t host_func(Planner *p, FuncId id) {
    uint32_t done;
    if (map_get(&p->hosts, id, &done)) return done;
    HFunc *f = ARENA_NEW(p->plan->arena, HFunc);
    build_func(p, id, f, false);
    vec_push(&p->plan->funcs, f);
    map_set(&p->hosts, id, p->plan->funcs.len - 1);
    return p->plan->funcs.len - 1;
}

/* ---- the whole ------------------------------------------------------------------------------ */

static void describe(Plan *plan, const Module *module, FuncId func) {
    plan->grids = module->grids.len;
    plan->grid_rank = ARENA_ARRAY(plan->arena, uint32_t, plan->grids);
    plan->finer = ARENA_ARRAY(plan->arena, GridId, plan->grids);
    for (GridId g = 1; g < plan->grids; g++) {
        plan->grid_rank[g] = module->grids.data[g].rank;
        plan->finer[g] = module->grids.data[g].finer;
    }
    for (GridId g = 1; g < plan->grids; g++) { /* grids that were made finer, not coarser */
        GridId coarse = module->grids.data[g].coarser;
        if (coarse != GRID_NONE && plan->finer[coarse] == GRID_NONE) plan->finer[coarse] = g;
    }
    const Func *f = graph_get(module, func);
    for (uint32_t i = 0; func == module->main && i < module->inputs.len; i++)
        vec_push(&plan->inputs, module->inputs.data[i].type);
    for (uint32_t i = 0; func != module->main && i < f->params.len; i++)
        vec_push(&plan->inputs, graph_node(f, f->params.data[i])->type);
}

Plan *plan_make(Module *module, const PlanOptions *options, Arena *arena) {
    Plan *plan = ARENA_NEW(arena, Plan);
    plan->arena = arena;
    plan->f64 = options && options->f64;
    plan->fma = options && options->fma;
    FuncId func = options && options->func ? options->func : module->main;
    describe(plan, module, func);
    Planner p = {.module = module, .plan = plan, .arena = arena_new()};
    HFunc *main = ARENA_NEW(arena, HFunc);
    vec_push(&plan->funcs, main);
    build_func(&p, func, main, true);
    arena_free(p.arena);
    map_free(&p.flat);
    map_free(&p.hosts);
    plan_trim(plan);
    plan_chains(plan);
    plan_relay(plan);
    plan_ahead(plan);
    plan_memory(plan);
    plan_smallest(plan);
    plan_seal(plan);
    plan_number(plan);
    return plan;
}
