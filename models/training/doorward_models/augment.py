"""Augmentation of aligned faces, done on whole batches in torch, on any device.

Owns what a door camera does to a face: small alignment errors, mirror images, blur, low resolution,
light, infrared-like grey, occlusion. Never changes who is seen, so the teacher's answer to the clean
image stays the target; only `uncover`, bending and `mix` make new people, for a teacher that is asked about
what they made.
Every random number comes from `generator`, which is on the images' device; `None` is torch's own.
"""

import math

import torch
from torch.nn.functional import avg_pool2d, interpolate, max_pool2d

BLACK = 16  # of 255: darker than this in all colours over 5x5 pixels is where a crop has ended


def uniform(like, shape, generator, limit):
    """Random numbers in [-limit, limit] on the device of `like`."""
    return (torch.rand(shape, generator=generator, device=like.device) * 2 - 1) * limit


def smooth(like, channels: int, size: int, generator, knots=5):
    """Random surfaces [B, channels, size, size] of about unit variance, through `knots` points to a side."""
    heights = torch.randn((len(like), channels, knots, knots), generator=generator, device=like.device)
    unit = torch.eye(knots, device=like.device)[None, :, :, None]
    curves = interpolate(unit, size=(size, 1), mode="bicubic", align_corners=True)[0, :, :, 0].T  # [size, knots]
    return curves @ heights @ curves.T


def similarity_jitter(images, size: int, generator, mirror, degrees=6.0, scale=0.06, shift=0.03, bend=0.0):
    """Rotates, scales, shifts and (where `mirror`) flips [B, 3, H, W], resampled to `size` pixels.

    `shift` is a fraction of the width; borders repeat. Up to `bend` of the width every part of the face moves by
    itself: 0.03 makes another person of it.
    """
    n = len(images)
    random = lambda limit: uniform(images, n, generator, limit)
    angle, zoom = random(math.radians(degrees)), torch.exp(random(scale))
    cos, sin = torch.cos(angle) * zoom, torch.sin(angle) * zoom
    flip = 1.0 - 2.0 * mirror.float()
    theta = torch.stack([
        torch.stack([cos * flip, -sin, random(2 * shift)], 1),
        torch.stack([sin * flip, cos, random(2 * shift)], 1),
    ], 1)
    grid = torch.nn.functional.affine_grid(theta, [n, 3, size, size], align_corners=False)
    if bend:
        most = 2 * bend * torch.rand((n, 1, 1, 1), generator=generator, device=images.device)
        grid = grid + (most * smooth(images, 2, size, generator)).permute(0, 2, 3, 1)
    return torch.nn.functional.grid_sample(images, grid, padding_mode="border", align_corners=False)


def light(images, generator, strength=0.25):
    """Brightness, contrast and gamma of each image [B, 3, H, W] in [-1, 1]."""
    random = lambda: uniform(images, (len(images), 1, 1, 1), generator, strength)
    unit = (images * 0.5 + 0.5).clamp(0, 1).pow(torch.exp(random() * 1.5))
    return ((unit * 2 - 1) * torch.exp(random()) + random()).clamp(-1, 1)


def white_balance(images, generator, strength=0.12):
    """Another gain for each colour of each image [B, 3, H, W] in [-1, 1]."""
    gain = torch.exp(uniform(images, (len(images), 3, 1, 1), generator, strength))
    return ((images + 1) * gain - 1).clamp(-1, 1)


def infrared(images, generator):
    """Grey images weighted to red, as a camera without infrared filter sees skin at night."""
    day, night = images.new_tensor([0.3, 0.59, 0.11]), images.new_tensor([0.8, 0.1, 0.1])
    share = torch.rand((len(images), 1), generator=generator, device=images.device)
    mix = day.lerp(night.expand(len(images), 3), share)
    return (images * mix[:, :, None, None]).sum(1, keepdim=True).expand_as(images).clone()


def blur(images):
    """A 3x3 mean filter, size kept."""
    return avg_pool2d(torch.nn.functional.pad(images, (1, 1, 1, 1), mode="replicate"), 3, 1)


def low_resolution(images, side: int):
    """What is left of a face that the camera saw at `side` pixels."""
    size = images.shape[-1]
    small = interpolate(images, size=(side, side), mode="area")
    return interpolate(small, size=(size, size), mode="bilinear", align_corners=False)


def occlude(images, generator, largest=0.4):
    """Covers a random rectangle (up to `largest` of each side) of each image with a random grey."""
    n, _, h, w = images.shape
    share = torch.rand((5, n, 1), generator=generator, device=images.device)

    def inside(length: int, extent, place):
        covered = (length * largest * extent).int() + 1
        first = ((length - covered) * place).int()
        at = torch.arange(length, device=images.device)
        return (at >= first) & (at < first + covered)

    rows, columns = inside(h, share[0], share[1]), inside(w, share[2], share[3])
    covered = (rows[:, :, None] & columns[:, None, :])[:, None]
    return torch.where(covered, share[4][:, :, None, None] * 2 - 1, images)


def mix(images, generator, share=0.4):
    """Joins a `share` (up to a half) of the images with others of the batch: people that nobody has seen.

    From an even blend of both to a patchwork of parts of either.
    """
    order, count = torch.randperm(len(images), generator=generator, device=images.device), int(len(images) * share)
    some, others = order[:count], order[count : 2 * count]
    random = lambda: torch.rand((count, 1, 1, 1), generator=generator, device=images.device)
    weight = torch.sigmoid(random().logit() + 6 * random() * smooth(some, 1, images.shape[-1], generator))
    mixed = images.clone()
    mixed[some] = images[some] * weight + images[others] * (1 - weight)
    return mixed


def uncover(faces, generator):
    """Puts other images of the batch where faces, uint8 [B, H, W, 3], are black because their crop ended there."""
    seen = (faces.amax(3)[:, None] >= BLACK).float()
    ended = max_pool2d(1 - max_pool2d(seen, 5, 1, 2), 7, 1, 3) > 0
    others = torch.randperm(len(faces), generator=generator, device=faces.device)
    return torch.where(ended[:, 0, :, :, None], faces[others], faces)


def pose(faces, size: int, generator, mirrored=0.0, bend=0.0):
    """uint8 [B, 112, 112, 3] -> float [B, 3, size, size] in [-1, 1], turned, a share of them mirrored."""
    images = faces.permute(0, 3, 1, 2).float().div_(127.5).sub_(1)
    mirror = torch.rand(len(images), generator=generator, device=images.device) < mirrored
    return similarity_jitter(images, size, generator, mirror, bend=bend)


def degrade(images, generator):
    """What a camera does to posed faces [B, 3, S, S]: light and colour always, rarer changes to a share of them."""
    images = light(white_balance(images, generator), generator)
    rare = [
        (0.3, blur),
        (0.1, lambda x: low_resolution(x, images.shape[-1] // 2)),
        (0.1, lambda x: low_resolution(x, images.shape[-1] * 2 // 7)),
        (0.1, lambda x: infrared(x, generator)),
        (0.1, lambda x: occlude(x, generator)),
    ]
    for share, change in rare:
        order = torch.randperm(len(images), generator=generator, device=images.device)
        rows = order[: math.ceil(len(images) * share)]
        images[rows] = change(images[rows])
    return images
