"""Post-training quantisation to int8 (static, quantise/dequantise pairs).

Owns the choice of activation ranges from calibration data and the call to ONNX Runtime's quantiser with
settings that tract and the daemon's integer kernels accept: symmetric int8 weights per output channel in
[-127, 127], int8 activations with one scale and zero point per tensor, int32 biases. Works for any
network; never looks at images.
"""

import tempfile
from pathlib import Path

import numpy as np
import onnx
from onnxruntime.quantization import (
    CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static,
)

from .teacher import session

SAMPLES = 20_000  # values kept per tensor and calibration array
MOST_STEPS = 1.9  # output steps that a product of one may stand for
STEEPEST = 2.0  # slope of a PReLU
# Pixels that go from -1 to 1 lie half way between the steps of that range, where the last bit of a division
# chooses the step. In a range so much smaller each has a step of its own.
OFF_THE_MIDDLE = 0.9999
HALF_WAY = 1e-3  # share of the weights of a layer that may lie so
METHODS = ("minmax", "mse")


class _Reader(CalibrationDataReader):
    def __init__(self, name: str, arrays):
        self.feeds = iter({name: array} for array in arrays)

    def get_next(self):
        return next(self.feeds, None)


def observe(model: onnx.ModelProto, arrays: list[np.ndarray]) -> dict[str, np.ndarray]:
    """A sample of the values of the input and of every float activation; the extremes are always in it.

    `arrays` are inputs [B, C, H, W] float32.
    """
    observed = onnx.ModelProto()
    observed.CopyFrom(model)
    names = [name for node in model.graph.node if node.op_type != "Constant" for name in node.output]
    del observed.graph.output[:]
    observed.graph.output.extend(
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in names
    )
    net = session(observed.SerializeToString(), threads=1)
    source = net.get_inputs()[0].name
    rng, kept = np.random.default_rng(0), {name: [] for name in [source, *names]}
    for array in arrays:
        for name, values in zip([source, *names], [array, *net.run(names, {source: array})]):
            flat = values.ravel()
            chosen = flat if flat.size <= SAMPLES else flat[rng.integers(0, flat.size, SAMPLES)]
            kept[name].append(np.append(chosen, [flat.min(), flat.max()]).astype(np.float32))
    return {name: np.concatenate(parts) for name, parts in kept.items()}


def activation_range(values: np.ndarray, method: str) -> tuple[float, float]:
    """The range (containing zero) that int8 is to cover.

    `minmax` covers everything; `mse` takes the cut with the least mean squared rounding and clipping error. Raises
    `ValueError` for another method.
    """
    low, high = min(float(values.min()), 0.0), max(float(values.max()), 1e-6)
    if method == "minmax":
        return low, high
    if method == "mse":
        errors = {}
        for share in np.linspace(0.3, 1.0, 36):
            step = (high - low) * share / 255
            rounded = np.clip(np.round(values / step), round(low * share / step), round(high * share / step))
            errors[share] = float(np.mean((rounded * step - values) ** 2))
        best = min(errors, key=errors.get)
        return low * best, high * best
    raise ValueError(f"unknown calibration method {method!r}, expected one of {METHODS}")


def static_qdq(f32: Path, int8: Path, arrays: list[np.ndarray], method: str = "mse",
               skip: tuple[str, ...] = ()) -> None:
    """Quantises the model at `f32` into `int8`, with activation ranges from `arrays` [B, C, H, W].

    Nodes named in `skip` stay in floating point.
    """
    model = onnx.load(f32)
    overrides = {}
    for name, values in observe(model, arrays).items():
        low, high = activation_range(values, method)
        if name == model.graph.input[0].name:
            low, high = low * OFF_THE_MIDDLE, high * OFF_THE_MIDDLE
        overrides[name] = [{"rmin": np.float32(low), "rmax": np.float32(high)}]
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / "f32.onnx"
        onnx.save(model, plain)
        quantize_static(
            plain, int8, _Reader(model.graph.input[0].name, arrays[:1]),
            quant_format=QuantFormat.QDQ, per_channel=True,
            activation_type=QuantType.QInt8, weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax, nodes_to_exclude=list(skip),
            extra_options={"TensorQuantOverrides": overrides},
        )
    quantised = onnx.load(int8)
    round_once(quantised)
    limit_weights(quantised)
    limit_slopes(quantised)
    keep_once(quantised)
    leave_out_zeros(quantised)
    onnx.save(quantised, int8)
    tidy(int8)


def round_once(model: onnx.ModelProto) -> None:
    """Takes out the rounding between a convolution and its PReLU or its sum: integer kernels do all of it at once.

    Changes `model`.
    """
    graph, readers = model.graph, {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)

    def only_reader(name: str, *kinds: str):
        found = readers.get(name, [])
        return found[0] if len(found) == 1 and found[0].op_type in kinds else None

    for conv in [n for n in graph.node if n.op_type == "Conv"]:
        down = only_reader(conv.output[0], "QuantizeLinear")
        up = down and only_reader(down.output[0], "DequantizeLinear")
        onward = up and only_reader(up.output[0], "PRelu", "Add")
        if onward:
            at = list(onward.input).index(up.output[0])
            onward.input[at] = conv.output[0]
            graph.node.remove(down)
            graph.node.remove(up)
    drop_unused(graph)


def drop_unused(graph: onnx.GraphProto) -> None:
    """Removes the initialisers that no node reads."""
    used = {name for node in graph.node for name in node.input}
    for unused in [i for i in graph.initializer if i.name not in used]:
        graph.initializer.remove(unused)


def limit_weights(model: onnx.ModelProto) -> None:
    """Clips weights so large that a single step of the input moves the output by all of its range.

    A channel that is nearly dead before its normalisation has such weights; the output saturates all the same,
    and integer kernels need less than `MOST_STEPS` output steps for a product of one. Changes `model`.
    """
    raw = {i.name: i for i in model.graph.initializer}
    value = lambda name: onnx.numpy_helper.to_array(raw[name])
    store = lambda name, array: raw[name].CopyFrom(onnx.numpy_helper.from_array(array, name))
    source = {o: n for n in model.graph.node for o in n.output}
    readers = {}
    for node in model.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    for node in (n for n in model.graph.node if n.op_type == "Conv"):
        parts = [source.get(name) for name in node.input]
        end = node
        while end is not None and end.op_type in ("Conv", "Relu", "PRelu", "Clip", "Add"):
            end = next(iter(readers.get(end.output[0], [])), None)
        if any(p is None or p.op_type != "DequantizeLinear" for p in parts) or end is None \
                or end.op_type != "QuantizeLinear":
            continue
        (_, step_in, *_), (weights, steps, *_), (bias, units, *_) = (list(p.input) for p in parts)
        most = MOST_STEPS * value(end.input[1]) / value(step_in)
        old, kept = value(steps), np.minimum(value(steps), most).astype(np.float32)
        if (old == kept).all():
            continue
        factor = (old / kept).reshape(-1, *[1] * (value(weights).ndim - 1))
        store(weights, np.clip(np.round(value(weights) * factor), -127, 127).astype(np.int8))
        store(bias, np.round(value(bias) * (old / kept)).astype(np.int32))
        store(units, (value(units) * (kept / old)).astype(np.float32))
        store(steps, kept)


def keep_once(model: onnx.ModelProto) -> None:
    """Stores int8 weights once that several convolutions share, each with steps of its own. Changes `model`.

    A weight that lies half way between two steps may have been rounded to either of them.
    """
    kept, other = {}, {}
    for tensor in [i for i in model.graph.initializer if i.data_type == onnx.TensorProto.INT8 and len(i.dims) > 1]:
        values = onnx.numpy_helper.to_array(tensor).astype(np.int16)
        alike = (name for name, first in kept.items() if first.shape == values.shape)
        same = next((name for name in alike if np.abs(kept[name] - values).max() <= 1
                     and (kept[name] != values).mean() < HALF_WAY), None)
        if same is None:
            kept[tensor.name] = values
        else:
            other[tensor.name] = same
    for node in model.graph.node:
        for at, name in enumerate(node.input):
            node.input[at] = other.get(name, name)
    drop_unused(model.graph)


def leave_out_zeros(model: onnx.ModelProto) -> None:
    """Leaves out the zero points of biases, which are zero, as is one that is not there. Changes `model`.

    Those of weights stay: without them ONNX Runtime's exact int8 products (`teacher.session`) fail.
    """
    biases = {i.name for i in model.graph.initializer if i.data_type == onnx.TensorProto.INT32}
    for node in model.graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in biases and len(node.input) > 2:
            del node.input[2]
    drop_unused(model.graph)


def limit_slopes(model: onnx.ModelProto) -> None:
    """Brings the slopes of every PReLU into [-2, 2], what integer kernels can express. Changes `model`."""
    of_prelu = {node.input[1] for node in model.graph.node if node.op_type == "PRelu"}
    for slopes in (i for i in model.graph.initializer if i.name in of_prelu):
        limited = np.clip(onnx.numpy_helper.to_array(slopes), -STEEPEST, STEEPEST)
        slopes.CopyFrom(onnx.numpy_helper.from_array(limited, slopes.name))


def tidy(path: Path) -> None:
    """Keeps only the standard operator set of a quantised model and checks its weights.

    Raises `ValueError` for a weight of -128, which the kernels do not expect.
    """
    model = onnx.load(path)
    standard = [o for o in model.opset_import if o.domain in ("", "ai.onnx")]
    del model.opset_import[:]
    model.opset_import.extend(standard)
    for tensor in model.graph.initializer:
        if tensor.data_type == onnx.TensorProto.INT8 and len(tensor.dims) > 1:
            if onnx.numpy_helper.to_array(tensor).min() < -127:
                raise ValueError(f"{tensor.name} holds -128")
    onnx.checker.check_model(model)
    onnx.save(model, path)
