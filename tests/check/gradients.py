#!/usr/bin/python3
"""Gradients of training: of every activation, flux, loss, layer and network of the library, every scheme with
trainable coefficients, every form of convolution. Where a step of sgd leads tells the gradient; it is compared with losses along a line
(Taylor remainders of slopes 1 and 2, in f64, interpreted), with compiled code in f32, and derivatives of fields forward
with reverse."""
import json
import os
import subprocess
import sys
import zlib

from _programs import MODES, PDN, Programs, np
from _safetensors import dump, load

SEED = 20230
RATE = 2.0**-4
STEP = 2.0**-10
GROUP = 8

HEAD = """use activations
use diffusion
use layers
use losses
use metrics
use networks
use schemes

operator loss(y) = mean(y^2) / 2 + mean(sin(3 * y)) / 3
"""

# name, the body of a network applied to a field f of one channel; `param` statements first
ACTIVATIONS = {
    name: f"param a = 0.9\nparam b = 0.1\nreturn {call}"
    for name, call in {
        "relu": "relu(a * f + b)", "sigmoid": "sigmoid(a * f + b)", "softplus": "softplus(a * f + b)",
        "gelu": "gelu(a * f + b)", "silu": "silu(a * f + b)", "tanh": "tanh(a * f + b)",
        "leaky_relu": "leaky_relu(f, slope = a) + b", "elu": "elu(f, a) * b", "selu": "selu(a * f + b)",
        "mish": "mish(a * f + b)", "hard_sigmoid": "hard_sigmoid(a * f + b)", "hard_swish": "hard_swish(a * f + b)",
        "hard_tanh": "hard_tanh(a * f + b)", "softsign": "softsign(a * f + b)",
        "soft_shrink": "soft_shrink(a * f, width = b)", "hard_shrink": "a * hard_shrink(f, width = b)",
        "clamp": "clamp(a * f, -b, b)", "abs": "abs(a * f + b)", "where": "where(f < 0, a * f, b / f)",
        "elementary": "exp(a * f) + log(2 + a * f) + sqrt(1 + b + f^2) + (2 + f)^a",
        "trigonometric": "sin(a * f) + cos(b * f) + atan(a * f) + atan2(a + f, b) + erf(a * f)",
        "hyperbolic": "sinh(a * f) + cosh(b * f) + asin(a * f / 9) + acos(b * f / 9)",
    }.items()
}

# arguments of a hundred and more, where exponentials overflow (every single value is looked at by activations.py)
SATURATED = {
    f"{name}, saturated": f"param a = 0.9\nparam b = 0.1\nlet x = 300 * a * f\nreturn {call}"
    for name, call in {
        "sigmoid": "sigmoid(x + b)", "softplus": "softplus(x + b) / 300", "silu": "silu(x + b) / 300", "gelu": "gelu(x + b) / 300",
        "tanh": "tanh(x + b)", "elu": "elu(x) * b / 300", "selu": "selu(x + b) / 300", "mish": "mish(x + b) / 300",
        "binary_cross_entropy_logit": "binary_cross_entropy_logit(x, b) / 300", "log_cosh": "log_cosh(x + b) / 300",
        "exponential_perona_malik_flux": "exponential_perona_malik_flux(x, 300 * b) / 30",
        "weickert_flux": "weickert_flux(x, 300 * b) / 300", "weickert_flux, small": "weickert_flux(x / 1e6, b)",
    }.items()
}

FLUXES = {
    name: f"param lambda = 0.7\nreturn {name}_flux(f, lambda)"
    for name in ("charbonnier", "perona_malik", "exponential_perona_malik", "weickert", "total_variation",
                 "geman_mcclure")
}

LOSSES = {
    name: f"param a = 0.8\nparam b = 0.6\nreturn {call}"
    for name, call in {
        "huber": "huber(a * f, b)", "pseudo_huber": "pseudo_huber(a * f, b)", "log_cosh": "log_cosh(a * f + b)",
        "lorentzian": "lorentzian(a * f, b)", "welsch": "welsch(a * f, b)", "squared": "squared(a * f + b)",
        "absolute": "absolute(a * f + b)",
        "binary_cross_entropy": "binary_cross_entropy(sigmoid(a * f), b)",
        "binary_cross_entropy_logit": "binary_cross_entropy_logit(a * f, b)", "hinge": "hinge(a * f, b)",
        "metrics": "mse(a * f, b * f) + rmse(a * f, b + f) + mae(a * f, b + f) + f * relative_error(a * f, b + f)",
        "ratios": "f * (psnr(a * f, f) + snr(b * f, f)) / 10", "energies": "f * (energy(a * f) + variation(b * f)) / 9",
        "similarity": "f * ssim(a * f, b + f)", "largest": "f * max_error(a * f, b)",
        "reductions": "f * sum(a * f) / 9 + min(a * f) + max(b * f) + norm(a * f + b)",
    }.items()
}

# of a field of four channels, in and out of convolutions so that every channel has its own share
LAYERS = {
    name: f"param K = conv(1 -> 4, size = 3)\nparam s = normal(4, 1)\nparam b = normal(4, 1)\nlet u = K(f)\nreturn {call}"
    for name, call in {
        "avg_pool": "s * avg_pool(u) + b", "max_pool": "max_pool(s * u + b)", "restrict": "restrict(s * u) + b",
        "prolong": "prolong(restrict(s * u)) + b", "smooth resampling": "prolong(restrict(s * u, order = 2), order = 2) + b",
        "resize": "resize(s * u, 2, bilinear) + resize(b * u, 2, nearest)", "channels": "norm2(s * u) + dot(u, b * u)",
        "channel": "concat(channel(s * u, 1..3), channel(u, 0)) + channel_sum(u)[0]",
        "layer_norm": "layer_norm(u, s, b)", "instance_norm": "instance_norm(u, s, b)",
        "group_norm": "group_norm(u, 2, s, b)", # batch_norm is another function while training: batch_norm.py
        "batch_mean": "s * normalised(u, batch_mean(channel_mean(u)), batch_mean(channel_mean(u^2)), 0.1) + b",
        "dropout": "dropout(s * u, 0.5) + channel_dropout(b * u, 0.5)",
        "rows": "channel_mean(s * u) * u + b * channel_sum(u) / 30",
    }.items()
}
SPLINES = {
    "linear_spline": "param v = normal(6, 1)\nparam a = 0.9\nreturn linear_spline(a * f, v, -1, 1)",
    "spline_lipschitz": "param v = normal(6, 1)\nreturn f / spline_lipschitz(v, -1, 1)",
    "radial_basis": "param v = normal(6, 1)\nparam a = 0.9\nreturn radial_basis(a * f, v, -1, 1)",
    "radial_lipschitz": "param v = normal(6, 1)\nreturn f / radial_lipschitz(v, -1, 1)",
}

CONVOLUTIONS = {
    "boundaries": """param K = conv(1 -> 2, size = 3)
param L = conv(2 -> 2, size = 3, boundary = zero)
param M = conv(2 -> 1, size = [3, 5], boundary = periodic)
return M(L(K(f)))""",
    "stride, dilation, groups, bias": """param K = conv(1 -> 4, size = 3, stride = 2, bias = 1)
param L = conv(4 -> 2, size = 3, dilation = 2, groups = 2)
return L(K(f))""",
    "adjoints": """param K = conv(1 -> 3, size = 3)
param U = conv(2 -> 3, size = 2, stride = 2)
return adjoint(K)(sin(K(f))) + norm2(adjoint(U)(U(concat(f, f^2))))""",
    "indexed": """param K[3] = conv(1 -> 2, size = 3)
param b[3] = normal(2, 1)
param c[3] = 0.5
u[0] = f
u[k+1] = u[k] - c[k] * adjoint(K[k])(sin(K[k](u[k]) + b[k]))
return u[3]""",
    "norm": "param K = conv(1 -> 2, size = 3)\nlet u = K(f)\nreturn u / norm(K)",
    "dense": "param W = conv(2 -> 3, size = 1, bias = 1)\nreturn W(concat(f, f^2))",
}

DIFFUSION = "let F(u) = kappa * div(perona_malik(norm2(grad(u)), lambda) * grad(u))"
SCHEMES = {
    name: f"param kappa = 0.8\nparam lambda = 0.6\nparam tau = 0.1\n{DIFFUSION}\nreturn {call}"
    for name, call in {
        "explicit": "explicit(F, tau, steps = 4)(f)", "heun": "heun(F, tau, steps = 3)(f)",
        "midpoint": "midpoint(F, tau, steps = 3)(f)", "ssp_rk3": "ssp_rk3(F, tau, steps = 3)(f)",
        "rk4": "rk4(F, tau, steps = 2)(f)", "fed": "fed(F, tau, cycles = 2, length = 3)(f)",
        "fsi": "fsi(F, tau, cycles = 2, length = 3)(f)",
        "du_fort_frankel": "du_fort_frankel(F, 0.1, steps = 4, alpha = 4)(f)",
        "du_fort_frankel, longer steps": "du_fort_frankel(F, 0.3, steps = 4, alpha = 4)(f)",
        "leapfrog": "leapfrog(F, tau, steps = 4)(f)", "verlet": "verlet(F, tau, steps = 4)(f, lambda * f)",
    }.items()
}
SCHEMES["coefficients that are fields"] = """param kappa = normal(4, 1)
let g = 1 + 0.1 * (kappa[0] * f + kappa[1] * f^2)
let F(u) = div(concat(g, g) * grad(u))
return explicit(F, 0.1, steps = 3)(f)"""
SCHEMES["boundary"] = """param c = 0.3
param s = 0.2
let u = f
boundary u at x.low = dirichlet(c)
boundary u at y.high = neumann(s)
return f + 0.1 * laplacian(u)"""

NETWORKS = {
    "resnet": "resnet(depth = 2, channels = 2, size = 3, activation = mish)",
    "symmetric_resnet": "symmetric_resnet(depth = 2, channels = 2, size = 3, lambda = 0.6)",
    "spline_resnet": "spline_resnet(depth = 2, channels = 2, size = 3, knots = 5)",
    "fsi_net": "fsi_net(cycles = 2, length = 2, channels = 2, size = 3, lambda = 0.6)",
    "du_fort_frankel_net": "du_fort_frankel_net(depth = 2, channels = 2, size = 3, lambda = 0.6)",
    "unet": "unet(levels = 2, channels = 2, size = 3, activation = mish)",
}


class Case:
    def __init__(self, number, name, body):
        self.number, self.name = number, name
        self.made = body if name in NETWORKS else f"case{number}()"
        self.text = "" if name in NETWORKS else (
            f"network case{number}()(f) {{\n" + "".join(f"    {line}\n" for line in body.splitlines()) + "}\n")

    def instance(self):
        return f"    let n{self.number} = {self.made}\n    let y{self.number} = n{self.number}(f)\n"

    def file(self, what):
        return f"{what}{self.number}.safetensors"


def program(cases, statements):
    return (HEAD + "".join("\n" + c.text for c in cases) +
            "\nexperiment gradients {\n    let f = array(\"f.npy\")\n    let v = array(\"v.npy\")\n" +
            "".join(c.instance() + statements(c) for c in cases) + "}\n")


def checks(case):
    n = case.number
    return f"""    load n{n} from "{case.file('p')}"
    let z{n} = n{n}(f)
    let w{n} = sin(2 * z{n})
    print "at {n}": loss(z{n})
    print "forward {n}": sum(w{n} * jvp(n{n}, f)(v))
    print "reverse {n}": sum(vjp(n{n}, f)(w{n}) * v)
    load n{n} from "{case.file('far')}"
    print "far {n}": loss(n{n}(f))
    load n{n} from "{case.file('near')}"
    print "near {n}": loss(n{n}(f))
    load n{n} from "{case.file('p')}"
    train n{n} for 1 steps with sgd(rate = {RATE}) {{ minimise loss(n{n}(f)) }}
    save n{n} to "{case.file('after')}"
"""


def write(path, arrays):
    header, data = {}, b""
    for name, array in arrays.items():
        bits = np.ascontiguousarray(array, "<f8").tobytes()
        header[name] = {"dtype": "F64", "shape": list(array.shape), "data_offsets": [len(data), len(data) + len(bits)]}
        data += bits
    with open(path, "wb") as file:
        file.write(dump(header, data))


def run(programs, text, *arguments):
    """The printed numbers by label, and the output folder."""
    path = os.path.join(programs.folder, "program.pdn")
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    out = os.path.join(programs.folder, "out" + "".join(arguments).replace("-", ""))
    command = [PDN, "run", path, "--json", "--out", out, "--no-cache", "--quiet"] + list(arguments)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"{' '.join(arguments)}: exit status {done.returncode}\n{done.stderr}\n{text}")
        sys.exit(1)
    return {r["label"]: r["values"][0] for r in map(json.loads, done.stdout.splitlines())}, out


def place(programs, case, start):
    """Parameters that are not special, none near the end of what its constraints allow, and two points on a line from them."""
    random = np.random.default_rng([SEED, zlib.crc32(case.name.encode())])  # whatever other cases there are
    inside = case.name in NETWORKS and case.name not in ("resnet", "unet")
    point = {}
    for name, a in start.items():
        noise = random.standard_normal(a.shape)
        weights = name.rsplit(".", 1)[-1] == "K"
        point[name] = a * 0.5 + 0.02 * noise if inside and weights else a * (0.9 if inside else 1) + 0.03 * noise
        if inside and name.endswith("values"):
            point[name] = 0.8 + 0.1 * np.tanh(noise)
    line = {name: random.standard_normal(a.shape) for name, a in point.items()}
    write(os.path.join(programs.folder, case.file("p")), point)
    for what, h in (("far", STEP), ("near", STEP / 2)):
        write(os.path.join(programs.folder, case.file(what)), {n: a + h * line[n] for n, a in point.items()})
    return point, line


def gradient(case, out, point):
    after, _ = load(os.path.join(out, case.file("after")))
    return {name: (a - after[name].astype(float)) / RATE for name, a in point.items()}


def slopes(programs, case, values, found, line):
    """The loss, minus its value, minus its linear part too: halving the step halves the first, quarters the second."""
    n = case.number
    if case.name == "dropout":  # in the training alone, by numbers of its own
        return
    slope = sum(float((found[name] * line[name]).sum()) for name in line)
    first = [values[f"{w} {n}"] - values[f"at {n}"] for w in ("far", "near")]
    second = [first[0] - STEP * slope, first[1] - STEP / 2 * slope]
    programs.checked += 1
    good = abs(first[1]) < 20 * abs(second[1]) or 1.9 < first[0] / first[1] < 2.1
    exact = abs(second[0]) < 1e-12 * max(1, abs(values[f"at {n}"]))
    if not good or not (exact or 3 < second[0] / second[1] < 5):
        programs.wrong += 1
        print(f"{case.name}: the loss changes by {first}, of that beyond the gradient {second}")


def compare(programs, case, truth, other, what, tolerance):
    programs.checked += 1
    scale = max(np.abs(a).max() for a in truth.values()) + 1e-3
    error = max(np.abs(truth[name] - other[name]).max() for name in truth)
    if not error <= tolerance * scale + 3e-6:
        programs.wrong += 1
        print(f"{case.name}: gradients of {what} differ by {error:.3g}, of {scale:.3g}")


def check(programs, cases):
    _, out = run(programs, program(cases, lambda c: f"    save n{c.number} to \"{c.file('start')}\"\n"),
                 "--precision", "f64", "--interpret")
    placed = {c.number: place(programs, c, load(os.path.join(out, c.file("start")))[0]) for c in cases}
    text = program(cases, checks)
    exact, interpreted = run(programs, text, "--precision", "f64", "--interpret")
    _, compiled = run(programs, text, "--precision", "f32", *MODES["threads"])
    for c in cases:
        point, line = placed[c.number]
        found = gradient(c, interpreted, point)
        slopes(programs, c, exact, found, line)
        # the difference that tells the gradient loses what a number of size 1 loses
        compare(programs, c, found, gradient(c, compiled, point), "f32, compiled", 2e-4)
        forward, reverse = exact[f"forward {c.number}"], exact[f"reverse {c.number}"]
        programs.checked += 1
        if not abs(forward - reverse) <= 1e-11 * max(1, abs(forward)):
            programs.wrong += 1
            print(f"{c.name}: forward {forward!r}, reverse {reverse!r}")


def main():
    programs = Programs()
    random = np.random.default_rng(SEED)
    programs.file("f.npy", 0.2 + 0.6 * random.standard_normal((7, 6)))
    programs.file("v.npy", random.standard_normal((7, 6)))
    wanted = sys.argv[1] if len(sys.argv) > 1 else ""
    cases = [Case(i, name, body) for i, (name, body) in enumerate(
        (n, b) for group in (ACTIVATIONS, SATURATED, FLUXES, LOSSES, LAYERS, SPLINES, CONVOLUTIONS, SCHEMES, NETWORKS)
        for n, b in group.items())]
    cases = [c for c in cases if wanted in c.name]
    for i in range(0, len(cases), GROUP):
        check(programs, cases[i:i + GROUP])
    programs.end()


main()
