#!/usr/bin/python3
"""Are losses, gradients and weights over 20 steps of Adam those of PyTorch, to rounding?

    bench/training/compare.py [--factor 4] [--seed N] [--steps 20] [--pdn PATH] [--threads N] [NAME…]

pdn goes its way in f32 from safetensors weights. In each step PyTorch (the plain program under autograd, torch.optim.Adam) does
the same step in f32, from the weights that pdn has come to, and the plain program in f64 says what is true:
    loss       that there
    gradients  of each parameter, those there, with the same choices where rounding decides one (_kinks.py)
    weights    of each parameter, what Adam in f64 makes of pdn's gradients so far; relative to the way from the start
A distance is a relative 2-norm. In each step pdn may be `factor` times as far from the truth as PyTorch is, in that step or in the
root mean square of all steps, or as one rounding is, 2^-24. In f64, all of pdn is to be within 1e-12 of the truth.
Exit status 1 if anything is not.
"""
import argparse
import importlib
import os
import sys
import tempfile

import numpy as np

import _ours
from _kinks import Truth
from _rival import follow, torch, write_inputs

# name, class of its module, variant whose gradients are those of autograd
NETWORKS = {
    "symmetric_resnet": ("SymmetricResnet", "autograd"),
    "unet": ("Unet", "nchw"),
    "conv64": ("Conv64", "nchw"),
}
ROUNDING, DOUBLE = 2.0 ** -24, 1e-12
LOUD = 1e-5 # effects of choices that rounding elsewhere cannot hide


def distance(value, truth, scale):
    value, truth = (np.asarray(a, np.float64).ravel() for a in (value, truth))
    return float(np.linalg.norm(value - truth) / max(np.linalg.norm(scale), 1e-300))


class Adam:
    """Of PyTorch, in one precision, from the weights of a rival, with gradients that are given."""

    def __init__(self, rival, kind):
        self.project, self.kind = rival.project, kind
        self.weights = {name: tensor.detach().to(kind, copy=True) for name, tensor in rival.weights.items()}
        self.start = self.now()
        self.adam = torch.optim.Adam(self.weights.values(), lr=rival.rate, eps=rival.epsilon)

    def now(self):
        return {name: tensor.numpy().copy() for name, tensor in self.weights.items()}

    def step(self, gradients):
        for name, tensor in self.weights.items():
            tensor.grad = torch.as_tensor(gradients[name]).to(self.kind)
        self.adam.step()
        self.project(self.weights)


class Distances(dict):
    """From the truth: (loss, gradient or weights; name of the parameter) -> one number each step."""

    def put(self, what, name, number):
        self.setdefault((what, name), []).append(number)

    def step(self, truth, choices, loss, gradients):
        self.put("loss", "", distance(loss, truth.loss, truth.loss))
        for name, right in truth.turn(choices).items():
            self.put("gradient", name, distance(gradients[name], right, right))

    def moved(self, weights, adam):
        for name, right in adam.now().items():
            way = right - adam.start[name]
            self.put("weights", name, distance(weights[name], right, way) if way.any() else 0.0)


class Way:
    """Of pdn, from the weights of a rival."""

    def __init__(self, rival):
        self.rival, self.shapes = rival, {name: tensor.shape for name, tensor in rival.weights.items()}
        self.adam, self.rounded = Adam(rival, torch.float64), Adam(rival, torch.float32)
        self.ours, self.theirs = Distances(), Distances()
        self.losses = []
        self.turned = {"pdn": [], "PyTorch": []} # of each step, where rounding chose otherwise, in words

    def step(self, loss, gradients, weights, in_double):
        gradients, weights = ({name: np.array(tensors[name]).reshape(shape) for name, shape in self.shapes.items()}
                              for tensors in (gradients, weights))
        truth = Truth(self.rival, weights)
        self.losses.append(loss)
        choices = {} if in_double else truth.choices(gradients)
        self.ours.step(truth, choices, loss, gradients)
        self.ours.moved(weights, self.adam)
        if not in_double:
            self.beside(truth, weights)
            self.turned["pdn"].append([truth.where(kink) for kink in choices])
        for adam in self.adam, self.rounded:
            adam.step(gradients)

    def beside(self, truth, weights):
        """PyTorch does the same. Its choices are known; in the first step, it is checked that its gradient tells them."""
        self.rival.weights = {name: torch.as_tensor(value).requires_grad_(True) for name, value in weights.items()}
        loss, gradients = self.rival.gradients(self.rival.x, self.rival.target)
        gradients = {name: gradient.numpy() for name, gradient in gradients.items()}
        if not self.turned["PyTorch"]:
            found, effects = truth.choices(gradients), truth.effects()
            loud = {kink for kink, effect in effects.items() if np.linalg.norm(effect) > LOUD}
            if {k: s for k, s in found.items() if k in loud} != {k: s for k, s in truth.theirs.items() if k in loud}:
                sys.exit(f"PyTorch chose {truth.theirs}, by its gradient {found}: choices are not found")
        self.theirs.step(truth, truth.theirs, float(loss), gradients)
        self.theirs.moved(self.rounded.now(), self.adam)
        self.turned["PyTorch"].append([truth.where(kink) for kink in truth.theirs])


def judge(ours, theirs, factor):
    """Prints of loss, gradients and weights the worst, and whatever is not to rounding; whether all is."""
    good, worst = True, {}
    for (what, name), away in ours.items():
        away, beside = np.array(away), np.array(theirs.get((what, name), [0.0]))
        beside = np.maximum(np.maximum(beside, np.sqrt(np.mean(np.square(beside)))), ROUNDING)
        share = away / (factor * beside if factor else DOUBLE)
        step = int(np.argmax(share))
        line = f"  {what} {name}: {'to rounding' if share[step] <= 1 else 'OTHER'}; {away[step]:.1e} in step {step}"
        if factor:
            line += (f", {away[step] / beside[step]:.2f} times PyTorch's {beside[step]:.1e}; root mean squares "
                     f"{np.sqrt(np.mean(np.square(away))):.1e}, {np.sqrt(np.mean(np.square(theirs[what, name]))):.1e}")
        if not share[step] <= 1:
            good = False
            print(line, flush=True)
        elif share[step] >= worst.get(what, (0, ""))[0]:
            worst[what] = share[step], line
    for _, line in worst.values():
        print(line, flush=True)
    return good


def compare(name, options):
    """Whether a network of NETWORKS is the same in both."""
    make, variant = NETWORKS[name]
    torch.manual_seed(options.seed)
    rival = getattr(importlib.import_module(name), make)(variant)
    with torch.no_grad():
        rival.project(rival.weights)
    ways = {"f64": Way(rival), "f32": Way(rival)}
    with tempfile.TemporaryDirectory(prefix="pdn-bench-") as folder:
        write_inputs(rival, folder)
        losses = [loss for loss, _, _ in follow(rival, options.steps, rival.rate, rival.epsilon)]
        for precision, way in ways.items():
            for step in _ours.follow(options.pdn, name, folder, {
                    "steps": options.steps, "rate": rival.rate, "epsilon": rival.epsilon, "precision": precision,
                    "threads": options.threads}):
                way.step(*step, precision == "f64")
    good = True
    for precision, factor in (("f64", None), ("f32", options.factor)):
        print(f"{name} in {precision}")
        good &= judge(ways[precision].ours, ways[precision].theirs, factor)
    for who, turned in ways["f32"].turned.items():
        print(f"  kinks at which {who} in f32 goes another way than f64, in each step: "
              f"{' '.join(str(len(places)) for places in turned)}")
        print("".join(f"    step 0: {place}\n" for place in turned[0]), end="", flush=True)
    true = np.array(ways["f64"].losses)
    away = [np.max(np.abs(np.array(found) / true - 1)) for found in (ways["f32"].losses, losses)]
    print(f"  losses, each on a way of its own (not judged), from those in f64: pdn {away[0]:.1e}, PyTorch {away[1]:.1e}")
    return good


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--factor", type=float, default=4)
    parser.add_argument("--seed", type=int, default=1, help="of weights and batch")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--pdn", default=os.path.join(_ours.HERE, "..", "..", "build", "release", "bin", "pdn"))
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("names", nargs="*", help="networks; default: all")
    options = parser.parse_args()
    wrong = set(options.names) - set(NETWORKS)
    if wrong:
        sys.exit(f"there is no {', '.join(sorted(wrong))}; there are {', '.join(NETWORKS)}")
    torch.set_num_threads(options.threads)
    good = [compare(name, options) for name in options.names or NETWORKS]
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
