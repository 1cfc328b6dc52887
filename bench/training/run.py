#!/usr/bin/python3
"""Measures training and inference of pdn against PyTorch, in one interleaved run. See bench/README.md.

    bench/training/run.py [--pdn PATH] [--pairs N] [--threads N] [--json FILE] [--write] [--rival] [NAME…]

A rival times its own steps (the median of 20 or more after 5 to warm up: the best for it). So does pdn's training, in
its history. Of inference, ms per step = (time of LONG steps - time of SHORT steps) / (LONG - SHORT), of whole processes,
so that start, compiling, loading and first touch of memory fall out. Peak memory is the greatest resident set of the
training process, libraries and all. Compiling is all that comes before pdn's training runs, reading files apart, with
nothing cached, or everything: the times of the stages that `pdn bench` tells. Both run alternately; tables show medians (least to greatest), and the median of
the ratios pair by pair.
"""
import argparse
import csv
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "tools"))
import marked # noqa: E402

SHORT, LONG = 5, 45
TRAINING, INFERENCE, MEMORY = "ms per training step", "ms per inference", "peak memory"
COMPILE, START = "CPU ms to compile", "CPU ms to load from the cache"

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


def run(command):
    """(wall seconds, greatest resident set in MB, standard output) of a process that must succeed."""
    with tempfile.TemporaryFile("w+") as errors:
        start = time.monotonic()
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
        output = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.monotonic() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        process.stdout.close()
        if process.returncode:
            errors.seek(0)
            sys.exit(f"{' '.join(command)}: exit status {process.returncode}\n{output}{errors.read()}")
    return wall, usage.ru_maxrss * 1024 / 1e6, output


def values(text):
    """The numbers of `label: value` lines."""
    found = {}
    for line in text.splitlines():
        label, _, value = line.partition(": ")
        try:
            found[label.strip()] = float(value.split()[0].rstrip(","))
        except (IndexError, ValueError):
            pass
    return found


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

    def ours(self, command, steps):
        fill = {"pdn": self.options.pdn, "program": self.program, "steps": steps, "folder": self.folder,
                **self.adam, "threads": self.options.threads, "cache": os.path.join(self.folder, "cache")}
        return run([word.format(**fill) for word in command])

    def same_work(self):
        """Both have the same loss in each of 20 steps. Warms the cache, too."""
        dumped = values(run([*self.rival_command, "--dump", self.folder])[2])
        self.adam = {name: dumped[name] for name in ("rate", "epsilon")}
        self.ours(self.train, 20)
        for step, (loss, _) in enumerate(self.history()):
            theirs = dumped[f"loss {step}"]
            if not abs(loss - theirs) <= 1e-3 * abs(theirs):
                sys.exit(f"{self.name}: the loss of step {step + 1} is {loss:.9g} in pdn and {theirs:.9g} in PyTorch: "
                         "not the same work")

    def history(self):
        """(loss, seconds since the start) after each step of the last training"""
        with open(os.path.join(self.folder, "training-net.history.csv"), encoding="utf-8") as file:
            return [(float(row["loss"]), float(row["seconds"])) for row in csv.DictReader(file)]

    def training_step(self):
        """(ms of a step, MB)"""
        memory = self.ours(self.train, LONG)[1]
        seconds = [at for _, at in self.history()]
        return 1e3 * statistics.median(b - a for a, b in zip(seconds[SHORT - 1:], seconds[SHORT:])), memory

    def inference(self):
        """ms"""
        short, long = self.ours(self.infer, SHORT), self.ours(self.infer, LONG)
        return 1e3 * (long[0] - short[0]) / (LONG - SHORT)

    def compiling(self, *options):
        """CPU ms"""
        command = [self.train[0], "bench", *self.train[2:], "--json", "--repeat", "1", *options]
        found = json.loads(self.ours(command, 1)[2])
        return 1e3 * sum(seconds for stage, seconds in found["stages"].items() if stage != "read files")

    def measure(self):
        theirs, ours = [], []
        if self.there:
            self.same_work()
        for _ in range(self.options.pairs):
            said = values(run([*self.rival_command, "--steps", str(LONG - SHORT)])[2])
            theirs.append({label: said[label] for label in (TRAINING, INFERENCE, MEMORY)})
            if self.there:
                training, memory = self.training_step()
                ours.append({TRAINING: training, MEMORY: memory, INFERENCE: self.inference(),
                             COMPILE: self.compiling("--no-cache"), START: self.compiling()})
        row = {"name": self.name, "what": self.what}
        for label in (TRAINING, INFERENCE, MEMORY, COMPILE, START):
            a, b = ([pair[label] for pair in pairs if label in pair] for pairs in (theirs, ours))
            row[label] = {who: spread(numbers) for who, numbers in (("PyTorch", a), ("pdn", b)) if numbers}
            if a and b:
                row[label]["ratio"] = statistics.median(x / y for x, y in zip(a, b))
        return row


def spread(numbers):
    return {"median": statistics.median(numbers), "least": min(numbers), "greatest": max(numbers)}


def machine():
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        models = {line.split(":", 1)[1].strip() for line in file if line.startswith("model name")}
    version = subprocess.run([sys.executable, "-c", "import torch; print(torch.__version__)"],
                             stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
    return f"{'; '.join(sorted(models))}, {os.cpu_count()} cores, {platform.system()}, PyTorch {version} of Debian"


def table(rows, options):
    lines = [f"Measured {time.strftime('%Y-%m-%d')}: {machine()}, {options.threads} threads, {options.pairs} pairs. "
             "Medians (least to greatest); times are PyTorch / pdn, so are memories.", "",
             "| network | | PyTorch | pdn | times |", "|---|---|---|---|---|"]
    for row in rows:
        for label in (TRAINING, INFERENCE, MEMORY, COMPILE, START):
            def show(who, found=row[label], unit=" MB" if label == MEMORY else ""):
                if who not in found:
                    return "–"
                s = found[who]
                return f"{s['median']:.3g}{unit} ({s['least']:.3g} to {s['greatest']:.3g})"
            ratio = f"**{row[label]['ratio']:.2f}**" if "ratio" in row[label] else "–"
            title = f"{row['name']}: {row['what']}" if label == TRAINING else ""
            lines.append(f"| {title} | {label} | {show('PyTorch')} | {show('pdn')} | {ratio} |")
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pdn", default=os.path.join(HERE, "..", "..", "build", "release", "bin", "pdn"))
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--json", help="the numbers, to a file")
    parser.add_argument("--write", action="store_true", help="put the table into bench/README.md")
    parser.add_argument("--rival", action="store_true", help="PyTorch alone")
    parser.add_argument("names", nargs="*", help="networks; default: all")
    options = parser.parse_args()
    options.pdn = os.path.abspath(options.pdn)
    wrong = set(options.names) - {row[0] for row in PROGRAMS}
    if wrong:
        sys.exit(f"there is no {', '.join(sorted(wrong))}; there are {', '.join(row[0] for row in PROGRAMS)}")
    with tempfile.TemporaryDirectory(prefix="pdn-bench-") as folder:
        rows = [Pair(options, folder, row).measure() for row in PROGRAMS
                if not options.names or row[0] in options.names]
    text = table(rows, options)
    print(text)
    if options.write:
        marked.put(os.path.join(HERE, "..", "README.md"), text, "<!-- training -->", "<!-- end of training -->")
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump({"rows": rows, "machine": machine()}, file, indent=1)


if __name__ == "__main__":
    main()
