#include "compiler/driver/ways.h"
#include "compiler/llvm/code.h"

#include <string.h>

/* Where they stand in the cache: a line for each convolution, "way: convolution". */
static const char name[] = "ways of convolutions";

typedef struct {
    const char *convolution;
    uint32_t way;
} Verdict;

struct Ways {
    VEC(Verdict) verdicts;
    uint32_t forced;
    bool ignored;
};

static CodeTarget target_of(const Session *s) {
    return (CodeTarget){.optimise = s->options->optimise, .exact = s->options->exact};
}

/* Lines that this version does not know are left out. */
static void read_verdicts(Session *s, char *text) {
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        char *convolution = strstr(line, ": ");
        if (!convolution) continue;
        *convolution = 0;
        for (uint32_t w = 1; w < plan_ways(); w++)
            if (strcmp(line, plan_way_name(w)) == 0)
                ways_judge(s, arena_format(s->arena, "%s\n", convolution + 2), w);
    }
}

static Ways *ways_of(Session *s) {
    if (s->ways) return s->ways;
    s->ways = ARENA_NEW(s->arena, Ways);
    *s->ways = (Ways){0};
    const char *cache = session_cache(s);
    CodeTarget target = target_of(s);
    char *text = cache ? code_cache_text(cache, &target, name) : NULL;
    if (text) read_verdicts(s, text);
    mem_free(text);
    return s->ways;
}

static uint32_t verdict_on(const Ways *ways, const char *convolution) {
    for (uint32_t i = 0; i < ways->verdicts.len; i++)
        if (strcmp(ways->verdicts.data[i].convolution, convolution) == 0)
            return ways->verdicts.data[i].way;
    return 0;
}

void ways_apply(Session *s, Plan *plan) {
    if (!plan_convolutions(plan)) return;
    const Ways *ways = ways_of(s);
    for (uint32_t c = 0; c < plan_convolutions(plan); c++)
        for (uint32_t f = 0; f < plan_forms(); f++) {
            Text text = {0};
            plan_convolution_text(plan, c, f, &text);
            plan_set_way(plan, c, f,
                         ways->forced    ? ways->forced
                         : ways->ignored ? 0
                                         : verdict_on(ways, text.data));
            text_free(&text);
        }
}

void ways_of_model(Session *s, bool only) { ways_of(s)->ignored = only; }

void ways_force(Session *s, uint32_t way) { ways_of(s)->forced = way; }

void ways_judge(Session *s, const char *convolution, uint32_t way) {
    Ways *ways = ways_of(s);
    for (uint32_t i = 0; i < ways->verdicts.len; i++)
        if (strcmp(ways->verdicts.data[i].convolution, convolution) == 0) {
            ways->verdicts.data[i].way = way;
            return;
        }
    vec_push(&ways->verdicts, ((Verdict){arena_format(s->arena, "%s", convolution), way}));
}

bool ways_keep(Session *s) {
    const Ways *ways = ways_of(s);
    const char *cache = session_cache(s);
    CodeTarget target = target_of(s);
    Text text = {0};
    if (!cache) return false;
    for (uint32_t i = 0; i < ways->verdicts.len; i++) {
        const Verdict *v = &ways->verdicts.data[i];
        if (v->way) text_printf(&text, "%s: %s", plan_way_name(v->way), v->convolution);
    }
    code_cache_keep(cache, &target, name, text.data ? text.data : "");
    text_free(&text);
    return true;
}

void ways_close(Session *s) {
    if (s->ways) vec_free(&s->ways->verdicts);
}
