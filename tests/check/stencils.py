#!/usr/bin/python3
"""Every boundary × rank × axis × order × accuracy of the derivatives, and the adjoint of each, against
explicit matrices made by NumPy; weights come from Taylor's series, ghosts from the words of the language page."""
import itertools
import math
import re

from _programs import MODES, Programs, load, np

# name: (what the program says, kind at the low side, kind at the high side, values)
KINDS = {
    "reflecting": ("boundary u = reflecting", "even", "even", 0, 0),
    "periodic": ("boundary u = periodic", "periodic", "periodic", 0, 0),
    "zero": ("boundary u = zero", "ghost", "ghost", 0, 0),
    "dirichlet": ("boundary u = dirichlet(0.5)", "odd", "odd", 0.5, 0.5),
    "neumann": ("boundary u = neumann(0.25)", "slope", "slope", 0.25, 0.25),
    "mixed": ("boundary u at {axis}.low = dirichlet(0.75)\n    boundary u at {axis}.high = neumann(-0.5)",
              "odd", "slope", 0.75, -0.5),
}
SHAPES = {1: (13,), 2: (11, 13), 3: (9, 11, 10)} # slowest axis first
SPACING = {"x": 0.5, "y": 0.25, "z": 2.0}


def weights(order, accuracy):
    """Central weights on -r … r: sum w_i i^m = m! [m = order] for m = 0 … 2r."""
    r = (order + 1) // 2 - 1 + accuracy // 2
    offsets = np.arange(-r, r + 1, dtype=np.float64)
    system = np.vander(offsets, increasing=True).T
    right = np.zeros(2 * r + 1)
    right[order] = math.factorial(order)
    return np.linalg.solve(system, right)


def matrix(n, order, accuracy, h, low, high, v_low, v_high):
    """The derivative along a line of n cells as u -> M u + c."""
    w = weights(order, accuracy) / h ** order
    r = len(w) // 2
    m, c = np.zeros((n, n)), np.zeros(n)
    for i in range(n):
        for k in range(-r, r + 1):
            at, j, kind, value = i + k, 0, None, 0.0
            if at < 0:
                j, kind, value, mirror = -1 - at, low, v_low, -1 - at
            elif at >= n:
                j, kind, value, mirror = at - n, high, v_high, 2 * n - 1 - at
            if kind is None:
                m[i, at] += w[k + r]
            elif kind == "periodic":
                m[i, at % n] += w[k + r]
            elif kind == "even":
                m[i, mirror] += w[k + r]
            elif kind == "odd":
                m[i, mirror] -= w[k + r]
                c[i] += w[k + r] * 2 * value
            elif kind == "slope":
                m[i, mirror] += w[k + r]
                c[i] += w[k + r] * (2 * j + 1) * h * value
    return m, c


def along(m, u, axis):
    return np.moveaxis(np.tensordot(m, u, axes=(1, axis)), 0, axis)


def main():
    programs = Programs()
    random = np.random.default_rng(7)
    for rank, shape in SHAPES.items():
        u, v = random.normal(size=shape), random.normal(size=shape)
        programs.file("u.npy", u)
        programs.file("v.npy", v)
        axes = "xyz"[:rank]
        boxes = ", ".join(f"[0, {SPACING[a] * shape[rank - 1 - i]}]" for i, a in enumerate(axes))
        cells = ", ".join(str(shape[rank - 1 - i]) for i in range(rank))
        for accuracy in (2, 4, 6, 8):
            cases = [(axis, order, kind) for axis, order, kind in
                     itertools.product(axes, (1, 2, 3, 4), KINDS)
                     if len(weights(order, accuracy)) // 2 <= min(shape)]
            lines = ["precision f64", ""]
            for i, (axis, order, kind) in enumerate(cases):
                said = KINDS[kind][0].format(axis=axis)
                # with values it is affine; the part that has an adjoint is without them
                for name, side in (("D", said), ("H", re.sub(r"\([-0-9.]+\)", "(0)", said))):
                    lines += [f"operator {name}{i}(u) {{", "    " + side,
                              f"    return d(u, {axis}, order = {order}, accuracy = {accuracy})", "}"]
            lines += ["", "experiment derivatives {", f"    grid G = box({boxes}, cells = [{cells}])",
                      f'    let u = array("u.npy", G{", rank = 3" if rank == 3 else ""})',
                      f'    let v = array("v.npy", G{", rank = 3" if rank == 3 else ""})',
                      f"    save [{', '.join(f'D{i}(u)' for i in range(len(cases)))}] to \"d.npy\"",
                      f"    save [{', '.join(f'adjoint(H{i})(v)' for i in range(len(cases)))}] to \"a.npy\"",
                      "}"]
            for mode in ("jit", "interpret"):
                out = programs.run("\n".join(lines) + "\n", *MODES[mode])
                found, adjoints = load(out, "d.npy"), load(out, "a.npy")
                for i, (axis, order, kind) in enumerate(cases):
                    place = rank - 1 - axes.index(axis)
                    m, c = matrix(shape[place], order, accuracy, SPACING[axis], *KINDS[kind][1:])
                    title = f"rank {rank}, {axis}, order {order}, accuracy {accuracy}, {kind}, {mode}"
                    spread = c.reshape([-1 if a == place else 1 for a in range(rank)])
                    size = 1e-12 * max(1, np.abs(m).sum(axis=1).max())
                    programs.compare(title, found[i], along(m, u, place) + spread, size)
                    programs.compare("adjoint, " + title, adjoints[i], along(m.T, v, place), size)
    programs.end()


main()
