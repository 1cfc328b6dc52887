#!/usr/bin/python3
"""Activations, fluxes, penalisers and losses of the prelude and the library where they saturate: values and derivatives by
the argument and by the parameter, forward and reverse, of arguments from the least to the largest numbers of both precisions,
against mpmath. A function of activations.pdn, losses.pdn, or a flux or penaliser of diffusion.pdn, that has no truth here
fails, and the check says so."""
import os
import re
import sys

from _programs import MODES, Programs, load, np

try:
    import mpmath as mp
except ImportError:
    print("mpmath is not installed (Debian: python3-mpmath)")
    sys.exit(77)

mp.mp.dps = 800  # 1 + 1e-308 and the square of a step are told from 1
STDLIB = os.path.join(os.environ.get("PDN_SOURCE", os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")),
                      "stdlib")
ZERO, HALF = mp.mpf(0), mp.mpf(1) / 2
STEP = mp.mpf(10) ** -25
WRONG = -12321.0  # in place of what is no number, so that it can be saved
SIZES = [0, 1e-44, 1e-38, 1e-30, 1e-20, 1e-10, 1e-7, 1e-5, 1e-3, 0.1, 0.3, 0.7, 1, 2, 3, 5, 8, 12, 17, 20, 40, 60, 80, 87, 88.7,
         88.8, 90, 100, 103, 104, 120, 500, 700, 709.7, 710, 745, 746, 1000, 1e4, 65000, 1e6, 1e9, 1e12, 1e17]
LARGE = [1e18, 1e19, 1e20, 1e25, 1e30, 1e38, 3.4e38]
HUGE = [1e50, 1e100, 1e150]
LARGEST = [1e160, 1e200, 1e300, 1.7e308]


def positive(x):
    return max(x, ZERO)


def sigmoid(x):
    return 1 / (1 + mp.exp(-x))


def softplus(x):
    return mp.log(1 + mp.exp(-abs(x))) + positive(x)


def clamped(x, low, high):
    return min(max(x, low), high)


# name: function of x, or of x and a parameter, and the parameter's value (exact in f32)
WHOLE = {  # from one end of the numbers to the other
    "relu": positive, "sigmoid": sigmoid, "softplus": softplus, "tanh": mp.tanh, "erf": mp.erf, "atan": mp.atan,
    "erfc": lambda x: mp.erfc(x) if abs(x) < 1e6 else mp.mpf(0 if x > 0 else 2),
    "gelu": lambda x: x / 2 * mp.erfc(-x / mp.sqrt(2)) if abs(x) < 1e6 else positive(x), "silu": lambda x: x * sigmoid(x),
    "leaky_relu": (lambda x, p: positive(x) + p * min(x, ZERO), 0.0625),
    "elu": (lambda x, p: positive(x) + p * mp.expm1(min(x, ZERO)), 1.25),
    "selu": lambda x: mp.mpf(1.0507009873554805) * (positive(x) + mp.mpf(1.6732632423543772) * mp.expm1(min(x, ZERO))),
    "mish": lambda x: x * mp.tanh(softplus(x)),
    "hard_sigmoid": lambda x: clamped(x / 6 + HALF, 0, 1), "hard_swish": lambda x: x * clamped(x / 6 + HALF, 0, 1),
    "hard_tanh": lambda x: clamped(x, -1, 1), "softsign": lambda x: x / (1 + abs(x)),
    "soft_shrink": (lambda x, p: positive(x - p) + min(x + p, ZERO), 0.25),
    "hard_shrink": (lambda x, p: x if abs(x) > p else ZERO, 0.25),
    "absolute": abs, "huber": (lambda x, p: min(abs(x), p) * (abs(x) - min(abs(x), p) / 2), 0.75),
    "log_cosh": lambda x: abs(x) + mp.log(1 + mp.exp(-2 * abs(x))) - mp.log(2),
    "binary_cross_entropy_logit": (lambda x, p: softplus(x) - p * x, 0.25),
    "hinge": (lambda x, p: positive(1 - p * x), 0.5),
}
SQUARES = {  # where the square of the argument, over that of the parameter, is a number
    "squared": lambda x: x**2,
    "exponential_perona_malik_flux": (lambda x, p: x * mp.exp(-((x / p) ** 2) / 2), 0.75),
    "weickert_flux": (lambda x, p: x * -mp.expm1(-mp.mpf(3.31488) / (x / p) ** 8) if x else x, 0.75),
    "charbonnier_flux": (lambda x, p: x / mp.sqrt(1 + (x / p) ** 2), 0.75),
    "perona_malik_flux": (lambda x, p: x / (1 + (x / p) ** 2), 0.75),
    "total_variation_flux": (lambda x, p: x / mp.sqrt(x**2 + p**2), 0.75),
    "geman_mcclure_flux": (lambda x, p: x / (1 + (x / p) ** 2) ** 2, 0.75),
    "pseudo_huber": (lambda x, p: p**2 * (mp.sqrt(1 + (x / p) ** 2) - 1), 0.75),
    "lorentzian": (lambda x, p: p**2 / 2 * mp.log(1 + (x / p) ** 2), 0.75),
    "welsch": (lambda x, p: -(p**2) / 2 * mp.expm1(-((x / p) ** 2)), 0.75),
}
PENALISERS = {  # of the square itself, which is not negative
    "homogeneous_penaliser": (lambda x, p: x, 0.75),
    "charbonnier_penaliser": (lambda x, p: 2 * p**2 * (mp.sqrt(1 + x / p**2) - 1), 0.75),
    "perona_malik_penaliser": (lambda x, p: p**2 * mp.log(1 + x / p**2), 0.75),
    "exponential_perona_malik_penaliser": (lambda x, p: -2 * p**2 * mp.expm1(-x / (2 * p**2)), 0.75),
    "total_variation_penaliser": (lambda x, p: 2 * mp.sqrt(x + p**2), 0.75),
    "geman_mcclure_penaliser": (lambda x, p: x / (1 + x / p**2), 0.75),
}
UNTESTED = {"binary_cross_entropy"}  # of a probability, in [0, 1]
# values, and slopes, that are differences of numbers of size 1, and have their rounding
ROUGH_VALUES = {"log_cosh", "pseudo_huber", "charbonnier_penaliser"}
ROUGH = {"tanh", "mish", "softsign", "log_cosh", *SQUARES, *PENALISERS}


def library():
    names = []
    for module, pattern in (("activations", r"\w+"), ("losses", r"\w+"), ("diffusion", r"\w+_(?:flux|penaliser)")):
        with open(os.path.join(STDLIB, module + ".pdn"), encoding="utf-8") as file:
            names += re.findall(rf"^fn ({pattern})\(", file.read(), re.MULTILINE)
    return names


def program(names, truths):
    text = ("use activations\nuse diffusion\nuse losses\n\nfn seen(x) = where(x == x, x, " + str(WRONG) + ")\n\n"
            "experiment saturated {\n")
    for name in names:
        with_p = isinstance(truths[name], tuple)
        text += (f"    let x_{name} = array(\"x_{name}.npy\")\n    let one_{name} = ones(x_{name})\n"
                 f"    let f_{name}(x) = {name}(x{', ' + str(truths[name][1]) if with_p else ''})\n")
        items = [f"f_{name}(x_{name})"] + [f"{way}(f_{name}, x_{name})(one_{name})" for way in ("jvp", "vjp")]
        if with_p:
            text += (f"    let p_{name} = {truths[name][1]} * one_{name}\n"
                     f"    let g_{name}(p) = {name}(x_{name}, p)\n")
            items += [f"{way}(g_{name}, p_{name})(one_{name})" for way in ("jvp", "vjp")]
        text += f"    save seen([{', '.join(items)}]) to \"{name}.npy\"\n"
    return text + "}\n"


def differences(f, x, scale):
    """f, f' and f'' at x, by steps far below any rounding."""
    h = STEP * (abs(x) if x else scale)
    low, at, high = f(x - h), f(x), f(x + h)
    return at, (high - low) / (2 * h), (high - 2 * at + low) / h**2


class Truth:
    """Of one argument: expected results, each with the error allowed: roundings of the result, and of the argument on the
    way (twice the condition)."""

    def __init__(self, name, truth, x, eps):
        x = mp.mpf(float(x))
        function, p = truth if isinstance(truth, tuple) else (truth, None)
        rough = 8 * eps if name in ROUGH else 0
        f = (lambda x: function(x, mp.mpf(p))) if p else function
        at, slope, bend = differences(f, x, STEP)
        self.rows = [(at, eps * (8 * abs(at) + 8 * abs(x * slope)) + (8 * eps if name in ROUGH_VALUES else 0))]
        self.rows += 2 * [(slope, eps * (16 * abs(slope) + 16 * abs(x * bend)) + rough)]
        if p:
            _, by, bend = differences(lambda q: function(x, q), mp.mpf(p), 1)
            mixed = (differences(lambda y: function(y, mp.mpf(p) * (1 + STEP)), x, STEP)[1] - slope) / (p * STEP)
            self.rows += 2 * [(by, eps * (16 * abs(by) + 16 * abs(p * bend) + 16 * abs(x * mixed)) + rough)]


def outside(number, precision):
    return abs(number) > mp.mpf(float(np.finfo(precision).max))


def judge(programs, what, size, found, expected, allowed, precision):
    programs.checked += 1
    # below the normal numbers 0 will do, of what is between, too, times the argument and a factor
    tiny = 2 * mp.mpf(float(np.finfo(precision).tiny)) * max(1, size)
    if outside(expected, precision):
        good = np.isinf(found) and (found > 0) == (expected > 0)
    else:
        good = np.isfinite(found) and abs(mp.mpf(float(found)) - expected) <= allowed + tiny
    if not good:
        programs.wrong += 1
        print(f"{what}: {'NaN' if found == WRONG else float(found)!r} where {mp.nstr(expected, 12) if abs(expected) > 1e-320 else 0} is expected")


def arguments(name, precision):
    wide = precision == np.float64
    sizes = SIZES + (LARGE + HUGE if wide else [])
    if name in WHOLE:
        sizes = sizes + (LARGEST if wide else LARGE)
    signs = [1] if name in PENALISERS else [1, -1]
    with np.errstate(over="ignore"):
        return np.array([s * x for s in signs for x in sizes]).astype(precision)


def main():
    programs = Programs()
    truths = {**WHOLE, **SQUARES, **PENALISERS}
    for name in library():
        if name not in truths and name not in UNTESTED:
            print(f"no truth for {name}: add it to {os.path.basename(__file__)}")
            programs.wrong += 1
    names = [name for name in truths if len(sys.argv) < 2 or sys.argv[1] in name]
    for precision, word in ((np.float32, "f32"), (np.float64, "f64")):
        eps = mp.mpf(float(np.finfo(precision).eps))
        points = {name: arguments(name, precision) for name in names}
        for name in names:
            programs.file(f"x_{name}.npy", points[name])
        text = program(names, truths)
        out = programs.run(text, "--precision", word, *MODES["jit"])
        other = programs.run(text, "--precision", word, *MODES["interpret"]) if word == "f64" else out
        for name in names:
            ways = [(load(out, name + ".npy"), ""), (load(other, name + ".npy"), ", interpreted")][:1 + (word == "f64")]
            for i, x in enumerate(points[name]):
                truth = Truth(name, truths[name], x, eps)
                for found, way in ways:
                    for row, what in enumerate(("value", "slope, forward", "slope", "by parameter, forward",
                                                "by parameter")[:len(truth.rows)]):
                        judge(programs, f"{name}({float(x):.9g}), {word}{way}, {what}", min(abs(float(x)), 1e17 if word == "f32" else 1e100),
                              found[row][i], *truth.rows[row], precision)
    programs.end()


main()
