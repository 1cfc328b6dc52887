/* train.h: loops over data, training, networks in files. Private to sema. */
#ifndef PDN_TRAIN_H
#define PDN_TRAIN_H

#include "compiler/sema/value.h"

/* for x in data { } */
void each_statement(Elab *e, const Env *env, const Value *data, const Stmt *stmt);
void train_statement(Elab *e, const Env *env, const Stmt *stmt);
void load_statement(Elab *e, const Env *env, const Stmt *stmt); /* load net from "file" */
void save_network(Elab *e, const Value *what, const char *path, Span span);

#endif
