#!/usr/bin/python3
"""resize, prolong, restrict and the pools against NumPy: in 1D to 3D, sizes that halve and sizes that do not, every
boundary. What PyTorch has as well (interpolate with align_corners = False, max_pool, avg_pool) is compared with its
formulas, and with PyTorch itself where it is installed."""
import itertools

from _programs import MODES, Programs, load, np

try:
    import torch
except ImportError:
    torch = None


def along(axis, function, array):
    """A function of the last axis, applied along another one."""
    return np.moveaxis(function(np.moveaxis(array, axis, -1)), -1, axis)


def every_axis(function, array):
    for axis in range(1, array.ndim):
        array = along(axis, function, array)
    return array


# ---- PyTorch's conventions ---------------------------------------------------------------------


def linear(array, scale):
    n = array.shape[-1]
    count = int(n * scale)
    source = np.maximum((np.arange(count) + 0.5) / scale - 0.5, 0)
    low = np.floor(source).astype(int)
    high = np.minimum(low + 1, n - 1)
    return array[..., low] * (1 - (source - low)) + array[..., high] * (source - low)


def nearest(array, scale):
    count = -(-array.shape[-1] * scale // 1)
    return array[..., np.floor(np.arange(int(count)) / scale).astype(int)]


def area(array, scale):
    if scale >= 1:
        return nearest(array, scale)
    block = int(1 / scale)
    return array.reshape(array.shape[:-1] + (-1, block)).mean(-1)


METHODS = {"bilinear": linear, "nearest": nearest, "area": area}


def with_torch(array, scale, method):
    mode = method if method != "bilinear" else {2: "linear", 3: "bilinear", 4: "trilinear"}[array.ndim]
    corners = {} if method != "bilinear" else {"align_corners": False}
    return torch.nn.functional.interpolate(torch.from_numpy(array)[None], scale_factor=float(scale),
                                           mode=mode, **corners)[0].numpy()


# ---- halving -------------------------------------------------------------------------------------


def blocks(array, reduce):
    """reduce of pairs; a last cell of an odd number is alone."""
    even = array.shape[-1] // 2 * 2
    pairs = array[..., :even].reshape(array.shape[:-1] + (-1, 2))
    parts = [reduce(pairs, -1)]
    if even < array.shape[-1]:
        parts.append(array[..., even:])
    return np.concatenate(parts, -1)


def shares(n):
    """What coarse cell i of (n + 1) // 2 equal cells covers of the finer cell j, in finer cells."""
    m = (n + 1) // 2
    edges = np.arange(m + 1) * n / m
    low = np.maximum(edges[:-1, None], np.arange(n)[None])
    high = np.minimum(edges[1:, None], np.arange(n)[None] + 1)
    return np.maximum(high - low, 0)


def fitted(array):
    O = shares(array.shape[-1])
    return array @ (O / O.sum(1, keepdims=True)).T


def fitted_back(array, shape):
    for axis, count in enumerate(shape, 1):
        array = along(axis, lambda x, n=count: x @ shares(n), array)
    return array


def doubled(array, count):
    return np.repeat(array, 2, -1)[..., :count]


def ghosts(array, side, spacing):
    kind, value = side
    low, high = array[..., :1], array[..., -1:]
    if kind == "periodic":
        low, high = high, low
    elif kind == "zero":
        low, high = 0 * low, 0 * high
    elif kind == "dirichlet":
        low, high = 2 * value - low, 2 * value - high
    elif kind == "neumann":
        low, high = low + spacing * value, high + spacing * value
    return np.concatenate([low, array, high], -1)


def smooth(array, side, spacing):
    wide = ghosts(array, side, spacing)
    return (wide[..., :-2] + 2 * wide[..., 1:-1] + wide[..., 2:]) / 4


def interpolated(array, side, spacing):
    """Linear between the centres of coarse cells: an even number of finer ones."""
    wide = ghosts(array, side, spacing)
    out = np.empty(array.shape[:-1] + (2 * array.shape[-1],))
    out[..., ::2] = (wide[..., :-2] + 3 * wide[..., 1:-1]) / 4
    out[..., 1::2] = (wide[..., 2:] + 3 * wide[..., 1:-1]) / 4
    return out


SIDES = {"reflecting": 0, "periodic": 0, "zero": 0, "dirichlet(0)": 0, "dirichlet(0.75)": 0.75,
         "neumann(-0.5)": -0.5}


def shapes():
    yield from [(16,), (13,), (1,)]
    yield from [(8, 64), (7, 37)]
    yield from [(4, 8, 12), (3, 5, 21)]


def check_shape(programs, shape, mode, arguments):
    random = np.random.default_rng(20240301)
    u = random.uniform(-1, 1, (2,) + shape)
    programs.file("u.npy", u)
    rank = len(shape)
    box = ", ".join(f"[0, {n / 2}]" for n in reversed(shape)) # spacing 1/2
    cells = ", ".join(str(n) for n in reversed(shape))
    lines, truths = [], []

    def save(name, expression, truth):
        lines.append(f'    save {expression} to "{name}.npy"')
        truths.append((name, expression, truth))

    for scale, text in ((2, "2"), (4, "4"), (1 / 2, "1/2"), (1 / 4, "1/4")):
        whole = scale > 1 or all(n % round(1 / scale) == 0 for n in shape)
        for method, function in METHODS.items():
            if scale == 4 and rank == 3 or not whole and method != "nearest":
                continue
            truth = every_axis(lambda x, f=function, s=scale: f(x, s), u)
            save(f"{method}{len(truths)}", f"resize(u, {text}, {method})", truth)
            if torch and whole:
                programs.compare(f"NumPy's {method} by {scale} and PyTorch's", truth,
                                 with_torch(u, scale, method), 1e-13)
    largest = every_axis(lambda x: blocks(x, np.max), u)
    mean = every_axis(lambda x: blocks(x, np.mean), u)
    save("max", "max_pool(u)", largest)
    save("mean", "restrict(u)", mean)
    save("resized", "resize(u, 1/2, area)", mean)
    save("back", "prolong(restrict(u))", twice(mean, shape))
    held = every_axis(fitted, u)
    save("held", "restrict(u, fit = true)", held)
    save("given", "prolong(restrict(u, fit = true))", fitted_back(held, shape))
    for i, (side, value) in enumerate(SIDES.items()):
        s = (side.split("(")[0], value)
        lines.append(f"    let v{i} = u + 0\n    boundary v{i} = {side}")
        down = every_axis(lambda x, s=s: smooth(x, s, 0.5), u) # spacing 1/2
        save(f"down{i}", f"restrict(v{i}, order = 2)", every_axis(lambda x: blocks(x, np.mean), down))
        lines.append(f"    let c{i} = restrict(u)\n    boundary c{i} = {side}")
        if all(n % 2 == 0 for n in shape):
            up = every_axis(lambda x, s=s: interpolated(x, s, 1.0), mean)
        else: # on the finer grid, where the ghost of a slope lies half as far from the cell
            t = (s[0], 2 * value if s[0] == "neumann" else value)
            up = every_axis(lambda x, t=t: smooth(x, t, 0.5), twice(mean, shape))
        save(f"up{i}", f"prolong(c{i}, order = 2)", up)
        save(f"fits{i}", f"restrict(v{i}, order = 2, fit = true)", every_axis(fitted, down))
        lines.append(f"    let e{i} = restrict(u, fit = true)\n    boundary e{i} = {side}")
        wide = fitted_back(held, shape)
        for axis, n in enumerate(shape, 1): # a slope goes as far as a coarse cell is wide
            t = (s[0], value * n / ((n + 1) // 2) if s[0] == "neumann" else value)
            wide = along(axis, lambda x, t=t: smooth(x, t, 0.5), wide)
        save(f"rises{i}", f"prolong(e{i}, order = 2)", wide)
    out = programs.run("precision f64\n\nexperiment resample {\n"
                       f"    grid G = box({box}, cells = [{cells}])\n"
                       '    let u = array("u.npy", G)\n' + "\n".join(lines) + "\n}\n", *arguments)
    for name, expression, truth in truths:
        programs.compare(f"{expression}, {shape}, {mode}", load(out, f"{name}.npy"), truth, 1e-13)


def twice(array, shape):
    for axis, count in enumerate(shape, 1):
        array = along(axis, lambda x, n=count: doubled(x, n), array)
    return array


def main():
    programs = Programs()
    for shape, (mode, arguments) in itertools.product(shapes(), MODES.items()):
        if mode in ("jit", "interpret") or shape == (7, 37):
            check_shape(programs, shape, mode, arguments)
    programs.end()


main()
