#!/usr/bin/python3
"""Runs inpainting.pdn and puts its numbers and pictures into this folder: README.md, *.png.

    examples/inpainting/run.py [--pdn PATH] [--write] [name=value…]

--write puts the table into README.md and the pictures beside it; without, they are printed and thrown away.
"""
import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(ROOT, "tools"))
import marked # noqa: E402

LABELS = [("homogeneous", "homogeneous"), ("nonlinear", "nonlinear, isotropic (Charbonnier)"),
          ("edge-enhancing", "edge-enhancing, anisotropic (Charbonnier)")]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pdn", default=os.path.join(ROOT, "build", "release", "bin", "pdn"))
    parser.add_argument("--write", action="store_true", help="put table and pictures into this folder")
    parser.add_argument("inputs", nargs="*", help="name=value")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pdn-inpainting-") as out:
        start = time.monotonic()
        done = subprocess.run([options.pdn, "run", os.path.join(HERE, "inpainting.pdn"), *options.inputs, "--threads", "1", "--out", out],
                              stdout=subprocess.PIPE, text=True, check=False)
        seconds = time.monotonic() - start
        if done.returncode:
            sys.exit(f"inpainting.pdn: exit status {done.returncode}\n{done.stdout}")

        def value(label):
            return float(re.search(rf"^{label}: ([-0-9.e]+)", done.stdout, re.MULTILINE).group(1))
        lines = ["| diffusion | PSNR (dB) | |", "|---|---|---|"]
        lines += [f"| {what} | {value('psnr ' + label):.2f} | [{label}.png]({label}.png) |" for label, what in LABELS]
        lines.append(f"\n{100 * value('known'):.2f} % of the pixels are known ([known.png](known.png)); "
                     f"all three together took {seconds:.0f} s.")
        text = "\n".join(lines) + "\n"
        print(text)
        if options.write:
            for file in os.listdir(out):
                shutil.copy(os.path.join(out, file), HERE)
            marked.put(os.path.join(HERE, "README.md"), text)


if __name__ == "__main__":
    main()
