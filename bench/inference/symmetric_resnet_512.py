#!/usr/bin/python3
"""The network of ../training/symmetric_resnet.py on one picture of 512x512."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "training"))
from _rival import main # noqa: E402
from symmetric_resnet import SymmetricResnet # noqa: E402


class Large(SymmetricResnet):
    """A symmetric residual network in PyTorch, on one picture of 512x512."""
    batch, cells = 1, 512


if __name__ == "__main__":
    sys.exit(main(Large))
