"""The network of the presentation attack detector. Owns its shape only."""

import torch
from torch import nn

from ..networks import Block, Stage, Unit, fold_units

STAGES = (
    Stage("fused", 24, 24, 1, 1),
    Stage("conv", 48, 0, 1, 2),
    Stage("fused", 48, 48, 1, 1),
    Stage("conv", 64, 0, 1, 2),
)
GRID = 7  # side of the last map


class LivenessNet(nn.Module):
    """float [B, 3, 112, 112] in [-1, 1] -> logit [B, 1]; positive: a real face."""

    def __init__(self):
        super().__init__()
        blocks, channels = [Unit(3, 24, 5, 4, activation="relu")], 24  # 28x28: textures, at little cost
        for stage in STAGES:
            blocks.append(Block(channels, stage, stage.stride, "relu"))
            channels = stage.channels
        self.body = nn.Sequential(*blocks)
        self.whole = Unit(channels, channels, GRID, groups=channels, activation="relu")
        self.whole.conv.padding = (0, 0)
        nn.init.constant_(self.whole.conv.weight, 1 / GRID**2)  # begins as the mean over the map
        self.flatten = nn.Flatten()
        self.logit = nn.Linear(channels, 1)

    def forward(self, x):
        return self.logit(self.flatten(self.whole(self.body(x))))


@torch.no_grad()
def fold(network: LivenessNet) -> LivenessNet:
    """The same network for inference, every batch normalisation folded into its convolution."""
    folded = LivenessNet()
    folded.load_state_dict(network.state_dict())
    folded.eval()
    fold_units(folded)
    return folded
