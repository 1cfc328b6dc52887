"""`pdn test` on every module of stdlib/ and every example that holds tests."""
import glob
import os
import re

from .common import FAILED, PASSED, Case


def run(path, context):
    name = os.path.relpath(path, context.root)
    outcomes = []
    for threads in (1, 2):
        status, out, err = context.pdn(["test", path, "--threads", str(threads)],
                                       context.folder(), limit=300)
        title = f"{name} (--threads {threads})"
        counts = re.search(r"^(\d+) passed, (\d+) failed$", out, re.MULTILINE)
        passed, failed = (int(n) for n in counts.groups()) if counts else (0, 0)
        outcomes.append((PASSED, title, "", passed))
        if status or failed or not passed:
            shown = "\n".join(line for line in out.splitlines() if not line.startswith("passed:"))
            outcomes.append((FAILED, title, f"exit status {status}\n{shown}\n{err}", max(1, failed)))
    return outcomes


def cases(context):
    found = []
    for path in sorted(glob.glob(os.path.join(context.root, "stdlib", "**", "*.pdn"), recursive=True) +
                       glob.glob(os.path.join(context.root, "examples", "**", "*.pdn"), recursive=True)):
        with open(path, encoding="utf-8") as file:
            if re.search(r'^test\s+"', file.read(), re.MULTILINE):
                found.append(Case(os.path.relpath(path, context.root), lambda c, p=path: run(p, c)))
    return found
