"""The detector network: a depthwise-separable backbone, a two-step top-down neck, one head per stride.

Takes BGR pixels 0..255 and needs no preparation: batch normalisation absorbs the range. Only operators
that fuse in an int8 engine: convolution, ReLU, nearest 2x upsampling, addition.
"""

import torch
from torch import Tensor, nn

from . import grid

OUTPUTS = {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}
"""Channels of a head, in order."""


def conv(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """Convolution, batch normalisation, ReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


def separable(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """Depthwise 3x3, then pointwise."""
    return nn.Sequential(conv(inputs, inputs, 3, stride, inputs), conv(inputs, outputs, 1))


class Network(nn.Module):
    """uint8-ranged BGR [B, 3, H, W] -> raw values [B, N, 16] (cls and obj as logits), cells as in `grid`."""

    def __init__(self, stem: int = 16, low: int = 32, width: int = 64):
        super().__init__()
        self.stem = nn.Sequential(conv(3, stem, 3, 2), separable(stem, low, 2), separable(low, low))
        self.backbone = nn.ModuleList(
            [
                nn.Sequential(separable(low, width, 2), separable(width, width)),
                nn.Sequential(separable(width, width, 2), separable(width, width)),
                nn.Sequential(separable(width, width, 2), separable(width, width)),
            ]
        )
        self.lateral = nn.ModuleList(separable(width, width) for _ in grid.STRIDES[1:])
        self.shared = nn.ModuleList(separable(width, width) for _ in grid.STRIDES)
        self.heads = nn.ModuleList(nn.Conv2d(width, sum(OUTPUTS.values()), 1) for _ in grid.STRIDES)
        self.upsample = nn.Upsample(scale_factor=2, mode="nearest")
        for head in self.heads:
            nn.init.normal_(head.weight, 0, 0.01)
            nn.init.zeros_(head.bias)
            nn.init.constant_(head.bias[:2], -4.0)
            nn.init.constant_(head.bias[4:6], 1.0)

    def forward(self, pixels: Tensor) -> Tensor:
        x = self.stem(pixels / 64)
        maps = []
        for stage in self.backbone:
            x = stage(x)
            maps.append(x)
        for level in (1, 0):
            maps[level + 1] = self.lateral[level](maps[level + 1])
            maps[level] = maps[level] + self.upsample(maps[level + 1])
        maps = [shared(x) for shared, x in zip(self.shared, maps)]
        with torch.autocast(x.device.type, enabled=False):
            levels = [head(x.float()) for head, x in zip(self.heads, maps)]
        return torch.cat([level.flatten(2).transpose(1, 2) for level in levels], 1)


def cost(network: nn.Module, height: int, width: int) -> tuple[int, int]:
    """Parameters and multiply-accumulates of the convolutions for one image."""
    macs = 0

    def count(layer: nn.Conv2d, _: object, output: Tensor) -> None:
        nonlocal macs
        macs += layer.weight.numel() * output.shape[-2] * output.shape[-1]

    hooks = [m.register_forward_hook(count) for m in network.modules() if isinstance(m, nn.Conv2d)]
    was_training = network.training
    with torch.no_grad():
        network.eval()(torch.zeros(1, 3, height, width))
    network.train(was_training)
    for hook in hooks:
        hook.remove()
    return sum(p.numel() for p in network.parameters()), macs
