"""From cosine similarity to false-match rate (FMR).

Owns the impostor distribution of an embedder: millions of comparisons between faces of different people,
counted in a histogram, with a fitted tail below what can be counted. Never looks at thresholds in use.
"""

from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from .teacher import normalise

LEVELS = (1e-1, 3e-2, 1e-2, 3e-3, 1e-3, 3e-4, 1e-4, 3e-5, 1e-5, 1e-6, 1e-7)
SAME_PERSON = 0.4  # teacher cosine above which two faces are taken for one person
BINS = 20_000  # over cosines -1 .. 1
COUNTED = 100  # comparisons that a measured row needs above its similarity
LEAST = 1000 * COUNTED  # comparisons, so that a decade of the tail is counted
BLOCK = 2048


@dataclass(frozen=True)
class Table:
    """Cosine similarity exceeded by the given share of impostor comparisons."""

    pairs: int
    fmr: tuple[float, ...]
    similarity: tuple[float, ...]
    measured_down_to: float


def unit(vectors: np.ndarray) -> np.ndarray:
    """Rows [N, D] at unit norm."""
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def embed(net, images: np.ndarray, description: str = "embed", prepare=normalise, mirrored: bool = False,
          batch: int = 64) -> np.ndarray:
    """Unit-norm embeddings float32 [N, D] of uint8 [N, 112, 112, 3] by an ONNX Runtime session.

    `prepare` makes the network's input of a batch of images. Of a `mirrored` model the answers to an image and
    to its mirror image are added.
    """
    source = net.get_inputs()[0]
    batch = source.shape[0] if isinstance(source.shape[0], int) else batch
    views = [slice(None), slice(None, None, -1)][: 1 + mirrored]
    parts = [
        sum(net.run(None, {source.name: prepare(images[row : row + batch, :, columns])})[0] for columns in views)
        for row in tqdm(range(0, len(images), batch), desc=description, mininterval=10)
    ]
    return unit(np.concatenate(parts).astype(np.float32).reshape(len(images), -1))


def impostor_histogram(embeddings: np.ndarray, teacher: np.ndarray, person: np.ndarray) -> np.ndarray:
    """Counts [BINS] of the cosines of all pairs that are certainly two people.

    `embeddings` [N, D] and `teacher` [N, E] have unit norm. A pair is left out when both faces bear one
    known identity or when the teacher's cosine exceeds `SAME_PERSON`.
    """
    counts = np.zeros(BINS, dtype=np.int64)
    for a in range(0, len(embeddings), BLOCK):
        for b in range(a, len(embeddings), BLOCK):
            rows, columns = slice(a, a + BLOCK), slice(b, b + BLOCK)
            cosines = embeddings[rows] @ embeddings[columns].T
            impostors = teacher[rows] @ teacher[columns].T <= SAME_PERSON
            same = person[rows, None] == person[None, columns]
            impostors &= ~(same & (person[rows, None] >= 0))
            if a == b:
                impostors &= np.triu(np.ones(impostors.shape, dtype=bool), 1)
            bins = ((cosines[impostors] + 1) * (BINS / 2)).astype(np.int64).clip(0, BINS - 1)
            counts += np.bincount(bins, minlength=BINS)
    return counts


def table(counts: np.ndarray) -> Table:
    """The table of a histogram of impostor cosines.

    Rows with at least `COUNTED` comparisons above them are counted. The rest follow a parabola through
    the logarithm of the counted tail (what a Gaussian tail looks like), from FMR 1e-2 downwards, over
    Fisher's artanh(cosine), so that no similarity reaches 1. A tail that falls ever slower, as where
    mates are hidden among the impostors, goes on as a line through its last counted decade. Raises `ValueError` for
    fewer than `LEAST` comparisons.
    """
    pairs = int(counts.sum())
    if pairs < LEAST:
        raise ValueError(f"{pairs} comparisons of different people, {LEAST} needed: more faces")
    survival = np.append(counts[::-1].cumsum()[::-1], 0) / pairs  # share at or above the left edge of a bin
    edges = np.linspace(-1, 1, BINS + 1)
    floor = COUNTED / pairs
    at = lambda level: float(np.interp(-np.log(level), -np.log(np.maximum(survival, 1e-30)), edges))

    def fitted(lowest: float, highest: float, degree: int) -> np.ndarray:
        levels = np.geomspace(lowest, highest, 40)
        return np.polyfit(np.arctanh([at(level) for level in levels]), np.log(levels), degree)

    lowest = max(floor, 1e-6)
    fit = fitted(lowest, 1e-2, 2)
    if fit[0] >= 0:
        fit = np.append(0.0, fitted(lowest, 10 * lowest, 1))
    tail = lambda level: float(np.tanh(_solve(fit, level)))
    similarity = tuple(round(at(level) if level >= floor else tail(level), 4) for level in LEVELS)
    return Table(pairs, LEVELS, similarity,
                 min(level for level in LEVELS if level >= floor))


def _solve(fit: np.ndarray, level: float) -> float:
    """Where the falling side of the fitted parabola reaches `level`."""
    a, b, c = fit[0], fit[1], fit[2] - np.log(level)
    if abs(a) < 1e-9:
        return float(-c / b)
    roots = np.roots([a, b, c])
    falling = [r.real for r in roots if abs(r.imag) < 1e-9 and 2 * a * r.real + b < 0]
    if not falling:
        raise ValueError("the tail of the impostor distribution does not fall like a Gaussian one")
    return float(max(falling)) if a < 0 else float(min(falling))


def share_above(embeddings: np.ndarray, person: np.ndarray, similarity: float) -> float:
    """Share of the pairs of different people (`person` [N], all known) whose cosine exceeds `similarity`."""
    counts = impostor_histogram(embeddings, np.zeros((len(embeddings), 1), np.float32), person)
    return float(counts[int((similarity + 1) * BINS / 2) :].sum() / counts.sum())


def toml(t: Table, name: str, data: str) -> str:
    """The manifest section of a table."""
    number = lambda values, form: ", ".join(form.format(v) for v in values)
    return "\n".join([
        f"[models.{name}.calibration.cosine]", f"pairs = {t.pairs}", f'data = "{data}"',
        f"fmr = [{number(t.fmr, '{:g}')}]", f"similarity = [{number(t.similarity, '{:.4f}')}]",
        f"measured_down_to = {t.measured_down_to:g}", "",
    ])
