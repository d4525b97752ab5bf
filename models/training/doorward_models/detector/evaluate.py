"""Measuring a detector file: faces found, landmark error, false alarms, and what alignment costs verification.

Faces come from the development part of LFW, which training never sees; the reference is the teacher. False
alarms come from the held-out negatives. Writes nothing but the reference cache.
"""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from .. import calibrate
from ..evaluate import accuracy, cut, read_pairs
from ..teacher import session
from ..whole import whole
from . import grid, sources
from .model_file import Detector

MOVE = 4
"""Pixels that an image is moved by to see how far the teacher agrees with itself."""
SHRINK = 0.8
"""Share of its size that an image is reduced to for the same."""
THRESHOLDS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8)


def lfw(shared: Path) -> list[tuple[str, np.ndarray]]:
    """Names and BGR images of the development part of LFW."""
    return sources.read_bgr(shared / "data/lfw/lfw_dev.zip")


def central(faces: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The face nearest the middle of the image, [0, 15] or [1, 15]: an LFW image is about that one."""
    middle = np.array(shape[1::-1]) / 2
    distance = np.linalg.norm((faces[:, :2] + faces[:, 2:4]) / 2 - middle, axis=1)
    return faces[np.argsort(distance)[:1]]


def reference(images: list, teacher: Detector, cache: Path) -> np.ndarray:
    """The teacher's central face in every image, float32 [n, 15], computed once."""
    if not cache.exists():
        found = [central(teacher.faces(i, 0.6), i.shape) for _, i in tqdm(images, "reference", mininterval=10)]
        if any(len(f) == 0 for f in found):
            raise ValueError("the teacher misses a face, so it cannot be the reference")
        with whole(cache) as path:
            np.save(path, np.concatenate(found))
    return np.load(cache)


def match(images: list, wanted: np.ndarray, detector: Detector) -> np.ndarray:
    """The detector's face that best overlaps each reference face, [n, 15]; score 0 where none does by half."""
    matched = np.zeros_like(wanted)
    for row, (_, image) in enumerate(tqdm(images, "faces", mininterval=10)):
        found = detector.faces(image, THRESHOLDS[0])
        overlap = grid.iou(wanted[row : row + 1], found)[0] if len(found) else np.zeros(1)
        if overlap.max() >= 0.5:
            matched[row] = found[overlap.argmax()]
    return matched


def landmark_error(matched: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Mean distance of the five landmarks over the eye distance, for the faces found."""
    seen = matched[:, -1] > 0
    a, b = (f[seen, 4:14].reshape(-1, 5, 2) for f in (matched, wanted))
    eyes = np.linalg.norm(b[:, 0] - b[:, 1], axis=1)
    return np.linalg.norm(a - b, axis=2).mean(1) / eyes


def moved(images: list, pixels: int) -> list:
    """The same images, their content that much further right and down, the border repeated."""
    around = ((pixels, 0), (pixels, 0), (0, 0))
    return [(name, np.pad(i, around, "edge")[: i.shape[0], : i.shape[1]]) for name, i in images]


def shrunk(images: list, scale: float) -> list:
    """The same images at `scale` times their size."""
    return [(name, cv2.resize(i, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)) for name, i in images]


def false_alarms(images: list[np.ndarray], detector: Detector, teacher: Detector) -> np.ndarray:
    """Scores of the faces that the detector reports and the teacher (from 0.5) does not."""
    scores = []
    for image in tqdm(images, "false alarms", mininterval=10):
        found, real = detector.faces(image, THRESHOLDS[0]), teacher.faces(image, 0.5)
        alone = (grid.iou(found, real) < 0.3).all(1) if len(real) else np.ones(len(found), bool)
        scores.extend(found[alone, -1])
    return np.array(scores)


def embed(images: list, faces: np.ndarray, embedder: Path, threads: int) -> np.ndarray:
    """Unit embeddings [n, D]; zero where the face was not found."""
    seen = np.flatnonzero(faces[:, -1] > 0)
    crops = np.stack([cut(images[r][1][..., ::-1], faces[r, 4:14].reshape(5, 2)) for r in seen])
    found = calibrate.embed(session(str(embedder), threads), crops)
    vectors = np.zeros((len(faces), found.shape[1]), np.float32)
    vectors[seen] = found
    return vectors


@dataclass(frozen=True)
class Figures:
    """What was measured of a detector file, on LFW's development faces and on the held-out photographs."""

    images: int
    landmarks: float  # median error, of all faces found from the lowest threshold on
    found: dict[float, float]  # threshold -> share of the faces
    photographs: int  # held out
    false: dict[float, int]  # threshold -> faces reported on those

    def operating_point(self) -> float:
        """The lowest threshold with at most one false face per hundred photographs; `ValueError` without one."""
        quiet = [t for t in THRESHOLDS if self.false[t] <= self.photographs / 100]
        if not quiet:
            raise ValueError(f"{self.false[THRESHOLDS[-1]]} false faces on {self.photographs} photographs at the "
                             "highest threshold: more than one in a hundred")
        return min(quiet)

    def __str__(self) -> str:
        at = self.operating_point()
        return (f"at score {at}, chosen on these images: {100 * self.found[at]:.2f} % of {self.images:,} LFW "
                f"development faces, {self.false[at]} false faces on {self.photographs} held-out photographs; median "
                f"landmark distance to YuNet {100 * self.landmarks:.1f} % of the eye distance")


def evaluate(
    model: Path, teacher: Path, shared: Path, runs: Path, threads: int, limit: int = 0, verify: bool = False
) -> Figures:
    """Prints and returns the figures of a detector file; `limit` takes every k-th LFW image to have about that many."""
    judge, detector = Detector(teacher, threads), Detector(model, threads)
    images = lfw(shared)
    wanted = reference(images, judge, runs / "lfw_reference.npy")
    step = max(1, len(images) // limit) if limit else 1
    images, wanted = images[::step], wanted[::step]
    matched = match(images, wanted, detector)
    error = landmark_error(matched, wanted)
    print(f"{model.name}: {model.stat().st_size} bytes, {len(images)} LFW images")
    if not len(error):
        raise SystemExit("not one face found")
    middle, high = np.quantile(error, (0.5, 0.95))
    print(f"landmark error: median {middle:.2%}, 95th percentile {high:.2%} of the eye distance")
    changed = {
        f"moved by {MOVE} pixels": (moved(images, MOVE), wanted + np.append(np.full(grid.FACE - 1, MOVE), 0)),
        f"at {SHRINK} of its size": (shrunk(images, SHRINK), wanted * np.append(np.full(grid.FACE - 1, SHRINK), 1)),
    }
    for words, (others, there) in changed.items():
        own = np.median(landmark_error(match(others, there, judge), there))
        print(f"the teacher against itself, the image {words}: median {own:.2%}")
    alarms = {part: sources.negatives(shared, part == "held out") for part in ("held out", "trained on")}
    scores = {part: false_alarms(photos, detector, judge) for part, photos in alarms.items()}
    for threshold in THRESHOLDS:
        line = f"score {threshold:.1f}: {np.mean(matched[:, -1] >= threshold):.2%} of faces"
        for part, photos in alarms.items():
            line += f", {np.sum(scores[part] >= threshold) * 100 / len(photos):.2f} false per 100 {part}"
        print(line)
    if verify:
        embedder = shared / "models" / "mobilefacenet_mbf_512d_fp32.onnx"
        pairs, same, fold = read_pairs(shared / "data/lfw/pairs_dev.txt", [name for name, _ in images])
        for name, faces in (("teacher", wanted), ("detector", matched)):
            vectors = embed(images, faces, embedder, threads)
            right, _ = accuracy((vectors[pairs[:, 0]] * vectors[pairs[:, 1]]).sum(1), same, fold)
            print(f"LFW verification, {name}'s landmarks: {right:.2%}")
    return Figures(len(images), float(middle), {t: float(np.mean(matched[:, -1] >= t)) for t in THRESHOLDS},
                   len(alarms["held out"]), {t: int(np.sum(scores["held out"] >= t)) for t in THRESHOLDS})
