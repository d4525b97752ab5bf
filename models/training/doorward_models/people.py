"""What the names in the distillation collections say about the people in them.

Owns the naming rules of each collection: `glint/<person>/`, UTKFace's `<age>_...`, All-Age-Faces'
`<number>A<age>`. Never looks at an image.
"""

import re
import zipfile
from pathlib import Path, PurePosixPath

import numpy as np

GROWN_UP = 16  # years
MASKED = ("fmcd", "mux", "rmfd")  # collections with masks and many pictures of few people
AGE = {"utk": re.compile(r"(\d+)_"), "aaf": re.compile(r"\d+A(\d+)")}


def origins(zips: list[Path]) -> dict[str, str]:
    """The original file name of each face, from the `index.tsv` of the archives."""
    found = {}
    for path in zips:
        with zipfile.ZipFile(path) as archive:
            for line in archive.read("index.tsv").decode().splitlines():
                name, origin, *_ = line.split("\t")
                found[name] = origin
    return found


def identities(names: list[str]) -> np.ndarray:
    """Known identities: the folder below `glint/` as a number, -1 where nothing is known."""
    folders = [PurePosixPath(n).parent.as_posix() for n in names]
    known = {f: i for i, f in enumerate(sorted(f for f in set(folders) if f.startswith("glint/")))}
    return np.array([known.get(f, -1) for f in folders])


def mates(person: np.ndarray) -> int:
    """How many pairs of faces bear one known identity [N]."""
    _, faces = np.unique(person[person >= 0], return_counts=True)
    return int((faces * (faces - 1) // 2).sum())


def age(name: str, origin: str) -> int | None:
    """Age in years, where the collection states it."""
    rule = AGE.get(name.split("/")[0])
    match = rule.match(PurePosixPath(origin).name) if rule else None
    return int(match[1]) if match else None


def for_calibration(names: list[str], origin: dict[str, str]) -> np.ndarray:
    """Rows of the faces to compare: no masks, nobody known to be younger than `GROWN_UP`.

    Small children look alike to a network far beyond what two adults do; with them in, a threshold for a
    false-match rate would say little about the adults at a door.
    """
    rows = []
    for row, name in enumerate(names):
        years = age(name, origin[name])
        if name.split("/")[0] not in MASKED and (years is None or years >= GROWN_UP):
            rows.append(row)
    return np.array(rows)
