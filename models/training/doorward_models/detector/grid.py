"""The detector's output grid: cells, decoding and non-maximum suppression.

Owns the geometry that teacher, student and evaluation share. A face is a row of 15 numbers in pixels:
x1 y1 x2 y2, five landmarks as x y (right eye, left eye, nose, right and left mouth corner), score 0..1.
"""

import numpy as np

STRIDES = (8, 16, 32)
FACE = 15
SAME_FACE = 0.6
"""Boxes that overlap this much speak of the same face."""
OVERLAP = 0.3
"""A box that overlaps a better one more than this is left out."""


def cells(height: int, width: int) -> np.ndarray:
    """Column, row and stride of every cell, float32 [N, 3], in output order. Sizes are multiples of 32."""
    if height % STRIDES[-1] or width % STRIDES[-1]:
        raise ValueError(f"{width}x{height} is not a multiple of {STRIDES[-1]}")
    levels = []
    for stride in STRIDES:
        rows, columns = np.mgrid[: height // stride, : width // stride]
        levels.append(np.stack([columns.ravel(), rows.ravel(), np.full(rows.size, stride)], 1))
    return np.concatenate(levels).astype(np.float32)


def decode(raw: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """Network values [..., N, 16] (cls, obj, 4 box, 10 landmarks; cls and obj after sigmoid) -> faces [..., N, 15]."""
    stride = grid[:, 2:]
    centre = (grid[:, :2] + raw[..., 2:4]) * stride
    half = np.exp(np.clip(raw[..., 4:6], -10, 10)) * stride / 2
    marks = (np.tile(grid[:, :2], 5) + raw[..., 6:16]) * stride
    score = np.sqrt(np.clip(raw[..., :1], 0, 1) * np.clip(raw[..., 1:2], 0, 1))
    return np.concatenate([centre - half, centre + half, marks, score], -1)


def iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Intersection over union of boxes [A, >=4] and [B, >=4] -> [A, B]."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:4], b[None, :, 2:4])
    inter = np.prod(np.clip(high - low, 0, None), -1)
    area_a, area_b = (np.prod(f[:, 2:4] - f[:, :2], -1) for f in (a, b))
    return inter / np.maximum(area_a[:, None] + area_b[None] - inter, 1e-9)


def suppress(faces: np.ndarray, score: float, overlap: float = OVERLAP) -> np.ndarray:
    """Faces [N, 15] scoring at least `score`, best first, without those overlapping a better one.

    Landmarks are the mean over all that speak of the same face, weighted by score, as in the daemon.
    """
    faces = faces[faces[:, -1] >= score]
    faces = said = faces[np.argsort(-faces[:, -1])]
    kept = []
    while len(faces):
        kept.append(faces[0].copy())
        agreed = said[iou(faces[:1], said)[0] >= SAME_FACE]
        if len(agreed):  # a box without an area overlaps nothing, not even itself
            kept[-1][4:14] = np.average(agreed[:, 4:14], axis=0, weights=agreed[:, -1])
        faces = faces[1:][iou(faces[:1], faces[1:])[0] <= overlap]
    return np.array(kept, np.float32).reshape(-1, FACE)


def side(faces: np.ndarray) -> np.ndarray:
    """Geometric mean of box width and height, pixels."""
    return np.sqrt(np.prod(np.clip(faces[:, 2:4] - faces[:, :2], 1e-3, None), -1))


def pad(image: np.ndarray) -> np.ndarray:
    """Black pixels at the right and bottom up to the next multiple of 32."""
    height, width = (-n % STRIDES[-1] for n in image.shape[:2])
    return np.pad(image, ((0, height), (0, width), (0, 0)))
