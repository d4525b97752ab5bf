"""Weights out of an exported detector, f32 or int8, back into a network that can be trained on.

Owns the way back from `export`: convolutions are found by the names that it gave them.
"""

from pathlib import Path

import torch
from torch import nn

from .. import onnx_weights
from . import grid
from .network import OUTPUTS, Network


def blocks(network: Network) -> dict[str, nn.Sequential]:
    """Every convolution with its normalisation, by its name in the file."""
    named = {"a": network.stem}
    named |= {f"b{level}": stage for level, stage in enumerate(network.backbone)}
    named |= {f"n{level}": lateral for level, lateral in enumerate(network.lateral)}
    named |= {f"s{level}": shared for level, shared in enumerate(network.shared)}
    while any(not isinstance(block[0], nn.Conv2d) for block in named.values()):
        opened = {}
        for name, block in named.items():
            whole = isinstance(block[0], nn.Conv2d)
            opened |= {name: block} if whole else {f"{name}.{k}": inner for k, inner in enumerate(block)}
        named = opened
    return named


@torch.no_grad()
def load_into(network: Network, path: Path, images: torch.Tensor) -> None:
    """Copies the weights of the detector at `path`.

    `images` are float BGR [B, 3, S, S] 0..255, a few dozen. Each normalisation gets the statistics
    that make it add just the folded bias. Raises `KeyError` for a model of another shape.
    """
    weights = {k: torch.from_numpy(v.copy()) for k, v in onnx_weights.read(path).items() if v.size}
    weight = lambda name: weights.get(f"{name}.w.d", weights.get(f"{name}.w"))
    hooks = []
    for name, block in blocks(network).items():
        gain = 64 if name == "a.0" else 1  # `export` folds the division of the pixels into the first one
        block[0].weight.copy_(weight(f"{name}.c") * gain)
        hooks.append(block[1].register_forward_pre_hook(onnx_weights.identity_with(weights[f"{name}.c.b"])))
    for head, stride in zip(network.heads, grid.STRIDES):
        names = [f"h.{kind}.{stride}" for kind in OUTPUTS]
        head.weight.copy_(torch.cat([weight(n) for n in names]))
        head.bias.copy_(torch.cat([weights[f"{n}.b"] for n in names]))
    network.eval()(images)
    for hook in hooks:
        hook.remove()
