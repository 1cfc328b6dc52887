#!/usr/bin/python3
"""Losses and gradients of pdn over 20 steps, for compare.py.

    bench/training/ours.py NAME FOLDER OURS.npz [--precision f64] [--pdn PATH] [--threads N]

NAME: of a network of run.py's table; FOLDER: what `NAME.py --dump FOLDER` wrote. Step k runs the program's experiment
`gradients` anew: k steps of Adam from the weights, then one of Adam with beta1 = 0, whose first moment, which
the checkpoint holds, is the gradient itself, bit by bit; its loss is in the history.
"""
import argparse
import csv
import json
import os
import re
import struct
import subprocess
import sys
import tempfile

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
STEPS = 20


def read_safetensors(path):
    """As in _rival.py, without PyTorch."""
    with open(path, "rb") as file:
        header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
        data = file.read()
    kinds = {"F32": "<f4", "F64": "<f8"}
    return {name: np.frombuffer(data[slice(*entry["data_offsets"])], kinds[entry["dtype"]]).reshape(entry["shape"])
            for name, entry in header.items() if name != "__metadata__" and entry["dtype"] in kinds}


def gradients(checkpoint, program):
    """The first moments lie one parameter after another in the order of the program, each from a line of 64 bytes on."""
    moments, at, found = checkpoint["optimiser/mean"], 0, {}
    line = 64 // moments.itemsize
    with open(program, encoding="utf-8") as file:
        names = re.findall(r"^ *param (\w+)", file.read(), re.M)
    for name in names:
        tensor = checkpoint[name]
        found[name] = moments[at:at + tensor.size].reshape(tensor.shape)
        at += -(-tensor.size // line) * line
    assert at == moments.size, "another layout of the parameters"
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name")
    parser.add_argument("folder")
    parser.add_argument("ours")
    parser.add_argument("--pdn", default=os.path.join(HERE, "..", "..", "build", "release", "bin", "pdn"))
    parser.add_argument("--precision", default="f32", choices=["f32", "f64"])
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    options = parser.parse_args()
    program = os.path.join(HERE, options.name + ".pdn")
    adam = np.load(os.path.join(options.folder, "steps.npz"))
    found = {"loss": []}
    for step in range(STEPS):
        with tempfile.TemporaryDirectory(prefix="pdn-bench-") as out:
            subprocess.run([options.pdn, "run", program, "gradients", f"steps={step}",
                            *(f"{name}={os.path.join(options.folder, file)}" for name, file in
                              (("weights", "weights.safetensors"), ("x", "x.npy"), ("target", "target.npy"))),
                            f"rate={float(adam['rate'])!r}", f"epsilon={float(adam['epsilon'])!r}",
                            "--precision", options.precision, "--threads", str(options.threads), "--out", out,
                            "--quiet"], check=True)
            files = {os.path.splitext(name)[1]: os.path.join(out, name) for name in os.listdir(out)}
            with open(files[".csv"], encoding="utf-8") as file:
                found["loss"].append(float(list(csv.DictReader(file))[-1]["loss"]))
            for name, gradient in gradients(read_safetensors(files[".checkpoint"]), program).items():
                found.setdefault("gradient." + name, []).append(gradient)
    np.savez(options.ours, **{name: np.array(values) for name, values in found.items()})
    return 0


if __name__ == "__main__":
    sys.exit(main())
