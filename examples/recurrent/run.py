#!/usr/bin/python3
"""Trains every network of recurrent.pdn and makes the table of README.md.

    examples/recurrent/run.py [--pdn PATH] [--seeds 1 2 3] [--epochs N] [--write]

Signals are made by the program: nothing else is needed. --write puts the table into README.md.
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
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(ROOT, "tools"))
import marked # noqa: E402

NETWORKS = [ # name, number in recurrent.pdn, inputs
    ("explicit steps, 3", 0, []),
    ("implicit steps, 3, 10 iterations each", 1, []),
    ("implicit steps, 3, solved by newton", 2, []),
]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pdn", default=os.path.join(ROOT, "build", "release", "bin", "pdn"))
    parser.add_argument("--seeds", nargs="*", type=int, default=[1, 2, 3])
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--write", action="store_true", help="put the table into README.md")
    options = parser.parse_args()
    lines = [f"{options.epochs} epochs of 256 signals of 256 cells, Adam falling by a cosine; mean and standard deviation over "
             f"the seeds {', '.join(map(str, options.seeds))} of the mean PSNR of 100 other signals.", "",
             "| network | parameters | PSNR (dB) | ‖output‖ / ‖input‖ | seconds a run |", "|---|---|---|---|---|"]
    noisy = 0
    for what, which, inputs in NETWORKS:
        found, growth, seconds = [], [], []
        for seed in options.seeds:
            with tempfile.TemporaryDirectory(prefix="pdn-recurrent-") as out:
                start = time.monotonic()
                done = subprocess.run([options.pdn, "run", os.path.join(HERE, "recurrent.pdn"), f"which={which}",
                                       f"epochs={options.epochs}", *inputs, "--seed", str(seed), "--threads", "1", "--out", out],
                                      stdout=subprocess.PIPE, text=True, check=False)
                seconds.append(time.monotonic() - start)
            if done.returncode:
                sys.exit(f"{what}: exit status {done.returncode}\n{done.stdout}")

            def value(label, text=done.stdout):
                return float(re.search(rf"^{label}: ([-0-9.e]+)", text, re.MULTILINE).group(1))
            found.append(value("psnr"))
            growth.append(value("growth"))
            noisy = value("noisy")
        spread = statistics.stdev(found) if len(found) > 1 else 0
        lines.append(f"| {what} | {value('parameters'):.0f} | {statistics.mean(found):.2f} ± {spread:.2f} | "
                     f"{statistics.mean(growth):.3f} | {statistics.median(seconds):.0f} |")
        print(lines[-1], flush=True)
    lines.append(f"\nThe noisy signals have {noisy:.2f} dB.")
    text = "\n".join(lines) + "\n"
    if options.write:
        marked.put(os.path.join(HERE, "README.md"), text)


if __name__ == "__main__":
    main()
