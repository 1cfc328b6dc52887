#!/usr/bin/python3
"""Trains the cycles of multigrid.pdn and makes the table and the plot of README.md.

    examples/multigrid-unet/run.py [--pdn PATH] [--steps N] [--write]

--write puts them into this folder. Operations are additions and multiplications a cell of the finest grid, counted from the
formulas (see `cost`); all coarser grids together add a third.
"""
import argparse
import math
import os
import re
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(ROOT, "tools"))
sys.path.insert(0, os.path.join(ROOT, "examples"))
sys.dont_write_bytecode = True

import marked # noqa: E402
import plot  # noqa: E402

GOAL = 1e-6
RESIDUAL = 7             # b - A(x): five neighbours with their weights, one difference
JACOBI = RESIDUAL + 2    # times a number, added
TRANSFER = RESIDUAL + 1 + 8  # the residual, its mean over four cells; 4 weights of bilinear interpolation, added
LEARNED = [("learned, filters of 3×3, one sweep before and after", ["size=3", "pre=1", "post=1"], 1, 9),
           ("learned, only weights, two sweeps before and after", ["size=1", "pre=2", "post=2"], 2, 1)]
CLASSICAL = [("jacobi, one sweep before and after", "classical, jacobi 1", 2 * JACOBI),
             ("jacobi, two", "classical, jacobi 2", 4 * JACOBI),
             ("red-black Gauss-Seidel, one, as the library does it", "classical, gauss_seidel 1", 4 * JACOBI),
             ("the same, each cell computed once", "classical, gauss_seidel 1", 2 * JACOBI)]


def cost(smoothing, learned=False):
    """Of a cycle. A learned one has 4 instead of 1 for the residual's filter of 2×2, which serves a fourth of the cells, and
    carries the solution to the coarse grid (FAS): its mean, the coarse operator, two differences."""
    return 4 / 3 * (smoothing + TRANSFER + (4 if learned else 0))


def sweeps(count, weights):
    """Of a learned smoother: residual over diagonal, a filter of so many weights, 0.8 times it, added."""
    return 2 * count * (RESIDUAL + 1 + 2 * weights - 1 + (2 if weights > 1 else 1))


def needed(history, operations):
    """Cycles (not whole) and operations to the goal; from the last but one of 1, 2, 4, 8 on the factor is that of 4 to 8."""
    factor = (history[3] / history[2]) ** 0.25
    cycles = 4 + math.log(GOAL / history[2]) / math.log(factor)
    return factor, cycles, cycles * operations


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pdn", default=os.path.join(ROOT, "build", "release", "bin", "pdn"))
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--write", action="store_true", help="put table and plot into this folder")
    options = parser.parse_args()
    rows, curves = [], []
    for what, inputs, count, weights in LEARNED:
        with tempfile.TemporaryDirectory(prefix="pdn-multigrid-") as out:
            start = time.monotonic()
            done = subprocess.run([options.pdn, "run", os.path.join(HERE, "multigrid.pdn"), f"steps={options.steps}", *inputs,
                                   "--threads", "1", "--out", out], stdout=subprocess.PIPE, text=True, check=False)
            seconds = time.monotonic() - start
        if done.returncode:
            sys.exit(f"{what}: exit status {done.returncode}\n{done.stdout}")

        def values(label, text=done.stdout):
            return [float(v) for v in re.search(rf"^{label}: (.*)$", text, re.MULTILINE).group(1).split()]
        rows.append((f"{what} ({values('parameters')[0]:.0f} parameters, {seconds:.0f} s of training)", values("learned"),
                     cost(sweeps(count, weights), learned=True)))
    for what, label, smoothing in CLASSICAL:
        rows.append((f"classical, {what}", values(label), cost(smoothing)))
    lines = ["| cycle | residual after 1, 2, 4, 8 | factor a cycle | operations a cycle | operations to 1e-6 |", "|---|---|---|---|---|"]
    panel = plot.Panel("operations a cell", "residual", log=True)
    for what, history, operations in rows:
        factor, _, total = needed(history, operations)
        lines.append(f"| {what} | {', '.join(f'{v:.2g}' for v in history)} | {factor:.3f} | {operations:.0f} | {total:.0f} |")
        panel.line([0] + [operations * k for k in (1, 2, 4, 8)], [1] + history, what.split(" (")[0], marks=True)
    text = "\n".join(lines) + "\n"
    print(text)
    if options.write:
        plot.save(os.path.join(HERE, "residuals.svg"), panel)
        marked.put(os.path.join(HERE, "README.md"), text)


if __name__ == "__main__":
    main()
