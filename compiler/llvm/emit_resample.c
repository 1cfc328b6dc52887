/* Restriction and prolongation of whole vectors, where every axis is halved: cells that lie side by side are loaded as
 * vectors and sorted by shuffles, instead of one by one. The same sums in the same order as cell by cell. */
#include "compiler/llvm/emit_kernel.h"

static bool sorts(KKind kind) { return kind == K_RESTRICT || kind == K_PROLONG; }

LLVMValueRef resample_halves(KE *ke) {
    Emit *e = ke->e;
    const Kernel *k = ke->k;
    LLVMValueRef all = NULL;
    uint64_t seen = 0;
    for (KNode n = 1; n < k->nodes.len; n++) {
        const KNodeData *d = &k->nodes.data[n];
        uint32_t g = sorts(d->kind) ? k->fields.data[d->index].grid : 64;
        if (g >= 64 || seen >> g & 1) continue;
        seen |= UINT64_C(1) << g;
        for (uint32_t a = 0; a < k->rank; a++) {
            LLVMValueRef other = ke->grids[g].extent[a], mine = ke_extent(ke, a),
                         two = emit_i64(e, 2);
            bool finer = d->kind == K_RESTRICT;
            LLVMValueRef halves =
                LLVMBuildICmp(e->b, LLVMIntEQ, finer ? other : mine,
                              LLVMBuildNSWMul(e->b, finer ? mine : other, two, ""), "");
            all = all ? LLVMBuildAnd(e->b, all, halves, "") : halves;
        }
    }
    return all;
}

static LLVMValueRef load_at(KE *ke, LLVMValueRef row, LLVMValueRef index, uint32_t lanes) {
    LLVMValueRef v =
        LLVMBuildLoad2(ke->e->b, LLVMVectorType(ke->e->real, lanes), ke_gep(ke, row, index), "");
    LLVMSetAlignment(v, ke->e->size);
    return v;
}

static LLVMValueRef shuffle(KE *ke, LLVMValueRef a, LLVMValueRef b, uint32_t first, uint32_t step,
                            uint32_t divide) {
    LLVMValueRef mask[64];
    for (uint32_t l = 0; l < ke->e->lanes; l++)
        mask[l] = LLVMConstInt(ke->e->i32, (first + l * step) / divide, false);
    return LLVMBuildShuffleVector(ke->e->b, a, b, LLVMConstVector(mask, ke->e->lanes), "");
}

/* The start of the row of the field that `index` is in. */
static LLVMValueRef row_at(KE *ke, const KNodeData *n, const LLVMValueRef *index) {
    const GridValues *other = &ke->grids[ke->k->fields.data[n->index].grid];
    return ke_gep(ke, ke->fields[n->index],
                  ke_offset(ke, &other->strides, ke->k->rank, n->detail, index));
}

static LLVMValueRef restrict_vector(KE *ke, const KNodeData *n, const LLVMValueRef *cell) {
    Emit *e = ke->e;
    uint32_t rank = ke->k->rank;
    LLVMValueRef sum = NULL, x = LLVMBuildShl(e->b, cell[0], emit_i64(e, 1), "");
    for (uint32_t beside = 0; beside < 1u << (rank - 1); beside++) {
        LLVMValueRef index[MAX_RANK] = {NULL};
        for (uint32_t a = 1; a < rank; a++)
            index[a] =
                ke_add(ke, LLVMBuildShl(e->b, cell[a], emit_i64(e, 1), ""), beside >> (a - 1) & 1);
        LLVMValueRef row = row_at(ke, n, index);
        LLVMValueRef low = load_at(ke, row, x, e->lanes),
                     high = load_at(ke, row, ke_add(ke, x, e->lanes), e->lanes);
        LLVMValueRef even = shuffle(ke, low, high, 0, 2, 1), odd = shuffle(ke, low, high, 1, 2, 1);
        sum = sum ? LLVMBuildFAdd(e->b, sum, even, "") : even;
        sum = LLVMBuildFAdd(e->b, sum, odd, "");
    }
    return LLVMBuildFMul(e->b, sum, emit_number(e, LLVMTypeOf(sum), 1.0 / (1u << rank)), "");
}

/* Pairs of lanes are one coarse cell; where the first cell is the second of its coarse one, shifted by one lane. */
static LLVMValueRef prolong_vector(KE *ke, const KNodeData *n, const LLVMValueRef *cell) {
    Emit *e = ke->e;
    LLVMValueRef index[MAX_RANK] = {NULL}, one = emit_i64(e, 1);
    for (uint32_t a = 0; a < ke->k->rank; a++) index[a] = LLVMBuildLShr(e->b, cell[a], one, "");
    LLVMValueRef row = row_at(ke, n, index), second = LLVMBuildAnd(e->b, cell[0], one, "");
    uint32_t half = e->lanes / 2;
    LLVMValueRef low = load_at(ke, row, index[0], half);
    LLVMValueRef high = load_at(ke, row, LLVMBuildNSWAdd(e->b, index[0], second, ""), half);
    LLVMValueRef pairs = shuffle(ke, low, low, 0, 1, 2), mask[64];
    for (uint32_t l = 0; l < e->lanes; l++)
        mask[l] = LLVMConstInt(e->i32, l + 1 < e->lanes ? (l + 1) / 2 : 2 * half - 1, false);
    LLVMValueRef moved =
        LLVMBuildShuffleVector(e->b, low, high, LLVMConstVector(mask, e->lanes), "");
    LLVMValueRef is = LLVMBuildICmp(e->b, LLVMIntEQ, second, emit_i64(e, 0), "");
    return LLVMBuildSelect(e->b, is, pairs, moved, "");
}

LLVMValueRef resample_vector(KE *ke, const KNodeData *n, const uint32_t *at) {
    LLVMValueRef cell[MAX_RANK] = {NULL};
    if (!ke->halves || !ke->vector || !sorts(n->kind) || ke->e->lanes < 2) return NULL;
    for (uint32_t a = 0; a < ke->k->rank; a++) {
        Axis p = ke->axes[a].data[at[a]];
        if (!p.fixed) return NULL;
        cell[a] = ke_add(ke, ke->cell[a], p.offset);
    }
    return n->kind == K_RESTRICT ? restrict_vector(ke, n, cell) : prolong_vector(ke, n, cell);
}
