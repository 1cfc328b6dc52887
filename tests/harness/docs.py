"""Snippets of README.md and docs/*.md: ```pdn blocks, with what is to be done with them.

    ```pdn            checked (`pdn check`), must be without errors
    ```pdn run        run; a ```output block that follows it is its standard output
    ```pdn error      `pdn check` (with `error run`: `pdn run`) must refuse it; each line of a ```output
                      block that follows must be a line of the message
    ```pdn file=a.pdn kept under that name for the snippets that follow it on the page
    ```pdn part       a fragment, not a program
"""
import glob
import os
import re
import shutil

from .common import FAILED, PASSED, Case, close, died, difference

FENCE = re.compile(r"^( *)```([^\n`]*)\n(.*?)^ *```[ ]*$", re.MULTILINE | re.DOTALL)


def blocks(text):
    """(line, info words, body) of each fenced block."""
    for match in FENCE.finditer(text):
        indent, info, body = match.groups()
        body = "\n".join(line[len(indent):] for line in body.split("\n"))
        yield text.count("\n", 0, match.start()) + 1, info.split(), body


def judge(info, body, output, folder, context):
    path = os.path.join(folder, "snippet.pdn")
    with open(path, "w", encoding="utf-8") as file:
        file.write(body)
    command = "run" if "run" in info else "check"
    extra = ["--out", os.path.join(folder, "out")] if command == "run" else []
    status, out, err = context.pdn([command, path] + extra, folder)
    if died(status) or status != (1 if "error" in info else 0):
        return f"exit status {status}\n{out}{err}"
    if output is None:
        return None
    wanted = [line.rstrip() for line in output.strip("\n").split("\n")]
    if "error" in info:
        found = [line.replace(folder + "/", "").rstrip() for line in err.splitlines()]
        missing = [line for line in wanted if line not in found]
        return "these lines are missing: " + "\n".join(missing) + "\n" + err if missing else None
    found = out.splitlines()
    if len(wanted) != len(found) or not all(close(a, b, 1e-4) for a, b in zip(wanted, found)):
        return "standard output differs\n" + difference(wanted, found)
    return None


def run(page, context):
    name = os.path.relpath(page, context.root)
    with open(page, encoding="utf-8") as file:
        found = list(blocks(file.read()))
    folder = context.folder()
    shutil.copy(os.path.join(context.root, "examples", "photo", "camera.png"),
                os.path.join(folder, "photo.png"))
    outcomes = []
    for i, (line, info, body) in enumerate(found):
        if not info or info[0] != "pdn" or "part" in info:
            continue
        kept = [word[5:] for word in info if word.startswith("file=")]
        if kept:
            with open(os.path.join(folder, os.path.basename(kept[0])), "w", encoding="utf-8") as file:
                file.write(body)
            if len(info) == 2:
                continue
        following = found[i + 1] if i + 1 < len(found) else None
        output = following[2] if following and following[1][:1] == ["output"] else None
        wrong = judge(info[1:], body, output, folder, context)
        title = f"{name}:{line}"
        outcomes.append((FAILED, title, wrong) if wrong else (PASSED, title, ""))
    return outcomes


def cases(context):
    pages = [os.path.join(context.root, "README.md")]
    pages += sorted(glob.glob(os.path.join(context.root, "docs", "*.md")))
    return [Case(os.path.relpath(p, context.root), lambda c, p=p: run(p, c)) for p in pages]
