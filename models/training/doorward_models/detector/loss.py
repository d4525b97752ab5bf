"""What the student is punished for, per cell.

Scores: quality focal loss (Li et al. 2020) against the teacher's score, for cls and obj alike. Geometry:
smooth L1 in units of the face's size, in the cells that the teacher gives to a face.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from .shards import IGNORE

BOX, MARKS = 10.0, 30.0
"""Weights of box and landmark error against the score."""


def quality_focal(logits: Tensor, wanted: Tensor) -> Tensor:
    """Binary cross-entropy with soft targets, scaled by the squared distance to them."""
    plain = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    return plain * (logits.sigmoid() - wanted) ** 2


def loss(raw: Tensor, cells: Tensor, target: Tensor, owner: Tensor, faces: Tensor,
         weight_of_marks: float = MARKS) -> dict[str, Tensor]:
    """Parts of the loss, each averaged over positive weight.

    raw [B, N, 16], cells [N, 3], target float [B, N] in 0..1, owner int64 [B, N], faces [B, F, 15] in
    pixels.
    """
    wanted = target[..., None].expand(-1, -1, 2)
    scores = quality_focal(raw[..., :2], wanted) * (owner != IGNORE)[..., None]
    image, cell = torch.nonzero((owner >= 0) & (target > 0.2), as_tuple=True)
    weight = target[image, cell]
    total = weight.sum().clamp_min(1.0)
    face, said = faces[image, owner[image, cell]], raw[image, cell]
    corner, stride = cells[cell, :2], cells[cell, 2:]
    extent = (face[:, 2:4] - face[:, :2]).clamp_min(1.0)
    size = extent.prod(1, keepdim=True).sqrt()
    centre = ((corner + said[:, 2:4]) * stride - (face[:, :2] + face[:, 2:4]) / 2) / size
    growth = said[:, 4:6] - (extent / stride).log()
    marks = ((corner.repeat(1, 5) + said[:, 6:]) * stride - face[:, 4:14]) / size

    def error(difference: Tensor, beta: float) -> Tensor:
        plain = F.smooth_l1_loss(difference, torch.zeros_like(difference), reduction="none", beta=beta)
        return (plain.mean(1) * weight).sum() / total

    box = error(torch.cat([centre, growth * 0.5], 1), 0.05)
    return {"score": scores.sum() / total, "box": BOX * box, "marks": weight_of_marks * error(marks, 0.005)}
