/* Convolutions: sizes, the layout of the scratch, the launches. */
#include "compiler/llvm/emit_conv.h"

#include <string.h>

/* ---- short forms ------------------------------------------------------------------------------ */

LLVMValueRef cv_fma(CE *c, LLVMValueRef a, LLVMValueRef b, LLVMValueRef sum) {
    if (!c->e->plan->fma) return LLVMBuildFAdd(c->e->b, LLVMBuildFMul(c->e->b, a, b, ""), sum, "");
    return emit_intrinsic(c->e, "llvm.fma", LLVMTypeOf(a), (LLVMValueRef[]){a, b, sum}, 3);
}

void cv_prefetch(CE *c, LLVMValueRef p, int64_t i) {
    LLVMValueRef number = cv_int(c, i), to_read = LLVMConstInt(c->e->i32, 0, false),
                 keep = LLVMConstInt(c->e->i32, 3, false);
    p = LLVMBuildGEP2(c->e->b, c->e->real, p, &number, 1, "");
    LLVMValueRef args[4] = {p, to_read, keep, LLVMConstInt(c->e->i32, 1, false)};
    emit_intrinsic(c->e, "llvm.prefetch", c->e->ptr, args, 4);
}

LLVMValueRef conv_word(CE *c, uint32_t word) {
    return emit_word(c->e, c->e->ptr, c->words, word, "");
}

LLVMValueRef conv_scratch(CE *c, LLVMValueRef bytes) {
    LLVMValueRef base = conv_word(c, CONV_SCRATCH);
    return LLVMBuildInBoundsGEP2(c->e->b, LLVMInt8TypeInContext(c->e->context), base, &bytes, 1,
                                 "");
}

ConvArray conv_array(CE *c, uint32_t which, LLVMValueRef base) {
    LLVMValueRef g = conv_word(c, which ? CONV_V_GRID : CONV_U_GRID);
    ConvArray a = {.base = base, .y = cv_int(c, 0), .z = cv_int(c, 0)};
    if (c->conv->rank > 1) a.y = emit_word(c->e, c->e->i64, g, GRID_STRIDE + 1, "y");
    if (c->conv->rank > 2) a.z = emit_word(c->e, c->e->i64, g, GRID_STRIDE + 2, "z");
    a.channel = emit_word(c->e, c->e->i64, g, GRID_CHANNEL, "channel");
    return a;
}

/* ---- tiles ------------------------------------------------------------------------------------- */

static ConvTile choose_tile(const Emit *e, uint32_t conv, ConvForm form, bool chained) {
    TileFor f = {&e->plan->convs.data[conv], form,     chained,
                 e->machine.registers >= 32, e->lanes, e->machine.exact};
    return conv_tile(&f, conv_way(e->plan, conv, form, chained, f.many, f.lanes, f.exact));
}

uint32_t conv_channel_blocks(const CE *c) {
    return (c->p.out + c->tile.channels - 1) / c->tile.channels;
}

uint32_t conv_depth(const CE *c) { return conv_gathered(c->conv, c->form); }

/* ---- sizes --------------------------------------------------------------------------------------- */

static LLVMValueRef lines(CE *c, LLVMValueRef bytes) {
    return LLVMBuildAnd(c->e->b, cv_plus(c, bytes, 63 + PLAN_SLOT_GAP), cv_int(c, -64), "");
}

static void extents(CE *c, LLVMValueRef u_grid, LLVMValueRef v_grid) {
    for (uint32_t a = 0; a < MAX_RANK; a++) {
        c->n[a] = c->m[a] = cv_int(c, 1);
        if (a < c->conv->rank) {
            c->n[a] = emit_word(c->e, c->e->i64, u_grid, GRID_EXTENT + a, "n");
            c->m[a] = emit_word(c->e, c->e->i64, v_grid, GRID_EXTENT + a, "m");
        }
        int64_t low = c->p.axis[a].low, rest = c->p.axis[a].rest;
        if (c->form == CONV_TRANSPOSED) {
            LLVMValueRef all = cv_plus(c, c->n[a], c->p.axis[a].ghost[0] + c->p.axis[a].ghost[1]);
            c->made[a] = cv_ceil(c, all, cv_int(c, c->p.axis[a].made_split));
            c->extent[a] = cv_plus(c, c->made[a], low + rest);
        } else {
            c->made[a] = c->m[a];
            c->extent[a] =
                cv_ceil(c, cv_plus(c, c->n[a], low + rest), cv_int(c, c->p.axis[a].split));
        }
    }
}

/* Of a chain: rows are made in turns, from padded ones that stand in the second-level cache, in a ring that the rows of a
 * turn do not go round the end of; a unit takes a few turns. A row of all channels stands together, each with room for what
 * its last vector writes beyond it; they are an odd number of vectors apart, so that rows do not compete for the same
 * lines. */
static void take_turns(CE *c) {
    Emit *e = c->e;
    int64_t tile = c->tile.rows, beyond = (int64_t)c->conv->size[1] - 1;
    c->padded.channel =
        LLVMBuildOr(e->b, cv_plus(c, c->padded.y, e->lanes), cv_int(c, e->lanes), "");
    c->padded.y = cv_times(c, c->padded.channel, c->p.in);
    LLVMValueRef rows = cv_div(c, cv_int(c, CHAIN_BYTES), cv_times(c, c->padded.y, e->size));
    LLVMValueRef tiles = cv_div(c, rows, cv_int(c, 2 * tile));
    tiles = emit_max(e, emit_min(e, tiles, cv_int(c, CHAIN_TILES)), cv_int(c, 1));
    c->turn = cv_times(c, tiles, tile);
    c->ring = cv_add(c, c->turn, cv_mul(c, c->turn, cv_ceil(c, cv_int(c, beyond), c->turn)));
    c->block = cv_mul(c, c->turn, cv_ceil(c, cv_int(c, CHAIN_ROWS), c->turn));
}

LLVMValueRef conv_ring_numbers(CE *c) { return cv_mul(c, c->padded.y, c->ring); }

LLVMValueRef conv_ring_row(CE *c, LLVMValueRef y) {
    return cv_rem(c, cv_add(c, c->ring, cv_plus(c, y, -(int64_t)c->p.axis[1].low)), c->ring);
}

/* Which way cells are walked, and in which pieces. */
static void walk(CE *c) {
    Emit *e = c->e;
    bool sums = c->form == CONV_WEIGHTS;
    uint32_t unit = sums ? e->lanes : c->tile.vectors * e->lanes;
    if (c->conv->rank == 1 || (sums && c->conv->rank == 3))
        c->by_rows = LLVMConstInt(e->i1, 0, false);
    else if (c->tile.rows)
        c->by_rows = LLVMConstInt(e->i1, 1, false);
    else
        c->by_rows = LLVMBuildICmp(e->b, LLVMIntEQ, cv_rem(c, c->made[0], cv_int(c, unit)),
                                   cv_int(c, 0), "");
    LLVMValueRef whole = cv_times(c, cv_ceil(c, c->extent[0], cv_int(c, e->lanes)), e->lanes);
    c->padded.y = cv_if(c, c->by_rows, whole, c->extent[0]);
    c->padded.z = cv_mul(c, c->padded.y, c->extent[1]);
    LLVMValueRef volume = cv_mul(c, c->padded.z, c->extent[2]);
    c->padded.channel = cv_times(c, volume, c->p.phases);
    c->flat = cv_add(c, cv_mul(c, cv_plus(c, c->made[1], -1), c->padded.y), c->made[0]);
    LLVMValueRef numbers;
    if (sums) {
        numbers = cv_int(c, CONV_CHUNK / e->size);
    } else {
        LLVMValueRef more = cv_times(c, c->padded.y, c->p.axis[1].low + c->p.axis[1].rest);
        numbers = cv_sub(c, cv_int(c, CONV_BLOCK / e->size / c->p.in), more);
        numbers = emit_max(e, numbers, cv_int(c, 64 * e->lanes));
    }
    LLVMValueRef step = cv_int(c, sums ? e->lanes : 8 * unit);
    LLVMValueRef rows = emit_max(e, cv_div(c, numbers, c->padded.y), cv_int(c, 1));
    LLVMValueRef some = emit_max(e, cv_div(c, numbers, step), cv_int(c, 1));
    c->block = cv_if(c, c->by_rows, rows, cv_mul(c, some, step));
    if (c->tile.rows) c->block = cv_int(c, c->tile.rows);
    c->turn = c->ring = c->rows_at = c->first_row = NULL;
    if (c->chained && c->form == CONV_TRANSPOSED) take_turns(c);
    if (c->chained && c->form == CONV_FORWARD) { /* a row of all channels stands together */
        c->padded.channel = whole;
        c->padded.y = cv_times(c, whole, c->p.in);
    }
    c->blocks = cv_ceil(c, cv_if(c, c->by_rows, c->made[1], c->flat), c->block);
    c->planes = c->layers = NULL;
    if (!sums) return;
    c->planes = emit_max(e, cv_div(c, numbers, c->flat), cv_int(c, 1));
    c->layers = cv_ceil(c, c->made[2], c->planes);
}

/* Where what stands in the scratch. */
static void lay_out(CE *c) {
    Emit *e = c->e;
    LLVMValueRef at = cv_int(c, 0);
    uint32_t depth = conv_depth(c), blocks = c->p.groups * conv_channel_blocks(c);
    c->padded.base = at;
    LLVMValueRef numbers = cv_times(c, c->padded.channel, (int64_t)c->p.in * c->p.groups);
    if (c->chained && c->form != CONV_WEIGHTS) numbers = cv_int(c, 0); /* they are the chain's */
    at = cv_add(c, at, lines(c, cv_times(c, cv_plus(c, numbers, CONV_TILE), e->size)));
    c->offsets = at;
    at = cv_plus(c, at, ((int64_t)c->p.made_phases * (depth + 32) * 8 + 63) / 64 * 64);
    if (c->form == CONV_WEIGHTS) {
        c->copied = (ConvArray){.base = at, .y = c->padded.y};
        c->copied.z = cv_mul(c, c->padded.y, c->made[1]);
        c->copied.channel = cv_mul(c, c->copied.z, c->made[2]);
        numbers = cv_times(c, c->copied.channel, (int64_t)c->p.out * c->p.groups);
        numbers = cv_if(c, c->by_rows, cv_int(c, 0), numbers);
        at = cv_add(c, at, lines(c, cv_times(c, cv_plus(c, numbers, CONV_TILE), e->size)));
        c->partial = at;
        numbers = cv_times(c, cv_mul(c, c->layers, c->blocks), conv_weights(c->conv));
        at = cv_add(c, at, lines(c, cv_times(c, numbers, e->size)));
    } else {
        c->weights = at;
        int64_t packed = (int64_t)c->p.made_phases * blocks * depth * c->tile.channels;
        at = cv_plus(c, at, (packed * e->size + 63) / 64 * 64);
        c->folded = (ConvArray){.base = at, .y = c->made[0]};
        c->folded.z = cv_mul(c, c->made[0], c->made[1]);
        LLVMValueRef volume = cv_mul(c, c->folded.z, c->made[2]);
        c->folded.channel = cv_times(c, volume, c->p.made_phases);
        numbers = cv_times(c, c->folded.channel, (int64_t)c->p.out * c->p.groups);
        LLVMValueRef room = lines(c, cv_times(c, numbers, e->size));
        if (c->p.folds) at = cv_add(c, at, room);
        c->whole = at;
        if (c->p.made_phases > 1) at = cv_add(c, at, room);
    }
    c->bytes = at;
}

/* Computes all sizes from the grids. */
static void conv_open(CE *c, Emit *e, uint32_t conv, ConvForm form, bool chained,
                      LLVMValueRef u_grid, LLVMValueRef v_grid) {
    *c = (CE){.e = e, .conv = &e->plan->convs.data[conv], .form = form, .chained = chained};
    c->p = conv_plan(c->conv, form);
    c->tile = choose_tile(e, conv, form, chained);
    extents(c, u_grid, v_grid);
    if (c->tile.last) {
        conv_walk_last(c);
        conv_lay_out_last(c);
        return;
    }
    walk(c);
    lay_out(c);
}

/* The sizes that depend on the grids, as words: those of a form, in an order of their own. */
enum { MOST_SIZES = 48 };
static uint32_t list_sizes(CE *c, LLVMValueRef **list) {
    LLVMValueRef *all[] = {&c->flat,     &c->block,          &c->blocks,      &c->planes,
                           &c->turn,     &c->layers,         &c->padded.base, &c->padded.y,
                           &c->padded.z, &c->padded.channel, &c->copied.base, &c->copied.y,
                           &c->copied.z, &c->copied.channel, &c->folded.base, &c->folded.y,
                           &c->folded.z, &c->folded.channel, &c->weights,     &c->offsets,
                           &c->partial,  &c->whole,          &c->bytes,       &c->ring};
    uint32_t count = 0;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) list[count++] = all[i];
    for (uint32_t a = 0; a < MAX_RANK; a++) {
        LLVMValueRef *axis[] = {&c->n[a], &c->m[a], &c->extent[a], &c->made[a]};
        for (int i = 0; i < 4; i++) list[count++] = axis[i];
    }
    return count;
}

static LLVMValueRef word_at(Emit *e, LLVMValueRef words, uint32_t word) {
    LLVMValueRef i = emit_i64(e, word);
    return LLVMBuildInBoundsGEP2(e->b, e->i64, words, &i, 1, "");
}

/* Sizes that are no constants are read from the words, and what would compute them goes again. */
void conv_reopen(CE *c, Emit *e, uint32_t conv, ConvForm form, bool chained, LLVMValueRef words) {
    LLVMValueRef null = LLVMConstNull(e->ptr), *list[MOST_SIZES];
    LLVMBasicBlockRef block = LLVMGetInsertBlock(e->b);
    LLVMValueRef there = LLVMGetLastInstruction(block);
    conv_open(c, e, conv, form, chained, null, null);
    c->words = words;
    LLVMValueRef last = LLVMGetLastInstruction(block), rows = c->by_rows;
    uint32_t count = list_sizes(c, list);
    for (uint32_t i = 0; i < count; i++)
        if (*list[i] && !LLVMIsConstant(*list[i]))
            *list[i] = emit_word(e, e->i64, words, CONV_SIZES + i, "size");
    if (!LLVMIsConstant(rows)) {
        LLVMValueRef word = emit_word(e, e->i64, words, CONV_SIZES + count, "rows");
        c->by_rows = LLVMBuildICmp(e->b, LLVMIntNE, word, emit_i64(e, 0), "");
    }
    while (last != there) {
        LLVMValueRef before = LLVMGetPreviousInstruction(last);
        if (!LLVMGetFirstUse(last)) LLVMInstructionEraseFromParent(last);
        last = before;
    }
}

/* ---- stages ----------------------------------------------------------------------------------------- */

LLVMValueRef conv_units(CE *c, ConvStage stage) {
    if (c->tile.last) return conv_units_last(c, stage);
    bool sums = c->form == CONV_WEIGHTS;
    int64_t in = (int64_t)c->p.in * c->p.groups, out = (int64_t)c->p.out * c->p.groups;
    int64_t blocks = (int64_t)c->p.groups * conv_channel_blocks(c);
    switch (stage) {
    case STAGE_FILL: return cv_times(c, cv_mul(c, c->extent[1], c->extent[2]), in * c->p.phases);
    case STAGE_COPY: {
        LLVMValueRef rows = sums ? cv_times(c, cv_mul(c, c->made[1], c->made[2]), out) : NULL;
        return rows ? cv_if(c, c->by_rows, cv_int(c, 0), rows) : NULL;
    }
    case STAGE_PACK: return cv_int(c, sums ? 1 : c->p.made_phases * (blocks + 1));
    case STAGE_GATHER:
        return sums ? NULL
                    : cv_times(c, cv_mul(c, c->blocks, c->made[2]), blocks * c->p.made_phases);
    case STAGE_FOLD: return c->p.folds ? cv_times(c, conv_fold_blocks(c), out) : NULL;
    case STAGE_SUMS: return sums ? cv_times(c, cv_mul(c, c->blocks, c->layers), blocks) : NULL;
    case STAGE_TOTAL: {
        if (!sums) return NULL;
        LLVMValueRef one = cv_int(c, 1), chunks = cv_mul(c, c->blocks, c->layers);
        LLVMValueRef some = LLVMBuildICmp(c->e->b, LLVMIntSGT, chunks, one, "");
        return cv_if(c, some, cv_int(c, (conv_weights(c->conv) + 1023) / 1024), cv_int(c, 0));
    }
    default: return NULL;
    }
}

typedef void Body(CE *c, LLVMValueRef unit);
static Body *const bodies[CONV_STAGES] = {conv_fill, conv_copy, conv_pack, conv_gather,
                                          conv_fold, conv_sums, conv_total};
static Body *const last_bodies[CONV_STAGES] = {conv_fill_last,   conv_copy_last, conv_pack_last,
                                               conv_gather_last, conv_fold,      conv_sums_last,
                                               conv_total_last};

/* void sizes(u_grid, v_grid, words): all sizes, then whether cells are walked by rows, then the units of the
 * stages. */
static LLVMValueRef sizes_function(Emit *e, uint32_t conv, ConvForm form, bool chained) {
    char *name = arena_format(e->arena, "pdn_%s_%u_%s_sizes", chained ? "chain" : "conv", conv,
                              conv_form_names[form]);
    LLVMTypeRef type = LLVMFunctionType(e->none, (LLVMTypeRef[]){e->ptr, e->ptr, e->ptr}, 3, false);
    LLVMValueRef f = emit_function(e, name, type, false), words = LLVMGetParam(f, 2);
    LLVMPositionBuilderAtEnd(e->b, LLVMAppendBasicBlockInContext(e->context, f, "entry"));
    CE c;
    LLVMValueRef *list[MOST_SIZES];
    conv_open(&c, e, conv, form, chained, LLVMGetParam(f, 0), LLVMGetParam(f, 1));
    uint32_t count = list_sizes(&c, list);
    for (uint32_t i = 0; i < count; i++)
        if (*list[i]) LLVMBuildStore(e->b, *list[i], word_at(e, words, CONV_SIZES + i));
    LLVMBuildStore(e->b, LLVMBuildZExt(e->b, c.by_rows, e->i64, ""),
                   word_at(e, words, CONV_SIZES + count));
    for (ConvStage s = 0; s < CONV_STAGES; s++) {
        LLVMValueRef units = conv_units(&c, s);
        if (units) LLVMBuildStore(e->b, units, word_at(e, words, CONV_SIZES + count + 1 + s));
    }
    LLVMBuildRetVoid(e->b);
    return f;
}

/* void stage(words, begin, end), as other kernels. */
static LLVMValueRef stage_function(Emit *e, uint32_t conv, ConvForm form, bool chained,
                                   ConvStage stage) {
    static const char *const names[CONV_STAGES] = {"fill", "copy", "pack", "gather",
                                                   "fold", "sums", "total"};
    char *name = arena_format(e->arena, "pdn_%s_%u_%s_%s", chained ? "chain" : "conv", conv,
                              conv_form_names[form], names[stage]);
    LLVMValueRef f = emit_function(e, name, e->kernel_type, false);
    LLVMPositionBuilderAtEnd(e->b, LLVMAppendBasicBlockInContext(e->context, f, "entry"));
    CE c;
    conv_reopen(&c, e, conv, form, chained, LLVMGetParam(f, 0));
    Counting units;
    LLVMValueRef unit = cv_loop(&c, &units, LLVMGetParam(f, 1), LLVMGetParam(f, 2), 1);
    (c.tile.last ? last_bodies : bodies)[stage](&c, unit);
    emit_loop_end(e, &units);
    LLVMBuildRetVoid(e->b);
    e->estimated = false; /* there is no division */
    emit_flush(e, f);
    return f;
}

/* A chain fills its padded rows and gathers by itself. */
static bool has_stage(Emit *e, uint32_t conv, ConvForm form, bool chained, ConvStage stage) {
    ConvPlan p = conv_plan(&e->plan->convs.data[conv], form);
    switch (stage) {
    case STAGE_FILL: return !chained;
    case STAGE_PACK: return true;
    case STAGE_GATHER: return form != CONV_WEIGHTS && !chained;
    case STAGE_FOLD: return p.folds;
    default: return form == CONV_WEIGHTS;
    }
}

/* Functions of a form: its stages, then that of its sizes. */
static LLVMValueRef *functions_of(Emit *e, const HInstr *h, bool chained) {
    uint32_t form = h->index * CONV_FORMS + h->detail;
    return e->convs + (2 * form + chained) * (CONV_STAGES + 1);
}

static void emit_used(Emit *e, const HBlock *block) {
    for (uint32_t i = 0; i < block->code.len; i++) {
        const HInstr *h = &block->code.data[i];
        bool chained = host_in_chain(block, i);
        if (host_is_loop(h->kind)) emit_used(e, h->loop->body);
        if (h->kind != H_CONV || functions_of(e, h, chained)[CONV_STAGES]) continue;
        if (chained && h->detail == CONV_WEIGHTS) continue; /* all of it is the chain's */
        LLVMValueRef *made = functions_of(e, h, chained);
        ConvForm form = (ConvForm)h->detail;
        made[CONV_STAGES] = sizes_function(e, h->index, form, chained);
        for (ConvStage s = 0; s < CONV_STAGES; s++)
            if (has_stage(e, h->index, form, chained, s))
                made[s] = stage_function(e, h->index, form, chained, s);
    }
}

void emit_convs(Emit *e) {
    e->convs = ARENA_ARRAY(e->arena, LLVMValueRef,
                           e->plan->convs.len * CONV_FORMS * 2 * (CONV_STAGES + 1) + 1);
    for (uint32_t i = 0; i < e->plan->funcs.len; i++) emit_used(e, &e->plan->funcs.data[i]->body);
}

static void call_sizes(Emit *e, const HInstr *h, bool chained, LLVMValueRef u_grid,
                       LLVMValueRef v_grid, LLVMValueRef words) {
    LLVMValueRef f = functions_of(e, h, chained)[CONV_STAGES];
    LLVMBuildCall2(e->b, LLVMGlobalGetValueType(f), f, (LLVMValueRef[]){u_grid, v_grid, words}, 3,
                   "");
}

LLVMValueRef emit_conv_bytes(Emit *e, const HInstr *h, bool chained, LLVMValueRef u_grid,
                             LLVMValueRef v_grid, LLVMValueRef words) {
    CE none = {0};
    LLVMValueRef *list[MOST_SIZES];
    uint32_t count = list_sizes(&none, list), bytes = 0;
    while (bytes < count && list[bytes] != &none.bytes) bytes++;
    call_sizes(e, h, chained, u_grid, v_grid, words);
    return emit_word(e, e->i64, words, CONV_SIZES + bytes, "bytes");
}

/* NULL where nobody asks. */
static LLVMValueRef stage_work(Emit *e, const HInstr *h, ConvStage stage, LLVMValueRef u_grid,
                               LLVMValueRef v_grid) {
    if (e->standalone) return NULL;
    const Conv *conv = &e->plan->convs.data[h->index];
    LLVMValueRef u = emit_cells(e, u_grid, conv->rank), v = emit_cells(e, v_grid, conv->rank);
    switch (stage) {
    case STAGE_GATHER:
    case STAGE_SUMS: return work_products(e, conv, v);
    case STAGE_PACK: return work_weights(e, conv, emit_i64(e, 1));
    case STAGE_TOTAL: { /* as many sums as a chunk has room for */
        LLVMValueRef chunk = emit_i64(e, CONV_CHUNK / e->size), one = emit_i64(e, 1);
        return work_weights(e, conv,
                            LLVMBuildAdd(e->b, LLVMBuildSDiv(e->b, v, chunk, ""), one, ""));
    }
    default: return work_copies(e, conv, u, v);
    }
}

uint32_t emit_conv_launches(Emit *e, const HInstr *h, bool chained, LLVMValueRef u_grid,
                            LLVMValueRef v_grid, LLVMValueRef words, ConvLaunch *out) {
    CE none = {0};
    LLVMValueRef *list[MOST_SIZES];
    uint32_t sizes = list_sizes(&none, list), count = 0;
    call_sizes(e, h, chained, u_grid, v_grid, words);
    for (ConvStage s = 0; s < CONV_STAGES; s++) {
        LLVMValueRef f = functions_of(e, h, chained)[s];
        if (!f) continue;
        LLVMValueRef units = emit_word(e, e->i64, words, CONV_SIZES + sizes + 1 + s, "units");
        out[count++] = (ConvLaunch){f, units, stage_work(e, h, s, u_grid, v_grid), s == STAGE_FOLD};
    }
    return count;
}

LLVMValueRef emit_conv_shape(Emit *e, const Conv *c) {
    PdnConvShape s = conv_shape(c);
    LLVMValueRef axes[3][3], sides[6];
    for (int a = 0; a < 3; a++) {
        axes[0][a] = emit_i64(e, s.size[a]);
        axes[1][a] = emit_i64(e, s.stride[a]);
        axes[2][a] = emit_i64(e, s.dilation[a]);
        for (int side = 0; side < 2; side++)
            sides[2 * a + side] = LLVMConstInt(e->i32, (unsigned)s.sides[a][side], false);
    }
    LLVMValueRef parts[8] = {LLVMConstInt(e->i32, (unsigned)s.rank, false), emit_i64(e, s.in),
                             emit_i64(e, s.out), emit_i64(e, s.groups)};
    for (int i = 0; i < 3; i++) parts[4 + i] = LLVMConstArray2(e->i64, axes[i], 3);
    parts[7] = LLVMConstArray2(e->i32, sides, 6);
    LLVMValueRef value = LLVMConstStructInContext(e->context, parts, 8, false);
    LLVMValueRef shape = LLVMAddGlobal(e->module, LLVMTypeOf(value), "conv_shape");
    LLVMSetInitializer(shape, value);
    LLVMSetGlobalConstant(shape, true);
    LLVMSetLinkage(shape, LLVMPrivateLinkage);
    return shape;
}
