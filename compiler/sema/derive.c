/* Derivatives and stencils: from words of the language to STENCIL nodes with the sides of their field. */
#include "compiler/sema/value.h"

#include <string.h>

/* ---- weights ---------------------------------------------------------------------- */

/* B. Fornberg, Generation of finite difference formulas on arbitrarily spaced grids, Math. Comp. 51 (1988). */
static void fornberg(const double *x, int n, int order,
                     double weights[][2 * DERIVATIVE_REACH_LIMIT + 1]) {
    double c1 = 1, c4 = x[0];
    weights[0][0] = 1;
    for (int i = 1; i < n; i++) {
        int top = i < order ? i : order;
        double c2 = 1, c5 = c4;
        c4 = x[i];
        for (int j = 0; j < i; j++) {
            double c3 = x[i] - x[j];
            c2 *= c3;
            if (j == i - 1) {
                for (int k = top; k >= 1; k--)
                    weights[k][i] = c1 * (k * weights[k - 1][i - 1] - c5 * weights[k][i - 1]) / c2;
                weights[0][i] = -c1 * c5 * weights[0][i - 1] / c2;
            }
            for (int k = top; k >= 1; k--)
                weights[k][j] = (c4 * weights[k][j] - k * weights[k - 1][j]) / c3;
            weights[0][j] = c4 * weights[0][j] / c3;
        }
        c1 = c2;
    }
}

int derivative_weights(int order, int accuracy, double *out) {
    int reach = (order - 1) / 2 + accuracy / 2, n = 2 * reach + 1;
    double x[2 * DERIVATIVE_REACH_LIMIT + 1];
    double w[2 * DERIVATIVE_REACH_LIMIT + 1][2 * DERIVATIVE_REACH_LIMIT + 1];
    memset(w, 0, sizeof w);
    /* nodes from the centre outwards: the recursion then loses least */
    x[0] = 0;
    for (int k = 1; k <= reach; k++) x[2 * k - 1] = k, x[2 * k] = -k;
    fornberg(x, n, order, w);
    double sum = 0;
    for (int k = 1; k <= reach; k++) {
        double high = w[order][2 * k - 1], low = w[order][2 * k];
        double mean = order % 2 ? (high - low) / 2 : (high + low) / 2; /* exact (anti)symmetry */
        out[reach + k] = mean;
        out[reach - k] = order % 2 ? -mean : mean;
        sum += order % 2 ? 0 : 2 * mean;
    }
    out[reach] = -sum;
    return reach;
}

/* ---- sides ---------------------------------------------------------------------------- */

const Boundary *boundary_derived(Elab *e, const Boundary *b, const bool odd[MAX_RANK]) {
    if (!b) return NULL;
    Boundary *d = ARENA_NEW(e->arena, Boundary);
    *d = *b;
    memset(d->value, 0, sizeof d->value);
    d->gradient = false;
    for (int a = 0; a < MAX_RANK; a++)
        for (int s = 0; s < 2; s++) {
            SideKind k = b->kind[a][s];
            if (k == SIDE_SLOPE) k = SIDE_EVEN;
            if (odd[a] && k == SIDE_EVEN)
                k = SIDE_ODD;
            else if (odd[a] && k == SIDE_ODD)
                k = SIDE_EVEN;
            d->kind[a][s] = k;
        }
    return d;
}

static void boundary_unknown(Elab *e, const Boundary *b, Span span) {
    Diagnostic *d = report(e, BOUNDARY_CLASH, span);
    if (b->reason) diag_label_primary(d, "%s", b->reason);
    for (int i = 0; i < 2; i++) {
        const Value *v = i ? b->right : b->left;
        const Boundary *of = v && v->kind == VALUE_NODE ? v->node.boundary : NULL;
        if (of && of->span.file)
            diag_note(d, of->span, "%s boundary is stated here", i ? "another" : "one");
    }
    diag_help(d, "give the expression a name and a boundary: let w = …, then boundary w = …");
}

static bool check_extent(Elab *e, GridId grid, const Stencil *s, Span span) {
    const Grid *g = &e->module->grids.data[grid];
    for (uint32_t i = 0; i < s->count; i++)
        for (uint32_t a = 0; a < s->rank; a++) {
            int64_t reach = s->taps[i].offset[a] < 0 ? -s->taps[i].offset[a] : s->taps[i].offset[a];
            if (g->extent[a] >= 0 && g->extent[a] < reach) {
                Diagnostic *d = report(e, GRID_TOO_SMALL, span, (long long)g->extent[a], "xyz"[a],
                                       (long long)reach);
                diag_help(d, "use a finer grid or a lower accuracy");
                return false;
            }
        }
    return true;
}

static bool reaches(const Stencil *s, uint32_t axis, int side) {
    for (uint32_t i = 0; i < s->count; i++)
        if (side ? s->taps[i].offset[axis] > 0 : s->taps[i].offset[axis] < 0) return true;
    return false;
}

/* The STENCIL node; `s` has rank, channels and taps, the sides come from `b`. Nodes of another `variant` are others. */
static Node stencil_variant(Elab *e, Node u, Stencil s, const Boundary *b, uint32_t variant,
                            Span span) {
    Node operands[1 + 2 * MAX_RANK] = {u};
    uint32_t count = 1;
    for (uint32_t a = 0; a < s.rank; a++)
        for (int k = 0; k < 2; k++) {
            s.sides[a][k] = b ? b->kind[a][k] : SIDE_EVEN;
            s.has_value[a][k] = b && b->value[a][k] && reaches(&s, a, k) && !s.transposed;
            if (s.has_value[a][k]) operands[count++] = b->value[a][k];
        }
    StencilId id = graph_stencil(e->module, &s);
    return graph_add(e->module, e->frame->func, OP_STENCIL, operands, count, id, variant, span);
}

static Node stencil_node(Elab *e, Node u, Stencil s, const Boundary *b, Span span) {
    return stencil_variant(e, u, s, b, 0, span);
}

/* ---- application --------------------------------------------------------------------------- */

static bool derivable(Elab *e, const Value *u, Span span) {
    if (u->kind == VALUE_ERROR) return false;
    if (value_is_field(e, u)) return true;
    Diagnostic *d = report(e, NOT_A_FIELD, span, value_describe(e, u));
    if (u->span.file) diag_label(d, report_span(e, u->span), "this is %s", value_describe(e, u));
    diag_help(d, "derivatives and stencils act on fields; a constant as a field is ones(u) * c");
    return false;
}

const Value *take_apart(Elab *e, const Value *u, OneDerivative *one, const void *what, Span span) {
    if (u->kind == VALUE_LIST) {
        const Value **items = ARENA_ARRAY(e->arena, const Value *, u->list.count);
        for (uint32_t i = 0; i < u->list.count; i++)
            items[i] = take_apart(e, u->list.items[i], one, what, span);
        return value_list(e, items, u->list.count, span);
    }
    if (!derivable(e, u, span)) return value_error(e);
    if (value_type(e, u).channels > CHANNELS_LIMIT) {
        report(e, TOO_MANY_CHANNELS, span, value_type(e, u).channels, CHANNELS_LIMIT);
        return value_error(e);
    }
    const Boundary *b = u->node.boundary;
    if (b && (b->left || b->reason)) {
        if (b->clash == OP_NONE || !b->right || !value_is_field(e, b->left) ||
            !value_is_field(e, b->right)) {
            boundary_unknown(e, b, span);
            return value_error(e);
        }
        const Value *left = take_apart(e, b->left, one, what, span);
        const Value *right = take_apart(e, b->right, one, what, span);
        return eval_binary(e, b->clash == OP_ADD ? AST_ADD : AST_SUB, left, right, span);
    }
    return one(e, u, what, span);
}

typedef struct {
    const Stencil *stencil;
    const bool *odd;
} StencilUse;

static const Value *stencil_one(Elab *e, const Value *u, const void *what, Span span) {
    const StencilUse *use = what;
    Type t = value_type(e, u);
    Stencil s = *use->stencil;
    uint32_t rank = e->module->grids.data[t.grid].rank;
    if (s.rank > rank) {
        report(e, STENCIL_RANK, span, s.rank, rank);
        return value_error(e);
    }
    s.rank = rank;
    if (!check_extent(e, t.grid, &s, span)) return value_error(e);
    Tap *taps = ARENA_ARRAY(e->arena, Tap, s.count * t.channels);
    for (uint32_t c = 0; c < t.channels; c++)
        for (uint32_t i = 0; i < s.count; i++) {
            taps[c * s.count + i] = s.taps[i];
            taps[c * s.count + i].from = taps[c * s.count + i].to = c;
        }
    s.taps = taps;
    s.count *= t.channels;
    s.in_channels = s.out_channels = t.channels;
    const Boundary *b = value_boundary(e, u);
    Node n = stencil_node(e, value_to_node(e, u), s, b, span);
    return value_node(e, n, boundary_derived(e, b, use->odd), span);
}

const Value *derive_stencil(Elab *e, const Value *u, const Stencil *stencil, bool odd[MAX_RANK],
                            Span span) {
    StencilUse use = {stencil, odd};
    return take_apart(e, u, stencil_one, &use, span);
}

typedef struct {
    int axis, order, accuracy;
} AxisUse;

static const Value *axis_one(Elab *e, const Value *u, const void *what, Span span) {
    const AxisUse *use = what;
    const Grid *g = &e->module->grids.data[value_type(e, u).grid];
    if (use->axis >= (int)g->rank) {
        report(e, NO_SUCH_AXIS, span, "xyz"[use->axis], g -> rank);
        return value_error(e);
    }
    double weights[2 * DERIVATIVE_REACH_LIMIT + 1];
    int reach = derivative_weights(use->order, use->accuracy, weights);
    double scale = 1;
    for (int i = 0; i < use->order; i++) scale *= g->spacing[use->axis];
    Tap taps[2 * DERIVATIVE_REACH_LIMIT + 1];
    Stencil s = {.rank = g->rank, .taps = taps};
    for (int k = -reach; k <= reach; k++) {
        if (weights[k + reach] == 0) continue;
        Tap tap = {.weight = weights[k + reach] / scale};
        tap.offset[use->axis] = k;
        taps[s.count++] = tap;
    }
    bool odd[MAX_RANK] = {false, false, false};
    odd[use->axis] = use->order % 2;
    StencilUse stencil = {&s, odd};
    return stencil_one(e, u, &stencil, span);
}

const Value *derive_axis(Elab *e, const Value *u, int axis, int order, int accuracy, Span span) {
    AxisUse use = {axis, order, accuracy};
    return take_apart(e, u, axis_one, &use, span);
}

/* ---- grad and div --------------------------------------------------------------------------------- */

/* Differences across the faces on the high (step 1) or low (step -1) side of the cells; those of channel c
 * along axis a are channel c rank + a. */
static Stencil face_differences(Elab *e, const Grid *g, uint32_t channels, int step) {
    Stencil s = {.rank = g->rank, .in_channels = channels, .out_channels = channels * g->rank};
    s.taps = ARENA_ARRAY(e->arena, Tap, 2 * s.out_channels);
    for (uint32_t c = 0; c < channels; c++)
        for (uint32_t a = 0; a < g->rank; a++) {
            Tap here = {.from = c, .to = c * g->rank + a, .weight = -step / g->spacing[a]},
                there = here;
            there.weight = -here.weight;
            there.offset[a] = step;
            s.taps[s.count++] = here;
            s.taps[s.count++] = there;
        }
    return s;
}

static bool has_low_values(const Boundary *b, uint32_t rank) {
    for (uint32_t a = 0; b && a < rank; a++)
        if (b->kind[a][0] != SIDE_EVEN && b->kind[a][0] != SIDE_PERIODIC) return true;
    return false;
}

static Node low_gradient(const Elab *e, Node high) {
    for (uint32_t i = 0; i < e->gradients.len; i++)
        if (e->gradients.data[i].func == e->frame->func && e->gradients.data[i].high == high)
            return e->gradients.data[i].low;
    return NODE_NONE;
}

/* The differences across the high faces, which know those across the low ones: of a field with two boundaries that differ in
 * a value of a low side, these would be one node, and are made two. */
static Node high_gradient(Elab *e, Node u, Stencil s, const Boundary *b, Node low, Span span) {
    for (uint32_t variant = 0;; variant++) {
        Node high = stencil_variant(e, u, s, b, variant, span), known = low_gradient(e, high);
        if (known == low) return high;
        if (known) continue;
        GradientFace faces = {e->frame->func, high, low};
        vec_push(&e->gradients, faces);
        return high;
    }
}

static const Value *grad_one(Elab *e, const Value *u, const void *what, Span span) {
    (void)what;
    Type t = value_type(e, u);
    const Grid *g = &e->module->grids.data[t.grid];
    const Boundary *b = value_boundary(e, u);
    Stencil s = face_differences(e, g, t.channels, 1);
    if (!check_extent(e, t.grid, &s, span)) return value_error(e);
    Node node = value_to_node(e, u), high;
    if (has_low_values(b, g->rank)) {
        Stencil back = face_differences(e, g, t.channels, -1);
        high = high_gradient(e, node, s, b, stencil_node(e, node, back, b, span), span);
    } else {
        high = stencil_node(e, node, s, b, span);
    }
    Boundary *kept = NULL;
    if (b) {
        kept = ARENA_NEW(e->arena, Boundary);
        *kept = *b;
        memset(kept->value, 0, sizeof kept->value);
        kept->gradient = true;
    }
    return value_node(e, high, kept, span);
}

const Value *derive_grad(Elab *e, const Value *u, Span span) {
    return take_apart(e, u, grad_one, NULL, span);
}

/* w with its gradients taken across the low faces; what multiplies them is left as it is in the cell. */
static Node with_low_faces(Elab *e, Node n, Map *done, bool *found) {
    FuncId func = e->frame->func;
    Node low = low_gradient(e, n);
    uint32_t known;
    if (low) {
        *found = true;
        return low;
    }
    if (map_get(done, n, &known)) return known;
    NodeData d = *graph_node(graph_get(e->module, func), n);
    Node made = n;
    if (d.count &&
        (op_info(d.op)->class == CLASS_POINTWISE || d.op == OP_CHANNEL || d.op == OP_CONCAT)) {
        Node *operands = ARENA_ARRAY(e->arena, Node, d.count);
        for (uint32_t i = 0; i < d.count; i++)
            operands[i] =
                with_low_faces(e, graph_operand(graph_get(e->module, func), n, i), done, found);
        made = graph_add(e->module, func, d.op, operands, d.count, d.index, d.detail, d.span);
    }
    map_set(done, n, made);
    return made;
}

/* The flux through the faces of the low sides, channel by axis, as a field read in the cells there. */
static bool low_fluxes(Elab *e, const Value *w, const Boundary *b, Node *flux, Span span) {
    if (!b->gradient) {
        *flux = NODE_NONE; /* the values stated for w itself */
        return true;
    }
    Map done = {0};
    bool found = false;
    *flux = with_low_faces(e, value_to_node(e, w), &done, &found);
    map_free(&done);
    if (!found) {
        Diagnostic *d = report(e, GRADIENT_ELSEWHERE, span);
        diag_help(d, "take the gradient where its divergence is taken, inside the same recurrence");
    }
    return found;
}

/* Of a field of gradients, the differences along one axis, of every channel of what was differentiated. */
static Node take_axis(Elab *e, Node n, uint32_t axis, uint32_t rank, Span span) {
    FuncId func = e->frame->func;
    Type t = graph_node(graph_get(e->module, func), n)->type;
    if (t.kind != TYPE_FIELD || t.channels == 1) return n;
    uint32_t channels = t.channels / rank;
    Node *parts = ARENA_ARRAY(e->arena, Node, channels);
    for (uint32_t c = 0; c < channels; c++)
        parts[c] = graph_add(e->module, func, OP_CHANNEL, &n, 1, c * rank + axis, 0, span);
    return channels == 1 ? parts[0]
                         : graph_add(e->module, func, OP_CONCAT, parts, channels, 0, 0, span);
}

static const Value *div_one(Elab *e, const Value *w, const void *what, Span span) {
    (void)what;
    FuncId func = e->frame->func;
    Type t = value_type(e, w);
    const Grid *g = &e->module->grids.data[t.grid];
    if (t.channels % g->rank) {
        report(e, DIV_CHANNELS, span, g->rank, t.channels);
        return value_error(e);
    }
    const Boundary *b = value_boundary(e, w);
    Boundary faces = {0};
    for (uint32_t a = 0; a < MAX_RANK; a++)
        for (int s = 0; s < 2; s++) {
            SideKind k = b ? b->kind[a][s] : SIDE_EVEN;
            faces.kind[a][s] = k == SIDE_EVEN || k == SIDE_PERIODIC ? k : SIDE_GHOST;
        }
    Stencil s = face_differences(e, g, t.channels / g->rank, 1);
    s.transposed = true;
    if (!check_extent(e, t.grid, &s, span)) return value_error(e);
    Node n = graph_unary(e->module, func, OP_NEG,
                         stencil_node(e, value_to_node(e, w), s, &faces, span), span);
    Node flux = NODE_NONE;
    if (has_low_values(b, g->rank) && !low_fluxes(e, w, b, &flux, span)) return value_error(e);
    for (uint32_t a = 0; b && a < g->rank; a++) {
        if (faces.kind[a][0] != SIDE_GHOST) continue;
        Node at = flux ? flux : b->value[a][0];
        if (!at) continue;
        Node edge =
            graph_add_typed(e->module, func, OP_EDGE, type_field(t.grid, 1), NULL, 0, a, 0, span);
        Node in = graph_binary(e->module, func, OP_DIV, take_axis(e, at, a, g->rank, span),
                               graph_const(e->module, func, g->spacing[a]), span);
        Node there[3] = {edge, in, graph_const(e->module, func, 0)};
        Node term = graph_add(e->module, func, OP_WHERE, there, 3, 0, 0, span);
        n = graph_binary(e->module, func, OP_SUB, n, term, span);
    }
    bool odd[MAX_RANK] = {false, false, false};
    const Boundary *out = b && b->gradient ? boundary_derived(e, b, odd) : NULL;
    return value_node(e, n, out, span);
}

const Value *derive_div(Elab *e, const Value *w, Span span) {
    return take_apart(e, w, div_one, NULL, span);
}

/* ---- laplacian -------------------------------------------------------------------------------------- */

static const Value *laplacian_one(Elab *e, const Value *u, const void *what, Span span) {
    int accuracy = *(const int *)what;
    Type t = value_type(e, u);
    uint32_t rank = e->module->grids.data[t.grid].rank;
    if (accuracy == 2) return derive_div(e, grad_one(e, u, NULL, span), span);
    const Value *sum = NULL;
    for (uint32_t a = 0; a < rank; a++) {
        const Value *term = derive_axis(e, u, (int)a, 2, accuracy, span);
        sum = sum ? eval_binary(e, AST_ADD, sum, term, span) : term;
    }
    return sum;
}

const Value *derive_laplacian(Elab *e, const Value *u, int accuracy, Span span) {
    return take_apart(e, u, laplacian_one, &accuracy, span);
}
