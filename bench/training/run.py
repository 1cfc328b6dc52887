#!/usr/bin/python3
"""Measures training and inference of pdn against PyTorch, in one interleaved run. See bench/README.md.

    bench/training/run.py [--pdn PATH] [--pairs N] [--threads N] [--json FILE] [--write] [--rival] [NAME…]

A rival times its own steps (the median of 20 or more after 5 to warm up: the best for it). So does pdn's training, in
its history. Of inference, ms per step = (time of LONG steps - time of SHORT steps) / (LONG - SHORT), of whole processes,
so that start, compiling, loading and first touch of memory fall out. With one thread, pdn's long runs are of ONE steps.
Peak memory is the greatest resident set of the training process, libraries and all. Compiling is all that comes before pdn's
training runs, reading files apart, with nothing cached, or everything: the times of the stages that `pdn bench` tells. All
run alternately; tables show medians (least to greatest), and the median of the ratios pair by pair.
"""
import csv
import json
import os
import statistics
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, ".."))
from _pairs import finish, heading, make_parser, pytorch, ratio, run, show, spread, steady, values # noqa: E402

SHORT, LONG, ONE = 5, 45, 20
TRAINING, INFERENCE, MEMORY = "ms per training step", "ms per inference", "peak memory"
COMPILE, START = "CPU ms to compile", "CPU ms to load from the cache"
LABELS = (TRAINING, INFERENCE, MEMORY, COMPILE, START)
ALONE = "pdn, 1 thread"

# How pdn runs. What stands in braces is filled in: pdn, program, steps, threads, folder (with weights.safetensors, x.npy
# and target.npy of the rival's --dump), rate and epsilon of Adam, cache. Training: `steps` steps of
# adam(rate = rate, epsilon = epsilon) from the weights, every step on the same batch, loss mean((net(x) - target)^2),
# projected after each. Inference: net(x) of the whole batch, `steps` times.
INPUTS = ["steps={steps}", "weights={folder}/weights.safetensors", "x={folder}/x.npy", "target={folder}/target.npy",
          "rate={rate}", "epsilon={epsilon}",
          "--threads", "{threads}", "--cache", "{cache}", "--out", "{folder}", "--quiet"]
TRAIN = ["{pdn}", "run", "{program}", "training", *INPUTS]
INFER = ["{pdn}", "run", "{program}", "inference", *INPUTS]
# name, rival (with arguments), what it is, pdn's program, its commands. A program that is not there: only the rival is measured.
PROGRAMS = [
    ("symmetric_resnet", "symmetric_resnet.py", "20 blocks, 16 filters 5×5, batch 16 of 64×64",
     "symmetric_resnet.pdn", TRAIN, INFER),
    ("symmetric_resnet_autograd", "symmetric_resnet.py --variant autograd", "the same, as one would write it in PyTorch",
     "symmetric_resnet.pdn", TRAIN, INFER),
    ("conv64", "conv64.py", "8 layers 64→64, 3×3, batch 8 of 40×40", "conv64.pdn", TRAIN, INFER),
    ("unet", "unet.py", "4 levels of 16 to 128 channels, batch 4 of 128×128", "unet.pdn", TRAIN, INFER),
]


class Pair:
    """A row of PROGRAMS, with a folder for the rival's weights."""

    def __init__(self, options, folder, row):
        self.options = options
        self.name, rival, self.what, program, self.train, self.infer = row
        self.folder = os.path.join(folder, self.name)
        self.program = os.path.join(HERE, program)
        rival, *variant = rival.split(maxsplit=2)
        self.rival_command = [sys.executable, os.path.join(HERE, rival), *variant, "--threads", str(options.threads)]
        self.there = os.path.exists(self.program) and not options.rival
        if not self.there and not options.rival:
            print(f"{self.name}: {program} is not there, PyTorch alone", file=sys.stderr)

    def ours(self, command, steps, threads):
        fill = {"pdn": self.options.pdn, "program": self.program, "steps": steps, "folder": self.folder,
                **self.adam, "threads": threads, "cache": os.path.join(self.folder, "cache")}
        return run([word.format(**fill) for word in command])

    def same_work(self):
        """Both have the same loss in each of 20 steps. Fills the cache for training and inference, too."""
        dumped = values(run([*self.rival_command, "--dump", self.folder]).output)
        self.adam = {name: dumped[name] for name in ("rate", "epsilon")}
        self.ours(self.train, 20, self.options.threads)
        for step, (loss, _) in enumerate(self.history()):
            theirs = dumped[f"loss {step}"]
            if not abs(loss - theirs) <= 1e-3 * abs(theirs):
                sys.exit(f"{self.name}: the loss of step {step + 1} is {loss:.9g} in pdn and {theirs:.9g} in PyTorch: "
                         "not the same work")
        self.ours(self.infer, 1, self.options.threads)

    def history(self):
        """(loss, seconds since the start) after each step of the last training"""
        with open(os.path.join(self.folder, "training-net.history.csv"), encoding="utf-8") as file:
            return [(float(row["loss"]), float(row["seconds"])) for row in csv.DictReader(file)]

    def times(self, threads, long):
        """ms and MB by the rows of the table"""
        memory = self.ours(self.train, long, threads).memory
        at = [seconds for _, seconds in self.history()]
        return {TRAINING: 1e3 * statistics.median(b - a for a, b in zip(at[SHORT - 1:], at[SHORT:])), MEMORY: memory,
                INFERENCE: 1e3 * steady(lambda steps: self.ours(self.infer, steps, threads), SHORT, long)[0]}

    def compiling(self, *options):
        """CPU ms"""
        command = [self.train[0], "bench", *self.train[2:], "--json", "--repeat", "1", *options]
        found = json.loads(self.ours(command, 1, self.options.threads).output)
        return 1e3 * sum(seconds for stage, seconds in found["stages"].items() if stage != "read files")

    def measure(self):
        found = {"PyTorch": [], "pdn": [], ALONE: []}
        threads = self.options.threads
        if self.there:
            self.same_work()
        for _ in range(self.options.pairs):
            found["PyTorch"].append(values(run([*self.rival_command, "--steps", str(LONG - SHORT)]).output))
            if self.there:
                found["pdn"].append({**self.times(threads, LONG), COMPILE: self.compiling("--no-cache"),
                                     START: self.compiling()})
            if self.there and threads > 1:
                found[ALONE].append(self.times(1, ONE))
        return {"name": self.name, "what": self.what, **{label: summary(label, found) for label in LABELS}}


def summary(label, found):
    """A row of the table"""
    columns = {who: [pair[label] for pair in pairs if label in pair] for who, pairs in found.items()}
    row = {who: spread(numbers) for who, numbers in columns.items() if numbers}
    for name, who in (("ratio", "PyTorch"), ("speedup", ALONE)):
        if who in row and "pdn" in row:
            row[name] = ratio(columns[who], columns["pdn"])
    return row


def table(rows, options):
    lines = [f"{heading(options, pytorch())} Medians (least to greatest); times are PyTorch / pdn, so are memories.", "",
             f"| network | | PyTorch | pdn | times | pdn, {options.threads} threads / 1 |", "|---|---|---|---|---|---|"]
    for row in rows:
        for label in LABELS:
            found = row[label]
            title = f"{row['name']}: {row['what']}" if label == TRAINING else ""
            unit = " MB" if label == MEMORY else ""
            theirs, ours = (show(found[who], unit) if who in found else "–" for who in ("PyTorch", "pdn"))
            times = f"**{found['ratio']:.2f}**" if "ratio" in found else "–"
            speedup = f"{found['speedup']:.2f}" if "speedup" in found and label != MEMORY else "–"
            lines.append(f"| {title} | {label} | {theirs} | {ours} | {times} | {speedup} |")
    return "\n".join(lines) + "\n"


def main():
    parser = make_parser(__doc__)
    parser.add_argument("--rival", action="store_true", help="PyTorch alone")
    parser.add_argument("names", nargs="*", help="networks; default: all")
    options = parser.parse_args()
    wrong = set(options.names) - {row[0] for row in PROGRAMS}
    if wrong:
        sys.exit(f"there is no {', '.join(sorted(wrong))}; there are {', '.join(row[0] for row in PROGRAMS)}")
    with tempfile.TemporaryDirectory(prefix="pdn-bench-") as folder:
        rows = [Pair(options, folder, row).measure() for row in PROGRAMS
                if not options.names or row[0] in options.names]
    finish(options, table(rows, options), "training", {"rows": rows}, pytorch())


if __name__ == "__main__":
    main()
