#!/usr/bin/python3
"""Measures compiled programs against plain C, and what compiling costs. See bench/README.md.

    bench/run.py [--pdn PATH] [--pairs N] [--threads N] [--json FILE] [--write] [NAME…]

A rate is cells * steps / (time of many steps - time of a few), each the wall time of a whole process:
start, compiling, loading, first touch of the memory and printing fall out of the difference. All programs, pdn with one thread
among them, run alternately in one run; the tables show medians, and the median of the ratios pair by pair.
"""
import os
import re
import statistics
import subprocess
import sys
import tempfile

import _pairs
from _pairs import plain, ratio, run, spread, steady, values

HERE = os.path.dirname(os.path.abspath(__file__))
# name, cells an axis, rank, variants of the plain program, steps of a short and a long run
PROGRAMS = [
    ("perona_malik", 4096, 2, ["", "rows"], 20, 120),
    ("perona_malik", 8192, 2, [""], 10, 60),
    ("heat2d", 4096, 2, [""], 20, 120),
    ("heat2d", 8192, 2, [""], 10, 60),
    ("fsi", 4096, 2, [""], 20, 120),
    ("du_fort_frankel", 4096, 2, [""], 20, 120),
    ("heat3d", 256, 3, [""], 20, 120),
    ("heat3d", 512, 3, [""], 10, 170),
    ("flux", 512, 2, ["peak"], 20, 120), # after 200 steps numbers are denormal, with which the processor is slow
]
# Of networks the rival is the processor: how many flops a cell and step are (those of the convolutions).
FLOPS = {"flux": 2 * 2 * 16 * 5 * 5}


def same_work(name, plain, ours):
    """Two programs that are compared must have computed the same thing."""
    for label in ("mean", "squares"):
        a, b = values(plain)[label], values(ours)[label]
        if abs(a - b) > 1e-4 * abs(a):
            sys.exit(f"{name}: {label} is {b} in pdn and {a} in plain C: not the same work")


class Row:
    """A row of PROGRAMS: pairs of measurements of each variant of the plain program and of pdn, interleaved."""

    def __init__(self, options, folder, row):
        self.options, self.folder = options, folder
        self.name, self.cells, self.rank, self.variants, self.short, self.long = row
        self.environment = {"OMP_NUM_THREADS": str(options.threads)}
        self.plain = plain(folder, "peak" if self.name in FLOPS else self.name)

    def rival(self, variant, steps):
        return run([self.plain, str(self.cells), str(steps)] + ([variant] if variant else []), **self.environment)

    def ours(self, steps, threads):
        return run([self.options.pdn, "run", os.path.join(HERE, self.name + ".pdn"), f"cells={self.cells}",
                    f"steps={steps}", "--threads", str(threads), "--cache", os.path.join(self.folder, "cache"), "--quiet"],
                   **self.environment)

    def rate(self, program):
        """Of cells and steps, a second."""
        return self.cells ** self.rank / steady(program, self.short, self.long)[0]

    def rival_rate(self, variant):
        if self.name in FLOPS:
            return values(self.rival(variant, 0).output)["flops"] / FLOPS[self.name]
        return self.rate(lambda steps: self.rival(variant, steps))

    def ours_rate(self, threads):
        return self.rate(lambda steps: self.ours(steps, threads))

    def measure(self):
        mine = self.ours(self.short, self.options.threads).output # fills the cache, too
        for variant in self.variants:
            if self.name not in FLOPS:
                same_work(self.name, self.rival(variant, self.short).output, mine)
        found = {variant or "plain": [] for variant in self.variants} | {"pdn": [], "one": []}
        for _ in range(self.options.pairs):
            for variant in self.variants:
                found[variant or "plain"].append(self.rival_rate(variant))
            found["pdn"].append(self.ours_rate(self.options.threads))
            if self.options.threads > 1:
                found["one"].append(self.ours_rate(1))
        found = {key: rates for key, rates in found.items() if rates}
        return {
            "name": self.name, "cells": self.cells, "rank": self.rank,
            "rate": {key: spread(rates) for key, rates in found.items()},
            "ratio": {key: ratio(found["pdn"], rates) for key, rates in found.items() if key != "pdn"},
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
                    "--cache", cache, "--quiet"]).cpu

    def started(command):
        done = run(command)
        return done.wall, done.cpu

    cold, warm, before = ({10: [], 10000: []} for _ in range(3))
    for i in range(options.pairs):
        for steps in cold:
            cache = os.path.join(folder, f"cache-{i}-{steps}")
            cold[steps].append(cpu(cache, steps))
            warm[steps].append(cpu(cache, steps))
            before[steps].append(stages(options, program, steps))
    least = [options.pdn, "run", program, "cells=16", "steps=10", "--threads", "1", "--cache",
             os.path.join(folder, "cache-0-10"), "--quiet"]
    starts = [(*started(least), *started(["true"]), *started([options.pdn, "--version"])) for _ in range(5 * options.pairs)]
    start = [statistics.median(column) for column in zip(*starts)]
    return {
        "start": dict(zip(("warm_wall", "warm", "true_wall", "true", "version_wall", "version"), start)),
        "cold": statistics.median(cold[10]), "warm": statistics.median(warm[10]),
        "cold_10000": statistics.median(cold[10000]), "warm_10000": statistics.median(warm[10000]),
        "before": statistics.median(before[10]), "before_10000": statistics.median(before[10000]),
    }


def gcc():
    return run(["gcc", "--version"]).output.splitlines()[0]


def size(row):
    return "×".join([str(row["cells"])] * row["rank"])


def show(row, key, unit=1e9):
    return _pairs.show({name: rate / unit for name, rate in row["rate"][key].items()})


def times_one(row):
    return f"{row['ratio']['one']:.2f}" if "one" in row["ratio"] else "–"


def table(rows, costs, options):
    lines = [f"{_pairs.heading(options, gcc())} Rates in GPts/s (cells × steps a second), medians (least to greatest).", ""]
    programs = [row for row in rows if row["name"] not in FLOPS]
    if programs:
        lines += [f"| program | plain C | pdn | pdn / plain C | pdn, {options.threads} threads / 1 |", "|---|---|---|---|---|"]
    for row in programs:
        for variant, times in row["ratio"].items():
            if variant != "one":
                kind = "" if variant == "plain" else f", {variant}"
                lines.append(f"| {row['name']} {size(row)}{kind} | {show(row, variant)} | {show(row, 'pdn')} |"
                             f" **{times:.2f}** | {times_one(row)} |")
    networks = [row for row in rows if row["name"] in FLOPS]
    if networks:
        lines += ["", "| network | GFLOP/s of multiply-adds in registers | of pdn's convolutions, all the rest in the time "
                  f"| of the peak | pdn, {options.threads} threads / 1 |", "|---|---|---|---|---|"]
    for row in networks:
        unit = 1e9 / FLOPS[row["name"]]
        lines.append(f"| {row['name']} {size(row)} | {show(row, 'peak', unit)} | {show(row, 'pdn', unit)} |"
                     f" **{100 * row['ratio']['peak']:.0f} %** | {times_one(row)} |")
    return "\n".join(lines + (cost_lines(costs) if costs else [])) + "\n"


def cost_lines(costs):
    def ms(number):
        return f"{1e3 * number:.1f} ms"
    start = costs["start"]
    return ["", "| CPU time of the whole process, Perona-Malik | 10 steps | 10,000 steps |",
            "|---|---|---|",
            f"| nothing cached | {ms(costs['cold'])} | {ms(costs['cold_10000'])} |",
            f"| from the cache | {ms(costs['warm'])} | {ms(costs['warm_10000'])} |",
            f"| wall time from the text to the first step (`--time`), nothing cached | {ms(costs['before'])}"
            f" | {ms(costs['before_10000'])} |",
            "", "| a process from start to end | wall time | CPU time |", "|---|---|---|",
            f"| Perona-Malik, 10 steps on 16² cells, from the cache | {ms(start['warm_wall'])} | {ms(start['warm'])} |",
            f"| `pdn --version` | {ms(start['version_wall'])} | {ms(start['version'])} |",
            f"| `true` | {ms(start['true_wall'])} | {ms(start['true'])} |"]


def main():
    parser = _pairs.make_parser(__doc__, pairs=9)
    parser.add_argument("names", nargs="*", help="programs, or `compiling`; default: all")
    options = parser.parse_args()
    names = options.names or [row[0] for row in PROGRAMS] + ["compiling"]
    with tempfile.TemporaryDirectory(prefix="pdn-bench-") as folder:
        costs = compiling(options, folder) if "compiling" in names else None
        rows = [Row(options, folder, row).measure() for row in PROGRAMS if row[0] in names]
    _pairs.finish(options, table(rows, costs, options), "measured", {"rows": rows, "compiling": costs}, gcc())


if __name__ == "__main__":
    main()
