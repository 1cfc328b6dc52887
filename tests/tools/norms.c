/* norms: bounds of convolutions for tests/check/norms.py. Reads from standard input, again and again, numbers
 *   rank in out groups, then size stride dilation low-side high-side for each axis, x first, then the weights;
 * writes a line with the bound and, after each of them, the gradient if the argument is "gradient". */
#include "runtime/pdn.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv) {
    PdnConvShape s = {0};
    bool wanted = argc > 1 && strcmp(argv[1], "gradient") == 0;
    while (scanf("%d %" SCNd64 " %" SCNd64 " %" SCNd64, &s.rank, &s.in, &s.out, &s.groups) == 4) {
        int64_t count = s.out * (s.in / s.groups);
        for (int a = 0; a < s.rank && a < 3; a++) {
            if (scanf("%" SCNd64 " %" SCNd64 " %" SCNd64 " %d %d", &s.size[a], &s.stride[a],
                      &s.dilation[a], &s.sides[a][0], &s.sides[a][1]) != 5)
                return 1;
            count *= s.size[a];
        }
        double *w = malloc(2 * sizeof *w * (size_t)count);
        for (int64_t i = 0; i < count; i++)
            if (!w || scanf("%lf", &w[i]) != 1) return 1;
        printf("%.17g", pdn_conv_norm(&s, PDN_F64, w, wanted ? w + count : NULL));
        for (int64_t i = 0; wanted && i < count; i++) printf(" %.17g", w[count + i]);
        printf("\n");
        fflush(stdout);
        free(w);
    }
    return 0;
}
