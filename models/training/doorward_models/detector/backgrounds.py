"""Backgrounds without faces: pieces of photographs and drawn scenes.

Drawn ones (flat colours, gradients, shapes, lettering, clouds) keep the detector quiet on pictures that
are not photographs, and let it find faces in front of them.
"""

import string

import cv2
import numpy as np

Rng = np.random.Generator
SKIN = np.array([120, 160, 205], np.float32)


def photograph(rng: Rng, images: list[np.ndarray], size: int) -> np.ndarray:
    """A random piece of a random photograph, scaled 0.5 to 1.6, mirrored at its borders."""
    image = images[rng.integers(len(images))]
    scale = np.exp(rng.uniform(np.log(0.5), np.log(1.6)))
    x = rng.uniform(0, max(image.shape[1] - size / scale, 1))
    y = rng.uniform(0, max(image.shape[0] - size / scale, 1))
    flip = -1 if rng.random() < 0.5 else 1
    matrix = np.array([[flip * scale, 0, -x * flip * scale + (size if flip < 0 else 0)], [0, scale, -y * scale]])
    return cv2.warpAffine(image, matrix, (size, size), flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REFLECT)


def _colour(rng: Rng) -> tuple[float, ...]:
    if rng.random() < 0.2:
        return tuple(float(v) for v in np.clip(SKIN * rng.uniform(0.3, 1.2), 0, 255))
    return tuple(float(v) for v in rng.uniform(0, 255, 3))


def _gradient(rng: Rng, size: int) -> np.ndarray:
    angle = rng.uniform(0, 2 * np.pi)
    y, x = np.mgrid[:size, :size] / size - 0.5
    t = np.clip(0.5 + x * np.cos(angle) + y * np.sin(angle), 0, 1)[..., None]
    return (t * np.array(_colour(rng)) + (1 - t) * np.array(_colour(rng))).astype(np.uint8)


def _clouds(rng: Rng, size: int) -> np.ndarray:
    n = int(rng.integers(2, 24))
    coarse = np.clip(rng.normal(rng.uniform(60, 190), rng.uniform(5, 60), (n, n, 3)), 0, 255)
    if rng.random() < 0.5:
        coarse[:] = coarse[..., :1]
    smooth = cv2.resize(coarse.astype(np.float32), (size, size), interpolation=cv2.INTER_CUBIC)
    return np.clip(smooth, 0, 255).astype(np.uint8)


def _shapes(rng: Rng, canvas: np.ndarray) -> None:
    size = canvas.shape[0]
    for _ in range(rng.integers(1, 16)):
        a, b = (tuple(int(v) for v in rng.integers(0, size, 2)) for _ in range(2))
        thick = -1 if rng.random() < 0.7 else int(rng.integers(1, 8))
        kind = rng.integers(4)
        if kind == 0:
            cv2.rectangle(canvas, a, b, _colour(rng), thick)
        elif kind == 1:
            axes = tuple(int(v) for v in rng.integers(2, size // 3, 2))
            cv2.ellipse(canvas, a, axes, rng.uniform(0, 180), 0, 360, _colour(rng), thick, cv2.LINE_AA)
        elif kind == 2:
            cv2.line(canvas, a, b, _colour(rng), int(rng.integers(1, 12)), cv2.LINE_AA)
        else:
            text = "".join(rng.choice(list(string.printable[:94]), int(rng.integers(1, 9))))
            font, scale, thick = int(rng.integers(8)), rng.uniform(0.4, 3), int(rng.integers(1, 6))
            cv2.putText(canvas, text, a, font, scale, _colour(rng), thick)


def drawn(rng: Rng, size: int) -> np.ndarray:
    """A drawn scene: flat, gradient or clouds, mostly with shapes and lettering on it."""
    kind = rng.random()
    if kind < 0.3:
        canvas = np.full((size, size, 3), _colour(rng), np.uint8)
    elif kind < 0.65:
        canvas = _gradient(rng, size)
    else:
        canvas = _clouds(rng, size)
    if rng.random() < 0.75:
        _shapes(rng, canvas)
    if rng.random() < 0.3:
        canvas = cv2.GaussianBlur(canvas, (0, 0), rng.uniform(0.5, 4))
    return canvas
