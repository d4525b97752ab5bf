"""Face embedding networks of the MobileFaceNet family.

Owns the shapes of the networks and the folding of batch normalisation. Never trains, never exports.

Five plans share the same blocks:

* `mobilefacenet`: Chen et al., "MobileFaceNets" (2018), channels times `width`.
* `fused`: dense 3x3 convolutions while the image is large, MobileFaceNet bottlenecks from 14x14 on.
  Same idea as EfficientNetV2 (Tan and Le, 2021): depthwise convolutions over large images move much
  memory for little arithmetic, so dense ones of the same cost train about three times faster on a CPU
  and fill integer dot-product units better.
* `dense`: dense 3x3 convolutions throughout, one halving less, for images at half size.
* `full`: dense 3x3 convolutions throughout, for images at full size.
* `again`: `full`, its last blocks run twice in a row with the same weights: more depth in the same file.
  Each run has statistics, biases and slopes of its own, which is what makes it worth while (Jastrzebski et al.,
  "Residual Connections Encourage Iterative Inference", 2018).
"""

import math
from dataclasses import asdict, dataclass, replace
from itertools import islice

import torch
from torch import nn
from torch.nn.functional import interpolate


@dataclass(frozen=True)
class Stage:
    """`repeat` blocks with `channels` outputs, each run `times` in a row; only the first uses `stride`."""

    kind: str  # "conv" | "fused" | "bottleneck"
    channels: int
    expanded: int
    repeat: int
    stride: int
    times: int = 1  # more only for blocks with a shortcut


@dataclass(frozen=True)
class Config:
    """Everything needed to build a network again; stored in every checkpoint and model."""

    plan: str = "fused"
    width: float = 1.0
    activation: str = "relu"  # "relu" | "prelu"
    head: str = "flatten"  # "flatten" | "depthwise"
    embedding: int = 512
    reduce: int = 1  # 2: the first convolution sees the image at half size

    @property
    def grid(self) -> int:
        """Side of the last feature map for a 112x112 image."""
        halvings = 2 * math.prod(stage.stride for stage in stages(self.plan, self.width)[1])
        return -(-112 // (self.reduce * halvings))


def scaled(channels: int, width: float) -> int:
    """Channels times width, rounded to a multiple of 8, at least 8."""
    return max(8, int(channels * width / 8 + 0.5) * 8)


def stages(plan: str, width: float) -> tuple[int, list[Stage]]:
    """Channels of the first convolution, and the stages after it. Raises `ValueError`."""
    s = lambda c: scaled(c, width)
    if plan == "mobilefacenet":
        return s(64), [
            Stage("depthwise", s(64), 0, 1, 1),
            Stage("bottleneck", s(64), s(64) * 2, 5, 2),
            Stage("bottleneck", s(128), s(64) * 4, 1, 2),
            Stage("bottleneck", s(128), s(128) * 2, 6, 1),
            Stage("bottleneck", s(128), s(128) * 4, 1, 2),
            Stage("bottleneck", s(128), s(128) * 2, 2, 1),
        ]
    if plan == "fused":
        return s(16), [
            Stage("conv", s(32), 0, 1, 2),
            Stage("fused", s(32), s(48), 1, 1),
            Stage("conv", s(96), 0, 1, 2),
            Stage("bottleneck", s(96), s(96), 5, 1),
            Stage("conv", s(128), 0, 1, 2),
            Stage("bottleneck", s(128), s(256), 3, 1),
        ]
    if plan == "dense":
        return s(32), [
            Stage("conv", s(64), 0, 1, 2),
            Stage("fused", s(64), s(64), 3, 1),
            Stage("conv", s(128), 0, 1, 2),
            Stage("fused", s(128), s(96), 3, 1),
        ]
    if plan in ("full", "again"):
        return s(24), [
            Stage("conv", s(48), 0, 1, 2),
            Stage("fused", s(48), s(48), 4, 1),
            Stage("conv", s(96), 0, 1, 2),
            Stage("fused", s(96), s(96), 5, 1, times=2 if plan == "again" else 1),
            Stage("conv", s(128), 0, 1, 2),
        ]
    raise ValueError(f"unknown plan {plan!r}")


class WholeConv(nn.Conv2d):
    """A depthwise convolution whose kernel is as large as the map: one sum of products for each channel.

    Said that way it trains ten times faster than through the general convolution.
    """

    def _conv_forward(self, x, weight, bias):
        if not self.training:
            return super()._conv_forward(x, weight, bias)
        return (x * weight[:, 0].to(x.dtype)).sum((2, 3), keepdim=True)


class Unit(nn.Module):
    """Convolution, batch normalisation, activation (`None` for a linear output)."""

    def __init__(self, inputs, outputs, kernel, stride=1, groups=1, activation=None):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(outputs)
        self.act = {"relu": nn.ReLU, "prelu": lambda: nn.PReLU(outputs), None: nn.Identity}[activation]()

    def forward(self, x):
        return self.act(self.norm(self.conv(x)))


class Block(nn.Module):
    """A chain of units, with a shortcut where input and output agree in shape."""

    def __init__(self, inputs: int, stage: Stage, stride: int, activation: str):
        super().__init__()
        e, c = stage.expanded, stage.channels
        self.units = nn.Sequential(*{
            "conv": lambda: [Unit(inputs, c, 3, stride, activation=activation)],
            "depthwise": lambda: [Unit(inputs, c, 3, stride, inputs, activation)],
            "fused": lambda: [Unit(inputs, e, 3, stride, activation=activation), Unit(e, c, 1)],
            "bottleneck": lambda: [
                Unit(inputs, e, 1, activation=activation),
                Unit(e, e, 3, stride, e, activation),
                Unit(e, c, 1),
            ],
        }[stage.kind]())
        self.shortcut = stage.kind in ("fused", "bottleneck") and stride == 1 and inputs == c

    def forward(self, x):
        return x + self.units(x) if self.shortcut else self.units(x)

    def share(self, other: "Block") -> None:
        """From now on both have the same weights, and outputs of the same strength."""
        for own, its in zip(self.units, other.units):
            own.conv.weight, own.norm.weight = its.conv.weight, its.norm.weight


class FlattenHead(nn.Module):
    """1x1 convolutions to a map of 64 channels that can copy a teacher's map, then one linear layer."""

    MAP = 64

    def __init__(self, inputs: int, embedding: int, activation: str, grid: int):
        super().__init__()
        self.channels = self.MAP
        self.mix = Unit(inputs, inputs, 1, activation=activation)
        self.map = Unit(inputs, self.MAP, 1)
        self.flatten = nn.Flatten()
        self.linear = nn.Linear(self.MAP * grid**2, embedding)

    def spatial(self, x):
        return self.map(self.mix(x))

    def embed(self, spatial):
        return self.linear(self.flatten(spatial))


class DepthwiseHead(nn.Module):
    """MobileFaceNet's head: a depthwise convolution over the whole map, then a 1x1 convolution."""

    def __init__(self, inputs: int, embedding: int, activation: str, grid: int):
        super().__init__()
        self.channels = inputs * 4
        self.widen = Unit(inputs, inputs * 4, 1, activation=activation)
        self.whole = Unit(inputs * 4, inputs * 4, grid, groups=inputs * 4)
        self.whole.conv = WholeConv(inputs * 4, inputs * 4, grid, groups=inputs * 4, bias=False)
        self.project = Unit(inputs * 4, embedding, 1)
        self.flatten = nn.Flatten()

    def spatial(self, x):
        return self.widen(x)

    def embed(self, spatial):
        return self.flatten(self.project(self.whole(spatial)))


class FaceNet(nn.Module):
    """float [B, 3, 112, 112] in [-1, 1] -> an answer [B, D] to each image, not normalised.

    The embedding of a face is the sum of the answers to its image and to the mirror image.
    """

    def __init__(self, config: Config = Config()):
        super().__init__()
        self.config, self.grid = config, config.grid
        channels, plan = stages(config.plan, config.width)
        blocks = [Unit(3, channels, 3, 2, activation=config.activation)]
        for stage in plan:
            if stage.stride > 1:
                self.middle, self.middle_channels = len(blocks), channels  # ends before the last halving
            for k in range(stage.repeat * stage.times):
                blocks.append(Block(channels, stage, stage.stride if k == 0 else 1, config.activation))
                channels = stage.channels
                if k % stage.times:
                    blocks[-1].share(blocks[-2])
        self.pool = nn.AvgPool2d(config.reduce) if config.reduce > 1 else nn.Identity()
        self.body = nn.Sequential(*blocks)
        head = {"flatten": FlattenHead, "depthwise": DepthwiseHead}[config.head]
        self.head = head(channels, config.embedding, config.activation, config.grid)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def features(self, x):
        """The body's map before its last halving, the head's map [B, C, grid, grid], the answer [B, D].

        For training: `x` is already reduced, and of any size; the body's last map is resized to the grid.
        """
        middle = self.body[: self.middle](x)
        x = self.body[self.middle :](middle)
        if x.shape[-1] != self.grid:
            x = interpolate(x, size=(self.grid, self.grid), mode="bilinear", align_corners=False)
        spatial = self.head.spatial(x)
        return middle, spatial, self.head.embed(spatial)

    def forward(self, x):
        return self.head.embed(self.head.spatial(self.body(self.pool(x))))

    def describe(self) -> dict:
        return asdict(self.config)


@torch.no_grad()
def deeper(network: FaceNet) -> FaceNet:
    """A network of plan `full` as one of plan `again` that starts with nearly the same function.

    Each run of a block takes half of its step.
    """
    grown = FaceNet(replace(network.config, plan="again"))
    plan = stages("again", network.config.width)[1]
    blocks = iter(network.body)
    runs = [(next(blocks), 1)] + [(block, stage.times) for stage in plan for block in islice(blocks, stage.repeat)]
    for own, (block, times) in zip(grown.body, [run for run in runs for _ in range(run[1])]):
        own.load_state_dict(block.state_dict())
        if times > 1:
            own.units[-1].norm.bias /= times
            own.units[-1].norm.weight.copy_(block.units[-1].norm.weight / times)
    grown.head.load_state_dict(network.head.state_dict())
    return grown


def with_mirror_images(images):
    """[B, 3, H, W] -> [2 B, 3, H, W]: the images, then their mirror images."""
    return torch.cat([images, images.flip(3)])


def joined(embeddings):
    """[2 B, D] of images and their mirror images -> [B, D]: their sums, the embeddings of the faces."""
    return sum(embeddings.chunk(2))


@torch.no_grad()
def fold_units(network: nn.Module) -> None:
    """Folds every unit's batch normalisation into its convolution, in place; `network` is in evaluation mode."""
    for unit in network.modules():
        if isinstance(unit, Unit):
            unit.conv = torch.nn.utils.fuse_conv_bn_eval(unit.conv, unit.norm)
            unit.norm = nn.Identity()


@torch.no_grad()
def centre(folded: FaceNet, images: torch.Tensor) -> None:
    """Takes the mean answer to `images` [B, 3, 112, 112] and their mirror images off a folded network's last bias.

    What all faces have in common says nothing about whose face it is.
    """
    answers = [folded(with_mirror_images(part)) for part in images.split(64)]
    head = folded.head
    last = head.linear if isinstance(head, FlattenHead) else head.project.conv
    last.bias -= torch.cat(answers).mean(0)


@torch.no_grad()
def fold(network: FaceNet) -> FaceNet:
    """The same network for inference: every batch normalisation is folded into its convolution, and so is
    the pooling before the first one (a 3x3 kernel over 2x2 means is a 6x6 kernel of twice the stride).
    """
    folded = FaceNet(network.config)
    folded.load_state_dict(network.state_dict())
    folded.eval()
    fold_units(folded)
    if network.config.reduce > 1:
        folded.pool, first = nn.Identity(), folded.body[0]
        first.conv = _with_pooling(first.conv, network.config.reduce)
    return folded


def _with_pooling(conv: nn.Conv2d, k: int) -> nn.Conv2d:
    """The convolution that does a k x k mean pooling and then `conv`."""
    scale = lambda pair: tuple(k * v for v in pair)
    wide = nn.Conv2d(conv.in_channels, conv.out_channels, scale(conv.kernel_size), scale(conv.stride),
                     scale(conv.padding))
    wide.weight.copy_(conv.weight.repeat_interleave(k, 2).repeat_interleave(k, 3) / k**2)
    wide.bias.copy_(conv.bias)
    return wide


@torch.no_grad()
def cost(network: FaceNet) -> tuple[int, int]:
    """Multiply-accumulates of one 112x112 image, and the number of weights after folding."""
    folded, total = fold(network), 0

    def count(module, _, output):
        nonlocal total
        total += output.numel() * module.weight[0].numel()

    for module in folded.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            module.register_forward_hook(count)
    folded(torch.zeros(1, 3, 112, 112))
    return total, sum(p.numel() for p in folded.parameters())
