#!/usr/bin/python3
"""The rules of docs/architecture.md that a script can see: who includes whom, LLVM in one folder, nothing that
exits inside a library, files of a readable size."""
import os
import re
import sys

ROOT = os.environ.get("PDN_SOURCE", os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
# a folder uses those before it (graph, ops and analysis are one library)
ORDER = ["compiler/base", "compiler/diagnostic", "runtime", "compiler/graph", "compiler/syntax",
         "compiler/sema", "compiler/explain", "compiler/kernel", "compiler/llvm", "compiler/load", "compiler/driver"]
SAME = {"compiler/ops": "compiler/graph", "compiler/analysis": "compiler/graph"}
# the back end knows nothing of the language, the front end nothing of machines
NEVER = {("compiler/explain", "compiler/syntax"), ("compiler/explain", "compiler/sema"),
         ("compiler/kernel", "compiler/syntax"), ("compiler/kernel", "compiler/sema"),
         ("compiler/load", "compiler/syntax"), ("compiler/load", "compiler/sema"),
         ("compiler/llvm", "compiler/syntax"), ("compiler/llvm", "compiler/sema"),
         ("runtime", "compiler/base"), ("runtime", "compiler/diagnostic"),
         ("compiler/graph", "compiler/syntax"), ("compiler/sema", "compiler/kernel")}
EXITS = re.compile(r"\b(exit|_exit|quick_exit)\s*\(")
LONGEST = 900


def folder_of(path):
    for folder in ORDER + list(SAME):
        if path.startswith(folder + "/"):
            return folder
    return None


def faults():
    for top in ("compiler", "runtime"):
        for where, _, names in os.walk(os.path.join(ROOT, top)):
            for name in names:
                if name.endswith((".c", ".h", ".l", ".y", ".def")):
                    path = os.path.relpath(os.path.join(where, name), ROOT)
                    yield from faults_of(path)


def faults_of(path):
    here = folder_of(path)
    with open(os.path.join(ROOT, path), encoding="utf-8") as file:
        lines = file.readlines()
    if len(lines) > LONGEST:
        yield f"{path}: {len(lines)} lines; split it (the limit is {LONGEST})"
    if here is None:
        return
    mine = SAME.get(here, here)
    forks = any("fork()" in line for line in lines)
    for number, line in enumerate(lines, 1):
        place = f"{path}:{number}"
        if "llvm-c/" in line and line.startswith("#include") and here != "compiler/llvm":
            yield f"{place}: only compiler/llvm includes llvm-c"
        exits = EXITS.search(line)
        if exits and forks and exits.group(1) == "_exit":
            continue  # the child of a fork ends so, not the process that uses the library
        if exits and here != "compiler/driver" and not re.match(r"\s*(/?\*|//)", line):
            yield f"{place}: nothing exits from inside a library folder"
        match = re.match(r'#include "((?:compiler|runtime)/[^"]*)"', line)
        there = folder_of(match.group(1)) if match else None
        if there is None:
            continue
        theirs = SAME.get(there, there)
        if ORDER.index(theirs) > ORDER.index(mine) or (mine, theirs) in NEVER:
            yield f"{place}: {here} does not use {there}"


found = list(faults())
print("\n".join(found))
sys.exit(1 if found else 0)
