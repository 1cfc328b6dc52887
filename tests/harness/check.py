"""Scripts of tests/check and tests/python: exit status 0 is a pass, 77 a skip (the last line says why). A last line
`N passed, M failed, K skipped` counts as that many; lines `skipped: …` are shown."""
import glob
import os
import re

from .common import FAILED, PASSED, SKIPPED, Case


def run(path, context):
    name = os.path.basename(path)
    program = ["/usr/bin/python3", "-B"] if path.endswith(".py") else ["bash"]
    if path.endswith(".py") and not os.path.exists(program[0]):
        program[0] = "python3"
    status, out, err = context.command(program + [path], context.folder(), limit=300)
    lines = (out + err).strip().splitlines()
    counts = re.fullmatch(r"(\d+) passed, (\d+) failed, (\d+) skipped", lines[-1]) if lines else None
    if status == 0:
        skips = [(SKIPPED, name, line[8:].strip()) for line in lines if line.startswith("skipped:")]
        return [(PASSED, name, "", int(counts.group(1)) if counts else 1)] + skips
    if status == 77:
        return [(SKIPPED, name, lines[-1] if lines else "")]
    return [(FAILED, name, f"exit status {status}\n{out}{err}")]


def cases(context):
    tests = os.path.join(context.root, "tests")
    paths = sorted(p for pattern in ("check/*.py", "check/*.sh", "python/test_*.py")
                   for p in glob.glob(os.path.join(tests, pattern)))
    return [Case(os.path.basename(p), lambda c, p=p: run(p, c)) for p in paths
            if not os.path.basename(p).startswith("_")]
