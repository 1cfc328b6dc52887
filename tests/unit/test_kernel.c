/* Plans: what is fused, what is stored, what is shared, and their text. */
#include "compiler/kernel/plan_ir.h"
#include "tests/unit/cases.h"

#include <criterion/criterion.h>

static Plan *plan_of(Case *c, Arena *arena) {
    Plan *plan = plan_make(c->m, &(PlanOptions){0}, arena);
    const char *wrong = plan_verify(plan, arena);
    cr_assert_null(wrong, "%s", wrong);
    return plan;
}

static Case loop_case(uint32_t rank, double lambda, double tau, double steps, int64_t n) {
    Case c = start(rank, (int64_t[]){n, n, n});
    vec_push(&c.m->inputs, ((Input){.type = type_field(c.grid, 1)}));
    Node u = graph_add_typed(c.m, c.f, OP_INPUT, type_field(c.grid, 1), NULL, 0, 0, 0, SPAN_NONE),
         p[2];
    FuncId body = body_of(&c, "step", 1, p);
    result(&c, body, diffusion_step(&c, body, p[1], lambda, tau));
    show(&c, graph_result(c.m, c.f, loop_of(&c, body, steps, &u, 1, 0, (Loop){.stride = 1}), 0));
    return c;
}

/* An explicit step of div(g(norm2(grad u)) grad u): one kernel, one load and one store of a field. */
Test(kernel, explicit_step_is_one_pass) {
    for (uint32_t rank = 1; rank <= 3; rank++) {
        Arena *arena = arena_new();
        Case c = loop_case(rank, 0.3, 0.02, 10, 64);
        Plan *plan = plan_of(&c, arena);
        PlanCost cost = plan_cost(plan, c.m);
        cr_expect_eq(cost.kernels, 1);
        cr_expect_eq(cost.launches, 1);
        cr_expect_eq(plan->kernels.data[0]->loads, 1);
        cr_expect_eq(plan->kernels.data[0]->outputs.len, 1);
        cr_expect_float_eq(cost.bytes, 10 * 8 * pow(64, rank), 1e-6);
        cr_expect_eq(plan->funcs.data[0]->slots.len, 2, "two buffers that take turns");
        finish(&c);
        arena_free(arena);
    }
}

/* Instructions by number; and steps that run together read and write the field once. */
Test(kernel, places_and_what_moves_together) {
    Arena *arena = arena_new();
    Case c = loop_case(2, 0.3, 0.02, 13, 64);
    Plan *plan = plan_of(&c, arena);
    PlanCost cost = plan_cost(plan, c.m);
    uint32_t loop = 0, launch = 0, stages[PDN_RELAY_STAGES];
    for (uint32_t p = 1; p <= plan_places(plan); p++) {
        PlanPlace place = plan_place(plan, p);
        cr_expect_eq(plan->place[p].instr->place, p);
        if (place.work == WORK_LOOP) loop = p;
        if (place.work == WORK_KERNEL) launch = p;
    }
    PlanPlace step = plan_place(plan, launch), steps = plan_place(plan, loop);
    cr_assert(loop && launch);
    cr_expect(step.outer == loop && step.grid == c.grid && step.in == 1 && step.out == 1);
    cr_assert_gt(steps.together, 1);
    uint32_t count = plan_stages(plan, loop, stages);
    cr_expect_eq(count, steps.together);
    for (uint32_t i = 0; i < count; i++) cr_expect_eq(stages[i], launch);
    PlanAmount once = plan_amount(plan, c.m, NULL, launch),
               all = plan_amount_together(plan, c.m, NULL, loop, 0, count);
    cr_expect_eq(once.bytes, 8 * 64 * 64);
    cr_expect_eq(all.bytes, once.bytes);
    cr_expect_eq(all.flops, count * once.flops);
    cr_expect_float_eq(cost.bytes, 13 * once.bytes, 1e-6);
    uint32_t passes = 0, left = 13;
    for (uint32_t n = count; n > 1; left %= n, n /= 2) passes += left / n;
    passes += left;
    cr_expect_float_eq(cost.together, passes * once.bytes, 1e-6);
    finish(&c);
    arena_free(arena);
}

static void code_text(Case *c, Text *out) {
    Arena *arena = arena_new();
    plan_print_code(plan_of(c, arena), out);
    arena_free(arena);
}

/* Numbers, steps and sizes are arguments: the same code, so the same entry of the cache. */
Test(kernel, numbers_and_sizes_are_arguments) {
    Case a = loop_case(2, 0.3, 0.02, 10, 64), b = loop_case(2, 0.07, 0.11, 10000, 517);
    Text one = {0}, two = {0};
    code_text(&a, &one);
    code_text(&b, &two);
    cr_expect_str_eq(one.data, two.data);
    text_free(&one);
    text_free(&two);
    finish(&a);
    finish(&b);
}

/* Two equations of a system, and a reduction of what they compute, share a pass. */
Test(kernel, systems_and_reductions_share_a_pass) {
    Arena *arena = arena_new();
    Case c = start(2, (int64_t[]){64, 64});
    Node p[2], q[3];
    for (uint32_t i = 0; i < 2; i++) {
        vec_push(&c.m->inputs, ((Input){.type = type_field(c.grid, 1)}));
        p[i] = graph_add_typed(c.m, c.f, OP_INPUT, type_field(c.grid, 1), NULL, 0, i, 0, SPAN_NONE);
    }
    FuncId body = body_of(&c, "step", 2, q);
    Node uvv = graph_binary(c.m, body, OP_MUL, q[1],
                            graph_binary(c.m, body, OP_MUL, q[2], q[2], SPAN_NONE), SPAN_NONE);
    for (int i = 1; i <= 2; i++) {
        Node lap =
            graph_add(c.m, body, OP_STENCIL, &q[i], 1, laplacian(&c, SIDE_PERIODIC), 0, SPAN_NONE);
        Node change = graph_binary(c.m, body, i == 1 ? OP_SUB : OP_ADD, lap, uvv, SPAN_NONE);
        result(&c, body, graph_binary(c.m, body, OP_ADD, q[i], change, SPAN_NONE));
    }
    Node next = graph_get(c.m, body)->results.data[0];
    result(&c, body,
           graph_binary(c.m, body, OP_LT, graph_unary(c.m, body, OP_LARGEST, next, SPAN_NONE),
                        graph_const(c.m, body, 0), SPAN_NONE));
    Node loop = loop_of(&c, body, 5, p, 2, 0, (Loop){.stride = 1, .has_stop = true});
    Node u = graph_result(c.m, c.f, loop, 0), v = graph_result(c.m, c.f, loop, 1);
    show(&c,
         graph_unary(c.m, c.f, OP_SUM, graph_binary(c.m, c.f, OP_MUL, u, u, SPAN_NONE), SPAN_NONE));
    show(&c, graph_unary(c.m, c.f, OP_LEAST, graph_binary(c.m, c.f, OP_SUB, u, v, SPAN_NONE),
                         SPAN_NONE));
    Plan *plan = plan_of(&c, arena);
    PlanCost cost = plan_cost(plan, c.m);
    cr_expect_eq(cost.launches, 2, "one in the loop, one for both reductions, not %u",
                 cost.launches);
    cr_expect_eq(plan->kernels.data[0]->outputs.len, 2);
    cr_expect_eq(plan->kernels.data[0]->reductions.len, 1);
    cr_expect_eq(plan->kernels.data[1]->outputs.len, 0, "no field is made for a reduction");
    finish(&c);
    arena_free(arena);
}

/* Recomputation is bounded: a tower of stencils is cut, and planning takes no time. */
Test(kernel, towers_of_stencils_are_cut) {
    for (int depth = 4; depth <= 64; depth *= 4) {
        Arena *arena = arena_new();
        Case c = start(2, (int64_t[]){256, 256});
        vec_push(&c.m->inputs, ((Input){.type = type_field(c.grid, 1)}));
        Node u =
            graph_add_typed(c.m, c.f, OP_INPUT, type_field(c.grid, 1), NULL, 0, 0, 0, SPAN_NONE);
        for (int i = 0; i < depth; i++) u = diffusion_step(&c, c.f, u, 0.3, 0.02);
        show(&c, u);
        Plan *plan = plan_of(&c, arena);
        for (uint32_t i = 0; i < plan->kernels.len; i++)
            cr_expect_lt(plan->kernels.data[i]->flops, 2500);
        PlanCost cost = plan_cost(plan, c.m);
        cr_expect_leq(cost.launches, (uint32_t)depth);
        cr_expect_leq(cost.kernels, 3, "equal steps are one kernel, not %u", cost.kernels);
        cr_expect_leq(plan->funcs.data[0]->slots.len, PDN_RELAY_STAGES + 3,
                      "buffers are used again");
        finish(&c);
        arena_free(arena);
    }
}

/* No text, cut or changed anywhere, may do harm. */
static void no_harm(Text *text) {
    char *error;
    /* the constants, and what is measured, may be missing */
    uint32_t end = (uint32_t)(strstr(text->data, "constants") - text->data);
    for (uint32_t i = 0; i < text->len; i += 3) {
        Arena *scratch = arena_new();
        cr_expect(i >= end - 1 || !plan_read(text->data, i, scratch, &error));
        char kept = text->data[i];
        text->data[i] = "0%r9 -"[i / 3 % 6];
        Plan *odd = plan_read(text->data, text->len, scratch, &error);
        if (odd) cr_expect_null(plan_verify(odd, scratch));
        text->data[i] = kept;
        arena_free(scratch);
    }
}

Test(kernel, text_round_trip) {
    Arena *arena = arena_new();
    Case c = loop_case(2, 0.3, 0.02, 10, 64);
    Plan *plan = plan_of(&c, arena);
    Text text = {0}, again = {0};
    char *error = NULL;
    plan_print(plan, &text);
    Plan *read = plan_read(text.data, text.len, arena, &error);
    cr_assert_not_null(read, "%s", error);
    plan_print(read, &again);
    cr_expect_str_eq(again.data, text.data);
    no_harm(&text);
    text_free(&text);
    text_free(&again);
    finish(&c);
    arena_free(arena);
}

Test(kernel, least_extents) {
    Arena *arena = arena_new();
    Case c = start(2, (int64_t[]){64, 64});
    vec_push(&c.m->inputs, ((Input){.type = type_field(c.grid, 1)}));
    Node u = graph_add_typed(c.m, c.f, OP_INPUT, type_field(c.grid, 1), NULL, 0, 0, 0, SPAN_NONE);
    Stencil s = {.rank = 2,
                 .in_channels = 1,
                 .out_channels = 1,
                 .taps = (Tap[]){{.offset = {-3, 2, 0}, .weight = 1}},
                 .count = 1};
    show(&c, graph_add(c.m, c.f, OP_STENCIL, &u, 1, graph_stencil(c.m, &s), 0, SPAN_NONE));
    PlanCost cost = plan_cost(plan_of(&c, arena), c.m);
    cr_expect_eq(cost.smallest[0], 3);
    cr_expect_eq(cost.smallest[1], 2);
    finish(&c);
    arena_free(arena);
}

/* A normalisation of channels: two passes for the sums, one for the field; rows are read where they are used. */
Test(kernel, rows_leave_no_field) {
    Arena *arena = arena_new();
    Case c = start(2, (int64_t[]){64, 64});
    Node u = field_input(&c, 3, 1, -1, 1);
    Type t = type_field(c.grid, 3);
    Node sums = graph_unary(c.m, c.f, OP_TOTALS, u, SPAN_NONE);
    Node squares = graph_unary(c.m, c.f, OP_TOTALS, graph_binary(c.m, c.f, OP_MUL, u, u, SPAN_NONE),
                               SPAN_NONE);
    Node k = graph_add(c.m, c.f, OP_ENTRY, &sums, 1, 2, 0, SPAN_NONE);
    Node bias =
        graph_add(c.m, c.f, OP_ROW, (Node[]){k, k, graph_const(c.m, c.f, 3)}, 3, 0, 0, SPAN_NONE);
    Node scaled = graph_binary(
        c.m, c.f, OP_MUL, u,
        graph_add_typed(c.m, c.f, OP_BYCHANNEL, t, &squares, 1, 0, 0, SPAN_NONE), SPAN_NONE);
    Node out = graph_binary(c.m, c.f, OP_ADD, scaled,
                            graph_add_typed(c.m, c.f, OP_BYCHANNEL, t, &bias, 1, 0, 0, SPAN_NONE),
                            SPAN_NONE);
    show(&c, graph_unary(c.m, c.f, OP_SUM, out, SPAN_NONE));
    Plan *plan = plan_of(&c, arena);
    PlanCost cost = plan_cost(plan, c.m);
    cr_expect_eq(cost.launches, 2, "both sums in one, then all the rest, not %u", cost.launches);
    cr_expect_eq(plan->kernels.data[0]->reductions.len, 6);
    cr_expect_eq(plan->kernels.data[1]->outputs.len, 0);
    cr_expect_eq(plan->kernels.data[1]->loads, 3);
    finish(&c);
    arena_free(arena);
}

/* What each of the instructions and kernel nodes of layers says is read back as it was. */
Test(kernel, text_of_layers) {
    Arena *arena = arena_new();
    Case c = start(2, (int64_t[]){12, 10});
    Node u = field_input(&c, 2, 1, -1, 1), k = graph_unary(c.m, c.f, OP_SUM, u, SPAN_NONE);
    Type t = type_field(c.grid, 2);
    Node row = graph_add(c.m, c.f, OP_ROW, (Node[]){k, k}, 2, 0, 0, SPAN_NONE);
    row = graph_unary(c.m, c.f, OP_BATCHMEAN, row, SPAN_NONE);
    show(&c, graph_add_typed(c.m, c.f, OP_BYCHANNEL, t, &row, 1, 0, 0, SPAN_NONE));
    show(&c, graph_add(c.m, c.f, OP_ENTRY, &row, 1, 1, 0, SPAN_NONE));
    show(&c, graph_add_typed(c.m, c.f, OP_NORMAL, t, (Node[]){k, k}, 2, 4, 0, SPAN_NONE));
    for (uint32_t first = 0; first < 2; first++) {
        Node coarse = graph_add(c.m, c.f, OP_RESTRICT, &u, 1, first, 0, SPAN_NONE);
        show(&c, graph_add(c.m, c.f, OP_PROLONG, &coarse, 1, first, 0, SPAN_NONE));
    }
    show(&c, graph_unary(c.m, c.f, OP_MAXPOOL, u, SPAN_NONE));
    Text text = {0}, again = {0};
    Plan *plan = plan_of(&c, arena);
    cr_assert_null(plan_verify(plan, arena), "%s", plan_verify(plan, arena));
    plan_print(plan, &text);
    char *error = NULL;
    Plan *read = plan_read(text.data, text.len, arena, &error);
    cr_assert(read, "%s", error);
    plan_print(read, &again);
    cr_expect_str_eq(text.data, again.data);
    no_harm(&text);
    text_free(&text);
    text_free(&again);
    finish(&c);
    arena_free(arena);
}
