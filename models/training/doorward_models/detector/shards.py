"""Scenes with the teacher's labels, written in shards of equal size and read back as memory maps.

A shard holds `images` uint8 [n, S, S, 3] BGR, `target` uint8 [n, N] (wanted score of each cell, 0..255),
`owner` int8 [n, N] (face that a cell belongs to, or NONE, or IGNORE) and `faces` float32 [n, F, 15].
Labels are taken before any degradation, so that dark or blurred scenes keep the labels of clean ones.
"""

from pathlib import Path

import numpy as np
from tqdm import tqdm

from ..whole import whole
from . import compose, grid
from .model_file import Detector
from .sources import Sources

MOST_FACES = 8
NONE, IGNORE = -1, -2
FIELDS = ("images", "target", "owner", "faces")
CERTAIN, DOUBTFUL = 0.65, 0.25
"""Teacher scores from which a face counts, and from which its cells are left alone."""
SMALLEST = 20.0
"""Faces below this side in pixels are neither taught nor punished."""


def label(cells: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What the teacher says in every cell [N, 15] -> target [N], owner [N], faces [MOST_FACES, 15]."""
    score = cells[:, -1]
    found = grid.suppress(cells, DOUBTFUL)[:MOST_FACES]
    target = (np.clip((score - 0.1) / 0.75, 0, 1) * 255).astype(np.uint8)
    owner = np.full(len(cells), NONE, np.int8)
    lively = np.flatnonzero(score > 0.1)
    faces = np.zeros((MOST_FACES, grid.FACE), np.float32)
    if len(found):
        faces[: len(found)] = found
        shared = grid.iou(cells[lively], found)
        best = shared.argmax(1)
        width, height = (found[:, 2:4] - found[:, :2]).T
        plausible = (width < 1.5 * height) & (height < 2.2 * width)
        usable = (found[:, -1] >= CERTAIN) & (grid.side(found) >= SMALLEST) & plausible
        clear = (shared.max(1) > 0.5) & usable[best]
        doubtful = ~clear & (score[lively] > 0.2)
        owner[lively[clear]] = best[clear]
        owner[lively[doubtful]] = IGNORE
    target[owner == NONE] = 0
    return target, owner, faces


def write(folder: Path, index: int, count: int, size: int, sources: Sources, teacher: Detector) -> None:
    """Composes and labels one shard; the shard's number is its seed."""
    rng = np.random.default_rng([size, index])
    cells = len(grid.cells(size, size))
    arrays = {
        "images": np.zeros((count, size, size, 3), np.uint8),
        "target": np.zeros((count, cells), np.uint8),
        "owner": np.zeros((count, cells), np.int8),
        "faces": np.zeros((count, MOST_FACES, grid.FACE), np.float32),
    }
    for start in tqdm(range(0, count, 32), desc=f"shard {size}-{index:03}", mininterval=10):
        rows = range(start, min(start + 32, count))
        for row in rows:
            arrays["images"][row] = compose.scene(rng, sources, size)
        for row, said in zip(rows, teacher.cells(arrays["images"][rows.start : rows.stop])):
            arrays["target"][row], arrays["owner"][row], arrays["faces"][row] = label(said)
    with whole(folder / f"{size}-{index:03}") as path:
        path.mkdir(exist_ok=True)
        for name in FIELDS:
            np.save(path / f"{name}.npy", arrays[name])


class Shard:
    """Read access to one shard."""

    def __init__(self, path: Path):
        self.images, self.target, self.owner, self.faces = (
            np.load(path / f"{name}.npy", mmap_mode="r") for name in FIELDS
        )

    def __len__(self) -> int:
        return len(self.images)


def complete(folder: Path, size: int, least: int = 1) -> list[Path]:
    """Finished shards of one scene size, in order. Raises `ValueError` when they hold fewer than `least` scenes."""
    found = sorted(p for p in folder.glob(f"{size}-*") if p.suffix != ".partial")
    scenes = sum(len(Shard(p)) for p in found)
    if scenes < least:
        raise ValueError(f"{scenes} scenes of {size} pixels in {folder}, {least} needed: compose them first")
    return found
