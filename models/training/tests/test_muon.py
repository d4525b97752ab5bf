"""Orthogonal steps on cases with a known answer."""

import pytest
import torch

from doorward_models import muon


@pytest.mark.parametrize("shape", [(2, 8, 30), (2, 30, 8)])
def test_singular_values_are_pushed_to_about_one(shape):
    given = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    values = torch.linalg.svdvals(muon.orthogonal(given))
    assert 0.6 < values.min() and values.max() < 1.3


def test_a_step_changes_the_weight_by_its_rate_and_keeps_its_norm():
    weight = torch.nn.Parameter(torch.randn(16, 4, 3, 3, generator=torch.Generator().manual_seed(0)))
    optimiser = muon.Muon([weight], lr=0.1)
    before = weight.detach() * (4 / weight.detach().norm())
    weight.grad = torch.randn(16, 4, 3, 3, generator=torch.Generator().manual_seed(1))
    optimiser.step()
    assert (weight - before).norm().item() == pytest.approx(0.1 * 4, rel=1e-3)


def test_without_a_gradient_the_weight_stays():
    weight = torch.nn.Parameter(torch.full((4, 1, 2, 2), 0.5))  # of norm sqrt(4)
    before, weight.grad = weight.detach().clone(), torch.zeros(4, 1, 2, 2)
    muon.Muon([weight], lr=0.1).step()
    assert torch.allclose(weight, before)


def test_weights_of_one_shape_step_as_each_would_alone():
    draw = lambda seed: torch.randn(8, 4, 3, 3, generator=torch.Generator().manual_seed(seed))
    together, alone = ([torch.nn.Parameter(draw(k)) for k in range(2)] for _ in range(2))
    optimisers = [muon.Muon(together, lr=0.1), *(muon.Muon([weight], lr=0.1) for weight in alone)]
    for step in range(3):
        for weights in (together, alone):
            for k, weight in enumerate(weights):
                weight.grad = draw(10 * step + k + 2)
        for optimiser in optimisers:
            optimiser.step()
    for a, b in zip(together, alone):
        assert torch.allclose(a, b, atol=1e-2) and not torch.allclose(a, draw(0), atol=0.1)


def test_it_finds_the_direction_of_least_loss():
    wanted = torch.randn(4, 2, 1, 1, generator=torch.Generator().manual_seed(2))
    weight = torch.nn.Parameter(torch.randn(4, 2, 1, 1, generator=torch.Generator().manual_seed(3)))
    optimiser = muon.Muon([weight], lr=0.05)
    cosine = lambda: torch.nn.functional.cosine_similarity(weight.flatten(), wanted.flatten(), 0)
    for _ in range(100):
        optimiser.zero_grad()
        (-cosine()).backward()
        optimiser.step()
    assert cosine().item() > 0.95
