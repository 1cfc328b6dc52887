#!/usr/bin/python3
"""Writes the symmetric residual network of bench/training/symmetric_resnet.py as an ONNX model, for a fixed size.

    onnx_model.py WEIGHTS.safetensors CELLS MODEL.onnx [WAY]

Ways to write what ONNX has no operator for, of which run.py takes the fastest: the ghosts of a reflecting side by Gather or by
slices and Concat; the transposed convolution by ConvTranspose or as a convolution with the filters turned round. As in the
PyTorch program, lambda and tau stand in the filters: a block is u + P^T L^T (s / (1 + s^2)), s = K P u. Needs python3-onnx.
"""
import os
import sys

import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "training"))
from _ours import read_safetensors # noqa: E402

try:
    import onnx
    from onnx import TensorProto, helper, numpy_helper
except ImportError:
    print("python3-onnx is not installed (./dev setup bench)")
    sys.exit(77)

WAYS = [f"{pad} {adjoint}" for pad in ("gather", "concat") for adjoint in ("transposed", "turned")]


class Graph:
    """Nodes in order; every method gives the name of its result."""

    def __init__(self):
        self.nodes, self.constants, self.known = [], [], {}

    def add(self, op, *inputs, **attributes):
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [name], **attributes))
        return name

    def constant(self, array):
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self.known:
            self.known[key] = f"c{len(self.known)}"
            self.constants.append(numpy_helper.from_array(array, self.known[key]))
        return self.known[key]

    def slice(self, x, axis, first, end, step=1):
        numbers = [self.constant(np.array([k], np.int64)) for k in (first, end, axis, step)]
        return self.add("Slice", x, *numbers)

    def pad(self, x, axis, cells, way):
        """Two ghosts at both ends: cells 1, 0 before cell 0."""
        if way == "gather":
            return self.add("Gather", x, self.constant(np.array([1, 0, *range(cells), cells - 1, cells - 2], np.int64)), axis=axis)
        low = self.slice(x, axis, 1, -cells - 1, -1)
        high = self.slice(x, axis, cells - 1, cells - 3, -1)
        return self.add("Concat", low, x, high, axis=axis)

    def fold(self, w, axis, cells):
        """The transpose of `pad`: what ghosts hold goes to their cells."""
        low = self.add("Add", self.slice(w, axis, 2, 4), self.slice(w, axis, 1, -cells - 5, -1))
        high = self.add("Add", self.slice(w, axis, cells, cells + 2), self.slice(w, axis, cells + 3, cells + 1, -1))
        return self.add("Concat", low, self.slice(w, axis, 4, cells), high, axis=axis)


def block(g, u, K, lam, cells, way):
    pad, adjoint = way.split()
    padded = g.pad(g.pad(u, 2, cells, pad), 3, cells, pad)
    s = g.add("Conv", padded, g.constant(np.ascontiguousarray(K / lam)))
    one = g.constant(np.array(1, np.float32))
    y = g.add("Div", s, g.add("Add", g.add("Mul", s, s), one))
    L = np.ascontiguousarray(-2 * lam * K)
    if adjoint == "transposed":
        w = g.add("ConvTranspose", y, g.constant(L))
    else:
        turned = np.ascontiguousarray(L.transpose(1, 0, 2, 3)[:, :, ::-1, ::-1])
        w = g.add("Conv", y, g.constant(turned), pads=[4, 4, 4, 4])
    return g.add("Add", u, g.fold(g.fold(w, 2, cells), 3, cells))


def model(weights, cells, way):
    g, u = Graph(), "x"
    for K, lam in zip(weights["K"], weights["lambda"]):
        u = block(g, u, K, lam, cells, way)
    shape = [1, 1, cells, cells]
    graph = helper.make_graph(g.nodes, "symmetric_resnet", [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
                              [helper.make_tensor_value_info(u, TensorProto.FLOAT, shape)], g.constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def main():
    weights, cells, path, *way = sys.argv[1:]
    made = model(read_safetensors(weights), int(cells), way[0] if way else WAYS[0])
    onnx.checker.check_model(made)
    onnx.save(made, path)


if __name__ == "__main__":
    main()
