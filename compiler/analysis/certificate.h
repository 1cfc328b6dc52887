/* certificate: what is proved about the stability of a scheme, a network, a step, and by which theorem.
 *
 * A verdict comes from one row of theorems.def, whose hypotheses were checked with the numbers that the certificate
 * names. What no row proves has no proof. docs/certificates.md has the theorems with their proofs. */
#ifndef PDN_ANALYSIS_CERTIFICATE_H
#define PDN_ANALYSIS_CERTIFICATE_H

#include "compiler/analysis/analysis.h"

typedef enum { VERDICT_NONE, VERDICT_STABLE, VERDICT_UNSTABLE } Verdict;

typedef enum {
    THEOREM_NONE,
#define THEOREM(id, ...) THEOREM_##id,
#include "compiler/analysis/theorems.def"
#undef THEOREM
    THEOREM_COUNT
} TheoremId;

/* What holds where the verdict is stable; ‖·‖ is the Euclidean norm over all cells and channels. */
typedef enum {
    CLAIM_NONE,
    CLAIM_STEP,    /* ‖u[k+1]‖ <= ‖u[k]‖ */
    CLAIM_CYCLE,   /* ‖u[k]‖ <= ‖u[0]‖ for the last k, though not step by step */
    CLAIM_HISTORY, /* ‖u[k+1]‖ <= the largest of ‖u[k]‖, ‖u[k-1]‖, … */
    CLAIM_BOUNDED, /* all powers of the step are bounded */
} Claim;

enum { CERTIFICATE_NUMBERS = 8 };

/* A hypothesis' number, such as L, ‖K‖² or τ. Static texts. */
typedef struct {
    const char *name;
    double value;
} CertificateNumber;

typedef struct {
    Verdict verdict;
    TheoremId theorem; /* of the verdict */
    TheoremId part;    /* of a composition: that of its least certain part; else THEOREM_NONE */
    Claim claim;
    bool weights; /* for weights that are known: rows of numbers, such as those of a convolution */
    bool linear;  /* the step is linear, maybe with a source */
    /* the claim is about differences of two solutions: there is a source, or a boundary value */
    bool differences;
    CertificateNumber numbers[CERTIFICATE_NUMBERS];
    uint32_t count;
    /* where there is no proof: what is missing, in the field's words, with what would help */
    const char *missing;
    /* where there is no proof: the form of a theorem was found, and its numbers are what fails */
    bool close;
    double largest; /* the step may be so many times as large, with this proof; 0: not known */
    int64_t layers; /* steps that differ and were looked at one by one; 1: all are alike */
    int64_t worst;  /* k of the one whose numbers are given, or that has no proof */
    Name name;      /* of the scheme or network */
    Span span;      /* of the call */
} Certificate;

typedef struct {
    const char *id;        /* "sector" */
    const char *title;     /* "sector condition" */
    const char *statement; /* hypotheses and claim */
    const char *source;    /* author, title, year */
} TheoremInfo;

/* NULL for THEOREM_NONE. */
const TheoremInfo *theorem_info(TheoremId id);
const char *verdict_text(Verdict verdict); /* "proved stable", "proved unstable", "no proof" */
const char *claim_text(const Certificate *c);
/* One line: verdict, theorem, numbers; or what is missing. Ends without a newline. */
void certificate_text(const Certificate *c, Text *out);

/* ---- what is known of values ---------------------------------------------------------- */

/* Of a number, a row of numbers, or a stack of those: its value, or else where it lies. */
typedef struct {
    bool known;
    Array value;      /* where known; data in the caller's memory */
    double low, high; /* else: of every number; infinite where nothing is known */
    /* else, of weights of convolutions: ‖K‖ with each boundary in `convs` is at most this */
    double norm;
    const ConvId *convs;
    uint32_t conv_count;
} Fact;

#define FACT_NOTHING ((Fact){.low = -HUGE_VAL, .high = HUGE_VAL, .norm = HUGE_VAL})

/* Facts of nodes that come from outside the graph: INPUT, PARAM, the results of a TASK. False: nothing is known. */
typedef struct {
    bool (*fact)(void *context, FuncId func, Node node, Fact *out);
    void *context;
} Facts;

/* ---- certificates ------------------------------------------------------------------------ */

typedef VEC(Certificate) Certificates;

/* One for each loop of a recurrence that results or effects of `func` need, in order; loops inside loops are part of
 * the one around them. Texts are static; numbers, names and spans belong to nobody. Leaves the module as it was. */
void certify_loops(Module *module, FuncId func, const Facts *facts, Certificates *out);
/* Of the whole function of its first field (an INPUT or PARAM node), as result 0 depends on it: a scheme whose last
 * state it is, or one step. */
Certificate certify_func(Module *module, FuncId func, const Facts *facts);

#endif
