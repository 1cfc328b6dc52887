/* Sources: parameters, inputs, coordinates, masks of edges, spread numbers, noise. */
#include "compiler/ops/rules.h"
#include "runtime/pdn.h"

#include <string.h>

bool shape_given(Module *m, FuncId f, Op op, const Node *operands, uint32_t count, uint32_t index,
                 uint32_t detail, Type *out, const char **why) {
    bool scalar = op == OP_CELLS;
    bool any = op == OP_PARAM || op == OP_INPUT || op == OP_NORMAL || op == OP_UNIFORM ||
               op == OP_BYCHANNEL;
    if (!any &&
        (scalar ? out->kind != TYPE_SCALAR : out->kind != TYPE_FIELD || out->channels != 1)) {
        *why = scalar ? "gives a number" : "gives a field of one channel";
        return false;
    }
    if ((out->kind == TYPE_FIELD) != (out->grid != GRID_NONE) && out->kind != TYPE_STACK) {
        *why = "a field needs a grid, a number has none";
        return false;
    }
    uint32_t rank = m->grids.data[out->grid].rank;
    if ((op == OP_COORD || op == OP_EDGE) && (index >= rank || (op == OP_EDGE && detail > 1))) {
        *why = "the grid has no such axis or side";
        return false;
    }
    if ((op == OP_CELLS && (index == GRID_NONE || index >= m->grids.len)) ||
        (op == OP_INPUT && index >= m->inputs.len)) {
        *why = "no such grid or input";
        return false;
    }
    if (op == OP_SPREAD && graph_node(graph_get(m, f), operands[0])->type.kind != TYPE_SCALAR) {
        *why = "only a number can be spread over a grid";
        return false;
    }
    for (uint32_t i = 0; (op == OP_NORMAL || op == OP_UNIFORM) && i < count; i++)
        if (graph_node(graph_get(m, f), operands[i])->type.kind != TYPE_SCALAR) {
            *why = "noise depends on the numbers of steps alone";
            return false;
        }
    if (op == OP_BYCHANNEL && !row_fits(m, f, operands[0], *out)) {
        *why = "a number for each channel is needed: a row of as many as the field has channels";
        return false;
    }
    return true;
}

void eval_const(Evaluator *e, FuncId f, Node n, const Array *const *operands, Array *out) {
    out->data[0] = graph_node(graph_get(e->module, f), n)->number;
}

/* Parameters and inputs are borrowed, not copied: the interpreter does not free them. */
void eval_param(Evaluator *e, FuncId f, Node n, const Array *const *operands, Array *out) {
    *out = e->args[graph_node(graph_get(e->module, f), n)->index];
}

void eval_input(Evaluator *e, FuncId f, Node n, const Array *const *operands, Array *out) {
    if (!e->options->inputs)
        e->status = EVAL_INPUT;
    else
        *out = e->options->inputs[graph_node(graph_get(e->module, f), n)->index];
}

/* value(cell number along `axis`) over the whole grid */
static void fill_axis(Evaluator *e, Array *out, uint32_t axis,
                      double (*value)(const void *, int64_t), const void *context) {
    int64_t extent[MAX_RANK], i = 0, at[MAX_RANK];
    eval_extents(e, out->type.grid, extent);
    for (at[2] = 0; at[2] < extent[2]; at[2]++)
        for (at[1] = 0; at[1] < extent[1]; at[1]++)
            for (at[0] = 0; at[0] < extent[0]; at[0]++) out->data[i++] = value(context, at[axis]);
}

typedef struct {
    double origin, spacing;
} AxisLine;

static double coordinate(const void *context, int64_t i) {
    const AxisLine *line = context;
    return line->origin + ((double)i + 0.5) * line->spacing;
}

void eval_coord(Evaluator *e, FuncId f, Node n, const Array *const *operands, Array *out) {
    uint32_t axis = graph_node(graph_get(e->module, f), n)->index;
    const Grid *grid = &e->module->grids.data[out->type.grid];
    fill_axis(e, out, axis, coordinate, &(AxisLine){grid->origin[axis], grid->spacing[axis]});
}

static double is_at(const void *context, int64_t i) { return *(const int64_t *)context == i; }

void eval_edge(Evaluator *e, FuncId f, Node n, const Array *const *operands, Array *out) {
    const NodeData *d = graph_node(graph_get(e->module, f), n);
    int64_t extent[MAX_RANK];
    eval_extents(e, out->type.grid, extent);
    int64_t edge = d->detail ? extent[d->index] - 1 : 0;
    fill_axis(e, out, d->index, is_at, &edge);
}

void eval_cells(Evaluator *e, FuncId f, Node n, const Array *const *operands, Array *out) {
    int64_t extent[MAX_RANK];
    out->data[0] = (double)eval_extents(e, graph_node(graph_get(e->module, f), n)->index, extent);
}

void eval_spread(Evaluator *e, FuncId f, Node n, const Array *const *operands, Array *out) {
    for (int64_t i = 0; i < out->size; i++) out->data[i] = operands[0]->data[0];
}

Node deriv_spread(Module *m, FuncId f, Node n, uint32_t i, Node w) {
    return graph_unary(m, f, OP_SUM, w, graph_node(graph_get(m, f), n)->span);
}

void eval_random(Evaluator *e, FuncId f, Node n, const Array *const *operands, Array *out) {
    const NodeData *d = graph_node(graph_get(e->module, f), n);
    double *steps = mem_alloc(sizeof *steps * (d->count + 1));
    for (uint32_t i = 0; i < d->count; i++) steps[i] = operands[i]->data[0];
    uint64_t stream = pdn_stream(d->index, steps, d->count);
    mem_free(steps);
    pdn_random(PDN_F64, d->op == OP_UNIFORM, e->options->seed, stream, out->data, out->size);
}
