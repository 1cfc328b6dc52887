/* How much work launches are, in cycles of one processor: so the host knows on how many threads they are worth running.
 *
 * A rough estimate, by a factor of two or three: of operations (`cost` of ops.def) VECTORS vectors go through in a cycle,
 * of what is read and written, from and to the caches, MOVED bytes. A row takes ROW cycles to begin. */
#include "compiler/llvm/emit_host.h"

#include <math.h>

enum {
    VECTORS = 2,
    MOVED = 32,
    ROW = 32,
    SHARES = 64, /* of a cycle, which are counted */
};

/* Cycles times `count`, without overflow for whatever fits into a memory. */
static LLVMValueRef times(Emit *e, LLVMValueRef count, double cycles) {
    double most = 1 << 24, shares = ceil(cycles * SHARES);
    LLVMValueRef all =
        LLVMBuildMul(e->b, count, emit_i64(e, (int64_t)(shares < most ? shares : most)), "");
    return LLVMBuildAShr(e->b, all, emit_i64(e, 6), "work");
}
_Static_assert(SHARES == 1 << 6, "a shift divides by it");

static double operations(const Emit *e, double count) { return count / (VECTORS * e->lanes); }

LLVMValueRef work_kernel(Emit *e, const Kernel *k, LLVMValueRef cells, LLVMValueRef rows) {
    double moved = k->loads + k->outputs.len;
    LLVMValueRef inside = times(e, cells, operations(e, k->flops) + moved * e->size / MOVED);
    return plus(e, inside, times(e, rows, ROW));
}

/* Lines are computed one number after the other, some of them beside each other. */
LLVMValueRef work_tridiag(Emit *e, LLVMValueRef cells, uint32_t channels) {
    return times(e, cells, 2.0 * channels * operations(e, op_info(OP_TRIDIAG)->cost));
}

LLVMValueRef work_products(Emit *e, const Conv *conv, LLVMValueRef v) {
    return times(e, v, operations(e, (double)conv_weights(conv)));
}

LLVMValueRef work_copies(Emit *e, const Conv *conv, LLVMValueRef u, LLVMValueRef v) {
    double each = 2.0 * e->size / MOVED;
    return plus(e, times(e, u, conv->in * each), times(e, v, conv->out * each));
}

LLVMValueRef work_weights(Emit *e, const Conv *conv, LLVMValueRef chunks) {
    return times(e, chunks, 2 * (double)conv_weights(conv));
}
