"""Real and presented faces from webcam collections, aligned as the embedder's are.

Owns the cache `<runs>/liveness/` (`faces.npy` uint8 [N, 112, 112, 3] RGB, `faces.tsv` with set and kind of
each row, `faces_answers.npy` with what the published networks say of it; `further_<count>.npy` and
`further_<count>_answers.npy` likewise for faces without a label). A set is one collection: one room, one camera, few
people, so sets are never divided.
"""

import zipfile
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from .. import zips
from ..evaluate import cut
from ..whole import whole
from . import taught

MARGIN = 0.4  # of each side, repeated around an image that is hardly larger than the face


@dataclass
class Faces:
    """Row `i` of everything is one face."""

    images: np.ndarray  # uint8 [N, 112, 112, 3]
    sets: np.ndarray  # [N] names such as "set01"
    real: np.ndarray  # bool [N]
    answers: np.ndarray  # log-odds [N] of the published networks
    further: np.ndarray  # uint8 [M, 112, 112, 3], without a label
    further_answers: np.ndarray  # log-odds [M]

    def rows(self, *, without: str | None = None, only: str | None = None) -> np.ndarray:
        """Row numbers of all sets but one, or of one set."""
        return np.flatnonzero(self.sets != without if only is None else self.sets == only)


def aligned(detector, image: np.ndarray) -> np.ndarray | None:
    """The largest face of an RGB image at 112x112, cut out as the daemon does; `None` when there is none."""
    margin = round(max(image.shape[:2]) * MARGIN)
    wide = cv2.copyMakeBorder(image, *[margin] * 4, cv2.BORDER_REPLICATE)
    detector.setInputSize(wide.shape[1::-1])
    _, faces = detector.detect(np.ascontiguousarray(wide[:, :, ::-1]))
    if faces is None:
        return None
    face = faces[(faces[:, 2] * faces[:, 3]).argmax()]
    return cut(wide, face[4:14].reshape(5, 2))


def collections(shared: Path) -> tuple[zipfile.ZipFile, list[str]]:
    """The archive of all sets and the names of its images, in order."""
    archive = zipfile.ZipFile(shared / "data" / "pad" / "pad_dev.zip")
    return archive, sorted(zips.image_names(archive))


def labels(names: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """The set of each image [N], and whether it shows a real face [N]."""
    sets, kinds = (np.array([Path(n).parts[k] for n in names]) for k in (-3, -2))
    return sets, kinds == "real"


def build(shared: Path, cache: Path) -> None:
    """Aligns every image of `shared/data/pad`; images without a face are counted and left out."""
    model = str(shared / "models" / "face_detection_yunet_2023mar.onnx")
    detector = cv2.FaceDetectorYN.create(model, "", (320, 320), 0.6, 0.3)
    archive, names = collections(shared)
    faces, lines = [], []
    for name in tqdm(names, desc="align", mininterval=5):
        face = aligned(detector, zips.read_rgb(archive, name))
        if face is not None:
            faces.append(face)
            lines.append("\t".join(Path(name).parts[-3:-1]))
    print(f"{len(names) - len(faces)} of {len(names)} images without a face are left out")
    with whole(cache / "faces.npy") as path:
        np.save(path, np.stack(faces))
        (cache / "faces.tsv").write_text("\n".join(lines) + "\n")


def load(shared: Path, runs: Path) -> Faces:
    """All faces, aligned and answered at the first call."""
    cache = runs / "liveness"
    if not (cache / "faces.npy").exists():
        build(shared, cache)
    faces = np.load(cache / "faces.npy")
    more = f"further_{taught.FURTHER}"
    further = _cached(cache / f"{more}.npy", lambda: taught.further(shared, runs))
    answers, further_answers = (_cached(cache / f"{name}_answers.npy", lambda: taught.answers(shared, images))
                                for name, images in (("faces", faces), (more, further)))
    table = [line.split("\t") for line in (cache / "faces.tsv").read_text().splitlines()]
    sets, kinds = (np.array([row[k] for row in table]) for k in (0, 1))
    return Faces(faces, sets, kinds == "real", answers, further, further_answers)


def _cached(path: Path, make) -> np.ndarray:
    """The array at `path`, made at the first call."""
    if not path.exists():
        made = make()
        with whole(path) as unfinished:
            np.save(unfinished, made)
    return np.load(path, mmap_mode="r")
