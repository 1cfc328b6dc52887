/* How much work a program says its launches are: in proportion to the cells, and not far from what it is. Whether several
 * threads take part depends on it, so these are wide limits around counts by hand. */
#include "tests/unit/cases.h"

#include <criterion/criterion.h>

/* Cycles that the program of a case says. */
static double work_of(Case *c, bool f64) {
    double d = differ(c, f64, 1);
    cr_assert(d >= 0 && d < 1e-4, "off by %g", d);
    double work = (double)c->run.work;
    finish(c);
    return work;
}

static Case smoothing(int64_t nx, int64_t ny, int depth) {
    Case c = start(2, (int64_t[]){nx, ny});
    StencilId s = laplacian(&c, SIDE_EVEN);
    Node u = field_input(&c, 1, 3, -1, 1);
    for (int i = 0; i < depth; i++) u = graph_add(c.m, c.f, OP_STENCIL, &u, 1, s, 0, SPAN_NONE);
    show(&c, u);
    return c;
}

Test(code_work, stencils) {
    Case small = smoothing(16, 16, 1), large = smoothing(1024, 512, 1),
         deep = smoothing(1024, 512, 2), wide = smoothing(1024, 512, 1);
    double few = work_of(&small, false), many = work_of(&large, false),
           more = work_of(&deep, false), precise = work_of(&wide, true);
    /* 9 operations a cell, 4 to 16 in a vector; two numbers of 4 bytes moved */
    cr_expect(few >= 200 && few <= 3000, "16 x 16: %g cycles", few);
    cr_expect(many >= 512 * 1024 * 0.3 && many <= 512 * 1024 * 3.0, "1024 x 512: %g cycles", many);
    cr_expect(more > many, "two of them: %g, one: %g", more, many);
    cr_expect(precise > 1.5 * many && precise < 2.5 * many, "f64: %g, f32: %g", precise, many);
}

static double convolution(int64_t n, uint32_t form) {
    Case c = start(2, (int64_t[]){n, n});
    Conv conv = {.rank = 2,
                 .in = 4,
                 .out = 8,
                 .groups = 1,
                 .size = {3, 3, 1},
                 .stride = {1, 1, 1},
                 .dilation = {1, 1, 1}};
    for (int a = 0; a < 2; a++) conv.sides[a][0] = conv.sides[a][1] = SIDE_EVEN;
    ConvId id = graph_conv(c.m, &conv);
    Node u = field_input(&c, 4, 3, -1, 1), v = field_input(&c, 8, 4, -1, 1), x[2];
    uint32_t number = c.m->inputs.len;
    Type row = type_field(graph_row(c.m, conv_weights(&conv)), 1);
    vec_push(&c.m->inputs, ((Input){.type = row}));
    c.data[number] = calloc(conv_weights(&conv), sizeof(double));
    Node w = graph_add_typed(c.m, c.f, OP_INPUT, row, NULL, 0, number, 0, SPAN_NONE);
    x[0] = form == OP_CONVT ? v : u;
    x[1] = form == OP_CONVW ? v : w;
    show(&c, graph_add(c.m, c.f, form, x, 2, id, 0, SPAN_NONE));
    return work_of(&c, false);
}

Test(code_work, convolutions) {
    static const uint32_t forms[] = {OP_CONV, OP_CONVT, OP_CONVW};
    for (int i = 0; i < 3; i++) { /* 288 products a cell, 8 to 32 a cycle */
        double few = convolution(8, forms[i]), many = convolution(128, forms[i]);
        cr_expect(few >= 64 * 8 && few <= 64 * 90 + 2000, "8 x 8, form %d: %g cycles", i, few);
        cr_expect(many >= 128 * 128 * 8 && many <= 128 * 128 * 90, "128 x 128, form %d: %g cycles",
                  i, many);
    }
}

static double systems(int64_t n, uint32_t axis) {
    Case c = start(2, (int64_t[]){n, n});
    Node operands[4];
    for (uint32_t i = 0; i < 4; i++)
        operands[i] = field_input(&c, 1, i, i == 2 ? 2.2 : -1, i == 2 ? 3 : 1);
    show(&c, graph_add(c.m, c.f, OP_TRIDIAG, operands, 4, axis, 0, SPAN_NONE));
    return work_of(&c, false);
}

Test(code_work, tridiagonal_systems) {
    for (uint32_t axis = 0; axis < 2; axis++) {
        double few = systems(10, axis), many = systems(200, axis);
        cr_expect(few >= 50 && few <= 3000, "10 x 10: %g cycles", few);
        cr_expect(many >= 200 * 200 * 0.5 && many <= 200 * 200 * 20, "200 x 200: %g cycles", many);
    }
}
