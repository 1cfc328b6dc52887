/* Standalone files. */
#include "compiler/llvm/emit.h"
#include "compiler/llvm/target.h"

bool aot_build(const Plan *plan, const Module *module, const CodeBuild *build, const Machine *machine, char **error)
{
    *error = target_message("not yet");
    return false;
}
