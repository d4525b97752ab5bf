"""Training images: read once from zip archives, kept as one memory-mapped array.

Owns the cache layout (`images.npy` uint8 [N, 112, 112, 3] RGB, `names.txt`, one line per image).
Never augments and never interprets an image.
"""

import io
import zipfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from .whole import whole

SIZE = 112
SUFFIXES = {".webp", ".jpg", ".jpeg", ".png"}


def image_names(archive: zipfile.ZipFile) -> list[str]:
    """Names of the images in an archive, in archive order."""
    return [n for n in archive.namelist() if Path(n).suffix.lower() in SUFFIXES]


def read_rgb(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    """One image as uint8 [H, W, 3] RGB. Raises `OSError`, which names it, when it cannot be decoded."""
    try:
        with Image.open(io.BytesIO(archive.read(name))) as image:
            return np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError, zipfile.BadZipFile, zlib.error) as error:
        raise OSError(f"{archive.filename}: {name}: {error}") from error


def build(zips: list[Path], cache: Path) -> None:
    """Decodes every 112x112 image of `zips` into `cache`, ordered by name over all archives.

    Raises `ValueError` for an image of another size, and when there is none.
    """
    archives = [zipfile.ZipFile(z) for z in zips]
    index = sorted((name, a) for a, archive in enumerate(archives) for name in image_names(archive))
    if not index:
        raise ValueError(f"no images in {', '.join(map(str, zips))}")
    with whole(cache / "images.npy") as path, ThreadPoolExecutor() as pool:
        images = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=(len(index), SIZE, SIZE, 3))
        decoded = pool.map(lambda entry: read_rgb(archives[entry[1]], entry[0]), index)
        for row, image in enumerate(tqdm(decoded, desc="decode", total=len(index), mininterval=5)):
            if image.shape != (SIZE, SIZE, 3):
                name = index[row][0]
                raise ValueError(f"{name}: {image.shape[1]}x{image.shape[0]} pixels, expected {SIZE}x{SIZE}")
            images[row] = image
        images.flush()
        (cache / "names.txt").write_text("".join(f"{name}\n" for name, _ in index))


def load(cache: Path) -> tuple[np.ndarray, list[str]]:
    """The cached images (a memory map whose changes stay in memory) and their names."""
    images = np.load(cache / "images.npy", mmap_mode="c")
    return images, (cache / "names.txt").read_text().splitlines()


def archives(shared: Path) -> list[Path]:
    """The archives of the distillation faces. Raises `ValueError` when there are none."""
    found = sorted((shared / "data" / "distill").glob("faces_*.zip"))
    if not found:
        raise ValueError(f"no faces_*.zip in {shared / 'data' / 'distill'}")
    return found


def faces(shared: Path, runs: Path) -> tuple[np.ndarray, list[str]]:
    """The distillation faces of `shared/data/distill`, decoded at the first call."""
    cache = runs / "faces"
    if not (cache / "images.npy").exists():
        build(archives(shared), cache)
    return load(cache)
