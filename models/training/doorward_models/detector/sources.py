"""The photographs that scenes are made of, decoded once into memory.

Owns the split of the negatives: one in four is held out for the false-alarm figure and never trained on.
"""

import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .. import zips
from .model_file import Detector

HELD_OUT = 4


def read_bgr(path: Path) -> list[tuple[str, np.ndarray]]:
    """Name and uint8 BGR pixels of every image in an archive."""
    with zipfile.ZipFile(path) as archive:
        return [(n, zips.read_rgb(archive, n)[..., ::-1].copy()) for n in zips.image_names(archive)]


def negatives(shared: Path, held_out: bool) -> list[np.ndarray]:
    """Photographs without (or nearly without) people: the training part or the held-out part."""
    images = read_bgr(shared / "data/negatives/bsds500_384.zip")
    return [i for n, i in images if (zlib.crc32(n.encode()) % HELD_OUT == 0) == held_out]


@dataclass
class Sources:
    """`scenes`: portrait and the box of its best face; `faces`: aligned 112x112 RGB crops."""

    scenes: list[tuple[np.ndarray, np.ndarray]]
    negatives: list[np.ndarray]
    faces: np.ndarray

    @classmethod
    def load(cls, shared: Path, runs: Path, teacher: Detector) -> "Sources":
        """Reads the archives below `shared/data` and finds the face of every scene."""
        scenes = []
        for _, image in read_bgr(shared / "data/scenes/aaf_1500_320.zip"):
            found = teacher.faces(image, 0.6)
            if len(found):
                scenes.append((image, found[0, :4]))
        return cls(scenes, negatives(shared, held_out=False), zips.faces(shared, runs)[0])
