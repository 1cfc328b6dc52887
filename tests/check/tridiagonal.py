#!/usr/bin/python3
"""tridiagonal_solve against SciPy's banded solver (LAPACK, with pivots), and dense solves for periodic lines: in 1D to 3D,
along every axis, odd sizes and sizes of one cell, channels, in both precisions and every mode."""
import sys

from _programs import MODES, Programs, load, np

try:
    from scipy.linalg import solve_banded
except ImportError:
    print("SciPy is not installed (Debian: python3-scipy)")
    sys.exit(77)

SHAPES = [(1,), (2,), (3,), (173,), (37, 29), (7, 130), (40, 1), (1, 33), (64, 64), (6, 11, 9), (3, 33, 20)]
FORMS = {"lines": "tridiagonal_solve(l, d, u, b, {axis})", "ring": "tridiagonal_solve(l, d, u, around, {axis})",
         "symmetric": "tridiagonal_solve(diagonal = d, upper = u, b = b, axis = {axis})"}


def solve(form, l, d, u, b):
    """One line."""
    n = len(b)
    if form == "symmetric":
        l = np.roll(u, 1)
    if form == "ring":
        matrix = np.diag(d)
        for i in range(n):
            matrix[i, (i - 1) % n] += l[i]
            matrix[i, (i + 1) % n] += u[i]
        return np.linalg.solve(matrix, b)
    bands = np.zeros((3, n))
    bands[0, 1:], bands[1], bands[2, :-1] = u[:-1], d, l[1:]
    return solve_banded((1, 1), bands, b)


def expected(form, axis, l, d, u, b):
    lines = [np.moveaxis(np.broadcast_to(a, b.shape), -1 - axis, -1) for a in (l, d, u, b)]
    out = np.empty(lines[3].shape)
    for at in np.ndindex(out.shape[:-1]):
        out[at] = solve(form, *(a[at] for a in lines))
    return np.moveaxis(out, -1, -1 - axis)


def main():
    programs = Programs()
    random = np.random.default_rng(5)
    for number, shape in enumerate(SHAPES):
        channels = 1 + number % 3
        arrays = {"l": random.uniform(-1, 1, shape), "d": random.uniform(2.3, 3, shape),
                  "u": random.uniform(-1, 1, shape), "b": random.normal(size=(channels,) + shape)}
        arrays = {name: array.astype(np.float32).astype(np.float64) for name, array in arrays.items()}
        if channels > 1: # a band of its own for every channel
            arrays["u"] = np.stack([arrays["u"]] * channels) * np.linspace(0.5, 1, channels).reshape((-1,) + (1,) * len(shape))
            arrays["u"] = arrays["u"].astype(np.float32).astype(np.float64)
        for name, array in arrays.items():
            programs.file(name + ".npy", array[0] if array.shape == (1,) + shape else array)
        names = [f"{form}{axis}" for form in FORMS for axis in range(len(shape))]
        for precision, tolerance in (("f32", 4e-6), ("f64", 1e-13)):
            text = f"precision {precision}\n\nexperiment systems {{\n"
            text += "".join(f'    let {name} = array("{name}.npy", rank = {len(shape)})\n' for name in arrays)
            text += "    let around = b\n    boundary around = periodic\n"
            for form, how in FORMS.items():
                for axis in range(len(shape)):
                    text += f'    save {how.format(axis="xyz"[axis])} to "{form}{axis}.npy"\n'
            text += "}\n"
            first = {}
            for mode, arguments in MODES.items():
                if mode == "interpret" and precision == "f32":
                    continue
                out = programs.run(text, *arguments)
                for name in names:
                    found = load(out, name + ".npy").reshape(arrays["b"].shape)
                    wanted = expected(name[:-1], int(name[-1]), arrays["l"], arrays["d"], arrays["u"], arrays["b"])
                    programs.compare(f"{name} of {shape}, {precision}, {mode}", found.astype(np.float64), wanted, tolerance)
                    if mode != "interpret":
                        kept = first.setdefault(name, found)
                        programs.compare(f"bits of {name} of {shape}, {precision}, {mode}", found, kept, 0)
    programs.end()


main()
