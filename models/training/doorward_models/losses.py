"""Losses for learning to tell faces apart, and for learning from a teacher.

Owns the formulas only; every loss gives a scalar tensor and names its paper. Embeddings are float [B, D],
labels integers [B]. Heads with weights of their own are modules, the rest are functions.
"""

import torch
from torch import nn
from torch.nn.functional import (
    binary_cross_entropy_with_logits, cosine_similarity, cross_entropy, kl_div, linear, mse_loss, normalize, relu,
)


def distances(embeddings, squared: bool = False):
    """Euclidean distances [B, B] between all rows; the gradient at distance 0 is 0, not NaN."""
    norms = embeddings.square().sum(1)
    d2 = (norms[:, None] + norms[None] - 2 * embeddings @ embeddings.T).clamp(min=0)
    if squared:
        return d2
    zero = (d2 == 0).float()
    return (d2 + zero * 1e-16).sqrt() * (1 - zero)


def mates(labels):
    """Two masks [B, B]: pairs of two different rows with one label, and pairs with two labels."""
    same = labels[:, None] == labels[None]
    return same & ~torch.eye(len(labels), dtype=torch.bool, device=labels.device), ~same


class KochHead(nn.Module):
    """Koch et al., "Siamese Neural Networks for One-shot Image Recognition" (2015).

    logit = sum_i w_i * |a_i - b_i| + bias; its sigmoid is the probability of one class.
    """

    def __init__(self, size: int):
        super().__init__()
        self.compare = nn.Linear(size, 1)
        nn.init.constant_(self.compare.weight, -1.0 / size)

    def forward(self, a, b):
        """Logits [B] of the pairs of rows."""
        return self.compare((a - b).abs()).squeeze(1)

    def loss(self, a, b, same):
        """Binary cross-entropy; `same` is 1 where two rows show one class, else 0."""
        return binary_cross_entropy_with_logits(self(a, b), same.to(a.dtype))


def contrastive(a, b, same, margin: float = 1.0):
    """Hadsell et al., "Dimensionality Reduction by Learning an Invariant Mapping" (2006).

    Half the squared distance for mates, half the squared shortfall to `margin` for others.
    """
    distance = (a - b).square().sum(1).clamp(min=1e-12).sqrt()
    pull, push = distance.square(), relu(margin - distance).square()
    return 0.5 * torch.where(same.bool(), pull, push).mean()


def triplet_semi_hard(embeddings, labels, margin: float = 0.2):
    """Schroff et al., "FaceNet" (2015): online triplets on squared distances of unit-norm embeddings.

    For each mated pair the nearest negative that is farther than the mate; if there is none, the farthest
    negative. A batch without triplets gives 0.
    """
    d = distances(normalize(embeddings, dim=1), squared=True)
    mated, other = mates(labels)
    anchor, positive = torch.nonzero(mated, as_tuple=True)
    keep = other[anchor].any(1)
    anchor, positive = anchor[keep], positive[keep]
    if len(anchor) == 0:
        return embeddings.sum() * 0.0
    ap, an, negative = d[anchor, positive], d[anchor], other[anchor]
    beyond = negative & (an > ap[:, None])
    nearest = an.masked_fill(~beyond, float("inf")).min(1).values
    farthest = an.masked_fill(~negative, float("-inf")).max(1).values
    chosen = torch.where(beyond.any(1), nearest, farthest)
    return relu(ap - chosen + margin).mean()


def triplet_batch_hard(embeddings, labels, margin: float | None = None):
    """Hermans et al., "In Defense of the Triplet Loss" (2017).

    Per anchor the farthest mate and the nearest negative; softplus when `margin` is `None`. Anchors
    without a mate or without a negative are left out; a batch without any gives 0.
    """
    d = distances(embeddings)
    mated, other = mates(labels)
    keep = mated.any(1) & other.any(1)
    if not keep.any():
        return embeddings.sum() * 0.0
    farthest = d.masked_fill(~mated, float("-inf")).max(1).values[keep]
    nearest = d.masked_fill(~other, float("inf")).min(1).values[keep]
    gap = farthest - nearest
    return (torch.nn.functional.softplus(gap) if margin is None else relu(gap + margin)).mean()


class Classifier(nn.Module):
    """Taigman et al., "DeepFace" (2014): softmax over the identities of the training set."""

    def __init__(self, size: int, classes: int):
        super().__init__()
        self.classes = nn.Linear(size, classes)

    def forward(self, embeddings, labels):
        return cross_entropy(self.classes(embeddings), labels)


class DeepID2(nn.Module):
    """Sun et al., "Deep Learning Face Representation by Joint Identification-Verification" (2014).

    Softmax identification plus `weight` times a contrastive loss over all pairs of the batch.
    """

    def __init__(self, size: int, classes: int, margin: float = 1.0, weight: float = 0.05):
        super().__init__()
        self.identification = Classifier(size, classes)
        self.margin, self.weight = margin, weight

    def forward(self, embeddings, labels):
        rows, columns = torch.triu_indices(len(labels), len(labels), 1)
        verification = contrastive(
            embeddings[rows], embeddings[columns], labels[rows] == labels[columns], self.margin
        )
        return self.identification(embeddings, labels) + self.weight * verification


class AdditiveAngularMargin(nn.Module):
    """Deng et al., "ArcFace" (2019): softmax over scale * cos(angle + margin to the own class).

    Where angle + margin would pass 180 degrees, cos(angle) - margin * sin(margin) keeps it falling.
    """

    def __init__(self, size: int, classes: int, scale: float = 64.0, margin: float = 0.5):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(classes, size))
        self.scale, self.margin = scale, margin

    def forward(self, embeddings, labels):
        cosine = linear(normalize(embeddings, dim=1), normalize(self.weight, dim=1))
        own = cosine.gather(1, labels[:, None]).clamp(-1 + 1e-7, 1 - 1e-7)
        m = torch.tensor(self.margin)
        moved = own * m.cos() - (1 - own.square()).sqrt() * m.sin()
        moved = torch.where(own > -m.cos(), moved, own - m * m.sin())
        return cross_entropy(self.scale * cosine.scatter(1, labels[:, None], moved), labels)


def cosine_distillation(student, teacher):
    """One minus the cosine to the teacher's embedding, mean over the batch."""
    return (1 - cosine_similarity(student, teacher)).mean()


def relational_distillation(student, teacher):
    """Mean squared difference of the two batches' cosine matrices, diagonal left out.

    After Tung and Mori, "Similarity-Preserving Knowledge Distillation" (2019).
    """
    s, t = normalize(student, dim=1), normalize(teacher, dim=1)
    difference = s @ s.T - t @ t.T
    off_diagonal = 1 - torch.eye(len(s), device=s.device)
    return (difference * off_diagonal).square().sum() / off_diagonal.sum()


def neighbour_distillation(student, teacher, others, temperature: float = 0.07):
    """How differently the student and the teacher see who of `others` [N, D] each face is most like.

    Kullback-Leibler divergence of the softmax over the cosines to the teacher's embeddings of other faces. After
    Fang et al., "SEED: Self-supervised Distillation" (2021).
    """
    others = normalize(others, dim=1).T
    s, t = ((normalize(e, dim=1) @ others / temperature).log_softmax(1) for e in (student, teacher))
    return kl_div(s, t, log_target=True, reduction="batchmean")


def spatial_distillation(student, teacher):
    """Mean squared difference of two feature maps. Romero et al., "FitNets" (2015)."""
    return mse_loss(student, teacher)
