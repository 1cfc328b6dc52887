#!/usr/bin/python3
"""Every pointwise op of compiler/ops/ops.def, in both precisions and every mode, cell by cell, against
NumPy. A new op has no spelling here until one is given, and the check says so."""
import math
import os
import re

from _programs import MODES, Programs, load, np

ROOT = os.environ.get("PDN_SOURCE", os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
# op: how it is written; by default name(x, …)
SPELLING = {
    "neg": "-x", "add": "x + y", "sub": "x - y", "mul": "x * y", "div": "x / p", "fma": "x * y + z",
    "mod": "x % p", "pow": "p ^ x", "min": "min(x, y)", "max": "max(x, y)", "atan2": "atan2(x, y)",
    "lt": "x < y", "le": "x <= y", "eq": "x == y", "ne": "x != y", "and": "(x < y) and (y < z)",
    "or": "(x < y) or (y < z)", "not": "not (x < y)", "where": "where(x < y, y, z)", "guarded": "where(y == 0, 0, x)",
    "sqrt": "sqrt(p)", "log1p": "log1p(s)", "log": "log(p)", "log2": "log2(p)", "asin": "asin(s)", "acos": "acos(s)",
}
ERF = np.vectorize(math.erf)
ERFC = np.vectorize(math.erfc)
TRUTH = {
    "neg": lambda v: -v.x, "add": lambda v: v.x + v.y, "sub": lambda v: v.x - v.y,
    "mul": lambda v: v.x * v.y, "div": lambda v: v.x / v.p, "fma": lambda v: v.x * v.y + v.z,
    "mod": lambda v: np.mod(v.x, v.p), "pow": lambda v: v.p ** v.x,
    "min": lambda v: np.minimum(v.x, v.y), "max": lambda v: np.maximum(v.x, v.y),
    "atan2": lambda v: np.arctan2(v.x, v.y),
    "lt": lambda v: v.x < v.y, "le": lambda v: v.x <= v.y, "eq": lambda v: v.x == v.y,
    "ne": lambda v: v.x != v.y, "and": lambda v: (v.x < v.y) & (v.y < v.z),
    "or": lambda v: (v.x < v.y) | (v.y < v.z), "not": lambda v: ~(v.x < v.y),
    "where": lambda v: np.where(v.x < v.y, v.y, v.z),
    "detach": lambda v: v.x, "guarded": lambda v: np.where(v.y == 0, 0, v.x), "abs": lambda v: np.abs(v.x), "sign": lambda v: np.sign(v.x), "sqrt": lambda v: np.sqrt(v.p),
    "exp": lambda v: np.exp(v.x), "log": lambda v: np.log(v.p), "log2": lambda v: np.log2(v.p),
    "sin": lambda v: np.sin(v.x), "cos": lambda v: np.cos(v.x), "tan": lambda v: np.tan(v.x),
    "asin": lambda v: np.arcsin(v.s), "acos": lambda v: np.arccos(v.s), "atan": lambda v: np.arctan(v.x),
    "sinh": lambda v: np.sinh(v.x), "cosh": lambda v: np.cosh(v.x), "tanh": lambda v: np.tanh(v.x),
    "erf": lambda v: ERF(v.x), "floor": lambda v: np.floor(v.x), "ceil": lambda v: np.ceil(v.x),
    "round": lambda v: np.rint(v.x), "erfc": lambda v: ERFC(v.x), "expm1": lambda v: np.expm1(v.x),
    "log1p": lambda v: np.log1p(v.s), "sigmoid": lambda v: 1 / (1 + np.exp(-v.x)),
    "softplus": lambda v: np.logaddexp(0, v.x),
}


def ops():
    with open(os.path.join(ROOT, "compiler", "ops", "ops.def"), encoding="utf-8") as file:
        return re.findall(r'^OP\(\w+,\s*"(\w+)",\s*-?\d+,\s*POINTWISE\b', file.read(), re.MULTILINE)


class Values:
    """Inputs: x, y, z of any sign (whole numbers, halves and equal pairs among them), p > 0, |s| <= 1."""

    def __init__(self, shape):
        random = np.random.default_rng(20240229)
        self.x, self.y, self.z = (random.uniform(-3, 3, shape) for _ in range(3))
        self.x[0] = np.arange(shape[1]) - 18
        self.x[1] = np.arange(shape[1]) / 2 - 4.5
        self.y[2:5] = self.x[2:5]
        self.p = random.uniform(0.05, 5, shape)
        self.s = random.uniform(-1, 1, shape)
        self.s[0, :3] = [-1, 0, 1]
        for name in "xyzps":
            setattr(self, name, getattr(self, name).astype(np.float32).astype(np.float64))


def main():
    programs = Programs()
    values = Values((19, 37)) # neither a multiple of any vector width
    for name in "xyzps":
        programs.file(name + ".npy", getattr(values, name))
    names = ops()
    unknown = [name for name in names if name not in TRUTH]
    if unknown:
        print(f"no truth for the ops {', '.join(unknown)}: add them to {os.path.basename(__file__)}")
        programs.wrong += 1
    names = [name for name in names if name in TRUTH]
    reads = "\n".join(f'    let {name} = array("{name}.npy")' for name in "xyzps")
    fields = ", ".join(SPELLING.get(name, f"{name}(x)") for name in names)
    for precision, tolerance in (("f32", 3e-6), ("f64", 1e-13)):
        text = (f"precision {precision}\n\nexperiment ops {{\n{reads}\n"
                f"    save [{fields}] to \"ops.npy\"\n}}\n")
        first = None
        for mode, arguments in MODES.items():
            if mode == "interpret" and precision == "f32":
                continue
            found = load(programs.run(text, *arguments), "ops.npy")
            for i, name in enumerate(names):
                with np.errstate(over="ignore", divide="ignore"):
                    expected = TRUTH[name](values).astype(np.float64)
                # a large argument magnifies the rounding of its own representation: none here beyond 18
                scale = 64 if name in ("exp", "expm1", "pow", "sinh", "cosh", "tan") else 1
                programs.compare(f"{name}, {precision}, {mode}", found[i].astype(np.float64),
                                 expected, tolerance * scale)
            if mode != "interpret":
                first = found if first is None else first
                programs.compare(f"bits of {precision}, {mode}", found, first, 0)
    programs.end()


main()
