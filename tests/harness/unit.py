"""The Criterion tests: one program; each test in it counts."""
import os
import re
import shlex

from .common import FAILED, PASSED, Case

SYNTHESIS = re.compile(r"Tested: (\d+) \| Passing: (\d+) \| Failing: (\d+) \| Crashing: (\d+)")


def run(program, context):
    wrap = shlex.split(context.options.wrap)
    if wrap and wrap[0] == "valgrind":
        wrap.insert(1, "--trace-children=yes")
    status, out, err = context.command(wrap + [program], context.folder(), limit=600)
    match = SYNTHESIS.search(err) or SYNTHESIS.search(out)
    if not match:
        return [(FAILED, "pdn_unit", f"exit status {status}, no synthesis\n{out}{err}")]
    _, passing, failing, crashing = map(int, match.groups())
    outcomes = [(PASSED, "pdn_unit", "", passing)]
    if failing + crashing:
        outcomes.append((FAILED, "pdn_unit", "\n" + out + err, failing + crashing))
    elif status:
        outcomes.append((FAILED, "pdn_unit", f"exit status {status}\n{out}{err}"))
    return outcomes


def cases(context):
    program = os.path.join(context.build, "tests", "pdn_unit")
    if os.path.exists(program):
        return [Case("pdn_unit", lambda c: run(program, c))]
    return [Case("pdn_unit", lambda c: [(FAILED, "pdn_unit", f"{program} is not built")])]
