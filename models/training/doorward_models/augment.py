"""Augmentation of aligned faces, done on whole batches in torch.

Owns what a door camera does to a face: small alignment errors, mirror images, blur, low resolution,
light, infrared-like grey, occlusion. Never changes who is seen, so the teacher's answer to the clean
image stays the target.
"""

import math

import torch
from torch.nn.functional import avg_pool2d, interpolate


def similarity_jitter(images, size: int, generator, mirror, degrees=6.0, scale=0.06, shift=0.03):
    """Rotates, scales, shifts and (where `mirror`) flips [B, 3, H, W], resampled to `size` pixels.

    `shift` is a fraction of the width; borders repeat.
    """
    n = len(images)
    uniform = lambda limit: (torch.rand(n, generator=generator) * 2 - 1) * limit
    angle, zoom = uniform(math.radians(degrees)), torch.exp(uniform(scale))
    cos, sin = torch.cos(angle) * zoom, torch.sin(angle) * zoom
    flip = 1.0 - 2.0 * mirror.float()
    theta = torch.stack([
        torch.stack([cos * flip, -sin, uniform(2 * shift)], 1),
        torch.stack([sin * flip, cos, uniform(2 * shift)], 1),
    ], 1)
    grid = torch.nn.functional.affine_grid(theta, [n, 3, size, size], align_corners=False)
    return torch.nn.functional.grid_sample(images, grid, padding_mode="border", align_corners=False)


def light(images, generator, strength=0.25):
    """Brightness, contrast and gamma of each image [B, 3, H, W] in [-1, 1]."""
    n = len(images)
    uniform = lambda: (torch.rand(n, 1, 1, 1, generator=generator) * 2 - 1) * strength
    unit = (images * 0.5 + 0.5).clamp(0, 1).pow(torch.exp(uniform() * 1.5))
    return ((unit * 2 - 1) * torch.exp(uniform()) + uniform()).clamp(-1, 1)


def infrared(images, generator):
    """Grey images weighted to red, as a camera without infrared filter sees skin at night."""
    mix = torch.tensor([0.3, 0.59, 0.11]).lerp(
        torch.tensor([0.8, 0.1, 0.1]), torch.rand(1, generator=generator).item()
    )
    return (images * mix.view(1, 3, 1, 1)).sum(1, keepdim=True).expand_as(images).clone()


def blur(images):
    """A 3x3 mean filter, size kept."""
    return avg_pool2d(torch.nn.functional.pad(images, (1, 1, 1, 1), mode="replicate"), 3, 1)


def low_resolution(images, factor: int):
    """What is left of a face seen `factor` times smaller."""
    size = images.shape[-1]
    small = interpolate(images, size=(size // factor, size // factor), mode="area")
    return interpolate(small, size=(size, size), mode="bilinear", align_corners=False)


def occlude(images, generator, largest=0.4):
    """Covers a random rectangle (up to `largest` of each side) with a random grey. In place."""
    n, _, h, w = images.shape
    for k, (a, b, c, d, grey) in enumerate(torch.rand(n, 5, generator=generator).tolist()):
        height, width = int(h * largest * a) + 1, int(w * largest * b) + 1
        top, left = int((h - height) * c), int((w - width) * d)
        images[k, :, top : top + height, left : left + width] = grey * 2 - 1
    return images


def batch(faces, size: int, generator, rate=0.1, mirrored=0.3):
    """uint8 [B, 112, 112, 3] -> float [B, 3, size, size] in [-1, 1], and which rows are mirrored [B].

    Pose, mirroring and light change in every image, each of the rarer changes in `rate` of them.
    """
    images = faces.permute(0, 3, 1, 2).float().div_(127.5).sub_(1)
    n = len(images)
    mirror = torch.rand(n, generator=generator) < mirrored
    images = light(similarity_jitter(images, size, generator, mirror), generator)
    rare = [
        blur,
        lambda x: low_resolution(x, 2),
        lambda x: infrared(x, generator),
        lambda x: occlude(x, generator),
    ]
    for change in rare:
        rows = torch.rand(n, generator=generator) < rate
        if rows.any():
            images[rows] = change(images[rows])
    return images, mirror
