"""Training one network by one method, and its error on the one-shot runs.

Owns the batches, the loop and the result of each run (`<folder>/<name>.json`); a run that is finished is not
repeated, one that was stopped goes on. The budget is counted in drawings, so that every method sees as many.
"""

import copy
import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import affine_grid, grid_sample

from .. import losses, muon, precision
from ..checkpoint import Chances, Checkpoint
from ..whole import whole
from . import data
from .methods import METHODS, cosine
from .network import CharacterNet


@dataclass(frozen=True)
class Settings:
    method: str
    background: str = "small2"
    seed: int = 0
    steps: int = 600
    characters: int = 32  # in a batch
    drawings: int = 4  # of each of them
    rate: float = 0.03  # peak of the convolutions: relative change a step
    vector_rate: float = 2e-3  # peak of everything else
    width: float = 1.0
    device: str = "cpu"

    @property
    def name(self) -> str:
        wide = "" if self.width == 1 else f"-x{self.width:g}"
        return f"{self.method}-{self.background}{wide}-{self.steps}-{self.seed}"


def affine(images: torch.Tensor, generator) -> torch.Tensor:
    """Each drawing [B, 1, S, S] turned, sheared, scaled and shifted a little, as by another hand."""
    n = len(images)
    uniform = lambda limit: (torch.rand(n, generator=generator) * 2 - 1) * limit
    angle, shear = uniform(math.radians(15)), uniform(0.3)
    wide, high = torch.exp(uniform(0.2)), torch.exp(uniform(0.2))
    cos, sin = torch.cos(angle), torch.sin(angle)
    theta = torch.stack([
        torch.stack([wide * cos, high * (shear * cos - sin), uniform(0.15)], 1),
        torch.stack([wide * sin, high * (shear * sin + cos), uniform(0.15)], 1),
    ], 1)
    grid = affine_grid(theta, list(images.shape), align_corners=False)
    return grid_sample(images, grid, align_corners=False)


class Batches:
    """Draws batches: some characters, the same number of drawings of each."""

    def __init__(self, shared: Path, s: Settings):
        drawings, labels = data.turned(*data.background(shared, s.background))
        order = np.argsort(labels, kind="stable")
        self.count = int(labels.max()) + 1
        self.of_character = drawings[order].reshape(self.count, -1, data.SIZE, data.SIZE)
        self.s, self.chances = s, Chances(s.seed)

    def draw(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Drawings [B, 1, S, S] and their characters [B]."""
        s = self.s
        chosen = self.chances.numpy.choice(self.count, s.characters, replace=False)
        columns = self.chances.numpy.random((s.characters, self.of_character.shape[1])).argsort(1)[:, : s.drawings]
        images = torch.from_numpy(self.of_character[chosen[:, None], columns]).flatten(0, 1)[:, None]
        return affine(images, self.chances.torch), torch.from_numpy(chosen).repeat_interleave(s.drawings)


def fit(shared: Path, folder: Path, s: Settings, teacher: CharacterNet | None = None):
    """A trained network, its head, and how it compares; with a `teacher`, its embeddings are copied.

    Goes on from `<folder>/<name>.pt`.
    """
    torch.manual_seed(s.seed)
    batches, network = Batches(shared, s), CharacterNet(s.width).to(s.device, memory_format=torch.channels_last)
    method = METHODS.get(s.method)
    head = (method.head(batches.count) if method else torch.nn.Identity()).to(s.device)
    if teacher is not None:
        teacher = copy.deepcopy(teacher).to(s.device)
    dense, rest = muon.split(network, head)
    optimisers, peaks = [muon.Muon(dense, s.rate), torch.optim.AdamW(rest, weight_decay=0.05)], (s.rate, s.vector_rate)
    checkpoint = Checkpoint(folder / f"{s.name}.pt", network=network, head=head, chances=batches.chances,
                            convolutions=optimisers[0], rest=optimisers[1])
    for step in checkpoint.steps(s.steps):
        images, labels = (x.to(s.device) for x in batches.draw())
        images = images.contiguous(memory_format=torch.channels_last)
        with precision.autocast(s.device):
            embeddings = network.train()(images).float()
        if teacher is None:
            loss = method.loss(head, embeddings, labels, batches.chances.torch)
        else:
            with torch.no_grad():
                wanted = teacher(images)
            loss = (4 * losses.cosine_distillation(embeddings, wanted)
                    + 10 * losses.relational_distillation(embeddings, wanted))
        for optimiser, peak in zip(optimisers, peaks):
            optimiser.zero_grad()
            optimiser.param_groups[0]["lr"] = peak * 0.5 * (1 + math.cos(math.pi * step / s.steps))
        loss.backward()
        for optimiser in optimisers:
            optimiser.step()
    return network.eval().cpu(), head.cpu(), method.compare if method else cosine


@torch.no_grad()
def error(shared: Path, network, head, compare) -> float:
    """Share of the 400 drawings of the one-shot runs that get a wrong name."""
    wrong = []
    for known, asked, right in data.one_shot_runs(shared):
        a, b = (network(torch.from_numpy(x)[:, None]) for x in (asked, known))
        wrong.append(compare(head, a, b).argmax(1).numpy() != right)
    return float(np.concatenate(wrong).mean())


def run(shared: Path, folder: Path, s: Settings, teacher: CharacterNet | None = None) -> float:
    """The error of one run, from `folder` if it was finished before."""
    path = folder / f"{s.name}.json"
    if not path.exists():
        result = {"error": error(shared, *fit(shared, folder, s, teacher))}
        with whole(path) as unfinished:
            unfinished.write_text(json.dumps(result))
    return json.loads(path.read_text())["error"]
