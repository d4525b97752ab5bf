"""Distillation: a small network learns to give the teacher's embeddings.

Owns the training loop, its checkpoint (`<run>/checkpoint.pt`) and the schedule. The schedule is a
function of the share of the time budget that is used up: image size grows, the learning rate follows one
cycle. A run that was stopped continues from its checkpoint; one that was finished does, too, when it is given
more minutes.
"""

import copy
import json
import math
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cosine_similarity, interpolate
from torch.optim.swa_utils import get_ema_multi_avg_fn
from tqdm import tqdm

from . import augment, losses, muon, onnx_weights, precision, rounding, targets, teacher, workers, zips
from .networks import Config, FaceNet, FlattenHead, deeper, joined, with_mirror_images
from .whole import whole

OTHERS = 4096  # faces of the last batches that a batch is compared with
VECTOR_RATE = 0.06  # learning rate of everything but convolutions, as a share of theirs
SIZES = ((0.35, 5 / 7), (1.0, 1.0))  # (until this share of the budget, share of the full size)


@dataclass(frozen=True)
class Settings:
    minutes: float = 100.0
    batch: int = 64  # per worker
    workers: int = 2
    rate: float = 0.05  # peak learning rate of the convolutions: relative change a step
    warm_up: float = 0.04  # share of the budget
    decay: float = 0.05  # weight decay of AdamW
    average: float = 0.998  # of the exponential moving average of the weights
    spatial: float = 1.0  # weight of the loss on the last map
    middle: float = 1.0  # weight of the loss on the middle map
    relational: float = 10.0  # weight of the similarity-matrix loss
    neighbours: float = 1.0  # weight of the loss on likeness to faces of other batches
    save_every: float = 300.0  # seconds
    grow: bool = True  # start with small images
    int8: bool = False  # simulate the rounding of int8
    live: bool = False  # ask the teacher about every image that the student sees
    finish: bool = False  # a short, slow end: real faces alone, normalisation as it is
    device: str = "cpu"
    made: str = ""  # the command and the commit, for the record


def rate_at(progress: float, s: Settings) -> float:
    """Share of the peak learning rate. One cycle: linear warm-up, cosine down to 1 %."""
    if progress < s.warm_up:
        return 0.05 + 0.95 * progress / s.warm_up
    t = min(1.0, (progress - s.warm_up) / (1 - s.warm_up))
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * t))


def size_at(progress: float, s: Settings, full: int = 112) -> int:
    """Side of the square training images at this share of the budget."""
    share = next((share for until, share in SIZES if progress < until), 1.0) if s.grow else 1.0
    return round(full * share)


class Hints(nn.Module):
    """Linear maps from the student's feature maps to the teacher's; only used while training."""

    def __init__(self, network: FaceNet, middle: int = teacher.COMPONENTS, spatial: int = FlattenHead.MAP):
        super().__init__()
        self.middle = nn.Conv2d(network.middle_channels, middle, 1)
        self.spatial = nn.Conv2d(network.head.channels, spatial, 1)


def optimisers(student: FaceNet, hints: Hints, s: Settings) -> list[torch.optim.Optimizer]:
    """Muon for the dense convolutions, AdamW for all the rest."""
    dense, rest = muon.split(student, hints)
    groups = [{"params": [p for p in rest if p.ndim > 1], "weight_decay": s.decay},
              {"params": [p for p in rest if p.ndim <= 1], "weight_decay": 0.0}]
    made = [muon.Muon(dense, s.rate), torch.optim.AdamW(groups, s.rate * VECTOR_RATE)]
    for group in (g for o in made for g in o.param_groups):
        group["peak"] = group["lr"]
    return made


class Run:
    """A student, its running average, the optimiser and the time spent: all that a checkpoint holds."""

    def __init__(self, folder: Path, config: Config, settings: Settings):
        self.folder, self.settings = folder, settings
        self.student = FaceNet(config).to(settings.device, memory_format=torch.channels_last)
        self.features, self.degrade = self.student.features, precision.compiled(augment.degrade, settings.device)
        if not settings.int8:  # such a run is too short to be worth it
            self.features = precision.compiled(self.features, settings.device)
        self.average = copy.deepcopy(self.student).eval()
        self.hints = Hints(self.student).to(settings.device)
        self.optimisers = optimisers(self.student, self.hints, settings)
        self.others = torch.empty(0, config.embedding, device=settings.device)  # the teacher's answers of late
        self.step, self.seconds, self.seen = 0, 0.0, 0
        self.ranges = {}  # of the simulated rounding
        self.made = [settings.made]  # the commands that have trained it
        self.clock = time.monotonic()  # when `seconds` was last brought up to date

    @property
    def progress(self) -> float:
        return self.seconds / (self.settings.minutes * 60)

    @property
    def size(self) -> int:
        """Side of the images that the student is shown now."""
        return size_at(self.progress, self.settings, 112 // self.student.config.reduce)

    def save(self) -> None:
        state = {
            "config": self.student.describe(), "student": self.student.state_dict(),
            "average": self.average.state_dict(), "hints": self.hints.state_dict(),
            "optimisers": [o.state_dict() for o in self.optimisers],
            "step": self.step, "seconds": self.seconds, "seen": self.seen, "ranges": self.ranges,
            "made": self.made,
        }
        with whole(self.folder / "checkpoint.pt") as path:
            torch.save(state, path)

    def restore(self) -> bool:
        """Continues from the checkpoint of this folder, if there is one."""
        path = self.folder / "checkpoint.pt"
        if not path.exists():
            return False
        state = torch.load(path, weights_only=True, map_location=self.settings.device)
        if state["config"] != self.student.describe():
            raise ValueError(f"{path} holds another network: {state['config']}")
        for name in ("student", "average", "hints"):
            getattr(self, name).load_state_dict(state[name])
        for optimiser, kept in zip(self.optimisers, state["optimisers"]):
            for group, new in zip(kept["param_groups"], optimiser.param_groups):
                group["peak"] = new["peak"]  # the rate may be another one now
            optimiser.load_state_dict(kept)
        self.step, self.seconds, self.seen = state["step"], state["seconds"], state["seen"]
        self.ranges = state["ranges"]
        self.made = list(dict.fromkeys([*state["made"], *self.made]))
        return True

    def update_average(self) -> None:
        decay = min(self.settings.average, (1 + self.step) / (10 + self.step))
        once = lambda network: [*{v.data_ptr(): v for v in network.state_dict().values()  # blocks may share some
                                  if v.is_floating_point()}.values()]
        kept, new = map(once, (self.average, self.student))
        get_ema_multi_avg_fn(decay)(kept, new, None)


def load_average(checkpoint: Path) -> FaceNet:
    """The averaged student of a checkpoint, ready to export."""
    state = torch.load(checkpoint, weights_only=True, map_location="cpu")
    network = FaceNet(Config(**state["config"]))
    network.load_state_dict(state["average"])
    return network.eval()


@torch.no_grad()
def agreement(network: FaceNet, faces: torch.Tensor, rows, target, size: int) -> float:
    """Mean cosine between student and teacher on the clean faces `rows`, seen at `size` pixels."""
    network.eval()
    total = 0.0
    for part in np.array_split(rows, max(1, len(rows) // 128)):
        images = interpolate(teacher.unit(faces[part]), size=(size, size), mode="bilinear", align_corners=False)
        with precision.autocast(faces.device.type):
            *_, given = network.features(with_mirror_images(images).contiguous(memory_format=torch.channels_last))
        total += cosine_similarity(joined(given.float()), target.clean(part)).sum().item()
    return total / len(rows)


def channels_last(gradient: torch.Tensor) -> torch.Tensor:
    """The gradient in the layout that the network's backward pass is fast in."""
    return gradient.contiguous(memory_format=torch.channels_last)


def keep_normalisation(network: nn.Module) -> None:
    """Normalises by what the network has seen so far: a small batch knows less."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()


def learn(run: Run, faces: torch.Tensor, rows: np.ndarray, target) -> dict[str, torch.Tensor]:
    """One optimiser step on the faces `rows` of all `faces`; the loss terms.

    Every face is shown as it is and mirrored; maps are compared for the former. They count as much as the learning
    rate is high: at the end only the embedding does.
    """
    s, share = run.settings, rate_at(run.progress, run.settings)
    for group in (g for o in run.optimisers for g in o.param_groups):
        group["lr"] = group["peak"] * share
    images, answer = target.view(faces[rows], rows, run.size)
    images = with_mirror_images(run.degrade(images, None)).contiguous(memory_format=torch.channels_last)
    run.student.train()
    if s.finish:
        keep_normalisation(run.student)
    with precision.autocast(faces.device.type):
        middle, spatial, embedding = run.features(images)
        for features in (middle, spatial):
            features.register_hook(channels_last)  # a selection of rows gives gradients of another layout
        middle, spatial = run.hints.middle(middle[: len(rows)]), run.hints.spatial(spatial[: len(rows)])
    embedding = joined(embedding.float())
    terms = {
        "cosine": losses.cosine_distillation(embedding, answer.embedding),
        "relational": losses.relational_distillation(embedding, answer.embedding),
        "neighbours": losses.neighbour_distillation(embedding, answer.embedding, run.others),
        "spatial": losses.spatial_distillation(
            spatial.float(), target.scale.spatial(answer.spatial, spatial.shape[-1])),
        "middle": losses.spatial_distillation(
            middle.float(), target.scale.middle(answer.middle, middle.shape[-1])),
    }
    run.others = torch.cat([answer.embedding, run.others])[:OTHERS]
    loss = (4.0 * terms["cosine"] + s.relational * terms["relational"] + s.neighbours * terms["neighbours"]
            + share * (s.spatial * terms["spatial"] + s.middle * terms["middle"]))
    for optimiser in run.optimisers:
        optimiser.zero_grad(set_to_none=True)
    loss.backward()
    parameters = [*run.student.parameters(), *run.hints.parameters()]
    now = time.monotonic()
    run.seconds = workers.share_gradients(parameters, run.seconds + now - run.clock)
    run.clock = now
    torch.nn.utils.clip_grad_norm_(parameters, 5.0)
    for optimiser in run.optimisers:
        optimiser.step()
    run.step, run.seen = run.step + 1, run.seen + len(rows) * s.workers
    run.update_average()
    return {name: term.detach() for name, term in terms.items()}


def train(run: Run, faces: torch.Tensor, target, rank: int = 0) -> None:
    """Trains until the time budget is used up; worker 0 saves and validates on the way."""
    training, validation = targets.split(len(faces))
    seed = run.step * run.settings.workers + rank
    torch.manual_seed(seed)
    order = np.random.default_rng(seed)
    bar = tqdm(total=round(run.settings.minutes * 60), initial=round(run.seconds), unit="s",
               mininterval=10, disable=rank > 0)
    begun, saved, mean = run.step, run.seconds, {}
    while run.progress < 1:
        rows = np.sort(order.choice(training, run.settings.batch, replace=False))
        terms = learn(run, faces, rows, target)
        if run.step == begun + 1:
            run.seconds = saved  # the first step compiles, and does not count
        mean = {k: mean[k].lerp(v, 0.02) if mean else v for k, v in terms.items()}
        if run.step % 20 == 0:
            bar.n = round(run.seconds)
            bar.set_postfix(step=run.step, size=run.size, **{k: f"{v.item():.4f}" for k, v in mean.items()})
        if rank == 0 and (run.seconds - saved > run.settings.save_every or run.progress >= 1):
            run.save()
            agreed = agreement(run.average, faces, validation, target, run.size)
            report(run, agreed, {k: v.item() for k, v in mean.items()}, len(training))
            saved = run.seconds
    bar.close()


def report(run: Run, validation: float, mean: dict, faces: int) -> None:
    """Appends one line to `<run>/log.jsonl`."""
    line = {"step": run.step, "epoch": round(run.seen / faces, 2), "minutes": round(run.seconds / 60, 1),
            "validation_cosine": round(validation, 4), **{k: round(v, 5) for k, v in mean.items()}}
    with open(run.folder / "log.jsonl", "a") as log:
        log.write(json.dumps(line) + "\n")


def work(rank: int, folder: Path, runs: Path, path: Path, config: Config, settings: Settings,
         init: Path | None) -> None:
    """What each worker does; `path` is the teacher's."""
    images, _ = zips.load(runs / "faces")
    torch.manual_seed(0)
    torch.backends.cudnn.benchmark = True
    faces = torch.from_numpy(images).to(settings.device)
    if settings.live:
        target = targets.Live(teacher.Network(path, faces[:: max(1, len(faces) // 256)]), faces, settings.finish)
    else:
        kept = teacher.load(runs / "faces", path.stem)
        faces, target = faces[: len(kept[0])], targets.Kept(*kept, settings.device)
    train(start(folder, config, settings, init, faces), faces, target, rank)


def start(folder: Path, config: Config, settings: Settings, init: Path | None, faces: torch.Tensor) -> Run:
    """A new run, the continuation of the one in `folder`, or one that starts from a checkpoint or a model."""
    run = Run(folder, config, settings)
    some = teacher.unit(faces[:: max(1, len(faces) // 256)])
    if not run.restore() and init:
        if init.suffix == ".pt":
            before = load_average(init)
            grown = deeper(before) if (before.config.plan, config.plan) == ("full", "again") else before
            run.student.load_state_dict(grown.state_dict())
            run.hints.load_state_dict(torch.load(init, weights_only=True, map_location=settings.device)["hints"])
        else:
            onnx_weights.load_into(run.student, init, some)
        run.average.load_state_dict(run.student.state_dict())
    if settings.int8:
        run.ranges = run.ranges or rounding.ranges(run.student, interpolate(some, size=run.size, mode="bilinear"))
        rounding.simulate(run.student, run.ranges)
    return run
