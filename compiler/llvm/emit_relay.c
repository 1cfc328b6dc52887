/* Launches that may run together, and steps of loops: the tables of runtime/pdn.h (PdnRelay), filled where they are launched. */
#include "compiler/llvm/emit_host.h"

enum {
    STAGE_WORDS = sizeof(PdnStage) / 8,
    HAND_OVER_WORDS = sizeof(PdnHandOver) / 8,
    READING_WORDS = sizeof(PdnReading) / 8
};

/* A launch, with names of the fields that it reads and makes: different ones for different steps. */
typedef struct {
    const HInstr *in;
    const uint32_t *reads, *makes;
    uint32_t own; /* which outputs no other launch reads, as bits */
} Stage;

typedef struct {
    HE *h;
    const Stage *stage;
    uint32_t count;
    bool whole;          /* as PdnRelay.whole */
    uint32_t round;      /* as PdnRelay.round */
    LLVMValueRef stages; /* filled as the program runs; the others are constants */
    VEC(LLVMValueRef) fields, readings;
} Tables;

static Tables new_tables(HE *h, const Stage *stages, uint32_t count, bool whole) {
    Emit *e = h->e;
    Tables t = {.h = h, .stage = stages, .count = count, .whole = whole};
    t.stages = emit_variable(e, LLVMArrayType2(e->i64, count * STAGE_WORDS), "stages");
    return t;
}

static void put(Tables *t, LLVMValueRef table, LLVMValueRef word, LLVMValueRef value) {
    Emit *e = t->h->e;
    LLVMBuildStore(e->b, value, LLVMBuildInBoundsGEP2(e->b, e->i64, table, &word, 1, ""));
}

static const Kernel *kernel_of(const Tables *t, uint32_t stage) {
    return t->h->e->plan->kernels.data[t->stage[stage].in->index];
}

/* As PdnReading.reach. */
static int64_t rows_reach(const Kernel *k) {
    int64_t cells = kernel_reach(k, k->rank - 1);
    return k->rank > 1 ? cells : (cells + BLOCK_X - 1) / BLOCK_X;
}

/* As PdnReading.side. */
static int64_t lines_reach(const Kernel *k) {
    return k->rank == 1 ? 0 : kernel_reach(k, k->rank - 2);
}

/* The readings of an output by later stages; are there any? */
static bool note_readings(Tables *t, uint32_t name) {
    bool any = false;
    uint32_t number = t->fields.len / HAND_OVER_WORDS;
    for (uint32_t s = 0; s < t->count; s++) {
        const Kernel *k = kernel_of(t, s);
        for (uint32_t i = 0; i < k->fields.len; i++) {
            if (t->stage[s].reads[i] != name) continue;
            int64_t words[READING_WORDS] = {number, s, kernel_words(k).fields + i, rows_reach(k),
                                            lines_reach(k)};
            for (uint32_t w = 0; w < READING_WORDS; w++)
                vec_push(&t->readings, emit_i64(t->h->e, words[w]));
            any = true;
        }
    }
    return any;
}

/* The fields of a stage that later ones read, in a `whole` relay all of them; are there any that are read? */
static bool note_fields(Tables *t, uint32_t stage) {
    const Kernel *k = kernel_of(t, stage);
    const Stage *s = &t->stage[stage];
    bool any = false;
    for (uint32_t o = 0; o < k->written.len; o++) {
        bool read = note_readings(t, s->makes[o]);
        if (!read && !t->whole) continue;
        int64_t words[HAND_OVER_WORDS] = {stage,   kernel_words(k).outputs + o, s->in->grids[0],
                                          k->rank, k->written.data[o],          s->own >> o & 1};
        for (uint32_t w = 0; w < HAND_OVER_WORDS; w++)
            vec_push(&t->fields, emit_i64(t->h->e, words[w]));
        any = any || read;
    }
    return any;
}

static LLVMValueRef constant_table(Emit *e, LLVMValueRef *words, uint32_t count) {
    LLVMValueRef table = LLVMAddGlobal(e->module, LLVMArrayType2(e->i64, count), "pdn_relay_table");
    LLVMSetInitializer(table, LLVMConstArray2(e->i64, words, count));
    LLVMSetGlobalConstant(table, true);
    LLVMSetLinkage(table, LLVMInternalLinkage);
    return table;
}

/* Makes units planes; how many of them. */
static LLVMValueRef units_of_planes(HE *h, const HInstr *in, KernelWords w) {
    Emit *e = h->e;
    LLVMValueRef grid = grid_at(e, h->grids, in->grids[0]);
    put_word(h, w.block_y, emit_word(e, e->i64, grid, GRID_EXTENT + 1, "ny"));
    put_word(h, w.block_z, emit_i64(e, 1));
    return emit_word(e, e->i64, grid, GRID_EXTENT + 2, "nz");
}

/* Fills the words of a launch, and the row `number` of the table of stages. Past the caches goes only what is not read again at
 * once: where `stream` says so. */
static void put_stage(Tables *t, const HInstr *in, LLVMValueRef words, LLVMValueRef number,
                      LLVMValueRef stream) {
    HE *h = t->h;
    Emit *e = h->e;
    const Kernel *k = e->plan->kernels.data[in->index];
    KernelWords w = kernel_words(k);
    LLVMValueRef before = h->words;
    h->words = words;
    Units units = fill_launch(h, in);
    if (k->rank == 3) units.count = units_of_planes(h, in, w);
    LLVMValueRef values[STAGE_WORDS] = {e->kernels[in->index], words,      emit_i64(e, w.count),
                                        units.count,           units.work, emit_i64(e, w.part),
                                        emit_i64(e, w.fields)};
    LLVMValueRef as_alone = emit_word(e, e->i64, words, w.stream, "stream");
    put_word(h, w.stream, LLVMBuildSelect(e->b, stream, as_alone, emit_i64(e, 0), ""));
    h->words = before;
    LLVMValueRef row = mul(e, number, emit_i64(e, STAGE_WORDS));
    for (uint32_t i = 0; i < STAGE_WORDS; i++)
        put(t, t->stages, plus(e, row, emit_i64(e, i)), values[i]);
}

/* Did it run? */
static LLVMValueRef run_relay(Tables *t) {
    Emit *e = t->h->e;
    LLVMValueRef relay = emit_variable(e, LLVMArrayType2(e->i64, sizeof(PdnRelay) / 8), "relay");
    LLVMValueRef words[sizeof(PdnRelay) / 8] = {
        t->stages,
        emit_i64(e, t->count),
        constant_table(e, t->fields.data, t->fields.len),
        emit_i64(e, t->fields.len / HAND_OVER_WORDS),
        constant_table(e, t->readings.data, t->readings.len),
        emit_i64(e, t->readings.len / READING_WORDS),
        t->h->grids,
        emit_i64(e, e->size),
        emit_i64(e, t->whole),
        emit_i64(e, t->round)};
    vec_free(&t->fields);
    vec_free(&t->readings);
    for (uint32_t w = 0; w < sizeof(PdnRelay) / 8; w++) put(t, relay, emit_i64(e, w), words[w]);
    return host_call(t->h, HOST_RELAY, e->i1, (LLVMValueRef[]){NULL, relay}, 2);
}

void emit_relay(HE *h, const HInstr *first) {
    uint32_t count = first->relay + 1;
    Stage *stages = ARENA_ARRAY(h->e->arena, Stage, count);
    for (uint32_t s = 0; s < count; s++)
        stages[s] = (Stage){&first[s], first[s].fields, first[s].outputs, first[s].own};
    Emit *e = h->e;
    Tables t = new_tables(h, stages, count, false);
    for (uint32_t s = 0; s < count; s++) {
        LLVMValueRef words =
            emit_variable(e, LLVMArrayType2(e->i64, kernel_words(kernel_of(&t, s)).count), "words");
        put_stage(&t, &first[s], words, emit_i64(e, s),
                  LLVMConstInt(e->i1, !note_fields(&t, s), false));
    }
    (void)run_relay(&t);
    for (uint32_t s = 0; s < count; s++) emit_totals(h, &first[s]);
}

/* ---- steps of loops ------------------------------------------------------------------------------- */

/* Fields go by names: that of a register that the loop does not make, or, times the number of registers and from 1 on,
 * the number of the step that makes it. */
typedef struct {
    HE *h;
    const HLoop *l;
    bool *made;     /* by register: by a launch of the body */
    uint32_t *name; /* by state: now */
    Stage *stages;
    uint32_t count;
} Steps;

static uint32_t name_of(const Steps *s, HReg reg, uint32_t step) {
    if (s->made[reg]) return (step + 1) * s->h->f->regs.len + reg;
    for (uint32_t i = 0; i < s->l->states; i++)
        if (s->l->param[i] == reg) return s->name[i];
    return reg;
}

static uint32_t *field_names(const Steps *s, const HReg *regs, uint32_t count, uint32_t step) {
    uint32_t *names = ARENA_ARRAY(s->h->e->arena, uint32_t, count + 1);
    for (uint32_t i = 0; i < count; i++) names[i] = name_of(s, regs[i], step);
    return names;
}

static void name_stages(Steps *s, uint32_t step) {
    HE *h = s->h;
    const HLoop *l = s->l;
    for (uint32_t i = 0; i < l->body->code.len; i++) {
        const HInstr *in = &l->body->code.data[i];
        if (in->kind != H_LAUNCH) continue;
        const Kernel *k = h->e->plan->kernels.data[in->index];
        s->stages[s->count++] = (Stage){in, field_names(s, in->fields, k->fields.len, step),
                                        field_names(s, in->outputs, k->written.len, step), 0};
    }
    uint32_t *next = field_names(s, l->next, l->states, step);
    for (uint32_t i = 0; i < l->states; i++) s->name[i] = next[i];
}

/* The state that a field is in the end; NONE: nobody wants it then. */
static uint32_t last_state(const Steps *s, uint32_t name) {
    for (uint32_t i = 0; i < s->l->states; i++)
        if (s->name[i] == name) return i;
    return NONE;
}

static Steps name_steps(HE *h, const HLoop *l, uint32_t together) {
    Arena *arena = h->e->arena;
    Steps s = {.h = h, .l = l};
    s.made = ARENA_ARRAY(arena, bool, h->f->regs.len);
    s.name = ARENA_ARRAY(arena, uint32_t, l->states + 1);
    s.stages = ARENA_ARRAY(arena, Stage, PDN_RELAY_STAGES);
    for (uint32_t i = 0; i < l->body->code.len; i++) {
        const HInstr *in = &l->body->code.data[i];
        for (uint32_t o = 0;
             in->kind == H_LAUNCH && o < h->e->plan->kernels.data[in->index]->written.len; o++)
            s.made[in->outputs[o]] = true;
    }
    for (uint32_t i = 0; i < l->states; i++) s.name[i] = l->param[i];
    for (uint32_t step = 0; step < together; step++) name_stages(&s, step);
    for (uint32_t i = 0; i < s.count; i++)
        for (uint32_t o = 0; o < h->e->plan->kernels.data[s.stages[i].in->index]->written.len; o++)
            if (last_state(&s, s.stages[i].makes[o]) == NONE) s.stages[i].own |= 1u << o;
    return s;
}

/* Places of the states that are made; those that are one field have one. */
static LLVMValueRef *pick_places(const Steps *s) {
    LLVMValueRef *places = ARENA_ARRAY(s->h->e->arena, LLVMValueRef, s->l->states + 1);
    for (uint32_t i = 0; i < s->l->states; i++) {
        if (s->name[i] < s->h->f->regs.len) continue; /* as it was before */
        uint32_t first = last_state(s, s->name[i]), taken = 0;
        for (uint32_t k = 0; k < first; k++) taken += places[k] && last_state(s, s->name[k]) == k;
        places[i] = first < i ? places[first] : pick_buffer(s->h, s->l, taken);
    }
    return places;
}

/* The fields that are read and that no stage makes. */
static void note_outside(Tables *t, const Steps *s) {
    HE *h = t->h;
    bool *noted = ARENA_ARRAY(h->e->arena, bool, h->f->regs.len);
    for (uint32_t i = 0; i < s->count; i++) {
        const Kernel *k = kernel_of(t, i);
        for (uint32_t n = 0; n < k->fields.len; n++) {
            uint32_t name = s->stages[i].reads[n];
            if (name >= h->f->regs.len || noted[name]) continue;
            noted[name] = true;
            (void)note_readings(t, name);
            int64_t words[HAND_OVER_WORDS] = {
                -1, 0, s->stages[i].in->grids[0], k->rank, k->fields.data[n].channels, 0};
            for (uint32_t w = 0; w < HAND_OVER_WORDS; w++)
                vec_push(&t->fields, emit_i64(h->e, words[w]));
        }
    }
}

/* Launch `launch` of a step, as the steps go by: in the step that is i64 `step`. */
typedef struct {
    const Steps *s;
    LLVMValueRef step, *places;
    uint32_t launch, launches;
} Step;

static LLVMValueRef is_step(const Step *now, uint32_t step) {
    Emit *e = now->s->h->e;
    return LLVMBuildICmp(e->b, LLVMIntEQ, now->step, emit_i64(e, step), "");
}

/* Where outputs go; nowhere if nobody wants them in the end: the host says where. */
static void place_outputs(const Step *now, const HInstr *in) {
    HE *h = now->s->h;
    Emit *e = h->e;
    for (uint32_t o = 0; o < e->plan->kernels.data[in->index]->written.len; o++) {
        LLVMValueRef place = LLVMConstNull(e->ptr);
        for (uint32_t i = now->launch; i < now->s->count; i += now->launches) {
            uint32_t state = last_state(now->s, now->s->stages[i].makes[o]);
            if (state == NONE) continue;
            place = LLVMBuildSelect(e->b, is_step(now, i / now->launches), now->places[state],
                                    place, "");
        }
        h->regs[in->outputs[o]].value = place;
    }
}

/* In which steps does nobody read what the launch makes? */
static LLVMValueRef unread(const Step *now, const bool *read) {
    Emit *e = now->s->h->e;
    LLVMValueRef any = LLVMConstInt(e->i1, 0, false);
    for (uint32_t i = now->launch; i < now->s->count; i += now->launches)
        if (!read[i]) any = LLVMBuildOr(e->b, any, is_step(now, i / now->launches), "");
    return any;
}

/* Fills the tables for one step. */
static void put_step(Step now, Tables *t, LLVMValueRef words, uint32_t words_count,
                     const bool *read) {
    HE *h = now.s->h;
    Emit *e = h->e;
    const HBlock *body = now.s->l->body;
    LLVMValueRef at = mul(e, now.step, emit_i64(e, words_count));
    for (uint32_t i = 0; i < body->code.len; i++) {
        const HInstr *in = &body->code.data[i];
        if (in->kind != H_LAUNCH) {
            emit_instruction(h, in);
            continue;
        }
        LLVMValueRef number =
            plus(e, mul(e, now.step, emit_i64(e, now.launches)), emit_i64(e, now.launch));
        place_outputs(&now, in);
        put_stage(t, in, LLVMBuildInBoundsGEP2(e->b, e->i64, words, &at, 1, ""), number,
                  unread(&now, read));
        at = plus(e, at, emit_i64(e, kernel_words(e->plan->kernels.data[in->index]).count));
        now.launch++;
    }
}

/* Fills the tables for all steps, of which the first is number i64 `first`: a loop, in which states go from step to step as in the
 * loop itself. */
static void put_steps(const Steps *s, Tables *t, uint32_t together, LLVMValueRef first,
                      LLVMValueRef *places) {
    HE *h = s->h;
    Emit *e = h->e;
    const HLoop *l = s->l;
    Step now = {.s = s, .launches = s->count / together, .places = places};
    LLVMValueRef *state = ARENA_ARRAY(e->arena, LLVMValueRef, l->states + 1);
    bool *read = ARENA_ARRAY(e->arena, bool, s->count);
    uint32_t words_count = 0;
    for (uint32_t i = 0; i < s->count; i++) read[i] = note_fields(t, i);
    if (t->round & (PDN_ROUND_ROWS | PDN_ROUND_LINES)) note_outside(t, s);
    for (uint32_t i = 0; i < now.launches; i++) words_count += kernel_words(kernel_of(t, i)).count;
    LLVMValueRef words =
        emit_variable(e, LLVMArrayType2(e->i64, (uint64_t)together * words_count), "words");
    for (uint32_t i = 0; i < l->states; i++) {
        state[i] = emit_variable(e, LLVMTypeOf(h->regs[l->param[i]].value), "state");
        LLVMBuildStore(e->b, h->regs[l->param[i]].value, state[i]);
    }
    Counting steps;
    now.step =
        emit_loop_begin(e, &steps, emit_i64(e, 0), emit_i64(e, together), emit_i64(e, 1), "step");
    for (uint32_t i = 0; i < l->states; i++) {
        LLVMTypeRef type = LLVMTypeOf(h->regs[l->param[i]].value);
        h->regs[l->param[i]].value = LLVMBuildLoad2(e->b, type, state[i], "");
    }
    h->regs[l->k].value = to_real(e, LLVMBuildSIToFP(e->b, plus(e, first, now.step), e->f64, ""));
    put_step(now, t, words, words_count, read);
    for (uint32_t i = 0; i < l->states; i++)
        LLVMBuildStore(e->b, h->regs[l->next[i]].value, state[i]);
    emit_loop_end(e, &steps);
    for (uint32_t i = 0; i < l->states; i++) {
        LLVMTypeRef type = LLVMTypeOf(h->regs[l->param[i]].value);
        h->regs[l->param[i]].value = LLVMBuildLoad2(e->b, type, state[i], "");
    }
}

/* Takes so many steps together, as long as there are as many and it pays. */
static void emit_some_steps(HE *h, const HLoop *l, LoopValues *v, LLVMValueRef end,
                            uint32_t together) {
    Emit *e = h->e;
    Steps s = name_steps(h, l, together);
    LLVMBasicBlockRef head = emit_block(e, "together"), body = emit_block(e, "steps"),
                      done = emit_block(e, "taken"), refused = emit_block(e, "refused"),
                      exit = emit_block(e, "apart");
    LLVMBuildBr(e->b, head);
    LLVMPositionBuilderAtEnd(e->b, head);
    LLVMValueRef i = LLVMBuildLoad2(e->b, e->i64, v->i, ""),
                 after = plus(e, i, emit_i64(e, together));
    LLVMValueRef mask = LLVMBuildLoad2(e->b, e->i64, v->refused, ""),
                 bit = emit_i64(e, (int64_t)1 << together);
    LLVMValueRef pays =
        LLVMBuildICmp(e->b, LLVMIntEQ, LLVMBuildAnd(e->b, mask, bit, ""), emit_i64(e, 0), "");
    pays = LLVMBuildAnd(e->b, pays, LLVMBuildICmp(e->b, LLVMIntSLE, after, end, ""), "");
    LLVMBuildCondBr(e->b, pays, body, exit);
    LLVMPositionBuilderAtEnd(e->b, body);
    loop_load(h, l, v);
    LLVMValueRef *places = pick_places(&s),
                 first = plus(e, i, LLVMBuildFPToSI(e->b, v->start, e->i64, ""));
    Tables t = new_tables(h, s.stages, s.count, true);
    t.round = steps_round(e->plan, l);
    put_steps(&s, &t, together, first, places);
    LLVMBuildCondBr(e->b, run_relay(&t), done, refused);
    LLVMPositionBuilderAtEnd(e->b, refused);
    LLVMBuildStore(e->b, LLVMBuildOr(e->b, mask, bit, ""), v->refused);
    LLVMBuildBr(e->b, exit);
    LLVMPositionBuilderAtEnd(e->b, done);
    for (uint32_t k = 0; k < l->states; k++)
        LLVMBuildStore(e->b, h->regs[l->param[k]].value, v->state[k]);
    LLVMBuildStore(e->b, after, v->i);
    tell_progress(h, l, after, v->count); /* steps that are worth it take long */
    LLVMBuildBr(e->b, head);
    LLVMPositionBuilderAtEnd(e->b, exit);
}

void emit_steps_together(HE *h, const HLoop *l, LoopValues *v, LLVMValueRef end) {
    for (uint32_t count = l->together; count > 1; count /= 2) emit_some_steps(h, l, v, end, count);
}
