/* Launches that may run together: the tables of runtime/pdn.h (PdnRelay), filled where they are launched. */
#include "compiler/llvm/emit_host.h"

enum { STAGE_WORDS = sizeof(PdnStage) / 8, FIELD_WORDS = sizeof(PdnHandOver) / 8, READING_WORDS = sizeof(PdnReading) / 8 };

typedef struct {
    HE *h;
    const HInstr *first;
    LLVMValueRef stages, fields, readings; /* the tables */
    uint32_t fields_count, readings_count;
} Tables;

static void put(Tables *t, LLVMValueRef table, uint32_t word, LLVMValueRef value) {
    Emit *e = t->h->e;
    LLVMValueRef i = emit_i64(e, word);
    LLVMBuildStore(e->b, value, LLVMBuildInBoundsGEP2(e->b, e->i64, table, &i, 1, ""));
}

static const Kernel *kernel_of(const Tables *t, uint32_t stage) {
    return t->h->e->plan->kernels.data[t->first[stage].index];
}

/* The readings of an output by later stages; are there any? */
static bool put_readings(Tables *t, HReg field) {
    bool any = false;
    for (uint32_t s = 0; s <= t->first->relay; s++) {
        const Kernel *k = kernel_of(t, s);
        for (uint32_t i = 0; i < k->fields.len; i++) {
            if (t->first[s].fields[i] != field) continue;
            int64_t words[READING_WORDS] = {t->fields_count, s, kernel_words(k).fields + i, kernel_rows_reach(k)};
            for (uint32_t w = 0; w < READING_WORDS; w++)
                put(t, t->readings, READING_WORDS * t->readings_count + w, emit_i64(t->h->e, words[w]));
            t->readings_count++;
            any = true;
        }
    }
    return any;
}

/* The fields of a stage that later ones read; are there any? */
static bool put_fields(Tables *t, uint32_t stage) {
    Emit *e = t->h->e;
    const Kernel *k = kernel_of(t, stage);
    const HInstr *in = &t->first[stage];
    LLVMValueRef grid = grid_at(e, t->h->grids, in->grids[0]), size = emit_i64(e, e->size);
    bool any = false;
    for (uint32_t o = 0; o < k->written.len; o++) {
        if (!put_readings(t, in->outputs[o])) continue;
        LLVMValueRef words[FIELD_WORDS] = {
            emit_i64(e, stage),
            emit_i64(e, kernel_words(k).outputs + o),
            mul(e, emit_word(e, e->i64, grid, GRID_STRIDE + k->rank - 1, "row"), size),
            emit_i64(e, k->written.data[o]),
            mul(e, emit_word(e, e->i64, grid, GRID_CHANNEL, "channel"), size),
            emit_i64(e, in->own >> o & 1)};
        for (uint32_t w = 0; w < FIELD_WORDS; w++) put(t, t->fields, FIELD_WORDS * t->fields_count + w, words[w]);
        t->fields_count++;
        any = true;
    }
    return any;
}

static void put_stage(Tables *t, uint32_t stage) {
    HE *h = t->h;
    Emit *e = h->e;
    const HInstr *in = &t->first[stage];
    KernelWords w = kernel_words(kernel_of(t, stage));
    LLVMValueRef words = h->words;
    h->words = emit_variable(e, LLVMArrayType2(e->i64, w.count), "words");
    Units units = fill_launch(h, in);
    LLVMValueRef values[STAGE_WORDS] = {e->kernels[in->index], h->words, emit_i64(e, w.count), units.count, units.work};
    /* what is read again at once stays in the caches */
    if (put_fields(t, stage)) put_word(h, w.stream, emit_i64(e, 0));
    h->words = words;
    for (uint32_t i = 0; i < STAGE_WORDS; i++) put(t, t->stages, STAGE_WORDS * stage + i, values[i]);
}

void emit_relay(HE *h, const HInstr *first) {
    Emit *e = h->e;
    uint32_t stages = first->relay + 1;
    Tables t = {.h = h, .first = first};
    t.stages = emit_variable(e, LLVMArrayType2(e->i64, stages * STAGE_WORDS), "stages");
    t.fields = emit_variable(e, LLVMArrayType2(e->i64, PDN_RELAY_FIELDS * FIELD_WORDS), "fields");
    t.readings = emit_variable(e, LLVMArrayType2(e->i64, PDN_RELAY_READINGS * READING_WORDS), "readings");
    for (uint32_t s = 0; s < stages; s++) put_stage(&t, s);
    LLVMValueRef relay = emit_variable(e, LLVMArrayType2(e->i64, sizeof(PdnRelay) / 8), "relay");
    LLVMValueRef words[sizeof(PdnRelay) / 8] = {t.stages,   emit_i64(e, stages),           t.fields, emit_i64(e, t.fields_count),
                                                t.readings, emit_i64(e, t.readings_count)};
    for (uint32_t w = 0; w < sizeof(PdnRelay) / 8; w++) put(&t, relay, w, words[w]);
    host_call(h, HOST_RELAY, e->none, (LLVMValueRef[]){NULL, relay}, 2);
    for (uint32_t s = 0; s < stages; s++) emit_totals(h, &first[s]);
}
