/* What a vector leaves to the next of its row, and a row to the next.
 *
 * Dear values that a cell and its left neighbour both need are carried along rows in a register; those that a cell and the
 * one below both need, such as fluxes, stay in a buffer of a row (two of them take turns), so that each is computed once. Rows whose row
 * before was not computed just now compute what that would have left (`carry_from_row_before`). */
#include "compiler/llvm/emit_kernel.h"

enum {
    MOST_CARRIES = 8,
    LEAST_FLOPS = 10, /* as dear as a shuffle, or a store and a load */
    STRIP =
        2048,  /* columns, so that the buffers fit into a stack and stay in the first-level cache */
    SLACK = 4, /* vectors that a strip may be longer */
};

typedef struct {
    KE *ke;
    Map seen;        /* what is evaluated, and where */
    bool cut, below; /* stop at what is carried along rows, to the next row */
} Survey;

static uint64_t place_key(KNode id, const int32_t *at) {
    return (uint64_t)id << 24 | (uint64_t)(at[0] + 128) << 16 | (uint64_t)(at[1] + 128) << 8 |
           (uint64_t)(at[2] + 128);
}

/* Is the node worth it, and needed at that place, too? */
static bool worth_carrying(const Survey *s, KNode id, const int32_t *there) {
    uint32_t ignored;
    const KNodes *nodes = &s->ke->k->nodes;
    if (nodes->data[id].kind != K_OP || !map_get(&s->seen, place_key(id, there), &ignored))
        return false;
    return kernel_count(nodes, &id, 1, s->ke->k->rank, 256).flops >= LEAST_FLOPS;
}

static const Carry *find(const Carries *carries, KNode id, const int32_t *at) {
    for (uint32_t i = 0; i < carries->len; i++) {
        const Carry *c = &carries->data[i];
        if (c->id == id && c->at[0] == at[0] && c->at[1] == at[1] && c->at[2] == at[2]) return c;
    }
    return NULL;
}

/* Carried from that place; false: not. */
static bool carry(Carries *carries, uint32_t most, KNode id, const int32_t *there) {
    if (find(carries, id, there)) return true;
    if (carries->len >= most) return false;
    vec_push(carries, ((Carry){.id = id, .at = {there[0], there[1], there[2]}}));
    return true;
}

static void survey(Survey *s, Map *visited, KNode id, const int32_t *at) {
    const KNodeData *n = &s->ke->k->nodes.data[id];
    uint32_t ignored;
    if (visited->len > 4096 || map_get(visited, place_key(id, at), &ignored)) return;
    map_set(visited, place_key(id, at), 1);
    int32_t right[MAX_RANK] = {at[0] + 1, at[1], at[2]},
            next_row[MAX_RANK] = {at[0], at[1] + 1, at[2]};
    /* from the left: there in the row's first vector */
    if (s->cut && at[0] >= -1 && worth_carrying(s, id, right) &&
        carry(&s->ke->carries, MOST_CARRIES, id, right))
        return;
    if (s->below && worth_carrying(s, id, next_row) &&
        carry(&s->ke->row_carries, MOST_ROW_CARRIES, id, next_row))
        return;
    int32_t next[MAX_RANK] = {at[0], at[1], at[2]};
    if (n->kind == K_SHIFT || n->kind == K_UNSHIFT)
        for (uint32_t a = 0; a < s->ke->k->rank; a++)
            next[a] += n->kind == K_SHIFT ? n->offset[a] : -n->offset[a];
    for (uint32_t i = 0; i < kernel_operands(n); i++) survey(s, visited, n->operand[i], next);
}

static void survey_all(Survey *s, Map *visited) {
    const Kernel *k = s->ke->k;
    const int32_t here[MAX_RANK] = {0};
    for (uint32_t i = 0; i < k->outputs.len; i++) survey(s, visited, k->outputs.data[i].node, here);
    for (uint32_t i = 0; i < k->reductions.len; i++)
        for (uint32_t c = 0; c < k->reductions.data[i].count; c++)
            survey(s, visited, k->reductions.data[i].nodes[c], here);
}

static uint32_t row_numbers(const KE *ke) { return STRIP + (SLACK + 1) * ke->e->lanes; }

/* Of few rows, the first would cost what the others save. Totals of a row are those of its strips, so where there are totals there are no strips; copies would need buffers each. */
static bool may_carry_rows(const KE *ke) {
    return ke->many_rows && ke->k->rank > 1 && ke->k->low[1] > 0 && !ke->k->reductions.len &&
           ke->part->count == 1;
}

void carry_find(KE *ke) {
    Survey s = {.ke = ke};
    Map again = {0}, rows = {0};
    ke->carries.len = ke->row_carries.len = 0;
    survey_all(&s, &s.seen);
    if ((s.cut = ke->ends_done)) survey_all(&s, &again);
    if ((s.below = may_carry_rows(ke))) survey_all(&s, &rows);
    for (uint32_t i = 0; i < ke->carries.len; i++)
        ke->carries.data[i].variable =
            emit_variable(ke->e, LLVMVectorType(ke->e->real, ke->e->lanes), "before");
    for (uint32_t i = 0; i < ke->row_carries.len; i++) {
        LLVMTypeRef two = LLVMArrayType2(ke->e->real, 2 * row_numbers(ke));
        if (!ke->row_buffer[i]) ke->row_buffer[i] = emit_variable(ke->e, two, "row");
        ke->row_carries.data[i].variable = ke->row_buffer[i];
    }
    if (ke->row_carries.len) {
        ke->turn = emit_variable(ke->e, ke->e->i64, "turn");
        ke->row_before = emit_variable(ke->e, ke->e->i64, "row_before");
        LLVMBuildStore(ke->e->b, emit_i64(ke->e, 0), ke->turn);
    }
    map_free(&s.seen);
    map_free(&again);
    map_free(&rows);
}

/* ---- along rows ------------------------------------------------------------------------------ */

static void leave(KE *ke, const Carry *c, int32_t dx, int32_t dy, LLVMValueRef to) {
    uint32_t there[MAX_RANK];
    int32_t by[MAX_RANK] = {dx, dy, 0};
    for (uint32_t a = 0; a < MAX_RANK; a++) there[a] = ke_fixed(ke, a, c->at[a] + by[a]);
    LLVMSetAlignment(LLVMBuildStore(ke->e->b, ke_eval(ke, c->id, there), to), ke->e->size);
}

/* Where it is carried from if it is, with offsets from the cell; the place that it is wanted at moves by (dx, dy). */
static const Carry *carried(KE *ke, const Carries *carries, KNode id, const uint32_t *at,
                            int32_t dx, int32_t dy, uint32_t *there) {
    int32_t from[MAX_RANK];
    for (uint32_t a = 0; a < MAX_RANK; a++) from[a] = ke->axes[a].data[at[a]].offset;
    from[0] += dx;
    from[1] += dy;
    const Carry *c = find(carries, id, from);
    for (uint32_t a = 0; c && a < MAX_RANK; a++) there[a] = ke_fixed(ke, a, from[a]);
    return c;
}

/* The value as lanes of its neighbour to the right, here and in the vector before; NULL: not carried. */
static LLVMValueRef from_left(KE *ke, KNode id, const uint32_t *at) {
    Emit *e = ke->e;
    uint32_t there[MAX_RANK];
    const Carry *c = carried(ke, &ke->carries, id, at, 1, 0, there);
    if (!c) return NULL;
    LLVMValueRef now = ke_eval(ke, id, there),
                 before = LLVMBuildLoad2(e->b, LLVMTypeOf(now), c->variable, "before"), mask[64];
    LLVMSetAlignment(before, e->size);
    for (uint32_t l = 0; l < e->lanes; l++) mask[l] = LLVMConstInt(e->i32, e->lanes - 1 + l, false);
    return LLVMBuildShuffleVector(e->b, before, now, LLVMConstVector(mask, e->lanes), "");
}

/* Address in the buffer of this row, or of the one before. */
static LLVMValueRef in_buffer(KE *ke, const Carry *c, bool before) {
    Emit *e = ke->e;
    LLVMValueRef turn = LLVMBuildLoad2(e->b, e->i64, ke->turn, "");
    if (before) turn = LLVMBuildSub(e->b, emit_i64(e, row_numbers(ke)), turn, "");
    LLVMValueRef x = LLVMBuildNSWSub(e->b, ke->cell[0], ke->strip, "");
    return ke_gep(ke, c->variable, LLVMBuildNSWAdd(e->b, turn, x, ""));
}

static LLVMValueRef from_row_before(KE *ke, KNode id, const uint32_t *at) {
    uint32_t there[MAX_RANK];
    const Carry *c = carried(ke, &ke->row_carries, id, at, 0, 1, there);
    if (!c) return NULL;
    LLVMTypeRef t = LLVMVectorType(ke->e->real, ke->e->lanes);
    LLVMValueRef v = LLVMBuildLoad2(ke->e->b, t, in_buffer(ke, c, true), "row");
    LLVMSetAlignment(v, ke->e->size);
    return v;
}

LLVMValueRef carry_value(KE *ke, KNode id, const uint32_t *at) {
    if (!ke->vector || !ke->inner || ke->ends != X_INSIDE) return NULL;
    LLVMValueRef v = ke->carrying ? from_left(ke, id, at) : NULL;
    return v || !ke->carrying_rows ? v : from_row_before(ke, id, at);
}

void carry_leave(KE *ke) {
    for (uint32_t i = 0; i < ke->carries.len && ke->carrying; i++)
        leave(ke, &ke->carries.data[i], 0, 0, ke->carries.data[i].variable);
    for (uint32_t i = 0; i < ke->row_carries.len && ke->carrying_rows && ke->ends == X_INSIDE; i++)
        leave(ke, &ke->row_carries.data[i], 0, 0, in_buffer(ke, &ke->row_carries.data[i], false));
}

void carry_from_left(KE *ke, LLVMValueRef x, LLVMValueRef y, LLVMValueRef z) {
    bool rows = ke->carrying_rows;
    ke_place(ke, true, true, LLVMBuildNSWSub(ke->e->b, x, emit_i64(ke->e, ke->e->lanes), ""), y, z);
    ke->carrying_rows = false; /* the buffers begin at x */
    for (uint32_t i = 0; i < ke->carries.len; i++)
        leave(ke, &ke->carries.data[i], 0, 0, ke->carries.data[i].variable);
    ke->carrying_rows = rows;
}

/* ---- from row to row ---------------------------------------------------------------------------- */

void carry_from_row_before(KE *ke, LLVMValueRef from, LLVMValueRef to, LLVMValueRef y,
                           LLVMValueRef z, LLVMValueRef row) {
    Emit *e = ke->e;
    Counting c;
    LLVMBasicBlockRef missing = emit_block(e, "missing"), there = emit_block(e, "there");
    LLVMValueRef lanes = emit_i64(e, e->lanes), last = LLVMBuildNSWSub(e->b, to, lanes, "");
    LLVMValueRef before = LLVMBuildLoad2(e->b, e->i64, ke->row_before, "");
    LLVMBuildCondBr(e->b, LLVMBuildICmp(e->b, LLVMIntEQ, before, row, ""), there, missing);
    LLVMPositionBuilderAtEnd(e->b, missing);
    /* from the first cell on that does not read beyond the side, which may be before the field */
    if (ke->ends_done) {
        LLVMValueRef begins = LLVMBuildICmp(e->b, LLVMIntEQ, from, emit_i64(e, 0), "");
        from = LLVMBuildSelect(e->b, begins, emit_i64(e, ke->k->low[0]), from, "");
    }
    LLVMValueRef x = emit_loop_begin(e, &c, from, to, lanes, "x");
    ke_place(ke, true, true, emit_min(e, x, last), y, z);
    for (uint32_t i = 0; i < ke->row_carries.len; i++)
        leave(ke, &ke->row_carries.data[i], 0, -1, in_buffer(ke, &ke->row_carries.data[i], true));
    emit_loop_end(e, &c);
    LLVMBuildBr(e->b, there);
    LLVMPositionBuilderAtEnd(e->b, there);
}

void carry_row_done(KE *ke, LLVMValueRef row) {
    Emit *e = ke->e;
    LLVMValueRef turn = LLVMBuildLoad2(e->b, e->i64, ke->turn, "");
    LLVMBuildStore(e->b, LLVMBuildSub(e->b, emit_i64(e, row_numbers(ke)), turn, ""), ke->turn);
    LLVMBuildStore(e->b, ke_add(ke, row, 1), ke->row_before);
}

LLVMValueRef carry_strip_begin(KE *ke, Counting *strips, LLVMValueRef *from, LLVMValueRef to) {
    Emit *e = ke->e;
    if (!ke->row_carries.len) return to;
    *from = ke->strip = emit_loop_begin(e, strips, *from, to, emit_i64(e, STRIP), "strip");
    LLVMBuildStore(e->b, emit_i64(e, -1), ke->row_before);
    LLVMValueRef end = ke_add(ke, *from, STRIP);
    LLVMValueRef rest =
        LLVMBuildICmp(e->b, LLVMIntSGT, ke_add(ke, end, SLACK * (int64_t)e->lanes), to, "");
    end = LLVMBuildSelect(e->b, rest, to, end, "");
    LLVMBuildStore(e->b, LLVMBuildSelect(e->b, rest, ke_add(ke, to, -STRIP), *from, ""),
                   strips->variable);
    return end;
}

void carry_strip_end(KE *ke, Counting *strips) {
    if (ke->row_carries.len) emit_loop_end(ke->e, strips);
}
