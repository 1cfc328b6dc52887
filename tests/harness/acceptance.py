"""Programs that users wrote, kept outside this repository: tests/acceptance.txt lists the commands."""
import glob
import os
import shlex

from .common import FAILED, PASSED, SKIPPED, Case


def without(word, base, context):
    """`name=folder!file` as a folder of links to all but that file."""
    name, rest = word.split("=", 1)
    folder, left_out = rest.split("!", 1)
    links = context.folder()
    for file in os.listdir(os.path.join(base, folder)):
        if file != left_out:
            os.symlink(os.path.join(base, folder, file), os.path.join(links, file))
    return f"{name}={links}"


def run(line, base, context):
    words = shlex.split(line)
    for i, word in enumerate(words):
        if "!" in word and os.path.isdir(os.path.join(base, word.split("=", 1)[1].split("!")[0])):
            words[i] = without(word, base, context)
    if not os.path.exists(os.path.join(base, words[0])):
        return [(SKIPPED, line, f"{os.path.join(base, words[0])} is not there")]
    choices = [words]
    for i, word in enumerate(words):
        if "=" in word and "*" in word: # one run for each file
            name, pattern = word.split("=", 1)
            files = sorted(glob.glob(os.path.join(base, pattern)))
            if not files:
                return [(SKIPPED, line, f"no file {os.path.join(base, pattern)}")]
            choices = [words[:i] + [f"{name}={os.path.relpath(f, base)}"] + words[i + 1:] for f in files]
    outcomes = []
    for choice in choices:
        name = " ".join(choice)
        status, out, err = context.pdn(["run"] + choice + ["--out", context.folder()], base, limit=300)
        outcomes.append((FAILED, name, f"exit status {status}\n{out}{err}") if status
                        else (PASSED, name, ""))
    return outcomes


def cases(context):
    base = os.path.normpath(os.path.join(context.root, "..", "shared"))
    with open(os.path.join(context.root, "tests", "acceptance.txt"), encoding="utf-8") as file:
        lines = [line.split("#")[0].strip() for line in file]
    return [Case(line, lambda c, l=line: run(l, base, c)) for line in lines if line]
