#!/usr/bin/python3
"""Measures inference of pdn on one large picture against PyTorch and onnxruntime, in one interleaved run. See bench/README.md.

    bench/inference/run.py [--pdn PATH] [--pairs N] [--threads N] [--npm FOLDER] [--json FILE] [--write]

Rivals time their own inferences (the median of 20 or more after 5 to warm up). Of pdn, ms per inference = (time of LONG steps - time
of SHORT steps) / (LONG - SHORT), of whole processes. Peak memory is the greatest resident set of the process, libraries and all.
All run alternately; tables show medians (least to greatest), and the median of the ratios pair by pair.
"""
import argparse
import glob
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "training"), os.path.join(HERE, "..", "..", "tools"), HERE]
import marked # noqa: E402
import onnx_model # noqa: E402
from run import machine, run, spread, values # noqa: E402

SHORT, LONG, STEPS = 5, 25, 20
TIME, MEMORY = "ms per inference", "peak memory"
# name, what it is, PyTorch's program, pdn's program (with the experiments `inference` and `result`), cells of a side
NETWORKS = [
    ("symmetric_resnet", "20 blocks, 16 filters 5×5, one picture of 512×512", "symmetric_resnet_512.py",
     "../training/symmetric_resnet.pdn", 512),
]


class Network:
    """A row of NETWORKS: its rivals are the methods that give their numbers."""

    def __init__(self, options, folder, row):
        self.options, self.folder = options, folder
        self.name, self.what, self.torch_program, program, self.cells = row
        self.program = os.path.join(HERE, program)
        run([sys.executable, os.path.join(HERE, self.torch_program), "--dump", folder])
        self.rivals = {"PyTorch": self.torch}
        if options.npm:
            self.rivals["onnxruntime"] = self.onnx
            self.way = min(onnx_model.WAYS, key=self.time_of_way)
            self.write_model(self.way)

    def path(self, name):
        return os.path.join(self.folder, name)

    def torch(self):
        return values(run([sys.executable, os.path.join(HERE, self.torch_program), "--threads", str(self.options.threads),
                           "--weights", self.path("weights.safetensors"), "--steps", str(STEPS),
                           "--inference", self.path("PyTorch.npy")])[2])

    def onnx(self, steps=STEPS):
        os.environ["NODE_PATH"] = os.path.join(self.options.npm, "node_modules")
        return values(run(["node", os.path.join(HERE, "onnx_run.js"), self.path("model.onnx"), self.path("x.npy"),
                           str(self.options.threads), str(steps), self.path("onnxruntime.npy")])[2])

    def write_model(self, way):
        run([sys.executable, os.path.join(HERE, "onnx_model.py"), self.path("weights.safetensors"), str(self.cells),
             self.path("model.onnx"), way])

    def time_of_way(self, way):
        self.write_model(way)
        took = self.onnx(7)[TIME]
        print(f"{took:8.1f} ms: onnxruntime, {way}", file=sys.stderr)
        return took

    def pdn(self, experiment, *inputs):
        return run([self.options.pdn, "run", self.program, experiment, f"weights={self.path('weights.safetensors')}",
                    f"x={self.path('x.npy')}", *inputs, "--threads", str(self.options.threads),
                    "--cache", self.path("cache"), "--out", self.folder, "--quiet"])

    def ours(self):
        def steps(count):
            return self.pdn("inference", f"target={self.path('target.npy')}", f"steps={count}", "batch=1")
        short, long = steps(SHORT), steps(LONG)
        return {TIME: 1e3 * (long[0] - short[0]) / (LONG - SHORT), MEMORY: long[1]}

    def same_work(self):
        """All have the same result. Fills the cache, too."""
        self.pdn("result")
        mine = np.load(glob.glob(self.path("result*.npy"))[0]).ravel()
        for name, rival in self.rivals.items():
            rival()
            theirs = np.load(self.path(name + ".npy")).ravel()
            away = np.abs(mine - theirs).max()
            if not away <= 1e-4 * np.abs(theirs).max():
                sys.exit(f"{self.name}: pdn's result is {away:.2g} away from {name}'s: not the same work")
        self.ours()

    def measure(self):
        self.same_work()
        found = {name: [] for name in [*self.rivals, "pdn"]}
        for _ in range(self.options.pairs):
            for name, rival in self.rivals.items():
                found[name].append(rival())
            found["pdn"].append(self.ours())
        row = {"name": self.name, "what": self.what, "way": getattr(self, "way", None)}
        for label in (TIME, MEMORY):
            columns = {name: [pair[label] for pair in pairs] for name, pairs in found.items()}
            row[label] = {name: {**spread(numbers), "ratio": statistics.median(a / b for a, b in zip(numbers, columns["pdn"]))}
                          for name, numbers in columns.items()}
        return row


def table(rows, options):
    lines = [f"Measured {time.strftime('%Y-%m-%d')}: {machine()}, {options.threads} threads, {options.pairs} pairs. "
             "Medians (least to greatest); times are the rival's / pdn's.", ""]
    for row in rows:
        lines += [f"| {row['name']}: {row['what']} | {TIME} | times | {MEMORY} | times |", "|---|---|---|---|---|"]
        for name in row[TIME]:
            def show(label, unit="", row=row, name=name):
                s = row[label][name]
                return f"{s['median']:.3g}{unit} ({s['least']:.3g} to {s['greatest']:.3g})"

            def ratio(label, row=row, name=name):
                return "" if name == "pdn" else f"**{row[label][name]['ratio']:.2f}**"
            lines.append(f"| {name} | {show(TIME)} | {ratio(TIME)} | {show(MEMORY, ' MB')} | {ratio(MEMORY)} |")
        if row["way"]:
            lines += ["", f"The fastest ONNX model: ghosts by {row['way'].split()[0]}, transposed convolution {row['way'].split()[1]}."]
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pdn", default=os.path.join(HERE, "..", "..", "build", "release", "bin", "pdn"))
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--npm", help="folder in which onnxruntime-node was installed; without it PyTorch alone is the rival")
    parser.add_argument("--json", help="the numbers, to a file")
    parser.add_argument("--write", action="store_true", help="put the table into bench/README.md")
    options = parser.parse_args()
    options.pdn = os.path.abspath(options.pdn)
    rows = []
    for row in NETWORKS:
        with tempfile.TemporaryDirectory(prefix="pdn-bench-") as folder:
            rows.append(Network(options, folder, row).measure())
    text = table(rows, options)
    print(text)
    if options.write:
        marked.put(os.path.join(HERE, "..", "README.md"), text, "<!-- inference -->", "<!-- end of inference -->")
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump({"rows": rows, "machine": machine()}, file, indent=1)


if __name__ == "__main__":
    main()
