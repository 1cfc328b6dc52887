#!/usr/bin/python3
"""Trains every network of denoising.pdn, several seeds each, and makes the table of README.md.

    examples/denoising/run.py --photos DIR --held DIR [--pdn PATH] [--leave-out NAME…] [--seeds 1 2 3]
                              [--epochs 15] [--depth 10] [--only NAME…] [--csv FILE] [--write]

--photos: grey pictures to train on, at least 64×64. --held: other pictures, on which the networks are compared. Without
either, the photograph of examples/photo is used for both: that shows how it goes, and proves nothing.
Results are written to results.csv as they come; runs that are there already are not repeated. With --write the table is
put into README.md.
"""
import argparse
import csv
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

FIELDS = ["network", "seed", "epochs", "parameters", "noisy", "psnr", "seconds"]
# name, what it is, number in denoising.pdn, factor of depth, channels, rate of Adam (the best of 5e-4, 2e-3 and 5e-3 in short runs)
NETWORKS = [
    ("explicit", "explicit steps, Perona-Malik", 0, 1, 16, 5e-3),
    ("charbonnier", "explicit steps, Charbonnier", 1, 1, 16, 5e-3),
    ("relu", "explicit steps, ReLU", 2, 1, 16, 5e-3),
    ("fsi", "FSI, Perona-Malik", 3, 1, 16, 5e-3),
    ("du_fort_frankel", "Du Fort-Frankel, Perona-Malik", 4, 1, 16, 5e-3),
    ("standard", "standard blocks, as deep (twice the filters)", 5, 1, 16, 5e-4),
    ("standard_narrow", "standard blocks, as many parameters (half the channels)", 5, 1, 8, 5e-4),
    ("standard_shallow", "standard blocks, as many parameters (half the depth)", 5, 0.5, 16, 5e-4),
]


def train(options, folder, row, seed):
    """One row of the CSV."""
    name, _, which, depth, channels, rate = row
    command = [options.pdn, "run", os.path.join(HERE, "denoising.pdn"), f"photos={folder}", f"held={options.held}",
               f"which={which}", f"depth={max(1, round(options.depth * depth))}", f"channels={channels}",
               f"epochs={options.epochs}", f"rate={rate}", f"batch={options.batch}", "--seed", str(seed)]
    with tempfile.TemporaryDirectory() as out:
        start = time.monotonic()
        done = subprocess.run(command + ["--out", out], stdout=subprocess.PIPE, text=True, check=False)
        seconds = time.monotonic() - start
    if done.returncode:
        sys.exit(f"{' '.join(command)}: exit status {done.returncode}\n{done.stdout}")

    def value(label):
        return float(re.search(rf"^{label}: ([-0-9.e]+)", done.stdout, re.MULTILINE).group(1))
    return {"network": name, "seed": seed, "epochs": options.epochs, "parameters": int(value("parameters")),
            "noisy": value("noisy"), "psnr": value("psnr"), "seconds": round(seconds, 1)}


def read(path):
    if not os.path.exists(path):
        return []
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def append(path, row):
    new = not os.path.exists(path)
    with open(path, "a", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, FIELDS)
        if new:
            writer.writeheader()
        writer.writerow(row)


def table(rows, options):
    lines = [f"{options.depth} blocks, {options.epochs} epochs of one patch of 64×64 from each picture, batches of "
             f"{options.batch}, Adam falling by a cosine, noise of 25/255; "
             "mean and standard deviation over the seeds of the mean PSNR over the held-out pictures.", "",
             "| network | parameters | rate | PSNR (dB) | seeds | seconds a run |", "|---|---|---|---|---|---|"]
    for name, what, *_, rate in NETWORKS:
        mine = [r for r in rows if r["network"] == name and int(r["epochs"]) == options.epochs]
        if not mine:
            continue
        psnr = [float(r["psnr"]) for r in mine]
        spread = statistics.stdev(psnr) if len(psnr) > 1 else 0
        seconds = statistics.median(float(r["seconds"]) for r in mine)
        lines.append(f"| {what} | {mine[0]['parameters']} | {rate:g} | {statistics.mean(psnr):.2f} ± {spread:.2f} | "
                     f"{', '.join(r['seed'] for r in mine)} | {seconds:.0f} |")
    if rows:
        noisy = statistics.mean(float(r["noisy"]) for r in rows)
        lines.append(f"\nThe noisy pictures have {noisy:.2f} dB.")
    return "\n".join(lines) + "\n"


def write(text):
    marked.put(os.path.join(HERE, "README.md"), text)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos")
    parser.add_argument("--held")
    parser.add_argument("--leave-out", nargs="*", default=[], help="names of pictures that are not trained on")
    parser.add_argument("--pdn", default=os.path.join(ROOT, "build", "release", "bin", "pdn"))
    parser.add_argument("--seeds", nargs="*", type=int, default=[1, 2, 3])
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--depth", type=int, default=10)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--only", nargs="*", choices=[row[0] for row in NETWORKS])
    parser.add_argument("--csv", default=os.path.join(HERE, "results.csv"))
    parser.add_argument("--write", action="store_true", help="put the table into README.md")
    options = parser.parse_args()
    photo = os.path.join(ROOT, "examples", "photo")
    if not options.photos:
        options.batch = 1
    with tempfile.TemporaryDirectory(prefix="pdn-photos-") as folder:
        for name in sorted(os.listdir(options.photos or photo)):
            if name not in options.leave_out:
                os.symlink(os.path.abspath(os.path.join(options.photos or photo, name)), os.path.join(folder, name))
        options.held = os.path.abspath(options.held or photo)
        for seed in options.seeds:
            for row in NETWORKS:
                known = any(r["network"] == row[0] and int(r["seed"]) == seed and int(r["epochs"]) == options.epochs
                            for r in read(options.csv))
                if known or (options.only and row[0] not in options.only):
                    continue
                result = train(options, folder, row, seed)
                append(options.csv, result)
                print(", ".join(f"{k} {v}" for k, v in result.items()), flush=True)
    text = table([{k: str(v) for k, v in r.items()} for r in read(options.csv)], options)
    print(text)
    if options.write:
        write(text)


if __name__ == "__main__":
    main()
