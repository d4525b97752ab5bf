"""A MobileFaceNet of 221 million multiply-accumulates (112x112, PReLU) with random weights, as
files for the engines that are compared: ONNX in f32 and quantised, and ncnn's form."""

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIDE = 112


@dataclass
class Conv:
    input: str
    output: str
    weights: np.ndarray  # [outputs, inputs / groups, rows, columns]
    bias: np.ndarray
    stride: int
    padding: int
    groups: int
    slope: np.ndarray | None


@dataclass
class Add:
    inputs: tuple[str, str]
    output: str


def network(seed: int = 0, relu: bool = False) -> list[Conv | Add]:
    """The layers in their order, from `input` to `output`; with ReLU, a slope of zero, if `relu`."""
    random = np.random.RandomState(seed)
    layers: list[Conv | Add] = []

    def conv(x, inputs, outputs, kernel, stride, padding, groups, active):
        fan = inputs // groups * kernel * kernel
        weights = random.randn(outputs, inputs // groups, kernel, kernel)
        # A spread between channels as batch normalisation leaves it.
        weights *= np.sqrt((2 if active else 1) / fan) * np.exp(0.3 * random.randn(outputs, 1, 1, 1))
        slope = (0.25 + 0.1 * random.randn(outputs)).clip(0, 1) if active else None
        if relu and active:
            slope = np.zeros(outputs)
        name = f"t{len(layers)}"
        bias = 0.05 * random.randn(outputs)
        layers.append(Conv(x, name, weights.astype(np.float32), bias.astype(np.float32), stride,
                           padding, groups, slope))
        return name

    x = conv("input", 3, 64, 3, 2, 1, 1, True)
    x = conv(x, 64, 64, 3, 1, 1, 64, True)
    inputs = 64
    for expansion, outputs, blocks, first in [(2, 64, 5, 2), (4, 128, 1, 2), (2, 128, 6, 1),
                                              (4, 128, 1, 2), (2, 128, 2, 1)]:
        for block in range(blocks):
            start, wide = x, inputs * expansion
            stride = first if block == 0 else 1
            x = conv(x, inputs, wide, 1, 1, 0, 1, True)
            x = conv(x, wide, wide, 3, stride, 1, wide, True)
            x = conv(x, wide, outputs, 1, 1, 0, 1, False)
            if stride == 1 and inputs == outputs:
                layers.append(Add((start, x), f"t{len(layers)}"))
                x = layers[-1].output
            inputs = outputs
    x = conv(x, 128, 512, 1, 1, 0, 1, True)
    x = conv(x, 512, 512, 7, 1, 0, 512, False)
    conv(x, 512, 128, 1, 1, 0, 1, False)
    layers[-1].output = "output"
    return layers


def picture(seed: int) -> np.ndarray:
    """Pixels `[SIDE, SIDE, 3]` that are smooth as pictures are."""
    random = np.random.RandomState(seed)
    coarse = random.randn(14, 14, 3).repeat(8, 0).repeat(8, 1)
    noisy = coarse + 0.3 * random.randn(SIDE, SIDE, 3)
    return (127.5 + 64 * noisy).clip(0, 255).astype(np.uint8)


def tensor(pixels: np.ndarray) -> np.ndarray:
    """What a network is given for these pixels."""
    return ((pixels.astype(np.float32) - 127.5) / 127.5).transpose(2, 0, 1)[None].copy()


def to_onnx(layers: list[Conv | Add], scales: dict[str, float] | None = None,
            every: bool = False) -> onnx.ModelProto:
    """In f32, with every tensor an output if `every`; with `scales`, one of each tensor, quantised
    to int8: weights per channel, and a pair of QuantizeLinear and DequantizeLinear at each tensor.
    """
    nodes, constants = [], []

    def constant(name, value):
        constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def node(op, inputs, output, **attributes):
        nodes.append(helper.make_node(op, inputs, [output], name=output, **attributes))

    def quantised(x, name):
        if scales is None:
            return
        scale = constant(f"{name}.scale", np.float32(scales[name]))
        zero = constant(f"{name}.zero", np.int8(0))
        node("QuantizeLinear", [x, scale, zero], f"{name}.q")
        node("DequantizeLinear", [f"{name}.q", scale, zero], f"{name}.d")

    def read(name):
        return f"{name}.d" if scales is not None else name

    quantised("input", "input")
    for layer in layers:
        name = layer.output
        if isinstance(layer, Add):
            node("Add", [read(x) for x in layer.inputs], name)
            quantised(name, name)
            continue
        weights = layer.weights
        if scales is None:
            kernel = constant(f"{name}.w", weights)
        else:
            step = np.abs(weights).max((1, 2, 3)) / 127
            integers = np.round(weights / step[:, None, None, None]).astype(np.int8)
            parts = [constant(f"{name}.w", integers), constant(f"{name}.ws", step),
                     constant(f"{name}.wz", np.zeros(len(step), np.int8))]
            kernel = f"{name}.wd"
            node("DequantizeLinear", parts, kernel, axis=0)
        end = name if layer.slope is None else f"{name}.c"
        node("Conv", [read(layer.input), kernel, constant(f"{name}.b", layer.bias)], end,
             strides=[layer.stride] * 2, pads=[layer.padding] * 4, group=layer.groups,
             kernel_shape=weights.shape[2:])
        if layer.slope is not None and not layer.slope.any():
            node("Relu", [end], name)
        elif layer.slope is not None:
            slope = constant(f"{name}.s", layer.slope.astype(np.float32).reshape(-1, 1, 1))
            node("PRelu", [end, slope], name)
        quantised(name, name)
    node("Flatten", [read("output")], "embedding")
    outputs = [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, [1, 128])]
    if every:
        outputs += [helper.make_tensor_value_info(layer.output, TensorProto.FLOAT, None)
                    for layer in layers]
    source = helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, SIDE, SIDE])
    graph = helper.make_graph(nodes, "mobilefacenet", [source], outputs, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def to_ncnn(layers: list[Conv | Add], stem: Path, scales: dict[str, float] | None = None) -> None:
    """Writes `stem`.param and `stem`.bin, in f32 or, with a scale of each tensor, in int8 as ncnn's own
    converter does. ncnn wants a tensor that is read twice to be split."""
    readers: dict[str, list[Conv | Add]] = {}
    for layer in layers:
        for x in layer.inputs if isinstance(layer, Add) else [layer.input]:
            readers.setdefault(x, []).append(layer)
    lines, blobs = ["Input input 0 1 input"], {"input"}
    copies: dict[str, list[str]] = {}
    data = bytearray()

    def take(x):
        return copies[x].pop() if x in copies else x

    def put(kind, inputs, output, parameters):
        lines.append(f"{kind} {output} {len(inputs)} 1 {' '.join([*inputs, output])} {parameters}")
        blobs.add(output)

    for layer in layers:
        name = layer.output
        if isinstance(layer, Add):
            put("BinaryOp", [take(x) for x in layer.inputs], name, "0=0")
        else:
            w, deep = layer.weights, layer.groups > 1
            relu = layer.slope is not None and not layer.slope.any()
            prelu = layer.slope is not None and not relu
            end = f"{name}_c" if prelu else name
            parameters = (f"0={w.shape[0]} 1={w.shape[3]} 3={layer.stride} 4={layer.padding} 5=1 "
                          f"6={w.size}" + (f" 7={layer.groups}" if deep else "")
                          + (" 9=1" if relu else ""))
            if scales is None:
                data += struct.pack("<I", 0) + w.tobytes() + layer.bias.tobytes()
            else:
                steps = (127 / np.abs(w).max((1, 2, 3))).astype(np.float32)
                integers = np.round(w * steps[:, None, None, None]).astype(np.int8).tobytes()
                data += struct.pack("<I", 0x000D4B38) + integers + b"\0" * (-len(integers) % 4)
                data += layer.bias.tobytes() + steps.tobytes()
                data += struct.pack("<f", 1 / scales[layer.input])
                # What one convolution alone reads stays in int8 on the way to it.
                stays = [isinstance(reader, Conv) for reader in readers.get(end, [])] == [True]
                parameters += f" 8={(1 if deep else 2) + 100 * stays}"
                if stays:
                    data += struct.pack("<f", 1 / scales[end])
            kind = "ConvolutionDepthWise" if deep else "Convolution"
            put(kind, [take(layer.input)], end, parameters)
            if prelu:
                put("PReLU", [end], name, f"0={len(layer.slope)}")
                data += layer.slope.astype(np.float32).tobytes()
        if len(readers.get(name, [])) > 1:
            copies[name] = [f"{name}_{i}" for i in range(len(readers[name]))]
            blobs.update(copies[name])
            lines.append(f"Split {name}_split 1 {len(copies[name])} {name} {' '.join(copies[name])}")
    text = f"7767517\n{len(lines)} {len(blobs)}\n" + "\n".join(lines) + "\n"
    stem.with_suffix(".param").write_text(text)
    stem.with_suffix(".bin").write_bytes(data)
