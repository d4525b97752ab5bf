"""Composed scenes: faces of known size in front of backgrounds.

Owns which kinds of scenes exist and how often. Labels come later, from the teacher, on the finished scene.
"""

import cv2
import numpy as np

from . import backgrounds
from .sources import Sources

Rng = np.random.Generator
SMALLEST = 26
CROP_FACE = np.array([16.0, 10.0, 96.0, 112.0])
"""About where the teacher's box lies in an aligned 112x112 crop."""


def _placement(rng: Rng, box: np.ndarray, target: float, centre: np.ndarray) -> np.ndarray:
    """Affine 2x3 that brings a box to `target` pixels (geometric mean side) at `centre`, slightly turned."""
    scale = target / np.sqrt(np.prod(box[2:] - box[:2]))
    angle = np.deg2rad(np.clip(rng.normal(0, 9), -30, 30))
    c, s = scale * np.cos(angle), scale * np.sin(angle)
    flip = -1 if rng.random() < 0.5 else 1
    linear = np.array([[c, -s], [s, c]]) @ np.diag([flip * rng.uniform(0.92, 1.08), 1])
    return np.column_stack([linear, centre - linear @ ((box[:2] + box[2:]) / 2)])


def _paste(canvas: np.ndarray, image: np.ndarray, mask: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    size = canvas.shape[1], canvas.shape[0]
    shrink = np.sqrt(abs(np.linalg.det(matrix[:, :2])))
    if shrink < 0.6:
        image = cv2.GaussianBlur(image, (0, 0), 0.35 / shrink)
    warped = cv2.warpAffine(image, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    alpha = cv2.warpAffine(mask, matrix, size, flags=cv2.INTER_LINEAR)[..., None]
    return (warped * alpha + canvas * (1 - alpha)).astype(np.uint8)


def _ellipse(shape: tuple[int, int], box: np.ndarray, grow: float, soft: float) -> np.ndarray:
    """Soft elliptical mask float32 [H, W] around a box grown by a factor."""
    centre, half = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) / 2 * grow
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    radius = ((x - centre[0]) / half[0]) ** 2 + ((y - centre[1]) / half[1]) ** 2
    return np.clip((1 - radius) / soft, 0, 1).astype(np.float32)


def _rectangle(shape: tuple[int, int], soft: int) -> np.ndarray:
    mask = np.zeros(shape, np.float32)
    mask[soft:-soft or None, soft:-soft or None] = 1
    return cv2.blur(mask, (2 * soft + 1, 2 * soft + 1)) if soft else mask


def _size(rng: Rng, size: int) -> float:
    return np.exp(rng.uniform(np.log(SMALLEST), np.log(0.95 * size)))


def background(rng: Rng, sources: Sources, size: int) -> np.ndarray:
    """A piece of a photograph (two of three) or a drawn scene."""
    if rng.random() < 0.67:
        return backgrounds.photograph(rng, sources.negatives, size)
    return backgrounds.drawn(rng, size)


def portrait(rng: Rng, sources: Sources, size: int, away: bool) -> np.ndarray:
    """A portrait with its own surroundings; `away` aims beside the face, at clothes, hands and hair."""
    image, box = sources.scenes[rng.integers(len(sources.scenes))]
    target = min(_size(rng, size), 1.7 * np.sqrt(np.prod(box[2:] - box[:2])))
    centre = rng.uniform(0.15, 0.85, 2) * size
    if away:
        target = max(target, 0.4 * size)
        angle = rng.uniform(-0.2, 1.2) * np.pi
        centre = size / 2 - np.array([np.cos(angle), np.sin(angle)]) * (0.5 * size + 0.4 * target)
    mask = _rectangle(image.shape[:2], int(rng.integers(0, 4)))
    return _paste(background(rng, sources, size), image, mask, _placement(rng, box, target, centre))


def cutouts(rng: Rng, sources: Sources, size: int) -> np.ndarray:
    """One to three heads, cut softly from portraits or aligned crops, on a background."""
    canvas = background(rng, sources, size)
    for _ in range(rng.choice([1, 2, 3], p=[0.55, 0.3, 0.15])):
        target = _size(rng, size)
        centre = rng.uniform(0.1, 0.9, 2) * size
        if rng.random() < 0.4:
            image, box = sources.scenes[rng.integers(len(sources.scenes))]
            mask = _ellipse(image.shape[:2], box, rng.uniform(1.5, 3), rng.uniform(0.05, 0.5))
        else:
            image, box = sources.faces[rng.integers(len(sources.faces))][..., ::-1], CROP_FACE
            if rng.random() < 0.6:
                mask = _ellipse((112, 112), box, rng.uniform(1.1, 1.5), rng.uniform(0.05, 0.4))
            else:
                mask = _rectangle((112, 112), int(rng.integers(0, 10)))
        target = min(target, 1.7 * np.sqrt(np.prod(box[2:] - box[:2])))
        canvas = _paste(canvas, np.ascontiguousarray(image), mask, _placement(rng, box, target, centre))
    return canvas


def scene(rng: Rng, sources: Sources, size: int) -> np.ndarray:
    """One composed scene, uint8 BGR [size, size, 3]."""
    kind = rng.random()
    if kind < 0.37:
        return portrait(rng, sources, size, away=False)
    if kind < 0.70:
        return cutouts(rng, sources, size)
    if kind < 0.82:
        return portrait(rng, sources, size, away=True)
    return background(rng, sources, size)
