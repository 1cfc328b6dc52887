"""For checks that write programs and compare the fields that they save with NumPy."""
import os
import subprocess
import sys
import tempfile

try:
    import numpy as np
except ImportError:
    print("NumPy is not installed (Debian: python3-numpy)")
    sys.exit(77)

PDN = os.environ.get("PDN", os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..",
                                         "build", "release", "bin", "pdn"))
MODES = {"jit": ["--threads", "1"], "threads": ["--threads", "2"],
         "O0": ["--threads", "1", "--optimise", "0"], "interpret": ["--interpret"]}


class Programs:
    """Runs programs in a scratch folder and counts what is wrong."""

    def __init__(self):
        self.scratch = tempfile.TemporaryDirectory(prefix="pdn-check-")
        self.folder = self.scratch.name
        self.wrong = 0
        self.checked = 0
        self.skipped = 0

    def skip(self, why):
        self.skipped += 1
        print(f"skipped: {why}")

    def file(self, name, array):
        np.save(os.path.join(self.folder, name), array)

    def run(self, text, *arguments):
        """Runs a program; its output folder. The whole check ends where a program does not run."""
        path = os.path.join(self.folder, "program.pdn")
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        out = tempfile.mkdtemp(dir=self.folder)
        command = [PDN, "run", path, "--out", out, "--cache", os.path.join(self.folder, "cache")]
        done = subprocess.run(command + list(arguments), capture_output=True, text=True, check=False)
        if done.returncode:
            print(f"{' '.join(arguments)}: exit status {done.returncode}\n{done.stderr}\n{text}")
            sys.exit(1)
        return out

    def compare(self, what, found, expected, tolerance):
        """Relative to max(1, |expected|); the two may both be NaN or the same infinity."""
        self.checked += 1
        with np.errstate(invalid="ignore"):
            error = np.abs(found - expected) / np.maximum(1, np.abs(expected))
        same = (found == expected) | (np.isnan(found) & np.isnan(expected))
        error = np.where(same, 0, np.where(np.isnan(error), np.inf, error))
        if found.shape != expected.shape or error.max() > tolerance:
            self.wrong += 1
            at = np.unravel_index(int(error.argmax()), error.shape)
            print(f"{what}: {found[at]!r} where {expected[at]!r} is expected, at {tuple(map(int, at))};"
                  f" error {error.max():.3g}, allowed {tolerance:.3g}")

    def end(self):
        print(f"{self.checked - self.wrong} passed, {self.wrong} failed, {self.skipped} skipped")
        sys.exit(1 if self.wrong or not self.checked else 0)


def load(folder, name):
    return np.load(os.path.join(folder, name))
