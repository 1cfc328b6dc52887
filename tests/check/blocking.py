#!/usr/bin/python3
"""Several steps in one pass over memory (runtime/blocking.c) of fields that are too large for a cache, in 1D to 3D, with all kinds of
sides, against the same steps in NumPy, and on two threads bit by bit."""
import subprocess

from _programs import PDN, Programs, load, np

PAD = {"periodic": "wrap", "reflecting": "symmetric", "zero": "constant"}
# extents and sides, x first; steps: no whole number of passes
CASES = [((2000005,), ("periodic",), 13), ((1000000,), ("zero",), 23), ((1500, 1100), ("periodic", "periodic"), 13),
         ((4101, 700), ("reflecting", "periodic"), 17), ((700, 2300), ("periodic", "zero"), 10),
         ((130, 140, 120), ("periodic", "periodic", "periodic"), 11), ((100, 160, 150), ("reflecting", "periodic", "zero"), 13),
         ((70, 190, 200), ("zero", "reflecting", "periodic"), 7)]
PROGRAM = """precision f64
use schemes
pde heat(u) {{
{sides}
    dt(u) = laplacian(u)
}}
experiment steps {{
    grid G = box({boxes}, cells = [{cells}])
    let f = 0.5 + 0.25 * {wave}
    let u = {scheme}(heat, tau = 0.12, steps = {steps})(f)
    save u to "u.npy"
}}
"""


def program(extents, sides, steps, scheme):
    names = "xyz"[:len(extents)]
    return PROGRAM.format(sides="\n".join(f"    boundary u at {n}.{end} = {s}" for n, s in zip(names, sides) for end in ("low", "high")),
                          boxes=", ".join(f"[0, {n}]" for n in extents), cells=", ".join(map(str, extents)), steps=steps,
                          wave=" * ".join(f"sin({0.37 + 0.2 * i} * G.{n})" for i, n in enumerate(names)), scheme=scheme)


def laplacian(u, sides):
    total = -2 * u.ndim * u
    for axis, side in enumerate(reversed(sides)):
        wide = np.pad(u, [(1, 1) if a == axis else (0, 0) for a in range(u.ndim)], mode=PAD[side])
        for first in (0, 2):
            total = total + np.take(wide, range(first, first + u.shape[axis]), axis=axis)
    return total


def expected(extents, sides, steps):
    wave = np.ones(extents[::-1])
    for i, n in enumerate(extents):
        shape = [1] * len(extents)
        shape[len(extents) - 1 - i] = n
        wave = wave * np.sin((0.37 + 0.2 * i) * (np.arange(n) + 0.5)).reshape(shape)
    u = 0.5 + 0.25 * wave
    for _ in range(steps):
        u = u + 0.12 * laplacian(u, sides)
    return u


def saved(programs, text, threads):
    return load(programs.run(text, "--threads", threads), "u.npy").squeeze()


def together(programs, text):
    """Did steps go together?"""
    with open(f"{programs.folder}/together.pdn", "w", encoding="utf-8") as file:
        file.write(text)
    done = subprocess.run([PDN, "bench", "together.pdn", "--repeat", "1", "--threads", "1"], cwd=programs.folder, check=True,
                          capture_output=True, text=True)
    return "steps in one pass" in done.stdout


def main():
    programs = Programs()
    for extents, sides, steps in CASES:
        what, text = f"{extents} {sides}", program(extents, sides, steps, "explicit")
        one = saved(programs, text, "1")
        programs.compare(what, one, expected(extents, sides, steps), 1e-13)
        programs.compare(f"{what}, two threads", saved(programs, text, "2"), one, 0)
        past = program(extents, sides, steps, "du_fort_frankel")
        programs.compare(f"{what}, two time levels, three threads", saved(programs, past, "3"), saved(programs, past, "1"), 0)
        if not together(programs, text):
            programs.skip(f"{what}: steps go one by one, as this machine's cache is so large")
    programs.end()


main()
