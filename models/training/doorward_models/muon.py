"""Muon: momentum whose steps are made orthogonal, for weights that a normalisation makes free of scale.

Owns the optimiser only. After Jordan et al., "Muon: An optimizer for hidden layers in neural networks"
(2024), and its use on convolutions in their CIFAR-10 speed runs.
"""

import torch


def orthogonal(matrix: torch.Tensor, steps: int = 5) -> torch.Tensor:
    """The matrix [R, C] with its singular values pushed to about 1 (0.7 to 1.2), by Newton-Schulz steps."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = matrix.bfloat16()
    wide = x.shape[0] <= x.shape[1]
    x = x if wide else x.T
    x = x / (x.norm() + 1e-7)
    for _ in range(steps):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return (x if wide else x.T).to(matrix.dtype)


class Muon(torch.optim.Optimizer):
    """For convolution weights [out, in, h, w] that batch normalisation follows.

    Each weight is kept at the norm sqrt(out) and each step has that norm times `lr`, so that `lr` is the
    relative change of every layer.
    """

    def __init__(self, parameters, lr: float, momentum: float = 0.9):
        super().__init__(parameters, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in (p for p in group["params"] if p.grad is not None):
                state = self.state[p]
                if not state:
                    state["momentum"] = torch.zeros_like(p.grad)
                kept = state["momentum"].mul_(group["momentum"]).add_(p.grad)
                update = orthogonal(p.grad.add(kept, alpha=group["momentum"]).reshape(len(p), -1))
                norm = len(p) ** 0.5
                p.mul_(norm / p.norm())
                p.sub_(update.view_as(p) * (group["lr"] * norm / update.norm()))
