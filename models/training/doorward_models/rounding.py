"""Simulated int8 while training: the network learns to live with the rounding that `quantise` will do.

Owns the simulation only. Weights are rounded per output channel in [-127, 127], the input, every sum, the embedding
and the output of every unit that no sum follows per tensor; gradients pass as if nothing was rounded (Jacob et al.,
"Quantization and Training of Neural Networks", 2018). Normalisation scales whole output channels, so that
rounding before it is the same as rounding the folded weights.
"""

import torch
from torch import nn

from .networks import Block, FaceNet, Unit
from .quantise import OFF_THE_MIDDLE, activation_range

METHOD = "mse"
SAMPLES = 20_000  # values of each tensor that its range is chosen from


def rounded(weight: torch.Tensor) -> torch.Tensor:
    """The weight [out, ...] on its int8 grid; its gradient is that of the weight itself."""
    largest = weight.detach().abs().flatten(1).amax(1).clamp(min=1e-12)
    step = (largest / 127).view(-1, *[1] * (weight.ndim - 1))
    return weight + (torch.round(weight.detach() / step) * step - weight.detach())


def onto_grid(values: torch.Tensor, low: float, high: float) -> torch.Tensor:
    """Values on 256 steps over [low, high]; clipped ones get no gradient."""
    step = (high - low) / 255
    return torch.fake_quantize_per_tensor_affine(values.float(), step, -128 - round(low / step), -128, 127)


def places(network: FaceNet) -> dict[str, nn.Module]:
    """The modules whose outputs are int8 tensors of the exported model."""
    sums = [m for m in network.modules() if isinstance(m, Block) and m.shortcut]
    summed = [m.units[-1] for m in sums]  # rounded with their sum only
    return {name: m for name, m in network.named_modules()
            if m in sums or isinstance(m, (Unit, nn.Linear)) and m not in summed}


@torch.no_grad()
def ranges(network: FaceNet, images: torch.Tensor) -> dict[str, tuple[float, float]]:
    """The range of every place's output on `images` [B, 3, S, S], as the network is fed in training."""
    found = {}

    def look(name):
        def hook(_, __, output):
            flat = output.float().flatten()
            chosen = torch.randint(0, len(flat), (SAMPLES,), generator=torch.Generator().manual_seed(0))
            values = torch.cat([flat[chosen], flat.min()[None], flat.max()[None]])
            found[name] = tuple(map(float, activation_range(values.cpu().numpy(), METHOD)))
        return hook

    hooks = [m.register_forward_hook(look(name)) for name, m in places(network).items()]
    network.eval().features(images)
    for hook in hooks:
        hook.remove()
    return found


def simulate(network: FaceNet, chosen: dict[str, tuple[float, float]]) -> None:
    """From now on `network` rounds, in the `chosen` ranges; its parameters and their names stay."""
    for name, module in places(network).items():
        low, high = chosen[name]
        module.register_forward_hook(lambda _, __, y, low=low, high=high: onto_grid(y, low, high))
    network.body[0].register_forward_pre_hook(
        lambda _, inputs: (onto_grid(inputs[0], -OFF_THE_MIDDLE, OFF_THE_MIDDLE),))
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.forward = lambda x, m=module: m._conv_forward(x, rounded(m.weight), m.bias)
        elif isinstance(module, nn.Linear):
            module.forward = lambda x, m=module: nn.functional.linear(x, rounded(m.weight), m.bias)
