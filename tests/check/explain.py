#!/usr/bin/python3
"""What pdn explain says, against other sources: how far a network sees, by moving one cell of its input; parameters and
flops, counted by hand; that drawings are XML and what Graphviz takes, and show skip connections and the U."""
import os
import re
import shutil
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree

import numpy as np

PDN = os.environ["PDN"]
SVG = "{http://www.w3.org/2000/svg}"
PROGRAM = """
precision f64
use diffusion
use equations
use schemes
use solvers
use networks

operator explicit_steps(u) = explicit(nonlinear_diffusion(charbonnier, 0.5), tau = 0.1, steps = 4)(u)
operator fsi_steps_of(u) = fsi(heat(), tau = 0.2, cycles = 2, length = 3)(u)
operator frankel(u) = du_fort_frankel(heat(), tau = 1, steps = 5)(u)
operator runge(u) = rk4(heat(), tau = 0.1, steps = 2)(u)
operator lopsided(u) = shift(u, 3, -1) + shift(u, 0, 2)
operator waves(u) = verlet(wave_acceleration(), tau = 0.5, steps = 6)(u, 0 * u)
operator down_and_up(u) = prolong(restrict(stencil([1, 2, 1])(u)))
operator cycle(f) {
    let A(v) = v - heat()(v)
    return v_cycle(levels = 2, smoother = jacobi(steps = 1), coarsest = jacobi(steps = 2), cycles = 1)(A, f, f)
}
operator solved(f) {
    let A(v) = v - heat()(v)
    return cg()(A, f, f)
}
operator lookback(u) = delayed(7)(u)
scheme delayed(n)(f) {
    u[-1]  = f
    u[0]   = f
    u[k+1] = shift(u[k-1], 1, 0) + 0 * u[k]
    return u[n]
}
scheme mine(n = 5)(start) {
    v[-1]  = start
    v[0]   = start
    v[i+1] = 1.5 * (v[i] + 0.2 * laplacian(v[i])) - 0.5 * v[i-1]
    return v[n]
}
"""
# name: by the difference of two runs, is what explain says at most so many cells larger?
SEES = {"explicit_steps": 0, "fsi_steps_of": 0, "frankel": 0, "runge": 0, "lopsided": 0, "waves": 0,
        "down_and_up": 1, "cycle": 12, "lookback": 0, "mine": 0}
SIZE = 65
wrong = []


def expect(what, condition):
    if not condition:
        wrong.append(what)
        print(f"FAILED: {what}")


def pdn(folder, *words):
    result = subprocess.run([PDN, *words], cwd=folder, capture_output=True, text=True, check=False)
    if result.returncode:
        print(f"FAILED: pdn {' '.join(words)}\n{result.stderr}")
        sys.exit(1)
    return result.stdout


def totals(text):
    """The last row: parameters, flops and memory a cell, and what it sees."""
    row = [line for line in text.split("\n") if line.startswith("  all")][0].split()
    return row[1:]


def seen(folder, name):
    """How many cells, y and x, of the input change one cell in the middle of the output: by the transpose of that, the
    cells of the output that a change of one cell of the input reaches."""
    middle, applied = SIZE // 2, name + "()" * (name == "mine")
    reached = np.zeros((SIZE, SIZE), bool)
    reached[middle, middle] = True  # explain counts from the cell itself
    # both parities: a cell of a coarser grid holds two
    for dy, dx in ((0, 0), (0, 1), (1, 0), (1, 1)):
        program = (f"use \"p.pdn\"\nprecision f64\nexperiment e {{\n"
                   f"    let u = array(\"u.npy\")\n    let v = array(\"v.npy\")\n"
                   f"    save abs({applied}(u) - {applied}(v)) to \"d.npy\"\n}}\n")
        rng = np.random.default_rng(7)
        u = rng.random((SIZE, SIZE))
        v = u.copy()
        v[middle + dy, middle + dx] += 0.5
        np.save(os.path.join(folder, "u.npy"), u)
        np.save(os.path.join(folder, "v.npy"), v)
        with open(os.path.join(folder, "e.pdn"), "w", encoding="utf-8") as file:
            file.write(program)
        pdn(folder, "run", "e.pdn", "--quiet")
        d = np.load(os.path.join(folder, "d.npy")).reshape(SIZE, SIZE) > 0
        reached |= np.roll(d, (-dy, -dx), (0, 1))
    rows, columns = np.where(reached.any(1))[0], np.where(reached.any(0))[0]
    return rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1


def check_reach(folder):
    for name, room in SEES.items():
        # of this size: coarse grids of odd numbers of cells, which fit, see more than those of open sizes
        said = totals(pdn(folder, "explain", "p.pdn", name, "--size", f"{SIZE}x{SIZE}"))[-1]
        said = [int(n) for n in said.split("×")]
        found = seen(folder, name)
        for axis in range(2):
            expect(f"{name} sees {found} cells, explain says {said}",
                   found[axis] <= said[axis] <= found[axis] + room)
    expect("cg sees all cells", pdn(folder, "explain", "p.pdn", "solved").count("all cells") > 3)


def check_counts(folder):
    # 7 steps of two convolutions 5x5 with 8 channels: 2 flops a weight and cell
    row = totals(pdn(folder, "explain", "p.pdn", "symmetric_resnet", "depth=7", "channels=8"))
    expect(f"parameters of symmetric_resnet: {row}", int(row[0]) == 7 * (5 * 5 * 8 + 1))
    text = pdn(folder, "explain", "p.pdn", "resnet", "depth=7", "channels=8", "size=3")
    expect("parameters of resnet", int(totals(text)[0]) == 7 * (2 * 9 * 8 + 8))
    expect("flops of a convolution", re.search(r"convolution 3×3, 1 → 8 .* 144 +64 B", text) is not None)
    net = pdn(folder, "explain", "p.pdn", "unet", "levels=2", "channels=2")
    convolutions = [(1, 2, 9, 1), (2, 2, 9, 1), (2, 4, 9, 1), (4, 4, 9, 1), (4, 2, 9, 1), (2, 2, 9, 1), (2, 1, 1, 1)]
    weights = sum(a * b * n + b for a, b, n, _ in convolutions) + 2 * 4 * 4
    expect(f"parameters of unet: {totals(net)[0]}, not {weights}", int(totals(net)[0]) == weights)
    fixed = totals(pdn(folder, "explain", "p.pdn", "mine", "--size", "30x20"))
    free = totals(pdn(folder, "explain", "p.pdn", "mine"))
    scale = {"k": 1e3, "M": 1e6}
    number = float(fixed[1]) * scale.get(fixed[2], 1)
    expect(f"flops of all cells: {fixed}, {free}", abs(number - 600 * float(free[1])) < 0.01 * number)


def check_drawings(folder):
    dot = shutil.which("dot")
    if not dot:
        print("skipped: there is no program dot, which reads the drawings of --dot")
    for name in [*SEES, "solved", "symmetric_resnet", "unet", "fsi_net"]:
        more = {"symmetric_resnet": ["depth=3"], "unet": ["levels=3"], "fsi_net": ["cycles=2", "length=2"]}.get(name, [])
        root = ElementTree.fromstring(pdn(folder, "explain", "p.pdn", name, *more, "--svg"))
        boxes = root.findall(f"{SVG}g/{SVG}rect")
        expect(f"{name}: layers are drawn", root.tag == f"{SVG}svg" and len(boxes) > 1)
        red = [p for p in root.findall(f"{SVG}path") if p.get("stroke") == "#c0392b" and p.get("marker-end")]
        green = [p for p in root.findall(f"{SVG}path") if p.get("stroke") == "#2e8b57" and p.get("marker-end")]
        expect(f"{name}: skip connections over steps {len(red)}",
               (len(red) > 0) == (name in ("fsi_steps_of", "frankel", "waves", "lookback", "mine", "fsi_net")))
        expect(f"{name}: skip connections past grids {len(green)}",
               len(green) == {"cycle": 1, "unet": 2}.get(name, 0))
        rows = {box.get("y") for box in boxes}
        expect(f"{name}: rows {rows}", len(rows) == {"cycle": 2, "unet": 3, "down_and_up": 2}.get(name, 1))
        text = pdn(folder, "explain", "p.pdn", name, *more, "--dot")
        expect(f"{name}: {text[:40]}", text.startswith("digraph") and text.count("{") == text.count("}"))
        if dot:
            result = subprocess.run([dot, "-Tsvg"], input=text, capture_output=True, text=True, check=False)
            expect(f"{name}: dot says {result.stderr}", result.returncode == 0 and not result.stderr)


with tempfile.TemporaryDirectory(prefix="pdn-check-") as scratch:
    with open(os.path.join(scratch, "p.pdn"), "w", encoding="utf-8") as program:
        program.write(PROGRAM)
    check_reach(scratch)
    check_counts(scratch)
    check_drawings(scratch)
print(f"{len(wrong)} wrong")
sys.exit(1 if wrong else 0)
