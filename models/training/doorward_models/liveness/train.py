"""Training of the presentation attack detector: one lesson for all, then on all sets or on all but one.

Owns the drawing of batches and the loop. A network first learns what published networks say of many faces that
nobody has labelled, then, in a few steps, the sets, which teach their rooms and people as well. Every batch of these
holds as many real as presented faces, and every set as much as any other: which set a face comes from then says
nothing about what it is.
"""

import copy
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from .. import augment, muon, precision
from ..checkpoint import Chances, Checkpoint
from ..teacher import unit
from . import measures, wall
from .data import Faces
from .network import LivenessNet
from .recapture import recapture

WALLS = 0.3  # share of the images that a plain wall is painted into, behind the head
VECTOR_RATE = 0.15  # of everything but the convolutions, as a share of theirs
WARM_UP = 20  # steps


@dataclass(frozen=True)
class Settings:
    lesson: int = 9000  # steps on faces without a label
    steps: int = 120  # on the sets
    batch: int = 64  # labelled faces, and as many without a label; in the lesson twice as many without
    lesson_rate: float = 0.02  # peak of the convolutions: relative change a step
    rate: float = 0.01  # the same on the sets
    smoothing: float = 0.05  # of the labels
    imitated: float = 0.25  # share of the attacks that are imitated on real faces
    taught: float = 0.7  # how much the published networks' answer counts against a label
    temperature: float = 2.0  # that their log-odds are divided by
    seed: int = 0
    device: str = "cpu"
    made: str = ""  # the command and the commit, for the record


def groups(faces: Faces, rows: np.ndarray) -> dict[bool, list[np.ndarray]]:
    """For real and for presented faces the rows of each set that has any."""
    of = lambda name, real: rows[(faces.sets[rows] == name) & (faces.real[rows] == real)]
    names = np.unique(faces.sets[rows])
    return {real: [g for g in (of(n, real) for n in names) if len(g)] for real in (True, False)}


def evenly(generator: np.random.Generator, of: list[np.ndarray], count: int) -> np.ndarray:
    """`count` rows, each from a set chosen evenly."""
    return np.array([generator.choice(of[s]) for s in generator.integers(0, len(of), count)])


def change(images: torch.Tensor, generator) -> torch.Tensor:
    """Wall, pose, light and white balance, none of which tells a picture from a face."""
    n, size = len(images), images.shape[-1]
    walls = torch.rand(n, generator=generator) < WALLS
    images = images.clone()
    images[walls] = wall.behind(images[walls], generator)
    mirror = torch.rand(n, generator=generator) < 0.5
    images = augment.similarity_jitter(images, size, generator, mirror, degrees=8, scale=0.1, shift=0.03)
    images = augment.light(images, generator, strength=0.35)
    images = augment.white_balance(images, generator, strength=0.25)
    grey = torch.rand(n, 1, 1, 1, generator=generator) < 0.15
    return torch.where(grey, images.mean(1, keepdim=True), images)


def believed(answers: np.ndarray, threshold: float, s: Settings) -> torch.Tensor:
    """The probability of a real face in the published networks' answers [N], one half at `threshold`."""
    return torch.sigmoid(torch.from_numpy((answers - threshold) / s.temperature).float())


def batch(faces: Faces, of, s: Settings, threshold: float, chances: Chances) -> tuple[torch.Tensor, torch.Tensor]:
    """Images [2 * batch, 3, 112, 112] and the wanted probabilities [2 * batch].

    First real faces, then imitated attacks, then presented ones, then faces without a label. The published
    networks are not asked about what is imitated.
    """
    half, imitated = s.batch // 2, round(s.batch / 2 * s.imitated)
    real, presented = (evenly(chances.numpy, of[kind], count)
                       for kind, count in ((True, half + imitated), (False, half - imitated)))
    rows, others = np.concatenate([real, presented]), chances.numpy.integers(0, len(faces.further), s.batch)
    images = unit(torch.from_numpy(np.concatenate([faces.images[rows], faces.further[others]])))
    attacks = slice(half, half + imitated)
    images[attacks] = recapture(images[attacks], chances.torch)
    label = (torch.arange(s.batch) < half).float() * (1 - 2 * s.smoothing) + s.smoothing
    wanted = label.lerp(believed(faces.answers[rows], threshold, s), s.taught)
    wanted[attacks] = label[attacks]
    return change(images, chances.torch), torch.cat([wanted, believed(faces.further_answers[others], threshold, s)])


def lesson(faces: Faces, s: Settings, path: Path) -> LivenessNet:
    """A network that has learnt from the faces without a label; goes on from `path`, where it is left.

    Even is what the published networks say of half of all webcam faces: of the sets it knows that number and no more.
    """
    torch.manual_seed(s.seed)
    wanted = believed(faces.further_answers, float(np.median(faces.answers)), s)

    def shown(chances: Chances) -> tuple[torch.Tensor, torch.Tensor]:
        rows = np.sort(chances.numpy.integers(0, len(wanted), 2 * s.batch))
        return change(unit(torch.from_numpy(faces.further[rows])), chances.torch), wanted[rows]

    return learn(LivenessNet(), shown, s.lesson, s.lesson_rate, s, path)


def train(pupil: LivenessNet, faces: Faces, rows: np.ndarray, s: Settings, path: Path) -> LivenessNet:
    """What becomes of the pupil of the lesson on `rows`; goes on from `path`, where it is left."""
    of = groups(faces, rows)
    threshold, _ = measures.equal_error(faces.answers[rows], faces.real[rows])
    shown = lambda chances: batch(faces, of, s, threshold, chances)
    return learn(copy.deepcopy(pupil), shown, s.steps, s.rate, s, path)


def learn(network: LivenessNet, shown, steps: int, rate: float, s: Settings, path: Path) -> LivenessNet:
    """`network` after so many steps on what it is `shown`: images and the wanted probabilities."""
    network = network.to(s.device, memory_format=torch.channels_last).train()
    dense, rest = muon.split(network)
    optimisers, peaks = [muon.Muon(dense, rate), torch.optim.AdamW(rest)], (rate, rate * VECTOR_RATE)
    chances = Chances(s.seed)
    checkpoint = Checkpoint(path, s.made, network=network, chances=chances,
                            convolutions=optimisers[0], rest=optimisers[1])
    for step in checkpoint.steps(steps):
        share = min(1.0, (step + 1) / WARM_UP) * 0.5 * (1 + math.cos(math.pi * step / steps))
        for optimiser, peak in zip(optimisers, peaks):
            optimiser.param_groups[0]["lr"] = peak * share
            optimiser.zero_grad()
        images, wanted = (x.to(s.device) for x in shown(chances))
        with precision.autocast(s.device):
            logits = network(images.contiguous(memory_format=torch.channels_last))[:, 0].float()
        binary_cross_entropy_with_logits(logits, wanted).backward()
        for optimiser in optimisers:
            optimiser.step()
    return network.eval().cpu()


@torch.no_grad()
def scores(network: LivenessNet, images: np.ndarray) -> np.ndarray:
    """Probability of a real face [N] for uint8 [N, 112, 112, 3]."""
    parts = np.array_split(images, -(-len(images) // 64))
    return torch.cat([torch.sigmoid(network(unit(torch.from_numpy(part)))[:, 0]) for part in parts]).numpy()
