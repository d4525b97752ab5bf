"""Verification accuracy on labelled pairs of LFW (development folds).

Owns detection and alignment of the test images (cached as aligned faces), the pairs file and the measures.
Never trains on them.
"""

import zipfile
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from . import zips
from .whole import whole

# ArcFace 112x112 positions: right eye, left eye, nose, right and left mouth corner (x, y).
TEMPLATE = np.array([
    (38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041),
])


def similarity_transform(points: np.ndarray, onto: np.ndarray) -> np.ndarray:
    """[2, 3]: the least-squares rotation, scale and shift of `points` [K, 2] onto `onto`.

    Umeyama, "Least-squares estimation of transformation parameters between two point patterns" (1991).
    """
    a, b = points - points.mean(0), onto - onto.mean(0)
    u, s, vt = np.linalg.svd(b.T @ a)
    sign = np.diag([1.0, np.sign(np.linalg.det(u @ vt))])
    turn = u @ sign @ vt * (s @ np.diag(sign) / (a**2).sum())
    return np.column_stack([turn, onto.mean(0) - turn @ points.mean(0)])


def cut(image: np.ndarray, marks: np.ndarray) -> np.ndarray:
    """The face with the landmarks [5, 2], aligned to 112x112."""
    warp = similarity_transform(marks.astype(np.float64), TEMPLATE)
    return cv2.warpAffine(image, warp, (zips.SIZE, zips.SIZE), flags=cv2.INTER_LINEAR)


def align(detector, image: np.ndarray) -> np.ndarray | None:
    """The face nearest the middle of an RGB image, aligned to 112x112; `None` when there is none."""
    height, width = image.shape[:2]
    detector.setInputSize((width, height))
    _, faces = detector.detect(np.ascontiguousarray(image[:, :, ::-1]))
    if faces is None:
        return None
    middle = faces[:, :2] + faces[:, 2:4] / 2 - (width / 2, height / 2)
    face = faces[np.abs(middle).sum(1).argmin()]
    return cut(image, face[4:14].reshape(5, 2))


def aligned_lfw(shared: Path, runs: Path) -> tuple[np.ndarray, list[str]]:
    """The aligned test faces uint8 [N, 112, 112, 3] and their names; made at the first call.

    An image without a found face is cut out where LFW faces usually are.
    """
    cache = runs / "lfw"
    if not (cache / "images.npy").exists():
        model = str(shared / "models" / "face_detection_yunet_2023mar.onnx")
        detector = cv2.FaceDetectorYN.create(model, "", (250, 250), 0.6, 0.3)
        archive = zipfile.ZipFile(shared / "data" / "lfw" / "lfw_dev.zip")
        names = zips.image_names(archive)
        images = np.zeros((len(names), zips.SIZE, zips.SIZE, 3), dtype=np.uint8)
        for row, name in enumerate(tqdm(names, desc="align", mininterval=5)):
            image = zips.read_rgb(archive, name)
            face = align(detector, image)
            images[row] = cv2.resize(image[65:185, 65:185], (zips.SIZE,) * 2) if face is None else face
        with whole(cache / "images.npy") as path:
            np.save(path, images)
            (cache / "names.txt").write_text("".join(f"{n}\n" for n in names))
    return zips.load(cache)


def read_pairs(path: Path, names: list[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows [P, 2] of the images of each pair, whether it is one person [P], and its fold [P].

    The file is LFW's: a header `folds pairs`, then per fold first the mated pairs (name, i, j), then the
    others (name, i, name, j).
    """
    row = {Path(n).stem: k for k, n in enumerate(names)}
    lines = [line.split() for line in path.read_text().splitlines() if line.strip()]
    per_fold = int(lines[0][1]) * 2
    stem = lambda person, number: f"{person}_{int(number):04d}"
    pairs, same = [], []
    for words in lines[1:]:
        same.append(len(words) == 3)
        first = stem(words[0], words[1])
        second = stem(words[0], words[2]) if len(words) == 3 else stem(words[2], words[3])
        pairs.append((row[first], row[second]))
    return np.array(pairs), np.array(same), np.arange(len(pairs)) // per_fold


def best_threshold(similarity: np.ndarray, same: np.ndarray) -> float:
    """The threshold with the most right answers; the middle of the gap it lies in."""
    order = np.argsort(similarity)
    s, mated = similarity[order], same[order]
    right = np.append(0, np.cumsum(~mated)) + mated.sum() - np.append(0, np.cumsum(mated))
    k = int(right.argmax())
    edges = np.concatenate([[s[0] - 1e-6], (s[1:] + s[:-1]) / 2, [s[-1] + 1e-6]])
    return float(edges[k])


def accuracy(similarity: np.ndarray, same: np.ndarray, fold: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation over folds, each judged with the threshold of the other folds."""
    results = []
    for f in np.unique(fold):
        threshold = best_threshold(similarity[fold != f], same[fold != f])
        results.append(((similarity[fold == f] > threshold) == same[fold == f]).mean())
    return float(np.mean(results)), float(np.std(results))


def true_accept_rate(similarity: np.ndarray, same: np.ndarray, fmr: float) -> float:
    """Share of mated pairs accepted at the threshold that `fmr` of the other pairs exceed."""
    others = np.sort(similarity[~same])[::-1]
    threshold = others[int(fmr * len(others))]
    return float((similarity[same] > threshold).mean())


def evaluate(embeddings: np.ndarray, pairs, same, fold) -> dict[str, float]:
    """The measures of unit-norm embeddings [N, D], in per cent, and the equal error rate."""
    similarity = (embeddings[pairs[:, 0]] * embeddings[pairs[:, 1]]).sum(1)
    mean, deviation = accuracy(similarity, same, fold)
    thresholds = np.sort(similarity)
    fmr = 1 - np.searchsorted(np.sort(similarity[~same]), thresholds) / (~same).sum()
    fnmr = np.searchsorted(np.sort(similarity[same]), thresholds) / same.sum()
    k = int(np.abs(fmr - fnmr).argmin())
    return {
        "accuracy": 100 * mean, "deviation": 100 * deviation,
        "tar_1e-2": 100 * true_accept_rate(similarity, same, 1e-2),
        "tar_1e-3": 100 * true_accept_rate(similarity, same, 1e-3),
        "eer": 50 * float(fmr[k] + fnmr[k]),
    }


def of_all_pairs(embeddings: np.ndarray, person: np.ndarray) -> dict[str, float]:
    """True accept rates in per cent over every pair of unit-norm embeddings [N, D], `person` [N] known.

    Thousands of mated pairs and millions of others tell models apart that the list of pairs does not.
    """
    rows = np.triu_indices(len(embeddings), 1)
    similarity, same = (embeddings @ embeddings.T)[rows], (person[:, None] == person[None])[rows]
    return {f"all_tar_{fmr:.0e}".replace("e-0", "e-"): 100 * true_accept_rate(similarity, same, fmr)
            for fmr in (1e-3, 1e-4, 1e-5)}
