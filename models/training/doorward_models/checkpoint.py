"""The steps of a training that can be stopped and gone on with.

Owns the file that such a training keeps: its parts by their names, the steps done, and the commands that did them.
A training with its `Chances` among the parts ends as if it had never been stopped.
"""

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from .whole import whole

EVERY = 60.0  # seconds between two saves


class Chances:
    """The random numbers of a training: `numpy` for what is chosen, `torch` for what is done to it."""

    def __init__(self, seed: int):
        self.numpy = np.random.default_rng(seed)
        self.torch = torch.Generator().manual_seed(seed)

    def state_dict(self) -> dict:
        return {"numpy": self.numpy.bit_generator.state, "torch": self.torch.get_state()}

    def load_state_dict(self, state: dict) -> None:
        self.numpy.bit_generator.state = state["numpy"]
        self.torch.set_state(state["torch"])


class Checkpoint:
    """`parts` are what changes from step to step, each with `state_dict` and `load_state_dict`.

    They are brought to where the file left them, if it is there. Raises `ValueError` where it is of another training.
    """

    def __init__(self, path: Path, made: str = "", **parts):
        self.path, self.parts, self.made, self.step = path, parts, [made], 0
        if path.exists():
            # To the processor: what an optimiser counts stays where it is loaded, all else goes to its device.
            state = torch.load(path, weights_only=True, map_location="cpu")
            if state.get("parts", {}).keys() != parts.keys():
                raise ValueError(f"{path} is the checkpoint of another training: move it away, or name another run")
            for name, part in parts.items():
                part.load_state_dict(state["parts"][name])
            self.made, self.step = list(dict.fromkeys([*state["made"], made])), state["step"]

    def save(self) -> None:
        parts = {name: part.state_dict() for name, part in self.parts.items()}
        with whole(self.path) as path:
            torch.save({"parts": parts, "step": self.step, "made": self.made}, path)

    def steps(self, count: int) -> Iterator[int]:
        """The numbers of the steps that are left of `count`, with a progress bar.

        Saved at the beginning, so that a place that cannot be written shows at once, now and then, and at the end.
        """
        if self.step < count or not self.path.exists():
            self.save()
        saved = time.monotonic()
        self.bar = tqdm(range(self.step, count), self.path.stem, total=count, initial=self.step, mininterval=5)
        for step in self.bar:
            yield step
            self.step = step + 1
            if self.step == count or time.monotonic() - saved > EVERY:
                self.save()
                saved = time.monotonic()

    def tell(self, losses: dict[str, torch.Tensor]) -> None:
        """Beside the progress bar of the steps under way."""
        self.bar.set_postfix({name: f"{loss.item():.3f}" for name, loss in losses.items()}, refresh=False)


def made(path: Path) -> list[str]:
    """The commands, with their commits, that have trained what lies at `path`; of `distill`'s checkpoints too."""
    return torch.load(path, weights_only=True, map_location="cpu")["made"]
