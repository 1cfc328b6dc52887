#!/usr/bin/python3
"""Runs the programs of this folder and compares them with published solutions.

    examples/published/compare.py --data DIR [--pdn PATH] [--only NAME…] [--plots DIR]

--data is a folder with burgers_shock/, allen_cahn/ and lid_driven_a4/ (README.md says where they come from). Every number
is an assertion: the exit status is 1 where one is larger than what is known of the published solution's own error. With
--plots a picture of each is written.
"""
import argparse
import os
import subprocess
import sys
import tempfile

import numpy as np
from scipy.interpolate import RectBivariateSpline

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(ROOT, "examples"))
sys.dont_write_bytecode = True

import plot  # noqa: E402


class Comparison:
    def __init__(self, options):
        self.options = options
        self.wrong = 0
        self.checked = 0

    def run(self, name, out, *inputs):
        path = os.path.join(HERE, f"{name}.pdn")
        done = subprocess.run([self.options.pdn, "run", path, *inputs, "--out", out, "--quiet", "--threads", "1"], capture_output=True, text=True,
                              check=False)
        if done.returncode:
            sys.exit(f"{path}: exit status {done.returncode}\n{done.stdout}{done.stderr}")
        return {os.path.splitext(f)[0]: np.load(os.path.join(out, f)) for f in os.listdir(out) if f.endswith(".npy")}

    def data(self, folder, *names):
        return [np.load(os.path.join(self.options.data, folder, f"{n}.npy")) for n in names]

    def expect(self, what, found, allowed):
        self.checked += 1
        good = found <= allowed
        self.wrong += not good
        print(f"{what}: {found:.3g}, allowed {allowed:.3g}{'' if good else '  FAILED'}", flush=True)

    def plot(self, name, *panels):
        if self.options.plots:
            os.makedirs(self.options.plots, exist_ok=True)
            plot.save(os.path.join(self.options.plots, f"{name}.svg"), *panels)


def trigonometric(values, at):
    """Values in cell centres of the periodic [-1, 1], one row a time, interpolated at other places."""
    n = values.shape[-1]
    wave = np.fft.rfft(values, axis=-1) / n
    wave[..., 1:] *= 2
    wave[..., -1] *= 0.5 if n % 2 == 0 else 1
    k = np.arange(wave.shape[-1])
    first = -1 + 1 / n # where the phase is 0
    return np.real(wave @ np.exp(1j * np.pi * np.outer(k, at - first)))


def burgers(c, out):
    """The published one is good to 10 digits: 4.3e-11 from the solution of Cole and Hopf."""
    film = c.run("burgers", out)["film"]
    x, t, u = c.data("burgers_shock", "x", "t", "u")
    x = x.ravel()
    xi = np.array(x)
    for _ in range(60): # x = xi - 0.9 sin(pi xi) / pi, by Newton from the outside: s is convex beyond 0
        xi = np.where(np.abs(x) < 1e-15, 0, xi)
        xi = xi - (xi - 0.9 * np.sin(np.pi * xi) / np.pi - x) / (1 - 0.9 * np.cos(np.pi * xi))
        xi = np.clip(xi, -1, 1)
    assert np.abs(xi - 0.9 * np.sin(np.pi * xi) / np.pi - x).max() < 1e-14
    mine = trigonometric(film.reshape(len(t.ravel()), -1), xi)
    c.expect("Burgers, largest difference", np.abs(mine - u).max(), 1e-10)
    left, right = plot.Panel("x", "u"), plot.Panel("t", "largest difference", log=True)
    for k in (0, 25, 50, 99):
        left.line(x, mine[k], f"t = {t.ravel()[k]:.2f}")
    left.line(x[::8], u[99][::8], "published", points=True)
    right.line(t.ravel(), np.abs(mine - u).max(axis=1))
    c.plot("burgers", left, right)


def allen_cahn(c, out):
    """The published one has 512 Fourier modes for a start with a kink; against 4096 modes it is off by 8.9e-4, from
    t = 0.1 by 1.8e-4, from t = 0.5 by 1.4e-6 (allowed is what rounds to these)."""
    film = c.run("allen_cahn", out)["film"]
    x, t, u = c.data("allen_cahn", "x", "t", "u")
    x, t = x.ravel(), t.ravel()
    film = film.reshape(len(t), -1)
    mine = film[:, ::film.shape[1] // len(x)]
    error = np.abs(mine - u)
    c.expect("Allen-Cahn, largest difference", error.max(), 9e-4)
    c.expect("Allen-Cahn, from t = 0.1", error[t >= 0.1 - 1e-9].max(), 1.8e-4)
    c.expect("Allen-Cahn, from t = 0.5", error[t >= 0.5 - 1e-9].max(), 1.45e-6)
    left, right = plot.Panel("x", "u"), plot.Panel("t", "largest difference", log=True)
    for k in (0, 20, 60, 200):
        left.line(x, mine[k], f"t = {t[k]:.1f}")
    left.line(x[::8], u[200][::8], "published", points=True)
    right.line(t, error.max(axis=1))
    c.plot("allen_cahn", left, right)


def cavity(c, out):
    """The published one is within 9e-4 (y < 0.97) and 2.2e-4 (root of the mean square) of another solver's, which was
    extrapolated, too."""
    fields = c.run("cavity", out, "cells=160")
    xy, uvp = c.data("lid_driven_a4", "xy", "uvp")

    def with_sides(values, lid):
        """Values in the centres of cells, and those on the sides."""
        n = len(values)
        at = np.concatenate([[0], (np.arange(n) + 0.5) / n, [1]])
        whole = np.zeros((n + 2, n + 2))
        whole[1:-1, 1:-1] = values
        whole[-1, :] = lid * 4 * at * (1 - at)
        return at, whole

    def on_nodes(grid):
        return np.stack([RectBivariateSpline(at, at, whole).ev(xy[:, 1], xy[:, 0]) for at, whole in
                         (with_sides(fields["u" + grid], 1), with_sides(fields["v" + grid], 0))], axis=1)
    mine = (4 * on_nodes("2") - on_nodes("")) / 3 # of order 2: the coarser grid has 4 times the error
    error = np.abs(mine - uvp[:, :2])
    c.expect("cavity, largest difference of the velocity, y < 0.97", error[xy[:, 1] < 0.97].max(), 9e-4)
    c.expect("cavity, root of the mean square, everywhere", np.sqrt((error ** 2).mean()), 2.2e-4)
    at, psi = with_sides(fields["psi2"], 0)
    _, u = with_sides(fields["u2"], 1)
    left, right = plot.Panel("x", "y", "stream function", equal=True), plot.Panel("u at x = 1/2", "y")
    left.contours(at[::2], at[::2], psi[::2, ::2], np.concatenate([np.linspace(psi.min(), 0, 13)[1:-1], [-1e-4, 1e-7, 3e-6]]))
    near = np.abs(xy[:, 0] - 0.5) < 0.004
    right.line(RectBivariateSpline(at, at, u).ev(at, 0 * at + 0.5), at, "computed")
    right.line(uvp[near, 0], xy[near, 1], "published", points=True)
    c.plot("cavity", left, right)


PROBLEMS = {"burgers": burgers, "allen_cahn": allen_cahn, "cavity": cavity}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True)
    parser.add_argument("--pdn", default=os.path.join(ROOT, "build", "release", "bin", "pdn"))
    parser.add_argument("--only", nargs="*", choices=list(PROBLEMS), default=list(PROBLEMS))
    parser.add_argument("--plots")
    comparison = Comparison(parser.parse_args())
    for name in comparison.options.only:
        with tempfile.TemporaryDirectory(prefix="pdn-published-") as out:
            PROBLEMS[name](comparison, out)
    print(f"{comparison.checked - comparison.wrong} passed, {comparison.wrong} failed, 0 skipped")
    return 1 if comparison.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
