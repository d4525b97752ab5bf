"""Simulated int8 on values with a known answer, and against the quantised model."""

import onnx
import pytest
import torch

from doorward_models import export, networks, quantise, rounding
from test_networks import CONFIGS, cosines, images, lively, run


def test_weights_are_rounded_per_output_channel():
    weight = torch.tensor([[1.27, 0.004, -0.016], [12.7, 0.04, -0.16]])
    expected = torch.tensor([[1.27, 0.0, -0.02], [12.7, 0.0, -0.2]])
    assert torch.allclose(rounding.rounded(weight), expected, atol=1e-6)


def test_the_gradient_passes_but_not_where_values_are_clipped():
    weight = torch.tensor([[1.0, 0.3]], requires_grad=True)
    (rounding.rounded(weight) * torch.tensor([[2.0, 3.0]])).sum().backward()
    assert weight.grad.tolist() == [[2.0, 3.0]]
    x = torch.tensor([0.5, 9.0], requires_grad=True)
    y = rounding.onto_grid(x, 0.0, 2.55)
    y.sum().backward()
    assert y.tolist() == pytest.approx([0.5, 2.55]) and x.grad.tolist() == [1.0, 0.0]


def test_the_simulation_costs_about_as_much_as_the_quantised_model(tmp_path):
    network, x = lively(CONFIGS[1]), images(16)
    export.save(networks.fold(network), 16, tmp_path / "f32.onnx", {})
    quantise.static_qdq(tmp_path / "f32.onnx", tmp_path / "int8.onnx", [x[k : k + 1] for k in range(16)])
    int8, half = run(tmp_path / "int8.onnx", x), torch.nn.functional.avg_pool2d(torch.from_numpy(x), 2)
    with torch.no_grad():
        exact = network.features(half)[2].numpy()
        names = network.state_dict().keys()
        rounding.simulate(network, rounding.ranges(network, half))
        simulated = network.features(half)[2].numpy()
    assert network.state_dict().keys() == names
    lost = [1 - cosines(rounds, exact).mean() for rounds in (simulated, int8)]
    assert lost[1] / 2 < lost[0] < lost[1] * 2


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: f"{c.plan}-{c.reduce}")
def test_training_rounds_where_the_exported_model_does(config, tmp_path, monkeypatch):
    network, x = lively(config), images(1)
    export.save(networks.fold(network), 16, tmp_path / "f32.onnx", {})
    quantise.static_qdq(tmp_path / "f32.onnx", tmp_path / "int8.onnx", [x])
    rounded = [n.input[0] for n in onnx.load(tmp_path / "int8.onnx").graph.node if n.op_type == "QuantizeLinear"]
    of_units = [name.rsplit(".", 2)[0] for name in rounded if name.endswith((".conv.out", ".act.out"))]
    assert of_units == [name for name, m in rounding.places(network).items() if isinstance(m, networks.Unit)]
    rounding.simulate(network, rounding.ranges(network, torch.from_numpy(x)))
    seen = []
    monkeypatch.setattr(rounding, "onto_grid", lambda values, *_: seen.append(values) or values)
    network.features(torch.from_numpy(x))
    assert seen[0].shape == x.shape and len(seen) == len(rounded) - 1, "the same numbers again after Flatten"
