#!/usr/bin/python3
"""The examples of examples/published meet published solutions, which lie beside the checkout, in ../shared/data/pde."""
import importlib.util
import os
import subprocess
import sys

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
DATA = os.path.normpath(os.path.join(ROOT, "..", "shared", "data", "pde"))

if not os.path.isdir(DATA):
    print(f"{DATA} is not there")
    sys.exit(77)
for module in ("numpy", "scipy"):
    if not importlib.util.find_spec(module):
        print(f"{module} is not installed (Debian: python3-{module})")
        sys.exit(77)
command = [sys.executable, os.path.join(ROOT, "examples", "published", "compare.py"), "--data", DATA]
if "PDN" in os.environ:
    command += ["--pdn", os.environ["PDN"]]
sys.exit(subprocess.run(command, check=False).returncode)
