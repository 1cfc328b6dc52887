#!/usr/bin/python3
"""Standalone kernels of networks, called through ctypes: against the same network in NumPy, with weights that NumPy
wrote; in one, two and three dimensions, from several threads; what is said of wrong files and of what has no
derivative; header and manifest."""
import ctypes
import json
import os
import shutil
import subprocess
import sys
import threading

from _programs import PDN, Programs, np
from _safetensors import dump

PROGRAM = """
network net(depth, channels = 3)(f, amount: number) {
    param A        = conv(1 -> channels, size = 3)
    param K[depth] = conv(channels -> channels, size = 3, boundary = zero, bias = true)
    param step[depth] = 0.1
    param last     = 0.5
    u[0] = A(f)
    u[k+1] = u[k] + step[k] * relu(K[k](u[k]))
    return [u[depth], amount * last * channel(u[depth], 1)]
}

network noisy()(f) {
    param a = 0.5
    return f + a * normal(f)
}
network normed()(f) {
    param K = conv(1 -> 2, size = 3)
    let v = K(f)
    return v / norm(K)
}
network field()(f) {
    param D = ones(f)
    return D * f
}
operator plain(f) = 2 * f
operator finer(f) = prolong(f, order = 2)
network inner()(f) {
    param a = 0.5
    return a * f
}
network outer()(f) {
    let left = inner()
    let right = inner()
    return left(f) + right(f) * inner()(f)
}
"""
EXTENTS = {1: (57,), 2: (19, 23), 3: (7, 9, 11)}
random = np.random.default_rng(5)


def save(path, arrays, kind):
    """A safetensors file, by its specification."""
    header, data = {}, b""
    for name, array in arrays.items():
        raw = np.asarray(array, dtype=kind).tobytes()
        header[name] = {"dtype": {"f4": "F32", "f8": "F64"}[kind[1:]], "shape": list(np.shape(array)),
                        "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    with open(path, "wb") as file:
        file.write(dump(header, data))


def convolve(u, w, mode):
    """Cross-correlation of [in, …] with [out, in, 3, …], padded by symmetry or zeros."""
    padded = np.pad(u, [(0, 0)] + [(1, 1)] * (u.ndim - 1), mode=mode)
    out = np.zeros((w.shape[0],) + u.shape[1:])
    for tap in np.ndindex(*w.shape[2:]):
        part = padded[(slice(None),) + tuple(slice(t, t + n) for t, n in zip(tap, u.shape[1:]))]
        out += np.einsum("oi,i...->o...", w[(slice(None), slice(None)) + tap], part)
    return out


def network(f, amount, p):
    u = convolve(f[None], p["A"], "symmetric")
    for k in range(len(p["K"])):
        bias = p["K.bias"][k].reshape((-1,) + (1,) * f.ndim)
        u = u + p["step"][k] * np.maximum(0, convolve(u, p["K"][k], "constant") + bias)
    return [u, amount * p["last"] * u[1]]


def parameters(rank, depth=2):
    taps = (3,) * rank
    return {"A": random.normal(size=(3, 1) + taps), "K": random.normal(size=(depth, 3, 3) + taps) / 3,
            "K.bias": random.normal(size=(depth, 3)), "step": random.uniform(0.1, 0.5, size=depth),
            "last": random.normal(size=())}


class Kernel:
    """NAME of a shared library."""

    def __init__(self, folder, name, kind):
        self.kind = kind
        library = ctypes.CDLL(os.path.join(folder, f"lib{name}.so"))
        self.call, self.vjp = getattr(library, name), getattr(library, f"{name}_vjp", None)
        self.size_of = getattr(library, f"{name}_workspace")
        self.size_of.restype = ctypes.c_size_t

    def run(self, function, size, *lists):
        """Status. A list may hold None."""
        dimensions = (ctypes.c_int64 * len(size))(*size)
        room = ctypes.create_string_buffer(self.size_of(dimensions) + 64)
        at = (ctypes.addressof(room) + 63) // 64 * 64
        pointers = [(ctypes.c_void_p * len(arrays))(*(a is not None and a.ctypes.data or None for a in arrays))
                    for arrays in lists]
        return function(dimensions, *pointers, ctypes.c_void_p(at))


def build(programs, folder, *options):
    """Exit status, what was written to the standard error."""
    path = os.path.join(programs.folder, "program.pdn")
    done = subprocess.run([PDN, "build", path] + list(options) + ["-o", folder], capture_output=True, text=True,
                          check=False, cwd=programs.folder)
    return done.returncode, done.stderr


def values(programs, rank, kind, inside):
    """The values and derivatives of `net`, with weights inside or as inputs."""
    what = f"rank {rank}, {kind}, weights {'inside' if inside else 'as inputs'}"
    folder = os.path.join(programs.folder, what.replace(" ", ""))
    os.mkdir(folder)
    p = {name: np.asarray(a, dtype=kind) for name, a in parameters(rank).items()}
    file = os.path.join(folder, "net.safetensors")
    save(file, p, kind)
    options = ["--weights", file] if inside else []
    status, err = build(programs, folder, "net", "depth=2", "--gradient", "--emit", "shared,header", "--size",
                        "x".join("?" * rank), "--precision", "f32" if kind == "<f4" else "f64", *options)
    if status:
        programs.checked += 1
        programs.wrong += 1
        print(f"{what}: exit status {status}\n{err}")
        return
    kernel, size = Kernel(folder, "net", kind), EXTENTS[rank]
    f, amount = random.normal(size=size).astype(kind), np.array([0.7], dtype=kind)
    order = ["A", "K", "K.bias", "step", "last"]
    arrays = [f, amount] + ([] if inside else [np.ascontiguousarray(p[name]) for name in order])
    with open(os.path.join(folder, "net.json"), encoding="utf-8") as text:
        manifest = json.load(text)
    expected = [{"name": name, "shape": list(p[name].shape), "input": None if inside else i + 2}
                for i, name in enumerate(order)]
    programs.compare(f"{what}: the manifest's parameters", np.array(float(manifest["parameters"] == expected)),
                     np.array(1.0), 0)
    out = [np.zeros((3,) + size, kind), np.zeros(size, kind)]
    tolerance = 1e-5 if kind == "<f4" else 1e-13
    programs.compare(f"{what}: status", np.array(kernel.run(kernel.call, size, arrays, out)), np.array(0), 0)
    wide = {name: a.astype("f8") for name, a in p.items()}
    exact = network(f.astype("f8"), float(amount[0]), wide)
    for i in range(2):
        programs.compare(f"{what}: out[{i}]", out[i], exact[i], tolerance)
    threads(programs, what, kernel, size, arrays, out)
    if kind == "<f8":
        derivatives(programs, what, kernel, size, arrays, lambda a: network(
            a[0], float(a[1][0]), dict(zip(order, a[2:])) if not inside else wide))


def threads(programs, what, kernel, size, arrays, expected):
    """Four at once, each with its own workspace."""
    results = [[np.zeros_like(a) for a in expected] for _ in range(4)]

    def work(out):
        for _ in range(8):
            kernel.run(kernel.call, size, arrays, out)

    running = [threading.Thread(target=work, args=(out,)) for out in results]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    for out in results:
        for found, right in zip(out, expected):
            programs.compare(f"{what}: several threads", found, right, 0)


def derivatives(programs, what, kernel, size, arrays, value):
    """NAME_vjp against differences of the network in NumPy, along random directions."""
    out_bar = [random.normal(size=o.shape) for o in value(arrays)]
    in_bar = [np.full_like(a, np.nan) for a in arrays]
    status = kernel.run(kernel.vjp, size, arrays, out_bar, in_bar)
    programs.compare(f"{what}: status of the derivative", np.array(status), np.array(0), 0)
    for i, a in enumerate(arrays):
        v, h = random.normal(size=a.shape), 1e-7
        high, low = ([b if j != i else b + s * h * v for j, b in enumerate(arrays)] for s in (1, -1))
        rate = sum(np.sum(w * (x - y)) / (2 * h) for w, x, y in zip(out_bar, value(high), value(low)))
        scale = np.sqrt(np.sum(in_bar[i]**2) * np.sum(v**2)) + 1
        programs.compare(f"{what}: derivative by in[{i}]", np.array(np.sum(in_bar[i] * v) / scale),
                         np.array(rate / scale), 1e-6)


def messages(programs):
    good = parameters(2)
    file = os.path.join(programs.folder, "net.safetensors")

    def expect(what, words, *options, arrays=None, status=1, kind="<f4"):
        save(file, arrays or good, kind)
        found, err = build(programs, programs.folder, *options)
        programs.checked += 1
        if found != status or any(word not in err for word in words) or err.count("error:") > (status == 1):
            programs.wrong += 1
            print(f"{what}: exit status {found}, in place of {status} and {words}\n{err}")

    net = ["net", "depth=2", "--weights", file]
    expect("good weights", [], *net, status=0)
    expect("arrays that the kernel does not know", [], *net, arrays={**good, "other": np.zeros(3)}, status=0)
    expect("an array is missing", ["'K.bias'", "net.safetensors", "program.pdn:4:5"], *net,
           arrays={name: a for name, a in good.items() if name != "K.bias"})
    expect("another shape", ["'A'", "3 x 1 x 5 x 5", "3 x 1 x 3 x 3"], *net,
           arrays={**good, "A": np.zeros((3, 1, 5, 5))})
    expect("another depth", ["'step'", "is 4, not 2"], *net, arrays={**good, "step": np.zeros(4)})
    expect("another rank", ["'A'", "3 x 1 x 3 x 3, not 3 x 1 x 3"], "net", "depth=2", "--weights", file, "--size", "?",
           arrays={**parameters(1), "A": good["A"]})
    expect("no such file", ["nothing.safetensors"], "net", "depth=2", "--weights", "nothing.safetensors")
    expect("no safetensors", ["program.pdn"], "net", "depth=2", "--weights",
           os.path.join(programs.folder, "program.pdn"))
    expect("no parameters", ["plain holds no parameters"], "plain", "--weights", file)
    expect("noise", ["pass the noise as an input"], "noisy")
    expect("a field of unknown size: WEIGHT_SIZE", ["'D'", "--size 512x512"], "field", "--weights",
           file, arrays={"D": np.ones((4, 6))})
    expect("a field of known size", [], "field", "--weights", file, "--size", "4x6", arrays={"D": np.ones((4, 6))},
           status=0)
    expect("a norm of weights that are inputs", ["--weights"], "normed")
    expect("a norm of weights inside", [], "normed", "--weights", file, arrays={"K": np.ones((2, 1, 3, 3))}, status=0)
    expect("a derivative by what has a norm", ["--weights"], "normed", "--gradient")
    expect("noise in the derivative", ["pass the noise as an input"], "noisy", "--gradient")
    expect("two networks in one", [], "outer", "--weights", file, arrays={
        "inner.a": np.ones(()), "inner_1.a": np.ones(()), "inner_2.a": np.ones(())}, status=0)
    expect("too large for f32", ["'last'"], *net, arrays={**good, "last": np.array(1e39)}, kind="<f8")


def edges(programs):
    """Nothing before the first cell of a field is read."""
    status, err = build(programs, "edges", "finer", "--emit", "shared", "--precision", "f64")
    done = subprocess.run([sys.executable, "-B", os.path.join(os.path.dirname(os.path.abspath(__file__)), "_edge.py"),
                           os.path.join(programs.folder, "edges", "libfiner.so"), "finer", "30", "50", "4"],
                          capture_output=True, check=False)
    programs.checked += 1
    if status or done.returncode:
        programs.wrong += 1
        print(f"edges: exit status {status}, {done.returncode}: {err} {done.stderr}")


def main():
    programs = Programs()
    with open(os.path.join(programs.folder, "program.pdn"), "w", encoding="utf-8") as file:
        file.write(PROGRAM)
    if shutil.which("cc"):
        edges(programs)
        for rank in (1, 2, 3):
            for kind in ("<f4", "<f8"):
                for inside in (True, False):
                    values(programs, rank, kind, inside)
    else:
        programs.skip("values: no cc to link with")
    messages(programs)
    programs.end()


main()
