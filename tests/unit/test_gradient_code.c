/* Compiled gradients: against the reference, and the same bits for every memory; steps done again are counted. */
#include "compiler/kernel/checkpoint.h"
#include "compiler/llvm/code.h"
#include "compiler/load/load.h"
#include "runtime/pdn.h"
#include "tests/unit/build_graph.h"

#include <criterion/criterion.h>

static const int64_t sizes[3] = {37, 11, 3};

/* ---- running ---------------------------------------------------------------------- */

typedef struct {
    int64_t steps, slots, again, bytes, reports;
    int threads;
} Kept;

static void host_launch(void *context, PdnKernel *kernel, const void *arguments, int64_t count,
                        int64_t work) {
    pdn_launch(kernel, arguments, count, ((Kept *)context)->threads);
}

static bool host_relay(void *context, const PdnRelay *relay) {
    return pdn_relay(relay, 1, PDN_RELAY_ALWAYS, NULL, host_launch, context);
}

static void host_kept(void *context, uint32_t number, int64_t steps, int64_t slots, int64_t again,
                      int64_t bytes) {
    Kept *k = context;
    k->steps = steps;
    k->slots = slots;
    k->again += again;
    k->bytes = bytes;
    k->reports++;
}

static void describe(const Bench *b, PdnGrid *grids) {
    for (GridId g = 1; g < b->m->grids.len; g++) {
        int64_t stride = 1;
        for (uint32_t a = 0; a < 3; a++) {
            int64_t n = a < b->m->grids.data[g].rank ? b->m->grids.data[g].extent[a] : 1;
            grids[g].extent[a] = grids[g].high[a] = n;
            grids[g].stride[a] = stride;
            stride *= n;
            grids[g].spacing[a] = a < b->m->grids.data[g].rank ? b->m->grids.data[g].spacing[a] : 1;
        }
        grids[g].channel_stride = stride;
    }
}

static void *in_precision(Bench *b, const Array *a, bool f64) {
    double *d = aligned_alloc(64, ((size_t)a->size * 8 + 127) & ~(size_t)63);
    for (int64_t i = 0; i < a->size && a->data; i++)
        if (f64)
            d[i] = a->data[i];
        else
            ((float *)d)[i] = (float)a->data[i];
    return d;
}

/* The results of `func`, as compiled; `like`: results of the interpreter, for sizes. */
static void run_compiled(Bench *b, FuncId func, bool f64, const Array *args, uint32_t count,
                         const Array *like, uint32_t results, int64_t memory, int threads,
                         Kept *kept, double **out) {
    Arena *arena = arena_new();
    Plan *plan = plan_make(b->m, &(PlanOptions){.f64 = f64, .func = func}, arena);
    const char *wrong = plan_verify(plan, arena);
    cr_assert_null(wrong, "%s", wrong);
    Text text = {0};
    char *error = NULL;
    plan_print(plan, &text);
    if (getenv("SHOW_PLAN")) fputs(text.data, stderr);
    Plan *read = plan_read(text.data, text.len, arena, &error);
    cr_assert(read, "%s", error);
    Text again = {0};
    plan_print(read, &again);
    cr_assert_str_eq(text.data, again.data);
    text_free(&text);
    text_free(&again);
    Code *code = code_load(plan, &(CodeTarget){.optimise = 2}, NULL, &error);
    cr_assert(code, "%s", error);
    *kept = (Kept){.threads = threads};
    PdnHost host = {.context = kept,
                    .launch = host_launch,
                    .memory = memory,
                    .kept = host_kept,
                    .relay = host_relay};
    PdnGrid *grids = calloc(b->m->grids.len, sizeof *grids);
    describe(b, grids);
    const void *inputs[16];
    PdnStack stacks[16];
    void *outputs[16];
    for (uint32_t i = 0; i < count; i++) {
        void *data = in_precision(b, &args[i], f64);
        stacks[i] = (PdnStack){args[i].frames, data};
        inputs[i] = args[i].type.kind == TYPE_STACK ? (const void *)&stacks[i] : data;
    }
    for (uint32_t i = 0; i < results; i++) outputs[i] = in_precision(b, &like[i], f64);
    CodeArguments a = {.host = &host, .grids = grids, .inputs = inputs, .outputs = outputs};
    uint64_t bytes = code_workspace(code, &a);
    cr_assert_lt(bytes, UINT64_C(1) << 32);
    a.workspace = aligned_alloc(64, (bytes + 128) & ~UINT64_C(63));
    memset(a.workspace, 0xff, bytes);
    uint64_t *guard = (void *)((char *)a.workspace + ((bytes + 7) & ~UINT64_C(7)));
    *guard = 0x1234567890;
    cr_assert_eq(code_run(code, &a), PDN_OK);
    cr_assert_eq(*guard, 0x1234567890, "more scratch was used than was asked for");
    for (uint32_t i = 0; i < results; i++) {
        out[i] = malloc(sizeof(double) * (size_t)(like[i].size + 1));
        for (int64_t k = 0; k < like[i].size; k++)
            out[i][k] = f64 ? ((double *)outputs[i])[k] : (double)((float *)outputs[i])[k];
        free(outputs[i]);
    }
    for (uint32_t i = 0; i < count; i++)
        free(args[i].type.kind == TYPE_STACK ? (void *)stacks[i].data : (void *)inputs[i]);
    free(a.workspace);
    free(grids);
    code_free(code);
    arena_free(arena);
}

static double differ(const Array *like, const double *x) {
    double most = 0, size = 1e-30;
    for (int64_t i = 0; i < like->size; i++) {
        size = fmax(size, fabs(like->data[i]));
        double d = fabs(like->data[i] - x[i]);
        if (!(d <= most)) most = d;
    }
    return most / size;
}

static bool same_bits(const double *a, const double *b, int64_t n) {
    return memcmp(a, b, sizeof(double) * (size_t)n) == 0;
}

/* ---- a network of steps ----------------------------------------------------------------- */

static Node at(Bench *b, FuncId f, Op op, Node x, Node y) {
    return graph_binary(b->m, f, op, x, y, SPAN_NONE);
}

/* Two-step recurrence of (old, u): a stack of fields weighs, numbers are steps; `stop`: ends by a test. */
static FuncId two_steps(Bench *b, bool stop) {
    FuncId f = graph_func(b->m, names_of(b->names, "step"));
    Type field = type_field(b->grid, 1), fields = field, numbers = {TYPE_STACK, 1, GRID_NONE};
    fields.kind = TYPE_STACK;
    Node k = graph_param(b->m, f, type_scalar(), 0), old = graph_param(b->m, f, field, 0),
         u = graph_param(b->m, f, field, 0), K = graph_param(b->m, f, fields, 0),
         tau = graph_param(b->m, f, numbers, 0);
    Node i = graph_binary(b->m, f, OP_MOD, k, graph_const(b->m, f, 5), SPAN_NONE);
    Node w = at(b, f, OP_FRAME, K, i);
    Node g =
        graph_add(b->m, f, OP_STENCIL, &u, 1, gradient_stencil(b, SIDE_EVEN, false), 0, SPAN_NONE);
    g = at(b, f, OP_MUL, w, g);
    Node s = graph_unary(b->m, f, OP_CHSUM, at(b, f, OP_MUL, g, g), SPAN_NONE);
    g = at(b, f, OP_DIV, g, at(b, f, OP_ADD, s, graph_const(b->m, f, 1)));
    g = at(b, f, OP_MUL, w, g);
    Node div =
        graph_add(b->m, f, OP_STENCIL, &g, 1, gradient_stencil(b, SIDE_EVEN, true), 0, SPAN_NONE);
    Node step = at(b, f, OP_MUL, graph_const(b->m, f, 0.1), at(b, f, OP_FRAME, tau, i));
    Node next = at(b, f, OP_SUB, u, at(b, f, OP_MUL, step, div));
    Node a = graph_const(b->m, f, 0.75), rest = graph_const(b->m, f, 0.25);
    next = at(b, f, OP_ADD, at(b, f, OP_MUL, a, next), at(b, f, OP_MUL, old, rest));
    vec_push(&graph_get(b->m, f)->results, u);
    vec_push(&graph_get(b->m, f)->results, next);
    if (stop) vec_push(&graph_get(b->m, f)->results, at(b, f, OP_EQ, k, graph_const(b->m, f, 22)));
    return f;
}

/* A loss of a film of `steps` states, from (u, K, tau). */
static FuncId gradient_of_network(Bench *b, int64_t steps, bool stop, int64_t stride) {
    Type numbers = {TYPE_STACK, 1, GRID_NONE}, fields = type_field(b->grid, 1);
    fields.kind = TYPE_STACK;
    uint32_t collect[] = {1};
    Loop loop = {.body = two_steps(b, stop),
                 .states = 2,
                 .captured = 2,
                 .has_stop = stop,
                 .stride = stride ? stride : 1,
                 .collect = collect,
                 .collected = stride > 0};
    Node u = field_param(b, 1), K = graph_param(b->m, b->f, fields, 0),
         tau = graph_param(b->m, b->f, numbers, 0);
    Node operands[] = {number(b, (double)steps), u, u, K, tau};
    Node made = graph_add(b->m, b->f, OP_LOOP, operands, 5, graph_loop(b->m, &loop), 0, SPAN_NONE);
    Node last = graph_result(b->m, b->f, made, 1), loss = un(b, OP_SUM, bin(b, OP_MUL, last, last));
    if (stride) {
        Node film = graph_result(b->m, b->f, made, 3), one = bin(b, OP_FRAME, film, number(b, 1));
        loss = bin(b, OP_ADD, loss, un(b, OP_SUM, bin(b, OP_MUL, one, bin(b, OP_MUL, one, last))));
    }
    returns(b, loss);
    returns(b, last);
    FuncId g = gradient_func(b->m, b->f, (bool[]){true, true, true}, NULL);
    cr_assert(g);
    return g;
}

static void arguments(Bench *b, Array *args) {
    args[0] = random_array(b, type_field(b->grid, 1), 1);
    for (int i = 1; i < 3; i++) {
        Type t = i == 1 ? type_field(b->grid, 1) : type_scalar();
        Array one = array_of(b, t);
        args[i] = one;
        args[i].type.kind = TYPE_STACK;
        args[i].frames = 5;
        args[i].size = one.size * 5;
        args[i].data = ARENA_ARRAY(b->arena, double, args[i].size);
        uint64_t seed = (uint64_t)i;
        for (int64_t k = 0; k < args[i].size; k++) args[i].data[k] = 1 + 0.3 * noise(&seed);
    }
}

Test(gradient_code, agrees_with_the_reference) {
    for (uint32_t rank = 1; rank <= 3; rank++)
        for (int64_t stride = 0; stride < 3; stride++) {
            Bench b = bench_new(rank, sizes, 0.9);
            FuncId g = gradient_of_network(&b, 7, false, stride);
            Array args[3], like[5];
            double *f32[5], *f64[5];
            Kept kept;
            arguments(&b, args);
            if (stride == 2) pass_simplify(b.m);
            EvalOptions options = {0};
            cr_assert_eq(eval_func(b.m, g, args, like, &options, b.arena), 0);
            run_compiled(&b, g, true, args, 3, like, 5, 0, 1, &kept, f64);
            cr_assert_eq(kept.steps, 7);
            cr_assert_eq(kept.again, 0);
            run_compiled(&b, g, false, args, 3, like, 5, 0, 2, &kept, f32);
            for (int i = 0; i < 5; i++) {
                cr_assert(differ(&like[i], f64[i]) < 1e-12, "rank %u result %d: %g", rank, i,
                          differ(&like[i], f64[i]));
                cr_assert(differ(&like[i], f32[i]) < 2e-5, "rank %u result %d: %g", rank, i,
                          differ(&like[i], f32[i]));
                free(f32[i]);
                free(f64[i]);
            }
            bench_free(&b);
        }
}

/* The same bits, and no more steps than the binomial schedule does. */
static void check_memory(bool stop) {
    Bench b = bench_new(2, sizes, 0.9);
    int64_t steps = 23;
    FuncId g = gradient_of_network(&b, stop ? 1000 : steps, stop, 0);
    Array args[3], like[5];
    double *whole[5], *less[5];
    Kept kept;
    arguments(&b, args);
    EvalOptions options = {0};
    cr_assert_eq(eval_func(b.m, g, args, like, &options, b.arena), 0);
    run_compiled(&b, g, false, args, 3, like, 5, 1 << 28, 1, &kept, whole);
    cr_assert_eq(kept.steps, steps);
    cr_assert_eq(kept.again, 0);
    int64_t per = 2 * ((37 * 11 * 4 + 63) / 64 * 64) + 8;
    for (int64_t slots = 1; slots <= steps; slots++) {
        run_compiled(&b, g, false, args, 3, like, 5, slots * per, 1 + (int)(slots % 2), &kept,
                     less);
        cr_assert_eq(kept.slots, slots, "%lld", (long long)kept.slots);
        cr_assert_eq(kept.bytes, slots * (per - 8));
        if (!stop)
            cr_assert_eq(kept.again, checkpoint_again(steps, slots), "%lld slots: %lld steps again",
                         (long long)slots, (long long)kept.again);
        else
            cr_assert(kept.again >= checkpoint_again(steps, slots) &&
                          kept.again <= 2 * checkpoint_again(steps, slots) + steps,
                      "%lld slots: %lld again", (long long)slots, (long long)kept.again);
        for (int i = 0; i < 5; i++) {
            cr_assert(same_bits(whole[i], less[i], like[i].size), "%lld slots, result %d",
                      (long long)slots, i);
            free(less[i]);
        }
    }
    for (int i = 0; i < 5; i++) {
        cr_assert(differ(&like[i], whole[i]) < 1e-4, "%g", differ(&like[i], whole[i]));
        free(whole[i]);
    }
    bench_free(&b);
}

Test(gradient_code, same_bits_for_every_memory) { check_memory(false); }

Test(gradient_code, same_bits_for_every_memory_when_a_test_ends_the_loop) { check_memory(true); }
