"""The teacher's maps on values with a known answer, and its torch form beside ONNX Runtime."""

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper

from doorward_models import teacher


def small_teacher(path, last="Gemm"):
    rng = np.random.default_rng(0)
    weight = lambda name, *shape: numpy_helper.from_array(rng.normal(0, 0.3, shape).astype(np.float32), name)
    conv = lambda x, k, stride, pads, group: helper.make_node(
        "Conv", [x, f"w{k}", f"b{k}"], [f"c{k}"], kernel_shape=[3, 3], strides=[stride] * 2, pads=[pads] * 4,
        dilations=[1, 1], group=group)
    nodes = [
        conv("in", 0, 8, 1, 1), helper.make_node("PRelu", ["c0", "slope"], ["p"]),
        conv("p", 1, 1, 1, 64), helper.make_node("Add", ["p", "c1"], ["sum"]),
        conv("sum", 2, 2, 1, 1), helper.make_node("Flatten", ["c2"], ["flat"], axis=1),
        helper.make_node(last, ["flat", "wf", "bf"] if last == "Gemm" else ["flat"], ["out"]),
    ]
    nodes[-1].attribute.extend([helper.make_attribute("transB", 1)] if last == "Gemm" else [])
    weights = [weight("w0", 64, 3, 3, 3), weight("b0", 64), weight("slope", 64, 1, 1), weight("w1", 64, 1, 3, 3),
               weight("b1", 64), weight("w2", 4, 64, 3, 3), weight("b2", 4), weight("wf", 16, 196), weight("bf", 16)]
    value = lambda name, *shape: helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)
    graph = helper.make_graph(nodes, "t", [value("in", "N", 3, 112, 112)], [value("out", "N", 16)], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path


def test_the_torch_form_says_what_onnx_runtime_says_about_both_sides(tmp_path):
    path = small_teacher(tmp_path / "t.onnx")
    faces = torch.randint(0, 256, (80, 112, 112, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    given = teacher.of_faces(teacher.Network(path, faces), teacher.unit(faces))
    net = teacher.session(teacher.with_maps(onnx.load(path)).SerializeToString(), threads=1)
    one, spatial, middle = net.run(None, {"in": teacher.normalise(faces.numpy())})
    other = net.run(["out"], {"in": teacher.normalise(faces.flip(2).numpy())})[0]
    middle = np.einsum("kc,bchw->bkhw", teacher.principal(middle), middle)
    teacher.run(path, faces.numpy(), tmp_path)
    for wanted, *said in zip((one + other, spatial, middle), given, teacher.load(tmp_path, "t")):
        for values in said:
            values, wanted = (torch.tensor(np.asarray(v, np.float32)).flatten(1) for v in (values, wanted))
            assert torch.cosine_similarity(values, wanted).min() > 0.999


def test_unknown_operators_are_named(tmp_path):
    path = small_teacher(tmp_path / "t.onnx", last="Tanh")
    with pytest.raises(ValueError, match="Tanh"):
        teacher.Network(path, torch.zeros(4, 112, 112, 3, dtype=torch.uint8))


def test_the_strongest_direction_comes_first_and_signs_are_fixed():
    rng = np.random.default_rng(0)
    strong, weak = rng.normal(size=(2, 50, 4, 4))
    maps = np.stack([3 * strong, 3 * strong, weak], 1)
    basis = teacher.principal(maps, 2)
    assert np.allclose(basis[0], [np.sqrt(0.5), np.sqrt(0.5), 0], atol=0.02)
    assert np.allclose(basis @ basis.T, np.eye(2), atol=1e-6) and (basis.sum(1) > 0).all()
