"""Folding, export, quantisation and the way back give the same function."""

import numpy as np
import onnx
import pytest
import torch

from doorward_models import export, networks, onnx_weights, quantise, teacher

CONFIGS = [
    networks.Config(plan="fused", width=0.25, embedding=16),
    networks.Config(plan="fused", width=0.25, embedding=16, reduce=2),
    networks.Config(plan="dense", width=0.25, head="depthwise", embedding=16, reduce=2),
    networks.Config(plan="mobilefacenet", width=0.125, activation="prelu", head="depthwise", embedding=16),
    networks.Config(plan="again", width=0.25, activation="prelu", head="depthwise", embedding=16),
]


def lively(config) -> networks.FaceNet:
    """A network whose normalisations have seen data, so that folding has something to do."""
    torch.manual_seed(0)
    network = networks.FaceNet(config).train()
    for _ in range(3):
        network(torch.randn(8, 3, 112, 112))
    return network.eval()


def images(count=8) -> np.ndarray:
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (count, 14, 14, 3), dtype=np.uint8)
    return teacher.normalise(coarse.repeat(8, 1).repeat(8, 2))


def cosines(a, b):
    return (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


def run(path, x):
    net = teacher.session(export.with_batch(onnx.load(path)).SerializeToString(), threads=1)
    return net.run(None, {"input": x})[0]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: f"{c.plan}-{c.reduce}")
def test_exported_model_computes_what_the_network_does(config, tmp_path):
    network, x = lively(config), images()
    export.save(networks.fold(network), config.embedding, tmp_path / "f32.onnx", {"config": "test"})
    expected = network(torch.from_numpy(x)).detach().numpy()
    assert np.abs(run(tmp_path / "f32.onnx", x) - expected).max() < 1e-4 * np.abs(expected).max()


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: f"{c.plan}-{c.reduce}")
def test_int8_model_stays_close_and_loads_back(config, tmp_path):
    network, x = lively(config), images()
    f32, int8 = tmp_path / "f32.onnx", tmp_path / "int8.onnx"
    export.save(networks.fold(network), config.embedding, f32, {})
    quantise.static_qdq(f32, int8, [x[:1], x[1:2], x[2:3]], "minmax")
    quantised = run(int8, x)
    assert cosines(quantised, run(f32, x)).min() > 0.97
    for path in (f32, int8):
        again = networks.FaceNet(config)
        onnx_weights.load_into(again, path, torch.from_numpy(x))
        given = again(torch.from_numpy(x)).detach().numpy()
        assert cosines(given, run(f32, x)).min() > (0.9999 if path == f32 else 0.99)


def test_int8_model_keeps_to_the_contract(tmp_path):
    network = lively(CONFIGS[0])
    export.save(networks.fold(network), 16, tmp_path / "f32.onnx", {})
    quantise.static_qdq(tmp_path / "f32.onnx", tmp_path / "int8.onnx", [images(1)])
    model = onnx.load(tmp_path / "int8.onnx")
    assert [(o.domain, o.version) for o in model.opset_import] == [("", 13)]
    allowed = {"QuantizeLinear", "DequantizeLinear", "Conv", "Add", "Flatten", "Gemm", "Relu"}
    assert {n.op_type for n in model.graph.node} <= allowed
    weights = [onnx.numpy_helper.to_array(i) for i in model.graph.initializer if len(i.dims) > 1]
    assert weights and all(w.dtype == np.int8 and w.min() >= -127 for w in weights)
    assert [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim] == [1, 3, 112, 112]


def test_shared_weights_are_stored_once(tmp_path):
    config = CONFIGS[-1]
    network, stage = lively(config), networks.stages(config.plan, config.width)[1][3]
    blocks = [b for b in network.body if isinstance(b, networks.Block) and b.shortcut][-stage.repeat * stage.times:]
    assert all(a.units[0].conv.weight is b.units[0].conv.weight for a, b in zip(blocks[::2], blocks[1::2]))
    export.save(networks.fold(network), 16, tmp_path / "f32.onnx", {})
    quantise.static_qdq(tmp_path / "f32.onnx", tmp_path / "int8.onnx", [images(1)])
    graph = onnx.load(tmp_path / "int8.onnx").graph
    stored = [i for i in graph.initializer if i.data_type == onnx.TensorProto.INT8 and len(i.dims) > 1]
    convolutions = [n for n in graph.node if n.op_type in ("Conv", "Gemm")]
    assert len(convolutions) - len(stored) == stage.repeat * 2


def test_a_deeper_network_is_trained_on_from_the_same_weights():
    shallow = lively(networks.Config(plan="full", width=0.25, activation="prelu", head="depthwise", embedding=16))
    deep = networks.deeper(shallow).train()
    assert networks.cost(deep)[0] > 1.3 * networks.cost(shallow)[0]
    count = lambda network: sum(p.numel() for p in network.parameters() if p.ndim > 1)
    assert count(deep) == count(shallow)
    block, first, second = (networks.deeper(shallow).eval().body[k] for k in (7, 7, 8))
    x = torch.randn(2, 24, 14, 14)
    half = [b.eval()(x) - x for b in (first, second)]
    assert torch.allclose(half[0], half[1], atol=1e-6)
    assert torch.allclose(2 * half[0], shallow.body[7](x) - x, atol=1e-4)


def test_half_width_costs_less():
    whole, half = (networks.FaceNet(networks.Config(plan="fused", width=w)) for w in (1.0, 0.5))
    assert networks.cost(whole)[0] == 59_540_096
    assert networks.cost(half)[0] < 0.5 * networks.cost(whole)[0]


def test_other_image_sizes_give_the_same_shapes():
    network = networks.FaceNet(CONFIGS[0])
    for size in (64, 96, 112):
        middle, spatial, embedding = network.features(torch.zeros(2, 3, size, size))
        assert middle.shape == (2, network.middle_channels, size // 8, size // 8)
        assert spatial.shape == (2, 64, 7, 7) and embedding.shape == (2, 16)


def test_the_dense_plan_ends_at_7x7_for_an_image_at_half_size():
    network = networks.FaceNet(CONFIGS[2])
    middle, spatial, _ = network.features(torch.zeros(2, 3, 56, 56))
    assert middle.shape[2:] == (14, 14) and spatial.shape[2:] == (7, 7)


def test_a_reducing_network_sees_the_image_at_half_size():
    network = lively(CONFIGS[1])
    x = torch.from_numpy(images(2))
    half = torch.nn.functional.avg_pool2d(x, 2)
    assert torch.allclose(network(x), network.features(half)[2], atol=1e-5)
    assert network.features(half)[1].shape == (2, 64, 4, 4)


def test_the_whole_map_in_one_sum_is_the_convolution():
    conv = networks.WholeConv(6, 6, 3, groups=6, bias=False)
    x = torch.randn(2, 6, 3, 3, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(conv.train()(x), conv.eval()(x), atol=1e-5)


def test_an_embedding_is_the_sum_of_the_answers_to_a_face_and_its_mirror_image():
    torch.manual_seed(0)
    network = networks.FaceNet(CONFIGS[0]).eval()
    faces = torch.randn(2, 3, 112, 112)
    embedding = networks.joined(network(networks.with_mirror_images(faces)))
    assert torch.allclose(embedding, network(faces) + network(faces.flip(3)), atol=1e-5)
    assert not torch.allclose(network(faces), network(faces.flip(3)), atol=1e-2)


@pytest.mark.parametrize("config", CONFIGS[1:3])
def test_a_centred_network_says_nothing_of_the_mean_face(config):
    folded = networks.fold(lively(config))
    faces = torch.randn(70, 3, 112, 112)
    answer = lambda: networks.joined(folded(networks.with_mirror_images(faces)))
    before = answer()
    networks.centre(folded, faces)
    assert before.mean(0).abs().max() > 0.01
    assert torch.allclose(answer(), before - before.mean(0), atol=1e-4)
