#!/usr/bin/python3
"""norm(K) of a convolution, runtime/conv_norm.c, against singular values from LAPACK: never below the norm on any grid,
for random, trained-like and adversarial filters, all boundaries, strides, dilations; and how far above. With the
argument `table`, prints the table of docs/norms.md."""
import itertools
import os
import subprocess
import sys

try:
    import numpy as np
except ImportError:
    print("NumPy is not installed (Debian: python3-numpy)")
    sys.exit(77)

SIDES = {"periodic": 0, "even": 1, "odd": 2, "zero": 4}
TOOL = os.path.join(os.environ.get("PDN_BUILD", "build/release"), "tests", "norms")


class Tool:
    def __init__(self):
        self.process = subprocess.Popen([TOOL, "gradient"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __call__(self, w, kinds, stride=1, dilation=1):
        """w: [out][in]…, kinds a pair for each axis, slowest axis first. The bound and its gradient."""
        rank = w.ndim - 2
        words = [rank, w.shape[1], w.shape[0], 1]
        for a in reversed(range(rank)):
            words += [w.shape[2 + a], stride, dilation, *(SIDES[k] for k in kinds[a])]
        words += [repr(float(x)) for x in w.ravel()]
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        self.process.stdin.flush()
        numbers = [float(x) for x in self.process.stdout.readline().split()]
        return numbers[0], np.array(numbers[1:]).reshape(w.shape)


def axis_matrices(n, size, kinds, stride, dilation):
    """For each tap, which cell each output reads."""
    low, m = dilation * (size - 1) // 2, -(-n // stride)
    result = np.zeros((size, m, n))
    for t, i in itertools.product(range(size), range(m)):
        at, sign = i * stride + t * dilation - low, 1.0
        if not 0 <= at < n:
            kind = kinds[at >= n]
            if kind == "zero":
                continue
            sign = -1.0 if kind == "odd" else 1.0
            at = at % n if kind == "periodic" else -1 - at if at < 0 else 2 * n - 1 - at
        result[t, i, at] += sign
    return result


def operator(w, extents, kinds, stride=1, dilation=1):
    axes = [axis_matrices(n, s, k, stride, dilation) for n, s, k in zip(extents, w.shape[2:], kinds)]
    total = 0
    for taps in itertools.product(*map(range, w.shape[2:])):
        m = axes[0][taps[0]]
        for a in range(1, len(axes)):
            m = np.kron(m, axes[a][taps[a]])
        total = total + np.kron(w[(slice(None), slice(None)) + taps], m)
    return total


def norm(t):
    return np.sqrt(max(0, np.linalg.eigvalsh(t @ t.T if t.shape[0] < t.shape[1] else t.T @ t)[-1]))


def extents(w, limit, dilation=1):
    """All grids that the convolution allows, up to a size."""
    least = []
    for size in w.shape[2:]:
        reach = dilation * (size - 1)
        least.append(max(1, reach - reach // 2))
    return itertools.product(*(range(a, max(limit, a + 2)) for a in least))


def largest(w, kinds, limit, stride=1, dilation=1):
    return max((norm(operator(w, n, kinds, stride, dilation)), n) for n in extents(w, limit, dilation))


def random_case(random, number):
    rank = 3 if number % 12 == 0 else int(random.integers(1, 3))
    size = [int(random.integers(1, (9, 5, 4)[rank - 1])) for _ in range(rank)]
    channels = (1, 1) if rank == 3 else tuple(int(c) for c in random.integers(1, 4, size=2))
    w = random.normal(size=(*channels, *size))
    if random.random() < 0.3:
        w *= random.random(size=w.shape) < 0.3
    kinds = [("periodic", "periodic") if random.random() < 0.25 else tuple(random.choice(["even", "odd", "zero"], 2))
             for _ in range(rank)]
    return w, kinds, int(random.random() < 0.4) + 1, int(random.random() < 0.2) + 1, (24, 10, 5)[rank - 1]


def shifts():
    for size, at in itertools.product((2, 3, 5), ("corner", "edge", "pair")):
        w = np.zeros((1, 1, size, size))
        w[0, 0, 0, 0 if at != "edge" else (size - 1) // 2] = 1
        if at == "pair":
            w[0, 0, -1, -1] = -1
        yield f"shift {size} {at}", w


def dct(size):
    k, x = np.meshgrid(np.arange(size), np.arange(size), indexing="ij")
    basis = np.cos(np.pi * k * (x + 0.5) / size) * np.where(k == 0, np.sqrt(1 / size), np.sqrt(2 / size))
    return np.einsum("ay,bx->abyx", basis, basis).reshape(size * size, 1, size, size)


def derivatives():
    sobel = np.outer([1, 2, 1], [-1, 0, 1]) / 8
    laplace = np.array([[0, 1, 0], [1, -4, 1], [0, 1, 0]]) / 8.0
    forward = np.zeros((2, 1, 3, 3))
    forward[0, 0, 1, 1:] = forward[1, 0, 1:, 1] = [-1, 1]
    yield "central differences", np.stack([sobel, sobel.T])[:, None]
    yield "laplacian", laplace[None, None]
    yield "forward differences", forward


def sharpen(tool, random, w, kinds, limit, steps):
    """Steps that raise truth / bound, by the gradients of both."""
    for _ in range(steps):
        truth, grid = largest(w, kinds, limit)
        bound, gradient = tool(w, kinds)
        t = operator(w, grid, kinds)
        u, _, v = np.linalg.svd(t)
        rank, cells = w.ndim - 2, int(np.prod(grid))
        axes = [axis_matrices(n, s, k, 1, 1) for n, s, k in zip(grid, w.shape[2:], kinds)]
        left, right = u[:, 0].reshape(w.shape[0], cells), v[0].reshape(w.shape[1], cells)
        up = np.zeros_like(w)
        for taps in itertools.product(*map(range, w.shape[2:])):
            m = axes[0][taps[0]]
            for a in range(1, rank):
                m = np.kron(m, axes[a][taps[a]])
            up[(slice(None), slice(None)) + taps] = left @ m @ right.T
        step = up / truth - gradient / bound
        w = w + 0.05 * np.linalg.norm(w) * step / (np.linalg.norm(step) + 1e-12)
    return w


FAMILIES = [("1 → 1, 3×3", (1, 1, 3, 3), 8), ("1 → 1, 5×5", (1, 1, 5, 5), 11), ("1 → 16, 5×5", (16, 1, 5, 5), 11),
            ("16 → 1, 5×5", (1, 16, 5, 5), 11), ("4 → 4, 3×3", (4, 4, 3, 3), 8), ("16 → 16, 3×3", (16, 16, 3, 3), 5),
            ("1 → 4, 7", (4, 1, 7), 30), ("3 → 3, 2×2", (3, 3, 2, 2), 8), ("1 → 2, 3×3×3", (2, 1, 3, 3, 3), 5)]
BOUNDARIES = {"periodic": ("periodic",) * 2, "zero": ("zero",) * 2, "even": ("even",) * 2, "odd": ("odd",) * 2,
              "even, odd": ("even", "odd")}


def table(tool, random):
    print("| filters | " + " | ".join(BOUNDARIES) + " |\n|---" * 1 + "|---" * len(BOUNDARIES) + "|")
    for name, shape, limit in FAMILIES:
        cells = []
        for sides in BOUNDARIES.values():
            kinds = [sides] * (len(shape) - 2)
            ratios = [tool(w, kinds)[0] / largest(w, kinds, limit)[0]
                      for w in random.normal(size=(3 if max(shape) > 4 else 6, *shape))]
            cells.append(f"{np.median(ratios):.2f} ({max(ratios):.2f})")
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


def main():
    tool, random = Tool(), np.random.default_rng(11)
    if sys.argv[1:] == ["table"]:
        table(tool, random)
        return 0
    passed, wrong, ratios = 0, [], []

    def check(title, w, kinds, limit, most=None, **more):
        nonlocal passed
        truth, bound = largest(w, kinds, limit, **more), tool(w, kinds, **more)[0]
        if bound < truth[0] * (1 - 1e-12):
            wrong.append(f"{title}, {kinds}, {more}: the bound {bound} is below the norm {truth[0]} on {truth[1]}")
        elif most and bound > most * truth[0]:
            wrong.append(f"{title}, {kinds}: the bound {bound} is more than {most} times {truth[0]}")
        else:
            passed += 1
        if truth[0] > 0:
            ratios.append(bound / truth[0])

    for number in range(70):
        w, kinds, stride, dilation, limit = random_case(random, number)
        check(f"random {w.shape}", w, kinds, limit, stride=stride, dilation=dilation)
    for sides in BOUNDARIES.values():
        for title, w in shifts():
            check(title, w, [sides] * 2, 9)
        for title, w in list(derivatives()) + [("dct 3", dct(3)), ("dct 5", dct(5))]:
            check(title, w, [sides] * 2, 14, most=1.25 if "forward" not in title else 1.5)
        w = random.normal(size=(16, 1, 5, 5))
        check("1 to 16", w, [sides] * 2, 12, most={"periodic": 1.05, "zero": 1.15}.get(sides[0], 1.45))
    for shape, sides in itertools.product(((1, 1, 3, 3), (2, 2, 2, 2), (3, 1, 5)), ("even", "odd")):
        kinds = [(sides,) * 2] * (len(shape) - 2)
        w = sharpen(tool, random, random.normal(size=shape), kinds, 7 if len(shape) == 4 else 14, 12)
        check(f"sharpened {shape}", w, kinds, 8 if len(shape) == 4 else 30)
    print("\n".join(wrong))
    print(f"bound / norm: median {np.median(ratios):.3f}, largest {max(ratios):.3f}")
    print(f"{passed} passed, {len(wrong)} failed, 0 skipped")
    return 1 if wrong else 0


sys.exit(main())
