"""What the suites share: outcomes, a case, running the command, comparing texts with numbers."""
import dataclasses
import difflib
import os
import re
import shlex
import signal
import subprocess
import tempfile

PASSED, FAILED, SKIPPED = "passed", "FAILED", "skipped"


@dataclasses.dataclass
class Case:
    """`run(context)` gives outcomes: (status, name, message[, how many it stands for])."""
    name: str
    run: object


# Valgrind 3.19 lacks one encoding of vmovq, which LLVM prefers for registers 8 to 15. What met it runs again,
# compiled for a processor without AVX.
UNKNOWN_INSTRUCTION = "Illegal opcode at address"
OLDER_PROCESSOR = {"PDN_CPU": "x86-64-v2"}


class Context:
    """The command under test and a scratch folder."""

    def __init__(self, options, scratch):
        self.options = options
        self.root = options.root
        self.build = options.build
        self.scratch = scratch
        self.cache = os.path.join(scratch, "cache")

    def folder(self):
        return tempfile.mkdtemp(dir=self.scratch)

    def environment(self, more=None):
        extra = {"PDN": self.options.pdn, "PDN_BUILD": self.build, "PDN_SOURCE": self.root,
                 "XDG_CACHE_HOME": self.cache, "LC_ALL": "C.UTF-8", "NO_COLOR": "1"}
        return {**os.environ, **extra, **(more or {})}

    def pdn(self, arguments, cwd, limit=60):
        """Runs `pdn arguments`; returns exit status (negative: a signal), stdout, stderr as text."""
        command = shlex.split(self.options.wrap) + [self.options.pdn] + arguments
        result = self.command(command, cwd, limit)
        if self.options.wrap and UNKNOWN_INSTRUCTION in result[2]:
            result = self.command(command, cwd, limit, OLDER_PROCESSOR)
        return result

    def command(self, command, cwd, limit=60, environment=None):
        child = subprocess.Popen(command, cwd=cwd, env=self.environment(environment), stdin=subprocess.DEVNULL,
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                 start_new_session=True)
        try:
            out, err = child.communicate(timeout=limit * self.options.patience)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            out, err = child.communicate()
            err += b"\n(stopped: the time limit)\n"
        return child.returncode, text_of(out), text_of(err)


def text_of(data):
    return data.decode("utf-8", "surrogateescape")


def printable(text):
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def died(status):
    return status < 0 or status > 2


def difference(expected, found, names=("expected", "found")):
    lines = difflib.unified_diff(expected, found, *names, lineterm="", n=2)
    return printable("\n".join(f"    {line}" for line in lines))


NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*(?:[eE][-+]?\d+)?|\.\d+(?:[eE][-+]?\d+)?|inf|nan)\b")


def close(a, b, tolerance):
    """Lines whose words agree and whose numbers differ by at most tolerance * max(1, |number|)."""
    if a == b:
        return True
    if NUMBER.sub("#", a) != NUMBER.sub("#", b):
        return False
    for x, y in zip(NUMBER.findall(a), NUMBER.findall(b)):
        x, y = float(x), float(y)
        if x != y and not abs(x - y) <= tolerance * max(1.0, abs(y)):
            return False
    return True


def label_of(line):
    return line.split(":", 1)[0] if ":" in line else ""


def agree(expected, found, tolerance_of):
    """Are two lists of lines equal, but for numbers within tolerance_of(label)? (0: exactly)"""
    return len(expected) == len(found) and all(
        a == b or close(a, b, tolerance_of(label_of(a))) for a, b in zip(expected, found))
