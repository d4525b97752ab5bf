"""A plain wall behind the head, imitated on aligned faces. Owns where the head is and what a wall looks like.

In the collections a room tells much about what is shown in it; a door may have a wall there.
"""

import torch

from ..augment import smooth

MIDDLE, HALF = (0.5, 0.54), (0.43, 0.55)  # of the oval around an aligned head, x and y: shares of the side


def oval(size: int) -> torch.Tensor:
    """[size, size]: 0 in the middle of the head, 1 on its outline."""
    x, y = (((torch.arange(size) + 0.5) / size - m) / h for m, h in zip(MIDDLE, HALF))
    return torch.sqrt(x[None, :] ** 2 + y[:, None] ** 2)


def behind(images: torch.Tensor, generator) -> torch.Tensor:
    """The heads of [B, 3, S, S] in [-1, 1], each before a wall of another colour, more or less evenly lit."""
    random = lambda channels=1: torch.rand((len(images), channels, 1, 1), generator=generator)
    head = ((1 + 0.12 * random() - oval(images.shape[-1])) / (0.04 + 0.12 * random())).clamp(0, 1)
    lit = 0.1 * random() * smooth(images, 1, images.shape[-1], generator, knots=2)
    colour = 2 * random() - 1 + 0.3 * (random(3) - 0.5) + lit
    return images * head + colour.clamp(-1, 1) * (1 - head)
