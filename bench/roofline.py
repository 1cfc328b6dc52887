#!/usr/bin/python3
"""Draws how near every row of the tables comes to what the machine can do: bench/roofline.svg. See bench/README.md.

    bench/roofline.py [--pdn PATH] [--threads N] [--runs N] [--out FILE.svg] [NAME…]

Each row's program runs under `pdn bench --json`, which counts its flops and the bytes that it moves, times it, and measures the
two rates of the machine beside it. A point: flops a byte, flops a second of the whole run; the roof: the lesser of the rate
of multiply-adds and flops a byte times that of copies. Networks begin with the weights of their rivals (PyTorch); without it their rows
are left out. Needs python3-matplotlib.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
try:
    import matplotlib
    matplotlib.use("agg")
    from matplotlib import pyplot as plt
except ImportError:
    print("python3-matplotlib is not installed (./dev setup bench)")
    sys.exit(77)

NET = "weights={folder}/weights.safetensors x={folder}/x.npy target={folder}/target.npy"
# name, program, experiment and inputs, program of the rival whose weights and data it takes
ROWS = [
    ("Perona-Malik 4096²", "perona_malik.pdn", "cells=4096 steps=50", None),
    ("Perona-Malik 8192²", "perona_malik.pdn", "cells=8192 steps=50", None),
    ("heat 4096²", "heat2d.pdn", "cells=4096 steps=50", None),
    ("heat 8192²", "heat2d.pdn", "cells=8192 steps=50", None),
    ("FSI 4096²", "fsi.pdn", "cells=4096 steps=60", None),
    ("Du Fort-Frankel 4096²", "du_fort_frankel.pdn", "cells=4096 steps=50", None),
    ("heat 256³", "heat3d.pdn", "cells=256 steps=50", None),
    ("heat 512³", "heat3d.pdn", "cells=512 steps=10", None),
    ("residual block 512²", "flux.pdn", "cells=512 steps=100", None),
    ("symmetric_resnet, training", "training/symmetric_resnet.pdn", "training steps=20 " + NET, "training/symmetric_resnet.py"),
    ("symmetric_resnet, inference", "training/symmetric_resnet.pdn", "inference steps=20 " + NET, "training/symmetric_resnet.py"),
    ("symmetric_resnet 512², inference", "training/symmetric_resnet.pdn", "inference steps=10 batch=1 " + NET,
     "inference/symmetric_resnet_512.py"),
    ("conv64, training", "training/conv64.pdn", "training steps=10 " + NET, "training/conv64.py"),
    ("conv64, inference", "training/conv64.pdn", "inference steps=20 " + NET, "training/conv64.py"),
    ("unet, training", "training/unet.pdn", "training steps=10 " + NET, "training/unet.py"),
    ("unet, inference", "training/unet.pdn", "inference steps=20 " + NET, "training/unet.py"),
    ("multigrid 2048², f64", "multigrid/poisson.pdn", "cells=2048 solves=4", None),
]


def profile(options, folder, program, inputs, rival):
    """The object of pdn bench; None where the rival cannot run."""
    if rival:
        folder = os.path.join(folder, os.path.basename(rival)[:-3])
        if not os.path.isdir(folder):
            made = subprocess.run([sys.executable, os.path.join(HERE, rival), "--dump", folder], stdout=subprocess.DEVNULL, check=False)
            if made.returncode:
                return None
    done = subprocess.run([options.pdn, "bench", os.path.join(HERE, program), *inputs.format(folder=folder).split(), "--json",
                           "--threads", str(options.threads), "--repeat", str(options.runs), "--out", folder, "--quiet"],
                          stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


def draw(points, options):
    """points: (name, object of pdn bench)"""
    figure, axes = plt.subplots(figsize=(9, 6.5))
    per_byte = [found["total"]["flops"] / found["total"]["bytes"] for _, found in points]
    low, high = min(per_byte) / 1.6, max(per_byte) * 3
    for precision, style in (("f32", "-"), ("f64", "--")):
        rates = [found["rates"] for _, found in points if found["precision"] == precision]
        if not rates:
            continue
        flops, copied = (statistics.median(rate[key] for rate in rates) for key in ("flops", "bytes"))
        ridge = flops / copied
        axes.plot([low, ridge, max(high, 2 * ridge)], [low * copied / 1e9, flops / 1e9, flops / 1e9], style, color="black", linewidth=1,
                  label=f"{precision}: {flops / 1e9:.0f} GFLOP/s of multiply-adds, {copied / 1e9:.0f} GB/s copied")
    for number, ((name, found), x) in enumerate(zip(points, per_byte)):
        rate = found["total"]["flops"] / found["total"]["seconds"] / 1e9
        roof = min(found["rates"]["flops"], x * found["rates"]["bytes"]) / 1e9
        axes.plot([x], [rate], marker="osD^v"[number % 5], linestyle="", markersize=6, color=f"C{number % 10}",
                  label=f"{name}: {rate:.3g} GFLOP/s, {100 * rate / roof:.0f} %")
    axes.set(xscale="log", yscale="log", xlabel="flops a byte that is read or written", ylabel="GFLOP/s",
             title=f"pdn, {options.threads} threads: percentages are of the roof above the point")
    axes.grid(True, which="both", linewidth=0.3)
    axes.legend(loc="center left", bbox_to_anchor=(1.02, 0.5), fontsize=8, frameon=False)
    plt.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "pdn"})
    figure.savefig(options.out, bbox_inches="tight", metadata={"Date": None})


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pdn", default=os.path.join(HERE, "..", "build", "release", "bin", "pdn"))
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--runs", type=int, default=5, help="of each program: the one of median time counts")
    parser.add_argument("--out", default=os.path.join(HERE, "roofline.svg"))
    parser.add_argument("names", nargs="*", help="rows whose names begin so; default: all")
    options = parser.parse_args()
    options.pdn = os.path.abspath(options.pdn)
    points = []
    with tempfile.TemporaryDirectory(prefix="pdn-bench-") as folder:
        for name, *row in ROWS:
            if options.names and not any(name.startswith(wanted) for wanted in options.names):
                continue
            found = profile(options, folder, *row)
            if not found:
                print(f"{name}: left out", file=sys.stderr)
                continue
            total = found["total"]
            print(f"{name}: {total['flops'] / total['bytes']:.3g} flops a byte, {total['flops'] / total['seconds'] / 1e9:.3g} GFLOP/s")
            points.append((name, found))
    draw(points, options)


if __name__ == "__main__":
    main()
