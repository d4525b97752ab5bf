"""The int8 file: quantise/dequantise pairs around every convolution, calibrated on composed scenes.

Weights are symmetric per output channel, activations per tensor. The outputs of the head convolutions stay
wide: their accumulators are turned straight into float, since a landmark in units of a cell needs more than
eight bits.
"""

from pathlib import Path

import numpy as np
import onnx
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)


class Scenes(CalibrationDataReader):
    """Feeds uint8 BGR images [n, H, W, 3] one by one, as the network wants them."""

    def __init__(self, images: np.ndarray):
        self.rest = iter(images)

    def get_next(self) -> dict[str, np.ndarray] | None:
        image = next(self.rest, None)
        return None if image is None else {"input": image.transpose(2, 0, 1)[None].astype(np.float32)}


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


def quantise(source: Path, target: Path, images: np.ndarray) -> None:
    """Writes the int8 version of `source` to `target`, calibrated on uint8 BGR `images`."""
    quantize_static(
        source,
        target,
        Scenes(images),
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=["Conv", "Add", "Resize", "Relu"],
        per_channel=True,
        activation_type=QuantType.QInt8,
        weight_type=QuantType.QInt8,
        calibrate_method=CalibrationMethod.MinMax,
        extra_options={"ActivationSymmetric": False, "WeightSymmetric": True},
    )
    model = onnx.load(target)
    widen_heads(model)
    shorten(model)
    onnx.checker.check_model(model)
    onnx.save(model, target)
