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
METHODS = ("minmax", "percentile", "mse")


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


def activation_range(values: np.ndarray, method: str, percentile: float = 99.99) -> tuple[float, float]:
    """The range (containing zero) that int8 is to cover.

    `minmax` covers everything; `percentile` cuts both tails; `mse` takes the cut with the least mean
    squared rounding and clipping error. Raises `ValueError` for another method.
    """
    low, high = min(float(values.min()), 0.0), max(float(values.max()), 1e-6)
    if method == "minmax":
        return low, high
    if method == "percentile":
        cut_low, cut_high = np.percentile(values, [100 - percentile, percentile])
        return min(float(cut_low), 0.0), max(float(cut_high), 1e-6)
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
    tidy(int8)


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
