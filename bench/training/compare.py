#!/usr/bin/python3
"""Are losses and gradients those of PyTorch, to the rounding of f32?

    bench/training/compare.py FOLDER OURS.npz [--factor 8]

FOLDER: what `RIVAL.py --dump FOLDER` wrote. OURS.npz: arrays "loss" [20] and "gradient.NAME" [20, …], with the names and
shapes of weights.safetensors, or some of these. Measure is the plain program in f64: ours may be `factor` times
as far from it as PyTorch's f32 is, in each step, by the 2-norm; at least the rounding of one number is granted.
What was computed in f64 (ours.py --precision f64) may be 1e-9 from it.

In f32, a relu or a maximum whose choice hangs on the last bit goes the other way than in f64 in one of a few steps, in
PyTorch as here; what one such cell of a deep layer gives is 1e-5 to 1e-3 of a gradient, and from then on the weights
differ. Hence f64, too.
"""
import argparse
import os
import sys

import numpy as np


def distances(values, truth):
    """Of each step, relative to the truth's norm."""
    values, truth = (np.asarray(a, np.float64).reshape(len(truth), -1) for a in (values, truth))
    return np.linalg.norm(values - truth, axis=1) / np.maximum(np.linalg.norm(truth, axis=1), 1e-300)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder")
    parser.add_argument("ours")
    parser.add_argument("--factor", type=float, default=8)
    options = parser.parse_args()
    theirs, ours = np.load(os.path.join(options.folder, "steps.npz")), np.load(options.ours)
    known = [name for name in theirs.files if "double." + name in theirs.files]
    if not set(ours.files) & set(known):
        sys.exit(f"{options.ours} holds {', '.join(ours.files)}; none of {', '.join(known)}")
    in_double = any(ours[name].dtype == np.float64 for name in ours.files if name != "loss")
    bad = 0
    for name in known:
        if name not in ours.files:
            print(f"{name}: not compared")
            continue
        if ours[name].size != theirs[name].size:
            sys.exit(f"{name}: {ours[name].shape}, not {theirs[name].shape}")
        truth = theirs["double." + name]
        away = distances(ours[name], truth)
        granted = options.factor * np.maximum(distances(theirs[name], truth), 2.0 ** -23)
        if in_double:
            granted = np.full(len(truth), 1e-9)
        worst = int(np.argmax(away / granted))
        measure = "granted" if in_double else "PyTorch"
        beside = granted[worst] / (1 if in_double else options.factor)
        good = bool(np.all(away <= granted))
        bad += not good
        print(f"{name}: {'to rounding' if good else 'OTHER'}; step {worst}: {away[worst]:.1e} from f64, "
              f"{measure} {beside:.1e}; greatest {away.max():.1e}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
