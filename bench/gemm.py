#!/usr/bin/python3
"""What a matrix product would make of the convolutions of the benchmarks, against pdn's: see "Convolutions as products" in README.md.

    bench/gemm.py [--pdn PATH] [--pairs N]

A convolution of `in` to `out` channels with `taps` taps on `cells` cells is the product of a matrix of out × (in taps) and one of
(in taps) × cells, which im2col would have to make first; that is left out here. OpenBLAS multiplies (NumPy, one thread, kernels for
AVX-512), pdn convolves, padding and moves of the layout included (`pdn bench`, one thread). Alternately; medians.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

os.environ.setdefault("OPENBLAS_CORETYPE", "SKYLAKEX")
os.environ["OPENBLAS_NUM_THREADS"] = "1"
import numpy as np # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
# channels in, out, taps an axis, cells an axis
SHAPES = [(64, 64, 3, 40), (16, 16, 3, 128), (48, 16, 3, 128), (96, 32, 3, 64), (192, 64, 3, 32), (128, 128, 3, 16), (64, 64, 1, 64)]
PROGRAM = """network net()(u) {{
    param A = conv(1 -> {inner}, size = 1)
    param K = conv({inner} -> {outer}, size = {size}, boundary = zero)
    param B = conv({outer} -> 1, size = 1)
    return B(K(A(u)))
}}
experiment conv {{
    grid G = box([0, {cells}], [0, {cells}], cells = [{cells}, {cells}])
    let net = net()
    print "mean": mean(net(G.x * G.y))
}}
"""


def product(inner, outer, size, cells):
    """GFLOP/s of OpenBLAS."""
    generator = np.random.default_rng(1)
    w = generator.standard_normal((outer, inner * size * size)).astype(np.float32)
    x = generator.standard_normal((inner * size * size, cells * cells)).astype(np.float32)
    y = np.empty((outer, cells * cells), np.float32)
    times = []
    for _ in range(20):
        start = time.perf_counter()
        np.dot(w, x, out=y)
        times.append(time.perf_counter() - start)
    return 2e-9 * w.size * cells * cells / statistics.median(times)


def convolution(pdn, folder, inner, outer, size, cells):
    """GFLOP/s of pdn, and of the processor at best."""
    path = os.path.join(folder, "conv.pdn")
    with open(path, "w", encoding="utf-8") as file:
        file.write(PROGRAM.format(inner=inner, outer=outer, size=size, cells=cells))
    found = json.loads(subprocess.run([pdn, "bench", path, "--threads", "1", "--json"], check=True, capture_output=True, text=True).stdout)
    row = next(row for row in found["rows"] if row["work"] == "convolution" and row["channels"] == [inner, outer])
    return 1e-9 * row["flops"] / row["seconds"], 1e-9 * found["rates"]["flops"]


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--pdn", default=os.path.join(HERE, "..", "build", "release", "bin", "pdn"))
    options.add_argument("--pairs", type=int, default=7)
    options = options.parse_args()
    print("| convolution | OpenBLAS, without im2col | pdn, all of it | peak | pdn / OpenBLAS |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for shape in SHAPES:
            pairs = [(product(*shape), *convolution(options.pdn, folder, *shape)) for _ in range(options.pairs)]
            blas, own, peak = (statistics.median(column) for column in zip(*pairs))
            ratio = statistics.median(pair[1] / pair[0] for pair in pairs)
            inner, outer, size, cells = shape
            print(f"| {inner}→{outer} {size}×{size}, {cells}×{cells} | {blas:.0f} GFLOP/s | {own:.0f} | {peak:.0f} | **{ratio:.2f}** |")


if __name__ == "__main__":
    sys.exit(main())
