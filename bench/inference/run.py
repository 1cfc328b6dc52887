#!/usr/bin/python3
"""Measures inference of pdn on one large picture against PyTorch and onnxruntime, in one interleaved run. See bench/README.md.

    bench/inference/run.py [--pdn PATH] [--pairs N] [--threads N] [--npm FOLDER] [--json FILE] [--write]

Rivals time their own inferences (the median of 20 or more after 5 to warm up). Of pdn, ms per inference = (time of LONG steps - time
of SHORT steps) / (LONG - SHORT), of whole processes. Peak memory is the greatest resident set of the process, libraries and all.
All, pdn with one thread among them, run alternately; tables show medians (least to greatest), and the median of the ratios pair by pair.
"""
import glob
import os
import sys
import tempfile

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, ".."), HERE]
import onnx_model # noqa: E402
from _pairs import finish, heading, make_parser, pytorch, ratio, run, show, spread, steady, values # noqa: E402

SHORT, LONG, STEPS = 5, 25, 20
TIME, MEMORY = "ms per inference", "peak memory"
ALONE = "pdn, 1 thread"
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
                           "--inference", self.path("PyTorch.npy")]).output)

    def onnx(self, steps=STEPS):
        os.environ["NODE_PATH"] = os.path.join(self.options.npm, "node_modules")
        return values(run(["node", os.path.join(HERE, "onnx_run.js"), self.path("model.onnx"), self.path("x.npy"),
                           str(self.options.threads), str(steps), self.path("onnxruntime.npy")]).output)

    def write_model(self, way):
        run([sys.executable, os.path.join(HERE, "onnx_model.py"), self.path("weights.safetensors"), str(self.cells),
             self.path("model.onnx"), way])

    def time_of_way(self, way):
        self.write_model(way)
        took = self.onnx(7)[TIME]
        print(f"{took:8.1f} ms: onnxruntime, {way}", file=sys.stderr)
        return took

    def pdn(self, threads, experiment, *inputs):
        return run([self.options.pdn, "run", self.program, experiment, f"weights={self.path('weights.safetensors')}",
                    f"x={self.path('x.npy')}", *inputs, "--threads", str(threads),
                    "--cache", self.path("cache"), "--out", self.folder, "--quiet"])

    def ours(self, threads):
        seconds, memory = steady(lambda steps: self.pdn(threads, "inference", f"target={self.path('target.npy')}",
                                                        f"steps={steps}", "batch=1"), SHORT, LONG)
        return {TIME: 1e3 * seconds, MEMORY: memory}

    def same_work(self):
        """All have the same result. Fills the cache, too."""
        self.pdn(self.options.threads, "result")
        mine = np.load(glob.glob(self.path("result*.npy"))[0]).ravel()
        for name, rival in self.rivals.items():
            rival()
            theirs = np.load(self.path(name + ".npy")).ravel()
            away = np.abs(mine - theirs).max()
            if not away <= 1e-4 * np.abs(theirs).max():
                sys.exit(f"{self.name}: pdn's result is {away:.2g} away from {name}'s: not the same work")
        self.ours(self.options.threads)

    def measure(self):
        self.same_work()
        programs = {**self.rivals, "pdn": lambda: self.ours(self.options.threads)}
        if self.options.threads > 1:
            programs[ALONE] = lambda: self.ours(1)
        found = {name: [] for name in programs}
        for _ in range(self.options.pairs):
            for name, program in programs.items():
                found[name].append(program())
        row = {"name": self.name, "what": self.what, "way": getattr(self, "way", None)}
        for label in (TIME, MEMORY):
            columns = {name: [pair[label] for pair in pairs] for name, pairs in found.items()}
            row[label] = {name: {**spread(numbers), "ratio": ratio(numbers, columns["pdn"])}
                          for name, numbers in columns.items()}
        return row


def shown(found, name, unit=""):
    """What a row of the table shows of a time or a memory, and how many times that of pdn it is."""
    bold = "" if name == ALONE else "**"
    return f"{show(found[name], unit)} | " + ("" if name == "pdn" else f"{bold}{found[name]['ratio']:.2f}{bold}")


def table(rows, options):
    lines = [f"{heading(options, pytorch())} Medians (least to greatest); times are the rival's / pdn's"
             f"{f', or those of 1 thread / {options.threads}' if options.threads > 1 else ''}.", ""]
    for row in rows:
        lines += [f"| {row['name']}: {row['what']} | {TIME} | times | {MEMORY} | times |", "|---|---|---|---|---|"]
        lines += [f"| {name} | {shown(row[TIME], name)} | {shown(row[MEMORY], name, ' MB')} |" for name in row[TIME]]
        if row["way"]:
            lines += ["", f"The fastest ONNX model: ghosts by {row['way'].split()[0]}, transposed convolution {row['way'].split()[1]}."]
    return "\n".join(lines) + "\n"


def main():
    parser = make_parser(__doc__)
    parser.add_argument("--npm", help="folder in which onnxruntime-node was installed; without it PyTorch alone is the rival")
    options = parser.parse_args()
    rows = []
    for row in NETWORKS:
        with tempfile.TemporaryDirectory(prefix="pdn-bench-") as folder:
            rows.append(Network(options, folder, row).measure())
    finish(options, table(rows, options), "inference", {"rows": rows}, pytorch())


if __name__ == "__main__":
    main()
