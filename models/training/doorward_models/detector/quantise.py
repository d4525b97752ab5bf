"""The int8 file: quantise/dequantise pairs around every convolution, calibrated on composed scenes.

Weights are symmetric per output channel, activations per tensor. The outputs of the head convolutions stay
wide: their accumulators are turned straight into float, since a landmark in units of a cell needs more than
eight bits.
"""

from pathlib import Path

import numpy as np
import onnx

from ..quantise import static_qdq

WIDE = {"Transpose", "Reshape", "Sigmoid"}
"""What comes after the head convolutions stays in floating point."""


def widen_heads(model: onnx.ModelProto) -> None:
    """Takes the quantise/dequantise pair off the output of every head convolution."""
    nodes = {n.output[0]: n for n in model.graph.node}
    for node in list(model.graph.node):
        if node.op_type != "Transpose":
            continue
        dequantise = nodes[node.input[0]]
        if dequantise.op_type != "DequantizeLinear":
            continue
        quantise = nodes[dequantise.input[0]]
        node.input[0] = quantise.input[0]
        model.graph.node.remove(dequantise)
        model.graph.node.remove(quantise)
    used = {i for n in model.graph.node for i in n.input}
    for weight in [w for w in model.graph.initializer if w.name not in used]:
        model.graph.initializer.remove(weight)


def shorten(model: onnx.ModelProto) -> None:
    """Shortens the names that quantisation made up: they would be a fifth of the file."""
    endings = {
        "_DequantizeLinear_Output": ".d",
        "_QuantizeLinear_Output": ".q",
        "_quantized_zero_point": ".qz",
        "_quantized_scale": ".qs",
        "_quantized": ".q",
        "_zero_point": ".z",
        "_scale": ".s",
    }

    def short(name: str) -> str:
        return next((name.removesuffix(e) + s for e, s in endings.items() if name.endswith(e)), name)

    for node in model.graph.node:
        node.input[:] = [short(n) for n in node.input]
        node.output[:] = [short(n) for n in node.output]
        node.name = node.output[0]
    for weight in model.graph.initializer:
        weight.name = short(weight.name)


def quantise(source: Path, target: Path, images: np.ndarray, method: str = "minmax") -> None:
    """Writes the int8 version of `source` to `target`; activation ranges come from uint8 BGR `images`."""
    skip = tuple(n.name for n in onnx.load(source).graph.node if n.op_type in WIDE)
    arrays = [i.transpose(2, 0, 1)[None].astype(np.float32) for i in images]
    static_qdq(source, target, arrays, method, skip)
    model = onnx.load(target)
    widen_heads(model)
    shorten(model)
    onnx.checker.check_model(model)
    onnx.save(model, target)
