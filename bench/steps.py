#!/usr/bin/python3
"""Steps alone, of large fields: what a process spends before them (first touch of memory, which the machine gives slowly and
unevenly) is not in it, other than in run.py. Plain C tells the rate of its steps; of pdn the time is that of `pdn bench`."""
import argparse
import json
import os
import tempfile

from _pairs import plain, ratio, run, show, spread, values

HERE = os.path.dirname(os.path.abspath(__file__))
ROWS = [("perona_malik", 4096, 2, 100), ("perona_malik", 8192, 2, 100), ("heat2d", 4096, 2, 100), ("heat2d", 8192, 2, 100),
        ("fsi", 4096, 2, 100), ("du_fort_frankel", 4096, 2, 100), ("heat3d", 512, 3, 10)]


def rival(program, cells, steps, threads):
    return values(run([program, str(cells), str(steps)], OMP_NUM_THREADS=str(threads), OMP_PROC_BIND="true").output)["rate"]


def ours(pdn, name, cells, rank, steps, threads):
    done = run([pdn, "bench", f"{HERE}/{name}.pdn", f"cells={cells}", f"steps={steps}", "--repeat", "3", "--json",
                "--threads", str(threads)])
    took = sum(row["seconds"] for row in json.loads(done.output.splitlines()[0])["rows"] if row["scheme"])
    return cells**rank * steps / took


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--pdn", default=f"{HERE}/../build/release/bin/pdn")
    options.add_argument("--pairs", type=int, default=7)
    options = options.parse_args()
    print("| program | plain C | pdn | pdn / plain C | pdn, 2 threads / 1 |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for name, cells, rank, steps in ROWS:
            program, pairs = plain(folder, name), []
            for _ in range(options.pairs):
                pairs.append((rival(program, cells, steps, 2), ours(options.pdn, name, cells, rank, steps, 2),
                              ours(options.pdn, name, cells, rank, steps, 1)))
            c, two, one = ([p[i] / 1e9 for p in pairs] for i in range(3))
            print(f"| {name} {'×'.join([str(cells)] * rank)} | {show(spread(c), form='.2f')} "
                  f"| {show(spread(two), form='.2f')} | **{ratio(two, c):.2f}** | {ratio(two, one):.2f} |", flush=True)


main()
