/* build_target: what --target, --cpu and --features of `pdn build` say, looked at before anything is built. */
#ifndef PDN_BUILD_TARGET_H
#define PDN_BUILD_TARGET_H

#include "compiler/driver/options.h"
#include "compiler/llvm/code.h"

/* `--cpu help`, and so on: prints what there is. False: none of them asks for it. *status: of the command. */
bool target_help(const Options *o, const CodeTarget *target, int *status);
/* Is there such a target? False after a message that says what is near. */
bool target_known(const Options *o, const CodeTarget *target);

#endif
