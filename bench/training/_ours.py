"""Losses, gradients and weights of pdn in steps of Adam, for compare.py."""
import csv
import json
import os
import re
import struct
import subprocess
import tempfile

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))


def read_safetensors(path):
    """As in _rival.py, in NumPy, and f64, too."""
    with open(path, "rb") as file:
        header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
        data = file.read()
    kinds = {"F32": "<f4", "F64": "<f8"}
    return {name: np.frombuffer(data[slice(*entry["data_offsets"])], kinds[entry["dtype"]]).reshape(entry["shape"])
            for name, entry in header.items() if name != "__metadata__" and entry["dtype"] in kinds}


def gradients(checkpoint, names):
    """The first moments lie one parameter after another in the order of the program, each from a line of 64 bytes on."""
    moments, at, found = checkpoint["optimiser/mean"], 0, {}
    line = 64 // moments.itemsize
    for name in names:
        tensor = checkpoint[name]
        found[name] = moments[at:at + tensor.size].reshape(tensor.shape)
        at += -(-tensor.size // line) * line
    assert at == moments.size, "another layout of the parameters"
    return found


def follow(pdn, name, folder, options):
    """(loss, gradients, weights) at each of options.steps steps: dictionaries by the names of the program, in its
    precision. Step k runs the program's experiment `gradients` anew: k steps of Adam from the weights in folder, then one
    with beta1 = 0, whose first moment, which the checkpoint holds, is the gradient itself, bit by bit; its rate is
    too small to move a weight. options: steps, rate, epsilon, precision, threads."""
    program = os.path.join(HERE, name + ".pdn")
    with open(program, encoding="utf-8") as file:
        names = re.findall(r"^ *param (\w+)", file.read(), re.M)
    for step in range(options["steps"]):
        with tempfile.TemporaryDirectory(prefix="pdn-bench-") as out:
            subprocess.run([pdn, "run", program, "gradients", f"steps={step}",
                            *(f"{name}={os.path.join(folder, file)}" for name, file in
                              (("weights", "weights.safetensors"), ("x", "x.npy"), ("target", "target.npy"))),
                            f"rate={options['rate']!r}", f"epsilon={options['epsilon']!r}",
                            "--precision", options["precision"], "--threads", str(options["threads"]),
                            "--cache", os.path.join(folder, "cache"), "--out", out, "--quiet"], check=True)
            files = {os.path.splitext(name)[1]: os.path.join(out, name) for name in os.listdir(out)}
            with open(files[".csv"], encoding="utf-8") as file:
                loss = float(list(csv.DictReader(file))[-1]["loss"])
            checkpoint = read_safetensors(files[".checkpoint"])
        yield loss, gradients(checkpoint, names), {name: checkpoint[name] for name in names}
