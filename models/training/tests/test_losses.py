"""Each loss on cases small enough to work out by hand, and its gradient against finite differences."""

import math

import pytest
import torch

from doorward_models import losses

POINTS = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
LABELS = torch.tensor([0, 0, 1])


def test_distances_are_euclidean_with_finite_gradient_at_zero():
    x = torch.tensor([[0.0, 0.0], [3.0, 4.0], [0.0, 0.0]], requires_grad=True)
    d = losses.distances(x)
    assert d[0, 1].item() == pytest.approx(5.0)
    assert d[0, 2].item() == 0.0
    d.sum().backward()
    assert torch.isfinite(x.grad).all()


def test_koch_head_is_a_weighted_l1_distance():
    head = losses.KochHead(2)
    with torch.no_grad():
        head.compare.weight.copy_(torch.tensor([[-1.0, -2.0]]))
        head.compare.bias.fill_(3.0)
    a, b = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, -1.0]])
    assert head(a, b).item() == pytest.approx(0.0)  # -1*1 - 2*1 + 3
    assert head.loss(a, b, torch.tensor([1])).item() == pytest.approx(math.log(2))
    assert torch.equal(head(a, b), head(b, a))


def test_contrastive_pulls_mates_and_pushes_others_up_to_the_margin():
    a, b = torch.zeros(3, 1), torch.tensor([[2.0], [0.4], [7.0]])
    same = torch.tensor([1, 0, 0])
    expected = 0.5 * (2.0**2 + 0.6**2 + 0.0) / 3
    assert losses.contrastive(a, b, same, margin=1.0).item() == pytest.approx(expected, rel=1e-5)


def test_semi_hard_takes_the_nearest_negative_beyond_the_mate():
    # Squared distances: mates 2, anchor 0 to the negative 4, anchor 1 to the negative 2 (not beyond).
    loss = losses.triplet_semi_hard(POINTS, LABELS, margin=2.5)
    assert loss.item() == pytest.approx(((2 - 4 + 2.5) + (2 - 2 + 2.5)) / 2, rel=1e-5)


def test_batch_hard_takes_the_farthest_mate_and_the_nearest_negative():
    x = torch.tensor([[0.0], [1.0], [5.0], [7.0]])
    labels = torch.tensor([0, 0, 0, 1])
    # Anchors 0, 1, 2: farthest mates 5, 4, 5; nearest negatives 7, 6, 2. The last has no mate.
    assert losses.triplet_batch_hard(x, labels, margin=1.0).item() == pytest.approx(4.0 / 3)
    soft = sum(math.log1p(math.exp(v)) for v in (-2.0, -2.0, 3.0)) / 3
    assert losses.triplet_batch_hard(x, labels).item() == pytest.approx(soft, rel=1e-5)


@pytest.mark.parametrize("loss", [losses.triplet_semi_hard, losses.triplet_batch_hard])
def test_a_batch_without_triplets_gives_zero_with_a_gradient(loss):
    x = torch.randn(4, 3, requires_grad=True)
    value = loss(x, torch.arange(4))
    value.backward()
    assert value.item() == 0.0 and torch.equal(x.grad, torch.zeros(4, 3))


def test_classifier_without_knowledge_costs_log_of_classes():
    head = losses.Classifier(2, 5)
    for p in head.parameters():
        torch.nn.init.zeros_(p)
    assert head(POINTS, LABELS).item() == pytest.approx(math.log(5), rel=1e-6)


def test_deepid2_adds_the_weighted_verification_of_all_pairs():
    head = losses.DeepID2(2, 5, margin=3.0, weight=0.5)
    for p in head.parameters():
        torch.nn.init.zeros_(p)
    # Pairs: (0,1) mates at sqrt(2); (0,2) others at 2; (1,2) others at sqrt(2).
    verification = 0.5 * (2 + (3 - 2) ** 2 + (3 - math.sqrt(2)) ** 2) / 3
    assert head(POINTS, LABELS).item() == pytest.approx(math.log(5) + 0.5 * verification, rel=1e-5)


def test_angular_margin_moves_only_the_own_class():
    head = losses.AdditiveAngularMargin(2, 2, scale=2.0, margin=0.5)
    with torch.no_grad():
        head.weight.copy_(torch.tensor([[3.0, 0.0], [0.0, 0.1]]))  # lengths do not matter
    angle = 0.3
    x = 7.0 * torch.tensor([[math.cos(angle), math.sin(angle)]])
    own, other = 2 * math.cos(angle + 0.5), 2 * math.cos(math.pi / 2 - angle)
    expected = -own + math.log(math.exp(own) + math.exp(other))
    assert head(x, torch.tensor([0])).item() == pytest.approx(expected, rel=1e-5)


def test_angular_margin_keeps_falling_beyond_the_half_turn():
    head = losses.AdditiveAngularMargin(2, 2, scale=1.0, margin=0.5)
    with torch.no_grad():
        head.weight.copy_(torch.eye(2))
    angles = torch.linspace(2.4, 3.1, 8)
    x = torch.stack([angles.cos(), -angles.sin()], 1)
    values = [head(row[None], torch.tensor([0])).item() for row in x]
    cosine_to_other = [-math.sin(a) for a in angles.tolist()]
    own = [-math.log(math.expm1(v)) + o for v, o in zip(values, cosine_to_other)]
    assert all(a > b for a, b in zip(own, own[1:]))


def test_distillation_losses_vanish_at_the_teacher_whatever_the_scale():
    teacher = torch.randn(6, 4)
    assert losses.cosine_distillation(3 * teacher, teacher).item() == pytest.approx(0, abs=1e-6)
    assert losses.relational_distillation(3 * teacher, teacher).item() == pytest.approx(0, abs=1e-6)
    assert losses.spatial_distillation(teacher, teacher).item() == 0.0


def test_relational_distillation_compares_similarities_not_coordinates():
    teacher = torch.eye(2)
    turned = torch.tensor([[0.0, 1.0], [-1.0, 0.0]])
    assert losses.relational_distillation(turned, teacher).item() == pytest.approx(0, abs=1e-7)
    merged = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    assert losses.relational_distillation(merged, teacher).item() == pytest.approx(1.0)
    assert losses.cosine_distillation(merged, teacher).item() == pytest.approx(0.5)


def test_neighbour_distillation_compares_whom_a_face_is_like():
    others = torch.eye(2)
    assert losses.neighbour_distillation(torch.tensor([[2.0, 1.0]]), torch.tensor([[4.0, 2.0]]), others).item() == 0.0
    sure, torn = torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 1.0]])  # of the odds 3 to 1 at this temperature
    value = losses.neighbour_distillation(torn, sure, others, temperature=1 / math.log(3)).item()
    assert value == pytest.approx(0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5))
    assert losses.neighbour_distillation(torn, sure, torch.empty(0, 2)).item() == 0.0


GRADIENTS = {
    "koch": lambda x: losses.KochHead(3).double().loss(x[:4], x[4:], torch.tensor([1, 0, 1, 0])),
    "contrastive": lambda x: losses.contrastive(x[:4], x[4:], torch.tensor([1, 0, 1, 0]), 2.0),
    "semi-hard": lambda x: losses.triplet_semi_hard(x, torch.tensor([0, 0, 1, 1, 2, 2, 3, 3])),
    "batch-hard": lambda x: losses.triplet_batch_hard(x, torch.tensor([0, 0, 1, 1, 2, 2, 3, 3])),
    "cosine": lambda x: losses.cosine_distillation(x, torch.ones_like(x)),
    "neighbours": lambda x: losses.neighbour_distillation(x, torch.ones_like(x), torch.eye(3, dtype=x.dtype), 0.5),
    "relational": lambda x: losses.relational_distillation(x, torch.eye(8, dtype=torch.float64)),
}


@pytest.mark.parametrize("name", GRADIENTS)
def test_gradient_agrees_with_finite_differences(name):
    torch.manual_seed(1)
    x = torch.randn(8, 3, dtype=torch.float64, requires_grad=True)
    seeded = lambda v: (torch.manual_seed(2), GRADIENTS[name](v))[1]
    assert torch.autograd.gradcheck(seeded, (x,), eps=1e-6, atol=1e-4)


def test_angular_margin_gradient_agrees_with_finite_differences():
    torch.manual_seed(3)
    head = losses.AdditiveAngularMargin(3, 4, scale=4.0).double()
    x = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda v: head(v, torch.tensor([0, 1, 2, 3, 0])), (x,), atol=1e-4)
