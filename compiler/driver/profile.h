/* profile: where the time of compiled programs goes, by the places of their instructions (compiler/kernel/plan.h). Every call
 * that a program makes of its host is timed on the way; nothing is added to the program. */
#ifndef PDN_PROFILE_H
#define PDN_PROFILE_H

#include "compiler/driver/execute.h"
#include "compiler/kernel/plan.h"

/* What launched together, or one instruction, on grids of one size. */
typedef struct {
    uint32_t program;    /* of Profile.programs */
    uint32_t place;      /* 0: the host program itself, outside of all calls */
    uint32_t first, end; /* stages of the relay at `place`; end 0: the instruction alone */
    int64_t extent[MAX_RANK];
    double launches; /* of kernels: those of a group count each */
    double passes;   /* times that it ran */
    double seconds, flops, bytes;
} ProfileRow;

typedef VEC(ProfileRow) ProfileRows;

typedef struct {
    FuncId func;
    const Plan *plan;
} ProfileProgram;

typedef struct Profile {
    VEC(ProfileProgram) programs;
    ProfileRows rows;
    double inside;        /* seconds of programs that have ended */
    double calls;         /* that were timed */
    pthread_mutex_t lock; /* programs may run side by side */
} Profile;

void profile_open(Profile *p);
/* What was measured, which it forgets: the caller's. */
ProfileRows profile_take(Profile *p, double *calls);
void profile_close(Profile *p);

/* One run of a program: of samples that run side by side each counts as its share of the time. */
typedef struct Meter Meter;
/* Calls of `host`, which stays the caller's, are timed where they go through meter_host instead. */
Meter *meter_start(Profile *p, Running *r, const PdnHost *host, const Plan *plan);
const PdnHost *meter_host(const Meter *m);
void meter_stop(Meter *m); /* adds it to the profile, and is freed */

#endif
