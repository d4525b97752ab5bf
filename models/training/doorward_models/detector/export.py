"""Writing the trained network as ONNX: batch normalisation folded, free input size, YuNet's twelve outputs.

Owns the float32 graph. `quantise` makes the int8 file from it.
"""

from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from . import grid
from .network import OUTPUTS, Network

OPSET = 13


class Graph:
    """Nodes and weights of a graph under construction; tensors are known by name."""

    def __init__(self):
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def constant(self, name: str, value: np.ndarray) -> str:
        """Adds a constant once and returns its name."""
        if all(w.name != name for w in self.weights):
            self.weights.append(numpy_helper.from_array(value, name))
        return name

    def node(self, kind: str, inputs: list[str], output: str, **attributes) -> str:
        """Adds a node with one output and returns that output."""
        self.nodes.append(helper.make_node(kind, inputs, [output], output, **attributes))
        return output

    def conv(self, x: str, name: str, weight: np.ndarray, bias: np.ndarray, layer: nn.Conv2d) -> str:
        """Adds a convolution with the geometry of `layer`."""
        inputs = [x, self.constant(f"{name}.w", weight), self.constant(f"{name}.b", bias)]
        geometry = {
            "kernel_shape": list(layer.kernel_size),
            "strides": list(layer.stride),
            "pads": list(layer.padding) * 2,
            "group": layer.groups,
        }
        return self.node("Conv", inputs, name, **geometry)

    def fused(self, x: str, name: str, block: nn.Sequential, gain: float = 1.0) -> str:
        """Adds a sequence of (convolution, normalisation, ReLU) blocks, folded; `gain` scales the input."""
        if not isinstance(block[0], nn.Conv2d):
            for index, inner in enumerate(block):
                x = self.fused(x, f"{name}.{index}", inner, gain if index == 0 else 1.0)
            return x
        layer, norm = block[0], block[1]
        factor = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        weight = layer.weight * factor[:, None, None, None] * gain
        bias = norm.bias - norm.running_mean * factor
        x = self.conv(x, f"{name}.c", weight.numpy(), bias.numpy(), layer)
        return self.node("Relu", [x], f"{name}.r")


@torch.no_grad()
def build(network: Network) -> onnx.ModelProto:
    """The whole network as a checked ONNX model."""
    network = network.eval().float()
    graph = Graph()
    x, maps = graph.fused("input", "a", network.stem, 1 / 64), []
    for level, stage in enumerate(network.backbone):
        x = graph.fused(x, f"b{level}", stage)
        maps.append(x)
    double = graph.constant("double", np.array([1, 1, 2, 2], np.float32))
    for level in (1, 0):
        maps[level + 1] = graph.fused(maps[level + 1], f"n{level}", network.lateral[level])
        nearest = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        up = graph.node("Resize", [maps[level + 1], "", double], f"up.{level}", **nearest)
        maps[level] = graph.node("Add", [maps[level], up], f"merge.{level}")
    outputs = {}
    for level, stride in enumerate(grid.STRIDES):
        x = graph.fused(maps[level], f"s{level}", network.shared[level])
        head, first = network.heads[level], 0
        for kind, channels in OUTPUTS.items():
            rows = slice(first, first + channels)
            first += channels
            part = nn.Conv2d(head.in_channels, channels, 1)
            weight, bias = head.weight[rows].numpy(), head.bias[rows].numpy()
            y = graph.conv(x, f"h.{kind}.{stride}", weight, bias, part)
            y = graph.node("Transpose", [y], f"t.{kind}.{stride}", perm=[0, 2, 3, 1])
            shape = graph.constant(f"flat.{channels}", np.array([1, -1, channels], np.int64))
            name = f"{kind}_{stride}"
            if kind in ("cls", "obj"):
                y = graph.node("Reshape", [y, shape], f"f.{kind}.{stride}")
                graph.node("Sigmoid", [y], name)
            else:
                graph.node("Reshape", [y, shape], name)
            outputs[name] = helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, None, channels])
    order = [f"{kind}_{stride}" for kind in OUTPUTS for stride in grid.STRIDES]
    image = helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, "height", "width"])
    whole = helper.make_graph(graph.nodes, "detector", [image], [outputs[n] for n in order], graph.weights)
    model = helper.make_model(whole, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return model


def load(checkpoint: Path) -> Network:
    """The network with the averaged weights of a checkpoint."""
    network = Network()
    network.load_state_dict(torch.load(checkpoint, weights_only=True, map_location="cpu")["parts"]["average"])
    return network.eval()
