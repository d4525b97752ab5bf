"""Training the two halves of the student side by side, before they are trained together.

The lower half learns the teacher's feature map at stride 8 from degraded pixels, a target in every cell and
channel; the upper half learns the labels from that map alone, at a fifth of the cost of whole steps. Owns
the cached maps (`features.npy` beside a shard: uint8 [n, 64, S/8, S/8]) and the checkpoints of both halves.
"""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from torch.utils.data import IterableDataset
from tqdm import tqdm

from .. import precision
from . import grid
from .degrade import degrade
from .loss import loss
from .network import Network
from .shards import Shard, complete
from .train import cv2_threads, loop, pixels

TOP = 64.0
"""A cached value of this means 1 to the networks."""
FACE_WEIGHT = 4.0
"""How much more the map counts inside faces than outside."""


def write_features(runs: Path, teacher: Path, size: int, threads: int) -> None:
    """Caches the teacher's map for every shard; channels are scaled alike in all of them.

    The map is the backbone's share of the neck's last addition.
    """
    model = onnx.load(teacher)
    name = [n for n in model.graph.node if n.op_type == "Add"][-1].input[0]
    for axis, label in ((0, "batch"), (2, "height"), (3, "width")):
        model.graph.input[0].type.tensor_type.shape.dim[axis].dim_param = label
    del model.graph.output[:]
    model.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)

    def features(images: np.ndarray) -> np.ndarray:
        batch = np.ascontiguousarray(images.transpose(0, 3, 1, 2), np.float32)
        return session.run(None, {session.get_inputs()[0].name: batch})[0]

    scale_file = runs / "feature_scale.npy"
    for path in complete(runs / "shards", size):
        if (path / "features.npy").exists():
            continue
        images = np.load(path / "images.npy", mmap_mode="r")
        if not scale_file.exists():
            top = np.quantile(features(images[:64]), 0.999, axis=(0, 2, 3))
            np.save(scale_file, (255 / np.maximum(top, 1e-3)).astype(np.float32))
        scale = np.load(scale_file)[:, None, None]
        made = [
            np.clip(np.round(features(images[r : r + 32]) * scale), 0, 255).astype(np.uint8)
            for r in tqdm(range(0, len(images), 32), f"features {path.name}", mininterval=10)
        ]
        np.save(path / "partial.npy", np.concatenate(made))
        (path / "partial.npy").rename(path / "features.npy")


class Halves(IterableDataset):
    """Endless batches of degraded pixels, map, weight of the map's cells, target, owner and faces.

    `half` says which one they are for; the upper half gets no pixels, but an empty tensor.
    """

    def __init__(self, half: str, shards: list[Path], batch: int):
        self.half, self.paths, self.batch, self.seed = half, shards, batch, 0

    def __iter__(self):
        cv2_threads()
        rng = np.random.default_rng(self.seed)
        shards = [(Shard(p), np.load(p / "features.npy", mmap_mode="r")) for p in self.paths]
        rows = [(*s, r) for s in shards for r in range(len(s[0]))]
        while True:
            order = rng.permutation(len(rows))
            for start in range(0, len(rows) - self.batch + 1, self.batch):
                chosen = [rows[i] for i in order[start : start + self.batch]]
                samples = [self.sample(rng, *row) for row in chosen]
                yield tuple(torch.from_numpy(np.stack(field)) for field in zip(*samples))

    def sample(self, rng: np.random.Generator, shard: Shard, features: np.ndarray, row: int) -> tuple:
        """The six arrays of one scene."""
        image = np.empty(0, np.uint8)
        if self.half != "upper":
            image = degrade(rng, np.ascontiguousarray(shard.images[row])).transpose(2, 0, 1)
        weight = np.ones((1, *features.shape[2:]), np.float32)
        for x1, y1, x2, y2 in np.clip(shard.faces[row][:, :4] / grid.STRIDES[0], 0, None):
            weight[0, int(y1) : int(np.ceil(y2)), int(x1) : int(np.ceil(x2))] = FACE_WEIGHT
        target = shard.target[row].astype(np.float32) / 255
        return image, features[row], weight, target, shard.owner[row].astype(np.int64), shard.faces[row]


def part(network: Network, half: str) -> list[torch.nn.Module]:
    """The modules of one half."""
    if half == "lower":
        return [network.stem, network.backbone[0]]
    return [*network.backbone[1:], network.lateral, network.shared, network.heads]


def train_half(half: str, runs: Path, size: int, steps: int, batch: int, peak: float, threads: int) -> None:
    """Trains the lower or the upper half, or `both` together from `joined.pt`; continues `<half>.pt`."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    network = Network()
    if half == "both":
        network.load_state_dict(torch.load(runs / "joined.pt", weights_only=True)["ema"])
    modules = [network] if half == "both" else part(network, half)
    lower, upper = torch.compile(network.lower), torch.compile(network.upper)
    cells = torch.from_numpy(grid.cells(size, size))

    def parts(images: torch.Tensor, taught: torch.Tensor, weight: torch.Tensor, *labels: torch.Tensor) -> dict:
        losses, x = {}, (taught / TOP).contiguous(memory_format=torch.channels_last)
        with precision.autocast("cpu"):
            if half != "upper":
                x = lower(pixels(images))
                losses["map"] = ((x.float() - taught / TOP) ** 2 * weight).mean()
            if half != "lower":
                losses |= loss(upper(x), cells, *labels)
        return losses

    batches = Halves(half, complete(runs / "shards", size), batch)
    loop(network, modules, batches, parts, runs / f"{half}.pt", steps, peak)


def join(runs: Path, target: Path) -> None:
    """Puts both halves together as a checkpoint to start training both from."""
    lower, upper = (torch.load(runs / f"{h}.pt", weights_only=True)["ema"] for h in ("lower", "upper"))
    below = ("stem.", "backbone.0.")
    torch.save({"ema": {k: lower[k] if k.startswith(below) else v for k, v in upper.items()}}, target)
