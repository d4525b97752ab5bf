"""Activation ranges on values with a known answer."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from doorward_models import quantise


def test_minmax_covers_everything_and_zero():
    assert quantise.activation_range(np.array([2.0, 5.0]), "minmax") == (0.0, 5.0)


def test_mse_gives_up_a_lone_outlier_but_not_a_flat_range():
    rng = np.random.default_rng(0)
    flat = rng.uniform(-1, 1, 50_000)
    assert quantise.activation_range(flat, "mse")[1] > 0.95 * flat.max()
    outlier = np.append(rng.normal(0, 0.01, 2_000_000), 1.0)
    assert quantise.activation_range(outlier, "mse")[1] < 0.9


def test_unknown_method_is_named():
    with pytest.raises(ValueError, match="entropy"):
        quantise.activation_range(np.zeros(3), "entropy")


def test_weights_are_clipped_where_one_step_of_the_input_is_all_of_the_output():
    tensors = {
        "sx": np.float32(0.1), "zx": np.int8(0), "so": np.float32(0.05), "zo": np.int8(-128),
        "w": np.array([64, 127, 64, 127], np.int8).reshape(2, 2, 1, 1), "sw": np.array([1.0, 0.001], np.float32),
        "b": np.array([95, 7], np.int32), "sb": np.array([0.1, 0.0001], np.float32),
    }
    node = helper.make_node
    nodes = [
        node("DequantizeLinear", ["x", "sx", "zx"], ["xd"]), node("DequantizeLinear", ["w", "sw"], ["wd"], axis=0),
        node("DequantizeLinear", ["b", "sb"], ["bd"], axis=0), node("Conv", ["xd", "wd", "bd"], ["c"]),
        node("Relu", ["c"], ["r"]), node("QuantizeLinear", ["r", "so", "zo"], ["y"]),
    ]
    value = lambda name, channels: helper.make_tensor_value_info(name, TensorProto.INT8, [1, channels, 1, 1])
    graph = helper.make_graph(nodes, "g", [value("x", 2)], [value("y", 2)],
                              [numpy_helper.from_array(v, k) for k, v in tensors.items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    quantise.limit_weights(model)
    kept = {i.name: numpy_helper.to_array(i) for i in model.graph.initializer}
    assert kept["sw"] == pytest.approx([quantise.MOST_STEPS * 0.05 / 0.1, 0.001])
    assert kept["w"].ravel().tolist() == [67, 127, 64, 127], "64 keeps its value, 127 is clipped"
    assert kept["b"].tolist() == [100, 7] and kept["b"] * kept["sb"] == pytest.approx([9.5, 0.0007])
    onnx.checker.check_model(model)


def test_slopes_are_limited_to_what_the_kernels_express():
    slopes = numpy_helper.from_array(np.array([-2.5, 0.5, 2.0, 3.0], np.float32), "slopes")
    other = numpy_helper.from_array(np.array([5.0], np.float32), "other")
    nodes = [helper.make_node("PRelu", ["x", "slopes"], ["p"]), helper.make_node("Mul", ["p", "other"], ["y"])]
    value = lambda name: helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4])
    model = helper.make_model(helper.make_graph(nodes, "g", [value("x")], [value("y")], [slopes, other]))
    quantise.limit_slopes(model)
    assert [numpy_helper.to_array(i).tolist() for i in model.graph.initializer] == [[-2.0, 0.5, 2.0, 2.0], [5.0]]


def test_a_convolution_with_its_prelu_and_sum_is_rounded_once(tmp_path):
    rng, node = np.random.default_rng(0), helper.make_node
    tensors = {
        "w": rng.normal(0, 0.3, (8, 3, 3, 3)), "slope": np.full((8, 1, 1), 0.25),
        "v": rng.normal(0, 0.2, (8, 8, 1, 1)), "b": rng.normal(0, 0.1, 8), "a": rng.normal(0, 0.1, 8),
    }
    nodes = [
        node("Conv", ["x", "w", "b"], ["c"], pads=[1, 1, 1, 1]), node("PRelu", ["c", "slope"], ["p"]),
        node("Conv", ["p", "v", "a"], ["d"]), node("Add", ["d", "p"], ["y"]),
    ]
    value = lambda name, channels: helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, channels, 8, 8])
    graph = helper.make_graph(nodes, "g", [value("x", 3)], [value("y", 8)],
                              [numpy_helper.from_array(v.astype(np.float32), k) for k, v in tensors.items()])
    f32, int8 = tmp_path / "f32.onnx", tmp_path / "int8.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), f32)
    images = [rng.normal(0, 1, (1, 3, 8, 8)).astype(np.float32) for _ in range(4)]
    quantise.static_qdq(f32, int8, images)
    kinds = [n.op_type for n in onnx.load(int8).graph.node]
    assert kinds.count("QuantizeLinear") == 3, "of the input, the PReLU's and the sum's output"
    answers = [quantise.session(str(path)).run(None, {"x": images[0]})[0] for path in (f32, int8)]
    assert np.abs(answers[0] - answers[1]).max() < 0.1 * np.abs(answers[0]).max()


def test_every_pixel_has_a_step_of_its_own(tmp_path):
    node, value = helper.make_node("Conv", ["x", "w", "b"], ["y"]), helper.make_tensor_value_info
    tensors = {"w": np.eye(3).reshape(3, 3, 1, 1), "b": np.zeros(3)}
    graph = helper.make_graph([node], "g", [value("x", TensorProto.FLOAT, [1, 3, 16, 16])],
                              [value("y", TensorProto.FLOAT, [1, 3, 16, 16])],
                              [numpy_helper.from_array(v.astype(np.float32), k) for k, v in tensors.items()])
    f32, int8 = tmp_path / "f32.onnx", tmp_path / "int8.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), f32)
    levels = ((np.arange(256) - 127.5) / 127.5).astype(np.float32)
    quantise.static_qdq(f32, int8, [np.broadcast_to(levels.reshape(1, 1, 16, 16), (1, 3, 16, 16)).copy()], "minmax")
    model = onnx.load(int8)
    scale = next(numpy_helper.to_array(i) for i in model.graph.initializer if i.name == "x_scale")
    steps = levels / scale
    assert len(set(np.round(steps).clip(-128, 127))) >= 255
    assert np.abs(np.abs(steps % 1 - 0.5)).min() > 1e-5, "none half way"
