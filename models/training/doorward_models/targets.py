"""What the student is asked to copy, derived from the teacher.

Owns the scaling of the teacher's answers, the split into training and validation faces, and the two ways to have
the teacher's answer: `Kept`, to the clean face out of the caches, and `Live`, to the very image that the student
is about to see before the camera's faults are added. Live answers are worth more and want a GPU.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, interpolate, normalize

from . import augment, precision, teacher

HELD_OUT = 100  # every 100th face is for validation
SAMPLE = 2000  # faces that the scale is taken from


@dataclass
class Scale:
    """What makes the teacher's answers comparable: zero mean, then unit norm or unit variance.

    What all faces have in common says nothing about whose face one is.
    """

    embedding_mean: Tensor  # [D], of embeddings of unit norm
    mean: Tensor  # [C, 1, 1] of the spatial map
    deviation: Tensor  # [C, 1, 1]
    middle_mean: Tensor  # [K, 1, 1]
    middle_deviation: float  # of all components together: the strong ones count more

    @classmethod
    def of(cls, embedding: Tensor, spatial: Tensor, middle: Tensor) -> "Scale":
        """From a sample of answers, float [n, D], [n, C, 7, 7] and [n, K, 14, 14]."""
        over, column = (0, 2, 3), lambda values: values[:, None, None]
        return cls(normalize(embedding, dim=1).mean(0),
                   column(spatial.mean(over)), column(spatial.std(over) + 1e-3),
                   column(middle.mean(over)), middle.var(over).mean().sqrt().item() + 1e-3)

    def embedding(self, raw: Tensor) -> Tensor:
        """[B, D], of unit norm, about the mean face."""
        return normalize(normalize(raw, dim=1) - self.embedding_mean, dim=1)

    def spatial(self, raw: Tensor, grid: int) -> Tensor:
        """[B, C, grid, grid]; at 7x7 with zero mean and unit variance per channel."""
        return adaptive_avg_pool2d((raw - self.mean) / self.deviation, grid)

    def middle(self, raw: Tensor, grid: int) -> Tensor:
        """[B, K, grid, grid]; at 14x14 with unit variance overall."""
        return adaptive_avg_pool2d((raw - self.middle_mean) / self.middle_deviation, grid)


@dataclass
class Answer:
    """Of the teacher to one batch."""

    embedding: Tensor  # [B, D], scaled
    spatial: Tensor  # [B, C, 7, 7], as the teacher gave it
    middle: Tensor  # [B, K, 14, 14]


class Kept:
    """Answers to clean faces, kept in the teacher's caches: float16 [N, D], [N, C, 7, 7] and [N, K, 14, 14]."""

    def __init__(self, embedding: np.ndarray, spatial: np.ndarray, middle: np.ndarray, device: str = "cpu"):
        self.device, self.maps = device, (spatial, middle)
        part = slice(None, None, max(1, len(spatial) // SAMPLE))
        self.scale = Scale.of(*(self._tensor(kept[part]) for kept in (embedding, spatial, middle)))
        self.embedding = self.scale.embedding(self._tensor(embedding))

    def _tensor(self, values: np.ndarray) -> Tensor:
        return torch.from_numpy(np.asarray(values, dtype=np.float32)).to(self.device)

    def clean(self, rows: np.ndarray) -> Tensor:
        """Scaled embeddings [B, D] of clean faces."""
        return self.embedding[rows]

    def view(self, faces: Tensor, rows: np.ndarray, size: int) -> tuple[Tensor, Answer]:
        """Posed faces [B, 3, size, size] and the answer."""
        return augment.pose(faces, size, None), Answer(
            self.embedding[rows], *(self._tensor(m[rows]) for m in self.maps))


class Live:
    """Answers that the teacher gives while the student learns, about turned, bent, mirrored and mixed faces.

    It is asked about one side of a face: which one is left to chance, so that on average it speaks of both.
    """

    SIDE = 112  # of the images that it is shown
    BEND = 0.03  # share of the width that parts of a face move by, at most

    def __init__(self, network: teacher.Network, faces: Tensor, real: bool = False):
        """`real`: only people that there are, neither bent nor mixed."""
        self.network, self.faces, self.real = network, faces, real
        self.asked = precision.compiled(network, faces.device.type)
        self.made = precision.compiled(self.make, faces.device.type)
        sample = faces[:: max(1, len(faces) // SAMPLE)]
        answers = zip(*(teacher.of_faces(network, teacher.unit(part)) for part in sample.split(256)))
        self.scale = Scale.of(*map(torch.cat, answers))

    def clean(self, rows: np.ndarray) -> Tensor:
        """Scaled embeddings [B, D] of clean faces."""
        return self.scale.embedding(teacher.of_faces(self.network, teacher.unit(self.faces[rows]))[0])

    def make(self, faces: Tensor) -> Tensor:
        """Posed and (unless `real`) mixed faces [B, 3, SIDE, SIDE]."""
        if self.real:
            return augment.pose(faces, self.SIDE, None, mirrored=0.5)
        posed = augment.pose(augment.uncover(faces, None), self.SIDE, None, mirrored=0.5, bend=self.BEND)
        return augment.mix(posed, None)

    def view(self, faces: Tensor, rows: np.ndarray, size: int) -> tuple[Tensor, Answer]:
        """Posed and mixed faces [B, 3, size, size] and the answer to them."""
        images = self.made(faces)
        embedding, *maps = self.asked(images)
        if size != self.SIDE:
            images = interpolate(images, size=(size, size), mode="area")
        return images, Answer(self.scale.embedding(embedding), *maps)


def split(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Row numbers for training and for validation."""
    rows = np.arange(count)
    held_out = rows % HELD_OUT == 0
    return rows[~held_out], rows[held_out]
