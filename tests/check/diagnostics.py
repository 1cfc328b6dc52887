#!/usr/bin/python3
"""Every row of compiler/diagnostic/diagnostics.def is expected by some regression (a `#!` line), or where no
file can hold it by a test that names it (DIAG_…, or the word of the row in a script)."""
import glob
import os
import re
import sys

ROOT = os.environ.get("PDN_SOURCE", os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))


# No test can provoke these: a file that changes between two reads of one run, a system that refuses threads.
UNTESTED = {"FILE_CHANGED", "NO_THREADS"}


def read(path):
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


def pattern(text):
    """A regular expression for what a printf format makes."""
    text = re.sub(r'"\s*"', "", text)
    return re.sub(r"%[-+ #0-9.*]*(?:hh|h|ll|l|z|j)?[a-zA-Z]", "\0", text)


def matcher(text):
    parts = [re.escape(part.replace("%%", "%")) for part in pattern(text).split("\0")]
    return re.compile(": (?:error|warning): " + ".*?".join(parts))


def main():
    table = read(os.path.join(ROOT, "compiler", "diagnostic", "diagnostics.def"))
    table = re.sub(r"/\*.*?\*/", "", table, flags=re.DOTALL)
    rows = re.findall(r'DIAGNOSTIC\(\s*(\w+),\s*\w+,\s*"((?:[^"\\]|\\.|"\s*")*)"\s*\)', table)
    tests = os.path.join(ROOT, "tests")
    expected = "\n".join(
        line for path in glob.glob(os.path.join(tests, "regress", "**", "*.pdn*"), recursive=True)
        for line in read(path).split("\n") if line.startswith("#!"))
    named = "\n".join(read(path) for path in glob.glob(os.path.join(tests, "unit", "*.c")) +
                      glob.glob(os.path.join(tests, "python", "*.py")) +
                      glob.glob(os.path.join(tests, "check", "*.sh")) +
                      [os.path.join(tests, "check", name) for name in ("kernels.py", "command.py", "training_memory.py")])
    missing = [row for row, text in rows
               if row not in UNTESTED and not matcher(text.replace('\\"', '"').replace("\\\\", "\\")).search(expected)
               and not re.search(rf"\b(DIAG_)?{row}\b", named)]
    for row in missing:
        print(f"{row}: no test expects this message")
    print(f"{len(rows)} messages, {len(missing)} without a test")
    sys.exit(1 if missing or not rows else 0)


main()
