/* effect.h: print, assert and save, as effects of the graph. Private to sema. */
#ifndef PDN_EFFECT_H
#define PDN_EFFECT_H

#include "compiler/sema/value.h"

void effect_print(Elab *e, const Env *env, const Stmt *stmt);
void effect_assert(Elab *e, const Env *env, const Stmt *stmt);
void effect_save(Elab *e, const Env *env, const Stmt *stmt);

#endif
