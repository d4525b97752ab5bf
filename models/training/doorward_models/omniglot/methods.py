"""Each way of learning: its head, the loss of one batch, and how it compares two drawings afterwards.

Owns the table `METHODS`. A batch holds the same number of drawings of each of its characters.
"""

from dataclasses import dataclass
from typing import Callable

import torch
from torch import nn
from torch.nn.functional import normalize

from .. import losses
from .network import EMBEDDING


def pairs(labels, generator):
    """Row numbers a, b of all mates, and of as many pairs of two characters; 1 where they are mates."""
    mated, other = losses.mates(labels)
    a, b = torch.nonzero(mated.triu(), as_tuple=True)
    c, d = torch.nonzero(other.triu(), as_tuple=True)
    few = torch.randperm(len(c), generator=generator)[: len(a)].to(labels.device)
    same = torch.cat([torch.ones(len(a)), torch.zeros(len(few))]).to(labels.device)
    return torch.cat([a, c[few]]), torch.cat([b, d[few]]), same


def cosine(_, a, b):
    """Similarities [A, B] of embeddings."""
    return normalize(a, dim=1) @ normalize(b, dim=1).T


def distance(_, a, b):
    """Negative Euclidean distances [A, B]."""
    return -torch.cdist(a, b)


class Siamese(nn.Module):
    """Koch's head on the sigmoids of the embeddings."""

    def __init__(self):
        super().__init__()
        self.head = losses.KochHead(EMBEDDING)
        nn.init.constant_(self.head.compare.bias, 1.0)
        nn.init.constant_(self.head.compare.weight, -4.0 / EMBEDDING)

    def compare(self, a, b):
        a, b = torch.sigmoid(a), torch.sigmoid(b)
        return self.head(a.repeat_interleave(len(b), 0), b.repeat(len(a), 1)).view(len(a), len(b))


def siamese(head, e, labels, generator):
    a, b, same = pairs(labels, generator)
    s = torch.sigmoid(e)
    return head.head.loss(s[a], s[b], same)


def contrastive(_, e, labels, generator):
    a, b, same = pairs(labels, generator)
    e = normalize(e, dim=1)
    return losses.contrastive(e[a], e[b], same)


@dataclass(frozen=True)
class Method:
    head: Callable  # of the number of characters: a module with the loss's own weights
    loss: Callable  # (head, embeddings, labels, generator) -> scalar
    compare: Callable = cosine  # (head, embeddings [A, D], embeddings [B, D]) -> similarities [A, B]
    words: str = ""


none = lambda _: nn.Identity()
METHODS = {
    "siamese": Method(lambda _: Siamese(), siamese, lambda h, a, b: h.compare(a, b), "Koch, L1 and sigmoid"),
    "contrastive": Method(none, contrastive, cosine, "Hadsell, margin 1"),
    "semi-hard": Method(none, lambda _, e, y, g: losses.triplet_semi_hard(e, y), cosine,
                        "FaceNet, margin 0.2"),
    "batch-hard": Method(none, lambda _, e, y, g: losses.triplet_batch_hard(e, y), distance,
                         "Hermans, soft margin"),
    "classifier": Method(lambda n: losses.Classifier(EMBEDDING, n), lambda h, e, y, g: h(e, y), cosine,
                         "DeepFace, top removed"),
    "deepid2": Method(lambda n: losses.DeepID2(EMBEDDING, n), lambda h, e, y, g: h(e, y), cosine,
                      "identification and verification"),
    "arcface": Method(lambda n: losses.AdditiveAngularMargin(EMBEDDING, n, scale=16.0, margin=0.3),
                      lambda h, e, y, g: h(e, y), cosine, "scale 16, margin 0.3"),
}
