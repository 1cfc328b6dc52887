#!/usr/bin/python3
"""Measures a multigrid solve against PETSc, and counts it in evaluations of the residual. See bench/README.md.

    bench/multigrid/run.py [--pdn PATH] [--pairs N] [--threads N] [--cells N] [--write]

Needs PETSc and MPI (./dev setup bench). A solve takes (wall time of a process of MANY solves - that of one) / (MANY - 1), set-up,
compiling and first touch of the memory fall out; PETSc's program times its solves itself, without set-up. Of the
ways that PETSc has, all of WAYS are tried once, and the fastest is the rival. Alternately in one run; medians.
"""
import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "tools"))
import marked # noqa: E402

MANY, EVALUATIONS = 9, 201
SOR = "-mg_levels_ksp_type richardson -mg_levels_pc_type sor -mg_levels_ksp_max_it"
JACOBI = "-mg_levels_ksp_type chebyshev -mg_levels_pc_type jacobi -mg_levels_ksp_max_it"
WAYS = [f"{method} {cycle} {smoother} {steps}"
        for method in ("-ksp_type richardson", "-ksp_type cg")
        for cycle in ("", "-pc_mg_type full")
        for smoother, steps in ((SOR, 1), (SOR, 2), (JACOBI, 2))]


def output(command):
    """Wall seconds and standard output of a process that must succeed."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    start = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: exit status {done.returncode}\n{done.stdout}{done.stderr}")
    return time.monotonic() - start, done.stdout


class Rival:
    def __init__(self, folder, options):
        self.program = os.path.join(folder, "petsc")
        flags = subprocess.run(["pkg-config", "--cflags", "--libs", "petsc"], capture_output=True, text=True, check=True)
        subprocess.run(["mpicc", "-std=gnu17", "-O3", "-march=native", os.path.join(HERE, "petsc.c"), "-o", self.program]
                       + flags.stdout.split() + ["-lm"], check=True)
        refine = (options.cells // 2).bit_length() - 1
        root = ["--allow-run-as-root"] if os.geteuid() == 0 else []
        self.start = ["mpiexec", "--oversubscribe"] + root
        self.common = f"-da_refine {refine} -pc_type mg -pc_mg_levels {refine} -ksp_rtol 1e-8 -ksp_norm_type unpreconditioned"

    def run(self, way, processes):
        """(least seconds of two solves, iterations, relative residual)"""
        text = output(self.start + ["-n", str(processes), self.program] + self.common.split() + way.split() + ["-solves", "2"])[1]
        found = {label: re.findall(label + r": (\S+)", text) for label in ("seconds", "iterations", "residual")}
        return min(map(float, found["seconds"])), int(found["iterations"][0]), float(found["residual"][0])

    def best(self, most):
        tried = []
        for way in WAYS:
            for processes in range(1, most + 1):
                seconds, iterations, residual = self.run(way, processes)
                print(f"{seconds:7.3f} s, {iterations:2} iterations, {residual:.1e}: {processes} × {way}", file=sys.stderr)
                if residual <= 1.01e-8:
                    tried.append((seconds, way, processes, iterations))
        return min(tried)


def ours(options, folder, program, count):
    """Seconds of a solve or an evaluation."""
    def wall(times):
        return output([options.pdn, "run", os.path.join(HERE, program), f"cells={options.cells}", f"solves={times}", "--threads",
                       str(options.threads), "--cache", os.path.join(folder, "cache"), "--quiet"])[0]
    return (wall(count) - wall(1)) / (count - 1)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pdn", default=os.path.join(HERE, "..", "..", "build", "release", "bin", "pdn"))
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--cells", type=int, default=2048)
    parser.add_argument("--write", action="store_true", help="put the table into bench/README.md")
    options = parser.parse_args()
    options.pdn = os.path.abspath(options.pdn)
    with tempfile.TemporaryDirectory(prefix="pdn-bench-") as folder:
        rival = Rival(folder, options)
        _, way, processes, iterations = rival.best(options.threads)
        times = {"PETSc": [], "solve": [], "residual": []}
        ours(options, folder, "poisson.pdn", 2), ours(options, folder, "residual.pdn", 2)  # fills the cache
        for _ in range(options.pairs):
            times["PETSc"].append(rival.run(way, processes)[0])
            times["solve"].append(ours(options, folder, "poisson.pdn", MANY))
            times["residual"].append(ours(options, folder, "residual.pdn", EVALUATIONS))
    ratio = statistics.median(p / s for p, s in zip(times["PETSc"], times["solve"]))
    count = statistics.median(s / r for s, r in zip(times["solve"], times["residual"]))

    def show(key):
        return f"{1e3 * statistics.median(times[key]):.1f} ({1e3 * min(times[key]):.1f} to {1e3 * max(times[key]):.1f})"
    text = (f"Measured {time.strftime('%Y-%m-%d')}, {options.cells}² cells, {options.threads} threads, {options.pairs} pairs: "
            "ms, medians (least to greatest).\n\n"
            "| PETSc | pdn | PETSc / pdn | residual of pdn | solve / residual |\n|---|---|---|---|---|\n"
            f"| {show('PETSc')} | {show('solve')} | **{ratio:.1f}** | {show('residual')} | **{count:.1f}** |\n\n"
            f"PETSc's fastest way: {processes} processes, `{way}`, {iterations} iterations.\n")
    print(text)
    if options.write:
        marked.put(os.path.join(HERE, "..", "README.md"), text, "<!-- multigrid -->", "<!-- end of multigrid -->")


if __name__ == "__main__":
    main()
