"""Weights out of an exported model, f32 or int8, back into a network that can be trained on.

Owns the way back from `export`: initialisers are found by module name.
"""

from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch.nn.functional import avg_pool2d

from .networks import FaceNet, Unit


def read(path: Path) -> dict[str, np.ndarray]:
    """Float weights by name; quantised ones are multiplied back with their scales."""
    graph = onnx.load(path).graph
    raw = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
    weights = {k: v for k, v in raw.items() if v.dtype == np.float32}
    for node in graph.node:
        if node.op_type != "DequantizeLinear" or node.input[0] not in raw:
            continue
        values, scale = raw[node.input[0]].astype(np.float32), raw[node.input[1]]
        axis = next((a.i for a in node.attribute if a.name == "axis"), 0)
        shape = [-1 if d == axis and scale.ndim and scale.size > 1 else 1 for d in range(values.ndim)]
        weights[node.output[0]] = values * scale.reshape(shape)
        weights[node.output[0].removesuffix("_DequantizeLinear_Output")] = weights[node.output[0]]
    return weights


@torch.no_grad()
def load_into(network: FaceNet, path: Path, images: torch.Tensor) -> None:
    """Copies the weights of the model at `path` into `network`.

    The model's batch normalisations are folded away. Each one here gets, from `images` (float
    [B, 3, 112, 112], a few hundred), the statistics that make it add just the folded bias, so that
    training moves on from the exported function. Raises `KeyError` for a model of another shape.
    """
    weights = {k: torch.from_numpy(v.copy()).to(images.device) for k, v in read(path).items()}
    hooks, shared = [], {}
    for name, module in network.named_modules():
        if isinstance(module, Unit):
            weight = weights[f"{name}.conv.weight"]
            pooled = weight.shape[-1] // module.conv.kernel_size[0]  # of a first convolution with pooling
            first = shared.setdefault(module.conv.weight, weight)
            if first is weight:
                module.conv.weight.copy_(avg_pool2d(weight, pooled) * pooled**2)
            bias = weights[f"{name}.conv.bias"]
            ratio = None if first is weight else strength(weight) / strength(first)
            hooks.append(module.norm.register_forward_pre_hook(identity_with(bias, ratio)))
            if isinstance(module.act, torch.nn.PReLU):
                module.act.weight.copy_(weights[f"{name}.act.weight"].flatten())
        elif isinstance(module, torch.nn.Linear):
            module.weight.copy_(weights[f"{name}.weight"])
            module.bias.copy_(weights[f"{name}.bias"])
    network.eval()
    network(images)
    for hook in hooks:
        hook.remove()


def strength(weight):
    """The norm of each output channel."""
    return weight.flatten(1).norm(dim=1).clamp(min=1e-12)


def identity_with(bias, ratio=None):
    """Sets a norm, at its first input, so that on this input it only adds `bias`.

    With a `ratio`, of a norm that shares its weight with an earlier one: so that it also multiplies by that.
    """

    def hook(norm, inputs):
        mean, variance = inputs[0].mean((0, 2, 3)), inputs[0].var((0, 2, 3), unbiased=False)
        if ratio is None:
            norm.weight.copy_((variance + norm.eps).sqrt())
        else:
            variance = (norm.weight / ratio).square() - norm.eps
        factor = norm.weight / (variance + norm.eps).sqrt()
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)
        norm.bias.copy_(mean * factor + bias)

    return hook
