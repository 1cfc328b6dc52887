/* effect.h: print, assert and save, as effects of the graph. Private to sema. */
#ifndef PDN_EFFECT_H
#define PDN_EFFECT_H

#include "compiler/sema/value.h"

const char *source_text(Elab *e, Span span); /* as the user wrote it */
/* Values for the host, in order: an effect of the current function. */
void effect_add(Elab *e, Action action, const Node *values, uint32_t count);
void effect_report(Elab *e, const Env *env, const Stmt *stmt);
void effect_print(Elab *e, const Env *env, const Stmt *stmt);
void effect_assert(Elab *e, const Env *env, const Stmt *stmt);
void effect_save(Elab *e, const Env *env, const Stmt *stmt);

#endif
