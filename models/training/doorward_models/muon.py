"""Muon: momentum whose steps are made orthogonal, for weights that a normalisation makes free of scale.

Owns the optimiser and which weights are its. After Jordan et al., "Muon: An optimizer for hidden layers in
neural networks" (2024), and its use on convolutions in their CIFAR-10 speed runs.
"""

import torch

from . import precision
from .networks import Unit


def orthogonal(matrices: torch.Tensor, steps: int = 5) -> torch.Tensor:
    """Matrices [N, R, C] with their singular values pushed to about 1 (0.7 to 1.2), by Newton-Schulz steps."""
    a, b, c = 3.4445, -4.7750, 2.0315
    wide = matrices.shape[1] <= matrices.shape[2]
    x = matrices.bfloat16() if precision.has_bfloat16(matrices.device.type) else matrices
    x = x if wide else x.mT
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x if wide else x.mT).to(matrices.dtype)


def split(network: torch.nn.Module, *others: torch.nn.Module) -> tuple[list, list]:
    """The weights of the network's dense convolutions, for Muon, and all other parameters, of `others` too."""
    units = [m for m in network.modules() if isinstance(m, Unit) and m.conv.groups == 1]
    chosen = {id(m.conv.weight): m.conv.weight for m in units}  # once, though blocks may share them
    rest = [p for module in (network, *others) for p in module.parameters() if id(p) not in chosen]
    return list(chosen.values()), rest


class Muon(torch.optim.Optimizer):
    """For convolution weights [out, in, h, w] that batch normalisation follows.

    Each weight is kept at the norm sqrt(out) and each step has that norm times `lr`, so that `lr` is the
    relative change of every layer. Weights of one shape take their step together.
    """

    def __init__(self, parameters, lr: float, momentum: float = 0.9):
        super().__init__(parameters, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            alike = {}
            for p in group["params"]:
                if p.grad is not None:
                    alike.setdefault(p.shape, []).append(p)
            for parameters in alike.values():
                self._step(parameters, group["lr"], group["momentum"])

    def _step(self, parameters: list[torch.Tensor], lr: float, momentum: float) -> None:
        for p in parameters:
            if not self.state[p]:
                self.state[p]["momentum"] = torch.zeros_like(p.grad)
        gradients, kept = [p.grad for p in parameters], [self.state[p]["momentum"] for p in parameters]
        torch._foreach_mul_(kept, momentum)
        torch._foreach_add_(kept, gradients)
        ahead = torch.stack(torch._foreach_add(gradients, kept, alpha=momentum))
        update = orthogonal(ahead.flatten(2))
        norm = len(parameters[0]) ** 0.5
        update *= lr * norm / update.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
        torch._foreach_mul_(parameters, [norm / n for n in torch._foreach_norm(parameters)])
        torch._foreach_sub_(parameters, [u.view_as(p) for u, p in zip(update, parameters)])
