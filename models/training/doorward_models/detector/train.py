"""Training the student on labelled shards, resumable from its checkpoint.

Owns the order of the batches, the learning rate and the averaged weights that exports use.
"""

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch.optim.swa_utils import get_ema_multi_avg_fn
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from .. import precision
from ..checkpoint import Checkpoint
from . import export, grid, restore
from .degrade import degrade
from .loss import MARKS, loss
from .network import Network, cost
from .shards import Shard, complete

AVERAGE = 0.998  # how much of the averaged weights a step leaves


def mirror(image: np.ndarray, target: np.ndarray, owner: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, ...]:
    """The same sample seen in a mirror: cells, boxes and landmark names change sides."""
    size = image.shape[1]
    order, first = [], 0
    for stride in grid.STRIDES:
        n = size // stride
        order.append(np.arange(first, first + n * n).reshape(n, n)[:, ::-1].ravel())
        first += n * n
    order = np.concatenate(order)
    x1, y1, x2, y2 = faces[:, :4].T
    marks = faces[:, 4:14].reshape(-1, 5, 2)[:, [1, 0, 2, 4, 3]] * [-1, 1] + [size, 0]
    turned = np.column_stack([size - x2, y1, size - x1, y2, marks.reshape(-1, 10), faces[:, 14]])
    return image[:, ::-1], target[order], owner[order], turned.astype(np.float32)


class Batches(IterableDataset):
    """Endless batches: images uint8 [B, 3, S, S], target, owner, faces; a run that goes on sees others than before."""

    def __init__(self, shards: list[Path], batch: int):
        self.paths, self.batch, self.seed = shards, batch, 0

    def __iter__(self):
        cv2_threads()
        rng = np.random.default_rng([self.seed, get_worker_info().id if get_worker_info() else 0])
        shards = [Shard(p) for p in self.paths]
        while True:
            rows = [(s, r) for s in shards for r in range(len(s))]
            order = rng.permutation(len(rows))
            for start in range(0, len(rows) - self.batch + 1, self.batch):
                yield self.collate(rng, [rows[i] for i in order[start : start + self.batch]])

    def collate(self, rng: np.random.Generator, rows: list) -> tuple[torch.Tensor, ...]:
        """One batch from (shard, row) pairs, mirrored and degraded at random."""
        samples = []
        for shard, row in rows:
            sample = (shard.images[row], shard.target[row], shard.owner[row], shard.faces[row])
            if rng.random() < 0.5:
                sample = mirror(*sample)
            samples.append((degrade(rng, np.ascontiguousarray(sample[0])), *sample[1:]))
        images, target, owner, faces = (np.stack(field) for field in zip(*samples))
        return (
            torch.from_numpy(images.transpose(0, 3, 1, 2)),
            torch.from_numpy(target.astype(np.float32) / 255),
            torch.from_numpy(owner.astype(np.int64)),
            torch.from_numpy(faces),
        )


def cv2_threads() -> None:
    """One thread for image work: the cores belong to the network."""
    import cv2

    cv2.setNumThreads(1)


def rate(step: int, steps: int, peak: float) -> float:
    """Warm-up over 200 steps, then half a cosine down to a hundredth."""
    if step < 200:
        return peak * (step + 1) / 200
    return peak * float(0.01 + 0.99 * (1 + np.cos(np.pi * min(step / steps, 1))) / 2)


def loop(
    network: Network,
    batches: IterableDataset,
    parts: Callable[..., dict[str, torch.Tensor]],
    path: Path,
    steps: int,
    peak: float,
    loaders: int = 1,
    made: str = "",
) -> None:
    """Trains `network`, on its device, until `steps` on the loss `parts(*batch)`.

    Goes on from the checkpoint at `path` if it is there. `loaders` processes make the batches.
    """
    network.to(memory_format=torch.channels_last).train()
    device = next(network.parameters()).device
    parameters, average = list(network.parameters()), copy.deepcopy(network)
    optimiser = torch.optim.AdamW(parameters, lr=peak, weight_decay=1e-4)
    checkpoint = Checkpoint(path, made, network=network, average=average, optimiser=optimiser)
    if checkpoint.step >= steps:
        return
    batches.seed = checkpoint.step
    kept, new = ([v for v in net.state_dict().values() if v.is_floating_point()] for net in (average, network))
    recent = {}
    loader = DataLoader(batches, batch_size=None, num_workers=loaders, prefetch_factor=4)
    for step, batch in zip(checkpoint.steps(steps), loader):
        for group in optimiser.param_groups:
            group["lr"] = rate(step, steps, peak)
        losses = parts(*(field.to(device) for field in batch))
        optimiser.zero_grad(set_to_none=True)
        sum(losses.values()).backward()
        torch.nn.utils.clip_grad_norm_(parameters, 5.0)
        optimiser.step()
        get_ema_multi_avg_fn(min(AVERAGE, (step + 1) / (step + 11)))(kept, new, None)
        recent = {k: recent[k].lerp(v.detach(), 0.02) if recent else v.detach() for k, v in losses.items()}
        if step % 20 == 0:
            checkpoint.tell(recent)


def pixels(images: torch.Tensor) -> torch.Tensor:
    """A uint8 batch as the network's first layer likes it."""
    return images.float().contiguous(memory_format=torch.channels_last)


def begin(start: Path | None, shards: list[Path]) -> Network:
    """A new network, one with the averaged weights of a checkpoint, or one with those of an exported model."""
    network = Network()
    if start and start.suffix == ".onnx":
        images = np.array(Shard(shards[0]).images[:64]).transpose(0, 3, 1, 2)
        restore.load_into(network, start, torch.from_numpy(images).float())
    elif start:
        network = export.load(start)
    return network


def train(runs: Path, size: int, steps: int, batch: int, peak: float, threads: int, start: Path | None,
          marks: float = MARKS, device: str = "cpu", loaders: int = 1, made: str = "") -> None:
    """Trains the whole network on labels until `steps`, from `start`; `marks` weighs the landmarks."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    shards = complete(runs / "shards", size, least=batch)
    checkpoint = runs / "checkpoint.pt"
    if start and checkpoint.exists():
        print(f"{checkpoint} is continued; --start {start} counts only where there is none")
    network = begin(start, shards)
    parameters, macs = cost(network, 256, 320)
    print(f"{parameters} parameters, {macs / 1e6:.1f} M MAC at 320x256 ({macs / 1e6 * 240 / 256:.1f} M at 320x240)")
    cells = torch.from_numpy(grid.cells(size, size)).to(device)
    network.to(device)
    forward = torch.compile(network) if device == "cpu" else network

    def parts(images: torch.Tensor, *labels: torch.Tensor) -> dict[str, torch.Tensor]:
        with precision.autocast(device):
            raw = forward(pixels(images))
        return loss(raw, cells, *labels, marks)

    batches = Batches(shards, batch)
    loop(network, batches, parts, checkpoint, steps, peak, loaders, made)
