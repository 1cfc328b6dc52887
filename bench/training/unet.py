#!/usr/bin/python3
"""A U-net in PyTorch: 4 levels of 16, 32, 64, 128 channels on 128x128, one channel in and out.

A level is two convolutions 3x3 with bias, relu after each; down: the maximum of 2x2 cells; up: each value to 2x2 cells,
concatenated behind the skipped field (skip first), then a level again; at the end a convolution 1x1 with bias, no relu.
The boundary is zero. Weights, level l from 0: down<l>_K0 [c, c of the level above or 1, 3, 3], down<l>_b0 [c],
down<l>_K1 [c, c, 3, 3], down<l>_b1; for l < 3 up<l>_K0 [c, c + 2c, 3, 3] and so on; end_K [1, 16, 1, 1], end_b [1].
Batch: 4.
"""
import sys

from _rival import Kinks, Layers, he, main, torch

CHANNELS, BATCH, CELLS = [16, 32, 64, 128], 4, 128


class Unet(Layers):
    __doc__ = __doc__
    best = "nchw"

    def make(self):
        self.weights = {}
        before = 1
        for level, c in enumerate(CHANNELS):
            self.add(f"down{level}", before, c)
            before = c
        for level in reversed(range(len(CHANNELS) - 1)):
            self.add(f"up{level}", CHANNELS[level] + CHANNELS[level + 1], CHANNELS[level])
        self.weights["end_K"] = he(1, CHANNELS[0], 1, 1)
        self.weights["end_b"] = torch.zeros(1)
        self.target = torch.nn.functional.avg_pool2d(torch.rand(BATCH, 1, CELLS, CELLS), 5, 1, 2)
        self.x = self.target + 25 / 255 * torch.randn(BATCH, 1, CELLS, CELLS)

    def add(self, name, inputs, c):
        for i, n in enumerate((inputs, c)):
            self.weights[f"{name}_K{i}"] = he(c, n, 3, 3)
            self.weights[f"{name}_b{i}"] = torch.zeros(c)

    @staticmethod
    def plain(x, weights, kinks=Kinks):
        def level(name, u):
            for i in range(2):
                u = kinks.relu(torch.conv2d(u, weights[f"{name}_K{i}"], weights[f"{name}_b{i}"], padding=1))
            return u

        skipped = []
        for k in range(len(CHANNELS)):
            x = level(f"down{k}", kinks.max_pool(x, 2) if k else x)
            skipped.append(x)
        for k in reversed(range(len(CHANNELS) - 1)):
            up = torch.nn.functional.interpolate(x, scale_factor=2, mode="nearest")
            x = level(f"up{k}", torch.cat([skipped[k], up], 1))
        return torch.conv2d(x, weights["end_K"], weights["end_b"])


if __name__ == "__main__":
    sys.exit(main(Unet))
