#!/usr/bin/python3
"""A convolutional network in PyTorch: 8 layers of 64 -> 64 channels 3x3 with bias, relu between them.

Weights: K [8, 64, 64, 3, 3], b [8, 64]. The boundary is zero. Batch: 8 of 64 channels on 40x40.
"""
import sys

from _rival import Kinks, Layers, he, main, torch

DEPTH, CHANNELS, BATCH, CELLS = 8, 64, 8, 40


class Conv64(Layers):
    __doc__ = __doc__
    best = "nchw"

    def make(self):
        self.weights = {"K": he(DEPTH, CHANNELS, CHANNELS, 3, 3), "b": torch.zeros(DEPTH, CHANNELS)}
        self.x = torch.randn(BATCH, CHANNELS, CELLS, CELLS)
        self.target = torch.randn(BATCH, CHANNELS, CELLS, CELLS)

    @staticmethod
    def plain(x, weights, kinks=Kinks):
        for k, (K, b) in enumerate(zip(weights["K"].unbind(), weights["b"].unbind())):
            x = torch.conv2d(x, K, b, padding=1)
            if k + 1 < DEPTH:
                x = kinks.relu(x)
        return x


if __name__ == "__main__":
    sys.exit(main(Conv64))
