#!/usr/bin/python3
"""Measures a multigrid solve against PETSc, and counts it in evaluations of the residual. See bench/README.md.

    bench/multigrid/run.py [--pdn PATH] [--pairs N] [--threads N] [--cells N] [--json FILE] [--write]

Needs PETSc and MPI (./dev setup bench). A solve takes (wall time of a process of MANY solves - that of one) / (MANY - 1), set-up,
compiling and first touch of the memory fall out; PETSc's program times its solves itself, without set-up. Of the
ways that PETSc has, all of WAYS are tried once, and the fastest is the rival. Alternately in one run; medians.
"""
import os
import re
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, ".."))
from _pairs import finish, heading, make_parser, ratio, run, show, spread, steady # noqa: E402

MANY, EVALUATIONS = 9, 201
SOR = "-mg_levels_ksp_type richardson -mg_levels_pc_type sor -mg_levels_ksp_max_it"
JACOBI = "-mg_levels_ksp_type chebyshev -mg_levels_pc_type jacobi -mg_levels_ksp_max_it"
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
WAYS = [f"{method} {cycle} {smoother} {steps}"
        for method in ("-ksp_type richardson", "-ksp_type cg")
        for cycle in ("", "-pc_mg_type full")
        for smoother, steps in ((SOR, 1), (SOR, 2), (JACOBI, 2))]


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
        text = run([*self.start, "-n", str(processes), self.program, *self.common.split(), *way.split(), "-solves", "2"],
                   **ENVIRONMENT).output
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
    def process(solves):
        return run([options.pdn, "run", os.path.join(HERE, program), f"cells={options.cells}", f"solves={solves}", "--threads",
                    str(options.threads), "--cache", os.path.join(folder, "cache"), "--quiet"], **ENVIRONMENT)
    return steady(process, 1, count)[0]


def main():
    parser = make_parser(__doc__)
    parser.add_argument("--cells", type=int, default=2048)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pdn-bench-") as folder:
        rival = Rival(folder, options)
        _, way, processes, iterations = rival.best(options.threads)
        times = {"PETSc": [], "solve": [], "residual": []}
        ours(options, folder, "poisson.pdn", 2), ours(options, folder, "residual.pdn", 2)  # fills the cache
        for _ in range(options.pairs):
            times["PETSc"].append(rival.run(way, processes)[0])
            times["solve"].append(ours(options, folder, "poisson.pdn", MANY))
            times["residual"].append(ours(options, folder, "residual.pdn", EVALUATIONS))
    found = {key: spread([1e3 * seconds for seconds in row]) for key, row in times.items()}
    found["ratio"], found["evaluations"] = ratio(times["PETSc"], times["solve"]), ratio(times["solve"], times["residual"])
    text = (f"{heading(options, f'{options.cells}² cells')} Times in ms, medians (least to greatest).\n\n"
            "| PETSc | pdn | PETSc / pdn | residual of pdn | solve / residual |\n|---|---|---|---|---|\n"
            f"| {show(found['PETSc'], form='.1f')} | {show(found['solve'], form='.1f')} | **{found['ratio']:.1f}** "
            f"| {show(found['residual'], form='.1f')} | **{found['evaluations']:.1f}** |\n\n"
            f"PETSc's fastest way: {processes} processes, `{way}`, {iterations} iterations.\n")
    finish(options, text, "multigrid", found)


if __name__ == "__main__":
    main()
