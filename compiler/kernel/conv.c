/* Convolutions in a plan: how each form of one is computed. */
#include "compiler/kernel/plan_ir.h"

#include <string.h>

const char *const conv_form_names[CONV_FORMS] = {"forward", "transposed", "weights"};

uint32_t plan_add_conv(Plan *plan, const Conv *conv) {
    for (uint32_t i = 0; i < plan->convs.len; i++)
        if (memcmp(&plan->convs.data[i], conv, sizeof *conv) == 0) return i;
    vec_push(&plan->convs, *conv);
    vec_push(&plan->ways, (ConvWays){{WAY_any}});
    return plan->convs.len - 1;
}

/* u has n cells on an axis, v m = n / stride, rounded up. In a padded array position P = stride p + dilation t
 * of u is read for cell p of v, at cell P - low.
 *
 * Forward: split P into its cells of even and odd number. Transposed: made is P - (low - ghosts) = stride q +
 * phase; cell p = q + (phase + low - ghosts - dilation t) / stride of v meets it, for those t where this is
 * whole; v is padded with zeros. */
ConvPlan conv_plan(const Conv *conv, ConvForm form) {
    ConvPlan p = {.groups = conv->groups, .phases = 1, .made_phases = 1};
    p.in = (form == CONV_TRANSPOSED ? conv->out : conv->in) / conv->groups;
    p.out = (form == CONV_TRANSPOSED ? conv->in : conv->out) / conv->groups;
    for (uint32_t a = 0; a < MAX_RANK; a++) {
        int64_t low = conv_low(conv, a), high = conv_high(conv, a), s = conv->stride[a];
        p.axis[a].split = p.axis[a].made_split = 1;
        if (form != CONV_TRANSPOSED) {
            p.axis[a].split = (uint32_t)s;
            p.axis[a].low = low;
            p.axis[a].rest = high;
        } else {
            p.axis[a].made_split = (uint32_t)s;
            p.axis[a].ghost[0] = conv->sides[a][0] == SIDE_GHOST ? 0 : low;
            p.axis[a].ghost[1] = conv->sides[a][1] == SIDE_GHOST ? 0 : high;
            p.axis[a].low = (high + p.axis[a].ghost[0] + s - 1) / s;
            p.axis[a].rest = (s - 1 + low - p.axis[a].ghost[0]) / s;
            p.folds = p.folds || s > 1 || p.axis[a].ghost[0] || p.axis[a].ghost[1];
        }
        p.phases *= p.axis[a].split;
        p.made_phases *= p.axis[a].made_split;
    }
    return p;
}

ConvTaps conv_taps(const Conv *conv, ConvForm form, uint32_t axis, uint32_t phase) {
    if (form != CONV_TRANSPOSED || conv->stride[axis] == 1)
        return (ConvTaps){0, 1, conv->size[axis]};
    int64_t from = conv_low(conv, axis);
    if (conv->sides[axis][0] != SIDE_GHOST) from = 0;
    uint32_t parity = (uint32_t)(from + phase) & 1;
    if (conv->dilation[axis] % 2 == 0) return (ConvTaps){0, 1, parity ? 0 : conv->size[axis]};
    return (ConvTaps){parity, 2, (conv->size[axis] - parity + 1) / 2};
}
