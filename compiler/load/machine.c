/* What kernels must know of a target, from its name or from this processor. */
#include "compiler/load/load.h"

#include <stdlib.h>
#include <string.h>
#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__)
#include <sys/auxv.h>
#endif

/* CPUs of x86-64 by what matters here; others with avx2 or avx512 in their features. */
static const struct {
    const char *name;
    uint32_t bits;
} cpus[] = {
    {"x86-64-v3", 256},  {"haswell", 256},        {"broadwell", 256},      {"skylake", 256},
    {"znver1", 256},     {"znver2", 256},         {"znver3", 256},         {"alderlake", 256},
    {"raptorlake", 256}, {"x86-64-v4", 512},      {"skylake-avx512", 512}, {"cascadelake", 512},
    {"cooperlake", 512}, {"icelake-client", 512}, {"icelake-server", 512}, {"tigerlake", 512},
    {"rocketlake", 512}, {"sapphirerapids", 512}, {"emeraldrapids", 512},  {"graniterapids", 512},
    {"znver4", 512},     {"znver5", 512},
};

static bool starts(const char *text, const char *with) {
    return strncmp(text, with, strlen(with)) == 0;
}

static bool has(const char *features, const char *feature) {
    return features && strstr(features, feature) != NULL;
}

/* What all processors of x86-64 have. */
static void x86(Machine *m) {
    m->streams = true;
    m->flushes = !m->exact;
}

#if defined(__x86_64__)
static void this_x86(Machine *m) {
    __builtin_cpu_init();
    m->fma = __builtin_cpu_supports("fma") && __builtin_cpu_supports("avx2");
    m->vector_bits = m->fma ? 256 : 128;
    if (m->fma && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw"))
        m->vector_bits = 512;
    m->estimates = m->vector_bits == 512 && __builtin_cpu_is("intel");
    x86(m);
}
#endif

static void named_x86(const CodeTarget *target, Machine *m) {
    m->vector_bits = 128;
    for (size_t i = 0; i < sizeof cpus / sizeof *cpus; i++)
        if (target->cpu && strcmp(target->cpu, cpus[i].name) == 0) m->vector_bits = cpus[i].bits;
    if (has(target->features, "+avx512vl") && has(target->features, "+avx512dq"))
        m->vector_bits = 512;
    else if (m->vector_bits < 256 && has(target->features, "+avx2") &&
             has(target->features, "+fma"))
        m->vector_bits = 256;
    if (m->vector_bits == 512 && has(target->features, "-avx512")) m->vector_bits = 256;
    m->fma = m->vector_bits >= 256;
    m->estimates = m->vector_bits == 512 && !(target->cpu && starts(target->cpu, "znver"));
    x86(m);
}

/* 32 registers of vectors come with AVX-512 and with AArch64. */
static Machine with_registers(Machine m, bool many) {
    m.registers = many || m.vector_bits == 512 ? 32 : 16;
    return m;
}

Machine machine_of(const CodeTarget *target) {
    static const CodeTarget none = {0};
    const CodeTarget *t = target ? target : &none;
    Machine m = {.vector_bits = 128, .cpu = t->cpu, .features = t->features, .exact = t->exact};
    const char *native = t->cpu && strcmp(t->cpu, "native") != 0 ? NULL : "";
    /* another processor than this one, for programs that run the code and do not know all of it (valgrind) */
    const char *asked = getenv("PDN_CPU");
    CodeTarget instead;
    if (asked && *asked && !t->triple && native && !t->features) {
        instead = *t;
        instead.cpu = m.cpu = asked;
        t = &instead;
        native = NULL;
    }
    if (!t->triple && native && !t->features) {
        m.native = true;
        m.cpu = NULL;
#if defined(__x86_64__)
        this_x86(&m);
        return with_registers(m, false);
#elif defined(__aarch64__)
        m.fma = true;
        return with_registers(m, true);
#else
        return with_registers(m, false);
#endif
    }
#if defined(__x86_64__)
    const char *triple = t->triple ? t->triple : "x86_64";
#elif defined(__aarch64__)
    const char *triple = t->triple ? t->triple : "aarch64";
#else
    const char *triple = t->triple ? t->triple : "";
#endif
    if (starts(triple, "x86_64"))
        named_x86(t, &m);
    else if (starts(triple, "aarch64") || starts(triple, "arm64"))
        m.fma = true;
    else if (starts(triple, "wasm") && !m.features)
        m.features = "+simd128,+nontrapping-fptoint"; /* in every engine since 2021 */
    return with_registers(m, starts(triple, "aarch64") || starts(triple, "arm64"));
}

bool code_target_has_fma(const CodeTarget *target) { return machine_of(target).fma; }

int code_target_vector_bits(const CodeTarget *target) {
    return (int)machine_of(target).vector_bits;
}

void machine_describe(const CodeTarget *target, Text *out) {
    Machine m = machine_of(target);
    text_printf(out, "triple %s cpu %s features %s level %d bits %u estimates %d exact %d\n",
                target && target->triple ? target->triple : "", m.cpu ? m.cpu : "",
                m.features ? m.features : "", target ? target->optimise : 3, m.vector_bits,
                m.estimates, m.exact);
    if (!m.native) return;
#if defined(__x86_64__)
    for (unsigned leaf = 0; leaf < 8;
         leaf += leaf ? 6 : 1) { /* 0: maker; 1, 7: family and features */
        unsigned a = 0, b = 0, c = 0, d = 0;
        __get_cpuid_count(leaf, 0, &a, &b, &c, &d);
        if (leaf == 1) {
            b = 0; /* holds the number of the core */
            c &= ~(1u << 27);
        }
        text_printf(out, "%x %x %x %x\n", a, b, c, d);
    }
#elif defined(__aarch64__)
    text_printf(out, "%lx %lx\n", getauxval(AT_HWCAP), getauxval(AT_HWCAP2));
#endif
}
