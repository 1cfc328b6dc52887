/* parts: the object file of a program, made by several threads. Private to compiler/llvm. */
#ifndef PDN_LLVM_PARTS_H
#define PDN_LLVM_PARTS_H

#include "compiler/llvm/emit.h"
#include "compiler/llvm/target.h"

/* Where the program comes from: what is written into an Emit that was started. Called by several threads at once. */
typedef struct {
    const Plan *plan;
    bool standalone;
    void (*emit)(Emit *e, const void *context);
    const void *context;
} Source;

/* Which function goes into which part: by the program alone, so that the object is the same however many threads make it. */
typedef struct {
    uint32_t parts, count;
    const char **names; /* of functions */
    uint32_t *part;     /* of function i */
} Division;

/* Of a program as it was emitted, before passes; from e's arena. One part where there is little to compile, or where objects of
 * the target are not known to objects_join. */
Division parts_divide(const Emit *e, const Target *t);
/* The object file, from mem_alloc, of a program that `e` holds, optimised or not; e's module is of no use after it. */
bool parts_object(Emit *e, const Target *t, const Source *source, const Division *division,
                  bool optimised, void **bytes, size_t *size, char **error);

/* objects.c: one ELF object of several, whose hidden symbols become local to it. Takes little-endian 64-bit objects of
 * code and constants; false, and a message, for others. */
typedef struct {
    void *bytes;
    size_t size;
} Object;
bool objects_join(const Object *objects, uint32_t count, void **bytes, size_t *size, char **error);

#endif
