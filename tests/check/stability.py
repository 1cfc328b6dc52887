#!/usr/bin/python3
"""Proved norms and stable steps against singular values of explicit matrices: never on the wrong side, and close."""
import json
import os
import subprocess
import sys
import tempfile

from _programs import PDN, np

KINDS = {"reflecting": "reflecting", "periodic": "periodic", "zero": "zero", "dirichlet": "dirichlet(0)"}


def forward(n, h, kind):
    """Differences across the faces that `grad` stores: all but the lowest."""
    faces = np.eye(n, k=1) - np.eye(n)
    if kind == "reflecting":
        faces[-1, -1] = 0
    if kind == "periodic":
        faces[-1, 0] += 1
    if kind == "dirichlet":
        faces[-1, -1] -= 1
    return faces / h


def second(n, h, kind):
    """The Laplacian of a line."""
    a = -2 * np.eye(n) + np.eye(n, k=1) + np.eye(n, k=-1)
    if kind == "periodic":
        a[0, -1] += 1
        a[-1, 0] += 1
    edge = {"reflecting": 1, "dirichlet": -1}.get(kind, 0)
    a[0, 0] += edge
    a[-1, -1] += edge
    return a / h**2


def plane(n, m, h, kind):
    return np.kron(np.eye(m), second(n, h, kind)) + np.kron(second(m, h, kind), np.eye(n))


PROGRAM = """precision f64
use diffusion

operator lap(u) {{
    boundary u = {side}
    return laplacian(u)
}}
operator slope(u) {{
    boundary u = {side}
    return dx(u)
}}
operator mixed(u) {{
    boundary u = {side}
    return grad(u) + 0.5 * laplacian(u)
}}
operator fourth(u) = -lap(lap(u))

experiment bounds {{
    grid L = box([0, 6], cells = [12])
    grid P = box([0, 5], [0, 4], cells = [10, 8])
    print "norm lap": norm(lap, L)
    print "norm slope": norm(slope, L)
    print "norm mixed": norm(mixed, L)
    print "norm plane": norm(lap, P)
    print "step lap": stable(lap, L.x)
    print "step plane": stable(lap, P.x)
    print "step fourth": stable(fourth, L.x)
    print "step perona_malik": stable(generalised_diffusion(perona_malik, 0.3, mixed), L.x)
    print "step total_variation": stable(generalised_diffusion(total_variation, 0.25, lap), P.x)
}}
"""


def expected(kind):
    h = 0.5
    line, box = second(12, h, kind), plane(10, 8, h, kind)
    weights = np.eye(12, k=1) - np.eye(12, k=-1)
    if kind == "periodic":
        weights[0, -1] -= 1
        weights[-1, 0] += 1
    edge = {"reflecting": 1, "dirichlet": -1}.get(kind, 0)
    weights[0, 0] -= edge
    weights[-1, -1] += edge
    mixed = forward(12, h, kind) + 0.5 * line

    def norm(a):
        return np.linalg.norm(a, 2)
    return {
        "norm lap": norm(line), "norm slope": norm(weights / (2 * h)), "norm mixed": norm(mixed),
        "norm plane": norm(box), "step lap": 2 / norm(line), "step plane": 2 / norm(box),
        "step fourth": 2 / norm(line @ line), "step perona_malik": 2 / norm(mixed) ** 2,
        "step total_variation": 2 * 0.25 / norm(box) ** 2,
    }


def main():
    checked = wrong = 0
    with tempfile.TemporaryDirectory(prefix="pdn-check-") as folder:
        path = os.path.join(folder, "bounds.pdn")
        for kind, side in KINDS.items():
            with open(path, "w", encoding="utf-8") as file:
                file.write(PROGRAM.format(side=side))
            done = subprocess.run([PDN, "run", path, "--json", "--no-cache"], capture_output=True, text=True,
                                  check=False)
            if done.returncode:
                print(f"{kind}: exit status {done.returncode}\n{done.stderr}")
                sys.exit(1)
            found = {r["label"]: r["values"][0] for r in map(json.loads, done.stdout.splitlines())}
            for label, truth in expected(kind).items():
                checked += 1
                # a bound of a norm may be larger, a step smaller: by what a proof for all sizes gives away
                excess = found[label] / truth if label.startswith("norm") else truth / found[label]
                if not 1 - 1e-12 <= excess <= 1.15:
                    wrong += 1
                    print(f"{kind}, {label}: {found[label]!r}, and the matrix has {truth!r}")
    print(f"{checked} passed, {wrong} failed, 0 skipped" if not wrong else f"{wrong} of {checked} wrong")
    sys.exit(1 if wrong or not checked else 0)


main()
