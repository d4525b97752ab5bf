"""What the student is asked to copy, derived from the teacher caches.

Owns the scaling of the teacher's spatial map and the split into training and validation faces.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.functional import adaptive_avg_pool2d

HELD_OUT = 100  # every 100th face is for validation


@dataclass
class Targets:
    """Row `i` of everything belongs to face `i`."""

    embedding: torch.Tensor  # float32 [N, D], unit norm
    spatial: np.ndarray  # float16 [N, C, 7, 7], as the teacher gave it
    mean: torch.Tensor  # [C, 1, 1] of the spatial map
    deviation: torch.Tensor  # [C, 1, 1]
    middle: np.ndarray  # float16 [N, K, 14, 14], principal components
    middle_mean: torch.Tensor  # [K, 1, 1]
    middle_deviation: float  # of all components together: the strong ones count more

    def spatial_rows(self, rows: np.ndarray, grid: int = 7) -> torch.Tensor:
        """Spatial targets [B, C, grid, grid]; at 7x7 with zero mean and unit variance per channel."""
        raw = torch.from_numpy(np.asarray(self.spatial[rows], dtype=np.float32))
        return adaptive_avg_pool2d((raw - self.mean) / self.deviation, grid)

    def middle_rows(self, rows: np.ndarray, grid: int = 14) -> torch.Tensor:
        """Targets [B, K, grid, grid] from the teacher's middle map; at 14x14 with unit variance overall."""
        raw = torch.from_numpy(np.asarray(self.middle[rows], dtype=np.float32))
        return adaptive_avg_pool2d((raw - self.middle_mean) / self.middle_deviation, grid)


def make(embedding: np.ndarray, spatial: np.ndarray, middle: np.ndarray) -> Targets:
    """Targets from the teacher caches (float16 [N, D], [N, C, 7, 7] and [N, K, 14, 14])."""
    part = slice(None, None, max(1, len(spatial) // 2000))
    last, between = (np.asarray(m[part], dtype=np.float32) for m in (spatial, middle))
    column = lambda values: torch.from_numpy(values)[:, None, None]
    whole = torch.from_numpy(np.asarray(embedding, dtype=np.float32))
    return Targets(
        embedding=torch.nn.functional.normalize(whole, dim=1),
        spatial=spatial,
        mean=column(last.mean((0, 2, 3))),
        deviation=column(last.std((0, 2, 3)) + 1e-3),
        middle=middle,
        middle_mean=column(between.mean((0, 2, 3))),
        middle_deviation=float(between.var((0, 2, 3)).mean() ** 0.5) + 1e-3,
    )


def split(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Row numbers for training and for validation."""
    rows = np.arange(count)
    held_out = rows % HELD_OUT == 0
    return rows[~held_out], rows[held_out]
