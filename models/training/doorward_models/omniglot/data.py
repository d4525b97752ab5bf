"""Omniglot (Lake et al. 2015): small background sets and the 20 one-shot runs, read from their zips.

Owns the reading only. Drawings are float32 with ink 1 and paper 0.
"""

import io
import zipfile
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

SIZE = 28
RUNS = 20


def drawing(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    """One drawing [SIZE, SIZE], each pixel the mean of those it covers."""
    with Image.open(io.BytesIO(archive.read(name))) as image:
        small = image.convert("L").resize((SIZE, SIZE), Image.Resampling.BOX)
    return 1 - np.asarray(small, np.float32) / 255


def background(shared: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Drawings [N, SIZE, SIZE] of the background set `name`, and their characters [N], from 0."""
    archive = zipfile.ZipFile(shared / "data" / "omniglot" / f"images_background_{name}.zip")
    names = sorted(n for n in archive.namelist() if n.endswith(".png"))
    folders = [str(PurePosixPath(n).parent) for n in names]
    return np.stack([drawing(archive, n) for n in names]), np.unique(folders, return_inverse=True)[1]


def one_shot_runs(shared: Path) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Of each run: one drawing of each of 20 characters, 20 drawings to name, and the right row for each."""
    archive, runs = zipfile.ZipFile(shared / "data" / "omniglot" / "all_runs.zip"), []
    for run in range(1, RUNS + 1):
        pairs = [line.split() for line in archive.read(f"run{run:02}/class_labels.txt").decode().splitlines()]
        known = sorted({b for _, b in pairs})
        read = lambda names: np.stack([drawing(archive, n) for n in names])
        runs.append((read(known), read([a for a, _ in pairs]), np.array([known.index(b) for _, b in pairs])))
    return runs


def turned(drawings: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eight times as many characters: each one turned by quarters, and each of these mirrored."""
    quarters = [np.rot90(side, k, (1, 2)) for side in (drawings, drawings[:, :, ::-1]) for k in range(4)]
    count = labels.max() + 1
    return np.concatenate(quarters), np.concatenate([labels + count * k for k in range(8)])
