"""A training that was stopped goes on as if it had not been."""

import pytest
import torch

from doorward_models import checkpoint, muon
from doorward_models.checkpoint import Chances, Checkpoint


class Training:
    """Of one layer, by random batches; stopped before the step `stop`."""

    def __init__(self, path, command=""):
        torch.manual_seed(0)
        self.layer, self.chances = torch.nn.Linear(4, 3), Chances(0)
        self.muon, self.adam = muon.Muon([self.layer.weight], 0.1), torch.optim.AdamW([self.layer.bias], 0.1)
        self.checkpoint = Checkpoint(path, command, layer=self.layer, chances=self.chances, muon=self.muon,
                                     adam=self.adam)

    def run(self, count, stop=None):
        shown = []
        for step in self.checkpoint.steps(count):
            if step == stop:
                raise KeyboardInterrupt
            shown.append(step)
            x = torch.rand(5, 4, generator=self.chances.torch) * float(self.chances.numpy.random())
            self.layer(x).square().sum().backward()
            for optimiser in (self.muon, self.adam):
                optimiser.step(), optimiser.zero_grad()
        return shown


def test_a_training_that_was_stopped_ends_as_one_that_was_not(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "EVERY", 0.0)
    straight = Training(tmp_path / "straight.pt")
    assert straight.run(6) == list(range(6))
    stopped = Training(tmp_path / "stopped.pt")
    with pytest.raises(KeyboardInterrupt):
        stopped.run(6, stop=4)
    resumed = Training(tmp_path / "stopped.pt")
    assert resumed.run(6) == [4, 5]
    assert torch.equal(resumed.layer.weight, straight.layer.weight)
    assert torch.equal(resumed.layer.bias, straight.layer.bias)


def test_a_finished_training_is_there_and_not_repeated(tmp_path):
    trained = Training(tmp_path / "a.pt", "first")
    trained.run(3)
    again = Training(tmp_path / "a.pt", "second")
    assert again.run(3) == [] and torch.equal(again.layer.weight, trained.layer.weight)
    assert checkpoint.made(tmp_path / "a.pt") == ["first"]


def test_a_training_tells_every_command_that_went_on_with_it(tmp_path):
    for command, steps in (("first", 1), ("second", 2), ("second", 3)):
        Training(tmp_path / "a.pt", command).run(steps)
    assert checkpoint.made(tmp_path / "a.pt") == ["first", "second"]
