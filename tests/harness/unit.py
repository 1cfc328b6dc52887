"""The Criterion tests: one program; each test in it counts."""
import glob
import os
import re
import shlex

from .common import FAILED, OLDER_PROCESSOR, PASSED, SKIPPED, UNKNOWN_INSTRUCTION, Case

LINE = re.compile(r"^(ok|not ok) - (\S+)\s*(.*)$", re.MULTILINE)


class Valgrind:
    """Criterion runs every test in a process of its own and does not look at its exit status: what valgrind has to
    say of each is in a file. What tests call (compilers, qemu, a shell) runs by itself."""

    def __init__(self, wrap, folder):
        self.wrap, self.folder = wrap, folder

    def command(self):
        return [self.wrap[0], "--trace-children=yes", "--trace-children-skip=/bin/*,/usr/*,/lib/*",
                f"--log-file={self.folder}/valgrind.%p"] + self.wrap[1:]

    def reports(self):
        """(test where that is known, text) of each process, and whether one met an instruction unknown to valgrind."""
        found, unknown = [], False
        for path in sorted(glob.glob(os.path.join(self.folder, "valgrind.*"))):
            with open(path, encoding="utf-8", errors="replace") as file:
                text = file.read()
            if UNKNOWN_INSTRUCTION in text:
                unknown = True
            elif text:
                test = re.search(r": (\w+)_impl \(", text)
                found.append((test.group(1) if test else "?", text))
        return found, unknown


def again(program, wrap, context, name):
    """Runs one test for an older processor: its outcomes, an empty list where it passed."""
    folder = context.folder()
    under = Valgrind(wrap, folder)
    report = os.path.join(folder, "report.tap")
    _, out, err = context.command(under.command() + [program, f"--tap={report}", "--filter", name.replace("::", "/")],
                                  folder, limit=600, environment=OLDER_PROCESSOR)
    with open(report, encoding="utf-8", errors="replace") as file:
        tests = LINE.findall(file.read())
    outcomes = [(FAILED, test, text) for test, text in under.reports()[0]]
    if [(result, test) for result, test, rest in tests if "# SKIP" not in rest] != [("ok", name)]:
        outcomes.append((FAILED, name, "\n" + out + err))
    return outcomes


def run(program, context):
    wrap = shlex.split(context.options.wrap)
    folder = context.folder()
    under = Valgrind(wrap, folder) if wrap and wrap[0] == "valgrind" else None
    wrapped = under.command() if under else wrap
    report = os.path.join(folder, "report.tap")
    status, out, err = context.command(wrapped + [program, f"--tap={report}"], folder, limit=600)
    if not os.path.exists(report):
        return [(FAILED, "pdn_unit", f"exit status {status}, no report\n{out}{err}")]
    with open(report, encoding="utf-8", errors="replace") as file:
        tests = LINE.findall(file.read())
    reports, unknown = under.reports() if under else ([], False)
    outcomes, said = [(FAILED, test, "\n" + text) for test, text in reports], False
    for result, name, rest in tests:
        if result != "ok" and unknown and f"{name}: CRASH!" in out + err:
            once_more = again(program, wrap, context, name)
            outcomes += once_more or [(PASSED, name, "")]
            status = 0
        elif result != "ok":
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
