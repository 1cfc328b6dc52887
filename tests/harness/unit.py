"""The Criterion tests: one program; each test in it counts."""
import os
import re
import shlex

from .common import FAILED, PASSED, SKIPPED, Case

LINE = re.compile(r"^(ok|not ok) - (\S+)\s*(.*)$", re.MULTILINE)


def run(program, context):
    wrap = shlex.split(context.options.wrap)
    if wrap and wrap[0] == "valgrind":
        wrap.insert(1, "--trace-children=yes")
    folder = context.folder()
    report = os.path.join(folder, "report.tap")
    status, out, err = context.command(wrap + [program, f"--tap={report}"], folder, limit=600)
    if not os.path.exists(report):
        return [(FAILED, "pdn_unit", f"exit status {status}, no report\n{out}{err}")]
    with open(report, encoding="utf-8", errors="replace") as file:
        tests = LINE.findall(file.read())
    outcomes, said = [], False
    for result, name, rest in tests:
        if result != "ok":
            # what the tests said is printed once, with the first that failed
            outcomes.append((FAILED, name, "" if said else "\n" + out + err))
            said = True
        elif "# SKIP" in rest:
            outcomes.append((SKIPPED, name, rest.split("# SKIP", 1)[1].strip()))
        else:
            outcomes.append((PASSED, name, ""))
    outcomes += [(SKIPPED, "pdn_unit", why)
                 for why in re.findall(r"^\[WARN\] skipped: (.*)$", out + err, re.MULTILINE)]
    # Criterion ends with 1 where a test was skipped
    if status and not any(outcome[0] != PASSED for outcome in outcomes):
        outcomes.append((FAILED, "pdn_unit", f"exit status {status}\n{out}{err}"))
    return outcomes


def cases(context):
    program = os.path.join(context.build, "tests", "pdn_unit")
    if os.path.exists(program):
        return [Case("pdn_unit", lambda c: run(program, c))]
    return [Case("pdn_unit", lambda c: [(FAILED, "pdn_unit", f"{program} is not built")])]
