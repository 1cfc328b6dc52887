#!/usr/bin/python3
"""Measures compiled programs against plain C, and what compiling costs. See bench/README.md.

    bench/run.py [--pdn PATH] [--pairs N] [--threads N] [--json FILE] [--write] [NAME…]

A rate is cells * steps / (time of LONG steps - time of SHORT steps), each the wall time of a whole process:
start, compiling, loading, first touch of the memory and printing fall out of the difference. Both programs
run alternately in one run; the tables show medians, and the median of the ratios pair by pair.
"""
import argparse
import json
import os
import platform
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "tools"))
import marked # noqa: E402

CC = ["gcc", "-std=gnu17", "-O3", "-march=native", "-ffast-math", "-fopenmp"]
SHORT, LONG = 20, 220
# name, cells an axis, rank, variants of the plain program
PROGRAMS = [
    ("perona_malik", 4096, 2, ["", "rows"]),
    ("perona_malik", 8192, 2, [""]),
    ("heat2d", 4096, 2, [""]),
    ("heat2d", 8192, 2, [""]),
    ("heat3d", 256, 3, [""]),
]


def run(command, environment=None):
    """(wall seconds, CPU seconds, standard output) of a process that must succeed."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.monotonic()
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          env={**os.environ, **(environment or {})}, check=False)
    wall = time.monotonic() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: exit status {done.returncode}\n{done.stdout}{done.stderr}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall, cpu, done.stdout


def values(text):
    """The numbers of `label: value` lines."""
    found = {}
    for line in text.splitlines():
        label, _, value = line.partition(": ")
        found[label] = float(value.split()[0].rstrip(","))
    return found


def same_work(name, plain, ours):
    """Two programs that are compared must have computed the same thing."""
    for label in ("mean", "squares"):
        a, b = values(plain)[label], values(ours)[label]
        if abs(a - b) > 1e-4 * abs(a):
            sys.exit(f"{name}: {label} is {b} in pdn and {a} in plain C: not the same work")


def rates(options, folder, name, cells, rank, variants):
    """One row: pairs of measurements of each variant of the plain program and of pdn, interleaved."""
    environment = {"OMP_NUM_THREADS": str(options.threads)}
    plain = os.path.join(folder, name)
    subprocess.run(CC + [os.path.join(HERE, "plain", name + ".c"), "-o", plain, "-lm"], check=True)

    def rival(variant, steps):
        return run([plain, str(cells), str(steps)] + ([variant] if variant else []), environment)

    def ours(steps):
        return run([options.pdn, "run", os.path.join(HERE, name + ".pdn"), f"cells={cells}",
                    f"steps={steps}", "--threads", str(options.threads), "--cache",
                    os.path.join(folder, "cache"), "--quiet"], environment)

    for variant in variants: # warms the cache, too
        same_work(name, rival(variant, SHORT)[2], ours(SHORT)[2])
    work = cells ** rank * (LONG - SHORT)
    found = {variant: [] for variant in variants + ["pdn"]}
    for _ in range(options.pairs):
        for variant in variants:
            found[variant].append(work / (rival(variant, LONG)[0] - rival(variant, SHORT)[0]))
        found["pdn"].append(work / (ours(LONG)[0] - ours(SHORT)[0]))
    return {
        "name": name, "cells": cells, "rank": rank,
        "rate": {k or "plain": statistics.median(v) for k, v in found.items()},
        "spread": {k or "plain": (min(v), max(v)) for k, v in found.items()},
        "ratio": {k or "plain": statistics.median(o / p for o, p in zip(found["pdn"], v))
                  for k, v in found.items() if k != "pdn"},
    }


def stages(options, program, steps):
    """Seconds from the start to the first step, as --time tells them, with nothing cached."""
    command = [options.pdn, "run", program, "cells=16", f"steps={steps}", "--threads", "1", "--no-cache",
               "--time"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    rows = dict(re.findall(r"^(.*\S)\s+([0-9.]+) ms$", done.stderr, re.MULTILINE))
    return sum(float(ms) for stage, ms in rows.items() if stage != "run") / 1e3


def compiling(options, folder):
    """CPU seconds of whole processes on a grid of 16² cells: cold (nothing cached), warm, many steps."""
    program = os.path.join(HERE, "perona_malik.pdn")

    def cpu(cache, steps):
        return run([options.pdn, "run", program, "cells=16", f"steps={steps}", "--threads", "1",
                    "--cache", cache, "--quiet"])[1]

    cold, warm, before = ({10: [], 10000: []} for _ in range(3))
    for i in range(options.pairs):
        for steps in cold:
            cache = os.path.join(folder, f"cache-{i}-{steps}")
            cold[steps].append(cpu(cache, steps))
            warm[steps].append(cpu(cache, steps))
            before[steps].append(stages(options, program, steps))
    version = [run([options.pdn, "--version"])[1] for _ in range(options.pairs)]
    return {
        "cold": statistics.median(cold[10]), "warm": statistics.median(warm[10]),
        "cold_10000": statistics.median(cold[10000]), "warm_10000": statistics.median(warm[10000]),
        "before": statistics.median(before[10]), "before_10000": statistics.median(before[10000]),
        "version": statistics.median(version),
    }


def machine():
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        models = {line.split(":", 1)[1].strip() for line in file if line.startswith("model name")}
    gcc = subprocess.run(["gcc", "--version"], stdout=subprocess.PIPE, text=True, check=True).stdout
    return f"{'; '.join(sorted(models))}, {os.cpu_count()} cores, {platform.system()} {gcc.splitlines()[0]}"


def table(rows, costs, options):
    lines = [f"Measured {time.strftime('%Y-%m-%d')}: {machine()}, {options.threads} threads, "
             f"{options.pairs} pairs. Rates in GPts/s (cells × steps a second), medians "
             "(least to greatest).", "",
             "| program | plain C | pdn | pdn / plain C |", "|---|---|---|---|"]
    for row in rows:
        for variant, ratio in row["ratio"].items():
            def show(key, row=row):
                low, high = row["spread"][key]
                return f"{row['rate'][key] / 1e9:.2f} ({low / 1e9:.2f} to {high / 1e9:.2f})"
            size = "×".join([str(row["cells"])] * row["rank"])
            kind = "" if variant == "plain" else f", {variant}"
            lines.append(f"| {row['name']} {size}{kind} | {show(variant)} | {show('pdn')} |"
                         f" **{ratio:.2f}** |")
    if costs:
        def ms(key):
            return f"{1e3 * costs[key]:.1f} ms"
        lines += ["", "| CPU time of the whole process, Perona-Malik | 10 steps | 10,000 steps |",
                  "|---|---|---|",
                  f"| nothing cached | {ms('cold')} | {ms('cold_10000')} |",
                  f"| from the cache | {ms('warm')} | {ms('warm_10000')} |",
                  f"| `pdn --version` | {ms('version')} | |",
                  f"| wall time from the text to the first step (`--time`), nothing cached | {ms('before')}"
                  f" | {ms('before_10000')} |"]
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pdn", default=os.path.join(HERE, "..", "build", "release", "bin", "pdn"))
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--json", help="the numbers, to a file")
    parser.add_argument("--write", action="store_true", help="put the table into bench/README.md")
    parser.add_argument("names", nargs="*", help="programs, or `compiling`; default: all")
    options = parser.parse_args()
    options.pdn = os.path.abspath(options.pdn)
    names = options.names or [row[0] for row in PROGRAMS] + ["compiling"]
    with tempfile.TemporaryDirectory(prefix="pdn-bench-") as folder:
        costs = compiling(options, folder) if "compiling" in names else None
        rows = [rates(options, folder, *row) for row in PROGRAMS if row[0] in names]
    text = table(rows, costs, options)
    print(text)
    if options.write:
        marked.put(os.path.join(HERE, "README.md"), text, "<!-- measured -->")
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump({"rows": rows, "compiling": costs, "machine": machine()}, file, indent=1)


if __name__ == "__main__":
    main()
