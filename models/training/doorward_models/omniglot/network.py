"""The one network that all losses train. Owns its shape only."""

from torch import nn

from ..networks import Unit

EMBEDDING = 128


class CharacterNet(nn.Module):
    """float [B, 1, 28, 28] -> embedding [B, 128]; channels times `width`."""

    def __init__(self, width: float = 1.0):
        super().__init__()
        a, b, c = (round(channels * width) for channels in (32, 64, 96))
        pool = lambda: nn.MaxPool2d(2)
        self.body = nn.Sequential(
            Unit(1, a, 3, activation="relu"), pool(), Unit(a, b, 3, activation="relu"), pool(),
            Unit(b, c, 3, activation="relu"), pool(), Unit(c, c, 3, activation="relu"), nn.Flatten(),
        )
        self.embed = nn.Linear(9 * c, EMBEDDING)

    def forward(self, x):
        return self.embed(self.body(x))
