"""What a face looks like on a screen or on paper in front of a camera, imitated on whole batches.

Owns the imitation only. It turns faces of people whose pictures nobody presented into further attacks, and so
keeps the network from learning which people and rooms belong to attacks.
"""

import math

import torch

from ..augment import blur, low_resolution


def moire(images, generator, strength=0.12):
    """Waves of a random direction and period (3 to 12 pixels), shifted between the colours. [B, 3, H, W]."""
    n, _, h, w = images.shape
    uniform = lambda *shape: torch.rand(n, *shape, generator=generator)[..., None, None]
    angle, period = uniform(1) * math.pi, 3 + 9 * uniform(1)
    y, x = torch.meshgrid(torch.arange(h).float(), torch.arange(w).float(), indexing="ij")
    way = (x * torch.cos(angle) + y * torch.sin(angle)) * (2 * math.pi / period)
    return images + strength * uniform(1) * torch.sin(way + 2 * math.pi * uniform(3))


def glare(images, generator, strength=0.8):
    """A bright spot of a random place and width, as a lamp leaves on glass or glossy paper."""
    n, _, h, w = images.shape
    uniform = lambda: torch.rand(n, 1, 1, 1, generator=generator)
    y, x = torch.linspace(0, 1, h)[:, None], torch.linspace(0, 1, w)[None]
    away = (x - uniform()).square() + (y - uniform()).square()
    return images + strength * uniform() * torch.exp(-away / (0.005 + 0.1 * uniform()))


def palette(images, generator):
    """A screen's or printer's colours: each channel scaled and lifted, black no longer black."""
    n = len(images)
    uniform = lambda: torch.rand(n, 3, 1, 1, generator=generator)
    lift = 0.4 * torch.rand(n, 1, 1, 1, generator=generator)
    return -1 + lift + (images + 1) * (0.6 + 0.5 * uniform()) * (1 - lift / 2)


def recapture(images, generator):
    """Presented versions of float images [B, 3, H, W] in [-1, 1]."""
    soft = low_resolution(images, 2) if torch.rand(1, generator=generator) < 0.5 else blur(images)
    changed = palette(moire(soft, generator), generator)
    shiny = torch.rand(len(images), 1, 1, 1, generator=generator) < 0.4
    return torch.where(shiny, glare(changed, generator), changed).clamp(-1, 1)
