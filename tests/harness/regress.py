"""Regressions: a .pdn file a case, its expectations in comments of the file (tests/README.md)."""
import array
import dataclasses
import glob
import os
import re
import shlex
import shutil

from . import standalone
from .common import FAILED, PASSED, SKIPPED, Case, agree, died, difference, printable

# Ways to the same numbers; the first is the one that expectations are written from.
MODES = {
    "jit": ["--threads", "1"],
    "threads": ["--threads", "2"],
    "O0": ["--threads", "1", "--optimise", "0"],
    "interpret": ["--interpret"],
}
COMMANDS = ("run", "check", "test", "fmt", "explain")


@dataclasses.dataclass
class Spec:
    """What the comments of a case say."""
    command: str = "run"
    args: list = dataclasses.field(default_factory=list)
    exit: int = None
    out: list = dataclasses.field(default_factory=list)
    err: list = dataclasses.field(default_factory=list)
    tolerances: dict = dataclasses.field(default_factory=dict)
    modes: list = None
    interpret: float = None
    kernels: list = dataclasses.field(default_factory=list)
    derivatives: list = dataclasses.field(default_factory=list)
    dumps: list = dataclasses.field(default_factory=list)
    saves: list = dataclasses.field(default_factory=list)
    skip: str = None


def read(path):
    with open(path, "rb") as file:
        return file.read().decode("utf-8", "surrogateescape")


def write(path, text):
    with open(path, "wb") as file:
        file.write(text.encode("utf-8", "surrogateescape"))


def directive(spec, words, line, context):
    """One `#: …` line."""
    word, rest = words[0], words[1:]
    if word in COMMANDS:
        spec.command = word
        spec.args += rest
    elif word == "args":
        spec.args += rest
    elif word == "exit":
        spec.exit = int(rest[0])
    elif word == "modes":
        spec.modes = rest
        for mode in rest:
            if mode not in MODES:
                raise ValueError(f"no mode '{mode}'; the modes are {', '.join(MODES)}")
    elif word == "interpret-tolerance":
        spec.interpret = float(rest[0])
    elif word == "kernel":
        spec.kernels.append(rest)
    elif word == "vjp":
        spec.derivatives.append(rest)
    elif word == "dump":
        name, count, pattern = line.split(None, 3)[1:]
        spec.dumps.append((name, int(count), pattern))
    elif word == "saves":
        spec.saves += rest
    elif word == "skip-unless":
        if not os.path.exists(os.path.join(context.root, rest[0])):
            spec.skip = f"{rest[0]} is not there"
    elif word == "needs":
        if not shutil.which(rest[0]):
            spec.skip = f"there is no program {rest[0]}"
    else:
        raise ValueError(f"no directive '{word}'")


def parse(path, context):
    spec = Spec()
    beside = path + ".expect"
    text = read(beside if os.path.exists(beside) else path)
    for line in text.split("\n"):
        if line.startswith("#:"):
            directive(spec, shlex.split(line[2:]), line[2:].strip(), context)
        elif line.startswith("#~"):
            label, tolerance = line[2:].rsplit(None, 1)
            spec.tolerances[label.strip()] = float(tolerance)
        elif line.startswith("#>"):
            spec.out.append(line[3:])
        elif line.startswith("#!"):
            spec.err.append(MEMORY.sub("the machine has … to give", line[3:]))
    if spec.exit is None:
        spec.exit = 1 if any("error:" in line for line in spec.err) else 0
    if spec.modes is None:
        # what fails before anything runs fails in one way only
        static = spec.command in ("check", "explain") or (spec.exit and not spec.out)
        spec.modes = ["jit"] if static else list(MODES)
    if spec.interpret is None:
        spec.interpret = 1e-9 if re.search(r"^precision\s+f64", text, re.MULTILINE) else 1e-4
    return spec


MEMORY = re.compile(r"the machine has [0-9.]+ \w+ to give")


def normal(text, path, out):
    """Lines of an output, without what differs from place to place."""
    text = text.replace(out + "/", "").replace(out, ".")
    text = MEMORY.sub("the machine has … to give", text)
    text = text.replace(os.path.dirname(path) + "/", "")
    return [line.rstrip() for line in text.splitlines()]


def execute(spec, path, mode, context):
    out = context.folder()
    # --threads and the like mean nothing to `check`
    extra = MODES[mode] if spec.command in ("run", "test") else []
    extra = extra + ["--out", out] if spec.command == "run" else extra
    status, stdout, stderr = context.pdn(
        [spec.command, path] + spec.args + extra, os.path.dirname(path), limit=120)
    return status, normal(stdout, path, out), normal(stderr, path, out), out


def tolerance_of(spec, floor=0.0):
    def of(label):
        return max(floor, spec.tolerances.get(label, spec.tolerances.get("*", 0.0)))
    return of


def without_seconds(path):
    """A file's bytes; of a history of training all but how long it took."""
    with open(path, "rb") as file:
        data = file.read()
    if not path.endswith(".history.csv"):
        return data
    rows = [line.split(b",") for line in data.splitlines()]
    return b"\n".join(b",".join(row[:4] + row[5:]) for row in rows)


def same_files(a, b):
    """Names of files that differ between two output folders; the seconds of a history may."""
    def content(folder):
        return {os.path.relpath(p, folder): without_seconds(p)
                for p in glob.glob(os.path.join(folder, "**"), recursive=True) if os.path.isfile(p)}
    left, right = content(a), content(b)
    return sorted(n for n in left.keys() | right.keys() if left.get(n) != right.get(n))


def far_arrays(reference, folder, tolerance):
    """The first .npy whose numbers differ by more than tolerance * max(1, |number|), or None."""
    for path in sorted(glob.glob(os.path.join(glob.escape(reference), "*.npy"))):
        name = os.path.basename(path)
        kind, shape, data = standalone.npy(path)
        other = standalone.npy(os.path.join(folder, name))
        if shape != other[1]:
            return f"{name}: shape {other[1]}, expected {shape}"
        a, b = (array.array("f" if k == "<f4" else "d", d) for k, d in ((kind, data), other[::2]))
        worst = max((abs(x - y) / max(1, abs(x)) for x, y in zip(a, b) if x != y), default=0)
        if not worst <= tolerance:
            return f"{name}: differs by {worst:g}, allowed {tolerance:g}"
    return None


def judge(spec, mode, result, first):
    """What is wrong with the result of a mode, or None. `first` is the result of the first mode."""
    status, out, err, folder = result
    if died(status):
        return "the command died:\n" + printable("\n".join(err))
    if status != spec.exit:
        return f"exit status {status}, expected {spec.exit}\n" + printable("\n".join(out + err))
    of = tolerance_of(spec, spec.interpret if mode == "interpret" else 0.0)
    if not agree(spec.out, out, of):
        return "standard output differs\n" + difference(spec.out, out)
    if mode != "interpret" and not agree(spec.err, err, of):
        return "standard error differs\n" + difference(spec.err, err)
    for name in spec.saves:
        if not os.path.exists(os.path.join(folder, name)):
            return f"{name} was not written"
    if first and mode != "interpret":
        if out != first[1]:
            return "the bits differ from those of one thread, optimised\n" + difference(
                first[1], out, ("jit", mode))
        files = same_files(first[3], folder)
        if files:
            return "files differ from those of one thread, optimised: " + ", ".join(files)
    if first and mode == "interpret":
        return far_arrays(first[3], folder, of("*"))
    return None


def dumps(spec, path, context):
    """`#: dump PASS COUNT PATTERN`: so many lines of the dump match."""
    for name, count, pattern in spec.dumps:
        _, out, err = context.pdn([spec.command, path] + spec.args + [
            f"--dump-after={name}", "--out", context.folder()], os.path.dirname(path))
        lines = [line for line in (out + err).splitlines() if re.search(pattern, line)]
        title = f"dump {name} {pattern}"
        if len(lines) == count:
            yield PASSED, title, ""
        else:
            yield FAILED, title, f"{len(lines)} lines match, expected {count}\n" + "\n".join(lines)


def formatted(path, context):
    """`fmt` makes NAME.pdn into NAME.formatted (itself where there is none), and again changes nothing."""
    target = path[:-4] + ".formatted"
    expected = read(target if os.path.exists(target) else path)
    copy = os.path.join(context.folder(), os.path.basename(path))
    shutil.copy(path, copy)
    for _ in range(2):
        status, out, err = context.pdn(["fmt", copy], os.path.dirname(copy))
        if status:
            return f"exit status {status}\n{out}{err}"
        if read(copy) != expected:
            return "the text differs\n" + difference(expected.split("\n"), read(copy).split("\n"))
    return None


def run(path, context):
    name = os.path.relpath(path, os.path.join(context.root, "tests", "regress"))
    spec = parse(path, context)
    if spec.skip:
        return [(SKIPPED, name, spec.skip)]
    if spec.command == "fmt" and spec.exit == 0:
        wrong = formatted(path, context)
        return [(FAILED, name, wrong) if wrong else (PASSED, name, "")]
    if context.options.bless:
        bless(path, context)
        spec = parse(path, context)
    wanted = context.options.modes.split(",") if context.options.modes else list(MODES)
    outcomes, first = [], None
    for mode in [m for m in spec.modes if m in wanted]:
        result = execute(spec, path, mode, context)
        wrong = judge(spec, mode, result, first)
        title = f"{name} ({mode})" if len(spec.modes) > 1 else name
        outcomes.append((FAILED, title, wrong) if wrong else (PASSED, title, ""))
        if first is None and mode != "interpret":
            first = result
    outcomes += [(status, f"{name} ({title})", message)
                 for status, title, message in dumps(spec, path, context)]
    cases = ([(standalone.compare, "standalone", words) for words in spec.kernels] +
             [(standalone.derivative, "derivative of", words) for words in spec.derivatives])
    for method, what, words in cases if first and not context.options.wrap else []:
        wrong = method(words, path, first[3], context)
        title = f"{name} ({what} {words[0]})"
        outcomes.append((FAILED, title, wrong) if wrong else (PASSED, title, ""))
    return outcomes


def bless(path, context):
    """Rewrites the expectations at the end of the file; again, until places in messages hold still."""
    spec = parse(path, context)
    target = path + ".expect" if os.path.exists(path + ".expect") else path
    kept = [line for line in read(target).split("\n")
            if not line.startswith(("#>", "#!")) and not re.match(r"#: exit\b", line)]
    body = "\n".join(kept).rstrip("\n") + "\n"
    for _ in range(3):
        status, out, err, _ = execute(spec, path, spec.modes[0], context)
        if died(status):
            return
        lines = [f"#> {line}".rstrip() for line in out] + [f"#! {line}".rstrip() for line in err]
        if status != (1 if any("error:" in line for line in err) else 0):
            lines.insert(0, f"#: exit {status}")
        before = read(target)
        gap = "" if kept and body.rstrip("\n").split("\n")[-1].startswith("#") else "\n"
        write(target, body + (gap + "\n".join(lines) + "\n" if lines else ""))
        if read(target) == before:
            return


def cases(context):
    """Every file of tests/regress (names that begin with _ are parts of others), and the examples."""
    regress = os.path.join(context.root, "tests", "regress")
    paths = glob.glob(os.path.join(regress, "**", "*.pdn"), recursive=True)
    paths += glob.glob(os.path.join(context.root, "examples", "**", "*.pdn"), recursive=True)
    return [Case(os.path.relpath(p, regress), lambda c, p=p: run(p, c)) for p in sorted(paths)
            if not os.path.basename(p).startswith("_")]
