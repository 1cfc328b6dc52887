#!/usr/bin/python3
"""The networks of the library, from their files, against the same written with matrices in NumPy; files that are saved, loaded
and saved again; odd sizes, several dimensions."""
import itertools
import os

from _programs import Programs, np
from _safetensors import load

RNG = np.random.default_rng(71)


def ghost(i, n, side):
    """The cell whose value cell i has, or None: beyond a boundary of zeros."""
    if 0 <= i < n:
        return i
    if side == "periodic":
        return i % n
    if side == "zero":
        return None
    return min(i % (2 * n), 2 * n - 1 - i % (2 * n))


def matrix(weights, shape, side="reflecting", stride=1):
    """A convolution [out, in, …] of fields [in, *shape], without bias, as a matrix."""
    outs, ins = weights.shape[:2]
    size = weights.shape[2:]
    coarse = tuple((n + stride - 1) // stride for n in shape)
    cells, made = int(np.prod(shape)), int(np.prod(coarse))
    a = np.zeros((outs * made, ins * cells))
    for row, place in enumerate(itertools.product(*map(range, coarse))):
        for tap in itertools.product(*map(range, size)):
            at = [ghost(p * stride + t - (s - 1) // 2, n, side) for p, t, s, n in zip(place, tap, size, shape)]
            if None in at:
                continue
            column = int(np.ravel_multi_index(at, shape))
            for o in range(outs):
                for i in range(ins):
                    a[o * made + row, i * cells + column] += weights[(o, i) + tap]
    return a


def flux(s, contrast):
    return s / (1 + s**2 / contrast**2)


def symmetric_step(u, weights, contrast, shape, side):
    k = matrix(weights, shape, side)
    return u - 2 * k.T @ flux(k @ u, contrast)  # the Lipschitz constant of this flux is 1


def resnet(p, u, shape, side):
    for k, w, b in zip(p["K"], p["W"], p["b"]):
        inner = matrix(k, shape, side) @ u + np.repeat(b, int(np.prod(shape)))
        u = u + matrix(w, shape, side) @ np.maximum(inner, 0)
    return u


def symmetric_resnet(p, u, shape, side):
    for k, c in zip(p["K"], p["contrast"]):
        u = symmetric_step(u, k, c, shape, side)
    return u


def spline_resnet(p, u, shape, side):
    for k, values in zip(p["K"], p["values"]):
        k = matrix(k, shape, side)
        s = k @ u
        g = np.interp(np.minimum(abs(s), 1), np.linspace(0, 1, len(values)), values)
        u = u - 2 / values.max() * k.T @ (s * g)
    return u


def fsi_net(p, u, shape, side):
    for cycle in range(2):
        old = u
        for k in range(3):
            a = (4 * k + 2) / (2 * k + 3)
            i = 3 * cycle + k
            step = symmetric_step(u, p["K"][i], p["contrast"][i], shape, side)
            old, u = u, a * step + (1 - a) * old
    return u


def du_fort_frankel_net(p, u, shape, side):
    old = symmetric_step(u, p["K"][0], p["contrast"][0], shape, side)
    for k, c, r in zip(p["K"], p["contrast"], p["r"]):
        alpha_tau = r / 2  # for L = 1 and |K| = 1, alpha is 1/4
        w = 4 * alpha_tau / (1 + 2 * alpha_tau)
        old, u = u, w * symmetric_step(u, k, c, shape, side) + (1 - w) * old
    return u


def pooled(u, shape):
    u = u.reshape(-1, *shape)
    for axis in range(1, u.ndim):
        u = np.maximum.reduceat(u, range(0, u.shape[axis], 2), axis=axis)
    return u.reshape(-1)


def unet_level(p, path, levels, u, shape, side):
    def twice(name, u):
        for layer in "KL":
            bias = np.repeat(p[f"{path}{name}.{layer}.bias"], int(np.prod(shape)))
            u = np.maximum(matrix(p[f"{path}{name}.{layer}"], shape, side) @ u + bias, 0)
        return u
    down = twice("twice", u)
    if levels == 1:
        return down
    coarse = tuple((n + 1) // 2 for n in shape)
    below = unet_level(p, path + "unet_level.", levels - 1, pooled(down, shape), coarse, side)
    up = matrix(p[path + "U"], shape, side, stride=2).T @ below
    return twice("twice_1", np.concatenate([down, up]))


def unet(p, u, shape, side):
    u = unet_level(p, "unet_level.", 3, u, shape, side)
    return matrix(p["out"], shape, side) @ u + np.repeat(p["out.bias"], int(np.prod(shape)))


NETWORKS = {
    "resnet(depth = 3, channels = 3, size = 3)": resnet,
    "symmetric_resnet(depth = 3, channels = 3, size = 5)": symmetric_resnet,
    "spline_resnet(depth = 3, channels = 3, size = 3, knots = 7)": spline_resnet,
    "fsi_net(cycles = 2, length = 3, channels = 3, size = 3)": fsi_net,
    "du_fort_frankel_net(depth = 3, channels = 3, size = 3)": du_fort_frankel_net,
    "unet(levels = 3, channels = 2)": unet,
}

PROGRAM = """precision f64
use networks

experiment forward {{
    grid G = box({box})
    let f = array("f.npy", G)
    boundary f = {side}
    let net = {net}
    {before}
    save net(f) to "u.npy"
    save net to "net.safetensors"
}}
"""
TRAINED = "train net for 4 steps with adam(rate = 0.05) { minimise mean((net(f) - sin(2 * f))^2) }"


def bits(folder, name):
    with open(os.path.join(folder, name), "rb") as file:
        return file.read()


def check(programs, net, reference, shape, side):
    f = RNG.standard_normal(shape)
    programs.file("f.npy", f)
    box = ", ".join(f"[0, {n}]" for n in reversed(shape)) + f", cells = {list(reversed(shape))}"
    out = programs.run(PROGRAM.format(box=box, side=side, net=net, before=TRAINED))
    arrays, _ = load(os.path.join(out, "net.safetensors"))
    expected = reference(arrays, f.reshape(-1), shape, side).reshape(shape)
    found = np.load(os.path.join(out, "u.npy"))
    programs.compare(f"{net}, {side}, {shape}", found, expected, 1e-10)
    os.replace(os.path.join(out, "net.safetensors"), os.path.join(programs.folder, "kept.safetensors"))
    again = programs.run(PROGRAM.format(box=box, side=side, net=net, before='load net from "kept.safetensors"'))
    programs.checked += 1
    if bits(out, "u.npy") != bits(again, "u.npy") or \
            bits(programs.folder, "kept.safetensors") != bits(again, "net.safetensors"):
        programs.wrong += 1
        print(f"{net}: what was saved and loaded is not the same")


def main():
    programs = Programs()
    for net, reference in NETWORKS.items():
        check(programs, net, reference, (5, 7), "reflecting")
    for net in ("symmetric_resnet(depth = 3, channels = 3, size = 5)", "unet(levels = 3, channels = 2)"):
        check(programs, net, NETWORKS[net], (9,), "zero")
        check(programs, net, NETWORKS[net], (4, 4, 8) if "unet" in net else (3, 4, 5), "periodic")
    programs.end()


main()
