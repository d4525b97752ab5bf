"""What published networks for presentation attack detection say about faces that nobody has labelled, or too few have.

Owns the margin that they see around an aligned face and the further faces they are asked about: those of the
distillation, half of them as a webcam shows them, half as a screen or a print would. Never trains.
"""

from pathlib import Path

import cv2
import numpy as np
import onnx
import torch
from tqdm import tqdm

from .. import augment, teacher, zips
from .recapture import recapture

NAMES = ("minifasnet_v2_2.7_80x80", "minifasnet_v1se_4.0_80x80")
SIDE = 80  # of the images that they take
MARGIN = 20  # pixels repeated around an aligned face: with those they tell most on the collections
REAL = 1  # their class of real faces
FURTHER = 50_000


def answers(shared: Path, images: np.ndarray) -> np.ndarray:
    """Mean log-odds [N] of both networks for "a real face", of uint8 RGB [N, 112, 112, 3]."""
    nets = [teacher.session(onnx.load(shared / "models" / f"{name}.onnx").SerializeToString(), threads=1)
            for name in NAMES]
    said = np.zeros(len(images), np.float32)
    for row, image in enumerate(tqdm(images, desc="answers", mininterval=5)):
        wide = cv2.copyMakeBorder(image, *[MARGIN] * 4, cv2.BORDER_REPLICATE)
        small = cv2.resize(wide, (SIDE, SIDE), interpolation=cv2.INTER_AREA)[:, :, ::-1]
        pixels = small.transpose(2, 0, 1)[None].astype(np.float32)
        for net in nets:
            logits = net.run(None, {net.get_inputs()[0].name: pixels})[0][0]
            said[row] += logits[REAL] - np.logaddexp.reduce(np.delete(logits, REAL))
    return said / len(nets)


def further(shared: Path, runs: Path) -> np.ndarray:
    """uint8 [FURTHER, 112, 112, 3]: faces of the distillation, softened or presented."""
    faces, _ = zips.faces(shared, runs)
    generator = torch.Generator().manual_seed(0)
    rows = np.linspace(0, len(faces) - 1, FURTHER).astype(int)
    made = np.empty((FURTHER, *faces.shape[1:]), np.uint8)
    for k, part in enumerate(np.array_split(rows, FURTHER // 50)):
        images = teacher.unit(torch.from_numpy(faces[part]))
        if k % 2:
            images = recapture(images, generator)
        else:
            side = int(torch.randint(40, 112, (1,), generator=generator))
            images = augment.light(augment.low_resolution(images, side), generator)
        made[50 * k : 50 * (k + 1)] = ((images + 1) * 127.5).round().clamp(0, 255).byte().permute(0, 2, 3, 1)
    return made
