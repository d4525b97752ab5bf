"""What cameras, night and weather do to a frame, applied to the student's input only.

Light, infrared grey, blur, noise and compression; never geometry, so labels stay valid.
"""

import cv2
import numpy as np

Rng = np.random.Generator


def _light(rng: Rng, image: np.ndarray) -> np.ndarray:
    """Gain, gamma and offset per channel, through one table."""
    gamma, gain = np.exp(rng.normal(0, 0.3)), np.exp(rng.normal(0, 0.25))
    if rng.random() < 0.15:
        gain *= rng.uniform(0.2, 0.6)
    tint = np.exp(rng.normal(0, 0.08, 3))
    ramp = (np.arange(256)[:, None] / 255) ** gamma * gain * tint * 255 + rng.normal(0, 8)
    return cv2.LUT(image, np.clip(ramp, 0, 255).astype(np.uint8)[None])


def _infrared(rng: Rng, image: np.ndarray) -> np.ndarray:
    weights = rng.dirichlet([2, 3, 4]).astype(np.float32)
    grey = cv2.transform(image, weights[None])
    return cv2.cvtColor(np.clip(grey, 0, 255).astype(np.uint8), cv2.COLOR_GRAY2BGR)


def _shade(rng: Rng, image: np.ndarray) -> np.ndarray:
    """A smooth light field: a lamp in the frame, vignetting, one bright side."""
    coarse = np.exp(rng.normal(0, 0.45, (3, 3))).astype(np.float32)
    field = cv2.resize(coarse, image.shape[1::-1], interpolation=cv2.INTER_CUBIC)
    return np.clip(image * np.clip(field, 0.1, 4)[..., None], 0, 255).astype(np.uint8)


def _blur(rng: Rng, image: np.ndarray) -> np.ndarray:
    kind = rng.random()
    if kind < 0.5:
        return cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.6))
    if kind < 0.75:
        kernel = np.zeros((7, 7), np.float32)
        angle, reach = rng.uniform(0, np.pi), rng.uniform(1, 3.4)
        tip = (3.5 + reach * np.array([np.cos(angle), np.sin(angle)])).astype(int)
        cv2.line(kernel, (6 - tip[0], 6 - tip[1]), (int(tip[0]), int(tip[1])), 1.0)
        return cv2.filter2D(image, -1, kernel / kernel.sum())
    small = cv2.resize(image, None, fx=(f := rng.uniform(0.4, 0.9)), fy=f, interpolation=cv2.INTER_AREA)
    return cv2.resize(small, image.shape[1::-1], interpolation=int(rng.integers(0, 3)))


def _noise(rng: Rng, image: np.ndarray) -> np.ndarray:
    shape = image.shape if rng.random() < 0.6 else (*image.shape[:2], 1)
    noise = rng.standard_normal(shape, np.float32) * np.float32(np.exp(rng.uniform(0.5, 3.0)))
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def _jpeg(rng: Rng, image: np.ndarray) -> np.ndarray:
    quality = int(rng.integers(20, 85))
    return cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], 1)


STEPS = ((_shade, 0.2), (_light, 0.7), (_infrared, 0.25), (_blur, 0.25), (_noise, 0.35), (_jpeg, 0.3))


def degrade(rng: Rng, image: np.ndarray) -> np.ndarray:
    """A random worsening of a uint8 BGR image; one in six is left as it is."""
    if rng.random() < 1 / 6:
        return image
    for step, chance in STEPS:
        if rng.random() < chance:
            image = step(rng, image)
    return image
